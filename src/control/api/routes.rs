//! Every path of the API: what it does, what it takes and gives, and who handles it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::routing::{MethodRouter, get, post};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::route::{Refer, Route};
use super::types::{
    CacheHeld, CacheStats, CanariesShown, ChangeRequest, Changed, CountersShown, Explained, FlushRequest,
    Flushed, HealthShown, JournalShown, Lists, Lost, OrderDetail, Orders, PauseRequest, Pauses,
    RecentQueries, RefreshRequest, Refreshing, ResumeRequest, Status, Taken,
};
use super::{Api, cache, change, explain, live, metrics, openapi, reports};
use crate::control::record::Verb;

/// Statuses of a path that changes an order.
const CHANGE_FAILS: &[u16] = &[404, 409, 413, 415, 422, 500];
/// What is said of a pause, wherever it is.
const PAUSE: &str = "Pause the operator's own lists for a group of clients or everybody; court orders go on";

/// Every path.
pub fn routes() -> Vec<Route> {
    vec![
        tells::<Orders>("/v1/orders", "Every order and how it stands", &[], get(reports::orders)),
        tells::<OrderDetail>(
            "/v1/orders/{id}",
            "All that is told of an order",
            &[404, 422],
            get(reports::order),
        ),
        changes(
            Verb::Activate,
            "/v1/orders/{id}/activate",
            "Act on an order, or on names of it, from the next packet on",
        ),
        changes(
            Verb::Observe,
            "/v1/orders/{id}/observe",
            "Only count what an order, or names of it, would capture",
        ),
        changes(Verb::Lift, "/v1/orders/{id}/lift", "Lift an order, or names of it, from the next packet on"),
        changes(Verb::Restore, "/v1/orders/{id}/restore", "Take back what was stated: its file holds again"),
        Route {
            query: &[
                ("order", "string", "Records of this order alone"),
                ("orders_only", "boolean", "Those about orders alone"),
                ("limit", "integer", "The last so many, at most 1000; 100 unless said"),
            ],
            ..tells::<JournalShown>("/v1/journal", "Who changed what and when", &[400], get(reports::journal))
        },
        tells::<Lists>("/v1/lists", "Sources of lists and how they are", &[501], get(reports::lists)),
        does::<RefreshRequest, Refreshing>(
            "/v1/lists/refresh",
            "Fetch lists now",
            &[404, 413, 415, 422, 501],
            post(reports::refresh),
        ),
        Route {
            query: &[
                ("name", "string", "The name"),
                ("type", "string", "This type alone, by name or as TYPE123; all unless said"),
            ],
            ..tells::<CacheHeld>("/v1/cache", "What is cached of a name", &[400, 422, 500], get(cache::held))
        },
        tells::<CacheStats>(
            "/v1/cache/stats",
            "How much is cached, and kept on the disk",
            &[],
            get(cache::stats),
        ),
        does::<FlushRequest, Flushed>(
            "/v1/cache/flush",
            "Forget what is cached of a name, of all names below one, or of all",
            &[413, 415, 422, 500],
            post(cache::flush),
        ),
        tells::<Pauses>("/v1/pauses", "Pauses under way", &[501], get(reports::pauses)),
        does::<PauseRequest, Pauses>(
            "/v1/pause",
            PAUSE,
            &[404, 413, 415, 422, 500, 501],
            post(reports::pause),
        ),
        does::<ResumeRequest, Pauses>(
            "/v1/resume",
            "End a pause",
            &[404, 413, 415, 422, 501],
            post(reports::resume),
        ),
        Route {
            method: "post",
            gives: (202, Some(refer::<Taken>)),
            ..tells::<Taken>("/v1/reload", "Read the orders again", &[415], post(reports::reload))
        },
        Route {
            query: &[
                ("name", "string", "The name asked for"),
                ("client", "string", "The address of who asks; anybody unless said"),
                ("type", "string", "The type asked for, by name or as TYPE123; A unless said"),
                ("at", "string", "When, in RFC 3339 or Unix seconds; now unless said"),
            ],
            ..tells::<Explained>(
                "/v1/explain",
                "What happens to a query, with all that is stated and paused",
                &[400, 503],
                get(explain::explain),
            )
        },
        tells::<RecentQueries>(
            "/v1/recent",
            "A sample of what was asked lately, for `sinkscope impact --recent`",
            &[],
            get(reports::recent),
        ),
        Route {
            gives: (200, None),
            ..tells::<Lost>(
                "/v1/queries",
                "The query log as it comes, as server-sent events (text/event-stream): the data of each is a line of it, as JSON; an event \
                 named `lost` has how many lines the listener was too slow for. It ends after ten minutes",
                &[501, 503],
                get(live::queries),
            )
        },
        tells::<CountersShown>(
            "/v1/counters",
            "What is counted, at this moment: queries, where answers came from, hits of orders, and how long was waited",
            &[],
            get(live::counters),
        ),
        tells::<CanariesShown>(
            "/v1/canaries",
            "Innocent names that must go on resolving, and how they fare",
            &[],
            get(reports::canaries),
        ),
        tells::<Status>("/v1/status", "How the server is", &[], get(reports::status)),
        tells::<HealthShown>("/v1/health", "Whether all goes as it should", &[503], get(reports::health)),
        metrics_at("/metrics"),
        metrics_at("/v1/metrics"),
        Route {
            gives: (200, None),
            ..tells::<Taken>(
                "/v1/openapi.json",
                "This description",
                &[],
                get(|| async { Json(openapi::document(&routes())) }),
            )
        },
    ]
}

/// A path that tells metrics.
fn metrics_at(path: &'static str) -> Route {
    let summary = "Counters and gauges in Prometheus's text format, or as OpenMetrics if that is asked for";
    Route { gives: (200, None), ..tells::<Taken>(path, summary, &[], get(metrics::metrics)) }
}

/// A path that tells something.
fn tells<T: JsonSchema>(
    path: &'static str,
    summary: &'static str,
    fails: &'static [u16],
    handler: MethodRouter<Arc<Api>>,
) -> Route {
    let gives = (200, Some(refer::<T> as Refer));
    Route { path, method: "get", summary, query: &[], takes: None, gives, fails, handler }
}

/// A path that takes something and does it.
fn does<B: JsonSchema, T: JsonSchema>(
    path: &'static str,
    summary: &'static str,
    fails: &'static [u16],
    handler: MethodRouter<Arc<Api>>,
) -> Route {
    Route { method: "post", takes: Some(refer::<B>), ..tells::<T>(path, summary, fails, handler) }
}

/// A path that changes an order.
fn changes(verb: Verb, path: &'static str, summary: &'static str) -> Route {
    let handler = post(move |api: State<Arc<Api>>, id, who, body| change::change(verb, api, id, who, body));
    does::<ChangeRequest, Changed>(path, summary, CHANGE_FAILS, handler)
}

/// Refers to a type's schema.
fn refer<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
