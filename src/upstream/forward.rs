//! Asking upstreams in order until one answers.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::health::Health;
use super::hickory::{Failure, Link};
use super::message;
use super::server::{Server, Transport};
use super::{Ask, AskError};
use crate::dns::Question;

/// Upstreams that are used; more would only be reached after every client gave up.
pub const MAX_SERVERS: usize = 16;
/// A try has at least this long, whatever the settings say: none at all would turn the loop of tries into a busy one.
const MIN_TRY: Duration = Duration::from_millis(10);
/// Upstreams named in an error: it travels as EDE text, which should stay short (RFC 8914 §3).
const MAX_NAMED: usize = 3;

/// Whom to ask, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The upstreams in order of preference; none by default. What exceeds [`MAX_SERVERS`] is not used.
    pub servers: Vec<Server>,
    /// How long one upstream has for one try; 1.5 seconds by default. With several upstreams the first try of each
    /// has half of it, so that one dead server does not cost more than the second best's whole answer.
    pub try_timeout: Duration,
    /// How long all of it may take; 4 seconds by default, below the 5 that stub resolvers wait.
    pub total_timeout: Duration,
    /// Questions under way at once; 4096 by default.
    pub max_in_flight: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            servers: Vec::new(),
            try_timeout: Duration::from_millis(1500),
            total_timeout: Duration::from_secs(4),
            max_in_flight: 4096,
        }
    }
}

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

/// Asks the upstreams of its settings.
///
/// A server that keeps failing goes to the back of the order for a short time, yet is always in it: when all are
/// down each question tries all of them, so the first question after one is back is answered.
#[derive(Debug)]
pub struct Forwarder {
    upstreams: Vec<Upstream>,
    try_timeout: Duration,
    total_timeout: Duration,
    in_flight: Semaphore,
    start: Instant,
}

/// One upstream and what is known of it.
#[derive(Debug)]
struct Upstream {
    server: Server,
    link: Link,
    health: Health,
    asked: AtomicU64,
    failed: AtomicU64,
}

impl Forwarder {
    /// Connects to nobody yet.
    pub fn new(settings: Settings) -> Forwarder {
        let upstream = |server: &Server| Upstream {
            server: *server,
            link: Link::new(server.addr, settings.total_timeout),
            health: Health::default(),
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        Forwarder {
            upstreams: settings.servers.iter().take(MAX_SERVERS).map(upstream).collect(),
            try_timeout: settings.try_timeout.max(2 * MIN_TRY),
            total_timeout: settings.total_timeout,
            in_flight: Semaphore::new(settings.max_in_flight.min(Semaphore::MAX_PERMITS)),
            start: Instant::now(),
        }
    }

    /// Each upstream's counts, in the order of the settings.
    pub fn tallies(&self) -> Vec<Tally> {
        let tally = |upstream: &Upstream| Tally {
            server: upstream.server,
            asked: upstream.asked.load(Ordering::Relaxed),
            failed: upstream.failed.load(Ordering::Relaxed),
        };
        self.upstreams.iter().map(tally).collect()
    }

    /// The upstreams in the order this question asks them: those in their place, then those that stepped back.
    fn order(&self) -> Vec<&Upstream> {
        let now = self.start.elapsed();
        let (mut order, back): (Vec<_>, Vec<_>) =
            self.upstreams.iter().partition(|upstream| upstream.health.in_place(now));
        order.extend(back);
        order
    }

    /// One try of one upstream.
    async fn attempt(
        &self,
        upstream: &Upstream,
        question: &Question,
        limit: Duration,
    ) -> Result<Vec<u8>, Failure> {
        upstream.asked.fetch_add(1, Ordering::Relaxed);
        let result = timeout(limit, upstream.ask(question)).await.unwrap_or(Err(Failure::TimedOut));
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

impl Ask for Forwarder {
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

impl Upstream {
    /// Asks as its transport says.
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, Failure> {
        if self.server.transport == Transport::Udp {
            let reply = self.link.datagram(question).await?;
            // RFC 2181 §9: a truncated reply is not used itself, but asked for again over TCP.
            if !message::is_truncated(&reply) {
                return Ok(reply);
            }
        }
        self.link.stream(question).await
    }
}

/// All failures as one error: the network's only if no server was merely silent.
fn explain(failures: &[(Server, Failure)]) -> AskError {
    let mut text = String::new();
    for (index, (server, failure)) in failures.iter().take(MAX_NAMED).enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        let what = match failure {
            Failure::TimedOut => "did not answer in time",
            Failure::Network(what) => what,
            Failure::WrongReply => "answered something else",
            Failure::Busy => "has too many questions under way",
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{server} {what}");
    }
    if let Some(more @ 1..) = failures.len().checked_sub(MAX_NAMED) {
        let _ = write!(text, "; {more} more failed");
    }
    if !failures.is_empty() && failures.iter().all(|(_, failure)| *failure == Failure::Busy) {
        return AskError::Overloaded;
    }
    let told_no = |failure: &Failure| matches!(failure, Failure::Network(_) | Failure::WrongReply);
    if !failures.is_empty() && failures.iter().all(|(_, failure)| told_no(failure)) {
        AskError::Network(text)
    } else {
        AskError::NoneReachable(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_our_own_doing_is_no_failure() {
        let server = Server::udp("192.0.2.1:53".parse().unwrap());
        let other = Server::tcp("192.0.2.2:53".parse().unwrap());
        let failed = |failure| (other, failure);
        assert_eq!(explain(&[(server, Failure::Busy), failed(Failure::Busy)]), AskError::Overloaded);
        for failure in [Failure::TimedOut, Failure::Network("refused".into()), Failure::WrongReply] {
            let error = explain(&[(server, Failure::Busy), failed(failure)]);
            assert!(matches!(error, AskError::NoneReachable(_)), "{error:?}");
        }
    }
}
