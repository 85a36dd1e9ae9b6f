//! Many questions on one stream of octets: replies come in whatever order, each to whoever asked.
//!
//! What carries the octets is not looked at: TCP, or TLS over it, or a pipe in a test. One task owns the stream; it ends with
//! the stream, with [`Connection`], or when nobody has asked for a while.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::channel::{Channel, Opens};
use super::failure::Failure;
use super::frame::{Incoming, Outgoing};
use super::message::{Heard, Query};

/// Questions on one stream that wait for a reply, those among them that were given up: the server may still reply to them, so
/// no other question may have their ID.
pub(super) const MAX_WAITING: usize = 1024;
/// A stream that nobody uses is closed after this long. RFC 7766 §6.2.3 has servers close theirs after "a few seconds", so
/// one that is older would mostly be found closed.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// Opens streams to one server: TCP does, and so may whatever else carries octets.
pub(super) trait Connect: Send + Sync + 'static {
    /// What carries the octets.
    type Stream: AsyncRead + AsyncWrite + Send + 'static;

    /// Whether queries on it are padded: where all else is encrypted, their lengths are what others see (RFC 8467).
    const PADDED: bool = false;

    /// Opens one. Bounded in time by whoever waits.
    fn connect(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Opens one and has the server prove itself on it. Where it has several addresses, one at which that fails is no better than one that
    /// cannot be connected to.
    fn connect_proven<P: Prove<Self::Stream>>(
        &self,
        prove: P,
    ) -> impl Future<Output = io::Result<P::Proven>> + Send {
        async move { prove.prove(self.connect().await?).await }
    }

    /// The way to the server may be another one by now: what keeps it from being looked for is over.
    fn renew(&self) {}
}

/// What has a server prove itself on a stream that was opened to it.
pub(super) trait Prove<S>: Clone + Send + Sync + 'static {
    /// What is spoken on from then on.
    type Proven: Send + 'static;

    /// Says what came of it.
    fn prove(self, stream: S) -> impl Future<Output = io::Result<Self::Proven>> + Send;
}

/// An open stream to ask on.
#[derive(Debug)]
pub(super) struct Connection {
    questions: mpsc::Sender<Asked>,
}

/// A question on its way to the stream.
#[derive(Debug)]
struct Asked {
    query: Query,
    reply: oneshot::Sender<Result<Vec<u8>, Failure>>,
}

/// What a stream's task keeps.
#[derive(Debug, Default)]
struct Waiting {
    /// Who waits, by the ID that went out.
    by_id: HashMap<[u8; 2], Asked>,
}

impl Connection {
    /// Asks on this stream from now on. Must be called in a tokio runtime.
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Connection {
        let (questions, asked) = mpsc::channel(MAX_WAITING);
        tokio::spawn(drive(stream, asked));
        Connection { questions }
    }
}

impl<C: Connect> Opens for C {
    type Channel = Connection;

    const PADDED: bool = <C as Connect>::PADDED;

    async fn open(&self) -> Result<Connection, Failure> {
        Ok(Connection::new(self.connect().await?))
    }

    fn renew(&self) {
        Connect::renew(self);
    }
}

impl Channel for Connection {
    fn is_closed(&self) -> bool {
        self.questions.is_closed()
    }

    async fn ask(&self, query: Query) -> Result<Vec<u8>, Failure> {
        let (sender, reply) = oneshot::channel();
        self.questions.try_send(Asked { query, reply: sender }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Failure::Busy,
            mpsc::error::TrySendError::Closed(_) => Failure::Closed,
        })?;
        // Without a word the task has ended: the server closed the stream, or nobody used it.
        reply.await.unwrap_or(Err(Failure::Closed))
    }
}

/// Asks and hears until the stream ends; then all who wait are told.
async fn drive(stream: impl AsyncRead + AsyncWrite, mut questions: mpsc::Receiver<Asked>) {
    let mut waiting = Waiting::default();
    let ended = exchange(stream, &mut questions, &mut waiting).await;
    // From here on whoever asks hears at once that it is closed.
    questions.close();
    let failure = ended.map_or_else(Failure::from, |()| Failure::Closed);
    let queued = std::iter::from_fn(|| questions.try_recv().ok());
    for asked in waiting.by_id.into_values().chain(queued) {
        // Whoever gave up does not listen.
        let _ = asked.reply.send(Err(failure.clone()));
    }
}

