//! Whom we ask what we do not know.
//!
//! Small pieces that are put together in one place, [`Forwarder`]. One server is asked by an `Exchange`: by `Datagram`, by a
//! `Pool` of channels (streams that some `Connect` opens, connections of HTTP on such, of QUIC), or by `Fallback` from one to the other.
//! An [`Ask`] is what the resolver sees: `Failover` over several servers, `Router` over groups of them. [`Inflight`] lets identical
//! questions share one asking. Messages pass through as octets: nothing here reads a record, so none is lost for being odd.

mod asked;
mod begun;
mod budget;
mod case;
mod channel;
mod cookies;
mod datagram;
mod dialect;
mod doh;
mod doq;
#[cfg(test)]
mod doq_tests;
mod failover;
#[cfg(test)]
mod failover_tests;
mod failure;
mod fallback;
mod forward;
#[cfg(test)]
mod forward_tests;
mod frame;
mod health;
mod hosts;
mod http2;
#[cfg(test)]
mod http2_tests;
mod http3;
#[cfg(test)]
mod http3_tests;
mod identity;
mod inflight;
mod known;
mod listener;
mod manners;
mod message;
mod network;
#[cfg(test)]
mod outage_tests;
mod pace;
mod places;
mod pool;
mod ports;
mod quic;
mod race;
pub mod resolv_conf;
mod resource;
mod roots;
mod router;
mod server;
mod settings;
mod source;
mod stamp;
mod standing;
mod strategy;
mod stream;
mod tbs;
mod tcp;
#[cfg(test)]
mod testing;
mod tls;
#[cfg(test)]
mod tls_tests;
mod turns;
mod watch;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tokio::time::Instant;

use crate::dns::Question;
use begun::{Came, Landing};
use failure::Failure;
use message::Manner;

pub use begun::{Begun, Late, Then};
pub use cookies::Cookied;
pub use dialect::Dialect;
pub use forward::Forwarder;
pub use hosts::{Found, Hosts};
pub use identity::{BadIdentity, Identity};
pub use inflight::{Flight, Full, Inflight, InflightCounters, InflightLimits};
pub use known::Tally;
pub use listener::LISTENER_DESCRIPTORS;
pub use network::Network;
pub use pool::MAX_OPEN_STREAMS;
pub use ports::MAX_PORTS;
pub use race::{MAX_OPEN, most_tries};
pub use resource::{BadResource, Resource};
pub use roots::Roots;
pub use server::{Protocol, Server, ServerError};
pub use settings::{Forward, MAX_SERVERS, Route, Settings};
pub use source::{BadSource, Source};
pub use stamp::BadStamp;
pub use strategy::Strategy;
pub use watch::Watch;

/// Somebody who answers questions with whole messages.
pub trait Ask: Send + Sync + 'static {
    /// Asks and returns the reply's octets; its question has been checked.
    ///
    /// # Errors
    /// [`AskError`] once every upstream was tried or time ran out; bounded in time.
    fn ask(&self, question: &Question) -> impl Future<Output = Result<Vec<u8>, AskError>> + Send;

    /// Whether nothing has to be waited for before the question is out, so that it can [begin](Ask::begin).
    fn may_begin(&self, _question: &Question) -> bool {
        false
    }

    /// Begins to ask, on this thread. `then` is told what came or what there is to go on from, once, by whichever thread knows, this one
    /// perhaps. Not counted among the questions under way, whose number is for the caller to bound. Must be called in a tokio runtime.
    fn begin(&self, _question: &Question, then: Then) {
        then(Err(Begun::nothing()));
    }

    /// [`Ask::ask`] from what was begun on. Whoever was asked in vain may be listened to for a while longer: `late` is told what it says.
    ///
    /// # Errors
    /// As there.
    fn go_on(
        &self,
        question: &Question,
        begun: Begun,
        late: Late,
    ) -> impl Future<Output = Result<Vec<u8>, AskError>> + Send {
        drop((begun, late));
        self.ask(question)
    }

    /// Who is asked this, in the order of the settings, as far as that is known.
    fn asked_of(&self, _question: &Question) -> Vec<String> {
        Vec::new()
    }

    /// How often the way to whoever is asked became another one, all of them were back among that: what failed before may be answered now.
    fn changes(&self) -> u64 {
        0
    }
}

/// [`Ask`] behind a pointer: a configuration says who it is, and another one may say otherwise.
pub trait Upstream: Send + Sync + 'static {
    /// [`Ask::ask`].
    fn ask_it<'a>(&'a self, question: &'a Question) -> Asking<'a>;

    /// [`Ask::may_begin`].
    fn may_begin_it(&self, question: &Question) -> bool;

    /// [`Ask::begin`].
    fn begin_it(&self, question: &Question, then: Then);

    /// [`Ask::go_on`].
    fn go_on_with<'a>(&'a self, question: &'a Question, begun: Begun, late: Late) -> Asking<'a>;

    /// [`Ask::asked_of`].
    fn it_is_asked_of(&self, question: &Question) -> Vec<String>;

    /// [`Ask::changes`].
    fn its_changes(&self) -> u64;
}

/// An answer to come.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, AskError>> + Send + 'a>>;

impl<U: Ask> Upstream for U {
    fn ask_it<'a>(&'a self, question: &'a Question) -> Asking<'a> {
        Box::pin(self.ask(question))
    }

    fn may_begin_it(&self, question: &Question) -> bool {
        self.may_begin(question)
    }

    fn begin_it(&self, question: &Question, then: Then) {
        self.begin(question, then);
    }

    fn go_on_with<'a>(&'a self, question: &'a Question, begun: Begun, late: Late) -> Asking<'a> {
        Box::pin(self.go_on(question, begun, late))
    }

    fn it_is_asked_of(&self, question: &Question) -> Vec<String> {
        self.asked_of(question)
    }

    fn its_changes(&self) -> u64 {
        self.changes()
    }
}

/// One server by one transport: what an [`Ask`] tries.
trait Exchange: Send + Sync + 'static {
    /// One try, in this manner as far as the transport has a use for it. Its reply is whole octets, ID and question checked. Not bounded in time: whoever tries says how long, and
    /// gives up by dropping it.
    ///
    /// # Errors
    /// [`Failure`] as soon as it is known that no reply comes.
    fn exchange(
        &self,
        question: &Question,
        manner: Manner,
    ) -> impl Future<Output = Result<Vec<u8>, Failure>> + Send;

    /// Whether a try in the usual manner can [begin](Exchange::begin) without waiting for anything.
    fn may_begin(&self) -> bool {
        false
    }

    /// Begins a try in the usual manner; `landing` is told what came, or at `due` where that will be. To be called only where it may, and
    /// in a tokio runtime.
    fn begin(&self, _question: &Question, landing: Landing, _due: Instant) {
        landing(Came::Reply(Err(Failure::Busy)));
    }

    /// What a try that was begun leads to: what [`Exchange::exchange`] would have made of what came.
    ///
    /// # Errors
    /// As there.
    fn go_on(
        &self,
        _question: &Question,
        came: Came,
    ) -> impl Future<Output = Result<Vec<u8>, Failure>> + Send {
        came.reply()
    }

    /// The way to the server may be another one by now: what is open is left to those who wait there, and what it was seen not to bear
    /// is tried anew.
    fn renew(&self) {}

    /// Replies so far that no question had asked for, or none in that case: somebody guesses.
    fn guesses(&self) -> u64 {
        0
    }

    /// What cookies came to.
    fn cookied(&self) -> Cookied {
        Cookied::default()
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
