//! A trace through the whole request path without sockets: octets in, octets out, and every verdict checked if wished.
//!
//! Each thread does what a UDP worker does with a batch, less the system calls. What makes queries and what checks
//! replies is not in the times told.

pub mod naive;
mod report;
pub mod script;
mod truths;
pub mod verify;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::runtime;

use super::feed::{self, Batch, Batches, Fed, Plan, Source};
use super::make::Maker;
use super::replay::cpu::Usage;
use crate::access::AccessList;
use crate::cache::Cache;
use crate::clock::{Clock, Now};
use crate::dns::finish::MAX_UDP_LEN;
use crate::dns::wire::Header;
use crate::orders::{self, Filled};
use crate::resolver::{self, Current, Resolver};
use crate::serve::{Client, Hot, Respond, Step};
use crate::time::UnixSeconds;
use crate::transport::Transport;
use naive::Naive;
pub use report::{Report, Verified};
use script::Script;
use verify::{Checker, Found, Hashes};

/// Wrong verdicts that are kept with their words.
const MAX_TOLD: usize = 20;
/// Queries that a worker takes from the system at once.
const BURST: usize = crate::batch::SLOTS;

/// What to run, and on what.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the resolver is told; the access list is replaced by one that lets the replay in.
    pub resolver: resolver::Settings,
    /// Octets of the shared cache.
    pub cache: u64,
    /// Threads, each with a path of its own as UDP workers have.
    pub threads: usize,
    /// Queries; none is one pass of the trace.
    pub count: Option<u64>,
    /// End after this time.
    pub run_for: Option<Duration>,
    /// Check every reply against [`naive`].
    pub verify: bool,
    /// The wall time that queries are asked at: windows do not open or close meanwhile.
    pub at: UnixSeconds,
}

/// Counts that others may read while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Queries done.
    pub done: AtomicU64,
    /// Wrong verdicts.
    pub wrong: AtomicU64,
    /// Set by others: end.
    pub stop: AtomicBool,
}

/// Runs `source` through a resolver over `loaded`.
///
/// # Errors
/// When the trace cannot be opened.
pub fn run(source: &Source, loaded: &Filled, settings: &Settings, progress: &Progress) -> io::Result<Report> {
    let policy = orders::compile(&loaded.zones, &loaded.protected, 1);
    let (policy_octets, names) = (policy.heap_octets(), policy.name_count());
    let naive = settings.verify.then(|| Arc::new(Naive::new(loaded, settings.at)));
    let resolver = Arc::new(Resolver::new(
        Current::of(policy),
        Arc::new(Cache::new(settings.cache)),
        Arc::new(Script),
        Arc::new(StandingClock { start: Instant::now(), wall: settings.at }),
        resolver::Settings {
            access: AccessList::parse(&["loopback"]).unwrap_or_default(),
            ..settings.resolver.clone()
        },
    ));
    let threads = settings.threads.max(1);
    let used = Usage::of(std::process::id());
    let start = Instant::now();
    let until = settings.run_for.map(|limit| start + limit);
    let (sender, batches) = feed::queue(threads);
    let plan = Plan {
        count: settings.count,
        endless: until.is_some() && settings.count.is_none(),
        ..Plan::default()
    };
    let results = Mutex::new(Vec::new());
    let fed = thread::scope(|scope| {
        let feeder = match source {
            Source::File(..) => Some(scope.spawn(move || feed::feed(source, plan, &sender))),
            // Every thread makes its own: one could not make enough for all.
            Source::Made(_) => None,
        };
        let running: Vec<_> = (0..threads)
            .map(|index| {
                let supply = match source {
                    Source::File(..) => Supply::Queue(&batches),
                    Source::Made(maker) => {
                        let share = |all: u64, part: u64| {
                            (u128::from(all) * u128::from(part) / threads as u128) as u64
                        };
                        let left = settings
                            .count
                            .map_or(u64::MAX, |all| share(all, index as u64 + 1) - share(all, index as u64));
                        Supply::Make(Box::new(maker.stream(index as u64)), left)
                    }
                };
                let checker = naive.clone().map(|naive| Checker::new(naive, settings.resolver.local.clone()));
                let (resolver, results) = (&resolver, &results);
                scope.spawn(move || {
                    let done = Runner::new(resolver, checker).run(supply, until, progress);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push(done);
                })
            })
            .collect();
        for thread in running {
            thread.join().map_err(|_| io::Error::other("a thread ended in a panic"))?;
        }
        batches.close();
        match feeder {
            Some(feeder) => feeder.join().map_err(|_| io::Error::other("the feeder ended in a panic"))?,
            None => Ok(Fed::default()),
        }
    })?;
    let mut report = Report {
        threads,
        elapsed_s: start.elapsed().as_secs_f64(),
        policy_octets,
        names,
        ..Report::default()
    };
    report.counters = resolver.counters().to_string();
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.add(results, &fed, settings.verify);
    let spent =
        used.zip(Usage::of(std::process::id())).map_or(0, |(before, after)| before.until(&after).total_ns);
    report.cpu_ns_per_query = spent as f64 / report.queries.max(1) as f64;
    Ok(report)
}

