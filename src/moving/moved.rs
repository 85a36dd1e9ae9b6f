//! What was read of a product's configuration, as far as it is not ours yet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::rules::{Act, Cover, Made, Own};
use crate::config::spec::{Forward, List, ListAction, ListFormat, Local, Match, Spec, Wildcards};
use crate::interface;
use crate::name::Name;
use crate::orders::names;
use crate::upstream::Server;

/// Rows at most; what passes that is counted.
const MAX_ROWS: usize = 10_000;
/// Records that stand in the configuration itself; more are a zone file.
const MAX_INLINE: usize = 64;
/// Zones that others are asked about, and groups of their servers: a configuration with more is refused.
const MAX_FORWARD_ZONES: usize = 1024;
/// See there.
const MAX_FORWARD_GROUPS: usize = 64;
/// The port of DNS, which all these products take unless they are told otherwise.
pub(super) const DNS_PORT: u16 = 53;

/// Where something stands in a product's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1, if it has one.
    pub line: Option<u32>,
}

/// What became of something that is not as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It is not carried over.
    Left,
    /// It is carried over, and behaves otherwise.
    Differs,
}

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What became of it.
    pub fate: Fate,
    /// Where it stands; of several, the first.
    pub place: Place,
    /// What stands there.
    pub what: String,
    /// Why, and what to do if something can be done.
    pub why: String,
    /// In how many places: differences are told once for all that have the same reason.
    pub count: usize,
}

/// A configuration on its way.
#[derive(Debug)]
pub struct Moved {
    /// What lists of the product's own rules are called.
    pub product: &'static str,
    /// What is said in our words.
    pub spec: Spec,
    /// Names that the configuration itself states something about, by the name of their list.
    pub(super) own: BTreeMap<String, Own>,
    /// Files beside the configuration, by their path from there.
    pub files: BTreeMap<String, String>,
    /// What is not as it was, in the order in which it was found.
    pub rows: Vec<Row>,
    /// Rows beyond the bound.
    pub more: usize,
    /// Settings that were carried over.
    pub carried: usize,
    /// Zones with those who are asked about them.
    forwards: BTreeMap<Name, Vec<String>>,
    /// Records of single names.
    records: Vec<(Name, String)>,
    /// Addresses and aliases of names and all below them.
    wide: BTreeMap<Name, Vec<String>>,
}

impl Place {
    /// A place in a file.
    pub fn new(file: &Path, line: impl Into<Option<u32>>) -> Place {
        Place { file: file.to_string_lossy().into_owned(), line: line.into() }
    }
}

impl Moved {
    /// Nothing yet.
    pub(super) fn new(product: &'static str) -> Moved {
        Moved {
            product,
            spec: Spec::default(),
            own: BTreeMap::new(),
            files: BTreeMap::new(),
            rows: Vec::new(),
            more: 0,
            carried: 0,
            forwards: BTreeMap::new(),
            records: Vec::new(),
            wide: BTreeMap::new(),
        }
    }

    /// Says that something is not carried over.
    pub(super) fn left(&mut self, place: &Place, what: impl Into<String>, why: impl Into<String>) {
        self.row(Row {
            fate: Fate::Left,
            place: place.clone(),
            what: what.into(),
            why: why.into(),
            count: 1,
        });
    }

    /// Says that something behaves otherwise here; what has the same reason is said once.
    pub(super) fn differs(&mut self, place: &Place, what: impl Into<String>, why: impl Into<String>) {
        let why = why.into();
        let same = |row: &&mut Row| row.fate == Fate::Differs && row.why == why;
        if let Some(row) = self.rows.iter_mut().find(same) {
            row.count += 1;
            return;
        }
        self.row(Row { fate: Fate::Differs, place: place.clone(), what: what.into(), why, count: 1 });
    }

    /// Notes a row.
    fn row(&mut self, row: Row) {
        match self.rows.len() < MAX_ROWS {
            true => self.rows.push(row),
            false => self.more += 1,
        }
    }

    /// The rules of the product's own configuration.
    pub(super) fn own(&mut self) -> &mut Own {
        self.own.entry(self.product.to_owned()).or_default()
    }

