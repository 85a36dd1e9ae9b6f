//! An upstream beside which somebody forges replies, and who asks the server between: whose answers does it give?
//!
//!     cargo run --release --example forger -- 127.0.0.1:5300 127.0.0.1:5397 port 10000000 300
//!
//! The server, where the upstream listens, what the forger knows, how many replies are forged, and questions a second. The
//! forger sees what is asked, and may use so much of it: with `nothing` he guesses port, ID and the case of letters; with
//! `port` he guesses ID and case; with `case` the ID alone. His replies leave from the upstream's own address and port, as
//! those do that are right, and which come 30 ms after the question: that is his time. By TCP the upstream answers at once.
//! Every name is asked for once. It answers from the start, and asks and forges once a line comes in. Prints JSON.

#[path = "support/wire.rs"]
mod wire;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::ThreadRng;
use serde_json::json;
use sinkscope::batch::{Inbox, Outbox, Route, SLOT_LEN, SLOTS};
use wire::{HEADER_LEN, question_end};

/// How long the upstream takes: a forger's time for a question.
const DELAY: Duration = Duration::from_millis(30);
/// A client's time for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Not forged at the beginning, while the server learns what its upstream bears.
const SETTLE: Duration = Duration::from_secs(1);
/// How fast it is at least, replies a second. What takes longer is left: a server that takes its upstream for dead asks nothing.
const LEAST_RATE: u64 = 100_000;
/// The upstream's answer, and the forger's (RFC 5737).
const TRUTH: [u8; 4] = [198, 18, 0, 1];
const LIE: [u8; 4] = [203, 0, 113, 66];
/// A record owned by the question's name (a pointer to offset 12) but for its address: type A, class IN, a day.
const RECORD: [u8; 12] = [0xc0, 12, 0, 1, 0, 1, 0, 1, 0x51, 0x80, 0, 4];
/// The ports that are guessed at: those that are not reserved (RFC 6335 §6).
const FIRST_PORT: u16 = 1024;

/// What the forger knows of a question besides its name.
#[derive(Clone, Copy, PartialEq)]
enum Knows {
    Nothing,
    Port,
    PortAndCase,
}

/// A question that the upstream has not answered yet.
struct Pending {
    due: Instant,
    route: Route,
    /// Header and question.
    query: Vec<u8>,
}

/// A question of the client's.
struct Asked {
    at: Instant,
    question: Vec<u8>,
}

/// What came of the questions.
#[derive(Default)]
struct Answers {
    right: u64,
    /// A forger's.
    forged: u64,
    /// Errors and anything else.
    other: u64,
    lost: u64,
    took: Vec<u64>,
}

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, upstream, knows, datagrams, rate] = &args[..] else {
        eprintln!("forger SERVER UPSTREAM nothing|port|case DATAGRAMS RATE");
        std::process::exit(2);
    };
    let knows = match knows.as_str() {
        "nothing" => Knows::Nothing,
        "port" => Knows::Port,
        _ => Knows::PortAndCase,
    };
    let number = |text: &String| text.parse::<u64>().expect("a number");
    let (datagrams, rate) = (number(datagrams), number(rate).max(1));
    let by_tcp = Arc::new(AtomicU64::new(0));
    let (listener, counting) = (TcpListener::bind(upstream)?, Arc::clone(&by_tcp));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counting = Arc::clone(&counting);
            std::thread::spawn(move || serve(stream, &counting));
        }
    });
    let socket = UdpSocket::bind(upstream)?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(server)?;
    client.set_nonblocking(true)?;
    socket2::SockRef::from(&client).set_recv_buffer_size(4 << 20)?;

    let (mut inbox, mut outbox) = (Inbox::new(SLOTS, SLOT_LEN), Outbox::new(SLOTS, SLOT_LEN));
    let mut forged_box = Outbox::new(SLOTS, SLOT_LEN);
    let (mut pending, mut rng) = (VecDeque::<Pending>::new(), rand::rng());
    let mut asked: Vec<Option<Asked>> = (0..=u16::MAX).map(|_| None).collect();
    let (mut answers, mut buffer) = (Answers::default(), [0; 4096]);
    let (mut sent, mut forged, mut by_udp, mut turn) = (0u64, 0u64, 0u64, 0usize);
    let begun = Arc::new(OnceLock::new());
    let beginning = Arc::clone(&begun);
    std::thread::spawn(move || {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).expect("a line");
        beginning.set(Instant::now()).expect("the only one who says so");
    });
    let (longest, mut over) = (SETTLE + Duration::from_secs(30 + datagrams / LEAST_RATE), None);
    while over.is_none_or(|over: Instant| over.elapsed() < PATIENCE) {
        let now = Instant::now();
        // The upstream: what is asked, and right answers when they are due.
        while inbox.receive(&socket, false).is_ok_and(|received| received > 0) {
            for datagram in inbox.iter() {
                let Some(end) = question_end(datagram.octets) else { continue };
                let query = datagram.octets[..end].to_vec();
                pending.push_back(Pending { due: now + DELAY, route: datagram.route, query });
                by_udp += u64::from(begun.get().is_some());
            }
        }
        while pending.front().is_some_and(|one| one.due <= now)
            && let Some(one) = pending.pop_front()
        {
            if let Some(out) = outbox.slot() {
                let len = write_answer(&one.query, TRUTH, out);
                outbox.commit(len, Some(&one.route));
            }
            if outbox.len() == SLOTS {
                outbox.send(&socket, true);
            }
        }
        outbox.send(&socket, true);
        let Some(start) = begun.get().copied() else {
            std::thread::yield_now();
            continue;
        };
        // The forger.
        if over.is_none() && forged < datagrams && now > start + SETTLE && !pending.is_empty() {
            for _ in 0..SLOTS.min((datagrams - forged) as usize) {
                turn += 1;
                let target = &pending[turn % pending.len()];
                if let Some(out) = forged_box.slot() {
                    let (len, route) = forge(target, knows, &mut rng, out);
                    forged_box.commit(len, Some(&route));
                    forged += 1;
                }
            }
            // What nobody listens for is none the less sent.
            forged_box.send(&socket, true);
        }
        // The client, as long as there is forging.
        if over.is_none() && (forged == datagrams || now > start + longest) {
            over = Some(now);
        }
        while over.is_none() && start + Duration::from_nanos(sent * 1_000_000_000 / rate) <= now {
            let id = sent as u16;
            let question = question(sent);
            let mut packet = id.to_be_bytes().to_vec();
            packet.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            packet.extend_from_slice(&question);
            if asked[usize::from(id)].replace(Asked { at: now, question }).is_some() {
                answers.lost += 1;
            }
            client.send(&packet)?;
            sent += 1;
        }
        while let Ok(length) = client.recv(&mut buffer) {
            answers.take(&buffer[..length], &mut asked, now);
        }
    }
    let seconds = begun.get().zip(over).map(|(start, over)| (over - *start - SETTLE).as_secs_f64());
    answers.lost += asked.iter().filter(|one| one.is_some()).count() as u64;
    answers.took.sort_unstable();
    let at = |share: f64| {
        answers.took.get((answers.took.len() as f64 * share) as usize).map(|us| *us as f64 / 1e3)
    };
    println!(
        "{}",
        json!({
            "datagrams": forged, "seconds": seconds, "asked": sent, "right": answers.right, "forged": answers.forged,
            "other": answers.other, "lost": answers.lost, "by_udp": by_udp, "by_tcp": by_tcp.load(Ordering::Relaxed),
            "p50_ms": at(0.5), "p99_ms": at(0.99),
        })
    );
    Ok(())
}

