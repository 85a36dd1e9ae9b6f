//! The ports that one server is asked from: a few at a time, drawn at random, each soon replaced.
//!
//! A socket a question costs more than the question. So questions share ports, and who would forge a reply is given no more to go
//! by: a question goes out from one of [`LIVE`] ports that nobody knows, with a random ID and in random case; a port takes few
//! questions and does not live long; and the first reply that none of its questions has asked for ends it. There is one pool for
//! each server, whoever asks.
//!
//! Sockets are connected. The kernel then drops what does not come from the server (RFC 5452 §9.1), says at once when nobody
//! listens there, and answers a stranger's probe of the port as it answers for a port that is closed (SAD DNS, CVE-2020-25705).
//! They also hold the address and the route that they were opened with: when nothing comes any more, all are opened anew.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::begun::{Came, Landing, Outcome};
use super::cookies::{self, Cookie, Cookied, Cookies};
use super::failure::Failure;
use super::listener::{Listener, Listens};
use super::message::{self, Heard, Query};
use super::source::Source;

/// Ports that a question may go out from: 4 bits that a forger has to guess beyond those of each port.
const LIVE: usize = 16;
/// Questions that one port takes: for a million questions 20,000 are opened, of which 17,800 differ, and to open one costs each of them little.
const MAX_QUESTIONS: usize = 48;
/// How long a port takes questions: where few are asked, each goes out from a port of its own.
const MAX_AGE: Duration = Duration::from_secs(10);
/// Questions that a port remembers where no other one is to be had.
const MAX_CROWD: usize = 1024;
/// Ports of one server, with those that are listened on for late replies. When there are as many, ports take more questions.
pub const MAX_PORTS: usize = 256;
/// The longest reply that is taken whole: more than three times what we say we take, and as much as others say.
const MAX_REPLY_LEN: usize = 4096;
/// Datagrams that are received before other ports have a turn.
const BATCH: usize = 32;
/// The first port that is not reserved (RFC 6335 §6).
const FIRST_PORT: u16 = 1024;
/// Ports that a question is put to: one that a moment ago was there may be gone, or hold an error of what was sent before.
const MAX_PORTS_TRIED: usize = 3;
/// Ports that are tried before the system chooses one: of ten, all are taken only where nearly all are.
const MAX_TRIES: usize = 10;

/// The ports of one server.
#[derive(Debug)]
pub(super) struct Ports {
    server: SocketAddr,
    /// The prefix that they have addresses of; the system's choice without.
    source: Option<Source>,
    /// The most that are open.
    most: usize,
    shared: Arc<Shared>,
}

/// What all ports of a server have in common.
struct Shared {
    /// Those that take questions, each at a place of its own.
    live: Mutex<[Option<Arc<Port>>; LIVE]>,
    /// Who hears what comes to any of them.
    listener: Listener<Port>,
    /// Ports that are open.
    open: AtomicUsize,
    /// Replies so far.
    replies: AtomicU64,
    /// Replies that no question had asked for, or none in that case: somebody guesses.
    guesses: AtomicU64,
    /// What the server gave us, and has to show.
    cookies: Cookies,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ports, {:?} replies, {:?} guesses", self.open, self.replies, self.guesses)
    }
}

/// One port.
#[derive(Debug)]
struct Port {
    socket: UdpSocket,
    /// What the listener knows it by.
    place: usize,
    /// Our own: cookies belong to it.
    address: IpAddr,
    opened: Instant,
    asked: Mutex<Asked>,
    shared: Arc<Shared>,
}

/// What was asked from a port.
#[derive(Debug)]
struct Asked {
    questions: Vec<Put>,
    /// How many of them somebody waits for.
    waiting: usize,
    /// Whether no more are taken.
    retired: bool,
}

/// A question that went out. Its ID stays taken as long as the port is open: a late reply is no guess.
#[derive(Debug)]
struct Put {
    id: [u8; 2],
    /// Whoever waits for its reply.
    waiter: Option<(Query, Waiter)>,
}

/// Who waits for a reply.
enum Waiter {
    /// A task.
    Task(oneshot::Sender<Outcome>),
    /// Nobody: this is told what came, or at that time that nothing did.
    Landing(Landing, Instant),
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiter::Task(_) => f.write_str("a task"),
            Waiter::Landing(_, due) => write!(f, "a landing due at {due:?}"),
        }
    }
}

