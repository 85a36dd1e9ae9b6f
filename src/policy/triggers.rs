//! Which triggers a policy has that are not about the name asked for (draft-vixie-dnsop-dns-rpz §4).

use std::net::IpAddr;

use super::order::TriggerType;
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
    fn add(&mut self, is_v4: bool, len: u8) {
        match is_v4 {
            true => self.v4 |= 1 << len.min(32),
            // The longest is 128.
            false => self.v6[usize::from(len / 128)] |= 1 << (len % 128),
        }
    }

    /// Those for addresses like this one, the longest first.
    pub(super) fn of(&self, address: IpAddr) -> impl Iterator<Item = u8> + '_ {
        self.of_family(address.is_ipv4())
    }

    /// Those for addresses of a family, the longest first.
    fn of_family(&self, is_v4: bool) -> impl Iterator<Item = u8> + '_ {
        (1..=longest(is_v4)).rev().filter(move |&len: &u8| {
            if is_v4 {
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
    pub(super) fn lengths(&self, on: TriggerType) -> Option<&Lengths> {
        match on {
            TriggerType::ClientIp => Some(&self.client_ip),
            TriggerType::ResponseIp => Some(&self.response_ip),
            TriggerType::NsIp => Some(&self.ns_ip),
            TriggerType::Qname | TriggerType::NsDname => None,
        }
    }

    /// Takes in that an order of that zone lists triggers of that sort.
    pub(super) fn add(&mut self, on: TriggerType, zone: u16) {
        self.ns_dname |= on == TriggerType::NsDname;
        if on.is_late() {
            self.late_zone = Some(self.late_zone.map_or(zone, |first| first.min(zone)));
        }
    }

    /// Takes in a trigger of that sort, if it is on addresses.
    pub(super) fn add_prefix(&mut self, on: TriggerType, name: &Name) {
        // What is no prefix was refused by the reader, and can match nothing.
        if let (Some(lengths), Ok((address, len))) = (self.lengths_mut(on), prefix::from_name(name)) {
            lengths.add(address.is_ipv4(), len);
        }
    }

    /// The lengths in use: on what, whether of IPv4, how long.
    pub(super) fn all_lengths(&self) -> Vec<(TriggerType, bool, u8)> {
        let of = |on, is_v4| {
            self.lengths(on)
                .into_iter()
                .flat_map(move |lengths| lengths.of_family(is_v4).map(move |len| (on, is_v4, len)))
        };
        TriggerType::ALL.into_iter().flat_map(|on| of(on, true).chain(of(on, false))).collect()
    }

    /// Takes in the lengths in use; false if one of them is none.
    pub(super) fn add_lengths(&mut self, all: &[(TriggerType, bool, u8)]) -> bool {
        all.iter().all(|&(on, is_v4, len)| {
            let lengths = self.lengths_mut(on).filter(|_| (1..=longest(is_v4)).contains(&len));
            lengths.map(|lengths| lengths.add(is_v4, len)).is_some()
        })
    }

    /// The prefix lengths in use of that sort of triggers, if those are on addresses.
    fn lengths_mut(&mut self, on: TriggerType) -> Option<&mut Lengths> {
        match on {
            TriggerType::ClientIp => Some(&mut self.client_ip),
            TriggerType::ResponseIp => Some(&mut self.response_ip),
            TriggerType::NsIp => Some(&mut self.ns_ip),
            TriggerType::Qname | TriggerType::NsDname => None,
        }
    }
}

/// The longest prefix of a family.
fn longest(is_v4: bool) -> u8 {
    if is_v4 { 32 } else { 128 }
}
