//! Pi-hole 6: `pihole.toml`, and the lists, domains, groups and clients of `gravity.db`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::dnsmasq::{cname, host_record, reverse, with_type};
use super::moved::{DNS_PORT, Moved, Place, answered_by, network_of};
use super::rules::{Act, Cover, Own};
use super::tree::Node;
use crate::clients::DEFAULT;
use crate::config::spec::{ClientGroup, ListAction, Match, Size, Span};
use crate::problem::Problem;

/// Rows of one table at most.
const MAX_ROWS: usize = 1_000_000;
/// The group that everybody is in who is in no other.
const DEFAULT_GROUP: i64 = 0;
/// The list of names that clients look at before they go past their resolver.
const SPECIAL: &str = "pihole-special";
/// Why settings are not carried over, by the beginning of their path.
const REASONS: [(&str, &str); 17] = [
    (
        "dhcp",
        "addresses are not given out here: leave that to a DHCP server, whose leases `leases` of [[local]] reads",
    ),
    ("ntp", "the time is not given out here"),
    ("webserver", "there is no web interface: commands, an API and metrics show what is going on"),
    ("files", "[query_log] and [log] say what is written where"),
    ("database", "[query_log] and [evidence] say what is kept, and for how long"),
    ("resolver", "names of clients are not looked up"),
    ("debug", "[log] level says how much is logged"),
    ("misc.dnsmasq_lines", "write them to a file and carry that over with `sinkscope import dnsmasq`"),
    ("misc.etc_dnsmasq_d", "carry its files over with `sinkscope import dnsmasq`"),
    ("misc.privacylevel", "[query_log] addresses and [evidence] privacy say how much is kept of clients"),
    ("misc", "how the process runs is for the service manager to say"),
    ("dns.dnssec", "nobody validates here: ask upstreams that do, over TLS or with trust_ad"),
    ("dns.rateLimit", "[listen] has the bounds of what one client can take: docs/load.md"),
    ("dns.queryLogging", "[query_log] says what is logged"),
    ("dns.interface", "queries are taken at addresses: [listen] udp"),
    ("dns.replyWhenBusy", "rules are in memory: no query waits for a database"),
    ("dns.reply", "names of the server itself are stated in [[local]]"),
];
/// Settings whose defaults are what happens here.
const SAME: [&str; 11] = [
    "dns.CNAMEdeepInspect",
    "dns.blockESNI",
    "dns.ignoreLocalhost",
    "dns.showDNSSEC",
    "dns.analyzeOnlyAandAAAA",
    "dns.piholePTR",
    "dns.hideDNSSEC",
    "dns.localise",
    "dns.cache.rrtype",
    "dns.cache.optimizer",
    "dns.EDNS0ECS",
];

/// Reads what is in a folder, or beside a file.
pub(super) fn read(path: &Path, moved: &mut Moved) -> Result<(), Problem> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let (settings, gravity): (std::path::PathBuf, std::path::PathBuf) =
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("db") => (folder.join("pihole.toml"), path.to_path_buf()),
            Some("toml") => (path.to_path_buf(), folder.join("gravity.db")),
            _ => (folder.join("pihole.toml"), folder.join("gravity.db")),
        };
    if !settings.exists() && !gravity.exists() {
        let problem =
            Problem::error(path.to_string_lossy(), None, "holds neither pihole.toml nor gravity.db");
        return Err(problem.hint("name Pi-hole's folder, which is /etc/pihole, or one of these files"));
    }
    let mut act = Act::Null;
    if settings.exists() {
        act = toml(&settings, moved)?;
    } else {
        moved.left(
            &Place::new(&settings, None),
            "pihole.toml",
            "it is not there: only lists, domains, groups and clients are carried over",
        );
        moved.listen_everywhere(DNS_PORT);
    }
    match gravity.exists() {
        true => database(&gravity, &act, moved)?,
        false => moved.left(
            &Place::new(&gravity, None),
            "gravity.db",
            "it is not there: only settings are carried over",
        ),
    }
    Ok(())
}

