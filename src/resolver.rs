//! THE REQUEST PATH: bytes in, bytes out.

use std::future::Future;
use std::net::SocketAddr;

use crate::dns::Transport;

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
    Silence,
    /// It needs an upstream: hand this to [`Respond::later`].
    Later(P),
}

/// What listeners know of the resolver.
pub trait Respond: Send + Sync + 'static {
    /// A question that waits for an upstream; owns all it needs.
    type Pending: Send + 'static;

    /// Answers at once if it can: no waiting, safe on any thread. `out` is replaced.
    fn now(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Step<Self::Pending>;

    /// Answers the rest; true when a reply is in `out`. Bounded in time.
    fn later(&self, pending: Self::Pending, out: &mut Vec<u8>) -> impl Future<Output = bool> + Send;
}
