//! THE REQUEST PATH: bytes in, bytes out.
//!
//! [`Resolver::decide`] is the whole of it, in the order it runs; everything it calls is a value or a lookup. What
//! it cannot decide without an upstream it asks for: [`fetch`] brings the answers, and it is run once more, over the same
//! policy and by the same exit. So there is one path, whether what it takes is cached or not.

pub mod counters;
mod dns64;
pub mod ede;
pub mod fetch;
pub mod generation;
mod hits;
pub mod hot;
mod judged;
mod known;
mod logged;
mod observers;
#[cfg(test)]
mod outage_tests;
pub mod outcome;
mod prefetch;
#[cfg(test)]
mod prefetch_tests;
pub mod recent;
pub mod sightings;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::access::AccessList;
use crate::cache::Cache;
use crate::clients::Clients;
use crate::clock::{Clock, Now};
use crate::dns::chaos::{self, Identity};
use crate::dns::dns64::Dns64;
use crate::dns::{Answer, Body, Ede, Query, Question, Reject, Truth, finish, parse};
use crate::ecs::Ecs;
use crate::forge::{Garden, attribution, filtered, forge, forge_garden, garden};
use crate::histogram::{Histogram, Times};
use crate::iana::{Class, EdeCode, Rcode, Rtype};
use crate::local::{Local, LocalNames};
use crate::name::Name;
use crate::policy::order::MissingType;
use crate::policy::{Act, Hit, Order, Stamp, Synthesis, Verdict, View};
use crate::querylog::Taps;
use crate::serve::{Back, Client, Respond, Step};
use crate::time::UnixSeconds;
use crate::transport::Transport;
use crate::upstream::Upstream;
use counters::Counters;
use fetch::{Begun, Fetched, Fetcher, Rules};
pub use generation::{Answers, Current, Generation, Routes};
use hits::{Ledger, SharedHits};
use hot::HotPath;
use judged::{Judged, Lack, Remembered};
use known::{Found, Known};
use outcome::{Findings, Foreseen, Observe, Request, Source};
use recent::{Recent, SharedRecorder};
use sightings::Sightings;

/// What the operator decides about answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who is served.
    pub access: AccessList,
    /// Which policy zones concern whom.
    pub clients: Arc<Clients>,
    /// Where a sample of what is asked is written down.
    pub recent: Recent,
    /// Names answered here.
    pub local: Arc<LocalNames>,
    /// What CHAOS queries learn.
    pub identity: Identity,
    /// Whether another of several addresses comes first in each reply.
    pub rotate: bool,
    /// Where clients that have IPv6 alone reach IPv4, if they do.
    pub dns64: Option<Dns64>,
    /// Which networks of clients upstream is told of.
    pub ecs: Ecs,
    /// By what rules answers are asked for and taken.
    pub rules: Rules,
}

/// Answers queries: policy, cache, upstream, review.
pub struct Resolver {
    current: Arc<Current>,
    clock: Arc<dyn Clock>,
    recent: Recent,
    /// Who looks at what became of queries here.
    observers: observers::Shared,
    /// The counters of the hot paths, one set a worker.
    hot_counters: Mutex<Vec<Arc<Counters>>>,
    /// What orders had to do with queries.
    ledger: Ledger,
}

/// A query that waits for an upstream.
pub struct Pending {
    /// The query without its question.
    query: Query<'static>,
    /// Its question. Nothing depends on what else was in the packet: clients may send 64 KB of padding, and thousands wait.
    question: Box<[u8]>,
    /// All of it for the query log, if there is one and it is not too long; else nothing.
    packet: Box<[u8]>,
    client: Client,
    /// What it was judged by, which reviews its answer too: a query sees one generation from start to end.
    generation: Arc<Generation>,
    /// When it came: windows are judged by that.
    came: Now,
    /// What is to be asked.
    missing: Vec<Question>,
    /// What was asked already.
    fetched: Vec<(Question, Fetched)>,
    /// What is being asked, if that is what was missing.
    begun: Mutex<Option<Begun>>,
}

