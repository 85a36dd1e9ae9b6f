//! What a replay found, for people and machines.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use super::Settings;
use super::cpu::Usage;
use super::load::Load;
use super::tally::Tally;
use crate::iana::{EdeCode, Rcode};
use crate::trace::feed::{Fed, Pace};

/// The quantiles told, with their names.
const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];
/// Above this share of its time at work, a thread is a bottleneck.
const BUSY: f64 = 0.9;
/// Above this share of queries sent late, the schedule was not kept.
const LATE: f64 = 0.01;

/// What a replay found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The trace.
    pub trace: String,
    /// The server.
    pub server: String,
    /// Its address.
    pub address: String,
    /// How fast queries were sent, in words.
    pub pace: String,
    /// Client sockets.
    pub flows: usize,
    /// Load threads.
    pub threads: usize,
    /// Seconds from the start to the last reply or its time limit.
    pub elapsed_s: f64,
    /// Queries sent.
    pub sent: u64,
    /// Replies that answer one.
    pub received: u64,
    /// Queries without a reply in time.
    pub lost: u64,
    /// Replies a second, from the start to the last query or reply.
    pub qps: f64,
    /// Replies that came too late or twice.
    pub unexpected: u64,
    /// Replies that echo no question asked, or cannot be read.
    pub mismatched: u64,
    /// Replies with TC.
    pub truncated: u64,
    /// Queries that could not be sent.
    pub unsent: u64,
    /// Errors of the sockets, such as that no one listens.
    pub errors: u64,
    /// Queries sent more than a millisecond after they were due.
    pub behind: u64,
    /// Replies by response code.
    pub rcodes: BTreeMap<String, u64>,
    /// Replies by EDE code.
    pub edes: BTreeMap<String, u64>,
    /// Latency in microseconds: p50 to p99.99, max, mean; from when a query was due.
    pub latency_us: BTreeMap<&'static str, f64>,
    /// Latency in microseconds at 1 - 1/2^n of the replies, for the plot.
    pub percentiles: Vec<(f64, f64)>,
    /// Over time.
    pub series: Vec<Interval>,
    /// The server's CPU, if its process was told.
    pub server_cpu: Option<ServerCpu>,
    /// Share of their time the load threads were at work, 0 to 1.
    pub load_busy: f64,
    /// What the figures do not show, or show wrongly; empty is good.
    pub notes: Vec<String>,
}

/// What happened in an interval.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Interval {
    /// Seconds after the start.
    pub at_s: u64,
    /// How long it is, in seconds.
    pub seconds: u64,
    /// Queries sent.
    pub sent: u64,
    /// Replies.
    pub received: u64,
    /// Queries given up.
    pub lost: u64,
    /// Median latency of its replies, in microseconds.
    pub p50_us: f64,
    /// 99th percentile, in microseconds.
    pub p99_us: f64,
}

/// The server's CPU time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ServerCpu {
    /// Microseconds for each reply.
    pub us_per_query: f64,
    /// Of those, in user space (by clock ticks: rough in short runs).
    pub user_us_per_query: f64,
    /// Processors kept busy on average.
    pub cores: f64,
    /// Processors it may run on; 0 where that is not told.
    pub cpus: usize,
    /// Share of the time the busiest thread ran, 0 to 1.
    pub busiest_thread: f64,
}

