//! A trace replayed against a server over UDP: load, latency and what came back.
//!
//! A feeder thread reads; each load thread owns its sockets and waits for nobody: [`load`] is its loop. What they count
//! is put together in a [`Report`].

pub(super) mod cpu;
mod flow;
mod html;
mod load;
mod reply;
mod report;
mod tally;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::feed::{self, Fed, Pace, Plan, Source};
use cpu::Usage;
use load::{Load, Worker};
use tally::Tally;

pub use reply::Reply;
pub(super) use reply::question_len;
pub use report::{Report, ServerCpu};

/// Queries of a warm-up with queries that are made, and so have no end.
const MADE_WARM_UP: u64 = 1_000_000;

/// What to do to whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub server: SocketAddr,
    /// How fast.
    pub pace: Pace,
    /// Client sockets, over all threads.
    pub flows: usize,
    /// Threads that send and receive.
    pub threads: usize,
    /// Queries in flight at full pace, over all threads.
    pub in_flight: usize,
    /// After this a query is lost.
    pub timeout: Duration,
    /// Send no longer than this, beginning the trace anew as often as it takes.
    pub run_for: Option<Duration>,
    /// Send this many, beginning the trace anew as often as it takes.
    pub count: Option<u64>,
    /// Without the two above: one pass, but no longer than this.
    pub longest: Option<Duration>,
    /// Before it counts, send this many at full pace; none is no warm-up.
    pub warm_up: Option<u64>,
    /// The server's process, to read its CPU time.
    pub pid: Option<u32>,
    /// The server, as the report should call it.
    pub name: String,
    /// The trace, as the report should call it.
    pub trace: PathBuf,
}

/// Counts that others may read while a replay runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Queries sent.
    pub sent: AtomicU64,
    /// Replies received.
    pub received: AtomicU64,
    /// It is warming up.
    pub warming: AtomicBool,
    /// Set by others: end sending.
    pub stop: AtomicBool,
}

/// Replays `source`.
///
/// # Errors
/// When the trace or a socket cannot be opened.
pub fn run(source: &Source, settings: &Settings, progress: &Progress) -> io::Result<Report> {
    if let Some(count) = settings.warm_up {
        progress.warming.store(true, Ordering::Relaxed);
        // All of the trace once, or as many as said: unmeasured, at full pace.
        let count = match source {
            Source::File(..) => (count < u64::MAX).then_some(count),
            Source::Made(_) => Some(count.min(MADE_WARM_UP)),
        };
        let warm = Settings { pace: Pace::Full, count, run_for: None, pid: None, ..settings.clone() };
        pass(source, &warm, settings.longest, progress)?;
        progress.warming.store(false, Ordering::Relaxed);
        progress.sent.store(0, Ordering::Relaxed);
        progress.received.store(0, Ordering::Relaxed);
    }
    // Who asks for a number of queries gets them.
    let longest = settings.longest.filter(|_| settings.count.is_none());
    let limit = settings.run_for.or(longest);
    let Pass { tally, fed, elapsed, server, loads } = pass(source, settings, limit, progress)?;
    Ok(Report::new(settings, tally, fed, elapsed, server, &loads))
}

/// What one pass came to.
struct Pass {
    tally: Tally,
    fed: Fed,
    elapsed: Duration,
    server: Option<(Usage, Usage)>,
    loads: Vec<Load>,
}

/// Sends for no longer than `limit`, and receives.
fn pass(
    source: &Source,
    settings: &Settings,
    limit: Option<Duration>,
    progress: &Progress,
) -> io::Result<Pass> {
    let threads = settings.threads.clamp(1, settings.flows.max(1));
    let plan = Plan {
        count: settings.count,
        endless: settings.run_for.is_some() && settings.count.is_none(),
        pace: settings.pace,
    };
    let (sender, batches) = feed::queue(threads);
    let mut workers = Vec::with_capacity(threads);
    for index in 0..threads {
        // Shares that add up, whatever does not divide.
        let share = |all: usize| (all * (index + 1) / threads - all * index / threads).max(1);
        workers.push(Worker::new(settings, share(settings.flows), share(settings.in_flight))?);
    }
    let before = settings.pid.map(Usage::of);
    let start = Instant::now();
    let until = limit.map(|limit| start + limit);
    let (done, fed) = thread::scope(|scope| {
        let feeder = scope.spawn(move || feed::feed(source, plan, &sender));
        let batches = &batches;
        let running: Vec<_> = workers
            .into_iter()
            .map(|worker| scope.spawn(move || worker.run(batches, start, until, progress)))
            .collect();
        let done: Vec<_> = running.into_iter().filter_map(|worker| worker.join().ok()).collect();
        // Whoever still feeds finds nobody to take it.
        batches.close();
        (done, feeder.join())
    });
    let fed = fed.map_err(|_| io::Error::other("the feeder ended in a panic"))??;
    if done.len() < threads {
        return Err(io::Error::other("a load thread ended in a panic"));
    }
    let server = before.flatten().zip(settings.pid.and_then(Usage::of));
    let mut tally = Tally::default();
    let mut loads = Vec::with_capacity(threads);
    for (counted, load) in done {
        tally.add(&counted);
        loads.push(load);
    }
    Ok(Pass { tally, fed, elapsed: start.elapsed(), server, loads })
}
