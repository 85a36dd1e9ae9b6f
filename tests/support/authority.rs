//! A mock authoritative server on loopback, for everything that needs an upstream.
//!
//! ```ignore
//! let authority = Authority::start();
//! authority.script("www.example.com", A, Reply::new().cname("www.ddns.net").record("www.ddns.net", Data::A(ip)));
//! ask(authority.addr(), ...);
//! assert_eq!(authority.asked("www.example.com"), 1);
//! ```
//!
//! What is not scripted is made up from the name: any name has one address of each family ([`ipv4_of`], [`ipv6_of`]), and of
//! other types NODATA with SOA. It runs in a thread of its own, so it serves tests with and without a runtime alike. hickory's
//! server answers messages on one stream one after the other: a delay there delays the next as well.

use std::collections::HashMap;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::opt::EdnsOption;
use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, NULL, SOA};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::sync::oneshot;

/// TTL of all records that do not say otherwise, in seconds.
pub const TTL: u32 = 300;
/// Minimum of the SOA, which is how long negative answers live (RFC 2308 §5), in seconds.
pub const NEGATIVE_TTL: u32 = 60;

/// The IPv4 address of a name that is not scripted, in 198.18.0.0/16 (RFC 2544): case and a trailing dot do not matter.
pub fn ipv4_of(name: &str) -> Ipv4Addr {
    let [.., high, low] = hash(&key(name)).to_be_bytes();
    Ipv4Addr::new(198, 18, high, low)
}

/// The IPv6 address of a name that is not scripted, in 2001:db8::/64 (RFC 3849).
pub fn ipv6_of(name: &str) -> Ipv6Addr {
    Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(hash(&key(name))))
}

/// What to reply to one question; without anything said it is NOERROR without records.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    rcode: u16,
    authentic: bool,
    answers: Vec<(Option<String>, u32, Data)>,
    negative: bool,
    ede: Option<(u16, String)>,
    truncated: bool,
    silent: bool,
    delay: Duration,
}

/// A record's content.
#[derive(Clone, Debug)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// An alias.
    Cname(String),
    /// Any type's RDATA as it goes on the wire.
    Raw(u16, Vec<u8>),
}

impl Reply {
    /// NOERROR without records.
    pub fn new() -> Reply {
        Reply::default()
    }

    /// No reply at all.
    pub fn silence() -> Reply {
        Reply { silent: true, ..Reply::default() }
    }

    /// NXDOMAIN with SOA.
    pub fn nxdomain() -> Reply {
        Reply::new().rcode(3).soa()
    }

    /// Sets the response code, extended ones included.
    pub fn rcode(self, rcode: u16) -> Reply {
        Reply { rcode, ..self }
    }

    /// Adds an address of the question's name.
    pub fn a(mut self, address: Ipv4Addr) -> Reply {
        self.answers.push((None, TTL, Data::A(address)));
        self
    }

    /// Adds an alias: the question's name leads to `target`.
    pub fn cname(mut self, target: &str) -> Reply {
        self.answers.push((None, TTL, Data::Cname(target.to_owned())));
        self
    }

    /// Adds a record of another name to the answer section.
    pub fn record(mut self, owner: &str, data: Data) -> Reply {
        self.answers.push((Some(owner.to_owned()), TTL, data));
        self
    }

    /// Sets the TTL of all records added so far, in seconds.
    pub fn ttl(mut self, seconds: u32) -> Reply {
        self.answers.iter_mut().for_each(|(_, ttl, _)| *ttl = seconds);
        self
    }

    /// Adds the SOA that makes a negative answer cacheable.
    pub fn soa(self) -> Reply {
        Reply { negative: true, ..self }
    }

    /// Sets AD.
    pub fn authentic(self) -> Reply {
        Reply { authentic: true, ..self }
    }

    /// Adds an Extended DNS Error, if the query has EDNS.
    pub fn ede(self, code: u16, text: &str) -> Reply {
        Reply { ede: Some((code, text.to_owned())), ..self }
    }

    /// Over UDP: TC and no records. Over TCP: all of it.
    pub fn truncated_over_udp(self) -> Reply {
        Reply { truncated: true, ..self }
    }

    /// Waits before replying.
    pub fn after(self, delay: Duration) -> Reply {
        Reply { delay, ..self }
    }
}

/// The server; dropping it stops it.
pub struct Authority {
    addr: SocketAddr,
    zone: Arc<Zone>,
    running: Option<Running>,
}

/// A serving thread.
struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What the server knows and has seen.
#[derive(Default)]
struct Zone {
    scripted: Mutex<HashMap<(String, u16), Reply>>,
    asked: Mutex<HashMap<String, usize>>,
}

