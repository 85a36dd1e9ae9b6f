//! Queries by stream: pipelined, and answered as answers come (RFC 7766). What carries the octets is somebody else's concern.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::Shared;
use super::connections::{Place, UnderWay};
use super::counters::count;
use crate::serve::{Client, Respond, Step};

/// Octets read at once: a few dozen pipelined queries.
const READ_LEN: usize = 4096;
/// Octets of replies that wait on one connection for their reader before it is read from no more: two of the longest.
const MAX_UNREAD: usize = 2 << 16;

/// A reply on its way out, with its query, which so long is under way, and its part of what may wait to be read.
type Outgoing = (Vec<u8>, UnderWay, OwnedSemaphorePermit);

/// Serves one client over a stream of octets, whatever carries them, by its two halves: reads and answers here, while a task of its
/// own writes.
pub(super) async fn serve<R: Respond>(
    (read, write): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin + Send + 'static),
    client: Client,
    place: Place,
    shared: Arc<Shared<R>>,
    ends: Ends,
) {
    // As many places as queries under way: a reply in the queue holds its query's place until it is written.
    let (outgoing, queue) = mpsc::channel(shared.settings.load().tcp_pipelined.max(1));
    let mut writer = JoinSet::new();
    writer.spawn(write_all(write, queue, Arc::clone(&shared)));
    let outgoing = Replies { queue: outgoing, unread: Arc::new(Semaphore::new(MAX_UNREAD)) };
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
async fn answer_all<R: Respond, S: AsyncRead + Unpin>(
    reader: &mut Reader<S>,
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
            Step::Drop => {}
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
                    if matches!(shared.answer_from_cache(&pending, &mut out), Step::Reply) {
                        outgoing.pass_on(&out, under_way).await;
                    }
                }
            },
        }
    }
}

/// What ends a connection that is well: the server's end, and another that needs its place.
pub(super) type Ends = (watch::Receiver<bool>, oneshot::Receiver<()>);

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
    mut stream: impl AsyncWrite + Unpin,
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
struct Reader<S> {
    stream: S,
    /// Octets read and not yet a whole message; at most one message and one read.
    buffer: Vec<u8>,
    /// When the first octet of the message in the buffer was there, if one is.
    partial_since: Option<Instant>,
}

impl<S: AsyncRead + Unpin> Reader<S> {
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
