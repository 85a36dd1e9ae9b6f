//! A name judged: first by itself, and once there is an answer by all that is known of it.

use std::net::IpAddr;

use super::Case;
use super::known::{Found, Known};
use crate::dns::{Question, Truth, class, rtype};
use crate::policy::{Asker, Hit, Name, Policy, Servers, Stage, Verdict, View};

/// Labels of the shallowest zone whose servers are looked at: not the root's, nor those of top-level domains, as BIND's
/// min-ns-dots has it (draft-vixie-dnsop-dns-rpz §9.3).
const MIN_ZONE_LABELS: usize = 2;
/// The most names above a name that are asked for name servers, those nearest to the root: labels in front are free to make
/// up, zones are not.
const MAX_ZONES: usize = 8;
/// The most name servers of a name that are looked at; zones have at most 13 as a rule (RFC 1034 §4.1, RFC 9210).
const MAX_SERVERS: usize = 32;

/// What policy says of a name.
pub(super) struct Judged<'p> {
    /// What happens.
    pub(super) verdict: Verdict<'p>,
    /// Who only looks on.
    pub(super) observed: Option<Hit<'p>>,
    /// Whether the verdict must wait for the answer.
    pub(super) waits: bool,
}

impl<'p> Judged<'p> {
    /// The name asked for, by what is known before it is resolved.
    pub(super) fn by_name(case: Case<'p>, view: &View) -> Judged<'p> {
        let Case { query, policy, wall, .. } = case;
        let none = Servers::default();
        let stage = Stage { name: &query.qname, first: true, addresses: &[], servers: &none };
        // As if nothing were signed: more rules hold then, never fewer, and the best of more that does not ask for
        // signatures is the best of fewer.
        let asker = asker(case, view, false);
        let (verdict, observed) = policy.judge_stage(&stage, &asker, wall);
        let waits = verdict.hit().is_some_and(|hit| waits(policy, hit, query.dnssec_ok()));
        Judged { verdict, observed, waits }
    }

    /// A name of a resolution, by what its answer holds; `place` counts from the one asked for, which is 0.
    ///
    /// # Errors
    /// What must be asked to know where the answer comes from.
    pub(super) fn by_answer(
        case: Case<'p>,
        view: &View,
        (name, place): (&Name, usize),
        truth: &Truth,
    ) -> Result<Judged<'p>, Vec<Question>> {
        let Case { query, policy, wall, known, .. } = case;
        // The addresses are those of the name that the chain ends at.
        let addresses = if place == truth.end() { &truth.addresses[..] } else { &[] };
        let servers =
            if policy.looks_at_servers() { servers_of(name, policy, known)? } else { Servers::default() };
        let stage = Stage { name, first: place == 0, addresses, servers: &servers };
        let validates = query.dnssec_ok() && truth.is_signed(query.question);
        let (verdict, observed) = policy.judge_stage(&stage, &asker(case, view, validates), wall);
        Ok(Judged { verdict, observed, waits: false })
    }
}

/// Whether a hit by name must wait for the answer: for what an earlier zone makes of it, or for whether it is signed.
pub(super) fn waits(policy: &Policy, hit: &Hit<'_>, dnssec_ok: bool) -> bool {
    match &hit.order.rpz {
        // An order's passthru comes before all zones.
        None => hit.action != crate::policy::Action::Passthru && policy.waits(hit.zone),
        Some(rpz) => policy.waits(hit.zone) || (dnssec_ok && !rpz.break_dnssec),
    }
}

/// Who asks.
fn asker<'a>(case: Case<'a>, view: &'a View, validates: bool) -> Asker<'a> {
    let client = case.policy.looks_at_clients().then(|| case.client.addr.ip().to_canonical());
    Asker { view, client, rd: case.query.rd, qtype: case.query.qtype, validates }
}

/// The name servers on the way to `name`, as far as policy looks at them.
///
/// A forwarder sees no delegations, so it asks for the NS records of each name above; most have none, and the cache
/// remembers that. draft-vixie-dnsop-dns-rpz §4.4: "An implementation MAY use either, both, or whichever is currently
/// available." What cannot be had is not looked at.
///
/// # Errors
/// What must be asked.
fn servers_of(name: &Name, policy: &Policy, known: &Known<'_>) -> Result<Servers, Vec<Question>> {
    let mut servers = Servers::default();
    let mut missing = Vec::new();
    let depth = name.label_count();
    let deepest = depth.min(MIN_ZONE_LABELS + MAX_ZONES - 1);
    for labels in (MIN_ZONE_LABELS..=deepest).rev() {
        let Some(zone) = name.ancestor(labels) else { break };
        let question = ask(zone, rtype::NS);
        for record in answers(&question, known, &mut missing) {
            if record.rtype == rtype::NS
                && record.owner == zone
                && servers.names.len() < MAX_SERVERS
                && let Ok(server) = Name::from_wire(&record.rdata)
                && !servers.names.contains(&server)
            {
                servers.names.push(server);
            }
        }
    }
    if policy.looks_at_server_addresses() {
        for server in &servers.names {
            for rtype in [rtype::A, rtype::AAAA] {
                let question = ask(*server, rtype);
                let records = answers(&question, known, &mut missing);
                // draft-vixie-dnsop-dns-rpz §6: "an NS record with a CNAME target" is illegal and not used.
                let own = records.iter().filter(|record| record.owner == *server);
                servers.addresses.extend(own.filter_map(|record| match (record.rtype, &record.rdata[..]) {
                    (rtype::A, octets) => octets.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
                    (rtype::AAAA, octets) => octets.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
                    _ => None,
                }));
            }
        }
    }
    if missing.is_empty() { Ok(servers) } else { Err(missing) }
}

/// A question of our own.
fn ask(qname: Name, qtype: u16) -> Question {
    Question { qname, qtype, qclass: class::IN, dnssec_ok: false, checking_disabled: false }
}

/// The answers known to `question`; none if it failed. What is unknown goes to `missing`.
fn answers(
    question: &Question,
    known: &Known<'_>,
    missing: &mut Vec<Question>,
) -> Vec<crate::dns::leads::Loose> {
    match known.look_back(question) {
        Found::Truth { truth, .. } => truth.loose_answers(&question.octets()).unwrap_or_default(),
        Found::Failure { .. } => Vec::new(),
        Found::Unknown => {
            missing.push(*question);
            Vec::new()
        }
    }
}
