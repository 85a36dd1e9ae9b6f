//! `sinkscope explain`: what would happen to a name, and why.

use std::io::{self, Write};
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::orders::explain::{Explanation, Fate, Match, explain};
use crate::orders::locate::place;
use crate::orders::{self, Loader, Settings, names, time};
use crate::policy::{Action, Name, Order, UnixSeconds, Verdict};

/// Types that have a name here; any other is written TYPE123 (RFC 3597 §5).
const TYPES: [&str; 27] = [
    "A",
    "AAAA",
    "ANY",
    "CAA",
    "CNAME",
    "DNAME",
    "DNSKEY",
    "DS",
    "HINFO",
    "HTTPS",
    "LOC",
    "MX",
    "NAPTR",
    "NS",
    "NSEC",
    "NSEC3",
    "OPENPGPKEY",
    "PTR",
    "RRSIG",
    "SOA",
    "SPF",
    "SRV",
    "SSHFP",
    "SVCB",
    "TLSA",
    "TXT",
    "URI",
];

/// What to explain, and how to say it.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    /// The name asked for: any case, A-labels or U-labels
    #[arg(value_parser = parse_name)]
    pub name: Name,
    /// The type asked for
    #[arg(long = "type", short = 't', value_name = "TYPE", default_value = "A", value_parser = parse_type)]
    pub qtype: String,
    /// The client that asks
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<IpAddr>,
    /// The time of the query: 2014-06-30, 2014-06-30T12:00:00Z or Unix seconds [default: now]
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_negative_numbers = true)]
    pub at: Option<UnixSeconds>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Explains one query as of `now` unless the arguments give a time. Gives back the exit code, 0.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(
    settings: &Settings,
    args: &ExplainArgs,
    out: &mut impl Write,
    now: UnixSeconds,
) -> io::Result<u8> {
    let mut loaded = Loader::new(settings.clone()).load();
    let policy = orders::compile(&loaded.zones, &loaded.protected, 1);
    loaded.note_left_out(&policy);
    let at = args.at.unwrap_or(now);
    let explanation = explain(&loaded, &policy, &args.name, at);
    let errors = loaded.problems.iter().filter(|problem| problem.is_error()).count();
    if args.json {
        writeln!(out, "{:#}", as_json(&explanation, args, at, errors))?;
    } else {
        as_text(out, &explanation, args, at, loaded.zones.len())?;
        if errors > 0 {
            let s = if errors == 1 { "" } else { "s" };
            writeln!(out, "note: the orders have {errors} error{s}; see sinkscope check")?;
        }
    }
    Ok(0)
}

