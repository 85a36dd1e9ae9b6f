//! Lists of names as people publish them, in any of their formats. Pure: octets in, one order and problems out.
//!
//! [`mod@line`] says what a line comes to, one file a format reads lines, `gather` makes scopes of them. A bad line is refused by
//! file and line and the list stands; what is not a list at all is refused whole.

mod adblock;
mod detect;
mod dnsmasq;
pub mod gather;
mod hosts;
pub mod line;
mod parts;
pub mod pattern;
mod possible;
mod regex;
pub mod spec;
mod wildcard;

use std::collections::BTreeMap;

use super::export::DEFAULT_ORIGIN;
use super::open::Open;
use super::order_file::Parsed;
use super::rpz::{self, RpzSpec};
use crate::name::{Name, NameList};
use crate::policy::{MatchKind, OrderWithNames};
use crate::problem::Problem;
use gather::{Gather, Gathered, meant};
use line::{Item, Skip, Target};

pub use detect::detect;
pub use spec::{FetchSpec, Format, ListSpec, RpzUse};

/// Octets looked at for what no text has.
const TEXT_OCTETS: usize = 4096;
/// How pages start that servers send instead of a list, in lower case.
const PAGES: [&[u8]; 6] = [b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--"];

/// What to do about a list that has too little in it.
const RIGHT_FILE: &str = "is it the right file? a list is ended by taking it out of the configuration";

/// What came of reading a list.
#[derive(Debug, Default)]
pub struct ListReading {
    /// The order, unless the list was refused whole, and what is wrong.
    pub reading: Parsed,
    /// The format it was read as; none if it was not read.
    pub format: Option<Format>,
    /// Rules that can be used: names, exceptions left out, and patterns.
    pub entries: usize,
    /// Whether its first lines told the format, and not the settings.
    pub detected: bool,
    /// Lines that were passed over, by reason.
    pub skipped: BTreeMap<Skip, usize>,
    /// Exceptions that spare more than they say, since what limits them cannot be honoured.
    pub widened: usize,
}

/// Reads the list `content`, shown as `shown`, as the order `id`; `open` serves what an RPZ includes. Never panics, whatever
/// the octets.
pub fn parse(content: &[u8], spec: &ListSpec, id: &str, shown: &str, open: &mut Open<'_>) -> ListReading {
    let detected = spec.format.is_none();
    let format = match format_of(content, spec, shown) {
        Ok(format) => format,
        Err((format, problem)) => {
            let reading = Parsed { problems: vec![problem], ..Parsed::default() };
            return ListReading { reading, format, detected, ..ListReading::default() };
        }
    };
    let mut found = ListReading { format: Some(format), detected, ..ListReading::default() };
    let mut exceptions = 0;
    if format == Format::Rpz {
        found.reading = rpz::parse(content, &rpz_spec(spec, id), shown, open);
        found.entries = found.reading.listed.as_ref().map_or(0, entries);
    } else {
        let gathered = gathered(content, Gather::new(spec, format, shown)).finish(id);
        let Gathered { listed, problems, refused_lines, .. } = gathered;
        found.reading = Parsed { listed, problems, refused_lines, wanting: false };
        (found.skipped, found.widened, exceptions) =
            (gathered.skipped, gathered.widened, gathered.exceptions);
        found.entries = gathered.entries;
    }
    if (found.reading.listed.is_some() || format != Format::Rpz)
        && let Err(problem) = is_enough(found.entries, exceptions, format, spec, shown)
    {
        found.reading.problems.insert(0, problem);
        found.reading.listed = None;
    }
    found
}

/// How many entries [`parse`] finds in the list `content`, without collecting their names where that can be done: of a million,
/// they would be as large as the list once more.
///
/// # Errors
/// Why the list would be refused.
pub fn count(content: &[u8], spec: &ListSpec, open: &mut Open<'_>) -> Result<usize, Problem> {
    let shown = &spec.name;
    let format = format_of(content, spec, shown).map_err(|(_, problem)| problem)?;
    if format != Format::Rpz {
        let gather = gathered(content, Gather::counting(spec, format, shown));
        if !gather.takes_back() {
            let Gathered { entries, exceptions, .. } = gather.finish(&spec.name);
            return is_enough(entries, exceptions, format, spec, shown).map(|()| entries);
        }
    }
    let ListReading { reading, entries, .. } = parse(content, spec, &spec.name, shown, open);
    match reading.listed {
        Some(_) => Ok(entries),
        None => {
            let first = reading.problems.into_iter().find(Problem::is_error);
            Err(first.unwrap_or_else(|| Problem::error(shown, None, "it cannot be used")))
        }
    }
}

/// The format of a list that can be one at all; else what is wrong, and the format if that much is known.
fn format_of(content: &[u8], spec: &ListSpec, shown: &str) -> Result<Format, (Option<Format>, Problem)> {
    if let Err((why, hint)) = is_list(content) {
        return Err((None, Problem::error(shown, None, why).hint(hint)));
    }
    let Some(format) = spec.format.or_else(|| detect(content)) else {
        let words: Vec<String> = Format::ALL.iter().map(|format| format!("\"{format}\"")).collect();
        let hint = format!("say it: format = {}", words.join(", "));
        return Err((None, Problem::error(shown, None, "no format that is known").hint(hint)));
    };
    if format.needs_match() && spec.kind.is_none() {
        let message = format!("looks like format = \"{format}\", and nothing says what a name on it covers");
        let hint = "say it for the list: match = \"exact\", \"subtree\" or \"subtree-below\"";
        return Err((Some(format), Problem::error(shown, None, message).hint(hint)));
    }
    Ok(format)
}

/// The gatherer with all rules of a list in it.
fn gathered<'s>(content: &[u8], mut gather: Gather<'s>) -> Gather<'s> {
    each(content, gather.format(), |line, item| gather.take(line, item));
    gather
}

