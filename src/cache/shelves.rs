//! All answers, in parts of which each has a lock of its own: whoever asks for a name of another part waits for nobody.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Entry;
use super::shelf::{Packed, Shelf};

/// The most parts.
const MAX_PARTS: u64 = 64;
/// The least that a part takes: several of the longest answers there are.
const MIN_PART: u64 = 512 << 10;

/// Entries that are copied at a time: some microseconds, for which others wait.
const COPIED: usize = 32;

/// All answers by key; as many as there is room for.
#[derive(Debug)]
pub(super) struct Shelves {
    hasher: RandomState,
    /// A power of two.
    parts: Box<[Mutex<Shelf>]>,
    /// Octets they may take.
    capacity: u64,
}

impl Shelves {
    /// None yet, and never more than `octets` of them.
    pub(super) fn new(octets: u64) -> Shelves {
        let hasher = RandomState::new();
        let parts = 1 << (octets / MIN_PART).clamp(1, MAX_PARTS).ilog2();
        let part = usize::try_from(octets / parts).unwrap_or(usize::MAX);
        let part = || Mutex::new(Shelf::new(part, hasher.clone()));
        Shelves { parts: (0..parts).map(|_| part()).collect(), hasher, capacity: octets }
    }

    /// The entry of that key, which is asked for.
    pub(super) fn get(&self, key: &[u8]) -> Option<Entry> {
        let (hash, mut part) = self.part(key);
        part.get(hash, key)
    }

    /// Notes that the entry of that key is asked for.
    pub(super) fn note_asked(&self, key: &[u8]) {
        let (hash, mut part) = self.part(key);
        part.note_asked(hash, key);
    }

    /// Puts an entry in, in place of the one that was there.
    pub(super) fn insert(&self, key: &[u8], entry: &Entry) {
        let (hash, mut part) = self.part(key);
        part.insert(hash, key, entry);
    }

    /// Takes the entry of that key away; whether there was one.
    pub(super) fn remove(&self, key: &[u8]) -> bool {
        let (hash, mut part) = self.part(key);
        part.remove(hash, key)
    }

    /// Whether there is an entry of that key, which is not asked for.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        let (hash, part) = self.part(key);
        part.has(hash, key)
    }

    /// Shows all entries as they are packed; they are not asked for. A part is locked for as long as a few take to be copied, and not while
    /// they are shown: what comes meanwhile may be missed.
    pub(super) fn each<E>(&self, mut show: impl FnMut(Packed<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut copied = Vec::new();
        for part in &self.parts {
            let places = lock(part).places();
            for few in places.chunks(COPIED) {
                copied.clear();
                lock(part).copy(few, &mut copied);
                let mut rest = &copied[..];
                while let Some(packed) = Packed::first(&mut rest) {
                    show(packed)?;
                }
            }
        }
        Ok(())
    }

    #[cfg(test)]
    /// All entries with their keys, a part at a time.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Box<[u8]>, Entry)> {
        self.parts.iter().flat_map(|part| lock(part).all())
    }

    /// Entries there are.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).len()).sum()
    }

    /// Octets of all of them.
    pub(super) fn held(&self) -> u64 {
        self.parts.iter().map(|part| lock(part).held() as u64).sum()
    }

    /// Octets that they may take.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.parts.iter().for_each(|part| lock(part).clear());
    }

    /// A key's hash, and its part.
    fn part(&self, key: &[u8]) -> (u64, MutexGuard<'_, Shelf>) {
        let hash = self.hasher.hash_one(key);
        // Bits that choose little within a part.
        let index = (hash >> 44) as usize % self.parts.len();
        (hash, lock(&self.parts[index]))
    }
}

/// A part to oneself.
fn lock(part: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    // Nothing in there panics; and an answer more or less is no reason to.
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
