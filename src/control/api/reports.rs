//! What is told and what is handed on: orders, the journal, status, lists, pauses, reloads.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::change::{Body, MAX_ID, MAX_WHY, Open, order_id, read, shown as held_to};
use super::fault::Fault;
use super::guard::Who;
use super::types::{
    CanariesShown, CanaryShown, HealthShown, JournalQuery, JournalShown, Lists, LocalShown, OrderDetail,
    OrderSummary, Orders, PauseRequest, Pauses, PolicyShown, RecentQueries, RefreshRequest, Refreshing,
    ResumeRequest, StatementShown, Status, Taken,
};
use super::{Api, NotPaused, Numbers};
use crate::clock::Now;
use crate::control::active_policy::Seen;
use crate::control::canary::{CanaryState, CanaryStatus};
use crate::control::health::About;
use crate::control::lifecycle::{self, State as OrderState};
use crate::control::pauses::MAX_PAUSE_S;
use crate::control::record::{Record, RecordedStanding};
use crate::orders::{LoadedOrder, time};
use crate::policy::{Order, Standing};
use crate::resolver::recent::ONE_IN;
use crate::time::UnixSeconds;

/// Records told at a time, unless asked for otherwise.
const RECORDS: usize = 100;
/// The most records told at a time.
const MAX_RECORDS: usize = 1000;

/// What a handler gives back.
type Reply<T> = Result<Json<T>, Fault>;
/// All handlers take the same.
type Of = State<Arc<Api>>;

/// `GET /v1/orders`.
pub(super) async fn orders(State(api): Of) -> Reply<Orders> {
    let (seen, at) = (api.active.seen(), api.now());
    let orders: Vec<OrderSummary> = seen.held.iter().map(|held| summary(held, &seen, at)).collect();
    let here: HashSet<&str> = seen.held.iter().map(|held| held.order.id.as_str()).collect();
    let mut unknown: Vec<&str> = seen.stated.orders().filter(|id| !here.contains(id)).collect();
    unknown.sort_unstable();
    let unknown = unknown.into_iter().flat_map(|id| shown(&seen, id)).collect();
    Ok(Json(Orders { orders, unknown }))
}

/// `GET /v1/orders/{id}`.
pub(super) async fn order(State(api): Of, id: Open) -> Reply<OrderDetail> {
    let (id, seen, at) = (order_id(id)?, api.active.seen(), api.now());
    let held = seen.held.iter().find(|held| held.order.id == id).ok_or_else(|| api.unknown(&id))?;
    let order = &held.order;
    let authority = order.authority.clone();
    Ok(Json(OrderDetail {
        summary: summary(held, &seen, at),
        revision: order.revision,
        issuer: authority.issuer.unwrap_or_default(),
        court: authority.court.unwrap_or_default(),
        jurisdiction: authority.jurisdiction.unwrap_or_default(),
        docket: authority.docket.unwrap_or_default(),
        url: authority.url.unwrap_or_default(),
        contact: order.contact.clone().unwrap_or_default(),
        justification: order.justification.clone().unwrap_or_default(),
        zones: order.zones.iter().map(ToString::to_string).collect(),
        examples: held.examples.iter().map(ToString::to_string).collect(),
        source: order.source.clone(),
        statements: shown(&seen, &id),
    }))
}

/// `GET /v1/journal`.
pub(super) async fn journal(
    State(api): Of,
    query: Result<Query<JournalQuery>, QueryRejection>,
) -> Reply<JournalShown> {
    let Query(query) = query.map_err(|error| {
        Fault::new(StatusCode::BAD_REQUEST, error.to_string(), "it takes `order`, `orders_only` and `limit`")
    })?;
    let limit = query.limit.unwrap_or(RECORDS).min(MAX_RECORDS);
    Ok(Json(api.active.journal(|journal| {
        let wanted = |record: &&Arc<Record>| {
            let is_of = query.order.as_ref().is_none_or(|order| *order == record.order);
            is_of && (!query.orders_only || record.verb.is_of_orders())
        };
        let last = journal.records().iter().rev().filter(wanted).take(limit);
        let mut records: Vec<Record> = last.map(|record| Record::clone(record)).collect();
        records.reverse();
        JournalShown {
            file: journal.path().map(|path| path.display().to_string()),
            total: journal.records().len(),
            head: journal.head().to_string(),
            records,
        }
    })))
}

