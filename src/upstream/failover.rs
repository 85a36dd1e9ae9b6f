//! Asking servers in order until one answers.

use std::collections::VecDeque;
use std::fmt::Write;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::begun::{Begun, Came, Late, Then};
use super::failure::Failure;
use super::health::Health;
use super::message::{self, Manner};
use super::pace::Pace;
use super::roots::Roots;
use super::server::Server;
use super::settings::{MAX_SERVERS, Settings};
use super::{Ask, AskError, Exchange};
use crate::dns::Question;
use crate::name::Name;

/// A try has at least this long, whatever the settings say: none at all would turn the loop of tries into a busy one.
const MIN_TRY: Duration = Duration::from_millis(10);
/// Tries of one question that are listened for at a time; when there is one more, the oldest is given up.
pub const MAX_OPEN: usize = 3;
/// How long what was asked in vain is listened for once everybody was told so: stub resolvers ask once more within ten seconds of the
/// first time (resolv.conf(5): a timeout of 5 seconds, and two attempts).
const LINGER: Duration = Duration::from_secs(6);
/// Questions that are listened for so at a time.
const MAX_LINGERING: usize = 256;
/// Upstreams named in an error: it travels as EDE text, which should stay short (RFC 8914 §3).
const MAX_NAMED: usize = 3;

/// How often an upstream was asked and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Who.
    pub server: Server,
    /// The zones it is asked about; the root's stands for all that no other is for.
    pub zones: Vec<Name>,
    /// Tries.
    pub asked: u64,
    /// Tries without a reply; what is still under way is in neither.
    pub failed: u64,
    /// Replies that no question had asked for: wrong guesses of somebody, as far as one can tell.
    pub guesses: u64,
}

/// Several servers, asked as `E` asks one.
///
/// A server that keeps failing goes to the back of the order for a short time, yet is always in it: when all are
/// down each question tries all of them, so the first question after one is back is answered.
#[derive(Debug)]
pub(super) struct Failover<E> {
    /// Those that another group or another configuration also has are one with theirs: connections, health and counts.
    upstreams: Vec<Arc<Upstream<E>>>,
    try_timeout: Duration,
    total_timeout: Duration,
    trust_ad: bool,
    roots: Roots,
    in_flight: Semaphore,
    lingering: Arc<Semaphore>,
    start: Instant,
}

/// One upstream and what is known of it.
#[derive(Debug)]
struct Upstream<E> {
    server: Server,
    exchange: E,
    health: Health,
    pace: Pace,
    asked: AtomicU64,
    failed: AtomicU64,
}

