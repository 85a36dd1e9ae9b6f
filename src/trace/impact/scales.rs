//! One order at several scopes, compiled beside all others.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use crate::name::{Name, NameList};
use crate::orders::suffix::{Covers, covers, delegated};
use crate::orders::{self, Filled, names, time};
use crate::policy::{
    Action, Bound, ListedScope, MatchKind, Order, OrderWithNames, Policy, PolicyZone, Scope, Window,
};
use crate::time::UnixSeconds;

/// How far an order reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// As it is written.
    Written,
    /// Every listed name itself and nothing else.
    Exact,
    /// Every listed name and all below it.
    Subtree,
    /// The whole zones that the listed names lie in.
    Zone,
}

/// How many scales there are.
pub(super) const SCALES: usize = 4;

impl Scale {
    /// Every scale, from the left of the table to its right.
    pub const ALL: [Scale; SCALES] = [Scale::Written, Scale::Exact, Scale::Subtree, Scale::Zone];

    /// What people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Scale::Written => "as written",
            Scale::Exact => "exact",
            Scale::Subtree => "subtree",
            Scale::Zone => "zone",
        }
    }
}

/// Popular names, for whom it would be a pity.
#[derive(Debug)]
pub struct Popular {
    /// Where they were read.
    pub source: String,
    /// The names.
    pub(super) names: NameList,
    /// The same, to be looked up.
    pub(super) index: Policy,
}

impl Popular {
    /// These names, from there.
    pub fn new(source: impl Into<String>, names: NameList) -> Popular {
        let index = index("popular", vec![ListedScope::new(Scope::new(MatchKind::Exact), names.clone())]);
        Popular { source: source.into(), names, index }
    }

    /// The names in a file's octets, one a line; lines that are none are passed over.
    pub fn parse(source: impl Into<String>, list: &[u8]) -> Popular {
        Popular::new(source, names::Names::new(list).filter_map(|(_, name)| name.ok()).collect())
    }

    /// How many names.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// An order made ready to be judged at every scale.
#[derive(Debug)]
pub struct Preview {
    /// What is to be said about the order.
    pub(super) facts: Facts,
    /// The time at which the other orders are judged.
    pub(super) at: UnixSeconds,
    /// The other orders, and the order once for each scale.
    pub(super) policy: Policy,
    /// The ids that the order has in `policy`, by scale.
    pub(super) ids: [String; SCALES],
    /// Every listed name as a subtree: finds the closest one that encloses a name, and its family.
    pub(super) lists: Policy,
    /// What encloses listed names: scope 0 their parents, scope 1 what is above.
    pub(super) around: Policy,
    /// What each scale takes of the Public Suffix List.
    pub(super) reaches: [Reach; SCALES],
    /// Names for whom it would be a pity, if any were given.
    pub(super) popular: Option<Popular>,
    /// What is to be known about all this.
    pub(super) notes: Vec<String>,
}

/// What a scale is made of.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// Distinct names that capture.
    pub(super) triggers: u64,
    /// Those of them that take a whole public suffix, or several below them.
    pub(super) suffixes: Vec<Name>,
}

impl Preview {
    /// The order among those in `loaded`, as of `at`. An order of the same id there is replaced in its place; if there is
    /// none, the order comes after all of them, as a policy zone of its own. Whatever its windows and lifts say, the order is
    /// judged as if it were in force: that is what a preview is for.
    pub fn of(listed: &OrderWithNames, loaded: &Filled, at: UnixSeconds) -> Preview {
        let mut notes = not_in_force(&listed.order, at);
        let (base, zones) = ready(listed);
        let ids = Scale::ALL.map(|scale| format!("{} {}", base.order.id, scale.as_str()));
        let mut reaches: [Reach; SCALES] = Default::default();
        let variants: Vec<Arc<OrderWithNames>> = Scale::ALL
            .iter()
            .zip(&ids)
            .zip(&mut reaches)
            .map(|((scale, id), reach)| {
                let mut variant = at_scale(&base, &zones, *scale);
                variant.order.id.clone_from(id);
                *reach = Reach::of(&variant);
                Arc::new(variant)
            })
            .collect();
        let (orders, replaced) = among(&loaded.zones, &base.order.id, &variants);
        if let Some(source) = replaced.filter(|source| *source != base.order.source) {
            notes.push(format!("it stands in the place of the configured order of that id ({source})"));
        }
        let written = |scope| action(&listed.order, scope);
        if listed.order.scopes.iter().any(|scope| written(scope) == Action::Observe) {
            notes.push("the order only observes: it is judged as if it acted".into());
        }
        if captured(&base).next().is_none() {
            notes.push("the order takes nothing: all it lists it lets pass".into());
        }
        let facts = Facts {
            other_orders: loaded.orders.saturating_sub(usize::from(replaced.is_some())) as u64,
            protected_names: loaded.protected.iter().map(|group| group.names.len() as u64).sum(),
            ..Facts::of(&base.order, captured(&base).map(|(_, names)| names), &zones)
        };
        Preview {
            facts,
            at,
            policy: orders::compile(&orders, &loaded.protected, 1),
            ids,
            lists: lists(&base),
            around: around(&base),
            reaches,
            popular: None,
            notes,
        }
    }

