//! Whom to ask and how long, as it is set.

use std::collections::HashSet;
use std::time::Duration;

use super::ports::MAX_PORTS;
use super::race::most_tries;
use super::roots::Roots;
use super::server::Server;
use super::source::Source;
use super::strategy::Strategy;
use crate::name::Name;

/// Upstreams that are used; more would only be reached after every client gave up.
pub const MAX_SERVERS: usize = 16;

/// Whom to ask, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The upstreams in order of preference, if `strategy` goes by that; none by default. What exceeds [`MAX_SERVERS`] is not used.
    pub servers: Vec<Server>,
    /// Who is asked instead about names of some zones; nobody by default.
    pub forwards: Vec<Forward>,
    /// Who is asked in place of all these what some clients ask; nobody by default.
    pub routes: Vec<Route>,
    /// Whom of several a question asks first, and who is next; in order by default.
    pub strategy: Strategy,
    /// Whether another upstream is asked as well where one is slower than nineteen of twenty of its replies were, for one question of
    /// twenty at most; not by default.
    pub hedge: bool,
    /// Whether each of several upstreams is asked one question of our own when they are put in force, so that one that is down is known
    /// before anybody waits for it; as it is by default.
    pub meet: bool,
    /// How long one upstream is waited for, at most, before the next is asked or itself once more; 1.5 seconds by default, and less
    /// where its replies came faster lately. With several upstreams the first wait for each is half of it, so that one dead server does
    /// not cost more than the second best's whole answer. What comes later is an answer all the same.
    pub try_timeout: Duration,
    /// How long all of it may take; 4 seconds by default, below the 5 that stub resolvers wait.
    pub total_timeout: Duration,
    /// Questions under way at once; 4096 by default.
    pub max_in_flight: usize,
    /// Tries under way at one server at once, whoever asks; by default what all questions may have. Beyond it the next one is asked.
    pub max_per_server: usize,
    /// Ports that each server is asked from at once, [`MAX_PORTS`] by default and at most, and one at least.
    pub max_ports: usize,
    /// Whether servers that are asked by datagram are given DNS cookies, and have to show them; they are by default.
    pub cookies: bool,
    /// The prefix of which each port has a random address, toward servers that are asked by datagram over IPv6; the system's choice by default.
    pub source: Option<Source>,
    /// Whether servers of other hosts are believed that they have validated an answer (AD); not by default, since what comes in clear
    /// over a network may be anybody's word. Those of this host are, and those that are asked over TLS.
    pub trust_ad: bool,
    /// Whose signatures count on certificates of servers that are asked over TLS.
    pub roots: Roots,
}

/// Whom to ask about names of some zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The zones. Of all in which a name is, the one with the most labels decides who is asked.
    pub zones: Vec<Name>,
    /// The upstreams in order of preference. What exceeds [`MAX_SERVERS`] is not used.
    pub servers: Vec<Server>,
}

/// Whom to ask what some clients ask. Which clients those are is for others to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The names of their groups.
    pub groups: Vec<String>,
    /// The upstreams in order of preference.
    pub servers: Vec<Server>,
    /// Who is asked instead about names of some zones.
    pub forwards: Vec<Forward>,
}

impl Settings {
    /// Whether all who were asked by `before` are asked still, about the same and as strictly: then what they said is an answer still.
    /// Others may be asked as well, and otherwise.
    pub fn still_asks(&self, before: &Settings) -> bool {
        let servers = |now: &[Server], then: &[Server]| then.iter().all(|server| now.contains(server));
        let forwards = |now: &[Forward], then: &[Forward]| {
            let same = |(now, then): (&Forward, &Forward)| {
                now.zones == then.zones && servers(&now.servers, &then.servers)
            };
            now.len() == then.len() && now.iter().zip(then).all(same)
        };
        let route = |(now, then): (&Route, &Route)| {
            now.groups == then.groups
                && servers(&now.servers, &then.servers)
                && forwards(&now.forwards, &then.forwards)
        };
        self.trust_ad == before.trust_ad
            && self.roots == before.roots
            && servers(&self.servers, &before.servers)
            && forwards(&self.forwards, &before.forwards)
            && self.routes.len() == before.routes.len()
            && self.routes.iter().zip(&before.routes).all(route)
    }

    /// The same with these servers in place of all others.
    pub(super) fn asking(&self, servers: &[Server]) -> Settings {
        Settings { servers: servers.to_vec(), forwards: Vec::new(), routes: Vec::new(), ..self.clone() }
    }

    /// The same with those of a route in place of all others.
    pub(super) fn routed(&self, route: &Route) -> Settings {
        Settings { forwards: route.forwards.clone(), ..self.asking(&route.servers) }
    }

    /// How many servers are used, each once whatever it is asked about; those that are asked for addresses of others are others.
    pub fn count_servers(&self) -> usize {
        let all = std::iter::once((&self.servers, &self.forwards));
        let all = all.chain(self.routes.iter().map(|route| (&route.servers, &route.forwards)));
        let groups = all.flat_map(|(servers, forwards)| {
            std::iter::once(servers).chain(forwards.iter().map(|group| &group.servers))
        });
        let used: HashSet<_> = groups.flat_map(|servers| servers.iter().take(MAX_SERVERS)).collect();
        let asked: HashSet<_> = used.iter().flat_map(|server| server.bootstrap.iter()).collect();
        used.len() + asked.len()
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            servers: Vec::new(),
            forwards: Vec::new(),
            routes: Vec::new(),
            strategy: Strategy::InOrder,
            hedge: false,
            meet: true,
            try_timeout: Duration::from_millis(1500),
            total_timeout: Duration::from_secs(4),
            max_in_flight: 4096,
            max_per_server: most_tries(4096),
            max_ports: MAX_PORTS,
            cookies: true,
            source: None,
            trust_ad: false,
            roots: Roots::BuiltIn,
        }
    }
}
