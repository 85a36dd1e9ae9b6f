//! Names of our own while they serve: their files are looked after, and what they state is put in force, without a reload of orders.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::agenda::{Again, Agenda, Cause, Outcome, Work, drive};
use super::aside::{Aside, Worker};
use super::health::{About, Health};
use super::local_files::LocalFiles;
use super::stamps::Stamps;
use super::watch::Watch;
use crate::clock::Clock;
use crate::local::{LocalNames, Special, Stated};
use crate::log;
use crate::orders::writers::Writers;
use crate::problem::Problem;
use crate::resolver::{Current, Generation};
use crate::stated::gather::{Gathered, gather};
use crate::stated::row::Row;
use crate::time::UnixSeconds;

/// How long it must be quiet before a change is read, so that many of them at once are one.
const QUIET: Duration = Duration::from_millis(60);
/// How long changes that never cease can postpone that.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// Files that a line about troubles names.
const MAX_NAMED: usize = 3;

/// What the configuration says of local names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configured {
    /// `[[local]]`.
    pub rows: Vec<Row>,
    /// What is special.
    pub special: Special,
}

/// How names of our own are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalCounts {
    /// Zones stated.
    pub zones: usize,
    /// Records stated.
    pub records: usize,
    /// Names from leases.
    pub lease_names: usize,
    /// Leases whose names are not answered.
    pub refused_names: usize,
    /// Files.
    pub files: usize,
    /// Files with which something is wrong.
    pub bad_files: usize,
}

/// Names of our own, and where they come from.
pub struct LocalSources {
    /// Who answers them.
    current: Arc<Current>,
    /// What time it is.
    clock: Arc<dyn Clock>,
    /// What is in force of the configuration: changed along with the generation.
    configured: Mutex<Arc<Configured>>,
    /// What was read last.
    files: Mutex<LocalFiles>,
    /// How it is.
    counts: Mutex<LocalCounts>,
    /// Has the files looked at.
    poke: mpsc::Sender<()>,
}

/// What comes into force with another configuration.
pub struct Prepared {
    /// What it says.
    configured: Arc<Configured>,
    /// The names; none if they are those that serve.
    names: Option<Arc<LocalNames>>,
}

impl LocalSources {
    /// None yet; whoever has the receiver is to [`run`] it.
    pub fn new(current: Arc<Current>, clock: Arc<dyn Clock>) -> (Arc<LocalSources>, mpsc::Receiver<()>) {
        let (poke, pokes) = mpsc::channel(1);
        let (configured, files, counts) = Default::default();
        (Arc::new(LocalSources { current, clock, configured, files, counts, poke }), pokes)
    }

    /// Reads the files of another configuration, and makes the names that go with it; all stays as it is.
    pub fn prepare(&self, configured: Configured) -> Prepared {
        if *self.configured() == Arc::new(configured.clone()) {
            return Prepared { configured: self.configured().clone(), names: None };
        }
        // What was good of a file that is broken now is good for this configuration, too.
        let mut files = lock(&self.files).clone();
        files.refresh(&configured.rows, false, Instant::now());
        let now = self.clock.now().wall;
        let gathered = gather(&configured.rows, &|source| files.content(source), now);
        let names = Arc::new(LocalNames::compile(&configured.special, gathered.stated));
        Prepared { configured: Arc::new(configured), names: Some(names) }
    }

    /// The names that go with what was prepared, which is in force from now on. Called where the next generation is made.
    pub fn take(&self, prepared: &Prepared, serving: &Arc<LocalNames>) -> Arc<LocalNames> {
        *self.configured() = Arc::clone(&prepared.configured);
        prepared.names.as_ref().unwrap_or(serving).clone()
    }

    /// Has the files looked at.
    pub fn look(&self) {
        // A full channel holds one that has not begun yet.
        let _ = self.poke.try_send(());
    }

    /// How it is.
    pub fn counts(&self) -> LocalCounts {
        lock(&self.counts).clone()
    }

    /// What is configured; whole whatever happened to who held it.
    fn configured(&self) -> MutexGuard<'_, Arc<Configured>> {
        lock(&self.configured)
    }
}

