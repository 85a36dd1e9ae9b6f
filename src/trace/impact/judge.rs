//! One name judged for every scale.

use super::report::Relation;
use super::scales::{Preview, SCALES};
use crate::name::Name;
use crate::orders::suffix::{Covers, covers, registrable};
use crate::policy::{Action, Hit, Trigger, Verdict};

/// What is to be said about a name; names with equal ones are counted together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judgement<'p> {
    /// How it stands to the listed names.
    pub(super) relation: Relation,
    /// The family of the closest listed name at or above it; empty if that has none, none if there is no such name.
    pub(super) family: Option<&'p str>,
    /// Whether it is popular.
    pub(super) popular: bool,
    /// Whether it is a public suffix itself.
    pub(super) suffix: bool,
    /// What happens to it at each scale.
    pub(super) outcomes: [Outcome<'p>; SCALES],
}

/// What happens to a name at one scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Outcome<'p> {
    /// The order does not reach it, or spares it by its own words.
    #[default]
    Free,
    /// The order takes it, by this trigger, which is of this family.
    Taken(Trigger, &'p str),
    /// The order reaches it, and the name is protected.
    Protected,
    /// The order reaches it, and the order of this id lets it pass.
    Passed(&'p str),
    /// The order reaches it, and the order of this id takes it already.
    Already(&'p str),
}

impl Preview {
    /// Judges a name; none when no scale reaches it.
    pub(super) fn judge(&self, name: &Name) -> Option<Judgement<'_>> {
        let verdict = self.policy.verdict(name, self.at);
        // Nearly every name ends here.
        if verdict == Verdict::Clear {
            return None;
        }
        let is_protected = matches!(verdict, Verdict::Protected(_));
        let hits = self.policy.hits(name, self.at);
        let mut outcomes = [Outcome::Free; SCALES];
        for (scale, outcome) in outcomes.iter_mut().enumerate() {
            *outcome = self.outcome(&hits, scale, is_protected);
        }
        if outcomes.iter().all(|outcome| *outcome == Outcome::Free) {
            return None;
        }
        let closest = match self.lists.verdict(name, self.at) {
            Verdict::Act(_, hit) => Some(hit),
            _ => None,
        };
        let relation = match &closest {
            Some(hit) if usize::from(hit.trigger.labels) == name.label_count() => Relation::Listed,
            Some(_) => Relation::Child,
            None => self.relation_beside(name),
        };
        Some(Judgement {
            relation,
            family: closest.map(|hit| hit.scope.family.as_deref().unwrap_or_default()),
            popular: self.is_popular(name),
            suffix: covers(name) == Covers::Suffix,
            outcomes,
        })
    }

    /// What becomes of a name at one scale. Without the order's other variants and what only observes, the first of all
    /// `hits` is the one that decides.
    fn outcome<'p>(&'p self, hits: &[Hit<'p>], scale: usize, is_protected: bool) -> Outcome<'p> {
        let is_own = |hit: &Hit<'_>| self.ids.get(scale).is_some_and(|id| *id == hit.order.id);
        let is_variant = |hit: &Hit<'_>| self.ids.contains(&hit.order.id);
        let mut standing =
            hits.iter().filter(|hit| hit.action != Action::Observe && (is_own(hit) || !is_variant(hit)));
        // Its own word to let a name pass comes before whatever else it says.
        let Some(own) = standing.clone().find(|hit| is_own(hit)).filter(|hit| hit.action != Action::Passthru)
        else {
            return Outcome::Free;
        };
        if is_protected {
            return Outcome::Protected;
        }
        match standing.next() {
            Some(first) if !is_own(first) && first.action == Action::Passthru => {
                Outcome::Passed(&first.order.id)
            }
            Some(first) if !is_own(first) => Outcome::Already(&first.order.id),
            _ => Outcome::Taken(own.trigger, own.scope.family.as_deref().unwrap_or_default()),
        }
    }

    /// How a name stands to the listed ones that is neither one of them nor below one.
    fn relation_beside(&self, name: &Name) -> Relation {
        if matches!(self.around.verdict(name, self.at), Verdict::Act(..)) {
            return Relation::Parent;
        }
        let parent = name.parent().unwrap_or(Name::ROOT);
        match self.around.verdict(&parent, self.at) {
            // The first of two scopes holds the parents of listed names.
            Verdict::Act(_, hit)
                if hit.order.scopes.first().is_some_and(|first| std::ptr::eq(first, hit.scope)) =>
            {
                Relation::Sibling
            }
            _ => Relation::Other,
        }
    }

    /// Whether a name is a popular one, or lies in a domain that is one.
    fn is_popular(&self, name: &Name) -> bool {
        let Some(popular) = &self.popular else { return false };
        [*name, registrable(name)].iter().any(|name| popular.index.verdict(name, self.at) != Verdict::Clear)
    }

    /// Whether the order takes a name at each scale.
    pub(super) fn takes(&self, name: &Name) -> [bool; SCALES] {
        self.judge(name).map_or([false; SCALES], |judged| {
            judged.outcomes.map(|outcome| matches!(outcome, Outcome::Taken(..)))
        })
    }
}
