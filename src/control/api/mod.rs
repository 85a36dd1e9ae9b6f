//! The control API: how the orders stand, who changed that, and how the server is, over HTTP.
//!
//! What commands do goes over it, and what a dashboard shows will: there is no other way in. Every path is a row of
//! [`routes::routes`], of which both the router and the OpenAPI document are made.

mod cache;
pub mod change;
mod explain;
pub mod fault;
pub mod guard;
pub mod listen;
mod live;
pub mod metrics;
pub mod openapi;
pub mod peer;
mod places;
mod reports;
mod route;
pub mod routes;
pub mod types;
mod visits;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use tokio::sync::mpsc;

use crate::clock::{Clock, Now};
use crate::control::active_policy::ActivePolicy;
use crate::control::canary::Canaries;
use crate::control::chronicle::Chronicle;
use crate::control::health::{About, Health};
use crate::control::local_names::LocalCounts;
use crate::control::reloads::Reloads;
use crate::histogram::Times;
use crate::querylog::{self, QueryLog};
use crate::resolver::counters::Reading;
use crate::resolver::recent::Recent;
use crate::server::Queues;
use crate::time::UnixSeconds;
use fault::Fault;
use guard::Guard;
use types::{CacheShown, KeptShown, ListStatus, PauseStatus, UpstreamShown};

/// The longest request body, in octets: a thousand names fit.
const MAX_BODY: usize = 512 << 10;
/// Orders whose hits are told, a number each: who collects metrics keeps a series for each of them.
pub const MAX_ORDERS_TOLD: usize = 1000;

/// What the server counts, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// What the resolver did.
    pub resolver: Vec<Reading>,
    /// Verdicts by action.
    pub actions: Vec<(&'static str, u64)>,
    /// Replies by response code.
    pub rcodes: Vec<(String, u64)>,
    /// How often orders decided or looked on, of [`MAX_ORDERS_TOLD`] that come first, by their ids.
    pub hits: Vec<(String, u64)>,
    /// How long queries took that waited for an upstream.
    pub waits: Times,
    /// Who waits and who is connected.
    pub queues: Queues,
    /// What listeners did: names, what is counted, values.
    pub listeners: Vec<(&'static str, &'static str, u64)>,
    /// Upstreams, in order of preference.
    pub upstreams: Vec<UpstreamShown>,
    /// How often the network became another one.
    pub network_changes: u64,
    /// Groups of upstreams of which no server answers, a line each.
    pub outages: Vec<String>,
    /// All caches together.
    pub cache: CacheShown,
    /// Names of our own.
    pub local: LocalCounts,
    /// The query log, if there is one.
    pub query_log: Option<querylog::Counts>,
}

/// Sources of lists, as far as the API knows them.
pub trait Lists: Send + Sync {
    /// How each is, in the order they are configured.
    fn lists(&self, at: UnixSeconds) -> Vec<ListStatus>;

    /// Has one, or all of them, fetched now, aside, however much they have shrunk if that is allowed; gives back their
    /// names.
    ///
    /// # Errors
    /// When there is none of that name.
    fn refresh(&self, name: Option<&str>, allow_shrink: bool) -> Result<Vec<String>, String>;
}

/// Pauses of the operator's own lists, as far as the API knows them.
pub trait Pauses: Send + Sync {
    /// Those under way.
    fn pauses(&self, now: Now) -> Vec<PauseStatus>;

    /// Begins or replaces one, for a group or everybody, that lasts so many seconds. May wait for the disk.
    ///
    /// # Errors
    /// Why it has not begun.
    fn pause(&self, group: Option<&str>, seconds: u32, why: &str, now: Now) -> Result<(), NotPaused>;

    /// Ends the one of a group, or every one. May wait for the disk.
    ///
    /// # Errors
    /// When there is no such group.
    fn resume(&self, group: Option<&str>) -> Result<(), NotPaused>;
}

/// Why nothing is paused or resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotPaused {
    /// There is no such group.
    Unknown(String),
    /// It cannot be written down, and would be lost by a restart.
    NotKept(String),
}

/// What is cached, on the disk, as far as the API knows it.
pub trait Kept: Send + Sync {
    /// How it is.
    fn kept(&self) -> KeptShown;

    /// Something was forgotten: so is what the disk holds, until it is written anew. May wait for the disk.
    fn forget(&self);
}

/// All that the API speaks of and acts upon.
pub struct Api {
    /// Orders, statements and the journal.
    pub active: Arc<ActivePolicy>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// When the server started.
    pub started: Now,
    /// Has the orders reloaded.
    pub reload: mpsc::Sender<()>,
    /// Reads the counters.
    pub numbers: Box<dyn Fn() -> Numbers + Send + Sync>,
    /// What was wrong with the journal on start.
    pub journal_problems: Vec<String>,
    /// Connections to the API that were one too many.
    pub refused: Arc<AtomicU64>,
    /// What does not go as it should.
    pub health: Arc<Health>,
    /// Who puts on record what is not about orders, if anybody does.
    pub chronicle: Option<Arc<Chronicle>>,
    /// How often the orders were read again.
    pub reloads: Arc<Reloads>,
    /// Sources of lists, if this server has any.
    pub lists: Option<Arc<dyn Lists>>,
    /// Pauses, if this server has any.
    pub pauses: Option<Arc<dyn Pauses>>,
    /// What is cached, on the disk, if this server keeps it there.
    pub kept: Option<Arc<dyn Kept>>,
    /// Answers that were forgotten by command.
    pub flushed: Arc<AtomicU64>,
    /// How evidence fares, if that is kept.
    pub evidence: Option<Box<dyn Fn() -> types::EvidenceShown + Send + Sync>>,
    /// How canaries fare.
    pub canaries: Arc<Canaries>,
    /// A sample of what was asked lately.
    pub recent: Recent,
    /// The query log, if there is one.
    pub query_log: Option<Arc<QueryLog>>,
}

impl Api {
    /// The time of day.
    fn now(&self) -> UnixSeconds {
        self.clock.now().wall
    }

    /// The counters, with what they say of upstreams among the troubles.
    fn count(&self) -> Numbers {
        let numbers = (self.numbers)();
        let outages = numbers.outages.join("; ");
        self.health.say(About::Upstream, Some(&outages[..]).filter(|outages| !outages.is_empty()));
        let outlets = numbers.query_log.iter().flat_map(|log| &log.outlets);
        let wrong =
            outlets.filter_map(|outlet| Some(format!("{}: {}", outlet.name, outlet.trouble.as_ref()?)));
        let wrong = wrong.collect::<Vec<_>>().join("; ");
        self.health.say(About::QueryLog, Some(&wrong[..]).filter(|wrong| !wrong.is_empty()));
        numbers
    }
}

/// Every path, behind a guard.
pub fn router(api: Arc<Api>, guard: Arc<Guard>) -> Router {
    let paths = routes::routes()
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handler));
    let no_path = || async {
        let hint = "/v1/openapi.json describes what there is";
        Fault::new(StatusCode::NOT_FOUND, "there is no such path", hint)
    };
    let no_method = || async {
        let hint = "/v1/openapi.json says which methods a path takes";
        Fault::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method", hint)
    };
    paths
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .with_state(api.clone())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(api.clone(), visits::let_in))
        .layer(axum::middleware::from_fn_with_state(guard, guard::guard))
        .layer(axum::middleware::from_fn_with_state(api, visits::refused))
}

#[cfg(test)]
mod tests;
