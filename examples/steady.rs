//! A steady load while a server's list is replaced: who got no answer, who a wrong one, and when the change was there.
//!
//!     cargo run --release --example steady -- 127.0.0.1:5300 20000 15 queries.txt 4 new.example old.example -- mv a b
//!
//! Server, queries a second, seconds; a file of `NAME listed` or `NAME innocent` a line, asked over and over; the second
//! at which the command behind `--` runs, a name that its list adds and one that it takes away. Of a hundred queries one is
//! for the added name, one for a name below it that nobody asked before, and one for the removed name. Queries come in
//! bursts at their times, whatever comes back. Prints JSON; times are in seconds or, where it says so, milliseconds.

use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

/// Queries of a burst: at 20,000 a second one comes each 250 us.
const BURST: u64 = 5;
/// Sockets they come from, so that no ID comes again before its query counts as lost.
const SOCKETS: usize = 8;
/// IDs of a socket.
const IDS: usize = 1 << 16;
/// A query without an answer after this is lost: clients ask again, or give up, about then.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest sleep between two looks at the sockets: what gaps are exact to.
const LOOK: Duration = Duration::from_micros(100);
/// The load was away itself when it did not look for longer.
const AWAY: Duration = Duration::from_millis(1);
/// Not measured at the beginning.
const SETTLE: Duration = Duration::from_secs(1);
/// The mock upstream's answer to everything.
const TRUTH: [u8; 4] = [198, 18, 0, 1];
/// Octets in a message header (RFC 1035 §4.1.1).
const HEADER_LEN: usize = 12;

/// What a query is for.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Listed,
    Innocent,
    Added,
    BelowAdded,
    Removed,
}

/// A query under way.
#[derive(Clone)]
struct Sent {
    at: Instant,
    kind: Kind,
    /// What its reply must repeat.
    question: Vec<u8>,
}

/// When a change was there for good: the first right answer after the last wrong one.
#[derive(Default)]
struct Live {
    since: Option<Instant>,
}

impl Live {
    fn see(&mut self, changed: bool, now: Instant) {
        self.since = if changed { self.since.or(Some(now)) } else { None };
    }

