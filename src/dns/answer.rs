//! Replies before `finish`: what to say, not yet how it goes on the wire.

use std::sync::Arc;

use super::ede::Ede;
use super::query::Query;
use super::rotation;
use super::truth::Truth;
use super::wire::{self, HEADER_LEN, Owner};
use crate::iana::{Class, EdeCode, Rcode, Rtype};
use crate::name::Name;

/// The TTL of the answer to ANY, in seconds: RFC 8482 §4.2 leaves it to local policy, and wants repeats rare.
const ANY_TTL_S: u32 = 3600;

/// A reply before `finish`.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Response code, extended ones included.
    pub rcode: Rcode,
    /// The records.
    pub body: Body,
    /// Truncated: ask again over TCP.
    pub truncated: bool,
    /// Errors in more detail (RFC 8914), the most telling first.
    pub ede: Vec<Ede>,
    /// Whether the client has no recursion here, whatever it asks for.
    pub no_recursion: bool,
    /// Whether another of several addresses comes first in each reply.
    pub rotates: bool,
    /// For how many bits of the client's network it is, where it gave one; 0 if it is for everybody (RFC 7871 §7.2.1).
    pub scope: u8,
}

/// Where an answer's records come from.
#[derive(Clone, Debug, Default)]
pub enum Body {
    /// There are none.
    #[default]
    Empty,
    /// Written here.
    Built(Records),
    /// Upstream's, `age_s` seconds old: TTLs are counted down by that much.
    Truth {
        /// What upstream said.
        truth: Arc<Truth>,
        /// Whole seconds since it arrived.
        age_s: u32,
    },
}

/// Records in wire form, to stand right behind the question: pointers to offset 12 name the qname.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// The records of all sections, in order.
    pub octets: Vec<u8>,
    /// Records in the answer section.
    pub answers: u16,
    /// Records in the authority section.
    pub authorities: u16,
    /// Records in the additional section, OPT not among them.
    pub additionals: u16,
}

/// The numbers of a start of authority written here; names stand apart (RFC 1035 §3.3.13).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Soa<'n> {
    /// The zone.
    pub owner: &'n Name,
    /// MNAME.
    pub mname: &'n Name,
    /// RNAME.
    pub rname: &'n Name,
    /// SERIAL.
    pub serial: u32,
    /// Both the TTL and MINIMUM in seconds: how long the denial holds (RFC 2308 §5).
    pub ttl_s: u32,
}

impl Answer {
    /// A reply with this rcode, no records, and perhaps a reason.
    pub fn error(rcode: Rcode, ede: Option<Ede>) -> Answer {
        Answer { rcode, ede: ede.into_iter().collect(), ..Answer::default() }
    }

    /// REFUSED to a client that may ask nothing here (RFC 8914 §4.19).
    pub fn prohibited() -> Answer {
        let refused = Answer::error(Rcode::REFUSED, Some(Ede::bare(EdeCode::PROHIBITED)));
        Answer { no_recursion: true, ..refused }
    }

    /// SERVFAIL, and why.
    pub fn failure(ede: Vec<Ede>) -> Answer {
        Answer { rcode: Rcode::SERVFAIL, ede, ..Answer::default() }
    }

    /// What upstream said `age_s` seconds ago, its EDE passed on.
    pub fn truth(truth: Arc<Truth>, age_s: u32) -> Answer {
        let scope = truth.scope.map_or(0, |scope| scope.told);
        Answer {
            rcode: truth.rcode,
            truncated: truth.truncated,
            ede: truth.ede.clone(),
            body: Body::Truth { truth, age_s },
            no_recursion: false,
            rotates: false,
            scope,
        }
    }

