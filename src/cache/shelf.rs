//! One part of the answers, packed one behind the other.
//!
//! An answer is a hundred octets or so. As values on the heap, each with its name, its records and what stands beside them, they took five
//! to eight times as much, for what the allocator adds to each and leaves between them. Here they lie in rings, each in one piece, and an
//! index of a few octets leads to them: what a cache is told to take it takes, and it holds several times as many.
//!
//! Who stays is decided as in S3-FIFO (Yang and others, SOSP 2023): what is new goes through a ring of a tenth of the room, and only what
//! is asked for meanwhile, or was there lately, gets into the large one. There the oldest makes room, unless it was asked for since: then
//! it goes round again, as often as that (up to three times).
//!
//! What was asked for lately is at hand unpacked as well, so that many who ask for the same share one.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use super::Entry;
use super::key::Key;
use super::ring::{Ring, STEP};
use crate::dns::Truth;
use crate::dns::mark::nanos;

/// Octets in front of the key: the length of it all in steps, how often it was asked for, the key's length, and when it came.
const HEAD_LEN: usize = 2 + 1 + 2 + 8;
/// Where stands how often it was asked for.
const USES_AT: usize = 2;
/// Times it is asked for that count.
const MAX_USES: u8 = 3;
/// Of the octets of a part, those of its rings, in sixteenths; the rest is for what leads to entries and stands beside them.
const RINGS_SHARE: usize = 14;
/// The share of the rings for what is new.
const TRIAL_SHARE: usize = 10;
/// An entry has at most this share of its ring.
const ENTRY_SHARE: usize = 4;
/// Octets of the rings for each name that is remembered when its answer is gone.
const OCTETS_A_GHOST: usize = 256;
/// Octets of the rings for each answer that is at hand unpacked, which takes half a kilobyte.
const OCTETS_AT_HAND: usize = 16 << 10;
/// How many entries make way for one and stay at most: bounds its time.
const MAX_KEPT: usize = 32;

/// The ring of what is new.
const TRIAL: usize = 0;
/// The ring of what stays.
const MAIN: usize = 1;

/// Where an entry is: its ring in the highest bit, and steps from the ring's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    /// That place of a ring. Rings are shorter than eight gigabytes.
    fn new(ring: usize, at: usize) -> Place {
        Place((ring as u32) << 31 | (at / STEP) as u32)
    }

    /// Its ring, and where it is there.
    fn parts(self) -> (usize, usize) {
        ((self.0 >> 31) as usize, (self.0 & !(1 << 31)) as usize * STEP)
    }
}

/// An entry as it is packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed<'p>(&'p [u8]);

impl<'p> Packed<'p> {
    /// The first of entries that were [copied](Shelf::copy), which is taken off them.
    pub(super) fn first(octets: &mut &'p [u8]) -> Option<Packed<'p>> {
        let (first, rest) = octets.split_at_checked(len_of(octets))?;
        *octets = rest;
        Some(Packed(first))
    }

    /// Its key.
    pub(super) fn key(&self) -> &'p [u8] {
        key_of(self.0)
    }

    /// It, unpacked.
    pub(super) fn entry(&self) -> Option<Entry> {
        Some(Entry { truth: Arc::new(truth_of(self.0)?), stored: stored_of(self.0) })
    }
}

/// A truth that was told lately, and where it is packed.
type AtHand = (Place, Arc<Truth>);

/// A part of the answers.
#[derive(Debug)]
pub(super) struct Shelf {
    /// Makes places hard to guess; the same for all parts.
    hasher: RandomState,
    places: HashTable<Place>,
    rings: [Ring; 2],
    /// Tags of those that left the first ring lately.
    ghosts: Box<[u32]>,
    /// Truths that were told lately, by place.
    at_hand: Box<[Option<AtHand>]>,
    /// Octets of all that can be found.
    held: usize,
    /// Where entries are packed.
    scratch: Vec<u8>,
}

impl Shelf {
    /// An empty one that takes about so many octets once it is full; none at all where that is too few for any answer.
    pub(super) fn new(octets: usize, hasher: RandomState) -> Shelf {
        let rings = octets / 16 * RINGS_SHARE;
        let trial = (rings / TRIAL_SHARE).next_multiple_of(STEP);
        Shelf {
            hasher,
            places: HashTable::new(),
            rings: [Ring::new(trial), Ring::new(rings.saturating_sub(trial) / STEP * STEP)],
            ghosts: vec![0; (rings / OCTETS_A_GHOST).max(1)].into(),
            at_hand: vec![None; (rings / OCTETS_AT_HAND).max(1)].into(),
            held: 0,
            scratch: Vec::new(),
        }
    }

