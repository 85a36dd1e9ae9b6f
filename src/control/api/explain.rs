//! `GET /v1/explain`: what happens to a query here and now, with all that is in force: statements, holds, groups, pauses.
//!
//! Names are forgotten once they are compiled, so this knows no files and lines; `sinkscope explain` without `--live` does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;

use super::Api;
use super::fault::Fault;
use super::reports::statement;
use super::types::{Capture, ExplainQuery, Explained};
use crate::clock::Now;
use crate::control::active_policy::Seen;
use crate::control::record::Record;
use crate::dns::{self, Question};
use crate::iana::Class;
use crate::name::Name;
use crate::orders::explain::{LOOKS_AT_ANSWERS, answer, verdict};
use crate::orders::{names, time};
use crate::policy::{Action, Asker, Hit, Standing, TriggerType, Verdict, View};
use crate::resolver::Resolver;
use crate::serve::Client;
use crate::time::UnixSeconds;
use crate::transport::Transport;

/// The type asked for unless another is given.
const DEFAULT_TYPE: &str = "A";

/// The handler.
pub(super) async fn explain(
    State(api): State<Arc<Api>>,
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Result<Json<Explained>, Fault> {
    let bad = |error: String, hint: &str| Fault::new(StatusCode::BAD_REQUEST, error, hint);
    let Query(query) = query.map_err(|error| {
        bad(error.to_string(), "it takes `name`, `client`, `type` and `at`; `name` must be given")
    })?;
    let name = match query.name.as_str() {
        "." => Name::ROOT,
        text => names::name(text).map_err(|error| bad(error.to_string(), "write it as example.com"))?,
    };
    let qtype = query.qtype.as_deref().unwrap_or(DEFAULT_TYPE);
    let qtype = qtype.parse().map_err(|_| {
        bad(format!("unknown type \"{}\"", qtype.escape_debug()), "write A, HTTPS or TYPE123")
    })?;
    let at = match &query.at {
        Some(text) => {
            time::parse(text).map_err(|error| bad(error, "write 2014-06-30T12:00:00Z or Unix seconds"))?
        }
        None => api.now(),
    };
    // An address that comes over a dual-stack socket is looked up as what it is; so is one that is written so.
    let client = query.client.map(|client| client.to_canonical());
    let seen = api.active.seen();
    let group = client.map(|client| seen.generation.clients.group_of(client));
    // Without a client it is anybody: whom all zones concern, unless everybody is paused.
    let paused = seen.generation.clients.pauses(at).into_iter().any(|(of, _)| {
        of.is_none() || group.and_then(|group| seen.generation.clients.name(group)) == of.as_deref()
    });
    let view = match group {
        Some(group) => seen.generation.clients.view(group, at),
        None if paused => View::NONE,
        None => View::ALL,
    };
    let asker = Asker { view: &view, client, qtype, ..Asker::ANYBODY };
    if !seen.policy.is_ready() {
        let error = "the orders are being loaded";
        return Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, error, "ask again in a moment"));
    }
    let mut verdict = verdict(&seen.policy, &asker, &name, at);
    let mut decisive = name;
    let mut notes: Vec<String> =
        seen.policy.looks_at_answers().then(|| LOOKS_AT_ANSWERS.to_owned()).into_iter().collect();
    let octets = Question {
        qname: name,
        qtype,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
        asked_for: None,
    }
    .octets();
    let query = dns::Query::plain(&name, qtype, &octets);
    let now = Now { wall: at, ..api.clock.now() };
    // Who asks by stream sees nothing otherwise, but for tcp-only, which is told in words.
    let peer = SocketAddr::new(client.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), 0);
    let asked_by = (Client { addr: peer, transport: Transport::Udp }, view);
    let foreseen = Resolver::foresee(&seen.generation, &query, asked_by, now);
    if let (Verdict::Clear, Verdict::Act(..), Some(led_to)) = (verdict, foreseen.verdict, foreseen.decisive) {
        (verdict, decisive) = (foreseen.verdict, led_to);
        notes.push(format!("its answer, as it is cached now, leads to {decisive}, which is captured"));
    }
    let filtered = client.is_some_and(|client| seen.generation.clients.filters(client, qtype));
    if filtered && !matches!(verdict, Verdict::Act(..)) {
        notes.push(format!("{qtype} is filtered for this client: no data, whatever the name has"));
    }
    if client.is_some_and(|client| !seen.generation.answers.access.allows(client)) {
        notes.push("this client is not served at all: [access] does not let it in".to_owned());
    }
    // What is captured by its name, and what is known here, is asked of nobody.
    let is_told = !matches!(verdict, Verdict::Act(..)) || decisive != name;
    let is_local = seen.generation.local.look(&query).is_some();
    let upstream =
        client.map_or(&seen.generation.fetcher, |client| seen.generation.fetcher_of(client)).upstream();
    let asked_of =
        if is_told && !is_local && !filtered { upstream.it_is_asked_of(&query.key()) } else { Vec::new() };
    let captures = captures(&seen, &asker, (&name, &decisive), at, &verdict);
    Ok(Json(Explained {
        name: name.to_string(),
        qtype: qtype.to_string(),
        client,
        group: group.and_then(|group| seen.generation.clients.name(group)).unwrap_or_default().to_owned(),
        paused,
        at: time::rfc3339(at),
        verdict: verdict.as_str().to_owned(),
        answer: answer(&verdict, qtype, !captures.is_empty()),
        source: foreseen.source.map(|source| source.as_str().to_owned()),
        asked_of,
        order: verdict.hit().map(|hit| hit.order.id.clone()),
        captures,
        notes,
    }))
}

