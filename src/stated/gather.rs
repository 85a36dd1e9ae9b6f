//! All that rows and their files state, put together: what stands in a row counts first, then zone files, hosts files, and leases
//! last.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::hosts::Hosts;
use super::leases::{Lease, Leases};
use super::reverse::reverse;
use super::row::{LEASE_TTL_S, Row, Source};
use super::zone_file::Records;
use crate::iana::Rtype;
use crate::local::{Record, Stated};
use crate::name::Name;
use crate::problem::Problem;
use crate::suffixes;
use crate::time::UnixSeconds;

/// Records of one owner: more are no answer anybody could use.
const MAX_AT_OWNER: u32 = 256;
/// Conflicts that are told one by one; the rest are counted.
const MAX_TOLD: usize = 20;
/// Names no device may have, for whoever has one is asked by all others for their settings (CERT VU#598349 has `wpad` and `isatap`).
const NEVER: [&[u8]; 3] = [b"wpad", b"isatap", b"localhost"];
/// Names that no device may have without a zone behind them, though no top-level domain has them: others mean something else by them
/// (RFC 6761, RFC 6762, RFC 7686).
const SPECIAL: [&[u8]; 4] = [b"local", b"test", b"invalid", b"onion"];

/// What was read of a file.
#[derive(Clone, Debug)]
pub enum Content {
    /// A hosts file.
    Hosts(Hosts),
    /// A zone file.
    Zone(Records),
    /// Leases.
    Leases(Leases),
}

/// All that is stated at a moment.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// It.
    pub stated: Stated,
    /// What cannot stand beside something else.
    pub problems: Vec<Problem>,
    /// When the next lease ends, and with it a name.
    pub next_end: Option<UnixSeconds>,
    /// Names from leases.
    pub lease_names: usize,
    /// Leases whose names are not answered: no names for a device, or those of somebody else.
    pub refused_names: usize,
}

/// Puts together what rows state, what was read of their files, and which leases have not ended at `now`.
pub fn gather(rows: &[Row], read: &dyn Fn(&Source) -> Option<Arc<Content>>, now: UnixSeconds) -> Gathered {
    let mut owners = Owners::default();
    let mut told = Told::default();
    let mut reverses = Reverses::default();
    for row in rows {
        for record in &row.records {
            // Said with the configuration, if it cannot stand.
            if owners.add(record.clone()).is_ok() && row.ptr {
                reverses.note(record, row.ttl_s);
            }
        }
    }
    for source in rows.iter().flat_map(Row::zone_files) {
        if let Some(Content::Zone(records)) = read(&source).as_deref() {
            for (line, record) in records {
                told.if_refused(owners.add(record.clone()), &source, *line, &record.owner);
            }
        }
    }
    for row in rows {
        for source in row.hosts() {
            if let Some(Content::Hosts(hosts)) = read(&source).as_deref() {
                for (address, line, name) in hosts.iter() {
                    for owner in full_names(&name, row.zone.as_ref()) {
                        let record = at(owner, address, row.ttl_s);
                        let added = owners.add(record.clone());
                        if told.if_refused(added, &source, line, &owner) && row.ptr {
                            reverses.note(&record, row.ttl_s);
                        }
                    }
                }
            }
        }
    }
    let contents: Vec<(&Row, Arc<Content>)> = rows
        .iter()
        .flat_map(|row| row.leases().filter_map(move |source| Some((row, read(&source)?))))
        .collect();
    let leased = Leased::of(&contents, &owners, now);
    let (next_end, refused_names, lease_names) = (leased.next_end, leased.refused, leased.names.len());
    for Given { name, row, lease } in leased.in_order() {
        for owner in names_of_device(&name, row.zone.as_ref()) {
            let record = at(owner, lease.address, row.ttl_s.min(LEASE_TTL_S));
            // Nothing but leases has these names, and those are addresses.
            if owners.add(record.clone()).is_ok() && row.ptr {
                reverses.note(&record, row.ttl_s.min(LEASE_TTL_S));
            }
        }
    }
    reverses.add_to(&mut owners);
    let mut zones: Vec<Name> = rows.iter().filter_map(|row| row.zone).collect();
    zones.sort_unstable();
    zones.dedup();
    let stated = Stated { zones, records: owners.finish() };
    Gathered { stated, problems: told.finish(), next_end, lease_names, refused_names }
}

