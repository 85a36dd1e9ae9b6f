//! A message to or from an upstream, as octets in a ring and back. It goes to dnstap alone: lines are about clients.

use std::net::SocketAddr;
use std::time::Duration;

use super::octets::{ADDR_LEN, FORWARDED, LENGTH_LEN, Reader, addr_octets, is_forwarded, length, nanos};

/// Octets of what all begin with: their length, two times, an address, a port, and what carries it.
const HEAD_LEN: usize = LENGTH_LEN + 2 * 8 + ADDR_LEN + 2 + 1;
/// In place of the time at which a reply came, for a query.
const NEVER: u64 = u64::MAX;

/// A message to or from an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded<'f> {
    /// Who is asked.
    pub server: SocketAddr,
    /// How.
    pub carrier: Carrier,
    /// When the query went out, by the clock that only goes forward.
    pub sent: Duration,
    /// When the reply came, by the same clock; none if this is the query.
    pub heard: Option<Duration>,
    /// The message as it is on the wire, or within what is encrypted.
    pub message: &'f [u8],
}

/// What carries messages to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTP/2 (RFC 8484).
    Http2,
    /// DNS over HTTP/3.
    Http3,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

impl Carrier {
    /// All of them, at the place of their number.
    const ALL: [Carrier; 6] =
        [Carrier::Udp, Carrier::Tcp, Carrier::Tls, Carrier::Http2, Carrier::Http3, Carrier::Quic];
}

impl<'f> Forwarded<'f> {
    /// Puts it in the place of what is in `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        // Of 64 KiB at most, as all messages.
        let whole = (HEAD_LEN + self.message.len()) as u32;
        out.extend_from_slice(&(whole | FORWARDED).to_ne_bytes());
        out.extend_from_slice(&nanos(self.sent).to_ne_bytes());
        out.extend_from_slice(&self.heard.map_or(NEVER, nanos).to_ne_bytes());
        out.extend_from_slice(&addr_octets(self.server.ip()));
        out.extend_from_slice(&self.server.port().to_ne_bytes());
        out.push(self.carrier as u8);
        out.extend_from_slice(self.message);
    }

    /// The one at the start of `octets`, and what stands behind it; none if there is another entry, or no whole one.
    pub fn read(octets: &'f [u8]) -> Option<(Forwarded<'f>, &'f [u8])> {
        if !is_forwarded(octets) {
            return None;
        }
        let (octets, behind) = octets.split_at_checked(length(octets)?)?;
        let mut left = Reader(octets.get(LENGTH_LEN..)?);
        let sent = Duration::from_nanos(u64::from_ne_bytes(left.chunk()?));
        let heard = u64::from_ne_bytes(left.chunk()?);
        let heard = (heard != NEVER).then(|| Duration::from_nanos(heard));
        let ip = left.addr()?;
        let server = SocketAddr::new(ip, left.number()?);
        let [carrier] = left.chunk()?;
        let carrier = *Carrier::ALL.get(usize::from(carrier))?;
        Some((Forwarded { server, carrier, sent, heard, message: left.0 }, behind))
    }
}
