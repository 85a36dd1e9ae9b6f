//! Which of several addresses comes first.
//!
//! Most clients use the first address and no other, so who tells all of them the same order sends all of them to the same server.
//! RFC 1034 §3.6: "The order of RRs in a set is not significant, and need not be preserved by name servers, resolvers, or other parts
//! of the DNS." So the set is turned by the query's ID, as Unbound does, which is random for each client and costs nothing to draw;
//! and by the answer's age in seconds, because queries over HTTPS and QUIC have the ID 0.
//!
//! Only addresses are turned, where they are the end of the answer and nothing follows them: all are of one length then, so TTLs stand
//! where they stood, and two pieces are copied instead of one. A set with signatures behind it stays as it came, and so do more
//! addresses than [`MAX`], which no client goes through, and what is said here, in the order in which it is stated.

use super::truth::Truth;
use super::wire;
use crate::iana::Rtype;

/// The most addresses that are turned: their number has five bits in an entry of the hot path.
pub(crate) const MAX: u8 = 31;

/// Octets of a TTL, and of the type and class before it.
const FIELD_LEN: usize = 4;

/// How many addresses are turned in the answer to a question of this type; 0 where nothing is.
pub(crate) fn turning(truth: &Truth, qtype: Rtype) -> u8 {
    let Some(record_len) = record_len(qtype).filter(|_| truth.authorities == 0) else { return 0 };
    // What stands before a record's TTL, if there is a pointer for its owner: then the record has just that length.
    let head = |ttl_at: u16| {
        let at = usize::from(ttl_at);
        let head = truth.octets.get(at.checked_sub(2 + FIELD_LEN)?..at)?;
        let rdata_len = truth.octets.get(at + FIELD_LEN..at + FIELD_LEN + 2)?;
        let is_pointer = head[0] & wire::POINTER == wire::POINTER;
        let is_address =
            usize::from(u16::from_be_bytes([rdata_len[0], rdata_len[1]])) + HEAD_LEN == record_len;
        (head[2..4] == qtype.to_be_bytes() && is_pointer && is_address).then_some(head)
    };
    let ttls = &truth.ttl_offsets;
    let Some(last) = ttls.last().copied() else { return 0 };
    let ends_it = usize::from(last) + record_len == truth.octets.len() + 2 + FIELD_LEN;
    let Some(of_last) = head(last).filter(|_| ends_it) else { return 0 };
    // Records of one set, one after the other: the same owner, type and class, each as far from the next as it is long.
    let in_set = |(place, ttl_at): &(usize, u16)| {
        usize::from(*ttl_at) + place * record_len == usize::from(last) && head(*ttl_at) == Some(of_last)
    };
    let count = ttls.iter().rev().copied().enumerate().take_while(in_set).count();
    u8::try_from(count).ok().filter(|count| (2..=MAX).contains(count)).unwrap_or(0)
}

/// An answer's records in the order of one reply, in three pieces: what stands before the addresses, those from the first to be told
/// on, and those before it. `by` is the ID and the age together.
#[inline]
pub(crate) fn pieces(records: &[u8], (turning, qtype): (u8, Rtype), by: u32) -> [&[u8]; 3] {
    let unturned = [records, &[], &[]];
    let Some((record_len, first)) = record_len(qtype).zip(by.checked_rem(turning.into())) else {
        return unturned;
    };
    let set_at = records.len().checked_sub(usize::from(turning) * record_len);
    let Some((before, set)) = set_at.and_then(|at| records.split_at_checked(at)) else { return unturned };
    match set.split_at_checked(first as usize * record_len) {
        Some((last, first)) => [before, first, last],
        None => unturned,
    }
}

/// What a reply is turned by.
#[inline]
pub(crate) fn by(id: u16, age_s: u32) -> u32 {
    age_s.wrapping_add(id.into())
}

/// Octets of a record before its address: a pointer, type, class, TTL and length.
const HEAD_LEN: usize = 12;

