//! One question by datagram.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::begun::{Came, Landing, Outcome};
use super::case::Case;
use super::failure::Failure;
use super::message::{self, Manner, Query};
use super::ports::Ports;
use super::source::Source;
use super::watch::Watched;
use super::{Cookied, Exchange};
use crate::dns::Question;

/// Asks one server by datagram, each time from a random port with a random ID in random case. A reply may be truncated.
#[derive(Debug)]
pub(super) struct Datagram {
    ports: Ports,
    case: Arc<Case>,
    watch: Option<Arc<Watched>>,
}

impl Datagram {
    /// Asks the server at this address from so many ports at most, with cookies or without, and from addresses of that prefix if it is for it;
    /// in random case as long as that is borne.
    pub(super) fn new(
        server: SocketAddr,
        max_ports: usize,
        (cookies, source): (bool, Option<Source>),
        case: Arc<Case>,
    ) -> Datagram {
        Datagram { ports: Ports::new(server, max_ports, (cookies, source)), case, watch: None }
    }

    /// The same, of whose messages somebody is told if anybody is.
    pub(super) fn watched(self, watch: Option<Arc<Watched>>) -> Datagram {
        Datagram { watch, ..self }
    }

    /// The query that asks in this manner, as far as that is borne.
    fn query(&self, question: &Question, manner: Manner) -> Query {
        Query::new(question, self.case.borne(manner)).watched(self.watch.as_ref())
    }

    /// Asks once.
    async fn once(&self, question: &Question, manner: Manner) -> Outcome {
        self.ports.put(self.query(question, manner))?.reply().await
    }

    /// What came, or what comes to the same question with another cookie where it was about that.
    async fn complete(&self, question: &Question, manner: Manner, came: Outcome) -> Outcome {
        match came {
            // RFC 7873 §5.3: "The client SHOULD retry the request using the new Server Cookie", which came with that and is noted by now.
            Ok(reply) if message::wants_cookie(&reply) => self.once(question, manner).await,
            // Some take an option they do not know for an error (RFC 6891 §6.1.2 has them ignore it). Without it they may know all of EDNS.
            Ok(reply) if message::may_be_about_edns(&reply) && self.ports.stop_trying() => {
                self.once(question, manner).await
            }
            came => came,
        }
    }
}

impl Exchange for Datagram {
    /// Sends one datagram, and waits for its reply. Whoever waits long enough asks again, from another port with another ID; what
    /// comes to this one then is still its reply.
    async fn exchange(&self, question: &Question, manner: Manner) -> Result<Vec<u8>, Failure> {
        let came = self.once(question, manner).await;
        self.complete(question, manner, came).await
    }

    fn may_begin(&self) -> bool {
        true
    }

    fn begin(&self, question: &Question, landing: Landing, due: Instant) {
        self.ports.begin(self.query(question, Manner::USUAL), landing, due);
    }

    async fn go_on(&self, question: &Question, came: Came) -> Result<Vec<u8>, Failure> {
        self.complete(question, Manner::USUAL, came.reply().await).await
    }

    fn renew(&self) {
        self.case.forget();
        self.ports.renew();
    }

    fn guesses(&self) -> u64 {
        self.ports.guesses()
    }

    fn cookied(&self) -> Cookied {
        self.ports.cookied()
    }
}
