//! `NameTrie`: names to values, read from the root; every enclosing name with a value is found in one walk.
//!
//! A name is a path of labels from the root. Each node knows its parent and its own label; all edges of the whole
//! trie stand in one open-addressing table, keyed by a hash that rolls from the root down: the hash of a node is the
//! hash of its parent mixed with its label. A walk hashes one label, probes, and goes on from the node it finds; at
//! the first label nobody listed it stops, so a name in an unlisted zone costs one or two probes whatever the size.
//!
//! The table never decides: a probe counts only when the node's parent and label octets are equal to what was
//! asked, so a hash collision costs time and never an answer.
//!
//! It is made by a [`TrieBuilder`], or by a [`TrieEditor`] from another one, and then never changed. docs/design/trie.md tells why it is this structure, what the
//! alternatives cost, and follows one lookup octet by octet. In short:
//!
//! - A **record** is a node: its parent's place (4 octets), its value (1 to 4, alike in the whole trie), its label with
//!   the length octet. Records stand one after the other, those with children first, so that the few zones that all
//!   walks go through share cache lines. The root stands at place 0.
//! - A **bucket** is one cache line with twelve slots: their tags, one octet each from the hash, side by side so that all
//!   are compared at once, and the places of their records. A foreign record is touched once in two hundred and fifty
//!   slots; what does not fit goes into the next bucket. Slots fill from the first on, so a free last slot ends a probe.

mod area;
mod build;
mod edit;
mod hash;
mod label;
mod sound;

pub use area::Area;
pub use build::{TrieBuilder, worst_octets};
pub use edit::TrieEditor;

use crate::name::{MAX_LABELS, MAX_NAME_LEN, Name};
use area::Parts;
use hash::Key;
use label::{Label, LabelPath, LabelStarts};

/// The value that stands for none.
pub const NO_VALUE: u32 = 0;
/// Slots in a bucket: with a tag octet and four octets of place each, and four octets to spare, they fill 64.
const SLOTS: usize = 12;
/// Octets of tags in a bucket: as many as one instruction compares; the last four belong to no slot and stay 0.
const TAGS: usize = 16;
/// Octets in a bucket: a cache line.
const BUCKET_LEN: usize = 64;
/// Octets in a record's parent.
const PARENT_LEN: usize = 4;
/// Octets in the widest value.
const MAX_VALUE_LEN: usize = 4;
/// Octets that the records of one trie take at most: their places are 32 bits.
pub const MAX_OCTETS: u64 = u32::MAX as u64;
/// Octets behind the last record, so that any label's last word can be read as eight octets.
const RECORD_PADDING: usize = 8;
/// Names walked side by side: enough for their cache misses to overlap, few enough for their states to stay in the
/// first-level cache. Measured: 16 is a tenth slower, 64 no faster.
pub const BATCH: usize = 32;

/// Names to values that are not [`NO_VALUE`]. Made once, read by all.
#[derive(Clone, Debug)]
pub struct NameTrie {
    /// The buckets, at least one slot of them free, and behind them the records, the root first.
    area: Area,
    shape: Shape,
    /// What its hash is keyed with, by the shape's seed.
    key: Key,
}

/// What says how an area is read as a trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many buckets there are, at least 1.
    pub buckets: u32,
    /// Octets in a value: 1 to 4.
    pub value_len: u8,
    /// How many names have a value.
    pub names: usize,
    /// What the hash is keyed with: nobody who writes names is to know it.
    pub seed: u64,
}

impl Shape {
    /// Octets in front of the records.
    fn table_len(&self) -> usize {
        self.buckets as usize * BUCKET_LEN
    }
}

impl NameTrie {
    /// Nothing listed.
    pub fn empty() -> NameTrie {
        // One free bucket, and the root alone: its parent, no value, a label of length 0.
        let area = Area::zeroed(BUCKET_LEN + PARENT_LEN + 2 + RECORD_PADDING);
        NameTrie::of(area, Shape { buckets: 1, value_len: 1, names: 0, seed: 0 })
    }

    /// The trie that an area is.
    fn of(area: Area, shape: Shape) -> NameTrie {
        NameTrie { area, shape, key: Key::of(shape.seed) }
    }

