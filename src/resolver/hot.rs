//! The hot path: one worker's own, which answers ordinary datagrams without lock, allocation or waiting.
//!
//! It takes the same steps as [`decide`](super::Resolver::decide), and each answer is the same, octet by octet (a
//! property test holds them together); whatever is not ordinary it leaves to that. It is fast for three reasons:
//!
//! - Replies are rendered, not built: a [`template`] is what `finish` once wrote, cut open where clients differ.
//! - Answers this worker gave before are in its own [`entries`], each in one piece.
//! - That no rule is about a name, nor about all it leads to, is remembered under the policy's [`Stamp`]: it is so for
//!   everybody, however they ask, until a new policy, a suspended order or a window makes another stamp. So the memory is
//!   exact, and void at the next packet. What is so for some is never remembered. Where policy looks at name servers, the slow
//!   path finds out who they are, and until when that is known is remembered beside the stamp.
//!
//! A batch is gone through in passes, so that its cache misses overlap: read each packet, touch its set of the index,
//! touch the entry that the set points to, compare; then walk the names that policy is to be asked about side by side.
//! What was found of a packet is kept in a few octets ([`Slot`]); a name is written once and stays where it is.

mod askers;
mod entries;
#[cfg(test)]
mod entries_tests;
mod entry;
mod forged;
#[cfg(test)]
mod property;
mod template;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use self::askers::Askers;
use self::entries::{Entries, Place};
use self::entry::{Entry, Stored};
use self::forged::ForgedTemplates;
use self::template::Template;
use super::generation::{self, Current, Generation};
use super::judged::waits;
use super::observers::Own;
use super::outcome::{Outcome, Request, Source};
use super::prefetch::Telling;
use crate::cache::Cached;
use crate::clock::{Clock, Now};
use crate::dns::head::{QueryHead, parse_head};
use crate::dns::mark::nanos;
use crate::dns::targets::each_address;
use crate::dns::wire::Message;
use crate::dns::{Answer, Query, Truth, finish};
use crate::iana::{Rcode, Rtype};
use crate::local::Local;
use crate::name::Name;
use crate::policy::{
    Act, Asker, Clear, Hit, Judgement, Policy, Stamp, Synthesis, TriggerType, Verdict, View, Walks,
};
use crate::serve::{Client, Hot};
use crate::transport::Transport;

/// The share of the shared cache's octets that a worker's own entries may have.
const SHARE: u64 = 8;
/// The most octets of own entries, whatever the shared cache has: some two hundred thousand answers. At a quarter of that, a
/// Zipf mix over 150,000 questions costs a tenth more, for the shared cache is ten times as slow (`benches/peers`).
const MAX_OWN: u64 = 32 << 20;

/// One worker's own.
pub struct HotPath {
    current: generation::View,
    clock: Arc<dyn Clock>,
    context: Context,
    worker: Worker,
    batch: Batch,
    /// The way that answers go: it is known from the beginning whether anybody writes down.
    answer: Answering,
}

/// Answers a datagram of the batch: its number there, itself, whose it is, and where the reply goes.
type Answering = fn(&mut HotPath, usize, &[u8], SocketAddr, &mut [u8]) -> Option<usize>;

/// What all datagrams of a batch are answered by: the time, the generation, and what that comes to.
struct Context {
    now: Now,
    /// Its monotonic part in nanoseconds, as entries have theirs.
    nanos: u64,
    generation: Arc<Generation>,
    /// Its policy, nearer at hand.
    policy: Arc<Policy>,
    /// The policy's, read before anything else is asked of it.
    stamp: Stamp,
    /// Whether the policy is ready.
    ready: bool,
    /// Whether it has triggers on clients, or some clients' questions go elsewhere, or some are told nothing of some types, or upstream is
    /// told of some.
    on_clients: bool,
    /// Whether all zones concern everybody.
    everyone: bool,
    /// What marks what is said by the names that are answered here.
    ours: u64,
}

/// The datagrams that arrived together, as far as one look at each goes.
#[derive(Default)]
struct Batch {
    /// What was seen of each, none of those that are not ordinary.
    seen: Vec<Option<Slot>>,
    /// The names that policy was asked about, and behind them what was left over.
    names: Vec<Name>,
    /// What policy knows of them.
    walks: Walks,
}

/// An ordinary query, seen and to be answered.
struct Slot {
    head: QueryHead,
    /// The question's hash.
    hash: u64,
    /// Its entry, if there is one that is alive.
    entry: Option<Place>,
    /// Where its name stands among those that policy was asked about; none if it is known to be clear.
    walk: Option<usize>,
}

