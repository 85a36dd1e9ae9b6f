//! THE REQUEST PATH: bytes in, bytes out.
//!
//! [`Resolver::decide`] is the whole of it, in the order it runs; everything it calls is a value or a lookup. What
//! it cannot decide without an upstream it asks for: [`fetch`] brings the answers, and it is run once more, over the same
//! policy and by the same exit. So there is one path, whether what it takes is cached or not.

pub mod counters;
pub mod fetch;
pub mod generation;
pub mod hot;
mod judged;
mod known;
pub mod recent;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::access::AccessList;
use crate::cache::{Cache, Cached};
use crate::clients::Clients;
use crate::clock::{Clock, Now};
use crate::dns::special::{self, Identity, Special};
use crate::dns::{Answer, Ede, Query, Question, Reject, Transport, Truth, TtlLimits, finish, parse};
use crate::forge::{Garden, attribution, forge, forge_garden, garden};
use crate::iana::{Class, EdeCode, Rcode, Rtype};
use crate::name::Name;
use crate::policy::order::MissingType;
use crate::policy::{Action, Hit, Stamp, Verdict, View};
use crate::time::UnixSeconds;
use crate::upstream::Upstream;
use counters::{Counters, Event, Tally};
use fetch::Fetcher;
pub use generation::{Answers, Current, Generation};
use hot::HotPath;
use judged::{Judged, Lack};
use known::{Found, Known};
use recent::{Recent, SharedRecorder};

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
    type Pending: Send + Sync + 'static;
    /// What a worker thread keeps for itself to answer ordinary datagrams faster.
    type Hot: Hot;

    /// The beginnings of one worker's own.
    fn hot(&self) -> Self::Hot;

    /// Whether anybody at that address is served at all. Who is not need not be given what is scarce.
    fn serves(&self, client: IpAddr) -> bool;

    /// Answers at once if it can: no waiting, safe on any thread. `out` is replaced.
    fn now(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Step<Self::Pending>;

    /// Answers one that finds no room to wait, or lost it, by what is known: no waiting either. [`Step::Later`] means that
    /// only an upstream could have helped, and that the client had better ask again.
    fn without_upstream(&self, pending: &Self::Pending, out: &mut Vec<u8>) -> Step<()>;

    /// Answers the rest; true when a reply is in `out`. Bounded in time; may be given up at any moment.
    fn later(&self, pending: &Self::Pending, out: &mut Vec<u8>) -> impl Future<Output = bool> + Send;
}

/// What the operator decides about answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who is served.
    pub access: AccessList,
    /// Which policy zones concern whom.
    pub clients: Arc<Clients>,
    /// Where a sample of what is asked is written down.
    pub recent: Recent,
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
pub struct Resolver {
    current: Arc<Current>,
    clock: Arc<dyn Clock>,
    recent: Recent,
    counters: Arc<Counters>,
    recorder: SharedRecorder,
    /// What the hot paths count, each alone.
    hot_counters: Mutex<Vec<Arc<Counters>>>,
}

/// A query that waits for an upstream.
pub struct Pending {
    /// The query, without what nothing depends on: clients may send 64 KB of padding, and thousands wait.
    packet: Box<[u8]>,
    client: Client,
    /// What it was judged by, which reviews its answer too: a query sees one generation from start to end.
    generation: Arc<Generation>,
    now: Now,
    /// What is to be asked.
    missing: Vec<Question>,
}

/// What becomes of a query.
enum Decision {
    /// This reply.
    Answer(Answer),
    /// No reply.
    Silence,
    /// It takes the answers to these.
    Ask(Vec<Question>),
}

/// A query under way, with all that its decision may rest on.
#[derive(Clone, Copy)]
struct Case<'q> {
    query: &'q Query<'q>,
    client: Client,
    generation: &'q Generation,
    /// When it came: windows are judged by that.
    wall: UnixSeconds,
    known: &'q Known<'q>,
}

/// How the name asked for was judged by itself.
#[derive(Clone, Copy)]
struct ByName<'v> {
    /// The policy zones that concern the client.
    view: &'v View,
    /// What that was found under.
    stamp: Stamp,
    /// Whether any rule is about it.
    touched: bool,
}

