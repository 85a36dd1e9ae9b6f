//! What the database says, for reports: read by a connection of its own that can write nothing and holds up nobody.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row, params};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::client::Kept;
use super::store::{MIGRATIONS, second_of};
use super::{DAY_HOURS, start_of};
use crate::access::Network;
use crate::iana::Rtype;
use crate::orders::time;
use crate::sketch::Sketch;
use crate::time::UnixSeconds;

/// How long it waits for who has the database to itself: whoever repairs it, or a server that begins.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most clients, and names, of one order that are counted one by one to tell who asked most: some hundred MiB.
const MAX_COUNTED: usize = 1 << 22;

/// A database to read.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

/// What is wanted of it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// This order alone.
    pub order: Option<String>,
    /// From this day on, and up to that one, both included; counted from 1970.
    pub days: (u32, u32),
    /// Clients of these networks alone; everybody's if there are none.
    pub networks: Vec<Network>,
    /// How many names and clients are named.
    pub top: usize,
}

/// What is so of an order and a family it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderReport {
    /// The order's id.
    pub order: String,
    /// The family; empty if none is named.
    pub family: String,
    /// Words for reports.
    pub tags: Vec<String>,
    /// Queries that it decided.
    pub queries: u64,
    /// Different clients, about.
    pub clients: u64,
    /// What that number is.
    pub clients_are: Reckoned,
    /// When the first query came, in RFC 3339.
    pub first: String,
    /// When the last one did.
    pub last: String,
    /// The same by day.
    pub days: Vec<DayReport>,
    /// The names that were asked for most.
    pub names: Vec<Most>,
    /// The clients that asked most, as much of them as is kept.
    pub most: Vec<Most>,
    /// Queries of which it is not known here who asked for what: by privacy, or because there was no room.
    pub unknown: u64,
}

/// What a number of clients is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reckoned {
    /// An estimate, within two per cent.
    Estimated,
    /// The sum of several estimates: who was there in several of their times is counted in each.
    AtMost,
    /// Those that are kept, one by one.
    Counted,
}

/// What is so of a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayReport {
    /// The day, such as 2014-06-30.
    pub day: String,
    /// Queries.
    pub queries: u64,
    /// Different clients, about.
    pub clients: u64,
}

/// One of those that come most often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Most {
    /// What it is.
    pub what: String,
    /// Queries.
    pub queries: u64,
}

/// One sighting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighted {
    /// When the first query came.
    pub first: UnixSeconds,
    /// When the last one did.
    pub last: UnixSeconds,
    /// Whether they came by streams.
    pub is_stream: bool,
    /// As much of the client as is kept.
    pub client: Kept,
    /// The port of the first; 0 if it is not kept.
    pub port: u16,
    /// The name asked for; empty if it is not known.
    pub name: String,
    /// The type.
    pub qtype: Rtype,
    /// Queries.
    pub count: u64,
}

/// An order with a family, as the database numbers it.
#[derive(Clone, Debug)]
pub struct SourceRow {
    id: i64,
    /// The order's id.
    pub order: String,
    /// The family; empty if none is named.
    pub family: String,
    /// Words for reports, `;` between them.
    pub tags: String,
}

