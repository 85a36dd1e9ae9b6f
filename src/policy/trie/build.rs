//! Making a `NameTrie`: nodes as they come, then records and slots in their final place.

use super::hash::{ROOT_HASH, roll};
use super::label::{Label, LabelPath};
use super::{Bucket, NO_VALUE, NameTrie, PARENT_LEN, RECORD_PADDING, SLOTS};
use crate::policy::name::Name;

/// Slots the smallest table has; a power of two.
const MIN_SLOTS: usize = 16;
/// The builder's table grows when more than 3/4 of its slots would be taken: a miss then probes about eight slots of
/// four octets each, half a cache line (Knuth, TAOCP vol. 3, 6.4, linear probing).
const MAX_LOAD: (usize, usize) = (3, 4);
/// Of the finished table 4/5 are taken: 6.7 octets a node. One bucket in four is then full, and a miss that meets it
/// looks at a second one.
const FINAL_LOAD: (usize, usize) = (4, 5);

/// A trie under way: names go in, values can still change.
#[derive(Clone, Debug)]
pub struct TrieBuilder {
    /// Node 0 is the root; parents stand before their children.
    nodes: Vec<Node>,
    /// Labels with their length octet, one after the other; nodes point here.
    labels: Vec<u8>,
    /// Power of two many; 0 is free (the root is nobody's child), else a node number in the low bits and a tag above.
    slots: Vec<u32>,
    /// log2 of the number of slots: how many bits of a slot are a node number, there being fewer nodes than slots.
    index_bits: u32,
    /// How many nodes have a value.
    len: usize,
}

/// One name on the way to a listed name, or a listed name itself.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// The enclosing name's node.
    parent: u32,
    /// Where this node's label starts in `labels`.
    label: u32,
    /// What is stored here.
    value: u32,
}

impl TrieBuilder {
    /// Nothing yet.
    pub fn new() -> TrieBuilder {
        TrieBuilder {
            nodes: vec![Node { parent: 0, label: 0, value: NO_VALUE }],
            labels: vec![0],
            slots: vec![0; MIN_SLOTS],
            index_bits: MIN_SLOTS.trailing_zeros(),
            len: 0,
        }
    }

    /// Replaces the value at `name` with what `change` makes of it; [`NO_VALUE`] stands for none so far.
    ///
    /// False, and nothing stored, once labels fill 4 GiB or nodes 2^31: the numbers here are 32 bits.
    pub fn update(&mut self, name: &Name, change: impl FnOnce(u32) -> u32) -> bool {
        let Some(node) = self.insert(name) else { return false };
        let old = self.nodes[node as usize].value;
        let new = change(old);
        self.len += usize::from(new != NO_VALUE);
        self.len -= usize::from(old != NO_VALUE);
        self.nodes[node as usize].value = new;
        true
    }