impl Answers {
    /// Takes in a reply.
    fn take(&mut self, reply: &[u8], asked: &mut [Option<Asked>], now: Instant) {
        let Some(id) = reply.first_chunk::<2>() else { return };
        let repeats =
            |asked: &mut Asked| reply.get(HEADER_LEN..).is_some_and(|rest| rest.starts_with(&asked.question));
        let Some(query) = asked[usize::from(u16::from_be_bytes(*id))].take_if(repeats) else { return };
        self.took.push((now - query.at).as_micros() as u64);
        let is_answer = reply.get(3).is_some_and(|low| low & 15 == 0) && reply.get(6..8) == Some(&[0, 1]);
        match (is_answer, reply.last_chunk::<4>()) {
            (true, Some(&TRUTH)) => self.right += 1,
            (true, Some(&LIE)) => self.forged += 1,
            _ => self.other += 1,
        }
    }
}

/// The question section for an A record of the name of that number: sixteen letters and more.
fn question(number: u64) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in [format!("asked{number}"), "honest".to_owned(), "example".to_owned()] {
        // Both are short.
        octets.push(label.len() as u8);
        octets.extend_from_slice(label.as_bytes());
    }
    octets.extend_from_slice(&[0, 0, 1, 0, 1]);
    octets
}

/// Writes an answer to a query, and says how long it is.
fn write_answer(query: &[u8], address: [u8; 4], out: &mut [u8]) -> usize {
    let end = query.len();
    out[..end].copy_from_slice(query);
    // QR with RD as asked, RA; one record.
    (out[2], out[3]) = (out[2] | 0x80, 0x80);
    out[6..HEADER_LEN].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
    out[end..end + RECORD.len()].copy_from_slice(&RECORD);
    out[end + RECORD.len()..][..4].copy_from_slice(&address);
    end + RECORD.len() + 4
}

/// Writes a forged answer, and says how long it is and where it goes.
fn forge(target: &Pending, knows: Knows, rng: &mut ThreadRng, out: &mut [u8]) -> (usize, Route) {
    let len = write_answer(&target.query, LIE, out);
    out[..2].copy_from_slice(&rng.random::<[u8; 2]>());
    if knows != Knows::PortAndCase {
        let mut coins = rng.random::<u64>();
        // Type and class are no letters.
        for octet in
            out[HEADER_LEN..target.query.len() - 4].iter_mut().filter(|octet| octet.is_ascii_alphabetic())
        {
            *octet = if coins & 1 == 1 { octet.to_ascii_uppercase() } else { octet.to_ascii_lowercase() };
            coins >>= 1;
        }
    }
    if knows != Knows::Nothing {
        return (len, target.route);
    }
    let port = rng.random_range(FIRST_PORT..=u16::MAX);
    (len, Route { peer: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), local: None })
}

/// Answers on a connection until it ends, and counts what it is asked.
fn serve(mut stream: TcpStream, counting: &AtomicU64) {
    let mut octets = [0; SLOT_LEN];
    let mut reply = [0; SLOT_LEN];
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let length = usize::from(u16::from_be_bytes(length)).min(SLOT_LEN);
        if stream.read_exact(&mut octets[..length]).is_err() {
            return;
        }
        let Some(end) = question_end(&octets[..length]) else { return };
        counting.fetch_add(1, Ordering::Relaxed);
        let len = write_answer(&octets[..end], TRUTH, &mut reply[2..]);
        // An answer is shorter than 300 octets.
        reply[..2].copy_from_slice(&(len as u16).to_be_bytes());
        if stream.write_all(&reply[..2 + len]).is_err() {
            return;
        }
    }
}
