//! Everything wired together; the only file that sees all modules.
//!
//! The order of things on start: take the addresses, so that what stands in the way is known at once and packets wait in
//! the sockets; load the orders; only then answer. So no listed name is ever answered truthfully while loading. Who would
//! rather have clients turn to another server meanwhile has them told so (`while_loading = "not-ready"`).

mod bind;
mod configuration;
#[cfg(target_os = "linux")]
mod confine;
mod control;
mod descriptors;
mod evidence;
mod keep;
mod lists;
mod manager;
#[cfg(target_os = "linux")]
mod network;
mod passed;
mod query_log;
mod report;
mod tasks;
mod user;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::{self, Handle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Orders, Sources, WhileLoading};
use crate::control::active_policy::ActivePolicy;
use crate::control::api::Api;
use crate::control::blast::BlastLimit;
use crate::control::calendar;
use crate::control::canary::{self, Canaries};
use crate::control::chronicle::Chronicle;
use crate::control::health::Health;
use crate::control::journal::Journal;
use crate::control::local_names::{self, LocalKeeper, LocalSources};
use crate::control::pauses::GroupPauses;
use crate::control::reload::{OnLoaded, Reloader};
use crate::control::reloading::{self, Running};
use crate::control::watch::{Watch, fails};
use crate::log;
use crate::orders::Loaded;
use crate::orders::snapshot::Unusable;
use crate::orders::writers::Writers;
use crate::policy::Policy;
use crate::problem::Problem;
use crate::resolver::sightings::Sightings;
use crate::resolver::{Current, Generation, Resolver, Routes};
use crate::server::Server;
use crate::spares;
use crate::system;
use crate::upstream::Forwarder;
use bind::Sockets;
use configuration::Configured;
use keep::Keeper;
use lists::Lists;
pub use passed::Passed;
use tasks::Tasks;

/// How long the end waits for what is cached to be on the disk: some seconds less than those who watch over a process wait for it.
const KEEPING: Duration = Duration::from_secs(5);
/// How long what still runs aside may hold up the end, such as a reload that nobody waits for.
const LAST_WAIT: Duration = Duration::from_millis(100);

