//! blocky's config.yml: upstreams, lists by group, mappings and clients; earlier versions' names of settings as well.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use super::dnsmasq::{everybody, with_type};
use super::moved::{DNS_PORT, Moved, Place, answered_by, network_of, read_as};
use super::tree::Node;
use crate::clients::DEFAULT;
use crate::config::spec::{ClientGroup, Forward, ListAction, ListFormat, Match, Span};
use crate::orders::lists::pattern::Checker;
use crate::orders::names;
use crate::policy::order::MAX_TTL_S;
use crate::problem::Problem;
use crate::upstream::Strategy;

/// Why settings are not carried over, by the beginning of their path.
const REASONS: [(&str, &str); 18] = [
    ("prometheus", "metrics are at /metrics of [control] listen"),
    ("queryLog", "[query_log] says which queries are logged, and where to"),
    ("log", "[log] says how much is logged"),
    ("logLevel", "[log] says how much is logged"),
    ("redis", "instances share nothing"),
    ("clientLookup", "names of clients are not looked up"),
    ("customDNS.rewrite", "names are not rewritten: state aliases in [[local]]"),
    ("conditional.rewrite", "names are not rewritten: state aliases in [[local]]"),
    ("dnssec", "nobody validates here: ask upstreams that do, over TLS or with trust_ad"),
    ("ecs", "[ecs] says which networks of clients are told"),
    ("connectIPVersion", "whoever is asked is asked at the addresses that are given"),
    ("certFile", CLEAR),
    ("keyFile", CLEAR),
    ("minTlsServeVersion", CLEAR),
    ("ports", CLEAR),
    ("upstreams.timeout", "[upstream] try_timeout_ms and total_timeout_ms say how long is waited"),
    ("upstreamTimeout", "[upstream] try_timeout_ms and total_timeout_ms say how long is waited"),
    ("caching", "[cache] size is in octets, and what is asked for often is asked for anew by itself"),
];
/// Why nothing about TLS and HTTP is carried over.
const CLEAR: &str = "queries are taken in clear alone, and [control] has an address of its own";
/// Settings that are as they are here, or say nothing by themselves.
const SAME: [&str; 7] = [
    "ede",
    "fqdnOnly",
    "specialUseDomains",
    "blocking.loading",
    "blocking.startStrategy",
    "upstreams.init",
    "startVerifyUpstream",
];

/// How what is blocked is answered.
struct Blocked {
    /// By which action.
    action: ListAction,
    /// With which addresses.
    addresses: Vec<IpAddr>,
    /// For how long.
    ttl: Option<u64>,
    /// How often lists are asked for news.
    refresh: Option<u64>,
}

/// Lists of each group of lists.
type ByGroup = BTreeMap<String, Vec<String>>;

/// Reads a configuration.
pub(super) fn read(path: &Path, moved: &mut Moved) -> Result<(), Problem> {
    let file = if path.is_dir() { path.join("config.yml") } else { path.to_path_buf() };
    let tree = Node::yaml(&file)?;
    if ["upstreams", "upstream", "blocking", "customDNS", "conditional"]
        .iter()
        .all(|key| tree.at(key).is_none())
    {
        return Err(Problem::error(file.to_string_lossy(), None, "is no configuration of blocky"));
    }
    listen(&tree, &file, moved);
    bootstrap(&tree, &file, moved);
    let known = known_clients(&tree);
    upstreams(&tree, &file, &known, moved);
    mappings(&tree, &file, moved);
    let groups = blocking(&tree, &file, moved);
    clients(&tree, &file, (&known, &groups), moved);
    let types: Vec<String> = tree
        .list("filtering.queryTypes")
        .iter()
        .filter_map(|one| Some(one.text()?.to_ascii_uppercase()))
        .collect();
    if !types.is_empty() {
        filter(&types, moved);
    }
    moved.spec.cache.min_ttl = tree
        .word("caching.minTime")
        .and_then(seconds)
        .and_then(|ttl| u32::try_from(ttl).ok())
        .filter(|ttl| *ttl > 0);
    moved.spec.cache.max_ttl = tree
        .word("caching.maxTime")
        .and_then(seconds)
        .and_then(|ttl| u32::try_from(ttl).ok())
        .filter(|ttl| *ttl > 0);
    moved.spec.cache.negative_max_ttl =
        tree.word("caching.cacheTimeNegative").and_then(seconds).and_then(|ttl| u32::try_from(ttl).ok());
    moved.spec.cache.prefetch = tree.is("caching.prefetching");
    for path in SAME {
        let _ = tree.take(path);
    }
    tree.rest(&file, &REASONS, moved);
    moved.spec.rebinding.protect = Some(false);
    Ok(())
}