/// The record of an address.
fn at(owner: Name, address: IpAddr, ttl_s: u32) -> Record {
    match address.to_canonical() {
        IpAddr::V4(address) => Record { owner, rtype: Rtype::A, ttl_s, rdata: address.octets().into() },
        IpAddr::V6(address) => Record { owner, rtype: Rtype::AAAA, ttl_s, rdata: address.octets().into() },
    }
}

/// What a name of a hosts file is asked by: of one label, with the zone behind it, and as it is, as dnsmasq answers it.
fn full_names(name: &Name, zone: Option<&Name>) -> impl Iterator<Item = Name> + use<> {
    let whole = zone.filter(|_| name.label_count() == 1).and_then(|zone| below(name, zone));
    whole.into_iter().chain([*name])
}

/// A name with a zone behind it.
fn below(name: &Name, zone: &Name) -> Option<Name> {
    let mut labels: Vec<&[u8]> = name.labels().chain(zone.labels()).collect();
    let mut whole = Name::ROOT;
    labels.drain(..).try_for_each(|label| whole.push_label(label)).ok()?;
    Some(whole)
}

/// What a device's name is asked by, the name that it is known by first; `name` is that.
fn names_of_device(name: &Name, zone: Option<&Name>) -> impl Iterator<Item = Name> + use<> {
    let first = name.labels().next().unwrap_or_default();
    let is_below = zone.is_some_and(|zone| name.label_count() == zone.label_count() + 1);
    let bare = is_below && stands_bare(first);
    let bare = bare.then(|| name.label_count()).and_then(|_| {
        let mut one = Name::ROOT;
        one.push_label(first).ok()?;
        Some(one)
    });
    [*name].into_iter().chain(bare)
}

/// The name that a device is known by: what it gave itself with the zone behind it, or as it is where it is in the zone. None if no
/// device may be called so.
fn device(host: &[u8], zone: Option<&Name>) -> Option<Name> {
    let host = host.strip_suffix(b".").unwrap_or(host);
    let mut labels: Vec<&[u8]> = host.split(|&octet| octet == b'.').collect();
    // RFC 952 and RFC 1123 §2.1: letters, digits, and hyphens between them.
    let is_host = |label: &&[u8]| {
        let hyphen_at = |octet: Option<&u8>| octet == Some(&b'-');
        label.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
            && !hyphen_at(label.first())
            && !hyphen_at(label.last())
    };
    if !labels.iter().all(is_host) || labels.iter().any(|label| is_one_of(label, &NEVER)) {
        return None;
    }
    let mut name = Name::ROOT;
    let is_short = labels.len() == 1;
    labels.drain(..).try_for_each(|label| name.push_label(label)).ok()?;
    match zone {
        Some(zone) if is_short => below(&name, zone),
        Some(zone) => (name.is_at_or_below(zone) && name != *zone).then_some(name),
        None => (is_short && name.labels().all(stands_bare)).then_some(name),
    }
}

/// Whether a label is one of these, in any case.
fn is_one_of(label: &[u8], known: &[&[u8]]) -> bool {
    known.iter().any(|known| label.eq_ignore_ascii_case(known))
}

/// Whether a device may be asked by this label alone: not by that of a top-level domain, of which others ask for servers and keys, and
/// not by a number, which is half an address.
fn stands_bare(label: &[u8]) -> bool {
    let is_top = suffixes::find(&mut std::iter::once(label)).typ.is_some();
    !is_top && !is_one_of(label, &SPECIAL) && !label.iter().all(u8::is_ascii_digit)
}

/// Records by their owners.
#[derive(Default)]
pub struct Owners {
    /// By wire form.
    owners: HashMap<Box<[u8]>, Owner>,
    /// All records.
    records: Vec<Record>,
    /// For each the one before it that has the same owner.
    before: Vec<Option<usize>>,
}

/// What is known of an owner.
struct Owner {
    /// Its last record.
    last: usize,
    /// How many it has.
    count: u32,
}

