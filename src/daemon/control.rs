//! The control API's part of the daemon: its address taken early, its journal read, its numbers gathered.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::runtime::Builder;
use tokio::sync::watch;

use super::tasks;
use crate::config::Control;
use crate::control::address::Address;
use crate::control::api::guard::{Guard, SharedTokens, Tokens};
use crate::control::api::types::{CacheShown, UpstreamShown};
use crate::control::api::{self, Api, MAX_ORDERS_TOLD, Numbers, listen};
use crate::control::health::Health;
use crate::control::journal::Journal;
use crate::control::local_names::LocalSources;
use crate::control::signing::Signer;
use crate::owner;
use crate::problem::Problem;
use crate::querylog::QueryLog;
use crate::resolver::Resolver;
use crate::server::{Counters, Queues};
use crate::spares;
use crate::time::UnixSeconds;
use crate::upstream::Forwarder;

/// Where the API will be spoken, and what is asked of who speaks.
pub(super) struct Door {
    /// The listener and what guards it; none if there is no API.
    open: Option<(listen::Bound, Guard)>,
    /// The tokens it asks for, if any: others may take their place.
    pub(super) tokens: Option<SharedTokens>,
    /// Why there is none, if somebody might have expected it.
    pub(super) warnings: Vec<Problem>,
}

/// Takes the API's address.
///
/// # Errors
/// When it cannot be had though somebody chose it, or its tokens cannot be read.
pub(super) fn open(control: &Control) -> Result<Door, Vec<Problem>> {
    let closed = |warnings| Door { open: None, tokens: None, warnings };
    let Some(address) = &control.listen else { return Ok(closed(Vec::new())) };
    let tokens =
        control.token_file.as_deref().map(Tokens::read).transpose().map_err(|problem| vec![problem])?;
    match listen::bind(address) {
        Ok(bound) => {
            // The port that the system chose, if that was left to it.
            let tokens = tokens.map(|tokens| Arc::new(ArcSwap::from_pointee(tokens)));
            let guard = Guard::new(&bound.address().unwrap_or_else(|| address.clone()), tokens.clone());
            let warnings = control.token_file.as_deref().and_then(Tokens::remark).into_iter().collect();
            Ok(Door { open: Some((bound, guard)), tokens, warnings })
        }
        Err(error) => {
            let problem = explain(address, &error);
            match control.by_default {
                true => {
                    Ok(closed(vec![Problem::warning(problem.file, None, problem.message).hint(problem.hint)]))
                }
                false => Err(vec![problem]),
            }
        }
    }
}

/// What an error of binding means, and what to do about it.
fn explain(address: &Address, error: &io::Error) -> Problem {
    let hint = match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, _) => "stop the other server, or choose another address: --control",
        (io::ErrorKind::InvalidInput, Address::Unix(_)) => {
            "a socket's path has some 100 characters at most: --control unix:PATH"
        }
        (_, Address::Unix(_)) => {
            "choose another path with --control unix:PATH, or do without: --control none"
        }
        _ => "choose another address with --control, or do without: --control none",
    };
    Problem::error(format!("control {address}"), None, format!("cannot be listened on: {error}")).hint(hint)
}

/// Takes the state folder, which is made for this user alone if it is not there.
///
/// # Errors
/// When it is somebody else's, or somebody else may write to it. That it cannot be made is said by who wants to write to it.
pub(super) fn state(folder: Option<&Path>) -> Result<(), Vec<Problem>> {
    let Some(folder) = folder else { return Ok(()) };
    let _ = owner::make_folder(folder);
    match fs::metadata(folder) {
        Ok(metadata) => owner::check(folder, &metadata).map_err(|problem| vec![problem]),
        Err(_) => Ok(()),
    }
}

/// The journal of a state folder, and what is wrong with it; in memory without one.
///
/// # Errors
/// When it is there and cannot be read, or the key that is to sign it cannot.
pub(super) fn journal(
    state: Option<&Path>,
    sign_with: Option<&Path>,
) -> Result<(Journal, Vec<Problem>), Vec<Problem>> {
    let signer = sign_with.map(Signer::read).transpose().map_err(|problem| vec![problem])?;
    let Some(folder) = state else { return Ok((Journal::in_memory(), Vec::new())) };
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (mut journal, mut problems) =
        Journal::open(folder, UnixSeconds::try_from(at).unwrap_or(UnixSeconds::MAX))
            .map_err(|problem| vec![problem])?;
    journal.sign_with(signer);
    if let Err(error) = journal.hold() {
        let message = format!("the journal of orders cannot be written there ({error})");
        let hint = "as long as this is so, orders are changed by their files alone";
        problems.push(Problem::warning(folder.display().to_string(), None, message).hint(hint));
    }
    Ok((journal, problems))
}

