//! `sinkscope doctor`: what of this machine stands in the way, and what to change.

use std::process::ExitCode;

use serde_json::json;

use super::{Global, Overrides, PROBLEMS, print, say};
use crate::doctor::{Finding, Machine, State, examine};
use crate::plain;

/// Arguments of `sinkscope doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub overrides: Overrides,
}

/// Looks and prints: 0 if nothing keeps a server from serving, 1 if something does.
pub fn run(global: &Global, args: &Args) -> ExitCode {
    let config = match global.load(Some(&args.overrides)) {
        Ok(config) => config,
        Err(code) => return code,
    };
    say(&config.warnings);
    let findings = examine(&config, &Machine::here());
    let bad = findings.iter().any(|finding| finding.state == State::Bad);
    if args.json {
        let all = json!({ "well": !bad, "findings": findings });
        print(&format!("{}\n", serde_json::to_string_pretty(&all).unwrap_or_default()));
    } else {
        print(&findings.iter().map(line).collect::<String>());
    }
    if bad { ExitCode::from(PROBLEMS) } else { ExitCode::SUCCESS }
}

/// A finding for people, with what to do on a line of its own.
fn line(finding: &Finding) -> String {
    let state = match finding.state {
        State::Well => "well",
        State::Look => "look",
        State::Bad => "BAD ",
    };
    let advice = match finding.advice.is_empty() {
        true => String::new(),
        false => format!("      do: {}\n", plain::escaped(&finding.advice)),
    };
    format!("{state}  {}: {}\n{advice}", finding.about, plain::escaped(&finding.found))
}
