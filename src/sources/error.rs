//! Why a source gave no new copy, for programs; its one text is here too, in words for who can mend it.

mod copy;
mod network;
mod spec;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::io;

pub use copy::{ListError, PackedError, SignatureError};
pub use network::{BadRedirect, NetworkError};
pub use spec::SpecError;

/// Why a source gave no new copy. The last good one serves on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// There are more sources than may be.
    TooMany {
        /// How many may be.
        most: usize,
    },
    /// Two sources have one name.
    SameName {
        /// The later one's.
        name: String,
        /// The earlier one's, which may differ in case.
        other: String,
    },
    /// What is said of a source cannot be used.
    Spec {
        /// The source.
        name: String,
        /// What is wrong with it.
        error: SpecError,
    },
    /// A file or folder here cannot be looked at.
    Local(LocalError),
    /// The state folder does not let us work.
    Disk {
        /// What was to be done.
        work: DiskWork,
        /// Of which kind the system's error is.
        kind: io::ErrorKind,
        /// The system's words.
        error: String,
    },
    /// The thread that looks at a file or folder did not come to its end; its error.
    NotLookedAt(String),
    /// The thread that works on a download did not come to its end; its error.
    NotWorkedOn(String),
    /// The server or the way to it.
    Network(NetworkError),
    /// The connection broke with the list half here.
    CutOff {
        /// How it broke.
        error: NetworkError,
        /// Octets that had come.
        octets: u64,
    },
    /// What came cannot be unpacked.
    Packed(PackedError),
    /// What came is not the list, or not all of it.
    List(ListError),
    /// What came is not from who it should be.
    Signature(SignatureError),
    /// The list's signature did not come.
    NoSignature {
        /// The URL it was asked for at.
        place: String,
        /// Why not.
        error: Box<SourceError>,
    },
    /// Each try failed.
    Again {
        /// How the last one did.
        error: Box<SourceError>,
        /// How many there were.
        tries: u32,
    },
}

/// Why a file or folder here cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalError {
    /// There is none.
    NotFound,
    /// We may not.
    Denied,
    /// Something else the system said, in its words.
    Unreadable(String),
    /// It is a socket, a device or the like.
    NeitherFileNorFolder,
}

/// What is done in the state folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskWork {
    /// The folder of copies is opened.
    OpenFolder,
    /// A download is written.
    WriteDownload,
    /// A download is read again.
    ReadDownload,
    /// A download becomes the copy.
    KeepCopy,
}

impl SourceError {
    /// A copy that could not be written or read here.
    pub(super) fn disk(work: DiskWork, error: &io::Error) -> SourceError {
        SourceError::Disk { work, kind: error.kind(), error: error.to_string() }
    }

    /// What is wrong, one line.
    pub fn message(&self) -> String {
        Message(self).to_string()
    }

    /// What to do about it, one line, empty if nothing but waiting helps.
    pub fn hint(&self) -> Cow<'static, str> {
        let hint = match self {
            SourceError::SameName { .. } => "give each a name of its own; case does not count",
            SourceError::Local(error) => error.hint(),
            SourceError::Disk { kind, .. } => match kind {
                io::ErrorKind::PermissionDenied => {
                    "let the user that Sinkscope runs as write the state folder"
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "make room where the state folder is"
                }
                _ => "look after the state folder",
            },
            SourceError::Network(error) | SourceError::CutOff { error, .. } => error.hint(),
            SourceError::Packed(error) => error.hint(),
            SourceError::List(error) => return error.hint(),
            SourceError::Signature(error) => return error.hint(),
            // Whatever is wrong there: the list came, so it is the signature's place that is in question.
            SourceError::NoSignature { .. } => "say where the signature is: signature = \"https://...\"",
            SourceError::Again { error, .. } => return error.hint(),
            // The message says it, or nobody can do anything.
            SourceError::TooMany { .. }
            | SourceError::Spec { .. }
            | SourceError::NotLookedAt(_)
            | SourceError::NotWorkedOn(_) => "",
        };
        hint.into()
    }

    /// Whether the same request may do better in a moment: it was the network or a server that is busy. All else stays until
    /// somebody changes something.
    pub fn may_pass(&self) -> bool {
        match self {
            SourceError::Network(error) | SourceError::CutOff { error, .. } => error.may_pass(),
            SourceError::NoSignature { error, .. } | SourceError::Again { error, .. } => error.may_pass(),
            _ => false,
        }
    }
}

