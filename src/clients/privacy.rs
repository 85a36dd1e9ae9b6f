//! How much of a client is kept when its queries are evidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much of a client stands beside what it asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Privacy {
    /// Its address.
    Full,
    /// Its network: 24 bits of an IPv4 address, 56 of an IPv6 one.
    #[default]
    Prefix,
    /// A word that stands for it, and for another one another day.
    Pseudonym,
    /// Nothing: it is one of a number.
    None,
}
