//! Other servers as readers of what is exported for them: naive, written from their manuals, and from what they did when
//! they were asked.

use std::collections::{BTreeMap, BTreeSet};

use sinkscope::name::Name;

/// What happens to a name: `truth`, `nxdomain`, `nodata`, `refused`, `drop`, `tcp-only`, or addresses by type.
pub type Fate = String;

/// How a server reads RPZ wildcards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// As the draft and BIND: what exists, if only between a name and the apex, ends a wildcard above it.
    Bind,
    /// As Unbound: a wildcard is looked for where the name parts from the owner that sorts just before it, short labels
    /// before long ones.
    Unbound,
    /// As PowerDNS Recursor: the closest wildcard above the name.
    PowerDns,
}

impl Reading {
    pub const ALL: [Reading; 3] = [Reading::Bind, Reading::Unbound, Reading::PowerDns];
}

/// Labels from the root down.
type Path = Vec<Vec<u8>>;

fn path(name: &Name) -> Path {
    let mut labels: Path = name.labels().map(<[u8]>::to_vec).collect();
    labels.reverse();
    labels
}

/// Labels as Unbound sorts them.
fn lengthwise(path: &[Vec<u8>]) -> Vec<(usize, Vec<u8>)> {
    path.iter().map(|label| (label.len(), label.clone())).collect()
}

fn name(text: &str) -> Name {
    text.trim_end_matches('.').parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Data by type as a fate.
fn data(records: &[(String, String)]) -> Fate {
    let of = |rtype: &str| {
        let mut found: Vec<&str> =
            records.iter().filter(|(kind, _)| kind == rtype).map(|(_, data)| data.as_str()).collect();
        found.sort_unstable();
        found.join(",")
    };
    match (of("A"), of("AAAA")) {
        (v4, v6) if v4.is_empty() && v6.is_empty() => "nodata".into(),
        (v4, v6) => format!("A {v4} AAAA {v6}"),
    }
}

/// A response policy zone.
pub struct Rpz {
    records: BTreeMap<Path, Vec<(String, String)>>,
    /// The owners, short labels before long ones.
    by_length: BTreeMap<Vec<(usize, Vec<u8>)>, Path>,
    /// Every owner and every name above one.
    existing: BTreeSet<Path>,
}

impl Rpz {
    /// Reads the lines that an export writes: owner, TTL perhaps, type, data.
    pub fn read(text: &str) -> Rpz {
        let mut records: BTreeMap<Path, Vec<(String, String)>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with([';', '$', '@'])) {
            let (owner, rest) = line.split_once(' ').expect("an owner");
            let (first, more) = rest.split_once(' ').expect("a type");
            let rest = if first.parse::<u32>().is_ok() { more } else { rest };
            let (rtype, data) = rest.split_once(' ').expect("data");
            records.entry(path(&name(owner))).or_default().push((rtype.into(), data.into()));
        }
        let existing =
            records.keys().flat_map(|owner| (0..=owner.len()).map(|labels| owner[..labels].to_vec()));
        let existing = existing.collect();
        let by_length = records.keys().map(|owner| (lengthwise(owner), owner.clone())).collect();
        Rpz { records, by_length, existing }
    }

    /// How many owners have records.
    pub fn owners(&self) -> usize {
        self.records.len()
    }

    /// What happens to a name, in a reading.
    pub fn fate(&self, query: &Name, reading: Reading) -> Fate {
        let query = path(query);
        let found = self.records.get(&query).or_else(|| match reading {
            Reading::Bind if self.existing.contains(&query) => None,
            Reading::Bind => {
                let encloser =
                    (0..query.len()).rev().find(|labels| self.existing.contains(&query[..*labels]))?;
                self.wildcard(&query[..encloser])
            }
            Reading::Unbound => {
                let (_, before) = self.by_length.range(..=lengthwise(&query)).next_back()?;
                let shared = before.iter().zip(&query).take_while(|(mine, theirs)| mine == theirs).count();
                self.wildcard(&query[..shared])
            }
            Reading::PowerDns => (0..query.len()).rev().find_map(|labels| self.wildcard(&query[..labels])),
        });
        let Some(records) = found else { return "truth".into() };
        match records[..] {
            [(ref rtype, ref target)] if rtype == "CNAME" => match target.as_str() {
                "." => "nxdomain",
                "*." => "nodata",
                "rpz-passthru." => "truth",
                "rpz-drop." => "drop",
                "rpz-tcp-only." => "tcp-only",
                other => panic!("CNAME {other}"),
            }
            .into(),
            _ => data(records),
        }
    }

    fn wildcard(&self, encloser: &[Vec<u8>]) -> Option<&Vec<(String, String)>> {
        self.records.get(&[encloser, &[b"*".to_vec()]].concat())
    }
}

