//! Why a source gave no new copy, in words for who can mend it.

mod spec;

use std::fmt;
use std::io;

pub use spec::SpecError;

/// Why a source gave no new copy. The last good one serves on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// What is wrong, one line.
    pub message: String,
    /// What to do about it, one line, empty if nothing but waiting helps.
    pub hint: String,
    /// Whether the same request may do better in a moment.
    pub retryable: bool,
}

impl SourceError {
    /// Something that may pass: the network, a server that is busy.
    pub(super) fn passing(message: impl Into<String>) -> SourceError {
        SourceError { message: message.into(), hint: String::new(), retryable: true }
    }

    /// Something that stays until somebody changes something.
    pub(super) fn lasting(message: impl Into<String>) -> SourceError {
        SourceError { retryable: false, ..SourceError::passing(message) }
    }

    /// The same with advice.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> SourceError {
        self.hint = hint.into();
        self
    }

    /// A copy that could not be written or read here.
    pub(super) fn disk(what: &str, error: &io::Error) -> SourceError {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "let the user that Sinkscope runs as write the state folder",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room where the state folder is"
            }
            _ => "look after the state folder",
        };
        SourceError::lasting(format!("{what}: {error}")).hint(hint)
    }
}

impl fmt::Display for SourceError {
    /// The message, and the hint behind it in parentheses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for SourceError {}

/// Octets for people: `17 octets`, `3 KiB`, `256 MiB`; rounded up, so that a bound never reads smaller than it is.
pub(super) fn size(octets: u64) -> String {
    match octets {
        0..=4096 => format!("{octets} octets"),
        4097..=4_194_304 => format!("{} KiB", octets.div_ceil(1 << 10)),
        _ => format!("{} MiB", octets.div_ceil(1 << 20)),
    }
}
