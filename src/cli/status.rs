//! `sinkscope status`: how the running server is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

use super::Global;
use super::lists::duration;
use super::remote::{Remote, counted};
use crate::control::api::types::{Status, UpstreamShown};
use crate::plain;

/// Arguments of `sinkscope status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub remote: Remote,
}

/// Asks the server and prints.
pub fn run(global: &Global, args: Args) -> ExitCode {
    args.remote.run(global, |client| client.get("/v1/status"), show)
}

/// Status as lines; counters that are 0 are left out.
fn show(status: &Status) -> String {
    let counts = |counts: &BTreeMap<String, u64>| {
        let some = counts.iter().filter(|(_, count)| **count > 0);
        some.map(|(name, count)| format!("{name}={count}")).collect::<Vec<_>>().join(" ")
    };
    let orders = status.orders.iter().filter(|(_, count)| **count > 0);
    let orders: Vec<String> = orders.map(|(state, count)| format!("{count} {state}")).collect();
    let journal = match &status.journal {
        Some(file) => {
            format!("{file}, {}, head {}", counted(status.journal_records, "record"), status.journal_head)
        }
        None => "in memory: what is stated ends with the process".into(),
    };
    let zones = |one: &UpstreamShown| match &one.zones[..] {
        [] => String::new(),
        [all] if all == "." => String::new(),
        zones => format!(" ({})", zones.join(" ")),
    };
    let groups = |one: &UpstreamShown| match &one.groups[..] {
        [] => String::new(),
        groups => format!(" (for {})", groups.join(", ")),
    };
    let upstream = status.upstreams.iter().map(|one| {
        let counts = format!("asked={} failed={}", one.asked, one.failed);
        format!("{}{}{} {counts}, {}", one.server, zones(one), groups(one), standing(one))
    });
    let upstreams: Vec<(&str, String)> = upstream.map(|line| ("upstream", line)).collect();
    let local = &status.local;
    let files = format!("{} of {} with problems", local.bad_files, counted(local.files, "file"));
    let local = [
        counted(local.zones, "zone"),
        counted(local.records, "record"),
        format!("{} from leases", counted(local.lease_names, "name")),
        format!("{} refused", local.refused_lease_names),
        files,
    ];
    let has_local = status.local.zones + status.local.records + status.local.files > 0;
    let local = if has_local { local.join(", ") } else { "none".into() };
    let lines = [
        ("version", status.version.clone()),
        ("up", format!("{} since {}", duration(status.uptime_s), status.started)),
        ("policy", format!("epoch {}, {} names", status.policy.epoch, status.policy.names)),
        ("orders", if orders.is_empty() { "none".into() } else { orders.join(", ") }),
        ("stated", counted(status.statements, "statement")),
        ("journal", journal),
        ("resolver", counts(&status.resolver)),
        ("verdicts", counts(&status.actions)),
        ("listeners", counts(&status.listeners)),
        ("local", local),
    ];
    let evidence = status.evidence.as_ref().map(|evidence| {
        let last = evidence.last.as_deref().unwrap_or("never");
        let coarse: u64 = evidence.coarse.values().sum();
        format!(
            "{} queries, {} written (last {last}), {} lost, {coarse} made coarser, {} octets",
            evidence.seen, evidence.written, evidence.lost, evidence.octets
        )
    });
    let evidence = evidence.map(|line| ("evidence", line));
    let cache = &status.cache;
    let cache = format!("{} answers in {} of {} octets", cache.entries, cache.octets, cache.max_octets);
    let mut text = String::new();
    for (key, value) in lines.iter().chain(&[("cache", cache)]).chain(&evidence).chain(&upstreams) {
        let _ = writeln!(text, "{key:10} {}", plain::escaped(value));
    }
    for problem in status.journal_problems.iter().chain(&status.troubles) {
        let _ = writeln!(text, "problem    {problem}");
    }
    text
}

/// How an upstream stands: whether it answers, how fast, and what was wrong last.
pub(super) fn standing(one: &UpstreamShown) -> String {
    let mut text = match (one.up, one.back_for_s) {
        (true, _) => "up".to_owned(),
        (false, Some(seconds)) => format!("DOWN for {}", duration(seconds)),
        (false, None) => "DOWN".to_owned(),
    };
    if let Some(micros) = one.reply_us.filter(|_| one.up) {
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, ", answers in {}.{} ms", micros / 1000, micros / 100 % 10);
    }
    if let (Some(why), Some(seconds)) = (&one.last_failure, one.last_failure_s) {
        let _ = write!(text, ", {} ago it {why}", duration(seconds));
    }
    text
}
