//! The outcome for one name: who captures it, by which trigger, and what happens.

use std::net::IpAddr;

use super::order::{Act, Action, MatchKind, Order, Scope, TriggerType};
use crate::name::Name;

/// What policy decides for a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict<'p> {
    /// No order captures it: the truth.
    Clear,
    /// A protected name: the truth, whatever orders say.
    Protected(Trigger),
    /// An order says to tell the truth, whatever later orders say.
    Passthru(Hit<'p>),
    /// An order captures it, and that is done.
    Act(Act, Hit<'p>),
}

/// Why a verdict fell: the trigger, the order and scope behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit<'p> {
    /// The order that captures the name.
    pub order: &'p Order,
    /// The scope within it.
    pub scope: &'p Scope,
    /// What matched.
    pub trigger: Trigger,
    /// What happens: the scope's action, else the order's.
    pub action: Action,
    /// Position of the order's policy zone, from 0.
    pub zone: u16,
}

/// What matched: a listed name, by the number of its labels, and how it matches; or a listed prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Labels of the listed name: the rightmost labels of the name it matched.
    pub labels: u8,
    /// How the listed name matches.
    pub kind: MatchKind,
    /// What was held against it.
    pub on: TriggerType,
    /// The listed prefix and its length, of triggers on addresses.
    pub prefix: Option<(IpAddr, u8)>,
}

impl Trigger {
    /// A listed name of so many labels that the name asked for matches in that way.
    pub const fn new(labels: u8, kind: MatchKind) -> Trigger {
        Trigger { labels, kind, on: TriggerType::Qname, prefix: None }
    }

    /// The listed name, given the name that it matched; of triggers on anything else, the name at which they took hold.
    pub fn name(&self, matched: &Name) -> Name {
        match self.on {
            TriggerType::Qname => matched.ancestor(usize::from(self.labels)).unwrap_or(Name::ROOT),
            TriggerType::ClientIp | TriggerType::ResponseIp | TriggerType::NsDname | TriggerType::NsIp => {
                *matched
            }
        }
    }
}

impl Hit<'_> {
    /// The TTL of what is forged for it, in seconds; local data has TTLs of its own.
    pub fn ttl_s(&self) -> u32 {
        self.scope.ttl_s.unwrap_or(self.order.ttl_s)
    }
}

impl<'p> Verdict<'p> {
    /// The verdict in a word: clear, protected, passthru, or the action.
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Clear => "clear",
            Verdict::Protected(_) => "protected",
            Verdict::Passthru(_) => "passthru",
            Verdict::Act(act, _) => act.as_str(),
        }
    }

    /// The hit behind the verdict, if an order made it.
    pub fn hit(&self) -> Option<&Hit<'p>> {
        match self {
            Verdict::Passthru(hit) | Verdict::Act(_, hit) => Some(hit),
            Verdict::Clear | Verdict::Protected(_) => None,
        }
    }
}
