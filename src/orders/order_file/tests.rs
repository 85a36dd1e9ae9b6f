//! Order files as tables: what each mistake is told, and where.

use super::*;
use crate::name::NameList;
use crate::orders::open::Content;
use crate::orders::time;
use crate::policy::{MatchKind, Window};
use proptest::prelude::*;

/// Reads an order file beside which stand the given names files.
fn read_with(text: &str, files: &[(&str, &str)]) -> Parsed {
    parse(text, "o.toml", &mut |written| {
        let found = files.iter().find(|(name, _)| *name == written);
        let missing = || ("no such file".to_string(), "check the path".to_string());
        ListFile {
            shown: format!("dir/{written}"),
            content: found
                .map(|(_, content)| Content::Octets(content.as_bytes().to_vec()))
                .ok_or_else(missing),
        }
    })
}

/// Reads an order file that names no other.
fn read(text: &str) -> Parsed {
    read_with(text, &[])
}

/// A good order with `lines` among its keys, from line 2 on.
fn order_with(lines: &str) -> String {
    format!("id = \"x\"\n{lines}\n[[scope]]\nmatch = \"exact\"\nnames = [\"a.example\"]\n")
}

/// The order in a file that must have no problem at all.
fn good(text: &str) -> OrderWithNames {
    let reading = read(text);
    assert_eq!(reading.problems, [], "{text}");
    reading.listed.unwrap()
}

#[test]
fn the_smallest_order_has_the_defaults() {
    let listed = good(&order_with(""));
    let order = &listed.order;
    assert_eq!((order.id.as_str(), order.title.as_str(), order.revision), ("x", "x", 1));
    assert_eq!(
        (order.authority.kind, order.action, order.ttl_s),
        (IssuerKind::Operator, Action::SINKHOLE, 10)
    );
    assert_eq!((order.window, &order.sinkhole), (Window::ALWAYS, &Sinkhole::default()));
    assert_eq!((order.lifts.len(), order.zones.len(), order.scopes.len()), (0, 0, 1));
    assert_eq!(order.source, "o.toml");
    let names = listed.names().flat_map(NameList::iter);
    assert_eq!(names.map(|name| name.to_string()).collect::<Vec<_>>(), ["a.example"]);
}

#[test]
fn the_documented_example_loads() {
    let text = r#"
id = "us-nv-2014-cv-00987"
title = "Microsoft v. Mutairi et al."
kind = "court"
docket = "2:14-cv-00987-GMN-GWF"
zones = ["ddns.net", "no-ip.org"]
action = "sinkhole"

[[scope]]
match = "exact"
file = "noip-hosts.txt"
family = "bladabindi"
"#;
    let reading = read_with(text, &[("noip-hosts.txt", "0.0.0.0 A.ddns.net\r\nb.no-ip.org. # x\n")]);
    assert_eq!(reading.problems, []);
    let listed = reading.listed.unwrap();
    assert_eq!(listed.order.scopes[0].family.as_deref(), Some("bladabindi"));
    assert_eq!(listed.order.scopes[0].source, "dir/noip-hosts.txt");
    assert_eq!(listed.names().map(NameList::len).collect::<Vec<_>>(), [2]);
}

