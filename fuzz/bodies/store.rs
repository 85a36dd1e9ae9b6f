//! Files of what was cached: any octets, alone and behind a right checksum, and blocks of entries. Nothing panics, and what is taken out
//! is as old as it is and is found again when it is written anew.

use std::time::Duration;

use sinkscope::cache::store::{Stored, Unusable, Writer};
use sinkscope::cache::{Cache, Origin};
use xxhash_rust::xxh3::xxh3_128;

/// When blocks are read, on a clock that is older than anything may be.
const NOW: Duration = Duration::from_secs(2_000_000);
/// Seconds that have passed since they were written.
const PASSED_S: u64 = 10;

/// Reads the octets as a file, as what stands in a file, and as a block.
pub fn run(octets: &[u8]) {
    if let Ok(stored) = Stored::read(octets) {
        let (body, sum) = octets.split_at(octets.len() - 16);
        assert_eq!(xxh3_128(body).to_le_bytes(), *sum, "what was altered is of no use");
        assert!(stored.passed_s(stored.at) == Some(1));
    }
    let mut file = b"SNKCACHE\x01\0\0\0\0\0\0\0".to_vec();
    file.extend_from_slice(octets);
    let sum = xxh3_128(&file);
    file.extend_from_slice(&sum.to_le_bytes());
    match Stored::read(&file) {
        Ok(stored) => stored.caches.iter().flat_map(|cache| &cache.blocks).for_each(|block| restore(block)),
        Err(why) => assert_eq!(why, Unusable::Damaged),
    }
    restore(octets);
}

/// An empty cache.
fn cache() -> Cache {
    Cache::new(1 << 22).keep_stale(Duration::from_secs(600))
}

/// Takes a block in, and what came of it once more.
fn restore(block: &[u8]) {
    let first = cache();
    let restored = first.restore(block, PASSED_S, NOW);
    let held = first.held(|_| true, NOW, usize::MAX).answers;
    assert_eq!(held.len() as u64, restored.fresh + restored.expired, "{restored:?}");
    let mut writer = Writer::new(Vec::new(), 0, u64::MAX).expect("memory");
    writer.cache(&Origin::default(), &first, NOW).expect("memory");
    let (file, written) = writer.end().expect("memory");
    assert_eq!(written.answers, held.len() as u64);
    let (second, stored) = (cache(), Stored::read(&file).expect("it was written a moment ago"));
    stored.caches[0].blocks.iter().for_each(|block| {
        second.restore(block, 0, NOW);
    });
    for one in held {
        assert!(
            u64::from(one.age_s) >= PASSED_S && one.left_s == one.truth.lifetime_s.saturating_sub(one.age_s)
        );
        assert!(one.truth.lifetime_s > 0 && !one.truth.truncated);
        let again = second.held(|question| *question == one.question, NOW, 2).answers;
        let [again] = &again[..] else { panic!("{:?} is there once", one.question) };
        let asked = one.question.octets();
        assert_eq!(again.truth.owned_answers(&asked), one.truth.owned_answers(&asked));
        assert_eq!((again.age_s, again.left_s), (one.age_s, one.left_s));
        assert_eq!((&again.truth.targets, again.truth.rcode), (&one.truth.targets, one.truth.rcode));
        assert_eq!((&again.truth.addresses, &again.truth.ede), (&one.truth.addresses, &one.truth.ede));
    }
}
