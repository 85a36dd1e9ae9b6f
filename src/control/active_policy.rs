//! What is in force: the policy that the files gave, and what was stated upon it.
//!
//! Two may replace the policy that queries see: the reloader, once it has compiled for seconds, and somebody who states
//! something, at once. Each does it under one short lock, and with what the other left there: a statement is made upon the
//! files' policy of that moment, and a new policy of the files is put in force under the statements of that moment. So neither
//! waits for the other's work, and neither can undo it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::journal::{self, Journal, JournalError};
use super::lifecycle;
use super::record::{BLAST_LIMIT, Names, Record, Verb};
use super::statements::{About, Statements};
use crate::name::Name;
use crate::orders::LoadedOrder;
use crate::policy::{MatchKind, Override, Policy, Standing};
use crate::resolver::{Current, Generation};
use crate::time::UnixSeconds;

/// Statements at one time: each is looked at where an order is judged, and people make them.
pub const MAX_STATEMENTS: usize = 4096;

/// The policy that queries see, and all it is made of.
#[derive(Debug)]
pub struct ActivePolicy {
    /// What queries see.
    current: Arc<Current>,
    /// What it is made of.
    parts: Mutex<Parts>,
}

/// What the policy in force is made of.
#[derive(Debug)]
struct Parts {
    /// The policy as the files have it.
    base: Arc<Policy>,
    /// The orders in it, in order of precedence.
    held: Vec<Arc<LoadedOrder>>,
    /// The last epoch that was given out; 0 is the empty policy's.
    epoch: u64,
    /// Every change that was made.
    journal: Journal,
    /// What stands because of them.
    stated: Statements,
    /// Orders whose files have lifted them or are gone, until what comes of that is put in force.
    suspended: HashSet<String>,
    /// Orders that statements are about and no file has, as far as that was said.
    unknown: HashSet<String>,
}

/// What is in force at one moment, for those who look at it.
#[derive(Clone)]
pub struct Seen {
    /// The policy as the files have it.
    pub base: Arc<Policy>,
    /// The policy that queries see.
    pub policy: Arc<Policy>,
    /// All else that queries see.
    pub generation: Arc<Generation>,
    /// The orders in it, in order of precedence.
    pub held: Vec<Arc<LoadedOrder>>,
    /// What stands upon them.
    pub stated: Statements,
    /// Those that are suspended while a reload compiles that takes them out.
    pub suspended: HashSet<String>,
}

/// What is no longer in force: a policy, a cache of other upstreams. Workers let go of it first, so that none of them spends time
/// on freeing it: the holder does.
pub struct Before {
    _generation: Arc<Generation>,
    _base: Arc<Policy>,
}

/// What somebody wants changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// The order's id.
    pub order: String,
    /// What is to be done: one of [`Verb::ASKED`].
    pub verb: Verb,
    /// The names it is about; empty means the whole order.
    pub names: Vec<(Name, MatchKind)>,
    /// Who asks, as the server knows it.
    pub who: String,
    /// On whose behalf.
    pub by: String,
    /// Why.
    pub why: String,
    /// Whether it may be about an order that is not there yet.
    pub ahead: bool,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such order.
    Unknown,
    /// Too much is stated already.
    TooMany,
    /// It cannot be put on record.
    Journal(JournalError),
}

impl ActivePolicy {
    /// Nothing has been loaded; what a journal says stands from the first policy on.
    pub fn new(current: Arc<Current>, journal: Journal) -> ActivePolicy {
        let (base, stated) = (current.policy(), journal.stated());
        let (suspended, unknown) = (HashSet::new(), HashSet::new());
        let parts = Parts { base, held: Vec::new(), epoch: 0, journal, stated, suspended, unknown };
        ActivePolicy { current, parts: Mutex::new(parts) }
    }

    /// An epoch that no policy has had.
    pub fn next_epoch(&self) -> u64 {
        self.parts().next_epoch()
    }

    /// The policy as the files have it.
    pub fn base(&self) -> Arc<Policy> {
        self.parts().base.clone()
    }

    /// Puts a new policy of the files in force, under what stands now. Gives back the one before.
    pub fn put(&self, base: Arc<Policy>, held: Vec<Arc<LoadedOrder>>) -> Before {
        self.put_with(base, held, Generation::clone)
    }

    /// The same, together with all else that `settle` makes other in the generation: no query sees the one without the other.
    pub fn put_with(
        &self,
        base: Arc<Policy>,
        held: Vec<Arc<LoadedOrder>>,
        settle: impl FnOnce(&Generation) -> Generation,
    ) -> Before {
        let mut parts = self.parts();
        let before = std::mem::replace(&mut parts.base, base);
        parts.held = held;
        parts.suspended.clear();
        let policy = if parts.stated.is_empty() { parts.base.clone() } else { parts.policy() };
        let generation = self.current.change(|serving| Generation { policy, ..settle(serving) });
        Before { _generation: generation, _base: before }
    }

