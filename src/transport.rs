//! How messages travel, between clients and us as between us and upstreams.

/// What carries a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams (RFC 1035 §4.2.1): short, and from an address that anybody can have written.
    Udp,
    /// A stream (RFC 7766): of any length a message has, from somebody who is there.
    Tcp,
}

impl Transport {
    /// Whether a message is one datagram: then what does not fit is truncated (RFC 2181 §9), and asked for again by stream.
    pub fn is_datagram(self) -> bool {
        self == Transport::Udp
    }
}
