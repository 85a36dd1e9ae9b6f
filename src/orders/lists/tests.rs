//! Every format as tables of one-liners, what is refused whole, and that one list in several formats means one thing.

use super::*;
use crate::policy::order::Matcher;
use crate::policy::{Action, Kind, Policy, PolicyZone};
use proptest::prelude::*;
use std::sync::Arc;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// What each line comes to, in a few words.
fn said(format: Format, list: &[u8]) -> Vec<String> {
    let mut said = Vec::new();
    each(list, format, |line, item| {
        let words = match item {
            Item::Rule(rule) => rule_words(&rule),
            Item::Off(rule) => format!("off {}", rule_words(&rule)),
            Item::Unusable(why) => format!("unusable: {}", why.why),
            Item::Skipped(skip) => format!("skipped: {}", skip.as_str()),
        };
        said.push(if line == 1 { words } else { format!("{line}: {words}") });
    });
    said
}

/// A rule in a few words.
fn rule_words(rule: &line::Rule<'_>) -> String {
    let mut words = match &rule.target {
        Target::Name(name, None) => format!("bare {name}"),
        Target::Name(name, Some(kind)) => format!("{kind} {name}"),
        Target::Pattern(pattern) => format!("pattern {}", pattern.regex),
    };
    if rule.spares {
        words.insert_str(0, "spares ");
    }
    if rule.important {
        words.insert_str(0, "important ");
    }
    words
}

/// Reads a list with these settings.
fn read_as(spec: &ListSpec, list: &str) -> ListReading {
    parse(list.as_bytes(), spec, &spec.name, "l.txt", &mut |_| unreachable!("no includes"))
}

/// A list of that format and match.
fn spec(format: Format, kind: Option<ScopeKind>) -> ListSpec {
    ListSpec { format: Some(format), kind, ..ListSpec::new("l", "l.txt") }
}

