//! Which policy zones concern whom.

use std::net::IpAddr;

use crate::policy::{UnixSeconds, View};

/// Groups of clients. (Being built.)
#[derive(Debug, Default)]
pub struct Clients;

impl Clients {
    /// No groups: all zones concern everybody.
    pub fn everyone() -> Clients {
        Clients
    }

    /// Whether all zones concern everybody.
    #[inline]
    pub fn is_trivial(&self) -> bool {
        true
    }

    /// The zones that concern a client at `at`.
    pub fn view_of(&self, _client: IpAddr, _at: UnixSeconds) -> View {
        View::ALL
    }
}
