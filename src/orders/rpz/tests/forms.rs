//! Every form a zone may take, one line each.

use super::*;

#[test]
fn every_trigger_is_read() {
    for (owner, expected) in [
        ("bad.example", "qname exact bad.example"),
        ("BAD.Example", "qname exact bad.example"),
        ("bad.example.rpz.test.", "qname exact bad.example"),
        ("*.bad.example", "qname subtree-below bad.example"),
        ("*", "qname subtree-below ."),
        ("a.*.b", "qname exact a.*.b"),
        ("*.*.b", "qname subtree-below *.b"),
        ("a\\.b.c", "qname exact a\\.b.c"),
        ("a\\032b.c", "qname exact a\\032b.c"),
        ("_dmarc.x", "qname exact _dmarc.x"),
        ("rpz-ip.x", "qname exact rpz-ip.x"),
        ("24.0.2.0.192.rpz-client-ip", "client-ip exact 24.0.2.0.192.rpz-client-ip"),
        ("128.3.zz.db8.2001.rpz-client-ip", "client-ip exact 128.3.zz.db8.2001.rpz-client-ip"),
        ("32.2.2.0.192.rpz-ip", "response-ip exact 32.2.2.0.192.rpz-ip"),
        ("48.zz.101.DB8.2001.RPZ-IP", "response-ip exact 48.zz.101.db8.2001.rpz-ip"),
        ("64.0.0.0.0.0.0.db8.2001.rpz-ip", "response-ip exact 64.zz.db8.2001.rpz-ip"),
        ("128.3.0.zz.db8.2001.rpz-ip", "response-ip exact 128.3.zz.db8.2001.rpz-ip"),
        ("1.0.0.0.0.rpz-ip", "response-ip exact 1.0.0.0.0.rpz-ip"),
        ("ns.example.rpz-nsdname", "nsdname exact ns.example.rpz-nsdname"),
        ("*.example.rpz-nsdname", "nsdname subtree-below example.rpz-nsdname"),
        ("*.rpz-nsdname", "nsdname subtree-below rpz-nsdname"),
        ("rpz-nsdname", "nsdname exact rpz-nsdname"),
        ("24.0.2.0.192.rpz-nsip", "nsip exact 24.0.2.0.192.rpz-nsip"),
        ("32.zz.db8.2001.rpz-nsip", "nsip exact 32.zz.db8.2001.rpz-nsip"),
    ] {
        assert_eq!(rules(&format!("{owner} CNAME rpz-drop.\n"), &spec()), [format!("{expected}: drop")]);
    }
}