    /// A trie whose octets and shape [`NameTrie::octets`] and [`NameTrie::shape`] once gave, and whose [census](NameTrie::census)
    /// was this; none if they are no trie's, or another's. Walks of what is given back stay within it.
    pub fn restored(area: Area, shape: Shape, census: &[u32]) -> Option<NameTrie> {
        let least = shape.table_len().checked_add(PARENT_LEN + 2 + RECORD_PADDING)?;
        let fits = shape.buckets > 0
            && (1..=MAX_VALUE_LEN).contains(&shape.value_len.into())
            && area.octets().len() >= least;
        let trie = fits.then(|| NameTrie::of(area, shape))?;
        (trie.census(census.len())? == census).then_some(trie)
    }

    /// All of it as octets, to be kept.
    pub fn octets(&self) -> &[u8] {
        self.area.octets()
    }

    /// How they are to be read.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Its octets taken apart, once for each walk or batch.
    #[inline]
    fn parts(&self) -> Parts<'_> {
        Parts::of(self.area.octets(), self.shape)
    }

    /// Calls `visit` for every value stored at `name` or above it, root first, with the number of labels of the
    /// name it is stored at. No allocation; stops at the first label that nobody listed.
    pub fn walk(&self, name: &Name, mut visit: impl FnMut(u8, u32)) {
        let mut see = |depth: usize, value: u32| {
            if value != NO_VALUE {
                visit(depth as u8, value);
            }
        };
        let parts = self.parts();
        see(0, parts.value(0));
        let path = LabelPath::of(name);
        let key = self.key;
        let (mut place, mut hash) = (0, key.root);
        for depth in 1..=path.len() {
            let label = path.label(depth);
            hash = key.roll(hash, label);
            let mut probe = parts.probe(hash);
            loop {
                match parts.next_record(&mut probe) {
                    None => return,
                    Some(record) if parts.is(record, place, label) => break place = record,
                    Some(_) => {}
                }
            }
            see(depth, parts.value(place));
        }
    }

    /// [`NameTrie::walk`] for many names side by side: `visit` gets the name's index and labels first. The cache misses of one name
    /// overlap with those of the others; names of a batch should come at once, as packets do.
    pub fn walk_batch(
        &self,
        names: &[Name],
        Paths(paths): &mut Paths,
        mut visit: impl FnMut((usize, usize), u8, u32),
    ) {
        let parts = self.parts();
        let (root, key) = (parts.value(0), self.key);
        let mut walkers = [Walker::NOBODY; BATCH];
        for (first, chunk) in (0..).step_by(BATCH).zip(names.chunks(BATCH)) {
            let mut going = 0;
            for (index, name) in chunk.iter().enumerate() {
                let octets = name.padded();
                paths[index].read(octets);
                if root != NO_VALUE {
                    visit((first + index, paths[index].len()), 0, root);
                }
                if paths[index].len() > 0 {
                    walkers[going] = Walker { index, octets, hash: key.root, ..Walker::NOBODY };
                    going += 1;
                }
            }
            // Passes over all walkers, level by level: hash, read the bucket, find the record, touch it, compare. How far ahead a
            // processor loads is a number of instructions. So what waits for memory stands in a pass of its own, and the loads of
            // all walkers are under way together.
            for depth in 1..=MAX_LABELS {
                if going == 0 {
                    break;
                }
                for walker in &mut walkers[..going] {
                    walker.at = paths[walker.index].start(depth);
                    walker.hash = key.roll(walker.hash, walker.label());
                }
                for walker in &mut walkers[..going] {
                    walker.probe = parts.probe(walker.hash);
                }
                for walker in &mut walkers[..going] {
                    walker.record = parts.next_record(&mut walker.probe).unwrap_or(0);
                }
                let mut touched = 0;
                for walker in &walkers[..going] {
                    touched ^= parts.records[walker.record as usize];
                }
                std::hint::black_box(touched);
                let mut still = 0;
                for at in 0..going {
                    let walker = &mut walkers[at];
                    let path = &paths[walker.index];
                    if !walker.settle(&parts) {
                        continue;
                    }
                    let value = parts.value(walker.place);
                    if value != NO_VALUE {
                        visit((first + walker.index, path.len()), depth as u8, value);
                    }
                    if depth < path.len() {
                        // Nearly always they all go on, and stay where they are.
                        if still < at {
                            walkers[still] = walkers[at];
                        }
                        still += 1;
                    }
                }
                going = still;
            }
        }
    }

    /// The value stored at exactly `name`.
    pub fn at(&self, name: &Name) -> Option<u32> {
        let mut found = None;
        let depth = name.label_count();
        self.walk(name, |labels, value| {
            if usize::from(labels) == depth {
                found = Some(value);
            }
        });
        found
    }

    /// How many names have a value.
    pub fn len(&self) -> usize {
        self.shape.names
    }

    /// Whether no name has a value.
    pub fn is_empty(&self) -> bool {
        self.shape.names == 0
    }

    /// All names with their values, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (Name, u32)> + '_ {
        let parts = self.parts();
        let end = parts.records.len() - RECORD_PADDING;
        let mut next = 0;
        std::iter::from_fn(move || {
            while next < end {
                let place = next;
                next = parts.end_of(place);
                let value = parts.value(place as u32);
                if value != NO_VALUE {
                    return Some((parts.name_of(place as u32), value));
                }
            }
            None
        })
    }

    /// Octets this trie occupies.
    pub fn heap_octets(&self) -> usize {
        self.area.octets().len()
    }
}

