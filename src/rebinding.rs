//! Answers from outside that lead inside. A page on the web whose name leads to a router's address has the browser speak to that
//! router as if it were the page's own server (DNS rebinding: Jackson, Barth, Bortz, Shao, Boneh, CCS 2007).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::name::Name;

/// The prefix by which NAT64 reaches IPv4 (RFC 6052 §2.1): the last 32 bits are the address.
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// Whose answers may lead inside. By default nobody's.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq)]
pub struct Rebinding {
    /// Zones whose answers may; the root's are all.
    allowed: Vec<Name>,
}

impl Rebinding {
    /// Answers about names at or below these may lead inside.
    pub fn allowing(allowed: Vec<Name>) -> Rebinding {
        Rebinding { allowed }
    }

    /// These as well, but for the root: to ask somebody about everything is not to trust all that is there.
    #[must_use]
    pub fn and(mut self, zones: impl IntoIterator<Item = Name>) -> Rebinding {
        self.allowed.extend(zones.into_iter().filter(|zone| *zone != Name::ROOT));
        self
    }

    /// The address for which an answer about `qname` is not taken: one of them is inside, and its zone is none of those that may say so.
    ///
    /// What counts is who was asked about: another one's name does not get here by an alias to one that may.
    pub fn forbidden(&self, qname: &Name, addresses: &[IpAddr]) -> Option<IpAddr> {
        let inside = addresses.iter().copied().find(|address| is_inside(*address))?;
        let may = self.allowed.iter().any(|zone| qname.is_at_or_below(zone));
        (!may).then_some(inside)
    }
}

/// Whether an address is of this machine or its networks: loopback, private use (RFC 1918, RFC 4193) or link-local (RFC 3927, RFC 4291
/// §2.5.6), as it is or as IPv6 carries it. Neither is 0.0.0.0 or ::, by which upstreams that filter say that there is nothing, nor shared
/// addresses (RFC 6598), which are of no one house.
pub fn is_inside(address: IpAddr) -> bool {
    let inside_v4 = |v4: Ipv4Addr| v4.is_loopback() || v4.is_private() || v4.is_link_local();
    match address.to_canonical() {
        IpAddr::V4(v4) => inside_v4(v4),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            let embedded = (bits >> 32 == u128::from(NAT64) >> 32).then(|| Ipv4Addr::from(bits as u32));
            embedded.is_some_and(inside_v4)
                || v6.is_loopback()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside() {
        for (address, inside) in [
            ("127.0.0.1", true),
            ("127.255.255.255", true),
            ("10.0.0.1", true),
            ("172.16.0.1", true),
            ("172.31.255.255", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("169.254.169.254", true),
            ("8.8.8.8", false),
            ("0.0.0.0", false),
            ("100.64.0.1", false),
            ("::1", true),
            ("::", false),
            ("fe80::1", true),
            ("febf::1", true),
            ("fec0::1", false),
            ("fd12:3456::1", true),
            ("fc00::1", true),
            ("2001:db8::1", false),
            ("::ffff:192.168.1.1", true),
            ("::ffff:8.8.8.8", false),
            ("64:ff9b::192.168.1.1", true),
            ("64:ff9b::8.8.8.8", false),
            ("64:ff9b:1::192.168.1.1", false),
        ] {
            assert_eq!(is_inside(address.parse().unwrap()), inside, "{address}");
        }
    }

    #[test]
    fn who_may_lead_inside() {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let addresses: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.168.1.1".parse().unwrap()];
        for (allowed, qname, may) in [
            (&[][..], "www.example", false),
            (&["example"], "www.example", true),
            (&["example"], "EXAMPLE", true),
            (&["other", "example"], "www.example", true),
            (&["w.example"], "www.example", false),
            (&["www.example"], "example", false),
            (&["."], "www.example", true),
        ] {
            let rebinding = Rebinding::allowing(names(allowed)).and([Name::ROOT]);
            let forbidden = rebinding.forbidden(&qname.parse().unwrap(), &addresses);
            assert_eq!(forbidden, (!may).then_some(addresses[1]), "{allowed:?} {qname}");
            assert_eq!(rebinding.forbidden(&qname.parse().unwrap(), &addresses[..1]), None);
        }
    }
}
