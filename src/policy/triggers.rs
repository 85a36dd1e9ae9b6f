//! Which triggers a policy has that are not about the name asked for (draft-vixie-dnsop-dns-rpz §4).

use std::net::IpAddr;

use super::order::On;
use super::prefix;
use crate::name::Name;

/// Which triggers a policy has besides those on names asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct NonQname {
    pub(super) client_ip: Lengths,
    pub(super) response_ip: Lengths,
    pub(super) ns_ip: Lengths,
    pub(super) ns_dname: bool,
    /// The first policy zone that has any which take an answer to know.
    pub(super) late_zone: Option<u16>,
}

/// The prefix lengths in use, a bit each.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths {
    v4: u64,
    v6: [u128; 2],
}

impl Lengths {
    /// Takes one in.
    fn add(&mut self, address: IpAddr, len: u8) {
        match address {
            IpAddr::V4(_) => self.v4 |= 1 << len.min(32),
            IpAddr::V6(_) => self.v6[usize::from(len / 128)] |= 1 << (len % 128),
        }
    }

    /// Those for addresses like this one, the longest first.
    pub(super) fn of(&self, address: IpAddr) -> impl Iterator<Item = u8> + '_ {
        let v4 = address.is_ipv4();
        (1..=if v4 { 32 } else { 128 }).rev().filter(move |&len: &u8| {
            if v4 {
                self.v4 & (1 << len) != 0
            } else {
                self.v6[usize::from(len / 128)] & (1 << (len % 128)) != 0
            }
        })
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.v4 == 0 && self.v6 == [0; 2]
    }
}

impl NonQname {
    /// The prefix lengths in use of that sort of triggers, if those are on addresses.
    pub(super) fn lengths(&self, on: On) -> Option<&Lengths> {
        match on {
            On::ClientIp => Some(&self.client_ip),
            On::ResponseIp => Some(&self.response_ip),
            On::NsIp => Some(&self.ns_ip),
            On::Qname | On::NsDname => None,
        }
    }

    /// Takes in a trigger that is listed by an order of that zone.
    pub(super) fn add(&mut self, on: On, name: &Name, zone: u16) {
        let lengths = match on {
            On::Qname => return,
            On::ClientIp => &mut self.client_ip,
            On::ResponseIp => &mut self.response_ip,
            On::NsIp => &mut self.ns_ip,
            On::NsDname => {
                self.ns_dname = true;
                self.late_zone = Some(self.late_zone.map_or(zone, |first| first.min(zone)));
                return;
            }
        };
        // What is no prefix was refused by the reader, and can match nothing.
        let Ok((address, len)) = prefix::from_name(name) else { return };
        lengths.add(address, len);
        if on.is_late() {
            self.late_zone = Some(self.late_zone.map_or(zone, |first| first.min(zone)));
        }
    }
}
