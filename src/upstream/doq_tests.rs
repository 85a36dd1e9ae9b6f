//! Asking over QUIC, of a server in the process: whom is believed, what goes over the wire, and what becomes of connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, IdleTimeout, RecvStream, SendStream, ServerConfig, TransportConfig, VarInt,
};
use rustls::version;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::doq::Doq;
use super::failover::Failover;
use super::failure::{BadCertificate, Failure};
use super::message::Manner;
use super::places::Places;
use super::pool::Pool;
use super::quic::Quic;
use super::server::{Protocol, Server};
use super::settings::Settings;
use super::testing::{Authority, Certified, Says, Signed, ask_at_once};
use super::tls::{Spoken, Trust};
use super::{Ask, Exchange};
use crate::dns::testing::question;
use crate::iana::Rtype;

/// Half of a try, after which a connection that brings nothing is left.
const HUNG_AFTER: Duration = Duration::from_millis(300);
/// Far above what anything takes here.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a server does with the question of a number on the connection of a number, both from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Answer,
    /// Never answers, and holds the stream open.
    Nothing,
    /// Answers, and closes with this code once that was heard.
    AnswerAndClose(u32),
    /// Closes with this code.
    Close(u32),
    /// Gives the stream up with this code.
    Reset(u32),
    /// Answers with an ID that is not 0.
    WithId,
    /// Says that more comes than does.
    Short,
    /// Answers another question.
    Other,
    /// Answers twice.
    Twice,
}

/// What a server saw.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    questions: Mutex<Vec<Vec<u8>>>,
    /// The codes with which streams were given up by whoever asked.
    given_up: Mutex<Vec<Option<VarInt>>>,
    /// How connections ended.
    ends: Mutex<Vec<String>>,
}

/// A server on loopback that follows a script.
struct Scripted {
    addr: SocketAddr,
    seen: Arc<Seen>,
    authority: Authority,
    serving: tokio::task::JoinHandle<()>,
}

impl Scripted {
    /// One that is well, and closes connections that are idle for so long.
    fn new(script: fn(usize, usize) -> Does, idle: Duration) -> Scripted {
        let authority = Authority::new();
        let certified = authority.certifies_well();
        Scripted::showing(authority, &certified, "doq", script, idle)
    }

    /// One that shows this certificate and speaks this.
    fn showing(
        authority: Authority,
        certified: &Certified,
        alpn: &str,
        script: fn(usize, usize) -> Does,
        idle: Duration,
    ) -> Scripted {
        let at = (Ipv4Addr::LOCALHOST, 0).into();
        Scripted::showing_at(at, authority, (certified, alpn), script, idle)
    }

    /// The same at this address.
    fn showing_at(
        at: SocketAddr,
        authority: Authority,
        (certified, alpn): (&Certified, &str),
        script: fn(usize, usize) -> Does,
        idle: Duration,
    ) -> Scripted {
        let tls = certified.config(&[&version::TLS13], &[alpn]);
        let tls = QuicServerConfig::try_from(tls).unwrap();
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        let mut transport = TransportConfig::default();
        transport.max_idle_timeout(Some(IdleTimeout::try_from(idle).unwrap()));
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::server(config, at).unwrap();
        let (addr, seen) = (endpoint.local_addr().unwrap(), Arc::<Seen>::default());
        let serving = tokio::spawn(accept(endpoint, script, seen.clone()));
        Scripted { addr, seen, authority, serving }
    }

    /// What asks it by a URL that has these parts before and behind its address.
    fn asked_as(&self, host: &str, parameters: &str) -> Arc<Pool<Doq>> {
        self.asked_at(Places::At(self.addr), host, parameters)
    }

