//! What a name in the trie points to: rules, sets of them, and what is known of a set that is one capture.

use std::ops::Index;

use super::order::{Action, Exemption, MatchKind, Order, TriggerType, Window};
use super::verdict::Trigger;

/// Number of a set of rules; 0 is the empty set, which is the trie's word for no value. As plain as the trie's values are.
pub(super) type RuleSet = u32;

/// Number of an order within a policy: a lower one comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct OrderIndex(pub(super) u32);

/// Number of a scope within its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ScopeIndex(pub(super) u32);

/// Number of an exemption within its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ExemptionIndex(pub(super) u32);

impl<T> Index<OrderIndex> for Vec<T> {
    type Output = T;

    fn index(&self, order: OrderIndex) -> &T {
        &self[order.0 as usize]
    }
}

/// One way in which one scope takes hold of the names that point to it.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub(super) struct Rule {
    /// What it does.
    pub(super) role: Role,
    /// How it covers names.
    pub(super) kind: MatchKind,
    /// What its names are held against.
    pub(super) on: TriggerType,
    /// When it is in force: for a capture the order's window, the scope's and the lift of the whole order in one.
    pub(super) window: Window,
}

impl Rule {
    /// A rule on names asked for that is always in force.
    pub(super) fn new(role: Role, kind: MatchKind) -> Rule {
        Rule { role, kind, on: TriggerType::Qname, window: Window::ALWAYS }
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// Captures names for that order and scope.
    Capture { order: OrderIndex, scope: ScopeIndex },
    /// Spares names from that order and scope.
    Except { order: OrderIndex, scope: ScopeIndex },
    /// Spares names in zones that were lifted from that order and scope.
    // Beside exceptions, so that a look at one number tells both from all else.
    GivenBack { order: OrderIndex, scope: ScopeIndex },
    /// Spares names from that order, with what they lead to, as far as that exemption goes.
    Exempt { order: OrderIndex, exemption: ExemptionIndex },
    /// Keeps names from every order.
    Protect,
    /// Says that the order's zone has something below the name, and nothing at it.
    Node { order: OrderIndex },
}

/// A set of rules that is one capture, and so has no exception, with all that decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct SingleCapture {
    pub(super) order: OrderIndex,
    pub(super) scope: ScopeIndex,
    pub(super) kind: MatchKind,
    pub(super) action: Action,
    pub(super) window: Window,
}

impl SingleCapture {
    /// The lone captures among the sets, by set.
    pub(super) fn of(rules: &[Rule], sets: &[Box<[u32]>], orders: &[Order]) -> Vec<Option<SingleCapture>> {
        let lone = |set: &[u32]| {
            let &[rule] = set else { return None };
            let Rule { role: Role::Capture { order, scope }, kind, on: TriggerType::Qname, window } =
                rules[rule as usize]
            else {
                return None;
            };
            let of = &orders[order.0 as usize];
            // A pattern that exempts stands in no set.
            if exempting(of, scope).any(|exemption| exemption.patterns.is_some()) {
                return None;
            }
            Some(SingleCapture { order, scope, kind, action: action_of(of, scope), window })
        };
        sets.iter().map(|set| lone(set)).collect()
    }
}

/// What a scope of an order does.
pub(super) fn action_of(order: &Order, scope: ScopeIndex) -> Action {
    order.scopes[scope.0 as usize].action.unwrap_or(order.action)
}

/// What an order exempts from one of its scopes.
pub(super) fn exempting(order: &Order, scope: ScopeIndex) -> impl Iterator<Item = &Exemption> {
    let important = order.scopes[scope.0 as usize].important;
    order.exemptions.iter().filter(move |exemption| exemption.reaches(important))
}

/// One order's hold on a name.
#[derive(Clone, Copy)]
pub(super) struct Capture {
    pub(super) trigger: Trigger,
    pub(super) order: OrderIndex,
    pub(super) scope: ScopeIndex,
    pub(super) action: Action,
    /// Sorts the captures of one sort of trigger in one zone, the best first.
    pub(super) rank: (u8, u128),
}

impl Capture {
    /// A capture by a listed name: of several, the closest is best.
    pub(super) fn of_name(trigger: Trigger, order: OrderIndex, scope: ScopeIndex, action: Action) -> Capture {
        Capture { trigger, order, scope, action, rank: (u8::MAX - trigger.labels, 0) }
    }
}
