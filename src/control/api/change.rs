//! Changing how an order stands.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::de::DeserializeOwned;

use super::Api;
use super::fault::Fault;
use super::guard::Who;
use super::types::{ChangeRequest, Changed};
use crate::control::active_policy::{Change, MAX_STATEMENTS, Refused, Seen};
use crate::control::lifecycle::State as OrderState;
use crate::control::record::{Record, RecordedStanding, Verb};
use crate::keys;
use crate::name::Name;
use crate::orders::names;
use crate::plain;
use crate::policy::{MatchKind, Order};
use crate::time::UnixSeconds;

/// Names in one request.
const MAX_NAMES: usize = 1000;
/// The longest reason, in octets.
pub(super) const MAX_WHY: usize = 1024;
/// The longest id of an order, or name of a list or group, in octets: an order's file may have a hundred characters.
pub(super) const MAX_ID: usize = 400;
/// The longest name as it may be written, in octets: 255 of them, each escaped with three digits (RFC 1035 §5.1).
pub(super) const MAX_NAME_TEXT: usize = 1024;

/// The body of a request, as it came.
pub(super) type Body = Result<Bytes, BytesRejection>;
/// What of a path was left open, as it came.
pub(super) type Open = Result<Path<String>, PathRejection>;

/// Does it, and says what came of it.
pub(super) async fn change(
    verb: Verb,
    State(api): State<Arc<Api>>,
    id: Open,
    Extension(Who(who)): Extension<Who>,
    body: Body,
) -> Result<Json<Changed>, Fault> {
    let order = order_id(id)?;
    let request: ChangeRequest = read(body)?;
    let names = names(&request)?;
    shown("why", &request.why, MAX_WHY)?;
    shown("by", &request.by, MAX_WHY)?;
    let ChangeRequest { why, by, ahead, .. } = request;
    let change = Change { order, verb, names, who, by, why, ahead };
    // The disk is waited for.
    tokio::task::spawn_blocking(move || api.change(&change)).await.unwrap_or_else(|error| {
        Err(Fault::new(StatusCode::INTERNAL_SERVER_ERROR, format!("it broke off: {error}"), "see the log"))
    })
}

impl Api {
    /// Does what is wanted.
    fn change(&self, change: &Change) -> Result<Json<Changed>, Fault> {
        let at = self.now();
        let records =
            self.active.change(change, at).map_err(|refused| self.fault(&refused, &change.order))?;
        let seen = self.active.seen();
        let order = seen.held.iter().map(|held| &held.order).find(|order| order.id == change.order);
        let state = order.map(|order| {
            let standing = seen.stated.whole(&order.id, Some(order), at);
            order.state(standing, at).into()
        });
        let durable = self.active.journal(|journal| journal.path().is_some());
        for record in &records {
            say(record);
        }
        Ok(Json(Changed {
            order: change.order.clone(),
            verb: change.verb,
            state,
            bound_s: records.iter().filter_map(|record| record.bound_s).max(),
            notes: notes(change, order, state, &records, &seen, durable, at),
            records: records.iter().map(|record| Record::clone(record)).collect(),
            durable,
        }))
    }

    /// What to answer when nothing was changed.
    fn fault(&self, refused: &Refused, id: &str) -> Fault {
        match refused {
            Refused::Unknown => self.unknown(id),
            Refused::TooMany => {
                let error = format!("more than {MAX_STATEMENTS} statements would stand");
                let hint = "state it about a zone or the whole order, or put it into the order's file";
                Fault::new(StatusCode::CONFLICT, error, hint)
            }
            Refused::Journal(error) => {
                let hint =
                    "what is not on record does not take effect; `lifted` in the order's file works without";
                Fault::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), hint)
            }
        }
    }

    /// That there is no such order, and which one may be meant.
    pub(super) fn unknown(&self, id: &str) -> Fault {
        let seen = self.active.seen();
        let hint = match keys::nearest(id, seen.held.iter().map(|held| held.order.id.as_str())) {
            Some(near) => format!("did you mean \"{near}\""),
            None => "`sinkscope order list` shows all of them".into(),
        };
        let hint = format!("{hint}; for an order that is yet to come, set `ahead`");
        Fault::new(StatusCode::NOT_FOUND, format!("there is no order \"{id}\""), hint)
    }
}

