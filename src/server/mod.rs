//! Listeners: each takes bytes from clients to `resolver` and back.
//!
//! Binding ([`bind_udp`], [`bind_tcp`]) is apart from serving, so that all that can go wrong with addresses is known before the
//! first answer. [`Server`] serves what was bound until it is stopped; every queue in it is bounded and counts what it
//! turned away.

mod bind;
mod counters;
mod tcp;
mod udp;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use bind::{bind_tcp, bind_udp};
pub use counters::{Counters, Counts};

use crate::resolver::{Client, Respond, Step};

/// Bounds on what clients may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// UDP queries that wait for an upstream, over all listeners; 4096 by default. What exceeds it is answered by what is
    /// known, even if that has expired, or else dropped: the client asks again, and by then the answer may be in the cache.
    pub udp_pending: usize,
    /// Whether each UDP worker stays on one core; not so by default.
    pub udp_pin: bool,
    /// TCP connections, over all listeners; 512 by default. What exceeds it is accepted and closed.
    pub tcp_connections: usize,
    /// TCP connections from one IPv4 address or one IPv6 /64; 64 by default (RFC 7766 §6.2.2 asks clients for one).
    pub tcp_connections_per_client: usize,
    /// Queries under way on one TCP connection; 64 by default. What exceeds it is not read until there is room.
    pub tcp_pipelined: usize,
    /// How long a TCP connection with nothing under way stays open; 10 seconds by default (RFC 7766 §6.2.3: "on the order
    /// of seconds").
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
            udp_pending: 4096,
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

/// What all listeners have in common.
#[derive(Debug)]
struct Shared<R> {
    respond: Arc<R>,
    settings: Settings,
    counters: Arc<Counters>,
    /// Places for UDP queries that wait.
    udp_pending: Arc<Semaphore>,
    /// Places for TCP connections.
    connections: tcp::Connections,
}

impl<R: Respond> Server<R> {
    /// Serves nothing yet.
    pub fn new(respond: Arc<R>, settings: Settings) -> Server<R> {
        let shared = Shared {
            respond,
            settings,
            counters: Arc::default(),
            udp_pending: Arc::new(Semaphore::new(settings.udp_pending.min(Semaphore::MAX_PERMITS))),
            connections: tcp::Connections::new(settings.tcp_connections, settings.tcp_connections_per_client),
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
        for (index, socket) in sockets.into_iter().enumerate() {
            let (worker, late) = udp::start(socket, index, &self.shared)?;
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

    /// The counters of all listeners.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Takes no new queries, answers those it has, and ends; after [`Settings::drain`] whatever is left is given up.
    ///
    /// True when nothing had to be given up.
    pub async fn stop(mut self) -> bool {
        self.stop.send_replace(true);
        self.workers.clear();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        timeout(self.shared.settings.drain, drained).await.is_ok()
    }
}

impl<R: Respond> Shared<R> {
    /// [`Respond::now`]; a panic in there is counted and silences one packet, not a listener.
    fn now(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Step<R::Pending> {
        // Unwind safety: `out` is replaced before it is read again, and what the resolver shares is its own concern.
        catch_unwind(AssertUnwindSafe(|| self.respond.now(packet, client, out))).unwrap_or_else(|_| {
            self.counters.panics.fetch_add(1, Ordering::Relaxed);
            Step::Silence
        })
    }

    /// [`Respond::without_upstream`], with the same care.
    fn without_upstream(&self, pending: R::Pending, out: &mut Vec<u8>) -> Step<()> {
        // Unwind safety: as in `now`.
        catch_unwind(AssertUnwindSafe(|| self.respond.without_upstream(pending, out))).unwrap_or_else(|_| {
            self.counters.panics.fetch_add(1, Ordering::Relaxed);
            Step::Silence
        })
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