    /// Reads a name, or says why it is none.
    pub(super) fn name(&mut self, place: &Place, text: &str) -> Option<Name> {
        match names::name(text.trim().trim_end_matches('.')) {
            Ok(name) => Some(name),
            Err(error) => {
                self.left(place, text, format!("no name that can be used: {error}"));
                None
            }
        }
    }

    /// Takes queries at an address.
    pub(super) fn listen(&mut self, place: &Place, address: &str, port: u16) {
        match interface::socket_addr(address, Some(port)) {
            Ok(Some(address)) => {
                self.carried += 1;
                let listen = self.spec.listen.udp.get_or_insert_default();
                let address = address.to_string();
                if !listen.contains(&address) {
                    listen.push(address);
                }
            }
            _ => self.left(place, address, "queries are taken at addresses: write it as [listen] udp"),
        }
    }

    /// Takes queries at a port of every address.
    pub(super) fn listen_everywhere(&mut self, port: u16) {
        let all = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
        let all = all.map(|address| SocketAddr::new(address, port).to_string());
        self.spec.listen.udp.get_or_insert_default().extend(all);
    }

    /// Reads whom to ask, or says why nobody can be.
    pub(super) fn server(&mut self, place: &Place, text: &str) -> Option<String> {
        match text.parse::<Server>() {
            Ok(_) => {
                self.carried += 1;
                Some(text.to_owned())
            }
            Err(error) => {
                self.left(place, text, format!("no server that can be asked: {error}"));
                None
            }
        }
    }

