//! dnscrypt-proxy.toml, and the files of rules that it names.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use super::dnsmasq::{everybody, with_type};
use super::moved::{Moved, Place};
use super::rules::{Act, Cover};
use super::text;
use super::tree::Node;
use crate::config::spec::{Day, ScheduleRow, Size};
use crate::problem::Problem;
use crate::upstream::Strategy;

/// Why settings are not carried over, by the beginning of their path.
const REASONS: [(&str, &str); 23] = [
    ("query_log", "[query_log] says which queries are logged, and where to"),
    ("nx_log", "[query_log] says which queries are logged, and where to"),
    ("log_level", "[log] says how much is logged"),
    ("log_file", "[log] says how much is logged"),
    ("use_syslog", "[log] says how much is logged"),
    (
        "blocked_ips",
        "a policy zone can do it: BITS.ADDRESS.rpz-ip CNAME . in a [[lists]] of format = \"rpz\"",
    ),
    (
        "allowed_ips",
        "a policy zone can do it: BITS.ADDRESS.rpz-ip CNAME rpz-passthru. in a [[lists]] of format = \"rpz\"",
    ),
    ("captive_portals", "records of [[local]] can say it"),
    ("local_doh", "queries are taken in clear alone"),
    ("anonymized_dns", "DNSCrypt and its relays are not spoken here"),
    ("dnscrypt_ephemeral_keys", "DNSCrypt and its relays are not spoken here"),
    ("broken_implementations", "DNSCrypt and its relays are not spoken here"),
    ("doh_client_x509_auth", "servers are shown no certificates"),
    ("monitoring_ui", "there is no web interface: commands, an API and metrics show what is going on"),
    ("user_name", "how the process runs is for the service manager to say"),
    ("timeout", "[upstream] try_timeout_ms and total_timeout_ms say how long is waited"),
    ("edns_client_subnet", "[ecs] tells networks of clients, not one that is made up"),
    ("force_tcp", "write tcp:// where it matters: what is asked over TLS or HTTPS is so anyway"),
    ("http3", "write h3:// in place of https://"),
    ("http3_probe", "write h3:// in place of https://"),
    ("proxy", "servers are asked directly"),
    ("http_proxy", "servers are asked directly"),
    ("blocked_names", "[query_log] only = \"sinkholed\" logs what is blocked"),
];
/// Settings that are as they are here, or narrow which servers are chosen where none is named.
const SAME: [&str; 29] = [
    "max_clients",
    "ipv4_servers",
    "ipv6_servers",
    "dnscrypt_servers",
    "doh_servers",
    "odoh_servers",
    "require_dnssec",
    "require_nolog",
    "require_nofilter",
    "keepalive",
    "cert_refresh_delay",
    "cert_ignore_timestamp",
    "ignore_system_dns",
    "netprobe_timeout",
    "netprobe_address",
    "log_files_max_size",
    "log_files_max_age",
    "log_files_max_backups",
    "block_unqualified",
    "block_undelegated",
    "reject_ttl",
    "cloak_ttl",
    "lb_estimator",
    "enable_hot_reload",
    "tls_disable_session_tickets",
    "tls_cipher_suite",
    "disabled_server_names",
    "sources",
    "schedules",
];
/// Days as the schedules name them.
const DAYS: [(&str, Day); 7] = [
    ("mon", Day::Mon),
    ("tue", Day::Tue),
    ("wed", Day::Wed),
    ("thu", Day::Thu),
    ("fri", Day::Fri),
    ("sat", Day::Sat),
    ("sun", Day::Sun),
];

/// What a pattern of dnscrypt-proxy matches.
enum Pattern {
    /// A name.
    Name(String, Cover),
    /// Names by a regular expression.
    Regex(String),
}

