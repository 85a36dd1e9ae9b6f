//! Lines to a syslog server, as RFC 5424 has them: a datagram each.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::line::{Line, rfc3339};
use super::outlet::{Sink, Written};
use super::shown::Shown;
use super::{Format, Target, host_name};
use crate::time::UnixSeconds;

/// The priority: facility 3, system daemons, and severity 6, informational (RFC 5424 §6.2.1).
const PRIORITY: u8 = 3 * 8 + 6;
/// How long a datagram may wait for a server on this machine to read others first.
const PATIENCE: Duration = Duration::from_millis(500);

/// The server.
pub(super) struct Syslog {
    target: Target,
    format: Format,
    socket: Option<Socket>,
    host: String,
}

/// What leads there.
enum Socket {
    /// On this machine.
    Unix(UnixDatagram),
    /// By UDP.
    Udp(UdpSocket),
}

impl Syslog {
    /// It is reached when it is needed.
    pub(super) fn new(target: Target, format: Format) -> Syslog {
        // RFC 5424 §6.2.4: the NILVALUE where it is not known; PRINTUSASCII of at most 255 characters.
        let host = host_name().filter(|host| host.bytes().all(|octet| octet.is_ascii_graphic()));
        let host = host.filter(|host| (1..=255).contains(&host.len())).unwrap_or_else(|| "-".to_owned());
        Syslog { target, format, socket: None, host }
    }

    /// The message of a record, in the place of what is in `out` (RFC 5424 §6).
    fn message(&self, shown: &Shown<'_>, out: &mut Vec<u8>) {
        out.clear();
        let (time, host, pid) = (rfc3339(shown.answered), &self.host, std::process::id());
        out.extend_from_slice(format!("<{PRIORITY}>1 {time} {host} sinkscope {pid} query - ").as_bytes());
        Line::of(shown).write(self.format, out);
        // A message ends with its datagram.
        out.pop();
    }
}

impl Sink for Syslog {
    fn open(&mut self, _now: UnixSeconds) -> io::Result<()> {
        if self.socket.is_some() {
            return Ok(());
        }
        self.socket = Some(match &self.target {
            Target::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Socket::Unix(socket)
            }
            Target::Inet(addr) => {
                let own: SocketAddr = match addr {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(own)?;
                socket.connect(addr)?;
                Socket::Udp(socket)
            }
        });
        Ok(())
    }

    fn write(&mut self, records: &mut dyn Iterator<Item = Shown<'_>>, _now: UnixSeconds) -> Written {
        let (mut written, mut message) = (0, Vec::new());
        for shown in records {
            self.message(&shown, &mut message);
            let sent = match &self.socket {
                Some(Socket::Unix(socket)) => socket.send(&message),
                Some(Socket::Udp(socket)) => socket.send(&message),
                None => Err(io::ErrorKind::NotConnected.into()),
            };
            match sent {
                Ok(_) => written += 1,
                Err(error) => return Written { records: written, error: Some(error) },
            }
        }
        Written { records: written, error: None }
    }

    fn close(&mut self) {
        self.socket = None;
    }
}
