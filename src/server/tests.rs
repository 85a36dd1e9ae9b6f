//! Listeners on loopback with a toy in the resolver's place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Counts, Server, Settings, bind_tcp};
use crate::batch::{Outbox, Route};
use crate::serve::{Back, Client, Hot, Respond, Step};
use crate::transport::Transport;

/// Long enough for anything that should happen, on any machine.
const SOON: Duration = Duration::from_secs(10);
/// Long enough to see that something does not happen.
const AWHILE: Duration = Duration::from_millis(60);

/// Whom the toy does not serve.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));

/// Sockets for tests, which need little room.
fn bind_udp(addr: SocketAddr, count: usize) -> std::io::Result<Vec<std::net::UdpSocket>> {
    super::bind_udp(addr, count, 1 << 18)
}

/// Does what a packet's first octet says: echoes it at once, later, never; or panics.
struct Toy {
    /// What waits goes on with a permit from here.
    gate: Semaphore,
    /// How many began to wait.
    begun: AtomicUsize,
}

impl Respond for Toy {
    type Pending = Vec<u8>;
    type Hot = Eager;

    fn hot(&self) -> Eager {
        Eager { batch: Vec::new() }
    }

    fn now(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Step<Vec<u8>> {
        match packet.first() {
            Some(b'e') => {
                packet.clone_into(out);
                Step::Reply
            }
            Some(b't') => {
                *out = format!("{:?} {}", client.transport, client.addr).into_bytes();
                Step::Reply
            }
            Some(b'l' | b'n' | b'q' | b'b') => Step::Later(packet.to_vec()),
            Some(b'p') => panic!("on purpose"),
            _ => Step::Drop,
        }
    }

    fn serves(&self, client: IpAddr) -> bool {
        client != STRANGER
    }

    fn answer_from_cache(&self, pending: &Vec<u8>, out: &mut Vec<u8>) -> Step<()> {
        match pending.get(1) {
            Some(b's') => {
                *out = b"stale".to_vec();
                Step::Reply
            }
            Some(b'p') => panic!("on purpose"),
            Some(b'n') => Step::Drop,
            _ => Step::Later(()),
        }
    }

    /// Begins what begins with `b`, and does what its second octet says: answers, drops, leaves it for later, panics at once or then.
    fn begin<B: Back<Vec<u8>>>(self: &Arc<Toy>, pending: Vec<u8>, back: B) -> Result<(), (Vec<u8>, B)> {
        if pending[0] != b'b' {
            return Err((pending, back));
        }
        assert_ne!(pending[1], b'p', "on purpose");
        let toy = Arc::clone(self);
        tokio::spawn(async move {
            toy.begun.fetch_add(1, Ordering::SeqCst);
            toy.gate.acquire().await.unwrap().forget();
            match pending[1] {
                b'r' => back.replied(Some(pending)),
                b'n' => back.replied(None),
                b'l' => back.later(b"later".to_vec()),
                _ => panic!("on purpose"),
            }
        });
        Ok(())
    }

    async fn later(&self, pending: &Vec<u8>, out: &mut Vec<u8>) -> bool {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        assert_ne!(pending[0], b'q', "on purpose");
        let replies = pending[0] == b'l';
        pending.clone_into(out);
        replies
    }
}

/// The toy's hot side: echoes what begins with `h`, panics on `x`, and on `y` before it is its turn.
struct Eager {
    batch: Vec<Vec<u8>>,
}

impl Hot for Eager {
    fn begin<'p>(&mut self, packets: impl Iterator<Item = &'p [u8]>) {
        self.batch = packets.map(<[u8]>::to_vec).collect();
        assert!(self.batch.iter().all(|packet| packet.first() != Some(&b'y')), "on purpose");
    }

    fn answer(&mut self, index: usize, packet: &[u8], _from: SocketAddr, out: &mut [u8]) -> Option<usize> {
        assert_ne!(packet.first(), Some(&b'x'), "on purpose");
        // After a panic there is a new one in the middle of a batch.
        let foreseen = self.batch.get(index)?;
        assert_eq!(foreseen, packet, "another one was announced");
        (packet.first() == Some(&b'h')).then(|| {
            out[..packet.len()].copy_from_slice(packet);
            packet.len()
        })
    }
}

/// A server with the toy behind it.
struct Fixture {
    toy: Arc<Toy>,
    server: Server<Toy>,
    udp: SocketAddr,
    tcp: SocketAddr,
}

