//! Files as the loader sees them: read within bounds, and told apart from what they were.

use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::spares;

/// The largest names file, in octets: a hundred million names. More is a mistake, and memory is not endless.
const MAX_LIST_OCTETS: u64 = 2 << 30;
/// The largest order file, in octets; long lists belong into names files.
const MAX_ORDER_OCTETS: u64 = 64 << 20;
/// The largest hosts file, zone file of our own or file of leases, in octets: a hundred thousand leases as dhcpd writes them.
const MAX_LOCAL_OCTETS: u64 = 64 << 20;
/// A file that changed this recently may change again within the same tick of the file system's clock, which
/// is two seconds on the coarsest (FAT): its stamp proves nothing.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What tells one state of a file from another without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// When its content last changed.
    modified: Option<SystemTime>,
    /// When anything about it last changed: a copy may carry over `modified`, never this.
    changed: Option<SystemTime>,
    /// Octets.
    size: u64,
    /// Device and inode: a file renamed over another is another file.
    identity: (u64, u64),
}

impl Stamp {
    /// The stamp of the file now, if it is there.
    pub fn of(path: &Path) -> Option<Stamp> {
        let metadata = fs::metadata(path).ok()?;
        let (changed, identity) = unix_parts(&metadata);
        Some(Stamp { modified: metadata.modified().ok(), changed, size: metadata.len(), identity })
    }

    /// Octets.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether both are of one file, whatever it holds.
    pub fn is_same_file(&self, other: &Stamp) -> bool {
        self.identity == other.identity
    }

    /// Whether the file had stood still long enough before `now` that another change will show.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let settled = |at: Option<SystemTime>| {
            at.is_some_and(|at| now.duration_since(at).is_ok_and(|age| age > SETTLED_AFTER))
        };
        settled(self.modified) && (self.changed.is_none() || settled(self.changed))
    }
}

/// The change time and identity that Unix keeps.
#[cfg(unix)]
fn unix_parts(metadata: &Metadata) -> (Option<SystemTime>, (u64, u64)) {
    use std::os::unix::fs::MetadataExt;
    let seconds = u64::try_from(metadata.ctime()).ok();
    let nanoseconds = u32::try_from(metadata.ctime_nsec()).unwrap_or(0);
    let changed =
        seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds)));
    (changed, (metadata.dev(), metadata.ino()))
}

/// Elsewhere the modification time must do.
#[cfg(not(unix))]
fn unix_parts(_: &Metadata) -> (Option<SystemTime>, (u64, u64)) {
    (None, (0, 0))
}

/// The files that something was read from.
#[derive(Debug, Default)]
pub struct FilesRead {
    /// Each as it was just before it was read, so that a change in between shows the next time; none if it was not there.
    pub stamps: Vec<(PathBuf, Option<Stamp>)>,
    /// Those that had changed so shortly before that their stamps cannot show the next change, each with the hash of what it
    /// held; none if it could not be read.
    fresh: Vec<(PathBuf, Option<u64>)>,
    /// Keys of the hashes: nobody can write two contents that have the same.
    keys: RandomState,
}

impl FilesRead {
    /// Those of these stamps, which show every change.
    pub fn settled(stamps: Vec<(PathBuf, Option<Stamp>)>) -> FilesRead {
        FilesRead { stamps, ..FilesRead::default() }
    }

    /// Notes a file, and has it read.
    pub fn read(
        &mut self,
        path: &Path,
        read: impl FnOnce() -> Result<Vec<u8>, Unreadable>,
    ) -> Result<Vec<u8>, Unreadable> {
        let (stamp, now) = (Stamp::of(path), SystemTime::now());
        let content = read();
        if !is_settled(stamp.as_ref(), now) {
            let hash = content.as_ref().ok().map(|octets| self.hash(&octets[..]));
            self.fresh.push((path.to_path_buf(), hash.and_then(Result::ok)));
        }
        self.stamps.push((path.to_path_buf(), stamp));
        content
    }

    /// Whether the stamps can show the next change.
    pub fn is_settled(&self) -> bool {
        self.fresh.is_empty()
    }

    /// Whether the stamps are as they were.
    pub fn have_their_stamps(&self) -> bool {
        self.stamps.iter().all(|(path, stamp)| Stamp::of(path) == *stamp)
    }

