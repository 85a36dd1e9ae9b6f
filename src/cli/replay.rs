//! `sinkscope replay`: a trace against a server, or through the request path itself.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use super::trace::{failed, maker};
use super::{Global, Overrides, PROBLEMS, USAGE, print, say};
use crate::clock::{Clock, SystemClock};
use crate::iana::Rtype;
use crate::orders::Loader;
use crate::resolver;
use crate::resolver::recent::Recent;
use crate::trace::feed::{Pace, Source};
use crate::trace::inprocess;
use crate::trace::make::Spec;
use crate::trace::message::{EDNS_PAYLOAD, Edns};
use crate::trace::read::Options;
use crate::trace::replay::{self, Progress, Settings};

/// How long a replay without bounds of its own goes on at most.
const LONGEST: Duration = Duration::from_secs(60);
/// How often the progress bar is drawn.
const TICK: Duration = Duration::from_millis(200);
/// How often a line says so where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// How often it is looked whether the end has come: a short replay must not seem longer.
const LINE_TICK: Duration = Duration::from_millis(10);

/// What stands below the options.
const AFTER: &str = "\
Latency counts from when a query was due (at full pace: from when it was sent), so a held-up sender hides no wait. A reply \
that comes after the timeout stays lost and is told beside it. With --rate and --speed a thread sleeps until the next \
query is near; closer than 0.2 ms, and for up to 2 ms while a reply is awaited, it looks without sleeping and lets others \
run in between: above some 5,000 queries a second that is up to a whole core a thread, give it one that the server does \
not need. Without a terminal a line every 30 s says how far it is.

Ends with 0, with 1 when nothing came back, a verdict was wrong or something failed, with 2 on a wrong command line.

Examples:
  sinkscope replay trace.pcap --speed 1                       as it was captured
  sinkscope replay names.txt --warm-up --for 30 --pid 1234    as fast as that process answers
  sinkscope replay trace.txt.zst --rate 20000 --for 60 --html report.html
  sinkscope replay --in-process --verify --threads 2 --count 1000000 --orders orders/ --make \"--listed=5%\"";

/// Arguments of `sinkscope replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    /// The trace: dnsperf text, names, pcap, pcapng or dnstap, gzip and zstd unpacked; - is standard input
    #[arg(value_name = "TRACE", required_unless_present = "make", conflicts_with = "make")]
    pub trace: Option<PathBuf>,
    /// Make the trace meanwhile instead: options of `sinkscope trace make` in one word, such as "--listed=5% --seed=7"
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub make: Option<String>,
    /// The server
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5300")]
    pub server: SocketAddr,
    /// Put the trace through this program's own request path instead, with the configured orders and a made upstream
    #[arg(long, conflicts_with_all = ["server", "rate", "speed", "warm_up", "pid", "html", "name"])]
    pub in_process: bool,
    /// With --in-process: check every reply against a slow, independent reading of the orders; a wrong one ends with 1
    #[arg(long, requires = "in_process")]
    pub verify: bool,
    /// Let the server be on another machine. A replay is load: ask whoever runs it
    #[arg(long)]
    pub allow_remote: bool,
    /// Send evenly, this many queries a second [default: as fast as the server answers]
    #[arg(long, value_name = "QPS", value_parser = crate::trace::make::rate, conflicts_with = "speed")]
    pub rate: Option<f64>,
    /// Send by the trace's own times, this many times as fast
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    pub speed: Option<f64>,
    /// Queries in flight, when neither --rate nor --speed is given
    #[arg(long, value_name = "QUERIES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub in_flight: u32,
    /// Client sockets
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub flows: u32,
    /// Threads that send and receive; with --in-process, that answer
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Send that many first, uncounted and as fast as possible; without a number, the whole trace
    #[arg(long, value_name = "QUERIES", num_args = 0..=1, default_missing_value = "18446744073709551615")]
    pub warm_up: Option<u64>,
    /// Send for so many seconds, from the trace's start again if need be [default: once, 60 s at most]
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub run_for: Option<Duration>,
    /// Send so many queries, from the trace's start again if need be
    #[arg(long, value_name = "QUERIES")]
    pub count: Option<u64>,
    /// A query without reply for so many seconds is lost, also if a reply comes later
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub timeout: Duration,
    /// The server's process on this machine, to tell its CPU time a query and whether it was the bottleneck
    #[arg(long)]
    pub pid: Option<u32>,
    /// What to call the server in the report
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The type of names that come without one
    #[arg(long = "type", value_name = "TYPE", default_value = "A", value_parser = qtype)]
    pub qtype: Rtype,
    /// Send queries from text with EDNS, to see why names are blocked
    #[arg(long)]
    pub edns: bool,
    /// The same, and DO
    #[arg(long)]
    pub dnssec: bool,
    /// The port that captured queries went to
    #[arg(long, default_value_t = 53)]
    pub port: u16,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Write a page with plots of latency and rate, complete in one file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// With --make or --in-process: the orders in this file or folder; may be repeated [default: blocklists/]
    #[arg(long, value_name = "PATH")]
    pub orders: Vec<String>,
}

