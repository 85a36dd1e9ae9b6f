//! What is exported for other servers, read back as they read it: the same names, and never one more.

mod support;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use sinkscope::iana::Rtype;
use sinkscope::name::{Name, NameList};
use sinkscope::orders::export::{DEFAULT_ORIGIN, Export, Format, Request, Tally};
use sinkscope::orders::{Loader, ProtectedSpec, Settings};
use sinkscope::policy::order::Lift;
use sinkscope::policy::{
    Action, ListedScope, LocalData, LocalRecord, MatchKind, Order, OrderWithNames, Policy, PolicyZone,
    Protected, Scope, Sinkhole, Verdict, Window,
};
use sinkscope::time::UnixSeconds;
use support::others::{Domains, LocalZones, Reading, Rpz, Singles};
use support::process::golden;

/// 2026-01-15, when the orders in tests/export/orders are looked at.
const AT: UnixSeconds = 1_768_435_200;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// What is written of a policy, and what is not.
fn export(policy: &Policy, format: Format, at: UnixSeconds, origin: &str) -> (String, Tally) {
    let request = Request { format, at, origin: name(origin), listed: vec![] };
    let mut seen = 0;
    let export = Export::plan(policy, request, &mut |names| seen += names);
    let mut out = Vec::new();
    export.write(&mut out, &mut |names| seen += names).unwrap();
    assert_eq!(seen, 2 * policy.name_count() as u64, "the progress is whole");
    let text = String::from_utf8(out).unwrap();
    let comments = [';', '#', '$', '@'];
    let lines = text.lines().filter(|line| !line.starts_with(comments) && *line != "server:").count();
    assert_eq!(export.tally.lines, lines as u64, "{text}");
    (text, export.tally)
}

