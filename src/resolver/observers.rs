//! Who looks at what became of queries: one line here for each, on both paths.

use std::sync::Arc;

use super::counters::Counters;
use super::hits::{Hits, SharedHits};
use super::logged;
use super::outcome::{Observe, Outcome, Request, Source};
use super::recent::{Recorder, SharedRecorder};
use super::sightings::{Scribe, Sightings};
use crate::histogram::Histogram;
use crate::policy::Verdict;
use crate::querylog::{Tap, Taps};
use crate::time::UnixSeconds;

/// A worker's own, which share nothing with anybody.
pub(super) struct Own {
    /// Nobody else adds to them.
    pub(super) counters: Arc<Counters>,
    /// What orders had to do with it.
    pub(super) hits: Hits,
    /// A sample of what is asked.
    pub(super) recorder: Recorder,
    /// What orders decide, if that is written down.
    pub(super) scribe: Option<Scribe>,
    /// The query log, if there is one.
    pub(super) log: Option<Tap>,
}

impl Own {
    /// A batch of datagrams begins.
    #[inline]
    pub(super) fn begin(&mut self, at: UnixSeconds) {
        if let Some(scribe) = &mut self.scribe {
            scribe.tick(at);
        }
    }

    /// What an order decides lies elsewhere from now on.
    pub(super) fn follow(&mut self) {
        if let Some(scribe) = &mut self.scribe {
            scribe.forget();
        }
    }
}

/// Those of everybody who has none of his own.
pub(super) struct Shared {
    /// All add to them.
    pub(super) counters: Arc<Counters>,
    /// What orders had to do with it; counted where it is known which policy they are of.
    pub(super) hits: SharedHits,
    /// How long those took that waited for an upstream.
    pub(super) waits: Histogram,
    /// A sample of what is asked.
    pub(super) recorder: SharedRecorder,
    /// What orders decide, if that is written down.
    pub(super) sightings: Sightings,
    /// The query log, if there is one.
    pub(super) log: Option<Arc<Taps>>,
}

impl Own {
    /// Whether anybody writes down more than numbers.
    #[inline]
    pub(super) fn are_writing(&self) -> bool {
        self.scribe.is_some() || self.log.is_some()
    }

    /// Takes note of a query; for those who write as well, if there are any.
    // Where it is called nearly all of an outcome is known already: in place that is a few additions, and by a call the outcome is
    // written down first and then told apart again, which takes three times as long.
    #[inline(always)]
    pub(super) fn answered<const WRITING: bool>(&mut self, request: &Request<'_>, outcome: &Outcome<'_>) {
        Counters::add_alone(&self.counters.queries);
        self.counters.count(outcome, Counters::add_alone);
        // Not as one iterator, which would be a call with the outcome in memory.
        if let Some(hit) = outcome.verdict.hit() {
            self.hits.count(hit);
        }
        outcome.observed.iter().for_each(|hit| self.hits.count(hit));
        let is_traffic = is_traffic(request, outcome);
        if is_traffic {
            self.recorder.note(|| request.qname(), request.client.addr.ip());
        }
        if !WRITING {
            return;
        }
        if let Verdict::Act(_, hit) = &outcome.verdict
            && is_traffic
            && let Some(scribe) = &mut self.scribe
        {
            scribe.note(request, hit);
        }
        if let Some(log) = &mut self.log {
            // Copies: what a call may look at has to lie in memory, and so it does for those alone who log.
            let (request, outcome) = (*request, *outcome);
            logged::note(log, &request, &outcome);
        }
    }
}

impl Observe for &Shared {
    /// That the query came was counted when it came: not all are answered.
    fn answered(&mut self, request: &Request<'_>, outcome: &Outcome<'_>) {
        self.counters.count(outcome, Counters::add);
        if is_traffic(request, outcome) {
            self.recorder.note(|| request.qname(), request.client.addr.ip());
            if let Verdict::Act(_, hit) = &outcome.verdict {
                self.sightings.note(request, hit);
            }
        }
        if let Some(log) = &self.log {
            logged::note_shared(log, request, outcome);
        }
    }
}

/// Whether somebody who is served asked: what this server asks itself is no traffic, and what it refuses anybody could have written,
/// in anybody's name.
#[inline]
fn is_traffic(request: &Request<'_>, outcome: &Outcome<'_>) -> bool {
    request.client.addr.port() != 0 && outcome.source != Source::Denied
}