#[test]
fn every_action_is_read() {
    for (record, expected) in [
        ("CNAME .", "nxdomain 60"),
        ("CNAME *.", "nodata 60"),
        ("CNAME rpz-passthru.", "passthru"),
        ("CNAME RPZ-Passthru.", "passthru"),
        ("CNAME rpz-drop.", "drop"),
        ("CNAME rpz-tcp-only.", "tcp-only"),
        ("CNAME x.", "passthru"),
        ("CNAME garden.example.", "local-data 60 CNAME garden.example"),
        ("CNAME garden", "local-data 60 CNAME garden.rpz.test"),
        ("CNAME *.garden.example.", "local-data 60 *.CNAME garden.example"),
        ("CNAME a.*.garden.example.", "local-data 60 CNAME a.*.garden.example"),
        ("CNAME y.rpz-x.example.", "local-data 60 CNAME y.rpz-x.example"),
        ("A 192.0.2.1", "local-data 60 A 192.0.2.1"),
        ("5 A 192.0.2.1", "local-data 5 A 192.0.2.1"),
        ("5 IN A 192.0.2.1", "local-data 5 A 192.0.2.1"),
        ("IN 5 A 192.0.2.1", "local-data 5 A 192.0.2.1"),
        ("in a 192.0.2.1", "local-data 60 A 192.0.2.1"),
        ("CLASS1 A 192.0.2.1", "local-data 60 A 192.0.2.1"),
        ("1m30s A 192.0.2.1", "local-data 90 A 192.0.2.1"),
        ("1D A 192.0.2.1", "local-data 3600 A 192.0.2.1"),
        ("1D CNAME .", "nxdomain 3600"),
        ("0 CNAME *.", "nodata 0"),
        ("AAAA 2001:db8::1", "local-data 60 AAAA 2001:db8::1"),
        ("TXT \"two words; (one)\"", "local-data 60 TXT two words; (one)"),
        ("TXT word", "local-data 60 TXT word"),
        ("MX 10 mx.", "local-data 60 TYPE15 000a026d7800"),
        ("MX 10 mx", "local-data 60 TYPE15 000a026d780372707a047465737400"),
        ("SRV 1 2 443 t.", "local-data 60 TYPE33 0001000201bb017400"),
        ("HTTPS 0 t.", "local-data 60 TYPE65 0000017400"),
        (
            "HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1",
            "local-data 60 TYPE65 000100000100030268320004 0004c0000201",
        ),
        ("CAA 0 issue \";\"", "local-data 60 TYPE257 0005697373756 53b"),
        ("PTR p.", "local-data 60 TYPE12 017000"),
        ("TYPE65400 \\# 3 010203", "local-data 60 TYPE65400 010203"),
        ("TYPE1 \\# 4 c0000201", "local-data 60 A 192.0.2.1"),
        ("A \\# 4 c0000201", "local-data 60 A 192.0.2.1"),
    ] {
        let expected = format!("qname exact x: {expected}");
        let squeezed = |text: &str| text.replace(' ', "");
        let rules = rules(&format!("x {record}\n"), &spec());
        assert_eq!(rules.len(), 1, "{record}");
        assert_eq!(squeezed(&rules[0]), squeezed(&expected), "{record}");
    }
}

#[test]
fn the_old_passthru_points_to_the_trigger_itself() {
    for (record, expected) in [
        ("a.b CNAME a.b.", "qname exact a.b: passthru"),
        ("a.b CNAME A.B.", "qname exact a.b: passthru"),
        ("*.b CNAME *.b.", "qname subtree-below b: passthru"),
        ("32.1.2.0.192.rpz-ip CNAME 32.1.2.0.192.", "response-ip exact 32.1.2.0.192.rpz-ip: passthru"),
        ("ns.x.rpz-nsdname CNAME ns.x.", "nsdname exact ns.x.rpz-nsdname: passthru"),
        ("a.b CNAME b.", "qname exact a.b: local-data 60 CNAME b"),
    ] {
        assert_eq!(rules(&format!("{record}\n"), &spec()), [expected], "{record}");
    }
}

#[test]
fn rules_that_say_the_same_share_a_scope() {
    let lines = "a CNAME .\n*.a CNAME .\nb CNAME .\nc 30 CNAME .\nd CNAME *.\n24.0.2.0.192.rpz-ip CNAME .\n*.b CNAME .\n";
    let reading = read(&format!("{HEAD}{lines}"), &spec(), &[]);
    let listed = reading.listed.unwrap();
    assert_eq!(listed.order.scopes.len(), 5);
    assert_eq!(
        shown(&listed),
        [
            "qname exact a: nxdomain 60",
            "qname exact b: nxdomain 60",
            "qname subtree-below a: nxdomain 60",
            "qname subtree-below b: nxdomain 60",
            "qname exact c: nxdomain 30",
            "qname exact d: nodata 60",
            "response-ip exact 24.0.2.0.192.rpz-ip: nxdomain 60",
        ]
    );
}