/// Serves until SIGTERM or SIGINT ends it, by a configuration that is read from `sources` again when it changes; on sockets that were
/// passed, too.
///
/// # Errors
/// What kept it from starting; nothing has been said of it yet.
pub fn run(mut config: Config, sources: Sources, passed: Passed) -> Result<(), Vec<Problem>> {
    let read = config.clone();
    system::keep_little_memory();
    // Before the first thread, which the log's is.
    #[cfg(target_os = "linux")]
    let unconfined = confine::confine(&config);
    log::init(config.log);
    #[cfg(target_os = "linux")]
    unconfined.iter().for_each(|said| tracing::info!("{said}"));
    let workers = match config.listen.workers {
        0 => available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let system = |error: std::io::Error| vec![Problem::error("system", None, error.to_string())];
    // Before the first socket, of which there may be many.
    let limit = descriptors::raise();
    let runtime = runtime::Builder::new_multi_thread().enable_all().build().map_err(system)?;
    // Before anything by which somebody could find this process: a signal that comes meanwhile must not end it.
    let signals = runtime.block_on(async { Signals::new() }).map_err(system)?;
    let mut sockets = bind::bind(&config.listen, workers, passed)?;
    // What is made from here on is that user's.
    let as_whom = user::become_user(config.user.as_deref(), config.orders.state.as_deref())?;
    let lowered = limit.and_then(|limit| descriptors::fit(&mut config, limit, sockets.count()));
    sockets.warnings.extend(lowered);
    missing_paths(&config)?;
    source_is_ours(&config)?;
    control::state(config.orders.state.as_deref())?;
    let door = control::open(&config.control)?;
    let journal = control::journal(config.orders.state.as_deref(), config.sign_with.as_deref())?;
    spares::hold();
    as_whom.iter().for_each(|said| tracing::info!("{said}"));
    let configured = (read, sources, limit);
    let served = runtime.block_on(serve(config, configured, signals, sockets, door, journal)).map_err(system);
    runtime.shutdown_timeout(LAST_WAIT);
    log::flush();
    served
}

/// Loads, serves and ends.
async fn serve(
    mut config: Config,
    (read, sources, limit): (Config, Sources, Option<u64>),
    mut signals: Signals,
    sockets: Sockets,
    door: control::Door,
    (journal, journal_problems): (Journal, Vec<Problem>),
) -> std::io::Result<()> {
    log::problems(&config.warnings);
    log::problems(&sockets.warnings);
    log::problems(&door.warnings);
    log::problems(&journal_problems);

    // The chain, from the far end to the near one.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let started = clock.now();
    let health = Arc::new(Health::default());
    let current = Current::of(Policy::not_ready());
    let active = Arc::new(ActivePolicy::new(current.clone(), journal));
    let chronicle = Arc::new(Chronicle::new(active.clone(), clock.clone()));
    chronicle.configured(&read.effective, None);
    // One for each worker of each address, and one for the slow path.
    let recorders = sockets.udp.iter().map(|(_, taken)| taken.len()).sum::<usize>() + 1;
    let cache = Arc::new(config.empty_cache());
    let memory = usize::try_from(config.evidence.memory).unwrap_or(usize::MAX);
    let sightings = if config.evidence.on { Sightings::on(memory) } else { Sightings::off() };
    let query_log = query_log::open(&config.query_log, recorders, &clock, &current);
    let watch = query_log::watch(query_log.as_ref(), &config.query_log, &clock);
    let forwarder = Arc::new(Forwarder::watched(config.upstream.clone(), watch));
    forwarder.meet();
    let resolver =
        Resolver::new(current.clone(), cache, forwarder.clone(), clock.clone(), config.resolver(recorders));
    let taps = query_log.as_ref().map(|log| log.taps());
    let resolver = Arc::new(resolver.sighted(sightings.clone()).logging(taps));
    let evidence = evidence::keeper(&config, (sightings, current.clone()), clock.clone(), &health);
    let routes = configuration::routes(&resolver, &forwarder, &config, |_| Arc::new(config.empty_cache()));
    current.change(|serving| Generation {
        routes: Arc::new(Routes::new(routes, &serving.clients)),
        ..serving.clone()
    });
    // Before anybody is answered: who asks for a name of our own must not be told by others that there is none.
    let (local, pokes) = LocalSources::new(current.clone(), clock.clone());
    let prepared = local.prepare(configuration::named_here(&config));
    current.change(|serving| Generation { local: local.take(&prepared, &serving.local), ..serving.clone() });
    let (local_keeper, local_hints) = LocalKeeper::new(local.clone(), health.clone());
    // Before anybody is answered: a pause goes on as if there had been no restart.
    let state = config.orders.state.as_deref();
    let (pauses, pause_problems) = GroupPauses::open(current.clone(), state, started);
    let pauses = Arc::new(pauses);
    log::problems(&pause_problems);
    let lists = Arc::new(Lists::new(current.clone(), clock.clone()));
    lists.replace(lists.prepare(&mut config.orders)?);
    let keeper = Arc::new(Keeper::new(
        &resolver,
        clock.clone(),
        health.clone(),
        config.orders.state.clone(),
        config.persist,
    ));
    let mut server = Server::new(resolver.clone(), configuration::bounds(&config));
    let forwarder = Arc::new(ArcSwap::new(forwarder));
    let canary_interval = watch::Sender::new(config.guard.canary_interval);
    let configured = Configured {
        sources,
        begun: read.clone(),
        read,
        next: None,
        descriptors: (limit, sockets.count()),
        parts: configuration::Parts {
            resolver: resolver.clone(),
            forwarder: forwarder.clone(),
            lists: lists.clone(),
            keeper: keeper.clone(),
            evidence: evidence.clone(),
            local: local.clone(),
            bounds: Box::new(server.bounds()),
            canaries: canary_interval.clone(),
            tokens: door.tokens.clone(),
            chronicle: chronicle.clone(),
            runtime: Handle::current(),
        },
    };
    let addrs = sockets.udp.iter().map(|(addr, _)| ("udp", *addr));
    let addrs: Vec<(&str, SocketAddr)> =
        addrs.chain(sockets.tcp.iter().map(|(addr, _)| ("tcp", *addr))).collect();
    let mut sockets = Some(sockets);
    if config.orders.while_loading == WhileLoading::NotReady {
        serve_sockets(&mut server, sockets.take())?;
    }

    // Load aside, and listen for signals meanwhile.
    let mut loading = tokio::task::spawn_blocking({
        let (orders, active, clock) = (config.orders.clone(), active.clone(), clock.clone());
        let lists = lists.clone();
        let chronicle = chronicle.clone();
        let told: Option<Box<OnLoaded>> = Some(Box::new(move |loaded: &Loaded| {
            lists.loaded(loaded);
            chronicle.loaded(loaded);
        }));
        let blast = BlastLimit::new(resolver.recent(), config.guard.max_share, config.guard.hold);
        let (health, keeper) = (health.clone(), keeper.clone());
        move || {
            // Beside the orders, and before anybody is answered: what answers come to is for the orders to say.
            let restoring = thread::Builder::new().name("restore".into()).spawn(move || keeper.restore());
            let running = load(orders, active, told, blast, clock, health);
            if !restoring.is_ok_and(|restoring| restoring.join().is_ok()) {
                tracing::error!("what was cached is not used again: reading it broke off");
            }
            running
        }
    });
    let mut asked_again = false;
    let mut running = loop {
        tokio::select! {
            loaded = &mut loading => break loaded.map_err(std::io::Error::other)?,
            asked = signals.next() => match asked {
                Request::Stop => return Ok(()),
                Request::Reload => asked_again = true,
                Request::DumpCounters => {}
            },
        }
    };
    running.configuration = Some(Box::new(configured));
    serve_sockets(&mut server, sockets.take())?;
    say_started(&running.reloader, &current.policy(), &addrs, &config.upstream, clock.now().wall);
    let reloads = running.reloads.clone();
    manager::ready(&format!("{} orders are in force", running.reloader.loaded().orders));

    let (request, requests) = mpsc::channel(1);
    if asked_again {
        // It came while files were being read, perhaps after the one it is about.
        let _ = request.try_send(());
    }
    let canaries = Arc::new(Canaries::default());
    let api = Api {
        active: active.clone(),
        clock: clock.clone(),
        started,
        reload: request.clone(),
        numbers: control::numbers(
            resolver.clone(),
            server.counters(),
            forwarder.clone(),
            local,
            server.queues(),
            query_log.clone(),
        ),
        journal_problems: journal_problems.iter().map(ToString::to_string).collect(),
        refused: Arc::default(),
        chronicle: Some(chronicle.clone()),
        reloads: running.reloads.clone(),
        health: health.clone(),
        lists: Some(lists.clone()),
        canaries: canaries.clone(),
        recent: resolver.recent(),
        query_log: query_log.clone(),
        pauses: Some(pauses.clone()),
        kept: Some(keeper.clone()),
        flushed: Arc::default(),
        evidence: evidence.clone().map(|keeper| -> Box<dyn Fn() -> _ + Send + Sync> {
            Box::new(move || evidence::shown(keeper.fares()))
        }),
    };
    let mut tasks = Tasks::new(health.clone());
    tasks.vital("reload", reloading::run(running, requests));
    tasks.vital("control API", control::serve(door, api, health.clone()));
    tasks.vital("lists", lists.run(request.clone()));
    tasks.vital("keep", {
        let (keeper, health) = (keeper.clone(), health.clone());
        async move { tasks::on_a_thread(&health, "keep", move || keeper.run()).await }
    });
    if let Some(keeper) = &evidence {
        evidence::run(&mut tasks, keeper, &health);
    }
    if let Some(log) = &query_log {
        query_log::run(log, &mut tasks, &health);
    }
    tasks.vital("local names", local_names::run(local_keeper, local_hints, pokes));
    #[cfg(target_os = "linux")]
    tasks.kept("network", {
        let (forwarder, current) = (forwarder.clone(), current.clone());
        move || network::follow(forwarder.clone(), current.clone())
    });
    tasks.kept("canaries", {
        let (resolver, clock) = (resolver.clone(), clock.clone());
        move || {
            let every = canary_interval.subscribe();
            canary::run(resolver.clone(), current.clone(), clock.clone(), every, canaries.clone())
        }
    });
    tasks.kept("calendar", move || {
        calendar::run(active.clone(), pauses.clone(), clock.clone(), health.clone())
    });
    if let Some(limit) = manager::watchdog() {
        let (counters, addr) = (server.counters(), addrs.iter().find(|(transport, _)| *transport == "udp"));
        let (addr, received) =
            (addr.map(|(_, addr)| *addr), move || counters.udp_received.load(Ordering::Relaxed));
        tasks.vital("watchdog", manager::live(limit, addr, received));
    }
    let broken = loop {
        let asked = tokio::select! {
            asked = signals.next() => asked,
            name = tasks.broken() => break Some(name),
            () = server.broken() => break Some("listeners"),
        };
        match asked {
            Request::Stop => break None,
            Request::Reload => {
                manager::reloading(&reloads);
                if let Some(log) = &query_log {
                    log.reopen();
                }
                // A full channel holds a request that has not begun yet: it will see this change too.
                let _ = request.try_send(());
            }
            Request::DumpCounters => {
                tracing::info!("resolver: {}", resolver.counters());
                let counts = server.counters().read().named();
                let counts: Vec<String> =
                    counts.iter().map(|(name, _, value)| format!("{name}={value}")).collect();
                tracing::info!("listeners: {}", counts.join(" "));
                for tally in forwarder.load().tallies() {
                    tracing::info!(
                        "upstream {}: asked={} failed={}",
                        tally.server,
                        tally.asked,
                        tally.failed
                    );
                }
            }
        }
    };

    if let Some(name) = broken {
        tracing::error!(
            "the task \"{name}\" broke off by a fault of this program, and nothing can stand in for it"
        );
    }
    tracing::info!("ending: answering what is under way");
    manager::stopping();
    let kept = keeper.end();
    drop(request);
    if !server.stop().await {
        tracing::warn!("some queries were given up: they took too long");
    }
    if let Some(log) = query_log.clone() {
        // Behind the last answer. It has a bound of its own.
        let _ = tokio::task::spawn_blocking(move || log.end()).await;
    }
    if tokio::time::timeout(KEEPING, kept).await.is_err() {
        tracing::warn!("what was cached is not kept as it is now: the disk takes too long");
    }
    // Nobody answers any more: this is the last of it.
    if let Some(keeper) = &evidence
        && tokio::time::timeout(evidence::FLUSHING, evidence::end(keeper)).await.is_err()
    {
        tracing::warn!("the last of evidence is not written: the disk takes too long");
    }
    drop(tasks);
    tracing::info!("ended after {} queries", resolver.counters().queries.load(Ordering::Relaxed));
    // Whoever watches over this process starts it anew.
    let broke_off = |name| std::io::Error::other(format!("the task \"{name}\" broke off"));
    broken.map_or(Ok(()), |name| Err(broke_off(name)))
}

/// Answers on all sockets from now on, unless that was done before.
fn serve_sockets(server: &mut Server<Resolver>, sockets: Option<Sockets>) -> std::io::Result<()> {
    let Some(sockets) = sockets else { return Ok(()) };
    for (addr, taken) in sockets.udp {
        match sockets.held.contains(&addr) {
            true => server.serve_held_udp(taken)?,
            false => server.serve_udp(taken)?,
        }
    }
    for (_, listener) in sockets.tcp {
        server.serve_tcp(listener)?;
    }
    Ok(())
}

/// Loads orders for the first time, and watches them if that can be done.
fn load(
    orders: Orders,
    active: Arc<ActivePolicy>,
    told: Option<Box<OnLoaded>>,
    blast: BlastLimit,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
) -> Running {
    let writers = Arc::<Writers>::default();
    if orders.watch {
        // If not by a watcher, then by stamps.
        writers.begin();
    }
    let watching = orders.watch.then(|| Watch::new(health.clone(), writers.clone()));
    let mut watching = watching.and_then(|watching| {
        watching.inspect_err(|error| fails(&health, &format!("files cannot be watched ({error})"))).ok()
    });
    if let Some((watch, _)) = &mut watching {
        watch.lists(orders.settings.lists.iter().map(|list| list.path.clone()));
        // Before reading, so that a change while reading is seen.
        watch.cover(&orders.settings.paths);
    }
    let start = Instant::now();
    let mut reloader = Reloader::within(orders.settings, active)
        .state(orders.state)
        .on_loaded(told)
        .limited(blast)
        .heeding(writers.clone());
    match reloader.restore() {
        Ok(()) => {
            tracing::info!("the compiled orders that were kept are in force: nothing has changed since");
            log::problems(&reloader.loaded().problems);
        }
        Err(why) => {
            if let Some(why) = why.filter(|why| *why != Unusable::Missing) {
                let said = format!("the compiled orders that were kept are not used: {why}");
                if why.is_bad() {
                    tracing::warn!("{said}");
                } else {
                    tracing::info!("{said}");
                }
            }
            log::problems(&reloader.reload(clock.now().wall).problems);
        }
    }
    if let Some((watch, _)) = &mut watching
        && watch.cover(&reloader.loaded().files)
    {
        // Names files elsewhere: what changed in them since they were read was not seen. This is cheap if nothing did.
        log::problems(&reloader.reload(clock.now().wall).problems);
    }
    reloader.say_unknown();
    tracing::debug!("loading took {:?}", start.elapsed());
    let reloads = Arc::default();
    Running { reloader, watching, looks: orders.watch, clock, health, writers, configuration: None, reloads }
}

/// The start report.
fn say_started(
    reloader: &Reloader,
    policy: &Policy,
    addrs: &[(&str, SocketAddr)],
    upstreams: &crate::upstream::Settings,
    at: i64,
) {
    let loaded = reloader.loaded();
    for line in report::in_force(loaded, at) {
        tracing::info!("{line}");
    }
    if loaded.orders == 0 {
        tracing::warn!("NO ORDER IS IN FORCE: every name resolves. Set [orders] paths, or use --orders PATH");
    }
    for (transport, addr) in addrs {
        tracing::info!("listening on {transport} {addr}");
    }
    report::say_upstreams(upstreams);
    let listen = addrs.iter().find(|(transport, _)| *transport == "udp").or(addrs.first());
    if let Some((_, addr)) = listen {
        for line in report::to_paste(loaded, policy, *addr, at) {
            tracing::info!("{line}");
        }
    }
}

/// Refuses to start without orders that somebody named: to enforce nothing silently would be worse than not to start.
fn missing_paths(config: &Config) -> Result<(), Vec<Problem>> {
    if config.orders.by_default {
        return Ok(());
    }
    let missing = config.orders.settings.paths.iter().filter(|path| !path.exists());
    let problems: Vec<Problem> = missing
        .map(|path| {
            let problem = Problem::error(
                path.display().to_string(),
                None,
                "there are no orders: no such file or folder",
            );
            problem.hint("check [orders] paths; they are relative to the configuration file")
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// How many descriptors may be open, where that will do for a configuration.
///
/// # Errors
/// What would be lowered, and what to do.
pub(crate) fn descriptors_short(config: &Config) -> Result<u64, Problem> {
    let (_, limit) = system::raise_descriptor_limit().unwrap_or_default();
    // As many sockets as it would listen on.
    let workers = match config.listen.workers {
        0 => available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let sockets = config.listen.udp.len() * workers + config.listen.tcp.len();
    descriptors::fit(&mut config.clone(), limit, sockets).map_or(Ok(limit), Err)
}

/// Refuses to ask upstreams from addresses to which nothing would come back.
///
/// # Errors
/// When that is so.
pub(crate) fn source_is_ours(config: &Config) -> Result<(), Vec<Problem>> {
    let Some(source) = config.upstream.source else { return Ok(()) };
    source.check().map_err(|error| {
        let message = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                "nothing that is sent to it arrives here".to_owned()
            }
            _ => format!("it cannot be used ({error})"),
        };
        let (file, line) = config.source_place.clone();
        let message = format!("`upstream.source_prefix` is {source}: {message}");
        vec![Problem::error(file, line, message).hint(source.remedy())]
    })
}

/// What a signal asks for.
enum Request {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    DumpCounters,
}

/// The signals that are listened to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    /// Never looked at: with somebody to take it, a log that reaches `ulimit -f` is one that cannot be written, not the end.
    _file_size: Signal,
}

impl Signals {
    /// From now on they no longer kill.
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            _file_size: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }

    /// The next request.
    async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
            _ = self.hangup.recv() => Request::Reload,
            _ = self.user1.recv() => Request::DumpCounters,
        }
    }
}
