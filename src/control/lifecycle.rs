//! How an order stands, in the words of the API: policy's answer as text, and what follows from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::order::Lift;
use crate::policy::{self, Action, Order};
use crate::time::UnixSeconds;

/// Where an order is in its life: policy's [`State`](policy::State) as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
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
    /// Every state, in the order of an order's life.
    pub const ALL: [State; 7] = [
        State::Drafted,
        State::NotYetEffective,
        State::Observing,
        State::Held,
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
            State::Held => "held",
            State::InForce => "in-force",
            State::Lapsed => "lapsed",
            State::Lifted => "lifted",
        }
    }
}

impl From<policy::State> for State {
    fn from(state: policy::State) -> State {
        match state {
            policy::State::Drafted => State::Drafted,
            policy::State::NotYetEffective => State::NotYetEffective,
            policy::State::Observing => State::Observing,
            policy::State::Held => State::Held,
            policy::State::InForce => State::InForce,
            policy::State::Lapsed => State::Lapsed,
            policy::State::Lifted => State::Lifted,
        }
    }
}

/// Seconds after which no client holds an answer that the order had forged: the greatest TTL it hands out.
pub fn bound_s(order: &Order) -> u32 {
    let scopes = order.scopes.iter().map(|scope| {
        let own = scope.ttl_s.unwrap_or(order.ttl_s);
        match (scope.action.unwrap_or(order.action), &scope.data) {
            (Action::LOCAL, Some(data)) => {
                data.records.iter().map(|record| record.ttl_s).max().unwrap_or(own)
            }
            _ => own,
        }
    });
    scopes.max().unwrap_or(order.ttl_s)
}

/// Who lifted an order and why, behind the word, as far as its file says.
pub fn said(lift: &Lift) -> String {
    let by = lift.by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
    let why = lift.why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
    by + &why
}

/// Whether somebody should look at it again.
pub fn is_review_due(order: &Order, at: UnixSeconds) -> bool {
    order.window.review_by.is_some_and(|by| by <= at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{MatchKind, Scope};

    #[test]
    fn the_bound_is_the_greatest_ttl() {
        let mut order = Order::new("a");
        order.ttl_s = 10;
        assert_eq!(bound_s(&order), 10);
        order.scopes = vec![Scope::new(MatchKind::Exact), Scope::new(MatchKind::Exact)];
        assert_eq!(bound_s(&order), 10);
        order.scopes[1].ttl_s = Some(60);
        assert_eq!(bound_s(&order), 60);
        order.scopes[0].ttl_s = Some(5);
        order.scopes[1].ttl_s = Some(7);
        assert_eq!(bound_s(&order), 7, "no scope hands out the order's own");
    }
}
