//! `[[clients]]`: names become addresses, zone numbers, minutes and time zones.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use jiff::tz::{self, TimeZone};

use super::layer::Layers;
use super::spec::{ClientGroup, ScheduleRow, Spec};
use crate::access::{BadNetwork, Network};
use crate::clients::{DAY_MINUTES, DEFAULT, Group, Hours, MAX_GROUPS, MAX_NETWORKS, MAX_ROWS, Row};
use crate::iana::Rtype;
use crate::keys;
use crate::plain;
use crate::policy::View;
use crate::policy::view::MAX_ZONES;
use crate::problem::Problem;

/// Characters in the longest name of a group: it travels in logs and requests.
const MAX_NAME_CHARS: usize = 64;
/// Zones that a hint names.
const MAX_SHOWN: usize = 8;

/// The names of all policy zones, by number: entries of `orders.paths`, then lists.
fn zone_names(spec: &Spec) -> Vec<String> {
    let paths = spec.orders.paths.as_deref().unwrap_or_default().iter();
    paths.chain(spec.lists.iter().map(|list| &list.name)).cloned().collect()
}

/// Joins the zones' names that are paths to the folder of `file`, as `orders.paths` was: what is in effect then says the
/// same wherever it is read again.
pub(super) fn rebase(spec: &mut Spec, file: Option<&Path>) {
    let (zones, base) = (zone_names(spec), base(file));
    for group in &mut spec.clients {
        let rows = group.schedule.iter_mut().flat_map(|row| [&mut row.without, &mut row.also]);
        for name in group.zones.iter_mut().chain(&mut group.without).chain(rows).flatten() {
            let joined = base.join(&name);
            if !zones.iter().any(|zone| same(zone, name))
                && let Some(zone) = zones.iter().find(|zone| joined == Path::new(zone))
            {
                name.clone_from(zone);
            }
        }
    }
}

/// Reads the groups, noting all problems.
pub(super) fn read(
    spec: &Spec,
    file: Option<&Path>,
    layers: &Layers,
    problems: &mut Vec<Problem>,
) -> Vec<Group> {
    let mut reader = Reader { zones: zone_names(spec), base: base(file), layers, problems };
    let groups = &spec.clients;
    if !groups.is_empty() && reader.zones.len() > MAX_ZONES {
        let what = format!(
            "cannot tell {} zones apart; at most {MAX_ZONES} can be left out for somebody",
            reader.zones.len()
        );
        reader.bad("", &what, "put orders into folders: each entry of `orders.paths` is one zone");
    }
    if groups.len() > MAX_GROUPS {
        reader.bad("", &format!("has more than {MAX_GROUPS} groups"), "");
    }
    if groups.iter().map(|group| group.addresses.len()).sum::<usize>() > MAX_NETWORKS {
        reader.bad("", &format!("has more than {MAX_NETWORKS} addresses"), "name networks, not each address");
    }
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut networks: HashMap<(IpAddr, u8), usize> = HashMap::new();
    let mut read = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let path = format!("[{index}]");
        reader.name(group, &path);
        if let Some(other) = names.insert(&group.name, index) {
            let what = format!("is \"{}\", which clients[{other}] is, too", group.name);
            reader.bad(&format!("{path}.name"), &what, "put them together, or rename one");
        }
        let own = reader.networks(group, &path);
        for (place, network) in &own {
            let other = *networks.entry((network.addr(), network.prefix())).or_insert(index);
            if let Some(other) = groups.get(other).filter(|_| other != index) {
                let what = format!("is in the group \"{}\" already", other.name);
                reader.bad(place, &what, "a client is in one group: take it out of the other");
            }
        }
        read.push(Group {
            name: group.name.clone(),
            networks: own.into_iter().map(|(_, network)| network).collect(),
            view: reader.view(group, &path),
            schedule: reader.schedule(group, &path),
            filter: reader.filter(&group.filter, &format!("{path}.filter")),
            evidence: group.evidence,
        });
    }
    read
}

/// The folder that paths in the configuration are relative to.
fn base(file: Option<&Path>) -> &Path {
    file.and_then(Path::parent).unwrap_or(Path::new(""))
}

/// Whether two names are the same zone's: `court` is `court/`.
fn same(zone: &str, name: &str) -> bool {
    Path::new(zone) == Path::new(name)
}

