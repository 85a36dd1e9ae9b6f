//! The query log: who asked what, what was replied, and which order decided, for whoever is to know it.
//!
//! **It never hurts an answer.** Who answers copies a [`Record`] into a ring of its own ([`tap`]) and goes on; what finds no room is
//! dropped and counted. One thread takes records out and hands them to outlets, each with a thread and a short queue of its own
//! ([`outlet`]): a disk or a peer that stalls holds up neither the others nor anybody who asks, and what it misses is counted.
//!
//! What stands in it: [docs/query-log.md](../../../docs/query-log.md).

mod dnstap;
mod file;
mod forwarded;
mod frames;
mod journald;
mod line;
mod live;
mod octets;
mod outlet;
mod record;
mod shown;
mod syslog;
mod tap;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use dnstap::Dnstap;
use file::LogFile;
pub use forwarded::{Carrier, Forwarded};
use journald::Journal;
pub use live::{Heard, Listener, MAX_LISTENERS};
use live::{Live, Told};
use outlet::{Batch, Outlet, Sink};
pub use record::{Cause, Decided, Record};
use shown::Show;
use syslog::Syslog;
pub use tap::{Tap, Taps};

/// Between two looks at the rings: what one thread answers meanwhile at its fastest fits in a ring.
const LOOK: Duration = Duration::from_millis(5);
/// The same while nobody asks.
const IDLE_LOOK: Duration = Duration::from_millis(20);
/// Looks in vain after which nobody seems to ask.
const QUIET: u32 = 20;
/// Octets of records that go to outlets together, from which on no more is taken.
const BATCH: usize = 256 << 10;
/// What the outlet is called that leads to who listens.
const LIVE: &str = "live";
/// How long the end waits for outlets to have written what they hold.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What is logged, and where to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// A file.
    pub file: Option<FileSettings>,
    /// A syslog server.
    pub syslog: Option<Target>,
    /// The system's journal.
    pub journald: bool,
    /// A dnstap receiver.
    pub dnstap: Option<Target>,
    /// Whether it is told what upstreams are asked and what they reply, too.
    pub dnstap_forwarder: bool,
    /// Whether there is a log for who listens over the control API, though there may be no other.
    pub live: bool,
    /// How lines look.
    pub format: Format,
    /// Which queries, and how much of their clients.
    pub choice: Choice,
    /// Groups of clients whose queries they are; none for everybody.
    pub groups: Vec<String>,
    /// How much is told of a client's address.
    pub addresses: Addresses,
    /// Octets of all rings together.
    pub buffer: usize,
    /// What this server calls itself, for a dnstap receiver.
    pub identity: Option<String>,
}

/// A file, and how it is kept from growing without end.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSettings {
    /// Where it is; earlier ones are beside it, with a number behind: `.1` is the last one.
    pub path: PathBuf,
    /// Octets after which another is begun; 0 is never.
    pub max_size: u64,
    /// Seconds after which another is begun; 0 is never.
    pub max_age_s: i64,
    /// Earlier ones that are kept.
    pub keep: u32,
}

/// Where something is sent to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A Unix socket.
    Unix(PathBuf),
    /// An address, by UDP or TCP as is usual there.
    Inet(SocketAddr),
}

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object a line.
    #[default]
    Json,
    /// A line of text.
    Text,
}

/// Which queries are logged, as far as whoever answers knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Only those that an order acted on.
    pub captured_only: bool,
    /// Of so many one, chosen at random; 1 is each.
    pub one_in: u32,
}

impl Default for Choice {
    fn default() -> Choice {
        Choice { captured_only: false, one_in: 1 }
    }
}

/// How much is told of a client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Addresses {
    /// All of it, and the port.
    #[default]
    Full,
    /// The network: /24 of IPv4, /56 of IPv6.
    Prefix,
    /// Nothing.
    None,
}

/// The name of a client's group, if there are groups.
pub type GroupOf = Box<dyn Fn(IpAddr) -> Option<String> + Send + Sync>;

/// The log of a server.
pub struct QueryLog {
    taps: Arc<Taps>,
    /// The last of them leads to who listens.
    outlets: Vec<Outlet>,
    live: Arc<Live>,
    clock: Arc<dyn Clock>,
    /// Whether it goes anywhere but to who listens.
    is_kept: bool,
    ending: AtomicBool,
}

/// How a log fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that went into rings.
    pub written: u64,
    /// Records that found no room there.
    pub dropped: u64,
    /// Outlets, each with its counts.
    pub outlets: Vec<OutletCounts>,
}

/// How an outlet fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutletCounts {
    /// Which one: `file`, `syslog`, `journald`, `dnstap`, `live`.
    pub name: &'static str,
    /// Records it took and handed on.
    pub written: u64,
    /// Records it lost.
    pub lost: u64,
    /// What is wrong with it now, if anything is.
    pub trouble: Option<String>,
}

impl Settings {
    /// Whether it goes anywhere but to who listens.
    fn is_kept(&self) -> bool {
        self.file.is_some() || self.syslog.is_some() || self.journald || self.dnstap.is_some()
    }

    /// Whether nothing is logged.
    pub fn is_off(&self) -> bool {
        !self.live && !self.is_kept()
    }
}

