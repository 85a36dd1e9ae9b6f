//! One question under way: several servers are asked, and the first good answer is the answer.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::Exchange;
use super::asked::Asked;
use super::begun::{Begun, Late};
use super::budget::Budget;
use super::failure::Failure;
use super::known::Known;
use super::message::{self, Manner};
use super::network::Network;
use super::server::{Protocol, Server};
use crate::dns::Question;

/// Tries of one question that are listened for at a time; when there is one more, one of them is given up.
pub const MAX_OPEN: usize = 3;
/// How long what was asked in vain is listened for once everybody was told so: stub resolvers ask once more within ten seconds of the
/// first time (resolv.conf(5): a timeout of 5 seconds, and two attempts).
const LINGER: Duration = Duration::from_secs(6);
/// Questions that are listened for so at a time.
pub(super) const MAX_LINGERING: usize = 256;

/// The most tries that so many questions under way have, with those that are listened for once they are over.
pub const fn most_tries(questions: usize) -> usize {
    MAX_OPEN.saturating_mul(questions.saturating_add(MAX_LINGERING))
}
/// The soonest that another server is asked because one is slower than it mostly is: nobody notices less.
const MIN_HEDGE: Duration = Duration::from_millis(10);

/// What all questions to a group of servers have in common.
#[derive(Debug)]
pub(super) struct Rules {
    /// The most that one try is waited for before more is done.
    pub(super) try_timeout: Duration,
    /// The most that all of it takes.
    pub(super) total_timeout: Duration,
    /// Whether servers of other hosts are believed that they have validated.
    pub(super) trust_ad: bool,
    /// Whether another server is asked where one is slower than it mostly is.
    pub(super) hedge: bool,
    /// Whether there is one server, so that all that can be done when it is late is to ask it again.
    pub(super) is_alone: bool,
    /// Questions that may be put to one server more.
    pub(super) budget: Budget,
    /// One for all groups, and for all configurations that follow each other.
    pub(super) network: Arc<Network>,
    /// Questions under way.
    pub(super) in_flight: Arc<Semaphore>,
    /// Tries under way at one server, whoever asks.
    pub(super) max_per_server: usize,
    /// Questions that are over, and listened for all the same.
    pub(super) lingering: Arc<Semaphore>,
}

impl Rules {
    /// The most that one try is waited for before more is done, the first time that so many servers are asked. Of several it is half of
    /// it: one dead server does not cost more than the second best's whole answer.
    pub(super) fn most(&self, servers: usize) -> Duration {
        if servers > 1 { self.try_timeout / 2 } else { self.try_timeout }
    }

    /// How long a server is waited for before more is done, `most` if nothing is known of it.
    pub(super) fn wait<E>(&self, known: &Known<E>, most: Duration) -> Duration {
        if self.is_alone { known.pace.wait_alone(most) } else { known.pace.wait(most) }
    }

    /// When one that is asked `now` is slower than it mostly is, and another one may be asked as well; none where that is not done, or it
    /// is due before.
    pub(super) fn hedge_at<E>(&self, known: &Known<E>, now: Instant, due: Instant) -> Option<Instant> {
        let mostly = known.pace.slow().filter(|_| self.hedge)?;
        Some(now + mostly.max(MIN_HEDGE)).filter(|hedge| *hedge < due)
    }

    /// Whether a server is believed that it has validated an answer.
    ///
    /// RFC 4035 §4.6: a resolver "MUST disregard the meaning of the CD and AD bits in a response unless the response was obtained by
    /// using a secure channel", or it was told to regard them without one. TLS with a server that has proved who it is is one, and what
    /// stays on this host is as good; glibc calls the setting trust-ad, and OpenBSD's libc takes loopback as we do.
    pub(super) fn believes(&self, server: &Server) -> bool {
        self.trust_ad || server.is_encrypted() || server.addr.ip().to_canonical().is_loopback()
    }
}

