use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::judge::Outcome;
use super::scales::{at_scale, ready};
use super::*;
use crate::name::{Name, NameList};
use crate::orders::Filled;
use crate::orders::open::ListFile;
use crate::orders::order_file;
use crate::policy::{MatchKind, OrderWithNames, Policy, PolicyZone, Protected, Verdict};

/// 2026-01-01.
const AT: i64 = 1_767_225_600;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn names(list: &str) -> NameList {
    list.split_whitespace().map(name).collect()
}

/// An order of this id; it has no names files.
fn order(id: &str, rest: &str) -> OrderWithNames {
    let text = format!("id = \"{id}\"\n{rest}");
    let reading = order_file::parse(&text, "o.toml", &mut |written| ListFile {
        shown: written.into(),
        content: Err(("no such file".into(), String::new())),
    });
    reading.listed.unwrap_or_else(|| panic!("{:?}", reading.problems))
}

/// `match = kind` for these names, of a family.
fn scope(kind: &str, list: &str, family: &str) -> String {
    let names: Vec<String> = list.split_whitespace().map(|name| format!("\"{name}\"")).collect();
    format!("[[scope]]\nmatch = \"{kind}\"\nfamily = \"{family}\"\nnames = [{}]\n", names.join(","))
}

/// Orders that stand, each a policy zone of its own, and names protected with all below them.
fn loaded(orders: &[OrderWithNames], protected: &str) -> Filled {
    let zones = orders
        .iter()
        .map(|listed| PolicyZone { name: listed.order.id.clone(), orders: vec![Arc::new(listed.clone())] });
    let protected = Protected { kind: MatchKind::Subtree, names: names(protected), source: "p".into() };
    Filled::of(zones.collect(), vec![protected])
}

/// The demonstration of this file: two exact names in two dynamic-DNS zones.
fn two_names() -> OrderWithNames {
    let zones = "zones = [\"ddns.net\", \"no-ip.org\"]\n";
    order("two", &format!("{zones}{}", scope("exact", "evil.ddns.net a.b.no-ip.org", "njrat")))
}

/// What is said of a name: its relation, a letter for each scale, and what else.
fn said(preview: &Preview, text: &str) -> String {
    let Some(judged) = preview.judge(&name(text)) else { return "free".into() };
    let mut out = format!("{} ", judged.relation.as_str());
    for outcome in judged.outcomes {
        out.push(match outcome {
            Outcome::Free => '-',
            Outcome::Taken(..) => 'T',
            Outcome::Protected => 'P',
            Outcome::Passed(_) => 'L',
            Outcome::Already(_) => 'A',
        });
    }
    for (is, word) in [(judged.popular, " popular"), (judged.suffix, " suffix")] {
        out.push_str(if is { word } else { "" });
    }
    if let Some(family) = judged.family {
        let _ = write!(out, " {family}");
    }
    out
}

