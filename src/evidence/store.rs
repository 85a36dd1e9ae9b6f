//! The database: what was counted, on the disk.
//!
//! It is SQLite's, written by one connection in one transaction a flush, and read by others meanwhile (WAL), so that a kill at any
//! moment leaves what was flushed before. Nothing of it is loaded. Whatever fails, fails here: who counts goes on, and the flush is tried
//! again. A file that is no database, or a damaged one, is set aside under another name, and a new one begun.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, params};

use super::tally::{Seed, Tally};
use super::{DAY_HOURS, HOUR_S, PERIOD_DAYS, day_of, hour_of};
use crate::name::Name;
use crate::owner;
use crate::resolver::sightings::Beyond;
use crate::sketch::Sketch;
use crate::time::UnixSeconds;

/// What is added to the name of a database that is of no use, and of what SQLite keeps beside it.
const BAD: &str = ".bad";
/// What SQLite keeps beside a database (sqlite.org/tempfiles.html §2).
const BESIDE: [&str; 2] = ["-wal", "-shm"];
/// How long a flush waits for somebody else who writes. Nobody should: it may be a person with a tool.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of the octets that it may have, per cent above which old sightings make room, and down to which.
const ROOM: (u64, u64) = (90, 80);
/// The most hours that make room in one go.
const MAX_TRIMMED: usize = 48;
/// Octets that the log of what was written last keeps on the disk.
const MAX_WAL: u32 = 16 << 20;

/// What changed the form of the database, in its order; their number is its `user_version`.
pub const MIGRATIONS: [&str; 1] = [
    // Times are Unix seconds, days and hours are counted from 1970; `first` and `last` of a sighting are seconds of its hour. `client` is an
    // address (4 or 16 octets), a network (3 octets of a /24, 7 of a /56), a pseudonym (8 octets) or nobody (none).
    "CREATE TABLE mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
     CREATE TABLE source (id INTEGER PRIMARY KEY, ord TEXT NOT NULL, family TEXT NOT NULL, tags TEXT NOT NULL, UNIQUE (ord, family));
     CREATE TABLE name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
     INSERT INTO name VALUES (0, '');
     CREATE TABLE sighting (
         source INTEGER NOT NULL, hour INTEGER NOT NULL, client BLOB NOT NULL, name INTEGER NOT NULL, qtype INTEGER NOT NULL,
         stream INTEGER NOT NULL, count INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, port INTEGER NOT NULL,
         PRIMARY KEY (source, hour, client, name, qtype, stream)) WITHOUT ROWID;
     CREATE TABLE sketch_key (id INTEGER PRIMARY KEY, period INTEGER NOT NULL, key INTEGER);
     CREATE TABLE day (
         source INTEGER NOT NULL, day INTEGER NOT NULL, sketch_key INTEGER NOT NULL, count INTEGER NOT NULL, first INTEGER NOT NULL,
         last INTEGER NOT NULL, sketch BLOB NOT NULL, PRIMARY KEY (source, day, sketch_key)) WITHOUT ROWID;",
];

/// The database of one server.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Octets that it may have.
    max_octets: u64,
    /// For how many days what is in it is kept.
    keep_days: u32,
    open: Option<Open>,
    /// The hour in which what is too old was last looked for.
    looked: u32,
    /// Sightings that made room for others.
    trimmed: u64,
}

/// An open one.
#[derive(Debug)]
struct Open {
    connection: Connection,
    /// Which file it is: another one may take its place.
    inode: (u64, u64),
}

/// What an earlier process left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Whether it said that all was written.
    pub clean: bool,
    /// When it wrote last.
    pub written: UnixSeconds,
    /// How many seconds of what came before its end it had not written at most.
    pub at_risk_s: i64,
}

/// Why something was not written.
#[derive(Debug)]
pub enum StoreError {
    /// SQLite says so.
    Sqlite(rusqlite::Error),
    /// The system does.
    System(io::Error),
    /// It is somebody else's, or of a later form.
    Refused(String),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Sqlite(error) => error.fmt(f),
            StoreError::System(error) => error.fmt(f),
            StoreError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        StoreError::Sqlite(error)
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        StoreError::System(error)
    }
}

impl StoreError {
    /// Whether what is there is no database, or a damaged one.
    fn is_damage(&self) -> bool {
        let StoreError::Sqlite(error) = self else { return false };
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }
}