/// Reads the settings, and gives back what happens to names that are blocked.
fn toml(path: &Path, moved: &mut Moved) -> Result<Act, Problem> {
    let tree = Node::toml(path)?;
    let whole = Place::new(path, None);
    moved.listen_everywhere(tree.number("dns.port").unwrap_or(DNS_PORT));
    for one in tree.list("dns.upstreams") {
        let (place, text) = (one.place(path), one.text().unwrap_or_default());
        let server = moved.server(&place, &written(text));
        moved.upstream(server);
    }
    let domain = tree
        .take("dns.domain")
        .and_then(|node| node.text().or_else(|| node.at("name")?.text()))
        .map(str::to_owned);
    let domain = domain.filter(|domain| !domain.is_empty()).and_then(|domain| moved.name(&whole, &domain));
    let expand = tree.is("dns.expandHosts").unwrap_or(false);
    for one in tree.list("dns.hosts") {
        hosts(&one.place(path), one.text().unwrap_or_default(), expand.then_some(domain).flatten(), moved);
    }
    for one in tree.list("dns.cnameRecords") {
        let text = one.text().unwrap_or_default();
        cname(&one.place(path), text, text, moved);
    }
    if let Some(text) = tree.word("dns.hostRecord") {
        host_record(&whole, text, moved);
    }
    for one in tree.list("dns.revServers") {
        reverse_server(&one.place(path), one.text().unwrap_or_default(), moved);
    }
    if tree.is("dns.domain.local") == Some(true)
        && let Some(domain) = domain
    {
        moved.local(Some(&domain));
    }
    match tree.word("dns.listeningMode").map(str::to_ascii_uppercase).as_deref() {
        Some("ALL") => moved.spec.access.allow = Some(vec!["any".to_owned()]),
        Some("SINGLE" | "BIND") => {
            moved.left(
                &whole,
                "dns.listeningMode",
                "queries are taken at addresses: [listen] udp; [access] allow says from whom",
            );
        }
        _ => {}
    }
    if let Some(size) = tree.number::<u64>("dns.cache.size") {
        match size {
            0 => moved.spec.cache.size = Some(Size::Octets(0)),
            size => moved.differs(
                &whole,
                format!("dns.cache.size = {size}"),
                "the cache is measured in octets here: [cache] size, 64 MiB unless set",
            ),
        }
    }
    for (key, what) in
        [("dns.bogusPriv", "reverse names of private addresses"), ("dns.domainNeeded", "single labels")]
    {
        if tree.is(key) == Some(false) {
            let why = format!(
                "{what} are asked upstream there; here they are answered, unless [special] or [[forward]] says otherwise"
            );
            moved.differs(&whole, format!("{key} = false"), why);
        }
    }
    special(&tree, moved);
    let act = blocking(&tree, &whole, moved);
    if !expand && domain.is_some() && tree.is("dns.domain.local") != Some(true) {
        moved.left(
            &whole,
            "dns.domain",
            "hosts are not expanded by it: name a zone of [[local]] to have one",
        );
    }
    for path in SAME {
        let _ = tree.take(path);
    }
    if tree.is("dns.blocking.active") == Some(false) {
        moved.differs(
            &whole,
            "dns.blocking.active = false",
            "lists are in force: `sinkscope pause` leaves them aside for a while",
        );
    }
    tree.rest(path, &REASONS, moved);
    moved.spec.rebinding.protect = Some(false);
    Ok(act)
}

/// Names that are answered so that clients keep asking here.
fn special(tree: &Node, moved: &mut Moved) {
    let rules = [
        ("dns.specialDomains.mozillaCanary", &["use-application-dns.net"][..], Act::Nxdomain),
        (
            "dns.specialDomains.iCloudPrivateRelay",
            &["mask.icloud.com", "mask-h2.icloud.com"][..],
            Act::Nxdomain,
        ),
        ("dns.specialDomains.designatedResolver", &["resolver.arpa"][..], Act::Nodata),
    ];
    for (key, names, act) in rules {
        if tree.is(key) == Some(true) {
            for name in names.iter().filter_map(|name| crate::orders::names::name(name).ok()) {
                moved.own.entry(SPECIAL.to_owned()).or_default().rule(&name, Cover::Subtree, act.clone());
            }
        }
    }
}