#[test]
fn what_a_line_comes_to() {
    use Format::*;
    let url = "skipped: rules about parts of URLs";
    let cosmetic = "skipped: cosmetic rules";
    let table: &[(Format, &str, &[&str])] = &[
        (Hosts, "0.0.0.0 A.example b.example # why", &["bare a.example", "bare b.example"]),
        (Hosts, "127.0.0.1 localhost\n::1 ip6-loopback", &[]),
        (Hosts, "# comment\n\n0.0.0.0\tx.example\r\n", &["3: bare x.example"]),
        (Hosts, "0.0.0.0 a..b", &["unusable: a label is empty (two dots in a row, or a leading dot)"]),
        (Domains, "a.example", &["bare a.example"]),
        (Domains, "bücher.example.", &["bare xn--bcher-kva.example"]),
        (Domains, "||a.example^", &["unusable: looks like an Adblock rule"]),
        (Domains, "*.a.example", &["unusable: a wildcard; what a name covers is said by its scope"]),
        (Wildcard, "*.a.example", &["subtree-below a.example"]),
        (Wildcard, ".a.example", &["subtree a.example"]),
        (Wildcard, "a.example", &["bare a.example"]),
        (Wildcard, "*.a.example # why\n# all\n", &["subtree-below a.example"]),
        (Wildcard, "*.*.a.example", &["unusable: a wildcard; what a name covers is said by its scope"]),
        (Wildcard, "*.", &["unusable: the name is empty"]),
        (Wildcard, ".", &["unusable: the root cannot be listed"]),
        (Wildcard, "*.a.example *.b.example", &["unusable: several words"]),
        (Wildcard, "*.1.2.3.4", &["unusable: an address, not a name"]),
        (Adblock, "[Adblock Plus 2.0]\n! Title: x\n# comment\n## heading\n####\n#", &[]),
        (Adblock, "||A.example^", &["subtree a.example"]),
        (Adblock, "||a.example^|", &["subtree a.example"]),
        (Adblock, "||bücher.example^", &["subtree xn--bcher-kva.example"]),
        (Adblock, "|a.example^", &["exact a.example"]),
        (Adblock, "|a.example|", &["exact a.example"]),
        (Adblock, "||*.a.example^", &["subtree-below a.example"]),
        (Adblock, "||ad*.a.example^", &["pattern ^(.*\\.)?ad.*\\.a\\.example$"]),
        (Adblock, "|ad*.a.example^", &["pattern ^ad.*\\.a\\.example$"]),
        (Adblock, "||*.*.a.example^", &["pattern ^.*\\..*\\.a\\.example$"]),
        (Adblock, "@@||a.example^", &["spares subtree a.example"]),
        (Adblock, "@@||a.example^|", &["spares subtree a.example"]),
        (Adblock, "||a.example^$important", &["important subtree a.example"]),
        (Adblock, "@@||a.example^$important", &["important spares subtree a.example"]),
        (Adblock, "||a.example^$badfilter", &["off subtree a.example"]),
        (Adblock, "||a.example^$important,badfilter", &["off important subtree a.example"]),
        (Adblock, "||a.example^$all", &["subtree a.example"]),
        (Adblock, "||a.example^$document,all", &["subtree a.example"]),
        (Adblock, "||a.example^$doc,important", &["important subtree a.example"]),
        (Adblock, "@@||a.example^$document", &["unusable: a resolver cannot honour the option document"]),
        (Adblock, "||a.example^$third-party", &["unusable: a resolver cannot honour the option third-party"]),
        (
            Adblock,
            "||a.example^$~third-party",
            &["unusable: a resolver cannot honour the option ~third-party"],
        ),
        (
            Adblock,
            "||a.example^$domain=b.example|c.example",
            &["unusable: a resolver cannot honour the option domain"],
        ),
        (Adblock, "||a.example^$popup,important", &["unusable: a resolver cannot honour the option popup"]),
        (Adblock, "||a.example", &["unusable: without ^ at its end it takes longer names too"]),
        (Adblock, "||1.2.3.4^", &["unusable: an address, not a name"]),
        (Adblock, "||a..example^", &["unusable: a label is empty (two dots in a row, or a leading dot)"]),
        (Adblock, "||^", &["unusable: the name is empty"]),
        (Adblock, "||a.example/ad.js", &[url]),
        (Adblock, "||a.example^ad.js", &[url]),
        (Adblock, "||a.example:8080^", &[url]),
        (Adblock, "|https://a.example/", &[url]),
        (Adblock, "/banner/img.", &[url]),
        (Adblock, "/^https?:\\/\\/ads/", &[url]),
        (Adblock, "&ad_box=", &[url]),
        (Adblock, "-banner-*.gif", &[url]),
        (Adblock, "/^ads?[0-9]*\\./", &["pattern ^ads?[0-9]*\\."]),
        (Adblock, "/(?:^|\\.)ads\\./$important", &["important pattern (?:^|\\.)ads\\."]),
        (Adblock, "@@/^ok\\./", &["spares pattern ^ok\\."]),
        (Adblock, "/ads$/$third-party", &["unusable: a resolver cannot honour the option third-party"]),
        (Adblock, "a.example##.banner", &[cosmetic]),
        (Adblock, "##.banner", &[cosmetic]),
        (Adblock, "a.example#@#.banner", &[cosmetic]),
        (Adblock, "a.example#?#div:has(x)", &[cosmetic]),
        (Adblock, "a.example#$#abort x", &[cosmetic]),
        (Adblock, "a.example#%#//scriptlet('x')", &[cosmetic]),
        (Adblock, "a.example$$script[x]", &[cosmetic]),
        (Adblock, "0.0.0.0 a.example localhost ## why", &["bare a.example"]),
        (Adblock, "a.example", &["bare a.example"]),
        (Adblock, "a.example b.example", &["unusable: several words, and the first is no address"]),
        (Dnsmasq, "address=/a.example/", &["subtree a.example"]),
        (Dnsmasq, "address=/a.example/#", &["subtree a.example"]),
        (Dnsmasq, "address=/a.example/0.0.0.0", &["subtree a.example"]),
        (Dnsmasq, "address=/a.example/b.example/1.2.3.4", &["subtree a.example", "subtree b.example"]),
        (Dnsmasq, "address=/a.example/:: # six", &["subtree a.example"]),
        (Dnsmasq, "address=/.a.example/", &["subtree a.example"]),
        (Dnsmasq, "server=/a.example/", &["subtree a.example"]),
        (Dnsmasq, "local=/a.example/", &["subtree a.example"]),
        (Dnsmasq, "# comment\n  local = /a.example/\r\n", &["2: subtree a.example"]),
        (
            Dnsmasq,
            "server=/a.example/1.2.3.4",
            &["unusable: forwards names to a server, and takes none away"],
        ),
        (Dnsmasq, "server=/a.example/#", &["unusable: gives names back to the usual servers"]),
        (Dnsmasq, "server=1.2.3.4", &["unusable: no names between slashes"]),
        (Dnsmasq, "address=/#/", &["unusable: takes every name"]),
        (Dnsmasq, "address=/#/1.2.3.4", &["unusable: takes every name"]),
        (Dnsmasq, "address=/a.example", &["unusable: no names between slashes"]),
        (Dnsmasq, "address=//", &["unusable: the name is empty"]),
        (Dnsmasq, "address=/a.example/x", &["unusable: what stands behind the names is no address"]),
        (Dnsmasq, "address=/*a.example/", &["unusable: a wildcard; what a name covers is said by its scope"]),
        (Dnsmasq, "cache-size=1000", &["unusable: no option that takes names away"]),
        (Dnsmasq, "bogus-priv", &["unusable: no option that takes names away"]),
        (Regex, "^ads?\\.", &["pattern ^ads?\\."]),
        (Regex, "/^ads?\\./", &["pattern ^ads?\\."]),
        (Regex, "# comment\n! comment\n(^|\\.)x#y$", &["3: pattern (^|\\.)x#y$"]),
        (Regex, "//", &["unusable: an empty pattern"]),
    ];
    for (format, list, expected) in table {
        assert_eq!(said(*format, list.as_bytes()), *expected, "{format}: {list}");
    }
    assert_eq!(said(Adblock, b"/caf\xe9/"), ["unusable: not UTF-8"]);
    assert_eq!(said(Regex, b"\xef\xbb\xbfcaf\xe9"), ["unusable: not UTF-8"]);
}

