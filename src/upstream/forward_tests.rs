//! The forwarder against servers of our own on raw loopback sockets.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use super::message::first_question;
use super::{Ask, AskError, Forward, Forwarder, Server, Settings};
use crate::dns::Question;
use crate::iana::{Class, Rcode, Rtype};
use crate::name::Name;

/// Ends a task with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// From where, and what.
type Datagram = (SocketAddr, Vec<u8>);

/// A server on raw sockets.
struct Mock {
    addr: SocketAddr,
    /// Every datagram that came: from where, and what.
    seen: Arc<Mutex<Vec<Datagram>>>,
    /// The TCP port of the same number: taken, and refusing until somebody listens.
    tcp: Option<TcpSocket>,
    /// Streams accepted.
    accepted: Arc<AtomicUsize>,
    _tasks: Vec<Task>,
}

impl Mock {
    /// Answers each datagram with what `script` makes of it.
    async fn udp(script: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Mock {
        Mock::udp_at("127.0.0.1:0".parse().unwrap(), script).await
    }

    async fn udp_at(at: SocketAddr, script: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Mock {
        let (socket, tcp) = port_pair(at).await;
        let mut mock = Mock {
            tcp: Some(tcp),
            addr: socket.local_addr().unwrap(),
            seen: Arc::default(),
            accepted: Arc::default(),
            _tasks: Vec::new(),
        };
        let seen = Arc::clone(&mock.seen);
        mock._tasks.push(Task(tokio::spawn(async move {
            let mut buffer = [0; 2048];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                seen.lock().unwrap().push((from, buffer[..len].to_vec()));
                for reply in script(&buffer[..len]) {
                    socket.send_to(&reply, from).await.unwrap();
                }
            }
        })));
        mock
    }

    /// Also answers streams at the same port: `script` gets the stream's number, from 0, and each message on it; none
    /// closes the stream.
    async fn and_tcp(
        mut self,
        script: impl Fn(usize, &[u8]) -> Option<Vec<Vec<u8>>> + Send + Sync + 'static,
    ) -> Mock {
        let listener = self.tcp.take().unwrap().listen(64).unwrap();
        let (script, accepted) = (Arc::new(script), Arc::clone(&self.accepted));
        self._tasks.push(Task(tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                tokio::spawn(async move {
                    while let Some(message) = read_message(&mut stream).await {
                        let Some(replies) = script(number, &message) else { return };
                        for reply in replies {
                            stream.write_u16(reply.len() as u16).await.unwrap();
                            stream.write_all(&reply).await.unwrap();
                        }
                    }
                });
            }
        })));
        self
    }

    async fn tcp(script: impl Fn(usize, &[u8]) -> Option<Vec<Vec<u8>>> + Send + Sync + 'static) -> Mock {
        Mock::udp(|_| Vec::new()).await.and_tcp(script).await
    }

    fn seen(&self) -> Vec<Datagram> {
        self.seen.lock().unwrap().clone()
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = stream.read_u16().await.ok()?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}

fn question(name: &str) -> Question {
    Question {
        qname: name.parse().unwrap(),
        qtype: Rtype::A,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
        asked_for: None,
    }
}

/// The reply to `query` with the given rcode, and `rest` behind the question as one answer record's octets.
fn reply(query: &[u8], code: Rcode, rest: &[u8]) -> Vec<u8> {
    let mut reply = query[..2].to_vec();
    reply.extend_from_slice(&[0x81, 0xa0 | code.0 as u8, 0, 1, 0, u8::from(!rest.is_empty()), 0, 0, 0, 0]);
    reply.extend_from_slice(first_question(query).unwrap());
    reply.extend_from_slice(rest);
    reply
}