/// What happens to names that are blocked.
fn blocking(tree: &Node, whole: &Place, moved: &mut Moved) -> Act {
    if let Some(ttl) = tree.number::<u64>("dns.blockTTL") {
        moved.differs(
            whole,
            format!("dns.blockTTL = {ttl}"),
            "answers for what is blocked live 10 seconds: `ttl` of [[lists]] says it for each list",
        );
    }
    let addresses: Vec<IpAddr> = ["IPv4", "IPv6"]
        .iter()
        .filter_map(|family| tree.word(&format!("dns.reply.blocking.{family}"))?.parse().ok())
        .filter(|address: &IpAddr| !address.is_unspecified())
        .collect();
    match tree.word("dns.blocking.mode").map(|mode| mode.to_ascii_uppercase().replace('_', "-")).as_deref() {
        Some("NX" | "NXDOMAIN") => Act::Nxdomain,
        Some("NODATA") => Act::Nodata,
        Some("IP") if !addresses.is_empty() => Act::Addresses(addresses),
        Some("IP-NODATA-AAAA") if !addresses.is_empty() => {
            Act::Addresses(addresses.into_iter().filter(IpAddr::is_ipv4).collect())
        }
        Some("IP" | "IP-NODATA-AAAA") => {
            let why = "no address is configured to answer with: it is 0.0.0.0 and ::, unless `addresses` of [[lists]] says otherwise";
            moved.differs(whole, "dns.blocking.mode", why);
            Act::Null
        }
        _ => Act::Null,
    }
}

/// A server as Pi-hole writes it, `192.0.2.1#53`, as we do.
fn written(text: &str) -> String {
    let (address, port) = text.split_once('#').unwrap_or((text, "53"));
    match address.contains(':') {
        true => format!("udp://[{address}]:{port}"),
        false => format!("udp://{address}:{port}"),
    }
}

/// A line of hosts: an address and names.
fn hosts(place: &Place, line: &str, zone: Option<crate::name::Name>, moved: &mut Moved) {
    let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
    let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else {
        return moved.left(place, line, "an address and names");
    };
    for word in words {
        let Some(name) = moved.name(place, word) else { continue };
        moved.record(&name, with_type(address));
        if let Some(zone) = zone.filter(|_| name.label_count() == 1)
            && let Some(name) = moved.name(place, &format!("{word}.{zone}"))
        {
            moved.record(&name, with_type(address));
        }
    }
}

/// `true,192.168.0.0/16,192.168.0.1#53,fritz.box`.
fn reverse_server(place: &Place, text: &str, moved: &mut Moved) {
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    let [active, network, to, rest @ ..] = &words[..] else {
        return moved.left(place, text, "whether it is on, a network, a server and perhaps a domain");
    };
    if *active != "true" {
        return;
    }
    let server = moved.server(place, &written(to));
    match reverse(network).and_then(|zone| moved.name(place, &zone)) {
        Some(zone) => moved.forward(&zone, server.clone()),
        None => moved.left(place, text, "reverse zones end between octets: name them in [[forward]] zones"),
    }
    if let Some(zone) = rest.first().filter(|zone| !zone.is_empty()).and_then(|zone| moved.name(place, zone))
    {
        moved.forward(&zone, server);
    }
}

/// What rows of a table are for: groups by the row's number.
type Groups = BTreeMap<i64, BTreeSet<i64>>;

/// Reads lists, domains, groups and clients.
fn database(path: &Path, act: &Act, moved: &mut Moved) -> Result<(), Problem> {
    let wrong = |error: rusqlite::Error| {
        Problem::error(path.to_string_lossy(), None, format!("cannot be read: {error}"))
    };
    let db =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(wrong)?;
    let place = Place::new(path, None);
    let on: BTreeSet<i64> = pairs(&db, "SELECT id, enabled FROM \"group\"")
        .map_err(wrong)?
        .into_iter()
        .filter(|(_, on)| *on == 1)
        .map(|(id, _)| id)
        .collect();
    let groups = |sql: &str| -> Result<Groups, Problem> {
        let mut found = Groups::new();
        for (row, group) in
            pairs(&db, sql).map_err(wrong)?.into_iter().filter(|(_, group)| on.contains(group))
        {
            found.entry(row).or_default().insert(group);
        }
        Ok(found)
    };
    let mut zones: Vec<(String, BTreeSet<i64>)> = Vec::new();
    let by_group = groups("SELECT domainlist_id, group_id FROM domainlist_by_group")?;
    domains(&db, &by_group, (act, &place), &mut zones, moved).map_err(wrong)?;
    let by_group = groups("SELECT adlist_id, group_id FROM adlist_by_group")?;
    lists(&db, &by_group, (act, &place), &mut zones, moved).map_err(wrong)?;
    let by_group = groups("SELECT client_id, group_id FROM client_by_group")?;
    clients(&db, &by_group, &place, &zones, moved).map_err(wrong)
}

