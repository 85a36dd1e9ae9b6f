//! Statements about orders: how far an order, or its hold on some names, has got, whatever its file says.

use std::collections::HashMap;

use super::judge::Policy;
use super::order::{Order, ScopeKind, Standing, Window};
use super::stamp::Edges;
use crate::name::Name;
use crate::time::UnixSeconds;

/// What somebody stated about an order at run time: it stands until another statement about the same, and outlives reloads.
///
/// The closest statement decides: one about a name before one about a zone around it, that before one about the whole order,
/// and that before what the order's file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The order's id.
    pub order: String,
    /// The names it is about: those this covers; none means the whole order.
    pub names: Option<(Name, ScopeKind)>,
    /// How they stand from now on.
    pub standing: Standing,
    /// When an order that is [`Standing::Held`] is held back; before and after, it stands as its file says. Of no other
    /// standing: what people state holds until they state something else.
    pub window: Window,
}

/// How far each order of a policy has got.
#[derive(Clone, Debug, Default)]
pub(super) struct Standings {
    /// By the order's number: what its file or a statement about the whole of it says.
    orders: Box<[Standing]>,
    /// When those are held back that are [`Standing::Held`], by the order's number. Few, and only ever looked at for those.
    holds: Vec<(u32, Window)>,
    /// What is stated about names, by the name in wire form.
    names: HashMap<Box<[u8]>, Vec<Stated>>,
}

/// What is stated about a name: the order's number, how the name is meant, how it stands.
type Stated = (u32, ScopeKind, Standing);

impl Standings {
    /// As the orders themselves say, unless stated otherwise. Statements about orders that are not there are passed over.
    pub(super) fn new(orders: &[Order], statements: &[Statement]) -> Standings {
        let mut standings =
            Standings { orders: orders.iter().map(|order| order.standing).collect(), ..Standings::default() };
        let mut numbers: HashMap<&str, Vec<u32>> = HashMap::new();
        for (order, number) in orders.iter().zip(0..) {
            numbers.entry(&order.id).or_default().push(number);
        }
        for statement in statements {
            for &number in numbers.get(statement.order.as_str()).into_iter().flatten() {
                match &statement.names {
                    None if statement.standing == Standing::Held => {
                        if orders[number as usize].may_be_held() {
                            standings.orders[number as usize] = Standing::Held;
                            standings.holds.push((number, statement.window));
                        }
                    }
                    // Nobody holds back single names.
                    Some(_) if statement.standing == Standing::Held => {}
                    None => standings.orders[number as usize] = statement.standing,
                    Some((name, kind)) => {
                        let here = standings.names.entry(name.as_wire().into()).or_default();
                        here.retain(|(other, other_kind, _)| (*other, *other_kind) != (number, *kind));
                        here.push((number, *kind, statement.standing));
                        // Exact comes before subtree: the first that covers the name is the closest.
                        here.sort_by_key(|(_, kind, _)| *kind);
                    }
                }
            }
        }
        standings
    }

    /// How the order stands as a whole at `at`.
    pub(super) fn whole(&self, order: u32, at: UnixSeconds) -> Standing {
        match self.orders.get(order as usize).copied().unwrap_or_default() {
            Standing::Held if !self.holds(order, at) => Standing::InForce,
            standing => standing,
        }
    }

    /// Whether an order that is [`Standing::Held`] is held back at `at`.
    pub(super) fn holds(&self, order: u32, at: UnixSeconds) -> bool {
        self.holds.iter().any(|(other, window)| *other == order && window.contains(at))
    }

    /// Whether anything is stated about names of an order by which it acts on them.
    pub(super) fn acts_on_names(&self, order: u32) -> bool {
        self.names
            .values()
            .flatten()
            .any(|(other, _, standing)| *other == order && *standing == Standing::InForce)
    }

    /// How the order stands as far as `name` is concerned; when it is held back [`Standings::holds`] tells.
    #[inline]
    pub(super) fn of(&self, order: u32, name: &Name) -> Standing {
        if self.names.is_empty() {
            return self.orders.get(order as usize).copied().unwrap_or_default();
        }
        self.closest(order, name)
    }

    /// The same where names are spoken of: the closest statement decides.
    fn closest(&self, order: u32, name: &Name) -> Standing {
        let mut wire = name.as_wire();
        let mut below = 0;
        while let [length, rest @ ..] = wire {
            let here = self.names.get(wire).into_iter().flatten();
            let about = |(other, kind, _): &&Stated| *other == order && kind.covers(below);
            if let Some((_, _, standing)) = here.clone().find(about) {
                return *standing;
            }
            wire = rest.get(usize::from(*length)..).unwrap_or_default();
            below += 1;
        }
        self.orders.get(order as usize).copied().unwrap_or_default()
    }

    /// The names about which anything is stated.
    pub(super) fn names(&self) -> impl Iterator<Item = Name> + '_ {
        self.names.keys().filter_map(|wire| Name::from_wire(wire).ok())
    }

    /// Whether anything is stated about exactly that name.
    pub(super) fn speaks_of(&self, name: &Name) -> bool {
        !self.names.is_empty() && self.names.contains_key(name.as_wire())
    }

    /// The windows in which orders are held back.
    pub(super) fn windows(&self) -> impl Iterator<Item = &Window> {
        self.holds.iter().map(|(_, window)| window)
    }
}

impl Policy {
    /// The same policy under these statements and no others: a small copy that shares the names, to be put in this one's
    /// place. What is suspended stays so. Takes microseconds, and as long for ten million names as for ten.
    #[must_use]
    pub fn with_statements(&self, statements: &[Statement], epoch: u64) -> Policy {
        let standings = Standings::new(&self.orders, statements);
        Policy {
            epoch,
            edges: Edges::of(&self.rules, &standings),
            standings,
            trie: self.trie.clone(),
            rules: self.rules.clone(),
            sets: self.sets.clone(),
            lone: self.lone.clone(),
            orders: self.orders.clone(),
            switches: self.switches.copy(),
            zones: self.zones.clone(),
            patterns: self.patterns.clone(),
            others: self.others.clone(),
            left_out: self.left_out.clone(),
            ready: self.ready,
        }
    }

    /// How the order of that id stands at `at` as far as `name` is concerned, or as a whole; none if there is no such order.
    pub fn standing(&self, order_id: &str, name: Option<&Name>, at: UnixSeconds) -> Option<Standing> {
        let number = self.orders.iter().position(|order| order.id == order_id)? as u32;
        Some(match name.map(|name| self.standings.of(number, name)) {
            Some(standing) if standing != Standing::Held => standing,
            _ => self.standings.whole(number, at),
        })
    }
}