/// A duration as Go writes it, `1h30m`, in seconds; a number alone is minutes.
fn seconds(text: &str) -> Option<u64> {
    if let Ok(minutes) = text.parse::<u64>() {
        return minutes.checked_mul(60);
    }
    let (mut all, mut number) = (0_u64, String::new());
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        all = all.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    number.is_empty().then_some(all)
}

/// Where queries are taken.
fn listen(tree: &Node, file: &Path, moved: &mut Moved) {
    let ports = tree.take("ports.dns").or_else(|| tree.take("port"));
    let Some(ports) = ports else { return moved.listen_everywhere(DNS_PORT) };
    for one in ports.items() {
        for text in one.text().unwrap_or_default().split(',').map(str::trim) {
            match text.trim_start_matches(':').parse::<u16>() {
                Ok(port) => moved.listen_everywhere(port),
                Err(_) => moved.listen(&one.place(file), text, DNS_PORT),
            }
        }
    }
}

/// A server as blocky writes it, `tcp-tls:dns.example:853`, as we do.
fn written(text: &str) -> String {
    let (place, name) = text.split_once('#').map_or((text, None), |(place, name)| (place, Some(name)));
    let with = |scheme: &str, place: &str| match name {
        Some(name) => format!("{scheme}://{name}@{place}"),
        None => format!("{scheme}://{place}"),
    };
    match place.split_once(':') {
        Some(("tcp+udp" | "udp", rest)) => format!("udp://{rest}"),
        Some(("tcp", rest)) => format!("tcp://{rest}"),
        Some(("tcp-tls", rest)) => with("tls", rest),
        Some(("quic", rest)) if !rest.starts_with("//") => with("quic", rest),
        Some(("https", rest)) => with("https", rest.trim_start_matches('/')),
        _ => place.to_owned(),
    }
}

/// A server of which an address is known.
fn written_at(text: &str, address: &str) -> String {
    let written = written(text);
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    match written.split_once("://") {
        Some((scheme, rest)) => {
            let at = rest.find(['/', ':']).unwrap_or(rest.len());
            let (host, rest) = rest.split_at(at);
            format!("{scheme}://{host}@{address}{rest}")
        }
        None => written,
    }
}

/// Who is asked for addresses of servers.
fn bootstrap(tree: &Node, file: &Path, moved: &mut Moved) {
    let Some(node) = tree.take("bootstrapDns") else { return };
    let whole = std::slice::from_ref(node);
    for one in if node.items().is_empty() { whole } else { node.items() } {
        let place = one.place(file);
        let texts: Vec<String> = match (one.text(), one.word("upstream")) {
            (Some(text), _) => vec![written(text)],
            (None, Some(text)) => one
                .list("ips")
                .iter()
                .filter_map(Node::text)
                .map(|address| written_at(text, address))
                .collect(),
            (None, None) => Vec::new(),
        };
        for text in texts {
            let server = moved.server(&place, &text);
            moved.spec.upstream.bootstrap.get_or_insert_default().extend(server);
        }
    }
}

/// Addresses of clients that are known by a name.
fn known_clients(tree: &Node) -> BTreeMap<String, Vec<String>> {
    let each = tree.map("clientLookup.clients").iter().map(|(name, addresses)| {
        (name.clone(), addresses.items().iter().filter_map(|one| one.text().map(str::to_owned)).collect())
    });
    each.collect()
}

