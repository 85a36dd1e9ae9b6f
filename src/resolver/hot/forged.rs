//! Templates of forged answers: one for each order, action and sort of question, whatever the name.

use super::template::Template;
use crate::dns::head::QueryHead;
use crate::dns::{Body, Query};
use crate::forge::{denial_owner, forge};
use crate::iana::Rtype;
use crate::name::Name;
use crate::policy::{Hit, Synthesis};

/// Places for templates: a few sorts of question for each of some hundred orders that are asked about at a time. Two that
/// want the same place take turns, which costs time only.
const PLACES: usize = 1024;

/// The templates of one policy.
pub(super) struct ForgedTemplates {
    places: Vec<Option<Forged>>,
}

/// A template that owns what it is made of.
struct Forged {
    sort: Sort,
    flags: u16,
    counts: [u16; 3],
    /// Whether the first record is a denial, whose owner depends on the name and is left out.
    denial: bool,
    records: Box<[u8]>,
    opt: Box<[u8]>,
}

/// What forged answers depend on, besides the name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sort {
    /// The scope's address: it stays where it is for as long as its policy lives.
    scope: usize,
    synthesis: Synthesis,
    asked: Asked,
    structured_errors: bool,
}

/// The sorts of types.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    V4,
    V6,
    Other,
}

impl ForgedTemplates {
    /// None yet.
    pub(super) fn new() -> ForgedTemplates {
        ForgedTemplates { places: (0..PLACES).map(|_| None).collect() }
    }

    /// Forgets all: another policy has other orders, perhaps at the same addresses.
    pub(super) fn clear(&mut self) {
        self.places.fill_with(|| None);
    }

    /// Writes the forged answer to the name asked for; none when it has no template or does not fit whole.
    // It has one caller, which two ways to answer share: in place there, as it is where there is one way.
    #[inline(always)]
    pub(super) fn render(
        &mut self,
        (head, question, qname): (&QueryHead, &[u8], &Name),
        (synthesis, hit): (Synthesis, &Hit<'_>),
        scratch: &mut Vec<u8>,
        out: &mut [u8],
    ) -> Option<usize> {
        let sort = Sort::of(head, synthesis, hit);
        let place = self.places.get_mut(sort.place())?;
        if place.as_ref().is_none_or(|forged| forged.sort != sort) {
            *place = Forged::new(sort, &head.query(*qname, question), hit, scratch);
        }
        let forged = place.as_ref()?;
        let template = Template {
            flags: forged.flags,
            counts: forged.counts,
            records: &forged.records,
            opt: &forged.opt,
            turning: 0,
        };
        if forged.denial {
            let owner = denial_owner(hit, qname);
            template.render(head, question, owner.as_wire(), std::iter::empty(), 0, out)
        } else {
            template.render(head, question, &[], std::iter::empty(), 0, out)
        }
    }
}

impl Forged {
    /// Forges once, to be rendered many times.
    fn new(sort: Sort, query: &Query<'_>, hit: &Hit<'_>, scratch: &mut Vec<u8>) -> Option<Forged> {
        let answer = forge(query, sort.synthesis, hit, &query.qname, None);
        let template = Template::make(query, &answer, scratch)?;
        // Addresses point to the qname at its fixed place; a denial spells its owner out.
        let denial = matches!(&answer.body, Body::Built(records) if records.authorities > 0);
        let owner_len = if denial { denial_owner(hit, &query.qname).as_wire().len() } else { 0 };
        Some(Forged {
            sort,
            flags: template.flags,
            counts: template.counts,
            denial,
            records: template.records.get(owner_len..)?.into(),
            opt: template.opt.into(),
        })
    }
}

impl Sort {
    /// The sort of a query that an order captures.
    fn of(head: &QueryHead, synthesis: Synthesis, hit: &Hit<'_>) -> Sort {
        let asked = match head.qtype {
            Rtype::A => Asked::V4,
            Rtype::AAAA => Asked::V6,
            _ => Asked::Other,
        };
        let structured_errors = head.edns.is_some_and(|edns| edns.structured_errors);
        let scope = std::ptr::from_ref(hit.scope).addr();
        Sort { scope, synthesis, asked, structured_errors }
    }

    /// Its place.
    fn place(&self) -> usize {
        // Scopes stand at multiples of eight octets, those of one order side by side.
        let scope = (self.scope as u64 >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let kind =
            (self.synthesis as usize) << 3 | (self.asked as usize) << 1 | usize::from(self.structured_errors);
        (scope as usize).wrapping_add(kind) % PLACES
    }
}
