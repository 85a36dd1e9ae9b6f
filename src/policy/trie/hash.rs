//! The hash that rolls from the root down: a node's hash is its parent's mixed with its label.

use super::label::Label;

/// An odd constant with well-mixed bits: 2^64 divided by the golden ratio (Knuth, TAOCP vol. 3, 6.4).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
/// The hash of the root; any value does.
pub(super) const ROOT_HASH: u64 = 0x243f_6a88_85a3_08d3;

/// Mixes a label, length octet included, into its parent's hash, eight octets at a time.
///
/// The length octet comes first, so a last word padded with zeros cannot be mistaken for a longer label.
#[inline]
pub(super) fn roll(parent: u64, label: Label<'_>) -> u64 {
    label.fold(parent, mix)
}

/// One multiply-and-fold step: the high half of the product, which all input bits reach, joins the low half.
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * u128::from(MIX);
    ((product >> 64) as u64 ^ product as u64).wrapping_add(MIX)
}
