//! How an order stands: what its file says, what was stated since, and what time it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::{Action, Order, Standing, UnixSeconds};

/// Where an order is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Written down, not acted on, not counted.
    Drafted,
    /// Its time has not come.
    NotYetEffective,
    /// Counted, not acted on: a dry run.
    Observing,
    /// Acted on.
    InForce,
    /// Its time is over.
    Lapsed,
    /// Taken back.
    Lifted,
}

impl State {
    /// Every state, in the order of an order's life.
    pub const ALL: [State; 6] = [
        State::Drafted,
        State::NotYetEffective,
        State::Observing,
        State::InForce,
        State::Lapsed,
        State::Lifted,
    ];

    /// The word reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Drafted => "drafted",
            State::NotYetEffective => "not-yet-effective",
            State::Observing => "observing",
            State::InForce => "in-force",
            State::Lapsed => "lapsed",
            State::Lifted => "lifted",
        }
    }
}

/// Where an order of that standing is at `at`. What ends it for good is said first: its file may lift it, too.
pub fn state(order: &Order, standing: Standing, at: UnixSeconds) -> State {
    let lifted =
        order.lifts.iter().any(|lift| lift.zones.is_empty() && lift.at.is_none_or(|from| from <= at));
    let Order { window, .. } = order;
    match standing {
        Standing::Lifted => State::Lifted,
        _ if lifted => State::Lifted,
        Standing::Drafted => State::Drafted,
        _ if window.expires.is_some_and(|until| until <= at) => State::Lapsed,
        _ if window.effective.is_some_and(|from| from > at) => State::NotYetEffective,
        Standing::Observing => State::Observing,
        Standing::InForce => State::InForce,
    }
}

/// Seconds after which no client holds an answer that the order had forged: the greatest TTL it hands out.
pub fn bound_s(order: &Order) -> u32 {
    let scopes = order.scopes.iter().map(|scope| {
        let own = scope.ttl_s.unwrap_or(order.ttl_s);
        match (scope.action.unwrap_or(order.action), &scope.data) {
            (Action::Local, Some(data)) => {
                data.records.iter().map(|record| record.ttl_s).max().unwrap_or(own)
            }
            _ => own,
        }
    });
    scopes.max().unwrap_or(order.ttl_s)
}

/// Whether somebody should look at it again.
pub fn is_review_due(order: &Order, at: UnixSeconds) -> bool {
    order.window.review_by.is_some_and(|by| by <= at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::order::Lift;
    use crate::policy::{Scope, ScopeKind, Window};

    #[test]
    fn an_order_goes_through_its_states() {
        use Standing::{Drafted, InForce, Lifted, Observing};
        let always = Window::ALWAYS;
        let later = Window { effective: Some(100), expires: Some(200), ..always };
        let lift = |at| vec![Lift { at, ..Lift::default() }];
        let zone = vec![Lift { zones: vec!["a.example".parse().unwrap()], ..Lift::default() }];
        for (standing, window, lifts, at, expected) in [
            (InForce, always, vec![], 0, State::InForce),
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
            assert_eq!(state(&order, standing, at), expected, "{standing} {window:?} {at}");
        }
    }

    #[test]
    fn the_bound_is_the_greatest_ttl() {
        let mut order = Order::new("a");
        order.ttl_s = 10;
        assert_eq!(bound_s(&order), 10);
        order.scopes = vec![Scope::new(ScopeKind::Exact), Scope::new(ScopeKind::Exact)];
        assert_eq!(bound_s(&order), 10);
        order.scopes[1].ttl_s = Some(60);
        assert_eq!(bound_s(&order), 60);
        order.scopes[0].ttl_s = Some(5);
        order.scopes[1].ttl_s = Some(7);
        assert_eq!(bound_s(&order), 7, "no scope hands out the order's own");
    }
}
