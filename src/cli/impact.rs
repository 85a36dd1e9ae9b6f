//! `sinkscope impact`: what an order would do to recorded queries.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::remote::Remote;
use super::{Global, PROBLEMS, USAGE, say};
use crate::config::Config;
use crate::control::api::types::RecentQueries;
use crate::name::Name;
use crate::orders::{Filled, Loader, Settings, time};
use crate::policy::OrderWithNames;
use crate::problem::Problem;
use crate::time::UnixSeconds;
use crate::trace::impact::{Impact, Popular, Preview, Report, TraceFacts, read};
use crate::trace::read::Options;

/// What stands below the options.
const AFTER: &str = "\
The order is judged as it would stand among the configured orders: in the place of the one that has its id, else after \
all of them; and as if it were in force, whatever its dates say. Beside it stand the same order at other scopes: exact, \
subtree, zone. Nothing is changed and nobody is affected.

Ends with 0, with 1 when the order or a trace cannot be read or holds nothing, with 2 on a wrong command line.

Examples:
  sinkscope impact order.toml --trace monday.pcap.zst tuesday.pcap.zst --html impact.html
  sinkscope impact us-nv-2014-cv-00987 --orders orders/ --trace queries.txt --popular top-100k.txt --json";

/// Arguments of `sinkscope impact`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER, override_usage = "sinkscope impact <ORDER> --trace <FILE>... [OPTIONS]")]
pub struct ImpactArgs {
    /// The order: its file, or the id of a configured one
    #[arg(value_name = "ORDER")]
    pub order: PathBuf,
    /// Recorded queries: dnsperf text, names, pcap, pcapng or dnstap, gzip and zstd unpacked; - is standard input
    #[arg(long, value_name = "FILE", required_unless_present = "recent", num_args = 1..)]
    pub trace: Vec<PathBuf>,
    /// Count what the running server was asked lately: a sample of one query in 64
    #[arg(long)]
    pub recent: bool,
    /// Reach the running server here: unix:PATH or address:port [default: control.listen of the configuration]
    #[arg(long, value_name = "ADDRESS", requires = "recent")]
    pub control: Option<String>,
    /// Reach it by the control.sock in its state folder
    #[arg(long, value_name = "DIR", requires = "recent", conflicts_with = "control")]
    pub state: Option<String>,
    /// Send the first token of this file [default: control.token_file of the configuration]
    #[arg(long, value_name = "FILE", requires = "recent")]
    pub token_file: Option<PathBuf>,
    /// Popular names, one a line, to be looked for among what the order takes
    #[arg(long, value_name = "FILE")]
    pub popular: Option<PathBuf>,
    /// Judge other orders as of this time: 2014-06-30, 2014-06-30T12:00:00Z or Unix seconds [default: now]
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_negative_numbers = true)]
    pub at: Option<UnixSeconds>,
    /// The port that captured queries went to
    #[arg(long, value_name = "PORT", default_value_t = 53)]
    pub port: u16,
    /// Rows in each list of the table and of the page
    #[arg(long, value_name = "ROWS", default_value_t = 10)]
    pub top: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Write a page to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// What the running server was asked lately.
///
/// # Errors
/// The exit code, when it does not say: what is wrong has been said.
pub fn recent(global: &Global, args: &ImpactArgs) -> Result<RecentQueries, ExitCode> {
    let ImpactArgs { control, state, token_file, .. } = args.clone();
    Remote { control, state, token_file, json: false }.ask(global, |client| client.get("/v1/recent"))
}

/// Counts and says what it came to; gives back the exit code.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(
    config: &Config,
    args: &ImpactArgs,
    recent: Option<&RecentQueries>,
    out: &mut impl Write,
    now: UnixSeconds,
) -> io::Result<u8> {
    let mut settings = config.orders.settings.clone();
    if config.orders.by_default {
        // Nobody asked for the default folder: without it the order stands alone.
        settings.paths.retain(|path| path.exists());
    }
    let mut report = match report(&settings, args, recent, args.at.unwrap_or(now)) {
        Ok(report) => report,
        Err((problems, code)) => {
            say(&problems);
            return Ok(code);
        }
    };
    // Names in the order they were given are not worth a word; a path that repeats is.
    let mut seen = Vec::new();
    for trace in &args.trace {
        if seen.contains(&trace) {
            report.notes.push(format!("{} was given more than once, and counted as often", trace.display()));
        }
        seen.push(trace);
    }
    if let Some(path) = &args.html
        && let Err(error) = fs::write(path, report.html(args.top))
    {
        let hint = "give --html a file that can be written";
        say(&[Problem::error(path.display().to_string(), None, format!("cannot be written: {error}"))
            .hint(hint)]);
        return Ok(PROBLEMS);
    }
    if args.json {
        writeln!(out, "{}", report.json())?;
    } else {
        write!(out, "{}", report.table(args.top))?;
    }
    let whole = report.traces.iter().all(|trace| trace.damage.is_none());
    Ok(if whole && report.asked.queries > 0 { 0 } else { PROBLEMS })
}