impl Fixture {
    fn new(settings: Settings) -> Fixture {
        let toy = Arc::new(Toy { gate: Semaphore::new(0), begun: AtomicUsize::new(0) });
        let mut server = Server::new(Arc::clone(&toy), settings);
        let any = "127.0.0.1:0".parse().unwrap();
        let (sockets, listener) = (bind_udp(any, 2).unwrap(), bind_tcp(any).unwrap());
        let (udp, tcp) = (sockets[0].local_addr().unwrap(), listener.local_addr().unwrap());
        server.serve_udp(sockets).unwrap();
        server.serve_tcp(listener).unwrap();
        Fixture { toy, server, udp, tcp }
    }

    fn counts(&self) -> Counts {
        self.server.counters().read()
    }

    /// Waits until `count` queries wait.
    async fn begun(&self, count: usize) {
        eventually(|| self.toy.begun.load(Ordering::SeqCst) == count).await;
    }

    async fn datagrams(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.udp).await.unwrap();
        socket
    }

    async fn stream(&self) -> TcpStream {
        TcpStream::connect(self.tcp).await.unwrap()
    }

    /// A stream from another of the loopback addresses; none where only 127.0.0.1 is one.
    async fn stream_from(&self, ip: impl Into<IpAddr>) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        if socket.bind(SocketAddr::new(ip.into(), 0)).is_err() {
            eprintln!("skipped: this host has one loopback address only");
            return None;
        }
        Some(socket.connect(self.tcp).await.unwrap())
    }
}

async fn eventually(condition: impl Fn() -> bool) {
    timeout(SOON, async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("it never came about");
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 512];
    let len = timeout(SOON, socket.recv(&mut buffer)).await.expect("no reply").unwrap();
    buffer[..len].to_vec()
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), messages: &[&[u8]]) {
    let framed: Vec<u8> = messages
        .iter()
        .flat_map(|message| [&(message.len() as u16).to_be_bytes()[..], message].concat())
        .collect();
    stream.write_all(&framed).await.unwrap();
}

/// The next message; none at the end of the stream.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    timeout(SOON, async {
        let length = stream.read_u16().await.ok()?;
        let mut message = vec![0; usize::from(length)];
        stream.read_exact(&mut message).await.ok()?;
        Some(message)
    })
    .await
    .expect("neither a message nor the end")
}

