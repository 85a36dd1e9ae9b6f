//! Good queries at a modest fixed rate, with and without garbage at full speed beside them.
//!
//! Each good query is sent once: one that is not answered is lost. Rounds of both kinds alternate, so that what else runs
//! on the machine meets both alike.

use std::fs;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sinkscope::batch::{self, Outbox};

use super::support::flood::address_of;
use super::support::garbage::Garbage;
use super::support::process::Program;
use super::support::wire::{self, A, Reply};

/// Good queries a second.
const RATE: u64 = 5_000;
/// How long one round lasts.
const ROUND: Duration = Duration::from_secs(2);
/// How long the last replies of a round are waited for.
const TAIL: Duration = Duration::from_millis(500);
/// Rounds of each kind.
const ROUNDS: usize = 5;
/// Distinct good names; their answers are cached before the first round.
const NAMES: usize = 64;
/// Packets made before the flood, which then sends them again and again: making them would slow it down.
const POOL: usize = 1 << 16;
/// Sockets the flood comes from, in turn: the program's workers share clients by port.
const FLOOD_SOCKETS: usize = 16;
/// The longest latency that is told apart, in nanoseconds.
const LONGEST_NS: u64 = 10_000_000_000;

/// What came of rounds of one kind.
struct Outcome {
    sent: u64,
    latency_ns: Histogram<u64>,
    /// Seconds, all rounds together.
    seconds: f64,
    /// Garbage packets the system took.
    offered: u64,
    /// How much the program's counters grew.
    counts: Counts,
}

/// Counters of the program that matter here.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    received: u64,
    dropped_by_system: u64,
    untold_busy: u64,
    asked: u64,
    /// Processor time of the worker, in nanoseconds.
    worker_ns: u64,
}

/// Runs the rounds and prints what came of them.
///
/// # Panics
/// When a good query gets a wrong answer, or is lost without garbage beside it.
pub fn run(program: &Program, seed: u64) {
    let mut garbage = Garbage::new(seed);
    let pool: Vec<Vec<u8>> = (0..POOL)
        .map(|_| {
            let mut packet = Vec::new();
            garbage.next(&mut packet);
            packet
        })
        .collect();
    for index in 0..NAMES {
        assert_eq!(wire::udp(program.addr(), &name_of(index), A).show(), expected(index));
    }
    let (mut quiet, mut flooded) = (Outcome::new(), Outcome::new());
    for _ in 0..ROUNDS {
        quiet.round(program, &[]);
        flooded.round(program, &pool);
    }
    println!(
        "{:8} {:>8} {:>7} {:>7} {:>8} {:>8} {:>8} {:>10} {:>10} {:>10} {:>8} {:>8} {:>9}",
        "beside",
        "sent",
        "lost",
        "loss",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "offered/s",
        "received/s",
        "dropped/s",
        "asked",
        "untold",
        "us/packet"
    );
    quiet.show("nothing");
    flooded.show("garbage");
    assert_eq!(quiet.lost(), 0, "good queries alone are all answered");
    assert!(!flooded.latency_ns.is_empty(), "some good queries get through");
}

impl Outcome {
    fn new() -> Outcome {
        let latency_ns = Histogram::new_with_max(LONGEST_NS, 3).expect("bounds that fit");
        Outcome { sent: 0, latency_ns, seconds: 0.0, offered: 0, counts: Counts::default() }
    }

    /// One round, with the garbage of this pool beside the good queries.
    fn round(&mut self, program: &Program, pool: &[Vec<u8>]) {
        let before = Counts::read(program);
        let start = Instant::now();
        let done = AtomicBool::new(false);
        let (sent, offered) = thread::scope(|scope| {
            let flood = scope.spawn(|| if pool.is_empty() { 0 } else { flood(program, pool, &done) });
            let sent = good(program, &mut self.latency_ns);
            done.store(true, Ordering::Relaxed);
            (sent, flood.join().expect("the flood"))
        });
        self.seconds += start.elapsed().as_secs_f64();
        (self.sent, self.offered) = (self.sent + sent, self.offered + offered);
        // The system tells what it dropped with the next datagram.
        wire::udp(program.addr(), &name_of(0), A);
        self.counts = self.counts.plus(&Counts::read(program), &before);
    }

    /// Good queries without an answer.
    fn lost(&self) -> u64 {
        self.sent - self.latency_ns.len()
    }

    /// Prints a line.
    fn show(&self, label: &str) {
        let us = |quantile: f64| self.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
        let rate = |count: u64| count as f64 / self.seconds;
        println!(
            "{label:8} {:>8} {:>7} {:>6.2}% {:>8.0} {:>8.0} {:>8.0} {:>10.0} {:>10.0} {:>10.0} {:>8} {:>8} {:>9.2}",
            self.sent,
            self.lost(),
            100.0 * self.lost() as f64 / self.sent as f64,
            us(0.5),
            us(0.99),
            us(0.999),
            rate(self.offered),
            rate(self.counts.received),
            rate(self.counts.dropped_by_system),
            self.counts.asked,
            self.counts.untold_busy,
            self.counts.worker_ns as f64 / 1e3 / self.counts.received as f64,
        );
    }
}

