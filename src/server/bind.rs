//! Sockets to listen on. Errors are the system's own: `AddrInUse`, `PermissionDenied`, `AddrNotAvailable`, or an address
//! family that this host lacks (`EAFNOSUPPORT`).

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted, as the system allows (`somaxconn` caps it).
const BACKLOG: i32 = 1024;

/// Binds `count` UDP sockets (at least one) to one address, among which the system spreads clients; port 0 takes a
/// free one, the same for all. An IPv6 socket takes IPv6 only. An address that is not there yet can be taken on Linux. Each asks for buffers of `buffer_len` octets, of which the
/// system grants what it allows.
///
/// # Errors
/// The system's, of the first socket that fails; `AddrInUse` also when the port is another process's that would share it.
pub fn bind_udp(addr: SocketAddr, count: usize, buffer_len: usize) -> io::Result<Vec<UdpSocket>> {
    let first = udp_socket(addr, buffer_len)?;
    // Bound without SO_REUSEPORT: with it, a second process of the same user would silently get half of the packets. Set
    // afterwards, it lets our own others in. Rejected: a probe socket that is closed again, which leaves a gap.
    take(&first, addr)?;
    let addr = first.local_addr()?.as_socket().unwrap_or(addr);
    let mut sockets = vec![first];
    if count > 1 {
        sockets[0].set_reuse_port(true)?;
        for _ in 1..count {
            let socket = udp_socket(addr, buffer_len)?;
            socket.set_reuse_port(true)?;
            take(&socket, addr)?;
            sockets.push(socket);
        }
    }
    Ok(sockets.into_iter().map(UdpSocket::from).collect())
}

/// Binds a TCP listener; port 0 takes a free one. An IPv6 listener takes IPv6 only.
///
/// # Errors
/// The system's.
pub fn bind_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(addr, Type::STREAM, Protocol::TCP)?;
    // Connections of a previous run that linger in TIME_WAIT must not keep us from starting; a listening one still does.
    socket.set_reuse_address(true)?;
    take(&socket, addr)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds; on Linux also to an address that this machine does not have (yet), such as one that DHCP, a VPN or a failover
/// brings: packets come once it is there.
fn take(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    match socket.bind(&addr.into()) {
        #[cfg(target_os = "linux")]
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            // ip(7): IP_FREEBIND "allows binding to an IP address that is nonlocal or does not (yet) exist".
            match addr {
                SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
                SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
            }
            socket.bind(&addr.into())
        }
        bound => bound,
    }
}

/// An unbound UDP socket with large buffers.
fn udp_socket(addr: SocketAddr, buffer_len: usize) -> io::Result<Socket> {
    let socket = socket(addr, Type::DGRAM, Protocol::UDP)?;
    // Smaller buffers than wished for are no reason not to serve.
    let _ = socket.set_recv_buffer_size(buffer_len);
    let _ = socket.set_send_buffer_size(buffer_len);
    Ok(socket)
}

/// An unbound socket that does not block.
fn socket(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        // [::] and 0.0.0.0 at one port are two listeners, whatever the system's default.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The sockets of tests need no room.
    fn bind_udp(addr: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
        super::bind_udp(addr, count, 1 << 16)
    }

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn port_zero_takes_one_for_all() {
        let sockets = bind_udp(any_port(), 3).unwrap();
        let addrs: HashSet<SocketAddr> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        assert_eq!((sockets.len(), addrs.len()), (3, 1));
        assert!(addrs.iter().all(|addr| addr.port() != 0));
        assert_eq!(bind_udp(any_port(), 0).unwrap().len(), 1);
        assert_ne!(bind_tcp(any_port()).unwrap().local_addr().unwrap().port(), 0);
    }

    #[test]
    fn clients_are_spread_over_the_sockets() {
        let sockets = bind_udp(any_port(), 2).unwrap();
        let to = sockets[0].local_addr().unwrap();
        // The system picks by client port: 64 clients all on one side are as likely as heads 64 times.
        for _ in 0..64 {
            UdpSocket::bind(any_port()).unwrap().send_to(b"x", to).unwrap();
        }
        let count = |socket: &UdpSocket| std::iter::from_fn(|| socket.recv(&mut [0; 9]).ok()).count();
        let (left, right) = (count(&sockets[0]), count(&sockets[1]));
        assert!(left > 0 && right > 0 && left + right == 64, "{left} {right}");
    }

    #[test]
    fn a_taken_port_is_said_to_be_taken() {
        let sockets = bind_udp(any_port(), 2).unwrap();
        let addr = sockets[0].local_addr().unwrap();
        for count in [1, 2] {
            assert_eq!(bind_udp(addr, count).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
        let listener = bind_tcp(any_port()).unwrap();
        let addr = listener.local_addr().unwrap();
        assert_eq!(bind_tcp(addr).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_address_that_is_not_there_yet_is_taken() {
        // TEST-NET-3 (RFC 5737) is nobody's.
        let foreign = "203.0.113.9:0".parse().unwrap();
        let sockets = bind_udp(foreign, 2).unwrap();
        assert_eq!(sockets[0].local_addr().unwrap().ip(), foreign.ip());
        assert_eq!(sockets[0].local_addr().unwrap(), sockets[1].local_addr().unwrap());
        assert_eq!(bind_tcp(foreign).unwrap().local_addr().unwrap().ip(), foreign.ip());
    }

    #[test]
    fn both_families_share_a_port() {
        let four = bind_udp(any_port(), 1).unwrap();
        let six = SocketAddr::new("::1".parse().unwrap(), four[0].local_addr().unwrap().port());
        match bind_udp(six, 2) {
            Ok(sockets) => assert!(socket2::SockRef::from(&sockets[1]).only_v6().unwrap()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => eprintln!("skipped: this host has no IPv6 loopback ({error})"),
        }
    }
}
