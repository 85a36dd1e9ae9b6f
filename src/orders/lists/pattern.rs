//! Regular expressions compiled into tables: a name is matched by one step of a table for each of its octets.
//!
//! Each [`Table`] is a whole automaton, made while the list is loaded. Engines that make theirs as names come are as fast for
//! ordinary patterns, but patterns can be written, and names asked for, so that they make a state for every octet or give up
//! and step through all patterns side by side: milliseconds a name, for whoever writes a list or asks. A table knows no such
//! case. A pattern whose own table would be too large is refused instead, by its line.
//!
//! Many patterns in one table may multiply its states where each by itself has few: `ad.*x` and `track.*y` must both be
//! remembered once they were seen. What ends with `$`, as all that block lists write with `*` do, is therefore read from the
//! name's end: there those that could still match soon are few. What fits no table together is split into several.

use std::collections::HashSet;
use std::fmt::{self, Write};

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};

use super::possible;
use crate::name::{MAX_NAME_LEN, Name};
use crate::policy::order::Matcher;

/// Octets of the table of one pattern by itself: a name is short, and so is what describes one. What takes less is made in
/// some milliseconds.
const MAX_PATTERN_OCTETS: usize = 256 << 10;
/// Octets of the tables of all patterns of a list, each made by itself to see whether it can be: what has taken so much, tries
/// that failed included, is too much. Bounds the time that a load takes: seconds at worst.
const MAX_TRIED_OCTETS: usize = 128 << 20;
/// What a try counts that failed: it takes several times as long as its octets say, 5 ms as measured.
const FAILED_OCTETS: usize = 2 * MAX_PATTERN_OCTETS;
/// Octets of a table of many patterns.
const MAX_TABLE_OCTETS: usize = 2 << 20;
/// Octets of patterns as written that one table is tried with first: a state of 256 octets for each.
const TABLE_TEXT: usize = 8 << 10;
/// Tables of one list at most, 64 MiB in all. Each is a pass over each name that is not remembered: 255 steps of 3 ns at worst,
/// four times as many for names of octets that are written `\000`. So a list costs a name 25 us at worst, or 100 of those.
const MAX_TABLES: usize = 32;
/// Parts that patterns are split into which fit no table together. Two would try, and fail, more often on the way to the few
/// that do where each multiplies the states of the others.
const PARTS: usize = 4;
/// Patterns of one list at most.
pub const MAX_PATTERNS: usize = 10_000;
/// Octets of the longest name as text: each of 255 may need four (`\000`).
const MAX_TEXT: usize = 4 * 255;
/// Names that have nothing in common: a pattern that takes them all takes every name.
const PROBES: [&str; 4] = ["a.test", "www.example.org", "xn--4ca0b-9.example", "0-1-2.4.5.6.home.arpa"];

/// Patterns compiled, and as written.
#[derive(Clone, Debug)]
pub struct PatternSet {
    tables: Vec<Table>,
    /// The patterns as the list has them.
    texts: Vec<String>,
    /// The same as regular expressions.
    regexes: Vec<String>,
    /// Those that found no room, as the list has them: they multiply the states of others, or are too many.
    pub left_out: Vec<String>,
}

/// An automaton of some patterns.
#[derive(Clone)]
struct Table {
    dfa: dense::DFA<Vec<u32>>,
    side: Side,
    /// The place of each of its patterns among all, ascending.
    places: Vec<usize>,
}

/// Where an automaton begins to read a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// At its first octet.
    Start,
    /// At its last.
    End,
}

/// Checks the patterns of a list, one after the other.
#[derive(Debug, Default)]
pub struct Checker {
    /// Octets of tables that were made or tried.
    tried: usize,
}

impl Checker {
    /// Checks one pattern; `any` allows one that takes every name.
    ///
    /// # Errors
    /// Why it cannot be used, in a line.
    pub fn check(&mut self, regex: &str, any: bool) -> Result<(), String> {
        if !regex.is_ascii() {
            return Err("a pattern with characters that no name holds: names are A-labels (xn--...)".into());
        }
        if let Err(error) = syntax::parse_with(regex, &syntax_config()) {
            // The last line says what is wrong; those before draw an arrow.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            return Err(format!("not a pattern that can be used: {}", last.trim_start_matches("error: ")));
        }
        if self.tried >= MAX_TRIED_OCTETS {
            return Err(format!("the patterns before it take more than {MAX_TRIED_OCTETS} octets compiled"));
        }
        let table = Table::of(side(regex), vec![0], &[regex], MAX_PATTERN_OCTETS);
        self.tried += table.as_ref().map_or(FAILED_OCTETS, Table::octets);
        let table = table
            .ok_or_else(|| format!("the pattern takes more than {MAX_PATTERN_OCTETS} octets compiled"))?;
        if !possible::matches_a_name(regex) {
            return Err("can match no name".into());
        }
        if !any && PROBES.iter().all(|name| table.first_match(name.as_bytes()).is_some()) {
            return Err("takes every name".into());
        }
        Ok(())
    }
}

