//! `sinkscope cache`: what the running server has cached of a name, how much in all, and forgetting it.

use std::fmt::Write;
use std::process::ExitCode;

use super::Global;
use super::lists::duration;
use super::remote::{Remote, counted, table};
use crate::control::api::types::{
    AnswerShown, CacheHeld, CacheOf, CacheStats, FailureShown, FlushRequest, Flushed, Took,
};
use crate::control::client::segment;
use crate::orders::time;
use crate::plain;

/// What to do with what is cached.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show what is cached of a name, or how much in all
    Show(ShowArgs),
    /// Forget what is cached of a name, of all names below one, or of all
    Flush(FlushArgs),
}

/// Arguments of `sinkscope cache show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The name
    #[arg(required_unless_present = "stats")]
    pub name: Option<String>,
    /// This type alone [default: all]
    #[arg(long = "type", short = 't', value_name = "TYPE", requires = "name")]
    pub qtype: Option<String>,
    /// Show how much is cached instead, and kept on the disk
    #[arg(long, conflicts_with_all = ["name", "qtype"])]
    pub stats: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub remote: Remote,
}

/// Arguments of `sinkscope cache flush`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["name", "subtree", "all"]))]
pub struct FlushArgs {
    /// The name
    pub name: Option<String>,
    /// This name and all below it
    #[arg(long, value_name = "NAME")]
    pub subtree: Option<String>,
    /// All names
    #[arg(long)]
    pub all: bool,
    /// This type alone [default: all]
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    pub qtype: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub remote: Remote,
}

/// Asks the server and prints.
pub fn run(global: &Global, command: Command) -> ExitCode {
    match command {
        Command::Show(args) => match args.name {
            Some(name) => {
                let mut path = format!("/v1/cache?name={}", segment(&name));
                path.extend(args.qtype.map(|qtype| format!("&type={}", segment(&qtype))));
                args.remote.run(global, |client| client.get(&path), |held| show(&name, held))
            }
            None => args.remote.run(global, |client| client.get("/v1/cache/stats"), stats),
        },
        Command::Flush(FlushArgs { name, subtree, all, qtype, remote }) => {
            let request = FlushRequest { subtree: subtree.is_some(), name: subtree.or(name), qtype, all };
            remote.run(global, |client| client.post("/v1/cache/flush", &request), flushed)
        }
    }
}

/// What is held of a name, for people.
fn show(name: &str, held: &CacheHeld) -> String {
    if held.answers.is_empty() && held.failures.is_empty() {
        return format!("nothing is cached of {}\n", plain::escaped(name));
    }
    let mut text = String::new();
    for answer in &held.answers {
        let AnswerShown { rcode, came, records, authority, why, .. } = answer;
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            text,
            "{}{}: {rcode}, {}, came {came}",
            head(&answer.question, &answer.groups),
            answer.network.as_ref().map_or_else(String::new, |network| format!(" for {network}")),
            left(answer)
        );
        for line in records.iter().chain(authority) {
            let _ = writeln!(text, "    {}", plain::escaped(line));
        }
        for line in why {
            let _ = writeln!(text, "    ; {}", plain::escaped(line));
        }
    }
    for FailureShown { groups, question, left_s, why } in &held.failures {
        let _ = writeln!(
            text,
            "{}: failed, asked again in {} at the soonest",
            head(question, groups),
            duration(*left_s)
        );
        for line in why {
            let _ = writeln!(text, "    ; {}", plain::escaped(line));
        }
    }
    if held.left_out > 0 {
        let _ = writeln!(text, "{} more", held.left_out);
    }
    text
}

/// A question, and whose it is.
fn head(question: &Took, groups: &[String]) -> String {
    let Took { name, qtype, class, dnssec_ok, checking_disabled } = question;
    let mut text = plain::escaped(name).into_owned();
    if class != "IN" {
        let _ = write!(text, " {class}");
    }
    let _ = write!(text, " {qtype}");
    for (is, flag) in [(dnssec_ok, " DO"), (checking_disabled, " CD")] {
        text.push_str(if *is { flag } else { "" });
    }
    if !groups.is_empty() {
        let _ = write!(text, " (for {})", plain::escaped(&groups.join(", ")));
    }
    text
}

/// How long an answer has left, or how long ago it expired.
fn left(answer: &AnswerShown) -> String {
    let AnswerShown { authentic, left_s, expired_s, kept_s, .. } = answer;
    let left = match left_s {
        0 => {
            let (ago, kept) = (duration((*expired_s).into()), duration(*kept_s));
            format!("EXPIRED {ago} ago, kept for {kept} more")
        }
        left_s => format!("{} left", duration((*left_s).into())),
    };
    if *authentic { format!("{left}, validated upstream") } else { left }
}

/// How much there is, for people.
fn stats(stats: &CacheStats) -> String {
    let row = |cache: &CacheOf| {
        let CacheOf { groups, entries, octets, max_octets, failures } = cache;
        let whose = if groups.is_empty() { "everybody".to_owned() } else { groups.join(", ") };
        let share = octets.saturating_mul(100).checked_div(*max_octets).unwrap_or_default();
        vec![
            whose,
            entries.to_string(),
            octets.to_string(),
            max_octets.to_string(),
            format!("{share} %"),
            failures.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = stats.caches.iter().map(row).collect();
    let mut text = table(&["FOR", " ANSWERS", " OCTETS", " OF", " FULL", " FAILURES"], &rows);
    let kept = &stats.kept;
    let _ = match (&kept.file, kept.written) {
        (None, _) => writeln!(text, "kept on disk: no"),
        (Some(file), None) => writeln!(text, "kept on disk: {}, not written yet", plain::escaped(file)),
        (Some(file), Some(at)) => writeln!(
            text,
            "kept on disk: {}, {} in {} octets at {}",
            plain::escaped(file),
            counted(usize::try_from(kept.answers).unwrap_or(usize::MAX), "answer"),
            kept.octets,
            time::show(at)
        ),
    };
    if kept.restored > 0 {
        let _ = writeln!(text, "from before the start: {} answers", kept.restored);
    }
    if stats.flushed > 0 {
        let _ = writeln!(text, "forgotten by command: {} answers", stats.flushed);
    }
    text
}

/// What was forgotten, for people.
fn flushed(flushed: &Flushed) -> String {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (answers, failures) = (number(flushed.answers), number(flushed.failures));
    format!("{} and {} forgotten\n", counted(answers, "answer"), counted(failures, "failure"))
}
