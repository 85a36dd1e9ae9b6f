//! Sources that are here already: looked at, never read. The loader reads them, and the file watch sees most changes sooner.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::LocalError;

/// Files looked at in one folder; more are not told apart. A folder of lists has a handful.
const MAX_FILES: usize = 4096;

/// What tells one state of a file or folder from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Octets, of all files together.
    pub(super) octets: u64,
    files: Vec<(PathBuf, Option<SystemTime>, u64, u64)>,
}

/// Looks at a file, or at the files of a folder (not of those in it).
pub(super) fn look(path: &Path) -> Result<Look, LocalError> {
    let metadata = fs::metadata(path)?;
    let mut files = Vec::new();
    if metadata.is_dir() {
        for entry in fs::read_dir(path)?.take(MAX_FILES) {
            let file = entry?.path();
            // One that went away just now is none.
            if let Ok(metadata) = fs::metadata(&file)
                && metadata.is_file()
            {
                files.push(state(file, &metadata));
            }
        }
        files.sort_unstable();
    } else if metadata.is_file() {
        // Opening shows what metadata does not: whether we may read it.
        fs::File::open(path)?;
        files.push(state(path.to_path_buf(), &metadata));
    } else {
        return Err(LocalError::NeitherFileNorFolder);
    }
    Ok(Look { octets: files.iter().map(|(_, _, octets, _)| octets).sum(), files })
}

/// A file's path, time of change, octets and, where there is one, inode: renamed over another it is another.
fn state(path: PathBuf, metadata: &Metadata) -> (PathBuf, Option<SystemTime>, u64, u64) {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0;
    (path, metadata.modified().ok(), metadata.len(), inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_show() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        assert_eq!(look(&file), Err(LocalError::NotFound));
        fs::write(&file, "1").unwrap();
        let (first, folder) = (look(&file).unwrap(), look(dir.path()).unwrap());
        assert_eq!((first.octets, folder.octets), (1, 1));
        assert_eq!(look(&file).unwrap(), first);
        fs::write(&file, "12").unwrap();
        assert_ne!(look(&file).unwrap(), first);
        assert_ne!(look(dir.path()).unwrap(), folder);
        let before = look(dir.path()).unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        assert_eq!(look(dir.path()).unwrap(), before);
        fs::write(dir.path().join("c"), "").unwrap();
        assert_ne!(look(dir.path()).unwrap(), before);
    }
}
