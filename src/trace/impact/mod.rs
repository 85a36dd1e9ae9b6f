//! What an order would do to queries that were recorded, before it does it to anybody.
//!
//! An order is judged as it is written and as it would be at other scopes: exact, subtree, zone. All of them stand, each as
//! an order of its own, in one compiled policy beside the other orders that are configured, so one walk of the trie judges a
//! name for all. Counting ([`Impact`]) knows no files: it is fed names and clients, from a trace or from live traffic.

mod count;
mod facts;
mod groups;
mod html;
mod judge;
mod read;
mod report;
mod scales;
mod table;

pub use count::{Bounds, Impact};
pub use facts::Facts;
pub use read::{Progress, TraceError, read};
pub use report::{Count, NameRow, Relation, Report, Row, ScaleReport, Spared, TERMS, TraceFacts};
pub use scales::{Popular, Preview, Scale};

#[cfg(test)]
mod tests;
