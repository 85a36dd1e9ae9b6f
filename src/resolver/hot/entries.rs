//! One worker's own cache of answers: entries of any length side by side in one ring of octets, and an index.
//!
//! Entries come from the shared cache and never outlive what it said. A new one is written at the head of the ring; ahead
//! of it a sweep makes room. What was asked for since the sweep last came by is kept, moved down to the head (this is
//! CLOCK, and it compacts as it goes); the rest is dropped. So an entry costs the octets it has, some 150 for an
//! ordinary answer, and nothing is allocated after the start: the ring is reserved whole, and the system gives it memory
//! page by page as entries come.
//!
//! Once the ring is full, an answer comes in when it is wanted for the second time within some ten thousand others
//! (the *doorkeeper* of Einziger and others' TinyLFU): names that are asked for once drive nothing out, and cost no copy.
//!
//! Fixed places of half a kilobyte in a set-associative table came before this. They held a third as many answers in as much
//! memory, and an answer found here instead of in the shared cache saves more than a microsecond
//! (`benches/request_path.rs`).
//!
//! The index is a table of sets of eight ways, a cache line each. A hit moves its way one place ahead in its set, a new
//! way comes in last: what is asked often is found first.

use super::entry::{self, Draft, Entry, STEP, Stored};
use super::template::Template;
use crate::dns::Truth;
use crate::dns::head::QueryHead;
use crate::name::Name;
use crate::policy::Clear;

/// Ways of a set: as many as a cache line holds.
const WAYS: usize = 8;
/// Octets of the ring for each way of the index: somewhat less than an ordinary entry has, so that sets rarely overflow.
const OCTETS_A_WAY: usize = 128;
/// The smallest ring that is of any use; below this there is none.
const MIN_CAPACITY: usize = 16 * 1024;
/// How many entries one insertion keeps at most before it drops whatever comes: bounds its time.
const MAX_KEPT: usize = 32;
/// Places of the doorkeeper, a power of two.
const DOORKEEPER_SLOTS: usize = 16_384;
/// An odd constant with well-mixed bits: 2^64 divided by the golden ratio (Knuth, TAOCP vol. 3, 6.4).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Answers by question.
pub(super) struct Entries {
    /// Makes places hard to guess: who could choose names for one set would drive others out of it.
    seed: u64,
    sets: Sets,
    /// The ring, as far as it was ever written.
    ring: Vec<u8>,
    /// Octets of the whole ring, a power of two, or 0.
    capacity: usize,
    /// Where the next entry goes, counted on from lap to lap.
    head: Place,
    /// The oldest entry, which the sweep takes next; everything from here to the head is whole.
    oldest: Place,
    /// Where the entries of the last full lap end, for none goes over the end of the ring; 0 before there was one.
    end: usize,
    /// Tags of questions that came lately and were not let in.
    doorkeeper: Vec<u16>,
}

/// Eight ways: the upper half of a hash above the place in the ring, in steps and counted from 1; 0 is empty. Taken ones
/// come first.
type Set = [u64; WAYS];

/// A power of two of sets, a cache line each. They take memory as they are written: a vector of an aligned type would have its
/// zeros written at once.
struct Sets {
    words: Vec<u64>,
    /// The word that begins the first cache line.
    start: usize,
    /// One less than there are sets.
    mask: usize,
}

impl Sets {
    /// That many empty ones, a power of two.
    fn new(count: usize) -> Sets {
        let words = vec![0; (count + 1) * WAYS];
        let start = words.as_ptr().align_offset(WAYS * size_of::<u64>()).min(WAYS);
        Sets { words, start, mask: count - 1 }
    }

    /// The set a hash belongs to, by its lower half.
    #[inline]
    fn of(&self, hash: u64) -> &Set {
        &self.words[self.start..].as_chunks().0[hash as usize & self.mask]
    }

    /// The same, to be changed.
    #[inline]
    fn of_mut(&mut self, hash: u64) -> &mut Set {
        &mut self.words[self.start..].as_chunks_mut().0[hash as usize & self.mask]
    }

    /// Empties all.
    fn clear(&mut self) {
        self.words.fill(0);
    }
}

/// A place in the ring and its lap: octets from the start of the first lap. Never used twice, so that it tells whether
/// what was seen there is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

