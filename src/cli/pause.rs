//! `sinkscope pause` and `sinkscope resume`: the operator's own lists left aside for a while, for a group of clients or everybody.

use std::process::ExitCode;

use super::Global;
use super::remote::Remote;
use crate::control::api::types::{PauseRequest, Pauses, ResumeRequest};
use crate::orders::time;
use crate::plain;

/// Arguments of `sinkscope pause`.
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// The group of clients [default: everybody]
    pub group: Option<String>,
    /// For how long: 90s, 30m, 2h, 1d; a week at most
    #[arg(long = "for", value_name = "DURATION", value_parser = seconds)]
    pub duration: u32,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub why: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub remote: Remote,
}

/// Arguments of `sinkscope resume`.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// The group of clients [default: everybody]
    pub group: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub remote: Remote,
}

/// Pauses.
pub fn pause(global: &Global, args: PauseArgs) -> ExitCode {
    let request = PauseRequest { group: args.group, seconds: args.duration, why: args.why };
    args.remote.run(global, |client| client.post("/v1/pause", &request), show)
}

/// Ends a pause.
pub fn resume(global: &Global, args: ResumeArgs) -> ExitCode {
    let request = ResumeRequest { group: args.group };
    args.remote.run(global, |client| client.post("/v1/resume", &request), show)
}

/// The pauses under way, a line each.
fn show(pauses: &Pauses) -> String {
    if pauses.pauses.is_empty() {
        return "nothing is paused\n".into();
    }
    let line = |pause: &crate::control::api::types::PauseStatus| {
        let group = pause.group.as_deref().unwrap_or("everybody");
        let why = if pause.why.is_empty() { String::new() } else { format!(" ({})", pause.why) };
        let (group, why) = (plain::escaped(group), plain::escaped(&why));
        format!("paused for {group} until {}{why}\n", time::show(pause.until))
    };
    pauses.pauses.iter().map(line).collect()
}

/// Reads a duration: a whole number and a unit.
fn seconds(text: &str) -> Result<u32, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = factor.and_then(|factor| number.parse::<u32>().ok()?.checked_mul(factor));
    seconds.filter(|seconds| *seconds > 0).ok_or_else(|| "write a number and a unit: 90s, 30m, 2h, 1d".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, expected) in
            [("90s", Some(90)), ("30m", Some(1800)), ("2h", Some(7200)), ("1d", Some(86_400))]
        {
            assert_eq!(seconds(text).ok(), expected);
        }
        for bad in ["", "m", "0m", "30", "1.5h", "99999999d", "-1m"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
