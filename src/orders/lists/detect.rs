//! What format a list has, by looking at its first lines.

use super::line::{self, Lines};
use super::spec::Format;
use crate::orders::names::{first_word, is_address, name_from_octets};

/// Lines that are looked at: headers are shorter, and a list does not change its mind later.
const LOOKED_AT: usize = 400;
/// Lines passed over at most while looking for some that mean something.
const PASSED_OVER: usize = 5000;

/// The format that most lines speak for; none if none says anything.
///
/// Bare names speak for `domains`, and are no objection to formats that may hold them. A name is never read as a pattern by
/// guess: `t.co` as a pattern takes microsoft.com. So a list with names on it is no list of patterns, however many it holds;
/// those between slashes are read as patterns in any format that holds names.
pub fn detect(list: &[u8]) -> Option<Format> {
    let mut votes = [0usize; Format::ALL.len()];
    let (mut meaningful, mut delimited) = (0, false);
    for (_, line) in Lines::new(list).take(PASSED_OVER) {
        if line.starts_with(b"[Adblock") {
            return Some(Format::Adblock);
        }
        let format = match vote(line) {
            Some(Vote::Format(format)) => format,
            Some(Vote::Delimited) => {
                delimited = true;
                continue;
            }
            None => continue,
        };
        if let Some(votes) =
            Format::ALL.iter().position(|one| *one == format).and_then(|at| votes.get_mut(at))
        {
            *votes += 1;
        }
        meaningful += 1;
        if meaningful == LOOKED_AT {
            break;
        }
    }
    let votes = || Format::ALL.into_iter().zip(votes);
    let of = |wanted: Format| votes().find(|(format, _)| *format == wanted).map_or(0, |(_, votes)| votes);
    let bare = of(Format::Domains);
    let names = bare + of(Format::Hosts) + of(Format::Wildcard);
    let others = votes().filter(|(format, votes)| {
        *votes > 0 && *format != Format::Domains && (names == 0 || *format != Format::Regex)
    });
    // Of as many votes the last wins.
    match others.rev().max_by_key(|(_, votes)| *votes) {
        None if bare > 0 => Some(Format::Domains),
        None => delimited.then_some(Format::Regex),
        Some((format, votes)) if votes >= bare || format.has_bare_names() => Some(format),
        Some(_) => Some(Format::Domains),
    }
}

/// What a line speaks for.
enum Vote {
    /// A format.
    Format(Format),
    /// A pattern between slashes, which any list may hold.
    Delimited,
}

/// What a line speaks for; none if it says nothing.
fn vote(line: &[u8]) -> Option<Vote> {
    if line::delimited(line).is_some() { Some(Vote::Delimited) } else { format_of(line).map(Vote::Format) }
}

/// The format that a line speaks for.
fn format_of(line: &[u8]) -> Option<Format> {
    let starts = |wanted: &[&str]| wanted.iter().any(|start| line.starts_with(start.as_bytes()));
    let has = |wanted: &str| line.windows(wanted.len()).any(|found| found == wanted.as_bytes());
    if starts(&["|", "@@", "!"]) {
        return Some(Format::Adblock);
    }
    if line.starts_with(b"#") {
        return None;
    }
    if has("##") || has("#@#") || has("#?#") {
        return Some(Format::Adblock);
    }
    if starts(&["address=", "server=", "local="]) {
        return Some(Format::Dnsmasq);
    }
    if starts(&[";", "$TTL", "$ORIGIN", "$INCLUDE", "@ ", "@\t"]) {
        return Some(Format::Rpz);
    }
    let (word, more) = first_word(line);
    if is_address(word) && !more.is_empty() {
        return Some(Format::Hosts);
    }
    let mut words = more.split(u8::is_ascii_whitespace);
    if words.any(|word| {
        [&b"IN"[..], b"CNAME", b"SOA", b"NS", b"A", b"AAAA", b"TXT"]
            .iter()
            .any(|one| word.eq_ignore_ascii_case(one))
    }) {
        return Some(Format::Rpz);
    }
    if word.starts_with(b"*.") || word.starts_with(b".") {
        return Some(Format::Wildcard);
    }
    // A backslash may stand in a name, yet on a list it is a pattern's.
    if !word.contains(&b'\\') && name_from_octets(word).is_ok() && (more.is_empty() || more.starts_with(b"#"))
    {
        return Some(Format::Domains);
    }
    // What is left and holds what only a pattern has.
    let odd = line.iter().any(|octet| matches!(octet, b'\\' | b'(' | b'[' | b'+' | b'^' | b'$'));
    odd.then_some(Format::Regex)
}
