//! The command line: one file a subcommand.
//!
//! Exit codes: 0 all is well, 1 problems were found, 2 the command line or the configuration is wrong.

pub mod audit;
pub mod cache;
pub mod check;
pub mod config;
pub mod doctor;
pub mod explain;
pub mod export;
pub mod health;
pub mod impact;
pub mod import;
pub mod lists;
pub mod log;
pub mod order;
pub mod pause;
pub mod query;
mod remote;
pub mod replay;
pub mod report;
pub mod serve;
pub mod shell;
pub mod status;
pub mod top;
pub mod trace;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Flag, FlagValue, Sources};
use crate::daemon;
use crate::plain::{self, Lines};
use crate::problem::Problem;
use crate::time::UnixSeconds;

/// Exit code when problems were found.
pub const PROBLEMS: u8 = 1;
/// Exit code when the command line or the configuration is wrong; clap uses the same.
pub const USAGE: u8 = 2;

/// A caching forwarding DNS resolver that enforces takedown orders to the letter.
///
/// Names inside an order's scope get a sinkhole answer that says which order; everything else resolves as ever.
#[derive(Debug, Parser)]
#[command(name = "sinkscope", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Start with `sinkscope serve`: it needs no configuration.")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every subcommand takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file [default: ./sinkscope.toml if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set any key of the configuration; lists have commas: --set cache.size=128MiB
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

