//! Signatures of the journal's heads, by an Ed25519 key that lies elsewhere: whoever rewrites the journal without it cannot sign what he wrote.
//!
//! A signature is a record like any other, behind those that it is for: it signs the hash of the record before it, and with that all before.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use super::record::Record;
use crate::owner;
use crate::problem::Problem;

/// What stands before every signature and public key.
const PREFIX: &str = "ed25519:";
/// What stands before a head where it is signed: what is signed means nothing anywhere else.
const CONTEXT: &str = "sinkscope journal head ";
/// What stands before the 32 octets of an Ed25519 key in a SubjectPublicKeyInfo: the algorithm is 1.3.101.112.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Octets of a public key.
const PUBLIC_LEN: usize = 32;

/// A key that signs.
pub struct Signer(Ed25519KeyPair);

/// A key that tells whether another signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier([u8; PUBLIC_LEN]);

impl Signer {
    /// Reads a private key: PKCS #8 in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// When it cannot be read, others could have written it, or it is no such key.
    pub fn read(path: &Path) -> Result<Signer, Problem> {
        let place = path.display().to_string();
        let hint = "make one: openssl genpkey -algorithm ed25519 -out FILE";
        let bad = |why: String| Problem::error(place.clone(), None, why).hint(hint);
        let metadata = std::fs::metadata(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
        owner::check(path, &metadata)?;
        if owner::is_readable_by_all(&metadata) {
            let why = "everybody on this machine may read this key, and so sign another history";
            return Err(Problem::error(place, None, why).hint("make a new one, and `chmod 600` it"));
        }
        let key = PrivatePkcs8KeyDer::from_pem_file(path)
            .map_err(|error| bad(format!("has no private key in PEM: {error}")))?;
        // OpenSSL writes no public key beside it.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der());
        pair.map(Signer).map_err(|error| bad(format!("is no Ed25519 key: {error}")))
    }

    /// Its public key, as records have it and `audit verify --key` takes it.
    pub fn public(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.0.public_key()))
    }

    /// The signature of a head.
    pub fn sign(&self, head: &str) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.0.sign(format!("{CONTEXT}{head}").as_bytes())))
    }
}

impl fmt::Debug for Signer {
    /// The public key alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public())
    }
}

impl Verifier {
    /// Reads a public key: its text as in the records, or a file with it in PEM, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    /// When it is neither.
    pub fn read(text: &str) -> Result<Verifier, String> {
        if let Some(octets) = text.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text.trim()).ok()) {
            return octets.try_into().map(Verifier).map_err(|_| format!("\"{text}\" is no Ed25519 key"));
        }
        let der = SubjectPublicKeyInfoDer::from_pem_file(text).map_err(|error| {
            format!("{text} has no public key in PEM, nor is it \"{PREFIX}...\": {error}")
        })?;
        let octets = der.strip_prefix(&SPKI).and_then(|octets| octets.try_into().ok());
        octets.map(Verifier).ok_or_else(|| format!("the key in {text} is no Ed25519 key"))
    }

    /// Whether a record is this key's signature of the record before it.
    pub fn signed(&self, record: &Record) -> bool {
        let signature = record.now.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        let head = format!("{CONTEXT}{}", record.prev);
        signature.is_some_and(|signature| key.verify(head.as_bytes(), &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::journal::blank;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// As `openssl genpkey -algorithm ed25519` writes one, and what `openssl pkey -pubout` makes of it.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn only_the_key_that_signed_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = (dir.path().join("key.pem"), dir.path().join("key.pub"));
        fs::write(&private, PRIVATE).unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&public, PUBLIC).unwrap();
        let signer = Signer::read(&private).unwrap();
        let verifier = Verifier::read(&public.display().to_string()).unwrap();
        assert_eq!(Verifier::read(&signer.public()), Ok(verifier.clone()));
        let head = "ab".repeat(32);
        let signed = |now: String, prev: &str| Record { now, prev: prev.into(), ..blank(0, "signer") };
        assert!(verifier.signed(&signed(signer.sign(&head), &head)));
        assert!(!verifier.signed(&signed(signer.sign(&head), &"ac".repeat(32))));
        assert!(!verifier.signed(&signed(String::new(), &head)));
        assert!(!Verifier([7; 32]).signed(&signed(signer.sign(&head), &head)));
        // Neither is the other.
        assert!(Signer::read(&public).is_err() && Verifier::read(&private.display().to_string()).is_err());
        assert!(Verifier::read("ed25519:AAAA").is_err());
        fs::set_permissions(&private, fs::Permissions::from_mode(0o644)).unwrap();
        let problem = Signer::read(&private).unwrap_err();
        assert!(problem.message.contains("everybody on this machine may read this key"), "{problem}");
    }
}
