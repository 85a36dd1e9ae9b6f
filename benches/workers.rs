//! One worker and two: how throughput scales.
//!
//!     cargo bench --bench workers [-- LISTED]
//!
//! First in process, octets in and octets out: each thread has a hot path and queries of its own, policy and cache are
//! shared. Then over sockets of this machine, where those who ask need cores as well: the processor time a query costs the
//! workers is the figure there. Rounds of one and of two alternate; every answer is checked once, their lengths always.
//! LISTED is the number of listed names, 1,000,000 by default.

#[allow(dead_code, reason = "other benches make orders as files")]
#[path = "support/made.rs"]
mod made;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use made::{Random, innocent_name, listed_name, says};
use sinkscope::batch::{self, Inbox, Outbox};
use sinkscope::dns::finish::MAX_UDP_LEN;
use sinkscope::name::NameList;
use sinkscope::policy::{MatchKind, Order, OrderWithNames, Policy, PolicyZone, Scope, Sinkhole};
use sinkscope::resolver::{Current, Resolver};
use sinkscope::serve::{Hot, Respond};
use sinkscope::server::{Server, Settings, bind_udp};

/// Queries of one thread in one round, in process.
const QUERIES: usize = 32 * 4096;
/// Times a thread asks them in one round.
const REPEATS: usize = 16;
/// Rounds of each number of workers; medians are shown.
const ROUNDS: usize = 9;
/// Cached names: they fit a worker's own entries.
const HOT_NAMES: usize = 5_000;
/// How long a round over sockets lasts.
const SOCKET_ROUND: Duration = Duration::from_secs(2);
/// Rounds over sockets.
const SOCKET_ROUNDS: usize = 5;
/// Threads that ask over sockets.
const CLIENTS: usize = 2;
/// Sockets of each, among which batches alternate: the system shares them out among the workers.
const FLOWS: usize = 16;

/// Whether the name of the query with this index is listed.
type IsListed = fn(usize) -> bool;

/// What to ask, with its label.
const CASES: [(&str, IsListed); 3] =
    [("cached", |_| false), ("sinkholed", |_| true), ("mix, 5 % sinkholed", |index| index % 20 == 0)];

fn main() {
    let listed = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(1_000_000);
    let names: NameList = (0..listed).map(listed_name).collect();
    let order = Order {
        scopes: vec![Scope::new(MatchKind::Exact)],
        sinkhole: Sinkhole { v4: vec![made::SINKHOLE.into()], v6: Vec::new() },
        ..Order::new("us-nv-2014-cv-00987")
    };
    let order = OrderWithNames::listing(order, [names]);
    let zone = PolicyZone { name: "bench".into(), orders: vec![Arc::new(order)] };
    let policy = Current::of(Policy::compile(&[zone], &[], 1));
    let resolver = Arc::new(made::resolver(policy, (0..HOT_NAMES).map(innocent_name)));

    println!("in process, {listed} listed names");
    println!(
        "{:20} {:>10} {:>10} {:>7} {:>12} {:>12} {:>7}",
        "case", "1, Mq/s", "2, Mq/s", "ratio", "1, ns CPU/q", "2, ns CPU/q", "by CPU"
    );
    for (label, is_listed) in CASES {
        in_process(&resolver, listed, label, is_listed);
    }
    println!("over sockets, {CLIENTS} threads asking on the same cores");
    println!(
        "{:20} {:>10} {:>10} {:>7} {:>12} {:>12} {:>7}",
        "case", "1, kq/s", "2, kq/s", "ratio", "1, us CPU/q", "2, us CPU/q", "by CPU"
    );
    for (label, is_listed) in CASES {
        over_sockets(&resolver, listed, label, is_listed);
    }
}

/// Packets of one asker, and whether each is to be sinkholed.
fn packets(seed: usize, count: usize, listed: usize, is_listed: IsListed) -> Vec<(Vec<u8>, bool)> {
    let mut random = Random(seed as u64);
    (0..count)
        .map(|index| {
            let sinkholed = is_listed(index);
            let name = if sinkholed {
                listed_name(random.below(listed))
            } else {
                innocent_name(random.below(HOT_NAMES))
            };
            (made::packet(&name, index as u16), sinkholed)
        })
        .collect()
}

