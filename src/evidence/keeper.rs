//! What the two threads do: one counts what was written down, the other one writes what was counted.
//!
//! They meet at a desk with room for one tally. The counting thread lays its tally there when it is time and the desk is empty; as long as
//! it is not, because the disk is slow, full or gone, it goes on counting in its own, which grows coarser and stays exact. So nobody
//! who answers ever waits for a disk, and nothing is lost before the process ends, or a thread breaks off, which is counted.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::client::Pseudonyms;
use super::store::{Left, Store, StoreError};
use super::tally::{Coarse, Lens, Seed, Tally};
use super::{PERIOD_DAYS, day_of};
use crate::clients::Privacy;
use crate::clock::Clock;
use crate::orders::time;
use crate::resolver::Current;
use crate::resolver::sightings::Sightings;
use crate::time::UnixSeconds;

/// How often the counting thread looks for what nobody wakes it for.
const LOOK: Duration = Duration::from_millis(500);
/// What may be lost beside what is not flushed: a batch that is handed over once a second, and the looks at it.
const ON_THE_WAY_S: i64 = 2;
/// How often at most a failed flush is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What is decided about evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How much of a client is kept, unless its group says otherwise.
    pub privacy: Privacy,
    /// How often it is written.
    pub flush: Duration,
    /// For how many days it is kept.
    pub keep_days: u32,
    /// Octets of the file at most.
    pub max_octets: u64,
    /// Octets of memory at most.
    pub memory: u64,
}

/// Keeps evidence.
pub struct Keeper {
    sightings: Sightings,
    current: Arc<Current>,
    clock: Arc<dyn Clock>,
    settings: Mutex<Settings>,
    counting: Mutex<Counting>,
    /// What waits to be written, if anything does.
    desk: Mutex<Option<Arc<Tally>>>,
    changed: Condvar,
    store: Mutex<Store>,
    numbers: Numbers,
    /// What cannot be written and why; none if all goes well. True if that is news.
    tell: Box<Tell>,
}

/// Takes what cannot be written and why, or that all goes well; true if that is news.
pub type Tell = dyn Fn(Option<&str>) -> bool + Send + Sync;

/// What the counting thread alone has.
struct Counting {
    tally: Tally,
    pseudonyms: Pseudonyms,
    /// When its tally is to be written.
    due: Instant,
    /// How many were missed when that was last looked at.
    missed: u64,
}

/// Numbers that are told; they only grow.
#[derive(Debug, Default)]
struct Numbers {
    seen: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
    flushes: AtomicU64,
    failures: AtomicU64,
    trimmed: AtomicU64,
    octets: AtomicU64,
    last: AtomicU64,
    coarse: Mutex<Coarse>,
}

/// How evidence fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fares {
    /// Queries that were counted.
    pub seen: u64,
    /// Those of them that are in the database.
    pub written: u64,
    /// Those that never will be.
    pub lost: u64,
    /// Times that something was written.
    pub flushes: u64,
    /// Times that something could not be.
    pub failures: u64,
    /// Sightings that made room for others.
    pub trimmed: u64,
    /// Octets of the database.
    pub octets: u64,
    /// When it was written last; 0 if this process did not yet.
    pub last: UnixSeconds,
    /// Queries of which less is known than could be.
    pub coarse: Coarse,
}

impl Keeper {
    /// One that keeps in that file what orders decided of the queries of `current`'s clients.
    pub fn new(
        file: PathBuf,
        settings: Settings,
        (sightings, current): (Sightings, Arc<Current>),
        clock: Arc<dyn Clock>,
        tell: Box<Tell>,
    ) -> Keeper {
        let seed = Seed::at(clock.now().wall);
        sightings.hash_by(seed.key);
        let tally = Tally::new(share(&settings), seed);
        let due = Instant::now() + settings.flush;
        Keeper {
            sightings,
            current,
            clock,
            settings: Mutex::new(settings),
            counting: Mutex::new(Counting { tally, pseudonyms: Pseudonyms::default(), due, missed: 0 }),
            desk: Mutex::default(),
            changed: Condvar::new(),
            store: Mutex::new(Store::new(file, settings.max_octets, settings.keep_days)),
            numbers: Numbers::default(),
            tell,
        }
    }

