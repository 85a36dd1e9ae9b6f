//! Why a name is answered as it is: every order that lists it or an ancestor, and what became of each.
//!
//! The verdict is the policy's own. What else matched is found by looking at every listed name, one after the
//! other: slow, and independent of the structure that it explains.

use std::net::IpAddr;

use super::load::Filled;
use super::locate::Locator;
use super::time;
use crate::iana::Rtype;
use crate::name::{Name, NameList};
use crate::policy::{
    Act, Action, Asker, MatchKind, Order, OrderWithNames, Policy, Scope, ScopeNames, Servers, Stage,
    Standing, Synthesis, TriggerType, Verdict, prefix,
};
use crate::time::UnixSeconds;

/// What is to be said where a verdict on a name is not the last word.
pub const LOOKS_AT_ANSWERS: &str = "policy zones have triggers on answers and name servers: what the name leads to is judged \
                                    once it is known";

/// Everything there is to say about one name at one time.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// What policy decides.
    pub verdict: Verdict<'a>,
    /// The protected name behind the verdict, if it is one.
    pub protection: Option<Protection>,
    /// Every listed name that covers this one, the decisive one first, those not in force last.
    pub matches: Vec<Match<'a>>,
}

/// A protected name that covers the one asked for.
#[derive(Debug)]
pub struct Protection {
    /// The protected name.
    pub name: Name,
    /// How it matches.
    pub kind: MatchKind,
    /// Where it is written.
    pub file: String,
    /// The line, if the file still has it.
    pub line: Option<u32>,
}

/// A listed name that covers the one asked for.
#[derive(Debug)]
pub struct Match<'a> {
    /// The order that lists it.
    pub order: &'a Order,
    /// The scope within it.
    pub scope: &'a Scope,
    /// Position of the order's policy zone, from 0.
    pub zone: usize,
    /// The policy zone as the operator named it.
    pub zone_name: &'a str,
    /// The listed name; the name itself if a pattern matched it.
    pub trigger: Name,
    /// The pattern that matched, as written.
    pub pattern: Option<&'a str>,
    /// What the scope does.
    pub action: Action,
    /// The line in `scope.source`, if the file still has it.
    pub line: Option<u32>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It decides the answer.
    Decides,
    /// Another one comes first: why.
    Outranked(&'static str),
    /// It is counted and changes no answer.
    Observes,
    /// The name is protected.
    Protected,
    /// The scope spares the name, by this exception.
    Excepted(String),
    /// Its window begins at that time.
    NotYet(UnixSeconds),
    /// Its window ended at that time.
    Expired(UnixSeconds),
    /// It was lifted: when (none means always), and the lift's own words.
    Lifted(Option<UnixSeconds>, String),
    /// It is drafted: neither acted on nor counted.
    Drafted,
    /// Its order is held back, but for the names it lists itself.
    Held,
    /// Its policy zone is left out for the client at that time.
    LeftOut,
    /// As its zone is read, it does not speak for this query.
    Silent,
}

impl Fate {
    /// A word for machines.
    pub fn as_str(&self) -> &'static str {
        match self {
            Fate::Decides => "decides",
            Fate::Outranked(_) => "outranked",
            Fate::Observes => "observes",
            Fate::Protected => "protected",
            Fate::Excepted(_) => "excepted",
            Fate::NotYet(_) => "not-yet",
            Fate::Expired(_) => "expired",
            Fate::Lifted(..) => "lifted",
            Fate::Drafted => "drafted",
            Fate::Held => "held",
            Fate::LeftOut => "left-out",
            Fate::Silent => "silent",
        }
    }

    /// Whether the match would decide if it stood alone, but for what only observes.
    #[cfg(test)]
    fn is_in_force(&self) -> bool {
        matches!(self, Fate::Decides | Fate::Outranked(_) | Fate::Observes | Fate::Protected)
    }
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fate::Decides => f.write_str("decides"),
            Fate::Outranked(why) => f.write_str(why),
            Fate::Observes => f.write_str("observes: counted, changes no answer"),
            Fate::Protected => f.write_str("the name is protected"),
            Fate::Excepted(name) => write!(f, "spared by the exception {name}"),
            Fate::NotYet(at) => write!(f, "not in force before {}", time::show(*at)),
            Fate::Expired(at) => write!(f, "expired on {}", time::show(*at)),
            Fate::Lifted(at, words) => {
                f.write_str("lifted")?;
                if let Some(at) = at {
                    write!(f, " on {}", time::show(*at))?;
                }
                f.write_str(words)
            }
            Fate::Drafted => f.write_str("drafted: neither acted on nor counted"),
            Fate::Held => {
                f.write_str("held back, but for the names its order lists itself: counted, changes no answer")
            }
            Fate::LeftOut => f.write_str("its policy zone is left out for this client at this time"),
            Fate::Silent => f.write_str("as its policy zone is read, it does not speak for this query"),
        }
    }
}

