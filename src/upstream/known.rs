//! One upstream, and what is known of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::failure::Failure;
use super::health::Health;
use super::message::{self, Manner};
use super::pace::{MIN_STREAM_WAIT, MIN_WAIT, Pace};
use super::server::{Protocol, Server};
use super::standing::{Standing, Why};
use super::strategy::Seen;
use super::{Cookied, Exchange};
use crate::dns::Question;
use crate::histogram::{Histogram, Times};
use crate::iana::{Class, Rtype};
use crate::name::Name;

/// Who declined last is held to take so many times as long: its answers are seldom worth a question, and now and then it is asked
/// all the same, so that it can show otherwise.
const DECLINED: u32 = 8;

/// How often an upstream was asked and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Who.
    pub server: Server,
    /// The zones it is asked about; the root's stands for all that no other is for.
    pub zones: Vec<Name>,
    /// The groups of clients it is asked for, if it is for those alone.
    pub groups: Vec<String>,
    /// Tries.
    pub asked: u64,
    /// Of those, made while another server's reply was not late yet.
    pub extra: u64,
    /// Tries without a reply; what is still under way is in neither.
    pub failed: u64,
    /// Tries under way now.
    pub under_way: usize,
    /// Of those that failed, never made, for as many were under way as may be.
    pub full: u64,
    /// Questions of our own, to find out whether it answers at all; they are not among the tries.
    pub probes: u64,
    /// Replies that no question had asked for, or none in that case: wrong guesses of somebody, as far as one can tell.
    pub guesses: u64,
    /// What DNS cookies came to.
    pub cookied: Cookied,
    /// Whether it did not step back, or has answered since.
    pub is_up: bool,
    /// How long ago it stepped back, if it has.
    pub back_for: Option<Duration>,
    /// Why it was of no use last, in words that follow its name, and how long ago that was.
    pub last_failure: Option<(String, Duration)>,
    /// What was of no use, by kind; replies that decline are among it, and in no other count.
    pub by_kind: Vec<(&'static str, u64)>,
    /// How long its replies take, smoothed, if that is known.
    pub reply_time: Option<Duration>,
    /// How long its replies took, those that decline left aside.
    pub times: Times,
}

/// Zones and groups of clients that are named where an upstream is.
const MAX_NAMED: usize = 3;

impl Tally {
    /// What it is asked about and for whom, as words that follow its name; none if that is everything for everybody.
    pub fn about(&self) -> String {
        about(&self.zones, &self.groups)
    }
}

