//! The loop of a load thread.
//!
//! At full pace a window of queries is kept in flight, in bursts that go round the sockets: a burst is one system call,
//! and by the time its socket's turn comes again its replies are there to be taken by another. The thread never waits in
//! the system for a reply: whoever waits must be woken by the server's own send call, on the server's time.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::flow::{Flow, Match, check};
use super::reply::Reply;
use super::tally::Tally;
use super::{Progress, Settings};
use crate::batch::{Inbox, Outbox};
use crate::dns::wire::{self, FLAG_TC};
use crate::trace::feed::{Batch, Batches, Pace, Polled};
use crate::trace::random::Random;

/// Queries in a burst at most: a system call's cost is spread thin enough, and no server's buffer is overrun.
const BURST: usize = 16;
/// Octets of a query's slot; longer ones are not sent.
const QUERY_LEN: usize = 4096;
/// Octets of a reply's slot; of longer ones the rest does not matter.
const REPLY_LEN: usize = 4096;
/// A pause while there is nothing to do, in which a fast server answers some ten queries.
const NAP: Duration = Duration::from_micros(50);
/// A query sent later than this after it was due was sent late, in nanoseconds.
const BEHIND_NS: u64 = 1_000_000;
/// While the last query is younger than this, its reply is watched for without pause: latencies below are exact.
const WATCH_NS: u64 = 2_000_000;
/// A query without reply for so long no longer fills the window, in nanoseconds: a server that drops some would otherwise
/// be asked nothing more until they count as lost.
const PATIENCE_NS: u64 = 250_000_000;
/// The system takes a query within this time, or it counts as unsent.
const SEND_LIMIT: Duration = Duration::from_secs(1);

/// A load thread.
pub(super) struct Worker {
    flows: Vec<Flow>,
    /// The flow whose turn it is to be looked at.
    turn: usize,
    /// The flow whose turn it is to send. Were it the same, a window that is as long as some flows' bursts would stay with
    /// those flows.
    sender: usize,
    /// Queries under way.
    in_flight: usize,
    /// Of those, the ones that fill the window: a lost query gives its place back before it counts as lost.
    prompt: usize,
    /// How many may be, at full pace.
    window: usize,
    pace: Pace,
    timeout_ns: u64,
    /// After this a query is overdue.
    patience_ns: u64,
    batch: Batch,
    /// The batch's next query.
    at: usize,
    inbox: Inbox,
    outbox: Outbox,
    tally: Tally,
    load: Load,
    /// What `Progress` knows of.
    told: (u64, u64),
}

/// How a load thread spent its time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// While it had something to send, in nanoseconds: waiting for the last replies is not counted.
    pub elapsed_ns: u64,
    /// Of that, waiting for replies or for a query to be due.
    pub idle_ns: u64,
    /// Of that, waiting for the trace to be read.
    pub starved_ns: u64,
}

impl Worker {
    /// A worker with this many sockets, and this many queries in flight.
    ///
    /// # Errors
    /// When a socket cannot be had.
    pub(super) fn new(settings: &Settings, flows: usize, window: usize) -> io::Result<Worker> {
        let local = if settings.server.is_ipv4() {
            SocketAddr::from(([0; 4], 0))
        } else {
            SocketAddr::from(([0u16; 8], 0))
        };
        // Not the trace's randomness: a late reply to another run must not fit.
        let mut random = Random::new(u64::from(std::process::id()), seed());
        let mut open = || {
            let socket = UdpSocket::bind(local)?;
            socket.connect(settings.server)?;
            socket.set_write_timeout(Some(SEND_LIMIT))?;
            Ok(Flow::new(socket, random.number() as u16))
        };
        Ok(Worker {
            flows: (0..flows).map(|_| open()).collect::<io::Result<_>>()?,
            turn: 0,
            sender: 0,
            in_flight: 0,
            prompt: 0,
            window,
            pace: settings.pace,
            timeout_ns: nanoseconds(settings.timeout),
            patience_ns: PATIENCE_NS.min(nanoseconds(settings.timeout)),
            batch: Batch::default(),
            at: 0,
            inbox: Inbox::new(2 * BURST, REPLY_LEN),
            outbox: Outbox::new(BURST, QUERY_LEN),
            tally: Tally::default(),
            load: Load::default(),
            told: (0, 0),
        })
    }

