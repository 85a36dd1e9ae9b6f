//! Lists and policy zones come back as they were: verdicts, answers, what is said of them.

use super::*;
use crate::name::NameList;
use crate::orders::ListState;
use crate::orders::lists::{FetchSpec, Format, ListSpec};
use crate::policy::{Action, Asker, Judgement, MatchKind, OrderWithNames, Servers, Stage, TriggerType};
use std::net::IpAddr;

/// A zone with triggers of all five sorts, every action, local data, a walled garden, and an empty non-terminal.
const ZONE: &str = "$TTL 300
@ SOA localhost. admin.zone. 7 1h 15m 30d 2m
 NS localhost.
nx.test CNAME .
*.nx.test CNAME .
nodata.test CNAME *.
pass.test CNAME rpz-passthru.
drop.test CNAME rpz-drop.
tcp.test CNAME rpz-tcp-only.
own.test A 192.0.2.1
 A 192.0.2.2
 AAAA 2001:db8::1
 TXT \"say \\\"it\\\"\"
 MX 10 mail.own.test.
 TYPE65400 \\# 3 010203
*.own.test 30 A 192.0.2.3
garden.test CNAME walled.example.
*.below.test CNAME *.walled.example.
deep.in.the.below.test CNAME rpz-passthru.
32.9.2.0.192.rpz-client-ip CNAME rpz-drop.
24.0.100.51.198.rpz-ip CNAME .
48.zz.2.db8.2001.rpz-ip CNAME *.
ns.bad.test.rpz-nsdname CNAME .
*.worse.test.rpz-nsdname CNAME .
32.7.113.0.203.rpz-nsip CNAME .
";

/// A list in Adblock's form: names, patterns, and exceptions of all ranks.
const ADS: &str = "! ads
||ads.test^
||shop.test^$important
|exact.test^
/^track[0-9]+\\./
||pix*.test^
@@||free.ads.test^
@@||shop.test^
@@/^track7\\./
@@||really.shop.test^$important
||off.test^
||off.test^$badfilter
example.com##.banner
not a rule !
";

/// A bench with a list of each sort beside the orders.
fn bench() -> Bench {
    let mut bench = Bench::new();
    for (name, text) in [
        ("hosts.txt", "0.0.0.0 host.test\n127.0.0.1 localhost\n0.0.0.0 both.test\n"),
        ("ads.txt", ADS),
        ("wild.txt", "*.wild.test\n.dot.test\nbare.test\n"),
        ("masq.txt", "address=/masq.test/\nserver=/masq2.test/\n"),
        ("re.txt", "^re[0-9]\n;bad(\n/slashed$/\n"),
        ("bad.zone", ZONE),
        ("page.txt", "<html>moved</html>\n"),
        ("more/one.txt", "one.test\n"),
        ("more/two words.txt", "two.test\nsafe.example\n"),
    ] {
        bench.list(name, text);
    }
    let at = |name: &str| bench.folder.path().join("lists").join(name);
    let spec =
        |name: &str, file: &str| ListSpec { kind: Some(MatchKind::Exact), ..ListSpec::new(name, at(file)) };
    let fetch = FetchSpec {
        url: "https://lists.test/a".into(),
        refresh: Duration::from_secs(3600),
        max_octets: 1 << 20,
        sha256: None,
        minisign_key: None,
        bootstrap: Vec::new(),
    };
    bench.settings.lists = vec![
        ListSpec { family: Some("worm".into()), ttl_s: 33, ..spec("hosts", "hosts.txt") },
        ListSpec { action: Action::NXDOMAIN, ..ListSpec::new("ads", at("ads.txt")) },
        ListSpec { kind: None, format: Some(Format::Wildcard), ..spec("wild", "wild.txt") },
        ListSpec { format: Some(Format::Dnsmasq), ..ListSpec::new("masq", at("masq.txt")) },
        ListSpec { format: Some(Format::Regex), ..ListSpec::new("re", at("re.txt")) },
        ListSpec { format: Some(Format::Rpz), ttl_s: 300, ..ListSpec::new("zone.test", at("bad.zone")) },
        spec("page", "page.txt"),
        spec("more", "more"),
        ListSpec { fetch: Some(fetch), ..spec("fetched", "not-yet.txt") },
    ];
    bench
}