impl Store {
    /// One in that file, which is opened when it is needed.
    pub fn new(path: PathBuf, max_octets: u64, keep_days: u32) -> Store {
        Store { path, max_octets, keep_days, open: None, looked: 0, trimmed: 0 }
    }

    /// Goes by these bounds from now on.
    pub fn bound(&mut self, max_octets: u64, keep_days: u32) {
        if (self.max_octets, self.keep_days) != (max_octets, keep_days) {
            (self.max_octets, self.keep_days) = (max_octets, keep_days);
            // The one on its pages is set when it is opened.
            (self.open, self.looked) = (None, 0);
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sightings that made room for others so far.
    pub fn trimmed(&self) -> u64 {
        self.trimmed
    }

    /// Octets of the file now, and of what stands beside it.
    pub fn octets(&self) -> u64 {
        let of = |path: PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        of(self.path.clone()) + BESIDE.iter().map(|end| of(beside(&self.path, end))).sum::<u64>()
    }

    /// Opens it, and says what an earlier process left; sets aside one that is damaged, and says so.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn begin(&mut self, at_risk_s: i64) -> Result<(Left, Option<String>), StoreError> {
        let (left, said) = match self.open_as(at_risk_s) {
            Err(error) if error.is_damage() => {
                let said = self.set_aside(&error)?;
                (self.open_as(at_risk_s)?, Some(said))
            }
            opened => (opened?, None),
        };
        Ok((left, said))
    }

    /// The seed by which clients were hashed lately, if it is still in use.
    pub fn seed(&self, at: UnixSeconds) -> Option<Seed> {
        let open = self.open.as_ref()?;
        let period = day_of(at) / PERIOD_DAYS;
        let sql = "SELECT key FROM sketch_key WHERE period = ?1 AND key IS NOT NULL ORDER BY id DESC LIMIT 1";
        let key = open.connection.query_row(sql, [period], |row| row.get::<_, i64>(0)).optional().ok()??;
        Some(Seed { period, key: key.cast_unsigned() })
    }

    /// Writes what was counted, whole or not at all. What it says instead of failing is that a damaged file was set aside.
    ///
    /// # Errors
    /// When nothing was written: it may be tried again.
    pub fn write(
        &mut self,
        tally: &Tally,
        at: UnixSeconds,
        at_risk_s: i64,
    ) -> Result<Option<String>, StoreError> {
        let mut said = None;
        if self.is_elsewhere() {
            self.open = None;
        }
        if self.open.is_none() {
            said = self.begin(at_risk_s)?.1;
        }
        let mut written = self.write_once(tally, at);
        if let Err(error) = &written
            && error.is_damage()
        {
            said = Some(self.set_aside(error)?);
            self.open_as(at_risk_s)?;
            written = self.write_once(tally, at);
        }
        // Pages that are too many are the oldest sightings'.
        if let Err(StoreError::Sqlite(error)) = &written
            && error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        {
            self.trim(at)?;
            written = self.write_once(tally, at);
        }
        if let Err(error) = written {
            // Another try begins anew; what is open may be the reason.
            self.open = None;
            return Err(error);
        }
        // What is too old or too much can wait for another time.
        let _ = self.tidy(at);
        Ok(said)
    }

    /// Says in it that all was written, and closes it.
    ///
    /// # Errors
    /// When that cannot be: the next process will say that something may be missing.
    pub fn end(&mut self) -> Result<(), StoreError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        open.connection.execute("INSERT OR REPLACE INTO mark VALUES ('clean', 1)", [])?;
        open.connection.close().map_err(|(_, error)| error)?;
        Ok(())
    }

