//! AdGuardHome.yaml: filters, rules, rewrites, clients and upstreams.

use std::net::IpAddr;
use std::path::Path;

use super::dnsmasq::{everybody, with_type};
use super::moved::{DNS_PORT, Moved, Place, answered_by, network_of, read_as};
use super::tree::Node;
use crate::config::spec::{ClientGroup, Forward, List, ListAction, ListFormat, Match, Size, Span};
use crate::ecs;
use crate::name::Name;
use crate::orders::lists::{self, Format, line::Item};
use crate::policy::order::MAX_TTL_S;
use crate::problem::Problem;
use crate::upstream::{Server, Strategy};

/// Reverse zones of private addresses (RFC 6303, RFC 4193).
const PRIVATE: [&str; 5] =
    ["10.in-addr.arpa", "168.192.in-addr.arpa", "254.169.in-addr.arpa", "d.f.ip6.arpa", "8.e.f.ip6.arpa"];
/// Why there is nothing for services.
const SERVICES: &str =
    "services are lists of names that come with the product: name a list of their names in [[lists]]";
/// Why settings are not carried over, by the beginning of their path.
const REASONS: [(&str, &str); 27] = [
    ("http", WEB),
    ("users", WEB),
    ("auth_attempts", WEB),
    ("block_auth_min", WEB),
    ("http_proxy", WEB),
    ("language", WEB),
    ("theme", WEB),
    ("log", "[log] says how much is logged"),
    ("os", "how the process runs is for the service manager to say"),
    ("querylog", "[query_log] says which queries are logged, and where to"),
    ("statistics", "metrics and `sinkscope report` say what was asked: [evidence]"),
    ("tls", "queries are taken in clear alone"),
    (
        "dhcp",
        "addresses are not given out here: leave that to a DHCP server, whose leases `leases` of [[local]] reads",
    ),
    ("filtering.blocked_services", SERVICES),
    ("filtering.safe_search", "there are no safe searches: records of [[local]] can lead names to others"),
    ("filtering.parental", "nobody outside is asked about names: choose lists"),
    ("filtering.safebrowsing", "nobody outside is asked about names: choose lists"),
    ("filtering", "nothing here corresponds to it"),
    ("clients.runtime_sources", "names of clients are not looked up"),
    (
        "dns.anonymize_client_ip",
        "[query_log] addresses and [evidence] privacy say how much is kept of clients",
    ),
    ("dns.ratelimit", "[listen] has the bounds of what one client can take: docs/load.md"),
    ("dns.enable_dnssec", "nobody validates here: ask upstreams that do, over TLS or with trust_ad"),
    (
        "dns.fallback_dns",
        "name them last in [upstream] servers: with strategy = \"in-order\" they are asked when those before fail",
    ),
    ("dns.upstream_timeout", "[upstream] try_timeout_ms and total_timeout_ms say how long is waited"),
    ("dns.serve_http3", "queries are taken in clear alone"),
    ("dns.use_http3_upstreams", "write h3:// in place of https://"),
    (
        "dns.bogus_nxdomain",
        "a policy zone can do it: ADDRESS.rpz-ip CNAME . in a [[lists]] of format = \"rpz\"",
    ),
];
/// Why nothing of the web interface is carried over.
const WEB: &str = "there is no web interface: commands, an API and metrics show what is going on";
/// Settings that are as they are here, or say nothing by themselves.
const SAME: [&str; 20] = [
    "schema_version",
    "dns.refuse_any",
    "dns.trusted_proxies",
    "dns.max_goroutines",
    "dns.handle_ddr",
    "dns.ratelimit_subnet_len_ipv4",
    "dns.ratelimit_subnet_len_ipv6",
    "dns.use_private_ptr_resolvers",
    "dns.private_networks",
    "dns.cache_enabled",
    "dns.pending_requests",
    "filtering.blocking_mode",
    "filtering.filters_update_interval",
    "filtering.cache_time",
    "filtering.rewrites_enabled",
    "filtering.max_http_size",
    "filtering.parental_cache_size",
    "filtering.safe_fs_patterns",
    "filtering.safebrowsing_cache_size",
    "filtering.safesearch_cache_size",
];

