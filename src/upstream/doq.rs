//! Many questions on one connection of QUIC, each on a stream of its own (RFC 9250).

use std::future::poll_fn;
use std::task::Poll;

use quinn::{Connection, ReadError, ReadExactError, RecvStream, VarInt, WriteError};

use super::channel::{Channel, Opens};
use super::failure::Failure;
use super::message::Query;
use super::quic::{self, Quic};

/// The server broke the rules, and the connection ends (DOQ_PROTOCOL_ERROR, RFC 9250 §4.3).
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
/// Whoever asked has given up (DOQ_REQUEST_CANCELLED, RFC 9250 §4.3).
const REQUEST_CANCELLED: VarInt = VarInt::from_u32(3);

/// Opens connections that carry DNS and nothing else.
#[derive(Debug)]
pub(super) struct Doq {
    quic: Quic,
}

/// An open connection to ask on. It closes with the last question on it, as RFC 9250 §4.3 has it where nothing is wrong.
#[derive(Debug)]
pub(super) struct Dedicated {
    connection: Connection,
}

/// What is heard of one question; the server is told if nobody listens any more.
struct Hearing(RecvStream);

impl Doq {
    /// Asks on what `quic` connects.
    pub(super) fn new(quic: Quic) -> Doq {
        Doq { quic }
    }
}

impl Opens for Doq {
    type Channel = Dedicated;

    // RFC 9250 §5.4: the lengths of packets are what others see.
    const PADDED: bool = true;

    async fn open(&self) -> Result<Dedicated, Failure> {
        Ok(Dedicated { connection: self.quic.connect().await? })
    }

    fn renew(&self) {
        self.quic.renew();
    }
}

impl Channel for Dedicated {
    fn is_closed(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    async fn ask(&self, mut query: Query) -> Result<Vec<u8>, Failure> {
        // RFC 9250 §4.2.1: the ID must be 0.
        query.clear_id();
        // Waits while the server takes no more at a time.
        let (mut asking, hearing) = self.connection.open_bi().await.map_err(|error| quic::failure(&error))?;
        let mut hearing = Hearing(hearing);
        // A query is far shorter than a length can say.
        let length = (query.octets().len() as u16).to_be_bytes();
        asking.write_all(&[&length, query.octets()].concat()).await.map_err(unwritten)?;
        query.goes_out();
        // RFC 9250 §4.2: whoever asks says that this is all.
        let _ = asking.finish();
        match hearing.message().await {
            Ok(message) if message.get(..2).is_some_and(|id| id != [0, 0]) => {
                Err(self.end(Failure::WrongReply))
            }
            Ok(message) => query.take(message),
            Err(ReadExactError::FinishedEarly(_)) => Err(self.end(Failure::Unreadable)),
            Err(ReadExactError::ReadError(error)) => Err(unread(error)),
        }
    }
}

impl Dedicated {
    /// Ends the connection for what RFC 9250 §4.3.3 has it end for: an ID that is not 0, or a message that ends early.
    fn end(&self, failure: Failure) -> Failure {
        self.connection.close(PROTOCOL_ERROR, b"");
        failure
    }
}

impl Hearing {
    /// The one message that comes. That nothing follows is not waited for: RFC 9250 §4.2 has a stream whose end does not come
    /// "dangling", and no more than that.
    async fn message(&mut self) -> Result<Vec<u8>, ReadExactError> {
        let mut length = [0; 2];
        self.0.read_exact(&mut length).await?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut message).await?;
        // The end is mostly there, and has to be read to be known: else the server would be told that nobody listens.
        poll_fn(|context| {
            let _ = self.0.poll_read(context, &mut [0]);
            Poll::Ready(())
        })
        .await;
        Ok(message)
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        // RFC 9250 §4.3.1; nothing is sent where all has come.
        let _ = self.0.stop(REQUEST_CANCELLED);
    }
}

/// Why a query was not taken.
fn unwritten(error: WriteError) -> Failure {
    match error {
        WriteError::Stopped(code) => refused(code),
        WriteError::ConnectionLost(error) => quic::failure(&error),
        other => Failure::Failed(format!("QUIC: {other}")),
    }
}

/// Why no reply came.
fn unread(error: ReadError) -> Failure {
    match error {
        ReadError::Reset(code) => refused(code),
        ReadError::ConnectionLost(error) => quic::failure(&error),
        other => Failure::Failed(format!("QUIC: {other}")),
    }
}

/// The server gave one question up, with a code of RFC 9250 §4.3, or one that it made up.
fn refused(code: VarInt) -> Failure {
    let name = match code.into_inner() {
        0 => "DOQ_NO_ERROR",
        1 => "DOQ_INTERNAL_ERROR",
        2 => "DOQ_PROTOCOL_ERROR",
        4 => "DOQ_EXCESSIVE_LOAD",
        // RFC 9250 §4.3.4: whatever else is said means no more than this.
        _ => "DOQ_UNSPECIFIED_ERROR",
    };
    Failure::Failed(format!("QUIC: {name}"))
}
