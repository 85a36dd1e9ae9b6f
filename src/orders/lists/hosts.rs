//! Lists of bare names: hosts files, and one name a line. What such a name covers is for the list's settings to say. A line
//! between slashes is a pattern, as lists have it that grew together from several.

use super::line::{self, Item, Lines, Rule, Skip};
use crate::orders::names::Names;

/// Reads a hosts file or a list of names; each may hold lines of the other, as they do in practice.
pub(super) fn read<'a>(list: &'a [u8], mut each: impl FnMut(u32, Item<'a>)) {
    for (number, text) in Lines::new(list) {
        if let Some(item) = line::among_names(text) {
            each(number, item);
            continue;
        }
        let mut names = Names::new(text);
        for (_, name) in names.by_ref() {
            each(
                number,
                name.map_or_else(
                    |refused| Item::Unusable(refused.into()),
                    |name| Item::Rule(Rule::name(name, None)),
                ),
            );
        }
        (0..names.own()).for_each(|_| each(number, Item::Skipped(Skip::OwnName)));
    }
}
