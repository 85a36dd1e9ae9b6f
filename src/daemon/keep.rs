//! What is cached, over restarts: a file in the state folder, read before anybody is answered and written aside.
//!
//! It is a copy and never the truth: whatever is wrong with it, or with the disk, costs answers that upstreams tell anew. It is written
//! when the server ends, and every few minutes for the sake of a kill, by a thread that gives way and holds no lock for longer than an
//! entry takes; beside its place, and into it once it is whole. What is read back is cached and no more: orders are before the cache on
//! every query, and review behind it, so that one which came meanwhile takes what it takes.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::cache::Cache;
use crate::cache::store::{Restored, Stored, Writer, Written};
use crate::clock::Clock;
use crate::config::Persist;
use crate::control::api;
use crate::control::api::types::KeptShown;
use crate::control::health::{About, Health};
use crate::orders::time;
use crate::owner;
use crate::resolver::{Current, Resolver};
use crate::system::{self, Mapped};

/// The file's name within the state folder.
const FILE: &str = "cache.store";
/// Where it stands until it is whole.
const BESIDE: &str = "cache.store.new";
/// The name it gets when it is of no use: the last one is kept, to be looked at.
const BAD_FILE: &str = "cache.store.bad";
/// How long reading may take: some millions of answers. What is not there by then is asked for like anything.
const MAX_READING: Duration = Duration::from_secs(2);
/// The most threads that read at one time.
const MAX_READERS: usize = 8;
/// Octets that it may have beside answers: origins, checksum.
const MAX_BESIDE: u64 = 64 << 10;
/// How soon it is written anew once something was forgotten: time for whoever forgets more.
const SOON: Duration = Duration::from_secs(5);

/// Keeps what is cached.
pub(super) struct Keeper {
    resolver: Arc<Resolver>,
    current: Arc<Current>,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
    /// The state folder, if there is one.
    folder: Option<PathBuf>,
    state: Mutex<State>,
    /// Told when it is to be written at another time than was thought.
    changed: Condvar,
    /// Held by whoever writes.
    writing: Mutex<()>,
}

/// When it is to be written, and how it was.
#[derive(Debug)]
struct State {
    persist: Persist,
    due: Instant,
    /// How often the file had to go: what was being written then does not take its place.
    removed: u64,
    /// How much had been asked and forgotten when it was written.
    seen: (u64, u64),
    kept: KeptShown,
}

/// Why what was kept is not used.
#[derive(Debug)]
enum Refused {
    /// There is none.
    Missing,
    /// It is right by itself, and of no use here and now.
    Unfit(String),
    /// Somebody should look at it.
    Bad(String),
}

impl Keeper {
    /// One of what is cached by that resolver, in that folder, if there is one.
    pub(super) fn new(
        resolver: &Arc<Resolver>,
        clock: Arc<dyn Clock>,
        health: Arc<Health>,
        folder: Option<PathBuf>,
        persist: Persist,
    ) -> Keeper {
        let file = folder.as_ref().map(|folder| folder.join(FILE).display().to_string());
        let kept = KeptShown { file: file.filter(|_| persist.on), ..KeptShown::default() };
        let due = Instant::now() + persist.every;
        Keeper {
            resolver: Arc::clone(resolver),
            current: resolver.current(),
            clock,
            health,
            folder,
            state: Mutex::new(State { persist, due, removed: 0, seen: (0, 0), kept }),
            changed: Condvar::new(),
            writing: Mutex::default(),
        }
    }

    /// Goes by this from now on.
    pub(super) fn follow(&self, persist: Persist) {
        let mut state = self.state();
        if std::mem::replace(&mut state.persist, persist) == persist {
            return;
        }
        state.due = Instant::now() + persist.every;
        state.seen = (0, 0);
        let file = self.folder.as_ref().map(|folder| folder.join(FILE).display().to_string());
        state.kept = KeptShown { file: file.filter(|_| persist.on), ..KeptShown::default() };
        if !persist.on {
            self.remove(&mut state);
            self.health.say(About::Cache, None);
        }
        self.changed.notify_all();
    }