    /// Opens it, as it is now.
    fn open_as(&mut self, at_risk_s: i64) -> Result<Left, StoreError> {
        match fs::metadata(&self.path) {
            Ok(metadata) => {
                owner::check(&self.path, &metadata)
                    .map_err(|problem| StoreError::Refused(problem.message))?;
            }
            // It is this user's alone, and what SQLite puts beside it has the same rights.
            Err(error) if error.kind() == io::ErrorKind::NotFound => drop(owner::private_file(&self.path)?),
            Err(error) => return Err(error.into()),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        // WAL: who reads and who writes do not wait for each other. NORMAL: a kill loses nothing that was written; power that fails may cost
        // the last of it, and never the whole. secure_delete: keys and clients that are deleted are gone from the file.
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; PRAGMA journal_size_limit = {MAX_WAL};"
        ))?;
        let octets: u64 =
            connection.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0))?.max(1).cast_unsigned();
        let pages = self.max_octets / octets;
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        migrate(&mut connection)?;
        let left = Left {
            clean: mark(&connection, "clean")?.is_none_or(|clean| clean == 1),
            written: mark(&connection, "written")?.unwrap_or_default(),
            at_risk_s: mark(&connection, "at_risk")?.unwrap_or_default(),
        };
        let sql = "INSERT OR REPLACE INTO mark VALUES ('clean', 0), ('at_risk', ?1)";
        connection.execute(sql, [at_risk_s])?;
        let metadata = fs::metadata(&self.path)?;
        self.open = Some(Open { connection, inode: (metadata.dev(), metadata.ino()) });
        Ok(left)
    }

    /// Whether the file that is open is no longer the one that has its name: what would be written into it would be lost.
    fn is_elsewhere(&self) -> bool {
        let Some(open) = &self.open else { return false };
        fs::metadata(&self.path).map_or(true, |metadata| (metadata.dev(), metadata.ino()) != open.inode)
    }

    /// Gives the file another name, which the last one of its kind had before.
    fn set_aside(&mut self, error: &StoreError) -> Result<String, StoreError> {
        self.open = None;
        let aside = beside(&self.path, BAD);
        fs::rename(&self.path, &aside)?;
        for end in BESIDE {
            match fs::rename(beside(&self.path, end), beside(&aside, end)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(format!(
            "{} is damaged ({error}): it is kept aside as {}, and a new one is begun",
            self.path.display(),
            aside.display()
        ))
    }

    /// Writes what was counted in one transaction.
    fn write_once(&mut self, tally: &Tally, at: UnixSeconds) -> Result<(), StoreError> {
        let Some(open) = &mut self.open else { return Err(StoreError::Refused("it is not open".to_owned())) };
        let transaction =
            open.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let sources = sources(&transaction, tally)?;
        sightings(&transaction, tally, &sources)?;
        days(&transaction, tally, &sources)?;
        transaction.execute("INSERT OR REPLACE INTO mark VALUES ('written', ?1)", [at])?;
        transaction.commit()?;
        Ok(())
    }

    /// Deletes what is too old, once an hour, and what is too much.
    fn tidy(&mut self, at: UnixSeconds) -> Result<(), StoreError> {
        let hour = hour_of(at);
        if hour != self.looked {
            self.looked = hour;
            self.forget_old(at)?;
        }
        let (used, most) = self.used()?;
        if used > most / 100 * ROOM.0 { self.trim(at) } else { Ok(()) }
    }

    /// Deletes what is older than it may be.
    fn forget_old(&mut self, at: UnixSeconds) -> Result<(), StoreError> {
        let today = day_of(at);
        let first_day = today.saturating_sub(self.keep_days);
        let Some(open) = &mut self.open else { return Ok(()) };
        let transaction = open.connection.transaction()?;
        // Whoever has the file shall not be able to try who is in a sketch when its time is over.
        transaction.execute(
            "UPDATE sketch_key SET key = NULL WHERE period < ?1 AND key IS NOT NULL",
            [today / PERIOD_DAYS],
        )?;
        let mut deleted = transaction.execute("DELETE FROM day WHERE day < ?1", [first_day])?;
        for source in all_sources(&transaction)? {
            let sql = "DELETE FROM sighting WHERE source = ?1 AND hour < ?2";
            deleted += transaction.execute(sql, params![source, first_day * DAY_HOURS])?;
        }
        if deleted > 0 {
            transaction
                .execute("DELETE FROM name WHERE id <> 0 AND id NOT IN (SELECT name FROM sighting)", [])?;
            transaction.execute("DELETE FROM source WHERE id NOT IN (SELECT source FROM day) AND id NOT IN (SELECT source FROM sighting)", [])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Deletes the sightings of the oldest hours until there is room; counts by day stay.
    fn trim(&mut self, at: UnixSeconds) -> Result<(), StoreError> {
        for _ in 0..MAX_TRIMMED {
            let (used, most) = self.used()?;
            if used <= most / 100 * ROOM.1 {
                break;
            }
            let Some(open) = &mut self.open else { break };
            let transaction = open.connection.transaction()?;
            let sources = all_sources(&transaction)?;
            let mut oldest = Vec::new();
            for source in &sources {
                let sql = "SELECT min(hour) FROM sighting WHERE source = ?1";
                oldest.extend(transaction.query_row(sql, [source], |row| row.get::<_, Option<u32>>(0))?);
            }
            let Some(oldest) = oldest.into_iter().min() else { break };
            let mut trimmed = 0;
            for source in sources {
                let sql = "DELETE FROM sighting WHERE source = ?1 AND hour <= ?2";
                trimmed += transaction.execute(sql, params![source, oldest])?;
            }
            transaction
                .execute("DELETE FROM name WHERE id <> 0 AND id NOT IN (SELECT name FROM sighting)", [])?;
            transaction.commit()?;
            self.trimmed += trimmed as u64;
            let hours = hour_of(at).saturating_sub(oldest);
            tracing::warn!(
                "evidence of {hours} hours ago made room: {trimmed} sightings are gone, counts by day stay; evidence.max_size says how much there may be"
            );
        }
        Ok(())
    }

    /// Octets that are in use, and those that may be.
    fn used(&self) -> Result<(u64, u64), StoreError> {
        let Some(open) = &self.open else { return Ok((0, self.max_octets)) };
        let number =
            |what: &str| open.connection.query_row(&format!("PRAGMA {what}"), [], |row| row.get::<_, i64>(0));
        let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
        Ok((pages.saturating_mul(number("page_size")?).max(0).cast_unsigned(), self.max_octets))
    }
}

/// The name of what stands beside a file.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Brings a database to the form that is read and written here.
fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let version: usize =
        connection.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))? as usize;
    if version > MIGRATIONS.len() {
        let why = format!(
            "it is of form {version}, and this build knows forms up to {}: use a later build, or another state folder",
            MIGRATIONS.len()
        );
        return Err(StoreError::Refused(why));
    }
    for (number, step) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number as u32 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// A mark's value.
fn mark(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT value FROM mark WHERE name = ?1", [name], |row| row.get(0)).optional()
}

/// The numbers of all orders with families.
fn all_sources(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<i64>> {
    transaction.prepare("SELECT id FROM source")?.query_map([], |row| row.get(0))?.collect()
}

/// Writes orders with families; their numbers.
fn sources(transaction: &Transaction<'_>, tally: &Tally) -> rusqlite::Result<Vec<i64>> {
    // One that is there is changed where its words are others, so that its number is told either way.
    let sql = "INSERT INTO source (ord, family, tags) VALUES (?1, ?2, ?3)
        ON CONFLICT DO UPDATE SET tags = excluded.tags RETURNING id";
    let mut insert = transaction.prepare(sql)?;
    let number = |source: &crate::resolver::sightings::Source| {
        insert.query_row(params![source.order, source.family, source.tags], |row| row.get(0))
    };
    tally.sources().iter().map(number).collect()
}

/// Writes what was counted by key.
fn sightings(transaction: &Transaction<'_>, tally: &Tally, sources: &[i64]) -> rusqlite::Result<()> {
    let mut find = transaction.prepare("SELECT id FROM name WHERE name = ?1")?;
    let mut insert = transaction.prepare("INSERT INTO name (name) VALUES (?1) RETURNING id")?;
    let mut names = vec![0_i64];
    for wire in tally.names().iter().skip(1) {
        // It was a name when it was taken in.
        let name = Name::from_wire(wire).unwrap_or(Name::ROOT).to_string();
        let known = find.query_row([&name], |row| row.get(0)).optional()?;
        names.push(known.map_or_else(|| insert.query_row([&name], |row| row.get(0)), Ok)?);
    }
    let sql = "INSERT INTO sighting VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT DO UPDATE SET count = count + excluded.count, last = max(last, excluded.last),
        port = iif(excluded.first < first, excluded.port, port), first = min(first, excluded.first)";
    let mut put = transaction.prepare(sql)?;
    for (key, count) in tally.sorted() {
        let (Some(source), Some(name)) = (sources.get(key.source as usize), names.get(key.name as usize))
        else {
            continue;
        };
        let queries = i64::try_from(count.count).unwrap_or(i64::MAX);
        put.execute(params![
            source,
            key.hour,
            key.client.octets(),
            name,
            key.qtype,
            key.is_stream,
            queries,
            count.first,
            count.last,
            count.port
        ])?;
    }
    Ok(())
}

/// Writes what was counted by day.
fn days(transaction: &Transaction<'_>, tally: &Tally, sources: &[i64]) -> rusqlite::Result<()> {
    let Seed { period, key } = tally.seed();
    let sql = "SELECT id FROM sketch_key WHERE period = ?1 AND key = ?2";
    let known = transaction
        .query_row(sql, params![period, key.cast_signed()], |row| row.get::<_, i64>(0))
        .optional()?;
    let sql = "INSERT INTO sketch_key (period, key) VALUES (?1, ?2) RETURNING id";
    let insert = || transaction.query_row(sql, params![period, key.cast_signed()], |row| row.get(0));
    let sketch_key = known.map_or_else(insert, Ok)?;
    let sql = "SELECT sketch FROM day WHERE source = ?1 AND day = ?2 AND sketch_key = ?3";
    let mut find = transaction.prepare(sql)?;
    let sql = "INSERT INTO day VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT DO UPDATE SET count = count + excluded.count, first = min(first, excluded.first), last = max(last, excluded.last),
        sketch = excluded.sketch";
    let mut put = transaction.prepare(sql)?;
    for (source, day, counted) in tally.days() {
        let Some(source) = sources.get(source as usize) else { continue };
        let held =
            find.query_row(params![source, day, sketch_key], |row| row.get::<_, Vec<u8>>(0)).optional()?;
        // One that cannot be read counts nobody.
        let mut clients = held.and_then(|octets| Sketch::from_octets(&octets)).unwrap_or_default();
        clients.merge(&counted.clients);
        let Beyond { count, first, last } = counted.queries;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        put.execute(params![source, day, sketch_key, count, first, last, clients.to_octets()])?;
    }
    Ok(())
}

/// The Unix second at which a sighting's second of an hour is.
pub(super) fn second_of(hour: u32, second: u16) -> UnixSeconds {
    i64::from(hour) * HOUR_S + i64::from(second)
}

#[cfg(test)]
mod tests {
    use super::super::tally::tests::{AT, batches, client, tally};
    use super::*;
    use crate::clients::Privacy;

    /// A folder with a database in it.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(super::super::FILE);
        (folder, path)
    }

    /// Somewhat more than nothing: queries of two orders.
    fn some() -> Tally {
        let queries = [(1, client(1), 1, 5), (1, client(2), 1, 6), (2, client(1), 2, 3700)];
        tally(&batches(&queries), 1 << 20, Privacy::Full)
    }

    /// A number that some statement gives.
    fn number(path: &Path, sql: &str) -> i64 {
        Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_is_written_twice_is_counted_twice() {
        let (_folder, path) = folder();
        let mut store = Store::new(path.clone(), 1 << 30, 90);
        for _ in 0..2 {
            store.write(&some(), AT + 10, 7).unwrap();
        }
        assert_eq!(number(&path, "SELECT sum(count) FROM sighting"), 6);
        assert_eq!(number(&path, "SELECT count(*) FROM sighting"), 3);
        assert_eq!(number(&path, "SELECT sum(count) FROM day"), 6);
        assert_eq!(number(&path, "SELECT count(*) FROM sketch_key"), 1);
        assert_eq!(
            number(&path, "SELECT first * 10000 + last FROM sighting WHERE hour % 24 = 1"),
            100 * 10_000 + 100
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(store.seed(AT), Some(some().seed()));
        assert_eq!(store.seed(AT + 31 * 86_400), None);
    }

    #[test]
    fn whether_all_was_written_is_known_the_next_time() {
        let (_folder, path) = folder();
        let mut store = Store::new(path.clone(), 1 << 30, 90);
        let (left, _) = store.begin(7).unwrap();
        assert_eq!(left, Left { clean: true, written: 0, at_risk_s: 0 });
        store.write(&some(), AT + 10, 7).unwrap();
        drop(store);
        // As after a kill.
        let mut store = Store::new(path.clone(), 1 << 30, 90);
        assert_eq!(store.begin(9).unwrap().0, Left { clean: false, written: AT + 10, at_risk_s: 7 });
        store.end().unwrap();
        assert!(!beside(&path, "-wal").exists(), "it is closed");
        assert_eq!(
            Store::new(path, 1 << 30, 90).begin(9).unwrap().0,
            Left { clean: true, written: AT + 10, at_risk_s: 9 }
        );
    }

    #[test]
    fn what_is_no_database_is_set_aside_and_one_is_begun() {
        for damage in ["no database at all".repeat(200), String::new()] {
            let (_folder, path) = folder();
            let mut store = Store::new(path.clone(), 1 << 30, 90);
            if damage.is_empty() {
                // One that is damaged while it is open: all of it but its head.
                store.write(&some(), AT, 7).unwrap();
                store.end().unwrap();
                let mut octets = fs::read(&path).unwrap();
                octets[100..].fill(0xa5);
                fs::write(&path, octets).unwrap();
            } else {
                drop(owner::private_file(&path).unwrap());
                fs::write(&path, damage).unwrap();
            }
            let said = store.write(&some(), AT, 7).unwrap().expect("it is said");
            assert!(said.contains("is damaged") && said.contains("evidence.db.bad"), "{said}");
            assert_eq!(number(&path, "SELECT sum(count) FROM day"), 3);
            assert!(beside(&path, BAD).exists());
        }
    }

    #[test]
    fn what_is_locked_or_gone_is_tried_again() {
        let (folder, path) = folder();
        let mut store = Store::new(path.clone(), 1 << 30, 90);
        store.write(&some(), AT, 7).unwrap();
        // Somebody who writes: for once nobody waits for it.
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        store.open.as_ref().unwrap().connection.busy_timeout(Duration::ZERO).unwrap();
        let error = store.write_once(&some(), AT).unwrap_err();
        assert!(error.to_string().contains("locked"), "{error}");
        other.execute_batch("ROLLBACK").unwrap();
        store.write(&some(), AT, 7).unwrap();
        assert_eq!(number(&path, "SELECT sum(count) FROM day"), 6);
        // Its folder is gone, and is there again.
        drop(other);
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(store.write(&some(), AT, 7).is_err());
        fs::create_dir(folder.path()).unwrap();
        store.write(&some(), AT, 7).unwrap();
        assert_eq!(number(&path, "SELECT sum(count) FROM day"), 3);
        // A later build's.
        store.end().unwrap();
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(store.write(&some(), AT, 7).unwrap_err().to_string().contains("later build"));
    }

    #[test]
    fn what_is_too_old_is_deleted_with_its_names() {
        let (_folder, path) = folder();
        let mut store = Store::new(path.clone(), 1 << 30, 2);
        store.write(&some(), AT, 7).unwrap();
        store
            .write(
                &tally(&batches(&[(3, client(1), 3, 3 * 86_400)]), 1 << 20, Privacy::Full),
                AT + 3 * 86_400,
                7,
            )
            .unwrap();
        assert_eq!(number(&path, "SELECT sum(count) FROM sighting"), 1);
        assert_eq!(number(&path, "SELECT sum(count) FROM day"), 1);
        assert_eq!(number(&path, "SELECT count(*) FROM name"), 2);
        assert_eq!(number(&path, "SELECT count(*) FROM source"), 1);
        // The key of a period that is over is forgotten.
        store.write(&tally(&[], 1 << 20, Privacy::Full), AT + 40 * 86_400, 7).unwrap();
        assert_eq!(
            number(&path, "SELECT count(*) FROM sketch_key WHERE key IS NOT NULL AND period < 680"),
            0
        );
    }

    #[test]
    fn the_oldest_makes_room_and_counts_by_day_stay() {
        let (_folder, path) = folder();
        let most = 2 << 20;
        let mut store = Store::new(path.clone(), most, 90);
        let mut queries = 0;
        for hour in 0..12 {
            let hourly: Vec<_> =
                (0..8000).map(|who| (1, client(who), who % 50, i64::from(hour) * 3600)).collect();
            store
                .write(&tally(&batches(&hourly), 8 << 20, Privacy::Full), AT + i64::from(hour) * 3600, 7)
                .unwrap();
            queries += 8000;
        }
        assert_eq!(number(&path, "SELECT sum(count) FROM day"), queries);
        let left = number(&path, "SELECT count(*) FROM sighting");
        assert_eq!(left + store.trimmed().cast_signed(), queries);
        assert!(left > 8000 && store.trimmed() > 8000, "{left}");
        assert!(fs::metadata(&path).unwrap().len() <= most, "{}", fs::metadata(&path).unwrap().len());
        assert_eq!(number(&path, "SELECT max(hour) % 24 FROM sighting"), 11);
    }
}
