//! What happened, counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::policy::{Action, Hit, Verdict};

/// Declares the counters once: as atomics with their names, and as events where a query counts at most one.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident $(: $event:ident)?),+ $(,)?) => {
        /// Counts since the start; each only grows. Those of one worker share no cache line with another's.
        #[derive(Debug, Default)]
        #[repr(align(64))]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
            /// Verdicts by action, in the order of [`Action::ALL`].
            pub actions: [AtomicU64; Action::ALL.len()],
        }

        impl Counters {
            /// The counters that stand alone, with their names.
            fn plain(&self) -> impl Iterator<Item = (&'static str, &AtomicU64)> {
                [$((stringify!($name), &self.$name)),+].into_iter()
            }

            /// The counters of events, with those.
            fn of_events(&self) -> impl Iterator<Item = (Event, &AtomicU64)> {
                [$($((Event::$event, &self.$name),)?)+].into_iter()
            }
        }

        /// Something that happens to a query at most once.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event {
            $($(#[doc = concat!("[`Counters::", stringify!($name), "`].")] $event,)?)+
        }
    };
}

counters! {
    /// Packets that came to the resolver.
    queries,
    /// Replies that left it.
    replies,
    /// Packets that were no query it resolves.
    malformed,
    /// Queries of clients that are not served.
    denied: Denied,
    /// Queries answered from the cache.
    cached: Cached,
    /// Queries answered by a cached failure (RFC 9520).
    cached_failures: CachedFailure,
    /// Queries answered by truth that had expired, because no upstream could be asked (RFC 8767).
    stale: Stale,
    /// Queries for special names, answered here.
    local: Local,
    /// Questions put to upstreams.
    asked,
    /// Questions no upstream answered.
    failures,
    /// Questions not asked because too many were under way.
    overloaded,
    /// Upstream's replies that were none to the question, could not be read, or held more than is taken.
    unusable,
    /// Upstream's replies of which answers that nothing leads to were left out.
    strangers,
    /// Queries failed because judging the answer took more upstream questions than one query may ask.
    unjudged: Unjudged,
    /// Queries for protected names.
    protected: Protected,
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
    /// The counters that stand alone: names and values, for metrics.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        self.plain().map(|(name, counter)| (name, counter.load(Ordering::Relaxed))).collect()
    }

    /// Verdicts by action, for metrics.
    pub fn by_action(&self) -> Vec<(&'static str, u64)> {
        let actions = Action::ALL.iter().zip(&self.actions);
        actions.map(|(action, counter)| (action.as_str(), counter.load(Ordering::Relaxed))).collect()
    }

    /// Every counter.
    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        self.plain().map(|(_, counter)| counter).chain(&self.actions)
    }
}

impl fmt::Display for Counters {
    /// `name=value` pairs on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions = Action::ALL.iter().map(|action| action.as_str()).zip(&self.actions);
        for (index, (name, value)) in self.plain().chain(actions).enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{name}={}", value.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
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
        for (_, counter) in counters.of_events().filter(|(event, _)| self.events & 1 << *event as u8 != 0) {
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
        assert_eq!(one.to_string().matches("=2").count(), one.all().count());
        // Nothing is counted that is not told of: all there is stands in one of the two.
        let held = (one.plain().count() + Action::ALL.len()) * size_of::<AtomicU64>();
        assert!(size_of::<Counters>() - held < align_of::<Counters>());
        // An octet has a bit for each.
        assert!(one.of_events().count() <= 8);
    }
}
