//! `sinkscope serve`: answer queries until told to stop.

use std::process::ExitCode;

use super::{Global, Overrides, PROBLEMS, read, say};
use crate::config::Sources;
use crate::daemon;

/// Arguments of `sinkscope serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub overrides: Overrides,
}

/// Serves; returns when a signal ended it, or when it could not start.
pub fn run(global: &Global, args: Args) -> ExitCode {
    // Before anything is opened.
    let passed = daemon::Passed::take();
    let sources = Sources { passed: passed.addresses(), ..global.sources(Some(&args.overrides)) };
    let config = match read(&sources) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match daemon::run(config, sources, passed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            say(&problems);
            ExitCode::from(PROBLEMS)
        }
    }
}
