//! The authorities that are trusted to say who a server is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor};

use crate::problem::Problem;

/// Whose signatures on certificates count.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq)]
pub enum Roots {
    /// Those that browsers trust, as built in: a container has no list of its own.
    #[default]
    BuiltIn,
    /// Those of a file, and no others.
    File {
        /// Where it is.
        path: PathBuf,
        /// What stood in it when it was read; one at least.
        anchors: Arc<[TrustAnchor<'static>]>,
    },
}

impl Roots {
    /// Reads a file of certificates in PEM (RFC 7468 §5); whatever else stands in it is passed over.
    ///
    /// # Errors
    /// When it cannot be read, or holds no certificate, or one that is damaged.
    pub fn read(path: &Path) -> Result<Roots, Problem> {
        let bad = |message: String, hint: &str| {
            Problem::error(path.display().to_string(), None, message).hint(hint)
        };
        let hint = "upstream.ca_file is for certificates in PEM, each from -----BEGIN CERTIFICATE----- to its END line";
        let octets = std::fs::read(path)
            .map_err(|error| bad(format!("cannot be read: {error}"), "check upstream.ca_file"))?;
        let mut store = RootCertStore::empty();
        for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(&octets)) {
            let damaged = |error: &dyn std::fmt::Display| {
                bad(format!("certificate {number} in it is damaged: {error}"), hint)
            };
            store.add(certificate.map_err(|error| damaged(&error))?).map_err(|error| damaged(&error))?;
        }
        if store.is_empty() {
            return Err(bad("there is no certificate in it".to_owned(), hint));
        }
        Ok(Roots::File { path: path.to_owned(), anchors: store.roots.into() })
    }

    /// The file they are from, if they are from one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Roots::BuiltIn => None,
            Roots::File { path, .. } => Some(path),
        }
    }

    /// The same for whoever verifies.
    pub(super) fn store(&self) -> RootCertStore {
        let anchors = match self {
            Roots::BuiltIn => webpki_roots::TLS_SERVER_ROOTS,
            Roots::File { anchors, .. } => anchors,
        };
        RootCertStore { roots: anchors.to_vec() }
    }
}
