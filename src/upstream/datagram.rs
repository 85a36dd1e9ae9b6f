//! One question by datagram: a socket of its own, and deaf to everything but the reply.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rand::Rng;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::Exchange;
use super::failure::Failure;
use super::message::{self, Heard, PAYLOAD_LEN, Query};
use crate::dns::Question;

/// Wrong replies that one socket hears: many more than a confused server sends, far fewer than it takes to guess an ID of 16 bits.
const MAX_WRONG: usize = 64;
/// The first port that is not reserved (RFC 6335 §6).
const FIRST_PORT: u16 = 1024;
/// Ports that are tried before the system chooses one: of ten, all are taken only where nearly all are.
const MAX_PORTS: usize = 10;

/// Asks one server by datagram, each time from a new random port with a new random ID. A reply may be truncated.
#[derive(Debug)]
pub(super) struct Datagram {
    server: SocketAddr,
}

impl Datagram {
    /// Asks the server at this address.
    pub(super) fn new(server: SocketAddr) -> Datagram {
        Datagram { server }
    }
}

impl Exchange for Datagram {
    /// Sends one datagram, and waits for its reply. Whoever waits long enough asks again, from another port with another ID; what
    /// comes to this one then is still its reply.
    async fn exchange(&self, question: &Question) -> Result<Vec<u8>, Failure> {
        let query = Query::new(question);
        let socket = connected(self.server).await?;
        // A new socket has room for a datagram; to hear that from tokio takes a turn of its loop.
        SockRef::from(&socket).send(query.octets())?;
        // One octet more than we asked for: a larger datagram is seen to be one.
        let mut datagram = vec![0; usize::from(PAYLOAD_LEN) + 1];
        for _ in 0..MAX_WRONG {
            // An ICMP error does not make a socket readable: it has to be asked for.
            let interest = Interest::READABLE | Interest::ERROR;
            let length = socket.async_io(interest, || (&*SockRef::from(&socket)).read(&mut datagram)).await?;
            if query.hears(&datagram[..length]) == Heard::Reply {
                datagram.truncate(length);
                if length > usize::from(PAYLOAD_LEN) {
                    // Larger than we said we take: the whole of it comes by stream.
                    message::cut(&mut datagram);
                }
                return Ok(datagram);
            }
            // RFC 5452 §9.1: what does not match is no reply, and may be a forgery.
        }
        Err(Failure::WrongReply)
    }
}

/// A socket on a random port, and connected: the kernel drops what comes from elsewhere, and "port unreachable" is heard at once.
async fn connected(server: SocketAddr) -> io::Result<UdpSocket> {
    let ip: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = bound(ip).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// A socket on a random port.
async fn bound(ip: IpAddr) -> io::Result<UdpSocket> {
    // RFC 5452 §9.2: a port that cannot be foreseen, from a range that is as large as possible; the system's own range is
    // less than half of it (RFC 6056 §3.2).
    for _ in 0..MAX_PORTS {
        let port = rand::rng().random_range(FIRST_PORT..=u16::MAX);
        match UdpSocket::bind((ip, port)).await {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {}
            other => return other,
        }
    }
    UdpSocket::bind((ip, 0)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iana::{Class, Rtype};

    /// `x.` A.
    fn question() -> Question {
        Question {
            qname: "x".parse().unwrap(),
            qtype: Rtype::A,
            qclass: Class::IN,
            dnssec_ok: false,
            checking_disabled: false,
        }
    }

    /// A server's socket, and what asks it.
    async fn pair() -> (UdpSocket, Datagram) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let datagram = Datagram::new(socket.local_addr().unwrap());
        (socket, datagram)
    }

    #[tokio::test]
    async fn a_flood_of_wrong_replies_ends_the_question() {
        let (server, datagram) = pair().await;
        let flood = async {
            let mut query = [0; 512];
            let (length, from) = server.recv_from(&mut query).await.unwrap();
            query[2] |= 0x80;
            query[1] ^= 1;
            for _ in 0..MAX_WRONG {
                server.send_to(&query[..length], from).await.unwrap();
            }
        };
        let (result, ()) = tokio::join!(async { datagram.exchange(&question()).await }, flood);
        assert_eq!(result, Err(Failure::WrongReply));
    }
}