impl Authority {
    /// Starts on a free port of 127.0.0.1, UDP and TCP.
    pub fn start() -> Authority {
        for _ in 0..100 {
            let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let addr = udp.local_addr().unwrap();
            if let Ok(tcp) = std::net::TcpListener::bind(addr) {
                let zone = Arc::default();
                let running = Some(serve(udp, tcp, Arc::clone(&zone)));
                return Authority { addr, zone, running };
            }
        }
        panic!("no port is free for both protocols");
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the reply to questions for `name` of the type (by number), replacing what was there.
    pub fn script(&self, name: &str, rtype: impl Into<u16>, reply: Reply) {
        self.zone.scripted.lock().unwrap().insert((key(name), rtype.into()), reply);
    }

    /// How often `name` was asked for, whatever the type.
    pub fn asked(&self, name: &str) -> usize {
        self.zone.asked.lock().unwrap().get(&key(name)).copied().unwrap_or(0)
    }

    /// How many questions came in all.
    pub fn asked_in_all(&self) -> usize {
        self.zone.asked.lock().unwrap().values().sum()
    }

    /// Stops serving: its port refuses from here on. What is scripted and counted stays.
    pub fn stop(&mut self) {
        if let Some(Running { stop, thread }) = self.running.take() {
            // An error means that the thread is gone already.
            let _ = stop.send(());
            thread.join().expect("the authority does not panic");
        }
    }

    /// Serves again on the same port.
    pub fn restart(&mut self) {
        self.stop();
        for _ in 0..1000 {
            let bound = std::net::UdpSocket::bind(self.addr)
                .and_then(|udp| Ok((udp, std::net::TcpListener::bind(self.addr)?)));
            if let Ok((udp, tcp)) = bound {
                self.running = Some(serve(udp, tcp, Arc::clone(&self.zone)));
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("{} is taken", self.addr);
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Serves bound sockets in a thread until told to stop.
fn serve(udp: std::net::UdpSocket, tcp: std::net::TcpListener, zone: Arc<Zone>) -> Running {
    let (stop, stopped) = oneshot::channel();
    udp.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut server = Server::new(Handler { zone });
            server.register_socket(tokio::net::UdpSocket::from_std(udp).unwrap());
            let listener = tokio::net::TcpListener::from_std(tcp).unwrap();
            server.register_listener(listener, Duration::from_secs(10), 64);
            // A drop of the sender is a stop too.
            let _ = stopped.await;
        });
        // Whatever it still has to say is not said.
        runtime.shutdown_background();
    });
    Running { stop, thread }
}

/// hickory's side of it.
struct Handler {
    zone: Arc<Zone>,
}

impl RequestHandler for Handler {
    /// Written as the trait's macro would have it.
    fn handle_request<'s, 'r, 'f, R, T>(
        &'s self,
        request: &'r Request,
        response_handle: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'f>>
    where
        's: 'f,
        'r: 'f,
        R: ResponseHandler + 'f,
        T: Time + 'f,
    {
        Box::pin(self.handle(request, response_handle))
    }
}

impl Handler {
    /// Replies to one request, or does not.
    async fn handle<R: ResponseHandler>(&self, request: &Request, mut response: R) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        let nothing = ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() });
        let [query] = request.queries.queries() else { return nothing };
        let name = query.original().name().clone();
        let text = key(&name.to_ascii());
        *self.zone.asked.lock().unwrap().entry(text.clone()).or_default() += 1;
        let rtype = u16::from(query.query_type());
        let scripted = self.zone.scripted.lock().unwrap().get(&(text.clone(), rtype)).cloned();
        let reply = scripted.unwrap_or_else(|| made_up(&text, rtype));
        if !reply.delay.is_zero() {
            tokio::time::sleep(reply.delay).await;
        }
        if reply.silent {
            return nothing;
        }
        metadata.recursion_available = true;
        metadata.authentic_data = reply.authentic;
        metadata.truncation = reply.truncated && request.protocol() == Protocol::Udp;
        metadata.response_code = ResponseCode::from((reply.rcode >> 4) as u8, (reply.rcode & 0x0f) as u8);
        let (mut answers, mut soa) = (Vec::new(), Vec::new());
        if !metadata.truncation {
            answers.extend(reply.answers.iter().map(|(owner, ttl, data)| {
                let owner = owner.as_ref().map_or_else(|| name.clone(), |owner| parsed(owner));
                Record::from_rdata(owner, *ttl, rdata(data))
            }));
            if reply.negative {
                let data =
                    SOA::new(parsed("ns.test."), parsed("mail.test."), 1, 3600, 600, 86_400, NEGATIVE_TTL);
                soa.push(Record::from_rdata(Name::root(), TTL, RData::SOA(data)));
            }
        }
        let edns = request.edns.as_ref().map(|asked| edns(asked, &reply));
        let mut message = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            message.edns(edns);
        }
        let message = message.build(metadata, &answers, [], &soa, []);
        response.send_response(message).await.unwrap_or(nothing)
    }
}

/// The OPT record of a reply.
fn edns(asked: &Edns, reply: &Reply) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(asked.max_payload()).set_dnssec_ok(asked.flags().dnssec_ok);
    if let Some((code, text)) = &reply.ede {
        // RFC 8914 §2: the info code, then text.
        let option = [&code.to_be_bytes()[..], text.as_bytes()].concat();
        edns.options_mut().insert(EdnsOption::Unknown(15, option));
    }
    edns
}

/// What a name that is not scripted has.
fn made_up(name: &str, rtype: u16) -> Reply {
    match rtype {
        1 => Reply::new().a(ipv4_of(name)),
        28 => Reply { answers: vec![(None, TTL, Data::Aaaa(ipv6_of(name)))], ..Reply::new() },
        _ => Reply::new().soa(),
    }
}

/// A record's content in hickory's terms.
fn rdata(data: &Data) -> RData {
    match data {
        Data::A(address) => RData::A(A(*address)),
        Data::Aaaa(address) => RData::AAAA(AAAA(*address)),
        Data::Cname(target) => RData::CNAME(CNAME(parsed(target))),
        Data::Raw(code, octets) => {
            RData::Unknown { code: RecordType::Unknown(*code), rdata: NULL::with(octets.clone()) }
        }
    }
}

/// A name as a script writes it.
fn parsed(name: &str) -> Name {
    let mut name = Name::from_ascii(name).expect("a script's names are valid");
    name.set_fqdn(true);
    name
}

/// A name as a key: lower case, no trailing dot.
fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// FNV-1a: the same on every machine and in every run.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
