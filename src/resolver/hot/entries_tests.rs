//! The ring of own entries against a map of what was put in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::entries::{Entries, Place};
use super::entry::{Entry, Stored};
use super::template::Template;
use crate::dns::Truth;
use crate::dns::finish::MAX_UDP_LEN;
use crate::dns::head::QueryHead;
use crate::dns::testing::name;
use crate::iana::{Rcode, Rtype};
use crate::name::Name;
use crate::policy::Clear;

/// A question, its hash, and the name.
type Question = (u64, QueryHead, Name);

fn question(entries: &Entries, number: usize) -> Question {
    let payload = MAX_UDP_LEN as u16;
    let edns = crate::dns::Edns {
        payload,
        version: 0,
        dnssec_ok: false,
        structured_errors: false,
        has_subnet: false,
    };
    let (ad, rd, cd) = (false, true, false);
    let head = QueryHead { id: 7, rd, ad, cd, qtype: Rtype::A, question_len: 0, edns: Some(edns) };
    let qname = name(&format!("n{number}.example"));
    (entries.hash(&head, &qname), head, qname)
}

/// Puts records of so many octets in, each saying which version they are; those that stayed for want of being forgotten.
fn put(entries: &mut Entries, (hash, head, qname): &Question, version: u32, len: usize) -> Vec<Name> {
    let records: Vec<u8> = version.to_be_bytes().into_iter().cycle().take(len).collect();
    let truth = Truth {
        scope: None,
        rcode: Rcode::NOERROR,
        authoritative: false,
        ours: false,
        authentic: false,
        truncated: false,
        octets: Box::default(),
        answers: 0,
        authorities: 0,
        strangers: 0,
        aliases: 2,
        addresses: Box::default(),
        ttl_offsets: Box::default(),
        lifetime_s: 60,
        targets: Box::new([*qname, Name::ROOT]),
        ede: Vec::new(),
        untouched: Default::default(),
        asks: Default::default(),
    };
    let template =
        Template { flags: 0x8180, counts: [1, 0, 1], records: &records, opt: &[9; 11], turning: 0 };
    let truth = Arc::new(truth);
    let stored = Stored::At(Duration::ZERO, truth.lifetime_s);
    let mut kept = Vec::new();
    let stays = |entry: &Entry<'_>| kept.push(entry.question().unwrap().qname);
    entries.insert((*hash, head, qname), &template, (&truth, stored), Clear::UNKNOWN, stays);
    kept
}

/// The version found, if any, checked through and through.
fn version(entries: &mut Entries, (hash, head, qname): &Question) -> Option<u32> {
    let (_, entry) = entries.find(*hash, head, qname)?;
    assert!(entry.targets().eq([*qname, Name::ROOT]));
    let mut out = [0; 2048];
    let len = entry.render(head, &[], 1_000_000_000, &mut out).unwrap();
    let records = &out[12..len - 11];
    let version: [u8; 4] = records[..4].try_into().unwrap();
    assert!(records.iter().eq(version.iter().cycle().take(records.len())));
    Some(u32::from_be_bytes(version))
}

/// How long records may be: mostly short, and as long as may be; then they fill up the ring to any octet.
fn any_len() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 4..300usize, 1 => Just(1200), 1 => (0..60usize).prop_map(|steps| 8 + 16 * steps)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is found is the latest that was put in, and a place tells whether it is still what it was.
    #[test]
    fn what_is_found_is_what_was_put(
        events in vec((0..120usize, any_len(), prop::bool::weighted(0.6)), 1..800),
        cleared in 0..1600usize,
    ) {
        let mut entries = Entries::new(20_000);
        let mut latest: HashMap<usize, u32> = HashMap::new();
        let mut places: Vec<(Place, Name)> = Vec::new();
        for (turn, (number, len, put_it)) in events.into_iter().enumerate() {
            let asked = question(&entries, number);
            if turn == cleared {
                entries.clear();
                latest.clear();
            }
            if put_it {
                put(&mut entries, &asked, turn as u32, len);
                latest.insert(number, turn as u32);
                prop_assert_eq!(version(&mut entries, &asked), Some(turn as u32), "just put");
            } else if let Some(found) = version(&mut entries, &asked) {
                prop_assert_eq!(Some(&found), latest.get(&number));
            }
            if let Some((place, _)) = entries.find(asked.0, &asked.1, &asked.2) {
                places.push((place, asked.2));
            }
            for (place, qname) in places.iter().rev().take(50) {
                if let Some(entry) = entries.get(*place) {
                    prop_assert!(entry.targets().next() == Some(*qname), "another one at a known place");
                }
            }
        }
    }
}

#[test]
fn what_is_asked_for_stays_and_the_rest_goes() {
    let mut entries = Entries::new(1 << 16);
    let popular: Vec<Question> = (0..20).map(|number| question(&entries, number)).collect();
    for asked in &popular {
        put(&mut entries, asked, 1, 100);
    }
    let mut stayed = std::collections::HashSet::new();
    for number in 1000..20_000 {
        let asked = question(&entries, number);
        stayed.extend(put(&mut entries, &asked, 2, 100));
        let kept = version(&mut entries, &popular[number % 20]);
        assert_eq!(kept, Some(1), "{number}");
    }
    assert!(
        popular.iter().all(|(_, _, qname)| stayed.contains(qname)) && stayed.len() < 25,
        "{}",
        stayed.len()
    );
    let rest = (1000..20_000).filter(|number| {
        let asked = question(&entries, *number);
        version(&mut entries, &asked).is_some()
    });
    let rest = rest.count();
    assert!((200..500).contains(&rest), "{rest} of 64 KiB");
    // The ring is full: the first sight of a question is no reason to take it in, the second is.
    assert!(!entries.admits(77) && entries.admits(77));
}

#[test]
fn no_memory_no_entries() {
    let mut entries = Entries::new(1000);
    let asked = question(&entries, 1);
    put(&mut entries, &asked, 1, 100);
    assert_eq!(version(&mut entries, &asked), None);
}