/// How much of an answer goes through policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Review {
    /// The name asked for once more, with its addresses and where they come from, and what it leads to.
    All,
    /// The names it leads to: that the one asked for is clear is certain, whatever the answer holds.
    Beyond,
    /// Nothing: the name itself was protected or passed through, and its answer is told whole.
    No,
}

/// The most times that answers may lead to further questions: the servers of all names of a chain and their addresses take
/// four, a walled garden one more.
const MAX_ROUNDS: usize = 6;
/// The most questions that one query puts to upstreams, all rounds together. Names of servers are free to make up and each
/// costs questions (NXNSAttack: Afek, Bremler-Barr, Shafir, 2020), of which upstream makes more: between PowerDNS's 10 for
/// addresses of servers and BIND's 50 in all. An alias chain through five zones takes fewer. What was learned stays in the
/// cache, so that the next query for a zone of many servers gets further.
const MAX_QUESTIONS: usize = 20;

/// Why an answer is not told though it is known.
const UNJUDGED: Ede = Ede {
    code: EdeCode::OTHER,
    text: std::borrow::Cow::Borrowed("judging the answer takes more questions than may be asked"),
};

impl Resolver {
    /// A resolver that answers by whatever generation is current, which is from now on one of these settings and upstreams.
    pub fn new(
        current: Arc<Current>,
        cache: Arc<Cache>,
        upstream: Arc<dyn Upstream>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Resolver {
        let Settings { access, clients, recent, special, identity, ttl, max_in_flight } = settings;
        let (counters, hot_counters) = (Arc::default(), Mutex::default());
        let recorder = SharedRecorder::new(recent.recorder());
        let resolver = Resolver { current, clock, recent, counters, recorder, hot_counters };
        let fetcher = resolver.fetcher(upstream, cache, (ttl, max_in_flight));
        let answers = Arc::new(Answers { access, special, identity });
        resolver.current.change(|serving| Generation {
            policy: Arc::clone(&serving.policy),
            clients,
            answers,
            fetcher,
        });
        resolver
    }

    /// A fetcher for a generation, which counts what it does with everything else.
    pub fn fetcher(
        &self,
        upstream: Arc<dyn Upstream>,
        cache: Arc<Cache>,
        limits: (TtlLimits, usize),
    ) -> Arc<Fetcher> {
        Arc::new(Fetcher::new(upstream, cache, (self.clock.clone(), self.counters.clone()), limits))
    }

    /// What it answers by.
    pub fn current(&self) -> Arc<Current> {
        self.current.clone()
    }

    /// The sample of what is asked.
    pub fn recent(&self) -> Recent {
        self.recent.clone()
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

    /// The path of a query. What it cannot know without waiting it asks for; then it is run again, with the answers at hand.
    fn decide(&self, case: Case<'_>, tally: &mut Tally) -> Decision {
        let Case { query, client, generation, wall, known } = case;
        let Generation { policy, clients, answers, .. } = generation;
        if !answers.access.allows(client.addr.ip()) {
            tally.note(Event::Denied);
            return Decision::Answer(Answer::error(Rcode::REFUSED, Some(Ede::bare(EdeCode::PROHIBITED))));
        }
        if let Some(answer) = Answer::unserved(query) {
            return Decision::Answer(answer);
        }
        if query.qclass == Class::CH {
            return Decision::Answer(special::chaos(query, &answers.identity));
        }

        // RFC 8914 §4.15: "The server is unable to answer the query, as it was not fully functional when the query was
        // received." Until the orders are loaded nobody knows who is innocent.
        if !policy.is_ready() {
            return Decision::Answer(Answer::error(Rcode::SERVFAIL, Some(Ede::bare(EdeCode::NOT_READY))));
        }

        // Verdict before cache: a lifted or changed order needs no cache flush, and forged answers are never cached.
        let view = match clients.is_trivial() {
            true => View::ALL,
            false => clients.view(clients.group_of(client.addr.ip()), wall),
        };
        // Read before any verdict that it is to stand for. Patterns are dear, and an answer may know that none matches.
        let stamp = policy.stamp(wall);
        let untouched = policy.has_patterns() && known.is_untouched(&query.key(), stamp);
        let judged = Judged::by_name(case, &view, untouched);
        let by_name = ByName { view: &view, stamp, touched: judged.touched };
        let review = match judged.verdict {
            // The answer may hold what a zone of higher precedence acts on: it is judged once it is there.
            _ if judged.waits => Review::All,
            Verdict::Clear if policy.looks_at_answers() => Review::All,
            Verdict::Clear => {
                tally.judged(&judged);
                Review::Beyond
            }
            Verdict::Protected(_) | Verdict::Passthru(_) => {
                tally.judged(&judged);
                Review::No
            }
            Verdict::Act(hit) => {
                tally.judged(&judged);
                match self.act(case, &hit, &query.qname, None) {
                    Some(decision) => return decision,
                    None => Review::No,
                }
            }
        };

        // RFC 8482 §4.2: ANY gets one small record, from here: nobody's cache holds "everything".
        let local = special::answer(query, &answers.special)
            .or_else(|| (query.qtype == Rtype::ANY).then(|| Answer::any(query)));
        if let Some(answer) = local {
            return self.without_truth(case, &judged, review, tally).unwrap_or_else(|| {
                tally.note(Event::Local);
                Decision::Answer(answer)
            });
        }

        let question = query.key();
        match known.look(&question) {
            Found::Truth { truth, age_s, cached } => {
                if cached {
                    tally.note(Event::Cached);
                }
                self.review(case, &by_name, review, (&truth, age_s), tally)
            }
            // RFC 9520 §3.2: a resolution failure is cached, so that a dead zone is not asked about at every retry.
            Found::Failure { errors, cached, .. } => {
                if cached {
                    tally.note(Event::CachedFailure);
                }
                // RFC 8767 §4: data "may be used for answering queries" beyond its TTL when it "cannot be authoritatively
                // refreshed". It is reviewed like any other.
                let Some(Cached { truth, age_s, .. }) = known.stale(&question) else {
                    return self
                        .without_truth(case, &judged, review, tally)
                        .unwrap_or_else(|| Decision::Answer(Answer::failure(errors)));
                };
                tally.note(Event::Stale);
                let mut truth = truth.stale(age_s);
                truth.ede.extend(errors);
                self.review(case, &by_name, review, (&Arc::new(truth), 0), tally)
            }
            Found::Unknown => Decision::Ask(vec![question]),
        }
    }

    /// What the name alone leads to where there is no truth to wait for; none if that is nothing.
    fn without_truth(
        &self,
        case: Case<'_>,
        judged: &Judged<'_>,
        review: Review,
        tally: &mut Tally,
    ) -> Option<Decision> {
        if review != Review::All {
            return None;
        }
        tally.judged(judged);
        match &judged.verdict {
            Verdict::Act(hit) => self.act(case, hit, &case.query.qname, None),
            Verdict::Clear | Verdict::Protected(_) | Verdict::Passthru(_) => None,
        }
    }

    /// Judges the truth, on cache hits as well: what it leads to may have been listed since it was cached. An answer of which
    /// no rule was about anything remembers that.
    ///
    /// The names it leads through come one after the other, and the first that any rule is about decides for all of it
    /// (draft-vixie-dnsop-dns-rpz §5.1). One that is protected or passed through ends the search, as it would have had it
    /// been asked for itself. Observers on the way are counted: a dry run misses nothing.
    fn review(
        &self,
        case: Case<'_>,
        by_name: &ByName<'_>,
        review: Review,
        (truth, age_s): (&Arc<Truth>, u32),
        tally: &mut Tally,
    ) -> Decision {
        let query = case.query;
        let told = || Decision::Answer(Answer::truth(Arc::clone(truth), age_s));
        if review == Review::No {
            return told();
        }
        // What no rule was about under this stamp needs a look at who asks and at name servers only, if at that.
        let ByName { view, stamp, mut touched } = *by_name;
        let untouched = truth.untouched.is(stamp.to_bits());
        let policy = &case.generation.policy;
        if untouched
            && (review == Review::Beyond || !(policy.looks_at_clients() || policy.looks_at_servers()))
        {
            return told();
        }
        let skip = usize::from(review == Review::Beyond);
        let names = std::iter::once(&query.qname).chain(&truth.targets).enumerate().skip(skip);
        // What is to be asked about all of them is asked at once: a chain may be long, and its rounds are few.
        let mut missing: Vec<Question> = Vec::new();
        for (index, name) in names {
            let judged = match Judged::by_answer(case, view, (name, index), (truth, untouched)) {
                Ok(judged) if missing.is_empty() => judged,
                Ok(_) => continue,
                Err(Lack::Answers(questions)) => {
                    missing.extend(questions);
                    continue;
                }
                // Never the truth: whoever makes it costly to judge would get out of an order.
                Err(Lack::Means) => {
                    tally.note(Event::Unjudged);
                    return Decision::Answer(Answer::failure(vec![UNJUDGED]));
                }
            };
            tally.observed(judged.observed.as_ref());
            touched |= judged.touched;
            match judged.verdict {
                Verdict::Clear => continue,
                Verdict::Protected(_) | Verdict::Passthru(_) => {
                    if index == 0 {
                        tally.verdict(&judged.verdict);
                    }
                }
                Verdict::Act(hit) => {
                    tally.verdict(&judged.verdict);
                    if let Some(decision) = self.act(case, &hit, name, Some((truth, age_s))) {
                        return decision;
                    }
                }
            }
            return told();
        }
        if !missing.is_empty() {
            return Decision::Ask(missing);
        }
        if !touched {
            truth.untouched.set(stamp.to_bits());
        }
        told()
    }

    /// What an order's action makes of a query; none when the action is to tell the truth.
    fn act(
        &self,
        case: Case<'_>,
        hit: &Hit<'_>,
        captured: &Name,
        chain: Option<(&Truth, u32)>,
    ) -> Option<Decision> {
        let Case { query, client, .. } = case;
        match hit.action {
            Action::Sinkhole | Action::Nodata | Action::Nxdomain | Action::Refused => {}
            Action::Local => return local_data(case, hit, captured, chain),
            Action::Drop => return Some(Decision::Silence),
            Action::TcpOnly if client.transport == Transport::Udp => {
                return Some(Decision::Answer(Answer::retry_over_tcp()));
            }
            Action::TcpOnly | Action::Observe | Action::Passthru => return None,
        }
        Some(Decision::Answer(forge(query, hit, captured, chain)))
    }

    /// The one exit.
    fn send(&self, query: &Query<'_>, answer: &Answer, client: Client, out: &mut Vec<u8>) {
        finish(query, answer, client.transport, out);
        Counters::add(&self.counters.replies);
    }
}

impl Respond for Resolver {
    type Pending = Box<Pending>;
    type Hot = HotPath;

    fn hot(&self) -> HotPath {
        let counters = Arc::new(Counters::default());
        self.hot_counters.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counters));
        HotPath::new(&self.current, self.clock.clone(), counters, self.recent.recorder())
    }