impl Counts {
    /// Asks the program.
    fn read(program: &Program) -> Counts {
        let mark = program.mark();
        program.signal("USR1");
        let lines =
            format!("{} {}", program.wait_for(mark, "resolver: "), program.wait_for(mark, "listeners: "));
        let count = |name: &str| {
            let of = |word: &str| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
            lines.split_whitespace().find_map(of).unwrap_or(0)
        };
        Counts {
            received: count("udp_received"),
            dropped_by_system: count("dropped_by_system"),
            untold_busy: count("untold_busy"),
            worker_ns: worker_ns(program.id()),
            asked: count("asked"),
        }
    }

    /// These and what came between two readings.
    fn plus(&self, after: &Counts, before: &Counts) -> Counts {
        Counts {
            received: self.received + after.received - before.received,
            dropped_by_system: self.dropped_by_system + after.dropped_by_system - before.dropped_by_system,
            untold_busy: self.untold_busy + after.untold_busy - before.untold_busy,
            worker_ns: self.worker_ns + after.worker_ns - before.worker_ns,
            asked: self.asked + after.asked - before.asked,
        }
    }
}

/// Processor time that the program's UDP workers have had, in nanoseconds.
fn worker_ns(id: u32) -> u64 {
    let folder = format!("/proc/{id}/task");
    let read =
        |task: &str, what: &str| fs::read_to_string(format!("{folder}/{task}/{what}")).unwrap_or_default();
    let tasks = fs::read_dir(&folder).into_iter().flatten().flatten();
    let tasks = tasks.map(|task| task.file_name().to_string_lossy().into_owned());
    let workers = tasks.filter(|task| read(task, "comm").starts_with("udp-"));
    workers.filter_map(|task| read(&task, "schedstat").split(' ').next()?.parse::<u64>().ok()).sum()
}

/// A good name: every other one is listed.
fn name_of(index: usize) -> String {
    match index % 2 {
        0 => "evil.ddns.net".to_owned(),
        _ => format!("good{}.ddns.net", index % NAMES),
    }
}

/// The right answer to it.
fn expected(index: usize) -> String {
    match index % 2 {
        0 => "NOERROR 0.0.0.0 EDE16 EDE4".to_owned(),
        _ => format!("NOERROR {}", address_of(&name_of(index))),
    }
}

/// Sends good queries for one round, each at its time whatever became of those before it, and records how long each took
/// from when it left; how many were sent.
fn good(program: &Program, latency_ns: &mut Histogram<u64>) -> u64 {
    let socket = wire::client_of(program.addr());
    socket.set_read_timeout(Some(TAIL)).expect("a timeout");
    // What waits here while the receiver has no core was answered.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
    let count = ROUND.as_secs() * RATE;
    assert!(count <= 1 << 16, "the ID says which one it is");
    let start = Instant::now();
    let left_ns: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&socket, start, &left_ns, latency_ns));
        for (index, left_ns) in left_ns.iter().enumerate() {
            let packet = wire::query(index as u16, &name_of(index), A);
            let due = Duration::from_nanos(index as u64 * 1_000_000_000 / RATE);
            if let Some(early) = due.checked_sub(start.elapsed()) {
                thread::sleep(early);
            }
            left_ns.store(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
            socket.send(&packet).expect("sent");
        }
        receiver.join().expect("the receiver");
    });
    count
}

/// Takes replies until none has come for a while after the last query left.
fn receive(socket: &UdpSocket, start: Instant, left_ns: &[AtomicU64], latency_ns: &mut Histogram<u64>) {
    let mut packet = [0; 4096];
    let mut seen = vec![false; left_ns.len()];
    let mut missing = left_ns.len();
    while missing > 0 {
        let Ok(length) = socket.recv(&mut packet) else {
            if start.elapsed() > ROUND + TAIL {
                return;
            }
            continue;
        };
        let now_ns = start.elapsed().as_nanos() as u64;
        let reply = Reply::read(&packet[..length]).expect("a well-formed reply");
        let index = usize::from(reply.id);
        assert_eq!((reply.qname.as_str(), reply.show()), (name_of(index).as_str(), expected(index)));
        assert!(!std::mem::replace(&mut seen[index], true), "one reply to one query");
        latency_ns.saturating_record(now_ns - left_ns[index].load(Ordering::Relaxed));
        missing -= 1;
    }
}

/// Sends garbage as fast as one thread can until told to stop; how many packets the system took.
fn flood(program: &Program, pool: &[Vec<u8>], done: &AtomicBool) -> u64 {
    let sockets: Vec<UdpSocket> = (0..FLOOD_SOCKETS).map(|_| wire::client_of(program.addr())).collect();
    let mut outbox = Outbox::new(batch::SLOTS, 4096);
    let mut offered = 0;
    for (packets, socket) in pool.chunks(batch::SLOTS).cycle().zip(sockets.iter().cycle()) {
        if done.load(Ordering::Relaxed) {
            break;
        }
        for packet in packets {
            assert!(outbox.push(packet, None), "room for a packet");
        }
        offered += outbox.send(socket, true).sent as u64;
        outbox.clear();
    }
    offered
}
