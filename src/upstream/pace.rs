//! How long to wait for a server before somebody else is asked, or itself once more: by how long it took lately.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The shortest wait by datagram, however fast a server is: above what a busy machine adds to a round trip, and a client that sees one datagram
/// lost, or two, waits no longer than people notice. Unbound has as much. RFC 6298 §2.4 has a second, for whole networks that are congested.
pub(super) const MIN_WAIT: Duration = Duration::from_millis(50);
/// The shortest by stream: there the system sends again what is lost, Linux after 200 ms at the earliest, and a new connection takes
/// some round trips more than a question on an old one.
pub(super) const MIN_STREAM_WAIT: Duration = Duration::from_millis(250);

/// Of so many replies one takes longer than what counts as slow: the 95th percentile.
const ONE_OF: u32 = 20;
/// What counts as slow moves by such a part of itself: a few dozen slow replies double it, some hundred fast ones halve it.
const STEP: u32 = 512;

/// How long a server's replies took lately, smoothed as TCP does it (RFC 6298 §2). Shared by all questions; of two that come in at
/// once one may be lost, which changes nothing to speak of.
#[derive(Debug)]
pub(super) struct Pace {
    /// The shortest wait.
    least: Duration,
    /// SRTT in microseconds; 0 while nothing is known.
    smoothed_us: AtomicU32,
    /// RTTVAR in microseconds.
    variation_us: AtomicU32,
    /// What one reply of twenty takes longer than, in microseconds.
    slow_us: AtomicU32,
}

impl Pace {
    /// Nothing is known yet; it is never waited for less than this.
    pub(super) fn new(least: Duration) -> Pace {
        let [smoothed_us, variation_us, slow_us] = [const { AtomicU32::new(0) }; 3];
        Pace { least, smoothed_us, variation_us, slow_us }
    }

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
        // Where it stands still, one of twenty raises it by as much as the nineteen others lower it.
        let slow = self.slow_us.load(Ordering::Relaxed);
        let step = (slow / STEP).max(1);
        let slow = match slow {
            0 => time.saturating_mul(3),
            _ if time > slow => slow.saturating_add((ONE_OF - 1) * step),
            _ => slow - step,
        };
        self.slow_us.store(slow.max(1), Ordering::Relaxed);
        self.variation_us.store(variation, Ordering::Relaxed);
        self.smoothed_us.store(smoothed.max(1), Ordering::Relaxed);
    }

    /// How long a reply takes, if that is known.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        known(&self.smoothed_us)
    }

    /// What one reply of twenty takes longer than, if that is known.
    pub(super) fn slow(&self) -> Option<Duration> {
        known(&self.slow_us)
    }

    /// How long to wait for a reply before more is done, `most` if nothing is known, and never more.
    ///
    /// RFC 1035 §4.2.1: "the retransmission interval should be based on prior statistics if possible".
    pub(super) fn wait(&self, most: Duration) -> Duration {
        match self.smoothed() {
            None => most,
            Some(smoothed) => {
                let variation = Duration::from_micros(self.variation_us.load(Ordering::Relaxed).into());
                (smoothed + 4 * variation).max(self.least).min(most)
            }
        }
    }

    /// The same where nobody else is there to ask: whoever mostly takes longer than `most` is waited for half as long again as that,
    /// and not asked everything twice.
    pub(super) fn wait_alone(&self, most: Duration) -> Duration {
        self.wait(self.smoothed().map_or(most, |smoothed| most.max(smoothed * 3 / 2)))
    }
}

/// A time in microseconds, of which 0 is none.
fn known(time_us: &AtomicU32) -> Option<Duration> {
    let time = time_us.load(Ordering::Relaxed);
    (time > 0).then(|| Duration::from_micros(time.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_follow_what_replies_take() {
        let (ms, most) = (Duration::from_millis, Duration::from_millis(1500));
        let pace = Pace::new(MIN_WAIT);
        assert_eq!(pace.wait(most), most, "nothing is known");
        // The first says 100 ms, give or take 50.
        pace.took(ms(100));
        assert_eq!(pace.wait(most), ms(300));
        for _ in 0..100 {
            pace.took(ms(30));
        }
        assert_eq!(pace.wait(most), MIN_WAIT, "a steady one");
        assert_eq!(pace.wait(ms(50)), ms(50), "never more than is allowed");
        for _ in 0..100 {
            pace.took(ms(1600));
        }
        assert_eq!(pace.wait(most), most, "one that is slow");
        // With nobody else to ask it is waited for, and one that answers now and then is not waited for for ever.
        assert!((ms(1600)..ms(1700)).contains(&pace.wait_alone(most)), "{:?}", pace.wait_alone(most));
        for _ in 0..100 {
            pace.took(ms(100));
            pace.took(ms(3000));
        }
        assert!((ms(2000)..ms(2700)).contains(&pace.wait_alone(most)), "{:?}", pace.wait_alone(most));
        assert_eq!((pace.wait(most), Pace::new(MIN_WAIT).wait_alone(most)), (most, most));
        pace.took(Duration::ZERO);
        pace.took(Duration::MAX);
        assert_eq!(pace.wait(most), most);
    }

    #[test]
    fn one_reply_of_twenty_is_slow() {
        let pace = Pace::new(MIN_WAIT);
        assert_eq!((pace.smoothed(), pace.slow()), (None, None));
        // Each of 1 to 100 ms as often as any other, in an order that has no order.
        let times = || (0..5000_u64).map(|n| Duration::from_millis(1 + n * 37 % 100));
        times().for_each(|time| pace.took(time));
        let slow = pace.slow().unwrap().as_millis();
        assert!((88..=102).contains(&slow), "{slow}");
        assert!((20..=80).contains(&pace.smoothed().unwrap().as_millis()));
        // It follows when the server becomes faster or slower by ten times.
        times().for_each(|time| pace.took(time / 10));
        let slow = pace.slow().unwrap().as_micros();
        assert!((8800..=10_200).contains(&slow), "{slow}");
        times().for_each(|time| pace.took(time));
        let slow = pace.slow().unwrap().as_millis();
        assert!((88..=102).contains(&slow), "{slow}");
        (0..2).for_each(|_| pace.took(Duration::MAX));
        assert!(pace.slow().is_some());
    }
}