#[tokio::test]
async fn any_stream_of_octets_carries_queries() {
    let fixture = Fixture::new(Settings::default());
    // Of few octets at a time: what arrives in pieces is put together.
    let (mut ours, theirs) = tokio::io::duplex(7);
    let client = Client { addr: "192.0.2.7:4242".parse().unwrap(), transport: Transport::Tcp };
    let (place, closed, _) = fixture.server.shared.connections.admit(client.addr.ip()).unwrap();
    let ends = (fixture.server.stop.subscribe(), closed);
    let shared = Arc::clone(&fixture.server.shared);
    let serving = tokio::spawn(super::stream::serve(tokio::io::split(theirs), client, place, shared, ends));
    write(&mut ours, &[b"t", b"echo", b"echo again"]).await;
    for expected in [&b"Tcp 192.0.2.7:4242"[..], b"echo", b"echo again"] {
        assert_eq!(read(&mut ours).await.unwrap(), expected);
    }
    drop(ours);
    timeout(SOON, serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn datagrams_are_answered() {
    let fixture = Fixture::new(Settings::default());
    let socket = fixture.datagrams().await;
    socket.send(b"t").await.unwrap();
    let shown = format!("{:?} {}", Transport::Udp, socket.local_addr().unwrap());
    assert_eq!(receive(&socket).await, shown.as_bytes());
    // What waits holds nobody up, and a silence is one.
    for packet in [&b"later"[..], b"silence", b"hot", b"never", b"", b"echo"] {
        socket.send(packet).await.unwrap();
    }
    assert_eq!(receive(&socket).await, b"hot");
    assert_eq!(receive(&socket).await, b"echo");
    fixture.toy.gate.add_permits(2);
    assert_eq!(receive(&socket).await, b"later");
    eventually(|| fixture.counts().udp_sent == 4).await;
    assert_eq!(fixture.counts().udp_received, 7);
}

#[tokio::test]
async fn many_clients_are_answered() {
    let fixture = Fixture::new(Settings::default());
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let socket = fixture.datagrams().await;
        socket.send(b"t").await.unwrap();
        sockets.push(socket);
    }
    for socket in &sockets {
        assert!(receive(socket).await.ends_with(socket.local_addr().unwrap().to_string().as_bytes()));
    }
}

#[tokio::test]
async fn datagrams_that_wait_are_bounded() {
    let fixture = Fixture::new(Settings { pending: 2, ..Settings::default() });
    let socket = fixture.datagrams().await;
    for query in [b"l0", b"l1", b"l2", b"l3", b"l4"] {
        socket.send(query).await.unwrap();
    }
    eventually(|| fixture.counts().dropped_overload == 3).await;
    fixture.toy.gate.add_permits(2);
    for query in [b"l0", b"l1"] {
        assert_eq!(receive(&socket).await, query);
    }
    // There is room again.
    socket.send(b"later").await.unwrap();
    fixture.toy.gate.add_permits(1);
    assert_eq!(receive(&socket).await, b"later");
    let counts = fixture.counts();
    assert_eq!((counts.dropped_overload, counts.pending_full), (3, 3));
}

#[tokio::test]
async fn whoever_hangs_many_gives_way_and_is_told_by_stream() {
    let fixture = Fixture::new(Settings { pending: 3, pending_per_client: 3, ..Settings::default() });
    let (socket, mut stream) = (fixture.datagrams().await, fixture.stream().await);
    // The oldest wait is the stream's; the toy knows something stale for it.
    write(&mut stream, &[b"lstale"]).await;
    fixture.begun(1).await;
    for query in [b"l0", b"l1"] {
        socket.send(query).await.unwrap();
    }
    fixture.begun(3).await;
    let Some(mut other) = fixture.stream_from([127, 0, 0, 2]).await else { return };
    write(&mut other, &[b"later"]).await;
    fixture.begun(4).await;
    assert_eq!(read(&mut stream).await.unwrap(), b"stale");
    let counts = fixture.counts();
    assert_eq!((counts.gave_way, counts.answered_overload, counts.dropped_overload), (1, 1, 0));
    fixture.toy.gate.add_permits(3);
    assert_eq!(read(&mut other).await.unwrap(), b"later");
    for query in [b"l0", b"l1"] {
        assert_eq!(receive(&socket).await, query);
    }
}

#[tokio::test]
async fn the_same_datagram_is_answered_once() {
    let fixture = Fixture::new(Settings::default());
    let socket = fixture.datagrams().await;
    for _ in 0..3 {
        socket.send(b"later").await.unwrap();
    }
    eventually(|| fixture.counts().dropped_twice == 2).await;
    // By stream everything is answered: nobody sends there twice what was not asked twice.
    let mut stream = fixture.stream().await;
    write(&mut stream, &[b"later", b"later"]).await;
    fixture.begun(3).await;
    fixture.toy.gate.add_permits(3);
    assert_eq!(receive(&socket).await, b"later");
    assert_eq!(
        (read(&mut stream).await.unwrap(), read(&mut stream).await.unwrap()),
        (b"later".to_vec(), b"later".to_vec())
    );
    eventually(|| fixture.counts().udp_sent == 1).await;
}

#[tokio::test]
async fn late_replies_leave_in_small_numbers() {
    let late = Some(Duration::ZERO);
    let fixture = Fixture::new(Settings { late, pending_per_client: 100, ..Settings::default() });
    let socket = fixture.datagrams().await;
    for query in 0..120u8 {
        socket.send(&[b'l', b'-', query]).await.unwrap();
    }
    fixture.begun(100).await;
    eventually(|| fixture.counts().client_full == 20).await;
    fixture.toy.gate.add_permits(100);
    eventually(|| fixture.counts().udp_sent + fixture.counts().dropped_late == 100).await;
    // Two workers count a client's waits at the same time, each while its own replies still hold their places.
    assert!(fixture.counts().udp_sent <= 16, "{:?}", fixture.counts());
    // Somebody who waits for one thing is answered, however long it took.
    socket.send(b"later").await.unwrap();
    fixture.begun(101).await;
    sleep(Duration::from_millis(2)).await;
    let sent = fixture.counts().udp_sent;
    fixture.toy.gate.add_permits(1);
    eventually(|| fixture.counts().udp_sent == sent + 1).await;
}

#[tokio::test]
async fn those_without_room_are_answered_by_what_is_known() {
    let fixture = Fixture::new(Settings { pending: 1, ..Settings::default() });
    let socket = fixture.datagrams().await;
    // In this order to one worker: the first waits, the second is answered, the third is silent, the fourth is dropped.
    for packet in [&b"later"[..], b"lstale", b"lnothing", b"lost", b"lpanic"] {
        socket.send(packet).await.unwrap();
    }
    assert_eq!(receive(&socket).await, b"stale");
    eventually(|| fixture.counts().panics == 1).await;
    let counts = fixture.counts();
    assert_eq!((counts.answered_overload, counts.dropped_overload), (1, 1));
    fixture.toy.gate.add_permits(1);
    assert_eq!(receive(&socket).await, b"later");
}

#[tokio::test]
async fn a_panic_costs_one_packet() {
    let fixture = Fixture::new(Settings::default());
    let (socket, mut stream) = (fixture.datagrams().await, fixture.stream().await);
    fixture.toy.gate.add_permits(2);
    for packet in [&b"panic"[..], b"q", b"x", b"echo"] {
        socket.send(packet).await.unwrap();
    }
    assert_eq!(receive(&socket).await, b"echo");
    write(&mut stream, &[b"panic", b"q", b"echo"]).await;
    assert_eq!(read(&mut stream).await.unwrap(), b"echo");
    fixture.begun(2).await;
    eventually(|| fixture.counts().panics >= 4).await;
    // A stream's panic is seen when the next message comes by.
    let mut panics = 0;
    for _ in 0..1000 {
        write(&mut stream, &[b"echo"]).await;
        read(&mut stream).await;
        panics = fixture.counts().panics;
        if panics == 5 {
            break;
        }
    }
    assert_eq!(panics, 5);
    socket.send(b"y").await.unwrap();
    eventually(|| fixture.counts().panics == 6).await;
    socket.send(b"hot").await.unwrap();
    assert_eq!(receive(&socket).await, b"hot");
}

#[tokio::test]
async fn a_client_that_is_gone_troubles_nobody() {
    let fixture = Fixture::new(Settings::default());
    for _ in 0..20 {
        fixture.datagrams().await.send(b"later").await.unwrap();
    }
    fixture.begun(20).await;
    fixture.toy.gate.add_permits(20);
    eventually(|| fixture.counts().udp_sent == 20).await;
    let socket = fixture.datagrams().await;
    socket.send(b"echo").await.unwrap();
    assert_eq!(receive(&socket).await, b"echo");
}

#[tokio::test]
async fn nobody_is_answered_at_port_zero() {
    let toy = Toy { gate: Semaphore::new(0), begun: AtomicUsize::new(0) };
    let server = Server::new(Arc::new(toy), Settings::default());
    let forged = Route { peer: "127.0.0.1:0".parse().unwrap(), local: None };
    let (late, mut queue) = tokio::sync::mpsc::channel(1);
    let mut outbox = Outbox::new(4, 512);
    let mut answering = super::udp::Answering {
        shared: &server.shared,
        hot: &mut server.shared.respond.hot(),
        outbox: &mut outbox,
        late: &late,
        slow: &mut Vec::new(),
        busy: false,
    };
    for packet in [&b"echo"[..], b"hot", b"later"] {
        answering.answer(0, packet, &forged);
    }
    assert!(outbox.is_empty() && queue.try_recv().is_err());
    let counts = server.counters().read();
    assert_eq!(counts, Counts { dropped_source: 3, ..Counts::default() });
}

#[tokio::test]
async fn errors_are_told_when_nobody_waits() {
    let toy = Toy { gate: Semaphore::new(0), begun: AtomicUsize::new(0) };
    let server = Server::new(Arc::new(toy), Settings::default());
    let route = Route { peer: "127.0.0.1:9".parse().unwrap(), local: None };
    let (late, _queue) = tokio::sync::mpsc::channel(1);
    let mut outbox = Outbox::new(16, 512);
    for (busy, told) in [(false, 5), (true, 3)] {
        // The toy echoes them: NOERROR, FORMERR, NXDOMAIN, NOTIMP, and one that is too short to say.
        for packet in [&b"ech\x80"[..], b"ech\x81", b"ech\x83", b"ech\x84", b"ech"] {
            let mut answering = super::udp::Answering {
                shared: &server.shared,
                hot: &mut server.shared.respond.hot(),
                outbox: &mut outbox,
                late: &late,
                slow: &mut Vec::new(),
                busy,
            };
            answering.answer(0, packet, &route);
        }
        assert_eq!(outbox.len(), told, "{busy}");
        outbox.clear();
    }
    assert_eq!(server.counters().read(), Counts { untold_busy: 2, ..Counts::default() });
}

#[tokio::test]
async fn what_is_begun_comes_back_by_the_same_socket() {
    let fixture = Fixture::new(Settings::default());
    let socket = fixture.datagrams().await;
    for query in [&b"br"[..], b"bn", b"bp", b"bq"] {
        socket.send(query).await.unwrap();
    }
    fixture.begun(3).await;
    fixture.toy.gate.add_permits(3);
    assert_eq!(receive(&socket).await, b"br");
    // One that takes longer than it was begun for waits as others do.
    socket.send(b"bl").await.unwrap();
    fixture.toy.gate.add_permits(2);
    assert_eq!(receive(&socket).await, b"later");
    eventually(|| fixture.counts().panics == 2).await;
    // Whatever became of them, their places are free: all that was begun is over.
    assert!(timeout(SOON, fixture.server.stop()).await.unwrap());
}

#[tokio::test]
async fn replies_leave_from_where_the_query_came_to() {
    for (wildcard, client, asked) in [("0.0.0.0:0", "127.0.0.1:0", "127.0.0.9"), ("[::]:0", "[::1]:0", "::1")]
    {
        let Ok(sockets) = bind_udp(wildcard.parse().unwrap(), 2) else {
            eprintln!("skipped: this host has no {wildcard}");
            continue;
        };
        let mut fixture = Fixture::new(Settings::default());
        let at = SocketAddr::new(asked.parse().unwrap(), sockets[0].local_addr().unwrap().port());
        fixture.server.serve_udp(sockets).unwrap();
        let socket = UdpSocket::bind(client).await.unwrap();
        // A connected socket takes replies from that address only: at once, slowly, and late.
        socket.connect(at).await.unwrap();
        fixture.toy.gate.add_permits(1);
        for packet in [&b"hot"[..], b"echo", b"later"] {
            socket.send(packet).await.unwrap();
            assert_eq!(receive(&socket).await, packet);
        }
    }
}

#[tokio::test]
async fn stopping_answers_what_the_socket_holds() {
    let fixture = Fixture::new(Settings::default());
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let socket = fixture.datagrams().await;
        socket.send(b"hot").await.unwrap();
        sockets.push(socket);
    }
    assert!(fixture.server.stop().await);
    for socket in &sockets {
        assert_eq!(receive(socket).await, b"hot");
    }
}

