//! A request, parsed once.

use super::EDE_OPTION;
use super::subnet::{AskedFor, ClientSubnet, SUBNET_OPTION};
use super::wire::{self, FLAG_AD, FLAG_CD, FLAG_RD, HEADER_LEN, Header, Malformed, Message};
use crate::iana::{Class, Rcode, Rtype};
use crate::name::Name;

/// A parsed request; borrows the packet it came in.
#[derive(Clone, Copy, Debug)]
pub struct Query<'p> {
    /// The ID to answer with.
    pub id: u16,
    /// Opcode, 0 for QUERY.
    pub opcode: u8,
    /// Recursion desired.
    pub rd: bool,
    /// Authentic data: the client understands AD in the answer (RFC 6840 §5.7).
    pub ad: bool,
    /// Checking disabled (RFC 4035 §3.2.2).
    pub cd: bool,
    /// The name asked for, folded; the root when the question could not be read.
    pub qname: Name,
    /// The type asked for.
    pub qtype: Rtype,
    /// The class asked for.
    pub qclass: Class,
    /// The question as it came, case and all: name, type, class. Empty if it could not be read.
    pub question: &'p [u8],
    /// What the OPT record said, if there was one.
    pub edns: Option<Edns>,
    /// The client subnet that came with it, if there was one that can be read.
    pub client_subnet: Option<ClientSubnet>,
    /// The network that upstream is to be told of, if it is told of any.
    pub asked_for: Option<AskedFor>,
}

/// A request's OPT record (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The client's UDP payload size as sent, in octets.
    pub payload: u16,
    /// EDNS version; we speak 0.
    pub version: u8,
    /// DNSSEC OK (RFC 3225).
    pub dnssec_ok: bool,
    /// The client sent an EDE option: it asks for structured errors, as draft-ietf-dnsop-structured-dns-error had it before
    /// it got an option of its own for that.
    pub structured_errors: bool,
    /// The client sent a client subnet, sound or not (RFC 7871).
    pub has_subnet: bool,
}

/// What is asked, as the cache, coalescing and upstreams know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name, folded.
    pub qname: Name,
    /// The type.
    pub qtype: Rtype,
    /// The class.
    pub qclass: Class,
    /// DO.
    pub dnssec_ok: bool,
    /// CD.
    pub checking_disabled: bool,
    /// The network of clients for whom it is asked, where upstream is told.
    pub asked_for: Option<AskedFor>,
}

impl Question {
    /// The question as it stands in a message: name, type, class.
    pub fn octets(&self) -> Vec<u8> {
        let mut octets = self.qname.as_wire().to_vec();
        wire::put_u16(&mut octets, self.qtype);
        wire::put_u16(&mut octets, self.qclass);
        octets
    }

    /// The questions whose answers answer this one, too, the best first: what DO adds can be left out, and CD asks that nothing be
    /// held back, where nothing was.
    ///
    /// RFC 4035 §3.2.2: "If the CD bit is set, it indicates that the originating resolver is willing to perform whatever
    /// authentication its local policy requires." So not the other way round: what came with CD may be what upstream would have held
    /// back from others (RFC 6840 §5.9).
    pub fn kin(self) -> impl Iterator<Item = Question> {
        let with = move |dnssec_ok| Question { dnssec_ok, checking_disabled: false, ..self };
        let same = self.checking_disabled.then(|| with(self.dnssec_ok));
        same.into_iter().chain((!self.dnssec_ok).then(|| with(true)))
    }

    /// The question of those who have no use for signatures, whose answer lacks them.
    #[must_use]
    pub fn unsigned(self) -> Question {
        Question { dnssec_ok: false, checking_disabled: false, ..self }
    }
}

/// A packet that is no query we resolve.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for one reply; a box would allocate on bad packets"
)]
pub enum Reject<'p> {
    /// Not to be answered: too short for a header, or itself a response.
    Drop,
    /// To be answered with this rcode (FORMERR, NOTIMP, BADVERS) and nothing else.
    Answer(Query<'p>, Rcode),
}

