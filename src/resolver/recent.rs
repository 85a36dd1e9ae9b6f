//! What was asked lately: a sample of names and clients, for telling what an order would do before it does it.
//!
//! Each who answers has a [`Recorder`] of its own with a ring of its own, so nobody waits for anybody: of every
//! [`ONE_IN`] queries one is written down, behind a lock that only a reader may hold at that moment, and then the sample is
//! skipped. What is read is each ring's last queries, not in the order of time between rings.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use crate::name::Name;

/// Of so many queries one is written down.
pub const ONE_IN: u32 = 64;
/// Queries that a ring holds at least, however many share the whole: below that a sample says nothing.
const MIN_RING: usize = 64;

/// All rings of a server; clones are the same.
#[derive(Clone, Debug)]
pub struct Recent {
    shared: Arc<Shared>,
}

/// What those who record and those who read share.
#[derive(Debug)]
struct Shared {
    /// Queries that one ring holds.
    ring: usize,
    /// The rings, one for each recorder there ever was.
    rings: Mutex<Vec<Arc<Ring>>>,
}

/// One recorder's ring.
#[derive(Debug)]
struct Ring {
    entries: Mutex<Entries>,
    /// Samples that were skipped because somebody read.
    skipped: AtomicU64,
}

/// The last queries of one recorder.
#[derive(Debug)]
struct Entries {
    /// Allocated whole when the recorder was made, and filled up to `room`.
    entries: Vec<(Name, IpAddr)>,
    /// How many there may be; never 0.
    room: usize,
    /// Where the next goes once it is full.
    next: usize,
}

/// Writes down what several threads answer that have no recorder of their own: those of the slow path.
#[derive(Debug)]
pub struct SharedRecorder {
    /// Queries so far, all threads together.
    queries: AtomicU32,
    recorder: Mutex<Recorder>,
}

/// Writes down what one thread answers.
#[derive(Debug)]
pub struct Recorder {
    /// Queries until the next sample; never 0.
    left: u32,
    /// The state of the generator of gaps; never 0.
    random: u32,
    /// None if nothing is to be written down.
    ring: Option<Arc<Ring>>,
}

impl Recent {
    /// Room for so many queries in all, shared by so many recorders; 0 records nothing.
    ///
    /// A [`Name`] is 256 octets, so an entry has 273 with its address: 65,536 take 17 MiB.
    pub fn new(entries: usize, recorders: usize) -> Recent {
        let ring = if entries == 0 { 0 } else { (entries / recorders.max(1)).max(MIN_RING) };
        Recent { shared: Arc::new(Shared { ring, rings: Mutex::default() }) }
    }

    /// A recorder for one thread. Its ring stays when the thread ends.
    pub fn recorder(&self) -> Recorder {
        // Any odd number will do as a seed; that of the ring's place makes recorders differ.
        let mut rings = self.shared.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let random = (rings.len() as u32).wrapping_mul(0x9e37_79b9) | 1;
        if self.shared.ring == 0 {
            return Recorder { left: u32::MAX, random, ring: None };
        }
        let room = self.shared.ring;
        let entries = Entries { entries: Vec::with_capacity(room), room, next: 0 };
        let ring = Arc::new(Ring { entries: Mutex::new(entries), skipped: AtomicU64::new(0) });
        rings.push(Arc::clone(&ring));
        let mut recorder = Recorder { left: 1, random, ring: Some(ring) };
        recorder.left = recorder.gap();
        recorder
    }

    /// The queries that are remembered now: each ring's from the oldest to the newest, ring by ring. Copies them, and holds
    /// up nobody: who would write meanwhile skips a sample.
    pub fn snapshot(&self) -> Vec<(Name, IpAddr)> {
        let mut all = Vec::new();
        for ring in self.rings() {
            // Room is made before the lock is taken, so that it is held for a copy alone.
            all.reserve(self.shared.ring);
            let entries = ring.entries.lock().unwrap_or_else(PoisonError::into_inner);
            let (newer, older) = entries.entries.split_at(entries.next.min(entries.entries.len()));
            all.extend_from_slice(older);
            all.extend_from_slice(newer);
        }
        all
    }

    /// Samples that were skipped because somebody read at that moment.
    pub fn skipped(&self) -> u64 {
        self.rings().iter().map(|ring| ring.skipped.load(Ordering::Relaxed)).sum()
    }

