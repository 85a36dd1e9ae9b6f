use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::iana::Rtype;
use crate::name::NameList;
use crate::orders::Filled;
use crate::policy::{OrderWithNames, Policy, PolicyZone, Verdict};
use crate::trace::read::{Options, Reader};
use clap::Parser;

/// The options as a command line has them.
#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    spec: Spec,
}

/// A spec of these options.
fn spec(options: &str) -> Spec {
    Line::parse_from(std::iter::once("x").chain(options.split_whitespace())).spec
}

/// One order over `h0.ddns.example` to `h99.ddns.example`, with its policy.
fn orders() -> (Filled, Policy) {
    let order = crate::orders::order_file::parse(
        "id = \"x\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"a.example\"]\n",
        "o.toml",
        &mut |_| panic!("no file"),
    );
    let order = order.listed.expect("a sound order");
    let names: NameList =
        (0..100).map(|host| format!("h{host}.ddns.example").parse::<Name>().unwrap()).collect();
    let zone = PolicyZone {
        name: "o".into(),
        orders: vec![Arc::new(OrderWithNames::listing(order.order, [names]))],
    };
    let loaded = Filled::of(vec![zone], Vec::new());
    let policy = Policy::compile(&loaded.zones, &[], 1);
    (loaded, policy)
}

/// A maker with these options over [`orders`].
fn maker(options: &str) -> Maker {
    let (loaded, policy) = orders();
    let spec = spec(options);
    let names = Names::gather(&spec, &loaded, &policy, 0).unwrap();
    Maker::new(spec, names)
}

/// That many queries.
fn made(maker: &mut Maker, count: usize) -> Vec<Entry> {
    let mut entry = Entry::default();
    (0..count)
        .map(|_| {
            maker.make(&mut entry);
            entry.clone()
        })
        .collect()
}

#[test]
fn shares_are_kept() {
    let (_, policy) = orders();
    let entries = made(
        &mut maker(
            "--listed 20% --siblings 10% --unique 5% --made-names 50 --edns 50% --dnssec 40% --ipv6 30%",
        ),
        20_000,
    );
    let (mut kinds, mut types) = (HashMap::new(), HashMap::new());
    let (mut edns, mut dnssec, mut v6) = (0, 0, 0);
    for entry in &entries {
        let query = crate::dns::parse(&entry.message).expect("a sound query");
        let listed = matches!(policy.verdict(&query.qname, 0), Verdict::Act(..));
        let under = |zone: &str| query.qname.is_at_or_below(&zone.parse().unwrap());
        let kind = match () {
            () if listed => "listed",
            () if under("ddns.example") => "sibling",
            () if query.qname.labels().next().is_some_and(|label| label.len() == UNIQUE_LABEL_LEN) => {
                "unique"
            }
            () if under("in-addr.arpa") => "reverse",
            () => "popular",
        };
        assert_eq!(kind == "reverse", query.qtype == Rtype::PTR);
        *kinds.entry(kind).or_insert(0) += 1;
        *types.entry(query.qtype).or_insert(0) += 1;
        edns += u32::from(query.edns.is_some());
        dnssec += u32::from(query.dnssec_ok());
        v6 += u32::from(entry.client.is_some_and(|client| client.is_ipv6()));
    }
    let near = |found: u32, share: f64| (f64::from(found) / 20_000.0 - share).abs() < 0.02;
    for (kind, share) in
        [("listed", 0.2), ("sibling", 0.1), ("unique", 0.05), ("reverse", 0.013), ("popular", 0.637)]
    {
        assert!(near(kinds[kind], share), "{kind}: {kinds:?}");
    }
    assert!(near(types[&Rtype::AAAA], 0.25) && near(types[&Rtype::HTTPS], 0.1), "{types:?}");
    assert!(near(edns, 0.5) && near(dnssec, 0.2) && near(v6, 0.3), "{edns} {dnssec} {v6}");
    let last = entries.last().and_then(|entry| entry.at).unwrap();
    let seconds = last.as_secs_f64() - 1_767_225_600.0;
    assert!((seconds - 20.0).abs() < 1.0, "a thousand a second: {seconds}");
}