/// What becomes of a query.
enum Decision {
    /// This reply.
    Answer(Answer),
    /// No reply.
    Drop,
    /// It takes the answers to these.
    Ask(Vec<Question>),
}

/// A query under way, and what it is answered by.
#[derive(Clone, Copy)]
struct Case<'q> {
    query: &'q Query<'q>,
    client: Client,
    generation: &'q Generation,
    /// When it came.
    wall: UnixSeconds,
    /// The same by the other clock.
    mono: Duration,
    /// All of it, where that is known and somebody wants to know.
    packet: &'q [u8],
}

/// A query that is let in and judged by its name: what of it cannot change while answers are fetched for it.
struct Admitted<'q> {
    case: Case<'q>,
    /// The policy zones that concern the client.
    view: View,
    /// What the name was judged under.
    stamp: Stamp,
    /// What came of that.
    judged: Judged<'q>,
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

/// Why an alias that is stated here is told without what is behind it.
const TOO_LONG: Ede = Ede {
    code: EdeCode::OTHER,
    text: std::borrow::Cow::Borrowed("what is behind the alias does not fit a message"),
};

/// Why nothing is told to whoever does not desire recursion. RFC 8914 §4.21: "A resolver that receives a query with the RD bit clear
/// SHOULD include this EDE code in the REFUSED response."
const NO_RECURSION: Ede = Ede {
    code: EdeCode::NOT_AUTHORITATIVE,
    text: std::borrow::Cow::Borrowed("not known here, and recursion is not desired (RD=0)"),
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
        let Settings { access, clients, recent, local, identity, rotate, dns64, ecs, rules } = settings;
        let recorder = SharedRecorder::new(recent.recorder());
        let ledger = Ledger::default();
        let hits = SharedHits::new(&ledger, &current.policy());
        let (counters, waits, sightings) = (Arc::default(), Histogram::default(), Sightings::off());
        let observers = observers::Shared { counters, hits, waits, recorder, sightings, log: None };
        let resolver = Resolver { current, clock, recent, observers, hot_counters: Mutex::default(), ledger };
        let fetcher = resolver.fetcher(upstream, cache, rules);
        let answers = Arc::new(Answers { access, identity, rotate, dns64, ecs });
        resolver.current.change(|serving| Generation {
            policy: Arc::clone(&serving.policy),
            clients,
            answers,
            local,
            fetcher,
            routes: Arc::default(),
        });
        resolver
    }

    /// The same, and what orders decide is written down there.
    pub fn sighted(mut self, sightings: Sightings) -> Resolver {
        self.observers.sightings = sightings;
        self
    }

    /// The same, and queries are written down there.
    #[must_use]
    pub fn logging(mut self, taps: Option<Arc<Taps>>) -> Resolver {
        self.observers.log = taps;
        self
    }

    /// A fetcher for a generation, which counts what it does with everything else.
    pub fn fetcher(&self, upstream: Arc<dyn Upstream>, cache: Arc<Cache>, rules: Rules) -> Arc<Fetcher> {
        Arc::new(Fetcher::new(upstream, cache, (self.clock.clone(), self.observers.counters.clone()), rules))
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
        sum.merge(&self.observers.counters);
        // A list is whole whatever happened to who held it.
        for counters in self.hot_counters.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sum.merge(counters);
        }
        sum
    }

    /// How often each of these orders decided a query or looked on, in their order.
    pub fn hits<'o>(&self, orders: impl Iterator<Item = &'o Order>) -> Vec<(String, u64)> {
        self.ledger.read(orders)
    }

    /// How long queries took that waited for an upstream.
    pub fn waits(&self) -> Times {
        self.observers.waits.read()
    }

    /// Lets a query in, if that may be.
    ///
    /// # Errors
    /// What it is told instead, whoever is upstream and whatever orders say.
    fn admit<'q>(case: Case<'q>, known: &Known<'_>) -> Result<Admitted<'q>, (Answer, Source)> {
        let Case { query, client, generation, .. } = case;
        if !generation.answers.access.allows(client.addr.ip()) {
            return Err((Answer::prohibited(), Source::Denied));
        }
        if let Some(answer) = Answer::unserved(query) {
            return Err((answer, Source::Unserved));
        }
        if query.qclass == Class::CH {
            return Err((chaos::chaos(query, &generation.answers.identity), Source::Unserved));
        }
        // RFC 8914 §4.15: "The server is unable to answer the query, as it was not fully functional when the query was
        // received." Until the orders are loaded nobody knows who is innocent.
        if !generation.policy.is_ready() {
            let not_ready = Answer::error(Rcode::SERVFAIL, Some(Ede::bare(EdeCode::NOT_READY)));
            return Err((not_ready, Source::Unserved));
        }
        Ok(Admitted::judge(case, known))
    }

    /// The path of a query that is let in. What it cannot know without waiting it asks for; then it is run again, with the answers
    /// at hand.
    fn decide<'q>(admitted: &Admitted<'q>, known: &Known<'_>, findings: &mut Findings<'q>) -> Decision {
        let Admitted { case, judged, .. } = admitted;
        let Case { query, client, generation: Generation { policy, local, clients, .. }, .. } = *case;
        // Verdict before cache: a lifted or changed order needs no cache flush, and forged answers are never cached.
        let review = match judged.verdict {
            // The answer may hold what a zone of higher precedence acts on: it is judged once it is there.
            _ if judged.waits => Review::All,
            Verdict::Clear if policy.looks_at_answers() => Review::All,
            Verdict::Clear => {
                findings.judged(&query.qname, judged);
                Review::Beyond
            }
            Verdict::Protected(_) | Verdict::Passthru(_) => {
                findings.judged(&query.qname, judged);
                Review::No
            }
            Verdict::Act(deed, hit) => {
                findings.judged(&query.qname, judged);
                match act(*case, known, (deed, &hit), &query.qname, None) {
                    Some(decision) => {
                        findings.from(Source::Forged);
                        return decision;
                    }
                    None => Review::No,
                }
            }
        };

        // What a group is told nothing of is not looked for. What is stated here needs nobody's cache; it is reviewed like any truth.
        let kept_back = clients.filters(client.addr.ip(), query.qtype);
        match if kept_back { None } else { local.look(query) } {
            Some(Local::Truth(truth)) => {
                findings.from(Source::Local);
                return admitted.review(known, review, (&truth, 0), findings);
            }
            Some(Local::Leads(alias, next)) => {
                return admitted.led_on(known, review, (&alias, &next), findings);
            }
            // RFC 8482 §4.2: ANY gets one small record, from here: nobody's cache holds "everything".
            None if kept_back || query.qtype == Rtype::ANY => {
                return without_truth(admitted, known, review, findings).unwrap_or_else(|| {
                    findings.from(if kept_back { Source::Filtered } else { Source::Local });
                    Decision::Answer(if kept_back { filtered(query) } else { Answer::any(query) })
                });
            }
            None => {}
        }

        // Who has IPv6 alone is told of IPv4 addresses as its translator maps them.
        let (question, found) = dns64::look(*case, known);
        match found {
            Found::Truth { truth, age_s, cached, .. } => {
                findings.from(if cached { Source::Cached } else { Source::Fetched });
                admitted.review(known, review, (&truth, age_s), findings)
            }
            // RFC 9520 §3.2: a resolution failure is cached, so that a dead zone is not asked about at every retry.
            Found::Failure { errors, cached, .. } => {
                // RFC 8767 §4: data "may be used for answering queries" beyond its TTL when it "cannot be authoritatively
                // refreshed". It is reviewed like any other.
                let Some(mut truth) = known.at_hand(&question) else {
                    return without_truth(admitted, known, review, findings).unwrap_or_else(|| {
                        findings.from(if cached { Source::CachedFailure } else { Source::Failed });
                        Decision::Answer(Answer::failure(errors))
                    });
                };
                findings.from(Source::Stale);
                truth.ede.extend(errors);
                admitted.review(known, review, (&Arc::new(truth), 0), findings)
            }
            Found::Unknown => {
                // There will be no truth to wait for: what the name alone leads to is told. An expired answer is not, for nobody has
                // tried to have a newer one (RFC 8767 §4).
                let known_here = match case.has_recursion() {
                    true => None,
                    false => without_truth(admitted, known, review, findings),
                };
                known_here.unwrap_or_else(|| Decision::Ask(vec![question]))
            }
        }
    }

    /// What would become of a query that sees these policy zones, by what is known without asking anybody. It takes the very path
    /// of those who ask, and leaves no trace.
    pub fn foresee<'q>(
        generation: &'q Generation,
        query: &'q Query<'q>,
        (client, view): (Client, View),
        now: Now,
    ) -> Foreseen<'q> {
        let case = Case { query, client, generation, wall: now.wall, mono: now.mono, packet: &[] };
        let known = Known::cached(generation.fetcher_of(client.addr.ip()).cache(), now.mono);
        let judged = Judged::by_name(case, &view, false);
        let admitted = Admitted { case, view, stamp: generation.policy.stamp(now.wall), judged };
        let mut findings = Findings::of(Source::Unserved);
        let decision = Resolver::decide(&admitted, &known, &mut findings);
        findings.foreseen(!matches!(decision, Decision::Ask(_)))
    }

    /// The one exit: writes what was decided, and has everybody look at it. False if there is to be no reply.
    fn finish(
        &self,
        case: Case<'_>,
        answer: Option<&Answer>,
        findings: &Findings<'_>,
        out: &mut Vec<u8>,
    ) -> bool {
        let Case { query, client, wall, mono, packet, .. } = case;
        if let Some(answer) = answer {
            finish(query, answer, client.transport, out);
        }
        // A look at the clock is for who wants to know.
        let answered = if self.observers.log.is_some() { self.clock.mono() } else { mono };
        let request = Request { client, question: query.question, at: wall, packet, took: [mono, answered] };
        let outcome = findings.outcome(answer.map(|answer| (answer.rcode, &out[..])));
        (&self.observers).answered(&request, &outcome);
        self.observers.hits.count(&case.generation.policy, &outcome);
        answer.is_some()
    }

    /// Notes that a query that waited is answered.
    fn waited(&self, pending: &Pending) {
        self.observers.waits.add(self.clock.mono().saturating_sub(pending.came.mono));
    }
}

