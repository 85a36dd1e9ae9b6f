//! Many questions on one connection of HTTP/2, each on a stream of its own (RFC 8484 §5.2, RFC 9113).
//!
//! The messages are handed on as they came, so HTTP is spoken by h2 alone, without a client over it that parses them. One task
//! owns the connection; it ends with the connection, with [`Requests`], or when nobody has asked for a while.

use std::io::Cursor;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::client::{Builder, Connection, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::channel::{Channel, Opens};
use super::doh::{Response, Target};
use super::failure::Failure;
use super::message::Query;
use super::stream::{Connect, IDLE};

/// Octets on one connection that nobody has read yet; on one stream a message's, which is HTTP/2's own default.
const MAX_UNREAD: u32 = 1 << 20;
/// Octets of a response's head: many times what servers send.
const MAX_HEAD: u32 = 16 << 10;
/// Questions that may wait on a connection until the server has said how many: no server should allow fewer (RFC 9113 §6.5.2).
const MAX_UNTOLD: usize = 100;
/// Questions that were given up of which h2 remembers that their replies may still come; those beyond are refused one by one.
const MAX_GIVEN_UP: usize = 1024;

/// What follows the head of a request.
type Body = Cursor<Vec<u8>>;

/// Opens connections of HTTP/2 on streams that `C` opens.
#[derive(Debug)]
pub(super) struct Http2<C> {
    connect: C,
    target: Arc<Target>,
}

/// An open connection to ask on.
#[derive(Debug)]
pub(super) struct Requests {
    target: Arc<Target>,
    shared: Arc<Shared>,
    /// Tells the task by its end that nobody can ask any more.
    _open: oneshot::Sender<()>,
}

/// What a connection's task shares with whoever asks.
#[derive(Debug)]
struct Shared(Mutex<State>);

/// The state of a connection.
#[derive(Debug)]
struct State {
    /// None once nothing may be asked any more.
    requests: Option<SendRequest<Body>>,
    /// Questions that wait on it.
    under_way: usize,
    /// Questions that were asked on it, wrapping.
    asked: usize,
    /// Whether its task has ended, and the stream under it with that.
    is_over: bool,
}

/// A question that waits; ends on drop.
struct Waiting<'s>(&'s Shared);

impl<C> Http2<C> {
    /// Asks for `target` on what `connect` opens.
    pub(super) fn new(connect: C, target: Target) -> Http2<C> {
        Http2 { connect, target: Arc::new(target) }
    }
}

impl<C: Connect> Opens for Http2<C>
where
    C::Stream: Unpin,
{
    type Channel = Requests;

    const PADDED: bool = <C as Connect>::PADDED;

    async fn open(&self) -> Result<Requests, Failure> {
        let stream = self.connect.connect().await?;
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(MAX_UNTOLD)
            .initial_connection_window_size(MAX_UNREAD)
            .max_header_list_size(MAX_HEAD)
            .max_concurrent_reset_streams(MAX_GIVEN_UP);
        // What the server says of itself is not waited for: questions go out with our own settings (RFC 9113 §3.4).
        let (requests, connection) = builder.handshake(stream).await.map_err(failure)?;
        Ok(Requests::new(requests, connection, &self.target))
    }

    fn renew(&self) {
        self.connect.renew();
    }
}

impl Requests {
    /// Asks on this connection from now on. Must be called in a tokio runtime.
    fn new<S>(requests: SendRequest<Body>, connection: Connection<S, Body>, target: &Arc<Target>) -> Requests
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let state = State { requests: Some(requests), under_way: 0, asked: 0, is_over: false };
        let shared = Arc::new(Shared(Mutex::new(state)));
        let (open, closed) = oneshot::channel();
        tokio::spawn(drive(connection, Arc::clone(&shared), closed));
        Requests { target: Arc::clone(target), shared, _open: open }
    }
}

impl Channel for Requests {
    fn is_closed(&self) -> bool {
        let Some(mut requests) = self.shared.lock().requests.clone() else { return true };
        // Also when the server said that it takes no more, and answers what it has (GOAWAY, RFC 9113 §6.8).
        matches!(requests.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    fn is_over(&self) -> bool {
        self.shared.lock().is_over
    }

    fn room(&self) -> usize {
        // RFC 9113 §5.1.2: as many as the server said that it takes.
        self.shared.lock().requests.as_ref().map_or(0, SendRequest::current_max_send_streams)
    }

    async fn ask(&self, mut query: Query) -> Result<Vec<u8>, Failure> {
        query.clear_id();
        let (request, body) = self.target.request(&query)?;
        let (_waiting, requests) = self.shared.begin().ok_or(Failure::Closed)?;
        let mut requests = requests.ready().await.map_err(failure)?;
        let (response, mut rest) = requests.send_request(request, body.is_none()).map_err(failure)?;
        if let Some(body) = body {
            rest.send_data(Cursor::new(body), true).map_err(failure)?;
        }
        let (head, mut body) = response.await.map_err(failure)?.into_parts();
        let mut response = Response::begin(head.status, &head.headers)?;
        while let Some(octets) = body.data().await {
            let octets = octets.map_err(failure)?;
            body.flow_control().release_capacity(octets.len()).map_err(failure)?;
            response.push(&octets)?;
        }
        response.end(&query)
    }
}

/// Carries octets until the connection ends, nobody can ask any more, or nobody has for a while.
async fn drive<S>(connection: Connection<S, Body>, shared: Arc<Shared>, mut closed: oneshot::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = pin!(connection);
    let mut idle = pin!(sleep(IDLE));
    let mut asked = 0;
    loop {
        tokio::select! {
            // All who wait hear of it from their streams.
            _ = &mut connection => {
                shared.lock().is_over = true;
                return;
            }
            _ = &mut closed => break,
            () = &mut idle => {
                if shared.is_idle_since(asked) {
                    break;
                }
                asked = shared.lock().asked;
                idle.as_mut().reset(Instant::now() + IDLE);
            }
        }
    }
    // Once nobody has a way to ask, h2 says that it goes, and TLS that it closes. What the system does not take at once is not
    // waited for.
    drop(shared.lock().requests.take());
    let _ = timeout(Duration::ZERO, connection).await;
    shared.lock().is_over = true;
}

impl Shared {
    /// The state; whoever panicked with it left it whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A way to ask one question; none if it is too late.
    fn begin(&self) -> Option<(Waiting<'_>, SendRequest<Body>)> {
        let mut state = self.lock();
        let requests = state.requests.clone()?;
        state.under_way += 1;
        state.asked = state.asked.wrapping_add(1);
        Some((Waiting(self), requests))
    }

    /// Whether nobody waits, and nobody has asked since so many had; from then on nobody can.
    fn is_idle_since(&self, asked: usize) -> bool {
        let mut state = self.lock();
        let idle = state.under_way == 0 && state.asked == asked;
        if idle {
            state.requests = None;
        }
        idle
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
    }
}

/// What became of a connection or of one stream on it.
fn failure(error: h2::Error) -> Failure {
    use h2::Reason;
    match error.reason() {
        // A server that goes, or has no room, has not looked at the question (RFC 9113 §6.8 and §8.7).
        Some(Reason::NO_ERROR | Reason::REFUSED_STREAM) => Failure::Closed,
        Some(reason) => Failure::Failed(format!("HTTP/2: {reason}")),
        None if error.is_io() => error.into_io().map_or(Failure::Closed, Failure::from),
        None => Failure::Failed(format!("HTTP/2: {error}")),
    }
}