    /// Sends what the queue gives, until it ends or time is up, and waits for what is under way.
    pub(super) fn run(
        mut self,
        batches: &Batches,
        start: Instant,
        until: Option<Instant>,
        progress: &Progress,
    ) -> (Tally, Load) {
        let mut sending = true;
        let mut quiet = 0;
        while sending || self.in_flight > 0 {
            let now_ns = nanoseconds(start.elapsed());
            if sending
                && (progress.stop.load(Ordering::Relaxed)
                    || until.is_some_and(|until| Instant::now() >= until))
            {
                sending = false;
            }
            // No reply to anything for so long: nobody is there, and a count would take for ever.
            if self.tally.received == 0 && self.tally.lost > 0 {
                sending = false;
            }
            let mut starved = false;
            if sending && self.at >= self.batch.len() {
                match batches.poll() {
                    Polled::Batch(batch) => (self.batch, self.at) = (batch, 0),
                    Polled::Later => starved = true,
                    Polled::Ended => sending = false,
                }
            }
            if sending {
                self.load.elapsed_ns = now_ns;
            }
            let moved = match self.pace {
                Pace::Full => self.visit(sending, now_ns, start),
                Pace::Rate(_) | Pace::Original(_) => self.watch(sending, now_ns, start),
            };
            self.tell(progress, moved);
            quiet = if moved { 0 } else { quiet + 1 };
            // At full pace a round is a visit to each flow; otherwise each look is one.
            let round = if self.pace == Pace::Full { self.flows.len() } else { 1 };
            if quiet >= round && (sending || self.in_flight > 0) {
                quiet = 0;
                self.pause(sending, starved, start);
            }
        }
        self.tell(progress, false);
        (self.tally, self.load)
    }

    /// At full pace: takes the replies of one flow and sends a burst from another. Says whether anything moved.
    fn visit(&mut self, sending: bool, now_ns: u64, start: Instant) -> bool {
        let flow = self.turn;
        self.turn = (self.turn + 1) % self.flows.len();
        let received = self.receive(flow, start);
        self.expire(flow, now_ns);
        let room = self.window.saturating_sub(self.prompt);
        // Not for every place that falls free: bursts would get ever shorter.
        let least = (self.window / 8).clamp(1, BURST);
        let mut sent = 0;
        if sending && room >= least {
            while sent < room.min(BURST) && self.put(self.sender, now_ns, now_ns) {
                sent += 1;
            }
            self.flush(self.sender);
            self.sender = (self.sender + 1) % self.flows.len();
        }
        received + sent > 0
    }

    /// At a given pace: sends what is due, and takes every reply that is there. Says whether anything moved.
    fn watch(&mut self, sending: bool, now_ns: u64, start: Instant) -> bool {
        let mut moved = false;
        if sending {
            // One flow for what is due together, except where clients are told apart.
            let mut flow = self.sender;
            let mut burst = 0;
            while burst < BURST
                && let Some((_, item)) = self.batch.item(self.at).filter(|(_, item)| item.due_ns <= now_ns)
            {
                if matches!(self.pace, Pace::Original(_)) && item.client != 0 {
                    let own = (item.client % self.flows.len() as u64) as usize;
                    if own != flow {
                        self.flush(flow);
                        flow = own;
                    }
                }
                if !self.put(flow, item.due_ns, now_ns) {
                    break;
                }
                burst += 1;
            }
            self.flush(flow);
            if burst > 0 {
                self.sender = (self.sender + 1) % self.flows.len();
                moved = true;
            }
        }
        for flow in 0..self.flows.len() {
            if self.flows[flow].in_flight > 0 {
                let received = self.receive(flow, start);
                self.expire(flow, now_ns);
                moved |= received > 0;
            }
        }
        moved
    }

    /// Puts the batch's next query into the outbox; false when there is none, or no room for it.
    fn put(&mut self, flow: usize, due_ns: u64, now_ns: u64) -> bool {
        let Some((message, _)) = self.batch.item(self.at) else { return false };
        let Ok((_, _, _, question)) = wire::question(message) else {
            // Readers and makers give no such query.
            self.at += 1;
            self.tally.unsent += 1;
            return true;
        };
        let (Some(slot), Some(flow)) = (self.outbox.slot(), self.flows.get_mut(flow)) else { return false };
        let Some(place) = slot.get_mut(..message.len()) else {
            self.at += 1;
            self.tally.unsent += 1;
            return true;
        };
        let Some(id) = flow.begin(check(question), due_ns, now_ns) else { return false };
        self.prompt += 1;
        place.copy_from_slice(message);
        place[..2].copy_from_slice(&id.to_be_bytes());
        self.outbox.commit(message.len(), None);
        self.at += 1;
        self.in_flight += 1;
        self.tally.sent += 1;
        self.tally.behind += u64::from(now_ns.saturating_sub(due_ns) > BEHIND_NS);
        self.tally.series.at(now_ns).sent += 1;
        self.tally.last_ns = now_ns;
        true
    }