    /// The same, with popular names to look for.
    #[must_use]
    pub fn with_popular(mut self, popular: Popular) -> Preview {
        self.popular = Some(popular);
        self
    }

    /// The first bound of a policy that was met: a preview that lacks something is of no use.
    pub fn left_out(&self) -> Option<Bound> {
        self.policy.left_out().iter().chain(self.lists.left_out()).map(|one| one.bound).next()
    }
}

impl Reach {
    /// What an order takes.
    fn of(listed: &OrderWithNames) -> Reach {
        let mut seen: HashSet<Box<[u8]>> = HashSet::new();
        let mut reach = Reach::default();
        let mut suffixes = HashSet::new();
        for (scope, names) in captured(listed) {
            for name in names.iter() {
                seen.insert(name.as_wire().into());
                let whole = scope.kind != MatchKind::Exact && covers(&name) != Covers::Nothing;
                if whole && suffixes.insert(name) {
                    reach.suffixes.push(name);
                }
            }
        }
        reach.triggers = seen.len() as u64;
        reach
    }
}

/// The order as it is judged, and its whole zones.
pub(super) fn ready(listed: &OrderWithNames) -> (OrderWithNames, Vec<Name>) {
    let base = in_force(listed);
    let zones = zones(&base);
    (base, zones)
}

/// What a scope of an order does.
fn action(order: &Order, scope: &Scope) -> Action {
    scope.action.unwrap_or(order.action)
}

/// Whether a scope of an order captures names, once it is in force.
fn captures(order: &Order, scope: &Scope) -> bool {
    action(order, scope) != Action::Passthru
}

/// Says why an order, or part of it, is not in force at `at`.
fn not_in_force(order: &Order, at: UnixSeconds) -> Vec<String> {
    let mut why = Vec::new();
    let mut window = |what: &str, window: &Window| {
        if let Some(from) = window.effective.filter(|from| *from > at) {
            why.push(format!("{what} is not in force before {}", time::show(from)));
        } else if let Some(until) = window.expires.filter(|until| *until <= at) {
            why.push(format!("{what} expired on {}", time::show(until)));
        }
    };
    window("the order", &order.window);
    for (scope, number) in order.scopes.iter().zip(1..) {
        window(&format!("its scope {number}"), &scope.window);
    }
    if let Some(lift) = order.lifted(at) {
        why.push(match lift.at {
            Some(lifted) => format!("the order was lifted on {}", time::show(lifted)),
            None => "the order is lifted".into(),
        });
    }
    why.iter().map(|why| format!("{why}: it is judged as if it were in force")).collect()
}

/// The same order, acting and in force at any time. Zones given back stay so: they are no longer part of its scope.
fn in_force(listed: &OrderWithNames) -> OrderWithNames {
    let mut listed = listed.clone();
    let order = &mut listed.order;
    order.window = Window::ALWAYS;
    order.lifts.retain(|lift| !lift.zones.is_empty());
    for scope in &mut order.scopes {
        scope.window = Window::ALWAYS;
        let written = scope.action.unwrap_or(order.action);
        scope.action = Some(if written == Action::Observe { Action::SINKHOLE } else { written });
    }
    listed
}

/// The whole zones of an order: those it names, else those that registries delegate and its names lie in.
fn zones(listed: &OrderWithNames) -> Vec<Name> {
    if captured(listed).next().is_none() {
        return Vec::new();
    }
    if !listed.order.zones.is_empty() {
        return listed.order.zones.clone();
    }
    let mut seen = HashSet::new();
    captured(listed)
        .flat_map(|(_, names)| names.iter())
        .map(|name| delegated(&name))
        .filter(|zone| seen.insert(*zone))
        .collect()
}

