//! How long to wait for a server before somebody else is asked, or itself once more: by how long it took lately.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The shortest wait, however fast a server is: well above what a busy machine adds to a round trip, and a client that sees one
/// datagram lost waits no longer than people notice. RFC 6298 §2.4 has a second, for whole networks that are congested.
const MIN_WAIT: Duration = Duration::from_millis(250);

/// How long a server's replies took lately, smoothed as TCP does it (RFC 6298 §2). Shared by all questions; of two that come in at
/// once one may be lost, which changes nothing to speak of.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// SRTT in microseconds; 0 while nothing is known.
    smoothed_us: AtomicU32,
    /// RTTVAR in microseconds.
    variation_us: AtomicU32,
}

impl Pace {
    /// Takes in that a reply took so long.
    pub(super) fn took(&self, time: Duration) {
        let time = u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(1);
        let smoothed = self.smoothed_us.load(Ordering::Relaxed);
        let (smoothed, variation) = match smoothed {
            // RFC 6298 §2.2.
            0 => (time, time / 2),
            // RFC 6298 §2.3: RTTVAR before SRTT, beta is 1/4 and alpha 1/8.
            _ => {
                let variation = self.variation_us.load(Ordering::Relaxed);
                let off = smoothed.abs_diff(time);
                (smoothed - smoothed / 8 + time / 8, variation - variation / 4 + off / 4)
            }
        };
        self.variation_us.store(variation, Ordering::Relaxed);
        self.smoothed_us.store(smoothed.max(1), Ordering::Relaxed);
    }

    /// How long to wait for a reply before more is done, `most` if nothing is known, and never more.
    ///
    /// RFC 1035 §4.2.1: "the retransmission interval should be based on prior statistics if possible".
    pub(super) fn wait(&self, most: Duration) -> Duration {
        match self.smoothed_us.load(Ordering::Relaxed) {
            0 => most,
            smoothed => {
                let variation = u64::from(self.variation_us.load(Ordering::Relaxed));
                Duration::from_micros(u64::from(smoothed) + 4 * variation).max(MIN_WAIT).min(most)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_follow_what_replies_take() {
        let (ms, most) = (Duration::from_millis, Duration::from_millis(1500));
        let pace = Pace::default();
        assert_eq!(pace.wait(most), most, "nothing is known");
        // The first says 100 ms, give or take 50.
        pace.took(ms(100));
        assert_eq!(pace.wait(most), ms(300));
        for _ in 0..100 {
            pace.took(ms(100));
        }
        assert_eq!(pace.wait(most), MIN_WAIT, "a steady one");
        assert_eq!(pace.wait(ms(150)), ms(150), "never more than is allowed");
        for _ in 0..100 {
            pace.took(ms(1600));
        }
        assert_eq!(pace.wait(most), most, "one that is slow");
        pace.took(Duration::ZERO);
        pace.took(Duration::MAX);
        assert_eq!(pace.wait(most), most);
    }
}
