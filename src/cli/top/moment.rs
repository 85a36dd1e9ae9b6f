//! What is so in a moment: what two readings of counters differ by, and what was heard lately.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::window::{Lately, Window};
use crate::control::api::types::{CountersShown, Waited};

/// Names, clients and orders that are told.
const MOST: usize = 50;

/// Where answers come from, in a few words, and which of the server's sources each is.
pub(super) const SOURCES: [(&str, &[&str]); 7] = [
    ("sinkholed", &["forged"]),
    ("local", &["local", "filtered"]),
    ("cached", &["cached"]),
    ("stale", &["stale"]),
    ("fetched", &["fetched"]),
    ("failed", &["failed", "cached-failure", "unjudged"]),
    ("refused", &["denied", "no-recursion", "unserved"]),
];

/// What is so.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Moment {
    /// How long it is, in seconds.
    pub(super) seconds: f64,
    /// Queries a second.
    pub(super) queries: f64,
    /// The same by where answers come from, as [`SOURCES`] has them.
    pub(super) sources: Vec<Rate>,
    /// Orders that decided or looked on, the most frequent first.
    pub(super) orders: Vec<OrderRate>,
    /// How long queries took that waited for an upstream.
    pub(super) waits: Waits,
    /// Queries that wait now.
    pub(super) waiting: u64,
    /// TCP connections now.
    pub(super) connections: u64,
    /// Answers in the cache now.
    pub(super) cached: u64,
    /// What was heard in the last seconds.
    pub(super) lately: Lately,
}

/// How often something is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Rate {
    /// What.
    pub(super) what: &'static str,
    /// Times a second.
    pub(super) per_second: f64,
}

/// How often an order decides or looks on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct OrderRate {
    /// Its id.
    pub(super) order: String,
    /// Times a second.
    pub(super) per_second: f64,
    /// Times since the server began.
    pub(super) hits: u64,
}

/// How long was waited; each is the least bound that so many did not pass, none if nobody waited, or for longer than all bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Waits {
    /// Queries that waited.
    pub(super) count: u64,
    /// Half of them.
    pub(super) p50_us: Option<u64>,
    /// Nine of ten.
    pub(super) p90_us: Option<u64>,
    /// 99 of 100.
    pub(super) p99_us: Option<u64>,
}

impl Moment {
    /// What is so between two readings.
    pub(super) fn of(
        before: &CountersShown,
        now: &CountersShown,
        window: &mut Window,
        at: Instant,
    ) -> Moment {
        // A server that was started anew counts from zero.
        let zero = CountersShown { at_ms: now.at_ms.saturating_sub(1000), ..CountersShown::default() };
        let before = if now.queries < before.queries || now.at_ms <= before.at_ms { &zero } else { before };
        let seconds = now.at_ms.saturating_sub(before.at_ms) as f64 / 1000.0;
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds.max(0.001);
        let count = |counts: &BTreeMap<String, u64>, key: &str| counts.get(key).copied().unwrap_or(0);
        let of_all =
            |counts: &BTreeMap<String, u64>, keys: &[&str]| keys.iter().map(|key| count(counts, key)).sum();
        let sources = SOURCES.iter().map(|(what, keys)| Rate {
            what,
            per_second: rate(of_all(&now.sources, keys), of_all(&before.sources, keys)),
        });
        let mut orders: Vec<OrderRate> = now
            .orders
            .iter()
            .filter(|(_, hits)| **hits > 0)
            .map(|(order, hits)| OrderRate {
                order: order.clone(),
                per_second: rate(*hits, count(&before.orders, order)),
                hits: *hits,
            })
            .collect();
        orders.sort_by(|one, other| {
            other.per_second.total_cmp(&one.per_second).then(other.hits.cmp(&one.hits))
        });
        orders.truncate(MOST);
        Moment {
            seconds,
            queries: rate(now.queries, before.queries),
            sources: sources.collect(),
            orders,
            waits: Waits::of(&before.waited, &now.waited),
            waiting: now.waiting,
            connections: now.connections,
            cached: now.cached,
            lately: window.lately(MOST, at),
        }
    }
}

impl Waits {
    /// What two readings differ by.
    fn of(before: &[Waited], now: &[Waited]) -> Waits {
        let earlier = |index: usize| before.get(index).map_or(0, |waited| waited.count);
        let counts: Vec<(Option<u64>, u64)> = now
            .iter()
            .enumerate()
            .map(|(index, waited)| (waited.up_to_us, waited.count.saturating_sub(earlier(index))))
            .collect();
        let count: u64 = counts.iter().map(|(_, count)| count).sum();
        let at = |percent: u64| {
            let wanted = (count * percent).div_ceil(100);
            let mut sum = 0;
            let place = counts.iter().find(|(_, more)| {
                sum += more;
                sum >= wanted
            });
            place.filter(|_| count > 0).and_then(|(bound, _)| *bound)
        };
        Waits { count, p50_us: at(50), p90_us: at(90), p99_us: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reading.
    fn reading(at_ms: u64, queries: u64, sources: &[(&str, u64)], orders: &[(&str, u64)]) -> CountersShown {
        let map =
            |pairs: &[(&str, u64)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
        CountersShown {
            at_ms,
            queries,
            sources: map(sources),
            orders: map(orders),
            ..CountersShown::default()
        }
    }

    #[test]
    fn rates_are_differences_by_time() {
        let before = reading(10_000, 100, &[("cached", 60), ("failed", 1)], &[("a", 10), ("b", 5)]);
        let now = reading(
            12_000,
            300,
            &[("cached", 200), ("failed", 2), ("cached-failure", 3)],
            &[("a", 12), ("b", 25), ("c", 0)],
        );
        let moment = |before, now| Moment::of(before, now, &mut Window::default(), Instant::now());
        let between = moment(&before, &now);
        assert_eq!((between.seconds, between.queries), (2.0, 100.0));
        let of = |what: &str| between.sources.iter().find(|rate| rate.what == what).unwrap().per_second;
        assert_eq!((of("cached"), of("failed"), of("sinkholed")), (70.0, 2.0, 0.0));
        let orders: Vec<_> =
            between.orders.iter().map(|one| (&one.order[..], one.per_second, one.hits)).collect();
        assert_eq!(orders, [("b", 10.0, 25), ("a", 1.0, 12)]);
        // Started anew: all that it counts is of the last second, about.
        assert_eq!(moment(&now, &reading(500, 50, &[], &[])).queries, 100.0);
    }

    #[test]
    fn waits_are_told_by_the_bound_that_so_many_did_not_pass() {
        let waited = |counts: [u64; 4]| {
            let bounds = [Some(500), Some(1000), Some(2000), None];
            bounds
                .into_iter()
                .zip(counts)
                .map(|(up_to_us, count)| Waited { up_to_us, count })
                .collect::<Vec<_>>()
        };
        for (before, now, expected) in [
            ([0; 4], [0; 4], (0, None, None, None)),
            ([9, 9, 9, 9], [9, 10, 9, 9], (1, Some(1000), Some(1000), Some(1000))),
            ([0; 4], [50, 40, 9, 1], (100, Some(500), Some(1000), Some(2000))),
            ([0; 4], [0, 0, 1, 9], (10, None, None, None)),
        ] {
            let waits = Waits::of(&waited(before), &waited(now));
            assert_eq!((waits.count, waits.p50_us, waits.p90_us, waits.p99_us), expected);
        }
    }
}
