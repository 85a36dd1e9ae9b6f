//! Scope and precedence: a table of one-liners, and random policies against a naive twin.

use std::sync::Arc;

use proptest::prelude::*;
use sinkscope::name::{Name, NameList};
use sinkscope::policy::order::Lift;
use sinkscope::policy::{
    Action, Asker, ListedScope, MatchKind, Order, OrderWithNames, Override, Policy, PolicyZone, Protected,
    Scope, Standing, Verdict, Walks, Window,
};
use sinkscope::time::UnixSeconds;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn names(text: &str) -> NameList {
    text.split_whitespace().map(name).collect()
}

/// An order with one scope.
fn order(id: &str, action: Action, kind: MatchKind, listed: &str) -> OrderWithNames {
    OrderWithNames::listing(
        Order { action, scopes: vec![Scope::new(kind)], ..Order::new(id) },
        [names(listed)],
    )
}

/// A sinkhole of a subtree less some names, which match in their own way.
fn sparing(id: &str, listed: &str, exception_kind: MatchKind, spared: &str) -> OrderWithNames {
    let scope = Scope { exception_kind, ..Scope::new(MatchKind::Subtree) };
    let scope = ListedScope { scope, names: names(listed), exceptions: names(spared) };
    OrderWithNames::new(Order::new(id), vec![scope], Vec::new())
}

fn zones(zones: Vec<Vec<OrderWithNames>>) -> Vec<PolicyZone> {
    let zone = |orders: Vec<OrderWithNames>| PolicyZone {
        name: String::new(),
        orders: orders.into_iter().map(Arc::new).collect(),
    };
    zones.into_iter().map(zone).collect()
}

/// A verdict in a word: `clear`, `protected`, `passthru ID`, `ACTION ID TRIGGER`.
fn word(policy: &Policy, query: &str, at: UnixSeconds) -> String {
    let query = name(query);
    match policy.verdict(&query, at) {
        Verdict::Clear => "clear".to_owned(),
        Verdict::Protected(_) => "protected".to_owned(),
        Verdict::Passthru(hit) => format!("passthru {}", hit.order.id),
        Verdict::Act(_, hit) => format!("{} {} {}", hit.action, hit.order.id, hit.trigger.name(&query)),
    }
}

#[test]
fn scope_kinds_capture_what_they_say() {
    use MatchKind::{Exact, Subtree, SubtreeBelow};
    let sink = Action::SINKHOLE;
    let policy = Policy::compile(
        &zones(vec![
            vec![
                order("e", sink, Exact, "evil.ddns.net x.sub.net ok.sub.net"),
                order("s", sink, Subtree, "sub.net"),
                order("b", sink, SubtreeBelow, "below.net"),
            ],
            vec![
                order("late", Action::NXDOMAIN, Exact, "evil.ddns.net only.late.net"),
                order("ok", Action::Passthru, Exact, "free.sub.net"),
                order("oks", Action::Passthru, Subtree, "tree.sub.net"),
                order("watch", Action::Observe, Subtree, "watched.net"),
                order("act", Action::NODATA, Exact, "a.watched.net"),
            ],
        ]),
        &[Protected { kind: Exact, names: names("safe.sub.net"), source: String::new() }],
        1,
    );
    for (query, expected) in [
        ("evil.ddns.net", "sinkhole e evil.ddns.net"),
        ("EVIL.ddns.NET", "sinkhole e evil.ddns.net"),
        ("good.ddns.net", "clear"),
        ("ddns.net", "clear"),
        ("child.evil.ddns.net", "clear"),
        ("notevil.ddns.net", "clear"),
        ("sub.net", "sinkhole s sub.net"),
        ("a.b.sub.net", "sinkhole s sub.net"),
        ("notsub.net", "clear"),
        // An exact rule below a subtree rule frees neither its children nor its siblings.
        ("x.sub.net", "sinkhole e x.sub.net"),
        ("y.x.sub.net", "sinkhole s sub.net"),
        ("z.sub.net", "sinkhole s sub.net"),
        ("below.net", "clear"),
        ("a.below.net", "sinkhole b below.net"),
        // Earlier zones come first.
        ("only.late.net", "nxdomain late only.late.net"),
        // A passthru covers what its own kind says, whatever zone it stands in.
        ("free.sub.net", "passthru ok"),
        ("a.free.sub.net", "sinkhole s sub.net"),
        ("tree.sub.net", "passthru oks"),
        ("a.tree.sub.net", "passthru oks"),
        ("safe.sub.net", "protected"),
        ("a.safe.sub.net", "sinkhole s sub.net"),
        ("b.watched.net", "clear"),
        ("a.watched.net", "nodata act a.watched.net"),
    ] {
        assert_eq!(word(&policy, query, 0), expected, "{query}");
    }
    let ids =
        |query: &str| policy.hits(&name(query), 0).iter().map(|hit| hit.order.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids("evil.ddns.net"), ["e", "late"]);
    assert_eq!(ids("free.sub.net"), ["ok", "s"]);
    assert_eq!(policy.observed(&name("a.watched.net"), 0).unwrap().order.id, "watch");
    assert_eq!(policy.observed(&name("a.sub.net"), 0), None);
}

