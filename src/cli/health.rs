//! `sinkscope health`: whether the server does what it should, as an exit code: for containers and whoever watches over a process.

use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::remote::Remote;
use super::{Global, PROBLEMS, USAGE, print, query, say};
use crate::control::api::types::HealthShown;
use crate::control::client::{Client, reachable};
use crate::plain;
use crate::problem::Problem;

/// Arguments of `sinkscope health`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask a query at this address instead, and nothing else [default: only where there is no control API]
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with_all = ["control", "state", "token_file", "json"])]
    pub dns: Option<std::net::SocketAddr>,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub timeout: u64,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub remote: Remote,
}

/// Asks the server, and says how it is: 0 if it is well or what is wrong is elsewhere, 1 if not or if it is not there.
pub fn run(global: &Global, args: Args) -> ExitCode {
    let (dns, control) = match args.dns {
        Some(server) => (server, None),
        None => {
            let config = match global.load(Some(&args.remote.overrides())) {
                Ok(config) => config,
                Err(code) => return code,
            };
            let Some(server) = config.listen.udp.first().copied().map(reachable) else {
                let problem = Problem::error("listen.udp", None, "it listens nowhere");
                say(&[problem.hint("say where to ask: --dns ADDRESS:PORT")]);
                return ExitCode::from(USAGE);
            };
            (server, config.control.listen.map(|address| (address, config.control.token_file)))
        }
    };
    let limit = Duration::from_secs(args.timeout);
    // Whoever does not answer in time is left behind with the process.
    let (told, tells) = mpsc::channel();
    thread::spawn(move || {
        let said = match control {
            Some((address, token_file)) => Client::new(Some(&address), token_file.as_deref())
                .and_then(|client| client.get::<HealthShown>("/v1/health"))
                .map(|health| health.troubles)
                .map_err(|trouble| trouble.failure.error),
            None => query::is_served(dns).map(|()| Vec::new()),
        };
        let _ = told.send(said);
    });
    let late = || Err(format!("no answer within {} seconds", args.timeout));
    match tells.recv_timeout(limit).unwrap_or_else(|_| late()) {
        Ok(troubles) if args.remote.json => {
            let health = HealthShown { well: troubles.is_empty(), troubles };
            print(&format!("{}\n", serde_json::to_string_pretty(&health).unwrap_or_default()));
            ExitCode::SUCCESS
        }
        Ok(troubles) => {
            let lines = troubles.iter().map(|trouble| format!("elsewhere: {}\n", plain::escaped(trouble)));
            print(&format!("well\n{}", lines.collect::<String>()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", plain::escaped(&error));
            ExitCode::from(PROBLEMS)
        }
    }
}
