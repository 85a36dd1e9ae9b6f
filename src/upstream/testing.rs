//! What tests of several transports share: certificates of other names, of other times, of authorities that nobody knows; and many
//! questions at once.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::Exchange;
use super::hosts::Found;
use super::message::Manner;
use super::places::{Host, Looking, Lookup, Places};
use super::roots::Roots;
use crate::dns::testing::question;
use crate::iana::Rtype;
use crate::name::Name;

/// An authority of the test's own.
pub(super) struct Authority {
    pub(super) issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its file, which goes with it.
    pub(super) folder: tempfile::TempDir,
}

/// A certificate and its key.
pub(super) struct Certified {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: KeyPair,
}

/// Whose certificate a server shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Signed {
    /// One that the trusted authority signed.
    ByAuthority,
    /// One of the same name with another key signed.
    ByNamesake,
    /// One signed by itself.
    ByItself,
    /// The same, of one who may sign others.
    AsAuthority,
}

impl Authority {
    /// Its certificate is in a file of its own.
    pub(super) fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    /// It alone, as it is trusted.
    pub(super) fn roots(&self) -> Roots {
        Roots::read(&self.folder.path().join("ca.pem")).unwrap()
    }

    /// A certificate for a host or an address, between two years.
    pub(super) fn certifies(&self, name: &str, years: (i32, i32), signed: Signed) -> Certified {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = match signed {
            Signed::ByAuthority => params.signed_by(&key, &self.issuer),
            Signed::ByNamesake => params.signed_by(&key, &Authority::new().issuer),
            Signed::ByItself => params.self_signed(&key),
            Signed::AsAuthority => {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.self_signed(&key)
            }
        };
        Certified { chain: vec![certificate.unwrap().der().clone()], key }
    }

    /// One for `dns.test` with which all is well.
    pub(super) fn certifies_well(&self) -> Certified {
        self.certifies("dns.test", (2020, 2100), Signed::ByAuthority)
    }
}

impl Certified {
    /// A pin of its key.
    pub(super) fn pin(&self) -> String {
        BASE64_STANDARD.encode(Sha256::digest(self.key.subject_public_key_info()))
    }

    /// What a server that shows it speaks.
    pub(super) fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der()).into();
        let mut config = builder.with_no_client_auth().with_single_cert(self.chain.clone(), key).unwrap();
        // Early data is welcome, so that a test sees that none comes.
        config.max_early_data_size = u32::MAX;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A bootstrap whose answers these are, one after the other.
#[derive(Debug)]
pub(super) struct Says(Mutex<VecDeque<Vec<IpAddr>>>);

impl Says {
    /// Where `dns.test` is, at that port, by these answers; all of them last for a day.
    pub(super) fn places(answers: &[&[[u8; 4]]], port: u16) -> Places {
        let answers = answers.iter().map(|answer| answer.iter().map(|ip| IpAddr::from(*ip)).collect());
        let says = Arc::new(Says(Mutex::new(answers.collect())));
        let host = Host::new("dns.test".parse().unwrap(), port, says, Duration::from_secs(2));
        Places::Of(Box::new(host))
    }
}

impl Lookup for Says {
    fn look_up<'a>(&'a self, _: &'a Name) -> Looking<'a> {
        let next = self.0.lock().unwrap().pop_front();
        let found = next.map(|addresses| Found { addresses, lifetime: Duration::from_secs(86_400) });
        Box::pin(std::future::ready(found.ok_or_else(|| "that was all".to_owned())))
    }
}

/// Asks so many questions at once; says how many had a reply, which must be their own.
pub(super) async fn ask_at_once(exchange: &Arc<impl Exchange>, count: usize) -> usize {
    let mut asking = JoinSet::new();
    for n in 0..count {
        let exchange = exchange.clone();
        asking.spawn(async move {
            let (name, digits) = (format!("n{n}.example"), n.to_string());
            exchange.exchange(&question(&name, Rtype::A), Manner::PLAIN).await.map(|reply| {
                assert_eq!(&reply[14..14 + digits.len()], digits.as_bytes(), "its own");
            })
        });
    }
    let mut answered = 0;
    while let Some(result) = asking.join_next().await {
        answered += usize::from(result.unwrap().is_ok());
    }
    answered
}
