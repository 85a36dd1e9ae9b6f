//! How often each order decided, or looked on, by its id.
//!
//! Who answers counts alone: a number for each order of the policy that he answers by, at the order's place in it. When another policy is
//! compiled, what was counted is settled by the orders' ids, and there is a new table. So a hit costs an addition, and an order keeps its
//! number over any reload.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::counters::Counters;
use super::outcome::Outcome;
use crate::policy::{Hit, Order, Policy};

/// Orders whose counts are kept after their policy has gone: more than anybody has, and bounded.
const MAX_SETTLED: usize = 65_536;

/// All that was counted; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(Arc<Mutex<Books>>);

/// What was counted by policies that went, and what is being counted.
#[derive(Debug, Default)]
struct Books {
    /// Of policies that went. Replaced as a whole, so that who reads holds nobody up.
    settled: Arc<HashMap<String, u64>>,
    /// The tables in use, one for each who counts.
    tables: Vec<Table>,
}

/// Counts under way. It holds no policy: whoever counts does, for as long as that serves.
#[derive(Clone, Debug)]
struct Table {
    ids: Arc<[String]>,
    counts: Arc<[AtomicU64]>,
}

/// What one who answers counts.
#[derive(Debug)]
pub(super) struct Hits {
    /// Where the policy's first order lies.
    first: usize,
    /// A number for each order from there on.
    counts: Arc<[AtomicU64]>,
    /// The table's place among all.
    place: usize,
    ledger: Ledger,
}

/// The same for several threads, whose queries may be of several policies.
#[derive(Debug)]
pub(super) struct SharedHits(Mutex<(Weak<Policy>, Hits)>);

impl Ledger {
    /// What is counted by that policy from now on, by one more.
    pub(super) fn hits(&self, policy: &Policy) -> Hits {
        let table = Table::of(policy);
        let (first, counts) = (first(policy), Arc::clone(&table.counts));
        let mut books = self.books();
        books.tables.push(table);
        Hits { first, counts, place: books.tables.len() - 1, ledger: self.clone() }
    }

    /// What was counted so far of these orders, in their order.
    pub(super) fn read<'o>(&self, orders: impl Iterator<Item = &'o Order>) -> Vec<(String, u64)> {
        // Two moments of the lock: neither waits for what is read.
        let (settled, tables) = {
            let books = self.books();
            (Arc::clone(&books.settled), books.tables.clone())
        };
        let mut sums: HashMap<&str, u64> = settled.iter().map(|(id, count)| (id.as_str(), *count)).collect();
        for table in &tables {
            table.counted().for_each(|(id, count)| *sums.entry(id).or_default() += count);
        }
        let sum = |order: &Order| sums.get(order.id.as_str()).copied().unwrap_or_default();
        orders.map(|order| (order.id.clone(), sum(order))).collect()
    }

    /// The books; they are whole whatever happened to who held them.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Adds to what is settled; an order beyond the bound is not kept.
    fn settle<'c>(&mut self, counted: impl Iterator<Item = (&'c str, u64)>) {
        let settled = Arc::make_mut(&mut self.settled);
        for (id, count) in counted {
            let has_room = settled.len() < MAX_SETTLED;
            match settled.get_mut(id) {
                Some(sum) => *sum += count,
                None if has_room => drop(settled.insert(id.to_owned(), count)),
                None => {}
            }
        }
    }
}

impl Table {
    /// Nothing counted.
    fn of(policy: &Policy) -> Table {
        let ids: Arc<[String]> = policy.orders().iter().map(|order| order.id.clone()).collect();
        let counts = ids.iter().map(|_| AtomicU64::new(0)).collect();
        Table { ids, counts }
    }

    /// What was counted, by the orders' ids.
    fn counted(&self) -> impl Iterator<Item = (&str, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        self.ids.iter().map(String::as_str).zip(counts).filter(|(_, count)| *count > 0)
    }
}

impl Hits {
    /// Counts a hit where one thread alone counts. An order that is not of the policy followed is passed over.
    #[inline(always)]
    pub(super) fn count(&self, hit: &Hit<'_>) {
        // Orders of a policy lie side by side, so where one lies tells which it is.
        let place = std::ptr::from_ref(hit.order).addr().wrapping_sub(self.first) / size_of::<Order>();
        if let Some(count) = self.counts.get(place) {
            Counters::add_alone(count);
        }
    }

    /// Counts by another policy from now on.
    pub(super) fn follow(&mut self, policy: &Policy) {
        let table = Table::of(policy);
        (self.first, self.counts) = (first(policy), Arc::clone(&table.counts));
        let mut books = self.ledger.books();
        let Some(place) = books.tables.get_mut(self.place) else { return };
        let before = std::mem::replace(place, table);
        books.settle(before.counted());
    }
}

impl SharedHits {
    /// What several threads count.
    pub(super) fn new(ledger: &Ledger, policy: &Arc<Policy>) -> SharedHits {
        SharedHits(Mutex::new((Arc::downgrade(policy), ledger.hits(policy))))
    }

