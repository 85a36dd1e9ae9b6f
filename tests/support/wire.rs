//! DNS messages by hand: an independent view of what goes over the wire, with no code of the program in it.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Type numbers that tests ask for.
pub const A: u16 = 1;
/// IPv6 address.
pub const AAAA: u16 = 28;
/// Text.
pub const TXT: u16 = 16;
/// Service binding of the web.
pub const HTTPS: u16 = 65;

/// How long a client waits for one reply before it asks again.
const RETRANSMIT: Duration = Duration::from_secs(6);

/// A name as it goes on the wire; no escapes.
pub fn name_octets(name: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).expect("a label"));
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// A query with RD and EDNS.
pub fn query(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    let mut packet = Vec::with_capacity(name.len() + 29);
    write_query(id, name, qtype, &mut packet);
    packet
}

/// The same into a buffer, which is replaced.
pub fn write_query(id: u16, name: &str, qtype: u16, packet: &mut Vec<u8>) {
    packet.clear();
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]);
    packet.extend_from_slice(&name_octets(name));
    packet.extend_from_slice(&qtype.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    // OPT: root, type 41, payload 1232, no flags, no options.
    packet.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
}

/// A reply as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// ID.
    pub id: u16,
    /// Response code, extended by OPT.
    pub rcode: u16,
    /// Whether it is truncated.
    pub truncated: bool,
    /// The question's name as it came back, case and all.
    pub qname: String,
    /// Addresses in the answer section.
    pub addresses: Vec<IpAddr>,
    /// TTLs in the answer section.
    pub ttls: Vec<u32>,
    /// Records in the authority section.
    pub authority: u16,
    /// Whether it has OPT.
    pub edns: bool,
    /// Extended DNS Errors with their texts.
    pub ede: Vec<(u16, String)>,
}