/// Names that lists take, spare, or know nothing of.
const NAMES: [&str; 38] = [
    "host.test",
    "x.host.test",
    "both.test",
    "localhost",
    "ads.test",
    "a.ads.test",
    "free.ads.test",
    "a.free.ads.test",
    "shop.test",
    "really.shop.test",
    "exact.test",
    "x.exact.test",
    "track1.test",
    "track7.test",
    "pixel.test",
    "off.test",
    "wild.test",
    "a.wild.test",
    "dot.test",
    "a.dot.test",
    "bare.test",
    "masq.test",
    "masq2.test",
    "re5.test",
    "x.slashed",
    "nx.test",
    "a.nx.test",
    "nodata.test",
    "own.test",
    "a.own.test",
    "b.a.own.test",
    "x.below.test",
    "the.below.test",
    "x.the.below.test",
    "one.test",
    "two.test",
    "safe.example",
    "nobody.example",
];

/// What policy says of a stage, with everything that its answer is made of.
fn said(judgement: &Judgement<'_>) -> String {
    format!("{judgement:?}")
}

/// What is said of every name, and of a name that nobody lists where the client, an address or a server is.
fn sayings(policy: &Policy) -> Vec<String> {
    let mut all = Vec::new();
    for name in NAMES {
        let name = name.parse().unwrap();
        all.push(said(&policy.judge_name(&Asker::ANYBODY, &name, 0)));
        all.push(format!("{:?}", policy.hits(&name, 0)));
    }
    let addresses: Vec<IpAddr> =
        ["192.0.2.9", "198.51.100.77", "2001:db8:2::1", "203.0.113.7", "::ffff:198.51.100.1", "192.0.2.8"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
    let name: Name = "nobody.example".parse().unwrap();
    let nobody = Servers::default();
    let stage = Stage { name: &name, first: true, untouched: false, addresses: &[], servers: &nobody };
    for address in &addresses {
        let client = Asker { client: Some(*address), ..Asker::ANYBODY };
        all.push(said(&policy.judge_stage(&stage, &client, 0)));
        let addresses = std::slice::from_ref(address);
        all.push(said(&policy.judge_stage(&Stage { addresses, ..stage }, &Asker::ANYBODY, 0)));
        let servers = Servers { names: Vec::new(), addresses: vec![*address] };
        all.push(said(&policy.judge_stage(&Stage { servers: &servers, ..stage }, &Asker::ANYBODY, 0)));
        all.push(format!("{:?}", TriggerType::ALL.map(|on| policy.lists_address(on, *address))));
    }
    for server in ["ns.bad.test", "a.worse.test", "worse.test", "ns.good.test"] {
        let servers = Servers { names: vec![server.parse().unwrap()], addresses: Vec::new() };
        all.push(said(&policy.judge_stage(&Stage { servers: &servers, ..stage }, &Asker::ANYBODY, 0)));
    }
    all.push(format!(
        "{} {} {} {} {:?}",
        policy.looks_at_clients(),
        policy.looks_at_answers(),
        policy.looks_at_servers(),
        policy.has_patterns(),
        (0..12).map(|zone| policy.waits(zone)).collect::<Vec<_>>()
    ));
    all
}

/// Every order with its names sorted, which no policy keeps in their order.
fn contents(policy: &Policy) -> Vec<String> {
    let sorted = |list: &NameList| {
        let mut names: Vec<Name> = list.iter().collect();
        names.sort();
        names
    };
    let shown = |listed: &OrderWithNames| {
        format!("{:?} {:?}", listed.order, listed.lists().map(sorted).collect::<Vec<_>>())
    };
    policy.listed(|_| true).iter().map(shown).collect()
}

#[test]
fn lists_and_zones_come_back_as_they_were() {
    let bench = bench();
    let (mut loader, loaded, policy) = bench.load();
    assert!(loader.keep(&bench.state(), &loaded, &policy, later()).unwrap(), "{:?}", loaded.problems);
    let (mut again, restored, mapped) = bench.restore().unwrap();
    assert_eq!(restored.held, loaded.held);
    assert_eq!(restored.problems, loaded.problems);
    assert_eq!(restored.conflicts, loaded.conflicts);
    assert_eq!(restored.lists, loaded.lists);
    assert_eq!(
        (restored.orders, restored.names, restored.refused_lines),
        (loaded.orders, loaded.names, loaded.refused_lines)
    );
    assert_eq!((restored.refused_orders, &restored.files), (loaded.refused_orders, &loaded.files));
    for (restored, loaded) in sayings(&mapped).iter().zip(sayings(&policy)) {
        assert_eq!(*restored, loaded);
    }
    assert_eq!(contents(&mapped), contents(&policy));
    // What the table above is worth: every sort of trigger takes something.
    let taken = sayings(&mapped).join("\n");
    for sort in ["ClientIp", "Qname", "ResponseIp", "NsDname", "NsIp"] {
        assert!(taken.contains(&format!("on: {sort}")), "{sort}");
    }
    let words: Vec<&str> =
        restored.lists.iter().flat_map(|list| &list.files).map(|file| file.state.as_str()).collect();
    assert_eq!(
        words,
        [
            "current", "current", "current", "current", "current", "current", "refused", "current",
            "current", "awaited"
        ]
    );
    // To a loader that goes on from there nothing has changed, and then only what does.
    assert!(!again.look().differs(&restored));
    bench.list("hosts.txt", "0.0.0.0 other.test\n0.0.0.0 both.test\n");
    let scan = again.look();
    let changed = again.fill(scan, &mapped);
    let policy = Policy::compile(&changed.zones, &changed.protected, 2);
    for (name, expected) in [
        ("host.test", "clear"),
        ("other.test", "hosts"),
        ("track1.test", "ads"),
        ("a.own.test", "zone.test"),
        ("x.example", "a"),
    ] {
        assert_eq!(fate(&policy, name), expected, "{name}");
    }
}

#[test]
fn a_list_that_broke_keeps_the_names_that_were_kept() {
    let bench = bench();
    assert!(bench.keep());
    let (mut loader, _restored, policy) = bench.restore().unwrap();
    let before = sayings(&policy);
    for name in ["hosts.txt", "ads.txt", "bad.zone", "re.txt"] {
        bench.list(name, "<html>moved</html>\n");
    }
    bench.list("more/one.txt", "another.test\n");
    let scan = loader.look();
    let changed = loader.fill(scan, &policy);
    let states = |loaded: &Loaded| {
        let files = loaded.lists.iter().flat_map(|list| &list.files);
        files.filter(|file| matches!(file.state, ListState::Old(_))).count()
    };
    assert_eq!((changed.kept.len(), states(&changed)), (4, 4), "{:?}", changed.problems);
    let again = Policy::compile(&changed.zones, &changed.protected, 1);
    let differ = before.iter().zip(sayings(&again)).filter(|(before, after)| *before != after).count();
    assert_eq!((differ, fate(&again, "another.test").as_str()), (2, "more/one.txt"), "one.test alone");
    // While an earlier version serves, the files do not say what is in force: nothing is kept, and what was kept is old.
    assert!(!loader.keep(&bench.state(), &changed, &again, later()).unwrap());
    assert!(matches!(bench.refused(), Unusable::Stale(_)));
}

#[test]
fn a_snapshot_of_other_lists_is_not_used() {
    type Change = fn(&mut Bench);
    let changes: [(&str, Change); 14] = [
        ("a list", |bench| bench.list("hosts.txt", "0.0.0.0 other.test\n")),
        ("a list by as many octets", |bench| {
            let text = fs::read_to_string(bench.list_path("hosts.txt")).unwrap();
            bench.list("hosts.txt", &text.replace("host", "tsoh"));
        }),
        ("a zone", |bench| bench.list("bad.zone", &ZONE.replace("192.0.2.3", "192.0.2.4"))),
        ("a list that was refused", |bench| bench.list("page.txt", "page.test\n")),
        ("a list is fetched", |bench| bench.list("not-yet.txt", "fetched.test\n")),
        ("a list goes", |bench| fs::remove_file(bench.list_path("ads.txt")).unwrap()),
        ("a file comes to a folder", |bench| bench.list("more/three.txt", "three.test\n")),
        ("a file goes from a folder", |bench| fs::remove_file(bench.list_path("more/one.txt")).unwrap()),
        ("an action", |bench| bench.settings.lists[0].action = Action::NODATA),
        ("what is done instead", |bench| bench.settings.lists[5].rpz.without_rd = false),
        ("what a list must have", |bench| bench.settings.lists[0].min_entries = 100),
        ("one less", |bench| drop(bench.settings.lists.remove(6))),
        ("one more", |bench| {
            let more = bench.settings.lists[0].clone();
            bench.settings.lists.push(ListSpec { name: "again".into(), ..more });
        }),
        ("another order", |bench| bench.settings.lists.swap(0, 1)),
    ];
    for (what, change) in changes {
        let mut bench = bench();
        assert!(bench.keep(), "{what}");
        change(&mut bench);
        assert!(matches!(bench.refused(), Unusable::Stale(_)), "{what}");
        assert!(bench.snapshot().exists(), "{what}: it is merely old");
    }
}

#[test]
fn a_part_of_a_zone_that_changed_is_a_change() {
    let mut bench = Bench::new();
    bench.list("part.zone", "part.test CNAME .\n");
    bench.list("whole.zone", "$TTL 60\n@ SOA . . 1 2 3 4 5\n$INCLUDE part.zone\n");
    let spec = ListSpec::new("zone.test", bench.list_path("whole.zone"));
    bench.settings.lists = vec![ListSpec { format: Some(Format::Rpz), ..spec }];
    assert!(bench.keep());
    assert_eq!(fate(&bench.restore().unwrap().2, "part.test"), "zone.test");
    bench.list("part.zone", "other.test CNAME .\n");
    assert!(matches!(bench.refused(), Unusable::Stale(_)));
}

#[test]
fn nothing_is_kept_while_something_finds_no_room() {
    let bench = bench();
    let (mut loader, mut loaded, policy) = bench.load();
    loaded.left_out.insert("hosts".into(), "no room".into());
    assert!(!loader.keep(&bench.state(), &loaded, &policy, later()).unwrap());
}

#[test]
fn a_description_of_lists_that_somebody_altered_is_refused_or_harmless() {
    let bench = bench();
    assert!(bench.keep());
    let whole = fs::read(bench.snapshot()).unwrap();
    let end = HEADER_LEN + u64::from_le_bytes(whole[16..24].try_into().unwrap()) as usize;
    let (mut refused, mut taken) = (0, 0);
    let mut try_it = |octets: Vec<u8>| {
        let _ = fs::remove_file(bench.snapshot());
        fs::write(bench.snapshot(), octets).unwrap();
        match bench.restore() {
            Err(_) => refused += 1,
            Ok((_, _, policy)) => {
                taken += 1;
                // Whatever it says, it can be asked.
                sayings(&policy);
            }
        }
    };
    for at in (HEADER_LEN..end).step_by(7) {
        let mut octets = whole.clone();
        octets[at] = if octets[at].is_ascii_digit() { b'9' } else { octets[at] ^ 1 };
        seal(&mut octets);
        try_it(octets);
    }
    // Parts of the same length, exchanged on purpose.
    let text = String::from_utf8(whole[HEADER_LEN..end].to_vec()).unwrap();
    for (from, to) in [
        (r#""zone":["zone.test""#, r#""znoe":["zone.test""#),
        (r#""lengths":[[0,"#, r#""lengths":[[1,"#),
        (r#""lengths":[[0,true,32]"#, r#""lengths":[[0,true,99]"#),
        (r#""lengths":[[0,true,32],"#, r#""lengths":[[2,true,32],"#),
        (r#"[1,300,"c0000201"]"#, r#"[1,300,"c0000g01"]"#),
        (r#"[1,300,"c0000201"]"#, r#"[5,300,"c0000201"]"#),
        (r#"[1,300,"c0000201"]"#, r#"[1,900,"c0000201"]"#),
        (r#""^track[0-9]+"#, r#""^track(0-9]+"#),
    ] {
        assert!(text.contains(from), "{from}");
        let mut octets = whole.clone();
        octets[HEADER_LEN..end].copy_from_slice(text.replacen(from, to, 1).as_bytes());
        seal(&mut octets);
        let _ = fs::remove_file(bench.snapshot());
        fs::write(bench.snapshot(), octets).unwrap();
        assert!(matches!(bench.refused(), Unusable::Corrupt(_)), "{from} is {to}");
    }
    assert!(refused > taken, "{refused} refused, {taken} taken");
}
