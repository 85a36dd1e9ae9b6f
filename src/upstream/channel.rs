//! What questions are asked on, many at a time: a stream of messages, or a connection that has a stream for each.

use std::future::Future;

use super::failure::Failure;
use super::message::Query;

/// Opens channels to one server.
pub(super) trait Opens: Send + Sync + 'static {
    /// What it opens.
    type Channel: Channel;

    /// Whether queries are padded: where all else is encrypted, their lengths are what others see (RFC 8467).
    const PADDED: bool;

    /// Opens one. Bounded in time by whoever waits.
    fn open(&self) -> impl Future<Output = Result<Self::Channel, Failure>> + Send;

    /// The way to the server may be another one by now: what keeps it from being looked for is over.
    fn renew(&self) {}
}

/// An open way to ask on; ends on drop.
pub(super) trait Channel: Send + Sync + 'static {
    /// Whether nothing can be asked any more; what was asked may still be answered.
    fn is_closed(&self) -> bool;

    /// Whether nothing that was asked can be answered any more either, and nothing is left open.
    fn is_over(&self) -> bool {
        self.is_closed()
    }

    /// How many questions the server lets wait on it.
    fn room(&self) -> usize {
        usize::MAX
    }

    /// Asks, and returns the reply, its question checked. To give up is to drop it.
    fn ask(&self, query: Query) -> impl Future<Output = Result<Vec<u8>, Failure>> + Send;
}
