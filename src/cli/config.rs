//! `sinkscope config`: what is in effect, and what can be set.

use std::process::ExitCode;

use super::{Global, Overrides, print, say};

/// Arguments of `sinkscope config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the JSON schema of the configuration file instead
    #[arg(long)]
    pub schema: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub overrides: Overrides,
}

/// Prints the effective configuration as a file, each value with its origin; or the schema.
pub fn run(global: &Global, args: Args) -> ExitCode {
    if args.schema {
        // The alternate form of a JSON value is indented.
        print(&format!("{:#}\n", crate::config::schema()));
        return ExitCode::SUCCESS;
    }
    match global.load(Some(&args.overrides)) {
        Ok(config) => {
            say(&config.warnings);
            print(&config.effective);
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}
