//! unbound.conf: clauses with options, a `key: value` a line.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::moved::{DNS_PORT, Moved, Place, read_as};
use super::rules::{Act, Cover};
use super::text;
use crate::config::spec::{ListFormat, Size, Wildcards};
use crate::name::Name;
use crate::problem::Problem;

/// Files that include others, at most.
const MAX_DEPTH: usize = 8;
/// Clauses.
const CLAUSES: [&str; 11] = [
    "server",
    "forward-zone",
    "stub-zone",
    "auth-zone",
    "rpz",
    "view",
    "remote-control",
    "python",
    "dynlib",
    "cachedb",
    "dnstap",
];
/// Options whose meaning is what happens here anyway, or which are about how the process runs and say nothing of answers.
const SAME: [&str; 34] = [
    "do-ip4",
    "do-ip6",
    "do-udp",
    "do-tcp",
    "hide-identity",
    "hide-version",
    "minimal-responses",
    "rrset-roundrobin",
    "harden-glue",
    "harden-dnssec-stripped",
    "harden-large-queries",
    "harden-short-bufsize",
    "harden-unknown-additional",
    "unwanted-reply-threshold",
    "so-reuseport",
    "edns-buffer-size",
    "max-udp-size",
    "do-not-query-localhost",
    "msg-cache-slabs",
    "rrset-cache-slabs",
    "infra-cache-slabs",
    "key-cache-slabs",
    "prefetch-key",
    "aggressive-nsec",
    "deny-any",
    "rpz-log",
    "rpz-log-name",
    "interface-automatic",
    "unblock-lan-zones",
    "insecure-lan-zones",
    "ip-freebind",
    "outgoing-range",
    "num-queries-per-thread",
    "for-upstream",
];
/// Why what is about resolving from the root is not carried over.
const RECURSION: &str = "nothing is resolved from the root here: other resolvers are asked";
/// Options about that.
const RECURSIVE: [&str; 10] = [
    "root-hints",
    "qname-minimisation",
    "qname-minimisation-strict",
    "harden-referral-path",
    "target-fetch-policy",
    "module-config",
    "auto-trust-anchor-file",
    "trust-anchor-file",
    "trust-anchor",
    "val-clean-additional",
];
/// Options about the process.
const PROCESS: [&str; 9] = [
    "username",
    "chroot",
    "pidfile",
    "verbosity",
    "logfile",
    "use-syslog",
    "log-time-ascii",
    "log-queries",
    "log-replies",
];

/// One option.
struct Option_ {
    /// Where it stands.
    place: Place,
    /// Its name.
    key: String,
    /// Its value, without quotes around it.
    value: String,
}

/// A clause with its options.
struct Clause {
    /// Its name.
    kind: String,
    /// Where it begins.
    place: Place,
    /// What stands in it.
    options: Vec<Option_>,
}

/// What local zones say.
#[derive(Default)]
struct Zones {
    /// The type of each, and where it stands.
    kinds: BTreeMap<Name, (String, Place)>,
    /// Records: owner, the rest, and where.
    data: Vec<(Name, String, Place)>,
}

/// Reads a configuration with all that it includes.
pub(super) fn read(path: &Path, moved: &mut Moved) -> Result<(), Problem> {
    let mut clauses = Vec::new();
    file(path, 0, &mut clauses, moved)?;
    let base = clauses.iter().flat_map(|clause| &clause.options).find(|one| one.key == "directory");
    let own = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let base = base.map_or(own, |one| PathBuf::from(&one.value));
    let mut zones = Zones::default();
    let servers: Vec<&Clause> = clauses.iter().filter(|clause| clause.kind == "server").collect();
    server(path, &servers, &mut zones, moved);
    local_zones(zones, moved);
    let by_tls = servers
        .iter()
        .flat_map(|clause| &clause.options)
        .any(|one| matches!(&*one.key, "tls-upstream" | "ssl-upstream") && one.value == "yes");
    for clause in &clauses {
        match &*clause.kind {
            "server" => {}
            "forward-zone" | "stub-zone" => forward(clause, by_tls, moved),
            "rpz" => rpz(clause, &base, moved),
            "auth-zone" => auth(clause, &base, moved),
            "view" => moved.left(
                &clause.place,
                "view:",
                "[[clients]] says which lists are for whom; names of our own are for everybody",
            ),
            "remote-control" => {
                moved.left(&clause.place, "remote-control:", "[control] says where commands reach the server")
            }
            "dnstap" => moved.left(&clause.place, "dnstap:", "[query_log] dnstap names a receiver"),
            kind => moved.left(&clause.place, format!("{kind}:"), "nothing here corresponds to it"),
        }
    }
    if moved.spec.upstream.servers.is_none() {
        moved.differs(&Place::new(path, None), "forward-zone \".\"", "without one it resolves from the root; here resolvers of /etc/resolv.conf are asked: set [upstream] servers");
    }
    Ok(())
}

