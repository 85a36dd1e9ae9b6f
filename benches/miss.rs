//! What asking an upstream costs: processor time a question, by datagram and by stream, while many are under way.
//!
//! `cargo bench --bench miss`; `SINKSCOPE_MISSES=20000` asks another number, `SINKSCOPE_MISS_THREADS=2` lets tokio have more
//! threads than one. An upstream in this process answers each name with the address of its hash, and each reply is checked.
//! Counted is the time of tokio's threads alone, the kernel's part included: not the upstream's.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sinkscope::dns::Question;
use sinkscope::iana::{Class, Rtype};
use sinkscope::upstream::{Ask, Forwarder, Server, Settings};
use support::flood::{Mock, address_of};

/// Questions of one run, unless told otherwise.
const QUESTIONS: usize = 100_000;
/// Questions under way at any time.
const WINDOW: usize = 128;
/// Runs of each kind; the middle one counts.
const RUNS: usize = 5;
/// What threads of the runtime are called: by it their time is found.
const THREAD_NAME: &str = "asking";

fn main() {
    let questions = number("SINKSCOPE_MISSES").unwrap_or(QUESTIONS);
    let datagrams = Mock::start();
    datagrams.give_cookies();
    let streams = serve_streams();
    let (datagram, stream) = (Server::udp(datagrams.addr()), Server::tcp(streams));
    // By datagram without DNS cookies, and with.
    for (server, cookies) in [(&datagram, false), (&datagram, true), (&stream, false)] {
        let mut costs: Vec<f64> = (0..RUNS).map(|_| run(server, cookies, questions)).collect();
        costs.sort_by(f64::total_cmp);
        let all: Vec<String> = costs.iter().map(|cost| format!("{cost:.1}")).collect();
        let with = if cookies { " with cookies" } else { "" };
        println!("{:?}{with}: {:.1} us a question ({})", server.protocol, costs[RUNS / 2], all.join(" "));
    }
}

/// Asks so many questions, and gives back the microseconds of processor time that one took.
fn run(server: &Server, cookies: bool, questions: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(number("SINKSCOPE_MISS_THREADS").unwrap_or(1))
        .thread_name(THREAD_NAME)
        .enable_all()
        .build()
        .expect("a runtime");
    let settings = Settings { servers: vec![server.clone()], cookies, ..Settings::default() };
    let forwarder = Arc::new(Forwarder::new(settings));
    let next = Arc::new(AtomicUsize::new(0));
    let (start, before_ns) = (Instant::now(), runtime_cpu_ns());
    let asking: Vec<_> = (0..WINDOW)
        .map(|_| runtime.spawn(ask_until(Arc::clone(&forwarder), Arc::clone(&next), questions)))
        .collect();
    runtime.block_on(async {
        for task in asking {
            task.await.expect("every question was answered");
        }
    });
    let (took, cpu_ns) = (start.elapsed(), runtime_cpu_ns() - before_ns);
    let tally = forwarder.tallies().remove(0);
    assert_eq!((tally.asked - tally.failed, tally.cookied.given), (questions as u64, cookies));
    eprintln!("  {:.0} questions a second", questions as f64 / took.as_secs_f64());
    cpu_ns as f64 / 1e3 / questions as f64
}

/// Asks the next question again and again, until there is none.
async fn ask_until(forwarder: Arc<Forwarder>, next: Arc<AtomicUsize>, questions: usize) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= questions {
            return;
        }
        let name = format!("n{index}.made-up.example");
        let question = Question {
            qname: name.parse().expect("a name"),
            qtype: Rtype::A,
            qclass: Class::IN,
            dnssec_ok: false,
            checking_disabled: false,
            asked_for: None,
        };
        let reply = forwarder.ask(&question).await.expect("a reply");
        // Header, question, a record of 16 octets with the address at its end, OPT.
        let end = 12 + question.octets().len() + 16;
        let std::net::IpAddr::V4(address) = address_of(&name) else { panic!("mocks have IPv4 addresses") };
        assert_eq!(reply.get(end - 4..end), Some(&address.octets()[..]), "{name}");
    }
}

/// The same upstream by streams, one thread each; it ends with this process.
fn serve_streams() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || serve_stream(&stream));
        }
    });
    addr
}

/// Answers what comes on one stream; replies go out when nothing more has come.
fn serve_stream(stream: &TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let (mut questions, mut replies) = (BufReader::new(stream), BufWriter::new(stream));
    let mut packet = [0; 1024];
    loop {
        if questions.buffer().is_empty() {
            replies.flush().ok()?;
        }
        let mut length = [0; 2];
        questions.read_exact(&mut length).ok()?;
        let length = usize::from(u16::from_be_bytes(length));
        questions.read_exact(packet.get_mut(..length)?).ok()?;
        let length = support::flood::answer(&mut packet, length, 0)?;
        replies.write_all(&(length as u16).to_be_bytes()).ok()?;
        replies.write_all(&packet[..length]).ok()?;
    }
}

/// Nanoseconds of processor time that the runtime's threads have had (sched-stats: the first number).
fn runtime_cpu_ns() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_task = |path: std::path::PathBuf| -> Option<u64> {
        let ours = fs::read_to_string(path.join("comm")).ok()?.starts_with(THREAD_NAME);
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        ours.then(|| text.split_whitespace().next()?.parse().ok()).flatten()
    };
    tasks.filter_map(|task| of_task(task.path())).sum()
}

/// A number from the environment.
fn number(key: &str) -> Option<usize> {
    std::env::var(key).ok()?.parse().ok()
}