/// The scopes that capture, and their names.
fn captured(listed: &OrderWithNames) -> impl Iterator<Item = (&Scope, &NameList)> {
    let capturing = listed.scopes().filter(|(scope, _)| captures(&listed.order, scope));
    capturing.map(|(scope, of)| (scope, &of.names))
}

/// The order at a scale. What it spares and lets pass stays so at every scale.
pub(super) fn at_scale(base: &OrderWithNames, zones: &[Name], scale: Scale) -> OrderWithNames {
    match scale {
        Scale::Written => base.clone(),
        Scale::Exact | Scale::Subtree => {
            let kind = if scale == Scale::Exact { MatchKind::Exact } else { MatchKind::Subtree };
            let mut variant = base.clone();
            let scopes = variant.order.scopes.iter_mut();
            scopes.filter(|scope| captures(&base.order, scope)).for_each(|scope| scope.kind = kind);
            variant
        }
        Scale::Zone => {
            // The zones are one scope, and an exception spares from its own scope only. So here exceptions are names to let
            // pass, which says the same as long as nothing but this order is asked.
            let pass = |kind| Scope { action: Some(Action::Passthru), ..Scope::new(kind) };
            let taking = Scope { action: Some(Action::SINKHOLE), ..Scope::new(MatchKind::Subtree) };
            let mut scopes = vec![ListedScope::new(taking, zones.iter().copied().collect())];
            scopes.extend(base.scopes().map(|(scope, of)| match captures(&base.order, scope) {
                true => ListedScope::new(pass(scope.exception_kind), of.exceptions.clone()),
                false => ListedScope::new(scope.clone(), of.names.clone()),
            }));
            let exempted = base.exempted().map(|(exemption, names)| (exemption.clone(), names.clone()));
            OrderWithNames::new(base.order.clone(), scopes, exempted.collect())
        }
    }
}

/// The policy zones with the order's variants in its place, and the file of the order that stood there.
fn among<'z>(
    zones: &'z [PolicyZone],
    id: &str,
    variants: &[Arc<OrderWithNames>],
) -> (Vec<PolicyZone>, Option<&'z str>) {
    let mut replaced = None;
    let mut among: Vec<PolicyZone> = Vec::with_capacity(zones.len() + 1);
    for zone in zones {
        let mut orders = Vec::with_capacity(zone.orders.len() + variants.len());
        for listed in &zone.orders {
            if listed.order.id == id {
                replaced = Some(listed.order.source.as_str());
                orders.extend_from_slice(variants);
            } else {
                orders.push(listed.clone());
            }
        }
        among.push(PolicyZone { name: zone.name.clone(), orders });
    }
    if replaced.is_none() {
        among.push(PolicyZone { name: "the order".into(), orders: variants.to_vec() });
    }
    (among, replaced)
}

/// Every name that an order captures by, as a subtree, with its family.
fn lists(listed: &OrderWithNames) -> Policy {
    let scopes = captured(listed).map(|(scope, names)| {
        let scope = Scope { family: scope.family.clone(), ..Scope::new(MatchKind::Subtree) };
        ListedScope::new(scope, names.clone())
    });
    index("lists", scopes.collect())
}

/// What encloses the names of an order: their parents, and what is above those.
fn around(listed: &OrderWithNames) -> Policy {
    // Whether it is the parent of a listed name, by wire form. Names have few parents.
    let mut found: HashMap<Box<[u8]>, bool> = HashMap::new();
    for name in captured(listed).flat_map(|(_, names)| names.iter()) {
        let Some(parent) = name.parent() else { continue };
        if found.insert(parent.as_wire().into(), true).is_some() {
            continue;
        }
        let mut above = parent.parent();
        while let Some(name) = above {
            found.entry(name.as_wire().into()).or_insert(false);
            above = name.parent();
        }
    }
    let list = |wanted: bool| -> NameList {
        let names = found.iter().filter(|(_, parent)| **parent == wanted);
        names.filter_map(|(wire, _)| Name::from_wire(wire).ok()).collect()
    };
    let scope = |parent| ListedScope::new(Scope::new(MatchKind::Exact), list(parent));
    index("around", vec![scope(true), scope(false)])
}

/// Names compiled for looking up, in scopes.
fn index(id: &str, scopes: Vec<ListedScope>) -> Policy {
    let listed = OrderWithNames::new(Order::new(id), scopes, Vec::new());
    let zone = PolicyZone { name: id.into(), orders: vec![Arc::new(listed)] };
    orders::compile(&[zone], &[], 0)
}