/// Why it cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// It is not there.
    Missing,
    /// It is of a form that this build does not know.
    Form(u32),
    /// SQLite says so.
    Sqlite(rusqlite::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Missing => f.write_str("there is no evidence: no such file"),
            ReadError::Form(form) => {
                write!(f, "it is of form {form}, and this build reads form {}", MIGRATIONS.len())
            }
            ReadError::Sqlite(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> ReadError {
        ReadError::Sqlite(error)
    }
}

impl Reader {
    /// Opens a database, and sees from then on what it holds now.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn open(path: &Path) -> Result<Reader, ReadError> {
        if !path.exists() {
            return Err(ReadError::Missing);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        // All of it at one moment, which is that of the first look: who writes meanwhile is not seen, and not kept from it.
        connection.execute_batch("BEGIN")?;
        let form = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))?;
        if form as usize != MIGRATIONS.len() {
            return Err(ReadError::Form(form));
        }
        Ok(Reader { connection })
    }

    /// Orders with families, by name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sources(&self, order: Option<&str>) -> Result<Vec<SourceRow>, ReadError> {
        let sql =
            "SELECT id, ord, family, tags FROM source WHERE ?1 IS NULL OR ord = ?1 ORDER BY ord, family";
        let mut select = self.connection.prepare(sql)?;
        let rows = select.query_map([order], |row| {
            Ok(SourceRow { id: row.get(0)?, order: row.get(1)?, family: row.get(2)?, tags: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What is so of each order and family of which there is anything.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn report(&self, wanted: &Wanted) -> Result<Vec<OrderReport>, ReadError> {
        let mut reports = Vec::new();
        for source in self.sources(wanted.order.as_deref())? {
            reports.extend(self.report_of(&source, wanted)?);
        }
        Ok(reports)
    }

    /// Each sighting of an order and family, in the order of time by the hour.
    ///
    /// # Errors
    /// When it cannot be read, or `take` says so.
    pub fn each(
        &self,
        source: &SourceRow,
        wanted: &Wanted,
        mut take: impl FnMut(Sighted) -> std::io::Result<()>,
    ) -> Result<std::io::Result<()>, ReadError> {
        let sql = "SELECT hour, client, name.name, qtype, stream, count, first, last, port FROM sighting
            JOIN name ON name.id = sighting.name WHERE source = ?1 AND hour BETWEEN ?2 AND ?3 ORDER BY hour, client";
        let (since, until) = hours(wanted.days);
        let mut select = self.connection.prepare(sql)?;
        let mut rows = select.query(params![source.id, since, until])?;
        while let Some(row) = rows.next()? {
            let client = client(row, 1)?;
            if !wanted.networks.is_empty() && !wanted.networks.iter().any(|network| client.is_of(network)) {
                continue;
            }
            let hour = row.get(0)?;
            let sighted = Sighted {
                first: second_of(hour, row.get(6)?),
                last: second_of(hour, row.get(7)?),
                is_stream: row.get(4)?,
                client,
                port: row.get(8)?,
                name: row.get(2)?,
                qtype: Rtype(row.get(3)?),
                count: count(row, 5)?,
            };
            if let Err(error) = take(sighted) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// What is so of an order and family; none if there is nothing of it in that time.
    fn report_of(&self, source: &SourceRow, wanted: &Wanted) -> Result<Option<OrderReport>, ReadError> {
        let counted = self.count(source, wanted)?;
        let totals = if wanted.networks.is_empty() { self.totals(source, wanted)? } else { counted.totals() };
        let Totals { queries, clients, clients_are, first, last, days } = totals;
        if queries == 0 {
            return Ok(None);
        }
        let mut find = self.connection.prepare("SELECT name FROM name WHERE id = ?1")?;
        let mut names = Vec::new();
        for (id, queries) in most(&counted.names, wanted.top) {
            names.push(Most { what: find.query_row([id], |row| row.get(0))?, queries });
        }
        let show = |(client, queries): (Kept, u64)| Most { what: client.to_string(), queries };
        Ok(Some(OrderReport {
            order: source.order.clone(),
            family: source.family.clone(),
            tags: source.tags.split(';').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            queries,
            clients,
            clients_are,
            first: time::rfc3339(first),
            last: time::rfc3339(last),
            days: days
                .into_iter()
                .map(|(day, (queries, clients))| DayReport {
                    day: time::show(start_of(day)),
                    queries,
                    clients,
                })
                .collect(),
            names,
            most: most(&counted.clients, wanted.top).into_iter().map(show).collect(),
            unknown: queries.saturating_sub(counted.known),
        }))
    }

    /// Sums by day, which are exact whatever became of sightings.
    fn totals(&self, source: &SourceRow, wanted: &Wanted) -> Result<Totals, ReadError> {
        let sql = "SELECT day, sketch_key, count, first, last, sketch FROM day WHERE source = ?1 AND day BETWEEN ?2 AND ?3";
        let mut select = self.connection.prepare(sql)?;
        let mut rows = select.query(params![source.id, wanted.days.0, wanted.days.1])?;
        let mut totals = Totals::default();
        let mut sketches: HashMap<i64, Sketch> = HashMap::new();
        while let Some(row) = rows.next()? {
            // One that cannot be read counts nobody.
            let sketch =
                Sketch::from_octets(row.get_ref(5)?.as_blob().unwrap_or_default()).unwrap_or_default();
            sketches.entry(row.get(1)?).or_default().merge(&sketch);
            totals.add((row.get(0)?, count(row, 2)?, sketch.estimate()), (row.get(3)?, row.get(4)?));
        }
        totals.clients = sketches.values().map(Sketch::estimate).sum();
        // Hashes by two keys tell nothing of each other.
        totals.clients_are = if sketches.len() > 1 { Reckoned::AtMost } else { Reckoned::Estimated };
        Ok(totals)
    }

    /// Goes through sightings, and counts by name, client and day.
    fn count(&self, source: &SourceRow, wanted: &Wanted) -> Result<Counted, ReadError> {
        let sql = "SELECT hour, client, name, count, first, last FROM sighting WHERE source = ?1 AND hour BETWEEN ?2 AND ?3";
        let (since, until) = hours(wanted.days);
        let mut select = self.connection.prepare(sql)?;
        let mut rows = select.query(params![source.id, since, until])?;
        let mut counted = Counted::default();
        let by_network = !wanted.networks.is_empty();
        while let Some(row) = rows.next()? {
            let client = client(row, 1)?;
            if by_network && !wanted.networks.iter().any(|network| client.is_of(network)) {
                continue;
            }
            let (hour, name, count): (u32, i64, u64) = (row.get(0)?, row.get(2)?, count(row, 3)?);
            if client != Kept::NOTHING {
                add(&mut counted.clients, client, count);
            }
            if name != 0 {
                add(&mut counted.names, name, count);
            }
            if name != 0 && client != Kept::NOTHING {
                counted.known += count;
            }
            if by_network {
                let (first, last) = (second_of(hour, row.get(4)?), second_of(hour, row.get(5)?));
                let day = hour / DAY_HOURS;
                // Of what is kept there is no secret to be made here.
                counted.days.entry(day).or_default().insert(xxh3_64_with_seed(client.octets(), 0));
                counted.sums.add((day, count, 0), (first, last));
            }
        }
        Ok(counted)
    }
}

/// Sums over some time.
#[derive(Clone, Debug)]
struct Totals {
    queries: u64,
    clients: u64,
    clients_are: Reckoned,
    first: UnixSeconds,
    last: UnixSeconds,
    /// Queries and clients by day.
    days: BTreeMap<u32, (u64, u64)>,
}

impl Default for Totals {
    fn default() -> Totals {
        let days = BTreeMap::new();
        Totals {
            queries: 0,
            clients: 0,
            clients_are: Reckoned::Counted,
            first: UnixSeconds::MAX,
            last: 0,
            days,
        }
    }
}

impl Totals {
    /// Takes in a day, or a part of it.
    fn add(&mut self, (day, queries, clients): (u32, u64, u64), (first, last): (UnixSeconds, UnixSeconds)) {
        self.queries += queries;
        self.first = self.first.min(first);
        self.last = self.last.max(last);
        let held = self.days.entry(day).or_default();
        *held = (held.0 + queries, held.1 + clients);
    }
}

/// What was counted one by one.
#[derive(Debug, Default)]
struct Counted {
    names: HashMap<i64, u64>,
    clients: HashMap<Kept, u64>,
    /// Queries of which both are known.
    known: u64,
    /// Clients by day, and sums, where only some are counted.
    days: BTreeMap<u32, Sketch>,
    sums: Totals,
}

impl Counted {
    /// The sums.
    fn totals(&self) -> Totals {
        let mut totals = self.sums.clone();
        totals.clients = self.clients.len() as u64;
        for (day, sketch) in &self.days {
            totals.days.entry(*day).or_default().1 = sketch.estimate();
        }
        totals
    }
}

/// Counts one of many; further ones than there is room for are not counted.
fn add<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u64>, key: K, count: u64) {
    if let Some(held) = counts.get_mut(&key) {
        *held += count;
    } else if counts.len() < MAX_COUNTED {
        counts.insert(key, count);
    }
}

/// Those that come most often, from the most often on.
fn most<K: Copy + Ord>(counts: &HashMap<K, u64>, top: usize) -> Vec<(K, u64)> {
    let mut all: Vec<(K, u64)> = counts.iter().map(|(key, count)| (*key, *count)).collect();
    let by_count = |(key, count): &(K, u64)| (std::cmp::Reverse(*count), *key);
    if top < all.len() {
        all.select_nth_unstable_by_key(top, by_count);
        all.truncate(top);
    }
    all.sort_unstable_by_key(by_count);
    all
}

/// The first and the last hour of days.
fn hours((since, until): (u32, u32)) -> (u32, u32) {
    let last = until.saturating_mul(DAY_HOURS).saturating_add(DAY_HOURS - 1);
    (since.saturating_mul(DAY_HOURS), last)
}

/// A number of queries.
fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.max(0).cast_unsigned())
}

/// As much of a client as is kept; nobody if it is nothing that is known here.
fn client(row: &Row<'_>, column: usize) -> rusqlite::Result<Kept> {
    let octets = row.get_ref(column)?.as_blob().unwrap_or_default();
    Ok(Kept::from_octets(octets).unwrap_or(Kept::NOTHING))
}

#[cfg(test)]
mod tests {
    use super::super::store::Store;
    use super::super::tally::tests::{AT, batches, client as numbered, tally};
    use super::super::{FILE, day_of};
    use super::*;
    use crate::clients::Privacy;

    /// A database of some queries: order, client, name, seconds after [`AT`].
    fn reader(queries: &[(usize, u32, u32, i64)], privacy: Privacy) -> (tempfile::TempDir, Reader) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let queries: Vec<_> =
            queries.iter().map(|(order, who, name, after)| (*order, numbered(*who), *name, *after)).collect();
        let mut store = Store::new(path.clone(), 1 << 30, 90);
        store.write(&tally(&batches(&queries), 64 << 20, privacy), AT, 7).unwrap();
        // It is open, as a server has it.
        let reader = Reader::open(&path).unwrap();
        store.write(&tally(&batches(&queries), 64 << 20, privacy), AT, 7).unwrap();
        (folder, reader)
    }

    /// All there is.
    fn all() -> Wanted {
        Wanted { order: None, days: (0, u32::MAX), networks: Vec::new(), top: 2 }
    }

    #[test]
    fn a_report_says_who_asked_for_what_and_when() {
        let queries = [(1, 1, 1, 5), (1, 1, 2, 6), (1, 2, 1, 7), (1, 300, 3, 86_400), (2, 1, 2, 3700)];
        let (_folder, reader) = reader(&queries, Privacy::Full);
        let reports = reader.report(&all()).unwrap();
        let most = |of: &[(&str, u64)]| -> Vec<Most> {
            of.iter().map(|(what, queries)| Most { what: (*what).into(), queries: *queries }).collect()
        };
        let expected = OrderReport {
            order: "order-1".into(),
            family: "Mirai".into(),
            tags: vec!["iot".into(), "ddos".into()],
            queries: 4,
            clients: 3,
            clients_are: Reckoned::Estimated,
            first: "2023-11-14T00:00:05Z".into(),
            last: "2023-11-15T00:00:00Z".into(),
            days: vec![
                DayReport { day: "2023-11-14".into(), queries: 3, clients: 2 },
                DayReport { day: "2023-11-15".into(), queries: 1, clients: 1 },
            ],
            names: most(&[("n1.test", 2), ("n2.test", 1)]),
            most: most(&[("10.0.0.1", 2), ("10.0.0.2", 1)]),
            unknown: 0,
        };
        assert_eq!((reports.len(), &reports[0]), (2, &expected));
        for (wanted, orders) in [
            (Wanted { order: Some("order-2".into()), ..all() }, vec![("order-2", 1, 1)]),
            (Wanted { order: Some("none".into()), ..all() }, vec![]),
            (Wanted { days: (0, day_of(AT)), ..all() }, vec![("order-1", 3, 2), ("order-2", 1, 1)]),
            (Wanted { days: (day_of(AT) + 1, u32::MAX), ..all() }, vec![("order-1", 1, 1)]),
            (Wanted { days: (0, day_of(AT) - 1), ..all() }, vec![]),
            (
                Wanted { networks: vec!["10.0.0.0/31".parse().unwrap()], ..all() },
                vec![("order-1", 2, 1), ("order-2", 1, 1)],
            ),
            (Wanted { networks: vec!["10.0.1.0/24".parse().unwrap()], ..all() }, vec![("order-1", 1, 1)]),
        ] {
            let reports = reader.report(&wanted).unwrap();
            let found: Vec<(&str, u64, u64)> = reports
                .iter()
                .map(|report| (report.order.as_str(), report.queries, report.clients))
                .collect();
            assert_eq!(found, orders, "{wanted:?}");
        }
    }

    #[test]
    fn how_many_is_known_where_who_is_not() {
        let queries: Vec<_> = (0..2000).map(|who| (1, who, 1, 5)).collect();
        for (privacy, most, unknown) in [
            (Privacy::Full, 2, 0),
            (Privacy::Prefix, 2, 0),
            (Privacy::Pseudonym, 2, 0),
            (Privacy::None, 0, 2000),
        ] {
            let (_folder, reader) = reader(&queries, privacy);
            let report = reader.report(&all()).unwrap().remove(0);
            assert!((1960..=2040).contains(&report.clients), "{}", report.clients);
            assert_eq!(
                (report.most.len(), report.unknown, report.queries),
                (most, unknown, 2000),
                "{privacy:?}"
            );
        }
    }

    #[test]
    fn sightings_come_one_by_one() {
        let (_folder, reader) = reader(&[(1, 1, 1, 5), (1, 1, 1, 9), (1, 1, 2, 3605)], Privacy::Full);
        let source = reader.sources(None).unwrap().remove(0);
        let mut found = Vec::new();
        let done = reader.each(&source, &all(), |sighted| {
            found.push(sighted);
            Ok(())
        });
        done.unwrap().unwrap();
        let one = Sighted {
            first: AT + 5,
            last: AT + 9,
            is_stream: false,
            client: found[0].client,
            port: 4000,
            name: "n1.test".into(),
            qtype: Rtype::A,
            count: 2,
        };
        assert_eq!((found.len(), &found[0], found[1].first), (2, &one, AT + 3605));
    }

    #[test]
    fn what_is_no_evidence_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert!(matches!(Reader::open(&path), Err(ReadError::Missing)));
        std::fs::write(&path, "no database".repeat(99)).unwrap();
        assert!(Reader::open(&path).unwrap_err().to_string().contains("it cannot be read"));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(Reader::open(&path), Err(ReadError::Form(0))));
    }
}
