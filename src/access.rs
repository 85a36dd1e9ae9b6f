//! Who may ask: client networks. Everybody else is refused (EDE 18), so that this is never an open resolver by accident.
//! Of those who may, few have upstream asked by a query that does not desire recursion: mostly nobody.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::interface::is_link_local;

/// The machine itself (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3).
const LOOPBACK: [Network; 2] =
    [Network::v4(Ipv4Addr::new(127, 0, 0, 0), 8), Network::v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 1), 128)];

/// Networks that are not the public internet: private use (RFC 1918), shared (RFC 6598), link-local (RFC 3927,
/// RFC 4291 §2.5.6) and unique local (RFC 4193) addresses.
const PRIVATE: [Network; 7] = [
    Network::v4(Ipv4Addr::new(10, 0, 0, 0), 8),
    Network::v4(Ipv4Addr::new(172, 16, 0, 0), 12),
    Network::v4(Ipv4Addr::new(192, 168, 0, 0), 16),
    Network::v4(Ipv4Addr::new(100, 64, 0, 0), 10),
    Network::v4(Ipv4Addr::new(169, 254, 0, 0), 16),
    Network::v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    Network::v6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
];

/// Everybody.
const ANY: [Network; 2] = [Network::v4(Ipv4Addr::UNSPECIFIED, 0), Network::v6(Ipv6Addr::UNSPECIFIED, 0)];

/// The clients that may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    /// Networks, any of which lets a client in.
    networks: Vec<Network>,
    /// Networks whose queries are put upstream though they do not desire recursion.
    without_rd: Vec<Network>,
}

impl AccessList {
    /// Reads entries: `loopback`, `private`, `any`, an address, or a network such as `192.0.2.0/24`.
    ///
    /// # Errors
    /// The position of each entry that is none of these, and what is wrong with it.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<AccessList, Vec<(usize, BadNetwork)>> {
        let (mut networks, mut bad) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            match entry.as_ref().trim() {
                "loopback" => networks.extend(LOOPBACK),
                "private" => networks.extend(PRIVATE),
                "any" => networks.extend(ANY),
                other => match other.parse() {
                    Ok(network) => networks.push(network),
                    Err(error) => bad.push((index, error)),
                },
            }
        }
        if bad.is_empty() { Ok(AccessList { networks, without_rd: Vec::new() }) } else { Err(bad) }
    }

    /// The same clients, those of `list` among them with recursion though they do not desire it.
    #[must_use]
    pub fn without_rd(self, list: AccessList) -> AccessList {
        AccessList { without_rd: list.networks, ..self }
    }

    /// Whether a client at `addr` may ask; an IPv4-mapped IPv6 address counts as the IPv4 address it is.
    pub fn allows(&self, addr: IpAddr) -> bool {
        has(&self.networks, addr)
    }

    /// Whether a client at `addr` that may ask has recursion even where it does not desire it.
    pub fn recurses_without_rd(&self, addr: IpAddr) -> bool {
        has(&self.without_rd, addr)
    }

    /// Whether it lets in addresses of the public internet at large: somebody should have meant that.
    pub fn is_open(&self) -> bool {
        self.networks.iter().any(|network| match network.addr {
            IpAddr::V4(_) => network.prefix < 8,
            IpAddr::V6(addr) => {
                network.prefix < 16 && addr.segments()[0] & 0xfe00 != 0xfc00 && !is_link_local(addr)
            }
        })
    }
}

/// Whether an address lies in one of these.
// In place: the hot path asks for each packet.
#[inline(always)]
fn has(networks: &[Network], addr: IpAddr) -> bool {
    let addr = addr.to_canonical();
    networks.iter().any(|network| network.contains(addr))
}

/// A network: the addresses that share its first `prefix` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address; canonical, never IPv4-mapped.
    addr: IpAddr,
    /// How many leading bits count: at most 32 or 128.
    prefix: u8,
}

impl Network {
    /// An IPv4 network, for constants.
    const fn v4(addr: Ipv4Addr, prefix: u8) -> Network {
        Network { addr: IpAddr::V4(addr), prefix }
    }

    /// An IPv6 network, for constants.
    const fn v6(addr: Ipv6Addr, prefix: u8) -> Network {
        Network { addr: IpAddr::V6(addr), prefix }
    }

    /// Its first address; never an IPv4-mapped one.
    pub fn addr(&self) -> IpAddr {
        self.addr
    }