impl Entries {
    /// None yet; never more than `octets` of them, rounded down to a power of two.
    pub(super) fn new(octets: usize) -> Entries {
        let capacity = match octets.checked_ilog2() {
            Some(power) if octets >= MIN_CAPACITY => 1 << power,
            _ => 0,
        };
        Entries {
            seed: rand::random(),
            sets: Sets::new((capacity / OCTETS_A_WAY / WAYS).max(1)),
            ring: Vec::with_capacity(capacity),
            capacity,
            head: Place(0),
            oldest: Place(0),
            end: 0,
            doorkeeper: vec![0; DOORKEEPER_SLOTS],
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.sets.clear();
        // Places go on counting: one seen before is not taken for one that comes.
        let lap = self.start_of_lap(self.head) + self.capacity as u64;
        (self.head, self.oldest, self.end) = (Place(lap), Place(lap), 0);
    }

    /// The hash of a question, to be handed to the others.
    #[inline]
    pub(super) fn hash(&self, head: &QueryHead, qname: &Name) -> u64 {
        let mut hash = mix(self.seed, u64::from(head.qtype.0) << 8 | u64::from(entry::bits(head)));
        let mut words = qname.as_wire().chunks_exact(8);
        for word in &mut words {
            // chunks_exact gives eight octets each.
            hash = mix(hash, u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        let mut last = [0; 8];
        for (octet, given) in last.iter_mut().zip(words.remainder()) {
            *octet = *given;
        }
        // The name ends itself with a zero, so that padding with zeros is no other name.
        mix(hash, u64::from_le_bytes(last))
    }

    /// Reads the first way of the hash's set, so that it is at hand later.
    #[inline]
    pub(super) fn touch_set(&self, hash: u64) -> u64 {
        self.sets.of(hash)[0]
    }

    /// Reads an octet of the entry that may be the hash's, so that it is at hand later.
    #[inline]
    pub(super) fn touch_entry(&self, hash: u64) -> u8 {
        let ways = self.sets.of(hash);
        let mut taken = ways.iter().take_while(|way| **way != 0);
        let way = taken.find(|way| (*way ^ hash) >> 32 == 0);
        way.and_then(|way| self.ring.get(at_of(*way))).copied().unwrap_or(0)
    }

    /// The entry for that question, dead or alive, and its place.
    #[inline]
    pub(super) fn find(&mut self, hash: u64, head: &QueryHead, qname: &Name) -> Option<(Place, Entry<'_>)> {
        for way in 0..WAYS {
            let taken = self.sets.of(hash)[way];
            if taken == 0 {
                return None;
            }
            if (taken ^ hash) >> 32 != 0 {
                continue;
            }
            let octets = self.ring.get_mut(at_of(taken)..)?;
            if Entry::read(octets)?.is_for(head, qname) {
                entry::note_asked(octets, true);
                if way > 0 {
                    self.sets.of_mut(hash).swap(way, way - 1);
                }
                return Some((self.place(at_of(taken)), Entry::read(self.ring.get(at_of(taken)..)?)?));
            }
        }
        None
    }

    /// Whether what was found at a place is still there: it may have made room since.
    #[inline]
    pub(super) fn has(&self, place: Place) -> bool {
        place >= self.oldest
    }

    /// The entry that was found at a place; none if it has made room since.
    #[inline]
    pub(super) fn get(&self, place: Place) -> Option<Entry<'_>> {
        if !self.has(place) {
            return None;
        }
        Entry::read(self.ring.get(self.at(place)..)?)
    }

    /// Notes under which stamp no rule was about that entry, and until when.
    pub(super) fn note_clear(&mut self, place: Place, clear: Clear) {
        let at = self.at(place);
        if self.has(place)
            && let Some(octets) = self.ring.get_mut(at..)
        {
            entry::note_clear(octets, clear);
        }
    }

    /// Whether an answer that is not here is to be taken in: as long as there is room, and then the second time.
    pub(super) fn admits(&mut self, hash: u64) -> bool {
        if self.is_growing() {
            return true;
        }
        // Bits that choose neither the set nor the door.
        let tag = (hash >> 48) as u16 | 1;
        let door = &mut self.doorkeeper[(hash >> 24) as usize % DOORKEEPER_SLOTS];
        let known = *door == tag;
        *door = tag;
        known
    }

    /// Whether the ring was never full.
    fn is_growing(&self) -> bool {
        self.end == 0
    }

    /// Takes an answer in, instead of the one before it, if that is here; not if it is too large. `stays` is told of those that might
    /// have made room, but were asked for lately.
    pub(super) fn insert(
        &mut self,
        (hash, head, qname): (u64, &QueryHead, &Name),
        template: &Template<'_>,
        truth: (&Truth, Stored),
        clear: Clear,
        stays: impl FnMut(&Entry<'_>),
    ) {
        let Some(draft) = Draft::new((hash, head, qname), template, truth, clear) else { return };
        if self.capacity == 0 {
            return;
        }
        let at = self.make_room(draft.len(), stays);
        if self.ring.len() < at + draft.len() {
            // Within what was reserved.
            self.ring.resize(at + draft.len(), 0);
        }
        draft.write(&mut self.ring[at..at + draft.len()]);
        self.head.0 += draft.len() as u64;
        if self.at(self.head) == 0 {
            self.end = self.capacity;
        }
        let ring = &self.ring;
        let same = |way: &u64| {
            *way == 0
                || ((*way ^ hash) >> 32 == 0
                    && ring.get(at_of(*way)..).and_then(Entry::read).is_some_and(|e| e.is_for(head, qname)))
        };
        let set = self.sets.of_mut(hash);
        // The one that is for this question, or else the first that is free, or else the last. An entry that loses its
        // way here is dropped when the sweep comes.
        let way = set.iter().position(same).unwrap_or(WAYS - 1);
        set[way] = way_to(hash, at);
    }

    /// Makes room for so many octets at the head, and says where that is. A ring has room for several of the longest
    /// entries.
    fn make_room(&mut self, len: usize, mut stays: impl FnMut(&Entry<'_>)) -> usize {
        let mut kept = 0;
        loop {
            let (head, oldest) = (self.at(self.head), self.at(self.oldest));
            // The sweep is a lap behind, or it has the rest of the ring cleared.
            let behind = self.start_of_lap(self.oldest) < self.start_of_lap(self.head);
            let room = if behind { oldest.saturating_sub(head) } else { self.capacity - head };
            if room >= len {
                return head;
            }
            if behind {
                kept += usize::from(self.sweep(kept < MAX_KEPT, &mut stays));
            } else {
                self.end = head;
                self.head.0 = self.start_of_lap(self.head) + self.capacity as u64;
            }
        }
    }

    /// Takes the oldest entry, which is a lap behind the head: moves it to the head if it was asked for lately, or drops
    /// it. Whether it was kept.
    fn sweep(&mut self, keep: bool, mut stays: impl FnMut(&Entry<'_>)) -> bool {
        let (head, at) = (self.at(self.head), self.at(self.oldest));
        let Some(entry) = self.ring.get(at..self.end).and_then(Entry::read) else {
            // The last lap ends here.
            self.oldest.0 = self.start_of_lap(self.oldest) + self.capacity as u64;
            return false;
        };
        let (hash, len, asked) = (entry.hash(), entry.len(), entry.was_asked());
        self.oldest.0 = match at + len {
            next if next < self.end => self.oldest.0 + len as u64,
            _ => self.start_of_lap(self.oldest) + self.capacity as u64,
        };
        let set = self.sets.of_mut(hash);
        // None if another answer to the question came, or its set overflowed.
        let way = set.iter().position(|way| *way == way_to(hash, at));
        match way {
            Some(way) if keep && asked => {
                set[way] = way_to(hash, head);
                self.ring.copy_within(at..at + len, head);
                entry::note_asked(&mut self.ring[head..], false);
                self.head.0 += len as u64;
                if let Some(entry) = Entry::read(&self.ring[head..]) {
                    stays(&entry);
                }
                true
            }
            Some(way) => {
                set.copy_within(way + 1.., way);
                set[WAYS - 1] = 0;
                false
            }
            None => false,
        }
    }

    /// Where in the ring a place is.
    #[inline]
    fn at(&self, place: Place) -> usize {
        (place.0 & (self.capacity as u64).wrapping_sub(1)) as usize
    }

    /// The place of what stands at `at`: in front of the head it is of this lap, and else of the one before.
    #[inline]
    fn place(&self, at: usize) -> Place {
        let lap = self.start_of_lap(self.head) + at as u64;
        Place(if lap < self.head.0 { lap } else { lap.wrapping_sub(self.capacity as u64) })
    }

    /// Where the lap began.
    #[inline]
    fn start_of_lap(&self, place: Place) -> u64 {
        place.0 & !(self.capacity as u64).wrapping_sub(1)
    }
}

/// The way to what stands at `at`.
fn way_to(hash: u64, at: usize) -> u64 {
    (hash >> 32) << 32 | ((at / STEP) as u64 + 1)
}

/// Where in the ring a taken way leads.
#[inline]
fn at_of(way: u64) -> usize {
    ((way & u64::from(u32::MAX)) as usize).wrapping_sub(1).wrapping_mul(STEP)
}

/// One multiply-and-fold step: the high half of the product, which all input bits reach, joins the low half.
#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * u128::from(MIX);
    ((product >> 64) as u64 ^ product as u64).wrapping_add(MIX)
}
