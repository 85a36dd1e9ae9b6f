//! Identical questions under way share one asking, and of one name and type there is one at a time.
//!
//! Whoever forges replies has as many targets as a name is asked for at once (RFC 5452 §5, the birthday attack), and by DO and CD
//! that could be four. So whoever asks otherwise waits until the one before is answered. Where upstream is told of networks of clients
//! (RFC 7871 §11.2) there are as many as ask: to have them wait for each other would be to have most of them wait for long.
//!
//! Where there is no room, what has been asked for long makes some: names that hang would else keep out all others for as long as
//! anybody waits for them. That takes half of the room at most, as in Unbound (num-queries-per-thread, jostle-timeout): what was begun while
//! there was plenty is asked to its end, so that a slow upstream answers some questions whatever comes.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::hash::{Hash, Hasher};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::{Entry, VacantEntry};
use tokio::sync::{oneshot, watch};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::dns::Question;

/// How long who says no takes at the most: what fails later has had no answer, whatever was asked.
const FOR_LONG: Duration = Duration::from_secs(1);

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
/// How long a question is asked before it gives way to another one: Unbound's jostle-timeout. Most that have an answer have it by
/// then.
const LONG: Duration = Duration::from_millis(200);

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
    /// Work given up though somebody waited, to make room.
    pub gave_way: AtomicU64,
}

/// Why a call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// It was turned away: too much is under way, or (a defect) the work ended without a result.
    NoRoom,
    /// Its work had taken long when another call needed the room.
    GaveWay,
}

/// Work under way by question.
#[derive(Debug)]
pub struct Inflight<V> {
    shared: Arc<Shared<V>>,
    /// Whether a result says that nothing came.
    is_failure: fn(&V) -> bool,
}

/// What callers and the work they started have in common.
#[derive(Debug)]
struct Shared<V> {
    limits: InflightLimits,
    flights: DashMap<Asked, UnderWay<V>>,
    /// Entries in `flights`: its own `len` would take every shard's lock, one of which the caller holds.
    questions: AtomicUsize,
    /// Those of them that are asked to their end, at most half of the room.
    lasting: AtomicUsize,
    /// The others, from the oldest to the newest, and some that are over.
    others: Mutex<VecDeque<Other>>,
    counters: InflightCounters,
}

/// A question under way that gives way once it has been asked for long.
#[derive(Debug)]
struct Other {
    asked: Asked,
    number: u64,
    since: Instant,
    /// Tells its work; closed when that is over.
    give_way: oneshot::Sender<()>,
}

/// A question, of which there is one at a time by name, type and the network that it is asked for.
#[derive(Clone, Copy, Debug)]
struct Asked(Question);

impl PartialEq for Asked {
    fn eq(&self, Asked(other): &Asked) -> bool {
        (self.0.qname, self.0.qtype, self.0.asked_for) == (other.qname, other.qtype, other.asked_for)
    }
}

impl Eq for Asked {}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.qname.hash(state);
        self.0.qtype.hash(state);
        self.0.asked_for.hash(state);
    }
}

/// A question under way.
#[derive(Debug)]
struct UnderWay<V> {
    /// Tells it from those of the same name and type before and after it.
    number: u64,
    /// Where those hear of its result who wait for it, once there are any.
    result: Option<watch::Sender<Heard<V>>>,
}

/// What is heard of a question: nothing yet, its result, or that there will be none.
type Heard<V> = Option<Result<V, Full>>;

impl<V> UnderWay<V> {
    /// Where its result can be heard.
    fn subscribe(&mut self) -> watch::Receiver<Heard<V>> {
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
    Joined(watch::Receiver<Heard<V>>),
    /// Another one of its name and type is asked; this will be that one's result.
    Behind(watch::Receiver<Heard<V>>),
    /// There is no room for one more.
    NoRoom,
}

impl<V: Clone + Send + Sync + 'static> Inflight<V> {
    /// Nothing under way.
    pub fn new(limits: InflightLimits) -> Inflight<V> {
        let shared = Shared {
            limits,
            flights: DashMap::new(),
            questions: AtomicUsize::new(0),
            lasting: AtomicUsize::new(0),
            others: Mutex::default(),
            counters: InflightCounters::default(),
        };
        Inflight { shared: Arc::new(shared), is_failure: |_| false }
    }

    /// The same, but these results say that nothing came.
    #[must_use]
    pub fn failures(self, is_failure: fn(&V) -> bool) -> Inflight<V> {
        Inflight { is_failure, ..self }
    }

