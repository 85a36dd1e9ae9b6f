//! Which clients a policy has triggers on, remembered for those that ask often.

use std::net::IpAddr;

use crate::policy::{Policy, TriggerType};

/// Places for clients, a power of two: a household's all fit, and a resolver's busiest stay for as long as their batch lasts.
/// What does not fit is looked up again, in some hundred nanoseconds.
const PLACES: usize = 256;

/// What one worker knows of those who asked it, under one policy.
pub(super) struct Askers {
    /// A client, and whether any trigger is on its address.
    places: Box<[Option<(IpAddr, bool)>]>,
}

impl Askers {
    /// Nobody has asked yet.
    pub(super) fn new() -> Askers {
        Askers { places: vec![None; PLACES].into() }
    }

    /// Forgets everybody: another policy has other triggers.
    pub(super) fn clear(&mut self) {
        self.places.fill(None);
    }

    /// Whether any trigger of that policy, the same since it was cleared, is on the client's address.
    #[inline]
    pub(super) fn is_listed(&mut self, policy: &Policy, client: IpAddr) -> bool {
        let place = &mut self.places[place_of(client)];
        match place {
            Some((known, listed)) if *known == client => *listed,
            _ => {
                let listed = policy.lists_address(TriggerType::ClientIp, client);
                *place = Some((client, listed));
                listed
            }
        }
    }
}

/// The place of a client. Whoever makes two collide has both looked up each time, and gains nothing by it.
#[inline]
fn place_of(client: IpAddr) -> usize {
    let bits = match client {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ v6.to_bits() as u64,
    };
    // The golden ratio spreads neighbours (Knuth, TAOCP vol. 3, 6.4); its upper bits depend on all of the address.
    (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NameList;
    use crate::policy::{MatchKind, Order, OrderWithNames, PolicyZone, Scope, prefix};
    use std::sync::Arc;

    /// A policy with a trigger on the clients in 10.0.0.0/24.
    fn policy() -> Policy {
        let names: NameList =
            [prefix::to_name("10.0.0.0".parse().unwrap(), 24, TriggerType::ClientIp)].into_iter().collect();
        let scope = Scope { on: TriggerType::ClientIp, ..Scope::new(MatchKind::Exact) };
        let order = Order { scopes: vec![scope], ..Order::new("x") };
        let listed = OrderWithNames::listing(order, [names]);
        Policy::compile(&[PolicyZone { name: String::new(), orders: vec![Arc::new(listed)] }], &[], 1)
    }

    #[test]
    fn clients_are_told_apart_wherever_they_stand() {
        let (policy, nobody) = (policy(), Policy::empty());
        let mut askers = Askers::new();
        let clients = (0..20_000_u32).map(|index| IpAddr::from((0x0a00_0000 + index * 3).to_be_bytes()));
        for client in clients.clone().chain(clients).chain(["2001:db8::7".parse().unwrap()]) {
            let expected = matches!(client, IpAddr::V4(v4) if v4.octets()[..3] == [10, 0, 0]);
            for _ in 0..2 {
                assert_eq!(askers.is_listed(&policy, client), expected, "{client}");
            }
        }
        let listed = "10.0.0.9".parse().unwrap();
        assert!(askers.is_listed(&policy, listed));
        askers.clear();
        assert!(!askers.is_listed(&nobody, listed));
    }

    #[test]
    fn neighbours_stand_apart() {
        let places: std::collections::HashSet<usize> =
            (0..64_u8).map(|host| place_of(IpAddr::from([192, 168, 7, host]))).collect();
        assert!(places.len() > 48, "{}", places.len());
    }
}