#[test]
fn the_records_of_an_owner_are_one_answer() {
    for (lines, expected) in [
        (
            "x A 192.0.2.1\n A 192.0.2.2\n MX 0 .\n",
            &["qname exact x: local-data 60 A 192.0.2.1 60 A 192.0.2.2 60 TYPE15 000000"][..],
        ),
        // Not in one place, and spelled otherwise.
        (
            "x A 192.0.2.1\ny A 192.0.2.1\nX.rpz.test. AAAA ::1\n",
            &[
                "qname exact y: local-data 60 A 192.0.2.1",
                "qname exact x: local-data 60 A 192.0.2.1 60 AAAA ::1",
            ],
        ),
        // Twice the same is once.
        ("x A 192.0.2.1\nx A 192.0.2.1\n", &["qname exact x: local-data 60 A 192.0.2.1"]),
        ("x CNAME .\ny CNAME .\nx CNAME .\n", &["qname exact x: nxdomain 60", "qname exact y: nxdomain 60"]),
        ("x CNAME g.\nx CNAME g.\n", &["qname exact x: local-data 60 CNAME g"]),
        // An RRset has one TTL, the least; another RRset has its own.
        (
            "x 50 A 192.0.2.1\nx 40 A 192.0.2.2\nx 30 TXT t\n",
            &["qname exact x: local-data 40 A 192.0.2.1 40 A 192.0.2.2 30 TXT t"],
        ),
        // The same prefix written in two ways is one trigger.
        (
            "64.zz.db8.2001.rpz-ip A 192.0.2.1\n64.0.0.zz.db8.2001.rpz-ip A 192.0.2.2\n",
            &["response-ip exact 64.zz.db8.2001.rpz-ip: local-data 60 A 192.0.2.1 60 A 192.0.2.2"],
        ),
        // A wildcard and the name above it are two triggers, and so are two labels.
        (
            "b A 192.0.2.1\n*.b A 192.0.2.1\nb.rpz-nsdname A 192.0.2.1\n",
            &[
                "qname exact b: local-data 60 A 192.0.2.1",
                "qname subtree-below b: local-data 60 A 192.0.2.1",
                "nsdname exact b.rpz-nsdname: local-data 60 A 192.0.2.1",
            ],
        ),
    ] {
        let mut rules = rules(lines, &spec());
        let mut expected = expected.to_vec();
        rules.sort();
        expected.sort();
        assert_eq!(rules, expected, "{lines}");
    }
}

#[test]
fn directives_and_layout_are_obeyed() {
    for (lines, expected) in [
        ("$TTL 5\nx CNAME .\n", "qname exact x: nxdomain 5"),
        ("$ttl 1h\nx CNAME .\n", "qname exact x: nxdomain 3600"),
        ("y 9 CNAME .\nx CNAME .\n", "qname exact x: nxdomain 60"),
        ("$ORIGIN b.rpz.test.\nx CNAME .\n", "qname exact x.b: nxdomain 60"),
        ("$ORIGIN b\nx CNAME .\n", "qname exact x.b: nxdomain 60"),
        ("$ORIGIN b\n@ CNAME .\n", "qname exact b: nxdomain 60"),
        ("$ORIGIN b\n$ORIGIN c\nx CNAME .\n", "qname exact x.c.b: nxdomain 60"),
        ("$ORIGIN b\n* CNAME .\n", "qname subtree-below b: nxdomain 60"),
        ("$ORIGIN .\nx.rpz.test CNAME .\n", "qname exact x: nxdomain 60"),
        ("x ( ; a comment\n CNAME ; another\n . )\n", "qname exact x: nxdomain 60"),
        ("x\tCNAME\t.\t; comment\r\n", "qname exact x: nxdomain 60"),
        ("x CNAME .", "qname exact x: nxdomain 60"),
        ("x 5 TXT ( a\n ) ; end\n", "qname exact x: local-data 5 TXT a"),
        ("x 5 TXT \"a\\\"b\\\\c\\100\"\n", "qname exact x: local-data 5 TXT a\\\"b\\\\cd"),
    ] {
        assert!(
            rules(lines, &spec()).contains(&expected.to_string()),
            "{lines}: {:?}",
            rules(lines, &spec())
        );
    }
    // An entry without owner has the one before it, whatever the origin has become.
    let rules = rules("x A 192.0.2.1\n$ORIGIN b\n A 192.0.2.2\n", &spec());
    assert_eq!(rules, ["qname exact x: local-data 60 A 192.0.2.1 60 A 192.0.2.2"]);
}

