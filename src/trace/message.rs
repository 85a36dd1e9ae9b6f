//! Queries as octets, from names and types.

use crate::dns::wire;
use crate::iana::{Class, Rtype};

/// What a client that has no reason for more announces, in octets (DNS Flag Day 2020: what passes unfragmented).
pub const EDNS_PAYLOAD: u16 = 1232;

/// The EDNS part of a query (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// UDP payload size in octets.
    pub payload: u16,
    /// DNSSEC OK (RFC 3225).
    pub dnssec_ok: bool,
}

/// Writes a query in class IN with RD set, replacing what `out` held; `name` is a whole name in wire form.
pub fn put_query(out: &mut Vec<u8>, id: u16, name: &[u8], qtype: Rtype, edns: Option<Edns>) {
    out.clear();
    append_query(out, id, name, qtype, edns);
}

/// Writes a query behind what `out` holds; otherwise as [`put_query`].
pub fn append_query(out: &mut Vec<u8>, id: u16, name: &[u8], qtype: Rtype, edns: Option<Edns>) {
    let ([id0, id1], [flags0, flags1]) = (id.to_be_bytes(), wire::FLAG_RD.to_be_bytes());
    let additionals = u8::from(edns.is_some());
    out.extend_from_slice(&[id0, id1, flags0, flags1, 0, 1, 0, 0, 0, 0, 0, additionals]);
    out.extend_from_slice(name);
    let ([type0, type1], [class0, class1]) = (qtype.to_be_bytes(), Class::IN.to_be_bytes());
    out.extend_from_slice(&[type0, type1, class0, class1]);
    if let Some(edns) = edns {
        // RFC 6891 §6.1.2: NAME "MUST be 0 (root domain)", CLASS is the payload size, TTL the extended RCODE and flags.
        let ([opt0, opt1], [size0, size1]) = (Rtype::OPT.to_be_bytes(), edns.payload.to_be_bytes());
        let [r, v, f0, f1] = if edns.dnssec_ok { wire::EDNS_DO } else { 0 }.to_be_bytes();
        out.extend_from_slice(&[0, opt0, opt1, size0, size1, r, v, f0, f1, 0, 0]);
    }
}

/// Whether a message is an ordinary query with one question that can be read: what a replay can send and match again.
pub fn is_query(message: &[u8]) -> bool {
    wire::Header::read(message)
        .is_some_and(|header| !header.is_response() && header.opcode() == 0 && header.counts[0] == 1)
        && wire::question(message).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns;
    use crate::name::Name;

    #[test]
    fn a_query_parses_as_what_it_was() {
        let name: Name = "www.Example.com".parse().unwrap();
        for edns in [
            None,
            Some(Edns { payload: 1232, dnssec_ok: false }),
            Some(Edns { payload: 4096, dnssec_ok: true }),
        ] {
            let mut message = vec![9; 3];
            put_query(&mut message, 77, name.as_wire(), Rtype::AAAA, edns);
            let query = dns::parse(&message).unwrap();
            assert_eq!((query.id, query.qname, query.qtype, query.rd), (77, name, Rtype::AAAA, true));
            assert_eq!(
                query.edns.map(|edns| (edns.payload, edns.dnssec_ok)),
                edns.map(|edns| (edns.payload, edns.dnssec_ok))
            );
            assert!(is_query(&message));
            message[2] |= 0x80;
            assert!(!is_query(&message), "a response");
        }
    }
}