/// Reads all counters.
pub(super) fn numbers(
    resolver: Arc<Resolver>,
    listeners: Arc<Counters>,
    forwarder: Arc<ArcSwap<Forwarder>>,
    local: Arc<LocalSources>,
    queues: impl Fn() -> Queues + Send + Sync + 'static,
    query_log: Option<Arc<QueryLog>>,
) -> Box<dyn Fn() -> Numbers + Send + Sync> {
    Box::new(move || {
        let counters = resolver.counters();
        let forwarder = forwarder.load();
        let upstreams = forwarder.tallies().into_iter().map(|tally| UpstreamShown {
            server: tally.server.to_string(),
            zones: tally.zones.iter().map(ToString::to_string).collect(),
            groups: tally.groups,
            asked: tally.asked,
            extra: tally.extra,
            failed: tally.failed,
            under_way: tally.under_way as u64,
            full: tally.full,
            probes: tally.probes,
            guesses: tally.guesses,
            cookies: tally.cookied.given,
            cookies_missing: tally.cookied.refused,
            up: tally.is_up,
            back_for_s: tally.back_for.map(|time| time.as_secs()),
            last_failure_s: tally.last_failure.as_ref().map(|(_, ago)| ago.as_secs()),
            last_failure: tally.last_failure.map(|(why, _)| why),
            failures: tally.by_kind.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
            reply_us: tally.reply_time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            times: tally.times,
        });
        let generation = resolver.current().load();
        let caches = generation.fetchers().map(|fetcher| fetcher.cache());
        let cache = caches.fold(CacheShown::default(), |all, cache| CacheShown {
            entries: all.entries.saturating_add(cache.len()),
            octets: all.octets.saturating_add(cache.bytes()),
            max_octets: all.max_octets.saturating_add(cache.max_bytes()),
        });
        Numbers {
            resolver: counters.readings(),
            actions: counters.by_action(),
            rcodes: counters.by_rcode(),
            hits: resolver.hits(generation.policy.orders().iter().take(MAX_ORDERS_TOLD)),
            waits: resolver.waits(),
            queues: queues(),
            listeners: listeners.read().named(),
            upstreams: upstreams.collect(),
            network_changes: forwarder.network().changes(),
            outages: forwarder.outages(),
            cache,
            local: local.counts(),
            query_log: query_log.as_ref().map(|log| log.counts()),
        }
    })
}

/// Speaks the API, if there is one, until it is dropped.
///
/// On a thread of its own: whatever a request costs, no query waits for it, as it would on the threads that ask upstreams.
pub(super) async fn serve(door: Door, api: Api, health: Arc<Health>) {
    let Some((mut bound, guard)) = door.open else { return };
    let refused = api.refused.clone();
    let router = api::router(Arc::new(api), Arc::new(guard));
    // Only ever changed by this end being dropped.
    let (_end, ended) = watch::channel(());
    // The socket's file goes with this future, and so before the process ends, when the thread may not be waited for. Declared
    // behind `_end`, so dropped before it: a successor that no longer hears this server may have taken the path.
    let _removed = bound.removed();
    let speak = move || {
        // Whoever lifts an order is heard even if this begins when no descriptor is left.
        let bound = spares::open(|| bound.again())?;
        let runtime = spares::open(|| Builder::new_current_thread().enable_all().build())?;
        if let Some(address) = bound.address() {
            tracing::info!("control API on {address}");
        }
        let (router, refused, mut ended) = (router.clone(), refused.clone(), ended.clone());
        runtime.block_on(async {
            tokio::select! {
                spoken = listen::serve(bound, router, refused) => spoken,
                _ = ended.changed() => Ok(()),
            }
        })
    };
    tasks::on_a_thread(&health, "control", speak).await;
}
