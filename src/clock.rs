//! Time as an argument: one reading of two clocks, taken where a query enters and where an answer arrives.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::UnixSeconds;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since an arbitrary start: ages in the cache.
    pub mono: Duration,
    /// Wall time in Unix seconds: windows of orders.
    pub wall: UnixSeconds,
}

/// Where time comes from; tests bring their own.
pub trait Clock: Send + Sync + 'static {
    /// Reads both clocks.
    fn now(&self) -> Now;

    /// Reads the monotonic one.
    fn mono(&self) -> Duration {
        self.now().mono
    }
}

/// What the monotonic side of [`SystemClock`] shows when it starts: more than any answer may be old that an earlier process cached, which
/// is a week until it expires and a week after that.
const START: Duration = Duration::from_secs(15 * 86_400);

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic side starts now, as if it had run for a while.
    pub fn new() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        // A wall clock before 1970 reads as 1970: windows then behave as on the first day.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Now { mono: self.mono(), wall: UnixSeconds::try_from(wall).unwrap_or(UnixSeconds::MAX) }
    }

    fn mono(&self) -> Duration {
        START.saturating_add(self.start.elapsed())
    }
}