/// A question under way; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Waiting {
    port: Arc<Port>,
    id: [u8; 2],
    /// When it went out, as far as it matters: ports that were opened later are not doubted with it.
    since: Instant,
    reply: oneshot::Receiver<Outcome>,
    /// The server's replies before it.
    replies_before: u64,
    /// Whether something came.
    over: bool,
}

impl Ports {
    /// No port yet, and never more than `most`; questions carry cookies, or do not. Those of a prefix carry none: cookies belong to an
    /// address, of which each port has another one, and that is as hard to guess.
    pub(super) fn new(server: SocketAddr, most: usize, (cookies, source): (bool, Option<Source>)) -> Ports {
        let source = source.filter(|source| source.is_for(server.ip()));
        let shared = Shared {
            live: Mutex::default(),
            listener: Listener::default(),
            open: AtomicUsize::new(0),
            replies: AtomicU64::new(0),
            guesses: AtomicU64::new(0),
            cookies: Cookies::new(cookies && source.is_none()),
        };
        Ports { server, source, most: most.clamp(1, MAX_PORTS), shared: Arc::new(shared) }
    }

    /// Puts no more questions on the ports that are open now.
    pub(super) fn renew(&self) {
        self.shared.cookies.forget();
        self.shared.retire_all();
    }

    /// Replies that no question had asked for.
    pub(super) fn guesses(&self) -> u64 {
        self.shared.guesses.load(Ordering::Relaxed)
    }

    /// What cookies came to.
    pub(super) fn cookied(&self) -> Cookied {
        self.shared.cookies.cookied()
    }

    /// Asks without cookies for a while if it is just being tried whether the server bears them; whether it was.
    pub(super) fn stop_trying(&self) -> bool {
        self.shared.cookies.stop_trying()
    }

    /// Sends a query from a random port, under an ID that is random among those that are free there.
    ///
    /// # Errors
    /// When no port is to be had, or the system does not send.
    pub(super) fn put(&self, query: Query) -> Result<Waiting, Failure> {
        let replies_before = self.shared.replies.load(Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        match self.send(query, Waiter::Task(sender)) {
            Ok((port, id)) => {
                Ok(Waiting { port, id, since: Instant::now(), reply, replies_before, over: false })
            }
            Err((failure, _)) => Err(failure),
        }
    }

    /// The same without waiting: `landing` is told what came, or at `due` where that will be; at once if the query does not go out.
    pub(super) fn begin(&self, query: Query, landing: Landing, due: Instant) {
        if let Err((failure, waiter)) = self.send(query, Waiter::Landing(landing, due)) {
            waiter.told(Err(failure));
        }
    }

    /// Sends a query that somebody waits for; says where from, and under which ID.
    fn send(&self, mut query: Query, mut waiter: Waiter) -> Result<(Arc<Port>, [u8; 2]), (Failure, Waiter)> {
        let mut failed = Failure::Busy;
        for _ in 0..MAX_PORTS_TRIED {
            let port = match self.draw() {
                Ok(port) => port,
                Err(failure) => return Err((failure, waiter)),
            };
            (failed, query, waiter) = match port.put(query, waiter) {
                Ok(id) => return Ok((port, id)),
                Err(refused) => refused,
            };
            match failed {
                // Nothing is wrong with the port but that it is full.
                Failure::Busy => break,
                // Another thread has replaced it meanwhile.
                Failure::Closed if lock(&port.asked).retired => {}
                // What kept it from going out keeps others: the way there is another one by now, or this is what came back from what went
                // out before. A new port tells.
                _ => {
                    port.fail(&failed);
                    self.shared.retire_all();
                }
            }
        }
        Err((failed, waiter))
    }

    /// A random port that takes a question.
    fn draw(&self) -> Result<Arc<Port>, Failure> {
        let place = rand::rng().random_range(0..LIVE);
        let mut live = lock(&self.shared.live);
        if let Some(port) = live[place].as_ref().filter(|port| port.takes_more()) {
            return Ok(Arc::clone(port));
        }
        // Where there is no room for one more, one that is spent and idle makes it.
        // Where all were retired and are waited on, one is opened beyond that, so that there is one to ask from.
        let open = self.shared.open.load(Ordering::Relaxed);
        let is_bare = || live.iter().flatten().all(|port| lock(&port.asked).retired);
        let has_room = open < self.most || open < 2 * self.most && is_bare();
        let idle = live.iter().position(|port| port.as_ref().is_some_and(|port| port.is_done()));
        let opened = match has_room || idle.is_some() {
            true => Port::open((self.server, self.source), &self.shared).map_err(Failure::from),
            false => Err(Failure::Busy),
        };
        match opened {
            Ok(port) => {
                let makes_room = idle.filter(|_| !has_room).and_then(|idle| live[idle].take());
                let spent = live[place].replace(Arc::clone(&port));
                makes_room.into_iter().chain(spent).for_each(|port| port.retire());
                Ok(port)
            }
            // No more sockets are to be had: one that is there will do.
            Err(Failure::Busy) => {
                let there = || (0..LIVE).filter_map(|by| live[(place + by) % LIVE].as_ref());
                let found = there().find(|port| port.takes_more());
                let found = found.or_else(|| there().find(|port| !lock(&port.asked).retired));
                found.cloned().ok_or(Failure::Busy)
            }
            Err(failure) => Err(failure),
        }
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        self.shared.retire_all();
    }
}

impl Shared {
    /// Puts no more questions on the ports that are open now.
    fn retire_all(&self) {
        for port in std::mem::take(&mut *lock(&self.live)).into_iter().flatten() {
            port.retire();
        }
    }

