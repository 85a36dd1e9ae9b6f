//! An upstream's address, as it is written in settings and logs.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::interface::{self, BadInterface};
use crate::transport::Transport;

/// Port of DNS over UDP and TCP (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;
/// Schemes that name a transport which is planned and not yet there.
const PLANNED: [&str; 6] = ["tls", "dot", "https", "doh", "quic", "doq"];

/// One upstream: `udp://192.0.2.1`, `tcp://[2001:db8::1]:5353`, or a bare address, which is UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Server {
    /// How it is asked.
    pub transport: Transport,
    /// Where it is; neither the unspecified nor a multicast address, and never port 0.
    pub addr: SocketAddr,
}

/// Why a text names no upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerError {
    /// The scheme is known and not supported yet.
    Planned(String),
    /// The scheme means nothing here.
    UnknownScheme(String),
    /// What follows the scheme is no IP address with or without port.
    NotAnAddress(String),
    /// Its address and its interface do not go together.
    Interface(BadInterface),
    /// An address nobody can be asked at: unspecified, multicast, or port 0.
    Unusable(SocketAddr),
}

impl Server {
    /// Asked by datagrams at `addr`, unchecked: for addresses that come from a socket.
    pub fn udp(addr: SocketAddr) -> Server {
        Server { transport: Transport::Udp, addr }
    }

    /// Asked by stream at `addr`, unchecked: for addresses that come from a socket.
    pub fn tcp(addr: SocketAddr) -> Server {
        Server { transport: Transport::Tcp, addr }
    }
}

impl FromStr for Server {
    type Err = ServerError;

    /// Reads `[scheme://]address[:port]`; an IPv6 address with a port stands in brackets, a link-local one with its interface
    /// behind it: `udp://[fe80::1%eth0]:53`.
    fn from_str(text: &str) -> Result<Server, ServerError> {
        let text = text.trim();
        let (transport, place) = match text.split_once("://") {
            None => (Transport::Udp, text),
            Some((scheme, place)) => (transport(scheme)?, place),
        };
        let addr = interface::socket_addr(place, Some(DNS_PORT))
            .map_err(ServerError::Interface)?
            .ok_or_else(|| ServerError::NotAnAddress(place.to_owned()))?;
        if addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast() {
            return Err(ServerError::Unusable(addr));
        }
        Ok(Server { transport, addr })
    }
}

/// The transport a scheme names.
fn transport(scheme: &str) -> Result<Transport, ServerError> {
    match scheme.to_ascii_lowercase().as_str() {
        "udp" => Ok(Transport::Udp),
        "tcp" => Ok(Transport::Tcp),
        planned if PLANNED.contains(&planned) => Err(ServerError::Planned(planned.to_owned())),
        _ => Err(ServerError::UnknownScheme(scheme.to_owned())),
    }
}

impl fmt::Display for Server {
    /// `scheme://address:port`, the port always said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        write!(f, "{scheme}://{}", self.addr)
    }
}

impl TryFrom<String> for Server {
    type Error = ServerError;

    fn try_from(text: String) -> Result<Server, ServerError> {
        text.parse()
    }
}

impl From<Server> for String {
    fn from(server: Server) -> String {
        server.to_string()
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Planned(scheme) => {
                write!(f, "{scheme}:// is not supported yet; use udp:// or tcp://")
            }
            ServerError::UnknownScheme(scheme) => {
                write!(f, "{scheme}:// is no known scheme; there are udp:// and tcp://")
            }
            ServerError::NotAnAddress(place) => write!(
                f,
                "{place:?} is no IP address; write udp://192.0.2.1:53 or tcp://[2001:db8::1]:53 (host names cannot be used)"
            ),
            ServerError::Interface(error) => error.fmt(f),
            ServerError::Unusable(addr) => {
                write!(f, "{addr} cannot be asked: it is unspecified, multicast, or has port 0")
            }
        }
    }
}

impl std::error::Error for ServerError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (given, shown) in [
            ("udp://127.0.0.1:5999", "udp://127.0.0.1:5999"),
            ("udp://9.9.9.9", "udp://9.9.9.9:53"),
            ("TCP://9.9.9.9", "tcp://9.9.9.9:53"),
            ("tcp://[2001:db8::1]:5353", "tcp://[2001:db8::1]:5353"),
            ("udp://[2001:db8::1]", "udp://[2001:db8::1]:53"),
            ("udp://2001:db8::1", "udp://[2001:db8::1]:53"),
            ("1.2.3.4", "udp://1.2.3.4:53"),
            (" 1.2.3.4:54 ", "udp://1.2.3.4:54"),
            ("::1", "udp://[::1]:53"),
            ("[::1]:53", "udp://[::1]:53"),
            ("tcp://[fe80::1%7]:53", "tcp://[fe80::1%7]:53"),
            ("fe80::1%7", "udp://[fe80::1%7]:53"),
        ] {
            let server: Server = given.parse().unwrap();
            assert_eq!(server.to_string(), shown, "{given}");
            assert_eq!(shown.parse(), Ok(server), "{given}");
        }
    }

    #[test]
    fn what_is_no_upstream_is_refused() {
        for (given, part) in [
            ("", "no IP address"),
            ("udp://", "no IP address"),
            ("dns.example", "no IP address"),
            ("udp://dns.example:53", "host names cannot be used"),
            ("1.2.3.4:99999", "no IP address"),
            ("1.2.3", "no IP address"),
            ("fe80::1%no-such-interface", "no network interface \"no-such-interface\""),
            ("udp://[2001:db8::1%1]:53", "not link-local"),
            ("fe80::1", "needs its interface"),
            ("tls://1.2.3.4", "tls:// is not supported yet; use udp:// or tcp://"),
            ("https://1.2.3.4/dns-query", "not supported yet"),
            ("quic://1.2.3.4", "not supported yet"),
            ("dns://1.2.3.4", "there are udp:// and tcp://"),
            ("0.0.0.0", "cannot be asked"),
            ("[::]:53", "cannot be asked"),
            ("224.0.0.251:5353", "cannot be asked"),
            ("1.2.3.4:0", "port 0"),
        ] {
            let error = given.parse::<Server>().unwrap_err().to_string();
            assert!(error.contains(part), "{given}: {error}");
        }
    }

    #[test]
    fn settings_hold_it_as_a_string() {
        let server: Server = serde_json::from_str("\"tcp://1.2.3.4\"").unwrap();
        assert_eq!(server, Server::tcp("1.2.3.4:53".parse().unwrap()));
        assert_eq!(serde_json::to_string(&server).unwrap(), "\"tcp://1.2.3.4:53\"");
        assert!(serde_json::from_str::<Server>("\"tls://1.2.3.4\"").is_err());
        assert_eq!(schemars::schema_for!(Server).get("type").and_then(|kind| kind.as_str()), Some("string"));
    }
}
