//! An upstream's address, as it is written in settings and logs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dialect::{self, Dialect};
use super::identity::{BadIdentity, Identity};
use super::resource::{BadResource, HTTPS_PORT, Resource};
use super::stamp::{BadStamp, Kind, Stamp};
use crate::interface::{self, BadInterface};
use crate::name::Name;
use crate::transport::{DNS_PORT, DNS_TLS_PORT};

/// What others call some of ours.
const ALIASES: [(&str, &str); 5] =
    [("dot", "tls"), ("doh", "https"), ("doq", "quic"), ("doh3", "h3"), ("http3", "h3")];

/// One upstream: `udp://192.0.2.1`, `tcp://[2001:db8::1]:5353`, `tls://dns.example@192.0.2.1`,
/// `https://dns.example@192.0.2.1/dns-query`, `quic://dns.example@192.0.2.1`, `h3://dns.example@192.0.2.1/dns-query`, a DNS stamp
/// (`sdns://`), or a bare address, which is UDP.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Server {
    /// How it is asked.
    pub protocol: Protocol,
    /// Where it is; no multicast address, and never port 0. Unspecified where the addresses of its host are to be looked up: then
    /// only the port counts.
    pub addr: SocketAddr,
    /// Whether it is asked in random case, if it is asked by datagram. It is not written with it.
    pub random_case: bool,
    /// Who is asked for the addresses of its host, if they are to be looked up. It is not written with it.
    pub bootstrap: Arc<[Server]>,
}

/// How an upstream is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// By datagrams, and by stream what does not fit.
    Udp,
    /// By streams in clear (RFC 7766).
    Tcp,
    /// By streams over TLS (RFC 7858), from whoever proves to be this.
    Tls(Arc<Identity>),
    /// By HTTP/2 over TLS (RFC 8484), from whoever proves to be this.
    Https(Arc<Identity>, Arc<Resource>),
    /// By QUIC (RFC 9250), from whoever proves to be this.
    Quic(Arc<Identity>),
    /// By HTTP/3 (RFC 8484 over RFC 9114), from whoever proves to be this.
    Http3(Arc<Identity>, Arc<Resource>),
}

