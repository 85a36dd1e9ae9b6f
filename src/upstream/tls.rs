//! Streams by TLS, from servers that prove who they are (RFC 7858, RFC 8310).

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::{BadHttp, OtherChain};
use super::identity::Identity;
use super::roots::Roots;
use super::stream::{Connect, Prove};
use super::tbs;

/// Sessions kept for one server: rustls keeps eight tickets a server, which is what a server usually gives for some connections.
const SESSIONS: usize = 8;

/// What is spoken on streams once they are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// DNS messages and their lengths (RFC 7858).
    Dns,
    /// HTTP/2 (RFC 9113).
    Http2,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// HTTP/3 (RFC 9114).
    Http3,
}

/// Opens streams by TLS, over streams that `C` opens, to one server.
///
/// RFC 8310 §5 calls this the strict profile: a server that does not prove who it is is not asked, and nothing is ever asked in
/// clear instead.
#[derive(Debug)]
pub(super) struct Tls<C> {
    connect: C,
    identity: Arc<Identity>,
    spoken: Spoken,
    /// One for all connections, so that later ones resume the session of earlier ones. Not shared by servers: a session that is
    /// resumed is not verified again, and another server has another name or other pins.
    config: Result<Arc<ClientConfig>, rustls::Error>,
}

/// A handshake to come, on whichever stream.
#[derive(Clone)]
struct Handshake {
    connector: TlsConnector,
    identity: Arc<Identity>,
    spoken: Spoken,
}

/// What verifies certificates, made once for all servers of the settings.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    provider: Arc<CryptoProvider>,
    chain: Arc<WebPkiServerVerifier>,
}

/// Verifies chain, time and name, as everybody does, and then the key and who is in the chain.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    chain: Arc<WebPkiServerVerifier>,
    identity: Arc<Identity>,
    refusal: Arc<Refusal>,
}

/// The last thing that was found wrong with a server's certificate, for whoever hears no more of it than words.
#[derive(Debug, Default)]
pub(super) struct Refusal(Mutex<Option<rustls::Error>>);

impl Spoken {
    /// Its name in ALPN (IANA's registry of ALPN protocol IDs).
    const fn alpn(self) -> &'static str {
        match self {
            Spoken::Dns => "dot",
            Spoken::Http2 => "h2",
            Spoken::Quic => "doq",
            Spoken::Http3 => "h3",
        }
    }
}

impl Trust {
    /// Trusts these authorities.
    ///
    /// # Errors
    /// When there are none.
    pub(super) fn new(roots: &Roots) -> Result<Trust, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(roots.store());
        let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Trust { provider, chain })
    }

    /// What connects to whoever has this identity, to speak this, and what was last wrong with whoever has not.
    pub(super) fn config(
        &self,
        identity: &Arc<Identity>,
        spoken: Spoken,
    ) -> Result<(ClientConfig, Arc<Refusal>), rustls::Error> {
        let refusal = Arc::new(Refusal::default());
        let verifier = Verifier {
            provider: Arc::clone(&self.provider),
            chain: Arc::clone(&self.chain),
            identity: Arc::clone(identity),
            refusal: Arc::clone(&refusal),
        };
        // RFC 9325 §3.1.1: TLS 1.2 and 1.3, and nothing before them. What rustls calls dangerous is that the verifier is ours: it
        // leaves all to rustls' own and then asks for more.
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![spoken.alpn().as_bytes().to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        // Early data can be sent again by whoever records it, and a question could be told by what it makes the server do
        // (RFC 8446 §8).
        config.enable_early_data = false;
        Ok((config, refusal))
    }
}

impl<C> Tls<C> {
    /// Shakes hands on what `connect` opens, and believes nobody but whoever has this identity.
    pub(super) fn new(
        connect: C,
        spoken: Spoken,
        identity: &Arc<Identity>,
        trust: &Result<Trust, rustls::Error>,
    ) -> Tls<C> {
        let config = match trust {
            Ok(trust) => trust.config(identity, spoken).map(|(config, _)| Arc::new(config)),
            Err(error) => Err(error.clone()),
        };
        Tls { connect, identity: Arc::clone(identity), spoken, config }
    }
}

impl<C: Connect> Connect for Tls<C>
where
    C::Stream: Unpin,
{
    type Stream = TlsStream<C::Stream>;

    const PADDED: bool = true;

    async fn connect(&self) -> io::Result<Self::Stream> {
        let connector = TlsConnector::from(self.config.clone().map_err(io::Error::other)?);
        let (identity, spoken) = (Arc::clone(&self.identity), self.spoken);
        self.connect.connect_proven(Handshake { connector, identity, spoken }).await
    }

    fn renew(&self) {
        self.connect.renew();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Prove<S> for Handshake {
    type Proven = TlsStream<S>;

    async fn prove(self, stream: S) -> io::Result<TlsStream<S>> {
        let stream = self.connector.connect(self.identity.name().clone(), stream).await?;
        // Who agrees on nothing may speak DNS all the same. Of HTTP there are several, and RFC 9113 §3.2 has HTTP/2 agreed on.
        let agreed = stream.get_ref().1.alpn_protocol() == Some(self.spoken.alpn().as_bytes());
        match self.spoken {
            Spoken::Http2 if !agreed => Err(io::Error::other(BadHttp::OtherVersion(self.spoken.alpn()))),
            _ => Ok(stream),
        }
    }
}

impl Refusal {
    /// Takes it, if there is one.
    pub(super) fn take(&self) -> Option<rustls::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps it.
    fn keep(&self, error: &rustls::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
    }
}

impl Verifier {
    /// Verifies chain, time and name, then the key, then who is in the chain.
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        // RFC 7858 §4.2 lets a pin do alone; here it is asked for beside all else, so that it can only narrow who is believed.
        let spki = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        if !self.identity.takes_key(&spki) {
            // rustls itself never gives this one, so it says what it was (`failure.rs`).
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        match self.is_in_named_chain(end_entity, intermediates, server_name, now) {
            true => Ok(verified),
            false => Err(CertificateError::Other(OtherError(Arc::new(OtherChain))).into()),
        }
    }

    /// Whether `end_entity` is a certificate that is named, or one that is signed it, itself or by way of others: one that merely
    /// stands beside it proves nothing, for anybody may send it along.
    fn is_in_named_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> bool {
        let is_named = |certificate: &CertificateDer<'_>| {
            tbs::of(certificate).is_some_and(|tbs| self.identity.names_certificate(tbs))
        };
        let has_signed = |named: &CertificateDer<'_>| {
            let mut alone = RootCertStore::empty();
            alone.add(named.clone().into_owned()).ok()?;
            let chain = WebPkiServerVerifier::builder_with_provider(alone.into(), Arc::clone(&self.provider));
            chain.build().ok()?.verify_server_cert(end_entity, intermediates, server_name, &[], now).ok()
        };
        !self.identity.names_certificates()
            || is_named(end_entity)
            || intermediates
                .iter()
                .any(|certificate| is_named(certificate) && has_signed(certificate).is_some())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, server_name, ocsp_response, now)
            .inspect_err(|error| self.refusal.keep(error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