    /// The rings there are.
    fn rings(&self) -> Vec<Arc<Ring>> {
        self.shared.rings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SharedRecorder {
    /// The same for several threads.
    pub fn new(recorder: Recorder) -> SharedRecorder {
        SharedRecorder { queries: AtomicU32::new(0), recorder: Mutex::new(recorder) }
    }

    /// Notes a query, as [`Recorder::note`] does. An addition to shared memory and two multiplications for those that are
    /// not written down; the others wait for each other, for as long as a copy takes.
    pub fn note(&self, name: impl FnOnce() -> Option<Name>, client: IpAddr) {
        // A hash of the query's number decides: there is nothing that threads would have to agree on.
        if scattered(self.queries.fetch_add(1, Ordering::Relaxed)).is_multiple_of(ONE_IN)
            && let Some(name) = name()
        {
            self.recorder.lock().unwrap_or_else(PoisonError::into_inner).sample(&name, client);
        }
    }
}

/// A number whose bits all depend on all bits of the given one (the finalizer of MurmurHash3, a bijection).
fn scattered(mut number: u32) -> u32 {
    number = (number ^ number >> 16).wrapping_mul(0x85eb_ca6b);
    number = (number ^ number >> 13).wrapping_mul(0xc2b2_ae35);
    number ^ number >> 16
}

impl Default for Recent {
    /// Nothing is written down.
    fn default() -> Recent {
        Recent::new(0, 1)
    }
}

impl Recorder {
    /// One that writes nothing down.
    pub fn off() -> Recorder {
        Recorder { left: u32::MAX, random: 1, ring: None }
    }

    /// Notes a query; about one in [`ONE_IN`] is written down, and only then `name` is called, which may still say that it is
    /// none of those who are served. A subtraction and a branch
    /// for the others; no allocation, and never a wait.
    #[inline]
    pub fn note(&mut self, name: impl FnOnce() -> Option<Name>, client: IpAddr) {
        self.left -= 1;
        if self.left > 0 {
            return;
        }
        self.left = self.gap();
        if let Some(name) = name() {
            self.sample(&name, client);
        }
    }

    /// Writes a query down.
    #[cold]
    fn sample(&mut self, name: &Name, client: IpAddr) {
        let Some(ring) = &self.ring else { return };
        let mut entries = match ring.entries.try_lock() {
            Ok(entries) => entries,
            Err(TryLockError::Poisoned(entries)) => entries.into_inner(),
            Err(TryLockError::WouldBlock) => {
                ring.skipped.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let Entries { entries, room, next } = &mut *entries;
        if entries.len() < *room {
            entries.push((*name, client));
        } else if let Some(entry) = entries.get_mut(*next) {
            *entry = (*name, client);
            *next = (*next + 1) % *room;
        }
    }

    /// Queries until the next sample, 1 to twice [`ONE_IN`] less one, so that on average it is [`ONE_IN`].
    ///
    /// Not always the same: a client that asks for 64 names in turn would have one of them sampled for ever.
    fn gap(&mut self) -> u32 {
        if self.ring.is_none() {
            return u32::MAX;
        }
        // Xorshift (Marsaglia 2003, 13-17-5): whole period but 0, three shifts; nobody gains by guessing it.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        1 + self.random % (2 * ONE_IN - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::testing::name;

    /// The client whose number it is.
    fn client(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    /// The number of a client.
    fn number(addr: IpAddr) -> u32 {
        match addr {
            IpAddr::V4(addr) => addr.to_bits(),
            IpAddr::V6(addr) => panic!("{addr}"),
        }
    }

    #[test]
    fn one_in_so_many_is_remembered_and_the_oldest_goes() {
        let recent = Recent::new(1000, 1);
        let mut recorder = recent.recorder();
        assert_eq!(recent.snapshot(), []);
        let name = name("www.example.com");
        for query in 0..10_000 {
            recorder.note(|| Some(name), client(query));
        }
        let some = recent.snapshot();
        assert!((110..210).contains(&some.len()), "{}", some.len());
        for query in 10_000..200_000 {
            recorder.note(|| Some(name), client(query));
        }
        let full = recent.snapshot();
        assert_eq!(full.len(), 1000);
        assert!(full.iter().all(|(asked, _)| *asked == name));
        assert!(full.is_sorted_by_key(|(_, addr)| number(*addr)), "from the oldest to the newest");
        let oldest = number(full[0].1);
        // A thousand samples are some 64,000 queries.
        assert!((130_000..142_000).contains(&oldest), "{oldest}");
        assert!(number(full[999].1) >= 200_000 - 2 * ONE_IN);
        assert_eq!(recent.skipped(), 0);
    }

    #[test]
    fn a_steady_rhythm_is_not_mistaken_for_the_whole() {
        let recent = Recent::new(100_000, 1);
        let mut recorder = recent.recorder();
        for query in 0..64_000 {
            recorder.note(|| Some(Name::ROOT), client(query % ONE_IN));
        }
        let mut counts = [0; ONE_IN as usize];
        recent.snapshot().iter().for_each(|(_, addr)| counts[number(*addr) as usize] += 1);
        // Sixteen each would be even.
        assert!(counts.iter().all(|count| (2..60).contains(count)), "{counts:?}");
    }

    #[test]
    fn recorders_share_the_room_and_their_rings_outlive_them() {
        let recent = Recent::new(1000, 4);
        for worker in 0..4_u32 {
            let mut recorder = recent.recorder();
            for _ in 0..100_000 {
                recorder.note(|| Some(Name::ROOT), client(worker));
            }
        }
        let workers: Vec<u32> = recent.snapshot().iter().map(|(_, addr)| number(*addr)).collect();
        let expected: Vec<u32> = (0..4).flat_map(|worker| [worker; 250]).collect();
        assert_eq!(workers, expected);
        // However many there are, each has some room.
        assert_eq!(Recent::new(10, 100).shared.ring, MIN_RING);
    }

    #[test]
    fn who_reads_holds_up_nobody() {
        let recent = Recent::new(1000, 1);
        let mut recorder = recent.recorder();
        let ring = recent.rings().remove(0);
        let reading = ring.entries.lock().unwrap();
        for query in 0..10_000 {
            recorder.note(|| Some(Name::ROOT), client(query));
        }
        assert_eq!(reading.entries.len(), 0);
        drop(reading);
        assert!(recent.skipped() > 100 && recent.snapshot().is_empty());
        for query in 0..1000 {
            recorder.note(|| Some(Name::ROOT), client(query));
        }
        assert!(!recent.snapshot().is_empty());
    }

    #[test]
    fn several_threads_share_one() {
        let recent = Recent::new(10_000, 1);
        let shared = SharedRecorder::new(recent.recorder());
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let shared = &shared;
                scope.spawn(move || {
                    (0..64_000).for_each(|_| shared.note(|| Some(Name::ROOT), client(worker)))
                });
            }
        });
        // Which numbers are sampled does not depend on who counts, and nobody reads meanwhile.
        let expected = (0..256_000).filter(|query| scattered(*query).is_multiple_of(ONE_IN)).count();
        assert!((3800..4200).contains(&expected), "{expected}");
        assert_eq!((recent.snapshot().len(), recent.skipped()), (expected, 0));
    }

    #[test]
    fn nothing_is_recorded_where_nothing_is_wanted() {
        let recent = Recent::new(0, 4);
        for mut recorder in [recent.recorder(), Recorder::off()] {
            for query in 0..1000 {
                recorder.note(|| Some(Name::ROOT), client(query));
            }
            // However long it runs.
            recorder.left = 1;
            recorder.note(|| Some(Name::ROOT), client(0));
            recorder.note(|| Some(Name::ROOT), client(0));
        }
        assert_eq!((recent.snapshot(), recent.rings().len()), (Vec::new(), 0));
    }

    #[test]
    fn nothing_is_allocated_beyond_the_ring() {
        let recent = Recent::new(100, 1);
        let mut recorder = recent.recorder();
        let ring = recent.rings().remove(0);
        let before = ring.entries.lock().unwrap().entries.as_ptr();
        for query in 0..20_000 {
            recorder.note(|| Some(Name::ROOT), client(query));
        }
        let entries = ring.entries.lock().unwrap();
        assert_eq!((entries.entries.as_ptr(), entries.entries.len()), (before, 100));
    }
}