impl Report {
    /// Puts everything together.
    pub(super) fn new(
        settings: &Settings,
        tally: Tally,
        fed: Fed,
        elapsed: Duration,
        server: Option<(Usage, Usage)>,
        loads: &[Load],
    ) -> Report {
        let us = |ns: u64| ns as f64 / 1000.0;
        let elapsed_s = elapsed.as_secs_f64();
        // Waiting for lost replies keeps nobody busy.
        let active_s = (tally.last_ns as f64 / 1e9).max(1e-9);
        let server_cpu = server.map(|(before, after)| {
            let spent = before.until(&after);
            let us_per_query = us(spent.total_ns) / tally.received.max(1) as f64;
            ServerCpu {
                us_per_query,
                user_us_per_query: us_per_query * spent.user,
                cores: spent.total_ns as f64 / 1e9 / active_s,
                cpus: after.cpus,
                busiest_thread: spent.busiest_ns as f64 / 1e9 / active_s,
            }
        });
        let mut latency_us: BTreeMap<&'static str, f64> = QUANTILES
            .iter()
            .map(|&(name, quantile)| (name, us(tally.latency.value_at_quantile(quantile))))
            .collect();
        latency_us.insert("max", us(tally.latency.max()));
        latency_us.insert("mean", tally.latency.mean() / 1000.0);
        // As far as there is at least one reply beyond.
        let halvings = (1..=30).take_while(|&n| n == 1 || tally.received >> n > 0);
        let percentiles = halvings
            .map(|n| 1.0 - 0.5f64.powi(n))
            .map(|share| (share, us(tally.latency.value_at_quantile(share))))
            .collect();
        let interval = tally.series.interval_s;
        let series: Vec<Interval> = tally
            .series
            .points
            .iter()
            .zip(0..)
            .map(|(point, index)| Interval {
                at_s: index * interval,
                seconds: interval,
                sent: point.sent,
                received: point.received,
                lost: point.lost,
                p50_us: us(point.latency.value_at_quantile(0.5)),
                p99_us: us(point.latency.value_at_quantile(0.99)),
            })
            .collect();
        let share = |part: fn(&Load) -> u64| {
            let all: u64 = loads.iter().map(|load| load.elapsed_ns).sum();
            loads.iter().map(part).sum::<u64>() as f64 / all.max(1) as f64
        };
        let (idle, starved) = (share(|load| load.idle_ns), share(|load| load.starved_ns));
        let last_ns = tally.last_ns;
        let mut report = Report {
            trace: settings.trace.display().to_string(),
            server: settings.name.clone(),
            address: settings.server.to_string(),
            pace: pace(settings),
            flows: settings.flows,
            threads: loads.len(),
            elapsed_s,
            sent: tally.sent,
            received: tally.received,
            lost: tally.lost,
            qps: if last_ns == 0 { 0.0 } else { tally.received as f64 * 1e9 / last_ns as f64 },
            unexpected: tally.unexpected,
            mismatched: tally.mismatched,
            truncated: tally.truncated,
            unsent: tally.unsent,
            errors: tally.errors,
            behind: tally.behind,
            rcodes: tally.rcodes.iter().map(|(code, count)| (Rcode(*code).to_string(), *count)).collect(),
            edes: tally.edes.iter().map(|(code, count)| (ede_name(*code), *count)).collect(),
            latency_us,
            percentiles,
            series,
            server_cpu,
            load_busy: 1.0 - idle,
            notes: Vec::new(),
        };
        report.notes = report.notes(settings, &fed, starved);
        report
    }

