//! The adapter: questions out and whole messages in through hickory's connections. Every hickory type stays in here.
//!
//! hickory brings what is the same for all transports: connecting, a random port and ID for each datagram (RFC 5452 §9.2,
//! its range that of RFC 6056 §3.2), retransmission, matching many replies on one stream. It would parse every record, and
//! drop the message for one it cannot read; so [`Sockets`], the runtime it does its I/O through, seals each message
//! first ([`message::seal`]). On datagrams the sockets also do the checks that hickory does late or not at all.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{
    DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime,
};
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, Edns, Message, Query};
use hickory_resolver::proto::rr::{DNSClass, Name, RecordType};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinDecoder};
use hickory_resolver::{ConnectionProvider, PoolContext, TlsConfig};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::OnceCell;

use super::message;
use crate::dns::Question;

/// The UDP payload size we advertise: fits one unfragmented packet nearly everywhere (RFC 9715 §3.2 has 1400 as the upper
/// bound; 1232 is DNS Flag Day 2020's value).
const PAYLOAD_LEN: u16 = 1232;
/// A datagram that was not answered is sent again after this long: well above a slow resolver's round trip, and twice
/// within one try.
const RETRANSMIT: Duration = Duration::from_millis(600);
/// Streams to one upstream: RFC 7766 §6.2.2 asks for few.
pub const MAX_STREAMS: usize = 4;
/// Questions under way on one stream: enough for a busy upstream, few enough that hickory's scan of them is cheap.
const MAX_PER_STREAM: usize = 256;

/// How often hickory sends a datagram again.
const MAX_RETRANSMITS: u128 = 3;

/// Sockets that one question by datagram may have open at one time: hickory sends it again from another each time, and
/// listens on all until its try is over.
pub fn sockets_per_question(try_timeout: Duration) -> usize {
    1 + (try_timeout.as_millis() / RETRANSMIT.as_millis()).min(MAX_RETRANSMITS) as usize
}

/// What went wrong with one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No reply in time.
    TimedOut,
    /// The network's error, as words that follow the server's name.
    Network(String),
    /// A reply to something else, where that cannot be left aside.
    WrongReply,
    /// All streams are full, or the system grants no more sockets: our own doing, and nothing was asked.
    Busy,
}

/// The connections to one address.
pub(super) struct Link {
    addr: SocketAddr,
    /// Bounds connecting and each question; a try's own limit is shorter.
    timeout: Duration,
    sockets: Sockets,
    /// Hands out a fresh socket for each datagram; one for all of them is enough.
    datagrams: OnceCell<DnsExchange<Sockets>>,
    streams: Mutex<Vec<Arc<Stream>>>,
    /// Held while connecting, so that a burst of questions opens one stream.
    connecting: tokio::sync::Mutex<()>,
}

impl Link {
    /// Connects when first asked; `timeout` bounds every wait.
    pub(super) fn new(addr: SocketAddr, timeout: Duration) -> Link {
        let scope_id = if let SocketAddr::V6(addr) = addr { addr.scope_id() } else { 0 };
        Link {
            addr,
            timeout,
            sockets: Sockets { scope_id, ..Sockets::default() },
            datagrams: OnceCell::new(),
            streams: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Asks by datagram, each time from a new random port with a new random ID. The reply may be truncated.
    pub(super) async fn datagram(&self, question: &Question) -> Result<Vec<u8>, Failure> {
        let exchange = self.datagrams.get_or_try_init(|| self.connect(ConnectionConfig::udp())).await?;
        self.exchange(exchange, question).await
    }

    /// Asks by stream: one that is open, or a new one.
    pub(super) async fn stream(&self, question: &Question) -> Result<Vec<u8>, Failure> {
        // RFC 7766 §6.2.4: the server may close an idle connection at any time, so a question that finds its stream closed
        // is asked again on the next; all that are listed may be closed by now.
        for _ in 0..MAX_STREAMS {
            let Some(place) = self.open_stream() else { break };
            match self.ask_stream(place, question).await {
                Err(Failure::Network(_)) => {}
                other => return other,
            }
        }
        let place = self.new_stream().await?;
        self.ask_stream(place, question).await
    }

    /// One question on one stream, which is forgotten if it fails.
    async fn ask_stream(&self, mut place: Place<'_>, question: &Question) -> Result<Vec<u8>, Failure> {
        let reply = self.exchange(&place.stream.exchange, question).await;
        if reply.is_ok() {
            place.replied();
        }
        reply
    }

    /// A place on a stream that has one.
    fn open_stream(&self) -> Option<Place<'_>> {
        self.lock_streams().iter().find_map(|stream| Place::take(self, stream))
    }

    /// Opens a stream, unless another question just did.
    async fn new_stream(&self) -> Result<Place<'_>, Failure> {
        let _connecting = self.connecting.lock().await;
        if let Some(place) = self.open_stream() {
            return Ok(place);
        }
        if self.lock_streams().len() >= MAX_STREAMS {
            return Err(Failure::Busy);
        }
        let exchange = self.connect(ConnectionConfig::tcp()).await?;
        let stream =
            Arc::new(Stream { exchange, under_way: AtomicUsize::new(0), replies: AtomicUsize::new(0) });
        self.lock_streams().push(Arc::clone(&stream));
        Place::take(self, &stream).ok_or(Failure::Busy)
    }

