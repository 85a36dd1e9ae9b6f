//! What one line of a list comes to, whatever its format.

use std::borrow::Cow;

use crate::name::Name;
use crate::orders::names::{self, Reason, Refused};
use crate::policy::MatchKind;

/// What a line, or a word of it, comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    /// A rule.
    Rule(Rule<'a>),
    /// A rule that takes this other one back, wherever that stands (`$badfilter`).
    Off(Rule<'a>),
    /// A line that should have been a rule and cannot be used.
    Unusable(Unusable),
    /// A rule that is none for a resolver.
    Skipped(Skip),
}

/// Why a line makes no rule.
#[derive(Clone, Debug, PartialEq)]
pub enum NoRule {
    /// It cannot be used.
    Unusable(Unusable),
    /// It is none for a resolver.
    Skipped(Skip),
}

impl From<NoRule> for Item<'_> {
    fn from(none: NoRule) -> Self {
        match none {
            NoRule::Unusable(why) => Item::Unusable(why),
            NoRule::Skipped(skip) => Item::Skipped(skip),
        }
    }
}

/// A rule of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule<'a> {
    /// Whom it is about.
    pub target: Target<'a>,
    /// Whether it spares names instead of capturing them.
    pub spares: bool,
    /// Whether only an important exception spares from it (`$important`).
    pub important: bool,
    /// Whether something that limits it was left out, since a resolver cannot honour it: so of exceptions only, which then
    /// spare more than they say.
    pub widened: bool,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every target is a name, and a box each would cost an allocation a line"
)]
pub enum Target<'a> {
    /// A name and how it matches; none if it stands there bare.
    Name(Name, Option<MatchKind>),
    /// A pattern.
    Pattern(Pattern<'a>),
}

/// A pattern that names are held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern<'a> {
    /// As the list has it.
    pub written: Cow<'a, str>,
    /// The same as a regular expression.
    pub regex: Cow<'a, str>,
}

/// A line that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What was written, cut to a readable length.
    pub word: String,
    /// What is wrong with it.
    pub why: Cow<'static, str>,
    /// What to do about it, empty if nothing helps.
    pub hint: &'static str,
}

/// Why a line of a list is passed over: it is right, and not for a resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// It hides parts of pages.
    Cosmetic,
    /// It is about parts of URLs, not about names.
    Url,
    /// An exception from what a resolver does not do: it spares no name.
    Beside,
    /// A name of the machine itself.
    OwnName,
    /// Another line takes it back.
    TakenBack,
}

impl Skip {
    /// Every reason.
    pub const ALL: [Skip; 5] = [Skip::Cosmetic, Skip::Url, Skip::Beside, Skip::OwnName, Skip::TakenBack];

    /// The reason in words, as what was skipped.
    pub fn as_str(self) -> &'static str {
        match self {
            Skip::Cosmetic => "cosmetic rules",
            Skip::Url => "rules about parts of URLs",
            Skip::Beside => "exceptions from what only browsers do",
            Skip::OwnName => "names of the machine itself",
            Skip::TakenBack => "rules that $badfilter takes back",
        }
    }
}

impl<'a> Rule<'a> {
    /// A rule that captures a name.
    pub fn name(name: Name, kind: impl Into<Option<MatchKind>>) -> Rule<'a> {
        Rule::of(Target::Name(name, kind.into()))
    }

    /// A rule that captures what matches a pattern.
    pub fn pattern(written: impl Into<Cow<'a, str>>, regex: impl Into<Cow<'a, str>>) -> Rule<'a> {
        let pattern = Pattern { written: written.into(), regex: regex.into() };
        Rule::of(Target::Pattern(pattern))
    }

    /// A plain rule that captures.
    pub fn of(target: Target<'a>) -> Rule<'a> {
        Rule { target, spares: false, important: false, widened: false }
    }
}

impl Unusable {
    /// A line that cannot be used.
    pub fn new(word: &[u8], why: impl Into<Cow<'static, str>>, hint: &'static str) -> Unusable {
        Unusable { word: names::shown(word), why: why.into(), hint }
    }
}