/// How patterns are read: names are ASCII, in lower case here.
fn syntax_config() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false).case_insensitive(true)
}

/// Patterns as one automaton of steps that may lead to several states; none if it takes more octets.
fn nfa(side: Side, regexes: &[&str], most: usize) -> Option<NFA> {
    let config = thompson::Config::new()
        .reverse(side == Side::End)
        .utf8(false)
        .which_captures(WhichCaptures::None)
        .nfa_size_limit(Some(most));
    NFA::compiler().configure(config).syntax(syntax_config()).build_many(regexes).ok()
}

/// From which side a pattern is read: from the end if it matches there alone.
fn side(regex: &str) -> Side {
    match nfa(Side::End, &[regex], MAX_PATTERN_OCTETS) {
        Some(nfa) if nfa.is_always_start_anchored() => Side::End,
        _ => Side::Start,
    }
}

impl Table {
    /// The table of patterns that stand at these places; none if it takes more octets.
    fn of(side: Side, places: Vec<usize>, regexes: &[&str], most: usize) -> Option<Table> {
        let nfa = nfa(side, regexes, most)?;
        let config = dense::Config::new()
            .match_kind(MatchKind::All)
            .start_kind(StartKind::Unanchored)
            .accelerate(false)
            .dfa_size_limit(Some(most))
            // What states are made of while the table is: patterns that are in many places at a time run into this first.
            .determinize_size_limit(Some(most / 2));
        let dfa = dense::Builder::new().configure(config).build_from_nfa(&nfa).ok()?;
        Some(Table { dfa, side, places })
    }

    /// Octets it takes.
    fn octets(&self) -> usize {
        self.dfa.memory_usage()
    }

    /// The place of the first of its patterns that matches.
    fn first_match(&self, text: &[u8]) -> Option<usize> {
        let input = Input::new(text);
        match self.side {
            Side::Start => self.run(self.dfa.start_state_forward(&input).ok()?, text.iter()),
            Side::End => self.run(self.dfa.start_state_reverse(&input).ok()?, text.iter().rev()),
        }
    }

    /// Goes from a state over all octets; the place of the first pattern that matched anywhere.
    fn run<'t>(&self, mut state: StateID, octets: impl Iterator<Item = &'t u8>) -> Option<usize> {
        let mut first = None;
        for &octet in octets {
            state = self.dfa.next_state(state, octet);
            if self.dfa.is_special_state(state) {
                if self.dfa.is_dead_state(state) {
                    return self.place(first);
                }
                first = self.matched(state, first);
            }
        }
        // A match shows one step late, the last one at the end.
        self.place(self.matched(self.dfa.next_eoi_state(state), first))
    }

    /// The first of the patterns that matched before and that a state says have matched.
    fn matched(&self, state: StateID, before: Option<usize>) -> Option<usize> {
        if !self.dfa.is_match_state(state) {
            return before;
        }
        let here =
            (0..self.dfa.match_len(state)).map(|index| self.dfa.match_pattern(state, index).as_usize());
        here.chain(before).min()
    }

    /// Where one of its patterns stands among all.
    fn place(&self, pattern: Option<usize>) -> Option<usize> {
        self.places.get(pattern?).copied()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} patterns, {:?}, {} octets)", self.places.len(), self.side, self.octets())
    }
}

impl PatternSet {
    /// Compiles patterns that were checked, each as written and as a regular expression, up to a bound.
    pub fn new(patterns: Vec<(String, String)>) -> PatternSet {
        PatternSet::within(MAX_TABLE_OCTETS, MAX_TABLES, patterns)
    }

    /// The same with so many tables of so many octets at most.
    pub(super) fn within(octets: usize, tables: usize, patterns: Vec<(String, String)>) -> PatternSet {
        let mut packer = Packer { octets, room: tables, tables: Vec::new(), left_out: HashSet::new() };
        for side in [Side::End, Side::Start] {
            let mut chunk: Vec<(usize, &str)> = Vec::new();
            let mut len = 0;
            for (place, (_, regex)) in patterns.iter().enumerate() {
                if self::side(regex) != side {
                    continue;
                }
                len += regex.len();
                if len > TABLE_TEXT {
                    packer.pack(side, &std::mem::take(&mut chunk));
                    len = regex.len();
                }
                chunk.push((place, regex));
            }
            packer.pack(side, &chunk);
        }
        let Packer { tables, left_out, .. } = packer;
        // What is left out has no place: texts and places are of those that match.
        let (mut texts, mut regexes) = (Vec::new(), Vec::new());
        let (mut numbers, mut out) = (Vec::with_capacity(patterns.len()), Vec::new());
        for (place, (written, regex)) in patterns.into_iter().enumerate() {
            numbers.push(texts.len());
            if left_out.contains(&place) {
                out.push(written);
            } else {
                texts.push(written);
                regexes.push(regex);
            }
        }
        let number = |place: usize| numbers.get(place).copied().unwrap_or(place);
        let renumbered = |table: Table| Table {
            places: table.places.iter().map(|&place| number(place)).collect(),
            ..table
        };
        PatternSet { tables: tables.into_iter().map(renumbered).collect(), texts, regexes, left_out: out }
    }
}

