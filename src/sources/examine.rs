//! What can be known of a copy without knowing its format: whether it is a list at all, whole, signed, and no stump.

use minisign_verify::Signature;
use sha2::{Digest as _, Sha256};

use super::error::{ListError, SignatureError};
use super::spec::{Digest, SigningKey, Source};
use crate::time::UnixSeconds;

/// How a page starts that a server sends instead of a list, in lower case.
const PAGES: [&[u8]; 5] = [b"<!doctype html", b"<html", b"<head", b"<body", b"<?xml"];
/// Octets in the longest of them.
const PAGE_LEN: usize = 14;
/// The byte order mark that some editors put in front of UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Octets looked at for what no text has.
const TEXT_LEN: usize = 4096;
/// How a line starts that is no entry in any of the formats: comments, and Adblock's header.
const COMMENTS: [&[u8]; 5] = [b"#", b"!", b";", b"//", b"[Adblock"];

/// The SHA-256 digest of octets.
pub(super) fn sha256(octets: &[u8]) -> Digest {
    Digest(Sha256::digest(octets).into())
}

/// Entry lines of a list in whatever format: neither blank nor a comment.
pub fn entry_lines(list: &[u8]) -> usize {
    let is_entry = |line: &&[u8]| {
        let line = line.trim_ascii();
        !line.is_empty() && !COMMENTS.iter().any(|mark| line.starts_with(mark))
    };
    let lines = list.strip_prefix(BOM).unwrap_or(list).split(|&octet| octet == b'\n');
    lines.filter(is_entry).count()
}

/// Whether it is a text that is not empty and not a web page; `html` if the server called it one.
pub(super) fn is_list(list: &[u8], html: bool) -> Result<(), ListError> {
    let text = list.strip_prefix(BOM).unwrap_or(list).trim_ascii_start();
    if text.is_empty() {
        return Err(ListError::Empty);
    }
    let start = text.get(..PAGE_LEN).unwrap_or(text).to_ascii_lowercase();
    if PAGES.iter().any(|page| start.starts_with(page)) || (html && start.starts_with(b"<")) {
        return Err(ListError::WebPage);
    }
    if text.iter().take(TEXT_LEN).any(|&octet| octet == 0) {
        return Err(ListError::NotText);
    }
    Ok(())
}

/// Whether it hashes to what it must: as served, or unpacked. Who publishes a digest may mean either.
pub(super) fn is_pinned(pinned: Digest, served: Digest, list: Digest) -> Result<(), ListError> {
    if pinned == served || pinned == list {
        return Ok(());
    }
    Err(ListError::OtherDigest { served: served.to_string(), pinned: pinned.to_string() })
}

/// Whether the key's owner signed it, as served or unpacked; gives back when, if the signature's trusted comment says so.
///
/// Signatures of the first kind (not of a hash) are taken too: they prove as much, and old lists have them.
pub(super) fn is_signed(
    key: &SigningKey,
    signature: &[u8],
    served: &[u8],
    list: Option<&[u8]>,
) -> Result<Option<UnixSeconds>, SignatureError> {
    let signature = std::str::from_utf8(signature).ok().and_then(|text| Signature::decode(text).ok());
    let Some(signature) = signature else { return Err(SignatureError::NoMinisign) };
    let signed = |octets: &[u8]| key.key.verify(octets, &signature, true);
    match (signed(served), list.map(signed)) {
        (Ok(()), _) | (_, Some(Ok(()))) => Ok(time_of(signature.trusted_comment())),
        (Err(minisign_verify::Error::UnexpectedKeyId), _) => Err(SignatureError::OtherKey),
        _ => Err(SignatureError::Wrong),
    }
}

/// When a trusted comment says that it was signed: minisign writes `timestamp:` and Unix seconds as its first word, unless its
/// user says otherwise.
fn time_of(comment: &str) -> Option<UnixSeconds> {
    comment.split_ascii_whitespace().find_map(|word| word.strip_prefix("timestamp:")?.parse().ok())
}

