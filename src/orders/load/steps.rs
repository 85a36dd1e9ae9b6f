//! The steps of a load, a type each: what was found, what it lists, and what a policy was made of.
//!
//! [`Scan`], without names, becomes [`Filled`], or [`Changed`] with the names of what changed alone; either is compiled to a
//! policy and to [`Compiled`]. That is [`Loaded`] once the loader has forgotten the names, which it may when the policy is in
//! force. A step that comes to nothing is dropped, or gives back the one before it, and the loader is as it was.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;

use super::Loader;
use super::loaded::{HeldZone, Loaded, LoadedOrder};
use crate::orders::{compile, protected};
use crate::policy::{OrderWithNames, Policy, PolicyZone, Protected};
use crate::problem::Problem;

/// What was found to stand now, names unseen.
#[derive(Debug)]
#[must_use]
pub struct Scan(
    /// All that is known without names; boxed, since it is handed back and forth.
    pub(super) Box<Loaded>,
);

/// Everything that was loaded, and the names of what changed: for [`Policy::recompile`].
#[derive(Debug)]
#[must_use]
pub struct Changed {
    /// What was found.
    scan: Scan,
    /// What of it is not as it was.
    pub(super) difference: Difference,
}

/// What is not as it was, beside what is.
#[derive(Debug)]
pub(super) struct Difference {
    /// The orders as in [`Filled::zones`], those that stay without their names.
    pub(super) zones: Vec<PolicyZone>,
    /// Ids of the orders that stay as they were.
    pub(super) stays: HashSet<String>,
    /// As [`Loaded::conflicts`].
    conflicts: Vec<(String, Problem)>,
}

/// Everything that was loaded, with all names.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Filled {
    /// The orders, one policy zone for each configured path and then for each list, in the given order: ready for
    /// `Policy::compile`.
    pub zones: Vec<PolicyZone>,
    /// The rest.
    loaded: Loaded,
}

/// What a policy was compiled from. Until that is in force, or if it never is, the loader keeps the names.
#[derive(Debug)]
#[must_use]
pub struct Compiled {
    /// All but names.
    loaded: Loaded,
    /// Whether the policy has everything that it must have.
    whole: bool,
}

impl Scan {
    /// The orders that stand, in order of precedence.
    pub fn orders(&self) -> impl Iterator<Item = &Arc<LoadedOrder>> {
        self.0.held_orders()
    }

    /// Whether it leads to another policy than `before`.
    pub fn differs(&self, before: &Loaded) -> bool {
        !(self.0.has_protected_of(before) && self.0.held == before.held)
    }

    /// What stands if it does not differ from `before`, which was compiled: what is found only when names are at hand is
    /// taken from there.
    pub fn unchanged(self, before: &Loaded) -> Compiled {
        let mut loaded = *self.0;
        loaded.note_conflicts(before.conflicts.clone());
        for (id, why) in &before.left_out {
            loaded.leave_out(id, why.clone());
        }
        Compiled { loaded, whole: true }
    }
}

impl Changed {
    /// Compiles it from `base`, which is in force.
    ///
    /// # Errors
    /// What was found, if nothing can be made of `base`: then all names are needed.
    pub fn compile(self, base: &Policy, epoch: u64) -> Result<(Policy, Compiled), Scan> {
        let Changed { scan, difference: Difference { zones, stays, conflicts } } = self;
        let policy = base.recompile(&zones, &scan.0.protected, |id| stays.contains(id), epoch);
        let Some(policy) = policy else { return Err(scan) };
        let mut loaded = *scan.0;
        loaded.note_conflicts(conflicts);
        let compiled = Compiled::new(loaded, &policy);
        Ok((policy, compiled))
    }
}

