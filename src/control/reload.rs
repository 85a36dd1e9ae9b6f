//! Reload: read what changed, compile it aside, swap one pointer, say what is different.
//!
//! A query that began before the swap ends by the policy it began with; no query waits for a reload.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::active_policy::{ActivePolicy, Before};
use super::blast::BlastLimit;
use super::changes::changes;
use super::configured::{Next, Settle};
use super::journal::Journal;
use crate::orders::snapshot::Unusable;
use crate::orders::writers::Writers;
use crate::orders::{self, Compiled, Loaded, Loader, Scan};
use crate::policy::{Order, Policy};
use crate::problem::Problem;
use crate::resolver::Current;
use crate::time::UnixSeconds;

/// Holds what was loaded last, and replaces the policy when that changes.
pub struct Reloader {
    /// Reads orders, keeping the last good version of each.
    loader: Loader,
    /// What it read last.
    loaded: Loaded,
    /// What queries see, which others change, too.
    active: Arc<ActivePolicy>,
    /// The epoch of the last policy compiled; 0 is the empty one.
    epoch: u64,
    /// Where the compiled orders are kept, if anywhere.
    state: Option<PathBuf>,
    /// The epoch of the policy that is kept there; 0 is none.
    kept: u64,
    /// The policy before: held until all who answer queries have let go of it, so that none of them has to free it.
    before: Option<Before>,
    /// Who is told what was loaded.
    on_loaded: Option<Box<OnLoaded>>,
    /// How much an order may newly take.
    blast: Option<BlastLimit>,
    /// Whether files changed so shortly before they were read that their stamps may not show the next change.
    pub(super) unsettled: bool,
    /// Whether the last reload broke off: what was read then may not be in force.
    torn: bool,
    /// What was read and held back by before, while a reload by another configuration is under way.
    settling: Option<(orders::Settings, Option<BlastLimit>)>,
}

/// Who is told what was loaded.
pub type OnLoaded = dyn Fn(&Loaded) + Send + Sync;

/// What came of a reload.
#[derive(Debug, Default)]
pub struct Report {
    /// Whether there is a new policy.
    pub swapped: bool,
    /// What is different in it, a line each.
    pub changes: Vec<String>,
    /// Problems that were not there before.
    pub problems: Vec<Problem>,
    /// Whether problems that were there before are gone, and none are left.
    pub mended: bool,
    /// Whether another configuration is in force.
    pub settled: bool,
}

impl Reloader {
    /// Has loaded nothing yet, so that the first reload is the load. Nobody else changes what is in force.
    pub fn new(settings: orders::Settings, policy: Arc<Current>) -> Reloader {
        Reloader::within(settings, Arc::new(ActivePolicy::new(policy, Journal::in_memory())))
    }

    /// The same, and others state things about the orders meanwhile.
    pub fn within(settings: orders::Settings, active: Arc<ActivePolicy>) -> Reloader {
        let loader = Loader::new(settings);
        Reloader {
            loader,
            loaded: Loaded::default(),
            active,
            epoch: 0,
            state: None,
            kept: 0,
            before: None,
            on_loaded: None,
            blast: None,
            unsettled: false,
            torn: false,
            settling: None,
        }
    }

    /// The same, and each time something was loaded `on_loaded` is called with it.
    #[must_use]
    pub fn on_loaded(self, on_loaded: Option<Box<OnLoaded>>) -> Reloader {
        Reloader { on_loaded, ..self }
    }

    /// The same, and orders that would newly take too much are held back for a while.
    #[must_use]
    pub fn limited(self, blast: BlastLimit) -> Reloader {
        Reloader { blast: Some(blast), ..self }
    }

    /// The same, but compiled orders are kept in this folder.
    #[must_use]
    pub fn state(self, state: Option<PathBuf>) -> Reloader {
        Reloader { state, ..self }
    }

    /// The same, and what `writers` say is being written is not read until it is whole.
    #[must_use]
    pub fn heeding(self, writers: Arc<Writers>) -> Reloader {
        Reloader { loader: self.loader.heeding(writers), ..self }
    }

