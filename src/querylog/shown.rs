//! What a record shows, to whom it is shown: times of day, groups, and no more of a client than is to be known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{Addresses, GroupOf, Record, Settings};

/// Bits of an IPv4 address that are a network's: what a home or an office is given, and neighbours share.
const V4_BITS: u32 = 24;
/// The same of an IPv6 address: the /56 that many providers give a home.
const V6_BITS: u32 = 56;

/// A record as an outlet shows it.
pub(super) struct Shown<'r> {
    /// All of it; addresses are for [`Shown::client`].
    pub(super) record: Record<'r>,
    /// Who asked, as far as that is to be known; port 0 where it is not.
    pub(super) client: Option<SocketAddr>,
    /// The client's group, if there are groups.
    pub(super) group: Option<String>,
    /// When the query came, since 1970.
    pub(super) came: Duration,
    /// When it was answered, since 1970.
    pub(super) answered: Duration,
}

/// What is shown, and of whom.
#[derive(Clone)]
pub(super) struct Show {
    groups: Vec<String>,
    addresses: Addresses,
    group_of: Arc<GroupOf>,
}

impl Show {
    /// As it was asked for.
    pub(super) fn new(settings: &Settings, group_of: &Arc<GroupOf>) -> Show {
        let Settings { groups, addresses, .. } = settings;
        Show { groups: groups.clone(), addresses: *addresses, group_of: Arc::clone(group_of) }
    }

    /// A record with times of day, given when the other clock stood at zero; none if it is not to be shown.
    pub(super) fn show<'r>(&self, record: Record<'r>, began: Duration) -> Option<Shown<'r>> {
        let client = SocketAddr::new(record.client.ip().to_canonical(), record.client.port());
        let group = (self.group_of)(client.ip());
        if !self.groups.is_empty() && !group.as_ref().is_some_and(|group| self.groups.contains(group)) {
            return None;
        }
        let (came, answered) = (began + record.came, began + record.answered);
        let client = match self.addresses {
            Addresses::Full => Some(client),
            Addresses::Prefix => Some(SocketAddr::new(network_of(client.ip()), 0)),
            Addresses::None => None,
        };
        Some(Shown { record, client, group, came, answered })
    }
}

/// The first address of the network that an address is in.
fn network_of(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - V4_BITS))).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - V6_BITS))).into(),
    }
}
