//! What happened, counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::outcome::{Outcome, Source};
use crate::iana::Rcode;
use crate::policy::{Action, Hit, Verdict};

/// Response codes that are counted each by itself: those that fit a header, and all others as one.
const RCODES: usize = 17;

/// A counter as it was read, with what is declared of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its name.
    pub name: &'static str,
    /// What it counts, in a sentence.
    pub help: &'static str,
    /// Where the answers come from that it counts, if it is about those.
    pub source: Option<Source>,
    /// How many.
    pub value: u64,
}

/// Declares the counters once: as atomics with their names, what they count, and by where answers came from where one counts those.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident $(: $source:ident)?),+ $(,)?) => {
        /// Counts since the start; each only grows. Those of one worker share no cache line with another's.
        #[derive(Debug, Default)]
        #[repr(align(64))]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
            /// Verdicts by action, in the order of [`Action::ALL`].
            pub actions: [AtomicU64; Action::ALL.len()],
            /// Replies by response code, but for those without an error.
            rcodes: [AtomicU64; RCODES],
        }

        impl Counters {
            /// The counters that stand alone, with their names.
            fn plain(&self) -> impl Iterator<Item = (&'static str, &AtomicU64)> {
                [$((stringify!($name), &self.$name)),+].into_iter()
            }

            /// The counters that stand alone, with all that is declared of them.
            pub fn readings(&self) -> Vec<Reading> {
                vec![$(Reading {
                    name: stringify!($name),
                    help: concat!($($doc),+).trim_ascii_start(),
                    source: [$(Source::$source)?].first().copied(),
                    value: self.$name.load(Ordering::Relaxed),
                }),+]
            }

            /// The counter of answers from there.
            #[inline]
            fn from(&self, source: Source) -> &AtomicU64 {
                match source {
                    $($(Source::$source => &self.$name,)?)+
                }
            }
        }
    };
}

