//! `sinkscope import`: a configuration of each product carried over, which `check` must pass, by which names must be judged as before, and of
//! which nothing goes missing in silence.

mod support;

use std::fs;

use rusqlite::Connection;
use serde_json::Value;
use support::process::{Folder, run};

/// The exit code when all is well.
const OK: Option<i32> = Some(0);
/// When something could not be done.
const PROBLEMS: Option<i32> = Some(1);
/// When a configuration cannot be read.
const USAGE: Option<i32> = Some(2);

/// A configuration that was carried over.
struct Moved {
    folder: Folder,
    /// What the command said, as JSON.
    said: Value,
}

impl Moved {
    /// Carries over a file of a folder, and has what comes of it checked.
    fn of(product: &str, path: &str, folder: Folder) -> Moved {
        let ended = run(&folder, &["import", product, path, "--json"]);
        assert_eq!(ended.code, OK, "{}{}", ended.out, ended.err);
        let moved = Moved { said: serde_json::from_str(&ended.out).expect("JSON"), folder };
        let checked = run(&moved.folder, &["check", "--config", "imported/sinkscope.toml"]);
        assert_eq!(checked.code, OK, "{}{}\n{}", checked.out, checked.err, moved.toml());
        moved
    }

    /// The configuration as it was written.
    fn toml(&self) -> String {
        fs::read_to_string(self.folder.file("imported/sinkscope.toml")).expect("a configuration")
    }

    /// Lines that the configuration has to have.
    fn has(&self, lines: &[&str]) {
        let toml = self.toml();
        for line in lines {
            assert!(toml.lines().any(|found| found.trim() == *line), "no {line} in\n{toml}");
        }
    }

    /// Things that are not carried over, each by a part of what is said of it, and by its line (0 if it has none).
    fn left(&self, wanted: &[(u64, &str)]) {
        let rows = self.said["rows"].as_array().expect("rows");
        for (line, text) in wanted {
            let what = |row: &Value| row["what"].as_str().unwrap_or_default().to_owned();
            let mut left = rows.iter().filter(|row| row["fate"] == "left");
            let row = left
                .clone()
                .find(|row| what(row) == *text)
                .or_else(|| left.find(|row| what(row).contains(text)));
            let row = row.unwrap_or_else(|| panic!("no row of {text} in {rows:#?}"));
            assert_eq!(row["place"]["line"].as_u64().unwrap_or(0), *line, "{row}");
            assert!(row["why"].as_str().is_some_and(|why| why.len() > 5), "{row}");
        }
        let left = rows.iter().filter(|row| row["fate"] == "left").count();
        assert_eq!(left, wanted.len(), "{rows:#?}");
    }

    /// What names come to, each by a word of what `explain` says of it.
    fn judges(&self, wanted: &[(&str, &str)]) {
        for (name, word) in wanted {
            let ended = run(&self.folder, &["explain", name, "--config", "imported/sinkscope.toml"]);
            assert!(
                ended.out.to_lowercase().contains(word),
                "{name}: no {word} in {}{}",
                ended.out,
                ended.err
            );
        }
    }
}

