//! A name judged: first by itself, and once there is an answer by all that is known of it.

use std::sync::Arc;
use std::time::Duration;

use super::Case;
use super::generation::Generation;
use super::known::{Found, Known};
use super::outcome::Findings;
use crate::dns::{Question, Truth};
use crate::iana::{Class, Rtype};
use crate::name::Name;
use crate::policy::{Asker, Hit, Judgement, Policy, Servers, Stage, Stamp, Verdict, View};

/// Labels of the shallowest zone whose servers are looked at: not the root's, nor those of top-level domains, as BIND's
/// min-ns-dots has it (draft-vixie-dnsop-dns-rpz §9.3).
const MIN_ZONE_LABELS: usize = 2;
/// Labels of the deepest names above a name that are asked for name servers in any case. Most zones lie here, whatever the
/// name: `example.com`, `example.co.uk` and two below. What is deeper may be labels without end (an IPv6 address backwards
/// has 34) and is asked about only as far as a denial does not say where its zone begins.
const SURE_ZONE_LABELS: usize = 5;
/// The most name servers of a name that are looked at; with more, nobody knows where the answer comes from. Zones have at
/// most 13 as a rule (RFC 1034 §4.1, RFC 9210), those of large block lists some 25.
const MAX_SERVERS: usize = 64;

/// Why a name cannot be judged by its answer.
pub(super) enum Lack {
    /// These are to be asked first.
    Answers(Vec<Question>),
    /// What would have to be asked cannot be: as long as that is so, nobody knows whether it is listed.
    Means,
}

/// What policy says of a name.
pub(super) struct Judged<'p> {
    /// What happens.
    pub(super) verdict: Verdict<'p>,
    /// Who only looks on.
    pub(super) observed: Option<Hit<'p>>,
    /// Whether the verdict must wait for the answer.
    pub(super) waits: bool,
    /// Whether any rule is about the name, its addresses and its servers, whoever asks.
    pub(super) touched: bool,
    /// Until when it is known who its servers are; the end of time where nobody looks at them.
    pub(super) until: Duration,
}

/// What is remembered of a truth under the stamp that a query is judged by.
#[derive(Clone, Copy)]
pub(super) struct Remembered {
    /// Whether no rule is about any name or address of it.
    pub(super) untouched: bool,
    /// Until when no rule is about its servers either, if that is still to come.
    pub(super) servers: Option<Duration>,
}

impl Remembered {
    /// What is remembered at `now`.
    pub(super) fn of(truth: &Truth, stamp: Stamp, now: Duration) -> Remembered {
        let until = truth.untouched.until(stamp.to_bits());
        let untouched = truth.untouched.is(stamp.to_bits());
        Remembered { untouched, servers: (until > now).then_some(until) }
    }
}

impl<'g> Findings<'g> {
    /// Takes in what came of judging a name.
    pub(super) fn judged(&mut self, name: &Name, judged: &Judged<'g>) {
        self.decided(name, &judged.verdict);
        self.observed(judged.observed.as_ref());
    }
}

