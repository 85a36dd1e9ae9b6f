//! Making a `NameTrie`: nodes as they come, then records and slots in their final place.

use super::area::{Area, aligned, home, is_full, put};
use super::hash::{Key, next_seed};
use super::label::{Label, LabelPath};
use super::{MAX_OCTETS, MAX_VALUE_LEN, NO_VALUE, NameTrie, PARENT_LEN, RECORD_PADDING, SLOTS, Shape};
use crate::name::Name;

/// Slots the smallest table has; a power of two.
const MIN_SLOTS: usize = 16;
/// The builder's table grows when more than 3/4 of its slots would be taken: a miss then probes about eight slots of
/// four octets each, half a cache line (Knuth, TAOCP vol. 3, 6.4, linear probing).
const MAX_LOAD: (usize, usize) = (3, 4);
/// Of the finished table 4/5 are taken: 6.7 octets a node. One bucket in four is then full, and a miss that meets it
/// looks at a second one.
const FINAL_LOAD: (usize, usize) = (4, 5);

/// Slots looked at for one node at most before another seed is tried. Of a table this full the longest run of taken slots
/// is about ln(slots) / (load - 1 - ln(load)), 440 at sixteen million: none gets there unless its names were made for it.
const MAX_PROBES: usize = 2048;
/// Full buckets passed for one record at most, likewise: the longest run is about fifty among a million buckets.
pub(super) const MAX_FULL: usize = 256;
/// Seeds tried one after the other. Whoever can tell the first cannot tell the second; beyond these it goes on as it is,
/// slow and right.
const MAX_SEEDS: usize = 8;

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
    /// What the hash is keyed with, and the seed that stands for it.
    key: Key,
    seed: u64,
    /// Seeds tried so far.
    seeds: usize,
    /// Whether a node was further from its place than chance would have it.
    crowded: bool,
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
    /// Nothing yet, for names that nobody makes to collide: tests and benches.
    pub fn new() -> TrieBuilder {
        TrieBuilder::seeded(0)
    }

    /// Nothing yet. Who writes the names must not know the seed.
    pub fn seeded(seed: u64) -> TrieBuilder {
        TrieBuilder {
            key: Key::of(seed),
            seed,
            seeds: 1,
            crowded: false,
            nodes: vec![Node { parent: 0, label: 0, value: NO_VALUE }],
            labels: vec![0],
            slots: vec![0; MIN_SLOTS],
            index_bits: MIN_SLOTS.trailing_zeros(),
            len: 0,
        }
    }

    /// Replaces the value at `name` with what `change` makes of it; [`NO_VALUE`] stands for none so far.
    ///
    /// False, and nothing stored, once the trie would pass [`MAX_OCTETS`].
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

    /// Octets of records, at worst: as if the largest value took all of its four.
    pub fn octets(&self) -> u64 {
        self.labels.len() as u64 + worst_octets(self.nodes.len() as u64)
    }

    /// The finished trie.
    ///
    /// What it needs beside nodes, labels and the result is a bit a node and something for each node with children: few.
    pub fn build(self) -> NameTrie {
        self.build_within(MAX_FULL)
    }

    /// The same, passing so many full buckets for a record at most.
    pub(super) fn build_within(mut self, most: usize) -> NameTrie {
        // The table is made anew, with other places in it; giving this one back first bounds the memory in use, as does
        // returning what the others grew ahead.
        self.slots = Vec::new();
        self.nodes.shrink_to_fit();
        self.labels.shrink_to_fit();
        let value_len = value_len(self.nodes.iter().map(|node| node.value).max().unwrap_or(NO_VALUE));
        let records = self.nodes.len() * (PARENT_LEN + value_len) + self.labels.len();
        // Nodes are far fewer than octets, which are below 2^32.
        let buckets = (self.nodes.len() * FINAL_LOAD.1 / FINAL_LOAD.0 / SLOTS + 1) as u32;
        let mut shape = Shape { buckets, value_len: value_len as u8, names: self.len, seed: self.seed };

        let (mut octets, start) = aligned(shape.table_len() + records + RECORD_PADDING);
        let (table, records) = octets[start..].split_at_mut(shape.table_len());
        let mut writer = Writer { buckets: table.as_chunks_mut().0, records, next: 0, value_len, most };
        let is_inner = self.inner();
        for seeds in 1.. {
            if seeds == MAX_SEEDS {
                writer.most = usize::MAX;
            }
            match self.lay(&is_inner, &mut writer, Key::of(shape.seed)) {
                Ok(()) => break,
                Err(inner) => {
                    self.take_back(&is_inner, &writer, &inner);
                    writer.start_over();
                    shape.seed = next_seed(shape.seed);
                }
            }
        }
        NameTrie::of(Area::of((octets, start)), shape)
    }

    /// Writes all records and puts them into the table. When one would be too far from its place, it stops, with place and
    /// hash of the nodes with children that are written; then their values are gone.
    fn lay(&mut self, is_inner: &Bits, writer: &mut Writer<'_>, key: Key) -> Result<(), Vec<(u32, u64)>> {
        // Once a node with children is written, its value is free to say which of these is its own.
        let mut inner: Vec<(u32, u64)> = Vec::new();
        for children in [true, false] {
            for index in 0..self.nodes.len() {
                if is_inner.has(index) != children {
                    continue;
                }
                let node = self.nodes[index];
                let label = label_at(&self.labels, node.label);
                // Parents stand before their children, and have children: theirs is at hand. The root is its own parent.
                let (parent, hash) = match inner.get(self.nodes[node.parent as usize].value as usize) {
                    Some(&(place, hash)) if index > 0 => (place, key.roll(hash, label)),
                    _ => (0, key.root),
                };
                let place = writer.write(parent, node.value, label);
                if children {
                    self.nodes[index].value = inner.len() as u32;
                    inner.push((place, hash));
                }
                if index > 0 && !writer.put(place, hash) {
                    return Err(inner);
                }
            }
        }
        Ok(())
    }

    /// Gives nodes with children their values back, from the records that were written of them.
    fn take_back(&mut self, is_inner: &Bits, writer: &Writer<'_>, inner: &[(u32, u64)]) {
        let indices = (0..self.nodes.len()).filter(|&index| is_inner.has(index));
        for (index, &(place, _)) in indices.zip(inner) {
            self.nodes[index].value = writer.value(place);
        }
    }

    /// The nodes with children.
    fn inner(&self) -> Bits {
        let mut inner = Bits(vec![0; self.nodes.len().div_ceil(64)]);
        for node in &self.nodes[1..] {
            inner.set(node.parent as usize);
        }
        inner
    }

    /// The node of `name`, made with all its parents if need be; none when octets run out.
    fn insert(&mut self, name: &Name) -> Option<u32> {
        if self.crowded {
            self.reseed();
        }
        let path = LabelPath::of(name);
        let (mut node, mut hash) = (0, self.key.root);
        for depth in 1..=path.len() {
            let label = path.label(depth);
            hash = self.key.roll(hash, label);
            node = match self.child(node, hash, label) {
                Some(child) => child,
                None => self.add(node, hash, label)?,
            };
        }
        Some(node)
    }

    /// Adds a node that is not there yet.
    fn add(&mut self, parent: u32, hash: u64, label: Label<'_>) -> Option<u32> {
        if self.octets() + label.len() as u64 + worst_octets(1) > MAX_OCTETS {
            return None;
        }
        if (self.nodes.len() + 1) * MAX_LOAD.1 > self.slots.len() * MAX_LOAD.0 {
            self.grow();
        }
        let (index, label_at) = (self.nodes.len() as u32, self.labels.len() as u32);
        self.labels.extend_from_slice(label.as_slice());
        self.nodes.push(Node { parent, label: label_at, value: NO_VALUE });
        self.place(index, hash);
        Some(index)
    }

    /// Doubles the table.
    fn grow(&mut self) {
        // A record takes nine octets at least, so there are fewer than 2^29 nodes and at most 2^30 slots: two bits are left
        // for a tag.
        self.index_bits += 1;
        self.arrange();
    }

    /// Goes on with another seed, unless enough were tried.
    fn reseed(&mut self) {
        self.crowded = false;
        if self.seeds < MAX_SEEDS {
            self.seeds += 1;
            self.seed = next_seed(self.seed);
            self.key = Key::of(self.seed);
            self.arrange();
        }
    }

    /// Places every node anew.
    fn arrange(&mut self) {
        // The old table first: both at a time would be the most memory ever in use.
        self.slots = Vec::new();
        self.slots = vec![0; 1 << self.index_bits];
        let mut hashes = Vec::with_capacity(self.nodes.len());
        hashes.push(self.key.root);
        for index in 1..self.nodes.len() {
            let node = self.nodes[index];
            let hash = self.key.roll(hashes[node.parent as usize], label_at(&self.labels, node.label));
            hashes.push(hash);
            self.place(index as u32, hash);
        }
    }

    /// Puts a node into the first free slot of its probe sequence; the load bound leaves one free.
    fn place(&mut self, index: u32, hash: u64) {
        let mask = self.slots.len() - 1;
        let home = self.home(hash);
        let mut slot = home;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = self.tag(hash) | index;
        self.crowded |= slot.wrapping_sub(home) & mask > MAX_PROBES;
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

/// A trie being written.
struct Writer<'o> {
    buckets: &'o mut [[u8; super::BUCKET_LEN]],
    records: &'o mut [u8],
    /// Where the next record goes.
    next: usize,
    value_len: usize,
    /// Full buckets that one record may pass.
    most: usize,
}