/// The addresses that a client is known by, if it is; its name may have a star.
fn addresses(client: &str, known: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    if let Some(network) = network_of(client) {
        return Some(vec![network]);
    }
    let fits = |name: &str| match client.split_once('*') {
        Some((front, back)) => {
            name.len() >= front.len() + back.len() && name.starts_with(front) && name.ends_with(back)
        }
        None => name == client,
    };
    let found = known.iter().filter(|(name, _)| fits(name)).flat_map(|(_, addresses)| addresses.clone());
    Some(found.collect::<Vec<_>>()).filter(|found| !found.is_empty())
}

/// Whom to ask.
fn upstreams(tree: &Node, file: &Path, known: &BTreeMap<String, Vec<String>>, moved: &mut Moved) {
    moved.spec.upstream.strategy = match tree.word("upstreams.strategy") {
        Some("strict") => Some(Strategy::InOrder),
        Some("random") => Some(Strategy::Random),
        _ => Some(Strategy::Parallel),
    };
    let old = tree.map("upstream").iter().filter(|(key, _)| key != "externalResolvers");
    for (group, servers) in tree.map("upstreams.groups").iter().chain(old) {
        let place = servers.place(file);
        let each: Vec<String> = servers
            .items()
            .iter()
            .filter_map(|one| moved.server(&one.place(file), &written(one.text()?)))
            .collect();
        if group == DEFAULT {
            each.into_iter().for_each(|server| moved.upstream(Some(server)));
            continue;
        }
        match addresses(group, known) {
            Some(addresses) if !each.is_empty() => {
                group_of(group, addresses, moved);
                moved.spec.forward.push(Forward {
                    zones: Vec::new(),
                    groups: vec![group.clone()],
                    servers: each,
                    random_case: None,
                });
            }
            _ => moved.left(
                &place,
                format!("upstreams of {group}"),
                "clients are known by addresses and networks alone: name these in [[clients]]",
            ),
        }
    }
}

/// The group of a client, made if there is none.
fn group_of<'m>(name: &str, addresses: Vec<String>, moved: &'m mut Moved) -> &'m mut ClientGroup {
    let at = moved.spec.clients.iter().position(|group| group.name == name);
    let at = at.unwrap_or_else(|| {
        moved.carried += 1;
        moved.spec.clients.push(ClientGroup { name: name.to_owned(), addresses, ..everybody(Vec::new()) });
        moved.spec.clients.len() - 1
    });
    &mut moved.spec.clients[at]
}

/// Denies everybody some types.
fn filter(types: &[String], moved: &mut Moved) {
    if !moved.spec.clients.iter().any(|group| group.name == DEFAULT) {
        moved.spec.clients.push(everybody(Vec::new()));
    }
    moved.spec.clients.iter_mut().for_each(|group| group.filter = types.to_vec());
}

/// Names of our own, and who is asked about others.
fn mappings(tree: &Node, file: &Path, moved: &mut Moved) {
    for (name, to) in tree.map("customDNS.mapping") {
        let place = to.place(file);
        let Some(name) = moved.name(&place, name) else { continue };
        for text in to.text().unwrap_or_default().split(',').map(str::trim) {
            match text.parse() {
                Ok(address) => moved.record_wide(&name, with_type(address)),
                Err(_) => moved.left(&place, format!("{name}: {text}"), "no address"),
            }
        }
    }
    if let Some(zone) = tree.word("customDNS.zone").map(str::to_owned) {
        let path = "local/blocky.zone".to_owned();
        moved.files.insert(path.clone(), zone);
        moved.local(None).zone_files.push(path);
    }
    if tree.is("customDNS.filterUnmappedTypes") == Some(false) {
        moved.differs(
            &tree.place(file),
            "customDNS.filterUnmappedTypes",
            "types of a name that are not stated have no data",
        );
    }
    if let Some(ttl) = tree.word("customDNS.customTTL").and_then(seconds) {
        moved.local(None).ttl = Some(Span::Seconds(ttl.min(604_800)));
    }
    for (zone, to) in tree.map("conditional.mapping") {
        let place = to.place(file);
        if zone == "." {
            moved.left(&place, ".", "single labels are asked upstream if special.forward_home_names says so");
            continue;
        }
        let Some(zone) = moved.name(&place, zone) else { continue };
        for text in to.text().unwrap_or_default().split(',').map(str::trim) {
            let server = moved.server(&place, &written(text));
            moved.forward(&zone, server);
        }
    }
    if tree.is("conditional.fallbackUpstream") == Some(true) {
        moved.differs(
            &tree.place(file),
            "conditional.fallbackUpstream",
            "where these servers know nothing nobody else is asked",
        );
    }
    let files = tree.list("hostsFile.sources").iter().chain(tree.list("hostsFile.filePath"));
    for one in files {
        if let Some(path) = moved.path(&one.place(file), Path::new(""), one.text().unwrap_or_default()) {
            moved.carried += 1;
            moved.local(None).hosts.push(path.to_string_lossy().into_owned());
        }
    }
    // A row that states nothing but a TTL is none.
    moved.spec.local.retain(|row| {
        row.zone.is_some() || !row.hosts.is_empty() || !row.zone_files.is_empty() || row.ttl.is_some()
    });
}

