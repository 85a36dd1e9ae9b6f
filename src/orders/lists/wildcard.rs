//! Lists of wildcards: `*.x` is all below a name, `.x` the name too; a bare name is what the list's settings say.

use super::line::{self, Item, Lines, Rule, Unusable, without_comment};
use crate::orders::names::first_word;
use crate::policy::ScopeKind;

/// Reads a list of wildcards.
pub fn read<'a>(list: &'a [u8], mut each: impl FnMut(u32, Item<'a>)) {
    for (number, text) in Lines::new(list) {
        let text = without_comment(text);
        if text.is_empty() {
            continue;
        }
        let (word, more) = first_word(text);
        each(number, if more.is_empty() { one(word) } else { many(text) });
    }
}

/// Reads one entry.
fn one<'a>(word: &[u8]) -> Item<'a> {
    if let Some(below) = word.strip_prefix(b"*.") {
        return line::item(below, |name| Rule::name(name, ScopeKind::SubtreeBelow));
    }
    match word.strip_prefix(b".") {
        Some(name) if !name.is_empty() => line::item(name, |name| Rule::name(name, ScopeKind::Subtree)),
        _ => line::item(word, |name| Rule::name(name, None)),
    }
}

/// Refuses a line of several words.
fn many<'a>(text: &[u8]) -> Item<'a> {
    Item::Unusable(Unusable::new(text, "several words", "one name or wildcard a line"))
}