/// Octets of a record of this type whose owner is a pointer; none but for addresses.
#[inline]
fn record_len(qtype: Rtype) -> Option<usize> {
    match qtype {
        Rtype::A => Some(HEAD_LEN + 4),
        Rtype::AAAA => Some(HEAD_LEN + 16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{question, response};
    use super::super::truth::TtlLimits;
    use super::*;

    const AAAA: Rtype = Rtype::AAAA;

    /// What upstream says to `q.e`.
    fn truth(qtype: Rtype, dnssec_ok: bool, answers: &[&str], authorities: &[&str]) -> Truth {
        let limits = TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };
        let question = super::super::Question { dnssec_ok, ..question("q.e", qtype) };
        Truth::read(&question, &response(0, "q.e", qtype, [answers, authorities, &[]]), &limits).unwrap()
    }

    #[test]
    fn only_several_addresses_at_the_end_are_turned() {
        let two: &[&str] = &["q.e 60 A 192.0.2.1", "q.e 60 A 192.0.2.2"];
        let behind_alias =
            &["q.e 60 CNAME a.x", "a.x 60 A 192.0.2.1", "a.x 60 A 192.0.2.2", "a.x 60 A 192.0.2.3"];
        for (qtype, answers, expected) in [
            (Rtype::A, two, 2),
            (Rtype::A, &two[..1], 0),
            (Rtype::A, &behind_alias[..], 3),
            (Rtype::A, &behind_alias[..1], 0),
            (Rtype::A, &[], 0),
            (AAAA, &["q.e 60 AAAA 2001:db8::1", "q.e 60 AAAA 2001:db8::2"], 2),
            (Rtype::NS, &["q.e 60 NS a.e", "q.e 60 NS b.e"], 0),
        ] {
            assert_eq!(turning(&truth(qtype, false, answers, &[]), qtype), expected, "{answers:?}");
        }
        let denied = truth(Rtype::A, false, &[], &["e 60 SOA 60"]);
        assert_eq!(turning(&denied, Rtype::A), 0);
        let signed = ["q.e 60 A 192.0.2.1", "q.e 60 A 192.0.2.2", "q.e 60 RRSIG 1"];
        assert_eq!(turning(&truth(Rtype::A, true, &signed, &[]), Rtype::A), 0);
        assert_eq!(turning(&truth(Rtype::A, false, &signed, &[]), Rtype::A), 2);
    }

    #[test]
    fn more_than_an_entry_can_count_stay_as_they_are() {
        for (count, expected) in [(31, 31), (32, 0)] {
            let records: Vec<String> = (0..count).map(|host| format!("q.e 60 A 192.0.2.{host}")).collect();
            let records: Vec<&str> = records.iter().map(String::as_str).collect();
            assert_eq!(turning(&truth(Rtype::A, false, &records, &[]), Rtype::A), expected, "{count}");
        }
    }

    #[test]
    fn what_only_looks_like_an_address_is_none() {
        // The end of an alias's target, and of what stands before the set, is anybody's to choose.
        // With the root behind it, this label is an address record of the name that stands where the alias leads.
        let target = r"\192\033\000\001\000\001\000\000\000\060\000\004\192\000\002";
        let answers = [format!("q.e 60 CNAME {target}"), format!("{target} 60 A 192.0.2.1")];
        let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
        let truth = truth(Rtype::A, false, &answers, &[]);
        let [alias, address] = [&truth.octets[13..29], &truth.octets[29..]];
        assert_eq!((&alias[..14], alias.len()), (&address[..14], address.len()), "it does look like one");
        assert_eq!(turning(&truth, Rtype::A), 0);
    }

    #[test]
    fn every_address_comes_first_in_its_turn() {
        let behind_alias =
            &["q.e 60 CNAME a.x", "a.x 60 A 192.0.2.1", "a.x 60 A 192.0.2.2", "a.x 60 A 192.0.2.3"];
        let truth = truth(Rtype::A, false, behind_alias, &[]);
        let order = |by| {
            let turned = pieces(&truth.octets, (turning(&truth, Rtype::A), Rtype::A), by).concat();
            assert_eq!(turned.len(), truth.octets.len());
            assert_eq!(turned[..turned.len() - 48], truth.octets[..turned.len() - 48], "the alias stays");
            let hosts: Vec<u8> = turned.iter().copied().skip(15).rev().step_by(16).take(3).collect();
            [hosts[2], hosts[1], hosts[0]]
        };
        assert_eq!([order(0), order(1), order(2), order(3)], [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]);
        assert_eq!(order(by(u16::MAX, u32::MAX)), order((u32::from(u16::MAX) - 1) % 3));
        for (records, turns) in [(&[][..], 2), (&[0; 31][..], 2), (&[0; 40][..], 0)] {
            assert_eq!(pieces(records, (turns, Rtype::A), 1), [records, &[], &[]]);
        }
    }
}
