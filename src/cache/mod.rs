//! The truth by question, for as long as it lasts.
//!
//! Only upstream's word is kept here, never a forged answer: an order that comes or goes leaves nothing behind. Time is
//! an argument; moka's own clock decides nothing.

mod key;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::key::Key;
use crate::dns::{Ede, Question, Truth, ede};

/// How long a failure is remembered unless told otherwise. RFC 9520 §3.2: "at least 1 second".
pub const FAILURE: Duration = Duration::from_secs(1);
/// The longest time a failure may be remembered (RFC 9520 §3.2).
pub const MAX_FAILURE: Duration = Duration::from_secs(300);
/// The most failures remembered: an outage under load fills it, and older ones then make room.
const MAX_FAILURES: u64 = 16_384;
/// Octets an entry takes beside its key and its truth: moka's nodes for it in its table, queues and counters, the two
/// allocations and their headers. Measured in orders of magnitude, not exact: moka 0.12 keeps about this.
const ENTRY_OVERHEAD: usize = 240;

/// Answers and failures by question. Shared by all workers; bounded.
#[derive(Clone, Debug)]
pub struct Cache {
    truths: moka::sync::Cache<Box<[u8]>, Entry>,
    failures: moka::sync::Cache<Box<[u8]>, Failure>,
    failure_lifetime: Duration,
    /// How often everything was forgotten.
    clears: Arc<AtomicU64>,
}

/// An answer from the cache, still alive.
#[derive(Clone, Debug)]
pub struct Cached {
    /// What upstream said.
    pub truth: Arc<Truth>,
    /// Whole seconds since it arrived.
    pub age_s: u32,
    /// Seconds it has left, at least 1.
    pub left_s: u32,
    /// When it arrived, on the clock of `now`.
    pub stored: Duration,
}

/// A truth and when it came.
#[derive(Clone, Debug)]
struct Entry {
    truth: Arc<Truth>,
    stored: Duration,
}

/// A failure, when it came and why.
#[derive(Clone, Debug)]
struct Failure {
    ede: Arc<[Ede]>,
    stored: Duration,
}

impl Cache {
    /// A cache of at most about `max_bytes` octets of answers, keys and bookkeeping included; 0 keeps none.
    pub fn new(max_bytes: u64) -> Cache {
        let truths = moka::sync::Cache::<Box<[u8]>, Entry>::builder()
            .max_capacity(max_bytes)
            .weigher(|key, entry| {
                let bytes = ENTRY_OVERHEAD + key.len() + entry.truth.bytes();
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .build();
        let failures = moka::sync::Cache::new(MAX_FAILURES);
        Cache { truths, failures, failure_lifetime: FAILURE, clears: Arc::default() }
    }

    /// The same cache, but failures are remembered for `lifetime`, held between 1 and 300 seconds (RFC 9520 §3.2).
    #[must_use]
    pub fn failure_lifetime(mut self, lifetime: Duration) -> Cache {
        self.failure_lifetime = lifetime.clamp(FAILURE, MAX_FAILURE);
        self
    }

    /// The answer to `question`, if it is known and has not expired at `now`. Allocates nothing.
    pub fn get(&self, question: &Question, now: Duration) -> Option<Cached> {
        let key = Key::new(question);
        let entry = self.truths.get(key.as_bytes())?;
        // Another thread may have read its clock before the entry was stored by this one's: that is age 0.
        let age = now.saturating_sub(entry.stored);
        let age_s = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        let left_s = entry.truth.lifetime_s.saturating_sub(age_s);
        if left_s == 0 {
            // Should a fresh answer have come in between, it goes too: one more question upstream, no wrong answer.
            self.truths.invalidate(key.as_bytes());
            return None;
        }
        Some(Cached { truth: entry.truth, age_s, left_s, stored: entry.stored })
    }

    /// Remembers an answer from `now` on, unless its lifetime is 0, and forgets that the question failed.
    pub fn put(&self, question: &Question, truth: Arc<Truth>, now: Duration) {
        let key = Key::new(question);
        self.failures.invalidate(key.as_bytes());
        if truth.lifetime_s > 0 {
            self.truths.insert(key.as_bytes().into(), Entry { truth, stored: now });
        }
    }

    /// Remembers that the question could not be resolved, and why (RFC 9520 §2: timeouts, refusals, network errors).
    pub fn put_failure(&self, question: &Question, ede: &[Ede], now: Duration) {
        let failure = Failure { ede: ede.into(), stored: now };
        self.failures.insert(Key::new(question).as_bytes().into(), failure);
    }

    /// Why the question failed a moment ago, EDE 13 (Cached Error) last; none if it did not, or that is too long ago.
    pub fn failure(&self, question: &Question, now: Duration) -> Option<Vec<Ede>> {
        let key = Key::new(question);
        let failure = self.failures.get(key.as_bytes())?;
        if now.saturating_sub(failure.stored) >= self.failure_lifetime {
            self.failures.invalidate(key.as_bytes());
            return None;
        }
        Some(failure.ede.iter().cloned().chain([Ede::bare(ede::CACHED_ERROR)]).collect())
    }

    /// Answers held, expired ones not yet asked for again included. Settles moka's books first: for reports only.
    pub fn len(&self) -> u64 {
        self.truths.run_pending_tasks();
        self.truths.entry_count()
    }

    /// Whether it holds no answer; as costly as [`Cache::len`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets held, as weighed; as costly as [`Cache::len`].
    pub fn bytes(&self) -> u64 {
        self.truths.run_pending_tasks();
        self.truths.weighted_size()
    }

    /// The most octets it holds, as weighed.
    pub fn max_bytes(&self) -> u64 {
        self.truths.policy().max_capacity().unwrap_or(u64::MAX)
    }

    /// How often everything was forgotten: who keeps copies of what it gave out drops them when this changes.
    pub fn clears(&self) -> u64 {
        self.clears.load(Ordering::Acquire)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.truths.invalidate_all();
        self.failures.invalidate_all();
        // Last, so that copies made meanwhile are dropped too.
        self.clears.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
