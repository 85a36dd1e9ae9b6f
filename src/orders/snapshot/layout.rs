//! A snapshot's octets: written whole, taken apart within bounds.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_128;

use super::unusable::{BAD_PARTS, BAD_SUM, Unusable};
use crate::owner;
use crate::system::Mapped;

/// The file's name within the folder that keeps state.
pub const FILE: &str = "orders.snapshot";
/// What a snapshot starts with.
const MAGIC: [u8; 8] = *b"SNKSCOPE";
/// Changes whenever a file of before would be read wrongly: its layout, the trie's, its hash, how rules are numbered.
pub(super) const FORMAT: u64 = 3;
/// Octets in front of the description.
pub(super) const HEADER_LEN: usize = 64;
/// The trie starts at a multiple of this: a page, and so a cache line.
pub(super) const PAGE: usize = 4096;

/// A snapshot's octets taken apart.
pub(super) struct Sections<'m> {
    description: &'m [u8],
    description_sum: u128,
    pub(super) trie: &'m [u8],
    pub(super) trie_sum: u128,
    /// Where the trie starts.
    pub(super) trie_start: usize,
}

impl<'m> Sections<'m> {
    /// Takes them apart.
    pub(super) fn of(octets: &'m [u8]) -> Result<Sections<'m>, Unusable> {
        let word = |at: usize| Some(u64::from_le_bytes(octets.get(at..at + 8)?.try_into().ok()?));
        let sum = |at: usize| Some(u128::from_le_bytes(octets.get(at..at + 16)?.try_into().ok()?));
        if octets.get(..8).is_none_or(|magic| magic != MAGIC) {
            return Err(Unusable::Corrupt(BAD_PARTS));
        }
        if word(8).is_some_and(|format| format != FORMAT) {
            return Err(Unusable::Foreign);
        }
        let whole = || {
            let description_end = HEADER_LEN.checked_add(usize::try_from(word(16)?).ok()?)?;
            let trie_start = description_end.checked_next_multiple_of(PAGE)?;
            let trie = octets.get(trie_start..)?;
            (trie.len() as u64 == word(24)?).then_some(())?;
            Some(Sections {
                description: octets.get(HEADER_LEN..description_end)?,
                description_sum: sum(32)?,
                trie,
                trie_sum: sum(48)?,
                trie_start,
            })
        };
        whole().ok_or(Unusable::Corrupt(BAD_PARTS))
    }

    /// The description, if it is what was written.
    pub(super) fn description<D: DeserializeOwned>(&self) -> Result<D, Unusable> {
        if xxh3_128(self.description) != self.description_sum {
            return Err(Unusable::Corrupt(BAD_SUM));
        }
        serde_json::from_slice(self.description).map_err(|_| Unusable::Corrupt(BAD_PARTS))
    }
}

/// Maps a snapshot that nobody else may write to.
pub(super) fn open(path: &Path) -> Result<Mapped, Unusable> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unusable::Missing,
        _ => Unusable::Unreadable(format!("{}: {error}", path.display())),
    };
    let file = File::open(path).map_err(unreadable)?;
    let ours = owner::check(path, &file.metadata().map_err(unreadable)?);
    ours.map_err(|problem| Unusable::NotOurs(problem.message))?;
    Mapped::of(&file).map_err(unreadable)
}

/// Writes a snapshot beside its place, and puts it there once it is whole.
pub(super) fn write(folder: &Path, description: &[u8], trie: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let place = folder.join(FILE);
    let beside = folder.join(format!("{FILE}.new"));
    // What a killed process left. Should another one write there just now, one of the two files will be whole and in place.
    let _ = fs::remove_file(&beside);
    let written = write_file(&beside, description, trie).and_then(|()| fs::rename(&beside, &place));
    if written.is_err() {
        // Nobody would look for it again.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Writes the octets of a snapshot to the disk itself.
fn write_file(path: &Path, description: &[u8], trie: &[u8]) -> io::Result<()> {
    let file = private_file(path)?;
    let mut out = BufWriter::new(&file);
    out.write_all(&MAGIC)?;
    for word in [FORMAT, description.len() as u64, trie.len() as u64] {
        out.write_all(&word.to_le_bytes())?;
    }
    for sum in [xxh3_128(description), xxh3_128(trie)] {
        out.write_all(&sum.to_le_bytes())?;
    }
    out.write_all(description)?;
    let end = HEADER_LEN + description.len();
    out.write_all(&vec![0; end.next_multiple_of(PAGE) - end])?;
    out.write_all(trie)?;
    out.flush()?;
    drop(out);
    file.sync_all()
}

/// A new file that its owner alone may read, and nobody should write to again.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o400);
    options.open(path)
}
