//! What is refused, and the words for it.

use super::*;

#[test]
fn a_bad_entry_is_refused_and_the_rest_stands() {
    // The line of the entry is the first; `x CNAME .` follows each and must be there.
    for (line, complaint) in [
        ("y A 192.0.2", "1: \"y A 192.0.2\": expected IPv4 address"),
        ("y A garden.example.", "1: \"y A garden.example.\": expected IPv4 address"),
        ("y AAAA 192.0.2.1", ""),
        ("y", "1: \"y\": it has no type"),
        ("y 60", "1: \"y 60\": it has no type"),
        ("y NOTYPE x", "1: \"y NOTYPE x\": expected rtype"),
        ("y CNAME", ""),
        ("y CNAME a. b.", ""),
        ("y CH A 192.0.2.1", "1: \"y CH A 192.0.2.1\": its class is not IN"),
        ("y 60x CNAME .", "1: \"y 60x CNAME .\": its TTL is no TTL"),
        ("y 2147483648 CNAME .", "1: \"y 2147483648 CNAME .\": its TTL is no TTL"),
        ("y..z CNAME .", "1: \"y..z CNAME .\": its owner is no valid name"),
        ("y CNAME a..b.", "1: y.rpz.test: its target is no valid name"),
        ("y MX 10 a..b.", "1: \"y MX 10 a..b.\": its data is not of its type"),
        ("y SRV 1 2 3 a..b.", "1: \"y SRV 1 2 3 a..b.\": its data is not of its type"),
        ("é CNAME .", ""),
        ("y\\400 CNAME .", ""),
        ("y TXT \"open", "1: a quoted string does not end on its line"),
        ("y CNAME . )", "1: a parenthesis is closed that was not opened"),
        ("y ( CNAME .", "1: a parenthesis is never closed"),
        ("y A \\# 3 010203", "1: \"y A \\\\# 3 010203\": its data is not of its type"),
        ("y TYPE255 \\# 1 00", "1: y.rpz.test: type 255 is no type of data"),
        ("y CNAME rpz-new.", "1: y.rpz.test: rpz-new is no action that is known"),
        ("y CNAME x.rpz-drop.", "1: y.rpz.test: x.rpz-drop is no action that is known"),
        ("y CNAME *.rpz-new.", "1: y.rpz.test: *.rpz-new is no action that is known"),
        (
            "y CNAME rpz-drop",
            "1: y.rpz.test: rpz-drop without a dot at its end is the name rpz-drop.rpz.test",
        ),
        ("y.rpz-new CNAME .", "1: y.rpz-new.rpz.test: rpz-new is no trigger that is known"),
        ("y.other. CNAME .", "1: y.other: y.other is not below rpz.test"),
        (
            "8.2.0.0.10.rpz-ip CNAME .",
            "1: 8.2.0.0.10.rpz-ip.rpz.test: no address prefix: it has bits behind its prefix",
        ),
        ("rpz-ip CNAME .", "1: rpz-ip.rpz.test: no address prefix: it is empty"),
        (
            "*.24.0.2.0.192.rpz-nsip CNAME .",
            "1: *.24.0.2.0.192.rpz-nsip.rpz.test: an address prefix has no wildcard",
        ),
        ("$GENERATE 1-9 x$ CNAME .", "1: \"$GENERATE 1-9 x$ CNAME .\": no directive that is known"),
        ("$TTL", "1: \"$TTL\": no TTL"),
        ("$TTL x", "1: \"$TTL x\": no TTL"),
        ("y NS ns.example.", "1: y.rpz.test: an NS record is no local data"),
        ("y DNAME d.example.", "1: y.rpz.test: a DNAME record is no local data"),
        ("y DS 1 8 2 00", "1: y.rpz.test: a DNSSEC record is no local data"),
        ("y NSEC z A", "1: y.rpz.test: a DNSSEC record is no local data"),
        ("y SOA . . 1 2 3 4 5", "1: y.rpz.test: a further SOA"),
        ("@ SOA . . 1 2 3 4 5", "1: rpz.test: a further SOA"),
        ("@ TXT about", "1: rpz.test: a record of the zone itself, no rule"),
    ] {
        let text = format!("{HEAD}{line}\nx CNAME .\n");
        let reading = read(&text, &spec(), &[]);
        assert_eq!(shown(&reading.listed.unwrap()), ["qname exact x: nxdomain 60"], "{line}");
        let found = complaints(&format!("{line}\nx CNAME .\n"));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        if complaint.is_empty() {
            assert!(found[0].starts_with(&format!("1: \"{line}\": ").replace('\\', "\\\\")), "{found:?}");
        } else {
            assert_eq!(found, [complaint], "{line}");
        }
    }
}

