//! Client subnets (ECS, RFC 7871): whom a question is asked for, and whom its answer is for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire::{self, Malformed};

/// The EDNS option that carries a client subnet (RFC 7871 §6).
pub(crate) const SUBNET_OPTION: u16 = 8;
/// Where no address is given. Families are numbered by IANA's "Address Family Numbers".
const NO_FAMILY: u16 = 0;
/// IPv4.
const V4: u16 = 1;
/// IPv6.
const V6: u16 = 2;
/// Octets of the option's data in front of the address: family, and both lengths.
const FIXED_LEN: usize = 4;
/// Octets of the longest address.
const ADDRESS_LEN: usize = 16;
/// Octets that tell a network that is asked for from all others.
pub const ASKED_FOR_LEN: usize = 3 + ADDRESS_LEN;

/// A network that clients are in: no bit behind its length is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    address: IpAddr,
    len: u8,
}

/// The network that a question is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AskedFor {
    /// It; of length 0 for a client that wants no part of its address told.
    pub subnet: Subnet,
    /// Whether no longer one is ever told of that client.
    pub is_longest: bool,
}

/// Whom an answer is for, where it is not for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Clients in there.
    pub of: Subnet,
    /// Those only who are asked for by just that length.
    pub exact: bool,
    /// SCOPE PREFIX-LENGTH, as upstream said it.
    pub told: u8,
}

/// The option as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSubnet {
    family: u16,
    source: u8,
    scope: u8,
    octets: [u8; ADDRESS_LEN],
}

