//! Queries by datagram: a thread a socket, a batch a system call.
//!
//! A worker receives what is there, answers each datagram, and sends the replies; it waits in the receiving call and
//! nowhere else, so it costs nothing while nobody asks and a lone query is answered at once. What needs an upstream is begun
//! here where that takes no waiting, else goes over a bounded queue to a task; both are answered through the same socket. When
//! the queue is full it is answered by what is known.

use std::io;
use std::net::{Shutdown, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, yield_now};

use super::room::Place;
use super::{Refused, Shared};
use crate::batch::{self, Inbox, Outbox, Route, Sent};
use crate::dns::finish::MAX_UDP_LEN;
use crate::iana::Rcode;
use crate::serve::{Back, Client, Hot, Respond, Step};
use crate::transport::Transport;

/// The pause after an error of the socket that may last, so that a broken one does not eat a core.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a worker waits for a datagram before it looks whether to stop. It is woken to stop; this is for systems on
/// which that does not work, and rare enough to cost nothing.
const LOOK_UP: Duration = Duration::from_millis(500);
/// How long a worker waits for the system to take replies before it gives them up.
const SEND_LIMIT: Duration = Duration::from_millis(200);
/// Batches a worker takes from the socket when it stops: all that a buffer of some megabytes holds, but not for ever
/// while a flood goes on.
const LAST_BATCHES: usize = 1024;
/// Queries that the queue of a worker takes at least: what may wait can be set higher while it runs, and room for a query in the
/// queue costs nothing until it is there.
const QUEUE: usize = 1 << 16;
/// How often late replies that the socket has no room for are tried again, [`PAUSE`] apart.
const LATE_TRIES: usize = 10;

/// A worker that runs; dropping it makes it stop after what its socket holds.
#[derive(Debug)]
pub(super) struct Running {
    socket: Arc<UdpSocket>,
    stop: Arc<AtomicBool>,
    /// Whether somebody else holds the socket as well.
    is_held: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if self.is_held {
            // Shut down it would stay so for whoever serves it next (Linux's `sk_shutdown` is the socket's, not the descriptor's): the
            // worker looks up by itself before long.
            return;
        }
        // Linux says that the socket is not connected, and wakes whoever reads from it all the same; what it holds can
        // still be read.
        let _ = socket2::SockRef::from(&*self.socket).shutdown(Shutdown::Read);
    }
}

/// Serves one socket on a thread of its own until told to stop; `index` is its place among those of one address, and
/// `is_held` whether somebody else holds it as well. Must be called in a tokio runtime.
///
/// The future ends when the worker has stopped and all its late queries are answered.
///
/// # Errors
/// When the socket or the thread cannot be set up.
pub(super) fn start<R: Respond>(
    socket: UdpSocket,
    index: usize,
    is_held: bool,
    shared: &Arc<Shared<R>>,
) -> io::Result<(Running, impl Future<Output = ()> + Send + use<R>)> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(LOOK_UP))?;
    socket.set_write_timeout(Some(SEND_LIMIT))?;
    // A socket at one address has but one to reply from.
    if socket.local_addr()?.ip().is_unspecified() {
        batch::report_local(&socket)?;
    }
    batch::count_drops(&socket)?;
    let (socket, stop) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
    // Places are taken before anything is queued, so there is room for all that have one; a place that was given away may
    // be in the queue still, and then there is none.
    let (late, queue) = mpsc::channel(shared.settings.load().pending.clamp(QUEUE, Semaphore::MAX_PERMITS));
    let anew = {
        let (socket, shared) = (Arc::clone(&socket), Arc::clone(shared));
        move || {
            let worker = Worker::new(Arc::clone(&socket), Arc::clone(&shared), late.clone());
            let drops = (!is_held).then_some(0);
            Worker { drops, counts_drops: !is_held || index == 0, ..worker }
        }
    };
    let counters = Arc::clone(&shared.counters);
    let (pin, told) = (shared.settings.load().udp_pin, Arc::clone(&stop));
    let runtime = Handle::current();
    thread::Builder::new().name(format!("udp-{index}")).spawn(move || {
        // Ports that questions leave from are listened on there.
        let _context = runtime.enter();
        if pin && let Err(error) = batch::pin_to_core(index) {
            tracing::warn!(
                "udp worker {index} is not pinned to a core and runs where the system puts it: {error}"
            );
        }
        // Unwind safety: another worker takes the place of one that broke off; without one its socket would be a hole that a
        // share of all clients falls into.
        while catch_unwind(AssertUnwindSafe(|| anew().run(&told))).is_err() {
            counters.panics.fetch_add(1, Ordering::Relaxed);
            thread::sleep(PAUSE);
        }
    })?;
    let late = answer_late(Arc::clone(&socket), Arc::clone(shared), queue);
    Ok((Running { socket, stop, is_held }, late))
}