/// Pairs of numbers.
fn pairs(db: &Connection, sql: &str) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut rows = db.prepare(sql)?;
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.take(MAX_ROWS).collect()
}

/// The name of the own list for a set of groups: the product's for the default group.
fn list_name(product: &str, groups: &BTreeSet<i64>) -> String {
    let numbers: Vec<String> = groups.iter().map(i64::to_string).collect();
    match groups.iter().eq([&DEFAULT_GROUP]) {
        true => product.to_owned(),
        false => format!("{product}-groups-{}", numbers.join("-")),
    }
}

/// Domains and patterns that are blocked or allowed.
fn domains(
    db: &Connection,
    by_group: &Groups,
    (act, place): (&Act, &Place),
    zones: &mut Vec<(String, BTreeSet<i64>)>,
    moved: &mut Moved,
) -> rusqlite::Result<()> {
    let mut rows = db.prepare("SELECT id, type, domain, enabled FROM domainlist ORDER BY id")?;
    let rows = rows.query_map([], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?, row.get::<_, i64>(3)?))
    })?;
    for row in rows.take(MAX_ROWS) {
        let (id, kind, text, enabled) = row?;
        let what = format!("domainlist {id}: {text}");
        if kind == 2 && enabled == 1 {
            let why =
                "patterns that allow come before all that denies; there names that are denied one by one do";
            moved.differs(place, what.clone(), why);
        }
        let (1, Some(groups)) = (enabled, by_group.get(&id)) else {
            moved.left(place, what, "it is switched off, or in no group that is on");
            continue;
        };
        let list = list_name(moved.product, groups);
        if !zones.iter().any(|(name, _)| *name == list) {
            zones.push((list.clone(), groups.clone()));
        }
        if kind == 2 || kind == 3 {
            let own = moved.own.entry(list).or_default();
            if let Err(why) = pattern(own, &text, kind == 2, act) {
                moved.left(place, what, why);
            }
            continue;
        }
        let Some(name) = moved.name(place, &text) else { continue };
        let own = moved.own.entry(list).or_default();
        match kind {
            0 => own.free(&name, Cover::Exact),
            _ => own.rule(&name, Cover::Exact, act.clone()),
        }
    }
    Ok(())
}

/// Takes a pattern with Pi-hole's options behind it.
fn pattern(own: &mut Own, text: &str, frees: bool, act: &Act) -> Result<(), String> {
    let (regex, options) = text.split_once(';').unwrap_or((text, ""));
    let mut act = if frees { Act::Pass } else { act.clone() };
    for option in options.split(';').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        act = match (name.to_ascii_lowercase().as_str(), value.to_ascii_lowercase().as_str()) {
            ("reply", "nodata") => Act::Nodata,
            ("reply", "nxdomain") => Act::Nxdomain,
            ("reply", "refused") => Act::Refused,
            ("reply", "none") => Act::Drop,
            ("reply", "ip") => act,
            ("reply", address) if address.parse::<IpAddr>().is_ok() => {
                Act::Addresses(address.parse().into_iter().collect())
            }
            _ => {
                return Err(format!(
                    "a resolver cannot honour the option {name} of a pattern: without it the pattern would take more, or less"
                ));
            }
        };
    }
    own.pattern(regex, act)
}

