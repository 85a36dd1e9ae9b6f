//! A file mapped into memory; the one place outside the batched system calls where the compiler has to take our word.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

use super::Unusable;

/// A mapped file.
#[derive(Debug)]
pub(super) struct Mapped(Mmap);

impl Mapped {
    /// Maps the file, all its pages at once.
    pub(super) fn open(path: &Path) -> Result<Mapped, Unusable> {
        let unreadable = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Unusable::Missing,
            _ => Unusable::Unreadable(format!("{}: {error}", path.display())),
        };
        let file = File::open(path).map_err(unreadable)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            /// Write permission for group and others.
            const OTHERS_WRITE: u32 = 0o022;
            let mode = file.metadata().map_err(unreadable)?.mode();
            if mode & OTHERS_WRITE != 0 {
                return Err(Unusable::Unreadable(format!("{}: others may write to it", path.display())));
            }
        }
        // SAFETY: what a mapping needs is that its file neither changes nor shrinks while it lives. A snapshot never does:
        // it is written under another name and renamed into place when whole (`super::write`), the one it replaces
        // lives on nameless, and its mode lets nobody write to it, others than the owner not even by a change of ours
        // (checked above). The owner who truncates it on purpose gets a SIGBUS, as with a program's own file.
        #[allow(
            unsafe_code,
            reason = "see above; reading 220 MB instead of mapping them takes the time it should save"
        )]
        let mapped = unsafe { MmapOptions::new().populate().map(&file) };
        mapped.map(Mapped).map_err(unreadable)
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
