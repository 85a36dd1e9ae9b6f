//! Which names are denied whatever is asked of them, and with them what is below.
//!
//! RFC 2308 §5 keeps a name error by name and class: it is an answer to every type. RFC 8020 §2: "all names and resource record sets
//! (RRsets) at or below that node SHOULD be considered unreachable", which a resolver may hold to "only when the NXDOMAIN response has
//! been validated with DNSSEC".
//!
//! The denial itself is an answer like any other, under its own question. Beside the answers there is a table of marks, an octet string of
//! fixed size that says of which type a name's denial is. A mark may be wrong, for another name may have taken its place, and may lead
//! to an answer that is gone: then there is no denial, and upstream is asked. So nothing has to be kept in step, and a look costs a hash.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::{Cache, Cached, Entry};
use crate::dns::asks::Asks;
use crate::dns::mark::Mark;
use crate::dns::{Question, Truth};
use crate::iana::{EdeCode, Rcode, Rtype};
use crate::name::Name;

/// Octets of the cache for each mark: 64 MiB have 65,536 of them, which take half a MiB.
const OCTETS_A_MARK: u64 = 1024;
/// The fewest and the most marks there are, powers of two.
const MARKS: [u64; 2] = [1 << 6, 1 << 20];
/// What of a mark is the type; the rest is of the name's hash.
const TYPE: u64 = 0xffff;
/// Why upstream denies what may be there all the same: it says so by its own policy, which need not be about what is below.
const POLICY: [EdeCode; 4] = [EdeCode::FORGED_ANSWER, EdeCode::BLOCKED, EdeCode::CENSORED, EdeCode::FILTERED];

/// Which denials deny what is below the name, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// None.
    Off,
    /// Those that upstream has validated (AD). Who signs a zone tells an empty name from none; others may deny what has names below it.
    #[default]
    Validated,
    /// All.
    All,
}

/// Marks of denied names.
#[derive(Debug)]
pub(super) struct Denials {
    marks: Box<[AtomicU64]>,
    /// Makes places hard to guess.
    hasher: RandomState,
    /// At which depths there ever was one, in labels, a bit each; the last for all that are deeper. Nobody looks at others.
    depths: AtomicU64,
}

// Relaxed all over: a mark is whole, and whatever it leads to is looked at.
impl Denials {
    /// None yet, for a cache of so many octets.
    pub(super) fn new(max_bytes: u64) -> Denials {
        let [least, most] = MARKS;
        let count = (max_bytes / OCTETS_A_MARK).clamp(least, most).next_power_of_two();
        let marks = (0..count).map(|_| AtomicU64::new(0)).collect();
        Denials { marks, hasher: RandomState::new(), depths: AtomicU64::new(0) }
    }

    /// Whether any name of so many labels was ever denied.
    fn may_be_at(&self, depth: usize) -> bool {
        self.depths.load(Ordering::Relaxed) >> depth.min(63) & 1 == 1
    }

    /// Whether any name was.
    fn is_empty(&self) -> bool {
        self.depths.load(Ordering::Relaxed) == 0
    }

    /// The question's place, and the mark of its name, less a type.
    fn place(&self, question: &Question) -> (&AtomicU64, u64) {
        let Question { qname, qclass, dnssec_ok, checking_disabled, .. } = question;
        let hash =
            self.hasher.hash_one((qname.as_wire(), qclass.to_be_bytes(), dnssec_ok, checking_disabled));
        // There is a power of two of them.
        (&self.marks[(hash as usize) & (self.marks.len() - 1)], hash & !TYPE)
    }

    /// Notes that the answer to this question denies its name.
    fn note(&self, question: &Question) {
        let (place, mark) = self.place(question);
        place.store(mark | u64::from(question.qtype.0), Ordering::Relaxed);
        self.depths.fetch_or(1 << question.qname.label_count().min(63), Ordering::Relaxed);
    }

    /// The question whose answer may deny this one's name.
    fn of(&self, question: &Question) -> Option<Question> {
        let (place, mark) = self.place(question);
        let found = place.load(Ordering::Relaxed);
        let asked = Question { qtype: Rtype((found & TYPE) as u16), ..*question };
        (found & !TYPE == mark && found != 0).then_some(asked)
    }

    /// Forgets that this question's name was denied.
    fn forget(&self, question: &Question) {
        let (place, mark) = self.place(question);
        let denied = |found: u64| (found & !TYPE == mark).then_some(0);
        // Whoever is faster noted something else.
        let _ = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, denied);
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.marks.iter().for_each(|mark| mark.store(0, Ordering::Relaxed));
        self.depths.store(0, Ordering::Relaxed);
    }
}

