//! Random addresses to ask from: where a whole IPv6 prefix is this machine's, each port has another address of it.
//!
//! To a forger each is as good as 64 bits to guess, for a /64, and a server cannot tell who of many asks. The system has to take packets to all of
//! the prefix for its own (`ip -6 route add local PREFIX dev lo`), and no interface holds these addresses, so they are bound freely.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::access::{BadNetwork, Network};

/// Bits that are left to chance, at least: fewer addresses would hide nothing.
const MIN_BITS: u8 = 8;
/// How long a datagram to ourselves may take; it needs no more than a turn of the system.
const PATIENCE: Duration = Duration::from_millis(500);
/// What is sent to ourselves.
const GREETING: &[u8] = b"sinkscope";

/// A prefix that is all ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    network: Network,
}

impl Source {
    /// Whether a server is asked from it: over IPv6, and not on this machine or on its links, which have addresses of their own.
    pub(super) fn is_for(&self, server: IpAddr) -> bool {
        match server {
            IpAddr::V6(server) => {
                server.to_ipv4_mapped().is_none() && !server.is_loopback() && !server.is_unicast_link_local()
            }
            IpAddr::V4(_) => false,
        }
    }

    /// A socket at a random address of it, and this port.
    ///
    /// # Errors
    /// When the system does not bind it.
    pub(super) fn bind(&self, port: u16) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        #[cfg(target_os = "linux")]
        socket.set_freebind_v6(true)?;
        socket.bind(&SocketAddr::from(SocketAddrV6::new(self.draw(), port, 0, 0)).into())?;
        Ok(socket.into())
    }

    /// A random address of it.
    fn draw(&self) -> Ipv6Addr {
        let IpAddr::V6(first) = self.network.addr() else { return Ipv6Addr::UNSPECIFIED };
        let mask = u128::MAX.checked_shr(u32::from(self.network.prefix())).unwrap_or(0);
        loop {
            let chance = rand::random::<u128>() & mask;
            // RFC 4291 §2.6.1: the first one is every router's.
            if chance != 0 {
                return Ipv6Addr::from_bits(first.to_bits() | chance);
            }
        }
    }

    /// Whether the system takes what is sent to it for its own: a datagram from one of its addresses to another has to arrive.
    ///
    /// # Errors
    /// When it does not, or none can be bound.
    pub fn check(&self) -> io::Result<()> {
        let (here, there) = (self.bind(0)?, self.bind(0)?);
        // It is not to go beyond the next router, if it leaves at all.
        socket2::SockRef::from(&here).set_unicast_hops_v6(1)?;
        there.set_read_timeout(Some(PATIENCE))?;
        here.send_to(GREETING, there.local_addr()?)?;
        let mut octets = [0; GREETING.len()];
        there.recv_from(&mut octets).map(drop)
    }

    /// What makes the prefix this machine's.
    pub fn remedy(&self) -> String {
        format!("have the system take all of it for its own: ip -6 route add local {self} dev lo")
    }
}

impl FromStr for Source {
    type Err = BadSource;

    fn from_str(text: &str) -> Result<Source, BadSource> {
        let network: Network = text.trim().parse().map_err(BadSource::Network)?;
        match network.addr() {
            IpAddr::V6(_) if network.prefix() <= 128 - MIN_BITS => Ok(Source { network }),
            IpAddr::V6(_) => Err(BadSource::Small),
            IpAddr::V4(_) => Err(BadSource::Family),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network.addr(), self.network.prefix())
    }
}

/// Why a text is no such prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSource {
    /// It is no network.
    Network(BadNetwork),
    /// It is one of IPv4.
    Family,
    /// It leaves too little to chance.
    Small,
}

impl std::fmt::Display for BadSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadSource::Network(BadNetwork::Address) => f.write_str("is not a network"),
            BadSource::Network(error) => error.fmt(f),
            BadSource::Family => f.write_str("is a network of IPv4, where nobody has addresses to spare"),
            BadSource::Small => write!(f, "leaves fewer than {MIN_BITS} bits to chance"),
        }
    }
}

impl std::error::Error for BadSource {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn prefixes_are_read_and_shown() {
        for (text, expected) in [
            ("2001:db8:1::/64", Ok("2001:db8:1::/64")),
            (" 2001:DB8::/32 ", Ok("2001:db8::/32")),
            ("2001:db8::1:0:0:0/120", Ok("2001:db8:0:0:1::/120")),
            ("2001:db8::/121", Err("leaves fewer than 8 bits to chance")),
            ("2001:db8::1", Err("leaves fewer than 8 bits to chance")),
            ("2001:db8::1/64", Err("has bits set behind its prefix")),
            ("2001:db8::/129", Err("has a prefix that is not a number from 0 to 128")),
            ("192.0.2.0/24", Err("is a network of IPv4")),
            ("private", Err("is not a network")),
            ("", Err("is not a network")),
        ] {
            match (text.parse::<Source>(), expected) {
                (Ok(source), Ok(shown)) => assert_eq!(source.to_string(), shown),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn addresses_are_random_in_the_prefix() {
        for (prefix, least) in [("2001:db8:1::/64", 1000), ("2001:db8:1:2::ab00/120", 200)] {
            let source: Source = prefix.parse().unwrap();
            let drawn: HashSet<Ipv6Addr> = (0..1000).map(|_| source.draw()).collect();
            assert!(drawn.len() >= least, "{}", drawn.len());
            for address in drawn {
                assert!(
                    source.network.contains(address.into()) && IpAddr::V6(address) != source.network.addr()
                );
            }
        }
    }

    #[test]
    fn servers_on_this_machine_and_its_links_are_asked_from_their_own_addresses() {
        let source: Source = "2001:db8:1::/64".parse().unwrap();
        for (server, expected) in [
            ("2001:db8:2::1", true),
            ("fd00::1", true),
            ("::1", false),
            ("fe80::1", false),
            ("::ffff:192.0.2.1", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(source.is_for(server.parse().unwrap()), expected, "{server}");
        }
    }

    #[test]
    fn a_prefix_that_is_nobodys_is_found_out() {
        // Documentation (RFC 3849): no route leads there, or whatever leads there does not come back.
        let source: Source = "2001:db8:ffff:fff0::/64".parse().unwrap();
        assert!(source.check().is_err());
        assert!(source.remedy().contains("ip -6 route add local 2001:db8:ffff:fff0::/64 dev lo"));
    }
}
