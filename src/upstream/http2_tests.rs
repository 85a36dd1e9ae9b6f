//! Asking over HTTP/2, of a server in the process: what goes over the wire, and what becomes of connections.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use h2::Reason;
use h2::server::{Builder, Connection, SendResponse};
use http::{Method, Request, Response};
use rustls::{ServerConfig, version};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use super::Exchange;
use super::doh::Target;
use super::failure::{BadCertificate, BadHttp, Failure};
use super::http2::Http2;
use super::message::Manner;
use super::pool::{MAX_WITH_LEFT, Pool};
use super::server::{Protocol, Server};
use super::stream::Connect;
use super::testing::{Authority, Signed, ask_at_once};
use super::tls::{Spoken, Tls, Trust};
use crate::dns::testing::question;
use crate::iana::Rtype;

/// The server that most tests ask.
const SERVER: &str = "https://dns.test@192.0.2.1/dns-query";
/// What h2 takes for octets in these tests.
type Octets = io::Cursor<Vec<u8>>;

/// What a server does with the request of a number on the connection of a number, both from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    /// Answers at once.
    Answer,
    /// Never answers, and holds the stream open.
    Nothing,
    /// Answers once there are so many that wait, the last one first.
    AnswerAt(usize),
    /// Answers, and takes no more requests on this connection.
    AnswerAndGo,
    /// Answers, and is gone.
    AnswerAndVanish,
    /// Takes no more requests on this connection, and never answers this one.
    NothingAndGo,
    /// Takes no more requests on this connection, and does not look at this one.
    Refuse,
    /// Is gone.
    Vanish,
    /// Resets the stream for this reason.
    Reset(Reason),
    /// Answers with this status and media type.
    Say(u16, &'static str),
    /// Answers with this many octets.
    Long(usize),
    /// Answers another question.
    Other,
}

/// What a server saw.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<(Request<()>, Vec<u8>)>>,
    /// How many connections ended as HTTP/2 has it.
    ended_well: AtomicUsize,
    /// How many requests were given up by whoever asked.
    given_up: AtomicUsize,
    /// The most requests that waited on one connection.
    most: AtomicUsize,
}

/// Opens pipes to a server that follows a script.
#[derive(Clone)]
struct Scripted {
    /// None without TLS.
    tls: Option<Arc<ServerConfig>>,
    script: fn(usize, usize) -> Does,
    /// How many requests it takes at a time on one connection.
    max: u32,
    seen: Arc<Seen>,
}

impl Scripted {
    fn new(script: fn(usize, usize) -> Does) -> Scripted {
        Scripted { tls: None, script, max: 100, seen: Arc::default() }
    }

    /// What asks it, without TLS.
    fn asked_as(&self, text: &str) -> Arc<Pool<Http2<Scripted>>> {
        let server: Server = text.parse().unwrap();
        let Protocol::Https(identity, resource) = &server.protocol else { panic!("{text}") };
        let http = Http2::new(self.clone(), Target::new(identity, server.addr, resource));
        Arc::new(Pool::new(http, Duration::from_secs(1)))
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }
}

impl Connect for Scripted {
    type Stream = DuplexStream;

    const PADDED: bool = true;

    async fn connect(&self) -> io::Result<DuplexStream> {
        let number = self.seen.connections.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = duplex(1 << 16);
        let server = self.clone();
        tokio::spawn(async move {
            match &server.tls {
                None => server.serve(theirs, number).await,
                Some(config) => {
                    if let Ok(stream) = TlsAcceptor::from(config.clone()).accept(theirs).await {
                        server.serve(stream, number).await;
                    }
                }
            }
        });
        Ok(ours)
    }
}

