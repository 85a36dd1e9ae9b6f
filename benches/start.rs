//! Starting with long lists: from text and from the snapshot, how long until the first right answer, in how much memory, and
//! that no listed name is answered truthfully meanwhile. Two ways to say as much: one order over all names; and a list of all
//! names, a policy zone with a record for every tenth, every other one local data, and an order.
//!
//! `cargo bench --bench start`; sizes by `SINKSCOPE_BENCH_SIZES=1000000,10000000`, starts from each by
//! `SINKSCOPE_BENCH_ROUNDS=5`. Listed names are asked for from before the program starts until it has answered one, every
//! millisecond, over loopback; an upstream that knows every name stands ready to tell the truth about them.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use support::flood::Mock;
use support::process::{Folder, Program, command};
use support::wire::{self, A, Reply};

/// Names asked for, spread over the list.
const ASKED: usize = 997;
/// Between two queries.
const PAUSE: Duration = Duration::from_millis(1);
/// The longest start, and the longest that a snapshot may take to be kept.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    // `cargo test --benches` passes --test: a small run that still checks every answer.
    let quick = std::env::args().any(|argument| argument == "--test");
    let sizes = std::env::var("SINKSCOPE_BENCH_SIZES")
        .unwrap_or_else(|_| if quick { "5000" } else { "1000000" }.to_owned());
    let rounds = std::env::var("SINKSCOPE_BENCH_ROUNDS").map_or(if quick { 1 } else { 5 }, |rounds| {
        rounds.parse().expect("SINKSCOPE_BENCH_ROUNDS: a number")
    });
    println!(
        "| names | from | first right answer | RSS settled | RSS peak | sinkholed | EDE 14 | truthful |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for size in sizes.split(',').map(|size| size.trim().parse().expect("SINKSCOPE_BENCH_SIZES: numbers")) {
        run(size, rounds);
    }
}

/// Starts in every way with that many names, said in both ways.
fn run(size: usize, rounds: usize) {
    let order = "id = \"a\"\ntitle = \"T\"\nkind = \"court\"\n[[scope]]\nmatch = \"exact\"\n";
    let config = "[orders]\npaths = [\"orders\"]\n";
    let folder = Folder::new(&[
        ("sinkscope.toml", config),
        ("orders/a.toml", &format!("{order}file = \"names.txt\"\n")),
    ]);
    folder.write("orders/names.txt", &lines(size));
    let asked =
        (0..ASKED).map(|place| (name(place * (size / ASKED).max(1) % size), ORDERED.to_owned())).collect();
    in_every_way(&folder, size, rounds, "an order", &asked);

    let lists = "[[lists]]\nname = \"list\"\nsource = \"names.txt\"\nformat = \"domains\"\nmatch = \"exact\"\n\n\
                 [[lists]]\nname = \"zone\"\nsource = \"zone.rpz\"\nformat = \"rpz\"\n";
    let folder = Folder::new(&[
        ("sinkscope.toml", &format!("{config}\n{lists}")),
        ("orders/a.toml", &format!("{order}names = [\"ordered.example\"]\n")),
    ]);
    folder.write("names.txt", &lines(size));
    folder.write("zone.rpz", &zone(size / 10));
    let asked = (0..ASKED).map(|place| match place % 10 {
        0 => ("ordered.example".to_owned(), ORDERED.to_owned()),
        1 => zone_name(place * (size / 10 / ASKED).max(1) % (size / 10)),
        _ => (name(place * (size / ASKED).max(1) % size), LISTED.to_owned()),
    });
    in_every_way(&folder, size, rounds, "lists, a zone and an order", &asked.collect());
}

/// Starts from text and from the snapshot, and shows what it came to.
fn in_every_way(folder: &Folder, size: usize, rounds: usize, what: &str, asked: &Asked) {
    let upstream = Mock::start();
    let begin = |args: &[&str]| start(folder, asked, upstream.addr(), args);
    let text: Vec<Start> = (0..rounds).map(|_| begin(&[])).collect();
    show(size, &format!("{what}: text"), &text);
    let not_ready = ["--set", "orders.while_loading=not-ready"];
    let told: Vec<Start> = (0..rounds).map(|_| begin(&not_ready)).collect();
    show(size, &format!("{what}: text, not-ready"), &told);
    let state = folder.file("state").display().to_string();
    let keep = ["--state", state.as_str()];
    begin(&keep);
    assert!(folder.file("state/orders.snapshot").exists(), "it was kept");
    let kept: Vec<Start> = (0..rounds).map(|_| begin(&keep)).collect();
    show(size, &format!("{what}: snapshot"), &kept);
}

/// Names, one a line.
fn lines(size: usize) -> String {
    let mut list = String::new();
    for index in 0..size {
        writeln!(list, "{}", name(index)).expect("text");
    }
    list
}

/// A policy zone of so many records.
fn zone(records: usize) -> String {
    let mut zone = "$TTL 60\n@ SOA ns host 1 3600 600 86400 60\n@ NS localhost.\n".to_owned();
    for index in 0..records {
        let rule =
            if index.is_multiple_of(2) { "CNAME .".to_owned() } else { format!("A {}", address(index)) };
        writeln!(zone, "z{index}.zoned.example {rule}").expect("text");
    }
    zone
}

