//! `sinkscope explain`: what would happen to a name, and why.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::remote::Remote;
use super::{Global, PROBLEMS, say};
use crate::clients::Clients;
use crate::config::Config;
use crate::control::api::types::{Capture, Explained};
use crate::control::client::segment;
use crate::control::journal::Journal;
use crate::control::local_files;
use crate::dns::{Query, Question};
use crate::iana::{Class, Rtype};
use crate::name::Name;
use crate::orders::explain::{Explanation, Fate, LOOKS_AT_ANSWERS, Match, answer, explain};
use crate::orders::locate::place;
use crate::orders::{Loader, names, time};
use crate::policy::{Action, Asker, Order, Policy, Verdict, View};
use crate::problem::Problem;
use crate::time::UnixSeconds;
use crate::upstream::{Ask, Forwarder};

/// What is suggested to who writes a type that is none: those that people ask for.
const SUGGESTED: &str = "A, NS, CNAME, SOA, PTR, HINFO, MX, TXT, AAAA, LOC, SRV, NAPTR, CERT, DNAME, DS, SSHFP, \
     RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, TLSA, CDS, CDNSKEY, OPENPGPKEY, SVCB, HTTPS, SPF, ANY, URI, CAA, AXFR";

/// What to explain, and how to say it.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    /// The name asked for: any case, A-labels or U-labels
    #[arg(value_parser = parse_name)]
    pub name: Name,
    /// The type asked for
    #[arg(long = "type", short = 't', value_name = "TYPE", default_value = "A", value_parser = parse_type)]
    pub qtype: Rtype,
    /// The client that asks [default: anybody, whom all policy zones concern]
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<IpAddr>,
    /// The time of the query: 2014-06-30, 2014-06-30T12:00:00Z or Unix seconds [default: now]
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_negative_numbers = true)]
    pub at: Option<UnixSeconds>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Ask the running server, which knows what was stated and is paused now
    #[arg(long)]
    pub live: bool,
    /// Reach it here: unix:PATH or address:port [default: control.listen of the configuration]
    #[arg(long, value_name = "ADDRESS", requires = "live")]
    pub control: Option<String>,
    /// Heed what the journal in this state folder says was stated; with --live, reach the server by its control.sock
    #[arg(long, value_name = "DIR", conflicts_with = "control")]
    pub state: Option<String>,
    /// Send the first token of this file [default: control.token_file of the configuration]
    #[arg(long, value_name = "FILE", requires = "live")]
    pub token_file: Option<PathBuf>,
}

/// Has the running server explain.
pub fn live(global: &Global, args: ExplainArgs) -> ExitCode {
    let ExplainArgs { name, qtype, client, at, json, control, state, token_file, .. } = args;
    let mut path = format!("/v1/explain?name={}&type={}", segment(&name.to_string()), qtype);
    path.extend(client.map(|client| format!("&client={client}")));
    path.extend(at.map(|at| format!("&at={at}")));
    let remote = Remote { control, state, token_file, json };
    remote.run(global, |client| client.get(&path), explained)
}

