//! Which upstream is likely to answer: those that keep failing step back, and one question at a time looks after them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Failures in a row that make an upstream step back: one lost packet or two must not.
const FAILURES_TO_STEP_BACK: u32 = 3;
/// How long it stays back before one question tries it in its place again.
const STEP_BACK: Duration = Duration::from_secs(5);

/// How an upstream did lately. Shared by all questions; times are since an arbitrary start.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Failures since the last success.
    failures: AtomicU32,
    /// When the next question may try it in its place, in milliseconds.
    try_at_ms: AtomicU64,
}

impl Health {
    /// Whether a question at `now` asks it in its place.
    ///
    /// For one that stepped back this is true once per interval: the question that hears it is the one that finds out.
    pub(super) fn in_place(&self, now: Duration) -> bool {
        if self.is_well() {
            return true;
        }
        let due = self.try_at_ms.load(Ordering::Relaxed);
        now >= Duration::from_millis(due)
            && self
                .try_at_ms
                .compare_exchange(due, millis(now + STEP_BACK), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether it has not failed so often that it stepped back.
    pub(super) fn is_well(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < FAILURES_TO_STEP_BACK
    }

    /// It replied, whatever it said.
    pub(super) fn succeeded(&self) {
        // Read first: a healthy upstream's line stays shared between cores.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// It did not reply in time, or with something that is no reply.
    pub(super) fn failed(&self, now: Duration) {
        self.try_at_ms.store(millis(now + STEP_BACK), Ordering::Relaxed);
        // Saturates: a wrapped count would make a dead upstream look healthy.
        let _ = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failures| Some(failures.saturating_add(1)));
    }
}

/// Whole milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn steps_back_after_failures_in_a_row() {
        let health = Health::default();
        assert!(health.in_place(at(0)));
        health.failed(at(0));
        health.failed(at(0));
        health.succeeded();
        health.failed(at(1));
        health.failed(at(1));
        assert!(health.in_place(at(1)));
        health.failed(at(1));
        assert!(!health.in_place(at(1)));
        assert!(!health.in_place(at(5)));
    }

    #[test]
    fn one_question_at_a_time_finds_out() {
        let health = Health::default();
        for _ in 0..3 {
            health.failed(at(0));
        }
        assert!(health.in_place(at(6)));
        assert!(!health.in_place(at(6)), "the second question in the same interval");
        health.failed(at(7));
        assert!(!health.in_place(at(11)));
        assert!(health.in_place(at(12)));
        health.succeeded();
        assert!(health.in_place(at(12)) && health.in_place(at(12)));
    }
}
