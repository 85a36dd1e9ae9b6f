//! `sinkscope audit`: whether the journal is what was written, and what is in it. No server has to run.

use std::fmt::Write;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::remote::{counted, table};
use super::{Global, Overrides, PROBLEMS, USAGE, print, say};
use crate::control::journal::{Audit, FILE, Journal};
use crate::control::record::Record;
use crate::control::signing::Verifier;
use crate::orders::time;
use crate::problem::Problem;
use crate::time::UnixSeconds;

/// What to do with the journal.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say whether the chain of records is whole, and what its head is; exit code 1 if it is not
    Verify(VerifyArgs),
    /// Show what is on record: orders, pauses, configurations, lists, and who speaks to the control API
    Show(ShowArgs),
}

/// Which journal.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The journal of this state folder [default: orders.state of the configuration]
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    pub state: Option<String>,
    /// This file, such as one that was put aside
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Arguments of `sinkscope audit verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// A head that was noted before: it must be among the records
    #[arg(long, value_name = "HASH")]
    pub head: Vec<String>,
    /// The key that must have signed the last record: "ed25519:..." as in the records, or a file in PEM (openssl pkey -pubout)
    #[arg(long, value_name = "PUB", value_parser = Verifier::read)]
    pub key: Option<Verifier>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub place: Place,
}

/// Arguments of `sinkscope audit show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Records of this order alone
    #[arg(long, value_name = "ID")]
    pub order: Option<String>,
    /// Records from then on, in RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub since: Option<UnixSeconds>,
    /// Print JSON, a record a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub place: Place,
}

/// Reads the journal, and says what is asked.
pub fn run(global: &Global, command: Command) -> ExitCode {
    match command {
        Command::Verify(args) => args.place.read(global).map_or_else(
            |code| code,
            |(path, audit)| {
                let (text, code) = verified(&path, &audit, &args);
                print(&text);
                ExitCode::from(code)
            },
        ),
        Command::Show(args) => args.place.read(global).map_or_else(
            |code| code,
            |(_, audit)| {
                print(&shown(&audit, &args));
                say(&audit.breaks);
                ExitCode::from(if audit.breaks.is_empty() { 0 } else { PROBLEMS })
            },
        ),
    }
}

impl Place {
    /// The journal's file, read.
    ///
    /// # Errors
    /// The exit code, when it cannot be: what is wrong has been said.
    fn read(&self, global: &Global) -> Result<(PathBuf, Audit), ExitCode> {
        let path = match &self.file {
            Some(file) => file.clone(),
            None => {
                let overrides = Overrides { state: self.state.clone(), ..Overrides::default() };
                let folder = global.load(Some(&overrides))?.orders.state.ok_or_else(|| {
                    let hint = "give the one that the server has: --state DIR, or a journal: --file FILE";
                    say(&[Problem::error("orders.state", None, "there is no state folder").hint(hint)]);
                    ExitCode::from(USAGE)
                })?;
                folder.join(FILE)
            }
        };
        match Journal::audit(&path) {
            Ok(audit) => Ok((path, audit)),
            Err(error) => {
                say(&[unread(&path, &error)]);
                Err(ExitCode::from(PROBLEMS))
            }
        }
    }
}

/// Why a journal cannot be read.
fn unread(path: &Path, error: &io::Error) -> Problem {
    let problem = Problem::error(path.display().to_string(), None, format!("cannot be read: {error}"));
    match error.kind() {
        ErrorKind::NotFound => {
            problem.hint("nothing was put on record there; name the state folder with --state")
        }
        ErrorKind::PermissionDenied => problem.hint("read it as the user that the server runs as"),
        _ => problem,
    }
}

