//! Asking over TLS, of a server in the process: whom is believed, what goes over the wire, and what becomes of connections.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, version};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::failover::Failover;
use super::failure::{BadCertificate, Failure};
use super::message::Manner;
use super::places::Places;
use super::pool::{MAX_WITH_LEFT, Pool};
use super::roots::Roots;
use super::server::{Protocol, Server};
use super::settings::Settings;
use super::stream::Connect;
use super::tbs;
use super::tcp::Tcp;
use super::testing::{Authority, Says, Signed};
use super::tls::{Spoken, Tls, Trust};
use super::{Ask, AskError, Exchange};
use crate::dns::testing::question;
use crate::iana::Rtype;

/// The server that most tests ask.
const SERVER: &str = "tls://dns.test@192.0.2.1";
/// [`Settings::try_timeout`] by default, in milliseconds.
const TRY_MS: u64 = 1500;

/// What a server does on the connection of a number, from 0.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Answers all questions.
    Answer,
    /// Answers one, and closes by TLS and TCP.
    CloseAfterOne,
    /// Answers one, and is gone.
    VanishAfterOne,
    /// Takes the connection and never says a word.
    Nothing,
    /// Speaks no TLS.
    Babble,
    /// Closes at once.
    Close,
}

/// A handshake as the server saw it.
#[derive(Debug, PartialEq)]
struct Shaken {
    kind: HandshakeKind,
    version: ProtocolVersion,
    alpn: Option<Vec<u8>>,
    sni: Option<String>,
}

/// What a server saw.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    shaken: Mutex<Vec<Shaken>>,
    queries: Mutex<Vec<Vec<u8>>>,
    /// How many connections we closed as TLS has it.
    closed_well: AtomicUsize,
}

/// Opens pipes to a server that follows a script.
#[derive(Clone)]
struct Scripted {
    config: Arc<ServerConfig>,
    script: fn(usize) -> Does,
    seen: Arc<Seen>,
}

impl Scripted {
    fn new(config: Arc<ServerConfig>, script: fn(usize) -> Does) -> Scripted {
        Scripted { config, script, seen: Arc::default() }
    }

    /// What asks it.
    fn asked_as(&self, server: &Server, roots: &Roots) -> Pool<Tls<Scripted>> {
        let Protocol::Tls(identity) = &server.protocol else { panic!("{server}") };
        let tls = Tls::new(self.clone(), Spoken::Dns, identity, &Trust::new(roots));
        Pool::new(tls, Duration::from_millis(TRY_MS / 2))
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    fn shaken(&self) -> Vec<HandshakeKind> {
        self.seen.shaken.lock().unwrap().iter().map(|shaken| shaken.kind).collect()
    }
}

impl Connect for Scripted {
    type Stream = DuplexStream;

