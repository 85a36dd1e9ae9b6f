//! The blast limit: an order that would suddenly take much of what is asked only observes until somebody activates it.
//!
//! In 2014 whole zones went dark because the orders' reach was seen only once it was felt. Here it is measured on what was
//! asked lately, before the order acts.

use std::collections::HashMap;

use crate::policy::{Name, Order, Policy, UnixSeconds, Verdict};
use crate::resolver::recent::Recent;

/// Samples below which nothing is said: with fewer, a share of one in a hundred is a matter of luck.
const ENOUGH: usize = 1000;

/// How much an order may newly take of what was asked lately.
#[derive(Clone, Debug)]
pub struct BlastLimit {
    recent: Recent,
    /// In per cent of queries, and of distinct names; 100 is no limit.
    max_percent: u32,
}

/// What an order would newly take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blast {
    /// The order's id.
    pub order: String,
    /// Queries of the sample, and how many there are in all.
    pub queries: (usize, usize),
    /// Distinct names of the sample, and how many there are in all.
    pub names: (usize, usize),
}

impl BlastLimit {
    /// A limit, in per cent from 1 to 100, over this sample.
    pub fn new(recent: Recent, max_percent: u32) -> BlastLimit {
        BlastLimit { recent, max_percent }
    }

    /// The orders that take too much under `next` of what nobody takes under `now`, as of `at`; those that `guarded` leaves
    /// out may take what they like.
    pub fn exceeded(
        &self,
        now: &Policy,
        next: &Policy,
        guarded: impl Fn(&Order) -> bool,
        at: UnixSeconds,
    ) -> Vec<Blast> {
        if self.max_percent >= 100 {
            return Vec::new();
        }
        let sample = self.recent.snapshot();
        if sample.len() < ENOUGH {
            return Vec::new();
        }
        let mut names: HashMap<Name, usize> = HashMap::new();
        for (name, _) in &sample {
            *names.entry(*name).or_default() += 1;
        }
        let mut taken: HashMap<&str, (usize, usize)> = HashMap::new();
        for (name, queries) in &names {
            if let Verdict::Act(hit) = next.verdict(name, at)
                && !matches!(now.verdict(name, at), Verdict::Act(_))
                && guarded(hit.order)
            {
                let (all_queries, all_names) = taken.entry(&hit.order.id).or_default();
                *all_queries += queries;
                *all_names += 1;
            }
        }
        let over = |part: usize, whole: usize| part * 100 > whole * self.max_percent as usize;
        let mut blasts: Vec<Blast> = taken
            .into_iter()
            .filter(|(_, (queries, distinct))| over(*queries, sample.len()) || over(*distinct, names.len()))
            .map(|(order, (queries, distinct))| Blast {
                order: order.to_owned(),
                queries: (queries, sample.len()),
                names: (distinct, names.len()),
            })
            .collect();
        blasts.sort_by(|one, other| one.order.cmp(&other.order));
        blasts
    }

    /// Why an order only observes, in a sentence.
    pub fn why(&self, blast: &Blast) -> String {
        let percent = |(part, whole): (usize, usize)| part as f64 * 100.0 / whole.max(1) as f64;
        format!(
            "it would newly take {:.1} % of recent queries and {:.1} % of their names; the blast limit is {} %",
            percent(blast.queries),
            percent(blast.names),
            self.max_percent
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Listed, NameList, PolicyZone, Scope, ScopeKind};
    use std::net::IpAddr;
    use std::sync::Arc;

    fn policy(subtrees: &[&str]) -> Policy {
        let order = Order { scopes: vec![Scope::new(ScopeKind::Subtree)], ..Order::new("o") };
        let names: NameList = subtrees.iter().map(|text| text.parse::<Name>().unwrap()).collect();
        let listed = Listed { order, names: vec![names], exceptions: vec![NameList::new()] };
        Policy::compile(&[PolicyZone { name: "z".into(), orders: vec![Arc::new(listed)] }], &[], 1)
    }

    /// A sample in which one query in ten is for a name below `big.test`.
    fn sample(queries: usize) -> Recent {
        let recent = Recent::new(1 << 14, 1);
        let mut recorder = recent.recorder();
        let client = IpAddr::from([127, 0, 0, 1]);
        for query in 0..queries {
            let zone = if query % 10 == 0 { "big.test" } else { "other.test" };
            recorder.note(|| format!("n{}.{zone}", query % 1000).parse().ok(), client);
        }
        recent
    }

    #[test]
    fn what_newly_takes_too_much_is_told() {
        let (none, big, more) = (policy(&[]), policy(&["big.test"]), policy(&["big.test", "n1.other.test"]));
        let told = |queries, percent, now: &Policy, next: &Policy, guarded: bool| {
            BlastLimit::new(sample(queries), percent).exceeded(now, next, |_| guarded, 0).len()
        };
        for (what, queries, percent, now, next, guarded, expected) in [
            ("a tenth is over a twentieth", 200_000, 5, &none, &big, true, 1),
            ("and under a fifth", 200_000, 20, &none, &big, true, 0),
            ("too little is known", 20_000, 5, &none, &big, true, 0),
            ("no limit", 200_000, 100, &none, &big, true, 0),
            ("not guarded", 200_000, 5, &none, &big, false, 0),
            ("what was taken before is nothing new", 200_000, 5, &big, &more, true, 0),
            ("a lift takes nothing", 200_000, 5, &big, &none, true, 0),
        ] {
            assert_eq!(told(queries, percent, now, next, guarded), expected, "{what}");
        }
        let limit = BlastLimit::new(sample(200_000), 5);
        let blast = limit.exceeded(&none, &big, |_| true, 0).remove(0);
        assert!(limit.why(&blast).contains("the blast limit is 5 %"), "{}", limit.why(&blast));
        assert_eq!(blast.order, "o");
    }
}
