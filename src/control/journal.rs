//! The journal: who changed what and when, on the disk before it takes effect where it is about orders.
//!
//! `<state>/orders.journal` has one record a line ([`Record`]), only ever appended to, each with the hash of the one before.
//! What stands is what all of them come to, one after the other, so there is nothing else to keep. It is not compacted: a
//! record has some 400 octets and people make them, so a thousand a day fill the [bound](MAX_OCTETS) in a year.
//!
//! The hashes show what was altered, moved or taken out of the middle. They have no key: who may write to the file may write
//! another history, and who cuts records off its end leaves a shorter one that is whole. Whoever wants more notes the hash of the
//! last record elsewhere, which is why status tells it. A journal that somebody else could have written is not taken at all.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{BadRecord, NO_RECORD, Record, RecordedStanding, Verb};
use super::signing::{Signer, Verifier};
use super::statements::Statements;
use crate::orders::time;
use crate::owner;
use crate::problem::Problem;
use crate::spares;
use crate::time::UnixSeconds;

/// The file's name within the state folder.
pub const FILE: &str = "orders.journal";
/// The longest journal, in octets: some 160 thousand records, which are also held in memory.
pub const MAX_OCTETS: u64 = 64 << 20;

/// Of that, what records that nobody asked for may fill: there has to be room for a lift.
const MAX_OTHERS: u64 = MAX_OCTETS / 2;

/// Every change since the journal began.
#[derive(Debug, Default)]
pub struct Journal {
    /// Where it is kept; none means in memory alone.
    path: Option<PathBuf>,
    /// The file, once there is one.
    file: Option<File>,
    /// Octets of the file that hold whole records.
    octets: u64,
    /// Every record.
    records: Vec<Arc<Record>>,
    /// What signs them, if anything does.
    signer: Option<Signer>,
}

/// A journal as it lies on the disk, read and left as it is.
#[derive(Debug, Default)]
pub struct Audit {
    /// Every record that could be read, whether or not it follows the one before.
    pub records: Vec<Arc<Record>>,
    /// Where the chain breaks; none if it is whole.
    pub breaks: Vec<Problem>,
    /// Octets behind the last whole record: one is being written, or a kill left them.
    pub torn: usize,
}

/// Why nothing was put on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalError {
    /// The journal would be too long.
    Full {
        /// Octets that it may have.
        most: u64,
    },
    /// The file cannot be written.
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: String,
    },
}

impl Journal {
    /// One that ends with the process.
    pub fn in_memory() -> Journal {
        Journal::default()
    }

    /// The journal of a state folder, which need not exist yet. What was cut off or refused is among the problems, as of `at`.
    ///
    /// # Errors
    /// When it cannot be read, or what is wrong with it cannot be put aside: to go on as if nothing had been stated would
    /// put in force again what was lifted.
    pub fn open(folder: &Path, at: UnixSeconds) -> Result<(Journal, Vec<Problem>), Problem> {
        let path = folder.join(FILE);
        let place = path.display().to_string();
        let failed = |what: &str, error: &io::Error| {
            let message = format!("cannot be {what}: {error}");
            let hint = "it says which orders were lifted: mend what is in the way, or move the file away to forget all of it";
            Problem::error(place.clone(), None, message).hint(hint)
        };
        let mut journal = Journal { path: Some(path.clone()), ..Journal::default() };
        let mut file = match append_to(&path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((journal, Vec::new())),
            Err(error) => return Err(failed("opened", &error)),
        };
        // Who may write to it lifts orders.
        owner::check(&path, &file.metadata().map_err(|error| failed("looked at", &error))?)?;
        let octets = read(&mut file).map_err(|error| failed("read", &error))?;
        let mut problems = Vec::new();
        // Whatever ends with a newline was written whole; only a kill or a crash while writing leaves anything behind it.
        let whole = octets.iter().rposition(|&octet| octet == b'\n').map_or(0, |last| last + 1);
        if whole < octets.len() {
            file.set_len(whole as u64)
                .and_then(|()| file.sync_all())
                .map_err(|error| failed("mended", &error))?;
            let message = format!(
                "the last record was not written to its end; cut off {} octets",
                octets.len() - whole
            );
            problems.push(
                Problem::warning(place.clone(), None, message)
                    .hint("it never took effect, and nobody was told that it had"),
            );
        }
        let bad = journal.take(&octets[..whole], &place);
        journal.octets = whole as u64;
        journal.file = Some(file);
        if !bad.is_empty() {
            problems.extend(bad);
            problems.push(journal.put_aside(&path, at).map_err(|error| failed("put aside", &error))?);
        }
        Ok((journal, problems))
    }