fn answer(query: &[u8]) -> Vec<u8> {
    reply(query, Rcode::NOERROR, b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc6\x12\x00\x01")
}

fn edited(mut message: Vec<u8>, edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    edit(&mut message);
    message
}

/// Tries of 150 ms, 400 ms in all.
fn forwarder(servers: &[Server]) -> Forwarder {
    Forwarder::new(Settings {
        servers: servers.to_vec(),
        try_timeout: Duration::from_millis(150),
        total_timeout: Duration::from_millis(400),
        ..Settings::default()
    })
}

/// As by default: for tests in which nobody is silent.
fn patient(servers: &[Server]) -> Forwarder {
    Forwarder::new(Settings { servers: servers.to_vec(), ..Settings::default() })
}

/// An address where nobody is, and nobody comes: other tests take ports on 127.0.0.1.
async fn nobody() -> SocketAddr {
    match UdpSocket::bind("127.83.0.1:0").await {
        Ok(socket) => socket.local_addr().unwrap(),
        Err(_) => UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap(),
    }
}

/// One port of both protocols; with port 0, whichever is free for both.
async fn port_pair(at: SocketAddr) -> (UdpSocket, TcpSocket) {
    for _ in 0..100 {
        let udp = UdpSocket::bind(at).await.unwrap();
        let tcp = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        if tcp.bind(udp.local_addr().unwrap()).is_ok() {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both protocols");
}

#[tokio::test]
async fn a_query_carries_what_it_should_and_nothing_else() {
    let mock = Mock::udp(|query| vec![answer(query)]).await;
    let forwarder = patient(&[Server::udp(mock.addr)]);
    for (dnssec_ok, checking_disabled, flags, ttl, cookie_len) in [
        // Whether it knows cookies is tried once.
        (false, false, [0x01, 0x20], [0, 0, 0, 0], 8),
        (true, false, [0x01, 0x20], [0, 0, 0x80, 0], 0),
        (false, true, [0x01, 0x30], [0, 0, 0, 0], 0),
        (true, true, [0x01, 0x30], [0, 0, 0x80, 0], 0),
    ] {
        let asked = Question {
            qtype: Rtype::HTTPS,
            dnssec_ok,
            checking_disabled,
            ..question("a\\000\\046b.example")
        };
        forwarder.ask(&asked).await.unwrap();
        let (_, mut query) = mock.seen().pop().unwrap();
        // Its case is random.
        query[12..26].make_ascii_lowercase();
        let mut expected = flags.to_vec();
        expected.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 1]);
        expected.extend_from_slice(b"\x04a\x00.b\x07example\x00\x00\x41\x00\x01");
        // OPT: root, type 41, payload 1232, extended rcode and version 0, DO, no options.
        expected.extend_from_slice(&[0, 0, 41, 0x04, 0xd0]);
        expected.extend_from_slice(&ttl);
        if cookie_len > 0 {
            let cookie = query[query.len() - cookie_len..].to_vec();
            expected.extend_from_slice(&[0, cookie_len as u8 + 4, 0, 10, 0, cookie_len as u8]);
            expected.extend_from_slice(&cookie);
        } else {
            expected.extend_from_slice(&[0, 0]);
        }
        assert_eq!(query[2..], expected, "DO {dnssec_ok} CD {checking_disabled}");
    }
}

#[tokio::test]
async fn every_type_and_class_goes_out_as_it_is() {
    let mock = Mock::udp(|query| vec![answer(query)]).await;
    let forwarder = patient(&[Server::udp(mock.addr)]);
    for (qtype, qclass) in [
        (Rtype(0), Class::IN),
        (Rtype::A, Class::CH),
        (Rtype::ANY, Class::ANY),
        (Rtype::CAA, Class::IN),
        (Rtype(65_280), Class::IN),
        (Rtype(65_535), Class::IN),
        (Rtype::TXT, Class(65_280)),
    ] {
        forwarder.ask(&Question { qtype, qclass, ..question("x") }).await.unwrap();
        let (_, query) = mock.seen().pop().unwrap();
        assert_eq!(query[15..19], [qtype.to_be_bytes(), qclass.to_be_bytes()].concat());
    }
}

#[tokio::test]
async fn ports_and_ids_are_fresh_each_time() {
    let mock = Mock::udp(|query| vec![answer(query)]).await;
    let forwarder = patient(&[Server::udp(mock.addr)]);
    for _ in 0..64 {
        forwarder.ask(&question("x")).await.unwrap();
    }
    let seen = mock.seen();
    let ports: HashSet<u16> = seen.iter().map(|(from, _)| from.port()).collect();
    let ids: HashSet<&[u8]> = seen.iter().map(|(_, query)| &query[..2]).collect();
    // Of 64 drawn from 65,536 two pairs may be equal, and of 16 ports three may be left out; more is no chance.
    assert!(seen.len() == 64 && ids.len() >= 62, "{}", ids.len());
    assert!((13..=16).contains(&ports.len()), "{}", ports.len());
}

#[tokio::test]
async fn the_case_of_a_question_is_random_and_must_come_back() {
    let name = "a-name.with-letters.enough.example";
    let mock = Mock::udp(|query| vec![answer(query)]).await;
    let forwarder = patient(&[Server::udp(mock.addr)]);
    for _ in 0..16 {
        let reply = forwarder.ask(&question(name)).await.unwrap();
        assert_eq!(
            reply[12..],
            answer(&edited(reply.clone(), |reply| reply[12..].make_ascii_lowercase()))[12..]
        );
    }
    let cases: HashSet<Vec<u8>> = mock.seen().iter().map(|(_, query)| query[12..48].to_vec()).collect();
    assert!(cases.len() >= 15, "{}", cases.len());
}

/// A question for a name of many letters and a number.
fn lettered(number: usize) -> Question {
    question(&format!("a-name.with-letters.enough.n{number}.example"))
}

/// Whether a query for such a name has a letter in upper case.
fn is_mixed(query: &[u8]) -> bool {
    query[12..48].iter().any(u8::is_ascii_uppercase)
}

#[tokio::test]
async fn who_does_not_repeat_the_case_is_asked_by_tcp_a_few_times_and_then_in_lower_case() {
    let folds = |query: &[u8]| edited(answer(query), |reply| reply[12..48].make_ascii_lowercase());
    for has_tcp in [true, false] {
        let mock = Mock::udp(move |query| vec![folds(query)]).await;
        let mock = if has_tcp { mock.and_tcp(move |_, query| Some(vec![folds(query)])).await } else { mock };
        let forwarder = patient(&[Server::udp(mock.addr)]);
        for number in 0..8 {
            forwarder.ask(&lettered(number)).await.unwrap();
        }
        // A busy machine may have one asked again.
        let cases = |number: usize| -> Vec<bool> {
            let asked = lettered(number).qname;
            let about = |query: &[u8]| query[12..].to_ascii_lowercase().starts_with(asked.as_wire());
            let seen = mock.seen();
            seen.iter().filter(|(_, query)| about(query)).map(|(_, query)| is_mixed(query)).collect()
        };
        for number in 0..8 {
            let is_random = number < 3;
            assert_eq!(cases(number).first(), Some(&is_random), "{has_tcp} {number}");
            assert!(is_random || !cases(number).contains(&true), "{has_tcp} {number}");
        }
        let guesses = if has_tcp { 3 } else { 6 };
        assert!(forwarder.tallies()[0].guesses >= guesses, "{has_tcp}");
        assert_eq!(mock.accepted() > 0, has_tcp);
    }
}

#[tokio::test]
async fn who_guesses_all_but_the_case_gains_nothing() {
    let forged = |query: &[u8]| {
        edited(answer(query), |reply| {
            reply[12..48].make_ascii_lowercase();
            *reply.last_mut().unwrap() ^= 1;
        })
    };
    let mock = Mock::udp(move |query| vec![forged(query)]).await;
    let mock = mock.and_tcp(|_, query| Some(vec![answer(query)])).await;
    let forwarder = patient(&[Server::udp(mock.addr)]);
    for number in 0..8 {
        let reply = forwarder.ask(&lettered(number)).await.unwrap();
        assert_eq!(reply, answer(&reply), "the server's own");
    }
    assert!(mock.seen().iter().all(|(_, query)| is_mixed(query)), "random case is not left for that");
    assert!(mock.seen().len() >= 8 && forwarder.tallies()[0].guesses >= 8);
}

#[tokio::test]
async fn who_compares_case_is_asked_in_lower_case_from_the_first_question() {
    let compares = |query: &[u8]| match is_mixed(query) {
        true => vec![reply(query, Rcode::NXDOMAIN, b"")],
        false => vec![answer(query)],
    };
    let mock = Mock::udp(compares).await;
    let forwarder = patient(&[Server { random_case: false, ..Server::udp(mock.addr) }]);
    for number in 0..3 {
        let reply = forwarder.ask(&lettered(number)).await.unwrap();
        assert_eq!(reply[3] & 0xf, 0);
    }
}

#[tokio::test]
async fn who_does_not_know_edns_is_asked_without() {
    type Refuse = fn(&[u8]) -> Vec<u8>;
    let refusals: [(&str, Refuse); 5] = [
        ("FORMERR", |query| reply(query, Rcode::FORMERR, b"")),
        ("NOTIMP", |query| reply(query, Rcode::NOTIMP, b"")),
        ("a header alone", |query| [&query[..2], &[0x81, 0x81], &[0; 8]].concat()),
        ("FORMERR that echoes OPT", |query| {
            edited(query.to_vec(), |message| (message[2], message[3]) = (0x81, 0x81))
        }),
        ("BADVERS", |query| {
            edited(query.to_vec(), |message| {
                (message[2], message[3]) = (0x81, 0x80);
                let opt = 12 + first_question(message).unwrap().len();
                message[opt + 5] = 1;
            })
        }),
    ];
    for (what, refuse) in refusals {
        let says = move |query: &[u8]| if query[11] == 1 { refuse(query) } else { answer(query) };
        let mock = Mock::udp(move |query| vec![says(query)])
            .await
            .and_tcp(move |_, query| Some(vec![says(query)]))
            .await;
        // With a cookie, without, without EDNS; by stream there are no cookies.
        for (server, asked) in [(Server::udp(mock.addr), [3, 4]), (Server::tcp(mock.addr), [4, 4])] {
            let forwarder = patient(std::slice::from_ref(&server));
            for asked in asked {
                let reply = forwarder.ask(&question("x")).await.unwrap();
                assert_eq!((reply[3] & 0xf, reply[7]), (0, 1), "{what} {server}");
                assert_eq!(mock.seen().len(), asked, "{what} {server}");
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_no_answer() {
    type Edit = fn(&mut Vec<u8>);
    let edits: [(&str, Edit); 4] = [
        ("counts too high", |message| message[7] = 9),
        ("data beyond the end", |message| {
            let length = message.len() - 5;
            message[length] = 200;
        }),
        ("cut without TC", |message| message.truncate(message.len() - 3)),
        ("two OPT", |message| {
            message[11] = 2;
            message.extend_from_slice(&[0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 0].repeat(2));
        }),
    ];
    for (what, edit) in edits {
        let broken = move |query: &[u8]| edited(answer(query), edit);
        let good = Mock::udp(|query| vec![answer(query)]).await;
        // By datagram it is asked for by stream.
        let mock = Mock::udp(move |query| vec![broken(query)])
            .await
            .and_tcp(|_, query| Some(vec![answer(query)]))
            .await;
        let reply = patient(&[Server::udp(mock.addr)]).ask(&question("x")).await.unwrap();
        assert_eq!((reply.len(), mock.accepted()), (answer(&reply).len(), 1), "{what}");
        // By stream the next one is asked.
        let mock = Mock::tcp(move |_, query| Some(vec![broken(query)])).await;
        patient(&[Server::tcp(mock.addr), Server::udp(good.addr)]).ask(&question("x")).await.unwrap();
        assert_eq!(good.seen().len(), 1, "{what}");
        let error = patient(&[Server::tcp(mock.addr)]).ask(&question("x")).await.unwrap_err();
        let said = format!("tcp://{} answered what cannot be read", mock.addr);
        assert_eq!(error, AskError::Network(said), "{what}");
    }
}

#[tokio::test]
async fn forgeries_are_left_aside() {
    type Edit = fn(&mut Vec<u8>);
    let forgeries: [(&str, Edit); 9] = [
        ("wrong ID", |message| message[0] ^= 1),
        ("wrong question", |message| message[13] = b'y'),
        ("wrong type", |message| message[16] = 28),
        ("no response", |message| message[2] &= 0x7f),
        ("another opcode", |message| message[2] |= 0x10),
        ("no question", |message| message[5] = 0),
        ("many questions", |message| message[4] = 0xff),
        ("short", |message| message.truncate(11)),
        ("garbage", |message| message[12..].fill(0xff)),
    ];
    for (what, edit) in forgeries {
        let mock = Mock::udp(move |query| vec![edited(answer(query), edit), answer(query)])
            .await
            .and_tcp(|_, query| Some(vec![answer(query)]))
            .await;
        let forwarder = patient(&[Server::udp(mock.addr)]);
        let reply = forwarder.ask(&question("x")).await.unwrap();
        assert_eq!(reply, answer(&reply), "{what}");
        // What somebody may have guessed at is asked by stream at once; what is no reply decides nothing.
        assert_eq!((mock.seen().len(), mock.accepted()), (1, usize::from(what != "no response")), "{what}");
        let is_guess = matches!(what, "wrong ID" | "wrong question" | "wrong type");
        assert_eq!(forwarder.tallies()[0].guesses, u64::from(is_guess), "{what}");
    }
    let mock =
        Mock::udp(move |query| forgeries.iter().map(|(_, edit)| edited(answer(query), edit)).collect()).await;
    let error = forwarder(&[Server::udp(mock.addr)]).ask(&question("x")).await.unwrap_err();
    assert_eq!(error, AskError::Network(format!("udp://{} answered something else", mock.addr)));
}

#[tokio::test]
async fn another_source_is_left_aside() {
    let forger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    // The server itself answers the second copy only, once the forged reply has long arrived.
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    let _task = Task(tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (len, from) = server.recv_from(&mut buffer).await.unwrap();
        forger.send_to(&reply(&buffer[..len], Rcode::NXDOMAIN, b""), from).unwrap();
        server.send_to(&answer(&buffer[..len]), from).await.unwrap();
    }));
    let reply = patient(&[Server::udp(addr)]).ask(&question("x")).await.unwrap();
    assert_eq!(reply[3] & 0x0f, 0, "the forged NXDOMAIN came first");
}

#[tokio::test]
async fn messages_pass_octet_for_octet() {
    // An address of three octets, a pointer into nowhere, flags that mean nothing: whoever reads records may refuse it; forwarding
    // looks only whether they are there.
    let odd = |query: &[u8]| {
        let mut odd =
            reply(query, Rcode::NOTAUTH, b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x03a\xff\xff");
        odd[3] |= 0x40;
        odd[11] = 1;
        odd.extend_from_slice(&[0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 0]);
        odd
    };
    let mock =
        Mock::udp(move |query| vec![odd(query)]).await.and_tcp(move |_, query| Some(vec![odd(query)])).await;
    for server in [Server::udp(mock.addr), Server::tcp(mock.addr)] {
        let reply = patient(std::slice::from_ref(&server)).ask(&question("x")).await.unwrap();
        assert_eq!(reply, odd(&reply), "{server}");
    }
}

/// A record of 60,000 octets (0xea60).
fn large_text() -> Vec<u8> {
    [&b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x01\x2c\xea\x60"[..], &[7; 60_000]].concat()
}

#[tokio::test]
async fn truncation_leads_to_tcp() {
    let truncated = |query: &[u8]| edited(reply(query, Rcode::NOERROR, b""), |message| message[2] |= 2);
    let mock = Mock::udp(move |query| vec![truncated(query)])
        .await
        .and_tcp(|_, query| Some(vec![reply(query, Rcode::NOERROR, &large_text())]))
        .await;
    let whole = patient(&[Server::udp(mock.addr)]).ask(&question("x")).await.unwrap();
    assert_eq!(whole, reply(&whole, Rcode::NOERROR, &large_text()));
    // Nobody at the TCP port: the truncated reply is not used.
    let mock = Mock::udp(move |query| vec![truncated(query)]).await;
    let error = patient(&[Server::udp(mock.addr)]).ask(&question("x")).await.unwrap_err();
    assert_eq!(error, AskError::Network(format!("udp://{} refused the connection", mock.addr)));
}

#[tokio::test]
async fn datagrams_larger_than_we_take_lead_to_tcp() {
    let filled = |query: &[u8], size: usize| {
        let mut reply = answer(query);
        reply.resize(size, 0);
        reply
    };
    for (size, streams) in [(1220, 0), (1232, 0), (1233, 1), (2000, 1)] {
        let mock = Mock::udp(move |query| vec![filled(query, size)])
            .await
            .and_tcp(move |_, query| Some(vec![filled(query, size)]))
            .await;
        let reply = patient(&[Server::udp(mock.addr)]).ask(&question("x")).await.unwrap();
        assert_eq!((reply.len(), mock.accepted()), (size, streams));
    }
}

#[tokio::test]
async fn errors_say_who_and_what() {
    let settings = Settings::default();
    assert_eq!(
        Forwarder::new(settings).ask(&question("x")).await,
        Err(AskError::NoneReachable("no upstream is configured".to_owned()))
    );
    let (gone, silent) = (nobody().await, Mock::udp(|_| Vec::new()).await);
    let started = Instant::now();
    for server in [Server::udp(gone), Server::tcp(gone)] {
        assert_eq!(
            patient(std::slice::from_ref(&server)).ask(&question("x")).await,
            Err(AskError::Network(format!("{server} refused the connection")))
        );
    }
    assert!(started.elapsed() < Duration::from_secs(1), "a refusal is known at once");
    let started = Instant::now();
    let servers = [Server::udp(gone), Server::udp(silent.addr)];
    assert_eq!(
        forwarder(&servers).ask(&question("x")).await,
        Err(AskError::NoneReachable(format!(
            "{} refused the connection; {} did not answer in time",
            servers[0], servers[1]
        )))
    );
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(2), "{took:?}");
    let five: Vec<Server> = {
        let mut five = Vec::new();
        for _ in 0..5 {
            five.push(Server::tcp(nobody().await));
        }
        five
    };
    let text = patient(&five).ask(&question("x")).await.unwrap_err().to_string();
    assert!(text.ends_with("; 2 more failed"), "{text}");
}

#[tokio::test]
async fn a_server_that_declines_is_not_the_last_word() {
    let mut mocks = Vec::new();
    for code in [Rcode::SERVFAIL, Rcode::REFUSED, Rcode::NXDOMAIN] {
        mocks.push(Mock::udp(move |query| vec![reply(query, code, b"")]).await);
    }
    let servers: Vec<Server> = mocks.iter().map(|mock| Server::udp(mock.addr)).collect();
    let said = patient(&servers).ask(&question("x")).await.unwrap();
    assert_eq!(Rcode(u16::from(said[3] & 0x0f)), Rcode::NXDOMAIN);
    // All decline: each once, the first once more, and what it says then is the reply.
    let said = patient(&servers[..2]).ask(&question("x")).await.unwrap();
    assert_eq!(Rcode(u16::from(said[3] & 0x0f)), Rcode::SERVFAIL);
    assert_eq!(mocks.iter().map(|mock| mock.seen().len()).collect::<Vec<_>>(), [3, 2, 1]);
    // One declines, the other is silent: that is a reply, and not the network's fault.
    let silent = Mock::udp(|_| Vec::new()).await;
    let said = forwarder(&[servers[0].clone(), Server::udp(silent.addr)]).ask(&question("x")).await.unwrap();
    assert_eq!(Rcode(u16::from(said[3] & 0x0f)), Rcode::SERVFAIL);
}

#[tokio::test]
async fn a_silent_server_steps_back() {
    let (silent, good) = (Mock::udp(|_| Vec::new()).await, Mock::udp(|query| vec![answer(query)]).await);
    let forwarder = forwarder(&[Server::udp(silent.addr), Server::udp(good.addr)]);
    for _ in 0..8 {
        forwarder.ask(&question("x")).await.unwrap();
    }
    let tallies = forwarder.tallies();
    // The probe goes out with the third question, and may end a moment after it.
    assert!((3..=4).contains(&tallies[0].asked), "{tallies:?}");
    assert_eq!((tallies[0].failed, tallies[0].probes), (tallies[0].asked, 1));
    assert_eq!((tallies[1].asked, tallies[1].failed), (8, 0));
}

#[tokio::test]
async fn a_server_that_is_back_answers_the_next_question() {
    let addr = nobody().await;
    let forwarder = forwarder(&[Server::udp(nobody().await), Server::udp(addr)]);
    for _ in 0..10 {
        assert!(matches!(forwarder.ask(&question("x")).await, Err(AskError::Network(_))));
    }
    let _mock = Mock::udp_at(addr, |query| vec![answer(query)]).await;
    forwarder.ask(&question("x")).await.unwrap();
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again() {
    let count = AtomicUsize::new(0);
    let mock =
        Mock::udp(
            move |query| {
                if count.fetch_add(1, Ordering::SeqCst) == 0 { Vec::new() } else { vec![answer(query)] }
            },
        )
        .await;
    forwarder(&[Server::udp(mock.addr)]).ask(&question("x")).await.unwrap();
    // On a busy machine the second may have been late, too.
    let seen = mock.seen();
    assert!(seen.len() >= 2, "{}", seen.len());
    // From another port, but for one time in sixteen, and then under another ID.
    let way = |(from, query): &Datagram| (*from, [query[0], query[1]]);
    assert_ne!(way(&seen[0]), way(&seen[1]));
}

#[tokio::test]
async fn streams_are_used_again() {
    let mock = Mock::tcp(|_, query| Some(vec![answer(query)])).await;
    let forwarder = patient(&[Server::tcp(mock.addr)]);
    for _ in 0..5 {
        forwarder.ask(&question("x")).await.unwrap();
    }
    assert_eq!(mock.accepted(), 1);
}

#[tokio::test]
async fn a_burst_shares_a_stream_and_answers_come_in_any_order() {
    // Replies wait until all eight questions are there, then come last first.
    let held: Mutex<Vec<Vec<u8>>> = Mutex::default();
    let mock = Mock::tcp(move |_, query| {
        let mut held = held.lock().unwrap();
        held.push(query.to_vec());
        Some(if held.len() < 8 { Vec::new() } else { held.iter().rev().map(|query| answer(query)).collect() })
    })
    .await;
    let forwarder = Arc::new(patient(&[Server::tcp(mock.addr)]));
    let asking: Vec<_> = (0..8)
        .map(|n| {
            let forwarder = Arc::clone(&forwarder);
            tokio::spawn(async move { forwarder.ask(&question(&format!("n{n}"))).await.unwrap() })
        })
        .collect();
    for (n, task) in asking.into_iter().enumerate() {
        assert_eq!(task.await.unwrap()[12..15], [2, b'n', b'0' + n as u8]);
    }
    assert_eq!(mock.accepted(), 1);
}

#[tokio::test]
async fn a_closed_stream_costs_nothing() {
    // Each stream takes one question, and closes when it sees the second.
    let mock = {
        let served = Mutex::new(HashSet::new());
        Mock::tcp(move |number, query| served.lock().unwrap().insert(number).then(|| vec![answer(query)]))
            .await
    };
    let forwarder = patient(&[Server::tcp(mock.addr)]);
    for _ in 0..4 {
        forwarder.ask(&question("x")).await.unwrap();
    }
    assert_eq!(mock.accepted(), 4);
    assert_eq!(forwarder.tallies()[0].failed, 0);
}

#[tokio::test]
async fn a_hung_stream_is_left() {
    let mock =
        Mock::tcp(|number, query| Some(if number == 0 { Vec::new() } else { vec![answer(query)] })).await;
    let forwarder = forwarder(&[Server::tcp(mock.addr)]);
    // The first try hangs, the second opens another stream.
    forwarder.ask(&question("x")).await.unwrap();
    forwarder.ask(&question("x")).await.unwrap();
    assert_eq!(mock.accepted(), 2);
}

#[tokio::test]
async fn a_stream_that_answers_something_else_is_left() {
    let mock = Mock::tcp(|_, query| Some(vec![edited(answer(query), |message| message[13] = b'y')])).await;
    let error = patient(&[Server::tcp(mock.addr)]).ask(&question("x")).await.unwrap_err();
    assert_eq!(error, AskError::Network(format!("tcp://{} answered something else", mock.addr)));
    // What nobody waits for is left aside.
    let mock = Mock::tcp(|_, query| {
        Some(vec![edited(answer(query), |message| message[0] ^= 1), vec![1], Vec::new(), answer(query)])
    })
    .await;
    patient(&[Server::tcp(mock.addr)]).ask(&question("x")).await.unwrap();
}

#[tokio::test]
async fn too_much_under_way_is_said_at_once() {
    let silent = Mock::udp(|_| Vec::new()).await;
    let forwarder = Arc::new(Forwarder::new(Settings {
        servers: vec![Server::udp(silent.addr)],
        total_timeout: Duration::from_millis(300),
        max_in_flight: 2,
        ..Settings::default()
    }));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let forwarder = Arc::clone(&forwarder);
        asking.spawn(async move { forwarder.ask(&question("x")).await });
    }
    let first = asking.join_next().await.unwrap().unwrap();
    assert_eq!(first, Err(AskError::Overloaded));
    while let Some(other) = asking.join_next().await {
        assert!(matches!(other.unwrap(), Err(AskError::NoneReachable(_))));
    }
}

#[tokio::test]
async fn ipv6_upstreams_work_too() {
    if UdpSocket::bind("[::1]:0").await.is_err() {
        eprintln!("skipped: this host has no IPv6 loopback");
        return;
    }
    let truncated = |query: &[u8]| edited(reply(query, Rcode::NOERROR, b""), |message| message[2] |= 2);
    let mock = Mock::udp_at("[::1]:0".parse().unwrap(), move |query| vec![truncated(query)])
        .await
        .and_tcp(|_, query| Some(vec![answer(query)]))
        .await;
    let whole = patient(&[Server::udp(mock.addr)]).ask(&question("x")).await.unwrap();
    assert_eq!(whole, answer(&whole));
}

#[tokio::test]
async fn names_of_some_zones_are_asked_of_others_and_a_server_is_one() {
    let (one, two) =
        (Mock::udp(|query| vec![answer(query)]).await, Mock::udp(|query| vec![answer(query)]).await);
    let name = |text: &str| text.parse().unwrap();
    let by = |zones: &[&str], server: &Mock| Forward {
        zones: zones.iter().map(|zone| name(zone)).collect(),
        servers: vec![Server::udp(server.addr)],
    };
    let settings = |forwards: Vec<Forward>| Settings {
        servers: vec![Server::udp(one.addr)],
        forwards,
        ..Settings::default()
    };
    let first = Forwarder::new(settings(vec![by(&["lan", "home.arpa"], &two), by(&["x.lan"], &one)]));
    for (asked, mock) in [("a.lan", &two), ("b.example", &one), ("c.x.lan", &one), ("home.arpa", &two)] {
        let before = mock.seen().len();
        first.ask(&question(asked)).await.unwrap();
        assert_eq!(mock.seen().len(), before + 1, "{asked}");
    }
    let counts = |forwarder: &Forwarder| -> Vec<(SocketAddr, u64, Vec<Name>)> {
        let tallies = forwarder.tallies().into_iter();
        tallies.map(|tally| (tally.server.addr, tally.asked, tally.zones)).collect()
    };
    assert_eq!(
        counts(&first),
        [(one.addr, 2, vec![Name::ROOT, name("x.lan")]), (two.addr, 2, vec![name("lan"), name("home.arpa")])]
    );
    // What is known of a server goes over, whatever it is asked about then.
    let second = first.following(settings(vec![by(&["example"], &two)]));
    second.ask(&question("b.example")).await.unwrap();
    assert_eq!(counts(&second), [(one.addr, 2, vec![Name::ROOT]), (two.addr, 3, vec![name("example")])]);
}

/// The cookie that a query carries.
fn cookie_of(query: &[u8]) -> Option<Vec<u8>> {
    super::message::cookie(query).unwrap().map(<[u8]>::to_vec)
}

/// A reply with a cookie behind it, and the upper half of an extended rcode.
fn shows(reply: Vec<u8>, cookie: &[u8], high: u8) -> Vec<u8> {
    let option = [&[0, 10, 0, cookie.len() as u8], cookie].concat();
    let opt = [&[0, 0, 41, 4, 208, high, 0, 0, 0, 0, option.len() as u8], &option[..]].concat();
    edited([reply, opt].concat(), |reply| reply[11] = 1)
}

/// The answer of a server that gives cookies: the one it was sent, and its own.
fn gives(query: &[u8]) -> Vec<u8> {
    match cookie_of(query) {
        Some(cookie) => shows(answer(query), &[&cookie[..8], b"a server's"].concat(), 0),
        None => answer(query),
    }
}

#[tokio::test]
async fn a_cookie_that_was_given_has_to_be_shown() {
    /// What a server says to its nth datagram.
    type Script = fn(usize, &[u8]) -> Vec<Vec<u8>>;
    let cases: [(&str, Script, usize, u64, Vec<usize>); 7] = [
        ("gives", |_, query| vec![gives(query)], 0, 0, vec![8, 18]),
        ("gives none", |_, query| vec![answer(query)], 0, 0, vec![8, 0]),
        (
            "repeats ours",
            |_, query| {
                vec![cookie_of(query).map_or(answer(query), |cookie| shows(answer(query), &cookie, 0))]
            },
            0,
            0,
            vec![8, 0],
        ),
        // Each forged reply is asked about by stream.
        (
            "forged once",
            |n, query| match n {
                2 => vec![answer(query), gives(query)],
                3 => vec![shows(answer(query), &[0; 16], 0)],
                4 => vec![shows(reply(query, Rcode::SERVFAIL, &[]), &[0; 8], 0)],
                _ => vec![gives(query)],
            },
            3,
            3,
            vec![8, 18],
        ),
        ("stops", |n, query| vec![if n == 0 { gives(query) } else { answer(query) }], 3, 3, vec![8, 18, 0]),
        (
            "takes it for an error",
            |_, query| match cookie_of(query) {
                Some(_) => vec![reply(query, Rcode::FORMERR, &[])],
                None => vec![answer(query)],
            },
            0,
            0,
            vec![8, 0],
        ),
        (
            "is silent to it",
            |_, query| match cookie_of(query) {
                Some(_) => vec![],
                None => vec![answer(query)],
            },
            0,
            0,
            vec![8, 0],
        ),
    ];
    for (what, script, by_stream, refused, carried) in cases {
        let count = AtomicUsize::new(0);
        let mock = Mock::udp(move |query| script(count.fetch_add(1, Ordering::SeqCst), query)).await;
        let mock = mock.and_tcp(|_, query| Some(vec![answer(query)])).await;
        let forwarder = patient(&[Server::udp(mock.addr)]);
        for _ in 0..6 {
            let reply = forwarder.ask(&question("x")).await.unwrap();
            assert_eq!(reply[3] & 0xf, 0, "{what}");
        }
        let seen = mock.seen();
        let sent = seen.iter().map(|(_, query)| cookie_of(query).map_or(0, |cookie| cookie.len()));
        // On a busy machine a question may be sent twice.
        let mut kinds: Vec<usize> = sent.collect();
        kinds.dedup();
        assert_eq!(kinds, carried, "{what}");
        // For the cookie alone nobody goes without EDNS.
        let is_in_time = seen.len() == 7;
        let without_edns = seen.iter().any(|(_, query)| query[11] == 0);
        assert!(what != "takes it for an error" || !is_in_time || !without_edns, "{what}");
        assert_eq!(mock.accepted().min(1), by_stream.min(1), "{what}");
        let tally = forwarder.tallies().remove(0);
        assert_eq!((tally.cookied.refused.min(refused), tally.guesses), (refused, 0), "{what}");
        assert_eq!(tally.cookied.refused == 0, refused == 0, "{what}");
        assert_eq!(tally.cookied.given, what == "gives" || what == "forged once", "{what}");
    }
}

#[tokio::test]
async fn a_server_that_wants_its_cookie_is_shown_it() {
    const SERVERS: &[u8] = b"another's";
    // It wants its own cookie, which becomes another one once; or none is ever good enough.
    for (content, by_stream) in [(true, 0), (false, 1)] {
        let asked = AtomicUsize::new(0);
        let mock = Mock::udp(move |query| {
            let n = asked.fetch_add(1, Ordering::SeqCst);
            let Some(cookie) = cookie_of(query) else { return vec![answer(query)] };
            let own = [&cookie[..8], SERVERS, if n < 3 { b"1" } else { b"2" }].concat();
            if content && cookie == own {
                return vec![shows(answer(query), &own, 0)];
            }
            vec![shows(reply(query, Rcode(7), &[]), &own, 1)]
        })
        .await;
        let mock = mock.and_tcp(|_, query| Some(vec![answer(query)])).await;
        let forwarder = patient(&[Server::udp(mock.addr)]);
        for _ in 0..3 {
            let reply = forwarder.ask(&question("x")).await.unwrap();
            assert_eq!((reply[3] & 0xf, cookie_of(&reply).is_none()), (0, by_stream > 0), "{content}");
        }
        // Two of three questions were put twice, or all.
        let least = if content { 5 } else { 6 };
        assert!((least..=least + 3).contains(&mock.seen().len()), "{content} {}", mock.seen().len());
        assert_eq!(mock.accepted(), by_stream, "{content}");
        assert!(forwarder.tallies()[0].cookied.given);
    }
}

#[tokio::test]
async fn without_cookies_none_is_sent_nor_wanted() {
    let mock = Mock::udp(|query| vec![gives(query)]).await;
    let settings =
        |cookies| Settings { servers: vec![Server::udp(mock.addr)], cookies, ..Settings::default() };
    let forwarder = Forwarder::new(settings(true));
    forwarder.ask(&question("x")).await.unwrap();
    let without = forwarder.following(settings(false));
    without.ask(&question("x")).await.unwrap();
    let carried: Vec<bool> = mock.seen().iter().map(|(_, query)| cookie_of(query).is_some()).collect();
    assert_eq!(carried, [true, false]);
}
