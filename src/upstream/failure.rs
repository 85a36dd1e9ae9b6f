//! What went wrong with one try, for programs; its one text is here too.

use std::fmt;
use std::io;

use rustls::CertificateError;

/// Why one try of one server brought no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No reply in time.
    TimedOut,
    /// Nobody listens there.
    Refused,
    /// No way leads there.
    Unreachable,
    /// Its host's addresses are not known.
    Nowhere(Nowhere),
    /// The connection ended before the reply came.
    Closed,
    /// Something else the system said, in its words.
    Failed(String),
    /// A reply to something else, where that cannot be left aside.
    WrongReply,
    /// Its reply, in another case than it was asked in: this one, which may be somebody's guess.
    WrongCase(Vec<u8>),
    /// Its reply, without the cookie that it has to show.
    WrongCookie,
    /// Its reply ends before its records do, or is otherwise none that can be read.
    Unreadable,
    /// It did not prove who it is, and was asked nothing.
    Certificate(BadCertificate),
    /// TLS could not be agreed on, or broke, for another reason, in its own words.
    Tls(String),
    /// What it said over HTTP is no answer.
    Http(BadHttp),
    /// All streams are full, or the system grants no more sockets: our own doing, and nothing was asked.
    Busy,
}

/// Why a server was not connected to, by whichever type that is told.
pub(super) trait Trouble: From<io::Error> + Send + 'static {
    /// Whether somebody is there who did not prove to be the server.
    fn is_of_certificate(&self) -> bool;
}

/// What is wrong with a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadCertificate {
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// It is for others than the one that is asked.
    OtherName,
    /// No authority that is trusted signed it: another one did, or it is signed by itself.
    UnknownIssuer,
    /// It is one that signs others; many that are signed by themselves are.
    Authority,
    /// Its key is none of those that are pinned.
    OtherKey,
    /// None of the certificates that are named is in its chain.
    OtherChain,
    /// Something else, in the words of who verifies.
    Unusable(String),
}

/// What our own verifier says where none of the certificates that are named is in a chain (`tls.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OtherChain;

/// Why the addresses of a server's host are not known, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nowhere(pub(super) String);

/// What a server said over HTTP that is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHttp {
    /// It does not speak the version of HTTP that it is to be asked in, which has this name in ALPN.
    OtherVersion(&'static str),
    /// This status, which is none of success.
    Status(u16),
    /// This status, which sends us elsewhere.
    Redirect(u16),
    /// A body that is said to be something else than a message.
    MediaType,
    /// A body longer than a message.
    TooLong,
}

impl Failure {
    /// Whether the server, or the network before it, said no; one that was merely silent said nothing.
    pub(super) fn is_said(&self) -> bool {
        !matches!(self, Failure::TimedOut | Failure::Busy)
    }
}

impl Failure {
    /// Whether it is so whatever is asked: nobody can bring it about by what they have us ask.
    pub(super) fn is_sure(&self) -> bool {
        match self {
            Failure::Refused
            | Failure::Unreachable
            | Failure::Failed(_)
            | Failure::Certificate(_)
            | Failure::Tls(_) => true,
            Failure::TimedOut
            | Failure::Closed
            | Failure::WrongReply
            | Failure::WrongCase(_)
            | Failure::WrongCookie
            | Failure::Unreadable
            // Whoever is asked for its addresses may be kept from it, and pages differ by what is asked.
            | Failure::Nowhere(_)
            | Failure::Http(_)
            | Failure::Busy => false,
        }
    }

    /// Whether it says that nobody is there now, in the system's word: nothing that was sent has been heard by a server.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Failure::Refused | Failure::Unreachable)
    }

    /// Whether it may say no more than that a connection was closed, or could not be had: another one may do better.
    pub(super) fn is_closing(&self) -> bool {
        let was_answered = matches!(
            self,
            Failure::WrongReply
                | Failure::WrongCase(_)
                | Failure::WrongCookie
                | Failure::Unreadable
                | Failure::Http(_)
        );
        self.is_said() && !was_answered
    }
}

impl Trouble for Failure {
    fn is_of_certificate(&self) -> bool {
        matches!(self, Failure::Certificate(_))
    }
}

impl Trouble for io::Error {
    fn is_of_certificate(&self) -> bool {
        let inner = self.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        // Neither says anything of the server (socket(2)).
        if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
            return Failure::Busy;
        }
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Failure::from(error);
        }
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<BadHttp>()) {
            return Failure::Http(*error);
        }
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Nowhere>()) {
            return Failure::Nowhere(error.clone());
        }
        match error.kind() {
            io::ErrorKind::TimedOut => Failure::TimedOut,
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Failure::Unreachable,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WriteZero
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted => Failure::Closed,
            _ => Failure::Failed(error.to_string()),
        }
    }
}

impl From<BadHttp> for Failure {
    fn from(error: BadHttp) -> Failure {
        Failure::Http(error)
    }
}

impl From<&rustls::Error> for Failure {
    fn from(error: &rustls::Error) -> Failure {
        match error {
            rustls::Error::InvalidCertificate(error) => Failure::Certificate(error.into()),
            // "received fatal alert: ..." and the like.
            other => Failure::Tls(other.to_string()),
        }
    }
}

