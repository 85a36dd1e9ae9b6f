//! The log for those who listen just now: lines go to all of them by one ring of portions. Who is too slow for it loses some, and is told
//! how many.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::broadcast::{self, error::RecvError};

use super::Format;
use super::line::Line;
use super::outlet::{Sink, Written};
use super::shown::Shown;
use crate::time::UnixSeconds;

/// Octets of lines that go to listeners at a time.
const PORTION: usize = 32 << 10;
/// Portions that the slowest may be behind: some MiB for all together.
const BEHIND: usize = 64;
/// How many may listen at once: people and programs of one operator, and each costs a copy of every line.
pub const MAX_LISTENERS: usize = 16;

/// Where lines come from for those who listen.
#[derive(Debug)]
pub(super) struct Live {
    portions: broadcast::Sender<Arc<Portion>>,
    listeners: AtomicUsize,
    /// Lines so far.
    lines: AtomicU64,
}

/// Some lines.
#[derive(Debug, PartialEq, Eq)]
struct Portion {
    /// Lines that came before them since the log began.
    before: u64,
    /// How many they are.
    count: u64,
    /// JSON, each with its end.
    text: String,
}

/// Somebody who listens, until this is dropped.
#[derive(Debug)]
pub struct Listener {
    live: Arc<Live>,
    portions: broadcast::Receiver<Arc<Portion>>,
    /// Lines that came before the next that it hears.
    heard: u64,
    /// What it hears once it was told what it lost.
    next: Option<Arc<Portion>>,
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// JSON lines.
    Lines(String),
    /// It was too slow for so many.
    Lost(u64),
}

impl Default for Live {
    fn default() -> Live {
        let (portions, _) = broadcast::channel(BEHIND);
        Live { portions, listeners: AtomicUsize::new(0), lines: AtomicU64::new(0) }
    }
}

impl Live {
    /// Whether anybody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.listeners.load(Ordering::Acquire) > 0
    }

    /// Somebody listens from now on; none if there are as many as there may be.
    pub(super) fn listen(self: &Arc<Live>) -> Option<Listener> {
        let one_more = |count| (count < MAX_LISTENERS).then_some(count + 1);
        self.listeners.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        let portions = self.portions.subscribe();
        // A portion that is sent between the two has lines that it has heard of: it is told of none that it lost.
        let heard = self.lines.load(Ordering::Acquire);
        Some(Listener { live: Arc::clone(self), portions, heard, next: None })
    }

    /// Tells lines to all who listen.
    fn tell(&self, count: u64, text: String) {
        let before = self.lines.fetch_add(count, Ordering::AcqRel);
        // That nobody listens any more is nobody's loss.
        let _ = self.portions.send(Arc::new(Portion { before, count, text }));
    }
}

impl Listener {
    /// Waits for what comes next; none if nothing will.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some(portion) = self.next.take() {
                self.heard = portion.before + portion.count;
                return Some(Heard::Lines(portion.text.clone()));
            }
            match self.portions.recv().await {
                Ok(portion) => {
                    let lost = portion.before.saturating_sub(self.heard);
                    self.next = Some(portion);
                    if lost > 0 {
                        return Some(Heard::Lost(lost));
                    }
                }
                // How many lines that were is told by the next one.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.live.listeners.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The outlet that leads to them.
pub(super) struct Told(pub(super) Arc<Live>);

impl Sink for Told {
    fn open(&mut self, _now: UnixSeconds) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, records: &mut dyn Iterator<Item = Shown<'_>>, _now: UnixSeconds) -> Written {
        let mut written = 0;
        loop {
            let (mut count, mut lines) = (0, Vec::with_capacity(PORTION + 4096));
            while lines.len() < PORTION
                && let Some(shown) = records.next()
            {
                Line::of(&shown).write(Format::Json, &mut lines);
                count += 1;
            }
            if count == 0 {
                return Written { records: written, error: None };
            }
            written += count;
            // Lines are JSON, and so text.
            self.0.tell(count, String::from_utf8_lossy(&lines).into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_slow_is_told_what_it_lost() {
        let live = Arc::new(Live::default());
        live.tell(7, "nobody listens\n".into());
        let mut listener = live.listen().unwrap();
        let lines = |index: usize| Heard::Lines(format!("{index}\n"));
        live.tell(3, "0\n".into());
        assert_eq!(listener.next().await, Some(lines(0)));
        for index in 1..=2 * BEHIND {
            live.tell(3, format!("{index}\n"));
        }
        assert_eq!(listener.next().await, Some(Heard::Lost(3 * BEHIND as u64)));
        for index in BEHIND + 1..=2 * BEHIND {
            assert_eq!(listener.next().await, Some(lines(index)));
        }
        live.tell(1, "last\n".into());
        assert_eq!(listener.next().await, Some(Heard::Lines("last\n".into())));
    }

    #[test]
    fn listeners_have_a_bound_and_are_gone_when_they_are_dropped() {
        let live = Arc::new(Live::default());
        let all: Vec<Listener> = (0..MAX_LISTENERS).map(|_| live.listen().unwrap()).collect();
        assert!(live.listen().is_none() && live.is_heard());
        drop(all);
        assert!(!live.is_heard() && live.listen().is_some());
    }
}
