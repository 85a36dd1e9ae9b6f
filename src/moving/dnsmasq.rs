//! dnsmasq.conf: options a line, as on its command line without the hyphens.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::moved::{DNS_PORT, Moved, Place};
use super::rules::{Act, Cover};
use super::text;
use crate::config::spec::{ClientGroup, Size};
use crate::ecs;
use crate::name::Name;
use crate::problem::Problem;
use crate::upstream::Strategy;

/// Files that include others, at most.
const MAX_DEPTH: usize = 8;
/// Where leases are if nothing else is said.
const LEASES: &str = "/var/lib/misc/dnsmasq.leases";
/// Why what is about DHCP, TFTP and the like is not carried over.
const NO_DHCP: &str =
    "addresses are not given out here: leave that to a DHCP server, whose leases `leases` of [[local]] reads";
/// Why what is about the process is not carried over.
const PROCESS: &str = "how the process runs is for the service manager to say";

/// Options that say nothing which is not so here anyway.
const SAME: [&str; 14] = [
    "bind-interfaces",
    "bind-dynamic",
    "localise-queries",
    "no-poll",
    "domain-needed",
    "no-daemon",
    "keep-in-foreground",
    "local-service",
    "clear-on-reload",
    "no-round-robin",
    "edns-packet-max",
    "rebind-localhost-ok",
    "filterwin2k",
    "no-ident",
];

/// What was read so far, and holds for all of it.
#[derive(Default)]
struct Said {
    /// `domain`.
    domain: Option<Name>,
    /// `expand-hosts`.
    expand: bool,
    /// `no-hosts`.
    no_hosts: bool,
    /// `port`.
    port: Option<u16>,
    /// `listen-address`, where.
    listen: Vec<(Place, String)>,
    /// `addn-hosts`.
    hosts: Vec<(Place, String)>,
    /// `dhcp-range`, where.
    dhcp: Option<Place>,
    /// `dhcp-leasefile`.
    leases: Option<String>,
    /// Zones that nobody else is asked about.
    own_zones: Vec<(Place, Name)>,
    /// `stop-dns-rebind`.
    rebind: bool,
    /// Types that are told to nobody.
    filter: Vec<String>,
    /// `no-resolv`.
    no_resolv: bool,
    /// `bogus-priv`.
    bogus_priv: bool,
}

/// Reads a configuration with all that it includes.
pub(super) fn read(path: &Path, moved: &mut Moved) -> Result<(), Problem> {
    let mut said = Said::default();
    file(path, 0, &mut said, moved)?;
    finish(path, said, moved);
    Ok(())
}

/// Reads one file.
fn file(path: &Path, depth: usize, said: &mut Said, moved: &mut Moved) -> Result<(), Problem> {
    for (number, line) in text::lines(&text::read(path)?) {
        let line = without_comment(line);
        if line.is_empty() {
            continue;
        }
        let place = Place::new(path, number);
        let (option, value) =
            line.split_once('=').map_or((line, ""), |(option, value)| (option.trim(), value.trim()));
        match option {
            "conf-file" | "servers-file" => include(&place, &[PathBuf::from(value)], depth, said, moved),
            "conf-dir" => {
                let files = folder(&place, value, moved);
                include(&place, &files, depth, said, moved);
            }
            _ => one(&place, option, value, said, moved),
        }
    }
    Ok(())
}

/// Reads files that are included.
fn include(place: &Place, files: &[PathBuf], depth: usize, said: &mut Said, moved: &mut Moved) {
    for path in files {
        if depth >= MAX_DEPTH {
            moved.left(place, path.to_string_lossy(), "files that include others are read eight deep");
        } else if let Err(problem) = file(path, depth + 1, said, moved) {
            moved.left(place, path.to_string_lossy(), problem.message);
        }
    }
}