/// Why a text names no upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerError {
    /// The scheme is another word for this one.
    SaidOtherwise(String, &'static str),
    /// The scheme means nothing here.
    UnknownScheme(String),
    /// What follows the scheme is no IP address with or without port.
    NotAnAddress(String),
    /// The same, and what was meant can be told.
    Dialect(Dialect),
    /// It is asked over TLS by this scheme, and what should be its IP address is none.
    NoAddress(&'static str, String),
    /// The same, and it is no host's name either.
    Nowhere(&'static str, String),
    /// Who it must prove to be is not said right.
    Identity(BadIdentity),
    /// What it is asked for over HTTP is not said right.
    Resource(BadResource),
    /// Its address and its interface do not go together.
    Interface(BadInterface),
    /// It is in a stamp that cannot be read or used.
    Stamp(BadStamp),
    /// An address nobody can be asked at: unspecified, multicast, broadcast, or port 0.
    Unusable(SocketAddr),
}

impl Server {
    /// Asked by datagrams at `addr`, unchecked: for addresses that come from a socket.
    pub fn udp(addr: SocketAddr) -> Server {
        Server::at(Protocol::Udp, addr)
    }

    /// Asked by stream at `addr`, unchecked: for addresses that come from a socket.
    pub fn tcp(addr: SocketAddr) -> Server {
        Server::at(Protocol::Tcp, addr)
    }

    /// Asked like this at `addr`.
    fn at(protocol: Protocol, addr: SocketAddr) -> Server {
        Server { protocol, addr, random_case: true, bootstrap: Arc::default() }
    }

    /// The host whose addresses are to be looked up; none if its address is given.
    pub fn host(&self) -> Option<Name> {
        match &self.protocol {
            Protocol::Udp | Protocol::Tcp => None,
            Protocol::Tls(identity)
            | Protocol::Https(identity, _)
            | Protocol::Quic(identity)
            | Protocol::Http3(identity, _) => {
                if self.addr.ip().is_unspecified() {
                    identity.host_name()
                } else {
                    None
                }
            }
        }
    }

    /// What is odd about it, in words that follow its name, if something is: its port is another transport's.
    pub fn remark(&self) -> Option<String> {
        let (own, others) = match self.protocol {
            Protocol::Udp => ("udp", &[DNS_TLS_PORT, HTTPS_PORT][..]),
            Protocol::Tcp => ("tcp", &[DNS_TLS_PORT, HTTPS_PORT][..]),
            // DNS over TLS is at the port of HTTPS here and there, where no other is let through.
            Protocol::Tls(_) => ("tls", &[DNS_PORT][..]),
            Protocol::Quic(_) => ("quic", &[DNS_PORT][..]),
            Protocol::Https(..) => ("https", &[DNS_PORT, DNS_TLS_PORT][..]),
            Protocol::Http3(..) => ("h3", &[DNS_PORT, DNS_TLS_PORT][..]),
        };
        let port = self.addr.port();
        let usual = match port {
            DNS_PORT => "udp:// and tcp://",
            DNS_TLS_PORT => "tls:// and quic://",
            _ => "https:// and h3://",
        };
        others
            .contains(&port)
            .then(|| format!("is asked by {own}:// at port {port}, which is that of {usual}"))
    }

    /// Whether nobody between it and us sees or changes what is said, and it proves who it is.
    pub fn is_encrypted(&self) -> bool {
        !matches!(self.protocol, Protocol::Udp | Protocol::Tcp)
    }
}

impl FromStr for Server {
    type Err = ServerError;

    /// Reads `[scheme://]address[:port]`; an IPv6 address with a port stands in brackets, a link-local one with its interface
    /// behind it: `udp://[fe80::1%eth0]:53`.
    ///
    /// `tls://[host@]address[:port][?pin=BASE64[&pin=BASE64]...]` also says who it must prove to be, and `tls://host[:port]` leaves
    /// its address to be looked up; so do `quic://`, and `https://` and `h3://`, where `[/path][{?dns}]` may follow: with `{?dns}` it
    /// is asked by GET. `sdns://` is a DNS stamp of any but the last.
    fn from_str(text: &str) -> Result<Server, ServerError> {
        let text = text.trim();
        let (scheme, place) = text.split_once("://").unwrap_or(("udp", text));
        let in_clear = || addr(place, DNS_PORT, ServerError::NotAnAddress);
        let read = match scheme.to_ascii_lowercase().as_str() {
            "udp" => in_clear().map(Server::udp),
            "tcp" => in_clear().map(Server::tcp),
            "tls" => over_tls("tls", place, Protocol::Tls),
            "quic" => over_tls("quic", place, Protocol::Quic),
            "https" => over_https("https", place, Protocol::Https),
            "h3" => over_https("h3", place, Protocol::Http3),
            "sdns" => stamped(place),
            other => match ALIASES.iter().find(|(alias, _)| *alias == other) {
                Some((_, known)) => Err(ServerError::SaidOtherwise(scheme.to_owned(), known)),
                None => Err(ServerError::UnknownScheme(scheme.to_owned())),
            },
        };
        read.map_err(|error| match error {
            ServerError::NotAnAddress(_)
            | ServerError::NoAddress(..)
            | ServerError::Nowhere(..)
            | ServerError::Identity(_) => dialect::meant(scheme, place).map_or(error, ServerError::Dialect),
            error => error,
        })
    }
}

/// Reads `address[:port]`; `otherwise` makes the error of what is none.
fn addr(
    place: &str,
    default_port: u16,
    otherwise: impl FnOnce(String) -> ServerError,
) -> Result<SocketAddr, ServerError> {
    let addr = interface::socket_addr(place, Some(default_port))
        .map_err(ServerError::Interface)?
        .ok_or_else(|| otherwise(place.to_owned()))?;
    let ip = addr.ip().to_canonical();
    let is_everybodys = ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    match addr.port() == 0 || ip.is_unspecified() || is_everybodys {
        true => Err(ServerError::Unusable(addr)),
        false => Ok(addr),
    }
}

/// Reads what follows `tls://`, or another scheme that says no more than who is asked where.
fn over_tls(
    scheme: &'static str,
    text: &str,
    protocol: impl FnOnce(Arc<Identity>) -> Protocol,
) -> Result<Server, ServerError> {
    let (place, parameters) = match text.split_once('?') {
        Some((place, parameters)) => (place, Some(parameters)),
        None => (text, None),
    };
    let (addr, identity) = proven(scheme, place, DNS_TLS_PORT, parameters)?;
    Ok(Server::at(protocol(identity), addr))
}

/// Reads what follows `https://`, or another scheme that also says what is asked for.
fn over_https(
    scheme: &'static str,
    text: &str,
    protocol: impl FnOnce(Arc<Identity>, Arc<Resource>) -> Protocol,
) -> Result<Server, ServerError> {
    let (place, rest) = text.split_at(text.find(['/', '{', '?']).unwrap_or(text.len()));
    let (resource, parameters) = Resource::read(rest).map_err(ServerError::Resource)?;
    let (addr, identity) = proven(scheme, place, HTTPS_PORT, parameters)?;
    Ok(Server::at(protocol(identity, Arc::new(resource)), addr))
}

/// Reads what follows `sdns://`.
fn stamped(text: &str) -> Result<Server, ServerError> {
    let stamp = Stamp::read(text).map_err(ServerError::Stamp)?;
    let in_clear = |text: &str| addr(text, DNS_PORT, ServerError::NotAnAddress).map(Server::udp);
    let default_port = match stamp.kind {
        Kind::Clear => return in_clear(&stamp.addr),
        Kind::Https => HTTPS_PORT,
        Kind::Tls | Kind::Quic => DNS_TLS_PORT,
    };
    let (host, port) = stamp.host_and_port().map_err(ServerError::Stamp)?;
    let not_a_port = |port: &str| ServerError::NotAnAddress(format!(":{port}"));
    let port = match port.or_else(|| stamp.addr.strip_prefix(':')) {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| not_a_port(port))?,
        None => default_port,
    };
    let addr = match (stamp.addr.is_empty() || stamp.addr.starts_with(':'), host.parse::<IpAddr>()) {
        (false, _) => addr(&stamp.addr, port, ServerError::NotAnAddress)?,
        (true, Ok(ip)) => SocketAddr::new(ip, port),
        (true, Err(_)) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
    };
    let host = Some(host.as_str()).filter(|host| !host.is_empty());
    let identity = Identity::new(host, addr.ip(), None).map_err(ServerError::Identity)?;
    if addr.ip().is_unspecified() && identity.host_name().is_none() {
        return Err(ServerError::Stamp(BadStamp::Host(stamp.host)));
    }
    let identity = Arc::new(identity.with_certificates(&stamp.digests));
    let protocol = match stamp.kind {
        Kind::Https => {
            let resource = Resource::new(&stamp.path, false).map_err(ServerError::Resource)?;
            Protocol::Https(identity, Arc::new(resource))
        }
        Kind::Quic => Protocol::Quic(identity),
        Kind::Tls | Kind::Clear => Protocol::Tls(identity),
    };
    let bootstrap = match addr.ip().is_unspecified() {
        true => stamp.bootstrap.iter().map(|text| in_clear(text)).collect::<Result<Arc<[Server]>, _>>()?,
        // Who knows an address need not be asked for it.
        false => Arc::default(),
    };
    Ok(Server { protocol, addr, random_case: true, bootstrap })
}

/// Reads `[host@]address[:port]` or `host[:port]`, and parameters: where a server is, and who it must prove to be.
fn proven(
    scheme: &'static str,
    place: &str,
    default_port: u16,
    parameters: Option<&str>,
) -> Result<(SocketAddr, Arc<Identity>), ServerError> {
    let (host, addr) = match place.split_once('@') {
        Some((host, place)) => {
            (Some(host), addr(place, default_port, |place| ServerError::NoAddress(scheme, place))?)
        }
        None => match addr(place, default_port, ServerError::NotAnAddress) {
            Err(ServerError::NotAnAddress(_)) => {
                let nowhere = || ServerError::Nowhere(scheme, place.to_owned());
                let (host, port) = host_and_port(place, default_port).ok_or_else(nowhere)?;
                (Some(host), SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
            }
            addr => (None, addr?),
        },
    };
    let identity = Identity::new(host, addr.ip(), parameters).map_err(ServerError::Identity)?;
    // What is looked up is a name to DNS, not to certificates alone.
    if addr.ip().is_unspecified() && identity.host_name().is_none() {
        return Err(ServerError::Nowhere(scheme, place.to_owned()));
    }
    Ok((addr, Arc::new(identity)))
}

/// Reads `host[:port]`, as far as one can tell without looking at the host.
fn host_and_port(place: &str, default_port: u16) -> Option<(&str, u16)> {
    let (host, port) = match place.split_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
        None => (place, default_port),
    };
    (!host.is_empty()).then_some((host, port))
}

impl fmt::Display for Server {
    /// `scheme://address:port`, the port always said; with TLS who it must prove to be, of which the alternate form (`{:#}`) leaves
    /// pins out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, identity, resource) = match &self.protocol {
            Protocol::Udp => return write!(f, "udp://{}", self.addr),
            Protocol::Tcp => return write!(f, "tcp://{}", self.addr),
            Protocol::Tls(identity) => ("tls", identity, None),
            Protocol::Https(identity, resource) => ("https", identity, Some(resource)),
            Protocol::Quic(identity) => ("quic", identity, None),
            Protocol::Http3(identity, resource) => ("h3", identity, Some(resource)),
        };
        write!(f, "{scheme}://")?;
        match identity.host(self.addr.ip()) {
            Some(host) if self.addr.ip().is_unspecified() => write!(f, "{host}:{}", self.addr.port())?,
            Some(host) => write!(f, "{host}@{}", self.addr)?,
            None => write!(f, "{}", self.addr)?,
        }
        if let Some(resource) = resource {
            write!(f, "{resource}")?;
        }
        if f.alternate() {
            return Ok(());
        }
        for (index, parameter) in identity.parameters().enumerate() {
            write!(f, "{}{parameter}", if index == 0 { '?' } else { '&' })?;
        }
        Ok(())
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
            ServerError::SaidOtherwise(scheme, known) => write!(f, "{scheme}:// is written {known}:// here"),
            ServerError::UnknownScheme(scheme) => {
                write!(
                    f,
                    "{scheme}:// is no known scheme; there are udp://, tcp://, tls://, https://, quic://, h3:// and sdns://"
                )
            }
            ServerError::NoAddress(scheme, place) => {
                write!(
                    f,
                    "{place:?} is no IP address: write {scheme}://host@address, or {scheme}://host alone"
                )
            }
            ServerError::Nowhere(scheme, place) => write!(
                f,
                "{place:?} is neither an IP address nor a host name: write {scheme}://host@address, or {scheme}://host"
            ),
            ServerError::Identity(error) => error.fmt(f),
            ServerError::Resource(error) => error.fmt(f),
            ServerError::Stamp(error) => error.fmt(f),
            ServerError::NotAnAddress(place) => write!(
                f,
                "{place:?} is no IP address; write udp://192.0.2.1:53 or tcp://[2001:db8::1]:53 (host names cannot be used)"
            ),
            ServerError::Dialect(dialect) => dialect.fmt(f),
            ServerError::Interface(error) => error.fmt(f),
            ServerError::Unusable(addr) => {
                write!(f, "{addr} cannot be asked: it is unspecified, multicast, broadcast, or has port 0")
            }
        }
    }
}

