//! Upstreams as they are written, and `[[forward]]`: who is asked about names of some zones, and for some clients.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::layer::Layers;
use super::spec::Spec;
use super::{Config, own, spec};
use crate::clients::DEFAULT;
use crate::keys;
use crate::name::Name;
use crate::orders;
use crate::problem::Problem;
use crate::upstream::{Forward, Protocol, Route, Server, ServerError};

/// Groups of upstreams: each has servers of its own, which hold ports and connections.
const MAX_GROUPS: usize = 64;
/// Zones of all groups.
const MAX_ZONES: usize = 1024;
/// Clients who are told otherwise than others: each such set of groups has a cache of its own, and questions of its own under way.
const MAX_ROUTES: usize = 16;

/// The upstream that a text names, with who is asked for its address if it is a host and there can be such; else what is wrong with
/// the text, and what to write.
pub(super) fn server(
    text: &str,
    own: &[SocketAddr],
    bootstrap: Option<&Arc<[Server]>>,
) -> Result<Server, (String, &'static str)> {
    let of_itself = |server: &Server| server.host().is_none() && own::is_self(server.addr, own);
    let mut server: Server = text.parse().map_err(|error| {
        if matches!(error, ServerError::Dialect(_)) {
            // It says how to write it.
            return (format!("is \"{text}\": {error}"), "");
        }
        let hint = "write \"udp://192.0.2.1:53\", \"tcp://[2001:db8::1]:53\", \"tls://dns.example@192.0.2.1\", \"https://dns.example@192.0.2.1/dns-query\", or an address alone";
        (format!("is \"{text}\": {error}"), hint)
    })?;
    if of_itself(&server) || server.bootstrap.iter().any(of_itself) {
        return Err((
            format!("is \"{text}\", which is this server itself"),
            "name another resolver: questions would go in circles",
        ));
    }
    if server.host().is_some() && server.bootstrap.is_empty() {
        server.bootstrap = match bootstrap {
            Some(known) if !known.is_empty() => Arc::clone(known),
            known => {
                let hint = match known {
                    Some(_) => {
                        "name who is to be asked for it, upstream.bootstrap = [\"9.9.9.9\"], or write the address behind the host: host@192.0.2.1"
                    }
                    None => "write its address behind the host: host@192.0.2.1",
                };
                return Err((format!("is \"{text}\", and nobody is named who knows its address"), hint));
            }
        };
    }
    Ok(server)
}

/// What is odd about a server, where it may work all the same.
pub(super) fn remark(server: &Server, text: &str, place: impl Fn(&str) -> Problem) -> Option<Problem> {
    let what = server.remark()?;
    let hint = "leave the port out to have the usual one; nothing is to be done if the server is there";
    Some(place(&format!("is \"{text}\", which {what}")).hint(hint).as_warning())
}

/// Reads the groups, noting all problems: whom everybody's questions go to, and those of some clients. All else is asked of `servers`.
pub(super) fn read(
    spec: &Spec,
    servers: &mut [Server],
    (own, bootstrap): (&[SocketAddr], &Arc<[Server]>),
    (layers, problems): (&Layers, &mut Vec<Problem>),
) -> (Vec<Forward>, Vec<Route>) {
    let groups = &spec.forward;
    let mut reader = Reader { layers, problems, taken: HashMap::new() };
    if groups.len() > MAX_GROUPS {
        let hint = "zones that are asked of the same servers may stand in one";
        reader.bad("", &format!("has more than {MAX_GROUPS} groups"), hint);
    }
    if groups.iter().map(|group| group.zones.len()).sum::<usize>() > MAX_ZONES {
        let hint = "a zone holds for all names below it: name those, not each name";
        reader.bad("", &format!("has more than {MAX_ZONES} zones"), hint);
    }
    let known: Vec<&str> =
        std::iter::once(DEFAULT).chain(spec.clients.iter().map(|group| &*group.name)).collect();
    let mut read = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let clients = reader.clients(index, &group.groups, &known);
        let zones = reader.zones(index, group, &clients);
        let mut servers = reader.servers(&format!("[{index}].servers"), &group.servers, (own, bootstrap));
        set_case(&mut servers, group.random_case.or(spec.upstream.random_case));
        read.push(Read { clients, forward: Forward { zones, servers } });
    }
    agree_on_case(servers, &mut read);
    let routes = routes(&read, servers);
    if routes.len() > MAX_ROUTES {
        let what = format!("has more than {MAX_ROUTES} ways of asking for groups of clients");
        reader.bad("", &what, "groups that are asked for in the same way may stand in one");
    }
    let everybodys = read.into_iter().filter(|read| read.clients.is_empty());
    (everybodys.map(|read| read.forward).collect(), routes)
}