/// The files of `conf-dir`, by name: all, those with an ending, or all but those.
fn folder(place: &Place, value: &str, moved: &mut Moved) -> Vec<PathBuf> {
    let mut words = value.split(',').map(str::trim);
    let path = words.next().unwrap_or_default();
    let (only, not): (Vec<&str>, Vec<&str>) =
        words.filter(|word| !word.is_empty()).partition(|word| word.starts_with('*'));
    let wanted = |name: &str| {
        let hidden =
            name.starts_with('.') || name.ends_with('~') || name.starts_with('#') && name.ends_with('#');
        let ends = |ending: &&str| name.ends_with(ending.trim_start_matches('*'));
        !hidden && (only.is_empty() || only.iter().any(ends)) && !not.iter().any(ends)
    };
    match std::fs::read_dir(path) {
        Ok(entries) => {
            let files = entries.flatten().map(|entry| entry.path());
            let named = |path: &PathBuf| path.file_name().is_some_and(|name| wanted(&name.to_string_lossy()));
            let mut files: Vec<PathBuf> = files.filter(|path| path.is_file() && named(path)).collect();
            files.sort();
            files
        }
        Err(error) => {
            moved.left(place, value, format!("cannot be read: {error}"));
            Vec::new()
        }
    }
}

/// A line without its comment, which begins with the line or behind white space, outside of quotes.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut before) = (false, ' ');
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted && before.is_whitespace() => return line[..at].trim_end(),
            _ => {}
        }
        before = c;
    }
    line
}