/// What servers are asked about and for whom, as words that follow their names; none if that is everything for everybody.
pub(super) fn about(zones: &[Name], groups: &[String]) -> String {
    let everything = zones.contains(&Name::ROOT);
    let zones = zones.iter().filter(|_| !everything).map(Name::to_string).collect();
    let parts = [("about", zones), ("for clients in", groups.to_vec())];
    let parts = parts.into_iter().filter(|(_, names): &(_, Vec<String>)| !names.is_empty());
    let parts: Vec<String> = parts.map(|(word, names)| format!("{word} {}", some(&names))).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// The first few of them.
pub(super) fn some(names: &[String]) -> String {
    let named = names.iter().take(MAX_NAMED).cloned();
    let more = names.len().checked_sub(MAX_NAMED).filter(|more| *more > 0);
    named.chain(more.map(|more| format!("{more} more"))).collect::<Vec<_>>().join(", ")
}

/// One upstream and what is known of it, shared by all who ask it.
#[derive(Debug)]
pub(super) struct Known<E> {
    /// Who.
    pub(super) server: Server,
    /// How it is asked.
    pub(super) exchange: E,
    /// Whether it is likely to answer.
    pub(super) health: Health,
    /// How long its answers take.
    pub(super) pace: Pace,
    /// What people are told of it.
    pub(super) standing: Standing,
    /// How long its replies took.
    times: Histogram,
    /// Whether its last reply declined.
    declined: AtomicBool,
    /// What its times count from.
    start: Instant,
    /// When it last answered, in microseconds and one more; 0 while it has not.
    answered_us: AtomicU64,
    /// How often the network had become another one when it was last asked.
    changes: AtomicU64,
    asked: AtomicU64,
    extra: AtomicU64,
    failed: AtomicU64,
    probes: AtomicU64,
    full: AtomicU64,
    /// Tries under way, which take a [`Place`] each.
    under_way: AtomicUsize,
}

/// A try under way; dropping it makes room for another.
pub(super) struct Place<E>(Arc<Known<E>>);

impl<E> Drop for Place<E> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<E: Exchange> Known<E> {
    /// Nothing is known yet.
    pub(super) fn new(server: Server, exchange: E) -> Known<E> {
        let [asked, extra, failed, probes, full] = [const { AtomicU64::new(0) }; 5];
        let least = if server.protocol == Protocol::Udp { MIN_WAIT } else { MIN_STREAM_WAIT };
        Known {
            server,
            exchange,
            health: Health::default(),
            pace: Pace::new(least),
            standing: Standing::default(),
            times: Histogram::default(),
            declined: AtomicBool::new(false),
            start: Instant::now(),
            answered_us: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            asked,
            extra,
            failed,
            probes,
            full,
            under_way: AtomicUsize::new(0),
        }
    }

    /// Whether as many tries are under way as may be.
    pub(super) fn is_full(&self, most: usize) -> bool {
        self.under_way.load(Ordering::Relaxed) >= most
    }

    /// A place for one more try, if there may be as many.
    pub(super) fn enter(self: &Arc<Self>, most: usize) -> Option<Place<E>> {
        if self.under_way.fetch_add(1, Ordering::Relaxed) < most {
            return Some(Place(Arc::clone(self)));
        }
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.full.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// A place for a try that is under way already, whoever else is.
    pub(super) fn enter_again(self: &Arc<Self>) -> Place<E> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Place(Arc::clone(self))
    }

    /// Its counts.
    pub(super) fn tally(&self) -> Tally {
        Tally {
            server: self.server.clone(),
            zones: Vec::new(),
            groups: Vec::new(),
            asked: self.asked.load(Ordering::Relaxed),
            extra: self.extra.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            under_way: self.under_way.load(Ordering::Relaxed),
            full: self.full.load(Ordering::Relaxed),
            probes: self.probes.load(Ordering::Relaxed),
            guesses: self.exchange.guesses(),
            cookied: self.exchange.cookied(),
            is_up: self.health.is_up(),
            back_for: self.standing.back_for(),
            last_failure: self.standing.last_failure(),
            by_kind: self.standing.by_kind(),
            reply_time: self.pace.smoothed(),
            times: self.times.read(),
        }
    }

    /// Forgets what was believed of it if that was in another network.
    pub(super) fn catch_up(&self, changes: u64) {
        if self.changes.load(Ordering::Relaxed) < changes
            && self.changes.fetch_max(changes, Ordering::Relaxed) < changes
        {
            self.health.forget();
            self.declined.store(false, Ordering::Relaxed);
            self.exchange.renew();
        }
    }

    /// How it looks to a question that comes now.
    pub(super) fn seen(&self) -> Seen {
        let times = if self.declined.load(Ordering::Relaxed) { DECLINED } else { 1 };
        let time = self.pace.smoothed().map(|time| time * times);
        Seen { in_place: self.health.is_well(), time }
    }

    /// Counts a try, and whether it is one more than need be.
    pub(super) fn asked(&self, is_extra: bool) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if is_extra {
            self.extra.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that this came of what it was asked `at` then, and gives it as far as it is believed.
    pub(super) fn heard(&self, mut reply: Vec<u8>, at: Instant, believed: bool) -> Vec<u8> {
        if !believed {
            message::clear_ad(&mut reply);
        }
        let declines = message::declines(&reply);
        if declines {
            self.standing.was_of_no_use(Why::Declined(message::rcode(&reply)));
        }
        self.replied(at, declines);
        reply
    }

    /// Has people told what is news to them.
    fn tell(&self) {
        self.standing.tell(format_args!("{:#}", self.server), || self.health.is_up());
    }

    /// Whether it has answered anybody since then.
    pub(super) fn has_answered_since(&self, at: Instant) -> bool {
        micros(at - self.start).saturating_add(1) < self.answered_us.load(Ordering::Relaxed)
    }

    /// Whether it has answered anybody in such a time before then, or since.
    pub(super) fn has_answered_within(&self, time: Duration, at: Instant) -> bool {
        let answered = self.answered_us.load(Ordering::Relaxed);
        answered > 0 && micros(at - self.start).saturating_add(1).saturating_sub(answered) < micros(time)
    }

    /// Notes that it replied to what it was asked `at` then, and whether it declined: how fast it does that is nothing to go by, and who does nothing
    /// else is as good as silent.
    pub(super) fn replied(&self, at: Instant, declines: bool) {
        let now = Instant::now();
        if declines {
            self.standing.declined();
            self.health.failed(now - self.start, false);
            self.tell_if_back();
        } else {
            if self.health.succeeded() {
                self.tell();
            }
            self.pace.took(now - at);
            self.times.add(now - at);
            self.answered_us.store(micros(now - self.start).saturating_add(1), Ordering::Relaxed);
        }
        // Read first: a line that does not change stays shared between cores.
        if self.declined.load(Ordering::Relaxed) != declines {
            self.declined.store(declines, Ordering::Relaxed);
        }
    }

    /// Counts that it failed, or has been silent for longer than it should be.
    pub(super) fn failed(&self, failure: &Failure) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.standing.failed(failure);
        // Busy is our own doing.
        if *failure != Failure::Busy {
            self.health.failed(self.start.elapsed(), failure.is_sure());
            self.tell_if_back();
        }
    }

    /// Has people told where it stepped back, now or before: what was not said at once for being too often is said later.
    fn tell_if_back(&self) {
        if !self.health.is_up() {
            self.tell();
        }
    }

    /// Finds out, aside, whether it answers and how fast, if nothing is known of it yet.
    pub(super) fn meet(self: &Arc<Self>, zone: Name, most: Duration) {
        if self.asked.load(Ordering::Relaxed) + self.probes.load(Ordering::Relaxed) == 0 {
            self.health.doubt();
            self.look_after(zone, most);
        }
    }

    /// Finds out, aside, whether it answers, if that is in doubt: no client's question waits for it. It is asked about this zone, for
    /// which it is there, and has as long as a try, `most` at most.
    pub(super) fn look_after(self: &Arc<Self>, zone: Name, most: Duration) {
        if !self.health.is_in_doubt() {
            return;
        }
        let wait = self.pace.wait(most);
        if self.health.wants_probe(self.start.elapsed(), wait) {
            self.probes.fetch_add(1, Ordering::Relaxed);
            let known = Arc::clone(self);
            tokio::spawn(async move { known.probe(zone, wait).await });
        }
    }

    /// Asks for the name servers of the zone: those of the root every resolver knows, and whatever it says of them, it is there. Who
    /// declines that declines everything, as far as one can tell.
    async fn probe(&self, qname: Name, wait: Duration) {
        let (qtype, qclass) = (Rtype::NS, Class::IN);
        let question =
            Question { qname, qtype, qclass, dnssec_ok: false, checking_disabled: false, asked_for: None };
        let at = Instant::now();
        match timeout(wait, self.exchange.exchange(&question, Manner::USUAL)).await {
            Ok(Ok(reply)) if !message::declines(&reply) => self.replied(at, false),
            Ok(Err(Failure::Busy)) => {}
            Ok(Ok(reply)) => self.failed_probe(Why::Declined(message::rcode(&reply))),
            Ok(Err(failure)) => self.failed_probe(Why::Failed(failure)),
            Err(_) => self.failed_probe(Why::Failed(Failure::TimedOut)),
        }
    }

    /// Notes that its probe came to nothing.
    fn failed_probe(&self, why: Why) {
        self.standing.was_of_no_use(why);
        self.health.failed_probe(self.start.elapsed());
        self.tell_if_back();
    }
}

/// Whole microseconds.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
