//! What is written and read back, in virtual time by two clocks.

use super::*;
use crate::dns::TtlLimits;
use crate::dns::testing::{question, response};
use crate::iana::Rtype;

/// The second in which files are written here.
const AT: UnixSeconds = 1_800_000_000;

/// Virtual time in milliseconds, of a process that is days old.
fn at(ms: u64) -> Duration {
    Duration::from_secs(1_000_000) + Duration::from_millis(ms)
}

/// A truth that lives `lifetime_s`.
fn truth(asked: &Question, lifetime_s: u32) -> Arc<Truth> {
    let limits = TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };
    let answer = format!("{} {lifetime_s} A 192.0.2.1", asked.qname);
    let message = response(0, &asked.qname.to_string(), Rtype::A, [&[&answer], &[], &[]]);
    Arc::new(Truth::read(asked, &message, &limits).unwrap())
}

/// A cache that keeps what has expired for a minute.
fn cache() -> Cache {
    Cache::new(1 << 20).keep_stale(Duration::from_secs(60))
}

/// What these caches hold, as a file.
fn written(caches: &[(&Origin, &Cache)], now: Duration) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), AT, u64::MAX).unwrap();
    for (origin, cache) in caches {
        writer.cache(origin, cache, now).unwrap();
    }
    let (octets, written) = writer.end().unwrap();
    assert_eq!(written.octets, octets.len() as u64);
    octets
}

/// The one cache of a file, read back when the wall clock says so many seconds more.
fn restored(file: &[u8], wall_s: UnixSeconds, now: Duration) -> (Cache, Restored) {
    let (cache, mut sum) = (cache(), Restored::default());
    let stored = Stored::read(file).unwrap();
    let passed_s = stored.passed_s(AT + wall_s).unwrap();
    for block in stored.caches.iter().flat_map(|stored| &stored.blocks) {
        sum += cache.restore(block, passed_s, now);
    }
    (cache, sum)
}

#[test]
fn answers_are_as_old_as_they_are_by_the_wall_clock_and_never_younger() {
    let asked = question("q.e", Rtype::A);
    let before = cache();
    before.put(&asked, truth(&asked, 100), at(0));
    // When it is written, and seconds by the wall clock until it is read; then what is left, or how long ago it expired.
    for (ms, wall_s, expected) in [
        (0, 0, Some((1, 99))),
        (1, 0, Some((2, 98))),
        (30_000, 0, Some((31, 69))),
        (30_000, 20, Some((51, 49))),
        (30_000, 68, Some((99, 1))),
        (30_000, 69, Some((100, 0))),
        (30_000, 128, Some((159, 0))),
        (30_000, 129, None),
        (159_000, 0, None),
        (30_000, 1 << 40, None),
        (30_000, UnixSeconds::MAX - AT, None),
    ] {
        let file = written(&[(&Origin::default(), &before)], at(ms));
        // The next process has another clock.
        let now = at(500_000);
        let (cache, sum) = restored(&file, wall_s, now);
        let found = cache.get(&asked, now).or_else(|| cache.stale(&asked, now));
        assert_eq!(found.as_ref().map(|found| (found.age_s, found.left_s)), expected, "{ms} {wall_s}");
        let count = |is: bool| u64::from(is);
        let expected = Restored {
            fresh: count(expected.is_some_and(|(_, left_s)| left_s > 0)),
            expired: count(expected.is_some_and(|(_, left_s)| left_s == 0)),
            old: count(expected.is_none()),
            refused: 0,
        };
        // What is of no use when all is written is not written.
        let expected = if ms == 159_000 { Restored { old: 1, ..expected } } else { expected };
        assert_eq!(sum, expected, "{ms} {wall_s}");
        if let Some(found) = found {
            assert_eq!(*found.truth, *truth(&asked, 100));
        }
    }
    assert_eq!(
        restored(&written(&[(&Origin::default(), &before)], at(160_000)), 0, at(0)).1,
        Restored::default()
    );
}

