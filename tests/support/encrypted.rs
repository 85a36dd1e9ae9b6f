//! An Unbound that is asked over TLS or HTTPS, and certificates of the tests' own.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use super::process::Folder;
use super::unbound::{Unbound, free};

/// What the upstream knows.
const ZONE: &str = "local-zone: \"test.\" static\nlocal-data: \"www.test. A 192.0.2.7\"\nlocal-data: \"evil.test. A 192.0.2.66\"\nlocal-data: \"dns.test. A 127.0.0.1\"\nlocal-data: \"dns.test. AAAA ::1\"\n";

/// How an Unbound is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// In clear.
    Clear,
    /// By DNS over TLS.
    Tls,
    /// By DNS over HTTPS, at `/dns-query`.
    Https,
}

/// Starts one that answers in one way alone, with the certificate `NAME.pem` and key `NAME.key` of a folder, and waits until it listens;
/// none where it is not installed.
pub fn start(folder: &Folder, name: &str, asked: Asked) -> Option<Unbound> {
    start_at(free(), folder, name, asked)
}

/// The same at an address.
pub fn start_at(addr: SocketAddr, folder: &Folder, name: &str, asked: Asked) -> Option<Unbound> {
    let path = |end: &str| folder.file(&format!("{name}{end}")).display().to_string();
    let config = format!(
        "interface: {}@{port}\n{asked}: {port}\ntls-service-key: \"{}\"\ntls-service-pem: \"{}\"\nincoming-num-tcp: 10\n{ZONE}",
        addr.ip(),
        path(".key"),
        path(".pem"),
        port = addr.port(),
        asked = match asked {
            // No port that it listens at is for either of the others.
            Asked::Clear => "port",
            Asked::Tls => "tls-port",
            Asked::Https => "https-port",
        },
    );
    Unbound::run(folder, &format!("{name}-{}", addr.port()), addr, &config, &[])
}

/// An authority, its certificate in a file of the folder.
pub fn authority(folder: &Folder, file: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
    folder.write(file, &issuer.pem());
    issuer
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// Its time is over.
    Expired,
    /// It is signed by itself.
    SelfSigned,
}

/// A certificate for a host, and its key, in files of the folder that begin with `name`.
pub fn certify_as(
    folder: &Folder,
    name: &str,
    host: &str,
    issuer: &CertifiedIssuer<'static, KeyPair>,
    flaw: Flaw,
) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
    if flaw == Flaw::Expired {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    let certificate = match flaw {
        Flaw::SelfSigned => params.self_signed(&key),
        _ => params.signed_by(&key, issuer),
    };
    folder.write(&format!("{name}.pem"), &certificate.expect("a certificate").pem());
    folder.write(&format!("{name}.key"), &key.serialize_pem());
}

/// A certificate for a host, and its key, in files of the folder.
pub fn certify(folder: &Folder, host: &str, issuer: &CertifiedIssuer<'static, KeyPair>) {
    certify_as(folder, host, host, issuer, Flaw::None);
}
