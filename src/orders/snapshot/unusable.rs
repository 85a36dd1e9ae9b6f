//! Why a snapshot is not used, and what is done about it.

use std::fmt;

/// The name a snapshot gets that is [bad](Unusable::is_bad): the last one is kept, to be looked at.
pub(super) const BAD_FILE: &str = "orders.snapshot.bad";
/// What is said of one whose octets were altered.
pub(super) const BAD_SUM: &str = "its checksum is wrong";
/// What is said of one whose parts do not add up.
pub(super) const BAD_PARTS: &str = "it is no snapshot, or ends early";

/// Why a snapshot is not used. None of them is an error: the lists say the same.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// There is none.
    Missing,
    /// It cannot be read.
    Unreadable(String),
    /// It is not a snapshot of this format.
    Foreign,
    /// It is not what was written: somebody altered it, or the disk did.
    Corrupt(&'static str),
    /// It may be somebody else's.
    NotOurs(String),
    /// What it was compiled from has changed.
    Stale(String),
}

impl Unusable {
    /// Whether somebody should look at it: it is neither merely old nor missing.
    pub fn is_bad(&self) -> bool {
        matches!(self, Unusable::Corrupt(_) | Unusable::NotOurs(_))
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Missing => f.write_str("there is none"),
            Unusable::Unreadable(why) => f.write_str(why),
            Unusable::Foreign => f.write_str("another version wrote it"),
            Unusable::Corrupt(what) => write!(f, "{what}; it is kept aside as {BAD_FILE}"),
            Unusable::NotOurs(why) => write!(f, "{why}; it is kept aside as {BAD_FILE}"),
            Unusable::Stale(what) => write!(f, "{what} since it was written"),
        }
    }
}