    async fn connect(&self) -> io::Result<DuplexStream> {
        let number = self.seen.connections.fetch_add(1, Ordering::Relaxed);
        let (ours, mut theirs) = duplex(1 << 16);
        let (config, seen, does) = (self.config.clone(), self.seen.clone(), (self.script)(number));
        tokio::spawn(async move {
            match does {
                Does::Nothing => std::future::pending().await,
                Does::Babble => theirs.write_all(b"SSH-2.0-dropbear\r\n").await.unwrap(),
                Does::Close => {}
                Does::Answer | Does::CloseAfterOne | Does::VanishAfterOne => {
                    if let Ok(stream) = TlsAcceptor::from(config).accept(theirs).await {
                        let _ = serve(stream, does, &seen).await;
                    }
                }
            }
        });
        Ok(ours)
    }
}

/// One connection of the server: its answers are the questions with QR, RA and AD set.
async fn serve(
    mut stream: TlsStream<impl AsyncRead + AsyncWrite + Unpin>,
    does: Does,
    seen: &Seen,
) -> io::Result<()> {
    let shaken = {
        let session = stream.get_ref().1;
        Shaken {
            kind: session.handshake_kind().unwrap(),
            version: session.protocol_version().unwrap(),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            sni: session.server_name().map(str::to_owned),
        }
    };
    seen.shaken.lock().unwrap().push(shaken);
    assert!(stream.get_mut().1.early_data().is_none(), "it can be sent again by whoever recorded it");
    loop {
        let mut length = [0; 2];
        // To be closed without a word is an error here (`UnexpectedEof`).
        if stream.read(&mut length[..1]).await? == 0 {
            seen.closed_well.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        stream.read_exact(&mut length[1..]).await?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message).await?;
        seen.queries.lock().unwrap().push(message.clone());
        message[2] |= 0x80;
        message[3] |= 0xa0;
        stream.write_all(&[&length[..], &message].concat()).await?;
        stream.flush().await?;
        match does {
            Does::CloseAfterOne => return stream.shutdown().await,
            Does::VanishAfterOne => return Ok(()),
            _ => {}
        }
    }
}

fn server(text: &str) -> Server {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

async fn ask(pool: &Pool<Tls<Scripted>>) -> Result<Vec<u8>, Failure> {
    pool.exchange(&question("www.example", Rtype::A), Manner::PLAIN).await
}

/// Lets the server's tasks come to where they wait.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn questions_are_answered_on_one_connection_and_padded() {
    let authority = Authority::new();
    for (text, name, versions, expected) in [
        (SERVER, "dns.test", &[&version::TLS12, &version::TLS13][..], ProtocolVersion::TLSv1_3),
        (SERVER, "dns.test", &[&version::TLS12][..], ProtocolVersion::TLSv1_2),
        ("tls://192.0.2.1", "192.0.2.1", &[&version::TLS13][..], ProtocolVersion::TLSv1_3),
        ("tls://[2001:db8::1]", "2001:db8::1", &[&version::TLS13][..], ProtocolVersion::TLSv1_3),
    ] {
        let certified = authority.certifies(name, (2020, 2100), Signed::ByAuthority);
        let scripted = Scripted::new(certified.config(versions, &["dot"]), |_| Does::Answer);
        let pool = scripted.asked_as(&server(text), &authority.roots());
        for _ in 0..3 {
            ask(&pool).await.unwrap();
        }
        // RFC 6066 §3: an address is not said in SNI.
        let sni = text.contains('@').then(|| "dns.test".to_owned());
        let (kind, alpn) = (HandshakeKind::Full, Some(b"dot".to_vec()));
        let shaken = Shaken { kind, version: expected, alpn, sni };
        assert_eq!(*scripted.seen.shaken.lock().unwrap(), [shaken], "{text}");
        let lengths: Vec<usize> = scripted.seen.queries.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(lengths, [128; 3], "{text}");
    }
}

#[tokio::test]
async fn whoever_does_not_prove_who_it_is_is_asked_nothing() {
    use BadCertificate::{
        Authority as AnAuthority, Expired, NotYetValid, OtherKey, OtherName, UnknownIssuer,
    };
    use Signed::{AsAuthority, ByAuthority, ByItself, ByNamesake};
    let authority = Authority::new();
    let always = (2020, 2100);
    let wrong_pin = format!("{SERVER}?pin={}=", "A".repeat(43));
    for (text, name, years, signed, expected) in [
        (SERVER, "other.test", always, ByAuthority, OtherName),
        (SERVER, "x.dns.test", always, ByAuthority, OtherName),
        (SERVER, "192.0.2.1", always, ByAuthority, OtherName),
        ("tls://192.0.2.1", "192.0.2.2", always, ByAuthority, OtherName),
        ("tls://192.0.2.1", "dns.test", always, ByAuthority, OtherName),
        (SERVER, "dns.test", (2020, 2021), ByAuthority, Expired),
        (SERVER, "dns.test", (2099, 2100), ByAuthority, NotYetValid),
        (SERVER, "dns.test", always, ByNamesake, UnknownIssuer),
        (SERVER, "dns.test", always, ByItself, UnknownIssuer),
        (SERVER, "dns.test", always, AsAuthority, AnAuthority),
        (&wrong_pin, "dns.test", always, ByAuthority, OtherKey),
        // What is wrong with the certificate itself is said first.
        (&wrong_pin, "dns.test", (2020, 2021), ByAuthority, Expired),
    ] {
        for versions in [&[&version::TLS12], &[&version::TLS13]] {
            let certified = authority.certifies(name, years, signed);
            let scripted = Scripted::new(certified.config(versions, &["dot"]), |_| Does::Answer);
            let pool = scripted.asked_as(&server(text), &authority.roots());
            let failure = ask(&pool).await.unwrap_err();
            assert_eq!(failure, Failure::Certificate(expected.clone()), "{text} {name} {signed:?}");
            assert!(failure.is_said());
            settle().await;
            assert_eq!(scripted.seen.queries.lock().unwrap().len(), 0, "{failure}");
        }
    }
    // The authority is one of ours, and none that browsers trust.
    let scripted =
        Scripted::new(authority.certifies_well().config(&[&version::TLS13], &[]), |_| Does::Answer);
    let pool = scripted.asked_as(&server(SERVER), &Roots::BuiltIn);
    assert_eq!(ask(&pool).await, Err(Failure::Certificate(UnknownIssuer)));
}

/// Somebody who is not the server: for which name, what is spoken, and what is done.
const fn portal(does: Does) -> (&'static str, &'static [&'static str], Does) {
    ("portal.test", &["dot"], does)
}

/// Servers at one port of 127.0.0.1 and 127.0.0.2, each for a name, with what it speaks: what they saw, and the port.
async fn at_two_addresses(
    authority: &Authority,
    servers: [(&str, &[&str], Does); 2],
) -> ([Arc<Seen>; 2], u16) {
    let (first, second) = loop {
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // The same port of the other address may be somebody's.
        if let Ok(second) = TcpListener::bind(("127.0.0.2", first.local_addr().unwrap().port())).await {
            break (first, second);
        }
    };
    let port = first.local_addr().unwrap().port();
    let seen = [Arc::<Seen>::default(), Arc::default()];
    for ((listener, (name, alpn, does)), seen) in [first, second].into_iter().zip(servers).zip(&seen) {
        let certified = authority.certifies(name, (2020, 2100), Signed::ByAuthority);
        let (config, seen) = (certified.config(&[&version::TLS13], alpn), Arc::clone(seen));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::Relaxed);
                let (config, seen) = (Arc::clone(&config), Arc::clone(&seen));
                tokio::spawn(async move {
                    match does {
                        Does::Babble => stream.write_all(b"SSH-2.0-dropbear\r\n").await.unwrap(),
                        Does::Nothing => std::future::pending().await,
                        Does::Close => {}
                        _ => {
                            if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                                let _ = serve(stream, does, &seen).await;
                            }
                        }
                    }
                });
            }
        });
    }
    (seen, port)
}