/// Puts patterns into as few tables as they fit.
struct Packer {
    /// Octets of a table at most.
    octets: usize,
    /// Tables that may still be made.
    room: usize,
    tables: Vec<Table>,
    /// Places of patterns that fit none.
    left_out: HashSet<usize>,
}

impl Packer {
    /// Puts these into one table, or into several if they do not fit.
    fn pack(&mut self, side: Side, patterns: &[(usize, &str)]) {
        if patterns.is_empty() {
            return;
        }
        if self.room == 0 {
            self.left_out.extend(patterns.iter().map(|(place, _)| place));
            return;
        }
        let (places, regexes): (Vec<usize>, Vec<&str>) = patterns.iter().copied().unzip();
        match Table::of(side, places, &regexes, self.octets) {
            Some(table) => {
                self.room -= 1;
                self.tables.push(table);
            }
            None if patterns.len() > 1 => {
                let part = patterns.len().div_ceil(PARTS);
                patterns.chunks(part).for_each(|part| self.pack(side, part));
            }
            None => self.left_out.extend(patterns.iter().map(|(place, _)| place)),
        }
    }
}

impl Matcher for PatternSet {
    fn first_match(&self, name: &Name) -> Option<usize> {
        let text = Text::of(name);
        self.tables.iter().filter_map(|table| table.first_match(text.octets())).min()
    }

    fn texts(&self) -> &[String] {
        &self.texts
    }

    fn sources(&self) -> &[String] {
        &self.regexes
    }

    fn passes(&self) -> usize {
        self.tables.len()
    }
}

/// A name as text, on the stack, without the trailing dot; the root is empty.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack for one look; a box would allocate")]
enum Text {
    /// Of letters, digits, `-` and `_`, which stand for themselves: nearly every name.
    Plain([u8; MAX_NAME_LEN], usize),
    /// Of other octets as well.
    Escaped(Escaped),
}

/// Text of up to four octets for each of a name.
struct Escaped {
    octets: [u8; MAX_TEXT],
    len: usize,
}

impl Text {
    /// The name's text.
    fn of(name: &Name) -> Text {
        let wire = name.as_wire();
        let mut octets = [0; MAX_NAME_LEN];
        // What is between the first length octet and the root's is the text, but for the other length octets.
        let Some(inner) = wire.len().checked_sub(2).and_then(|len| wire.get(1..=len)) else {
            return Text::Plain(octets, 0);
        };
        let text = &mut octets[..inner.len()];
        text.copy_from_slice(inner);
        let mut dots = 0;
        let mut at = usize::from(wire[0]);
        while let Some(octet) = text.get_mut(at) {
            at += 1 + usize::from(*octet);
            *octet = b'.';
            dots += 1;
        }
        // No way out on the way: so many octets are looked at at a time.
        let (mut plain, mut found) = (true, 0_usize);
        for octet in text.iter() {
            let dot = *octet == b'.';
            plain &= octet.is_ascii_alphanumeric() | (*octet == b'-') | (*octet == b'_') | dot;
            found += usize::from(dot);
        }
        // A dot within a label is written otherwise.
        if plain && found == dots {
            return Text::Plain(octets, inner.len());
        }
        let mut escaped = Escaped { octets: [0; MAX_TEXT], len: 0 };
        // It holds the longest.
        let _ = write!(escaped, "{name}");
        Text::Escaped(escaped)
    }

    /// The text.
    fn octets(&self) -> &[u8] {
        let (octets, len) = match self {
            Text::Plain(octets, len) => (&octets[..], *len),
            Text::Escaped(escaped) => (&escaped.octets[..], escaped.len),
        };
        octets.get(..len).unwrap_or_default()
    }
}

impl Write for Escaped {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = self.len + part.len();
        self.octets.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(part.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let filled =
            |label: &str| [label.repeat(63), label.repeat(63), label.repeat(63), label.repeat(61)].join(".");
        let (long, escapes) = (filled("a"), filled("\\255"));
        for text in [
            "a",
            "ad7.track_x.example-1.org",
            "0.1.2.3",
            "a\\.b.example",
            "a\\000b.example",
            "star*.example",
            "-",
            "\\.",
            "\\..\\.",
            &long,
            &escapes,
        ] {
            let name: Name = text.parse().unwrap();
            let read = Text::of(&name);
            assert_eq!(String::from_utf8_lossy(read.octets()), name.to_string(), "{text}");
            assert_eq!(matches!(read, Text::Plain(..)), !text.contains(['\\', '*']), "{text}");
        }
        assert_eq!(Text::of(&Name::ROOT).octets(), b"");
    }
}