/// `GET /v1/status`.
pub(super) async fn status(State(api): Of) -> Reply<Status> {
    let (seen, now, numbers) = (api.active.seen(), api.clock.now(), api.count());
    let at = now.wall;
    let Numbers { resolver, actions, listeners, upstreams, cache, local, .. } = numbers;
    let named = |(name, value): (&str, u64)| (name.to_string(), value);
    let (file, records, head) = api.active.journal(|journal| {
        let file = journal.path().map(|path| path.display().to_string());
        (file, journal.records().len(), journal.head().to_string())
    });
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        started: time::rfc3339(api.started.wall),
        uptime_s: now.mono.saturating_sub(api.started.mono).as_secs(),
        policy: PolicyShown {
            epoch: seen.policy.epoch(),
            orders: seen.held.len(),
            names: seen.policy.name_count(),
        },
        orders: by_state(&seen, at)
            .into_iter()
            .map(|(state, count)| (state.as_str().into(), count))
            .collect(),
        statements: seen.stated.len(),
        journal: file,
        journal_records: records,
        journal_head: head,
        journal_problems: api.journal_problems.clone(),
        evidence: api.evidence.as_ref().map(|evidence| evidence()),
        troubles: api.health.wrong(),
        resolver: resolver.iter().map(|one| named((one.name, one.value))).collect(),
        actions: actions.into_iter().map(named).collect(),
        listeners: listeners.into_iter().map(|(name, _, value)| named((name, value))).collect(),
        upstreams,
        cache,
        local: LocalShown {
            zones: local.zones,
            records: local.records,
            lease_names: local.lease_names,
            refused_lease_names: local.refused_names,
            files: local.files,
            bad_files: local.bad_files,
        },
    }))
}

/// `GET /v1/health`.
pub(super) async fn health(State(api): Of) -> Reply<HealthShown> {
    api.count();
    let own = api.health.wrong_where(About::is_own);
    let troubles = api.health.wrong();
    if own.is_empty() {
        // Not a fault: whoever restarts what says 503 would lose the cache, and be no nearer to an upstream.
        return Ok(Json(HealthShown { well: troubles.is_empty(), troubles }));
    }
    let hint = "the log says more; restarting mends only what is said to have broken off";
    Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, troubles.join("; "), hint))
}

/// `GET /v1/lists`.
pub(super) async fn lists(State(api): Of) -> Reply<Lists> {
    let lists = api.lists.as_ref().ok_or_else(|| Fault::not_here("sources of lists"))?;
    Ok(Json(Lists { lists: lists.lists(api.now()) }))
}

/// `POST /v1/lists/refresh`.
pub(super) async fn refresh(State(api): Of, body: Body) -> Reply<Refreshing> {
    let request: RefreshRequest = read(body)?;
    held_to("name", request.name.as_deref().unwrap_or_default(), MAX_ID)?;
    let lists = api.lists.as_ref().ok_or_else(|| Fault::not_here("sources of lists"))?;
    match lists.refresh(request.name.as_deref(), request.allow_shrink) {
        Ok(lists) => Ok(Json(Refreshing { lists })),
        Err(error) => Err(Fault::new(StatusCode::NOT_FOUND, error, "`sinkscope lists` shows all of them")),
    }
}

/// `GET /v1/pauses`.
pub(super) async fn pauses(State(api): Of) -> Reply<Pauses> {
    let pauses = api.pauses.as_ref().ok_or_else(|| Fault::not_here("pauses"))?;
    Ok(Json(Pauses { pauses: pauses.pauses(api.clock.now()) }))
}

/// `POST /v1/pause`.
pub(super) async fn pause(State(api): Of, Extension(Who(who)): Extension<Who>, body: Body) -> Reply<Pauses> {
    let request: PauseRequest = read(body)?;
    held_to("group", request.group.as_deref().unwrap_or_default(), MAX_ID)?;
    held_to("why", &request.why, MAX_WHY)?;
    if !(1..=MAX_PAUSE_S).contains(&request.seconds) {
        let error = format!("`seconds` is {}; expected 1 to {MAX_PAUSE_S}", request.seconds);
        return Err(Fault::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            error,
            "a pause ends by itself, after a week at most",
        ));
    }
    let chronicle = api.chronicle.clone();
    on_pauses(api, move |pauses, now| {
        let PauseRequest { group, seconds, why } = &request;
        pauses.pause(group.as_deref(), *seconds, why, now)?;
        let ends = now.wall.saturating_add((*seconds).into());
        if let Some(chronicle) = &chronicle {
            chronicle.paused(&who, group.as_deref(), ends, why);
        }
        let until = time::show(ends);
        tracing::info!(
            "paused for {} until {until} by {who} ({why})",
            group.as_deref().unwrap_or("everybody")
        );
        Ok(())
    })
    .await
}

/// `POST /v1/resume`.
pub(super) async fn resume(State(api): Of, Extension(Who(who)): Extension<Who>, body: Body) -> Reply<Pauses> {
    let request: ResumeRequest = read(body)?;
    held_to("group", request.group.as_deref().unwrap_or_default(), MAX_ID)?;
    let chronicle = api.chronicle.clone();
    on_pauses(api, move |pauses, _| {
        pauses.resume(request.group.as_deref())?;
        if let Some(chronicle) = &chronicle {
            chronicle.resumed(&who, request.group.as_deref());
        }
        tracing::info!("resumed for {} by {who}", request.group.as_deref().unwrap_or("everybody"));
        Ok(())
    })
    .await
}

