//! Names of our own: whatever octets hosts files, zone files, leases and records are made of, every record that comes of them is one.

use std::sync::Arc;

use sinkscope::name::Name;
use sinkscope::stated::gather::{Content, gather};
use sinkscope::stated::leases::{self, Format, Part};
use sinkscope::stated::row::{self, Kind, Row};
use sinkscope::stated::{hosts, zone_file};

/// Reads octets as each of them, and puts together what came of it.
pub fn run(octets: &[u8]) {
    let zone: Name = "lan".parse().expect("a name");
    if let Ok(text) = std::str::from_utf8(octets)
        && let Ok(record) = row::record(text, Some(&zone), 300)
    {
        assert!(record.owner.is_at_or_below(&zone), "{text}");
    }
    let hosts = hosts::read(octets, "hosts").map(|(hosts, _)| Content::Hosts(hosts));
    let mut open = |path: &str| (path.to_owned(), Ok(octets.to_vec()));
    let zone_file =
        zone_file::read(octets, "zone", (Some(&zone), 300), &mut open).map(|(zone, _)| Content::Zone(zone));
    // In two parts, wherever the second begins.
    let (first, second) = octets.split_at(octets.len() / 2);
    let parts = [Part { file: "first", content: first }, Part { file: "second", content: second }];
    let formats = [None, Some(Format::Dnsmasq), Some(Format::Dhcpd), Some(Format::Kea)];
    for format in formats {
        let leases = leases::read(&parts, format).map(|(leases, _)| Content::Leases(leases));
        let contents =
            [&hosts, &zone_file, &leases].map(|content| content.as_ref().ok().cloned().map(Arc::new));
        let rows = [Some(zone), None].map(|zone| Row {
            zone,
            hosts: vec!["hosts".into()],
            zone_files: vec!["zone".into()],
            leases: vec!["leases".into()],
            ..Row::default()
        });
        let [hosts, zone_file, leases] = &contents;
        let gathered = gather(
            &rows,
            &|source| match source.kind {
                Kind::Hosts => hosts.clone(),
                Kind::Zone { .. } => zone_file.clone(),
                Kind::Leases(_) => leases.clone(),
            },
            0,
        );
        for record in &gathered.stated.records {
            assert!(!record.owner.is_root(), "{record:?}");
            assert!(!record.owner.labels().skip(1).any(|label| label == b"*"), "{record:?}");
        }
    }
}
