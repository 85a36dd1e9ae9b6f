//! Every format as tables of one-liners, what is refused whole, and that one list in several formats means one thing.

use super::*;
use crate::policy::order::Matcher;
use crate::policy::{Action, IssuerKind, Policy, PolicyZone};
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
    if rule.widened {
        words.insert_str(0, "widened ");
    }
    if rule.important {
        words.insert_str(0, "important ");
    }
    words
}

/// Reads a list with these settings.
fn read_as(spec: &ListSpec, list: &str) -> ListReading {
    let found = parse(list.as_bytes(), spec, &spec.name, "l.txt", &mut |_| unreachable!("no includes"));
    // Who counts only comes to the same.
    let counted = count(list.as_bytes(), spec, &mut |_| unreachable!("no includes"));
    let error = found.reading.problems.iter().find(|problem| problem.is_error());
    let collected = match &found.reading.listed {
        Some(_) => Ok(found.entries),
        None => Err(error.map(|problem| problem.message.clone())),
    };
    assert_eq!(counted.map_err(|problem| Some(problem.message)), collected, "{list}");
    found
}

/// A list of that format and match.
fn spec(format: Format, kind: Option<MatchKind>) -> ListSpec {
    ListSpec { format: Some(format), kind, ..ListSpec::new("l", "l.txt") }
}