/// Reads one option.
fn one(place: &Place, option: &str, value: &str, said: &mut Said, moved: &mut Moved) {
    let shown = if value.is_empty() { option.to_owned() } else { format!("{option}={value}") };
    match option {
        "port" => said.port = value.parse().ok(),
        "listen-address" => said.listen.extend(words(value).map(|word| (place.clone(), word.to_owned()))),
        "server" | "local" => server(place, &shown, value, said, moved),
        "rev-server" => rev_server(place, &shown, value, moved),
        "address" => address(place, &shown, value, moved),
        "host-record" => host_record(place, value, moved),
        "cname" => cname(place, &shown, value, moved),
        "ptr-record" => {
            record(place, value, moved, |rest| Some(format!("PTR {}.", rest.first()?.trim_end_matches('.'))))
        }
        "txt-record" => record(place, value, moved, |rest| {
            let quoted =
                rest.iter().map(|text| format!("\"{}\"", text.trim_matches('"').replace('"', "\\\"")));
            Some(format!(
                "TXT {}",
                if rest.is_empty() { "\"\"".to_owned() } else { quoted.collect::<Vec<_>>().join(" ") }
            ))
        }),
        "mx-host" => record(place, value, moved, |rest| {
            Some(format!("MX {} {}.", rest.get(1).unwrap_or(&"1"), rest.first()?.trim_end_matches('.')))
        }),
        "srv-host" => record(place, value, moved, |rest| {
            let at = |index: usize| rest.get(index).copied().unwrap_or("0");
            let port = rest.get(1).copied().unwrap_or("1");
            Some(format!("SRV {} {} {port} {}.", at(2), at(3), rest.first()?.trim_end_matches('.')))
        }),
        "domain" => match value.contains([',', '#']) {
            true => moved.left(place, shown, "one domain is for all; name others as zones of [[local]]"),
            false => said.domain = moved.name(place, value),
        },
        "expand-hosts" => said.expand = true,
        "no-hosts" => said.no_hosts = true,
        "addn-hosts" => said.hosts.push((place.clone(), value.to_owned())),
        "dhcp-range" => {
            said.dhcp.get_or_insert(place.clone());
        }
        "dhcp-leasefile" | "dhcp-lease-file" => said.leases = Some(value.to_owned()),
        "stop-dns-rebind" => said.rebind = true,
        "rebind-domain-ok" => {
            let zones: Vec<Name> = value
                .split('/')
                .filter(|zone| !zone.is_empty())
                .filter_map(|zone| moved.name(place, zone))
                .collect();
            moved.spec.rebinding.allow.get_or_insert_default().extend(zones.iter().map(Name::to_string));
        }
        "cache-size" if value == "0" => moved.spec.cache.size = Some(Size::Octets(0)),
        "cache-size" => moved.differs(
            place,
            shown,
            "the cache is measured in octets here: [cache] size, 64 MiB unless set",
        ),
        "min-cache-ttl" => moved.spec.cache.min_ttl = value.parse().ok(),
        "max-cache-ttl" => moved.spec.cache.max_ttl = value.parse().ok(),
        "neg-ttl" => moved.spec.cache.negative_min_ttl = value.parse().ok(),
        "dns-forward-max" => moved.spec.upstream.max_in_flight = value.parse().ok(),
        "filter-AAAA" => said.filter.push("AAAA".to_owned()),
        "filter-A" => said.filter.push("A".to_owned()),
        "filter-rr" => said.filter.extend(words(value).map(str::to_ascii_uppercase)),
        "strict-order" => moved.spec.upstream.strategy = Some(Strategy::InOrder),
        "all-servers" => moved.spec.upstream.strategy = Some(Strategy::Parallel),
        "add-subnet" => {
            moved.spec.ecs.mode = Some(ecs::Mode::Add);
            moved.differs(
                place,
                shown,
                "networks of clients are told with 24 and 56 bits at most: [ecs] ipv4_bits and ipv6_bits",
            );
        }
        "no-negcache" => moved.spec.cache.negative_max_ttl = Some(0),
        "no-resolv" => said.no_resolv = true,
        "bogus-priv" => said.bogus_priv = true,
        option if SAME.contains(&option) => {}
        "resolv-file" if value == "/etc/resolv.conf" => {}
        "resolv-file" => moved.left(
            place,
            shown,
            "name its servers in [upstream] servers; it is not read again when it changes",
        ),
        "dnssec"
        | "trust-anchor"
        | "dnssec-check-unsigned"
        | "dnssec-no-timecheck"
        | "proxy-dnssec"
        | "dnssec-timestamp" => {
            moved.left(
                place,
                shown,
                "nobody validates here: ask upstreams that do, over TLS or with trust_ad",
            );
        }
        "log-queries" | "log-facility" | "log-async" | "log-dhcp" | "log-debug" => {
            moved.left(place, shown, "[query_log] and [log] say what is logged");
        }
        "user" | "group" | "pid-file" => moved.left(place, shown, PROCESS),
        "interface" | "except-interface" | "no-dhcp-interface" => {
            moved.left(
                place,
                shown,
                "queries are taken at addresses, [listen] udp; [access] allow says from whom",
            );
        }
        "bogus-nxdomain" | "ignore-address" => {
            moved.left(
                place,
                shown,
                "a policy zone can do it: ADDRESS.rpz-ip CNAME . in a [[lists]] of format = \"rpz\"",
            );
        }
        "local-ttl" | "max-ttl" | "auth-ttl" => {
            moved.left(place, shown, "`ttl` of [[local]] and [[lists]] says it for each")
        }
        option
            if [
                "dhcp",
                "tftp",
                "pxe",
                "enable-tftp",
                "ra-",
                "enable-ra",
                "quiet-",
                "bootp",
                "read-ethers",
            ]
            .iter()
            .any(|word| option.starts_with(word)) =>
        {
            moved.left(place, shown, NO_DHCP);
        }
        _ => moved.left(place, shown, "nothing here corresponds to it"),
    }
}

/// Words between commas.
fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// `/a/b/rest` as zones and rest; no zones without slashes.
fn zones(value: &str) -> (Vec<&str>, &str) {
    match value.strip_prefix('/').and_then(|rest| rest.rsplit_once('/')) {
        Some((zones, rest)) => (zones.split('/').collect(), rest),
        None => (Vec::new(), value),
    }
}