    /// The same with those that were open then: while a server is down, each question that is given up would have all opened anew
    /// else, and those that wait would soon have all there may be.
    fn retire_before(&self, then: Instant) {
        let mut live = lock(&self.live);
        let doubted = |port: &mut Arc<Port>| port.opened <= then;
        let retired: Vec<_> = live.iter_mut().filter_map(|port| port.take_if(doubted)).collect();
        drop(live);
        retired.into_iter().for_each(|port| port.retire());
    }

    /// Whether a message may be taken for a query's reply, by its cookie. What is asked for once more in any case has no need of one.
    fn takes(&self, query: &Query, message: &[u8]) -> bool {
        let Some(carried) = query.carried() else { return true };
        let is_first = carried.len() == cookies::CLIENT_LEN;
        if message::is_truncated(message) || (is_first && message::may_be_about_edns(message)) {
            return true;
        }
        // One that cannot be read is as wrong as any.
        self.cookies.takes(carried, message::cookie(message).unwrap_or(Some(&[])))
    }
}

impl Waiting {
    /// Waits for the reply.
    pub(super) async fn reply(mut self) -> Outcome {
        let came = (&mut self.reply).await;
        self.over = true;
        // A runtime that ends takes its listeners along.
        came.unwrap_or(Err(Failure::Closed))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.port.give_up(self.id);
        // Nothing came for anybody since this went out: the server may be down, or our address or route is another one by now.
        let shared = &self.port.shared;
        if shared.replies.load(Ordering::Relaxed) == self.replies_before {
            shared.retire_before(self.since);
        }
    }
}

impl Port {
    /// Opens a random one, and listens on it as long as somebody may be waiting.
    fn open((server, source): (SocketAddr, Option<Source>), shared: &Arc<Shared>) -> io::Result<Arc<Port>> {
        let socket = bound(server.ip(), source)?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?.ip();
        shared.listener.add(|place| {
            shared.open.fetch_add(1, Ordering::Relaxed);
            let questions = Vec::with_capacity(MAX_QUESTIONS);
            let asked = Mutex::new(Asked { questions, waiting: 0, retired: false });
            let opened = Instant::now();
            Arc::new(Port { socket, place, address, opened, asked, shared: Arc::clone(shared) })
        })
    }

    /// Whether it may be asked from.
    fn takes_more(&self) -> bool {
        let asked = lock(&self.asked);
        !asked.retired && asked.questions.len() < MAX_QUESTIONS && self.opened.elapsed() < MAX_AGE
    }

    /// Whether it takes no more, and nobody waits there.
    fn is_done(&self) -> bool {
        !self.takes_more() && lock(&self.asked).waiting == 0
    }

