//! TOML tables read by hand: every problem of a file is found in one pass, each with its line.
//!
//! Deserializing into a struct would stop at the first mistake; an order is worth a full list of them. A key
//! is known because it is asked for: what nobody asked for is unknown.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::time;
use crate::plain;
use crate::problem::Problem;
use crate::time::UnixSeconds;

/// Characters in the longest line of text an order may carry: more is a mistake, or an attack on whoever reads it.
const MAX_TEXT_CHARS: usize = 1000;
/// Syntax errors reported for one file: after a few they are mostly echoes of the first.
const MAX_SYNTAX_ERRORS: usize = 3;
/// How alike (0 to 1, Jaro-Winkler) two words are when one may be meant for the other.
const ALIKE: f64 = 0.7;

/// A file being read: where its lines start, and what is wrong with it so far.
pub(super) struct Source<'t> {
    /// The file as the operator named it.
    file: &'t str,
    /// Offsets of the line ends.
    line_ends: Vec<usize>,
    /// What is wrong so far.
    problems: RefCell<Vec<Problem>>,
    /// Whether one of the problems refuses the whole file.
    broken: Cell<bool>,
}

impl<'t> Source<'t> {
    /// Starts on the file of this name and text.
    pub(super) fn new(file: &'t str, text: &str) -> Source<'t> {
        let line_ends =
            text.bytes().enumerate().filter(|&(_, octet)| octet == b'\n').map(|(at, _)| at).collect();
        Source { file, line_ends, problems: RefCell::default(), broken: Cell::new(false) }
    }

    /// The file's name.
    pub(super) fn file(&self) -> &'t str {
        self.file
    }

    /// The line, from 1, of the octet at `offset`.
    pub(super) fn line(&self, offset: usize) -> u32 {
        let before = self.line_ends.partition_point(|&end| end < offset);
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Whether an error has refused the whole file.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Notes a problem that refuses the whole file.
    pub(super) fn refuse(&self, problem: Problem) {
        self.broken.set(true);
        self.note(problem);
    }

    /// Notes a problem that refuses no more than itself.
    pub(super) fn note(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// An error about what stands at `span`, which refuses the whole file.
    pub(super) fn error(&self, span: &Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.refuse(Problem::error(self.file, Some(self.line(span.start)), message).hint(hint));
    }

    /// A warning about what stands at `span`.
    pub(super) fn warning(&self, span: &Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.note(Problem::warning(self.file, Some(self.line(span.start)), message).hint(hint));
    }

    /// Everything that is wrong, this file's own lines in order and first.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| {
            let own = problem.file == self.file;
            (!own, if own { problem.line } else { None })
        });
        problems
    }
}

/// Parses a document; its syntax errors are noted in `source`.
pub(super) fn parse<'t>(text: &'t str, source: &Source<'_>) -> Option<Spanned<DeTable<'t>>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
        let span = error.span().unwrap_or(0..0);
        let hint =
            if error.message().starts_with("duplicate key") { "" } else { "the file is not valid TOML" };
        source.error(&span, error.message().replace('\n', " "), hint);
    }
    errors.is_empty().then_some(table)
}

#[cfg(test)]
thread_local! {
    /// Every key that tables which were read to the end were asked for, with the table it is of: what is declared is held to that.
    pub(super) static ASKED: RefCell<std::collections::BTreeSet<(&'static str, &'static str)>> = RefCell::default();
}

/// One table and the keys asked for so far.
pub(super) struct Table<'s, 't> {
    /// The file it stands in.
    source: &'s Source<'t>,
    /// Its entries.
    entries: &'s DeTable<'s>,
    /// Where it stands.
    span: Range<usize>,
    /// What it is, for messages: `""` for the file itself.
    what: &'static str,
    /// The keys asked for.
    asked: Vec<&'static str>,
}

impl<'s, 't> Table<'s, 't> {
    /// Reads `entries`, which stand at `span`.
    pub(super) fn new(
        source: &'s Source<'t>,
        entries: &'s DeTable<'s>,
        span: Range<usize>,
        what: &'static str,
    ) -> Self {
        Table { source, entries, span, what, asked: Vec::new() }
    }

    /// Where the table starts.
    pub(super) fn span(&self) -> &Range<usize> {
        &self.span
    }

