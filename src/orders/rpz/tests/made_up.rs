//! Zones made up from rules: what is read back is what was written.

use super::*;
use crate::policy::prefix;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A label that needs no escape, or one that does.
fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-z0-9_-]{1,12}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 1..6).prop_map(|octets| octets.to_ascii_lowercase()),
    ]
}

/// A name of one to four labels that is no wildcard and has no label of RPZ's own at its end.
fn owner() -> impl Strategy<Value = Name> {
    prop::collection::vec(label(), 1..5).prop_filter_map("RPZ's own", |labels| {
        let mut name = Name::ROOT;
        labels.iter().for_each(|label| name.push_label(label).unwrap());
        let own = labels.last().unwrap().starts_with(b"rpz-") || labels[0] == b"*";
        (!own).then_some(name)
    })
}

/// A trigger: what it is held against, how, and its name in a scope.
fn trigger() -> impl Strategy<Value = (TriggerType, MatchKind, Name)> {
    let kind = prop::sample::select(vec![MatchKind::Exact, MatchKind::SubtreeBelow]);
    let on = prop::sample::select(vec![TriggerType::ClientIp, TriggerType::ResponseIp, TriggerType::NsIp]);
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u16; 8]>().prop_map(IpAddr::from),
        // Runs of zeros, which are what is hard to write.
        prop::collection::vec(prop::sample::select(vec![0u16, 0, 1, 0xdb8]), 8)
            .prop_map(|groups| IpAddr::from(<[u16; 8]>::try_from(groups).unwrap())),
    ];
    prop_oneof![
        3 => (kind.clone(), owner()).prop_map(|(kind, name)| (TriggerType::Qname, kind, name)),
        1 => (kind, owner()).prop_map(|(kind, mut name)| {
            name.push_label(b"rpz-nsdname").unwrap();
            (TriggerType::NsDname, kind, name)
        }),
        1 => (on, address, 1u8..=128).prop_map(|(on, address, len)| {
            let len = if address.is_ipv4() { len.min(32) } else { len };
            (on, MatchKind::Exact, prefix::to_name(address, len, on))
        }),
    ]
}

/// What a rule says: as the zone writes it, and as it is shown when it was read.
fn said() -> impl Strategy<Value = (String, String)> {
    let pair = |written: &str, shown: &str| Just((written.to_string(), shown.to_string()));
    prop_oneof![
        pair("7 CNAME .", "nxdomain 7"),
        pair("1m CNAME *.", "nodata 60"),
        pair("CNAME rpz-drop.", "drop"),
        pair("IN CNAME rpz-tcp-only.", "tcp-only"),
        pair("9 CNAME *.garden.example.", "local-data 9 *.CNAME garden.example"),
        any::<[u8; 4]>().prop_map(|octets| {
            let address = Ipv4Addr::from(octets);
            (format!("3 IN A {address}"), format!("local-data 3 A {address}"))
        }),
        "[a-z ;()]{0,20}".prop_map(|text| (format!("4 TXT \"{text}\""), format!("local-data 4 TXT {text}"))),
    ]
}

/// How an entry is laid out.
fn layout(entry: &str, way: u8) -> String {
    match way % 4 {
        0 => entry.to_string(),
        1 => format!("{entry} ; a ( comment \"\n"),
        2 => {
            let (owner, rest) = entry.split_once(' ').unwrap();
            format!("{owner} ( ; one\n {rest}\n ) ; two\n\n")
        }
        _ => format!("{}\r\n", entry.replacen(' ', "\t\t", 1)),
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        rules in prop::collection::vec((trigger(), said(), any::<u8>()), 1..40),
        junk in prop::collection::vec(prop::sample::select(vec![
            "broken A 1.2.3\n", "broken ( CNAME .)) \n", "x..y CNAME .\n", "$NOTHING\n", "broken TXT \"x\n", ";\n", "\n",
        ]), 0..10),
    ) {
        let mut zone = HEAD.to_string();
        let mut expected = BTreeMap::new();
        let mut junk = junk.into_iter();
        for ((on, kind, name), (written, shown), way) in rules {
            // The owner is written with the zone's name, so that escapes meet dots of both sorts.
            let star = if kind == MatchKind::SubtreeBelow { "*." } else { "" };
            if expected.contains_key(&(star, name)) {
                continue;
            }
            let suffix = if way >= 128 { ".rpz.test." } else { "" };
            zone += &layout(&format!("{star}{name}{suffix} {written}"), way);
            zone.push('\n');
            zone += junk.next().unwrap_or_default();
            let shown = shown.replace("CNAME *.", "*.CNAME ");
            expected.insert((star, name), format!("{on} {kind} {name}: {shown}"));
        }
        let reading = read(&zone, &spec(), &[]);
        let mut found = shown(&reading.listed.unwrap());
        let mut expected: Vec<String> = expected.into_values().collect();
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected, "{}", zone);
    }
}