    fn after(&self, command: Instant) -> Option<f64> {
        self.since.map(|since| since.saturating_duration_since(command).as_secs_f64())
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, rate, seconds, file, at, added, removed, _, command @ ..] = &args[..] else {
        eprintln!("steady SERVER RATE SECONDS FILE AT ADDED REMOVED -- COMMAND...");
        std::process::exit(2);
    };
    let number = |text: &String| text.parse::<f64>().expect("a number");
    let (rate, length, at) = (number(rate) as u64, number(seconds), number(at));
    let text = std::fs::read_to_string(file).expect("a file of queries");
    let queries: Vec<(Vec<u8>, Kind)> = text
        .lines()
        .map(|line| match line.split_once(' ').expect("a name and what it is") {
            (name, "listed") => (question(name), Kind::Listed),
            (name, _) => (question(name), Kind::Innocent),
        })
        .collect();
    let sockets: Vec<UdpSocket> = (0..SOCKETS)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.connect(server).expect("a server");
            socket.set_nonblocking(true).expect("a socket that does not block");
            // As much as the system gives.
            let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
            socket
        })
        .collect();
    let mut slots: Vec<Vec<Option<Sent>>> = vec![vec![None; IDS]; SOCKETS];
    let (added, removed) = ((added.clone(), question(added)), question(removed));

    let start = Instant::now();
    let (end, command_due) = (start + Duration::from_secs_f64(length), start + Duration::from_secs_f64(at));
    let mut commanded: Option<(Instant, std::thread::JoinHandle<Duration>)> = None;
    let (mut sent, mut answered, mut late, mut failed, mut wrong) = (0u64, 0u64, 0u64, 0u64, 0u64);
    let (mut live, mut live_below, mut gone) = (Live::default(), Live::default(), Live::default());
    let (mut gap_before, mut gap, mut gap_at) = (Duration::ZERO, Duration::ZERO, start);
    let (mut stall, mut slowest) = (Duration::ZERO, Duration::ZERO);
    // How long the load was away since the last answer, and the longest gap without that.
    let (mut away, mut net_gap) = (Duration::ZERO, Duration::ZERO);
    let (mut last_answer, mut last_look) = (start, start);
    let mut buffer = [0; 4096];
    let mut packet = Vec::new();
    loop {
        let now = Instant::now();
        if now > end + PATIENCE {
            break;
        }
        if now > start + SETTLE {
            stall = stall.max(now - last_look);
            if now - last_look > AWAY {
                away += now - last_look;
            }
        }
        last_look = now;
        if commanded.is_none() && now >= command_due {
            let mut child = Command::new(&command[0]);
            child.args(&command[1..]).stdout(std::process::Stdio::null());
            let run = move || {
                let begun = Instant::now();
                assert!(child.status().expect("the command").success(), "the command failed");
                begun.elapsed()
            };
            commanded = Some((now, std::thread::spawn(run)));
        }
        while start + Duration::from_nanos(sent * 1_000_000_000 / rate) <= now && now < end {
            let (place, turn) = ((sent / BURST) as usize % SOCKETS, sent / (BURST * SOCKETS as u64));
            for index in 0..BURST {
                let id = ((turn * BURST + index) % IDS as u64) as u16;
                let (question, kind) = match sent % 100 {
                    // At different places of a burst.
                    11 => (added.1.clone(), Kind::Added),
                    42 => (question(&format!("q{sent}.{}", added.0)), Kind::BelowAdded),
                    73 => (removed.clone(), Kind::Removed),
                    _ => queries[sent as usize % queries.len()].clone(),
                };
                packet.clear();
                packet.extend_from_slice(&id.to_be_bytes());
                packet.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
                packet.extend_from_slice(&question);
                slots[place][usize::from(id)] = Some(Sent { at: now, kind, question });
                sent += 1;
                // A server that is away for a moment refuses: lost then.
                let _ = sockets[place].send(&packet);
            }
        }
        for (place, socket) in sockets.iter().enumerate() {
            loop {
                let length = match socket.recv(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    // That of a query before, which was refused: the next read has the replies.
                    Err(_) => continue,
                };
                let (now, reply) = (Instant::now(), &buffer[..length]);
                let Some(id) = reply.first_chunk::<2>() else { continue };
                let slot = &mut slots[place][usize::from(u16::from_be_bytes(*id))];
                let repeats = |sent: &Sent| {
                    reply.get(HEADER_LEN..).is_some_and(|rest| rest.starts_with(&sent.question))
                };
                let Some(query) = slot.take_if(|sent| repeats(sent)) else { continue };
                if now > start + SETTLE {
                    let since = now.saturating_duration_since(last_answer.max(start + SETTLE));
                    if commanded.is_none() {
                        gap_before = gap_before.max(since);
                    } else {
                        net_gap = net_gap.max(since.saturating_sub(away));
                        if since > gap {
                            (gap, gap_at) = (since, now);
                        }
                    }
                    away = Duration::ZERO;
                }
                last_answer = now;
                slowest = slowest.max(now - query.at);
                if now - query.at > PATIENCE {
                    late += 1;
                } else {
                    answered += 1;
                }
                let Some(sinkholed) = is_sinkholed(reply) else {
                    failed += 1;
                    continue;
                };
                match query.kind {
                    Kind::Listed => wrong += u64::from(!sinkholed),
                    Kind::Innocent => wrong += u64::from(sinkholed),
                    Kind::Added => live.see(sinkholed, now),
                    Kind::BelowAdded => live_below.see(sinkholed, now),
                    Kind::Removed => gone.see(!sinkholed, now),
                }
            }
        }
        let due = start + Duration::from_nanos(sent * 1_000_000_000 / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()).min(LOOK));
    }
    let (command_at, command_took) = commanded.expect("the command's time is within the run");
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    // Silence up to the end is a gap, too.
    let silent = end.saturating_duration_since(last_answer);
    if silent > gap {
        (gap, gap_at, net_gap) = (silent, end, silent);
    }
    let told = serde_json::json!({
        "sent": sent, "answered": answered, "lost": sent - answered, "late": late, "failed": failed, "wrong": wrong,
        "gap_before_ms": millis(gap_before), "gap_ms": millis(gap), "net_gap_ms": millis(net_gap),
        "gap_end_s": gap_at.saturating_duration_since(command_at).as_secs_f64(), "slowest_ms": millis(slowest),
        "stall_ms": millis(stall), "command_s": command_took.join().expect("it ended well").as_secs_f64(),
        "live_s": live.after(command_at), "live_below_s": live_below.after(command_at),
        "gone_s": gone.after(command_at),
    });
    println!("{told}");
}

/// The question section for an A record of a name.
fn question(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).expect("a label"));
        octets.extend_from_slice(label.as_bytes());
    }
    octets.extend_from_slice(&[0, 0, 1, 0, 1]);
    octets
}

/// Whether a reply without EDNS denies or sinkholes, or tells the truth; none if it says anything else.
fn is_sinkholed(reply: &[u8]) -> Option<bool> {
    match (reply.get(3)? & 15, reply.get(6..8)?) {
        (3, _) => Some(true),
        (0, [0, 1]) if reply.ends_with(&[0, 4, 0, 0, 0, 0]) => Some(true),
        (0, [0, 1]) if reply.ends_with(&TRUTH) => Some(false),
        _ => None,
    }
}