#[test]
fn a_zone_without_ttls_takes_the_last_one_or_the_minimum() {
    for (zone, expected) in [
        ("@ SOA . . 1 2 3 4 33\nx CNAME .\n", 33),
        ("@ 44 SOA . . 1 2 3 4 33\nx CNAME .\n", 44),
        ("@ 44 SOA . . 1 2 3 4 33\ny 22 CNAME .\nx CNAME .\n", 22),
        ("@ 44 SOA . . 1 2 3 4 33\n$TTL 11\ny 22 CNAME .\nx CNAME .\n", 11),
    ] {
        let listed = read(zone, &spec(), &[]).listed.unwrap();
        let expected = format!("qname exact x: nxdomain {expected}");
        assert!(shown(&listed).contains(&expected), "{zone}: {:?}", shown(&listed));
    }
}

#[test]
fn included_files_are_read_in_their_place() {
    let zone =
        format!("{HEAD}a CNAME .\n$INCLUDE one.zone\n CNAME .\n$INCLUDE \"two words.zone\" sub\nz CNAME .\n");
    let files = [
        ("one.zone", "b CNAME .\n$ORIGIN in.one\nc CNAME .\n$INCLUDE deeper.zone\n"),
        ("deeper.zone", "d CNAME .\n"),
        ("two words.zone", "$TTL 9\ne CNAME .\n"),
    ];
    let reading = read(&zone, &spec(), &files);
    assert_eq!(reading.problems, []);
    assert_eq!(
        shown(&reading.listed.unwrap()),
        [
            "qname exact a: nxdomain 60",
            "qname exact b: nxdomain 60",
            "qname exact c.in.one: nxdomain 60",
            "qname exact d.in.one: nxdomain 60",
            "qname exact e.sub: nxdomain 9",
            "qname exact z: nxdomain 9",
        ]
    );
    let mut open = |path: &str| ListFile {
        shown: format!("dir/{path}"),
        content: Ok(Content::Octets(files.iter().find(|file| file.0 == path).unwrap().1.into())),
    };
    for (wanted, place) in [("d.in.one", ("dir/deeper.zone", 1)), ("z", ("rpz.zone", 8))] {
        let trigger = (TriggerType::Qname, MatchKind::Exact, &name(wanted));
        let found = line_of(zone.as_bytes(), &spec(), "rpz.zone", &mut open, trigger);
        assert_eq!(found, Some((place.0.to_string(), place.1)));
    }
    let missing = (TriggerType::Qname, MatchKind::SubtreeBelow, &name("z"));
    assert_eq!(line_of(zone.as_bytes(), &spec(), "rpz.zone", &mut open, missing), None);
}

#[test]
fn the_zone_says_who_it_is() {
    let free = RpzSpec { origin: None, kind: IssuerKind::User, without_rd: true, ..spec() };
    for (zone, origin) in [
        ("RPZ.test. 50 IN SOA a. b. 2018062101 1 2 3 40\nx.rpz.test. CNAME .\n", "rpz.test"),
        ("$ORIGIN rpz.test.\n@ 50 SOA a. b. 2018062101 1 2 3 40\nx CNAME .\n", "rpz.test"),
        ("$ORIGIN test.\nrpz 50 SOA a. b. 2018062101 1 2 3 40\nx.rpz CNAME .\n", "rpz.test"),
        ("$ORIGIN rpz.test.\nx CNAME .\n@ 50 SOA a. b. 2018062101 1 2 3 40\n", "rpz.test"),
    ] {
        let reading = read(zone, &free, &[]);
        assert_eq!(reading.problems, [], "{zone}");
        let listed = reading.listed.unwrap();
        let order = &listed.order;
        let rpz = order.rpz.as_ref().unwrap();
        assert_eq!(
            (order.id.as_str(), order.authority.kind, order.revision),
            ("rpz", IssuerKind::User, 2018062101)
        );
        assert_eq!((rpz.origin, rpz.soa_ttl_s), (name(origin), 40), "{zone}");
        assert_eq!(&rpz.soa[..6], b"\x01a\x00\x01b\x00");
        assert_eq!((rpz.soa.len(), rpz.without_rd, rpz.break_dnssec), (26, true, false));
        assert_eq!(order.scopes[0].source, "rpz.zone");
        assert!(shown(&listed)[0].starts_with("qname exact x: nxdomain"), "{zone}");
    }
    // A transfer written down ends with the SOA it began with; a signed zone has records of its own.
    let transfer = format!(
        "{HEAD}x CNAME .\n@ DNSKEY 256 3 8 AQID\n@ NSEC x SOA\n@ SOA localhost. admin.rpz.test. 7 1h 15m 30d 2m\n"
    );
    assert_eq!(read(&transfer, &spec(), &[]).problems, []);
}