/// A server as dnsmasq writes it, `1.2.3.4#53@eth0`, as we do; none if it says more than that.
fn written(text: &str) -> Option<String> {
    if text.contains('@') {
        return None;
    }
    let (address, port) = text.split_once('#').unwrap_or((text, "53"));
    let address: IpAddr = address.split('%').next()?.parse().ok()?;
    let host = text.split('#').next()?;
    Some(match address {
        IpAddr::V4(_) => format!("udp://{host}:{port}"),
        IpAddr::V6(_) => format!("udp://[{host}]:{port}"),
    })
}

/// `server=` and `local=`.
fn server(place: &Place, shown: &str, value: &str, said: &mut Said, moved: &mut Moved) {
    let (zones, to) = zones(value);
    if zones.iter().any(|zone| zone.is_empty() || zone.contains(['*', '#'])) {
        return moved.left(
            place,
            shown,
            "single labels and parts of labels have no servers of their own: name zones",
        );
    }
    let names: Vec<Name> = zones.iter().filter_map(|zone| moved.name(place, zone)).collect();
    match to {
        "" => said.own_zones.extend(names.into_iter().map(|name| (place.clone(), name))),
        "#" => names.iter().for_each(|name| moved.own().rule(name, Cover::Subtree, Act::Pass)),
        to => {
            let Some(server) = written(to) else {
                return moved.left(
                    place,
                    shown,
                    "a server has an address and a port here, and no interface or source of its own",
                );
            };
            let server = moved.server(place, &server);
            if zones.is_empty() {
                moved.upstream(server.clone());
            }
            for name in names {
                moved.forward(&name, server.clone());
                moved.own().rule(&name, Cover::Subtree, Act::Pass);
            }
        }
    }
}

/// `rev-server=192.168.0.0/16,192.168.0.1`.
fn rev_server(place: &Place, shown: &str, value: &str, moved: &mut Moved) {
    let (network, to) = value.split_once(',').unwrap_or((value, ""));
    let Some(zone) = reverse(network) else {
        return moved.left(
            place,
            shown,
            "reverse zones end between octets, or hexadecimal digits of IPv6: name them in [[forward]] zones",
        );
    };
    let Some(server) = written(to) else {
        return moved.left(place, shown, "a server has an address and a port here");
    };
    let server = moved.server(place, &server);
    if let Some(zone) = moved.name(place, &zone) {
        moved.forward(&zone, server);
    }
}

