//! A lift under load: how soon it is in effect, and what it costs those who ask meanwhile.
//!
//! `cargo bench --bench lift`; sizes of the policy by `-- --names 1000000,10000000`, lifts of each kind by `--rounds 10`. The
//! built server is asked 50,000 times a second over loopback, a quarter of it for a name whose order is lifted and restored
//! over the control API, as a whole and by name. Each query is sent once; every reply is read, and one that says something
//! that was not in force ends the run. At last the server is killed right after the reply to a lift, and started again.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sinkscope::control::api::types::{ChangeRequest, Changed};
use sinkscope::control::client::Client;
use support::flood::{Mock, address_of};
use support::process::{Folder, Program, command};
use support::wire::{self, A};

/// Queries a second.
const RATE: u64 = 50_000;
/// Queries sent at once, once each `BURST / RATE` seconds: as they come from many clients of a busy server.
const BURST: u64 = 25;
/// Sockets they come from: the server's workers share clients by port.
const SOCKETS: usize = 8;
/// Between two changes, and how long the last replies are waited for.
const REST: Duration = Duration::from_millis(400);
/// The name whose order is lifted.
const LIFTED: &str = "victim.dyn0.example";
/// A name of another order, which stays.
const STAYS: &str = "stays.other.example";
/// What a sinkholed name has for an address.
const SINKHOLE: [u8; 4] = [0, 0, 0, 0];
/// IDs of one socket: a reply is told by them.
const IDS: usize = 1 << 16;
/// The longest start.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` passes --test: a small run that still checks every answer.
    let quick = args.iter().any(|argument| argument == "--test");
    let value = |flag: &str, default: &str| {
        let place = args.iter().position(|argument| argument == flag);
        place.and_then(|place| args.get(place + 1)).map_or(default.to_owned(), Clone::clone)
    };
    let sizes = value("--names", if quick { "5000" } else { "1000000" });
    let rounds = value("--rounds", if quick { "1" } else { "10" }).parse().expect("--rounds: a number");
    println!(
        "| names | what is lifted | command to reply | command to last sinkholed answer | sinkholed after the reply | queries | \
         lost | longest gap | after kill -9 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for size in sizes.split(',').map(|size| size.trim().parse().expect("--names: numbers")) {
        run(size, rounds);
    }
}

/// Lifts in both ways under a policy of that many names.
fn run(size: usize, rounds: usize) {
    let order = |id: &str, list: &str| {
        format!(
            "id = \"{id}\"\ntitle = \"T\"\nkind = \"court\"\n[[scope]]\nmatch = \"exact\"\nfile = \"{list}\"\n"
        )
    };
    let folder = Folder::new(&[
        ("orders/a.toml", &order("a", "a.txt")),
        ("orders/b.toml", &order("b", "b.txt")),
        ("orders/b.txt", STAYS),
    ]);
    let mut list = format!("{LIFTED}\n");
    for index in 1..size {
        writeln!(list, "{}", name(index)).expect("text");
    }
    folder.write("orders/a.txt", &list);
    drop(list);
    let upstream = Mock::start();
    let mut program = start(&folder, upstream.addr());
    let client = client(&folder);
    let whole = ChangeRequest::default();
    let by_name = ChangeRequest { names: vec![LIFTED.into()], ..ChangeRequest::default() };
    for (what, request) in [("the order", &whole), ("one name", &by_name)] {
        let load = Load::start(program.addr());
        let lifts: Vec<Lift> = (0..rounds).map(|_| lift(&client, request, &load)).collect();
        let tally = load.stop();
        // Killed while it has hardly sent the reply.
        change(&client, "lift", request);
        program.signal("KILL");
        program.wait();
        program = start(&folder, upstream.addr());
        let truthful = wire::udp(program.addr(), LIFTED, A).addresses == [address_of(LIFTED)];
        assert!(truthful, "still lifted after kill -9");
        let stays = wire::udp(program.addr(), STAYS, A);
        assert!(stays.is_blocked(), "and nothing else is");
        change(&client, "restore", request);
        show(size, what, &lifts, &tally);
    }
}

/// Starts the server with a state folder, and waits for its orders.
fn start(folder: &Folder, upstream: SocketAddr) -> Program {
    let upstream = upstream.to_string();
    let mut serve = command(folder.path());
    serve.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        &upstream,
        "--orders",
        "orders",
        "--state",
        "state",
    ]);
    let begun = Instant::now();
    let program = Program::start(serve).unwrap_or_else(|log| panic!("it does not serve:\n{log}"));
    assert!(begun.elapsed() < PATIENCE, "it takes too long to start");
    program
}

