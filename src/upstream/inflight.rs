//! Identical questions under way share one asking, and of one name and type there is one at a time.
//!
//! Whoever forges replies has as many targets as a name is asked for at once (RFC 5452 §5, the birthday attack), and by DO and CD
//! that could be four. So whoever asks otherwise waits until the one before is answered.

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::{Entry, VacantEntry};
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

/// How often a question waits for another one of its name and type: DO and CD make four.
const MAX_TURNS: usize = 4;

/// What came of the calls so far; they only grow.
#[derive(Debug, Default)]
pub struct InflightCounters {
    /// Calls that started work.
    pub started: AtomicU64,
    /// Calls that waited for work already under way.
    pub joined: AtomicU64,
    /// Waits for another question of the same name and type.
    pub behind: AtomicU64,
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
    flights: DashMap<Asked, UnderWay<V>>,
    /// Entries in `flights`: its own `len` would take every shard's lock, one of which the caller holds.
    questions: AtomicUsize,
    counters: InflightCounters,
}

/// A question, of which there is one at a time by name and type.
#[derive(Clone, Copy, Debug)]
struct Asked(Question);

impl PartialEq for Asked {
    fn eq(&self, Asked(other): &Asked) -> bool {
        (self.0.qname, self.0.qtype) == (other.qname, other.qtype)
    }
}

impl Eq for Asked {}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.qname.hash(state);
        self.0.qtype.hash(state);
    }
}

/// A question under way.
#[derive(Debug)]
struct UnderWay<V> {
    /// Where those hear of its result who wait for it, once there are any.
    result: Option<watch::Sender<Option<V>>>,
}

impl<V> UnderWay<V> {
    /// Where its result can be heard.
    fn subscribe(&mut self) -> watch::Receiver<Option<V>> {
        self.result.get_or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    /// How many wait for it.
    fn waiters(&self) -> usize {
        self.result.as_ref().map_or(0, watch::Sender::receiver_count)
    }
}

/// What becomes of a question that comes.
#[expect(clippy::large_enum_variant, reason = "the first one is what comes of nearly all, and is moved once")]
enum Entered<V> {
    /// Nobody asks it, nor another one of its name and type.
    First(Flight<V>),
    /// It is asked already; this will be its result.
    Joined(watch::Receiver<Option<V>>),
    /// Another one of its name and type is asked; this will be that one's result.
    Behind(watch::Receiver<Option<V>>),
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
        for _ in 0..MAX_TURNS {
            match self.enter(question)? {
                Entered::First(flight) => return self.go_on(flight, make()).await,
                Entered::Joined(result) => return wait(result).await,
                // However that ends, it is over.
                Entered::Behind(result) => drop(wait(result).await),
            }
        }
        self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
        Err(Full)
    }

    /// A question whose work is done elsewhere, while others can join it; none where somebody asks for its name and type already, or half
    /// of the room is taken: what comes then [runs](Self::run), and ends when nobody waits for it any more, which this does not.
    pub fn begin(&self, question: Question) -> Option<Flight<V>> {
        if self.len() >= self.shared.limits.questions / 2 {
            return None;
        }
        match self.shared.flights.entry(Asked(question)) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => Some(self.start(place)),
        }
    }

    /// The result of a question that was begun, by this work from here on.
    ///
    /// # Errors
    /// [`Full`] when the work panicked.
    pub async fn go_on<W>(&self, flight: Flight<V>, work: W) -> Result<V, Full>
    where
        W: Future<Output = V> + Send + 'static,
    {
        let result = flight.subscribe().ok_or(Full)?;
        tokio::spawn(fly(work, flight));
        wait(result).await
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

    /// Joins the question's flight, or starts one or waits behind another. Not async, so that no map lock lives across an await.
    fn enter(&self, question: Question) -> Result<Entered<V>, Full> {
        let Shared { limits, flights, questions, counters } = &*self.shared;
        match flights.entry(Asked(question)) {
            Entry::Occupied(mut flight) if flight.get().waiters() < limits.waiters => {
                let result = flight.get_mut().subscribe();
                if flight.key().0 == question {
                    counters.joined.fetch_add(1, Ordering::Relaxed);
                    return Ok(Entered::Joined(result));
                }
                counters.behind.fetch_add(1, Ordering::Relaxed);
                Ok(Entered::Behind(result))
            }
            Entry::Vacant(place) if questions.load(Ordering::Relaxed) < limits.questions => {
                Ok(Entered::First(self.start(place)))
            }
            Entry::Occupied(_) | Entry::Vacant(_) => {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                Err(Full)
            }
        }
    }

    /// A question is under way from here on.
    fn start(&self, place: VacantEntry<'_, Asked, UnderWay<V>>) -> Flight<V> {
        let Shared { questions, counters, .. } = &*self.shared;
        counters.started.fetch_add(1, Ordering::Relaxed);
        questions.fetch_add(1, Ordering::Relaxed);
        let asked = *place.key();
        place.insert(UnderWay { result: None });
        Flight { shared: Arc::clone(&self.shared), asked, over: false }
    }
}

/// A question that is under way until this lands, or is dropped: by a panic, or with its runtime. Then whoever joined it is turned away.
#[derive(Debug)]
pub struct Flight<V> {
    shared: Arc<Shared<V>>,
    asked: Asked,
    /// Whether it is out of the map already.
    over: bool,
}

