//! What is asked just now: the query log as it comes, and the counters of a moment.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::fault::Fault;
use super::types::{CountersShown, Lost, Waited};
use super::{Api, Numbers};
use crate::histogram::BOUNDS_US;
use crate::querylog::{Heard, Listener, MAX_LISTENERS};

/// How often a stream without events says that it is there: proxies end what is silent, mostly after half a minute or a minute.
const ALIVE: Duration = Duration::from_secs(15);

/// `GET /v1/queries`: an event for each line, and one named `lost` that says how many were lost before the next.
pub(super) async fn queries(State(api): State<Arc<Api>>) -> Result<Response, Fault> {
    let log = api.query_log.as_ref().ok_or_else(|| {
        let hint = "set `live = true` in [query_log], and have the server restarted";
        Fault::new(StatusCode::NOT_IMPLEMENTED, "this server has no query log", hint)
    })?;
    let listener = log.listen().ok_or_else(|| {
        let error = format!("{MAX_LISTENERS} others are told of queries already");
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, error, "end one of them: `sinkscope top`, `log --follow`")
    })?;
    // One portion is on its way and one waits: what the other end does not take waits with all others', and has a bound there.
    let (events, body) = mpsc::channel(1);
    tokio::spawn(tell(listener, events));
    let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((head, Body::new(Events(body))).into_response())
}

/// Tells a listener's lines as events until the other end has gone.
async fn tell(mut listener: Listener, events: mpsc::Sender<Bytes>) {
    // Whoever connects is to know at once that it listens.
    let mut next = String::from(": listening\n\n");
    while events.send(next.into()).await.is_ok() {
        let heard = tokio::select! {
            heard = timeout(ALIVE, listener.next()) => heard,
            () = events.closed() => return,
        };
        next = match heard {
            Ok(Some(heard)) => event(&heard),
            Ok(None) => return,
            Err(_) => ":\n\n".into(),
        };
    }
}

/// What was heard as events (WHATWG HTML §9.2.5): lines of fields, and an empty one behind each event.
fn event(heard: &Heard) -> String {
    match heard {
        Heard::Lines(lines) => lines.lines().map(|line| format!("data: {line}\n\n")).collect(),
        Heard::Lost(count) => {
            let lost = serde_json::to_string(&Lost { lost: *count }).unwrap_or_default();
            format!("event: lost\ndata: {lost}\n\n")
        }
    }
}

/// The body of a stream of events.
struct Events(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().0.poll_recv(context).map(|octets| octets.map(|octets| Ok(Frame::data(octets))))
    }
}

/// `GET /v1/counters`.
pub(super) async fn counters(State(api): State<Arc<Api>>) -> Json<CountersShown> {
    let at = api.clock.mono();
    let Numbers { resolver, rcodes, hits, waits, queues, cache, .. } = api.count();
    let named = |name: &str| resolver.iter().find(|one| one.name == name).map_or(0, |one| one.value);
    let bounds = BOUNDS_US.iter().copied().map(Some).chain([None]);
    Json(CountersShown {
        at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
        queries: named("queries"),
        sources: resolver
            .iter()
            .filter_map(|one| Some((one.source?.as_str().to_owned(), one.value)))
            .collect(),
        rcodes: rcodes.into_iter().collect(),
        orders: hits.into_iter().collect(),
        waited: bounds.zip(waits.counts).map(|(up_to_us, count)| Waited { up_to_us, count }).collect(),
        waiting: queues.waiting as u64,
        connections: queues.connections as u64,
        cached: cache.entries,
        told: api.query_log.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_is_told_as_events() {
        let lines = Heard::Lines("{\"qname\":\"a\"}\n{\"qname\":\"b\"}\n".into());
        assert_eq!(event(&lines), "data: {\"qname\":\"a\"}\n\ndata: {\"qname\":\"b\"}\n\n");
        assert_eq!(event(&Heard::Lost(7)), "event: lost\ndata: {\"lost\":7}\n\n");
    }
}
