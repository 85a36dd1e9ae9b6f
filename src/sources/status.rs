//! How sources stand, for machines and for eyes.

use serde::{Deserialize, Serialize};

use super::copies::Failure;
use crate::plain;
use crate::time::UnixSeconds;

/// Characters of an error in the table; `--json` has all of it.
const MAX_ERROR_LEN: usize = 100;
/// The table's columns.
const COLUMNS: [&str; 6] = ["NAME", "STATE", "AGE", "ENTRIES", "REFUSED", "LAST-ERROR"];
/// Whether a column is of numbers, which stand at its right.
const IS_NUMBER: [bool; 6] = [false, false, true, true, true, false];

/// How a source stands, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// The last refresh went well, and is not long ago.
    Fresh,
    /// The last refresh went well, but the next is overdue by more than a tenth of the interval.
    Stale,
    /// The last refresh failed; the last good copy serves.
    Failing,
    /// Nothing good has come yet.
    Never,
}

/// How a source stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// What it is called.
    pub name: String,
    /// Where it is from: a path or a URL.
    pub location: String,
    /// In a word.
    pub state: SourceState,
    /// Seconds since it was last known to be the latest; none if it never was.
    pub age_s: Option<u64>,
    /// Entries of the copy that serves.
    pub entries: u64,
    /// Lines that the loader refused.
    pub refused: u64,
    /// Octets of the copy, unpacked.
    pub octets: u64,
    /// When the copy was taken or, of a file, last seen to change, in Unix seconds.
    pub changed_at: Option<UnixSeconds>,
    /// When it was last known to be the latest, in Unix seconds.
    pub checked_at: Option<UnixSeconds>,
    /// When it is due again, in Unix seconds.
    pub due_at: Option<UnixSeconds>,
    /// Refreshes that failed since one went well.
    pub failures: u32,
    /// Why the last of them failed.
    pub last_error: Option<Failure>,
}

impl SourceState {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            SourceState::Fresh => "fresh",
            SourceState::Stale => "stale",
            SourceState::Failing => "failing",
            SourceState::Never => "never",
        }
    }
}

/// A table for eyes: a line of headings, and a line for each source.
pub fn table(sources: &[SourceStatus]) -> String {
    let rows: Vec<[String; 6]> =
        std::iter::once(COLUMNS.map(str::to_owned)).chain(sources.iter().map(row)).collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).zip(IS_NUMBER).map(|((cell, width), is_number)| {
            if is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A source's line.
fn row(source: &SourceStatus) -> [String; 6] {
    let error = source.last_error.as_ref().map_or("-", |failure| failure.message.as_str());
    [
        source.name.clone(),
        source.state.word().to_owned(),
        source.age_s.map_or_else(|| "-".to_owned(), age),
        source.entries.to_string(),
        source.refused.to_string(),
        on_one_line(error, MAX_ERROR_LEN),
    ]
}

/// A time for eyes, in its two largest units.
fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// A text on one line of at most so many characters: errors may hold what servers said.
pub(super) fn on_one_line(text: &str, most: usize) -> String {
    let line: String = text.chars().map(|c| if plain::is_plain(c) { c } else { ' ' }).collect();
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source's status with what the table shows.
    fn status(name: &str, state: SourceState, age_s: Option<u64>, entries: u64, error: &str) -> SourceStatus {
        let failure = |message: &str| Failure { at: 0, message: message.to_owned(), hint: String::new() };
        SourceStatus {
            name: name.to_owned(),
            location: "https://lists.example/".to_owned(),
            state,
            age_s,
            entries,
            refused: entries / 1000,
            octets: 0,
            changed_at: None,
            checked_at: None,
            due_at: None,
            failures: 0,
            last_error: (!error.is_empty()).then(|| failure(error)),
        }
    }

    #[test]
    fn a_table() {
        let long = "é".repeat(101);
        let sources = [
            status("ads", SourceState::Fresh, Some(59), 123_456, ""),
            status(
                "malware-feed",
                SourceState::Failing,
                Some(90_000),
                7,
                "the server said 500\r\n\u{1b}[31mred",
            ),
            status("x", SourceState::Never, None, 0, &long),
            status("old", SourceState::Stale, Some(3_660), 20, ""),
        ];
        let expected = format!(
            "NAME          STATE      AGE  ENTRIES  REFUSED  LAST-ERROR\n\
             ads           fresh      59s   123456      123  -\n\
             malware-feed  failing  1d01h        7        0  the server said 500   [31mred\n\
             x             never        -        0        0  {}...\n\
             old           stale    1h01m       20        0  -\n",
            "é".repeat(100)
        );
        assert_eq!(table(&sources), expected);
        assert_eq!(table(&[]), "NAME  STATE  AGE  ENTRIES  REFUSED  LAST-ERROR\n");
    }

    #[test]
    fn machines_get_words_too() {
        let value = serde_json::to_value(status("ads", SourceState::Failing, None, 1, "x")).unwrap();
        assert_eq!(value["state"], "failing");
        assert_eq!(value["last_error"]["message"], "x");
    }
}
