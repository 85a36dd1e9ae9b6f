//! The upstreams of the settings, put together: here it is said what each is made of.

use std::cell::{LazyCell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::time::Instant;

use super::begun::{Begun, Came, Landing, Late, Then};
use super::case::Case;
use super::datagram::Datagram;
use super::doh::Target;
use super::doq::Doq;
use super::failover::Failover;
use super::failure::Failure;
use super::fallback::Fallback;
use super::hosts::Hosts;
use super::http2::Http2;
use super::http3::{Http3, THEIR_STREAMS};
use super::known::{Tally, about, some};
use super::manners::Mannered;
use super::message::Manner;
use super::network::{self, Network};
use super::places::{Host, Lookup, Places};
use super::pool::Pool;
use super::quic::Quic;
use super::router::Router;
use super::server::{Protocol, Server};
use super::settings::Settings;
use super::strategy::Strategy;
use super::tcp::Tcp;
use super::tls::{Spoken, Tls, Trust};
use super::watch::Watch;
use super::{Ask, AskError, Cookied, Exchange};
use crate::dns::Question;
use crate::name::Name;
use crate::querylog::Carrier;

/// Ports that each server is asked from which is asked for the addresses of upstreams.
const BOOTSTRAP_PORTS: usize = 4;
/// Such questions under way at once.
const BOOTSTRAP_IN_FLIGHT: usize = 64;

/// Groups of servers without an answer that are told of.
const MAX_OUTAGES: usize = 8;

/// Asks the upstreams that its settings have for a name, in their order, until one answers.
#[derive(Debug)]
pub struct Forwarder {
    /// Those of each zone, and those for all other names.
    groups: Router<Failover<Link>>,
    /// Whether they are asked before anybody asks them.
    meets: bool,
    /// Who asks for some clients instead, by the names of their groups.
    routes: Vec<(Vec<String>, Arc<Forwarder>)>,
    /// Who is told of all messages, if anybody is.
    watch: Option<Watch>,
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
    /// [`Protocol::Quic`].
    Quic(Mannered<Pool<Doq>>),
    /// [`Protocol::Http3`].
    Http3(Mannered<Pool<Http3>>),
}

/// Those who are asked for the addresses of upstreams.
struct Bootstraps {
    /// How, but for who they are.
    settings: Settings,
    /// That of all who are asked, so that no belief in these outlives it either.
    network: Arc<Network>,
    /// Who is told of all messages, if anybody is.
    watch: Option<Watch>,
    known: RefCell<Vec<Bootstrap>>,
}

/// Some of them, and what asks them.
struct Bootstrap {
    servers: Arc<[Server]>,
    lookup: Arc<dyn Lookup>,
}

impl Forwarder {
    /// Connects to nobody yet.
    pub fn new(settings: Settings) -> Forwarder {
        Forwarder::watched(settings, None)
    }

    /// The same, where somebody is told of all messages if anybody is: also by all that follow it.
    pub fn watched(settings: Settings, watch: Option<Watch>) -> Forwarder {
        Forwarder::beside(&settings, &[], watch.as_ref()).introduced()
    }

    /// The same by other settings: what is known of servers that both have, and connections to them, go over.
    #[must_use]
    pub fn following(&self, settings: Settings) -> Forwarder {
        Forwarder::beside(&settings, &self.all(), self.watch.as_ref()).introduced()
    }

    /// The same, where each server is told of with what it is asked about and for whom.
    fn introduced(self) -> Forwarder {
        let tallies = self.tallies();
        for known in self.all().into_iter().flat_map(Failover::upstreams) {
            let own = tallies.iter().find(|tally| tally.server == known.server);
            known.standing.is_about(own.map(Tally::about).unwrap_or_default());
        }
        self
    }

    /// Who answers nothing, a line for each group of which no server does, as far as was found out when they were last asked.
    pub fn outages(&self) -> Vec<String> {
        let mut outages: Vec<(Vec<String>, String)> = Vec::new();
        let nobodys = (&[][..], self);
        for (groups, route) in
            std::iter::once(nobodys).chain(self.routes().map(|(groups, route)| (groups, &**route)))
        {
            for (zones, group) in route.groups.all() {
                let servers = group.upstreams();
                if servers.is_empty() || servers.iter().any(|known| known.health.is_up()) {
                    continue;
                }
                let servers: Vec<String> =
                    servers.iter().map(|known| format!("{:#}", known.server)).collect();
                // Some clients' own upstreams may be everybody's about some zones.
                if outages.len() < MAX_OUTAGES && !outages.iter().any(|(others, _)| *others == servers) {
                    let line = format!("no server answers{}: {}", about(zones, groups), some(&servers));
                    outages.push((servers, line));
                }
            }
        }
        outages.into_iter().map(|(_, line)| line).collect()
    }

    /// All who are asked, those for some clients included.
    fn all(&self) -> Vec<&Failover<Link>> {
        let own = self.groups.all().map(|(_, group)| group);
        own.chain(self.routes.iter().flat_map(|(_, route)| route.all())).collect()
    }

    /// Who asks for some clients instead, by the names of their groups.
    pub fn routes(&self) -> impl Iterator<Item = (&[String], &Arc<Forwarder>)> {
        self.routes.iter().map(|(groups, route)| (&groups[..], route))
    }

    /// Who asks for clients of this group, or of none in particular.
    pub fn of(&self, group: Option<&str>) -> &Forwarder {
        let is_its = |(groups, _): &&(Vec<String>, _)| groups.iter().any(|name| Some(&name[..]) == group);
        self.routes.iter().find(is_its).map_or(self, |(_, route)| route)
    }

    /// Finds out, aside, which upstreams answer and how fast, where there are several for the same names and nothing is known of them
    /// yet, if the settings have it so. Must be called in a tokio runtime.
    pub fn meet(&self) {
        if self.meets {
            self.all().into_iter().for_each(Failover::meet);
        }
    }

    /// By these settings; what is known of a server is known to all groups that ask it, those before them included.
    fn beside(settings: &Settings, before: &[&Failover<Link>], watch: Option<&Watch>) -> Forwarder {
        let network = before.first().map(|group| Arc::clone(group.network())).unwrap_or_default();
        let make = Link::by(settings, &network, watch);
        let group = |servers: &[Server], others: &[(Vec<Name>, Failover<Link>)]| {
            let others = others.iter().map(|(_, group)| group);
            let others = before.iter().copied().chain(others);
            Failover::new(&settings.asking(servers), &make, others).within(&network)
        };
        let mut groups = vec![(Vec::new(), group(&settings.servers, &[]))];
        for forward in &settings.forwards {
            let about = forward.zones.first().copied().unwrap_or(Name::ROOT);
            groups.push((forward.zones.clone(), group(&forward.servers, &groups).about(about)));
        }
        let (_, default) = groups.remove(0);
        let groups = Router::new(default, groups);
        let mut forwarder =
            Forwarder { groups, meets: settings.meet, routes: Vec::new(), watch: watch.cloned() };
        for route in &settings.routes {
            let known = [before, &forwarder.all()].concat();
            let asks = Forwarder::beside(&settings.routed(route), &known, watch);
            forwarder.routes.push((route.groups.clone(), Arc::new(asks)));
        }
        forwarder
    }

    /// What is to be told when the network is another one; the same for all that follow this one.
    pub fn network(&self) -> &Network {
        self.groups.default().network()
    }

    /// The address that each server would be asked from now; none where no way leads to it. Where a host is to be looked up, it is
    /// those who are asked for that.
    pub fn ways(&self) -> Vec<Option<IpAddr>> {
        let asked = |server: &Server| -> Vec<SocketAddr> {
            match server.host() {
                None => vec![server.addr],
                Some(_) => server.bootstrap.iter().map(|server| server.addr).collect(),
            }
        };
        self.tallies().iter().flat_map(|tally| asked(&tally.server)).map(network::way_to).collect()
    }

    /// Each upstream's counts, with the zones it is asked about and for whom, in the order of the settings.
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
        for (groups, route) in &self.routes {
            for tally in route.tallies() {
                match tallies.iter_mut().find(|other| other.server == tally.server) {
                    Some(everybodys) if everybodys.groups.is_empty() => {}
                    Some(same) => same.groups.extend_from_slice(groups),
                    None => tallies.push(Tally { groups: groups.clone(), ..tally }),
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

    async fn go_on(&self, question: &Question, begun: Begun, late: Late) -> Result<Vec<u8>, AskError> {
        self.groups.go_on(question, begun, late).await
    }

    fn asked_of(&self, question: &Question) -> Vec<String> {
        self.groups.asked_of(question)
    }

    fn changes(&self) -> u64 {
        self.network().changes()
    }
}

impl Link {
    /// What asks a server.
    fn by(
        settings: &Settings,
        network: &Arc<Network>,
        watch: Option<&Watch>,
    ) -> impl Fn(&Server) -> Link + use<> {
        // Before it is asked once more.
        let hung_after = settings.try_timeout / 2;
        let (max_ports, cookies, source) = (settings.max_ports, settings.cookies, settings.source);
        let roots = settings.roots.clone();
        let trust = LazyCell::new(move || Trust::new(&roots));
        let (settings, network) = (bootstrap(settings), Arc::clone(network));
        let bootstraps = Bootstraps { settings, network, watch: watch.cloned(), known: RefCell::default() };
        let watch = watch.cloned();
        move |server| {
            let places = bootstraps.places(server);
            let watched = |by: Carrier| watch.as_ref().map(|watch| watch.of(server.addr, by));
            match &server.protocol {
                Protocol::Udp => {
                    let case = Arc::new(Case::of(server));
                    let datagram =
                        Datagram::new(server.addr, max_ports, (cookies, source), Arc::clone(&case));
                    let datagram = datagram.watched(watched(Carrier::Udp));
                    let stream = Pool::new(Tcp::new(places), hung_after).watched(watched(Carrier::Tcp));
                    Link::Udp(Mannered::new(Fallback::new(datagram, stream, case)))
                }
                Protocol::Tcp => {
                    let stream = Pool::new(Tcp::new(places), hung_after).watched(watched(Carrier::Tcp));
                    Link::Tcp(Mannered::new(stream))
                }
                Protocol::Tls(identity) => {
                    let tls = Tls::new(Tcp::new(places), Spoken::Dns, identity, &trust);
                    Link::Tls(Mannered::new(Pool::new(tls, hung_after).watched(watched(Carrier::Tls))))
                }
                Protocol::Https(identity, resource) => {
                    let tls = Tls::new(Tcp::new(places), Spoken::Http2, identity, &trust);
                    let target = Target::new(identity, server.addr, resource);
                    let http = Pool::new(Http2::new(tls, target), hung_after);
                    Link::Https(Mannered::new(http.watched(watched(Carrier::Http2))))
                }
                Protocol::Quic(identity) => {
                    // RFC 9250 §4.3.3: a server that opens streams breaks the rules.
                    let quic = Quic::new(places, Spoken::Quic, identity, &trust, 0);
                    let quic = Pool::new(Doq::new(quic), hung_after);
                    Link::Quic(Mannered::new(quic.watched(watched(Carrier::Quic))))
                }
                Protocol::Http3(identity, resource) => {
                    let quic = Quic::new(places, Spoken::Http3, identity, &trust, THEIR_STREAMS);
                    let target = Target::new(identity, server.addr, resource);
                    let http = Pool::new(Http3::new(quic, target), hung_after);
                    Link::Http3(Mannered::new(http.watched(watched(Carrier::Http3))))
                }
            }
        }
    }
}

/// How servers are asked that are asked for the addresses of upstreams, but for who they are: in half of a question's time, which
/// leaves the other half for the question.
fn bootstrap(settings: &Settings) -> Settings {
    Settings {
        servers: Vec::new(),
        forwards: Vec::new(),
        routes: Vec::new(),
        strategy: Strategy::InOrder,
        hedge: false,
        meet: false,
        try_timeout: (settings.try_timeout / 2).min(settings.total_timeout / 2),
        total_timeout: settings.total_timeout / 2,
        max_in_flight: BOOTSTRAP_IN_FLIGHT,
        max_per_server: BOOTSTRAP_IN_FLIGHT,
        max_ports: BOOTSTRAP_PORTS,
        cookies: settings.cookies,
        source: settings.source,
        trust_ad: false,
        roots: settings.roots.clone(),
    }
}

impl Bootstraps {
    /// Where a server is: at the address that is given, or wherever its bootstrap says.
    fn places(&self, server: &Server) -> Places {
        let Some(host) = server.host() else { return Places::At(server.addr) };
        let lookup = self.lookup(&server.bootstrap);
        let patience = self.settings.total_timeout;
        Places::Of(Box::new(Host::new(host, server.addr.port(), lookup, patience)))
    }

    /// Who asks these, at addresses that are given: one for all whose bootstrap they are.
    fn lookup(&self, bootstrap: &Arc<[Server]>) -> Arc<dyn Lookup> {
        let mut known = self.known.borrow_mut();
        if let Some(known) = known.iter().find(|known| known.servers == *bootstrap) {
            return Arc::clone(&known.lookup);
        }
        let given = bootstrap.iter().filter(|server| server.host().is_none());
        let settings = Settings { servers: given.cloned().collect(), ..self.settings.clone() };
        let ask = Failover::new(&settings, Link::by(&settings, &self.network, self.watch.as_ref()), None)
            .within(&self.network);
        let words = || " (for addresses of upstreams)".to_owned();
        ask.upstreams().iter().for_each(|known| known.standing.is_about(words()));
        let lookup: Arc<dyn Lookup> = Arc::new(Hosts::new(Arc::new(ask)));
        known.push(Bootstrap { servers: Arc::clone(bootstrap), lookup: Arc::clone(&lookup) });
        lookup
    }
}

impl Exchange for Link {
    async fn exchange(&self, question: &Question, manner: Manner) -> Result<Vec<u8>, Failure> {
        match self {
            Link::Udp(udp) => udp.exchange(question, manner).await,
            Link::Tcp(tcp) => tcp.exchange(question, manner).await,
            Link::Tls(tls) => tls.exchange(question, manner).await,
            Link::Https(https) => https.exchange(question, manner).await,
            Link::Quic(quic) => quic.exchange(question, manner).await,
            Link::Http3(http3) => http3.exchange(question, manner).await,
        }
    }

    fn may_begin(&self) -> bool {
        matches!(self, Link::Udp(udp) if udp.may_begin())
    }

    fn begin(&self, question: &Question, landing: Landing, due: Instant) {
        match self {
            Link::Udp(udp) => udp.begin(question, landing, due),
            // A stream may have to be opened first.
            _ => landing(Came::Reply(Err(Failure::Busy))),
        }
    }

    async fn go_on(&self, question: &Question, came: Came) -> Result<Vec<u8>, Failure> {
        match self {
            Link::Udp(udp) => udp.go_on(question, came).await,
            _ => came.reply().await,
        }
    }

    fn renew(&self) {
        match self {
            Link::Udp(udp) => udp.renew(),
            Link::Tcp(tcp) => tcp.renew(),
            Link::Tls(tls) => tls.renew(),
            Link::Https(https) => https.renew(),
            Link::Quic(quic) => quic.renew(),
            Link::Http3(http3) => http3.renew(),
        }
    }

    fn guesses(&self) -> u64 {
        match self {
            Link::Udp(udp) => udp.guesses(),
            Link::Tcp(tcp) => tcp.guesses(),
            Link::Tls(tls) => tls.guesses(),
            Link::Https(https) => https.guesses(),
            Link::Quic(quic) => quic.guesses(),
            Link::Http3(http3) => http3.guesses(),
        }
    }

    fn cookied(&self) -> Cookied {
        match self {
            Link::Udp(udp) => udp.cookied(),
            // A stream shows by its handshake that we are there, and that it is the server who answers; a certificate shows more.
            _ => Cookied::default(),
        }
    }
}
