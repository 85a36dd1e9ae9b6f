//! How a source stands: what is known of it, when it is due, and how that looks to others.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as RefreshLock;

use super::copies::{CopyStore, Record};
use super::local::{Look, look};
use super::schedule::{after, at_start, chance};
use super::spec::{Location, Source};
use super::status::{SourceState, SourceStatus};
use crate::clock::Now;
use crate::time::UnixSeconds;

/// How long after its refresh was due a source counts as stale, in tenths of its interval; chance alone makes it one.
const STALE_AFTER_TENTHS: u32 = 2;

/// A source and how it stands.
pub(super) struct TrackedSource {
    pub(super) source: Source,
    /// Held while it is refreshed.
    pub(super) refresh_lock: RefreshLock<()>,
    progress: Mutex<Progress>,
}

/// How a source stands.
pub(super) struct Progress {
    /// What is known of its copy; of a file, times, octets and failures alone.
    pub(super) record: Record,
    /// How a file or folder looked last; none if it was not there, and for downloads.
    look: Option<Look>,
    /// Whether there is something for the loader to read.
    pub(super) there: bool,
    /// Entries and refused lines that the loader told of.
    pub(super) loaded: Option<(u64, u64)>,
    /// When it is due, as the clock tells monotonic time.
    pub(super) due: Duration,
    /// The same, in Unix seconds.
    due_at: UnixSeconds,
}

impl TrackedSource {
    /// A source as earlier runs left it.
    pub(super) fn new(source: Source, copies: &CopyStore, now: Now) -> TrackedSource {
        let record = match source.location {
            Location::Path(_) => Record::default(),
            Location::Url(_) => copies.record(&source.name),
        };
        let there = record.octets > 0;
        let mut progress =
            Progress { record, look: None, there, loaded: None, due: now.mono, due_at: now.wall };
        let wait = match &source.location {
            Location::Path(path) => {
                // What cannot be looked at is looked at again at once, and then told of.
                let seen = look(path).map(|seen| progress.saw(seen, now.wall));
                if seen.is_ok() { after(source.refresh, 0, chance()) } else { Duration::ZERO }
            }
            Location::Url(_) => {
                let record = &progress.record;
                let sound = record.failures == 0 && record.is_current(&source);
                at_start(source.refresh, record.checked_at.filter(|_| sound), now.wall, chance())
            }
        };
        progress.plan(wait, now);
        TrackedSource { source, refresh_lock: RefreshLock::new(()), progress: Mutex::new(progress) }
    }

    /// How it stands; held for moments only.
    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands, for others.
    pub(super) fn status(&self, now: UnixSeconds) -> SourceStatus {
        let progress = self.progress();
        let record = &progress.record;
        let age_s = record.checked_at.map(|at| u64::try_from(now.saturating_sub(at)).unwrap_or(0));
        let overdue = self.source.refresh + self.source.refresh * STALE_AFTER_TENTHS / 10;
        let state = match age_s {
            _ if !progress.there => SourceState::Never,
            _ if record.failures > 0 => SourceState::Failing,
            Some(age_s) if age_s <= overdue.as_secs() => SourceState::Fresh,
            _ => SourceState::Stale,
        };
        let (entries, refused) = progress.loaded.unwrap_or((record.entries, 0));
        SourceStatus {
            name: self.source.name.clone(),
            location: self.source.location.to_string(),
            state,
            age_s,
            entries,
            refused,
            octets: record.octets,
            changed_at: record.fetched_at,
            checked_at: record.checked_at,
            due_at: Some(progress.due_at),
            failures: record.failures,
            last_error: record.last_error.clone(),
        }
    }
}

impl Progress {
    /// Takes note of how a file or folder looks; whether that is another look.
    pub(super) fn saw(&mut self, seen: Look, now: UnixSeconds) -> bool {
        let changed = self.look.as_ref() != Some(&seen);
        if changed {
            (self.record.fetched_at, self.record.octets) = (Some(now), seen.octets);
            (self.look, self.loaded) = (Some(seen), None);
        }
        (self.record.checked_at, self.there) = (Some(now), true);
        changed
    }

    /// Is due after `wait`.
    pub(super) fn plan(&mut self, wait: Duration, now: Now) {
        self.due = now.mono.saturating_add(wait);
        self.due_at = now.wall.saturating_add(i64::try_from(wait.as_secs()).unwrap_or(i64::MAX));
    }
}