impl Reply {
    /// Reads it; none if it is no reply to one question or does not add up.
    pub fn read(packet: &[u8]) -> Option<Reply> {
        let number = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
        let flags = number(2)?;
        if flags & 0x8000 == 0 || number(4)? != 1 {
            return None;
        }
        let (qname, mut at) = read_name(packet, 12)?;
        at += 4;
        let (answers, authority, additional) = (number(6)?, number(8)?, number(10)?);
        let mut reply = Reply {
            id: number(0)?,
            rcode: flags & 15,
            truncated: flags & 0x0200 != 0,
            qname,
            addresses: Vec::new(),
            ttls: Vec::new(),
            authority,
            edns: false,
            ede: Vec::new(),
        };
        for index in 0..u32::from(answers) + u32::from(authority) + u32::from(additional) {
            let (_, after_name) = read_name(packet, at)?;
            let (rtype, length) = (number(after_name)?, usize::from(number(after_name + 8)?));
            let ttl = u32::from_be_bytes(packet.get(after_name + 4..after_name + 8)?.try_into().ok()?);
            at = after_name + 10 + length;
            let data = packet.get(after_name + 10..at)?;
            if index < u32::from(answers) {
                reply.ttls.push(ttl);
                match rtype {
                    A => reply.addresses.push(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
                    AAAA => reply.addresses.push(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
                    _ => {}
                }
            } else if rtype == 41 {
                reply.edns = true;
                reply.rcode |= u16::try_from(ttl >> 24).ok()? << 4;
                reply.ede = read_ede(data)?;
            }
        }
        (at == packet.len()).then_some(reply)
    }

    /// In a line: rcode, addresses, EDE codes; `TC` when truncated.
    pub fn show(&self) -> String {
        let mut text = match self.rcode {
            0 => "NOERROR".to_owned(),
            2 => "SERVFAIL".to_owned(),
            3 => "NXDOMAIN".to_owned(),
            5 => "REFUSED".to_owned(),
            other => format!("RCODE{other}"),
        };
        if self.truncated {
            text.push_str(" TC");
        }
        for address in &self.addresses {
            let _ = write!(text, " {address}");
        }
        for (code, _) in &self.ede {
            let _ = write!(text, " EDE{code}");
        }
        text
    }

    /// Whether an order made this answer: an EDE of the kinds that say so (RFC 8914 §4.16 to §4.18).
    pub fn is_blocked(&self) -> bool {
        self.ede.iter().any(|(code, _)| (15..=17).contains(code))
    }
}

/// A name that may be compressed, and where what follows it begins.
fn read_name(packet: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut name, mut at, mut after) = (String::new(), start, None);
    for _ in 0..128 {
        let length = usize::from(*packet.get(at)?);
        match length {
            0 => return Some((name, after.unwrap_or(at + 1))),
            1..=63 => {
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(&String::from_utf8_lossy(packet.get(at + 1..at + 1 + length)?));
                at += 1 + length;
            }
            192.. => {
                after.get_or_insert(at + 2);
                at = (length & 63) << 8 | usize::from(*packet.get(at + 1)?);
            }
            _ => return None,
        }
    }
    None
}

/// The Extended DNS Errors among the options of an OPT record.
fn read_ede(mut options: &[u8]) -> Option<Vec<(u16, String)>> {
    let mut errors = Vec::new();
    while !options.is_empty() {
        let (head, rest) = options.split_first_chunk::<4>()?;
        let (code, length) =
            (u16::from_be_bytes([head[0], head[1]]), usize::from(u16::from_be_bytes([head[2], head[3]])));
        let (data, rest) = rest.split_at_checked(length)?;
        if code == 15 {
            let (info, text) = data.split_first_chunk::<2>()?;
            errors.push((u16::from_be_bytes(*info), String::from_utf8(text.to_vec()).ok()?));
        }
        options = rest;
    }
    Some(errors)
}

/// Asks by datagram and checks that the reply belongs to the question.
///
/// # Panics
/// When no reply comes, asked twice.
pub fn udp(server: SocketAddr, name: &str, qtype: u16) -> Reply {
    let socket = client_of(server);
    let packet = query(rand::random(), name, qtype);
    for _ in 0..2 {
        socket.send(&packet).expect("sent");
        if let Some(reply) = receive(&socket) {
            assert_eq!((reply.id.to_be_bytes(), reply.qname.as_str()), ([packet[0], packet[1]], name));
            return reply;
        }
    }
    panic!("no reply to {name}")
}

/// A socket that talks to one server.
pub fn client_of(server: SocketAddr) -> UdpSocket {
    let any = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(any).expect("a free port");
    socket.connect(server).expect("a server");
    socket.set_read_timeout(Some(RETRANSMIT)).expect("a timeout");
    socket
}

/// What is received, whatever interrupts the wait: one with a limit ends when the process is stopped and goes on, also where no
/// signal is handled (signal(7)).
pub fn uninterrupted<T>(mut receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match receive() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

/// The next reply, waited for; none when time is up.
pub fn receive(socket: &UdpSocket) -> Option<Reply> {
    let mut packet = [0; 4096];
    let length = uninterrupted(|| socket.recv(&mut packet)).ok()?;
    let packet = &packet[..length];
    Some(Reply::read(packet).unwrap_or_else(|| panic!("no well-formed reply: {packet:02x?}")))
}

/// A connection to a server.
pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("a connection");
    stream.set_read_timeout(Some(RETRANSMIT)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Asks over a new connection.
pub fn tcp(server: SocketAddr, name: &str, qtype: u16) -> Reply {
    let mut stream = connect(server);
    stream.write_all(&framed(&query(7, name, qtype))).expect("sent");
    let reply = read_framed(&mut stream).expect("a reply");
    assert_eq!((reply.id, reply.qname.as_str()), (7, name));
    reply
}

/// A message with its length in front (RFC 1035 §4.2.2).
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("a message");
    [&length.to_be_bytes()[..], message].concat()
}

/// The next message on a stream.
///
/// # Errors
/// When the stream ends or nothing comes in time.
pub fn read_framed(stream: &mut TcpStream) -> io::Result<Reply> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(Reply::read(&message).expect("a well-formed reply"))
}
