//! Keeps every source fresh: fetches what is due, on time or on demand, and says when something has changed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::copies::{CopyStore, Failure, Record};
use super::error::{DiskWork, SourceError, size};
use super::examine::entry_lines;
use super::fetch::{Accept, Fetched, Fetcher, RefreshOptions};
use super::http::Http;
use super::local::look;
use super::lookup::Lookup;
use super::schedule::{after, chance};
use super::spec::{Location, Source};
use super::status::{SourceStatus, on_one_line};
use super::tracked::TrackedSource;
use crate::clock::Clock;
use crate::keys;

/// Sources refreshed at once: a slow one holds up no other, and a burst at start stays small.
const AT_ONCE: usize = 4;
/// Sources there may be; each costs a look now and then, and a line in every table.
const MAX_SOURCES: usize = 1000;
/// Characters kept of a message: it may hold what a server said.
const MAX_MESSAGE_LEN: usize = 500;

/// What a [`Refresher`] works with.
pub struct Settings {
    /// The state folder; copies lie in `lists` in it. Without one they lie in a folder of this process' own, readable by
    /// nobody else, which goes when it ends: the next start has no lists until they are fetched.
    pub state: Option<PathBuf>,
    /// Who finds the addresses of hosts.
    pub lookup: Arc<dyn Lookup>,
    /// Who knows formats.
    pub accept: Arc<Accept>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Settings {
    /// Accepts any list that has entry lines; see [`entry_lines`].
    pub fn new(state: Option<PathBuf>, lookup: Arc<dyn Lookup>, clock: Arc<dyn Clock>) -> Settings {
        Settings { state, lookup, accept: Arc::new(|_, list| Ok(entry_lines(list))), clock }
    }
}

/// What came of a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a new copy, or the file has changed.
    Changed,
    /// What was there is the latest.
    Unchanged,
    /// What was there, if anything, serves on.
    Failed(SourceError),
}

/// A source that was refreshed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// Which.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// There is no source of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSource {
    /// The name.
    pub name: String,
    /// A name that is like it.
    pub nearest: Option<String>,
}

/// Keeps every source fresh. Cloning it makes another handle to the same sources.
#[derive(Clone)]
pub struct Refresher {
    shared: Arc<Shared>,
}

/// What handles share.
struct Shared {
    tracked: Vec<TrackedSource>,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    at_once: Semaphore,
    /// Full while the reloader has not yet looked: it reads all that changed by then.
    hint: mpsc::Sender<()>,
    /// When a source is due has changed.
    replanned: Notify,
}

impl Refresher {
    /// Finds out how the sources stand, asking nobody yet; the receiver gets one hint for any number of changes.
    ///
    /// Copies of earlier runs are there to be read from now on, network or not.
    ///
    /// # Errors
    /// When a source cannot be used, two have one name, or the state folder cannot be written.
    pub fn new(
        sources: Vec<Source>,
        settings: Settings,
    ) -> Result<(Refresher, mpsc::Receiver<()>), SourceError> {
        check(&sources)?;
        let copies = CopyStore::open(settings.state.as_deref())
            .map_err(|error| SourceError::disk(DiskWork::OpenFolder, &error))?;
        Ok(Refresher::on(Arc::new(copies), sources, settings))
    }

    /// A refresher of other sources with the copies of this one, which is to be given up.
    ///
    /// # Errors
    /// When a source cannot be used, or two have one name.
    pub fn renewed(
        &self,
        sources: Vec<Source>,
        settings: Settings,
    ) -> Result<(Refresher, mpsc::Receiver<()>), SourceError> {
        check(&sources)?;
        Ok(Refresher::on(Arc::clone(&self.shared.fetcher.copies), sources, settings))
    }

    /// A refresher with a store of copies.
    fn on(
        copies: Arc<CopyStore>,
        sources: Vec<Source>,
        settings: Settings,
    ) -> (Refresher, mpsc::Receiver<()>) {
        let now = settings.clock.now();
        let tracked = sources.into_iter().map(|source| TrackedSource::new(source, &copies, now)).collect();
        let (hint, hints) = mpsc::channel(1);
        let shared = Shared {
            tracked,
            fetcher: Fetcher::new(Http::new(settings.lookup), copies, settings.accept),
            clock: settings.clock,
            at_once: Semaphore::new(AT_ONCE),
            hint,
            replanned: Notify::new(),
        };
        (Refresher { shared: Arc::new(shared) }, hints)
    }

