//! Statements about orders: how far an order, or its hold on some names, has got, whatever its file says.

use super::name::Name;
use super::order::{ScopeKind, Standing};

/// What somebody stated about an order at run time: it stands until another statement about the same, and outlives reloads.
///
/// The closest statement decides: one about a name before one about a zone around it, that before one about the whole order,
/// and that before what the order's file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The order's id.
    pub order: String,
    /// The names it is about: those this covers; none means the whole order.
    pub names: Option<(Name, ScopeKind)>,
    /// How they stand from now on.
    pub standing: Standing,
}