/// The options of `--make`.
#[derive(Debug, clap::Parser)]
#[command(name = "--make", no_binary_name = true)]
struct Make {
    #[command(flatten)]
    spec: Spec,
}

/// Replays.
pub fn run(global: &Global, args: Args) -> ExitCode {
    let source = match source(global, &args) {
        Ok(source) => source,
        Err(code) => return code,
    };
    if args.in_process {
        return in_process(global, &args, &source);
    }
    if !args.allow_remote && !is_here(args.server.ip()) {
        let server = args.server;
        let message = format!(
            "{server} is another machine, and a replay is load: if you may, say so with --allow-remote"
        );
        return failed(&message, USAGE);
    }
    let settings = settings(&args);
    let progress = Progress::default();
    let report = thread::scope(|scope| {
        let replay = scope.spawn(|| replay::run(&source, &settings, &progress));
        if io::stderr().is_terminal() {
            let bar = styled_bar(settings.count, settings.run_for);
            while !replay.is_finished() {
                show(&bar, &settings, &progress);
                thread::sleep(TICK);
            }
            bar.finish_and_clear();
        } else {
            lines(&|| replay.is_finished(), &|_| {
                let (sent, received) =
                    (progress.sent.load(Ordering::Relaxed), progress.received.load(Ordering::Relaxed));
                let warming = if progress.warming.load(Ordering::Relaxed) { "warming up: " } else { "" };
                format!("{warming}{sent} sent, {received} received")
            });
        }
        replay.join()
    });
    let report = match report {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => return failed(&error, PROBLEMS),
        Err(_) => return failed(&"the replay ended in a panic", PROBLEMS),
    };
    if args.json {
        print(&format!("{}\n", report.json()))
    } else {
        print(&report.to_string())
    }
    if let Some(path) = &args.html
        && let Err(error) = fs::write(path, report.html())
    {
        return failed(&format!("{}: {error}", path.display()), PROBLEMS);
    }
    ExitCode::from(if report.received == 0 { PROBLEMS } else { 0 })
}

/// Replays without sockets.
fn in_process(global: &Global, args: &Args, source: &Source) -> ExitCode {
    let config = match global.load(Some(&Overrides { orders: args.orders.clone(), ..Overrides::default() })) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let loaded = Loader::new(config.orders.settings.clone()).load();
    say(&loaded.problems);
    let endless = args.make.is_some() && args.count.is_none() && args.run_for.is_none();
    let settings = inprocess::Settings {
        resolver: resolver::Settings { recent: Recent::default(), ..config.resolver(1) },
        cache: config.cache.size,
        threads: args.threads as usize,
        count: args.count,
        run_for: if endless { Some(LONGEST) } else { args.run_for },
        verify: args.verify,
        at: SystemClock::new().now().wall,
    };
    let progress = inprocess::Progress::default();
    let report = thread::scope(|scope| {
        let run = scope.spawn(|| inprocess::run(source, &loaded, &settings, &progress));
        if io::stderr().is_terminal() {
            let bar = styled_bar(settings.count, settings.run_for);
            while !run.is_finished() {
                let (done, wrong) =
                    (progress.done.load(Ordering::Relaxed), progress.wrong.load(Ordering::Relaxed));
                match (settings.count, settings.run_for) {
                    (Some(_), _) => bar.set_position(done),
                    (None, Some(_)) => bar.set_position(bar.elapsed().as_secs()),
                    (None, None) => bar.tick(),
                }
                bar.set_message(format!("{done} queries, {wrong} wrong"));
                thread::sleep(TICK);
            }
            bar.finish_and_clear();
        } else {
            lines(&|| run.is_finished(), &|elapsed_s| {
                let (done, wrong) =
                    (progress.done.load(Ordering::Relaxed), progress.wrong.load(Ordering::Relaxed));
                let rate = done as f64 / elapsed_s;
                let left = settings.count.map(|count| count.saturating_sub(done) as f64 / rate.max(1.0));
                let left = left.map_or(String::new(), |left| format!(", {left:.0} s left"));
                format!("{done} queries, {wrong} wrong, {rate:.0} a second{left}")
            });
        }
        run.join()
    });
    match report {
        Ok(Ok(report)) => {
            if args.json {
                print(&format!("{}\n", report.json()))
            } else {
                print(&report.to_string())
            }
            ExitCode::from(if report.queries > 0 && report.is_right() { 0 } else { PROBLEMS })
        }
        Ok(Err(error)) => failed(&error, PROBLEMS),
        Err(_) => failed(&"the replay ended in a panic", PROBLEMS),
    }
}

