//! Clients of all kinds at the running program: pipelining, slow, many, and those that send garbage.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use support::authority::{Authority, Reply as Scripted, ipv4_of};
use support::flood::{Mock, address_of};
use support::process::{Folder, Program, skipped};
use support::storm::storm;
use support::wire::{self, A};

/// What the listed name has.
const SINKHOLED: &str = "NOERROR 0.0.0.0 EDE16 EDE4";

/// One listed name.
fn folder() -> Folder {
    let order = "id = \"a\"\ntitle = \"T\"\nkind = \"court\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.ddns.net\"]\n";
    Folder::new(&[("orders/a.toml", order)])
}

#[test]
fn pipelined_queries_are_answered_as_answers_come() {
    let folder = folder();
    let authority = Authority::start();
    authority.script(
        "slow.ddns.net",
        A,
        Scripted::new().a(ipv4_of("slow.ddns.net")).after(Duration::from_millis(300)),
    );
    let program = Program::of(&folder, authority.addr());
    let mut stream = wire::connect(program.tcp[0]);
    // All in one write: first one that is slow, then more than may be under way at one time.
    let names: Vec<String> = std::iter::once("slow.ddns.net".to_owned())
        .chain((1..200).map(|index| {
            if index % 3 == 0 { "evil.ddns.net".to_owned() } else { format!("n{index}.ddns.net") }
        }))
        .collect();
    let queries: Vec<u8> = names
        .iter()
        .enumerate()
        .flat_map(|(id, name)| wire::framed(&wire::query(id as u16, name, A)))
        .collect();
    stream.write_all(&queries).expect("sent");
    let mut order = Vec::new();
    for _ in &names {
        let reply = wire::read_framed(&mut stream).expect("a reply");
        let name = &names[usize::from(reply.id)];
        assert_eq!(&reply.qname, name);
        let expected = match name.as_str() {
            "evil.ddns.net" => SINKHOLED.to_owned(),
            other => format!("NOERROR {}", ipv4_of(other)),
        };
        assert_eq!(reply.show(), expected, "{name}");
        order.push(reply.id);
    }
    assert_ne!(order[0], 0, "the slow answer holds up no other");
    order.sort_unstable();
    assert!(order.iter().copied().eq(0..200), "each query has one answer: {order:?}");
    // What the client has asked before it closes its side is still answered.
    stream.write_all(&wire::framed(&wire::query(7, "last.ddns.net", A))).expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("closed");
    assert_eq!(wire::read_framed(&mut stream).expect("a reply").addresses, [ipv4_of("last.ddns.net")]);
    assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn slow_clients_and_silent_ones_hold_up_nobody() {
    let folder = folder();
    let upstream = Mock::start();
    let upstream_addr = upstream.addr().to_string();
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        &upstream_addr,
        "--orders",
        "orders",
        "--set",
        "listen.idle_timeout_ms=300",
    ];
    let program = Program::serve(&folder, &args);
    let addr = program.tcp[0];
    // One sends octet by octet.
    let mut slow = wire::connect(addr);
    let octets = wire::framed(&wire::query(1, "evil.ddns.net", A));
    // One asks and asks, and never reads.
    let deaf = wire::connect(addr);
    deaf.set_nonblocking(true).expect("a mode");
    let many: Vec<u8> = (0..500).flat_map(|id| wire::framed(&wire::query(id, "evil.ddns.net", A))).collect();
    for octet in &octets {
        slow.write_all(&[*octet]).expect("sent");
        let _ = (&deaf).write(&many);
        assert_eq!(wire::udp(program.addr(), "evil.ddns.net", A).show(), SINKHOLED);
        assert_eq!(wire::tcp(addr, "good.ddns.net", A).addresses, [address_of("good.ddns.net")]);
    }
    assert_eq!(wire::read_framed(&mut slow).expect("a reply").show(), SINKHOLED);
    // One says nothing, and is let go.
    let mut silent = wire::connect(addr);
    let start = Instant::now();
    assert_eq!(silent.read(&mut [0]).expect("the end"), 0);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // A message of no octets is no query.
    let mut empty = wire::connect(addr);
    empty.write_all(&[0, 0]).expect("sent");
    assert_eq!(empty.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn many_connections_up_to_a_limit_for_each_client() {
    /// The default limit for one client, and that for all together.
    const LIMITS: (usize, usize) = (64, 512);
    let folder = folder();
    let upstream = Mock::start();
    let program = Program::of(&folder, upstream.addr());
    let addr = program.tcp[0];
    if !cfg!(target_os = "linux") {
        return skipped("only Linux has all of 127.0.0.0/8 as loopback addresses");
    }
    let served = |stream: &mut TcpStream, name: &str| {
        stream.write_all(&wire::framed(&wire::query(1, name, A))).ok()?;
        wire::read_framed(stream).ok()
    };
    // The last client finds that all places are taken.
    let mut open: Vec<TcpStream> = Vec::new();
    let mut turned_away = 0;
    for client in 1..=9 {
        for index in 0..=LIMITS.0 {
            let mut stream = connect_from(client, addr);
            let name = format!("c{client}-{index}.ddns.net");
            match served(&mut stream, &name) {
                Some(reply) => {
                    assert_eq!(reply.addresses, [address_of(&name)]);
                    open.push(stream);
                }
                None => turned_away += 1,
            }
            if client == 9 {
                break;
            }
        }
    }
    assert_eq!((open.len(), turned_away), (LIMITS.1, 8 + 1));
    // Each of them is served on; a place that is given back is taken again.
    for stream in &mut open {
        assert_eq!(served(stream, "evil.ddns.net").expect("a reply").show(), SINKHOLED);
    }
    drop(open.split_off(LIMITS.1 / 2));
    let deadline = Instant::now() + Duration::from_secs(10);
    while served(&mut connect_from(9, addr), "evil.ddns.net").is_none() {
        assert!(Instant::now() < deadline, "no place became free");
    }
}

#[test]
fn garbage_does_no_harm() {
    let folder = folder();
    let upstream = Mock::start();
    let program = Program::of(&folder, upstream.addr());
    let report = storm(&program, 20_000, 1);
    println!("{report:?}");
    assert!(report.replies > 1000 && report.good >= 500 && report.connections > 5, "{report:?}");
    assert_eq!(wire::udp(program.addr(), "evil.ddns.net", A).show(), SINKHOLED);
    assert_eq!(wire::tcp(program.tcp[0], "evil.ddns.net", A).show(), SINKHOLED);
    let mark = program.mark();
    program.signal("USR1");
    let counters = program.wait_for(mark, "listeners: ");
    assert!(counters.contains(" panics=0"), "{counters}");
    let received: usize = counters
        .split_whitespace()
        .find_map(|word| word.strip_prefix("udp_received=")?.parse().ok())
        .expect("a number");
    assert!(received >= report.udp, "what was sent did arrive: {counters}");
    assert!(!program.log().contains("panicked"), "{}", program.log());
}

/// A connection from 127.0.0.`client`.
fn connect_from(client: u8, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, client], 0)).into()).expect("an address");
    socket.connect(&to.into()).expect("a connection");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    stream
}
