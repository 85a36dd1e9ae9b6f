//! The hash that rolls from the root down: a node's hash is its parent's mixed with its label.
//!
//! It is keyed. Were it the same everywhere, whoever writes a list could compute labels that all collide, and so make a
//! load take minutes and a lookup milliseconds. Both the root's hash and the factor of each step come from a seed that is
//! drawn for each build and stays inside: without them nobody can tell which labels collide, or make the difference that
//! one word of a label leaves vanish with the next.

use super::label::Label;

/// An odd constant with well-mixed bits: 2^64 divided by the golden ratio (Knuth, TAOCP vol. 3, 6.4).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a trie's hash is keyed with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// The hash of the root.
    pub root: u64,
    /// What each step multiplies by; odd, so that no input bit is lost.
    factor: u64,
}

impl Key {
    /// The key that a seed stands for.
    pub(super) fn of(seed: u64) -> Key {
        Key { root: drawn(seed, 1), factor: drawn(seed, 2) | 1 }
    }

    /// Mixes a label, length octet included, into its parent's hash, eight octets at a time.
    ///
    /// The length octet comes first, so a last word padded with zeros cannot be mistaken for a longer label.
    #[inline]
    pub(super) fn roll(self, parent: u64, label: Label<'_>) -> u64 {
        label.fold(parent, |hash, word| self.mix(hash, word))
    }

    /// One multiply-and-fold step: the high half of the product, which all input bits reach, joins the low half.
    #[inline]
    pub(super) fn mix(self, hash: u64, word: u64) -> u64 {
        let product = u128::from(hash ^ word) * u128::from(self.factor);
        ((product >> 64) as u64 ^ product as u64).wrapping_add(self.factor)
    }
}

/// The seed to try after this one: as little known to others as it was.
pub(super) fn next_seed(seed: u64) -> u64 {
    drawn(seed, 3)
}

/// The number of that place in the sequence that a seed begins (SplitMix64: Steele, Lea and Flood, OOPSLA 2014).
fn drawn(seed: u64, place: u64) -> u64 {
    let mut bits = seed.wrapping_add(STEP.wrapping_mul(place));
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
