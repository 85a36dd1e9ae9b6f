//! What servers and the way to them do wrong: it may pass, or the list has another address.

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;

use super::size;

/// Why a server did not send what it was asked for. URLs are left out: who reads it knows which source it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// The host has no address, or nobody told; why.
    HostNotFound(String),
    /// Connecting took too long.
    ConnectTimedOut,
    /// The server could not be connected to; why.
    NotConnected(String),
    /// The server is not who it should be; what is wrong with its certificate.
    Untrusted(String),
    /// It cannot be asked for; why.
    NotAsked(String),
    /// The server leads to where nobody follows.
    Redirect(BadRedirect),
    /// The server said something other than the list.
    Status(StatusCode),
    /// The connection broke; how.
    Broke(String),
    /// The server sends too little.
    Stalled {
        /// How long too little came.
        window: Duration,
        /// Octets in all.
        octets: u64,
    },
    /// One try took too long.
    TookTooLong {
        /// How long it may take.
        limit: Duration,
    },
}

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRedirect {
    /// It gives up what TLS gave.
    GivesUpTls,
    /// It is one of too many.
    TooMany {
        /// How many are followed.
        most: usize,
    },
    /// It leads to where the HTTP client does not go; its words.
    Other(String),
}

impl NetworkError {
    /// What to do about it, empty if nothing but waiting helps.
    pub(in crate::sources) fn hint(&self) -> &'static str {
        match self {
            NetworkError::HostNotFound(_) => {
                "check the name; if no server is to be asked for it, set addresses"
            }
            NetworkError::Untrusted(_) => {
                "somebody is in between, the server is misconfigured, or this machine's clock is wrong"
            }
            NetworkError::Redirect(_) => "use the address that it leads to",
            NetworkError::TookTooLong { .. } => "if the server is just slow, raise the source's time limit",
            NetworkError::Status(status) => match status.as_u16() {
                401 | 403 | 407 => "it does not give the list to everybody: look at the address in a browser",
                404 | 410 => "the list is no longer there: find where it went",
                429 => "it is asked too often: raise the source's refresh",
                _ if self.may_pass() => "",
                _ => "look at the address in a browser",
            },
            NetworkError::ConnectTimedOut
            | NetworkError::NotConnected(_)
            | NetworkError::NotAsked(_)
            | NetworkError::Broke(_)
            | NetworkError::Stalled { .. } => "",
        }
    }

    /// Whether the same request may do better in a moment.
    pub(in crate::sources) fn may_pass(&self) -> bool {
        match self {
            NetworkError::HostNotFound(_)
            | NetworkError::ConnectTimedOut
            | NetworkError::NotConnected(_)
            | NetworkError::Broke(_)
            | NetworkError::Stalled { .. }
            | NetworkError::TookTooLong { .. } => true,
            // RFC 9110 §15.5.9, RFC 8470 §5.2: another time, the same request may do. With 429, RFC 6585 §4, asking again in a
            // second is just what the server does not want.
            NetworkError::Status(status) => matches!(status.as_u16(), 408 | 425 | 500..=599),
            NetworkError::Untrusted(_) | NetworkError::NotAsked(_) | NetworkError::Redirect(_) => false,
        }
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkError::HostNotFound(why) => write!(f, "its host was not found: {why}"),
            NetworkError::ConnectTimedOut => f.write_str("its server could not be connected to in time"),
            NetworkError::NotConnected(why) => write!(f, "its server could not be connected to: {why}"),
            NetworkError::Untrusted(why) => write!(f, "its certificate is not to be trusted: {why}"),
            NetworkError::NotAsked(why) => write!(f, "it cannot be asked for: {why}"),
            NetworkError::Redirect(why) => why.fmt(f),
            NetworkError::Status(status) => write!(f, "the server said {status}"),
            NetworkError::Broke(how) => write!(f, "the connection broke: {how}"),
            NetworkError::Stalled { window, octets } => {
                let (window, octets) = (window.as_secs_f64(), size(*octets));
                write!(f, "it stalled: too little came within {window} s, {octets} in all")
            }
            NetworkError::TookTooLong { limit } => write!(f, "it took longer than {} s", limit.as_secs_f64()),
        }
    }
}

impl fmt::Display for BadRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRedirect::GivesUpTls => {
                f.write_str("it redirects from https:// to http://, which is not followed")
            }
            BadRedirect::TooMany { most } => write!(f, "it redirects more than {most} times"),
            BadRedirect::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for BadRedirect {}
