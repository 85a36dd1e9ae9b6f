//! Misses: one question to upstreams however many clients wait for it, and its answer into the cache.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::counters::Counters;
use super::prefetch::{Prefetch, Telling};
use crate::cache::{Cache, Cached, Origin};
use crate::clock::{Clock, SystemClock};
use crate::dns::truth::BadTruth;
use crate::dns::wire;
use crate::dns::{Ede, Question, Truth, TtlLimits};
use crate::iana::{EdeCode, Rcode};
use crate::rebinding::Rebinding;
use crate::upstream::{self, AskError, Flight, Forwarder, Full, Inflight, InflightLimits, Upstream};

/// What came of asking; cheap to hand to every client that waits.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// An upstream's answer.
    Truth(Arc<Truth>),
    /// None, and why.
    Failure(Arc<[Ede]>),
    /// None, because there was no room to ask, or to go on asking.
    TurnedAway,
}

impl Fetched {
    /// Whether asking came to nothing.
    fn is_failure(&self) -> bool {
        matches!(self, Fetched::Failure(_))
    }
}

/// A question that was begun and has no answer yet.
#[derive(Debug)]
pub struct Begun {
    flight: Flight<Fetched>,
    begun: upstream::Begun,
    /// What came, if it leads on.
    open: Option<Box<Open>>,
}

/// A reply behind which there is something to ask.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is always in a box")]
enum Open {
    /// It leads to a name and says nothing of that.
    Leads {
        message: Vec<u8>,
        /// What is to be asked next.
        next: Question,
    },
    /// It may be refused for the network that it was asked for.
    Refused,
}

/// How often a question is asked on where its alias leads: whoever serves a zone tells the whole chain in it, so few need two. As many
/// as Unbound allows (`MAX_RESTART_COUNT`).
const MAX_RESTARTS: usize = 11;

/// Why a question is not put to upstreams though they may be well.
pub const TOO_MANY: Ede = Ede { code: EdeCode::OTHER, text: Cow::Borrowed("too many questions under way") };

/// Why there is no answer though upstream has replied.
const NO_ANSWER: Ede = Ede {
    code: EdeCode::NETWORK_ERROR,
    text: Cow::Borrowed("upstream's reply is no answer to the question"),
};

/// Why there is none where upstream has told but a part.
const CUT: Ede = Ede {
    code: EdeCode::NETWORK_ERROR,
    text: Cow::Borrowed("upstream's reply is cut short, and it tells no more of it"),
};

/// Why there is none where aliases lead on and on.
const ENDLESS: Ede = Ede {
    code: EdeCode::OTHER,
    text: Cow::Borrowed("one alias leads to another, and nobody follows them all"),
};

/// How long whoever can be told an expired answer waits for a fresh one: RFC 8767 §5 recommends 1.8 seconds for the client response
/// timer, just below the 2 that many clients wait.
const CLIENT_RESPONSE: Duration = Duration::from_millis(1800);

/// Why an expired answer is told though nothing has failed yet.
const SLOW: Ede =
    Ede { code: EdeCode::NO_REACHABLE_AUTHORITY, text: Cow::Borrowed("upstream has not answered yet") };

/// By what rules answers are asked for and taken.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How long they live in the cache.
    pub ttl: TtlLimits,
    /// Distinct questions under way at upstreams.
    pub max_in_flight: usize,
    /// Whether what is asked for often is asked for anew before it ends.
    pub prefetch: bool,
    /// Whose answers may lead to addresses of this network.
    pub rebinding: Rebinding,
    /// Whose what is cached by them is.
    pub origin: Origin,
}

impl Rules {
    /// These bounds, and no answer of anybody may lead here.
    pub fn new(ttl: TtlLimits, max_in_flight: usize) -> Rules {
        Rules {
            ttl,
            max_in_flight,
            prefetch: true,
            rebinding: Rebinding::default(),
            origin: Origin::default(),
        }
    }
}

/// Asks upstreams and fills the cache.
pub struct Fetcher {
    shared: Arc<Shared>,
    inflight: Arc<Inflight<Fetched>>,
    origin: Origin,
}

/// What a question under way needs, whether or not its first client still waits.
struct Shared {
    upstream: Arc<dyn Upstream>,
    cache: Arc<Cache>,
    clock: Arc<dyn Clock>,
    ttl: TtlLimits,
    rebinding: Rebinding,
    prefetch: Prefetch,
    counters: Arc<Counters>,
    /// [`Upstream::its_changes`] as far as failures from before are forgotten.
    changes: AtomicU64,
}

