//! Policy zones as they are read, statements, views, and which trigger decides: tables, and naive twins.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use sinkscope::name::{Name, NameList};
use sinkscope::policy::{
    Action, Asker, IssuerKind, ListedScope, MatchKind, Order, OrderWithNames, Override, Policy, PolicyZone,
    Rpz, Scope, Servers, Stage, Standing, TriggerType, Verdict, View, WildcardRule, Window, prefix,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A response policy zone of these lines: a trigger as a zone file has it, and an action. Its origin is its id.
fn rpz(id: &str, reading: WildcardRule, lines: &[(&str, Action)]) -> OrderWithNames {
    let mut order = Order::new(id);
    order.reading = reading;
    order.rpz = Some(Rpz {
        origin: name(id),
        soa: Box::default(),
        soa_ttl_s: 1,
        without_rd: false,
        break_dnssec: false,
        missing_type: Default::default(),
    });
    let scope = |(owner, action): &(&str, Action)| {
        let (on, listed, kind) = trigger(owner);
        let scope = Scope { on, action: Some(*action), ..Scope::new(kind) };
        ListedScope::new(scope, NameList::from_iter([listed]))
    };
    OrderWithNames::new(order, lines.iter().map(scope).collect(), Vec::new())
}

/// What an owner name in a zone file triggers on.
fn trigger(owner: &str) -> (TriggerType, Name, MatchKind) {
    let (bare, kind) = match owner.strip_prefix('*') {
        Some(rest) => (rest.trim_start_matches('.'), MatchKind::SubtreeBelow),
        None => (owner, MatchKind::Exact),
    };
    let listed = if bare.is_empty() { Name::ROOT } else { name(bare) };
    let on = match bare.rsplit('.').next() {
        Some("rpz-client-ip") => TriggerType::ClientIp,
        Some("rpz-ip") => TriggerType::ResponseIp,
        Some("rpz-nsdname") => TriggerType::NsDname,
        Some("rpz-nsip") => TriggerType::NsIp,
        _ => TriggerType::Qname,
    };
    match on {
        TriggerType::Qname | TriggerType::NsDname => (on, listed, kind),
        _ => {
            let (address, len) = prefix::from_name(&listed).unwrap();
            (on, prefix::to_name(address, len, on), MatchKind::Exact)
        }
    }
}

fn compile(zones: Vec<OrderWithNames>) -> Policy {
    let zone =
        |listed: OrderWithNames| PolicyZone { name: listed.order.id.clone(), orders: vec![Arc::new(listed)] };
    Policy::compile(&zones.into_iter().map(zone).collect::<Vec<_>>(), &[], 1)
}

/// The order and the action that decide, or what else the verdict is.
fn shown(verdict: &Verdict<'_>) -> String {
    match verdict {
        Verdict::Clear => "clear".into(),
        Verdict::Protected(_) => "protected".into(),
        Verdict::Passthru(hit) | Verdict::Act(_, hit) => {
            format!("{} {} {}", hit.order.id, hit.trigger.on, hit.action)
        }
    }
}

#[test]
fn the_readings_differ_as_servers_do() {
    let lines = [
        ("*.sub.test.net", Action::NXDOMAIN),
        ("exact.sub.test.net", Action::NODATA),
        ("evil.ent.sub.test.net", Action::NODATA),
        ("ok.sub.test.net", Action::Passthru),
    ];
    let policies = [WildcardRule::Wildcard, WildcardRule::WildcardOverEmpty, WildcardRule::Closest]
        .map(|reading| compile(vec![rpz("z", reading, &lines)]));
    // As BIND, Unbound and PowerDNS Recursor answer.
    for (query, expected) in [
        ("a.sub.test.net", [true, true, true]),
        ("a.b.sub.test.net", [true, true, true]),
        ("x.exact.sub.test.net", [false, false, true]),
        ("ent.sub.test.net", [false, true, true]),
        ("other.ent.sub.test.net", [false, false, true]),
        ("x.ok.sub.test.net", [false, false, true]),
        ("sub.test.net", [false, false, false]),
        ("exact.sub.test.net", [true, true, true]),
        ("evil.ent.sub.test.net", [true, true, true]),
    ] {
        let hit = |policy: &Policy| matches!(policy.verdict(&name(query), 0), Verdict::Act(..));
        assert_eq!([hit(&policies[0]), hit(&policies[1]), hit(&policies[2])], expected, "{query}");
    }
}

#[test]
fn precedence_is_the_drafts() {
    let client: IpAddr = "192.0.2.7".parse().unwrap();
    let servers = Servers {
        names: vec![name("a.ns.test"), name("b.ns.test")],
        addresses: vec!["198.51.100.1".parse().unwrap(), "2001:db8::53".parse().unwrap()],
    };
    let addresses: Vec<IpAddr> = vec!["203.0.113.9".parse().unwrap(), "203.0.113.130".parse().unwrap()];
    let all = [
        ("q.test", Action::NXDOMAIN),
        ("32.7.2.0.192.rpz-client-ip", Action::NODATA),
        ("24.0.113.0.203.rpz-ip", Action::DROP),
        ("a.ns.test.rpz-nsdname", Action::TCP_ONLY),
        ("32.1.100.51.198.rpz-nsip", Action::Passthru),
    ];
    let judge = |zones: &[&[(&str, Action)]], query: &str| {
        let zones = zones
            .iter()
            .zip(["one", "two", "three"])
            .map(|(lines, id)| rpz(id, WildcardRule::Wildcard, lines));
        let policy = compile(zones.collect());
        let (query, asker) = (name(query), Asker { client: Some(client), ..Asker::ANYBODY });
        let stage =
            Stage { name: &query, first: true, untouched: false, addresses: &addresses, servers: &servers };
        shown(&policy.judge_stage(&stage, &asker, 0).verdict)
    };
    for (what, zones, expected) in [
        ("§5.4 the client first", &[&all[..]][..], "one client-ip nodata"),
        ("§5.4 then the name", &[&[all[4], all[3], all[2], all[0]]], "one qname nxdomain"),
        ("§5.4 then addresses", &[&[all[4], all[3], all[2]]], "one response-ip drop"),
        ("§5.4 then servers' names", &[&[all[4], all[3]]], "one nsdname tcp-only"),
        ("§5.4 then their addresses", &[&[all[4]]], "one nsip passthru"),
        ("§5.2 an earlier zone", &[&[all[4]], &all], "one nsip passthru"),
        ("§5.2 a zone without a match", &[&[("other.test", Action::DROP)], &[all[0]]], "two qname nxdomain"),
        (
            "§5.3 exact before wildcard",
            &[&[("*.test", Action::DROP), ("q.test", Action::NODATA)]],
            "one qname nodata",
        ),
        (
            "§5.3 exact server before one by wildcard",
            &[&[("*.ns.test.rpz-nsdname", Action::DROP), ("a.ns.test.rpz-nsdname", Action::NODATA)]],
            "one nsdname nodata",
        ),
        (
            "§5.5 the last name in canonical order",
            &[&[("a.ns.test.rpz-nsdname", Action::DROP), ("b.ns.test.rpz-nsdname", Action::NODATA)]],
            "one nsdname nodata",
        ),
        (
            "§5.6 the longest prefix",
            &[&[("24.0.113.0.203.rpz-ip", Action::DROP), ("25.128.113.0.203.rpz-ip", Action::NODATA)]],
            "one response-ip nodata",
        ),
        (
            "§5.6 an IPv4 prefix counts 96 more",
            &[&[("64.zz.db8.2001.rpz-nsip", Action::DROP), ("8.0.0.0.198.rpz-nsip", Action::NODATA)]],
            "one nsip nodata",
        ),
        (
            "§5.7 the smaller address",
            &[&[("32.130.113.0.203.rpz-ip", Action::DROP), ("32.9.113.0.203.rpz-ip", Action::NODATA)]],
            "one response-ip nodata",
        ),
        ("§6.1 disabled falls through", &[&[("q.test", Action::Observe)], &[all[2]]], "two response-ip drop"),
        (
            "a passthru holds from its zone on",
            &[&[all[2]], &[("q.test", Action::Passthru)]],
            "one response-ip drop",
        ),
    ] {
        assert_eq!(judge(zones, "q.test"), expected, "{what}");
    }
    assert_eq!(judge(&[&all[..1]], "rpz-ip"), "clear");
    assert_eq!(
        judge(&[&[("24.0.113.0.203.rpz-ip", Action::DROP)]], "24.0.113.0.203.rpz-ip"),
        "one response-ip drop"
    );
}

#[test]
fn who_asks_and_how_decides_what_concerns_them() {
    let policy = compile(vec![rpz("z", WildcardRule::Wildcard, &[("q.test", Action::NXDOMAIN)])]);
    let judge = |asker: Asker<'_>| shown(&policy.verdict_for(&asker, &name("q.test"), 0));
    assert_eq!(judge(Asker::ANYBODY), "z qname nxdomain");
    assert_eq!(judge(Asker { rd: false, ..Asker::ANYBODY }), "clear");
    assert_eq!(judge(Asker { validates: true, ..Asker::ANYBODY }), "clear");
    assert_eq!(judge(Asker { view: &View::ALL.without(0), ..Asker::ANYBODY }), "clear");
    assert_eq!(judge(Asker { view: &View::ALL.without(1), ..Asker::ANYBODY }), "z qname nxdomain");
}

#[test]
fn statements_decide_the_closer_the_sooner() {
    let mut listed =
        rpz("o", WildcardRule::Closest, &[("*.zone.test", Action::NXDOMAIN), ("solo.test", Action::NODATA)]);
    listed.order.rpz = None;
    listed.order.authority.kind = IssuerKind::Court;
    let base = compile(vec![listed]);
    let state = |standing, names: Option<(&str, MatchKind)>| Override {
        order: "o".into(),
        names: names.map(|(text, kind)| (name(text), kind)),
        standing,
        window: Window::ALWAYS,
        over_names: false,
    };
    use MatchKind::{Exact, Subtree};
    use Standing::{Drafted, InForce, Lifted, Observing};
    for (what, statements, captured, observed) in [
        ("as written", vec![], "a.zone.test b.zone.test x.b.zone.test solo.test", ""),
        ("lifted", vec![state(Lifted, None)], "", ""),
        ("drafted", vec![state(Drafted, None)], "", ""),
        ("observing", vec![state(Observing, None)], "", "a.zone.test b.zone.test x.b.zone.test solo.test"),
        (
            "a name lifted",
            vec![state(Lifted, Some(("b.zone.test", Exact)))],
            "a.zone.test x.b.zone.test solo.test",
            "",
        ),
        ("a zone lifted", vec![state(Lifted, Some(("b.zone.test", Subtree)))], "a.zone.test solo.test", ""),
        (
            "a zone lifted, a name in it restored",
            vec![state(Lifted, Some(("zone.test", Subtree))), state(InForce, Some(("b.zone.test", Exact)))],
            "b.zone.test solo.test",
            "",
        ),
        (
            "observing but for a zone",
            vec![state(Observing, None), state(InForce, Some(("b.zone.test", Subtree)))],
            "b.zone.test x.b.zone.test",
            "a.zone.test solo.test",
        ),
        (
            "of another order",
            vec![Override { order: "p".into(), ..state(Lifted, None) }],
            "a.zone.test b.zone.test x.b.zone.test solo.test",
            "",
        ),
    ] {
        let policy = base.with_overrides(&statements, 2);
        let names = ["a.zone.test", "b.zone.test", "x.b.zone.test", "solo.test"];
        let which = |test: &dyn Fn(&Name) -> bool| {
            names.into_iter().filter(|text| test(&name(text))).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(which(&|name| matches!(policy.verdict(name, 0), Verdict::Act(..))), captured, "{what}");
        assert_eq!(which(&|name| policy.observed(name, 0).is_some()), observed, "{what}");
        assert_eq!((policy.epoch(), policy.name_count()), (2, base.name_count()), "{what}");
    }
    let back = base.with_overrides(&[state(Lifted, None)], 2).with_overrides(&[], 3);
    assert!(matches!(back.verdict(&name("solo.test"), 0), Verdict::Act(..)));
    assert_eq!(back.standing("o", None, 0), Some(InForce));
    let suspended = base.with_overrides(&[Override::suspension("o")], 2);
    assert_eq!(suspended.verdict(&name("solo.test"), 0), Verdict::Clear);
    assert_eq!(suspended.standing("o", None, 0), Some(Lifted));
}

/// Names from few labels, so that they nest and collide.
fn any_name(labels: std::ops::Range<usize>) -> impl Strategy<Value = Name> {
    let label = prop_oneof![Just("a"), Just("b"), Just("ab")];
    prop::collection::vec(label, labels)
        .prop_map(|labels| if labels.is_empty() { Name::ROOT } else { name(&labels.join(".")) })
}

/// Whether a zone of these owners answers for a query, by RFC 1034 §4.3.2 and RFC 4592, read word by word: `true` marks
/// `*.owner`.
fn zone_answers(owners: &[(Name, bool)], query: &Name, over_empty: bool) -> bool {
    if owners.iter().any(|(owner, wildcard)| !wildcard && owner == query) {
        return true;
    }
    let exists = |name: &Name| owners.iter().any(|(owner, _)| owner.is_at_or_below(name));
    // The apex is there in any zone.
    let nodes = (0..=query.label_count()).rev().filter_map(|labels| query.ancestor(labels));
    let mut existing = nodes.filter(|node| node.is_root() || exists(node));
    let closest = existing.next().unwrap_or(Name::ROOT);
    let encloser = if closest != *query {
        closest
    } else if over_empty {
        existing.next().unwrap_or(Name::ROOT)
    } else {
        return false;
    };
    owners.iter().any(|(owner, wildcard)| *wildcard && *owner == encloser && owner != query)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn zones_are_read_as_dns_zones(
        owners in prop::collection::vec((any_name(0..5), any::<bool>()), 1..8),
        queries in prop::collection::vec(any_name(1..6), 1..20),
        below_servers in any::<bool>(),
    ) {
        let owners: Vec<(Name, bool)> =
            owners.into_iter().filter(|(owner, wildcard)| *wildcard || !owner.is_root()).collect();
        // The same holds among names of servers.
        let text = |(owner, wildcard): &(Name, bool)| {
            let mut text = owner.to_string();
            if owner.is_root() { text.clear(); }
            let parts = [if *wildcard { "*" } else { "" }, &text, if below_servers { "rpz-nsdname" } else { "" }];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
        };
        let lines: Vec<String> = owners.iter().map(text).collect();
        let lines: Vec<(&str, Action)> = lines.iter().map(|line| (line.as_str(), Action::NXDOMAIN)).collect();
        for (reading, over_empty) in [(WildcardRule::Wildcard, false), (WildcardRule::WildcardOverEmpty, true)] {
            let policy = compile(vec![rpz("z", reading, &lines)]);
            for query in &queries {
                let captured = if below_servers {
                    let servers = Servers { names: vec![*query], addresses: Vec::new() };
                    let stage = Stage { name: &name("q.test"), first: true, untouched: false, addresses: &[], servers: &servers };
                    matches!(policy.judge_stage(&stage, &Asker::ANYBODY, 0).verdict, Verdict::Act(..))
                } else {
                    matches!(policy.verdict(query, 0), Verdict::Act(..))
                };
                prop_assert_eq!(captured, zone_answers(&owners, query, over_empty), "{} {:?} {:?}", query, reading, lines);
            }
        }
    }

    #[test]
    fn prefixes_are_matched_as_a_scan_would(
        prefixes in prop::collection::hash_set((0..4u32, 30..=32u8), 0..6),
        address in 0..8u32,
    ) {
        let lines: Vec<(String, u8, u32)> = prefixes
            .iter()
            .map(|&(bits, len)| (bits << (32 - len), len))
            .collect::<HashSet<_>>()
            .into_iter()
            .map(|(bits, len)| {
                let address = IpAddr::from(bits.to_be_bytes());
                (prefix::to_name(address, len, TriggerType::ResponseIp).to_string(), len, bits)
            })
            .collect();
        let texts: Vec<(&str, Action)> = lines.iter().map(|(text, ..)| (text.as_str(), Action::NXDOMAIN)).collect();
        let policy = compile(vec![rpz("z", WildcardRule::Wildcard, &texts)]);
        let matching = lines.iter().filter(|(_, len, bits)| (address ^ bits) >> (32 - len) == 0);
        let expected = matching.map(|(_, len, _)| *len).max();
        let addresses = [IpAddr::from(address.to_be_bytes())];
        let servers = Servers::default();
        let stage = Stage { name: &name("q.test"), first: true, untouched: false, addresses: &addresses, servers: &servers };
        let verdict = policy.judge_stage(&stage, &Asker::ANYBODY, 0).verdict;
        let found = verdict.hit().and_then(|hit| hit.trigger.prefix).map(|(_, len)| len);
        prop_assert_eq!(found, expected);
        prop_assert_eq!(policy.lists_address(TriggerType::ResponseIp, addresses[0]), expected.is_some());
    }
}