/// The reverse zone of a network, if it is one.
pub(super) fn reverse(network: &str) -> Option<String> {
    let (address, bits) =
        network.split_once('/').map_or((network, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let bits: usize = bits.map_or(Some(whole), |bits| bits.parse().ok())?;
    if bits > whole || bits == 0 {
        return None;
    }
    match address {
        IpAddr::V4(address) if bits.is_multiple_of(8) => {
            let mut labels: Vec<String> = address.octets().iter().take(bits / 8).map(u8::to_string).collect();
            labels.reverse();
            Some(format!("{}.in-addr.arpa", labels.join(".")))
        }
        IpAddr::V6(address) if bits.is_multiple_of(4) => {
            let digits = address.octets().iter().map(|octet| format!("{octet:02x}")).collect::<String>();
            let labels: Vec<String> = digits.chars().take(bits / 4).map(String::from).collect();
            Some(format!("{}.ip6.arpa", labels.into_iter().rev().collect::<Vec<_>>().join(".")))
        }
        _ => None,
    }
}

/// `address=/x/y/1.2.3.4`.
fn address(place: &Place, shown: &str, value: &str, moved: &mut Moved) {
    let (zones, to) = zones(value);
    if zones.is_empty() || zones.iter().any(|zone| zone.is_empty() || zone.contains(['*', '#'])) {
        return moved.left(
            place,
            shown,
            "it takes every name, or parts of labels: a list of format = \"regex\" can, if that is meant",
        );
    }
    let names: Vec<Name> = zones.iter().filter_map(|zone| moved.name(place, zone)).collect();
    let parsed = to.parse::<IpAddr>();
    match (to, parsed) {
        ("", _) => names.iter().for_each(|name| moved.own().rule(name, Cover::Subtree, Act::Nxdomain)),
        ("#", _) => names.iter().for_each(|name| moved.own().rule(name, Cover::Subtree, Act::Null)),
        (_, Ok(address)) if address.is_unspecified() => {
            moved.differs(place, shown, "both families are answered with the address where nobody is, and other types have no data; dnsmasq 2.86 and later asks upstream for other types");
            names.iter().for_each(|name| moved.own().rule(name, Cover::Subtree, Act::Null));
        }
        (_, Ok(address)) if address.is_loopback() => {
            names
                .iter()
                .for_each(|name| moved.own().rule(name, Cover::Subtree, Act::Addresses(vec![address])));
        }
        (_, Ok(address)) => {
            moved.differs(place, shown, "types of a name that are not stated have no data; dnsmasq 2.86 and later asks upstream for them");
            names.iter().for_each(|name| moved.record_wide(name, with_type(address)));
        }
        (_, Err(_)) => moved.left(place, shown, "no address"),
    }
}

/// An address as the data of a record, with its type.
pub(super) fn with_type(address: IpAddr) -> String {
    format!("{} {address}", if address.is_ipv4() { "A" } else { "AAAA" })
}

/// `host-record=a,b,1.2.3.4,::1,300`.
pub(super) fn host_record(place: &Place, value: &str, moved: &mut Moved) {
    let mut ttl = String::new();
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for word in words(value) {
        match (word.parse::<IpAddr>(), word.parse::<u32>()) {
            (Ok(address), _) => addresses.push(address),
            (_, Ok(seconds)) => ttl = format!("{seconds} "),
            _ => names.extend(moved.name(place, word)),
        }
    }
    for name in names {
        for address in &addresses {
            moved.record(&name, format!("{ttl}{}", with_type(*address)));
        }
    }
}

/// `cname=a,b,target,300`.
pub(super) fn cname(place: &Place, shown: &str, value: &str, moved: &mut Moved) {
    let mut words: Vec<&str> = words(value).collect();
    let ttl = words.pop_if(|word| word.parse::<u32>().is_ok()).map_or(String::new(), |ttl| format!("{ttl} "));
    let (Some(target), false) = (words.pop(), words.is_empty()) else {
        return moved.left(place, shown, "an alias and what it stands for");
    };
    let Some(target) = moved.name(place, target) else { return };
    for alias in words {
        if let Some(alias) = moved.name(place, alias) {
            moved.record(&alias, format!("{ttl}CNAME {target}."));
        }
    }
}

/// A record of a name, whose data is made of the words behind it.
fn record(place: &Place, value: &str, moved: &mut Moved, data: impl FnOnce(&[&str]) -> Option<String>) {
    let mut words = value.split(',').map(str::trim);
    let owner = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    let Some(owner) = moved.name(place, owner) else { return };
    match data(&rest) {
        Some(data) => moved.record(&owner, data),
        None => moved.left(place, value, "the record lacks its target"),
    }
}

/// What follows from all of it together.
fn finish(path: &Path, said: Said, moved: &mut Moved) {
    let whole = Place::new(path, None);
    if let Some(place) = &said.dhcp {
        moved.left(place, "dhcp-range", NO_DHCP);
    }
    let port = said.port.unwrap_or(DNS_PORT);
    if port == 0 {
        moved.differs(
            &whole,
            "port=0",
            "it serves no DNS there; here it takes queries at its usual port, 5300",
        );
    } else if said.listen.is_empty() {
        moved.listen_everywhere(port);
    }
    for (place, address) in said.listen.iter().filter(|_| port != 0) {
        moved.listen(place, address, port);
    }
    for (place, zone) in said.own_zones {
        let is_ours = zone.label_count() == 1 || said.domain == Some(zone);
        match is_ours {
            true => moved.local(Some(&zone)).zone = Some(zone.to_string()),
            false => moved.own().rule(&zone, Cover::Subtree, Act::Nxdomain),
        }
        moved.carried += 1;
        if !is_ours && !said.no_hosts {
            moved.differs(&place, zone.to_string(), "it does not exist, nor what hosts files or leases state below it: make it a zone of [[local]] if they do");
        }
    }
    hosts(&whole, &said.hosts, (said.no_hosts, said.expand.then_some(said.domain).flatten()), moved);
    if said.dhcp.is_some() {
        let leases = said.leases.as_deref().unwrap_or(LEASES);
        if let Some(leases) = moved.path(&whole, Path::new(""), leases) {
            moved.local(said.domain.as_ref()).leases.push(leases.to_string_lossy().into_owned());
        }
    }
    if said.domain.is_some() && said.expand {
        moved.differs(
            &whole,
            "expand-hosts",
            "the domain is a zone here: what nobody states of it does not exist, and nobody is asked",
        );
    }
    if said.no_resolv && moved.spec.upstream.servers.is_none() {
        moved.differs(
            &whole,
            "no-resolv",
            "without servers nobody is asked there; here those of /etc/resolv.conf are",
        );
    }
    if !said.bogus_priv {
        moved.differs(&whole, "bogus-priv", "it is not set, so reverse names of private addresses are asked upstream there; here they are answered, unless [special] forward or [[forward]] names them");
    }
    moved.spec.rebinding.protect = Some(said.rebind);
    if !said.filter.is_empty() {
        moved.spec.clients.push(everybody(said.filter));
    }
}

/// Hosts files, the system's among them unless that is not wanted.
fn hosts(
    whole: &Place,
    more: &[(Place, String)],
    (without_own, zone): (bool, Option<Name>),
    moved: &mut Moved,
) {
    let own = (!without_own).then(|| (whole.clone(), "/etc/hosts".to_owned()));
    for (place, file) in own.iter().chain(more) {
        if let Some(path) = moved.path(place, Path::new(""), file) {
            if path.is_dir() {
                moved.left(place, file.as_str(), "hosts files are named one by one");
                continue;
            }
            moved.carried += 1;
            moved.local(zone.as_ref()).hosts.push(path.to_string_lossy().into_owned());
        }
    }
}

/// The group of everybody, who is told nothing of some types.
pub(super) fn everybody(filter: Vec<String>) -> ClientGroup {
    ClientGroup {
        name: crate::clients::DEFAULT.to_owned(),
        addresses: Vec::new(),
        zones: None,
        without: None,
        filter,
        evidence: None,
        schedule: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_zones_are_those_of_whole_labels() {
        for (network, zone) in [
            ("192.168.0.0/16", Some("168.192.in-addr.arpa")),
            ("10.0.0.0/8", Some("10.in-addr.arpa")),
            ("192.0.2.1", Some("1.2.0.192.in-addr.arpa")),
            ("fd00::/8", Some("d.f.ip6.arpa")),
            ("2001:db8::/36", Some("0.8.b.d.0.1.0.0.2.ip6.arpa")),
            ("172.16.0.0/12", None),
            ("fd00::/9", None),
            ("0.0.0.0/0", None),
            ("192.0.2.0/33", None),
            ("nowhere", None),
        ] {
            assert_eq!(reverse(network).as_deref(), zone, "{network}");
        }
    }

    #[test]
    fn servers_and_comments_are_read_as_dnsmasq_does() {
        for (text, server) in [
            ("192.0.2.1", Some("udp://192.0.2.1:53")),
            ("192.0.2.1#5353", Some("udp://192.0.2.1:5353")),
            ("2001:db8::1#5353", Some("udp://[2001:db8::1]:5353")),
            ("192.0.2.1@eth0", None),
            ("dns.example", None),
        ] {
            assert_eq!(written(text).as_deref(), server, "{text}");
        }
        for (line, option) in [
            ("server=192.0.2.1#53", "server=192.0.2.1#53"),
            ("server=192.0.2.1 # a server", "server=192.0.2.1"),
            ("# all of it", ""),
            ("txt-record=x,\"a # b\"", "txt-record=x,\"a # b\""),
        ] {
            assert_eq!(without_comment(line), option);
        }
    }
}
