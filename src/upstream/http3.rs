//! Many questions on one connection of HTTP/3, each on a stream of its own (RFC 8484 over RFC 9114).

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Buf;
use h3::client::SendRequest;
use h3::error::{Code, StreamError};
use h3_quinn::OpenStreams;
use quinn::Connection;

use super::channel::{Channel, Opens};
use super::doh::{Response, Target};
use super::failure::Failure;
use super::message::Query;
use super::quic::{self, Quic};

/// Streams that a server may open: three carry the connection (RFC 9114 §6.2), and some say nothing on others (§6.2.3).
pub(super) const THEIR_STREAMS: u32 = 8;
/// Octets of a response's head: many times what servers send.
const MAX_HEAD: u64 = 16 << 10;

/// What follows the head of a request.
type Body = Cursor<Vec<u8>>;

/// Opens connections of HTTP/3.
#[derive(Debug)]
pub(super) struct Http3 {
    quic: Quic,
    target: Arc<Target>,
}

/// An open connection to ask on; ends on drop.
pub(super) struct Requests {
    target: Arc<Target>,
    connection: Connection,
    requests: SendRequest<OpenStreams, Body>,
    /// Whether the server said that it takes no more (GOAWAY, RFC 9114 §5.2), and somebody has heard.
    goes: AtomicBool,
}

impl Http3 {
    /// Asks for `target` on what `quic` connects.
    pub(super) fn new(quic: Quic, target: Target) -> Http3 {
        Http3 { quic, target: Arc::new(target) }
    }
}

impl Opens for Http3 {
    type Channel = Requests;

    const PADDED: bool = true;

    async fn open(&self) -> Result<Requests, Failure> {
        let connection = self.quic.connect().await?;
        let mut builder = h3::client::builder();
        // What says nothing helps nobody here to stay open to what is to come.
        builder.max_field_section_size(MAX_HEAD).send_grease(false);
        let built = builder.build(h3_quinn::Connection::new(connection.clone())).await;
        let (mut carried, requests) = built.map_err(|error| match connection.close_reason() {
            Some(reason) => quic::failure(&reason),
            None => Failure::Failed(format!("HTTP/3: {error}")),
        })?;
        // It ends with the connection, which ends with the last way to ask.
        tokio::spawn(async move { carried.wait_idle().await });
        let goes = AtomicBool::new(false);
        Ok(Requests { target: Arc::clone(&self.target), connection, requests, goes })
    }

    fn renew(&self) {
        self.quic.renew();
    }
}

impl Channel for Requests {
    fn is_closed(&self) -> bool {
        self.goes.load(Ordering::Relaxed) || self.is_over()
    }

    fn is_over(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    async fn ask(&self, mut query: Query) -> Result<Vec<u8>, Failure> {
        query.clear_id();
        let (request, body) = self.target.request(&query)?;
        // Waits while the server takes no more at a time.
        let stream = self.requests.clone().send_request(request).await;
        // Whoever gives up drops it, and quinn tells the server with code 0. RFC 9114 §4.1.1 has H3_REQUEST_CANCELLED for that, but
        // h3-quinn panics where a stream is stopped that is being read; to a server it is the same (§8: what is unknown is no error).
        let mut stream = stream.map_err(|error| self.failure(error))?;
        if let Some(body) = body {
            stream.send_data(Cursor::new(body)).await.map_err(|error| self.failure(error))?;
        }
        stream.finish().await.map_err(|error| self.failure(error))?;
        let head = stream.recv_response().await.map_err(|error| self.failure(error))?;
        let mut response = Response::begin(head.status(), head.headers())?;
        while let Some(mut octets) = stream.recv_data().await.map_err(|error| self.failure(error))? {
            while octets.has_remaining() {
                let part = octets.chunk();
                response.push(part)?;
                let length = part.len();
                octets.advance(length);
            }
        }
        response.end(&query)
    }
}

impl Requests {
    /// What became of the connection, or of one stream on it.
    fn failure(&self, error: StreamError) -> Failure {
        if let Some(reason) = self.connection.close_reason() {
            return quic::failure(&reason);
        }
        match error {
            // The server has not looked at the question (RFC 9114 §5.2 and §4.1.1).
            StreamError::RemoteClosing { .. } => {
                self.goes.store(true, Ordering::Relaxed);
                Failure::Closed
            }
            StreamError::RemoteTerminate { code, .. } if code == Code::H3_REQUEST_REJECTED => Failure::Closed,
            StreamError::RemoteTerminate { code, .. } => Failure::Failed(format!("HTTP/3: {code}")),
            other => Failure::Failed(format!("HTTP/3: {other}")),
        }
    }
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").field("target", &self.target).finish_non_exhaustive()
    }
}