/// Says it in lines for people.
fn as_text(
    out: &mut impl Write,
    explanation: &Explanation<'_>,
    args: &ExplainArgs,
    at: UnixSeconds,
    zones: usize,
) -> io::Result<()> {
    writeln!(out, "{} {} at {}", args.name, args.qtype, time::show(at))?;
    let mut line = |key: &str, value: &str| {
        if value.is_empty() { Ok(()) } else { writeln!(out, "  {key:<12}{value}") }
    };
    line("answer", &answer(explanation, &args.qtype))?;
    if let Some(client) = args.client {
        line("client", &format!("{client} (no order here depends on who asks)"))?;
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
        line("issuer", &order.authority.issuer)?;
        line("court", &order.authority.court)?;
        line("docket", &order.authority.docket)?;
        line("family", &found.scope.family)?;
        line("trigger", &trigger(found))?;
        line("listed at", &place(&found.scope.source, found.line))?;
        line("policy zone", &format!("{} of {zones}: {}", found.zone + 1, found.zone_name))?;
        line("precedence", &precedence(found, others))?;
        line("in force", &in_force(order, found))?;
        line("contact", &order.contact)?;
        line("why", &order.justification)?;
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
fn as_json(explanation: &Explanation<'_>, args: &ExplainArgs, at: UnixSeconds, errors: usize) -> Value {
    let (decisive, others) = split(explanation);
    json!({
        "name": args.name.to_string(),
        "type": args.qtype,
        "client": args.client.map(|client| client.to_string()),
        "at": at,
        "verdict": verdict_word(&explanation.verdict),
        "answer": answer(explanation, &args.qtype),
        "ttl": decisive.filter(|found| is_forged(found.action)).map(|found| found.order.ttl_s),
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
        "issuer": order.authority.issuer,
        "docket": order.authority.docket,
        "family": scope.family,
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

/// The verdict in a word: the action, or clear, protected, passthru.
fn verdict_word(verdict: &Verdict<'_>) -> &'static str {
    match verdict {
        Verdict::Clear => "clear",
        Verdict::Protected(_) => "protected",
        Verdict::Passthru(_) => "passthru",
        Verdict::Act(hit) => hit.action.as_str(),
    }
}

/// What the client gets.
fn answer(explanation: &Explanation<'_>, qtype: &str) -> String {
    let hit = match &explanation.verdict {
        Verdict::Clear if explanation.matches.is_empty() => return "the truth: no order lists it".into(),
        Verdict::Clear => return "the truth: no order in force captures it".into(),
        Verdict::Protected(_) => return "the truth: the name is protected".into(),
        Verdict::Passthru(_) => return "the truth: an order says so (passthru)".into(),
        Verdict::Act(hit) => hit,
    };
    let ttl_s = hit.order.ttl_s;
    match hit.action {
        Action::Sinkhole => format!("{}, TTL {ttl_s} s", sinkhole(hit.order, qtype)),
        Action::Nodata => format!("NODATA (the name exists, without records), TTL {ttl_s} s"),
        Action::Nxdomain => format!("NXDOMAIN (the name does not exist), TTL {ttl_s} s"),
        Action::Refused => "REFUSED".into(),
        Action::Drop => "none: the query is dropped".into(),
        Action::TcpOnly => "truncated and empty over UDP, the truth over TCP".into(),
        Action::Local => "the records that the policy zone gives".into(),
        // A verdict never acts by these; if one ever did, this is what the client would get.
        Action::Observe | Action::Passthru => "the truth".into(),
    }
}

/// What a sinkhole answers for a type.
fn sinkhole(order: &Order, qtype: &str) -> String {
    let addresses: Vec<String> = match qtype {
        "A" => order.sinkhole.v4.iter().map(ToString::to_string).collect(),
        "AAAA" => order.sinkhole.v6.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    if addresses.is_empty() {
        "sinkhole, NODATA".into()
    } else {
        format!("sinkhole, {qtype} {}", addresses.join(", "))
    }
}

/// Whether answers under an action are made here and so have a TTL of ours.
fn is_forged(action: Action) -> bool {
    matches!(action, Action::Sinkhole | Action::Nodata | Action::Nxdomain)
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
fn in_force(order: &Order, found: &Match<'_>) -> String {
    let window = order.window.intersect(&found.scope.window);
    let lifts = order.lifts.iter().filter(|lift| {
        lift.zones.is_empty() || lift.zones.iter().any(|zone| found.trigger.is_at_or_below(zone))
    });
    let until = lifts.filter_map(|lift| lift.at).chain(window.expires).min();
    match (window.effective, until) {
        (None, None) => String::new(),
        (Some(from), None) => format!("since {}", time::show(from)),
        (None, Some(until)) => format!("until {}", time::show(until)),
        (Some(from), Some(until)) => format!("from {} until {}", time::show(from), time::show(until)),
    }
}

/// Reads the name to explain.
fn parse_name(text: &str) -> Result<Name, String> {
    if text == "." {
        return Ok(Name::ROOT);
    }
    names::name(text).map_err(|refused| refused.to_string())
}

/// Reads a type by name or number.
fn parse_type(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    let numbered = upper.strip_prefix("TYPE").is_some_and(|number| number.parse::<u16>().is_ok());
    if numbered || TYPES.contains(&upper.as_str()) {
        return Ok(upper);
    }
    Err(format!("unknown type \"{text}\": write {} or TYPE123", TYPES.join(", ")))
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
        let settings = Settings { paths: vec![folder.path().into()], ..Settings::default() };
        let mut out = Vec::new();
        assert_eq!(run(&settings, &args, &mut out, 1_577_836_800).unwrap(), 0);
        String::from_utf8(out).unwrap().replace(&folder.path().display().to_string(), "DIR")
    }

    #[test]
    fn a_captured_name_is_explained_in_full() {
        assert_eq!(
            explained(&["EVIL.ddns.net.", "--client", "192.0.2.7"]),
            "evil.ddns.net A at 2020-01-01
  answer      sinkhole, A 0.0.0.0, TTL 10 s
  client      192.0.2.7 (no order here depends on who asks)
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