impl<E: Exchange> Failover<E> {
    /// Asks each server of the settings by what one of `others` asks it, if one does, else by what `make` makes for it.
    pub(super) fn new<'o>(
        settings: &Settings,
        make: impl Fn(&Server) -> E,
        others: impl IntoIterator<Item = &'o Failover<E>>,
    ) -> Failover<E> {
        let others: Vec<&Failover<E>> = others.into_iter().collect();
        let known = |server: &Server| {
            // Who was believed by other roots has to prove itself anew.
            let others =
                others.iter().filter(|other| !server.is_encrypted() || other.roots == settings.roots);
            others.flat_map(|other| &other.upstreams).find(|known| known.server == *server).cloned()
        };
        let new = |server: &Server| Upstream {
            server: server.clone(),
            exchange: make(server),
            health: Health::default(),
            pace: Pace::default(),
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        let upstream = |server: &Server| known(server).unwrap_or_else(|| Arc::new(new(server)));
        Failover {
            upstreams: settings.servers.iter().take(MAX_SERVERS).map(upstream).collect(),
            try_timeout: settings.try_timeout.max(2 * MIN_TRY),
            total_timeout: settings.total_timeout,
            trust_ad: settings.trust_ad,
            roots: settings.roots.clone(),
            in_flight: Semaphore::new(settings.max_in_flight.min(Semaphore::MAX_PERMITS)),
            lingering: Arc::new(Semaphore::new(MAX_LINGERING)),
            // What is known of a server counts from there.
            start: others.first().map_or_else(Instant::now, |other| other.start),
        }
    }

    /// Each upstream's counts, in the order of the settings.
    pub(super) fn tallies(&self) -> Vec<Tally> {
        let tally = |upstream: &Arc<Upstream<E>>| Tally {
            server: upstream.server.clone(),
            zones: Vec::new(),
            asked: upstream.asked.load(Ordering::Relaxed),
            failed: upstream.failed.load(Ordering::Relaxed),
            guesses: upstream.exchange.guesses(),
        };
        self.upstreams.iter().map(tally).collect()
    }

    /// The upstreams in the order this question asks them: those in their place, then those that stepped back.
    fn order(&self) -> Vec<&Arc<Upstream<E>>> {
        let now = self.start.elapsed();
        let (mut order, back): (Vec<_>, Vec<_>) =
            self.upstreams.iter().partition(|upstream| upstream.health.in_place(now));
        order.extend(back);
        order
    }

    /// Whether a server is believed that it has validated an answer.
    ///
    /// RFC 4035 §4.6: a resolver "MUST disregard the meaning of the CD and AD bits in a response unless the response was obtained by
    /// using a secure channel", or it was told to regard them without one. TLS with a server that has proved who it is is one, and what
    /// stays on this host is as good; glibc calls the setting trust-ad, and OpenBSD's libc takes loopback as we do.
    fn believes(&self, server: &Server) -> bool {
        self.trust_ad || server.is_encrypted() || server.addr.ip().to_canonical().is_loopback()
    }

    /// Who is asked first, if it can be asked at once. One that stepped back is a matter of who else is asked, and when.
    fn first(&self) -> Option<&Arc<Upstream<E>>> {
        self.upstreams.first().filter(|first| first.health.is_well() && first.exchange.may_begin())
    }

    /// The most that one try is waited for before more is done. With several upstreams it is half of it: one dead server does not cost
    /// more than the second best's whole answer.
    fn most(&self) -> Duration {
        if self.upstreams.len() > 1 { self.try_timeout / 2 } else { self.try_timeout }
    }

    /// Counts that an upstream failed, or has been silent for longer than it should be.
    fn failed(&self, upstream: &Upstream<E>, failure: &Failure) {
        upstream.failed.fetch_add(1, Ordering::Relaxed);
        // Busy is our own doing.
        if *failure != Failure::Busy {
            upstream.health.failed(self.start.elapsed());
        }
    }
}

impl<E: Exchange> Ask for Failover<E> {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        let deadline = Instant::now() + self.total_timeout;
        let Ok(_permit) = self.in_flight.try_acquire() else { return Err(AskError::Overloaded) };
        if self.upstreams.is_empty() {
            return Err(AskError::NoneReachable("no upstream is configured".to_owned()));
        }
        Race::new(self, question, deadline).run(None).await
    }

    fn may_begin(&self, _: &Question) -> bool {
        self.first().is_some()
    }

    fn begin(&self, question: &Question, then: Then) {
        let Some(upstream) = self.first() else { return then(Err(Begun::nothing())) };
        upstream.asked.fetch_add(1, Ordering::Relaxed);
        let at = Instant::now();
        let due = at + upstream.pace.wait(self.most());
        let (asked, believed) = (Arc::clone(upstream), self.believes(&upstream.server));
        let landing = move |came| {
            then(match came {
                Came::Reply(Ok(reply)) if message::is_final(&reply) => Ok(asked.replied(reply, at, believed)),
                came => Err(Begun { place: 0, at, due, came }),
            });
        };
        upstream.exchange.begin(question, Box::new(landing), due);
    }

    async fn go_on(&self, question: &Question, begun: Begun, late: Late) -> Result<Vec<u8>, AskError> {
        let Ok(_permit) = self.in_flight.try_acquire() else { return Err(AskError::Overloaded) };
        if self.upstreams.is_empty() {
            return Err(AskError::NoneReachable("no upstream is configured".to_owned()));
        }
        let mut race = Race::new(self, question, begun.at + self.total_timeout);
        race.take_over(begun);
        race.run(Some(late)).await
    }
}