#[test]
fn time_decides_what_is_in_force() {
    let window = |effective, expires| Window { effective, expires, review_by: None };
    let timed = |id: &str, listed: &str, order_window: Window, scope_window: Window, lifts: Vec<Lift>| {
        let mut listed = order(id, Action::SINKHOLE, MatchKind::Subtree, listed);
        listed.order.window = order_window;
        listed.order.scopes[0].window = scope_window;
        listed.order.lifts = lifts;
        listed
    };
    let lift =
        |at, zones: &str| Lift { at, zones: zones.split_whitespace().map(name).collect(), ..Lift::default() };
    let always = Window::ALWAYS;
    let policy = Policy::compile(
        &zones(vec![vec![
            timed("w", "w.net", window(Some(10), Some(20)), always, vec![]),
            timed("s", "s.net", window(None, Some(20)), window(Some(5), Some(30)), vec![]),
            timed("l", "l.net", always, always, vec![lift(Some(15), "")]),
            timed("g", "g.net", always, always, vec![lift(None, "")]),
            timed(
                "z",
                "a.z1.net b.z2.net notz2.net",
                always,
                always,
                vec![lift(Some(15), "z1.net"), lift(None, "z2.net")],
            ),
            timed("t", "t.net", always, always, vec![lift(Some(15), "part.t.net")]),
        ]]),
        &[],
        1,
    );
    for (query, at, captured) in [
        ("w.net", 9, false),
        ("w.net", 10, true),
        ("w.net", 19, true),
        ("w.net", 20, false),
        ("s.net", 4, false),
        ("s.net", 5, true),
        ("s.net", 20, false),
        ("l.net", 14, true),
        ("l.net", 15, false),
        ("g.net", 0, false),
        ("a.z1.net", 14, true),
        ("a.z1.net", 15, false),
        ("b.z2.net", 0, false),
        ("notz2.net", 99, true),
        // A zone below the listed name is given back: only what lies in it is free.
        ("part.t.net", 14, true),
        ("part.t.net", 15, false),
        ("a.part.t.net", 15, false),
        ("other.t.net", 15, true),
    ] {
        assert_eq!(word(&policy, query, at) != "clear", captured, "{query} at {at}");
    }
}

#[test]
fn exceptions_spare_names_from_their_own_scope_only() {
    let zone = sparing("zone", "dyn.net", MatchKind::Exact, "good.dyn.net");
    let tree = sparing("tree", "dyn.org", MatchKind::Subtree, "good.dyn.org");
    let other = order("other", Action::NODATA, MatchKind::Exact, "a.good.dyn.org");
    let policy = Policy::compile(&zones(vec![vec![zone, tree, other]]), &[], 1);
    for (query, expected) in [
        ("x.dyn.net", "sinkhole zone dyn.net"),
        ("good.dyn.net", "clear"),
        ("a.good.dyn.net", "sinkhole zone dyn.net"),
        ("good.dyn.org", "clear"),
        ("b.good.dyn.org", "clear"),
        ("a.good.dyn.org", "nodata other a.good.dyn.org"),
    ] {
        assert_eq!(word(&policy, query, 0), expected, "{query}");
    }
}