impl Fetcher {
    /// A fetcher that fills `cache` by these rules.
    pub fn new(
        upstream: Arc<dyn Upstream>,
        cache: Arc<Cache>,
        (clock, counters): (Arc<dyn Clock>, Arc<Counters>),
        Rules { ttl, max_in_flight, prefetch, rebinding, origin }: Rules,
    ) -> Fetcher {
        let prefetch = Prefetch::new(prefetch, Arc::clone(&counters));
        let changes = AtomicU64::new(0);
        let shared = Shared { upstream, cache, clock, ttl, rebinding, prefetch, counters, changes };
        let limits = InflightLimits { questions: max_in_flight, ..InflightLimits::default() };
        Fetcher {
            shared: Arc::new(shared),
            inflight: Arc::new(Inflight::new(limits).failures(Fetched::is_failure)),
            origin,
        }
    }

    /// One that knows nothing and has nobody to ask.
    pub fn nobody() -> Fetcher {
        let ttl = TtlLimits { min_s: 0, max_s: 0, negative_min_s: 0, negative_max_s: 0 };
        let upstream = Arc::new(Forwarder::new(upstream::Settings::default()));
        let clock = Arc::new(SystemClock::new());
        Fetcher::new(upstream, Arc::new(Cache::new(0)), (clock, Arc::default()), Rules::new(ttl, 0))
    }

    /// What upstreams said.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.shared.cache
    }

    /// Whose that is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whom it asks.
    pub fn upstream(&self) -> &Arc<dyn Upstream> {
        &self.shared.upstream
    }

    /// What a question needs to [begin](Self::begin): none if something has to be waited for first, or somebody asks the same; then it
    /// has to be [fetched](Self::fetch).
    pub fn may_begin(&self, question: Question) -> Option<Flight<Fetched>> {
        if self.shared.upstream.may_begin_it(&question) { self.inflight.begin(question) } else { None }
    }

    /// Asks on this thread. `then` is told the answer, or what there is to [go on](Self::go_on) from, by whichever thread knows. Must be
    /// called in a tokio runtime.
    pub fn begin<F>(&self, flight: Flight<Fetched>, then: F)
    where
        F: FnOnce(Question, Result<Fetched, Begun>) + Send + 'static,
    {
        let (shared, question) = (Arc::clone(&self.shared), *flight.question());
        shared.count_question();
        let landed = move |came: Result<Vec<u8>, upstream::Begun>| match came {
            Ok(message) => match shared.take_in(&question, Ok(message)) {
                Ok(fetched) => {
                    flight.land(fetched.clone());
                    then(question, Ok(fetched));
                }
                Err(open) => {
                    let begun = upstream::Begun::nothing();
                    then(question, Err(Begun { flight, begun, open: Some(open) }));
                }
            },
            Err(begun) => then(question, Err(Begun { flight, begun, open: None })),
        };
        self.shared.upstream.begin_it(&question, Box::new(landed));
    }

    /// The answer to a question that was begun.
    pub async fn go_on(&self, begun: Begun) -> (Question, Fetched) {
        let Begun { flight, begun, open } = begun;
        let since = begun.since();
        let question = *flight.question();
        let work = Arc::clone(&self.shared).ask_on(question, begun, open);
        let (shared, inflight) = (Arc::clone(&self.shared), Arc::clone(&self.inflight));
        let asking = async move {
            let fetched = inflight.go_on(flight, work).await;
            fetched.unwrap_or_else(|full| shared.without(full))
        };
        (question, self.shared.in_time(question, since, asking).await)
    }

    /// The answers to all these questions, asked at the same time.
    pub async fn fetch_all(&self, questions: Vec<Question>) -> Vec<(Question, Fetched)> {
        if let [question] = questions[..] {
            return vec![(question, self.fetch(question).await)];
        }
        let mut under_way = JoinSet::new();
        let mut fetched = Vec::with_capacity(questions.len());
        for question in questions {
            let asking = self.ask_once(question);
            under_way.spawn(async move { (question, asking.await) });
        }
        while let Some(one) = under_way.join_next().await {
            // A task that panicked has no answer; whoever needs it asks again or does without.
            fetched.extend(one.ok());
        }
        fetched
    }

    /// What there is to be done about an answer of the cache that a worker is about to tell, and keep.
    pub(super) fn tell(&self, cached: &Cached, may_ask: bool) -> Telling {
        self.shared.prefetch.tell(cached, may_ask)
    }

    /// Notes that somebody was told what the cache holds, and asks for it anew, aside, if it is time to. What comes of that is for whoever
    /// asks next; nobody waits, and where nothing comes, what is cached stays.
    pub(super) fn told(
        self: &Arc<Self>,
        question: Question,
        (truth, age_s): (&Truth, u32),
        now: Duration,
        may_ask: bool,
    ) {
        // Most are asked for often and far from their end.
        let ends_s = truth.lifetime_s.saturating_sub(truth.last_share_s());
        if truth.asks.are_settled() && age_s < ends_s {
            return;
        }
        let Some(cached) = self.shared.cache.get(&question, now) else { return };
        let prefetch = &self.shared.prefetch;
        if prefetch.tell(&cached, may_ask) != Telling::Due {
            return;
        }
        prefetch.note(&cached);
        if !cached.truth.asks.see_to() {
            return;
        }
        // Outside of a runtime nobody can be asked.
        let Ok(runtime) = Handle::try_current() else { return };
        // Who waits comes first.
        if self.inflight.is_half_full() || !prefetch.take() {
            return Counters::add(&self.shared.counters.prefetch_held_back);
        }
        Counters::add(&self.shared.counters.prefetched);
        let shared = Arc::clone(&self.shared);
        // What is noted beside an answer is kept where the cache has it.
        let renew = move || {
            let now = shared.clock.mono();
            let newer = shared.cache.get(&question, now).filter(|newer| newer.stored > cached.stored);
            if let Some(newer) = newer {
                newer.truth.asks.renews(cached.until.saturating_sub(now).as_secs());
            }
        };
        let fetcher = Arc::clone(self);
        match self.may_begin(question) {
            Some(flight) => self.begin(flight, move |_, came| match came {
                Ok(_) => renew(),
                Err(begun) => drop(runtime.spawn(async move {
                    fetcher.go_on(begun).await;
                    renew();
                })),
            }),
            None => drop(runtime.spawn(async move {
                fetcher.fetch(question).await;
                renew();
            })),
        }
    }

    /// The answer to `question`, asked for once even if many ask at the same time.
    pub async fn fetch(&self, question: Question) -> Fetched {
        self.ask_once(question).await
    }

    /// Asks unless the same is being asked already.
    fn ask_once(&self, question: Question) -> impl Future<Output = Fetched> + Send + use<> {
        let (shared, inflight) = (Arc::clone(&self.shared), Arc::clone(&self.inflight));
        let (asking, since) = (Arc::clone(&shared), Instant::now());
        async move {
            let turned_away = Arc::clone(&shared);
            let asking = async move {
                let fetched = inflight.run(question, move || asking.ask(question)).await;
                fetched.unwrap_or_else(|full| turned_away.without(full))
            };
            shared.in_time(question, since, asking).await
        }
    }
}

