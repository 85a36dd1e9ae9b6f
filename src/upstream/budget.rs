//! How many questions may be put to one server more than they need be.

use std::sync::atomic::{AtomicU32, Ordering};

/// One of so many, 5 %: what makes few questions faster must not be a load on others.
const ONE_OF: u32 = 20;
/// The most that are saved up: when all servers become slow at once, no burst comes on top.
const SAVED: u32 = 8;

/// Counts in twentieths of a question. It begins with nothing, so never more than one of [`ONE_OF`] is put twice.
#[derive(Debug, Default)]
pub(super) struct Budget {
    left: AtomicU32,
}

impl Budget {
    /// A question is asked.
    pub(super) fn earn(&self) {
        let more = |left: u32| (left < ONE_OF * SAVED).then_some(left + 1);
        // Full is full.
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Whether one may be put to one server more; then that is spent.
    pub(super) fn spend(&self) -> bool {
        let less = |left: u32| left.checked_sub(ONE_OF);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_one_of_twenty() {
        let budget = Budget::default();
        let mut spent = 0;
        for asked in 1..=1000 {
            budget.earn();
            while budget.spend() {
                spent += 1;
            }
            assert!(spent * 20 <= asked, "{spent} of {asked}");
        }
        assert_eq!(spent, 50);
        // What is not spent is saved up, but not for long.
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.spend()).count(), SAVED as usize);
    }
}