/// Whether it is no older version than one by the same key that was taken before: whoever serves the list, or is in between,
/// could bring back one that still had, or still lacked, a name. The same version again is fine.
///
/// Where nothing says when it was signed there is nothing to compare; but who once said so has not stopped, and what says
/// nothing is older.
pub(super) fn is_no_older(
    signed: Option<UnixSeconds>,
    before: Option<UnixSeconds>,
    name: &str,
) -> Result<(), SignatureError> {
    match before {
        Some(before) if signed.is_none_or(|signed| signed < before) => {
            Err(SignatureError::Older { name: name.to_owned(), signed, before })
        }
        _ => Ok(()),
    }
}

/// Whether it has entries enough, by itself and against the last good copy's.
pub(super) fn is_whole(source: &Source, entries: u64, before: Option<u64>) -> Result<(), ListError> {
    if entries < source.min_entries {
        return Err(ListError::TooFew { entries, least: source.min_entries });
    }
    let kept = 100_u128.saturating_sub(u128::from(source.max_shrink_percent));
    match before {
        Some(before) if u128::from(entries) * 100 < u128::from(before) * kept => {
            Err(ListError::Shrunk { name: source.name.clone(), entries, before })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_what_is_no_comment() {
        for (list, entries) in [
            ("", 0),
            ("\n\n  \n\t\r\n", 0),
            ("a", 1),
            ("a\nb\n", 2),
            ("a\r\n\r\nb", 2),
            ("# a\n! b\n; c\n// d\n  # e\n[Adblock Plus 2.0]\n", 0),
            ("\u{feff}# a\nb # c", 1),
            ("||a^\n@@||b^\n/c/\naddress=/d/#\n*.e", 5),
        ] {
            assert_eq!(entry_lines(list.as_bytes()), entries, "{list:?}");
        }
    }

    #[test]
    fn what_is_no_list() {
        for (text, html, expected) in [
            ("a.example", false, Ok(())),
            ("a.example", true, Ok(())),
            ("# <html>", false, Ok(())),
            ("<a", false, Ok(())),
            ("", false, Err(ListError::Empty)),
            (" \n\u{feff}", false, Ok(())),
            ("\u{feff} \r\n\t", false, Err(ListError::Empty)),
            ("<!DOCTYPE html>", false, Err(ListError::WebPage)),
            ("<!doctype HTML PUBLIC", false, Err(ListError::WebPage)),
            ("\u{feff}\r\n  <HTML lang=de>", false, Err(ListError::WebPage)),
            ("<?xml version='1.0'?>", false, Err(ListError::WebPage)),
            ("<!-- sorry --><p>", true, Err(ListError::WebPage)),
            ("a\0b", false, Err(ListError::NotText)),
        ] {
            assert_eq!(is_list(text.as_bytes(), html), expected, "{text:?}");
        }
    }

    #[test]
    fn times_of_trusted_comments() {
        for (comment, expected) in [
            ("timestamp:1700000000\tfile:a.txt\thashed", Some(1_700_000_000)),
            ("timestamp:1700000000", Some(1_700_000_000)),
            ("file:a.txt timestamp:5", Some(5)),
            ("file:timestamp:5", None),
            ("timestamp:soon", None),
            ("timestamp:99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(time_of(comment), expected, "{comment:?}");
        }
    }

    #[test]
    fn stumps() {
        let mut source = Source::new("x", "https://lists.example/".parse().unwrap());
        let few = |entries, least| Err(ListError::TooFew { entries, least });
        let shrunk = |entries, before| Err(ListError::Shrunk { name: "x".into(), entries, before });
        for (entries, before, least, percent, expected) in [
            (0, None, 1, 50, few(0, 1)),
            (0, None, 0, 50, Ok(())),
            (1, None, 1, 50, Ok(())),
            (9, None, 10, 50, few(9, 10)),
            (50, Some(100), 1, 50, Ok(())),
            (49, Some(100), 1, 50, shrunk(49, 100)),
            (10, Some(100), 1, 50, shrunk(10, 100)),
            (10, Some(100), 1, 90, Ok(())),
            (1, Some(u64::MAX), 1, 100, Ok(())),
            (99, Some(100), 1, 0, shrunk(99, 100)),
            (100, Some(100), 1, 0, Ok(())),
            (1000, Some(100), 1, 0, Ok(())),
            (5, Some(0), 1, 50, Ok(())),
        ] {
            (source.min_entries, source.max_shrink_percent) = (least, percent);
            let found = is_whole(&source, entries, before);
            assert_eq!(found, expected, "{entries} {before:?} {least} {percent}");
        }
    }
}