/// A name of the zone, and what its answer shows.
fn zone_name(index: usize) -> (String, String) {
    let shown = if index.is_multiple_of(2) {
        "NXDOMAIN EDE15".to_owned()
    } else {
        format!("NOERROR {} EDE15", address(index))
    };
    (format!("z{index}.zoned.example"), shown)
}

/// The address that a record of the zone gives.
fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + index as u32)
}

/// The name at a place of the list: a few letters and digits under one of 24 zones.
fn name(index: usize) -> String {
    // An odd constant with well-mixed bits: 2^64 divided by the golden ratio (Knuth, TAOCP vol. 3, 6.4).
    let mixed = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("h{:07x}.dyn{}.example", mixed >> 36, index % 24)
}

/// What a name has that a court's order sinkholes, and one that a list does.
const ORDERED: &str = "NOERROR 0.0.0.0 EDE16 EDE4";
const LISTED: &str = "NOERROR 0.0.0.0 EDE15 EDE4";

/// Names that are asked for, and what their answers show.
type Asked = Vec<(String, String)>;

/// What one start came to.
struct Start {
    first: Duration,
    resident: u64,
    peak: u64,
    sinkholed: usize,
    not_ready: usize,
}

/// Starts the program, asks until it answers right and a moment longer, and ends it without warning.
fn start(folder: &Folder, asked: &Asked, upstream: SocketAddr, args: &[&str]) -> Start {
    let listen = free_port();
    let (listen_arg, upstream) = (listen.to_string(), upstream.to_string());
    let mut serve = command(folder.path());
    let config = ["serve", "--config", "sinkscope.toml", "--listen", &listen_arg, "--upstream", &upstream];
    serve.args(config).args(args);
    let begun = Instant::now();
    let names = asked.clone();
    let asking = std::thread::spawn(move || ask(listen, &names, begun));
    let program = Program::start(serve).unwrap_or_else(|log| panic!("it does not serve:\n{log}"));
    let (first, sinkholed, not_ready) = asking.join().expect("asking");
    if let Some(place) = args.iter().position(|arg| *arg == "--state") {
        // The first start with it keeps what it compiled once files are at rest.
        let snapshot = std::path::Path::new(args[place + 1]).join("orders.snapshot");
        let deadline = Instant::now() + PATIENCE;
        while !snapshot.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let status = |key| program.status(key).unwrap_or_default();
    let (resident, peak) = (status("VmRSS"), status("VmHWM"));
    program.signal("KILL");
    Start { first, resident, peak, sinkholed, not_ready }
}

/// Asks for listed names until one is answered as it must be, and once for each of those that are asked for; counts replies.
fn ask(server: SocketAddr, names: &Asked, begun: Instant) -> (Duration, usize, usize) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.connect(server).expect("connected");
    socket.set_read_timeout(Some(PAUSE)).expect("a timeout");
    let (mut first, mut sinkholed, mut not_ready, mut asked) = (None, 0, 0, 0_usize);
    let mut reply = [0; 1232];
    while sinkholed < ASKED {
        assert!(begun.elapsed() < PATIENCE, "no right answer");
        // The ID says which name a reply is about: those that waited come all at once.
        let place = asked % names.len();
        // Refused while nothing listens there yet.
        let _ = socket.send(&wire::query(place as u16, &names[place].0, A));
        asked += 1;
        let Ok(length) = socket.recv(&mut reply) else { continue };
        let place = usize::from(u16::from_be_bytes([reply[0], reply[1]]));
        let (name, expected) = &names[place];
        let shown = Reply::read(&reply[..length]).expect("a reply").show();
        match shown.as_str() {
            shown if shown == *expected => {
                first.get_or_insert_with(|| begun.elapsed());
                sinkholed += 1;
            }
            "SERVFAIL EDE14" => {
                not_ready += 1;
                std::thread::sleep(PAUSE);
            }
            other => panic!("{name} was answered {other}, not {expected}"),
        }
    }
    (first.expect("a first answer"), sinkholed, not_ready)
}

/// An address that was free a moment ago, for UDP and TCP.
fn free_port() -> SocketAddr {
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.local_addr().expect("its address")
}

/// A line of the table: medians, and the range of what is timed. A truthful answer would have ended the run.
fn show(size: usize, from: &str, starts: &[Start]) {
    let median = |of: &dyn Fn(&Start) -> u64| {
        let mut all: Vec<u64> = starts.iter().map(of).collect();
        all.sort_unstable();
        (all[all.len() / 2], all[0], all[all.len() - 1])
    };
    let (first, least, most) = median(&|start| start.first.as_millis() as u64);
    let mib = |of: &dyn Fn(&Start) -> u64| median(of).0 / 1024;
    let sum = |of: &dyn Fn(&Start) -> usize| starts.iter().map(of).sum::<usize>();
    println!(
        "| {size} | {from} | {first} ms ({least} to {most}) | {} MiB | {} MiB | {} | {} | 0 |",
        mib(&|start| start.resident),
        mib(&|start| start.peak),
        sum(&|start| start.sinkholed),
        sum(&|start| start.not_ready),
    );
}