/// What the server says, in lines for people.
fn explained(explained: &Explained) -> String {
    let mut text = format!("{} {} at {}\n", explained.name, explained.qtype, explained.at);
    let mut line = |key: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {key:<12}{value}\n"));
        }
    };
    line("answer", &explained.answer);
    if let Some(client) = explained.client {
        let paused = if explained.paused { ", paused" } else { "" };
        line("client", &format!("{client} (group {}{paused})", explained.group));
    } else if explained.paused {
        line("paused", "for everybody");
    }
    line("source", explained.source.as_deref().unwrap_or_default());
    line("asked of", &explained.asked_of.join(", "));
    line("order", explained.order.as_deref().unwrap_or_default());
    for capture in &explained.captures {
        let Capture { order, title, kind, action, trigger, matched, zone, .. } = capture;
        text.push_str(&format!(
            "{order} ({title}): {kind}, {action}, {trigger} ({matched}), policy zone {}\n",
            zone + 1
        ));
        text.push_str(&format!("    {}\n", capture.fate));
        for statement in &capture.statements {
            text.push_str(&format!("    stated: {}\n", super::order::stated(statement)));
        }
    }
    for note in &explained.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// Explains one query as of `now` unless the arguments give a time. Gives back the exit code, 0.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(config: &Config, args: &ExplainArgs, out: &mut impl Write, now: UnixSeconds) -> io::Result<u8> {
    let mut loaded = Loader::new(config.orders.settings.clone()).load();
    let compiled = loaded.policy(1);
    let policy = match under_statements(config, compiled) {
        Ok(policy) => policy,
        Err(problem) => {
            say(&[*problem]);
            return Ok(PROBLEMS);
        }
    };
    let at = args.at.unwrap_or(now);
    let clients = Clients::new(&config.clients);
    let group = args.client.map(|client| clients.group_of(client));
    let view = group.map_or(View::ALL, |group| clients.view(group, at));
    let asker = Asker { view: &view, client: args.client, qtype: args.qtype, ..Asker::ANYBODY };
    let explanation = explain(&loaded, &policy, &asker, &args.name, at);
    let group = group.and_then(|group| clients.name(group));
    let errors = loaded.problems.iter().filter(|problem| problem.is_error()).count();
    let asked_of = asked_of(config, &explanation, args, group, at);
    if args.json {
        writeln!(out, "{:#}", as_json(&explanation, args, (group, &asked_of), at, errors))?;
    } else {
        as_text(out, &explanation, args, (group, &asked_of), at, loaded.zones.len())?;
        for note in notes(config, &policy) {
            writeln!(out, "note: {note}")?;
        }
        if args.client.is_some_and(|client| clients.filters(client, args.qtype)) {
            writeln!(
                out,
                "note: {} is filtered for this client: no data, unless an order answers",
                args.qtype
            )?;
        }
        if errors > 0 {
            let s = if errors == 1 { "" } else { "s" };
            writeln!(out, "note: the orders have {errors} error{s}; see sinkscope check")?;
        }
    }
    Ok(0)
}

/// A policy under what stands by the journal of the configured state folder, if there is one.
///
/// # Errors
/// Why that cannot be told.
pub fn under_statements(config: &Config, policy: Policy) -> Result<Policy, Box<Problem>> {
    let Some(folder) = &config.orders.state else { return Ok(policy) };
    Ok(match Journal::look(folder)? {
        Some(stated) => policy.with_overrides(&stated.overrides(), 2),
        None => policy,
    })
}

/// Who is asked, where questions go more than one way; nobody for what is answered here.
fn asked_of(
    config: &Config,
    explanation: &Explanation<'_>,
    args: &ExplainArgs,
    group: Option<&str>,
    at: UnixSeconds,
) -> Vec<String> {
    let (ExplainArgs { name, qtype, .. }, upstream) = (args, &config.upstream);
    let question = Question {
        qname: *name,
        qtype: *qtype,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
        asked_for: None,
    };
    let here = local_files::names(&config.local, &config.special, at);
    let is_local = here.look(&Query::plain(name, *qtype, &question.octets())).is_some();
    if (upstream.forwards.is_empty() && upstream.routes.is_empty())
        || is_local
        || matches!(explanation.verdict, Verdict::Act(..))
    {
        return Vec::new();
    }
    Forwarder::new(upstream.clone()).of(group).asked_of(&question)
}

/// What else there is to know, a sentence each.
fn notes(config: &Config, policy: &Policy) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if policy.looks_at_answers() {
        notes.push(LOOKS_AT_ANSWERS);
    }
    if config.orders.state.is_none() && config.control.listen.is_some() {
        notes.push("what was stated at run time is not known here; `--live` asks the server");
    }
    notes
}

