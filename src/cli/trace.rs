//! `sinkscope trace`: traces made.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Global, Overrides, PROBLEMS, USAGE, say};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::orders::Loader;
use crate::plain;
use crate::trace::Entry;
use crate::trace::make::{Format, Maker, Names, Spec, Writer};

/// Octets written at once.
const BUFFER_LEN: usize = 256 * 1024;

/// Arguments of `sinkscope trace`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub command: Command,
}

/// What can be done with traces.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a trace: the same options and seed make the same trace
    Make(Box<MakeArgs>),
}

/// What stands below the options.
const AFTER: &str = "\
Popular names get what other shares leave; a share of names that there are none of goes to them too. PTR is asked for \
reverse names only. The same options, orders and seed make the same trace on every machine.

Examples:
  sinkscope trace make --count 100000 > trace.txt
  sinkscope trace make --popular top.txt --listed 5% --orders orders/ --format pcap -o trace.pcap";

/// Arguments of `sinkscope trace make`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub struct MakeArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub spec: Spec,
    /// Draw listed names and their neighbours from this file or folder; may be repeated [default: blocklists/]
    #[arg(long, value_name = "PATH")]
    pub orders: Vec<String>,
    /// How many queries
    #[arg(long, value_name = "QUERIES", default_value_t = 1_000_000)]
    pub count: u64,
    /// How to write them
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Where to write them [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Runs what the command line says.
pub fn run(global: &Global, args: Args) -> ExitCode {
    match args.command {
        Command::Make(args) => make(global, *args),
    }
}

/// Makes a trace.
fn make(global: &Global, args: MakeArgs) -> ExitCode {
    let overrides = Overrides { orders: args.orders, ..Overrides::default() };
    let config = match global.load(Some(&overrides)) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let mut maker = match maker(&config, args.spec) {
        Ok(maker) => maker,
        Err(error) => return failed(&error, USAGE),
    };
    let written = match &args.output {
        Some(path) => File::create(path)
            .and_then(|file| write(&mut maker, file, args.format, args.count))
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        None => write(&mut maker, io::stdout().lock(), args.format, args.count),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has gone (`| head`): it has seen what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(&error, PROBLEMS),
    }
}

/// A maker over the configured orders; says what is wrong with them.
///
/// # Errors
/// When the file of popular names, or of zones, is of no use.
pub fn maker(config: &Config, spec: Spec) -> io::Result<Maker> {
    let mut loaded = Loader::new(config.orders.settings.clone()).load();
    let policy = loaded.policy(1);
    say(&loaded.problems);
    let names = Names::gather(&spec, &loaded, &policy, SystemClock::new().now().wall)?;
    if names.listed.is_empty() && spec.listed.0 > 0.0 {
        let hint = "the share of listed names goes to popular ones";
        let _ = writeln!(io::stderr(), "warning: no order captures a name: {hint}");
    }
    if names.siblings.is_empty() && spec.siblings.0 > 0.0 && !names.listed.is_empty() {
        let hint = "the share of neighbours goes to popular ones";
        let _ = writeln!(io::stderr(), "warning: no listed name has an innocent neighbour there: {hint}");
    }
    Ok(Maker::new(spec, names))
}

/// Writes that many queries.
fn write(maker: &mut Maker, out: impl Write, format: Format, count: u64) -> io::Result<()> {
    let mut writer = Writer::new(BufWriter::with_capacity(BUFFER_LEN, out), format)?;
    let mut entry = Entry::default();
    for _ in 0..count {
        maker.make(&mut entry);
        writer.write(&entry)?;
    }
    writer.finish()?;
    Ok(())
}

/// Says what failed.
pub fn failed(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    // Nobody listens on standard error: there is nobody left to tell.
    let _ = writeln!(io::stderr(), "error: {}", plain::escaped(&error.to_string()));
    ExitCode::from(code)
}