/// Has servers asked in random case or not, as it is said of them; they are where nothing is. It is about datagrams alone, and others
/// stay as they are, with their connections.
pub(super) fn set_case(servers: &mut [Server], random: Option<bool>) {
    for server in servers.iter_mut().filter(|server| server.protocol == Protocol::Udp) {
        server.random_case = random.unwrap_or(true);
    }
}

/// Has those that one group says to compare case asked in lower case by all: it is so whoever asks, and a server is one for all who
/// name it.
fn agree_on_case(servers: &mut [Server], read: &mut [Read]) {
    let groups = read.iter_mut().map(|read| &mut read.forward.servers[..]);
    let mut all: Vec<&mut Server> = std::iter::once(servers).chain(groups).flatten().collect();
    let compare: HashSet<SocketAddr> =
        all.iter().filter(|server| !server.random_case).map(|server| server.addr).collect();
    all.iter_mut().filter(|server| server.protocol == Protocol::Udp).for_each(|server| {
        server.random_case &= !compare.contains(&server.addr);
    });
}

/// A group as read.
struct Read {
    /// The groups of clients it is for; none means everybody.
    clients: Vec<String>,
    /// Whom to ask. Without zones it is about all names.
    forward: Forward,
}

/// Who is asked for groups of clients: by what is said of them alone, else as for everybody. Groups of which the same is said are one.
fn routes(read: &[Read], servers: &[Server]) -> Vec<Route> {
    let mut routes: Vec<(Vec<usize>, Route)> = Vec::new();
    let mut seen = HashSet::new();
    for name in read.iter().flat_map(|read| &read.clients).filter(|name| seen.insert(*name)) {
        let is_own = |(_, read): &(usize, &Read)| read.clients.contains(name);
        let own: Vec<usize> = read.iter().enumerate().filter(is_own).map(|(index, _)| index).collect();
        if let Some((_, same)) = routes.iter_mut().find(|(of, _)| *of == own) {
            same.groups.push(name.clone());
            continue;
        }
        let forwards = || own.iter().filter_map(|index| read.get(*index)).map(|read| &read.forward);
        let everything = forwards().find(|forward| forward.zones.is_empty());
        let everybodys = read.iter().filter(|read| read.clients.is_empty()).map(|read| &read.forward);
        // Of two that are about the same zone the first counts.
        let zoned = forwards().filter(|forward| !forward.zones.is_empty()).chain(everybodys);
        let route = Route {
            groups: vec![name.clone()],
            servers: everything.map_or(servers, |forward| &forward.servers).to_vec(),
            forwards: zoned.cloned().collect(),
        };
        routes.push((own, route));
    }
    routes.into_iter().map(|(_, route)| route).collect()
}

/// The same, but names that others are asked about are not answered here.
///
/// RFC 6761 §6.1: "Caching DNS servers SHOULD offer a configuration option (disabled by default) to enable upstream resolution of
/// such names, for use in private networks where private-address reverse-mapping names are known to be handled by an authoritative
/// DNS server in said private network." Who names a server for them has said so.
pub(super) fn not_local(mut config: Config) -> Config {
    let zones = config.upstream.forwards.iter().flat_map(|group| &group.zones);
    config.special.forward.extend(zones);
    config
}

/// The same, but answers of zones that somebody is named for may lead to addresses of this network: they are of this network, mostly.
pub(super) fn may_lead_inside(mut config: Config) -> Config {
    let of_groups =
        config.upstream.routes.iter().flat_map(|route| &route.forwards).flat_map(|group| &group.zones);
    let zones: Vec<_> = config.special.forward.iter().chain(of_groups).copied().collect();
    config.rebinding = config.rebinding.and(zones);
    config
}

/// Reads groups, collecting problems.
struct Reader<'a> {
    /// Where values stand.
    layers: &'a Layers,
    /// What is wrong with them.
    problems: &'a mut Vec<Problem>,
    /// The group of each zone so far, for clients of a group or for everybody.
    taken: HashMap<(Name, Option<String>), usize>,
}

