//! A policy made from the one before it is the one that would be made anew.

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::name::{Name, NameList};
use crate::policy::order::{Exemption, Lift, TriggerType, WildcardRule};
use crate::policy::{Asker, Build, ListedScope, MatchKind, Order, OrderWithNames, Scope};
use proptest::prelude::*;

/// An order as a test gives it: a letter for its id, scopes of names with exceptions, whether it is read as a zone, zones
/// lifted, names exempted.
#[derive(Clone, Debug, PartialEq)]
struct Given {
    id: u8,
    scopes: Vec<(u8, Vec<String>, Vec<String>)>,
    zone: bool,
    lifted: Vec<String>,
    exempt: Vec<String>,
}

fn kind(number: u8) -> MatchKind {
    [MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow][usize::from(number % 3)]
}

fn list(texts: &[String]) -> NameList {
    texts.iter().map(|text| text.parse::<Name>().unwrap()).collect()
}

impl Given {
    /// The order, with its names or without.
    fn listed(&self, bare: bool) -> Arc<OrderWithNames> {
        let mut order = Order::new(char::from(self.id));
        if self.zone {
            order.reading = WildcardRule::Wildcard;
        }
        let zones: Vec<Name> = list(&self.lifted).iter().collect();
        if !zones.is_empty() {
            order.lifts = vec![Lift { zones, ..Lift::default() }];
        }
        let scope = |(number, names, exceptions): &(u8, Vec<String>, Vec<String>)| ListedScope {
            scope: Scope::new(kind(*number)),
            names: list(names),
            exceptions: list(exceptions),
        };
        let exemption = Exemption { kind: MatchKind::Subtree, ..Exemption::default() };
        let exempted = vec![(exemption, list(&self.exempt))];
        let listed = OrderWithNames::new(order, self.scopes.iter().map(scope).collect(), exempted);
        Arc::new(if bare { OrderWithNames::without_names(listed.order) } else { listed })
    }
}

/// Zones of two orders each.
fn zones(orders: &[Given], bare: impl Fn(&Given) -> bool) -> Vec<PolicyZone> {
    let zone = |pair: &[Given]| PolicyZone {
        name: String::new(),
        orders: pair.iter().map(|one| one.listed(bare(one))).collect(),
    };
    orders.chunks(2).map(zone).collect()
}

fn protected(names: &[String]) -> Vec<Protected> {
    vec![Protected { kind: MatchKind::Exact, names: list(names), source: String::new() }]
}

/// All that two policies say of these names.
fn says(policy: &Policy, names: &HashSet<Name>) -> Vec<String> {
    let mut names: Vec<&Name> = names.iter().collect();
    names.sort();
    let about = |name: &&Name| {
        format!("{name} {:?} {:?}", policy.judge_name(&Asker::ANYBODY, name, 0), policy.hits(name, 0))
    };
    names.iter().map(about).collect()
}

/// What each order lists.
fn lists(policy: &Policy) -> Vec<String> {
    let sorted = |list: &NameList| {
        let mut names: Vec<Name> = list.iter().collect();
        names.sort();
        names.dedup();
        names
    };
    let shown = |listed: &OrderWithNames| {
        let all = listed.lists().map(sorted).collect::<Vec<_>>();
        format!("{} {all:?}", listed.order.id)
    };
    policy.listed(|_| true).iter().map(shown).collect()
}

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[a-c](\\.[a-c]){0,3}", 0..12)
}

fn given(id: u8) -> impl Strategy<Value = Given> {
    let scope = (0..3_u8, names(), proptest::collection::vec("[a-c](\\.[a-c]){0,3}", 0..2));
    let few = || proptest::collection::vec("[a-c](\\.[a-c]){0,2}", 0..2);
    (proptest::collection::vec(scope, 1..3), any::<bool>(), few(), few())
        .prop_map(move |(scopes, zone, lifted, exempt)| Given { id, scopes, zone, lifted, exempt })
}