/// One socket and all that answering its datagrams takes.
pub(super) struct Worker<R: Respond> {
    socket: Arc<UdpSocket>,
    shared: Arc<Shared<R>>,
    hot: R::Hot,
    inbox: Inbox,
    outbox: Outbox,
    /// Where queries go that wait for an upstream.
    late: mpsc::Sender<Deferred<R::Pending>>,
    /// Where replies are written that take the slow way.
    slow: Vec<u8>,
    /// What the system's count of drops was, if that is known; it is the socket's since it is there, and was counted by others before if
    /// somebody else holds the socket.
    drops: Option<u32>,
    /// Whether it is for this worker to count them: of several at one socket one does.
    counts_drops: bool,
}

/// A query that is not answered at once.
pub(super) enum Deferred<P> {
    /// It waits; with its way back, and its place among all that wait.
    Waits(P, Route, Place),
    /// It was begun, and this has come of it.
    Came(LateReply),
}

/// The way back of a query that was begun.
struct WayBack<R: Respond> {
    shared: Arc<Shared<R>>,
    late: mpsc::Sender<Deferred<R::Pending>>,
    /// None once it was told what became of it.
    way: Option<(Route, Place)>,
}

impl<R: Respond> WayBack<R> {
    /// Has it wait; gives it back when there is no room.
    fn wait(mut self, pending: R::Pending) -> Option<R::Pending> {
        let (route, place) = self.way.take()?;
        match self.late.try_send(Deferred::Waits(pending, route, place)).err()?.into_inner() {
            Deferred::Waits(pending, ..) => Some(pending),
            Deferred::Came(_) => None,
        }
    }
}

