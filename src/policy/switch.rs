//! One bit per order: whether it is suspended, for all readers of its policy at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The bits of one policy's orders, and how often one was flipped.
#[derive(Debug)]
pub(super) struct Switches {
    suspended: Box<[AtomicBool]>,
    changes: AtomicU64,
}

impl Switches {
    /// None of so many orders is suspended.
    pub(super) fn new(orders: usize) -> Switches {
        Switches {
            suspended: (0..orders).map(|_| AtomicBool::new(false)).collect(),
            changes: AtomicU64::new(0),
        }
    }

    /// Switches of the same orders that stand the same.
    pub(super) fn copy(&self) -> Switches {
        let bits = self.suspended.iter().map(|bit| AtomicBool::new(bit.load(Ordering::SeqCst)));
        Switches { suspended: bits.collect(), changes: AtomicU64::new(0) }
    }

    /// Sets the bit of an order, and counts it if that changed it.
    ///
    /// Who reads the count first and the bits after it ([`Switches::changes`]), and sees a count, sees every flip that it
    /// counts: the bit is written before the count, and the count is released and acquired. What was remembered under an
    /// older count may stem from before the flip or after it; the new count makes it void either way.
    ///
    /// Whoever has seen this return may rely on it: both writes are sequentially consistent read-modify-writes, which
    /// processors make visible to all cores before they go on, and a datagram sent afterwards passes the kernel's locks
    /// before a worker reads the count. So the answer to it follows the new bit. A datagram that was already in a worker's
    /// hands may be answered by either.
    pub(super) fn set(&self, order: usize, suspended: bool) {
        let Some(bit) = self.suspended.get(order) else { return };
        if bit.swap(suspended, Ordering::SeqCst) != suspended {
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Whether an order is suspended.
    #[inline]
    pub(super) fn is_set(&self, order: u32) -> bool {
        // What must be seen is ordered by the count, see `set`.
        self.suspended.get(order as usize).is_some_and(|bit| bit.load(Ordering::Relaxed))
    }

    /// How often a bit was flipped.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}