    /// Sends what is in the outbox.
    fn flush(&mut self, flow: usize) {
        if self.outbox.is_empty() {
            return;
        }
        let sent = self.outbox.send(&self.flows[flow].socket, true);
        // Those have no reply and will count as lost, which they are.
        self.tally.errors += (sent.failed + self.outbox.len()) as u64;
        self.outbox.clear();
    }

    /// Takes the replies that are at a flow; says how many datagrams there were.
    fn receive(&mut self, flow: usize, start: Instant) -> usize {
        let flow = &mut self.flows[flow];
        let mut all = 0;
        let prompt = flow.prompt();
        while flow.in_flight > 0 {
            let received = match self.inbox.receive(&flow.socket, false) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    // No one listens there, most likely: its query is lost in time.
                    self.tally.errors += 1;
                    break;
                }
            };
            all += received;
            let now_ns = nanoseconds(start.elapsed());
            for datagram in self.inbox.iter() {
                take(flow, datagram.octets, now_ns, &mut self.in_flight, &mut self.tally);
            }
            if received < 2 * BURST {
                break;
            }
        }
        self.prompt -= prompt - flow.prompt();
        all
    }

    /// Gives up what a flow has waited for too long.
    fn expire(&mut self, flow: usize, now_ns: u64) {
        let flow = &mut self.flows[flow];
        if flow.in_flight == 0 {
            return;
        }
        let prompt = flow.prompt();
        flow.age(now_ns.saturating_sub(self.patience_ns));
        self.prompt -= prompt - flow.prompt();
        let Some(limit_ns) = now_ns.checked_sub(self.timeout_ns) else { return };
        let lost = flow.expire(limit_ns);
        if lost > 0 {
            self.in_flight -= lost as usize;
            self.tally.lost += lost;
            self.tally.series.at(now_ns).lost += lost;
        }
    }

    /// Waits a moment, as long as nothing is missed by it.
    fn pause(&mut self, sending: bool, starved: bool, start: Instant) {
        let now_ns = nanoseconds(start.elapsed());
        let wait = match self.pace {
            Pace::Full => NAP,
            Pace::Rate(_) | Pace::Original(_) => {
                let due_ns = self.batch.item(self.at).filter(|_| sending).map(|(_, item)| item.due_ns);
                let until_due =
                    due_ns.map_or(NAP, |due_ns| Duration::from_nanos(due_ns.saturating_sub(now_ns)));
                let last_ns = self.flows.iter().filter_map(Flow::last_sent_ns).max();
                if last_ns.is_some_and(|last_ns| now_ns.saturating_sub(last_ns) < WATCH_NS)
                    || until_due <= 4 * NAP
                {
                    // The system's naps are late by some 50 us: nearer than that, only looking helps.
                    // A server that shares the processor gets its turn.
                    thread::yield_now();
                    return;
                }
                // Not longer than a moment, so that a stop is seen and replies do not pile up.
                let longest = if self.in_flight > 0 { NAP } else { Duration::from_millis(20) };
                until_due.saturating_sub(2 * NAP).min(longest)
            }
        };
        thread::sleep(wait);
        let slept_ns = nanoseconds(start.elapsed()) - now_ns;
        if sending {
            self.load.idle_ns += slept_ns;
        }
        if starved {
            self.load.starved_ns += slept_ns;
        }
    }

    /// Tells others how far it is, now and then.
    fn tell(&mut self, progress: &Progress, moved: bool) {
        // A shared counter is not worth touching for every burst.
        if moved && self.tally.sent - self.told.0 < 1024 {
            return;
        }
        let tell = |counter: &AtomicU64, count: u64, told: &mut u64| {
            if count != *told {
                counter.fetch_add(count - *told, Ordering::Relaxed);
                *told = count;
            }
        };
        tell(&progress.sent, self.tally.sent, &mut self.told.0);
        tell(&progress.received, self.tally.received, &mut self.told.1);
    }
}

/// Counts one datagram.
fn take(flow: &mut Flow, reply: &[u8], now_ns: u64, in_flight: &mut usize, tally: &mut Tally) {
    let Some(read) = Reply::read(reply) else {
        tally.mismatched += 1;
        return;
    };
    match flow.end(read.header.id, check(read.question())) {
        Match::Nothing => tally.unexpected += 1,
        Match::Wrong => tally.mismatched += 1,
        Match::Answers(slot) => {
            *in_flight -= 1;
            tally.received += 1;
            tally.truncated += u64::from(read.header.flags & FLAG_TC != 0);
            tally.count_codes(&read);
            // From when it was due, not from when it was sent: a sender that is held up must not hide the wait
            // (coordinated omission).
            tally.count_latency(now_ns, now_ns.saturating_sub(slot.due_ns));
        }
    }
}

/// A time in whole nanoseconds: 584 years fit.
fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// Something that differs from run to run.
fn seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}
