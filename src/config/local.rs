//! `[[local]]`: names of our own, from text to records and files.

use std::path::{Path, PathBuf};

use super::layer::Layers;
use super::lists::seconds;
use super::spec::{LeaseFormat, Local, Spec};
use crate::name::Name;
use crate::orders::names;
use crate::problem::Problem;
use crate::stated::gather::Owners;
use crate::stated::leases::Format;
use crate::stated::row::{self, DEFAULT_TTL_S, Row, is_public};

/// The highest `ttl`, in seconds: a week, as for lists.
const MAX_TTL_S: u64 = 604_800;

/// Joins the paths to the folder of `file`: what is in effect then says the same wherever it is read again.
pub(super) fn rebase(spec: &mut Spec, file: Option<&Path>) {
    let base = file.and_then(Path::parent).unwrap_or(Path::new(""));
    for row in &mut spec.local {
        let paths = row.hosts.iter_mut().chain(&mut row.zone_files).chain(&mut row.leases);
        for path in paths.filter(|path| !path.is_empty()) {
            *path = base.join(&path).to_string_lossy().into_owned();
        }
    }
}

/// Reads the rows, noting all problems; their files are read when they are put in force.
pub(super) fn read(spec: &Spec, layers: &Layers, problems: &mut Vec<Problem>) -> Vec<Row> {
    let mut owners = Owners::default();
    let rows = spec.local.iter().enumerate();
    rows.map(|(index, local)| {
        Reader { spec, local, index, layers, problems: &mut *problems }.row(&mut owners)
    })
    .collect()
}

/// Reads one row.
struct Reader<'a> {
    spec: &'a Spec,
    local: &'a Local,
    /// Its place among the rows.
    index: usize,
    /// Where values stand.
    layers: &'a Layers,
    /// What is wrong with them.
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    /// A problem with one of its keys, or with the row if that is empty.
    fn problem(&self, key: &str, what: &str, hint: &str) -> Problem {
        let dot = if key.is_empty() { "" } else { "." };
        self.layers.problem_in("local", &format!("[{}]{dot}{key}", self.index), what).hint(hint)
    }

    /// Notes a problem with one of its keys.
    fn bad(&mut self, key: &str, what: &str, hint: &str) {
        let problem = self.problem(key, what, hint);
        self.problems.push(problem);
    }

    /// Reads all of it; what is stated is to stand beside what stands in other rows.
    fn row(&mut self, owners: &mut Owners) -> Row {
        let local = self.local;
        let (zone, ttl_s) = (self.zone(), self.ttl());
        let has_files = !local.hosts.is_empty() || !local.zone_files.is_empty() || !local.leases.is_empty();
        if local.zone.is_none() && local.records.is_empty() && !has_files {
            self.bad("", "states nothing", "name a zone, records, or files: hosts, zone_files, leases");
        }
        for (key, paths) in
            [("hosts", &local.hosts), ("zone_files", &local.zone_files), ("leases", &local.leases)]
        {
            for (index, _) in paths.iter().enumerate().filter(|(_, path)| path.is_empty()) {
                self.bad(&format!("{key}[{index}]"), "is empty", "name a file");
            }
        }
        if local.lease_format.is_some() && local.leases.is_empty() {
            self.bad("lease_format", "is there, but no leases are", "name their files: leases = [\"...\"]");
        }
        let paths = |texts: &[String]| texts.iter().map(PathBuf::from).collect();
        Row {
            records: self.records(zone.as_ref(), ttl_s, owners),
            zone,
            hosts: paths(&local.hosts),
            zone_files: paths(&local.zone_files),
            leases: paths(&local.leases),
            lease_format: local.lease_format.map(|format| match format {
                LeaseFormat::Dnsmasq => Format::Dnsmasq,
                LeaseFormat::Dhcpd => Format::Dhcpd,
                LeaseFormat::Kea => Format::Kea,
            }),
            ttl_s,
            ptr: local.ptr.unwrap_or(true),
        }
    }

    /// Reads the zone.
    fn zone(&mut self) -> Option<Name> {
        let text = self.local.zone.as_deref()?;
        let zone = match names::name(text) {
            Ok(zone) => zone,
            Err(error) => {
                self.bad("zone", &format!("has the name {error}"), "write it as lan or home.arpa");
                return None;
            }
        };
        let is_it = |other: &String| names::name(other).is_ok_and(|other| other == zone);
        if let Some(other) = self.spec.forward.iter().position(|group| group.zones.iter().any(is_it)) {
            let what = format!("is {zone}, which forward[{other}] has others asked about");
            let hint =
                "take it out of one; in a row without a zone, records stand beside what others say of theirs";
            self.bad("zone", &what, hint);
        }
        if self.spec.special.forward.iter().flatten().any(is_it) {
            let hint = "take it out of one";
            self.bad("zone", &format!("is {zone}, which special.forward has others asked about"), hint);
        }
        if is_public(&zone) {
            let what = format!("is {zone}, below which others have names: none of those exists any more");
            let hint =
                "name a zone of your own: home.arpa (RFC 8375), lan; or state records in a row without one";
            let problem = self.problem("zone", &what, hint).as_warning();
            self.problems.push(problem);
        }
        Some(zone)
    }

    /// Reads `ttl`.
    fn ttl(&mut self) -> u32 {
        let Some(ttl) = &self.local.ttl else { return DEFAULT_TTL_S };
        let found = seconds(ttl).filter(|&seconds| seconds <= MAX_TTL_S);
        if found.is_none() {
            self.bad("ttl", "is no length of time up to a week", "write 300, \"5m\" or \"1h\"");
        }
        found.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(DEFAULT_TTL_S)
    }

    /// Reads `records`.
    fn records(&mut self, zone: Option<&Name>, ttl_s: u32, owners: &mut Owners) -> Vec<crate::local::Record> {
        // Without the zone that was meant, every short name would be another one.
        if zone.is_none() && self.local.zone.is_some() {
            return Vec::new();
        }
        let mut records = Vec::new();
        for (index, text) in self.local.records.iter().enumerate() {
            let read = row::record(text, zone, ttl_s).and_then(|record| {
                let added = owners.add(record.clone());
                added.map(|()| record).map_err(|why| (why.to_owned(), "take one of them out".to_owned()))
            });
            match read {
                Ok(record) => records.push(record),
                Err((what, hint)) => {
                    let what = format!("is \"{}\": {what}", text.escape_debug());
                    self.bad(&format!("records[{index}]"), &what, &hint);
                }
            }
        }
        records
    }
}
