//! A row of `[[local]]`: what is stated in it, and in which files more is.

use std::path::PathBuf;

use super::leases::Format;
use crate::iana::Rtype;
use crate::local::Record;
use crate::name::Name;
use crate::suffixes;
use crate::zonefile::{self, DNSSEC, Findings, Included, ZoneReader};

/// The TTL of what says none, in seconds: a name of a home network seldom changes, and a change is felt within minutes.
pub const DEFAULT_TTL_S: u32 = 300;
/// The highest TTL of a name from a lease, in seconds. An address that is free again goes to another device within minutes, and
/// nobody is to look for the first one there for longer than this.
pub const LEASE_TTL_S: u32 = 60;

/// Where names stand in RDATA, in words, by type (RFC 1035 §3.3 and the types' own documents): those that may be written short.
const NAMES_AT: [(&str, &[usize]); 20] = [
    ("CNAME", &[0]),
    ("NS", &[0]),
    ("PTR", &[0]),
    ("DNAME", &[0]),
    ("MX", &[1]),
    ("SRV", &[3]),
    ("SVCB", &[1]),
    ("HTTPS", &[1]),
    ("NAPTR", &[5]),
    ("AFSDB", &[1]),
    ("KX", &[1]),
    ("RT", &[1]),
    ("RP", &[0, 1]),
    ("SOA", &[0, 1]),
    ("MINFO", &[0, 1]),
    ("MB", &[0]),
    ("MD", &[0]),
    ("MF", &[0]),
    ("MG", &[0]),
    ("MR", &[0]),
];

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// A zone of our own, what it lacks does not exist; none states records alone.
    pub zone: Option<Name>,
    /// What is stated in the row itself.
    pub records: Vec<Record>,
    /// Hosts files.
    pub hosts: Vec<PathBuf>,
    /// Zone files.
    pub zone_files: Vec<PathBuf>,
    /// Files of DHCP leases.
    pub leases: Vec<PathBuf>,
    /// How those are written; none finds it out.
    pub lease_format: Option<Format>,
    /// The TTL of what says none, in seconds.
    pub ttl_s: u32,
    /// Whether addresses get a PTR record.
    pub ptr: bool,
}

/// What of a file does not depend on anything but the file: rows that read it alike share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// How it is read.
    pub kind: Kind,
}

/// How a file is read.
#[expect(clippy::large_enum_variant, reason = "there is one for each file")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// As hosts(5).
    Hosts,
    /// As a zone file, whose names are relative to a zone, or to the root.
    Zone {
        /// The zone.
        origin: Option<Name>,
        /// The TTL of what says none, in seconds.
        ttl_s: u32,
    },
    /// As leases, of this format if it is not found out.
    Leases(Option<Format>),
}

impl Default for Row {
    /// A row that states nothing.
    fn default() -> Row {
        Row {
            zone: None,
            records: Vec::new(),
            hosts: Vec::new(),
            zone_files: Vec::new(),
            leases: Vec::new(),
            lease_format: None,
            ttl_s: DEFAULT_TTL_S,
            ptr: true,
        }
    }
}

impl Row {
    /// The hosts files as sources.
    pub fn hosts(&self) -> impl Iterator<Item = Source> + '_ {
        self.hosts.iter().map(|path| Source { path: path.clone(), kind: Kind::Hosts })
    }

    /// The zone files as sources.
    pub fn zone_files(&self) -> impl Iterator<Item = Source> + '_ {
        let kind = Kind::Zone { origin: self.zone, ttl_s: self.ttl_s };
        self.zone_files.iter().map(move |path| Source { path: path.clone(), kind: kind.clone() })
    }

    /// The files of leases as sources.
    pub fn leases(&self) -> impl Iterator<Item = Source> + '_ {
        let kind = Kind::Leases(self.lease_format);
        self.leases.iter().map(move |path| Source { path: path.clone(), kind: kind.clone() })
    }

    /// All files as sources.
    pub fn sources(&self) -> impl Iterator<Item = Source> + '_ {
        self.hosts().chain(self.zone_files()).chain(self.leases())
    }
}

/// What is wrong, and what to do about it.
pub type Refusal = (String, String);

