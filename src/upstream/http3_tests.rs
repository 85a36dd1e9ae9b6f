//! Asking over HTTP/3, of a server in the process: what goes over the wire, and what becomes of connections.

use std::future::pending;
use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use bytes::Buf;
use h3::error::Code;
use h3::server::{Connection, RequestResolver};
use http::{Method, Response};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig};
use rustls::version;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Exchange;
use super::doh::Target;
use super::failure::{BadCertificate, BadHttp, Failure};
use super::http3::{Http3, THEIR_STREAMS};
use super::message::Manner;
use super::places::Places;
use super::pool::Pool;
use super::quic::Quic;
use super::server::{Protocol, Server};
use super::testing::{Authority, ask_at_once};
use super::tls::{Spoken, Trust};
use crate::dns::testing::question;
use crate::iana::Rtype;

/// Far above what anything takes here.
const PATIENCE: Duration = Duration::from_secs(20);
/// Methods, what begins the queries in their URLs, and messages.
type Requests = Arc<Mutex<Vec<(Method, String, Vec<u8>)>>>;
/// What h3 takes for octets in these tests.
type Octets = Cursor<Vec<u8>>;

/// What a server does with the request of a number on the connection of a number, both from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Answer,
    /// Answers, and takes no more requests on this connection.
    AnswerAndGo,
    /// Is gone, and says so.
    Close,
    /// Does not look at it.
    Reject,
    /// Answers with this status and media type.
    Say(u16, &'static str),
    /// Answers with this many octets.
    Long(usize),
    /// Never answers, and holds the stream open.
    Nothing,
}

/// A server on loopback that follows a script.
struct Scripted {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Requests,
    authority: Authority,
    serving: tokio::task::JoinHandle<()>,
}