#[test]
fn a_cname_stands_alone() {
    for lines in [
        "x CNAME .\nx A 192.0.2.1\n",
        "x A 192.0.2.1\nx CNAME .\n",
        "x CNAME .\nx CNAME *.\n",
        "x CNAME g.\nx CNAME h.\n",
        "x CNAME g.\nx A 192.0.2.1\n",
        "x A 192.0.2.1\nx CNAME g.\n",
        "x CNAME g.\nx CNAME *.g.\n",
        "x CNAME .\nx CNAME g.\n",
    ] {
        assert_eq!(complaints(lines), ["2: x.rpz.test: a CNAME can be the only record of its owner"]);
        // What came first stands.
        let first = lines.split_inclusive('\n').next().unwrap();
        let both = read(&format!("{HEAD}{lines}"), &spec(), &[]).listed.unwrap();
        assert_eq!(shown(&both), rules(first, &spec()), "{lines}");
    }
}

#[test]
fn refusals_are_counted_beyond_the_first() {
    let lines: String = (0..50).map(|number| format!("x{number} A 1\n")).collect();
    let ignored: String = (0..30).map(|number| format!("y{number} NS .\n")).collect();
    let reading = read(&format!("{HEAD}{lines}{ignored}z CNAME .\n"), &spec(), &[]);
    assert_eq!((reading.refused_lines, reading.problems.len()), (50, 42));
    assert_eq!(reading.problems[40].to_string(), "error: rpz.zone: 30 more entries are refused");
    assert_eq!(reading.problems[41].to_string(), "warning: rpz.zone: 10 more records are ignored");
    assert_eq!(shown(&reading.listed.unwrap()), ["qname exact z: nxdomain 60"]);
    let many: String = (0..1002).map(|number| format!("x TXT {number}\n")).collect();
    assert_eq!(complaints(&many).len(), 2);
}

#[test]
fn a_zone_that_is_none_is_refused_whole() {
    let free = RpzSpec { origin: None, ..spec() };
    for (zone, spec, expected) in [
        (
            "",
            spec(),
            "error: rpz.zone: a zone without an SOA record\n  hint: a response policy zone starts with its SOA record; is \
             this another kind of list?",
        ),
        ("bad.example CNAME .\n", spec(), "error: rpz.zone: a zone without an SOA record\n"),
        (
            "<html>\n<body>\n",
            spec(),
            "error: rpz.zone:1: \"<html>\": it has no type\nerror: rpz.zone:2: \"<body>\": it has no type\nerror: rpz.zone: \
             a zone without an SOA record\n",
        ),
        (
            "x SOA . . 1 2 3 4 5\n",
            spec(),
            "error: rpz.zone:1: the SOA is that of x.rpz.test, but the zone is rpz.test\n  hint: set origin to the zone's own \
             name, or leave it out",
        ),
        (
            "$ORIGIN a.test.\nx CNAME .\n@.b SOA . . 1 2 3 4 5\n",
            free.clone(),
            "error: rpz.zone:3: the SOA is that of \\@.b.a.test, but the zone is a.test\n",
        ),
        (
            "x.a.test. CNAME .\na.test. SOA . . 1 2 3 4 5\n",
            free.clone(),
            "error: rpz.zone:1: a record before the SOA, and nothing says which zone this is\n",
        ),
        (
            "@ SOA . . 1 2 3 4 5\n$INCLUDE gone.zone\nx CNAME .\n",
            spec(),
            "error: rpz.zone:2: $INCLUDE gone.zone: no such file\n  hint: write it",
        ),
        (
            "@ SOA . . 1 2 3 4 5\n$INCLUDE self.zone\n",
            spec(),
            "error: dir/self.zone:2: $INCLUDE self.zone: more than 8 files deep, or more than 1000 files\n  hint: does a file \
             include itself?",
        ),
        ("@ SOA . . 1 2 3 4 5\n$ORIGIN a..b\nx CNAME .\n", spec(), "error: rpz.zone:2: \"$ORIGIN a..b\": "),
        (
            " CNAME .\n",
            spec(),
            "error: rpz.zone:1: \" CNAME .\": no owner, and no record before it whose owner",
        ),
    ] {
        let reading = read(zone, &spec, &[("self.zone", "s CNAME .\n$INCLUDE self.zone\n")]);
        assert!(reading.listed.is_none(), "{zone}");
        let found: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
        assert!(found.join("\n").starts_with(expected), "{zone}: {}", found.join("\n"));
    }
}

#[test]
fn a_directive_that_is_not_understood_is_refused() {
    for line in ["$INCLUDE", "$ORIGIN", "$ORIGIN a b", "$INCLUDE a b c", "$INCLUDE a b..c", "$TTL 1 2", "$"] {
        let found = complaints(&format!("{line}\n"));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with(&format!("1: \"{line}\": ")), "{found:?}");
    }
}