    /// The result of `make`'s future, or of one already under way for the same question; or that of one with other flags which it waited
    /// for for long, if that [failed](Self::failures): then nobody has said anything, and would not to these flags.
    ///
    /// The work runs in a task of its own: the caller who began it may go away, and others still have its result. It ends
    /// with its last caller, for whoever gives up makes room. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Full`] when a limit is reached, the work panicked or had to give way.
    pub async fn run<F, W>(&self, question: Question, make: F) -> Result<V, Full>
    where
        F: FnOnce() -> W,
        W: Future<Output = V> + Send + 'static,
    {
        let came = Instant::now();
        for _ in 0..MAX_TURNS {
            match self.enter(question)? {
                Entered::First(flight) => return self.go_on(flight, make()).await,
                Entered::Joined(result) => return wait(result).await,
                Entered::Behind(result) => match wait(result).await {
                    Ok(failure) if (self.is_failure)(&failure) && came.elapsed() >= FOR_LONG => {
                        return Ok(failure);
                    }
                    // However that ended, it is over.
                    Ok(_) | Err(_) => {}
                },
                Entered::NoRoom if self.shared.make_room() => {
                    // What gave way lets go of its sockets first.
                    yield_now().await;
                }
                Entered::NoRoom => break,
            }
        }
        self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
        Err(Full::NoRoom)
    }

    /// A question whose work is done elsewhere, while others can join it; none where somebody asks for its name and type already, or half
    /// of the room is taken: what comes then [runs](Self::run), and ends when nobody waits for it any more, which this does not.
    pub fn begin(&self, question: Question) -> Option<Flight<V>> {
        if self.is_half_full() {
            return None;
        }
        match self.shared.flights.entry(Asked(question)) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => Some(self.start(place, true)),
        }
    }

    /// The result of a question that was begun, by this work from here on.
    ///
    /// # Errors
    /// [`Full`] when the work panicked or had to give way.
    pub async fn go_on<W>(&self, flight: Flight<V>, work: W) -> Result<V, Full>
    where
        W: Future<Output = V> + Send + 'static,
    {
        let result = flight.subscribe().ok_or(Full::NoRoom)?;
        tokio::spawn(fly(work, flight));
        wait(result).await
    }

    /// Distinct questions under way now.
    pub fn len(&self) -> usize {
        self.shared.questions.load(Ordering::Relaxed)
    }

    /// Whether half of the room is taken.
    pub fn is_half_full(&self) -> bool {
        self.len() >= self.shared.limits.questions / 2
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
        let Shared { limits, flights, questions, lasting, counters, .. } = &*self.shared;
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
                let lasts = lasting.load(Ordering::Relaxed) < limits.questions / 2;
                Ok(Entered::First(self.start(place, lasts)))
            }
            Entry::Vacant(_) => Ok(Entered::NoRoom),
            Entry::Occupied(_) => {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                Err(Full::NoRoom)
            }
        }
    }

    /// A question is under way from here on, to its end if it `lasts`.
    fn start(&self, place: VacantEntry<'_, Asked, UnderWay<V>>, lasts: bool) -> Flight<V> {
        let Shared { questions, lasting, counters, .. } = &*self.shared;
        let number = counters.started.fetch_add(1, Ordering::Relaxed);
        questions.fetch_add(1, Ordering::Relaxed);
        let asked = *place.key();
        place.insert(UnderWay { number, result: None });
        let give_way = if lasts {
            lasting.fetch_add(1, Ordering::Relaxed);
            None
        } else {
            Some(self.shared.may_give_way(asked, number))
        };
        Flight { shared: Arc::clone(&self.shared), asked, number, lasts, give_way, over: false }
    }
}

impl<V> Shared<V> {
    /// Notes a question among those that may give way; where it is told.
    fn may_give_way(&self, asked: Asked, number: u64) -> oneshot::Receiver<()> {
        let (give_way, told) = oneshot::channel();
        let mut others = self.others();
        // Those that are over go when they are as many as may be under way, so each costs the same.
        if others.len() >= self.limits.questions {
            others.retain(|other| !other.give_way.is_closed());
        }
        others.push_back(Other { asked, number, since: Instant::now(), give_way });
        told
    }

    /// Has the oldest of those that may give way do so, if it has been asked for long; whether there is room then. Nothing of the map
    /// may be held.
    fn make_room(&self) -> bool {
        let now = Instant::now();
        while let Some(Other { asked, number, give_way, .. }) = self.next_to_give_way(now) {
            let removed = self.flights.remove_if(&asked, |_, under_way| under_way.number == number);
            let Some((_, under_way)) = removed else { continue };
            self.questions.fetch_sub(1, Ordering::Relaxed);
            self.counters.gave_way.fetch_add(1, Ordering::Relaxed);
            if let Some(result) = under_way.result {
                result.send_replace(Some(Err(Full::GaveWay)));
            }
            // Its work may end at this moment.
            let _ = give_way.send(());
            return true;
        }
        false
    }