    /// The same answer, for those alone whom all these truths are for, which it is made of.
    #[must_use]
    pub fn for_those_of<'t>(self, truths: impl IntoIterator<Item = &'t Truth>) -> Answer {
        let told = truths.into_iter().filter_map(|truth| truth.scope).map(|scope| scope.told);
        let scope = told.max().unwrap_or(0);
        Answer { scope, ..self }
    }

    /// The same answer, of whose addresses another comes first in each reply if that is wanted.
    #[must_use]
    pub fn rotating(self, rotates: bool) -> Answer {
        Answer { rotates, ..self }
    }

    /// How many addresses take turns in replies to a question of this type; 0 where the order stays.
    pub(crate) fn turning(&self, qtype: Rtype) -> u8 {
        match &self.body {
            Body::Truth { truth, .. } if self.rotates => rotation::turning(truth, qtype),
            Body::Truth { .. } | Body::Built(_) | Body::Empty => 0,
        }
    }

    /// An empty truncated reply: ask again over TCP.
    pub fn retry_over_tcp() -> Answer {
        Answer { truncated: true, ..Answer::default() }
    }

    /// The minimal answer to ANY: one HINFO record, CPU `RFC8482`, OS empty (RFC 8482 §4.2).
    pub fn any(query: &Query<'_>) -> Answer {
        let mut records = Records::default();
        records.answer(
            Owner::At(HEADER_LEN as u16),
            Rtype::HINFO,
            in_class(query),
            ANY_TTL_S,
            b"\x07RFC8482\x00",
        );
        Answer::built(Rcode::NOERROR, records)
    }

    /// The reply to a query of a kind that is never resolved here; none for ordinary ones. CHAOS is not among them:
    /// [`super::chaos::chaos`] answers that.
    pub fn unserved(query: &Query<'_>) -> Option<Answer> {
        let rcode = match (query.qtype, query.qclass) {
            // A forwarder has no zones to transfer: REFUSED, as Unbound says.
            (Rtype::AXFR | Rtype::IXFR, _) => Rcode::REFUSED,
            // OPT, TKEY and TSIG are meta types, no data (RFC 6895 §3.1); nobody serves MAILB and MAILA any more.
            (Rtype::OPT, _) => Rcode::FORMERR,
            (Rtype::TKEY | Rtype::TSIG | Rtype::MAILB | Rtype::MAILA, _) => Rcode::NOTIMP,
            (_, Class::IN | Class::ANY | Class::CH) => return None,
            // Hesiod and the rest: no upstream of ours serves them.
            _ => Rcode::REFUSED,
        };
        Some(Answer::error(rcode, None))
    }

    /// A reply of records written here.
    pub(crate) fn built(rcode: Rcode, records: Records) -> Answer {
        Answer { rcode, body: Body::Built(records), ..Answer::default() }
    }

    /// The same reply with one more EDE.
    #[must_use]
    pub fn with_ede(mut self, ede: Ede) -> Answer {
        self.ede.push(ede);
        self
    }
}

impl Records {
    /// Appends to the answer section; nothing may stand in a later section yet.
    pub(crate) fn answer(&mut self, owner: Owner<'_>, rtype: Rtype, class: Class, ttl_s: u32, rdata: &[u8]) {
        wire::put_record(&mut self.octets, owner, rtype, class, ttl_s, rdata);
        self.answers = self.answers.saturating_add(1);
    }

    /// Appends to the additional section, after everything else.
    pub(crate) fn additional(&mut self, owner: &Name, rtype: Rtype, ttl_s: u32, rdata: &[u8]) {
        wire::put_record(&mut self.octets, Owner::Name(owner), rtype, Class::IN, ttl_s, rdata);
        self.additionals = self.additionals.saturating_add(1);
    }

    /// Appends a start of authority to the authority section.
    pub(crate) fn authority(&mut self, soa: &Soa<'_>) {
        wire::put_record(
            &mut self.octets,
            Owner::Name(soa.owner),
            Rtype::SOA,
            Class::IN,
            soa.ttl_s,
            &soa.rdata(),
        );
        self.authorities = self.authorities.saturating_add(1);
    }
}

impl Soa<'_> {
    /// The RDATA. REFRESH, RETRY and EXPIRE speak to secondaries, which there are none of: RFC 6303 §3's values.
    pub(crate) fn rdata(&self) -> Vec<u8> {
        let mut rdata = Vec::with_capacity(self.mname.as_wire().len() + self.rname.as_wire().len() + 20);
        wire::put_name(&mut rdata, self.mname);
        wire::put_name(&mut rdata, self.rname);
        for number in [self.serial, 3600, 1200, 604_800, self.ttl_s] {
            wire::put_u32(&mut rdata, number);
        }
        rdata
    }
}

/// The class that records written here carry: IN for a query of any class.
pub(crate) fn in_class(query: &Query<'_>) -> Class {
    if query.qclass == Class::ANY { Class::IN } else { query.qclass }
}

#[cfg(test)]
mod tests {
    use super::super::query::parse;
    use super::*;

    #[test]
    fn texts_are_bounded_and_printable() {
        for (text, expected) in [
            ("x".repeat(300), "x".repeat(200)),
            ("ä".repeat(150), "ä".repeat(100)),
            (format!("x{}", "ä".repeat(150)), format!("x{}", "ä".repeat(99))),
            ("a\nb\u{7f}c".to_owned(), "a b c".to_owned()),
        ] {
            assert_eq!(Ede::new(EdeCode::CENSORED, text).text, expected);
        }
    }

    #[test]
    fn kinds_never_resolved_have_their_rcodes() {
        for (qtype, qclass, expected) in [
            (Rtype::A, Class::IN, None),
            (Rtype::ANY, Class::ANY, None),
            (Rtype::TXT, Class::CH, None),
            (Rtype::A, Class(4), Some(Rcode::REFUSED)),
            (Rtype::AXFR, Class::IN, Some(Rcode::REFUSED)),
            (Rtype::IXFR, Class::CH, Some(Rcode::REFUSED)),
            (Rtype::OPT, Class::IN, Some(Rcode::FORMERR)),
            (Rtype::MAILB, Class::IN, Some(Rcode::NOTIMP)),
        ] {
            let mut packet = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\0".to_vec();
            wire::put_u16(&mut packet, qtype);
            wire::put_u16(&mut packet, qclass);
            let query = parse(&packet).unwrap();
            assert_eq!(Answer::unserved(&query).map(|answer| answer.rcode), expected, "{qtype} {qclass}");
        }
    }
}
