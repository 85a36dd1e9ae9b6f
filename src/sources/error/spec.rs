//! What is wrong with what is said of a source: whoever says it can mend it.

use std::fmt;
use std::time::Duration;

/// Why what is said of a source cannot be used. Each says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecError {
    /// It cannot be called so.
    Name {
        /// What it is called.
        name: String,
        /// Octets that a name may have.
        longest: usize,
    },
    /// It would be refreshed too often.
    TooOften {
        /// The shortest interval.
        shortest: Duration,
    },
    /// It would be refreshed too seldom.
    TooSeldom {
        /// The longest interval.
        longest: Duration,
    },
    /// It would be tried again too often, or too late.
    Retries {
        /// Tries after the first.
        most: u32,
        /// The longest pause before the first of them.
        longest: Duration,
    },
    /// How far it may shrink is no percentage.
    NoPercentage,
    /// A file here is to be vouched for.
    VouchedFile,
    /// There is a signature, and no key to check it by.
    SignatureWithoutKey,
    /// A limit is nothing.
    NoLimit,
    /// It is nowhere.
    NoLocation,
    /// What has `://` in it is no URL.
    NoUrl {
        /// What was written.
        text: String,
        /// Why it is none.
        error: String,
    },
    /// It is a file, written as a URL; its path.
    FileUrl(String),
    /// Nothing is fetched by this scheme.
    Scheme(String),
    /// The URL holds a password or whose it is.
    Password,
    /// This is no digest.
    NoDigest(String),
    /// This is no public key.
    NoKey(String),
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpecError::Name { name, longest } => write!(
                f,
                "{name:?} cannot be a source's name: use letters, digits, `-`, `_` and `.`, up to {longest}, the first no dot"
            ),
            SpecError::TooOften { shortest } => {
                write!(f, "it would be refreshed more often than every {} s", shortest.as_secs())
            }
            SpecError::TooSeldom { longest } => {
                write!(f, "it would be refreshed less often than every {} s", longest.as_secs())
            }
            SpecError::Retries { most, longest } => {
                write!(f, "retries are at most {most}, the first after {} s at most", longest.as_secs())
            }
            SpecError::NoPercentage => f.write_str("max_shrink is a percentage: 0 to 100"),
            SpecError::VouchedFile => {
                f.write_str("sha256 and minisign are for downloads; who may write a file here may write both")
            }
            SpecError::SignatureWithoutKey => {
                f.write_str("signature is given without minisign, the key to check it by")
            }
            SpecError::NoLimit => f.write_str("a limit of nothing lets nothing in"),
            SpecError::NoLocation => f.write_str("a source is a file, a folder or a URL; this is empty"),
            SpecError::NoUrl { text, error } => write!(f, "{text:?} is no URL: {error}"),
            SpecError::FileUrl(path) => write!(f, "write a file as a path: {path}"),
            SpecError::Scheme(scheme) => {
                write!(f, "{scheme}:// is not fetched; there are http:// and https://")
            }
            SpecError::Password => {
                f.write_str("a password in a URL would end up in logs; lists are fetched without one")
            }
            SpecError::NoDigest(text) => {
                write!(f, "{text:?} is no SHA-256 digest: it has 64 hexadecimal digits, as sha256sum prints")
            }
            SpecError::NoKey(line) => {
                write!(f, "{line:?} is no minisign public key: it is the line that starts with RW")
            }
        }
    }
}

impl std::error::Error for SpecError {}
