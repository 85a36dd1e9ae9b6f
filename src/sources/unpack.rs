//! Files that arrive packed: gzip, zstd, or a zip of one member, told by their first octets whatever they are called.
//!
//! `Content-Encoding: gzip` needs no code of its own: it is a gzip stream like any other.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use flate2::bufread::MultiGzDecoder;
use zip::ZipArchive;

use super::error::{DiskWork, ListError, PackedError, SourceError};
use crate::zstd::Zstd;

/// How gzip starts (RFC 1952 §2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// How a Zstandard frame starts (RFC 8878 §3.1.1).
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// How a zip's first member starts (APPNOTE 4.3.7).
const ZIP: &[u8] = b"PK\x03\x04";
/// How a member's entry in the directory starts (APPNOTE 4.3.12).
const ZIP_ENTRY: u32 = u32::from_be_bytes(*b"PK\x01\x02");
/// Members that a zip may have, folders included: the directory is in memory whole, and takes far more there.
const MAX_ZIP_ENTRIES: usize = 1000;
/// How a zip without members starts (APPNOTE 4.3.16).
const EMPTY_ZIP: &[u8] = b"PK\x05\x06";
/// What is not unpacked, and what it is called.
const FOREIGN: [(&[u8], &str); 3] =
    [(b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"7z\xbc\xaf\x27\x1c", "7-Zip")];
/// Octets looked at.
const HEAD_LEN: u64 = 6;
/// How much a file may grow when unpacked. Lists of names pack 3 to 10 times, ones that count up 40; gzip's most is 1032.
const MAX_RATIO: u64 = 100;
/// What may be unpacked whatever the ratio: little enough to be harmless.
const ALWAYS_ALLOWED: u64 = 1 << 20;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
    Zip,
}

/// Unpacks a file of `served` octets into at most `most`; none if it is not packed.
pub(super) fn unpack(file: &mut File, served: u64, most: u64) -> Result<Option<Vec<u8>>, SourceError> {
    let broken = |error: io::Error| SourceError::disk(DiskWork::ReadDownload, &error);
    let mut head = Vec::new();
    (&mut *file).take(HEAD_LEN).read_to_end(&mut head).map_err(broken)?;
    file.rewind().map_err(broken)?;
    let Some(packing) = packing(&head)? else { return Ok(None) };
    let room = most.min(served.saturating_mul(MAX_RATIO).max(ALWAYS_ALLOWED));
    let source = BufReader::new(file);
    let unpacked = match packing {
        Packing::Gzip => bounded(MultiGzDecoder::new(source), room),
        Packing::Zstd => bounded(Zstd::new(source), room),
        Packing::Zip => unzip(source, room),
    };
    match unpacked {
        Err(error) => Err(error.into()),
        Ok(octets) if octets.len() as u64 > most => Err(ListError::TooLarge { most }.into()),
        Ok(octets) if octets.len() as u64 > room => {
            Err(PackedError::Bomb { served, ratio: MAX_RATIO }.into())
        }
        Ok(octets) if packing_of(&octets).is_some() => Err(PackedError::Twice.into()),
        Ok(octets) => Ok(Some(octets)),
    }
}

/// How a file that starts so is packed, if it is, and in a way that is known.
fn packing(head: &[u8]) -> Result<Option<Packing>, PackedError> {
    if head.starts_with(EMPTY_ZIP) {
        return Err(PackedError::NotOneFile(0));
    }
    if let Some(&(_, name)) = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(PackedError::Foreign(name));
    }
    Ok(packing_of(head))
}

/// The packing that starts so.
fn packing_of(head: &[u8]) -> Option<Packing> {
    [(GZIP, Packing::Gzip), (ZSTD, Packing::Zstd), (ZIP, Packing::Zip)]
        .into_iter()
        .find_map(|(magic, packing)| head.starts_with(magic).then_some(packing))
}

/// Reads to the end, or to one octet more than there is room for.
fn bounded(source: impl Read, room: u64) -> Result<Vec<u8>, PackedError> {
    let mut octets = Vec::new();
    source.take(room.saturating_add(1)).read_to_end(&mut octets).map_err(damaged)?;
    Ok(octets)
}

/// What cannot be read as it is packed.
fn damaged(error: impl Error) -> PackedError {
    PackedError::Damaged(error.to_string())
}

/// Unpacks the one file in a zip.
fn unzip(mut source: impl BufRead + Seek, room: u64) -> Result<Vec<u8>, PackedError> {
    if directory_entries(&mut source).map_err(damaged)? > MAX_ZIP_ENTRIES {
        return Err(PackedError::TooManyMembers { most: MAX_ZIP_ENTRIES });
    }
    source.rewind().map_err(damaged)?;
    let mut archive = ZipArchive::new(source).map_err(damaged)?;
    let files = (0..archive.len()).filter(|&index| {
        // Folders are members too, with a slash at the end.
        archive.name_for_index(index).is_none_or(|name| !name.is_ok_and(|name| name.ends_with('/')))
    });
    let files: Vec<usize> = files.collect();
    let &[only] = files.as_slice() else { return Err(PackedError::NotOneFile(files.len())) };
    bounded(archive.by_index(only).map_err(damaged)?, room)
}

/// What looks like a directory's entry in a zip. Packed octets do so once in four thousand million.
fn directory_entries(source: impl BufRead) -> io::Result<usize> {
    let (mut last, mut entries) = (0_u32, 0);
    for octet in source.bytes() {
        last = last << 8 | u32::from(octet?);
        entries += usize::from(last == ZIP_ENTRY);
    }
    Ok(entries)
}
