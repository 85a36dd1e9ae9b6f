//! THE REQUEST PATH: bytes in, bytes out.
//!
//! [`Resolver::decide`] is the whole of it, in the order it runs; everything it calls is a value or a lookup. What
//! it cannot decide without an upstream goes to [`fetch`] and comes back through the same review and the same exit.

pub mod counters;
pub mod fetch;
pub mod hot;
pub mod recent;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::access::AccessList;
use crate::cache::{Cache, Cached};
use crate::clock::{Clock, Now};
use crate::dns::special::{self, Identity, Special};
use crate::dns::{
    Answer, Ede, Query, Question, Reject, Transport, Truth, TtlLimits, class, ede, finish, forge, parse,
    rcode, rtype,
};
use crate::policy::{Action, Hit, Name, Policy, Verdict};
use crate::upstream::Ask;
use counters::Counters;
use fetch::{Fetched, Fetcher};
use hot::HotPath;

/// Who asks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where the packet came from.
    pub addr: SocketAddr,
    /// How.
    pub transport: Transport,
}

/// What came of a packet at once.
#[derive(Debug)]
pub enum Step<P> {
    /// The reply is in the buffer.
    Reply,
    /// There is to be no reply.
    Silence,
    /// It needs an upstream: hand this to [`Respond::later`].
    Later(P),
}

/// One worker's own: answers ordinary datagrams without lock, allocation or waiting. Its answers are those of
/// [`Respond::now`], octet by octet.
pub trait Hot: Send + 'static {
    /// Reads clock and policy, and looks at all datagrams that arrived together, so that the memory they need is fetched
    /// for all at once.
    fn begin<'p>(&mut self, packets: impl Iterator<Item = &'p [u8]>);

    /// Writes the reply to the `index`th of them, given again, and says how long it is; none when it is not ordinary:
    /// then ask [`Respond::now`]. `out` holds [`MAX_UDP_LEN`](crate::dns::finish::MAX_UDP_LEN) octets.
    fn answer(&mut self, index: usize, packet: &[u8], from: SocketAddr, out: &mut [u8]) -> Option<usize>;
}

/// Nothing of its own: every datagram goes the slow way.
impl Hot for () {
    fn begin<'p>(&mut self, _packets: impl Iterator<Item = &'p [u8]>) {}

    fn answer(&mut self, _index: usize, _packet: &[u8], _from: SocketAddr, _out: &mut [u8]) -> Option<usize> {
        None
    }
}

/// What listeners know of the resolver.
pub trait Respond: Send + Sync + 'static {
    /// A question that waits for an upstream; owns all it needs.
    type Pending: Send + 'static;
    /// What a worker thread keeps for itself to answer ordinary datagrams faster.
    type Hot: Hot;

    /// The beginnings of one worker's own.
    fn hot(&self) -> Self::Hot;

    /// Answers at once if it can: no waiting, safe on any thread. `out` is replaced.
    fn now(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Step<Self::Pending>;

    /// Answers one that finds no room to wait, by what is known: no waiting either. [`Step::Later`] means that only an
    /// upstream could have helped.
    fn without_upstream(&self, pending: Self::Pending, out: &mut Vec<u8>) -> Step<()>;

    /// Answers the rest; true when a reply is in `out`. Bounded in time.
    fn later(&self, pending: Self::Pending, out: &mut Vec<u8>) -> impl Future<Output = bool> + Send;
}

/// What the operator decides about answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who is served.
    pub access: AccessList,
    /// Names answered here, and those of them that are forwarded after all.
    pub special: Special,
    /// What CHAOS queries learn.
    pub identity: Identity,
    /// How long answers live in the cache.
    pub ttl: TtlLimits,
    /// Distinct questions under way at upstreams.
    pub max_in_flight: usize,
}

/// Answers queries: policy, cache, upstream, review.
pub struct Resolver<U> {
    policy: Arc<ArcSwap<Policy>>,
    cache: Arc<Cache>,
    fetcher: Fetcher<U>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    counters: Arc<Counters>,
    /// What the hot paths count, each alone.
    hot_counters: Mutex<Vec<Arc<Counters>>>,
}

/// A query that waits for an upstream.
pub struct Pending {
    /// The query as it came.
    packet: Box<[u8]>,
    client: Client,
    question: Question,
    /// The policy it was judged by, which reviews its answer too: a query sees one policy from start to end.
    policy: Arc<Policy>,
    now: Now,
    /// Whether what the answer leads to is still to be judged.
    review: Review,
}

/// What becomes of a query.
enum Decision {
    /// This reply.
    Answer(Answer),
    /// No reply.
    Silence,
    /// An upstream must be asked.
    Ask(Question, Review),
}

/// A query that policy has let through, and what judges where its answer leads.
#[derive(Clone, Copy)]
struct Judged<'q> {
    query: &'q Query<'q>,
    client: Client,
    policy: &'q Policy,
    now: Now,
    review: Review,
}

