//! Listeners: each takes bytes from clients to `resolver` and back.
//!
//! Binding ([`bind_udp`], [`bind_tcp`]) is apart from serving, so that all that can go wrong with addresses is known before the
//! first answer. [`Server`] serves what was bound until it is stopped; every queue in it is bounded and counts what it
//! turned away.

mod bind;
mod connections;
mod counters;
mod room;
mod stream;
mod tcp;
mod udp;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use bind::{bind_tcp, bind_udp};
pub use counters::{Counters, Counts};

use crate::serve::{Client, Respond, Step};
use room::{Admission, Bounds, Place, Room};

/// Bounds on what clients may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Queries that wait for an upstream, over all listeners; 4096 by default. When there are as many, the client who has
    /// most of them loses one to whoever has fewer. What finds no place, or loses it, is answered by what is known, even if
    /// that has expired; else a stream is told so, and a datagram is dropped: its client asks again, and by then the answer
    /// may be in the cache.
    pub pending: usize,
    /// Of these, from one IPv4 address or one IPv6 /64; 1000 by default, which is Unbound's `wait-limit`. Unlike there,
    /// loopback is a client like others: whoever forwards from there for thousands may have more.
    pub pending_per_client: usize,
    /// The age from which on a reply by datagram is late: it is told only while few of its client's queries wait. 1.9
    /// seconds by default, which is Unbound's `discard-timeout`; none if never.
    pub late: Option<Duration>,
    /// Whether each UDP worker stays on one core; not so by default.
    pub udp_pin: bool,
    /// TCP connections, over all listeners; 512 by default. What exceeds it has the place of the one that is idle longest;
    /// when none is idle, it is accepted and closed.
    pub tcp_connections: usize,
    /// TCP connections from one IPv4 address or one IPv6 /64; 64 by default (RFC 7766 §6.2.2 asks clients for one). What
    /// exceeds it has the place of that client's own.
    pub tcp_connections_per_client: usize,
    /// Queries under way on one TCP connection; 64 by default. What exceeds it is not read until there is room.
    pub tcp_pipelined: usize,
    /// How long a TCP connection with nothing under way stays open; 10 seconds by default (RFC 7766 §6.2.3: "on the order
    /// of seconds"), and less when more than half of the places are taken.
    pub tcp_idle: Duration,
    /// How long a TCP message may take from its first octet to its last; 5 seconds by default.
    pub tcp_message: Duration,
    /// How long a reply may take to leave through TCP before its reader is given up; 5 seconds by default.
    pub tcp_write: Duration,
    /// How long [`Server::stop`] waits for what is under way; 5 seconds by default, above an upstream's time limit.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            pending: 4096,
            pending_per_client: 1000,
            late: Some(Duration::from_millis(1900)),
            udp_pin: false,
            tcp_connections: 512,
            tcp_connections_per_client: 64,
            tcp_pipelined: 64,
            tcp_idle: Duration::from_secs(10),
            tcp_message: Duration::from_secs(5),
            tcp_write: Duration::from_secs(5),
            drain: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// How many may wait.
    fn waits(&self) -> Bounds {
        Bounds { all: self.pending, per_client: self.pending_per_client, late: self.late }
    }

    /// How many may be connected, in all and from one client.
    fn connections(&self) -> (usize, usize) {
        (self.tcp_connections, self.tcp_connections_per_client)
    }
}

/// Who waits and who is connected now, and how many may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Queries that wait for an upstream.
    pub waiting: usize,
    /// As many may.
    pub max_waiting: usize,
    /// TCP connections.
    pub connections: usize,
    /// As many there may be.
    pub max_connections: usize,
}

/// Serves bound sockets until stopped; dropping it ends all at once.
#[derive(Debug)]
pub struct Server<R> {
    shared: Arc<Shared<R>>,
    /// Says stop when it becomes true or is dropped.
    stop: watch::Sender<bool>,
    /// The UDP workers; they stop when dropped.
    workers: Vec<udp::Running>,
    /// One task a socket; they end when told to stop and their clients' work is done.
    tasks: JoinSet<()>,
}

/// Why a query does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// There is no place for it.
    Crowded,
    /// It waits already.
    Twice,
}

/// What all listeners have in common.
#[derive(Debug)]
struct Shared<R> {
    respond: Arc<R>,
    /// Replaced as a whole when the configuration is another.
    settings: ArcSwap<Settings>,
    counters: Arc<Counters>,
    /// Places for queries that wait.
    room: Room,
    /// Places for TCP connections.
    connections: connections::Connections,
}