    /// The list of streams; whoever panicked with it left it whole.
    fn lock_streams(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection as hickory makes it.
    async fn connect(&self, mut config: ConnectionConfig) -> Result<DnsExchange<Sockets>, Failure> {
        config.port = self.addr.port();
        let mut options = ResolverOpts::default();
        options.timeout = self.timeout;
        // We keep count ourselves; hickory's own bound, which also counts questions given up, only backs it.
        options.max_active_requests = 4 * MAX_PER_STREAM;
        let context = PoolContext::new(options, TlsConfig::new().map_err(|error| failure(&error))?);
        self.sockets
            .new_connection(self.addr.ip(), &config, &context)
            .map_err(|error| failure(&error))?
            .await
            .map_err(|error| failure(&error))
    }

    /// Sends a question and returns the reply as it came, its question checked on every transport.
    async fn exchange(
        &self,
        exchange: &DnsExchange<Sockets>,
        question: &Question,
    ) -> Result<Vec<u8>, Failure> {
        let request = request(question).ok_or(Failure::WrongReply)?;
        let response = exchange.send(request).first_answer().await.map_err(|error| failure(&error))?;
        let (_, sealed) = response.into_parts();
        let reply = message::unseal(sealed).ok_or(Failure::WrongReply)?;
        // hickory's stream multiplexer looks at the ID only.
        if message::is_reply_to(&message::question_octets(question), &reply) {
            Ok(reply)
        } else {
            Err(Failure::WrongReply)
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// An open stream.
struct Stream {
    exchange: DnsExchange<Sockets>,
    /// Questions that wait on it.
    under_way: AtomicUsize,
    /// Replies that came on it, wrapping.
    replies: AtomicUsize,
}

/// A question's place on a stream, given back on drop: also when its time is up.
struct Place<'l> {
    link: &'l Link,
    stream: Arc<Stream>,
    /// The stream's replies when the question went out.
    replies_before: usize,
}

impl<'l> Place<'l> {
    /// Takes a place, if there is one.
    fn take(link: &'l Link, stream: &Arc<Stream>) -> Option<Place<'l>> {
        let room = |under_way| (under_way < MAX_PER_STREAM).then_some(under_way + 1);
        stream.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        let replies_before = stream.replies.load(Ordering::Relaxed);
        Some(Place { link, stream: Arc::clone(stream), replies_before })
    }

    /// The question was answered.
    fn replied(&mut self) {
        self.stream.replies.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Place<'_> {
    /// A stream that brought nothing since the question went out is closed, hung, or confused: no new question goes there,
    /// and it ends with the questions that are on it. One that answered others was merely slow with this one.
    fn drop(&mut self) {
        self.stream.under_way.fetch_sub(1, Ordering::Relaxed);
        if self.stream.replies.load(Ordering::Relaxed) == self.replies_before {
            self.link.lock_streams().retain(|other| !Arc::ptr_eq(other, &self.stream));
        }
    }
}

/// The query for a question. None if hickory cannot hold its name, which no valid name is known to do.
fn request(question: &Question) -> Option<DnsRequest> {
    let name = Name::read(&mut BinDecoder::new(question.qname.as_wire())).ok()?;
    let mut query = Query::query(name, RecordType::from(question.qtype.0));
    query.set_query_class(DNSClass::from(question.qclass.0));
    // A random ID; streams choose another that is free on them.
    let mut message = Message::query();
    message.queries.push(query);
    message.metadata.recursion_desired = true;
    // RFC 6840 §5.7: AD in a query says that AD in the reply will be understood, also without DO.
    message.metadata.authentic_data = true;
    message.metadata.checking_disabled = question.checking_disabled;
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD_LEN).set_dnssec_ok(question.dnssec_ok);
    message.edns = Some(edns);
    let mut options = DnsRequestOptions::default();
    options.retry_interval = RETRANSMIT;
    Some(DnsRequest::new(message, options))
}

/// hickory's error in our words.
fn failure(error: &NetError) -> Failure {
    match error {
        NetError::Timeout => Failure::TimedOut,
        // Neither says anything of the server (socket(2)).
        NetError::Io(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            Failure::Busy
        }
        NetError::Io(error) => match error.kind() {
            io::ErrorKind::TimedOut => Failure::TimedOut,
            io::ErrorKind::ConnectionRefused => Failure::Network("refused the connection".to_owned()),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Failure::Network("is unreachable".to_owned())
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted => Failure::Network("closed the connection".to_owned()),
            _ => Failure::Network(format!("failed ({error})")),
        },
        // What hickory says when a stream's task has ended (its queue is closed) as well as when it is full; as we keep
        // count ourselves it is the former.
        NetError::Busy => Failure::Network("closed the connection".to_owned()),
        other => Failure::Network(format!("failed ({other})")),
    }
}

/// hickory's runtime: tokio's, with sockets that look at what passes.
#[derive(Clone, Default)]
struct Sockets {
    tokio: TokioRuntimeProvider,
    /// The interface that the server's address belongs to (RFC 4007 §11), or 0: hickory's addresses have none.
    scope_id: u32,
}

impl Sockets {
    /// The address with its interface.
    fn scoped(&self, mut addr: SocketAddr) -> SocketAddr {
        if let SocketAddr::V6(addr) = &mut addr {
            addr.set_scope_id(self.scope_id);
        }
        addr
    }
}

impl RuntimeProvider for Sockets {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = Datagrams;
    type Tcp = AsyncIoTokioAsStd<Sealing>;

    fn create_handle(&self) -> TokioHandle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server_addr: SocketAddr,
        bind_addr: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = Result<Self::Tcp, io::Error>>>> {
        let connecting = self.tokio.connect_tcp(self.scoped(server_addr), bind_addr, timeout);
        Box::pin(async move {
            let AsyncIoTokioAsStd(stream) = connecting.await?;
            Ok(AsyncIoTokioAsStd(Sealing { stream, raw: Vec::new(), sealed: Vec::new(), served: 0 }))
        })
    }

    fn bind_udp(
        &self,
        local_addr: SocketAddr,
        server_addr: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = Result<Datagrams, io::Error>>>> {
        let scoped = self.scoped(server_addr);
        Box::pin(async move {
            let socket = UdpSocket::bind(local_addr).await?;
            // hickory leaves its sockets unconnected; a connected one hears "port unreachable" at once, not after a
            // timeout, and the kernel drops what comes from elsewhere.
            socket.connect(scoped).await?;
            Ok(Datagrams { socket, server: server_addr, asked: OnceLock::new() })
        })
    }
}

/// One query's socket: connected, and deaf to everything but a reply to what it sent.
struct Datagrams {
    socket: UdpSocket,
    server: SocketAddr,
    /// The query as it went out.
    asked: OnceLock<Vec<u8>>,
}

impl Datagrams {
    /// Receives the next awaited reply, sealed, into `buf`.
    async fn receive(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut datagram = self.receive_any().await?;
            if !self.is_awaited(&datagram) {
                continue;
            }
            if datagram.len() + message::SEAL_LEN > buf.len() {
                // No room for the seal, or larger than we said we take: the whole of it comes over TCP.
                let Some(short) = message::cut(&datagram) else { continue };
                datagram = short;
            }
            if message::seal(&mut datagram)
                && let Some(place) = buf.get_mut(..datagram.len())
            {
                place.copy_from_slice(&datagram);
                return Ok(datagram.len());
            }
        }
    }

    /// Receives whatever comes, or the error that ICMP brought.
    async fn receive_any(&self) -> io::Result<Vec<u8>> {
        // One octet more than we asked for: a larger datagram is seen to be one.
        let mut datagram = [0; PAYLOAD_LEN as usize + 1];
        loop {
            // An ICMP error makes a socket neither readable nor writable: it has to be asked for.
            let ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
            let received = if ready.is_error() {
                // "Would block" tells tokio that there is no error after all, and to wait for the next.
                let error = || Err(self.socket.take_error()?.unwrap_or(io::ErrorKind::WouldBlock.into()));
                self.socket.try_io(Interest::ERROR, error)
            } else {
                self.socket.try_recv(&mut datagram)
            };
            match received {
                Ok(len) => return Ok(datagram.get(..len).unwrap_or_default().to_vec()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a datagram has the ID and the question that were sent; anything else may be a forgery and is left aside.
    fn is_awaited(&self, datagram: &[u8]) -> bool {
        self.asked.get().is_some_and(|asked| {
            asked.get(..2) == datagram.get(..2)
                && message::first_question(asked)
                    .is_some_and(|question| message::is_reply_to(question, datagram))
        })
    }
}

impl DnsUdpSocket for Datagrams {
    type Time = TokioTime;

    /// Not used: hickory's client receives through `recv_from`, and polling cannot see the socket's errors.
    fn poll_recv_from(
        &self,
        _cx: &mut Context<'_>,
        _buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// The next awaited reply, sealed. Written as the trait's macro would have it.
    fn recv_from<'s, 'b, 'f>(
        &'s self,
        buf: &'b mut [u8],
    ) -> Pin<Box<dyn Future<Output = io::Result<(usize, SocketAddr)>> + Send + 'f>>
    where
        's: 'f,
        'b: 'f,
    {
        Box::pin(async move { Ok((self.receive(buf).await?, self.server)) })
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], _target: SocketAddr) -> Poll<io::Result<usize>> {
        self.asked.get_or_init(|| buf.to_vec());
        self.socket.poll_send(cx, buf)
    }
}

/// A stream that seals each message that comes in; what goes out passes as it is.
struct Sealing {
    stream: TcpStream,
    /// Octets received and not yet a whole message; at most one message and one read.
    raw: Vec<u8>,
    /// The message being handed over, its length in front.
    sealed: Vec<u8>,
    /// How much of it was.
    served: usize,
}

impl Sealing {
    /// Seals the next whole message in `raw`; false when there is none. Messages that must not be parsed are dropped.
    fn next_message(&mut self) -> bool {
        // RFC 1035 §4.2.2: a two-octet length, then the message.
        while let Some((length, rest)) = self.raw.split_first_chunk::<2>() {
            let Some(body) = rest.get(..usize::from(u16::from_be_bytes(*length))) else { return false };
            let mut body = body.to_vec();
            self.raw.drain(..2 + body.len());
            let sealed = message::seal(&mut body);
            if let (true, Ok(length)) = (sealed, u16::try_from(body.len())) {
                self.sealed = length.to_be_bytes().into_iter().chain(body).collect();
                self.served = 0;
                return true;
            }
        }
        false
    }
}

impl AsyncRead for Sealing {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let rest = this.sealed.get(this.served..).unwrap_or_default();
            if !rest.is_empty() {
                let part = &rest[..rest.len().min(buf.remaining())];
                buf.put_slice(part);
                this.served += part.len();
                return Poll::Ready(Ok(()));
            }
            if this.next_message() {
                continue;
            }
            let mut chunk = [0; 4096];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.raw.extend_from_slice(read.filled());
        }
    }
}

impl AsyncWrite for Sealing {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_cannot_be_had_says_nothing_of_the_server() {
        for (errno, expected) in [(libc::EMFILE, true), (libc::ENFILE, true), (libc::ECONNREFUSED, false)] {
            let error = NetError::from(io::Error::from_raw_os_error(errno));
            assert_eq!(failure(&error) == Failure::Busy, expected, "{errno}");
        }
    }

    #[test]
    fn a_question_takes_a_socket_each_time_it_is_sent() {
        for (try_ms, sockets) in [(10, 1), (599, 1), (600, 2), (1500, 3), (60_000, 4)] {
            assert_eq!(sockets_per_question(Duration::from_millis(try_ms)), sockets, "{try_ms}");
        }
    }
}