/// A query under way: what was seen, the question as it came, and the name.
#[derive(Clone, Copy)]
struct Asked<'a> {
    seen: &'a Slot,
    question: &'a [u8],
    qname: &'a Name,
}

/// What this worker alone holds and changes as it answers.
struct Worker {
    observers: Own,
    entries: Entries,
    /// [`Cache::clears`](crate::cache::Cache::clears) when they were last emptied.
    clears: u64,
    askers: Askers,
    forged: ForgedTemplates,
    /// Where replies are written to be cut up.
    scratch: Vec<u8>,
}

impl HotPath {
    /// A path that has answered nothing yet.
    pub(super) fn new(current: &Current, clock: Arc<dyn Clock>, mut observers: Own) -> HotPath {
        let mut current = current.view();
        let context = Context::of(Arc::clone(current.load()), clock.now());
        observers.hits.follow(&context.policy);
        let forged = ForgedTemplates::new();
        let worker = Worker {
            observers,
            entries: entries_beside(&context.generation),
            clears: context.generation.fetcher.cache().clears(),
            askers: Askers::new(),
            forged,
            scratch: Vec::new(),
        };
        // What is to be written down has to be kept until then: who writes nothing pays nothing for that, nor for asking.
        let answer: Answering = match worker.observers.are_writing() {
            false => HotPath::answer_by::<false>,
            true => HotPath::answer_by::<true>,
        };
        HotPath { current, clock, context, worker, batch: Batch::default(), answer }
    }
}

impl Hot for HotPath {
    fn begin<'p>(&mut self, packets: impl Iterator<Item = &'p [u8]>) {
        let now = self.clock.now();
        let generation = self.current.load();
        // The one held here is alive, so another one has another address.
        if !Arc::ptr_eq(generation, &self.context.generation) {
            let before = std::mem::replace(&mut self.context, Context::of(Arc::clone(generation), now));
            self.worker.follow(&before, &self.context.generation);
        }
        let context = &mut self.context;
        self.worker.observers.begin(now.wall);
        (context.now, context.nanos) = (now, nanos(now.mono));
        context.stamp = context.policy.stamp(now.wall);
        let clears = context.generation.fetcher.cache().clears();
        if clears != self.worker.clears {
            self.worker.clears = clears;
            self.worker.entries.clear();
        }
        self.batch.look(packets, &mut self.worker.entries, &self.context);
    }

    fn answer(&mut self, index: usize, packet: &[u8], from: SocketAddr, out: &mut [u8]) -> Option<usize> {
        (self.answer)(self, index, packet, from, out)
    }
}