/// Reads a configuration.
pub(super) fn read(path: &Path, moved: &mut Moved) -> Result<(), Problem> {
    let file = if path.is_dir() { path.join("dnscrypt-proxy.toml") } else { path.to_path_buf() };
    let tree = Node::toml(&file)?;
    let known = [
        "listen_addresses",
        "server_names",
        "sources",
        "static",
        "blocked_names",
        "forwarding_rules",
        "cloaking_rules",
    ];
    if known.iter().all(|key| tree.at(key).is_none()) {
        return Err(Problem::error(file.to_string_lossy(), None, "is no configuration of dnscrypt-proxy"));
    }
    let base = file.parent().unwrap_or(Path::new("")).to_path_buf();
    for one in tree.list("listen_addresses") {
        moved.listen(&one.place(&file), one.text().unwrap_or_default(), 53);
    }
    servers(&tree, &file, &base, moved);
    blocked(&tree, &file, &base, moved);
    forwarding(&tree, &file, &base, moved);
    cloaking(&tree, &file, &base, moved);
    cache(&tree, &file, moved);
    for one in tree.list("bootstrap_resolvers") {
        let server = moved.server(&one.place(&file), &format!("udp://{}", one.text().unwrap_or_default()));
        moved.spec.upstream.bootstrap.get_or_insert_default().extend(server);
    }
    if tree.is("block_ipv6") == Some(true)
        && !moved.spec.clients.iter().any(|group| !group.schedule.is_empty())
    {
        moved.spec.clients.push(everybody(vec!["AAAA".to_owned()]));
    } else if tree.is("block_ipv6") == Some(true) {
        moved.spec.clients.iter_mut().for_each(|group| group.filter = vec!["AAAA".to_owned()]);
    }
    if let Some(prefix) = tree.list("dns64.prefix").first().and_then(Node::text) {
        moved.spec.dns64.prefix = Some(prefix.to_owned());
    }
    for path in SAME {
        let _ = tree.take(path);
    }
    tree.rest(&file, &REASONS, moved);
    moved.spec.rebinding.protect = Some(false);
    Ok(())
}

/// Whom to ask: servers by name, their stamps here or in files of sources that were fetched.
fn servers(tree: &Node, file: &Path, base: &Path, moved: &mut Moved) {
    moved.spec.upstream.strategy = match tree.word("lb_strategy") {
        Some("first") => Some(Strategy::Fastest),
        _ => Some(Strategy::Random),
    };
    let mut stamps: BTreeMap<String, String> = BTreeMap::new();
    for (_, source) in tree.map("sources") {
        let Some(list) = source.word("cache_file").map(|list| base.join(list)).filter(|list| list.exists())
        else {
            continue;
        };
        let mut name = String::new();
        for line in text::read(&list).unwrap_or_default().lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                name = heading.trim().to_owned();
            } else if line.starts_with("sdns://") {
                stamps.entry(name.clone()).or_insert_with(|| line.trim().to_owned());
            }
        }
    }
    for (name, server) in tree.map("static") {
        if let Some(stamp) = server.word("stamp") {
            stamps.insert(name.clone(), stamp.to_owned());
        }
    }
    let named = tree.list("server_names");
    for one in named {
        let (place, name) = (one.place(file), one.text().unwrap_or_default());
        match stamps.get(name) {
            Some(stamp) => {
                let stamp = stamp.clone();
                let server = moved.server(&place, &stamp);
                moved.upstream(server);
            }
            None => moved.left(&place, name, "its stamp is neither in [static] nor in a file of a source that is there: put it into [upstream] servers"),
        }
    }
    if named.is_empty() {
        moved.differs(&tree.place(file), "server_names", "the fastest of all servers of the sources are asked; here those of /etc/resolv.conf, unless [upstream] servers names others");
    }
}

/// Names that are blocked and allowed.
fn blocked(tree: &Node, file: &Path, base: &Path, moved: &mut Moved) {
    let (whole, answer) = (tree.place(file), tree.word("blocked_query_response").unwrap_or("hinfo"));
    let act = match answer {
        "refused" => Act::Refused,
        "hinfo" => {
            moved.differs(
                &whole,
                "blocked_query_response",
                "what is blocked has no data, and no HINFO record that says so: answers have an EDE",
            );
            Act::Nodata
        }
        answer => {
            let each = answer.split(',').filter_map(|one| one.trim().split_once(':'));
            Act::Addresses(
                each.filter_map(|(_, address)| address.trim_matches(['[', ']']).parse().ok()).collect(),
            )
        }
    };
    let mut timed: Vec<String> = Vec::new();
    for (key, old, frees) in [
        ("blocked_names.blocked_names_file", "blacklist.blacklist_file", false),
        ("allowed_names.allowed_names_file", "whitelist.whitelist_file", true),
    ] {
        let Some(list) = tree.word(key).or_else(|| tree.word(old)) else { continue };
        let Some(list) = moved.path(&whole, base, list) else { continue };
        let read = match text::read(&list) {
            Ok(read) => read,
            Err(problem) => {
                moved.left(&whole, list.to_string_lossy(), problem.message);
                continue;
            }
        };
        for (number, line) in text::lines(&read) {
            let (place, line) = (Place::new(&list, number), without_comment(line));
            if line.is_empty() {
                continue;
            }
            let (line, hours) =
                line.split_once('@').map_or((line, None), |(line, hours)| (line.trim(), Some(hours.trim())));
            match hours {
                Some(_) if frees => moved.left(&place, line, "names are allowed at all hours, or not at all"),
                Some(hours) => {
                    let own = format!("{}-{hours}", moved.product);
                    if !timed.contains(&hours.to_owned()) {
                        timed.push(hours.to_owned());
                    }
                    rule(&place, line, (&own, &act, frees), moved);
                }
                None => rule(&place, line, (moved.product, &act, frees), moved),
            }
        }
    }
    schedules(tree, file, &timed, moved);
}

