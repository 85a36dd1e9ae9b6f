//! What was loaded: the orders without their names, what is wrong, and what came of each list.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::list_result::{ListResult, ListState};
use crate::name::{Name, NameList};
use crate::policy::{Order, OrderWithNames, Policy, Protected};
use crate::problem::Problem;

/// Everything that was read, good and bad, but for names.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The orders without their names, one policy zone for each configured path and then for each list, in the given order.
    pub held: Vec<HeldZone>,
    /// Names that no order may capture.
    pub protected: Vec<Protected>,
    /// Everything that is wrong now, in the order of loading.
    pub problems: Vec<Problem>,
    /// Orders in `held`.
    pub orders: usize,
    /// Names listed by them, counted as often as they are listed.
    pub names: usize,
    /// Lines of names files that were refused.
    pub refused_lines: usize,
    /// Order files that were refused, whether or not an earlier version goes on serving.
    pub refused_orders: usize,
    /// Refused order files whose last good version is in `held`.
    pub kept: Vec<String>,
    /// Everything that was read or looked for, each once: what to watch for changes.
    pub files: Vec<PathBuf>,
    /// What came of each list, in the given order.
    pub lists: Vec<ListResult>,
    /// The problems that are about protected names which orders list, by the order's id: they are found only when names are
    /// at hand.
    pub conflicts: Vec<(String, Problem)>,
    /// Orders of `held` that are not in the policy, by id, and why: it had no room for them, or their names are lost.
    pub left_out: BTreeMap<String, String>,
    /// Whether something could not be read that may be had later though no file changes.
    pub wanting: bool,
    /// Whether a file is being written, so that what it held before stays in force for now.
    pub awaiting: bool,
}

/// The orders of a policy zone without their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeldZone {
    /// As the operator named it.
    pub name: String,
    /// Its orders, in precedence order.
    pub orders: Vec<Arc<LoadedOrder>>,
}

/// What is remembered of an order whose names have been compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedOrder {
    /// The order.
    pub order: Order,
    /// Names it lists, counted as often as they are listed.
    pub names: usize,
    /// Tells its lists, exceptions included, from others.
    pub digest: u128,
    /// The first name of each of its lists, a few at most: to be shown as examples.
    pub examples: Vec<Name>,
}

/// The most examples of an order that are remembered: one that is of use is nearly always the first.
const EXAMPLES: usize = 4;

impl LoadedOrder {
    /// What is remembered of `listed`.
    pub(super) fn of(listed: &OrderWithNames) -> LoadedOrder {
        let mut digest = Xxh3::new();
        for list in listed.lists() {
            digest.update(&(list.len() as u64).to_le_bytes());
            digest.update(list.as_wire());
        }
        let names = listed.names().map(NameList::len).sum();
        let examples = listed.names().filter_map(|list| list.iter().next()).take(EXAMPLES).collect();
        LoadedOrder { order: listed.order.clone(), names, digest: digest.digest128(), examples }
    }
}

impl Loaded {
    /// The orders, in order of precedence.
    pub fn held_orders(&self) -> impl Iterator<Item = &Arc<LoadedOrder>> {
        self.held.iter().flat_map(|zone| &zone.orders)
    }

    /// The orders that are in the policy, in order of precedence.
    pub fn orders_in_force(&self) -> impl Iterator<Item = &Arc<LoadedOrder>> {
        self.held_orders().filter(|held| !self.left_out.contains_key(&held.order.id))
    }

    /// Has what was found about protected names among the problems.
    pub(in crate::orders) fn note_conflicts(&mut self, conflicts: Vec<(String, Problem)>) {
        self.problems.extend(conflicts.iter().map(|(_, problem)| problem.clone()));
        self.conflicts = conflicts;
    }

    /// Says what `policy`, which was compiled from this, had no room for. False if that is a group of protected names: such
    /// a policy might take innocent names.
    pub(super) fn note_left_out(&mut self, policy: &Policy) -> bool {
        let mut whole = true;
        for one in policy.left_out() {
            match &one.order {
                Some(id) => self.leave_out(id, one.bound.to_string()),
                None => {
                    let message = format!("protected names are left out: {}", one.bound);
                    self.problems.push(Problem::error("[protected]", None, message));
                    whole = false;
                }
            }
        }
        whole
    }

    /// Notes that an order is not in the policy.
    pub(super) fn leave_out(&mut self, id: &str, why: String) {
        let found = self.held_orders().find(|held| held.order.id == id);
        let source = found.map_or_else(String::new, |held| held.order.source.clone());
        let files = self.lists.iter_mut().flat_map(|list| &mut list.files);
        for file in files.filter(|file| file.id == id) {
            file.state = ListState::Refused(why.clone());
            file.entries = 0;
        }
        let hint = "everything else is in force; to make room for it, load fewer or smaller lists before it";
        let message = format!("{id} is left out: {why}");
        self.problems.push(Problem::error(source, None, message).hint(hint));
        self.left_out.insert(id.to_owned(), why);
    }

    /// Counts what was gathered.
    pub(super) fn count(&mut self) {
        self.orders = self.held_orders().count();
        self.names = self.held_orders().map(|held| held.names).sum();
        self.files.sort_unstable();
        self.files.dedup();
    }

    /// Whether the same names are protected.
    pub(super) fn has_protected_of(&self, other: &Loaded) -> bool {
        let same = |(left, right): (&Protected, &Protected)| {
            left.kind == right.kind && left.source == right.source && left.names == right.names
        };
        self.protected.len() == other.protected.len() && self.protected.iter().zip(&other.protected).all(same)
    }
}
