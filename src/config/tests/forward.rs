//! `[[forward]]`, as tables.

use super::*;

/// Whom names of these zones are asked of.
fn group(zones: &str, servers: &str) -> String {
    format!("[[forward]]\nzones = [{zones}]\nservers = [{servers}]\n")
}

#[test]
fn zones_have_servers_of_their_own_and_are_not_answered_here() {
    let file = [
        "[special]\nforward = ['d.f.ip6.arpa']\n",
        &group(
            "'Fritz.Box.', '168.192.in-addr.arpa'",
            "'192.168.1.1', 'udp://192.168.1.1:53', 'tcp://192.0.2.9'",
        ),
        &group("'office.example'", "'tls://dns.example@192.0.2.1'"),
    ]
    .concat();
    let config = Case::new(&file, &[]).load();
    let forwards: Vec<(Vec<String>, Vec<String>)> = config
        .upstream
        .forwards
        .iter()
        .map(|group| {
            let servers = group.servers.iter().map(ToString::to_string);
            (group.zones.iter().map(ToString::to_string).collect(), servers.collect())
        })
        .collect();
    let texts = |texts: &[&str]| -> Vec<String> { texts.iter().map(ToString::to_string).collect() };
    let expected = [
        (
            texts(&["fritz.box", "168.192.in-addr.arpa"]),
            texts(&["udp://192.168.1.1:53", "tcp://192.0.2.9:53"]),
        ),
        (texts(&["office.example"]), texts(&["tls://dns.example@192.0.2.1:853"])),
    ];
    assert_eq!(forwards, expected);
    let not_local: Vec<String> = config.special.forward.iter().map(ToString::to_string).collect();
    assert_eq!(not_local, ["d.f.ip6.arpa", "fritz.box", "168.192.in-addr.arpa", "office.example"]);
    // The system's resolver is asked for all else, and each server counts once.
    assert_eq!(config.upstream.servers[0].addr, "192.0.2.53:53".parse().unwrap());
    assert_eq!(config.upstream.count_servers(), 4);
    let shared = Case::new(&group("'lan'", "'192.0.2.53'"), &[]).load();
    assert_eq!(shared.upstream.count_servers(), 1);
    assert!(config.effective.contains("[[forward]]"), "{}", config.effective);
}

#[test]
fn random_case_is_said_of_servers_and_holds_for_whoever_asks_them() {
    let upstream = |said: &str| format!("[upstream]\nservers = ['192.0.2.1', 'tls://192.0.2.1']\n{said}\n");
    let lan = |servers: &str, said: &str| format!("{}{said}\n", group("'lan'", servers));
    let (yes, no) = ("random_case = true", "random_case = false");
    for (file, expected) in [
        (upstream("") + &lan("'192.0.2.2'", ""), [true, true, true]),
        // What is encrypted is not asked by datagram, and stays the same.
        (upstream(no) + &lan("'192.0.2.2'", ""), [false, true, false]),
        (upstream(no) + &lan("'192.0.2.2'", yes), [false, true, true]),
        (upstream("") + &lan("'192.0.2.2'", no), [true, true, false]),
        (upstream("") + &lan("'192.0.2.1'", no), [false, true, false]),
        (upstream(no) + &lan("'192.0.2.1'", yes), [false, true, false]),
        (upstream("") + &lan("'192.0.2.2'", "") + &group("'x'", "'192.0.2.2'") + no, [true, true, false]),
    ] {
        let upstream = Case::new(&file, &[]).load().upstream;
        let servers = upstream.servers.iter().chain(&upstream.forwards[0].servers);
        let said: Vec<bool> = servers.map(|server| server.random_case).collect();
        assert_eq!(said, expected, "{file}");
    }
    let file = upstream(no) + "bootstrap = ['192.0.2.3']\n";
    let file = file.replace("tls://192.0.2.1", "tls://dns.example");
    let server = &Case::new(&file, &[]).load().upstream.servers[1];
    assert!(server.random_case && !server.bootstrap[0].random_case);
}

/// A group of clients.
fn clients(name: &str, addresses: &str) -> String {
    format!("[[clients]]\nname = '{name}'\naddresses = [{addresses}]\n")
}

/// Whom these clients' questions go to, about names of these zones or all.
fn of(groups: &str, zones: &str, servers: &str) -> String {
    group(zones, servers).replace("zones", &format!("groups = [{groups}]\nzones")).replace("zones = []\n", "")
}

