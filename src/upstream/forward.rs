//! The upstreams of the settings, put together: here it is said what each is made of.

use std::cell::LazyCell;

use super::datagram::Datagram;
use super::doh::Target;
use super::failover::{Failover, Tally};
use super::failure::Failure;
use super::fallback::Fallback;
use super::http2::Http2;
use super::manners::Mannered;
use super::message::Manner;
use super::pool::Pool;
use super::router::Router;
use super::server::{Protocol, Server};
use super::settings::Settings;
use super::tcp::Tcp;
use super::tls::{Spoken, Tls, Trust};
use super::{Ask, AskError, Exchange};
use crate::dns::Question;

/// Asks the upstreams of its settings, in their order, until one answers.
#[derive(Debug)]
pub struct Forwarder {
    /// The settings have one group of upstreams, for all names.
    groups: Router<Failover<Link>>,
}

/// One server by its transport.
#[derive(Debug)]
enum Link {
    /// [`Protocol::Udp`].
    Udp(Mannered<Fallback<Datagram, Pool<Tcp>>>),
    /// [`Protocol::Tcp`].
    Tcp(Mannered<Pool<Tcp>>),
    /// [`Protocol::Tls`].
    Tls(Mannered<Pool<Tls<Tcp>>>),
    /// [`Protocol::Https`].
    Https(Mannered<Pool<Http2<Tls<Tcp>>>>),
}

impl Forwarder {
    /// Connects to nobody yet.
    pub fn new(settings: Settings) -> Forwarder {
        Forwarder { groups: Router::new(Failover::new(&settings, Link::by(&settings), None), Vec::new()) }
    }

    /// The same by other settings: what is known of servers that both have, and connections to them, go over.
    #[must_use]
    pub fn following(&self, settings: Settings) -> Forwarder {
        let before = self.groups.all().next();
        Forwarder { groups: Router::new(Failover::new(&settings, Link::by(&settings), before), Vec::new()) }
    }

    /// Each upstream's counts, in the order of the settings.
    pub fn tallies(&self) -> Vec<Tally> {
        self.groups.all().flat_map(Failover::tallies).collect()
    }
}

impl Ask for Forwarder {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        self.groups.ask(question).await
    }
}

impl Link {
    /// What asks a server.
    fn by(settings: &Settings) -> impl Fn(&Server) -> Link + use<> {
        // Before it is asked once more.
        let hung_after = settings.try_timeout / 2;
        let max_ports = settings.max_ports;
        let roots = settings.roots.clone();
        let trust = LazyCell::new(move || Trust::new(&roots));
        move |server| {
            let tcp = Tcp::new(server.addr);
            match &server.protocol {
                Protocol::Udp => {
                    let datagram = Datagram::new(server.addr, max_ports);
                    let stream = Pool::new(tcp, hung_after);
                    Link::Udp(Mannered::new(Fallback::new(datagram, stream)))
                }
                Protocol::Tcp => Link::Tcp(Mannered::new(Pool::new(tcp, hung_after))),
                Protocol::Tls(identity) => {
                    let tls = Tls::new(tcp, Spoken::Dns, identity, &trust);
                    Link::Tls(Mannered::new(Pool::new(tls, hung_after)))
                }
                Protocol::Https(identity, resource) => {
                    let tls = Tls::new(tcp, Spoken::Http2, identity, &trust);
                    let target = Target::new(identity, server.addr, resource);
                    Link::Https(Mannered::new(Pool::new(Http2::new(tls, target), hung_after)))
                }
            }
        }
    }
}

impl Exchange for Link {
    async fn exchange(&self, question: &Question, manner: Manner) -> Result<Vec<u8>, Failure> {
        match self {
            Link::Udp(udp) => udp.exchange(question, manner).await,
            Link::Tcp(tcp) => tcp.exchange(question, manner).await,
            Link::Tls(tls) => tls.exchange(question, manner).await,
            Link::Https(https) => https.exchange(question, manner).await,
        }
    }

    fn guesses(&self) -> u64 {
        match self {
            Link::Udp(udp) => udp.guesses(),
            Link::Tcp(tcp) => tcp.guesses(),
            Link::Tls(tls) => tls.guesses(),
            Link::Https(https) => https.guesses(),
        }
    }
}