impl Case<'_> {
    /// Whether upstream may be asked for it.
    fn has_recursion(&self) -> bool {
        self.query.rd || self.generation.answers.access.recurses_without_rd(self.client.addr.ip())
    }
}

impl<'q> Admitted<'q> {
    /// Judges a query by its name.
    fn judge(case: Case<'q>, known: &Known<'_>) -> Admitted<'q> {
        let Case { query, client, generation: Generation { policy, clients, .. }, wall, .. } = case;
        let view = match clients.is_trivial() {
            true => View::ALL,
            false => clients.view(clients.group_of(client.addr.ip()), wall),
        };
        // Read before any verdict that it is to stand for. Patterns are dear, and an answer may know that none matches.
        let stamp = policy.stamp(wall);
        let untouched = policy.has_patterns() && known.is_untouched(&query.key(), stamp);
        let judged = Judged::by_name(case, &view, untouched);
        Admitted { case, view, stamp, judged }
    }

    /// What becomes of a query whose name is an alias here: what upstream says of where it leads stands behind it.
    fn led_on(
        &self,
        known: &Known<'_>,
        review: Review,
        (alias, next): (&Arc<Truth>, &Question),
        findings: &mut Findings<'q>,
    ) -> Decision {
        findings.from(Source::Local);
        let asked = self.case.query.key();
        let behind = |end: &Truth, age_s| alias.led_to(&asked, (next, end, age_s));
        let joined = match known.look(next) {
            Found::Truth { truth, age_s, .. } => behind(&truth, age_s),
            Found::Failure { errors, .. } => match known.at_hand(next) {
                Some(mut truth) => {
                    truth.ede.extend(errors);
                    behind(&truth, 0)
                }
                // It is judged all the same: an order may be about where it leads.
                None => Ok(alias.led_nowhere(errors)),
            },
            Found::Unknown if self.case.has_recursion() => return Decision::Ask(vec![*next]),
            // RFC 1034 §4.3.2, step 3a: without recursion an authority tells the alias, and leaves the rest to who asks.
            Found::Unknown => return self.review(known, review, (alias, 0), findings),
        };
        let joined = joined.unwrap_or_else(|_| alias.led_nowhere(vec![TOO_LONG]));
        self.review(known, review, (&Arc::new(joined), 0), findings)
    }

    /// Judges the truth, on cache hits as well: what it leads to may have been listed since it was cached. An answer of which
    /// no rule was about anything remembers that.
    ///
    /// The names it leads through come one after the other, and the first that any rule is about decides for all of it
    /// (draft-vixie-dnsop-dns-rpz §5.1). One that is protected or passed through ends the search, as it would have had it
    /// been asked for itself. Observers on the way are counted: a dry run misses nothing.
    fn review(
        &self,
        known: &Known<'_>,
        review: Review,
        (truth, age_s): (&Arc<Truth>, u32),
        findings: &mut Findings<'q>,
    ) -> Decision {
        let Admitted { case, ref view, stamp, .. } = *self;
        let query = case.query;
        let rotate = case.generation.answers.rotate;
        let told = || Decision::Answer(Answer::truth(Arc::clone(truth), age_s).rotating(rotate));
        if review == Review::No {
            return told();
        }
        // What no rule was about under this stamp needs a look at who asks only, if at that, and now and then at name servers.
        let remembered = Remembered::of(truth, stamp, known.at());
        let policy = &case.generation.policy;
        let nobody = review == Review::Beyond || !policy.looks_at_clients();
        if remembered.untouched && nobody && (remembered.servers.is_some() || !policy.looks_at_servers()) {
            return told();
        }
        let (mut touched, mut until) = (self.judged.touched, Duration::MAX);
        let skip = usize::from(review == Review::Beyond);
        let names = std::iter::once(&query.qname).chain(&truth.targets).enumerate().skip(skip);
        // What is to be asked about all of them is asked at once: a chain may be long, and its rounds are few.
        let mut missing: Vec<Question> = Vec::new();
        for (index, name) in names {
            let judged = match Judged::by_answer((case, known), view, (name, index), (truth, remembered)) {
                Ok(judged) if missing.is_empty() => judged,
                Ok(_) => continue,
                Err(Lack::Answers(questions)) => {
                    missing.extend(questions);
                    continue;
                }
                // Never the truth: whoever makes it costly to judge would get out of an order.
                Err(Lack::Means) => {
                    findings.from(Source::Unjudged);
                    return Decision::Answer(Answer::failure(vec![UNJUDGED]));
                }
            };
            findings.observed(judged.observed.as_ref());
            touched |= judged.touched;
            until = until.min(judged.until);
            match judged.verdict {
                Verdict::Clear => continue,
                Verdict::Protected(_) | Verdict::Passthru(_) => {
                    if index == 0 {
                        findings.decided(name, &judged.verdict);
                    }
                }
                Verdict::Act(deed, hit) => {
                    findings.decided(name, &judged.verdict);
                    if let Some(decision) = act(case, known, (deed, &hit), name, Some((truth, age_s))) {
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
            truth.untouched.set(stamp.to_bits(), until);
        }
        told()
    }
}

/// What the name alone leads to where there is no truth to wait for; none if that is nothing.
fn without_truth<'q>(
    admitted: &Admitted<'q>,
    known: &Known<'_>,
    review: Review,
    findings: &mut Findings<'q>,
) -> Option<Decision> {
    if review != Review::All {
        return None;
    }
    let Admitted { case, judged, .. } = admitted;
    findings.judged(&case.query.qname, judged);
    match &judged.verdict {
        Verdict::Act(deed, hit) => {
            findings.from(Source::Forged);
            act(*case, known, (*deed, hit), &case.query.qname, None)
        }
        Verdict::Clear | Verdict::Protected(_) | Verdict::Passthru(_) => None,
    }
}

/// What an order makes of a query; none when it tells the truth.
fn act(
    case: Case<'_>,
    known: &Known<'_>,
    (act, hit): (Act, &Hit<'_>),
    captured: &Name,
    chain: Option<(&Truth, u32)>,
) -> Option<Decision> {
    let Case { query, client, .. } = case;
    match act {
        Act::Answer(Synthesis::Local) => local_data(query, known, hit, captured, chain),
        Act::Answer(synthesis) => {
            let forged = forge(query, synthesis, hit, captured, chain);
            Some(Decision::Answer(forged.for_those_of(chain.map(|(truth, _)| truth))))
        }
        Act::Drop => Some(Decision::Drop),
        Act::TcpOnly if client.transport == Transport::Udp => {
            Some(Decision::Answer(Answer::retry_over_tcp()))
        }
        Act::TcpOnly => None,
    }
}

/// Reads a query, and settles whom it is asked for.
#[expect(clippy::result_large_err, reason = "a rejected query is as large as an accepted one")]
fn read<'p>(packet: &'p [u8], answers: &Answers, client: Client) -> Result<Query<'p>, Reject<'p>> {
    let mut query = parse(packet)?;
    match answers.ecs.settle(&mut query, client.addr.ip()) {
        true => Ok(query),
        // RFC 7871 §6: a client subnet that cannot be read "SHOULD" have FORMERR.
        false => Err(Reject::Answer(query, Rcode::FORMERR)),
    }
}

impl Respond for Resolver {
    type Pending = Box<Pending>;
    type Hot = HotPath;

    fn hot(&self) -> HotPath {
        let counters = Arc::new(Counters::default());
        self.hot_counters.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counters));
        let hits = self.ledger.hits(&self.current.policy());
        let scribe = self.observers.sightings.scribe();
        let log = self.observers.log.as_ref().map(|taps| taps.tap());
        let observers = observers::Own { counters, hits, recorder: self.recent.recorder(), scribe, log };
        HotPath::new(&self.current, self.clock.clone(), observers)
    }

    fn serves(&self, client: IpAddr) -> bool {
        self.current.load().answers.access.allows(client)
    }

    fn now(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Step<Box<Pending>> {
        let counters = &self.observers.counters;
        Counters::add(&counters.queries);
        if !client.transport.is_datagram() {
            Counters::add(&counters.queries_by_stream);
        }
        let generation = self.current.load();
        let query = match read(packet, &generation.answers, client) {
            Ok(query) => query,
            Err(Reject::Drop) => {
                Counters::add(&counters.malformed);
                return Step::Drop;
            }
            // Whoever is not served learns nothing here either: a reply to a forged source would be a gift to somebody.
            Err(Reject::Answer(..)) if !generation.answers.access.allows(client.addr.ip()) => {
                Counters::add(&counters.denied);
                return Step::Drop;
            }
            Err(Reject::Answer(query, code)) => {
                Counters::add(&counters.malformed);
                counters.reply(code, Counters::add);
                finish(&query, &Answer::error(code, None), client.transport, out);
                return Step::Reply;
            }
        };
        let came = self.clock.now();
        let known = Known::cached(generation.fetcher_of(client.addr.ip()).cache(), came.mono);
        let (wall, mono) = (came.wall, came.mono);
        let case = Case { query: &query, client, generation: &generation, wall, mono, packet };
        let (decision, findings) = match Resolver::admit(case, &known) {
            Ok(admitted) => {
                let mut findings = Findings::of(Source::Unserved);
                match Resolver::decide(&admitted, &known, &mut findings) {
                    // RFC 1034 §4.3.1: recursion takes "both the client and the name server" to "agree to its use". Nothing has been
                    // decided then.
                    Decision::Ask(_) if !case.has_recursion() => {
                        let refused = Answer::error(Rcode::REFUSED, Some(NO_RECURSION));
                        (Decision::Answer(refused), Findings::of(Source::NoRecursion))
                    }
                    decision => (decision, findings),
                }
            }
            Err((answer, source)) => (Decision::Answer(answer), Findings::of(source)),
        };
        let answer = match decision {
            Decision::Answer(answer) => Some(answer),
            Decision::Drop => None,
            Decision::Ask(missing) => {
                let (question, generation) = (query.question.into(), Arc::clone(&generation));
                let query = Query { question: &[], ..query };
                let (fetched, begun) = (Vec::new(), Mutex::default());
                let kept = self.observers.log.is_some() && packet.len() <= logged::MAX_KEPT;
                let packet = if kept { packet.into() } else { Box::default() };
                return Step::Later(Box::new(Pending {
                    query,
                    question,
                    packet,
                    client,
                    generation,
                    came,
                    missing,
                    fetched,
                    begun,
                }));
            }
        };
        if findings.is_from(Source::Cached)
            && let Some(Answer { body: Body::Truth { truth, age_s }, .. }) = &answer
        {
            let fetcher = generation.fetcher_of(client.addr.ip());
            fetcher.told(query.key(), (truth, *age_s), came.mono, case.has_recursion());
        }
        if self.finish(case, answer.as_ref(), &findings, out) { Step::Reply } else { Step::Drop }
    }

    fn answer_from_cache(&self, pending: &Box<Pending>, out: &mut Vec<u8>) -> Step<()> {
        let query = pending.query();
        let case = pending.case(&query);
        let known = Known::cached(pending.fetcher().cache(), pending.came.mono).offline();
        let admitted = Admitted::judge(case, &known);
        let mut findings = Findings::of(Source::Unserved);
        match Resolver::decide(&admitted, &known, &mut findings) {
            // By datagram a bare failure is not told: the client asks again by itself, and may find room then. By stream
            // nothing is lost, so nobody asks again, and silence would have it wait for nothing.
            Decision::Answer(answer)
                if answer.rcode != Rcode::SERVFAIL || pending.client.transport != Transport::Udp =>
            {
                self.finish(case, Some(&answer), &findings, out);
                Step::Reply
            }
            Decision::Drop => {
                self.finish(case, None, &findings, out);
                Step::Drop
            }
            Decision::Answer(_) | Decision::Ask(_) => Step::Later(()),
        }
    }

    fn begin<B: Back<Box<Pending>>>(
        self: &Arc<Self>,
        mut pending: Box<Pending>,
        back: B,
    ) -> Result<(), (Box<Pending>, B)> {
        let fetcher = Arc::clone(pending.fetcher());
        let flight = match pending.missing[..] {
            [question] => fetcher.may_begin(question),
            _ => None,
        };
        let Some(flight) = flight else { return Err((pending, back)) };
        let resolver = Arc::clone(self);
        fetcher.begin(flight, move |question, came| {
            match came {
                Ok(fetched) => pending.fetched = vec![(question, fetched)],
                Err(begun) => {
                    pending.begun = Mutex::new(Some(begun));
                    return back.later(pending);
                }
            }
            let mut out = Vec::new();
            let query = pending.query();
            match resolver.told(&pending.judged(&query), &pending.fetched, true, &mut out) {
                Ok(replied) => {
                    resolver.waited(&pending);
                    back.replied(replied.then_some(out));
                }
                Err(missing) => {
                    pending.missing = missing;
                    back.later(pending);
                }
            }
        });
        Ok(())
    }

    async fn later(&self, pending: &Box<Pending>, out: &mut Vec<u8>) -> bool {
        let fetcher = pending.fetcher();
        let query = pending.query();
        let admitted = pending.judged(&query);
        let (mut missing, mut fetched) = (pending.missing.clone(), pending.fetched.clone());
        let begun = pending.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(begun) = begun {
            fetched.push(fetcher.go_on(begun).await);
            missing.clear();
        }
        for round in 1.. {
            dedup(&mut missing);
            missing.truncate(MAX_QUESTIONS.saturating_sub(fetched.len()));
            fetched.extend(fetcher.fetch_all(std::mem::take(&mut missing)).await);
            let may_ask = round < MAX_ROUNDS && fetched.len() < MAX_QUESTIONS;
            match self.told(&admitted, &fetched, may_ask, out) {
                Ok(replied) => {
                    self.waited(pending);
                    return replied;
                }
                Err(questions) if may_ask => missing = questions,
                Err(_) => return false,
            }
        }
        false
    }
}

