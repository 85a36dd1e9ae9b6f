//! What stands because somebody stated it: of all records about the same names of an order, the last.

use std::collections::HashMap;
use std::sync::Arc;

use super::record::Record;
use crate::name::Name;
use crate::policy::{MatchKind, Order, Override, Standing};
use crate::time::UnixSeconds;

/// The names that a statement is about; none means the whole order.
pub type About = Option<(Name, MatchKind)>;

/// All that stands, by the order and what of it.
#[derive(Clone, Debug, Default)]
pub struct Statements {
    orders: HashMap<String, HashMap<About, Arc<Record>>>,
}

impl Statements {
    /// Takes in one more record: it replaces what stood about the same names, or takes it back.
    pub fn take(&mut self, record: &Arc<Record>) {
        let about = match record.names.as_ref().map(|names| names.parsed()) {
            Some(Some(names)) => Some(names),
            // What is about no name is about nothing: it was refused when it was read.
            Some(None) => return,
            None => None,
        };
        if record.standing.is_some() {
            self.orders.entry(record.order.clone()).or_default().insert(about, record.clone());
        } else if let Some(order) = self.orders.get_mut(&record.order) {
            order.remove(&about);
            if order.is_empty() {
                self.orders.remove(&record.order);
            }
        }
    }

    /// How many stand.
    pub fn len(&self) -> usize {
        self.orders.values().map(HashMap::len).sum()
    }

    /// Whether nothing stands.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// The orders that something stands about.
    pub fn orders(&self) -> impl Iterator<Item = &str> {
        self.orders.keys().map(String::as_str)
    }

    /// What stands about an order, the oldest first.
    pub fn of(&self, order: &str) -> Vec<&Arc<Record>> {
        let mut records: Vec<&Arc<Record>> =
            self.orders.get(order).into_iter().flat_map(HashMap::values).collect();
        records.sort_unstable_by_key(|record| record.seq);
        records
    }

    /// What stands about just these names of an order, or about just the whole of it.
    pub fn about(&self, order: &str, about: &About) -> Option<&Arc<Record>> {
        self.orders.get(order)?.get(about)
    }

    /// How an order stands as a whole at `at`: as stated, else as its file says, if it is loaded.
    pub fn whole(&self, id: &str, order: Option<&Order>, at: UnixSeconds) -> Standing {
        let file = || order.map_or(Standing::default(), |order| order.standing);
        self.about(id, &None).and_then(|record| record.stands(order, at)).unwrap_or_else(file)
    }

    /// How names of an order stand at `at`: by the closest statement that covers them, else as the whole of it.
    pub fn standing(&self, id: &str, order: Option<&Order>, about: &About, at: UnixSeconds) -> Standing {
        let closest = about.as_ref().and_then(|(name, kind)| self.closest(id, name, *kind));
        closest.and_then(|record| record.stands(order, at)).unwrap_or_else(|| self.whole(id, order, at))
    }

    /// The holds that stand, under way or over, in no order that means anything.
    pub fn holds(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.orders.values().flat_map(HashMap::values).filter(|record| record.hold().is_some())
    }

    /// Forgets the holds that are over at `at`, and gives them back.
    pub fn lapse(&mut self, at: UnixSeconds) -> Vec<Arc<Record>> {
        let is_over = |record: &Record| {
            record.hold().and_then(|window| window.expires).is_some_and(|until| until <= at)
        };
        let over: Vec<Arc<Record>> = self.holds().filter(|record| is_over(record)).cloned().collect();
        for record in &over {
            self.take(&Arc::new(Record { standing: None, ..Record::clone(record) }));
        }
        over
    }

    /// The closest statement about names that covers these.
    fn closest(&self, order: &str, name: &Name, kind: MatchKind) -> Option<&Arc<Record>> {
        let names = self.orders.get(order)?;
        if let Some(same) = names.get(&Some((*name, kind))) {
            return Some(same);
        }
        let around = (0..=name.label_count()).rev().filter_map(|labels| name.ancestor(labels)).zip(0..);
        let mut covering = around.flat_map(|(zone, below)| {
            // Policy looks at them in this order, too.
            let kinds = [MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow];
            kinds.into_iter().filter(move |kind| kind.covers(below)).map(move |kind| Some((zone, kind)))
        });
        covering.find_map(|about| names.get(&about))
    }

