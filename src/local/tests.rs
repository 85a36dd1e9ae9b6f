use super::special::{is_top_level, zones};
use super::*;
use crate::dns::testing::question;
use crate::dns::wire::Message;

const A: Rtype = Rtype::A;
const PTR: Rtype = Rtype::PTR;
/// The address in IPv6 that is this host, reversed.
const LOOPBACK: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";

/// A name.
fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// What is stated by lines of `owner TYPE data`, where data is an address, a name or, of other types, text.
fn stated(zones: &[&str], lines: &[&str]) -> Stated {
    let record = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let rtype: Rtype = words[1].parse().unwrap();
        let rdata = match words[2].parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(v4)) => v4.octets().to_vec(),
            Ok(std::net::IpAddr::V6(v6)) => v6.octets().to_vec(),
            Err(_) if matches!(rtype, Rtype::CNAME | Rtype::PTR | Rtype::NS) => {
                name(words[2]).as_wire().to_vec()
            }
            Err(_) => [&[words[2].len() as u8], words[2].as_bytes()].concat(),
        };
        Record { owner: name(words[0]), rtype, ttl_s: 300, rdata: rdata.into() }
    };
    let zones = zones.iter().map(|zone| name(zone)).collect();
    Stated { zones, records: lines.iter().map(record).collect() }
}

/// What is said: `-` for nothing, else the rcode, and of each record its owner and type.
fn said(names: &LocalNames, qname: &str, qtype: Rtype) -> String {
    let asked = question(qname, qtype);
    let octets = asked.octets();
    let (truth, next) = match names.look(&Query::plain(&asked.qname, qtype, &octets)) {
        None => return "-".into(),
        Some(Local::Truth(truth)) => (truth, String::new()),
        Some(Local::Leads(truth, next)) => (truth, format!(" -> {}", next.qname)),
    };
    assert!(truth.ours && truth.ttl_offsets.is_empty() && truth.lifetime_s == u32::MAX);
    let message = Message::new(&octets, &truth.octets);
    let count = usize::from(truth.answers + truth.authorities);
    let records: Vec<_> = message.records(message.base(), count).map(Result::unwrap).collect();
    let record = |record: &crate::dns::wire::Record| {
        format!(" {}/{}", message.name(record.owner_at).unwrap().0, record.rtype)
    };
    let records: String = records.iter().map(record).collect();
    format!("{}{records}{next}", truth.rcode)
}

