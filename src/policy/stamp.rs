//! What a verdict rests on besides the name and who asks, in one number that can be compared.
//!
//! Who remembers something of a verdict must know what would change it. That is said here once: which policy it is, overrides
//! included, and which windows are open. Who asks is in none of it, and need not be: what is remembered is only
//! that no rule in force is about a name, whoever asks and however ([`Judgement::touched`](super::Judgement)). Remembering what
//! one client was told, by a key of all that was looked at about that client, would be wrong for the next thing looked at.

use std::time::Duration;

use super::order::Window;
use crate::time::UnixSeconds;

/// Bits for the epoch: a new policy every microsecond for a year.
const EPOCH_BITS: u32 = 45;
/// Bits for the windows that have opened or closed: far more orders than have windows of their own.
const ERA_BITS: u32 = 18;

/// One policy, with the same windows open. Two that are the same and known say the same of
/// every name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp(u64);

impl Stamp {
    /// Of nothing that is known: the same as no other, not even as itself.
    pub const UNKNOWN: Stamp = Stamp(0);

    /// Puts the numbers side by side: of the policy, and of the windows that have opened or closed. Unknown if one has no room.
    pub(super) fn of(epoch: u64, era: u64) -> Stamp {
        let room = epoch >> EPOCH_BITS == 0 && era >> ERA_BITS == 0;
        // One bit is left over, so adding 1 never comes to 0.
        let packed = epoch << ERA_BITS | era;
        if room { Stamp(packed + 1) } else { Stamp::UNKNOWN }
    }

    /// Whether both are known and the same.
    #[inline]
    pub fn is(self, other: Stamp) -> bool {
        self == other && self != Stamp::UNKNOWN
    }

    /// As octets that are compared and kept; 0 is [`Stamp::UNKNOWN`].
    #[inline]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// What [`Stamp::to_bits`] gave.
    #[inline]
    pub fn from_bits(bits: u64) -> Stamp {
        Stamp(bits)
    }
}

/// That no rule is about something, nor about the name servers behind it as far as those are looked at: under that stamp, and
/// before that moment on the monotonic clock, when it has to be asked anew who those are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clear {
    /// Unknown if a rule is, or nobody looked.
    pub stamp: Stamp,
    /// The end of time where no servers are looked at.
    pub until: Duration,
}

impl Clear {
    /// Of what nothing is known.
    pub const UNKNOWN: Clear = Clear { stamp: Stamp::UNKNOWN, until: Duration::ZERO };
}

/// The seconds at which a window of a policy opens or closes, ascending, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Edges(Box<[UnixSeconds]>);

impl Edges {
    /// Those of these windows.
    pub(super) fn of<'w>(windows: impl Iterator<Item = &'w Window>) -> Edges {
        let ends = windows.flat_map(|window| [window.effective, window.expires]);
        let mut edges: Vec<UnixSeconds> = ends.flatten().collect();
        edges.sort_unstable();
        edges.dedup();
        Edges(edges.into())
    }

    /// How many are past at a second: between two of them no window opens or closes.
    pub(super) fn era(&self, at: UnixSeconds) -> u64 {
        // Both ends of a window are the first second of what comes then.
        self.0.partition_point(|edge| *edge <= at) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_differ_wherever_one_of_the_two_does() {
        let numbers = [0, 1, 2, (1 << 18) - 1];
        let stamps: Vec<Stamp> =
            numbers.iter().flat_map(|epoch| numbers.map(|era| Stamp::of(*epoch, era))).collect();
        for (index, one) in stamps.iter().enumerate() {
            for (other_index, other) in stamps.iter().enumerate() {
                assert_eq!(one.is(*other), index == other_index);
            }
        }
        assert_eq!(Stamp::UNKNOWN.to_bits(), 0, "what a mark takes for nothing");
        for full in [Stamp::of(1 << 45, 0), Stamp::of(0, 1 << 18)] {
            assert!(full == Stamp::UNKNOWN && !full.is(full));
        }
        assert!(Stamp::of((1 << 45) - 1, (1 << 18) - 1) != Stamp::UNKNOWN);
    }

    #[test]
    fn an_era_is_as_long_as_no_window_opens_or_closes() {
        let window = |effective, expires| Window { effective, expires, ..Window::ALWAYS };
        let windows =
            [window(None, None), window(Some(10), Some(20)), window(None, Some(10)), window(Some(15), None)];
        let edges = Edges::of(windows.iter());
        for at in -1..30 {
            let open = |at| windows.map(|window| window.contains(at));
            assert_eq!(open(at) == open(at + 1), edges.era(at) == edges.era(at + 1), "{at}");
        }
        assert_eq!([9, 10, 14, 15, 19, 20].map(|at| edges.era(at)), [0, 1, 1, 2, 2, 3]);
    }
}