    /// Opens the database, and says what an earlier process left of it and what it may have lost.
    pub fn open(&self) {
        let at = self.clock.now().wall;
        let mut store = lock(&self.store);
        match store.begin(self.at_risk_s()) {
            Ok((left, damaged)) => {
                if let Some(damaged) = damaged {
                    tracing::error!("evidence: {damaged}");
                }
                tracing::info!("evidence is kept in {}", store.path().display());
                say_left(left);
                // What is counted from now on can be put together with what was.
                if let Some(seed) = store.seed(at) {
                    lock(&self.counting).tally = Tally::new(share(&self.settings()), seed);
                }
                self.numbers.octets.store(store.octets(), Ordering::Relaxed);
            }
            Err(error) => self.fails(&store, &error),
        }
    }

    /// Goes by these settings from now on; memory is what it was.
    pub fn follow(&self, settings: Settings) {
        let mut held = lock(&self.settings);
        *held = Settings { memory: held.memory, ..settings };
    }

    /// Counts what is written down, for ever.
    pub fn count(&self) -> ! {
        self.sightings.count_here();
        loop {
            let due = self.count_once();
            let left = due.saturating_duration_since(Instant::now());
            std::thread::park_timeout(left.clamp(Duration::from_millis(1), LOOK));
        }
    }

    /// Writes what is counted, for ever.
    pub fn write(&self) -> ! {
        loop {
            let mut desk = lock(&self.desk);
            while desk.is_none() {
                desk = self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
            }
            drop(desk);
            if !self.write_waiting() {
                std::thread::sleep(AGAIN.min(self.settings().flush));
            }
        }
    }

    /// Counts and writes what is left, once nobody answers any more, and says so in the database.
    pub fn end(&self) {
        self.sightings.gather();
        self.count_batches();
        let mut counting = lock(&self.counting);
        let seed = counting.tally.seed();
        let last = std::mem::replace(&mut counting.tally, Tally::new(0, seed));
        drop(counting);
        let mut all = self.write_waiting() || self.gives_up();
        if last.queries() > 0 {
            *lock(&self.desk) = Some(Arc::new(last));
            all &= self.write_waiting() || self.gives_up();
        }
        let mut store = lock(&self.store);
        if all && let Err(error) = store.end() {
            tracing::warn!("{}: it could not be closed ({error})", store.path().display());
        }
    }

    /// How it fares.
    pub fn fares(&self) -> Fares {
        let Numbers { seen, written, lost, flushes, failures, trimmed, octets, last, coarse } = &self.numbers;
        let [seen, written, lost, flushes, failures, trimmed, octets, last] =
            [seen, written, lost, flushes, failures, trimmed, octets, last]
                .map(|number| number.load(Ordering::Relaxed));
        let last = UnixSeconds::try_from(last).unwrap_or(UnixSeconds::MAX);
        let coarse = *lock(coarse);
        Fares { seen, written, lost, flushes, failures, trimmed, octets, last, coarse }
    }

    /// Counts what was handed over, and lays the tally on the desk if it is time; when it will be.
    fn count_once(&self) -> Instant {
        self.count_batches();
        let mut counting = lock(&self.counting);
        let now = Instant::now();
        if now < counting.due {
            return counting.due;
        }
        counting.due = now + self.settings().flush;
        drop(counting);
        self.sightings.gather();
        self.count_batches();
        let mut counting = lock(&self.counting);
        self.lay_down(&mut counting);
        counting.due
    }

