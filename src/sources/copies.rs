//! The copies on disk: `<state>/lists/<name>.list` is the last good one, `<name>.json` says what is known of it.
//!
//! Whatever happens, and whenever: the list is whole. A download has a name of its own until it is found right; it is
//! synced before it takes the list's name, and what is known of it is written after. Should the program be killed in
//! between, the two do not match, and the next request is unconditional.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{DiskWork, SourceError};
use super::examine::sha256;
use super::spec::{Location, Source};
use crate::owner;
use crate::time::UnixSeconds;

/// The folder of copies within the state folder.
const FOLDER: &str = "lists";
/// What sets a record's unfinished file apart from any source's: no name has a tilde.
const NOTE: &str = "~note";
/// What the name of a copy that is not ours gets behind it.
const ASIDE: &str = ".bad";
/// Octets of the largest record that is read: addresses and errors have bounds of their own far below.
const MAX_RECORD_LEN: u64 = 256 << 10;

/// What is known of a download and of the copy on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// Where the copy is from; empty if there is none.
    pub(super) url: String,
    /// What vouched for it; see [`Source::terms`].
    pub(super) terms: String,
    /// The server's name for this version (RFC 9110 §8.8.3).
    pub(super) etag: Option<String>,
    /// When the server says it last changed, in its words (RFC 9110 §8.8.2).
    pub(super) last_modified: Option<String>,
    /// When the copy was taken.
    pub(super) fetched_at: Option<UnixSeconds>,
    /// When the server last said that it is the latest, or sent it.
    pub(super) checked_at: Option<UnixSeconds>,
    /// The SHA-256 digest of the copy, unpacked as it lies here, in hexadecimal.
    pub(super) sha256: String,
    /// Its octets.
    pub(super) octets: u64,
    /// Its entries.
    pub(super) entries: u64,
    /// When it was signed, if its signature says so: nothing older by the same key is taken any more.
    pub(super) signed_at: Option<UnixSeconds>,
    /// The key that signed it; empty if none had to.
    pub(super) signed_by: String,
    /// Why there is no newer one, since the last refresh that went well.
    pub(super) last_error: Option<Failure>,
    /// Refreshes that failed since then.
    pub(super) failures: u32,
}

/// A refresh that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When, in Unix seconds.
    pub at: UnixSeconds,
    /// What is wrong, one line.
    pub message: String,
    /// What to do about it, one line, empty if nothing but waiting helps.
    pub hint: String,
}

impl Record {
    /// Whether the copy is from where `source` is now.
    pub(super) fn is_from(&self, source: &Source) -> bool {
        matches!(&source.location, Location::Url(url) if url.as_str() == self.url)
    }

    /// Whether the copy was taken on the terms that hold now, so that "not modified" is an answer.
    pub(super) fn is_current(&self, source: &Source) -> bool {
        self.is_from(source) && self.terms == source.terms()
    }
}

/// The folder of copies.
#[derive(Debug)]
pub(super) struct CopyStore {
    folder: PathBuf,
    /// Nobody wanted copies kept: they go with this value.
    passing: bool,
}

/// A download under another name; it is removed unless it takes the list's place.
#[derive(Debug)]
pub(super) struct PartialDownload {
    path: PathBuf,
}

/// Where the copy of a download is, given the state folder. There is none before the first good download.
pub fn copy_path(state: &Path, name: &str) -> PathBuf {
    state.join(FOLDER).join(format!("{name}.list"))
}

