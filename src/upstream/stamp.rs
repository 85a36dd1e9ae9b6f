//! DNS stamps: an upstream's address and who it must prove to be in one word (draft-denis-dns-stamps-02).
//!
//! Read, never written: an upstream is shown by its URL.

use std::fmt;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};

/// Octets of a digest: a SHA-256.
const DIGEST_LEN: usize = 32;
/// Octets of what a server says of itself, which nobody here reads.
const PROPERTIES_LEN: usize = 8;
/// Characters of a stamp that is looked at: many times what there are.
const MAX_LEN: usize = 4096;
/// The bit in the length of an element that says that another one follows.
const MORE: u8 = 0x80;

/// What a stamp says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// How the server is asked.
    pub(super) kind: Kind,
    /// Its address, with or without a port, a port behind a colon alone, or nothing.
    pub(super) addr: String,
    /// SHA-256 of certificates without their signatures, one of which is to be in the server's chain.
    pub(super) digests: Vec<[u8; DIGEST_LEN]>,
    /// Its host's name in Unicode, with or without a port.
    pub(super) host: String,
    /// The path that it is asked at over HTTP.
    pub(super) path: String,
    /// Addresses of those who know its host's address.
    pub(super) bootstrap: Vec<String>,
}

/// How a server of a stamp is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In clear.
    Clear,
    /// By HTTPS.
    Https,
    /// By TLS.
    Tls,
    /// By QUIC.
    Quic,
}

/// Why a text is no stamp of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadStamp {
    /// It is not in Base64 for URLs.
    Base64,
    /// It ends before all is said, goes on behind it, or holds text that is none.
    Damaged,
    /// Something in it is not a SHA-256.
    Digest,
    /// It is for a protocol of this name, which is not spoken here.
    Protocol(&'static str),
    /// It is for a protocol that has this number and no name.
    Unknown(u8),
    /// Its host's name is none.
    Host(String),
}

/// The octets of a stamp that are still to be read.
struct Rest<'s>(&'s [u8]);

impl Stamp {
    /// Reads what follows `sdns://`.
    pub(super) fn read(text: &str) -> Result<Stamp, BadStamp> {
        if text.len() > MAX_LEN {
            return Err(BadStamp::Damaged);
        }
        let text = text.trim_end_matches(['/', '=']);
        let octets = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| BadStamp::Base64)?;
        let (protocol, rest) = octets.split_first().ok_or(BadStamp::Damaged)?;
        let kind = match protocol {
            0x00 => Kind::Clear,
            0x02 => Kind::Https,
            0x03 => Kind::Tls,
            0x04 => Kind::Quic,
            0x01 => return Err(BadStamp::Protocol("DNSCrypt")),
            0x05 => return Err(BadStamp::Protocol("Oblivious DoH")),
            0x81 => return Err(BadStamp::Protocol("a DNSCrypt relay")),
            0x85 => return Err(BadStamp::Protocol("an Oblivious DoH relay")),
            other => return Err(BadStamp::Unknown(*other)),
        };
        let mut rest = Rest(rest);
        rest.take(PROPERTIES_LEN)?;
        let mut stamp = Stamp {
            kind,
            addr: rest.text()?,
            digests: Vec::new(),
            host: String::new(),
            path: String::new(),
            bootstrap: Vec::new(),
        };
        if kind != Kind::Clear {
            let digest = |octets: &[u8]| octets.try_into().map_err(|_| BadStamp::Digest);
            stamp.digests = rest.set()?.into_iter().map(digest).collect::<Result<_, _>>()?;
            stamp.host = rest.text()?;
            if kind == Kind::Https {
                stamp.path = rest.text()?;
            }
            if !rest.0.is_empty() {
                stamp.bootstrap = rest.set()?.into_iter().map(text_of).collect::<Result<_, _>>()?;
            }
        }
        if rest.0.is_empty() { Ok(stamp) } else { Err(BadStamp::Damaged) }
    }

    /// The host's name as DNS and certificates have it, and its port if it has one.
    pub(super) fn host_and_port(&self) -> Result<(String, Option<&str>), BadStamp> {
        // An IPv6 address stands in brackets.
        if let Some((host, rest)) = self.host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            return Ok((host.to_owned(), rest.strip_prefix(':')));
        }
        let (host, port) = match self.host.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (self.host.as_str(), None),
        };
        let ascii = idna::domain_to_ascii(host).map_err(|_| BadStamp::Host(host.to_owned()))?;
        Ok((ascii, port))
    }
}

