//! What goes into a ring comes out as it was, and what finds no room is counted.

use super::super::tap::Taps;
use super::super::{Choice, Record};
use super::*;
use crate::policy::TriggerType;

/// Everything that is in the rings, as records; how many were said to be.
fn take(taps: &Taps) -> (Vec<u8>, u64) {
    let mut octets = Vec::new();
    let mut count = 0;
    loop {
        match taps.take(&mut octets, usize::MAX) {
            0 => return (octets, count),
            more => count += more,
        }
    }
}

/// The records in some octets.
fn read(mut octets: &[u8]) -> Vec<Record<'_>> {
    std::iter::from_fn(|| {
        let (record, behind) = Record::read(octets)?;
        octets = behind;
        Some(record)
    })
    .collect()
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let messages = messages("www.evil.example");
    let plain = record(&messages);
    let matched: Name = "other.example".parse().unwrap();
    let late = Trigger {
        on: TriggerType::NsIp,
        prefix: Some((addr("[2001:db8::1]:0").ip(), 48)),
        ..Trigger::new(0, MatchKind::Exact)
    };
    let late =
        Cause { action: Action::Passthru, order: "a", family: "", trigger: late, matched: matched.as_wire() };
    for record in [
        plain.clone(),
        Record { client: addr("[2001:db8::7]:1"), transport: Transport::Tcp, ..plain.clone() },
        Record { decided: sinkholed(), observed: vec!["b", "c"], ..plain.clone() },
        Record { decided: Decided::Protected, reply: &[], source: "forged", ..plain.clone() },
        Record { decided: Decided::By(late), query: &[], ..plain.clone() },
    ] {
        let octets = written(&record);
        assert_eq!(Record::read(&octets), Some((record.clone(), &[][..])));
        // Nothing of it can be left out, and nothing hostile makes it break.
        for len in 0..octets.len() {
            assert_eq!(Record::read(&octets[..len]), None, "{len}");
        }
        for at in 0..octets.len() {
            let mut other = octets.clone();
            other[at] ^= 0xff;
            let _ = Record::read(&other);
        }
    }
    let many = Record { observed: vec!["x"; 300], ..plain };
    assert_eq!(Record::read(&written(&many)).unwrap().0.observed.len(), 8);
}

#[test]
fn rings_give_whole_records_and_count_what_finds_no_room() {
    let messages = messages("www.example.com");
    let record = record(&messages);
    let len = written(&record).len();
    let taps = Taps::new(Choice::default(), 1, 1);
    let mut tap = taps.tap();
    // Three times round, so that records lie across the end.
    for _ in 0..3 {
        let room = (256 << 10) / len;
        for _ in 0..room + 10 {
            tap.note(&record, std::iter::empty());
        }
        let (octets, count) = take(&taps);
        assert_eq!((count, read(&octets).len()), (room as u64, room));
        assert!(read(&octets).iter().all(|one| *one == record));
    }
    assert_eq!(taps.counts(), (3 * ((256 << 10) / len) as u64, 30));
    // More than a ring ever holds.
    let long = vec![0; 1 << 20];
    tap.note(&Record { reply: &long, ..record.clone() }, std::iter::empty());
    assert_eq!(taps.counts().1, 31);
    // A ring goes with who wrote to it, but not before it is read out, and its counts stay.
    tap.note(&record, std::iter::empty());
    let before = taps.counts();
    drop(tap);
    assert_eq!(take(&taps).1, 1);
    assert_eq!((take(&taps).1, taps.counts()), (0, before));
}

#[test]
fn many_threads_share_the_slow_paths_rings() {
    let messages = messages("www.example.com");
    let record = record(&messages);
    let taps = Taps::new(Choice::default(), 1, 1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..200).for_each(|_| taps.note(&record, std::iter::empty())));
        }
    });
    assert_eq!(taps.counts(), (800, 0));
    let (octets, count) = take(&taps);
    assert_eq!((count, read(&octets).len()), (800, 800));
}

#[test]
fn a_batch_has_a_bound_and_no_ring_waits_for_another() {
    let messages = messages("www.example.com");
    let record = record(&messages);
    let taps = Taps::new(Choice::default(), 1, 1);
    let mut both = [taps.tap(), taps.tap()];
    both.iter_mut().for_each(|tap| (0..2000).for_each(|_| tap.note(&record, std::iter::empty())));
    let dropped = taps.counts().1;
    let (mut batches, mut count) = (0, 0);
    loop {
        let mut octets = Vec::new();
        let taken = taps.take(&mut octets, 1);
        if taken == 0 {
            break;
        }
        assert!(octets.len() <= 256 << 10 && read(&octets).len() as u64 == taken);
        (batches, count) = (batches + 1, count + taken);
    }
    assert_eq!((batches, count + dropped), (2, 4000));
}

#[test]
fn samples_are_one_of_so_many_and_only_captured_ones_if_said() {
    let messages = messages("www.example.com");
    let record = record(&messages);
    let taps = Taps::new(Choice { captured_only: true, one_in: 10 }, 64 << 20, 1);
    let mut tap = taps.tap();
    assert_eq!((tap.is_about(true), tap.is_about(false)), (true, false));
    assert_eq!((taps.is_about(true), taps.is_about(false)), (true, false));
    for _ in 0..10_000 {
        tap.note(&record, std::iter::empty());
    }
    let (written, dropped) = taps.counts();
    assert!((900..1100).contains(&written) && dropped == 0, "{written} {dropped}");
}

#[test]
fn every_trigger_and_way_to_match_is_read_as_it_was() {
    let messages = messages("www.evil.example");
    let prefixes = [None, Some((addr("192.0.2.0:0").ip(), 24)), Some((addr("[2001:db8::]:0").ip(), 128))];
    for (on, prefix) in TriggerType::ALL.into_iter().flat_map(|on| prefixes.map(|prefix| (on, prefix))) {
        for kind in [MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow] {
            for action in Action::ALL {
                let trigger = Trigger { labels: 2, kind, on, prefix };
                let cause = Cause { action, order: "a", family: "f", trigger, matched: b"\x01x\0" };
                let record = Record { decided: Decided::By(cause), ..record(&messages) };
                assert_eq!(Record::read(&written(&record)), Some((record, &[][..])));
            }
        }
    }
}
