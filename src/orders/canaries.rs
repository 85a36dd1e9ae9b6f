//! Canaries: innocent names that an order promises not to touch. One that it lists itself is a mistake in either place.

use std::collections::HashMap;

use crate::name::{MAX_NAME_LEN, Name};
use crate::policy::{Action, ListedScope};

/// Canaries of one order: a few siblings show whether it strays, and each is asked for again and again.
pub const MAX_CANARIES: usize = 64;

/// What of the order captures each canary, in words, if anything does: `action` is that of scopes without their own.
/// Windows are not looked at: what will be captured one day is no canary.
///
/// Goes through all names once, whatever the number of canaries, and not at all without any.
pub fn captured(canaries: &[Name], action: Action, scopes: &[ListedScope]) -> Vec<Option<String>> {
    let mut found = vec![None; canaries.len()];
    if canaries.is_empty() {
        return found;
    }
    let over = Over::new(canaries);
    for ListedScope { scope, names, exceptions } in scopes {
        if matches!(scope.action.unwrap_or(action), Action::Passthru | Action::Observe) {
            continue;
        }
        let mut spared = vec![false; canaries.len()];
        for name in exceptions.iter() {
            let covered = over.below(&name).filter(|&(_, labels)| scope.exception_kind.covers(labels));
            covered.for_each(|(canary, _)| spared[canary] = true);
        }
        for name in names.iter() {
            for (canary, labels) in over.below(&name) {
                if scope.kind.covers(labels) && !spared[canary] && found[canary].is_none() {
                    found[canary] = Some(format!("{} {name}", scope.kind));
                }
            }
        }
        if let Some(patterns) = &scope.patterns {
            for (canary, name) in canaries.iter().enumerate() {
                let pattern = patterns.0.first_match(name).and_then(|index| patterns.0.texts().get(index));
                if let Some(pattern) = pattern.filter(|_| !spared[canary] && found[canary].is_none()) {
                    found[canary] = Some(format!("pattern {pattern}"));
                }
            }
        }
    }
    found
}

/// The canaries and all names over them.
struct Over {
    /// Canaries by position that are at or below a name in wire form, and by how many labels.
    names: HashMap<Box<[u8]>, Vec<(usize, usize)>>,
    /// Whether one of these names has that many octets: nearly all that are listed have not.
    lengths: [bool; MAX_NAME_LEN + 1],
}

impl Over {
    /// Of these canaries.
    fn new(canaries: &[Name]) -> Over {
        let mut over = Over { names: HashMap::new(), lengths: [false; MAX_NAME_LEN + 1] };
        for (index, canary) in canaries.iter().enumerate() {
            let above = std::iter::successors(Some(*canary), Name::parent);
            for (labels, name) in above.enumerate() {
                over.names.entry(name.as_wire().into()).or_default().push((index, labels));
                over.lengths[name.as_wire().len()] = true;
            }
        }
        over
    }

    /// The canaries at or below a name, and by how many labels.
    fn below(&self, name: &Name) -> impl Iterator<Item = (usize, usize)> + '_ {
        let wire = name.as_wire();
        let known = if self.lengths[wire.len()] { self.names.get(wire) } else { None };
        known.into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::{MatchKind, Order, OrderWithNames, Policy, PolicyZone, Scope, Verdict};
    use proptest::prelude::*;

    /// Short names of few labels, so that they are over and below each other.
    fn name() -> impl Strategy<Value = Name> {
        let label = prop::sample::select(vec!["a", "b", "ab"]);
        prop::collection::vec(label, 1..4).prop_map(|labels| labels.join(".").parse().unwrap())
    }

    fn names(most: usize) -> impl Strategy<Value = Vec<Name>> {
        prop::collection::vec(name(), 0..most)
    }

    fn kind() -> impl Strategy<Value = MatchKind> {
        prop::sample::select(vec![MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow])
    }

    proptest! {
        #[test]
        fn what_is_refused_is_what_policy_would_capture(
            canaries in names(6),
            scopes in prop::collection::vec((kind(), names(4), kind(), names(3)), 1..4),
        ) {
            let scopes: Vec<ListedScope> = scopes.into_iter().map(|(kind, names, exception_kind, spared)| ListedScope {
                scope: Scope { exception_kind, ..Scope::new(kind) },
                names: names.into_iter().collect(),
                exceptions: spared.into_iter().collect(),
            }).collect();
            let order = Order::new("x");
            let found = captured(&canaries, order.action, &scopes);
            let listed = OrderWithNames::new(order, scopes, Vec::new());
            let zone = PolicyZone { name: "zone".into(), orders: vec![Arc::new(listed)] };
            let policy = Policy::compile(&[zone], &[], 1);
            for (canary, found) in canaries.iter().zip(found) {
                let acts = matches!(policy.verdict(canary, 0), Verdict::Act(..));
                prop_assert_eq!(found.is_some(), acts, "{}: {:?}", canary, found);
            }
        }
    }
}
