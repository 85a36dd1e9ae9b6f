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

/// Port of DNS over UDP and TCP (RFC 1035 §4.2).
pub const DNS_PORT: u16 = 53;
/// Port of DNS over TLS (RFC 7858 §3.1), and over QUIC (RFC 9250 §4.1.1).
pub const DNS_TLS_PORT: u16 = 853;