/// A client of the server's socket.
fn client(folder: &Folder) -> Client {
    let address = format!("unix:{}", folder.file("state/control.sock").display());
    Client::new(Some(&address.parse().expect("an address")), None).ok().expect("a client")
}

/// Changes the order.
fn change(client: &Client, verb: &str, request: &ChangeRequest) {
    let changed: Result<Changed, _> = client.post(&format!("/v1/orders/a/{verb}"), request);
    let changed = changed.unwrap_or_else(|trouble| panic!("{verb}: {trouble:?}"));
    assert!(changed.durable && changed.records.len() == 1, "{changed:?}");
}

/// What one lift came to.
struct Lift {
    /// From the command to the reply to it.
    reply: Duration,
    /// From the command to the last sinkholed answer; zero if none came any more.
    last: Duration,
    /// Queries that were sent after the reply had come and sinkholed all the same.
    late: u64,
}

/// Lifts, waits, restores and waits.
fn lift(client: &Client, request: &ChangeRequest, load: &Load) -> Lift {
    thread::sleep(REST);
    let begun = load.now();
    change(client, "lift", request);
    let replied = load.now();
    load.shared.replied.store(replied, Ordering::SeqCst);
    thread::sleep(REST);
    let last = load.shared.last_sinkholed.load(Ordering::SeqCst);
    load.shared.replied.store(u64::MAX, Ordering::SeqCst);
    let late = load.shared.late.swap(0, Ordering::SeqCst);
    change(client, "restore", request);
    Lift {
        reply: Duration::from_nanos(replied - begun),
        last: Duration::from_nanos(last.saturating_sub(begun)),
        late,
    }
}

/// A steady load and what its replies say.
struct Load {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// What its threads share. Times are nanoseconds since `epoch`.
struct Shared {
    epoch: Instant,
    /// When the query with an ID of a socket was sent; 0 when it was answered.
    sent: Vec<Vec<AtomicU64>>,
    stopped: AtomicBool,
    queries: AtomicU64,
    lost: AtomicU64,
    /// When the last reply came, and the longest time between two.
    last_reply: AtomicU64,
    gap: AtomicU64,
    /// When the last sinkholed answer for the lifted name came.
    last_sinkholed: AtomicU64,
    /// When the reply to a lift came that is in force; else never.
    replied: AtomicU64,
    /// Sinkholed answers to queries that were sent after that.
    late: AtomicU64,
}

/// What a load came to.
struct Tally {
    queries: u64,
    lost: u64,
    gap: Duration,
}

impl Load {
    /// Asks from now on.
    fn start(server: SocketAddr) -> Load {
        let shared = Arc::new(Shared {
            epoch: Instant::now(),
            sent: (0..SOCKETS).map(|_| (0..IDS).map(|_| AtomicU64::new(0)).collect()).collect(),
            stopped: AtomicBool::new(false),
            queries: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            last_reply: AtomicU64::new(0),
            gap: AtomicU64::new(0),
            last_sinkholed: AtomicU64::new(0),
            replied: AtomicU64::new(u64::MAX),
            late: AtomicU64::new(0),
        });
        let sockets: Vec<Arc<UdpSocket>> = (0..SOCKETS)
            .map(|_| {
                let socket = wire::client_of(server);
                socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).expect("a buffer");
                socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
                Arc::new(socket)
            })
            .collect();
        let mut threads = Vec::new();
        for (place, socket) in sockets.iter().cloned().enumerate() {
            let shared = shared.clone();
            threads.push(thread::spawn(move || receive(&socket, place, &shared)));
        }
        let sender = shared.clone();
        threads.push(thread::spawn(move || send(&sockets, &sender)));
        // The truth of every name is in the cache, and a first second is no measure of anything.
        thread::sleep(Duration::from_secs(1));
        shared.gap.store(0, Ordering::SeqCst);
        Load { shared, threads }
    }

    /// The time.
    fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Asks no more, and waits for the last replies.
    fn stop(self) -> Tally {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("every answer is right"));
        let unanswered =
            self.shared.sent.iter().flatten().filter(|sent| sent.load(Ordering::SeqCst) > 0).count();
        Tally {
            queries: self.shared.queries.load(Ordering::SeqCst),
            lost: self.shared.lost.load(Ordering::SeqCst) + unanswered as u64,
            gap: Duration::from_nanos(self.shared.gap.load(Ordering::SeqCst)),
        }
    }
}

impl Shared {
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}

/// The name of the query of that number: a quarter each the lifted one, one that stays listed, and innocent ones.
fn asked(number: u64) -> String {
    match number % 4 {
        0 => LIFTED.into(),
        1 => STAYS.into(),
        _ => format!("www{}.innocent.example", number / 4 % 64),
    }
}

