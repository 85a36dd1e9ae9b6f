//! Changing a `NameTrie`: a copy of its octets in which values become others and names come.
//!
//! Making a trie anew takes a step for each name it holds, and some cache misses each. A copy takes one pass from front to
//! back, and then a step for each name that is changed. Names that come stand behind all others, so places stay what they
//! are; nodes that no longer lead to a value stay, too. What was once laid out for its walks so grows untidy, up to a bound:
//! then, or when a value no longer fits, the trie is to be made anew.

use super::area::{Area, Parts, aligned, home, is_full, put};
use super::build::MAX_FULL;
use super::hash::Key;
use super::label::LabelPath;
use super::{
    BATCH, BUCKET_LEN, MAX_OCTETS, NO_VALUE, NameTrie, PARENT_LEN, Probe, RECORD_PADDING, SLOTS, Shape,
};
use crate::name::{Name, NameList};

/// Of the slots, so many may be taken: nine in ten, where a trie that is new has four in five. A miss then meets a full bucket
/// two times in five, and the nodes that lead nowhere are an eighth of all at most.
const MAX_LOAD: (usize, usize) = (9, 10);

/// Records looked at for the next name of a list: those of three names that left it are passed.
const AHEAD: usize = 4;

/// A trie under change.
#[derive(Clone, Debug)]
pub struct TrieEditor {
    /// The table and the records, from `start` on; behind the last record stands its padding.
    octets: Vec<u8>,
    start: usize,
    shape: Shape,
    key: Key,
    /// Slots that are taken.
    taken: usize,
}

impl TrieEditor {
    /// A copy of `trie` in which each value is what `change` makes of it; none if one does not fit.
    pub fn of(trie: &NameTrie, mut change: impl FnMut(u32) -> u32) -> Option<TrieEditor> {
        let whole = trie.octets();
        let (mut octets, start) = aligned(whole.len());
        octets.get_mut(start..)?.copy_from_slice(whole);
        let mut editor = TrieEditor {
            octets,
            start,
            shape: Shape { names: 0, ..trie.shape() },
            key: Key::of(trie.shape().seed),
            taken: 0,
        };
        let end = whole.len().checked_sub(RECORD_PADDING + editor.shape.table_len())?;
        let mut place = 0;
        while place < end {
            let parts = trie.parts();
            let value = change(parts.value(place as u32));
            editor.shape.names += usize::from(value != NO_VALUE);
            editor.set(place as u32, value)?;
            place = parts.end_of(place);
            editor.taken += 1;
        }
        // The root stands in no slot.
        editor.taken = editor.taken.saturating_sub(1);
        Some(editor)
    }

    /// Replaces the value at `name` with what `change` makes of it; [`NO_VALUE`] stands for none so far.
    ///
    /// False, and the trie is of no use any more, if the name or the value finds no room.
    #[must_use]
    pub fn update(&mut self, name: &Name, change: impl FnOnce(u32) -> u32) -> bool {
        self.place_of(name).and_then(|place| self.replace(place, change)).is_some()
    }

    /// Replaces a value with what `change` makes of it; none if that does not fit.
    fn replace(&mut self, place: u32, change: impl FnOnce(u32) -> u32) -> Option<()> {
        let old = self.parts().value(place);
        let new = change(old);
        self.shape.names += usize::from(new != NO_VALUE);
        self.shape.names -= usize::from(old != NO_VALUE);
        self.set(place, new)
    }

    /// [`TrieEditor::update`] for all names of a list, in any order.
    ///
    /// A list that changed here and there has nearly all its names in the order of their records: each is looked for behind the
    /// one before it, where nothing is hashed and memory comes in the order in which it is read. The others are put in some at
    /// a time: the memory that each needs is fetched while the others wait for theirs.
    #[must_use]
    pub fn update_all(&mut self, names: &NameList, mut change: impl FnMut(u32) -> u32) -> bool {
        let (mut wire, mut chunk, mut filled) = (names.as_wire(), [Name::ROOT; BATCH], 0);
        // The record behind which the next name is looked for, and how many in a row stood elsewhere.
        let (mut last, mut strayed) = (0, 0);
        while !wire.is_empty() {
            if let Some((place, len)) = self.behind(last, wire) {
                if self.replace(place, &mut change).is_none() {
                    return false;
                }
                (last, strayed, wire) = (place, 0, &wire[len..]);
                continue;
            }
            let Some(len) = chunk[filled].refill(wire) else { break };
            (filled, strayed, wire) = (filled + 1, strayed + 1, &wire[len..]);
            if filled == BATCH {
                let Some(place) = self.update_chunk(&chunk, &mut change) else { return false };
                filled = 0;
                // Names that came since stand behind all others: a few of them are no reason to go on from there.
                if strayed >= BATCH {
                    last = place;
                }
            }
        }
        self.update_chunk(&chunk[..filled], change).is_some()
    }

