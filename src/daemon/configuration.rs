//! The configuration while it serves: what follows from another one, and when.
//!
//! What answers depend on comes into force in one piece, with the orders, as a new generation; the rest (bounds, lists to fetch,
//! tokens, the log's level) follows at once. What sockets, threads and folders were made by stays until a restart, which is said.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::keep::Keeper;
use super::lists::{Lists, Running};
use super::report;
use super::{descriptors, evidence};
use crate::cache::Cache;
use crate::clients::Clients;
use crate::config::{self, Config, DEFAULT_FILE, Sources};
use crate::control::api::guard::{SharedTokens, Tokens};
use crate::control::blast::BlastLimit;
use crate::control::chronicle::Chronicle;
use crate::control::configured::{Configuration, Next};
use crate::control::local_names::{self, LocalSources};
use crate::evidence::keeper::Keeper as EvidenceKeeper;
use crate::log;
use crate::problem::Problem;
use crate::resolver::fetch::Fetcher;
use crate::resolver::{Answers, Generation, Resolver, Routes};
use crate::server;
use crate::upstream::Forwarder;

/// The configuration that is in force, and what another is put into.
pub(super) struct Configured {
    /// Where it is read from.
    pub(super) sources: Sources,
    /// As it was when the process began: sockets, threads and folders are made by that.
    pub(super) begun: Config,
    /// As it was read when it was last put in force.
    pub(super) read: Config,
    /// The one that was looked at last, until it is in force.
    pub(super) next: Option<Looked>,
    /// Descriptors that may be open, if that is known, and those that sockets take.
    pub(super) descriptors: (Option<u64>, usize),
    /// What it is for.
    pub(super) parts: Parts,
}

/// What a configuration is put into.
pub(super) struct Parts {
    /// Who answers.
    pub(super) resolver: Arc<Resolver>,
    /// Who is upstream, to be counted.
    pub(super) forwarder: Arc<ArcSwap<Forwarder>>,
    /// Lists to fetch.
    pub(super) lists: Arc<Lists>,
    /// Who keeps what is cached.
    pub(super) keeper: Arc<Keeper>,
    /// Who keeps evidence, if that is kept.
    pub(super) evidence: Option<Arc<EvidenceKeeper>>,
    /// Names of our own.
    pub(super) local: Arc<LocalSources>,
    /// Sets the bounds of listeners.
    pub(super) bounds: Box<dyn Fn(server::Settings) + Send + Sync>,
    /// How often canaries are asked.
    pub(super) canaries: watch::Sender<Duration>,
    /// The tokens of the control API, if it asks for any.
    pub(super) tokens: Option<SharedTokens>,
    /// Who puts on record that it is another.
    pub(super) chronicle: Arc<Chronicle>,
    /// Where upstreams are asked.
    pub(super) runtime: Handle,
}

/// A configuration that can be put in force.
pub(super) struct Looked {
    /// As it was read.
    read: Config,
    /// The bounds of listeners that fit in the descriptors there are.
    bounds: server::Settings,
    /// Other upstreams.
    forwarder: Option<Arc<Forwarder>>,
    /// Other lists, or none any more.
    lists: Option<Option<Running>>,
    /// The tokens of its file, if it names one.
    tokens: Option<Tokens>,
    /// What is to be said once it is in force.
    warnings: Vec<Problem>,
}

impl Configuration for Configured {
    fn files(&self) -> Vec<PathBuf> {
        let named = self.sources.file.clone().unwrap_or_else(|| self.sources.dir.join(DEFAULT_FILE));
        let roots = self.read.upstream.roots.file().map(Path::to_path_buf);
        [Some(named), self.read.control.token_file.clone(), roots].into_iter().flatten().collect()
    }

