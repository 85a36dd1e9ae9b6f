//! Regular expressions compiled as sets: one pass over a name, in time linear in its length, says which of them match.

use std::fmt::{self, Write};

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::possible;
use crate::policy::Name;
use crate::policy::order::Matcher;

/// Octets that one compiled pattern may take: a name is short, and so is what describes one.
const MAX_PATTERN_OCTETS: usize = 256 << 10;
/// Octets that one compiled set may take; patterns that do not fit into one make several.
const MAX_SET_OCTETS: usize = 16 << 20;
/// Sets of one list at most: each is a pass over each name, and together they bound what patterns take of memory.
const MAX_SETS: usize = 16;
/// Patterns of one list at most: each set is asked about each name that no order captures.
pub const MAX_PATTERNS: usize = 10_000;
/// Octets of the longest name as text: each of 255 may need four (`\000`).
const MAX_TEXT: usize = 4 * 255;
/// Names that have nothing in common: a pattern that takes them all takes every name.
const PROBES: [&str; 4] = ["a.test", "www.example.org", "xn--4ca0b-9.example", "0-1-2.4.5.6.home.arpa"];

/// Patterns compiled, and as written.
#[derive(Clone, Debug)]
pub struct PatternSet {
    /// The sets, each with the place of its first pattern.
    sets: Vec<(usize, RegexSet)>,
    /// The patterns as the list has them.
    texts: Vec<String>,
}

/// Checks one pattern; `any` allows one that takes every name.
///
/// # Errors
/// Why it cannot be used, in a line.
pub fn check(regex: &str, any: bool) -> Result<(), String> {
    if !regex.is_ascii() {
        return Err("a pattern with characters that no name holds: names are A-labels (xn--...)".into());
    }
    let compiled: Regex = RegexBuilder::new(regex)
        .unicode(false)
        .case_insensitive(true)
        .size_limit(MAX_PATTERN_OCTETS)
        .build()
        .map_err(|error| explain(&error))?;
    if !possible::matches_a_name(regex) {
        return Err("can match no name".into());
    }
    if !any && PROBES.iter().all(|name| compiled.is_match(name.as_bytes())) {
        return Err("takes every name".into());
    }
    Ok(())
}

/// A pattern's error in a line.
fn explain(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("the pattern takes more than {limit} octets compiled"),
        // The last line says what is wrong; those before draw an arrow.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("not a pattern that can be used: {}", last.trim_start_matches("error: "))
        }
    }
}

impl PatternSet {
    /// Compiles patterns that were checked, each as written and as a regular expression, up to a bound; none if there are
    /// none.
    pub fn new(patterns: Vec<(String, String)>) -> Option<PatternSet> {
        PatternSet::within(MAX_SET_OCTETS, patterns)
    }

    /// The same with sets of at most so many octets.
    pub(super) fn within(most: usize, patterns: Vec<(String, String)>) -> Option<PatternSet> {
        if patterns.is_empty() {
            return None;
        }
        let (mut texts, regexes): (Vec<String>, Vec<String>) = patterns.into_iter().unzip();
        let mut sets = Vec::new();
        let fit = compile(&regexes, 0, most, &mut sets);
        texts.truncate(fit);
        Some(PatternSet { sets, texts })
    }
}

/// Compiles patterns into as few sets as they fit, in their order; gives back the place of the first that does not.
fn compile(regexes: &[String], first: usize, most: usize, sets: &mut Vec<(usize, RegexSet)>) -> usize {
    if sets.len() == MAX_SETS {
        return first;
    }
    let set = RegexSetBuilder::new(regexes).unicode(false).case_insensitive(true).size_limit(most).build();
    match set {
        Ok(set) => {
            sets.push((first, set));
            first + regexes.len()
        }
        Err(_) if regexes.len() > 1 => {
            let (left, right) = regexes.split_at(regexes.len() / 2);
            let fit = compile(left, first, most, sets);
            if fit == first + left.len() { compile(right, fit, most, sets) } else { fit }
        }
        // It compiled alone, with less room than a set has.
        Err(_) => first,
    }
}

impl Matcher for PatternSet {
    fn first_match(&self, name: &Name) -> Option<usize> {
        let text = Text::of(name);
        self.sets.iter().find_map(|(first, set)| {
            // Nearly no name matches, and asking that allocates nothing.
            if !set.is_match(text.octets()) {
                return None;
            }
            set.matches(text.octets()).iter().next().map(|place| first + place)
        })
    }

    fn texts(&self) -> &[String] {
        &self.texts
    }
}

/// A name as text, on the stack.
struct Text {
    octets: [u8; MAX_TEXT],
    len: usize,
}

impl Text {
    /// The name without the trailing dot; the root is empty.
    fn of(name: &Name) -> Text {
        let mut text = Text { octets: [0; MAX_TEXT], len: 0 };
        if !name.is_root() {
            // It holds the longest.
            let _ = write!(text, "{name}");
        }
        text
    }

    /// The text.
    fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = self.len + part.len();
        self.octets.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(part.as_bytes());
        self.len = end;
        Ok(())
    }
}