/// One question under way: who is still to be asked, and who was and may yet answer.
///
/// What was asked is listened for until all is over, whoever else is asked meanwhile: a server that takes longer than it is waited
/// for answers all the same, and the first good answer is the answer.
pub(super) struct Race<'a, E> {
    rules: &'a Rules,
    question: &'a Question,
    deadline: Instant,
    /// Who is asked next, in this order.
    order: VecDeque<Arc<Known<E>>>,
    /// How many are asked at once when it begins; one later on.
    at_once: usize,
    /// Tries under way, the oldest first.
    open: Vec<Try<E>>,
    /// Who was asked and has said nothing yet.
    silent: Vec<Arc<Known<E>>>,
    /// How often each was asked.
    asked: Asked<E>,
    /// When more is done, if nothing comes before.
    next: Instant,
    /// When the first one asked is slower than it mostly is, and the next may be asked as well.
    hedge: Option<Instant>,
    /// Told when the network is another one.
    moves: watch::Receiver<()>,
    /// The most that is waited for one try before more is done.
    most: Duration,
    /// How often all were asked before.
    passes: u32,
    /// The last reply that declines.
    declined: Option<Vec<u8>>,
    /// Whether one that was unreachable has been asked once more.
    once_more: bool,
    /// Whether the one asked first has been asked once more, as all declined.
    again: bool,
    /// Why others gave none, each server once.
    failures: Vec<(Server, Failure)>,
}

/// What will come of a try.
type Exchanging = Pin<Box<dyn Future<Output = Result<Vec<u8>, Failure>> + Send>>;

/// One try under way. It owns all that it takes, for it may outlive its race.
struct Try<E> {
    known: Arc<Known<E>>,
    exchange: Exchanging,
    /// Whether the server is believed that it has validated an answer.
    believed: bool,
    /// Whether it is by stream where the server is mostly asked by datagram.
    by_stream: bool,
    begun: Instant,
    /// When its silence is a failure.
    due: Instant,
    /// Whether that was counted.
    late: bool,
}

/// What came of a step.
pub(super) enum Step {
    /// Something that decides nothing.
    Went,
    /// The answer.
    Answered(Vec<u8>),
    /// Nobody is left to ask or to wait for.
    Over,
}

