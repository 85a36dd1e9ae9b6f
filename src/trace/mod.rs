//! Traces, offline: queries made, read from captures, replayed against servers and through the request path itself.
//!
//! Everything streams: a trace may be longer than memory. An [`Entry`] is one query as it goes over the wire; makers and
//! readers fill it, replays send it.

pub mod feed;
pub(crate) mod html;
pub mod impact;
pub mod inprocess;
pub mod make;
pub mod message;
pub mod random;
pub mod read;
pub mod replay;

use std::net::SocketAddr;
use std::time::Duration;

/// One query of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The DNS message, without a stream's length prefix.
    pub message: Vec<u8>,
    /// When it was sent, since the Unix epoch, if the trace says so.
    pub at: Option<Duration>,
    /// Who sent it, if the trace says so.
    pub client: Option<SocketAddr>,
}