#[tokio::test]
async fn a_server_that_is_dropped_is_gone() {
    let fixture = Fixture::new(Settings::default());
    let udp = fixture.udp;
    drop(fixture);
    eventually(|| bind_udp(udp, 1).is_ok()).await;
}

#[tokio::test]
async fn ipv6_is_served() {
    let Ok(sockets) = bind_udp("[::1]:0".parse().unwrap(), 2) else {
        eprintln!("skipped: this host has no IPv6 loopback");
        return;
    };
    let mut fixture = Fixture::new(Settings::default());
    fixture.udp = sockets[0].local_addr().unwrap();
    fixture.server.serve_udp(sockets).unwrap();
    let socket = UdpSocket::bind("[::1]:0").await.unwrap();
    socket.send_to(b"echo", fixture.udp).await.unwrap();
    assert_eq!(receive(&socket).await, b"echo");
    let listener = bind_tcp("[::1]:0".parse().unwrap()).unwrap();
    fixture.tcp = listener.local_addr().unwrap();
    fixture.server.serve_tcp(listener).unwrap();
    let mut stream = fixture.stream().await;
    write(&mut stream, &[b"echo"]).await;
    assert_eq!(read(&mut stream).await.unwrap(), b"echo");
}

#[tokio::test]
async fn a_stream_is_answered_out_of_order() {
    let fixture = Fixture::new(Settings::default());
    let mut stream = fixture.stream().await;
    write(&mut stream, &[b"later", b"silence", b"never", b"echo", b"t"]).await;
    assert_eq!(read(&mut stream).await.unwrap(), b"echo");
    let shown = format!("{:?} {}", Transport::Tcp, stream.local_addr().unwrap());
    assert_eq!(read(&mut stream).await.unwrap(), shown.as_bytes());
    fixture.toy.gate.add_permits(2);
    assert_eq!(read(&mut stream).await.unwrap(), b"later");
    let counts = fixture.counts();
    assert_eq!((counts.tcp_received, counts.tcp_sent, counts.tcp_accepted), (5, 3, 1));
}