    /// What stands by the journal of a state folder, read and left as it is: a server may be writing to it. None if there is
    /// no journal.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn look(folder: &Path) -> Result<Option<Statements>, Problem> {
        let path = folder.join(FILE);
        let place = path.display().to_string();
        let hint = "without --state, what was stated at run time is left aside";
        let failed = |error: &io::Error| {
            Problem::error(place.clone(), None, format!("cannot be read: {error}")).hint(hint)
        };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let octets = read(&mut file).map_err(|error| failed(&error))?;
        // What stands behind the last newline is being written, or never took effect.
        let whole = octets.iter().rposition(|&octet| octet == b'\n').map_or(0, |last| last + 1);
        let mut journal = Journal::default();
        match journal.take(&octets[..whole], &place).into_iter().next() {
            Some(problem) => Err(problem.hint(hint)),
            None => Ok(Some(journal.stated())),
        }
    }

    /// Reads a journal and holds it against its own chain; a server may be writing to it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn audit(path: &Path) -> io::Result<Audit> {
        let octets = read(&mut File::open(path)?)?;
        let whole = octets.iter().rposition(|&octet| octet == b'\n').map_or(0, |last| last + 1);
        let mut journal = Journal::default();
        let breaks = journal.take(&octets[..whole], &path.display().to_string());
        Ok(Audit { records: journal.records, breaks, torn: octets.len() - whole })
    }

    /// Takes in whole lines; gives back what is wrong with them.
    fn take(&mut self, octets: &[u8], place: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        // A line behind a wrong one cannot be held against it: the wrong one alone is reported.
        let mut prev = Some(NO_RECORD.to_string());
        let mut seq = 0;
        for (line, number) in octets.split(|&octet| octet == b'\n').zip(1..) {
            if line.is_empty() && number > 1 {
                continue;
            }
            if octets.is_empty() {
                break;
            }
            let read = std::str::from_utf8(line).map_err(|_| BadRecord::NoText).and_then(Record::open);
            let read = read.and_then(|record| match &record.names {
                Some(names) if names.parsed().is_none() => Err(BadRecord::NoName(names.name.clone())),
                _ => Ok(record),
            });
            match read {
                Ok(record) => {
                    let follows =
                        |prev: &String| *prev == record.prev && record.seq.checked_sub(1) == Some(seq);
                    if prev.as_ref().is_some_and(|prev| !follows(prev)) {
                        let bad = BadRecord::OutOfOrder { seq: record.seq };
                        problems.push(Problem::error(place, Some(number), bad.to_string()));
                    }
                    prev = Some(record.sha256.clone());
                    seq = record.seq;
                    self.records.push(Arc::new(record));
                }
                Err(bad) => {
                    problems.push(Problem::error(place, Some(number), bad.to_string()));
                    prev = None;
                }
            }
        }
        problems
    }

    /// Keeps a refused journal under another name, and begins anew with what could be read of it.
    fn put_aside(&mut self, path: &Path, at: UnixSeconds) -> io::Result<Problem> {
        let aside = free_name(path, at);
        let stated = self.stated();
        let mut orders: Vec<&str> = stated.orders().collect();
        orders.sort_unstable();
        let prefix = format!("from {}", aside.file_name().unwrap_or_default().to_string_lossy());
        fs::rename(path, &aside)?;
        *self = Journal { path: self.path.take(), signer: self.signer.take(), ..Journal::default() };
        let carried = orders.iter().flat_map(|order| stated.of(order)).map(|record| Record {
            verb: Verb::Carry,
            order: record.order.clone(),
            names: record.names.clone(),
            standing: record.hold().map_or(record.standing, |_| Some(RecordedStanding::Held)),
            until: record.hold().and_then(|window| window.expires),
            from: record.standing,
            why: prefix.clone(),
            bound_s: record.bound_s,
            ..blank(at, "local")
        });
        self.append(carried.collect()).map_err(io::Error::other)?;
        let message = format!("refused: {} statements could be read and go on standing", stated.len());
        let hint = format!(
            "the file is kept as {}; see there which changes are missing, and make them again",
            aside.display()
        );
        Ok(Problem::error(path.display().to_string(), None, message).hint(hint))
    }

    /// Writes records one after the other, with their numbers and hashes, and has them on the disk when it returns.
    ///
    /// # Errors
    /// Why nothing was written.
    pub fn append(&mut self, records: Vec<Record>) -> Result<Vec<Arc<Record>>, JournalError> {
        let (mut text, mut sealed) = (String::new(), Vec::with_capacity(records.len()));
        let mut prev = self.head().to_string();
        let count = records.len();
        let at = records.last().map_or(0, |record| record.unix);
        // Made once the hash of what it signs is known.
        let signer = self.signer.as_ref().filter(|_| count > 0);
        let signature = signer.map(|signer| (signer, blank(at, "signer")));
        let records = records.into_iter().map(Ok).chain(signature.map(Err));
        for (record, seq) in records.zip(self.next_seq()..) {
            let record = record.unwrap_or_else(|(signer, record)| Record {
                verb: Verb::Sign,
                about: signer.public(),
                now: signer.sign(&prev),
                ..record
            });
            let (record, line) = Record { seq, prev, ..record }.seal();
            prev = record.sha256.clone();
            text.push_str(&line);
            text.push('\n');
            sealed.push(Arc::new(record));
        }
        let octets = self.octets + text.len() as u64;
        if octets > MAX_OCTETS {
            return Err(JournalError::Full { most: MAX_OCTETS });
        }
        if let Some(path) = self.path.clone() {
            self.write(&path, text.as_bytes())
                .map_err(|error| JournalError::Unwritable { path, error: error.to_string() })?;
        }
        self.octets = octets;
        self.records.extend(sealed.iter().cloned());
        sealed.truncate(count);
        Ok(sealed)
    }

    /// The same for records of what happens beside orders, which leave half of the journal to those.
    ///
    /// # Errors
    /// Why nothing was written.
    pub fn note(&mut self, records: Vec<Record>) -> Result<Vec<Arc<Record>>, JournalError> {
        if self.octets > MAX_OTHERS {
            return Err(JournalError::Full { most: MAX_OTHERS });
        }
        self.append(records)
    }

    /// Has everything that is put on record from now on signed by that, or by nothing.
    pub fn sign_with(&mut self, signer: Option<Signer>) {
        self.signer = signer;
    }

    /// Opens the file now, and makes it if need be, rather than at the first change: then there may be no descriptor or no
    /// room left. One that somebody took away is put back. In memory alone it does nothing.
    ///
    /// # Errors
    /// Why nothing can be put on record.
    pub fn hold(&mut self) -> io::Result<()> {
        match self.path.clone() {
            Some(path) => self.file(&path).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Puts the file back where somebody took it away, if anything is on record: the next start reads what lies there, and what was
    /// lifted would be in force again.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn keep_in_place(&mut self) -> io::Result<()> {
        if self.records.is_empty() { Ok(()) } else { self.hold() }
    }

    /// The file at its place, opened and made if it is not there.
    fn file(&mut self, path: &Path) -> io::Result<&mut File> {
        if self.file.as_ref().is_some_and(|file| !is_at(file, path)) {
            // An empty file tells nobody that it matters: somebody may have cleared it away.
            self.file = if self.records.is_empty() { None } else { Some(self.put_back(path)?) };
        }
        match &mut self.file {
            Some(file) => Ok(file),
            empty => {
                let file = spares::open(|| append_to(path, true))?;
                owner::check(path, &file.metadata()?).map_err(|problem| io::Error::other(problem.message))?;
                // A new file is there after a crash only once its folder is on the disk.
                if let Some(folder) = path.parent() {
                    spares::open(|| File::open(folder))?.sync_all()?;
                }
                Ok(empty.insert(file))
            }
        }
    }

    /// Writes all that is on record where the file is no more: it may have gone with its disk.
    fn put_back(&mut self, path: &Path) -> io::Result<File> {
        let mut text = String::new();
        for record in &self.records {
            let (again, line) = Record::clone(record).seal();
            if again.sha256 != record.sha256 {
                return Err(io::Error::other(format!("record {} cannot be written as it was", record.seq)));
            }
            text.push_str(&line);
            text.push('\n');
        }
        match File::open(path).and_then(|mut there| read(&mut there)) {
            // Somebody brought it back from a copy.
            Ok(there) if there == text.as_bytes() => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(closed(error)),
            Ok(there) if !there.is_empty() => {
                let what = "another journal lies there: a change would be in neither or both; move it away, or restart to go by it";
                return Err(io::Error::other(what));
            }
            _ => {
                path.parent().map_or(Ok(()), owner::make_folder).map_err(closed)?;
                owner::write(path, text.as_bytes()).map_err(closed)?;
                tracing::warn!(
                    "{} was gone; all {} records are in it again",
                    path.display(),
                    self.records.len()
                );
            }
        }
        let file = spares::open(|| append_to(path, false))?;
        owner::check(path, &file.metadata()?).map_err(|problem| io::Error::other(problem.message))?;
        self.octets = text.len() as u64;
        Ok(file)
    }

    /// Appends to the file and has it on the disk; a part of it that was written is taken back.
    fn write(&mut self, path: &Path, octets: &[u8]) -> io::Result<()> {
        let held = self.octets;
        let file = self.file(path)?;
        if file.metadata()?.len() != held {
            return Err(io::Error::other(
                "somebody else has written to it: two servers must not share a state folder",
            ));
        }
        let written = file.write_all(octets).and_then(|()| file.sync_data());
        if written.is_err() {
            // What is left of it if this fails too has no newline, or else it was written: the next start tells them apart.
            let _ = file.set_len(held);
        }
        written
    }

    /// What stands: all records, one after the other.
    pub fn stated(&self) -> Statements {
        let mut stated = Statements::default();
        self.records.iter().for_each(|record| stated.take(record));
        stated
    }

    /// Every record, the oldest first.
    pub fn records(&self) -> &[Arc<Record>] {
        &self.records
    }

    /// The hash of the last record.
    pub fn head(&self) -> &str {
        self.records.last().map_or(NO_RECORD, |record| &record.sha256)
    }

    /// Where it is kept; none means in memory alone.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The number of the next record.
    fn next_seq(&self) -> u64 {
        self.records.last().map_or(1, |record| record.seq + 1)
    }
}