/// Changes pauses, which waits for the disk, and tells those under way then.
async fn on_pauses(
    api: Arc<Api>,
    change: impl FnOnce(&dyn super::Pauses, Now) -> Result<(), NotPaused> + Send + 'static,
) -> Reply<Pauses> {
    let changed = tokio::task::spawn_blocking(move || {
        let pauses = api.pauses.as_deref().ok_or_else(|| Fault::not_here("pauses"))?;
        change(pauses, api.clock.now()).map_err(|error| match error {
            NotPaused::Unknown(error) => {
                Fault::new(StatusCode::NOT_FOUND, error, "groups are in the configuration")
            }
            NotPaused::NotKept(error) => {
                let error = format!("it cannot be written down ({error}): nothing was changed");
                Fault::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    error,
                    "see whether the state folder can be written to",
                )
            }
        })?;
        Ok(Json(Pauses { pauses: pauses.pauses(api.clock.now()) }))
    });
    changed.await.unwrap_or_else(|error| {
        Err(Fault::new(StatusCode::INTERNAL_SERVER_ERROR, format!("it broke off: {error}"), "see the log"))
    })
}

/// `POST /v1/reload`.
pub(super) async fn reload(State(api): Of) -> (StatusCode, Json<Taken>) {
    // A full channel holds a request that has not begun yet: it will see this change, too.
    let _ = api.reload.try_send(());
    let message = "orders are read again; the log says what came of it".into();
    (StatusCode::ACCEPTED, Json(Taken { message }))
}

/// `GET /v1/recent`.
pub(super) async fn recent(State(api): Of) -> Json<RecentQueries> {
    let queries = api.recent.snapshot().into_iter().map(|(name, client)| (name.to_string(), client));
    Json(RecentQueries { one_in: ONE_IN, queries: queries.collect() })
}

/// `GET /v1/canaries`.
pub(super) async fn canaries(State(api): Of) -> Json<CanariesShown> {
    let shown = |status: CanaryStatus| {
        let (state, detail) = match status.state {
            CanaryState::Unasked => ("unasked", String::new()),
            CanaryState::Ok => ("ok", String::new()),
            CanaryState::Captured { by } => ("captured", by),
            CanaryState::Unresolvable { why } => ("unresolvable", why),
        };
        CanaryShown { order: status.order, name: status.name, state: state.to_owned(), detail }
    };
    let canaries = api.canaries.statuses().into_iter().map(shown).collect();
    Json(CanariesShown { canaries, left_out: api.canaries.left_out() })
}

/// How many orders are in each state.
pub(super) fn by_state(seen: &Seen, at: UnixSeconds) -> Vec<(OrderState, usize)> {
    let states: Vec<OrderState> = seen.held.iter().map(|held| summary(held, seen, at).state).collect();
    let count = |state| states.iter().filter(|one| **one == state).count();
    OrderState::ALL.into_iter().map(|state| (state, count(state))).collect()
}

/// An order in a line.
fn summary(held: &LoadedOrder, seen: &Seen, at: UnixSeconds) -> OrderSummary {
    let order = &held.order;
    let own = seen.stated.of(&order.id);
    let standing = seen.stated.whole(&order.id, Some(order), at);
    OrderSummary {
        id: order.id.clone(),
        title: order.title.clone(),
        kind: order.authority.kind.to_string(),
        action: order.action.to_string(),
        names: held.names,
        state: order.state(standing, at).into(),
        standing: standing.into(),
        stated: own.iter().any(|record| record.names.is_none() && record.stands(Some(order), at).is_some()),
        held_until: held_until(own.iter().copied(), order, at).map(time::rfc3339),
        exceptions: own.iter().filter(|record| record.names.is_some()).count(),
        effective: order.window.effective.map(time::rfc3339),
        expires: order.window.expires.map(time::rfc3339),
        review_by: order.window.review_by.map(time::rfc3339),
        review_due: lifecycle::is_review_due(order, at),
        bound_s: lifecycle::bound_s(order),
    }
}

/// Until when an order is held back at `at`, if it is.
fn held_until<'r>(
    mut records: impl Iterator<Item = &'r Arc<Record>>,
    order: &Order,
    at: UnixSeconds,
) -> Option<UnixSeconds> {
    let holds = |record: &&Arc<Record>| record.stands(Some(order), at) == Some(Standing::Held);
    records.find(holds)?.hold()?.expires
}

/// What stands about an order.
fn shown(seen: &Seen, id: &str) -> Vec<StatementShown> {
    seen.stated.of(id).into_iter().filter_map(|record| statement(record)).collect()
}

/// What a record states; none if it takes a statement back.
pub(super) fn statement(record: &Record) -> Option<StatementShown> {
    let hold = record.hold();
    Some(StatementShown {
        order: record.order.clone(),
        names: record.names.clone(),
        standing: if hold.is_some() { RecordedStanding::Held } else { record.standing? },
        until: hold.and_then(|window| window.expires).map(time::rfc3339),
        since: record.at.clone(),
        who: record.who.clone(),
        why: record.why.clone(),
    })
}
