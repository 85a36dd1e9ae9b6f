//! What is asked of the system where the compiler has to take our word, beside the batched system calls.
#![allow(unsafe_code, reason = "each block says why it is sound")]

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

/// Blocks from this size on go back to the system when they are freed, in octets. Lists are read in such blocks, caches live
/// in smaller ones.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 1 << 20;

/// A file's octets where they lie.
#[derive(Debug)]
pub struct Mapped(Mmap);

impl Mapped {
    /// Maps a whole file, all its pages at once.
    ///
    /// The file must neither change nor shrink while this lives: whoever calls this sees to it.
    ///
    /// # Errors
    /// When the system does not map it.
    pub fn of(file: &File) -> io::Result<Mapped> {
        // SAFETY: a mapping is sound while its file neither changes nor shrinks. The one caller maps snapshots, which are
        // written under another name and renamed into place when whole; the file it replaces lives on nameless, and
        // nobody but its owner may write to it. An owner who truncates it on purpose ends the process by SIGBUS, as
        // somebody does who truncates a running program's own file.
        unsafe { MmapOptions::new().populate().map(file) }.map(Mapped)
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Has large blocks go back to the system when they are freed, as long as the process lives.
///
/// glibc raises that bound to 32 MiB once such a block was freed (mallopt(3), M_MMAP_THRESHOLD), and then keeps up to twice
/// as much: after loading a million names the process would stay as large as while loading them.
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two numbers and changes how later allocations are made; it may be called at any time. That it
    // may refuse changes nothing but memory use.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_mapped_file_is_what_was_written() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"as it lies").unwrap();
        assert_eq!(Mapped::of(&file).unwrap().as_ref(), b"as it lies");
    }

    #[test]
    fn large_blocks_come_and_go() {
        return_large_blocks();
        for _ in 0..3 {
            assert_eq!(vec![7u8; 3 << 20].iter().map(|octet| u64::from(*octet)).sum::<u64>(), 7 * (3 << 20));
        }
    }
}