    /// The record of the name that `wire` starts with, if it is one of the next behind `place`, and how long the name is.
    #[inline]
    fn behind(&self, place: u32, wire: &[u8]) -> Option<(u32, usize)> {
        let parts = self.parts();
        let mut next = place as usize;
        for _ in 0..AHEAD {
            next = parts.end_of(next);
            if next + RECORD_PADDING >= parts.records.len() {
                return None;
            }
            if let Some(len) = parts.spells(next as u32, wire) {
                return Some((next as u32, len));
            }
        }
        None
    }

    /// [`TrieEditor::update`] for up to [`BATCH`] names; the record of the last one.
    fn update_chunk(&mut self, names: &[Name], mut change: impl FnMut(u32) -> u32) -> Option<u32> {
        let (mut probes, mut last) = ([Probe::NONE; BATCH], 0);
        self.touch(names, &mut probes);
        for (name, probe) in names.iter().zip(probes) {
            last = self.known(name, probe).or_else(|| self.place_of(name))?;
            self.replace(last, &mut change)?;
        }
        Some(last)
    }

    /// Has the slots and records of these names in the caches, and gives the starts of their probe sequences.
    fn touch(&self, names: &[Name], probes: &mut [Probe; BATCH]) {
        let parts = self.parts();
        for (probe, name) in probes.iter_mut().zip(names) {
            // The hash of a name needs its labels alone: nothing is to be found on the way.
            let path = LabelPath::of(name);
            let hash =
                (1..=path.len()).fold(self.key.root, |hash, depth| self.key.roll(hash, path.label(depth)));
            *probe = parts.probe(hash);
        }
        let mut touched = 0;
        for probe in probes.iter().take(names.len()) {
            let record = parts.next_record(&mut probe.clone()).unwrap_or(0);
            touched ^= parts.records.get(record as usize).copied().unwrap_or(0);
        }
        std::hint::black_box(touched);
    }

    /// The record of a name whose probe sequence starts there, if it has one: whose labels are the name's up to the root. What
    /// came since the start was taken may be missed.
    fn known(&self, name: &Name, mut probe: Probe) -> Option<u32> {
        let parts = self.parts();
        while let Some(record) = parts.next_record(&mut probe) {
            if parts.spells(record, name.padded()).is_some() {
                return Some(record);
            }
        }
        None
    }

    /// Octets of records.
    pub fn octets(&self) -> u64 {
        (self.octets.len() - self.start - self.shape.table_len()) as u64
    }

    /// The changed trie.
    pub fn finish(self) -> NameTrie {
        NameTrie::of(Area::of((self.octets, self.start)), self.shape)
    }