impl HotPath {
    /// Answers, and has it written down if there is anybody who writes.
    fn answer_by<const WRITING: bool>(
        &mut self,
        index: usize,
        packet: &[u8],
        from: SocketAddr,
        out: &mut [u8],
    ) -> Option<usize> {
        let (context, worker) = (&self.context, &mut self.worker);
        let seen = self.batch.seen.get(index)?.as_ref()?;
        let question = seen.head.question(packet);
        if !context.generation.answers.access.allows(from.ip()) {
            return None;
        }
        if !context.ready {
            return None;
        }
        let client = Client { addr: from, transport: Transport::Udp };
        let came = context.now.mono;
        let request = Request { client, question, at: context.now.wall, packet, took: [came; 2] };
        // What triggers on clients say is for the slow path (which looks at the same form of the address), and so are those whose answers
        // come from elsewhere: entries here are everybody's. So is what some are told nothing of, and what is for some networks.
        if context.on_clients
            && (context.generation.clients.filters(from.ip(), seen.head.qtype)
                || context.generation.own_fetcher(from.ip()).is_some()
                || worker.askers.is_listed(&context.policy, from.ip().to_canonical())
                || context.is_tailored(&seen.head, question))
        {
            return None;
        }
        // The verdict stands before the cache, here as well: this one fell earlier, and still stands.
        let Some(walk) = seen.walk else {
            let entry = match worker.entries.get(seen.entry?) {
                // Whatever else of this batch was looked at: what was clear under its stamp is so still.
                Some(entry) => entry,
                None => {
                    // It moved when another one of this batch came in. Its name made room too, but is in the packet.
                    let qname = Name::at_start_of(question)?;
                    let (_, entry) = worker.entries.find(seen.hash, &seen.head, &qname)?;
                    Some(entry).filter(|entry| context.is_clear(entry))?
                }
            };
            let len = entry.render(&seen.head, question, context.nanos, out)?;
            let is_ours = entry.is_ours();
            worker.note_told::<WRITING>(&request, is_ours, (Verdict::Clear, &[]), (out, len));
            return Some(len);
        };
        let asked = Asked { seen, question, qname: self.batch.names.get(walk)? };
        let own;
        let view = if context.everyone {
            &View::ALL
        } else {
            let clients = &context.generation.clients;
            own = clients.view(clients.group_of(from.ip()), context.now.wall);
            &own
        };
        let asker = context.asker(view, &seen.head);
        let policy = &*context.policy;
        let (walks, wall) = (&self.batch.walks, context.now.wall);
        // Patterns are dear, and an answer may know that none matches. But of a name on whose way something is listed it hardly
        // does, and looking for it would be in vain.
        let may_know = policy.has_patterns() && walks.found_nothing(walk);
        let mut cached = if may_know { worker.cached(asked, context) } else { None };
        let untouched =
            cached.as_ref().is_some_and(|cached| cached.truth.untouched.is(context.stamp.to_bits()));
        let judgement = if untouched {
            Judgement::UNTOUCHED
        } else {
            policy.judge_of(walks, (walk, asked.qname), &asker, wall)
        };
        let Judgement { verdict, observed, touched } = judgement;
        // What takes the answer to decide, or whether it is signed, takes the slow path.
        if verdict.hit().is_some_and(|hit| waits(policy, hit, seen.head.dnssec_ok())) {
            return None;
        }
        let (len, is_ours) = match &verdict {
            Verdict::Act(act, hit) => {
                let len = worker.forge(asked, (*act, hit), out)?;
                let decided = (verdict, observed.as_slice());
                let outcome = told(Source::Forged, decided, (out, len));
                worker.observers.answered::<WRITING>(&request, &outcome);
                return Some(len);
            }
            Verdict::Protected(_) | Verdict::Passthru(_) => {
                worker.tell(asked, context, (Review::No, None), out)?
            }
            // Whether it counts as observed may depend on the answer, too.
            Verdict::Clear if observed.is_some() && policy.looks_at_answers() => return None,
            // A name that a rule is about is looked at each time: others may be told otherwise, observers count.
            Verdict::Clear => {
                // Servers are for the slow path to find; what it found is in the shared cache.
                if policy.looks_at_servers() && cached.is_none() {
                    cached = worker.cached(asked, context);
                }
                let known = cached.as_ref().and_then(|cached| context.remembered(&cached.truth));
                let review = known.map_or(Review::Needed { asker: &asker, touched }, Review::Known);
                worker.tell(asked, context, (review, cached), out)?
            }
        };
        worker.note_told::<WRITING>(&request, is_ours, (verdict, observed.as_slice()), (out, len));
        Some(len)
    }
}

/// What became of a query that was answered here: what was decided, who only looked on, and the reply with its length.
#[inline]
fn told<'o>(
    source: Source,
    (verdict, observed): (Verdict<'o>, &'o [Hit<'o>]),
    (out, len): (&'o [u8], usize),
) -> Outcome<'o> {
    // The name asked for decides, or the slow path would have been taken.
    let reply = out.get(..len).unwrap_or_default();
    Outcome { source, verdict, observed, rcode: Some(rcode(out)), reply, decisive: None }
}

/// The response code of a reply; extended ones are not said here.
#[inline]
fn rcode(reply: &[u8]) -> Rcode {
    // RFC 1035 §4.1.1: the lower half of the header's fourth octet.
    Rcode(reply.first_chunk::<4>().map_or(0, |[.., flags]| u16::from(flags & 0xf)))
}

impl Batch {
    /// Looks at each packet once, and asks policy about all names of which it is not known what it says.
    fn look<'p>(
        &mut self,
        packets: impl Iterator<Item = &'p [u8]>,
        entries: &mut Entries,
        context: &Context,
    ) {
        let Batch { seen, names, walks } = self;
        seen.clear();
        for (index, packet) in packets.enumerate() {
            if names.len() == index {
                names.push(Name::ROOT);
            }
            let qname = &mut names[index];
            // Types that are never resolved, and ANY, are not ordinary (see `Answer::unserved`).
            let ordinary = |head: &QueryHead| {
                head.qtype != Rtype::OPT && !(Rtype::TKEY..=Rtype::ANY).contains(&head.qtype)
            };
            seen.push(parse_head(packet, qname).filter(ordinary).map(|head| {
                let hash = entries.hash(&head, qname);
                Slot { head, hash, entry: None, walk: None }
            }));
        }
        // Not while packets are read: how far ahead a processor loads is a number of instructions, and in a pass of their own the
        // loads for all packets are under way together.
        let mut touched = 0;
        for seen in seen.iter().flatten() {
            touched ^= entries.touch_set(seen.hash);
        }
        for seen in seen.iter().flatten() {
            touched ^= u64::from(entries.touch_entry(seen.hash));
        }
        std::hint::black_box(touched);
        let mut asked = 0;
        for (index, seen) in seen.iter_mut().enumerate() {
            let Some(seen) = seen else { continue };
            if let Some((place, entry)) = entries.find(seen.hash, &seen.head, &names[index])
                && entry.is_alive(context.nanos, context.ours)
            {
                seen.entry = Some(place);
                if context.is_clear(&entry) {
                    continue;
                }
            }
            // Those to be asked about move together.
            if asked < index {
                names[asked] = names[index];
            }
            seen.walk = Some(asked);
            asked += 1;
        }
        context.policy.walk(&names[..asked], walks);
    }
}

