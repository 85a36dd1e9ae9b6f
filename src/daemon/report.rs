//! What is said on start: what is in force, where it listens, whom it asks, and how to see it work.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::control::changes::standing;
use crate::name::Name;
use crate::orders::Loaded;
use crate::policy::{Act, Policy, Synthesis, Verdict};
use crate::time::UnixSeconds;
use crate::upstream::{Forward, Route, Server, Settings};

/// Orders and zones named one by one; a folder may hold thousands.
const MAX_NAMED: usize = 24;
/// What is so without upstreams.
const NO_UPSTREAM: &str = "NO UPSTREAM: only listed names are answered, and those of [[forward]] zones";
/// Labels for a neighbour that nobody listed: the first that the policy leaves alone.
const NEIGHBOURS: [&str; 3] = ["www", "innocent", "neighbour-of-a-listed-name"];

/// What is in force, a line each.
pub(super) fn in_force(loaded: &Loaded, at: UnixSeconds) -> Vec<String> {
    let mut lines = vec![format!(
        "loaded {} with {}; refused {} and {} of lists",
        counted(loaded.orders, "order"),
        counted(loaded.names, "name"),
        counted(loaded.refused_orders, "order"),
        counted(loaded.refused_lines, "line")
    )];
    lines.extend(loaded.orders_in_force().take(MAX_NAMED).map(|held| {
        let order = &held.order;
        format!(
            "order {}: {}, {}{}",
            order.id,
            order.action,
            counted(held.names, "name"),
            standing(order, at)
        )
    }));
    if let Some(more) = loaded.orders.checked_sub(MAX_NAMED).filter(|&more| more > 0) {
        lines.push(format!("and {more} more orders"));
    }
    lines
}

/// A number of things in words.
fn counted(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Whom it asks.
fn upstreams(servers: &[Server]) -> String {
    let shown: Vec<String> = servers.iter().map(Server::to_string).collect();
    format!("asking {}", shown.join(", "))
}

/// Whom it asks about names of some zones.
fn forwards(group: &Forward) -> String {
    let mut zones: Vec<String> = group.zones.iter().take(MAX_NAMED).map(Name::to_string).collect();
    if let Some(more @ 1..) = group.zones.len().checked_sub(MAX_NAMED) {
        zones.push(counted(more, "more zone"));
    }
    format!("{} about {}", upstreams(&group.servers), zones.join(", "))
}

/// Whom it asks for some clients, as far as that is not so for everybody.
fn route(route: &Route, everybodys: &Settings) -> Vec<String> {
    let own = route.forwards.iter().filter(|group| !everybodys.forwards.contains(group)).map(forwards);
    let all = (route.servers != everybodys.servers).then(|| upstreams(&route.servers));
    let clients = format!("for clients in {}", route.groups.join(", "));
    all.into_iter().chain(own).map(|line| format!("{line} {clients}")).collect()
}

/// Says whom it asks.
pub(super) fn say_upstreams(asked: &Settings) {
    for group in &asked.forwards {
        tracing::info!("{}", forwards(group));
    }
    for group in &asked.routes {
        route(group, asked).iter().for_each(|line| tracing::info!("{line}"));
    }
    match &asked.servers[..] {
        [] => tracing::warn!("{NO_UPSTREAM}. Set [upstream] servers, or use --upstream"),
        servers => tracing::info!("{}", upstreams(servers)),
    }
}

/// Two lines to paste: a sinkholed name and its innocent neighbour; fewer when there is no such name.
pub(super) fn to_paste(loaded: &Loaded, policy: &Policy, listen: SocketAddr, at: UnixSeconds) -> Vec<String> {
    let server = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let dig = |name: &Name| format!("dig @{server} -p {} {name} A", listen.port());
    let Some((name, order)) = sinkholed(loaded, policy, at) else { return Vec::new() };
    let mut lines = vec![format!("try a sinkholed name:        {}   # order {order}", dig(&name))];
    if let Some(neighbour) = neighbour(&name, policy, at) {
        lines.push(format!("and its innocent neighbour:  {}", dig(&neighbour)));
    }
    lines
}

/// A name that is sinkholed with an address now, and the order behind it.
fn sinkholed(loaded: &Loaded, policy: &Policy, at: UnixSeconds) -> Option<(Name, String)> {
    let examples = loaded.orders_in_force().flat_map(|held| &held.examples);
    examples.copied().find_map(|name| match policy.verdict(&name, at) {
        Verdict::Act(Act::Answer(Synthesis::Sinkhole), hit) if !hit.order.sinkhole.v4.is_empty() => {
            Some((name, hit.order.id.clone()))
        }
        _ => None,
    })
}

/// A name near `name` that no order touches: a sibling, or one further up where the whole zone is captured.
fn neighbour(name: &Name, policy: &Policy, at: UnixSeconds) -> Option<Name> {
    let clear = |name: &Name| policy.verdict(name, at) == Verdict::Clear && policy.hits(name, at).is_empty();
    let mut zone = name.parent()?;
    while !zone.is_root() {
        for label in NEIGHBOURS {
            let sibling: Option<Name> = format!("{label}.{zone}").parse().ok();
            if let Some(sibling) = sibling.filter(clear) {
                return Some(sibling);
            }
        }
        zone = zone.parent()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::{Loader, Settings};
    use std::fs;

    /// What `to_paste` says for one order file.
    fn pasted(order: &str, listen: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.toml"), format!("id = 'a'\ntitle = 'T'\nkind = 'operator'\n{order}"))
            .unwrap();
        let paths = vec![dir.path().to_path_buf()];
        let loaded = Loader::new(Settings { paths, ..Settings::default() }).load();
        assert_eq!(loaded.orders, 1, "{:?}", loaded.problems);
        let policy = Policy::compile(&loaded.zones, &loaded.protected, 1);
        to_paste(&loaded, &policy, listen.parse().unwrap(), 1_000_000_000)
    }

    #[test]
    fn a_sinkholed_name_and_its_neighbour() {
        let four = "127.0.0.1:5300";
        for (order, listen, expected) in [
            (
                "[[scope]]\nmatch='exact'\nnames=['x.example.com']",
                four,
                &["x.example.com", "www.example.com"][..],
            ),
            (
                "[[scope]]\nmatch='exact'\nnames=['www.example.com']",
                four,
                &["www.example.com", "innocent.example.com"],
            ),
            (
                "[[scope]]\nmatch='subtree'\nnames=['x.example.com']",
                four,
                &["x.example.com", "www.example.com"],
            ),
            ("[[scope]]\nmatch='subtree'\nnames=['example.com']", four, &["example.com", "www.com"]),
            ("action='nodata'\n[[scope]]\nmatch='exact'\nnames=['x.example.com']", four, &[]),
            ("expires=2001-01-01\n[[scope]]\nmatch='exact'\nnames=['x.example.com']", four, &[]),
            (
                "[[scope]]\nmatch='exact'\nnames=['x.example.com']",
                "0.0.0.0:53",
                &["x.example.com", "www.example.com"],
            ),
            (
                "[[scope]]\nmatch='exact'\nnames=['x.example.com']",
                "[::]:53",
                &["x.example.com", "www.example.com"],
            ),
        ] {
            let lines = pasted(order, listen);
            let port = listen.rsplit(':').next().unwrap();
            let server = if listen.starts_with('[') { "::1" } else { "127.0.0.1" };
            assert_eq!(lines.len(), expected.len(), "{order}: {lines:?}");
            for (line, name) in lines.iter().zip(expected) {
                assert!(line.contains(&format!("dig @{server} -p {port} {name} A")), "{order}: {line}");
            }
        }
    }
}
