//! The longest prefix an address lies in, by one binary search.

use std::net::IpAddr;

use crate::access::Network;

/// Bits in front of an IPv4 address when it is written as an IPv6 one (RFC 4291 §2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// What a set of networks says about every address there is.
///
/// Nested prefixes are flattened into ranges that do not overlap, so that the longest prefix is found by looking for the
/// last range that begins at or before the address: log2 of the number of ranges, at most twice that of prefixes, and no
/// second look. A trie would take fewer steps for many prefixes and more code for the dozen that anybody has.
///
/// IPv4 lives among the IPv6 addresses where RFC 4291 maps it, so an IPv4-mapped address is the IPv4 address it is
/// without a word about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefixes {
    /// First address of each range and its value, ascending; each ends where the next begins.
    ranges: Box<[(u128, u16)]>,
}

impl Prefixes {
    /// Each address gets the value of the longest of these networks that it lies in, 0 outside of all. Of two equal
    /// networks the last one counts.
    pub(super) fn new(networks: impl IntoIterator<Item = (Network, u16)>) -> Prefixes {
        // `::/0` means IPv6 (`access` reads it so): a shorter prefix of 0 keeps it off the IPv4 addresses mapped into it.
        let v4 = (u128::from(0xffff_u16) << 32, MAPPED_BITS, 0);
        let mut prefixes = vec![(0, 0, 0), v4];
        prefixes.extend(networks.into_iter().map(|(network, value)| match network.addr() {
            IpAddr::V4(addr) => (addr.to_ipv6_mapped().to_bits(), MAPPED_BITS + network.prefix(), value),
            IpAddr::V6(addr) => (addr.to_bits(), network.prefix(), value),
        }));
        // Outer ones first; stable, so equal ones keep their order.
        prefixes.sort_by_key(|&(first, bits, _)| (first, bits));

        let mut ranges: Vec<(u128, u16)> = Vec::new();
        // The networks that the last range lies in, innermost last: last address and value.
        let mut open: Vec<(u128, u16)> = Vec::new();
        for (first, bits, value) in prefixes {
            close(&mut open, &mut ranges, Some(first));
            push(&mut ranges, first, value);
            let last = first | u128::MAX.checked_shr(bits.into()).unwrap_or(0);
            open.push((last, value));
        }
        close(&mut open, &mut ranges, None);
        Prefixes { ranges: ranges.into() }
    }

    /// The value of an address.
    #[inline]
    pub(super) fn of(&self, addr: IpAddr) -> u16 {
        let bits = match addr {
            IpAddr::V4(addr) => addr.to_ipv6_mapped().to_bits(),
            IpAddr::V6(addr) => addr.to_bits(),
        };
        let after = self.ranges.partition_point(|&(first, _)| first <= bits);
        // The first range begins at zero.
        after.checked_sub(1).and_then(|index| self.ranges.get(index)).map_or(0, |&(_, value)| value)
    }
}

/// Takes out the networks that end before `next`, all but the outermost if there is no next; behind each, the one around
/// it goes on.
fn close(open: &mut Vec<(u128, u16)>, ranges: &mut Vec<(u128, u16)>, next: Option<u128>) {
    while let Some(&(last, _)) = open.last()
        && next.is_none_or(|next| last < next)
    {
        open.pop();
        if let (Some(&(_, outer)), Some(after)) = (open.last(), last.checked_add(1)) {
            push(ranges, after, outer);
        }
    }
}