/// The orders in tests/export/orders, with protected names.
fn sample() -> (Policy, Vec<(String, usize)>) {
    let protected = ProtectedSpec {
        kind: MatchKind::Subtree,
        names: vec!["safe.tree.example".into()],
        source: "test".into(),
        ..ProtectedSpec::default()
    };
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/export/orders");
    let loaded =
        Loader::new(Settings { paths: vec![path], protected: vec![protected], ..Settings::default() }).load();
    let errors: Vec<_> = loaded.problems.iter().filter(|problem| problem.is_error()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let listed = loaded.held_orders().map(|held| (held.order.id.clone(), held.names)).collect();
    (Policy::compile(&loaded.zones, &loaded.protected, 1), listed)
}

#[test]
fn each_format_word_for_word() {
    for format in Format::ALL {
        let (policy, listed) = sample();
        let request = Request { format, at: AT, origin: name(DEFAULT_ORIGIN), listed };
        let export = Export::plan(&policy, request, &mut |_| ());
        let mut out = Vec::new();
        export.write(&mut out, &mut |_| ()).unwrap();
        golden(&format!("export/{format}.txt"), &String::from_utf8(out).unwrap());
    }
}

#[test]
fn what_has_no_form_is_counted() {
    let order = |kind, listed: &str| {
        let order = Order { scopes: vec![Scope::new(kind)], ..Order::new("o") };
        OrderWithNames::listing(order, [listed.split_whitespace().map(name).collect()])
    };
    let long = ["x".repeat(63), "y".repeat(63), "z".repeat(63), "w".repeat(50)].join(".");
    use MatchKind::{Exact, Subtree};
    for (format, kind, listed, protected, left_out, unspared) in [
        (Format::Rpz, Exact, "a.rpz-ip a.rpz-nsdname a.rpz.example", "", 2, 0),
        (Format::Rpz, Exact, "*.a.example a.*.example", "", 1, 0),
        (Format::Rpz, Exact, ".", "", 1, 0),
        (Format::Rpz, Subtree, ".", "", 1, 0),
        // A node that must stay free and cannot be named takes the whole export down.
        (Format::Rpz, Subtree, ".", "rpz-ip", 2, 1),
        (Format::Rpz, Exact, &long, "", 1, 0),
        (Format::Rpz, Subtree, &long[4..], "", 2, 0),
        (Format::Rpz, Subtree, &"w".repeat(50), &long, 1, 1),
        (Format::Hosts, Exact, "a\\032b.example a.example", "", 1, 0),
        (Format::Hosts, Subtree, "a.example", "", 1, 0),
        (Format::Domains, Subtree, "a.example b.a.example", "", 1, 0),
        (Format::Unbound, MatchKind::SubtreeBelow, "a.example", "", 1, 0),
        (Format::Dnsmasq, Subtree, ".", "", 1, 0),
        (Format::Dnsmasq, Exact, "a\\032b.example", "", 1, 0),
        (Format::Dnsmasq, Subtree, "example", "a/b.example", 0, 1),
        (Format::Unbound, Subtree, "example", "a/b.example", 1, 0),
    ] {
        let protected: NameList = protected.split_whitespace().map(name).collect();
        let protected = [Protected { kind: Exact, names: protected, source: String::new() }];
        let zone = PolicyZone { name: String::new(), orders: vec![Arc::new(order(kind, listed))] };
        let policy = Policy::compile(&[zone], &protected, 1);
        let (text, tally) = export(&policy, format, 0, DEFAULT_ORIGIN);
        let found = (tally.left_out.total(), tally.unspared.total());
        assert_eq!(found, (left_out, unspared), "{format} {kind} {listed}\n{text}");
        let said = text.lines().filter(|line| line.contains("left out: ")).count();
        assert_eq!(said, tally.left_out.iter().count(), "{text}");
    }
}

#[test]
fn names_that_bind_takes_for_no_hosts_are_said_with_what_to_do() {
    let policy = |action: Action, names: &str, kind: MatchKind| {
        let order = Order { scopes: vec![Scope::new(kind)], action, ..Order::new("o") };
        let listed = OrderWithNames::listing(order, [names.split_whitespace().map(name).collect()]);
        Policy::compile(&[PolicyZone { name: String::new(), orders: vec![Arc::new(listed)] }], &[], 1)
    };
    use MatchKind::{Exact, Subtree};
    for (action, names, kind, origin, count) in [
        (
            Action::SINKHOLE,
            "a_b.example _a.example a-.example -.example \\-\\-.example a\\032b.example",
            Exact,
            DEFAULT_ORIGIN,
            12,
        ),
        // The name and what is below it, each with two addresses.
        (Action::SINKHOLE, "a_b.example", Subtree, DEFAULT_ORIGIN, 4),
        (
            Action::SINKHOLE,
            "a-b.example xn--a.example 1.2.3.example a--b.example",
            Subtree,
            DEFAULT_ORIGIN,
            0,
        ),
        (Action::SINKHOLE, "good.example", Exact, "rpz_zone.example", 2),
        (Action::NXDOMAIN, "a_b.example", Subtree, DEFAULT_ORIGIN, 0),
    ] {
        let (text, tally) = export(&policy(action, names, kind), Format::Rpz, 0, origin);
        assert_eq!(tally.demanding.total(), count, "{names}\n{text}");
        let said = text.lines().filter(|line| line.starts_with(';') && line.contains("check-names ignore;"));
        assert_eq!(said.count(), usize::from(count > 0), "{text}");
        let (text, tally) = export(&policy(action, names, kind), Format::Unbound, 0, origin);
        assert_eq!((tally.demanding.total(), text.contains("check-names")), (0, false));
    }
}

/// What the policy does, in the words of the readers.
fn fate(policy: &Policy, query: &Name, at: UnixSeconds) -> String {
    let Verdict::Act(_, hit) = policy.verdict(query, at) else { return "truth".into() };
    let sorted = |addresses: Vec<String>| {
        let mut addresses = addresses;
        addresses.sort();
        addresses.join(",")
    };
    let v4 = sorted(hit.order.sinkhole.v4.iter().map(ToString::to_string).collect());
    let v6 = sorted(hit.order.sinkhole.v6.iter().map(ToString::to_string).collect());
    match hit.action {
        Action::LOCAL => {
            let data = hit.scope.data.as_ref().expect("data");
            let of = |rtype: Rtype| data.records.iter().filter(move |record| record.rtype == rtype);
            let v4 = of(Rtype::A)
                .map(|record| Ipv4Addr::from(<[u8; 4]>::try_from(&record.rdata[..]).unwrap()).to_string());
            match sorted(v4.collect()) {
                v4 if v4.is_empty() => "nodata".into(),
                v4 => format!("A {v4} AAAA "),
            }
        }
        Action::SINKHOLE if v4.is_empty() && v6.is_empty() => "nodata".into(),
        Action::SINKHOLE => format!("A {v4} AAAA {v6}"),
        action => action.to_string(),
    }
}

/// Names from few labels, so that they nest and collide; an odd one in between.
fn any_name() -> impl Strategy<Value = Name> {
    let label = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "ab", "Net", "x-1", "-"]),
        1 => Just("!"),
    ];
    prop::collection::vec(label, 0..5)
        .prop_map(|labels| if labels.is_empty() { Name::ROOT } else { name(&labels.join(".")) })
}

