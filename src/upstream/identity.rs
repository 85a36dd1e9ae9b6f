//! Who a server that is asked over TLS must prove to be.

use std::fmt;
use std::net::IpAddr;

use base64::prelude::{BASE64_STANDARD, Engine};
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256};

use crate::name::Name;

/// Octets of a pin: a SHA-256.
const PIN_LEN: usize = 32;
/// The one parameter that a server's address may have.
const PIN: &str = "pin";

/// Whom a certificate must be for, and which keys it may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// A host name, which is also said in clear when connecting (SNI), or the address that is asked.
    name: ServerName<'static>,
    /// The keys of which the server's own certificate must have one; any will do if there are none.
    pins: Vec<Pin>,
}

/// The SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7858 §4.2 and RFC 7469 §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pin([u8; PIN_LEN]);

/// Why a text says nobody's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadIdentity {
    /// Neither a host name in ASCII nor an IP address.
    Name(String),
    /// Not the Base64 of 32 octets.
    Pin(String),
    /// Something other than pins.
    Parameter(String),
}

impl Identity {
    /// By a host's name, or else by the address that is asked, and by parameters as they stand behind a question mark:
    /// `pin=BASE64`, several of them joined by `&`.
    pub(super) fn new(
        host: Option<&str>,
        asked: IpAddr,
        parameters: Option<&str>,
    ) -> Result<Identity, BadIdentity> {
        let name = match host {
            None => ServerName::from(asked),
            // A certificate's names have no dot at their end, nor has SNI (RFC 6066 §3), and case means nothing.
            Some(host) => {
                let plain = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                ServerName::try_from(plain).map_err(|_| BadIdentity::Name(host.to_owned()))?
            }
        };
        let mut pins = Vec::new();
        for parameter in parameters.into_iter().flat_map(|parameters| parameters.split('&')) {
            let pin = match parameter.split_once('=') {
                Some((PIN, pin)) => Pin::read(pin)?,
                _ => return Err(BadIdentity::Parameter(parameter.to_owned())),
            };
            if !pins.contains(&pin) {
                pins.push(pin);
            }
        }
        Ok(Identity { name, pins })
    }

    /// Whom the certificate must be for.
    pub(super) fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// Whether a certificate with this SubjectPublicKeyInfo, in DER, has a key that may be there.
    pub(super) fn takes_key(&self, spki: &[u8]) -> bool {
        self.pins.is_empty() || self.pins.contains(&Pin(Sha256::digest(spki).into()))
    }

    /// The host that it is, whose addresses can be looked up; none if it is an address.
    pub(super) fn host_name(&self) -> Option<Name> {
        match &self.name {
            ServerName::DnsName(name) => name.as_ref().parse().ok(),
            _ => None,
        }
    }

    /// The name to be written before an address: none where it is the address.
    pub(super) fn host(&self, asked: IpAddr) -> Option<String> {
        (self.name != ServerName::from(asked)).then(|| self.name.to_str().into_owned())
    }

    /// The host of a URL that is for it: an IPv6 address stands in brackets (RFC 3986 §3.2.2).
    pub(super) fn url_host(&self) -> String {
        let host = self.name.to_str();
        if host.contains(':') { format!("[{host}]") } else { host.into_owned() }
    }

    /// The parameters to be written behind it.
    pub(super) fn parameters(&self) -> impl Iterator<Item = String> {
        self.pins.iter().map(|pin| format!("{PIN}={}", BASE64_STANDARD.encode(pin.0)))
    }
}

impl Pin {
    /// Reads Base64.
    fn read(text: &str) -> Result<Pin, BadIdentity> {
        let octets = BASE64_STANDARD.decode(text).ok().and_then(|octets| octets.try_into().ok());
        octets.map(Pin).ok_or_else(|| BadIdentity::Pin(text.to_owned()))
    }
}

impl fmt::Display for BadIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadIdentity::Name(name) => write!(f, "{name:?} is no host name that a certificate can be for"),
            BadIdentity::Pin(pin) => write!(
                f,
                "{pin:?} is no pin; it is the SHA-256 of a public key (SubjectPublicKeyInfo) in Base64, 44 characters"
            ),
            BadIdentity::Parameter(parameter) => {
                write!(f, "{parameter:?} is no parameter of an address; there is pin=BASE64")
            }
        }
    }
}

impl std::error::Error for BadIdentity {}