/// How what is blocked is answered.
struct Blocked {
    /// By which action.
    action: ListAction,
    /// With which addresses.
    addresses: Vec<IpAddr>,
    /// For how long.
    ttl: Option<u64>,
    /// How often lists are asked for news, in hours.
    refresh: Option<u64>,
}

/// Reads a configuration.
pub(super) fn read(path: &Path, moved: &mut Moved) -> Result<(), Problem> {
    let file = if path.is_dir() { path.join("AdGuardHome.yaml") } else { path.to_path_buf() };
    let tree = Node::yaml(&file)?;
    if tree.at("dns").is_none() {
        return Err(Problem::error(
            file.to_string_lossy(),
            None,
            "has no `dns`: it is no configuration of AdGuard Home",
        ));
    }
    dns(&tree, &file, moved);
    let blocked = blocked(&tree, &file, moved);
    rewrites(&tree, &file, moved);
    rules(&tree, &file, &blocked, moved);
    filters(&tree, &file, &blocked, moved);
    clients(&tree, &file, moved);
    if tree.at("filtering.blocked_services.ids").is_none_or(|ids| ids.items().is_empty()) {
        let _ = tree.take("filtering.blocked_services");
    }
    for path in SAME {
        let _ = tree.take(path);
    }
    tree.rest(&file, &REASONS, moved);
    Ok(())
}

/// Where queries are taken, whom to ask, and what is cached.
fn dns(tree: &Node, file: &Path, moved: &mut Moved) {
    let port = tree.number("dns.port").unwrap_or(DNS_PORT);
    for host in tree.list("dns.bind_hosts") {
        moved.listen(&host.place(file), host.text().unwrap_or_default(), port);
    }
    if moved.spec.listen.udp.is_none() {
        moved.listen_everywhere(port);
    }
    for one in tree.list("dns.upstream_dns") {
        upstream(&one.place(file), one.text().unwrap_or_default(), moved);
    }
    if let Some(list) = tree.word("dns.upstream_dns_file") {
        let whole = tree.place(file);
        if let Some(path) = moved.path(&whole, file.parent().unwrap_or(Path::new("")), list)
            && let Ok(text) = super::text::read(&path)
        {
            super::text::lines(&text)
                .for_each(|(line, text)| upstream(&Place::new(&path, line), text, moved));
        }
    }
    for one in tree.list("dns.bootstrap_dns") {
        let (place, text) = (one.place(file), one.text().unwrap_or_default());
        if let Some(server) = moved.server(&place, text) {
            match server.parse::<Server>().is_ok_and(|server| server.host().is_none()) {
                true => moved.spec.upstream.bootstrap.get_or_insert_default().push(server),
                false => moved.left(&place, text, "who is asked for addresses has one itself"),
            }
        }
    }
    moved.spec.upstream.strategy = match tree.word("dns.upstream_mode") {
        Some("parallel") => Some(Strategy::Parallel),
        Some("fastest_addr") => Some(Strategy::Fastest),
        // As earlier versions say it.
        None if tree.is("dns.all_servers") == Some(true) => Some(Strategy::Parallel),
        _ => Some(Strategy::Random),
    };
    for one in tree.list("dns.local_ptr_upstreams") {
        let server = moved.server(&one.place(file), one.text().unwrap_or_default());
        let of_172 = (16..32).map(|octet| format!("{octet}.172.in-addr.arpa"));
        for zone in PRIVATE.map(str::to_owned).into_iter().chain(of_172) {
            if let Some(zone) = moved.name(&one.place(file), &zone) {
                moved.forward(&zone, server.clone());
            }
        }
    }
    for one in tree.list("dns.allowed_clients") {
        network(&one.place(file), one.text().unwrap_or_default(), moved);
    }
    for one in tree.list("dns.disallowed_clients") {
        moved.left(
            &one.place(file),
            one.text().unwrap_or_default(),
            "networks are allowed, and all others refused: [access] allow",
        );
    }
    for one in tree.list("dns.blocked_hosts") {
        let text = one.text().unwrap_or_default();
        // These three are refused here unless [server] answers them.
        if !matches!(text, "version.bind" | "id.server" | "hostname.bind") {
            moved.left(&one.place(file), text, "names are refused by a list with action = \"refused\"");
        }
    }
    let cache = &mut moved.spec.cache;
    cache.size = tree.number("dns.cache_size").map(Size::Octets);
    cache.min_ttl = tree.number("dns.cache_ttl_min").filter(|ttl| *ttl > 0);
    cache.max_ttl = tree.number("dns.cache_ttl_max").filter(|ttl| *ttl > 0);
    cache.serve_stale = tree.is("dns.cache_optimistic");
    let _ = (tree.take("dns.cache_optimistic_answer_ttl"), tree.take("dns.cache_optimistic_max_age"));
    if tree.is("dns.aaaa_disabled") == Some(true) {
        moved.spec.clients.push(everybody(vec!["AAAA".to_owned()]));
    }
    if tree.is("dns.edns_client_subnet.enabled") == Some(true) {
        moved.spec.ecs.mode = Some(ecs::Mode::Add);
    }
    if tree.is("dns.use_dns64") == Some(true) {
        let prefix = tree.list("dns.dns64_prefixes").first().and_then(Node::text);
        moved.spec.dns64.prefix = Some(prefix.unwrap_or("64:ff9b::/96").to_owned());
    }
    if tree.is("dns.hostsfile_enabled") == Some(true)
        && let Some(path) = moved.path(&tree.place(file), Path::new(""), "/etc/hosts")
    {
        moved.local(None).hosts.push(path.to_string_lossy().into_owned());
    }
    moved.spec.rebinding.protect = Some(false);
}

