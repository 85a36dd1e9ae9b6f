//! Asking servers in order until one answers.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::failure::Failure;
use super::health::Health;
use super::message;
use super::server::Server;
use super::settings::{MAX_SERVERS, Settings};
use super::{Ask, AskError, Exchange};
use crate::dns::Question;

/// A try has at least this long, whatever the settings say: none at all would turn the loop of tries into a busy one.
const MIN_TRY: Duration = Duration::from_millis(10);
/// Upstreams named in an error: it travels as EDE text, which should stay short (RFC 8914 §3).
const MAX_NAMED: usize = 3;

/// How often an upstream was asked and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Who.
    pub server: Server,
    /// Tries.
    pub asked: u64,
    /// Tries without a reply; what is still under way is in neither.
    pub failed: u64,
}

/// Several servers, asked as `E` asks one.
///
/// A server that keeps failing goes to the back of the order for a short time, yet is always in it: when all are
/// down each question tries all of them, so the first question after one is back is answered.
#[derive(Debug)]
pub(super) struct Failover<E> {
    /// Those that another configuration also has go over to it, with their connections, health and counts.
    upstreams: Vec<Arc<Upstream<E>>>,
    try_timeout: Duration,
    total_timeout: Duration,
    in_flight: Semaphore,
    start: Instant,
}

/// One upstream and what is known of it.
#[derive(Debug)]
struct Upstream<E> {
    server: Server,
    exchange: E,
    health: Health,
    asked: AtomicU64,
    failed: AtomicU64,
}

