//! A policy made from the one before it: of orders that stay as they were no name is looked at.
//!
//! What an order lists is in the trie already, as the sets of rules that its names point to. So the sets lose the rules of
//! what has changed or is gone, in one pass over the trie, and the names of what has changed or is new are put in. Rules
//! have other numbers when orders come before them or go; there are few sets, so these are renumbered at the end.

use std::collections::HashMap;
use std::ops::Range;

use super::compile::{Compiler, PolicyZone, SetInterner};
use super::compiled::Policy;
use super::order::Protected;
use super::rule::{OrderIndex, Role, Rule};
use super::trie::TrieEditor;

/// Marks a rule's number as that of the policy before. There are fewer rules than this: each takes more than an octet.
const BEFORE: u32 = 1 << 31;

/// An order of the policy before that stays.
struct Staying {
    /// Its number there.
    order: usize,
    /// Its rules there, which stand together.
    rules: Range<u32>,
}

impl Policy {
    /// The policy that [`Policy::build`] would make of `zones` and `protected`, where the orders that `stays` names by their
    /// ids list what they list in this one: their own lists are not looked at and may be empty. As statements are none of
    /// what is compiled, it has none.
    ///
    /// None if it cannot be made so, or should not, since the trie would become untidy: then it is to be made anew.
    pub fn recompile(
        &self,
        zones: &[PolicyZone],
        protected: &[Protected],
        stays: impl Fn(&str) -> bool,
        epoch: u64,
    ) -> Option<Policy> {
        let before = &*self.compiled;
        if !before.left_out.is_empty() || before.rules.len() >= BEFORE as usize {
            return None;
        }
        let staying = self.staying(&stays);
        // Rules that stay, by their numbers here.
        let mut kept = vec![false; before.rules.len()];
        for one in staying.values() {
            kept.get_mut(one.rules.start as usize..one.rules.end as usize)?.fill(true);
        }
        let mut sets = SetInterner::default();
        // Only what some name points to: sets that are no longer in use go.
        let mut changed: Vec<Option<u32>> = vec![None; before.sets.len()];
        let trie = TrieEditor::of(&before.trie, |value| {
            let Some(place) = changed.get_mut(value as usize) else { return 0 };
            *place.get_or_insert_with(|| {
                let members = before.sets[value as usize].iter().filter(|rule| kept[**rule as usize]);
                sets.of(members.map(|rule| BEFORE | rule).collect())
            })
        })?;
        let mut compiler = Compiler::over(trie, sets);
        compiler.take(zones, protected);
        if !compiler.left_out.is_empty() || compiler.rules.len() >= BEFORE as usize {
            return None;
        }
        let numbers = self.renumbered(&staying, &stays, &compiler)?;
        for set in &mut compiler.sets.sets {
            let number = |rule: &u32| match rule & BEFORE {
                0 => Some(*rule),
                _ => numbers.get(&(rule & !BEFORE)).copied(),
            };
            let mut members = set.iter().map(number).collect::<Option<Vec<u32>>>()?;
            members.sort_unstable();
            // Zones that are lifted stand in the order itself, and so were put in once more.
            members.dedup();
            *set = members.into();
        }
        // A length that no prefix has any more costs a look, and goes when the policy is made anew.
        let listed = |on| compiler.rules.iter().any(|rule| rule.on == on);
        let lengths = before.others.all_lengths().into_iter().filter(|(on, ..)| listed(*on));
        let lengths: Vec<_> = lengths.collect();
        compiler.others.add_lengths(&lengths).then_some(())?;
        let trie = compiler.trie()?;
        Some(compiler.assemble(trie, epoch))
    }

    /// The orders that stay, by their ids.
    fn staying(&self, stays: impl Fn(&str) -> bool) -> HashMap<&str, Staying> {
        let ids: Vec<&str> = self.compiled.orders.iter().map(|order| order.id.as_str()).collect();
        let mut found: HashMap<&str, Staying> = HashMap::new();
        for (rule, number) in self.compiled.rules.iter().zip(0..) {
            let order = order_of(rule);
            if let Some((order, id)) =
                order.and_then(|order| Some((order.0 as usize, *ids.get(order.0 as usize)?)))
                && stays(id)
            {
                let one = found.entry(id).or_insert(Staying { order, rules: number..number });
                one.rules.end = number + 1;
            }
        }
        found
    }

    /// The numbers that rules which stay have in what `compiler` made, by those they have here; none if an order says
    /// something else there.
    fn renumbered(
        &self,
        staying: &HashMap<&str, Staying>,
        stays: impl Fn(&str) -> bool,
        compiler: &Compiler,
    ) -> Option<HashMap<u32, u32>> {
        let mut numbers = HashMap::new();
        let mut next: HashMap<OrderIndex, u32> = HashMap::new();
        for (rule, number) in compiler.rules.iter().zip(0..) {
            let Some(order) = order_of(rule) else { continue };
            let is = compiler.orders.get(order.0 as usize)?;
            let Some(one) = staying.get(is.id.as_str()) else {
                // Nothing is known here of what would be its names.
                if stays(&is.id) {
                    return None;
                }
                continue;
            };
            let nth = next.entry(order).or_insert(0);
            let was = one.rules.start + *nth;
            *nth += 1;
            let same = one.rules.contains(&was)
                && alike(self.compiled.rules.get(was as usize)?, rule)
                && (*nth > 1 || self.compiled.orders.get(one.order) == Some(is));
            same.then_some(())?;
            numbers.insert(was, number);
        }
        // Each is there, and whole.
        let rules: usize = staying.values().map(|one| one.rules.len()).sum();
        (numbers.len() == rules).then_some(numbers)
    }
}

/// The order that a rule is of.
fn order_of(rule: &Rule) -> Option<OrderIndex> {
    match rule.role {
        Role::Capture { order, .. }
        | Role::Except { order, .. }
        | Role::GivenBack { order, .. }
        | Role::Exempt { order, .. }
        | Role::Node { order } => Some(order),
        Role::Protect => None,
    }
}

/// Whether two rules say the same, each of its order.
fn alike(one: &Rule, other: &Rule) -> bool {
    const FIRST: OrderIndex = OrderIndex(0);
    let of_any = |role| match role {
        Role::Capture { scope, .. } => Role::Capture { order: FIRST, scope },
        Role::Except { scope, .. } => Role::Except { order: FIRST, scope },
        Role::GivenBack { scope, .. } => Role::GivenBack { order: FIRST, scope },
        Role::Exempt { exemption, .. } => Role::Exempt { order: FIRST, exemption },
        Role::Node { .. } => Role::Node { order: FIRST },
        Role::Protect => Role::Protect,
    };
    (of_any(one.role), one.kind, one.on, one.window)
        == (of_any(other.role), other.kind, other.on, other.window)
}

#[cfg(test)]
mod tests;
