//! Which upstream is likely to answer: those that keep failing step back, and a question of our own, the probe, finds out about them.
//!
//! Whoever has a zone whose names are never answered can have any resolver be silent as often as they like, or say SERVFAIL. So silence
//! to what clients ask, or to be declined, makes an upstream suspect and no more: what decides is whether it answers what every resolver
//! knows.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Failures in a row that make an upstream step back, replies that decline among them: one lost packet or two must not.
const FAILURES_TO_STEP_BACK: u32 = 3;
/// Questions in a row without an answer after which an upstream is probed; the probe is the last of those that it may leave unanswered.
const FAILURES_TO_PROBE: u32 = FAILURES_TO_STEP_BACK - 1;
/// Failures in a row after which one more is not taken for a stumble.
const FAILURES_TO_EXPECT: u32 = 32;
/// How long one that is suspect, and answered its probe, is not probed again.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How long it stays back before it is probed again.
const STEP_BACK: Duration = Duration::from_secs(5);

/// It did not step back, as far as is known.
const WELL: u8 = 0;
/// It stepped back.
const BACK: u8 = 1;
/// It had stepped back, in another network: it is asked as if it were well, and has yet to show that it is.
const UNKNOWN: u8 = 2;

/// How an upstream did lately. Shared by all questions; times are since an arbitrary start.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Failures since the last success.
    failures: AtomicU32,
    /// Whether it stepped back: [`WELL`], [`BACK`] or [`UNKNOWN`].
    state: AtomicU8,
    /// When it may be probed again, in milliseconds.
    probe_at_ms: AtomicU64,
}

impl Health {
    /// Whether it has not failed so often that it stepped back.
    pub(super) fn is_well(&self) -> bool {
        self.state.load(Ordering::Relaxed) != BACK
    }

    /// Whether it has not stepped back without answering anything since, in whatever network.
    pub(super) fn is_up(&self) -> bool {
        self.state.load(Ordering::Relaxed) == WELL
    }