#[test]
fn what_a_line_comes_to() {
    use Format::*;
    let url = "skipped: rules about parts of URLs";
    let cosmetic = "skipped: cosmetic rules";
    let own = "skipped: names of the machine itself";
    let beside = "skipped: exceptions from what only browsers do";
    let table: &[(Format, &str, &[&str])] = &[
        (Hosts, "0.0.0.0 A.example b.example # why", &["bare a.example", "bare b.example"]),
        (
            Hosts,
            "127.0.0.1 localhost\n::1 ip6-loopback x.example",
            &[own, "2: bare x.example", "2: skipped: names of the machine itself"],
        ),
        (Hosts, "0.0.0.0 x.example\n/^ads[0-9]*[.]/", &["bare x.example", "2: pattern ^ads[0-9]*[.]"]),
        (Domains, "/^c[0-9]\\.example$/", &["pattern ^c[0-9]\\.example$"]),
        (Domains, "/ # .*#/", &["pattern  # .*#"]),
        (Domains, "/a/b/", &["unusable: looks like a URL, or has a port or path"]),
        (Domains, "^ads\\.", &["unusable: looks like a pattern"]),
        (Domains, "(^|\\.)ads[0-9]+\\.", &["unusable: looks like a pattern"]),
        (Domains, "^ads", &["unusable: '^' cannot stand in a listed name"]),
        (Wildcard, "^ads\\.", &["unusable: looks like a pattern"]),
        (Wildcard, "/^ads\\./", &["pattern ^ads\\."]),
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
        (Adblock, "||*.*.a.example^", &["pattern ^(.*\\.)?.*\\..*\\.a\\.example$"]),
        (Adblock, "@@||a.example^", &["spares subtree a.example"]),
        (Adblock, "@@||a.example^|", &["spares subtree a.example"]),
        (Adblock, "||a.example^$important", &["important subtree a.example"]),
        (Adblock, "@@||a.example^$important", &["important spares subtree a.example"]),
        (Adblock, "||a.example^$badfilter", &["off subtree a.example"]),
        (Adblock, "||a.example^$important,badfilter", &["off important subtree a.example"]),
        (Adblock, "||a.example^$all", &["subtree a.example"]),
        (Adblock, "||a.example^$document,all", &["subtree a.example"]),
        (Adblock, "||a.example^$doc,important", &["important subtree a.example"]),
        // Exceptions: exact, suffix and pattern, as AdGuard reads masks.
        (Adblock, "@@|a.example^|", &["spares exact a.example"]),
        (Adblock, "@@|a.example^", &["spares exact a.example"]),
        (Adblock, "@@|a.example|$important", &["important spares exact a.example"]),
        (Adblock, "@@||*.a.example^|", &["spares subtree-below a.example"]),
        (Adblock, "@@.a.example^", &["spares subtree-below a.example"]),
        (Adblock, "@@||api-v*.a.example^|", &["spares pattern ^(.*\\.)?api-v.*\\.a\\.example$"]),
        (Adblock, "@@-ds.a.example^|", &["spares pattern -ds\\.a\\.example$"]),
        (Adblock, "@@||a.example", &["spares pattern ^(.*\\.)?a\\.example"]),
        (Adblock, "@@ads*.a", &["spares pattern ads.*\\.a"]),
        (Adblock, "@@a.example", &["spares bare a.example"]),
        (Adblock, "-ds.a.example^", &["pattern -ds\\.a\\.example$"]),
        (Adblock, ".a.example^", &["subtree-below a.example"]),
        (Adblock, "*.a.example^", &["subtree-below a.example"]),
        (Adblock, "-ds^", &[url]),
        // What limits an exception and cannot be honoured is left out: it spares more then, and nobody loses by it.
        (Adblock, "@@||a.example^$client=192.0.2.1", &["widened spares subtree a.example"]),
        (Adblock, "@@||a.example^$dnstype=AAAA,important", &["important widened spares subtree a.example"]),
        (Adblock, "@@||a.example^$denyallow=b.a.example", &["widened spares subtree a.example"]),
        (Adblock, "@@||a.example^$ctag=device_tv", &["widened spares subtree a.example"]),
        (Adblock, "@@||a.example^$document", &["widened spares subtree a.example"]),
        (Adblock, "@@||a.example^$~third-party", &["widened spares subtree a.example"]),
        (Adblock, "@@|a.example^$script,domain=b.example", &["widened spares exact a.example"]),
        (Adblock, "@@||a.example/ok.js$script", &["widened spares subtree a.example"]),
        (Adblock, "@@||ad*.a.example/ok.js", &["widened spares pattern ^(.*\\.)?ad.*\\.a\\.example$"]),
        (Adblock, "@@|https://a.example/ok.js", &["widened spares exact a.example"]),
        (Adblock, "@@://a.example^", &["widened spares exact a.example"]),
        (Adblock, "@@/^ok\\./$client=192.0.2.1", &["widened spares pattern ^ok\\."]),
        (
            Adblock,
            "@@||a.example^$client=x,badfilter",
            &["unusable: takes back an exception that a resolver cannot honour"],
        ),
        (Adblock, "@@||a.example^$elemhide", &[beside]),
        (Adblock, "@@||a.example^$ghide,domain=b.example", &[beside]),
        (Adblock, "@@||a.example^$elemhide,image", &["widened spares subtree a.example"]),
        (Adblock, "@@||a.example^$dnsrewrite", &[beside]),
        (Adblock, "@@||a.example^$dnsrewrite=192.0.2.1", &[beside]),
        (Adblock, "@@/banner/ok.", &[url]),
        (Adblock, "@@&ad_box=", &[url]),
        (Adblock, "@@|https://", &[url]),
        // The same limits on a rule that captures: it would take more without them.
        (Adblock, "||a.example^$client=192.0.2.1", &["unusable: a resolver cannot honour the option client"]),
        (Adblock, "||a.example^$ctag=device_tv", &["unusable: a resolver cannot honour the option ctag"]),
        (Adblock, "||a.example^$dnstype=A", &["unusable: a resolver cannot honour the option dnstype"]),
        (
            Adblock,
            "||a.example^$dnstype=~A,important",
            &["unusable: a resolver cannot honour the option dnstype"],
        ),
        (
            Adblock,
            "||a.example^$denyallow=b.a.example",
            &["unusable: a resolver cannot honour the option denyallow"],
        ),
        (
            Adblock,
            "||a.example^$dnsrewrite=REFUSED",
            &["unusable: a resolver cannot honour the option dnsrewrite"],
        ),
        (Adblock, "||a.example/x$client=y", &[url]),
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
        (Adblock, "0.0.0.0 a.example localhost ## why", &["bare a.example", own]),
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
        // Pi-hole's options: how it is answered is for the list's settings to say, the rest cannot be honoured.
        (Regex, "banner;reply=nxdomain", &["pattern banner"]),
        (Regex, "/^ads\\./;reply=192.0.2.1;reply=2001:db8::1", &["pattern ^ads\\."]),
        (Regex, "^a;b$;reply=ip", &["pattern ^a;b$"]),
        (Regex, "banner;reply=maybe", &["unusable: a resolver cannot honour the option reply"]),
        (Regex, "^ads[0-9]*\\.;querytype=A", &["unusable: a resolver cannot honour the option querytype"]),
        (
            Regex,
            "^ads\\.;reply=nodata;querytype=!A",
            &["unusable: a resolver cannot honour the option querytype"],
        ),
        (Regex, "^abc$;invert", &["unusable: a resolver cannot honour the option invert"]),
        (Regex, "^abc$;INVERT;querytype=AAAA", &["unusable: a resolver cannot honour the option invert"]),
        (Regex, "^abc$;reply=ip;what", &["unusable: an option that nobody knows"]),
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
        // A name is no pattern, however many patterns stand around it.
        ("/^ads[0-9]*\\./\n/banner/\nt.co\nx.com\n", Some(Domains)),
        ("/^ads[0-9]*[.]/\nt.example\n", Some(Domains)),
        ("^ads\\.\n(^|\\.)x\\.\n^y\\.\nt.co\n", Some(Domains)),
        ("^ads\\.\n(^|\\.)x\\.\n.t.co\n", Some(Wildcard)),
        ("^ads\\.\n(^|\\.)x\\.\n0.0.0.0 t.co\n", Some(Hosts)),
        ("/^ads/\n/^x/\n0.0.0.0 t.co\n", Some(Hosts)),
        ("/^ads/\n*.t.co\n", Some(Wildcard)),
        ("/^ads/\n||t.co^\n", Some(Adblock)),
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
    let many = ListSpec { min_entries: 3, ..spec(Domains, Some(MatchKind::Exact)) };
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
        (
            &spec(Adblock, None),
            b"@@||a.example^\n@@|b.example|\n",
            "has 2 exceptions, and nothing that they could spare from",
        ),
        (
            &auto,
            b"/^ads[0-9]*\\./\nt.co\n",
            "looks like format = \"domains\", and nothing says what a name on it covers",
        ),
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
fn what_a_list_means_is_what_it_takes() {
    use Format::*;
    let passthru = ListSpec { action: Action::Passthru, ..spec(Adblock, None) };
    let (exact, subtree) = (Some(MatchKind::Exact), Some(MatchKind::Subtree));
    // A list, what it takes, and what it leaves alone.
    let table: &[(ListSpec, &str, &[&str], &[&str])] = &[
        // Exceptions of every form.
        (spec(Adblock, None), "||a.example^\n@@|a.example^|", &["x.a.example"], &["a.example"]),
        (
            spec(Adblock, None),
            "||a.example^\n@@||api-v*.a.example^|",
            &["a.example", "api.a.example"],
            &["api-v2.a.example", "x.api-v.a.example"],
        ),
        (spec(Adblock, None), "||a.example^\n@@-ds.a.example^|", &["ds.a.example"], &["x-ds.a.example"]),
        (spec(Adblock, None), "||a.example^\n@@||*.a.example^", &["a.example"], &["x.a.example"]),
        (spec(Adblock, None), "||a.example^\n@@/^ok[0-9]\\./", &["ok.a.example"], &["ok1.a.example"]),
        (
            spec(Adblock, None),
            "/^a/\n|ab.example^\n@@|a.example|",
            &["ab.example", "ac.example"],
            &["a.example"],
        ),
        (spec(Adblock, None), "/^a/$important\n@@/^ab/\n@@/^ac/$important", &["ab.example"], &["ac.example"]),
        (spec(Adblock, None), "||a.example^\n@@|a.example|\n@@|a.example|$badfilter", &["a.example"], &[]),
        (spec(Adblock, None), "||a.example^\n@@/^x\\./\n@@/^x\\./$badfilter", &["x.a.example"], &[]),
        (spec(Adblock, exact), "a.example\nb.example\n@@a.example", &["b.example"], &["a.example"]),
        // What cannot be honoured of an exception never leaves more taken than the list says.
        (
            spec(Adblock, None),
            "||a.example^\n@@||ok.a.example^$client=192.0.2.1",
            &["a.example", "no.a.example"],
            &["ok.a.example", "x.ok.a.example"],
        ),
        (
            spec(Adblock, None),
            "||a.example^\n@@||ok.a.example/x.js$script",
            &["a.example"],
            &["ok.a.example"],
        ),
        (spec(Adblock, None), "||a.example^\n@@||a.example^$elemhide", &["a.example"], &[]),
        (spec(Adblock, None), "||a.example^\n@@||*^$dnstype=PTR", &["a.example"], &[]),
        (spec(Adblock, None), "||a.example^\n@@||*^", &[], &["a.example"]),
        // What limits a rule that captures: without the limit it would take more.
        (spec(Adblock, None), "||z.example^\n||a.example^$dnstype=A", &["z.example"], &["a.example"]),
        // Under passthru exceptions are the list, if there is nothing else.
        (
            passthru.clone(),
            "@@||a.example^\n@@|b.example|\n@@/^c/",
            &["x.a.example", "b.example", "c.x"],
            &["x.b.example"],
        ),
        (passthru.clone(), "@@||a.example^\n@@||b.example^$client=x", &["a.example"], &["b.example"]),
        (passthru.clone(), "||a.example^\n@@||b.a.example^", &["a.example"], &["b.a.example"]),
        (passthru, "||a.example^\n@@||b.a.example^$client=x", &["a.example"], &["b.a.example"]),
        // Patterns among names.
        (
            spec(Domains, exact),
            "t.co\n/^ads[0-9]*\\./",
            &["t.co", "ads1.example"],
            &["x.t.co", "microsoft.com"],
        ),
        (spec(Wildcard, exact), "*.t.co\n/^ads[0-9]*\\./", &["x.t.co", "ads1.example"], &["t.co"]),
        (
            ListSpec { kind: exact, ..ListSpec::new("l", "l.txt") },
            "/banner/\nt.co",
            &["banner.x", "t.co"],
            &["microsoft.com"],
        ),
        // What *.x means.
        (spec(Wildcard, None), "*.a.example", &["x.a.example"], &["a.example"]),
        (
            spec(Wildcard, exact),
            "*.a.example\nb.example",
            &["x.a.example", "b.example"],
            &["a.example", "x.b.example"],
        ),
        (
            spec(Wildcard, subtree),
            "*.a.example\nb.example",
            &["a.example", "x.a.example", "x.b.example"],
            &[],
        ),
        (spec(Adblock, subtree), "||*.a.example^", &["x.a.example"], &["a.example"]),
        // The machine's own names.
        (
            spec(Hosts, exact),
            "0.0.0.0 localhost x.example ip6-allnodes",
            &["x.example"],
            &["localhost", "ip6-allnodes"],
        ),
        (
            spec(Domains, subtree),
            "localhost\nLocal\nx.localhost\nb.example",
            &["b.example"],
            &["localhost", "a.localhost", "x.localhost", "local"],
        ),
        (
            spec(Wildcard, subtree),
            "*.localhost\n.localhost.localdomain\n*.b.example",
            &["b.example"],
            &["localhost", "a.localhost", "localhost.localdomain"],
        ),
        (
            spec(Adblock, exact),
            "||localhost^\nbroadcasthost\n||b.example^",
            &["b.example"],
            &["localhost", "x.localhost", "broadcasthost"],
        ),
        (spec(Dnsmasq, None), "address=/localhost/b.example/0.0.0.0", &["b.example"], &["localhost"]),
        (
            spec(Regex, None),
            "host",
            &["xhost.example", "host"],
            &["localhost", "x.localhost", "broadcasthost"],
        ),
        (
            spec(Adblock, None),
            "/^(local|ads)/$important",
            &["local.example", "ads.example"],
            &["localhost", "local", "ads.localhost"],
        ),
        // Pi-hole's options.
        (
            spec(Regex, None),
            "banner;reply=nxdomain\n^x;querytype=A\n^y;invert",
            &["banner.x"],
            &["x.example", "a.example"],
        ),
    ];
    for (spec, list, takes, leaves) in table {
        let policy = policy(spec, list);
        for (names, taken) in [(takes, true), (leaves, false)] {
            for asked in *names {
                assert_eq!(policy.verdict(&name(asked), 0).hit().is_some(), taken, "{list:?}: {asked}");
            }
        }
    }
}

#[test]
fn what_was_not_taken_as_it_stands_is_counted_and_said() {
    let list = "||a.example^\n@@||b.a.example^$client=x\n@@||c.a.example/x\n@@||d.a.example^\n0.0.0.0 localhost\n/a b/\n\
                @@||*^$dnstype=A\n@@||e.example^$ehide\n";
    let found = read_as(&spec(Format::Adblock, None), list);
    assert_eq!(
        (found.entries, found.widened, found.reading.refused_lines),
        (1, 2, 2),
        "{:?}",
        found.reading.problems
    );
    assert_eq!(found.skipped, BTreeMap::from([(Skip::OwnName, 1), (Skip::Beside, 1)]));
    let said: Vec<String> = found.reading.problems.iter().map(|problem| problem.to_string()).collect();
    assert_eq!(
        said,
        [
            "warning: l.txt:6: \"/a b/\": can match no name",
            "warning: l.txt:7: \"@@||*^$dnstype=A\": takes every name",
            "warning: l.txt:2: 2 exceptions spare more than they say, the first of them \"b.a.example\": a resolver cannot \
             honour what limits them",
            "warning: l.txt: skipped, since a resolver has no use for them: 1 exceptions from what only browsers do, 1 names \
             of the machine itself",
        ]
    );
    // What they spare is not freed for everybody.
    let passthru = ListSpec { action: Action::Passthru, ..spec(Format::Adblock, None) };
    let found = read_as(&passthru, "@@||a.example^\n@@||b.example^$client=x\n");
    assert_eq!((found.entries, found.widened, found.reading.refused_lines), (1, 0, 1));
    assert_eq!(
        found.reading.problems[0].message,
        "1 names are freed for some only, which a resolver cannot honour"
    );
    let found = read_as(&passthru, "||a.example^\n@@||b.a.example^\n");
    assert_eq!(
        found.reading.problems[0].message,
        "1 exceptions are not freed: beside rules they keep names from being freed"
    );
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
        authority: IssuerKind::User,
        action: Action::NODATA,
        ttl_s: 30,
        family: Some("ads".into()),
        ..spec(Format::Domains, Some(MatchKind::Exact))
    };
    let listed = read_as(&settings, "a.example\n").reading.listed.unwrap();
    let order = &listed.order;
    assert_eq!(
        (order.id.as_str(), order.authority.kind, order.action, order.ttl_s),
        ("l", IssuerKind::User, Action::NODATA, 30)
    );
    let names: Vec<usize> = listed.names().map(NameList::len).collect();
    assert_eq!((order.source.as_str(), order.scopes.len(), names), ("l.txt", 1, vec![1]));
    assert_eq!((order.scopes[0].family.as_deref(), order.scopes[0].source.as_str()), (Some("ads"), "l.txt"));
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
                /^p[0-9]\\./\n@@||ok.p.example^\n@@||p1.ok.example^\n/^q[0-9]\\./$important\n@@||q1.ok.example^\n\
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
        ("p1.example", true),
        ("p1.ok.example", false),
        ("q1.ok.example", true),
        ("x.p1.example", false),
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

/// Patterns as a list has them.
fn patterns(count: usize, text: impl Fn(usize) -> String) -> Vec<(String, String)> {
    (0..count).map(|index| (text(index), text(index))).collect()
}

#[test]
fn patterns_that_fit_no_one_table_make_several() {
    let text = |index| format!("^n{index}[a-z]{{3,40}}\\.example$");
    let mut checker = pattern::Checker::default();
    patterns(100, text).iter().for_each(|(_, regex)| assert_eq!(checker.check(regex, false), Ok(())));
    // One of them takes some kilobytes.
    let set = pattern::PatternSet::within(64 << 10, 100, patterns(100, text));
    assert!(set.passes() > 3 && set.left_out.is_empty(), "{set:?}");
    for index in [0, 49, 50, 99] {
        assert_eq!(set.first_match(&name(&format!("n{index}abc.example"))), Some(index));
    }
    assert_eq!(set.first_match(&name("m1abc.example")), None);
    // What would pass the bound on tables is left out and not among the texts.
    let few = pattern::PatternSet::within(64 << 10, 2, patterns(100, text));
    let fit = few.texts().len();
    assert!((1..100).contains(&fit) && few.passes() <= 2, "{few:?}");
    assert_eq!(few.left_out.len() + fit, 100);
    assert_eq!(few.first_match(&name(&format!("n{}abc.example", fit - 1))), Some(fit - 1));
    assert_eq!(few.first_match(&name(&format!("n{fit}abc.example"))), None);
}

#[test]
fn ordinary_patterns_take_a_pass_or_two() {
    // As block lists write them: a wildcard in a name's middle, and expressions on a name's beginning.
    let written = |index| format!("||ads{index}*.tracker{}.example^", index * 7);
    let wild = read_as(
        &spec(Format::Adblock, None),
        &(0..300).map(|index| written(index) + "\n").collect::<String>(),
    );
    assert_eq!((wild.entries, wild.reading.refused_lines), (300, 0), "{:?}", wild.reading.problems);
    let expressions = "^ad([sxv]?[0-9]*|system)[_.-]([^.[:space:]]+\\.){1,}|[_.-]ad([sxv]?[0-9]*|system)[_.-]\n\
                       ^(.+[_.-])?adse?rv(er?|ice)?s?[0-9]*[_.-]\n^(.+[_.-])?telemetry[_.-]\n\
                       ^adim(age|g)s?[0-9]*[_.-]\n^adtrack(er|ing)?[0-9]*[_.-]\n^advert(s|is(ing|ements?))?[0-9]*[_.-]\n\
                       ^aff(iliat(es?|ion))?[_.-]\n^analytics?[_.-]\n^banners?[_.-]\n^beacons?[0-9]*[_.-]\n\
                       ^count(ers?)?[0-9]*[_.-]\n^mads\\.\n^pixels?[-.]\n^stat(s|istics)?[0-9]*[_.-]\n\
                       (^|\\.)[0-9a-f]{32}\\.example$\n[a-z0-9]{20,}\\.(com|net)$\n";
    let pihole = read_as(&spec(Format::Regex, None), expressions);
    assert_eq!((pihole.entries, pihole.reading.refused_lines), (16, 0), "{:?}", pihole.reading.problems);
    for (found, most) in [(wild, 2), (pihole, 2)] {
        let scope = &found.reading.listed.as_ref().unwrap().order.scopes[0];
        let passes = scope.patterns.as_ref().unwrap().0.passes();
        assert!(passes <= most, "{passes}");
    }
}

#[test]
fn patterns_that_would_cost_a_name_dearly_are_refused_by_their_lines() {
    let line = |index: usize| format!("[a-m]c[a-z0-9.-]{{0,{}}}d[a-z0-9.-]{{0,60}}q7\n", 41 + index);
    let list: String = (0..20).map(line).chain(["^good[0-9]\\.\n".into()]).collect();
    let found = read_as(&spec(Format::Regex, None), &list);
    assert_eq!((found.entries, found.reading.refused_lines), (1, 20));
    let problem = &found.reading.problems[0];
    assert!(problem.line == Some(1) && problem.message.contains("octets compiled"), "{problem}");
    let scope = &found.reading.listed.as_ref().unwrap().order.scopes[0];
    assert_eq!(scope.patterns.as_ref().unwrap().0.first_match(&name("good1.example")), Some(0));
    // What has been tried is bounded: a list of nothing else is not tried to its end.
    let mut checker = pattern::Checker::default();
    let mut said = (0..300).map(|index| checker.check(line(index % 50).trim_end(), false).unwrap_err());
    assert!(said.next().unwrap().starts_with("the pattern takes"));
    assert!(said.last().unwrap().starts_with("the patterns before it"));
}

#[test]
fn patterns_that_multiply_are_left_out_and_named() {
    // Each alone has a handful of states; together each must be remembered beside all others.
    let text = |index: usize| format!("n{index}x.*y{index}z");
    let set = pattern::PatternSet::within(64 << 10, 4, patterns(200, text));
    assert!(set.passes() <= 4 && !set.left_out.is_empty());
    assert_eq!(set.left_out.len() + set.texts().len(), 200);
    for (place, written) in set.texts().iter().enumerate() {
        let sample = written.replace(".*", "-a-");
        assert_eq!(set.first_match(&name(&format!("{sample}.example"))), Some(place), "{written}");
    }
}

#[test]
fn a_policy_zone_without_origin_is_that_of_its_list() {
    // As they are published: the server's configuration says which zone it is.
    let zone = "$TTL 30\n@ SOA rpz.example. host.example. 1 2 3 4 5\n NS localhost.\nevil.example CNAME .\n*.evil.example CNAME .\n";
    for (list, origin, captured) in [
        ("urlhaus", "", true),
        ("my_list.zone", "", true),
        // No name: another one stands in.
        ("a..b", "", true),
        ("urlhaus", "rpz.urlhaus.example", true),
    ] {
        let mut spec = ListSpec { name: list.into(), ..spec(Format::Rpz, None) };
        spec.rpz.origin = origin.parse().ok().filter(|_| !origin.is_empty());
        let found = read_as(&spec, zone);
        assert!(found.reading.problems.is_empty(), "{list} {origin}: {:?}", found.reading.problems);
        let policy = policy(&spec, zone);
        for (asked, expected) in
            [("evil.example", captured), ("a.evil.example", captured), ("example", false)]
        {
            assert_eq!(policy.verdict(&name(asked), 0).hit().is_some(), expected, "{list} {origin} {asked}");
        }
    }
    // What the file says goes before the list's name.
    let named = "rpz.test. 60 SOA . . 1 2 3 4 5\nevil.example.rpz.test. CNAME .\n";
    let listed = read_as(&spec(Format::Rpz, None), named).reading.listed.unwrap();
    assert_eq!(listed.names().next().unwrap().iter().next(), Some(name("evil.example")));
    assert_eq!(listed.order.rpz.unwrap().origin, name("rpz.test"));
}

#[test]
fn lines_are_found_again() {
    use Format::*;
    let adblock = "! x\n||a.example^\n@@||b.example^\n|a.example^\n/^p/\nc.example\n";
    let find = |format, bare, kind, text: &str| line_of(adblock.as_bytes(), format, bare, kind, &name(text));
    assert_eq!(find(Adblock, None, MatchKind::Subtree, "a.example"), Some(2));
    assert_eq!(find(Adblock, None, MatchKind::Exact, "a.example"), Some(4));
    assert_eq!(find(Adblock, None, MatchKind::Subtree, "b.example"), Some(3));
    assert_eq!(find(Adblock, None, MatchKind::Subtree, "c.example"), None);
    assert_eq!(find(Adblock, Some(MatchKind::Subtree), MatchKind::Subtree, "c.example"), Some(6));
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
        let subtree = Some(MatchKind::Subtree);
        let mut forms = vec![
            (spec(Format::Hosts, subtree), written(&|name| format!("0.0.0.0 {name}"))),
            (spec(Format::Domains, subtree), written(&|name| name.to_uppercase())),
            (spec(Format::Wildcard, None), written(&|name| format!(".{name}"))),
            (spec(Format::Adblock, None), written(&|name| format!("||{name}^"))),
            (spec(Format::Dnsmasq, None), written(&|name| format!("address=/{name}/0.0.0.0"))),
        ];
        if below {
            let kind = Some(MatchKind::SubtreeBelow);
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