/// Asks and hears until the stream ends, nobody can ask any more, or nobody has for a while.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite,
    questions: &mut mpsc::Receiver<Asked>,
    waiting: &mut Waiting,
) -> io::Result<()> {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let (mut incoming, mut outgoing) = (Incoming::default(), Outgoing::default());
    let mut broken = None;
    let mut used = Instant::now();
    let mut idle = pin!(sleep_until(used + IDLE));
    loop {
        tokio::select! {
            asked = questions.recv(), if broken.is_none() && outgoing.has_room() && waiting.has_room() => {
                let Some(asked) = asked else { break };
                waiting.enter(asked, &mut outgoing);
                // What else is there goes out in the same write.
                while outgoing.has_room() && waiting.has_room() && let Ok(asked) = questions.try_recv() {
                    waiting.enter(asked, &mut outgoing);
                }
                used = Instant::now();
            }
            written = outgoing.write(&mut writing), if broken.is_none() && !outgoing.is_empty() => {
                // What the server said before it closed the stream may be there all the same, and is read to its end.
                broken = written.err();
                if broken.is_some() {
                    questions.close();
                }
            }
            message = incoming.next(&mut reading) => {
                let Some(message) = message? else { break };
                waiting.deliver(message);
                used = Instant::now();
            }
            () = &mut idle => {
                if used.elapsed() >= IDLE {
                    waiting.forget();
                    if waiting.by_id.is_empty() {
                        break;
                    }
                    used = Instant::now();
                }
                // Set where it fires: to move it with every message would cost each of them.
                idle.as_mut().reset(used + IDLE);
            }
        }
    }
    // RFC 8446 §6.1: whoever closes a TLS stream says so before. What the system does not take at once is not waited for.
    let _ = timeout(Duration::ZERO, writing.shutdown()).await;
    broken.map_or(Ok(()), Err)
}

impl Waiting {
    /// Whether another may wait; where there is no room, those who gave up make it.
    fn has_room(&mut self) -> bool {
        if self.by_id.len() >= MAX_WAITING {
            self.forget();
        }
        self.by_id.len() < MAX_WAITING
    }

    /// Forgets those who gave up.
    fn forget(&mut self) {
        self.by_id.retain(|_, asked| !asked.reply.is_closed());
    }

    /// Sends a question, unless whoever asked it has given up. There must be room.
    fn enter(&mut self, mut asked: Asked, outgoing: &mut Outgoing) {
        if asked.reply.is_closed() {
            return;
        }
        // RFC 7766 §6.2.1: no ID is used again while a query with it is in flight on the connection. There are 64 IDs for each
        // that is taken, so this ends soon.
        while self.by_id.contains_key(&asked.query.id()) {
            asked.query.draw_id();
        }
        // A query is far shorter than a length can say.
        outgoing.push(asked.query.octets());
        asked.query.goes_out();
        self.by_id.insert(asked.query.id(), asked);
    }

