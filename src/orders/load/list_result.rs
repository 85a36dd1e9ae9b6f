//! What came of lists, and how that is told.

use std::collections::BTreeMap;

use crate::orders::lists::Format;
use crate::orders::lists::line::Skip;
use crate::policy::MatchKind;

/// What came of a list of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ListResult {
    /// Its name.
    pub name: String,
    /// Where it is fetched from; none when it is the operator's own.
    pub url: Option<String>,
    /// Its files; of a folder, each is an order.
    pub files: Vec<ListFileResult>,
}

/// What came of one file of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListFileResult {
    /// The id of its order.
    pub id: String,
    /// The file, as the operator would name it.
    pub file: String,
    /// The format it was read as last; none if it was not read.
    pub format: Option<Format>,
    /// Whether its first lines told the format, and not the settings.
    pub detected: bool,
    /// What bare names on it cover.
    pub kind: Option<MatchKind>,
    /// Entries in force: names and patterns.
    pub entries: usize,
    /// Lines that cannot be used.
    pub refused_lines: usize,
    /// Lines that a resolver has no use for, by reason.
    pub skipped: BTreeMap<Skip, usize>,
    /// Exceptions that spare more than they say.
    pub widened: usize,
    /// Whether it serves as it is, as it once was, or not at all.
    pub state: ListState,
}

/// Which version of a list file is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListState {
    /// The one that was read last.
    Current,
    /// An earlier one: why.
    Old(String),
    /// None: why.
    Refused(String),
    /// None yet: it has not been fetched.
    Awaited,
}

impl ListState {
    /// A word for machines.
    pub fn as_str(&self) -> &'static str {
        match self {
            ListState::Current => "current",
            ListState::Old(_) => "old",
            ListState::Refused(_) => "refused",
            ListState::Awaited => "awaited",
        }
    }

    /// Why it is not the current one, empty if there is nothing to say.
    pub fn why(&self) -> &str {
        match self {
            ListState::Old(why) | ListState::Refused(why) => why,
            ListState::Current | ListState::Awaited => "",
        }
    }
}

impl ListFileResult {
    /// How it was read, in words, with what was assumed: `wildcard by its first lines (*.x takes what is below x, not x)`. Empty
    /// if it was not read.
    pub fn read_as(&self) -> String {
        let Some(format) = self.format else { return String::new() };
        let mut words = format.to_string();
        if self.detected {
            words.push_str(" by its first lines");
        }
        match self.kind {
            Some(kind) if self.detected && format.needs_match() => {
                words.push_str(&format!(" (names are {kind})"));
            }
            Some(MatchKind::Subtree) => {}
            _ if format == Format::Wildcard => words.push_str(" (*.x takes what is below x, not x)"),
            _ => {}
        }
        words
    }

    /// In words, without its name: `adblock, 100 entries, 3 lines refused`.
    pub fn summary(&self) -> String {
        let mut words = Vec::from_iter(Some(self.read_as()).filter(|words| !words.is_empty()));
        let counted =
            |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        words.push(counted(self.entries, "entry", "entries"));
        if self.refused_lines > 0 {
            words.push(counted(self.refused_lines, "line refused", "lines refused"));
        }
        if self.widened > 0 {
            words.push(counted(self.widened, "exception taken wider", "exceptions taken wider"));
        }
        words.extend(self.skipped.iter().map(|(skip, count)| format!("{count} {} skipped", skip.as_str())));
        words.push(match &self.state {
            ListState::Current => "in force".into(),
            ListState::Old(why) => format!("an earlier copy is in force: {why}"),
            ListState::Refused(why) => format!("not in force: {why}"),
            ListState::Awaited => "not fetched yet".into(),
        });
        words.join(", ")
    }
}