    /// Asks a server what is asked of nobody else.
    pub(super) fn upstream(&mut self, server: Option<String>) {
        if let Some(server) = server {
            let servers = self.spec.upstream.servers.get_or_insert_default();
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
    }

    /// Asks a server about a zone.
    pub(super) fn forward(&mut self, zone: &Name, server: Option<String>) {
        let Some(server) = server else { return };
        let servers = self.forwards.entry(*zone).or_default();
        if !servers.contains(&server) {
            servers.push(server);
        }
    }

    /// Puts zones of the same servers together, as many as a configuration may have.
    fn write_forwards(&mut self) {
        let mut zones: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
        let place = Place { file: self.product.to_owned(), line: None };
        for zone in self.own_zones() {
            if self.forwards.remove(&zone).is_some() {
                let why =
                    "a zone is answered here or asked elsewhere, not both: it is a zone of [[local]] now";
                self.left(&place, zone.to_string(), why);
            }
        }
        let all = std::mem::take(&mut self.forwards);
        for (number, (zone, servers)) in all.into_iter().enumerate() {
            if number >= MAX_FORWARD_ZONES {
                let why =
                    format!("{MAX_FORWARD_ZONES} zones at most are asked of others: name those above them");
                self.left(&place, zone.to_string(), why);
                continue;
            }
            zones.entry(servers).or_default().push(zone.to_string());
        }
        for (servers, zones) in zones {
            if self.spec.forward.len() >= MAX_FORWARD_GROUPS {
                let why = format!("{MAX_FORWARD_GROUPS} groups of servers at most are asked about zones");
                self.left(&place, zones.join(", "), why);
                continue;
            }
            self.spec.forward.push(Forward { zones, groups: Vec::new(), servers, random_case: None });
        }
    }

    /// States a record: its type and data, perhaps with a TTL before it.
    pub(super) fn record(&mut self, owner: &Name, data: String) {
        self.carried += 1;
        self.records.push((*owner, data));
    }

    /// States a record of a name and of all names below that have none.
    pub(super) fn record_wide(&mut self, owner: &Name, data: String) {
        self.carried += 1;
        let data_here = self.wide.entry(*owner).or_default();
        if !data_here.contains(&data) {
            data_here.push(data);
        }
    }

    /// Adds a list that lies elsewhere.
    pub(super) fn list(&mut self, name: &str, source: &str) -> &mut List {
        self.carried += 1;
        let name = self.free_name(name);
        self.spec.lists.push(bare_list(name, source.to_owned()));
        let last = self.spec.lists.len() - 1;
        &mut self.spec.lists[last]
    }

    /// Adds a list that is written beside the configuration.
    pub(super) fn list_here(&mut self, name: &str, text: String) -> &mut List {
        let name = self.free_name(name);
        let path = format!("lists/{name}.txt");
        self.files.insert(path.clone(), text);
        self.list(&name, &path)
    }

    /// A name for a list that no other has.
    fn free_name(&self, wanted: &str) -> String {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let mut name: String = wanted.chars().map(|c| if fits(c) { c } else { '-' }).take(48).collect();
        name = name.trim_matches(['-', '.']).to_owned();
        if name.is_empty() {
            name = "list".to_owned();
        }
        let taken = |name: &str| self.spec.lists.iter().any(|list| list.name == name);
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        std::iter::once(name.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(name)
    }

    /// A path as the product means it, if something is there.
    pub(super) fn path(&mut self, place: &Place, base: &Path, text: &str) -> Option<PathBuf> {
        let path = base.join(text);
        // What is not there would have the whole configuration refused.
        match std::fs::canonicalize(&path) {
            Ok(path) => Some(path),
            Err(error) => {
                self.left(place, text, format!("{}: {error}", path.display()));
                None
            }
        }
    }

    /// The row of `[[local]]` with files and zone; there is one for each zone.
    pub(super) fn local(&mut self, zone: Option<&Name>) -> &mut Local {
        let zone = zone.map(Name::to_string);
        let at = self.spec.local.iter().position(|row| row.zone == zone);
        let at = at.unwrap_or_else(|| {
            self.spec.local.push(Local {
                zone,
                records: Vec::new(),
                hosts: Vec::new(),
                zone_files: Vec::new(),
                leases: Vec::new(),
                lease_format: None,
                ttl: None,
                ptr: None,
            });
            self.spec.local.len() - 1
        });
        &mut self.spec.local[at]
    }

    /// Puts together what was read.
    pub(super) fn finish(&mut self) {
        // What was carried over is lists; orders are the operator's to add.
        self.spec.orders.paths = Some(Vec::new());
        self.write_forwards();
        self.hosts_without_address();
        self.give_way();
        self.spread();
        let exact: Vec<Name> = self.records.iter().map(|(owner, _)| *owner).collect();
        let wide: Vec<Name> = self.wide.keys().copied().chain(self.own_zones()).collect();
        self.own.values_mut().for_each(|own| own.spare(&exact, &wide));
        self.write_records();
        // What the configuration itself says comes before all lists.
        let behind = std::mem::take(&mut self.spec.lists);
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, own) in std::mem::take(&mut self.own) {
            self.carried += own.len();
            let (made, otherwise) = own.lists();
            for refused in otherwise {
                let place = Place { file: self.product.to_owned(), line: None };
                let why = "refused names below names that are answered otherwise do not exist instead";
                self.differs(&place, refused.to_string(), why);
            }
            let made: Vec<String> = made.into_iter().map(|made| self.add(&name, made)).collect();
            named.insert(name, made);
        }
        self.spec.lists.extend(behind);
        // Groups name what their rules were to be; that may be several lists, or none.
        for group in &mut self.spec.clients {
            let in_hours = group.schedule.iter_mut().flat_map(|row| [&mut row.without, &mut row.also]);
            for zones in group.zones.iter_mut().chain(&mut group.without).chain(in_hours) {
                let made = |zone: &String| named.get(zone).cloned().unwrap_or_else(|| vec![zone.clone()]);
                *zones = zones.iter().flat_map(made).collect();
            }
        }
    }

    /// Makes rules of what is stated of all of a zone, where rules are about names in it: of rules the closest counts, and what is stated
    /// here comes before what is asked of others.
    fn give_way(&mut self) {
        let inner = self.own.get(self.product).map(Own::zones_with_rules).unwrap_or_default();
        let zones: Vec<Name> = self.wide.keys().filter(|zone| inner.contains(zone)).copied().collect();
        for zone in zones {
            let Some(data) = self.wide.remove(&zone) else { continue };
            let address =
                |data: &String| data.rsplit(' ').next().and_then(|word| word.parse::<IpAddr>().ok());
            match data.iter().map(address).collect::<Option<Vec<_>>>() {
                Some(addresses) => self.own().rule(&zone, Cover::Subtree, Act::Addresses(addresses)),
                None => {
                    let place = Place { file: self.product.to_owned(), line: None };
                    let why = "it is stated for all of the zone here, also where something else is said of names in it";
                    self.differs(&place, zone.to_string(), why);
                    self.wide.insert(zone, data);
                }
            }
        }
    }

    /// Adds a list that rules became, and gives back its name.
    fn add(&mut self, name: &str, made: Made) -> String {
        let list = self.list_here(&format!("{name}{}", made.suffix), made.text);
        list.format = Some(made.format);
        match made.format {
            // A policy zone says itself what happens.
            ListFormat::Rpz => list.wildcards = Some(Wildcards::Closest),
            format => {
                answered_by(list, made.action, &made.addresses);
                // Whoever wrote it by hand means it.
                list.allow_public_suffix = (format == ListFormat::Adblock).then_some(true);
            }
        }
        list.name.clone()
    }

    /// Has a wildcard hold as far down as these products do: below names that are stated, too, where DNS ends it (RFC 4592 §3.3.1).
    fn spread(&mut self) {
        let mut wildcards: BTreeMap<Name, &Vec<String>> = BTreeMap::new();
        for owner in self.records.iter().map(|(owner, _)| owner).chain(self.wide.keys()) {
            let mut here = None;
            for name in (0..=owner.label_count()).filter_map(|labels| owner.ancestor(labels)) {
                here = self.wide.get(&name).or(here);
                if let Some(data) = here {
                    wildcards.insert(name, data);
                }
            }
        }
        let stated: BTreeSet<Name> = self.records.iter().map(|(owner, _)| *owner).collect();
        let mut records = Vec::new();
        for (name, data) in wildcards {
            for data in data {
                if let Ok(below) = names_below(&name) {
                    records.push((below, data.clone()));
                }
                if !stated.contains(&name) {
                    records.push((name, data.clone()));
                }
            }
        }
        self.records.extend(records);
    }

    /// Zones that are answered here whole.
    fn own_zones(&self) -> Vec<Name> {
        self.spec.local.iter().filter_map(|row| names::name(row.zone.as_deref()?).ok()).collect()
    }

    /// Puts records into the rows of the zones they are in: few into the configuration, many into a file.
    fn write_records(&mut self) {
        let mut by_zone: BTreeMap<Option<Name>, Vec<String>> = BTreeMap::new();
        let zones = self.own_zones();
        for (owner, data) in std::mem::take(&mut self.records) {
            let zone =
                zones.iter().filter(|zone| owner.is_at_or_below(zone)).max_by_key(|zone| zone.label_count());
            by_zone.entry(zone.copied()).or_default().push(format!("{owner}. {data}"));
        }
        for (zone, records) in by_zone {
            if records.len() <= MAX_INLINE {
                self.local(zone.as_ref()).records = records;
                continue;
            }
            let stem = zone.map_or("names".to_owned(), |zone| zone.to_string());
            let path = format!("local/{stem}.zone");
            self.files.insert(path.clone(), records.join("\n") + "\n");
            self.local(zone.as_ref()).zone_files.push(path);
        }
        // A name that stands for addresses of blocks and services has no PTR record there.
        for row in &mut self.spec.local {
            if row.zone.is_none() && row.hosts.is_empty() && row.leases.is_empty() {
                row.ptr = Some(false);
            }
        }
    }

    /// Leaves servers out that are named by a host which nobody knows the address of: the configuration would be refused.
    fn hosts_without_address(&mut self) {
        if self.spec.upstream.bootstrap.as_ref().is_some_and(|servers| !servers.is_empty()) {
            return;
        }
        let is_host = |text: &String| {
            text.parse::<Server>().is_ok_and(|server| server.host().is_some() && server.bootstrap.is_empty())
        };
        let mut out = Vec::new();
        let groups = self.spec.forward.iter_mut().map(|one| &mut one.servers);
        for servers in self.spec.upstream.servers.iter_mut().chain(groups) {
            out.extend(servers.iter().filter(|text| is_host(text)).cloned());
            servers.retain(|text| !is_host(text));
        }
        self.spec.forward.retain(|one| !one.servers.is_empty());
        self.spec.upstream.servers.take_if(|servers| servers.is_empty());
        let place = Place { file: self.product.to_owned(), line: None };
        for text in out {
            let why =
                "nobody is named who knows its address: write tls://HOST@ADDRESS, or set upstream.bootstrap";
            self.left(&place, text, why);
        }
    }
}

/// The wildcard right below a name.
fn names_below(name: &Name) -> Result<Name, names::Refused> {
    format!("*.{name}").parse().or_else(|_| names::name(&format!("*.{name}")))
}

/// A client's address or network, written by its first address as we do: these products take any address of it.
pub(super) fn network_of(text: &str) -> Option<String> {
    let Some((address, bits)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(|address| address.to_string());
    };
    let (address, bits): (IpAddr, u32) = (address.parse().ok()?, bits.parse().ok()?);
    let first: IpAddr = match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits)?).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    };
    Some(format!("{first}/{bits}"))
}