#[test]
fn a_suspended_order_is_as_if_it_were_lifted() {
    use MatchKind::{Exact, Subtree};
    let spared = sparing("spared", "spared.net", Exact, "ok.spared.net");
    let policy = Policy::compile(
        &zones(vec![
            vec![
                order("first", Action::SINKHOLE, Exact, "a.net b.net"),
                order("pass", Action::Passthru, Exact, "b.net"),
            ],
            vec![
                order("second", Action::NODATA, Subtree, "a.net b.net"),
                order("watch", Action::Observe, Exact, "w.net"),
                spared,
            ],
        ]),
        &[],
        1,
    );
    let under = |suspended: &[&str]| {
        let overrides: Vec<Override> = suspended.iter().map(|id| Override::suspension(id)).collect();
        policy.with_overrides(&overrides, 2)
    };
    let mut suspended: Vec<&str> = Vec::new();
    for (flips, query, expected) in [
        ("", "a.net", "sinkhole first a.net"),
        // What it shadowed comes to light.
        ("+first", "a.net", "nodata second a.net"),
        ("", "b.net", "passthru pass"),
        ("+pass", "b.net", "nodata second b.net"),
        ("+second", "a.net", "clear"),
        ("", "x.a.net", "clear"),
        ("-second", "x.a.net", "nodata second a.net"),
        ("-first", "b.net", "sinkhole first b.net"),
        ("-pass", "b.net", "passthru pass"),
        ("", "x.spared.net", "sinkhole spared spared.net"),
        ("+spared", "x.spared.net", "clear"),
        ("", "ok.spared.net", "clear"),
        ("-spared", "ok.spared.net", "clear"),
    ] {
        if let Some(id) = flips.get(1..) {
            match flips.starts_with('+') {
                true => suspended.push(id),
                false => suspended.retain(|other| *other != id),
            }
        }
        assert_eq!(word(&under(&suspended), query, 0), expected, "{query} after {flips:?}");
    }
    let (watch, none) = (name("w.net"), under(&["nobody"]));
    assert!(none.observed(&watch, 0).is_some() && none.is_compiled_with(&policy));
    let policy = under(&["watch"]);
    assert!(policy.observed(&watch, 0).is_none() && policy.hits(&watch, 0).is_empty());
    // Nothing is left of what is stated about its names, in whichever order both are given.
    let stated = Override {
        names: Some((name("a.net"), Exact)),
        standing: Standing::InForce,
        over_names: false,
        ..Override::suspension("first")
    };
    for overrides in
        [[stated.clone(), Override::suspension("first")], [Override::suspension("first"), stated]]
    {
        assert_eq!(word(&policy.with_overrides(&overrides, 2), "a.net", 0), "nodata second a.net");
    }
}

/// The twin: every rule of every order tried against the name, nothing clever.
fn naive(zones: &[PolicyZone], protected: &[Protected], query: &Name, at: UnixSeconds) -> String {
    let covers = |kind: MatchKind, listed: &Name| {
        query.is_at_or_below(listed)
            && match kind {
                MatchKind::Exact => query == listed,
                MatchKind::Subtree => true,
                MatchKind::SubtreeBelow => query != listed,
            }
    };
    if protected.iter().any(|list| list.names.iter().any(|listed| covers(list.kind, &listed))) {
        return "protected".to_owned();
    }
    let mut best: Option<(bool, usize, usize, usize, String)> = None;
    let mut position = 0;
    for (zone_index, zone) in zones.iter().enumerate() {
        for listed in &zone.orders {
            position += 1;
            for (scope, of) in listed.scopes() {
                let action = scope.action.unwrap_or(listed.order.action);
                let open = listed.order.window.contains(at) && scope.window.contains(at);
                if action == Action::Observe
                    || !open
                    || of.exceptions.iter().any(|name| covers(scope.exception_kind, &name))
                {
                    continue;
                }
                for name in of.names.iter().filter(|name| covers(scope.kind, name)) {
                    let lifted = listed.order.lifts.iter().any(|lift| {
                        lift.at.is_none_or(|from| from <= at)
                            && (lift.zones.is_empty()
                                || lift.zones.iter().any(|zone| query.is_at_or_below(zone)))
                    });
                    if lifted {
                        continue;
                    }
                    let id = &listed.order.id;
                    let shown = match action {
                        Action::Passthru => format!("passthru {id}"),
                        _ => format!("{action} {id} {name}"),
                    };
                    let key =
                        (action != Action::Passthru, zone_index, 127 - name.label_count(), position, shown);
                    if best.as_ref().is_none_or(|known| {
                        (key.0, key.1, key.2, key.3) < (known.0, known.1, known.2, known.3)
                    }) {
                        best = Some(key);
                    }
                }
            }
        }
    }
    best.map_or_else(|| "clear".to_owned(), |found| found.4)
}

/// Names from few labels, so that they nest and collide.
fn any_name() -> impl Strategy<Value = Name> {
    let label = prop_oneof![Just("a"), Just("b"), Just("ab"), Just("Net"), Just("x-1")];
    prop::collection::vec(label, 0..5)
        .prop_map(|labels| if labels.is_empty() { Name::ROOT } else { name(&labels.join(".")) })
}