/// Sends at the rate, whatever comes back.
fn send(sockets: &[Arc<UdpSocket>], shared: &Shared) {
    let mut packets: Vec<Vec<u8>> = (0..256).map(|number| wire::query(0, &asked(number), A)).collect();
    let mut number = 0;
    while !shared.stopped.load(Ordering::Relaxed) {
        let due = number * 1_000_000_000 / RATE;
        let early = due.saturating_sub(shared.now());
        if early > 0 {
            thread::sleep(Duration::from_nanos(early));
        }
        for number in number..number + BURST {
            let place = (number / BURST) as usize % SOCKETS;
            // In each socket's own order, so that an ID comes again only after all others.
            let id = (number / (BURST * SOCKETS as u64) * BURST + number % BURST) as usize % IDS;
            let packet = &mut packets[number as usize % 256];
            packet[..2].copy_from_slice(&(id as u16).to_be_bytes());
            if shared.sent[place][id].swap(shared.now(), Ordering::SeqCst) > 0 {
                shared.lost.fetch_add(1, Ordering::Relaxed);
            }
            sockets[place].send(packet).expect("sent");
            shared.queries.fetch_add(1, Ordering::Relaxed);
        }
        number += BURST;
    }
}

/// Reads one socket's replies, each held against what may be in force.
fn receive(socket: &UdpSocket, place: usize, shared: &Shared) {
    let mut buffer = [0; 2048];
    let (victim, stays) = (address(LIFTED), wire::name_octets(STAYS));
    let lifted = wire::name_octets(LIFTED);
    let mut stopped_at = None;
    loop {
        let Ok(length) = socket.recv(&mut buffer) else {
            // The last replies are waited for.
            if shared.stopped.load(Ordering::Relaxed)
                && stopped_at.get_or_insert_with(Instant::now).elapsed() > REST
            {
                return;
            }
            continue;
        };
        let (now, reply) = (shared.now(), &buffer[..length]);
        let id = usize::from(u16::from_be_bytes([reply[0], reply[1]]));
        let sent = shared.sent[place][id].swap(0, Ordering::SeqCst);
        let before = shared.last_reply.fetch_max(now, Ordering::SeqCst);
        shared.gap.fetch_max(now.saturating_sub(before), Ordering::SeqCst);
        let asks = |name: &[u8]| reply[12..].starts_with(name);
        let has =
            |address: [u8; 4]| reply.windows(6).any(|window| window == [&[0, 4][..], &address].concat());
        assert!(reply[3] & 15 == 0, "no error");
        if asks(&stays) {
            assert!(has(SINKHOLE), "what nobody lifted stays sinkholed");
        } else if asks(&lifted) {
            if has(SINKHOLE) {
                shared.last_sinkholed.fetch_max(now, Ordering::SeqCst);
                if sent > shared.replied.load(Ordering::SeqCst) {
                    shared.late.fetch_add(1, Ordering::SeqCst);
                }
            } else {
                assert!(has(victim), "the lifted name has its truth");
            }
        } else {
            assert!(!has(SINKHOLE), "an innocent name has its truth");
        }
    }
}

/// The mock's address of a name.
fn address(name: &str) -> [u8; 4] {
    match address_of(name) {
        std::net::IpAddr::V4(address) => address.octets(),
        std::net::IpAddr::V6(_) => panic!("the mock has IPv4 addresses"),
    }
}

/// The name at a place of the list: a few letters and digits under one of 24 zones.
fn name(index: usize) -> String {
    // An odd constant with well-mixed bits: 2^64 divided by the golden ratio (Knuth, TAOCP vol. 3, 6.4).
    let mixed = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("h{:07x}.dyn{}.example", mixed >> 36, index % 24)
}

/// A line of the table: medians, and the greatest in brackets.
fn show(size: usize, what: &str, lifts: &[Lift], tally: &Tally) {
    let millis = |of: &dyn Fn(&Lift) -> Duration| {
        let mut all: Vec<f64> = lifts.iter().map(|lift| of(lift).as_secs_f64() * 1e3).collect();
        all.sort_by(f64::total_cmp);
        format!("{:.2} ms (at most {:.2})", all[all.len() / 2], all[all.len() - 1])
    };
    let late: u64 = lifts.iter().map(|lift| lift.late).sum();
    println!(
        "| {size} | {what} | {} | {} | {late} | {} | {} | {:.1} ms | lifted |",
        millis(&|lift| lift.reply),
        millis(&|lift| lift.last),
        tally.queries,
        tally.lost,
        tally.gap.as_secs_f64() * 1e3,
    );
    assert!(late == 0, "what is asked after the reply has the truth");
}