    fn serves(&self, client: IpAddr) -> bool {
        self.current.load().answers.access.allows(client)
    }

    fn now(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Step<Box<Pending>> {
        Counters::add(&self.counters.queries);
        let generation = self.current.load();
        let serves = |addr: IpAddr| generation.answers.access.allows(addr);
        let query = match parse(packet) {
            Ok(query) => query,
            Err(Reject::Drop) => {
                Counters::add(&self.counters.malformed);
                return Step::Silence;
            }
            // Whoever is not served learns nothing here either: a reply to a forged source would be a gift to somebody.
            Err(Reject::Answer(..)) if !serves(client.addr.ip()) => {
                Counters::add(&self.counters.denied);
                return Step::Silence;
            }
            Err(Reject::Answer(query, code)) => {
                Counters::add(&self.counters.malformed);
                self.send(&query, &Answer::error(code, None), client, out);
                return Step::Reply;
            }
        };
        // Port 0 is nobody's: what this server asks itself is no traffic. Nor is what it refuses: anybody could have written
        // that, in anybody's name.
        if client.addr.port() != 0 {
            let addr = client.addr.ip();
            self.recorder.note(|| serves(addr).then_some(query.qname), addr);
        }
        let now = self.clock.now();
        let known = Known::cached(generation.fetcher.cache(), now.mono);
        let case = Case { query: &query, client, generation: &generation, wall: now.wall, known: &known };
        let mut tally = Tally::default();
        match self.decide(case, &mut tally) {
            Decision::Answer(answer) => {
                tally.count(&self.counters);
                self.send(&query, &answer, client, out);
                Step::Reply
            }
            Decision::Silence => {
                tally.count(&self.counters);
                Step::Silence
            }
            Decision::Ask(missing) => {
                let generation = Arc::clone(&generation);
                Step::Later(Box::new(Pending { packet: query.compact(), client, generation, now, missing }))
            }
        }
    }

    fn without_upstream(&self, pending: &Box<Pending>, out: &mut Vec<u8>) -> Step<()> {
        let Pending { ref packet, client, ref generation, now, .. } = **pending;
        let Ok(query) = parse(packet) else { return Step::Later(()) };
        let known = Known::cached(generation.fetcher.cache(), now.mono).crowded();
        let case = Case { query: &query, client, generation, wall: now.wall, known: &known };
        let mut tally = Tally::default();
        match self.decide(case, &mut tally) {
            // By datagram a bare failure is not told: the client asks again by itself, and may find room then. By stream
            // nothing is lost, so nobody asks again, and silence would have it wait for nothing.
            Decision::Answer(answer)
                if answer.rcode != Rcode::SERVFAIL || client.transport != Transport::Udp =>
            {
                tally.count(&self.counters);
                self.send(&query, &answer, client, out);
                Step::Reply
            }
            Decision::Silence => {
                tally.count(&self.counters);
                Step::Silence
            }
            Decision::Answer(_) | Decision::Ask(_) => Step::Later(()),
        }
    }

    async fn later(&self, pending: &Box<Pending>, out: &mut Vec<u8>) -> bool {
        let Pending { ref packet, client, ref generation, now, ref missing } = **pending;
        // It parsed once; it parses again.
        let Ok(query) = parse(packet) else { return false };
        let mut missing = missing.clone();
        let (mut fetched, mut left) = (Vec::new(), MAX_QUESTIONS);
        for round in 1.. {
            dedup(&mut missing);
            missing.truncate(left);
            left -= missing.len();
            fetched.extend(generation.fetcher.fetch_all(std::mem::take(&mut missing)).await);
            let known = Known::cached(generation.fetcher.cache(), self.clock.now().mono).with(&fetched);
            let may_ask = round < MAX_ROUNDS && left > 0;
            let known = if may_ask { known } else { known.crowded() };
            let case = Case { query: &query, client, generation, wall: now.wall, known: &known };
            let mut tally = Tally::default();
            match self.decide(case, &mut tally) {
                Decision::Answer(answer) => {
                    tally.count(&self.counters);
                    self.send(&query, &answer, client, out);
                    return true;
                }
                Decision::Silence => {
                    tally.count(&self.counters);
                    return false;
                }
                Decision::Ask(questions) if may_ask => missing = questions,
                Decision::Ask(_) => return false,
            }
        }
        false
    }
}

/// Leaves each question once, where it stands first: names of a chain share zones.
fn dedup(questions: &mut Vec<Question>) {
    let mut seen = std::collections::HashSet::with_capacity(questions.len());
    questions.retain(|question| seen.insert(*question));
}

/// What local data makes of a query; none when it has nothing for the type and its subscriber wants the truth then. A CNAME
/// leads to a walled garden, whose answer stands behind it and is judged by nobody: "RPZ rules do not apply to synthetic data"
/// (draft-vixie-dnsop-dns-rpz §6).
fn local_data(
    case: Case<'_>,
    hit: &Hit<'_>,
    captured: &Name,
    chain: Option<(&Truth, u32)>,
) -> Option<Decision> {
    let Case { query, known, .. } = case;
    let lacks_type = hit.scope.data.as_ref().is_some_and(|data| !data.has(query.qtype));
    if lacks_type && hit.order.rpz.as_ref().is_some_and(|rpz| rpz.missing_type == MissingType::Passthru) {
        return None;
    }
    let question = match garden(query, hit, captured) {
        Ok(None) => return Some(Decision::Answer(forge(query, hit, captured, chain))),
        // What is made up here has no signatures to ask for.
        Ok(Some(qname)) => Question { qname, dnssec_ok: false, ..query.key() },
        Err(code) => return Some(Decision::Answer(Answer::error(code, Some(attribution(hit.order))))),
    };
    Some(match known.look_back(&question) {
        Found::Unknown => Decision::Ask(vec![question]),
        Found::Failure { errors, .. } => {
            Decision::Answer(Answer::failure(errors).with_ede(attribution(hit.order)))
        }
        Found::Truth { truth, age_s, .. } => {
            let garden = Garden { question: &question, truth: &truth, age_s };
            Decision::Answer(forge_garden(query, hit, captured, chain, Some(garden)))
        }
    })
}