/// Lists, by their groups.
fn blocking(tree: &Node, file: &Path, moved: &mut Moved) -> ByGroup {
    let (action, addresses) = match tree.word("blocking.blockType").unwrap_or("zeroIp") {
        kind if kind.eq_ignore_ascii_case("zeroIp") => (ListAction::Sinkhole, Vec::new()),
        kind if kind.eq_ignore_ascii_case("nxDomain") => (ListAction::Nxdomain, Vec::new()),
        kind => (
            ListAction::Sinkhole,
            kind.split(',').filter_map(|address| address.trim().parse().ok()).collect(),
        ),
    };
    let ttl = tree.word("blocking.blockTTL").and_then(seconds);
    if ttl.is_none_or(|ttl| ttl > u64::from(MAX_TTL_S)) {
        moved.differs(&tree.place(file), "blocking.blockTTL", "answers for what is blocked live 10 seconds, and a minute at most unless allow_long_ttl says otherwise; six hours there unless it is set");
    }
    let refresh = tree
        .word("blocking.loading.refreshPeriod")
        .or_else(|| tree.word("blocking.refreshPeriod"))
        .map_or(Some(4 * 3600), seconds);
    let refresh = refresh.filter(|seconds| (60..=31_622_400).contains(seconds));
    let blocked = Blocked { action, addresses, ttl: ttl.filter(|ttl| *ttl <= u64::from(MAX_TTL_S)), refresh };
    let mut groups = ByGroup::new();
    let denied: BTreeSet<&String> = tree
        .map("blocking.denylists")
        .iter()
        .chain(tree.map("blocking.blackLists"))
        .map(|(group, _)| group)
        .collect();
    for (group, items) in tree.map("blocking.allowlists").iter().chain(tree.map("blocking.whiteLists")) {
        if !denied.contains(group) {
            moved.left(
                &items.place(file),
                format!("allowlists.{group}"),
                "a group of allowed names alone denies all others: no list takes every name here",
            );
            continue;
        }
        moved.differs(
            &items.place(file),
            format!("allowlists.{group}"),
            "what is allowed is freed from all lists, not from those of its group alone",
        );
        items.items().iter().for_each(|item| {
            one_list(
                item,
                file,
                &format!("{group}-allowed"),
                None,
                groups.entry(group.clone()).or_default(),
                moved,
            )
        });
    }
    for (group, items) in tree.map("blocking.denylists").iter().chain(tree.map("blocking.blackLists")) {
        items.items().iter().for_each(|item| {
            one_list(item, file, group, Some(&blocked), groups.entry(group.clone()).or_default(), moved)
        });
    }
    groups
}