#[test]
fn the_reading_of_wildcards_is_the_subscribers() {
    for (wildcards, expected) in [
        (Wildcards::Draft, policy::order::WildcardRule::Wildcard),
        (Wildcards::Unbound, policy::order::WildcardRule::WildcardOverEmpty),
        (Wildcards::Closest, policy::order::WildcardRule::Closest),
    ] {
        let listed = read(HEAD, &RpzSpec { wildcards, ..spec() }, &[]).listed.unwrap();
        assert_eq!(listed.order.reading, expected);
    }
}

#[test]
fn overrides_replace_what_the_zone_says() {
    let lines = "a 50 CNAME .\nb CNAME *.\nc CNAME rpz-passthru.\nd A 192.0.2.1\nd 20 TXT t\ne CNAME g.\n";
    let given = [
        "qname exact a: nxdomain 50",
        "qname exact b: nodata 60",
        "qname exact c: passthru",
        "qname exact d: local-data 60 A 192.0.2.1 20 TXT t",
        "qname exact e: local-data 60 CNAME g",
    ];
    let garden = |prepend| ActionOverride::Cname { target: name("g.example"), prepend };
    for (action_override, missing, expected) in [
        (ActionOverride::Given, MissingType::Nodata, &given[..]),
        (ActionOverride::LocalDataOrPassthru, MissingType::Passthru, &given),
        (ActionOverride::LocalDataOrDisabled, MissingType::Disabled, &given),
        (
            ActionOverride::Action(Action::Observe),
            MissingType::Nodata,
            &[
                "qname exact a: observe",
                "qname exact b: observe",
                "qname exact c: observe",
                "qname exact d: observe",
                "qname exact e: observe",
            ],
        ),
        (
            ActionOverride::Action(Action::NXDOMAIN),
            MissingType::Nodata,
            &[
                "qname exact a: nxdomain 50",
                "qname exact b: nxdomain 60",
                "qname exact c: nxdomain 60",
                "qname exact e: nxdomain 60",
                "qname exact d: nxdomain 20",
            ],
        ),
        (
            garden(false),
            MissingType::Nodata,
            &[
                "qname exact a: local-data 50 CNAME g.example",
                "qname exact b: local-data 60 CNAME g.example",
                "qname exact c: local-data 60 CNAME g.example",
                "qname exact e: local-data 60 CNAME g.example",
                "qname exact d: local-data 20 CNAME g.example",
            ],
        ),
        (
            garden(true),
            MissingType::Nodata,
            &[
                "qname exact a: local-data 50 *.CNAME g.example",
                "qname exact b: local-data 60 *.CNAME g.example",
                "qname exact c: local-data 60 *.CNAME g.example",
                "qname exact e: local-data 60 *.CNAME g.example",
                "qname exact d: local-data 20 *.CNAME g.example",
            ],
        ),
    ] {
        let listed =
            read(&format!("{HEAD}{lines}"), &RpzSpec { action_override, ..spec() }, &[]).listed.unwrap();
        assert_eq!(shown(&listed), expected);
        assert_eq!(listed.order.rpz.unwrap().missing_type, missing);
    }
    for action in [Action::NODATA, Action::Passthru, Action::DROP, Action::TCP_ONLY] {
        let spec = RpzSpec { action_override: ActionOverride::Action(action), ..spec() };
        assert!(rules(lines, &spec).iter().all(|rule| rule.contains(&format!(": {action}"))));
    }
}