    /// What the figures do not show.
    fn notes(&self, settings: &Settings, fed: &Fed, starved: f64) -> Vec<String> {
        let mut notes = Vec::new();
        let server_is_busy = self
            .server_cpu
            .map(|cpu| cpu.busiest_thread >= BUSY || (cpu.cpus > 0 && cpu.cores >= BUSY * cpu.cpus as f64));
        if settings.pace != Pace::Full {
            if self.behind as f64 > LATE * self.sent as f64 {
                notes.push(format!(
                    "{} of {} queries were sent more than 1 ms late: this replay could not keep the pace; latencies count from when they were due",
                    self.behind, self.sent
                ));
            }
        } else if starved > 1.0 - BUSY {
            notes.push("reading the trace was the bottleneck, not the server: unpack it first, or repeat a shorter one with --count".into());
        } else if self.load_busy >= BUSY {
            match server_is_busy {
                Some(true) => {}
                Some(false) => notes.push("THIS REPLAY WAS THE BOTTLENECK, not the server: give it more --threads, or cores of its own".into()),
                None => notes.push("this replay was busy throughout and may have been the bottleneck: --pid PID of the server tells".into()),
            }
        }
        if settings.pace == Pace::Full && self.load_busy < BUSY && server_is_busy == Some(false) {
            notes.push("neither the server nor this replay was busy throughout: the machine is shared, or --in-flight too low".into());
        }
        if self.received == 0 && self.sent > 0 {
            notes.push(format!("no reply at all: is a server listening at {}?", self.address));
        }
        if let Some(damage) = &fed.damage {
            notes.push(format!("the trace is {damage}; what stands before it was replayed"));
        }
        let skipped = fed.skipped.to_string();
        if !skipped.is_empty() {
            notes.push(format!("passed over in the trace: {skipped}"));
        }
        if matches!(settings.pace, Pace::Original(_)) && fed.timed == 0 && fed.queries > 0 {
            notes.push("the trace has no time stamps: all was due at once; --rate sends evenly".into());
        }
        if fed.queries == 0 {
            notes.push("the trace holds no query".into());
        }
        if let Some(limit) = settings.longest.filter(|limit| {
            settings.run_for.is_none() && settings.count.is_none() && self.elapsed_s >= limit.as_secs_f64()
        }) {
            notes
                .push(format!("ended after {} s by default: set --for or --count for more", limit.as_secs()));
        }
        notes
    }

    /// One JSON object.
    pub fn json(&self) -> String {
        // Strings, numbers and maps with text keys always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    /// A table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
        writeln!(
            f,
            "{} -> {} ({}), {}, {} flows, {} threads",
            self.trace, self.server, self.address, self.pace, self.flows, self.threads
        )?;
        writeln!(f)?;
        writeln!(f, "sent        {:>12}   in {:.2} s", self.sent, self.elapsed_s)?;
        writeln!(f, "received    {:>12}   {:.3} %", self.received, percent(self.received, self.sent))?;
        writeln!(f, "lost        {:>12}   {:.3} %", self.lost, percent(self.lost, self.sent))?;
        for (name, count) in [
            ("late, twice", self.unexpected),
            ("mismatched", self.mismatched),
            ("truncated", self.truncated),
            ("unsent", self.unsent),
            ("errors", self.errors),
        ] {
            if count > 0 {
                writeln!(f, "{name:<11} {count:>12}")?;
            }
        }
        writeln!(f, "rate        {:>12.0}   replies a second", self.qps)?;
        writeln!(f)?;
        writeln!(f, "latency     {:>12}", "us")?;
        for (name, _) in QUANTILES.iter().chain(&[("max", 1.0)]) {
            writeln!(f, "  {name:<9} {:>12.1}", self.latency_us.get(name).copied().unwrap_or(0.0))?;
        }
        writeln!(f)?;
        for (title, counts) in [("rcode", &self.rcodes), ("EDE", &self.edes)] {
            for (code, count) in counts {
                writeln!(f, "{title:<7} {code:<26} {count:>12}   {:.3} %", percent(*count, self.received))?;
            }
        }
        if let Some(cpu) = &self.server_cpu {
            writeln!(f)?;
            writeln!(
                f,
                "server CPU  {:>12.2}   us a query, {:.2} in user space; {:.2} cores, busiest thread {:.0} %",
                cpu.us_per_query,
                cpu.user_us_per_query,
                cpu.cores,
                100.0 * cpu.busiest_thread
            )?;
        }
        for note in &self.notes {
            writeln!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}

/// How fast, in words.
fn pace(settings: &Settings) -> String {
    match settings.pace {
        Pace::Full => format!("{} in flight", settings.in_flight),
        Pace::Rate(rate) => format!("{rate} queries a second"),
        Pace::Original(speed) => format!("original timing, {speed} times as fast"),
    }
}

/// An EDE code and its name.
fn ede_name(code: u16) -> String {
    let mut text = code.to_string();
    if let Some(name) = EdeCode(code).name() {
        let _ = write!(text, " {name}");
    }
    text
}
