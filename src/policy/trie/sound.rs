//! Whether octets are a trie's: every place in them looked at once, before anybody walks.
//!
//! Two passes from front to back, without a jump: ten million names take some 60 ms, where following each slot to its record
//! would take 300. That slots and records belong together is told by what the places on both sides come to; that names are
//! found by walking, by asking for some of them.

use super::area::{Parts, filled, is_full};
use super::{NO_VALUE, NameTrie, PARENT_LEN, RECORD_PADDING, SLOTS, TAGS};

/// Records that are walked to, spread over all: enough to notice octets that were moved about or are hashed in another
/// way, few enough to take a millisecond.
const SAMPLE: usize = 1024;
/// Octets of the longest label with its length octet (RFC 1035 §2.3.4).
const MAX_LABEL_LEN: usize = 64;

impl NameTrie {
    /// How many names have each value, the value 0 being none: as many numbers as there are values. None if the octets cannot
    /// be a trie's, or a value is beyond those.
    pub fn census(&self, values: usize) -> Option<Vec<u32>> {
        let parts = self.parts();
        let mut records = Records::new(values);
        records.read(&parts)?;
        let slots = slots(&parts)?;
        let named: u64 = records.census.iter().skip(1).copied().map(u64::from).sum();
        let whole = slots == records.slotted && named == self.len() as u64;
        let found = || records.sample.iter().all(|&place| self.leads_to(&parts, place));
        (whole && found()).then_some(records.census)
    }

    /// Whether a walk to the name of a record comes to its value.
    fn leads_to(&self, parts: &Parts<'_>, place: u32) -> bool {
        self.at(&parts.name_of(place)).unwrap_or(NO_VALUE) == parts.value(place)
    }
}

/// What many places come to, in whatever order they are met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Places {
    count: u64,
    sum: u64,
}

impl Places {
    /// Takes one in.
    #[inline]
    fn note(&mut self, place: u32) {
        // An odd factor with well-mixed bits (see `hash.rs`); folded, so that places moved by as much do not cancel out.
        let mixed = u64::from(place).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.count += 1;
        self.sum = self.sum.wrapping_add(mixed ^ mixed >> 32);
    }
}

/// What the records come to.
struct Records {
    /// How many have each value.
    census: Vec<u32>,
    /// The places that slots must name: all but the root's.
    slotted: Places,
    /// Some of the places.
    sample: Vec<u32>,
}

impl Records {
    /// Nothing read.
    fn new(values: usize) -> Records {
        Records { census: vec![0; values], slotted: Places::default(), sample: Vec::new() }
    }

    /// Reads all records; none if one of them ends early, has no label, or has no parent before it.
    fn read(&mut self, parts: &Parts<'_>) -> Option<()> {
        let end = parts.records.len().checked_sub(RECORD_PADDING)?;
        // A bit for each place where a record starts. Parents stand near each other, so looking one up costs little.
        let mut starts = vec![0_u64; end / 64 + 1];
        let is_start =
            |starts: &[u64], at: usize| starts.get(at / 64).is_some_and(|bits| bits >> (at % 64) & 1 != 0);
        let (mut at, mut next_sample) = (0, 0);
        while at < end {
            let place = u32::try_from(at).ok()?;
            let label = parts.label_within(at)?;
            let (parent, is_root) = (parts.parent(place) as usize, at == 0);
            if label.len() > MAX_LABEL_LEN || (label.len() == 1) != is_root {
                return None;
            }
            // Parents before their children: so climbing ends.
            if if is_root { parent != 0 } else { parent >= at || !is_start(&starts, parent) } {
                return None;
            }
            if !is_root {
                self.slotted.note(place);
            }
            if at >= next_sample {
                self.sample.push(place);
                next_sample = at + end / SAMPLE;
            }
            *self.census.get_mut(parts.value(place) as usize)? += 1;
            *starts.get_mut(at / 64)? |= 1 << (at % 64);
            at = label.at + label.len();
        }
        (at == end).then_some(())
    }
}

/// What the slots of the table come to; none if one names a place where no record can be, or a probe would never end.
fn slots(parts: &Parts<'_>) -> Option<Places> {
    // From here on a label might end behind the records, and has to be looked at.
    let near_end = parts.records.len().saturating_sub(PARENT_LEN + 4 + MAX_LABEL_LEN + RECORD_PADDING);
    let (mut places, mut has_end) = (Places::default(), false);
    for bucket in parts.buckets {
        // Tags that belong to no slot would end a probe early.
        if bucket[SLOTS..TAGS].iter().any(|tag| *tag != 0) {
            return None;
        }
        for place in filled(bucket) {
            if place as usize >= near_end {
                parts.label_within(place as usize)?;
            }
            places.note(place);
        }
        has_end |= !is_full(bucket);
    }
    has_end.then_some(places)
}

