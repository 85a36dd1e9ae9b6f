//! What there is to say about one path of the API.

use std::sync::Arc;

use axum::routing::MethodRouter;
use schemars::{Schema, SchemaGenerator};

use super::Api;

/// Puts a type's schema among those that a document has, and refers to it.
pub(super) type Refer = fn(&mut SchemaGenerator) -> Schema;

/// A path and the one method it takes.
pub struct Route {
    /// The path, with what is left open in braces.
    pub path: &'static str,
    /// The method, in lower case.
    pub method: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// What may follow the path: name, type in JSON's words, description.
    pub(super) query: &'static [(&'static str, &'static str, &'static str)],
    /// What its body holds, if it takes one.
    pub(super) takes: Option<Refer>,
    /// The status and the body when all is well; none for what is no JSON of ours.
    pub(super) gives: (u16, Option<Refer>),
    /// Statuses when it is not.
    pub(super) fails: &'static [u16],
    /// Who handles it.
    pub(super) handler: MethodRouter<Arc<Api>>,
}