#[test]
fn every_field_arrives() {
    let listed = good(
        r#"
id = "all"
title = "Everything"
revision = 3
kind = "law-enforcement"
issuer = "an agency"
court = "a court"
jurisdiction = "a country"
docket = "1:23"
document = "17"
document_sha256 = "00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff"
filed = 2014-06-19
granted = 2014-06-26
url = "https://example.com/order"
references = ["lumen:1", "x:2"]
effective = 2014-06-30
expires = 2030-01-01T00:00:00+01:00
review_by = 2029-01-01
lifted = { at = 2028-01-01, by = "them", why = "settled", zones = ["b.example"] }
zones = ["a.example", "b.example"]
action = "nodata"
ttl = "1m"
addresses = ["192.0.2.1", "2001:db8::1"]
contact = "abuse@example.com"
justification = """because
of  this"""
max_names = 10

[[scope]]
match = "zone"
except = ["ok.a.example", "fine.b.example"]
except_match = "subtree"
family = "f"
tags = ["t", "u"]
action = "sinkhole"
effective = 2015-01-01

[[scope]]
match = "subtree-below"
names = "x.a.example"
"#,
    );
    let order = &listed.order;
    assert_eq!(order.justification.as_deref(), Some("because of this"));
    assert_eq!(order.ttl_s, 60);
    assert_eq!(order.revision, 3);
    assert_eq!(order.authority.kind, IssuerKind::LawEnforcement);
    assert_eq!(order.authority.document_sha256.as_ref().map(String::len), Some(64));
    assert_eq!(order.authority.references, ["lumen:1", "x:2"]);
    assert_eq!(order.authority.filed.map(time::show).as_deref(), Some("2014-06-19"));
    assert_eq!(order.window.expires.map(time::show).as_deref(), Some("2029-12-31T23:00:00Z"));
    assert_eq!(order.lifts.len(), 1);
    assert_eq!(
        (order.lifts[0].by.as_deref(), order.lifts[0].why.as_deref()),
        (Some("them"), Some("settled"))
    );
    assert_eq!(order.lifts[0].zones[0].to_string(), "b.example");
    assert_eq!((order.sinkhole.v4.len(), order.sinkhole.v6.len()), (1, 1));
    let (scope, of) = listed.scopes().next().unwrap();
    assert_eq!(of.names.iter().collect::<Vec<_>>(), order.zones);
    assert_eq!(of.exceptions.len(), 2);
    assert_eq!((scope.kind, scope.exception_kind), (MatchKind::Subtree, MatchKind::Subtree));
    assert_eq!((scope.action, scope.tags.len()), (Some(Action::SINKHOLE), 2));
    assert_eq!(order.scopes[1].kind, MatchKind::SubtreeBelow);
}

