//! A note on the margin of a truth.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

/// A place where whoever judges a truth writes a number down, for all threads to see, and until when more than that holds: what
/// it found, and under which policy. Clones are the same place; any two are equal, for they say nothing of what they stand
/// beside.
#[derive(Clone, Debug, Default)]
pub struct Mark(Arc<Note>);

/// What is written down.
#[derive(Debug, Default)]
struct Note {
    /// How often somebody began to write and how often he was done, together: it is odd while somebody writes.
    turn: AtomicU64,
    number: AtomicU64,
    /// In nanoseconds.
    until: AtomicU64,
}

impl PartialEq for Mark {
    fn eq(&self, _other: &Mark) -> bool {
        true
    }
}

impl Mark {
    /// A place where that is written down already: what [`Mark::noted`] told of another one.
    pub(super) fn noting(number: u64, until: u64) -> Mark {
        Mark(Arc::new(Note { turn: AtomicU64::new(0), number: number.into(), until: until.into() }))
    }

    /// The number that was written down last, and until when more holds, in nanoseconds; zeros while somebody writes.
    pub(super) fn noted(&self) -> (u64, u64) {
        let number = self.0.number.load(Ordering::Relaxed);
        match nanos(self.until(number)) {
            0 => (0, 0),
            until => (number, until),
        }
    }

    /// Writes it down in place of what was there; the number 0 is nothing. Two who write at once would wait for each other: the
    /// later one lets it be, and what it found is found again.
    pub fn set(&self, number: u64, until: Duration) {
        let Note { turn, number: number_at, until: until_at } = &*self.0;
        let before = turn.load(Ordering::Relaxed);
        let free = before.is_multiple_of(2);
        if !free || turn.compare_exchange(before, before + 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return;
        }
        // Whoever sees any of what follows sees an odd turn, or a later one.
        fence(Ordering::Release);
        number_at.store(number, Ordering::Relaxed);
        until_at.store(nanos(until), Ordering::Relaxed);
        turn.store(before.wrapping_add(2), Ordering::Release);
    }

    /// Whether that number was written down last; never of 0.
    #[inline]
    pub fn is(&self, number: u64) -> bool {
        // Relaxed: by itself the number is all that there is to know, whoever wrote it.
        number != 0 && self.0.number.load(Ordering::Relaxed) == number
    }

    /// Until when more holds, if that number was written down last; zero if it was not, or somebody is writing.
    pub fn until(&self, number: u64) -> Duration {
        let before = self.0.turn.load(Ordering::Acquire);
        let (is, until) = (self.is(number), self.0.until.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        // Else the two may be of different hands.
        let whole = before.is_multiple_of(2) && self.0.turn.load(Ordering::Relaxed) == before;
        if is && whole { Duration::from_nanos(until) } else { Duration::ZERO }
    }
}

/// A time in nanoseconds: enough for five centuries of uptime, and the most for what never ends.
#[inline]
pub fn nanos(time: Duration) -> u64 {
    /// Nanoseconds in a second.
    const NANOS: u64 = 1_000_000_000;
    time.as_secs().saturating_mul(NANOS).saturating_add(u64::from(time.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_millis(1500);

    #[test]
    fn what_was_written_last_is_there_for_all_clones() {
        let mark = Mark::default();
        assert!(!mark.is(0) && !mark.is(8) && mark.until(0).is_zero());
        mark.set(8, AT);
        mark.set(7, 2 * AT);
        assert!(mark.is(7) && !mark.is(8) && mark.clone().is(7));
        assert_eq!([7, 8].map(|number| mark.clone().until(number)), [2 * AT, Duration::ZERO]);
        mark.clone().set(0, AT);
        assert!(!mark.is(7) && !mark.is(0) && mark.until(0).is_zero());
        mark.set(7, Duration::MAX);
        assert!(mark.until(7) > Duration::from_secs(1 << 33));
    }

    #[test]
    fn what_two_write_at_once_is_never_mixed() {
        let mark = Mark::default();
        let until = |number| Duration::from_nanos(number << 20);
        std::thread::scope(|scope| {
            for numbers in [1..20_000_u64, 20_000..40_000] {
                let mark = mark.clone();
                scope.spawn(move || numbers.into_iter().for_each(|number| mark.set(number, until(number))));
            }
            for _ in 0..40_000 {
                let number = mark.0.number.load(Ordering::Relaxed);
                let found = mark.until(number);
                assert!(found.is_zero() || found == until(number), "{number} {found:?}");
            }
        });
    }
}
