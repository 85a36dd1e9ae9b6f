use std::path::PathBuf;

use proptest::prelude::*;

use super::naive::Expected;
use super::*;
use crate::dns::TtlLimits;
use crate::dns::chaos::Identity;
use crate::iana::Rtype;
use crate::name::{Name, NameList};
use crate::orders::{self, Loader};
use crate::policy::{
    Action, ListedScope, MatchKind, OrderWithNames, Policy, PolicyZone, Protected, Scope, Verdict,
};
use crate::resolver::fetch::Rules;
use crate::trace::message::{Edns, put_query};
use crate::trace::read::Options;

/// A folder with orders of all actions over made names.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (index, action) in
        ["sinkhole", "nodata", "nxdomain", "refused", "drop", "tcp-only", "observe", "passthru"]
            .iter()
            .enumerate()
    {
        let kind = ["exact", "subtree", "subtree-below"][index % 3];
        let order = format!(
            "id = \"{action}\"\nkind = \"court\"\naction = \"{action}\"\n{}[[scope]]\nmatch = \"{kind}\"\nnames = [\"a.{action}.example\", \"b.{action}.example\"]\n",
            if *action == "sinkhole" {
                "addresses = [\"192.0.2.1\", \"2001:db8::1\"]\ndocket = \"1:23\"\n"
            } else {
                ""
            }
        );
        std::fs::write(folder.path().join(format!("{action}.toml")), order).unwrap();
    }
    folder
}

/// What is in [`folder`].
fn loaded(folder: &tempfile::TempDir) -> Filled {
    let settings = orders::Settings { paths: vec![folder.path().into()], ..orders::Settings::default() };
    let loaded = Loader::new(settings).load();
    assert_eq!((loaded.orders, loaded.problems.iter().find(|problem| problem.is_error())), (8, None));
    loaded
}

/// A run on two threads with checking.
fn settings(count: Option<u64>) -> Settings {
    let resolver = resolver::Settings {
        clients: std::sync::Arc::default(),
        recent: Default::default(),
        access: AccessList::default(),
        local: Arc::default(),
        identity: Identity::default(),
        rotate: true,
        dns64: None,
        ecs: Default::default(),
        rules: Rules::new(TtlLimits { min_s: 0, max_s: 86_400, negative_min_s: 0, negative_max_s: 900 }, 100),
    };
    Settings { resolver, cache: 1 << 20, threads: 2, count, run_for: None, verify: true, at: 1_700_000_000 }
}

/// A text trace of all listed names, their neighbours, children and parents, by types, beside some special ones.
fn trace(folder: &tempfile::TempDir) -> (PathBuf, u64) {
    let mut text =
        String::from("localhost A\n1.0.0.127.in-addr.arpa PTR\nwww.example.org ANY\nx.invalid A\n");
    for order in loaded(folder).zones.iter().flat_map(|zone| &zone.orders) {
        let id = &order.order.id;
        for name in ["a", "b", "c", "x.a", "y.x.a", "x.c"] {
            for qtype in ["A", "AAAA", "TXT", "HTTPS", "MX", "NS", "SRV", "CNAME", "SOA", "TYPE65280"] {
                text.push_str(&format!("{name}.{id}.example {qtype}\n"));
            }
        }
        text.push_str(&format!("{id}.example A\n"));
    }
    let path = folder.path().join("trace");
    std::fs::write(&path, &text).unwrap();
    (path, text.lines().count() as u64)
}

#[test]
fn every_verdict_of_the_path_is_right() {
    let folder = folder();
    let loaded = loaded(&folder);
    let (path, lines) = trace(&folder);
    for edns in [None, Some(Edns { payload: 1232, dnssec_ok: true })] {
        let source = Source::File(path.clone(), Options { edns, ..Options::default() });
        let progress = Progress::default();
        let report = run(&source, &loaded, &settings(Some(3 * lines)), &progress).unwrap();
        let verified = report.verified.clone().unwrap();
        assert_eq!((report.queries, verified.wrong), (3 * lines, 0), "{report}");
        for action in ["sinkhole", "nodata", "nxdomain", "refused", "drop", "tcp-only"] {
            assert!(verified.acted[action] >= 60, "{report}");
        }
        assert!(verified.truth > 300 && verified.local >= 12, "{report}");
        // Of eight orders seven names each, and four others.
        assert_eq!((verified.distinct_names, verified.more_names), (60, false), "{report}");
        assert!((1..verified.truth).contains(&verified.again), "{report}");
        assert_eq!(report.silent, verified.acted["drop"]);
        assert_eq!(progress.done.load(Ordering::Relaxed), 3 * lines);
        assert!(report.is_right() && report.to_string().contains("WRONG VERDICTS: 0"));
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["queries"].as_u64(), Some(3 * lines));
    }
}

#[test]
fn made_queries_are_shared_out() {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        spec: crate::trace::make::Spec,
    }
    let loaded = loaded(&folder());
    let policy = Policy::compile(&loaded.zones, &loaded.protected, 1);
    let spec =
        <Line as clap::Parser>::parse_from(["x", "--made-names=50", "--listed=30%", "--siblings=20%"]).spec;
    let names = crate::trace::make::Names::gather(&spec, &loaded, &policy, 1_700_000_000).unwrap();
    let maker = Box::new(Maker::new(spec, names));
    let report = run(&Source::Made(maker), &loaded, &settings(Some(1001)), &Progress::default()).unwrap();
    let verified = report.verified.clone().unwrap();
    assert_eq!((report.queries, verified.wrong), (1001, 0), "{report}");
    assert!(verified.acted.values().sum::<u64>() > 200 && verified.truth > 400, "{report}");
}