#[test]
fn names_stand_to_an_order_as_its_scales_say() {
    let passing =
        order("passing", &format!("action = \"passthru\"\n{}", scope("subtree", "good.ddns.net", "")));
    let first = order("first", &scope("exact", "taken.ddns.net", ""));
    let observing = order("obs", &format!("action = \"observe\"\n{}", scope("subtree", "seen.ddns.net", "")));
    let among = loaded(&[passing, first, observing], "safe.ddns.net");
    let popular = || Popular::new("list", names("ddns.net big.no-ip.org example.com"));
    let two = two_names();
    let subtree = order("sub", &scope("subtree", "evil.ddns.net", "f"));
    let below = order("below", &scope("subtree-below", "evil.ddns.net", ""));
    let zone = order(
        "zone",
        "zones = [\"example.com\"]\n[[scope]]\nmatch = \"zone\"\nexcept = [\"ok.example.com\"]\nexcept_match = \"subtree\"\n",
    );
    let lists = |list: &str| order("listed", &scope("exact", list, ""));
    let lifted = order(
        "lifted",
        "zones = [\"ddns.net\", \"no-ip.org\"]\nlifted = { at = 2020-01-01, zones = [\"no-ip.org\"] }\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.ddns.net\", \"evil.no-ip.org\"]\n",
    );
    let parts = order(
        "parts",
        "[[scope]]\nmatch = \"subtree\"\nnames = [\"bad.example.com\"]\n[[scope]]\nmatch = \"exact\"\naction = \"passthru\"\nnames = [\"fine.bad.example.com\"]\n",
    );
    for (listed, asked, expected) in [
        (&two, "evil.ddns.net", "listed TTTT njrat"),
        (&two, "c2.evil.ddns.net", "child --TT njrat"),
        (&two, "x.c2.evil.ddns.net", "child --TT njrat"),
        (&two, "innocent.ddns.net", "sibling ---T"),
        (&two, "deep.innocent.ddns.net", "other ---T"),
        (&two, "b.no-ip.org", "parent ---T"),
        (&two, "c.b.no-ip.org", "sibling ---T"),
        (&two, "c.no-ip.org", "other ---T"),
        (&two, "ddns.net", "parent ---T popular suffix"),
        (&two, "no-ip.org", "parent ---T suffix"),
        (&two, "www.big.no-ip.org", "other ---T popular"),
        (&two, "net", "free"),
        (&two, "example.com", "free"),
        (&two, "xddns.net", "free"),
        // Others let pass, or were there before.
        (&two, "safe.ddns.net", "sibling ---P"),
        (&two, "www.safe.ddns.net", "other ---P"),
        (&two, "good.ddns.net", "sibling ---L"),
        (&two, "taken.ddns.net", "sibling ---A"),
        (&two, "seen.ddns.net", "sibling ---T"),
        (&lists("safe.ddns.net"), "safe.ddns.net", "listed PPPP "),
        (&lists("good.ddns.net"), "good.ddns.net", "listed LLLL "),
        (&lists("x.good.ddns.net"), "good.ddns.net", "parent ---L"),
        (&lists("taken.ddns.net"), "taken.ddns.net", "listed AAAA "),
        (&lists("taken.ddns.net"), "x.taken.ddns.net", "child --TT "),
        // Without zones of its own: what a registry delegates.
        (&lists("www.evil.co.uk"), "mail.evil.co.uk", "sibling ---T"),
        (&lists("www.evil.co.uk"), "evil.co.uk", "parent ---T"),
        (&lists("www.evil.co.uk"), "other.co.uk", "free"),
        (&lists("evil.hopto.org"), "innocent.hopto.org", "sibling ---T"),
        // Scopes that are wide as written.
        (&subtree, "evil.ddns.net", "listed TTTT f"),
        (&subtree, "c2.evil.ddns.net", "child T-TT f"),
        (&below, "evil.ddns.net", "listed -TTT "),
        (&below, "c2.evil.ddns.net", "child T-TT "),
        (&zone, "example.com", "listed TTTT popular "),
        (&zone, "www.example.com", "child T-TT popular "),
        (&zone, "ok.example.com", "free"),
        (&zone, "x.ok.example.com", "free"),
        // What it gave back or lets pass itself stays so.
        (&lifted, "evil.ddns.net", "listed TTTT "),
        (&lifted, "evil.no-ip.org", "free"),
        (&lifted, "innocent.no-ip.org", "free"),
        (&parts, "fine.bad.example.com", "free"),
        (&parts, "x.fine.bad.example.com", "child T-TT popular "),
        (&parts, "www.example.com", "sibling ---T popular"),
        (&parts, "a.www.example.com", "other ---T popular"),
    ] {
        let preview = Preview::of(listed, &among, AT).with_popular(popular());
        assert_eq!(said(&preview, asked), expected, "{} {asked}", listed.order.id);
    }
}

#[test]
fn an_order_stands_where_the_one_of_its_id_stood() {
    // Before `late`, though it is changed; a new one comes after it.
    let late = order("late", &scope("exact", "evil.ddns.net", ""));
    let among = loaded(&[two_names(), late.clone()], "");
    let preview = Preview::of(&two_names(), &among, AT);
    assert_eq!(said(&preview, "evil.ddns.net"), "listed TTTT njrat");
    assert_eq!(preview.facts.other_orders, 1);
    let preview = Preview::of(&two_names(), &loaded(&[late], ""), AT);
    assert_eq!(said(&preview, "evil.ddns.net"), "listed AAAA njrat");
    assert_eq!(preview.facts.other_orders, 1);
}

#[test]
fn an_order_is_judged_as_if_it_were_in_force() {
    for (window, note) in [
        ("", None),
        ("effective = 2030-01-01\n", Some("the order is not in force before 2030-01-01")),
        ("expires = 2020-01-01\n", Some("the order expired on 2020-01-01")),
        ("lifted = 2020-01-01\n", Some("the order was lifted on 2020-01-01")),
        ("lifted = true\n", Some("the order is lifted")),
        ("lifted = 2030-01-01\n", None),
        ("action = \"observe\"\n", Some("the order only observes: it is judged as if it acted")),
    ] {
        let listed = order("w", &format!("{window}{}", scope("exact", "evil.ddns.net", "")));
        let preview = Preview::of(&listed, &loaded(&[], ""), AT);
        assert_eq!(said(&preview, "evil.ddns.net"), "listed TTTT ", "{window}");
        match note {
            None => assert_eq!(preview.notes, [""; 0], "{window}"),
            Some(note) => {
                assert!(preview.notes[0].starts_with(note), "{window} {:?}", preview.notes);
                assert_eq!(preview.notes.len(), 1);
            }
        }
    }
    let listed =
        order("w", "[[scope]]\nmatch = \"exact\"\neffective = 2030-01-01\nnames = [\"evil.ddns.net\"]\n");
    let preview = Preview::of(&listed, &loaded(&[], ""), AT);
    assert_eq!(
        preview.notes,
        ["its scope 1 is not in force before 2030-01-01: it is judged as if it were in force"]
    );
    assert_eq!(said(&preview, "evil.ddns.net"), "listed TTTT ");
}

