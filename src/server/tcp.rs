//! Queries by stream: pipelined, and answered as answers come (RFC 7766).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Shared;
use crate::access::client_of;
use crate::dns::Transport;
use crate::resolver::{Client, Respond, Step};

/// Octets read at once: a few dozen pipelined queries.
const READ_LEN: usize = 4096;
/// The pause after an error of accepting: it mostly means that file descriptors ran out, and those take time to come back.
const PAUSE: Duration = Duration::from_millis(50);

/// A reply on its way out, with its place among the connection's queries under way.
type Outgoing = (Vec<u8>, OwnedSemaphorePermit);

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
            Ok((stream, from)) => match shared.connections.admit(from.ip()) {
                Some(place) => {
                    count(&shared.counters.tcp_accepted);
                    open.spawn(connection(stream, from, place, Arc::clone(&shared), stop.clone()));
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
    _place: Place,
    shared: Arc<Shared<R>>,
    stop: watch::Receiver<bool>,
) {
    // A reply is one write and must not wait for the client's acknowledgement of the last.
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    // As many places as queries under way: a reply in the queue holds its query's place until it is written.
    let (outgoing, queue) = mpsc::channel(shared.settings.tcp_pipelined.max(1));
    let mut writer = JoinSet::new();
    writer.spawn(write_all(write, queue, Arc::clone(&shared)));
    let client = Client { addr: from, transport: Transport::Tcp };
    let mut reader = Reader { stream: read, buffer: Vec::with_capacity(READ_LEN), partial_since: None };
    let mut waiting = JoinSet::new();
    answer_all(&mut reader, client, &shared, stop, &outgoing, &mut waiting).await;
    // RFC 1035 §4.2.2: what was asked is answered before the connection closes; the writer ends with the last sender.
    // Only a client that is gone gets nothing (RFC 7766 §6.2.4), and one that merely asks no more is not gone.
    drop(outgoing);
    while waiting.join_next().await.is_some() {}
    while writer.join_next().await.is_some() {}
}

/// Reads queries and has them answered, until there is a reason to read no more.
async fn answer_all<R: Respond>(
    reader: &mut Reader,
    client: Client,
    shared: &Arc<Shared<R>>,
    mut stop: watch::Receiver<bool>,
    outgoing: &mpsc::Sender<Outgoing>,
    waiting: &mut JoinSet<()>,
) {
    let pipelined = shared.settings.tcp_pipelined.clamp(1, Semaphore::MAX_PERMITS);
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
            // The writer gave up.
            () = outgoing.closed() => return,
            next = next => next,
        };
        let Some((message, place)) = next else { return };
        count(&shared.counters.tcp_received);
        shared.reap(waiting);
        let mut out = Vec::new();
        match shared.now(&message, client, &mut out) {
            Step::Silence => {}
            Step::Reply => pass_on(outgoing, &out, place).await,
            Step::Later(pending) => {
                let (shared, outgoing) = (Arc::clone(shared), outgoing.clone());
                waiting.spawn(async move {
                    if shared.respond.later(pending, &mut out).await {
                        pass_on(&outgoing, &out, place).await;
                    }
                });
            }
        }
    }
}

/// Frames a reply and queues it. There is room: the queue has as many places as queries are under way.
async fn pass_on(outgoing: &mpsc::Sender<Outgoing>, reply: &[u8], place: OwnedSemaphorePermit) {
    // RFC 1035 §4.2.2: the length in two octets; a reply is never longer than they can say.
    let Ok(length) = u16::try_from(reply.len()) else { return };
    let mut framed = Vec::with_capacity(2 + reply.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(reply);
    // An error means that the writer gave up.
    let _ = outgoing.send((framed, place)).await;
}

/// Writes replies as they come, each in one piece with its length (RFC 7766 §8).
async fn write_all<R: Respond>(
    mut stream: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared<R>>,
) {
    while let Some((framed, place)) = queue.recv().await {
        match timeout(shared.settings.tcp_write, stream.write_all(&framed)).await {
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
        drop(place);
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
                Some(since) => since + shared.settings.tcp_message,
                None => idle_since + shared.settings.tcp_idle,
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
        // Octets of the next message, if any, came just now.
        self.partial_since = (!self.buffer.is_empty()).then(Instant::now);
        Some(message)
    }
}

/// Who is connected, within bounds.
#[derive(Debug)]
pub(super) struct Connections {
    limit: usize,
    limit_per_client: usize,
    open: Arc<Mutex<Open>>,
}

/// How many connections there are.
#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A connection's place, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Mutex<Open>>,
    client: IpAddr,
}

impl Connections {
    /// Room for `limit` connections, `limit_per_client` of them from one client.
    pub(super) fn new(limit: usize, limit_per_client: usize) -> Connections {
        Connections { limit, limit_per_client, open: Arc::default() }
    }

    /// A place for a connection from `ip`, if there is one.
    fn admit(&self, ip: IpAddr) -> Option<Place> {
        let client = client_of(ip);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = open.by_client.get(&client).copied().unwrap_or(0);
        if open.all >= self.limit || theirs >= self.limit_per_client {
            return None;
        }
        open.all += 1;
        open.by_client.insert(client, theirs + 1);
        Some(Place { open: Arc::clone(&self.open), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(theirs) = open.by_client.get_mut(&self.client) {
            *theirs -= 1;
            if *theirs == 0 {
                open.by_client.remove(&self.client);
            }
        }
    }
}

/// Adds one.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
