//! Queries by stream: pipelined, and answered as answers come (RFC 7766).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Shared;
use crate::access::client_of;
use crate::dns::Transport;
use crate::serve::{Client, Respond, Step};

/// Octets read at once: a few dozen pipelined queries.
const READ_LEN: usize = 4096;
/// The pause after an error of accepting: it mostly means that file descriptors ran out, and those take time to come back.
const PAUSE: Duration = Duration::from_millis(50);

/// The shortest idle time, however few places are left: a query that follows at once still finds its connection.
const MIN_IDLE: Duration = Duration::from_millis(200);
/// Octets of replies that wait on one connection for their reader before it is read from no more: two of the longest.
const MAX_UNREAD: usize = 2 << 16;

/// A reply on its way out, with its query, which so long is under way, and its part of what may wait to be read.
type Outgoing = (Vec<u8>, UnderWay, OwnedSemaphorePermit);

/// Accepts connections until told to stop, and then waits for those it has.
pub(super) async fn serve<R: Respond>(
    listener: TcpListener,
    shared: Arc<Shared<R>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that the server is gone, which is a stop too.
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        shared.reap(&mut open);
        match accepted {
            // Who is not served would hold a place for nothing: no answer of theirs needs one.
            Ok((_, from)) if !shared.respond.serves(from.ip()) => count(&shared.counters.tcp_denied),
            Ok((stream, from)) => match shared.connections.admit(from.ip()) {
                Some((place, closed, evicted)) => {
                    count(&shared.counters.tcp_accepted);
                    if evicted {
                        count(&shared.counters.tcp_evicted);
                    }
                    let ends = (stop.clone(), closed);
                    open.spawn(connection(stream, from, place, Arc::clone(&shared), ends));
                }
                None => count(&shared.counters.tcp_refused),
            },
            Err(error) if is_of_one_client(&error) => {}
            Err(_) => {
                count(&shared.counters.receive_errors);
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// Whether accepting failed because the client was gone already.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// Serves one connection: reads and answers here, while a task of its own writes.
async fn connection<R: Respond>(
    stream: TcpStream,
    from: SocketAddr,
    place: Place,
    shared: Arc<Shared<R>>,
    ends: Ends,
) {
    // A reply is one write and must not wait for the client's acknowledgement of the last.
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    // As many places as queries under way: a reply in the queue holds its query's place until it is written.
    let (outgoing, queue) = mpsc::channel(shared.settings.load().tcp_pipelined.max(1));
    let mut writer = JoinSet::new();
    writer.spawn(write_all(write, queue, Arc::clone(&shared)));
    let outgoing = Replies { queue: outgoing, unread: Arc::new(Semaphore::new(MAX_UNREAD)) };
    let client = Client { addr: from, transport: Transport::Tcp };
    let mut reader = Reader { stream: read, buffer: Vec::with_capacity(READ_LEN), partial_since: None };
    let mut waiting = JoinSet::new();
    answer_all(&mut reader, (client, &place), &shared, ends, &outgoing, &mut waiting).await;
    // RFC 1035 §4.2.2: what was asked is answered before the connection closes; the writer ends with the last sender.
    // Only a client that is gone gets nothing (RFC 7766 §6.2.4), and one that merely asks no more is not gone.
    drop(outgoing);
    while waiting.join_next().await.is_some() {}
    while writer.join_next().await.is_some() {}
}

/// Reads queries and has them answered, until there is a reason to read no more.
async fn answer_all<R: Respond>(
    reader: &mut Reader,
    (client, connection): (Client, &Place),
    shared: &Arc<Shared<R>>,
    (mut stop, mut closed): Ends,
    outgoing: &Replies,
    waiting: &mut JoinSet<()>,
) {
    let pipelined = shared.settings.load().tcp_pipelined.clamp(1, Semaphore::MAX_PERMITS);
    let under_way = Arc::new(Semaphore::new(pipelined));
    loop {
        let next = async {
            // The place first, the query then: without a place nothing is read, and the client's window fills.
            let place = Arc::clone(&under_way).acquire_owned().await.ok()?;
            // This query's place is taken already, which is why idle means all but one are free.
            let is_idle = || under_way.available_permits() + 1 == pipelined;
            Some((reader.message(shared, is_idle).await?, place))
        };
        let next = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            // Another needs its place. It has nothing under way, or had not when that was decided.
            _ = &mut closed => return,
            // The writer gave up.
            () = outgoing.queue.closed() => return,
            next = next => next,
        };
        let Some((message, place)) = next else { return };
        let under_way = connection.begin(place);
        count(&shared.counters.tcp_received);
        shared.reap(waiting);
        let mut out = Vec::new();
        match shared.now(&message, client, &mut out) {
            Step::Silence => {}
            Step::Reply => outgoing.pass_on(&out, under_way).await,
            Step::Later(pending) => match shared.admit(client, &message) {
                Ok(mut wait) => {
                    let (shared, outgoing) = (Arc::clone(shared), outgoing.clone());
                    waiting.spawn(async move {
                        if shared.later(&pending, &mut wait, &mut out).await {
                            outgoing.pass_on(&out, under_way).await;
                        }
                    });
                }
                Err(_) => {
                    if matches!(shared.without_upstream(&pending, &mut out), Step::Reply) {
                        outgoing.pass_on(&out, under_way).await;
                    }
                }
            },
        }
    }
}

/// What ends a connection that is well: the server's end, and another that needs its place.
type Ends = (watch::Receiver<bool>, oneshot::Receiver<()>);

/// The way of replies to the task that writes them.
#[derive(Clone)]
struct Replies {
    queue: mpsc::Sender<Outgoing>,
    /// A permit for each octet that may wait to be read.
    unread: Arc<Semaphore>,
}

impl Replies {
    /// Frames a reply and queues it once its reader has taken enough of those before: a client that asks and does not read
    /// would else have 64 KB kept for each of its queries. The queue has as many places as queries are under way.
    async fn pass_on(&self, reply: &[u8], under_way: UnderWay) {
        // RFC 1035 §4.2.2: the length in two octets; a reply is never longer than they can say.
        let Ok(length) = u16::try_from(reply.len()) else { return };
        let Ok(part) = Arc::clone(&self.unread).acquire_many_owned(length.into()).await else { return };
        let mut framed = Vec::with_capacity(2 + reply.len());
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(reply);
        // An error means that the writer gave up.
        let _ = self.queue.send((framed, under_way, part)).await;
    }
}

/// Writes replies as they come, each in one piece with its length (RFC 7766 §8).
async fn write_all<R: Respond>(
    mut stream: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared<R>>,
) {
    while let Some((framed, under_way, part)) = queue.recv().await {
        match timeout(shared.settings.load().tcp_write, stream.write_all(&framed)).await {
            Ok(Ok(())) => count(&shared.counters.tcp_sent),
            Ok(Err(_)) => {
                count(&shared.counters.send_errors);
                return;
            }
            Err(_) => {
                count(&shared.counters.tcp_slow_closed);
                return;
            }
        }
        drop((under_way, part));
    }
    let _ = stream.shutdown().await;
}

/// Cuts what a client sends into messages.
struct Reader {
    stream: OwnedReadHalf,
    /// Octets read and not yet a whole message; at most one message and one read.
    buffer: Vec<u8>,
    /// When the first octet of the message in the buffer was there, if one is.
    partial_since: Option<Instant>,
}

impl Reader {
    /// The next message; none when the connection is to be closed. Nothing is lost when it is given up and called again.
    async fn message<R: Respond>(
        &mut self,
        shared: &Shared<R>,
        is_idle: impl Fn() -> bool,
    ) -> Option<Vec<u8>> {
        let mut idle_since = Instant::now();
        loop {
            match self.take_message() {
                // A message of no octets has no header to answer with.
                Some(message) if message.is_empty() => {
                    count(&shared.counters.tcp_bad_closed);
                    return None;
                }
                Some(message) => return Some(message),
                None => {}
            }
            let deadline = match self.partial_since {
                Some(since) => since + shared.settings.load().tcp_message,
                None => idle_since + shared.connections.idle_time(shared.settings.load().tcp_idle),
            };
            match self.read_until(deadline).await {
                Some(Ok(0) | Err(_)) => return None,
                Some(Ok(_)) => {}
                None if self.partial_since.is_some() => {
                    count(&shared.counters.tcp_bad_closed);
                    return None;
                }
                None if is_idle() => {
                    count(&shared.counters.tcp_idle_closed);
                    return None;
                }
                // RFC 7766 §3: a connection with queries under way is not idle.
                None => idle_since = Instant::now(),
            }
        }
    }

    /// Reads what there is; none when the deadline passed.
    async fn read_until(&mut self, deadline: Instant) -> Option<io::Result<usize>> {
        self.buffer.reserve(READ_LEN);
        let mut limited = (&mut self.stream).take(READ_LEN as u64);
        let read = timeout_at(deadline, limited.read_buf(&mut self.buffer)).await.ok()?;
        if self.partial_since.is_none() && !self.buffer.is_empty() {
            self.partial_since = Some(Instant::now());
        }
        Some(read)
    }

    /// Cuts the next whole message off the buffer.
    fn take_message(&mut self) -> Option<Vec<u8>> {
        let (length, rest) = self.buffer.split_first_chunk::<2>()?;
        let message = rest.get(..usize::from(u16::from_be_bytes(*length)))?.to_vec();
        self.buffer.drain(..2 + message.len());
        // A long message is no reason to keep its room for as long as the connection lasts.
        if self.buffer.len() <= READ_LEN && self.buffer.capacity() > 2 * READ_LEN {
            self.buffer.shrink_to(READ_LEN);
        }
        // Octets of the next message, if any, came just now.
        self.partial_since = (!self.buffer.is_empty()).then(Instant::now);
        Some(message)
    }
}

/// Who is connected, within bounds. Connections with nothing under way are kept by how long that is so: whoever comes when
/// all places are taken has the place of the one that is idle longest.
#[derive(Debug)]
pub(super) struct Connections {
    open: Arc<Mutex<Open>>,
}

/// All connections.
#[derive(Debug, Default)]
struct Open {
    /// How many there may be.
    limit: usize,
    /// How many of one client.
    limit_per_client: usize,
    connections: HashMap<Id, Connection>,
    clients: HashMap<IpAddr, Theirs>,
    /// Those with nothing under way, the longest so first.
    idle: BTreeMap<Turn, Id>,
    /// The next connection's.
    next_id: Id,
    /// The turn of whichever falls idle next.
    next_turn: Turn,
}

/// Names a connection; no two have the same.
type Id = u64;
/// Grows with every connection that falls idle.
type Turn = u64;

/// One client's connections.
#[derive(Debug, Default)]
struct Theirs {
    count: usize,
    /// Those with nothing under way, the longest so first.
    idle: BTreeMap<Turn, Id>,
}

/// One connection.
#[derive(Debug)]
struct Connection {
    client: IpAddr,
    /// Queries that are not answered yet.
    under_way: usize,
    /// Its place among the idle, if it is.
    turn: Option<Turn>,
    /// Told when its place was given to another.
    close: oneshot::Sender<()>,
}

/// A connection's place, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Mutex<Open>>,
    id: Id,
}

/// What came of asking for a place: whether another connection had to go for it, and what tells when this one has to.
pub(super) type Admitted = (Place, oneshot::Receiver<()>, bool);

/// A query under way on a connection, which so long is not idle.
struct UnderWay {
    open: Arc<Mutex<Open>>,
    id: Id,
    /// Its place among those of the connection.
    _place: OwnedSemaphorePermit,
}

impl Connections {
    /// Room for `limit` connections, `limit_per_client` of them from one client.
    pub(super) fn new((limit, limit_per_client): (usize, usize)) -> Connections {
        let open = Open { limit, limit_per_client, ..Open::default() };
        Connections { open: Arc::new(Mutex::new(open)) }
    }

    /// Sets other bounds, as in [`Connections::new`], for whoever comes from now on.
    pub(super) fn bound(&self, (limit, limit_per_client): (usize, usize)) {
        let mut open = lock(&self.open);
        (open.limit, open.limit_per_client) = (limit, limit_per_client);
    }

    /// A place for a connection from `ip`, if there is one or one can be made: of the client's own if it has all it may have,
    /// of anybody's if all are taken.
    pub(super) fn admit(&self, ip: IpAddr) -> Option<Admitted> {
        let client = client_of(ip);
        let mut open = lock(&self.open);
        let theirs = open.clients.get(&client);
        let idlest = match theirs {
            Some(theirs) if theirs.count >= open.limit_per_client => Some(&theirs.idle),
            _ if open.connections.len() >= open.limit => Some(&open.idle),
            _ => None,
        };
        let gone = match idlest {
            Some(idle) => Some(*idle.first_key_value()?.1),
            None => None,
        };
        if let Some(connection) = gone.and_then(|gone| open.remove(gone)) {
            // It may have ended at this moment.
            let _ = connection.close.send(());
        }
        let (close, closed) = oneshot::channel();
        let id = open.add(client, close);
        Some((Place { open: Arc::clone(&self.open), id }, closed, gone.is_some()))
    }

    /// How long a connection that falls idle now may be so: `full` while half of the places are free, then the less the
    /// fewer are. RFC 7766 §6.2.3: "Servers MAY use zero timeouts when they are experiencing heavy load or are under attack."
    pub(super) fn idle_time(&self, full: Duration) -> Duration {
        let (taken, limit) = {
            let open = lock(&self.open);
            (open.connections.len(), open.limit)
        };
        let share = (2.0 * limit.saturating_sub(taken) as f64 / limit.max(1) as f64).min(1.0);
        full.mul_f64(share).max(MIN_IDLE.min(full))
    }
}

impl Place {
    /// Notes a query that came.
    fn begin(&self, place: OwnedSemaphorePermit) -> UnderWay {
        lock(&self.open).begin(self.id);
        UnderWay { open: Arc::clone(&self.open), id: self.id, _place: place }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.open).end(self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.open).remove(self.id);
    }
}

