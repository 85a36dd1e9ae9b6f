//! Lists of regular expressions: one a line, with or without slashes around it. They are held against the name as text, in
//! lower case, without the trailing dot.

use super::line::{Item, Lines, Rule, Unusable};

/// Reads a list of patterns.
pub fn read<'a>(list: &'a [u8], mut each: impl FnMut(u32, Item<'a>)) {
    for (number, text) in Lines::new(list) {
        // A pattern may hold any character, so a comment begins at the start of its line or not at all.
        if text.starts_with(b"#") || text.starts_with(b"!") {
            continue;
        }
        let bare = text.strip_prefix(b"/").and_then(|text| text.strip_suffix(b"/")).unwrap_or(text);
        each(
            number,
            match (str::from_utf8(text), str::from_utf8(bare)) {
                (Ok(text), Ok(bare)) if !bare.is_empty() => Item::Rule(Rule::pattern(text, bare)),
                (Ok(_), Ok(_)) => Item::Unusable(Unusable::new(text, "an empty pattern", "")),
                _ => Item::Unusable(Unusable::new(text, "not UTF-8", "save the file as UTF-8")),
            },
        );
    }
}