/// Locks what is whole whatever happened to who held it.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that looking after local names takes.
pub struct LocalKeeper {
    sources: Arc<LocalSources>,
    watch: Option<Watch>,
    stamps: Stamps,
    /// Told of by the watcher and by stamps; nobody asks it, for files here are told to be whole by other signs.
    writers: Arc<Writers>,
    health: Arc<Health>,
    /// Keys of the hash, so that nobody can make two states that have the same.
    keys: RandomState,
    /// What was stated when it was last put in force, and by which configuration.
    stated: Option<(u64, Arc<Configured>)>,
    /// When the next name ends.
    next_end: Option<UnixSeconds>,
    /// What was said to be wrong.
    told: Vec<Problem>,
}

impl LocalKeeper {
    /// A keeper that has looked for the first time: what is stated is in force.
    pub fn new(sources: Arc<LocalSources>, health: Arc<Health>) -> (LocalKeeper, Option<mpsc::Receiver<()>>) {
        let writers = Arc::<Writers>::default();
        // What it fails in is said of the other watcher, which fails alike; stamps are looked at in any case.
        let watching = Watch::new(Arc::default(), Arc::clone(&writers)).ok();
        let (watch, hints) = watching.unzip();
        let mut keeper = LocalKeeper {
            sources,
            watch,
            stamps: Stamps::default(),
            writers,
            health,
            keys: RandomState::new(),
            stated: None,
            next_end: None,
            told: Vec::new(),
        };
        keeper.cover_and_read(false);
        (keeper, hints)
    }

    /// Watches, and reads what has changed; once more if that led to folders nobody watched.
    fn cover_and_read(&mut self, again: bool) -> Outcome {
        let mut outcome = Outcome::default();
        for _ in 0..2 {
            outcome = self.read(again);
            let files = self.files();
            if !self.watch.as_mut().is_some_and(|watch| watch.cover(&files)) {
                break;
            }
        }
        outcome
    }

    /// Reads what has changed, and puts what is stated then in force if it is other than before.
    fn read(&mut self, again: bool) -> Outcome {
        let configured = self.sources.configured().clone();
        let wall = self.sources.clock.now().wall;
        let sources = Arc::clone(&self.sources);
        let (refreshed, gathered) = {
            let mut files = lock(&sources.files);
            let refreshed = files.refresh(&configured.rows, again, Instant::now());
            let has_ended = self.next_end.is_some_and(|end| end <= wall);
            let is_other = self.stated.as_ref().is_none_or(|(_, stated)| !Arc::ptr_eq(stated, &configured));
            let gathered = (refreshed.changed || has_ended || is_other)
                .then(|| gather(&configured.rows, &|source| files.content(source), wall));
            if let Some(gathered) = &gathered {
                self.tell(&files, gathered);
            }
            (refreshed, gathered)
        };
        if let Some(gathered) = gathered {
            self.put(gathered, configured);
        }
        let ends =
            self.next_end.map(|end| Duration::from_secs(u64::try_from(end - wall).unwrap_or_default()));
        let soonest = refreshed.again.into_iter().chain(ends).min();
        let again = match soonest {
            None if refreshed.is_wanting => Again::Later,
            None => Again::No,
            Some(time) => Again::In(time),
        };
        Outcome { changed: false, again, more: refreshed.is_fresh }
    }

    /// Puts what is stated in force.
    fn put(&mut self, gathered: Gathered, configured: Arc<Configured>) {
        let Gathered { stated, next_end, lease_names, refused_names, .. } = gathered;
        self.next_end = next_end;
        let (files, bad_files) = lock(&self.sources.files).count();
        let (zones, records) = (stated.zones.len(), stated.records.len());
        *lock(&self.sources.counts) =
            LocalCounts { zones, records, lease_names, refused_names, files, bad_files };
        let hash = self.hash(&stated);
        if self.stated.as_ref().is_some_and(|(before, by)| *before == hash && Arc::ptr_eq(by, &configured)) {
            return;
        }
        let names = Arc::new(LocalNames::compile(&configured.special, stated));
        let sources = Arc::clone(&self.sources);
        sources.current.change(|serving| {
            // Another configuration that came meanwhile has names of its own, and this is looked at again.
            match Arc::ptr_eq(&sources.configured(), &configured) {
                true => Generation { local: names, ..serving.clone() },
                false => serving.clone(),
            }
        });
        self.stated = Some((hash, configured));
    }