impl Subnet {
    /// The network of that length, at most that of the address, which it is in.
    pub fn of(address: IpAddr, len: u8) -> Subnet {
        match address {
            IpAddr::V4(v4) => {
                let len = len.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                Subnet { address: Ipv4Addr::from_bits(v4.to_bits() & mask).into(), len }
            }
            IpAddr::V6(v6) => {
                let len = len.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                Subnet { address: Ipv6Addr::from_bits(v6.to_bits() & mask).into(), len }
            }
        }
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Its length in bits.
    pub fn bits(&self) -> u8 {
        self.len
    }

    /// The network of that length around it, or itself where it is no longer.
    #[must_use]
    pub fn within(&self, len: u8) -> Subnet {
        Subnet::of(self.address, len.min(self.len))
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl AskedFor {
    /// Whether it tells nothing of any client.
    pub fn is_nobody(&self) -> bool {
        self.subnet.len == 0
    }

    /// All there is to it in octets, which no other one has.
    pub fn octets(&self) -> [u8; ASKED_FOR_LEN] {
        let ClientSubnet { family, source, octets, .. } = ClientSubnet::of(&self.subnet);
        let mut out = [0; ASKED_FOR_LEN];
        out[..3].copy_from_slice(&[family as u8, source, u8::from(self.is_longest)]);
        out[3..].copy_from_slice(&octets);
        out
    }

    /// Whom an answer is for that says whom by these options of its OPT record; none if it is for everybody.
    ///
    /// # Errors
    /// [`Malformed`] when that is about another network than was asked for. RFC 7871 §7.3: then "the full response MUST be dropped".
    pub fn scope(&self, options: &[u8]) -> Result<Option<Scope>, Malformed> {
        let Scope { of, .. } = self.own();
        let said = match find(options)? {
            // RFC 7871 §7.3.1: what is cached "because of a query's SOURCE PREFIX-LENGTH of 0 MUST be distinguished" from what is for all.
            _ if self.is_nobody() => return Ok(Some(Scope { of, exact: true, told: 0 })),
            Some(said) => said,
            // RFC 7871 §7.3: that is "equivalent to having received a SCOPE PREFIX-LENGTH of 0, which is an answer suitable for all
            // client addresses".
            None => return Ok(None),
        };
        if said != (ClientSubnet { scope: said.scope, ..ClientSubnet::of(&self.subnet) }) {
            return Err(Malformed);
        }
        let told = said.scope;
        Ok(match told {
            0 => None,
            // RFC 7871 §7.3.1: as many bits are kept as the answer depends on. Where it depends on more than were told, it is for those
            // of whom as much is told, unless nobody is told more of.
            _ => Some(Scope { of: of.within(told), exact: told > of.len && !self.is_longest, told }),
        })
    }

    /// What an answer is for that came of asking without, because upstream declines to hear of networks.
    pub fn own(&self) -> Scope {
        let of = self.subnet;
        Scope { of, exact: of.len == 0, told: of.len }
    }
}

impl ClientSubnet {
    /// Reads the option's data, that of a query or a reply.
    ///
    /// # Errors
    /// [`Malformed`]. RFC 7871 §6: one "that uses either too few or too many ADDRESS octets, or that has non-zero ADDRESS bits set beyond
    /// SOURCE PREFIX-LENGTH"; and one of an unknown family, or of more bits than its family has.
    pub fn read(data: &[u8]) -> Result<ClientSubnet, Malformed> {
        let (&[high, low, source, scope], address) =
            data.split_first_chunk::<FIXED_LEN>().ok_or(Malformed)?;
        let family = u16::from_be_bytes([high, low]);
        let most = match family {
            NO_FAMILY => 0,
            V4 => 32,
            V6 => 128,
            _ => return Err(Malformed),
        };
        if source > most || scope > most || address.len() != usize::from(source.div_ceil(8)) {
            return Err(Malformed);
        }
        let mut octets = [0; ADDRESS_LEN];
        octets[..address.len()].copy_from_slice(address);
        let read = ClientSubnet { family, source, scope, octets };
        let sound = ClientSubnet { family, scope, ..ClientSubnet::of(&read.subnet()) };
        if read == sound { Ok(read) } else { Err(Malformed) }
    }

    /// What says that a question is asked for that network.
    pub fn of(subnet: &Subnet) -> ClientSubnet {
        let mut octets = [0; ADDRESS_LEN];
        let family = match subnet.address {
            IpAddr::V4(v4) => {
                octets[..4].copy_from_slice(&v4.octets());
                V4
            }
            IpAddr::V6(v6) => {
                octets = v6.octets();
                V6
            }
        };
        ClientSubnet { family, source: subnet.len, scope: 0, octets }
    }

    /// The network it is about; where no family is given, of the whole of IPv4, of which it says nothing.
    pub fn subnet(&self) -> Subnet {
        match self.family {
            V6 => Subnet::of(Ipv6Addr::from(self.octets).into(), self.source),
            _ => {
                let [a, b, c, d, ..] = self.octets;
                Subnet::of(Ipv4Addr::new(a, b, c, d).into(), self.source)
            }
        }
    }

    /// Whether it is as in a query: SCOPE PREFIX-LENGTH "MUST be set to 0" there (RFC 7871 §6).
    pub fn is_asking(&self) -> bool {
        self.scope == 0
    }

    /// The same, said of an answer that is for so many bits of it.
    #[must_use]
    pub fn answered(self, scope: u8) -> ClientSubnet {
        // More than the family has would be no option at all.
        let most = if self.family == V6 { 128 } else { 32 };
        ClientSubnet { scope: if self.family == NO_FAMILY { 0 } else { scope.min(most) }, ..self }
    }

    /// Octets of the whole option.
    pub fn octets_len(&self) -> usize {
        2 * size_of::<u16>() + FIXED_LEN + usize::from(self.source.div_ceil(8))
    }

    /// Appends the whole option.
    pub fn put(&self, out: &mut Vec<u8>) {
        let address = &self.octets[..usize::from(self.source.div_ceil(8))];
        wire::put_u16(out, SUBNET_OPTION);
        wire::put_u16(out, (FIXED_LEN + address.len()) as u16);
        wire::put_u16(out, self.family);
        out.extend_from_slice(&[self.source, self.scope]);
        out.extend_from_slice(address);
    }
}

/// The client subnet among the options of an OPT record.
///
/// # Errors
/// [`Malformed`] when it is none.
pub(super) fn find(options: &[u8]) -> Result<Option<ClientSubnet>, Malformed> {
    let mut options = wire::options(options).map_while(Result::ok);
    let found = options.find(|(code, _)| *code == SUBNET_OPTION);
    found.map(|(_, data)| ClientSubnet::read(data)).transpose()
}

/// The options of an answer that was put together of two, of which the second's options are told: it is for those whom both are for.
///
/// RFC 7871 §7.2.1: "caching the entire CNAME chain at the longest PREFIX-LENGTH of any RRset in the chain".
pub(super) fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    let [first, own] = [first, second].map(|options| find(options).ok().flatten());
    let mut out = Vec::new();
    for (code, data) in wire::options(second).map_while(Result::ok) {
        if code != SUBNET_OPTION || first.is_none() {
            wire::put_u16(&mut out, code);
            wire::put_u16(&mut out, data.len() as u16);
            out.extend_from_slice(data);
        }
    }
    if let Some(first) = first {
        // One that does not say is for all.
        first.answered(first.scope.max(own.map_or(0, |own| own.scope))).put(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The network of an address, a slash and a length.
    fn subnet(text: &str) -> Subnet {
        let (address, len) = text.split_once('/').unwrap();
        Subnet::of(address.parse().unwrap(), len.parse().unwrap())
    }

    /// A whole option with this data.
    fn option(data: &[u8]) -> Vec<u8> {
        [&[0, 8, 0, data.len() as u8], data].concat()
    }

    #[test]
    fn options_are_read_as_they_are_written_or_not_at_all() {
        let v6 = [0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 1];
        for (data, expected) in [
            (&[0, 1, 24, 0, 192, 0, 2][..], Some("192.0.2.0/24")),
            (&[0, 1, 32, 0, 192, 0, 2, 1], Some("192.0.2.1/32")),
            (&[0, 1, 20, 0, 192, 0, 16], Some("192.0.16.0/20")),
            (&[0, 1, 24, 16, 192, 0, 2], Some("192.0.2.0/24")),
            (&v6, Some("2001:db8:0:100::/56")),
            (&[0, 1, 0, 0], Some("0.0.0.0/0")),
            (&[0, 2, 0, 0], Some("::/0")),
            // FAMILY 0 says nothing of nobody, as clients wrote it before RFC 7871 §7.1.2.
            (&[0, 0, 0, 0], Some("0.0.0.0/0")),
            (&[0, 0, 8, 0, 10], None),
            (&[0, 3, 0, 0], None),
            (&[0, 1, 33, 0, 1, 2, 3, 4, 5], None),
            (&[0, 1, 24, 33, 192, 0, 2], None),
            (&[0, 1, 24, 0, 192, 0], None),
            (&[0, 1, 24, 0, 192, 0, 2, 0], None),
            (&[0, 1, 20, 0, 192, 0, 17], None),
            (&[0, 1, 0, 0, 0], None),
            (&[0, 1, 24], None),
            (&[], None),
        ] {
            let read = ClientSubnet::read(data).ok();
            assert_eq!(read.map(|read| read.subnet().to_string()).as_deref(), expected, "{data:?}");
            let mut written = Vec::new();
            if let Some(read) = read {
                read.put(&mut written);
                assert_eq!((written.len(), written), (read.octets_len(), option(data)));
            }
        }
    }

    #[test]
    fn answers_are_for_whom_they_say() {
        let said = |text: &str, scope: u8| {
            let mut out = vec![0, 10, 0, 0];
            ClientSubnet::of(&subnet(text)).answered(scope).put(&mut out);
            out
        };
        let (net, whole) = ("192.0.2.0/24", "0.0.0.0/0");
        // Asked for and whether that is the most; the options; whom it is for and whether exactly, or that it is no answer.
        for (asked, is_longest, options, expected) in [
            (net, true, said(net, 0), Ok(None)),
            (net, true, vec![], Ok(None)),
            (net, true, said(net, 16), Ok(Some(("192.0.0.0/16", false, 16)))),
            (net, true, said(net, 24), Ok(Some((net, false, 24)))),
            (net, true, said(net, 32), Ok(Some((net, false, 32)))),
            (net, false, said(net, 24), Ok(Some((net, false, 24)))),
            (net, false, said(net, 32), Ok(Some((net, true, 32)))),
            (net, true, said("198.51.100.0/24", 24), Err(Malformed)),
            (net, true, said("192.0.2.0/25", 24), Err(Malformed)),
            (net, true, said("2001:db8::/24", 24), Err(Malformed)),
            (net, true, option(&[0, 1, 24, 24, 192, 0]), Err(Malformed)),
            (whole, false, said(whole, 0), Ok(Some((whole, true, 0)))),
            (whole, false, vec![], Ok(Some((whole, true, 0)))),
            (whole, false, said(net, 24), Ok(Some((whole, true, 0)))),
            ("2001:db8::/56", true, said("2001:db8::/56", 48), Ok(Some(("2001:db8::/48", false, 48)))),
        ] {
            let asked = AskedFor { subnet: subnet(asked), is_longest };
            let expected =
                expected.map(|scope| scope.map(|(of, exact, told)| Scope { of: subnet(of), exact, told }));
            assert_eq!(asked.scope(&options), expected, "{asked:?} {options:?}");
        }
    }

    #[test]
    fn what_is_put_together_is_for_whom_both_are_for() {
        let net = subnet("192.0.2.0/24");
        let said = |scope: u8| {
            let mut out = Vec::new();
            ClientSubnet::of(&net).answered(scope).put(&mut out);
            out
        };
        let cookie = [0, 10, 0, 1, 7];
        for (first, second, expected) in [
            (said(16), said(20), said(20)),
            (said(20), said(16), said(20)),
            (said(20), vec![], said(20)),
            (vec![], said(16), said(16)),
            (said(20), cookie.to_vec(), [&cookie[..], &said(20)].concat()),
            (vec![], cookie.to_vec(), cookie.to_vec()),
        ] {
            assert_eq!(joined(&first, &second), expected, "{first:?} {second:?}");
        }
    }
}
