//! Identical questions under way share one asking.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::watch;

use crate::dns::Question;

/// Bounds on what is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InflightLimits {
    /// Distinct questions; 4096 by default, as many as the forwarder asks at once.
    pub questions: usize,
    /// Callers that wait for one question, the first among them; 1024 by default: a question lives a few seconds, and
    /// whoever comes beyond that asks again.
    pub waiters: usize,
}

impl Default for InflightLimits {
    fn default() -> InflightLimits {
        InflightLimits { questions: 4096, waiters: 1024 }
    }
}

/// What came of the calls so far; they only grow.
#[derive(Debug, Default)]
pub struct InflightCounters {
    /// Calls that started work.
    pub started: AtomicU64,
    /// Calls that waited for work already under way.
    pub joined: AtomicU64,
    /// Calls turned away: too many questions, or too many waiters for one.
    pub refused: AtomicU64,
    /// Work given up because nobody waited for it any more.
    pub given_up: AtomicU64,
}

/// The call was turned away: too much is under way, or (a defect) the work ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Work under way by question.
#[derive(Debug)]
pub struct Inflight<V> {
    shared: Arc<Shared<V>>,
}

/// What callers and the work they started have in common.
#[derive(Debug)]
struct Shared<V> {
    limits: InflightLimits,
    /// The sender lives here so that a caller can subscribe; the work holds a clone of it.
    flights: DashMap<Question, watch::Sender<Option<V>>>,
    /// Entries in `flights`: its own `len` would take every shard's lock, one of which the caller holds.
    questions: AtomicUsize,
    counters: InflightCounters,
}

impl<V: Clone + Send + Sync + 'static> Inflight<V> {
    /// Nothing under way.
    pub fn new(limits: InflightLimits) -> Inflight<V> {
        let shared = Shared {
            limits,
            flights: DashMap::new(),
            questions: AtomicUsize::new(0),
            counters: InflightCounters::default(),
        };
        Inflight { shared: Arc::new(shared) }
    }

    /// The result of `make`'s future, or of one already under way for the same question.
    ///
    /// The work runs in a task of its own: the caller who began it may go away, and others still have its result. It ends
    /// with its last caller, for whoever gives up makes room. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Full`] when a limit is reached or the work panicked.
    pub async fn run<F, W>(&self, question: Question, make: F) -> Result<V, Full>
    where
        F: FnOnce() -> W,
        W: Future<Output = V> + Send + 'static,
    {
        let mut result = self.enter(question, make)?;
        // An error means that every sender is gone: the work panicked.
        let value = result.wait_for(Option::is_some).await.map_err(|_| Full)?;
        value.clone().ok_or(Full)
    }

    /// Distinct questions under way now.
    pub fn len(&self) -> usize {
        self.shared.questions.load(Ordering::Relaxed)
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What came of the calls so far.
    pub fn counters(&self) -> &InflightCounters {
        &self.shared.counters
    }

    /// Joins the question's flight or starts one. Not async, so that no map lock lives across an await.
    fn enter<F, W>(&self, question: Question, make: F) -> Result<watch::Receiver<Option<V>>, Full>
    where
        F: FnOnce() -> W,
        W: Future<Output = V> + Send + 'static,
    {
        let Shared { limits, flights, questions, counters } = &*self.shared;
        match flights.entry(question) {
            Entry::Occupied(flight) if flight.get().receiver_count() < limits.waiters => {
                counters.joined.fetch_add(1, Ordering::Relaxed);
                Ok(flight.get().subscribe())
            }
            Entry::Vacant(place) if questions.load(Ordering::Relaxed) < limits.questions => {
                counters.started.fetch_add(1, Ordering::Relaxed);
                questions.fetch_add(1, Ordering::Relaxed);
                let (sender, receiver) = watch::channel(None);
                place.insert(sender.clone());
                let guard = InflightGuard { shared: Arc::clone(&self.shared), question, landed: false };
                tokio::spawn(fly(make(), sender, guard));
                Ok(receiver)
            }
            Entry::Occupied(_) | Entry::Vacant(_) => {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                Err(Full)
            }
        }
    }
}

/// Does the work and hands its result to all who wait, unless nobody does any more.
async fn fly<V>(
    work: impl Future<Output = V>,
    sender: watch::Sender<Option<V>>,
    mut guard: InflightGuard<V>,
) {
    let mut work = pin!(work);
    let value = loop {
        tokio::select! {
            biased;
            value = &mut work => break value,
            () = sender.closed() => if guard.give_up() {
                return;
            },
        }
    };
    // Out of the map before the value goes out: whoever comes later starts anew, and every receiver there is gets the value.
    drop(guard);
    sender.send_replace(Some(value));
}

/// Takes a question out of the map when its work ends, also by a panic or with its runtime.
struct InflightGuard<V> {
    shared: Arc<Shared<V>>,
    question: Question,
    /// Whether it is out already.
    landed: bool,
}