/// Where the labels of a batch's names start: made once and used for every batch, for to clear room for so many takes longer than to
/// hash their labels.
pub struct Paths(Box<[LabelStarts; BATCH]>);

impl Default for Paths {
    fn default() -> Paths {
        Paths(Box::new([LabelStarts::EMPTY; BATCH]))
    }
}

/// One name of a batch on its way down.
#[derive(Clone, Copy)]
struct Walker<'n> {
    /// Which name.
    index: usize,
    /// Its octets.
    octets: &'n [u8; MAX_NAME_LEN],
    /// Where the label starts that it has come to.
    at: u8,
    /// The hash of the labels so far.
    hash: u64,
    /// The record of the labels so far.
    place: u32,
    /// The next record that may be the child, 0 for none.
    record: u32,
    probe: Probe,
}

impl<'n> Walker<'n> {
    /// One that goes nowhere.
    const NOBODY: Walker<'static> = Walker {
        index: 0,
        octets: &[0; MAX_NAME_LEN],
        at: 0,
        hash: 0,
        place: 0,
        record: 0,
        probe: Probe::NONE,
    };

    /// The label it has come to.
    // Made of parts that tell how long a name can be and how far in a label can start: then a look past the end is ruled out.
    #[inline]
    fn label(&self) -> Label<'n> {
        Label { octets: self.octets, at: usize::from(self.at) }
    }

    /// Goes on to the child by its label, beginning with the record it has touched; false if there is none.
    fn settle(&mut self, parts: &Parts<'_>) -> bool {
        // Place 0, the root's, stands for the end of the probe sequence: it is nobody's child.
        while self.record != 0 {
            if parts.is(self.record, self.place, self.label()) {
                self.place = self.record;
                return true;
            }
            self.record = parts.next_record(&mut self.probe).unwrap_or(0);
        }
        false
    }
}

/// Where a probe sequence has come to.
#[derive(Clone, Copy)]
struct Probe {
    bucket: u32,
    /// The slots of the bucket that have the tag and have not been looked at, a bit each.
    matches: u32,
    tag: u8,
}

impl Probe {
    /// One that has not begun.
    const NONE: Probe = Probe { bucket: 0, matches: 0, tag: 0 };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn trie(entries: &[(&str, u32)]) -> NameTrie {
        let mut builder = TrieBuilder::new();
        for (text, value) in entries {
            assert!(builder.update(&name(text), |old| old + value));
        }
        builder.build()
    }

    fn walked(trie: &NameTrie, text: &str) -> Vec<(u8, u32)> {
        let mut found = Vec::new();
        trie.walk(&name(text), |labels, value| found.push((labels, value)));
        let mut batched = Vec::new();
        trie.walk_batch(&[name("x.y"), name(text)], &mut Paths::default(), |(index, of), labels, value| {
            if index == 1 {
                assert_eq!(of, name(text).label_count());
                batched.push((labels, value));
            }
        });
        assert_eq!(found, batched, "{text}");
        found
    }

    #[test]
    fn a_walk_sees_every_enclosing_value_root_first() {
        let trie = trie(&[("net", 1), ("a.ddns.net", 2), ("b.c.a.ddns.net", 3), (".", 9)]);
        for (query, expected) in [
            ("x", &[(0, 9)][..]),
            (".", &[(0, 9)]),
            ("net", &[(0, 9), (1, 1)]),
            ("ddns.net", &[(0, 9), (1, 1)]),
            ("a.ddns.net", &[(0, 9), (1, 1), (3, 2)]),
            ("A.DDNS.NET", &[(0, 9), (1, 1), (3, 2)]),
            ("c.a.ddns.net", &[(0, 9), (1, 1), (3, 2)]),
            ("z.b.c.a.ddns.net", &[(0, 9), (1, 1), (3, 2), (5, 3)]),
            ("aa.ddns.net", &[(0, 9), (1, 1)]),
        ] {
            assert_eq!(walked(&trie, query), expected, "{query}");
        }
        assert_eq!(trie.len(), 4);
        assert_eq!(trie.at(&name("ddns.net")), None);
        assert_eq!(trie.at(&name("net")), Some(1));
    }