impl CopyStore {
    /// The copies in a state folder, which is created; without one, in a folder of this process' own that goes with it.
    pub(super) fn open(state: Option<&Path>) -> io::Result<CopyStore> {
        let (folder, passing) = match state {
            Some(state) => (state.join(FOLDER), false),
            None => {
                let name = format!("sinkscope-{}-{:016x}", std::process::id(), rand::random::<u64>());
                (std::env::temp_dir().join(name), true)
            }
        };
        let mut builder = fs::DirBuilder::new();
        // One that is there already is fine if it was asked for, and a trap if the name was just made up.
        builder.recursive(!passing);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder)?;
        let ours = owner::check(&folder, &fs::metadata(&folder)?);
        ours.map_err(|problem| {
            io::Error::other(format!("{}: {}; {}", problem.file, problem.message, problem.hint))
        })?;
        let copies = CopyStore { folder, passing };
        copies.clear();
        Ok(copies)
    }

    /// Removes what a killed process left, and puts aside what somebody else may have written: it is fetched anew. Should
    /// another process live and write here, it fails and tries again.
    fn clear(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let ends = |with: &str| name.to_str().is_some_and(|name| name.ends_with(with));
            if ends(".part") {
                let _ = fs::remove_file(path);
            } else if !ends(ASIDE)
                && let Ok(metadata) = fs::metadata(&path)
                && let Err(problem) = owner::check(&path, &metadata)
            {
                let mut aside = path.clone().into_os_string();
                aside.push(ASIDE);
                match fs::rename(&path, &aside) {
                    Ok(()) => tracing::warn!("{}: {}; it is put aside", problem.file, problem.message),
                    Err(error) => {
                        tracing::warn!(
                            "{}: {}; it cannot be put aside: {error}",
                            problem.file,
                            problem.message
                        );
                    }
                }
            }
        }
    }

    /// Where the copy of a source is, there or not.
    pub(super) fn list(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.list"))
    }

    /// What is known of a copy; nothing if it cannot be read or there is no copy.
    pub(super) fn record(&self, name: &str) -> Record {
        let mut text = Vec::new();
        let file = File::open(self.folder.join(format!("{name}.json")));
        let read = file.and_then(|file| file.take(MAX_RECORD_LEN).read_to_end(&mut text));
        let mut record: Record =
            read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default();
        match fs::metadata(self.list(name)) {
            Ok(metadata) => record.octets = metadata.len(),
            // Failures are worth knowing of even so, and so is how new the copy was.
            Err(_) => {
                let Record { last_error, failures, signed_at, signed_by, .. } = record;
                record = Record { last_error, failures, signed_at, signed_by, ..Record::default() };
            }
        }
        record
    }

    /// Whether the copy is there and is the one that `record` tells of.
    pub(super) fn matches(&self, name: &str, record: &Record) -> bool {
        !record.sha256.is_empty()
            && fs::read(self.list(name)).is_ok_and(|list| sha256(&list).to_string() == record.sha256)
    }

    /// A new file for a download.
    pub(super) fn part(&self, name: &str) -> io::Result<(PartialDownload, File)> {
        // The number keeps apart what two processes download, and what one does for two sources never meets.
        let path = self.folder.join(format!("{name}.{}.part", std::process::id()));
        let _ = fs::remove_file(&path);
        let file = private(&path)?;
        Ok((PartialDownload { path }, file))
    }

    /// Makes a download the copy: `list` if it had to be unpacked, else as it came.
    pub(super) fn take(
        &self,
        name: &str,
        part: PartialDownload,
        list: Option<&[u8]>,
    ) -> Result<(), SourceError> {
        let keep = || {
            let file = match list {
                None => File::open(&part.path)?,
                Some(list) => {
                    fs::remove_file(&part.path)?;
                    let mut file = private(&part.path)?;
                    file.write_all(list)?;
                    file
                }
            };
            file.sync_all()?;
            fs::rename(&part.path, self.list(name))?;
            self.sync()
        };
        keep().map_err(|error| SourceError::disk(DiskWork::KeepCopy, &error))
    }

    /// Writes down what is known.
    pub(super) fn note(&self, name: &str, record: &Record) -> io::Result<()> {
        let (part, mut file) = self.part(&format!("{name}{NOTE}"))?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        file.sync_all()?;
        fs::rename(&part.path, self.folder.join(format!("{name}.json")))?;
        self.sync()
    }

    /// Has the folder's names reach the disk.
    fn sync(&self) -> io::Result<()> {
        if cfg!(unix) { File::open(&self.folder)?.sync_all() } else { Ok(()) }
    }
}

