//! One way out of the log: a short queue, and a thread that writes what is in it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::octets;
use super::shown::{Show, Shown};
use super::{Forwarded, OutletCounts, Record};
use crate::clock::Clock;
use crate::time::UnixSeconds;

/// Batches that wait for an outlet: some MiB, which it is behind at most.
const QUEUE: usize = 16;
/// How often an outlet that has nothing to write looks whether its file is still there.
const LOOK: Duration = Duration::from_secs(1);
/// Before an outlet that could not be opened is tried again, the first time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The same at most.
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Records that came together.
pub(super) struct Batch {
    /// One behind the other.
    pub(super) octets: Vec<u8>,
    /// How many.
    pub(super) count: u64,
    /// When the clock by which they are timed stood at zero, since 1970.
    pub(super) began: Duration,
}

/// What an outlet is told.
enum Item {
    /// To write these.
    Batch(Arc<Batch>),
    /// To open its file anew.
    Reopen,
    /// To end, behind all that was said before.
    End,
}

/// Something that records can be written to.
pub(super) trait Sink: Send {
    /// Opens it, if it is not open.
    ///
    /// # Errors
    /// Why it cannot be opened now; it is tried again.
    fn open(&mut self, now: UnixSeconds) -> io::Result<()>;

    /// Writes these; how many are surely written, and what went wrong: then it is closed.
    fn write(&mut self, records: &mut dyn Iterator<Item = Shown<'_>>, now: UnixSeconds) -> Written;

    /// Whether it wants what upstreams are asked, and what they say.
    fn is_about_upstreams(&self) -> bool {
        false
    }

    /// Writes these, where it wants them, as [`Sink::write`] does; `began` is when the clock that times them stood at zero.
    fn write_forwarded(
        &mut self,
        _messages: &mut dyn Iterator<Item = Forwarded<'_>>,
        _began: Duration,
    ) -> Written {
        Written { records: 0, error: None }
    }

    /// Nothing is to be written just now: time to look whether all is well.
    fn look(&mut self, _now: UnixSeconds) {}

    /// Closes it, for somebody may have put another in its place, or this is the end.
    fn close(&mut self) {}
}

/// What came of writing: how many records are written, and why the others are not.
pub(super) struct Written {
    /// Records that are where they are to be.
    pub(super) records: u64,
    /// What went wrong.
    pub(super) error: Option<io::Error>,
}

/// An outlet.
pub(super) struct Outlet {
    /// Which one.
    pub(super) name: &'static str,
    queue: SyncSender<Item>,
    /// Batches that wait.
    waiting: AtomicUsize,
    /// The other end, and where it leads: the thread that runs it holds them.
    way: Mutex<(Receiver<Item>, Box<dyn Sink>)>,
    show: Show,
    clock: Arc<dyn Clock>,
    written: AtomicU64,
    lost: AtomicU64,
    trouble: Mutex<Option<String>>,
    ending: AtomicBool,
    ended: (Mutex<bool>, Condvar),
}

impl Outlet {
    /// One that leads there.
    pub(super) fn new(name: &'static str, sink: Box<dyn Sink>, show: Show, clock: Arc<dyn Clock>) -> Outlet {
        let (queue, from) = sync_channel(QUEUE);
        Outlet {
            name,
            queue,
            waiting: AtomicUsize::new(0),
            way: Mutex::new((from, sink)),
            show,
            clock,
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            trouble: Mutex::default(),
            ending: AtomicBool::new(false),
            ended: (Mutex::new(false), Condvar::new()),
        }
    }

    /// Whether a batch would find no room.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Acquire) >= QUEUE
    }