impl<E: Exchange> Failover<E> {
    /// Asks each server of the settings by what `before` asked it, if it did, else by what `make` makes for it.
    pub(super) fn new(
        settings: &Settings,
        make: impl Fn(&Server) -> E,
        before: Option<&Failover<E>>,
    ) -> Failover<E> {
        let known = |server: &Server| before?.upstreams.iter().find(|known| known.server == *server).cloned();
        let new = |server: &Server| Upstream {
            server: *server,
            exchange: make(server),
            health: Health::default(),
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        let upstream = |server: &Server| known(server).unwrap_or_else(|| Arc::new(new(server)));
        Failover {
            upstreams: settings.servers.iter().take(MAX_SERVERS).map(upstream).collect(),
            try_timeout: settings.try_timeout.max(2 * MIN_TRY),
            total_timeout: settings.total_timeout,
            in_flight: Semaphore::new(settings.max_in_flight.min(Semaphore::MAX_PERMITS)),
            start: before.map_or_else(Instant::now, |before| before.start),
        }
    }

    /// Each upstream's counts, in the order of the settings.
    pub(super) fn tallies(&self) -> Vec<Tally> {
        let tally = |upstream: &Arc<Upstream<E>>| Tally {
            server: upstream.server,
            asked: upstream.asked.load(Ordering::Relaxed),
            failed: upstream.failed.load(Ordering::Relaxed),
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

    /// One try of one upstream.
    async fn attempt(
        &self,
        upstream: &Upstream<E>,
        question: &Question,
        limit: Duration,
    ) -> Result<Vec<u8>, Failure> {
        upstream.asked.fetch_add(1, Ordering::Relaxed);
        let asking = timeout(limit, upstream.exchange.exchange(question));
        let result = asking.await.unwrap_or(Err(Failure::TimedOut));
        match &result {
            Ok(_) => upstream.health.succeeded(),
            Err(failure) => {
                upstream.failed.fetch_add(1, Ordering::Relaxed);
                // Busy is our own doing.
                if *failure != Failure::Busy {
                    upstream.health.failed(self.start.elapsed());
                }
            }
        }
        result
    }
}

impl<E: Exchange> Ask for Failover<E> {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        let deadline = Instant::now() + self.total_timeout;
        let Ok(_permit) = self.in_flight.try_acquire() else { return Err(AskError::Overloaded) };
        if self.upstreams.is_empty() {
            return Err(AskError::NoneReachable("no upstream is configured".to_owned()));
        }
        let mut failures: Vec<(Server, Failure)> = Vec::new();
        let mut declined = None;
        let mut order = self.order();
        let mut limit = if order.len() > 1 { self.try_timeout / 2 } else { self.try_timeout };
        // Each pass keeps those that were merely slow: a refused connection or a declining server stays so for the
        // second that this question lives. A reply that declines ends it after one pass.
        while !order.is_empty() && declined.is_none() {
            let mut slow = Vec::new();
            for upstream in order {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                match self.attempt(upstream, question, limit.min(left)).await {
                    Ok(reply) if message::declines(&reply) => declined = Some(reply),
                    Ok(reply) => return Ok(reply),
                    Err(failure) => {
                        if failure == Failure::TimedOut {
                            slow.push(upstream);
                        }
                        failures.retain(|(server, _)| *server != upstream.server);
                        failures.push((upstream.server, failure));
                    }
                }
            }
            order = slow;
            limit = self.try_timeout;
        }
        declined.ok_or_else(|| explain(&failures))
    }
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
        let _ = write!(text, "{separator}{server} {failure}");
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
    use super::*;
    use crate::dns::testing::question;
    use crate::iana::Rtype;

    #[test]
    fn what_was_our_own_doing_is_no_failure() {
        let server = Server::udp("192.0.2.1:53".parse().unwrap());
        let other = Server::tcp("192.0.2.2:53".parse().unwrap());
        let failed = |failure| (other, failure);
        assert_eq!(explain(&[(server, Failure::Busy), failed(Failure::Busy)]), AskError::Overloaded);
        for failure in [Failure::TimedOut, Failure::Refused, Failure::WrongReply] {
            let error = explain(&[(server, Failure::Busy), failed(failure)]);
            assert!(matches!(error, AskError::NoneReachable(_)), "{error:?}");
        }
    }

    /// What a scripted server does, by its port.
    #[derive(Clone, Copy)]
    enum Does {
        Answer,
        Decline,
        Refuse,
        /// Answers after so many milliseconds.
        After(u64),
        Nothing,
    }

    /// Follows a script.
    struct Scripted(Does);

    impl Exchange for Scripted {
        async fn exchange(&self, _: &Question) -> Result<Vec<u8>, Failure> {
            match self.0 {
                Does::Answer => {}
                Does::Decline => return Ok(vec![0, 0, 0x81, 0x85]),
                Does::Refuse => return Err(Failure::Refused),
                Does::After(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Does::Nothing => std::future::pending().await,
            }
            Ok(vec![0, 0, 0x81, 0x80])
        }
    }

    #[tokio::test(start_paused = true)]
    async fn servers_are_asked_in_order_and_in_time() {
        use Does::{After, Answer, Decline, Nothing, Refuse};
        /// What the servers do; the rcode that comes or the error's kind; tries of each; the time it takes in milliseconds.
        type Case = (&'static [Does], Result<u8, &'static str>, &'static [u64], u128);
        let cases: [Case; 12] = [
            (&[Answer], Ok(0), &[1], 0),
            (&[Answer, Answer], Ok(0), &[1, 0], 0),
            (&[Refuse, Answer], Ok(0), &[1, 1], 0),
            (&[Refuse, Refuse], Err("Network"), &[1, 1], 0),
            // The first try of several has half the time.
            (&[Nothing, Answer], Ok(0), &[1, 1], 750),
            (&[After(700), Answer], Ok(0), &[1, 0], 700),
            (&[After(1000), Nothing], Ok(0), &[2, 1], 2500),
            // One alone has all of it.
            (&[After(1000)], Ok(0), &[1], 1000),
            (&[Nothing], Err("NoneReachable"), &[3], 4000),
            (&[Refuse, Nothing], Err("NoneReachable"), &[1, 4], 4000),
            (&[Decline, Answer], Ok(0), &[1, 1], 0),
            (&[Decline, Nothing], Ok(5), &[1, 1], 750),
        ];
        let question = question("x", Rtype::A);
        for (index, (servers, expected, tries, took_ms)) in cases.into_iter().enumerate() {
            let at = |port: usize| Server::udp(([192, 0, 2, 1], port as u16).into());
            let settings = Settings { servers: (0..servers.len()).map(at).collect(), ..Settings::default() };
            let does = |server: &Server| Scripted(servers[usize::from(server.addr.port())]);
            let failover = Failover::new(&settings, does, None);
            let begun = Instant::now();
            let said = match failover.ask(&question).await {
                Ok(reply) => Ok(reply[3] & 0xf),
                Err(AskError::Network(_)) => Err("Network"),
                Err(AskError::NoneReachable(_)) => Err("NoneReachable"),
                Err(AskError::Overloaded) => Err("Overloaded"),
            };
            let asked: Vec<u64> = failover.tallies().iter().map(|tally| tally.asked).collect();
            // A timer may fire a millisecond late.
            let late_ms = begun.elapsed().as_millis() - took_ms;
            assert_eq!((said, &asked[..]), (expected, tries), "{index}");
            assert!(late_ms <= 3, "{index}: {late_ms}");
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