    /// Takes the compiled orders that were kept, if they still say what the files say; else it does nothing, and a reload
    /// is to follow. Gives back whether it did, and why not if there is something to say.
    ///
    /// # Errors
    /// Why not; none if nothing is kept anywhere.
    pub fn restore(&mut self) -> Result<(), Option<Unusable>> {
        let folder = self.state.as_ref().ok_or(None)?;
        let epoch = self.active.next_epoch();
        let (loaded, policy) = self.loader.restore(folder, epoch).map_err(Some)?;
        self.epoch = epoch;
        self.kept = epoch;
        self.loaded = loaded;
        let policy = Arc::new(policy.with_nat64(self.loader.nat64()));
        self.active.put(policy, self.loaded.held_orders().cloned().collect());
        self.tell();
        Ok(())
    }

    /// Whether there is something to do once nothing has happened for a while.
    pub(super) fn has_more_to_do(&self) -> bool {
        self.before.is_some() || (self.state.is_some() && self.kept != self.epoch)
    }

    /// Frees the policy before, and keeps the one in force if everything it was compiled from has been at rest for a while.
    pub(super) fn rest(&mut self) {
        self.before = None;
        let Some(folder) = self.state.as_ref().filter(|_| self.kept != self.epoch) else { return };
        let start = Instant::now();
        match self.loader.keep(folder, &self.loaded, &self.active.base(), SystemTime::now()) {
            Ok(true) => {
                tracing::debug!("kept the compiled orders in {}: {:?}", folder.display(), start.elapsed())
            }
            Ok(false) => {
                tracing::debug!(
                    "the compiled orders are not kept: a file is refused, left out or still changing"
                )
            }
            Err(error) => tracing::warn!(
                "cannot keep the compiled orders in {} ({error}): the next start reads the lists",
                folder.display()
            ),
        }
        // Whatever came of it: the next change is the next reason to try.
        self.kept = self.epoch;
    }

    /// Warns of statements about orders that no file has, each once.
    pub fn say_unknown(&self) {
        for id in self.active.newly_unknown() {
            tracing::warn!(
                "something is stated about order {id}, which is not loaded: it applies once the order is there"
            );
        }
    }

    /// What is loaded now.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Reads what changed and replaces the policy if anything did; `at` decides what counts as lifted. Blocks: it reads
    /// files and compiles.
    pub fn reload(&mut self, at: UnixSeconds) -> Report {
        self.reload_as(None, at)
    }

    /// The same by another configuration, if there is one: what it says and what the orders say come into force together, or
    /// neither does, which [`Report::settled`] tells.
    pub fn reload_as(&mut self, next: Option<Next>, at: UnixSeconds) -> Report {
        let torn = std::mem::replace(&mut self.torn, true);
        // A reload by another configuration that broke off leaves the one before as it was.
        if let Some((orders, blast)) = self.settling.take() {
            self.loader.settle(orders);
            self.blast = blast;
        }
        let Some(Next { orders, blast, settle }) = next else {
            let report = self.reload_from(torn, None, at);
            self.torn = false;
            return report;
        };
        // Which addresses count as others is compiled in; where orders come from shows in what is loaded.
        let torn = torn || orders.nat64 != self.loader.nat64();
        self.settling = Some((self.loader.settle(orders), std::mem::replace(&mut self.blast, blast)));
        let report = self.reload_from(torn, Some(settle), at);
        let before = self.settling.take();
        if let Some((orders, blast)) = before.filter(|_| !report.settled) {
            self.loader.settle(orders);
            self.blast = blast;
        }
        self.torn = false;
        report
    }