    /// Says what is wrong that was not wrong before.
    fn tell(&mut self, files: &LocalFiles, gathered: &Gathered) {
        let all: Vec<Problem> = files.problems().chain(&gathered.problems).cloned().collect();
        let new: Vec<Problem> = all.iter().filter(|problem| !self.told.contains(problem)).cloned().collect();
        log::problems(&new);
        let mended = self.told.iter().filter(|problem| !all.contains(problem)).count();
        if mended > 0 && all.is_empty() {
            tracing::info!("all problems with files of local names are mended");
        }
        self.told = all;
        let troubles = files.troubles();
        let named: Vec<String> =
            troubles.iter().take(MAX_NAMED).map(|one| format!("{}: {}", one.file, one.message)).collect();
        let more = match troubles.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!("; and {more} more files"),
        };
        let what = format!("{}{more}", named.join("; "));
        self.health.say(About::Local, (!troubles.is_empty()).then_some(&what));
    }

    /// All whose change is a reason to read.
    fn files(&self) -> Vec<PathBuf> {
        lock(&self.sources.files).paths()
    }

    /// The hash of all that is stated.
    fn hash(&self, stated: &Stated) -> u64 {
        let mut hasher = self.keys.build_hasher();
        for zone in &stated.zones {
            hasher.write(zone.as_wire());
        }
        for record in &stated.records {
            hasher.write(record.owner.as_wire());
            hasher.write_u16(record.rtype.0);
            hasher.write_u32(record.ttl_s);
            hasher.write_usize(record.rdata.len());
            hasher.write(&record.rdata);
        }
        hasher.finish()
    }
}

impl Worker for LocalKeeper {
    fn work(&mut self, work: Work) -> Outcome {
        match work {
            Work::Look => {
                let (files, now) = (self.files(), Instant::now());
                self.writers.tidy(now);
                let changed = self.stamps.look(&files, &self.writers, now);
                // A clock that was set brings ends nearer.
                let wall = self.sources.clock.now().wall;
                let has_ended = self.next_end.is_some_and(|end| end <= wall);
                Outcome { changed: changed || has_ended, ..Outcome::default() }
            }
            Work::Reload(Cause::Change) => self.cover_and_read(false),
            Work::Reload(Cause::Request) | Work::Rest => self.cover_and_read(true),
        }
    }

    fn broke_off(&mut self) -> Outcome {
        let what =
            "reading files of local names broke off by a fault of this program; what was in force stays so";
        self.health.say(About::Local, Some(what));
        tracing::error!("{what}: it is tried again");
        Outcome { changed: true, again: Again::Later, more: false }
    }
}

