//! One question by datagram: a socket of its own, and deaf to everything but the reply.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use rand::Rng;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::Exchange;
use super::failure::Failure;
use super::message::{self, Heard, PAYLOAD_LEN, Query};
use crate::dns::Question;

/// A datagram that was not answered is sent again after this long: well above a slow resolver's round trip, and twice
/// within one try.
const RETRANSMIT: Duration = Duration::from_millis(600);
/// How often a datagram is sent again.
const MAX_RETRANSMITS: u32 = 3;
/// Wrong replies that one socket hears: many more than a confused server sends, far fewer than it takes to guess an ID of 16 bits.
const MAX_WRONG: usize = 64;
/// The first port that is not reserved (RFC 6335 §6).
const FIRST_PORT: u16 = 1024;
/// Ports that are tried before the system chooses one: of ten, all are taken only where nearly all are.
const MAX_PORTS: usize = 10;

/// Sockets that one question by datagram may have open at one time: it is sent again from another each time, and all are
/// listened on until its try is over.
pub fn sockets_per_question(try_timeout: Duration) -> usize {
    1 + (try_timeout.as_millis() / RETRANSMIT.as_millis()).min(u128::from(MAX_RETRANSMITS)) as usize
}

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

    /// Asks, and asks again so many times while nothing comes. Whatever comes first to any of the sockets is what came of it.
    async fn ask(&self, question: &Question, retransmits: u32) -> Result<Vec<u8>, Failure> {
        let mut once = pin!(ask_once(self.server, question));
        if retransmits == 0 {
            return once.await;
        }
        let again = async {
            sleep(RETRANSMIT).await;
            Box::pin(self.ask(question, retransmits - 1)).await
        };
        tokio::select! {
            biased;
            result = &mut once => result,
            result = again => match result {
                // Without another socket there is still the first.
                Err(Failure::Busy) => once.await,
                result => result,
            },
        }
    }
}

impl Exchange for Datagram {
    async fn exchange(&self, question: &Question) -> Result<Vec<u8>, Failure> {
        self.ask(question, MAX_RETRANSMITS).await
    }
}

/// Sends one datagram, and waits for its reply.
async fn ask_once(server: SocketAddr, question: &Question) -> Result<Vec<u8>, Failure> {
    let query = Query::new(question);
    let socket = connected(server).await?;
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

    #[test]
    fn a_question_takes_a_socket_each_time_it_is_sent() {
        for (try_ms, sockets) in [(10, 1), (599, 1), (600, 2), (1500, 3), (60_000, 4)] {
            assert_eq!(sockets_per_question(Duration::from_millis(try_ms)), sockets, "{try_ms}");
        }
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

    #[tokio::test(start_paused = true)]
    async fn a_question_is_sent_four_times_and_the_first_is_still_listened_for() {
        let (server, datagram) = pair().await;
        let replies = async {
            let (mut query, mut sent) = ([0; 512], Vec::new());
            for _ in 0..=MAX_RETRANSMITS {
                let (length, from) = server.recv_from(&mut query).await.unwrap();
                sent.push((from, query[..length].to_vec()));
            }
            let (from, mut reply) = sent[0].clone();
            reply[2] |= 0x80;
            server.send_to(&reply, from).await.unwrap();
            sent
        };
        let (result, sent) = tokio::join!(async { datagram.exchange(&question()).await }, replies);
        let mut reply = result.unwrap();
        reply[2] &= 0x7f;
        assert_eq!(reply, sent[0].1, "what came is the reply to the first");
        for (index, (from, query)) in sent.iter().enumerate() {
            assert_eq!(query[2..], sent[0].1[2..]);
            assert!(sent[..index].iter().all(|(other, _)| from != other), "each from a port of its own");
        }
    }
}