#[test]
fn a_clock_that_was_set_back_says_nothing() {
    let file = written(&[], at(0));
    let stored = Stored::read(&file).unwrap();
    for (wall, passed_s) in [
        (AT - 1, None),
        (UnixSeconds::MIN, None),
        (0, None),
        (AT, Some(1)),
        (AT + 7, Some(8)),
        (UnixSeconds::MAX, Some((UnixSeconds::MAX - AT).unsigned_abs() + 1)),
    ] {
        assert_eq!(stored.passed_s(wall), passed_s, "{wall}");
    }
}

#[test]
fn what_is_older_than_the_clock_is_left_out() {
    let asked = question("q.e", Rtype::A);
    let before = cache();
    before.put(&asked, truth(&asked, 100), at(0));
    let file = written(&[(&Origin::default(), &before)], at(30_000));
    let sum = restored(&file, 0, Duration::from_secs(30)).1;
    assert_eq!(sum, Restored { old: 1, ..Restored::default() });
}

#[test]
fn each_question_and_cache_has_its_own() {
    let flags = [(false, false), (false, true), (true, false), (true, true)];
    let questions = flags.map(|(dnssec_ok, checking_disabled)| Question {
        dnssec_ok,
        checking_disabled,
        ..question("q.e", Rtype::A)
    });
    let origins = [&["a"][..], &["b"], &["a", "c"]].map(|asked| Origin::new(&"rules", asked));
    let caches = [cache(), cache(), cache()];
    for (index, asked) in questions.iter().enumerate() {
        caches[0].put(asked, truth(asked, 100 + index as u32), at(0));
    }
    caches[1].put(&questions[0], truth(&questions[0], 50), at(0));
    let file =
        written(&[(&origins[0], &caches[0]), (&origins[1], &caches[1]), (&origins[2], &caches[2])], at(0));
    let stored = Stored::read(&file).unwrap();
    assert_eq!(stored.at, AT);
    let found: Vec<(&Origin, usize)> =
        stored.caches.iter().map(|cache| (&cache.origin, cache.blocks.len())).collect();
    assert_eq!(found, [(&origins[0], 1), (&origins[1], 1), (&origins[2], 0)]);
    let again = [cache(), cache()];
    for (cache, stored) in again.iter().zip(&stored.caches) {
        cache.restore(stored.blocks[0], 1, at(0));
    }
    let lifetimes = |cache: &Cache| {
        questions
            .map(|asked| cache.truths.get(Key::new(&asked).as_bytes()).map(|entry| entry.truth.lifetime_s))
    };
    assert_eq!(lifetimes(&again[0]), [Some(100), Some(101), Some(102), Some(103)]);
    assert_eq!(lifetimes(&again[1]), [Some(50), None, None, None]);
    // Who asks for less of it finds what came with signatures, here as well.
    let kin = Question { qtype: Rtype::A, ..questions[0] };
    let signed = cache();
    signed.restore(&entry(&questions[2]), 1, at(0));
    assert!(signed.get(&kin, at(0)).is_some());
}

/// A block with the answer to a question.
fn entry(asked: &Question) -> Vec<u8> {
    let (mut out, key) = (Vec::new(), Key::new(asked));
    assert!(put_entry(&mut out, key.as_bytes(), &Entry { truth: truth(asked, 100), stored: at(0) }, at(0)));
    out
}

#[test]
fn neither_failures_nor_marks_are_kept() {
    let (asked, failed) = (question("q.e", Rtype::A), question("x.e", Rtype::A));
    let before = cache();
    before.put(&asked, truth(&asked, 100), at(0));
    before.put_failure(&failed, &[], at(0));
    before.get(&asked, at(0)).unwrap().truth.untouched.set(7, Duration::MAX);
    let (after, sum) = restored(&written(&[(&Origin::default(), &before)], at(0)), 0, at(0));
    assert_eq!(sum.fresh, 1);
    assert_eq!(after.failure(&failed, at(0)), None);
    assert!(!after.get(&asked, at(0)).unwrap().truth.untouched.is(7));
}