#[test]
fn special_names_are_answered_here() {
    let loopback = &format!("NOERROR {LOOPBACK}/PTR");
    let cases = [
        ("localhost", A, "NOERROR localhost/A"),
        ("a.LocalHost", Rtype::AAAA, "NOERROR a.localhost/AAAA"),
        ("localhost", Rtype::MX, "NOERROR localhost/SOA"),
        ("a.b.localhost", Rtype::MX, "NOERROR localhost/SOA"),
        ("localhost", Rtype::ANY, "-"),
        ("test", A, "NXDOMAIN test/SOA"),
        ("a.b.invalid", A, "NXDOMAIN invalid/SOA"),
        ("x.onion", A, "NXDOMAIN onion/SOA"),
        ("printer.local", A, "NXDOMAIN local/SOA"),
        ("printer.local", Rtype::ANY, "NXDOMAIN local/SOA"),
        ("home.arpa", A, "NOERROR home.arpa/SOA"),
        ("home.arpa", Rtype::SOA, "NOERROR home.arpa/SOA"),
        ("home.arpa", Rtype::DS, "-"),
        ("nas.home.arpa", A, "NXDOMAIN home.arpa/SOA"),
        ("nas.home.arpa", Rtype::DS, "NXDOMAIN home.arpa/SOA"),
        ("default.service.arpa", Rtype::SOA, "NXDOMAIN service.arpa/SOA"),
        ("resolver.arpa", A, "NOERROR resolver.arpa/SOA"),
        ("_dns.resolver.arpa", Rtype::SVCB, "NOERROR resolver.arpa/SOA"),
        ("10.in-addr.arpa", Rtype::NS, "NOERROR 10.in-addr.arpa/NS"),
        ("10.in-addr.arpa", Rtype::ANY, "-"),
        ("10.in-addr.arpa", Rtype::DS, "-"),
        ("1.0.0.10.in-addr.arpa", PTR, "NXDOMAIN 10.in-addr.arpa/SOA"),
        ("1.1.168.192.in-addr.arpa", PTR, "NXDOMAIN 168.192.in-addr.arpa/SOA"),
        ("1.0.0.127.in-addr.arpa", PTR, "NOERROR 1.0.0.127.in-addr.arpa/PTR"),
        ("1.0.0.127.in-addr.arpa", A, "NOERROR 127.in-addr.arpa/SOA"),
        ("0.0.127.in-addr.arpa", PTR, "NOERROR 127.in-addr.arpa/SOA"),
        ("2.0.0.127.in-addr.arpa", PTR, "NXDOMAIN 127.in-addr.arpa/SOA"),
        (LOOPBACK, A, &format!("NOERROR {LOOPBACK}/SOA")),
        (LOOPBACK, PTR, loopback),
        ("1.64.100.in-addr.arpa", PTR, "NXDOMAIN 64.100.in-addr.arpa/SOA"),
        ("1.127.100.in-addr.arpa", PTR, "NXDOMAIN 127.100.in-addr.arpa/SOA"),
        ("5.b.e.f.ip6.arpa", PTR, "NXDOMAIN b.e.f.ip6.arpa/SOA"),
        // Home networks.
        ("nas.lan", A, "NXDOMAIN lan/SOA"),
        ("lan", Rtype::DS, "NXDOMAIN lan/SOA"),
        ("www.example.com.lan", A, "NXDOMAIN lan/SOA"),
        ("x.internal", A, "NXDOMAIN internal/SOA"),
        ("x.localdomain", A, "NXDOMAIN localdomain/SOA"),
        ("nas", A, "NXDOMAIN nas/SOA"),
        ("nas", Rtype::HTTPS, "NXDOMAIN nas/SOA"),
    ];
    let names = LocalNames::default();
    for (qname, qtype, expected) in cases {
        assert_eq!(said(&names, qname, qtype), expected, "{qname} {qtype}");
    }
}

#[test]
fn other_names_are_forwarded() {
    let names = LocalNames::default();
    let all = "com . arpa example alt example.com localhost.com xlocalhost.net ipv4only.arpa in-addr.arpa ip6.arpa \
               8.8.8.8.in-addr.arpa 1.15.172.in-addr.arpa 1.32.172.in-addr.arpa 1.63.100.in-addr.arpa \
               1.128.100.in-addr.arpa 170.0.0.192.in-addr.arpa c.e.f.ip6.arpa 0.0.ip6.arpa x.alt lan.example.com \
               xn--p1ai a.example";
    for qname in all.split_whitespace() {
        for qtype in [A, Rtype::DS, Rtype::ANY] {
            assert_eq!(said(&names, qname, qtype), "-", "{qname} {qtype}");
        }
        assert!(!names.holds(&name(qname)));
    }
}

#[test]
fn zones_are_forwarded_when_told_so() {
    let forward = ["168.192.in-addr.arpa", "lan.test", "corp"].map(name).to_vec();
    let names = LocalNames::compile(&Special { forward, forward_home_names: false }, Stated::default());
    for (qname, forwarded) in [
        ("168.192.in-addr.arpa", true),
        ("1.2.168.192.in-addr.arpa", true),
        ("1.10.in-addr.arpa", false),
        ("a.lan.test", true),
        ("test", false),
        ("corp", true),
        ("a.corp", true),
        ("a.lan", false),
        ("nas", false),
    ] {
        assert_eq!(said(&names, qname, PTR) == "-", forwarded, "{qname}");
    }
    let special = Special { forward: vec![Name::ROOT], forward_home_names: false };
    let names = LocalNames::compile(&special, Stated::default());
    for qname in ["nas", "localhost", "a.lan", "1.0.0.127.in-addr.arpa"] {
        assert_eq!(said(&names, qname, A), "-", "{qname}");
    }
    let special = Special { forward: Vec::new(), forward_home_names: true };
    let names = LocalNames::compile(&special, Stated::default());
    for (qname, forwarded) in [("nas", true), ("a.lan", true), ("a.local", false), ("a.home.arpa", false)] {
        assert_eq!(said(&names, qname, A) == "-", forwarded, "{qname}");
    }
}

