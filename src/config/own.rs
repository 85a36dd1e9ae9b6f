//! Whether an upstream is this server itself: asking it would go round in circles.

use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};

/// Whether a packet to `server` would reach one of the `listen` addresses.
pub(super) fn is_self(server: SocketAddr, listen: &[SocketAddr]) -> bool {
    let ip = server.ip().to_canonical();
    listen.iter().any(|own| {
        let own_ip = own.ip().to_canonical();
        own.port() == server.port()
            && ((own_ip == ip && scope(*own) == scope(server))
                || (own_ip.is_unspecified() && is_local(server)))
    })
}

/// Whether an address is one of this machine's.
fn is_local(server: SocketAddr) -> bool {
    let ip = server.ip().to_canonical();
    let any_port = match (server, ip) {
        // A link-local address is this machine's on one interface.
        (SocketAddr::V6(v6), IpAddr::V6(_)) => SocketAddrV6::new(*v6.ip(), 0, 0, v6.scope_id()).into(),
        _ => SocketAddr::new(ip, 0),
    };
    // Only an address of this machine can be bound: the portable way to ask without listing interfaces.
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind(any_port).is_ok()
}

/// The interface of a link-local address, else 0.
fn scope(addr: SocketAddr) -> u32 {
    if let SocketAddr::V6(addr) = addr { addr.scope_id() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ourselves_among_upstreams() {
        for (server, listen, expected) in [
            ("192.0.2.1:53", "127.0.0.1:53", false),
            ("127.0.0.1:53", "127.0.0.1:53", true),
            ("127.0.0.1:53", "127.0.0.1:5300", false),
            ("127.0.0.53:53", "127.0.0.1:53", false),
            ("127.0.0.53:53", "0.0.0.0:53", true),
            ("[::1]:53", "[::]:53", true),
            ("127.0.0.1:53", "[::]:53", true),
            ("192.0.2.1:53", "0.0.0.0:53", false),
            ("[::ffff:127.0.0.1]:53", "127.0.0.1:53", true),
            ("[fe80::1%7]:53", "[fe80::1%7]:53", true),
            ("[fe80::1%7]:53", "[fe80::1%8]:53", false),
        ] {
            assert_eq!(
                is_self(server.parse().unwrap(), &[listen.parse().unwrap()]),
                expected,
                "{server} {listen}"
            );
        }
    }
}