    #[test]
    fn values_are_changed_in_place_and_counted_once() {
        let mut builder = TrieBuilder::new();
        for (text, value) in [("a.b", 1), ("a.b", 2), ("c", 1)] {
            builder.update(&name(text), |old| old + value);
        }
        assert_eq!(builder.len(), 2);
        builder.update(&name("c"), |_| NO_VALUE);
        assert_eq!(builder.len(), 1);
        let trie = builder.build();
        assert_eq!((trie.at(&name("c")), trie.at(&name("a.b")), trie.len()), (None, Some(3), 1));
        assert_eq!(trie.iter().collect::<Vec<_>>(), [(name("a.b"), 3)]);
    }

    #[test]
    fn labels_that_differ_in_length_or_boundary_stay_apart() {
        let trie = trie(&[("ab.c", 1), ("a.bc", 2), ("a\\000.c", 3), ("a.c", 4), ("12345678.c", 5)]);
        for (query, expected) in [
            ("ab.c", Some(1)),
            ("a.bc", Some(2)),
            ("a\\000.c", Some(3)),
            ("a.c", Some(4)),
            ("a\\000\\000.c", None),
            ("1234567.c", None),
            ("12345678.c", Some(5)),
            ("123456789.c", None),
        ] {
            assert_eq!(trie.at(&name(query)), expected, "{query}");
        }
    }

    #[test]
    fn values_of_every_width_survive() {
        for value in [1, 0xff, 0x100, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000, u32::MAX] {
            let trie = trie(&[("a.b", 1), ("c.b", value - 1), ("c.b", 1)]);
            assert_eq!((trie.at(&name("a.b")), trie.at(&name("c.b"))), (Some(1), Some(value)), "{value}");
        }
    }

    #[test]
    fn nothing_listed_and_the_root_alone() {
        for nothing in [TrieBuilder::new().build(), NameTrie::empty()] {
            assert!(
                nothing.is_empty() && walked(&nothing, "a.b").is_empty() && nothing.iter().next().is_none()
            );
        }
        assert_eq!(walked(&trie(&[(".", 7)]), "a.b"), [(0, 7)]);
    }

    #[test]
    fn octets_become_the_same_trie_again() {
        let original = trie(&[("net", 1), ("a.ddns.net", 2), ("b.c.a.ddns.net", 70_000), (".", 9)]);
        // At any offset: nothing is said about where a reader's octets lie.
        let octets = [&[7][..], original.octets()].concat();
        let area = Area::new(Arc::new(octets)).skip(1).unwrap();
        let census = original.census(70_001).unwrap();
        let again = NameTrie::restored(area, original.shape(), &census).unwrap();
        assert_eq!(again.iter().collect::<Vec<_>>(), original.iter().collect::<Vec<_>>());
        assert_eq!(walked(&again, "z.b.c.a.ddns.net"), [(0, 9), (1, 1), (3, 2), (5, 70_000)]);
        assert_eq!((again.len(), again.heap_octets()), (original.len(), original.heap_octets()));
    }

    #[test]
    fn octets_that_cannot_be_a_trie_are_refused() {
        let original = trie(&[("a.b", 1)]);
        let good = original.shape();
        for (shape, len) in [
            (Shape { buckets: 0, ..good }, original.octets().len()),
            (Shape { buckets: u32::MAX, ..good }, original.octets().len()),
            (Shape { value_len: 0, ..good }, original.octets().len()),
            (Shape { value_len: 5, ..good }, original.octets().len()),
            (good, 0),
            (good, BUCKET_LEN),
        ] {
            let area = Area::new(Arc::new(original.octets()[..len].to_vec()));
            assert!(NameTrie::restored(area, shape, &[2, 1]).is_none(), "{shape:?} {len}");
        }
    }