    /// The value of `key` as it stands.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'s Spanned<DeValue<'s>>> {
        self.asked.push(key);
        self.entries.get(key)
    }

    /// Where the value of `key` stands, or the table if there is none.
    pub(super) fn place(&self, key: &str) -> Range<usize> {
        self.entries.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// One line of text and its place.
    pub(super) fn text(&mut self, key: &'static str) -> Option<(&'s str, Range<usize>)> {
        let value = self.value(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, "text in quotes");
            return None;
        };
        let text = text.trim();
        if text.chars().count() > MAX_TEXT_CHARS {
            self.source.error(&value.span(), format!("{key} is longer than {MAX_TEXT_CHARS} characters"), "");
        }
        // Line ends and tabs become spaces.
        let kept: String = text.chars().filter(|c| !matches!(c, '\n' | '\r' | '\t')).collect();
        if let Some(what) = plain::fault(&kept) {
            let message = format!("{key} holds the control character {what}");
            self.source.error(
                &value.span(),
                message,
                "it would act on the terminal of whoever reads it: take it out",
            );
        }
        Some((text, value.span()))
    }

    /// One line of text, if there is any; line breaks become spaces, since logs and answers carry it.
    pub(super) fn line(&mut self, key: &'static str) -> Option<String> {
        let (text, _) = self.text(key)?;
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        (!line.is_empty()).then_some(line)
    }

    /// One of `words`.
    pub(super) fn word<T: Copy + Display>(&mut self, key: &'static str, words: &[T]) -> Option<T> {
        let (text, span) = self.text(key)?;
        let found = words.iter().copied().find(|word| word.to_string() == text);
        if found.is_none() {
            let known: Vec<String> = words.iter().map(ToString::to_string).collect();
            let hint = match nearest(text, known.iter().map(String::as_str)) {
                Some(nearest) => format!("did you mean \"{nearest}\"? {key} is one of {}", known.join(", ")),
                None => format!("{key} is one of {}", known.join(", ")),
            };
            self.source.error(&span, format!("unknown {key} \"{text}\""), hint);
        }
        found
    }

    /// A truth value, false if there is none.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        let Some(value) = self.value(key) else { return false };
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        flag.unwrap_or(false)
    }

    /// A whole number up to `most`.
    pub(super) fn count(&mut self, key: &'static str, most: u64) -> Option<u64> {
        let value = self.value(key)?;
        let integer = value.get_ref().as_integer();
        let count = integer.and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok());
        if count.is_none_or(|count| count > most) {
            self.wrong_type(key, value, &format!("a whole number from 0 to {most}"));
            return None;
        }
        count
    }

    /// A date or datetime.
    pub(super) fn time(&mut self, key: &'static str) -> Option<UnixSeconds> {
        let value = self.value(key)?;
        match value.get_ref().as_datetime().map(time::from_toml) {
            Some(Ok(at)) => return Some(at),
            Some(Err(why)) => self.source.error(&value.span(), format!("{key}: {why}"), DATE_HINT),
            None => self.wrong_type(key, value, "a date"),
        }
        None
    }

    /// A list of texts with their places; one text stands for a list of one.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<(&'s str, Range<usize>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let single = std::slice::from_ref(value);
        let items = value.get_ref().as_array().map_or(single, |array| array);
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => texts.push((text.trim(), item.span())),
                None => self.wrong_type(key, item, "a list of texts in quotes"),
            }
        }
        texts
    }

    /// A list of tables; one table stands for a list of one.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Table<'s, 't>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let single = std::slice::from_ref(value);
        let items = value.get_ref().as_array().map_or(single, |array| array);
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().as_table() {
                Some(entries) => tables.push(Table::new(self.source, entries, item.span(), key)),
                None => self.wrong_type(key, item, "a table"),
            }
        }
        tables
    }

    /// Ends reading: every key that was not asked for is unknown. `elsewhere` tells where other keys belong.
    pub(super) fn finish(self, elsewhere: &[(&str, &str)]) {
        #[cfg(test)]
        ASKED.with_borrow_mut(|all| all.extend(self.asked.iter().map(|key| (self.what, *key))));
        for (key, _) in self.entries.iter() {
            let word = key.get_ref().as_ref();
            if self.asked.contains(&word) {
                continue;
            }
            let place =
                elsewhere.iter().find(|(known, _)| *known == word).map(|(_, place)| place.to_string());
            let hint = place.or_else(|| {
                nearest(word, self.asked.iter().copied())
                    .map(|nearest| format!("did you mean \"{nearest}\"?"))
            });
            let within = if self.what.is_empty() { String::new() } else { format!(" in [{}]", self.what) };
            let message = format!("unknown key \"{}\"{within}", word.escape_debug());
            self.source.error(&key.span(), message, hint.unwrap_or_default());
        }
    }

    /// Notes that `value` is not what `key` takes.
    pub(super) fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = value.get_ref().type_str();
        let hint = if wanted == "a date" { DATE_HINT } else { "" };
        self.source.error(&value.span(), format!("{key} takes {wanted}, not this {found}"), hint);
    }
}

/// How a date is written.
const DATE_HINT: &str = "write it without quotes: 2014-06-30 or 2014-06-30T12:00:00Z";

/// The known word that `word` was probably meant to be. What is longer than any that is known was not mistyped.
fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > MAX_TEXT_CHARS {
        return None;
    }
    let score = |known: &str| strsim::jaro_winkler(&word.to_lowercase(), known);
    let best = known.map(|known| (score(known), known)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}
