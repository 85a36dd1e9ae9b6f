//! A question put to a server by datagram or stream, and the reply as octets.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::dns::finish::MAX_UDP_LEN;
use crate::dns::wire::{self, EDNS_DO, FLAG_RD, FLAG_TC, HEADER_LEN, Header, MAX_MESSAGE_LEN, Owner};
use crate::iana::{Class, Rtype};
use crate::name::Name;

/// How long a reply is waited for before the question is put once more: longer than the server gives its upstreams by default.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a question is put by datagram.
const TRIES: usize = 2;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    /// The name.
    pub(super) name: Name,
    /// The type.
    pub(super) qtype: Rtype,
    /// DO.
    pub(super) dnssec_ok: bool,
}

/// A question that was answered.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Who answered.
    pub(super) server: SocketAddr,
    /// The reply.
    pub(super) reply: Vec<u8>,
    /// How long that took, from the last time that it was asked.
    pub(super) took: Duration,
    /// Whether the reply came by TCP.
    pub(super) by_tcp: bool,
    /// Whether a truncated one had come by UDP.
    pub(super) retried: bool,
}

/// The address that this machine asks a server from.
///
/// # Errors
/// When there is no way there.
pub(super) fn own_address(server: SocketAddr) -> io::Result<IpAddr> {
    // Nothing is sent by this.
    Ok(connected(server)?.local_addr()?.ip())
}

/// Asks, by TCP if so wanted or if what comes by UDP is truncated.
///
/// # Errors
/// Why there is no reply, in words.
pub(super) fn ask(question: &Question, server: SocketAddr, tcp: bool) -> Result<Exchange, String> {
    let why = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no reply in time".to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        _ => format!("cannot be asked: {error}"),
    };
    let packet = question.packet(rand::random());
    if !tcp {
        let (reply, took) = by_udp(&packet, server).map_err(why)?;
        if Header::read(&reply).is_none_or(|header| header.flags & FLAG_TC == 0) {
            return Ok(Exchange { server, reply, took, by_tcp: false, retried: false });
        }
    }
    let (reply, took) = by_tcp(&packet, server).map_err(why)?;
    Ok(Exchange { server, reply, took, by_tcp: true, retried: !tcp })
}

impl Question {
    /// The query under this ID.
    fn packet(&self, id: u16) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_UDP_LEN);
        [id, FLAG_RD, 1, 0, 0, 1].into_iter().for_each(|number| wire::put_u16(&mut out, number));
        wire::put_name(&mut out, &self.name);
        wire::put_u16(&mut out, self.qtype);
        wire::put_u16(&mut out, Class::IN);
        let flags = if self.dnssec_ok { EDNS_DO } else { 0 };
        // RFC 6891 §6.1.2: the class of an OPT record is the payload that its sender takes.
        wire::put_record(
            &mut out,
            Owner::Name(&Name::ROOT),
            Rtype::OPT,
            Class(MAX_UDP_LEN as u16),
            flags,
            &[],
        );
        out
    }
}

/// Asks by datagram, again if nothing comes.
fn by_udp(packet: &[u8], server: SocketAddr) -> io::Result<(Vec<u8>, Duration)> {
    let socket = connected(server)?;
    let mut reply = vec![0; MAX_MESSAGE_LEN];
    for _ in 0..TRIES {
        socket.send(packet)?;
        let sent = Instant::now();
        while let Some(left) = PATIENCE.checked_sub(sent.elapsed()).filter(|left| !left.is_zero()) {
            socket.set_read_timeout(Some(left))?;
            match socket.recv(&mut reply) {
                Ok(len) if reply.get(..len).is_some_and(|reply| answers(packet, reply)) => {
                    reply.truncate(len);
                    return Ok((reply, sent.elapsed()));
                }
                // Something else, or a late reply to somebody before us.
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Asks by stream.
fn by_tcp(packet: &[u8], server: SocketAddr) -> io::Result<(Vec<u8>, Duration)> {
    let began = Instant::now();
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // RFC 7766 §8: length and message in one write.
    let framed = [&(packet.len() as u16).to_be_bytes(), packet].concat();
    stream.write_all(&framed)?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut reply = vec![0; u16::from_be_bytes(len).into()];
    stream.read_exact(&mut reply)?;
    if !answers(packet, &reply) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the reply is to another question"));
    }
    Ok((reply, began.elapsed()))
}

/// A socket that hears this server alone.
fn connected(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(server)?;
    Ok(socket)
}

/// Whether these octets are a reply to that query: of its ID, and to its question unless that could not be read.
fn answers(packet: &[u8], reply: &[u8]) -> bool {
    let (Some(asked), Some(header)) = (Header::read(packet), Header::read(reply)) else { return false };
    let question =
        |message: &[u8]| wire::question(message).ok().map(|(name, qtype, class, _)| (name, qtype, class));
    let same = header.counts[0] == 0 && reply.len() >= HEADER_LEN || question(packet) == question(reply);
    header.is_response() && header.id == asked.id && same
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reply_to_the_question_is_taken() {
        let question =
            |name: &str| Question { name: name.parse().unwrap(), qtype: Rtype::A, dnssec_ok: false };
        let packet = question("a.example").packet(7);
        let reply = |name: &str, id| {
            let mut reply = question(name).packet(id);
            reply[2] |= 0x80;
            reply
        };
        assert!(answers(&packet, &reply("a.example", 7)) && answers(&packet, &reply("A.EXAMPLE", 7)));
        let refused = [&reply("a.example", 7)[..4], &[0; 8]].concat();
        assert!(answers(&packet, &refused), "an error may come without the question");
        for other in [reply("b.example", 7), reply("a.example", 8), packet.clone(), vec![0; 11], Vec::new()] {
            assert!(!answers(&packet, &other), "{other:02x?}");
        }
    }
}
