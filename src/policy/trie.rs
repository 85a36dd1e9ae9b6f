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
//! A slot is 32 bits. With 2^k slots a node's number fits in k bits (there are fewer nodes than slots), and the
//! other 32 - k carry a tag from the hash, so that most foreign entries are passed over without touching their node.
//!
//! Rejected: a table of whole suffixes (every enclosing suffix must be hashed and probed even for innocent names,
//! longest first), a sorted array (one cache miss per binary step), pointers per node (twice the memory).

use super::name::{MAX_LABELS, Name};

/// Slots the smallest table has; a power of two.
const MIN_SLOTS: usize = 16;
/// The table grows when more than 3/4 of the slots would be taken: a miss then probes about eight slots of four
/// octets each, half a cache line (Knuth, TAOCP vol. 3, 6.4, linear probing).
const MAX_LOAD: (usize, usize) = (3, 4);
/// An odd constant with well-mixed bits: 2^64 divided by the golden ratio (Knuth, TAOCP vol. 3, 6.4).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
/// The hash of the root; any value does.
const ROOT_HASH: u64 = 0x243f_6a88_85a3_08d3;

/// Names to values. `T::default()` means "no value".
#[derive(Clone, Debug)]
pub struct NameTrie<T> {
    /// Node 0 is the root.
    nodes: Vec<Node<T>>,
    /// Labels with their length octet, one after the other; nodes point here.
    labels: Vec<u8>,
    /// Power of two many; 0 is empty (the root is nobody's child), else tag and node number.
    slots: Vec<u32>,
    /// log2 of the number of slots: how many bits of a slot are a node number.
    index_bits: u32,
    /// How many nodes have a value.
    len: usize,
}

/// One name on the way to a listed name, or a listed name itself.
#[derive(Clone, Copy, Debug)]
struct Node<T> {
    /// The enclosing name's node.
    parent: u32,
    /// Where this node's label starts in `labels`.
    label: u32,
    /// What is stored here.
    value: T,
}

impl<T: Copy + Default + PartialEq> NameTrie<T> {
    /// An empty trie.
    pub fn new() -> NameTrie<T> {
        NameTrie {
            nodes: vec![Node { parent: 0, label: 0, value: T::default() }],
            labels: vec![0],
            slots: vec![0; MIN_SLOTS],
            index_bits: MIN_SLOTS.trailing_zeros(),
            len: 0,
        }
    }

    /// Replaces the value at `name` with what `change` makes of it; `T::default()` stands for none so far.
    ///
    /// False, and nothing stored, once labels fill 4 GiB or nodes 2^31: the addresses are 32 bits.
    pub fn update(&mut self, name: &Name, change: impl FnOnce(T) -> T) -> bool {
        let Some(node) = self.insert(name) else { return false };
        let old = self.nodes[node as usize].value;
        let new = change(old);
        self.len += usize::from(new != T::default());
        self.len -= usize::from(old != T::default());
        self.nodes[node as usize].value = new;
        true
    }

    /// Calls `visit` for every value stored at `name` or above it, root first, with the number of labels of the
    /// name it is stored at. No allocation; stops at the first label that nobody listed.
    pub fn walk(&self, name: &Name, mut visit: impl FnMut(u8, T)) {
        let mut see = |labels: usize, value: T| {
            if value != T::default() {
                visit(labels as u8, value);
            }
        };
        see(0, self.nodes[0].value);
        let path = LabelPath::of(name);
        let (mut node, mut hash) = (0, ROOT_HASH);
        for depth in 1..=path.len() {
            let label = path.label(depth);
            hash = roll(hash, label);
            match self.child(node, hash, label) {
                Some(child) => node = child,
                None => return,
            }
            see(depth, self.nodes[node as usize].value);
        }
    }

    /// The value stored at exactly `name`.
    pub fn at(&self, name: &Name) -> Option<T> {
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
        self.len
    }

