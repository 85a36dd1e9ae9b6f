//! `sinkscope query`: asks the running server a question as any client does, and says what was behind the answer.

mod exchange;
mod reply;

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use self::exchange::{Exchange, Question};
use self::reply::{Record, Reply};
use super::explain::{parse_name, parse_type};
use super::remote::Remote;
use super::status::standing;
use super::{Global, PROBLEMS, USAGE, print, say};
use crate::config::Config;
use crate::control::api::types::{Capture, Explained, Status};
use crate::control::client::{Client, reachable, segment};
use crate::iana::{Rcode, Rtype};
use crate::name::Name;
use crate::problem::Problem;

/// The port of DNS (RFC 1035 §4.2).
const PORT: u16 = 53;
/// Why a server that is named is not asked for what is behind its answers.
const ANOTHER: &str =
    "not asked for: the server is another one than the configured (--control ADDRESS says where to ask)";

/// What to ask, and how to say what came.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name to ask for: any case, A-labels or U-labels
    #[arg(value_parser = parse_name)]
    pub name: Name,
    /// The type to ask for
    #[arg(value_name = "TYPE", default_value = "A", value_parser = parse_type)]
    pub qtype: Rtype,
    /// Ask this server: an address, with a port or at port 53 [default: the first of listen.udp, with --tcp of listen.tcp]
    #[arg(long, value_name = "ADDRESS", value_parser = parse_server)]
    pub server: Option<SocketAddr>,
    /// Ask by TCP [default: by UDP, and by TCP when the answer is truncated]
    #[arg(long)]
    pub tcp: bool,
    /// Ask for signatures (DO)
    #[arg(long)]
    pub dnssec: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub remote: Remote,
}

/// Asks a server for a name that it answers by itself, whatever its upstreams do (RFC 6761 §6.3).
///
/// # Errors
/// Why it serves nobody.
pub(super) fn is_served(server: SocketAddr) -> Result<(), String> {
    let name = "localhost".parse().map_err(|_| "no name".to_owned())?;
    let question = Question { name, qtype: Rtype::A, dnssec_ok: false };
    let exchange = exchange::ask(&question, server, false).map_err(|why| format!("{server}: {why}"))?;
    match Reply::read(&exchange.reply).map(|reply| reply.rcode) {
        Some(Rcode::SERVFAIL) => Err(format!("{server} answers SERVFAIL: it is not ready yet")),
        Some(_) => Ok(()),
        None => Err(format!("{server}: the reply cannot be read")),
    }
}

/// Asks and prints. The exit code is 0 if there is an answer to the question, 1 if there is none.
pub fn run(global: &Global, args: &Args) -> ExitCode {
    let config = match global.load(Some(&args.remote.overrides())) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let Some(server) = args.server.or_else(|| listener(&config, args.tcp)) else {
        let hint = "give it one (`listen.udp`, `listen.tcp`), or say --server ADDRESS";
        say(&[Problem::error("query", None, "the configuration has no listener with a port").hint(hint)]);
        return ExitCode::from(USAGE);
    };
    let question = Question { name: args.name, qtype: args.qtype, dnssec_ok: args.dnssec };
    // What is foreseen is asked for before: afterwards everything is cached.
    let behind = exchange::own_address(server).map_or_else(
        |error| Behind { unknown: Some(error.to_string()), ..Behind::default() },
        |own| Behind::ask(args, &config, own),
    );
    let exchange = match exchange::ask(&question, server, args.tcp) {
        Ok(exchange) => exchange,
        Err(error) => {
            let hint = "is it running? `sinkscope status` says how it is; --server ADDRESS asks elsewhere";
            say(&[Problem::error(server.to_string(), None, error).hint(hint)]);
            return ExitCode::from(PROBLEMS);
        }
    };
    let Some(reply) = Reply::read(&exchange.reply) else {
        say(&[Problem::error(server.to_string(), None, "the reply cannot be read")]);
        return ExitCode::from(PROBLEMS);
    };
    let shown = Shown::of(args, &exchange, reply, behind);
    let text = if args.remote.json {
        format!("{}\n", serde_json::to_string_pretty(&shown).unwrap_or_default())
    } else {
        shown.text()
    };
    print(&text);
    if shown.status == Rcode::NOERROR.to_string() && !shown.answer.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(PROBLEMS)
    }
}

/// Where the configured server listens, as this machine reaches it.
fn listener(config: &Config, tcp: bool) -> Option<SocketAddr> {
    let addrs = if tcp { &config.listen.tcp } else { &config.listen.udp };
    addrs.iter().copied().find(|addr| addr.port() != 0).map(reachable)
}

/// Reads a server's address.
fn parse_server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let alone = || bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
    text.parse().or_else(|_| alone()).map_err(|_| "write 192.0.2.1, 127.0.0.1:5300 or [::1]:5300".to_owned())
}

/// What the control API knows of a query that is about to be asked.
#[derive(Default)]
struct Behind {
    explained: Option<Explained>,
    /// Who would be asked, each with how it is.
    upstreams: Vec<Asked>,
    /// Why nothing is known.
    unknown: Option<String>,
}