impl Shared {
    /// Asks, reads, caches.
    async fn ask(self: Arc<Self>, question: Question) -> Fetched {
        // It may have waited for the same with other flags, and that was told just now.
        if let Some(Cached { truth, age_s: 0, .. }) = self.cache.get(&question, self.clock.mono()) {
            return Fetched::Truth(truth);
        }
        self.count_question();
        self.ask_on(question, upstream::Begun::nothing(), None).await
    }

    /// Asks on from what was begun, or where what came leads on: there whoever is to be asked about that name is asked. What comes once
    /// everybody was told that nothing came is for whoever asks next.
    async fn ask_on(
        self: Arc<Self>,
        question: Question,
        begun: upstream::Begun,
        open: Option<Box<Open>>,
    ) -> Fetched {
        let shared = Arc::clone(&self);
        let late = move |message| {
            Counters::add(&shared.counters.late);
            // What leads on is nobody's answer yet, and nobody waits.
            let _ = shared.take_in(&question, Ok(message));
        };
        let mut taken = match open {
            Some(open) => Err(open),
            None => {
                let came = self.upstream.go_on_with(&question, begun, Box::new(late)).await;
                self.take_in(&question, came)
            }
        };
        // What is asked without a network is nobody else's: what comes is kept for that one as well.
        let mut asked = question;
        for _ in 0..MAX_RESTARTS {
            let (message, next) = match taken {
                Ok(fetched) => return self.for_its_network(&question, &asked, fetched),
                Err(open) => match *open {
                    Open::Leads { message, next } => (message, next),
                    Open::Refused => {
                        Counters::add(&self.counters.subnet_refused);
                        self.count_question();
                        asked.asked_for = None;
                        let came = self.upstream.ask_it(&asked).await;
                        taken = self.take_in(&asked, came);
                        continue;
                    }
                },
            };
            self.count_question();
            let end = match self.upstream.ask_it(&next).await {
                Ok(end) => end,
                Err(AskError::Overloaded) => return self.turned_away(),
                Err(error) => return self.without_end(&question, &message, vec![why(error)]),
            };
            let errors = match Truth::read(&next, &end, &self.ttl) {
                Ok(truth) if truth.truncated => vec![CUT],
                Ok(truth) if is_data(&truth) => match Truth::joined(&message, &end) {
                    Ok(joined) => {
                        taken = self.take_in(&asked, Ok(joined));
                        continue;
                    }
                    Err(_) => vec![NO_ANSWER],
                },
                Ok(truth) => truth.ede.into_iter().chain([declined(truth.rcode)]).collect(),
                Err(_) => vec![NO_ANSWER],
            };
            return self.without_end(&question, &message, errors);
        }
        match taken {
            Ok(fetched) => fetched,
            Err(open) => match *open {
                Open::Leads { message, .. } => self.without_end(&question, &message, vec![ENDLESS]),
                Open::Refused => self.fail(&question, vec![declined(Rcode::REFUSED)]),
            },
        }
    }

