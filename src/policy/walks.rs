//! What was found on the way to many names, kept compactly until each is judged.

use super::rule::RuleSet;
use super::trie::{NameTrie, Paths};
use crate::name::Name;

/// Finds a path keeps beside its counts: with them they fill one cache line. Few names have more listed ancestors.
const NEAR: usize = 7;

/// The finds on a path that are kept on the stack, two cache lines of them: room for all of them (192, with each name above a
/// name and patterns) took a tenth of a query's instructions to clear and to copy, and few names need more than two.
const ON_STACK: usize = 16;

/// Names that are too few for walking side by side: setting it up costs more than the waiting it saves.
const FEW: usize = 3;

/// A rule set, and the labels of the listed name that points to it.
pub(super) type Found = (u8, RuleSet);

/// What was found for many names, to be judged one by one; made once and used for every batch.
#[derive(Default)]
pub struct Walks {
    finds: Finds,
    /// What the trie needs on the way.
    paths: Paths,
}

/// The finds of all walks of a batch.
#[derive(Default)]
struct Finds {
    near: Vec<Near>,
    /// Finds beyond a path's first few, with the path's place; those of one path in order.
    far: Vec<(usize, Found)>,
    /// How many paths are of the last batch.
    len: usize,
}

/// The finds of one walk, as far as one cache line goes.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Near {
    sets: [RuleSet; NEAR],
    labels: [u8; NEAR],
    /// How many there are, those that stand elsewhere included; 255 also if there are more.
    len: u8,
    /// Labels of the name asked for.
    depth: u8,
}

/// The rule sets found on one walk, root first: on the stack, unless there are very many.
pub(super) struct Path {
    found: [Found; ON_STACK],
    len: usize,
    /// All of them once they are too many for the stack; else empty.
    all: Vec<Found>,
    /// Labels of the name asked for.
    pub(super) depth: usize,
}

impl Finds {
    /// Forgets the last batch and makes room for so many names.
    fn start(&mut self, names: usize) {
        if self.near.len() < names {
            self.near.resize_with(names, Near::default);
        }
        self.len = names;
        self.far.clear();
        for near in &mut self.near[..names] {
            near.len = 0;
        }
    }

    /// Takes a find in, behind those of the same path; with the name's place come its labels.
    fn note(&mut self, (index, depth): (usize, usize), (labels, set): Found) {
        let near = &mut self.near[index];
        near.depth = depth as u8;
        let at = usize::from(near.len);
        match near.sets.get_mut(at) {
            Some(place) => (*place, near.labels[at]) = (set, labels),
            None => self.far.push((index, (labels, set))),
        }
        // Beyond what is near, the number is not needed.
        near.len = near.len.saturating_add(1);
    }

    /// What is near of the name at `index`, if it is there.
    #[inline]
    fn near(&self, index: usize) -> Option<&Near> {
        self.near[..self.len].get(index)
    }
}

impl Walks {
    /// Looks up names in a trie, in place of those of the last batch.
    pub(super) fn fill(&mut self, trie: &NameTrie, names: &[Name]) {
        let Walks { finds, paths } = self;
        finds.start(names.len());
        if names.len() < FEW {
            for (index, name) in names.iter().enumerate() {
                let mut note = |found| finds.note((index, name.label_count()), found);
                trie.walk(name, |labels, set| note((labels, set)));
            }
        } else {
            trie.walk_batch(names, paths, |name, labels, set| finds.note(name, (labels, set)));
        }
    }

    /// Whether nothing is listed on the way to the name at `index`, or nothing is there.
    #[inline]
    pub fn found_nothing(&self, index: usize) -> bool {
        self.finds.near(index).is_none_or(|near| near.len == 0)
    }

    /// What was found for the name at `index`, if it is the only find, and the name's labels; `None` when there is more.
    /// Nothing found, or nothing there, is the empty set.
    pub(super) fn only(&self, index: usize) -> Option<(Found, usize)> {
        let near = match self.finds.near(index) {
            Some(near) if near.len > 0 => near,
            _ => return Some(((0, 0), 0)),
        };
        (near.len == 1).then(|| ((near.labels[0], near.sets[0]), usize::from(near.depth)))
    }

    /// All that was found for the name at `index`.
    pub(super) fn path(&self, index: usize) -> Path {
        let mut path = Path::default();
        let Some(near) = self.finds.near(index) else { return path };
        path.depth = usize::from(near.depth);
        let close = near.labels.iter().copied().zip(near.sets).take(usize::from(near.len));
        let far = self.finds.far.iter().filter(|(of, _)| *of == index).map(|(_, found)| *found);
        close.chain(far).for_each(|found| path.note(found));
        path
    }
}

impl Default for Path {
    fn default() -> Path {
        Path { found: [(0, 0); ON_STACK], len: 0, all: Vec::new(), depth: 0 }
    }
}

impl Path {
    /// Takes a find in.
    pub(super) fn note(&mut self, found: Found) {
        match self.found.get_mut(self.len) {
            Some(place) => {
                *place = found;
                self.len += 1;
            }
            None => {
                if self.all.is_empty() {
                    self.all.extend_from_slice(&self.found);
                }
                self.all.push(found);
            }
        }
    }

    /// Takes in finds that are about the whole name.
    pub(super) fn match_whole(&mut self, name: &Name, sets: impl Iterator<Item = RuleSet>) {
        for set in sets {
            self.depth = name.label_count();
            self.note((self.depth as u8, set));
        }
    }

    /// What was found: labels of the listed name, and its rules.
    pub(super) fn found(&self) -> &[Found] {
        if self.all.is_empty() { &self.found[..self.len] } else { &self.all }
    }
}