impl Behind {
    /// Asks what would become of a query from this address.
    fn ask(args: &Args, config: &Config, own: IpAddr) -> Behind {
        let unknown = |why: String| Behind { unknown: Some(why), ..Behind::default() };
        if args.server.is_some() && args.remote.control.is_none() && args.remote.state.is_none() {
            return unknown(ANOTHER.to_owned());
        }
        let client = Client::new(config.control.listen.as_ref(), config.control.token_file.as_deref());
        let path = format!(
            "/v1/explain?name={}&type={}&client={}",
            segment(&args.name.to_string()),
            args.qtype,
            segment(&own.to_string())
        );
        let explained = client.and_then(|client| Ok((client.get::<Explained>(&path)?, client)));
        let (explained, client) = match explained {
            Ok(explained) => explained,
            Err(trouble) => return unknown(trouble.failure.error),
        };
        // How they are is worth a look, and no reason to fail.
        let status =
            if explained.asked_of.is_empty() { None } else { client.get::<Status>("/v1/status").ok() };
        let upstreams = status.iter().flat_map(|status| &status.upstreams);
        let asked = |server: &String| {
            let shown = upstreams.clone().find(|one| one.server == *server);
            Asked { server: server.clone(), up: shown.map(|one| one.up), state: shown.map(standing) }
        };
        let upstreams = explained.asked_of.iter().map(asked).collect();
        Behind { explained: Some(explained), upstreams, unknown: None }
    }
}

/// An upstream that is asked for a name.
#[derive(Serialize)]
struct Asked {
    /// Its address, as configured.
    server: String,
    /// Whether it answers, if that is known.
    up: Option<bool>,
    /// The same in words.
    state: Option<String>,
}

/// All there is to say, in the order of JSON's keys.
#[derive(Serialize)]
struct Shown<'a> {
    name: String,
    #[serde(rename = "type")]
    qtype: String,
    server: SocketAddr,
    transport: &'static str,
    status: String,
    flags: Vec<&'static str>,
    /// Where the answer came from; none if nobody says.
    source: Option<String>,
    /// Why nobody says.
    source_unknown: Option<String>,
    verdict: Option<String>,
    /// The order that decided.
    order: Option<Capture>,
    upstreams: Vec<Asked>,
    notes: Vec<String>,
    time_us: u64,
    octets: usize,
    ede: Vec<reply::Error>,
    answer: Vec<Record>,
    authority: Vec<Record>,
    additional: Vec<Record>,
    #[serde(skip)]
    exchange: &'a Exchange,
}

impl<'a> Shown<'a> {
    /// Puts together what came and what is known of it.
    fn of(args: &Args, exchange: &'a Exchange, reply: Reply, behind: Behind) -> Shown<'a> {
        let Reply { rcode, flags, ede, sections: [answer, authority, additional] } = reply;
        let Behind { explained, upstreams, unknown } = behind;
        // What nobody knew before has been asked for, or it could not be had.
        let asked = if rcode == Rcode::SERVFAIL { "failed" } else { "fetched" };
        let source = |explained: &Explained| explained.source.clone().unwrap_or_else(|| asked.to_owned());
        let order = explained.as_ref().and_then(|explained| {
            explained
                .captures
                .iter()
                .find(|capture| Some(&capture.order) == explained.order.as_ref())
                .cloned()
        });
        Shown {
            name: args.name.to_string(),
            qtype: args.qtype.to_string(),
            server: exchange.server,
            transport: if exchange.by_tcp { "tcp" } else { "udp" },
            status: rcode.to_string(),
            flags,
            source: explained.as_ref().map(source),
            source_unknown: unknown,
            verdict: explained.as_ref().map(|explained| explained.verdict.clone()),
            order,
            upstreams,
            notes: explained.map(|explained| explained.notes).unwrap_or_default(),
            time_us: u64::try_from(exchange.took.as_micros()).unwrap_or(u64::MAX),
            octets: exchange.reply.len(),
            ede,
            answer,
            authority,
            additional,
            exchange,
        }
    }

    /// The same in lines for people.
    fn text(&self) -> String {
        let mut text = format!("{} {} at {}\n", self.name, self.qtype, self.server);
        let mut line = |key: &str, value: &str| {
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(text, "  {key:<10}{}", crate::plain::escaped(value));
        };
        line("status", &format!("{} ({})", self.status, self.flags.join(" ")));
        match (&self.source, &self.source_unknown) {
            (Some(source), _) => line("source", source),
            (None, Some(why)) => line("source", &format!("not known: {why}")),
            (None, None) => {}
        }
        if let Some(Capture { order, title, kind, action, trigger, matched, .. }) = &self.order {
            line("order", &format!("{order} ({title}): {kind}, {action}, {trigger} ({matched})"));
        }
        for Asked { server, state, .. } in &self.upstreams {
            line(
                "upstream",
                &state.as_ref().map_or_else(|| server.clone(), |state| format!("{server} {state}")),
            );
        }
        for error in &self.ede {
            line("ede", &error.to_string());
        }
        let Exchange { took, retried, by_tcp, .. } = self.exchange;
        let way = match (by_tcp, retried) {
            (true, true) => "by TCP, for it was truncated by UDP",
            (true, false) => "by TCP",
            (false, _) => "by UDP",
        };
        line("time", &format!("{}, {way}, {} octets", millis(*took), self.octets));
        for note in &self.notes {
            line("note", note);
        }
        let sections =
            [("answer", &self.answer), ("authority", &self.authority), ("additional", &self.additional)];
        for (section, records) in sections.into_iter().filter(|(_, records)| !records.is_empty()) {
            let _ = writeln!(text, "{section}");
            text.push_str(&reply::lines(records));
        }
        text
    }
}

/// Milliseconds with a digit behind the point.
fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_a_port_or_that_of_dns() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:5300", "192.0.2.1:5300"),
            ("::1", "[::1]:53"),
            ("[::1]", "[::1]:53"),
            ("[::1]:5300", "[::1]:5300"),
        ] {
            assert_eq!(parse_server(text), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "localhost", "192.0.2.1:", "192.0.2", "[::1"] {
            assert!(parse_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_told_in_milliseconds() {
        assert_eq!(
            [millis(Duration::from_micros(123)), millis(Duration::from_millis(2500))],
            ["0.1 ms", "2500.0 ms"]
        );
    }
}
