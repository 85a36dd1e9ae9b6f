//! Whose files are. What somebody else could have written is not taken for our own: a checksum shows damage, and no
//! malice, for who writes a file writes its checksum as well.
//!
//! Ours is what belongs to the user this process runs as, or to root, and that nobody else may write to. A group may write if it
//! is the process's own: with a umask of 002 each user has one. In a folder that root gives to a service by group, as Kubernetes
//! does with `fsGroup`, it may be any group the process is in. Folders above are not looked at: who can write there, as in `/tmp`,
//! can put something of theirs in our place, which is then seen to be theirs.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::problem::Problem;
use crate::system;

/// Permission of the group to write.
const GROUP_WRITES: u32 = 0o020;
/// Permission of everybody to write.
const OTHERS_WRITE: u32 = 0o002;
/// Permission of everybody to read.
const OTHERS_READ: u32 = 0o004;

/// Whether what is at `path`, and has this metadata, is ours.
///
/// # Errors
/// Whose it is instead, and what to do about it.
pub(crate) fn check(path: &Path, metadata: &Metadata) -> Result<(), Problem> {
    let Some((why, hint)) = fault(&Rights::of(metadata), &system::user(), &path.display().to_string()) else {
        return Ok(());
    };
    Err(Problem::error(path.display().to_string(), None, why).hint(hint))
}

/// Whether everybody may read what should be secret.
pub(crate) fn is_readable_by_all(metadata: &Metadata) -> bool {
    Rights::of(metadata).mode & OTHERS_READ != 0
}

/// What to do where a folder that was made or mounted anew while this process ran is closed to it: it gave up to write anywhere but in
/// those that were there (`process.confine`).
pub(crate) const CLOSED: &str = "if the folder is another than when this process started, a confined one may not write there: restart it, and for \
     another time name the folder above in `process.writable`";

/// Makes a folder for this user alone, and those above it, where they are not there.
///
/// # Errors
/// When they cannot be made.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a file of ours that nobody else may read: beside its place, and into it once it is whole and on the disk.
///
/// # Errors
/// When it cannot be written; then what was there is there.
pub(crate) fn write(path: &Path, octets: &[u8]) -> io::Result<()> {
    let mut beside = path.to_path_buf().into_os_string();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // What a killed process left.
    let _ = fs::remove_file(&beside);
    let written = private_file(&beside)
        .and_then(|mut file| file.write_all(octets).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
        return written;
    }
    // It is in its place after a crash only once its folder is on the disk.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// A new file of ours that nobody else may read.
///
/// # Errors
/// When it cannot be made, or is there.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whose something is, and who may do what with it.
struct Rights {
    uid: u32,
    gid: u32,
    /// Permission bits.
    mode: u32,
}

impl Rights {
    /// What the system says of it.
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Rights {
        use std::os::unix::fs::MetadataExt;
        Rights { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 }
    }

    /// Elsewhere nothing is known: it counts as ours.
    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Rights {
        Rights { uid: 0, gid: 0, mode: 0 }
    }
}

/// Why something is not ours, and what to do about it; none if it is.
fn fault(rights: &Rights, user: &system::User, shown: &str) -> Option<(String, String)> {
    let Rights { uid, gid, mode } = *rights;
    if uid != user.uid && uid != 0 {
        let why = format!(
            "it belongs to uid {uid}, while this process runs as uid {}: what it says could be anybody's",
            user.uid
        );
        let hint = format!(
            "look whether it is what you expect and `chown -R {} {shown}`, or run as uid {uid}, or name another state folder",
            user.uid
        );
        return Some((why, hint));
    }
    let own_group = gid == user.gid || (uid == 0 && user.groups.contains(&gid));
    let who = match mode {
        mode if mode & OTHERS_WRITE != 0 => "everybody".to_owned(),
        mode if mode & GROUP_WRITES != 0 && !own_group => format!("group {gid}"),
        _ => return None,
    };
    let why = format!("{who} may write to it (mode {mode:04o}): what it says could be anybody's");
    Some((why, format!("look whether it is what you expect and `chmod go-w {shown}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours() {
        let service = system::User { uid: 990, gid: 990, groups: vec![990, 4000] };
        let root = system::User { uid: 0, gid: 0, groups: vec![0] };
        for (user, (uid, gid, mode), expected) in [
            // systemd's StateDirectory, a Docker volume, a file of ours, a umask of 002.
            (&service, (990, 990, 0o755), None),
            (&service, (990, 990, 0o700), None),
            (&service, (0, 0, 0o755), None),
            (&service, (990, 990, 0o600), None),
            (&service, (990, 990, 0o775), None),
            (&root, (0, 0, 0o775), None),
            // Kubernetes: root's, and given to a group.
            (&service, (0, 4000, 0o2775), None),
            (&service, (990, 4000, 0o2775), Some("group 4000 may write to it (mode 2775)")),
            (&service, (0, 50, 0o2775), Some("group 50 may write to it (mode 2775)")),
            // Anybody's.
            (&service, (0, 0, 0o1777), Some("everybody may write to it (mode 1777)")),
            (&service, (990, 990, 0o602), Some("everybody may write to it (mode 0602)")),
            (&service, (990, 100, 0o660), Some("group 100 may write to it (mode 0660)")),
            // Somebody else's, also for root.
            (
                &service,
                (1000, 990, 0o700),
                Some("it belongs to uid 1000, while this process runs as uid 990"),
            ),
            (&root, (1000, 0, 0o700), Some("it belongs to uid 1000, while this process runs as uid 0")),
            (
                &root,
                (65_534, 65_534, 0o777),
                Some("it belongs to uid 65534, while this process runs as uid 0"),
            ),
        ] {
            let said = fault(&Rights { uid, gid, mode }, user, "state").map(|(why, _)| why);
            let fits = match (&said, expected) {
                (None, None) => true,
                (Some(said), Some(expected)) => said.starts_with(expected),
                _ => false,
            };
            assert!(fits, "{uid} {gid} {mode:o} for {}: {said:?}", user.uid);
        }
    }

    #[test]
    fn what_this_process_makes_is_its_own() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let metadata = file.as_file().metadata().unwrap();
        assert_eq!(check(file.path(), &metadata), Ok(()));
        assert!(!is_readable_by_all(&metadata));
    }
}