/// Looks after the files of local names until `pokes` closes.
pub async fn run(keeper: LocalKeeper, hints: Option<mpsc::Receiver<()>>, pokes: mpsc::Receiver<()>) {
    let mut agenda = Agenda::new(true, true, Duration::ZERO).settling(QUIET, LONGEST_WAIT);
    // Ends are known once it was looked.
    agenda.hint(Duration::ZERO);
    drive(agenda, Aside::new(keeper), hints, pokes).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::policy::Policy;
    use std::fs;
    use std::sync::atomic::{AtomicI64, Ordering};
    use tokio::time::timeout;

    /// A clock whose wall time stands where it was put; time of its own goes on.
    struct Wall(AtomicI64);

    impl Clock for Wall {
        fn now(&self) -> Now {
            Now { mono: Duration::ZERO, wall: self.0.load(Ordering::SeqCst) }
        }
    }

    /// Names of our own with one file of leases.
    struct Case {
        dir: tempfile::TempDir,
        current: Arc<Current>,
        clock: Arc<Wall>,
        health: Arc<Health>,
        sources: Arc<LocalSources>,
        pokes: Option<mpsc::Receiver<()>>,
    }

    impl Case {
        /// Nothing is configured yet.
        fn new() -> Case {
            let dir = tempfile::tempdir().unwrap();
            let current = Current::of(Policy::not_ready());
            let clock = Arc::new(Wall(AtomicI64::new(1_700_000_000)));
            let (sources, pokes) = LocalSources::new(current.clone(), clock.clone());
            Case { dir, current, clock, health: Arc::default(), sources, pokes: Some(pokes) }
        }

        /// Puts a configuration with these files of leases in force.
        fn configure(&self, leases: &[&str]) {
            let leases = leases.iter().map(|name| self.dir.path().join(name)).collect();
            let rows = vec![Row { zone: "lan".parse().ok(), leases, ptr: false, ..Row::default() }];
            let prepared = self.sources.prepare(Configured { rows, ..Configured::default() });
            self.current.change(|serving| Generation {
                local: self.sources.take(&prepared, &serving.local),
                ..serving.clone()
            });
        }

        /// Writes leases of dnsmasq's: hosts, with their ends.
        fn write(&self, name: &str, hosts: &[(&str, i64)]) {
            let each = hosts.iter().zip(1..);
            let text: String = each
                .map(|((host, ends), number)| format!("{ends} x 192.168.1.{number} {host} *\n"))
                .collect();
            fs::write(self.dir.path().join(name), text).unwrap();
        }

        /// How many records are answered.
        fn records(&self) -> usize {
            self.current.load().local.records()
        }

        /// Waits until so many are.
        async fn until(&self, records: usize) {
            let there = async {
                while self.records() != records {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let came = timeout(Duration::from_secs(20), there).await;
            assert!(came.is_ok(), "{records} records, and there are {}", self.records());
        }
    }

    #[tokio::test]
    async fn what_files_state_is_in_force_while_they_change() {
        let mut case = Case::new();
        case.write("leases", &[("a", 0)]);
        case.configure(&["leases"]);
        assert_eq!(case.records(), 2, "before anybody is answered");
        let (keeper, hints) = LocalKeeper::new(case.sources.clone(), case.health.clone());
        let running = tokio::spawn(run(keeper, hints, case.pokes.take().unwrap()));
        let policy = case.current.policy();
        case.write("leases", &[("a", 0), ("b", 0), ("c", 1_700_000_005)]);
        case.until(6).await;
        assert_eq!(case.sources.counts().lease_names, 3);
        assert!(Arc::ptr_eq(&policy, &case.current.policy()), "orders were not read again");
        // A lease ends.
        case.clock.0.store(1_700_000_005, Ordering::SeqCst);
        case.until(4).await;
        // The file is taken away: what it said stays, and is said to.
        fs::remove_file(case.dir.path().join("leases")).unwrap();
        let told = async {
            while case.health.wrong().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), told).await.unwrap();
        assert!(case.health.wrong()[0].starts_with("local names: "), "{:?}", case.health.wrong());
        assert_eq!((case.records(), case.sources.counts().bad_files), (4, 1));
        // Another configuration takes its own files along.
        case.write("others", &[("x", 0)]);
        case.configure(&["others"]);
        assert_eq!(case.records(), 2);
        case.sources.look();
        case.write("others", &[("x", 0), ("y", 0)]);
        case.until(4).await;
        assert_eq!(case.health.wrong(), [""; 0]);
        running.abort();
    }

    #[tokio::test]
    async fn what_states_the_same_makes_no_other_generation() {
        let case = Case::new();
        case.write("leases", &[("a", 1_700_000_100)]);
        case.configure(&["leases"]);
        let (mut keeper, _) = LocalKeeper::new(case.sources.clone(), case.health.clone());
        let before = Arc::clone(&case.current.load().local);
        // It was renewed.
        case.write("leases", &[("a", 1_700_000_900)]);
        let outcome = keeper.work(Work::Reload(Cause::Request));
        assert_eq!(outcome.again, Again::In(Duration::from_secs(900)));
        assert!(Arc::ptr_eq(&before, &case.current.load().local));
        case.write("leases", &[("b", 1_700_000_900)]);
        keeper.work(Work::Reload(Cause::Request));
        assert!(!Arc::ptr_eq(&before, &case.current.load().local));
    }
}