impl Scripted {
    /// One connection of the server.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, number: usize) {
        let shaken = Builder::new().max_concurrent_streams(self.max).handshake::<_, Octets>(stream).await;
        let Ok(mut connection) = shaken else { return };
        let mut held: Vec<(SendResponse<Octets>, Vec<u8>)> = Vec::new();
        for count in 0.. {
            let Some(Ok((request, respond))) = accept(&mut connection, &mut held, &self.seen).await else {
                self.seen.ended_well.fetch_add(1, Ordering::Relaxed);
                return;
            };
            let does = (self.script)(number, count);
            if does == Does::Vanish {
                return;
            }
            if does == Does::Refuse {
                connection.abrupt_shutdown(Reason::NO_ERROR);
                turn(&mut connection).await;
                return;
            }
            let (head, mut body) = request.into_parts();
            let mut message = Vec::new();
            if head.method == Method::GET {
                let query = head.uri.query().unwrap().strip_prefix("dns=").unwrap();
                message = BASE64_URL_SAFE_NO_PAD.decode(query).unwrap();
            }
            loop {
                tokio::select! {
                    octets = body.data() => match octets {
                        Some(Ok(octets)) => message.extend_from_slice(&octets),
                        _ => break,
                    },
                    _ = poll_fn(|context| connection.poll_closed(context)) => return,
                }
            }
            self.seen.requests.lock().unwrap().push((Request::from_parts(head, ()), message.clone()));
            held.push((respond, message));
            self.seen.most.fetch_max(held.len(), Ordering::Relaxed);
            self.act(does, &mut held);
            match does {
                Does::AnswerAndGo | Does::NothingAndGo => connection.graceful_shutdown(),
                Does::AnswerAndVanish => {
                    turn(&mut connection).await;
                    return;
                }
                _ => {}
            }
        }
    }

    /// Does what is to be done about those that wait.
    fn act(&self, does: Does, held: &mut Vec<(SendResponse<Octets>, Vec<u8>)>) {
        match does {
            Does::AnswerAt(many) if held.len() < many => {}
            Does::Nothing | Does::NothingAndGo | Does::Refuse | Does::Vanish => {}
            Does::AnswerAt(_) => {
                while let Some((respond, message)) = held.pop() {
                    answer(respond, 200, "application/dns-message", reply(message));
                }
            }
            _ => {
                let (mut respond, message) = held.pop().unwrap();
                match does {
                    Does::Reset(reason) => respond.send_reset(reason),
                    Does::Say(status, media_type) => answer(respond, status, media_type, reply(message)),
                    Does::Long(octets) => answer(respond, 200, "application/dns-message", vec![0; octets]),
                    Does::Other => {
                        let mut other = reply(message);
                        other[13] ^= 1;
                        answer(respond, 200, "application/dns-message", other);
                    }
                    _ => answer(respond, 200, "application/dns-message", reply(message)),
                }
            }
        }
    }
}

/// The next request, those that wait watched meanwhile: who is given up is forgotten.
async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S, Octets>,
    held: &mut Vec<(SendResponse<Octets>, Vec<u8>)>,
    seen: &Seen,
) -> Option<Result<(Request<h2::RecvStream>, SendResponse<Octets>), h2::Error>> {
    poll_fn(|context| {
        held.retain_mut(|(respond, _)| match respond.poll_reset(context) {
            Poll::Pending => true,
            Poll::Ready(_) => {
                seen.given_up.fetch_add(1, Ordering::Relaxed);
                false
            }
        });
        connection.poll_accept(context)
    })
    .await
}

