//! Orders compiled into one immutable policy.
use super::name::Name;
use super::order::{Listed, Order, Protected, UnixSeconds};
use super::verdict::{Hit, Verdict};
use std::sync::Arc;
/// An ordered group of orders; what stands in an earlier zone comes before all of a later one's.
#[derive(Clone, Debug, Default)]
pub struct PolicyZone {
    /// As the operator named it.
    pub name: String,
    /// Its orders.
    pub orders: Vec<Arc<Listed>>,
}
/// stub
pub struct Policy {}
impl Policy {
    /// Compiles; cannot fail.
    pub fn compile(_zones: &[PolicyZone], _protected: &[Protected], _epoch: u64) -> Policy {
        Policy {}
    }
    /// Changes with every compile.
    pub fn epoch(&self) -> u64 {
        0
    }
    /// Distinct names
    pub fn name_count(&self) -> usize {
        0
    }
    /// The orders in precedence order
    pub fn orders(&self) -> &[Order] {
        &[]
    }
    /// What happens to `name` at wall time `at`. No allocation.
    pub fn verdict(&self, _name: &Name, _at: UnixSeconds) -> Verdict<'_> {
        Verdict::Clear
    }
    /// Every hit in force for a name, in precedence order (observe included). Allocates.
    pub fn hits(&self, _name: &Name, _at: UnixSeconds) -> Vec<Hit<'_>> {
        vec![]
    }
    /// The first observe hit in force.
    pub fn observed(&self, _name: &Name, _at: UnixSeconds) -> Option<Hit<'_>> {
        None
    }
}