impl Scripted {
    fn new(alpn: &str, script: fn(usize, usize) -> Does) -> Scripted {
        let authority = Authority::new();
        let tls = authority.certifies_well().config(&[&version::TLS13], &[alpn]);
        let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let addr = endpoint.local_addr().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Requests::default());
        let serving = tokio::spawn({
            let (connections, requests) = (connections.clone(), requests.clone());
            async move {
                let mut serving = JoinSet::new();
                while let Some(incoming) = endpoint.accept().await {
                    let number = connections.fetch_add(1, Ordering::Relaxed);
                    let requests = requests.clone();
                    serving.spawn(async move {
                        if let Ok(connection) = incoming.await {
                            serve(connection, number, script, requests).await;
                        }
                    });
                }
            }
        });
        Scripted { addr, connections, requests, authority, serving }
    }

    /// What asks it by a URL that has these parts before and behind its address.
    fn asked_as(&self, host: &str, path: &str) -> Arc<Pool<Http3>> {
        let server: Server = format!("h3://{host}@{}{path}", self.addr).parse().unwrap();
        let Protocol::Http3(identity, resource) = &server.protocol else { panic!("{server}") };
        let trust = Trust::new(&self.authority.roots());
        let quic = Quic::new(Places::At(server.addr), Spoken::Http3, identity, &trust, THEIR_STREAMS);
        let http = Http3::new(quic, Target::new(identity, server.addr, resource));
        Arc::new(Pool::new(http, Duration::from_secs(1)))
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One connection of the server.
async fn serve(quic: quinn::Connection, number: usize, script: fn(usize, usize) -> Does, requests: Requests) {
    let mut connection: Connection<_, Octets> =
        Connection::new(h3_quinn::Connection::new(quic.clone())).await.unwrap();
    for count in 0.. {
        let Ok(Some(resolver)) = connection.accept().await else { break };
        let does = script(number, count);
        if does == Does::Close {
            quic.close(0x100u32.into(), b"");
            return;
        }
        let answering = tokio::spawn(answer(resolver, does, requests.clone()));
        if does == Does::AnswerAndGo {
            connection.shutdown(0).await.unwrap();
            answering.await.unwrap();
        }
    }
}

/// One request: its answer is the question with QR and RA set.
async fn answer(resolver: RequestResolver<h3_quinn::Connection, Octets>, does: Does, requests: Requests) {
    let (request, mut stream) = resolver.resolve_request().await.unwrap();
    let mut message = Vec::new();
    while let Some(mut octets) = stream.recv_data().await.unwrap() {
        message.extend_from_slice(&octets.copy_to_bytes(octets.remaining()));
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    if let Some(encoded) = query.strip_prefix("dns=") {
        message = BASE64_URL_SAFE_NO_PAD.decode(encoded).unwrap();
    }
    let seen = (request.method().clone(), query.chars().take(4).collect(), message.clone());
    requests.lock().unwrap().push(seen);
    message[2] |= 0x80;
    message[3] |= 0x80;
    let (status, media_type) = match does {
        Does::Say(status, media_type) => (status, media_type),
        Does::Reject => return stream.stop_stream(Code::H3_REQUEST_REJECTED),
        Does::Nothing => return pending().await,
        Does::Long(octets) => {
            message = vec![0; octets];
            (200, "application/dns-message")
        }
        _ => (200, "application/dns-message"),
    };
    let response = Response::builder().status(status).header("content-type", media_type).body(()).unwrap();
    let _ = stream.send_response(response).await;
    let _ = stream.send_data(Cursor::new(message)).await;
    let _ = stream.finish().await;
}

async fn ask(pool: &Pool<Http3>) -> Result<Vec<u8>, Failure> {
    timeout(PATIENCE, pool.exchange(&question("www.example", Rtype::A), Manner::PLAIN)).await.expect("an end")
}

#[tokio::test]
async fn questions_share_a_connection_and_each_has_its_reply() {
    for (path, expected) in [("", (Method::POST, "")), ("/q{?dns}", (Method::GET, "dns="))] {
        let scripted = Scripted::new("h3", |_, _| Does::Answer);
        let pool = scripted.asked_as("dns.test", path);
        ask(&pool).await.unwrap();
        assert_eq!(ask_at_once(&pool, 90).await, 90);
        assert_eq!(scripted.connections(), 1);
        for (method, query, message) in scripted.requests.lock().unwrap().iter() {
            assert_eq!((method, query.as_str()), (&expected.0, expected.1));
            // RFC 8484 §4.1, and RFC 8467 §4.1.
            assert_eq!((&message[..2], message.len()), (&[0, 0][..], 128));
        }
    }
}

#[tokio::test]
async fn a_question_that_finds_its_connection_dead_is_asked_once_more() {
    type Case = (&'static str, fn(usize, usize) -> Does, &'static [bool], usize);
    let cases: [Case; 5] = [
        ("kept", |_, _| Does::Answer, &[true; 3], 1),
        ("says that it goes", |_, _| Does::AnswerAndGo, &[true; 3], 3),
        ("closes before", |_, n| if n == 0 { Does::Answer } else { Does::Close }, &[true; 3], 3),
        ("rejects", |_, n| if n == 0 { Does::Answer } else { Does::Reject }, &[true; 2], 2),
        ("always closes", |_, _| Does::Close, &[false; 2], 4),
    ];
    for (what, script, answered, connections) in cases {
        let scripted = Scripted::new("h3", script);
        let pool = scripted.asked_as("dns.test", "");
        for expected in answered {
            let result = ask(&pool).await;
            assert_eq!(result.is_ok(), *expected, "{what}: {result:?}");
        }
        assert_eq!(scripted.connections(), connections, "{what}");
    }
}

#[tokio::test]
async fn who_gives_up_leaves_the_connection_to_others() {
    let scripted = Scripted::new("h3", |_, n| if n == 1 { Does::Nothing } else { Does::Answer });
    let pool = scripted.asked_as("dns.test", "");
    ask(&pool).await.unwrap();
    let asking = tokio::spawn({
        let pool = pool.clone();
        async move { ask(&pool).await }
    });
    while scripted.requests.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    ask(&pool).await.unwrap();
    asking.abort();
    // h3-quinn must not have panicked over what was being read.
    assert!(asking.await.unwrap_err().is_cancelled());
    ask(&pool).await.unwrap();
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn what_is_no_answer_is_told() {
    type Case = (&'static str, &'static str, fn(usize, usize) -> Does, Failure);
    let no_alpn = Failure::Tls("received fatal alert: NoApplicationProtocol".to_owned());
    let cases: [Case; 7] = [
        ("dns.test", "h3", |_, _| Does::Say(302, "text/html"), BadHttp::Redirect(302).into()),
        ("dns.test", "h3", |_, _| Does::Say(404, "text/html"), BadHttp::Status(404).into()),
        ("dns.test", "h3", |_, _| Does::Say(200, "text/html"), BadHttp::MediaType.into()),
        ("dns.test", "h3", |_, _| Does::Long(70_000), BadHttp::TooLong.into()),
        ("dns.test", "h3", |_, _| Does::Long(65_535), Failure::WrongReply),
        ("dns.test", "doq", |_, _| Does::Answer, no_alpn),
        ("other.test", "h3", |_, _| Does::Answer, Failure::Certificate(BadCertificate::OtherName)),
    ];
    for (host, alpn, script, expected) in cases {
        let scripted = Scripted::new(alpn, script);
        assert_eq!(ask(&scripted.asked_as(host, "")).await, Err(expected));
        assert_eq!(scripted.connections(), 1, "nothing is tried in another way");
    }
}
