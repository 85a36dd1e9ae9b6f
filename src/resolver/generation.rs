//! One value for all that an answer depends on besides cache and clock.
//!
//! Orders, statements, pauses and the configuration all end in a new [`Generation`], which [`Current`] puts in the old one's
//! place. A query takes one when it comes and is answered by it to the end, so no answer is a mixture of two.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Cache, Guard};

use super::fetch::Fetcher;
use crate::access::AccessList;
use crate::clients::Clients;
use crate::dns::Question;
use crate::dns::local_zones::{Identity, LocalZones};
use crate::policy::Policy;
use crate::upstream::{Ask, AskError};

/// All that an answer depends on besides cache and clock. Nothing in it changes; cloning it copies pointers.
#[derive(Clone)]
pub struct Generation {
    /// What orders say: what was compiled, and what is stated upon it.
    pub policy: Arc<Policy>,
    /// Which policy zones concern whom, and for whom they are paused.
    pub clients: Arc<Clients>,
    /// What the configuration says of answers.
    pub answers: Arc<Answers>,
    /// Where the truth comes from: upstreams, and the cache that holds what they said. It belongs to them: what other upstreams
    /// said, or what was kept by other rules, is no answer of this generation.
    pub fetcher: Arc<Fetcher>,
}

/// What the configuration says of answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Who is served.
    pub access: AccessList,
    /// Names answered here, and those of them that are forwarded after all.
    pub local_zones: LocalZones,
    /// What CHAOS queries learn.
    pub identity: Identity,
}

/// The generation that serves, and the one way to replace it.
pub struct Current {
    serving: Arc<ArcSwap<Generation>>,
    /// Held while somebody makes the next: two who change different parts undo nothing of each other's.
    changing: Mutex<()>,
}

/// One thread's view of what serves: a look costs one load.
pub(super) type View = Cache<Arc<ArcSwap<Generation>>, Arc<Generation>>;

impl Current {
    /// Serves nobody and asks nobody, by that policy.
    pub fn of(policy: impl Into<Arc<Policy>>) -> Arc<Current> {
        let first = Generation {
            policy: policy.into(),
            clients: Arc::default(),
            answers: Arc::default(),
            fetcher: Arc::new(Fetcher::nobody()),
        };
        Arc::new(Current { serving: Arc::new(ArcSwap::from_pointee(first)), changing: Mutex::default() })
    }

    /// What serves now.
    pub fn load(&self) -> Guard<Arc<Generation>> {
        self.serving.load()
    }

    /// The policy of what serves now.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.load().policy)
    }

    /// Has the next generation made from the one that serves, and puts it in its place. Gives back the one before.
    ///
    /// Queries wait for nothing; who else wants to change something waits for `next`, which is to be quick.
    pub fn change(&self, next: impl FnOnce(&Generation) -> Generation) -> Arc<Generation> {
        // Nothing is behind the lock that a panic could have left half done.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next(&self.serving.load());
        self.serving.swap(Arc::new(next))
    }

    /// Puts a policy in place of the one that serves, which comes back with its generation.
    pub fn put(&self, policy: impl Into<Arc<Policy>>) -> Arc<Generation> {
        self.change(|serving| Generation { policy: policy.into(), ..serving.clone() })
    }

    /// One thread's view.
    pub(super) fn view(&self) -> View {
        Cache::new(Arc::clone(&self.serving))
    }
}

/// Asks whoever is upstream at that moment.
impl Ask for Current {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        let fetcher = Arc::clone(&self.load().fetcher);
        fetcher.upstream().ask_it(question).await
    }
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("policy", &self.policy().epoch()).finish_non_exhaustive()
    }
}
