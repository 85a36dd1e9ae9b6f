//! `sinkscope export`: the policy in force, for other servers.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use clap::builder::PossibleValue;
use indicatif::{ProgressBar, ProgressStyle};

use super::explain::under_statements;
use super::{PROBLEMS, say};
use crate::config::Config;
use crate::name::Name;
use crate::orders::export::{DEFAULT_ORIGIN, Export, Format, Request};
use crate::orders::{self, Loader, names, time};
use crate::problem::Problem;
use crate::time::UnixSeconds;

/// What to export, and where to.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    /// For whom
    #[arg(long, value_name = "FORMAT")]
    pub format: Format,
    /// The time for which the policy is written: 2014-06-30, 2014-06-30T12:00:00Z or Unix seconds [default: now]
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_negative_numbers = true)]
    pub at: Option<UnixSeconds>,
    /// Write here instead of to standard output; what is there is replaced when all is written
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Heed what the journal in this state folder says was stated [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    pub state: Option<String>,
    /// The origin of an RPZ zone
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ORIGIN, value_parser = origin)]
    pub zone: Name,
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Format] {
        &Format::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()))
    }
}

/// Exports the policy as of `now` unless the arguments give a time. Gives back the exit code: 0, or 1 when nothing was
/// written because the export would lack an order or take an innocent name.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(config: &Config, args: &ExportArgs, out: &mut impl Write, now: UnixSeconds) -> io::Result<u8> {
    let loaded = Loader::new(config.orders.settings.clone()).load();
    say(&loaded.problems);
    let shown = args.output.as_ref().map_or("standard output".into(), |path| path.display().to_string());
    let refused = |message: String, hint: &str| {
        say(&[Problem::error(&shown, None, message).hint(hint)]);
        Ok(PROBLEMS)
    };
    if loaded.refused_orders > 0 {
        return refused(
            format!("not written: it would lack {}", counted(loaded.refused_orders as u64, "order")),
            "mend what is said above, or name other --orders",
        );
    }
    let policy = orders::compile(&loaded.zones, &loaded.protected, 1);
    if let Some(one) = policy.left_out().first() {
        let what = one.order.as_deref().unwrap_or("protected names");
        return refused(
            format!("not written: it would lack {what}: {}", one.bound),
            "load fewer or smaller lists",
        );
    }
    let policy = match under_statements(config, policy) {
        Ok(policy) => policy,
        Err(problem) => {
            say(&[*problem]);
            return refused("not written: what was stated at run time is not known".into(), "");
        }
    };
    let request = Request {
        format: args.format,
        at: args.at.unwrap_or(now),
        origin: args.zone,
        listed: loaded.held_orders().map(|held| (held.order.id.clone(), held.names)).collect(),
    };
    drop(loaded);

    // Hidden by itself where there is no terminal.
    let bar = ProgressBar::new(2 * policy.name_count() as u64);
    // The template is constant; a bar without style is still a bar.
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} % {msg}") {
        bar.set_style(style);
    }
    bar.set_message("counting");
    let export = Export::plan(&policy, request, &mut |names| bar.inc(names));
    if export.tally.unspared.total() > 0 {
        bar.finish_and_clear();
        let list: Vec<String> =
            export.tally.unspared.iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
        return refused(
            format!("not written: innocent names would be taken: {}", list.join("; ")),
            "a shorter --zone leaves more room; or take the subtree around them out of its order",
        );
    }
    bar.set_message("writing");
    let mut progress = |names| bar.inc(names);
    let written = match &args.output {
        None => export.write(&mut BufWriter::new(out), &mut progress),
        Some(path) => match replace(path, |file| export.write(file, &mut progress)) {
            Ok(()) => Ok(()),
            Err(error) => {
                bar.finish_and_clear();
                return refused(format!("cannot be written: {error}"), "");
            }
        },
    };
    bar.finish_and_clear();
    written?;
    summary(&export, &shown);
    Ok(0)
}

/// Says on standard error what came of it, so that it stands apart from what is piped on.
fn summary(export: &Export<'_>, shown: &str) {
    let tally = &export.tally;
    let mut err = io::stderr().lock();
    // Nobody listens on standard error: there is nobody left to tell.
    let _ = writeln!(
        err,
        "{shown}: {} of {}",
        counted(tally.lines, "line"),
        counted(export.len() as u64, "name")
    );
    for (counts, what) in tally.said() {
        for (reason, count) in counts.iter() {
            let _ = writeln!(err, "  {what}: {reason}: {count}");
        }
    }
}

/// Writes a file under another name and renames it: nobody reads half of it, and a failure leaves what was there.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = File::create(&part).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.into_inner()?.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&part, path));
    if renamed.is_err() {
        // What stopped the writing is told; that half a file may stay behind is the lesser evil.
        let _ = fs::remove_file(&part);
    }
    renamed
}

/// A number of things.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Reads the origin.
fn origin(text: &str) -> Result<Name, String> {
    names::name(text).map_err(|refused| refused.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit code of exporting a folder with one order, and what was written to `out` in it.
    fn exported(order: &str, format: Format) -> (u8, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("o.toml"), order).unwrap();
        let output = folder.path().join("out");
        let args = ExportArgs {
            format,
            at: Some(0),
            output: Some(output.clone()),
            state: None,
            zone: DEFAULT_ORIGIN.parse().unwrap(),
        };
        let config = crate::config::tests::of_orders(folder.path());
        let code = run(&config, &args, &mut Vec::new(), 1).unwrap();
        assert!(!folder.path().join("out.part").exists());
        (code, fs::read_to_string(output).ok())
    }

    #[test]
    fn what_stands_is_written_whole() {
        let order = "id = \"x\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"a.example\"]\n";
        let (code, text) = exported(order, Format::Hosts);
        let text = text.unwrap();
        assert_eq!(code, 0);
        assert!(text.contains("# order x: 1 name listed\n"), "{text}");
        assert!(text.ends_with("0.0.0.0 a.example\n:: a.example\n"), "{text}");
    }

    #[test]
    fn what_would_lack_an_order_is_not_written() {
        let order = "id = \"x\"\nkind = \"kourt\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"a.example\"]\n";
        assert_eq!(exported(order, Format::Rpz), (PROBLEMS, None));
    }

    #[test]
    fn what_would_take_an_innocent_name_is_not_written() {
        // The exception is longer than a zone below the origin can hold, and its zone is captured.
        let long = ["x".repeat(63), "y".repeat(63), "z".repeat(63), "w".repeat(45)].join(".");
        let order = format!(
            "id = \"x\"\n[[scope]]\nmatch = \"subtree\"\nnames = [\"a.example\"]\nexcept = [\"{long}.a.example\"]\n\
             except_match = \"exact\"\n"
        );
        assert_eq!(exported(&order, Format::Rpz), (PROBLEMS, None));
        assert_eq!(exported(&order, Format::Hosts).0, 0);
    }
}
