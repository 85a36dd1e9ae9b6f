//! Lists of wildcards: `*.x` is all below a name, `.x` the name too; a bare name is what the list's settings say, and what
//! stands between slashes is a pattern.
//!
//! Readers differ over `*.x`: to blocky it is the name too, and lists made for that leave no other line for it; to AdGuard
//! Home and in an RPZ it is not. So it is what DNS means by it (RFC 4592), which takes the fewest names, unless the list's
//! settings say that names on it are subtrees ([`meant`]).

use super::line::{self, Item, Lines, Rule, Unusable, without_comment};
use crate::orders::names::first_word;
use crate::policy::MatchKind;

/// Reads a list of wildcards.
pub(super) fn read<'a>(list: &'a [u8], mut each: impl FnMut(u32, Item<'a>)) {
    for (number, text) in Lines::new(list) {
        if let Some(item) = line::among_names(text) {
            each(number, item);
            continue;
        }
        let text = without_comment(text);
        if text.is_empty() {
            continue;
        }
        let (word, more) = first_word(text);
        each(number, if more.is_empty() { one(word) } else { many(text) });
    }
}

/// How a name on such a list matches, by its own form and what the settings say of bare names.
pub(super) fn meant(own: Option<MatchKind>, bare: Option<MatchKind>) -> Option<MatchKind> {
    match (own, bare) {
        (Some(MatchKind::SubtreeBelow), Some(MatchKind::Subtree)) => bare,
        _ => own.or(bare),
    }
}

/// Reads one entry.
fn one<'a>(word: &[u8]) -> Item<'a> {
    if let Some(below) = word.strip_prefix(b"*.") {
        return line::item(below, |name| Rule::name(name, MatchKind::SubtreeBelow));
    }
    match word.strip_prefix(b".") {
        Some(name) if !name.is_empty() => line::item(name, |name| Rule::name(name, MatchKind::Subtree)),
        _ => line::item(word, |name| Rule::name(name, None)),
    }
}

/// Refuses a line of several words.
fn many<'a>(text: &[u8]) -> Item<'a> {
    Item::Unusable(Unusable::new(text, "several words", "one name or wildcard a line"))
}