#[test]
fn what_is_stated_is_said() {
    let zones = &["lan", "office.example.com"];
    let lines = &[
        "nas.lan A 192.168.1.10",
        "nas.lan A 192.168.1.11",
        "nas.lan AAAA fd00::10",
        "www.lan CNAME nas.lan",
        "web.lan CNAME www.lan",
        "out.lan CNAME cdn.example.net",
        "gone.lan CNAME nobody.lan",
        "far.lan CNAME x.onion",
        "self.lan CNAME self.lan",
        "ring.lan CNAME ring2.lan",
        "ring2.lan CNAME ring.lan",
        "deep.down.lan TXT hello",
        "*.apps.lan A 192.168.1.20",
        "own.apps.lan TXT x",
        "*.alias.lan CNAME nas.lan",
        "10.1.168.192.in-addr.arpa PTR nas.lan",
        "printer.home.arpa A 192.168.1.30",
        "single.example.net A 192.168.1.40",
        "*.wild.example.net A 192.168.1.41",
        "nas A 192.168.1.10",
        "a.office.example.com A 10.0.0.1",
    ];
    let names = LocalNames::compile(&Special::default(), stated(zones, lines));
    let cases = [
        ("nas.lan", A, "NOERROR nas.lan/A nas.lan/A"),
        ("NAS.lan", Rtype::AAAA, "NOERROR nas.lan/AAAA"),
        ("nas.lan", Rtype::MX, "NOERROR lan/SOA"),
        ("nas.lan", Rtype::ANY, "-"),
        ("x.nas.lan", A, "NXDOMAIN lan/SOA"),
        ("other.lan", A, "NXDOMAIN lan/SOA"),
        ("lan", Rtype::SOA, "NOERROR lan/SOA"),
        ("lan", Rtype::NS, "NOERROR lan/NS"),
        ("lan", Rtype::DS, "NOERROR lan/SOA"),
        ("lan", A, "NOERROR lan/SOA"),
        // Aliases, followed as far as they lead.
        ("www.lan", A, "NOERROR www.lan/CNAME nas.lan/A nas.lan/A"),
        ("web.lan", Rtype::AAAA, "NOERROR web.lan/CNAME www.lan/CNAME nas.lan/AAAA"),
        ("web.lan", Rtype::CNAME, "NOERROR web.lan/CNAME"),
        ("web.lan", Rtype::TXT, "NOERROR web.lan/CNAME www.lan/CNAME lan/SOA"),
        ("out.lan", A, "NOERROR out.lan/CNAME -> cdn.example.net"),
        ("gone.lan", A, "NXDOMAIN gone.lan/CNAME lan/SOA"),
        ("far.lan", A, "NXDOMAIN far.lan/CNAME onion/SOA"),
        ("self.lan", A, "NOERROR self.lan/CNAME"),
        ("ring.lan", A, "NOERROR ring.lan/CNAME ring2.lan/CNAME"),
        // RFC 8020 §3.1: names above a name exist.
        ("down.lan", A, "NOERROR lan/SOA"),
        ("deep.down.lan", Rtype::TXT, "NOERROR deep.down.lan/TXT"),
        ("x.down.lan", A, "NXDOMAIN lan/SOA"),
        // RFC 4592 §2.2.1 and §3.3: only what does not exist, at any depth.
        ("x.apps.lan", A, "NOERROR x.apps.lan/A"),
        ("y.x.apps.lan", A, "NOERROR y.x.apps.lan/A"),
        ("*.apps.lan", A, "NOERROR *.apps.lan/A"),
        ("x.apps.lan", Rtype::TXT, "NOERROR lan/SOA"),
        ("own.apps.lan", A, "NOERROR lan/SOA"),
        ("x.own.apps.lan", A, "NXDOMAIN lan/SOA"),
        ("apps.lan", A, "NOERROR lan/SOA"),
        ("x.alias.lan", A, "NOERROR x.alias.lan/CNAME nas.lan/A nas.lan/A"),
        // In zones that are there by themselves.
        ("10.1.168.192.in-addr.arpa", PTR, "NOERROR 10.1.168.192.in-addr.arpa/PTR"),
        ("11.1.168.192.in-addr.arpa", PTR, "NXDOMAIN 168.192.in-addr.arpa/SOA"),
        ("1.168.192.in-addr.arpa", PTR, "NOERROR 168.192.in-addr.arpa/SOA"),
        ("printer.home.arpa", A, "NOERROR printer.home.arpa/A"),
        ("x.home.arpa", A, "NXDOMAIN home.arpa/SOA"),
        ("nas", A, "NOERROR nas/A"),
        ("nas", Rtype::AAAA, "NOERROR nas/SOA"),
        ("tv", A, "-"),
        ("toaster", A, "NXDOMAIN toaster/SOA"),
        // By themselves.
        ("single.example.net", A, "NOERROR single.example.net/A"),
        ("single.example.net", Rtype::AAAA, "NOERROR single.example.net/SOA"),
        ("single.example.net", Rtype::DS, "NOERROR single.example.net/SOA"),
        ("x.single.example.net", A, "-"),
        ("example.net", A, "-"),
        ("x.wild.example.net", A, "NOERROR x.wild.example.net/A"),
        ("wild.example.net", A, "-"),
        // A zone in the public tree, whose parent answers for its DS.
        ("a.office.example.com", A, "NOERROR a.office.example.com/A"),
        ("b.office.example.com", A, "NXDOMAIN office.example.com/SOA"),
        ("office.example.com", Rtype::DS, "-"),
        ("a.office.example.com", Rtype::DS, "NOERROR office.example.com/SOA"),
        ("example.com", A, "-"),
    ];
    for (qname, qtype, expected) in cases {
        assert_eq!(said(&names, qname, qtype), expected, "{qname} {qtype}");
    }
    assert_eq!((names.zones(), names.records()), (2, lines.len()));
}

