//! The octets of a trie, and how they are read.

use std::fmt;
use std::sync::Arc;

use super::label::Label;
use super::{BUCKET_LEN, PARENT_LEN, Probe, RECORD_PADDING, SLOTS, Shape, TAGS};
use crate::name::Name;

/// Octets that somebody holds and nobody changes, from some place on: a trie's own, or a mapped file's.
#[derive(Clone)]
pub struct Area {
    held: Arc<dyn AsRef<[u8]> + Send + Sync>,
    start: usize,
}

impl Area {
    /// What `held` gives, which must be the same octets each time.
    pub fn new(held: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Area {
        Area { held, start: 0 }
    }

    /// That many zeros, which begin at the start of a cache line.
    pub fn zeroed(len: usize) -> Area {
        Area::of(aligned(len))
    }

    /// Octets from a place on.
    pub(super) fn of((octets, start): (Vec<u8>, usize)) -> Area {
        Area { start: start.min(octets.len()), held: Arc::new(octets) }
    }

    /// What begins `by` octets further on; none if that is behind the end.
    pub fn skip(self, by: usize) -> Option<Area> {
        let start = self.start.checked_add(by)?;
        (start <= (*self.held).as_ref().len()).then_some(Area { start, ..self })
    }

    /// The octets.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        // The start was checked when it was set.
        (*self.held).as_ref().get(self.start..).unwrap_or_default()
    }
}

impl fmt::Debug for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.octets().len())
    }
}

/// A vector in which `len` zeros from the place beside it on begin at the start of a cache line and end the vector.
pub(super) fn aligned(len: usize) -> (Vec<u8>, usize) {
    let mut octets = vec![0; len + BUCKET_LEN - 1];
    let start = octets.as_ptr().align_offset(BUCKET_LEN).min(BUCKET_LEN - 1);
    octets.truncate(start + len);
    (octets, start)
}

/// A trie's octets taken apart.
#[derive(Clone, Copy)]
pub(super) struct Parts<'o> {
    /// The table.
    pub buckets: &'o [[u8; BUCKET_LEN]],
    /// The nodes, the root first.
    pub records: &'o [u8],
    /// Octets in a value.
    value_len: usize,
    /// The bits of a value among the four octets at its place.
    value_mask: u32,
}

impl<'o> Parts<'o> {
    /// Takes them apart.
    #[inline]
    pub(super) fn of(octets: &'o [u8], shape: Shape) -> Parts<'o> {
        // Whoever made the trie saw to it that there are so many.
        let (table, records) = octets.split_at(shape.table_len());
        let value_len = usize::from(shape.value_len);
        let value_mask = u32::MAX >> (u32::BITS - 8 * u32::from(shape.value_len));
        Parts { buckets: table.as_chunks().0, records, value_len, value_mask }
    }

    /// The start of a hash's probe sequence.
    #[inline]
    pub(super) fn probe(&self, hash: u64) -> Probe {
        let (bucket, tag) = home(hash, self.buckets.len());
        Probe { bucket, tag, matches: matches(&self.buckets[bucket as usize], tag) }
    }

    /// The next record on a probe sequence whose tag is the hash's; none at the end.
    #[inline]
    pub(super) fn next_record(&self, probe: &mut Probe) -> Option<u32> {
        loop {
            let bucket = &self.buckets[probe.bucket as usize];
            if probe.matches != 0 {
                let slot = probe.matches.trailing_zeros() as usize;
                probe.matches &= probe.matches - 1;
                return place_in(bucket, slot);
            }
            if !is_full(bucket) {
                return None;
            }
            probe.bucket = if probe.bucket as usize + 1 == self.buckets.len() { 0 } else { probe.bucket + 1 };
            probe.matches = matches(&self.buckets[probe.bucket as usize], probe.tag);
        }
    }

    /// Whether the record at `place` is the child of `parent` by that label.
    #[inline]
    pub(super) fn is(&self, place: u32, parent: u32, label: Label<'_>) -> bool {
        let at = place as usize;
        self.four(at) == parent && label.is(self.label(at))
    }

    /// How long the name is that `wire` starts with, if the record at `place` is its own: if its labels are those from there up
    /// to the root. `wire` holds a whole name.
    #[inline]
    pub(super) fn spells(&self, mut place: u32, wire: &[u8]) -> Option<usize> {
        let mut label = Label { octets: wire, at: 0 };
        while place != 0 {
            // The root's label is none of a record's: a name that ends here first differs.
            if !label.is(self.label(place as usize)) {
                return None;
            }
            label.at += label.len();
            place = self.parent(place);
        }
        (label.len() == 1).then_some(label.at + 1)
    }

    /// The value of the record at `place`.
    #[inline]
    pub(super) fn value(&self, place: u32) -> u32 {
        self.four(place as usize + PARENT_LEN) & self.value_mask
    }

    /// Where the record that starts at `place` ends.
    pub(super) fn end_of(&self, place: usize) -> usize {
        let label = self.label(place);
        label.at + label.len()
    }

    /// The whole name of a record, by climbing to the root.
    pub(super) fn name_of(&self, mut place: u32) -> Name {
        let mut name = Name::ROOT;
        // Every record was made from a valid name, so its labels fit into one again.
        while place != 0 && name.push_label(&self.label(place as usize).as_slice()[1..]).is_ok() {
            place = self.parent(place);
        }
        name
    }

    /// The parent of the record at `place`.
    #[inline]
    pub(super) fn parent(&self, place: u32) -> u32 {
        self.four(place as usize)
    }

    /// The label of what may be a record at `place`; none if that would not end with the records.
    #[inline]
    pub(super) fn label_within(&self, place: usize) -> Option<Label<'o>> {
        let end = self.records.len().checked_sub(RECORD_PADDING).filter(|&end| place < end)?;
        let label = self.label(place);
        let len = usize::from(*self.records.get(label.at)?) + 1;
        (label.at.checked_add(len)? <= end).then_some(label)
    }

