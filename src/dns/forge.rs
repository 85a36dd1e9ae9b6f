//! Forged answers: what a captured name gets instead of the truth.

use std::sync::LazyLock;

use super::alias::{self, Alias};
use super::answer::{Answer, Ede, Records, Soa, in_class};
use super::query::Query;
use super::truth::Truth;
use super::wire::{HEADER_LEN, Owner};
use super::{ede, rcode, rtype};
use crate::policy::{Action, Hit, Kind, Name, Order};

/// MNAME of the denials written here: under `invalid.`, which never resolves (RFC 6761 §6.4).
static MNAME: LazyLock<Name> = LazyLock::new(|| known("ns.sinkscope.invalid"));
/// RNAME of the denials written here.
static RNAME: LazyLock<Name> = LazyLock::new(|| known("hostmaster.sinkscope.invalid"));

/// The most addresses in one forged answer: more serve nobody, and every answer fits a stream whatever an order lists.
const MAX_ADDRESSES: usize = 64;

/// The forged answer of the name that `hit` captures.
///
/// `captured` is the qname, or a name the truth leads it to. Then `chain` is that truth and its age in seconds: its CNAME
/// records up to `captured` stay, with their TTLs counted down, and the forged data stands at their end.
///
/// `Drop`, `Observe` and `Passthru` have no forged answer. Asked for one all the same, it is SERVFAIL: a mistake must not
/// turn into the truth.
pub fn forge(query: &Query<'_>, hit: &Hit<'_>, captured: &Name, chain: Option<(&Truth, u32)>) -> Answer {
    let mut draft = Draft::new(query);
    match hit.action {
        Action::Refused => return Answer::error(rcode::REFUSED, Some(attribution(hit.order))),
        Action::TcpOnly => return Answer::retry_over_tcp(),
        Action::Drop | Action::Observe | Action::Passthru => return Answer::failure(Vec::new()),
        Action::Sinkhole | Action::Nodata | Action::Nxdomain => {}
    }
    if let Some((truth, age_s)) = chain {
        // A chain that does not lead there would be a caller's mistake; the forged data then stands at the qname itself.
        let steps = truth.aliases(query).unwrap_or_default();
        for step in alias::path(&steps, &query.qname, captured).unwrap_or_default() {
            draft.alias(&step, age_s);
        }
    }
    let given = hit.action == Action::Sinkhole && draft.addresses(hit.order);
    if !given {
        draft.denial(hit, captured);
    }
    let rcode = if hit.action == Action::Nxdomain { rcode::NXDOMAIN } else { rcode::NOERROR };
    let answer = Answer::built(rcode, draft.records).with_ede(attribution(hit.order));
    // A client that asks for structured errors takes the first code for the reason: it gets one only.
    if given && !query.edns.is_some_and(|edns| edns.structured_errors) {
        answer.with_ede(Ede::bare(ede::FORGED_ANSWER))
    } else {
        answer
    }
}

/// Who is behind a forged answer: the code says what sort of authority, the text which order.
pub fn attribution(order: &Order) -> Ede {
    let code = match order.authority.kind {
        kind if kind.is_external() => ede::CENSORED,
        Kind::User => ede::FILTERED,
        _ => ede::BLOCKED,
    };
    if order.authority.docket.is_empty() {
        Ede::new(code, format!("order {}", order.id))
    } else {
        Ede::new(code, format!("order {}, docket {}", order.id, order.authority.docket))
    }
}

/// Records under way: those of the chain first, then data or a denial for the name they end at.
struct Draft<'q> {
    query: &'q Query<'q>,
    records: Records,
    /// The name the next record belongs to, and where in the message it stands.
    owner: (Name, usize),
}

impl<'q> Draft<'q> {
    /// Nothing yet, at the qname.
    fn new(query: &'q Query<'q>) -> Draft<'q> {
        Draft { query, records: Records::default(), owner: (query.qname, HEADER_LEN) }
    }

    /// Appends a record at the current owner.
    fn answer(&mut self, rtype: u16, ttl_s: u32, rdata: &[u8]) {
        let (name, at) = self.owner;
        self.records.answer(Owner::shortest(at, &name), rtype, in_class(self.query), ttl_s, rdata);
    }

    /// Appends a step of the chain and moves to its target. Names are written folded, as they are kept; a client compares
    /// them without case (RFC 4343 §3).
    fn alias(&mut self, step: &Alias, age_s: u32) {
        self.answer(rtype::CNAME, step.ttl_s.saturating_sub(age_s), step.target.as_wire());
        let end = HEADER_LEN + self.query.question.len() + self.records.octets.len();
        self.owner = (step.target, end - step.target.as_wire().len());
    }

    /// Appends the order's addresses of the type asked for; false when there are none to give.
    fn addresses(&mut self, order: &Order) -> bool {
        let before = self.records.answers;
        match self.query.qtype {
            rtype::A => {
                for address in order.sinkhole.v4.iter().take(MAX_ADDRESSES) {
                    self.answer(rtype::A, order.ttl_s, &address.octets());
                }
            }
            rtype::AAAA => {
                for address in order.sinkhole.v6.iter().take(MAX_ADDRESSES) {
                    self.answer(rtype::AAAA, order.ttl_s, &address.octets());
                }
            }
            _ => {}
        }
        self.records.answers > before
    }

    /// Appends the SOA that lets resolvers behind us remember a denial, for as long as the order says and no longer
    /// (RFC 2308 §3). It stands at the order's closest zone around the captured name, else at the listed name.
    fn denial(&mut self, hit: &Hit<'_>, captured: &Name) {
        let zones = hit.order.zones.iter().filter(|zone| captured.is_at_or_below(zone));
        let owner = match zones.max_by_key(|zone| zone.label_count()) {
            Some(zone) => *zone,
            None => hit.trigger.name(captured),
        };
        let (serial, ttl_s) = (hit.order.revision, hit.order.ttl_s);
        self.records.authority(&Soa { owner: &owner, mname: &MNAME, rname: &RNAME, serial, ttl_s });
    }
}

/// A name that is right by its spelling here; tests read every one.
fn known(text: &str) -> Name {
    text.parse().unwrap_or(Name::ROOT)
}
