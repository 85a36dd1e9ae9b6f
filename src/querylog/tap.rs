//! Where records leave those who answer: rings that nobody waits for.
//!
//! Each who answers has a ring of its own, and writes to it what fits; what does not is dropped, and counted. The slow path is run by
//! many threads: it has a few rings, and takes whichever nobody holds just now.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use rtrb::{Consumer, Producer, RingBuffer};

use super::Choice;
use super::forwarded::Forwarded;
use super::octets;
use super::record::Record;

/// Rings of the slow path: as many threads as that would have to be interrupted in the middle of a copy for one to find no ring.
const SHARED: usize = 8;
/// The least octets of a ring: some of the longest messages have to fit.
const MIN_RING: usize = 256 << 10;
/// The most octets of a ring: what one thread answers in some thirty milliseconds at its fastest.
const MAX_RING: usize = 4 << 20;
/// Octets that are taken from a ring at a time, at most, and that a record may have: two of the longest messages are half of it.
const PORTION: usize = MIN_RING;
/// Octets of an ordinary record; a longer one makes its writer's memory grow, once.
const ORDINARY: usize = 8 << 10;

/// The rings of all who answer.
pub struct Taps {
    choice: Choice,
    /// Whether records go anywhere now.
    wanted: Arc<AtomicBool>,
    /// Octets that a ring holds.
    ring: usize,
    rings: Mutex<Rings>,
    /// Counts of rings whose writer is gone.
    gone: Counts,
    /// Those of the slow path.
    shared: [Mutex<Tap>; SHARED],
}

/// One who answers, and what it writes to.
pub struct Tap {
    choice: Choice,
    wanted: Arc<AtomicBool>,
    ring: Producer<u8>,
    /// Where a record is put together.
    scratch: Vec<u8>,
    /// The state of the generator that chooses samples; never 0.
    random: u32,
    counts: Arc<Counts>,
}

/// The other ends.
#[derive(Default)]
struct Rings {
    all: Vec<Ring>,
    /// The one that is next to be read.
    next: usize,
}

/// The other end of a ring.
struct Ring {
    from: Consumer<u8>,
    counts: Arc<Counts>,
}

/// What became of records at a ring.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counts {
    /// Records that went in.
    written: AtomicU64,
    /// Records that found no room.
    dropped: AtomicU64,
}

impl Taps {
    /// No rings yet but those of the slow path; so many who answer will share so many octets.
    pub fn new(choice: Choice, octets: usize, answering: usize) -> Taps {
        let ring = (octets / answering.max(1)).clamp(MIN_RING, MAX_RING);
        let (mut rings, wanted) = (Rings::default(), Arc::new(AtomicBool::new(true)));
        let shared = std::array::from_fn(|index| {
            let (tap, ring) = tap((choice, &wanted), MIN_RING, index as u32);
            rings.all.push(ring);
            Mutex::new(tap)
        });
        Taps { choice, wanted, ring, rings: Mutex::new(rings), gone: Counts::default(), shared }
    }

    /// One for a thread that answers. Its ring goes when it is dropped and read out.
    pub fn tap(&self) -> Tap {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let (tap, ring) = tap((self.choice, &self.wanted), self.ring, rings.all.len() as u32);
        rings.all.push(ring);
        tap
    }

    /// Has records written down, or not; they are from the beginning.
    pub(super) fn want(&self, wanted: bool) {
        // Those who answer read it: it is written where it changes alone.
        if self.wanted.load(Ordering::Relaxed) != wanted {
            self.wanted.store(wanted, Ordering::Relaxed);
        }
    }

    /// Whether a query is one to be written down; `captured` says that an order acted on it.
    pub fn is_about(&self, captured: bool) -> bool {
        (captured || !self.choice.captured_only) && self.wanted.load(Ordering::Relaxed)
    }