impl<'a, E: Exchange> Race<'a, E> {
    /// Nobody is asked yet; so many are when it begins. Its time counts from `since`.
    pub(super) fn new(
        rules: &'a Rules,
        question: &'a Question,
        since: Instant,
        (order, at_once): (VecDeque<Arc<Known<E>>>, usize),
    ) -> Race<'a, E> {
        Race {
            rules,
            question,
            deadline: since + rules.total_timeout,
            most: rules.most(order.len()),
            order,
            at_once,
            open: Vec::new(),
            silent: Vec::new(),
            asked: Asked::nobody(),
            next: Instant::now(),
            hedge: None,
            moves: rules.network.moves(),
            passes: 0,
            declined: None,
            once_more: false,
            again: false,
            failures: Vec::new(),
        }
    }

    /// Takes over a try that was begun before.
    pub(super) fn take_over(&mut self, known: &Arc<Known<E>>, begun: Begun) {
        let Begun { at, due, came, .. } = begun;
        self.order.retain(|other| !Arc::ptr_eq(other, known));
        self.silent.push(Arc::clone(known));
        let by_stream = self.asked.count(known);
        let (asked, question, place) = (Arc::clone(known), *self.question, known.enter_again());
        let exchange = async move {
            let _place = place;
            asked.exchange.go_on(&question, came).await
        };
        self.open(known, by_stream, (at, due), Box::pin(exchange));
        (self.next, self.hedge) = (due, self.rules.hedge_at(known, at, due));
    }

    /// Asks whoever is due, and waits until something comes or more is due.
    pub(super) async fn step(&mut self) -> Step {
        let now = Instant::now();
        if now >= self.deadline {
            return Step::Over;
        }
        if now >= self.next {
            self.note_silence(now);
            match self.who_is_next() {
                Some(known) => self.begin(known, now),
                None => match self.until(now).or_else(|| self.pause(now)) {
                    Some(until) => self.next = until,
                    None => return Step::Over,
                },
            }
        } else if self.hedge.is_some_and(|hedge| now >= hedge) {
            self.ask_beside(now);
        }
        let until = self.next.min(self.deadline).min(self.hedge.unwrap_or(self.deadline));
        tokio::select! {
            biased;
            (place, result) = first(&mut self.open) => {
                let one = self.open.remove(place);
                self.came(&one, result)
            }
            Ok(()) = self.moves.changed() => {
                self.begin_anew();
                Step::Went
            }
            () = sleep_until(until) => Step::Went,
        }
    }

    /// The network is another one: what is under way may be lost, so who was asked is asked again at once, and waited for like the first
    /// time.
    fn begin_anew(&mut self) {
        (self.next, self.hedge, self.passes) = (Instant::now(), None, 0);
        self.asked.forget();
        while let Some(known) = self.silent.pop() {
            self.order.push_front(known);
        }
    }

    /// What is told when all is over and there was no answer: a reply that declines, or why there is none. `late` is told what comes
    /// after that.
    pub(super) fn end(mut self, late: Option<Late>) -> Result<Vec<u8>, Vec<(Server, Failure)>> {
        let open = std::mem::take(&mut self.open);
        open.iter().for_each(|one| self.give_up(one));
        if let Some(late) = late
            && !open.is_empty()
            && let Ok(permit) = Arc::clone(&self.rules.lingering).try_acquire_owned()
        {
            tokio::spawn(async move {
                if let Ok(Some(reply)) = timeout(LINGER, linger(open)).await {
                    late(reply);
                }
                drop(permit);
            });
        }
        self.declined.ok_or(self.failures)
    }

    /// Who is to be asked now. Once all were, those that were merely slow are asked again, as often as that may be; after a server declined
    /// the others are waited for.
    fn who_is_next(&mut self) -> Option<Arc<Known<E>>> {
        if self.order.is_empty() && self.declined.is_none() && !self.silent.is_empty() {
            self.passes += 1;
            self.most = self.rules.try_timeout;
            let silent = std::mem::take(&mut self.silent);
            let (again, asked): (Vec<_>, _) = silent.into_iter().partition(|known| self.asked.may(known));
            self.order.extend(again);
            self.silent = asked;
        }
        self.order.pop_front().or_else(|| self.first_again())
    }

    /// Who was asked first, once more: all have declined, in a way that may be different by now, and nobody is waited for. That is done
    /// once, and not to one that does nothing else.
    fn first_again(&mut self) -> Option<Arc<Known<E>>> {
        let may_pass = self.declined.as_deref().is_some_and(message::may_pass);
        let have_all_declined = may_pass && self.open.is_empty() && self.failures.is_empty();
        if !have_all_declined || std::mem::replace(&mut self.again, true) {
            return None;
        }
        self.asked.first_again().filter(|known| !known.health.keeps_failing()).cloned()
    }

    /// When those are asked again who refuse, all of them, if any has answered lately: whoever is restarted, or whose link goes down for a
    /// moment, does so. None where that is of no use, or the time is over by then.
    fn pause(&mut self, now: Instant) -> Option<Instant> {
        if self.declined.is_some() || !self.failures.iter().all(|(_, failure)| failure.is_absence()) {
            return None;
        }
        let (again, pause) = self.asked.left_alone(self.deadline - self.rules.total_timeout)?;
        self.order.extend(again);
        Some(now + pause).filter(|at| *at < self.deadline)
    }

    /// Begins a try, and when it is the first those that are made along with it.
    fn begin(&mut self, known: Arc<Known<E>>, now: Instant) {
        let is_first = self.silent.is_empty() && self.failures.is_empty();
        self.next = self.begin_one(&known, now, false);
        self.hedge = None;
        for _ in 1..std::mem::replace(&mut self.at_once, 1) {
            let Some(another) = self.order.pop_front() else { return };
            self.next = self.begin_one(&another, now, true).min(self.next);
        }
        if is_first && self.open.len() == 1 {
            self.hedge = self.rules.hedge_at(&known, now, self.next);
        }
    }

    /// The one that was asked is slower than it mostly is: the next is asked as well, if it is well and that may be.
    fn ask_beside(&mut self, now: Instant) {
        self.hedge = None;
        if self.order.front().is_some_and(|next| next.health.is_well())
            && self.rules.budget.spend()
            && let Some(next) = self.order.pop_front()
        {
            self.next = self.begin_one(&next, now, true);
        }
    }

    /// Begins one try; when its silence is a failure.
    fn begin_one(&mut self, known: &Arc<Known<E>>, now: Instant, is_extra: bool) -> Instant {
        known.catch_up(self.rules.network.changes());
        known.asked(is_extra);
        let wait = self.rules.wait(known, self.most);
        let before = self.open.iter().rev().find(|one| Arc::ptr_eq(&one.known, known));
        let answers = before.is_some_and(|before| known.has_answered_since(before.begun));
        let doublings = if self.passes == 0 { 0 } else { self.asked.doublings(known, answers) };
        let wait = (wait * (1 << doublings)).min(self.most.max(wait));
        if self.open.len() == MAX_OPEN {
            let one = self.open.remove(self.dispensable());
            self.give_up(&one);
        }
        self.silent.push(Arc::clone(known));
        let by_stream = self.asked.count(known);
        // Who is silent may be so to EDNS, by datagram. Whoever wants signatures has no use for an answer without.
        let edns = self.passes == 0 || by_stream || self.question.dnssec_ok;
        let manner = Manner { edns, by_stream, ..Manner::USUAL };
        let (asked, question, due) = (Arc::clone(known), *self.question, now + wait);
        let place = known.enter(self.rules.max_per_server);
        let exchange = async move {
            // Where there is no room the next one is asked, as where there is no socket.
            let _place = place.ok_or(Failure::Busy)?;
            asked.exchange.exchange(&question, manner).await
        };
        self.open(known, by_stream, (now, due), Box::pin(exchange));
        due
    }

    /// Which try is no longer listened for, where there are too many: the youngest of a server that has an older one, for what is slow comes
    /// to the first and what was lost to none; else the oldest.
    fn dispensable(&self) -> usize {
        let has_older = |place: &usize| {
            let known = &self.open[*place].known;
            self.open[..*place].iter().any(|other| Arc::ptr_eq(&other.known, known))
        };
        (0..self.open.len()).rev().find(has_older).unwrap_or_default()
    }

    /// Listens for a try that was begun then and is late when it is due.
    fn open(
        &mut self,
        known: &Arc<Known<E>>,
        by_stream: bool,
        (begun, due): (Instant, Instant),
        exchange: Exchanging,
    ) {
        let believed = self.rules.believes(&known.server);
        let known = Arc::clone(known);
        self.open.push(Try { known, exchange, believed, by_stream, begun, due, late: false });
    }

    /// Until when those that were asked are waited for, once nobody else is to be asked: all the time there is. Once a server has declined
    /// there is something to tell, and one that has failed lately, or declined before, has a try's. None if nobody is waited for.
    fn until(&self, now: Instant) -> Option<Instant> {
        let is_worth_all = |one: &Try<E>| one.known.health.is_well() && !self.again;
        let until = |one: &Try<E>| match self.declined.is_none() || is_worth_all(one) {
            true => self.deadline,
            false => one.begun + self.rules.try_timeout,
        };
        self.open.iter().map(until).max().filter(|until| *until > now)
    }

    /// Counts as failed who should have answered by now.
    fn note_silence(&mut self, now: Instant) {
        for one in self.open.iter_mut().filter(|one| !one.late && one.due <= now) {
            one.late = true;
            one.known.failed(&Failure::TimedOut);
        }
    }

    /// Notes that a try is no longer listened for.
    fn give_up(&mut self, one: &Try<E>) {
        if !one.late {
            one.known.failed(&Failure::TimedOut);
        }
        self.note(&one.known.server, Failure::TimedOut);
    }

    /// Does not count a try by stream where there was nobody to connect to, or no room: no query was sent.
    fn discount_unsent(&mut self, known: &Arc<Known<E>>, one: &Try<E>, failure: &Failure) {
        let is_stream = one.by_stream || known.server.protocol != Protocol::Udp;
        if is_stream && (failure.is_absence() || *failure == Failure::Busy) {
            self.asked.discount(known, one.by_stream);
        }
    }

    /// Notes why a server gave no reply.
    fn note(&mut self, server: &Server, failure: Failure) {
        self.failures.retain(|(other, _)| other != server);
        self.failures.push((server.clone(), failure));
    }

    /// What becomes of what a try brought.
    fn came(&mut self, one: &Try<E>, result: Result<Vec<u8>, Failure>) -> Step {
        let (known, mut once_more) = (&one.known, false);
        match result {
            Ok(reply) => {
                let reply = known.heard(reply, one.begun, one.believed);
                if !message::declines(&reply) {
                    self.leave_others();
                    return Step::Answered(reply);
                }
                self.declined = Some(reply);
            }
            // It may be one that is asked by datagram alone: it is as before, and what was sent so is listened for.
            Err(failure) if one.by_stream => {
                let is_ours = failure == Failure::Busy;
                if is_ours || !one.late {
                    known.failed(if is_ours { &failure } else { &Failure::TimedOut });
                }
                if self.open.iter().any(|other| Arc::ptr_eq(&other.known, known)) {
                    return Step::Went;
                }
                self.discount_unsent(known, one, &failure);
                if !self.failures.iter().any(|(server, _)| *server == known.server) {
                    self.note(&known.server, Failure::TimedOut);
                }
            }
            // Our own want: what is open already is listened for all the same, and is asked again when that is due.
            Err(Failure::Busy) => {
                known.failed(&Failure::Busy);
                self.note(&known.server, Failure::Busy);
                self.asked.discount(known, one.by_stream);
                if !self.open.iter().any(|other| Arc::ptr_eq(&other.known, known)) {
                    self.silent.retain(|other| !Arc::ptr_eq(other, known));
                }
                if !self.order.is_empty() || self.open.is_empty() {
                    self.next = Instant::now();
                }
                return Step::Went;
            }
            Err(failure) => {
                if !one.late {
                    known.failed(&failure);
                }
                self.discount_unsent(known, one, &failure);
                let may_find = failure == Failure::Unreachable && self.asked.may(known);
                once_more = may_find && !std::mem::replace(&mut self.once_more, true);
                self.note(&known.server, failure);
            }
        }
        // Whoever said no says so again.
        self.open.retain(|other| !Arc::ptr_eq(&other.known, known));
        self.order.retain(|other| !Arc::ptr_eq(other, known));
        self.silent.retain(|other| !Arc::ptr_eq(other, known));
        if once_more {
            // The system looks for a neighbour for three seconds, and says this of all that was sent meanwhile (arp(7)): also of what was
            // sent just before it would have been found, as when a link comes up. Where there is no way, that is said at once.
            self.order.push_back(Arc::clone(known));
        }
        self.next = Instant::now();
        Step::Went
    }

    /// Leaves to themselves those that were asked and are not late: that another one was faster is no failure of theirs, nor of the
    /// stream they are asked on. As they are heard, it is known how fast they are.
    fn leave_others(&mut self) {
        for one in self.open.drain(..).filter(|one| !one.late) {
            // They count among the questions under way; without room they are given up.
            if let Ok(permit) = Arc::clone(&self.rules.in_flight).try_acquire_owned() {
                tokio::spawn(hear_out(one, permit));
            }
        }
    }
}