#[tokio::test]
async fn messages_of_every_size_pass() {
    let fixture = Fixture::new(Settings::default());
    let mut stream = fixture.stream().await;
    let sizes = [1, 2, 511, 4093, 4094, 4095, 4096, 8190, 65_535];
    let messages: Vec<Vec<u8>> = sizes.iter().map(|size| vec![b'e'; *size]).collect();
    for message in &messages {
        write(&mut stream, &[message]).await;
        assert_eq!(&read(&mut stream).await.unwrap(), message);
    }
    // All at once, and octet by octet.
    let parts: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    write(&mut stream, &parts).await;
    for message in &messages {
        assert_eq!(&read(&mut stream).await.unwrap(), message);
    }
    for octet in [0, 4, b'e', b'c', b'h', b'o'] {
        stream.write_all(&[octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&mut stream).await.unwrap(), b"echo");
}

#[tokio::test]
async fn a_client_may_close_its_half_and_still_be_answered() {
    let fixture = Fixture::new(Settings::default());
    let mut stream = fixture.stream().await;
    write(&mut stream, &[b"later"]).await;
    stream.shutdown().await.unwrap();
    fixture.begun(1).await;
    fixture.toy.gate.add_permits(1);
    assert_eq!(read(&mut stream).await.unwrap(), b"later");
    assert_eq!(read(&mut stream).await, None);
}

#[tokio::test]
async fn an_idle_stream_is_closed() {
    let fixture = Fixture::new(Settings { tcp_idle: AWHILE, ..Settings::default() });
    let (mut idle, mut waiting) = (fixture.stream().await, fixture.stream().await);
    write(&mut waiting, &[b"later"]).await;
    assert_eq!(read(&mut idle).await, None);
    assert_eq!(fixture.counts().tcp_idle_closed, 1);
    // One with a query under way is not idle.
    assert!(timeout(4 * AWHILE, waiting.read_u8()).await.is_err());
    fixture.toy.gate.add_permits(1);
    assert_eq!(read(&mut waiting).await.unwrap(), b"later");
    assert_eq!(read(&mut waiting).await, None);
    assert_eq!(fixture.counts().tcp_idle_closed, 2);
}

#[tokio::test]
async fn a_message_must_come_whole_and_in_time() {
    let fixture = Fixture::new(Settings { tcp_message: AWHILE, ..Settings::default() });
    for part in [&b"\x00"[..], b"\x00\x05", b"\x00\x05ech", b"\x00\x04echo\x00"] {
        let mut stream = fixture.stream().await;
        stream.write_all(part).await.unwrap();
        if part.len() > 6 {
            assert_eq!(read(&mut stream).await.unwrap(), b"echo");
        }
        assert_eq!(read(&mut stream).await, None, "{part:?}");
    }
    // Octets that keep dripping do not help.
    let mut stream = fixture.stream().await;
    stream.write_all(b"\x01\x00").await.unwrap();
    let mut dripped = 0;
    while timeout(AWHILE / 12, stream.read_u8()).await.is_err() {
        let _ = stream.write_all(b"e").await;
        dripped += 1;
        assert!(dripped < 255, "it was never closed");
    }
    assert_eq!(fixture.counts().tcp_bad_closed, 5);
}

#[tokio::test]
async fn a_message_of_no_octets_closes() {
    let fixture = Fixture::new(Settings::default());
    let mut stream = fixture.stream().await;
    write(&mut stream, &[b"echo", b"", b"echo"]).await;
    assert_eq!(read(&mut stream).await.unwrap(), b"echo");
    assert_eq!(read(&mut stream).await, None);
    assert_eq!(fixture.counts().tcp_bad_closed, 1);
}

#[tokio::test]
async fn queries_under_way_on_a_stream_are_bounded() {
    let fixture = Fixture::new(Settings { tcp_pipelined: 2, ..Settings::default() });
    let mut stream = fixture.stream().await;
    write(&mut stream, &[b"later", b"later", b"echo"]).await;
    fixture.begun(2).await;
    assert!(timeout(AWHILE, stream.read_u8()).await.is_err(), "the third was not read");
    assert_eq!(fixture.counts().tcp_received, 2);
    fixture.toy.gate.add_permits(1);
    assert_eq!(read(&mut stream).await.unwrap(), b"later");
    assert_eq!(read(&mut stream).await.unwrap(), b"echo");
}

#[tokio::test]
async fn connections_are_bounded() {
    let fixture = Fixture::new(Settings { tcp_connections: 2, ..Settings::default() });
    let (mut first, mut second) = (fixture.stream().await, fixture.stream().await);
    for stream in [&mut first, &mut second] {
        write(stream, &[b"later"]).await;
    }
    fixture.begun(2).await;
    assert_eq!(read(&mut fixture.stream().await).await, None, "nobody is idle");
    assert_eq!(fixture.counts().tcp_refused, 1);
    write(&mut first, &[b"echo"]).await;
    assert_eq!(read(&mut first).await.unwrap(), b"echo");
    // One that ends makes room.
    fixture.toy.gate.add_permits(2);
    drop(first);
    timeout(SOON, async {
        loop {
            let mut stream = fixture.stream().await;
            // Writing to a stream that was closed may fail.
            if stream.write_all(b"\x00\x04echo").await.is_ok() && read(&mut stream).await.is_some() {
                break;
            }
        }
    })
    .await
    .expect("there was never room");
}

#[tokio::test]
async fn connections_of_one_client_are_bounded() {
    let fixture = Fixture::new(Settings { tcp_connections_per_client: 1, ..Settings::default() });
    let mut first = fixture.stream().await;
    write(&mut first, &[b"later"]).await;
    fixture.begun(1).await;
    assert_eq!(read(&mut fixture.stream().await).await, None);
    let Some(mut other) = fixture.stream_from([127, 0, 0, 2]).await else { return };
    write(&mut other, &[b"echo"]).await;
    assert_eq!(read(&mut other).await.unwrap(), b"echo");
    // Once answered the first is idle, and goes for another of its client, not of anybody else.
    fixture.toy.gate.add_permits(1);
    assert_eq!(read(&mut first).await.unwrap(), b"later");
    eventually(|| fixture.counts().tcp_sent == 2).await;
    let mut next = fixture.stream().await;
    assert_eq!(read(&mut first).await, None);
    for stream in [&mut next, &mut other] {
        write(stream, &[b"echo"]).await;
        assert_eq!(read(stream).await.unwrap(), b"echo");
    }
    assert_eq!((fixture.counts().tcp_refused, fixture.counts().tcp_evicted), (1, 1));
}

#[tokio::test]
async fn whoever_is_idle_longest_makes_room() {
    let fixture = Fixture::new(Settings { tcp_connections: 3, ..Settings::default() });
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = fixture.stream().await;
        write(&mut stream, &[b"echo"]).await;
        assert_eq!(read(&mut stream).await.unwrap(), b"echo");
        streams.push(stream);
    }
    // The first is busy now, and half a message does not make the second busy.
    write(&mut streams[0], &[b"later"]).await;
    fixture.begun(1).await;
    streams[1].write_all(b"\x00").await.unwrap();
    let mut fourth = fixture.stream().await;
    write(&mut fourth, &[b"echo"]).await;
    assert_eq!(read(&mut fourth).await.unwrap(), b"echo");
    assert!(timeout(SOON, streams[1].read_u8()).await.unwrap().is_err(), "the second went");
    fixture.toy.gate.add_permits(1);
    assert_eq!(read(&mut streams[0]).await.unwrap(), b"later");
    let counts = fixture.counts();
    assert_eq!((counts.tcp_evicted, counts.tcp_refused), (1, 0));
}