impl Audit {
    /// The hash of the last record.
    pub fn head(&self) -> &str {
        self.records.last().map_or(NO_RECORD, |record| &record.sha256)
    }

    /// How many records are signed by that key, those behind the last signature left aside, and how many there are behind it; and the
    /// first signature that is not that key's, if there is one.
    pub fn signed_by(&self, key: &Verifier) -> (usize, usize, Option<&Arc<Record>>) {
        let mut signatures = self.records.iter().enumerate().filter(|(_, record)| record.verb == Verb::Sign);
        let last = signatures.clone().rfind(|(_, record)| key.signed(record));
        let wrong = signatures.find(|(_, record)| !key.signed(record)).map(|(_, record)| record);
        let behind = last.map_or(self.records.len(), |(place, _)| self.records.len() - place - 1);
        (last.map_or(0, |(place, _)| place), behind, wrong)
    }

    /// The record that has that hash: a head that was noted once is one of them, as long as nobody has written another history.
    pub fn with_hash(&self, hash: &str) -> Option<&Arc<Record>> {
        self.records.iter().find(|record| record.sha256.eq_ignore_ascii_case(hash))
    }
}

impl fmt::Display for JournalError {
    /// What is wrong, and what to do or what became of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::Full { most } => {
                write!(f, "the journal would pass {most} octets: move it away while the server is down")
            }
            JournalError::Unwritable { path, error } => {
                write!(f, "{} cannot be written ({error}): nothing was changed", path.display())
            }
        }
    }
}