impl<V> Flight<V> {
    /// What is asked.
    pub fn question(&self) -> &Question {
        &self.asked.0
    }

    /// Hands its result to all who wait.
    pub fn land(mut self, value: V) {
        if let Some(result) = self.end() {
            result.send_replace(Some(value));
        }
    }

    /// Where its result can be heard.
    fn subscribe(&self) -> Option<watch::Receiver<Option<V>>> {
        self.shared.flights.get_mut(&self.asked).map(|mut under_way| under_way.subscribe())
    }

    /// Ends when nobody waits any more, though somebody may again before this is known.
    async fn deserted(&self) {
        let result = self.shared.flights.get(&self.asked).and_then(|under_way| under_way.result.clone());
        if let Some(result) = result {
            result.closed().await;
        }
    }

    /// Takes the question out unless somebody joined meanwhile; whether it did. Nobody can join while the map looks.
    fn give_up(&mut self) -> bool {
        let nobody = |_: &_, under_way: &mut UnderWay<V>| under_way.waiters() == 0;
        self.over = self.shared.flights.remove_if_mut(&self.asked, nobody).is_some();
        if self.over {
            self.shared.questions.fetch_sub(1, Ordering::Relaxed);
            self.shared.counters.given_up.fetch_add(1, Ordering::Relaxed);
        }
        self.over
    }

    /// Takes the question out. That comes before its value goes out: whoever comes later starts anew, and all who came get the value.
    fn end(&mut self) -> Option<watch::Sender<Option<V>>> {
        if std::mem::replace(&mut self.over, true) {
            return None;
        }
        self.shared.questions.fetch_sub(1, Ordering::Relaxed);
        let (_, under_way) = self.shared.flights.remove(&self.asked)?;
        under_way.result
    }
}

impl<V> Drop for Flight<V> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits for a result.
async fn wait<V: Clone>(mut result: watch::Receiver<Option<V>>) -> Result<V, Full> {
    // An error means that every sender is gone: the work panicked.
    let value = result.wait_for(Option::is_some).await.map_err(|_| Full)?;
    value.clone().ok_or(Full)
}

/// Does the work and hands its result to all who wait, unless nobody does any more.
async fn fly<V>(work: impl Future<Output = V>, mut flight: Flight<V>) {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            value = &mut work => return flight.land(value),
            () = flight.deserted() => if flight.give_up() {
                return;
            },
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
        let other = Question { qtype: Rtype::AAAA, ..question("a") };
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
    async fn of_one_name_and_type_there_is_one_question_at_a_time() {
        let inflight = Inflight::new(InflightLimits::default());
        let asked = AtomicUsize::new(0);
        let work = |value: u32| {
            asked.fetch_add(1, Ordering::Relaxed);
            ready(value)
        };
        let (finish, finished) = oneshot::channel::<u32>();
        let mut first = Box::pin(inflight.run(question("a"), || async { finished.await.unwrap() }));
        let otherwise =
            |dnssec_ok, checking_disabled| Question { dnssec_ok, checking_disabled, ..question("a") };
        let mut second = Box::pin(inflight.run(otherwise(true, false), || work(2)));
        let mut third = Box::pin(inflight.run(otherwise(true, true), || work(3)));
        tokio::select! {
            biased;
            _ = &mut first => panic!(), _ = &mut second => panic!(), _ = &mut third => panic!(), () = ready(()) => {}
        }
        assert_eq!((asked.load(Ordering::Relaxed), inflight.len()), (0, 1));
        assert_eq!(count(&inflight.counters().behind), 2);
        finish.send(1).unwrap();
        // Each has an answer of its own.
        assert_eq!(tokio::join!(first, second, third), (Ok(1), Ok(2), Ok(3)));
        assert!(inflight.is_empty());
    }

    #[tokio::test]
    async fn a_question_that_is_nobodys_task_can_be_joined_and_goes_on() {
        let inflight = Arc::new(Inflight::new(InflightLimits { questions: 4, ..InflightLimits::default() }));
        let flight = inflight.begin(question("a")).unwrap();
        assert!(inflight.begin(question("a")).is_none());
        let mut joined = Box::pin(inflight.run(question("a"), || ready(0)));
        tokio::select! { biased; _ = &mut joined => panic!(), () = ready(()) => {} }
        flight.land(1);
        assert_eq!(joined.await, Ok(1));
        // One that takes longer is a task from then on.
        let flight = inflight.begin(question("a")).unwrap();
        let mut joined = Box::pin(inflight.run(question("a"), || ready(0)));
        tokio::select! { biased; _ = &mut joined => panic!(), () = ready(()) => {} }
        assert_eq!(inflight.go_on(flight, ready(2)).await, Ok(2));
        assert_eq!(joined.await, Ok(2));
        // Where it is forgotten, nobody waits for ever.
        let flight = inflight.begin(question("a")).unwrap();
        let mut joined = Box::pin(inflight.run(question("a"), || ready(0)));
        tokio::select! { biased; _ = &mut joined => panic!(), () = ready(()) => {} }
        drop(flight);
        assert_eq!(joined.await, Err(Full));
        assert!(inflight.is_empty());
        // The other half of the room is for those that can be given up.
        let held = ["a", "b"].map(|name| inflight.begin(question(name)).unwrap());
        assert!(inflight.begin(question("c")).is_none());
        assert_eq!(inflight.run(question("c"), || ready(3)).await, Ok(3));
        drop(held);
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
