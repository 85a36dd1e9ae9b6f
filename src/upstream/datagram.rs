//! One question by datagram.

use std::net::SocketAddr;

use tokio::time::Instant;

use super::Exchange;
use super::begun::{Came, Landing};
use super::failure::Failure;
use super::message::{Manner, Query};
use super::ports::Ports;
use crate::dns::Question;

/// Asks one server by datagram, each time from a random port with a random ID in random case. A reply may be truncated.
#[derive(Debug)]
pub(super) struct Datagram {
    ports: Ports,
}

impl Datagram {
    /// Asks the server at this address from so many ports at most.
    pub(super) fn new(server: SocketAddr, max_ports: usize) -> Datagram {
        Datagram { ports: Ports::new(server, max_ports) }
    }
}

impl Exchange for Datagram {
    /// Sends one datagram, and waits for its reply. Whoever waits long enough asks again, from another port with another ID; what
    /// comes to this one then is still its reply.
    async fn exchange(&self, question: &Question, manner: Manner) -> Result<Vec<u8>, Failure> {
        self.ports.put(Query::new(question, manner))?.reply().await
    }

    fn may_begin(&self) -> bool {
        true
    }

    fn begin(&self, question: &Question, landing: Landing, due: Instant) {
        self.ports.begin(Query::new(question, Manner::USUAL), landing, due);
    }

    async fn go_on(&self, _: &Question, came: Came) -> Result<Vec<u8>, Failure> {
        came.reply().await
    }

    fn renew(&self) {
        self.ports.renew();
    }

    fn guesses(&self) -> u64 {
        self.ports.guesses()
    }
}
