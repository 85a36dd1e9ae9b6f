//! Triggers beyond the name: on the client, on the addresses in an answer, and on the name servers behind it
//! (draft-vixie-dnsop-dns-rpz §4), and which of all triggers decides one stage of a resolution (§5).
//!
//! They are compiled into the same trie as names, under the labels that RPZ gives them, which no query name can reach:
//! a rule says what its names are held against. A prefix is found by one lookup for each prefix length in use.

use std::net::IpAddr;

use super::judge::{Asked, Asker, Capture, Judgement, Policy, Role};
use super::order::{On, Order};
use super::prefix::{self, Nat64};
use super::verdict::{Trigger, Verdict};
use crate::name::Name;
use crate::time::UnixSeconds;

/// One stage of a resolution (draft-vixie-dnsop-dns-rpz §5.1): a name, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a> {
    /// The name asked for, or one that its answer leads to.
    pub name: &'a Name,
    /// Whether it is the name asked for: triggers on the client belong to that.
    pub first: bool,
    /// Whether it is known that no rule is about its name and its addresses, by an earlier look under the same stamp: then
    /// only who asks and the name servers are looked at.
    pub untouched: bool,
    /// The addresses that the answer gives for it.
    pub addresses: &'a [IpAddr],
    /// The name servers on the way to it.
    pub servers: &'a Servers,
}

/// Name servers of the zones on the way to a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// Their names.
    pub names: Vec<Name>,
    /// Their addresses.
    pub addresses: Vec<IpAddr>,
}

/// Which triggers a policy has besides those on names asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Others {
    client_ip: Lengths,
    response_ip: Lengths,
    ns_ip: Lengths,
    ns_dname: bool,
    /// The first policy zone that has any which take an answer to know.
    late_zone: Option<u16>,
    /// Which IPv6 addresses are IPv4 addresses as well.
    nat64: Nat64,
}

/// The prefix lengths in use, a bit each.
#[derive(Clone, Debug, Default)]
struct Lengths {
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
    fn of(&self, address: IpAddr) -> impl Iterator<Item = u8> + '_ {
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
    fn is_empty(&self) -> bool {
        self.v4 == 0 && self.v6 == [0; 2]
    }
}

impl Others {
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

impl Policy {
    /// Whether any trigger is on the address of who asks.
    #[inline]
    pub fn looks_at_clients(&self) -> bool {
        !self.others.client_ip.is_empty()
    }

    /// Whether any trigger is on what answers hold or on where they come from.
    #[inline]
    pub fn looks_at_answers(&self) -> bool {
        self.others.late_zone.is_some()
    }

    /// Whether any trigger is on the name servers behind an answer.
    #[inline]
    pub fn looks_at_servers(&self) -> bool {
        self.looks_at_server_addresses() || self.others.ns_dname
    }

    /// Whether any trigger is on addresses of name servers.
    pub fn looks_at_server_addresses(&self) -> bool {
        !self.others.ns_ip.is_empty()
    }

    /// Whether a decision of that zone has to wait for the answer, because a zone before it may decide by what that holds
    /// (draft-vixie-dnsop-dns-rpz §5.2).
    #[inline]
    pub fn waits(&self, zone: u16) -> bool {
        self.others.late_zone.is_some_and(|late| late < zone)
    }

    /// Whether any prefix on addresses in answers holds this address, in force or not, whomever it concerns.
    pub fn lists_address(&self, address: IpAddr) -> bool {
        let lengths = &self.others.response_ip;
        let listed = |address, len| self.trie.at(&prefix::to_name(address, len, On::ResponseIp)).is_some();
        self.others.nat64.forms(address).any(|form| lengths.of(form).any(|len| listed(form, len)))
    }

    /// The same policy, which takes IPv6 addresses under these prefixes for the IPv4 addresses in them, too.
    #[must_use]
    pub fn with_nat64(mut self, nat64: Nat64) -> Policy {
        self.others.nat64 = nat64;
        self
    }

    /// What happens at a stage by all that is known of it, and the first order that only observes it.
    ///
    /// [`Policy::verdict`]'s precedence; within an RPZ triggers on the client come first, then on the name, on addresses in
    /// the answer, on names and on addresses of name servers (draft-vixie-dnsop-dns-rpz §5.4). What touches it is what is about
    /// its name and addresses: clients and servers come and go. Allocates.
    pub fn judge_stage(&self, stage: &Stage<'_>, asker: &Asker<'_>, at: UnixSeconds) -> Judgement<'_> {
        let asked = Asked { asker, name: stage.name, at };
        let mut captures: Vec<Capture> = Vec::new();
        if !stage.untouched {
            let path = self.path(stage.name);
            if let Some(trigger) = self.protection(&path, at) {
                return Judgement { verdict: Verdict::Protected(trigger), observed: None, touched: true };
            }
            captures.extend(self.captures(&path, &asked));
            self.prefixes(On::ResponseIp, &self.others.response_ip, stage.addresses, &asked, &mut captures);
        }
        let touched = !captures.is_empty();
        if let Some(client) = asker.client.filter(|_| stage.first) {
            self.prefixes(On::ClientIp, &self.others.client_ip, &[client], &asked, &mut captures);
        }
        if self.others.ns_dname {
            self.server_names(&stage.servers.names, &asked, &mut captures);
        }
        self.prefixes(On::NsIp, &self.others.ns_ip, &stage.servers.addresses, &asked, &mut captures);
        Judgement { touched, ..self.choose(captures.into_iter(), asker) }
    }