#[test]
fn formats_are_found_out() {
    use Format::*;
    for (list, expected) in [
        ("", None),
        ("# only\n# comments\n", None),
        ("a.example\nb.example\n", Some(Domains)),
        ("# x\n\nA.example # why\n", Some(Domains)),
        ("0.0.0.0 a.example\n", Some(Hosts)),
        ("# x\n127.0.0.1 localhost\n::1 localhost\n0.0.0.0 a.example\n", Some(Hosts)),
        ("*.a.example\n", Some(Wildcard)),
        (".a.example\n.b.example", Some(Wildcard)),
        ("a.example\nb.example\n*.c.example\n", Some(Wildcard)),
        ("[Adblock Plus 2.0]\na.example\n", Some(Adblock)),
        ("! Title: x\n||a.example^\n", Some(Adblock)),
        ("||a.example^\n@@||b.example^\n", Some(Adblock)),
        ("a.example\nb.example\nc.example\n||d.example^\n", Some(Adblock)),
        ("a.example##.ad\n", Some(Adblock)),
        ("|a.example^\n/^ads/\n", Some(Adblock)),
        ("address=/a.example/0.0.0.0\n", Some(Dnsmasq)),
        ("# x\nserver=/a.example/\nlocal=/b.example/\n", Some(Dnsmasq)),
        ("^ads?\\.\n(^|\\.)x[0-9]+\\.example$\n", Some(Regex)),
        ("/^ads/\n", Some(Regex)),
        ("$TTL 300\n@ SOA localhost. root.localhost. 1 2 3 4 5\na.example CNAME .\n", Some(Rpz)),
        ("; rpz\na.example IN CNAME .\nb.example 300 IN A 0.0.0.0\n", Some(Rpz)),
        ("a b c\n", None),
    ] {
        assert_eq!(detect(list.as_bytes()), expected, "{list:?}");
    }
}