#[cfg(test)]
mod tests {
    use super::super::{Area, Shape, TrieBuilder};
    use super::*;
    use crate::name::Name;
    use std::sync::Arc;

    /// Names with values 1 to 3.
    fn names() -> Vec<(Name, u32)> {
        let texts =
            ["net", "a.ddns.net", "b.c.a.ddns.net", "x.example", "a-label-of-more-than-eight.example", "org"];
        texts.iter().map(|text| text.parse().unwrap()).zip([1, 2, 3].into_iter().cycle()).collect()
    }

    fn trie() -> NameTrie {
        let mut builder = TrieBuilder::new();
        for (name, value) in names() {
            builder.update(&name, |_| value);
        }
        builder.build()
    }

    /// The trie whose octets these are, if they may be taken.
    fn restored(octets: Vec<u8>, shape: Shape, census: &[u32]) -> Option<NameTrie> {
        NameTrie::restored(Area::new(Arc::new(octets)), shape, census)
    }

    #[test]
    fn a_census_counts_names_by_value() {
        assert_eq!(trie().census(4), Some(vec![4, 2, 2, 2]));
        assert_eq!(trie().census(3), None, "a value beyond those there are");
        assert_eq!(NameTrie::empty().census(1), Some(vec![1]));
        let mut builder = TrieBuilder::new();
        for number in 0..20_000_u32 {
            builder.update(&format!("h{number}.z{}.net", number % 97).parse().unwrap(), |_| 1 + number % 2);
        }
        assert_eq!(builder.build().census(3), Some(vec![99, 10_000, 10_000]));
    }

    #[test]
    fn no_changed_octet_panics_and_next_to_none_hides_a_name() {
        let (trie, names) = (trie(), names());
        let census = trie.census(4).unwrap();
        let (mut taken, mut refused, mut hidden) = (0, 0, 0);
        for at in 0..trie.octets().len() {
            for value in
                [0, 1, 2, 3, 63, 64, 0x7f, 0x80, 0xff, trie.octets()[at] ^ 1, trie.octets()[at] ^ 0x80]
            {
                let mut octets = trie.octets().to_vec();
                octets[at] = value;
                let Some(changed) = restored(octets, trie.shape(), &census) else {
                    refused += 1;
                    continue;
                };
                taken += 1;
                // What says nothing may be anything, and two values may have changed places by no single octet. A label that
                // was made another with the same tag is found as that: one change in 256 by chance, which the file's
                // checksum tells, and its owner if it was meant.
                hidden += names.iter().filter(|(name, value)| changed.at(name) != Some(*value)).count();
            }
        }
        assert!(taken > 0 && refused > taken && hidden * 128 < refused, "{taken} {refused} {hidden}");
    }

    #[test]
    fn emptied_and_exchanged_parts_are_refused() {
        let trie = trie();
        let (shape, census) = (trie.shape(), trie.census(4).unwrap());
        let table = shape.table_len();
        let whole = trie.octets();
        assert!(restored(whole.to_vec(), shape, &census).is_some());
        type Change = fn(&mut [u8], usize);
        let changes: [(&str, Change); 6] = [
            ("no slot is filled", |octets, table| octets[..table].fill(0)),
            ("every slot is filled", |octets, table| octets[..table].fill(1)),
            ("places far away", |octets, table| {
                octets[..table].chunks_mut(64).for_each(|bucket| bucket[16..].fill(0xff));
            }),
            ("all tags are others", |octets, table| {
                octets[..table]
                    .chunks_mut(64)
                    .flat_map(|bucket| &mut bucket[..12])
                    .for_each(|tag| *tag = tag.wrapping_mul(3));
            }),
            ("no records", |octets, table| octets[table..].fill(0)),
            ("records of nothing but ones", |octets, table| octets[table..].fill(0xff)),
        ];
        for (what, change) in changes {
            let mut octets = whole.to_vec();
            change(&mut octets, table);
            assert!(restored(octets, shape, &census).is_none(), "{what}");
        }
        for (what, shape, census) in [
            ("more names", Shape { names: shape.names + 1, ..shape }, census.clone()),
            ("fewer names", Shape { names: 0, ..shape }, census.clone()),
            ("other values", shape, vec![4, 3, 1, 2]),
            ("fewer values", shape, vec![4, 2, 2]),
            ("wider values", Shape { value_len: 2, ..shape }, census.clone()),
            ("more buckets", Shape { buckets: shape.buckets + 1, ..shape }, census.clone()),
        ] {
            assert!(restored(whole.to_vec(), shape, &census).is_none(), "{what}");
        }
    }
}
