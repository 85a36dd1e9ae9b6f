//! DNS64 on the request path: what is known of a question, for clients that have IPv6 alone (RFC 6147).
//!
//! It stands where the answer is looked up, so that all behind it holds for what is made as for any other truth: review, the order of
//! addresses, one exit. What is made is judged by the IPv4 addresses in it, for its prefix is one of the policy's. The cache holds what it
//! is made of.

use std::sync::Arc;
use std::time::Duration;

use super::Case;
use super::known::{Found, Known};
use crate::dns::dns64::Dns64;
use crate::dns::{Query, Question, Truth};
use crate::iana::{Class, Rtype};
use crate::local::Local;

/// What is known of a query's question, and what would have to be asked where that is nothing.
#[inline]
pub(super) fn look(case: Case<'_>, known: &Known<'_>) -> (Question, Found) {
    let question = case.query.key();
    match (of(case), question.qtype) {
        (Some(dns64), Rtype::AAAA) => addresses(dns64, known, question),
        (Some(dns64), Rtype::PTR) => {
            name(dns64, case, known, &question).unwrap_or_else(|| (question, known.look(&question)))
        }
        _ => {
            let found = known.look(&question);
            (question, found)
        }
    }
}

/// What a query's client reaches IPv4 by, if that is by a translator and may be told.
fn of(case: Case<'_>) -> Option<&Dns64> {
    let Case { query, client, generation, .. } = case;
    let dns64 = generation.answers.dns64.as_ref()?;
    // RFC 6147 §5.5: "If the CD bit is set and DO is set, then vDNS64 MAY perform validation, but MUST NOT perform synthesis." §5.1:
    // "DNS64 operation for classes other than IN is undefined".
    if query.qclass != Class::IN || query.cd && query.dnssec_ok() {
        return None;
    }
    let clients = &generation.clients;
    let is_in = |name: &str| dns64.groups.iter().any(|group| group == name);
    let concerned =
        dns64.groups.is_empty() || clients.name(clients.group_of(client.addr.ip())).is_some_and(is_in);
    concerned.then_some(dns64)
}

/// What is known of IPv6 addresses, those that are made of IPv4 ones included.
fn addresses(dns64: &Dns64, known: &Known<'_>, question: Question) -> (Question, Found) {
    let found = known.look(&question);
    let v6 = match &found {
        Found::Truth { truth, age_s, .. } if dns64.concerns(&question, truth) => {
            Some((Arc::clone(truth), *age_s))
        }
        Found::Unknown | Found::Truth { .. } => return (question, found),
        // RFC 6147 §5.1.2: "Any other RCODE is treated as though the RCODE were 0 [...] and the answer section were empty." §5.1.3 has it so
        // where no answer comes. An expired one that has addresses is an answer.
        Found::Failure { .. } => match known.stale(&question) {
            Some(cached) if dns64.is_usable(&question, &cached.truth) => return (question, found),
            Some(_) | None => None,
        },
    };
    let v6 = v6.as_ref().map(|(truth, age_s)| (&**truth, *age_s));
    let usable = || v6.and_then(|v6| dns64.without_excluded(&question, v6));
    if v6.is_some_and(|(truth, _)| dns64.is_usable(&question, truth)) {
        return (question, instead(usable(), found));
    }
    // Nobody has a use for signatures over what the answer is made of.
    let asked = Question { qtype: Rtype::A, dnssec_ok: false, ..question };
    match known.look_stale_ok(&asked) {
        Found::Unknown => (asked, Found::Unknown),
        // RFC 6147 §5.1.6: "If this new A RR query results in an empty answer or in an error, then the empty result or error is used as the
        // basis for the answer returned to the querying client."
        failure @ Found::Failure { .. } => (question, failure),
        Found::Truth { truth, age_s, cached, until } => {
            match dns64.synthesize(&question, v6, (&truth, age_s)) {
                Some(made) => (question, Found::Truth { truth: Arc::new(made), age_s: 0, cached, until }),
                // §5.4: "If there is an empty answer, then the DNS64 responds to the original querying client with the answer the DNS64
                // received to the original (initiator's) query."
                None => (question, instead(usable(), found)),
            }
        }
    }
}

/// What is known of the name of an address that is made of an IPv4 one; none if that has no name of its own.
fn name(dns64: &Dns64, case: Case<'_>, known: &Known<'_>, question: &Question) -> Option<(Question, Found)> {
    let asked = dns64.reversed(question)?;
    let octets = asked.octets();
    let found = match case.generation.local.look(&Query::plain(&asked.qname, asked.qtype, &octets)) {
        Some(Local::Truth(truth)) => Found::Truth { truth, age_s: 0, cached: true, until: Duration::ZERO },
        Some(Local::Leads(..)) => return None,
        None => known.look_stale_ok(&asked),
    };
    match found {
        Found::Unknown => Some((asked, Found::Unknown)),
        Found::Failure { .. } => None,
        Found::Truth { truth, age_s, cached, until } => {
            let made = dns64.alias(question, &asked, (&truth, age_s))?;
            Some((*question, Found::Truth { truth: Arc::new(made), age_s: 0, cached, until }))
        }
    }
}

/// What was found, with this truth in the place of its own if there is one.
fn instead(made: Option<Truth>, found: Found) -> Found {
    match (made, found) {
        (Some(made), Found::Truth { cached, until, .. }) => {
            Found::Truth { truth: Arc::new(made), age_s: 0, cached, until }
        }
        (_, found) => found,
    }
}