fn any_kind() -> impl Strategy<Value = MatchKind> {
    prop::sample::select(vec![MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow])
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![3 => Just(Action::SINKHOLE), 2 => prop::sample::select(Action::ALL.to_vec())]
}

fn any_sinkhole() -> impl Strategy<Value = Sinkhole> {
    let v4 = prop::sample::subsequence(vec![[192, 0, 2, 1].into(), [192, 0, 2, 20].into()], 0..=2);
    (v4, any::<bool>())
        .prop_map(|(v4, six)| Sinkhole { v4, v6: if six { vec![Ipv6Addr::LOCALHOST] } else { vec![] } })
}

fn any_window() -> impl Strategy<Value = Window> {
    (prop::option::weighted(0.2, 0..4i64), prop::option::weighted(0.2, 0..4i64))
        .prop_map(|(effective, expires)| Window { effective, expires, review_by: None })
}

/// Records of addresses, of text, or of both.
fn any_data() -> impl Strategy<Value = LocalData> {
    let records = vec![
        (Rtype::A, vec![192, 0, 2, 40]),
        (Rtype::A, vec![192, 0, 2, 41]),
        (Rtype::TXT, b"\x05local".to_vec()),
    ];
    prop::sample::subsequence(records, 0..=3).prop_map(|records| {
        let record = |(rtype, rdata): (Rtype, Vec<u8>)| LocalRecord { rtype, ttl_s: 10, rdata: rdata.into() };
        LocalData { records: records.into_iter().map(record).collect(), prepend: false }
    })
}

prop_compose! {
    fn any_scope()(
        kind in any_kind(), action in prop::option::weighted(0.3, any_action()), window in any_window(),
        listed in prop::collection::vec(any_name(), 1..4), spared in prop::collection::vec(any_name(), 0..2),
        exception_kind in any_kind(), data in any_data(),
    ) -> ListedScope {
        let data = Some(Arc::new(data));
        let scope = Scope { action, window, exception_kind, data, ..Scope::new(kind) };
        ListedScope { scope, names: listed.into_iter().collect(), exceptions: spared.into_iter().collect() }
    }
}

prop_compose! {
    fn any_order()(
        scopes in prop::collection::vec(any_scope(), 1..3), action in any_action(), window in any_window(),
        lift in prop::option::weighted(0.2, (1..4i64, any_name())), sinkhole in any_sinkhole(), ttl_s in 10..12u32,
    ) -> OrderWithNames {
        let lifts = lift.into_iter().map(|(at, zone)| Lift { at: Some(at), zones: vec![zone], ..Lift::default() });
        let order = Order { action, window, sinkhole, ttl_s, lifts: lifts.collect(), ..Order::new("") };
        OrderWithNames::new(order, scopes, Vec::new())
    }
}

prop_compose! {
    fn any_policy()(
        orders in prop::collection::vec(prop::collection::vec(any_order(), 0..3), 1..3),
        kept in prop::collection::vec(any_name(), 0..2), kind in any_kind(),
    ) -> Policy {
        let mut count = 0;
        let mut zone = |orders: Vec<OrderWithNames>| {
            let orders = orders.into_iter().map(|mut listed| {
                count += 1;
                listed.order.id = format!("o{count}");
                Arc::new(listed)
            });
            PolicyZone { name: String::new(), orders: orders.collect() }
        };
        let zones: Vec<PolicyZone> = orders.into_iter().map(&mut zone).collect();
        let kept = kept.into_iter().filter(|name| name.label_count() > 1).collect();
        Policy::compile(&zones, &[Protected { kind, names: kept, source: String::new() }], 1)
    }
}