/// Says it in lines for people.
fn as_text(
    out: &mut impl Write,
    explanation: &Explanation<'_>,
    args: &ExplainArgs,
    (group, asked_of): (Option<&str>, &[String]),
    at: UnixSeconds,
    zones: usize,
) -> io::Result<()> {
    writeln!(out, "{} {} at {}", args.name, args.qtype, time::show(at))?;
    let mut line = |key: &str, value: &str| writeln!(out, "  {key:<12}{value}");
    line("answer", &answer(&explanation.verdict, args.qtype, !explanation.matches.is_empty()))?;
    if let Some(client) = args.client {
        line("client", &format!("{client} (group {})", group.unwrap_or_default()))?;
    }
    if !asked_of.is_empty() {
        line("asked of", &asked_of.join(", "))?;
    }
    if let Some(protection) = &explanation.protection {
        line("protected", &format!("{} ({})", protection.name, protection.kind))?;
        line("listed at", &place(&protection.file, protection.line))?;
    }
    let (decisive, others) = split(explanation);
    if let Some(found) = decisive {
        let order = found.order;
        line("order", &format!("{} ({})", order.id, order.title))?;
        line("kind", order.authority.kind.as_str())?;
        let authority = &order.authority;
        let given = [
            ("issuer", &authority.issuer),
            ("court", &authority.court),
            ("docket", &authority.docket),
            ("family", &found.scope.family),
        ];
        for (key, value) in given {
            value.as_ref().map_or(Ok(()), |value| line(key, value))?;
        }
        line("trigger", &trigger(found))?;
        line("listed at", &place(&found.scope.source, found.line))?;
        line("policy zone", &format!("{} of {zones}: {}", found.zone + 1, found.zone_name))?;
        line("precedence", &precedence(found, others))?;
        let given = [
            ("in force", &in_force(order, found)),
            ("contact", &order.contact),
            ("why", &order.justification),
        ];
        for (key, value) in given {
            value.as_ref().map_or(Ok(()), |value| line(key, value))?;
        }
    }
    if !others.is_empty() {
        writeln!(out, "{}", if decisive.is_some() { "also listed" } else { "listed, without effect" })?;
    }
    for other in others {
        let Match { order, scope, action, .. } = other;
        writeln!(out, "  {} ({}): {action} {}", order.id, order.title, trigger(other))?;
        writeln!(out, "    {}", place(&scope.source, other.line))?;
        writeln!(out, "    {}", other.fate)?;
    }
    Ok(())
}

/// What matched, and how.
fn trigger(found: &Match<'_>) -> String {
    match found.pattern {
        Some(pattern) => format!("{pattern} (pattern)"),
        None => format!("{} ({})", found.trigger, found.scope.kind),
    }
}

/// Says it with stable keys for machines.
fn as_json(
    explanation: &Explanation<'_>,
    args: &ExplainArgs,
    (group, asked_of): (Option<&str>, &[String]),
    at: UnixSeconds,
    errors: usize,
) -> Value {
    let (decisive, others) = split(explanation);
    json!({
        "name": args.name.to_string(),
        "type": args.qtype.to_string(),
        "client": args.client.map(|client| client.to_string()),
        "group": group,
        "asked_of": asked_of,
        "at": at,
        "verdict": explanation.verdict.as_str(),
        "answer": answer(&explanation.verdict, args.qtype, !explanation.matches.is_empty()),
        "ttl": explanation.verdict.hit().filter(|hit| is_forged(hit.action)).map(|hit| hit.ttl_s()),
        "precedence": decisive.map(|found| precedence(found, others)),
        "protected_by": explanation.protection.as_ref().map(|protection| json!({
            "name": protection.name.to_string(),
            "match": protection.kind.as_str(),
            "file": protection.file,
            "line": protection.line,
        })),
        "decides": decisive.map(match_json),
        "also": others.iter().map(match_json).collect::<Vec<_>>(),
        "errors": errors,
    })
}