    /// The octets taken apart.
    fn parts(&self) -> Parts<'_> {
        Parts::of(&self.octets[self.start..], self.shape)
    }

    /// Writes a value; none if it does not fit.
    fn set(&mut self, place: u32, value: u32) -> Option<()> {
        let value_len = usize::from(self.shape.value_len);
        let (octets, above) = value.to_le_bytes().split_at_checked(value_len).map(|(low, high)| {
            let mut octets = [0; 4];
            octets[..value_len].copy_from_slice(low);
            (octets, high.iter().any(|octet| *octet != 0))
        })?;
        let at = self.start + self.shape.table_len() + place as usize + PARENT_LEN;
        self.octets.get_mut(at..at + value_len)?.copy_from_slice(&octets[..value_len]);
        (!above).then_some(())
    }

    /// The record of `name`, made with all its parents if need be; none if there is no room.
    fn place_of(&mut self, name: &Name) -> Option<u32> {
        let path = LabelPath::of(name);
        let (mut place, mut hash, mut known) = (0, self.key.root, 0);
        let parts = self.parts();
        'down: while known < path.len() {
            let label = path.label(known + 1);
            let next = self.key.roll(hash, label);
            let mut probe = parts.probe(next);
            loop {
                match parts.next_record(&mut probe) {
                    None => break 'down,
                    Some(record) if parts.is(record, place, label) => break place = record,
                    Some(_) => {}
                }
            }
            hash = next;
            known += 1;
        }
        for depth in known + 1..=path.len() {
            let label = path.label(depth);
            hash = self.key.roll(hash, label);
            place = self.add(place, hash, label.as_slice())?;
        }
        Some(place)
    }

    /// Adds a record behind all others, without a value; none if there is no room.
    fn add(&mut self, parent: u32, hash: u64, label: &[u8]) -> Option<u32> {
        let slots = self.shape.buckets as usize * SLOTS;
        let value_len = usize::from(self.shape.value_len);
        let more = (PARENT_LEN + value_len + label.len()) as u64;
        if (self.taken + 1) * MAX_LOAD.1 > slots * MAX_LOAD.0 || self.octets() + more > MAX_OCTETS {
            return None;
        }
        let end = self.octets.len() - RECORD_PADDING;
        let place = u32::try_from(end - self.start - self.shape.table_len()).ok()?;
        let (buckets, _) = self.octets[self.start..][..self.shape.table_len()].as_chunks_mut::<BUCKET_LEN>();
        let (first, tag) = home(hash, buckets.len());
        let ring = (first as usize..buckets.len()).chain(0..first as usize);
        let free = ring.take(MAX_FULL).find(|&bucket| !is_full(&buckets[bucket]))?;
        put(&mut buckets[free], tag, place);
        self.octets.truncate(end);
        self.octets.extend_from_slice(&parent.to_le_bytes());
        self.octets.extend_from_slice(&NO_VALUE.to_le_bytes()[..value_len]);
        self.octets.extend_from_slice(label);
        self.octets.extend_from_slice(&[0; RECORD_PADDING]);
        self.taken += 1;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::TrieBuilder;
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// A trie of these.
    fn trie<'n>(entries: impl IntoIterator<Item = (&'n Name, &'n u32)>) -> NameTrie {
        let mut builder = TrieBuilder::new();
        for (name, value) in entries {
            assert!(builder.update(name, |_| *value));
        }
        builder.build()
    }

    #[test]
    fn names_come_go_and_change() {
        let entries = [(name("net"), 1), (name("a.ddns.net"), 2), (name("b.c.a.ddns.net"), 3)];
        let before = trie(entries.iter().map(|(name, value)| (name, value)));
        let mut editor = TrieEditor::of(&before, |value| if value == 2 { 0 } else { value }).unwrap();
        for (text, value) in
            [("x.ddns.net", 2), ("net", 0), (".", 3), ("c.a.ddns.net", 1), ("y.x.ddns.net", 1)]
        {
            // A new trie has little room: one free slot in five of a few.
            assert!(editor.update(&name(text), |_| value), "{text}");
        }
        let after = editor.finish();
        let mut all: Vec<(String, u32)> =
            after.iter().map(|(name, value)| (name.to_string(), value)).collect();
        all.sort();
        let expected =
            [(".", 3), ("b.c.a.ddns.net", 3), ("c.a.ddns.net", 1), ("x.ddns.net", 2), ("y.x.ddns.net", 1)];
        assert_eq!(all, expected.map(|(text, value)| (text.to_owned(), value)));
        assert_eq!((after.len(), after.at(&name("a.ddns.net")), before.len()), (5, None, 3));
        assert!(after.census(4).is_some(), "it is sound");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let entries = [(name("net"), 1)];
        let before = trie(entries.iter().map(|(name, value)| (name, value)));
        assert!(TrieEditor::of(&before, |value| value * 256).is_none());
        let mut editor = TrieEditor::of(&before, |value| value).unwrap();
        assert!(!editor.update(&name("net"), |_| 256));
        let mut editor = TrieEditor::of(&before, |value| value).unwrap();
        let added = (0..100).take_while(|number| editor.update(&name(&format!("n{number}")), |_| 1)).count();
        // Twelve slots in one bucket, one of them taken before.
        assert_eq!(added, 9);
    }

    proptest! {
        /// Whatever is changed, the result is the trie that would have been made of it.
        #[test]
        fn an_edited_trie_is_the_one_that_would_be_made(
            before in proptest::collection::hash_map("[a-d](\\.[a-d]){0,4}", 1..5_u32, 0..60),
            changes in proptest::collection::vec(("[a-e](\\.[a-d]){0,4}", 0..5_u32), 0..30),
            gone in 0..5_u32,
        ) {
            let mut twin: HashMap<Name, u32> = before.iter().map(|(text, value)| (name(text), *value)).collect();
            let original = trie(&twin);
            let mut editor = TrieEditor::of(&original, |value| if value == gone { 0 } else { value }).unwrap();
            twin.retain(|_, value| *value != gone);
            let mut whole = true;
            for (text, value) in &changes {
                whole &= editor.update(&name(text), |_| *value);
                if !whole {
                    break;
                }
                twin.insert(name(text), *value);
            }
            twin.retain(|_, value| *value != 0);
            if whole {
                let edited = editor.finish();
                let found: HashMap<Name, u32> = edited.iter().collect();
                prop_assert_eq!(edited.len(), twin.len());
                // All names at once: the same.
                let mut editor = TrieEditor::of(&original, |_| 0).unwrap();
                let list: NameList = changes.iter().map(|(text, _)| name(text)).collect();
                if editor.update_all(&list, |_| 7) {
                    let all = editor.finish();
                    let listed: HashMap<Name, u32> = list.iter().map(|name| (name, 7)).collect();
                    prop_assert_eq!(all.len(), listed.len());
                    prop_assert_eq!(all.iter().collect::<HashMap<_, _>>(), listed);
                }
                prop_assert!(edited.census(5).is_some());
                for (name, value) in &twin {
                    prop_assert_eq!(edited.at(name), Some(*value));
                }
                prop_assert_eq!(found, twin);
            }
        }

        /// A list, in the order of the records but for names that go, come and stand elsewhere, is put in like its names one
        /// by one.
        #[test]
        fn a_list_is_put_in_like_its_names_one_by_one(
            before in proptest::collection::vec("[a-f]{1,2}(\\.[a-d]){0,2}", 0..300),
            fates in proptest::collection::vec(0..40_u8, 300),
            new in proptest::collection::vec("[a-g]{1,3}(\\.[a-d]){0,2}", 300),
            turn in any::<prop::sample::Index>(),
        ) {
            let original = trie(before.iter().map(|text| name(text)).collect::<Vec<_>>().iter().map(|name| (name, &1)));
            let mut list: Vec<Name> = Vec::new();
            for ((text, fate), new) in before.iter().zip(fates).zip(&new) {
                match fate {
                    0..=3 => {}
                    4 => list.extend([name(new), name(text)]),
                    5 => list.extend([name(text); 2]),
                    6 => list.insert(list.len() / 2, name(text)),
                    7 => list.push(Name::ROOT),
                    _ => list.push(name(text)),
                }
            }
            // Now and then the list begins somewhere else.
            if turn.index(4) == 0 && !list.is_empty() {
                let first = turn.index(list.len());
                list.rotate_left(first);
            }
            let mut editor = TrieEditor::of(&original, |value| value).unwrap();
            let mut twin = editor.clone();
            let whole = editor.update_all(&list.iter().copied().collect(), |value| value + 1);
            prop_assert_eq!(whole, list.iter().all(|name| twin.update(name, |value| value + 1)));
            if whole {
                let (edited, twin) = (editor.finish(), twin.finish());
                prop_assert_eq!(edited.len(), twin.len());
                prop_assert_eq!(edited.iter().collect::<HashMap<_, _>>(), twin.iter().collect::<HashMap<_, _>>());
                prop_assert!(edited.census(300).is_some());
            }
        }
    }
}
