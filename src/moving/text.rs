//! Files of other programs, read within bounds.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::problem::Problem;

/// Octets of one file: the longest lists that are written by hand, with room.
const MAX_OCTETS: u64 = 256 << 20;

/// Reads a file; octets that are not UTF-8 are replaced, for they stand in comments.
///
/// # Errors
/// When it cannot be read, or is longer than anything of its kind.
pub(super) fn read(path: &Path) -> Result<String, Problem> {
    let shown = path.to_string_lossy().into_owned();
    let mut octets = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_OCTETS + 1).read_to_end(&mut octets));
    if let Err(error) = read {
        return Err(Problem::error(shown, None, format!("cannot be read: {error}")));
    }
    if octets.len() as u64 > MAX_OCTETS {
        return Err(Problem::error(shown, None, format!("is longer than {MAX_OCTETS} octets")));
    }
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

/// The lines of a text with their numbers, from 1, white space around them taken off.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    (1..).zip(text.lines().map(str::trim))
}