/// What came of verifying, and the exit code.
fn verified(path: &Path, audit: &Audit, args: &VerifyArgs) -> (String, u8) {
    let (mut text, mut problems) = (String::new(), audit.breaks.clone());
    let place = path.display().to_string();
    for head in &args.head {
        match audit.with_hash(head) {
            Some(record) => {
                let _ = writeln!(text, "head {head} is record {}, of {}", record.seq, record.at);
            }
            None => {
                let hint = "it was noted of another journal, or records were cut off or written anew since";
                problems.push(
                    Problem::error(place.clone(), None, format!("no record has the hash {head}")).hint(hint),
                );
            }
        }
    }
    if let Some((signed, behind, wrong)) = args.key.as_ref().map(|key| audit.signed_by(key)) {
        let _ = writeln!(text, "{} signed by the key", counted(signed, "record"));
        if let Some(wrong) = wrong {
            let message = format!("record {} is a signature of another key, or of something else", wrong.seq);
            problems.push(
                Problem::error(place.clone(), None, message)
                    .hint("records were written anew, or the key is another since"),
            );
        }
        if behind > 0 {
            let message = format!("{} behind the last signature of the key", counted(behind, "record"));
            problems.push(Problem::error(place.clone(), None, message).hint(
                "the server signs all that it writes: somebody else wrote these, or it had no key then",
            ));
        }
    }
    if audit.torn > 0 {
        let octets = counted(audit.torn, "octet");
        let _ = writeln!(
            text,
            "{octets} behind the last record: one that is being written, or that a kill left; it is not in effect"
        );
    }
    say(&problems);
    let records = counted(audit.records.len(), "record");
    let is_whole = problems.is_empty();
    let verdict = if is_whole { "the chain is whole" } else { "THE CHAIN IS NOT WHOLE" };
    let _ = writeln!(text, "{place}: {records}, {verdict}");
    if let (Some(first), Some(last)) = (audit.records.first(), audit.records.last()) {
        let _ = writeln!(text, "from {} to {}", first.at, last.at);
    }
    let _ = writeln!(text, "head {}", audit.head());
    (text, if is_whole { 0 } else { PROBLEMS })
}

/// Records, as a table or as JSON.
fn shown(audit: &Audit, args: &ShowArgs) -> String {
    let wanted = |record: &&Record| {
        args.order.as_ref().is_none_or(|order| *order == record.order)
            && args.since.is_none_or(|since| record.unix >= since)
    };
    let records = audit.records.iter().map(AsRef::as_ref).filter(wanted);
    if args.json {
        // Text and numbers alone: there is nothing in it that JSON could refuse.
        return records.map(|record| serde_json::to_string(record).unwrap_or_default() + "\n").collect();
    }
    let rows: Vec<Vec<String>> = records.map(row).collect();
    if rows.is_empty() {
        return "nothing is on record\n".into();
    }
    table(&[" NO", "AT", "WHO", "WHAT", "ABOUT", "DETAIL"], &rows)
}

/// A record in a line.
fn row(record: &Record) -> Vec<String> {
    let who =
        if record.by.is_empty() { record.who.clone() } else { format!("{} for {}", record.who, record.by) };
    let about = match &record.names {
        _ if record.order.is_empty() => record.about.clone(),
        Some(names) => format!("{}, {names}", record.order),
        None => record.order.clone(),
    };
    let until = record.until.map(|until| format!("until {}", time::rfc3339(until)));
    let digests = (!record.was.is_empty() || !record.now.is_empty())
        .then(|| format!("{} -> {}", short(&record.was), short(&record.now)));
    let why = Some(record.why.clone()).filter(|why| !why.is_empty());
    let detail: Vec<String> = [until, why, digests].into_iter().flatten().collect();
    vec![record.seq.to_string(), record.at.clone(), who, record.verb.to_string(), about, detail.join("; ")]
}

/// The beginning of a digest, as much as tells it from others at a glance.
fn short(digest: &str) -> &str {
    match digest.char_indices().nth(19) {
        Some((end, _)) => &digest[..end],
        None if digest.is_empty() => "none",
        None => digest,
    }
}