/// Queries a second and nanoseconds of processor time a query.
#[derive(Clone, Copy)]
struct Speed {
    per_second: f64,
    cpu_ns: f64,
}

/// Rounds in process.
fn in_process(resolver: &Resolver, listed: usize, label: &str, is_listed: IsListed) {
    let queries: Vec<_> = (1..=2).map(|seed| packets(seed, QUERIES, listed, is_listed)).collect();
    let mut speeds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (workers, speeds) in (1..).zip(&mut speeds) {
            let barrier = Barrier::new(workers);
            let runs: Vec<Speed> = thread::scope(|scope| {
                let threads: Vec<_> = queries[..workers]
                    .iter()
                    .map(|queries| scope.spawn(|| run(resolver, queries, &barrier)))
                    .collect();
                threads.into_iter().map(|thread| thread.join().expect("every answer is right")).collect()
            });
            speeds.push(Speed {
                per_second: runs.iter().map(|run| run.per_second).sum(),
                cpu_ns: runs.iter().map(|run| run.cpu_ns).sum::<f64>() / workers as f64,
            });
        }
    }
    show(label, &speeds, 1e6, 1.0);
}

/// One thread's round: a hot path of its own, its queries checked once and then asked again and again.
fn run(resolver: &Resolver, queries: &[(Vec<u8>, bool)], barrier: &Barrier) -> Speed {
    let from: SocketAddr = ([127, 0, 0, 1], 4242).into();
    let mut hot = resolver.hot();
    let mut out = [0; MAX_UDP_LEN];
    let mut round = |check: bool| {
        let mut octets = 0;
        for batch in queries.chunks(batch::SLOTS) {
            hot.begin(batch.iter().map(|(packet, _)| packet.as_slice()));
            for (index, (packet, sinkholed)) in batch.iter().enumerate() {
                let len = hot.answer(index, packet, from, &mut out).unwrap_or(0);
                assert!(!check || says(packet, &out[..len], *sinkholed), "{packet:?}");
                octets += len;
            }
        }
        octets
    };
    let octets = round(true);
    barrier.wait();
    let (start, cpu_ns) = (Instant::now(), cpu_ns("thread-self"));
    for _ in 0..REPEATS {
        assert_eq!(round(false), octets, "the answers are those that were checked");
    }
    let (took, cpu_ns) = (start.elapsed(), self::cpu_ns("thread-self") - cpu_ns);
    let count = (REPEATS * queries.len()) as f64;
    Speed { per_second: count / took.as_secs_f64(), cpu_ns: cpu_ns as f64 / count }
}

/// Rounds over sockets.
fn over_sockets(resolver: &Arc<Resolver>, listed: usize, label: &str, is_listed: IsListed) {
    let queries: Vec<_> = (0..CLIENTS).map(|seed| packets(seed, QUERIES / 4, listed, is_listed)).collect();
    let mut speeds = [Vec::new(), Vec::new()];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for _ in 0..SOCKET_ROUNDS {
        for (workers, speeds) in (1..).zip(&mut speeds) {
            speeds.push(runtime.block_on(async {
                let mut server = Server::new(Arc::clone(resolver), Settings::default());
                let sockets = bind_udp(([127, 0, 0, 1], 0).into(), workers, 4 << 20).expect("a free port");
                let addr = sockets[0].local_addr().expect("an address");
                server.serve_udp(sockets).expect("threads");
                let asked = tokio::task::spawn_blocking({
                    let queries = queries.clone();
                    move || ask(addr, &queries)
                });
                let speed = asked.await.expect("every answer is right");
                assert!(server.stop().await);
                speed
            }));
        }
    }
    show(label, &speeds, 1e3, 1e3);
}