#[test]
fn what_is_stated_stands_in_zones_of_others() {
    let special =
        Special { forward: vec![name("lan"), name("168.192.in-addr.arpa")], forward_home_names: false };
    let lines = &["nas.lan A 192.168.1.10", "10.1.168.192.in-addr.arpa PTR nas.lan", "*.x.lan A 192.168.1.1"];
    let names = LocalNames::compile(&special, stated(&[], lines));
    for (qname, qtype, expected) in [
        ("nas.lan", A, "NOERROR nas.lan/A"),
        ("nas.lan", Rtype::AAAA, "NOERROR nas.lan/SOA"),
        ("tv.lan", A, "-"),
        ("lan", A, "-"),
        ("y.x.lan", A, "NOERROR y.x.lan/A"),
        ("x.lan", A, "-"),
        ("10.1.168.192.in-addr.arpa", PTR, "NOERROR 10.1.168.192.in-addr.arpa/PTR"),
        ("11.1.168.192.in-addr.arpa", PTR, "-"),
    ] {
        assert_eq!(said(&names, qname, qtype), expected, "{qname} {qtype}");
    }
    // A zone of the operator's own is more than that its names were others'.
    let names = LocalNames::compile(&special, stated(&["lan"], &[]));
    assert_eq!(said(&names, "tv.lan", A), "NXDOMAIN lan/SOA");
}