impl<V> InflightGuard<V> {
    /// Takes the question out unless somebody joined meanwhile; whether it did. Nobody can join while the map looks.
    fn give_up(&mut self) -> bool {
        let nobody = |_: &Question, flight: &mut watch::Sender<Option<V>>| flight.receiver_count() == 0;
        self.landed = self.shared.flights.remove_if_mut(&self.question, nobody).is_some();
        if self.landed {
            self.shared.questions.fetch_sub(1, Ordering::Relaxed);
            self.shared.counters.given_up.fetch_add(1, Ordering::Relaxed);
        }
        self.landed
    }
}

impl<V> Drop for InflightGuard<V> {
    fn drop(&mut self) {
        if !self.landed {
            self.shared.flights.remove(&self.question);
            self.shared.questions.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;

    use super::*;
    use crate::iana::{Class, Rtype};

    fn question(name: &str) -> Question {
        Question {
            qname: name.parse().unwrap(),
            qtype: Rtype::A,
            qclass: Class::IN,
            dnssec_ok: false,
            checking_disabled: false,
        }
    }

    fn count(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn identical_questions_share_one_work() {
        let inflight = Arc::new(Inflight::new(InflightLimits::default()));
        let (finish, finished) = oneshot::channel::<u32>();
        let mut first = Box::pin(inflight.run(question("a"), || async { finished.await.unwrap() }));
        let mut second = Box::pin(inflight.run(question("a"), || ready(0)));
        // One poll each: the first starts, the second joins.
        tokio::select! { biased; _ = &mut first => panic!(), _ = &mut second => panic!(), () = ready(()) => {} }
        assert_eq!(inflight.run(question("b"), || ready(7)).await, Ok(7));
        let other = Question { checking_disabled: true, ..question("a") };
        assert_eq!(inflight.run(other, || ready(8)).await, Ok(8));
        finish.send(42).unwrap();
        assert_eq!((first.await, second.await), (Ok(42), Ok(42)));
        assert!(inflight.is_empty());
        assert_eq!(count(&inflight.counters().started), 3);
        assert_eq!(count(&inflight.counters().joined), 1);
        // Landed: the next one starts anew.
        assert_eq!(inflight.run(question("a"), || ready(9)).await, Ok(9));
    }

    #[tokio::test]
    async fn the_work_outlives_its_first_caller_for_others() {
        let inflight = Inflight::new(InflightLimits::default());
        let (finish, finished) = oneshot::channel::<u32>();
        let mut first = Box::pin(inflight.run(question("a"), || async { finished.await.unwrap() }));
        let mut second = Box::pin(inflight.run(question("a"), || ready(0)));
        tokio::select! { biased; _ = &mut first => panic!(), _ = &mut second => panic!(), () = ready(()) => {} }
        drop(first);
        tokio::task::yield_now().await;
        assert_eq!(inflight.len(), 1);
        let (second, ()) = tokio::join!(second, async { finish.send(5).unwrap() });
        assert_eq!(second, Ok(5));
    }

    #[tokio::test]
    async fn work_nobody_waits_for_makes_room() {
        let inflight = Inflight::new(InflightLimits { questions: 1, ..InflightLimits::default() });
        let mut first = Box::pin(inflight.run(question("a"), pending::<u32>));
        tokio::select! { biased; _ = &mut first => panic!(), () = ready(()) => {} }
        drop(first);
        // Whoever joins before it has landed keeps it flying.
        let mut second = Box::pin(inflight.run(question("a"), || ready(0)));
        tokio::select! { biased; _ = &mut second => panic!(), () = ready(()) => {} }
        tokio::task::yield_now().await;
        assert_eq!((inflight.len(), count(&inflight.counters().given_up)), (1, 0));
        drop(second);
        tokio::task::yield_now().await;
        assert_eq!((inflight.len(), count(&inflight.counters().given_up)), (0, 1));
        assert_eq!(inflight.run(question("b"), || ready(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn limits_hold() {
        let inflight = Inflight::new(InflightLimits { questions: 2, waiters: 2 });
        let mut waiting = Vec::new();
        for name in ["a", "a", "b"] {
            let mut run = Box::pin(inflight.run(question(name), pending::<u32>));
            tokio::select! { biased; _ = &mut run => panic!(), () = ready(()) => {} }
            waiting.push(run);
        }
        assert_eq!(inflight.run(question("a"), pending).await, Err(Full));
        assert_eq!(inflight.run(question("c"), pending).await, Err(Full));
        assert_eq!(count(&inflight.counters().refused), 2);
        // A waiter that leaves makes room for another.
        drop(waiting.remove(1));
        let mut run = Box::pin(inflight.run(question("a"), pending));
        tokio::select! { biased; _ = &mut run => panic!(), () = ready(()) => {} }
    }

    #[tokio::test]
    async fn a_panic_leaves_nothing_behind() {
        let inflight: Inflight<u32> = Inflight::new(InflightLimits::default());
        let work = async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        };
        assert_eq!(inflight.run(question("a"), || work).await, Err(Full));
        assert!(inflight.is_empty());
        assert_eq!(inflight.run(question("a"), || ready(1)).await, Ok(1));
    }
}
