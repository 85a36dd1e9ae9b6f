//! A question's first try, begun where the question stands: nobody waits for it, and most questions need no more.
//!
//! A task that waits for each reply costs as much as the packets. So the first datagram goes out on the thread that has the question,
//! and whoever receives the reply does what is left to do. Only what is not answered that way goes on as a task, from where it is.

use std::fmt;
use std::pin::Pin;

use tokio::time::Instant;

use super::failure::Failure;

/// What comes of a try.
pub(super) type Outcome = Result<Vec<u8>, Failure>;

/// Told what a question came to: the reply, or what there is to go on from ([`Ask::go_on`](super::Ask::go_on)).
pub type Then = Box<dyn FnOnce(Result<Vec<u8>, Begun>) + Send>;

/// Told what comes to a question once whoever asked it has been told that nothing came.
pub type Late = Box<dyn FnOnce(Vec<u8>) + Send>;

/// A question whose first try was not answered, or not well, or not yet.
#[derive(Debug)]
pub struct Begun {
    /// Who was asked, by its place in the settings.
    pub(super) place: usize,
    pub(super) at: Instant,
    /// When its silence is a failure.
    pub(super) due: Instant,
    pub(super) came: Came,
}

impl Begun {
    /// When it was begun.
    pub fn since(&self) -> Instant {
        self.at
    }

    /// Nobody was asked.
    pub fn nothing() -> Begun {
        let now = Instant::now();
        Begun { place: usize::MAX, at: now, due: now, came: Came::Reply(Err(Failure::Busy)) }
    }
}

/// What came of a try.
pub(super) enum Came {
    /// This.
    Reply(Outcome),
    /// Nothing until it was due; it is still listened for as long as this is there.
    NotYet(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

impl fmt::Debug for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Came::Reply(outcome) => outcome.fmt(f),
            Came::NotYet(_) => f.write_str("nothing yet"),
        }
    }
}

/// Told what came of a try.
pub(super) type Landing = Box<dyn FnOnce(Came) + Send>;

impl Came {
    /// Waits for the reply, if it is not there.
    pub(super) async fn reply(self) -> Outcome {
        match self {
            Came::Reply(outcome) => outcome,
            Came::NotYet(reply) => reply.await,
        }
    }
}
