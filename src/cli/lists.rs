//! `sinkscope lists`: the sources of lists on the running server, and fetching them now.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Global;
use super::remote::{Remote, counted, table};
use crate::control::api::types::{ListStatus, Lists, RefreshRequest, Refreshing};
use crate::control::client::{Client, Trouble};

/// Between two looks at lists that are being fetched.
const LOOK: Duration = Duration::from_millis(200);

/// Arguments of `sinkscope lists`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub command: Option<Command>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub remote: Remote,
}

/// What to do with lists.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Fetch a list now, or all of them, and wait until that is done
    Refresh {
        /// The list's name
        name: Option<String>,
        /// Take a copy even if it has lost more than half of its entries
        #[arg(long)]
        allow_shrink: bool,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would take a comment here for help text")]
        remote: Remote,
    },
}

/// Asks the server and prints.
pub fn run(global: &Global, args: Args) -> ExitCode {
    match args.command {
        None => args.remote.run(global, |client| client.get("/v1/lists"), show),
        Some(Command::Refresh { name, allow_shrink, remote }) => {
            let request = RefreshRequest { name, allow_shrink };
            remote.run(global, |client| refresh(client, request), show)
        }
    }
}

/// Has lists fetched and waits for them, with a bar on a terminal.
fn refresh(client: &Client, request: RefreshRequest) -> Result<Lists, Trouble> {
    let Refreshing { lists: wanted } = client.post("/v1/lists/refresh", &request)?;
    let bar = ProgressBar::with_draw_target(Some(wanted.len() as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} lists, {msg}") {
        bar.set_style(style);
    }
    loop {
        let mut lists: Lists = client.get("/v1/lists")?;
        lists.lists.retain(|list| wanted.contains(&list.name));
        let under_way: Vec<&str> =
            lists.lists.iter().filter(|list| list.refreshing).map(|list| list.name.as_str()).collect();
        bar.set_position((wanted.len() - under_way.len().min(wanted.len())) as u64);
        bar.set_message(under_way.join(", "));
        if under_way.is_empty() {
            bar.finish_and_clear();
            return Ok(lists);
        }
        sleep(LOOK);
    }
}

/// Lists as a table.
fn show(lists: &Lists) -> String {
    let row = |list: &ListStatus| {
        vec![
            list.name.clone(),
            if list.refreshing { "fetching".into() } else { list.state.clone() },
            list.age_s.map_or("never".into(), duration),
            list.next_s.map_or(String::new(), duration),
            list.entries.to_string(),
            list.refused.to_string(),
            list.read_as.clone(),
            list.last_error.clone(),
        ]
    };
    if lists.lists.is_empty() {
        return "no lists are configured\n".into();
    }
    let rows: Vec<Vec<String>> = lists.lists.iter().map(row).collect();
    let failed = lists.lists.iter().filter(|list| !list.last_error.is_empty()).count();
    let text =
        table(&["LIST", "STATE", " AGE", " NEXT", " ENTRIES", " REFUSED", "READ AS", "LAST ERROR"], &rows);
    if failed == 0 {
        text
    } else {
        format!("{text}{} failed: the last good copy serves\n", counted(failed, "list"))
    }
}

/// A duration in its two greatest units.
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        for (seconds, shown) in [(0, "0s"), (59, "59s"), (61, "1m01s"), (3600, "1h00m"), (90_000, "1d01h")] {
            assert_eq!(duration(seconds), shown);
        }
    }
}