/// Reads one file into clauses.
fn file(path: &Path, depth: usize, clauses: &mut Vec<Clause>, moved: &mut Moved) -> Result<(), Problem> {
    for (number, line) in text::lines(&text::read(path)?) {
        let place = Place::new(path, number);
        let mut rest = without_comment(line).trim();
        while !rest.is_empty() {
            let Some((key, value)) = rest.split_once(':') else {
                moved.left(&place, rest, "neither a clause nor an option with its value");
                break;
            };
            let key = key.trim();
            if CLAUSES.contains(&key) {
                clauses.push(Clause { kind: key.to_owned(), place: place.clone(), options: Vec::new() });
                rest = value.trim();
                continue;
            }
            let value = unquoted(value.trim());
            match (key, clauses.last_mut()) {
                ("include" | "include-toplevel", _) => include(&place, value, depth, clauses, moved),
                (_, Some(clause)) => {
                    clause.options.push(Option_ {
                        place: place.clone(),
                        key: key.to_owned(),
                        value: value.to_owned(),
                    });
                }
                (_, None) => moved.left(&place, rest, "it stands in no clause"),
            }
            break;
        }
    }
    Ok(())
}

/// Reads files that are included; the last part of the path may have stars.
fn include(place: &Place, pattern: &str, depth: usize, clauses: &mut Vec<Clause>, moved: &mut Moved) {
    let path = Path::new(pattern);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut files = vec![path.to_path_buf()];
    if let Some((front, back)) = name.split_once('*') {
        let entries = std::fs::read_dir(path.parent().unwrap_or(Path::new(".")));
        let fits = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.len() >= front.len() + back.len() && name.starts_with(front) && name.ends_with(back)
        };
        files = entries.into_iter().flatten().flatten().map(|entry| entry.path()).filter(fits).collect();
        files.sort();
    }
    for path in files {
        if depth >= MAX_DEPTH {
            moved.left(place, pattern, "files that include others are read eight deep");
        } else if let Err(problem) = file(&path, depth + 1, clauses, moved) {
            moved.left(place, path.to_string_lossy(), problem.message);
        }
    }
}

/// A line without its comment, which begins neither within quotes nor within a word: `192.0.2.1#dns.example` is a server.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in line.char_indices() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('#', None) if before.is_whitespace() => return &line[..at],
            _ => {}
        }
        before = c;
    }
    line
}

