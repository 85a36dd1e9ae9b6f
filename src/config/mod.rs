//! What can be set, where, and what is in effect.
//!
//! Two types joined by one parse: [`spec::Spec`] is what a file may say, [`Config`] is what the program runs on. Values
//! come, in rising precedence, from built-in defaults and the system, a file, the environment (`SINKSCOPE_SECTION__KEY`)
//! and flags. All problems are found at once, each with its place.

mod clients;
mod dns64;
mod forward;
mod layer;
mod lists;
mod local;
mod origin;
mod own;
mod parse;
mod query_log;
mod show;
pub mod spec;
mod units;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use layer::{Flag, FlagValue};
pub use show::changed_keys;
pub use spec::{WhileLoading, schema};

use crate::access::AccessList;
use crate::cache::{self, Cut};
use crate::clients::{Clients, Group, Privacy};
use crate::control::address::Address;
use crate::dns::TtlLimits;
use crate::dns::chaos::Identity;
use crate::dns::dns64::Dns64;
use crate::ecs::Ecs;
use crate::local::{LocalNames, Special};
use crate::log::Log;
use crate::problem::{Problem, Severity};
use crate::rebinding::Rebinding;
use crate::resolver::fetch::Rules;
use crate::resolver::recent::Recent;
use crate::stated::gather::gather;
use crate::stated::row::Row;
use crate::{orders, querylog, resolver, server, upstream};

/// The configuration file that is read when no other is named, if it is there.
pub const DEFAULT_FILE: &str = "sinkscope.toml";
/// The port that unprivileged users may take and that is not mDNS's 5353.
pub const DEFAULT_PORT: u16 = 5300;

/// What the program runs on.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The configuration file that was read, if any.
    pub file: Option<PathBuf>,
    /// Where queries are taken.
    pub listen: Listen,
    /// Whom to ask.
    pub upstream: upstream::Settings,
    /// Where the prefix is set that upstreams are asked from: whether it is this machine's is found out later.
    pub source_place: (String, Option<u32>),
    /// What is enforced.
    pub orders: Orders,
    /// How much is remembered.
    pub cache: Cache,
    /// Whether another of several addresses comes first in each answer.
    pub rotate: bool,
    /// Whether it is remembered over restarts.
    pub persist: Persist,
    /// Where clients that have IPv6 alone reach IPv4, if they do.
    pub dns64: Option<Dns64>,
    /// Which networks of clients upstream is told of.
    pub ecs: Ecs,
    /// Whose answers may lead to addresses of this network.
    pub rebinding: Rebinding,
    /// Who may ask.
    pub access: AccessList,
    /// Answers to `version.bind` and `id.server`, if any; at most 255 octets each.
    pub identity: Identity,
    /// Special names that are treated otherwise.
    pub special: Special,
    /// Names of our own.
    pub local: Vec<Row>,
    /// As whom it goes on once it has its sockets, if root started it.
    pub user: Option<String>,
    /// Whether it gives up what no resolver needs.
    pub confine: bool,
    /// Where it may write as well if it does.
    pub writable: Vec<PathBuf>,
    /// Where commands and dashboards reach the server.
    pub control: Control,
    /// Groups of clients that not all zones are for.
    pub clients: Vec<Group>,
    /// The key that signs the journal, if one does.
    pub sign_with: Option<PathBuf>,
    /// How an order that does harm is noticed.
    pub guard: Guard,
    /// Who asked for what orders take, on the disk.
    pub evidence: Evidence,
    /// What is logged.
    pub log: Log,
    /// Which queries are logged, and where to.
    pub query_log: querylog::Settings,
    /// What somebody should look at: never errors.
    pub warnings: Vec<Problem>,
    /// The same as a configuration file, with the place each value comes from.
    pub effective: String,
}

/// Where queries are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// UDP addresses, each once.
    pub udp: Vec<SocketAddr>,
    /// TCP addresses, each once.
    pub tcp: Vec<SocketAddr>,
    /// Nobody chose the addresses: one that this machine lacks (IPv6) may be left out.
    pub by_default: bool,
    /// UDP worker threads, and sockets, for each address; 0 is one for each core.
    pub workers: usize,
    /// Octets of each UDP socket's buffers; the system may grant less.
    pub socket_buffer: usize,
    /// Bounds on what clients may use.
    pub limits: server::Settings,
}

/// What is enforced.
#[derive(Clone, Debug, PartialEq)]
pub struct Orders {
    /// Where orders and protected names are read from, as the working directory sees it.
    pub settings: orders::Settings,
    /// Nobody chose the paths: a missing one is a warning.
    pub by_default: bool,
    /// Whether changed files are loaded by themselves.
    pub watch: bool,
    /// Where the compiled orders are kept, if anywhere.
    pub state: Option<PathBuf>,
    /// What queries get until the orders are loaded.
    pub while_loading: WhileLoading,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Octets; 0 is no cache.
    pub size: u64,
    /// For how long.
    pub ttl: TtlLimits,
    /// How long after they have expired answers may be given when no upstream answers; zero is never.
    pub max_stale: Duration,
    /// Whether what is asked for often is asked for anew before it ends.
    pub prefetch: bool,
    /// Which denials deny what is below a name.
    pub cut: Cut,
    /// How long failures are remembered: the first time, and at most.
    pub failures: [Duration; 2],
}

impl Cache {
    /// Whether what is kept by the one is kept by the other, and for as long.
    pub fn keeps_like(&self, other: &Cache) -> bool {
        *self == Cache { prefetch: self.prefetch, ..*other }
    }
}