    /// How many leading bits its addresses share: at most 32 or 128.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the canonical address `addr` lies in it.
    pub fn contains(&self, addr: IpAddr) -> bool {
        // Shifting all bits away is an overflow in Rust; a /0 shares nothing and so contains everything.
        match (self.addr, addr) {
            (IpAddr::V4(mine), IpAddr::V4(theirs)) => {
                (mine.to_bits() ^ theirs.to_bits()).checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(mine), IpAddr::V6(theirs)) => {
                (mine.to_bits() ^ theirs.to_bits()).checked_shr(128 - u32::from(self.prefix)).unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Network, BadNetwork> {
        let (addr, prefix) = match text.split_once('/') {
            Some((addr, prefix)) => (addr, Some(prefix)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| BadNetwork::Address)?;
        let longest = if addr.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) => {
                digits.parse().ok().filter(|&bits| bits <= longest).ok_or(BadNetwork::Prefix(longest))?
            }
        };
        // An IPv4-mapped network (::ffff:192.0.2.0/120) is the IPv4 network it maps.
        let network = match addr.to_canonical() {
            canonical @ IpAddr::V4(_) if addr.is_ipv6() && prefix >= 96 => {
                Network { addr: canonical, prefix: prefix - 96 }
            }
            IpAddr::V4(_) if addr.is_ipv6() => return Err(BadNetwork::HostBits),
            _ => Network { addr, prefix },
        };
        // Bits set behind the prefix mean that somebody meant another network: 10.0.0.1/8 is not 10.0.0.0/8.
        let host_bits = match network.addr {
            IpAddr::V4(addr) => {
                u128::from(addr.to_bits().checked_shl(u32::from(network.prefix)).unwrap_or(0))
            }
            IpAddr::V6(addr) => addr.to_bits().checked_shl(u32::from(network.prefix)).unwrap_or(0),
        };
        if host_bits == 0 { Ok(network) } else { Err(BadNetwork::HostBits) }
    }
}

/// Why an entry of an access list was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadNetwork {
    /// Neither a known word nor an address.
    Address,
    /// The prefix is no number up to the one given.
    Prefix(u8),
    /// Bits are set behind the prefix.
    HostBits,
}

impl fmt::Display for BadNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadNetwork::Address => {
                f.write_str("is not an address or network, `loopback`, `private` or `any`")
            }
            BadNetwork::Prefix(longest) => write!(f, "has a prefix that is not a number from 0 to {longest}"),
            BadNetwork::HostBits => f.write_str("has bits set behind its prefix"),
        }
    }
}

impl std::error::Error for BadNetwork {}

/// What counts as one client: an IPv4 address, or an IPv6 /64, which is one subnet (RFC 4291 §2.5.4), and its addresses are its
/// own to choose.
pub fn client_of(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_ask() {
        for (entries, addr, expected) in [
            ("loopback", "127.0.0.1", true),
            ("loopback", "127.255.0.9", true),
            ("loopback", "128.0.0.1", false),
            ("loopback", "::1", true),
            ("loopback", "::2", false),
            ("loopback", "::ffff:127.0.0.1", true),
            ("private", "127.0.0.1", false),
            ("private", "10.255.0.1", true),
            ("private", "11.0.0.1", false),
            ("private", "172.15.255.255", false),
            ("private", "172.16.0.0", true),
            ("private", "172.31.255.255", true),
            ("private", "172.32.0.0", false),
            ("private", "192.168.1.1", true),
            ("private", "192.169.0.1", false),
            ("private", "100.64.0.1", true),
            ("private", "100.128.0.1", false),
            ("private", "169.254.9.9", true),
            ("private", "fe80::1", true),
            ("private", "fec0::1", false),
            ("private", "fd00::1", true),
            ("private", "fc12::1", true),
            ("private", "2001:db8::1", false),
            ("private", "::ffff:192.168.0.1", true),
            ("private", "::ffff:192.0.2.1", false),
            ("any", "192.0.2.1", true),
            ("any", "2001:db8::1", true),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "203.0.113.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::ffff:192.0.2.0/120", "192.0.2.77", true),
            ("::ffff:192.0.2.0/120", "::ffff:192.0.2.77", true),
            ("loopback,192.0.2.0/25", "192.0.2.127", true),
            ("", "127.0.0.1", false),
        ] {
            let entries: Vec<&str> = entries.split(',').filter(|entry| !entry.is_empty()).collect();
            let list = AccessList::parse(&entries).unwrap();
            assert_eq!(list.allows(addr.parse().unwrap()), expected, "{entries:?} {addr}");
        }
    }

    #[test]
    fn who_has_recursion_without_desiring_it() {
        let list = |entries: &[&str]| AccessList::parse(entries).unwrap();
        for (entries, addr, expected) in [
            (&[][..], "127.0.0.1", false),
            (&["192.0.2.0/24"], "192.0.2.7", true),
            (&["192.0.2.0/24"], "::ffff:192.0.2.7", true),
            (&["192.0.2.0/24"], "127.0.0.1", false),
            (&["any"], "2001:db8::1", true),
        ] {
            let both = list(&["loopback"]).without_rd(list(entries));
            assert_eq!(both.recurses_without_rd(addr.parse().unwrap()), expected, "{entries:?} {addr}");
            assert!(both.allows("::1".parse().unwrap()) && !both.allows("192.0.2.7".parse().unwrap()));
        }
    }

    #[test]
    fn bad_entries_are_named_by_position() {
        for (entry, expected) in [
            ("localhost", BadNetwork::Address),
            ("", BadNetwork::Address),
            ("192.0.2.0/", BadNetwork::Prefix(32)),
            ("192.0.2.0/33", BadNetwork::Prefix(32)),
            ("192.0.2.0/-1", BadNetwork::Prefix(32)),
            ("2001:db8::/129", BadNetwork::Prefix(128)),
            ("192.0.2.1/24", BadNetwork::HostBits),
            ("2001:db8::1/64", BadNetwork::HostBits),
            ("::ffff:192.0.2.0/64", BadNetwork::HostBits),
        ] {
            assert_eq!(AccessList::parse(&["loopback", entry]), Err(vec![(1, expected)]), "{entry}");
        }
    }

    #[test]
    fn open_lists_are_known() {
        for (entries, expected) in [
            (&["any"][..], true),
            (&["loopback", "private"], false),
            (&["192.0.2.0/24"], false),
            (&["0.0.0.0/1"], true),
            (&["2000::/3"], true),
            (&["fc00::/7"], false),
            (&["2001:db8::/32"], false),
        ] {
            assert_eq!(AccessList::parse(entries).unwrap().is_open(), expected, "{entries:?}");
        }
    }
}