#[test]
fn what_is_refused_whole() {
    use Format::*;
    let auto = ListSpec::new("l", "l.txt");
    let many = ListSpec { min_entries: 3, ..spec(Domains, Some(ScopeKind::Exact)) };
    let table: &[(&ListSpec, &[u8], &str)] = &[
        (&auto, b"", "the list is empty"),
        (&auto, b"\xef\xbb\xbf \r\n\n", "the list is empty"),
        (&auto, b"\n <!DOCTYPE html><html>a.example</html>", "a web page, not a list"),
        (&auto, b"<HTML>\n", "a web page, not a list"),
        (&auto, b"\xff\xfea\0.\0", "the file is UTF-16"),
        (&auto, b"a.example\n\0\0\0", "not a text"),
        (&auto, b"a b\n", "no format that is known"),
        (&auto, b"a.example\n", "looks like format = \"domains\", and nothing says what a name on it covers"),
        (
            &auto,
            b"0.0.0.0 a.example\n",
            "looks like format = \"hosts\", and nothing says what a name on it covers",
        ),
        (&auto, b"! nothing\n", "has no line that can be used as format = \"adblock\""),
        (&spec(Adblock, None), b"@@||a.example^\n", "has no line that can be used as format = \"adblock\""),
        (&spec(Dnsmasq, None), b"a.example\n", "has no line that can be used as format = \"dnsmasq\""),
        (&many, b"a.example\nb.example\n", "has 2 entries, and must have 3 at least"),
    ];
    for (spec, list, expected) in table {
        let found = parse(list, spec, "l", "l.txt", &mut |_| unreachable!("no includes"));
        assert!(found.reading.listed.is_none(), "{expected}");
        let first = &found.reading.problems[0];
        assert_eq!(
            (first.message.as_str(), first.is_error()),
            (*expected, true),
            "{:?}",
            found.reading.problems
        );
    }
}

#[test]
fn one_bad_line_takes_no_list_down() {
    let list = "||a.example^\n||b..example^\na.example##.x\nc.example\n||d.example/x\n||com^\n||e.example^$popup\n/[/\n||amazonaws.com^";
    let found = read_as(&spec(Format::Adblock, None), list);
    let shown: Vec<String> = found.reading.problems.iter().map(|problem| problem.to_string()).collect();
    let first_lines: Vec<&str> = shown.iter().map(|text| text.lines().next().unwrap()).collect();
    assert_eq!(
        first_lines,
        [
            "warning: l.txt:2: \"b..example\": a label is empty (two dots in a row, or a leading dot)",
            "warning: l.txt:4: \"c.example\": a bare name, and nothing says what it covers",
            "warning: l.txt:6: \"com\": would take a whole public suffix, and everybody's names below it",
            "warning: l.txt:7: \"||e.example^$popup\": a resolver cannot honour the option popup",
            "warning: l.txt:8: \"/[/\": not a pattern that can be used: unclosed character class",
            "warning: l.txt:9: \"amazonaws.com\": would take public suffixes below it, and everybody's names below them",
            "warning: l.txt: skipped, since a resolver has no use for them: 1 cosmetic rules, 1 rules about parts of URLs",
        ]
    );
    assert_eq!((found.entries, found.reading.refused_lines), (1, 6));
    assert_eq!(found.skipped, BTreeMap::from([(Skip::Cosmetic, 1), (Skip::Url, 1)]));
    let free = ListSpec { allow_public_suffix: true, ..spec(Format::Adblock, None) };
    assert_eq!(read_as(&free, list).entries, 3);
    let passthru = ListSpec { action: Action::Passthru, ..spec(Format::Adblock, None) };
    assert_eq!(read_as(&passthru, list).entries, 3);
}

#[test]
fn many_bad_lines_are_counted() {
    let list = "||x^path\n".repeat(5) + &"||a..b^\n".repeat(25) + "||ok.example^\n";
    let found = read_as(&spec(Format::Adblock, None), &list);
    let problems = &found.reading.problems;
    assert_eq!((problems.len(), found.reading.refused_lines, found.entries), (22, 25, 1));
    assert_eq!(problems[20].message, "5 more lines cannot be used");
}