/// All outlets that are asked for, and one for who listens.
fn outlets(
    settings: &Settings,
    live: &Arc<Live>,
    clock: &Arc<dyn Clock>,
    group_of: &Arc<GroupOf>,
) -> Vec<Outlet> {
    let mut sinks: Vec<(&'static str, Box<dyn Sink>)> = Vec::new();
    if let Some(file) = &settings.file {
        sinks.push(("file", Box::new(LogFile::new(file.clone(), settings.format))));
    }
    if let Some(target) = &settings.syslog {
        sinks.push(("syslog", Box::new(Syslog::new(target.clone(), settings.format))));
    }
    if settings.journald {
        sinks.push(("journald", Box::new(Journal::new(settings.format))));
    }
    if let Some(target) = &settings.dnstap {
        sinks.push((
            "dnstap",
            Box::new(Dnstap::new(target.clone(), settings.identity.clone(), settings.dnstap_forwarder)),
        ));
    }
    sinks.push((LIVE, Box::new(Told(Arc::clone(live)))));
    let show = Show::new(settings, group_of);
    let outlet = |(name, sink)| Outlet::new(name, sink, show.clone(), Arc::clone(clock));
    sinks.into_iter().map(outlet).collect()
}

/// What this machine calls itself, if that is known.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

impl QueryLog {
    /// A log as it was asked for, of so many threads that answer; none if it is off.
    pub fn new(
        settings: &Settings,
        answering: usize,
        clock: Arc<dyn Clock>,
        group_of: GroupOf,
    ) -> Option<QueryLog> {
        if settings.is_off() {
            return None;
        }
        let (taps, live) =
            (Arc::new(Taps::new(settings.choice, settings.buffer, answering)), Arc::<Live>::default());
        let outlets = outlets(settings, &live, &clock, &Arc::new(group_of));
        let log = QueryLog {
            taps,
            outlets,
            live,
            is_kept: settings.is_kept(),
            clock,
            ending: AtomicBool::new(false),
        };
        log.note_listeners();
        Some(log)
    }

    /// Somebody hears lines from now on; none if as many do as may.
    pub fn listen(&self) -> Option<Listener> {
        let listener = self.live.listen();
        self.note_listeners();
        listener
    }

    /// Has those who answer write records down, if they go anywhere.
    fn note_listeners(&self) {
        self.taps.want(self.is_kept || self.live.is_heard());
    }

    /// The outlets that somebody is at the end of.
    fn wanted(&self) -> impl Iterator<Item = &Outlet> {
        self.outlets.iter().filter(|outlet| outlet.name != LIVE || self.live.is_heard())
    }

    /// Where those who answer write to.
    pub fn taps(&self) -> Arc<Taps> {
        Arc::clone(&self.taps)
    }

    /// Its outlets by number, each of which wants a thread that runs [`QueryLog::let_out`].
    pub fn outlets(&self) -> impl Iterator<Item = (usize, &'static str)> {
        self.outlets.iter().enumerate().map(|(index, outlet)| (index, outlet.name))
    }

    /// Takes records out of the rings, for ever.
    ///
    /// # Errors
    /// None.
    pub fn collect(&self) -> io::Result<()> {
        let mut in_vain: u32 = 0;
        loop {
            let ending = self.ending.load(Ordering::Acquire);
            let count = self.collect_once();
            if ending && count == 0 {
                self.outlets.iter().for_each(Outlet::end);
                // Nobody asks any more.
                loop {
                    thread::park();
                }
            }
            in_vain = if count == 0 { in_vain.saturating_add(1) } else { 0 };
            if in_vain > 0 {
                thread::sleep(if in_vain > QUIET { IDLE_LOOK } else { LOOK });
            }
        }
    }

    /// Takes a batch out of the rings and hands it on; how many records that were. While no outlet has room they stay in the rings.
    fn collect_once(&self) -> u64 {
        self.note_listeners();
        let mut wanted = self.wanted().peekable();
        let is_wanted = wanted.peek().is_some();
        if is_wanted && wanted.all(Outlet::is_full) && !self.ending.load(Ordering::Acquire) {
            return 0;
        }
        let mut octets = Vec::new();
        let count = self.taps.take(&mut octets, BATCH);
        if count > 0 {
            let batch = Arc::new(Batch { octets, count, began: self.began() });
            self.wanted().for_each(|outlet| outlet.hand(&batch));
        }
        count
    }

    /// When the clock that only goes forward stood at zero, by the time of day now.
    fn began(&self) -> Duration {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        wall.saturating_sub(self.clock.mono())
    }

    /// Writes what an outlet is handed, for ever.
    ///
    /// # Errors
    /// None.
    pub fn let_out(&self, index: usize) -> io::Result<()> {
        if let Some(outlet) = self.outlets.get(index) {
            outlet.run();
        }
        // It has come to its end.
        loop {
            thread::park();
        }
    }

    /// Has outlets open their files anew, for somebody may have moved them.
    pub fn reopen(&self) {
        self.outlets.iter().for_each(Outlet::reopen);
    }

    /// Has everything written that was answered, and waits for that, but not for long. May be called where others wait.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
        let until = Instant::now() + LAST_WAIT;
        self.outlets.iter().for_each(|outlet| outlet.wait_end(until));
    }

    /// What became of records so far.
    pub fn counts(&self) -> Counts {
        let (written, dropped) = self.taps.counts();
        Counts { written, dropped, outlets: self.outlets.iter().map(Outlet::counts).collect() }
    }
}