/// What policy says of a query by all that is known before it is answered: the name and who asks.
pub fn verdict<'p>(policy: &'p Policy, asker: &Asker<'_>, name: &Name, at: UnixSeconds) -> Verdict<'p> {
    let stage = Stage { name, first: true, untouched: false, addresses: &[], servers: &Servers::default() };
    policy.judge_stage(&stage, asker, at).verdict
}

/// What the client gets, in words; `listed` says whether any order lists the name.
pub fn answer(verdict: &Verdict<'_>, qtype: Rtype, listed: bool) -> String {
    let (act, hit) = match verdict {
        Verdict::Clear if !listed => return "the truth: no order lists it".into(),
        Verdict::Clear => return "the truth: no order in force captures it".into(),
        Verdict::Protected(_) => return "the truth: the name is protected".into(),
        Verdict::Passthru(_) => return "the truth: an order says so (passthru)".into(),
        Verdict::Act(act, hit) => (act, hit),
    };
    let ttl_s = hit.ttl_s();
    match act {
        Act::Drop => "none: the query is dropped".into(),
        Act::TcpOnly => "truncated and empty over UDP, the truth over TCP".into(),
        Act::Answer(synthesis) => match synthesis {
            Synthesis::Sinkhole => format!("{}, TTL {ttl_s} s", sinkhole(hit.order, qtype)),
            Synthesis::Nodata => format!("NODATA (the name exists, without records), TTL {ttl_s} s"),
            Synthesis::Nxdomain => format!("NXDOMAIN (the name does not exist), TTL {ttl_s} s"),
            Synthesis::Refused => "REFUSED".into(),
            Synthesis::Local => "the records that the policy zone gives".into(),
        },
    }
}

/// What a sinkhole answers for a type.
fn sinkhole(order: &Order, qtype: Rtype) -> String {
    let (word, addresses): (_, Vec<String>) = match qtype {
        Rtype::A => ("A", order.sinkhole.v4.iter().map(ToString::to_string).collect()),
        Rtype::AAAA => ("AAAA", order.sinkhole.v6.iter().map(ToString::to_string).collect()),
        _ => ("", Vec::new()),
    };
    if addresses.is_empty() {
        "sinkhole, NODATA".into()
    } else {
        format!("sinkhole, {word} {}", addresses.join(", "))
    }
}

/// Explains what `policy`, compiled from `loaded` and perhaps under statements, does for who asks for `name` at `at`.
pub fn explain<'a>(
    loaded: &'a Filled,
    policy: &'a Policy,
    asker: &Asker<'_>,
    name: &Name,
    at: UnixSeconds,
) -> Explanation<'a> {
    let mut locator = Locator::of(loaded);
    let verdict = verdict(policy, asker, name, at);
    let query = Query { policy, asker, name, at, verdict: &verdict };
    let mut matches = Vec::new();
    for (zone, of) in loaded.zones.iter().enumerate() {
        for listed in &of.orders {
            for (scope, lists) in listed.scopes() {
                // A pattern stands for the very name that it matches.
                let pattern = scope.patterns.as_ref().and_then(|patterns| {
                    patterns.0.texts().get(patterns.0.first_match(name)?).map(String::as_str)
                });
                let matched = pattern.map(|pattern| (*name, Some(pattern)));
                let triggers: Vec<Name> = match (scope.on, asker.client) {
                    (TriggerType::Qname, _) => covering(&lists.names, scope.kind, name).collect(),
                    (TriggerType::ClientIp, Some(client)) => holding(&lists.names, client).collect(),
                    // What takes an answer to match is not known here.
                    _ => Vec::new(),
                };
                for (trigger, pattern) in triggers.into_iter().map(|name| (name, None)).chain(matched) {
                    let action = scope.action.unwrap_or(listed.order.action);
                    let line = match pattern {
                        Some(pattern) => locator.line_of_pattern(scope, pattern),
                        None => locator.line_in(scope, &trigger),
                    };
                    let is_listed = pattern.is_none() && scope.on == TriggerType::Qname && trigger == *name;
                    let fate = query.fate(listed, (scope, lists), zone as u16, is_listed);
                    let order = &listed.order;
                    matches.push(Match {
                        order,
                        scope,
                        zone,
                        zone_name: &of.name,
                        trigger,
                        pattern,
                        action,
                        line,
                        fate,
                    });
                }
            }
        }
    }
    rank(&mut matches, &verdict);
    Explanation { verdict, protection: protection(loaded, &verdict, name, &mut locator), matches }
}

