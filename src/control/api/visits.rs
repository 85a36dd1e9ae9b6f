//! Who speaks to the API goes on record, aside: no request waits for it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use super::Api;
use super::guard::Who;
use super::peer::Peer;
use crate::control::chronicle::Chronicle;
use crate::control::record::Record;

/// Notes who was let in.
pub(super) async fn let_in(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if let (Some(chronicle), Some(Who(who))) = (&api.chronicle, request.extensions().get()) {
        put(chronicle, chronicle.visited(who, from(&request).as_deref()));
    }
    next.run(request).await
}

/// Notes that somebody was not.
pub(super) async fn refused(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let from = from(&request);
    let response = next.run(request).await;
    if let Some(chronicle) = &api.chronicle
        && response.status() == StatusCode::UNAUTHORIZED
    {
        put(chronicle, chronicle.refused(from.as_deref()));
    }
    response
}

/// The address that a request comes from, if it is one.
fn from(request: &Request) -> Option<String> {
    match request.extensions().get()? {
        Peer::Tcp(from) => from.map(|from| from.to_canonical().to_string()),
        Peer::Unix(_) => None,
    }
}

/// Puts that on the disk, if it is news.
fn put(chronicle: &Arc<Chronicle>, record: Option<Record>) {
    if let Some(record) = record {
        let chronicle = Arc::clone(chronicle);
        tokio::task::spawn_blocking(move || chronicle.put(record));
    }
}
