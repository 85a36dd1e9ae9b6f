//! `sinkscope import`: another product's configuration as one of ours.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::remote::counted;
use super::{PROBLEMS, USAGE, say};
use crate::moving::{self, Fate, Moved, Product, Row, write};
use crate::plain::{self, Lines};

/// What to carry over, and where to.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Whose configuration it is
    pub product: Product,
    /// Its file, or the folder it is in
    pub path: PathBuf,
    /// Write sinkscope.toml and its lists into this folder
    #[arg(long, value_name = "DIR", default_value = "imported")]
    pub out: PathBuf,
    /// Write over files that are there
    #[arg(long)]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Carries it over and says what is not as it was: exit code 0, also when something was left out, for that is told.
pub fn run(args: &Args) -> ExitCode {
    let moved = match moving::read(args.product, &args.path) {
        Ok(moved) => moved,
        Err(problem) => {
            say(&[problem]);
            return ExitCode::from(USAGE);
        }
    };
    let files = match write::write(&moved, &args.out, args.force) {
        Ok(files) => files,
        Err(problem) => {
            say(&[problem]);
            return ExitCode::from(PROBLEMS);
        }
    };
    let mut out = Lines::new(io::stdout().lock());
    let told = match args.json {
        true => as_json(&moved, &files, &mut out),
        false => as_table(&moved, &args.out, &files, &mut out),
    };
    // The reader has gone (`| head`); what is written is written.
    if told.is_err() { ExitCode::from(PROBLEMS) } else { ExitCode::SUCCESS }
}

/// Tells programs.
fn as_json(moved: &Moved, files: &[PathBuf], out: &mut impl Write) -> io::Result<()> {
    let report = json!({
        "product": moved.product,
        "carried": moved.carried,
        "rows": moved.rows,
        "more_rows": moved.more,
        "files": files,
    });
    writeln!(out, "{report:#}")
}

/// Tells people.
fn as_table(moved: &Moved, folder: &Path, files: &[PathBuf], out: &mut impl Write) -> io::Result<()> {
    for (fate, heading) in
        [(Fate::Left, "Not carried over:"), (Fate::Differs, "Carried over, and otherwise here:")]
    {
        let rows: Vec<&Row> = moved.rows.iter().filter(|row| row.fate == fate).collect();
        if rows.is_empty() {
            continue;
        }
        writeln!(out, "{heading}")?;
        for row in rows {
            let line = row.place.line.map(|line| format!(":{line}")).unwrap_or_default();
            let more = if row.count > 1 { format!(" (and {} more)", row.count - 1) } else { String::new() };
            writeln!(
                out,
                "  {}{line}: {}{more}",
                plain::escaped(&row.place.file),
                plain::escaped(&row.what)
            )?;
            writeln!(out, "      {}", plain::escaped(&row.why))?;
        }
        writeln!(out)?;
    }
    if moved.more > 0 {
        writeln!(out, "... and {} more rows\n", moved.more)?;
    }
    let left = moved.rows.iter().filter(|row| row.fate == Fate::Left).count() + moved.more;
    writeln!(
        out,
        "{} carried over, {left} not; {} in {}",
        counted(moved.carried, "setting"),
        counted(files.len(), "file"),
        folder.display()
    )?;
    let file = folder.join(write::FILE);
    writeln!(out, "Look at it with: sinkscope check --config {}", file.display())
}
