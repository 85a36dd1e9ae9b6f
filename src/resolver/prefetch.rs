//! Answers that are asked for often are asked for anew before they end, so that nobody waits for them.
//!
//! Who asks at the end of an answer's life is told it at once, and upstream is asked aside. A hit on a worker's own entry is seen by
//! nobody, so such an entry ends when the last tenth of the answer's life begins: who asks then finds the shared one, and is handed to
//! the path that can ask. Once that is done, workers keep the answer to its end as before.
//!
//! What that costs is bounded. An answer that is asked for when the one before would have ended spares a miss: there is no question more
//! than without. One that nobody asks for is a question too many, and of those there is one to ten questions at most, but for some at
//! the start: each takes a place that questions earn, a tenth each, and that it gives back when it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::counters::Counters;
use crate::cache::Cached;

/// What a question to upstream earns.
const EARNED: u64 = 1;
/// What an answer that is asked for anew takes: ten questions' earnings, and its own.
pub(super) const TAKEN: u64 = 11;
/// What there is at the start: places for the names that a house asks for all day.
pub(super) const AT_START: u64 = 256 * TAKEN;
/// The most there is: places for as many as may be under way at upstreams by default.
const AT_MOST: u64 = 4096 * TAKEN;

/// Which answers are asked for anew.
pub(super) struct Prefetch {
    is_on: bool,
    credit: AtomicU64,
    counters: Arc<Counters>,
}

/// What there is to be done about an answer of the cache when somebody is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// It is to be asked for anew.
    Due,
    /// It may be soon: whoever asks next has to be seen.
    Ending,
    /// Nothing until it is that old, in seconds.
    Lasting(u32),
}

impl Prefetch {
    /// Asks anew if `is_on`.
    pub(super) fn new(is_on: bool, counters: Arc<Counters>) -> Prefetch {
        Prefetch { is_on, credit: AtomicU64::new(AT_START), counters }
    }

    /// Notes that somebody is told an answer, who perhaps may not have upstream asked; unless it is due, which is for the path that can
    /// ask to [note](Self::note).
    pub(super) fn tell(&self, cached: &Cached, may_ask: bool) -> Telling {
        let truth = &*cached.truth;
        let ends = self.is_on && !truth.asks.is_seen_to();
        if ends && may_ask && cached.is_ending() && truth.asks.are_enough_with_one() {
            return Telling::Due;
        }
        self.note(cached);
        match ends {
            true if cached.is_ending() => Telling::Ending,
            true => Telling::Lasting(truth.lifetime_s - truth.last_share_s()),
            false => Telling::Lasting(truth.lifetime_s),
        }
    }

    /// Notes that somebody is told an answer.
    pub(super) fn note(&self, cached: &Cached) {
        cached.truth.asks.note();
        if cached.truth.asks.spares(cached.age_s) {
            Counters::add(&self.counters.prefetched_wanted);
            self.give(TAKEN);
        }
    }

    /// Whether there is a place for one more.
    pub(super) fn take(&self) -> bool {
        let take = |credit: u64| credit.checked_sub(TAKEN);
        self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Notes a question to upstream.
    pub(super) fn earn(&self) {
        self.give(EARNED);
    }

    /// Adds to what there is. Several who do so at once may go a little beyond the bound.
    fn give(&self, credit: u64) {
        if self.credit.load(Ordering::Relaxed) < AT_MOST {
            self.credit.fetch_add(credit, Ordering::Relaxed);
        }
    }
}