#[test]
fn the_order_is_what_the_settings_say() {
    let settings = ListSpec {
        authority: Kind::User,
        action: Action::Nodata,
        ttl_s: 30,
        family: "ads".into(),
        ..spec(Format::Domains, Some(ScopeKind::Exact))
    };
    let listed = read_as(&settings, "a.example\n").reading.listed.unwrap();
    let Listed { order, names, .. } = listed;
    assert_eq!(
        (order.id.as_str(), order.authority.kind, order.action, order.ttl_s),
        ("l", Kind::User, Action::Nodata, 30)
    );
    assert_eq!((order.source.as_str(), order.scopes.len(), names[0].len()), ("l.txt", 1, 1));
    assert_eq!((order.scopes[0].family.as_str(), order.scopes[0].source.as_str()), ("ads", "l.txt"));
}

/// The policy of one list.
fn policy(spec: &ListSpec, list: &str) -> Policy {
    let found = read_as(spec, list);
    let listed = found.reading.listed.unwrap_or_else(|| panic!("{:?}", found.reading.problems));
    let zone = PolicyZone { name: "l".into(), orders: vec![Arc::new(listed)] };
    Policy::compile(&[zone], &[], 1)
}

#[test]
fn exceptions_and_importance() {
    let list = "||a.example^\n@@||ok.a.example^\n||bad.ok.a.example^\n||b.example^$important\n@@||b.example^\n\
                ||c.example^$important\n@@||c.example^$important\n||d.example^\n||d.example^$badfilter\n\
                |e.example^\n||*.f.example^\n@@||gone.example^\n||gone.example^\n@@||gone.example^$badfilter\n";
    let policy = policy(&spec(Format::Adblock, None), list);
    for (asked, taken) in [
        ("a.example", true),
        ("x.a.example", true),
        ("ok.a.example", false),
        ("x.ok.a.example", false),
        ("bad.ok.a.example", false),
        ("b.example", true),
        ("c.example", false),
        ("d.example", false),
        ("e.example", true),
        ("x.e.example", false),
        ("f.example", false),
        ("x.f.example", true),
        ("gone.example", true),
    ] {
        assert_eq!(policy.verdict(&name(asked), 0).hit().is_some(), taken, "{asked}");
    }
}

#[test]
fn patterns_match_names_as_text() {
    let list = "^ads?[0-9]*\\.\n(^|\\.)TRACK\\.example$\n[\n.*\n(a)\\1\n(?=x)\nb\u{fc}cher\nx{1000}{1000}\n^track\\.\n";
    let found = read_as(&spec(Format::Regex, None), list);
    let problems: Vec<(Option<u32>, &str)> =
        found.reading.problems.iter().map(|problem| (problem.line, problem.message.as_str())).collect();
    assert_eq!(
        problems.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
        [3, 4, 5, 6, 7, 8].map(Some),
        "{problems:?}"
    );
    assert_eq!(problems[1].1, "\".*\": takes every name");
    assert_eq!((found.entries, found.reading.refused_lines), (3, 6));
    let scope = &found.reading.listed.as_ref().unwrap().order.scopes[0];
    let patterns = scope.patterns.as_ref().unwrap();
    assert_eq!(patterns.0.texts(), ["^ads?[0-9]*\\.", "(^|\\.)TRACK\\.example$", "^track\\."]);
    for (asked, first) in [
        ("ads1.example", Some(0)),
        ("ad.example", Some(0)),
        ("AD.Example", Some(0)),
        ("x.ads.example", None),
        ("track.example", Some(1)),
        ("x.track.example", Some(1)),
        ("xtrack.example", None),
        ("track.other", Some(2)),
        (".", None),
    ] {
        assert_eq!(patterns.0.first_match(&name(asked)), first, "{asked}");
    }
    let longest =
        Name::from_wire(&[&[&[63][..], &[1; 63]].concat().repeat(3)[..], &[61], &[1; 61], &[0]].concat())
            .unwrap();
    assert_eq!(patterns.0.first_match(&longest), None);
}