/// A match for machines.
fn match_json(found: &Match<'_>) -> Value {
    let Match { order, scope, .. } = found;
    json!({
        "order": order.id,
        "title": order.title,
        "kind": order.authority.kind.as_str(),
        "issuer": order.authority.issuer.as_deref().unwrap_or_default(),
        "docket": order.authority.docket.as_deref().unwrap_or_default(),
        "family": scope.family.as_deref().unwrap_or_default(),
        "action": found.action.as_str(),
        "trigger": found.trigger.to_string(),
        "pattern": found.pattern,
        "match": scope.kind.as_str(),
        "file": scope.source,
        "line": found.line,
        "policy_zone": found.zone,
        "policy_zone_name": found.zone_name,
        "fate": found.fate.as_str(),
        "reason": found.fate.to_string(),
    })
}

/// The match that decides, and the others.
fn split<'e, 'a>(explanation: &'e Explanation<'a>) -> (Option<&'e Match<'a>>, &'e [Match<'a>]) {
    match explanation.matches.split_first() {
        Some((first, others)) if first.fate == Fate::Decides => (Some(first), others),
        _ => (None, &explanation.matches),
    }
}

/// Whether answers under an action are made here and so have a TTL of ours.
fn is_forged(action: Action) -> bool {
    matches!(action, Action::SINKHOLE | Action::NODATA | Action::NXDOMAIN)
}

/// Why the decisive match comes first.
fn precedence(found: &Match<'_>, others: &[Match<'_>]) -> String {
    let rivals = others.iter().filter(|other| matches!(other.fate, Fate::Outranked(_))).count();
    if found.action == Action::Passthru {
        return "a passthru comes before every other order".into();
    }
    match rivals {
        0 => "nothing else in force captures it".into(),
        1 => "comes before 1 other in force, see below".into(),
        _ => format!("comes before {rivals} others in force, see below"),
    }
}

/// Since when and until when the match is in force, empty for always.
fn in_force(order: &Order, found: &Match<'_>) -> Option<String> {
    let window = order.window.intersect(&found.scope.window);
    let lifts = order.lifts.iter().filter(|lift| {
        lift.zones.is_empty() || lift.zones.iter().any(|zone| found.trigger.is_at_or_below(zone))
    });
    let until = lifts.filter_map(|lift| lift.at).chain(window.expires).min();
    match (window.effective, until) {
        (None, None) => None,
        (Some(from), None) => Some(format!("since {}", time::show(from))),
        (None, Some(until)) => Some(format!("until {}", time::show(until))),
        (Some(from), Some(until)) => Some(format!("from {} until {}", time::show(from), time::show(until))),
    }
}

/// Reads the name to explain.
pub(super) fn parse_name(text: &str) -> Result<Name, String> {
    if text == "." {
        return Ok(Name::ROOT);
    }
    names::name(text).map_err(|refused| refused.to_string())
}