    /// The same wherever it is.
    fn asked_at(&self, places: Places, host: &str, parameters: &str) -> Arc<Pool<Doq>> {
        let server: Server = format!("quic://{host}{}{parameters}", self.addr).parse().unwrap();
        let Protocol::Quic(identity) = &server.protocol else { panic!("{server}") };
        let trust = Trust::new(&self.authority.roots());
        let quic = Quic::new(places, Spoken::Quic, identity, &trust, 0);
        Arc::new(Pool::new(Doq::new(quic), HUNG_AFTER))
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Takes connections.
async fn accept(endpoint: Endpoint, script: fn(usize, usize) -> Does, seen: Arc<Seen>) {
    let mut serving = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        let number = seen.connections.fetch_add(1, Ordering::Relaxed);
        let seen = seen.clone();
        serving.spawn(async move {
            let Ok(connection) = incoming.await else { return };
            let mut answering = JoinSet::new();
            for count in 0.. {
                let Ok((answer, hear)) = connection.accept_bi().await else { break };
                let does = script(number, count);
                answering.spawn(serve(connection.clone(), answer, hear, does, seen.clone()));
            }
            let end = connection.closed().await.to_string();
            seen.ends.lock().unwrap().push(end);
        });
    }
}

/// One question, which is answered with QR, RA and AD set.
async fn serve(
    connection: Connection,
    mut answer: SendStream,
    mut hear: RecvStream,
    does: Does,
    seen: Arc<Seen>,
) {
    if let Does::Close(code) = does {
        connection.close(VarInt::from_u32(code), b"for a reason");
        return;
    }
    // Ends with the stream, which the client must end.
    let octets = hear.read_to_end(70_000).await.unwrap();
    let mut message = octets[2..].to_vec();
    assert_eq!(usize::from(u16::from_be_bytes([octets[0], octets[1]])), message.len());
    seen.questions.lock().unwrap().push(message.clone());
    message[2] |= 0x80;
    message[3] |= 0xa0;
    let mut length = message.len() as u16;
    match does {
        Does::Nothing => {
            let given_up = answer.stopped().await.unwrap_or_default();
            seen.given_up.lock().unwrap().push(given_up);
            return;
        }
        Does::Reset(code) => {
            answer.reset(VarInt::from_u32(code)).unwrap();
            return;
        }
        Does::WithId => message[1] = 1,
        Does::Short => length += 1,
        Does::Other => message[13] ^= 1,
        _ => {}
    }
    let mut octets = [&length.to_be_bytes(), &message[..]].concat();
    if does == Does::Twice {
        octets.extend_from_slice(&octets.clone());
    }
    let _ = answer.write_all(&octets).await;
    let _ = answer.finish();
    if let Does::AnswerAndClose(code) = does {
        let _ = answer.stopped().await;
        connection.close(VarInt::from_u32(code), b"");
    }
}

async fn ask(pool: &Pool<Doq>) -> Result<Vec<u8>, Failure> {
    timeout(PATIENCE, pool.exchange(&question("www.example", Rtype::A), Manner::PLAIN)).await.expect("an end")
}

/// Waits until something is so.
async fn until(mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn questions_share_a_connection_and_each_has_its_reply() {
    let scripted = Scripted::new(|_, _| Does::Answer, PATIENCE);
    let pool = scripted.asked_as("dns.test@", "");
    ask(&pool).await.unwrap();
    assert_eq!(ask_at_once(&pool, 200).await, 200);
    assert_eq!(scripted.connections(), 1);
    let questions = scripted.seen.questions.lock().unwrap();
    // RFC 9250 §4.2.1, and RFC 8467 §4.1.
    assert!(questions.iter().all(|message| message[..2] == [0, 0] && message.len() == 128));
}

#[tokio::test]
async fn a_question_that_finds_its_connection_closed_is_asked_once_more() {
    type Case = (&'static str, fn(usize, usize) -> Does, &'static [bool], usize);
    let cases: [Case; 5] = [
        ("kept", |_, _| Does::Answer, &[true; 3], 1),
        ("closes after each", |_, _| Does::AnswerAndClose(0), &[true; 3], 3),
        ("closes before", |_, n| if n == 0 { Does::Answer } else { Does::Close(0) }, &[true; 3], 3),
        ("has too much to do", |_, n| if n == 0 { Does::Answer } else { Does::Close(4) }, &[true; 2], 2),
        ("always closes", |_, _| Does::Close(0), &[false; 2], 4),
    ];
    for (what, script, answered, connections) in cases {
        let scripted = Scripted::new(script, PATIENCE);
        let pool = scripted.asked_as("dns.test@", "");
        for expected in answered {
            let result = ask(&pool).await;
            assert_eq!(result.is_ok(), *expected, "{what}: {result:?}");
        }
        assert_eq!(scripted.connections(), connections, "{what}");
    }
}

#[tokio::test]
async fn a_connection_that_was_idle_for_too_long_is_replaced() {
    let scripted = Scripted::new(|_, _| Does::Answer, Duration::from_millis(50));
    let pool = scripted.asked_as("dns.test@", "");
    for connections in 1..4 {
        ask(&pool).await.unwrap();
        assert_eq!(scripted.connections(), connections);
        until(|| scripted.seen.ends.lock().unwrap().len() == connections).await;
    }
    // Either end closes it without a word.
    assert_eq!(*scripted.seen.ends.lock().unwrap(), ["timed out"; 3]);
}

#[tokio::test]
async fn a_connection_that_hangs_is_left() {
    let script = |connection, _| if connection == 0 { Does::Nothing } else { Does::Answer };
    let scripted = Scripted::new(script, PATIENCE);
    let pool = scripted.asked_as("dns.test@", "");
    assert!(timeout(2 * HUNG_AFTER, ask(&pool)).await.is_err());
    ask(&pool).await.unwrap();
    assert_eq!(scripted.connections(), 2);
    // Nobody else waited on the first one: it is closed, and nothing is wrong (DOQ_NO_ERROR, RFC 9250 §4.3).
    until(|| !scripted.seen.ends.lock().unwrap().is_empty()).await;
    assert_eq!(*scripted.seen.ends.lock().unwrap(), ["closed by peer: 0"]);
}

#[tokio::test]
async fn who_gives_up_leaves_the_connection_to_others() {
    let script = |_, n| if n == 1 { Does::Nothing } else { Does::Answer };
    let scripted = Scripted::new(script, PATIENCE);
    let pool = scripted.asked_as("dns.test@", "");
    ask(&pool).await.unwrap();
    let asking = tokio::spawn({
        let pool = pool.clone();
        async move { ask(&pool).await }
    });
    until(|| scripted.seen.questions.lock().unwrap().len() == 2).await;
    ask(&pool).await.unwrap();
    asking.abort();
    until(|| !scripted.seen.given_up.lock().unwrap().is_empty()).await;
    // DOQ_REQUEST_CANCELLED (RFC 9250 §4.3.1).
    assert_eq!(*scripted.seen.given_up.lock().unwrap(), [Some(VarInt::from_u32(3))]);
    ask(&pool).await.unwrap();
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn what_is_no_answer_is_told() {
    type Case = (fn(usize, usize) -> Does, Result<(), Failure>, &'static str);
    let failed = |what: &str| Err(Failure::Failed(what.to_owned()));
    let cases: [Case; 8] = [
        (|_, _| Does::Other, Err(Failure::WrongReply), ""),
        // What RFC 9250 §4.3.3 has a connection end for.
        (|_, _| Does::WithId, Err(Failure::WrongReply), "closed by peer: 2"),
        (|_, _| Does::Short, Err(Failure::Unreadable), "closed by peer: 2"),
        (|_, _| Does::Reset(1), failed("QUIC: DOQ_INTERNAL_ERROR"), ""),
        (|_, _| Does::Reset(0xd098_ea5e >> 3), failed("QUIC: DOQ_UNSPECIFIED_ERROR"), ""),
        (|_, _| Does::Close(0), Err(Failure::Closed), "closed"),
        (|_, _| Does::Close(5), failed("QUIC: closed with error 0x5"), "closed"),
        (|_, _| Does::Twice, Ok(()), ""),
    ];
    for (script, expected, end) in cases {
        let scripted = Scripted::new(script, PATIENCE);
        let pool = scripted.asked_as("dns.test@", "");
        // A new connection that was closed before it brought anything is believed once to have been idle.
        let connections = if matches!(expected, Err(Failure::Closed | Failure::Failed(_))) { 2 } else { 1 };
        assert_eq!(ask(&pool).await.map(drop), expected);
        assert_eq!(scripted.connections(), connections, "nothing is tried in another way");
        if !end.is_empty() {
            until(|| scripted.seen.ends.lock().unwrap().iter().any(|said| said.starts_with(end))).await;
        }
    }
}

#[tokio::test]
async fn whoever_does_not_prove_who_it_is_is_asked_nothing() {
    use BadCertificate::{Expired, OtherChain, OtherKey, OtherName, UnknownIssuer};
    let always = (2020, 2100);
    let nobody = format!("{}=", "A".repeat(43));
    let bad = |what| Err(Failure::Certificate(what));
    let no_alpn = Err(Failure::Tls("received fatal alert: NoApplicationProtocol".to_owned()));
    for (host, parameters, name, years, signed, alpn, expected) in [
        ("dns.test@", String::new(), "dns.test", always, Signed::ByAuthority, "doq", Ok(())),
        ("", String::new(), "127.0.0.1", always, Signed::ByAuthority, "doq", Ok(())),
        ("dns.test@", String::new(), "dns.test", always, Signed::ByAuthority, "h3", no_alpn),
        ("dns.test@", String::new(), "other.test", always, Signed::ByAuthority, "doq", bad(OtherName)),
        ("", String::new(), "dns.test", always, Signed::ByAuthority, "doq", bad(OtherName)),
        ("dns.test@", String::new(), "dns.test", (2020, 2021), Signed::ByAuthority, "doq", bad(Expired)),
        ("dns.test@", String::new(), "dns.test", always, Signed::ByItself, "doq", bad(UnknownIssuer)),
        (
            "dns.test@",
            format!("?pin={nobody}"),
            "dns.test",
            always,
            Signed::ByAuthority,
            "doq",
            bad(OtherKey),
        ),
        (
            "dns.test@",
            format!("?tbs={nobody}"),
            "dns.test",
            always,
            Signed::ByAuthority,
            "doq",
            bad(OtherChain),
        ),
    ] {
        let authority = Authority::new();
        let certified = authority.certifies(name, years, signed);
        let scripted = Scripted::showing(authority, &certified, alpn, |_, _| Does::Answer, PATIENCE);
        let pool = scripted.asked_as(host, &parameters);
        for _ in 0..2 {
            assert_eq!(ask(&pool).await.map(drop), expected, "{host} {parameters} {name} {alpn}");
        }
        let questions = scripted.seen.questions.lock().unwrap().len();
        assert_eq!(questions, if expected.is_ok() { 2 } else { 0 });
    }
}

#[tokio::test]
async fn a_server_that_goes_costs_no_question() {
    let authority = Authority::new();
    let certified = authority.certifies_well();
    let roots = authority.roots();
    let mut servers = Vec::new();
    for _ in 0..2 {
        let scripted = Scripted::showing(Authority::new(), &certified, "doq", |_, _| Does::Answer, PATIENCE);
        servers.push(scripted);
    }
    let asked = servers.iter().map(|scripted| format!("quic://dns.test@{}", scripted.addr).parse().unwrap());
    let settings = Settings { servers: asked.collect(), roots: roots.clone(), ..Settings::default() };
    let trust = Trust::new(&roots);
    let make = |server: &Server| {
        let Protocol::Quic(identity) = &server.protocol else { panic!("{server}") };
        let quic = Quic::new(Places::At(server.addr), Spoken::Quic, identity, &trust, 0);
        Pool::new(Doq::new(quic), HUNG_AFTER)
    };
    let failover = Failover::new(&settings, make, None);
    for n in 0..40 {
        if n == 20 {
            servers.remove(0);
        }
        let name = format!("n{n}.example");
        failover.ask(&question(&name, Rtype::A)).await.unwrap_or_else(|error| panic!("{n}: {error}"));
    }
    assert_eq!(servers[0].connections(), 1);
}

#[tokio::test]
async fn where_somebody_else_answers_another_address_is_tried() {
    let authority = Authority::new();
    let certified = authority.certifies("portal.test", (2020, 2100), Signed::ByAuthority);
    let portal = loop {
        let portal = Scripted::showing(Authority::new(), &certified, "doq", |_, _| Does::Answer, PATIENCE);
        // The same port of the other address may be somebody's.
        if std::net::UdpSocket::bind(("127.0.0.2", portal.addr.port())).is_ok() {
            break portal;
        }
    };
    let (port, certified) = (portal.addr.port(), authority.certifies_well());
    let at = ([127, 0, 0, 2], port).into();
    let scripted = Scripted::showing_at(at, authority, (&certified, "doq"), |_, _| Does::Answer, PATIENCE);
    let pool = scripted.asked_at(Says::places(&[&[[127, 0, 0, 1], [127, 0, 0, 2]]], port), "dns.test@", "");
    ask(&pool).await.unwrap();
    // Where the other one is not told, it is found when the host is looked up once more.
    let told = Says::places(&[&[[127, 0, 0, 1]], &[[127, 0, 0, 2]]], port);
    let pool = scripted.asked_at(told, "dns.test@", "");
    assert_eq!(ask(&pool).await, Err(Failure::Certificate(BadCertificate::OtherName)));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    ask(&pool).await.unwrap();
    assert_eq!(portal.seen.questions.lock().unwrap().len(), 0);
}