/// A client that may ask.
fn network(place: &Place, text: &str, moved: &mut Moved) {
    match network_of(text) {
        Some(network) => moved.spec.access.allow.get_or_insert_default().push(network),
        None => moved.left(place, text, "clients are known by addresses and networks alone"),
    }
}

/// A line of `upstream_dns`: a server, or `[/zone/zone/]server server`.
fn upstream(place: &Place, line: &str, moved: &mut Moved) {
    if line.is_empty() || line.starts_with('#') {
        return;
    }
    let Some((zones, servers)) = line.strip_prefix("[/").and_then(|rest| rest.split_once("/]")) else {
        let server = moved.server(place, line);
        return moved.upstream(server);
    };
    for zone in zones.split('/') {
        if zone.is_empty() || zone.contains('*') {
            moved.left(
                place,
                line,
                "single labels, and what is below a zone without it, have no servers of their own",
            );
            continue;
        }
        let Some(zone) = moved.name(place, zone) else { continue };
        for server in servers.split_whitespace() {
            if server == "#" {
                moved.left(
                    place,
                    line,
                    "a zone within another one that goes back to all servers: name those in a [[forward]]",
                );
                continue;
            }
            let server = moved.server(place, server);
            moved.forward(&zone, server);
        }
    }
}

/// How what is blocked is answered.
fn blocked(tree: &Node, file: &Path, moved: &mut Moved) -> Blocked {
    let at = |key: &str| tree.word(&format!("filtering.{key}")).or_else(|| tree.word(&format!("dns.{key}")));
    let addresses: Vec<IpAddr> =
        ["blocking_ipv4", "blocking_ipv6"].iter().filter_map(|key| at(key)?.parse().ok()).collect();
    let (action, addresses) = match at("blocking_mode") {
        Some("nxdomain") => (ListAction::Nxdomain, Vec::new()),
        Some("refused") => (ListAction::Refused, Vec::new()),
        Some("custom_ip") => (ListAction::Sinkhole, addresses),
        _ => (ListAction::Sinkhole, Vec::new()),
    };
    let ttl = at("blocked_response_ttl").and_then(|ttl| ttl.parse::<u64>().ok());
    if let Some(long) = ttl.filter(|ttl| *ttl > u64::from(MAX_TTL_S)) {
        let what = format!("blocked_response_ttl: {long}");
        moved.differs(
            &tree.place(file),
            what,
            "answers for what is blocked live a minute at most, unless allow_long_ttl says otherwise",
        );
    }
    for key in [
        "filtering.protection_enabled",
        "filtering.filtering_enabled",
        "dns.protection_enabled",
        "dns.filtering_enabled",
    ] {
        if tree.is(key) == Some(false) {
            moved.differs(
                &tree.place(file),
                format!("{key}: false"),
                "lists are in force: `sinkscope pause` leaves them aside for a while",
            );
        }
    }
    let _ = (tree.take("filtering.parental_block_host"), tree.take("filtering.safebrowsing_block_host"));
    let refresh = tree.number("filtering.filters_update_interval").filter(|hours| (1..=8760).contains(hours));
    Blocked { action, addresses, ttl: ttl.filter(|ttl| *ttl <= u64::from(MAX_TTL_S)), refresh }
}

