//! Adblock Plus rules as far as a resolver can honour them to the letter.
//!
//! | line | what |
//! |---|---|
//! | `\|\|x^` | the name and all below it |
//! | `\|x^` | the name alone |
//! | `\|\|*.x^` | all below the name |
//! | `\|\|ad*.x^` | a pattern: `*` is any text |
//! | `/text/` | a regular expression, held against the name |
//! | `@@\|\|x^` | an exception: spares the name and all below it |
//! | `0.0.0.0 x`, `x` | a bare name: what it covers is what the list's `match` says |
//! | `!`, `#`, `[Adblock Plus 2.0]` | a comment |
//! | `x##.ad`, `x#@#.ad` and the like | cosmetic: skipped |
//! | `\|\|x/path`, `/banner.`, `\|https://x` | about URLs: skipped |
//!
//! Options: `$important` is honoured, and only exceptions with it spare from such a rule; `$badfilter` takes the same rule back.
//! `$all`, `$document` and `$doc` mean the host's pages as a whole, and without its name there are none, so such rules are
//! taken as plain ones; in an exception they would switch off rules on the host's pages and say nothing about its name.
//! Every other option narrows a rule to what a resolver cannot see (`$third-party`, `$script`, `$domain=`) or does not do
//! per rule (`$client`, `$dnstype`, `$denyallow`): taken without it, the rule would take more than it says, so it is unusable.

use std::borrow::Cow;

use super::line::{self, Item, Lines, Rule, Skip, Target, Unusable, without_comment};
use crate::orders::names::{first_word, is_address, is_own_name, name_from_octets};
use crate::policy::ScopeKind;

/// What separates names from what a cosmetic rule does with their pages, the longest first.
const COSMETIC: [&[u8]; 11] =
    [b"#@$?#", b"#$?#", b"#@?#", b"#@$#", b"#@%#", b"##", b"#@#", b"#?#", b"#$#", b"#%#", b"$$"];
/// The same for exceptions of AdGuard's HTML rules.
const COSMETIC_HTML: &[u8] = b"$@$";
/// Octets that stand in rules about URLs, or in front of options, and in no name.
const URL: &[u8] = b"/:*^|=?&%~,$";

/// Reads Adblock rules.
pub fn read<'a>(list: &'a [u8], mut each: impl FnMut(u32, Item<'a>)) {
    for (number, text) in Lines::new(list) {
        one(text, |item| each(number, item));
    }
}

/// Reads one line.
fn one<'a>(text: &'a [u8], mut each: impl FnMut(Item<'a>)) {
    if text.starts_with(b"||") {
        // Nearly all lines: nothing below needs a look.
    } else if text.starts_with(b"!") || (text.starts_with(b"[") && text.ends_with(b"]")) {
        return;
    } else if text.starts_with(b"#") {
        if is_cosmetic_at(text, 0) {
            each(Item::Skipped(Skip::Cosmetic));
        }
        return;
    }
    if !text.starts_with(b"/") && is_cosmetic(text) {
        return each(Item::Skipped(Skip::Cosmetic));
    }
    let (spares, body) = match text.strip_prefix(b"@@") {
        Some(body) => (true, body),
        None => (false, text),
    };
    if is_filter(body) {
        each(filter(text, body, spares));
    } else {
        bare(text, body, spares, each);
    }
}

/// Whether a rule has Adblock's syntax, and is not a bare name or hosts line.
fn is_filter(body: &[u8]) -> bool {
    let (word, more) = first_word(body);
    let odd = || more.is_empty() && word.iter().any(|octet| URL.contains(octet)) && !is_address(word);
    body.starts_with(b"|") || body.starts_with(b"/") || odd()
}

/// Reads a rule of Adblock's syntax.
fn filter<'a>(text: &'a [u8], body: &'a [u8], spares: bool) -> Item<'a> {
    let (pattern, options) = match split_options(body) {
        Ok(parts) => parts,
        Err(item) => return item,
    };
    let target = match target(text, pattern) {
        Ok(target) => target,
        Err(item) => return item,
    };
    let mut rule = Rule { target, spares, important: false };
    let mut off = false;
    for option in options.split(|&octet| octet == b',').map(<[u8]>::trim_ascii) {
        match option {
            b"" => {}
            b"important" => rule.important = true,
            b"badfilter" => off = true,
            b"all" | b"document" | b"doc" if !spares => {}
            _ => {
                let name = option.split(|&octet| octet == b'=').next().unwrap_or(option);
                let why = format!(
                    "a resolver cannot honour the option {}",
                    String::from_utf8_lossy(name).escape_debug()
                );
                return Item::Unusable(Unusable::new(text, why, ""));
            }
        }
    }
    if off { Item::Off(rule) } else { Item::Rule(rule) }
}

/// Takes a rule and its options apart.
fn split_options(body: &[u8]) -> Result<(&[u8], &[u8]), Item<'_>> {
    let at = if body.starts_with(b"/") {
        // A `$` in a regular expression is part of it: options follow its last slash, or there are none.
        match body.iter().rposition(|&octet| octet == b'/') {
            Some(end) if end > 0 && matches!(body.get(end + 1), None | Some(b'$')) => end + 1,
            _ => return Err(Item::Skipped(Skip::Url)),
        }
    } else {
        body.iter().position(|&octet| octet == b'$').unwrap_or(body.len())
    };
    let (pattern, options) = body.split_at(at);
    Ok((pattern, options.strip_prefix(b"$").unwrap_or(options)))
}