/// Flags for what is set most often.
#[derive(Debug, Default, Args)]
pub struct Overrides {
    /// Where to take queries. Its help stands apart: in a doc comment the brackets would be a link.
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[arg(
        help = "Take queries here, over UDP and TCP; may be repeated [default: 127.0.0.1:5300 and [::1]:5300]"
    )]
    #[arg(long_help = None)]
    pub listen: Vec<String>,
    /// Ask this resolver; may be repeated [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "SERVER")]
    pub upstream: Vec<String>,
    /// Enforce the orders in this file or folder; may be repeated [default: blocklists/]
    #[arg(long, value_name = "PATH")]
    pub orders: Vec<String>,
    /// Keep the compiled orders in this folder, for a fast restart [default: $STATE_DIRECTORY, else nowhere]
    #[arg(long, value_name = "DIR")]
    pub state: Option<String>,
    /// Speak the control API here: unix:PATH, address:port or none [default: control.sock in the state folder, else none]
    #[arg(long, value_name = "ADDRESS")]
    pub control: Option<String>,
    /// Requests to the control API must carry a token of this file
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<String>,
    /// How much to log: error, warn, info, debug, trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// What log lines look like: text, json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// The flag of subcommands that read orders and nothing else.
#[derive(Debug, Args)]
struct OrdersFlag {
    /// Read the orders in this file or folder; may be repeated [default: blocklists/]
    #[arg(long, value_name = "PATH")]
    orders: Vec<String>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Command {
    /// Answer queries
    Serve(serve::Args),
    /// Say what would happen to a query, and why
    Explain {
        #[command(flatten)]
        args: Box<explain::ExplainArgs>,
        #[command(flatten)]
        orders: OrdersFlag,
    },
    /// Ask the running server a question, and say what was behind its answer
    Query(Box<query::Args>),
    /// Write the policy in force for other servers: RPZ, hosts, domains, Unbound, dnsmasq
    Export {
        #[command(flatten)]
        args: Box<export::ExportArgs>,
        #[command(flatten)]
        orders: OrdersFlag,
    },
    /// Validate configuration and orders; every problem with its place and what to do
    Check(check::CheckArgs),
    /// Show what an order would do to recorded queries, before anybody is affected
    Impact {
        #[command(flatten)]
        args: Box<impact::ImpactArgs>,
        #[command(flatten)]
        orders: OrdersFlag,
    },
    /// Carry over what another resolver is told: Pi-hole, AdGuard Home, blocky, Unbound, dnsmasq, dnscrypt-proxy
    Import(import::Args),
    /// Print the configuration in effect, or its JSON schema
    Config(config::Args),
    /// List, show, activate, observe, lift and restore orders on the running server
    #[command(subcommand)]
    Order(order::Command),
    /// Show the sources of lists on the running server, or fetch them now
    Lists(lists::Args),
    /// Show the query log, with colours and filters
    Log(log::LogArgs),
    /// Show what the running server has cached of a name, or forget it
    #[command(subcommand)]
    Cache(cache::Command),
    /// Leave the operator's own lists aside for a while, for a group of clients or everybody
    Pause(pause::PauseArgs),
    /// End a pause
    Resume(pause::ResumeArgs),
    /// Say whether the journal is what was written, and show what is on record
    #[command(subcommand)]
    Audit(audit::Command),
    /// Say how the running server is
    Status(status::Args),
    /// Say by the exit code whether the running server is well, for containers
    Health(health::Args),
    /// Look at this machine: who holds the port, whom it asks, its clock and limits, and say what to change
    Doctor(Box<doctor::Args>),
    /// Show live what the running server is asked: rates, orders, names, clients
    Top(top::Args),
    /// Say who asked for what orders take, when and how often
    Report(Box<report::Args>),
    /// Replay a query trace and measure
    Replay(Box<replay::Args>),
    /// Make query traces
    Trace(trace::Args),
    /// Print a script by which a shell completes commands
    Completions(shell::CompletionsArgs),
    /// Write man pages
    Man(shell::ManArgs),
}

/// The command line as it is declared: what parses it, and what its reference is made of.
pub fn command_line() -> clap::Command {
    Cli::command()
}

/// Runs what the command line says.
pub fn run() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    match command {
        Command::Serve(args) => serve::run(&global, args),
        Command::Explain { args, orders } if args.live => {
            if orders.orders.is_empty() {
                return explain::live(&global, *args);
            }
            say(&[Problem::error("--live", None, "the server has its own orders: leave out --orders")]);
            ExitCode::from(USAGE)
        }
        Command::Explain { args, orders } => {
            let state = args.state.clone();
            let orders = Overrides { orders: orders.orders, state, ..Overrides::default() };
            global.read(&orders, |config, out, now| explain::run(config, &args, out, now))
        }
        Command::Export { args, orders } => {
            let state = args.state.clone();
            let orders = Overrides { orders: orders.orders, state, ..Overrides::default() };
            global.read(&orders, |config, out, now| export::run(config, &args, out, now))
        }
        Command::Check(args) => global.read(&Overrides::default(), |config, out, now| {
            // Orders alone may be for another machine.
            let kept_from = if args.paths.is_empty() { daemon::source_is_ours(config) } else { Ok(()) };
            say(kept_from.as_ref().err().map_or(&[][..], |problems| problems));
            let code = check::run(&config.orders.settings, &config.local, &args, out, now)?;
            Ok(if kept_from.is_ok() { code } else { PROBLEMS })
        }),
        Command::Impact { args, orders } => {
            let orders = Overrides { orders: orders.orders, ..Overrides::default() };
            let recent = match args.recent.then(|| impact::recent(&global, &args)).transpose() {
                Ok(recent) => recent,
                Err(code) => return code,
            };
            global.read(&orders, |config, out, now| impact::run(config, &args, recent.as_ref(), out, now))
        }
        Command::Import(args) => import::run(&args),
        Command::Config(args) => config::run(&global, args),
        Command::Query(args) => query::run(&global, &args),
        Command::Order(command) => order::run(&global, command),
        Command::Lists(args) => lists::run(&global, args),
        Command::Log(args) => log::run(&global, &args),
        Command::Cache(command) => cache::run(&global, command),
        Command::Pause(args) => pause::pause(&global, args),
        Command::Resume(args) => pause::resume(&global, args),
        Command::Audit(command) => audit::run(&global, command),
        Command::Status(args) => status::run(&global, args),
        Command::Top(args) => top::run(&global, &args),
        Command::Report(args) => {
            let overrides = Overrides { state: args.state.clone(), ..Overrides::default() };
            global.read(&overrides, |config, out, now| report::run(config, &args, out, now))
        }
        Command::Replay(args) => replay::run(&global, *args),
        Command::Trace(args) => trace::run(&global, args),
        Command::Health(args) => health::run(&global, args),
        Command::Doctor(args) => doctor::run(&global, &args),
        Command::Completions(args) => shell::completions(command_line(), &args),
        Command::Man(args) => shell::man(command_line(), &args),
    }
}

impl Global {
    /// The configuration in effect under these flags and more.
    ///
    /// # Errors
    /// The exit code, when it cannot be used: what is wrong has been said on standard error.
    pub fn load(&self, overrides: Option<&Overrides>) -> Result<Config, ExitCode> {
        read(&self.sources(overrides))
    }

