//! Queries in batches from one place to many threads, over a bounded queue.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Entry;
use super::make::Maker;
use super::read::{Damage, Options, Reader, Skipped};

/// Queries in a batch: enough that handing one over costs nothing beside them.
pub const BATCH_LEN: usize = 256;
/// Batches that wait for each thread.
const QUEUED: usize = 8;

/// Where queries come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A trace, from its start.
    File(PathBuf, Options),
    /// Made as they are needed.
    Made(Box<Maker>),
}

/// How much of a source is used, and when its queries are due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// This many queries, the trace begun anew as often as it takes; none is one pass.
    pub count: Option<u64>,
    /// Begin anew without end; who takes the queries says when it is enough.
    pub endless: bool,
    /// When queries are due.
    pub pace: Pace,
}

/// When queries are due.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Pace {
    /// As soon as there is room.
    #[default]
    Full,
    /// This many a second, evenly.
    Rate(f64),
    /// As the trace has them, this many times faster. Queries without a time are due with the one before.
    Original(f64),
}

/// Some queries in one allocation.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The messages, one after the other.
    octets: Vec<u8>,
    /// What is known of each.
    items: Vec<Item>,
}

/// One query of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Where its message ends in the batch.
    end: usize,
    /// When it is due, in nanoseconds after the start; 0 at full pace.
    pub due_ns: u64,
    /// Different for different clients; 0 where the trace names none.
    pub client: u64,
}

impl Batch {
    /// Adds a query.
    pub fn push(&mut self, message: &[u8], due_ns: u64, client: u64) {
        self.octets.extend_from_slice(message);
        self.items.push(Item { end: self.octets.len(), due_ns, client });
    }

    /// Adds a query that `write` writes behind the others; it is due at once.
    pub fn push_made(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.octets);
        self.items.push(Item { end: self.octets.len(), due_ns: 0, client: 0 });
    }

    /// How many queries.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.octets.clear();
        self.items.clear();
    }

    /// The query at `index`, if there is one.
    pub fn item(&self, index: usize) -> Option<(&[u8], Item)> {
        let item = *self.items.get(index)?;
        let start =
            index.checked_sub(1).and_then(|before| self.items.get(before)).map_or(0, |before| before.end);
        Some((self.octets.get(start..item.end)?, item))
    }
}

/// The end of the queue that threads share.
#[derive(Debug)]
pub struct Batches(Mutex<Option<Receiver<Batch>>>);

/// What [`Batches::poll`] found.
#[derive(Debug)]
pub enum Polled {
    /// The next batch.
    Batch(Batch),
    /// None is ready yet.
    Later,
    /// There will be none.
    Ended,
}

impl Batches {
    /// The next batch if one is ready.
    pub fn poll(&self) -> Polled {
        match self.lock().as_ref().map(Receiver::try_recv) {
            Some(Ok(batch)) => Polled::Batch(batch),
            Some(Err(TryRecvError::Empty)) => Polled::Later,
            Some(Err(TryRecvError::Disconnected)) | None => Polled::Ended,
        }
    }

    /// The next batch, waited for; none when there will be none.
    pub fn wait(&self) -> Option<Batch> {
        self.lock().as_ref()?.recv().ok()
    }

    /// Takes no more: whoever feeds is told so.
    pub fn close(&self) {
        self.lock().take();
    }

    /// The receiver, while it is open. A thread that panicked while it held the lock left it whole.
    fn lock(&self) -> MutexGuard<'_, Option<Receiver<Batch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What feeding came to.
#[derive(Clone, Debug, Default)]
pub struct Fed {
    /// Queries read or made.
    pub queries: u64,
    /// Of those, such with a time stamp.
    pub timed: u64,
    /// Times the source was used from its start.
    pub passes: u64,
    /// What was passed over, in the first pass.
    pub skipped: Skipped,
    /// Why the trace could not be read further.
    pub damage: Option<Damage>,
}

/// A queue for this many threads.
pub fn queue(threads: usize) -> (SyncSender<Batch>, Batches) {
    let (sender, receiver) = sync_channel(QUEUED * threads.max(1));
    (sender, Batches(Mutex::new(Some(receiver))))
}

/// Feeds the queue until the plan is fulfilled or nobody takes batches any more.
///
/// # Errors
/// When the trace cannot be opened. A damaged one ends its pass and is told in [`Fed`].
pub fn feed(source: &Source, plan: Plan, to: &SyncSender<Batch>) -> io::Result<Fed> {
    let mut feeder =
        Feeder { plan, to, fed: Fed::default(), batch: Batch::default(), first_at: None, due_ns: 0 };
    match source {
        Source::Made(maker) => {
            let (mut maker, mut entry) = (maker.clone(), Entry::default());
            feeder.fed.passes = 1;
            let bounded = plan.count.is_some() || plan.endless;
            while bounded && feeder.wants_more() {
                maker.make(&mut entry);
                if !feeder.push(&entry) {
                    break;
                }
            }
        }
        Source::File(path, options) => {
            // Standard input has one pass.
            let again = (plan.count.is_some() || plan.endless) && path.as_os_str() != "-";
            loop {
                let mut reader = Reader::open(path, *options)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
                let more = feeder.pass(&mut reader);
                // An empty trace would go round for ever.
                if !(again && more && feeder.fed.queries > 0) {
                    break;
                }
            }
        }
    }
    feeder.flush();
    Ok(feeder.fed)
}

/// Feeding under way.
struct Feeder<'f> {
    plan: Plan,
    to: &'f SyncSender<Batch>,
    fed: Fed,
    batch: Batch,
    /// The time of the pass's first query, and when that one is due.
    first_at: Option<(Duration, u64)>,
    /// When the last query is due.
    due_ns: u64,
}

