//! Connections of QUIC, to servers that prove who they are (RFC 9000, RFC 9001).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, NoneTokenStore, TransportConfig, TransportErrorCode,
    VarInt,
};
use rustls::AlertDescription;

use super::failure::Failure;
use super::identity::Identity;
use super::places::Places;
use super::stream::IDLE;
use super::tls::{Refusal, Spoken, Trust};
use crate::dns::wire::MAX_MESSAGE_LEN;

/// Octets on one stream that nobody has read yet: a message, and what frames it.
const MAX_UNREAD_HERE: u32 = MAX_MESSAGE_LEN as u32 + 1024;
/// The same on one connection.
const MAX_UNREAD: u32 = 1 << 20;
/// Octets that are not yet sent: many times the queries that may wait on a connection.
const MAX_UNSENT: u64 = 1 << 18;
/// By which HTTP/3 closes where nothing is wrong (RFC 9114 §8.1); DoQ has 0 for it (RFC 9250 §4.3).
const H3_NO_ERROR: u64 = 0x100;

/// Connects to one server.
#[derive(Debug)]
pub(super) struct Quic {
    server: Places,
    identity: Arc<Identity>,
    /// One for all connections, so that later ones resume the session of earlier ones; and what it last said of a certificate.
    config: Result<(ClientConfig, Arc<Refusal>), String>,
}

impl Quic {
    /// Connects to it there, to speak this, and believes nobody but whoever has this identity. The server may open as many
    /// streams of its own, in one direction.
    pub(super) fn new(
        server: Places,
        spoken: Spoken,
        identity: &Arc<Identity>,
        trust: &Result<Trust, rustls::Error>,
        their_streams: u32,
    ) -> Quic {
        let config = config(spoken, identity, trust, their_streams);
        Quic { server, identity: Arc::clone(identity), config }
    }

    /// The way there may be another one by now.
    pub(super) fn renew(&self) {
        self.server.renew();
    }

    /// Connects; bounded in time by whoever waits.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let (config, refusal) = self.config.as_ref().map_err(|error| Failure::Tls(error.clone()))?;
        let connect = |addr| {
            let (config, refusal) = (config.clone(), Arc::clone(refusal));
            let name = self.identity.name().to_str().into_owned();
            async move { handshake(addr, config, &name, &refusal).await }
        };
        self.server.connect(connect).await
    }
}

/// How one server is spoken to.
fn config(
    spoken: Spoken,
    identity: &Arc<Identity>,
    trust: &Result<Trust, rustls::Error>,
    their_streams: u32,
) -> Result<(ClientConfig, Arc<Refusal>), String> {
    let trust = trust.as_ref().map_err(ToString::to_string)?;
    let (tls, refusal) = trust.config(identity, spoken).map_err(|error| error.to_string())?;
    let tls = QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?;
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IDLE.try_into().map_err(|_| "too long a time".to_owned())?))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(their_streams))
        .stream_receive_window(VarInt::from_u32(MAX_UNREAD_HERE))
        .receive_window(VarInt::from_u32(MAX_UNREAD))
        .send_window(MAX_UNSENT)
        .datagram_receive_buffer_size(None);
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    // A token (RFC 9000 §8.1.3) would tell whose connection this is where the session does not, and Knot DNS 3.5 does not answer who
    // brings one.
    config.token_store(Arc::new(NoneTokenStore));
    Ok((config, refusal))
}

/// Shakes hands with the server at an address. What is sent before that is done can be sent again by whoever records it (RFC 9001
/// §9.2), so nothing is.
async fn handshake(
    addr: SocketAddr,
    config: ClientConfig,
    name: &str,
    refusal: &Refusal,
) -> Result<Connection, Failure> {
    let any = match addr {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    // A socket for one connection, so that each has a port of its own. That nobody listens there is not heard: quinn takes no notice
    // of ICMP, which anybody can send.
    let endpoint = Endpoint::client(any)?;
    let connecting = endpoint.connect_with(config, addr, name);
    let connecting = connecting.map_err(|error| Failure::Failed(format!("QUIC: {error}")))?;
    connecting.await.map_err(|error| match &error {
        // What our verifier says of a certificate is in words by now; it has kept what it said.
        ConnectionError::TransportError(said) if is_alert(said.code) => {
            refusal.take().map_or_else(|| failure(&error), |refused| Failure::from(&refused))
        }
        _ => failure(&error),
    })
}

/// Whether an error is an alert of TLS (RFC 9001 §4.8).
fn is_alert(code: TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

/// What became of a connection. What a server says of it in its own words is not repeated.
pub(super) fn failure(error: &ConnectionError) -> Failure {
    match error {
        ConnectionError::ConnectionClosed(close) if is_alert(close.error_code) => {
            // The code is below 512.
            let alert = AlertDescription::from(u64::from(close.error_code) as u8);
            Failure::Tls(format!("received fatal alert: {alert:?}"))
        }
        ConnectionError::ConnectionClosed(close) => match close.error_code {
            TransportErrorCode::NO_ERROR => Failure::Closed,
            TransportErrorCode::CONNECTION_REFUSED => Failure::Refused,
            code => Failure::Failed(format!("QUIC: {code}")),
        },
        ConnectionError::ApplicationClosed(close) => match close.error_code.into_inner() {
            0 | H3_NO_ERROR => Failure::Closed,
            code => Failure::Failed(format!("QUIC: closed with error {code:#x}")),
        },
        ConnectionError::TransportError(error) if is_alert(error.code) => Failure::Tls(error.reason.clone()),
        // A server that was started anew knows nothing of the connection.
        ConnectionError::Reset | ConnectionError::LocallyClosed => Failure::Closed,
        ConnectionError::TimedOut => Failure::TimedOut,
        other => Failure::Failed(format!("QUIC: {other}")),
    }
}
