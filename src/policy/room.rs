//! How much a policy holds, and what is said of what finds no room.

use std::fmt;

use super::trie::MAX_OCTETS;

/// Passes over a name: of a list of a hundred patterns one or two, so this is for more lists than anybody has. A pass is a
/// step of some nanoseconds for each octet of a name that is not remembered.
const MAX_PASSES: usize = 256;
/// Policy zones: as many as 16 bits number.
pub(super) const MAX_ZONES: usize = 1 << 16;

/// How much a policy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Octets of names, compiled, at most 2^32 - 1: places in a trie are 32 bits.
    pub octets: u64,
    /// Passes over each name that patterns take ([`Matcher::passes`](super::order::Matcher::passes)).
    pub passes: usize,
    /// Policy zones, at most 65,536: their numbers are 16 bits.
    pub zones: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room { octets: MAX_OCTETS, passes: MAX_PASSES, zones: MAX_ZONES }
    }
}

/// An order, or a group of protected names, for which a policy had no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The order's id; none of protected names.
    pub order: Option<String>,
    /// What it would have passed.
    pub bound: Bound,
}

/// A bound of a policy, and what there was when it was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// [`Room::octets`].
    Octets {
        /// Octets that its names may need at worst.
        need: u64,
        /// Those that were left.
        left: u64,
        /// Those there are in all.
        most: u64,
    },
    /// [`Room::passes`].
    Passes {
        /// Those that its patterns take.
        need: usize,
        /// Those that were left.
        left: usize,
        /// Those there are in all.
        most: usize,
    },
    /// [`Room::zones`].
    Zones {
        /// How many a policy holds.
        most: usize,
    },
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Octets { need, left, most } => {
                write!(
                    f,
                    "its names may take {need} octets compiled, and {left} of the {most} that a policy holds are left"
                )
            }
            Bound::Passes { need, left, most } => write!(
                f,
                "its patterns take {need} passes over each name, and {left} of the {most} that a policy makes are left"
            ),
            Bound::Zones { most } => {
                write!(f, "a policy holds {most} policy zones (lists are zones), which stand before it")
            }
        }
    }
}