    /// Lays the tally on the desk if there is anything in it, and room for it.
    fn lay_down(&self, counting: &mut Counting) {
        let mut desk = lock(&self.desk);
        if counting.tally.queries() == 0 || desk.is_some() {
            return;
        }
        let at = self.clock.now().wall;
        let mut seed = counting.tally.seed();
        if seed.period != day_of(at) / PERIOD_DAYS {
            seed = Seed::at(at);
            self.sightings.hash_by(seed.key);
        }
        let next = Tally::new(share(&self.settings()), seed);
        let tally = std::mem::replace(&mut counting.tally, next);
        *desk = Some(Arc::new(tally));
        drop(desk);
        self.changed.notify_all();
    }

    /// Counts all batches that were handed over.
    fn count_batches(&self) {
        let mut counting = lock(&self.counting);
        let Counting { tally, pseudonyms, missed, .. } = &mut *counting;
        let before = tally.coarse();
        let privacy = self.settings().privacy;
        let mut seen = 0;
        while let Some(batch) = self.sightings.next() {
            let generation = self.current.load();
            let mut lens = Lens { clients: &generation.clients, privacy, pseudonyms: &mut *pseudonyms };
            seen += tally.add(&batch, &mut lens);
            self.sightings.take_back(batch);
        }
        let all_missed = self.sightings.missed();
        let newly = all_missed.saturating_sub(*missed);
        tally.add_unknown(newly, self.clock.now().wall);
        *missed = all_missed;
        self.numbers.seen.fetch_add(seen + newly, Ordering::Relaxed);
        lock(&self.numbers.coarse).add(&tally.coarse().since(&before));
    }

    /// Writes what waits, if anything does; false if that cannot be now.
    fn write_waiting(&self) -> bool {
        // Whoever has the store is alone with what waits: it is written once.
        let mut store = lock(&self.store);
        let Some(tally) = lock(&self.desk).clone() else { return true };
        let written = self.flush(&mut store, &tally);
        if written {
            *lock(&self.desk) = None;
        }
        written
    }

    /// Gives up what waits. Never true: not all was written.
    fn gives_up(&self) -> bool {
        let queries = lock(&self.desk).take().map_or(0, |tally| tally.queries());
        self.numbers.lost.fetch_add(queries, Ordering::Relaxed);
        tracing::error!("evidence of {queries} queries is lost: it could not be written before the end");
        false
    }

    /// Writes a tally; false if that cannot be now, which is told once.
    fn flush(&self, store: &mut Store, tally: &Tally) -> bool {
        let at = self.clock.now().wall;
        let Settings { max_octets, keep_days, .. } = self.settings();
        store.bound(max_octets, keep_days);
        let done = store.write(tally, at, self.at_risk_s());
        self.numbers.trimmed.store(store.trimmed(), Ordering::Relaxed);
        self.numbers.octets.store(store.octets(), Ordering::Relaxed);
        match done {
            Ok(said) => {
                if let Some(said) = said {
                    tracing::error!("evidence: {said}");
                }
                self.numbers.flushes.fetch_add(1, Ordering::Relaxed);
                self.numbers.written.fetch_add(tally.queries(), Ordering::Relaxed);
                self.numbers.last.store(u64::try_from(at).unwrap_or_default(), Ordering::Relaxed);
                if (self.tell)(None) {
                    tracing::info!("evidence is written again");
                }
                say_coarse(&tally.coarse());
                true
            }
            Err(error) => {
                self.fails(store, &error);
                false
            }
        }
    }

    /// Takes note of a failure, and says it once.
    fn fails(&self, store: &Store, error: &StoreError) {
        self.numbers.failures.fetch_add(1, Ordering::Relaxed);
        let what =
            format!("{} cannot be written ({error}); it is counted on in memory", store.path().display());
        if (self.tell)(Some(&what)) {
            tracing::error!("evidence: {what}");
        }
    }

    /// How many seconds of evidence a kill may cost.
    fn at_risk_s(&self) -> i64 {
        let flush_s = self.settings().flush.as_secs();
        i64::try_from(flush_s).unwrap_or(i64::MAX).saturating_add(ON_THE_WAY_S)
    }