    fn look(&mut self) -> Result<Option<Next>, Vec<Problem>> {
        // One that was looked at and not followed may be in force in part: a reload can break off by a fault of ours.
        let unsure = self.next.is_some();
        let read = config::load(&self.sources)?;
        self.there_still(&read)?;
        super::missing_paths(&read)?;
        if read.upstream.source != self.read.upstream.source {
            super::source_is_ours(&read)?;
        }
        // Who asks for a reload means these files, too.
        self.parts.local.look();
        let tokens = read.control.token_file.as_deref().map(Tokens::read).transpose();
        let tokens = tokens.map_err(|problem| vec![problem])?;
        if self.parts.tokens.is_some() && tokens.is_none() {
            let message = "control.token_file cannot be taken out while the control API is there";
            let hint = "give it a file of tokens, or take it out and restart";
            return Err(vec![Problem::error("configuration", None, message).hint(hint)]);
        }
        if read == self.read && !unsure {
            self.take_tokens(tokens);
            return Ok(None);
        }
        let mut fitted = read.clone();
        let (limit, sockets) = self.descriptors;
        let mut warnings = fitted.warnings.clone();
        warnings.extend(limit.and_then(|limit| descriptors::fit(&mut fitted, limit, sockets)));
        warnings.extend(self.wants_restart(&read));
        // The folder is the one that was there from the beginning.
        fitted.orders.state.clone_from(&self.begun.orders.state);
        let lists = self.lists(&mut fitted)?;
        let other_upstream = unsure
            || read.upstream != self.read.upstream
            || read.cache != self.read.cache
            || read.rebinding != self.read.rebinding;
        let forwarder =
            other_upstream.then(|| Arc::new(self.parts.forwarder.load().following(fitted.upstream.clone())));
        // What is cached stays where it would be taken in again, from whoever said it: an outage is when one adds a server.
        let keeps_cache = !unsure
            && read.cache.keeps_like(&self.read.cache)
            && read.rebinding == self.read.rebinding
            && read.upstream.still_asks(&self.read.upstream);
        let settle = self.settle(&fitted, forwarder.clone(), keeps_cache);
        let blast = BlastLimit::new(self.parts.resolver.recent(), read.guard.max_share, read.guard.hold);
        let bounds = bounds(&fitted);
        let orders = fitted.orders.settings;
        self.next = Some(Looked { read, bounds, forwarder, lists, tokens, warnings });
        Ok(Some(Next { orders, blast: Some(blast), settle }))
    }

    fn follow(&mut self) -> Vec<Problem> {
        let Some(Looked { read, bounds, forwarder, lists, tokens, warnings }) = self.next.take() else {
            return Vec::new();
        };
        self.take_tokens(tokens);
        self.parts.local.look();
        log::set_level(read.log.level);
        (self.parts.bounds)(bounds);
        if read.upstream != self.read.upstream {
            report::say_upstreams(&read.upstream);
        }
        if let Some(forwarder) = forwarder {
            let _runtime = self.parts.runtime.enter();
            forwarder.meet();
            self.parts.forwarder.store(forwarder);
        }
        if let Some(lists) = lists {
            self.parts.lists.replace(lists);
        }
        self.parts.keeper.follow(read.persist);
        if let Some(keeper) = &self.parts.evidence {
            keeper.follow(evidence::settings(&read.evidence));
        }
        self.parts.canaries.send_if_modified(|every| {
            std::mem::replace(every, read.guard.canary_interval) != read.guard.canary_interval
        });
        let changed = config::changed_keys(&self.read.effective, &read.effective);
        self.parts.chronicle.configured(&read.effective, Some(&changed));
        self.read = read;
        warnings
    }
}

impl Configured {
    /// Refuses to go on without what was there: a file that is gone, or that a full disk left empty or cut, would have every
    /// setting it named be what it is by default, and all orders be let go.
    fn there_still(&self, read: &Config) -> Result<(), Vec<Problem>> {
        let Some(file) = &self.read.file else { return Ok(()) };
        let bad = |message: &str, hint: &str| {
            Err(vec![Problem::error(file.display().to_string(), None, message).hint(hint)])
        };
        if read.file.is_none() {
            return bad("it is gone", "put it back; to do without it, restart");
        }
        let says =
            |text: String| text.lines().any(|line| !matches!(line.trim().chars().next(), None | Some('#')));
        if !std::fs::read_to_string(file).is_ok_and(says) {
            return bad("it is empty", "write it again; to go by the defaults, take it away and restart");
        }
        if read.orders.by_default && !self.read.orders.by_default {
            return bad(
                "it no longer says where orders are",
                "say [orders] paths, which may be []; to go by the default, restart",
            );
        }
        Ok(())
    }

    /// Puts the tokens of the file as it is now in the place of those before.
    fn take_tokens(&self, tokens: Option<Tokens>) {
        if let Some((shared, tokens)) = self.parts.tokens.as_ref().zip(tokens) {
            shared.store(Arc::new(tokens));
        }
    }

    /// Lists that others take the place of, if they do; fills in the paths of all.
    fn lists(&self, fitted: &mut Config) -> Result<Option<Option<Running>>, Vec<Problem>> {
        let (new, old) = (&fitted.orders.settings.lists, &self.read.orders.settings.lists);
        let same = new.len() == old.len() && new.iter().zip(old).all(|(new, old)| new.reads_like(old));
        if same {
            self.parts.lists.fill(&mut fitted.orders);
            return Ok(None);
        }
        let prepared = self.parts.lists.prepare(&mut fitted.orders);
        prepared.map(Some).map_err(|error| vec![Problem::error("lists", None, error.to_string())])
    }