    /// Takes the oldest out, if it has been asked for long.
    fn next_to_give_way(&self, now: Instant) -> Option<Other> {
        let mut others = self.others();
        let is_next = |other: &Other| other.give_way.is_closed() || now.duration_since(other.since) >= LONG;
        if others.front().is_some_and(is_next) { others.pop_front() } else { None }
    }

    /// Those that may give way; whoever panicked with them left them whole.
    fn others(&self) -> MutexGuard<'_, VecDeque<Other>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is under way until this lands, or is dropped: by a panic, or with its runtime. Then whoever joined it is turned away.
#[derive(Debug)]
pub struct Flight<V> {
    shared: Arc<Shared<V>>,
    asked: Asked,
    number: u64,
    /// Whether it is asked to its end.
    lasts: bool,
    /// Told when it is to give way; taken by whoever does the work.
    give_way: Option<oneshot::Receiver<()>>,
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
            result.send_replace(Some(Ok(value)));
        }
    }

    /// Where its result can be heard.
    fn subscribe(&self) -> Option<watch::Receiver<Heard<V>>> {
        let mut under_way = self.shared.flights.get_mut(&self.asked)?;
        (under_way.number == self.number).then(|| under_way.subscribe())
    }

    /// Ends when nobody waits any more, though somebody may again before this is known.
    async fn deserted(&self) {
        let under_way = self.shared.flights.get(&self.asked).filter(|it| it.number == self.number);
        match under_way.and_then(|under_way| under_way.result.clone()) {
            Some(result) => result.closed().await,
            None => pending().await,
        }
    }

    /// Takes the question out unless somebody joined meanwhile; whether it did. Nobody can join while the map looks.
    fn give_up(&mut self) -> bool {
        let number = self.number;
        let nobody = |_: &_, under_way: &UnderWay<V>| under_way.number == number && under_way.waiters() == 0;
        self.over = self.shared.flights.remove_if(&self.asked, nobody).is_some();
        if self.over {
            self.count_out();
            self.shared.counters.given_up.fetch_add(1, Ordering::Relaxed);
        }
        self.over
    }

    /// Takes the question out. That comes before its value goes out: whoever comes later starts anew, and all who came get the value.
    fn end(&mut self) -> Option<watch::Sender<Heard<V>>> {
        if std::mem::replace(&mut self.over, true) {
            return None;
        }
        let number = self.number;
        // One that gave way is out already, and another one may be there.
        let (_, under_way) = self.shared.flights.remove_if(&self.asked, |_, it| it.number == number)?;
        self.count_out();
        under_way.result
    }

    /// Counts it no longer as under way.
    fn count_out(&self) {
        self.shared.questions.fetch_sub(1, Ordering::Relaxed);
        if self.lasts {
            self.shared.lasting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<V> Drop for Flight<V> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits for a result.
async fn wait<V: Clone>(mut result: watch::Receiver<Heard<V>>) -> Result<V, Full> {
    // An error means that every sender is gone: the work panicked.
    let heard = result.wait_for(Option::is_some).await.map_err(|_| Full::NoRoom)?;
    heard.clone().unwrap_or(Err(Full::NoRoom))
}

/// Does the work and hands its result to all who wait, unless nobody does any more or it has to give way.
async fn fly<V>(work: impl Future<Output = V>, mut flight: Flight<V>) {
    let mut work = pin!(work);
    let mut give_way = pin!(told(flight.give_way.take()));
    loop {
        tokio::select! {
            biased;
            value = &mut work => return flight.land(value),
            // Who waited has heard of it.
            () = &mut give_way => return,
            () = flight.deserted() => if flight.give_up() {
                return;
            },
        }
    }
}

/// Ends when that is told, if ever.
async fn told(give_way: Option<oneshot::Receiver<()>>) {
    if let Some(give_way) = give_way
        && give_way.await.is_ok()
    {
        return;
    }
    pending().await
}

#[cfg(test)]
mod tests {
    use std::future::ready;

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
            asked_for: None,
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

    #[tokio::test(start_paused = true)]
    async fn who_waited_long_for_a_failure_has_failed_as_well() {
        // Zero is a failure.
        for (took_ms, first, second) in [(4000, 0, 0), (100, 0, 2), (4000, 1, 2)] {
            let inflight = Inflight::new(InflightLimits::default()).failures(|value: &u32| *value == 0);
            let signed = Question { dnssec_ok: true, ..question("a") };
            let work = || async move {
                tokio::time::sleep(Duration::from_millis(took_ms)).await;
                first
            };
            let both =
                async { tokio::join!(inflight.run(question("a"), work), inflight.run(signed, || ready(2))) };
            assert_eq!(both.await, (Ok(first), Ok(second)), "{took_ms}");
        }
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
        assert_eq!(joined.await, Err(Full::NoRoom));
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

    #[tokio::test(start_paused = true)]
    async fn limits_hold() {
        let inflight = Inflight::new(InflightLimits { questions: 2, waiters: 2 });
        let mut waiting = Vec::new();
        for name in ["a", "a", "b"] {
            let mut run = Box::pin(inflight.run(question(name), pending::<u32>));
            tokio::select! { biased; _ = &mut run => panic!(), () = ready(()) => {} }
            waiting.push(run);
        }
        assert_eq!(inflight.run(question("a"), pending).await, Err(Full::NoRoom));
        assert_eq!(inflight.run(question("c"), pending).await, Err(Full::NoRoom));
        assert_eq!(count(&inflight.counters().refused), 2);
        // A waiter that leaves makes room for another.
        drop(waiting.remove(1));
        let mut run = Box::pin(inflight.run(question("a"), pending));
        tokio::select! { biased; _ = &mut run => panic!(), () = ready(()) => {} }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_long_gives_way_but_for_half_of_the_room() {
        let inflight = Arc::new(Inflight::new(InflightLimits { questions: 4, ..InflightLimits::default() }));
        let alive = Arc::new(());
        let ask = |name: &'static str| {
            let (inflight, alive) = (Arc::clone(&inflight), Arc::clone(&alive));
            let hang = move || async move {
                let _alive = alive;
                pending::<u32>().await
            };
            tokio::spawn(async move { inflight.run(question(name), hang).await })
        };
        let mut hung = Vec::new();
        for name in ["a", "b", "c", "d"] {
            hung.push(ask(name));
            yield_now().await;
        }
        let long = || tokio::time::advance(LONG);
        tokio::time::advance(LONG - Duration::from_millis(1)).await;
        assert_eq!(inflight.run(question("e"), || ready(5)).await, Err(Full::NoRoom));
        // The oldest of those that came when half of the room was taken, with all who joined it.
        let joined = tokio::spawn({
            let inflight = Arc::clone(&inflight);
            async move { inflight.run(question("c"), || ready(0)).await }
        });
        yield_now().await;
        long().await;
        assert_eq!(inflight.run(question("e"), || ready(5)).await, Ok(5));
        assert_eq!(
            (hung.remove(2).await.unwrap(), joined.await.unwrap()),
            (Err(Full::GaveWay), Err(Full::GaveWay))
        );
        assert_eq!((inflight.len(), Arc::strong_count(&alive)), (3, 4), "its work is over");
        // It can be asked again, and then it is the newest.
        let again = ask("c");
        yield_now().await;
        assert_eq!(inflight.run(question("e"), || ready(6)).await, Ok(6));
        assert_eq!(hung.remove(2).await.unwrap(), Err(Full::GaveWay));
        let other = ask("d");
        yield_now().await;
        assert_eq!(inflight.run(question("e"), || ready(7)).await, Err(Full::NoRoom));
        long().await;
        for (name, gone) in [("f", again), ("g", other)] {
            hung.push(ask(name));
            assert_eq!(gone.await.unwrap(), Err(Full::GaveWay));
        }
        // Those that came when there was plenty never do.
        yield_now().await;
        assert_eq!((inflight.len(), count(&inflight.counters().gave_way)), (4, 4));
        assert!(!hung[0].is_finished() && !hung[1].is_finished());
        hung.iter().for_each(tokio::task::JoinHandle::abort);
        for one in hung {
            assert!(one.await.unwrap_err().is_cancelled());
        }
        // Whatever way they went, the room is as it was.
        for _ in 0..8 {
            yield_now().await;
        }
        assert!(inflight.is_empty() && inflight.shared.lasting.load(Ordering::Relaxed) == 0);
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_over_do_not_pile_up() {
        let inflight: Inflight<u32> =
            Inflight::new(InflightLimits { questions: 4, ..InflightLimits::default() });
        let held = ["a", "b"].map(|name| inflight.begin(question(name)).unwrap());
        for index in 0..100 {
            assert_eq!(inflight.run(question(&format!("n{index}")), || ready(index)).await, Ok(index));
            assert!(inflight.shared.others().len() <= 4);
        }
        drop(held);
        assert!(inflight.is_empty());
    }

    #[tokio::test]
    async fn a_panic_leaves_nothing_behind() {
        let inflight: Inflight<u32> = Inflight::new(InflightLimits::default());
        let work = async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        };
        assert_eq!(inflight.run(question("a"), || work).await, Err(Full::NoRoom));
        assert!(inflight.is_empty());
        assert_eq!(inflight.run(question("a"), || ready(1)).await, Ok(1));
    }
}