    /// Refreshes what is due, for ever. Dropping this ends it at any moment, with every copy whole.
    pub async fn run(&self) {
        let mut under_way = JoinSet::new();
        loop {
            for index in self.shared.take_due() {
                let shared = self.shared.clone();
                under_way.spawn(async move {
                    // Somebody who refreshes it on demand does it for us.
                    let Some(tracked) = shared.tracked.get(index) else { return };
                    let Ok(_turn) = tracked.refresh_lock.try_lock() else { return };
                    shared.refresh(tracked, &RefreshOptions::default()).await;
                });
            }
            let next = self.shared.next_due();
            let until_due = async {
                match next {
                    Some(due) => sleep(due.saturating_sub(self.shared.clock.now().mono)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = until_due => {}
                () = self.shared.replanned.notified() => {}
                Some(ended) = under_way.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!("refreshing a source broke off: {error}");
                    }
                }
            }
        }
    }

    /// Refreshes one source now, or all; those under way are waited for and refreshed again.
    ///
    /// # Errors
    /// [`UnknownSource`] when there is none of the name.
    pub async fn refresh(
        &self,
        name: Option<&str>,
        options: &RefreshOptions,
    ) -> Result<Vec<Refreshed>, UnknownSource> {
        let refresh = |index: usize| {
            let (shared, options) = (self.shared.clone(), options.clone());
            // A task of its own: it comes to its end, and is told of, though nobody may wait for it any longer.
            tokio::spawn(async move {
                let tracked = shared.tracked.get(index)?;
                let _turn = tracked.refresh_lock.lock().await;
                let outcome = shared.refresh(tracked, &options).await;
                Some(Refreshed { name: tracked.source.name.clone(), outcome })
            })
        };
        let under_way: Vec<_> = self.chosen(name)?.into_iter().map(refresh).collect();
        let mut refreshed = Vec::new();
        for one in under_way {
            match one.await {
                Ok(one) => refreshed.extend(one),
                Err(error) => tracing::error!("refreshing a source broke off: {error}"),
            }
        }
        Ok(refreshed)
    }

    /// How every source stands, in the order they were given.
    pub fn status(&self) -> Vec<SourceStatus> {
        let now = self.shared.clock.now().wall;
        self.shared.tracked.iter().map(|tracked| tracked.status(now)).collect()
    }

    /// Where the loader reads a source: a file that may not be there yet, or a folder; none if there is no such source.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let tracked = self.shared.tracked.iter().find(|tracked| tracked.source.name == name)?;
        Some(match &tracked.source.location {
            Location::Path(path) => path.clone(),
            Location::Url(_) => self.shared.fetcher.copies.list(name),
        })
    }

    /// Takes note of what the loader found in a source: entries, and lines it refused.
    pub fn loaded(&self, name: &str, entries: u64, refused: u64) {
        if let Some(tracked) = self.shared.tracked.iter().find(|tracked| tracked.source.name == name) {
            tracked.progress().loaded = Some((entries, refused));
        }
    }

    /// Has [`Refresher::run`] look at the clock: a test has moved it.
    #[cfg(test)]
    pub(super) fn wake(&self) {
        self.shared.replanned.notify_one();
    }

    /// The sources that a name means, by number.
    fn chosen(&self, name: Option<&str>) -> Result<Vec<usize>, UnknownSource> {
        let tracked = &self.shared.tracked;
        let Some(name) = name else { return Ok((0..tracked.len()).collect()) };
        tracked.iter().position(|tracked| tracked.source.name == name).map(|index| vec![index]).ok_or_else(
            || {
                let nearest = keys::nearest(name, tracked.iter().map(|tracked| tracked.source.name.as_str()));
                UnknownSource { name: name.to_owned(), nearest: nearest.map(str::to_owned) }
            },
        )
    }
}

impl Shared {
    /// The sources that are due, by number. Each is due again in its interval, should nothing come of this time.
    fn take_due(&self) -> Vec<usize> {
        let now = self.clock.now().mono;
        let mut due = Vec::new();
        for (index, tracked) in self.tracked.iter().enumerate() {
            let mut progress = tracked.progress();
            if progress.due <= now {
                progress.due = now + tracked.source.refresh;
                due.push(index);
            }
        }
        due
    }

    /// When the next source is due, as its clock tells monotonic time.
    fn next_due(&self) -> Option<Duration> {
        self.tracked.iter().map(|tracked| tracked.progress().due).min()
    }

