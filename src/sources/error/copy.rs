//! What is wrong with what came: its publisher can mend it, or whoever says what is to be taken.

use std::borrow::Cow;
use std::fmt;

use super::size;
use crate::orders::time;
use crate::time::UnixSeconds;

/// Why a packed file cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackedError {
    /// It is damaged; how.
    Damaged(String),
    /// Its directory would take too much memory.
    TooManyMembers {
        /// Members that a zip may have.
        most: usize,
    },
    /// It unpacks to more than any list does.
    Bomb {
        /// Octets served.
        served: u64,
        /// Times as many that are unpacked at most.
        ratio: u64,
    },
    /// Unpacked it is packed.
    Twice,
    /// It is packed in a way that is not unpacked here; which.
    Foreign(&'static str),
    /// It is a zip of so many files, and not of one.
    NotOneFile(usize),
}

/// Why what came is not taken for the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListError {
    /// There is nothing in it.
    Empty,
    /// It is a page for people.
    WebPage,
    /// There is what no text has.
    NotText,
    /// It is larger than may be, as served or unpacked.
    TooLarge {
        /// Octets that may be.
        most: u64,
    },
    /// It hashes to something else than it must.
    OtherDigest {
        /// What it hashes to, as served.
        served: String,
        /// What it must hash to.
        pinned: String,
    },
    /// Who knows the format cannot use it; why, in words for people.
    Unusable(String),
    /// It has too few entries.
    TooFew {
        /// Those it has.
        entries: u64,
        /// Those it must have.
        least: u64,
    },
    /// It has too few entries beside the last good copy.
    Shrunk {
        /// The source.
        name: String,
        /// Those it has.
        entries: u64,
        /// Those of the last good copy.
        before: u64,
    },
}

/// Why what came is not taken for what the key's owner published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// What should be the signature is none.
    NoMinisign,
    /// It is somebody else's.
    OtherKey,
    /// It is not of this file.
    Wrong,
    /// An older version was signed.
    Older {
        /// The source.
        name: String,
        /// When this one was signed, if that is said.
        signed: Option<UnixSeconds>,
        /// When one was signed that was taken before.
        before: UnixSeconds,
    },
}

impl PackedError {
    /// What to do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            PackedError::Damaged(_) | PackedError::TooManyMembers { .. } => {
                "the server has a damaged file; it may be mended at the next refresh"
            }
            PackedError::Bomb { .. } => "it looks like an attack; if it is none, have it served unpacked",
            PackedError::Twice => "have it served packed once",
            PackedError::Foreign(_) => "take it as gzip, zstd or zip, or unpacked",
            PackedError::NotOneFile(_) => "take the list itself, or a zip of it alone",
        }
    }
}

impl fmt::Display for PackedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackedError::Damaged(how) => write!(f, "it is packed and cannot be unpacked: {how}"),
            PackedError::TooManyMembers { most } => {
                write!(f, "it is packed and cannot be unpacked: it has more than {most} files")
            }
            PackedError::Bomb { served, ratio } => {
                let served = size(*served);
                write!(f, "{served} unpack to more than {ratio} times as much, as no list does")
            }
            PackedError::Twice => f.write_str("it is packed twice"),
            PackedError::Foreign(name) => write!(f, "it is packed with {name}, which is not unpacked here"),
            PackedError::NotOneFile(files) => {
                write!(f, "it is a zip of {files} files, so that nobody can say which is the list")
            }
        }
    }
}

impl ListError {
    /// What to do about it.
    pub(super) fn hint(&self) -> Cow<'static, str> {
        let hint = match self {
            ListError::Empty => "look at the address in a browser",
            ListError::WebPage => {
                "the list has moved, or a login or consent page is in between: look at the address in a browser"
            }
            ListError::NotText => "take it as UTF-8, unpacked or as gzip, zstd or zip",
            ListError::TooLarge { .. } => "if that is right, raise the source's max_size",
            ListError::OtherDigest { .. } => {
                "if the list has rightly changed, change sha256; else somebody has tampered with it"
            }
            ListError::Unusable(_) => "look at the address in a browser, and check the source's format",
            ListError::TooFew { .. } => {
                "look at the address in a browser; if that is right, lower the source's min_entries"
            }
            ListError::Shrunk { name, .. } => {
                return format!(
                    "if that is right, take it once with `sinkscope lists refresh {name} --allow-shrink`"
                )
                .into();
            }
        };
        hint.into()
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListError::Empty => f.write_str("it is empty"),
            ListError::WebPage => f.write_str("a web page came instead of a list"),
            ListError::NotText => f.write_str("it is not text"),
            ListError::TooLarge { most } => write!(f, "it is larger than {}", size(*most)),
            ListError::OtherDigest { served, pinned } => {
                write!(f, "its SHA-256 is {served}, not the {pinned} that the source must have")
            }
            ListError::Unusable(why) => write!(f, "it is no list that can be used: {why}"),
            ListError::TooFew { entries, least } => {
                write!(f, "it has {entries} entries, and must have {least} at least")
            }
            ListError::Shrunk { entries, before, .. } => {
                write!(f, "it has {entries} entries where the last good copy has {before}")
            }
        }
    }
}

impl SignatureError {
    /// What to do about it.
    pub(super) fn hint(&self) -> Cow<'static, str> {
        match self {
            SignatureError::NoMinisign => "say where it is: signature = \"https://...\"".into(),
            SignatureError::OtherKey | SignatureError::Wrong => {
                "if the list has a new key, change minisign; else somebody has tampered with it".into()
            }
            SignatureError::Older { name, .. } => format!(
                "an older version is being served: ask its publisher; if that is meant, remove lists/{name}.json from the \
                 state folder while the server is down"
            )
            .into(),
        }
    }
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignatureError::NoMinisign => f.write_str("its signature is no minisign signature"),
            SignatureError::OtherKey => f.write_str("it is signed by another key than the source's"),
            SignatureError::Wrong => f.write_str("its signature is wrong"),
            SignatureError::Older { signed, before, .. } => {
                match signed {
                    Some(signed) => write!(f, "it was signed at {}", time::show(*signed))?,
                    None => f.write_str("its signature does not say when it was made")?,
                }
                write!(f, "; a version signed at {} was taken before", time::show(*before))
            }
        }
    }
}
