//! Whether an upstream is this server itself: asking it would go round in circles.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Whether a packet to `server` would reach one of the `listen` addresses.
pub(super) fn is_self(server: SocketAddr, listen: &[SocketAddr]) -> bool {
    let ip = server.ip().to_canonical();
    listen.iter().any(|own| {
        let own_ip = own.ip().to_canonical();
        own.port() == server.port() && (own_ip == ip || (own_ip.is_unspecified() && is_local(ip)))
    })
}

/// Whether an address is one of this machine's.
fn is_local(ip: IpAddr) -> bool {
    // Only an address of this machine can be bound: the portable way to ask without listing interfaces.
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
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
        ] {
            assert_eq!(
                is_self(server.parse().unwrap(), &[listen.parse().unwrap()]),
                expected,
                "{server} {listen}"
            );
        }
    }
}