#[test]
fn what_came_meanwhile_stays() {
    let asked = question("q.e", Rtype::A);
    let (before, after) = (cache(), cache());
    before.put(&asked, truth(&asked, 100), at(0));
    after.put(&asked, truth(&asked, 200), at(0));
    let file = written(&[(&Origin::default(), &before)], at(0));
    let sum = after.restore(Stored::read(&file).unwrap().caches[0].blocks[0], 1, at(0));
    assert_eq!((sum.refused, after.get(&asked, at(0)).unwrap().left_s), (1, 200));
}

#[test]
fn an_altered_file_is_of_no_use_whichever_octet_it_is() {
    let asked = question("q.e", Rtype::A);
    let before = cache();
    before.put(&asked, truth(&asked, 100), at(0));
    let origin = Origin::new(&"rules", ["a", "b"]);
    let file = written(&[(&origin, &before)], at(0));
    assert!(Stored::read(&file).is_ok());
    for place in 0..file.len() {
        for bit in 0..8 {
            let mut altered = file.clone();
            altered[place] ^= 1 << bit;
            let expected = if (8..16).contains(&place) { Unusable::Foreign } else { Unusable::Damaged };
            assert_eq!(Stored::read(&altered).err(), Some(expected), "{place} {bit}");
        }
        assert!(Stored::read(&file[..place]).is_err(), "cut at {place}");
    }
    assert_eq!(Stored::read(&[&file[..], b"x"].concat()).err(), Some(Unusable::Damaged));
    assert_eq!(Stored::read(b"").err(), Some(Unusable::Damaged));
}

#[test]
fn a_block_that_nobody_wrote_is_taken_as_far_as_it_goes() {
    let asked = question("q.e", Rtype::A);
    let good = entry(&asked);
    let count = |block: &[u8]| {
        let cache = cache();
        let sum = cache.restore(block, 1, at(0));
        assert_eq!(cache.len(), sum.fresh + sum.expired);
        (sum.fresh, sum.refused)
    };
    assert_eq!(count(&good), (1, 0));
    // Unknown flags, and a response that is none: the next one is read all the same.
    let altered = |place: usize, octet: u8| {
        let mut altered = good.clone();
        altered[place] = octet;
        [altered, good.clone()].concat()
    };
    assert_eq!(count(&altered(2, 4)), (1, 1));
    assert_eq!(count(&altered(ENTRY_LEN + 2, 0)), (1, 1));
    assert_eq!(count(&altered(ENTRY_LEN + 3, 2)), (1, 1), "a failure is not kept");
    for length in 1..good.len() {
        assert_eq!(count(&good[..length]), (0, 1), "{length}");
    }
}

#[test]
fn there_is_a_block_for_every_so_many_octets_and_no_more_than_have_room() {
    let before = Cache::new(8 << 20);
    for index in 0..10_000 {
        let asked = question(&format!("host{index}.example"), Rtype::A);
        before.put(&asked, truth(&asked, 100), at(0));
    }
    for (most, blocks) in [(u64::MAX, 3), (2 * BLOCK_LEN as u64, 2)] {
        let mut writer = Writer::new(Vec::new(), AT, most).unwrap();
        writer.cache(&Origin::default(), &before, at(0)).unwrap();
        let (file, written) = writer.end().unwrap();
        let found = &Stored::read(&file).unwrap().caches[0].blocks;
        assert_eq!(found.len(), blocks);
        assert_eq!(written.answers + written.left_out, 10_000);
        assert_eq!(written.left_out > 0, blocks == 2);
        assert!(written.octets <= most.saturating_add(100), "{written:?}");
        let again = Cache::new(8 << 20);
        let fresh: u64 = found.iter().map(|block| again.restore(block, 1, at(0)).fresh).sum();
        assert_eq!((fresh, again.len()), (written.answers, written.answers));
    }
}