#[test]
fn wrong_replies_are_found() {
    let loaded = loaded(&folder());
    let naive = Arc::new(Naive::new(&loaded, 0));
    let mut checker = Checker::new(naive, Arc::default());
    let (mut asked, packet) = (Vec::new(), |name: &str, qtype: Rtype| {
        let mut packet = Vec::new();
        put_query(&mut packet, 7, name.parse::<Name>().unwrap().as_wire(), qtype, None);
        packet
    });
    for (name, qtype) in [
        ("a.sinkhole.example", Rtype::A),
        ("c.sinkhole.example", Rtype::A),
        ("b.nodata.example", Rtype::AAAA),
        ("a.drop.example", Rtype::A),
    ] {
        asked.push(packet(name, qtype));
    }
    let reply = |packet: &[u8], flags: [u8; 2], rdata: Option<&[u8]>| {
        let mut reply = packet.to_vec();
        reply[2..4].copy_from_slice(&flags);
        if let Some(rdata) = rdata {
            reply[7] = 1;
            reply.extend([0xc0, 12]);
            reply.extend(&packet[packet.len() - 4..]);
            reply.extend([0, 0, 0, 9, 0, rdata.len() as u8]);
            reply.extend(rdata);
        }
        reply
    };
    let truth = |name: &str, qtype| script::truth(&name.parse().unwrap(), qtype).unwrap().into_owned();
    let ok = [0x81, 0x80];
    for (query, reply, right) in [
        (0, Some(reply(&asked[0], ok, Some(&[192, 0, 2, 1]))), true),
        (0, Some(reply(&asked[0], ok, Some(&truth("a.sinkhole.example", Rtype::A)))), false),
        (0, Some(reply(&asked[0], ok, None)), false),
        (0, None, false),
        (1, Some(reply(&asked[1], ok, Some(&truth("c.sinkhole.example", Rtype::A)))), true),
        (1, Some(reply(&asked[1], ok, Some(&[192, 0, 2, 1]))), false),
        (1, Some(reply(&asked[1], [0x81, 0x83], None)), false),
        (1, Some(reply(&asked[0], ok, Some(&[192, 0, 2, 1]))), false),
        (1, None, false),
        (2, Some(reply(&asked[2], ok, None)), true),
        (2, Some(reply(&asked[2], ok, Some(&truth("b.nodata.example", Rtype::AAAA)))), false),
        (3, None, true),
        (3, Some(reply(&asked[3], ok, Some(&truth("a.drop.example", Rtype::A)))), false),
    ] {
        let found = checker.check(&asked[query], reply.as_deref());
        assert_eq!(!matches!(found, Found::Wrong(_)), right, "{found:?}");
    }
}

/// Names of up to three labels out of three letters, so that they are often related.
fn a_name() -> impl Strategy<Value = Name> {
    prop::collection::vec("[abc]", 1..4).prop_map(|labels| labels.join(".").parse().unwrap())
}

/// Some names, how they match.
fn a_list() -> impl Strategy<Value = (MatchKind, NameList)> {
    let kind = prop::sample::select(vec![MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow]);
    (kind, prop::collection::vec(a_name(), 0..4))
        .prop_map(|(kind, names)| (kind, names.into_iter().collect()))
}

/// What is drawn of an order: its action, its scopes with their exceptions, zones given back, its end.
type Drawn = (Action, Vec<((MatchKind, NameList), (MatchKind, NameList))>, Vec<Name>, Option<i64>);

/// An order of one or two scopes, some with exceptions and lifts.
fn an_order() -> impl Strategy<Value = Drawn> {
    let action = prop::sample::select(Action::ALL.to_vec());
    let scopes = prop::collection::vec((a_list(), a_list()), 1..3);
    (action, scopes, prop::collection::vec(a_name(), 0..2), prop::option::of(5..15i64))
}

proptest! {
    /// The naive reading and the compiled policy say the same of every name.
    #[test]
    fn naive_and_compiled_agree(orders in prop::collection::vec((an_order(), any::<bool>()), 1..5), protected in a_list(), names in prop::collection::vec(a_name(), 1..40)) {
        let template = orders::order_file::parse("id = \"x\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"a.example\"]\n", "o.toml", &mut |_| unreachable!());
        let template = template.listed.unwrap();
        let mut zones = vec![PolicyZone::default(), PolicyZone::default()];
        for (((action, scopes, lifted, expires), second), number) in orders.into_iter().zip(0..) {
            let mut order = template.order.clone();
            order.id = format!("o{number}");
            order.action = action;
            order.window.expires = expires;
            if !lifted.is_empty() {
                order.lifts.push(crate::policy::order::Lift { at: Some(8), zones: lifted, ..Default::default() });
            }
            let scope = |((kind, names), (exception_kind, exceptions))| {
                let scope = Scope { kind, exception_kind, ..order.scopes[0].clone() };
                ListedScope { scope, names, exceptions }
            };
            let scopes = scopes.into_iter().map(scope).collect();
            zones[usize::from(second)].orders.push(Arc::new(OrderWithNames::new(order, scopes, Vec::new())));
        }
        let protected = vec![Protected { kind: protected.0, names: protected.1, source: String::new() }];
        let policy = Policy::compile(&zones, &protected, 1);
        let loaded = Filled::of(zones, protected);
        let at = 10;
        let naive = Naive::new(&loaded, at);
        for name in names {
            let compiled = match policy.verdict(&name, at) {
                Verdict::Act(act, hit) => Some((act, hit.order.id.clone())),
                Verdict::Clear | Verdict::Protected(_) | Verdict::Passthru(_) => None,
            };
            let found = match naive.expected(&name) {
                Expected::Truth => None,
                Expected::Act(action, order) => Some((action, naive.orders[order as usize].id.clone())),
            };
            prop_assert_eq!(found, compiled, "{}", name);
        }
    }
}