    /// Whether the files hold what they held, seen from `now`. Those that had changed just before they were read are compared by
    /// what they hold; once time has passed since, their stamps will do.
    pub fn hold_the_same(&mut self, now: SystemTime) -> bool {
        let unchanged = |(path, hash): &(PathBuf, Option<u64>)| {
            hash.is_some() && spares::open(|| File::open(path)).and_then(|file| self.hash(file)).ok() == *hash
        };
        // What is written once the contents were looked at has a stamp from `now` or later, and is seen by it.
        let same = self.have_their_stamps() && self.fresh.iter().all(unchanged) && self.have_their_stamps();
        if same && self.stamps.iter().all(|(_, stamp)| is_settled(stamp.as_ref(), now)) {
            self.fresh.clear();
        }
        same
    }

    /// The hash of all that can be read.
    fn hash(&self, content: impl Read) -> std::io::Result<u64> {
        let (mut hasher, mut content) = (self.keys.build_hasher(), BufReader::new(content));
        loop {
            let octets = content.fill_buf()?;
            if octets.is_empty() {
                return Ok(hasher.finish());
            }
            hasher.write(octets);
            let length = octets.len();
            content.consume(length);
        }
    }
}

/// Whether a stamp, or a file's absence, can show the next change.
fn is_settled(stamp: Option<&Stamp>, now: SystemTime) -> bool {
    stamp.is_none_or(|stamp| stamp.is_settled(now))
}

/// Why a file's content is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong.
    pub why: String,
    /// What to do about it.
    pub hint: String,
    /// Whether it may be had later though the file stays as it is: a descriptor, memory or a permission was wanting.
    pub passing: bool,
}

impl Unreadable {
    /// One that stays so as long as the file does.
    fn lasting(why: impl Into<String>, hint: &str) -> Unreadable {
        Unreadable { why: why.into(), hint: hint.into(), passing: false }
    }

    /// One that came of an error of the system.
    fn of(error: &std::io::Error) -> Unreadable {
        let hint = match error.kind() {
            ErrorKind::NotFound => "check the path: it is relative to the file that names it",
            ErrorKind::PermissionDenied => "let the user that Sinkscope runs as read it",
            _ => "",
        };
        // One that is not there shows by its stamp when it comes.
        let passing = error.kind() != ErrorKind::NotFound;
        Unreadable { why: plain(error), hint: hint.into(), passing }
    }
}

impl From<Unreadable> for (String, String) {
    fn from(unreadable: Unreadable) -> (String, String) {
        (unreadable.why, unreadable.hint)
    }
}

/// Reads a names file.
///
/// # Errors
/// What is wrong, and what to do about it.
pub fn read_list(path: &Path) -> Result<Vec<u8>, Unreadable> {
    read(path, MAX_LIST_OCTETS, "split it into several files: files = [...]")
}

/// Reads a file that names of our own stand in.
///
/// # Errors
/// What is wrong, and what to do about it.
pub fn read_local(path: &Path) -> Result<Vec<u8>, Unreadable> {
    read(path, MAX_LOCAL_OCTETS, "names that are to be blocked belong into [[lists]]")
}

/// Serves what a zone file includes: files below its own folder, wherever links lead, and not too many octets of them. A
/// zone is often somebody else's text, and must not choose among all that this process may read.
pub struct Included {
    /// The zone's folder.
    folder: PathBuf,
    /// Octets that may still be included.
    left: u64,
}

impl Included {
    /// For the zone file at `zone`.
    pub fn by(zone: &Path) -> Included {
        let folder = zone.parent().filter(|folder| !folder.as_os_str().is_empty());
        Included { folder: folder.unwrap_or(Path::new(".")).to_path_buf(), left: MAX_LIST_OCTETS }
    }

    /// Where a file is that is included as `written`: relative to the zone's folder.
    pub fn path(&self, written: &str) -> PathBuf {
        if self.folder == Path::new(".") { PathBuf::from(written) } else { self.folder.join(written) }
    }

    /// Reads what is included as `written`.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub fn read(&mut self, written: &str) -> Result<Vec<u8>, Unreadable> {
        let resolved = |path: &Path| fs::canonicalize(path).map_err(|error| Unreadable::of(&error));
        // What it is now is what is read: a link that is changed meanwhile leads nowhere else.
        let path = resolved(&self.path(written))?;
        if !path.starts_with(resolved(&self.folder)?) {
            let hint = "a zone includes files below its own folder: move it there";
            return Err(Unreadable::lasting("it is not below the zone's folder", hint));
        }
        let content = read_list(&path)?;
        self.left = self.left.checked_sub(content.len() as u64).ok_or_else(|| {
            let why = format!("what the zone includes is larger than {} MiB in all", MAX_LIST_OCTETS >> 20);
            Unreadable::lasting(why, "make several zones of it")
        })?;
        Ok(content)
    }
}

