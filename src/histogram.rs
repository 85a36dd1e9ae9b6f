//! How long things took, counted by bounds that are the same everywhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The bounds, in microseconds: half a millisecond, which a server of this network takes, to ten seconds, beyond which nobody waits.
pub const BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000, 10_000_000,
];

/// Counts of times; many threads add to it.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Those up to each bound and above the one before, and those above all.
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    /// All of them together, in microseconds.
    sum_us: AtomicU64,
}

/// A reading of a [`Histogram`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Those up to each bound and above the one before, and those above all.
    pub counts: [u64; BOUNDS_US.len() + 1],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Counts a time.
    pub fn add(&self, time: Duration) {
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS_US.partition_point(|bound| *bound < time_us);
        if let Some(count) = self.counts.get(place) {
            // Relaxed: counts are read for display and order nothing.
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(time_us, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> Times {
        let mut times = Times { sum_us: self.sum_us.load(Ordering::Relaxed), ..Times::default() };
        for (mine, theirs) in times.counts.iter_mut().zip(&self.counts) {
            *mine = theirs.load(Ordering::Relaxed);
        }
        times
    }
}

impl Times {
    /// Adds all of `other`'s.
    pub fn merge(&mut self, other: &Times) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum_us += other.sum_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_at_the_least_bound_that_it_does_not_pass() {
        for (time_us, place) in [
            (0, 0),
            (500, 0),
            (501, 1),
            (1_000, 1),
            (19_999, 5),
            (20_000, 5),
            (20_001, 6),
            (10_000_000, 13),
            (10_000_001, 14),
        ] {
            let histogram = Histogram::default();
            histogram.add(Duration::from_micros(time_us));
            let mut expected = Times { sum_us: time_us, ..Times::default() };
            expected.counts[place] = 1;
            assert_eq!(histogram.read(), expected, "{time_us}");
            let mut twice = expected;
            twice.merge(&expected);
            assert_eq!((twice.counts[place], twice.sum_us), (2, 2 * time_us));
        }
    }
}