    /// The captures of addresses by listed prefixes.
    fn prefixes(
        &self,
        on: On,
        lengths: &Lengths,
        addresses: &[IpAddr],
        asked: &Asked<'_>,
        captures: &mut Vec<Capture>,
    ) {
        if lengths.is_empty() {
            return;
        }
        for address in addresses.iter().flat_map(|address| self.others.nat64.forms(*address)) {
            for len in lengths.of(address) {
                let name = prefix::to_name(address, len, on);
                // Nearly all addresses are listed by nothing, and a look is cheaper than a path.
                if self.trie.at(&name).is_none() {
                    continue;
                }
                let path = self.listed_path(&name);
                let exact = self.captures_on(on, &path, asked).filter(|capture| {
                    // Longer prefixes are no names below shorter ones, yet a name on the way might be listed as something.
                    usize::from(capture.trigger.labels) == path.depth
                });
                let masked = prefix::masked(address, len);
                captures.extend(exact.map(|capture| Capture {
                    trigger: Trigger { prefix: Some((masked, len)), ..capture.trigger },
                    rank: prefix_rank(masked, len),
                    ..capture
                }));
            }
        }
    }

    /// The captures of name servers by their names.
    fn server_names(&self, names: &[Name], asked: &Asked<'_>, captures: &mut Vec<Capture>) {
        let mut names: Vec<&Name> = names.iter().collect();
        // draft-vixie-dnsop-dns-rpz §5.5: the one that "appears last in the DNSSEC canonical DNS name order".
        names.sort_by(|one, other| canonical(other).cmp(canonical(one)));
        names.dedup();
        for (place, name) in names.into_iter().enumerate() {
            let mut under = Name::ROOT;
            // A name that is too long for this cannot be listed either.
            let label = prefix::label(On::NsDname).unwrap_or_default();
            if name.labels().chain([label]).try_for_each(|label| under.push_label(label)).is_err() {
                continue;
            }
            let path = self.listed_path(&under);
            captures.extend(self.captures_on(On::NsDname, &path, asked).map(|capture| {
                // §5.3: exact before wildcard, and "among wildcard matches" the most labels; exact ones are all alike.
                let wildcard = usize::from(capture.trigger.labels) < path.depth;
                let closeness = if wildcard { u8::MAX - capture.trigger.labels } else { 0 };
                Capture { rank: (u8::from(wildcard), u128::from(closeness) << 64 | place as u128), ..capture }
            }));
        }
    }
}

/// §5.6 and §5.7: the longest internal prefix is best, then the smaller address, both as of 128 bits.
fn prefix_rank(address: IpAddr, len: u8) -> (u8, u128) {
    match address {
        IpAddr::V4(v4) => (128 - (96 + len.min(32)), u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (128 - len.min(128), v6.to_bits()),
    }
}

/// A name's place in the canonical order (RFC 4034 §6.1): its labels from the root.
fn canonical(name: &Name) -> impl Iterator<Item = &[u8]> {
    let mut labels: Vec<&[u8]> = name.labels().collect();
    labels.reverse();
    labels.into_iter()
}

/// The nodes that an RPZ has without saying anything there, as far as that matters: between a name it lists and a wildcard
/// above it. Only a wildcard speaks for names it does not list, so elsewhere a node stops nothing.
pub(super) fn empty_nodes<'n>(
    names: impl Iterator<Item = Name> + 'n,
    is_wildcard: impl Fn(&Name) -> bool + 'n,
) -> impl Iterator<Item = Name> + 'n {
    names.flat_map(move |name| {
        let mut between = Vec::new();
        let mut found = None;
        let mut above = name.parent();
        while let Some(node) = above {
            if is_wildcard(&node) {
                found = Some(between.len());
            }
            between.push(node);
            above = node.parent();
        }
        between.truncate(found.unwrap_or(0));
        between
    })
}

/// Whether an order is read as a DNS zone, and so has nodes.
pub(super) fn has_nodes(order: &Order) -> bool {
    order.reading != super::order::Reading::Closest
}

/// The role of an empty node.
pub(super) fn node(order: u32) -> Role {
    Role::Node { order }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_follow_the_drafts_example() {
        let rank = |text: &str, len| prefix_rank(text.parse().unwrap(), len);
        // draft-vixie-dnsop-dns-rpz §5.7.
        let most = rank("192.0.2.0", 25);
        let middle = rank("192.0.2.128", 25);
        let least = rank("2001:db8::c000:280", 121);
        assert!(most < middle && middle < least);
        assert!(rank("192.0.2.0", 26) < most);
    }

    #[test]
    fn canonical_order_is_rfc_4034s() {
        let names: Vec<Name> =
            ["example", "a.example", "yljkjljk.a.example", "Z.a.example", "zABC.a.EXAMPLE", "z.example"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect();
        assert!(names.windows(2).all(|pair| canonical(&pair[0]).lt(canonical(&pair[1]))));
    }

    #[test]
    fn nodes_matter_below_wildcards_only() {
        let names =
            ["exact.sub.test", "evil.ent.sub.test", "a.b.other"].map(|text| text.parse::<Name>().unwrap());
        let wildcard: Name = "sub.test".parse().unwrap();
        let found: Vec<String> = empty_nodes(names.into_iter(), move |name| *name == wildcard)
            .map(|name| name.to_string())
            .collect();
        assert_eq!(found, ["ent.sub.test"]);
    }
}