impl Blocked {
    /// Has a list answer so.
    fn by(&self, list: &mut List) {
        answered_by(list, self.action, &self.addresses);
        list.ttl = self.ttl.map(Span::Seconds);
    }
}

/// `rewrites`: names that are answered here.
fn rewrites(tree: &Node, file: &Path, moved: &mut Moved) {
    let place_of = |node: &Node| node.place(file);
    for one in tree.list("filtering.rewrites").iter().chain(tree.list("dns.rewrites")) {
        let (place, domain, answer) =
            (place_of(one), one.word("domain").unwrap_or_default(), one.word("answer").unwrap_or_default());
        let shown = format!("{domain} -> {answer}");
        if one.is("enabled") == Some(false) {
            moved.left(&place, shown, "it is switched off");
            continue;
        }
        let owner: Option<Name> = match domain.starts_with("*.") {
            true => domain.to_ascii_lowercase().parse().ok(),
            false => moved.name(&place, domain),
        };
        let Some(owner) = owner else { continue };
        match (answer.parse::<IpAddr>(), answer) {
            (Ok(address), _) => moved.record(&owner, with_type(address)),
            (Err(_), "A" | "AAAA") => moved.left(
                &place,
                shown,
                "an exception from another rewrite: state the records that are to be told",
            ),
            (Err(_), target) => {
                if let Some(target) = moved.name(&place, target) {
                    moved.record(&owner, format!("CNAME {target}."));
                }
            }
        }
    }
}