impl Context {
    /// What datagrams that arrive at `now` see of a generation; its stamp is yet to be read.
    fn of(generation: Arc<Generation>, now: Now) -> Context {
        let policy = Arc::clone(&generation.policy);
        Context {
            now,
            nanos: nanos(now.mono),
            ready: policy.is_ready(),
            on_clients: policy.looks_at_clients()
                || !generation.routes.is_empty()
                || !generation.clients.filters_nothing()
                || generation.answers.ecs.is_on(),
            policy,
            stamp: Stamp::UNKNOWN,
            everyone: generation.clients.is_trivial(),
            ours: entry::ours(generation.local.epoch()),
            generation,
        }
    }

    /// Who asks, as far as that decides; what only a look at the client or the answer tells is left to the slow path.
    fn asker<'v>(&self, view: &'v View, head: &QueryHead) -> Asker<'v> {
        Asker { view, client: None, rd: head.rd, qtype: head.qtype, validates: false, led_from: None }
    }

    /// Whether upstream may be told of whom a query is for.
    fn is_tailored(&self, head: &QueryHead, question: &[u8]) -> bool {
        let ecs = &self.generation.answers.ecs;
        let has_subnet = head.edns.is_some_and(|edns| edns.has_subnet);
        ecs.is_on() && Name::at_start_of(question).is_none_or(|qname| ecs.concerns(has_subnet, &qname))
    }

    /// Whether no rule is about an entry and all it leads to, now.
    #[inline]
    fn is_clear(&self, entry: &Entry<'_>) -> bool {
        entry.is_clear(self.stamp, self.nanos)
    }

    /// What is remembered of a truth that no rule is about, now.
    fn remembered(&self, truth: &Truth) -> Option<Clear> {
        let until = truth.untouched.until(self.stamp.to_bits());
        (until > self.now.mono).then_some(Clear { stamp: self.stamp, until })
    }

    /// What everybody knows and a worker may keep: what is stated here, and of other names what is cached. None also where an alias leads
    /// away from here, and for what is made of another question's denial.
    fn known(&self, query: &Query<'_>) -> Option<Cached> {
        match self.generation.local.look(query) {
            Some(Local::Truth(truth)) => {
                let (stored, until) = (Duration::ZERO, Duration::MAX);
                Some(Cached { truth, age_s: 0, left_s: u32::MAX, stored, until, own: true })
            }
            Some(Local::Leads(..)) => None,
            None => {
                let cached = self.generation.fetcher.cache().get(&query.key(), self.now.mono);
                cached.filter(|cached| cached.own)
            }
        }
    }

    /// Reviews a truth as far as needed: how long no rule is about any of it, unknown if one is, and none where it takes the slow
    /// path. The outcome is noted in `cached`, too, if the truth is at hand.
    fn review<'m>(
        &self,
        (review, cached): (Review<'_>, Option<&Truth>),
        (head, qname): (&QueryHead, &Name),
        targets: impl Iterator<Item = Name>,
        message: impl FnOnce() -> Option<(Message<'m>, u16)>,
    ) -> Option<Clear> {
        let (asker, touched) = match review {
            Review::No => return Some(Clear::UNKNOWN),
            Review::Known(clear) => return Some(clear),
            Review::Needed { asker, touched } => (asker, touched),
        };
        let beyond = Asker { led_from: Some(qname), ..*asker };
        match self.leads((&beyond, head.dnssec_ok()), targets, message) {
            Leads::Astray => None,
            Leads::Nowhere if !touched => {
                // Nobody looks at servers here.
                let clear = Clear { stamp: self.stamp, until: Duration::MAX };
                if let Some(truth) = cached {
                    truth.untouched.set(clear.stamp.to_bits(), clear.until);
                }
                Some(clear)
            }
            Leads::Nowhere | Leads::Past => Some(Clear::UNKNOWN),
        }
    }

    /// Where a truth leads, in the order of the slow path's review: a name that is spared ends the search. Addresses that any
    /// prefix lists take the slow path, whatever comes of it, and so does what observers have to count.
    fn leads<'m>(
        &self,
        (asker, dnssec_ok): (&Asker<'_>, bool),
        targets: impl Iterator<Item = Name>,
        message: impl FnOnce() -> Option<(Message<'m>, u16)>,
    ) -> Leads {
        let policy = &self.policy;
        if policy.looks_at_servers() {
            return Leads::Astray;
        }
        if policy.looks_at_answers() {
            let Some((message, answers)) = message() else { return Leads::Astray };
            let mut listed = false;
            each_address(&message, usize::from(answers), |_, address| {
                listed = listed || policy.lists_address(TriggerType::ResponseIp, address);
            });
            if listed {
                return Leads::Astray;
            }
        }
        let mut leads = Leads::Nowhere;
        for target in targets {
            let Judgement { verdict, observed, touched } = policy.judge_name(asker, &target, self.now.wall);
            if observed.is_some() || verdict.hit().is_some_and(|hit| waits(policy, hit, dnssec_ok)) {
                return Leads::Astray;
            }
            match verdict {
                Verdict::Clear if touched => leads = Leads::Past,
                Verdict::Clear => {}
                Verdict::Protected(_) | Verdict::Passthru(_) => return Leads::Past,
                Verdict::Act(..) => return Leads::Astray,
            }
        }
        leads
    }
}

/// What a truth needs before it is told, the name asked for being judged.
#[derive(Clone, Copy)]
enum Review<'a> {
    /// Nothing: that name was protected or passed through.
    No,
    /// Nothing: it was reviewed under this stamp, and no rule was about any of it nor about its servers, who are still known.
    Known(Clear),
    /// A look at all it leads to.
    Needed {
        asker: &'a Asker<'a>,
        /// Whether any rule is about the name asked for.
        touched: bool,
    },
}