    /// The entry of that key, which is asked for.
    pub(super) fn get(&mut self, hash: u64, key: &[u8]) -> Option<Entry> {
        let place = self.note_asked(hash, key)?;
        let (ring, at) = place.parts();
        let octets = self.rings[ring].tail(at);
        let stored = stored_of(octets);
        let slot = place.0 as usize % self.at_hand.len();
        if let Some((known, truth)) = &self.at_hand[slot]
            && *known == place
        {
            return Some(Entry { truth: Arc::clone(truth), stored });
        }
        let truth = Arc::new(truth_of(octets)?);
        self.keep_at_hand(place, &truth);
        Some(Entry { truth, stored })
    }

    /// Notes that the entry of that key is asked for; where it is.
    pub(super) fn note_asked(&mut self, hash: u64, key: &[u8]) -> Option<Place> {
        let place = self.find(hash, key)?;
        let (ring, at) = place.parts();
        let uses = self.rings[ring].tail_mut(at).get_mut(USES_AT)?;
        // A cache line that need not change is not written.
        if *uses < MAX_USES {
            *uses += 1;
        }
        Some(place)
    }

    /// Puts an entry in, in place of the one that was there; not if it is too long for one.
    pub(super) fn insert(&mut self, hash: u64, key: &[u8], entry: &Entry) {
        let mut packed = std::mem::take(&mut self.scratch);
        packed.clear();
        if !pack(key, entry, &mut packed) {
            self.remove(hash, key);
        } else if let Some(place) = self.find(hash, key) {
            self.replace(place, (hash, key), &mut packed, &entry.truth);
        } else {
            let ghost = &mut self.ghosts[hash as usize % self.ghosts.len()];
            let was_here = *ghost == tag_of(hash);
            if was_here {
                *ghost = 0;
            }
            self.put(if was_here { MAIN } else { TRIAL }, hash, &packed, &entry.truth);
        }
        self.scratch = packed;
    }

