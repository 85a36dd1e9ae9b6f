//! Triggers beyond the name: on the client, on the addresses in an answer, and on the name servers behind it
//! (draft-vixie-dnsop-dns-rpz §4), and which of all triggers decides one stage of a resolution (§5).
//!
//! They are compiled into the same trie as names, under the labels that RPZ gives them, which no query name can reach:
//! a rule says what its names are held against. A prefix is found by one lookup for each prefix length in use.

use std::net::IpAddr;

use super::compiled::Policy;
use super::judge::{Asked, Asker, Judgement};
use super::order::TriggerType;
use super::prefix;
use super::rule::Capture;
use super::triggers::Lengths;
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

impl Policy {
    /// What happens at a stage by all that is known of it, and the first order that only observes it.
    ///
    /// [`Policy::verdict`]'s precedence; within an RPZ triggers on the client come first, then on the name, on addresses in
    /// the answer, on names and on addresses of name servers (draft-vixie-dnsop-dns-rpz §5.4). What touches it is what is about
    /// its name, addresses and servers: clients come and go. Allocates.
    pub fn judge_stage(&self, stage: &Stage<'_>, asker: &Asker<'_>, at: UnixSeconds) -> Judgement<'_> {
        let asked = Asked { asker, name: stage.name, at };
        let mut captures: Vec<Capture> = Vec::new();
        if !stage.untouched {
            let path = self.path(stage.name);
            if let Some(trigger) = self.protection(&path, at) {
                return Judgement { verdict: Verdict::Protected(trigger), observed: None, touched: true };
            }
            captures.extend(self.captures(&path, &asked));
            self.prefixes(
                TriggerType::ResponseIp,
                &self.compiled.others.response_ip,
                stage.addresses,
                &asked,
                &mut captures,
            );
        }
        if self.compiled.others.ns_dname {
            self.server_names(&stage.servers.names, &asked, &mut captures);
        }
        self.prefixes(
            TriggerType::NsIp,
            &self.compiled.others.ns_ip,
            &stage.servers.addresses,
            &asked,
            &mut captures,
        );
        let touched = !captures.is_empty();
        if let Some(client) = asker.client.filter(|_| stage.first) {
            self.prefixes(
                TriggerType::ClientIp,
                &self.compiled.others.client_ip,
                &[client],
                &asked,
                &mut captures,
            );
        }
        Judgement { touched, ..self.choose(captures.into_iter(), asker) }
    }

    /// The captures of addresses by listed prefixes.
    fn prefixes(
        &self,
        on: TriggerType,
        lengths: &Lengths,
        addresses: &[IpAddr],
        asked: &Asked<'_>,
        captures: &mut Vec<Capture>,
    ) {
        if lengths.is_empty() {
            return;
        }
        for address in addresses.iter().flat_map(|address| self.nat64.forms(*address)) {
            for len in lengths.of(address) {
                let name = prefix::to_name(address, len, on);
                // Nearly all addresses are listed by nothing, and a look is cheaper than a path.
                if self.compiled.trie.at(&name).is_none() {
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
            let label = prefix::label(TriggerType::NsDname).unwrap_or_default();
            if name.labels().chain([label]).try_for_each(|label| under.push_label(label)).is_err() {
                continue;
            }
            let path = self.listed_path(&under);
            captures.extend(self.captures_on(TriggerType::NsDname, &path, asked).map(|capture| {
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
}