    /// Does it; after a reload that was `torn`, whether or not anything seems to have changed.
    fn reload_from(&mut self, torn: bool, settle: Option<Box<Settle>>, at: UnixSeconds) -> Report {
        let scan = self.loader.look();
        self.unsettled = self.loader.is_unsettled();
        let swapped = self.epoch == 0 || torn || scan.differs(&self.loaded);
        let (policy, compiled) = if swapped {
            self.let_go(&scan, settle.is_some(), at);
            // Another configuration may have other zones in another order.
            let (policy, compiled) = self.compile(scan, torn || settle.is_some());
            (Some(policy), compiled)
        } else {
            // What an earlier reload let go, and then could not put in force, has come back as it was: it acts again.
            self.active.suspend(std::iter::empty());
            (None, scan.unchanged(&self.loaded))
        };
        let loaded = compiled.loaded();
        let (before, now) = (&self.loaded.problems, &loaded.problems);
        let mut report = Report {
            swapped,
            problems: now.iter().filter(|one| !before.contains(one)).cloned().collect(),
            mended: !before.is_empty() && now.is_empty(),
            changes: Vec::new(),
            settled: settle.is_some(),
        };
        if !compiled.is_whole() && self.epoch > 0 {
            // Nothing is weakened: what served goes on. At the first load there is nothing, and most is better.
            return Report { swapped: false, mended: false, settled: false, ..report };
        }
        if let Some(policy) = policy {
            report.changes = changes(&self.loaded, loaded, at);
            self.hold_back(&policy, loaded, &mut report, at);
            self.epoch = policy.epoch();
            let (policy, held) = (Arc::new(policy), loaded.orders_in_force().cloned().collect());
            self.before = Some(match settle {
                Some(settle) => self.active.put_with(policy, held, settle),
                None => self.active.put(policy, held),
            });
        } else if let Some(settle) = settle {
            self.before = Some(self.active.settle(settle));
        }
        self.loaded = self.loader.forget_names(compiled);
        self.tell();
        report
    }

    /// Tells what is loaded.
    pub(super) fn tell(&self) {
        if let Some(on_loaded) = &self.on_loaded {
            on_loaded(&self.loaded);
        }
    }
}

impl Reloader {
    /// Compiles what was found: from the policy in force if that can be done, which costs as much as has changed; not after a
    /// reload that was `torn`, for then it is not known what that holds.
    fn compile(&mut self, scan: Scan, torn: bool) -> (Policy, Compiled) {
        let (base, epoch) = (self.active.base(), self.active.next_epoch());
        let known = self.epoch > 0 && !torn;
        let changed = if known { self.loader.fill_changed(scan, &self.loaded) } else { Err(scan) };
        let (policy, compiled) = changed
            .and_then(|changed| changed.compile(&base, epoch))
            .unwrap_or_else(|scan| self.loader.fill(scan, &base).compile(epoch));
        (policy.with_nat64(self.loader.nat64()), compiled)
    }

    /// Suspends what has ended: long lists take seconds to compile again, and a lift is not to wait for them. What goes with
    /// another configuration goes when that comes: no query is to see the one without the other.
    fn let_go(&self, scan: &Scan, settles: bool, at: UnixSeconds) {
        let here: HashMap<&str, &Order> =
            scan.orders().map(|held| (held.order.id.as_str(), &held.order)).collect();
        let before = self.loaded.held_orders().map(|held| held.order.id.as_str());
        let has_ended = |id: &&str| match here.get(id) {
            Some(order) => order.lifted(at).is_some(),
            None => !settles,
        };
        self.active.suspend(before.filter(has_ended));
    }

    /// Has the blast limit look at what is about to be in force. Lists are left alone: who takes one wants what it takes.
    fn hold_back(&self, next: &Policy, loaded: &Loaded, report: &mut Report, at: UnixSeconds) {
        let Some(limit) = &self.blast else { return };
        let files = loaded.held.len().saturating_sub(loaded.lists.len());
        let zones = loaded.held.iter().take(files);
        let from_files = zones.flat_map(|zone| &zone.orders).map(|held| held.order.id.as_str()).collect();
        report.problems.extend(limit.guard(&self.active, next, &from_files, at));
    }
}

#[cfg(test)]
mod tests;