impl Filled {
    /// These orders and protected names, as if they had been read from files that say no more.
    pub fn of(zones: Vec<PolicyZone>, protected: Vec<Protected>) -> Filled {
        let hold = |zone: &PolicyZone| HeldZone {
            name: zone.name.clone(),
            orders: zone.orders.iter().map(|listed| Arc::new(LoadedOrder::of(listed))).collect(),
        };
        let mut loaded = Loaded { held: zones.iter().map(hold).collect(), protected, ..Loaded::default() };
        loaded.count();
        Filled { zones, loaded }
    }

    /// Compiles it, and has what there was no room for among the problems.
    pub fn policy(&mut self, epoch: u64) -> Policy {
        let policy = compile(&self.zones, &self.loaded.protected, epoch);
        self.loaded.note_left_out(&policy);
        policy
    }

    /// Compiles it, after which its names are the policy's.
    pub fn compile(self, epoch: u64) -> (Policy, Compiled) {
        let policy = compile(&self.zones, &self.loaded.protected, epoch);
        let compiled = Compiled::new(self.loaded, &policy);
        (policy, compiled)
    }
}

/// It reads as what was loaded; names come on top of that.
impl Deref for Filled {
    type Target = Loaded;

    fn deref(&self) -> &Loaded {
        &self.loaded
    }
}

impl Compiled {
    /// `policy`, compiled from `loaded`.
    fn new(mut loaded: Loaded, policy: &Policy) -> Compiled {
        let guarded = loaded.note_left_out(policy);
        // An order whose names are lost is said among the problems; nothing is known to lead to that. What there was no room
        // for holds nothing up: that would keep an order from acting for the sake of a list.
        let whole = guarded && policy.orders().len() == loaded.orders_in_force().count();
        Compiled { loaded, whole }
    }

    /// What was loaded.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Whether the policy has everything: all protected names, and all orders but those that there was no room for.
    pub fn is_whole(&self) -> bool {
        self.whole
    }
}

impl Loader {
    /// Puts the orders together, those without their names that are as they were `before`, which the policy in force was
    /// compiled from.
    ///
    /// # Errors
    /// What was found, if names are needed that are not at hand, or protected names have changed, which concern all.
    pub fn fill_changed(&mut self, scan: Scan, before: &Loaded) -> Result<Changed, Scan> {
        match self.difference(&scan.0, before) {
            Some(difference) => Ok(Changed { scan, difference }),
            None => Err(scan),
        }
    }

    /// What is not as it was `before`; none if that cannot be said by the names at hand.
    fn difference(&mut self, loaded: &Loaded, before: &Loaded) -> Option<Difference> {
        if !loaded.has_protected_of(before) || !before.left_out.is_empty() {
            return None;
        }
        let was: HashMap<&str, &Arc<LoadedOrder>> =
            before.held_orders().map(|held| (held.order.id.as_str(), held)).collect();
        let is_as_before = |held: &Arc<LoadedOrder>| {
            was.get(held.order.id.as_str()).is_some_and(|was| Arc::ptr_eq(was, held) || *was == held)
        };
        let stays: HashSet<String> = loaded
            .held_orders()
            .filter(|held| is_as_before(held))
            .map(|held| held.order.id.clone())
            .collect();
        let mut changed: HashMap<&str, Arc<OrderWithNames>> = HashMap::new();
        for (file, entry) in &mut self.entries {
            if entry.good.as_ref().is_some_and(|good| !stays.contains(&good.held.order.id)) {
                entry.remember(file);
                let good = entry.good.as_ref()?;
                changed.insert(&good.held.order.id, good.listed.clone()?);
            }
        }
        let listed = |held: &Arc<LoadedOrder>| match changed.get(held.order.id.as_str()) {
            Some(listed) => listed.clone(),
            None => Arc::new(OrderWithNames::without_names(held.order.clone())),
        };
        let zone = |held: &HeldZone| PolicyZone {
            name: held.name.clone(),
            orders: held.orders.iter().map(listed).collect(),
        };
        let zones = loaded.held.iter().map(zone).collect();
        let mut conflicts = protected::conflicts(&loaded.protected, changed.values());
        conflicts.extend(before.conflicts.iter().filter(|(id, _)| stays.contains(id)).cloned());
        let places: HashMap<&str, usize> =
            loaded.held_orders().zip(0..).map(|(held, place)| (held.order.id.as_str(), place)).collect();
        conflicts.sort_by_key(|(id, _)| places.get(id.as_str()).copied());
        Some(Difference { zones, stays, conflicts })
    }

