//! Adblock Plus rules as far as a resolver can honour them to the letter, read as AdGuard reads them for DNS: a rule is a mask
//! that is held against a name.
//!
//! | line | what |
//! |---|---|
//! | `\|\|x^` | the name and all below it |
//! | `\|x^`, `\|x\|` | the name alone |
//! | `\|\|*.x^`, `.x^` | all below the name |
//! | `\|\|ad*.x^`, `-ad.x^` | a pattern: `*` is any text, and without a bar any text stands in front |
//! | `/text/` | a regular expression, held against the name |
//! | `@@` and any of these | an exception: spares what the rest says |
//! | `0.0.0.0 x`, `x` | a bare name: what it covers is what the list's `match` says |
//! | `!`, `#`, `[Adblock Plus 2.0]` | a comment |
//! | `x##.ad`, `x#@#.ad` and the like | cosmetic: skipped |
//! | `\|\|x/path`, `/banner.`, `\|https://x` | about URLs: skipped |
//!
//! Options: `$important` is honoured, and only exceptions with it spare from such a rule; `$badfilter` takes the same rule back.
//! `$all`, `$document` and `$doc` mean the host's pages as a whole, and without its name there are none, so such rules are
//! taken as plain ones. Every other option narrows a rule to what a resolver cannot see (`$third-party`, `$script`, `$domain=`)
//! or does not do per rule (`$client`, `$ctag`, `$dnstype`, `$denyallow`, `$dnsrewrite`): taken without it, the rule would take
//! more than it says, so it is unusable.
//!
//! With exceptions it is the other way round. One that is left out leaves more taken than the list says, so what narrows it is
//! left out instead, be that an option or the path of a URL: it then spares its host for everybody ([`Rule::widened`]).
//! Exceptions from what only browsers do with pages ([`BESIDE`]) spare no name and are skipped.

use std::borrow::Cow;

use super::line::{self, Item, Lines, NoRule, Rule, Skip, Target, Unusable, without_comment};
use crate::orders::names::{first_word, is_address, is_own_name, name_from_octets};
use crate::policy::MatchKind;

/// What separates names from what a cosmetic rule does with their pages, the longest first.
const COSMETIC: [&[u8]; 11] =
    [b"#@$?#", b"#$?#", b"#@?#", b"#@$#", b"#@%#", b"##", b"#@#", b"#?#", b"#$#", b"#%#", b"$$"];
/// The same for exceptions of AdGuard's HTML rules.
const COSMETIC_HTML: &[u8] = b"$@$";
/// Octets that stand in rules about URLs, or in front of options, and in no name.
const URL: &[u8] = b"/:*^|=?&%~,$";
/// Octets that end the host of a mask.
const HOST_ENDS: &[u8] = b"^|/:?=&%~";
/// Options of exceptions that say nothing of whether a host may be reached: what they switch off happens to its pages, or to
/// requests from them, and `dnsrewrite` takes back rules that are not honoured anyway.
const BESIDE: [&str; 28] = [
    "elemhide",
    "ehide",
    "generichide",
    "ghide",
    "specifichide",
    "shide",
    "genericblock",
    "urlblock",
    "content",
    "jsinject",
    "extension",
    "stealth",
    "cookie",
    "csp",
    "permissions",
    "referrerpolicy",
    "removeparam",
    "queryprune",
    "removeheader",
    "urltransform",
    "replace",
    "redirect",
    "redirect-rule",
    "jsonprune",
    "xmlprune",
    "hls",
    "inline-script",
    "dnsrewrite",
];
/// Options that narrow others and mean nothing alone.
const LIMITS: [&str; 11] = [
    "third-party",
    "3p",
    "first-party",
    "1p",
    "strict-third-party",
    "strict-first-party",
    "domain",
    "from",
    "to",
    "match-case",
    "app",
];

