//! Messages for tests: written as text, read back as text.

use hickory_resolver::proto::op::Message;

use super::query::{Query, parse};
use super::wire::{EDNS_DO, HEADER_LEN, Owner, put_name, put_record, put_u16, put_u32};
use super::{EDE_OPTION, Question};
use crate::iana::{Class, Rtype};
use crate::name::Name;

/// A name, or the test fails.
pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The question for a name and type, class IN.
pub(crate) fn question(qname: &str, qtype: Rtype) -> Question {
    Question {
        qname: name(qname),
        qtype,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
        asked_for: None,
    }
}

/// How a test's query differs from the plainest one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ask {
    /// Flags beside RD.
    pub flags: u16,
    /// Payload of an OPT record, if there is one.
    pub payload: Option<u16>,
    /// DO in it.
    pub dnssec_ok: bool,
    /// An EDE option in it.
    pub structured_errors: bool,
}

impl Ask {
    /// With an OPT record of payload 1232.
    pub(crate) const EDNS: Ask =
        Ask { flags: 0, payload: Some(1232), dnssec_ok: false, structured_errors: false };

    /// The packet; `qname` keeps its case.
    pub(crate) fn packet(&self, qname: &str, qtype: Rtype) -> Vec<u8> {
        let mut out = header(0x1234, 0x0100 | self.flags, [1, 0, 0, u16::from(self.payload.is_some())]);
        for label in qname.split('.').filter(|label| !label.is_empty()) {
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
        put_u16(&mut out, qtype);
        put_u16(&mut out, Class::IN);
        if let Some(payload) = self.payload {
            let ttl = if self.dnssec_ok { EDNS_DO } else { 0 };
            let options: &[u8] = if self.structured_errors { b"\0\x0f\0\x02\0\0" } else { b"" };
            put_record(&mut out, Owner::Name(&Name::ROOT), Rtype::OPT, Class(payload), ttl, options);
        }
        out
    }
}

/// A response: flags with rcode, the question, and records by section, each as `owner TTL TYPE data`.
pub(crate) fn response(flags: u16, qname: &str, qtype: Rtype, sections: [&[&str]; 3]) -> Vec<u8> {
    let counts = sections.map(|section| section.len() as u16);
    let mut out = header(0x4321, 0x8080 | flags, [1, counts[0], counts[1], counts[2]]);
    put_name(&mut out, &name(qname));
    put_u16(&mut out, qtype);
    put_u16(&mut out, Class::IN);
    sections.into_iter().flatten().for_each(|text| record(&mut out, text));
    out
}

/// The query in a packet.
pub(crate) fn query(packet: &[u8]) -> Query<'_> {
    parse(packet).unwrap_or_else(|reject| panic!("{reject:?}"))
}

/// A reply as an independent parser understands it.
pub(crate) fn understood(reply: &[u8]) -> Message {
    Message::from_vec(reply).unwrap_or_else(|error| panic!("{error}: {reply:02x?}"))
}

/// A message header.
fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN);
    put_u16(&mut out, id);
    put_u16(&mut out, flags);
    counts.into_iter().for_each(|count| put_u16(&mut out, count));
    out
}

/// Appends a record: `A` takes an address, `SOA` its MINIMUM, `RRSIG` the number of the type it covers, `HTTPS` a target and an
/// address hint, `OPT` its rcode bits in place of the TTL and options as `code=text`, the others a name.
fn record(out: &mut Vec<u8>, text: &str) {
    let fields: Vec<&str> = text.splitn(4, ' ').collect();
    let [owner, ttl, kind, data] = fields[..] else { panic!("{text}") };
    let (owner, ttl) = (name(owner), ttl.parse().unwrap());
    let mut rdata = Vec::new();
    let (rtype, class, ttl) = match kind {
        "A" => {
            rdata.extend(data.parse::<std::net::Ipv4Addr>().unwrap().octets());
            (Rtype::A, Class::IN, ttl)
        }
        "AAAA" => {
            rdata.extend(data.parse::<std::net::Ipv6Addr>().unwrap().octets());
            (Rtype::AAAA, Class::IN, ttl)
        }
        "SOA" => {
            rdata.extend([0; 18]);
            put_u32(&mut rdata, data.parse().unwrap());
            (Rtype::SOA, Class::IN, ttl)
        }
        "RRSIG" => {
            put_u16(&mut rdata, data.parse::<u16>().unwrap());
            rdata.extend([0; 17]);
            (Rtype::RRSIG, Class::IN, ttl)
        }
        "OPT" => {
            for option in data.split(' ').filter(|option| !option.is_empty()) {
                let (code, text) = option.split_once('=').unwrap();
                put_u16(&mut rdata, EDE_OPTION);
                put_u16(&mut rdata, 2 + text.len() as u16);
                put_u16(&mut rdata, code.parse::<u16>().unwrap());
                rdata.extend(text.as_bytes());
            }
            (Rtype::OPT, Class(1232), ttl << 24)
        }
        "HTTPS" => {
            let (target, hint) = data.split_once(' ').unwrap();
            rdata.extend([0, 1]);
            put_name(&mut rdata, &name(target));
            let (key, octets) = match hint.parse::<std::net::IpAddr>().unwrap() {
                std::net::IpAddr::V4(v4) => (4u16, v4.octets().to_vec()),
                std::net::IpAddr::V6(v6) => (6, v6.octets().to_vec()),
            };
            put_u16(&mut rdata, key);
            put_u16(&mut rdata, octets.len() as u16);
            rdata.extend(octets);
            (Rtype::HTTPS, Class::IN, ttl)
        }
        other => {
            if other == "MX" {
                put_u16(&mut rdata, 10u16);
            }
            put_name(&mut rdata, &name(data));
            let rtype = match other {
                "NS" => Rtype::NS,
                "CNAME" => Rtype::CNAME,
                "DNAME" => Rtype::DNAME,
                "PTR" => Rtype::PTR,
                "MX" => Rtype::MX,
                "NSEC" => Rtype::NSEC,
                _ => panic!("{text}"),
            };
            (rtype, Class::IN, ttl)
        }
    };
    put_record(out, Owner::Name(&owner), rtype, class, ttl, &rdata);
}
