//! Messages as values: a query parsed once, an answer before `finish`, the truth as it is cached.
//!
//! Wire format throughout; no I/O, no clock.

pub mod aged;
pub mod answer;
pub mod asks;
mod canonical;
pub mod chain;
pub mod chaos;
pub mod dns64;
pub mod ede;
pub mod finish;
pub mod head;
mod kept;
pub mod mark;
mod packed;
pub mod query;
pub(crate) mod rotation;
pub mod said;
pub mod stale;
pub mod subnet;
pub mod targets;
pub mod truth;
pub mod wire;

#[cfg(test)]
mod roundtrip;
#[cfg(test)]
pub(crate) mod testing;

pub use answer::{Answer, Body, Records};
pub use ede::Ede;
pub use finish::finish;
pub use head::parse_head;
pub use query::{Edns, Query, Question, Reject, parse};
pub use truth::{Truth, TtlLimits};

/// The EDNS option that carries an Extended DNS Error (RFC 8914 §2).
pub(crate) const EDE_OPTION: u16 = 15;