/// A value without quotes around it.
fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// The server's own options.
fn server(path: &Path, clauses: &[&Clause], zones: &mut Zones, moved: &mut Moved) {
    let all = || clauses.iter().flat_map(|clause| &clause.options);
    let port = all()
        .filter(|one| one.key == "port")
        .filter_map(|one| one.value.parse().ok())
        .next_back()
        .unwrap_or(DNS_PORT);
    let mut size = 0;
    let mut private = false;
    for one in all() {
        let (place, value) = (&one.place, one.value.as_str());
        let shown = || format!("{}: {value}", one.key);
        match &*one.key {
            "port" | "directory" | "tls-upstream" | "ssl-upstream" => {}
            "interface" | "ip-address" => {
                let (address, at) = value.split_once('@').map_or((value, port), |(address, at)| (address, at.parse().unwrap_or(port)));
                match at {
                    853 | 443 => moved.left(place, shown(), "queries are taken in clear alone"),
                    at => moved.listen(place, address, at),
                }
            }
            "access-control" => access(one, moved),
            "local-zone" => match value.rsplit_once([' ', '\t']) {
                Some((zone, kind)) => {
                    if let Some(zone) = moved.name(place, unquoted(zone.trim())) {
                        zones.kinds.insert(zone, (kind.trim().to_owned(), place.clone()));
                    }
                }
                None => moved.left(place, shown(), "a zone has a type"),
            },
            "local-data" => data(place, value, zones, moved),
            "local-data-ptr" => pointer(place, value, zones, moved),
            "private-address" => private = true,
            "private-domain" => {
                if let Some(zone) = moved.name(place, value) {
                    moved.spec.rebinding.allow.get_or_insert_default().push(zone.to_string());
                }
            }
            "msg-cache-size" | "rrset-cache-size" => size += octets(value).unwrap_or(0),
            "cache-min-ttl" => moved.spec.cache.min_ttl = value.parse().ok(),
            "cache-max-ttl" => moved.spec.cache.max_ttl = value.parse().ok(),
            "cache-max-negative-ttl" => moved.spec.cache.negative_max_ttl = value.parse().ok(),
            "serve-expired" => moved.spec.cache.serve_stale = Some(value == "yes"),
            "serve-expired-ttl" => moved.spec.cache.max_stale = value.parse().ok().filter(|seconds| (1..=604_800).contains(seconds)),
            "prefetch" => moved.spec.cache.prefetch = Some(value == "yes"),
            "use-caps-for-id" => moved.spec.upstream.random_case = Some(value == "yes"),
            "harden-below-nxdomain" => {}
            "num-threads" => moved.spec.listen.workers = value.parse().ok(),
            "identity" => moved.spec.server.id = Some(value.to_owned()),
            "version" => moved.spec.server.version = Some(value.to_owned()),
            "dns64-prefix" => moved.spec.dns64.prefix = Some(value.to_owned()),
            "tls-cert-bundle" | "ssl-cert-bundle" => {
                let why = "authorities that browsers trust are built in: set upstream.ca_file for others";
                moved.left(place, shown(), why);
            }
            "so-rcvbuf" => moved.spec.listen.socket_buffer = octets(value).filter(|octets| *octets > 0).map(Size::Octets),
            key if SAME.contains(&key) => {}
            key if RECURSIVE.contains(&key) || key.starts_with("val-") => moved.left(place, shown(), RECURSION),
            key if PROCESS.contains(&key) => moved.left(place, shown(), "how the process runs is for the service manager to say, what it logs for [log] and [query_log]"),
            key if key.starts_with("tls-") || key.starts_with("https-") || key.starts_with("ssl-") || key.starts_with("quic-") => {
                moved.left(place, shown(), "queries are taken in clear alone");
            }
            key if key.contains("tag") || key.ends_with("-view") => {
                moved.left(place, shown(), "[[clients]] says which lists are for whom");
            }
            key if key.contains("ratelimit") => moved.left(place, shown(), "docs/load.md says how clients are kept from taking all: [listen] has the bounds"),
            _ => moved.left(place, shown(), "nothing here corresponds to it"),
        }
    }
    if size > 0 {
        moved.spec.cache.size = Some(Size::Octets(size));
    }
    moved.spec.rebinding.protect = Some(private);
    if moved.spec.listen.udp.is_none() {
        // Without an interface Unbound listens on this machine alone.
        let place = Place::new(path, None);
        moved.listen(&place, "127.0.0.1", port);
        moved.listen(&place, "::1", port);
    }
}

/// `access-control: 192.0.2.0/24 allow`.
fn access(one: &Option_, moved: &mut Moved) {
    let (network, what) = one.value.split_once([' ', '\t']).unwrap_or((&one.value, ""));
    match what.trim() {
        "allow" | "allow_setrd" => moved.spec.access.allow.get_or_insert_default().push(network.to_owned()),
        "allow_snoop" => {
            moved.spec.access.allow.get_or_insert_default().push(network.to_owned());
            moved.spec.access.allow_no_rd.get_or_insert_default().push(network.to_owned());
        }
        // Whoever is not allowed is refused.
        "refuse" | "deny" if matches!(network, "0.0.0.0/0" | "::0/0" | "::/0") => {}
        what => moved.left(
            &one.place,
            format!("access-control: {network} {what}"),
            "networks are allowed, and all others refused: no part of an allowed one is taken out",
        ),
    }
}