/// Reads a request.
///
/// # Errors
/// [`Reject`] says whether and how to answer what cannot be resolved.
#[expect(clippy::result_large_err, reason = "a rejected query is as large as an accepted one")]
pub fn parse(packet: &[u8]) -> Result<Query<'_>, Reject<'_>> {
    // Answering a response would let two servers answer each other for ever.
    let Some(header) = Header::read(packet).filter(|header| !header.is_response()) else {
        return Err(Reject::Drop);
    };
    let mut query = Query {
        id: header.id,
        opcode: header.opcode(),
        rd: header.flags & FLAG_RD != 0,
        ad: header.flags & FLAG_AD != 0,
        cd: header.flags & FLAG_CD != 0,
        qname: Name::ROOT,
        qtype: Rtype(0),
        qclass: Class(0),
        question: &[],
        edns: None,
        client_subnet: None,
        asked_for: None,
    };
    let read = query.read_sections(packet, &header);
    // The kind of query comes before what is wrong with it: other opcodes lay their sections out by other rules.
    if query.opcode != 0 {
        return Err(Reject::Answer(query, Rcode::NOTIMP));
    }
    if read.is_err() || !counts_fit_a_query(&header, query.qtype) {
        return Err(Reject::Answer(query, Rcode::FORMERR));
    }
    // RFC 6891 §6.1.3: "If a responder does not implement the VERSION level of the request, then it MUST respond with
    // RCODE=BADVERS."
    if query.edns.is_some_and(|edns| edns.version > 0) {
        return Err(Reject::Answer(query, Rcode::BADVERS));
    }
    Ok(query)
}

impl<'p> Query<'p> {
    /// A query of our own, with RD and no EDNS, whose question is these octets.
    pub fn plain(qname: &Name, qtype: Rtype, question: &'p [u8]) -> Query<'p> {
        Query {
            id: 0,
            opcode: 0,
            rd: true,
            ad: false,
            cd: false,
            qname: *qname,
            qtype,
            qclass: Class::IN,
            question,
            edns: None,
            client_subnet: None,
            asked_for: None,
        }
    }

    /// The question as the cache and the upstreams know it.
    pub fn key(&self) -> Question {
        Question {
            qname: self.qname,
            qtype: self.qtype,
            // RFC 1035 §3.2.5: `*` is any class, and there is none but this one to be had.
            qclass: if self.qclass == Class::ANY { Class::IN } else { self.qclass },
            dnssec_ok: self.dnssec_ok(),
            checking_disabled: self.cd,
            asked_for: self.asked_for,
        }
    }

    /// Whether the client set DO.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Reads question and records; what was read before an error stays, so that the reply can echo it.
    ///
    /// Octets behind the last record are ignored, as BIND and Unbound do: they change nothing that is asked.
    fn read_sections(&mut self, packet: &'p [u8], header: &Header) -> Result<(), Malformed> {
        // RFC 9619 §4: a QUERY with QDCOUNT above one "MUST be treated as an incorrectly formatted message". None at all
        // asks for a server cookie (RFC 7873 §5.4), which we do not speak.
        if header.counts[0] != 1 {
            return Err(Malformed);
        }
        let (qname, qtype, qclass, question) = wire::question(packet)?;
        (self.qname, self.qtype, self.qclass, self.question) = (qname, qtype, qclass, question);

        let records = packet.get(HEADER_LEN + question.len()..).unwrap_or_default();
        let message = Message::new(question, records);
        let before_additional = usize::from(header.counts[1]) + usize::from(header.counts[2]);
        let all = before_additional + usize::from(header.counts[3]);
        for (index, record) in message.records(message.base(), all).enumerate() {
            let record = record?;
            // TSIG and SIG(0) are passed over: a key we do not hold cannot be checked, and the reply goes unsigned.
            if record.rtype != Rtype::OPT || index < before_additional {
                continue;
            }
            // RFC 6891 §6.1.1: "If a query message with more than one OPT RR is received, a FORMERR (RCODE=1) MUST be
            // returned."
            if self.edns.is_some() {
                return Err(Malformed);
            }
            let mut edns = Edns {
                payload: record.class.0,
                version: (record.ttl >> 16) as u8,
                dnssec_ok: record.ttl & wire::EDNS_DO != 0,
                structured_errors: false,
                has_subnet: false,
            };
            self.edns = Some(edns);
            // RFC 6891 §6.1.2: NAME "MUST be 0 (root domain)".
            if message.octets(record.owner_at, 1)? != [0] {
                return Err(Malformed);
            }
            for option in wire::options(message.rdata(&record)?) {
                let (code, data) = option?;
                edns.structured_errors |= code == EDE_OPTION;
                // What several would mean nobody says: none of them is read, as one is not that cannot be.
                if code == SUBNET_OPTION {
                    let read = if edns.has_subnet { None } else { ClientSubnet::read(data).ok() };
                    self.client_subnet = read.filter(ClientSubnet::is_asking);
                    edns.has_subnet = true;
                }
            }
            self.edns = Some(edns);
        }
        Ok(())
    }
}

/// Whether the answer and authority counts are those of a query. Unbound says FORMERR to others, BIND ignores them; we
/// follow Unbound: nothing honest sends them, and records nobody looks at are room to hide things in.
fn counts_fit_a_query(header: &Header, qtype: Rtype) -> bool {
    // RFC 1995 §3: an IXFR query carries the client's SOA in its authority section.
    let authorities = u16::from(qtype == Rtype::IXFR);
    header.counts[1] == 0 && header.counts[2] <= authorities
}

#[cfg(test)]
mod tests {
    use super::super::wire::Owner;
    use super::super::wire::{put_record, put_u16};
    use super::*;
    use proptest::prelude::*;