/// Where an answer leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leads {
    /// To nothing that any rule is about, whoever asks.
    Nowhere,
    /// Past rules, which leave it to this client.
    Past,
    /// To what takes the slow path.
    Astray,
}

/// Entries of the size that goes with a generation's cache.
fn entries_beside(generation: &Generation) -> Entries {
    Entries::new((generation.fetcher.cache().max_bytes() / SHARE).min(MAX_OWN) as usize)
}

impl Worker {
    /// Forgets what does not hold in the next generation.
    fn follow(&mut self, before: &Context, next: &Generation) {
        if !Arc::ptr_eq(&before.policy, &next.policy) {
            self.observers.follow();
            // Templates depend on orders, not on which of them act, nor on time.
            if !next.policy.is_compiled_with(&before.policy) {
                self.forged.clear();
                self.observers.hits.follow(&next.policy);
            }
            self.askers.clear();
        }
        // Entries are what these upstreams said of names that are not answered here, and what was said here by the names of an epoch.
        if !Arc::ptr_eq(&before.generation.fetcher, &next.fetcher) {
            self.entries = entries_beside(next);
        } else if !before.generation.local.is_about_the_same(&next.local)
            || before.generation.answers.rotate != next.answers.rotate
            || before.generation.answers.dns64 != next.answers.dns64
        {
            self.entries.clear();
        }
    }

