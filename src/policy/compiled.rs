//! A policy as data: what was compiled, shared by all that comes of it, and what was stated upon it.
//!
//! Nothing in it ever changes. A statement, a suspension or a hold makes another policy around the same [`Compiled`], which
//! takes microseconds however much that holds.

use std::net::IpAddr;
use std::sync::Arc;

use super::order::{Order, Patterns, Standing, TriggerType};
use super::overrides::{Override, Overrides};
use super::prefix::{self, Nat64};
use super::room::LeftOut;
use super::rule::{OrderIndex, Rule, RuleSet, SingleCapture};
use super::stamp::{Edges, Stamp};
use super::trie::NameTrie;
use super::triggers::NonQname;
use crate::name::Name;
use crate::time::UnixSeconds;

/// Every order in force or waiting, compiled, under what is stated about them; read by all, never changed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Changes with every policy, so that readers can tell them apart.
    epoch: u64,
    /// What takes long to make.
    pub(super) compiled: Arc<Compiled>,
    /// How far each order has got.
    pub(super) overrides: Overrides,
    /// Which IPv6 addresses are IPv4 addresses as well.
    pub(super) nat64: Nat64,
    /// False for the one that stands in until there is one: nobody must take its silence for a verdict.
    ready: bool,
}

/// What of a policy takes long to make: all that orders say of themselves.
#[derive(Debug)]
pub(super) struct Compiled {
    /// Listed names to rule sets.
    pub(super) trie: NameTrie,
    /// All rules; a lower number comes first in precedence of its zone and order.
    pub(super) rules: Vec<Rule>,
    /// The members of each rule set, as numbers into `rules`, ascending; set 0 is empty.
    pub(super) sets: Vec<Box<[u32]>>,
    /// What there is to say about a set that is one capture, by its number.
    pub(super) lone: Vec<Option<SingleCapture>>,
    /// The orders, in precedence order.
    pub(super) orders: Vec<Order>,
    /// The patterns of lists that have any, each with the rule set of its scope.
    pub(super) patterns: Vec<(Patterns, RuleSet)>,
    /// Triggers that are not about the name asked for.
    pub(super) others: NonQname,
    /// The policy zone of each order.
    pub(super) zones: Vec<u16>,
    /// When a window of any rule opens or closes.
    pub(super) edges: Edges,
    /// What there was no room for.
    pub(super) left_out: Vec<LeftOut>,
}

impl Policy {
    /// The policy that was compiled, as the orders themselves say.
    pub(super) fn of(compiled: Compiled, epoch: u64) -> Policy {
        let overrides = Overrides::new(&compiled.orders, &[]);
        Policy { epoch, compiled: Arc::new(compiled), overrides, nat64: Nat64::default(), ready: true }
    }

    /// The same, of which nobody must take a verdict.
    pub(super) fn unready(self) -> Policy {
        Policy { ready: false, ..self }
    }

    /// The same policy under these overrides and no others, to be put in this one's place. Takes microseconds, and as long for
    /// ten million names as for ten.
    #[must_use]
    pub fn with_overrides(&self, overrides: &[Override], epoch: u64) -> Policy {
        let overrides = Overrides::new(&self.compiled.orders, overrides);
        let (compiled, nat64) = (Arc::clone(&self.compiled), self.nat64.clone());
        Policy { epoch, compiled, overrides, nat64, ready: self.ready }
    }

    /// Whether both were compiled at once, and differ in what is stated upon it at most: what is remembered of their orders,
    /// less whether they act, holds for both.
    pub fn is_compiled_with(&self, other: &Policy) -> bool {
        Arc::ptr_eq(&self.compiled, &other.compiled)
    }

    /// How the order of that id stands at `at` as far as `name` is concerned, or as a whole; none if there is no such order.
    pub fn standing(&self, order_id: &str, name: Option<&Name>, at: UnixSeconds) -> Option<Standing> {
        let number = self.compiled.orders.iter().position(|order| order.id == order_id)?;
        let number = OrderIndex(number as u32);
        Some(match name.map(|name| self.overrides.of(number, name)) {
            Some(standing) if standing != Standing::Held => standing,
            _ => self.overrides.whole(number, at),
        })
    }

    /// The stamp of this policy at a second. A binary search where there are windows.
    #[inline]
    pub fn stamp(&self, at: UnixSeconds) -> Stamp {
        // Neither number ever falls while time goes on, so the sum tells of both.
        Stamp::of(self.epoch, self.compiled.edges.era(at) + self.overrides.edges.era(at))
    }

    /// Differs between any two policies of one process.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether its verdicts mean anything; false only for [`Policy::not_ready`].
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Distinct names listed, protected ones and exceptions included.
    pub fn name_count(&self) -> usize {
        self.compiled.trie.len()
    }

    /// What there was no room for, in the order in which it was met. None of it is in the policy; all else is.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.compiled.left_out
    }

    /// Octets the compiled names occupy.
    pub fn heap_octets(&self) -> usize {
        self.compiled.trie.heap_octets()
    }

    /// The orders, in precedence order.
    pub fn orders(&self) -> &[Order] {
        &self.compiled.orders
    }

    /// Whether names are held against patterns, which takes up to a thousand times as long as all else.
    #[inline]
    pub fn has_patterns(&self) -> bool {
        !self.compiled.patterns.is_empty()
    }

    /// Whether any trigger is on the address of who asks.
    #[inline]
    pub fn looks_at_clients(&self) -> bool {
        !self.compiled.others.client_ip.is_empty()
    }

    /// Whether any trigger is on what answers hold or on where they come from.
    #[inline]
    pub fn looks_at_answers(&self) -> bool {
        self.compiled.others.late_zone.is_some()
    }

    /// Whether any trigger is on the name servers behind an answer.
    #[inline]
    pub fn looks_at_servers(&self) -> bool {
        self.looks_at_server_addresses() || self.compiled.others.ns_dname
    }

    /// Whether any trigger is on addresses of name servers.
    pub fn looks_at_server_addresses(&self) -> bool {
        !self.compiled.others.ns_ip.is_empty()
    }

    /// Whether a decision of that zone has to wait for the answer, because a zone before it may decide by what that holds
    /// (draft-vixie-dnsop-dns-rpz §5.2).
    #[inline]
    pub fn waits(&self, zone: u16) -> bool {
        self.compiled.others.late_zone.is_some_and(|late| late < zone)
    }

    /// Whether any prefix of triggers of that sort holds this address, in force or not, whomever it concerns; none does of
    /// those that are on names.
    pub fn lists_address(&self, on: TriggerType, address: IpAddr) -> bool {
        let Some(lengths) = self.compiled.others.lengths(on) else { return false };
        let listed = |address, len| self.compiled.trie.at(&prefix::to_name(address, len, on)).is_some();
        self.nat64.forms(address).any(|form| lengths.of(form).any(|len| listed(form, len)))
    }

    /// The same policy, which takes IPv6 addresses under these prefixes for the IPv4 addresses in them, too.
    #[must_use]
    pub fn with_nat64(mut self, nat64: Nat64) -> Policy {
        self.nat64 = nat64;
        self
    }
}