impl<'s> Rest<'s> {
    /// Some octets.
    fn take(&mut self, count: usize) -> Result<&'s [u8], BadStamp> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(BadStamp::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A length and as many octets, and whether more such follow.
    fn element(&mut self) -> Result<(&'s [u8], bool), BadStamp> {
        let length = self.take(1)?[0];
        Ok((self.take(usize::from(length & !MORE))?, length & MORE != 0))
    }

    /// A text.
    fn text(&mut self) -> Result<String, BadStamp> {
        let length = self.take(1)?[0];
        text_of(self.take(usize::from(length))?)
    }

    /// Elements, the last of which says that it is; one that is empty is none.
    fn set(&mut self) -> Result<Vec<&'s [u8]>, BadStamp> {
        let mut elements = Vec::new();
        loop {
            let (element, more) = self.element()?;
            if !element.is_empty() {
                elements.push(element);
            }
            if !more {
                return Ok(elements);
            }
        }
    }
}

/// Octets as text.
fn text_of(octets: &[u8]) -> Result<String, BadStamp> {
    String::from_utf8(octets.to_vec()).map_err(|_| BadStamp::Damaged)
}

impl fmt::Display for BadStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadStamp::Base64 => f.write_str("the stamp is damaged: it is not in Base64 for URLs"),
            BadStamp::Damaged => f.write_str("the stamp is damaged: it does not end where it should"),
            BadStamp::Digest => f.write_str("the stamp is damaged: a digest in it is none"),
            BadStamp::Protocol(name) => {
                write!(
                    f,
                    "the stamp is for {name}, which is not supported; use one for DoH, DoT, DoQ or plain DNS"
                )
            }
            BadStamp::Unknown(number) => {
                write!(
                    f,
                    "the stamp is for protocol {number:#04x}, which is not known; use one for DoH, DoT, DoQ or plain DNS"
                )
            }
            BadStamp::Host(host) => write!(f, "{host:?} in the stamp is no host name"),
        }
    }
}

impl std::error::Error for BadStamp {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stamp of these octets.
    fn stamp(octets: &[u8]) -> Result<Stamp, BadStamp> {
        Stamp::read(&BASE64_URL_SAFE_NO_PAD.encode(octets))
    }

    /// What stands before an address: the protocol, and properties that nobody reads.
    fn begun(protocol: u8) -> Vec<u8> {
        vec![protocol, 7, 0, 0, 0, 0, 0, 0, 0]
    }

    /// A text with its length.
    fn text(text: &str) -> Vec<u8> {
        [&[text.len() as u8], text.as_bytes()].concat()
    }