/// Reads a type by name or number.
pub(super) fn parse_type(text: &str) -> Result<Rtype, String> {
    text.parse().map_err(|_| format!("unknown type \"{text}\": write {SUGGESTED} or TYPE123"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::fs;

    /// The arguments as the command line reads them.
    #[derive(Parser)]
    struct Line {
        /// The arguments.
        #[command(flatten)]
        args: ExplainArgs,
    }

    /// What is said of a query to two orders, as of 2020-01-01.
    fn explained(words: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("names.txt", "# sample\n0.0.0.0 evil.ddns.net\nb\u{fc}cher.ddns.net\n");
        write(
            "a.toml",
            "id = \"a\"\ntitle = \"Court order\"\nkind = \"court\"\ndocket = \"1:23\"\neffective = 2019-01-01\n\
             [[scope]]\nmatch = \"exact\"\nfile = \"names.txt\"\nfamily = \"njrat\"\n",
        );
        write(
            "b.toml",
            "id = \"b\"\naction = \"nodata\"\n[[scope]]\nmatch = \"subtree\"\nnames = [\"ddns.net\"]\n[[scope]]\n\
             match = \"exact\"\nnames = [\"old.ddns.net\"]\nexpires = 2018-01-01\n",
        );
        let b = fs::read_to_string(folder.path().join("b.toml")).unwrap();
        write("b.toml", &format!("allow_public_suffix = true\n{b}"));
        let args = Line::try_parse_from([&["explain"], words].concat()).unwrap().args;
        let config = crate::config::tests::of_orders(folder.path());
        let mut out = Vec::new();
        assert_eq!(run(&config, &args, &mut out, 1_577_836_800).unwrap(), 0);
        String::from_utf8(out).unwrap().replace(&folder.path().display().to_string(), "DIR")
    }

    #[test]
    fn a_captured_name_is_explained_in_full() {
        assert_eq!(
            explained(&["EVIL.ddns.net.", "--client", "192.0.2.7"]),
            "evil.ddns.net A at 2020-01-01
  answer      sinkhole, A 0.0.0.0, TTL 10 s
  client      192.0.2.7 (group default)
  order       a (Court order)
  kind        court
  docket      1:23
  family      njrat
  trigger     evil.ddns.net (exact)
  listed at   DIR/names.txt:2
  policy zone 1 of 1: DIR
  precedence  comes before 1 other in force, see below
  in force    since 2019-01-01
also listed
  b (b): nodata ddns.net (subtree)
    DIR/b.toml:6
    a closer enclosing trigger comes first
"
        );
    }

    #[test]
    fn other_verdicts_in_a_line() {
        for (words, expected) in [
            (&["example.com"][..], "answer      the truth: no order lists it"),
            (&["evil.ddns.net", "-t", "aaaa"], "answer      sinkhole, AAAA ::, TTL 10 s"),
            (&["evil.ddns.net", "-t", "TXT"], "answer      sinkhole, NODATA, TTL 10 s"),
            (
                &["evil.ddns.net", "--at", "2018-06-01"],
                "answer      NODATA (the name exists, without records), TTL 10 s",
            ),
            (&["evil.ddns.net", "--at", "2018-06-01"], "    not in force before 2019-01-01"),
            (&["old.ddns.net"], "    expired on 2018-01-01"),
            (&["b\u{fc}cher.ddns.net"], "listed at   DIR/names.txt:3"),
        ] {
            let out = explained(words);
            assert!(out.contains(expected), "{words:?}: {out}");
        }
    }

    #[test]
    fn json_has_the_same() {
        let report: Value = serde_json::from_str(&explained(&["evil.ddns.net", "--json"])).unwrap();
        for (pointer, expected) in [
            ("/name", json!("evil.ddns.net")),
            ("/type", json!("A")),
            ("/at", json!(1_577_836_800)),
            ("/verdict", json!("sinkhole")),
            ("/ttl", json!(10)),
            ("/decides/order", json!("a")),
            ("/decides/file", json!("DIR/names.txt")),
            ("/decides/line", json!(2)),
            ("/decides/match", json!("exact")),
            ("/also/0/order", json!("b")),
            ("/also/0/fate", json!("outranked")),
            ("/errors", json!(0)),
        ] {
            assert_eq!(report.pointer(pointer), Some(&expected), "{pointer}");
        }
    }

    #[test]
    fn what_is_suggested_is_a_type() {
        assert!(
            SUGGESTED.split(", ").all(|name| parse_type(name).is_ok_and(|rtype| rtype.name() == Some(name)))
        );
    }

    #[test]
    fn bad_arguments_are_refused() {
        for words in [
            &["a..b"][..],
            &["a.example", "--type", "AAA"],
            &["a.example", "--at", "noon"],
            &["a.example", "--client", "1.2.3"],
            &["*.a.example"],
        ] {
            assert!(Line::try_parse_from([&["explain"], words].concat()).is_err(), "{words:?}");
        }
    }
}