impl Feeder<'_> {
    /// Whether the plan asks for more queries.
    fn wants_more(&self) -> bool {
        self.plan.count.is_none_or(|count| self.fed.queries < count)
    }

    /// Feeds a whole trace; false when that was enough.
    fn pass(&mut self, reader: &mut Reader) -> bool {
        let mut entry = Entry::default();
        self.first_at = None;
        self.fed.passes += 1;
        let more = loop {
            if !self.wants_more() {
                break false;
            }
            match reader.read(&mut entry) {
                Ok(true) if self.push(&entry) => {}
                Ok(true) => break false,
                Ok(false) => break self.wants_more(),
                Err(damage) => {
                    self.fed.damage = Some(damage);
                    break self.wants_more();
                }
            }
        };
        if self.fed.passes == 1 {
            self.fed.skipped = reader.skipped().clone();
        }
        more
    }

    /// Adds a query; false when nobody takes it.
    fn push(&mut self, entry: &Entry) -> bool {
        self.due_ns = self.due(entry.at);
        // Any spreading will do: it chooses a socket.
        let client = entry.client.map_or(0, |client| match client.ip() {
            std::net::IpAddr::V4(addr) => {
                super::random::mix(u64::from(addr.to_bits()) << 16 | u64::from(client.port()))
            }
            std::net::IpAddr::V6(addr) => {
                let bits = addr.to_bits();
                super::random::mix((bits >> 64) as u64 ^ bits as u64 ^ u64::from(client.port()) << 48)
            }
        });
        self.batch.push(&entry.message, self.due_ns, client);
        self.fed.queries += 1;
        self.fed.timed += u64::from(entry.at.is_some());
        self.batch.len() < BATCH_LEN || self.flush()
    }

    /// When a query with this time stamp is due.
    fn due(&mut self, at: Option<Duration>) -> u64 {
        match (self.plan.pace, at) {
            (Pace::Full, _) => 0,
            (Pace::Rate(rate), _) => (self.fed.queries as f64 * 1e9 / rate) as u64,
            (Pace::Original(_), None) => self.due_ns,
            (Pace::Original(speed), Some(at)) => {
                let (first, due_ns) = *self.first_at.get_or_insert((at, self.due_ns));
                // Captures of several interfaces are not quite in order: what is late is due at once.
                (due_ns + (at.saturating_sub(first).as_nanos() as f64 / speed) as u64).max(self.due_ns)
            }
        }
    }

    /// Hands the batch over; false when nobody takes it.
    fn flush(&mut self) -> bool {
        self.batch.is_empty() || self.to.send(std::mem::take(&mut self.batch)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a plan makes of a text trace: queries, passes, and when each is due.
    fn fed(text: &str, plan: Plan) -> (Fed, Vec<u64>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        std::fs::write(&path, text).unwrap();
        let (sender, batches) = queue(64);
        let fed = feed(&Source::File(path, Options::default()), plan, &sender).unwrap();
        drop(sender);
        let mut due = Vec::new();
        while let Some(batch) = batches.wait() {
            due.extend((0..batch.len()).map(|index| batch.item(index).unwrap().1.due_ns));
        }
        (fed, due)
    }

    #[test]
    fn plans() {
        let three = "a.example\nb.example\nc.example\n";
        for (text, plan, queries, passes) in [
            (three, Plan::default(), 3, 1),
            (three, Plan { count: Some(2), ..Plan::default() }, 2, 1),
            (three, Plan { count: Some(3), ..Plan::default() }, 3, 1),
            (three, Plan { count: Some(700), ..Plan::default() }, 700, 234),
            ("", Plan { count: Some(7), ..Plan::default() }, 0, 1),
            ("..\n", Plan { endless: true, ..Plan::default() }, 0, 1),
        ] {
            let (fed, due) = fed(text, plan);
            assert_eq!((fed.queries, fed.passes, due.len() as u64), (queries, passes, queries), "{plan:?}");
        }
    }

    #[test]
    fn a_rate_is_even() {
        let (_, due) = fed("a\nb\nc\nd\n", Plan { pace: Pace::Rate(1000.0), ..Plan::default() });
        assert_eq!(due, [0, 1_000_000, 2_000_000, 3_000_000]);
    }

    #[test]
    fn original_times_are_scaled_and_go_on_in_the_next_pass() {
        let (sender, _batches) = queue(1);
        let plan = Plan { pace: Pace::Original(2.0), ..Plan::default() };
        let mut feeder = Feeder {
            plan,
            to: &sender,
            fed: Fed::default(),
            batch: Batch::default(),
            first_at: None,
            due_ns: 0,
        };
        let mut due = Vec::new();
        for at in [Some(100.0), Some(101.0), None, Some(100.5), Some(103.0)] {
            feeder.due_ns = feeder.due(at.map(Duration::from_secs_f64));
            due.push(feeder.due_ns);
        }
        assert_eq!(due, [0, 500_000_000, 500_000_000, 500_000_000, 1_500_000_000]);
        feeder.first_at = None;
        assert_eq!(feeder.due(Some(Duration::from_secs(100))), 1_500_000_000);
    }

    #[test]
    fn batches_keep_their_messages_apart() {
        let mut batch = Batch::default();
        assert!(batch.is_empty() && batch.item(0).is_none());
        for message in [&b"one"[..], b"", b"three"] {
            batch.push(message, 0, 0);
        }
        let messages: Vec<&[u8]> = (0..3).map(|index| batch.item(index).unwrap().0).collect();
        assert_eq!(messages, [&b"one"[..], b"", b"three"]);
        assert!(batch.item(3).is_none());
    }
}