    /// Has the generation settled otherwise, under the policy that is in force. Gives back the one before.
    pub fn settle(&self, settle: impl FnOnce(&Generation) -> Generation) -> Before {
        let base = self.base();
        Before { _generation: self.current.change(settle), _base: base }
    }

    /// Suspends these orders and no others, until the next policy of the files is put in force. One that was suspended for what
    /// came to nothing acts again.
    pub fn suspend<'o>(&self, orders: impl Iterator<Item = &'o str>) {
        let mut parts = self.parts();
        let suspended: HashSet<String> = orders.map(str::to_owned).collect();
        if parts.suspended != suspended {
            parts.suspended = suspended;
            let policy = parts.policy();
            self.current.put(policy);
        }
    }

    /// Orders that are stated upon and not there, each told once.
    pub fn newly_unknown(&self) -> Vec<String> {
        let mut parts = self.parts();
        let here: HashSet<&str> = parts.held.iter().map(|held| held.order.id.as_str()).collect();
        let unknown: HashSet<String> =
            parts.stated.orders().filter(|order| !here.contains(order)).map(str::to_string).collect();
        let mut new: Vec<String> = unknown.difference(&parts.unknown).cloned().collect();
        new.sort_unstable();
        parts.unknown = unknown;
        new
    }

    /// What is in force now.
    pub fn seen(&self) -> Seen {
        let parts = self.parts();
        let generation = Arc::clone(&self.current.load());
        Seen {
            base: parts.base.clone(),
            policy: Arc::clone(&generation.policy),
            generation,
            held: parts.held.clone(),
            stated: parts.stated.clone(),
            suspended: parts.suspended.clone(),
        }
    }

    /// Asks the journal.
    pub fn journal<T>(&self, ask: impl FnOnce(&Journal) -> T) -> T {
        ask(&self.parts().journal)
    }

    /// Puts the journal back where somebody took it away. Blocks for as long as the disk takes; queries do not wait for it.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn keep_journal(&self) -> std::io::Result<()> {
        self.parts().journal.keep_in_place()
    }

    /// Changes how an order stands, from the next packet on. It is on the disk when it takes effect, and in effect when this
    /// returns. Blocks for as long as the disk takes; queries do not wait for it.
    ///
    /// Gives back a record for each of the names, or one for the whole order. Taking back what nobody stated changes nothing, and
    /// leaves no record.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn change(&self, change: &Change, at: UnixSeconds) -> Result<Vec<Arc<Record>>, Refused> {
        let mut parts = self.parts();
        let (records, count) = parts.records(change, at)?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        // What takes back must go through even so.
        if count > MAX_STATEMENTS.max(parts.stated.len()) {
            return Err(Refused::TooMany);
        }
        self.enact(&mut parts, records)
    }

    /// Holds an order back until `until`, as a guard says and for its reason, from the next policy on: it is on the disk when
    /// this returns, and the policy in force does not have the order yet, or not like that. It ends by itself.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn hold(&self, order: &str, until: UnixSeconds, why: &str, at: UnixSeconds) -> Result<(), Refused> {
        let mut parts = self.parts();
        if parts.stated.len() >= MAX_STATEMENTS {
            return Err(Refused::TooMany);
        }
        let record = Record {
            verb: Verb::Hold,
            order: order.to_owned(),
            standing: Verb::Hold.standing(),
            until: Some(until),
            from: Some(Standing::InForce.into()),
            why: why.to_owned(),
            ..journal::blank(at, BLAST_LIMIT)
        };
        self.enact(&mut parts, vec![record])?;
        Ok(())
    }

    /// Puts on record what happens beside orders; it changes none of them. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// Why it is not on record.
    pub fn note(&self, records: Vec<Record>) -> Result<(), JournalError> {
        self.parts().journal.note(records).map(drop)
    }

    /// Forgets the holds that are over at `at`, and gives them back. It changes no verdict: those look at the time.
    pub fn lapse(&self, at: UnixSeconds) -> Vec<Arc<Record>> {
        self.parts().stated.lapse(at)
    }

    /// Puts records on the disk, then in force.
    fn enact(&self, parts: &mut Parts, records: Vec<Record>) -> Result<Vec<Arc<Record>>, Refused> {
        let records = parts.journal.append(records).map_err(Refused::Journal)?;
        records.iter().for_each(|record| parts.stated.take(record));
        let policy = parts.policy();
        self.current.put(policy);
        Ok(records)
    }

    /// The parts. A thread that panicked with them left them as they were or as they were to become.
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    /// An epoch that no policy has had.
    fn next_epoch(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }

    /// The files' policy under what stands, less what is suspended.
    fn policy(&mut self) -> Arc<Policy> {
        let epoch = self.next_epoch();
        let suspensions = self.suspended.iter().map(|order| Override::suspension(order));
        let overrides: Vec<Override> = self.stated.overrides().into_iter().chain(suspensions).collect();
        Arc::new(self.base.with_overrides(&overrides, epoch))
    }

    /// What a change puts on record, without numbers and hashes, and how many statements stand then.
    fn records(&self, change: &Change, at: UnixSeconds) -> Result<(Vec<Record>, usize), Refused> {
        let id = change.order.as_str();
        let order = self.held.iter().map(|held| &held.order).find(|order| order.id == id);
        if order.is_none() && !change.ahead && self.stated.of(id).is_empty() {
            return Err(Refused::Unknown);
        }
        let mut abouts: Vec<About> = change.names.iter().copied().map(Some).collect();
        if abouts.is_empty() {
            abouts.push(None);
        }
        let (mut records, mut after) = (Vec::with_capacity(abouts.len()), self.stated.clone());
        for about in &abouts {
            if change.verb == Verb::Restore && self.stated.about(id, about).is_none() {
                continue;
            }
            let mut record = Record {
                by: change.by.clone(),
                verb: change.verb,
                order: change.order.clone(),
                names: about.as_ref().map(Names::from),
                standing: change.verb.standing(),
                from: order.map(|_| self.stated.standing(id, order, about, at).into()),
                why: change.why.clone(),
                ..journal::blank(at, &change.who)
            };
            after.take(&Arc::new(record.clone()));
            if after.standing(id, order, about, at) != Standing::InForce {
                record.bound_s = order.map(lifecycle::bound_s);
            }
            records.push(record);
        }
        Ok((records, after.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NameList;
    use crate::policy::{Order, OrderWithNames, PolicyZone, Scope, Verdict};

    /// A policy of the files: orders a and b of one name each.
    fn files(active: &ActivePolicy) -> (Arc<Policy>, Vec<Arc<LoadedOrder>>) {
        let listed = |id: &str| {
            let mut order = Order::new(id);
            order.scopes = vec![Scope::new(MatchKind::Exact)];
            let names: NameList = [format!("{id}.example").parse().unwrap()].into_iter().collect();
            Arc::new(OrderWithNames::listing(order, [names]))
        };
        let orders = vec![listed("a"), listed("b")];
        let held = orders.iter().map(|listed| {
            Arc::new(LoadedOrder { order: listed.order.clone(), names: 1, digest: 0, examples: Vec::new() })
        });
        let held = held.collect();
        let zones = [PolicyZone { name: String::new(), orders }];
        (Arc::new(Policy::compile(&zones, &[], active.next_epoch())), held)
    }

    fn change(verb: Verb, order: &str) -> Change {
        let (who, by, why) = ("local".into(), String::new(), String::new());
        Change { order: order.into(), verb, names: Vec::new(), who, by, why, ahead: false }
    }

    /// Which of the two orders are acted on.
    fn captured(current: &Current) -> [bool; 2] {
        ["a.example", "b.example"]
            .map(|name| matches!(current.policy().verdict(&name.parse().unwrap(), 0), Verdict::Act(..)))
    }

    #[test]
    fn a_lift_while_a_reload_compiles_outlives_it() {
        let policy = Current::of(Policy::not_ready());
        let active = ActivePolicy::new(policy.clone(), Journal::in_memory());
        let (base, held) = files(&active);
        active.put(base, held);
        assert_eq!(captured(&policy), [true, true]);
        // The reload found that b has ended, and compiles.
        active.suspend(["b"].into_iter());
        let (base, held) = files(&active);
        assert_eq!(captured(&policy), [true, false]);
        active.change(&change(Verb::Lift, "a"), 0).unwrap();
        assert_eq!(captured(&policy), [false, false], "what the reload suspended stays so");
        active.change(&change(Verb::Restore, "a"), 0).unwrap();
        assert_eq!(captured(&policy), [true, false]);
        active.change(&change(Verb::Lift, "a"), 0).unwrap();
        active.put(base, held);
        assert_eq!(captured(&policy), [false, true], "what was stated meanwhile holds in the new policy");
        active.suspend(["b"].into_iter());
        assert_eq!(captured(&policy), [false, false]);
        active.suspend(std::iter::empty());
        assert_eq!(
            captured(&policy),
            [false, true],
            "what was let go for nothing acts again, what is stated holds"
        );
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let policy = Current::of(Policy::not_ready());
        let active = ActivePolicy::new(policy.clone(), Journal::in_memory());
        let (base, held) = files(&active);
        active.put(base, held);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    let (base, held) = files(&active);
                    active.put(base, held);
                }
            });
            for order in ["a", "b"] {
                let active = &active;
                scope.spawn(move || {
                    for _ in 0..100 {
                        for verb in [Verb::Lift, Verb::Restore, Verb::Observe] {
                            assert_eq!(active.change(&change(verb, order), 0).unwrap().len(), 1);
                        }
                        active.change(&change(Verb::Lift, order), 0).unwrap();
                        let seen = active.seen();
                        assert_eq!(seen.stated.whole(order, None, 0), Standing::Lifted);
                        assert_eq!(seen.policy.standing(order, None, 0), Some(Standing::Lifted));
                    }
                });
            }
        });
        assert_eq!(captured(&policy), [false, false]);
        assert_eq!(active.journal(|journal| journal.records().len()), 800);
        // Each policy that was made took an epoch of its own: the files' 101, and one for each statement at least.
        assert!(active.next_epoch() > 101 + 800);
    }
}
