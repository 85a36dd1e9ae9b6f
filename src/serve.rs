//! The contract between listeners and who answers: octets in, octets out.
//!
//! A listener knows a client and a packet; what either means is for [`Respond`] to know. So a transport is an adapter onto this, and
//! the request path never sees a socket.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::transport::Transport;

/// Who asks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where the packet came from.
    pub addr: SocketAddr,
    /// How.
    pub transport: Transport,
}

/// What came of a packet at once.
#[derive(Debug)]
pub enum Step<P> {
    /// The reply is in the buffer.
    Reply,
    /// There is to be no reply.
    Drop,
    /// It needs an upstream: hand this to [`Respond::later`].
    Later(P),
}

/// The way back of a query that was begun.
pub trait Back<P>: Send + 'static {
    /// This is the reply, or there is to be none.
    fn replied(self, reply: Option<Vec<u8>>);

    /// It takes longer, and is for [`Respond::later`].
    fn later(self, pending: P);
}

/// One worker's own: answers ordinary datagrams without lock, allocation or waiting. Its answers are those of
/// [`Respond::now`], octet by octet.
pub trait Hot: Send + 'static {
    /// Reads clock and policy, and looks at all datagrams that arrived together, so that the memory they need is fetched
    /// for all at once.
    fn begin<'p>(&mut self, packets: impl Iterator<Item = &'p [u8]>);

    /// Writes the reply to the `index`th of them, given again, and says how long it is; none when it is not ordinary:
    /// then ask [`Respond::now`]. `out` holds [`MAX_UDP_LEN`](crate::dns::finish::MAX_UDP_LEN) octets.
    fn answer(&mut self, index: usize, packet: &[u8], from: SocketAddr, out: &mut [u8]) -> Option<usize>;
}

/// Nothing of its own: every datagram goes the slow way.
impl Hot for () {
    fn begin<'p>(&mut self, _packets: impl Iterator<Item = &'p [u8]>) {}

    fn answer(&mut self, _index: usize, _packet: &[u8], _from: SocketAddr, _out: &mut [u8]) -> Option<usize> {
        None
    }
}

/// What listeners know of the resolver.
pub trait Respond: Send + Sync + 'static {
    /// A question that waits for an upstream; owns all it needs.
    type Pending: Send + Sync + 'static;
    /// What a worker thread keeps for itself to answer ordinary datagrams faster.
    type Hot: Hot;

    /// The beginnings of one worker's own.
    fn hot(&self) -> Self::Hot;

    /// Whether anybody at that address is served at all. Who is not need not be given what is scarce.
    fn serves(&self, client: IpAddr) -> bool;

    /// Answers at once if it can: no waiting, safe on any thread. `out` is replaced.
    fn now(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Step<Self::Pending>;

    /// Answers one that finds no room to wait, or lost it, by what is known: no waiting either. [`Step::Later`] means that
    /// only an upstream could have helped, and that the client had better ask again.
    fn answer_from_cache(&self, pending: &Self::Pending, out: &mut Vec<u8>) -> Step<()>;

    /// Puts one that waits to its upstream on this thread, if nothing has to be waited for before that. `back` is told what becomes of it,
    /// once, by whichever thread knows. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// What was given, where that cannot be: it is for [`Respond::later`].
    fn begin<B: Back<Self::Pending>>(
        self: &Arc<Self>,
        pending: Self::Pending,
        back: B,
    ) -> Result<(), (Self::Pending, B)> {
        Err((pending, back))
    }

    /// Answers the rest; true when a reply is in `out`. Bounded in time; may be given up at any moment.
    fn later(&self, pending: &Self::Pending, out: &mut Vec<u8>) -> impl Future<Output = bool> + Send;
}