impl Owners {
    /// Adds a record; one that is there already is there once (RFC 2181 §5).
    ///
    /// # Errors
    /// Why it cannot stand beside those that are there.
    pub fn add(&mut self, record: Record) -> Result<(), &'static str> {
        let place = self.records.len();
        let Some(owner) = self.owners.get_mut(record.owner.as_wire()) else {
            self.owners.insert(record.owner.as_wire().into(), Owner { last: place, count: 1 });
            self.records.push(record);
            self.before.push(None);
            return Ok(());
        };
        let mut at = Some(owner.last);
        while let Some(other) = at.and_then(|at| self.records.get(at)) {
            if (other.rtype, &other.rdata) == (record.rtype, &record.rdata) {
                return Ok(());
            }
            // RFC 1034 §3.6.2: "If a CNAME RR is present at a node, no other data should be present".
            if other.rtype == Rtype::CNAME || record.rtype == Rtype::CNAME {
                return Err("a CNAME can be the only record of its owner");
            }
            at = at.and_then(|at| self.before.get(at).copied().flatten());
        }
        if owner.count >= MAX_AT_OWNER {
            return Err("its owner has 256 records already");
        }
        self.before.push(Some(owner.last));
        self.records.push(record);
        (owner.last, owner.count) = (place, owner.count + 1);
        Ok(())
    }

    /// Whether a name has records.
    fn has(&self, name: &Name) -> bool {
        self.owners.contains_key(name.as_wire())
    }

    /// Whether a name has such a record, or an alias.
    fn has_type(&self, name: &Name, rtype: Rtype) -> bool {
        let mut at = self.owners.get(name.as_wire()).map(|owner| owner.last);
        while let Some(record) = at.and_then(|at| self.records.get(at)) {
            if record.rtype == rtype || record.rtype == Rtype::CNAME {
                return true;
            }
            at = at.and_then(|at| self.before.get(at).copied().flatten());
        }
        false
    }

    /// The records. Those of one set get one TTL (RFC 2181 §5.2), the least of theirs.
    fn finish(mut self) -> Vec<Record> {
        for owner in self.owners.values().filter(|owner| owner.count > 1) {
            let mut least: Vec<(Rtype, u32)> = Vec::new();
            for round in [0, 1] {
                let mut at = Some(owner.last);
                while let Some(record) = at.and_then(|at| self.records.get_mut(at)) {
                    match least.iter_mut().find(|(rtype, _)| *rtype == record.rtype) {
                        Some((_, ttl_s)) if round == 0 => *ttl_s = record.ttl_s.min(*ttl_s),
                        Some((_, ttl_s)) => record.ttl_s = *ttl_s,
                        None => least.push((record.rtype, record.ttl_s)),
                    }
                    at = at.and_then(|at| self.before.get(at).copied().flatten());
                }
            }
        }
        self.records
    }
}

/// What addresses are called: each by the first name it has.
#[derive(Default)]
struct Reverses {
    /// Addresses that have one.
    known: HashSet<IpAddr>,
    /// Each with its name and the TTL of its record, in seconds.
    all: Vec<(IpAddr, Name, u32)>,
}

impl Reverses {
    /// Takes note of an address. Those that are nobody's or this machine's own are not called anything, nor is one that many names
    /// share by a wildcard.
    fn note(&mut self, record: &Record, ttl_s: u32) {
        let address: IpAddr = match (record.rtype, &*record.rdata) {
            (Rtype::A, octets) => match <[u8; 4]>::try_from(octets) {
                Ok(octets) => octets.into(),
                Err(_) => return,
            },
            (Rtype::AAAA, octets) => match <[u8; 16]>::try_from(octets) {
                Ok(octets) => octets.into(),
                Err(_) => return,
            },
            _ => return,
        };
        let is_wildcard = record.owner.labels().next() == Some(b"*");
        if address.is_unspecified() || address.is_loopback() || is_wildcard || !self.known.insert(address) {
            return;
        }
        self.all.push((address, record.owner, ttl_s.min(record.ttl_s)));
    }

    /// Adds the records, where nobody stated one.
    fn add_to(self, owners: &mut Owners) {
        for (address, name, ttl_s) in self.all {
            let Some(owner) = reverse(address).filter(|owner| !owners.has_type(owner, Rtype::PTR)) else {
                continue;
            };
            let record = Record { owner, rtype: Rtype::PTR, ttl_s, rdata: name.as_wire().into() };
            // There is neither an alias nor another PTR.
            let _ = owners.add(record);
        }
    }
}