    /// Hands a message to whoever waits for it. What nobody waits for, and what is no reply, is left aside.
    fn deliver(&mut self, message: Vec<u8>) {
        // RFC 7766 §6.2.1.1: replies may come in any order and are told apart by their IDs; a question that comes with one
        // must be the one that was asked.
        let Some(id) = message.first_chunk::<2>() else { return };
        let Entry::Occupied(place) = self.by_id.entry(*id) else { return };
        if place.get().query.hears(&message) == Heard::Query {
            return;
        }
        let asked = place.remove();
        let _ = asked.reply.send(asked.query.take(message));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::*;
    use crate::dns::Question;
    use crate::iana::{Class, Rtype};
    use crate::upstream::message::Manner;

    /// The query for a name's address.
    fn query(name: &str) -> Query {
        let question = Question {
            qname: name.parse().unwrap(),
            qtype: Rtype::A,
            qclass: Class::IN,
            dnssec_ok: false,
            checking_disabled: false,
            asked_for: None,
        };
        Query::new(&question, Manner::PLAIN)
    }

    /// A connection and the server's end of it.
    fn connection() -> (Connection, DuplexStream) {
        let (ours, theirs) = duplex(1 << 16);
        (Connection::new(ours), theirs)
    }

    /// The next message on the server's end.
    async fn heard(stream: &mut DuplexStream) -> Vec<u8> {
        let length = stream.read_u16().await.unwrap();
        let mut message = vec![0; usize::from(length)];
        stream.read_exact(&mut message).await.unwrap();
        message
    }

    /// Sends a message from the server's end, as a response.
    async fn say(stream: &mut DuplexStream, mut message: Vec<u8>) {
        message[2] |= 0x80;
        stream.write_u16(message.len() as u16).await.unwrap();
        stream.write_all(&message).await.unwrap();
    }

    #[tokio::test]
    async fn replies_come_in_any_order() {
        let (connection, mut theirs) = connection();
        let names: Vec<String> = (0..8).map(|n| format!("n{n}")).collect();
        let server = async {
            let mut asked = Vec::new();
            for _ in 0..8 {
                asked.push(heard(&mut theirs).await);
            }
            while let Some(message) = asked.pop() {
                say(&mut theirs, message).await;
            }
        };
        let one = async |name: &str| connection.ask(query(name)).await.unwrap()[13..15].to_vec();
        let (a, b, c, d, e, f, g, h, ()) = tokio::join!(
            one(&names[0]),
            one(&names[1]),
            one(&names[2]),
            one(&names[3]),
            one(&names[4]),
            one(&names[5]),
            one(&names[6]),
            one(&names[7]),
            server
        );
        let come: Vec<Vec<u8>> = vec![a, b, c, d, e, f, g, h];
        assert_eq!(come, names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn ids_are_unique_and_rooms_are_bounded() {
        let (mut waiting, mut outgoing) = (Waiting::default(), Outgoing::default());
        let mut receivers = Vec::new();
        let mut enter = |waiting: &mut Waiting, query: Query| {
            let (reply, receiver) = oneshot::channel();
            waiting.enter(Asked { query, reply }, &mut outgoing);
            receivers.push(receiver);
        };
        let mut first = Some(query("x"));
        let taken = first.as_ref().map(Query::id);
        while waiting.has_room() {
            enter(&mut waiting, first.take().unwrap_or_else(|| query("x")));
        }
        assert_eq!(waiting.by_id.len(), MAX_WAITING);
        assert!(waiting.by_id.iter().all(|(id, asked)| *id == asked.query.id()));
        assert!(taken.is_some_and(|id| waiting.by_id.contains_key(&id)));
        // Whoever gives up makes room once there is none.
        receivers.truncate(1000);
        assert!(waiting.has_room());
        assert_eq!(waiting.by_id.len(), 1000);
    }

    #[tokio::test]
    async fn what_is_no_reply_is_left_aside_and_what_is_another_is_not() {
        let (connection, mut theirs) = connection();
        let server = async {
            let asked = heard(&mut theirs).await;
            let mut stranger = asked.clone();
            stranger[0] ^= 1;
            say(&mut theirs, stranger).await;
            theirs.write_all(&[0, 0, 0, 1, 7]).await.unwrap();
            say(&mut theirs, asked).await;
            type Edit = fn(&mut Vec<u8>);
            let edits: [Edit; 3] = [|other| other[13] = b'y', |many| many[4] = 0xff, |cut| cut.truncate(11)];
            for edit in edits {
                let mut other = heard(&mut theirs).await;
                edit(&mut other);
                say(&mut theirs, other).await;
            }
        };
        let all = async {
            assert!(connection.ask(query("x")).await.is_ok());
            for _ in 0..3 {
                assert_eq!(connection.ask(query("x")).await, Err(Failure::WrongReply));
            }
        };
        tokio::join!(all, server);
    }

    #[tokio::test]
    async fn what_was_said_before_a_stream_ends_is_heard() {
        // Which of both is tried first, to write or to read, is a matter of chance.
        for _ in 0..64 {
            let (connection, mut server) = connection();
            let connection = Arc::new(connection);
            let ask = |name| {
                let connection = Arc::clone(&connection);
                tokio::spawn(async move { connection.ask(query(name)).await })
            };
            let first = ask("a");
            let asked = heard(&mut server).await;
            // It answers and closes while another question is on its way.
            say(&mut server, asked).await;
            drop(server);
            let second = ask("b");
            assert!(first.await.unwrap().is_ok());
            assert_eq!(second.await.unwrap(), Err(Failure::Closed));
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_tells_all_who_wait() {
        for rest in [&b""[..], b"\x00", b"\x00\x10abc"] {
            let (connection, mut theirs) = connection();
            let server = async {
                heard(&mut theirs).await;
                heard(&mut theirs).await;
                theirs.write_all(rest).await.unwrap();
                drop(theirs);
            };
            let (one, two, ()) = tokio::join!(connection.ask(query("x")), connection.ask(query("y")), server);
            assert_eq!((one, two), (Err(Failure::Closed), Err(Failure::Closed)), "{rest:?}");
            assert_eq!(connection.ask(query("x")).await, Err(Failure::Closed));
            assert!(connection.is_closed());
        }
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_connection() {
        let (connection, mut theirs) = connection();
        drop(connection);
        assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_nobody_uses_is_closed() {
        let (connection, mut theirs) = connection();
        let begun = Instant::now();
        // Somebody waits on and on: it is in use, though nothing comes.
        let given_up = tokio::time::timeout(IDLE * 5 / 2, connection.ask(query("x"))).await;
        assert!(given_up.is_err() && !connection.is_closed());
        heard(&mut theirs).await;
        assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(begun.elapsed() >= 3 * IDLE && begun.elapsed() < IDLE * 7 / 2, "{:?}", begun.elapsed());
        assert!(connection.is_closed());
    }
}