/// A clock whose wall time stands still.
struct StandingClock {
    start: Instant,
    wall: UnixSeconds,
}

impl Clock for StandingClock {
    fn now(&self) -> Now {
        Now { mono: self.start.elapsed(), wall: self.wall }
    }
}

/// Where a thread's queries come from.
enum Supply<'s> {
    /// The feeder's queue.
    Queue(&'s Batches),
    /// A maker of its own, and how many are left.
    Make(Box<Maker>, u64),
}

impl Supply<'_> {
    /// Fills the batch; false at the end.
    fn fill(&mut self, batch: &mut Batch) -> bool {
        match self {
            Supply::Queue(batches) => match batches.wait() {
                Some(next) => *batch = next,
                None => batch.clear(),
            },
            Supply::Make(maker, left) => {
                batch.clear();
                let count = (feed::BATCH_LEN as u64).min(*left);
                (0..count).for_each(|_| batch.push_made(|octets| maker.append(octets)));
                *left -= count;
            }
        }
        !batch.is_empty()
    }
}

/// One thread's work.
struct Runner<'r> {
    resolver: &'r Resolver,
    hot: <Resolver as Respond>::Hot,
    checker: Option<Checker>,
    /// A reply for each query of a burst, and its length: 0 is silence.
    replies: Vec<(Box<[u8]>, usize)>,
    slow: Vec<u8>,
    done: Done,
}

/// What one thread did.
struct Done {
    queries: u64,
    hot: u64,
    asked: u64,
    silent: u64,
    /// Time within the request path.
    busy: Duration,
    /// Of that, for queries that waited for the upstream.
    waited: Duration,
    /// Time of each whole burst in the path, in nanoseconds.
    bursts: Histogram<u64>,
    /// Time to make each whole batch, in nanoseconds.
    making: Histogram<u64>,
    /// Time to check each whole burst, in nanoseconds.
    checking: Histogram<u64>,
    /// Hashes of the names looked up.
    names: Hashes,
    rcodes: [u64; 16],
    verified: Verified,
}

impl Done {
    /// Nothing.
    fn new() -> Done {
        Done {
            queries: 0,
            hot: 0,
            asked: 0,
            silent: 0,
            busy: Duration::ZERO,
            waited: Duration::ZERO,
            bursts: bursts(),
            making: bursts(),
            checking: bursts(),
            names: Hashes::default(),
            rcodes: [0; 16],
            verified: Verified::default(),
        }
    }
}

/// Times of bursts: to ten seconds, three digits.
fn bursts() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 10_000_000_000, 3).expect("bounds and digits are constants in range")
}

/// Who asks.
const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4053);