impl Writer<'_> {
    /// Writes the next record; gives its place.
    fn write(&mut self, parent: u32, value: u32, label: Label<'_>) -> u32 {
        let place = self.next;
        for part in [&parent.to_le_bytes(), &value.to_le_bytes()[..self.value_len], label.as_slice()] {
            self.records[self.next..self.next + part.len()].copy_from_slice(part);
            self.next += part.len();
        }
        // All records together were found to end below 2^32.
        place as u32
    }

    /// Puts a record into the first free slot of its probe sequence; the load leaves one free. False, and nothing put, if
    /// that is too far away.
    fn put(&mut self, place: u32, hash: u64) -> bool {
        let (first, tag) = home(hash, self.buckets.len());
        let (mut bucket, mut passed) = (first as usize, 0);
        while is_full(&self.buckets[bucket]) {
            bucket = if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 };
            passed += 1;
        }
        let near = passed <= self.most;
        if near {
            put(&mut self.buckets[bucket], tag, place);
        }
        near
    }

    /// The value in a record.
    fn value(&self, place: u32) -> u32 {
        let at = place as usize + PARENT_LEN;
        let octets = self.records[at..at + self.value_len].iter().rev();
        octets.fold(0, |value, octet| value << 8 | u32::from(*octet))
    }

    /// Nothing written, nothing put.
    fn start_over(&mut self) {
        self.buckets.fill([0; super::BUCKET_LEN]);
        self.next = 0;
    }
}

/// A bit for each of many.
struct Bits(Vec<u64>);

impl Bits {
    /// Sets one.
    fn set(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    /// Whether it is set.
    fn has(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 != 0
    }
}

/// Octets that so many nodes take at worst, their labels left out.
pub fn worst_octets(nodes: u64) -> u64 {
    nodes * (PARENT_LEN + MAX_VALUE_LEN) as u64
}

/// Octets that hold every value up to `most`: 1 to 4.
fn value_len(most: u32) -> usize {
    ((u32::BITS - most.leading_zeros()).div_ceil(8) as usize).max(1)
}

/// The label that starts there.
fn label_at(labels: &[u8], at: u32) -> Label<'_> {
    Label { octets: labels, at: at as usize }
}