/// Lists that are fetched.
fn lists(
    db: &Connection,
    by_group: &Groups,
    (act, place): (&Act, &Place),
    zones: &mut Vec<(String, BTreeSet<i64>)>,
    moved: &mut Moved,
) -> rusqlite::Result<()> {
    // Lists of what is allowed came with a later version of the table.
    let has_type = db.prepare("SELECT type FROM adlist LIMIT 1").is_ok();
    let kind = if has_type { "type" } else { "0" };
    let mut rows = db.prepare(&format!("SELECT id, address, enabled, {kind} FROM adlist ORDER BY id"))?;
    let rows = rows.query_map([], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
    })?;
    for row in rows.take(MAX_ROWS) {
        let (id, address, enabled, kind) = row?;
        let what = format!("adlist {id}: {address}");
        let (1, Some(groups)) = (enabled, by_group.get(&id)) else {
            moved.left(place, what, "it is switched off, or in no group that is on");
            continue;
        };
        let source = match address.strip_prefix("file://") {
            Some(file) => match moved.path(place, Path::new(""), file) {
                Some(path) => path.to_string_lossy().into_owned(),
                None => continue,
            },
            None if address.starts_with("http://") || address.starts_with("https://") => address.clone(),
            None => {
                moved.left(place, what, "lists are fetched by http:// and https://");
                continue;
            }
        };
        if address.contains('@') {
            moved.left(place, what, "lists are fetched without user and password");
            continue;
        }
        let list = moved.list(&format!("{}-{id}", if kind == 1 { "allow" } else { "adlist" }), &source);
        // A bare name is that name alone, as Pi-hole reads it.
        list.kind = Some(Match::Exact);
        list.refresh = address.starts_with("http").then(|| Span::Text("7d".to_owned()));
        match (kind, act) {
            (1, _) => list.action = Some(ListAction::Passthru),
            (_, Act::Nxdomain) => list.action = Some(ListAction::Nxdomain),
            (_, Act::Nodata) => list.action = Some(ListAction::Nodata),
            (_, Act::Addresses(addresses)) => answered_by(list, ListAction::Sinkhole, addresses),
            _ => {}
        }
        let name = list.name.clone();
        zones.push((name, groups.clone()));
    }
    Ok(())
}

/// Groups of clients: each set of Pi-hole's groups that some are in.
fn clients(
    db: &Connection,
    by_group: &Groups,
    place: &Place,
    zones: &[(String, BTreeSet<i64>)],
    moved: &mut Moved,
) -> rusqlite::Result<()> {
    let mut sets: BTreeMap<BTreeSet<i64>, Vec<String>> = BTreeMap::new();
    let mut rows = db.prepare("SELECT id, ip FROM client ORDER BY id")?;
    for row in rows.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?.take(MAX_ROWS)
    {
        let (id, address) = row?;
        match network_of(&address) {
            Some(network) => {
                sets.entry(by_group.get(&id).cloned().unwrap_or_default()).or_default().push(network);
            }
            None => moved.left(place, format!("client {id}: {address}"), "clients are known by addresses and networks alone, not by hardware address, name or interface"),
        }
    }
    let is_for_all = zones.iter().all(|(_, groups)| groups.contains(&DEFAULT_GROUP));
    if sets.keys().all(|set| set.iter().eq([&DEFAULT_GROUP])) && is_for_all {
        return Ok(());
    }
    sets.entry(BTreeSet::from([DEFAULT_GROUP])).or_default();
    for (set, addresses) in sets {
        let is_default = set.iter().eq([&DEFAULT_GROUP]);
        let applies =
            zones.iter().filter(|(_, groups)| !groups.is_disjoint(&set)).map(|(name, _)| name.clone());
        let applies = moved.own.contains_key(SPECIAL).then(|| SPECIAL.to_owned()).into_iter().chain(applies);
        let numbers: Vec<String> = set.iter().map(i64::to_string).collect();
        let name = match (is_default, set.is_empty()) {
            (true, _) => DEFAULT.to_owned(),
            (_, true) => "groups-none".to_owned(),
            _ => format!("groups-{}", numbers.join("-")),
        };
        let zones_of = applies.collect();
        moved.carried += 1;
        moved.spec.clients.push(ClientGroup {
            name,
            // Everybody else is in the group of that name anyway.
            addresses: if is_default { Vec::new() } else { addresses },
            zones: Some(zones_of),
            without: None,
            filter: Vec::new(),
            evidence: None,
            schedule: Vec::new(),
        });
    }
    Ok(())
}
