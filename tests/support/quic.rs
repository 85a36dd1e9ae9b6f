//! A server that is asked over QUIC, in the test's own process: what Debian 12 has for that needs a network card of its own.

use std::io::Cursor;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Buf;
use h3::server::RequestResolver;
use http::Response;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, EndpointConfig, RecvStream, SendStream, TokioRuntime};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// What every name has: an address, for a minute, its name that of the question.
const RECORD: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07";
/// The longest query that is read.
const MAX_QUERY_LEN: usize = 4096;
/// What h3 takes for octets here.
type Octets = Cursor<Vec<u8>>;

/// What is spoken on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// DNS over QUIC (RFC 9250).
    Doq,
    /// DNS over HTTP/3 (RFC 8484 over RFC 9114), whatever the path.
    Http3,
}

/// A server that serves. Dropping it ends it.
pub struct Quic {
    /// Where.
    pub addr: SocketAddr,
    /// Ends it by being dropped.
    end: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

impl Quic {
    /// Answers every question at this socket, with the certificate and key of these files.
    pub fn start(socket: UdpSocket, (pem, key): (&Path, &Path), spoken: Spoken) -> Quic {
        let addr = socket.local_addr().expect("an address");
        let chain = CertificateDer::pem_file_iter(pem).expect("a file");
        let chain = chain.collect::<Result<_, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("a version");
        let mut tls = builder.with_no_client_auth().with_single_cert(chain, key).expect("a pair");
        tls.alpn_protocols = vec![match spoken {
            Spoken::Doq => b"doq".to_vec(),
            Spoken::Http3 => b"h3".to_vec(),
        }];
        let tls = QuicServerConfig::try_from(tls).expect("a cipher for QUIC");
        let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        let (end, ended) = oneshot::channel();
        let serving = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let system = Arc::new(TokioRuntime);
                let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, system);
                tokio::select! {
                    () = accept(endpoint.expect("a socket of this machine"), spoken) => {}
                    _ = ended => {}
                }
            });
        });
        Quic { addr, end: Some(end), serving: Some(serving) }
    }
}

impl Drop for Quic {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

/// Takes connections.
async fn accept(endpoint: Endpoint, spoken: Spoken) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            match spoken {
                Spoken::Doq => dedicated(connection).await,
                Spoken::Http3 => http(connection).await,
            }
        });
    }
}

/// One connection of DNS over QUIC.
async fn dedicated(connection: Connection) {
    while let Ok((answer, hear)) = connection.accept_bi().await {
        tokio::spawn(reply(answer, hear));
    }
}

/// One question of it. Whoever asked may be gone.
async fn reply(mut answer: SendStream, mut hear: RecvStream) {
    let Ok(octets) = hear.read_to_end(MAX_QUERY_LEN).await else { return };
    let message = answered(octets.get(2..).unwrap_or_default());
    let length = u16::try_from(message.len()).expect("a message").to_be_bytes();
    let _ = answer.write_all(&[&length, &message[..]].concat()).await;
    let _ = answer.finish();
}

/// One connection of HTTP/3.
async fn http(connection: Connection) {
    let connection = h3_quinn::Connection::new(connection);
    let Ok(mut connection) = h3::server::Connection::<_, Octets>::new(connection).await else { return };
    while let Ok(Some(resolver)) = connection.accept().await {
        tokio::spawn(respond(resolver));
    }
}

/// One request of it, which has the query in its body.
async fn respond(resolver: RequestResolver<h3_quinn::Connection, Octets>) {
    let Ok((_, mut stream)) = resolver.resolve_request().await else { return };
    let mut query = Vec::new();
    while let Ok(Some(mut octets)) = stream.recv_data().await {
        query.extend_from_slice(&octets.copy_to_bytes(octets.remaining()));
    }
    let response = Response::builder().header("content-type", "application/dns-message");
    let _ = stream.send_response(response.body(()).expect("a head")).await;
    let _ = stream.send_data(Cursor::new(answered(&query))).await;
    let _ = stream.finish().await;
}

/// The reply to a query: its question, and the address that every name has.
fn answered(query: &[u8]) -> Vec<u8> {
    let mut end = 12;
    while let Some(length @ 1..) = query.get(end) {
        end += 1 + usize::from(*length);
    }
    let question = query.get(12..end + 5).expect("a question");
    let head = [query[0], query[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    [&head, question, RECORD].concat()
}
