//! What is wrong with a zone: the first of it line by line, the rest counted.

use crate::problem::{Problem, Severity};

/// Entries of one zone that are reported one by one, refused and ignored ones each; the rest are counted.
const MAX_REPORTED_LINES: usize = 20;

/// What was found while a zone was read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What is reported, in the order found.
    problems: Vec<Problem>,
    /// Entries refused.
    refused: usize,
    /// Records that mean nothing here.
    ignored: usize,
    /// Whether the zone is refused whole.
    broken: bool,
}

impl Findings {
    /// Refuses one entry; the rest of the zone stands.
    pub(crate) fn refuse(
        &mut self,
        file: &str,
        line: u32,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.refused += 1;
        if self.refused <= MAX_REPORTED_LINES {
            self.problems.push(Problem::error(file, Some(line), message).hint(hint));
        }
    }

    /// Passes over a record that is sound but says nothing here.
    pub(crate) fn ignore(&mut self, file: &str, line: u32, message: impl Into<String>) {
        self.ignored += 1;
        if self.ignored <= MAX_REPORTED_LINES {
            self.problems.push(Problem::warning(file, Some(line), message));
        }
    }

    /// Refuses the zone whole.
    pub(crate) fn break_off(
        &mut self,
        file: &str,
        line: Option<u32>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.broken = true;
        self.problems.push(Problem::error(file, line, message).hint(hint));
    }

    /// Whether the zone is refused whole.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The problems, with what was counted only, and how many entries were refused.
    pub(crate) fn finish(mut self, file: &str) -> (Vec<Problem>, usize) {
        let counted = [
            (self.refused, Severity::Error, "entries are refused"),
            (self.ignored, Severity::Warning, "records are ignored"),
        ];
        for (count, severity, what) in counted {
            if let Some(more) = count.checked_sub(MAX_REPORTED_LINES).filter(|&more| more > 0) {
                let problem = Problem::error(file, None, format!("{more} more {what}"));
                self.problems.push(Problem { severity, ..problem });
            }
        }
        (self.problems, self.refused)
    }
}