    /// Puts the orders together, names and all. Names that were forgotten and cannot be read again are taken from
    /// `in_force`, which was compiled from what was loaded before.
    pub fn fill(&mut self, scan: Scan, in_force: &Policy) -> Filled {
        let mut loaded = *scan.0;
        for (file, entry) in &mut self.entries {
            entry.remember(file);
        }
        // By id, which is one order's alone.
        let mut known: HashMap<&str, Arc<OrderWithNames>> = HashMap::new();
        let mut forgotten: HashMap<&str, &LoadedOrder> = HashMap::new();
        for good in self.entries.values().filter_map(|entry| entry.good.as_ref()) {
            let id = good.held.order.id.as_str();
            if let Some(listed) = &good.listed {
                known.insert(id, listed.clone());
            } else {
                forgotten.insert(id, &good.held);
            }
        }
        if !forgotten.is_empty() {
            let again = in_force.listed(|id| forgotten.contains_key(id));
            for listed in again {
                let id = listed.order.id.as_str();
                if let Some(held) = forgotten.get(id).copied().filter(|held| held.order == listed.order) {
                    forgotten.remove(id);
                    known.insert(&held.order.id, Arc::new(listed));
                }
            }
            note_lost(&forgotten, &mut loaded);
        }
        let zone = |held: &HeldZone| PolicyZone {
            name: held.name.clone(),
            orders: held
                .orders
                .iter()
                .filter_map(|held| known.get(held.order.id.as_str()).cloned())
                .collect(),
        };
        let zones: Vec<PolicyZone> = loaded.held.iter().map(zone).collect();
        let orders = zones.iter().flat_map(|zone| &zone.orders);
        let conflicts = protected::conflicts(&loaded.protected, orders);
        loaded.note_conflicts(conflicts);
        Filled { zones, loaded }
    }

    /// Forgets all names, which a policy that is in force holds now.
    pub fn forget_names(&mut self, compiled: Compiled) -> Loaded {
        self.drop_names();
        compiled.loaded
    }

    /// The same of what another loader compiled.
    pub(super) fn drop_names(&mut self) {
        for entry in self.entries.values_mut() {
            let Some(good) = &mut entry.good else { continue };
            good.listed = None;
            // A version that does not serve, for its id is taken, is in no policy.
            if let Some(latest) = entry.latest.as_mut().filter(|latest| Arc::ptr_eq(&latest.held, &good.held))
            {
                latest.listed = None;
            }
        }
    }
}

/// Says whose names nobody has. The policy in force has those of every order it holds; what it left out may be lost once its
/// file is gone, and no order waits for such a list.
fn note_lost(forgotten: &HashMap<&str, &LoadedOrder>, loaded: &mut Loaded) {
    let lists: HashSet<&str> =
        loaded.lists.iter().flat_map(|list| &list.files).map(|file| file.id.as_str()).collect();
    let (gone, lost): (Vec<&LoadedOrder>, Vec<&LoadedOrder>) =
        forgotten.values().partition(|held| lists.contains(held.order.id.as_str()));
    for held in lost {
        let message = format!("the names of order {} are lost", held.order.id);
        let problem = Problem::error(&held.order.source, None, message);
        loaded.problems.push(problem.hint("save the file again"));
    }
    for held in gone {
        loaded.leave_out(
            &held.order.id,
            "its last good version was never in force, and its file no longer gives it".into(),
        );
    }
}
