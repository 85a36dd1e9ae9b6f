//! How often the orders were read again, and what came of it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::time::UnixSeconds;

/// What came of reading the orders again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// Another policy is in force.
    Changed,
    /// Nothing had changed.
    Unchanged,
    /// Something could not be read, or another configuration was refused; what was in force stays so.
    Kept,
    /// It broke off by a fault of this program.
    BrokeOff,
}

impl Reloaded {
    /// All of them.
    pub const ALL: [Reloaded; 4] =
        [Reloaded::Changed, Reloaded::Unchanged, Reloaded::Kept, Reloaded::BrokeOff];

    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Reloaded::Changed => "changed",
            Reloaded::Unchanged => "unchanged",
            Reloaded::Kept => "kept",
            Reloaded::BrokeOff => "broke-off",
        }
    }
}

/// How often, by what came of it, and the last time.
#[derive(Debug, Default)]
pub struct Reloads {
    /// In the order of [`Reloaded::ALL`].
    counts: [AtomicU64; Reloaded::ALL.len()],
    /// When the last one ended, in Unix seconds; 0 if there was none.
    at: AtomicI64,
    /// How long it took, in microseconds.
    took_us: AtomicU64,
}

impl Reloads {
    /// Counts one that took so long and ended at `at`.
    pub fn count(&self, reloaded: Reloaded, took: Duration, at: UnixSeconds) {
        let counts = Reloaded::ALL.iter().zip(&self.counts);
        counts.filter(|(one, _)| **one == reloaded).for_each(|(_, count)| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        self.at.store(at, Ordering::Relaxed);
        self.took_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How often, by what came of it.
    pub fn counts(&self) -> impl Iterator<Item = (Reloaded, u64)> {
        Reloaded::ALL.into_iter().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// When the last one ended and how long it took, in microseconds; none if there was none.
    pub fn last(&self) -> Option<(UnixSeconds, u64)> {
        let at = self.at.load(Ordering::Relaxed);
        (at != 0).then(|| (at, self.took_us.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_by_what_came_of_it_and_the_last_is_told() {
        let reloads = Reloads::default();
        assert_eq!(reloads.last(), None);
        for (reloaded, seconds) in [(Reloaded::Changed, 1), (Reloaded::BrokeOff, 2), (Reloaded::Changed, 3)] {
            reloads.count(reloaded, Duration::from_secs(seconds), 1_000);
        }
        let counts: Vec<u64> = reloads.counts().map(|(_, count)| count).collect();
        assert_eq!((counts, reloads.last()), (vec![2, 0, 0, 1], Some((1_000, 3_000_000))));
    }
}