/// Every name of a policy, what encloses it, a neighbour and a child of each, and the names given.
fn around(policy: &Policy, more: Vec<Name>) -> BTreeSet<Name> {
    let mut found: BTreeSet<Name> = more.into_iter().chain(policy.names()).collect();
    for name in found.clone() {
        found.extend((0..=name.label_count()).filter_map(|labels| name.ancestor(labels)));
    }
    for above in found.clone() {
        // They sort before, between and behind the labels that names are made of.
        for label in ["!!", "a0", "zzzz"] {
            let wire = [&[label.len() as u8], label.as_bytes(), above.as_wire()].concat();
            found.extend(Name::from_wire(&wire));
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// RPZ loses nothing, however its wildcards are read.
    #[test]
    fn a_zone_says_what_the_policy_says_in_every_reading(
        policy in any_policy(), at in 0..4i64, more in prop::collection::vec(any_name(), 0..8),
    ) {
        let (text, tally) = export(&policy, Format::Rpz, at, DEFAULT_ORIGIN);
        let zone = Rpz::read(&text);
        prop_assert_eq!(tally.unspared.total(), 0);
        for query in around(&policy, more) {
            // The apex takes no rule.
            if query.is_root() {
                continue;
            }
            // RPZ lacks REFUSED.
            let expected = fate(&policy, &query, at).replace("refused", "nodata");
            // Unbound finds no wildcard at the apex for a name that sorts before it. No hostname does.
            let early = policy.verdict_below(&Name::ROOT, at).hit().is_some() && query.labels().last() == Some(b"!");
            for reading in Reading::ALL.into_iter().filter(|reading| !(early && *reading == Reading::Unbound)) {
                prop_assert_eq!(zone.fate(&query, reading), expected.as_str(), "{} read as {:?} in\n{}", query, reading, text);
            }
        }
    }

    /// Whatever else a format lacks, it takes no innocent name; and where it says that nothing is missing, nothing is.
    #[test]
    fn no_format_takes_an_innocent_name(
        policy in any_policy(), at in 0..4i64, more in prop::collection::vec(any_name(), 0..8),
    ) {
        for format in Format::ALL {
            let (text, tally) = export(&policy, format, at, DEFAULT_ORIGIN);
            if tally.unspared.total() > 0 {
                prop_assert_eq!(format, Format::Dnsmasq, "the only one that has no form for !");
                continue;
            }
            type Reader = Box<dyn Fn(&Name) -> String>;
            let read: Reader = match format {
                Format::Rpz => { let zone = Rpz::read(&text); Box::new(move |query| zone.fate(query, Reading::Bind)) }
                Format::Hosts | Format::Domains => { let list = Singles::read(&text); Box::new(move |query| list.fate(query)) }
                Format::Unbound => { let zones = LocalZones::read(&text); Box::new(move |query| zones.fate(query)) }
                Format::Dnsmasq => { let domains = Domains::read(&text); Box::new(move |query| domains.fate(query)) }
            };
            for query in around(&policy, more.clone()) {
                let (expected, found) = (fate(&policy, &query, at), read(&query));
                let right = if expected == "truth" {
                    found == "truth"
                } else if tally.left_out.total() > 0 {
                    true
                } else if tally.changed.total() > 0 || format == Format::Domains {
                    found != "truth"
                } else {
                    found == expected
                };
                prop_assert!(right, "{query}: {found}, not {expected}, in {format}\n{text}");
            }
        }
    }
}

#[test]
fn the_sample_says_the_same_to_every_reader_of_zones() {
    let (policy, _) = sample();
    let (text, _) = export(&policy, Format::Rpz, AT, DEFAULT_ORIGIN);
    let zone = Rpz::read(&text);
    assert!(zone.owners() > 20, "{text}");
    let mut acted = BTreeSet::new();
    for query in around(&policy, vec![]) {
        let expected = fate(&policy, &query, AT).replace("refused", "nodata");
        acted.insert(expected.clone());
        for reading in Reading::ALL {
            assert_eq!(zone.fate(&query, reading), expected, "{query} {reading:?}");
        }
    }
    assert!(acted.len() >= 6, "{acted:?}");
}
