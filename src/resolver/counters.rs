//! What happened, counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::policy::{Action, Hit, Verdict};

/// Counts since the start; each only grows. Those of one worker share no cache line with another's.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Counters {
    /// Packets that came to the resolver.
    pub queries: AtomicU64,
    /// Replies that left it.
    pub replies: AtomicU64,
    /// Packets that were no query it resolves.
    pub malformed: AtomicU64,
    /// Queries of clients that are not served.
    pub denied: AtomicU64,
    /// Queries answered from the cache.
    pub cached: AtomicU64,
    /// Queries answered by a cached failure (RFC 9520).
    pub cached_failures: AtomicU64,
    /// Queries answered by truth that had expired, because no upstream could be asked (RFC 8767).
    pub stale: AtomicU64,
    /// Queries for special names, answered here.
    pub local: AtomicU64,
    /// Questions put to upstreams.
    pub asked: AtomicU64,
    /// Questions no upstream answered.
    pub failures: AtomicU64,
    /// Questions not asked because too many were under way.
    pub overloaded: AtomicU64,
    /// Upstream's replies that were none to the question, could not be read, or held more than is taken.
    pub unusable: AtomicU64,
    /// Upstream's replies of which answers that nothing leads to were left out.
    pub strangers: AtomicU64,
    /// Queries failed because judging the answer took more upstream questions than one query may ask.
    pub unjudged: AtomicU64,
    /// Queries for protected names.
    pub protected: AtomicU64,
    /// Verdicts by action, in the order of [`Action::ALL`].
    pub actions: [AtomicU64; Action::ALL.len()],
}

impl Counters {
    /// Counts one.
    pub fn add(counter: &AtomicU64) {
        // Relaxed: counts are read for display and order nothing.
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one where one thread alone counts: a plain addition, which costs nothing to speak of.
    pub fn add_alone(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Adds all of `other`'s counts.
    pub fn merge(&self, other: &Counters) {
        for (mine, theirs) in self.all().zip(other.all()) {
            mine.fetch_add(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// The counter of an action.
    pub fn action(&self, action: Action) -> Option<&AtomicU64> {
        Action::ALL.iter().position(|known| *known == action).and_then(|index| self.actions.get(index))
    }
}

impl Counters {
    /// The counters that stand alone, with their names.
    fn plain(&self) -> [(&'static str, &AtomicU64); 15] {
        [
            ("queries", &self.queries),
            ("replies", &self.replies),
            ("malformed", &self.malformed),
            ("denied", &self.denied),
            ("cached", &self.cached),
            ("cached_failures", &self.cached_failures),
            ("stale", &self.stale),
            ("local", &self.local),
            ("asked", &self.asked),
            ("failures", &self.failures),
            ("overloaded", &self.overloaded),
            ("unusable", &self.unusable),
            ("strangers", &self.strangers),
            ("unjudged", &self.unjudged),
            ("protected", &self.protected),
        ]
    }

    /// The counters that stand alone: names and values, for metrics.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        self.plain().into_iter().map(|(name, counter)| (name, counter.load(Ordering::Relaxed))).collect()
    }

    /// Verdicts by action, for metrics.
    pub fn by_action(&self) -> Vec<(&'static str, u64)> {
        let actions = Action::ALL.iter().zip(&self.actions);
        actions.map(|(action, counter)| (action.as_str(), counter.load(Ordering::Relaxed))).collect()
    }

    /// Every counter.
    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        self.plain().into_iter().map(|(_, counter)| counter).chain(&self.actions)
    }
}

impl fmt::Display for Counters {
    /// `name=value` pairs on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions = Action::ALL.iter().map(|action| action.as_str()).zip(&self.actions);
        for (index, (name, value)) in self.plain().into_iter().chain(actions).enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{name}={}", value.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}

/// Something that happens to a query at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// [`Counters::denied`].
    Denied,
    /// [`Counters::local`].
    Local,
    /// [`Counters::cached`].
    Cached,
    /// [`Counters::cached_failures`].
    CachedFailure,
    /// [`Counters::stale`].
    Stale,
    /// [`Counters::protected`].
    Protected,
    /// [`Counters::unjudged`].
    Unjudged,
}

/// What happened to one query. It may be decided in several goes, and only the last one counts.
#[derive(Debug, Default)]
pub struct Tally {
    /// A bit for each [`Event`].
    events: u8,
    /// What orders did, in the order of [`Action::ALL`]: a chain has fewer aliases than an octet can count.
    actions: [u8; Action::ALL.len()],
}

impl Tally {
    /// Takes an event in.
    pub fn note(&mut self, event: Event) {
        self.events |= 1 << event as u8;
    }

    /// Takes a verdict in.
    pub fn verdict(&mut self, verdict: &Verdict<'_>) {
        match verdict {
            Verdict::Clear => {}
            Verdict::Protected(_) => self.note(Event::Protected),
            Verdict::Passthru(hit) | Verdict::Act(hit) => self.action(hit.action),
        }
    }

    /// Takes an order in that observes.
    pub fn observed(&mut self, hit: Option<&Hit<'_>>) {
        if let Some(hit) = hit {
            self.action(hit.action);
        }
    }

    /// Takes in what an order did.
    fn action(&mut self, action: Action) {
        let place = Action::ALL.iter().position(|known| *known == action);
        if let Some(count) = place.and_then(|place| self.actions.get_mut(place)) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts it all.
    pub fn count(&self, counters: &Counters) {
        let events = [
            (Event::Denied, &counters.denied),
            (Event::Local, &counters.local),
            (Event::Cached, &counters.cached),
            (Event::CachedFailure, &counters.cached_failures),
            (Event::Stale, &counters.stale),
            (Event::Protected, &counters.protected),
            (Event::Unjudged, &counters.unjudged),
        ];
        for (_, counter) in events.into_iter().filter(|(event, _)| self.events & 1 << *event as u8 != 0) {
            Counters::add(counter);
        }
        for (&count, counter) in self.actions.iter().zip(&counters.actions).filter(|(count, _)| **count > 0) {
            counter.fetch_add(count.into(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_every_counter() {
        let (one, other) = (Counters::default(), Counters::default());
        one.all().for_each(Counters::add);
        other.all().for_each(Counters::add_alone);
        one.merge(&other);
        assert!(one.all().all(|counter| counter.load(Ordering::Relaxed) == 2));
        assert_eq!(one.all().count() * size_of::<AtomicU64>(), size_of_val(&one.actions) + 15 * 8);
        assert_eq!(one.to_string().matches("=2").count(), 15 + Action::ALL.len());
    }
}