/// Sorts matches, first what comes first by precedence, and says which decides and why the others do not.
fn rank(matches: &mut [Match<'_>], verdict: &Verdict<'_>) {
    // Whatever is meant by the trigger, the verdict is policy's.
    let decides = |found: &Match<'_>| {
        verdict.hit().is_some_and(|hit| hit.order.id == found.order.id && *hit.scope == *found.scope)
    };
    // Stable: what is equal so far keeps the order of loading, which is the last rule of precedence.
    matches.sort_by_key(|found| {
        let rank = match found.fate {
            Fate::Decides if decides(found) => 0,
            Fate::Decides | Fate::Outranked(_) | Fate::Protected => 1,
            Fate::Observes | Fate::Held => 2,
            _ => 3,
        };
        // A policy zone's passthru holds from its zone on.
        let freed = found.action != Action::Passthru || found.order.rpz.is_some();
        (rank, freed, found.zone, found.scope.on, usize::MAX - found.trigger.label_count())
    });
    let Some((first, others)) = matches.split_first_mut() else { return };
    let acts = verdict.hit().is_some();
    if first.fate == Fate::Decides && !(acts && decides(first)) {
        first.fate = Fate::Silent;
    }
    let frees = |found: &Match<'_>| found.action == Action::Passthru && found.order.rpz.is_none();
    for other in others.iter_mut().filter(|other| other.fate == Fate::Decides) {
        other.fate = if !acts {
            Fate::Silent
        } else {
            Fate::Outranked(if frees(other) != frees(first) {
                "a passthru comes first"
            } else if other.zone != first.zone {
                "its policy zone comes later"
            } else if other.scope.on != first.scope.on {
                "a trigger on the client comes first"
            } else if other.trigger != first.trigger {
                "a closer enclosing trigger comes first"
            } else {
                "an earlier order or scope of the same policy zone comes first"
            })
        };
    }
}

/// What is explained.
struct Query<'q> {
    policy: &'q Policy,
    asker: &'q Asker<'q>,
    name: &'q Name,
    at: UnixSeconds,
    verdict: &'q Verdict<'q>,
}

impl Query<'_> {
    /// What becomes of a match of a scope of an order in that policy zone, seen by itself: `Decides` if nothing speaks against
    /// it. `is_listed` says whether the trigger is the very name.
    fn fate(
        &self,
        listed: &OrderWithNames,
        (scope, lists): (&Scope, &ScopeNames),
        zone: u16,
        is_listed: bool,
    ) -> Fate {
        let Query { name, at, .. } = *self;
        let order = &listed.order;
        let action = scope.action.unwrap_or(order.action);
        let window = order.window.intersect(&scope.window);
        for lift in order.lifts.iter().filter(|lift| lift.at.is_none_or(|lifted| lifted <= at)) {
            if lift.zones.is_empty() || lift.zones.iter().any(|zone| name.is_at_or_below(zone)) {
                let by = lift.by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
                let why = lift.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
                return Fate::Lifted(lift.at, by + &why);
            }
        }
        if let Some(from) = window.effective.filter(|&from| at < from) {
            return Fate::NotYet(from);
        }
        if let Some(until) = window.expires.filter(|&until| until <= at) {
            return Fate::Expired(until);
        }
        if let Some(spared) = covering(&lists.exceptions, scope.exception_kind, name).next() {
            return Fate::Excepted(spared.to_string());
        }
        if let Some(spared) = exempting(listed, scope.important, name) {
            return Fate::Excepted(spared);
        }
        // Of the orders of one id the first is asked about; no two are loaded.
        let standing = self.policy.standing(&order.id, Some(name), at).unwrap_or_default();
        match standing {
            Standing::Lifted => return Fate::Lifted(None, " by command".into()),
            Standing::Drafted => return Fate::Drafted,
            _ if !self.asker.view.includes(zone, order) => return Fate::LeftOut,
            _ if matches!(self.verdict, Verdict::Protected(_)) => return Fate::Protected,
            Standing::Observing => return Fate::Observes,
            Standing::Held if !is_listed && action != Action::Passthru && action != Action::Observe => {
                return Fate::Held;
            }
            Standing::Held | Standing::InForce => {}
        }
        if action == Action::Observe { Fate::Observes } else { Fate::Decides }
    }
}