impl<R: Respond> Server<R> {
    /// Serves nothing yet.
    pub fn new(respond: Arc<R>, settings: Settings) -> Server<R> {
        let shared = Shared {
            respond,
            settings: ArcSwap::from_pointee(settings),
            counters: Arc::default(),
            room: Room::new(settings.waits()),
            connections: connections::Connections::new(settings.connections()),
        };
        Server {
            shared: Arc::new(shared),
            stop: watch::Sender::new(false),
            workers: Vec::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Serves the sockets of one [`bind_udp`], each on a thread of its own. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When a thread cannot be had.
    pub fn serve_udp(&mut self, sockets: Vec<UdpSocket>) -> io::Result<()> {
        self.start_udp(sockets, false)
    }

    /// Serves descriptors of a socket that somebody else holds as well, and will have served again: what it holds in the end is left in it.
    /// Each is served on a thread of its own. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When a thread cannot be had.
    pub fn serve_held_udp(&mut self, sockets: Vec<UdpSocket>) -> io::Result<()> {
        self.start_udp(sockets, true)
    }

    /// Starts a worker for each socket.
    fn start_udp(&mut self, sockets: Vec<UdpSocket>, is_held: bool) -> io::Result<()> {
        for (index, socket) in sockets.into_iter().enumerate() {
            let (worker, late) = udp::start(socket, index, is_held, &self.shared)?;
            self.workers.push(worker);
            self.tasks.spawn(late);
        }
        Ok(())
    }

    /// Serves the listener of one [`bind_tcp`]. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the listener cannot be registered with the runtime.
    pub fn serve_tcp(&mut self, listener: TcpListener) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.tasks.spawn(tcp::serve(listener, Arc::clone(&self.shared), self.stop.subscribe()));
        Ok(())
    }

    /// What sets other bounds from now on. What is under way beyond them goes on; [`Settings::udp_pin`] stays as it was.
    pub fn bounds(&self) -> impl Fn(Settings) + Send + Sync + use<R> {
        let shared = Arc::clone(&self.shared);
        move |settings: Settings| {
            shared.room.bound(settings.waits());
            shared.connections.bound(settings.connections());
            shared.settings.store(Arc::new(settings));
        }
    }

    /// What tells who waits and who is connected.
    pub fn queues(&self) -> impl Fn() -> Queues + Send + Sync + use<R> {
        let shared = Arc::clone(&self.shared);
        move || {
            let (waiting, max_waiting) = shared.room.taken();
            let (connections, max_connections) = shared.connections.taken();
            Queues { waiting, max_waiting, connections, max_connections }
        }
    }

    /// The counters of all listeners.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Waits until a listener has ended though nobody stopped it: what it served is served no longer.
    pub async fn broken(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// Takes no new queries, answers those it has, and ends; after [`Settings::drain`] whatever is left is given up.
    ///
    /// True when nothing had to be given up.
    pub async fn stop(mut self) -> bool {
        self.stop.send_replace(true);
        self.workers.clear();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        timeout(self.shared.settings.load().drain, drained).await.is_ok()
    }
}

impl<R: Respond> Shared<R> {
    /// [`Respond::now`]; a panic in there is counted and silences one packet, not a listener.
    fn now(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Step<R::Pending> {
        // Unwind safety: `out` is replaced before it is read again, and what the resolver shares is its own concern.
        catch_unwind(AssertUnwindSafe(|| self.respond.now(packet, client, out))).unwrap_or_else(|_| {
            self.counters.panics.fetch_add(1, Ordering::Relaxed);
            Step::Drop
        })
    }

    /// A place for a query that has to wait; without one it is answered by [`answer_from_cache`](Self::answer_from_cache),
    /// or not at all if the same one waits already.
    fn admit(&self, client: Client, packet: &[u8]) -> Result<Place, Refused> {
        let datagram = client.transport.is_datagram().then_some(packet);
        let (counter, refused) = match self.room.admit(client.addr, datagram, Instant::now()) {
            Admission::Place(place) => return Ok(place),
            Admission::Twice => (&self.counters.dropped_twice, Refused::Twice),
            Admission::ClientFull => (&self.counters.client_full, Refused::Crowded),
            Admission::Full => (&self.counters.pending_full, Refused::Crowded),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Err(refused)
    }

    /// [`Respond::answer_from_cache`], with the care of [`now`](Self::now), and counted.
    fn answer_from_cache(&self, pending: &R::Pending, out: &mut Vec<u8>) -> Step<()> {
        // Unwind safety: as in `now`.
        let step = catch_unwind(AssertUnwindSafe(|| self.respond.answer_from_cache(pending, out)));
        let (step, counter) = match step {
            Ok(step @ Step::Reply) => (step, &self.counters.answered_overload),
            Ok(step @ Step::Later(())) => (step, &self.counters.dropped_overload),
            Ok(Step::Drop) => return Step::Drop,
            Err(_) => (Step::Drop, &self.counters.panics),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        step
    }

    /// The reply to a query that waits, for as long as it keeps its place; true when there is one in `out`.
    async fn later(&self, pending: &R::Pending, place: &mut Place, out: &mut Vec<u8>) -> bool {
        tokio::select! {
            biased;
            replied = self.respond.later(pending, out) => return replied,
            () = place.given_away() => {}
        }
        self.counters.gave_way.fetch_add(1, Ordering::Relaxed);
        matches!(self.answer_from_cache(pending, out), Step::Reply)
    }

    /// Lets go of tasks that have ended; one that ended in a panic is counted.
    fn reap(&self, tasks: &mut JoinSet<()>) {
        while let Some(ended) = tasks.try_join_next() {
            if ended.is_err_and(|error| error.is_panic()) {
                self.counters.panics.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