#[test]
fn ways_to_lift() {
    for (lifted, expected) in [
        ("lifted = true", vec![None]),
        ("lifted = false", vec![]),
        ("lifted = 2014-07-03", vec![Some(1_404_345_600)]),
        ("lifted = 2014-07-03T00:00:01Z", vec![Some(1_404_345_601)]),
        ("lifted = { by = \"me\" }", vec![None]),
        (
            "[[lifted]]\nat = 2014-07-03\n[[lifted]]\nat = 2014-07-04",
            vec![Some(1_404_345_600), Some(1_404_432_000)],
        ),
        ("[lifted]\nat = 2014-07-03", vec![Some(1_404_345_600)]),
    ] {
        let lifts = good(&order_with(lifted)).order.lifts;
        assert_eq!(lifts.iter().map(|lift| lift.at).collect::<Vec<_>>(), expected, "{lifted}");
    }
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (lines, expected) in [
        ("acton = \"drop\"", "o.toml:2: unknown key \"acton\"\n  hint: did you mean \"action\"?"),
        ("qqqqqq = 1", "o.toml:2: unknown key \"qqqqqq\""),
        (
            "sinkhole = [\"192.0.2.1\"]",
            "o.toml:2: unknown key \"sinkhole\"\n  hint: the addresses of action = \"sinkhole\" are addresses = [...]",
        ),
        ("file = \"x\"", "o.toml:2: unknown key \"file\"\n  hint: it belongs into a [[scope]]"),
        (
            "action = \"sinkhol\"",
            "o.toml:2: unknown action \"sinkhol\"\n  hint: did you mean \"sinkhole\"? action is one of sinkhole, nodata, \
             nxdomain, refused, drop, tcp-only, observe, passthru",
        ),
        (
            "kind = \"judge\"",
            "o.toml:2: unknown kind \"judge\"\n  hint: kind is one of court, law-enforcement, registry, operator, user",
        ),
        ("action = 3", "o.toml:2: action takes text in quotes, not this integer"),
        (
            "effective = \"2014-06-30\"",
            "o.toml:2: effective takes a date, not this string\n  hint: write it without quotes: 2014-06-30 or 2014-06-30T12:00:00Z",
        ),
        (
            "effective = 10:00:00",
            "o.toml:2: effective: a time of day without a date\n  hint: write it without quotes: 2014-06-30 or 2014-06-30T12:00:00Z",
        ),
        (
            "effective = 2014-07-01\nexpires = 2014-07-01",
            "o.toml:3: expires (2014-07-01) is not after effective (2014-07-01)",
        ),
        (
            "document_sha256 = \"abc\"",
            "o.toml:2: document_sha256 is no SHA-256\n  hint: 64 hexadecimal digits, as sha256sum prints them",
        ),
        (
            "addresses = [\n\"192.0.2.1\",\n\"192.0.2.256\"]",
            "o.toml:4: \"192.0.2.256\" is no address\n  hint: an IPv4 or IPv6 address",
        ),
        (
            "ttl = 61",
            "o.toml:2: a ttl of 61 s keeps lifted names dark that long; at most 60 s\n  hint: allow_long_ttl = true says that this is meant",
        ),
        (
            "ttl = \"5 fortnights\"",
            "o.toml:2: ttl takes seconds (10) or a text with a unit (\"30s\", \"1m\"), at most 604800 s, not this string",
        ),
        (
            "ttl = -1",
            "o.toml:2: ttl takes seconds (10) or a text with a unit (\"30s\", \"1m\"), at most 604800 s, not this integer",
        ),
        (
            "max_names = 0",
            "o.toml:2: lists 1 names and declares at most 0\n  hint: check the list against the order's own count",
        ),
        (
            "max_names = \"many\"",
            "o.toml:2: max_names takes a whole number from 0 to 18446744073709551615, not this string",
        ),
        (
            "zones = [\"b..example\"]",
            "o.toml:2: \"b..example\": a label is empty (two dots in a row, or a leading dot)",
        ),
        (
            "zones = [\"b.example\"]",
            "o.toml:5: outside the order's zones (b.example): a.example\n  hint: take them off the list, or add their zone to zones",
        ),
        (
            "lifted = 3",
            "o.toml:2: lifted takes true, a date, or a table of at, by, why and zones, not this integer",
        ),
        (
            "lifted = { when = 2014-07-03 }",
            "o.toml:2: unknown key \"when\" in [lifted]\n  hint: did you mean \"why\"?",
        ),
        (
            "zones = [\"example\"]\nlifted = { zones = [\"ddns.net\"] }",
            "o.toml:3: ddns.net is lifted, but is none of the order's zones",
        ),
        (
            "lifted = { zones = [] }",
            "o.toml:2: no zones to lift\n  hint: leave zones out to lift the whole order",
        ),
        (
            "title = \"a\\u0007b\"",
            "o.toml:2: title holds the control character \\u0007\n  hint: it would act on the terminal of whoever reads it: take it out",
        ),
        (
            "title = \"a\\u202eb\"",
            "o.toml:2: title holds the control character \\u202e\n  hint: it would act on the terminal of whoever reads it: take it out",
        ),
        (
            "allow_public_suffix = \"yes\"",
            "o.toml:2: allow_public_suffix takes true or false, not this string",
        ),
        (
            "title = \"unclosed",
            "o.toml:2: invalid basic string, expected `\"`\n  hint: the file is not valid TOML",
        ),
        ("id = \"y\"", "o.toml:2: duplicate key"),
        (
            "[[scope]]\nnames = [\"b.example\"]",
            "o.toml:2: a scope without match\n  hint: say what a listed name covers: match = \
            \"exact\", \"subtree\", \"subtree-below\" or \"zone\"",
        ),
        (
            "[[scope]]\nmatch = \"subtre\"\nnames = [\"b.example\"]",
            "o.toml:3: unknown match \"subtre\"\n  hint: did you mean \"subtree\"? \
            match is one of exact, subtree, subtree-below, zone",
        ),
        (
            "[[scope]]\nmatch = \"exact\"",
            "o.toml:2: a scope without names\n  hint: give it names = [...] or file = \"...\"; an order is \
            ended by lifted = true, not by an empty list",
        ),
        (
            "[[scope]]\nmatch = \"exact\"\nfile = \"none.txt\"",
            "o.toml:4: cannot read dir/none.txt: no such file\n  hint: check the path",
        ),
        (
            "[[scope]]\nmatch = \"exact\"\nname = [\"b.example\"]",
            "o.toml:4: unknown key \"name\" in [scope]\n  hint: did you mean \"names\"?",
        ),
        (
            "[[scope]]\nmatch = \"subtree\"\nnames = [\"*.b.example\"]",
            "o.toml:4: \"*.b.example\": a wildcard; what a name covers is said by its \
            scope\n  hint: list the name without \"*.\" in a scope with match = \"subtree-below\"",
        ),
        (
            "[[scope]]\nmatch = \"subtree\"\nnames = [\"b.example\"]\nexcept = [\"c.b.example\"]",
            "o.toml:5: exceptions without except_match\n  \
            hint: say what an exception spares: except_match = \"exact\", \"subtree\" or \"subtree-below\"",
        ),
        (
            "[[scope]]\nmatch = \"subtree\"\nnames = [\"co.uk\"]",
            "o.toml:4: would take whole public suffixes, and everybody's names below them: \
            co.uk\n  hint: list the exact names; if the order really takes the suffixes, set allow_public_suffix = true",
        ),
    ] {
        let reading = read(&order_with(lines));
        assert!(reading.listed.is_none(), "{lines}");
        let errors: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
        let expected = format!("error: {expected}");
        assert!(errors.contains(&expected), "{lines}\nwanted {expected}\ngot    {errors:#?}");
    }
}

