//! Many questions in little time: an upstream that makes up its answers, and a client with many in flight.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::wire::{self, A};

/// TTL of what the mock answers, in seconds.
pub const TTL: u32 = 300;
/// Threads that ask, each with a socket of its own.
const CLIENTS: usize = 4;
/// Questions in flight for each of them; below 256, because they are told apart by an octet of the ID.
const WINDOW: usize = 48;
/// Times one question is sent before it counts as lost.
const TRIES: u32 = 20;

/// The one address of a name, in 198.18.0.0/15 (RFC 2544); case does not matter.
pub fn address_of(name: &str) -> IpAddr {
    address(&wire::name_octets(name)).into()
}

/// The same from a name's octets.
fn address(name: &[u8]) -> Ipv4Addr {
    let hash = name.iter().fold(0x811c_9dc5_u32, |hash, octet| {
        (hash ^ u32::from(octet.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
    });
    // FNV mixes upwards: its high bits are the good ones.
    Ipv4Addr::from_bits(0xc612_0000 | hash >> 15)
}

/// An upstream by UDP: every name has the address of its hash. Dropping it stops it.
pub struct Mock {
    addr: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// What the mock's thread shares.
#[derive(Default)]
struct State {
    stopped: AtomicBool,
    silent: AtomicBool,
    /// Whether its addresses begin with 199 instead of 198: to tell it from another.
    other: AtomicBool,
    /// Whether it gives DNS cookies.
    cookies: AtomicBool,
    asked: AtomicUsize,
}

impl Mock {
    /// Starts on a free port of 127.0.0.1.
    pub fn start() -> Mock {
        Mock::at("127.0.0.1:0".parse().expect("an address")).expect("a free port")
    }

    /// Starts at an address.
    ///
    /// # Errors
    /// When it is taken.
    pub fn at(addr: SocketAddr) -> std::io::Result<Mock> {
        let socket = UdpSocket::bind(addr)?;
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        let addr = socket.local_addr()?;
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        Ok(Mock { addr, state, thread: Some(std::thread::spawn(move || serve(&socket, &shared))) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many questions came.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Has its addresses begin with 199, so that its answers are told from those of another.
    pub fn be_other(&self) {
        self.state.other.store(true, Ordering::SeqCst);
    }

    /// Has it give DNS cookies to whoever sends one, and show them.
    pub fn give_cookies(&self) {
        self.state.cookies.store(true, Ordering::SeqCst);
    }

    /// Whether it hears and says nothing.
    pub fn silence(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::SeqCst);
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread.
        let woken = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], self.addr));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Answers until told to stop.
fn serve(socket: &UdpSocket, state: &State) {
    let mut packet = [0; 1024];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        if state.stopped.load(Ordering::SeqCst) {
            return;
        }
        state.asked.fetch_add(1, Ordering::SeqCst);
        if state.silent.load(Ordering::SeqCst) {
            continue;
        }
        let cookie = cookie(&packet[..length]).filter(|_| state.cookies.load(Ordering::SeqCst));
        if let Some(mut length) = answer(&mut packet, length, u8::from(state.other.load(Ordering::SeqCst))) {
            if let Some(cookie) = cookie {
                // The length of what is in OPT, and the option: a client's cookie and a server's.
                packet[length - 1] = 20;
                packet[length..length + 4].copy_from_slice(&[0, 10, 0, 16]);
                packet[length + 4..length + 12].copy_from_slice(&cookie);
                packet[length + 12..length + 20].copy_from_slice(b"server's");
                length += 20;
            }
            let _ = socket.send_to(&packet[..length], from);
        }
    }
}

/// The client's cookie of a query, if it carries one: the first option of OPT, which stands behind the question.
fn cookie(query: &[u8]) -> Option<[u8; 8]> {
    let mut end = 12;
    while *query.get(end)? != 0 {
        end += 1 + usize::from(query[end]);
    }
    let option = query.get(end + 5 + 11..)?;
    option.strip_prefix(&[0, 10])?.get(2..)?.first_chunk().copied()
}

/// Turns a query in a buffer into its answer, whose address begins with 198 and `other`; gives back the answer's length.
pub fn answer(packet: &mut [u8; 1024], length: usize, other: u8) -> Option<usize> {
    let mut end = 12;
    while *packet[..length].get(end)? != 0 {
        end += 1 + usize::from(packet[end]);
    }
    end += 1;
    let address = address(&packet[12..end]).octets();
    let is_a = *packet[..length].get(end..end + 2)? == A.to_be_bytes();
    end += 4;
    // QR, RA; one question, an answer perhaps, OPT.
    packet[2] |= 0x80;
    packet[3] = 0x80;
    packet[4..12].copy_from_slice(&[0, 1, 0, u8::from(is_a), 0, 0, 0, 1]);
    if is_a {
        let [t0, t1, t2, t3] = TTL.to_be_bytes();
        let [a, b, c, d] = address;
        let record = [0xc0, 12, 0, 1, 0, 1, t0, t1, t2, t3, 0, 4, a + other, b, c, d];
        packet.get_mut(end..end + 16)?.copy_from_slice(&record);
        end += 16;
    }
    packet.get_mut(end..end + 11)?.copy_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    Some(end + 11)
}

/// What came of asking.
#[derive(Debug, Default)]
pub struct Tally {
    /// Questions that got a reply.
    pub answered: usize,
    /// Times that a question was sent again.
    pub resent: usize,
    /// Questions without a reply.
    pub lost: usize,
}

/// Asks the question of each index below `count` (name and type) and has each reply judged, from several threads. A
/// question that is not answered within `patience` is sent again.
pub fn ask_all<Q, J>(server: SocketAddr, count: usize, patience: Duration, question: Q, judge: J) -> Tally
where
    Q: Fn(usize, &mut String) -> u16 + Sync,
    J: Fn(usize, &[u8]) + Sync,
{
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| client(server, patience, &next, count, &question, &judge)))
            .collect();
        clients.into_iter().map(|client| client.join().expect("a client")).fold(
            Tally::default(),
            |sum, part| Tally {
                answered: sum.answered + part.answered,
                resent: sum.resent + part.resent,
                lost: sum.lost + part.lost,
            },
        )
    })
}

