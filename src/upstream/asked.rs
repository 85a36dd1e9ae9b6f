//! Who was asked a question, how often and by which transport, and who may be asked it again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Exchange;
use super::known::Known;
use super::server::Protocol;

/// RFC 9520 §3.1: "A resolver MUST NOT retry a given query to a server address over a given DNS transport more than twice (i.e., three
/// queries in total)" before it takes the server to be silent by that transport; by another one it may go on.
const MAX_QUERIES: u32 = 3;
/// What a stream loses, the system sends again, so one that stands in for datagrams is enough.
const MAX_BY_STREAM: u32 = 1;
/// How long whoever has answered lately and refuses is left alone first, and then twice as long each time: a server that is restarted is
/// back after a second or so.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The most that the time is doubled that a server is waited for.
const MAX_DOUBLINGS: u32 = 6;
/// What lately is.
const LATELY: Duration = Duration::from_secs(10);

/// Those who were asked, in the order in which each was asked first.
#[derive(Debug)]
pub(super) struct Asked<E> {
    servers: Vec<One<E>>,
    /// How often those who refuse were left alone.
    pauses: u32,
}

/// One of them.
#[derive(Debug)]
struct One<E> {
    known: Arc<Known<E>>,
    /// Queries by the transport that it is for.
    queries: u32,
    /// Queries by stream to one that is for datagrams.
    by_stream: u32,
    /// How often the time was doubled that it is waited for.
    doublings: u32,
}

impl<E> One<E> {
    /// Whether one more query by stream may stand in for datagrams.
    fn may_by_stream(&self) -> bool {
        self.known.server.protocol == Protocol::Udp && self.by_stream < MAX_BY_STREAM
    }

    /// Whether it may be asked once more by any transport.
    fn may(&self) -> bool {
        self.queries < MAX_QUERIES || self.may_by_stream()
    }

    /// Where such queries are counted.
    fn counter(&mut self, by_stream: bool) -> &mut u32 {
        if by_stream { &mut self.by_stream } else { &mut self.queries }
    }
}

impl<E: Exchange> Asked<E> {
    /// Nobody was.
    pub(super) fn nobody() -> Asked<E> {
        Asked { servers: Vec::new(), pauses: 0 }
    }

    /// Whether a server may be asked, or asked again.
    pub(super) fn may(&self, known: &Arc<Known<E>>) -> bool {
        self.servers.iter().find(|one| Arc::ptr_eq(&one.known, known)).is_none_or(One::may)
    }

    /// Counts a query to it; whether it is one by stream in place of a datagram. That is the last one where nothing comes, and each other
    /// one where datagrams are refused, so that those that may be sent last for longer.
    pub(super) fn count(&mut self, known: &Arc<Known<E>>) -> bool {
        let is_streams_turn = self.pauses % 2 == 1;
        let one = self.of(known);
        let by_stream = one.may_by_stream() && (is_streams_turn || one.queries >= MAX_QUERIES);
        *one.counter(by_stream) += 1;
        by_stream
    }

    /// Takes back that it was asked: no query went out.
    pub(super) fn discount(&mut self, known: &Arc<Known<E>>, by_stream: bool) {
        let counter = self.of(known).counter(by_stream);
        *counter = counter.saturating_sub(1);
    }

    /// Who was asked first, if it may be asked once more.
    pub(super) fn first_again(&self) -> Option<&Arc<Known<E>>> {
        self.servers.first().filter(|one| one.may()).map(|one| &one.known)
    }

    /// How often the time is doubled for which a server is waited for that is asked again since it was silent; whether it `answers` others
    /// meanwhile.
    ///
    /// RFC 6298 §5.5 has it doubled each time, but here there are few times: it is four times as long, so that they are spread over the time
    /// there is. Where it answers others, that a datagram was lost is no sign of congestion, nor of an outage: then it is as long the
    /// first time, and from there on twice as long.
    pub(super) fn doublings(&mut self, known: &Arc<Known<E>>, answers: bool) -> u32 {
        let one = self.of(known);
        let is_first = one.queries <= 1;
        one.doublings += match (answers, is_first) {
            (false, _) => 2,
            (true, false) => 1,
            (true, true) => 0,
        };
        one.doublings.min(MAX_DOUBLINGS)
    }

    /// Those who had answered anybody shortly before the question came `at` then, or since, and may be asked again, and how long they are
    /// left alone before. Whoever was asked has refused.
    pub(super) fn left_alone(&mut self, at: Instant) -> Option<(Vec<Arc<Known<E>>>, Duration)> {
        let is_back_soon = |one: &&One<E>| one.may() && one.known.has_answered_within(LATELY, at);
        let again: Vec<_> =
            self.servers.iter().filter(is_back_soon).map(|one| Arc::clone(&one.known)).collect();
        if again.is_empty() {
            return None;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.pauses.min(16));
        self.pauses += 1;
        Some((again, pause))
    }

    /// The network is another one, in which nobody was asked.
    pub(super) fn forget(&mut self) {
        self.pauses = 0;
        for one in &mut self.servers {
            (one.queries, one.by_stream, one.doublings) = (0, 0, 0);
        }
    }

    /// What is counted of one.
    fn of(&mut self, known: &Arc<Known<E>>) -> &mut One<E> {
        let place = self.servers.iter().position(|one| Arc::ptr_eq(&one.known, known));
        let place = place.unwrap_or_else(|| {
            self.servers.push(One { known: Arc::clone(known), queries: 0, by_stream: 0, doublings: 0 });
            self.servers.len() - 1
        });
        &mut self.servers[place]
    }
}