    /// Full buckets in a row, at most: a probe that finds nothing looks at one more.
    fn longest_run(trie: &NameTrie) -> usize {
        let parts = trie.parts();
        let full = parts.buckets.iter().map(area::is_full);
        // A run may go on at the start; with a free slot somewhere it ends.
        let (mut longest, mut run) = (0, 0);
        for full in full.clone().chain(full) {
            run = if full { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        longest.min(parts.buckets.len())
    }

    /// Labels of two words, of which the second takes back whatever the first did to a hash by these steps: all that stand
    /// at the top have one hash.
    fn colliding(root: u64, mix: impl Fn(u64, u64) -> u64, count: usize) -> Vec<Name> {
        let mut names = Vec::new();
        for index in 0u64.. {
            if names.len() == count {
                break;
            }
            // The length octet, and seven octets that differ.
            let first = 15 | (0x01_0101_0101_0101 ^ index) << 8;
            let second = mix(root, first);
            let wire = [&first.to_le_bytes()[..], &second.to_le_bytes(), &[0]].concat();
            // Capitals would become others.
            if !wire[1..].iter().any(u8::is_ascii_uppercase) {
                names.push(Name::from_wire(&wire).unwrap());
            }
        }
        names
    }

    /// The step and the root's hash of a trie that is keyed with nothing, as this one once was.
    const UNKEYED: u64 = 0x243f_6a88_85a3_08d3;
    fn unkeyed(hash: u64, word: u64) -> u64 {
        let factor: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(hash ^ word) * u128::from(factor);
        ((product >> 64) as u64 ^ product as u64).wrapping_add(factor)
    }

    #[test]
    fn labels_made_to_collide_do_not() {
        let count = 30_000;
        let key = Key::of(7);
        let known: Vec<Name> = colliding(UNKEYED, unkeyed, count);
        assert!(known.windows(2).all(|pair| pair[0] != pair[1]));
        for (names, seed, what) in [
            (&known, 0, "for a hash without key"),
            (&known, 1, "for a hash without key"),
            (&colliding(key.root, |hash, word| key.mix(hash, word), count), 7, "for the very seed"),
            (&colliding(key.root, |hash, word| key.mix(hash, word), count), 8, "for another seed"),
        ] {
            let mut builder = TrieBuilder::seeded(seed);
            for (value, name) in (1u32..).zip(names) {
                assert!(builder.update(name, |_| value));
            }
            let trie = builder.build();
            assert!(longest_run(&trie) < 40, "{what}, {seed}: {}", longest_run(&trie));
            assert_eq!(trie.shape().seed == seed, seed != 7, "{what}, {seed}");
            for (value, name) in (1u32..).zip(names) {
                assert_eq!(trie.at(name), Some(value), "{what}, {seed}: {name}");
            }
            let area = Area::new(Arc::new(trie.octets().to_vec()));
            let again = NameTrie::restored(area, trie.shape(), &trie.census(count + 1).unwrap()).unwrap();
            assert_eq!(again.at(&names[count / 2]), Some(count as u32 / 2 + 1));
        }
    }

    #[test]
    fn another_seed_while_writing_loses_no_value() {
        // The builder's table and the finished one are of different size: names that crowd the second alone, by its bucket.
        let names: Vec<Name> = (0..60_000u32).map(|i| name(&format!("h{i}.z{}.net", i % 7))).collect();
        let mut builder = TrieBuilder::new();
        for (value, name) in (1u32..).zip(&names) {
            builder.update(name, |_| value);
        }
        builder.update(&name("z3.net"), |_| 70_000);
        for most in [0, 1, 2] {
            let trie = builder.clone().build_within(most);
            assert_ne!(trie.shape().seed, 0, "{most}");
            for (value, name) in (1u32..).zip(&names) {
                assert_eq!(trie.at(name), Some(value), "{most} {name}");
            }
            assert_eq!((trie.at(&name("z3.net")), trie.len()), (Some(70_000), names.len() + 1));
        }
        assert_eq!(builder.build().shape().seed, 0);
    }

    #[test]
    fn growth_loses_nothing() {
        let names: Vec<Name> = (0..20_000u32).map(|i| name(&format!("h{i}.z{}.net", i % 97))).collect();
        let mut builder = TrieBuilder::new();
        for (value, name) in (1u32..).zip(&names) {
            builder.update(name, |_| value);
        }
        let trie = builder.build();
        assert_eq!(trie.len(), names.len());
        for (value, name) in (1u32..).zip(&names) {
            assert_eq!(trie.at(name), Some(value), "{name}");
        }
        let mut batched = vec![0; names.len()];
        trie.walk_batch(&names, &mut Paths::default(), |(index, _), labels, value| {
            assert_eq!(labels, 3);
            batched[index] = value;
        });
        assert!((1u32..).zip(&batched).all(|(value, found)| value == *found));
        let mut back: Vec<Name> = trie.iter().map(|(name, _)| name).collect();
        let mut expected = names.clone();
        back.sort();
        expected.sort();
        assert_eq!(back, expected);
    }
}