impl Reader<'_> {
    /// Notes a problem with a place such as `[0].zones[1]`.
    fn bad(&mut self, path: &str, what: &str, hint: &str) {
        self.problems.push(self.layers.problem_in("forward", path, what).hint(hint));
    }

    /// Reads the groups of clients that a group is for, each once.
    fn clients(&mut self, group: usize, texts: &[String], known: &[&str]) -> Vec<String> {
        let mut clients = Vec::new();
        let mut seen = HashSet::new();
        for (index, text) in texts.iter().enumerate() {
            if !known.contains(&text.as_str()) {
                let hint = match keys::nearest(text, known.iter().copied()) {
                    Some(nearest) => format!("did you mean \"{nearest}\"?"),
                    None => format!(
                        "groups are those of [[clients]], by their names, and \"{DEFAULT}\" for everybody else"
                    ),
                };
                let what = format!("is \"{}\", which is no group of clients", text.escape_debug());
                self.bad(&format!("[{group}].groups[{index}]"), &what, &hint);
            } else if seen.insert(text) {
                clients.push(text.clone());
            }
        }
        clients
    }

    /// Reads the zones of a group, which is for these clients.
    fn zones(&mut self, group: usize, spec: &spec::Forward, clients: &[String]) -> Vec<Name> {
        let (path, texts) = (format!("[{group}].zones"), &spec.zones);
        if texts.is_empty() && spec.groups.is_empty() {
            self.bad(
                &path,
                "is empty",
                "write [\"fritz.box\"]; all other names are asked of upstream.servers",
            );
        }
        if texts.is_empty()
            && let Some(other) = self.take(group, Name::ROOT, clients)
        {
            let what = format!("is for clients whose questions all go to forward[{other}] already");
            self.bad(&format!("[{group}]"), &what, "put them together, or take one out");
        }
        let each = texts.iter().enumerate();
        let read =
            each.filter_map(|(index, text)| self.zone(group, &format!("{path}[{index}]"), text, clients));
        read.collect()
    }

    /// Notes whom a zone is asked of for these clients; the group that has that already.
    fn take(&mut self, group: usize, zone: Name, clients: &[String]) -> Option<usize> {
        let mut whose: Vec<Option<String>> = clients.iter().cloned().map(Some).collect();
        if whose.is_empty() {
            whose.push(None);
        }
        let before: Vec<_> = whose.into_iter().map(|whose| self.taken.insert((zone, whose), group)).collect();
        before.into_iter().flatten().next()
    }

    /// Reads a zone, which no group before has for any of these clients.
    fn zone(&mut self, group: usize, path: &str, text: &str, clients: &[String]) -> Option<Name> {
        let shown = text.escape_debug();
        if text.trim() == "." {
            let hint = "whom to ask about all names is upstream.servers";
            self.bad(path, "is the root: all names are in it", hint);
            return None;
        }
        let zone = match orders::names::name(text) {
            Ok(zone) => zone,
            Err(error) => {
                let hint = "write it as fritz.box: all names below it are in it";
                self.bad(path, &format!("is \"{shown}\": {error}"), hint);
                return None;
            }
        };
        if let Some(other) = self.take(group, zone, clients) {
            let hint = "a zone has one list of servers: put them together, or take one out";
            self.bad(path, &format!("is \"{shown}\", which forward[{other}] has already"), hint);
        }
        Some(zone)
    }

    /// Reads the servers of a group. Who has none would mean what others do by it, and they differ: to Unbound such a zone is like
    /// any other, to dnsmasq one that nobody is asked about.
    fn servers(
        &mut self,
        path: &str,
        texts: &[String],
        (own, bootstrap): (&[SocketAddr], &Arc<[Server]>),
    ) -> Vec<Server> {
        if texts.is_empty() {
            let hint = "name who is asked about its zones; to have one asked like all others, name those of upstream.servers";
            self.bad(path, "is empty", hint);
        }
        let mut servers = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match server(text, own, Some(bootstrap)) {
                Ok(server) if servers.contains(&server) => {}
                Ok(server) => {
                    let place =
                        |what: &str| self.layers.problem_in("forward", &format!("{path}[{index}]"), what);
                    let remark = remark(&server, text, place);
                    self.problems.extend(remark);
                    servers.push(server);
                }
                Err((what, hint)) => self.bad(&format!("{path}[{index}]"), &what, hint),
            }
        }
        servers
    }
}
