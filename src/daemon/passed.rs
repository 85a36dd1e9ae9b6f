//! Sockets that the service manager passed (socket activation, sd_listen_fds(3)): they were there before this process and will be
//! after it, so that a restart loses no query.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use socket2::{Socket, Type};

use crate::config;
use crate::problem::Problem;
use crate::system;

/// Sockets that somebody else holds as well, each with its address.
#[derive(Debug, Default)]
pub struct Passed {
    /// Those that take datagrams.
    pub(super) udp: Vec<(SocketAddr, UdpSocket)>,
    /// Those that take connections.
    pub(super) tcp: Vec<(SocketAddr, TcpListener)>,
    /// What cannot be used, and why.
    pub(super) warnings: Vec<Problem>,
}

/// What one of them is.
enum Kind {
    /// It takes datagrams.
    Udp(SocketAddr, UdpSocket),
    /// It takes connections.
    Tcp(SocketAddr, TcpListener),
}

impl Passed {
    /// All of this process; those of a second call are none.
    pub fn take() -> Passed {
        let mut passed = Passed::default();
        let sockets = system::passed_sockets().unwrap_or_else(|error| {
            let message = format!("what the service manager passed cannot be taken: {error}");
            passed.warnings.push(Problem::warning("system", None, message));
            Vec::new()
        });
        for (name, socket) in sockets {
            match classify(socket) {
                Ok(Kind::Udp(addr, socket)) => passed.udp.push((addr, socket)),
                Ok(Kind::Tcp(addr, listener)) => passed.tcp.push((addr, listener)),
                Err(error) => {
                    let message =
                        format!("the socket \"{name}\" that the service manager passed is not used: {error}");
                    let hint =
                        "its unit is to have ListenDatagram= and ListenStream= with an address and a port";
                    passed.warnings.push(Problem::warning("system", None, message).hint(hint));
                }
            }
        }
        passed
    }

    /// Where they are.
    pub fn addresses(&self) -> config::Passed {
        let udp = self.udp.iter().map(|(addr, _)| *addr).collect();
        config::Passed { udp, tcp: self.tcp.iter().map(|(addr, _)| *addr).collect() }
    }

    /// Sockets there are.
    pub(super) fn count(&self) -> usize {
        self.udp.len() + self.tcp.len()
    }
}

/// What a socket is, by what the system says of it.
fn classify(socket: OwnedFd) -> io::Result<Kind> {
    let socket = Socket::from(socket);
    let other = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
    let addr = socket.local_addr()?.as_socket().ok_or_else(|| other("it has no IP address"))?;
    match socket.r#type()? {
        Type::DGRAM => Ok(Kind::Udp(addr, socket.into())),
        Type::STREAM if is_listening(&socket)? => {
            // As tokio wants it; those we bind are made so.
            socket.set_nonblocking(true)?;
            Ok(Kind::Tcp(addr, socket.into()))
        }
        Type::STREAM => Err(other("it is one connection, which Accept=yes makes of each")),
        _ => Err(other("it takes neither datagrams nor connections")),
    }
}

/// Whether a stream's socket waits for connections.
fn is_listening(socket: &Socket) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    return socket.is_listener();
    #[cfg(not(target_os = "linux"))]
    Ok(socket.peer_addr().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn sockets_are_told_apart_by_what_they_are() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = udp.local_addr().unwrap();
        assert!(matches!(classify(udp.into()), Ok(Kind::Udp(addr, _)) if addr == at));
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = tcp.local_addr().unwrap();
        let connection = TcpStream::connect(at).unwrap();
        assert!(matches!(classify(tcp.into()), Ok(Kind::Tcp(addr, _)) if addr == at));
        let unix = UnixDatagram::unbound().unwrap();
        for (socket, why) in [(OwnedFd::from(connection), "Accept=yes"), (unix.into(), "no IP address")] {
            let error = classify(socket).err().expect("no listener").to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