#[tokio::test]
async fn whoever_is_not_served_takes_no_place() {
    let fixture = Fixture::new(Settings { tcp_connections: 1, ..Settings::default() });
    let mut served = fixture.stream().await;
    write(&mut served, &[b"later"]).await;
    fixture.begun(1).await;
    for denied in 1..=3 {
        let Some(mut stranger) = fixture.stream_from(STRANGER).await else { return };
        assert!(stranger.read_u8().await.is_err());
        eventually(|| fixture.counts().tcp_denied == denied).await;
    }
    fixture.toy.gate.add_permits(1);
    assert_eq!(read(&mut served).await.unwrap(), b"later");
    let counts = fixture.counts();
    assert_eq!((counts.tcp_accepted, counts.tcp_evicted, counts.tcp_refused), (1, 0, 0));
}

#[tokio::test]
async fn idle_time_shrinks_as_places_fill() {
    let connections = super::connections::Connections::new((8, 8));
    let full = Duration::from_secs(10);
    let mut held = Vec::new();
    let mut times = Vec::new();
    for _ in 0..8 {
        held.push(connections.admit([192, 0, 2, 1].into()).unwrap());
        times.push(connections.idle_time(full).as_millis());
    }
    assert_eq!(times, [10_000, 10_000, 10_000, 10_000, 7500, 5000, 2500, 200]);
    assert_eq!(connections.idle_time(AWHILE), AWHILE, "never longer than it was set");
}