impl Cache {
    /// The denial of the name asked for that was said of another type, or of a name above it; for want of an answer of its own, which
    /// "MAY continue" to be told (RFC 8020 §2).
    pub(super) fn denied(&self, question: &Question, now: Duration) -> Option<Cached> {
        if self.denials.is_empty() {
            return None;
        }
        let depth = question.qname.label_count();
        // What is denied in a zone that others are asked about is denied by them; what is denied above it is not their word.
        let top = self.route(question).max(1);
        let top = if self.cut == Cut::Off { top.max(depth) } else { top };
        // RFC 4035 §3.1.4.1: DS is the parent's, of whom the name itself may not be asked.
        let bottom = if self.is_routed_above(question) { depth.saturating_sub(1) } else { depth };
        (top..=bottom).rev().filter(|depth| self.denials.may_be_at(*depth)).find_map(|at| {
            let above = Question { qname: question.qname.ancestor(at)?, ..*question };
            self.ways(&above).find_map(|way| {
                let asked = self.denials.of(&way)?;
                let entry = self.truths.get(Key::new(&asked).as_bytes())?;
                let holds = denies(&entry.truth) && entry.left_s(now) > 0;
                let cuts = at == depth || self.cut == Cut::All || entry.truth.authentic;
                if holds && cuts { told(&entry, question, &asked, now) } else { None }
            })
        })
    }

    /// Takes note of what an answer that comes says of its name: that there is none, nor anything below; or that there is one, and all
    /// above it.
    pub(super) fn note_name(&self, question: &Question, truth: &Truth, now: Duration) {
        let is_policy = truth.ede.iter().any(|ede| POLICY.contains(&ede.code));
        if denies(truth) {
            // RFC 7871 §7.4: whether what denies a name to some networks denies it to others, nobody agrees on.
            if question.asked_for.is_some() {
                return;
            }
            // RFC 4074 §4.2: some who have an IPv4 address of a name deny the name when they are asked for the other.
            if !is_policy && !self.is_routed_above(question) && !self.has_addresses(question, now) {
                self.denials.note(question);
            }
        } else if !self.denials.is_empty() && (truth.rcode == Rcode::NOERROR || truth.aliases > 0) {
            let depths = self.route(question).max(1)..=question.qname.label_count();
            let depths = depths.filter(|depth| self.denials.may_be_at(*depth));
            for above in depths.filter_map(|depth| question.qname.ancestor(depth)) {
                let above = Question { qname: above, asked_for: None, ..*question };
                self.ways(&above).for_each(|way| self.denials.forget(&way));
            }
        }
    }

    /// A question and those whose answers answer it.
    fn ways(&self, question: &Question) -> impl Iterator<Item = Question> + use<> {
        let kin = self.may_have_kin(question).then(|| question.kin());
        std::iter::once(*question).chain(kin.into_iter().flatten())
    }

    /// Whether an address of the name is known, but for what is asked.
    fn has_addresses(&self, question: &Question, now: Duration) -> bool {
        [Rtype::A, Rtype::AAAA].into_iter().filter(|qtype| *qtype != question.qtype).any(|qtype| {
            let other = Question { qtype, ..*question };
            let entry = self.truths.get(Key::new(&other).as_bytes());
            entry.is_some_and(|entry| entry.left_s(now) > 0 && entry.truth.answers > 0)
        })
    }

    /// How many labels the zone has whose servers are asked this; 0 where it is everybody's.
    fn route(&self, question: &Question) -> usize {
        if self.forwarded.is_empty() {
            return 0;
        }
        let depth = question.qname.label_count();
        let bottom = if question.qtype == Rtype::DS { depth.saturating_sub(1) } else { depth };
        let is_one = |depth: &usize| {
            question.qname.ancestor(*depth).is_some_and(|name: Name| self.forwarded.contains(&name))
        };
        (1..=bottom).rev().find(is_one).unwrap_or(0)
    }

    /// Whether others are asked this than are asked about the name itself.
    fn is_routed_above(&self, question: &Question) -> bool {
        question.qtype == Rtype::DS && self.forwarded.contains(&question.qname)
    }
}

/// Whether an answer denies the name asked for. RFC 8020 §2: where there is a chain, "the name that does not exist is the last of the
/// chain" (RFC 6604).
fn denies(truth: &Truth) -> bool {
    truth.rcode == Rcode::NXDOMAIN && truth.aliases == 0 && truth.answers == 0 && truth.lifetime_s > 0
}

/// A denial that answers `asked` as it is told to whoever asks `question`. It ends with the denial, and is not asked for anew by itself.
fn told(entry: &Entry, question: &Question, asked: &Question, now: Duration) -> Option<Cached> {
    let truth = &entry.truth;
    let truth = if question.qname == asked.qname && question.dnssec_ok == asked.dnssec_ok {
        // Of another type, with rules of its own about it.
        Truth { untouched: Mark::default(), ..(**truth).clone() }
    } else {
        truth.denying(question, &asked.octets())?
    };
    let truth = Truth { asks: Asks::settled(), ..truth }.into();
    let until = entry.end(Duration::ZERO);
    let cached = Cached { own: false, ..Entry { truth, ..entry.clone() }.at(now, until) };
    Some(cached).filter(|cached| cached.left_s > 0)
}