    /// Writes a record down, for who has no tap.
    pub fn note<'r>(&self, record: &Record<'r>, observed: impl Iterator<Item = &'r str>) {
        match self.lend() {
            Some(mut tap) => tap.note(record, observed),
            None => drop(self.gone.dropped.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Writes down what an upstream is asked, or says: all of it, for which of these messages are one client's nobody knows.
    pub fn note_forwarded(&self, message: &Forwarded<'_>) {
        match self.lend() {
            Some(mut tap) => tap.note_forwarded(message),
            None => drop(self.gone.dropped.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// A tap for a moment. Nobody waits: one that is held by somebody is passed over.
    fn lend(&self) -> Option<MutexGuard<'_, Tap>> {
        self.shared.iter().find_map(|shared| match shared.try_lock() {
            Ok(tap) => Some(tap),
            Err(TryLockError::Poisoned(tap)) => Some(tap.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        })
    }

    /// Takes records out of the rings, a portion of each, those of the slow path first, and puts them behind those in `into` until that holds
    /// `most` octets or so; how many. It goes on where it left off.
    pub fn take(&self, into: &mut Vec<u8>, most: usize) -> u64 {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let Rings { all, next } = &mut *rings;
        let (mut count, start) = (0, std::mem::take(next).min(all.len()));
        let (before, behind) = all.split_at_mut(start);
        for (index, ring) in (start..).zip(behind).chain((0..).zip(before)) {
            if into.len() >= most {
                *next = index;
                return count;
            }
            count += ring.take(into);
        }
        all.retain(|ring| {
            let stays = !ring.from.is_abandoned() || !ring.from.is_empty();
            if !stays {
                self.gone.add(&ring.counts);
            }
            stays
        });
        count
    }

    /// Records written and dropped so far, all rings together.
    pub(super) fn counts(&self) -> (u64, u64) {
        let sum = Counts::default();
        sum.add(&self.gone);
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings.all.iter().for_each(|ring| sum.add(&ring.counts));
        (sum.written.into_inner(), sum.dropped.into_inner())
    }
}

/// Both ends of a ring.
fn tap((choice, wanted): (Choice, &Arc<AtomicBool>), octets: usize, number: u32) -> (Tap, Ring) {
    let (ring, from) = RingBuffer::new(octets);
    let counts = Arc::<Counts>::default();
    // Any odd number will do as a seed; another for each makes them differ.
    let random = number.wrapping_mul(0x9e37_79b9) | 1;
    let scratch = Vec::with_capacity(ORDINARY);
    let tap = Tap { choice, wanted: Arc::clone(wanted), ring, scratch, random, counts: Arc::clone(&counts) };
    (tap, Ring { from, counts })
}

impl Tap {
    /// Whether a query is one to be written down; `captured` says that an order acted on it.
    pub fn is_about(&self, captured: bool) -> bool {
        (captured || !self.choice.captured_only) && self.wanted.load(Ordering::Relaxed)
    }

    /// Writes a record down, if it is one of the sample and there is room; `observed` are the orders that only looked on. A copy or two,
    /// and nothing is allocated but for the first message beyond the ordinary.
    pub fn note<'r>(&mut self, record: &Record<'r>, observed: impl Iterator<Item = &'r str>) {
        if self.choice.one_in > 1 && !self.next_random().is_multiple_of(self.choice.one_in) {
            return;
        }
        let is_whole = record.write(observed, &mut self.scratch);
        self.put(is_whole);
    }

    /// Writes a message to or from an upstream down, if there is room.
    fn note_forwarded(&mut self, message: &Forwarded<'_>) {
        message.write(&mut self.scratch);
        self.put(true);
    }

    /// Puts what was put together into the ring, if it is whole and there is room, and counts what became of it.
    #[inline]
    fn put(&mut self, is_whole: bool) {
        let fits = is_whole && self.scratch.len() <= PORTION;
        let counter = match fits && self.ring.push_entire_slice(&self.scratch).is_ok() {
            true => &self.counts.written,
            false => &self.counts.dropped,
        };
        // Nobody else counts here.
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// A number of the generator (Marsaglia, "Xorshift RNGs", 2003), its upper bits folded in.
    fn next_random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random.wrapping_mul(0x9e37_79b9) >> 8
    }
}

impl Ring {
    /// Takes records out, a portion at most; how many.
    fn take(&mut self, into: &mut Vec<u8>) -> u64 {
        let there = self.from.slots().min(PORTION);
        let Ok(chunk) = self.from.read_chunk(there) else { return 0 };
        let start = into.len();
        let (one, two) = chunk.as_slices();
        into.extend_from_slice(one);
        into.extend_from_slice(two);
        // What was cut off stays in the ring.
        let (mut whole, mut count) = (0, 0);
        let taken = into.get(start..).unwrap_or_default();
        while let Some(len) = taken.get(whole..).and_then(octets::length)
            && whole + len <= taken.len()
        {
            whole += len;
            count += 1;
        }
        chunk.commit(whole);
        into.truncate(start + whole);
        count
    }
}

impl Counts {
    /// Adds another's.
    fn add(&self, other: &Counts) {
        self.written.fetch_add(other.written.load(Ordering::Relaxed), Ordering::Relaxed);
        self.dropped.fetch_add(other.dropped.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}
