//! How a server stands, as people are told: that it stepped back and why, that it is back, and what its failures were. Nothing here
//! decides anything, and no question is named.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::failure::Failure;
use crate::iana::Rcode;

/// That a server stepped back is logged no more often than this; what is left out is counted.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// How a server stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Failures, in the order of [`Kind::ALL`].
    by_kind: [AtomicU64; Kind::ALL.len()],
    /// Locked where something fails, or comes to an end.
    told: Mutex<Told>,
}

/// What people are told of a server.
#[derive(Debug, Default)]
struct Told {
    /// What it is asked about and for whom, if that is not everything for everybody.
    about: String,
    /// Why it was of no use last, and when that was.
    last: Option<(Why, Instant)>,
    /// Since when it is back, and whether that was logged.
    back: Option<(Instant, bool)>,
    /// When it was last logged that it stepped back.
    said: Option<Instant>,
    /// How often it has stepped back since without a word.
    unsaid: u64,
}

/// What is to be logged.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// It stepped back.
    Back,
    /// It answers again, after so long.
    Up(Duration),
}

/// Why a server was of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It gave no reply.
    Failed(Failure),
    /// Its reply, of this rcode, declines.
    Declined(Rcode),
}

/// Kinds of failures, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Silence.
    Timeout,
    /// Nobody listens.
    Refused,
    /// No way leads there.
    Unreachable,
    /// Its host's addresses are not found.
    NoAddress,
    /// A connection that ended too soon.
    Closed,
    /// What it proved is not who it must be.
    Certificate,
    /// Another fault of TLS.
    Tls,
    /// HTTP that is no answer.
    Http,
    /// A reply that is none, or to something else.
    WrongReply,
    /// A reply that declines.
    Declined,
    /// What else the system said.
    System,
    /// Not asked: all places are taken.
    Busy,
}

impl Kind {
    /// All of them.
    const ALL: [Kind; 12] = [
        Kind::Timeout,
        Kind::Refused,
        Kind::Unreachable,
        Kind::NoAddress,
        Kind::Closed,
        Kind::Certificate,
        Kind::Tls,
        Kind::Http,
        Kind::WrongReply,
        Kind::Declined,
        Kind::System,
        Kind::Busy,
    ];

    /// The kind in a word.
    fn as_str(self) -> &'static str {
        match self {
            Kind::Timeout => "timeout",
            Kind::Refused => "refused",
            Kind::Unreachable => "unreachable",
            Kind::NoAddress => "no-address",
            Kind::Closed => "closed",
            Kind::Certificate => "certificate",
            Kind::Tls => "tls",
            Kind::Http => "http",
            Kind::WrongReply => "wrong-reply",
            Kind::Declined => "declined",
            Kind::System => "system",
            Kind::Busy => "busy",
        }
    }
}

impl From<&Failure> for Kind {
    fn from(failure: &Failure) -> Kind {
        match failure {
            Failure::TimedOut => Kind::Timeout,
            Failure::Refused => Kind::Refused,
            Failure::Unreachable => Kind::Unreachable,
            Failure::Nowhere(_) => Kind::NoAddress,
            Failure::Closed => Kind::Closed,
            Failure::Failed(_) => Kind::System,
            Failure::WrongReply | Failure::WrongCase(_) | Failure::WrongCookie | Failure::Unreadable => {
                Kind::WrongReply
            }
            Failure::Certificate(_) => Kind::Certificate,
            Failure::Tls(_) => Kind::Tls,
            Failure::Http(_) => Kind::Http,
            Failure::Busy => Kind::Busy,
        }
    }
}

impl Standing {
    /// Says what it is asked about and for whom.
    pub(super) fn is_about(&self, about: String) {
        self.told().about = about;
    }

    /// Counts a failure, and keeps it as the last one.
    pub(super) fn failed(&self, failure: &Failure) {
        self.count(failure.into());
        match failure {
            // Our own doing.
            Failure::Busy => {}
            // The reply that comes with it is not kept.
            Failure::WrongCase(_) => self.was_of_no_use(Why::Failed(Failure::WrongCase(Vec::new()))),
            failure => self.was_of_no_use(Why::Failed(failure.clone())),
        }
    }

    /// Counts a reply that declines.
    pub(super) fn declined(&self) {
        self.count(Kind::Declined);
    }

