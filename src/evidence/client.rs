//! As much of a client as is kept.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

use crate::access::Network;
use crate::clients::Privacy;

/// Octets of an IPv4 network: /24.
const V4_PREFIX: usize = 3;
/// Octets of an IPv6 network: /56, what a household is given (RFC 6177 §2 leaves it to who gives; RIPE-690 §4.2).
const V6_PREFIX: usize = 7;
/// Octets of a pseudonym: of a million clients two share one in thirty million days.
const PSEUDONYM: usize = 8;

/// As much of a client as is kept. How many octets it has says what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kept {
    len: u8,
    octets: [u8; 16],
}

/// What stands for clients, today.
#[derive(Debug)]
pub struct Pseudonyms {
    /// Its day.
    day: u32,
    /// Known to this process alone, for a day.
    key: [u8; 32],
}

impl Kept {
    /// Nothing.
    pub const NOTHING: Kept = Kept { len: 0, octets: [0; 16] };

    /// As much of a client as this lets be kept.
    pub fn of(client: IpAddr, privacy: Privacy, pseudonyms: &mut Pseudonyms, day: u32) -> Kept {
        let client = client.to_canonical();
        match privacy {
            Privacy::Full => Kept::full(client),
            Privacy::Prefix => Kept::full(client).coarser(),
            Privacy::Pseudonym => Kept::new(&pseudonyms.of(client, day)),
            Privacy::None => Kept::NOTHING,
        }
    }

    /// Its network if it is an address, else nothing but networks.
    pub fn coarser(self) -> Kept {
        match self.octets().len() {
            4 => Kept::new(&self.octets[..V4_PREFIX]),
            16 => Kept::new(&self.octets[..V6_PREFIX]),
            V4_PREFIX | V6_PREFIX => self,
            _ => Kept::NOTHING,
        }
    }

    /// It as octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// It from octets; none if they are none of these.
    pub fn from_octets(octets: &[u8]) -> Option<Kept> {
        matches!(octets.len(), 0 | V4_PREFIX | 4 | V6_PREFIX | PSEUDONYM | 16).then(|| Kept::new(octets))
    }

    /// The address, if that is kept.
    pub fn address(&self) -> Option<IpAddr> {
        match self.octets() {
            octets @ [_, _, _, _] => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
            octets => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        }
    }

    /// The network, as far as that is kept: of an address it is the address alone.
    pub fn network(&self) -> Option<(IpAddr, u8)> {
        match (self.address(), self.octets().len()) {
            (Some(address @ IpAddr::V4(_)), _) => Some((address, 32)),
            (Some(address), _) => Some((address, 128)),
            (None, V4_PREFIX) => {
                let [a, b, c, ..] = self.octets;
                Some((Ipv4Addr::new(a, b, c, 0).into(), 8 * V4_PREFIX as u8))
            }
            (None, V6_PREFIX) => Some((Ipv6Addr::from(self.octets).into(), 8 * V6_PREFIX as u8)),
            _ => None,
        }
    }

    /// Whether it is known to be of a network.
    pub fn is_of(&self, network: &Network) -> bool {
        self.network().is_some_and(|(address, bits)| network.prefix() <= bits && network.contains(address))
    }

    /// These octets.
    fn new(kept: &[u8]) -> Kept {
        let mut octets = [0; 16];
        // Whoever calls this has counted them.
        for (place, octet) in octets.iter_mut().zip(kept) {
            *place = *octet;
        }
        Kept { len: kept.len().min(octets.len()) as u8, octets }
    }

