//! Answers that are for some clients, where upstream is told of their networks (RFC 7871).
//!
//! They stand among all others, each under its question and a place that its network shares with some; which network it is for, it says
//! itself. So the networks of one question are bounded without being counted, and none is ever told to another one. Whoever asks is looked
//! up by each length at which there ever was such an answer, the longest first, of which there are few.
//!
//! Rejected: a tree of networks by question, as Unbound has one beside its cache. It is a second cache, with bounds and an order of
//! leaving of its own.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::key::Key;
use super::{Cache, Entry};
use crate::dns::subnet::{AskedFor, Scope};
use crate::dns::{Question, Truth};

/// The lengths at which answers are for networks of IPv4 and of IPv6, a bit each from 1 on; those above 64 have the last.
#[derive(Debug, Default)]
pub(super) struct Lengths([AtomicU64; 2]);

impl Lengths {
    /// Those of networks of an address.
    fn of(&self, address: IpAddr) -> &AtomicU64 {
        &self.0[usize::from(address.is_ipv6())]
    }

    /// Notes that there is an answer for such a network.
    fn note(&self, Scope { of, .. }: &Scope) {
        self.of(of.address()).fetch_or(bit(of.bits()), Ordering::AcqRel);
    }

    /// Whom answers may be for that are for that network, the fewest first.
    fn around(&self, asked_for: &AskedFor) -> impl Iterator<Item = Scope> + use<> {
        let AskedFor { subnet, is_longest } = *asked_for;
        let lengths = self.of(subnet.address()).load(Ordering::Acquire);
        // Who is told of by fewer bits than others are may have an answer that is for those alone.
        let exactly = (!is_longest).then_some(Scope { of: subnet, exact: true, told: 0 });
        let there = (1..=subnet.bits()).rev().filter(move |bits| lengths & bit(*bits) != 0);
        let within = there.map(move |bits| Scope { of: subnet.within(bits), exact: false, told: 0 });
        exactly.into_iter().chain(within)
    }
}

/// The bit of a length.
fn bit(bits: u8) -> u64 {
    1 << (bits.clamp(1, 64) - 1)
}

impl Cache {
    /// The answer that will do of those to just this question, of several for networks around the one that it is asked for the one for the
    /// smallest. RFC 7871 §7.3.2: it "MUST be chosen based on the longest prefix matching."
    pub(super) fn own(&self, question: &Question, will_do: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let find = |scope: Option<Scope>| {
            let entry = self.truths.get(Key::of(question, scope.as_ref()).as_bytes())?;
            let whom = |scope: Scope| (scope.of, scope.exact);
            (entry.truth.scope.map(whom) == scope.map(whom) && will_do(&entry)).then_some(entry)
        };
        match &question.asked_for {
            None => find(None),
            Some(asked_for) => {
                let networks = self.lengths.around(asked_for);
                networks.map(Some).chain([None]).find_map(find)
            }
        }
    }

    /// Notes whom an answer is for that comes.
    pub(super) fn note_scope(&self, truth: &Truth) {
        truth.scope.iter().for_each(|scope| self.lengths.note(scope));
    }
}