counters! {
    /// Packets that came to the resolver.
    queries,
    /// Those of them that came by stream.
    queries_by_stream,
    /// Replies that left it.
    replies,
    /// Packets that were no query it resolves.
    malformed,
    /// Queries of clients that are not served.
    denied: Denied,
    /// Queries for what nobody is told here, or before the orders stood.
    unserved: Unserved,
    /// Queries answered by what an order makes of them.
    forged: Forged,
    /// Queries answered from the cache.
    cached: Cached,
    /// Queries answered by a cached failure (RFC 9520).
    cached_failures: CachedFailure,
    /// Queries answered by truth that had expired, because no upstream could be asked (RFC 8767).
    stale: Stale,
    /// Queries for special names, answered here.
    local: Local,
    /// Queries for types that the client's group is told nothing of.
    filtered: Filtered,
    /// Queries answered by what upstream was asked for with them.
    fetched: Fetched,
    /// Queries answered by a failure, because no upstream answered when it was asked with them.
    failed: Failed,
    /// Questions put to upstreams.
    asked,
    /// Those of them that nobody waited for: what was asked for often was about to end.
    prefetched,
    /// Answers to such that spared somebody to wait.
    prefetched_wanted,
    /// Such questions that were not asked because too many had been in vain, or too many others were under way.
    prefetch_held_back,
    /// Questions no upstream answered.
    failures,
    /// Answers that came once everybody was told that none did: they are in the cache.
    late,
    /// Questions not asked because too many were under way.
    overloaded,
    /// Questions that had been asked for long and gave way to newer ones because too many were under way.
    gave_way,
    /// Upstream's replies that were none to the question, could not be read, or held more than is taken.
    unusable,
    /// Upstream's replies of which answers that nothing leads to, or signatures beyond eight over a set, were left out.
    strangers,
    /// Upstream's replies that were not taken because an address of this network was among those of a name outside.
    rebinding,
    /// Questions asked again without a network of clients because upstream refused them with one (RFC 7871).
    subnet_refused,
    /// Queries failed because judging the answer took more upstream questions than one query may ask.
    unjudged: Unjudged,
    /// Queries without RD refused because upstream would have had to be asked.
    no_recursion: NoRecursion,
    /// Queries for protected names.
    protected,
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

    /// Counts what became of a query, each with `add`.
    // In place, for the reason that the observer beside it gives.
    #[inline(always)]
    pub fn count(&self, outcome: &Outcome<'_>, add: impl Fn(&AtomicU64)) {
        if let Some(rcode) = outcome.rcode {
            self.reply(rcode, &add);
        }
        add(self.from(outcome.source));
        let decided = match &outcome.verdict {
            Verdict::Clear => None,
            Verdict::Protected(_) => {
                add(&self.protected);
                None
            }
            Verdict::Passthru(hit) | Verdict::Act(_, hit) => Some(hit),
        };
        let count = |hit: &Hit<'_>| self.action(hit.action).into_iter().for_each(&add);
        decided.into_iter().for_each(count);
        outcome.observed.iter().for_each(count);
    }

    /// Counts a reply with `add`.
    #[inline(always)]
    pub fn reply(&self, rcode: Rcode, add: impl Fn(&AtomicU64)) {
        add(&self.replies);
        // Nearly all are, and their number follows from the others.
        if rcode != Rcode::NOERROR {
            self.rcodes.get(usize::from(rcode.0).min(RCODES - 1)).into_iter().for_each(add);
        }
    }

    /// Adds all of `other`'s counts.
    pub fn merge(&self, other: &Counters) {
        for (mine, theirs) in self.all().zip(other.all()) {
            mine.fetch_add(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// The counter of an action.
    pub fn action(&self, action: Action) -> Option<&AtomicU64> {
        self.actions.get(action.index())
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

    /// Replies by response code, for metrics: those with a name each, all others as one.
    pub fn by_rcode(&self) -> Vec<(String, u64)> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let errors: u64 = self.rcodes.iter().map(read).sum();
        let noerror = (Rcode::NOERROR, read(&self.replies).saturating_sub(errors));
        let (mut named, mut others) = (vec![noerror], 0);
        for (number, count) in (0..).zip(self.rcodes.iter().map(read)).skip(1) {
            // What fits no header: BADVERS alone is said of them.
            match Rcode(number) {
                rcode if rcode.name().is_some() => named.push((rcode, count)),
                _ => others += count,
            }
        }
        let named = named.into_iter().map(|(rcode, count)| (rcode.to_string(), count));
        named.chain([("other".to_owned(), others)]).collect()
    }

    /// Every counter.
    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        self.plain().map(|(_, counter)| counter).chain(&self.actions).chain(&self.rcodes)
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
        let named = (0..).map(Rcode).zip(&self.rcodes).skip(1).filter(|(rcode, _)| rcode.name().is_some());
        for (rcode, value) in named {
            write!(f, " {rcode}={}", value.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Act, MatchKind, Order, Scope, Synthesis, Trigger, TriggerType};

    #[test]
    fn actions_stand_in_the_order_of_their_numbers() {
        assert!(Action::ALL.iter().enumerate().all(|(index, action)| action.index() == index));
    }

    #[test]
    fn merging_adds_every_counter() {
        let (one, other) = (Counters::default(), Counters::default());
        one.all().for_each(Counters::add);
        other.all().for_each(Counters::add_alone);
        one.merge(&other);
        assert!(one.all().all(|counter| counter.load(Ordering::Relaxed) == 2));
        // Replies without an error are told as what is left, and what has no name is told to nobody but metrics.
        let nameless = (0..).take(RCODES).filter(|number| Rcode(*number).name().is_none()).count();
        assert_eq!(one.to_string().matches("=2").count(), one.all().count() - 1 - nameless);
        // Nothing is counted that is not told of: all there is stands in one of the three.
        let held = (one.plain().count() + Action::ALL.len() + RCODES) * size_of::<AtomicU64>();
        assert!(size_of::<Counters>() - held < align_of::<Counters>());
    }

    #[test]
    fn what_became_of_a_query_is_counted_once_each() {
        let (order, scope) = (Order::new("x"), Scope::new(MatchKind::Exact));
        let trigger = Trigger { on: TriggerType::Qname, ..Trigger::new(1, MatchKind::Exact) };
        let hit = |action| Hit { order: &order, scope: &scope, trigger, action, zone: 0 };
        let looks = [hit(Action::Observe), hit(Action::Observe)];
        let acts = |act| Verdict::Act(act, hit(Action::Act(act)));
        let sinkhole = acts(Act::Answer(Synthesis::Sinkhole));
        let told = Some(Rcode::NOERROR);
        for (source, verdict, observed, rcode, expected) in [
            (Source::Forged, sinkhole, &looks[..0], told, "replies forged sinkhole"),
            (Source::Cached, sinkhole, &looks[..], told, "replies cached sinkhole observe observe"),
            (Source::Forged, acts(Act::Drop), &[], None, "forged drop"),
            (
                Source::Cached,
                Verdict::Protected(trigger),
                &[],
                Some(Rcode::NXDOMAIN),
                "replies cached protected NXDOMAIN",
            ),
            (Source::Stale, Verdict::Passthru(hit(Action::Passthru)), &[], told, "replies stale passthru"),
            (Source::Fetched, Verdict::Clear, &looks[..1], told, "replies fetched observe"),
            (Source::Local, Verdict::Clear, &[], told, "replies local"),
            (Source::Filtered, Verdict::Clear, &[], told, "replies filtered"),
            (
                Source::CachedFailure,
                Verdict::Clear,
                &[],
                Some(Rcode::SERVFAIL),
                "replies cached_failures SERVFAIL",
            ),
            (Source::Unjudged, Verdict::Clear, &[], told, "replies unjudged"),
            (Source::NoRecursion, Verdict::Clear, &[], told, "replies no_recursion"),
            (Source::Denied, Verdict::Clear, &[], Some(Rcode::REFUSED), "replies denied REFUSED"),
            (Source::Failed, Verdict::Clear, &[], told, "replies failed"),
            (Source::Unserved, Verdict::Clear, &[], Some(Rcode(16)), "replies unserved BADVERS"),
            (Source::Unserved, Verdict::Clear, &[], Some(Rcode(3000)), "replies unserved BADVERS"),
        ] {
            let counters = Counters::default();
            let outcome = Outcome { source, verdict, observed, rcode, reply: &[], decisive: None };
            counters.count(&outcome, Counters::add_alone);
            let by_rcode: u64 = counters.by_rcode().iter().map(|(_, count)| count).sum();
            assert_eq!(by_rcode, u64::from(rcode.is_some()), "{source:?}");
            let mut words: Vec<&str> = expected.split(' ').collect();
            for count in counters.to_string().split(' ') {
                let (name, value) = count.split_once('=').unwrap();
                let expected = words.iter().filter(|word| **word == name).count();
                assert_eq!(value, expected.to_string(), "{source:?}: {count}");
                words.retain(|word| *word != name);
            }
            assert_eq!(words, [""; 0], "{source:?}");
        }
    }
}