/// Says in the log what was changed.
fn say(record: &Record) {
    let names = record.names.as_ref().map_or(String::new(), |names| format!(", {names}"));
    let why = if record.why.is_empty() { String::new() } else { format!(" ({})", record.why) };
    let now = record.standing.map_or("as its file says".into(), |standing| standing.to_string());
    let before = record.from.map_or("not loaded".into(), |standing| standing.to_string());
    tracing::info!(
        "order {}{names}: {} by {}{why}: {before} before, {now} now",
        record.order,
        record.verb,
        record.who
    );
}

/// What else there is to know about a change.
fn notes(
    change: &Change,
    order: Option<&Order>,
    state: Option<OrderState>,
    records: &[Arc<Record>],
    seen: &Seen,
    durable: bool,
    at: UnixSeconds,
) -> Vec<String> {
    let mut notes = Vec::new();
    if records.is_empty() {
        notes.push("nothing was stated about it: nothing changed".into());
    } else if !durable {
        notes.push("there is no state folder: this ends with the process".into());
    }
    let Some(order) = order else {
        notes.push("no such order is loaded: it applies once it is there".into());
        return notes;
    };
    let acts = matches!(
        records.last().and_then(|record| record.standing),
        Some(RecordedStanding::InForce | RecordedStanding::Observing)
    );
    match state {
        Some(OrderState::Lifted) if acts && change.names.is_empty() => {
            notes.push("its file lifts it: that is to be taken out of the file first".into());
        }
        Some(OrderState::Lapsed) if acts => notes.push("it has expired: its file says when".into()),
        Some(OrderState::NotYetEffective) if acts => {
            notes.push("its time has not come: its file says when".into())
        }
        _ => {}
    }
    let closer = seen.stated.of(&order.id).iter().filter(|record| record.names.is_some()).count();
    if change.names.is_empty() && closer > 0 {
        notes.push(format!("{closer} statements about names of it stand on, and come first for those"));
    }
    if matches!(state, Some(OrderState::InForce | OrderState::Held | OrderState::Observing)) {
        for (name, kind) in &change.names {
            let is_held = || seen.base.hits(name, at).iter().any(|hit| hit.order.id == order.id);
            if *kind == MatchKind::Exact && !is_held() {
                notes.push(format!("{name} is not in it: this changes nothing now"));
            }
        }
    }
    notes
}

/// An order's id from the path.
pub(super) fn order_id(id: Open) -> Result<String, Fault> {
    let Path(id) = id.map_err(|error| Fault::new(StatusCode::BAD_REQUEST, error.to_string(), ""))?;
    shown("id", &id, MAX_ID)?;
    Ok(id)
}

/// Holds what somebody sent, and others will be shown, to its bound and to what may be shown.
pub(super) fn shown(key: &str, text: &str, most: usize) -> Result<(), Fault> {
    let bad = |error, hint| Err(Fault::new(StatusCode::UNPROCESSABLE_ENTITY, error, hint));
    if text.len() > most {
        return bad(format!("`{key}` has more than {most} octets"), "say it shorter, and where to read more");
    }
    match plain::fault(text) {
        Some(what) => {
            bad(format!("`{key}` holds the control character {what}"), "write it on one line, as plain text")
        }
        None => Ok(()),
    }
}

/// Reads a body; an empty one says nothing, if that is possible.
pub(super) fn read<T: DeserializeOwned>(body: Body) -> Result<T, Fault> {
    let body = body.map_err(|error| Fault::new(error.status(), error.to_string(), ""))?;
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    serde_json::from_slice(text).map_err(|error| {
        let hint = "/v1/openapi.json describes what this path takes";
        Fault::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the body does not fit: {error}"), hint)
    })
}

/// The names a request is about.
fn names(request: &ChangeRequest) -> Result<Vec<(Name, MatchKind)>, Fault> {
    let bad = |error, hint| Fault::new(StatusCode::UNPROCESSABLE_ENTITY, error, hint);
    let exact = request.names.iter().map(|name| (name, request.kind.into()));
    let zones = request.zones.iter().map(|zone| (zone, MatchKind::Subtree));
    let mut names: Vec<(Name, MatchKind)> = Vec::new();
    for (text, kind) in exact.chain(zones) {
        shown("names", text, MAX_NAME_TEXT)?;
        let name = names::name(text)
            .map_err(|error| bad(format!("\"{text}\": {error}"), "write it as example.com"))?;
        if !names.contains(&(name, kind)) {
            names.push((name, kind));
        }
        if names.len() > MAX_NAMES {
            return Err(bad(
                format!("more than {MAX_NAMES} names"),
                "send them in parts, or name their zone",
            ));
        }
    }
    Ok(names)
}
