//! The ordinary query at a glance: a header, one question, perhaps an OPT record, and nothing else.
//!
//! What it reads it reads as [`parse`](super::parse) does, field by field; whatever is unusual it leaves to that.

use super::EDE_OPTION;
use super::query::{Edns, Query};
use super::subnet::SUBNET_OPTION;
use super::wire::{self, FLAG_AD, FLAG_CD, FLAG_RD, HEADER_LEN};
use crate::iana::{Class, Rtype};
use crate::name::Name;

/// The flags an ordinary query may set.
const FLAGS: u16 = FLAG_RD | FLAG_AD | FLAG_CD;
/// Octets of an OPT record without options: root, type, payload, rcode and flags, length (RFC 6891 §6.1.2).
const OPT_LEN: usize = 11;

/// An ordinary query of class IN, less its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryHead {
    /// The ID to answer with.
    pub id: u16,
    /// Recursion desired.
    pub rd: bool,
    /// Authentic data.
    pub ad: bool,
    /// Checking disabled.
    pub cd: bool,
    /// The type asked for.
    pub qtype: Rtype,
    /// Octets of the question, which stands behind the header.
    pub question_len: u16,
    /// What the OPT record said, if there was one.
    pub edns: Option<Edns>,
}

impl QueryHead {
    /// Whether the client set DO.
    #[inline]
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// The question in the packet that was seen; empty in another one that is too short.
    #[inline]
    pub fn question<'p>(&self, packet: &'p [u8]) -> &'p [u8] {
        packet.get(HEADER_LEN..HEADER_LEN + usize::from(self.question_len)).unwrap_or_default()
    }

    /// The whole query, less a client subnet.
    pub fn query<'p>(&self, qname: Name, question: &'p [u8]) -> Query<'p> {
        let QueryHead { id, rd, ad, cd, qtype, edns, .. } = *self;
        let (client_subnet, asked_for) = (None, None);
        let (opcode, qclass) = (0, Class::IN);
        Query { id, opcode, rd, ad, cd, qname, qtype, qclass, question, edns, client_subnet, asked_for }
    }
}

/// Reads an ordinary query of class IN, and its name into `qname`; none for every other packet, right or wrong, and then
/// `qname` is any name. Allocates nothing.
// In place where packets are read: by a call what was read is written down first and then copied, a tenth of its time, and whether
// the compiler makes one depends on where else it is used.
#[inline(always)]
pub fn parse_head(packet: &[u8], qname: &mut Name) -> Option<QueryHead> {
    let (header, rest) = packet.split_first_chunk::<HEADER_LEN>()?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (flags, additionals) = (word(2), word(10));
    // QR and opcode are flags that must be clear here; one question and no records but OPT.
    if flags & !FLAGS != 0 || word(4) != 1 || (word(6) | word(8)) != 0 || additionals > 1 {
        return None;
    }
    let name_len = qname.refill(rest)?;
    let (question, rest) = rest.split_at_checked(name_len + 4)?;
    let [type_high, type_low, class_high, class_low] = *question.last_chunk()?;
    if Class::from_be_bytes([class_high, class_low]) != Class::IN {
        return None;
    }
    let edns = match (additionals, rest) {
        (0, []) => None,
        (0, _) => return None,
        (_, rest) => Some(opt(rest)?),
    };
    Some(QueryHead {
        id: word(0),
        rd: flags & FLAG_RD != 0,
        ad: flags & FLAG_AD != 0,
        cd: flags & FLAG_CD != 0,
        qtype: Rtype::from_be_bytes([type_high, type_low]),
        question_len: question.len() as u16,
        edns,
    })
}