    /// How many names have a value.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no name has a value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The finished trie; none when its records would pass 4 GiB.
    pub fn build(mut self) -> Option<NameTrie> {
        // The table is made anew, with other places in it; giving this one back first bounds the memory in use.
        self.slots = Vec::new();
        let value_len = value_len(self.nodes.iter().map(|node| node.value).max().unwrap_or(NO_VALUE));
        let places = self.places(value_len)?;
        let octets = self.nodes.len() * (PARENT_LEN + value_len) + self.labels.len();
        let buckets = self.nodes.len() * FINAL_LOAD.1 / FINAL_LOAD.0 / SLOTS + 1;
        let mut trie = NameTrie {
            records: vec![0; octets + RECORD_PADDING],
            buckets: vec![Bucket::FREE; buckets],
            value_mask: u32::MAX >> (u32::BITS - 8 * value_len as u32),
            value_len,
            len: self.len,
        };
        let mut hashes = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let label = label_at(&self.labels, node.label);
            // Parents stand before their children, so their hashes are at hand.
            let hash = if index == 0 { ROOT_HASH } else { roll(hashes[node.parent as usize], label) };
            hashes.push(hash);
            let (place, parent) = (places[index], places[node.parent as usize]);
            write_record(
                &mut trie.records[place as usize..],
                parent,
                node.value,
                value_len,
                label.as_slice(),
            );
            if index > 0 {
                trie.place(place, hash);
            }
        }
        Some(trie)
    }

    /// Where each node's record goes: those with children first, in the order they came; the root is first of all.
    fn places(&self, value_len: usize) -> Option<Vec<u32>> {
        let mut has_children = vec![false; self.nodes.len()];
        for node in &self.nodes {
            has_children[node.parent as usize] = true;
        }
        let mut places = vec![0; self.nodes.len()];
        let mut next = 0;
        for inner in [true, false] {
            for (index, node) in
                self.nodes.iter().enumerate().filter(|(index, _)| has_children[*index] == inner)
            {
                places[index] = u32::try_from(next).ok()?;
                next += PARENT_LEN + value_len + label_at(&self.labels, node.label).len();
            }
        }
        u32::try_from(next).ok()?;
        Some(places)
    }

    /// The node of `name`, made with all its parents if need be; none when numbers run out.
    fn insert(&mut self, name: &Name) -> Option<u32> {
        let path = LabelPath::of(name);
        let (mut node, mut hash) = (0, ROOT_HASH);
        for depth in 1..=path.len() {
            let label = path.label(depth);
            hash = roll(hash, label);
            node = match self.child(node, hash, label) {
                Some(child) => child,
                None => self.add(node, hash, label)?,
            };
        }
        Some(node)
    }

    /// Adds a node that is not there yet.
    fn add(&mut self, parent: u32, hash: u64, label: Label<'_>) -> Option<u32> {
        if (self.nodes.len() + 1) * MAX_LOAD.1 > self.slots.len() * MAX_LOAD.0 {
            self.grow()?;
        }
        let index = u32::try_from(self.nodes.len()).ok()?;
        let label_at = u32::try_from(self.labels.len()).ok()?;
        self.labels.extend_from_slice(label.as_slice());
        self.nodes.push(Node { parent, label: label_at, value: NO_VALUE });
        self.place(index, hash);
        Some(index)
    }

    /// Doubles the table and places every node anew.
    fn grow(&mut self) -> Option<()> {
        // With 2^31 slots a tag of one bit is left; beyond that a slot could not hold a node number.
        if self.index_bits >= 31 {
            return None;
        }
        self.index_bits += 1;
        self.slots = vec![0; 1 << self.index_bits];
        let mut hashes = Vec::with_capacity(self.nodes.len());
        hashes.push(ROOT_HASH);
        for index in 1..self.nodes.len() {
            let node = self.nodes[index];
            let hash = roll(hashes[node.parent as usize], label_at(&self.labels, node.label));
            hashes.push(hash);
            self.place(index as u32, hash);
        }
        Some(())
    }

    /// Puts a node into the first free slot of its probe sequence; the load bound leaves one free.
    fn place(&mut self, index: u32, hash: u64) {
        let mask = self.slots.len() - 1;
        let mut slot = self.home(hash);
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = self.tag(hash) | index;
    }

    /// The child of `parent` by that label.
    fn child(&self, parent: u32, hash: u64, label: Label<'_>) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let index_mask = (1u32 << self.index_bits) - 1;
        let tag = self.tag(hash);
        let mut slot = self.home(hash);
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                return None;
            }
            if entry & !index_mask == tag {
                let index = entry & index_mask;
                let node = &self.nodes[index as usize];
                if node.parent == parent && label_at(&self.labels, node.label).is(label) {
                    return Some(index);
                }
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Where probing for a hash starts: its topmost bits, the best mixed ones after a multiplication.
    fn home(&self, hash: u64) -> usize {
        (hash >> (64 - self.index_bits)) as usize
    }

    /// The part of a slot that tells foreign entries apart: low bits of the hash, shifted above the node number.
    fn tag(&self, hash: u64) -> u32 {
        (hash as u32) << self.index_bits
    }
}

impl Default for TrieBuilder {
    fn default() -> TrieBuilder {
        TrieBuilder::new()
    }
}

impl NameTrie {
    /// Puts a record into the first free slot of its probe sequence; the load leaves one free.
    fn place(&mut self, place: u32, hash: u64) {
        let mut probe = self.probe(hash);
        while self.buckets[probe.bucket as usize].is_full() {
            probe.bucket = if probe.bucket as usize + 1 == self.buckets.len() { 0 } else { probe.bucket + 1 };
        }
        let bucket = &mut self.buckets[probe.bucket as usize];
        if let Some(slot) = bucket.tags.iter().position(|tag| *tag == 0) {
            bucket.tags[slot] = probe.tag;
            bucket.places[slot] = place;
        }
    }
}

/// Writes a record at the start of `to`.
fn write_record(to: &mut [u8], parent: u32, value: u32, value_len: usize, label: &[u8]) {
    let (above, rest) = to.split_at_mut(PARENT_LEN);
    above.copy_from_slice(&parent.to_le_bytes());
    rest[..value_len].copy_from_slice(&value.to_le_bytes()[..value_len]);
    rest[value_len..value_len + label.len()].copy_from_slice(label);
}

/// Octets that hold every value up to `most`: 1 to 4.
fn value_len(most: u32) -> usize {
    ((u32::BITS - most.leading_zeros()).div_ceil(8) as usize).max(1)
}

/// The label that starts there.
fn label_at(labels: &[u8], at: u32) -> Label<'_> {
    Label { octets: labels, at: at as usize }
}
