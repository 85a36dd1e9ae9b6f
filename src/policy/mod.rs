//! The core: which order, if any, captures a name, and what it does to it.
//!
//! Std only; no I/O, no clock, no runtime; nothing here can fail or panic on any input. Time is an argument.

pub mod compile;
pub mod compiled;
pub mod compiled_parts;
mod enumerate;
pub mod judge;
pub mod listed;
pub mod order;
pub mod overrides;
pub mod prefix;
mod recompile;
pub mod room;
mod rule;
pub mod stage;
pub mod stamp;
pub mod state;
pub mod trie;
mod triggers;
pub mod verdict;
pub mod view;
pub mod walks;

pub use compile::{Build, PolicyZone};
pub use compiled::Policy;
pub use compiled_parts::CompiledParts;
pub use judge::{Asker, Judgement};
pub use listed::{ListedScope, OrderWithNames, ScopeNames};
pub use order::{
    Act, Action, IssuerKind, LocalData, LocalRecord, MatchKind, Matcher, Order, Patterns, Protected, Rpz,
    Scope, Sinkhole, Standing, Synthesis, TriggerType, WildcardRule, Window,
};
pub use overrides::Override;
pub use room::{Bound, LeftOut, Room};
pub use stage::{Servers, Stage};
pub use stamp::{Clear, Stamp};
pub use state::State;
pub use verdict::{Hit, Trigger, Verdict};
pub use view::View;
pub use walks::Walks;
