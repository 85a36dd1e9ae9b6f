//! Which networks of clients upstream is told of (ECS, RFC 7871). By default none: what clients say of themselves is left out, and nothing
//! is added.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dns::Query;
use crate::dns::subnet::{AskedFor, Subnet};
use crate::name::Name;
use crate::rebinding;

/// What becomes of client subnets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Upstream is told of none.
    #[default]
    Strip,
    /// Those that clients send.
    Pass,
    /// Those, and for clients that send none the one that they ask from.
    Add,
}

/// What upstream is told, about whom, and whom it is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ecs {
    /// Whether anything.
    pub mode: Mode,
    /// The most bits of an IPv4 address, 32 at most.
    pub ipv4_bits: u8,
    /// The most bits of an IPv6 address, 64 at most.
    pub ipv6_bits: u8,
    /// The zones with whose names it is told; with all names if there are none.
    pub zones: Vec<Name>,
}

/// The most bits of IPv4 unless told otherwise. RFC 7871 §11.1: "strongly encouraged to conceal part of the IP address of the user by
/// truncating IPv4 addresses to 24 bits".
pub const IPV4_BITS: u8 = 24;
/// The most bits of IPv6 unless told otherwise; as there, "56 bits are recommended for IPv6".
pub const IPV6_BITS: u8 = 56;

impl Default for Ecs {
    fn default() -> Ecs {
        Ecs { mode: Mode::Strip, ipv4_bits: IPV4_BITS, ipv6_bits: IPV6_BITS, zones: Vec::new() }
    }
}

impl Ecs {
    /// Whether upstream is told of anybody.
    pub fn is_on(&self) -> bool {
        self.mode != Mode::Strip
    }

    /// Whether it may be told of whom a query is for: that has a client subnet or not.
    pub fn concerns(&self, has_subnet: bool, qname: &Name) -> bool {
        let may = match self.mode {
            Mode::Strip => false,
            Mode::Pass => has_subnet,
            Mode::Add => true,
        };
        may && (self.zones.is_empty() || self.zones.iter().any(|zone| qname.is_at_or_below(zone)))
    }

    /// Settles whom a query of that client is asked for. False if what it says of that cannot be read.
    ///
    /// RFC 7871 §7.1.2: an intermediate nameserver "MUST NOT make queries that include more bits of client address than in the originating
    /// query", and of §7.5: options that tell nothing "MUST NOT be replaced with more accurate address information".
    pub fn settle(&self, query: &mut Query<'_>, client: IpAddr) -> bool {
        let has_subnet = query.edns.is_some_and(|edns| edns.has_subnet);
        let said = query.client_subnet.take();
        if !self.concerns(has_subnet, &query.qname) {
            return true;
        }
        if has_subnet && said.is_none() {
            return false;
        }
        let subnet = match said {
            Some(said) => said.subnet(),
            None => Subnet::of(client.to_canonical(), u8::MAX),
        };
        // RFC 7871 §11.3: unroutable addresses are "equivalent to the Recursive Resolver's own identity".
        if subnet.bits() > 0 && !is_routable(subnet.address()) {
            return true;
        }
        let most = if subnet.address().is_ipv4() { self.ipv4_bits } else { self.ipv6_bits };
        let subnet = subnet.within(most);
        query.client_subnet = said;
        query.asked_for = Some(AskedFor { subnet, is_longest: subnet.bits() == most });
        true
    }
}

/// Whether an address is one of the Internet's.
fn is_routable(address: IpAddr) -> bool {
    // RFC 6598: between a provider and its customers, whose networks there mean nothing to others.
    let is_shared = |octets: [u8; 4]| octets[0] == 100 && octets[1] & 0xc0 == 64;
    !rebinding::is_inside(address)
        && !address.is_unspecified()
        && !matches!(address, IpAddr::V4(v4) if is_shared(v4.octets()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::parse;
    use crate::dns::testing::name;

    /// The query of a name with an option of this data.
    fn packet(option: Option<&[u8]>) -> Vec<u8> {
        let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        packet.extend_from_slice(b"\x03www\x01e\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0");
        let option = option.map(|data| [&[0, 8, 0, data.len() as u8], data].concat()).unwrap_or_default();
        packet.push(option.len() as u8);
        packet.extend_from_slice(&option);
        packet
    }

    /// Mode, client and option; whom it is asked for, whether the client is told, or that it cannot be read.
    type Case<'c> = (Mode, &'c str, Option<&'c [u8]>, Option<(Option<&'c str>, bool)>);

    #[test]
    fn upstream_is_told_of_no_more_than_it_should_be() {
        let (v4, v6) = ("198.51.100.7", "2001:db8:1:2:3::4");
        let net: &[u8] = &[0, 1, 32, 0, 192, 0, 2, 1];
        let short: &[u8] = &[0, 1, 16, 0, 192, 0];
        let six: &[u8] = &[0, 2, 64, 0, 0x20, 1, 0xd, 0xb8, 0, 9, 0, 8];
        use Mode::{Add, Pass, Strip};
        let cases: &[Case] = &[
            (Strip, v4, Some(net), Some((None, false))),
            (Strip, v4, Some(&[0, 1]), Some((None, false))),
            (Pass, v4, None, Some((None, false))),
            (Pass, v4, Some(net), Some((Some("192.0.2.0/24"), true))),
            (Pass, v4, Some(short), Some((Some("192.0.0.0/16"), true))),
            (Pass, v4, Some(six), Some((Some("2001:db8:9::/56"), true))),
            (Pass, v4, Some(&[0, 1, 0, 0]), Some((Some("0.0.0.0/0"), true))),
            (Pass, v4, Some(&[0, 1, 8, 0, 10]), Some((None, false))),
            (Pass, v4, Some(&[0, 1, 16, 0, 100, 64]), Some((None, false))),
            (Pass, v4, Some(&[0, 1]), None),
            (Pass, v4, Some(&[0, 1, 24, 8, 192, 0, 2]), None),
            (Add, v4, None, Some((Some("198.51.100.0/24"), false))),
            (Add, v6, None, Some((Some("2001:db8:1::/56"), false))),
            (Add, "::ffff:198.51.100.7", None, Some((Some("198.51.100.0/24"), false))),
            (Add, "10.0.0.1", None, Some((None, false))),
            (Add, "::1", None, Some((None, false))),
            (Add, v4, Some(&[0, 2, 0, 0]), Some((Some("::/0"), true))),
            (Add, v4, Some(short), Some((Some("192.0.0.0/16"), true))),
        ];
        for (mode, client, option, expected) in cases {
            let packet = packet(*option);
            let mut query = parse(&packet).unwrap();
            let settled = Ecs { mode: *mode, ..Ecs::default() }.settle(&mut query, client.parse().unwrap());
            let asked_for = query.asked_for.map(|it| it.subnet.to_string());
            let found = settled.then_some((asked_for.as_deref(), query.client_subnet.is_some()));
            assert_eq!(found, *expected, "{mode:?} {client} {option:?}");
        }
    }

    #[test]
    fn only_with_names_of_these_zones() {
        for (zones, expected) in
            [(vec![], true), (vec![name("e")], true), (vec![name("x"), name("a.e")], false)]
        {
            let ecs = Ecs { mode: Mode::Add, zones, ..Ecs::default() };
            assert_eq!(ecs.concerns(false, &name("www.e")), expected);
            let packet = packet(Some(&[0, 9]));
            let mut query = parse(&packet).unwrap();
            assert_eq!(
                ecs.settle(&mut query, "192.0.2.1".parse().unwrap()),
                !expected,
                "others are not looked at"
            );
        }
    }
}