impl std::error::Error for ServerError {}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};

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
            ("tls://9.9.9.9", "tls://9.9.9.9:853"),
            ("TLS://2001:db8::1", "tls://[2001:db8::1]:853"),
            ("tls://[fe80::1%7]:853", "tls://[fe80::1%7]:853"),
            ("tls://Dns.Example.@9.9.9.9:8853", "tls://dns.example@9.9.9.9:8853"),
            ("tls://dns.example@[2001:db8::1]", "tls://dns.example@[2001:db8::1]:853"),
            // The certificate is for an address that is not the one asked, behind NAT perhaps.
            ("tls://192.0.2.1@10.0.0.1", "tls://192.0.2.1@10.0.0.1:853"),
            ("tls://10.0.0.1@10.0.0.1", "tls://10.0.0.1:853"),
            ("quic://dns.example@192.0.2.1", "quic://dns.example@192.0.2.1:853"),
            ("QUIC://[2001:db8::1]:784", "quic://[2001:db8::1]:784"),
            ("quic://dns.example", "quic://dns.example:853"),
            ("h3://dns.example@192.0.2.1", "h3://dns.example@192.0.2.1:443/dns-query"),
            ("H3://dns.example:8443/q{?dns}", "h3://dns.example:8443/q{?dns}"),
            // Its address is to be looked up.
            ("tls://Dns.Example.", "tls://dns.example:853"),
            ("tls://dns.example:8853", "tls://dns.example:8853"),
            ("https://dns.example/q", "https://dns.example:443/q"),
            ("https://192.0.2.1/dns-query", "https://192.0.2.1:443/dns-query"),
            ("HTTPS://192.0.2.1", "https://192.0.2.1:443/dns-query"),
            ("https://Dns.Example@[2001:db8::1]:8443/", "https://dns.example@[2001:db8::1]:8443/"),
            ("https://[fe80::1%7]/x@y", "https://[fe80::1%7]:443/x@y"),
            ("https://192.0.2.1/a%20b{?dns}", "https://192.0.2.1:443/a%20b{?dns}"),
            ("https://192.0.2.1{?dns}", "https://192.0.2.1:443/dns-query{?dns}"),
        ] {
            let server: Server = given.parse().unwrap();
            assert_eq!(server.to_string(), shown, "{given}");
            assert_eq!(shown.parse(), Ok(server), "{given}");
        }
    }

    #[test]
    fn pins_are_read_and_shown() {
        let (a, b) = (format!("{}=", "A".repeat(43)), "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=");
        for (given, shown) in [
            (format!("tls://9.9.9.9?pin={a}"), format!("tls://9.9.9.9:853?pin={a}")),
            (
                format!("tls://dns.example@9.9.9.9:853?pin={b}&pin={a}&pin={b}"),
                format!("tls://dns.example@9.9.9.9:853?pin={b}&pin={a}"),
            ),
            (format!("tls://9.9.9.9?tbs={a}&pin={b}"), format!("tls://9.9.9.9:853?pin={b}&tbs={a}")),
            (format!("https://9.9.9.9?pin={b}"), format!("https://9.9.9.9:443/dns-query?pin={b}")),
            (
                format!("https://9.9.9.9/a/b{{?dns}}?pin={b}"),
                format!("https://9.9.9.9:443/a/b{{?dns}}?pin={b}"),
            ),
        ] {
            let server: Server = given.parse().unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(format!("{server:#}"), shown.split("?pin").next().unwrap());
            assert_eq!(shown.parse().as_ref(), Ok(&server));
            let without: Server = format!("{server:#}").parse().unwrap();
            assert_ne!(without, server, "one with pins is another server");
        }
    }

    #[test]
    fn stamps_are_shown_as_what_they_say() {
        let stamp = |protocol: u8, parts: &[&[u8]]| {
            let octets = [&[protocol, 0, 0, 0, 0, 0, 0, 0, 0], parts.concat().as_slice()].concat();
            format!("sdns://{}", BASE64_URL_SAFE_NO_PAD.encode(octets))
        };
        let (none, digest) = (&[0][..], [&[32], &[0; 32][..]].concat());
        let tbs = format!("{}=", "A".repeat(43));
        for (given, shown, bootstrap) in [
            (stamp(0, &[b"\x09192.0.2.1"]), "udp://192.0.2.1:53", ""),
            (stamp(0, &[b"\x12[2001:db8::1]:5353"]), "udp://[2001:db8::1]:5353", ""),
            (
                stamp(2, &[b"\x09192.0.2.1", none, b"\x0bDns.Example", b"\x02/q"]),
                "https://dns.example@192.0.2.1:443/q",
                "",
            ),
            (
                stamp(2, &[b"\x0e192.0.2.1:8443", none, b"\x0bdns.example", b"\x0a/dns-query"]),
                "https://dns.example@192.0.2.1:8443/dns-query",
                "",
            ),
            // The host's port is the one that counts where the address has none.
            (
                stamp(2, &[none, none, b"\x10dns.example:8443", b"\x02/q", b"\x89192.0.2.5\x0b2001:db8::5"]),
                "https://dns.example:8443/q",
                "udp://192.0.2.5:53 udp://[2001:db8::5]:53",
            ),
            (stamp(2, &[b"\x04:444", none, b"\x0bdns.example", b"\x02/q"]), "https://dns.example:444/q", ""),
            (stamp(3, &[b"\x09192.0.2.1", none, none]), "tls://192.0.2.1:853", ""),
            (stamp(4, &[none, none, b"\x0fdns.example:784"]), "quic://dns.example:784", ""),
            (stamp(3, &[none, none, b"\x09192.0.2.1"]), "tls://192.0.2.1:853", ""),
            (stamp(3, &[none, none, b"\x0d[2001:db8::1]"]), "tls://[2001:db8::1]:853", ""),
            (
                stamp(3, &[b"\x09192.0.2.1", &digest, b"\x0bdns.example", b"\x09192.0.2.5"]),
                &format!("tls://dns.example@192.0.2.1:853?tbs={tbs}"),
                "",
            ),
        ] {
            let server: Server = given.parse().unwrap();
            assert_eq!(server.to_string(), shown, "{given}");
            let asked: Vec<String> = server.bootstrap.iter().map(ToString::to_string).collect();
            assert_eq!(asked.join(" "), bootstrap, "{given}");
            // By what it is shown as it is the same one, but for whom it is looked up through.
            let bare = Server { bootstrap: Arc::default(), ..server };
            assert_eq!(shown.parse(), Ok(bare), "{given}");
        }
    }

    #[test]
    fn what_was_meant_is_told_in_our_words() {
        for (text, expected) in [
            (
                "9.9.9.9#5353",
                "\"9.9.9.9#5353\" has its port behind #, as dnsmasq writes it: write udp://9.9.9.9:5353",
            ),
            ("tcp://2001:db8::1#53", "write tcp://[2001:db8::1]:53"),
            ("9.9.9.9@853#dns.quad9.net", "write tls://dns.quad9.net@9.9.9.9:853"),
            ("tls://2620:fe::fe@853#dns.quad9.net", "write tls://dns.quad9.net@[2620:fe::fe]:853"),
            ("9.9.9.9#dns.quad9.net", "write tls://dns.quad9.net@9.9.9.9:853"),
            ("[2620:fe::fe]:8853#dns.quad9.net", "write tls://dns.quad9.net@[2620:fe::fe]:8853"),
            ("9.9.9.9@5353", "has its port behind @, as Unbound writes it: write udp://9.9.9.9:5353"),
            ("9.9.9.9@853", "write tls://9.9.9.9:853"),
            (
                "udp://9.9.9.9/",
                "\"9.9.9.9/\" has a slash behind it, and only https:// and h3:// have paths: write udp://9.9.9.9:53",
            ),
            ("tls://dns.example@9.9.9.9:8853/x", "write tls://dns.example@9.9.9.9:8853"),
            ("quic://1.2.3.4/", "write quic://1.2.3.4:853"),
            (
                "9.9.9.9:99999",
                "\"9.9.9.9:99999\" has the port 99999, and ports are 1 to 65535: write udp://9.9.9.9:53",
            ),
            ("[2001:db8::1]:65536", "write udp://[2001:db8::1]:53"),
            ("tls://dns.example:99999", "write tls://dns.example:853"),
            (
                "https://1.2.3.4:99999/dns-query",
                "has the port 99999, and ports are 1 to 65535: write https://1.2.3.4:443",
            ),
        ] {
            let error = text.parse::<Server>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            let written = error.rsplit(' ').next().unwrap();
            assert!(written.parse::<Server>().is_ok(), "{written} is one");
        }
    }

    #[test]
    fn what_is_no_upstream_is_refused() {
        for (given, part) in [
            ("", "no IP address"),
            ("udp://", "no IP address"),
            ("dns.example", "no IP address"),
            ("udp://dns.example:53", "host names cannot be used"),
            ("1.2.3.4:99999", "has the port 99999, and ports are 1 to 65535: write udp://1.2.3.4:53"),
            ("1.2.3", "no IP address"),
            ("fe80::1%no-such-interface", "no network interface \"no-such-interface\""),
            ("udp://[2001:db8::1%1]:53", "not link-local"),
            ("fe80::1", "needs its interface"),
            ("dot://1.2.3.4", "dot:// is written tls:// here"),
            ("tls://dns.example@", "\"\" is no IP address: write tls://host@address, or tls://host alone"),
            ("tls://dns.example@dns.example", "\"dns.example\" is no IP address"),
            (
                "tls://",
                "\"\" is neither an IP address nor a host name: write tls://host@address, or tls://host",
            ),
            ("tls://dns.example:0", "has the port 0, and ports are 1 to 65535: write tls://dns.example:853"),
            ("tls://dns.example:853:1", "neither an IP address nor a host name"),
            ("tls://:853", "neither an IP address nor a host name"),
            ("tls://1.2.3", "\"1.2.3\" is no host name"),
            ("tls://1.2.3.4:99999", "has the port 99999, and ports are 1 to 65535: write tls://1.2.3.4:853"),
            ("tls://bücher.example", "is no host name"),
            ("tls://@9.9.9.9", "\"\" is no host name"),
            ("tls://a..b@9.9.9.9", "\"a..b\" is no host name"),
            ("tls://bücher.example@9.9.9.9", "is no host name"),
            ("tls://dns.example:853@9.9.9.9", "is no host name"),
            ("tls://9.9.9.9:0", "port 0"),
            ("tls://fe80::1", "needs its interface"),
            ("tls://9.9.9.9?", "\"\" is no parameter"),
            (
                "tls://9.9.9.9?name=x",
                "\"name=x\" is no parameter of an address; there are pin=BASE64 and tbs=BASE64",
            ),
            ("tls://9.9.9.9?tbs=AAAA", "\"AAAA\" names no certificate"),
            ("sdns://a+b", "not in Base64 for URLs"),
            ("sdns://AQcAAAAAAAAA", "the stamp is for DNSCrypt, which is not supported"),
            ("tls://9.9.9.9?pin=", "\"\" is no pin"),
            ("tls://9.9.9.9?pin=AAAA", "\"AAAA\" is no pin"),
            ("tls://9.9.9.9?pin=!", "44 characters"),
            ("udp://dns.example@9.9.9.9", "no IP address"),
            ("doq://1.2.3.4", "doq:// is written quic:// here"),
            ("quic://1.2.3.4/", "\"1.2.3.4/\" has a slash behind it"),
            ("http3://1.2.3.4", "http3:// is written h3:// here"),
            ("dns://1.2.3.4", "there are udp://, tcp://, tls://, https://, quic://, h3:// and sdns://"),
            ("doh://1.2.3.4", "doh:// is written https:// here"),
            ("https://dns.example@x/dns-query", "write https://host@address, or https://host alone"),
            ("https://", "neither an IP address nor a host name"),
            ("https://1.2.3.4:0/", "port 0"),
            ("https://1.2.3.4/a b", "\"/a b\" is no path"),
            ("https://1.2.3.4/a#b", "is no path"),
            ("https://1.2.3.4/a{dns}", "\"{dns}\" does not belong behind a path; {?dns} does, to ask by GET"),
            ("https://1.2.3.4/a{?dns}b", "\"b\" does not belong behind a path"),
            ("https://1.2.3.4/a?dns", "\"dns\" is no parameter"),
            ("https://1.2.3.4/a?", "\"\" is no parameter"),
            ("0.0.0.0", "cannot be asked"),
            ("[::]:53", "cannot be asked"),
            ("224.0.0.251:5353", "cannot be asked"),
            ("255.255.255.255", "cannot be asked"),
            ("::ffff:255.255.255.255", "cannot be asked"),
            ("1.2.3.4:0", "port 0"),
        ] {
            let error = given.parse::<Server>().unwrap_err().to_string();
            assert!(error.contains(part), "{given}: {error}");
        }
    }

    #[test]
    fn a_port_of_another_transport_is_remarked() {
        for (text, expected) in [
            ("tls://1.2.3.4:53", Some("is asked by tls:// at port 53, which is that of udp:// and tcp://")),
            ("quic://1.2.3.4:53", Some("port 53")),
            (
                "https://1.2.3.4:853/",
                Some("is asked by https:// at port 853, which is that of tls:// and quic://"),
            ),
            ("h3://1.2.3.4:53/", Some("port 53")),
            ("1.2.3.4:853", Some("is asked by udp:// at port 853")),
            ("tcp://1.2.3.4:443", Some("which is that of https:// and h3://")),
            ("tls://1.2.3.4:443", None),
            ("tls://1.2.3.4", None),
            ("1.2.3.4", None),
            ("1.2.3.4:5353", None),
            ("https://1.2.3.4:8443/", None),
        ] {
            let remark = text.parse::<Server>().unwrap().remark();
            match expected {
                Some(part) => {
                    assert!(remark.as_ref().is_some_and(|remark| remark.contains(part)), "{text}: {remark:?}")
                }
                None => assert_eq!(remark, None, "{text}"),
            }
        }
    }

    #[test]
    fn settings_hold_it_as_a_string() {
        let server: Server = serde_json::from_str("\"tcp://1.2.3.4\"").unwrap();
        assert_eq!(server, Server::tcp("1.2.3.4:53".parse().unwrap()));
        assert_eq!(serde_json::to_string(&server).unwrap(), "\"tcp://1.2.3.4:53\"");
        assert!(serde_json::from_str::<Server>("\"http://1.2.3.4\"").is_err());
        assert_eq!(schemars::schema_for!(Server).get("type").and_then(|kind| kind.as_str()), Some("string"));
    }
}