    /// Takes the entry of that key away; whether there was one.
    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) -> bool {
        let Some(place) = self.find(hash, key) else { return false };
        let Ok(found) = self.places.find_entry(hash, |other| *other == place) else { return false };
        found.remove();
        self.held -= self.len_at(place);
        self.let_go(place, false);
        true
    }

    /// Whether there is an entry of that key, which is not asked for.
    pub(super) fn has(&self, hash: u64, key: &[u8]) -> bool {
        self.find(hash, key).is_some()
    }

    /// Where entries are now.
    pub(super) fn places(&self) -> Vec<Place> {
        self.places.iter().copied().collect()
    }

    /// Appends the entries that are there still, as they are packed; they are not asked for.
    pub(super) fn copy(&self, places: &[Place], out: &mut Vec<u8>) {
        for place in places {
            let (ring, at) = place.parts();
            let octets = self.rings[ring].tail(at);
            // Others may have come: what lies there is an entry as long as it is found there by its own key.
            let hash = self.hasher.hash_one(key_of(octets));
            if self.places.find(hash, |other| other == place).is_some() {
                out.extend_from_slice(octets.get(..len_of(octets)).unwrap_or(&[]));
            }
        }
    }

    #[cfg(test)]
    /// All entries, and their keys; to look at one is not to ask for it.
    pub(super) fn all(&self) -> Vec<(Box<[u8]>, Entry)> {
        let entry = |place: &Place| {
            let (ring, at) = place.parts();
            let octets = self.rings[ring].tail(at);
            let known = self.at_hand[place.0 as usize % self.at_hand.len()].as_ref();
            let truth = match known.filter(|(known, _)| known == place) {
                Some((_, truth)) => Arc::clone(truth),
                None => Arc::new(truth_of(octets)?),
            };
            Some((key_of(octets).into(), Entry { truth, stored: stored_of(octets) }))
        };
        self.places.iter().filter_map(entry).collect()
    }

    /// Entries there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Octets of all of them.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.rings.iter_mut().for_each(Ring::clear);
        self.ghosts.fill(0);
        self.at_hand.fill(None);
        self.held = 0;
    }

    /// Where the entry of that key is.
    fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let is_it = |place: &Place| {
            let (ring, at) = place.parts();
            key_of(self.rings[ring].tail(at)) == key
        };
        self.places.find(hash, is_it).copied()
    }

    /// Octets of the entry that is there.
    fn len_at(&self, place: Place) -> usize {
        let (ring, at) = place.parts();
        len_of(self.rings[ring].tail(at))
    }

    /// Puts a packed entry in place of that one.
    fn replace(&mut self, place: Place, (hash, key): (u64, &[u8]), packed: &mut [u8], truth: &Arc<Truth>) {
        let (ring, at) = place.parts();
        let octets = self.rings[ring].tail_mut(at);
        if let (Some(uses), Some(before)) = (packed.get_mut(USES_AT), octets.get(USES_AT)) {
            *uses = *before;
        }
        // Most often another TTL is all that is new. Else the octets of the one before are lost until their turn comes.
        if len_of(octets) == packed.len() {
            octets[..packed.len()].copy_from_slice(packed);
            self.let_go(place, false);
            self.keep_at_hand(place, truth);
        } else {
            self.remove(hash, key);
            self.put(ring, hash, packed, truth);
        }
    }

    /// Writes a packed entry into a ring, and remembers where it is.
    fn put(&mut self, ring: usize, hash: u64, packed: &[u8], truth: &Arc<Truth>) {
        let is_short = |ring: &Ring| packed.len() <= ring.capacity() / ENTRY_SHARE;
        let ring = if is_short(&self.rings[ring]) { ring } else { MAIN };
        if is_short(&self.rings[ring]) && self.make_room(ring, packed.len()) {
            let place = self.write(ring, hash, packed);
            self.keep_at_hand(place, truth);
        }
    }

    /// Writes octets for which there is room, and remembers where they are.
    fn write(&mut self, ring: usize, hash: u64, packed: &[u8]) -> Place {
        let place = Place::new(ring, self.rings[ring].push(packed));
        let Shelf { places, rings, hasher, .. } = self;
        let hash_of = |place: &Place| {
            let (ring, at) = place.parts();
            hasher.hash_one(key_of(rings[ring].tail(at)))
        };
        places.insert_unique(hash, place, hash_of);
        self.held += packed.len();
        place
    }

    /// Makes room in a ring; whether there is.
    fn make_room(&mut self, ring: usize, len: usize) -> bool {
        let mut kept = 0;
        while !self.rings[ring].has_room(len) {
            let Some((at, len)) = self.rings[ring].pop(len_of) else { return false };
            kept += usize::from(self.settle((ring, at, len), kept < MAX_KEPT));
        }
        true
    }

    /// Decides about an entry that has to leave its place: whether it stays.
    fn settle(&mut self, (ring, at, len): (usize, usize, usize), may_stay: bool) -> bool {
        let place = Place::new(ring, at);
        let octets = self.rings[ring].tail(at);
        let (hash, uses) = (self.hasher.hash_one(key_of(octets)), octets.get(USES_AT).copied().unwrap_or(0));
        let Ok(mut found) = self.places.find_entry(hash, |other| *other == place) else {
            // Another one came in its place, or it was taken away.
            return false;
        };
        // As long as there is room, nobody has to earn it.
        let stays = may_stay && (uses > 0 || ring == TRIAL && self.rings[MAIN].has_fresh_room(len));
        if stays && ring == MAIN {
            *found.get_mut() = Place::new(ring, self.rings[ring].push_back((at, len)));
            let now = *found.get();
            let truth = self.let_go(place, false);
            if let Some(uses) = self.rings[ring].tail_mut(now.parts().1).get_mut(USES_AT) {
                *uses -= 1;
            }
            if let Some(truth) = truth {
                self.keep_at_hand(now, &truth);
            }
            return true;
        }
        found.remove();
        self.held -= len;
        let truth = self.let_go(place, false);
        if stays {
            let mut entry = self.rings[ring].tail(at)[..len].to_vec();
            entry[USES_AT] = 0;
            if self.make_room(MAIN, len) {
                let now = self.write(MAIN, hash, &entry);
                if let Some(truth) = truth {
                    self.keep_at_hand(now, &truth);
                }
            }
        } else if ring == TRIAL {
            self.ghosts[hash as usize % self.ghosts.len()] = tag_of(hash);
        }
        stays
    }

    /// Has a truth at hand, in place of another one, whose notes go where it is packed.
    fn keep_at_hand(&mut self, place: Place, truth: &Arc<Truth>) {
        let slot = place.0 as usize % self.at_hand.len();
        if let Some((other, _)) = self.at_hand[slot] {
            self.let_go(other, true);
        }
        self.at_hand[slot] = Some((place, Arc::clone(truth)));
    }

    /// Has the truth of that place at hand no longer, if it was; its notes are packed if it stays there.
    fn let_go(&mut self, place: Place, stays: bool) -> Option<Arc<Truth>> {
        let slot = place.0 as usize % self.at_hand.len();
        let (_, truth) = self.at_hand[slot].take_if(|(known, _)| *known == place)?;
        if stays {
            let (ring, at) = place.parts();
            let octets = self.rings[ring].tail_mut(at);
            let behind = HEAD_LEN + key_of(octets).len();
            truth.pack_notes(octets.get_mut(behind..).unwrap_or(&mut []));
        }
        Some(truth)
    }
}