impl<'r> Runner<'r> {
    /// Nothing done yet.
    fn new(resolver: &'r Resolver, checker: Option<Checker>) -> Runner<'r> {
        let replies = (0..BURST).map(|_| (vec![0; MAX_UDP_LEN].into(), 0)).collect();
        Runner { resolver, hot: resolver.hot(), checker, replies, slow: Vec::new(), done: Done::new() }
    }

    /// Takes all that comes.
    fn run(
        mut self,
        mut supply: Supply<'_>,
        until: Option<Instant>,
        progress: &Progress,
    ) -> io::Result<Done> {
        // Whoever can be told an expired answer waits no longer than for a time.
        let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
        let mut batch = Batch::default();
        loop {
            let begun = Instant::now();
            if !supply.fill(&mut batch) {
                break;
            }
            if batch.len() == feed::BATCH_LEN {
                self.done.making.saturating_record(begun.elapsed().as_nanos() as u64);
            }
            for first in (0..batch.len()).step_by(BURST) {
                let queries = first..batch.len().min(first + BURST);
                let begun = Instant::now();
                let packets =
                    queries.clone().map(|index| batch.item(index).map_or(&[][..], |(packet, _)| packet));
                self.hot.begin(packets);
                for (index, slot) in queries.clone().zip(0..) {
                    if let Some((packet, _)) = batch.item(index) {
                        self.ask(packet, slot, &runtime);
                    }
                }
                let took = begun.elapsed();
                self.done.busy += took;
                if queries.len() == BURST {
                    self.done.bursts.saturating_record(took.as_nanos() as u64);
                }
                let whole = queries.len() == BURST;
                let (wrong, begun) = (self.done.verified.wrong, Instant::now());
                if let Some(checker) = &self.checker {
                    checker.begin(
                        queries.clone().map(|index| batch.item(index).map_or(&[][..], |(packet, _)| packet)),
                    );
                }
                for (index, slot) in queries.zip(0..) {
                    if let Some((packet, _)) = batch.item(index) {
                        self.look(packet, slot);
                    }
                }
                if whole {
                    self.done.checking.saturating_record(begun.elapsed().as_nanos() as u64);
                }
                // What threads share is touched when there is something to say.
                if self.done.verified.wrong > wrong {
                    progress.wrong.fetch_add(self.done.verified.wrong - wrong, Ordering::Relaxed);
                }
            }
            progress.done.fetch_add(batch.len() as u64, Ordering::Relaxed);
            if progress.stop.load(Ordering::Relaxed) || until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
        }
        if let Some(checker) = self.checker {
            (self.done.names, self.done.verified.again) = checker.into_counts();
        }
        Ok(self.done)
    }

    /// Puts one query through the path, as a worker does.
    fn ask(&mut self, packet: &[u8], slot: usize, runtime: &runtime::Runtime) {
        let Some((reply, length)) = self.replies.get_mut(slot) else { return };
        *length = 0;
        if let Some(written) = self.hot.answer(slot, packet, CLIENT, reply) {
            *length = written;
            self.done.hot += 1;
            return;
        }
        let client = Client { addr: CLIENT, transport: Transport::Udp };
        let replied = match self.resolver.now(packet, client, &mut self.slow) {
            Step::Reply => true,
            Step::Drop => false,
            Step::Later(pending) => {
                let begun = Instant::now();
                let replied = runtime.block_on(self.resolver.later(&pending, &mut self.slow));
                self.done.waited += begun.elapsed();
                self.done.asked += 1;
                replied
            }
        };
        if replied && let Some(place) = reply.get_mut(..self.slow.len()) {
            place.copy_from_slice(&self.slow);
            *length = self.slow.len();
        }
    }

    /// Counts and checks one reply.
    fn look(&mut self, packet: &[u8], slot: usize) {
        self.done.queries += 1;
        let reply = self
            .replies
            .get(slot)
            .and_then(|(reply, length)| reply.get(..*length))
            .filter(|reply| !reply.is_empty());
        match reply.and_then(Header::read) {
            Some(header) => self.done.rcodes[usize::from(header.flags & 0xf)] += 1,
            None => self.done.silent += 1,
        }
        let Some(checker) = &mut self.checker else { return };
        let verified = &mut self.done.verified;
        match checker.check(packet, reply) {
            Found::Truth => verified.truth += 1,
            Found::Acted(act) => *verified.acted.entry(act.as_str()).or_default() += 1,
            Found::Local => verified.local += 1,
            Found::Wrong(how) => {
                verified.wrong += 1;
                if verified.examples.len() < MAX_TOLD {
                    verified.examples.push(how);
                }
            }
        }
    }
}
