//! What is in force: the policy that the files gave, and what was stated upon it.
//!
//! Two may replace the policy that queries see: the reloader, once it has compiled for seconds, and somebody who states
//! something, at once. Each does it under one short lock, and with what the other left there: a statement is made upon the
//! files' policy of that moment, and a new policy of the files is put in force under the statements of that moment. So neither
//! waits for the other's work, and neither can undo it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::journal::{self, Journal};
use super::lifecycle;
use super::record::{Names, Record, Verb, fold};
use crate::orders::Held;
use crate::policy::{Name, Policy, ScopeKind, Standing, Statement, UnixSeconds};

/// Statements at one time: each is looked at where an order is judged, and people make them.
pub const MAX_STATEMENTS: usize = 4096;

/// The policy that queries see, and all it is made of.
#[derive(Debug)]
pub struct InForce {
    /// What queries see.
    policy: Arc<ArcSwap<Policy>>,
    /// What it is made of.
    parts: Mutex<Parts>,
}

/// What the policy in force is made of.
#[derive(Debug)]
struct Parts {
    /// The policy as the files have it.
    base: Arc<Policy>,
    /// The orders in it, in order of precedence.
    held: Vec<Arc<Held>>,
    /// The last epoch that was given out; 0 is the empty policy's.
    epoch: u64,
    /// Every change that was made.
    journal: Journal,
    /// What stands because of them.
    statements: Vec<Statement>,
    /// Orders that statements are about and no file has, as far as that was said.
    unknown: HashSet<String>,
}

/// What is in force at one moment, for those who look at it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The policy as the files have it.
    pub base: Arc<Policy>,
    /// The policy that queries see.
    pub policy: Arc<Policy>,
    /// The orders in it, in order of precedence.
    pub held: Vec<Arc<Held>>,
    /// What stands upon them.
    pub statements: Vec<Statement>,
}

/// Policies that are no longer in force. Whoever answers queries lets go of them first; then nobody but the holder frees them.
#[derive(Debug)]
pub struct Before {
    _policy: Arc<Policy>,
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
    pub names: Vec<(Name, ScopeKind)>,
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
    Journal(String),
}

impl InForce {
    /// Nothing has been loaded; what a journal says stands from the first policy on.
    pub fn new(policy: Arc<ArcSwap<Policy>>, journal: Journal) -> InForce {
        let (base, statements) = (policy.load_full(), journal.statements());
        let parts = Parts { base, held: Vec::new(), epoch: 0, journal, statements, unknown: HashSet::new() };
        InForce { policy, parts: Mutex::new(parts) }
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
    pub fn put(&self, base: Arc<Policy>, held: Vec<Arc<Held>>) -> Before {
        let mut parts = self.parts();
        let before = std::mem::replace(&mut parts.base, base);
        parts.held = held;
        let policy = match parts.statements.as_slice() {
            [] => parts.base.clone(),
            _ => parts.stated(),
        };
        Before { _policy: self.policy.swap(policy), _base: before }
    }

    /// Suspends orders until the next policy of the files is put in force.
    pub fn suspend<'o>(&self, orders: impl Iterator<Item = &'o str>) {
        // Under the lock: a statement made meanwhile copies the bits, or comes after.
        let _parts = self.parts();
        let policy = self.policy.load();
        orders.for_each(|id| {
            policy.suspend(id, true);
        });
    }

    /// Orders that are stated upon and not there, each told once.
    pub fn newly_unknown(&self) -> Vec<String> {
        let mut parts = self.parts();
        let here: HashSet<&str> = parts.held.iter().map(|held| held.order.id.as_str()).collect();
        let unknown: HashSet<String> = parts
            .statements
            .iter()
            .filter(|statement| !here.contains(statement.order.as_str()))
            .map(|statement| statement.order.clone())
            .collect();
        let mut new: Vec<String> = unknown.difference(&parts.unknown).cloned().collect();
        new.sort_unstable();
        parts.unknown = unknown;
        new
    }

    /// What is in force now.
    pub fn seen(&self) -> Seen {
        let parts = self.parts();
        Seen {
            base: parts.base.clone(),
            policy: self.policy.load_full(),
            held: parts.held.clone(),
            statements: parts.statements.clone(),
        }
    }

    /// Asks the journal.
    pub fn journal<T>(&self, ask: impl FnOnce(&Journal) -> T) -> T {
        ask(&self.parts().journal)
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
        let records = parts.records(change, at)?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let mut statements = parts.statements.clone();
        records.iter().for_each(|record| fold(&mut statements, record));
        // What takes back must go through even so.
        if statements.len() > MAX_STATEMENTS.max(parts.statements.len()) {
            return Err(Refused::TooMany);
        }
        let records = parts.journal.append(records).map_err(Refused::Journal)?;
        parts.statements = statements;
        let policy = parts.stated();
        // A reload may be compiling that ended some of them already.
        for order in self.policy.load().suspended() {
            policy.suspend(&order.id, true);
        }
        self.policy.store(policy);
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

    /// The files' policy under what stands.
    fn stated(&mut self) -> Arc<Policy> {
        let epoch = self.next_epoch();
        Arc::new(self.base.with_statements(&self.statements, epoch))
    }

    /// What a change puts on record, without numbers and hashes.
    fn records(&self, change: &Change, at: UnixSeconds) -> Result<Vec<Record>, Refused> {
        let order = self.held.iter().map(|held| &held.order).find(|order| order.id == change.order);
        let about = |statement: &&Statement| statement.order == change.order;
        let known = order.is_some() || change.ahead || self.statements.iter().any(|one| about(&one));
        if !known {
            return Err(Refused::Unknown);
        }
        let file = order.map_or(Standing::default(), |order| order.standing);
        let whole = [None];
        let names: Vec<Option<(Name, ScopeKind)>> = change.names.iter().copied().map(Some).collect();
        let names = if names.is_empty() { &whole[..] } else { &names };
        let mut records = Vec::with_capacity(names.len());
        for names in names {
            let stated = self.statements.iter().filter(about).any(|statement| statement.names == *names);
            if change.verb == Verb::Restore && !stated {
                continue;
            }
            let stands = |statements: &[Statement]| match names {
                Some(names) => lifecycle::of_names(&change.order, file, statements, names),
                None => lifecycle::of_whole(&change.order, file, statements),
            };
            let mut record = Record {
                by: change.by.clone(),
                verb: change.verb,
                order: change.order.clone(),
                names: names.as_ref().map(Names::from),
                standing: change.verb.standing(),
                from: stands(&self.statements).into(),
                why: change.why.clone(),
                ..journal::blank(at, &change.who)
            };
            let mut after = self.statements.clone();
            fold(&mut after, &record);
            if stands(&after) != Standing::InForce {
                record.bound_s = order.map(lifecycle::bound_s);
            }
            records.push(record);
        }
        Ok(records)
    }
}
