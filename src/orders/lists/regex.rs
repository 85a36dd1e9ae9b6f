//! Lists of regular expressions: one a line, with or without slashes around it. They are held against the name as text, in
//! lower case, without the trailing dot.
//!
//! Pi-hole lets options follow a pattern (`;querytype=A`, `;invert`, `;reply=nxdomain`). `reply` says how it is answered,
//! which here is for the list's settings to say. The others limit the pattern, or turn it around, so it is refused with them.

use super::line::{self, Item, Lines, Unusable};
use crate::orders::names::is_address;

/// How Pi-hole's options begin.
const OPTIONS: [&[u8]; 3] = [b";querytype=", b";invert", b";reply="];

/// Reads a list of patterns.
pub(super) fn read<'a>(list: &'a [u8], mut each: impl FnMut(u32, Item<'a>)) {
    for (number, text) in Lines::new(list) {
        // A pattern may hold any character, so a comment begins at the start of its line or not at all.
        if text.starts_with(b"#") || text.starts_with(b"!") {
            continue;
        }
        let (pattern, options) = split(text);
        let bare = pattern.strip_prefix(b"/").and_then(|text| text.strip_suffix(b"/")).unwrap_or(pattern);
        each(
            number,
            match options.split(|&octet| octet == b';').find_map(refused) {
                Some((why, hint)) => Item::Unusable(Unusable::new(text, why, hint)),
                None => line::pattern(text, bare),
            },
        );
    }
}

/// Takes a pattern and Pi-hole's options apart.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let starts = |at: &usize| {
        let rest = text.get(*at..).unwrap_or_default();
        OPTIONS
            .iter()
            .any(|option| rest.get(..option.len()).is_some_and(|start| start.eq_ignore_ascii_case(option)))
    };
    match (0..text.len()).find(starts) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
        None => (text, &[]),
    }
}

/// Why an option cannot be honoured, and what to do; none if it can.
fn refused(option: &[u8]) -> Option<(&'static str, &'static str)> {
    let option = option.trim_ascii().to_ascii_lowercase();
    let (name, value) = match option.iter().position(|&octet| octet == b'=') {
        Some(at) => (option.get(..at).unwrap_or_default(), option.get(at + 1..).unwrap_or_default()),
        None => (&option[..], &[][..]),
    };
    match (name, value) {
        (b"", b"") => None,
        (b"reply", b"nodata" | b"nxdomain" | b"refused" | b"none" | b"ip") => None,
        (b"reply", address) if is_address(address) => None,
        (b"reply", _) => Some((
            "a resolver cannot honour the option reply",
            "`action` of the list says how it is answered",
        )),
        (b"querytype", _) => Some(("a resolver cannot honour the option querytype", "")),
        (b"invert", b"") => Some(("a resolver cannot honour the option invert", "write what is to be taken")),
        _ => Some(("an option that nobody knows", "there are ;querytype=, ;invert and ;reply=")),
    }
}