/// Whether the names an answer leads to go through policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Review {
    /// They do.
    Yes,
    /// The name itself was protected or passed through: its answer is told whole.
    No,
}

impl<U: Ask> Resolver<U> {
    /// A resolver that reads whatever policy `policy` points to.
    pub fn new(
        policy: Arc<ArcSwap<Policy>>,
        cache: Arc<Cache>,
        upstream: Arc<U>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Resolver<U> {
        let counters = Arc::new(Counters::default());
        let fetcher = Fetcher::new(upstream, cache.clone(), clock.clone(), &settings, counters.clone());
        let hot_counters = Mutex::default();
        Resolver { policy, cache, fetcher, clock, settings, counters, hot_counters }
    }

    /// What happened so far, all workers together.
    pub fn counters(&self) -> Counters {
        let sum = Counters::default();
        sum.merge(&self.counters);
        // A list is whole whatever happened to who held it.
        for counters in self.hot_counters.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sum.merge(counters);
        }
        sum
    }

    /// The path of a query, up to where an upstream is needed.
    fn decide(&self, query: &Query<'_>, client: Client, policy: &Policy, now: Now) -> Decision {
        if !self.settings.access.allows(client.addr.ip()) {
            Counters::add(&self.counters.denied);
            return Decision::Answer(Answer::error(rcode::REFUSED, Some(Ede::bare(ede::PROHIBITED))));
        }
        if let Some(answer) = Answer::unserved(query) {
            return Decision::Answer(answer);
        }
        if query.qclass == class::CH {
            return Decision::Answer(special::chaos(query, &self.settings.identity));
        }

        // RFC 8914 §4.15: "The server is unable to answer the query, as it was not fully functional when the query was
        // received." Until the orders are loaded nobody knows who is innocent.
        if !policy.is_ready() {
            return Decision::Answer(Answer::error(rcode::SERVFAIL, Some(Ede::bare(ede::NOT_READY))));
        }

        // Verdict before cache: a lifted or changed order needs no cache flush, and forged answers are never cached.
        let verdict = policy.verdict(&query.qname, now.wall);
        self.counters.count_verdict(&verdict);
        if let Some(hit) = policy.observed(&query.qname, now.wall) {
            self.counters.count_action(hit.action);
        }
        let review = match verdict {
            Verdict::Clear => Review::Yes,
            Verdict::Protected(_) | Verdict::Passthru(_) => Review::No,
            Verdict::Act(hit) => match act(query, client, &hit, &query.qname, None) {
                Some(decision) => return decision,
                None => Review::No,
            },
        };

        if let Some(answer) = special::answer(query, &self.settings.special) {
            Counters::add(&self.counters.local);
            return Decision::Answer(answer);
        }
        // RFC 8482 §4.2: ANY gets one small record, from here: nobody's cache holds "everything".
        if query.qtype == rtype::ANY {
            Counters::add(&self.counters.local);
            return Decision::Answer(Answer::any(query));
        }

        let judged = Judged { query, client, policy, now, review };
        let question = query.key();
        if let Some(Cached { truth, age_s, .. }) = self.cache.get(&question, now.mono) {
            Counters::add(&self.counters.cached);
            return self.review(judged, truth, age_s);
        }
        // RFC 9520 §3.2: a resolution failure is cached, so that a dead zone is not asked about at every retry.
        if let Some(errors) = self.cache.failure(&question, now.mono) {
            Counters::add(&self.counters.cached_failures);
            return self
                .stale(judged, &question, now.mono, &errors)
                .unwrap_or_else(|| Decision::Answer(Answer::failure(errors)));
        }
        Decision::Ask(question, review)
    }

    /// Answers by truth that has expired at `mono` because of `errors`, if there is any. RFC 8767 §4: data "may be used for
    /// answering queries" beyond its TTL when it "cannot be authoritatively refreshed". It is reviewed like any other.
    fn stale(
        &self,
        judged: Judged<'_>,
        question: &Question,
        mono: Duration,
        errors: &[Ede],
    ) -> Option<Decision> {
        let Cached { truth, age_s, .. } = self.cache.stale(question, mono)?;
        Counters::add(&self.counters.stale);
        let mut truth = truth.stale(age_s);
        truth.ede.extend_from_slice(errors);
        Some(self.review(judged, Arc::new(truth), 0))
    }

    /// Judges what the truth leads to, on cache hits as well: the alias may have been listed since it was cached.
    fn review(&self, judged: Judged<'_>, truth: Arc<Truth>, age_s: u32) -> Decision {
        let Judged { query, client, policy, now, review } = judged;
        if review == Review::Yes
            && let Some((hit, target)) = self.first_captured(policy, &truth.targets, now)
        {
            self.counters.count_action(hit.action);
            if let Some(decision) = act(query, client, &hit, target, Some((&truth, age_s))) {
                return decision;
            }
        }
        Decision::Answer(Answer::truth(truth, age_s))
    }