/// What is asked in the counts below: a client, a name, how often.
const ASKED: &str = "\
    1 evil.ddns.net 3
    2 evil.ddns.net 1
    2 c2.evil.ddns.net 2
    2 innocent.ddns.net 10
    3 innocent.ddns.net 10
    3 ddns.net 1
    3 deep.innocent.ddns.net 1
    3 safe.ddns.net 5
    - evil.ddns.net 1
    4 www.example.com 66";

/// Counts [`ASKED`].
fn counted(bounds: Bounds) -> Report {
    let among = loaded(&[], "safe.ddns.net");
    let preview = Preview::of(&two_names(), &among, AT)
        .with_popular(Popular::new("list", names("ddns.net hot.ddns.net")));
    let mut impact = Impact::bounded(&preview, bounds);
    for line in ASKED.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let client = words[0].parse().ok().map(|last: u8| IpAddr::from([192, 0, 2, last]));
        impact.feed(&name(words[1]), client, words[2].parse().unwrap());
    }
    impact.finish()
}

/// Queries, names, clients.
fn count(queries: u64, names: u64, clients: u64) -> Count {
    Count { queries, names, clients }
}

#[test]
fn counts() {
    let report = counted(Bounds::default());
    assert_eq!((report.asked, report.without_client), (count(100, 7, 4), 1));
    let exact = report.at_scale(Scale::Exact).unwrap();
    assert_eq!(
        (exact.taken, exact.listed, exact.collateral),
        (count(5, 1, 2), count(5, 1, 2), count(0, 0, 0))
    );
    assert_eq!(report.at_scale(Scale::Written).unwrap().taken, exact.taken);
    let subtree = report.at_scale(Scale::Subtree).unwrap();
    assert_eq!((subtree.taken, subtree.children), (count(7, 2, 2), count(2, 1, 1)));
    let zone = report.at_scale(Scale::Zone).unwrap();
    assert_eq!((zone.taken, zone.share_of_queries), (count(29, 5, 3), 0.29));
    assert_eq!(zone.share_of_names, 5.0 / 7.0);
    assert_eq!((zone.listed, zone.collateral), (count(5, 1, 2), count(24, 4, 2)));
    assert_eq!((zone.siblings, zone.children), (count(20, 1, 2), count(2, 1, 1)));
    assert_eq!((zone.parents, zone.others), (count(1, 1, 1), count(1, 1, 1)));
    assert_eq!((zone.popular, zone.suffixes), (Some(count(1, 1, 1)), count(1, 1, 1)));
    assert_eq!(
        (zone.popular_on_list, zone.first_popular.as_slice()),
        (Some(2), &["ddns.net".into(), "hot.ddns.net".into()][..])
    );
    assert_eq!(
        (zone.let_pass, zone.let_pass_by[0].key.as_deref()),
        (count(5, 1, 1), Some("protected names"))
    );
    assert_eq!((zone.triggers, zone.whole_suffixes, exact.whole_suffixes), (2, 2, 0));
    let row = |key: Option<&str>, family: &str, count| Row {
        key: key.map(str::to_string),
        family: family.into(),
        count,
    };
    assert_eq!(zone.by_name, [row(Some("ddns.net"), "", count(29, 5, 3))]);
    assert_eq!(subtree.by_name, [row(Some("evil.ddns.net"), "njrat", count(7, 2, 2))]);
    assert_eq!(zone.by_family, [row(None, "", count(22, 3, 2)), row(Some("njrat"), "", count(7, 2, 2))]);
    let first = &zone.collateral_names[0];
    assert_eq!((first.name.as_str(), first.queries, first.clients), ("innocent.ddns.net", 20, 2));
    assert_eq!(zone.collateral_names.len(), 4);
}