    /// Whether it left several questions in a row unanswered.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES_TO_PROBE
    }

    /// Whether it has failed so often in a row that it will do so again.
    pub(super) fn keeps_failing(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES_TO_EXPECT
    }

    /// Nothing is known of it yet, and its first probe is to decide.
    pub(super) fn doubt(&self) {
        self.failures.store(FAILURES_TO_PROBE, Ordering::Relaxed);
    }

    /// Whether it is to be probed at `now`: true once, and then no more for as long as a probe takes.
    pub(super) fn wants_probe(&self, now: Duration, takes: Duration) -> bool {
        if !self.is_in_doubt() {
            return false;
        }
        let every = if self.is_well() { PROBE_EVERY } else { STEP_BACK };
        let (due, next) = (self.probe_at_ms.load(Ordering::Relaxed), millis(now + every.max(takes)));
        millis(now) >= due
            && self.probe_at_ms.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// It answered. Gives back whether that is news: it had stepped back.
    pub(super) fn succeeded(&self) -> bool {
        // Read first: a healthy upstream's line stays shared between cores.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        !self.is_up() && self.state.swap(WELL, Ordering::Relaxed) != WELL
    }

    /// Nothing is known of it any more.
    pub(super) fn forget(&self) {
        // One that had stepped back stays in doubt, so that a probe finds out where nobody else asks it, and people are told.
        let _ = self.state.compare_exchange(BACK, UNKNOWN, Ordering::Relaxed, Ordering::Relaxed);
        let failures = if self.is_up() { 0 } else { FAILURES_TO_PROBE };
        self.failures.store(failures, Ordering::Relaxed);
        self.probe_at_ms.store(0, Ordering::Relaxed);
    }

    /// It did not reply in time, or with something that is no reply, or declined; `surely` if that is so whatever it is asked.
    pub(super) fn failed(&self, now: Duration, surely: bool) {
        // Saturates: a wrapped count would make a dead upstream look healthy.
        let more = |failures: u32| Some(failures.saturating_add(1));
        let before = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).unwrap_or(0);
        if surely && before.saturating_add(1) >= FAILURES_TO_STEP_BACK {
            self.step_back(now);
        }
    }

    /// It left a probe unanswered, or declined it: unless it has answered something else meanwhile, it steps back.
    pub(super) fn failed_probe(&self, now: Duration) {
        if self.is_in_doubt() {
            self.step_back(now);
        }
    }

    /// It comes after all others, until it answers something.
    fn step_back(&self, now: Duration) {
        self.probe_at_ms.store(millis(now + STEP_BACK), Ordering::Relaxed);
        self.state.store(BACK, Ordering::Relaxed);
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

    /// How long a probe takes.
    const TAKES: Duration = Duration::from_millis(250);

    #[test]
    fn what_is_surely_so_needs_no_probe() {
        let health = Health::default();
        for (surely, well) in [(true, true), (true, true), (true, false), (false, false)] {
            health.failed(at(0), surely);
            assert_eq!(health.is_well(), well);
        }
        health.succeeded();
        assert!(health.is_well());
        // Others count along.
        for (surely, well) in [(false, true), (false, true), (false, true), (true, false)] {
            health.failed(at(0), surely);
            assert_eq!(health.is_well(), well);
        }
    }

    #[test]
    fn silence_makes_suspect_and_a_probe_decides() {
        let health = Health::default();
        assert!(!health.wants_probe(at(0), TAKES));
        health.failed(at(0), false);
        health.succeeded();
        health.failed(at(0), false);
        assert!(!health.wants_probe(at(0), TAKES), "one lost packet, and one before");
        for _ in 0..1000 {
            health.failed(at(1), false);
        }
        assert!(health.is_well() && health.wants_probe(at(1), TAKES));
        assert!(!health.wants_probe(at(1), TAKES), "one probe at a time");
        health.succeeded();
        // Two more: it is probed again, but not at once.
        health.failed(at(1), false);
        health.failed(at(1), false);
        assert!(!health.wants_probe(at(1), TAKES) && health.wants_probe(at(2), TAKES));
        health.failed_probe(at(2));
        assert!(!health.is_well());
        for (seconds, expected) in [(6, false), (7, true), (11, false), (12, true)] {
            assert_eq!(health.wants_probe(at(seconds), TAKES), expected, "{seconds}");
        }
        health.succeeded();
        assert!(health.is_well() && !health.wants_probe(at(60), TAKES));
    }

    #[test]
    fn what_is_news_is_said_once() {
        let health = Health::default();
        let steps_back = |health: &Health| (0..3).for_each(|_| health.failed(at(0), true));
        steps_back(&health);
        assert_eq!(
            [health.is_up(), health.succeeded(), health.is_up(), health.succeeded()],
            [false, true, true, false]
        );
        // In another network it is asked as if it were well, which nobody has seen yet.
        steps_back(&health);
        health.forget();
        assert_eq!([health.is_well(), health.is_up()], [true, false]);
        assert!(health.wants_probe(at(0), TAKES), "somebody has to look");
        steps_back(&health);
        assert_eq!([health.is_well(), health.is_up()], [false, false]);
        health.forget();
        assert_eq!([health.succeeded(), health.is_up()], [true, true]);
        health.forget();
        assert!(health.is_up(), "one that was well is taken to be so in any network");
    }

    #[test]
    fn the_first_probe_decides_by_itself() {
        for (answered, well) in [(true, true), (false, false)] {
            let health = Health::default();
            health.doubt();
            assert!(health.is_well() && health.wants_probe(at(0), TAKES), "it is asked meanwhile");
            // A client's question that it answers counts more than a probe that is lost.
            if answered {
                health.succeeded();
            }
            health.failed_probe(at(1));
            assert_eq!(health.is_well(), well);
        }
    }

    #[test]
    fn what_was_answered_meanwhile_counts_more_than_a_lost_probe() {
        let health = Health::default();
        health.failed(at(0), false);
        health.failed(at(0), false);
        assert!(health.wants_probe(at(0), at(3)));
        health.failed(at(0), false);
        assert!(!health.wants_probe(at(2), at(3)), "the first one is still under way");
        health.succeeded();
        health.failed_probe(at(3));
        assert!(health.is_well());
    }
}
