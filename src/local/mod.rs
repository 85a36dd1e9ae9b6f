//! Names answered here and never forwarded: those that have no meaning outside this host or network, and those that the operator
//! states.
//!
//! Both are one value, [`LocalNames`]: a zone that the operator fills is the same that is empty by default. It is part of the
//! generation, and a change of it makes another one. What is said here is a [`Truth`] as what upstream says is, so it is judged,
//! reviewed and written as that is.

mod record;
mod special;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::record::{Record, Special, Stated};
use self::tree::{Found, Set, Soa, Tree};
use crate::dns::chain::MAX_ALIASES;
use crate::dns::said;
use crate::dns::{Query, Question, Truth};
use crate::iana::{Class, Rcode, Rtype};
use crate::name::Name;

/// What is said here of a question.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "it lives on the stack for one query")]
pub enum Local {
    /// All there is to say.
    Truth(Arc<Truth>),
    /// An alias, and what is to be asked where it leads.
    Leads(Arc<Truth>, Question),
}

/// Names answered here. Nothing in it changes.
#[derive(Debug)]
pub struct LocalNames {
    tree: Tree,
    /// A number that no other value has; never 0.
    epoch: u64,
}

/// The number of the last value.
static EPOCHS: AtomicU64 = AtomicU64::new(0);

/// Where a question leads to.
struct Way<'t> {
    /// The names it leads through, each with its alias.
    aliases: Vec<(Name, &'t Set)>,
    /// What is behind them.
    end: End<'t>,
}

/// What is behind all aliases.
enum End<'t> {
    /// The records asked for, and whose they are.
    Records(Name, &'t Set),
    /// There are none.
    Denied(Rcode, Soa<'t>),
    /// Others are asked about that name.
    Away(Name),
    /// One of the names before it.
    Circle,
    /// More aliases than anybody follows.
    Endless,
}

impl Default for LocalNames {
    fn default() -> LocalNames {
        LocalNames::compile(&Special::default(), Stated::default())
    }
}

impl LocalNames {
    /// What is special, and what is stated.
    pub fn compile(special: &Special, stated: Stated) -> LocalNames {
        LocalNames { tree: Tree::of(special, stated), epoch: EPOCHS.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// What is said here; none where others are asked. To ANY nothing is said but that a name does not exist.
    pub fn look(&self, query: &Query<'_>) -> Option<Local> {
        if !matches!(query.qclass, Class::IN | Class::ANY) {
            return None;
        }
        // Most names are others', and nothing is copied for those.
        let found = self.tree.find(&query.qname, query.qtype)?;
        let asked = query.key();
        let Way { aliases, end } = self.way(&asked, found)?;
        match end {
            End::Records(owner, set) if aliases.is_empty() && set.is_of(&owner) => {
                let truth =
                    set.truth(|| say(&asked.unsigned(), Rcode::NOERROR, &[], Some((owner, set)), None));
                Some(Local::Truth(truth))
            }
            End::Records(owner, set) => {
                Some(Local::Truth(say(&asked, Rcode::NOERROR, &aliases, Some((owner, set)), None)))
            }
            End::Denied(rcode, soa) => Some(Local::Truth(say(&asked, rcode, &aliases, None, Some(&soa)))),
            End::Away(next) => {
                let alias = say(&asked, Rcode::NOERROR, &aliases, None, None);
                Some(Local::Leads(alias, Question { qname: next, ..asked }))
            }
            // It is told as far as it goes, as upstream's are.
            End::Circle => Some(Local::Truth(say(&asked, Rcode::NOERROR, &aliases, None, None))),
            End::Endless => Some(Local::Truth(say(&asked, Rcode::SERVFAIL, &[], None, None))),
        }
    }

    /// Follows a question, of whose name that was found, through all that is stated; none for ANY of a name that exists.
    fn way<'t>(&'t self, asked: &Question, mut found: Found<'t>) -> Option<Way<'t>> {
        let mut aliases: Vec<(Name, &Set)> = Vec::new();
        let mut at = asked.qname;
        let end = loop {
            let (set, target) = match found {
                Found::Any => return None,
                Found::Records(set) => break End::Records(at, set),
                Found::Denied(rcode, soa) => break End::Denied(rcode, soa),
                Found::Alias(set, target) => (set, target),
            };
            if aliases.len() == MAX_ALIASES {
                break End::Endless;
            }
            aliases.push((at, set));
            if aliases.iter().any(|(owner, _)| *owner == target) {
                break End::Circle;
            }
            at = target;
            found = match self.tree.find(&at, asked.qtype) {
                Some(found) => found,
                None => break End::Away(at),
            };
        };
        Some(Way { aliases, end })
    }

    /// Whether a name is answered here.
    pub fn holds(&self, name: &Name) -> bool {
        self.tree.find(name, Rtype::A).is_some()
    }

    /// A number that no other value has.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether it answers for the same names as another one, whatever it says of them.
    pub fn is_about_the_same(&self, other: &LocalNames) -> bool {
        self.tree.shape() == other.tree.shape()
    }

    /// How many records are stated.
    pub fn records(&self) -> usize {
        self.tree.stated().1
    }

    /// How many zones are.
    pub fn zones(&self) -> usize {
        self.tree.stated().0
    }
}

/// The truth of these aliases, and of the records or the denial behind them; SERVFAIL where that is more than a message.
fn say(
    asked: &Question,
    rcode: Rcode,
    aliases: &[(Name, &Set)],
    records: Option<(Name, &Set)>,
    soa: Option<&Soa<'_>>,
) -> Arc<Truth> {
    let sets: Vec<(Name, &Set)> = aliases.iter().copied().chain(records).collect();
    let answers: Vec<said::Stated<'_>> = sets.iter().flat_map(|(owner, set)| set.stated(owner)).collect();
    let denial: Vec<said::Stated<'_>> = soa.map(Soa::stated).into_iter().collect();
    let said = Truth::said_here(asked, rcode, [&answers, &denial]);
    Arc::new(said.unwrap_or_else(|_| Truth::unsayable()))
}