    /// Hands a batch to it, or counts it as lost if there is no room.
    pub(super) fn hand(&self, batch: &Arc<Batch>) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(Item::Batch(Arc::clone(batch))).is_err() {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            self.lost.fetch_add(batch.count, Ordering::Relaxed);
        }
    }

    /// Has it open its file anew. While it has much to do that is left out: it looks by itself whether the file is still there.
    pub(super) fn reopen(&self) {
        let _ = self.queue.try_send(Item::Reopen);
    }

    /// Has it end once it has written what it was handed.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        // If there is no room for this, it ends when it finds nothing more.
        let _ = self.queue.try_send(Item::End);
    }

    /// Waits until it has ended, but no longer than until then.
    pub(super) fn wait_end(&self, until: Instant) {
        let (ended, told) = &self.ended;
        let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended && let Some(left) = until.checked_duration_since(Instant::now()) {
            ended = told.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What became of records so far.
    pub(super) fn counts(&self) -> OutletCounts {
        OutletCounts {
            name: self.name,
            written: self.written.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            trouble: self.trouble().clone(),
        }
    }

    /// Writes what it is handed until it is to end.
    pub(super) fn run(&self) {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        let (queue, sink) = &mut *way;
        let mut pause = FIRST_PAUSE;
        loop {
            // Until it is open nothing is taken: what waits meanwhile is told afterwards, as far as the queue holds it.
            if let Err(error) = sink.open(self.now()) {
                self.fails(&error);
                if self.ending.load(Ordering::Acquire) {
                    break;
                }
                thread::sleep(pause);
                pause = LAST_PAUSE.min(pause * 2);
                continue;
            }
            match queue.recv_timeout(LOOK) {
                Ok(Item::Batch(batch)) => {
                    self.waiting.fetch_sub(1, Ordering::AcqRel);
                    if self.write(&batch, &mut **sink) {
                        pause = FIRST_PAUSE;
                    }
                }
                Ok(Item::Reopen) => sink.close(),
                Ok(Item::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if self.ending.load(Ordering::Acquire) => break,
                Err(RecvTimeoutError::Timeout) => sink.look(self.now()),
            }
        }
        sink.close();
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
    }

    /// Writes a batch; whether all went well.
    fn write(&self, batch: &Batch, sink: &mut dyn Sink) -> bool {
        let (mut left, mut hidden, mut forwarded) = (&batch.octets[..], 0, 0);
        let mut records = std::iter::from_fn(|| {
            loop {
                if let Some((_, behind)) = Forwarded::read(left) {
                    (left, forwarded) = (behind, forwarded + 1);
                    continue;
                }
                let (record, behind) = Record::read(left)?;
                left = behind;
                match self.show.show(record, batch.began) {
                    Some(record) => return Some(record),
                    None => hidden += 1,
                }
            }
        });
        let Written { records: mut written, mut error } = sink.write(&mut records, self.now());
        // Those that nobody looked at after an error are lost like those that were not written.
        records.for_each(drop);
        if !sink.is_about_upstreams() {
            hidden += forwarded;
        } else if forwarded > 0 && error.is_none() {
            let more = sink.write_forwarded(&mut forwarded_of(&batch.octets), batch.began);
            (written, error) = (written + more.records, more.error);
        }
        self.written.fetch_add(written, Ordering::Relaxed);
        self.lost.fetch_add((batch.count - hidden).saturating_sub(written), Ordering::Relaxed);
        match error {
            Some(error) => {
                self.fails(&error);
                sink.close();
                false
            }
            None => {
                if self.trouble().take().is_some() {
                    tracing::info!("the query log is written again ({})", self.name);
                }
                true
            }
        }
    }

    /// Notes that something went wrong, and says so if that is new.
    fn fails(&self, error: &io::Error) {
        let said = error.to_string();
        if self.trouble().replace(said.clone()).is_none() {
            tracing::warn!(
                "the query log cannot be written ({}: {said}): answers go on, what is missed is counted",
                self.name
            );
        }
    }

    /// What is wrong now.
    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of day.
    fn now(&self) -> UnixSeconds {
        self.clock.now().wall
    }
}

/// The messages to and from upstreams among these entries.
fn forwarded_of(mut left: &[u8]) -> impl Iterator<Item = Forwarded<'_>> {
    std::iter::from_fn(move || {
        loop {
            if let Some((message, behind)) = Forwarded::read(left) {
                left = behind;
                return Some(message);
            }
            left = left.get(octets::length(left)?..)?;
        }
    })
}