#[test]
fn neighbours_are_taken_below_zones_only() {
    let (loaded, policy) = orders();
    let folder = tempfile::tempdir().unwrap();
    for (zones, found) in [("other.example\nddns.example\n", true), ("dns.example\nother.example\n", false)] {
        let path = folder.path().join("zones");
        std::fs::write(&path, zones).unwrap();
        let spec = Spec { sibling_zones: Some(path), ..spec("--made-names 5") };
        let names = Names::gather(&spec, &loaded, &policy, 0).unwrap();
        assert_eq!((names.listed.len(), !names.siblings.is_empty()), (100, found), "{zones}");
        let zone: Name = "ddns.example".parse().unwrap();
        for number in 0..names.siblings.len() {
            let name = Name::from_wire(names.siblings.name(number)).unwrap();
            assert!(name.is_at_or_below(&zone) && policy.verdict(&name, 0) == Verdict::Clear, "{name}");
        }
    }
    let spec = Spec { sibling_zones: Some("/nonexistent".into()), ..spec("--made-names 5") };
    assert!(Names::gather(&spec, &loaded, &policy, 0).is_err());
}

#[test]
fn the_same_seed_makes_the_same() {
    let (mut first, mut again, mut other) = (maker("--seed 5"), maker("--seed 5"), maker("--seed 6"));
    let (first, again, other) = (made(&mut first, 300), made(&mut again, 300), made(&mut other, 300));
    assert_eq!(first, again);
    assert_ne!(first, other);
    let mut streams = maker("--seed 5");
    assert_ne!(made(&mut streams.stream(1), 10), made(&mut streams.stream(2), 10));
    assert_eq!(made(&mut streams.stream(0), 10), made(&mut streams, 10));
}

#[test]
fn without_orders_every_name_is_popular() {
    let spec = spec("--listed 50% --siblings 50% --unique 0 --types A");
    let names = Names::gather(&spec, &Filled::default(), &Policy::empty(), 0).unwrap();
    assert!(names.listed.is_empty() && names.siblings.is_empty());
    let popular: Vec<Vec<u8>> =
        (0..names.popular.len()).map(|number| names.popular.name(number).to_vec()).collect();
    for entry in made(&mut Maker::new(spec, names), 500) {
        let query = crate::dns::parse(&entry.message).unwrap();
        assert!(popular.iter().any(|name| name == query.qname.as_wire()));
    }
}

#[test]
fn what_is_written_is_read_again() {
    for (format, whole) in [(Format::Pcap, true), (Format::Text, false)] {
        let entries = made(&mut maker("--made-names 100"), 500);
        let mut writer = Writer::new(Vec::new(), format).unwrap();
        for entry in &entries {
            writer.write(entry).unwrap();
        }
        let octets = writer.finish().unwrap();
        let mut reader = Reader::new(std::io::Cursor::new(octets), Options::default()).unwrap();
        let read: Vec<Entry> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!(read.len(), entries.len());
        assert_eq!(*reader.skipped(), Default::default());
        if whole {
            assert_eq!(read, entries);
        }
        let key = |entry: &Entry| {
            crate::dns::parse(&entry.message).map(|query| (query.qname, query.qtype)).unwrap()
        };
        assert!(read.iter().zip(&entries).all(|(read, made)| key(read) == key(made)));
    }
}

#[test]
fn a_list_of_popular_names_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("popular.txt");
    std::fs::write(&path, "# ranks\nfirst.example\nsecond.example\n").unwrap();
    let with = |path: &std::path::Path| {
        Names::gather(
            &Spec { popular: Some(path.into()), ..spec("") },
            &Filled::default(),
            &Policy::empty(),
            0,
        )
    };
    let names = with(&path).unwrap();
    assert_eq!((names.popular.len(), names.popular.name(0)), (2, &b"\x05first\x07example\0"[..]));
    std::fs::write(&path, "#\n").unwrap();
    assert!(with(&path).unwrap_err().to_string().contains("no names in it"));
    assert!(with(&folder.path().join("none")).unwrap_err().to_string().contains("none: "));
}

#[test]
fn long_parents_get_no_child() {
    let mut parent = Name::ROOT;
    while parent.push_label(b"label").is_ok() {}
    let mut made = [0; MAX_NAME_LEN];
    assert_eq!(unique(parent.as_wire(), &mut Random::new(1, 1), &mut made), parent.as_wire());
    let short: Name = "example".parse().unwrap();
    let name = Name::from_wire(unique(short.as_wire(), &mut Random::new(1, 1), &mut made)).unwrap();
    assert_eq!(name.parent(), Some(short));
}