/// Takes one rule into a list.
fn rule(place: &Place, line: &str, (list, act, frees): (&str, &Act, bool), moved: &mut Moved) {
    match pattern(line) {
        Pattern::Name(name, cover) => {
            let Some(name) = moved.name(place, &name) else { return };
            let own = moved.own.entry(list.to_owned()).or_default();
            match frees {
                true => own.free(&name, cover),
                false => own.rule(&name, cover, act.clone()),
            }
        }
        Pattern::Regex(regex) => {
            let own = moved.own.entry(list.to_owned()).or_default();
            let act = if frees { Act::Pass } else { act.clone() };
            if let Err(why) = own.pattern(&regex, act) {
                moved.left(place, line, why);
            }
        }
    }
}

/// What a pattern matches, as dnscrypt-proxy reads it.
fn pattern(text: &str) -> Pattern {
    let text = text.to_ascii_lowercase();
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    let escaped = |text: &str| text.replace('.', r"\.");
    if text.contains(['?', '[']) || inner.contains('*') {
        let each = text.chars().map(|c| match c {
            '*' => ".*".to_owned(),
            '?' => ".".to_owned(),
            '.' => r"\.".to_owned(),
            c => c.to_string(),
        });
        return Pattern::Regex(format!("^{}$", each.collect::<String>()));
    }
    match (text.strip_prefix('*'), text.strip_suffix('*')) {
        (Some(_), Some(_)) => Pattern::Regex(escaped(inner)),
        (None, Some(front)) => Pattern::Regex(format!("^{}", escaped(front))),
        (rest, None) => match text.strip_prefix('=') {
            Some(name) => Pattern::Name(name.to_owned(), Cover::Exact),
            None => Pattern::Name(rest.unwrap_or(&text).trim_start_matches('.').to_owned(), Cover::Subtree),
        },
    }
}

/// A line without its comment, which begins with it or behind white space.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return line[..at].trim_end();
        }
        before = c;
    }
    line
}

/// Hours in which lists of names with `@hours` apply: to everybody, by this machine's clock.
fn schedules(tree: &Node, file: &Path, timed: &[String], moved: &mut Moved) {
    if timed.is_empty() {
        return;
    }
    let zone = jiff::tz::TimeZone::system();
    let zone = zone.iana_name().unwrap_or("UTC").to_owned();
    let what = format!("time zone {zone}");
    moved.differs(
        &tree.place(file),
        what,
        "hours are of this machine's clock there, their last minute included; a row of [[clients.schedule]] names its time zone",
    );
    let mut group = everybody(Vec::new());
    group.without = Some(timed.iter().map(|hours| format!("{}-{hours}", moved.product)).collect());
    for hours in timed {
        let Some(schedule) = tree.at("schedules").and_then(|all| all.at(hours)) else {
            moved.left(
                &tree.place(file),
                format!("@{hours}"),
                "no schedule of that name: its names are never blocked",
            );
            continue;
        };
        for (key, day) in DAYS {
            for span in schedule.list(key) {
                let (after, before) = (span.word("after").map(clock), span.word("before").map(clock));
                let (from, until) =
                    (after.unwrap_or("00:00".to_owned()), before.unwrap_or("24:00".to_owned()));
                // A span over midnight is the beginning and the end of the same day there.
                let spans = if from < until {
                    vec![(from, until)]
                } else {
                    vec![("00:00".to_owned(), until), (from, "24:00".to_owned())]
                };
                for (from, until) in spans.into_iter().filter(|(from, until)| from != until) {
                    group.schedule.push(ScheduleRow {
                        days: Some(vec![day]),
                        from: Some(from),
                        until: Some(until),
                        time_zone: zone.clone(),
                        without: Vec::new(),
                        also: vec![format!("{}-{hours}", moved.product)],
                    });
                }
            }
        }
    }
    moved.spec.clients.push(group);
}

/// A time of day with two digits for hours: `7:00` is `07:00`.
fn clock(text: &str) -> String {
    format!("{text:0>5}")
}

