//! What a verdict rests on besides the name and who asks, in one number that can be compared.
//!
//! Who remembers something of a verdict must know what would change it. That is said here once: which policy it is, which of
//! its orders are suspended, and which windows are open. Who asks is in none of it, and need not be: what is remembered is only
//! that no rule in force is about a name, whoever asks and however ([`Judgement::touched`](super::Judgement)). Remembering what
//! one client was told, by a key of all that was looked at about that client, would be wrong for the next thing looked at.

use super::judge::{Policy, Rule};
use super::standing::Standings;
use crate::time::UnixSeconds;

/// Bits for [`Policy::epoch`]: a reload a second for four years.
const EPOCH_BITS: u32 = 27;
/// Bits for [`Policy::changes`] of one policy.
const CHANGES_BITS: u32 = 18;
/// Bits for the windows that have opened or closed: far more orders than have windows of their own.
const ERA_BITS: u32 = 18;

/// One policy, with the same orders suspended and the same windows open. Two that are the same and known say the same of
/// every name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp(u64);

impl Stamp {
    /// Of nothing that is known: the same as no other, not even as itself.
    pub const UNKNOWN: Stamp = Stamp(0);

    /// Puts the three numbers side by side; unknown if one has no room.
    fn of(epoch: u64, changes: u64, era: u64) -> Stamp {
        let room = epoch >> EPOCH_BITS == 0 && changes >> CHANGES_BITS == 0 && era >> ERA_BITS == 0;
        // One bit is left over, so adding 1 never comes to 0.
        let packed = (epoch << CHANGES_BITS | changes) << ERA_BITS | era;
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

/// The seconds at which a window of a policy opens or closes, ascending, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Edges(Box<[UnixSeconds]>);

impl Edges {
    /// Those of the windows of these rules, and of what is stated.
    pub(super) fn of(rules: &[Rule], standings: &Standings) -> Edges {
        let windows = rules.iter().map(|rule| &rule.window).chain(standings.windows());
        let ends = windows.flat_map(|window| [window.effective, window.expires]);
        let mut edges: Vec<UnixSeconds> = ends.flatten().collect();
        edges.sort_unstable();
        edges.dedup();
        Edges(edges.into())
    }

    /// How many are past at a second: between two of them no window opens or closes.
    fn era(&self, at: UnixSeconds) -> u64 {
        // Both ends of a window are the first second of what comes then.
        self.0.partition_point(|edge| *edge <= at) as u64
    }
}

impl Policy {
    /// The stamp of this policy at a second; to be read before any verdict is asked for that it is to stand for. One load,
    /// and a binary search where there are windows.
    #[inline]
    pub fn stamp(&self, at: UnixSeconds) -> Stamp {
        Stamp::of(self.epoch, self.changes(), self.edges.era(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::judge::Role;
    use crate::policy::{ScopeKind, Window};

    #[test]
    fn stamps_differ_wherever_one_of_the_three_does() {
        let numbers = [0, 1, 2, (1 << 18) - 1];
        let all = |numbers: &[u64; 4]| {
            let each = numbers.iter().flat_map(move |a| numbers.iter().map(move |b| (*a, *b)));
            each.flat_map(|(a, b)| numbers.map(|c| Stamp::of(a, b, c))).collect::<Vec<_>>()
        };
        let stamps = all(&numbers);
        for (index, one) in stamps.iter().enumerate() {
            for (other_index, other) in stamps.iter().enumerate() {
                assert_eq!(one.is(*other), index == other_index);
            }
        }
        assert_eq!(Stamp::UNKNOWN.to_bits(), 0, "what a mark takes for nothing");
        for full in [Stamp::of(1 << 27, 0, 0), Stamp::of(0, 1 << 18, 0), Stamp::of(0, 0, 1 << 18)] {
            assert!(full == Stamp::UNKNOWN && !full.is(full));
        }
        assert!(Stamp::of((1 << 27) - 1, (1 << 18) - 1, (1 << 18) - 1) != Stamp::UNKNOWN);
    }

    #[test]
    fn an_era_is_as_long_as_no_window_opens_or_closes() {
        let window = |effective, expires| {
            let window = Window { effective, expires, ..Window::ALWAYS };
            Rule { window, ..Rule::new(Role::Protect, ScopeKind::Exact) }
        };
        let rules =
            [window(None, None), window(Some(10), Some(20)), window(None, Some(10)), window(Some(15), None)];
        let edges = Edges::of(&rules, &Standings::default());
        for at in -1..30 {
            let open = |at| rules.map(|rule| rule.window.contains(at));
            assert_eq!(open(at) == open(at + 1), edges.era(at) == edges.era(at + 1), "{at}");
        }
        assert_eq!([9, 10, 14, 15, 19, 20].map(|at| edges.era(at)), [0, 1, 1, 2, 2, 3]);
    }
}
