//! Files as the loader sees them: read within bounds, and told apart from what they were.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// The largest names file, in octets: a hundred million names. More is a mistake, and memory is not endless.
const MAX_LIST_OCTETS: u64 = 2 << 30;
/// The largest order file, in octets; long lists belong into names files.
const MAX_ORDER_OCTETS: u64 = 64 << 20;
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

/// Reads a names file.
///
/// # Errors
/// What is wrong, and what to do about it.
pub fn read_list(path: &Path) -> Result<Vec<u8>, (String, String)> {
    read(path, MAX_LIST_OCTETS, "split it into several files: files = [...]")
}

/// Reads an order file.
///
/// # Errors
/// A problem at the line where the text stops being UTF-8, or about the file as a whole.
pub fn read_order(path: &Path, shown: &str) -> Result<String, Problem> {
    let content = read(path, MAX_ORDER_OCTETS, "move the names into a file beside it: file = \"...\"");
    let content = content
        .map_err(|(why, hint)| Problem::error(shown, None, format!("cannot read it: {why}")).hint(hint))?;
    String::from_utf8(content).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&octet| octet == b'\n').count();
        Problem::error(shown, u32::try_from(line).ok(), "not UTF-8").hint("save the file as UTF-8")
    })
}

/// Reads a whole file of at most `most` octets.
fn read(path: &Path, most: u64, split: &str) -> Result<Vec<u8>, (String, String)> {
    let hint = |error: &std::io::Error| match error.kind() {
        ErrorKind::NotFound => "check the path: it is relative to the file that names it",
        ErrorKind::PermissionDenied => "let the user that Sinkscope runs as read it",
        _ => "",
    };
    let explain = |error: std::io::Error| (plain(&error), hint(&error).to_string());
    let metadata = fs::metadata(path).map_err(explain)?;
    if metadata.is_dir() {
        return Err(("it is a directory".into(), "name a file in it".into()));
    }
    if !metadata.is_file() {
        // A pipe or device may never end, or never begin.
        return Err(("it is no regular file".into(), String::new()));
    }
    let mut content = Vec::with_capacity(usize::try_from(metadata.len().min(most)).unwrap_or(0));
    File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut content)).map_err(explain)?;
    if content.len() as u64 > most {
        return Err((format!("it is larger than {} MiB", most >> 20), split.into()));
    }
    Ok(content)
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
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
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
    for entry in fs::read_dir(path).map_err(explain)? {
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
