//! What a request gets when it is not fulfilled: a status, what is wrong and what to do, as JSON.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::types::Failure;

/// A request that is not fulfilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    status: StatusCode,
    failure: Failure,
}

impl Fault {
    /// With what is wrong, and what to do about it, empty if nothing helps.
    pub fn new(status: StatusCode, error: impl Into<String>, hint: impl Into<String>) -> Fault {
        Fault { status, failure: Failure { error: error.into(), hint: hint.into() } }
    }

    /// What this server has not.
    pub fn not_here(what: &str) -> Fault {
        Fault::new(StatusCode::NOT_IMPLEMENTED, format!("this server has no {what}"), "")
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.status, Json(self.failure)).into_response()
    }
}