#[test]
fn dnsmasq() {
    let conf = "# a house\nport=5353\nlisten-address=127.0.0.1\nno-hosts\nserver=192.0.2.1\nserver=192.0.2.2#5353\n\
         server=/corp.example/10.0.0.53\nserver=/good.ads.example/#\nlocal=/lan/\ndomain=lan\n\
         address=/ads.example/\naddress=/null.example/#\naddress=/shop.example/192.168.1.11\n\
         host-record=nas.lan,192.168.1.5,600\nhost-record=www.ads.example,192.0.2.80\ncname=files.lan,nas.lan\n\
         stop-dns-rebind\nfilter-AAAA\nconf-dir=more,*.conf\n";
    let folder = Folder::new(&[("d.conf", conf)]);
    let more = folder.file("more");
    fs::create_dir(&more).expect("a folder");
    fs::write(more.join("a.conf"), "dnssec\nbogus-nxdomain=192.0.2.9\n").expect("a file");
    fs::write(more.join("b.txt"), "surely-not\n").expect("a file");
    folder.write("d.conf", &conf.replace("conf-dir=more", &format!("conf-dir={}", more.display())));
    let moved = Moved::of("dnsmasq", "d.conf", folder);
    moved.has(&[
        "\"udp://192.0.2.2:5353\",",
        "zones = [\"corp.example\"]",
        "zone = \"lan\"",
        "filter = [\"AAAA\"]",
        "protect = true",
    ]);
    moved.left(&[(1, "dnssec"), (2, "bogus-nxdomain")]);
    moved.judges(&[
        ("ads.example", "nxdomain"),
        ("x.ads.example", "nxdomain"),
        ("good.ads.example", "passthru"),
        ("x.good.ads.example", "passthru"),
        ("www.ads.example", "passthru"),
        ("null.example", "policy zone gives"),
        ("example", "no order"),
    ]);
}

#[test]
fn unbound() {
    let conf = "server:\n    interface: 127.0.0.1@5353\n    access-control: 10.0.0.0/8 allow\n    local-zone: \"ads.example.\" always_nxdomain\n    \
         local-zone: \"good.ads.example\" always_transparent # spared\n    local-zone: \"bad.good.ads.example\" always_null\n    \
         local-zone: refused.example refuse\n    local-zone: \"dropped.example\" deny\n    local-zone: \"home.example\" static\n    \
         local-data: \"nas.home.example. 300 IN A 192.168.1.5\"\n    local-data-ptr: \"192.168.1.5 nas.home.example\"\n    \
         local-zone: \"r.example\" redirect\n    local-data: \"r.example A 192.0.2.5\"\n    private-address: 10.0.0.0/8\n    \
         module-config: \"iterator\"\n    local-zone: \"odd.example\" noview\n\
         forward-zone:\n    name: \".\"\n    forward-tls-upstream: yes\n    forward-addr: 192.0.2.1@853#dns.example\n\
         rpz:\n    name: rpz.example\n    zonefile: rpz.zone\n    rpz-action-override: nxdomain\n";
    let zone = "$ORIGIN rpz.example.\n@ SOA a. b. 1 1 1 1 1\nx.example CNAME rpz-passthru.\n";
    let moved = Moved::of("unbound", "u.conf", Folder::new(&[("u.conf", conf), ("rpz.zone", zone)]));
    moved.has(&[
        "servers = [\"tls://dns.example@192.0.2.1:853\"]",
        "zone = \"home.example\"",
        "override = \"nxdomain\"",
        "allow = [\"10.0.0.0/8\"]",
    ]);
    moved.left(&[(15, "module-config"), (16, "odd.example noview")]);
    moved.judges(&[
        ("x.ads.example", "nxdomain"),
        ("x.good.ads.example", "passthru"),
        ("x.bad.good.ads.example", "policy zone gives"),
        ("x.refused.example", "refused"),
        ("dropped.example", "drop"),
        ("x.example", "nxdomain"),
        ("nas.home.example", "no order"),
    ]);
}

