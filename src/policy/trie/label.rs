//! Labels where they stand, read by words of eight octets.

use crate::name::{MAX_LABELS, MAX_NAME_LEN, Name};

/// A label within some octets, its length octet included.
#[derive(Clone, Copy)]
pub(super) struct Label<'o> {
    /// The octets it stands in, and more behind it where there is more.
    pub octets: &'o [u8],
    /// Where it starts.
    pub at: usize,
}

impl<'o> Label<'o> {
    /// Its octets with the length octet: 2 to 64, or 1 for the root's.
    #[inline]
    pub(super) fn len(self) -> usize {
        usize::from(self.octets[self.at]) + 1
    }

    /// Its octets, the length octet first.
    pub(super) fn as_slice(self) -> &'o [u8] {
        &self.octets[self.at..self.at + self.len()]
    }

    /// Folds its octets as little-endian words, the last one padded with zeros.
    #[inline]
    pub(super) fn fold(self, start: u64, step: impl Fn(u64, u64) -> u64) -> u64 {
        let (mut at, mut left, mut value) = (self.at, self.len(), start);
        while left > 8 {
            value = step(value, word(self.octets, at, 8));
            at += 8;
            left -= 8;
        }
        step(value, word(self.octets, at, left))
    }

    /// Whether both are the same label. Their first octet is the length, so equal words mean equal labels.
    #[inline]
    pub(super) fn is(self, other: Label<'_>) -> bool {
        let (mut from, mut left) = (0, self.len());
        while left > 8 {
            if word(self.octets, self.at + from, 8) != word(other.octets, other.at + from, 8) {
                return false;
            }
            from += 8;
            left -= 8;
        }
        word(self.octets, self.at + from, left) == word(other.octets, other.at + from, left)
    }
}

/// `len` octets, 1 to 8, as a little-endian word: one load where eight octets are there, and the rest shifted out.
#[inline]
fn word(octets: &[u8], at: usize, len: usize) -> u64 {
    match octets.get(at..at + 8) {
        Some(eight) => u64::from_le_bytes(eight.try_into().unwrap_or_default()) << (64 - 8 * len),
        None => short_word(octets, at, len),
    }
}

/// The same where the octets end first.
#[cold]
fn short_word(octets: &[u8], at: usize, len: usize) -> u64 {
    let word = octets[at..at + len].iter().rev().fold(0, |word, octet| word << 8 | u64::from(*octet));
    word << (64 - 8 * len)
}

/// Where each label of a name starts. It refers to no name, so that room for many can be kept and used again.
#[derive(Clone, Copy)]
pub(super) struct LabelStarts {
    starts: [u8; MAX_LABELS],
    len: u8,
}

impl LabelStarts {
    /// The root's.
    pub(super) const EMPTY: LabelStarts = LabelStarts { starts: [0; MAX_LABELS], len: 0 };

    /// Becomes those of a name; what stood behind its end stays there.
    #[inline]
    pub(super) fn read(&mut self, octets: &[u8; MAX_NAME_LEN]) {
        let (mut at, mut len) = (0, 0);
        while octets[at] != 0 {
            self.starts[len] = at as u8;
            len += 1;
            at += 1 + usize::from(octets[at]);
        }
        self.len = len as u8;
    }

    /// How many labels.
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Where the label at that depth below the root starts, from 1.
    #[inline]
    pub(super) fn start(&self, depth: usize) -> u8 {
        self.starts[self.len() - depth]
    }
}

/// A name that can be read label by label from the root end.
pub(super) struct LabelPath<'n> {
    octets: &'n [u8; MAX_NAME_LEN],
    starts: LabelStarts,
}

impl<'n> LabelPath<'n> {
    /// Finds the labels of a name.
    pub(super) fn of(name: &'n Name) -> LabelPath<'n> {
        let (octets, mut starts) = (name.padded(), LabelStarts::EMPTY);
        starts.read(octets);
        LabelPath { octets, starts }
    }

    /// How many labels.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The label at that depth below the root, from 1.
    pub(super) fn label(&self, depth: usize) -> Label<'n> {
        Label { octets: self.octets, at: usize::from(self.starts.start(depth)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_wherever_a_label_stands() {
        for len in [0, 1, 6, 7, 8, 15, 62, 63] {
            let label: Vec<u8> = std::iter::once(len).chain((0..len).map(|octet| octet ^ 0x55)).collect();
            let bare = Label { octets: &label, at: 0 };
            let padded: Vec<u8> = [&[9, 9, 9][..], &label, &[7; 9]].concat();
            let inside = Label { octets: &padded, at: 3 };
            let mix = |value: u64, word: u64| value.rotate_left(7) ^ word;
            assert_eq!(bare.fold(1, mix), inside.fold(1, mix), "{len}");
            assert!(bare.is(inside) && inside.is(bare), "{len}");
            assert_eq!((bare.len(), inside.as_slice()), (usize::from(len) + 1, &label[..]));
        }
    }

    #[test]
    fn one_octet_makes_another_label() {
        let label = |octets: &'static [u8]| Label { octets, at: 0 };
        for (left, right) in
            [(&b"\x01a"[..], &b"\x01b"[..]), (b"\x01a", b"\x02aa"), (b"\x08aaaaaaaa", b"\x08aaaaaaab")]
        {
            assert!(!label(left).is(label(right)), "{left:?} {right:?}");
        }
    }
}
