//! One value for all that an answer depends on besides cache and clock.
//!
//! Orders, statements, pauses and the configuration all end in a new [`Generation`], which [`Current`] puts in the old one's
//! place. A query takes one when it comes and is answered by it to the end, so no answer is a mixture of two.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Cache, Guard};

use super::fetch::Fetcher;
use crate::access::AccessList;
use crate::cache::Cache as AnswerCache;
use crate::clients::Clients;
use crate::dns::Question;
use crate::dns::chaos::Identity;
use crate::dns::dns64::Dns64;
use crate::ecs::Ecs;
use crate::local::LocalNames;
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
    /// Names answered here.
    pub local: Arc<LocalNames>,
    /// Where the truth comes from: upstreams, and the cache that holds what they said. It belongs to them: what other upstreams
    /// said, or what was kept by other rules, is no answer of this generation.
    pub fetcher: Arc<Fetcher>,
    /// For whom it comes from elsewhere.
    pub routes: Arc<Routes>,
}

/// Groups of clients whose questions go elsewhere than everybody's. What they are told is cached apart, since it is no answer to
/// anybody else, nor the other way round.
#[derive(Default)]
pub struct Routes {
    /// Where from, by the names of the groups.
    fetchers: Vec<(Vec<String>, Arc<Fetcher>)>,
    /// The same by the numbers of the groups; empty where there are none such.
    by_group: Box<[Option<Arc<Fetcher>>]>,
}

impl Routes {
    /// These, for groups as they are among these clients.
    pub fn new(fetchers: Vec<(Vec<String>, Arc<Fetcher>)>, clients: &Clients) -> Routes {
        let of = |name: &str| fetchers.iter().find(|(groups, _)| groups.iter().any(|group| group == name));
        let numbers = 0..u16::try_from(clients.groups()).unwrap_or(u16::MAX);
        let by_group = numbers.map(|number| Some(Arc::clone(&of(clients.name(number)?)?.1)));
        let by_group = if fetchers.is_empty() { Box::default() } else { by_group.collect() };
        Routes { fetchers, by_group }
    }

    /// Where from for exactly these groups.
    pub fn of(&self, groups: &[String]) -> Option<&Arc<Fetcher>> {
        self.fetchers.iter().find(|(of, _)| of == groups).map(|(_, fetcher)| fetcher)
    }

    /// The same for groups as they are among other clients.
    #[must_use]
    pub fn among(&self, clients: &Clients) -> Routes {
        Routes::new(self.fetchers.clone(), clients)
    }

    /// Whether everybody's questions go the same way.
    pub fn is_empty(&self) -> bool {
        self.by_group.is_empty()
    }
}

impl Generation {
    /// Where a client's answers come from.
    #[inline]
    pub fn fetcher_of(&self, client: IpAddr) -> &Arc<Fetcher> {
        self.own_fetcher(client).unwrap_or(&self.fetcher)
    }

    /// Where a client's answers come from if that is not where everybody's do.
    #[inline]
    pub fn own_fetcher(&self, client: IpAddr) -> Option<&Arc<Fetcher>> {
        if self.routes.is_empty() {
            return None;
        }
        self.routes.by_group.get(usize::from(self.clients.group_of(client)))?.as_ref()
    }

    /// What is cached, with the groups of clients whose it is; none of them for everybody's.
    pub fn caches(&self) -> impl Iterator<Item = (&[String], &Arc<AnswerCache>)> {
        let own = self.routes.fetchers.iter().map(|(groups, fetcher)| (&groups[..], fetcher.cache()));
        std::iter::once((&[][..], self.fetcher.cache())).chain(own)
    }

    /// Wherever answers come from.
    pub fn fetchers(&self) -> impl Iterator<Item = &Arc<Fetcher>> {
        std::iter::once(&self.fetcher).chain(self.routes.fetchers.iter().map(|(_, fetcher)| fetcher))
    }
}

/// What the configuration says of answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Who is served.
    pub access: AccessList,
    /// What CHAOS queries learn.
    pub identity: Identity,
    /// Whether another of several addresses comes first in each reply.
    pub rotate: bool,
    /// Where clients that have IPv6 alone reach IPv4, if they do.
    pub dns64: Option<Dns64>,
    /// Which networks of clients upstream is told of.
    pub ecs: Ecs,
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
            local: Arc::default(),
            fetcher: Arc::new(Fetcher::nobody()),
            routes: Arc::default(),
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