    /// Has observers look at an answer that is the truth: ours, or cached. Each by itself, for where the source is known there is nothing to
    /// be told apart when it is counted.
    #[inline(always)]
    fn note_told<const WRITING: bool>(
        &mut self,
        request: &Request<'_>,
        is_ours: bool,
        decided: (Verdict<'_>, &[Hit<'_>]),
        reply: (&[u8], usize),
    ) {
        if is_ours {
            self.observers.answered::<WRITING>(request, &told(Source::Local, decided, reply));
        } else {
            self.observers.answered::<WRITING>(request, &told(Source::Cached, decided, reply));
        }
    }

    /// The forged answer to a name that an order captures.
    #[inline(never)]
    fn forge(&mut self, asked: Asked<'_>, (act, hit): (Act, &Hit<'_>), out: &mut [u8]) -> Option<usize> {
        match act {
            Act::Answer(Synthesis::Local) | Act::Drop | Act::TcpOnly => None,
            Act::Answer(synthesis) => {
                let query = (&asked.seen.head, asked.question, asked.qname);
                self.forged.render(query, (synthesis, hit), &mut self.scratch, out)
            }
        }
    }

    /// The truth, from this worker's own entries, or from what is stated here or cached for all, which makes it one of them; `cached` is
    /// what was found there. And whether it is stated here.
    ///
    /// None if review finds what takes the slow path.
    fn tell(
        &mut self,
        asked: Asked<'_>,
        context: &Context,
        (review, cached): (Review<'_>, Option<Cached>),
        out: &mut [u8],
    ) -> Option<(usize, bool)> {
        let Asked { seen: &Slot { ref head, hash, entry, .. }, question, qname } = asked;
        if let Some(place) = entry
            && let Some(entry) = self.entries.get(place)
        {
            let review = (review, cached.as_ref().map(|cached| &*cached.truth));
            let clear = context.review(review, (head, qname), entry.targets(), || entry.message(question))?;
            let len = entry.render(head, question, context.nanos, out)?;
            let is_ours = entry.is_ours();
            self.entries.note_clear(place, clear);
            return Some((len, is_ours));
        }
        let query = head.query(*qname, question);
        let cached = cached.or_else(|| context.known(&query))?;
        // One that is to be asked for anew takes the path that can ask; one that is about to be is not kept here, where nobody sees who asks.
        let keep_s = match context.generation.fetcher.tell(&cached, head.rd) {
            Telling::Due => return None,
            Telling::Ending => None,
            Telling::Lasting(for_s) => Some(for_s),
        };
        let Cached { truth, age_s, stored, .. } = cached;
        let is_ours = truth.ours;
        // What is told otherwise to who has IPv6 alone is never one of the entries.
        let dns64 = context.generation.answers.dns64.as_ref().filter(|_| !truth.ours);
        if dns64.is_some_and(|dns64| dns64.concerns(&query.key(), &truth)) {
            return None;
        }
        let review = match review {
            // Another path found it so, or another worker.
            Review::Needed { .. } => context.remembered(&truth).map_or(review, Review::Known),
            Review::No | Review::Known(_) => review,
        };
        let message = || Some((Message::new(question, &truth.octets), truth.answers));
        let review = (review, Some(&*truth));
        let clear = context.review(review, (head, qname), truth.targets.iter().copied(), message)?;
        let rotate = context.generation.answers.rotate;
        let Some(keep_s) = keep_s.filter(|_| entry.is_some() || self.entries.admits(hash)) else {
            finish(&query, &Answer::truth(truth, age_s).rotating(rotate), Transport::Udp, &mut self.scratch);
            out.get_mut(..self.scratch.len())?.copy_from_slice(&self.scratch);
            return Some((self.scratch.len(), is_ours));
        };
        let answer = Answer::truth(Arc::clone(&truth), 0).rotating(rotate);
        let template = Template::make(&query, &answer, &mut self.scratch)?;
        let len = template.render(head, question, &[], truth.ttl_offsets.iter().copied(), age_s, out)?;
        let stored = if truth.ours { Stored::Here(context.ours) } else { Stored::At(stored, keep_s) };
        // Nobody else sees that they are asked for; and once they have expired here, it is there that they are looked for.
        let cache = context.generation.fetcher.cache();
        let stays =
            |entry: &Entry<'_>| entry.question().into_iter().for_each(|asked| cache.note_asked(&asked));
        self.entries.insert((hash, head, qname), &template, (&truth, stored), clear, stays);
        Some((len, is_ours))
    }

    /// What is known to everybody; none if this worker's own entry is of another truth: what is known of either is not so of both.
    fn cached(&self, asked: Asked<'_>, context: &Context) -> Option<Cached> {
        let cached = context.known(&asked.seen.head.query(*asked.qname, asked.question))?;
        let own = asked.seen.entry.and_then(|place| self.entries.get(place));
        own.is_none_or(|entry| entry.holds(&cached.truth.octets)).then_some(cached)
    }
}