/// Every order that captures the name by its file or because of what is stated; the one that decides first, which may do so by
/// another name that the answer leads to.
fn captures(
    seen: &Seen,
    asker: &Asker<'_>,
    (name, decisive): (&Name, &Name),
    at: UnixSeconds,
    verdict: &Verdict<'_>,
) -> Vec<Capture> {
    let decides = verdict.hit().map(|hit| capture(seen, hit, decisive, at, "decides".to_owned()));
    let is_decisive = |hit: &Hit<'_>| {
        verdict.hit().is_some_and(|other| other.order.id == hit.order.id && *other.scope == *hit.scope)
    };
    // What the files say alone tells of orders that are lifted since; what is in force, of drafts that were activated.
    let mut others: Vec<Hit<'_>> = seen.policy.hits(name, at);
    for hit in seen.base.hits(name, at) {
        if !others.iter().any(|other| other.order.id == hit.order.id && *other.scope == *hit.scope) {
            others.push(hit);
        }
    }
    let others = others.iter().filter(|hit| !is_decisive(hit)).map(|hit| {
        let standing = seen.policy.standing(&hit.order.id, Some(name), at).unwrap_or_default();
        let fate = match standing {
            Standing::Lifted if seen.suspended.contains(&hit.order.id) => "lifted by its file".into(),
            Standing::Lifted => "lifted by command".into(),
            Standing::Drafted => "drafted: neither acted on nor counted".into(),
            _ if !asker.view.includes(hit.zone, hit.order) => {
                "its policy zone is left out for this client at this time".into()
            }
            _ if matches!(verdict, Verdict::Protected(_)) => "the name is protected".into(),
            Standing::Held if hit.action == Action::Observe => "held back: counted, changes no answer".into(),
            _ if hit.action == Action::Observe => "observes: counted, changes no answer".into(),
            _ => match verdict.hit() {
                Some(first) => format!("order {} comes first", first.order.id),
                None => "as its policy zone is read, it does not speak for this query".into(),
            },
        };
        capture(seen, hit, name, at, fate)
    });
    decides.into_iter().chain(others).collect()
}

/// One order's hold on the name.
fn capture(seen: &Seen, hit: &Hit<'_>, name: &Name, at: UnixSeconds, fate: String) -> Capture {
    let order = hit.order;
    let (trigger, matched) = match (hit.trigger.on, hit.trigger.prefix) {
        (TriggerType::Qname, _) => (hit.trigger.name(name).to_string(), hit.trigger.kind.as_str()),
        (on, Some((address, len))) => (format!("{address}/{len}"), on.as_str()),
        (on, None) => (name.to_string(), on.as_str()),
    };
    // Those about the whole order, and those about names that hold this one.
    let concerns = |record: &Record| match record.names.as_ref().map(|names| names.parsed()) {
        None => true,
        Some(None) => false,
        Some(Some((zone, kind))) => {
            name.is_at_or_below(&zone) && kind.covers(name.label_count() - zone.label_count())
        }
    };
    let statements = seen.stated.of(&order.id).into_iter().filter(|record| concerns(record));
    Capture {
        order: order.id.clone(),
        title: order.title.clone(),
        kind: order.authority.kind.to_string(),
        action: hit.action.to_string(),
        trigger,
        matched: matched.to_owned(),
        zone: hit.zone.into(),
        state: order.state(seen.stated.whole(&order.id, Some(order), at), at).into(),
        fate,
        statements: statements.filter_map(|record| statement(record)).collect(),
    }
}