impl<'p> Judged<'p> {
    /// The name asked for, by what is known before it is resolved; `untouched` says that no rule is about it.
    pub(super) fn by_name(case: Case<'p>, view: &View, untouched: bool) -> Judged<'p> {
        let Case { query, wall, .. } = case;
        let policy = &*case.generation.policy;
        let none = Servers::default();
        let stage = Stage { name: &query.qname, first: true, untouched, addresses: &[], servers: &none };
        // Whether the answer is signed is not known yet, so it counts as unsigned here: a rule that leaves signed answers alone
        // then takes part. If the best rule is none of those, it is the best without them, too; else `waits` says so.
        let asker = asker(case, view, false, true);
        let Judgement { verdict, observed, touched } = policy.judge_stage(&stage, &asker, wall);
        let waits = verdict.hit().is_some_and(|hit| waits(policy, hit, query.dnssec_ok()));
        Judged { verdict, observed, waits, touched, until: Duration::ZERO }
    }

    /// A name of a resolution, by what its answer holds; `place` counts from the one asked for, which is 0.
    ///
    /// # Errors
    /// [`Lack`] when it is not known where the answer comes from.
    pub(super) fn by_answer(
        (case, known): (Case<'p>, &Known<'_>),
        view: &View,
        (name, place): (&Name, usize),
        (truth, remembered): (&Truth, Remembered),
    ) -> Result<Judged<'p>, Lack> {
        let Case { query, wall, generation: Generation { policy, local, .. }, .. } = case;
        // The addresses are those of the name that the chain ends at.
        let untouched = remembered.untouched;
        let addresses = if place == truth.end() && !untouched { &truth.addresses[..] } else { &[] };
        let (servers, until) = match remembered.servers {
            Some(until) => (Servers::default(), until),
            // What is answered here nobody else serves, and asking others would tell them of it.
            None if policy.looks_at_servers() && !local.holds(name) => servers_of(name, policy, known)?,
            None => (Servers::default(), Duration::MAX),
        };
        let stage = Stage { name, first: place == 0, untouched, addresses, servers: &servers };
        let validates = query.dnssec_ok() && truth.is_signed(query.question);
        let Judgement { verdict, observed, touched } =
            policy.judge_stage(&stage, &asker(case, view, validates, place == 0), wall);
        Ok(Judged { verdict, observed, waits: false, touched, until })
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

/// Who asks; `first` says that the name to be judged is the one asked for.
fn asker<'a>(case: Case<'a>, view: &'a View, validates: bool, first: bool) -> Asker<'a> {
    let led_from = (!first).then_some(&case.query.qname);
    let client = case.generation.policy.looks_at_clients().then(|| case.client.addr.ip().to_canonical());
    Asker { view, client, rd: case.query.rd, qtype: case.query.qtype, validates, led_from }
}

/// The name servers on the way to `name`, as far as policy looks at them, and until when all that was asked says so.
///
/// A forwarder sees no delegations, so it asks for the NS records of the names above; most have none, and the cache
/// remembers that. draft-vixie-dnsop-dns-rpz §4.4: "An implementation MAY use either, both, or whichever is currently
/// available." What upstream was asked for in vain is not looked at.
///
/// # Errors
/// What must be asked, or that it cannot be.
fn servers_of(name: &Name, policy: &Policy, known: &Known<'_>) -> Result<(Servers, Duration), Lack> {
    let mut servers = Servers::default();
    let mut look = Look { known, missing: Vec::new(), until: Duration::MAX };
    let mut next = Some(*name);
    while let Some(zone) = next.filter(|zone| zone.label_count() >= MIN_ZONE_LABELS) {
        let question = ask(zone, Rtype::NS);
        let above = match look.up(&question)? {
            Some(truth) => {
                add_names(&mut servers, &zone, &question, &truth)?;
                // RFC 2308 §2.1: the SOA of a denial is that of the zone it is in, so no zone begins between. Whoever is asked
                // in a zone may say what he likes of names above it; resolvers upstream do not let him (RFC 2181 §5.4.1),
                // and the names where nearly all zones lie are asked about in any case.
                truth.zone(&question.octets()).filter(|begin| *begin != zone)
            }
            // The name itself may say how much can be passed over: that is waited for.
            None if zone == *name && look.missing.last() == Some(&question) => Some(Name::ROOT),
            None => None,
        };
        next = match above.filter(|_| zone.label_count() > SURE_ZONE_LABELS) {
            Some(above) if above.label_count() > SURE_ZONE_LABELS => Some(above),
            Some(_) => zone.ancestor(SURE_ZONE_LABELS),
            None => zone.parent(),
        };
    }
    if policy.looks_at_server_addresses() {
        for server in &servers.names {
            for rtype in [Rtype::A, Rtype::AAAA] {
                let truth = look.up(&ask(*server, rtype))?;
                // draft-vixie-dnsop-dns-rpz §6: "an NS record with a CNAME target" is illegal and not used.
                if let Some(truth) = truth.filter(|truth| truth.aliases == 0) {
                    servers.addresses.extend_from_slice(&truth.addresses);
                }
            }
        }
    }
    if look.missing.is_empty() { Ok((servers, look.until)) } else { Err(Lack::Answers(look.missing)) }
}

/// Takes in the names of a zone's servers.
fn add_names(servers: &mut Servers, zone: &Name, question: &Question, truth: &Truth) -> Result<(), Lack> {
    for record in truth.owned_answers(&question.octets()).unwrap_or_default() {
        if record.rtype != Rtype::NS || record.owner != *zone {
            continue;
        }
        let Ok(server) = Name::from_wire(&record.rdata) else { continue };
        if servers.names.contains(&server) {
            continue;
        }
        if servers.names.len() == MAX_SERVERS {
            return Err(Lack::Means);
        }
        servers.names.push(server);
    }
    Ok(())
}

/// A question of our own.
fn ask(qname: Name, qtype: Rtype) -> Question {
    Question { qname, qtype, qclass: Class::IN, dnssec_ok: false, checking_disabled: false, asked_for: None }
}

/// Questions of our own looked up one after the other.
struct Look<'k> {
    known: &'k Known<'k>,
    /// What is unknown and to be asked.
    missing: Vec<Question>,
    /// Until when all that was found is found so.
    until: Duration,
}

impl Look<'_> {
    /// The answer known to `question`; none if it failed, or is unknown.
    ///
    /// # Errors
    /// [`Lack::Means`] when it cannot even be asked.
    fn up(&mut self, question: &Question) -> Result<Option<Arc<Truth>>, Lack> {
        let (truth, until) = match self.known.look_stale_ok(question) {
            Found::Truth { truth, until, .. } => (Some(truth), until),
            Found::Failure { asked: true, until, .. } => (None, until),
            Found::Failure { asked: false, .. } => return Err(Lack::Means),
            Found::Unknown => {
                self.missing.push(*question);
                return Ok(None);
            }
        };
        self.until = self.until.min(until);
        Ok(truth)
    }
}