/// Reads whom a rule is about.
fn target<'a>(text: &'a [u8], pattern: &'a [u8]) -> Result<Target<'a>, Item<'a>> {
    let url = || Err(Item::Skipped(Skip::Url));
    if let Some(regex) = pattern.strip_prefix(b"/") {
        let regex = regex.strip_suffix(b"/").unwrap_or(regex);
        // Names hold no slash and no colon: whoever writes one means URLs.
        if regex.is_empty() || regex.contains(&b'/') || regex.contains(&b':') && !has(regex, b"(?:") {
            return url();
        }
        let (Ok(written), Ok(regex)) = (str::from_utf8(text), str::from_utf8(regex)) else {
            return Err(Item::Unusable(Unusable::new(text, "not UTF-8", "save the file as UTF-8")));
        };
        return Ok(Rule::pattern(written, regex).target);
    }
    let (kind, host) = match (pattern.strip_prefix(b"||"), pattern.strip_prefix(b"|")) {
        (Some(host), _) => (ScopeKind::Subtree, host),
        (None, Some(host)) => (ScopeKind::Exact, host),
        (None, None) => return url(),
    };
    let end = host.iter().position(|octet| matches!(octet, b'^' | b'|' | b'/' | b':')).unwrap_or(host.len());
    let (host, rest) = host.split_at(end);
    match rest {
        b"^" | b"^|" | b"|" => {}
        b"" if !host.is_empty() => {
            let hint = "end it with ^";
            return Err(Item::Unusable(Unusable::new(
                text,
                "without ^ at its end it takes longer names too",
                hint,
            )));
        }
        _ => return url(),
    }
    let (kind, host) = match host.strip_prefix(b"*.") {
        Some(below) if kind == ScopeKind::Subtree => (ScopeKind::SubtreeBelow, below),
        _ => (kind, host),
    };
    if host.contains(&b'*') {
        return wildcards(text, host, kind);
    }
    match name_from_octets(host) {
        Ok(name) => Ok(Target::Name(name, Some(kind))),
        Err(refused) => Err(Item::Unusable(refused.into())),
    }
}

/// Makes a pattern of a host with `*` in it.
fn wildcards<'a>(text: &'a [u8], host: &[u8], kind: ScopeKind) -> Result<Target<'a>, Item<'a>> {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.' | b'*');
    let (Ok(written), true) = (str::from_utf8(text), host.iter().copied().all(plain)) else {
        return Err(Item::Unusable(Unusable::new(text, "not a name with wildcards", "")));
    };
    let mut regex = String::from(match kind {
        ScopeKind::Exact => "^",
        ScopeKind::Subtree => r"^(.*\.)?",
        ScopeKind::SubtreeBelow => r"^.*\.",
    });
    for &octet in host {
        match octet {
            b'*' => regex.push_str(".*"),
            b'.' => regex.push_str(r"\."),
            _ => regex.push(char::from(octet)),
        }
    }
    regex.push('$');
    Ok(Rule::pattern(written, Cow::Owned(regex)).target)
}

/// Reads a bare name, or a hosts line.
fn bare<'a>(text: &'a [u8], body: &'a [u8], spares: bool, mut each: impl FnMut(Item<'a>)) {
    let body = without_comment(body);
    let (word, mut rest) = first_word(body);
    let rule = |name| Rule { spares, ..Rule::name(name, None) };
    if rest.is_empty() {
        return each(line::item(word, rule));
    }
    if !is_address(word) {
        return each(Item::Unusable(Unusable::new(text, "several words, and the first is no address", "")));
    }
    while !rest.is_empty() {
        let (word, more) = first_word(rest);
        rest = more;
        if !is_own_name(word) {
            each(line::item(word, rule));
        }
    }
}

/// Whether a line is a cosmetic rule: a mark stands in it, not behind white space, where a comment would begin.
fn is_cosmetic(line: &[u8]) -> bool {
    let marks =
        line.iter().enumerate().filter(|&(_, &octet)| octet == b'#' || octet == b'$').map(|(at, _)| at);
    let touches = |at: &usize| {
        at.checked_sub(1).and_then(|at| line.get(at)).is_none_or(|octet| !octet.is_ascii_whitespace())
    };
    marks.filter(touches).any(|at| is_cosmetic_at(line, at))
}

/// Whether a cosmetic rule's mark stands at `at`; `## Heading` and `####` are comments.
fn is_cosmetic_at(line: &[u8], at: usize) -> bool {
    let rest = line.get(at..).unwrap_or_default();
    if rest.starts_with(COSMETIC_HTML) {
        return true;
    }
    let mark = COSMETIC.iter().find(|mark| rest.starts_with(mark));
    let follows = |mark: &&[u8]| rest.get(mark.len()).copied();
    mark.and_then(|mark| follows(mark)).is_some_and(|octet| !octet.is_ascii_whitespace() && octet != b'#')
}

/// Whether `wanted` stands in `text`.
fn has(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|found| found == wanted)
}
