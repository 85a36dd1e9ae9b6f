//! The blast limit: an order that would suddenly take much of what it does not list itself is held back for a while.
//!
//! In 2014 whole zones went dark because the orders' reach was seen only once it was felt. Here it is measured on what was
//! asked lately, before the order acts, and people have until the hold ends to look.
//!
//! Whoever may ask this server, and whoever can forge the address of somebody who may, writes in the sample. So a hold is
//! bounded in all that it can do. What a court, an agency or a registry ordered is never held back. Names that an order lists
//! itself are never held back, nor do they count: they are what was ordered, however many ask for them, as bots do. Clients
//! count, not their queries: one that floods is one. And a hold ends by itself, and does not come back the same day.
//! `docs/guards.md` says what is left.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::active_policy::{ActivePolicy, Seen};
use super::record::{Record, Verb};
use crate::access::client_of;
use crate::name::Name;
use crate::orders::time;
use crate::policy::{Hit, Order, Policy, Verdict};
use crate::problem::Problem;
use crate::resolver::recent::Recent;
use crate::time::UnixSeconds;

/// Samples below which nothing is said: with fewer, a share of one in a hundred is a matter of luck.
const ENOUGH: usize = 1000;
/// Clients below which their share says nothing: in a house of five one is a fifth.
const ENOUGH_CLIENTS: usize = 10;
/// Seconds from the beginning of a hold in which the same order is not held back again: whoever floods the sample must not
/// win an hour with every change of its file.
const AGAIN_S: UnixSeconds = 86_400;

/// How much an order may newly take of what was asked lately.
#[derive(Clone, Debug)]
pub struct BlastLimit {
    recent: Recent,
    /// In per cent of clients, and of what a client asks; 100 is no limit.
    max_percent: u32,
    /// How long an order is held back, in seconds.
    hold_s: UnixSeconds,
}

/// What an order would newly take, beyond the names it lists itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Blast {
    /// The order's id.
    pub order: String,
    /// Clients that asked for any of it, and how many there are in all.
    pub clients: (usize, usize),
    /// How much it is of the names that a client asks for, the mean over all clients, in per cent.
    pub percent_of_names: f64,
}

/// What is counted of an order.
#[derive(Debug, Default)]
struct Taken {
    clients: usize,
    /// The sum over clients of the part of their names that is taken.
    parts: f64,
}

impl BlastLimit {
    /// A limit, in per cent from 1 to 100, over this sample; orders that pass it are held back for so long.
    pub fn new(recent: Recent, max_percent: u32, hold: Duration) -> BlastLimit {
        BlastLimit { recent, max_percent, hold_s: i64::try_from(hold.as_secs()).unwrap_or(i64::MAX) }
    }

    /// Looks at a policy of the files that is about to be put in force, and holds back which of these orders pass the limit,
    /// unless somebody has stated how they stand. That is on record before they could act. Gives back what is to be said.
    pub fn guard(
        &self,
        active: &ActivePolicy,
        next: &Policy,
        orders: &HashSet<&str>,
        at: UnixSeconds,
    ) -> Vec<Problem> {
        let seen = active.seen();
        let next = next.with_overrides(&seen.stated.overrides(), 0);
        let blasts = self.exceeded(&seen.policy, &next, |order| orders.contains(order.id.as_str()), at);
        let found = |id: &str| next.orders().iter().find(|order| order.id == id);
        let with_orders = blasts.iter().filter_map(|blast| Some((blast, found(&blast.order)?)));
        with_orders.filter_map(|(blast, order)| self.act(active, &seen, blast, order, at)).collect()
    }