/// Reads groups, collecting problems.
struct Reader<'a> {
    /// The names of zones, by number.
    zones: Vec<String>,
    /// What paths are relative to.
    base: &'a Path,
    /// Where values stand.
    layers: &'a Layers,
    /// What is wrong with them.
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    /// Notes a problem with a place such as `[0].addresses[1]`.
    fn bad(&mut self, path: &str, what: &str, hint: &str) {
        self.problems.push(self.layers.problem_in("clients", path, what).hint(hint));
    }

    /// Checks a group's name.
    fn name(&mut self, group: &ClientGroup, path: &str) {
        let name = &group.name;
        if name.trim() != name || name.is_empty() || plain::fault(name).is_some() {
            let what = format!("is \"{}\"; expected a name", name.escape_debug());
            self.bad(&format!("{path}.name"), &what, "such as \"kids\"");
        } else if name.chars().count() > MAX_NAME_CHARS {
            self.bad(&format!("{path}.name"), &format!("is longer than {MAX_NAME_CHARS} characters"), "");
        }
        if group.addresses.is_empty() && name != DEFAULT {
            let hint =
                format!("write addresses = [\"192.0.2.0/24\"]; everybody else is name = \"{DEFAULT}\"");
            self.bad(path, "is a group without addresses: nobody is in it", &hint);
        }
    }

    /// Reads a group's networks, each with its place.
    fn networks(&mut self, group: &ClientGroup, path: &str) -> Vec<(String, Network)> {
        let mut networks = Vec::new();
        for (index, text) in group.addresses.iter().enumerate() {
            let place = format!("{path}.addresses[{index}]");
            match text.trim().parse::<Network>() {
                Ok(network) => networks.push((place, network)),
                Err(error) => {
                    let why = match error {
                        BadNetwork::Address => String::from("is no address and no network"),
                        other => other.to_string(),
                    };
                    let hint = "write \"192.0.2.7\", \"192.0.2.0/24\" or \"2001:db8::/32\"";
                    self.bad(&place, &format!("is \"{}\", which {why}", text.escape_debug()), hint);
                }
            }
        }
        networks
    }

    /// Reads which zones apply to a group.
    fn view(&mut self, group: &ClientGroup, path: &str) -> View {
        if group.zones.is_some() && group.without.is_some() {
            let what = "is there beside `zones`";
            self.bad(&format!("{path}.without"), what, "`zones` says all that applies: take one of them out");
        }
        let without = self.without(group.without.as_deref().unwrap_or_default(), &format!("{path}.without"));
        match &group.zones {
            Some(zones) => self.only(zones, &format!("{path}.zones")),
            None => without,
        }
    }

    /// No zone but these.
    fn only(&mut self, names: &[String], path: &str) -> View {
        self.numbers(names, path).into_iter().fold(View::NONE, View::with)
    }

    /// All zones but these.
    fn without(&mut self, names: &[String], path: &str) -> View {
        self.numbers(names, path).into_iter().fold(View::ALL, View::without)
    }

    /// The numbers of zones. A path that is listed twice has two.
    fn numbers(&mut self, names: &[String], path: &str) -> Vec<u16> {
        let mut numbers = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let found = self.zones.iter().zip(0..).filter(|(zone, _)| same(zone, name));
            let before = numbers.len();
            numbers.extend(found.map(|(_, number)| number));
            if numbers.len() == before {
                let hint = self.unknown_zone(name);
                let what = format!("is \"{}\", which is no zone", name.escape_debug());
                self.bad(&format!("{path}[{index}]"), &what, &hint);
            }
        }
        numbers
    }

    /// What to write instead of a zone that is none.
    fn unknown_zone(&self, name: &str) -> String {
        let written: Vec<&str> = self.zones.iter().map(|zone| self.as_written(zone)).collect();
        if let Some(nearest) = keys::nearest(name, written.iter().copied()) {
            return format!("did you mean \"{nearest}\"?");
        }
        let shown: Vec<String> = written.iter().take(MAX_SHOWN).map(|zone| format!("\"{zone}\"")).collect();
        let more = if written.len() > MAX_SHOWN { " and more" } else { "" };
        format!("zones are the entries of `orders.paths`: {}{more}", shown.join(", "))
    }

    /// A zone's name as it stands in the file.
    fn as_written<'z>(&self, zone: &'z str) -> &'z str {
        Path::new(zone).strip_prefix(self.base).ok().and_then(Path::to_str).unwrap_or(zone)
    }

    /// Reads the types that a group is told nothing of, each once.
    fn filter(&mut self, types: &[String], path: &str) -> Vec<Rtype> {
        let mut read = Vec::new();
        for (index, text) in types.iter().enumerate() {
            match text.trim().parse::<Rtype>() {
                Ok(rtype) if rtype.is_meta() && rtype != Rtype::ANY => {
                    let what = format!("is \"{rtype}\", which is no type of data");
                    self.bad(&format!("{path}[{index}]"), &what, "take it out: it is never resolved");
                }
                Ok(rtype) if read.contains(&rtype) => {}
                Ok(rtype) => read.push(rtype),
                Err(_) => {
                    let what = format!("is \"{}\", which is no type", text.escape_debug());
                    self.bad(&format!("{path}[{index}]"), &what, "write \"AAAA\", \"HTTPS\" or \"TYPE65\"");
                }
            }
        }
        read
    }

    /// Reads a group's schedule.
    fn schedule(&mut self, group: &ClientGroup, path: &str) -> Vec<Row> {
        if group.schedule.len() > MAX_ROWS {
            self.bad(&format!("{path}.schedule"), &format!("has more than {MAX_ROWS} rows"), "");
        }
        let rows = group.schedule.iter().enumerate();
        rows.filter_map(|(index, row)| self.row(row, &format!("{path}.schedule[{index}]"))).collect()
    }

    /// Reads a row of a schedule.
    fn row(&mut self, row: &ScheduleRow, path: &str) -> Option<Row> {
        if row.without.is_empty() && row.also.is_empty() {
            self.bad(
                path,
                "changes nothing",
                "say what does not apply then, `without`, or what does, `also`",
            );
        }
        let mut days = [row.days.is_none(); 7];
        for day in row.days.iter().flatten() {
            if let Some(day) = days.get_mut(*day as usize) {
                *day = true;
            }
        }
        if row.days.as_ref().is_some_and(Vec::is_empty) {
            self.bad(&format!("{path}.days"), "names no day", "leave it out for every day");
        }
        let from = self.minute(row.from.as_deref(), 0, &format!("{path}.from"));
        let until = self.minute(row.until.as_deref(), DAY_MINUTES, &format!("{path}.until"));
        if from.is_some_and(|from| Some(from) == until || from == DAY_MINUTES) {
            let hint = "leave both out for the whole day; a range over midnight begins on the day before";
            self.bad(&format!("{path}.from"), "is when it ends", hint);
        }
        let time_zone = self.time_zone(&row.time_zone, &format!("{path}.time_zone"));
        let without = self.without(&row.without, &format!("{path}.without"));
        let also = self.only(&row.also, &format!("{path}.also"));
        Some(Row { hours: Hours { days, from: from?, until: until?, time_zone: time_zone? }, without, also })
    }

    /// Reads a time of day, in minutes; 24:00 is the end of the day.
    fn minute(&mut self, text: Option<&str>, default: u16, path: &str) -> Option<u16> {
        let Some(text) = text else { return Some(default) };
        let minute = minutes(text);
        if minute.is_none() {
            let what = format!("is \"{}\"; expected a time of day", text.escape_debug());
            self.bad(path, &what, "write hours and minutes: \"07:30\", \"24:00\" for the end of the day");
        }
        minute
    }

    /// Finds a time zone by its name.
    fn time_zone(&mut self, name: &str, path: &str) -> Option<TimeZone> {
        let found = TimeZone::get(name).ok();
        if found.is_none() {
            let known: Vec<String> = tz::db().available().map(|name| name.to_string()).collect();
            let hint = match keys::nearest(name, known.iter().map(String::as_str)) {
                Some(nearest) => format!("did you mean \"{nearest}\"?"),
                None => String::from("write a name of the IANA database: \"Europe/Berlin\", \"UTC\""),
            };
            self.bad(path, &format!("is \"{}\", which is no time zone", name.escape_debug()), &hint);
        }
        found
    }
}

/// Minutes from "HH:MM", at most 24:00.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        let sound = digits.contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
        sound.then(|| text.parse::<u16>().ok())?
    };
    let (hour, minute) = (number(hour, 1..=2)?, number(minute, 2..=2)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= DAY_MINUTES).then_some(minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        for (text, expected) in [
            ("00:00", Some(0)),
            ("7:30", Some(450)),
            ("07:30", Some(450)),
            ("23:59", Some(1439)),
            ("24:00", Some(1440)),
            ("24:01", None),
            ("12:60", None),
            ("12:5", None),
            ("012:00", None),
            ("+1:00", None),
            ("12", None),
            ("12:00:00", None),
            ("", None),
            ("noon", None),
        ] {
            assert_eq!(minutes(text), expected, "{text:?}");
        }
    }
}