/// The leases that count.
struct Leased<'a> {
    /// By the device's name and whether the address is of IPv6: the newest, and its place.
    names: HashMap<(Name, bool), (usize, &'a Row, &'a Lease)>,
    /// When the next one ends.
    next_end: Option<UnixSeconds>,
    /// Those whose names are not answered.
    refused: usize,
}

impl<'a> Leased<'a> {
    /// Those of `contents` that have not ended at `now`, and whose names nobody stated.
    fn of(contents: &'a [(&'a Row, Arc<Content>)], owners: &Owners, now: UnixSeconds) -> Leased<'a> {
        let mut leased = Leased { names: HashMap::new(), next_end: None, refused: 0 };
        let mut place = 0;
        for (row, content) in contents {
            let Content::Leases(leases) = &**content else { continue };
            for lease in leases.leases.iter().filter(|lease| lease.ends.is_none_or(|ends| ends > now)) {
                place += 1;
                let zone = row.zone.as_ref();
                let name = device(&lease.host, zone)
                    .filter(|name| !names_of_device(name, zone).any(|name| owners.has(&name)));
                let Some(name) = name else {
                    leased.refused += 1;
                    continue;
                };
                leased.next_end = lease.ends.into_iter().chain(leased.next_end).min();
                let key = (name, lease.address.to_canonical().is_ipv6());
                let newest = leased.names.entry(key).or_insert((place, row, lease));
                if newest.2.given <= lease.given {
                    *newest = (place, row, lease);
                }
            }
        }
        leased
    }

    /// Each, as they stand in their files: so the same leases always make the same records.
    fn in_order(&self) -> Vec<Given<'a>> {
        let mut all: Vec<_> = self.names.iter().collect();
        all.sort_unstable_by_key(|(_, (place, _, _))| *place);
        all.into_iter().map(|((name, _), (_, row, lease))| Given { name: *name, row, lease }).collect()
    }
}

/// A lease that counts.
struct Given<'a> {
    /// The name that the device is known by.
    name: Name,
    /// The row that the lease is of.
    row: &'a Row,
    lease: &'a Lease,
}

/// What is told of conflicts.
#[derive(Default)]
struct Told {
    problems: Vec<Problem>,
    /// All of them.
    count: usize,
}

impl Told {
    /// Takes note of what was not added; whether it was.
    fn if_refused(&mut self, added: Result<(), &str>, source: &Source, line: u32, owner: &Name) -> bool {
        let Err(why) = added else { return true };
        self.count += 1;
        if self.count <= MAX_TOLD {
            let file = source.path.display().to_string();
            let hint = "take it out, or what was stated before it";
            self.problems.push(Problem::warning(file, Some(line), format!("{owner}: {why}")).hint(hint));
        }
        false
    }

