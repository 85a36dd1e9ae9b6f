//! The system's resolvers: `nameserver` lines of resolv.conf.

use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};

/// Where resolvers listen (RFC 1035 §4.2).
pub(super) const DNS_PORT: u16 = 53;
/// How many `nameserver` lines count, as in resolv.conf(5): MAXNS of the C library.
const MAX_NAMESERVERS: usize = 3;

/// The resolvers that a resolv.conf names, less those that are this server itself.
pub(super) fn servers(text: &str, listen: &[SocketAddr]) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("nameserver"));
    lines
        .filter(|rest| rest.starts_with([' ', '\t']))
        .filter_map(|rest| address(rest.split_whitespace().next()?))
        .take(MAX_NAMESERVERS)
        .filter(|server| !is_self(*server, listen))
        .collect()
}

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
    // Only an address of this machine can be bound; the portable way to ask without listing interfaces.
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

/// An address as resolv.conf has it; a scope must be a number, since names of interfaces need the system to read.
fn address(text: &str) -> Option<SocketAddr> {
    match text.split_once('%') {
        None => Some(SocketAddr::new(text.parse().ok()?, DNS_PORT)),
        Some((addr, scope)) => {
            Some(SocketAddrV6::new(addr.parse().ok()?, DNS_PORT, 0, scope.parse().ok()?).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_but_ourselves() {
        let own = "127.0.0.1:53";
        for (text, listen, expected) in [
            ("", own, ""),
            ("nameserver 192.0.2.1\n", own, "192.0.2.1:53"),
            (
                "# nameserver 192.0.2.9\n;nameserver 192.0.2.8\nnameserver\t2001:db8::1  # x\n",
                own,
                "[2001:db8::1]:53",
            ),
            ("nameserver 127.0.0.1\nnameserver 192.0.2.1", own, "192.0.2.1:53"),
            ("nameserver 127.0.0.1\n", "127.0.0.1:5300", "127.0.0.1:53"),
            ("nameserver 127.0.0.53\n", own, "127.0.0.53:53"),
            ("nameserver 127.0.0.53\nnameserver 192.0.2.1", "0.0.0.0:53", "192.0.2.1:53"),
            ("nameserver ::1\nnameserver 192.0.2.1", "[::]:53", "192.0.2.1:53"),
            ("nameserver fe80::1%2\nnameserver fe80::1%eth0", own, "[fe80::1%2]:53"),
            ("nameservers 192.0.2.1\nnameserver localhost\noptions edns0", own, ""),
            (
                "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4",
                own,
                "192.0.2.1:53 192.0.2.2:53 192.0.2.3:53",
            ),
        ] {
            let found: Vec<String> =
                servers(text, &[listen.parse().unwrap()]).iter().map(SocketAddr::to_string).collect();
            assert_eq!(found.join(" "), expected, "{text:?}");
        }
    }
}