    /// All of an address.
    fn full(client: IpAddr) -> Kept {
        match client {
            IpAddr::V4(client) => Kept::new(&client.octets()),
            IpAddr::V6(client) => Kept::new(&client.octets()),
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address(), self.network(), self.octets()) {
            (Some(address), ..) => address.fmt(f),
            (None, Some((address, bits)), _) => write!(f, "{address}/{bits}"),
            (None, None, []) => f.write_str("-"),
            (None, None, octets) => {
                f.write_str("~")?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

impl Default for Pseudonyms {
    fn default() -> Pseudonyms {
        Pseudonyms { day: 0, key: rand::random() }
    }
}

impl Pseudonyms {
    /// What stands for a client on a day. The day before is forgotten with its key: nobody can tell then who it was.
    fn of(&mut self, client: IpAddr, day: u32) -> [u8; PSEUDONYM] {
        if day > self.day {
            *self = Pseudonyms { day, key: rand::random() };
        }
        // The key comes first and all has one length: what is behind it cannot be lengthened, nor the key be found.
        let mut hash = Sha256::new();
        hash.update(self.key);
        let client = match client {
            IpAddr::V4(client) => client.to_ipv6_mapped(),
            IpAddr::V6(client) => client,
        };
        hash.update(client.octets());
        let mut word = [0; PSEUDONYM];
        word.iter_mut().zip(hash.finalize()).for_each(|(place, octet)| *place = octet);
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of an address as is kept on day 1.
    fn kept(client: &str, privacy: Privacy) -> Kept {
        Kept::of(client.parse().unwrap(), privacy, &mut Pseudonyms::default(), 1)
    }

    #[test]
    fn what_is_kept_of_a_client() {
        for (client, privacy, shown, coarser) in [
            ("192.0.2.77", Privacy::Full, "192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", Privacy::Full, "192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2ff::7", Privacy::Full, "2001:db8:1:2ff::7", "2001:db8:1:200::/56"),
            ("192.0.2.77", Privacy::Prefix, "192.0.2.0/24", "192.0.2.0/24"),
            ("2001:db8:1:2ff::7", Privacy::Prefix, "2001:db8:1:200::/56", "2001:db8:1:200::/56"),
            ("192.0.2.77", Privacy::None, "-", "-"),
            ("2001:db8::7", Privacy::None, "-", "-"),
        ] {
            let kept = kept(client, privacy);
            assert_eq!((kept.to_string().as_str(), kept.coarser().to_string().as_str()), (shown, coarser));
            assert_eq!(Kept::from_octets(kept.octets()), Some(kept));
        }
        assert_eq!((Kept::from_octets(&[1]), Kept::from_octets(&[1; 17])), (None, None));
    }

    #[test]
    fn a_pseudonym_is_the_same_all_day_and_another_one_the_next() {
        let (one, other) = ("192.0.2.7".parse().unwrap(), "192.0.2.8".parse().unwrap());
        let mut pseudonyms = Pseudonyms::default();
        let mut of = |client, day| Kept::of(client, Privacy::Pseudonym, &mut pseudonyms, day);
        let first = of(one, 1);
        assert_eq!((of(one, 1), of("::ffff:192.0.2.7".parse().unwrap(), 1)), (first, first));
        assert_ne!(of(other, 1), first);
        let next = of(one, 2);
        assert_ne!(next, first);
        // Late ones are of the day that it is: the key of the other one is gone.
        assert_eq!(of(one, 1), next);
        assert_eq!((first.to_string().len(), first.address(), first.network()), (17, None, None));
        assert_eq!(first.coarser(), Kept::NOTHING);
        // Another process has another key.
        assert_ne!(kept("192.0.2.7", Privacy::Pseudonym), kept("192.0.2.7", Privacy::Pseudonym));
    }

    #[test]
    fn whose_network_a_client_is_of() {
        for (client, privacy, network, expected) in [
            ("192.0.2.77", Privacy::Full, "192.0.2.64/26", true),
            ("192.0.2.77", Privacy::Full, "192.0.2.0/26", false),
            ("192.0.2.77", Privacy::Prefix, "192.0.0.0/16", true),
            // It may be, and it may not.
            ("192.0.2.77", Privacy::Prefix, "192.0.2.64/26", false),
            ("2001:db8:1:2ff::7", Privacy::Prefix, "2001:db8::/32", true),
            ("2001:db8:1:2ff::7", Privacy::Full, "2001:db9::/32", false),
            ("192.0.2.77", Privacy::Pseudonym, "0.0.0.0/0", false),
            ("192.0.2.77", Privacy::None, "0.0.0.0/0", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(kept(client, privacy).is_of(&network), expected, "{client} {network:?}");
        }
    }
}