    /// Counts the hits of a query that was answered by that policy.
    pub(super) fn count(&self, policy: &Arc<Policy>, outcome: &Outcome<'_>) {
        let mut hits = outcome.hits().peekable();
        if hits.peek().is_none() {
            return;
        }
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (followed, table) = &mut *shared;
        // One that nobody answers by any more has let go of its orders: others may lie there by now.
        match followed.upgrade() {
            Some(followed) if policy.is_compiled_with(&followed) => hits.for_each(|hit| table.count(hit)),
            // One that began before the policy followed came is settled at once: there and back would cost as much as there are orders.
            Some(followed) if policy.epoch() < followed.epoch() => {
                table.ledger.books().settle(hits.map(|hit| (hit.order.id.as_str(), 1)));
            }
            _ => {
                *followed = Arc::downgrade(policy);
                table.follow(policy);
                hits.for_each(|hit| table.count(hit));
            }
        }
    }
}

/// Where the first order of a policy lies; it stays there for as long as that lives.
fn first(policy: &Policy) -> usize {
    policy.orders().as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iana::Rcode;
    use crate::name::NameList;
    use crate::policy::{MatchKind, OrderWithNames, PolicyZone, Scope, Verdict};
    use crate::resolver::outcome::Source;

    /// A policy of these orders, each of one name of its own.
    fn policy(ids: &[&str], epoch: u64) -> Arc<Policy> {
        let listed = |id: &&str| {
            let mut order = Order::new(*id);
            order.scopes = vec![Scope::new(MatchKind::Exact)];
            let names: NameList = [format!("{id}.example").parse().unwrap()].into_iter().collect();
            Arc::new(OrderWithNames::listing(order, [names]))
        };
        let zones = [PolicyZone { name: String::new(), orders: ids.iter().map(listed).collect() }];
        Arc::new(Policy::compile(&zones, &[], epoch))
    }

    /// What a name comes to.
    fn verdict<'p>(policy: &'p Policy, id: &str) -> Verdict<'p> {
        policy.verdict(&format!("{id}.example").parse().unwrap(), 0)
    }

    /// What was counted of these orders.
    fn read(ledger: &Ledger, policy: &Policy) -> String {
        let counts = ledger.read(policy.orders().iter());
        counts.iter().map(|(id, count)| format!("{id}={count} ")).collect::<String>().trim_end().to_owned()
    }

    #[test]
    fn an_order_keeps_its_number_over_reloads_and_whoever_counts() {
        let (before, after) = (policy(&["a", "b"], 1), policy(&["c", "b", "d", "a"], 2));
        let ledger = Ledger::default();
        let (mut one, other) = (ledger.hits(&before), ledger.hits(&before));
        let shared = SharedHits::new(&ledger, &before);
        let count = |hits: &Hits, policy: &Policy, id: &str| hits.count(verdict(policy, id).hit().unwrap());
        let share = |policy: &Arc<Policy>, id: &str| {
            let verdict = verdict(policy, id);
            let outcome = Outcome {
                source: Source::Forged,
                verdict,
                observed: &[],
                rcode: None,
                reply: &[],
                decisive: None,
            };
            shared.count(policy, &outcome);
        };
        (0..3).for_each(|_| count(&one, &before, "b"));
        count(&other, &before, "a");
        share(&before, "a");
        assert_eq!(read(&ledger, &before), "a=2 b=3");
        one.follow(&after);
        count(&one, &after, "d");
        count(&one, &before, "a"); // it follows another policy: passed over
        share(&after, "b");
        share(&before, "b"); // it began before
        share(&Arc::new(after.with_overrides(&[], 3)), "c");
        // Nobody keeps what serves no longer.
        let gone = policy(&["e", "a"], 5);
        share(&gone, "e");
        let gone = {
            let weak = Arc::downgrade(&gone);
            drop(gone);
            weak
        };
        assert!(gone.upgrade().is_none());
        assert_eq!(read(&ledger, &after), "c=1 b=5 d=1 a=2");
        assert_eq!(read(&ledger, &before), "a=2 b=5");
        let observed = [*verdict(&after, "a").hit().unwrap(); 2];
        let outcome = Outcome {
            source: Source::Cached,
            verdict: Verdict::Clear,
            observed: &observed,
            rcode: None,
            reply: &[],
            decisive: None,
        };
        shared.count(&after, &outcome);
        assert_eq!(read(&ledger, &after), "c=1 b=5 d=1 a=4");
        shared.count(&after, &Outcome { observed: &[], rcode: Some(Rcode::NOERROR), ..outcome });
        assert_eq!(read(&ledger, &after), "c=1 b=5 d=1 a=4");
    }

    #[test]
    fn what_is_kept_of_orders_that_went_is_bounded() {
        let mut books = Books::default();
        let ids: Vec<String> = (0..MAX_SETTLED + 10).map(|number| number.to_string()).collect();
        books.settle(ids.iter().map(|id| (id.as_str(), 1)));
        books.settle(ids.iter().take(1).map(|id| (id.as_str(), 1)));
        assert_eq!((books.settled.len(), books.settled["0"]), (MAX_SETTLED, 2));
    }
}