/// Reads Adblock rules.
pub(super) fn read<'a>(list: &'a [u8], mut each: impl FnMut(u32, Item<'a>)) {
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
    let read = split_options(body).and_then(|(mask, options)| {
        let (target, of_url) = target(text, mask, spares)?;
        let options = Options::read(text, options, spares)?;
        let widened = of_url || options.limits;
        Ok((options.off, Rule { spares, important: options.important, widened, ..Rule::of(target) }))
    });
    match read {
        Ok((false, rule)) => Item::Rule(rule),
        // What was not taken as it stands cannot be taken back as it stands.
        Ok((true, rule)) if rule.widened => {
            Item::Unusable(Unusable::new(text, "takes back an exception that a resolver cannot honour", ""))
        }
        Ok((true, rule)) => Item::Off(rule),
        Err(none) => none.into(),
    }
}

/// What the options of a rule come to.
#[derive(Default)]
struct Options {
    /// `$important`.
    important: bool,
    /// `$badfilter`.
    off: bool,
    /// Some that limit an exception and cannot be honoured.
    limits: bool,
}

impl Options {
    /// Reads what stands behind the `$`.
    fn read(text: &[u8], options: &[u8], spares: bool) -> Result<Options, NoRule> {
        let mut found = Options::default();
        // An exception's options that are beside the point, and whether there are others that are not.
        let (mut beside, mut more) = (false, false);
        for option in options.split(|&octet| octet == b',').map(<[u8]>::trim_ascii) {
            let name = option.split(|&octet| octet == b'=').next().unwrap_or(option);
            let is_one_of = |names: &[&str]| {
                let name = name.strip_prefix(b"~").unwrap_or(name);
                names.iter().any(|one| name.eq_ignore_ascii_case(one.as_bytes()))
            };
            match option {
                b"" => {}
                b"important" => found.important = true,
                b"badfilter" => found.off = true,
                b"all" | b"document" | b"doc" if !spares => {}
                _ if !spares => {
                    let shown = String::from_utf8_lossy(name).escape_debug().to_string();
                    let why = format!("a resolver cannot honour the option {shown}");
                    return Err(NoRule::Unusable(Unusable::new(text, why, "")));
                }
                _ if is_one_of(&BESIDE) => beside = true,
                _ => {
                    found.limits = true;
                    more = more || !is_one_of(&LIMITS);
                }
            }
        }
        if beside && !more { Err(NoRule::Skipped(Skip::Beside)) } else { Ok(found) }
    }
}

/// Takes a rule and its options apart.
fn split_options(body: &[u8]) -> Result<(&[u8], &[u8]), NoRule> {
    let at = if body.starts_with(b"/") {
        // A `$` in a regular expression is part of it: options follow its last slash, or there are none.
        match body.iter().rposition(|&octet| octet == b'/') {
            Some(end) if end > 0 && matches!(body.get(end + 1), None | Some(b'$')) => end + 1,
            _ => return Err(NoRule::Skipped(Skip::Url)),
        }
    } else {
        body.iter().position(|&octet| octet == b'$').unwrap_or(body.len())
    };
    let (pattern, options) = body.split_at(at);
    Ok((pattern, options.strip_prefix(b"$").unwrap_or(options)))
}

/// Where in a name a mask begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// `||`: at a label.
    Label,
    /// `|`: at the start.
    Name,
    /// Anywhere.
    Within,
}