/// Orders of five, each there or not.
fn orders() -> impl Strategy<Value = Vec<Given>> {
    let maybe = |id| proptest::option::weighted(0.8, given(id));
    (maybe(b'v'), maybe(b'w'), maybe(b'x'), maybe(b'y'), maybe(b'z'))
        .prop_map(|(v, w, x, y, z)| [v, w, x, y, z].into_iter().flatten().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_policy_made_from_another_is_the_one_made_anew(
        before in orders(),
        news in orders(),
        stay in any::<[bool; 5]>(),
        safe in (names(), names()),
    ) {
        // What stays is as it was; the others are new, gone, or changed.
        let is_kept = |id: u8| stay[usize::from(id - b'v')];
        let mut after: Vec<Given> = before.iter().filter(|one| is_kept(one.id)).cloned().collect();
        after.extend(news.into_iter().filter(|one| !is_kept(one.id)));
        after.sort_by_key(|one| one.id);
        let stays = |id: &str| before.iter().any(|one| is_kept(one.id) && id == char::from(one.id).to_string());
        let old = Policy::compile(&zones(&before, |_| false), &protected(&safe.0), 1);
        let fresh = Policy::build(&zones(&after, |_| false), &protected(&safe.1), &Build { epoch: 2, ..Build::default() });
        let bare = zones(&after, |one| is_kept(one.id));
        let Some(made) = old.recompile(&bare, &protected(&safe.1), stays, 2) else { return Ok(()) };
        let mut asked: HashSet<Name> = HashSet::new();
        for (name, _) in old.compiled.trie.iter().chain(fresh.compiled.trie.iter()) {
            asked.extend(name.parent());
            let mut below = Name::ROOT;
            let _ = [&b"q"[..]].into_iter().chain(name.labels()).try_for_each(|label| below.push_label(label));
            asked.extend([name, below]);
        }
        prop_assert_eq!(says(&made, &asked), says(&fresh, &asked));
        prop_assert_eq!(lists(&made), lists(&fresh));
        prop_assert_eq!((made.name_count(), made.epoch()), (fresh.name_count(), 2));
        prop_assert!(made.compiled.sets.iter().all(|set| set.is_sorted_by(|one, next| one < next)));
        // What it is made of can be kept, and made of again.
        let kept = made.kept();
        prop_assert!(kept.trie.census(kept.sets.len()).is_some());
        let none = protected(&[]);
        let all_bare = zones(&after, |_| true);
        prop_assert!(Policy::restore(&all_bare, &none, 3, kept).is_some());
        if let Some(again) = made.recompile(&all_bare, &none, |_| true, 3) {
            prop_assert_eq!(lists(&again), lists(&fresh));
        }
    }
}

#[test]
fn an_order_that_is_not_what_it_was_is_not_taken_over() {
    let scope = |names: &[&str]| (0, names.iter().map(|name| (*name).to_owned()).collect(), Vec::new());
    let given = |id: u8, names: &[&str]| Given {
        id,
        scopes: vec![scope(names)],
        zone: false,
        lifted: Vec::new(),
        exempt: Vec::new(),
    };
    let many: Vec<String> = (0..100).map(|number| format!("n{number}.a")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let orders = [given(b'v', &many), given(b'w', &["x.b"])];
    let old = Policy::compile(&zones(&orders, |_| false), &[], 1);
    let stays = |id: &str| id == "v";
    let make = |orders: &[Given]| old.recompile(&zones(orders, |one| one.id == b'v'), &[], stays, 2);
    assert!(make(&orders).is_some());
    let more = [orders[0].clone(), given(b'w', &["x.b", "y.b"]), given(b'x', &["z.c"])];
    assert_eq!(make(&more).unwrap().name_count(), 103);
    // Gone, with another kind of scope, with one more, under another title.
    assert!(make(&orders[1..]).is_none());
    let mut other = orders.clone();
    other[0].scopes[0].0 = 1;
    assert!(make(&other).is_none());
    let mut other = orders.clone();
    other[0].scopes.push(scope(&[]));
    assert!(make(&other).is_none());
    let mut other = orders.clone();
    other[0].lifted.push("a".into());
    assert!(make(&other).is_none());
    // More than a trie that was made for others holds.
    let many: Vec<String> = (0..100).map(|number| format!("n{number}.b")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(make(&[orders[0].clone(), given(b'w', &many)]).is_none());
    // A policy that nothing is known of, and triggers on addresses.
    assert!(Policy::empty().recompile(&zones(&orders, |one| one.id == b'v'), &[], stays, 2).is_none());
    let by_address = |on: TriggerType, names: &[&str]| {
        let mut listed = (*given(b'y', names).listed(false)).clone();
        listed.order.scopes[0].on = on;
        PolicyZone { name: String::new(), orders: vec![Arc::new(listed)] }
    };
    let with = |zone: PolicyZone, bare: bool| {
        let mut all = zones(&orders, |one| bare && one.id == b'v');
        all.push(zone);
        all
    };
    let old =
        Policy::compile(&with(by_address(TriggerType::ResponseIp, &["24.0.2.0.192.rpz-ip"]), false), &[], 1);
    let zone = by_address(TriggerType::ResponseIp, &["24.0.2.0.192.rpz-ip"]);
    let made = old.recompile(&with(zone, true), &[], |id| id == "v" || id == "y", 2).unwrap();
    let address = "192.0.2.77".parse().unwrap();
    assert!(made.lists_address(TriggerType::ResponseIp, address) && made.looks_at_answers());
    let made = old.recompile(&zones(&orders, |one| one.id == b'v'), &[], stays, 2).unwrap();
    assert!(!made.lists_address(TriggerType::ResponseIp, address) && !made.looks_at_answers());
}
