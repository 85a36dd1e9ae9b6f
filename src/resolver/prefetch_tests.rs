//! When is asked anew, and when not, in virtual time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::counters::Counters;
use super::fetch::{Fetched, Fetcher, Rules};
use super::prefetch::{AT_START, TAKEN, Telling};
use crate::cache::Cache;
use crate::clock::{Clock, Now};
use crate::dns::testing::{question, response};
use crate::dns::{Question, TtlLimits};
use crate::iana::Rtype;
use crate::upstream::{Ask, AskError};

/// Answers for a hundred seconds each, after so long; counts what it is asked.
struct Slow(Duration, AtomicU64);

impl Ask for Slow {
    async fn ask(&self, asked: &Question) -> Result<Vec<u8>, AskError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.0).await;
        let name = asked.qname.to_string();
        Ok(response(0x8180, &name, asked.qtype, [&[&format!("{name} 100 A 192.0.2.2")], &[], &[]]))
    }
}

/// A clock that moves when told to.
#[derive(Default)]
struct Virtual(Mutex<Duration>);

impl Clock for Virtual {
    fn now(&self) -> Now {
        Now { mono: *self.0.lock().unwrap(), wall: 0 }
    }
}

/// A fetcher, and what it is about.
struct World {
    fetcher: Arc<Fetcher>,
    upstream: Arc<Slow>,
    clock: Arc<Virtual>,
    counters: Arc<Counters>,
}

impl World {
    /// With an upstream that takes so long, and so many questions under way at the most.
    fn new(takes: Duration, max_in_flight: usize) -> World {
        let (upstream, clock) = (Arc::new(Slow(takes, AtomicU64::new(0))), Arc::new(Virtual::default()));
        let (counters, cache) = (Arc::new(Counters::default()), Arc::new(Cache::new(1 << 24)));
        let ttl = TtlLimits { min_s: 0, max_s: 600, negative_min_s: 0, negative_max_s: 300 };
        let clocks = (clock.clone() as Arc<dyn Clock>, Arc::clone(&counters));
        let rules = Rules::new(ttl, max_in_flight);
        let fetcher = Arc::new(Fetcher::new(upstream.clone(), cache, clocks, rules));
        World { fetcher, upstream, clock, counters }
    }

    /// Sets the clock, in seconds.
    fn at(&self, s: u64) {
        *self.clock.0.lock().unwrap() = Duration::from_secs(s);
    }

    /// A client is told what the cache holds.
    fn tell(&self, asked: Question) {
        let now = self.clock.now().mono;
        if let Some(cached) = self.fetcher.cache().get(&asked, now) {
            self.fetcher.told(asked, (&cached.truth, cached.age_s), now, true);
        }
    }

    /// What was asked, asked aside, wanted of that, and held back.
    fn counts(&self) -> [u64; 4] {
        let Counters { prefetched, prefetched_wanted, prefetch_held_back, .. } = &*self.counters;
        [&self.upstream.1, prefetched, prefetched_wanted, prefetch_held_back]
            .map(|count| count.load(Ordering::Relaxed))
    }
}

/// The `n`th name.
fn named(n: u64) -> Question {
    question(&format!("n{n}.e"), Rtype::A)
}

#[tokio::test(start_paused = true)]
async fn who_comes_too_late_waits_for_what_is_asked_already() {
    let world = World::new(Duration::from_secs(2), 16);
    world.fetcher.fetch(named(1)).await;
    world.at(99);
    (0..5).for_each(|_| world.tell(named(1)));
    tokio::task::yield_now().await;
    assert_eq!(world.counts(), [2, 1, 0, 0]);
    // It has ended meanwhile, and nobody asks once more.
    world.at(100);
    assert!(world.fetcher.cache().get(&named(1), Duration::from_secs(100)).is_none());
    assert!(matches!(world.fetcher.fetch(named(1)).await, Fetched::Truth(_)));
    assert_eq!(world.counts(), [2, 1, 0, 0]);
    world.tell(named(1));
    assert_eq!(world.counts(), [2, 1, 1, 0], "that was wanted");
    world.tell(named(1));
    assert_eq!(world.counts(), [2, 1, 1, 0], "once");
}

#[tokio::test(start_paused = true)]
async fn what_is_told_before_the_end_of_the_one_before_spares_nobody() {
    let world = World::new(Duration::ZERO, 16);
    world.fetcher.fetch(named(1)).await;
    world.at(90);
    (0..2).for_each(|_| world.tell(named(1)));
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.at(99);
    world.tell(named(1));
    assert_eq!(world.counts(), [2, 1, 0, 0]);
    world.at(100);
    world.tell(named(1));
    assert_eq!(world.counts(), [2, 1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_comes_first() {
    let world = World::new(Duration::from_secs(2), 4);
    world.fetcher.fetch(named(1)).await;
    world.at(95);
    world.tell(named(1));
    // Half of the room is taken.
    let waiting = [2, 3].map(|n| {
        let fetcher = Arc::clone(&world.fetcher);
        tokio::spawn(async move { fetcher.fetch(named(n)).await })
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    world.tell(named(1));
    assert_eq!(world.counts(), [3, 0, 0, 1]);
    for one in waiting {
        assert!(matches!(one.await.unwrap(), Fetched::Truth(_)));
    }
    // That was its turn: a name that many ask for would keep the path busy that can ask.
    world.tell(named(1));
    assert_eq!(world.counts(), [3, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_in_vain_is_a_tenth_of_all_but_for_some_at_the_start() {
    let (world, names) = (World::new(Duration::ZERO, 4096), 1000);
    for n in 0..names {
        world.fetcher.fetch(named(n)).await;
    }
    world.at(95);
    for n in 0..names {
        (0..2).for_each(|_| world.tell(named(n)));
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let [_, aside, wanted, held_back] = world.counts();
    // Each question has earned a tenth; those that are asked aside do once they are.
    assert_eq!((aside, wanted, held_back), ((AT_START + names) / TAKEN, 0, names - aside));
    // Those that are wanted give their places back.
    world.at(100);
    (0..names).for_each(|n| world.tell(named(n)));
    assert_eq!(world.counts()[2], aside);
    world.at(190);
    for n in 0..names {
        (0..2).for_each(|_| world.tell(named(n)));
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(world.counts()[1], 2 * aside);
}

#[tokio::test]
async fn a_worker_keeps_an_answer_until_its_end_begins_or_until_it_is_seen_to() {
    let world = World::new(Duration::ZERO, 16);
    world.fetcher.fetch(named(1)).await;
    let told = |s: u64, may_ask| {
        let now = Duration::from_secs(s);
        let cached = world.fetcher.cache().get(&named(1), now).unwrap();
        world.fetcher.tell(&cached, may_ask)
    };
    assert_eq!(told(89, true), Telling::Lasting(90));
    assert_eq!(told(90, false), Telling::Ending);
    assert_eq!(told(90, true), Telling::Due);
    assert_eq!(told(95, true), Telling::Due, "until somebody has seen to it");
    world.at(95);
    world.tell(named(1));
    assert_eq!(told(95, true), Telling::Lasting(100));
}