    /// Refreshes a source, whose turn is held, and takes note of what came of it.
    async fn refresh(&self, tracked: &TrackedSource, options: &RefreshOptions) -> Outcome {
        // Never closed, and without a permit it would merely be one more at once.
        let _permit = self.at_once.acquire().await;
        let name = &tracked.source.name;
        let outcome = match &tracked.source.location {
            Location::Path(path) => self.look(tracked, path).await,
            Location::Url(url) => self.fetch(tracked, url, options).await,
        };
        let (outcome, record, was_failing) = self.note(tracked, outcome);
        if matches!(tracked.source.location, Location::Url(_)) {
            self.keep(name, record.clone()).await;
        }
        match &outcome {
            Outcome::Changed => {
                match tracked.source.location {
                    Location::Path(_) => tracing::info!("source {name} has changed"),
                    Location::Url(_) => {
                        let (entries, octets) = (record.entries, size(record.octets));
                        tracing::info!("source {name} has a new copy: {entries} entries, {octets}");
                    }
                }
                // Full means that the reloader has yet to look.
                let _ = self.hint.try_send(());
            }
            Outcome::Unchanged if was_failing => tracing::info!("source {name} is well again"),
            Outcome::Unchanged => tracing::debug!("source {name} has not changed"),
            Outcome::Failed(error) => tracing::warn!("source {name} was not refreshed: {error}"),
        }
        self.replanned.notify_one();
        outcome
    }

    /// Looks at a file or folder.
    async fn look(&self, tracked: &TrackedSource, path: &Path) -> Result<bool, SourceError> {
        let path = path.to_path_buf();
        let seen = spawn_blocking(move || look(&path)).await;
        let seen = seen.map_err(|error| SourceError::NotLookedAt(error.to_string()))?;
        Ok(tracked.progress().saw(seen?, self.clock.now().wall))
    }

    /// Fetches a download; whether it is another than before.
    async fn fetch(
        &self,
        tracked: &TrackedSource,
        url: &Url,
        options: &RefreshOptions,
    ) -> Result<bool, SourceError> {
        let known = tracked.progress().record.clone();
        let fetched = self.fetcher.fetch(&tracked.source, url, &known, options).await?;
        let now = self.clock.now().wall;
        Ok(match fetched {
            Fetched::NotModified => {
                tracked.progress().record.checked_at = Some(now);
                false
            }
            Fetched::Sent(record, changed) => {
                let since = known.fetched_at.filter(|_| !changed).unwrap_or(now);
                let mut progress = tracked.progress();
                progress.record = Record {
                    url: url.to_string(),
                    fetched_at: Some(since),
                    checked_at: Some(now),
                    last_error: known.last_error,
                    failures: known.failures,
                    ..*record
                };
                progress.there = true;
                // What the loader said was about the copy before.
                progress.loaded = progress.loaded.filter(|_| !changed);
                changed
            }
        })
    }

    /// Writes down what is known of a source. Failing costs no more than a request that need not have been.
    async fn keep(&self, name: &str, record: Record) {
        let (copies, file) = (self.fetcher.copies.clone(), name.to_owned());
        let noted = spawn_blocking(move || copies.note(&file, &record)).await;
        if let Err(error) = noted.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            tracing::warn!("what is known of source {name} was not written down: {error}");
        }
    }

    /// Takes note of an outcome and plans the next time; also what is known now, and whether it had failed before.
    fn note(&self, tracked: &TrackedSource, outcome: Result<bool, SourceError>) -> (Outcome, Record, bool) {
        let now = self.clock.now();
        let mut progress = tracked.progress();
        let was_failing = progress.record.failures > 0;
        let outcome = match outcome {
            Ok(changed) => {
                (progress.record.failures, progress.record.last_error) = (0, None);
                if changed { Outcome::Changed } else { Outcome::Unchanged }
            }
            Err(error) => {
                progress.record.failures = progress.record.failures.saturating_add(1);
                let (message, hint) =
                    (on_one_line(&error.message(), MAX_MESSAGE_LEN), error.hint().into_owned());
                progress.record.last_error = Some(Failure { at: now.wall, message, hint });
                Outcome::Failed(error)
            }
        };
        let record = progress.record.clone();
        progress.plan(after(tracked.source.refresh, record.failures, chance()), now);
        (outcome, record, was_failing)
    }
}

impl fmt::Display for UnknownSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no source called {:?}", self.name)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest:?}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnknownSource {}

/// Whether all sources can be used together.
///
/// # Errors
/// Which cannot, and why.
fn check(sources: &[Source]) -> Result<(), SourceError> {
    if sources.len() > MAX_SOURCES {
        return Err(SourceError::TooMany { most: MAX_SOURCES });
    }
    for (index, source) in sources.iter().enumerate() {
        source.check().map_err(|error| SourceError::Spec { name: source.name.clone(), error })?;
        // Some file systems do not tell upper case from lower.
        let taken = |other: &&Source| other.name.eq_ignore_ascii_case(&source.name);
        if let Some(other) = sources.iter().take(index).find(taken) {
            return Err(SourceError::SameName { name: source.name.clone(), other: other.name.clone() });
        }
    }
    Ok(())
}