    /// The settings as they are now.
    fn settings(&self) -> Settings {
        *lock(&self.settings)
    }
}

impl Coarse {
    /// What has come to it since.
    fn since(self, before: &Coarse) -> Coarse {
        Coarse {
            networks: self.networks - before.networks,
            nobody: self.nobody - before.nobody,
            nameless: self.nameless - before.nameless,
            bare: self.bare - before.bare,
            unsketched: self.unsketched - before.unsketched,
            others: self.others - before.others,
        }
    }
}

/// A lock of what is whole whatever happened to who held it.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Octets for one of two tallies: one is counted in while the other one is written. The rest is for batches under way, sketches of
/// those who answer, tables that grow or become coarser, keys in order, and what a database needs: measured under a flood.
fn share(settings: &Settings) -> usize {
    usize::try_from(settings.memory / 5).unwrap_or(usize::MAX)
}

/// Says what an earlier process may have lost.
fn say_left(left: Left) {
    if !left.clean {
        let Left { at_risk_s, written, .. } = left;
        let last = if written > 0 { format!("at {}", time::show(written)) } else { "never".to_owned() };
        tracing::warn!(
            "the server did not end in good order last time: evidence of its last {at_risk_s} seconds may be missing, more only if it \
             said then that evidence could not be written; it was last written {last}"
        );
    }
}