    /// Sends a query that somebody waits for; gives back its ID.
    fn put(&self, mut query: Query, waiter: Waiter) -> Result<[u8; 2], (Failure, Query, Waiter)> {
        let mut asked = lock(&self.asked);
        if asked.retired {
            // Nobody may be listening any more.
            return Err((Failure::Closed, query, waiter));
        }
        if asked.questions.len() >= MAX_CROWD {
            // What nobody waits for is forgotten, the older half of it: of the younger a reply may still be on its way.
            let mut older = MAX_CROWD / 2;
            asked.questions.retain(|put| {
                older = older.saturating_sub(1);
                older == 0 || put.waiter.is_some()
            });
        }
        if asked.questions.len() >= MAX_CROWD {
            return Err((Failure::Busy, query, waiter));
        }
        // Of 65,536 IDs most are free, so this ends soon.
        while asked.questions.iter().any(|put| put.id == query.id()) {
            query.draw_id();
        }
        if query.may_carry() {
            let cookie = self.shared.cookies.carried(self.address);
            query.carry(cookie.as_ref().map_or(&[], Cookie::octets));
        }
        // Under the lock: the reply may be here before the call is back.
        // Where the socket's buffer is full, as of what waits for a neighbour that is not there, it is a datagram lost like others.
        if let Err(error) = self.socket.send(query.octets())
            && error.kind() != io::ErrorKind::WouldBlock
        {
            return Err((Failure::from(error), query, waiter));
        }
        query.goes_out();
        if let Waiter::Landing(_, due) = waiter {
            self.shared.listener.look_at(due);
        }
        let id = query.id();
        asked.questions.push(Put { id, waiter: Some((query, waiter)) });
        asked.waiting += 1;
        Ok(id)
    }

    /// Nobody waits for the reply to this ID any more.
    fn give_up(&self, id: [u8; 2]) {
        let mut asked = lock(&self.asked);
        if let Some(put) = asked.questions.iter_mut().find(|put| put.id == id)
            && put.waiter.take().is_some()
        {
            asked.waiting -= 1;
            self.note_waiting(&asked);
        }
    }

    /// Takes no more questions.
    fn retire(&self) {
        let mut asked = lock(&self.asked);
        asked.retired = true;
        self.note_waiting(&asked);
    }

    /// Ends all that wait.
    fn fail(&self, failure: &Failure) {
        let mut asked = lock(&self.asked);
        (asked.retired, asked.waiting) = (true, 0);
        let waiters: Vec<_> = asked.questions.iter_mut().filter_map(|put| put.waiter.take()).collect();
        self.note_waiting(&asked);
        drop(asked);
        for (_, waiter) in waiters {
            waiter.told(Err(failure.clone()));
        }
    }

    /// Is not listened on any longer if nobody waits any more, nor will.
    fn note_waiting(&self, asked: &Asked) {
        if asked.retired && asked.waiting == 0 {
            self.shared.listener.remove(self.place, self);
        }
    }