    /// Counts a failure.
    fn count(&self, kind: Kind) {
        let counters = Kind::ALL.iter().zip(&self.by_kind);
        counters.filter(|(one, _)| **one == kind).for_each(|(_, count)| {
            count.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// Keeps why it was of no use last.
    pub(super) fn was_of_no_use(&self, why: Why) {
        self.told().last = Some((why, Instant::now()));
    }

    /// Logs what is news to people, if anything is. To be called whenever `is_up` may have changed, and where it fails while it is not:
    /// what was left out then is logged once its time has come.
    pub(super) fn tell(&self, server: impl fmt::Display, is_up: impl FnOnce() -> bool) {
        let mut told = self.told();
        // Looked at behind the lock: of two that changed it at once, whoever comes last sees how it is.
        let said = told.settle(is_up(), Instant::now());
        let about = told.about.clone();
        match said {
            None => {}
            Some(Said::Up(after)) => {
                drop(told);
                tracing::info!("upstream {server}{about} is back after {}", short(after));
            }
            Some(Said::Back) => {
                let why = told.last.as_ref().map_or_else(String::new, |(why, _)| why.to_string());
                let more = match std::mem::take(&mut told.unsaid) {
                    0 => String::new(),
                    1 => " (as it did once more since that was last said)".to_owned(),
                    more => format!(" (as it did {more} times more since that was last said)"),
                };
                drop(told);
                tracing::warn!("upstream {server}{about} is taken to be down: it {why}{more}");
            }
        }
    }

    /// How long ago it stepped back, if it has.
    pub(super) fn back_for(&self) -> Option<Duration> {
        self.told().back.map(|(since, _)| since.elapsed())
    }

    /// Why it was of no use last, in words that follow its name, and how long ago that was.
    pub(super) fn last_failure(&self) -> Option<(String, Duration)> {
        let last = self.told().last.clone();
        last.map(|(why, at)| (why.to_string(), at.elapsed()))
    }

    /// Failures by their kind.
    pub(super) fn by_kind(&self) -> Vec<(&'static str, u64)> {
        let counts = self.by_kind.iter().map(|count| count.load(Ordering::Relaxed));
        Kind::ALL.iter().map(|kind| kind.as_str()).zip(counts).collect()
    }

    /// What people are told; it is whole whatever happened to who held it.
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Takes in how it is now, and says what is to be logged.
    fn settle(&mut self, is_up: bool, now: Instant) -> Option<Said> {
        match (is_up, self.back) {
            (true, None) | (false, Some((_, true))) => None,
            (true, Some((since, was_said))) => {
                self.back = None;
                self.unsaid += u64::from(!was_said);
                was_said.then(|| Said::Up(now - since))
            }
            (false, back) => {
                let since = back.map_or(now, |(since, _)| since);
                let say = self.said.is_none_or(|said| now - said >= SAY_EVERY);
                self.back = Some((since, say));
                say.then(|| {
                    self.said = Some(now);
                    Said::Back
                })
            }
        }
    }
}

/// A time as people say it.
fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

impl fmt::Display for Why {
    /// Words that follow the server's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Failed(failure) => failure.fmt(f),
            // What else declines without an error is a referral.
            Why::Declined(Rcode::NOERROR) => f.write_str("names other servers in place of an answer"),
            Why::Declined(rcode) => write!(f, "answered {rcode}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_is_bounded_and_nothing_that_lasts_is_left_out() {
        let start = Instant::now();
        let mut told = Told::default();
        let up = |seconds| Some(Said::Up(Duration::from_secs(seconds)));
        for (second, is_up, expected, unsaid) in [
            (0, true, None, 0),
            (1, false, Some(Said::Back), 0),
            (2, false, None, 0),
            (3, true, up(2), 0),
            (3, true, None, 0),
            // It flaps: nothing is said for ten seconds, neither that it goes nor that it comes.
            (4, false, None, 0),
            (5, true, None, 1),
            (6, false, None, 1),
            (7, true, None, 2),
            // It stays away, and that is said once the time has come.
            (8, false, None, 2),
            (10, false, None, 2),
            (11, false, Some(Said::Back), 2),
            (12, false, None, 2),
            // Since it went, not since that was said.
            (100, true, up(92), 2),
        ] {
            let said = told.settle(is_up, start + Duration::from_secs(second));
            assert_eq!((said, told.unsaid), (expected, unsaid), "{second}");
        }
    }

    #[test]
    fn failures_are_counted_by_kind_and_the_last_is_kept() {
        let standing = Standing::default();
        for failure in [Failure::TimedOut, Failure::Refused, Failure::TimedOut, Failure::Busy] {
            standing.failed(&failure);
        }
        standing.declined();
        let some: Vec<_> = standing.by_kind().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(some, [("timeout", 2), ("refused", 1), ("declined", 1), ("busy", 1)]);
        assert_eq!(standing.last_failure().unwrap().0, "did not answer in time", "busy is our own doing");
        standing.failed(&Failure::WrongCase(vec![0; 512]));
        let last = standing.told().last.clone().map(|(why, _)| why);
        assert_eq!(last, Some(Why::Failed(Failure::WrongCase(Vec::new()))), "no reply is kept");
        standing.was_of_no_use(Why::Declined(Rcode::REFUSED));
        assert_eq!(standing.last_failure().unwrap().0, "answered REFUSED");
    }

    #[test]
    fn times_are_short() {
        for (ms, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1999, "1 s"),
            (119_000, "119 s"),
            (120_000, "2 min"),
            (9_000_000, "2 h"),
        ] {
            assert_eq!(short(Duration::from_millis(ms)), expected);
        }
    }
}