#[test]
fn no_answer_outlives_the_subscribers_bound() {
    let spec = RpzSpec { max_ttl_s: 30, ..spec() };
    let lines = "a CNAME .\nb 20 CNAME .\nc A 192.0.2.1\nc 10 TXT t\nd CNAME g.\n";
    assert_eq!(
        rules(lines, &spec),
        [
            "qname exact a: nxdomain 30",
            "qname exact b: nxdomain 20",
            "qname exact c: local-data 30 A 192.0.2.1 10 TXT t",
            "qname exact d: local-data 30 CNAME g",
        ]
    );
    let listed = read(HEAD, &spec, &[]).listed.unwrap();
    assert_eq!(listed.order.rpz.unwrap().soa_ttl_s, 30);
}

#[test]
fn the_drafts_own_example_is_read_whole() {
    // Appendix A's extended example, in our words: its comments are left out and its relative MX targets are kept.
    let zone = r#"
        $ORIGIN rpz.example.net.
        $TTL 1H
        @                   SOA LOCALHOST. named-mgr.example.net. (
                                                1 1h 15m 30d 2h)
                            NS LOCALHOST.
        nxdomain.example.com        CNAME   .       ; NXDOMAIN policy
        nodata.example.com          CNAME   *.      ; NODATA policy
        bad.example.com             A       10.0.0.1
                                    AAAA    2001:db8::1
        *.azone.example.com         CNAME   garden.example.net.
        ok.azone.example.com        CNAME   rpz-passthru.
        bzone.example.com           CNAME   *.garden.example.net.
        24.0.2.0.192.rpz-ip         CNAME   .
        32.1.2.0.192.rpz-ip         CNAME   rpz-passthru.
        ns.example.com.rpz-nsdname  CNAME   .
        32.zz.db8.2001.rpz-nsip     CNAME   .
        25.128.2.0.192.rpz-ip       A       172.16.0.1
        25.128.2.0.192.rpz-ip       MX      10 mx1.example.com
        25.128.2.0.192.rpz-ip       TXT     "Contact Central Services"
        "#;
    let zone: String =
        zone.lines().map(|line| format!("{}\n", line.strip_prefix("        ").unwrap_or(line))).collect();
    let reading = read(&zone, &RpzSpec { origin: None, ..spec() }, &[]);
    assert_eq!(reading.problems, []);
    let listed = reading.listed.unwrap();
    let rpz = listed.order.rpz.clone().unwrap();
    assert_eq!((rpz.origin, rpz.soa_ttl_s), (name("rpz.example.net"), 3600));
    assert_eq!(
        shown(&listed),
        [
            "qname exact nxdomain.example.com: nxdomain 3600",
            "qname exact nodata.example.com: nodata 3600",
            "qname exact bad.example.com: local-data 3600 A 10.0.0.1 3600 AAAA 2001:db8::1",
            "qname subtree-below azone.example.com: local-data 3600 CNAME garden.example.net",
            "qname exact ok.azone.example.com: passthru",
            "qname exact bzone.example.com: local-data 3600 *.CNAME garden.example.net",
            "response-ip exact 24.0.2.0.192.rpz-ip: nxdomain 3600",
            "response-ip exact 32.1.2.0.192.rpz-ip: passthru",
            "nsdname exact ns.example.com.rpz-nsdname: nxdomain 3600",
            "nsip exact 32.zz.db8.2001.rpz-nsip: nxdomain 3600",
            "response-ip exact 25.128.2.0.192.rpz-ip: local-data 3600 A 172.16.0.1 3600 TYPE15 \
         000a036d7831076578616d706c6503636f6d0372707a076578616d706c65036e657400 3600 TXT Contact Central Services",
        ]
    );
}