impl std::error::Error for JournalError {}

/// A record with nothing in it but when and who.
pub fn blank(at: UnixSeconds, who: &str) -> Record {
    Record {
        seq: 0,
        at: time::rfc3339(at),
        unix: at,
        who: who.into(),
        by: String::new(),
        verb: Verb::Restore,
        order: String::new(),
        about: String::new(),
        was: String::new(),
        now: String::new(),
        names: None,
        standing: None,
        until: None,
        from: None,
        why: String::new(),
        bound_s: None,
        prev: String::new(),
        sha256: String::new(),
    }
}

/// Opens a journal that is written at its end alone; with `create`, makes it and its folder if they are not there.
fn append_to(path: &Path, create: bool) -> io::Result<File> {
    if create && let Some(folder) = path.parent() {
        owner::make_folder(folder)?;
    }
    let mut options = File::options();
    options.read(true).append(true).create(create);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whether that file is the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        file.metadata().map(identity).ok() == fs::metadata(path).map(identity).ok()
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

/// What it means that a folder which is another than at the start cannot be written to.
fn closed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            io::Error::new(error.kind(), format!("{error}; {}", owner::CLOSED))
        }
        _ => error,
    }
}

/// All of a journal that is not too long.
fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    file.take(MAX_OCTETS + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_OCTETS {
        return Err(io::Error::other(format!("it is longer than {MAX_OCTETS} octets")));
    }
    Ok(octets)
}

/// A name that no file has, for a journal that was refused.
fn free_name(path: &Path, at: UnixSeconds) -> PathBuf {
    let name = |more: String| path.with_file_name(format!("{FILE}.refused-{at}{more}"));
    let first = name(String::new());
    if !first.exists() {
        return first;
    }
    (1..).map(|number: u32| name(format!("-{number}"))).find(|name| !name.exists()).unwrap_or(first)
}

#[cfg(test)]
mod tests;