    /// The same for policy, the oldest first.
    pub fn overrides(&self) -> Vec<Override> {
        let mut records: Vec<&Arc<Record>> = self.orders.values().flat_map(HashMap::values).collect();
        records.sort_unstable_by_key(|record| record.seq);
        records.into_iter().filter_map(|record| record.as_override()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::journal::blank;
    use crate::control::record::{Match, Names, RecordedStanding, Verb};

    /// What is done, to which order, to which names of it.
    type Step<'t> = (Verb, &'t str, Option<(&'t str, Match)>);

    /// What stands after these records, one after the other.
    fn after(steps: &[Step<'_>]) -> Statements {
        let mut stated = Statements::default();
        for (&(verb, order, names), seq) in steps.iter().zip(1..) {
            let names = names.map(|(name, kind)| Names { name: name.into(), kind });
            let standing = verb.standing();
            stated.take(&Arc::new(Record {
                seq,
                verb,
                order: order.into(),
                names,
                standing,
                ..blank(0, "local")
            }));
        }
        stated
    }

    #[test]
    fn later_records_replace_and_take_back() {
        use Match::{Exact, Subtree};
        use Verb::{Activate, Lift, Observe, Restore};
        let x = "x.example";
        let cases: [(&[Step<'_>], &[&str]); 10] = [
            (&[], &[]),
            (&[(Lift, "a", None)], &["a whole lifted"]),
            (&[(Lift, "a", None), (Activate, "a", None)], &["a whole in-force"]),
            (&[(Lift, "a", None), (Restore, "a", None)], &[]),
            (&[(Restore, "a", None)], &[]),
            (&[(Lift, "a", None), (Observe, "b", None)], &["a whole lifted", "b whole observing"]),
            (
                &[(Lift, "a", Some((x, Exact))), (Lift, "a", Some((x, Subtree)))],
                &["a x.example exact lifted", "a x.example subtree lifted"],
            ),
            (
                &[(Lift, "a", Some((x, Exact))), (Lift, "a", None), (Restore, "a", None)],
                &["a x.example exact lifted"],
            ),
            (&[(Lift, "a", Some((x, Exact))), (Restore, "a", Some(("X.example", Exact)))], &[]),
            (&[(Lift, "a", Some(("a..b", Exact)))], &[]),
        ];
        for (steps, expected) in cases {
            let stated = after(steps);
            let shown = |statement: Override| {
                let names = statement.names.map_or("whole".into(), |(name, kind)| format!("{name} {kind}"));
                format!("{} {names} {}", statement.order, statement.standing)
            };
            let shown: Vec<String> = stated.overrides().into_iter().map(shown).collect();
            assert_eq!(shown, expected, "{steps:?}");
            assert_eq!((stated.len(), stated.is_empty()), (expected.len(), expected.is_empty()), "{steps:?}");
        }
    }

    #[test]
    fn the_closest_statement_is_the_one_that_stands() {
        use MatchKind::{Exact, Subtree};
        let mut stated = after(&[
            (Verb::Observe, "a", None),
            (Verb::Lift, "a", Some(("x.example", Match::Subtree))),
            (Verb::Activate, "a", Some(("x.example", Match::Exact))),
            (Verb::Activate, "a", Some(("y.x.example", Match::SubtreeBelow))),
            (Verb::Lift, "other", Some((".", Match::Subtree))),
        ]);
        let about = |name: &str, kind| Some((name.parse().unwrap(), kind));
        let drafted = Order { standing: Standing::Drafted, ..Order::new("a") };
        for (order, about, expected) in [
            ("a", None, Standing::Observing),
            ("a", about("b.example", Exact), Standing::Observing),
            ("a", about("x.example", Exact), Standing::InForce),
            ("a", about("x.example", Subtree), Standing::Lifted),
            ("a", about("y.x.example", Exact), Standing::Lifted),
            ("a", about("z.y.x.example", Exact), Standing::InForce),
            ("other", about("z.y.x.example", Exact), Standing::Lifted),
            ("other", None, Standing::Drafted),
            ("none", about("x.example", Exact), Standing::Drafted),
        ] {
            assert_eq!(stated.standing(order, Some(&drafted), &about, 0), expected, "{order} {about:?}");
        }
        let back = Record { order: "a".into(), ..blank(0, "local") };
        stated.take(&Arc::new(back));
        assert_eq!(stated.whole("a", Some(&drafted), 0), Standing::Drafted);
        assert_eq!(stated.of("a").len(), 3);
        assert_eq!(
            stated.about("a", &about("x.example", Exact)).unwrap().standing,
            Some(RecordedStanding::InForce)
        );
    }
}