/// A list of which nothing but its name and source is said.
fn bare_list(name: String, source: String) -> List {
    List {
        name,
        source,
        format: None,
        kind: None,
        authority: None,
        action: None,
        addresses: None,
        ttl: None,
        allow_long_ttl: None,
        family: None,
        allow_public_suffix: None,
        min_entries: None,
        allow_shrink: None,
        refresh: None,
        max_size: None,
        sha256: None,
        minisign_key: None,
        bootstrap: None,
        origin: None,
        wildcards: None,
        action_override: None,
        break_dnssec: None,
        without_rd: None,
    }
}

/// Has a list answer as a product answers for what it blocks.
pub(super) fn answered_by(list: &mut List, action: ListAction, addresses: &[IpAddr]) {
    list.action = (action != ListAction::Sinkhole).then_some(action);
    let given = action == ListAction::Sinkhole && !addresses.is_empty();
    list.addresses = given.then(|| addresses.iter().map(IpAddr::to_string).collect());
}

/// Has a list be read as this format.
pub(super) fn read_as(list: &mut List, format: ListFormat, kind: Option<Match>) {
    list.format = Some(format);
    list.kind = kind;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_written_by_their_first_address() {
        for (text, network) in [
            ("192.0.2.7", Some("192.0.2.7")),
            ("192.168.178.1/24", Some("192.168.178.0/24")),
            ("192.168.178.1/0", Some("0.0.0.0/0")),
            ("2001:db8::1/64", Some("2001:db8::/64")),
            ("192.0.2.0/33", None),
            ("laptop", None),
        ] {
            assert_eq!(network_of(text).as_deref(), network, "{text}");
        }
    }

    #[test]
    fn wildcards_hold_below_names_that_are_stated() {
        let mut moved = Moved::new("x");
        let name = |text: &str| names::name(text).expect("a name");
        moved.record_wide(&name("a.example"), "A 192.0.2.1".to_owned());
        moved.record(&name("c.b.a.example"), "A 192.0.2.2".to_owned());
        moved.finish();
        let mut records = moved.spec.local.swap_remove(0).records;
        records.sort();
        let expected = [
            "*.a.example. A 192.0.2.1",
            "*.b.a.example. A 192.0.2.1",
            "*.c.b.a.example. A 192.0.2.1",
            "a.example. A 192.0.2.1",
            "b.a.example. A 192.0.2.1",
            "c.b.a.example. A 192.0.2.2",
        ];
        assert_eq!(records, expected);
    }

    #[test]
    fn zones_of_the_same_servers_stand_together_within_the_bounds() {
        let mut moved = Moved::new("x");
        for number in 0..MAX_FORWARD_ZONES + 5 {
            let zone = names::name(&format!("z{number}.example")).expect("a name");
            moved.forward(&zone, Some(format!("udp://192.0.2.{}", number % 100 + 1)));
        }
        moved.finish();
        assert_eq!(moved.spec.forward.len(), MAX_FORWARD_GROUPS);
        assert_eq!(moved.rows.len(), 5 + 100 - MAX_FORWARD_GROUPS);
        let zones: usize = moved.spec.forward.iter().map(|one| one.zones.len()).sum();
        assert!(zones > MAX_FORWARD_GROUPS, "{zones}");
    }

    #[test]
    fn rows_are_bounded_and_differences_told_once() {
        let (mut moved, place) = (Moved::new("x"), Place { file: "f".to_owned(), line: Some(1) });
        moved.differs(&place, "a", "why");
        moved.differs(&place, "b", "why");
        (0..MAX_ROWS).for_each(|_| moved.left(&place, "c", "why"));
        assert_eq!((moved.rows.len(), moved.more, moved.rows[0].count), (MAX_ROWS, 1, 2));
    }
}
