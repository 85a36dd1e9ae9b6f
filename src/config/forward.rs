//! Upstreams as they are written, and `[[forward]]`: who is asked about names of some zones.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::layer::Layers;
use super::{Config, own, spec};
use crate::name::Name;
use crate::orders;
use crate::problem::Problem;
use crate::upstream::{Forward, Server};

/// Groups of upstreams: each has servers of its own, which hold ports and connections.
const MAX_GROUPS: usize = 64;
/// Zones of all groups.
const MAX_ZONES: usize = 1024;

/// The upstream that a text names, with who is asked for its address if it is a host and there can be such; else what is wrong with
/// the text, and what to write.
pub(super) fn server(
    text: &str,
    own: &[SocketAddr],
    bootstrap: Option<&Arc<[Server]>>,
) -> Result<Server, (String, &'static str)> {
    let of_itself = |server: &Server| server.host().is_none() && own::is_self(server.addr, own);
    let mut server: Server = text.parse().map_err(|error| {
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

/// Reads the groups, noting all problems.
pub(super) fn read(
    groups: &[spec::Forward],
    (own, bootstrap): (&[SocketAddr], &Arc<[Server]>),
    layers: &Layers,
    problems: &mut Vec<Problem>,
) -> Vec<Forward> {
    let mut reader = Reader { layers, problems, taken: HashMap::new() };
    if groups.len() > MAX_GROUPS {
        let hint = "zones that are asked of the same servers may stand in one";
        reader.bad("", &format!("has more than {MAX_GROUPS} groups"), hint);
    }
    if groups.iter().map(|group| group.zones.len()).sum::<usize>() > MAX_ZONES {
        let hint = "a zone holds for all names below it: name those, not each name";
        reader.bad("", &format!("has more than {MAX_ZONES} zones"), hint);
    }
    let read = |(index, group): (usize, &spec::Forward)| Forward {
        zones: reader.zones(index, &group.zones),
        servers: reader.servers(&format!("[{index}].servers"), &group.servers, (own, bootstrap)),
    };
    groups.iter().enumerate().map(read).collect()
}

/// The same, but names that others are asked about are not answered here.
///
/// RFC 6761 §6.1: "Caching DNS servers SHOULD offer a configuration option (disabled by default) to enable upstream resolution of
/// such names, for use in private networks where private-address reverse-mapping names are known to be handled by an authoritative
/// DNS server in said private network." Who names a server for them has said so.
pub(super) fn not_local(mut config: Config) -> Config {
    let zones = config.upstream.forwards.iter().flat_map(|group| &group.zones);
    config.local_zones.not_local.extend(zones);
    config
}

/// Reads groups, collecting problems.
struct Reader<'a> {
    /// Where values stand.
    layers: &'a Layers,
    /// What is wrong with them.
    problems: &'a mut Vec<Problem>,
    /// The group of each zone so far.
    taken: HashMap<Name, usize>,
}

impl Reader<'_> {
    /// Notes a problem with a place such as `[0].zones[1]`.
    fn bad(&mut self, path: &str, what: &str, hint: &str) {
        self.problems.push(self.layers.problem_in("forward", path, what).hint(hint));
    }

    /// Reads the zones of a group.
    fn zones(&mut self, group: usize, texts: &[String]) -> Vec<Name> {
        let path = format!("[{group}].zones");
        if texts.is_empty() {
            self.bad(
                &path,
                "is empty",
                "write [\"fritz.box\"]; all other names are asked of upstream.servers",
            );
        }
        let each = texts.iter().enumerate();
        each.filter_map(|(index, text)| self.zone(group, &format!("{path}[{index}]"), text)).collect()
    }

    /// Reads a zone, which no group before has.
    fn zone(&mut self, group: usize, path: &str, text: &str) -> Option<Name> {
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
        if let Some(other) = self.taken.insert(zone, group) {
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
                Ok(server) => servers.push(server),
                Err((what, hint)) => self.bad(&format!("{path}[{index}]"), &what, hint),
            }
        }
        servers
    }
}