impl Open {
    /// Notes a connection, which is idle until its first query is there.
    fn add(&mut self, client: IpAddr, close: oneshot::Sender<()>) -> Id {
        let id = self.next_id;
        self.next_id += 1;
        self.clients.entry(client).or_default().count += 1;
        self.connections.insert(id, Connection { client, under_way: 0, turn: None, close });
        self.rest(id);
        id
    }

    /// Forgets a connection, if it is there.
    fn remove(&mut self, id: Id) -> Option<Connection> {
        self.wake(id);
        let connection = self.connections.remove(&id)?;
        if let Some(theirs) = self.clients.get_mut(&connection.client) {
            theirs.count -= 1;
            if theirs.count == 0 {
                self.clients.remove(&connection.client);
            }
        }
        Some(connection)
    }

    /// One more query is under way.
    fn begin(&mut self, id: Id) {
        self.wake(id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.under_way += 1;
        }
    }

    /// One query is answered.
    fn end(&mut self, id: Id) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.under_way -= 1;
            if connection.under_way == 0 {
                self.rest(id);
            }
        }
    }

    /// A connection has nothing under way from now on.
    fn rest(&mut self, id: Id) {
        let turn = self.next_turn;
        self.next_turn += 1;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.turn = Some(turn);
        self.idle.insert(turn, id);
        if let Some(theirs) = self.clients.get_mut(&connection.client) {
            theirs.idle.insert(turn, id);
        }
    }

    /// A connection is not idle, if it was.
    fn wake(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(turn) = connection.turn.take() else { return };
        self.idle.remove(&turn);
        if let Some(theirs) = self.clients.get_mut(&connection.client) {
            theirs.idle.remove(&turn);
        }
    }
}

/// The connections; whoever panicked with them left them whole.
fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds one.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