impl<R: Respond> Back<R::Pending> for WayBack<R> {
    fn replied(mut self, reply: Option<Vec<u8>>) {
        let Some((route, place)) = self.way.take() else { return };
        if self.late.try_send(Deferred::Came((reply, route, place))).is_err() {
            self.shared.counters.send_errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn later(self, pending: R::Pending) {
        let shared = Arc::clone(&self.shared);
        if self.wait(pending).is_some() {
            shared.counters.dropped_overload.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<R: Respond> Drop for WayBack<R> {
    /// Whoever should have told something panicked.
    fn drop(&mut self) {
        if self.way.is_some() {
            self.shared.counters.panics.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<R: Respond> Worker<R> {
    /// A worker that has answered nothing yet.
    pub(super) fn new(
        socket: Arc<UdpSocket>,
        shared: Arc<Shared<R>>,
        late: mpsc::Sender<Deferred<R::Pending>>,
    ) -> Worker<R> {
        let hot = shared.respond.hot();
        let inbox = Inbox::new(batch::SLOTS, batch::SLOT_LEN);
        let outbox = Outbox::new(batch::SLOTS, MAX_UDP_LEN);
        let (slow, drops, counts_drops) = (Vec::new(), Some(0), true);
        Worker { socket, shared, hot, inbox, outbox, late, slow, drops, counts_drops }
    }

    /// Serves until `stop`, and then what the socket holds by then.
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            match self.inbox.receive(&self.socket, true) {
                Ok(_) => self.answer_batch(),
                Err(error) => self.receive_error(&error),
            }
        }
        for _ in 0..LAST_BATCHES {
            match self.inbox.receive(&self.socket, false) {
                Ok(_) => self.answer_batch(),
                Err(_) => break,
            }
        }
    }

    /// Answers what was received.
    fn answer_batch(&mut self) {
        self.note_drops();
        let (hot, inbox) = (&mut self.hot, &self.inbox);
        // Unwind safety: as in `Answering::answer`. A panic here would otherwise end the worker, and its socket with it.
        let begun =
            catch_unwind(AssertUnwindSafe(|| hot.begin(inbox.iter().map(|datagram| datagram.octets))));
        if begun.is_err() {
            self.shared.counters.panics.fetch_add(1, Ordering::Relaxed);
            self.hot = self.shared.respond.hot();
        }
        // A full batch has others behind it.
        let busy = inbox.len() == batch::SLOTS;
        let mut received = 0;
        for (index, datagram) in self.inbox.iter().enumerate() {
            received += 1;
            Answering {
                shared: &self.shared,
                hot: &mut self.hot,
                outbox: &mut self.outbox,
                late: &self.late,
                slow: &mut self.slow,
                busy,
            }
            .answer(index, datagram.octets, &datagram.route);
        }
        let counters = &self.shared.counters;
        counters.udp_received.fetch_add(received, Ordering::Relaxed);
        if !self.outbox.is_empty() {
            let sent = self.outbox.send(&self.socket, true);
            self.shared.count_sent(sent, self.outbox.len());
            self.outbox.clear();
        }
    }

    /// Adds what the system dropped since it was last asked.
    fn note_drops(&mut self) {
        if let Some(drops) = self.inbox.drops().filter(|_| self.counts_drops) {
            let more = drops.wrapping_sub(self.drops.replace(drops).unwrap_or(drops));
            self.shared.counters.dropped_by_system.fetch_add(more.into(), Ordering::Relaxed);
        }
    }

    /// Takes note of an error that receiving brought.
    fn receive_error(&mut self, error: &io::Error) {
        match error.kind() {
            // Nobody asked. A look at the policy lets go of one that was replaced meanwhile.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.hot.begin(std::iter::empty()),
            // What ICMP says about a reply sent earlier arrives here on some systems; it concerns one client and is over.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {}
            _ => {
                self.shared.counters.receive_errors.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        }
    }
}

/// A worker less its inbox, which lends the datagram.
pub(super) struct Answering<'w, R: Respond> {
    pub(super) shared: &'w Arc<Shared<R>>,
    pub(super) hot: &'w mut R::Hot,
    pub(super) outbox: &'w mut Outbox,
    pub(super) late: &'w mpsc::Sender<Deferred<R::Pending>>,
    pub(super) slow: &'w mut Vec<u8>,
    /// Whether more datagrams wait in the socket, as far as one can tell.
    pub(super) busy: bool,
}

impl<R: Respond> Answering<'_, R> {
    /// Answers one datagram, the `index`th of its batch, or has it wait.
    pub(super) fn answer(&mut self, index: usize, packet: &[u8], route: &Route) {
        if route.peer.port() == 0 {
            // Nobody listens there: such a source is forged.
            self.shared.counters.dropped_source.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Some(out) = self.outbox.slot() else { return };
        let hot = &mut *self.hot;
        // Unwind safety: what a panic left half done is thrown away with the hot state below.
        match catch_unwind(AssertUnwindSafe(|| hot.answer(index, packet, route.peer, out))) {
            Ok(Some(len)) => {
                self.outbox.commit(len, Some(route));
            }
            Ok(None) => self.answer_slowly(packet, route),
            Err(_) => {
                self.shared.counters.panics.fetch_add(1, Ordering::Relaxed);
                // A new one knows nothing of this batch: the rest of it goes the slow way.
                *self.hot = self.shared.respond.hot();
            }
        }
    }

    /// Answers what is not ordinary.
    fn answer_slowly(&mut self, packet: &[u8], route: &Route) {
        let client = Client { addr: route.peer, transport: Transport::Udp };
        let counters = &self.shared.counters;
        let step = match self.shared.now(packet, client, self.slow) {
            Step::Drop => Step::Drop,
            Step::Reply => Step::Reply,
            Step::Later(pending) => match self.wait(pending, packet, client, route) {
                None => return,
                Some(pending) => self.shared.answer_from_cache(&pending, self.slow),
            },
        };
        match step {
            Step::Drop | Step::Later(()) => {}
            // Telling costs as much as receiving: while others wait, they go first.
            Step::Reply if self.busy && complains(self.slow) => {
                counters.untold_busy.fetch_add(1, Ordering::Relaxed);
            }
            Step::Reply => {
                if !self.outbox.push(self.slow, Some(route)) {
                    counters.send_errors.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Puts a query to its upstream, or has it wait for that; gives it back when there is no room.
    fn wait(&self, pending: R::Pending, packet: &[u8], client: Client, route: &Route) -> Option<R::Pending> {
        let place = match self.shared.admit(client, packet) {
            Ok(place) => place,
            Err(Refused::Twice) => return None,
            Err(Refused::Crowded) => return Some(pending),
        };
        let (shared, late) = (Arc::clone(self.shared), self.late.clone());
        let back = WayBack { shared, late, way: Some((*route, place)) };
        // Unwind safety: as in `Shared::now`; the way back counts it.
        let begun = catch_unwind(AssertUnwindSafe(|| self.shared.respond.begin(pending, back)));
        let (pending, back) = begun.ok()?.err()?;
        back.wait(pending)
    }
}

/// Whether a reply does nothing but tell its receiver that the query was wrong.
fn complains(reply: &[u8]) -> bool {
    reply.get(3).is_some_and(|flags| matches!(Rcode(u16::from(flags & 0xf)), Rcode::FORMERR | Rcode::NOTIMP))
}

/// A late reply; none if there is to be none. Its place is free when it has been sent.
type LateReply = (Option<Vec<u8>>, Route, Place);

/// Answers the queries of one worker that are not answered at once, each in its own time, until the worker has stopped and all are
/// answered.
async fn answer_late<R: Respond>(
    socket: Arc<UdpSocket>,
    shared: Arc<Shared<R>>,
    mut queue: mpsc::Receiver<Deferred<R::Pending>>,
) {
    let mut waiting: JoinSet<LateReply> = JoinSet::new();
    let mut outbox = Outbox::new(batch::SLOTS, MAX_UDP_LEN);
    // Each reply holds its place until it has gone.
    let mut places = Vec::new();
    let mut running = true;
    while running || !waiting.is_empty() {
        tokio::select! {
            late = queue.recv(), if running => match late {
                Some(late) => {
                    // Who else has something to say just now says it first.
                    yield_now().await;
                    let (now, mut next) = (Instant::now(), Some(late));
                    while let Some(late) = next {
                        match late {
                            Deferred::Came(reply) => places.push(put(reply, now, (&shared, &mut outbox))),
                            Deferred::Waits(pending, route, mut place) => {
                                let shared = Arc::clone(&shared);
                                waiting.spawn(async move {
                                    let mut out = Vec::new();
                                    let replied = shared.later(&pending, &mut place, &mut out).await;
                                    (replied.then_some(out), route, place)
                                });
                            }
                        }
                        next = if outbox.len() < batch::SLOTS { queue.try_recv().ok() } else { None };
                    }
                }
                None => running = false,
            },
            Some(ended) = waiting.join_next(), if !waiting.is_empty() => {
                let (now, mut next) = (Instant::now(), Some(ended));
                while let Some(ended) = next {
                    match ended {
                        Ok(reply) => places.push(put(reply, now, (&shared, &mut outbox))),
                        Err(_) => {
                            shared.counters.panics.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    next = if outbox.len() < batch::SLOTS { waiting.try_join_next() } else { None };
                }
            }
        }
        // Those that are ready together go together.
        if !outbox.is_empty() {
            send_late(&socket, &shared, &mut outbox).await;
        }
        places.clear();
    }
}

/// Puts a late reply among those that go next, unless it is too late; gives its place.
fn put<R>(
    (reply, route, place): LateReply,
    now: Instant,
    (shared, outbox): (&Shared<R>, &mut Outbox),
) -> Place {
    let Some(reply) = reply else { return place };
    if place.is_too_late(now) {
        shared.counters.dropped_late.fetch_add(1, Ordering::Relaxed);
    } else if !outbox.push(&reply, Some(&route)) {
        shared.counters.send_errors.fetch_add(1, Ordering::Relaxed);
    }
    place
}

/// Sends late replies; those that cannot be sent are counted and gone, as any datagram may be.
async fn send_late<R: Respond>(socket: &UdpSocket, shared: &Shared<R>, outbox: &mut Outbox) {
    for _ in 0..LATE_TRIES {
        let sent = outbox.send(socket, false);
        shared.count_sent(sent, 0);
        if outbox.is_empty() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    shared.count_sent(Sent::default(), outbox.len());
    outbox.clear();
}

impl<R> Shared<R> {
    /// Counts what became of replies; `left` were given up.
    fn count_sent(&self, sent: Sent, left: usize) {
        self.counters.udp_sent.fetch_add(sent.sent as u64, Ordering::Relaxed);
        let failed = sent.failed + left;
        if failed > 0 {
            self.counters.send_errors.fetch_add(failed as u64, Ordering::Relaxed);
        }
    }
}