/// Whether what is cached outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persist {
    /// It does, where there is a folder for it.
    pub on: bool,
    /// How often it is written down.
    pub every: Duration,
}

/// Whether and how it is kept who asked for what orders take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// It is, in the state folder.
    pub on: bool,
    /// How much of a client is kept, unless its group says otherwise.
    pub privacy: Privacy,
    /// How often it is written.
    pub flush: Duration,
    /// For how many days it is kept.
    pub keep_days: u32,
    /// Octets of the file at most.
    pub max_size: u64,
    /// Octets of memory at most, until it is written.
    pub memory: u64,
    /// Files that tell reports where clients are.
    pub mmdb: Vec<PathBuf>,
}

/// Where commands and dashboards reach the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// Where; none means nowhere.
    pub listen: Option<Address>,
    /// Nobody chose it: where it cannot be had, the server does without.
    pub by_default: bool,
    /// The file of tokens, if requests must carry one.
    pub token_file: Option<PathBuf>,
}

/// How an order that does harm is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// How often each canary is asked; zero is never.
    pub canary_interval: Duration,
    /// Recent queries that are remembered; 0 is none.
    pub recent: usize,
    /// How much an order may newly take of them, in per cent; 100 is no limit.
    pub max_share: u32,
    /// How long an order is held back that would take more.
    pub hold: Duration,
}

/// Where values are read from; tests bring their own.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The file somebody named; else [`DEFAULT_FILE`] in `dir`, if it is there.
    pub file: Option<PathBuf>,
    /// The working directory: empty for the process's own.
    pub dir: PathBuf,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// Flags, in the order typed.
    pub flags: Vec<Flag>,
    /// The system's list of resolvers.
    pub resolv_conf: PathBuf,
    /// Where the sockets are that the service manager passed: listened on unless something else is said.
    pub passed: Passed,
}

/// Addresses of sockets that were passed to this process.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// Those that take datagrams.
    pub udp: Vec<SocketAddr>,
    /// Those that take connections.
    pub tcp: Vec<SocketAddr>,
}

impl Config {
    /// What the request path needs to know; so many threads answer queries, the slow path as one of them.
    pub fn resolver(&self, recorders: usize) -> resolver::Settings {
        resolver::Settings {
            access: self.access.clone(),
            clients: Arc::new(Clients::new(&self.clients)),
            recent: Recent::new(self.guard.recent, recorders),
            local: Arc::new(self.local_names()),
            identity: self.identity.clone(),
            rotate: self.rotate,
            dns64: self.dns64.clone(),
            ecs: self.ecs.clone(),
            rules: self.rules(&[]),
        }
    }

    /// Names answered here, as far as they stand in the configuration itself: those in files are of a time.
    pub fn local_names(&self) -> LocalNames {
        LocalNames::compile(&self.special, gather(&self.local, &|_| None, 0).stated)
    }

    /// An empty cache: one of several where some clients have upstreams of their own, which share its octets out.
    pub fn empty_cache(&self) -> cache::Cache {
        let caches = 1 + self.upstream.routes.len() as u64;
        let [first, most] = self.cache.failures;
        let routed = self.upstream.routes.iter().flat_map(|route| &route.forwards);
        let zones = self.upstream.forwards.iter().chain(routed).flat_map(|forward| &forward.zones);
        cache::Cache::new(self.cache.size / caches)
            .keep_stale(self.cache.max_stale)
            .failure_lifetimes(first, most)
            .cutting(self.cache.cut, zones.copied())
    }

    /// By what rules answers are asked for and taken, for everybody or for groups of clients with upstreams of their own.
    pub fn rules(&self, groups: &[String]) -> Rules {
        Rules {
            origin: self.origin(groups),
            ttl: self.cache.ttl,
            max_in_flight: self.upstream.max_in_flight,
            prefetch: self.cache.prefetch,
            rebinding: self.rebinding.clone(),
        }
    }
}

impl Sources {
    /// This process's directory, environment and system.
    pub fn system(file: Option<PathBuf>, flags: Vec<Flag>) -> Sources {
        Sources {
            file,
            dir: PathBuf::new(),
            env: std::env::vars_os().collect(),
            flags,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            passed: Passed::default(),
        }
    }

    /// The file to read: the one named, else the default one if it is there.
    fn file(&self) -> Option<PathBuf> {
        let default = self.dir.join(DEFAULT_FILE);
        self.file.clone().or_else(|| default.exists().then_some(default))
    }
}

/// Reads the configuration in effect.
///
/// # Errors
/// Every problem at once, warnings among them, when at least one refuses something.
pub fn load(sources: &Sources) -> Result<Config, Vec<Problem>> {
    let schema = schema();
    let mut layers = layer::Layers::default();
    let file = sources.file();
    if let Some(path) = &file {
        let name = path.to_string_lossy();
        match std::fs::read_to_string(path) {
            Ok(text) => layers.add_file(&name, &text, &schema),
            Err(error) => layers.problems.push(unreadable(path, &error)),
        }
    }
    layers.add_env(&sources.env, &schema);
    layers.add_flags(&sources.flags, &schema);
    let (config, problems) = parse::parse(layers, file, sources);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    Ok(Config { warnings: problems, ..config })
}

/// A configuration file that cannot be read.
fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    let problem = Problem::error(path.to_string_lossy(), None, format!("cannot be read: {error}"));
    match error.kind() {
        std::io::ErrorKind::NotFound => problem.hint(
            "check the path given with --config; without --config, ./sinkscope.toml is read if it is there",
        ),
        std::io::ErrorKind::InvalidData => problem.hint("save it as UTF-8 text"),
        _ => problem,
    }
}

#[cfg(test)]
pub(crate) mod tests;