/// Lets a connection write what it has to.
async fn turn<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Connection<S, Octets>) {
    for _ in 0..10 {
        poll_fn(|context| {
            let _ = connection.poll_closed(context);
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }
}

/// A query as its reply.
fn reply(mut message: Vec<u8>) -> Vec<u8> {
    message[2] |= 0x80;
    message[3] |= 0x80;
    message
}

/// Sends a response.
fn answer(mut respond: SendResponse<Octets>, status: u16, media_type: &str, body: Vec<u8>) {
    let mut response = Response::builder().status(status);
    if !media_type.is_empty() {
        response = response.header("content-type", media_type);
    }
    let sending = respond.send_response(response.body(()).unwrap(), false);
    // Whoever gave up does not listen.
    if let Ok(mut sending) = sending {
        let _ = sending.send_data(io::Cursor::new(body), true);
    }
}

async fn ask(pool: &Pool<Http2<Scripted>>) -> Result<Vec<u8>, Failure> {
    pool.exchange(&question("www.example", Rtype::A), Manner::PLAIN).await
}

/// Lets the server's tasks come to where they wait.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn questions_share_a_connection_and_each_has_its_reply() {
    let scripted = Scripted::new(|_, n| if n == 0 { Does::Answer } else { Does::AnswerAt(50) });
    let pool = scripted.asked_as(SERVER);
    ask(&pool).await.unwrap();
    assert_eq!(ask_at_once(&pool, 50).await, 50);
    assert_eq!(scripted.connections(), 1);
}

#[tokio::test]
async fn a_request_is_what_it_must_be_and_no_more() {
    for (server, method, url) in [
        (SERVER, Method::POST, "https://dns.test/dns-query"),
        ("https://dns.test@192.0.2.1:444/q{?dns}", Method::GET, "https://dns.test:444/q?dns="),
    ] {
        let scripted = Scripted::new(|_, _| Does::Answer);
        ask(&scripted.asked_as(server)).await.unwrap();
        let requests = scripted.seen.requests.lock().unwrap();
        let (request, message) = &requests[0];
        assert_eq!(*request.method(), method);
        assert!(request.uri().to_string().starts_with(url), "{}", request.uri());
        let names: Vec<&str> = request.headers().keys().map(|name| name.as_str()).collect();
        assert!(
            names.iter().all(|name| ["accept", "content-type", "content-length"].contains(name)),
            "{names:?}"
        );
        // RFC 8484 §4.1 and RFC 8467 §4.1.
        assert_eq!((&message[..2], message.len()), (&[0, 0][..], 128));
    }
}

#[tokio::test]
async fn a_question_that_finds_its_connection_dead_is_asked_once_more() {
    type Case = (&'static str, fn(usize, usize) -> Does, &'static [bool], usize);
    let cases: [Case; 7] = [
        ("kept", |_, _| Does::Answer, &[true; 3], 1),
        ("says that it goes", |_, _| Does::AnswerAndGo, &[true; 3], 3),
        ("vanishes", |_, _| Does::AnswerAndVanish, &[true; 3], 3),
        ("goes before", |_, n| if n == 0 { Does::Answer } else { Does::Refuse }, &[true; 3], 3),
        ("vanishes before", |_, n| if n == 0 { Does::Answer } else { Does::Vanish }, &[true; 3], 3),
        (
            "refuses on one",
            |_, n| if n == 0 { Does::Answer } else { Does::Reset(Reason::REFUSED_STREAM) },
            &[true; 2],
            2,
        ),
        ("always vanishes", |_, _| Does::Vanish, &[false; 2], 4),
    ];
    for (what, script, answered, connections) in cases {
        for settled in [false, true] {
            let scripted = Scripted::new(script);
            let pool = scripted.asked_as(SERVER);
            for expected in answered {
                let result = ask(&pool).await;
                assert_eq!(result.is_ok(), *expected, "{what}: {result:?}");
                // The end may have come by the next question, or not.
                if settled {
                    settle().await;
                }
            }
            assert_eq!(scripted.connections(), connections, "{what}");
        }
    }
}

#[tokio::test]
async fn questions_under_way_are_answered_while_a_connection_goes() {
    // The third request has the server say that it goes; the first two are answered after that, with the third.
    let scripted = Scripted::new(|connection, n| match (connection, n) {
        (0, 0 | 1) => Does::Nothing,
        (0, _) => Does::AnswerAndGo,
        _ => Does::Answer,
    });
    let pool = scripted.asked_as(SERVER);
    let first = tokio::spawn({
        let pool = pool.clone();
        async move { timeout(Duration::from_secs(9), ask(&pool)).await }
    });
    settle().await;
    let second = tokio::spawn({
        let pool = pool.clone();
        async move { timeout(Duration::from_secs(9), ask(&pool)).await }
    });
    settle().await;
    ask(&pool).await.unwrap();
    settle().await;
    ask(&pool).await.unwrap();
    assert_eq!(scripted.connections(), 2, "one that goes takes no more");
    // What it still owes is waited for.
    assert!(!first.is_finished() && !second.is_finished());
    first.abort();
    second.abort();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_hangs_is_left_and_a_slow_one_is_not() {
    let patience = Duration::from_secs(1);
    let hung = Scripted::new(|connection, _| if connection == 0 { Does::Nothing } else { Does::Answer });
    let pool = hung.asked_as(SERVER);
    assert!(timeout(patience, ask(&pool)).await.is_err());
    assert!(timeout(patience, ask(&pool)).await.unwrap().is_ok());
    assert_eq!(hung.connections(), 2);
    let slow = Scripted::new(|_, n| if n == 0 { Does::Nothing } else { Does::Answer });
    let pool = slow.asked_as(SERVER);
    let (first, second) = tokio::join!(timeout(patience, ask(&pool)), timeout(patience, ask(&pool)));
    assert!(first.is_err() && second.unwrap().is_ok());
    assert!(ask(&pool).await.is_ok());
    assert_eq!(slow.connections(), 1);
    settle().await;
    assert_eq!(slow.seen.given_up.load(Ordering::Relaxed), 1, "the server is told who gave up");
}

#[tokio::test]
async fn no_more_wait_on_a_connection_than_the_server_takes() {
    let mut scripted = Scripted::new(|_, n| if n == 0 { Does::Answer } else { Does::AnswerAt(2) });
    scripted.max = 2;
    let pool = scripted.asked_as(SERVER);
    ask(&pool).await.unwrap();
    assert_eq!(ask_at_once(&pool, 2).await, 2);
    assert_eq!(scripted.connections(), 1);
    let scripted = Scripted { script: |_, _| Does::Answer, seen: Arc::default(), ..scripted };
    let pool = scripted.asked_as(SERVER);
    ask(&pool).await.unwrap();
    assert_eq!(ask_at_once(&pool, 200).await, 200);
    assert!((2..=4).contains(&scripted.connections()), "{}", scripted.connections());
    assert!(scripted.seen.most.load(Ordering::Relaxed) <= 2);
}

#[tokio::test(start_paused = true)]
async fn connections_that_go_and_owe_are_bounded_while_somebody_waits_on_them() {
    let scripted = Scripted::new(|_, _| Does::NothingAndGo);
    let pool = scripted.asked_as(SERVER);
    let mut asking = JoinSet::new();
    for _ in 0..2 * MAX_WITH_LEFT {
        let pool = pool.clone();
        asking.spawn(async move { ask(&pool).await });
        settle().await;
    }
    assert_eq!(scripted.connections(), MAX_WITH_LEFT);
    assert_eq!(ask(&pool).await, Err(Failure::Busy));
    // Once nobody waits, there is room.
    asking.shutdown().await;
    assert!(timeout(Duration::from_millis(100), ask(&pool)).await.is_err());
    assert_eq!(scripted.connections(), MAX_WITH_LEFT + 1);
}

#[tokio::test]
async fn what_is_no_answer_is_told() {
    type Case = (fn(usize, usize) -> Does, Failure);
    let cases: [Case; 8] = [
        (|_, _| Does::Say(302, "text/html"), BadHttp::Redirect(302).into()),
        (|_, _| Does::Say(404, "text/html"), BadHttp::Status(404).into()),
        (|_, _| Does::Say(500, "application/dns-message"), BadHttp::Status(500).into()),
        (|_, _| Does::Say(200, "text/html"), BadHttp::MediaType.into()),
        (|_, _| Does::Say(200, ""), BadHttp::MediaType.into()),
        (|_, _| Does::Long(70_000), BadHttp::TooLong.into()),
        (|_, _| Does::Long(65_535), Failure::WrongReply),
        (|_, _| Does::Other, Failure::WrongReply),
    ];
    for (script, expected) in cases {
        let scripted = Scripted::new(script);
        let pool = scripted.asked_as(SERVER);
        for _ in 0..2 {
            assert_eq!(ask(&pool).await, Err(expected.clone()));
        }
        // Nothing is tried in another way, and who is confused is left.
        let connections = if expected == Failure::WrongReply { 2 } else { 1 };
        assert_eq!(scripted.connections(), connections, "{expected}");
    }
    let pool = Scripted::new(|_, _| Does::Reset(Reason::INTERNAL_ERROR)).asked_as(SERVER);
    let failure = ask(&pool).await.unwrap_err();
    assert!(failure.to_string().starts_with("failed (HTTP/2: "), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_uses_is_ended() {
    let scripted = Scripted::new(|_, _| Does::Answer);
    let pool = scripted.asked_as(SERVER);
    let begun = Instant::now();
    ask(&pool).await.unwrap();
    while scripted.seen.ended_well.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!((10..=21).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    ask(&pool).await.unwrap();
    assert_eq!(scripted.connections(), 2);
    drop(pool);
    settle().await;
    assert_eq!(scripted.seen.ended_well.load(Ordering::Relaxed), 2);
    // One that somebody waits on is in use.
    let scripted = Scripted::new(|_, _| Does::Nothing);
    let pool = scripted.asked_as(SERVER);
    assert!(timeout(Duration::from_secs(60), ask(&pool)).await.is_err());
    assert_eq!((scripted.connections(), scripted.seen.ended_well.load(Ordering::Relaxed)), (1, 0));
}

#[tokio::test]
async fn whoever_does_not_prove_who_it_is_or_speaks_no_http2_is_asked_nothing() {
    let authority = Authority::new();
    let always = (2020, 2100);
    let other_name = Failure::Certificate(BadCertificate::OtherName);
    let no_alpn = Failure::Http(BadHttp::OtherVersion("h2"));
    for (host, years, signed, alpn, expected) in [
        ("dns.test", always, Signed::ByAuthority, &["h2"][..], Ok(())),
        ("dns.test", always, Signed::ByAuthority, &["http/1.1", "h2"], Ok(())),
        ("dns.test", always, Signed::ByAuthority, &[], Err(no_alpn)),
        ("other.test", always, Signed::ByAuthority, &["h2"], Err(other_name)),
        (
            "dns.test",
            (2020, 2021),
            Signed::ByAuthority,
            &["h2"],
            Err(Failure::Certificate(BadCertificate::Expired)),
        ),
        (
            "dns.test",
            always,
            Signed::ByItself,
            &["h2"],
            Err(Failure::Certificate(BadCertificate::UnknownIssuer)),
        ),
    ] {
        let certified = authority.certifies(host, years, signed);
        let pins = [certified.pin(), format!("{}=", "A".repeat(43))];
        for (pin, expected) in pins
            .iter()
            .zip([expected.clone(), expected.and(Err(Failure::Certificate(BadCertificate::OtherKey)))])
        {
            // A certificate is looked at before what is spoken.
            let expected = match &expected {
                Err(Failure::Http(_)) if *pin == pins[1] => {
                    Err(Failure::Certificate(BadCertificate::OtherKey))
                }
                expected => expected.clone(),
            };
            let mut scripted = Scripted::new(|_, _| Does::Answer);
            scripted.tls = Some(certified.config(&[&version::TLS12, &version::TLS13], alpn));
            let server: Server = format!("{SERVER}?pin={pin}").parse().unwrap();
            let Protocol::Https(identity, resource) = &server.protocol else { panic!("{server}") };
            let trust = Trust::new(&authority.roots());
            let tls = Tls::new(scripted.clone(), Spoken::Http2, identity, &trust);
            let http = Http2::new(tls, Target::new(identity, server.addr, resource));
            let pool = Pool::new(http, Duration::from_secs(1));
            let result = pool.exchange(&question("x", Rtype::A), Manner::PLAIN).await.map(drop);
            assert_eq!(result, expected, "{host} {alpn:?} {server}");
            settle().await;
            assert_eq!(scripted.seen.requests.lock().unwrap().len(), usize::from(expected.is_ok()));
        }
    }
}