    /// What came of asking without the network that was asked for: upstream said it of this server, so it is for that network at most.
    fn for_its_network(&self, question: &Question, asked: &Question, fetched: Fetched) -> Fetched {
        let (Some(asked_for), None) = (&question.asked_for, &asked.asked_for) else { return fetched };
        match fetched {
            Fetched::Truth(truth) => {
                let truth = Arc::new(Truth { scope: Some(asked_for.own()), ..(*truth).clone() });
                self.cache.put(question, Arc::clone(&truth), self.clock.mono());
                Fetched::Truth(truth)
            }
            Fetched::Failure(errors) => self.fail(question, errors.to_vec()),
            Fetched::TurnedAway => Fetched::TurnedAway,
        }
    }

    /// What an alias comes to whose end has failed: a failure that shows it, for who is captured on the way is captured, whatever the end.
    ///
    /// RFC 6604 §3: the last step of a chain says what became of all of it. An alias alone would be taken for its having nothing of the type.
    fn without_end(&self, question: &Question, message: &[u8], errors: Vec<Ede>) -> Fetched {
        match Truth::read(question, message, &self.ttl) {
            Ok(truth) if !self.knows_stale(question) => {
                Counters::add(&self.counters.failures);
                Fetched::Truth(Arc::new(Truth {
                    rcode: Rcode::SERVFAIL,
                    lifetime_s: 0,
                    ede: errors,
                    ..truth
                }))
            }
            Ok(_) | Err(_) => self.fail(question, errors),
        }
    }

    /// Reads what came, and caches it.
    ///
    /// # Errors
    /// What leads on.
    fn take_in(&self, question: &Question, came: Result<Vec<u8>, AskError>) -> Result<Fetched, Box<Open>> {
        let error = match came {
            Ok(message) => match Truth::read(question, &message, &self.ttl) {
                Ok(truth) if truth.rcode == Rcode::SERVFAIL => return Ok(self.fail(question, truth.ede)),
                // RFC 8767 §4: any other rcode is "a failure to refresh the data", which leaves "any previous state intact". RFC 9520
                // §2: to be declined is to fail. What was wrong between upstream and this server is no client's fault, who would take
                // REFUSED and FORMERR for ours. But YXDOMAIN is about the name (RFC 6672 §2.2).
                Ok(truth)
                    if !is_data(&truth) && (truth.rcode != Rcode::YXDOMAIN || self.knows_stale(question)) =>
                {
                    // RFC 7871 §7.1.3: a REFUSED for a query with an ADDRESS is followed by one without.
                    let tells = question.asked_for.is_some_and(|asked_for| !asked_for.is_nobody());
                    if truth.rcode == Rcode::REFUSED && tells {
                        return Err(Box::new(Open::Refused));
                    }
                    let declined = declined(truth.rcode);
                    return Ok(self.fail(question, truth.ede.into_iter().chain([declined]).collect()));
                }
                // RFC 2181 §9: it is not all of it, and by stream there was no more; clients would ask for it by stream in vain.
                Ok(truth) if truth.truncated => return Ok(self.fail(question, vec![CUT])),
                Ok(truth) => {
                    if let Some(address) = self.rebinding.forbidden(&question.qname, &truth.addresses) {
                        Counters::add(&self.counters.rebinding);
                        let inside = format!("{address} is an address of this network: see [rebinding]");
                        return Ok(self.fail(question, vec![Ede::new(EdeCode::BLOCKED, inside)]));
                    }
                    if truth.aliases > 0
                        && let Some(next) = truth.leads_on(question, question_octets(&message))
                    {
                        return Err(Box::new(Open::Leads { message, next }));
                    }
                    if truth.strangers > 0 {
                        Counters::add(&self.counters.strangers);
                    }
                    let truth = Arc::new(truth);
                    self.forget_failures();
                    self.cache.put(question, truth.clone(), self.clock.mono());
                    return Ok(Fetched::Truth(truth));
                }
                Err(bad) => {
                    Counters::add(&self.counters.unusable);
                    match bad {
                        BadTruth::Excessive => {
                            Ede::new(EdeCode::OTHER, "upstream's reply holds more than is taken")
                        }
                        BadTruth::Referral => {
                            Ede::new(EdeCode::NETWORK_ERROR, "upstream refers to others: it does not recurse")
                        }
                        BadTruth::Malformed | BadTruth::WrongQuestion | BadTruth::OtherSubnet => NO_ANSWER,
                    }
                }
            },
            Err(AskError::Overloaded) => return Ok(self.turned_away()),
            Err(error) => why(error),
        };
        Ok(self.fail(question, vec![error]))
    }