/// Reads a record as people write it in a row: `nas A 192.168.1.10`. A name of one label, and `@`, is relative to the zone; any
/// other is a full name, as in Unbound's `local-data`, dnsmasq's options and hosts files.
///
/// # Errors
/// What is wrong with it, and what to do about it.
pub fn record(text: &str, zone: Option<&Name>, ttl_s: u32) -> Result<Record, Refusal> {
    let bad = |why: &str| (why.to_owned(), "write it as \"nas A 192.168.1.10\"".to_owned());
    let entry = zonefile::only(text.trim().as_bytes()).map_err(bad)?;
    if entry.first() == Some(&b'$') {
        return Err(bad("it is a directive, not a record"));
    }
    let parts = zonefile::parts(&entry).map_err(bad)?;
    let owner = parts.owner.ok_or_else(|| bad("it has no owner"))?;
    // The one label that is the zone's too: nobody can tell what is meant, and the other one would be answered with nothing.
    if let Some(zone) = zone.filter(|zone| owner.eq_ignore_ascii_case(zone.to_string().as_bytes()))
        && zone.label_count() == 1
    {
        let what = format!("its owner \"{zone}\" may be the zone itself or {zone}.{zone}");
        return Err((what, format!("write @ for the zone, or {zone}.{zone}")));
    }
    let mut whole = absolute(owner, zone)?;
    whole.push(b' ');
    whole.extend_from_slice(parts.ttl_s.unwrap_or(ttl_s).to_string().as_bytes());
    whole.push(b' ');
    whole.extend_from_slice(parts.rtype);
    let names = NAMES_AT.iter().find(|(rtype, _)| parts.rtype.eq_ignore_ascii_case(rtype.as_bytes()));
    let (mut rest, mut place) = (parts.rdata, 0);
    loop {
        let (word, after) = zonefile::word(rest);
        if word.is_empty() {
            break;
        }
        whole.push(b' ');
        match names.is_some_and(|(_, places)| places.contains(&place)) {
            true => whole.extend_from_slice(&absolute(word, zone)?),
            false => whole.extend_from_slice(word),
        }
        (rest, place) = (after, place + 1);
    }
    let mut nothing = |path: &str| Included { shown: path.to_owned(), content: Err(Refusal::default()) };
    let mut findings = Findings::default();
    let mut reader = ZoneReader::new(Name::ROOT, &mut nothing, &mut findings);
    let read = reader.entry(&whole).map_err(|(why, hint)| match hint {
        "" => bad(&why),
        hint => (why, hint.to_owned()),
    })?;
    let record = Record { owner: read.owner, rtype: read.rtype, ttl_s: read.ttl_s, rdata: read.rdata.into() };
    fits(record.owner, record.rtype)?;
    if matches!(record.rtype, Rtype::SOA | Rtype::NS) {
        let what = format!("{} is the zone's own, and is made here", record.rtype);
        return Err((what, "take it out; other servers are asked about a zone by [[forward]]".to_owned()));
    }
    if let Some(zone) = zone.filter(|zone| !record.owner.is_at_or_below(zone)) {
        let hint = format!("write {}.{zone}, or put it in a row without a zone", record.owner);
        return Err((format!("{} is not in zone {zone}", record.owner), hint));
    }
    Ok(record)
}

/// Whether others have names below this one: a public suffix, but for what is under `arpa`.
pub fn is_public(zone: &Name) -> bool {
    let labels: Vec<&[u8]> = zone.labels().collect();
    if labels.last().is_none_or(|last| *last == b"arpa") {
        return false;
    }
    let found = suffixes::find(&mut labels.iter().rev().copied());
    // Text has no length octet in front and no root behind.
    found.typ.is_some() && found.len == zone.as_wire().len() - 2
}