/// Reads whom a rule is about, and whether it is about less: some URLs of a host, of which exceptions spare the host.
fn target<'a>(text: &'a [u8], mask: &'a [u8], spares: bool) -> Result<(Target<'a>, bool), NoRule> {
    let url = || Err(NoRule::Skipped(Skip::Url));
    if let Some(regex) = mask.strip_prefix(b"/") {
        let regex = regex.strip_suffix(b"/").unwrap_or(regex);
        // Names hold no slash and no colon: whoever writes one means URLs.
        if regex.is_empty() || regex.contains(&b'/') || regex.contains(&b':') && !has(regex, b"(?:") {
            return url();
        }
        let (Ok(written), Ok(regex)) = (str::from_utf8(text), str::from_utf8(regex)) else {
            return Err(NoRule::Unusable(Unusable::new(text, "not UTF-8", "save the file as UTF-8")));
        };
        return Ok((Rule::pattern(written, regex).target, false));
    }
    let (start, mask) = match (mask.strip_prefix(b"||"), mask.strip_prefix(b"|")) {
        (Some(mask), _) => (Start::Label, mask),
        (None, Some(mask)) => (Start::Name, mask),
        (None, None) => (Start::Within, mask),
    };
    let (start, mask, of_url) = match behind_scheme(mask) {
        Some(_) if !spares => return url(),
        Some(rest) => (Start::Name, rest, true),
        None => (start, mask, false),
    };
    let end = mask.iter().position(|octet| HOST_ENDS.contains(octet)).unwrap_or(mask.len());
    let (host, rest) = mask.split_at(end);
    match rest {
        b"^" | b"^|" | b"|" if start != Start::Within || is_plain(host) && host.contains(&b'.') => {
            Ok((closed(text, start, host)?, of_url))
        }
        b"" if spares && is_plain(host) => Ok((pattern(text, start, host, "")?, of_url)),
        b"" if start != Start::Within && !host.is_empty() => {
            let why = "without ^ at its end it takes longer names too";
            Err(NoRule::Unusable(Unusable::new(text, why, "end it with ^")))
        }
        // Which rule an exception for parts of URLs limits is told by its host, if it names one.
        [_, ..] if spares && start != Start::Within && !host.is_empty() => match closed(text, start, host) {
            Ok(target) => Ok((target, true)),
            Err(_) => url(),
        },
        _ => url(),
    }
}

/// What stands behind the scheme of a URL (`https://`, `*://`, `://`); none without one.
fn behind_scheme(mask: &[u8]) -> Option<&[u8]> {
    let at = mask.windows(3).position(|three| three == b"://")?;
    let (scheme, rest) = mask.split_at(at);
    scheme.iter().all(|octet| octet.is_ascii_alphabetic() || *octet == b'*').then(|| rest.get(3..)).flatten()
}

/// Whether nothing but what stands in host names, or for parts of them, stands in a mask, and something does.
fn is_plain(host: &[u8]) -> bool {
    let plain = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.' | b'*');
    !host.is_empty() && host.iter().all(plain)
}

/// The target of a mask that says where names end.
fn closed<'a>(text: &'a [u8], start: Start, host: &[u8]) -> Result<Target<'a>, NoRule> {
    let below =
        host.strip_prefix(b"*.").or_else(|| host.strip_prefix(b".").filter(|_| start == Start::Within));
    let (kind, name) = match (below, start) {
        (Some(below), _) => (Some(MatchKind::SubtreeBelow), below),
        (None, Start::Label) => (Some(MatchKind::Subtree), host),
        (None, Start::Name) => (Some(MatchKind::Exact), host),
        (None, Start::Within) => (None, host),
    };
    match kind.filter(|_| !name.contains(&b'*')) {
        Some(kind) => match name_from_octets(name) {
            Ok(name) => Ok(Target::Name(name, Some(kind))),
            Err(refused) => Err(NoRule::Unusable(refused.into())),
        },
        None => pattern(text, start, host, "$"),
    }
}

/// Makes a pattern of a mask; `end` is what stands at its end.
fn pattern<'a>(text: &'a [u8], start: Start, host: &[u8], end: &str) -> Result<Target<'a>, NoRule> {
    let (Ok(written), true) = (str::from_utf8(text), is_plain(host)) else {
        return Err(NoRule::Unusable(Unusable::new(text, "not a name with wildcards", "")));
    };
    let mut regex = String::from(match start {
        Start::Label => r"^(.*\.)?",
        Start::Name => "^",
        Start::Within => "",
    });
    for &octet in host {
        match octet {
            b'*' => regex.push_str(".*"),
            b'.' => regex.push_str(r"\."),
            _ => regex.push(char::from(octet)),
        }
    }
    regex.push_str(end);
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
        each(if is_own_name(word) { Item::Skipped(Skip::OwnName) } else { line::item(word, rule) });
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
    mark.and_then(follows).is_some_and(|octet| !octet.is_ascii_whitespace() && octet != b'#')
}

/// Whether `wanted` stands in `text`.
fn has(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|found| found == wanted)
}