/// A question in flight.
struct Flying {
    index: usize,
    packet: Vec<u8>,
    sent: Instant,
    tries: u32,
}

/// One thread's part of [`ask_all`].
fn client<Q, J>(
    server: SocketAddr,
    patience: Duration,
    next: &AtomicUsize,
    count: usize,
    question: &Q,
    judge: &J,
) -> Tally
where
    Q: Fn(usize, &mut String) -> u16,
    J: Fn(usize, &[u8]),
{
    let socket = wire::client_of(server);
    socket.set_read_timeout(Some(patience.min(Duration::from_millis(100)))).expect("a timeout");
    let (mut tally, mut name, mut buffer) = (Tally::default(), String::new(), [0; 4096]);
    let mut slots: Vec<Option<Flying>> = (0..WINDOW).map(|_| None).collect();
    let mut generation = 0_u8;
    // Fills a slot with the next question, if there is one.
    let mut launch = |slot: usize| {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= count {
            return None;
        }
        // The slot and a number that changes: a late second reply finds nobody.
        generation = generation.wrapping_add(1);
        let qtype = question(index, &mut name);
        let packet = wire::query(u16::from_be_bytes([generation, slot as u8]), &name, qtype);
        socket.send(&packet).expect("sent");
        Some(Flying { index, packet, sent: Instant::now(), tries: 1 })
    };
    for (slot, flying) in slots.iter_mut().enumerate() {
        *flying = launch(slot);
    }
    let mut looked = Instant::now();
    while slots.iter().any(Option::is_some) {
        if let Ok(length @ 12..) = socket.recv(&mut buffer) {
            let slot = usize::from(buffer[1]);
            let ours = |flying: &Flying| flying.packet[..2] == buffer[..2];
            if slots.get(slot).is_some_and(|flying| flying.as_ref().is_some_and(ours)) {
                let flying = slots[slot].take().expect("it is ours");
                judge(flying.index, &buffer[..length]);
                tally.answered += 1;
                slots[slot] = launch(slot);
            }
        }
        if looked.elapsed() >= patience / 2 {
            looked = Instant::now();
            for (slot, entry) in slots.iter_mut().enumerate() {
                let Some(flying) = entry.as_mut().filter(|flying| flying.sent.elapsed() >= patience) else {
                    continue;
                };
                if flying.tries >= TRIES {
                    tally.lost += 1;
                    *entry = launch(slot);
                } else {
                    socket.send(&flying.packet).expect("sent");
                    tally.resent += 1;
                    flying.tries += 1;
                    flying.sent = Instant::now();
                }
            }
        }
    }
    tally
}
