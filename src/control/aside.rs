//! Work done aside, on a thread that gives way: those that answer queries have better things to do than to read files.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::sync::mpsc;

use super::agenda::{Hands, Outcome, Work};
use crate::system;

/// Who does it.
pub(super) trait Worker: Send + 'static {
    /// Does some work.
    fn work(&mut self, work: Work) -> Outcome;

    /// Says that work broke off, and has it done again.
    fn broke_off(&mut self) -> Outcome;
}

/// Has work done by a thread of its own.
pub(super) struct Aside {
    /// What is to be done.
    work: std::sync::mpsc::Sender<Work>,
    /// What came of it.
    outcomes: mpsc::Receiver<Outcome>,
    /// When it began.
    start: tokio::time::Instant,
}

impl Aside {
    /// A thread that does the work at `worker` and gives way to all others, until this is dropped. Time counts from now on.
    pub(super) fn new(mut worker: impl Worker) -> Aside {
        let (work, todo) = std::sync::mpsc::channel();
        let (done, outcomes) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            system::give_way();
            for work in todo {
                // Unwind safety: what broke off is begun anew whatever it left, see `Reloader::reload` and `LocalFiles::refresh`.
                let outcome = catch_unwind(AssertUnwindSafe(|| worker.work(work)));
                let outcome = outcome.unwrap_or_else(|_| worker.broke_off());
                if done.blocking_send(outcome).is_err() {
                    break;
                }
            }
        });
        Aside { work, outcomes, start: tokio::time::Instant::now() }
    }
}

impl Hands for Aside {
    async fn work(&mut self, work: Work) -> Outcome {
        // If either end is gone, so is the runtime.
        match self.work.send(work) {
            Ok(()) => match self.outcomes.recv().await {
                Some(outcome) => outcome,
                None => std::future::pending().await,
            },
            Err(_) => std::future::pending().await,
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    async fn until(&self, at: Duration) {
        tokio::time::sleep_until(self.start + at).await;
    }
}