#[test]
fn patterns_that_fit_no_one_set_make_several() {
    let text = |index| format!("^n{index}[a-z]{{3,40}}\\.example$");
    let patterns: Vec<(String, String)> = (0..100).map(|index| (text(index), text(index))).collect();
    patterns.iter().for_each(|(_, regex)| assert_eq!(pattern::check(regex, false), Ok(())));
    // One of them takes some kilobytes.
    let set = pattern::PatternSet::within(64 << 10, patterns).unwrap();
    assert!(format!("{set:?}").matches("RegexSet(").count() > 3);
    for index in [0, 49, 50, 99] {
        assert_eq!(set.first_match(&name(&format!("n{index}abc.example"))), Some(index));
    }
    assert_eq!(set.first_match(&name("m1abc.example")), None);
}

#[test]
fn lines_are_found_again() {
    use Format::*;
    let adblock = "! x\n||a.example^\n@@||b.example^\n|a.example^\n/^p/\nc.example\n";
    let find = |format, bare, kind, text: &str| line_of(adblock.as_bytes(), format, bare, kind, &name(text));
    assert_eq!(find(Adblock, None, ScopeKind::Subtree, "a.example"), Some(2));
    assert_eq!(find(Adblock, None, ScopeKind::Exact, "a.example"), Some(4));
    assert_eq!(find(Adblock, None, ScopeKind::Subtree, "b.example"), Some(3));
    assert_eq!(find(Adblock, None, ScopeKind::Subtree, "c.example"), None);
    assert_eq!(find(Adblock, Some(ScopeKind::Subtree), ScopeKind::Subtree, "c.example"), Some(6));
    assert_eq!(line_of_pattern(adblock.as_bytes(), Adblock, "/^p/"), Some(5));
    assert_eq!(line_of_pattern(adblock.as_bytes(), Adblock, "/^q/"), None);
}

/// Names that enclose each other, and neighbours.
fn any_names() -> impl Strategy<Value = Vec<String>> {
    let label = proptest::sample::select(vec!["a", "b", "xy", "_x", "1"]);
    let labels = proptest::collection::vec(label, 1..4);
    let text = labels.prop_map(|labels| labels.join(".") + ".example");
    proptest::collection::vec(text, 1..8)
}

proptest! {
    #[test]
    fn one_list_means_one_thing_in_every_format(names in any_names(), below in any::<bool>()) {
        let written = |line: &dyn Fn(&str) -> String| names.iter().map(|name| line(name) + "\n").collect::<String>();
        let subtree = Some(ScopeKind::Subtree);
        let mut forms = vec![
            (spec(Format::Hosts, subtree), written(&|name| format!("0.0.0.0 {name}"))),
            (spec(Format::Domains, subtree), written(&|name| name.to_uppercase())),
            (spec(Format::Wildcard, None), written(&|name| format!(".{name}"))),
            (spec(Format::Adblock, None), written(&|name| format!("||{name}^"))),
            (spec(Format::Dnsmasq, None), written(&|name| format!("address=/{name}/0.0.0.0"))),
        ];
        if below {
            let kind = Some(ScopeKind::SubtreeBelow);
            forms = vec![
                (spec(Format::Domains, kind), written(&|name| name.to_string())),
                (spec(Format::Wildcard, None), written(&|name| format!("*.{name}"))),
                (spec(Format::Adblock, None), written(&|name| format!("||*.{name}^"))),
            ];
        }
        let policies: Vec<Policy> = forms.iter().map(|(spec, list)| policy(spec, list)).collect();
        let listed: Vec<Name> = names.iter().map(|text| name(text)).collect();
        for text in &names {
            let parent = text.split_once('.').unwrap().1;
            for asked in [text.clone(), format!("child.{text}"), format!("x{text}"), parent.to_string(), format!("sibling.{parent}")] {
                let asked = name(&asked);
                let expected = listed.iter().any(|up| asked.is_at_or_below(up) && !(below && asked == *up));
                for (policy, (spec, _)) in policies.iter().zip(&forms) {
                    let hit = policy.verdict(&asked, 0).hit().is_some();
                    prop_assert_eq!(hit, expected, "{:?}: {}", spec.format, asked);
                }
            }
        }
    }
}