    /// The first alias on the way that an order captures. One that is protected or passed through ends the search, as
    /// it would have had it been asked for itself. Observers on the way are counted: a dry run misses nothing.
    fn first_captured<'p, 't>(
        &self,
        policy: &'p Policy,
        targets: &'t [Name],
        now: Now,
    ) -> Option<(Hit<'p>, &'t Name)> {
        for target in targets {
            if let Some(hit) = policy.observed(target, now.wall) {
                self.counters.count_action(hit.action);
            }
            match policy.verdict(target, now.wall) {
                Verdict::Clear => {}
                Verdict::Protected(_) | Verdict::Passthru(_) => return None,
                Verdict::Act(hit) => return Some((hit, target)),
            }
        }
        None
    }

    /// The one exit.
    fn send(&self, query: &Query<'_>, answer: &Answer, client: Client, out: &mut Vec<u8>) {
        finish(query, answer, client.transport, out);
        Counters::add(&self.counters.replies);
    }
}

impl<U: Ask> Respond for Resolver<U> {
    type Pending = Box<Pending>;
    type Hot = HotPath;

    fn hot(&self) -> HotPath {
        let counters = Arc::new(Counters::default());
        self.hot_counters.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counters));
        let Settings { access, special, .. } = &self.settings;
        HotPath::new(
            self.policy.clone(),
            self.cache.clone(),
            self.clock.clone(),
            (access.clone(), special.clone()),
            counters,
        )
    }

    fn now(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Step<Box<Pending>> {
        Counters::add(&self.counters.queries);
        let query = match parse(packet) {
            Ok(query) => query,
            Err(Reject::Drop) => {
                Counters::add(&self.counters.malformed);
                return Step::Silence;
            }
            // Whoever is not served learns nothing here either: a reply to a forged source would be a gift to somebody.
            Err(Reject::Answer(..)) if !self.settings.access.allows(client.addr.ip()) => {
                Counters::add(&self.counters.denied);
                return Step::Silence;
            }
            Err(Reject::Answer(query, code)) => {
                Counters::add(&self.counters.malformed);
                self.send(&query, &Answer::error(code, None), client, out);
                return Step::Reply;
            }
        };
        let now = self.clock.now();
        let policy = self.policy.load();
        match self.decide(&query, client, &policy, now) {
            Decision::Answer(answer) => {
                self.send(&query, &answer, client, out);
                Step::Reply
            }
            Decision::Silence => Step::Silence,
            Decision::Ask(question, review) => {
                let policy = Arc::clone(&policy);
                Step::Later(Box::new(Pending {
                    packet: packet.into(),
                    client,
                    question,
                    policy,
                    now,
                    review,
                }))
            }
        }
    }

    fn without_upstream(&self, pending: Box<Pending>, out: &mut Vec<u8>) -> Step<()> {
        let Pending { packet, client, question, policy, now, review } = *pending;
        let Ok(query) = parse(&packet) else { return Step::Later(()) };
        let judged = Judged { query: &query, client, policy: &policy, now, review };
        match self.stale(judged, &question, now.mono, &[fetch::TOO_MANY]) {
            Some(Decision::Answer(answer)) => {
                self.send(&query, &answer, client, out);
                Step::Reply
            }
            Some(Decision::Silence) => Step::Silence,
            Some(Decision::Ask(..)) | None => Step::Later(()),
        }
    }

    async fn later(&self, pending: Box<Pending>, out: &mut Vec<u8>) -> bool {
        let Pending { packet, client, question, policy, now, review } = *pending;
        let fetched = self.fetcher.fetch(question).await;
        // It parsed once; it parses again.
        let Ok(query) = parse(&packet) else { return false };
        let judged = Judged { query: &query, client, policy: &policy, now, review };
        let decision = match fetched {
            Fetched::Truth(truth) => self.review(judged, truth, 0),
            Fetched::Failure(errors) => self
                .stale(judged, &question, self.clock.now().mono, &errors)
                .unwrap_or_else(|| Decision::Answer(Answer::failure(errors.to_vec()))),
        };
        match decision {
            Decision::Answer(answer) => self.send(&query, &answer, client, out),
            Decision::Silence | Decision::Ask(..) => return false,
        }
        true
    }
}

/// What an order's action makes of a query; none when the action is to tell the truth.
fn act(
    query: &Query<'_>,
    client: Client,
    hit: &Hit<'_>,
    captured: &Name,
    chain: Option<(&Truth, u32)>,
) -> Option<Decision> {
    match hit.action {
        Action::Sinkhole | Action::Nodata | Action::Nxdomain | Action::Refused | Action::Local => {
            Some(Decision::Answer(forge(query, hit, captured, chain)))
        }
        Action::Drop => Some(Decision::Silence),
        Action::TcpOnly if client.transport == Transport::Udp => {
            Some(Decision::Answer(Answer::retry_over_tcp()))
        }
        Action::TcpOnly | Action::Observe | Action::Passthru => None,
    }
}