/// Checks what of a record none of ours can be.
///
/// # Errors
/// What is wrong, and what to do about it.
pub(super) fn fits(owner: Name, rtype: Rtype) -> Result<(), Refusal> {
    let refuse = |what: String, hint: &str| Err((what, hint.to_owned()));
    if rtype.is_meta() {
        return refuse(format!("{rtype} is no type of data"), "take it out");
    }
    if DNSSEC.contains(&rtype) {
        let what = format!("{rtype} is of DNSSEC, and nothing that is stated here is signed");
        return refuse(what, "take it out: names of a network of one's own are not signed");
    }
    if rtype == Rtype::DNAME {
        let hint = "write a wildcard, \"*.old CNAME new\", or have another server asked by [[forward]]";
        return refuse("DNAME is not followed here".to_owned(), hint);
    }
    if owner.labels().skip(1).any(|label| label == b"*") {
        return refuse(format!("{owner} has a * that is not its first label"), "a wildcard is *.example");
    }
    if owner.is_root() || owner.as_wire() == b"\x01*\x00" {
        return refuse("it would be for all names there are".to_owned(), "name a zone: *.example");
    }
    Ok(())
}

/// A name as it is written in a row, with a dot at its end.
fn absolute(word: &[u8], zone: Option<&Name>) -> Result<Vec<u8>, Refusal> {
    let dotted = |zone: &Name| format!("{zone}.").into_bytes();
    if word == b"@" {
        let none = || ("@ is the row's zone, and it has none".to_owned(), "say zone = \"lan\"".to_owned());
        return zone.map(dotted).ok_or_else(none);
    }
    let (mut dots, mut last, mut at) = (0, None, 0);
    while let Some(octet) = word.get(at) {
        match octet {
            b'\\' => at += 1,
            b'.' => (dots, last) = (dots + 1, Some(at)),
            _ => {}
        }
        at += 1;
    }
    let is_whole = last.is_some_and(|last| last + 1 == word.len());
    Ok(match zone {
        _ if is_whole => word.to_vec(),
        Some(zone) if dots == 0 => [word, b".", &dotted(zone)].concat(),
        _ => [word, b"."].concat(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as `owner ttl type length`, or what is wrong with it.
    fn read(text: &str, zone: &str) -> String {
        let zone: Option<Name> = (!zone.is_empty()).then(|| zone.parse().unwrap());
        match record(text, zone.as_ref(), 300) {
            Ok(Record { owner, rtype, ttl_s, rdata }) => {
                let name = Name::from_wire(rdata.get(2..).unwrap_or_default());
                let name = Name::from_wire(&rdata).or(name);
                let data =
                    name.map_or_else(|_| format!("{rdata:02x?}").replace(", ", ""), |name| name.to_string());
                format!("{owner} {ttl_s} {rtype} {data}")
            }
            Err((what, _)) => format!("! {what}"),
        }
    }

    #[test]
    fn records_are_read_as_people_write_them() {
        for (text, zone, expected) in [
            ("nas A 192.168.1.10", "lan", "nas.lan 300 A [c0a8010a]"),
            ("NAS a 192.168.1.10", "lan", "nas.lan 300 A [c0a8010a]"),
            ("nas AAAA fd00::10", "lan", "nas.lan 300 AAAA [fd000000000000000000000000000010]"),
            ("printer 60 A 192.168.1.11", "lan", "printer.lan 60 A [c0a8010b]"),
            ("printer 1h IN A 192.168.1.11", "lan", "printer.lan 3600 A [c0a8010b]"),
            ("printer IN 5 A 192.168.1.11 ; the old one", "lan", "printer.lan 5 A [c0a8010b]"),
            ("nas.lan A 192.168.1.10", "lan", "nas.lan 300 A [c0a8010a]"),
            ("nas.lan. A 192.168.1.10", "lan", "nas.lan 300 A [c0a8010a]"),
            ("a.b.lan A 192.168.1.10", "lan", "a.b.lan 300 A [c0a8010a]"),
            ("@ MX 10 mail.lan", "lan", "lan 300 MX mail.lan"),
            ("@ MX 10 mail", "lan", "lan 300 MX mail.lan"),
            ("mail MX 0 .", "lan", "mail.lan 300 MX ."),
            ("*.apps.lan CNAME nas.lan", "lan", "*.apps.lan 300 CNAME nas.lan"),
            ("* CNAME nas", "lan", "*.lan 300 CNAME nas.lan"),
            ("www CNAME @", "lan", "www.lan 300 CNAME lan"),
            ("www CNAME nas.", "lan", "www.lan 300 CNAME nas"),
            ("www CNAME host.example.com", "lan", "www.lan 300 CNAME host.example.com"),
            ("x CNAME a\\.b", "lan", "x.lan 300 CNAME a\\.b.lan"),
            ("t TXT \"a b;c\" d", "lan", "t.lan 300 TXT [056120623b630164]"),
            (
                "_http._tcp.lan SRV 0 0 80 nas",
                "lan",
                "_http._tcp.lan 300 SRV [000000000050036e6173036c616e00]",
            ),
            ("h HTTPS 1 . alpn=h2", "lan", "h.lan 300 HTTPS [00010000010003026832]"),
            ("a TYPE65280 \\# 1 ff", "lan", "a.lan 300 TYPE65280 [ff]"),
            ("nas A 192.168.1.10", "", "nas 300 A [c0a8010a]"),
            ("nas.example.com A 192.0.2.1", "", "nas.example.com 300 A [c0000201]"),
            ("a CNAME b", "", "a 300 CNAME b"),
            ("x A 192.0.2.1", "home.arpa", "x.home.arpa 300 A [c0000201]"),
            ("10.1.168.192.in-addr.arpa PTR nas.lan", "", "10.1.168.192.in-addr.arpa 300 PTR nas.lan"),
            ("home.arpa A 192.0.2.1", "home.arpa", "home.arpa 300 A [c0000201]"),
            // What is wrong.
            ("", "lan", "! it is empty"),
            ("nas", "lan", "! it has no type"),
            ("nas A", "lan", "! unexpected end of entry"),
            ("nas A 192.168.1", "lan", "! expected IPv4 address"),
            ("nas A 192.168.1.10\nx A 192.0.2.1", "lan", "! it is more than one record"),
            ("$TTL 5", "lan", "! it is a directive, not a record"),
            ("nas CH TXT x", "lan", "! its class is not IN"),
            ("nas XYZ 1", "lan", "! expected rtype"),
            ("lan A 192.168.1.10", "lan", "! its owner \"lan\" may be the zone itself or lan.lan"),
            ("nas.home A 192.168.1.10", "lan", "! nas.home is not in zone lan"),
            ("*.apps CNAME nas", "lan", "! *.apps is not in zone lan"),
            ("_http._tcp SRV 0 0 80 nas", "lan", "! _http._tcp is not in zone lan"),
            ("nas. A 192.168.1.10", "lan", "! nas is not in zone lan"),
            ("@ A 192.168.1.10", "", "! @ is the row's zone, and it has none"),
            ("* A 192.168.1.10", "", "! it would be for all names there are"),
            (". A 192.168.1.10", "", "! it would be for all names there are"),
            ("a.*.lan A 192.168.1.10", "lan", "! a.*.lan has a * that is not its first label"),
            ("@ SOA a b 1 2 3 4 5", "lan", "! SOA is the zone's own, and is made here"),
            ("@ NS ns", "lan", "! NS is the zone's own, and is made here"),
            ("nas DNAME x", "lan", "! DNAME is not followed here"),
            ("nas DS 1 8 2 00", "lan", "! DS is of DNSSEC, and nothing that is stated here is signed"),
            ("nas TYPE255 \\# 0", "lan", "! ANY is no type of data"),
        ] {
            assert_eq!(
                read(text, zone),
                expected.replace("[0361 ", "[0361").replace("500 3", "5003"),
                "{text}"
            );
        }
    }

    #[test]
    fn zones_of_others_are_known() {
        for (zone, expected) in [
            ("lan", false),
            ("home", false),
            ("fritz.box", false),
            ("home.arpa", false),
            ("168.192.in-addr.arpa", false),
            ("corp.example.com", false),
            ("com", true),
            ("box", true),
            ("co.uk", true),
        ] {
            assert_eq!(is_public(&zone.parse().unwrap()), expected, "{zone}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_write() {
        let lan: Name = "lan".parse().unwrap();
        let (_, hint) = record("*.apps CNAME nas", Some(&lan), 300).unwrap_err();
        assert_eq!(hint, "write *.apps.lan, or put it in a row without a zone");
    }
}
