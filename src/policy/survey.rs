//! A policy looked at as a whole: which names it knows, and what happens to all that lies below one.

use super::judge::Policy;
use super::name::Name;
use super::order::UnixSeconds;
use super::verdict::Verdict;

impl Policy {
    /// Every name that something is written at, be it captured, excepted, given back or protected; each once, in no order
    /// that means anything. Between two of them that enclose each other verdicts do not change.
    pub fn names(&self) -> impl Iterator<Item = Name> + '_ {
        self.trie.iter().map(|(name, _)| name)
    }

    /// What happens at `at` to every name below `name` that is not at or below a deeper one of [`Policy::names`]. No
    /// allocation.
    ///
    /// No name need exist to ask for it: a made-up label could be listed, or not fit.
    pub fn verdict_below(&self, name: &Name, at: UnixSeconds) -> Verdict<'_> {
        let mut path = self.path(name);
        // How far below does not matter to any kind of scope.
        path.depth += 1;
        self.judge(&path, at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Listed, NameList, Order, PolicyZone, Scope, ScopeKind};
    use super::*;
    use std::sync::Arc;

    /// Orders of one scope each.
    fn policy(orders: &[(Action, ScopeKind, &str)]) -> Policy {
        let listed = |(index, (action, kind, name)): (usize, &(Action, ScopeKind, &str))| {
            let mut order = Order::new(format!("o{index}"));
            (order.action, order.scopes) = (*action, vec![Scope::new(*kind)]);
            let names = name.parse::<Name>().into_iter().collect();
            Arc::new(Listed { order, names: vec![names], exceptions: vec![NameList::new()] })
        };
        let orders = orders.iter().enumerate().map(listed).collect();
        Policy::compile(&[PolicyZone { name: "zone".into(), orders }], &[], 1)
    }

    #[test]
    fn what_lies_below_is_judged_without_a_name() {
        use ScopeKind::{Exact, Subtree, SubtreeBelow};
        let policy = policy(&[
            (Action::Sinkhole, Exact, "exact.example"),
            (Action::Nodata, Subtree, "tree.example"),
            (Action::Nxdomain, SubtreeBelow, "below.example"),
            (Action::Passthru, Exact, "free.tree.example"),
        ]);
        for (text, own, below) in [
            ("example", None, None),
            ("exact.example", Some(Action::Sinkhole), None),
            ("tree.example", Some(Action::Nodata), Some(Action::Nodata)),
            ("below.example", None, Some(Action::Nxdomain)),
            ("free.tree.example", Some(Action::Passthru), Some(Action::Nodata)),
            ("x.tree.example", Some(Action::Nodata), Some(Action::Nodata)),
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
