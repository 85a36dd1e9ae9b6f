//! What the query log is told of a query.

use super::outcome::{Outcome, Request};
use crate::policy::{Hit, Verdict};
use crate::querylog::{Cause, Decided, Record, Tap, Taps};

/// Octets of a query that are kept while upstream is asked for it: those of nearly all are some hundred, and thousands wait.
pub(super) const MAX_KEPT: usize = 4096;

/// Writes a query down, where one thread answers. By a call: whoever has no log is not to pay for its code.
#[inline(never)]
pub(super) fn note(tap: &mut Tap, request: &Request<'_>, outcome: &Outcome<'_>) {
    if is_asked(request) && tap.is_about(is_captured(outcome)) {
        tap.note(&record(request, outcome), observed(outcome));
    }
}

/// Writes a query down, where many threads answer.
pub(super) fn note_shared(taps: &Taps, request: &Request<'_>, outcome: &Outcome<'_>) {
    if is_asked(request) && taps.is_about(is_captured(outcome)) {
        taps.note(&record(request, outcome), observed(outcome));
    }
}

/// Whether somebody asked, and not this server itself.
fn is_asked(request: &Request<'_>) -> bool {
    request.client.addr.port() != 0
}

/// Whether an order acted on it.
fn is_captured(outcome: &Outcome<'_>) -> bool {
    matches!(outcome.verdict, Verdict::Act(..))
}

/// All of it.
fn record<'r>(request: &Request<'r>, outcome: &Outcome<'r>) -> Record<'r> {
    let matched = || {
        let other = outcome.decisive.filter(|name| request.qname().as_ref() != Some(name));
        other.map(|name| name.as_wire()).unwrap_or_default()
    };
    let cause = |hit: &Hit<'r>| Cause {
        action: hit.action,
        order: &hit.order.id,
        family: hit.scope.family.as_deref().unwrap_or_default(),
        trigger: hit.trigger,
        matched: matched(),
    };
    let [came, answered] = request.took;
    Record {
        client: request.client.addr,
        transport: request.client.transport,
        came,
        answered,
        query: request.packet,
        question: request.question,
        reply: outcome.reply,
        source: outcome.source.as_str(),
        decided: match &outcome.verdict {
            Verdict::Clear => Decided::Clear,
            Verdict::Protected(_) => Decided::Protected,
            Verdict::Passthru(hit) | Verdict::Act(_, hit) => Decided::By(cause(hit)),
        },
        observed: Vec::new(),
    }
}

/// The ids of orders that only looked on.
fn observed<'r>(outcome: &Outcome<'r>) -> impl Iterator<Item = &'r str> {
    outcome.observed.iter().map(|hit| &*hit.order.id)
}