impl fmt::Display for SourceError {
    /// The message, and the hint behind it in parentheses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Message(self).fmt(f)?;
        match &*self.hint() {
            "" => Ok(()),
            hint => write!(f, " ({hint})"),
        }
    }
}

impl std::error::Error for SourceError {}

/// An error without its hint.
struct Message<'a>(&'a SourceError);

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SourceError::TooMany { most } => write!(f, "there are more than {most} sources"),
            SourceError::SameName { name, other } => write!(f, "two sources are called {name} and {other}"),
            SourceError::Spec { name, error } => write!(f, "source {name}: {error}"),
            SourceError::Local(error) => error.fmt(f),
            SourceError::Disk { work, error, .. } => write!(f, "{work}: {error}"),
            SourceError::NotLookedAt(error) => write!(f, "it could not be looked at: {error}"),
            SourceError::NotWorkedOn(error) => write!(f, "the download could not be worked on: {error}"),
            SourceError::Network(error) => error.fmt(f),
            SourceError::CutOff { error, octets } => write!(f, "{error} after {}", size(*octets)),
            SourceError::Packed(error) => error.fmt(f),
            SourceError::List(error) => error.fmt(f),
            SourceError::Signature(error) => error.fmt(f),
            SourceError::NoSignature { place, error } => {
                write!(f, "its signature at {place}: {}", Message(error))
            }
            SourceError::Again { error, tries } => write!(f, "{}, tried {tries} times", Message(error)),
        }
    }
}

impl LocalError {
    /// What to do about it, empty if the message says it.
    fn hint(&self) -> &'static str {
        match self {
            LocalError::NotFound => "check the path",
            LocalError::Denied => "let the user that Sinkscope runs as read it",
            LocalError::Unreadable(_) | LocalError::NeitherFileNorFolder => "",
        }
    }
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalError::NotFound => f.write_str("there is no such file or folder"),
            LocalError::Denied => f.write_str("permission to read it is denied"),
            LocalError::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            LocalError::NeitherFileNorFolder => f.write_str("it is neither a file nor a folder"),
        }
    }
}

impl From<io::Error> for LocalError {
    fn from(error: io::Error) -> LocalError {
        match error.kind() {
            io::ErrorKind::NotFound => LocalError::NotFound,
            io::ErrorKind::PermissionDenied => LocalError::Denied,
            _ => LocalError::Unreadable(error.to_string()),
        }
    }
}

impl fmt::Display for DiskWork {
    /// That it cannot be done.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DiskWork::OpenFolder => "the folder of lists cannot be used",
            DiskWork::WriteDownload => "the download cannot be written",
            DiskWork::ReadDownload => "the download cannot be read back",
            DiskWork::KeepCopy => "the copy cannot be kept",
        })
    }
}

impl From<LocalError> for SourceError {
    fn from(error: LocalError) -> SourceError {
        SourceError::Local(error)
    }
}

impl From<NetworkError> for SourceError {
    fn from(error: NetworkError) -> SourceError {
        SourceError::Network(error)
    }
}

impl From<PackedError> for SourceError {
    fn from(error: PackedError) -> SourceError {
        SourceError::Packed(error)
    }
}

impl From<ListError> for SourceError {
    fn from(error: ListError) -> SourceError {
        SourceError::List(error)
    }
}

impl From<SignatureError> for SourceError {
    fn from(error: SignatureError) -> SourceError {
        SourceError::Signature(error)
    }
}

/// Octets for people: `17 octets`, `3 KiB`, `256 MiB`; rounded up, so that a bound never reads smaller than it is.
pub(super) fn size(octets: u64) -> String {
    match octets {
        0..=4096 => format!("{octets} octets"),
        4097..=4_194_304 => format!("{} KiB", octets.div_ceil(1 << 10)),
        _ => format!("{} MiB", octets.div_ceil(1 << 20)),
    }
}
