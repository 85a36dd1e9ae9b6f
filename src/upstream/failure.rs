//! What went wrong with one try, for programs; its one text is here too.

use std::fmt;
use std::io;

/// Why one try of one server brought no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No reply in time.
    TimedOut,
    /// Nobody listens there.
    Refused,
    /// No way leads there.
    Unreachable,
    /// The connection ended before the reply came.
    Closed,
    /// Something else the system said, in its words.
    Failed(String),
    /// A reply to something else, where that cannot be left aside.
    WrongReply,
    /// Its reply, in another case than it was asked in.
    WrongCase,
    /// Its reply ends before its records do, or is otherwise none that can be read.
    Unreadable,
    /// All streams are full, or the system grants no more sockets: our own doing, and nothing was asked.
    Busy,
}

impl Failure {
    /// Whether the server, or the network before it, said no; one that was merely silent said nothing.
    pub(super) fn is_said(&self) -> bool {
        !matches!(self, Failure::TimedOut | Failure::Busy)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        // Neither says anything of the server (socket(2)).
        if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
            return Failure::Busy;
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

impl fmt::Display for Failure {
    /// Words that follow the server's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::TimedOut => f.write_str("did not answer in time"),
            Failure::Refused => f.write_str("refused the connection"),
            Failure::Unreachable => f.write_str("is unreachable"),
            Failure::Closed => f.write_str("closed the connection"),
            Failure::Failed(what) => write!(f, "failed ({what})"),
            Failure::WrongCase => f.write_str("changed the case of the question"),
            Failure::Unreadable => f.write_str("answered what cannot be read"),
            Failure::WrongReply => f.write_str("answered something else"),
            Failure::Busy => f.write_str("has too many questions under way"),
        }
    }
}

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
}
