//! dnsmasq's options that take names away: `address=/x/`, `server=/x/`, `local=/x/`. Each takes the name and all below it, as
//! dnsmasq(8) has it. The address that a line gives is not looked at: the list's own settings say what is answered.

use super::line::{self, Item, Lines, Rule, Unusable, without_comment};
use crate::orders::names::is_address;
use crate::policy::MatchKind;

/// Reads dnsmasq's options.
pub(super) fn read<'a>(list: &'a [u8], mut each: impl FnMut(u32, Item<'a>)) {
    for (number, text) in Lines::new(list) {
        let text = without_comment(text);
        if text.is_empty() {
            continue;
        }
        match option(text) {
            Ok(names) => names.split(|&octet| octet == b'/').for_each(|name| each(number, one(name))),
            Err((why, hint)) => each(number, Item::Unusable(Unusable::new(text, why, hint))),
        }
    }
}

/// The names of an option, with slashes between them.
fn option(text: &[u8]) -> Result<&[u8], (&'static str, &'static str)> {
    let cut = |at: usize| (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
    let (key, value) = text.iter().position(|&octet| octet == b'=').map_or((text, &[][..]), cut);
    let key = key.trim_ascii();
    if !matches!(key, b"address" | b"server" | b"local") {
        return Err(("no option that takes names away", "address=/x/, server=/x/ and local=/x/ do"));
    }
    let missing = ("no names between slashes", "write address=/x/");
    let inner = value.trim_ascii().strip_prefix(b"/").ok_or(missing)?;
    let end = inner.iter().rposition(|&octet| octet == b'/').ok_or(missing)?;
    let (names, last) = inner.split_at(end);
    let last = last.strip_prefix(b"/").unwrap_or(last);
    match (key, last) {
        (_, b"") | (b"address", b"#") => Ok(names),
        (b"address", word) if is_address(word) => Ok(names),
        (b"address", _) => Err(("what stands behind the names is no address", "write address=/x/")),
        (_, b"#") => Err((
            "gives names back to the usual servers",
            "put such names into a list with action = \"passthru\"",
        )),
        _ => Err(("forwards names to a server, and takes none away", "")),
    }
}

/// Reads one name.
fn one<'a>(name: &[u8]) -> Item<'a> {
    if name == b"#" {
        return Item::Unusable(Unusable::new(name, "takes every name", "list the names that are meant"));
    }
    // dnsmasq(8) takes a leading dot off.
    let name = name.strip_prefix(b".").filter(|rest| !rest.is_empty()).unwrap_or(name);
    line::item(name, |name| Rule::name(name, MatchKind::Subtree))
}
