//! `sinkscope check`: every problem of the orders, with file and line.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::orders::{Loader, Settings, lint};
use crate::policy::UnixSeconds;
use crate::problem::{Problem, Severity};

/// Exit code when there are errors.
const PROBLEMS: u8 = 1;

/// What to check, and how to say it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CheckArgs {
    /// Order files or folders to check instead of those configured
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Print everything a problem is about, not only the first few
    #[arg(long, short)]
    pub verbose: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Checks orders as of `now`; gives back the exit code: 0 when nothing is refused, warnings or not, else 1.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(settings: &Settings, args: &CheckArgs, out: &mut impl Write, now: UnixSeconds) -> io::Result<u8> {
    let mut settings = settings.clone();
    if !args.paths.is_empty() {
        settings.paths.clone_from(&args.paths);
    }
    let loaded = Loader::new(settings).load();
    let mut problems = loaded.problems.clone();
    problems.extend(lint::lint(&loaded, now));
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let warnings = problems.len() - errors;
    if args.json {
        let report = json!({
            "problems": problems.iter().map(as_json).collect::<Vec<_>>(),
            "orders": loaded.orders,
            "names": loaded.names,
            "refused_orders": loaded.refused_orders,
            "refused_lines": loaded.refused_lines,
            "errors": errors,
            "warnings": warnings,
        });
        writeln!(out, "{report:#}")?;
    } else {
        for problem in &problems {
            writeln!(out, "{problem}")?;
            for detail in problem.details.iter().filter(|_| args.verbose) {
                writeln!(out, "    {detail}")?;
            }
        }
        let counted =
            |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        writeln!(
            out,
            "{} with {}; refused: {}, {}; {}, {}",
            counted(loaded.orders, "order"),
            counted(loaded.names, "name"),
            counted(loaded.refused_orders, "order"),
            counted(loaded.refused_lines, "line"),
            counted(errors, "error"),
            counted(warnings, "warning"),
        )?;
    }
    Ok(if errors > 0 { PROBLEMS } else { 0 })
}

/// A problem for machines.
fn as_json(problem: &Problem) -> Value {
    json!({
        "severity": if problem.severity == Severity::Error { "error" } else { "warning" },
        "file": problem.file,
        "line": problem.line,
        "message": problem.message,
        "hint": problem.hint,
        "details": problem.details,
    })
}