/// What is remembered of those that left the first ring.
fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}

/// Packs an entry, rounded up; whether it is short enough for that.
fn pack(key: &[u8], entry: &Entry, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&[0; 3]);
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(&nanos(entry.stored).to_le_bytes());
    out.extend_from_slice(key);
    if !entry.truth.pack(out) {
        return false;
    }
    out.resize(out.len().next_multiple_of(STEP), 0);
    let Ok(steps) = u16::try_from(out.len() / STEP) else { return false };
    out[..2].copy_from_slice(&steps.to_le_bytes());
    true
}

/// Octets of the entry that begins here, one step at least.
fn len_of(octets: &[u8]) -> usize {
    octets.first_chunk().map_or(STEP, |steps| usize::from(u16::from_le_bytes(*steps)).max(1) * STEP)
}

/// The key of the entry that begins here.
fn key_of(octets: &[u8]) -> &[u8] {
    let len = |octets: &[u8]| {
        octets.get(3..).and_then(<[u8]>::first_chunk).map(|len| usize::from(u16::from_le_bytes(*len)))
    };
    len(octets).and_then(|len| octets.get(HEAD_LEN..HEAD_LEN + len)).unwrap_or(&[])
}

/// When the entry came that begins here.
fn stored_of(octets: &[u8]) -> Duration {
    let nanos = octets.get(5..).and_then(<[u8]>::first_chunk).map_or(0, |nanos| u64::from_le_bytes(*nanos));
    Duration::from_nanos(nanos)
}