/// Says that less is known than could be.
fn say_coarse(coarse: &Coarse) {
    if *coarse != Coarse::default() {
        let named = coarse.named().into_iter().filter(|(_, count)| *count > 0);
        let named: Vec<String> = named.map(|(what, count)| format!("{what}={count}")).collect();
        tracing::warn!(
            "evidence.memory was full: counts are exact, but of some queries it is not known who asked, or for what ({})",
            named.join(" ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::tests::AT;
    use super::*;
    use crate::clock::Now;
    use crate::policy::{Action, Hit, MatchKind, Order, Policy, Scope, Trigger, TriggerType};
    use crate::resolver::outcome::Request;
    use crate::serve::Client;
    use crate::transport::Transport;
    use rusqlite::Connection;
    use std::fs;
    use std::net::IpAddr;

    /// It is always then.
    struct Then;

    impl Clock for Then {
        fn now(&self) -> Now {
            Now { mono: Duration::ZERO, wall: AT }
        }
    }

    /// What was said of it, in its order.
    type Told = Arc<Mutex<Vec<Option<String>>>>;

    /// A keeper in a folder, and what it was told to say.
    fn keeper(folder: &std::path::Path, memory: u64) -> (Keeper, Told) {
        let settings = Settings {
            privacy: Privacy::Full,
            flush: Duration::ZERO,
            keep_days: 90,
            max_octets: 1 << 30,
            memory,
        };
        let told = Told::default();
        let tell = {
            let told = Arc::clone(&told);
            move |what: Option<&str>| {
                let mut told = told.lock().unwrap();
                let news = told.last().map_or(what.is_some(), |last| last.as_deref() != what);
                if news {
                    told.push(what.map(str::to_owned));
                }
                news
            }
        };
        let of = (Sightings::on(1 << 30), Current::of(Policy::empty()));
        (Keeper::new(folder.join(super::super::FILE), settings, of, Arc::new(Then), Box::new(tell)), told)
    }

    /// Has so many queries of so many clients for so many names seen.
    fn ask(keeper: &Keeper, queries: u32, clients: u32, names: u32) {
        let scope = Scope::new(MatchKind::Exact);
        let order = Order { scopes: vec![scope], ..Order::new("court") };
        let trigger = Trigger { labels: 2, kind: MatchKind::Exact, on: TriggerType::Qname, prefix: None };
        let hit = Hit { order: &order, scope: &order.scopes[0], trigger, action: Action::SINKHOLE, zone: 0 };
        let mut scribe = keeper.sightings.scribe().unwrap();
        for query in 0..queries {
            let addr = IpAddr::from((0x0a00_0000 + query % clients).to_be_bytes());
            let label = format!("n{}", query % names);
            let question = [&[label.len() as u8], label.as_bytes(), b"\x04test\0\0\x01\0\x01"].concat();
            let client = Client { addr: (addr, 4000).into(), transport: Transport::Udp };
            scribe.note(
                &Request {
                    client,
                    question: &question,
                    at: AT,
                    packet: &[],
                    took: [std::time::Duration::ZERO; 2],
                },
                &hit,
            );
            if query % 50_000 == 0 {
                keeper.count_batches();
            }
        }
        drop(scribe);
        keeper.count_batches();
    }

    /// Queries in the database: by key, and by day.
    fn sums(folder: &std::path::Path) -> (u64, u64) {
        let connection = Connection::open(folder.join(super::super::FILE)).unwrap();
        let sum = |table: &str| {
            let sql = format!("SELECT coalesce(sum(count), 0) FROM {table}");
            connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
        };
        (sum("sighting"), sum("day"))
    }

    #[test]
    fn a_flood_is_counted_exactly_in_little_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (keeper, _) = keeper(folder.path(), 1 << 20);
        keeper.open();
        for _ in 0..3 {
            ask(&keeper, 100_000, 30_000, 1000);
            keeper.count_once();
            assert!(keeper.write_waiting());
        }
        ask(&keeper, 777, 9, 9);
        keeper.end();
        let fares = keeper.fares();
        assert_eq!((fares.seen, fares.written, fares.lost), (300_777, 300_777, 0));
        assert_ne!(fares.coarse, Coarse::default());
        let (by_key, by_day) = sums(folder.path());
        assert_eq!((by_key + fares.coarse.bare, by_day), (300_777, 300_777));
        let connection = Connection::open(folder.path().join(super::super::FILE)).unwrap();
        let octets: Vec<u8> = connection.query_row("SELECT sketch FROM day", [], |row| row.get(0)).unwrap();
        let clients = crate::sketch::Sketch::from_octets(&octets).unwrap().estimate();
        assert!((29_400..=30_600).contains(&clients), "{clients}");
    }

    #[test]
    fn a_disk_that_is_gone_costs_nothing_once_it_is_back() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("state");
        let (keeper, told) = keeper(&folder, 1 << 20);
        keeper.open();
        ask(&keeper, 1000, 10, 10);
        keeper.count_once();
        assert!(!keeper.write_waiting());
        // The desk is taken: it is counted on.
        ask(&keeper, 500, 10, 10);
        keeper.count_once();
        assert!(!keeper.write_waiting());
        assert_eq!((keeper.fares().seen, keeper.fares().written, keeper.fares().failures), (1500, 0, 3));
        assert_eq!(told.lock().unwrap().len(), 1, "it is said once");
        fs::create_dir(&folder).unwrap();
        assert!(keeper.write_waiting());
        keeper.count_once();
        assert!(keeper.write_waiting());
        assert_eq!(sums(&folder), (1500, 1500));
        assert_eq!(told.lock().unwrap().last(), Some(&None));
        // At the end there is none again.
        ask(&keeper, 7, 1, 1);
        fs::remove_dir_all(&folder).unwrap();
        keeper.end();
        assert_eq!((keeper.fares().seen, keeper.fares().written, keeper.fares().lost), (1507, 1500, 7));
    }

    #[test]
    fn clients_are_the_same_ones_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let (keeper, _) = keeper(folder.path(), 1 << 20);
            keeper.open();
            ask(&keeper, 100, 100, 1);
            keeper.end();
        }
        let connection = Connection::open(folder.path().join(super::super::FILE)).unwrap();
        let sketches: i64 = connection.query_row("SELECT count(*) FROM day", [], |row| row.get(0)).unwrap();
        assert_eq!((sketches, sums(folder.path())), (1, (200, 200)));
    }
}
