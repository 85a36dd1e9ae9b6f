//! Overrides: how far an order, or its hold on some names, has got, whatever its file says.

use std::collections::HashMap;

use super::order::{MatchKind, Order, Standing, Window};
use super::rule::OrderIndex;
use super::stamp::Edges;
use crate::name::Name;
use crate::time::UnixSeconds;

/// What comes before what an order's file says: what somebody stated at run time, which stands until another statement about
/// the same and outlives reloads, or that the file itself has changed and is being read ([`Override::suspension`]).
///
/// The closest decides: one about a name before one about a zone around it, that before one about the whole order, and that
/// before the file. But a suspension leaves nothing of its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The order's id.
    pub order: String,
    /// The names it is about: those this covers; none means the whole order.
    pub names: Option<(Name, MatchKind)>,
    /// How they stand from now on.
    pub standing: Standing,
    /// When an order that is [`Standing::Held`] is held back; before and after, it stands as its file says. Of no other
    /// standing: what people state holds until they state something else.
    pub window: Window,
    /// Whether it leaves nothing of what is stated about single names.
    pub over_names: bool,
}

impl Override {
    /// Of an order whose file has lifted it or is gone, until the policy that comes of that is compiled: it captures and
    /// spares nothing, and keeps no other order from what that does.
    pub fn suspension(order: &str) -> Override {
        Override {
            order: order.to_owned(),
            names: None,
            standing: Standing::Lifted,
            window: Window::ALWAYS,
            over_names: true,
        }
    }
}

/// How far each order of a policy has got.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    /// By the order's number: what its file or a statement about the whole of it says.
    orders: Box<[Standing]>,
    /// When those are held back that are [`Standing::Held`], by the order's number. Few, and only ever looked at for those.
    holds: Vec<(OrderIndex, Window)>,
    /// What is stated about names, by the name in wire form.
    names: HashMap<Box<[u8]>, Vec<NameOverride>>,
    /// When a hold begins or ends.
    pub(super) edges: Edges,
}

/// What is stated about a name: the order's number, how the name is meant, how it stands.
type NameOverride = (OrderIndex, MatchKind, Standing);

impl Overrides {
    /// As the orders themselves say, unless stated otherwise. Overrides of orders that are not there are passed over.
    pub(super) fn new(orders: &[Order], stated: &[Override]) -> Overrides {
        let mut overrides =
            Overrides { orders: orders.iter().map(|order| order.standing).collect(), ..Overrides::default() };
        let mut numbers: HashMap<&str, Vec<OrderIndex>> = HashMap::new();
        for (order, number) in orders.iter().zip((0..).map(OrderIndex)) {
            numbers.entry(&order.id).or_default().push(number);
        }
        for one in stated {
            for &number in numbers.get(one.order.as_str()).into_iter().flatten() {
                match &one.names {
                    None if one.standing == Standing::Held => {
                        if orders[number.0 as usize].may_be_held() {
                            overrides.orders[number.0 as usize] = Standing::Held;
                            overrides.holds.push((number, one.window));
                        }
                    }
                    // Nobody holds back single names.
                    Some(_) if one.standing == Standing::Held => {}
                    None => overrides.orders[number.0 as usize] = one.standing,
                    Some((name, kind)) => {
                        let here = overrides.names.entry(name.as_wire().into()).or_default();
                        here.retain(|(other, other_kind, _)| (*other, *other_kind) != (number, *kind));
                        here.push((number, *kind, one.standing));
                        // Exact comes before subtree: the first that covers the name is the closest.
                        here.sort_by_key(|(_, kind, _)| *kind);
                    }
                }
            }
        }
        for one in stated.iter().filter(|one| one.over_names) {
            for &number in numbers.get(one.order.as_str()).into_iter().flatten() {
                overrides.orders[number.0 as usize] = one.standing;
                overrides.names.values_mut().for_each(|here| here.retain(|(other, ..)| *other != number));
            }
        }
        overrides.names.retain(|_, here| !here.is_empty());
        overrides.edges = Edges::of(overrides.holds.iter().map(|(_, window)| window));
        overrides
    }

    /// How the order stands as a whole at `at`.
    pub(super) fn whole(&self, order: OrderIndex, at: UnixSeconds) -> Standing {
        match self.orders.get(order.0 as usize).copied().unwrap_or_default() {
            Standing::Held if !self.holds(order, at) => Standing::InForce,
            standing => standing,
        }
    }

    /// Whether an order that is [`Standing::Held`] is held back at `at`.
    pub(super) fn holds(&self, order: OrderIndex, at: UnixSeconds) -> bool {
        self.holds.iter().any(|(other, window)| *other == order && window.contains(at))
    }

    /// Whether anything is stated about names of an order by which it acts on them.
    pub(super) fn acts_on_names(&self, order: OrderIndex) -> bool {
        self.names
            .values()
            .flatten()
            .any(|(other, _, standing)| *other == order && *standing == Standing::InForce)
    }

    /// How the order stands as far as `name` is concerned; when it is held back [`Overrides::holds`] tells.
    #[inline]
    pub(super) fn of(&self, order: OrderIndex, name: &Name) -> Standing {
        if self.names.is_empty() {
            return self.orders.get(order.0 as usize).copied().unwrap_or_default();
        }
        self.closest(order, name)
    }

    /// The same where names are spoken of: the closest statement decides.
    fn closest(&self, order: OrderIndex, name: &Name) -> Standing {
        let mut wire = name.as_wire();
        let mut below = 0;
        while let [length, rest @ ..] = wire {
            let here = self.names.get(wire).into_iter().flatten();
            let about = |(other, kind, _): &&NameOverride| *other == order && kind.covers(below);
            if let Some((_, _, standing)) = here.clone().find(about) {
                return *standing;
            }
            wire = rest.get(usize::from(*length)..).unwrap_or_default();
            below += 1;
        }
        self.orders.get(order.0 as usize).copied().unwrap_or_default()
    }

    /// The names about which anything is stated.
    pub(super) fn names(&self) -> impl Iterator<Item = Name> + '_ {
        self.names.keys().filter_map(|wire| Name::from_wire(wire).ok())
    }

    /// Whether anything is stated about exactly that name.
    pub(super) fn speaks_of(&self, name: &Name) -> bool {
        !self.names.is_empty() && self.names.contains_key(name.as_wire())
    }
}
