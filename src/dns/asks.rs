//! How an answer is asked for while it is known: that tells whether it is worth asking for it anew before it ends.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering};

/// The share of an answer's life that is its end: the last tenth, as in Unbound (`PREFETCH_TTL_CALC`). In whole seconds, which TTLs are
/// counted in, that is none where one lives for less than ten: there is no time left then to have another one.
const LAST_SHARE: u32 = 10;
/// How often an answer is asked for while it is known, the last time at its end, before it is asked for anew. Once is what Unbound
/// takes: a tenth more of misses spared, for two thirds more questions (`benches/results/prefetch-2026-11-28.md`).
const OFTEN: u8 = 2;
/// Octets of it as it is [noted](Asks::noted).
pub(super) const ASKS_LEN: usize = 4;

/// A note on the margin of a truth, for all threads to see. Any two are equal: they say nothing of what they stand beside.
#[derive(Debug, Default)]
pub struct Asks {
    /// How often it was asked for, as far as that matters.
    times: AtomicU8,
    /// Whether it was seen to that it is asked for anew, which is done once.
    seen_to: AtomicBool,
    /// How old it is, in seconds and one more, when the one before would have ended; 0 if nobody asked anew, or it was asked for since.
    spares_from: AtomicU16,
}

impl Clone for Asks {
    fn clone(&self) -> Asks {
        Asks::noting(self.noted())
    }
}

impl PartialEq for Asks {
    fn eq(&self, _other: &Asks) -> bool {
        true
    }
}

// Relaxed all over: nothing else is ordered by these, and a count that comes late is a question more or less.
impl Asks {
    /// Of an answer that is not to be asked for anew: it is what another one comes to.
    pub fn settled() -> Asks {
        Asks { seen_to: true.into(), ..Asks::default() }
    }

    /// What [`Asks::noted`] told of another one.
    pub(super) fn noting([times, seen_to, low, high]: [u8; ASKS_LEN]) -> Asks {
        let spares_from = u16::from_le_bytes([low, high]).into();
        Asks { times: times.into(), seen_to: (seen_to != 0).into(), spares_from }
    }

    /// All of it, in octets.
    pub(super) fn noted(&self) -> [u8; ASKS_LEN] {
        let [low, high] = self.spares_from.load(Ordering::Relaxed).to_le_bytes();
        [self.times.load(Ordering::Relaxed), self.is_seen_to().into(), low, high]
    }

    /// Notes that it was fetched for nobody yet, in place of one that had so many seconds left.
    pub fn renews(&self, left_s: u64) {
        // It is a tenth of a TTL at most, of which the longest is a week.
        let from = u16::try_from(left_s).unwrap_or(u16::MAX).saturating_add(1);
        self.spares_from.store(from, Ordering::Relaxed);
    }

    /// Notes that somebody asks. Many do at once, so nothing is written once it is enough.
    pub fn note(&self) {
        if !self.are_enough() {
            self.times.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether nothing more is to be noted of who asks before the end: it was asked for often, and spares nobody.
    pub fn are_settled(&self) -> bool {
        self.are_enough() && self.spares_from.load(Ordering::Relaxed) == 0
    }

    /// Whether it was asked for often.
    fn are_enough(&self) -> bool {
        self.times.load(Ordering::Relaxed) >= OFTEN
    }

    /// Whether it is asked for often once somebody asks who is not counted yet.
    pub fn are_enough_with_one(&self) -> bool {
        self.times.load(Ordering::Relaxed) + 1 >= OFTEN
    }

    /// Whether it was seen to that it is asked for anew.
    pub fn is_seen_to(&self) -> bool {
        self.seen_to.load(Ordering::Relaxed)
    }

    /// Sees to that; false if somebody has.
    pub fn see_to(&self) -> bool {
        !self.seen_to.swap(true, Ordering::Relaxed)
    }

    /// Whether whoever asks when it is that old would have waited, had it not been fetched before anybody asked; once.
    pub fn spares(&self, age_s: u32) -> bool {
        let from = self.spares_from.load(Ordering::Relaxed);
        from != 0 && age_s >= u32::from(from) - 1 && self.spares_from.swap(0, Ordering::Relaxed) != 0
    }
}

/// How long the end is of an answer that lives so long, in whole seconds: none where it is not worth asking anew.
pub(super) fn last_share_s(lifetime_s: u32) -> u32 {
    lifetime_s / LAST_SHARE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_often_with_the_second_time_and_seen_to_once() {
        let asks = Asks::default();
        assert!(!asks.are_enough() && !asks.are_enough_with_one());
        asks.note();
        assert!(!asks.are_enough() && asks.are_enough_with_one());
        (0..300).for_each(|_| asks.note());
        assert!(asks.are_enough());
        assert!(asks.see_to() && !asks.see_to() && asks.is_seen_to());
        assert!(Asks::settled().is_seen_to());
    }

    #[test]
    fn who_comes_when_the_one_before_had_ended_is_spared_once() {
        let asks = Asks::default();
        assert!(!asks.spares(9), "it was fetched for somebody who waited");
        asks.renews(9);
        assert_eq!([8, 9, 10].map(|age_s| asks.spares(age_s)), [false, true, false]);
        asks.renews(0);
        assert_eq!([0, 0].map(|age_s| asks.spares(age_s)), [true, false], "it came when that had ended");
    }

    #[test]
    fn what_is_noted_is_read_again() {
        let asks = Asks::default();
        asks.note();
        asks.renews(60_480);
        let again = Asks::noting(asks.noted());
        assert!(again.are_enough_with_one() && !again.is_seen_to() && again.spares(60_480));
        assert!(Asks::noting(Asks::settled().noted()).is_seen_to());
    }
}
