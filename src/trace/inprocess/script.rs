//! The upstream of a replay without sockets: one true answer to every question, made from the question alone.

use std::borrow::Cow;

use crate::dns::{Question, wire};
use crate::iana::{Class, Rtype};
use crate::name::Name;
use crate::trace::random::mix;
use crate::upstream::{Ask, AskError};

/// The TTL of true answers, in seconds: longer than a replay's first minutes, so that popular names stay cached.
pub const TTL_S: u32 = 3600;
/// Response and recursion available, with RD and no error.
const FLAGS: u16 = 0x8180;

/// Types whose RDATA is one name, or ends in one, with the octets before it: NS, CNAME, PTR, DNAME, MX, SRV.
const NAMED: [(Rtype, &[u8]); 6] = [
    (Rtype::NS, &[]),
    (Rtype::CNAME, &[]),
    (Rtype::PTR, &[]),
    (Rtype::DNAME, &[]),
    (Rtype::MX, &[0, 10]),
    (Rtype::SRV, &[0, 0, 0, 0, 0, 53]),
];

/// Answers at once, the same way every time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Script;

impl Ask for Script {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        let mut message = Vec::with_capacity(96);
        wire::put_u16(&mut message, 0u16);
        wire::put_u16(&mut message, FLAGS);
        let rdata = truth(&question.qname, question.qtype);
        for count in [1, u16::from(rdata.is_some()), 0, 0] {
            wire::put_u16(&mut message, count);
        }
        wire::put_name(&mut message, &question.qname);
        wire::put_u16(&mut message, question.qtype);
        wire::put_u16(&mut message, question.qclass);
        if let Some(rdata) = rdata {
            // The question's name stands right behind the header.
            let owner = wire::Owner::At(wire::HEADER_LEN as u16);
            wire::put_record(&mut message, owner, question.qtype, Class::IN, TTL_S, &rdata);
        }
        Ok(message)
    }
}

/// The RDATA of the one record of that name and type; none for types that have none here, which are answered empty.
pub fn truth(name: &Name, qtype: Rtype) -> Option<Cow<'static, [u8]>> {
    let (chunks, rest) = name.as_wire().as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let hash = chunks
        .iter()
        .chain([&last])
        .fold(u64::from(qtype.0), |hash, chunk| mix(hash ^ u64::from_le_bytes(*chunk)).rotate_left(23));
    let octets = hash.to_be_bytes();
    if let Some((_, before)) = NAMED.iter().find(|(named, _)| *named == qtype) {
        // A label of hexadecimal digits under `test.`, which nobody lists (RFC 6761 §6.2).
        return Some(Cow::Owned(
            [before, &b"\x08"[..], format!("{:08x}", hash as u32).as_bytes(), b"\x04test\0"].concat(),
        ));
    }
    let rdata = match qtype {
        // 198.18.0.0/15 and 2001:db8::/32: never a sinkhole's, as no host there is (RFC 2544, RFC 3849).
        Rtype::A => vec![198, 18 | (octets[0] & 1), octets[1], octets[2]],
        Rtype::AAAA => [&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0][..], &octets].concat(),
        Rtype::TXT | Rtype::SPF => [&[8][..], &octets].concat(),
        // SVCB and HTTPS in alias form, to nowhere (RFC 9460 §2.5.1).
        Rtype::SVCB | Rtype::HTTPS => vec![0, 0, 0],
        // What is older may hold names in ways that caches know; meta types have no records.
        Rtype(0..=43 | 249..=255) => return None,
        _ => octets.to_vec(),
    };
    Some(Cow::Owned(rdata))
}
