//! `[[local]]`, as tables.

use super::*;
use crate::stated::leases::Format;

/// The rows that these lines make.
fn rows(lines: &str) -> Vec<Row> {
    Case::new(&format!("[orders]\npaths = []\n{lines}"), &[]).load().local
}

#[test]
fn rows_are_read_as_they_are_meant() {
    assert_eq!(rows(""), []);
    let case = Case::new(
        "[[local]]\nzone = 'LAN.'\nrecords = ['nas A 192.168.1.10', '@ MX 10 mail']\nhosts = ['hosts', '/etc/hosts']\n\
         zone_files = ['lan.zone']\nleases = ['leases']\nlease_format = 'dhcpd'\nttl = '2m'\nptr = false\n\n\
         [[local]]\nrecords = ['printer A 192.168.1.11']\n",
        &[],
    );
    let [row, other] = &case.load().local[..] else { panic!("two rows") };
    let inside = |name: &str| case.dir.path().join(name);
    assert_eq!(row.zone, "lan".parse().ok());
    let records: Vec<(String, u32)> =
        row.records.iter().map(|record| (record.owner.to_string(), record.ttl_s)).collect();
    assert_eq!(records, [("nas.lan".to_owned(), 120), ("lan".to_owned(), 120)]);
    assert_eq!(row.hosts, [inside("hosts"), "/etc/hosts".into()]);
    assert_eq!((&row.zone_files, &row.leases), (&vec![inside("lan.zone")], &vec![inside("leases")]));
    assert_eq!((row.lease_format, row.ttl_s, row.ptr), (Some(Format::Dhcpd), 120, false));
    let plain = Row { records: other.records.clone(), ..Row::default() };
    assert_eq!((other, other.records[0].owner.to_string()), (&plain, "printer".to_owned()));
    assert_eq!((plain.ttl_s, plain.ptr), (300, true));
    // What is in effect says the same wherever it is read again.
    let effective = case.load().effective;
    let again = Case::new(&effective, &[]).load().local;
    assert_eq!(again, case.load().local, "{effective}");
    assert_eq!(rows("[[local]]\nleases = ['x']\nlease_format = 'kea'")[0].lease_format, Some(Format::Kea));
    assert_eq!(rows("[[local]]\nhosts = ['x']\nttl = 5")[0].ttl_s, 5);
    // A zone of which nothing exists.
    assert_eq!(rows("[[local]]\nzone = 'corp'").len(), 1);
}

#[test]
fn what_is_wrong_with_rows() {
    for (lines, line, expected) in [
        ("", 1, "`local[0]` states nothing\n  hint: name a zone, records, or files"),
        ("zon = 'lan'", 2, "unknown key `local[0].zon`\n  hint: did you mean `zone`?"),
        ("zone = 'a..b'", 2, "`local[0].zone` has the name \"a..b\": a label is empty"),
        ("zone = '.'", 2, "`local[0].zone` has the name \".\": the root cannot be listed"),
        ("zone = 'lan'\nttl = '9d'", 3, "`local[0].ttl` is no length of time up to a week"),
        ("zone = 'lan'\nlease_format = 'kea'", 3, "`local[0].lease_format` is there, but no leases are"),
        ("leases = ['a']\nlease_format = 'keah'", 3, "`local[0]` does not fit: unknown variant `keah`"),
        ("hosts = ['a', '']", 2, "`local[0].hosts[1]` is empty"),
        (
            "zone = 'lan'\nrecords = [\n  'nas A 192.168.1.10',\n  '*.apps CNAME nas',\n]",
            5,
            "`local[0].records[1]` is \"*.apps CNAME nas\": *.apps is not in zone lan\n  hint: write *.apps.lan, or put it",
        ),
        (
            "zone = 'lan'\nrecords = ['nas A 192.168.1']",
            3,
            "`local[0].records[0]` is \"nas A 192.168.1\": expected IPv4 address\n  hint: write it as \"nas A 192.168.1.10\"",
        ),
        (
            "zone = 'lan'\nrecords = ['nas A 192.168.1.10', 'nas CNAME x']",
            3,
            "`local[0].records[1]` is \"nas CNAME x\": a CNAME can be the only record of its owner\n  hint: take one",
        ),
        (
            "zone = 'lan'\nrecords = ['nas A 192.168.1.10']\n[[local]]\nrecords = ['nas.lan CNAME x']",
            5,
            "`local[1].records[0]` is \"nas.lan CNAME x\": a CNAME can be the only record",
        ),
        (
            "zone = 'fritz.box'\n[[forward]]\nzones = ['Fritz.Box']\nservers = ['192.168.178.1']",
            2,
            "`local[0].zone` is fritz.box, which forward[0] has others asked about\n  hint: take it out of one",
        ),
        (
            "zone = 'home.arpa'\n[special]\nforward = ['home.arpa']",
            2,
            "`local[0].zone` is home.arpa, which special.forward has others asked about\n  hint: take it out of one",
        ),
    ] {
        let problems = Case::new(&format!("[[local]]\n{lines}"), &[]).problems();
        let place = format!("error: sinkscope.toml:{line}: {expected}");
        assert!(problems.contains(&place), "{lines}\n{problems}");
    }
    // Where the zone cannot be read nothing is said of records in it.
    let problems =
        Case::new("[[local]]\nzone = 'a..b'\nrecords = ['x.lan A 192.0.2.1', 'y ???']", &[]).problems();
    assert_eq!(problems.lines().filter(|line| line.starts_with("error")).count(), 1, "{problems}");
    assert!(Case::new("[local]\nzone = 'lan'", &[]).problems().contains("write [[local]] on a line"));
}

#[test]
fn a_zone_of_others_is_warned_of() {
    let warnings = Case::new("[[local]]\nzone = 'com'", &[]).load().warnings;
    let found =
        warnings.iter().find(|one| one.message.starts_with("`local[0].zone` is com, below which")).unwrap();
    assert_eq!(found.line, Some(2));
}
