//! IPv6 addresses that mean something on one interface only (RFC 4007 §11): `fe80::1%eth0`, `[fe80::1%2]:53`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::system;

/// Why an address and its interface do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadInterface {
    /// This machine has none of that name (now).
    Unknown(String),
    /// It is named with an address that is not link-local, and so is the same on all.
    NotLinkLocal(Ipv6Addr),
    /// It is missing though the address is link-local.
    Missing(Ipv6Addr),
}

/// Reads `ip:port` or `[ip]:port`, and with `default_port` also `ip` or `[ip]`; a link-local address has its interface
/// behind it, by name or number. None if it is no address at all.
///
/// # Errors
/// [`BadInterface`] when it is one, but not with that interface.
pub fn socket_addr(text: &str, default_port: Option<u16>) -> Result<Option<SocketAddr>, BadInterface> {
    let (plain, interface) = split(text);
    let Some(mut addr) = plain_addr(&plain, default_port) else { return Ok(None) };
    match (&mut addr, interface) {
        (SocketAddr::V6(v6), Some(interface)) if is_link_local(*v6.ip()) => {
            // glibc takes names and numbers alike, names first (inet_pton's scope, resolv.conf(5)).
            let index = system::interface_index(interface).or_else(|| interface.parse().ok());
            match index {
                Some(index) if index > 0 => v6.set_scope_id(index),
                _ => return Err(BadInterface::Unknown(interface.to_owned())),
            }
        }
        (SocketAddr::V6(v6), Some(_)) => return Err(BadInterface::NotLinkLocal(*v6.ip())),
        (SocketAddr::V6(v6), None) if is_link_local(*v6.ip()) => return Err(BadInterface::Missing(*v6.ip())),
        (SocketAddr::V4(_), Some(_)) => return Ok(None),
        _ => {}
    }
    Ok(Some(addr))
}

/// Whether an IPv6 address is link-local (RFC 4291 §2.5.6).
pub fn is_link_local(addr: Ipv6Addr) -> bool {
    addr.segments()[0] & 0xffc0 == 0xfe80
}

/// An address without its interface, and the interface if there is one.
fn split(text: &str) -> (String, Option<&str>) {
    match text.split_once('%') {
        None => (text.to_owned(), None),
        Some((before, rest)) => {
            let (interface, after) = rest.find(']').map_or((rest, ""), |end| rest.split_at(end));
            (format!("{before}{after}"), Some(interface))
        }
    }
}

/// Reads an address that says nothing of an interface.
fn plain_addr(text: &str, default_port: Option<u16>) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match (bare.parse::<IpAddr>(), default_port) {
        (Ok(ip), Some(port)) => Some(SocketAddr::new(ip, port)),
        _ => text.parse().ok(),
    }
}

impl fmt::Display for BadInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadInterface::Unknown(name) => write!(f, "this machine has no network interface {name:?}"),
            BadInterface::NotLinkLocal(ip) => {
                write!(
                    f,
                    "{ip} is not link-local (fe80::/10) and takes no interface: leave out what follows the %"
                )
            }
            BadInterface::Missing(ip) => {
                write!(f, "{ip} is link-local and needs its interface behind it, such as {ip}%eth0")
            }
        }
    }
}

impl std::error::Error for BadInterface {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_their_interface() {
        let Some(lo) = ["lo", "lo0"].iter().find(|name| system::interface_index(name).is_some()) else {
            eprintln!("skipped: this host has no loopback interface by a usual name");
            return;
        };
        let index = system::interface_index(lo).unwrap();
        for (text, port, shown) in [
            (format!("fe80::1%{lo}"), Some(53), Some(format!("[fe80::1%{index}]:53"))),
            (format!("[fe80::1%{lo}]"), Some(53), Some(format!("[fe80::1%{index}]:53"))),
            (format!("[fe80::1%{lo}]:5300"), Some(53), Some(format!("[fe80::1%{index}]:5300"))),
            (format!("[fe80::1%{lo}]:5300"), None, Some(format!("[fe80::1%{index}]:5300"))),
            ("[fe80::1%7]:53".into(), None, Some("[fe80::1%7]:53".into())),
            ("fe80::1%7".into(), None, None),
            ("192.0.2.1".into(), Some(53), Some("192.0.2.1:53".into())),
            ("192.0.2.1:54".into(), None, Some("192.0.2.1:54".into())),
            ("2001:db8::1".into(), Some(53), Some("[2001:db8::1]:53".into())),
            ("[2001:db8::1]:54".into(), None, Some("[2001:db8::1]:54".into())),
            (format!("192.0.2.1%{lo}"), Some(53), None),
            ("%".into(), Some(53), None),
            ("dns.example%1".into(), Some(53), None),
        ] {
            let read = socket_addr(&text, port).map(|addr| addr.map(|addr| addr.to_string()));
            assert_eq!(read, Ok(shown), "{text}");
        }
    }

    #[test]
    fn an_interface_must_fit_its_address() {
        for (text, part) in [
            ("fe80::1%no-such-interface", "no network interface \"no-such-interface\""),
            ("fe80::1%", "no network interface \"\""),
            ("[fe80::1]%7:53", "no network interface \"7:53\""),
            ("fe80::1%0", "no network interface \"0\""),
            ("fe80::1%4294967296", "no network interface"),
            ("2001:db8::1%1", "not link-local"),
            ("fe80::1", "needs its interface"),
            ("[fe80::1]:53", "such as fe80::1%eth0"),
        ] {
            let error = socket_addr(text, Some(53)).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