/// The truth of the entry that begins here.
fn truth_of(octets: &[u8]) -> Option<Truth> {
    let key = key_of(octets);
    Truth::unpack(Key::section(key)?, octets.get(HEAD_LEN + key.len()..)?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::dns::testing::{question, response};
    use crate::dns::{Question, TtlLimits};
    use crate::iana::Rtype;

    /// A small part, with its hasher.
    fn shelf(octets: usize) -> (Shelf, RandomState) {
        let hasher = RandomState::new();
        (Shelf::new(octets, hasher.clone()), hasher)
    }

    /// The key of a made name.
    fn key(name: u16) -> Vec<u8> {
        let asked = question(&format!("{name}.e"), Rtype::A);
        super::super::Key::new(&asked).as_bytes().to_vec()
    }

    /// An answer of so many addresses.
    fn truth(name: u16, addresses: u8) -> Arc<Truth> {
        let name = format!("{name}.e");
        let records: Vec<String> = (0..=addresses).map(|last| format!("{name} 60 A 1.2.3.{last}")).collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        let message = response(0, &name, Rtype::A, [&records, &[], &[]]);
        let asked: Question = question(&name, Rtype::A);
        let limits = TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };
        Arc::new(Truth::read(&asked, &message, &limits).unwrap())
    }

    /// One step of the comparison.
    #[derive(Clone, Debug)]
    enum Step {
        Put { name: u16, addresses: u8, at: u8 },
        Get { name: u16 },
        Note { name: u16, number: u64 },
        Remove { name: u16 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let name = || prop_oneof![0..20u16, 0..400u16];
        let put = (name(), 0..25u8, any::<u8>()).prop_map(|(name, addresses, at)| Step::Put {
            name,
            addresses,
            at,
        });
        prop_oneof![
            4 => put,
            4 => name().prop_map(|name| Step::Get { name }),
            1 => (name(), 1..100u64).prop_map(|(name, number)| Step::Note { name, number }),
            1 => name().prop_map(|name| Step::Remove { name }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn what_is_found_is_what_was_put_last(steps in vec(step(), 0..800), octets in 4_000..40_000usize) {
            let (mut shelf, hasher) = shelf(octets);
            let mut twin: HashMap<u16, (Arc<Truth>, Duration)> = HashMap::new();
            for (count, step) in steps.into_iter().enumerate() {
                let at = |name| { let key = key(name); (hasher.hash_one(&key[..]), key) };
                match step {
                    Step::Put { name, addresses, at: stored } => {
                        let (hash, key) = at(name);
                        let entry = Entry { truth: truth(name, addresses), stored: Duration::from_secs(stored.into()) };
                        shelf.insert(hash, &key, &entry);
                        twin.insert(name, (entry.truth, entry.stored));
                    }
                    Step::Get { name } | Step::Note { name, .. } => {
                        let (hash, key) = at(name);
                        if let Some(found) = shelf.get(hash, &key) {
                            prop_assert_eq!(Some(&(Arc::clone(&found.truth), found.stored)), twin.get(&name));
                            if let Step::Note { number, .. } = step {
                                found.truth.untouched.set(number, Duration::from_secs(1));
                                let again = shelf.get(hash, &key).unwrap();
                                prop_assert!(again.truth.untouched.is(number));
                            }
                        }
                    }
                    Step::Remove { name } => {
                        let (hash, key) = at(name);
                        shelf.remove(hash, &key);
                        twin.remove(&name);
                        prop_assert!(shelf.get(hash, &key).is_none());
                    }
                }
                if count % 50 > 0 {
                    continue;
                }
                prop_assert_eq!(shelf.all().len(), shelf.len());
                prop_assert!(shelf.held() <= octets);
                let held: usize = shelf.places.iter().map(|place| shelf.len_at(*place)).sum();
                prop_assert_eq!(held, shelf.held());
                let at_hand = shelf.at_hand.iter().flatten();
                prop_assert!(at_hand.clone().all(|(place, _)| shelf.places.iter().any(|known| known == place)));
            }
            for (key, entry) in shelf.all() {
                let name = crate::name::Name::at_start_of(&key).unwrap().to_string();
                let name = name.trim_end_matches(".e").parse().unwrap();
                prop_assert_eq!(Some(&(entry.truth, entry.stored)), twin.get(&name));
            }
            shelf.clear();
            prop_assert_eq!((shelf.len(), shelf.held()), (0, 0));
        }
    }

    #[test]
    fn notes_outlast_that_a_truth_is_at_hand() {
        let (mut shelf, hasher) = shelf(1 << 20);
        let at = |name: u16| (hasher.hash_one(&key(name)[..]), key(name));
        for name in 0..2_000 {
            let (hash, key) = at(name);
            shelf.insert(hash, &key, &Entry { truth: truth(name, 0), stored: Duration::ZERO });
            let found = shelf.get(hash, &key).unwrap();
            found.truth.untouched.set(u64::from(name) + 1, Duration::from_secs(9));
        }
        for name in 0..2_000 {
            let (hash, key) = at(name);
            let found = shelf.get(hash, &key).unwrap();
            assert_eq!(found.truth.untouched.until(u64::from(name) + 1), Duration::from_secs(9), "{name}");
        }
    }

    #[test]
    fn the_longest_answers_find_room_and_what_has_none_is_not_kept() {
        let (mut shelf, hasher) = shelf(512 << 10);
        let long = |records: usize| {
            let mut truth = (*truth(1, 0)).clone();
            truth.octets = vec![0; records].into();
            truth.answers = 0;
            Entry { truth: Arc::new(truth), stored: Duration::ZERO }
        };
        let key = key(1);
        let hash = hasher.hash_one(&key[..]);
        for (octets, kept) in [(65_535, true), (65_536, false), (10, true)] {
            shelf.insert(hash, &key, &long(octets));
            assert_eq!(shelf.get(hash, &key).map(|found| found.truth.octets.len()), kept.then_some(octets));
        }
        let (mut none, _) = self::shelf(0);
        none.insert(hash, &key, &long(10));
        assert_eq!((none.len(), none.held()), (0, 0));
    }
}