impl Drop for CopyStore {
    fn drop(&mut self) {
        if self.passing {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

impl PartialDownload {
    /// Reads it from its start.
    pub(super) fn read(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}

impl Drop for PartialDownload {
    fn drop(&mut self) {
        // Gone already if it took the list's place.
        let _ = fs::remove_file(&self.path);
    }
}

/// A new file that nobody else can read.
fn private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_leaves_is_cleared_and_the_copy_stands() {
        let dir = tempfile::tempdir().unwrap();
        let (list, folder) = (copy_path(dir.path(), "x"), dir.path().join(FOLDER));
        let copies = CopyStore::open(Some(dir.path())).unwrap();
        let (part, mut file) = copies.part("x").unwrap();
        file.write_all(b"good").unwrap();
        copies.take("x", part, None).unwrap();
        let record =
            Record { sha256: sha256(b"good").to_string(), octets: 4, failures: 2, ..Record::default() };
        copies.note("x", &record).unwrap();
        assert_eq!(fs::read(&list).unwrap(), b"good");
        assert!(copies.matches("x", &record));

        // Killed while downloading, before the rename, and while noting.
        for left in ["x.1.part", "x~note.77.part"] {
            fs::write(folder.join(left), "bad").unwrap();
        }
        let copies = CopyStore::open(Some(dir.path())).unwrap();
        assert_eq!(copies.record("x"), record);
        let mut names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["x.json", "x.list"]);

        // Killed between the two renames: the list is new and whole, and is seen not to be the one told of.
        fs::write(&list, "newer").unwrap();
        assert_eq!(copies.record("x").octets, 5);
        assert!(!copies.matches("x", &copies.record("x")));
        // A record that is no record, and none.
        fs::write(folder.join("x.json"), "{").unwrap();
        assert_eq!(copies.record("x"), Record { octets: 5, ..Record::default() });
        // A record of a list that is gone tells nothing of a list.
        copies.note("x", &record).unwrap();
        fs::remove_file(&list).unwrap();
        assert_eq!(copies.record("x"), Record { failures: 2, ..Record::default() });
    }

    #[test]
    fn a_download_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let copies = CopyStore::open(Some(dir.path())).unwrap();
        drop(copies.part("x").unwrap());
        assert_eq!(fs::read_dir(dir.path().join(FOLDER)).unwrap().count(), 0);
    }

    #[test]
    fn without_a_state_folder_copies_go_with_the_process() {
        let copies = CopyStore::open(None).unwrap();
        let (part, mut file) = copies.part("x").unwrap();
        file.write_all(b"packed").unwrap();
        copies.take("x", part, Some(b"good")).unwrap();
        let list = copies.list("x");
        assert_eq!(fs::read(&list).unwrap(), b"good");
        drop(copies);
        assert!(!list.parent().unwrap().exists());
    }

    #[cfg(unix)]
    #[test]
    fn what_others_may_write_is_not_taken() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (list, folder) = (copy_path(dir.path(), "x"), dir.path().join(FOLDER));
        drop(CopyStore::open(Some(dir.path())).unwrap());
        fs::write(&list, "evil").unwrap();
        fs::set_permissions(&list, fs::Permissions::from_mode(0o666)).unwrap();
        let copies = CopyStore::open(Some(dir.path())).unwrap();
        assert!(!list.exists() && folder.join("x.list.bad").exists());
        assert_eq!(copies.record("x"), Record::default());
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let error = CopyStore::open(Some(dir.path())).unwrap_err().to_string();
        assert!(
            error.contains("everybody may write to it (mode 0777)") && error.contains("chmod go-w"),
            "{error}"
        );
    }

    #[test]
    fn a_record_of_any_content_is_no_reason_to_panic() {
        let dir = tempfile::tempdir().unwrap();
        let copies = CopyStore::open(Some(dir.path())).unwrap();
        fs::write(copies.list("x"), "a.example\n").unwrap();
        for text in [
            String::new(),
            "\0\0\0".into(),
            "[".repeat(100_000),
            "{\"octets\":1e400}".into(),
            "{\"octets\":-1}".into(),
            "{\"failures\":4294967296}".into(),
            format!("{{\"url\":\"{}\"}}", "x".repeat(300 << 10)),
        ] {
            fs::write(dir.path().join(FOLDER).join("x.json"), &text).unwrap();
            let expected = Record { octets: 10, ..Record::default() };
            assert_eq!(copies.record("x"), expected, "{}", text.chars().take(30).collect::<String>());
        }
    }
}
