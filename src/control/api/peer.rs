//! Who speaks to the API, as far as the system tells.

use std::net::IpAddr;

/// Who is at the other end of a connection, as far as the system tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of that user, by a Unix socket.
    Unix(Option<u32>),
    /// Somebody by TCP, from there.
    Tcp(Option<IpAddr>),
}
