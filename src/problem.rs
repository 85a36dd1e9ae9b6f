//! Something wrong in what an operator wrote: where, what, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plain;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// It works, but look at it.
    Warning,
    /// A line, order or file is refused because of it.
    Error,
}

/// Something wrong in a file, for people to mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as the operator would name it.
    pub file: String,
    /// The line, from 1, if it has one.
    pub line: Option<u32>,
    /// What is wrong, one line.
    pub message: String,
    /// What to do about it, one line, empty if nothing helps.
    pub hint: String,
    /// Everything it is about, for who asks for more; empty when the message says it all.
    pub details: Vec<String>,
}

impl Problem {
    /// A problem that refuses something.
    pub fn error(file: impl Into<String>, line: Option<u32>, message: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Error,
            file: file.into(),
            line,
            message: message.into(),
            hint: String::new(),
            details: Vec::new(),
        }
    }

    /// A problem that refuses nothing.
    pub fn warning(file: impl Into<String>, line: Option<u32>, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::error(file, line, message) }
    }

    /// The same problem with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = hint.into();
        self
    }

    /// The same problem as one that refuses nothing.
    #[must_use]
    pub fn as_warning(self) -> Problem {
        Problem { severity: Severity::Warning, ..self }
    }

    /// Whether it refuses something.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    /// `error: file:line: message`, and the hint on a line of its own. It may quote what is wrong: that is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, "{severity}: {}", plain::escaped(&self.file))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", plain::escaped(&self.message))?;
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", plain::escaped(&self.hint))?;
        }
        Ok(())
    }
}