impl Resolver {
    /// Writes the reply to a query for which this was fetched; false if there is to be none.
    ///
    /// # Errors
    /// What else is to be asked.
    fn told(
        &self,
        admitted: &Admitted<'_>,
        fetched: &[(Question, Fetched)],
        may_ask: bool,
        out: &mut Vec<u8>,
    ) -> Result<bool, Vec<Question>> {
        let case = admitted.case;
        let cache = case.generation.fetcher_of(case.client.addr.ip()).cache();
        let known = Known::cached(cache, self.clock.mono()).with(fetched);
        let known = if may_ask { known } else { known.offline() };
        let mut findings = Findings::of(Source::Unserved);
        match Resolver::decide(admitted, &known, &mut findings) {
            Decision::Answer(answer) => Ok(self.finish(case, Some(&answer), &findings, out)),
            Decision::Drop => Ok(self.finish(case, None, &findings, out)),
            Decision::Ask(missing) => Err(missing),
        }
    }
}

impl Pending {
    /// Where its answers come from.
    fn fetcher(&self) -> &Arc<Fetcher> {
        self.generation.fetcher_of(self.client.addr.ip())
    }

    /// The query under way, judged by its name once more: a verdict borrows from its policy, and this may be elsewhere by now.
    fn judged<'q>(&'q self, query: &'q Query<'q>) -> Admitted<'q> {
        let known = Known::cached(self.fetcher().cache(), self.came.mono);
        Admitted::judge(self.case(query), &known)
    }

    /// The query.
    fn query(&self) -> Query<'_> {
        Query { question: &self.question, ..self.query }
    }

    /// The query under way.
    fn case<'q>(&'q self, query: &'q Query<'q>) -> Case<'q> {
        let Pending { client, generation, packet, came: Now { wall, mono }, .. } = self;
        Case { query, client: *client, generation, wall: *wall, mono: *mono, packet }
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
    query: &Query<'_>,
    known: &Known<'_>,
    hit: &Hit<'_>,
    captured: &Name,
    chain: Option<(&Truth, u32)>,
) -> Option<Decision> {
    let lacks_type = hit.scope.data.as_ref().is_some_and(|data| !data.has(query.qtype));
    if lacks_type && hit.order.rpz.as_ref().is_some_and(|rpz| rpz.missing_type == MissingType::Passthru) {
        return None;
    }
    let question = match garden(query, hit, captured) {
        Ok(None) => {
            let forged = forge(query, Synthesis::Local, hit, captured, chain);
            return Some(Decision::Answer(forged.for_those_of(chain.map(|(truth, _)| truth))));
        }
        // What is made up here has no signatures to ask for.
        Ok(Some(qname)) => Question { qname, dnssec_ok: false, ..query.key() },
        Err(code) => return Some(Decision::Answer(Answer::error(code, Some(attribution(hit.order))))),
    };
    Some(match known.look_stale_ok(&question) {
        Found::Unknown => Decision::Ask(vec![question]),
        Found::Failure { errors, .. } => {
            Decision::Answer(Answer::failure(errors).with_ede(attribution(hit.order)))
        }
        Found::Truth { truth, age_s, .. } => {
            let garden = Garden { question: &question, truth: &truth, age_s };
            let forged = forge_garden(query, hit, captured, chain, &garden);
            let those = chain.map(|(truth, _)| truth).into_iter().chain([&*truth]);
            Decision::Answer(forged.for_those_of(those))
        }
    })
}