#[tokio::test]
async fn a_client_that_reads_late_is_read_late() {
    let fixture = Fixture::new(Settings { tcp_pipelined: 4096, ..Settings::default() });
    let mut stream = fixture.stream().await;
    let large = vec![b'e'; 65_535];
    // More than both sides' buffers hold: the server stops reading when two replies wait for their reader.
    let framed = [&[0xff, 0xff], &large[..]].concat();
    let (mut reading, mut writing) = stream.split();
    let sent = async {
        for _ in 0..400 {
            writing.write_all(&framed).await.unwrap();
        }
    };
    let received = async {
        eventually(|| fixture.counts().tcp_received > 0).await;
        // Until nothing more is taken.
        let mut taken = 0;
        while fixture.counts().tcp_received > taken {
            taken = fixture.counts().tcp_received;
            sleep(AWHILE).await;
        }
        let mut reply = vec![0; framed.len()];
        for _ in 0..400 {
            reading.read_exact(&mut reply).await.unwrap();
            assert_eq!(reply, framed);
        }
        taken
    };
    let ((), taken) = timeout(SOON, async { tokio::join!(sent, received) }).await.expect("all are answered");
    assert!(taken < 400, "{taken}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let fixture = Fixture::new(Settings { tcp_write: AWHILE, ..Settings::default() });
    let mut stream = fixture.stream().await;
    let large = vec![b'e'; 65_535];
    // Until the buffers of both sides are full; then the server closes, and writing fails.
    let flooding = async { while stream.write_all(&[&[0xff, 0xff], &large[..]].concat()).await.is_ok() {} };
    timeout(SOON, flooding).await.expect("it was never given up");
    assert_eq!(fixture.counts().tcp_slow_closed, 1);
}

#[tokio::test]
async fn stopping_answers_what_is_under_way() {
    let fixture = Fixture::new(Settings::default());
    let (socket, mut stream, mut idle) =
        (fixture.datagrams().await, fixture.stream().await, fixture.stream().await);
    write(&mut idle, &[b"echo"]).await;
    assert_eq!(read(&mut idle).await.unwrap(), b"echo");
    socket.send(b"later").await.unwrap();
    write(&mut stream, &[b"later"]).await;
    fixture.begun(2).await;
    let Fixture { toy, server, tcp, .. } = fixture;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(read(&mut idle).await, None);
    eventually(|| std::net::TcpStream::connect(tcp).is_err()).await;
    assert!(!stopping.is_finished());
    write(&mut stream, &[b"echo"]).await;
    toy.gate.add_permits(2);
    assert_eq!(receive(&socket).await, b"later");
    assert_eq!(read(&mut stream).await.unwrap(), b"later");
    assert_eq!(read(&mut stream).await, None, "what came after the stop is not read");
    assert!(stopping.await.unwrap());
}

#[tokio::test]
async fn stopping_is_bounded() {
    let fixture = Fixture::new(Settings { drain: AWHILE, ..Settings::default() });
    let (socket, mut stream) = (fixture.datagrams().await, fixture.stream().await);
    socket.send(b"later").await.unwrap();
    write(&mut stream, &[b"later"]).await;
    fixture.begun(2).await;
    assert!(!timeout(SOON, fixture.server.stop()).await.unwrap());
    assert_eq!(read(&mut stream).await, None);
    // The port is free again.
    eventually(|| bind_udp(fixture.udp, 1).is_ok()).await;
}