    /// Takes in a datagram from the server's address; says who is to be told what.
    fn heard(&self, octets: &[u8], whole: bool) -> Result<Option<(Waiter, Outcome)>, Guessed> {
        let Some(id) = octets.first_chunk() else { return Ok(None) };
        let mut asked = lock(&self.asked);
        // RFC 5452 §9.2: nobody asked for that. It may be one of many to come, until one of them fits: what waits here is
        // asked by stream, and nothing more goes out from a port that somebody knows.
        let put = asked.questions.iter_mut().find(|put| put.id == *id).ok_or(Guessed)?;
        // One that is too late, or that the network brings twice.
        let Some((query, _)) = &put.waiter else { return Ok(None) };
        query.comes_back(octets);
        let reply = match query.hears(octets) {
            Heard::Reply | Heard::Bare(_) | Heard::OtherCase
                if whole && !self.shared.takes(query, octets) =>
            {
                Err(Failure::WrongCookie)
            }
            heard @ (Heard::Reply | Heard::OtherCase) => {
                let mut reply = octets.to_vec();
                message::fold_question(&mut reply);
                if !whole {
                    // The rest of it is lost; the whole comes by stream.
                    message::cut(&mut reply);
                }
                if heard == Heard::OtherCase {
                    // All is right but for what is left to guess then.
                    self.shared.guesses.fetch_add(1, Ordering::Relaxed);
                    Err(Failure::WrongCase(reply))
                } else {
                    self.shared.replies.fetch_add(1, Ordering::Relaxed);
                    Ok(reply)
                }
            }
            Heard::Bare(rcode) => {
                self.shared.replies.fetch_add(1, Ordering::Relaxed);
                Ok(query.reply_of(rcode))
            }
            Heard::Other => {
                self.shared.guesses.fetch_add(1, Ordering::Relaxed);
                Err(Failure::WrongReply)
            }
            Heard::Noise => Err(Failure::WrongReply),
            // A query of its own, or ours come back.
            Heard::Query => return Ok(None),
        };
        let told = put.waiter.take().map(|(_, waiter)| (waiter, reply));
        asked.waiting -= usize::from(told.is_some());
        self.note_waiting(&asked);
        Ok(told)
    }
}

/// A reply came that no question at this port has asked for.
struct Guessed;

impl Listens for Port {
    /// One octet more than is taken: what fills it was longer.
    const MAX_LEN: usize = MAX_REPLY_LEN + 1;

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes in what has come; whether there may be more.
    fn hear(&self, buffer: &mut [u8]) -> bool {
        for _ in 0..BATCH {
            match self.socket.recv(buffer) {
                Ok(length) => {
                    let whole = length <= MAX_REPLY_LEN;
                    match self.heard(&buffer[..length.min(MAX_REPLY_LEN)], whole) {
                        Ok(Some((waiter, outcome))) => waiter.told(outcome),
                        Ok(None) => {}
                        Err(Guessed) => {
                            self.shared.guesses.fetch_add(1, Ordering::Relaxed);
                            self.fail(&Failure::WrongReply);
                            return false;
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    // What ICMP says of what was sent from here (RFC 1122 §4.1.3.3).
                    self.fail(&Failure::from(error));
                    return false;
                }
            }
            // What comes that nobody waits for is heard with what comes next: to find that nothing has come costs as much as a reply.
            if lock(&self.asked).waiting == 0 {
                return false;
            }
        }
        true
    }

    /// Tells those who have waited for long enough where the reply will be.
    fn look(self: &Arc<Port>, now: Instant) -> Option<Instant> {
        let mut due = Vec::new();
        let mut next = None::<Instant>;
        let replies_before = self.shared.replies.load(Ordering::Relaxed);
        for Put { id, waiter } in &mut lock(&self.asked).questions {
            match waiter.take() {
                Some((query, Waiter::Landing(landing, at))) if at <= now => {
                    let (sender, reply) = oneshot::channel();
                    *waiter = Some((query, Waiter::Task(sender)));
                    let port = Arc::clone(self);
                    due.push((
                        landing,
                        Waiting { port, id: *id, since: now, reply, replies_before, over: false },
                    ));
                }
                other => {
                    if let Some((_, Waiter::Landing(_, at))) = &other {
                        next = Some(next.map_or(*at, |next| next.min(*at)));
                    }
                    *waiter = other;
                }
            }
        }
        for (landing, waiting) in due {
            land(landing, Came::NotYet(Box::pin(waiting.reply())));
        }
        next
    }

    fn gone(&self) {
        self.fail(&Failure::Closed);
    }
}

impl Waiter {
    /// Tells what came.
    fn told(self, outcome: Outcome) {
        match self {
            // Whoever gave up a moment ago needs to hear nothing.
            Waiter::Task(sender) => drop(sender.send(outcome)),
            Waiter::Landing(landing, _) => land(landing, Came::Reply(outcome)),
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells a landing what came. Should that panic, it is one question's end, and not that of all who wait at the port.
fn land(landing: Landing, came: Came) {
    // Unwind safety: a landing owns what it holds, and what it shares is its own concern.
    let _ = catch_unwind(AssertUnwindSafe(|| landing(came)));
}

/// A socket on a random port of the family, at a random address of the prefix if there is one.
fn bound(family: IpAddr, source: Option<Source>) -> io::Result<UdpSocket> {
    let ip: IpAddr = match family {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let bind = |port| match source {
        Some(source) => source.bind(port),
        None => UdpSocket::bind((ip, port)),
    };
    // RFC 5452 §9.2: a port that cannot be foreseen, from a range that is as large as possible; the system's own range is
    // less than half of it (RFC 6056 §3.2).
    for _ in 0..MAX_TRIES {
        let port = rand::rng().random_range(FIRST_PORT..=u16::MAX);
        match bind(port) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {}
            other => return other,
        }
    }
    bind(0)
}

/// What a lock holds; whoever panicked with it left it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
