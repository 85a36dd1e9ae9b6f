//! A policy looked at as a whole: which names it knows, and what happens to all that lies below one.

use super::compiled::Policy;
use super::judge::{Asked, Asker};
use super::order::TriggerType;
use super::rule::Role;
use super::verdict::Verdict;
use super::walks::Path;
use crate::name::{MAX_NAME_LEN, Name};
use crate::time::UnixSeconds;

impl Policy {
    /// Every name that something is written at, be it captured, excepted, given back, protected or stated about, in no order
    /// that means anything; a name may come twice. Patterns aside, between two of them that enclose each other verdicts do not
    /// change.
    pub fn names(&self) -> impl Iterator<Item = Name> + '_ {
        self.compiled.trie.iter().map(|(name, _)| name).chain(self.overrides.names())
    }

    /// How many triggers are on something else than the name asked for: clients, addresses, name servers.
    pub fn other_triggers(&self) -> usize {
        let other = |rule: &u32| {
            let rule = &self.compiled.rules[*rule as usize];
            rule.on != TriggerType::Qname && matches!(rule.role, Role::Capture { .. })
        };
        let others: Vec<usize> =
            self.compiled.sets.iter().map(|set| set.iter().filter(|rule| other(rule)).count()).collect();
        self.compiled.trie.iter().map(|(_, set)| others[set as usize]).sum()
    }

    /// What happens at `at` to every name below `name` that is not at or below a deeper one of [`Policy::names`], whoever
    /// asks; clear if no name fits below. Patterns are not looked at: they may match some and not others. No allocation.
    pub fn verdict_below(&self, name: &Name, at: UnixSeconds) -> Verdict<'_> {
        // One that nothing is written at tells for all. People write no octets like these, so the first will do.
        let mut children = (0..=u8::MAX).filter_map(|octet| child(name, octet));
        let Some(child) =
            children.find(|child| self.compiled.trie.at(child).is_none() && !self.overrides.speaks_of(child))
        else {
            return Verdict::Clear;
        };
        let mut path = Path::default();
        self.compiled.trie.walk(&child, |labels, set| path.note((labels, set)));
        path.depth = child.label_count();
        self.judge(&path, &Asked { asker: &Asker::ANYBODY, name: &child, at }).verdict
    }
}

/// The name below `name` by a label of one octet, if it fits.
fn child(name: &Name, octet: u8) -> Option<Name> {
    let mut wire = [0; MAX_NAME_LEN + 2];
    let len = 2 + name.as_wire().len();
    (wire[0], wire[1]) = (1, octet);
    wire[2..len].copy_from_slice(name.as_wire());
    Name::from_wire(&wire[..len]).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Action, MatchKind, Order, OrderWithNames, PolicyZone, Scope};
    use super::*;
    use std::sync::Arc;

    /// Orders of one scope each.
    fn policy(orders: &[(Action, MatchKind, &str)]) -> Policy {
        let listed = |(index, (action, kind, name)): (usize, &(Action, MatchKind, &str))| {
            let mut order = Order::new(format!("o{index}"));
            (order.action, order.scopes) = (*action, vec![Scope::new(*kind)]);
            let names = name.parse::<Name>().into_iter().collect();
            Arc::new(OrderWithNames::listing(order, [names]))
        };
        let orders = orders.iter().enumerate().map(listed).collect();
        Policy::compile(&[PolicyZone { name: "zone".into(), orders }], &[], 1)
    }

    #[test]
    fn what_lies_below_is_judged_without_a_name() {
        use MatchKind::{Exact, Subtree, SubtreeBelow};
        let policy = policy(&[
            (Action::SINKHOLE, Exact, "exact.example"),
            (Action::NODATA, Subtree, "tree.example"),
            (Action::NXDOMAIN, SubtreeBelow, "below.example"),
            (Action::Passthru, Exact, "free.tree.example"),
        ]);
        for (text, own, below) in [
            ("example", None, None),
            ("exact.example", Some(Action::SINKHOLE), None),
            ("tree.example", Some(Action::NODATA), Some(Action::NODATA)),
            ("below.example", None, Some(Action::NXDOMAIN)),
            ("free.tree.example", Some(Action::Passthru), Some(Action::NODATA)),
            ("x.tree.example", Some(Action::NODATA), Some(Action::NODATA)),
        ] {
            let name: Name = text.parse().unwrap();
            let action = |verdict: Verdict<'_>| verdict.hit().map(|hit| hit.action);
            assert_eq!(action(policy.verdict(&name, 0)), own, "{text}");
            assert_eq!(action(policy.verdict_below(&name, 0)), below, "below {text}");
        }
        let mut names: Vec<String> = policy.names().map(|name| name.to_string()).collect();
        names.sort();
        assert_eq!(names, ["below.example", "exact.example", "free.tree.example", "tree.example"]);
    }
}
