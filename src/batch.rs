//! Many datagrams a system call, and the few other calls that the standard library lacks.
//!
//! [`Inbox`] and [`Outbox`] own fixed slots, made once: receiving and sending allocate nothing. On Linux a call moves a
//! whole batch (recvmmsg, sendmmsg); elsewhere the same types move one datagram at a time.
//!
//! Replies leave from the address their query came to: [`report_local`] makes the system say which that was, the
//! [`Route`] of a received datagram carries it, and a datagram sent with that route leaves from there (RFC 2181 §4.1:
//! the source address of a reply must be the one the query was sent to).

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(not(target_os = "linux"), test))]
#[cfg_attr(target_os = "linux", expect(unreachable_pub, reason = "elsewhere it is what this module is"))]
mod plain;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

#[cfg(target_os = "linux")]
pub use linux::{Inbox, Outbox, count_drops, pin_to_core, report_local};
#[cfg(not(target_os = "linux"))]
pub use plain::{Inbox, Outbox, count_drops, pin_to_core, report_local};

/// Slots of a batch unless told otherwise: beyond some 32 the cost of the call is spread thin enough, and what is in
/// them still fits the first-level cache.
pub const SLOTS: usize = 32;
/// Octets an incoming slot holds unless told otherwise: more than any honest query has.
pub const SLOT_LEN: usize = 4096;

/// Octets in a cache line of every processor this is measured on.
const LINE_LEN: usize = 64;

/// Where a datagram came from or goes to, and at which of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The other side.
    pub peer: SocketAddr,
    /// Our side, where the system says so; the system chooses one for datagrams sent without.
    pub local: Option<Local>,
}

/// One of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The address.
    pub addr: IpAddr,
    /// The number of the interface it came in at; matters for link-local addresses only.
    pub interface: u32,
}

/// A received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'b> {
    /// What was in it, as far as the slot goes.
    pub octets: &'b [u8],
    /// It was longer than its slot.
    pub truncated: bool,
    /// Its way.
    pub route: Route,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams the system took.
    pub sent: usize,
    /// Datagrams it refused; they are gone.
    pub failed: usize,
}

/// Octets between the starts of two slots: whole cache lines, and an odd number of them, so that the first lines of all
/// slots, which are those that are used, spread over all sets of the cache. A stride of 4096 would put all into one.
const fn stride(slot_len: usize) -> usize {
    (slot_len.div_ceil(LINE_LEN) | 1) * LINE_LEN
}
