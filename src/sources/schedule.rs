//! When a source is due: pure arithmetic, chance included as an argument.

use std::time::Duration;

use crate::time::UnixSeconds;

/// How soon a source that failed is asked again, doubled with each failure in a row up to its refresh interval.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Doublings after which the longest interval there is has been passed.
const MAX_DOUBLINGS: u32 = 20;
/// How far chance moves an interval either way, so that a thousand resolvers do not ask at the same second.
const JITTER: f64 = 0.1;

/// A number for [`after`] and [`at_start`] from the system's generator.
pub(super) fn chance() -> f64 {
    rand::random_range(-1.0..=1.0)
}

/// How long until a source is due after a refresh: its interval, or less after failures. `chance` is -1 to 1.
pub(super) fn after(refresh: Duration, failures: u32, chance: f64) -> Duration {
    let pause = match failures.checked_sub(1) {
        None => refresh,
        Some(more) => FIRST_PAUSE.saturating_mul(1 << more.min(MAX_DOUBLINGS)).min(refresh),
    };
    pause.mul_f64(1.0 + JITTER * chance.clamp(-1.0, 1.0))
}

/// How long until a source is due at start, `checked_at` if its last refresh went well.
pub(super) fn at_start(
    refresh: Duration,
    checked_at: Option<UnixSeconds>,
    now: UnixSeconds,
    chance: f64,
) -> Duration {
    // A clock that was turned back says nothing of how long ago it was.
    let since = checked_at.and_then(|at| u64::try_from(now.saturating_sub(at)).ok());
    since.map_or(Duration::ZERO, |since| after(refresh, 0, chance).saturating_sub(Duration::from_secs(since)))
}

/// The pause before try `again` (from 0) within one refresh: doubled each time, moved by up to half.
pub(super) fn back_off(base: Duration, again: u32, chance: f64) -> Duration {
    base.saturating_mul(1 << again.min(MAX_DOUBLINGS)).mul_f64(1.0 + chance.clamp(-1.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due() {
        const DAY: u64 = 86_400;
        for (refresh, failures, chance, expected) in [
            (DAY, 0, 0.0, DAY),
            (DAY, 0, 1.0, DAY + DAY / 10),
            (DAY, 0, -1.0, DAY - DAY / 10),
            (DAY, 0, 99.0, DAY + DAY / 10),
            (DAY, 1, 0.0, 300),
            (DAY, 2, 0.0, 600),
            (DAY, 3, 1.0, 1320),
            (DAY, 9, 0.0, 76_800),
            (DAY, 10, 0.0, DAY),
            (DAY, u32::MAX, 0.0, DAY),
            (60, 1, 0.0, 60),
        ] {
            let after = after(Duration::from_secs(refresh), failures, chance);
            assert_eq!(after.as_secs(), expected, "{refresh} {failures} {chance}");
        }
        for (checked_at, now, chance, expected) in [
            (None, 1000, 0.0, 0),
            (Some(1000), 1000, 0.0, 3600),
            (Some(1000), 1000, 1.0, 3960),
            (Some(1000), 1600, 0.0, 3000),
            (Some(1000), 9000, 0.0, 0),
            (Some(1000), 999, 0.0, 0),
            (Some(i64::MIN), i64::MAX, 0.0, 0),
        ] {
            let wait = at_start(Duration::from_secs(3600), checked_at, now, chance);
            assert_eq!(wait.as_secs(), expected, "{checked_at:?} {now} {chance}");
        }
        for (again, chance, expected) in [(0, 0.0, 1000), (1, 0.0, 2000), (2, 1.0, 6000), (0, -1.0, 500)] {
            let pause = back_off(Duration::from_secs(1), again, chance);
            assert_eq!(pause.as_millis(), expected, "{again} {chance}");
        }
        for _ in 0..100 {
            assert!((-1.0..=1.0).contains(&chance()));
        }
    }
}