#[test]
fn pihole() {
    let toml = "[dns]\nupstreams = [ \"192.0.2.1\", \"192.0.2.2#5335\" ]\nhosts = [ \"192.168.1.5 nas.lan nas\" ]\n\
         cnameRecords = [ \"files.lan,nas.lan\" ]\nrevServers = [ \"true,192.168.0.0/16,192.168.0.1,fritz.box\" ]\nport = 53\ndnssec = true\n\
         [dns.blocking]\nactive = true\nmode = \"NX\"\n[dns.specialDomains]\nmozillaCanary = true\n[webserver]\nport = \"80\"\n";
    let folder = Folder::new(&[("pihole.toml", toml), ("list.txt", "0.0.0.0 listed.example\n")]);
    let list = folder.file("list.txt");
    let db = Connection::open(folder.file("gravity.db")).expect("a database");
    let sql = format!(
        "CREATE TABLE \"group\" (id INTEGER PRIMARY KEY, enabled BOOLEAN, name TEXT);
         CREATE TABLE domainlist (id INTEGER PRIMARY KEY, type INTEGER, domain TEXT, enabled BOOLEAN);
         CREATE TABLE adlist (id INTEGER PRIMARY KEY, address TEXT, enabled BOOLEAN, type INTEGER);
         CREATE TABLE client (id INTEGER PRIMARY KEY, ip TEXT);
         CREATE TABLE domainlist_by_group (domainlist_id INTEGER, group_id INTEGER);
         CREATE TABLE adlist_by_group (adlist_id INTEGER, group_id INTEGER);
         CREATE TABLE client_by_group (client_id INTEGER, group_id INTEGER);
         INSERT INTO \"group\" VALUES (0, 1, 'Default'), (1, 1, 'kids'), (2, 0, 'off');
         INSERT INTO domainlist VALUES (1, 1, 'denied.example', 1), (2, 0, 'allowed.example', 1), (3, 3, '^ads[0-9]+\\.', 1),
             (4, 3, '(a)\\1', 1), (5, 1, 'kids.example', 1), (6, 3, 'x;querytype=A', 1), (7, 1, 'off.example', 0);
         INSERT INTO domainlist_by_group VALUES (1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (6, 0), (7, 0);
         INSERT INTO adlist VALUES (1, 'https://lists.example/hosts', 1, 0), (2, 'file://{}', 1, 0), (3, 'https://lists.example/ok', 1, 1);
         INSERT INTO adlist_by_group VALUES (1, 0), (2, 0), (3, 0);
         INSERT INTO client VALUES (1, '192.168.1.64/26'), (2, '01:23:45:67:89:ab');
         INSERT INTO client_by_group VALUES (1, 0), (1, 1), (2, 0);",
        list.display()
    );
    db.execute_batch(&sql).expect("tables");
    drop(db);
    let moved = Moved::of("pihole", ".", folder);
    moved.has(&[
        "\"udp://192.0.2.2:5335\",",
        "\"fritz.box\",",
        "source = \"https://lists.example/hosts\"",
        "name = \"groups-0-1\"",
        "addresses = [\"192.168.1.64/26\"]",
        "name = \"default\"",
    ]);
    moved.left(&[
        (7, "dns.dnssec"),
        (13, "webserver"),
        (0, "domainlist 4"),
        (0, "domainlist 6"),
        (0, "domainlist 7"),
        (0, "client 2"),
    ]);
    moved.judges(&[
        ("denied.example", "nxdomain"),
        ("x.denied.example", "no order"),
        ("ads12.example", "nxdomain"),
        ("listed.example", "nxdomain"),
        ("allowed.example", "passthru"),
        ("use-application-dns.net", "nxdomain"),
    ]);
}

#[test]
fn adguardhome() {
    let yaml = "http:\n  address: 0.0.0.0:3000\nusers:\n  - name: root\ndns:\n  bind_hosts:\n    - 127.0.0.1\n  port: 5353\n  upstream_dns:\n    \
         - https://dns.example/dns-query\n    - '[/fritz.box/]192.168.178.1'\n    - '# a comment'\n    - '[/a.example/]#'\n  bootstrap_dns:\n    - 192.0.2.1\n  \
         upstream_mode: parallel\n  cache_size: 4194304\n  aaaa_disabled: false\n  ratelimit: 20\nfilters:\n  - enabled: true\n    url: https://lists.example/a.txt\n    \
         name: A list\n    id: 1\n  - enabled: false\n    url: https://lists.example/b.txt\n    name: B\nwhitelist_filters: []\nuser_rules:\n  - '||ads.example^'\n  \
         - '@@||good.example^'\n  - '! a comment'\n  - '||x.example^$client=kid'\n  - '/^track[0-9]+\\./'\n  - 192.168.1.9 printer.lan\nfiltering:\n  blocking_mode: nxdomain\n  \
         rewrites:\n    - domain: '*.apps.example'\n      answer: 192.168.1.10\n    - domain: www.example\n      answer: other.example\n  blocked_services:\n    ids:\n      \
         - youtube\nclients:\n  persistent:\n    - name: laptop\n      ids:\n        - 192.168.1.20\n        - aa:bb:cc:dd:ee:ff\n      use_global_settings: false\n      \
         filtering_enabled: false\nschema_version: 29\n";
    let moved = Moved::of("adguardhome", "AdGuardHome.yaml", Folder::new(&[("AdGuardHome.yaml", yaml)]));
    moved.has(&[
        "servers = [\"https://dns.example/dns-query\"]",
        "bootstrap = [\"192.0.2.1\"]",
        "strategy = \"parallel\"",
        "zones = [\"fritz.box\"]",
        "source = \"https://lists.example/a.txt\"",
        "name = \"laptop\"",
    ]);
    moved.left(&[
        (1, "http"),
        (3, "users"),
        (13, "[/a.example/]#"),
        (19, "dns.ratelimit"),
        (25, "lists.example/b.txt"),
        (33, "$client"),
        (43, "filtering.blocked_services"),
        (51, "aa:bb"),
    ]);
    moved.judges(&[
        ("x.ads.example", "nxdomain"),
        ("good.example", "passthru"),
        ("track12.example", "nxdomain"),
        ("x.example", "no order"),
    ]);
}

#[test]
fn blocky() {
    let yaml = "upstreams:\n  groups:\n    default:\n      - 192.0.2.1\n      - tcp-tls:dns.example:853\n    192.168.1.7:\n      - 192.0.2.7\n    laptop*:\n      - 192.0.2.8\n  \
         strategy: strict\nbootstrapDns:\n  - tcp+udp:192.0.2.1\ncustomDNS:\n  mapping:\n    printer.lan: 192.168.178.3,2001:db8::3\nconditional:\n  mapping:\n    \
         fritz.box: 192.168.178.1\nblocking:\n  denylists:\n    ads:\n      - https://lists.example/ads.txt\n      - |\n        # inline\n        ads.example\n        *.wild.example\n        \
         /^track[0-9]+\\./\n    special:\n      - |\n        special.example\n        other.example\n  allowlists:\n    ads:\n      - |\n        good.example\n        fine.example\n  \
         clientGroupsBlock:\n    default:\n      - ads\n    192.168.1.1/24:\n      - ads\n      - special\n    kid*:\n      - special\n  blockType: nxDomain\n  blockTTL: 1m\ncaching:\n  \
         minTime: 5m\nfiltering:\n  queryTypes:\n    - AAAA\nprometheus:\n  enable: true\nports:\n  dns: 127.0.0.1:5353\n  http: 4000\n";
    let moved = Moved::of("blocky", "config.yml", Folder::new(&[("config.yml", yaml)]));
    moved.has(&[
        "\"tls://dns.example:853\",",
        "strategy = \"in-order\"",
        "bootstrap = [\"udp://192.0.2.1\"]",
        "groups = [\"192.168.1.7\"]",
        "min_ttl = 300",
        "filter = [\"AAAA\"]",
        "addresses = [\"192.168.1.0/24\"]",
    ]);
    moved.left(&[(8, "laptop*"), (43, "kid*"), (52, "prometheus"), (56, "ports.http")]);
    moved.judges(&[
        ("ads.example", "nxdomain"),
        ("x.ads.example", "no order"),
        ("x.wild.example", "nxdomain"),
        ("wild.example", "nxdomain"),
        ("track1.example", "nxdomain"),
        ("good.example", "passthru"),
    ]);
}

#[test]
fn dnscrypt_proxy() {
    let stamp = "sdns://AgcAAAAAAAAACTE5Mi4wLjIuMQALZG5zLmV4YW1wbGUKL2Rucy1xdWVyeQ";
    let toml = format!(
        "server_names = ['here', 'unknown']\nlisten_addresses = ['127.0.0.1:5353']\nblocked_query_response = 'refused'\nblock_ipv6 = false\n\
         forwarding_rules = 'forward.txt'\ncloaking_rules = 'cloak.txt'\nlb_strategy = 'first'\nlog_level = 2\n[blocked_names]\nblocked_names_file = 'blocked.txt'\n\
         [allowed_names]\nallowed_names_file = 'allowed.txt'\n[schedules.sleep]\nmon = [{{after='21:00', before='7:00'}}]\n[static.here]\nstamp = '{stamp}'\n"
    );
    let files = [
        ("p.toml", &*toml),
        (
            "blocked.txt",
            "# names\nads.example\n=exact.example\nad[sx].*\nbanner.*  # a prefix\ngames.example @sleep\n*\n",
        ),
        ("allowed.txt", "=good.ads.example\n"),
        ("forward.txt", "corp.example 10.0.0.53,[2001:db8::53]:5353\n"),
        ("cloak.txt", "nas.example 192.168.1.5\nwww.search.* safe.search.example\n"),
    ];
    let moved = Moved::of("dnscrypt-proxy", "p.toml", Folder::new(&files));
    moved.has(&[
        "zones = [\"corp.example\"]",
        "strategy = \"fastest\"",
        "from = \"21:00\"",
        "without = [\"dnscrypt-proxy-sleep-refused\"]",
    ]);
    moved.left(&[(1, "unknown"), (8, "log_level"), (7, "*"), (2, "www.search.*")]);
    moved.judges(&[
        ("x.ads.example", "refused"),
        ("exact.example", "refused"),
        ("x.exact.example", "no order"),
        ("ads.test", "refused"),
        ("banner.test", "refused"),
        ("good.ads.example", "passthru"),
    ]);
}

#[test]
fn nothing_is_written_over() {
    let folder =
        Folder::new(&[("d.conf", "no-hosts\nserver=192.0.2.1\n"), ("imported/sinkscope.toml", "mine")]);
    let args = ["import", "dnsmasq", "d.conf"];
    let ended = run(&folder, &args);
    assert_eq!(ended.code, PROBLEMS);
    assert!(ended.err.contains("is there already"), "{}", ended.err);
    assert_eq!(fs::read_to_string(folder.file("imported/sinkscope.toml")).expect("a file"), "mine");
    let forced: Vec<&str> = args.into_iter().chain(["--force"]).collect();
    let ended = run(&folder, &forced);
    assert_eq!(ended.code, OK, "{}", ended.err);
    assert!(ended.out.contains("sinkscope check --config imported/sinkscope.toml"), "{}", ended.out);
}

#[test]
fn what_is_none_is_refused() {
    let folder = Folder::new(&[("bad.yml", "a: [\n"), ("other.yml", "a: 1\n"), ("bad.toml", "a = [\n")]);
    for (product, path, said) in [
        ("blocky", "bad.yml", "is no YAML"),
        ("blocky", "other.yml", "is no configuration of blocky"),
        ("adguardhome", "other.yml", "no configuration of AdGuard Home"),
        ("dnscrypt-proxy", "bad.toml", "is no TOML"),
        ("pihole", ".", "neither pihole.toml nor gravity.db"),
        ("unbound", "nowhere.conf", "cannot be read"),
    ] {
        let ended = run(&folder, &["import", product, path]);
        assert_eq!(ended.code, USAGE, "{product} {path}: {}", ended.out);
        assert!(ended.err.contains(said), "{product} {path}: {}", ended.err);
        assert!(!folder.file("imported").exists());
    }
}