/// `forwarding_rules`: a zone and servers a line.
fn forwarding(tree: &Node, file: &Path, base: &Path, moved: &mut Moved) {
    let Some(rules) = tree.word("forwarding_rules").map(str::to_owned) else { return };
    each_line(&tree.place(file), base, &rules, moved, |place, line, moved| {
        let Some((zone, servers)) = line.split_once(char::is_whitespace) else {
            return moved.left(place, line, "a zone and its servers");
        };
        let Some(zone) = moved.name(place, zone.trim_start_matches("*.")) else { return };
        for server in servers.split(',').map(str::trim) {
            if server.starts_with('$') {
                moved.left(place, line, "servers are named by their addresses");
                continue;
            }
            let server = match server.parse::<IpAddr>() {
                Ok(IpAddr::V6(address)) => format!("udp://[{address}]"),
                _ => format!("udp://{server}"),
            };
            let server = moved.server(place, &server);
            moved.forward(&zone, server);
        }
    });
}

/// `cloaking_rules`: a name, and what is told of it.
fn cloaking(tree: &Node, file: &Path, base: &Path, moved: &mut Moved) {
    let _ = tree.is("cloak_ptr");
    let Some(rules) = tree.word("cloaking_rules").map(str::to_owned) else { return };
    each_line(&tree.place(file), base, &rules, moved, |place, line, moved| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, target] = words[..] else {
            return moved.left(place, line, "a name and what is told of it");
        };
        let Pattern::Name(name, cover) = pattern(name) else {
            return moved.left(
                place,
                line,
                "patterns are on lists: records are of names, and of what is below them",
            );
        };
        let Some(name) = moved.name(place, &name) else { return };
        let data = match target.parse::<IpAddr>() {
            Ok(address) => with_type(address),
            Err(_) => {
                moved.differs(
                    place,
                    line,
                    "a name that leads to another is an alias (CNAME), which clients see",
                );
                let Some(target) = moved.name(place, target) else { return };
                format!("CNAME {target}.")
            }
        };
        match cover {
            Cover::Exact => moved.record(&name, data),
            Cover::Subtree => moved.record_wide(&name, data),
        }
    });
}

/// Hands on the lines of a file of rules.
fn each_line(
    whole: &Place,
    base: &Path,
    list: &str,
    moved: &mut Moved,
    mut take: impl FnMut(&Place, &str, &mut Moved),
) {
    let Some(list) = moved.path(whole, base, list) else { return };
    match text::read(&list) {
        Ok(read) => {
            for (number, line) in text::lines(&read) {
                let line = without_comment(line);
                if !line.is_empty() {
                    take(&Place::new(&list, number), line, moved);
                }
            }
        }
        Err(problem) => moved.left(whole, list.to_string_lossy(), problem.message),
    }
}

/// What is cached, and for how long.
fn cache(tree: &Node, file: &Path, moved: &mut Moved) {
    if let Some(size) = tree.word("cache_size") {
        let what = format!("cache_size = {size}");
        moved.differs(
            &tree.place(file),
            what,
            "the cache is measured in octets here: [cache] size, 64 MiB unless set",
        );
    }
    let cache = &mut moved.spec.cache;
    if tree.is("cache") == Some(false) {
        cache.size = Some(Size::Octets(0));
    }
    cache.min_ttl = tree.number("cache_min_ttl");
    cache.max_ttl = tree.number("cache_max_ttl");
    cache.negative_min_ttl = tree.number("cache_neg_min_ttl");
    cache.negative_max_ttl = tree.number("cache_neg_max_ttl");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_as_dnscrypt_proxy_does() {
        for (text, shown) in [
            ("example.com", "subtree example.com"),
            ("*.example.com", "subtree example.com"),
            (".example.com", "subtree example.com"),
            ("=Example.com", "exact example.com"),
            ("ads.*", r"regex ^ads\."),
            ("*sex*", "regex sex"),
            ("ads*.example.*", r"regex ^ads.*\.example\..*$"),
            ("ads[0-9]*", r"regex ^ads[0-9].*$"),
        ] {
            let found = match pattern(text) {
                Pattern::Name(name, Cover::Exact) => format!("exact {name}"),
                Pattern::Name(name, Cover::Subtree) => format!("subtree {name}"),
                Pattern::Regex(regex) => format!("regex {regex}"),
            };
            assert_eq!(found, shown, "{text}");
        }
        assert_eq!((clock("7:00"), clock("21:00")), ("07:00".to_owned(), "21:00".to_owned()));
    }
}
