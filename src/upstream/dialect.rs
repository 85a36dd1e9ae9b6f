//! Addresses of upstreams as other programs write them, or with a slip, so that it can be said how they are written here.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::resource::HTTPS_PORT;
use crate::interface;
use crate::transport::{DNS_PORT, DNS_TLS_PORT};

/// What is wrong with an address, and how it is written here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The address as it was written.
    place: String,
    /// What is wrong, in words that follow it.
    what: String,
    /// How it is written here.
    written: String,
}

/// What somebody meant by what follows a scheme; none if that cannot be told.
pub(super) fn meant(scheme: &str, place: &str) -> Option<Dialect> {
    let scheme = scheme.to_ascii_lowercase();
    let found = behind_hash(&scheme, place)
        .or_else(|| behind_at(&scheme, place))
        .or_else(|| with_path(&scheme, place))
        .or_else(|| bad_port(&scheme, place));
    found.map(|(what, written)| Dialect { place: place.to_owned(), what, written })
}

/// What is wrong with an address, and how to write it.
type Meant = (String, String);

/// `9.9.9.9#5353` as dnsmasq writes it, `9.9.9.9@853#name` as Unbound does, `9.9.9.9:853#name` as systemd-resolved does.
fn behind_hash(scheme: &str, place: &str) -> Option<Meant> {
    let (before, after) = place.split_once('#')?;
    if let Some(port) = port(after) {
        let what = "has its port behind #, as dnsmasq writes it".to_owned();
        return Some((what, format!("{scheme}://{}", SocketAddr::new(ip(before)?, port))));
    }
    if !after.bytes().any(|octet| octet.is_ascii_alphabetic()) {
        return None;
    }
    let addr = match before.split_once('@') {
        Some((before, after)) => SocketAddr::new(ip(before)?, port(after)?),
        None => interface::socket_addr(before, Some(DNS_TLS_PORT)).ok()??,
    };
    let what = "has its name behind #, as Unbound and systemd-resolved write it".to_owned();
    Some((what, format!("tls://{after}@{addr}")))
}

/// `9.9.9.9@5353` as Unbound writes it.
fn behind_at(scheme: &str, place: &str) -> Option<Meant> {
    let (before, after) = place.split_once('@')?;
    let (ip, port) = (ip(before)?, port(after)?);
    let scheme = if scheme == "udp" && port == DNS_TLS_PORT { "tls" } else { scheme };
    let what = "has its port behind @, as Unbound writes it".to_owned();
    Some((what, format!("{scheme}://{}", SocketAddr::new(ip, port))))
}

/// An address as of a page, where no path belongs.
fn with_path(scheme: &str, place: &str) -> Option<Meant> {
    let (before, _) = place.split_once('/').filter(|_| !matches!(scheme, "https" | "h3"))?;
    let (host, addr) = before.rsplit_once('@').map_or(("", before), |(host, addr)| (host, addr));
    let addr = interface::socket_addr(addr, Some(default_port(scheme))).ok()??;
    let at = if host.is_empty() { "" } else { "@" };
    let what = "has a slash behind it, and only https:// and h3:// have paths".to_owned();
    Some((what, format!("{scheme}://{host}{at}{addr}")))
}

/// A port that is none.
fn bad_port(scheme: &str, place: &str) -> Option<Meant> {
    let place = place.split(['/', '?', '{']).next().unwrap_or_default();
    let (before, after) = place.rsplit_once(':')?;
    let is_bad =
        !after.is_empty() && after.bytes().all(|octet| octet.is_ascii_digit()) && port(after).is_none();
    let is_v6 = before.contains(':') && !before.ends_with(']');
    if !is_bad || is_v6 || before.is_empty() {
        return None;
    }
    let what = format!("has the port {after}, and ports are 1 to {}", u16::MAX);
    Some((what, format!("{scheme}://{before}:{}", default_port(scheme))))
}

/// A port that can be asked.
fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

/// An address without a port, in brackets or not.
fn ip(text: &str) -> Option<IpAddr> {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok()
}

/// The port of a scheme that has none written.
fn default_port(scheme: &str) -> u16 {
    match scheme {
        "tls" | "quic" => DNS_TLS_PORT,
        "https" | "h3" => HTTPS_PORT,
        _ => DNS_PORT,
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dialect { place, what, written } = self;
        write!(f, "{place:?} {what}: write {written}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_is_left_to_others() {
        for (scheme, place) in [
            ("udp", ""),
            ("udp", "dns.example"),
            ("udp", "1.2.3"),
            ("udp", "a#b"),
            ("udp", "#"),
            ("udp", "9.9.9.9#0"),
            ("udp", "2001:db8::99999"),
            ("udp", "@"),
            ("udp", "/"),
            ("tls", ":99999"),
            ("tls", "dns.example@dns.example"),
            ("https", "dns.example/x"),
        ] {
            assert_eq!(meant(scheme, place), None, "{scheme} {place}");
        }
    }
}