/// `user_rules`: the lines as they are, but for those that cannot be honoured.
fn rules(tree: &Node, file: &Path, blocked: &Blocked, moved: &mut Moved) {
    let (mut rules, mut spared, mut important) = (Vec::new(), Vec::new(), false);
    for one in tree.list("user_rules") {
        let (place, text) = (one.place(file), one.text().unwrap_or_default().trim());
        if text.is_empty() || text.starts_with(['!', '#']) {
            continue;
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        if let Some(Ok(address)) = words.first().map(|word| word.parse::<IpAddr>())
            && !address.is_unspecified()
            && !address.is_loopback()
        {
            for word in words.iter().skip(1).take_while(|word| !word.starts_with('#')) {
                if let Some(name) = moved.name(&place, word) {
                    moved.record(&name, with_type(address));
                }
            }
            continue;
        }
        if let Some(why) = refused(text) {
            moved.left(&place, text, why);
            continue;
        }
        important |= text.contains("important");
        rules.push(text);
        if text.starts_with("@@") {
            spared.push(text);
        }
    }
    moved.carried += rules.len();
    if !spared.is_empty() {
        if important {
            moved.differs(&tree.place(file), "user_rules", "rules of one's own that are $important go before exceptions of one's own; those of lists do not");
        }
        let list = moved.list_here("adguardhome-exceptions", spared.join("\n") + "\n");
        read_as(list, ListFormat::Adblock, Some(Match::Exact));
        list.action = Some(ListAction::Passthru);
        list.allow_public_suffix = Some(true);
    }
    if rules.len() > spared.len() {
        let list = moved.list_here("adguardhome-rules", rules.join("\n") + "\n");
        read_as(list, ListFormat::Adblock, Some(Match::Exact));
        list.allow_public_suffix = Some(true);
        blocked.by(list);
    }
}

/// Why a rule cannot be honoured, if it cannot.
fn refused(text: &str) -> Option<String> {
    let mut why = None;
    lists::each(text.as_bytes(), Format::Adblock, |_, item| match item {
        Item::Unusable(unusable) => why = Some(unusable.why.into_owned()),
        Item::Skipped(skip) => why = Some(skip.as_str().to_owned()),
        Item::Rule(rule) if rule.widened => {
            why = Some(
                "an exception for somebody, or for a part of a site: it would spare the name for everybody"
                    .to_owned(),
            )
        }
        _ => {}
    });
    why
}

/// `filters` and `whitelist_filters`.
fn filters(tree: &Node, file: &Path, blocked: &Blocked, moved: &mut Moved) {
    for (key, frees) in [("whitelist_filters", true), ("filters", false)] {
        for one in tree.list(key) {
            let (place, url) = (one.place(file), one.word("url").unwrap_or_default());
            if one.is("enabled") == Some(false) {
                moved.left(&place, url, "it is switched off");
                continue;
            }
            let is_url = url.starts_with("http://") || url.starts_with("https://");
            let source = match is_url {
                true => url.to_owned(),
                false => match moved.path(&place, Path::new(""), url) {
                    Some(path) => path.to_string_lossy().into_owned(),
                    None => continue,
                },
            };
            let name = one.word("name").unwrap_or("filter").to_ascii_lowercase();
            let list = moved.list(&name, &source);
            list.kind = Some(Match::Exact);
            if is_url {
                list.refresh = blocked.refresh.map(|hours| Span::Text(format!("{hours}h")));
            }
            match frees {
                true => list.action = Some(ListAction::Passthru),
                false => blocked.by(list),
            }
            if !frees {
                moved.differs(&place, url, "exceptions of a list spare from that list's own rules; AdGuard Home has them spare from all");
            }
        }
    }
}

/// `clients.persistent`.
fn clients(tree: &Node, file: &Path, moved: &mut Moved) {
    for one in tree.list("clients.persistent") {
        let (place, name) = (one.place(file), one.word("name").unwrap_or("client"));
        let mut addresses = Vec::new();
        for id in one.list("ids") {
            let text = id.text().unwrap_or_default();
            match network_of(text) {
                Some(network) => addresses.push(network),
                None => moved.left(
                    &id.place(file),
                    format!("{name}: {text}"),
                    "clients are known by addresses and networks alone, not by hardware address or name",
                ),
            }
        }
        let own = one.is("use_global_settings") == Some(false);
        let unfiltered = own && one.is("filtering_enabled") == Some(false);
        let servers: Vec<String> = one
            .list("upstreams")
            .iter()
            .filter_map(|server| moved.server(&server.place(file), server.text()?))
            .collect();
        for key in [
            "tags",
            "safe_search",
            "parental_enabled",
            "safebrowsing_enabled",
            "blocked_services",
            "ignore_querylog",
            "ignore_statistics",
        ] {
            let says = one.take(key).is_some_and(|node| says(key, node));
            if says {
                let why = match key {
                    "blocked_services" => SERVICES,
                    "ignore_querylog" | "ignore_statistics" => {
                        "[query_log] groups and `evidence` of [[clients]] say whose queries are kept"
                    }
                    _ => "nothing here corresponds to it",
                };
                moved.left(&place, format!("{name}: {key}"), why);
            }
        }
        if addresses.is_empty() || !unfiltered && servers.is_empty() {
            continue;
        }
        moved.carried += 1;
        if !servers.is_empty() {
            moved.spec.forward.push(Forward {
                zones: Vec::new(),
                groups: vec![name.to_owned()],
                servers,
                random_case: None,
            });
        }
        moved.spec.clients.push(ClientGroup {
            name: name.to_owned(),
            addresses,
            zones: unfiltered.then(Vec::new),
            without: None,
            filter: Vec::new(),
            evidence: None,
            schedule: Vec::new(),
        });
    }
}

/// Whether a client's setting says more than that it is as usual.
fn says(key: &str, node: &Node) -> bool {
    match key {
        "blocked_services" => !node.list("ids").is_empty(),
        "tags" => !node.items().is_empty(),
        "safe_search" => node.is("enabled") == Some(true),
        _ => node.text() == Some("true"),
    }
}