    /// What makes the generation: other upstreams have a cache of their own unless it is kept, groups go on with their pauses.
    fn settle(
        &self,
        fitted: &Config,
        forwarder: Option<Arc<Forwarder>>,
        keeps_cache: bool,
    ) -> Box<crate::control::configured::Settle> {
        let resolver = &self.parts.resolver;
        let fetchers = forwarder.map(|forwarder| {
            let serving = resolver.current().load();
            let kept = |fetcher: Option<&Arc<Fetcher>>| {
                let kept = fetcher.filter(|_| keeps_cache).map(|fetcher| Arc::clone(fetcher.cache()));
                kept.unwrap_or_else(|| Arc::new(fitted.empty_cache()))
            };
            let routes = routes(resolver, &forwarder, fitted, |groups| kept(serving.routes.of(groups)));
            (resolver.fetcher(forwarder, kept(Some(&serving.fetcher)), fitted.rules(&[])), routes)
        });
        let answers = Answers {
            access: fitted.access.clone(),
            identity: fitted.identity.clone(),
            rotate: fitted.rotate,
            dns64: fitted.dns64.clone(),
            ecs: fitted.ecs.clone(),
        };
        let (answers, clients) = (Arc::new(answers), Clients::new(&fitted.clients));
        let local = Arc::clone(&self.parts.local);
        let prepared = local.prepare(named_here(fitted));
        Box::new(move |serving: &Generation| {
            let (fetcher, routes) = match fetchers {
                Some((fetcher, routes)) => (fetcher, Routes::new(routes, &clients)),
                None => (Arc::clone(&serving.fetcher), serving.routes.among(&clients)),
            };
            Generation {
                policy: Arc::clone(&serving.policy),
                clients: Arc::new(clients.paused_like(&serving.clients)),
                answers,
                local: local.take(&prepared, &serving.local),
                fetcher,
                routes: Arc::new(routes),
            }
        })
    }

    /// Says what another configuration wants and only a restart can give.
    fn wants_restart(&self, read: &Config) -> Option<Problem> {
        let (now, then) = (read, &self.begun);
        let keys = [
            ("listen.udp", now.listen.udp != then.listen.udp),
            ("listen.tcp", now.listen.tcp != then.listen.tcp),
            ("listen.workers", now.listen.workers != then.listen.workers),
            ("listen.pin", now.listen.limits.udp_pin != then.listen.limits.udp_pin),
            ("listen.socket_buffer", now.listen.socket_buffer != then.listen.socket_buffer),
            (
                "process",
                (&now.user, now.confine, &now.writable) != (&then.user, then.confine, &then.writable),
            ),
            ("control.listen", now.control.listen != then.control.listen),
            ("control.token_file", now.control.token_file.is_some() && self.parts.tokens.is_none()),
            ("audit.sign_with", now.sign_with != then.sign_with),
            ("orders.state", now.orders.state != then.orders.state),
            ("orders.watch", now.orders.watch != then.orders.watch),
            ("guard.recent", now.guard.recent != then.guard.recent),
            ("evidence.on", now.evidence.on != then.evidence.on),
            ("evidence.memory", now.evidence.memory != then.evidence.memory),
            ("log.format", now.log.format != then.log.format),
            ("query_log", now.query_log != then.query_log),
        ];
        let other: Vec<&str> = keys.into_iter().filter(|(_, other)| *other).map(|(key, _)| key).collect();
        let file = read.file.as_ref().map_or_else(String::new, |file| file.display().to_string());
        let message =
            format!("{} stays as it was: restart to use it; all else is in force", other.join(", "));
        (!other.is_empty()).then(|| Problem::warning(file, None, message))
    }
}

/// What a configuration says of names of our own.
pub(super) fn named_here(config: &Config) -> local_names::Configured {
    local_names::Configured { rows: config.local.clone(), special: config.special.clone() }
}

/// Who fetches for groups of clients with upstreams of their own, each into a cache of theirs.
pub(super) fn routes(
    resolver: &Resolver,
    forwarder: &Forwarder,
    config: &Config,
    cache: impl Fn(&[String]) -> Arc<Cache>,
) -> Vec<(Vec<String>, Arc<Fetcher>)> {
    let of = |(groups, route): (&[String], &Arc<Forwarder>)| {
        (groups.to_vec(), resolver.fetcher(route.clone(), cache(groups), config.rules(groups)))
    };
    forwarder.routes().map(of).collect()
}

/// The bounds of listeners, which at the end wait for as long as an upstream may take.
pub(super) fn bounds(config: &Config) -> server::Settings {
    let mut bounds = config.listen.limits;
    bounds.drain = bounds.drain.max(config.upstream.total_timeout + Duration::from_secs(1));
    bounds
}