/// Adds a range, in place of one that begins where it does.
fn push(ranges: &mut Vec<(u128, u16)>, first: u128, value: u16) {
    match ranges.last_mut() {
        Some(range) if range.0 == first => range.1 = value,
        _ => ranges.push((first, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefixes(text: &str) -> Prefixes {
        Prefixes::new(text.split_whitespace().map(|item| {
            let (network, value) = item.split_once('=').unwrap();
            (network.parse().unwrap(), value.parse().unwrap())
        }))
    }

    #[test]
    fn the_longest_prefix_wins() {
        let nested =
            "10.0.0.0/8=1 10.1.0.0/16=2 10.1.2.0/24=3 10.1.2.3=4 10.1.2.0=5 10.1.2.255=6 10.2.0.0/16=2";
        for (networks, addr, expected) in [
            ("", "10.0.0.1", 0),
            (nested, "9.255.255.255", 0),
            (nested, "10.0.0.0", 1),
            (nested, "10.1.0.0", 2),
            (nested, "10.1.1.255", 2),
            (nested, "10.1.2.0", 5),
            (nested, "10.1.2.1", 3),
            (nested, "10.1.2.2", 3),
            (nested, "10.1.2.3", 4),
            (nested, "10.1.2.4", 3),
            (nested, "10.1.2.255", 6),
            (nested, "10.1.3.0", 2),
            (nested, "10.2.255.255", 2),
            (nested, "10.3.0.0", 1),
            (nested, "10.255.255.255", 1),
            (nested, "11.0.0.0", 0),
            (nested, "::ffff:10.1.2.3", 4),
            (nested, "::10.1.2.3", 0),
            ("::ffff:10.0.0.0/104=7", "10.9.9.9", 7),
            ("0.0.0.0/0=1", "203.0.113.1", 1),
            ("0.0.0.0/0=1", "255.255.255.255", 1),
            ("0.0.0.0/0=1", "2001:db8::1", 0),
            ("::/0=1", "2001:db8::1", 1),
            ("::/0=1", "203.0.113.1", 0),
            ("::/0=1", "::ffff:203.0.113.1", 0),
            ("::/0=1", "::1:0:0:0", 1),
            ("::/0=1 0.0.0.0/0=2", "203.0.113.1", 2),
            ("::/0=1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1),
            ("2001:db8::/32=1 2001:db8:1::/48=2 2001:db8:1::5=3", "2001:db8:1::5", 3),
            ("2001:db8::/32=1 2001:db8:1::/48=2 2001:db8:1::5=3", "2001:db8:1::6", 2),
            ("2001:db8::/32=1 2001:db8:1::/48=2 2001:db8:1::5=3", "2001:db8:2::", 1),
            ("ffff::/16=1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1),
            ("192.0.2.0/24=0 192.0.0.0/16=3", "192.0.2.1", 0),
            ("192.0.2.0/25=1 192.0.2.128/25=2", "192.0.2.127", 1),
            ("192.0.2.0/25=1 192.0.2.128/25=2", "192.0.2.128", 2),
        ] {
            assert_eq!(prefixes(networks).of(addr.parse().unwrap()), expected, "{networks:?} {addr}");
        }
    }

    /// Addresses that crowd together, so that prefixes nest: few octets, all at the edges of prefixes.
    fn address() -> impl Strategy<Value = IpAddr> {
        let octet = || prop::sample::select(vec![0u8, 1, 127, 128, 255]);
        prop_oneof![
            [octet(), octet(), octet(), octet()].prop_map(IpAddr::from),
            prop::array::uniform16(octet()).prop_map(IpAddr::from),
            // Among those that IPv4 is mapped into, and just beside them.
            (0x0000_fffe_ffff_ffff_u128..0x0001_0000_0000_0010).prop_map(|bits| IpAddr::V6(bits.into())),
            [octet(), octet(), octet(), octet()]
                .prop_map(|octets| IpAddr::V6(std::net::Ipv4Addr::from(octets).to_ipv6_mapped())),
        ]
    }

    /// A network around an address.
    fn network() -> impl Strategy<Value = Network> {
        (address(), 0..=128_u8).prop_map(|(addr, bits)| {
            let addr = addr.to_canonical();
            let bits = if addr.is_ipv4() { bits % 33 } else { bits };
            let masked = crate::policy::prefix::masked(addr, bits);
            // Masking may have made it an IPv4-mapped network that is wider than IPv4: then all of IPv6.
            format!("{masked}/{bits}").parse().unwrap_or_else(|_| "::/0".parse().unwrap())
        })
    }

    proptest! {
        #[test]
        fn it_is_what_a_scan_of_all_networks_finds(
            networks in prop::collection::vec((network(), 0..5_u16), 0..24),
            addresses in prop::collection::vec(address(), 1..24),
        ) {
            let prefixes = Prefixes::new(networks.iter().copied());
            let edges = networks.iter().map(|(network, _)| network.addr());
            for addr in addresses.iter().copied().chain(edges) {
                let around = networks.iter().filter(|(network, _)| network.contains(addr.to_canonical()));
                let expected = around.max_by_key(|(network, _)| network.prefix()).map_or(0, |(_, value)| *value);
                prop_assert_eq!(prefixes.of(addr), expected, "{}", addr);
            }
        }
    }
}