/// What asks `dns.test` wherever it is.
fn asked_at(places: Places, authority: &Authority) -> Pool<Tls<Tcp>> {
    let Protocol::Tls(identity) = &server(SERVER).protocol else { panic!("{SERVER}") };
    let tls = Tls::new(Tcp::new(places), Spoken::Dns, identity, &Trust::new(&authority.roots()));
    Pool::new(tls, Duration::from_millis(TRY_MS / 2))
}

#[tokio::test]
async fn where_somebody_else_answers_the_next_address_is_tried() {
    let authority = Authority::new();
    for does in [Does::Answer, Does::Babble, Does::Close, Does::Nothing] {
        let real = ("dns.test", &["dot"][..], Does::CloseAfterOne);
        let (seen, port) = at_two_addresses(&authority, [portal(does), real]).await;
        let places = Says::places(&[&[[127, 0, 0, 1], [127, 0, 0, 2]]], port);
        let pool = asked_at(places, &authority);
        // The second connection begins where the first one was.
        for _ in 0..2 {
            pool.exchange(&question("x", Rtype::A), Manner::PLAIN).await.unwrap();
        }
        let connections = seen.each_ref().map(|seen| seen.connections.load(Ordering::Relaxed));
        assert_eq!(connections, [1, 2], "{does:?}");
        assert_eq!(seen[0].queries.lock().unwrap().len(), 0, "{does:?}");
    }
}

