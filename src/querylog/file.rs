//! A file of lines, one after the other: another is begun when it is long or old, and when somebody takes it away.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::line::Line;
use super::outlet::{Sink, Written};
use super::shown::Shown;
use super::{FileSettings, Format};
use crate::time::UnixSeconds;

/// Octets of lines that are written at a time.
const PORTION: usize = 64 << 10;
/// Whose it is to read, but for what `umask` takes away: the server's own user, and a group that collects logs.
const MODE: u32 = 0o640;

/// The file.
pub(super) struct LogFile {
    settings: FileSettings,
    format: Format,
    open: Option<Open>,
    /// Whether the last line was cut short: what comes next begins a line of its own.
    cut: bool,
}

/// The file while it is open.
struct Open {
    file: File,
    /// Octets in it.
    size: u64,
    /// When it was begun.
    begun: UnixSeconds,
    /// Which one it is, whatever it is called by now.
    id: (u64, u64),
    /// Which folder it is in.
    folder: Option<(u64, u64)>,
}

impl LogFile {
    /// It is opened when it is needed.
    pub(super) fn new(settings: FileSettings, format: Format) -> LogFile {
        LogFile { settings, format, open: None, cut: false }
    }

    /// Begins another one if this one is long or old.
    ///
    /// # Errors
    /// When that cannot be: then it goes on as it is.
    fn turn(&mut self, now: UnixSeconds) -> io::Result<()> {
        let FileSettings { max_size, max_age_s, .. } = self.settings;
        let Some(open) = &self.open else { return Ok(()) };
        let long = max_size > 0 && open.size >= max_size;
        // A clock that was set back makes no file young again, nor is there an end to its youth.
        let old = max_age_s > 0 && open.size > 0 && !(0..max_age_s).contains(&now.saturating_sub(open.begun));
        if !long && !old {
            return Ok(());
        }
        self.move_up()?;
        self.open = None;
        self.open(now)
    }

    /// Gives each earlier file the next number, the last but `keep` go, and this one becomes the first of them.
    fn move_up(&self) -> io::Result<()> {
        // What is not there need not move.
        let done = |moved: io::Result<()>| match moved {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let FileSettings { path, keep, .. } = &self.settings;
        if *keep == 0 {
            return done(fs::remove_file(path));
        }
        for number in (1..*keep).rev() {
            done(fs::rename(numbered(path, number), numbered(path, number + 1)))?;
        }
        done(fs::rename(path, numbered(path, 1)))
    }

    /// Writes lines; how many octets of them are written.
    fn put(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let Some(open) = &mut self.open else { return (0, Err(io::ErrorKind::NotConnected.into())) };
        if self.cut && open.size > 0 {
            match open.file.write_all(b"\n") {
                Ok(()) => open.size += 1,
                Err(error) => return (0, Err(error)),
            }
        }
        self.cut = false;
        let mut done = 0;
        while let Some(left) = lines.get(done..).filter(|left| !left.is_empty()) {
            match open.file.write(left) {
                Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
                Ok(more) => {
                    done += more;
                    open.size += more as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.cut = done > 0 && lines.get(done - 1) != Some(&b'\n');
                    return (done, Err(error));
                }
            }
        }
        (done, Ok(()))
    }
}

impl Sink for LogFile {
    fn open(&mut self, now: UnixSeconds) -> io::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let path = &self.settings.path;
        let file = OpenOptions::new().create(true).append(true).mode(MODE).open(path)?;
        let metadata = file.metadata()?;
        // One that an earlier process began is as old as it is, where the system knows that.
        let created = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let begun = created.and_then(|time| UnixSeconds::try_from(time.as_secs()).ok());
        let begun = begun.filter(|begun| metadata.len() > 0 && *begun <= now).unwrap_or(now);
        self.open = Some(Open {
            file,
            size: metadata.len(),
            begun,
            id: (metadata.dev(), metadata.ino()),
            folder: identity(folder_of(path)),
        });
        Ok(())
    }

    fn write(&mut self, records: &mut dyn Iterator<Item = Shown<'_>>, now: UnixSeconds) -> Written {
        // Under load there is no other time to look.
        if self.open.as_ref().is_some_and(|open| open.is_gone(&self.settings.path)) {
            self.open = None;
        }
        if let Err(error) = self.open(now) {
            return Written { records: 0, error: Some(error) };
        }
        let (mut written, mut lines) = (0, Vec::with_capacity(PORTION + 2048));
        // A file that cannot make room for another is written on; that is said, and nothing is lost by it.
        let mut trouble = None;
        loop {
            lines.clear();
            while lines.len() < PORTION
                && let Some(shown) = records.next()
            {
                Line::of(&shown).write(self.format, &mut lines);
            }
            if lines.is_empty() {
                return Written { records: written, error: trouble };
            }
            trouble = self.turn(now).err().or(trouble);
            let (done, came) = self.put(&lines);
            let whole = lines.get(..done).unwrap_or_default();
            written += whole.iter().filter(|octet| **octet == b'\n').count() as u64;
            if let Err(error) = came {
                return Written { records: written, error: Some(error) };
            }
        }
    }

    /// One that was moved or removed is opened anew where it ought to be, and an old one ends though nobody asks.
    fn look(&mut self, now: UnixSeconds) {
        if self.open.as_ref().is_some_and(|open| identity(&self.settings.path) != Some(open.id)) {
            self.open = None;
        }
        // If that fails, the next line finds out.
        let _ = self.turn(now);
    }

    fn close(&mut self) {
        self.open = None;
    }
}

impl Open {
    /// Whether nobody will ever read what is written to it: it was removed, or its folder is another one, as when a disk went. One that was
    /// only moved is written on until somebody says so, for that is how logs are rotated.
    fn is_gone(&self, path: &Path) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
            || identity(folder_of(path)) != self.folder
    }
}

/// The folder of a file.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What a path leads to, by device and number; none if that cannot be told.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok()
}

/// The path of an earlier file.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}