impl From<&CertificateError> for BadCertificate {
    fn from(error: &CertificateError) -> BadCertificate {
        use CertificateError as Said;
        match error {
            Said::Expired | Said::ExpiredContext { .. } => BadCertificate::Expired,
            Said::NotValidYet | Said::NotValidYetContext { .. } => BadCertificate::NotYetValid,
            Said::NotValidForName | Said::NotValidForNameContext { .. } => BadCertificate::OtherName,
            // A signature is wrong where an authority of the same name has another key.
            Said::UnknownIssuer | Said::BadSignature => BadCertificate::UnknownIssuer,
            // Only our own verifier says so (`tls.rs`).
            Said::ApplicationVerificationFailure => BadCertificate::OtherKey,
            Said::Other(other) if other.0.is::<OtherChain>() => BadCertificate::OtherChain,
            // webpki's word for it, for which rustls has none.
            Said::Other(other) if other.to_string() == "CaUsedAsEndEntity" => BadCertificate::Authority,
            other => BadCertificate::Unusable(other.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    /// Words that follow the server's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::TimedOut => f.write_str("did not answer in time"),
            Failure::Refused => f.write_str("refused the connection"),
            Failure::Unreachable => f.write_str("is unreachable"),
            Failure::Nowhere(why) => write!(f, "has a host whose address is not found ({why})"),
            Failure::Closed => f.write_str("closed the connection"),
            Failure::Failed(what) => write!(f, "failed ({what})"),
            Failure::WrongCase(_) => f.write_str("changed the case of the question"),
            Failure::WrongCookie => f.write_str("answered without the DNS cookie that it was to show"),
            Failure::Unreadable => f.write_str("answered what cannot be read"),
            Failure::WrongReply => f.write_str("answered something else"),
            Failure::Certificate(what) => what.fmt(f),
            Failure::Tls(what) => write!(f, "failed in TLS ({what})"),
            Failure::Http(what) => what.fmt(f),
            Failure::Busy => f.write_str("has too many questions under way"),
        }
    }
}

impl fmt::Display for BadCertificate {
    /// Words that follow the server's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadCertificate::Expired => f.write_str("has a certificate that has expired"),
            BadCertificate::NotYetValid => f.write_str("has a certificate that is not valid yet"),
            BadCertificate::OtherName => f.write_str("has a certificate for another name"),
            BadCertificate::UnknownIssuer => {
                f.write_str("has a certificate that no trusted authority signed")
            }
            BadCertificate::Authority => {
                f.write_str("has an authority's certificate, perhaps self-signed, in place of a server's")
            }
            BadCertificate::OtherKey => f.write_str("has a certificate whose key is not a pinned one"),
            BadCertificate::OtherChain => {
                f.write_str("has a certificate that none of those that are named has signed")
            }
            BadCertificate::Unusable(what) => write!(f, "has a certificate that is not accepted ({what})"),
        }
    }
}

impl fmt::Display for OtherChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BadCertificate::OtherChain.fmt(f)
    }
}

impl std::error::Error for OtherChain {}

impl fmt::Display for Nowhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Nowhere {}

impl fmt::Display for BadHttp {
    /// Words that follow the server's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadHttp::OtherVersion(name) => write!(f, "does not speak the HTTP it is asked in ({name})"),
            BadHttp::Status(status) => write!(f, "answered with HTTP status {status}"),
            BadHttp::Redirect(status) => {
                write!(f, "redirects elsewhere (HTTP status {status}), where it is not followed")
            }
            BadHttp::MediaType => f.write_str("answered with what is no DNS message (by its Content-Type)"),
            BadHttp::TooLong => f.write_str("answered with more octets than a DNS message has"),
        }
    }
}

impl std::error::Error for BadHttp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_told_apart() {
        for (errno, expected, said) in [
            // A socket that cannot be had says nothing of the server.
            (libc::EMFILE, Failure::Busy, false),
            (libc::ENFILE, Failure::Busy, false),
            (libc::ETIMEDOUT, Failure::TimedOut, false),
            (libc::ECONNREFUSED, Failure::Refused, true),
            (libc::EHOSTUNREACH, Failure::Unreachable, true),
            (libc::ENETUNREACH, Failure::Unreachable, true),
            (libc::EPIPE, Failure::Closed, true),
            (libc::ECONNRESET, Failure::Closed, true),
            (libc::EACCES, Failure::Failed("Permission denied (os error 13)".to_owned()), true),
        ] {
            let failure = Failure::from(io::Error::from_raw_os_error(errno));
            assert_eq!((&failure, failure.is_said()), (&expected, said), "{errno}");
        }
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::UnexpectedEof)), Failure::Closed);
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_in_words() {
        for (error, expected) in [
            (CertificateError::Expired, "has a certificate that has expired"),
            (CertificateError::NotValidYet, "has a certificate that is not valid yet"),
            (CertificateError::NotValidForName, "has a certificate for another name"),
            (CertificateError::UnknownIssuer, "has a certificate that no trusted authority signed"),
            (CertificateError::BadSignature, "has a certificate that no trusted authority signed"),
            (
                CertificateError::ApplicationVerificationFailure,
                "has a certificate whose key is not a pinned one",
            ),
            (CertificateError::Revoked, "has a certificate that is not accepted ("),
        ] {
            let failure = Failure::from(io::Error::other(rustls::Error::from(error.clone())));
            assert!(failure.to_string().starts_with(expected), "{error:?}: {failure}");
            assert!(failure.is_said());
        }
        let failure = Failure::from(io::Error::other(rustls::Error::HandshakeNotComplete));
        assert!(failure.to_string().starts_with("failed in TLS ("), "{failure}");
    }
}
