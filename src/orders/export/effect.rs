//! A verdict as other servers can be told: what a client gets, without why.

use std::ptr;

use crate::policy::{Action, Order, Verdict};

/// What happens to a name.
#[derive(Clone, Copy, Debug)]
pub enum Effect<'p> {
    /// It is answered truthfully.
    Truth,
    /// The order answers in this way.
    Forged(Forged, &'p Order),
}

/// A way to answer that is not the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// The order's addresses, of which there are some.
    Addresses,
    /// The name exists and has no records.
    Nodata,
    /// The name does not exist.
    Nxdomain,
    /// REFUSED.
    Refused,
    /// No answer.
    Drop,
    /// Over UDP an empty truncated answer.
    TcpOnly,
}

impl<'p> Effect<'p> {
    /// What a verdict comes to. The only place that looks at an action: whoever adds one is led here.
    pub fn of(verdict: &Verdict<'p>) -> Effect<'p> {
        let Verdict::Act(hit) = verdict else { return Effect::Truth };
        let sinkhole = &hit.order.sinkhole;
        let forged = match hit.action {
            // Without any address A and AAAA are NODATA, as every other type is.
            Action::Sinkhole if sinkhole.v4.is_empty() && sinkhole.v6.is_empty() => Forged::Nodata,
            Action::Sinkhole => Forged::Addresses,
            Action::Nodata => Forged::Nodata,
            Action::Nxdomain => Forged::Nxdomain,
            Action::Refused => Forged::Refused,
            Action::Drop => Forged::Drop,
            Action::TcpOnly => Forged::TcpOnly,
            // A verdict never acts by these.
            Action::Observe | Action::Passthru => return Effect::Truth,
        };
        Effect::Forged(forged, hit.order)
    }

    /// Whether the truth is withheld.
    pub fn acts(self) -> bool {
        matches!(self, Effect::Forged(..))
    }

    /// In which way, if it is.
    pub fn forged(self) -> Option<Forged> {
        match self {
            Effect::Truth => None,
            Effect::Forged(forged, _) => Some(forged),
        }
    }
}

impl PartialEq for Effect<'_> {
    /// Whether clients see no difference: two orders with the same addresses and TTL are one here.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Effect::Truth, Effect::Truth) => true,
            (Effect::Forged(mine, one), Effect::Forged(theirs, two)) => {
                let same_data = *mine != Forged::Addresses || one.sinkhole == two.sinkhole;
                mine == theirs && (ptr::eq(*one, *two) || same_data && one.ttl_s == two.ttl_s)
            }
            _ => false,
        }
    }
}