    #[test]
    fn stamps_that_are_in_use_are_read() {
        // The draft's example in clear (its others have wrong lengths), and those of two public resolvers.
        let of = |kind, addr: &str, host: &str, path: &str| Stamp {
            kind,
            addr: addr.to_owned(),
            digests: Vec::new(),
            host: host.to_owned(),
            path: path.to_owned(),
            bootstrap: Vec::new(),
        };
        for (text, expected, digests) in [
            ("AAEAAAAAAAAACjE5Mi4wLjIuNTM", of(Kind::Clear, "192.0.2.53", "", ""), 0),
            (
                "AgcAAAAAAAAABzEuMC4wLjEAEmRucy5jbG91ZGZsYXJlLmNvbQovZG5zLXF1ZXJ5",
                of(Kind::Https, "1.0.0.1", "dns.cloudflare.com", "/dns-query"),
                0,
            ),
            (
                "AgUAAAAAAAAABzguOC44LjigHvYkz_9ea9O63fP92_3qVlRn43cpncfuZnUWbzAMwbmgdoAkR6AZkxo_AEMExT_cbBssN43Evo9zs5_ZyWnftEUgalBisNF41VbxY7E7Gw8ZQ10CWIKRzHVYnf7m6xHI1cMKZG5zLmdvb2dsZQovZG5zLXF1ZXJ5",
                of(Kind::Https, "8.8.8.8", "dns.google", "/dns-query"),
                3,
            ),
        ] {
            let read = Stamp::read(text).map(|stamp| (stamp.digests.len(), stamp));
            let read = read.map(|(digests, stamp)| (Stamp { digests: Vec::new(), ..stamp }, digests));
            assert_eq!(read.as_ref().ok(), Some(&(expected, digests)), "{text}: {read:?}");
        }
    }

    #[test]
    fn all_parts_are_read() {
        let (first, second) = ([1; DIGEST_LEN], [2; DIGEST_LEN]);
        let digests = [&[0xa0][..], &first, &[0x20], &second].concat();
        let bootstrap = [&[0x80 | 9][..], b"192.0.2.5", &text("2001:db8::5")].concat();
        let octets =
            [begun(3), text("[2001:db8::1]:8853"), digests, text("bücher.example:853"), bootstrap].concat();
        let read = stamp(&octets).unwrap();
        assert_eq!(
            (read.kind, read.addr.as_str(), read.digests.as_slice()),
            (Kind::Tls, "[2001:db8::1]:8853", &[first, second][..])
        );
        assert_eq!(read.bootstrap, ["192.0.2.5", "2001:db8::5"]);
        assert_eq!(read.host_and_port(), Ok(("xn--bcher-kva.example".to_owned(), Some("853"))));
        // Whoever adds what Base64 has at its end, or a slash as to a URL, means the same.
        let encoded = BASE64_URL_SAFE_NO_PAD.encode(&octets);
        assert_eq!(Stamp::read(&format!("{encoded}==/")), Ok(read));
        for cut in 0..octets.len() {
            // Bootstrap may be left out, whole.
            let whole = octets.len() - 22;
            assert_eq!(stamp(&octets[..cut]).is_ok(), cut == whole, "{cut}");
        }
        assert_eq!(stamp(&[&octets[..], &[0]].concat()), Err(BadStamp::Damaged));
    }

    #[test]
    fn what_is_no_stamp_of_ours_is_told() {
        let clear = [begun(0), text("192.0.2.1")].concat();
        let long = [begun(2), text(""), vec![31], vec![0; 31], text("h"), text("/")].concat();
        let not_text = [begun(0), vec![1, 0xff]].concat();
        for (octets, said) in [
            (
                &begun(1)[..],
                "the stamp is for DNSCrypt, which is not supported; use one for DoH, DoT, DoQ or plain DNS",
            ),
            (&begun(5), "the stamp is for Oblivious DoH"),
            (&begun(0x81), "the stamp is for a DNSCrypt relay"),
            (&begun(0x85), "the stamp is for an Oblivious DoH relay"),
            (&begun(9), "the stamp is for protocol 0x09, which is not known"),
            (&[], "does not end where it should"),
            (&clear[..clear.len() - 1], "does not end where it should"),
            (&long, "a digest in it is none"),
            (&not_text, "the stamp is damaged"),
        ] {
            let error = stamp(octets).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(Stamp::read("a+b"), Err(BadStamp::Base64));
        assert_eq!(Stamp::read(&"A".repeat(5000)), Err(BadStamp::Damaged));
    }
}