    /// Takes in again what an earlier process left, and says what came of it; removes it if it is not to be kept.
    pub(super) fn restore(&self) {
        let Some(folder) = &self.folder else { return };
        let begun = Instant::now();
        let mut state = self.state();
        if !state.persist.on {
            return self.remove(&mut state);
        }
        drop(state);
        match self.read(&folder.join(FILE), begun) {
            Ok((restored, passed_s, late)) => {
                let mut state = self.state();
                state.seen = self.seen();
                state.kept.restored = restored.fresh.saturating_add(restored.expired);
                let late = if late { "; there was no time for all of it" } else { "" };
                let Restored { fresh, expired, old, .. } = restored;
                tracing::info!(
                    "what was cached {passed_s} s ago is cached again: {fresh} answers, {expired} that have expired beside them, \
                     {old} too old; it took {} ms{late}",
                    begun.elapsed().as_millis()
                );
            }
            Err(Refused::Missing) => {}
            Err(Refused::Unfit(why)) => tracing::info!("what was cached is not used again: {why}"),
            Err(Refused::Bad(why)) => {
                // If it cannot be moved it is found again by the next start, and said again.
                let _ = fs::rename(folder.join(FILE), folder.join(BAD_FILE));
                tracing::warn!(
                    "what was cached is not used again: {}: {why}; it is kept aside as {BAD_FILE}",
                    folder.join(FILE).display()
                );
            }
        }
    }

