//! Where an order is in its life: what its file says, what was stated since, and what time it is, all in one answer.

use super::compiled::Policy;
use super::order::{Lift, Order, Standing};
use super::rule::OrderIndex;
use crate::time::UnixSeconds;

/// Where an order is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Written down, not acted on, not counted.
    Drafted,
    /// Its time has not come.
    NotYetEffective,
    /// Counted, not acted on: a dry run.
    Observing,
    /// Held back for a while: the names it lists are acted on, what it takes beyond them is counted.
    Held,
    /// Acted on.
    InForce,
    /// Its time is over.
    Lapsed,
    /// Taken back.
    Lifted,
}

impl State {
    /// Whether any name is answered otherwise because of an order that is there.
    pub fn acts(self) -> bool {
        matches!(self, State::InForce | State::Held)
    }
}

impl Order {
    /// The lift of the whole order that its file has and whose time has come at `at`.
    pub fn lifted(&self, at: UnixSeconds) -> Option<&Lift> {
        self.lifts.iter().find(|lift| lift.zones.is_empty() && lift.at.is_none_or(|from| from <= at))
    }

    /// Where the order is at `at`, if it stands like that. What ends it for good is said first: its file may lift it, too.
    pub fn state(&self, standing: Standing, at: UnixSeconds) -> State {
        let lifted = self.lifted(at).is_some();
        match standing {
            Standing::Lifted => State::Lifted,
            _ if lifted => State::Lifted,
            Standing::Drafted => State::Drafted,
            _ if self.window.expires.is_some_and(|until| until <= at) => State::Lapsed,
            _ if self.window.effective.is_some_and(|from| from > at) => State::NotYetEffective,
            Standing::Observing => State::Observing,
            Standing::Held => State::Held,
            Standing::InForce => State::InForce,
        }
    }

    /// Whether it may be held back. What a court, an agency or a registry ordered acts at its second, whatever is stated; and
    /// what does not act as its file says has nothing to be held back from.
    pub fn may_be_held(&self) -> bool {
        self.standing == Standing::InForce && !self.authority.kind.is_external()
    }
}

impl Policy {
    /// Each order in precedence order, and where it is at `at`, overrides heeded.
    pub fn states(&self, at: UnixSeconds) -> impl Iterator<Item = (&Order, State)> {
        self.compiled
            .orders
            .iter()
            .zip((0..).map(OrderIndex))
            .map(move |(order, number)| (order, order.state(self.overrides.whole(number, at), at)))
    }

    /// The orders that act on any name at `at`: as a whole, or on names that somebody stated that of.
    pub fn acting(&self, at: UnixSeconds) -> impl Iterator<Item = &Order> {
        self.states(at).zip((0..).map(OrderIndex)).filter_map(move |((order, state), number)| {
            let by_names = || {
                let may_act = order.state(Standing::InForce, at) == State::InForce;
                may_act && self.overrides.acts_on_names(number)
            };
            (state.acts() || by_names()).then_some(order)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Name, NameList};
    use crate::policy::order::Lift;
    use crate::policy::{IssuerKind, MatchKind, Override, PolicyZone, Window};
    use crate::policy::{OrderWithNames, Scope};
    use std::sync::Arc;

    #[test]
    fn an_order_goes_through_its_states() {
        use Standing::{Drafted, Held, InForce, Lifted, Observing};
        let always = Window::ALWAYS;
        let later = Window { effective: Some(100), expires: Some(200), ..always };
        let lift = |at| vec![Lift { at, ..Lift::default() }];
        let zone = vec![Lift { zones: vec!["a.example".parse().unwrap()], ..Lift::default() }];
        for (standing, window, lifts, at, expected) in [
            (InForce, always, vec![], 0, State::InForce),
            (Held, always, vec![], 0, State::Held),
            (Held, later, vec![], 99, State::NotYetEffective),
            (Held, always, lift(None), 0, State::Lifted),
            (Observing, always, vec![], 0, State::Observing),
            (Drafted, always, vec![], 0, State::Drafted),
            (Lifted, always, vec![], 0, State::Lifted),
            (InForce, later, vec![], 99, State::NotYetEffective),
            (Observing, later, vec![], 99, State::NotYetEffective),
            (Drafted, later, vec![], 99, State::Drafted),
            (InForce, later, vec![], 100, State::InForce),
            (InForce, later, vec![], 199, State::InForce),
            (InForce, later, vec![], 200, State::Lapsed),
            (Lifted, later, vec![], 200, State::Lifted),
            (InForce, always, lift(None), 0, State::Lifted),
            (InForce, always, lift(Some(5)), 4, State::InForce),
            (InForce, always, lift(Some(5)), 5, State::Lifted),
            (InForce, always, zone, 5, State::InForce),
        ] {
            let mut order = Order::new("a");
            (order.window, order.lifts) = (window, lifts);
            assert_eq!(order.state(standing, at), expected, "{standing} {window:?} {at}");
        }
    }

    #[test]
    fn who_acts_is_what_is_stated_and_what_time_it_is() {
        let listed = |id: &str, change: fn(&mut Order)| {
            let mut order = Order::new(id);
            order.scopes = vec![Scope::new(MatchKind::Exact)];
            change(&mut order);
            let names: NameList = std::iter::once(format!("{id}.example").parse::<Name>().unwrap()).collect();
            Arc::new(OrderWithNames::listing(order, [names]))
        };
        let orders = vec![
            listed("plain", |_| {}),
            listed("drafted", |order| order.standing = Standing::Drafted),
            listed("later", |order| order.window.effective = Some(50)),
            listed("ended", |order| order.lifts = vec![Lift::default()]),
            listed("court", |order| order.authority.kind = IssuerKind::Court),
        ];
        let base = Policy::compile(&[PolicyZone { name: "z".into(), orders }], &[], 1);
        let state = |order: &str, name: Option<&str>, standing| Override {
            order: order.into(),
            names: name.map(|text| (text.parse().unwrap(), MatchKind::Exact)),
            standing,
            over_names: false,
            window: Window { effective: Some(10), expires: Some(20), review_by: None },
        };
        use Standing::{Held, InForce, Lifted};
        for (what, statements, at, expected) in [
            ("as written", vec![], 0, "plain court"),
            ("its time has come", vec![], 50, "plain later court"),
            ("activated", vec![state("drafted", None, InForce)], 0, "plain drafted court"),
            (
                "a name activated",
                vec![state("drafted", Some("drafted.example"), InForce)],
                0,
                "plain drafted court",
            ),
            (
                "what has ended is not revived",
                vec![state("ended", Some("ended.example"), InForce)],
                0,
                "plain court",
            ),
            ("lifted", vec![state("plain", None, Lifted)], 0, "court"),
            ("held", vec![state("plain", None, Held), state("court", None, Held)], 15, "plain court"),
        ] {
            let policy = base.with_overrides(&statements, 2);
            let acting: Vec<&str> = policy.acting(at).map(|order| order.id.as_str()).collect();
            assert_eq!(acting.join(" "), expected, "{what}");
        }
        let suspended = base.with_overrides(&[Override::suspension("plain")], 2);
        assert_eq!(suspended.acting(0).map(|order| order.id.as_str()).collect::<Vec<_>>(), ["court"]);
    }
}
