//! Response policy zones (draft-vixie-dnsop-dns-rpz): the types that a list's settings need.

use super::order_file::{Open, Reading};
use crate::policy::{Action, Kind, Name};
use crate::problem::Problem;

/// How a subscriber uses a response policy zone.
#[derive(Clone, Debug, PartialEq)]
pub struct RpzSpec {
    /// The id its order gets.
    pub name: String,
    /// Whose it is: the operator's or a user's.
    pub kind: Kind,
    /// The zone's name; none takes it from the file.
    pub origin: Option<Name>,
    /// How its wildcards are read.
    pub wildcards: Wildcards,
    /// What is done instead of what it says.
    pub action_override: Override,
    /// The highest TTL its answers get, in seconds.
    pub max_ttl_s: u32,
    /// Whether it acts on queries with RD=0 too (§6).
    pub without_rd: bool,
    /// Whether it changes signed answers for clients that set DO (§6).
    pub break_dnssec: bool,
}

/// Whose reading of an RPZ's wildcards is meant: the draft and its implementations differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wildcards {
    /// The draft's and BIND's: as a DNS zone would answer (§4.2, §5.3).
    #[default]
    Draft,
    /// Unbound's: the same, but an empty non-terminal hides no wildcard from itself.
    Unbound,
    /// PowerDNS Recursor's, and that of orders: the closest trigger that covers the name.
    Closest,
}

/// A per-zone override (§6.1).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Override {
    /// GIVEN: none.
    #[default]
    Given,
    /// One action for every rule: NXDOMAIN, NODATA, PASSTHRU, DROP, TCP-ONLY, or `observe` for DISABLED.
    Action(Action),
    /// LOCAL-DATA-OR-PASSTHRU: types that local data has not are answered truthfully.
    LocalDataOrPassthru,
    /// LOCAL-DATA-OR-DISABLED: for types that local data has not, the next best rule decides.
    LocalDataOrDisabled,
    /// CNAME: one walled garden for every rule.
    Cname {
        /// The target, without its `*`.
        target: Name,
        /// Whether a `*` stood in front: the captured name goes there.
        prepend: bool,
    },
}

/// Stands in until zones can be read.
pub fn parse(_content: &[u8], _spec: &RpzSpec, shown: &str, _open: &mut Open<'_>) -> Reading {
    let problem = Problem::error(shown, None, "response policy zones cannot be read yet");
    Reading { problems: vec![problem], ..Reading::default() }
}