/// Reads an order file.
///
/// # Errors
/// What is wrong, and what to do about it.
pub fn read_order(path: &Path) -> Result<Vec<u8>, Unreadable> {
    read(path, MAX_ORDER_OCTETS, "move the names into a file beside it: file = \"...\"")
}

/// The text of an order file that was read.
///
/// # Errors
/// A problem at the line where the text stops being UTF-8, or about the file as a whole; and whether it may pass by itself.
pub fn order_text(content: Result<Vec<u8>, Unreadable>, shown: &str) -> Result<String, (Problem, bool)> {
    let content = content.map_err(|Unreadable { why, hint, passing }| {
        (Problem::error(shown, None, format!("cannot read it: {why}")).hint(hint), passing)
    })?;
    String::from_utf8(content).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&octet| octet == b'\n').count();
        let problem = Problem::error(shown, u32::try_from(line).ok(), "not UTF-8");
        (problem.hint("save the file as UTF-8"), false)
    })
}

/// Reads a whole file of at most `most` octets.
fn read(path: &Path, most: u64, split: &str) -> Result<Vec<u8>, Unreadable> {
    let failed = |error: std::io::Error| Unreadable::of(&error);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(Unreadable::lasting("it is a directory", "name a file in it"));
    }
    if !metadata.is_file() {
        // A pipe or device may never end, or never begin.
        return Err(Unreadable::lasting("it is no regular file", ""));
    }
    let too_large = || Unreadable::lasting(format!("it is larger than {} MiB", most >> 20), split);
    if metadata.len() > most {
        return Err(too_large());
    }
    let mut content = Vec::new();
    // Memory that is not to be had is an error like any other, not the end.
    let wanted = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    content.try_reserve_exact(wanted).map_err(|_| failed(ErrorKind::OutOfMemory.into()))?;
    let file = spares::open(|| File::open(path)).map_err(failed)?;
    file.take(most + 1).read_to_end(&mut content).map_err(failed)?;
    // It may have grown since.
    if content.len() as u64 > most { Err(too_large()) } else { Ok(content) }
}

/// An I/O error without its number.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

/// The files of a list: all of a directory by name but hidden ones and backups, or the file itself, there or not. `before`
/// are those found last: a directory that is gone is not taken for a file.
///
/// # Errors
/// When a directory is gone or cannot be read.
pub fn list_files(path: &Path, before: &[PathBuf]) -> Result<Vec<PathBuf>, Problem> {
    if !path.is_dir() {
        let was_file = before.iter().all(|file| file == path);
        return if was_file {
            Ok(vec![path.to_path_buf()])
        } else {
            Err(unreadable(path, &ErrorKind::NotFound.into()))
        };
    }
    let mut files = Vec::new();
    for entry in spares::open(|| fs::read_dir(path)).map_err(|error| unreadable(path, &error))? {
        let file = entry.map_err(|error| unreadable(path, &error))?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(['.', '#']) && !name.ends_with('~') && file.is_file() {
            files.push(file);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// A configured path that cannot be read.
fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    let hint = "check the path; while serving, what was loaded from it before stays in force";
    Problem::error(path.display().to_string(), None, format!("cannot read it: {}", plain(error))).hint(hint)
}

/// The order files of a configured path: a directory's `*.toml` files by name, or the file itself.
///
/// # Errors
/// When the path is not there, cannot be read, or is a file of another sort.
pub fn order_files(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let shown = path.display().to_string();
    let explain = |error: std::io::Error| unreadable(path, &error);
    let metadata = fs::metadata(path).map_err(explain)?;
    if !metadata.is_dir() {
        return if path.extension().is_some_and(|extension| extension == "toml") {
            Ok(vec![path.to_path_buf()])
        } else {
            let hint =
                "orders are .toml files; a list of names goes into an order's [[scope]] as file = \"...\"";
            Err(Problem::error(&shown, None, "not an order file").hint(hint))
        };
    }
    let mut files = Vec::new();
    for entry in spares::open(|| fs::read_dir(path)).map_err(explain)? {
        let file = entry.map_err(explain)?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        // Hidden files are editors' and tools' own; backups (`x.toml~`) do not end in .toml.
        let is_order = name.ends_with(".toml") && !name.starts_with(['.', '#']);
        if is_order && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort_unstable();
    Ok(files)
}
