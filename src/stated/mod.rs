//! What the operator states of names answered here: rows of the configuration, hosts files, zone files and leases, to records.
//!
//! Octets in, values and problems out; [`gather`](gather::gather) puts them together as of a second. What is answered by them is
//! [`local`](crate::local)'s.

pub mod gather;
pub mod hosts;
pub mod leases;
mod reverse;
pub mod row;
pub mod zone_file;