/// One question under way: who is still to be asked, and who was and may yet answer.
///
/// What was asked is listened for until all is over, whoever else is asked meanwhile: a server that takes longer than it is waited
/// for answers all the same, and the first good answer is the answer.
struct Race<'a, E> {
    failover: &'a Failover<E>,
    question: &'a Question,
    deadline: Instant,
    /// Who is asked next, in this order.
    order: VecDeque<&'a Arc<Upstream<E>>>,
    /// Tries under way, the oldest first.
    open: Vec<Try<E>>,
    /// Who was asked and has said nothing yet.
    silent: Vec<&'a Arc<Upstream<E>>>,
    /// When more is done, if nothing comes before.
    next: Instant,
    /// The most that is waited for one try before more is done.
    most: Duration,
    /// How often all were asked before.
    passes: u32,
    /// The last reply that declines.
    declined: Option<Vec<u8>>,
    /// Why others gave none, each server once.
    failures: Vec<(Server, Failure)>,
}

/// What will come of a try.
type Exchanging = Pin<Box<dyn Future<Output = Result<Vec<u8>, Failure>> + Send>>;

/// One try under way. It owns all that it takes, for it may outlive its race.
struct Try<E> {
    upstream: Arc<Upstream<E>>,
    exchange: Exchanging,
    /// Whether the server is believed that it has validated an answer.
    believed: bool,
    begun: Instant,
    /// When its silence is a failure.
    due: Instant,
    /// Whether that was counted.
    late: bool,
}

/// What came of a step.
enum Step {
    /// Something that decides nothing.
    Went,
    /// The answer.
    Answered(Vec<u8>),
    /// Nobody is left to ask or to wait for.
    Over,
}

impl<E> Upstream<E> {
    /// Notes that this came of what was asked `at` then, and gives it as far as it is believed.
    fn replied(&self, mut reply: Vec<u8>, at: Instant, believed: bool) -> Vec<u8> {
        if !believed {
            message::clear_ad(&mut reply);
        }
        self.health.succeeded();
        self.pace.took(at.elapsed());
        reply
    }
}

