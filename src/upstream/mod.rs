//! Whom we ask what we do not know.
//!
//! [`Forwarder`] asks [`Server`]s in order and hands back whole messages; [`Inflight`] lets identical questions share
//! one asking. Messages pass through as octets: nothing here reads a record, so none is lost for being odd.

mod forward;
#[cfg(test)]
mod forward_tests;
mod health;
mod hickory;
mod inflight;
mod message;
pub mod resolv_conf;
mod server;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::dns::Question;

pub use forward::{Forwarder, MAX_SERVERS, Settings, Tally};
pub use hickory::{MAX_STREAMS, sockets_per_question};
pub use inflight::{Full, Inflight, InflightCounters, InflightLimits};
pub use server::{Server, ServerError, Transport};

/// Somebody who answers questions with whole messages.
pub trait Ask: Send + Sync + 'static {
    /// Asks and returns the reply's octets; its question has been checked.
    ///
    /// # Errors
    /// [`AskError`] once every upstream was tried or time ran out; bounded in time.
    fn ask(&self, question: &Question) -> impl Future<Output = Result<Vec<u8>, AskError>> + Send;
}

/// [`Ask`] behind a pointer: a configuration says who it is, and another one may say otherwise.
pub trait Upstream: Send + Sync + 'static {
    /// [`Ask::ask`].
    fn ask_it<'a>(&'a self, question: &'a Question) -> Asking<'a>;
}

/// An answer to come.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, AskError>> + Send + 'a>>;

impl<U: Ask> Upstream for U {
    fn ask_it<'a>(&'a self, question: &'a Question) -> Asking<'a> {
        Box::pin(self.ask(question))
    }
}

/// Why no upstream answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskError {
    /// None is configured, or none answered in time (EDE 22).
    NoneReachable(String),
    /// The network said no: refused, unreachable (EDE 23).
    Network(String),
    /// Too much is under way; nothing was asked.
    Overloaded,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::NoneReachable(detail) | AskError::Network(detail) => f.write_str(detail),
            AskError::Overloaded => f.write_str("too many questions under way"),
        }
    }
}

impl std::error::Error for AskError {}
