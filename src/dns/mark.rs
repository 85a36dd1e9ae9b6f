//! A note on the margin of a truth.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A place where whoever judges a truth writes a number down, for all threads to see: what it found, and under which policy.
/// Clones are the same place; any two are equal, for they say nothing of what they stand beside.
#[derive(Clone, Debug, Default)]
pub struct Mark(Arc<AtomicU64>);

impl PartialEq for Mark {
    fn eq(&self, _other: &Mark) -> bool {
        true
    }
}

impl Mark {
    /// Writes it down in place of what was there; 0 is nothing.
    pub fn set(&self, number: u64) {
        // Relaxed: the number is all that there is to know, whoever wrote it.
        self.0.store(number, Ordering::Relaxed);
    }

    /// Whether that number was written down last; never of 0.
    #[inline]
    pub fn is(&self, number: u64) -> bool {
        number != 0 && self.0.load(Ordering::Relaxed) == number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_last_is_there_for_all_clones() {
        let mark = Mark::default();
        assert!(!mark.is(0) && !mark.is(8));
        mark.set(8);
        mark.set(7);
        assert!(mark.is(7) && !mark.is(8) && mark.clone().is(7));
        mark.clone().set(0);
        assert!(!mark.is(7) && !mark.is(0));
    }
}