/// Reads the order and the traces, and counts.
fn report(
    settings: &Settings,
    args: &ImpactArgs,
    recent: Option<&RecentQueries>,
    at: UnixSeconds,
) -> Result<Report, (Vec<Problem>, u8)> {
    let loaded = Loader::new(settings.clone()).load();
    let listed = order(&args.order, &loaded)?;
    let mut preview = Preview::of(&listed, &loaded, at);
    if let Some(bound) = preview.left_out() {
        let problem = Problem::error(&listed.order.source, None, format!("too much for one policy: {bound}"));
        return Err((vec![problem.hint("leave some orders or lists out")], PROBLEMS));
    }
    if let Some(path) = &args.popular {
        preview = preview.with_popular(popular(path).map_err(|problem| (vec![problem], PROBLEMS))?);
    }
    // Whoever mistyped the last of ten traces learns it before the first is read.
    if let Some(missing) = args.trace.iter().find(|path| path.as_os_str() != "-" && !path.exists()) {
        let problem = Problem::error(missing.display().to_string(), None, "there is no such trace");
        return Err((vec![problem.hint("check the path given with --trace")], PROBLEMS));
    }
    let mut impact = Impact::new(&preview);
    let options = Options { port: args.port, ..Options::default() };
    let bar = bar(&args.trace);
    let mut traces: Vec<TraceFacts> = recent.map(|recent| feed(recent, &mut impact)).into_iter().collect();
    let mut octets_before = 0;
    for path in &args.trace {
        let trace = read(path, options, &mut impact, |progress| {
            bar.set_position(octets_before + progress.octets);
            bar.set_message(format!("{} queries of {}", progress.queries, path.display()));
        });
        match trace {
            Ok(facts) => traces.push(facts),
            Err(error) => {
                bar.finish_and_clear();
                let message = error.error.to_string();
                let hint = "a trace is dnsperf text, names, pcap, pcapng or dnstap, gzip or zstd";
                let problem = Problem::error(error.file.display().to_string(), None, message).hint(hint);
                return Err((vec![problem], PROBLEMS));
            }
        }
        octets_before = bar.position();
    }
    bar.finish_and_clear();
    let mut report = impact.finish();
    traces.into_iter().for_each(|trace| report.add_trace(trace));
    if let Some(recent) = recent {
        let note = format!("recent queries are a sample: there were about {} times as many", recent.one_in);
        report.notes.push(note);
    }
    let errors = loaded.problems.iter().filter(|problem| problem.is_error()).count();
    if errors > 0 {
        let s = if errors == 1 { "" } else { "s" };
        report.notes.push(format!("the configured orders have {errors} error{s}; see sinkscope check"));
    }
    Ok(report)
}

/// Counts what a running server was asked lately.
fn feed(recent: &RecentQueries, impact: &mut Impact<'_>) -> TraceFacts {
    let named = recent.queries.iter().filter_map(|(name, client)| Some((name.parse::<Name>().ok()?, client)));
    let mut queries = 0;
    for (name, client) in named {
        impact.feed(&name, Some(*client), 1);
        queries += 1;
    }
    TraceFacts {
        file: "what the running server was asked lately".to_owned(),
        queries,
        ..TraceFacts::default()
    }
}

/// The order that was meant: a file, or a configured one by its id.
fn order(given: &Path, loaded: &Filled) -> Result<OrderWithNames, (Vec<Problem>, u8)> {
    let shown = given.display().to_string();
    let configured = loaded.zones.iter().flat_map(|zone| &zone.orders);
    if !given.exists() {
        if let Some(listed) = configured.clone().find(|listed| listed.order.id == shown) {
            return Ok(OrderWithNames::clone(listed));
        }
        // A typing error changes few letters.
        let near = configured
            .map(|listed| (strsim::damerau_levenshtein(&listed.order.id, &shown), &listed.order.id))
            .min()
            .filter(|(distance, _)| *distance <= 3);
        let hint = match near {
            Some((_, id)) => format!("did you mean \"{id}\"?"),
            None => "give an order file, or the id of an order that --orders has".into(),
        };
        let message = "no such file, and no configured order has that id";
        return Err((vec![Problem::error(shown, None, message).hint(hint)], USAGE));
    }
    let read = Loader::new(Settings { paths: vec![given.to_path_buf()], ..Settings::default() }).load();
    let mut orders = read.zones.iter().flat_map(|zone| &zone.orders);
    match (orders.next(), orders.next()) {
        (Some(listed), None) => {
            // What is wrong did not refuse the order: lines of its lists, say. It is judged as it would stand.
            say(&read.problems);
            Ok(OrderWithNames::clone(listed))
        }
        (Some(_), Some(_)) => {
            let problem = Problem::error(shown, None, "a folder of several orders");
            Err((vec![problem.hint("give one of its order files")], USAGE))
        }
        (None, _) if read.problems.is_empty() => {
            let problem = Problem::error(shown, None, "no order in it");
            Err((vec![problem.hint("give one order file")], PROBLEMS))
        }
        (None, _) => Err((read.problems.clone(), PROBLEMS)),
    }
}

/// Reads the popular names.
fn popular(path: &Path) -> Result<Popular, Problem> {
    let shown = path.display().to_string();
    let list = fs::read(path).map_err(|error| {
        Problem::error(&shown, None, format!("the popular names cannot be read: {error}"))
            .hint("check the path given with --popular")
    })?;
    let popular = Popular::parse(&shown, &list);
    if popular.is_empty() {
        return Err(Problem::error(&shown, None, "no names in it").hint("one name a line is expected"));
    }
    Ok(popular)
}

/// A bar over the octets of all traces, on a terminal; standard input has no end that is known.
fn bar(traces: &[PathBuf]) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let sizes: Option<u64> = traces
        .iter()
        .map(|path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len()))
        .sum();
    let (bar, template) = match sizes {
        Some(octets) => (ProgressBar::new(octets), "{bar:30} {percent:>3} % {msg} {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    // The templates are constants; a bar without style is still a bar.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