/// A hosts file, or a list of names: nothing but the names in it.
pub struct Singles(BTreeMap<Name, Vec<(String, String)>>);

impl Singles {
    pub fn read(text: &str) -> Singles {
        let mut found: BTreeMap<Name, Vec<(String, String)>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (address, listed) = line.split_once(' ').unwrap_or(("", line));
            let rtype = if address.contains(':') { "AAAA" } else { "A" };
            found.entry(name(listed)).or_default().push((rtype.into(), address.into()));
        }
        Singles(found)
    }

    pub fn fate(&self, query: &Name) -> Fate {
        self.0.get(query).map_or_else(|| "truth".into(), |records| data(records))
    }
}

/// Unbound's local zones: the closest enclosing one decides.
pub struct LocalZones {
    zones: BTreeMap<Name, String>,
    data: BTreeMap<Name, Vec<(String, String)>>,
}

impl LocalZones {
    pub fn read(text: &str) -> LocalZones {
        let mut read = LocalZones { zones: BTreeMap::new(), data: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.starts_with('#') && *line != "server:") {
            if let Some(zone) = line.strip_prefix("local-zone: \"") {
                let (zone, kind) = zone.split_once("\" ").expect("a type");
                let zone = if zone == "." { Name::ROOT } else { name(zone) };
                assert!(read.zones.insert(zone, kind.into()).is_none(), "twice: {line}");
            } else {
                let record = line.strip_prefix("local-data: \"").and_then(|rest| rest.strip_suffix('"'));
                let words: Vec<&str> = record.unwrap_or_else(|| panic!("{line}")).splitn(4, ' ').collect();
                let owner = if words[0] == "." { Name::ROOT } else { name(words[0]) };
                read.data.entry(owner).or_default().push((words[2].into(), words[3].into()));
            }
        }
        read
    }

    pub fn fate(&self, query: &Name) -> Fate {
        let enclosing = (0..=query.label_count()).rev().filter_map(|labels| query.ancestor(labels));
        let Some((zone, kind)) = enclosing.filter_map(|zone| self.zones.get_key_value(&zone)).next() else {
            return "truth".into();
        };
        let own = self.data.get(query).filter(|_| query == zone);
        match (kind.as_str(), own) {
            ("transparent" | "static", Some(records)) => data(records),
            ("redirect", _) => data(&self.data[zone]),
            ("transparent", None) => "truth".into(),
            ("static" | "always_nxdomain", _) => "nxdomain".into(),
            ("always_nodata", _) => "nodata".into(),
            ("always_refuse", _) => "refused".into(),
            ("always_deny", _) => "drop".into(),
            other => panic!("{other:?}"),
        }
    }
}

/// dnsmasq's domains: the longest that matches decides; `*.x` is longer than `x`. One thing is left out: dnsmasq says NODATA
/// and not NXDOMAIN of a name below which it knows another.
pub struct Domains(BTreeMap<String, Vec<(String, String)>>);

impl Domains {
    pub fn read(text: &str) -> Domains {
        let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (option, rest) = line.split_once('=').expect("an option");
            let (domain, value) = match option {
                "ptr-record" => rest.split_once(',').expect("a type"),
                _ => rest.strip_prefix('/').and_then(|rest| rest.split_once('/')).expect("a domain"),
            };
            found.entry(domain.into()).or_default().push((option.into(), value.into()));
        }
        Domains(found)
    }

    pub fn fate(&self, query: &Name) -> Fate {
        let mut patterns = vec![query.to_string()];
        for labels in (1..query.label_count()).rev() {
            let above = query.ancestor(labels).expect("fewer labels");
            patterns.extend([format!("*.{above}"), above.to_string()]);
        }
        let Some(options) = patterns.iter().find_map(|pattern| self.0.get(pattern)) else {
            return "truth".into();
        };
        if options[0] == ("server".into(), "#".into()) {
            return "truth".into();
        }
        assert!(options.iter().any(|(option, _)| option == "local"), "{options:?}");
        let addresses: Vec<(String, String)> = options
            .iter()
            .filter(|(option, _)| option == "address")
            .map(|(_, value)| (if value.contains(':') { "AAAA" } else { "A" }.into(), value.clone()))
            .collect();
        match (addresses.is_empty(), options.iter().any(|(option, _)| option == "ptr-record")) {
            (false, _) => data(&addresses),
            (true, true) => "nodata".into(),
            (true, false) => "nxdomain".into(),
        }
    }
}
