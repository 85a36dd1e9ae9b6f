//! Who a server that is asked over TLS must prove to be.

use std::fmt;
use std::net::IpAddr;

use base64::prelude::{BASE64_STANDARD, Engine};
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256};

use crate::name::Name;

/// Octets of a digest: a SHA-256.
const DIGEST_LEN: usize = 32;
/// The parameter of a server's address that pins a key.
const PIN: &str = "pin";
/// The one that names a certificate of its chain, as DNS stamps do.
const TBS: &str = "tbs";

/// Whom a certificate must be for, which keys it may have, and who must have signed it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// A host name, which is also said in clear when connecting (SNI), or the address that is asked.
    name: ServerName<'static>,
    /// The keys of which the server's own certificate must have one; any will do if there are none.
    pins: Vec<Sha>,
    /// The certificates of which one must be in its chain, without their signatures; any will do if there are none.
    certificates: Vec<Sha>,
}

/// A SHA-256: of a certificate's SubjectPublicKeyInfo (RFC 7858 §4.2 and RFC 7469 §2.4), or of its TBSCertificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sha([u8; DIGEST_LEN]);

/// Why a text says nobody's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadIdentity {
    /// Neither a host name in ASCII nor an IP address.
    Name(String),
    /// Not the Base64 of 32 octets, where a key is pinned.
    Pin(String),
    /// The same, where a certificate is named.
    Certificate(String),
    /// Something other than both.
    Parameter(String),
}

impl Identity {
    /// By a host's name, or else by the address that is asked, and by parameters as they stand behind a question mark:
    /// `pin=BASE64` and `tbs=BASE64`, several of them joined by `&`.
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
        let mut identity = Identity { name, pins: Vec::new(), certificates: Vec::new() };
        for parameter in parameters.into_iter().flat_map(|parameters| parameters.split('&')) {
            let bad = |what: fn(String) -> BadIdentity, text: &str| what(text.to_owned());
            let (digests, digest) = match parameter.split_once('=') {
                Some((PIN, pin)) => {
                    (&mut identity.pins, Sha::read(pin).ok_or_else(|| bad(BadIdentity::Pin, pin))?)
                }
                Some((TBS, tbs)) => (
                    &mut identity.certificates,
                    Sha::read(tbs).ok_or_else(|| bad(BadIdentity::Certificate, tbs))?,
                ),
                _ => return Err(bad(BadIdentity::Parameter, parameter)),
            };
            if !digests.contains(&digest) {
                digests.push(digest);
            }
        }
        Ok(identity)
    }

    /// The same with one of these certificates in its chain.
    pub(super) fn with_certificates(self, digests: &[[u8; DIGEST_LEN]]) -> Identity {
        let mut certificates: Vec<Sha> = Vec::new();
        for digest in digests.iter().copied().map(Sha) {
            if !certificates.contains(&digest) {
                certificates.push(digest);
            }
        }
        Identity { certificates, ..self }
    }

    /// Whom the certificate must be for.
    pub(super) fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// Whether a certificate with this SubjectPublicKeyInfo, in DER, has a key that may be there.
    pub(super) fn takes_key(&self, spki: &[u8]) -> bool {
        self.pins.is_empty() || self.pins.contains(&Sha::of(spki))
    }

    /// Whether certificates of its chain are named.
    pub(super) fn names_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Whether a certificate is named whose TBSCertificate this is, in DER.
    pub(super) fn names_certificate(&self, tbs: &[u8]) -> bool {
        self.certificates.contains(&Sha::of(tbs))
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
        let named =
            |name: &'static str| move |digest: &Sha| format!("{name}={}", BASE64_STANDARD.encode(digest.0));
        self.pins.iter().map(named(PIN)).chain(self.certificates.iter().map(named(TBS)))
    }
}

impl Sha {
    /// Reads Base64.
    fn read(text: &str) -> Option<Sha> {
        BASE64_STANDARD.decode(text).ok()?.try_into().ok().map(Sha)
    }

    /// That of some octets.
    fn of(octets: &[u8]) -> Sha {
        Sha(Sha256::digest(octets).into())
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
            BadIdentity::Certificate(tbs) => write!(
                f,
                "{tbs:?} names no certificate; that is the SHA-256 of one without its signature (TBSCertificate) in Base64, 44 characters"
            ),
            BadIdentity::Parameter(parameter) => {
                write!(f, "{parameter:?} is no parameter of an address; there are pin=BASE64 and tbs=BASE64")
            }
        }
    }
}

impl std::error::Error for BadIdentity {}