/// Asks for one round, from several threads.
fn ask(addr: SocketAddr, queries: &[Vec<(Vec<u8>, bool)>]) -> Speed {
    let (answered, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for queries in queries {
            scope.spawn(|| client(addr, queries, &answered, &stop));
        }
        // Let every flow find its worker first.
        thread::sleep(SOCKET_ROUND / 8);
        let (start, cpu, from) = (Instant::now(), workers_cpu_ns(), answered.load(Ordering::Relaxed));
        thread::sleep(SOCKET_ROUND);
        let count = (answered.load(Ordering::Relaxed) - from) as f64;
        let (took, cpu_ns) = (start.elapsed(), workers_cpu_ns() - cpu);
        stop.store(true, Ordering::Relaxed);
        Speed { per_second: count / took.as_secs_f64(), cpu_ns: cpu_ns as f64 / count }
    })
}

/// One thread that asks: a batch at a time, from one socket after the other, two batches in flight.
fn client(addr: SocketAddr, queries: &[(Vec<u8>, bool)], answered: &AtomicU64, stop: &AtomicBool) {
    let sockets: Vec<UdpSocket> = (0..FLOWS)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            socket.connect(addr).expect("a server");
            socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
            socket
        })
        .collect();
    let (mut inbox, mut outbox) =
        (Inbox::new(batch::SLOTS, MAX_UDP_LEN), Outbox::new(batch::SLOTS, MAX_UDP_LEN));
    let mut waiting: Option<(&UdpSocket, usize)> = None;
    let batches = queries.chunks(batch::SLOTS).enumerate().cycle();
    for ((index, batch), socket) in batches.zip(sockets.iter().cycle()) {
        for (packet, _) in batch {
            outbox.push(packet, None);
        }
        outbox.send(socket, true);
        if let Some((socket, index)) = waiting.replace((socket, index)) {
            let mut left = batch::SLOTS;
            while left > 0 && inbox.receive(socket, true).is_ok() {
                for datagram in inbox.iter() {
                    let id = u16::from_be_bytes([datagram.octets[0], datagram.octets[1]]);
                    let slot = usize::from(id.wrapping_sub((index * batch::SLOTS) as u16));
                    // One that is late belongs to a batch that was given up.
                    if let Some((packet, sinkholed)) = queries[index * batch::SLOTS..].get(slot)
                        && slot < batch::SLOTS
                    {
                        assert!(says(packet, datagram.octets, *sinkholed), "{packet:?}");
                    }
                }
                left = left.saturating_sub(inbox.len());
                answered.fetch_add(inbox.len() as u64, Ordering::Relaxed);
            }
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Prints medians.
fn show(label: &str, speeds: &[Vec<Speed>; 2], rate_unit: f64, cpu_unit: f64) {
    let [one, two] = speeds.each_ref().map(|speeds| {
        (
            median(speeds, |speed| speed.per_second) / rate_unit,
            median(speeds, |speed| speed.cpu_ns) / cpu_unit,
        )
    });
    let mut ratios: Vec<f64> =
        speeds[0].iter().zip(&speeds[1]).map(|(one, two)| two.per_second / one.per_second).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    // What two would do with a core each, whoever else had the cores meanwhile.
    let by_cpu = 2.0 * one.1 / two.1;
    println!(
        "{label:20} {:>10.2} {:>10.2} {ratio:>7.2} {:>12.2} {:>12.2} {by_cpu:>7.2}",
        one.0, two.0, one.1, two.1
    );
}

/// The middle of what `of` says.
fn median(speeds: &[Speed], of: impl Fn(&Speed) -> f64) -> f64 {
    let mut values: Vec<f64> = speeds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds of processor time that this thread of the system has had (sched-stats: the first number).
fn cpu_ns(thread: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The same of all workers of this process together.
fn workers_cpu_ns() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = tasks.map(|task| task.file_name().to_string_lossy().into_owned());
    let is_worker = |id: &String| {
        fs::read_to_string(format!("/proc/self/task/{id}/comm")).is_ok_and(|name| name.starts_with("udp-"))
    };
    names.filter(is_worker).map(|id| cpu_ns(&format!("self/task/{id}"))).sum()
}
