//! Garbage at both ports of a running program while good queries go on.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::flood::{self, address_of};
use super::garbage::{Garbage, Random};
use super::process::Program;
use super::wire::{self, A, Reply, framed};

/// Datagrams sent before replies are read: fewer than the system's buffers hold.
const BURST: usize = 32;
/// The listed name in a spelling that garbage does not have.
const PROBE: &str = "eViL.DdnS.nEt";
/// Times a probe is sent before the program counts as dead.
const PROBES: usize = 20;
/// Messages sent over one connection, at most.
const PER_CONNECTION: usize = 200;

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// Packets sent over UDP.
    pub udp: usize,
    /// Messages sent over TCP.
    pub tcp: usize,
    /// Connections they were sent over.
    pub connections: usize,
    /// Replies to garbage: datagrams, and reads that brought any.
    pub replies: usize,
    /// Good queries answered, all of them right.
    pub good: usize,
    /// Good queries that had to be sent again: garbage takes room in the same buffers.
    pub resent: usize,
    /// How long it took.
    pub took: Duration,
}

/// Sends `count` packets, one in ten over TCP, and asks for a listed name (evil.ddns.net) and others meanwhile.
///
/// # Panics
/// If a good query gets a wrong answer or none.
pub fn storm(program: &Program, count: usize, seed: u64) -> Report {
    let start = Instant::now();
    let (udp, tcp) = (count - count / 10, count / 10);
    let done = AtomicBool::new(false);
    let addr = program.addr();
    std::thread::scope(|scope| {
        let stream = scope.spawn(|| tcp_garbage(program.tcp[0], tcp, seed ^ 1));
        let good = scope.spawn(|| good_queries(addr, &done));
        let replies = udp_garbage(addr, udp, seed);
        let (connections, tcp_replies) = stream.join().expect("the TCP sender");
        done.store(true, Ordering::SeqCst);
        let (good, resent) = good.join().expect("good queries are answered");
        let took = start.elapsed();
        Report { udp, tcp, connections, replies: replies + tcp_replies, good, resent, took }
    })
}

/// Sends datagrams in bursts and reads what comes back; gives back the number of replies.
fn udp_garbage(addr: SocketAddr, count: usize, seed: u64) -> usize {
    let mut garbage = Garbage::new(seed);
    let (mut packet, mut replies) = (Vec::new(), 0);
    let mut socket = client(addr);
    for index in 0..count {
        // From another port now and then: the program's sockets share clients by port.
        if index % 10_000 == 9999 {
            socket = client(addr);
        }
        garbage.next(&mut packet);
        socket.send(&packet).expect("sent");
        if index % BURST == BURST - 1 {
            replies += drain(&socket, (index / BURST) as u16);
        }
    }
    replies + drain(&socket, 0)
}

/// Waits until all that was sent from a socket has been read: its last query comes back. Gives back how many replies to
/// others came before it.
fn drain(socket: &UdpSocket, id: u16) -> usize {
    let probe = wire::query(id, PROBE, A);
    let (mut buffer, mut replies) = ([0; 4096], 0);
    for _ in 0..PROBES {
        socket.send(&probe).expect("sent");
        while let Ok(length) = socket.recv(&mut buffer) {
            let reply = &buffer[..length];
            assert!(length >= 12 && reply[2] & 0x80 != 0, "what comes back is a response: {reply:?}");
            let question = probe.get(12..12 + PROBE.len() + 6);
            if reply[..2] == probe[..2] && reply.get(12..12 + PROBE.len() + 6) == question {
                return replies;
            }
            replies += 1;
        }
    }
    panic!("it no longer answers");
}

/// A socket whose reads wait long enough for a busy machine.
fn client(addr: SocketAddr) -> UdpSocket {
    let socket = wire::client_of(addr);
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    socket
}

/// Sends messages over connections: framed rightly or not, cut off, or closed at any point.
fn tcp_garbage(addr: SocketAddr, count: usize, seed: u64) -> (usize, usize) {
    let mut garbage = Garbage::new(seed);
    let mut random = Random(seed ^ 2);
    let (mut packet, mut buffer) = (Vec::new(), vec![0; 65_536]);
    let (mut sent, mut connections, mut replies) = (0, 0, 0);
    while sent < count {
        connections += 1;
        let Ok(mut stream) = TcpStream::connect(addr) else { continue };
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        let messages = 1 + random.below(PER_CONNECTION.min(count - sent));
        for _ in 0..messages {
            sent += 1;
            garbage.next(&mut packet);
            let mut message = framed(&packet);
            let lied = random.below(64) == 0;
            if lied {
                message[random.below(2)] = random.next() as u8;
            }
            if stream.write_all(&message).is_err() || lied {
                break;
            }
            // Some are read as they come, some pile up.
            if random.below(8) == 0 {
                let _ = stream.set_nonblocking(true);
                while stream.read(&mut buffer).is_ok_and(|length| length > 0) {
                    replies += 1;
                }
                let _ = stream.set_nonblocking(false);
            }
        }
        // Most wait for what is still to come; some are gone without a word.
        if random.below(8) > 0 && stream.shutdown(Shutdown::Write).is_ok() {
            while let Ok(1..) = stream.read(&mut buffer) {
                replies += 1;
            }
        }
    }
    (connections, replies)
}

/// Asks good questions until told to stop; gives back how many were answered and how many sent again.
fn good_queries(addr: SocketAddr, done: &AtomicBool) -> (usize, usize) {
    let (mut good, mut resent) = (0, 0);
    while !done.load(Ordering::SeqCst) || good == 0 {
        let name_of = |index: usize| match index % 2 {
            0 => "evil.ddns.net".to_owned(),
            _ => format!("good{index}.ddns.net"),
        };
        let question = |index: usize, name: &mut String| {
            *name = name_of(index);
            A
        };
        let tally = flood::ask_all(addr, 500, Duration::from_millis(500), question, |index, packet| {
            let (name, reply) = (name_of(index), Reply::read(packet).expect("a well-formed reply"));
            let expected = match index % 2 {
                0 => "NOERROR 0.0.0.0 EDE16 EDE4".to_owned(),
                _ => format!("NOERROR {}", address_of(&name)),
            };
            assert_eq!((reply.qname.as_str(), reply.show()), (name.as_str(), expected));
        });
        assert_eq!(tally.lost, 0);
        good += tally.answered;
        resent += tally.resent;
    }
    (good, resent)
}