#[test]
fn zones_have_the_authority_that_is_stated() {
    let soa = |mname: &str| {
        let mut rdata = [name(mname).as_wire(), name("root.lan").as_wire()].concat();
        [7u32, 3600, 600, 86400, 30].iter().for_each(|number| rdata.extend(number.to_be_bytes()));
        Record { owner: name("lan"), rtype: Rtype::SOA, ttl_s: 900, rdata: rdata.into() }
    };
    let all = Stated { zones: vec![name("lan")], records: vec![soa("ns.lan")] };
    let names = LocalNames::compile(&Special::default(), all);
    let asked = question("x.lan", A);
    let octets = asked.octets();
    let Some(Local::Truth(truth)) = names.look(&Query::plain(&asked.qname, A, &octets)) else {
        panic!("it is denied");
    };
    let message = Message::new(&octets, &truth.octets);
    let record = message.record(message.base()).unwrap();
    // RFC 2308 §3: the lesser of its TTL and of MINIMUM.
    assert_eq!((record.rtype, record.ttl), (Rtype::SOA, 30));
    assert_eq!(message.name(record.rdata.start).unwrap().0, name("ns.lan"));
}

#[test]
fn a_set_that_no_message_holds_fails() {
    let long = "x".repeat(200);
    let lines: Vec<String> = (0..90).map(|index| format!("big.lan TXT {index}{long}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let names = LocalNames::compile(&Special::default(), stated(&["lan"], &lines));
    assert_eq!(said(&names, "big.lan", Rtype::TXT).matches("TXT").count(), 90);
    let huge = |index: u8| Record {
        owner: name("huge.lan"),
        rtype: Rtype(65_280),
        ttl_s: 60,
        rdata: vec![index; 60_000].into(),
    };
    let records = vec![huge(1), huge(2)];
    let names = LocalNames::compile(&Special::default(), Stated { zones: vec![name("lan")], records });
    assert_eq!(said(&names, "huge.lan", Rtype(65_280)), "SERVFAIL");
}

#[test]
fn another_value_is_about_the_same_names_or_not() {
    let of = |zones: &[&str], lines: &[&str]| LocalNames::compile(&Special::default(), stated(zones, lines));
    let first = of(&["lan"], &["nas.lan A 192.168.1.1", "x.example.net A 192.168.1.1"]);
    for (zones, lines, same) in [
        (&["lan"][..], &["x.example.net A 192.168.1.1"][..], true),
        (&["lan"], &["x.example.net A 192.168.1.9", "tv.lan A 192.168.1.2", "toaster A 192.168.1.2"], true),
        (&["lan"], &["x.example.net A 192.168.1.1", "9.1.168.192.in-addr.arpa PTR tv.lan"], true),
        (&["lan"], &[], false),
        (&["lan"], &["y.example.net A 192.168.1.1"], false),
        (&["lan", "example.net"], &["x.example.net A 192.168.1.1"], false),
        (&["lan", "x.example.net"], &[], false),
        (&[], &["x.example.net A 192.168.1.1"], true),
    ] {
        let other = of(zones, lines);
        assert_eq!(first.is_about_the_same(&other), same, "{zones:?} {lines:?}");
        assert_ne!(first.epoch(), other.epoch());
    }
    let forwards = Special { forward_home_names: true, ..Special::default() };
    assert!(!LocalNames::default().is_about_the_same(&LocalNames::compile(&forwards, Stated::default())));
}

#[test]
fn every_zone_is_a_name() {
    // RFC 6303 lists 18, 7, 2, 1, 4 and 1 zones; three more have documents of their own, and RFC 7793 has 64.
    assert_eq!(zones().count(), 12 + 18 + 7 + 2 + 1 + 4 + 1 + 3 + 64);
    assert!(!super::special::NOBODY.is_root());
    for (label, known) in [("com", true), ("arpa", true), ("xn--p1ai", true), ("nas", false), ("lan", false)]
    {
        assert_eq!(is_top_level(&name(label)), known, "{label}");
    }
}