    /// All that is to be told.
    fn finish(mut self) -> Vec<Problem> {
        if let Some(more @ 1..) = self.count.checked_sub(MAX_TOLD) {
            self.problems.push(Problem::warning("local", None, format!("{more} more records cannot stand")));
        }
        self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stated::leases::{self, Part};
    use crate::stated::row::{self, Kind};
    use crate::stated::{hosts, zone_file};

    /// A row of a zone, or none, with these records.
    fn row(zone: &str, records: &[&str]) -> Row {
        let zone: Option<Name> = (!zone.is_empty()).then(|| zone.parse().unwrap());
        let records = records.iter().map(|text| row::record(text, zone.as_ref(), 300).unwrap()).collect();
        Row { zone, records, ..Row::default() }
    }

    /// The same row with files, whose content stands in the place of their paths.
    fn with(row: Row, hosts: &[&str], zones: &[&str], leases: &[&str]) -> Row {
        let paths = |texts: &[&str]| texts.iter().map(|text| text.into()).collect();
        Row { hosts: paths(hosts), zone_files: paths(zones), leases: paths(leases), ..row }
    }

    /// Reads a file whose path is its content.
    fn content(source: &Source) -> Option<Arc<Content>> {
        let text = source.path.to_str().unwrap().as_bytes();
        Some(Arc::new(match &source.kind {
            Kind::Hosts => Content::Hosts(hosts::read(text, "hosts").unwrap().0),
            Kind::Zone { origin, ttl_s } => {
                let mut open = |path: &str| (path.to_owned(), Err(Default::default()));
                Content::Zone(zone_file::read(text, "zone", (origin.as_ref(), *ttl_s), &mut open).unwrap().0)
            }
            Kind::Leases(format) => {
                Content::Leases(leases::read(&[Part { file: "leases", content: text }], *format).unwrap().0)
            }
        }))
    }

    /// Records as `owner ttl type data`, without those of PTR unless they are asked for, sorted.
    fn shown(gathered: &Gathered, reverse: bool) -> Vec<String> {
        let data = |record: &Record| match (record.rtype, &*record.rdata) {
            (Rtype::A, octets) => IpAddr::from(<[u8; 4]>::try_from(octets).unwrap()).to_string(),
            (Rtype::AAAA, octets) => IpAddr::from(<[u8; 16]>::try_from(octets).unwrap()).to_string(),
            (_, octets) => Name::from_wire(octets).map_or_else(|_| "?".to_owned(), |name| name.to_string()),
        };
        let kept = gathered.stated.records.iter().filter(|one| (one.rtype == Rtype::PTR) == reverse);
        let mut all: Vec<String> =
            kept.map(|one| format!("{} {} {} {}", one.owner, one.ttl_s, one.rtype, data(one))).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn all_that_is_stated_is_put_together() {
        let lease = "0 x 192.168.1.50 laptop *\n";
        for (what, rows, expected) in [
            ("nothing", vec![], &[][..]),
            (
                "records",
                vec![row("lan", &["nas A 192.168.1.10", "nas AAAA fd00::10"])],
                &["nas.lan 300 A 192.168.1.10", "nas.lan 300 AAAA fd00::10"],
            ),
            (
                "one twice",
                vec![row("lan", &["nas A 192.168.1.10", "nas.lan A 192.168.1.10"])],
                &["nas.lan 300 A 192.168.1.10"],
            ),
            (
                "a set has one TTL",
                vec![row("lan", &["nas 5 A 192.168.1.10", "nas 9 A 192.168.1.11", "nas 7 AAAA fd00::1"])],
                &["nas.lan 5 A 192.168.1.10", "nas.lan 5 A 192.168.1.11", "nas.lan 7 AAAA fd00::1"],
            ),
            (
                "hosts in a zone",
                vec![with(row("lan", &[]), &["192.168.1.10 nas box.example\n"], &[], &[])],
                &["box.example 300 A 192.168.1.10", "nas 300 A 192.168.1.10", "nas.lan 300 A 192.168.1.10"],
            ),
            (
                "hosts without one",
                vec![with(row("", &[]), &["192.168.1.10 nas nas.home\n"], &[], &[])],
                &["nas 300 A 192.168.1.10", "nas.home 300 A 192.168.1.10"],
            ),
            (
                "a mapped address",
                vec![with(row("", &[]), &["::ffff:192.168.1.10 nas.home\n"], &[], &[])],
                &["nas.home 300 A 192.168.1.10"],
            ),
            (
                "a list of what is blocked",
                vec![with(row("", &[]), &["0.0.0.0 ads.example\n:: ads.example\n"], &[], &[])],
                &["ads.example 300 A 0.0.0.0", "ads.example 300 AAAA ::"],
            ),
            (
                "a zone file",
                vec![with(row("lan", &[]), &[], &["nas A 192.168.1.10\n"], &[])],
                &["nas.lan 300 A 192.168.1.10"],
            ),
            (
                "both of a name",
                vec![with(row("lan", &["nas A 192.168.1.9"]), &["192.168.1.10 nas.lan\n"], &[], &[])],
                &["nas.lan 300 A 192.168.1.10", "nas.lan 300 A 192.168.1.9"],
            ),
            (
                "a lease in a zone",
                vec![with(row("lan", &[]), &[], &[], &[lease])],
                &["laptop 60 A 192.168.1.50", "laptop.lan 60 A 192.168.1.50"],
            ),
            (
                "a lease without one",
                vec![with(row("", &[]), &[], &[], &[lease])],
                &["laptop 60 A 192.168.1.50"],
            ),
            (
                "a lower TTL",
                vec![Row { ttl_s: 5, ..with(row("lan", &[]), &[], &[], &[lease]) }],
                &["laptop 5 A 192.168.1.50", "laptop.lan 5 A 192.168.1.50"],
            ),
            (
                "both families",
                vec![with(
                    row("home.arpa", &[]),
                    &[],
                    &[],
                    &["0 x 192.168.1.50 a *\nduid 1\n0 1 fd00::50 a 1\n"],
                )],
                &[
                    "a 60 A 192.168.1.50",
                    "a 60 AAAA fd00::50",
                    "a.home.arpa 60 A 192.168.1.50",
                    "a.home.arpa 60 AAAA fd00::50",
                ],
            ),
        ] {
            assert_eq!(shown(&gather(&rows, &content, 0), false), expected, "{what}");
        }
    }

    #[test]
    fn a_device_is_believed_its_name_and_no_more() {
        for (host, zone, expected) in [
            ("laptop", "lan", Some("laptop.lan laptop")),
            ("LapTop", "lan", Some("laptop.lan laptop")),
            ("laptop.", "lan", Some("laptop.lan laptop")),
            ("laptop.lan", "lan", Some("laptop.lan laptop")),
            ("laptop.lan.", "lan", Some("laptop.lan laptop")),
            ("a.b.lan", "lan", Some("a.b.lan")),
            ("x", "home.arpa", Some("x.home.arpa x")),
            ("192-168-1-7", "lan", Some("192-168-1-7.lan 192-168-1-7")),
            ("7", "lan", Some("7.lan")),
            ("com", "lan", Some("com.lan")),
            ("local", "lan", Some("local.lan")),
            ("laptop", "", Some("laptop")),
            ("xn--bro-hoa", "lan", Some("xn--bro-hoa.lan xn--bro-hoa")),
            // Somebody else's.
            ("lan", "lan", Some("lan.lan lan")),
            ("www.example.com", "lan", None),
            ("a.b", "lan", None),
            ("lan.", "home.arpa", Some("lan.home.arpa lan")),
            ("home.arpa", "home.arpa", None),
            ("www.example.com", "", None),
            ("com", "", None),
            ("local", "", None),
            ("7", "", None),
            // None at all.
            ("wpad", "lan", None),
            ("WPAD", "lan", None),
            ("isatap", "lan", None),
            ("localhost", "lan", None),
            ("wpad.lan", "lan", None),
            ("wpad.x.lan", "lan", None),
            ("*", "lan", None),
            ("my phone", "lan", None),
            ("bob's", "lan", None),
            ("a_b", "lan", None),
            ("-a", "lan", None),
            ("a-", "lan", None),
            ("", "lan", None),
            (".", "lan", None),
            ("a..b", "lan", None),
            ("a\\.b", "lan", None),
        ] {
            let zone: Option<Name> = (!zone.is_empty()).then(|| zone.parse().unwrap());
            let found = device(host.as_bytes(), zone.as_ref()).map(|name| {
                let all: Vec<String> =
                    names_of_device(&name, zone.as_ref()).map(|name| name.to_string()).collect();
                all.join(" ")
            });
            assert_eq!(found.as_deref(), expected, "{host} in {zone:?}");
        }
        let long = "a".repeat(64);
        assert_eq!(device(long.as_bytes(), None), None);
    }

    #[test]
    fn leases_displace_nothing_and_the_newest_of_a_name_wins() {
        let stated = |records: &[&str], hosts: &str, leases: &str| {
            let rows = [with(row("lan", records), &[hosts], &[], &[leases])];
            let gathered = gather(&rows, &content, 1_500_000_000);
            (shown(&gathered, false), gathered.lease_names, gathered.refused_names, gathered.next_end)
        };
        let nas = vec!["nas.lan 300 A 192.168.1.10".to_owned()];
        assert_eq!(
            stated(&["nas A 192.168.1.10"], "", "0 x 192.168.1.66 nas *\n"),
            (nas.clone(), 0, 1, None)
        );
        // Neither by another family, nor as a name alone.
        assert_eq!(stated(&["nas A 192.168.1.10"], "", "0 1 fd00::66 nas *\n"), (nas.clone(), 0, 1, None));
        let (found, _, refused, _) = stated(&[], "192.168.1.10 nas\n", "0 x 192.168.1.66 nas *\n");
        assert_eq!((found.len(), refused), (2, 1));
        // The newest; of those as old the later; one that has ended is none.
        for (leases, expected, next) in [
            (
                "1600000000 x 192.168.1.1 a *\n1600000009 x 192.168.1.2 a *\n",
                "192.168.1.2",
                Some(1_600_000_000),
            ),
            (
                "1600000009 x 192.168.1.1 a *\n1600000000 x 192.168.1.2 a *\n",
                "192.168.1.1",
                Some(1_600_000_000),
            ),
            (
                "1600000000 x 192.168.1.1 a *\n1600000000 x 192.168.1.2 a *\n",
                "192.168.1.2",
                Some(1_600_000_000),
            ),
            (
                "1600000000 x 192.168.1.1 a *\n1500000000 x 192.168.1.2 a *\n",
                "192.168.1.1",
                Some(1_600_000_000),
            ),
            ("1500000001 x 192.168.1.1 a *\n", "192.168.1.1", Some(1_500_000_001)),
            ("0 x 192.168.1.1 a *\n", "192.168.1.1", None),
        ] {
            let (found, names, refused, end) = stated(&[], "", leases);
            assert_eq!(found, [format!("a 60 A {expected}"), format!("a.lan 60 A {expected}")], "{leases}");
            assert_eq!((names, refused, end), (1, 0, next), "{leases}");
        }
        assert_eq!(stated(&[], "", "1500000000 x 192.168.1.1 a *\n"), (vec![], 0, 0, None));
    }

    #[test]
    fn an_address_has_its_first_name() {
        let rows = |ptr: bool| {
            let records = ["nas A 192.168.1.10", "mail A 192.168.1.10", "* A 192.168.1.99", "lo A 127.0.0.1"];
            let hosts = "192.168.1.10 other\n192.168.1.11 pc\n0.0.0.0 ads.example\n192.0.2.1 web.example\n";
            let leases = "0 x 192.168.1.11 late *\n0 x 192.168.1.12 phone *\n0 x 192.168.1.13 tv *\n";
            let one = with(row("lan", &records), &[hosts], &[], &[leases]);
            [Row { ptr, ..one }, row("", &["13.1.168.192.in-addr.arpa PTR stated.lan"])]
        };
        assert_eq!(
            shown(&gather(&rows(true), &content, 0), true),
            [
                "1.2.0.192.in-addr.arpa 300 PTR web.example",
                "10.1.168.192.in-addr.arpa 300 PTR nas.lan",
                "11.1.168.192.in-addr.arpa 300 PTR pc.lan",
                "12.1.168.192.in-addr.arpa 60 PTR phone.lan",
                "13.1.168.192.in-addr.arpa 300 PTR stated.lan",
            ]
        );
        let off = shown(&gather(&rows(false), &content, 0), true);
        assert_eq!(off, ["13.1.168.192.in-addr.arpa 300 PTR stated.lan"]);
    }

    #[test]
    fn what_cannot_stand_is_told_by_its_line() {
        let rows = [with(
            row("lan", &["nas CNAME box"]),
            &["# x\n192.168.1.10 nas.lan ok.lan\n"],
            &["ok CNAME y\n"],
            &[],
        )];
        let gathered = gather(&rows, &content, 0);
        assert_eq!(shown(&gathered, false), ["nas.lan 300 CNAME box.lan", "ok.lan 300 CNAME y.lan"]);
        let told: Vec<(Option<u32>, &str)> =
            gathered.problems.iter().map(|one| (one.line, one.message.as_str())).collect();
        let why = "a CNAME can be the only record of its owner";
        assert_eq!(told, [(Some(2), &*format!("nas.lan: {why}")), (Some(2), &*format!("ok.lan: {why}"))]);
        let many: String = (0..300).map(|n| format!("10.0.{}.{} x\n", n >> 8, n & 255)).collect();
        let gathered = gather(&[with(row("", &[]), &[&many], &[], &[])], &content, 0);
        assert_eq!(shown(&gathered, false).len(), 256);
        assert_eq!(gathered.problems.len(), 21);
        assert_eq!(gathered.problems[20].message, "24 more records cannot stand");
    }
}
