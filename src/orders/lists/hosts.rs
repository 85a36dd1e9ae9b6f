//! Lists of bare names: hosts files, and one name a line. What such a name covers is for the list's settings to say.

use super::line::{Item, Rule};
use crate::orders::names::Names;

/// Reads a hosts file or a list of names; each may hold lines of the other, as they do in practice.
pub fn read<'a>(list: &'a [u8], mut each: impl FnMut(u32, Item<'a>)) {
    for (line, name) in Names::new(list) {
        each(
            line,
            name.map_or_else(
                |refused| Item::Unusable(refused.into()),
                |name| Item::Rule(Rule::name(name, None)),
            ),
        );
    }
}