/// Where the queries come from.
pub fn source(global: &Global, args: &Args) -> Result<Source, ExitCode> {
    let edns = (args.edns || args.dnssec).then_some(Edns { payload: EDNS_PAYLOAD, dnssec_ok: args.dnssec });
    let options = Options { qtype: args.qtype, edns, port: args.port };
    let Some(make) = &args.make else {
        return Ok(Source::File(args.trace.clone().unwrap_or_default(), options));
    };
    let spec = Make::try_parse_from(make.split_whitespace()).map_err(|error| failed(&error, USAGE))?.spec;
    let config = global.load(Some(&Overrides { orders: args.orders.clone(), ..Overrides::default() }))?;
    let maker = maker(&config, spec).map_err(|error| failed(&error, USAGE))?;
    Ok(Source::Made(Box::new(maker)))
}

/// What the arguments say, with defaults that end.
fn settings(args: &Args) -> Settings {
    let pace = match (args.rate, args.speed) {
        (Some(rate), _) => Pace::Rate(rate),
        (None, Some(speed)) => Pace::Original(speed),
        (None, None) => Pace::Full,
    };
    // A made trace has no end: one pass of it is as long as a replay may be.
    let endless = args.make.is_some() && args.count.is_none() && args.run_for.is_none();
    Settings {
        server: args.server,
        pace,
        flows: args.flows as usize,
        threads: args.threads as usize,
        in_flight: args.in_flight as usize,
        timeout: args.timeout,
        run_for: if endless { Some(LONGEST) } else { args.run_for },
        count: args.count,
        // Who asks for a trace's own times wants all of it.
        longest: args.speed.is_none().then_some(LONGEST),
        warm_up: args.warm_up,
        pid: args.pid,
        name: args.name.clone().unwrap_or_else(|| args.server.to_string()),
        trace: args.trace.clone().unwrap_or_else(|| PathBuf::from("made queries")),
    }
}

/// Whether an address is this machine's own, whatever the network.
fn is_here(addr: IpAddr) -> bool {
    addr.to_canonical().is_loopback()
}

/// A progress bar, or a spinner where the end is not known.
fn styled_bar(count: Option<u64>, run_for: Option<Duration>) -> ProgressBar {
    let (bar, template) = match (count, run_for) {
        (Some(count), _) => (ProgressBar::new(count), "{bar:30} {percent:>3} % {msg} {eta} left"),
        (None, Some(limit)) => (ProgressBar::new(limit.as_secs()), "{bar:30} {percent:>3} % {msg}"),
        (None, None) => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    // The templates are constants; a bar without style is still a bar.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Where there is no terminal: says how far it is, now and then.
fn lines(is_finished: &dyn Fn() -> bool, line: &dyn Fn(f64) -> String) {
    let start = Instant::now();
    let mut next = LINE_EVERY;
    while !is_finished() {
        thread::sleep(LINE_TICK);
        let elapsed = start.elapsed();
        if elapsed >= next {
            next = elapsed + LINE_EVERY;
            // Nobody listens on standard error: there is nobody left to tell.
            let _ = writeln!(io::stderr(), "{:.0} s: {}", elapsed.as_secs_f64(), line(elapsed.as_secs_f64()));
        }
    }
}

/// Draws how far it is.
fn show(bar: &ProgressBar, settings: &Settings, progress: &Progress) {
    let (sent, received) = (progress.sent.load(Ordering::Relaxed), progress.received.load(Ordering::Relaxed));
    let rate = received as f64 / bar.elapsed().as_secs_f64().max(0.001);
    if progress.warming.load(Ordering::Relaxed) {
        bar.set_message(format!("warming up: {sent} sent"));
        bar.reset_elapsed();
        return;
    }
    match (settings.count, settings.run_for) {
        (Some(_), _) => bar.set_position(sent),
        (None, Some(_)) => bar.set_position(bar.elapsed().as_secs()),
        (None, None) => bar.tick(),
    }
    bar.set_message(format!("{sent} sent, {received} received, {rate:.0} a second"));
}

/// Reads a time in seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let number =
        text.strip_suffix('s').unwrap_or(text).parse().ok().filter(|number| (0.001..=1e7).contains(number));
    number.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds, such as 10 or 0.5".into())
}

/// Reads a factor of speed.
fn factor(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number| (0.001..=1e6).contains(number))
        .ok_or_else(|| "expected a factor, such as 1 or 2.5".into())
}

/// Reads a type.
fn qtype(text: &str) -> Result<Rtype, String> {
    text.parse().map_err(|_| "expected a type, such as AAAA or TYPE65".into())
}