    /// Whether no name has a value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All names with their values, in the order their nodes were made.
    pub fn iter(&self) -> impl Iterator<Item = (Name, T)> + '_ {
        let listed = |node: &(usize, &Node<T>)| node.1.value != T::default();
        self.nodes.iter().enumerate().filter(listed).map(|(index, node)| (self.name_of(index), node.value))
    }

    /// Octets this trie occupies.
    pub fn heap_octets(&self) -> usize {
        self.nodes.capacity() * size_of::<Node<T>>()
            + self.labels.capacity()
            + self.slots.capacity() * size_of::<u32>()
    }

    /// Gives back what growth left unused; call it once when all is stored.
    pub fn shrink_to_fit(&mut self) {
        self.nodes.shrink_to_fit();
        self.labels.shrink_to_fit();
    }

    /// The node of `name`, made with all its parents if need be; none when the trie is full.
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
    fn add(&mut self, parent: u32, hash: u64, label: &[u8]) -> Option<u32> {
        if (self.nodes.len() + 1) * MAX_LOAD.1 > self.slots.len() * MAX_LOAD.0 {
            self.grow()?;
        }
        let index = u32::try_from(self.nodes.len()).ok()?;
        let label_at = u32::try_from(self.labels.len()).ok()?;
        self.labels.extend_from_slice(label);
        self.nodes.push(Node { parent, label: label_at, value: T::default() });
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
        // Parents are made before their children, so one pass in order has every parent's hash at hand.
        let mut hashes = Vec::with_capacity(self.nodes.len());
        hashes.push(ROOT_HASH);
        for index in 1..self.nodes.len() {
            let node = self.nodes[index];
            let hash = roll(hashes[node.parent as usize], self.label_at(node.label));
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
    fn child(&self, parent: u32, hash: u64, label: &[u8]) -> Option<u32> {
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
                if node.parent == parent && self.label_at(node.label) == label {
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

    /// The label that starts there, its length octet included.
    fn label_at(&self, at: u32) -> &[u8] {
        let at = at as usize;
        &self.labels[at..=at + usize::from(self.labels[at])]
    }

    /// The whole name of a node, by climbing to the root.
    fn name_of(&self, mut index: usize) -> Name {
        let mut name = Name::ROOT;
        while index != 0 {
            let node = &self.nodes[index];
            // Every node was made from a valid name, so its labels fit into one again.
            let _ = name.push_label(&self.label_at(node.label)[1..]);
            index = node.parent as usize;
        }
        name
    }
}

impl<T: Copy + Default + PartialEq> Default for NameTrie<T> {
    fn default() -> NameTrie<T> {
        NameTrie::new()
    }
}

/// Mixes a label, length octet included, into its parent's hash, eight octets at a time.
fn roll(parent: u64, label: &[u8]) -> u64 {
    let mut hash = parent;
    let mut chunks = label.chunks_exact(8);
    for chunk in &mut chunks {
        // chunks_exact gives eight octets each.
        hash = mix(hash, u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
    }
    let mut tail = [0; 8];
    tail[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    // The length octet comes first, so a tail padded with zeros cannot be mistaken for a longer label.
    mix(hash, u64::from_le_bytes(tail))
}

/// One multiply-and-fold step: the high half of the product, which all input bits reach, joins the low half.
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * u128::from(MIX);
    ((product >> 64) as u64 ^ product as u64).wrapping_add(MIX)
}

/// Where each label of a name starts, so that it can be read from the root end.
struct LabelPath<'n> {
    wire: &'n [u8],
    starts: [u8; MAX_LABELS],
    len: usize,
}

impl<'n> LabelPath<'n> {
    /// Finds the labels of a name.
    fn of(name: &'n Name) -> LabelPath<'n> {
        let wire = name.as_wire();
        let (mut starts, mut len, mut at) = ([0; MAX_LABELS], 0, 0);
        while wire[at] != 0 {
            starts[len] = at as u8;
            len += 1;
            at += 1 + usize::from(wire[at]);
        }
        LabelPath { wire, starts, len }
    }

    /// How many labels.
    fn len(&self) -> usize {
        self.len
    }

    /// The label at that depth below the root, from 1, its length octet included.
    fn label(&self, depth: usize) -> &'n [u8] {
        let start = usize::from(self.starts[self.len - depth]);
        &self.wire[start..=start + usize::from(self.wire[start])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn trie(entries: &[(&str, u32)]) -> NameTrie<u32> {
        let mut trie = NameTrie::new();
        for (text, value) in entries {
            assert!(trie.update(&name(text), |old| old + value));
        }
        trie
    }

    fn walked(trie: &NameTrie<u32>, text: &str) -> Vec<(u8, u32)> {
        let mut found = Vec::new();
        trie.walk(&name(text), |labels, value| found.push((labels, value)));
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
        let mut trie = trie(&[("a.b", 1), ("a.b", 2), ("c", 1)]);
        assert_eq!((trie.at(&name("a.b")), trie.len()), (Some(3), 2));
        trie.update(&name("c"), |_| 0);
        assert_eq!((trie.at(&name("c")), trie.len()), (None, 1));
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
    fn growth_loses_nothing() {
        let names: Vec<Name> = (0..20_000u32).map(|i| name(&format!("h{i}.z{}.net", i % 97))).collect();
        let mut trie = NameTrie::new();
        for (value, name) in (1u32..).zip(&names) {
            trie.update(name, |_| value);
        }
        trie.shrink_to_fit();
        assert_eq!(trie.len(), names.len());
        for (value, name) in (1u32..).zip(&names) {
            assert_eq!(trie.at(name), Some(value), "{name}");
        }
        assert!(trie.iter().map(|(name, _)| name).eq(names.iter().copied()));
    }
}
