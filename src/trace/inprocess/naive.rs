//! What should happen to a name, found the slow way: every suffix in one map, every rule in turn.
//!
//! It shares no code with `policy` but the values that orders are: no trie, no rule sets, no compiled windows. What it
//! says is what the design says in words: protected, passthru, then policy zones in their order; within one the closest
//! trigger, then the order that comes first; a name spared by an exception or a lifted zone is not captured.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::truths::Quick;
use crate::name::{Name, NameList};
use crate::orders::Filled;
use crate::policy::{Act, Action, MatchKind};
use crate::time::UnixSeconds;

/// What should happen to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The truth.
    Truth,
    /// That, by the order of this number in [`Naive::orders`].
    Act(Act, u32),
}

/// Every listed name, each with what is said about it.
#[derive(Debug, Default)]
pub struct Naive {
    /// Names in wire form to their entries.
    names: HashMap<Box<[u8]>, Vec<Entry>, BuildHasherDefault<Quick>>,
    /// What of each order matters to a reply.
    pub orders: Vec<OrderView>,
}

/// What of an order matters to a reply.
#[derive(Clone, Debug)]
pub struct OrderView {
    /// Its id.
    pub id: String,
    /// Its addresses, in wire form.
    pub addresses: Vec<Vec<u8>>,
}

/// One way in which a name is listed.
#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: MatchKind,
    sort: Sort,
}

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sort {
    Protects,
    Captures { zone: u32, order: u32, scope: u32, action: Action },
    Spares { order: u32, scope: u32 },
}

impl Naive {
    /// What `loaded` says at that time.
    pub fn new(loaded: &Filled, at: UnixSeconds) -> Naive {
        let mut naive = Naive::default();
        for protected in &loaded.protected {
            naive.add(&protected.names, Entry { kind: protected.kind, sort: Sort::Protects });
        }
        for (zone, zone_number) in loaded.zones.iter().zip(0..) {
            for listed in &zone.orders {
                let number = naive.orders.len() as u32;
                let order = &listed.order;
                let v4 = order.sinkhole.v4.iter().map(|addr| addr.octets().to_vec());
                let v6 = order.sinkhole.v6.iter().map(|addr| addr.octets().to_vec());
                naive.orders.push(OrderView { id: order.id.clone(), addresses: v4.chain(v6).collect() });
                let over = |from: Option<UnixSeconds>| from.is_none_or(|from| at >= from);
                let lifted = order.lifts.iter().any(|lift| lift.zones.is_empty() && over(lift.at));
                for ((scope, of), index) in listed.scopes().zip(0..) {
                    if lifted || !order.window.contains(at) || !scope.window.contains(at) {
                        continue;
                    }
                    let action = scope.action.unwrap_or(order.action);
                    let sort = Sort::Captures { zone: zone_number, order: number, scope: index, action };
                    naive.add(&of.names, Entry { kind: scope.kind, sort });
                    let sort = Sort::Spares { order: number, scope: index };
                    naive.add(&of.exceptions, Entry { kind: scope.exception_kind, sort });
                    for (exemption, names) in
                        listed.exempted().filter(|(one, _)| one.reaches(scope.important))
                    {
                        naive.add(names, Entry { kind: exemption.kind, sort });
                    }
                    for lift in order.lifts.iter().filter(|lift| over(lift.at)) {
                        naive.add(
                            &lift.zones.iter().copied().collect(),
                            Entry { kind: MatchKind::Subtree, sort },
                        );
                    }
                }
            }
        }
        naive
    }

    /// What should happen to `name`.
    pub fn expected(&self, name: &Name) -> Expected {
        let mut applying: Vec<(usize, Sort)> = Vec::new();
        // Suffixes from the name itself up to the root.
        let (wire, mut at, mut below) = (name.as_wire(), 0, 0);
        let labels = name.label_count();
        while let Some(suffix) = wire.get(at..) {
            for entry in self.names.get(suffix).into_iter().flatten() {
                let covers = match entry.kind {
                    MatchKind::Exact => below == 0,
                    MatchKind::Subtree => true,
                    MatchKind::SubtreeBelow => below > 0,
                };
                if covers {
                    applying.push((labels - below, entry.sort));
                }
            }
            match suffix.first() {
                None | Some(0) => break,
                Some(&length) => at += 1 + usize::from(length),
            }
            below += 1;
        }
        if applying.iter().any(|(_, sort)| *sort == Sort::Protects) {
            return Expected::Truth;
        }
        let mut best = None;
        for &(closeness, sort) in &applying {
            let Sort::Captures { zone, order, scope, action } = sort else { continue };
            let spared = applying.iter().any(|(_, other)| *other == Sort::Spares { order, scope });
            if spared || action == Action::Observe {
                continue;
            }
            let rank = (action != Action::Passthru, zone, usize::MAX - closeness, order, scope);
            if best.is_none_or(|(known, _, _)| rank < known) {
                best = Some((rank, action, order));
            }
        }
        match best {
            Some((_, Action::Act(act), order)) => Expected::Act(act, order),
            None | Some((_, Action::Observe | Action::Passthru, _)) => Expected::Truth,
        }
    }

    /// Adds names that are all listed alike.
    fn add(&mut self, names: &NameList, entry: Entry) {
        for name in names.iter() {
            self.names.entry(name.as_wire().into()).or_default().push(entry);
        }
    }
}