fn any_kind() -> impl Strategy<Value = MatchKind> {
    prop_oneof![Just(MatchKind::Exact), Just(MatchKind::Subtree), Just(MatchKind::SubtreeBelow)]
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![4 => Just(Action::SINKHOLE), 1 => Just(Action::NODATA), 1 => Just(Action::Passthru), 1 => Just(Action::Observe)]
}

fn any_window() -> impl Strategy<Value = Window> {
    (prop::option::weighted(0.2, 0..4i64), prop::option::weighted(0.2, 0..4i64))
        .prop_map(|(effective, expires)| Window { effective, expires, review_by: None })
}

fn any_lift() -> impl Strategy<Value = Lift> {
    (prop::option::of(0..4i64), prop::collection::vec(any_name(), 0..2)).prop_map(|(at, zones)| Lift {
        at,
        zones,
        ..Lift::default()
    })
}

prop_compose! {
    fn any_scope()(
        kind in any_kind(), action in prop::option::weighted(0.2, any_action()), window in any_window(),
        listed in prop::collection::vec(any_name(), 1..4), spared in prop::collection::vec(any_name(), 0..2),
        exception_kind in any_kind(),
    ) -> ListedScope {
        let scope = Scope { action, window, exception_kind, ..Scope::new(kind) };
        ListedScope { scope, names: listed.into_iter().collect(), exceptions: spared.into_iter().collect() }
    }
}

prop_compose! {
    fn any_order()(
        scopes in prop::collection::vec(any_scope(), 1..3), action in any_action(), window in any_window(),
        lifts in prop::collection::vec(any_lift(), 0..2),
    ) -> OrderWithNames {
        // Most orders are not lifted, or hardly anything would ever be captured.
        let lifts = lifts.into_iter().filter(|lift| lift.at != Some(0) && lift.at.is_some()).collect();
        OrderWithNames::new(Order { action, window, lifts, ..Order::new("") }, scopes, Vec::new())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_policy_agrees_with_its_naive_twin(
        orders in prop::collection::vec(prop::collection::vec(any_order(), 0..3), 0..3),
        kept in prop::collection::vec(any_name(), 0..2), kind in any_kind(),
        queries in prop::collection::vec((any_name(), 0..5i64, prop::option::weighted(0.3, 0..9usize)), 1..20),
    ) {
        let mut zones = zones(orders);
        for (index, zone) in zones.iter_mut().enumerate() {
            for (place, listed) in zone.orders.iter_mut().enumerate() {
                Arc::make_mut(listed).order.id = format!("{index}/{place}");
            }
        }
        // The root protected as a subtree would leave nothing to see.
        let kept = kept.into_iter().filter(|name| name.label_count() > 1).collect();
        let protected = [Protected { kind, names: kept, source: String::new() }];
        let base = Policy::compile(&zones, &protected, 1);
        let (mut policy, mut suspended) = (base.clone(), Vec::new());
        // What the twin sees: zones without the orders that are suspended.
        let mut standing = zones.clone();
        let batch: Vec<Name> = queries.iter().map(|(query, ..)| *query).collect();
        let mut walks = Walks::default();
        policy.walk(&batch, &mut walks);
        for (index, (query, at, flip)) in queries.into_iter().enumerate() {
            if let Some(flip) = flip {
                let (zone, place) = (flip / 3, flip % 3);
                let id = format!("{zone}/{place}");
                match suspended.contains(&id) {
                    true => suspended.retain(|other| *other != id),
                    false => suspended.push(id),
                }
                let overrides: Vec<Override> = suspended.iter().map(|id| Override::suspension(id)).collect();
                policy = base.with_overrides(&overrides, 2 + index as u64);
                standing.clone_from(&zones);
                for zone in &mut standing {
                    zone.orders.retain(|listed| !suspended.contains(&listed.order.id));
                }
            }
            let shown = query.to_string();
            prop_assert_eq!(word(&policy, &shown, at), naive(&standing, &protected, &query, at), "{} at {}", shown, at);
            prop_assert_eq!(policy.judge_of(&walks, (index, &query), &Asker::ANYBODY, at).verdict, policy.verdict(&query, at));
            prop_assert_eq!(policy.judge_of(&walks, (index, &query), &Asker::ANYBODY, at).observed, policy.observed(&query, at));
            if let Verdict::Act(_, hit) | Verdict::Passthru(hit) = policy.verdict(&query, at) {
                let first = policy.hits(&query, at).into_iter().find(|hit| hit.action != Action::Observe);
                prop_assert_eq!(first, Some(hit), "hits begin with the verdict");
            }
        }
    }
}
