//! The system's allocator, counting: how much is held, the most that was, and how often it was asked.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Octets held now.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// The most octets held since [`start_peak`].
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Allocations so far.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Counts and passes on.
pub struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches only atomics.
#[allow(unsafe_code, reason = "an allocator is unsafe by its trait; this one is in benches only")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise about `at` and `layout` is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        taken(size);
        // SAFETY: the caller's promise about `at`, `layout` and `size` is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Counts an allocation.
fn taken(octets: usize) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    let held = HELD.fetch_add(octets, Ordering::Relaxed) + octets;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

/// Octets held now.
pub fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// Forgets the peak so far.
pub fn start_peak() {
    PEAK.store(held(), Ordering::Relaxed);
}

/// The most octets held since [`start_peak`].
pub fn peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}

/// Allocations so far.
pub fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}