    /// The label of the record that starts there.
    #[inline]
    fn label(&self, place: usize) -> Label<'o> {
        Label { octets: self.records, at: place + PARENT_LEN + self.value_len }
    }

    /// Four octets of the records as a little-endian word.
    #[inline]
    fn four(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.records[at..at + 4].try_into().unwrap_or_default())
    }
}

/// A hash's first bucket among so many, and its tag.
#[inline]
pub(super) fn home(hash: u64, buckets: usize) -> (u32, u8) {
    // The upper half, scaled to the number of buckets, which is no power of two.
    let bucket = (((hash >> 32) * buckets as u64) >> 32) as u32;
    // Tag 0 is a free slot's.
    (bucket, (hash as u8).max(1))
}

/// The slots of a bucket with that tag, a bit each. The compiler makes one comparison of the sixteen.
#[inline]
fn matches(bucket: &[u8; BUCKET_LEN], tag: u8) -> u32 {
    let tags = bucket.first_chunk::<TAGS>().unwrap_or(&[0; TAGS]);
    tags.iter().enumerate().fold(0, |bits, (slot, known)| bits | u32::from(*known == tag) << slot)
}

/// Whether no slot is free: they fill from the first on.
#[inline]
pub(super) fn is_full(bucket: &[u8; BUCKET_LEN]) -> bool {
    bucket[SLOTS - 1] != 0
}

/// The place that stands in a slot; none beyond the last slot.
#[inline]
fn place_in(bucket: &[u8; BUCKET_LEN], slot: usize) -> Option<u32> {
    let at = TAGS + 4 * slot;
    Some(u32::from_le_bytes(bucket.get(at..at + 4)?.try_into().ok()?))
}

/// The places in the slots of a bucket that are not free.
#[inline]
pub(super) fn filled(bucket: &[u8; BUCKET_LEN]) -> impl Iterator<Item = u32> + '_ {
    (0..SLOTS).filter(|&slot| bucket[slot] != 0).filter_map(|slot| place_in(bucket, slot))
}

/// Puts a place with its tag into the first free slot of a bucket, if one is.
pub(super) fn put(bucket: &mut [u8; BUCKET_LEN], tag: u8, place: u32) {
    if let Some(slot) = bucket[..SLOTS].iter().position(|tag| *tag == 0) {
        bucket[slot] = tag;
        let at = TAGS + 4 * slot;
        bucket[at..at + 4].copy_from_slice(&place.to_le_bytes());
    }
}