    /// Holds back one order that passes the limit, if that may be, and says so.
    fn act(
        &self,
        active: &ActivePolicy,
        seen: &Seen,
        blast: &Blast,
        order: &Order,
        at: UnixSeconds,
    ) -> Option<Problem> {
        let (id, why) = (&order.id, self.why(blast));
        let more = format!("`sinkscope impact {id} --recent` tells more");
        let said = |outcome: String, hint: String| {
            Some(Problem::warning("guard", None, format!("order {id}: {why}; {outcome}")).hint(hint))
        };
        if seen.stated.about(id, &None).is_some() {
            return None;
        }
        if !order.may_be_held() {
            let outcome = format!("it acts: what is ordered by a {} is not held back", order.authority.kind);
            return said(outcome, format!("{more}; `sinkscope order observe {id}` keeps it from acting"));
        }
        let was_held = |record: &Record| {
            record.verb == Verb::Hold && record.order == *id && at.saturating_sub(record.unix) < AGAIN_S
        };
        if active.journal(|journal| journal.records().iter().rev().any(|record| was_held(record))) {
            return said("it acts: it was held back already today".into(), more);
        }
        let until = at.saturating_add(self.hold_s);
        match active.hold(id, until, &why, at) {
            Ok(()) => {
                let outcome =
                    format!("held back until {}: only names it lists itself are acted on", time::show(until));
                said(outcome, format!("{more}; `sinkscope order activate {id}` ends it"))
            }
            // What cannot be put on record is not held back: the order's file says that it acts.
            Err(_) => said("it acts all the same, for a hold could not be put on record".into(), more),
        }
    }

    /// Which of the orders that are `guarded` would take too much under `next`, as of `at`, of what nobody takes under `now`
    /// and they do not list themselves.
    fn exceeded(
        &self,
        now: &Policy,
        next: &Policy,
        guarded: impl Fn(&Order) -> bool,
        at: UnixSeconds,
    ) -> Vec<Blast> {
        // Before the first load nothing is taken, so everything would be new.
        if self.max_percent >= 100 || !now.is_ready() {
            return Vec::new();
        }
        let sample = self.recent.snapshot();
        if sample.len() < ENOUGH {
            return Vec::new();
        }
        // The order that newly takes each name, and who asked for which names, each once.
        let mut numbers: HashMap<&Name, usize> = HashMap::new();
        let mut takers: Vec<Option<&str>> = Vec::new();
        let mut asked: Vec<(IpAddr, usize)> = Vec::with_capacity(sample.len());
        for (name, client) in &sample {
            let number = *numbers.entry(name).or_insert_with(|| {
                let taker = match next.verdict(name, at) {
                    Verdict::Act(_, hit) if guarded(hit.order) && !lists_itself(&hit, name) => {
                        Some(hit.order)
                    }
                    _ => None,
                };
                let taker = taker.filter(|_| !matches!(now.verdict(name, at), Verdict::Act(..)));
                takers.push(taker.map(|order| order.id.as_str()));
                takers.len() - 1
            });
            asked.push((client_of(*client), number));
        }
        asked.sort_unstable();
        asked.dedup();
        let mut taken: HashMap<&str, Taken> = HashMap::new();
        let mut clients = 0;
        for of_client in asked.chunk_by(|one, other| one.0 == other.0) {
            clients += 1;
            let mut counts: HashMap<&str, usize> = HashMap::new();
            for order in of_client.iter().filter_map(|(_, number)| takers[*number]) {
                *counts.entry(order).or_default() += 1;
            }
            for (order, count) in counts {
                let taken = taken.entry(order).or_default();
                taken.clients += 1;
                taken.parts += count as f64 / of_client.len() as f64;
            }
        }
        let mut blasts: Vec<Blast> = taken
            .into_iter()
            .map(|(order, taken)| Blast {
                order: order.to_owned(),
                clients: (taken.clients, clients),
                percent_of_names: taken.parts * 100.0 / clients as f64,
            })
            .filter(|blast| self.is_passed(blast))
            .collect();
        blasts.sort_by(|one, other| one.order.cmp(&other.order));
        blasts
    }

    /// Whether that is too much.
    fn is_passed(&self, blast: &Blast) -> bool {
        let (clients, all) = blast.clients;
        let many = clients >= ENOUGH_CLIENTS && clients * 100 > all * self.max_percent as usize;
        many || blast.percent_of_names > f64::from(self.max_percent)
    }

    /// Why an order is held back, in a sentence.
    fn why(&self, blast: &Blast) -> String {
        let (clients, all) = blast.clients;
        format!(
            "it would newly take names that it does not list itself and {clients} of {all} clients asked for lately, {:.1} % \
             of what a client asks for; the blast limit is {} %",
            blast.percent_of_names, self.max_percent
        )
    }
}

/// Whether the order lists the very name, so that taking it is what was ordered.
fn lists_itself(hit: &Hit<'_>, name: &Name) -> bool {
    hit.scope.patterns.is_none() && usize::from(hit.trigger.labels) == name.label_count()
}

#[cfg(test)]
mod tests;
