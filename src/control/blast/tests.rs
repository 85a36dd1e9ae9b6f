//! What is held back and what never is, over samples that are made up.

use super::*;
use crate::control::active_policy::Change;
use crate::control::journal::Journal;
use crate::name::NameList;
use crate::orders::LoadedOrder;
use crate::policy::{IssuerKind, MatchKind, OrderWithNames, PolicyZone, Scope, State, View};
use crate::resolver::Current;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A scope: how it matches, and its names.
type Scoped<'t> = (MatchKind, &'t [&'t str]);

/// Orders of these ids, kinds and scopes.
fn listed(orders: &[(&str, IssuerKind, &[Scoped<'_>])]) -> Vec<Arc<OrderWithNames>> {
    let listed = |(id, kind, scopes): &(&str, IssuerKind, &[Scoped<'_>])| {
        let mut order = Order::new(*id);
        order.authority.kind = *kind;
        order.scopes = scopes.iter().map(|(kind, _)| Scope::new(*kind)).collect();
        let names = scopes
            .iter()
            .map(|(_, names)| names.iter().map(|text| text.parse::<Name>().unwrap()).collect::<NameList>());
        Arc::new(OrderWithNames::listing(order, names))
    };
    orders.iter().map(listed).collect()
}

fn policy(orders: &[Arc<OrderWithNames>], epoch: u64) -> Policy {
    Policy::compile(&[PolicyZone { name: "z".into(), orders: orders.to_vec() }], &[], epoch)
}

/// The number of a client as its address.
fn client(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 | number).into()
}

/// A sample of what each of so many `clients` asks in `rounds`: a name for each client and round.
fn sample(clients: u32, rounds: u32, name: impl Fn(u32, u32) -> String) -> Recent {
    let recent = Recent::new(1 << 16, 1);
    let mut recorder = recent.recorder();
    for round in 0..rounds {
        for number in 0..clients {
            recorder.note(|| name(number, round).parse().ok(), client(number));
        }
    }
    recent
}

/// One client in ten asks for names below `big.test`, and for the zone itself; the others ask for other names.
fn a_tenth(number: u32, round: u32) -> String {
    match (number % 10, round % 4) {
        (0, 0) => "big.test".into(),
        (0, _) => format!("n{}.big.test", round % 50),
        _ => format!("n{}.other.test", round % 50),
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn what_newly_takes_too_much_beyond_what_it_lists_is_told() {
    use MatchKind::{Exact, Subtree, SubtreeBelow};
    let own = |scopes: &[Scoped<'_>]| policy(&listed(&[("o", IssuerKind::Operator, scopes)]), 1);
    let (none, big) = (own(&[]), own(&[(Subtree, &["big.test"])]));
    let more = own(&[(Subtree, &["big.test", "n1.other.test"])]);
    let all_names: Vec<String> =
        (0..50).map(|n| format!("n{n}.big.test")).chain(["big.test".into()]).collect();
    let all_names: Vec<&str> = all_names.iter().map(String::as_str).collect();
    let exact = own(&[(Exact, &all_names)]);
    let both = own(&[(Exact, &all_names), (Subtree, &["big.test"])]);
    let below = own(&[(SubtreeBelow, &["big.test"])]);
    let not_ready = Policy::not_ready();
    for (what, clients, rounds, percent, now, next, guarded, expected) in [
        ("a tenth is over a twentieth", 1000, 200, 5, &none, &big, true, 1),
        ("and so it is without the zone itself", 1000, 200, 5, &none, &below, true, 1),
        ("and under a fifth", 1000, 200, 20, &none, &big, true, 0),
        ("too little is known", 100, 200, 5, &none, &big, true, 0),
        ("no limit", 1000, 200, 100, &none, &big, true, 0),
        ("not guarded", 1000, 200, 5, &none, &big, false, 0),
        ("names listed one by one are what was ordered", 1000, 200, 5, &none, &exact, true, 0),
        ("also where a subtree holds them, too", 1000, 200, 5, &none, &both, true, 0),
        ("what was taken before is nothing new", 1000, 200, 5, &big, &more, true, 0),
        ("a lift takes nothing", 1000, 200, 5, &big, &none, true, 0),
        ("nothing was in force before", 1000, 200, 5, &not_ready, &big, true, 0),
    ] {
        let limit = BlastLimit::new(sample(clients, rounds, a_tenth), percent, HOUR);
        assert_eq!(limit.exceeded(now, next, |_| guarded, 0).len(), expected, "{what}");
    }
    let limit = BlastLimit::new(sample(1000, 200, a_tenth), 5, HOUR);
    let blast = limit.exceeded(&none, &big, |_| true, 0).remove(0);
    let (clients, all) = blast.clients;
    assert!(blast.order == "o" && all <= 1000 && (80..=100).contains(&clients), "{blast:?}");
    assert!(limit.why(&blast).ends_with("the blast limit is 5 %"), "{}", limit.why(&blast));
}

#[test]
fn who_floods_is_one_client() {
    let own =
        |names: &[&str]| policy(&listed(&[("o", IssuerKind::Operator, &[(MatchKind::Subtree, names)])]), 1);
    let (none, bad) = (own(&[]), own(&["bad.test"]));
    // Of a hundred clients two are bots: each asks as much as all others together, ever new names below one zone.
    let recent = Recent::new(1 << 16, 1);
    let mut recorder = recent.recorder();
    for query in 0..400_000_u32 {
        let name = || match query % 3 {
            0 => format!("www{}.other.test", query % 700),
            _ => format!("x{query}.bad.test"),
        };
        let number = if query % 3 == 0 { query / 3 % 98 } else { 98 + query % 2 };
        recorder.note(|| name().parse().ok(), client(number));
    }
    assert_eq!(BlastLimit::new(recent, 10, HOUR).exceeded(&none, &bad, |_| true, 0), []);

    // A client with a /64 of its own, and another address for each query, is still one.
    let recent = Recent::new(1 << 16, 1);
    let mut recorder = recent.recorder();
    for query in 0..400_000_u32 {
        let bot = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(query)).into();
        let (text, who) = match query % 2 {
            0 => (format!("www{}.other.test", query % 700), client(query / 2 % 20)),
            _ => (format!("x{query}.bad.test"), bot),
        };
        recorder.note(|| text.parse().ok(), who);
    }
    let limit = BlastLimit::new(recent, 10, HOUR);
    assert_eq!(limit.exceeded(&none, &bad, |_| true, 0), []);
}

#[test]
fn in_a_small_house_what_each_asks_for_counts() {
    let own = |names: &[&str]| policy(&listed(&[("o", IssuerKind::User, &[(MatchKind::Subtree, names)])]), 1);
    let none = own(&[]);
    // Three clients, sixty names each; one in a hundred queries is for an advertiser.
    let recent = sample(3, 60_000, |_, round| match round % 60 {
        0 => "ads.tracker.test".into(),
        other => format!("n{other}.com"),
    });
    for (zone, expected) in [("tracker.test", 0), ("com", 1)] {
        let limit = BlastLimit::new(recent.clone(), 10, HOUR);
        assert_eq!(limit.exceeded(&none, &own(&[zone]), |_| true, 0).len(), expected, "{zone}");
    }
}

/// Orders in force under a journal, and a limit of 5 % over a tenth that asks for `big.test`.
struct Bench {
    policy: Arc<Current>,
    active: ActivePolicy,
    limit: BlastLimit,
}

impl Bench {
    fn new(journal: Journal) -> Bench {
        let policy = Current::of(Policy::empty());
        let active = ActivePolicy::new(policy.clone(), journal);
        Bench { policy, active, limit: BlastLimit::new(sample(1000, 200, a_tenth), 5, HOUR) }
    }

    /// Puts these orders in force as a reload does; gives back what it says.
    fn load(&self, orders: &[Arc<OrderWithNames>], at: UnixSeconds) -> Vec<String> {
        let next = policy(orders, self.active.next_epoch());
        let ids = orders.iter().map(|listed| listed.order.id.as_str()).collect();
        let said = self.limit.guard(&self.active, &next, &ids, at);
        let held = orders.iter().map(|listed| {
            Arc::new(LoadedOrder { order: listed.order.clone(), names: 1, digest: 0, examples: Vec::new() })
        });
        self.active.put(Arc::new(next), held.collect());
        said.iter().map(ToString::to_string).collect()
    }

    /// Whether `big.test`, a name below it, and `listed.test` are acted on at `at`, and whether the second is counted.
    fn acts(&self, at: UnixSeconds) -> ([bool; 3], bool) {
        let policy = self.policy.policy();
        let name = |text: &str| text.parse::<Name>().unwrap();
        let names = ["big.test", "n1.big.test", "listed.test"].map(name);
        // By name alone, and as a worker's own path asks.
        let acts = names.map(|name| matches!(policy.verdict(&name, at), Verdict::Act(..)));
        let mut walks = crate::policy::Walks::default();
        policy.walk(&names, &mut walks);
        let asker = crate::policy::Asker { view: &View::ALL, ..crate::policy::Asker::ANYBODY };
        let hot = [0, 1, 2].map(|index| {
            matches!(policy.judge_of(&walks, (index, &names[index]), &asker, at).verdict, Verdict::Act(..))
        });
        assert_eq!(acts, hot, "at {at}");
        (acts, policy.observed(&names[1], at).is_some())
    }
}

/// What an order of that kind lists in these tests.
fn order(kind: IssuerKind) -> Vec<Arc<OrderWithNames>> {
    listed(&[("o", kind, &[(MatchKind::Subtree, &["big.test"]), (MatchKind::Exact, &["listed.test"])])])
}

#[test]
fn a_hold_keeps_back_what_is_not_listed_and_ends_by_itself() {
    let at = 1_000_000;
    for kind in [IssuerKind::Operator, IssuerKind::User] {
        let bench = Bench::new(Journal::in_memory());
        let said = bench.load(&order(kind), at);
        assert!(said.len() == 1 && said[0].contains("held back until 1970-01-12T14:46:40Z"), "{said:?}");
        let held = ([true, false, true], true);
        let in_full = ([true; 3], false);
        for (second, expected) in [(at - 1, in_full), (at, held), (at + 3599, held), (at + 3600, in_full)] {
            assert_eq!(bench.acts(second), expected, "{kind} at {second}");
        }
        let state = |at| bench.policy.policy().states(at).next().map(|(_, state)| state);
        assert_eq!((state(at), state(at + 3600)), (Some(State::Held), Some(State::InForce)));

        // Another reload changes nothing, and says nothing again.
        assert_eq!(bench.load(&order(kind), at + 10), [""; 0]);
        assert_eq!((bench.acts(at + 10), bench.acts(at + 3600)), (held, in_full));
        // It is forgotten when it is over, and does not come back the same day, however the file changes.
        assert_eq!(bench.active.lapse(at + 3599), []);
        assert_eq!(bench.active.lapse(at + 3600).len(), 1);
        assert!(bench.active.seen().stated.is_empty());
        bench.load(&[], at + 4000);
        let said = bench.load(&order(kind), at + 5000);
        assert!(said.len() == 1 && said[0].contains("it was held back already today"), "{said:?}");
        assert_eq!(bench.acts(at + 5000), in_full);
        bench.load(&[], at + 6000);
        assert!(bench.load(&order(kind), at + 86_400)[0].contains("held back until"));
    }
}

#[test]
fn what_is_ordered_from_outside_acts_at_its_second() {
    let at = 1_000_000;
    for kind in [IssuerKind::Court, IssuerKind::LawEnforcement, IssuerKind::Registry] {
        let bench = Bench::new(Journal::in_memory());
        let said = bench.load(&order(kind), at);
        assert!(said.len() == 1 && said[0].contains("is not held back"), "{said:?}");
        assert_eq!(bench.acts(at), ([true; 3], false), "{kind}");
        assert!(bench.active.seen().stated.is_empty());
        // Not even if a hold is on record, of the time when it was thought of as somebody's own.
        bench.active.hold("o", at + 3600, "", at).unwrap();
        assert_eq!(bench.acts(at), ([true; 3], false), "{kind}");
    }
}

#[test]
fn people_have_the_last_word() {
    let at = 1_000_000;
    for (verb, expected) in [
        (Verb::Activate, ([true; 3], false)),
        (Verb::Restore, ([true; 3], false)),
        (Verb::Lift, ([false; 3], false)),
    ] {
        let bench = Bench::new(Journal::in_memory());
        bench.load(&order(IssuerKind::Operator), at);
        let (who, by, why) = ("local".into(), String::new(), String::new());
        let change = Change { order: "o".into(), verb, names: Vec::new(), who, by, why, ahead: false };
        bench.active.change(&change, at + 1).unwrap();
        assert_eq!(bench.acts(at + 1), expected, "{verb}");
        assert_eq!(bench.load(&order(IssuerKind::Operator), at + 2), [""; 0]);
        assert_eq!(bench.acts(at + 2), expected, "{verb}");
    }
}

#[test]
fn after_a_restart_a_hold_goes_on_for_what_is_left_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = 1_000_000;
    let bench = Bench::new(Journal::open(folder.path(), at).unwrap().0);
    bench.load(&order(IssuerKind::Operator), at);
    drop(bench);
    let (journal, problems) = Journal::open(folder.path(), at + 100).unwrap();
    assert_eq!(problems, []);
    let bench = Bench::new(journal);
    assert_eq!(bench.load(&order(IssuerKind::Operator), at + 100), [""; 0]);
    let (held, in_full) = (([true, false, true], true), ([true; 3], false));
    assert_eq!((bench.acts(at + 3599), bench.acts(at + 3600)), (held, in_full));
}
