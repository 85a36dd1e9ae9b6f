//! The `sinkscope` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    sinkscope::cli::run()
}