/// Reads an OPT record that fills `rest`: version 0, no flag but DO.
fn opt(rest: &[u8]) -> Option<Edns> {
    let (&[root, t0, t1, p0, p1, rcode, version, f0, f1, l0, l1], options) =
        rest.split_first_chunk::<OPT_LEN>()?;
    let flags = u32::from_be_bytes([rcode, version, f0, f1]);
    let ordinary = root == 0
        && Rtype::from_be_bytes([t0, t1]) == Rtype::OPT
        && flags & !wire::EDNS_DO == 0
        && usize::from(u16::from_be_bytes([l0, l1])) == options.len();
    if !ordinary {
        return None;
    }
    let (mut structured_errors, mut has_subnet) = (false, false);
    for option in wire::options(options) {
        let (code, _) = option.ok()?;
        structured_errors |= code == EDE_OPTION;
        has_subnet |= code == SUBNET_OPTION;
    }
    let payload = u16::from_be_bytes([p0, p1]);
    Some(Edns { payload, version: 0, dnssec_ok: flags != 0, structured_errors, has_subnet })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use proptest::prelude::*;

    /// Every field, to be compared.
    fn fields<'q>(query: &Query<'q>) -> impl PartialEq + std::fmt::Debug + use<'q> {
        let flags = (query.id, query.opcode, query.rd, query.ad, query.cd);
        (flags, query.qname, query.qtype, query.qclass, query.question, query.edns)
    }

    /// A packet from its header words, question and the rest.
    fn packet(words: [u16; 6], question: &[u8], rest: &[u8]) -> Vec<u8> {
        let header: Vec<u8> = words.into_iter().flat_map(u16::to_be_bytes).collect();
        [&header, question, rest].concat()
    }

    const Q: &[u8] = b"\x03wWw\x07eXample\0\0\x01\0\x01";

    #[test]
    fn ordinary_queries_are_seen_and_others_left() {
        let opt = |flags: [u8; 4], options: &[u8]| {
            [b"\0\0\x29\x04\xd0", &flags[..], &(options.len() as u16).to_be_bytes(), options].concat()
        };
        let plain = opt([0; 4], b"");
        for (label, words, question, rest, seen) in [
            ("plain", [7, 0x0100, 1, 0, 0, 0], Q, vec![], true),
            ("no flags", [7, 0, 1, 0, 0, 0], Q, vec![], true),
            ("ad cd", [7, 0x0130, 1, 0, 0, 0], Q, vec![], true),
            ("root", [7, 0x0100, 1, 0, 0, 0], b"\0\0\x02\0\x01", vec![], true),
            ("opt", [7, 0x0100, 1, 0, 0, 1], Q, plain.clone(), true),
            ("do", [7, 0x0100, 1, 0, 0, 1], Q, opt([0, 0, 0x80, 0], b""), true),
            ("cookie", [7, 0x0100, 1, 0, 0, 1], Q, opt([0; 4], b"\0\x0a\0\x02xy"), true),
            ("ede", [7, 0x0100, 1, 0, 0, 1], Q, opt([0; 4], b"\0\x0a\0\0\0\x0f\0\0"), true),
            ("subnet", [7, 0x0100, 1, 0, 0, 1], Q, opt([0; 4], b"\0\x08\0\x07\0\x01\x18\0\xc0\0\x02"), true),
            ("cut option", [7, 0x0100, 1, 0, 0, 1], Q, opt([0; 4], b"\0\x0a\0\x02x"), false),
            ("version", [7, 0x0100, 1, 0, 0, 1], Q, opt([0, 1, 0, 0], b""), false),
            ("unknown edns flag", [7, 0x0100, 1, 0, 0, 1], Q, opt([0, 0, 0x40, 0], b""), false),
            ("response", [7, 0x8100, 1, 0, 0, 0], Q, vec![], false),
            ("notify", [7, 0x2000, 1, 0, 0, 0], Q, vec![], false),
            ("tc", [7, 0x0200, 1, 0, 0, 0], Q, vec![], false),
            ("no question", [7, 0x0100, 0, 0, 0, 0], b"", vec![], false),
            ("two questions", [7, 0x0100, 2, 0, 0, 0], Q, Q.to_vec(), false),
            ("answer", [7, 0x0100, 1, 1, 0, 0], Q, plain.clone(), false),
            ("authority", [7, 0x0100, 1, 0, 1, 0], Q, plain.clone(), false),
            ("two additionals", [7, 0x0100, 1, 0, 0, 2], Q, plain.repeat(2), false),
            ("no opt", [7, 0x0100, 1, 0, 0, 1], Q, vec![], false),
            ("tsig", [7, 0x0100, 1, 0, 0, 1], Q, b"\0\0\xfa\0\xff\0\0\0\0\0\0".to_vec(), false),
            ("trailing", [7, 0x0100, 1, 0, 0, 0], Q, vec![0], false),
            ("trailing opt", [7, 0x0100, 1, 0, 0, 1], Q, [&plain[..], b"x"].concat(), false),
            ("pointer", [7, 0x0100, 1, 0, 0, 0], b"\xc0\x0c\0\x01\0\x01", vec![], false),
            ("chaos", [7, 0x0100, 1, 0, 0, 0], b"\x01a\0\0\x10\0\x03", vec![], false),
            ("cut", [7, 0x0100, 1, 0, 0, 0], &Q[..Q.len() - 1], vec![], false),
        ] {
            let packet = packet(words, question, &rest);
            assert_eq!(parse_head(&packet, &mut { Name::ROOT }).is_some(), seen, "{label}");
        }
        let mut name = Name::ROOT;
        assert!((0..12).all(|len| parse_head(&[0; 12][..len], &mut name).is_none()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// What is seen at a glance is what a full reading finds.
        #[test]
        fn a_glance_agrees_with_a_reading(
            words in (any::<u16>(), prop_oneof![Just(0x0100u16), any::<u16>()], 0..3u16, 0..2u16, 0..2u16, 0..3u16),
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..70), 0..5),
            fixed in prop_oneof![Just([0, 1, 0, 1]), any::<[u8; 4]>()],
            rest in prop_oneof![
                Just(Vec::new()),
                (any::<[u8; 2]>(), any::<[u8; 4]>(), prop::collection::vec(0..20u8, 0..12)).prop_map(
                    |(payload, flags, options)| {
                        let len = (options.len() as u16).to_be_bytes();
                        [&b"\0\0\x29"[..], &payload, &flags, &len, &options].concat()
                    }
                ),
                (any::<[u8; 2]>(), any::<bool>()).prop_map(|(payload, dnssec_ok)| {
                    [&b"\0\0\x29"[..], &payload, &[0, 0, u8::from(dnssec_ok) << 7, 0, 0, 0]].concat()
                }),
                prop::collection::vec(any::<u8>(), 0..40),
            ],
        ) {
            let words = [words.0, words.1, words.2, words.3, words.4, words.5];
            let mut question: Vec<u8> =
                labels.iter().flat_map(|label| [&[label.len() as u8], &label[..]].concat()).collect();
            question.push(0);
            question.extend(fixed);
            let packet = packet(words, &question, &rest);
            // Whatever stood there before.
            let mut qname = Name::from_wire(&[&[1, b'x'].repeat(127)[..], &[0]].concat()).unwrap();
            if let Some(head) = parse_head(&packet, &mut qname) {
                let query = head.query(qname, head.question(&packet));
                let read = parse(&packet).map_err(|_| TestCaseError::fail("seen, but not to be read"))?;
                prop_assert_eq!(fields(&query), fields(&read));
            }
        }
    }
}
