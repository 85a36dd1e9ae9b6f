//! The few octets of a reply that forwarding looks at: header, question, and no record.

use crate::dns::Question;
use crate::iana::Rcode;
use crate::name::{MAX_LABEL_LEN, MAX_NAME_LEN};

/// Octets in a header (RFC 1035 §4.1.1); the question starts behind it.
pub(super) const HEADER_LEN: usize = 12;
/// Octets of ANCOUNT, NSCOUNT and ARCOUNT, which [`seal`] moves to the message's end.
pub(super) const SEAL_LEN: usize = 6;
/// Where ANCOUNT starts in a header.
const COUNTS_AT: usize = HEADER_LEN - SEAL_LEN;
/// Type and class behind the name of a question (RFC 1035 §4.1.2).
const TYPE_AND_CLASS_LEN: usize = 4;
/// QR in the third octet of a header.
const QR: u8 = 0x80;
/// The opcode in the third octet of a header.
const OPCODE: u8 = 0x78;
/// TC in the third octet of a header.
const TC: u8 = 0x02;

/// A question as it stands on the wire.
pub(super) fn question_octets(question: &Question) -> Vec<u8> {
    let mut octets = question.qname.as_wire().to_vec();
    octets.extend_from_slice(&question.qtype.to_be_bytes());
    octets.extend_from_slice(&question.qclass.to_be_bytes());
    octets
}

/// The first question of a message; none if it ends early or its name is compressed, which nothing precedes it for.
pub(super) fn first_question(message: &[u8]) -> Option<&[u8]> {
    let mut end = HEADER_LEN;
    loop {
        let length = usize::from(*message.get(end)?);
        end += 1 + length;
        if length > MAX_LABEL_LEN || end - HEADER_LEN > MAX_NAME_LEN {
            return None;
        }
        if length == 0 {
            return message.get(HEADER_LEN..end + TYPE_AND_CLASS_LEN);
        }
    }
}

/// Whether `reply` is a response to a query for `question` (its octets on the wire), the ID not looked at.
pub(super) fn is_reply_to(question: &[u8], reply: &[u8]) -> bool {
    let (Some(flags), Some(qdcount)) = (reply.get(2), reply.get(4..6)) else { return false };
    // RFC 5452 §9.1: the question section must match; RFC 9619 §4: a QUERY's holds one question at most.
    flags & QR != 0
        && flags & OPCODE == 0
        && qdcount == [0, 1]
        && first_question(reply).is_some_and(|given| same_question(question, given))
}

/// Whether two questions are the same, the name's case aside (RFC 4343 §3).
fn same_question(left: &[u8], right: &[u8]) -> bool {
    let (Some((left_name, left_rest)), Some((right_name, right_rest))) =
        (split_question(left), split_question(right))
    else {
        return false;
    };
    // Only the name folds: 0x41 is HTTPS as a type, and 0x61 is another one. Length octets are below the letters.
    left_name.eq_ignore_ascii_case(right_name) && left_rest == right_rest
}

/// The name, and type with class.
fn split_question(question: &[u8]) -> Option<(&[u8], &[u8])> {
    question.split_at_checked(question.len().checked_sub(TYPE_AND_CLASS_LEN)?)
}

/// Whether TC is set: the rest comes over TCP (RFC 2181 §9).
pub(super) fn is_truncated(reply: &[u8]) -> bool {
    reply.get(2).is_some_and(|flags| flags & TC != 0)
}

/// Whether the server declined rather than answered, so that another one may know better.
///
/// NOERROR, NXDOMAIN and whatever is not listed here (YXDOMAIN of RFC 6672, say) are answers.
pub(super) fn declines(reply: &[u8]) -> bool {
    let low = reply.get(3).map_or(Rcode::SERVFAIL, |flags| Rcode(u16::from(flags & 0x0f)));
    matches!(low, Rcode::FORMERR | Rcode::SERVFAIL | Rcode::NOTIMP | Rcode::REFUSED)
}