impl From<Refused> for Unusable {
    fn from(refused: Refused) -> Unusable {
        let hint = match refused.reason {
            Reason::Wildcard => "format = \"wildcard\" reads *.name",
            Reason::Adblock => "format = \"adblock\" reads it",
            Reason::Dnsmasq => "format = \"dnsmasq\" reads it",
            Reason::ZoneFile => "format = \"rpz\" reads response policy zones",
            _ => refused.hint(),
        };
        Unusable { why: refused.reason.to_string().into(), word: refused.word, hint }
    }
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\": {}", self.word, self.why)
    }
}

/// A name, or why it is none, as an item.
pub fn item<'a>(word: &[u8], rule: impl FnOnce(Name) -> Rule<'a>) -> Item<'a> {
    match names::name_from_octets(word) {
        Ok(name) => Item::Rule(rule(name)),
        Err(refused) => Item::Unusable(refused.into()),
    }
}

/// A pattern between slashes, as lists of names hold it among them; none of what is no such line. A path has slashes within.
pub fn delimited(text: &[u8]) -> Option<Item<'_>> {
    let inner = text.strip_prefix(b"/")?.strip_suffix(b"/")?;
    if inner.is_empty() || inner.contains(&b'/') {
        return None;
    }
    Some(pattern(text, inner))
}

/// What a line among names is that is none of them: a pattern between slashes, or one without, which is refused: that it was
/// meant as a pattern is a guess.
pub fn among_names(text: &[u8]) -> Option<Item<'_>> {
    if let Some(pattern) = delimited(text) {
        return Some(pattern);
    }
    // With a backslash in it nearly anything is a name by RFC 1035 §5.1.
    let odd = |octet: &u8| b"^$*+?()[]{}|".contains(octet);
    (text.contains(&b'\\') && text.iter().any(odd)).then(|| {
        let hint = "among names a pattern stands between slashes; format = \"regex\" reads it without";
        Item::Unusable(Unusable::new(text, "looks like a pattern", hint))
    })
}

/// A pattern of a list, as it is written there and without what stands around it, as an item.
pub fn pattern<'a>(written: &'a [u8], regex: &'a [u8]) -> Item<'a> {
    match (str::from_utf8(written), str::from_utf8(regex)) {
        (Ok(_), Ok("")) => Item::Unusable(Unusable::new(written, "an empty pattern", "")),
        (Ok(written), Ok(regex)) => Item::Rule(Rule::pattern(written, regex)),
        _ => Item::Unusable(Unusable::new(written, "not UTF-8", "save the file as UTF-8")),
    }
}

/// The lines of a list with their numbers from 1, white space around them and empty ones taken away.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    /// What has not been read.
    rest: &'a [u8],
    /// The line last taken.
    line: u32,
}

impl<'a> Lines<'a> {
    /// Of octets that need not be UTF-8; a byte order mark is skipped.
    pub fn new(list: &'a [u8]) -> Lines<'a> {
        Lines { rest: list.strip_prefix(b"\xef\xbb\xbf").unwrap_or(list), line: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<(u32, &'a [u8])> {
        while !self.rest.is_empty() {
            let end = self.rest.iter().position(|&octet| octet == b'\n').unwrap_or(self.rest.len());
            let (line, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            self.line = self.line.saturating_add(1);
            let line = line.trim_ascii();
            if !line.is_empty() {
                return Some((self.line, line));
            }
        }
        None
    }
}

/// A line without the comment that a `#` at its start or behind white space begins.
pub fn without_comment(line: &[u8]) -> &[u8] {
    let starts =
        |at: usize| at.checked_sub(1).and_then(|before| line.get(before)).is_none_or(u8::is_ascii_whitespace);
    let mut hashes = line.iter().enumerate().filter(|&(_, &octet)| octet == b'#').map(|(at, _)| at);
    match hashes.find(|&at| starts(at)) {
        Some(at) => line.get(..at).unwrap_or(line).trim_ascii_end(),
        None => line,
    }
}