    /// A query packet: flags, the four counts, and what stands behind the header.
    fn packet(flags: u16, counts: [u16; 4], rest: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        put_u16(&mut out, 0xbeef_u16);
        put_u16(&mut out, flags);
        counts.iter().for_each(|&count| put_u16(&mut out, count));
        rest.iter().for_each(|part| out.extend_from_slice(part));
        out
    }

    /// An OPT record with these flags (version and DO) and options.
    fn opt(owner: &Name, ttl: u32, options: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_record(&mut out, Owner::Name(owner), Rtype::OPT, Class(1232), ttl, options);
        out
    }

    const Q: &[u8] = b"\x03wWw\x07eXample\0\0\x01\0\x01";
    const IXFR: &[u8] = b"\x01e\0\0\xfb\0\x01";

    /// What EDNS said: version, DO, structured errors.
    type Said = Option<(u8, bool, bool)>;
    /// Label and packet; then the outcome, whether the question was read, and what EDNS said.
    type Case = (&'static str, Vec<u8>, &'static str, bool, Said);

    /// `Ok`, `drop`, or the rcode, with what was understood of question and EDNS.
    fn outcome(packet: &[u8]) -> (String, bool, Said) {
        let edns = |query: &Query<'_>| query.edns.map(|e| (e.version, e.dnssec_ok, e.structured_errors));
        match parse(packet) {
            Ok(query) => ("ok".into(), !query.question.is_empty(), edns(&query)),
            Err(Reject::Drop) => ("drop".into(), false, None),
            Err(Reject::Answer(query, rcode)) => {
                (rcode.0.to_string(), !query.question.is_empty(), edns(&query))
            }
        }
    }