#[test]
fn groups_of_clients_have_servers_of_their_own() {
    let text = [
        clients("kids", "'192.0.2.1'"),
        clients("guests", "'192.0.2.2'"),
        clients("house", "'192.0.2.3'"),
        group("'lan'", "'192.0.2.10'"),
        of("'kids', 'guests', 'kids'", "", "'192.0.2.11'"),
        of("'guests'", "'lan'", "'192.0.2.12'"),
        of("'default', 'house'", "'office.example'", "'192.0.2.13'"),
    ];
    let config = Case::new(&text.concat(), &[]).load();
    let servers = |servers: &[crate::upstream::Server]| -> String {
        servers.iter().map(|server| server.addr.ip().to_string()).collect::<Vec<_>>().join(" ")
    };
    let shown: Vec<String> = config
        .upstream
        .routes
        .iter()
        .map(|route| {
            let zoned =
                route.forwards.iter().map(|group| format!("{}={}", group.zones[0], servers(&group.servers)));
            let zoned: Vec<String> = zoned.collect();
            format!("{}: {}; {}", route.groups.join(" "), servers(&route.servers), zoned.join(", "))
        })
        .collect();
    // What is said of a group comes before what is said of everybody.
    assert_eq!(
        shown,
        [
            "kids: 192.0.2.11; lan=192.0.2.10",
            "guests: 192.0.2.11; lan=192.0.2.12, lan=192.0.2.10",
            "default house: 192.0.2.53; office.example=192.0.2.13, lan=192.0.2.10",
        ]
    );
    assert_eq!((config.upstream.forwards.len(), config.upstream.count_servers()), (1, 5));
    // What is so for some is no reason not to answer everybody here.
    let not_local: Vec<String> = config.special.forward.iter().map(ToString::to_string).collect();
    assert_eq!(not_local, ["lan"]);
    assert!(config.effective.contains("groups = ["), "{}", config.effective);
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_what_to_do() {
    let lan = group("'lan'", "'192.0.2.1'");
    let kids = clients("kids", "'192.0.2.1'");
    let many: String = (0..17)
        .map(|n| {
            clients(&format!("g{n}"), &format!("'192.0.2.{n}'")) + &of(&format!("'g{n}'"), "", "'192.0.2.1'")
        })
        .collect();
    for (file, expected) in [
        (
            kids.clone() + &of("'default', 'Kidz'", "", "'192.0.2.1'"),
            "sinkscope.toml:5: `forward[0].groups[1]` is \"Kidz\", which is no group of clients\n  hint: did you mean \"kids\"?",
        ),
        (
            of("'somebody'", "", "'192.0.2.1'"),
            "sinkscope.toml:2: `forward[0].groups[0]` is \"somebody\", which is no group of clients\n  hint: groups are those of \
             [[clients]], by their names, and \"default\" for everybody else",
        ),
        (
            kids.clone() + &of("'kids'", "", "'192.0.2.1'") + &of("'kids', 'default'", "", "'192.0.2.2'"),
            "`forward[1]` is for clients whose questions all go to forward[0] already\n  hint: put them together, or take one out",
        ),
        (
            kids.clone() + &of("'kids'", "'lan'", "'192.0.2.1'") + &of("'kids'", "'lan'", "'192.0.2.2'"),
            "`forward[1].zones[0]` is \"lan\", which forward[0] has already",
        ),
        (many, "`forward` has more than 16 ways of asking for groups of clients"),
        (
            group("'lan'", ""),
            "sinkscope.toml:3: `forward[0].servers` is empty\n  hint: name who is asked about its zones; to have one asked like \
             all others, name those of upstream.servers",
        ),
        (
            group("", "'192.0.2.1'"),
            "sinkscope.toml:2: `forward[0].zones` is empty\n  hint: write [\"fritz.box\"]",
        ),
        (
            format!("{lan}{}", group("'x', 'LAN.'", "'192.0.2.2'")),
            "sinkscope.toml:5: `forward[1].zones[1]` is \"LAN.\", which forward[0] has already\n  hint: a zone has one list of servers",
        ),
        (
            group("'lan', 'lan'", "'192.0.2.1'"),
            "`forward[0].zones[1]` is \"lan\", which forward[0] has already",
        ),
        (
            group("'.'", "'192.0.2.1'"),
            "`forward[0].zones[0]` is the root: all names are in it\n  hint: whom to ask about all names is upstream.servers",
        ),
        (group("'*.lan'", "'192.0.2.1'"), "`forward[0].zones[0]` is \"*.lan\": "),
        (group("'/lan/'", "'192.0.2.1'"), "`forward[0].zones[0]` is \"/lan/\": "),
        (group("'lan'", "'router'"), "sinkscope.toml:3: `forward[0].servers[0]` is \"router\": "),
        (
            group("'lan'", "'127.0.0.1:5300'"),
            "`forward[0].servers[0]` is \"127.0.0.1:5300\", which is this server itself",
        ),
        (
            lan.replace("servers", "server"),
            "sinkscope.toml:3: unknown key `forward[0].server`\n  hint: did you mean `servers`?",
        ),
        (
            "[[forwards]]\nzones = []".to_owned(),
            "sinkscope.toml:1: unknown key `forwards`\n  hint: did you mean `forward`?",
        ),
        (
            "[forward]\nzones = []".to_owned(),
            "sinkscope.toml:1: `forward` is not a list of tables\n  hint: write [[forward]]",
        ),
        (
            "[[forward]]\nzones = ['lan']".to_owned(),
            "sinkscope.toml:1: `forward[0]` does not fit: missing field `servers`",
        ),
        (
            "[[forward]]\nzones = 'lan'\nservers = []".to_owned(),
            "sinkscope.toml:2: `forward[0]` does not fit: invalid type: string",
        ),
        (
            lan.repeat(65),
            "has more than 64 groups\n  hint: zones that are asked of the same servers may stand in one",
        ),
    ] {
        let problems = Case::new(&file, &[]).problems();
        assert!(problems.contains(expected), "{expected}\nin\n{problems}");
    }
    let many: Vec<String> = (0..1025).map(|n| format!("'n{n}'")).collect();
    let problems = Case::new(&group(&many.join(","), "'192.0.2.1'"), &[]).problems();
    assert!(problems.contains("has more than 1024 zones"), "{problems}");
}