    /// Reads it: what came of it, how many seconds ago it was written, and whether time ran out.
    fn read(&self, path: &Path, begun: Instant) -> Result<(Restored, u64, bool), Refused> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Refused::Missing,
            _ => Refused::Unfit(format!("{} cannot be read: {error}", path.display())),
        };
        let generation = self.current.load();
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        owner::check(path, &metadata).map_err(|problem| Refused::Bad(problem.message))?;
        let most: u64 = generation.fetchers().map(|fetcher| fetcher.cache().max_bytes()).sum();
        if !metadata.is_file() || metadata.len() > most.saturating_add(MAX_BESIDE) {
            return Err(Refused::Bad("it is longer than all that may be cached".to_owned()));
        }
        // Nothing can be mapped of an empty one.
        let mapped = if metadata.len() > 0 { Some(Mapped::of(&file).map_err(failed)?) } else { None };
        let octets = mapped.as_ref().map_or(&[][..], AsRef::as_ref);
        let stored = Stored::read(octets).map_err(|why| Refused::Bad(why.to_string()))?;
        let now = self.clock.now();
        let passed_s = stored.passed_s(now.wall).ok_or_else(|| {
            let when = time::show(stored.at);
            Refused::Unfit(format!("it was written at {when}, which is yet to come by this machine's clock"))
        })?;
        let mut blocks: Vec<(&Cache, &[u8])> = Vec::new();
        for fetcher in generation.fetchers() {
            let own = stored.caches.iter().find(|stored| fetcher.origin().takes(&stored.origin));
            let own = own.into_iter().flat_map(|stored| &stored.blocks);
            blocks.extend(own.map(|block| (&**fetcher.cache(), *block)));
        }
        if blocks.is_empty() && stored.caches.iter().any(|stored| !stored.blocks.is_empty()) {
            return Err(Refused::Unfit("it is of other upstreams, or was taken by other rules".to_owned()));
        }
        let next = AtomicUsize::new(0);
        let take = || {
            let mut sum = Restored::default();
            while begun.elapsed() < MAX_READING
                && let Some((cache, block)) = blocks.get(next.fetch_add(1, Ordering::Relaxed))
            {
                sum += cache.restore(block, passed_s, now.mono);
            }
            sum
        };
        let readers = available_parallelism().map_or(1, usize::from).min(MAX_READERS).min(blocks.len());
        let restored = thread::scope(|scope| {
            let beside = |_| thread::Builder::new().name("restore".into()).spawn_scoped(scope, take).ok();
            // Who gets no thread does without.
            let others: Vec<_> = (1..readers).filter_map(beside).collect();
            let mut sum = take();
            // What a fault of ours keeps from being read is asked for anew.
            others.into_iter().for_each(|other| sum += other.join().unwrap_or_default());
            sum
        });
        Ok((restored, passed_s, next.into_inner() < blocks.len()))
    }

    /// Writes it whenever that is due, for ever.
    ///
    /// # Errors
    /// None.
    pub(super) fn run(&self) -> io::Result<()> {
        system::give_way();
        loop {
            let mut state = self.state();
            while let Some(left) =
                state.due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            {
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            state.due = Instant::now() + state.persist.every;
            drop(state);
            self.keep();
        }
    }

    /// Writes it once more, aside; told when that is done, whatever came of it.
    pub(super) fn end(self: &Arc<Self>) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        let keeper = Arc::clone(self);
        let writing = thread::Builder::new().name("keep".into()).spawn(move || {
            system::give_way();
            keeper.keep();
            // Whoever waited may have given up.
            let _ = done.send(());
        });
        if let Err(error) = writing {
            tracing::warn!("what is cached is not kept: there is no thread to write it ({error})");
        }
        told
    }

    /// Writes it if anything was asked or forgotten since, and says once what keeps it from being written.
    fn keep(&self) {
        let Some(folder) = &self.folder else { return };
        // Nothing is behind it that a panic could have left half done.
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.seen();
        let removed = {
            let state = self.state();
            if !state.persist.on || state.seen == seen {
                return;
            }
            state.removed
        };
        let written = self.write(folder, removed);
        let trouble = written.as_ref().err().map(|error| {
            format!(
                "what is cached cannot be kept in {} ({error}); a restart begins without",
                folder.display()
            )
        });
        if self.health.say(About::Cache, trouble.as_deref())
            && let Some(trouble) = trouble
        {
            tracing::warn!("{trouble}");
        }
        if let Ok(Some(Written { answers, octets, left_out })) = written {
            tracing::debug!("{answers} answers are kept in {octets} octets, {left_out} had no room");
            let mut state = self.state();
            state.seen = seen;
            state.kept.answers = answers;
            state.kept.octets = octets;
            state.kept.written = Some(self.clock.now().wall);
        }
    }

    /// Writes it, and puts it into its place unless it had to go meanwhile.
    fn write(&self, folder: &Path, removed: u64) -> io::Result<Option<Written>> {
        let (place, beside) = (folder.join(FILE), folder.join(BESIDE));
        // What a killed process left.
        let _ = fs::remove_file(&beside);
        let written = self.write_file(&beside).and_then(|written| {
            let state = self.state();
            if state.removed != removed || !state.persist.on {
                return Ok(None);
            }
            fs::rename(&beside, &place)?;
            Ok(Some(written))
        });
        if !matches!(written, Ok(Some(_))) {
            let _ = fs::remove_file(&beside);
            return written;
        }
        // It is in its place after a crash only once its folder is on the disk.
        File::open(folder)?.sync_all()?;
        written
    }

    /// Writes it to the disk itself.
    fn write_file(&self, path: &Path) -> io::Result<Written> {
        let file = owner::private_file(path)?;
        let (generation, now) = (self.current.load(), self.clock.now());
        let most = generation.fetchers().map(|fetcher| fetcher.cache().max_bytes()).sum();
        let mut writer = Writer::new(BufWriter::new(&file), now.wall, most)?;
        for fetcher in generation.fetchers() {
            writer.cache(fetcher.origin(), fetcher.cache(), now.mono)?;
        }
        let (_, written) = writer.end()?;
        file.sync_all()?;
        Ok(written)
    }

    /// Has it gone from the disk, and what stands beside it.
    fn remove(&self, state: &mut State) {
        let Some(folder) = &self.folder else { return };
        state.removed += 1;
        for name in [FILE, BESIDE, BAD_FILE] {
            let path = folder.join(name);
            match fs::remove_file(&path) {
                Ok(()) => tracing::info!("{} is removed: what is cached is not to be kept", path.display()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!("{} cannot be removed: {error}", path.display()),
            }
        }
    }

    /// How much was asked, and how often something was forgotten: nothing else changes what is cached.
    fn seen(&self) -> (u64, u64) {
        let asked = self.resolver.counters().asked.load(Ordering::Relaxed);
        let generation = self.current.load();
        (asked, generation.fetchers().map(|fetcher| fetcher.cache().clears()).sum())
    }

    /// When it is to be written. A thread that panicked with it left it whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl api::Kept for Keeper {
    fn kept(&self) -> KeptShown {
        self.state().kept.clone()
    }

    fn forget(&self) {
        let Some(folder) = &self.folder else { return };
        let mut state = self.state();
        state.removed += 1;
        match fs::remove_file(folder.join(FILE)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("{} cannot be removed: {error}", folder.join(FILE).display()),
        }
        state.due = state.due.min(Instant::now() + SOON);
        self.changed.notify_all();
    }
}
