//! A compiled policy taken apart to be kept, put together again without compiling, and asked what it was compiled from.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::compile::{Build, Compiler, PolicyZone};
use super::compiled::Policy;
use super::listed::{ListOf, OrderWithNames};
use super::order::{Patterns, Protected, TriggerType};
use super::rule::{Role, Rule, RuleSet};
use super::trie::NameTrie;

/// What of a policy takes long to compile: everything else follows from the orders, their names left out.
#[derive(Clone, Debug)]
pub struct CompiledParts {
    /// Listed names to rule sets.
    pub trie: NameTrie,
    /// The members of each rule set, as numbers of rules.
    pub sets: Vec<Box<[u32]>>,
    /// A digest of the rules, which the numbers belong to. Differs between builds of the program.
    pub rules: u64,
    /// The lengths of the prefixes that triggers on addresses list: on what, whether of IPv4, how many bits.
    pub lengths: Vec<(TriggerType, bool, u8)>,
}

impl Policy {
    /// The policy's costly part. The trie shares its octets with this one's.
    pub fn kept(&self) -> CompiledParts {
        CompiledParts {
            trie: self.compiled.trie.clone(),
            sets: self.compiled.sets.clone(),
            rules: digest(&self.compiled.rules),
            lengths: self.compiled.others.all_lengths(),
        }
    }

    /// The policy that [`Policy::compile`] would make if `zones` and `protected` listed the names they listed when `kept`
    /// was taken; their own lists are not looked at and may be empty. None if it cannot belong to them.
    pub fn restore(
        zones: &[PolicyZone],
        protected: &[Protected],
        epoch: u64,
        kept: CompiledParts,
    ) -> Option<Policy> {
        let mut compiler = Compiler::of(zones, protected, &Build::default());
        let rules = compiler.rules.len();
        let belongs = digest(&compiler.rules) == kept.rules
            && kept.sets.first().is_some_and(|set| set.is_empty())
            // A set that says nothing would have its names told truthfully.
            && kept.sets.iter().skip(1).all(|set| set.last().is_some_and(|&last| (last as usize) < rules))
            && kept.sets.iter().all(|set| set.is_sorted_by(|one, next| one < next))
            && compiler.others.add_lengths(&kept.lengths);
        let lists = |on| compiler.rules.iter().any(|rule| rule.on == on);
        // A scope on addresses of which no length is known would be asked for nothing.
        let known = |on| compiler.others.lengths(on).is_none_or(|lengths| lengths.is_empty() != lists(on));
        if !belongs || !TriggerType::ALL.into_iter().all(known) {
            return None;
        }
        let before = std::mem::replace(&mut compiler.sets.sets, kept.sets);
        renumber(&mut compiler.patterns, &before, &compiler.sets.sets)?;
        Some(compiler.assemble(kept.trie, epoch))
    }

    /// The orders that `wanted` wants by their ids, with the names and exceptions that they were compiled from: each once, in
    /// no order that means anything. Goes through all names: as slow as compiling.
    pub fn listed(&self, wanted: impl Fn(&str) -> bool) -> Vec<OrderWithNames> {
        let mut found = Vec::new();
        let mut places = vec![None; self.compiled.orders.len()];
        let orders = self.compiled.orders.iter().zip(&mut places);
        for (order, place) in orders.filter(|(order, _)| wanted(&order.id)) {
            *place = Some(found.len());
            found.push(OrderWithNames::without_names(order.clone()));
        }
        // Where the names that point to a rule belong: the order's place in `found`, and its list.
        let mut lists: HashMap<u32, (usize, ListOf)> = HashMap::new();
        for (rule, number) in self.compiled.rules.iter().zip(0..) {
            let (order, list) = match rule.role {
                Role::Capture { order, scope } => (order, ListOf::Names(scope)),
                Role::Except { order, scope } => (order, ListOf::Exceptions(scope)),
                Role::Exempt { order, exemption } => (order, ListOf::Exempted(exemption)),
                // Lifts stand in the order itself.
                Role::GivenBack { .. } | Role::Protect | Role::Node { .. } => continue,
            };
            if let Some(place) = places[order] {
                lists.insert(number, (place, list));
            }
        }
        for (name, set) in self.compiled.trie.iter() {
            for &(place, list) in self.compiled.sets[set as usize].iter().filter_map(|rule| lists.get(rule)) {
                found[place].list_mut(list).push(&name);
            }
        }
        found
    }
}

/// Has patterns, whose sets were numbered by `before`, point to the same sets among `sets`; none if one is not there.
fn renumber(patterns: &mut [(Patterns, RuleSet)], before: &[Box<[u32]>], sets: &[Box<[u32]>]) -> Option<()> {
    if patterns.is_empty() {
        return Some(());
    }
    let numbers: HashMap<&[u32], RuleSet> = sets.iter().map(|set| &**set).zip(0..).collect();
    for (_, set) in patterns {
        *set = *numbers.get(&**before.get(*set as usize)?)?;
    }
    Some(())
}

