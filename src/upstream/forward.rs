//! The upstreams of the settings, put together: here it is said what each is made of.

use std::cell::LazyCell;
use std::net::IpAddr;

use tokio::time::Instant;

use super::begun::{Begun, Came, Landing, Then};
use super::datagram::Datagram;
use super::failover::Failover;
use super::failure::Failure;
use super::fallback::Fallback;
use super::known::Tally;
use super::manners::Mannered;
use super::message::Manner;
use super::network::{self, Network};
use super::pool::Pool;
use super::router::Router;
use super::server::{Protocol, Server};
use super::settings::Settings;
use super::tcp::Tcp;
use super::tls::{Tls, Trust};
use super::{Ask, AskError, Exchange};
use crate::dns::Question;
use crate::name::Name;

/// Asks the upstreams that its settings have for a name, in their order, until one answers.
#[derive(Debug)]
pub struct Forwarder {
    /// Those of each zone, and those for all other names.
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
}

impl Forwarder {
    /// Connects to nobody yet.
    pub fn new(settings: Settings) -> Forwarder {
        Forwarder::beside(&settings, &[])
    }

    /// The same by other settings: what is known of servers that both have, and connections to them, go over.
    #[must_use]
    pub fn following(&self, settings: Settings) -> Forwarder {
        Forwarder::beside(&settings, &self.groups.all().map(|(_, group)| group).collect::<Vec<_>>())
    }

    /// By these settings; what is known of a server is known to all groups that ask it, those before them included.
    fn beside(settings: &Settings, before: &[&Failover<Link>]) -> Forwarder {
        let make = Link::by(settings);
        let group = |servers: &[Server], others: &[(Vec<Name>, Failover<Link>)]| {
            let others = others.iter().map(|(_, group)| group);
            Failover::new(&settings.asking(servers), &make, before.iter().copied().chain(others))
        };
        let mut groups = vec![(Vec::new(), group(&settings.servers, &[]))];
        for forward in &settings.forwards {
            let about = forward.zones.first().copied().unwrap_or(Name::ROOT);
            groups.push((forward.zones.clone(), group(&forward.servers, &groups).about(about)));
        }
        let (_, default) = groups.remove(0);
        Forwarder { groups: Router::new(default, groups) }
    }

    /// What is to be told when the network is another one; the same for all that follow this one.
    pub fn network(&self) -> &Network {
        self.groups.default().network()
    }

    /// The address that each server would be asked from now; none where no way leads to it.
    pub fn ways(&self) -> Vec<Option<IpAddr>> {
        self.tallies().iter().map(|tally| network::way_to(tally.server.addr)).collect()
    }

    /// Each upstream's counts, with the zones it is asked about, in the order of the settings.
    pub fn tallies(&self) -> Vec<Tally> {
        let mut tallies: Vec<Tally> = Vec::new();
        for (zones, group) in self.groups.all() {
            for tally in group.tallies() {
                match tallies.iter_mut().find(|other| other.server == tally.server) {
                    Some(same) => same.zones.extend(zones),
                    None => tallies.push(Tally { zones: zones.to_vec(), ..tally }),
                }
            }
        }
        tallies
    }
}

impl Ask for Forwarder {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        self.groups.ask(question).await
    }

    fn may_begin(&self, question: &Question) -> bool {
        self.groups.may_begin(question)
    }

    fn begin(&self, question: &Question, then: Then) {
        self.groups.begin(question, then);
    }

    async fn go_on(&self, question: &Question, begun: Begun) -> Result<Vec<u8>, AskError> {
        self.groups.go_on(question, begun).await
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
                    let tls = Tls::new(tcp, identity, &trust);
                    Link::Tls(Mannered::new(Pool::new(tls, hung_after)))
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
        }
    }

    fn may_begin(&self) -> bool {
        match self {
            Link::Udp(udp) => udp.may_begin(),
            Link::Tcp(_) | Link::Tls(_) => false,
        }
    }

    fn begin(&self, question: &Question, landing: Landing, due: Instant) {
        match self {
            Link::Udp(udp) => udp.begin(question, landing, due),
            Link::Tcp(tcp) => tcp.begin(question, landing, due),
            Link::Tls(tls) => tls.begin(question, landing, due),
        }
    }

    async fn go_on(&self, question: &Question, came: Came) -> Result<Vec<u8>, Failure> {
        match self {
            Link::Udp(udp) => udp.go_on(question, came).await,
            Link::Tcp(tcp) => tcp.go_on(question, came).await,
            Link::Tls(tls) => tls.go_on(question, came).await,
        }
    }

    fn renew(&self) {
        match self {
            Link::Udp(udp) => udp.renew(),
            Link::Tcp(tcp) => tcp.renew(),
            Link::Tls(tls) => tls.renew(),
        }
    }

    fn guesses(&self) -> u64 {
        match self {
            Link::Udp(udp) => udp.guesses(),
            Link::Tcp(tcp) => tcp.guesses(),
            Link::Tls(tls) => tls.guesses(),
        }
    }
}