    /// What comes of asking, or that it takes too long where an expired answer can be told. The asking goes on: what comes of it is for
    /// whoever asks next (RFC 8767 §4).
    async fn in_time(
        &self,
        question: Question,
        since: Instant,
        asking: impl Future<Output = Fetched> + Send + 'static,
    ) -> Fetched {
        if !self.knows_stale(&question) {
            return asking.await;
        }
        let mut asking = Box::pin(asking);
        match timeout_at(since + CLIENT_RESPONSE, &mut asking).await {
            Ok(fetched) => fetched,
            Err(_) => {
                tokio::spawn(asking);
                Fetched::Failure([SLOW].into())
            }
        }
    }

    /// Counts a question that is put to upstream.
    fn count_question(&self) {
        Counters::add(&self.counters.asked);
        self.prefetch.earn();
    }

    /// Nothing was asked, so nothing failed: RFC 9520 has nothing to cache.
    fn turned_away(&self) -> Fetched {
        Counters::add(&self.counters.overloaded);
        Fetched::TurnedAway
    }

    /// What there is where a question has no result.
    fn without(&self, full: Full) -> Fetched {
        match full {
            Full::NoRoom => self.turned_away(),
            // Upstream has not failed: there was no time left to wait for it.
            Full::GaveWay => {
                Counters::add(&self.counters.gave_way);
                Fetched::TurnedAway
            }
        }
    }

    /// Whether there is an answer to fall back on.
    fn knows_stale(&self, question: &Question) -> bool {
        self.cache.stale(question, self.clock.mono()).is_some()
    }

    /// Forgets what failed while nobody could be asked, once somebody can.
    fn forget_failures(&self) {
        let changes = self.upstream.its_changes();
        if self.changes.load(Ordering::Relaxed) != changes {
            self.changes.store(changes, Ordering::Relaxed);
            self.cache.forget_failures();
        }
    }

    /// Remembers a failure for a moment.
    fn fail(&self, question: &Question, errors: Vec<Ede>) -> Fetched {
        Counters::add(&self.counters.failures);
        let errors: Arc<[Ede]> = errors.into();
        self.cache.put_failure(question, &errors, self.clock.mono());
        Fetched::Failure(errors)
    }
}

/// Whether an upstream's answer says something about the name.
fn is_data(truth: &Truth) -> bool {
    matches!(truth.rcode, Rcode::NOERROR | Rcode::NXDOMAIN)
}

/// Why nobody answered.
fn why(error: AskError) -> Ede {
    match error {
        AskError::Network(detail) => Ede::new(EdeCode::NETWORK_ERROR, detail),
        AskError::NoneReachable(_) | AskError::Overloaded => {
            Ede::new(EdeCode::NO_REACHABLE_AUTHORITY, error.to_string())
        }
    }
}

/// That upstream declined. RFC 8914 §4.23: authorities that cannot be reached "(or they potentially refused to reply)".
fn declined(rcode: Rcode) -> Ede {
    Ede::new(EdeCode::NO_REACHABLE_AUTHORITY, format!("upstream replied {rcode}"))
}

/// The question of a reply that has been read, as it stands there.
fn question_octets(reply: &[u8]) -> &[u8] {
    wire::question(reply).map_or(&[], |(_, _, _, octets)| octets)
}