impl<'a, E: Exchange> Race<'a, E> {
    /// Nobody is asked yet.
    fn new(failover: &'a Failover<E>, question: &'a Question, deadline: Instant) -> Race<'a, E> {
        let order = failover.order().into();
        Race {
            failover,
            question,
            deadline,
            order,
            open: Vec::new(),
            silent: Vec::new(),
            next: Instant::now(),
            most: failover.most(),
            passes: 0,
            declined: None,
            failures: Vec::new(),
        }
    }

    /// Takes over a try that was begun before.
    fn take_over(&mut self, begun: Begun) {
        let Begun { place, at, due, came } = begun;
        let Some(upstream) = self.failover.upstreams.get(place) else { return };
        self.order.retain(|other| !Arc::ptr_eq(other, upstream));
        self.silent.push(upstream);
        self.next = due;
        self.open(upstream, at, |asked, question| {
            Box::pin(async move { asked.exchange.go_on(&question, came).await })
        });
    }

    /// Asks until there is an answer, or nobody is left; `late` is told what comes after that.
    async fn run(mut self, late: Option<Late>) -> Result<Vec<u8>, AskError> {
        loop {
            match self.step().await {
                Step::Went => {}
                Step::Answered(reply) => return Ok(reply),
                Step::Over => break,
            }
        }
        let open = std::mem::take(&mut self.open);
        open.iter().for_each(|one| self.give_up(one));
        if let Some(late) = late
            && let Ok(permit) = Arc::clone(&self.failover.lingering).try_acquire_owned()
            && !open.is_empty()
        {
            tokio::spawn(async move {
                if let Ok(Some(reply)) = timeout(LINGER, linger(open)).await {
                    late(reply);
                }
                drop(permit);
            });
        }
        self.declined.take().ok_or_else(|| explain(&self.failures))
    }

    /// Asks whoever is due, and waits until something comes or more is due.
    async fn step(&mut self) -> Step {
        let now = Instant::now();
        if now >= self.deadline {
            return Step::Over;
        }
        if now >= self.next || self.open.is_empty() {
            self.note_silence(now);
            match self.who_is_next() {
                Some(upstream) => self.begin(upstream, now),
                None => match self.until(now) {
                    Some(until) => self.next = until,
                    None => return Step::Over,
                },
            }
        }
        let until = self.next.min(self.deadline);
        match timeout_at(until, first(&mut self.open)).await {
            Err(_) => Step::Went,
            Ok((place, result)) => {
                let one = self.open.remove(place);
                self.came(&one, result)
            }
        }
    }

    /// Who is to be asked now. Once all were, those that were merely slow are asked again: a refused connection stays one for the
    /// seconds that this question lives, and after a server declined the others are waited for.
    fn who_is_next(&mut self) -> Option<&'a Arc<Upstream<E>>> {
        if self.order.is_empty() && self.declined.is_none() && !self.silent.is_empty() {
            self.passes += 1;
            self.most = self.failover.try_timeout;
            self.order.extend(self.silent.drain(..));
        }
        self.order.pop_front()
    }

    /// Begins a try.
    fn begin(&mut self, upstream: &'a Arc<Upstream<E>>, now: Instant) {
        upstream.asked.fetch_add(1, Ordering::Relaxed);
        // RFC 6298 §5.5: each time it is waited for twice as long.
        let wait = (upstream.pace.wait(self.most) * (1 << self.passes.min(4))).min(self.most);
        self.next = now + wait;
        if self.open.len() == MAX_OPEN {
            let oldest = self.open.remove(0);
            self.give_up(&oldest);
        }
        self.silent.push(upstream);
        // Who is silent may be so to EDNS. Whoever wants signatures has no use for an answer without.
        let manner = Manner { edns: self.passes == 0 || self.question.dnssec_ok, ..Manner::USUAL };
        self.open(upstream, now, move |asked, question| {
            Box::pin(async move { asked.exchange.exchange(&question, manner).await })
        });
    }

    /// Listens for a try that was begun then, until more is done.
    fn open(
        &mut self,
        upstream: &Arc<Upstream<E>>,
        begun: Instant,
        exchange: impl FnOnce(Arc<Upstream<E>>, Question) -> Exchanging,
    ) {
        self.open.push(Try {
            exchange: exchange(Arc::clone(upstream), *self.question),
            upstream: Arc::clone(upstream),
            believed: self.failover.believes(&upstream.server),
            begun,
            due: self.next,
            late: false,
        });
    }

    /// Until when those that were asked are waited for, once a server has declined: what one that is well answers is worth all the
    /// time there is, and one that has failed lately has a try's. None if nobody is waited for.
    fn until(&self, now: Instant) -> Option<Instant> {
        let until = |one: &Try<E>| match one.upstream.health.is_well() {
            true => self.deadline,
            false => one.begun + self.failover.try_timeout,
        };
        self.open.iter().map(until).max().filter(|until| *until > now)
    }

    /// Counts as failed who should have answered by now.
    fn note_silence(&mut self, now: Instant) {
        for one in self.open.iter_mut().filter(|one| !one.late && one.due <= now) {
            one.late = true;
            self.failover.failed(&one.upstream, &Failure::TimedOut);
        }
    }

    /// Notes that a try is no longer listened for.
    fn give_up(&mut self, one: &Try<E>) {
        if !one.late {
            self.failover.failed(&one.upstream, &Failure::TimedOut);
        }
        self.note(&one.upstream, Failure::TimedOut);
    }

    /// Notes why an upstream gave no reply.
    fn note(&mut self, upstream: &Upstream<E>, failure: Failure) {
        self.failures.retain(|(server, _)| *server != upstream.server);
        self.failures.push((upstream.server.clone(), failure));
    }

    /// What becomes of what a try brought.
    fn came(&mut self, one: &Try<E>, result: Result<Vec<u8>, Failure>) -> Step {
        let upstream = &one.upstream;
        match result {
            Ok(reply) => {
                let reply = upstream.replied(reply, one.begun, one.believed);
                if !message::declines(&reply) {
                    return Step::Answered(reply);
                }
                self.declined = Some(reply);
            }
            // Our own want: what is open already is listened for all the same, and is asked again when that is due.
            Err(Failure::Busy) => {
                self.failover.failed(upstream, &Failure::Busy);
                self.note(upstream, Failure::Busy);
                if !self.open.iter().any(|other| Arc::ptr_eq(&other.upstream, upstream)) {
                    self.silent.retain(|other| !Arc::ptr_eq(other, upstream));
                }
                if !self.order.is_empty() {
                    self.next = Instant::now();
                }
                return Step::Went;
            }
            Err(failure) => {
                if !one.late {
                    self.failover.failed(upstream, &failure);
                }
                self.note(upstream, failure);
            }
        }
        // Whoever said no says so again.
        self.open.retain(|other| !Arc::ptr_eq(&other.upstream, upstream));
        self.order.retain(|other| !Arc::ptr_eq(other, upstream));
        self.silent.retain(|other| !Arc::ptr_eq(other, upstream));
        self.next = Instant::now();
        Step::Went
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
async fn linger<E>(mut open: Vec<Try<E>>) -> Option<Vec<u8>> {
    while !open.is_empty() {
        let (place, result) = first(&mut open).await;
        let one = open.remove(place);
        let reply = result.ok().map(|reply| one.upstream.replied(reply, one.begun, one.believed));
        if let Some(reply) = reply.filter(|reply| !message::declines(reply)) {
            return Some(reply);
        }
    }
    None
}

/// All failures as one error: the network's only if no server was merely silent.
fn explain(failures: &[(Server, Failure)]) -> AskError {
    if !failures.is_empty() && failures.iter().all(|(_, failure)| *failure == Failure::Busy) {
        return AskError::Overloaded;
    }
    let mut text = String::new();
    for (index, (server, failure)) in failures.iter().take(MAX_NAMED).enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{server:#} {failure}");
    }
    if let Some(more @ 1..) = failures.len().checked_sub(MAX_NAMED) {
        let _ = write!(text, "; {more} more failed");
    }
    if !failures.is_empty() && failures.iter().all(|(_, failure)| failure.is_said()) {
        AskError::Network(text)
    } else {
        AskError::NoneReachable(text)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::sync::oneshot;

    use super::*;
    use crate::dns::testing::question;
    use crate::iana::Rtype;
    use crate::upstream::begun::Landing;

    #[test]
    fn what_was_our_own_doing_is_no_failure() {
        let server = Server::udp("192.0.2.1:53".parse().unwrap());
        let other = Server::tcp("192.0.2.2:53".parse().unwrap());
        let failed = |failure| (other.clone(), failure);
        let busy = || (server.clone(), Failure::Busy);
        assert_eq!(explain(&[busy(), failed(Failure::Busy)]), AskError::Overloaded);
        for failure in [Failure::TimedOut, Failure::Refused, Failure::WrongReply] {
            let error = explain(&[busy(), failed(failure)]);
            assert!(matches!(error, AskError::NoneReachable(_)), "{error:?}");
        }
    }

    /// What a scripted server does, by its port.
    #[derive(Clone, Copy)]
    enum Does {
        Answer,
        Decline,
        /// Declines, and says that it validated.
        Validate,
        Refuse,
        /// Answers after so many milliseconds.
        After(u64),
        Nothing,
    }

    /// Follows a script.
    struct Scripted(Does);

    impl Exchange for Scripted {
        async fn exchange(&self, _: &Question, _: Manner) -> Result<Vec<u8>, Failure> {
            self.0.outcome().await
        }

        fn may_begin(&self) -> bool {
            true
        }

        fn begin(&self, _: &Question, landing: Landing, due: Instant) {
            let does = self.0;
            tokio::spawn(async move {
                let mut coming = Box::pin(does.outcome());
                match timeout_at(due, &mut coming).await {
                    Ok(outcome) => landing(Came::Reply(outcome)),
                    Err(_) => landing(Came::NotYet(coming)),
                }
            });
        }
    }

    impl Does {
        /// What comes of it.
        async fn outcome(self) -> Result<Vec<u8>, Failure> {
            // Header, and `x.` A as the question.
            let reply = |low| vec![0, 0, 0x81, low, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'x', 0, 0, 1, 0, 1];
            match self {
                Does::Answer => {}
                Does::Decline => return Ok(reply(0x85)),
                Does::Validate => return Ok(reply(0xa1)),
                Does::Refuse => return Err(Failure::Refused),
                Does::After(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Does::Nothing => std::future::pending().await,
            }
            Ok(reply(0x80))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn servers_are_asked_in_order_and_in_time() {
        use Does::{After, Answer, Decline, Nothing, Refuse};
        /// What the servers do; the rcode that comes or the error's kind; tries of each; the time it takes in milliseconds.
        type Case = (&'static [Does], Result<u8, &'static str>, &'static [u64], u128);
        let cases: [Case; 20] = [
            (&[Answer], Ok(0), &[1], 0),
            (&[Answer, Answer], Ok(0), &[1, 0], 0),
            (&[Refuse, Answer], Ok(0), &[1, 1], 0),
            (&[Refuse, Refuse], Err("Network"), &[1, 1], 0),
            // The first try of several has half the time.
            (&[Nothing, Answer], Ok(0), &[1, 1], 750),
            (&[After(700), Answer], Ok(0), &[1, 0], 700),
            // What was asked is listened for while others are asked, and while it is asked again.
            (&[After(1000), Nothing], Ok(0), &[1, 1], 1000),
            (&[After(1600)], Ok(0), &[2], 1600),
            (&[After(3900)], Ok(0), &[3], 3900),
            // One alone has all of it.
            (&[After(1000)], Ok(0), &[1], 1000),
            (&[Nothing], Err("NoneReachable"), &[3], 4000),
            (&[Refuse, Nothing], Err("NoneReachable"), &[1, 4], 4000),
            (&[Decline, Answer], Ok(0), &[1, 1], 0),
            // Who declines is not the last word while another one is slow, whoever was asked first.
            (&[Decline, After(900)], Ok(0), &[1, 1], 900),
            (&[After(900), Decline], Ok(0), &[1, 1], 900),
            (&[Decline, After(3900)], Ok(0), &[1, 1], 3900),
            (&[Decline, Refuse], Ok(5), &[1, 1], 0),
            (&[Decline, Nothing], Ok(5), &[1, 1], 4000),
            // Of many the oldest is no longer listened for, and is asked again when its turn comes.
            (&[Nothing, Nothing, Nothing, Nothing, After(100)], Ok(0), &[1, 1, 1, 1, 1], 3100),
            (&[Nothing, Nothing, Nothing, Nothing], Err("NoneReachable"), &[2, 1, 1, 1], 4000),
        ];
        let question = question("x", Rtype::A);
        for (index, (servers, expected, tries, took_ms)) in cases.into_iter().enumerate() {
            let at = |port: usize| Server::udp(([192, 0, 2, 1], port as u16).into());
            let settings = Settings { servers: (0..servers.len()).map(at).collect(), ..Settings::default() };
            let does = |server: &Server| Scripted(servers[usize::from(server.addr.port())]);
            // As a task, and begun without one: the same comes of both.
            for at_once in [false, true] {
                let failover = Failover::new(&settings, does, None);
                let begun = Instant::now();
                let came =
                    if at_once { begin(&failover, &question).await } else { failover.ask(&question).await };
                let said = match came {
                    Ok(reply) => Ok(reply[3] & 0xf),
                    Err(AskError::Network(_)) => Err("Network"),
                    Err(AskError::NoneReachable(_)) => Err("NoneReachable"),
                    Err(AskError::Overloaded) => Err("Overloaded"),
                };
                let asked: Vec<u64> = failover.tallies().iter().map(|tally| tally.asked).collect();
                // A timer may fire a millisecond late.
                let late_ms = begun.elapsed().as_millis() - took_ms;
                assert_eq!((said, &asked[..]), (expected, tries), "{index} {at_once}");
                assert!(late_ms <= 3, "{index} {at_once}: {late_ms}");
            }
        }
    }

    /// Begins to ask, and goes on from there.
    async fn begin(failover: &Failover<Scripted>, question: &Question) -> Result<Vec<u8>, AskError> {
        assert!(failover.may_begin(question));
        let (sender, told) = oneshot::channel();
        failover.begin(question, Box::new(|came| sender.send(came).unwrap()));
        match told.await.unwrap() {
            Ok(reply) => Ok(reply),
            Err(begun) => failover.go_on(question, begun, Box::new(drop)).await,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_too_late_is_for_whoever_asks_next() {
        use Does::{After, Answer, Decline, Nothing, Refuse};
        /// What the servers do, and after how many milliseconds something is heard, if ever.
        type Case = (&'static [Does], Option<u128>);
        let cases: [Case; 6] = [
            (&[After(5000)], Some(5000)),
            (&[Nothing, After(5000)], Some(5750)),
            // One that has declined is not the last word.
            (&[Decline, After(5000)], Some(5000)),
            (&[After(11_000)], None),
            (&[Refuse], None),
            (&[Answer], None),
        ];
        let question = question("x", Rtype::A);
        for (index, (servers, expected)) in cases.into_iter().enumerate() {
            let at = |port: usize| Server::udp(([192, 0, 2, 1], port as u16).into());
            let settings = Settings { servers: (0..servers.len()).map(at).collect(), ..Settings::default() };
            let does = |server: &Server| Scripted(servers[usize::from(server.addr.port())]);
            let failover = Failover::new(&settings, does, None);
            let begun = Instant::now();
            let (sender, late) = oneshot::channel();
            let told = Box::new(move |reply: Vec<u8>| sender.send((reply[3], Instant::now())).unwrap());
            let _ = failover.go_on(&question, Begun::nothing(), told).await;
            assert!(begun.elapsed() < Duration::from_millis(4003), "{index}");
            let heard = late.await.ok().map(|(low, at)| (low & 0xf, (at - begun).as_millis()));
            assert_eq!(heard.map(|(rcode, _)| rcode), expected.map(|_| 0), "{index}");
            let (heard, expected) = (heard.map_or(0, |(_, ms)| ms), expected.unwrap_or_default());
            assert!((expected..expected + 3).contains(&heard), "{index}: {heard}");
            assert_eq!(failover.lingering.available_permits(), MAX_LINGERING, "{index}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_stepped_back_is_not_asked_at_once() {
        let settings =
            Settings { servers: vec![Server::udp("192.0.2.1:53".parse().unwrap())], ..Settings::default() };
        let failover = Failover::new(&settings, |_: &Server| Scripted(Does::Refuse), None);
        let question = question("x", Rtype::A);
        for _ in 0..3 {
            assert!(begin(&failover, &question).await.is_err());
        }
        assert!(!failover.may_begin(&question));
        assert_eq!(failover.tallies()[0].failed, 3);
    }

    #[tokio::test]
    async fn ad_is_believed_of_this_host_or_if_that_is_said() {
        for (server, trust_ad, expected) in [
            ("192.0.2.1", false, 0x81),
            ("192.0.2.1", true, 0xa1),
            ("2001:db8::1", false, 0x81),
            ("127.0.0.2", false, 0xa1),
            ("::1", false, 0xa1),
            ("::ffff:127.0.0.1", false, 0xa1),
        ] {
            let server = Server::udp((server.parse::<IpAddr>().unwrap(), 53).into());
            let settings = Settings { servers: vec![server.clone()], trust_ad, ..Settings::default() };
            let failover = Failover::new(&settings, |_: &Server| Scripted(Does::Validate), None);
            // RA, AD, and an rcode of 1 as well, which is told as it is when nobody else is there.
            let reply = failover.ask(&question("x", Rtype::A)).await.unwrap();
            assert_eq!(reply[3], expected, "{server} {trust_ad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_of_a_server_goes_over_to_other_settings() {
        let at = |port: u16| Server::udp(([192, 0, 2, 1], port).into());
        let of = |servers: &[u16]| Settings {
            servers: servers.iter().copied().map(at).collect(),
            ..Settings::default()
        };
        let question = question("x", Rtype::A);
        let counts = |failover: &Failover<Scripted>| -> Vec<(u16, u64, u64)> {
            failover
                .tallies()
                .iter()
                .map(|tally| (tally.server.addr.port(), tally.asked, tally.failed))
                .collect()
        };
        let refuses = |_: &Server| Scripted(Does::Refuse);
        let before = Failover::new(&of(&[1, 2]), refuses, None);
        for _ in 0..2 {
            assert!(before.ask(&question).await.is_err());
        }
        // Whoever is new answers, and the one that both have is asked as before, and counted on.
        let after = Failover::new(&of(&[2, 3]), |_: &Server| Scripted(Does::Answer), Some(&before));
        assert_eq!(counts(&after), [(2, 2, 2), (3, 0, 0)]);
        assert!(after.ask(&question).await.is_ok());
        assert_eq!(counts(&after)[1], (3, 1, 0));
        assert_eq!(counts(&before)[0], (1, 2, 2));
    }
}
