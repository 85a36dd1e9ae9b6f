//! Reading orders: files to `policy` values, with every problem named by file and line.

pub mod canaries;
pub mod explain;
pub mod export;
pub mod files;
pub mod guard;
pub mod lint;
pub mod lists;
pub mod load;
pub mod locate;
pub mod names;
pub mod open;
pub mod order_file;
mod protected;
pub mod rpz;
mod scope;
pub mod snapshot;
pub mod suffix;
mod table;
pub mod time;
pub mod writers;

use std::path::PathBuf;

use crate::policy::prefix::Nat64;
use crate::policy::{Build, MatchKind, Policy, PolicyZone, Protected};

pub use lists::{FetchSpec, ListSpec};
pub use load::{Changed, Compiled, Filled, Scan};
pub use load::{HeldZone, ListFileResult, ListResult, ListState, Loaded, LoadedOrder, Loader};

/// Where orders are read from. Paths are used as they are: whoever builds this resolves them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Order files, and directories whose `*.toml` files are orders. Each is a policy zone; earlier ones come first.
    pub paths: Vec<PathBuf>,
    /// Lists. Each is a policy zone, after those of `paths`; earlier ones come first.
    pub lists: Vec<ListSpec>,
    /// Names that no order may capture.
    pub protected: Vec<ProtectedSpec>,
    /// Which IPv6 addresses are judged as IPv4 addresses, too.
    pub nat64: Nat64,
}

/// A group of protected names, as the configuration gives it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProtectedSpec {
    /// How the names match.
    pub kind: MatchKind,
    /// Names written in the configuration.
    pub names: Vec<String>,
    /// A file of names beside it, in the same forms as an order's.
    pub file: Option<PathBuf>,
    /// Where the group is configured, for people: a file, perhaps with a line.
    pub source: String,
}

/// Compiles orders, with a seed of its own drawn for the hash of their names: what makes policies of files that others wrote
/// calls this.
pub fn compile(zones: &[PolicyZone], protected: &[Protected], epoch: u64) -> Policy {
    Policy::build(zones, protected, &Build { epoch, seed: rand::random(), ..Build::default() })
}