    /// Where the configuration is read from under these flags and more.
    pub fn sources(&self, overrides: Option<&Overrides>) -> Sources {
        let mut flags = overrides.map(Overrides::flags).unwrap_or_default();
        flags.extend(self.set.iter().map(|(key, value)| flag("--set", key, FlagValue::Text(value.clone()))));
        Sources::system(self.config.clone(), flags)
    }

    /// Runs a subcommand that reads what is configured as of now, and prints.
    fn read(
        &self,
        overrides: &Overrides,
        run: impl FnOnce(&Config, &mut Lines<io::StdoutLock<'_>>, UnixSeconds) -> io::Result<u8>,
    ) -> ExitCode {
        let config = match self.load(Some(overrides)) {
            Ok(config) => config,
            Err(code) => return code,
        };
        say(&config.warnings);
        let mut out = Lines::new(io::stdout().lock());
        match run(&config, &mut out, SystemClock::new().now().wall) {
            Ok(code) => ExitCode::from(code),
            // The reader has gone (`| head`): it has seen what it wanted, yet not all that there is.
            Err(_) => ExitCode::from(PROBLEMS),
        }
    }
}

/// Reads the configuration in effect.
///
/// # Errors
/// The exit code, when it cannot be used: what is wrong has been said on standard error.
pub fn read(sources: &Sources) -> Result<Config, ExitCode> {
    crate::config::load(sources).map_err(|problems| {
        say(&problems);
        ExitCode::from(USAGE)
    })
}

impl Overrides {
    /// The same as keys and values.
    fn flags(&self) -> Vec<Flag> {
        let lists = [
            ("--listen", "listen.udp", &self.listen),
            ("--listen", "listen.tcp", &self.listen),
            ("--upstream", "upstream.servers", &self.upstream),
            ("--orders", "orders.paths", &self.orders),
        ];
        let words = [
            ("--state", "orders.state", &self.state),
            ("--control", "control.listen", &self.control),
            ("--token-file", "control.token_file", &self.token_file),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ];
        let lists = lists.into_iter().filter(|(_, _, items)| !items.is_empty());
        let lists = lists.map(|(name, key, items)| flag(name, key, FlagValue::Items(items.clone())));
        let words = words.into_iter().filter_map(|(name, key, word)| {
            word.as_ref().map(|word| flag(name, key, FlagValue::Text(word.clone())))
        });
        lists.chain(words).collect()
    }
}

/// Says problems on standard error, one after the other.
pub fn say(problems: &[Problem]) {
    let mut out = io::stderr().lock();
    for problem in problems {
        // Nobody listens on standard error: there is nobody left to tell.
        let _ = writeln!(out, "{problem}");
    }
}

/// Prints lines to standard output, and nothing in them that a terminal would act on; a reader that has gone (`| head`) is no
/// failure.
pub fn print(text: &str) {
    let _ = io::stdout().lock().write_all(plain::escaped_lines(text).as_bytes());
}

/// A flag as the configuration takes it.
fn flag(name: &str, key: &str, value: FlagValue) -> Flag {
    Flag { flag: name.to_string(), key: key.to_string(), value }
}

/// Reads `section.key=value`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected section.key=value, such as cache.size=128MiB")?;
    Ok((key.trim().to_string(), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_keys() {
        let args =
            ["sinkscope", "serve", "--listen", "a", "--listen", "b,c", "--log-level=x", "--set", "x.y=1=2"];
        let cli = Cli::try_parse_from(args).unwrap();
        assert_eq!(cli.global.set, [("x.y".to_string(), "1=2".to_string())]);
        let Command::Serve(args) = cli.command else { panic!("not serve") };
        let items = || FlagValue::Items(vec!["a".into(), "b,c".into()]);
        assert_eq!(
            args.overrides.flags(),
            [
                flag("--listen", "listen.udp", items()),
                flag("--listen", "listen.tcp", items()),
                flag("--log-level", "log.level", FlagValue::Text("x".into())),
            ]
        );
    }
}