/// The first of the tries that ends, by its place; waits for ever without any.
async fn first<E>(open: &mut [Try<E>]) -> (usize, Result<Vec<u8>, Failure>) {
    poll_fn(|context| {
        for (place, one) in open.iter_mut().enumerate() {
            if let Poll::Ready(result) = one.exchange.as_mut().poll(context) {
                return Poll::Ready((place, result));
            }
        }
        Poll::Pending
    })
    .await
}

/// The first answer of what is still listened for when its race is over; who declines has nothing to say any more.
async fn linger<E: Exchange>(mut open: Vec<Try<E>>) -> Option<Vec<u8>> {
    while !open.is_empty() {
        let (place, result) = first(&mut open).await;
        let one = open.remove(place);
        let reply = result.ok().map(|reply| one.known.heard(reply, one.begun, one.believed));
        if let Some(reply) = reply.filter(|reply| !message::declines(reply)) {
            return Some(reply);
        }
    }
    None
}

/// Hears what becomes of a try that nobody needs any more, until it is late.
async fn hear_out<E: Exchange>(one: Try<E>, _permit: OwnedSemaphorePermit) {
    let Try { known, exchange, by_stream, begun, due, .. } = one;
    match timeout_at(due, exchange).await {
        Ok(Ok(reply)) => known.replied(begun, message::declines(&reply)),
        Ok(Err(failure)) if !by_stream => known.failed(&failure),
        Ok(Err(_)) | Err(_) => known.failed(&Failure::TimedOut),
    }
}