#[test]
fn whole_files_that_are_no_orders() {
    for (text, expected) in [
        ("", "error: o.toml:1: an order without id"),
        ("[[scope]]\nmatch = \"exact\"\nnames = [\"a.example\"]", "error: o.toml:1: an order without id"),
        (
            "id = \"two words\"",
            "error: o.toml:1: an id is 1 to 100 printable ASCII characters without spaces",
        ),
        ("id = \"x\"", "error: o.toml:1: an order without [[scope]]"),
        ("id = \"x\"\nscope = 3", "error: o.toml:2: scope takes a table, not this integer"),
    ] {
        let reading = read(text);
        assert!(reading.listed.is_none(), "{text}");
        let all: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
        assert!(all.iter().any(|problem| problem.starts_with(expected)), "{text}: {all:#?}");
    }
}

#[test]
fn one_reading_finds_all_mistakes_in_order() {
    let text = order_with("ttl = 99\nkind = \"king\"\nexpires = 1\nnope = 1");
    let lines: Vec<Option<u32>> = read(&text).problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [Some(2), Some(3), Some(4), Some(5)]);
}

#[test]
fn bad_lines_of_a_list_do_not_refuse_the_order() {
    let text = "id = \"x\"\n[[scope]]\nmatch = \"exact\"\nfiles = [\"a\", \"b\"]\n";
    let reading = read_with(text, &[("a", "ok.example\nb..example\n"), ("b", "")]);
    let problems: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "error: dir/a:2: \"b..example\": a label is empty (two dots in a row, or a leading dot)",
            "warning: dir/b: the file is empty",
        ]
    );
    assert_eq!(reading.refused_lines, 1);
    let listed = reading.listed.unwrap();
    assert_eq!(
        listed.order.scopes.iter().map(|scope| scope.source.as_str()).collect::<Vec<_>>(),
        ["dir/a", "dir/b"]
    );
    assert_eq!(listed.names().map(NameList::len).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn a_list_that_yields_nothing_refuses_the_order() {
    let text = "id = \"x\"\n[[scope]]\nmatch = \"exact\"\nfile = \"a\"\n";
    for content in ["", "# only a comment\n", "||a.example^\n"] {
        let reading = read_with(text, &[("a", content)]);
        assert!(reading.listed.is_none(), "{content}");
        assert!(
            reading.problems.iter().any(|problem| problem.message == "a scope without names"),
            "{content}"
        );
    }
}

#[test]
fn a_bad_line_among_exceptions_refuses_the_order() {
    let text = "id = \"x\"\n[[scope]]\nmatch = \"subtree\"\nnames = [\"a.example\"]\nexcept_file = \"a\"\nexcept_match = \"exact\"\n";
    assert!(read_with(text, &[("a", "ok.a.example\n")]).listed.is_some());
    assert!(read_with(text, &[("a", "ok.a.example\nb..example\n")]).listed.is_none());
}

#[test]
fn one_family_of_addresses_leaves_the_other_without() {
    let sinkhole = good(&order_with("addresses = [\"192.0.2.1\"]")).order.sinkhole;
    assert_eq!((sinkhole.v4.len(), sinkhole.v6.len()), (1, 0));
}

#[test]
fn times_to_live() {
    for (ttl, expected) in [("0", 0), ("60", 60), ("\"30s\"", 30), ("\"1m\"", 60), ("\"45\"", 45)] {
        assert_eq!(good(&order_with(&format!("ttl = {ttl}"))).order.ttl_s, expected, "{ttl}");
    }
    assert_eq!(good(&order_with("ttl = \"1h\"\nallow_long_ttl = true")).order.ttl_s, 3600);
}

#[test]
fn names_in_the_file_are_found_again() {
    let text = "id = \"x\"\nzones = [\"z.example\"]\n[[scope]]\nmatch = \"exact\"\nnames = [\n  \"A.z.example\",\n  \"bücher.z.example\",\n]\n";
    for (wanted, line) in [
        ("a.z.example", Some(6)),
        ("xn--bcher-kva.z.example", Some(7)),
        ("z.example", Some(2)),
        ("b.example", None),
    ] {
        assert_eq!(line_of(text, &wanted.parse().unwrap()), line, "{wanted}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "(\\PC|[\\n=\\[\\]\"]){0,120}") {
        let _ = read(&text);
    }

    #[test]
    fn any_value_of_any_key_is_read_without_panic(
        key in "(id|title|lifted|effective|ttl|zones|action|addresses|scope|max_names|kind|references)",
        value in "(\"[ -~&&[^\"\\\\]]{0,20}\"|-?[0-9]{1,25}|true|\\[\\]|\\[[0-9]\\]|\\{\\}|\\{ at = 1 \\}|0001-01-01|9999-12-31T23:59:60Z|nan|0xffffffffff)",
    ) {
        let _ = read(&order_with(&format!("{key} = {value}")));
        let _ = read(&format!("id = \"x\"\n[[scope]]\nmatch = \"exact\"\n{key} = {value}"));
    }
}

#[test]
fn a_canary_that_its_own_order_captures_refuses_it() {
    let order = |canary: &str, lines: &str| {
        format!("id = 'x'\nzones = ['ddns.net']\ncanaries = [\n'{canary}']\n[[scope]]\n{lines}\n")
    };
    for (canary, lines, expected) in [
        ("innocent.ddns.net", "match = 'exact'\nnames = ['evil.ddns.net']", None),
        ("a.evil.ddns.net", "match = 'exact'\nnames = ['evil.ddns.net']", None),
        ("evil.ddns.net", "match = 'exact'\nnames = ['evil.ddns.net']", Some("exact evil.ddns.net")),
        (
            "EVIL.ddns.net.",
            "match = 'exact'\nnames = ['b.ddns.net', 'evil.ddns.net']",
            Some("exact evil.ddns.net"),
        ),
        ("a.b.evil.ddns.net", "match = 'subtree'\nnames = ['evil.ddns.net']", Some("subtree evil.ddns.net")),
        ("evil.ddns.net", "match = 'subtree-below'\nnames = ['evil.ddns.net']", None),
        (
            "a.evil.ddns.net",
            "match = 'subtree-below'\nnames = ['evil.ddns.net']",
            Some("subtree-below evil.ddns.net"),
        ),
        ("notevil.ddns.net", "match = 'subtree'\nnames = ['evil.ddns.net']", None),
        ("evil.ddns.net", "match = 'exact'\naction = 'passthru'\nnames = ['evil.ddns.net']", None),
        ("evil.ddns.net", "match = 'exact'\naction = 'observe'\nnames = ['evil.ddns.net']", None),
        (
            "good.evil.ddns.net",
            "match = 'subtree'\nnames = ['evil.ddns.net']\nexcept = ['good.evil.ddns.net']\nexcept_match = 'exact'",
            None,
        ),
        (
            "a.good.evil.ddns.net",
            "match = 'subtree'\nnames = ['evil.ddns.net']\nexcept = ['good.evil.ddns.net']\nexcept_match = 'exact'",
            Some("subtree evil.ddns.net"),
        ),
        (
            "a.good.evil.ddns.net",
            "match = 'subtree'\nnames = ['evil.ddns.net']\nexcept = ['good.evil.ddns.net']\nexcept_match = 'subtree'",
            None,
        ),
        // An exception spares from its own scope only.
        (
            "good.evil.ddns.net",
            "match = 'subtree'\nnames = ['evil.ddns.net']\nexcept = ['good.evil.ddns.net']\nexcept_match = 'exact'\n\
             [[scope]]\nmatch = 'exact'\nnames = ['good.evil.ddns.net']",
            Some("exact good.evil.ddns.net"),
        ),
    ] {
        let reading = read(&order(canary, lines));
        let shown: Vec<String> = reading.problems.iter().map(Problem::to_string).collect();
        match expected {
            None => assert!(shown.is_empty() && reading.listed.is_some(), "{canary} {lines}: {shown:?}"),
            Some(what) => {
                let message = format!(
                    "error: o.toml:4: {} is a canary of this order, and captured by it: {what}\n",
                    canary.to_lowercase().trim_end_matches('.')
                );
                assert!(shown.concat().starts_with(&message), "{message}\nis not: {shown:?}");
                assert!(reading.listed.is_none());
            }
        }
    }
    let in_file = "match = 'exact'\nfile = 'names.txt'";
    let reading =
        read_with(&order("evil.ddns.net", in_file), &[("names.txt", "b.ddns.net\nevil.ddns.net\n")]);
    assert!(reading.listed.is_none() && reading.problems[0].line == Some(4), "{:?}", reading.problems);

    let many: Vec<String> = (0..65).map(|number| format!("'c{number}.ddns.net'")).collect();
    let reading = read(&order_with(&format!("canaries = [{}]", many.join(", "))));
    assert!(reading.problems[0].message.contains("lists 65 canaries; at most 64"), "{:?}", reading.problems);
}

#[test]
fn the_keys_that_are_declared_are_those_that_are_read() {
    let text =
        "id = \"x\"\nlifted = { why = \"over\" }\n[[scope]]\nmatch = \"exact\"\nnames = [\"a.example\"]\n";
    table::ASKED.take();
    good(text);
    let read = table::ASKED.take();
    let keys = keys::keys();
    let declared: std::collections::BTreeSet<_> = keys.iter().map(|key| (key.table, key.name)).collect();
    assert_eq!(declared.len(), keys.len(), "one is declared twice");
    assert_eq!(declared, read);
    assert!(keys.iter().all(|key| key.about.ends_with('.')), "{keys:?}");
}