/// Hides the records of a message from a parser that would refuse the whole for one it cannot read: the counts behind
/// QDCOUNT move to the end and leave zeros, so that header and question are all there is to parse.
///
/// False when it must not be parsed even so: no header, or a QDCOUNT that would be believed. Undone by [`unseal`].
pub(super) fn seal(message: &mut Vec<u8>) -> bool {
    let Some(&[_, _, _, _, qd_high, qd_low, ref counts @ ..]) = message.first_chunk::<HEADER_LEN>() else {
        return false;
    };
    let counts: [u8; SEAL_LEN] = *counts;
    if qd_high != 0 || qd_low > 1 || message.len() + SEAL_LEN > usize::from(u16::MAX) {
        return false;
    }
    message[COUNTS_AT..HEADER_LEN].fill(0);
    message.extend_from_slice(&counts);
    true
}

/// The message as it was before [`seal`]; none if it cannot have been sealed.
pub(super) fn unseal(mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let len = sealed.len().checked_sub(SEAL_LEN).filter(|len| *len >= HEADER_LEN)?;
    let counts = sealed.split_off(len);
    sealed[COUNTS_AT..HEADER_LEN].copy_from_slice(&counts);
    Some(sealed)
}

/// A message too large to be handed on, as a server would have truncated it: header with TC, and question.
pub(super) fn cut(message: &[u8]) -> Option<Vec<u8>> {
    let question = first_question(message)?;
    let mut short = message.get(..HEADER_LEN + question.len())?.to_vec();
    short[2] |= TC;
    short[COUNTS_AT..HEADER_LEN].fill(0);
    Some(short)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reply to `www.example.` HTTPS with one question and an odd record count.
    fn reply() -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 1];
        message.extend_from_slice(b"\x03wWw\x07Example\x00\x00\x41\x00\x01rest");
        message
    }

    const QUESTION: &[u8] = b"\x03www\x07example\x00\x00\x41\x00\x01";

    #[test]
    fn questions_match_but_for_case() {
        assert!(is_reply_to(QUESTION, &reply()));
        type Edit = fn(&mut Vec<u8>);
        let edits: [(&str, Edit); 9] = [
            ("a query", |message| message[2] &= 0x7f),
            ("another opcode", |message| message[2] |= 0x28),
            ("no question", |message| message[5] = 0),
            ("two questions", |message| message[5] = 2),
            ("256 questions more", |message| message[4] = 1),
            ("another name", |message| message[13] = b'v'),
            ("a type that differs in the case bit", |message| message[26] = 0x61),
            ("another class", |message| message[28] = 3),
            ("a name that goes on", |message| message[24] = 63),
        ];
        for (what, edit) in edits {
            let mut edited = reply();
            edit(&mut edited);
            assert_ne!(edited, reply(), "{what}");
            assert!(!is_reply_to(QUESTION, &edited), "{what}");
        }
    }

    #[test]
    fn declining_is_not_answering() {
        let declining = (0..16u8).filter(|rcode| {
            let mut message = reply();
            message[3] = 0xa0 | rcode;
            declines(&message)
        });
        assert_eq!(declining.collect::<Vec<_>>(), [1, 2, 4, 5]);
    }

    #[test]
    fn a_sealed_message_shows_its_question_only() {
        let mut sealed = reply();
        assert!(seal(&mut sealed));
        assert_eq!(sealed[6..12], [0; 6]);
        assert!(is_reply_to(QUESTION, &sealed));
        assert_eq!(unseal(sealed), Some(reply()));
        let mut many = reply();
        many[4] = 0xff;
        assert!(!seal(&mut many));
        assert!(!seal(&mut vec![0; 11]));
        assert!(!seal(&mut vec![0; 65_530]));
        assert!(seal(&mut vec![0; 65_529]));
        assert_eq!(unseal(vec![0; 17]), None);
    }

    #[test]
    fn a_cut_message_asks_for_tcp() {
        let short = cut(&reply()).unwrap();
        assert!(is_truncated(&short) && !is_truncated(&reply()));
        assert!(is_reply_to(QUESTION, &short));
        assert_eq!(short.len(), HEADER_LEN + QUESTION.len());
        assert_eq!(short[6..12], [0; 6]);
    }

    proptest! {
        #[test]
        fn no_octets_trouble_it(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            is_reply_to(QUESTION, &octets);
            declines(&octets);
            cut(&octets);
            unseal(octets.clone());
            let mut sealed = octets.clone();
            if seal(&mut sealed) {
                prop_assert_eq!(unseal(sealed), Some(octets));
            } else {
                prop_assert_eq!(sealed, octets);
            }
        }
    }
}