/// A digest of rules and their order.
fn digest(rules: &[Rule]) -> u64 {
    let mut hasher = DefaultHasher::new();
    rules.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Name, NameList};
    use crate::policy::order::{Exemption, Lift};
    use crate::policy::{ListedScope, MatchKind, Order, Scope, Verdict};
    use std::sync::Arc;

    fn names(texts: &[&str]) -> NameList {
        texts.iter().map(|text| text.parse::<Name>().unwrap()).collect()
    }

    /// An order with two scopes, exceptions, an exemption, and a zone lifted.
    fn listed(id: &str, one: &[&str], two: &[&str], spared: &[&str]) -> OrderWithNames {
        let mut order = Order::new(id);
        order.lifts = vec![Lift { zones: vec!["lifted.example".parse().unwrap()], ..Lift::default() }];
        let one = ListedScope::new(Scope::new(MatchKind::Exact), names(one));
        let two = ListedScope::new(Scope::new(MatchKind::Subtree), names(two));
        let scopes = vec![one, ListedScope { exceptions: names(spared), ..two }];
        OrderWithNames::new(order, scopes, vec![(Exemption::default(), names(&["free.other.example"]))])
    }

    fn zones() -> Vec<PolicyZone> {
        let orders = vec![
            Arc::new(listed("a", &["x.example", "y.example"], &["tree.example"], &["kept.tree.example"])),
            Arc::new(listed("b", &["x.example"], &["lifted.example", "other.example"], &[])),
        ];
        vec![PolicyZone { name: "zone".into(), orders }]
    }

    fn bare(zones: &[PolicyZone]) -> Vec<PolicyZone> {
        // As after a restart: what was forgotten of the names shifts no rule.
        let strip =
            |listed: &Arc<OrderWithNames>| Arc::new(OrderWithNames::without_names(listed.order.clone()));
        let strip_zone = |zone: &PolicyZone| PolicyZone {
            name: zone.name.clone(),
            orders: zone.orders.iter().map(strip).collect(),
        };
        zones.iter().map(strip_zone).collect()
    }

    fn protected() -> Vec<Protected> {
        vec![Protected { kind: MatchKind::Exact, names: names(&["y.example"]), source: String::new() }]
    }

    #[test]
    fn a_restored_policy_judges_like_the_compiled_one() {
        let compiled = Policy::compile(&zones(), &protected(), 1);
        let no_names = [Protected { names: NameList::new(), ..protected().remove(0) }];
        let restored = Policy::restore(&bare(&zones()), &no_names, 2, compiled.kept()).unwrap();
        let mut captured = 0;
        for text in [
            "x.example",
            "y.example",
            "z.example",
            "tree.example",
            "a.tree.example",
            "kept.tree.example",
            "lifted.example",
            "a.lifted.example",
            "other.example",
            "free.other.example",
            "example",
        ] {
            let name: Name = text.parse().unwrap();
            let verdict = compiled.verdict(&name, 0);
            captured += usize::from(matches!(verdict, Verdict::Act(..)));
            assert_eq!(format!("{verdict:?}"), format!("{:?}", restored.verdict(&name, 0)), "{text}");
            assert_eq!(compiled.hits(&name, 0).len(), restored.hits(&name, 0).len(), "{text}");
        }
        assert_eq!((captured, restored.epoch(), restored.name_count()), (4, 2, compiled.name_count()));
    }

    #[test]
    fn what_belongs_to_other_orders_is_not_restored() {
        let kept = Policy::compile(&zones(), &protected(), 1).kept();
        let mut fewer = bare(&zones());
        fewer[0].orders.pop();
        assert!(Policy::restore(&fewer, &protected(), 2, kept.clone()).is_none());
        assert!(Policy::restore(&bare(&zones()), &[], 2, kept.clone()).is_none());
        let mut lifted = bare(&zones());
        let mut order = (*lifted[0].orders[0]).clone();
        order.order.window.expires = Some(7);
        lifted[0].orders[0] = Arc::new(order);
        assert!(Policy::restore(&lifted, &protected(), 2, kept.clone()).is_none());
        let sets: [&[&[u32]]; 6] =
            [&[], &[&[], &[1_000]], &[&[], &[]], &[&[], &[1, 1]], &[&[], &[2, 1]], &[&[1], &[1]]];
        for sets in sets {
            let sets: Vec<Box<[u32]>> = sets.iter().map(|set| (*set).into()).collect();
            let kept = CompiledParts { sets: sets.clone(), ..kept.clone() };
            assert!(Policy::restore(&bare(&zones()), &protected(), 2, kept).is_none(), "{sets:?}");
        }
    }

    #[test]
    fn a_policy_knows_what_it_was_compiled_from() {
        let policy = Policy::compile(&zones(), &protected(), 1);
        let again = policy.listed(|id| id == "a" || id == "nobody");
        let original = &zones()[0].orders[0];
        assert_eq!((again.len(), &again[0].order), (1, &original.order));
        let sorted = |listed: &OrderWithNames| -> Vec<Vec<Name>> {
            let sorted = |list: &NameList| {
                let mut names: Vec<Name> = list.iter().collect();
                names.sort();
                names
            };
            listed.lists().map(sorted).collect()
        };
        assert_eq!(sorted(&again[0]), sorted(original));
        assert_eq!(policy.listed(|_| true).len(), 2);
    }
}