#[test]
fn beyond_the_bounds_queries_are_exact_and_the_rest_is_at_least() {
    let whole = counted(Bounds::default());
    for bounds in [
        Bounds { names: 1, ..Bounds::default() },
        Bounds { clients: 1, ..Bounds::default() },
        Bounds { pairs: 1, ..Bounds::default() },
        Bounds { names: 0, clients: 0, pairs: 0 },
    ] {
        let report = counted(bounds);
        assert_eq!(report.names_at_least, bounds.names < 7, "{bounds:?}");
        assert!(report.clients_at_least, "{bounds:?}");
        assert_eq!(report.asked.queries, 100);
        for (bounded, whole) in report.scales.iter().zip(&whole.scales) {
            let pairs = |scale: &ScaleReport| [scale.taken, scale.collateral, scale.siblings, scale.let_pass];
            for (bounded, whole) in pairs(bounded).iter().zip(pairs(whole)) {
                assert_eq!(bounded.queries, whole.queries, "{bounds:?}");
                assert!(bounded.names <= whole.names && bounded.clients <= whole.clients, "{bounds:?}");
            }
        }
        assert!(report.table(10).contains("lower bounds"), "{bounds:?}");
    }
    assert!(!whole.names_at_least && !whole.clients_at_least);
}

#[test]
fn collateral_is_the_sum_of_its_parts_and_a_report_survives_json() {
    let report = counted(Bounds::default());
    for scale in &report.scales {
        let parts = [scale.children, scale.parents, scale.siblings, scale.others];
        let sum = |of: fn(&Count) -> u64| parts.iter().map(of).sum::<u64>();
        assert_eq!(sum(|count| count.queries), scale.collateral.queries);
        assert_eq!(sum(|count| count.names), scale.collateral.names);
        assert_eq!(scale.listed.queries + scale.collateral.queries, scale.taken.queries);
    }
    assert_eq!(serde_json::from_str::<Report>(&report.json()).unwrap(), report);
}

#[test]
fn an_order_that_only_lets_pass_takes_nothing() {
    let listed = order(
        "p",
        &format!("action = \"passthru\"\nzones = [\"ddns.net\"]\n{}", scope("subtree", "ddns.net", "")),
    );
    let preview = Preview::of(&listed, &loaded(&[], ""), AT);
    assert_eq!(said(&preview, "x.ddns.net"), "free");
    assert_eq!(preview.notes, ["the order takes nothing: all it lists it lets pass"]);
}

/// Names of few labels, so that they meet.
fn some_name() -> impl Strategy<Value = String> {
    let label = || prop::sample::select(vec!["a", "b", "c"]);
    (prop::collection::vec(label(), 0..3), prop::sample::select(vec!["ddns.net", "example.com", "x.co.uk"]))
        .prop_map(|(labels, zone)| labels.into_iter().chain([zone]).collect::<Vec<_>>().join("."))
}

/// One or two scopes of an order, some with exceptions, some that let pass.
fn some_scopes() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec!["exact", "subtree", "subtree-below"]);
    let action = prop::sample::select(vec!["sinkhole", "nxdomain", "passthru", "observe"]);
    let part = (kind, action, prop::collection::vec(some_name(), 1..4), prop::option::of(some_name()));
    prop::collection::vec(part, 1..3).prop_map(|scopes| {
        let mut text = String::from("allow_public_suffix = true\n");
        for (kind, action, names, except) in scopes {
            text.push_str(&scope(kind, &names.join(" "), "f"));
            let _ = writeln!(text, "action = \"{action}\"");
            if let Some(except) = except {
                let _ = writeln!(text, "except = [\"{except}\"]\nexcept_match = \"subtree\"");
            }
        }
        text
    })
}

proptest! {
    /// All scales in one policy say what each says in a policy of its own.
    #[test]
    fn scales_do_not_see_each_other(
        order_text in some_scopes(),
        others in prop::collection::vec(some_scopes(), 0..3),
        place in 0..3usize,
        protected in prop::option::of(some_name()),
        asked in prop::collection::vec(some_name(), 1..20),
    ) {
        let listed = order("o", &order_text);
        let mut orders: Vec<OrderWithNames> =
            others.iter().zip(0..).map(|(text, number)| order(&format!("other-{number}"), text)).collect();
        let place = place.min(orders.len());
        orders.insert(place, listed.clone());
        let protected = protected.unwrap_or_default();
        let preview = Preview::of(&listed, &loaded(&orders, &protected), AT);
        let (base, zones) = ready(&listed);
        for (index, scale) in Scale::ALL.into_iter().enumerate() {
            orders[place] = at_scale(&base, &zones, scale);
            let alone = loaded(&orders, &protected);
            let policy = Policy::compile(&alone.zones, &alone.protected, 1);
            for text in &asked {
                let name = name(text);
                let expected = match policy.verdict(&name, AT) {
                    Verdict::Act(_, hit) if hit.order.id == "o" => Some(hit.trigger),
                    _ => None,
                };
                let found = match preview.judge(&name).map(|judged| judged.outcomes[index]) {
                    Some(Outcome::Taken(trigger, _)) => Some(trigger),
                    _ => None,
                };
                prop_assert_eq!(found, expected, "{} {:?}", text, scale);
                prop_assert_eq!(preview.takes(&name)[index], expected.is_some());
            }
        }
    }
}
