//! The core: which order, if any, captures a name, and what it does to it.
//!
//! Std only; no I/O, no clock, no runtime; nothing here can fail or panic on any input. Time is an argument.

pub mod compile;
pub mod judge;
pub mod kept;
pub mod name;
pub mod order;
mod survey;
mod switch;
pub mod trie;
pub mod verdict;
pub mod walks;

pub use compile::PolicyZone;
pub use judge::Policy;
pub use kept::Kept;
pub use name::{Name, NameError, NameList};
pub use order::{Action, Kind, Listed, Order, Protected, Scope, ScopeKind, Sinkhole, UnixSeconds, Window};
pub use verdict::{Hit, Trigger, Verdict};
pub use walks::Walks;