    #[test]
    fn requests_are_read_or_rejected() {
        let root = Name::ROOT;
        let plain = opt(&root, 0, b"");
        let plain_edns = Some((0, false, false));
        let soa = {
            let mut out = Vec::new();
            put_record(&mut out, Owner::Name(&root), Rtype::SOA, Class::IN, 0, &[0; 22]);
            out
        };
        let tsig = {
            let mut out = Vec::new();
            put_record(&mut out, Owner::Name(&root), Rtype::TSIG, Class::ANY, 0, &[0; 16]);
            out
        };
        let huge = vec![1u8; 400];
        let cases: Vec<Case> = vec![
            ("plain", packet(0x0100, [1, 0, 0, 0], &[Q]), "ok", true, None),
            ("short", vec![0; 11], "drop", false, None),
            ("response", packet(0x8000, [1, 0, 0, 0], &[Q]), "drop", false, None),
            ("notify", packet(0x2000, [1, 1, 0, 0], &[Q, &soa]), "4", true, None),
            ("update with opt", packet(0x2800, [1, 0, 1, 1], &[Q, &soa, &plain]), "4", true, plain_edns),
            ("status, unreadable", packet(0x1000, [1, 0, 0, 0], &[b"\x09"]), "4", false, None),
            ("no question", packet(0, [0, 0, 0, 0], &[]), "1", false, None),
            ("two questions", packet(0, [2, 0, 0, 0], &[Q, Q]), "1", false, None),
            ("pointer", packet(0, [1, 0, 0, 0], &[b"\xc0\x0c\0\x01\0\x01"]), "1", false, None),
            ("cut name", packet(0, [1, 0, 0, 0], &[&Q[..6]]), "1", false, None),
            ("cut class", packet(0, [1, 0, 0, 0], &[&Q[..Q.len() - 1]]), "1", false, None),
            (
                "long name",
                packet(0, [1, 0, 0, 0], &[&[1u8, b'a'].repeat(128), b"\0\0\x01\0\x01"]),
                "1",
                false,
                None,
            ),
            ("answers", packet(0, [1, 1, 0, 0], &[Q, &soa]), "1", true, None),
            ("authority", packet(0, [1, 0, 1, 0], &[Q, &soa]), "1", true, None),
            ("ixfr", packet(0, [1, 0, 1, 0], &[IXFR, &soa]), "ok", true, None),
            ("ixfr, two", packet(0, [1, 0, 2, 0], &[IXFR, &soa, &soa]), "1", true, None),
            ("opt", packet(0, [1, 0, 0, 1], &[Q, &plain]), "ok", true, plain_edns),
            (
                "do and ede",
                packet(0, [1, 0, 0, 1], &[Q, &opt(&root, 0x8000, b"\0\x0f\0\x02\0\0")]),
                "ok",
                true,
                Some((0, true, true)),
            ),
            ("opt and tsig", packet(0, [1, 0, 0, 2], &[Q, &plain, &tsig]), "ok", true, plain_edns),
            ("two opts", packet(0, [1, 0, 0, 2], &[Q, &plain, &plain]), "1", true, plain_edns),
            (
                "opt below the root",
                packet(0, [1, 0, 0, 1], &[Q, &opt(&"x".parse().unwrap(), 0, b"")]),
                "1",
                true,
                plain_edns,
            ),
            (
                "bad option",
                packet(0, [1, 0, 0, 1], &[Q, &opt(&root, 0, b"\0\x0a\0\x09x")]),
                "1",
                true,
                plain_edns,
            ),
            (
                "version 1",
                packet(0, [1, 0, 0, 1], &[Q, &opt(&root, 0x0001_0000, b"")]),
                "16",
                true,
                Some((1, false, false)),
            ),
            ("missing additional", packet(0, [1, 0, 0, 2], &[Q, &plain]), "1", true, plain_edns),
            ("trailing octets", packet(0, [1, 0, 0, 0], &[Q, &huge]), "ok", true, None),
        ];
        assert_eq!(cases.len(), 25);
        for (name, packet, expected, question, edns) in cases {
            assert_eq!(outcome(&packet), (expected.to_owned(), question, edns), "{name}");
        }
    }

    #[test]
    fn a_query_keeps_the_question_as_it_came() {
        let packet = packet(0x0130, [1, 0, 0, 0], &[Q]);
        let query = parse(&packet).unwrap();
        assert_eq!((query.id, query.rd, query.ad, query.cd), (0xbeef, true, true, true));
        assert_eq!(
            (query.qname.to_string().as_str(), query.qtype, query.qclass),
            ("www.example", Rtype::A, Class::IN)
        );
        assert_eq!(query.question, Q);
        assert!(query.key().checking_disabled && !query.key().dnssec_ok);
    }

    proptest! {
        #[test]
        fn no_packet_panics(mut packet in proptest::collection::vec(any::<u8>(), 0..120), sane in any::<bool>()) {
            if sane && packet.len() > 12 {
                packet[2] &= 0x07;
                packet[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 1]);
            }
            let _ = parse(&packet);
        }
    }
}