/// What exempts a name from an order's scopes of that rank, as its list has it.
fn exempting(listed: &OrderWithNames, important: bool, name: &Name) -> Option<String> {
    listed.exempted().filter(|(exemption, _)| exemption.reaches(important)).find_map(|(exemption, names)| {
        let listed = covering(names, exemption.kind, name).next().map(|spared| spared.to_string());
        listed.or_else(|| {
            let patterns = &exemption.patterns.as_ref()?.0;
            patterns.texts().get(patterns.first_match(name)?).cloned()
        })
    })
}

/// The listed prefixes that hold an address.
fn holding(names: &NameList, client: IpAddr) -> impl Iterator<Item = Name> {
    names.iter().filter(move |listed| {
        prefix::from_name(listed).is_ok_and(|(address, len)| {
            address.is_ipv4() == client.is_ipv4() && prefix::masked(client, len) == address
        })
    })
}

/// The names of a list that cover `name`.
fn covering(names: &NameList, kind: MatchKind, name: &Name) -> impl Iterator<Item = Name> {
    let depth = name.label_count();
    names.iter().filter(move |listed| {
        name.is_at_or_below(listed) && kind.covers(depth.saturating_sub(listed.label_count()))
    })
}

/// Where the protected name behind the verdict is written.
fn protection(
    loaded: &Filled,
    verdict: &Verdict<'_>,
    name: &Name,
    locator: &mut Locator,
) -> Option<Protection> {
    let Verdict::Protected(trigger) = verdict else { return None };
    let protected = trigger.name(name);
    let stands =
        |kind: MatchKind, names: &NameList| kind == trigger.kind && names.iter().any(|n| n == protected);
    let group = loaded.protected.iter().find(|group| stands(group.kind, &group.names))?;
    let line = locator.line(&group.source, &protected);
    Some(Protection { name: protected, kind: trigger.kind, file: group.source.clone(), line })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::order::Lift;
    use crate::policy::{PolicyZone, Protected, Window};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// An order of one scope.
    fn order(id: &str, kind: MatchKind, action: Action, names: &[&str]) -> OrderWithNames {
        let text = format!(
            "id = \"{id}\"\naction = \"{action}\"\n[[scope]]\nmatch = \"{kind}\"\nnames = {names:?}\n\
             except = [\"spared.example\"]\nexcept_match = \"exact\"\n"
        );
        let reading = crate::orders::order_file::parse(&text, "none.toml", &mut |_| unreachable!("no files"));
        reading.listed.unwrap_or_else(|| panic!("{:?}", reading.problems))
    }

    /// Policy zones of these orders, and example names that are protected.
    fn loaded(zones: Vec<Vec<OrderWithNames>>, protected: &[&str]) -> Filled {
        let zone = |orders: Vec<OrderWithNames>| PolicyZone {
            name: "zone".into(),
            orders: orders.into_iter().map(Arc::new).collect(),
        };
        let names = protected.iter().map(|text| name(text)).collect();
        let protected = vec![Protected { kind: MatchKind::Subtree, names, source: "conf".into() }];
        Filled::of(zones.into_iter().map(zone).collect(), protected)
    }

    /// Order ids and fates, as text, for a name at second 100.
    fn fates(loaded: &Filled, text: &str) -> Vec<String> {
        let policy = Policy::compile(&loaded.zones, &loaded.protected, 1);
        let explanation = explain(loaded, &policy, &Asker::ANYBODY, &name(text), 100);
        explanation.matches.iter().map(|found| format!("{}: {}", found.order.id, found.fate)).collect()
    }

    #[test]
    fn every_fate_has_its_reason() {
        use MatchKind::{Exact, Subtree};
        let sub = |id: &str, names: &[&str]| order(id, Subtree, Action::SINKHOLE, names);
        let with = |mut listed: OrderWithNames, change: fn(&mut Order)| {
            change(&mut listed.order);
            listed
        };
        let lift = |at, zones| Lift { at, by: Some("B".into()), why: Some("w".into()), zones };
        let mut partly = sub("f", &["a.example", "b.example"]);
        partly.order.lifts = vec![lift(Some(50), vec![name("a.example")])];
        let mut whole = sub("g", &["a.example"]);
        whole.order.lifts = vec![lift(None, vec![])];
        let zones = vec![
            vec![
                order("a", Exact, Action::Observe, &["x.a.example"]),
                sub("b", &["a.example", "spared.example"]),
                sub("c", &["x.a.example"]),
                sub("c2", &["x.a.example"]),
                with(sub("d", &["a.example"]), |order| order.window.effective = Some(101)),
                with(sub("e", &["a.example"]), |order| order.window.expires = Some(100)),
                partly,
                whole,
            ],
            vec![order("z", Exact, Action::SINKHOLE, &["x.a.example", "ok.safe.example"])],
            vec![order("p", Exact, Action::Passthru, &["free.a.example"])],
        ];
        let loaded = loaded(zones, &["safe.example"]);
        assert_eq!(
            fates(&loaded, "x.a.example"),
            [
                "c: decides",
                "c2: an earlier order or scope of the same policy zone comes first",
                "b: a closer enclosing trigger comes first",
                "z: its policy zone comes later",
                "a: observes: counted, changes no answer",
                "d: not in force before 1970-01-01T00:01:41Z",
                "e: expired on 1970-01-01T00:01:40Z",
                "f: lifted on 1970-01-01T00:00:50Z by B: w",
                "g: lifted by B: w",
            ]
        );
        assert_eq!(fates(&loaded, "free.a.example")[..2], ["p: decides", "b: a passthru comes first"]);
        assert_eq!(fates(&loaded, "ok.safe.example"), ["z: the name is protected"]);
        assert_eq!(fates(&loaded, "spared.example"), ["b: spared by the exception spared.example"]);
        assert_eq!(fates(&loaded, "b.example"), ["f: decides"]);
        assert_eq!(fates(&loaded, "example"), [""; 0]);
    }

    /// A few names that enclose each other in many ways.
    fn any_name() -> impl Strategy<Value = &'static str> {
        let names =
            ["x.example", "a.x.example", "b.x.example", "c.a.x.example", "spared.example", "y.example"];
        proptest::sample::select(names.to_vec())
    }

    /// Any order over these names.
    fn any_order() -> impl Strategy<Value = OrderWithNames> {
        let kinds = [MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow];
        let actions = [Action::SINKHOLE, Action::Observe, Action::Passthru, Action::DROP];
        let window = (proptest::option::of(98..103i64), proptest::option::of(98..103i64));
        let lift = proptest::option::of((proptest::option::of(98..103i64), proptest::option::of(any_name())));
        let names = proptest::collection::vec(any_name(), 1..4);
        (
            proptest::sample::select(kinds.to_vec()),
            proptest::sample::select(actions.to_vec()),
            names,
            window,
            lift,
        )
            .prop_map(|(kind, action, names, (effective, expires), lift)| {
                let mut listed = order("id", kind, action, &names);
                listed.order.window = Window { effective, expires, review_by: None };
                let zones = |zone: Option<&str>| zone.map(name).into_iter().collect();
                listed.order.lifts = lift
                    .into_iter()
                    .map(|(at, zone)| Lift { at, zones: zones(zone), ..Lift::default() })
                    .collect();
                listed
            })
    }

    proptest! {
        /// The naive scan and the compiled policy agree on who decides and on who else is in force.
        #[test]
        fn the_explanation_is_what_the_policy_does(
            zones in proptest::collection::vec(proptest::collection::vec(any_order(), 0..4), 1..3),
            asked in any_name(),
        ) {
            let mut zones = zones;
            for (index, listed) in zones.iter_mut().flatten().enumerate() {
                listed.order.id = format!("o{index}");
            }
            let loaded = loaded(zones, &[]);
            let policy = Policy::compile(&loaded.zones, &loaded.protected, 1);
            let asked = name(asked);
            let explanation = explain(&loaded, &policy, &Asker::ANYBODY, &asked, 100);
            let first = explanation.matches.first().filter(|found| found.fate == Fate::Decides);
            let hit = explanation.verdict.hit();
            prop_assert_eq!(
                first.map(|found| (found.order.id.as_str(), found.trigger, found.action)),
                hit.map(|hit| (hit.order.id.as_str(), hit.trigger.name(&asked), hit.action))
            );
            let mut in_force: Vec<&str> = explanation
                .matches.iter().filter(|found| found.fate.is_in_force()).map(|found| found.order.id.as_str()).collect();
            let mut hits: Vec<&str> = policy.hits(&asked, 100).iter().map(|hit| hit.order.id.as_str()).collect();
            in_force.sort_unstable();
            in_force.dedup();
            hits.sort_unstable();
            prop_assert_eq!(in_force, hits);
        }
    }
}