#[tokio::test]
async fn where_another_http_is_spoken_the_next_address_is_tried() {
    let authority = Authority::new();
    for alpn in [&[][..], &["http/1.1"]] {
        let servers = [alpn, &["h2"]].map(|alpn| ("dns.test", alpn, Does::Answer));
        let (_, port) = at_two_addresses(&authority, servers).await;
        let Protocol::Tls(identity) = &server(SERVER).protocol else { panic!("{SERVER}") };
        let tcp = Tcp::new(Says::places(&[&[[127, 0, 0, 1], [127, 0, 0, 2]]], port));
        let tls = Tls::new(tcp, Spoken::Http2, identity, &Trust::new(&authority.roots()));
        let stream = tls.connect().await.unwrap();
        assert_eq!(stream.get_ref().0.peer_addr().unwrap(), ([127, 0, 0, 2], port).into(), "{alpn:?}");
    }
}

#[tokio::test]
async fn where_only_somebody_else_answers_the_host_is_looked_up_again() {
    let authority = Authority::new();
    let real = ("dns.test", &["dot"][..], Does::Answer);
    let (seen, port) = at_two_addresses(&authority, [portal(Does::Answer), real]).await;
    let pool = asked_at(Says::places(&[&[[127, 0, 0, 1]], &[[127, 0, 0, 2]]], port), &authority);
    let ask = async || pool.exchange(&question("x", Rtype::A), Manner::PLAIN).await;
    for _ in 0..3 {
        assert_eq!(ask().await, Err(Failure::Certificate(BadCertificate::OtherName)));
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    ask().await.unwrap();
    assert_eq!(seen[0].queries.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_pin_narrows_who_is_believed() {
    let authority = Authority::new();
    let certified = authority.certifies_well();
    let (pin, other) = (certified.pin(), format!("{}=", "A".repeat(43)));
    let scripted = Scripted::new(certified.config(&[&version::TLS13], &["dot"]), |_| Does::Answer);
    for text in [format!("{SERVER}?pin={pin}"), format!("{SERVER}?pin={other}&pin={pin}")] {
        ask(&scripted.asked_as(&server(&text), &authority.roots())).await.unwrap();
    }
    // The right key for another name, or by an unknown authority, will not do.
    let text = format!("tls://other.test@192.0.2.1?pin={pin}");
    let failure = ask(&scripted.asked_as(&server(&text), &authority.roots())).await.unwrap_err();
    assert_eq!(failure, Failure::Certificate(BadCertificate::OtherName));
    let text = format!("{SERVER}?pin={pin}");
    let failure = ask(&scripted.asked_as(&server(&text), &Roots::BuiltIn)).await.unwrap_err();
    assert_eq!(failure, Failure::Certificate(BadCertificate::UnknownIssuer));
}

#[tokio::test]
async fn a_certificate_that_is_named_is_the_servers_or_has_signed_it() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let named = |certificate: &[u8]| BASE64_STANDARD.encode(Sha256::digest(tbs::of(certificate).unwrap()));
    let mut certified = authority.certifies_well();
    let server_itself = named(&certified.chain[0]);
    // Both are sent along, and one of them has signed it.
    certified.chain.extend([stranger.issuer.der().clone(), authority.issuer.der().clone()]);
    let (signer, beside) = (named(&certified.chain[2]), named(&certified.chain[1]));
    let nobody = format!("{}=", "A".repeat(43));
    let scripted = Scripted::new(certified.config(&[&version::TLS13], &["dot"]), |_| Does::Answer);
    for (parameters, expected) in [
        (format!("tbs={server_itself}"), Ok(())),
        (format!("tbs={signer}"), Ok(())),
        (format!("tbs={nobody}&tbs={signer}"), Ok(())),
        (format!("tbs={beside}"), Err(BadCertificate::OtherChain)),
        (format!("tbs={nobody}"), Err(BadCertificate::OtherChain)),
        // Who is named stands beside all else, and replaces nothing.
        (format!("tbs={signer}&pin={nobody}"), Err(BadCertificate::OtherKey)),
    ] {
        let pool = scripted.asked_as(&server(&format!("{SERVER}?{parameters}")), &authority.roots());
        assert_eq!(ask(&pool).await.map(drop), expected.map_err(Failure::Certificate), "{parameters}");
    }
    let pool = scripted.asked_as(&server(&format!("{SERVER}?tbs={beside}")), &stranger.roots());
    assert_eq!(ask(&pool).await.map(drop), Err(Failure::Certificate(BadCertificate::UnknownIssuer)));
}

#[tokio::test]
async fn a_certificate_that_signs_itself_is_believed_if_it_is_named() {
    let authority = Authority::new();
    for (signed, expected) in [
        (Signed::ByItself, Ok(())),
        // One that may sign others is no server's, whoever is trusted.
        (Signed::AsAuthority, Err(Failure::Certificate(BadCertificate::Authority))),
    ] {
        let certified = authority.certifies("dns.test", (2020, 2100), signed);
        let path = authority.folder.path().join("own.pem");
        let encoded = BASE64_STANDARD.encode(&certified.chain[0]);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n");
        std::fs::write(&path, pem).unwrap();
        let scripted = Scripted::new(certified.config(&[&version::TLS13], &["dot"]), |_| Does::Answer);
        let pool = scripted.asked_as(&server(SERVER), &Roots::read(&path).unwrap());
        assert_eq!(ask(&pool).await.map(drop), expected, "{signed:?}");
    }
}

#[tokio::test]
async fn what_breaks_a_handshake_is_told() {
    let authority = Authority::new();
    for (does, alpn, said) in [
        // RFC 7301 §3.2: a server that speaks something else only says so.
        (Does::Answer, "h2", "failed in TLS (received fatal alert: NoApplicationProtocol"),
        (Does::Babble, "dot", "failed in TLS (received corrupt message of type "),
        (Does::Close, "dot", "closed the connection"),
    ] {
        let config = authority.certifies_well().config(&[&version::TLS13], &[alpn]);
        let script: fn(usize) -> Does = match does {
            Does::Answer => |_| Does::Answer,
            Does::Babble => |_| Does::Babble,
            _ => |_| Does::Close,
        };
        let scripted = Scripted::new(config, script);
        let failure = ask(&scripted.asked_as(&server(SERVER), &authority.roots())).await.unwrap_err();
        assert!(failure.to_string().starts_with(said), "{failure}");
        assert!(failure.is_said());
        assert_eq!(scripted.connections(), 1, "nothing is tried in another way");
    }
    // A server that knows no ALPN may be a server all the same.
    let scripted =
        Scripted::new(authority.certifies_well().config(&[&version::TLS13], &[]), |_| Does::Answer);
    ask(&scripted.asked_as(&server(SERVER), &authority.roots())).await.unwrap();
}

#[tokio::test]
async fn a_question_that_finds_its_connection_closed_is_asked_again_and_the_session_resumed() {
    let authority = Authority::new();
    let scripts: [fn(usize) -> Does; 2] = [|_| Does::CloseAfterOne, |_| Does::VanishAfterOne];
    for (index, script) in scripts.into_iter().enumerate() {
        for versions in [&[&version::TLS12], &[&version::TLS13]] {
            let scripted = Scripted::new(authority.certifies_well().config(versions, &["dot"]), script);
            let pool = scripted.asked_as(&server(SERVER), &authority.roots());
            for n in 0..4 {
                // At once, so that the end may come before or after the next question; and then when it has surely come.
                if n == 2 {
                    settle().await;
                }
                ask(&pool).await.unwrap_or_else(|failure| panic!("{index} {n}: {failure}"));
            }
            use HandshakeKind::{Full, Resumed};
            assert_eq!(scripted.shaken(), [Full, Resumed, Resumed, Resumed], "{index} {versions:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_uses_is_closed_as_tls_has_it() {
    let authority = Authority::new();
    let scripted =
        Scripted::new(authority.certifies_well().config(&[&version::TLS13], &[]), |_| Does::Answer);
    let pool = scripted.asked_as(&server(SERVER), &authority.roots());
    ask(&pool).await.unwrap();
    tokio::time::sleep(Duration::from_secs(21)).await;
    settle().await;
    assert_eq!(scripted.seen.closed_well.load(Ordering::Relaxed), 1);
    ask(&pool).await.unwrap();
    drop(pool);
    settle().await;
    assert_eq!(scripted.seen.closed_well.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_hangs_holds_up_nobody_else() {
    let authority = Authority::new();
    let config = authority.certifies_well().config(&[&version::TLS13], &["dot"]);
    let roots = authority.roots();
    // The first connection hangs; others wait for it, half a try at most, and then open their own.
    let scripted = Scripted::new(config.clone(), |n| if n == 0 { Does::Nothing } else { Does::Answer });
    let pool = Arc::new(scripted.asked_as(&server(SERVER), &roots));
    let first = tokio::spawn({
        let pool = pool.clone();
        async move { timeout(Duration::from_secs(4), ask(&pool)).await }
    });
    settle().await;
    let begun = Instant::now();
    let (second, third) = tokio::join!(ask(&pool), ask(&pool));
    assert!(second.is_ok() && third.is_ok());
    let took_ms = begun.elapsed().as_millis() as u64;
    assert!((TRY_MS / 2..TRY_MS / 2 + 10).contains(&took_ms), "{took_ms}");
    assert!(first.await.unwrap().is_err());
    assert_eq!(scripted.connections(), 2);
    // So one question alone is answered by its second try.
    let scripted = Scripted::new(config.clone(), |n| if n == 0 { Does::Nothing } else { Does::Answer });
    let settings = Settings { servers: vec![server(SERVER)], roots: roots.clone(), ..Settings::default() };
    let failover = Failover::new(&settings, |server| scripted.asked_as(server, &roots), None);
    let begun = Instant::now();
    failover.ask(&question("x", Rtype::A)).await.unwrap();
    let took_ms = begun.elapsed().as_millis() as u64;
    assert!((TRY_MS..TRY_MS + 10).contains(&took_ms), "{took_ms}");
    // Where all hang, each question has its own time and no more.
    let scripted = Scripted::new(config.clone(), |_| Does::Nothing);
    let failover = Arc::new(Failover::new(&settings, |server| scripted.asked_as(server, &roots), None));
    let begun = Instant::now();
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..20 {
        let failover = failover.clone();
        asking.spawn(async move { failover.ask(&question(&format!("n{n}"), Rtype::A)).await });
    }
    tokio::time::sleep(Duration::from_millis(3900)).await;
    // One half a try after the other.
    assert_eq!(scripted.connections(), 6);
    while let Some(result) = asking.join_next().await {
        let error = result.unwrap().unwrap_err();
        assert_eq!(
            error,
            AskError::NoneReachable("tls://dns.test@192.0.2.1:853 did not answer in time".into())
        );
    }
    let took_ms = begun.elapsed().as_millis();
    assert!((4000..4010).contains(&took_ms), "{took_ms}");
    // However long somebody waits, they are bounded, and who finds no room waits until there is some.
    let scripted = Scripted::new(config, |_| Does::Nothing);
    let pool = Arc::new(scripted.asked_as(&server(SERVER), &roots));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..MAX_WITH_LEFT + 3 {
        let pool = pool.clone();
        asking.spawn(async move { ask(&pool).await });
    }
    assert!(timeout(Duration::from_secs(60), asking.join_next()).await.is_err());
    assert_eq!(scripted.connections(), MAX_WITH_LEFT);
    // Once nobody waits, there is room.
    asking.shutdown().await;
    assert!(timeout(Duration::from_millis(100), ask(&pool)).await.is_err());
    assert_eq!(scripted.connections(), MAX_WITH_LEFT + 1);
}

#[tokio::test]
async fn ad_is_believed_over_tls_and_failures_are_told() {
    let authority = Authority::new();
    let certified = authority.certifies_well();
    let scripted = Scripted::new(certified.config(&[&version::TLS13], &["dot"]), |_| Does::Answer);
    let roots = authority.roots();
    let asking = |text: &str| {
        let settings = Settings { servers: vec![server(text)], roots: roots.clone(), ..Settings::default() };
        Failover::new(&settings, |server| scripted.asked_as(server, &roots), None)
    };
    let reply = asking(SERVER).ask(&question("x", Rtype::A)).await.unwrap();
    assert_eq!(reply[3] & 0x20, 0x20);
    let error = asking("tls://other.test@192.0.2.1").ask(&question("x", Rtype::A)).await.unwrap_err();
    let said = "tls://other.test@192.0.2.1:853 has a certificate for another name";
    assert_eq!(error, AskError::Network(said.to_owned()));
    // A pin is long and nobody's business; EDE text is short.
    let failover = asking(&format!("{SERVER}?pin={}=", "A".repeat(43)));
    let error = failover.ask(&question("x", Rtype::A)).await.unwrap_err();
    let said = "tls://dns.test@192.0.2.1:853 has a certificate whose key is not a pinned one";
    assert_eq!(error, AskError::Network(said.to_owned()));
    let tally = failover.tallies().remove(0);
    assert_eq!((tally.asked, tally.failed), (1, 1));
}

#[tokio::test]
async fn by_other_roots_a_server_is_another_one() {
    let (authority, other) = (Authority::new(), Authority::new());
    let scripted =
        Scripted::new(authority.certifies_well().config(&[&version::TLS13], &["dot"]), |_| Does::Answer);
    let by = |roots: Roots| Settings { servers: vec![server(SERVER)], roots, ..Settings::default() };
    let make = |settings: &Settings, before: Option<&_>| {
        Failover::new(settings, |server| scripted.asked_as(server, &settings.roots), before)
    };
    let first = make(&by(authority.roots()), None);
    first.ask(&question("x", Rtype::A)).await.unwrap();
    // Read once more it is the same, so connection and counts go over.
    let same = make(&by(authority.roots()), Some(&first));
    same.ask(&question("x", Rtype::A)).await.unwrap();
    assert_eq!((scripted.connections(), same.tallies()[0].asked), (1, 2));
    let distrusts = make(&by(other.roots()), Some(&same));
    let error = distrusts.ask(&question("x", Rtype::A)).await.unwrap_err();
    assert!(error.to_string().ends_with("has a certificate that no trusted authority signed"), "{error}");
    assert_eq!((scripted.connections(), distrusts.tallies()[0].asked), (2, 1));
}

#[test]
fn a_file_of_authorities_is_read_or_refused() {
    let (first, second) = (Authority::new(), Authority::new());
    let (a, b) = (first.issuer.pem(), second.issuer.pem());
    let key = first.issuer.key().serialize_pem();
    let path = first.folder.path().join("some.pem");
    for (text, expected) in [
        (a.clone(), Ok(1)),
        (format!("An authority\n{a}and another one\n{key}{b}"), Ok(2)),
        (
            String::new(),
            Err("there is no certificate in it\n  hint: upstream.ca_file is for certificates in PEM"),
        ),
        (key, Err("there is no certificate in it")),
        (format!("{a}{}", b.replace("MII", "???")), Err("certificate 2 in it is damaged")),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            Err("certificate 1 in it is damaged"),
        ),
        (a.replace("-----END", "---END"), Err("certificate 1 in it is damaged")),
    ] {
        std::fs::write(&path, &text).unwrap();
        match (Roots::read(&path), expected) {
            (Ok(Roots::File { path: read, anchors }), Ok(count)) => {
                assert_eq!((read, anchors.len()), (path.clone(), count), "{text}");
            }
            (Err(problem), Err(part)) => {
                assert!(
                    problem.to_string().starts_with(&format!("error: {}: ", path.display())),
                    "{problem}"
                );
                assert!(problem.to_string().contains(part), "{problem}");
            }
            (read, _) => panic!("{read:?} of {text}"),
        }
    }
    std::fs::remove_file(&path).unwrap();
    let problem = Roots::read(&path).unwrap_err().to_string();
    assert!(problem.contains("cannot be read: ") && problem.contains("check upstream.ca_file"), "{problem}");
    assert_eq!(first.roots(), first.roots());
    assert_ne!(first.roots(), second.roots());
}