/// Whether a list has as many entries as it must.
fn is_enough(
    entries: usize,
    exceptions: usize,
    format: Format,
    spec: &ListSpec,
    shown: &str,
) -> Result<(), Problem> {
    if entries >= spec.min_entries.max(1) {
        return Ok(());
    }
    let (message, hint) = match entries {
        0 if exceptions > 0 => (
            format!("has {exceptions} exceptions, and nothing that they could spare from"),
            "action = \"passthru\" makes exceptions the list: names that no list and no order takes",
        ),
        0 => (format!("has no line that can be used as format = \"{format}\""), RIGHT_FILE),
        few => (format!("has {few} entries, and must have {} at least", spec.min_entries), RIGHT_FILE),
    };
    Err(Problem::error(shown, None, message).hint(hint))
}

/// Hands each rule, or what a line comes to instead, to `take`, with its line. An RPZ has none.
pub fn each<'a>(content: &'a [u8], format: Format, take: impl FnMut(u32, Item<'a>)) {
    match format {
        Format::Hosts | Format::Domains => hosts::read(content, take),
        Format::Wildcard => wildcard::read(content, take),
        Format::Adblock => adblock::read(content, take),
        Format::Dnsmasq => dnsmasq::read(content, take),
        Format::Regex => regex::read(content, take),
        Format::Rpz => {}
    }
}

/// The first line that lists `name` for `kind`, else the first that spares it; `bare` is what bare names are.
pub fn line_of(
    content: &[u8],
    format: Format,
    bare: Option<MatchKind>,
    kind: MatchKind,
    name: &Name,
) -> Option<u32> {
    let mut found = [None; 2];
    each(content, format, |line, item| {
        if let Item::Rule(rule) = item
            && let Target::Name(listed, own) = rule.target
            && meant(format, own, bare) == Some(kind)
            && listed == *name
        {
            found[usize::from(rule.spares)].get_or_insert(line);
        }
    });
    found[0].or(found[1])
}

/// The first line that has this pattern, as written.
pub fn line_of_pattern(content: &[u8], format: Format, written: &str) -> Option<u32> {
    let mut found = None;
    each(content, format, |line, item| {
        if let Item::Rule(rule) = item
            && let Target::Pattern(pattern) = rule.target
            && pattern.written == written
        {
            found.get_or_insert(line);
        }
    });
    found
}

/// Entries of a list: names and patterns, exceptions left out.
pub fn entries(listed: &OrderWithNames) -> usize {
    listed.names().map(NameList::len).sum::<usize>() + patterns(&listed.order.scopes)
}

/// Patterns in scopes.
pub fn patterns(scopes: &[crate::policy::Scope]) -> usize {
    scopes.iter().filter_map(|scope| scope.patterns.as_ref()).map(|patterns| patterns.0.texts().len()).sum()
}

/// What the reader of an RPZ needs to know.
pub fn rpz_spec(spec: &ListSpec, id: &str) -> RpzSpec {
    RpzSpec {
        name: id.to_string(),
        kind: spec.authority,
        origin: spec.rpz.origin,
        fallback: spec.name.parse().unwrap_or_else(|_| no_name()),
        wildcards: spec.rpz.wildcards,
        action_override: spec.rpz.action_override.clone(),
        max_ttl_s: spec.ttl_s,
        without_rd: spec.rpz.without_rd,
        break_dnssec: spec.rpz.break_dnssec,
    }
}

/// The zone of a list whose name is no domain name: below `invalid.`, as exports are.
fn no_name() -> Name {
    DEFAULT_ORIGIN.parse().unwrap_or(Name::ROOT)
}

/// Whether octets can be a list at all.
fn is_list(content: &[u8]) -> Result<(), (&'static str, &'static str)> {
    if content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") {
        return Err(("the file is UTF-16", "save it as UTF-8"));
    }
    let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii_start();
    if text.is_empty() {
        return Err(("the list is empty", "a list is ended by taking it out of the configuration"));
    }
    let starts = |page: &&[u8]| text.get(..page.len()).is_some_and(|start| start.eq_ignore_ascii_case(page));
    if PAGES.iter().any(starts) {
        return Err((
            "a web page, not a list",
            "the list has moved, or a login stands in between: look at its address",
        ));
    }
    if text.iter().take(TEXT_OCTETS).any(|&octet| octet == 0) {
        return Err(("not a text", "unpack it, or save it as UTF-8"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