/// A number of octets as Unbound writes it.
fn octets(value: &str) -> Option<u64> {
    let (number, unit) = match value.to_ascii_lowercase().strip_suffix(['k', 'm', 'g']).map(str::to_owned) {
        Some(number) => (number, value.to_ascii_lowercase().pop()),
        None => (value.to_owned(), None),
    };
    let shift = match unit {
        Some('k') => 10,
        Some('m') => 20,
        Some('g') => 30,
        _ => 0,
    };
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `local-data: "nas.lan. 300 IN A 192.168.1.10"`.
fn data(place: &Place, value: &str, zones: &mut Zones, moved: &mut Moved) {
    let (owner, rest) = value.trim().split_once([' ', '\t']).unwrap_or((value, ""));
    let words: Vec<&str> = rest.split_whitespace().filter(|word| !word.eq_ignore_ascii_case("IN")).collect();
    let Some(owner) = moved.name(place, owner) else { return };
    match words.first() {
        Some(first) if first.eq_ignore_ascii_case("CH") => {
            moved.left(place, value, "of class CH [server] states version and id");
        }
        Some(_)
            if words
                .iter()
                .any(|word| word.eq_ignore_ascii_case("SOA") || word.eq_ignore_ascii_case("NS")) =>
        {
            moved.differs(place, value, "SOA and NS of our own zones are made up");
        }
        // TTL, type and data are as zone files have them.
        Some(_) => zones.data.push((owner, rest_of(rest), place.clone())),
        None => moved.left(place, value, "the record has no data"),
    }
}

/// What stands behind an owner, without the class.
fn rest_of(rest: &str) -> String {
    let rest = rest.trim();
    let (first, behind) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    match first {
        first if first.eq_ignore_ascii_case("IN") => rest_of(behind),
        first if first.chars().all(|c| c.is_ascii_digit()) => format!("{first} {}", rest_of(behind)),
        _ => rest.to_owned(),
    }
}

/// `local-data-ptr: "192.168.1.10 nas.lan"`.
fn pointer(place: &Place, value: &str, zones: &mut Zones, moved: &mut Moved) {
    let words: Vec<&str> = value.split_whitespace().collect();
    let owner = words.first().and_then(|address| super::dnsmasq::reverse(address));
    match (
        owner.and_then(|owner| moved.name(place, &owner)),
        words.last().and_then(|name| moved.name(place, name)),
    ) {
        (Some(owner), Some(name)) if words.len() > 1 => {
            zones.data.push((owner, format!("PTR {name}."), place.clone()))
        }
        _ => moved.left(place, value, "an address and a name"),
    }
}

/// Carries over what local zones say, each by its type.
fn local_zones(zones: Zones, moved: &mut Moved) {
    let Zones { kinds, data } = zones;
    let closest = |owner: &Name| {
        let mut above = (0..=owner.label_count()).rev().filter_map(|labels| owner.ancestor(labels));
        above.find(|zone| kinds.contains_key(zone))
    };
    let mut with_data: BTreeMap<Name, Vec<&(Name, String, Place)>> = BTreeMap::new();
    for record in &data {
        match closest(&record.0).map(|zone| (zone, &*kinds[&zone].0)) {
            // What the zone has is not asked for.
            Some((
                _,
                "always_nxdomain" | "always_nodata" | "always_null" | "always_refuse" | "always_deny"
                | "always_transparent",
            )) => {
                moved.left(
                    &record.2,
                    format!("{} {}", record.0, record.1),
                    "its zone answers without looking at it",
                );
            }
            Some((zone, "redirect" | "inform_redirect")) => with_data.entry(zone).or_default().push(record),
            Some((zone, _)) => {
                with_data.entry(zone).or_default().push(record);
                moved.record(&record.0, record.1.clone());
            }
            None => moved.record(&record.0, record.1.clone()),
        }
    }
    for (zone, (kind, place)) in &kinds {
        let has_data = with_data.get(zone);
        let mut rule = |act: Act| moved.own().rule(zone, Cover::Subtree, act);
        match &**kind {
            "deny" | "always_deny" | "inform_deny" => rule(Act::Drop),
            "refuse" | "always_refuse" => rule(Act::Refused),
            "always_nxdomain" => rule(Act::Nxdomain),
            "always_nodata" => rule(Act::Nodata),
            "always_null" => rule(Act::Null),
            "static" if has_data.is_none() => rule(Act::Nxdomain),
            "static" => {
                moved.local(Some(zone)).zone = Some(zone.to_string());
            }
            "redirect" | "inform_redirect" => redirect(zone, has_data, moved),
            "nodefault" => moved.spec.special.forward.get_or_insert_default().push(zone.to_string()),
            "transparent" | "inform" | "always_transparent" => rule(Act::Pass),
            "typetransparent" => {
                rule(Act::Pass);
                if has_data.is_some() {
                    moved.differs(place, zone.to_string(), "types of a name that are not stated have no data; a typetransparent zone has them asked upstream");
                }
            }
            kind => {
                moved.left(place, format!("{zone} {kind}"), "nothing here corresponds to this type of zone");
                continue;
            }
        }
        moved.carried += 1;
        if kind.starts_with("inform") {
            moved.differs(place, zone.to_string(), "queries for it are not logged by themselves: [query_log] and `sinkscope report` tell of them");
        }
        if has_data.is_some() && matches!(&**kind, "deny" | "refuse" | "inform_deny") {
            moved.differs(
                place,
                zone.to_string(),
                "its records are answered, and what else is below them does not exist",
            );
        }
    }
}

/// Answers for all of a zone with the records of its apex.
fn redirect(zone: &Name, data: Option<&Vec<&(Name, String, Place)>>, moved: &mut Moved) {
    let Some(data) = data else {
        return moved.own().rule(zone, Cover::Subtree, Act::Nodata);
    };
    let address = |data: &str| data.split_whitespace().last().and_then(|word| word.parse::<IpAddr>().ok());
    let addresses: Vec<IpAddr> = data.iter().filter_map(|(_, data, _)| address(data)).collect();
    let nowhere = |address: &IpAddr| address.is_unspecified() || address.is_loopback();
    if addresses.len() == data.len() && addresses.iter().all(nowhere) {
        moved.own().rule(zone, Cover::Subtree, Act::Addresses(addresses));
        return;
    }
    for (owner, data, at) in data {
        match owner == zone {
            true => moved.record_wide(zone, data.clone()),
            false => moved.left(
                at,
                format!("{owner} {data}"),
                "a redirected zone has records of its own name alone",
            ),
        }
    }
}

/// A server as Unbound writes it, `192.0.2.1@853#dns.example`, as we do.
fn written(text: &str, tls: bool) -> String {
    let (place, host) = text.split_once('#').map_or((text, None), |(place, host)| (place, Some(host)));
    let (address, port) =
        place.split_once('@').map_or((place, None), |(address, port)| (address, Some(port)));
    let (scheme, usual) = if tls { ("tls", "853") } else { ("udp", "53") };
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let host = host.filter(|_| tls).map(|host| format!("{host}@")).unwrap_or_default();
    format!("{scheme}://{host}{address}:{}", port.unwrap_or(usual))
}

/// `forward-zone:` and `stub-zone:`.
fn forward(clause: &Clause, by_tls: bool, moved: &mut Moved) {
    let stub = clause.kind == "stub-zone";
    let said = |key: &str| clause.options.iter().find(|one| one.key.ends_with(key)).map(|one| &*one.value);
    let tls = said("-tls-upstream").or(said("-ssl-upstream")).map_or(by_tls, |value| value == "yes");
    let Some(zone) = clause.options.iter().find(|one| one.key == "name") else {
        return moved.left(&clause.place, format!("{}:", clause.kind), "it names no zone");
    };
    let zone = if zone.value == "." { None } else { moved.name(&zone.place, &zone.value) };
    let is_root = clause.options.iter().any(|one| one.key == "name" && one.value == ".");
    for one in &clause.options {
        let shown = || format!("{}: {}", one.key, one.value);
        match &*one.key {
            "name"
            | "forward-tls-upstream"
            | "forward-ssl-upstream"
            | "stub-tls-upstream"
            | "stub-ssl-upstream" => {}
            "forward-addr" | "stub-addr" => {
                let server = moved.server(&one.place, &written(&one.value, tls));
                match (zone, is_root) {
                    (_, true) => moved.upstream(server),
                    // Local zones come before what is asked of whom.
                    (Some(zone), _) => moved.forward(&zone, server),
                    (None, _) => {}
                }
            }
            "forward-host" | "stub-host" => moved.left(
                &one.place,
                shown(),
                "write its address: it would have to be asked for at somebody who knows it",
            ),
            "forward-first" | "stub-first" if one.value == "yes" => {
                moved.differs(&one.place, shown(), "where these servers fail nobody else is asked");
            }
            "forward-no-cache" | "stub-no-cache" if one.value == "yes" => {
                moved.differs(&one.place, shown(), "answers are cached as long as they say");
            }
            _ if matches!(&*one.value, "no") => {}
            _ => moved.left(&one.place, shown(), "nothing here corresponds to it"),
        }
    }
    if stub && zone.is_some() {
        moved.differs(
            &clause.place,
            "stub-zone:",
            "its servers are asked as resolvers are (RD), which those that serve the zone answer as well",
        );
    }
}

/// `rpz:`.
fn rpz(clause: &Clause, base: &Path, moved: &mut Moved) {
    let said = |key: &str| clause.options.iter().find(|one| one.key == key);
    let name = said("name").map_or("rpz", |one| &*one.value).trim_end_matches('.').to_owned();
    let url = said("url").filter(|one| one.value.starts_with("http://") || one.value.starts_with("https://"));
    let source = match (url, said("zonefile")) {
        (Some(url), _) => Some(url.value.clone()),
        (None, Some(file)) => {
            moved.path(&file.place, base, &file.value).map(|path| path.to_string_lossy().into_owned())
        }
        (None, None) => None,
    };
    for one in clause.options.iter().filter(|one| matches!(&*one.key, "primary" | "master" | "allow-notify"))
    {
        let why = "zones are not transferred: have the zone written to a file, or fetch it from a URL";
        moved.left(&one.place, format!("{}: {}", one.key, one.value), why);
    }
    let Some(source) = source else {
        return moved.left(
            &clause.place,
            format!("rpz: {name}"),
            "it has neither a file that is there nor a URL",
        );
    };
    for one in &clause.options {
        if !matches!(
            &*one.key,
            "name"
                | "url"
                | "zonefile"
                | "primary"
                | "master"
                | "allow-notify"
                | "rpz-action-override"
                | "rpz-cname-override"
                | "rpz-log"
                | "rpz-log-name"
                | "for-downstream"
        ) {
            let why = if one.key == "tags" {
                "the zone is for everybody, unless [[clients]] leaves it out"
            } else {
                "nothing here corresponds to it"
            };
            moved.left(&one.place, format!("{}: {}", one.key, one.value), why);
        }
    }
    let action = match (said("rpz-action-override").map(|one| &*one.value), said("rpz-cname-override")) {
        (Some("cname"), Some(target)) => Some(format!("cname:{}", target.value.trim_end_matches('.'))),
        (Some(action), _) => Some(action.to_owned()),
        (None, _) => None,
    };
    let list = moved.list(&name, &source);
    read_as(list, ListFormat::Rpz, None);
    list.wildcards = Some(Wildcards::Unbound);
    list.origin = Some(name);
    list.action_override = action;
}

/// `auth-zone:`, of which we answer what a file says.
fn auth(clause: &Clause, base: &Path, moved: &mut Moved) {
    let said = |key: &str| clause.options.iter().find(|one| one.key == key);
    let for_clients = said("for-downstream").is_none_or(|one| one.value == "yes");
    let (Some(name), Some(file), true) = (said("name"), said("zonefile"), for_clients) else {
        return moved.left(
            &clause.place,
            "auth-zone:",
            "only zones in a file, which are for clients, are stated here: [[local]] zone_files",
        );
    };
    let path = moved.path(&file.place, base, &file.value);
    if let (Some(zone), Some(path)) = (moved.name(&name.place, &name.value), path) {
        moved.carried += 1;
        let row = moved.local(Some(&zone));
        row.zone_files.push(path.to_string_lossy().into_owned());
        moved.differs(
            &clause.place,
            name.value.clone(),
            "the zone is read from its file alone, and not transferred",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_sizes_and_records_are_read_as_unbound_does() {
        for (text, tls, server) in [
            ("192.0.2.1", false, "udp://192.0.2.1:53"),
            ("192.0.2.1@5353", false, "udp://192.0.2.1:5353"),
            ("192.0.2.1@853#dns.example", true, "tls://dns.example@192.0.2.1:853"),
            ("2001:db8::1#dns.example", true, "tls://dns.example@[2001:db8::1]:853"),
        ] {
            assert_eq!(written(text, tls), server);
        }
        for (text, size) in [("50m", Some(50 << 20)), ("4K", Some(4096)), ("17", Some(17)), ("many", None)] {
            assert_eq!(octets(text), size, "{text}");
        }
        for (rest, data) in [
            ("A 192.0.2.1", "A 192.0.2.1"),
            ("IN A 192.0.2.1", "A 192.0.2.1"),
            ("60 IN  A 192.0.2.1", "60 A 192.0.2.1"),
        ] {
            assert_eq!(rest_of(rest), data);
        }
        assert_eq!(
            without_comment("forward-addr: 192.0.2.1#dns.example # it").trim(),
            "forward-addr: 192.0.2.1#dns.example"
        );
    }
}