/// One list of a group: a URL, a file, or the names themselves. It blocks as said, or frees.
fn one_list(
    item: &Node,
    file: &Path,
    name: &str,
    blocked: Option<&Blocked>,
    made: &mut Vec<String>,
    moved: &mut Moved,
) {
    let (place, text) = (item.place(file), item.text().unwrap_or_default());
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    let list = if text.contains('\n') {
        let rules = inline(text, &place, moved);
        if rules.is_empty() {
            return;
        }
        let list = moved.list_here(name, rules.join("\n") + "\n");
        read_as(list, ListFormat::Adblock, Some(Match::Exact));
        list.allow_public_suffix = Some(true);
        list
    } else {
        let source = match is_url {
            true => text.to_owned(),
            false => {
                let path = moved.path(
                    &place,
                    file.parent().unwrap_or(Path::new("")),
                    text.trim_start_matches("file://"),
                );
                let Some(path) = path else { return };
                path.to_string_lossy().into_owned()
            }
        };
        moved.differs(&place, text, "*.x on a list is all below x; blocky has it take x, too: match = \"subtree\" says so for lists of nothing else");
        let list = moved.list(name, &source);
        list.kind = Some(Match::Exact);
        list
    };
    match blocked {
        Some(blocked) => {
            answered_by(list, blocked.action, &blocked.addresses);
            list.ttl = blocked.ttl.map(Span::Seconds);
        }
        None => list.action = Some(ListAction::Passthru),
    }
    if is_url {
        list.refresh = blocked.and_then(|blocked| blocked.refresh).map(Span::Seconds);
    }
    made.push(list.name.clone());
}

/// Names that stand in the configuration itself, as rules of ours.
fn inline(text: &str, place: &Place, moved: &mut Moved) -> Vec<String> {
    let (mut rules, mut checker) = (Vec::new(), Checker::default());
    for line in text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
    {
        if let Some(regex) = line.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            match checker.check(regex, false) {
                Ok(()) => rules.push(line.to_owned()),
                Err(why) => moved.left(place, line, why),
            }
            continue;
        }
        let word = line.split_whitespace().last().unwrap_or_default();
        let (bare, mark) = word.strip_prefix("*.").map_or((word, "|"), |bare| (bare, "||"));
        match names::name(bare) {
            Ok(name) => rules.push(format!("{mark}{name}^")),
            Err(error) => moved.left(place, line, error.to_string()),
        }
    }
    moved.carried += rules.len();
    rules
}

/// Which lists are for whom.
fn clients(
    tree: &Node,
    file: &Path,
    (known, groups): (&BTreeMap<String, Vec<String>>, &ByGroup),
    moved: &mut Moved,
) {
    let rows = tree.map("blocking.clientGroupsBlock");
    let lists_of = |node: &Node| -> Vec<String> {
        node.items().iter().filter_map(|one| groups.get(one.text()?)).flatten().cloned().collect()
    };
    let default =
        rows.iter().find(|(client, _)| client == DEFAULT).map(|(_, node)| lists_of(node)).unwrap_or_default();
    let all: usize = groups.values().map(Vec::len).sum();
    if rows.iter().all(|(client, _)| client == DEFAULT)
        && default.len() == all
        && moved.spec.clients.is_empty()
    {
        return;
    }
    for (client, node) in rows.iter().filter(|(client, _)| client != DEFAULT) {
        match addresses(client, known) {
            Some(addresses) => group_of(client, addresses, moved).zones = Some(lists_of(node)),
            None => moved.left(
                &node.place(file),
                format!("clientGroupsBlock.{client}"),
                "clients are known by addresses and networks alone: name these in [[clients]]",
            ),
        }
    }
    // Who has upstreams of its own and no row here is blocked like everybody.
    for group in moved.spec.clients.iter_mut().filter(|group| group.zones.is_none()) {
        group.zones = Some(default.clone());
    }
    moved.spec.clients.push(ClientGroup { zones: Some(default), ..everybody(Vec::new()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_durations_are_read_as_blocky_does() {
        for (text, server) in [
            ("192.0.2.1", "192.0.2.1"),
            ("tcp+udp:192.0.2.1", "udp://192.0.2.1"),
            ("tcp-tls:dns.example:853", "tls://dns.example:853"),
            ("tcp-tls:192.0.2.1:853#dns.example", "tls://dns.example@192.0.2.1:853"),
            ("https://dns.example/dns-query", "https://dns.example/dns-query"),
        ] {
            assert_eq!(written(text), server);
        }
        assert_eq!(written_at("https://dns.example/q", "2001:db8::1"), "https://dns.example@[2001:db8::1]/q");
        for (text, found) in
            [("90s", Some(90)), ("1h30m", Some(5400)), ("5", Some(300)), ("1w", None), ("1h2", None)]
        {
            assert_eq!(seconds(text), found, "{text}");
        }
    }
}
