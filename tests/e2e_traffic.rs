//! Clients of all kinds at the running program: pipelining, slow, many, and those that send garbage.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
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
fn names_that_hang_leave_room_for_others() {
    let folder = folder();
    let authority = Authority::start();
    let hangs = |id: u16| format!("hangs{id}.ddns.net");
    (0..64).for_each(|id| authority.script(&hangs(id), A, Scripted::silence()));
    let upstream = authority.addr().to_string();
    // First questions are bounded, then those who wait for them.
    for bound in ["upstream.max_in_flight=16", "listen.max_pending=16"] {
        let args = ["--listen", "127.0.0.1:0", "--upstream", &upstream, "--orders", "orders", "--set", bound];
        let program = Program::serve(&folder, &args);
        let before: Vec<usize> = (0..64).map(|id| authority.asked(&hangs(id))).collect();
        let client = wire::client_of(program.addr());
        for id in 0..64 {
            client.send(&wire::query(id, &hangs(id), A)).expect("sent");
        }
        let start = Instant::now();
        while (0..64).filter(|id| authority.asked(&hangs(*id)) > before[usize::from(*id)]).count() < 16 {
            assert!(start.elapsed() < Duration::from_secs(3), "{bound}: not full");
        }
        // Four seconds is how long an upstream is waited for.
        let start = Instant::now();
        let mut stream = wire::connect(program.tcp[0]);
        let answered = (0..u16::MAX).find(|id| {
            stream.write_all(&wire::framed(&wire::query(*id, &format!("n{id}.ddns.net"), A))).expect("sent");
            wire::read_framed(&mut stream).expect("a reply").rcode == 0
        });
        assert!(answered.is_some() && start.elapsed() < Duration::from_secs(3), "{bound}: {answered:?}");
    }
}

#[test]
fn however_many_connections_stand_idle_one_more_is_served() {
    /// The default limit for one client, and the number of clients that take all places there are.
    const LIMITS: (usize, u8) = (64, 8);
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
    // One more for each client, and then clients who have none.
    let mut open: Vec<TcpStream> = Vec::new();
    for client in 1..=LIMITS.1 + 2 {
        for index in 0..=LIMITS.0 {
            let mut stream = connect_from(client, addr);
            let name = format!("c{client}-{index}.ddns.net");
            let reply = served(&mut stream, &name).unwrap_or_else(|| panic!("{name} is not answered"));
            assert_eq!(reply.addresses, [address_of(&name)]);
            open.push(stream);
        }
    }
    // The first of all was idle longest.
    assert_eq!(open[0].read(&mut [0]).expect("the end"), 0);
    let last = open.last_mut().expect("a connection");
    assert_eq!(served(last, "evil.ddns.net").expect("a reply").show(), SINKHOLED);
}

#[test]
fn whoever_is_not_served_keeps_no_served_client_out() {
    if !cfg!(target_os = "linux") {
        return skipped("only Linux has all of 127.0.0.0/8 as loopback addresses");
    }
    let folder = folder();
    let upstream = Mock::start();
    let upstream_addr = upstream.addr().to_string();
    let access = "access.allow=[\"127.0.0.1\"]";
    let args =
        ["--listen", "127.0.0.1:0", "--upstream", &upstream_addr, "--orders", "orders", "--set", access];
    let program = Program::serve(&folder, &args);
    let strangers: Vec<TcpStream> =
        (0..512u16).map(|index| connect_from(2 + (index / 64) as u8, program.tcp[0])).collect();
    for index in 0..46 {
        let name = format!("n{index}.ddns.net");
        assert_eq!(wire::tcp(program.tcp[0], &name, A).addresses, [address_of(&name)]);
    }
    for mut stranger in strangers {
        // Closed, one way or the other.
        assert!(!matches!(stranger.read(&mut [0]), Ok(1..)));
    }
    let mark = program.mark();
    program.signal("USR1");
    let counters = program.wait_for(mark, "listeners: ");
    assert!(counters.contains(" tcp_denied=512 ") && counters.contains(" tcp_refused=0 "), "{counters}");
}

#[test]
fn one_client_who_hangs_thousands_of_names_keeps_nobody_out() {
    if !cfg!(target_os = "linux") {
        return skipped("only Linux has all of 127.0.0.0/8 as loopback addresses");
    }
    let folder = folder();
    let authority = Authority::start();
    let slow = Duration::from_secs(60);
    let hanging: Vec<String> = (0..4300).map(|index| format!("h{index}.ddns.net")).collect();
    for name in &hanging {
        authority.script(name, A, Scripted::new().after(slow));
    }
    let program = Program::of(&folder, authority.addr());
    let hog = UdpSocket::bind("127.0.0.2:0").expect("a socket");
    hog.connect(program.addr()).expect("a server");
    for (chunk, names) in hanging.chunks(50).enumerate() {
        for (id, name) in names.iter().enumerate() {
            hog.send(&wire::query((50 * chunk + id) as u16, name, A)).expect("sent");
        }
        // What is answered at once shows that all before it were taken in.
        hog.send(&wire::query(u16::MAX, "evil.ddns.net", A)).expect("sent");
        while wire::receive(&hog).expect("a reply").id != u16::MAX {}
    }
    // All at once, and never again: who finds no room is not answered.
    let others = wire::client_of(program.addr());
    let names: Vec<String> = (0..8).map(|index| format!("n{index}.ddns.net")).collect();
    for (id, name) in names.iter().enumerate() {
        others.send(&wire::query(id as u16, name, A)).expect("sent");
    }
    for _ in &names {
        let reply = wire::receive(&others).expect("a reply");
        let name = &names[usize::from(reply.id)];
        assert_eq!(&reply.qname, name);
        assert_eq!(reply.addresses, [ipv4_of(name)]);
    }
    assert_eq!(wire::tcp(program.tcp[0], "t.ddns.net", A).addresses, [ipv4_of("t.ddns.net")]);
    let mark = program.mark();
    program.signal("USR1");
    let counters = program.wait_for(mark, "listeners: ");
    // On a busy machine some have waited for so long that they give way to the hog's own next ones.
    let count = |name: &str| {
        let value = counters.split(&format!(" {name}=")).nth(1).and_then(|rest| rest.split(' ').next());
        value.and_then(|value| value.parse::<u32>().ok()).expect(name)
    };
    assert_eq!(count("client_full") + count("gave_way"), 3300, "{counters}");
}

#[test]
fn a_slow_upstream_answers_and_a_refusal_is_not_the_last_word() {
    let folder = folder();
    let (refuses, knows) = (Authority::start(), Authority::start());
    refuses.script("slow.ddns.net", A, Scripted::new().rcode(5));
    let late = Scripted::new().a(ipv4_of("slow.ddns.net")).after(Duration::from_millis(400));
    knows.script("slow.ddns.net", A, late.clone());
    knows.script("later.ddns.net", A, late);
    let upstreams = format!("upstream.servers=['{}', '{}']", refuses.addr(), knows.addr());
    let args = ["--listen", "127.0.0.1:0", "--orders", "orders", "--set", &upstreams];
    let both = Program::serve(&folder, &args);
    assert_eq!(wire::tcp(both.tcp[0], "slow.ddns.net", A).addresses, [ipv4_of("slow.ddns.net")]);
    // One that takes longer than it is waited for: it is asked again, and its first answer is taken.
    let upstream = knows.addr().to_string();
    let hasty = "upstream.try_timeout_ms=150";
    let args = ["--listen", "127.0.0.1:0", "--orders", "orders", "--upstream", &upstream, "--set", hasty];
    let alone = Program::serve(&folder, &args);
    assert_eq!(wire::tcp(alone.tcp[0], "later.ddns.net", A).addresses, [ipv4_of("slow.ddns.net")]);
    assert!(knows.asked("later.ddns.net") > 1);
}

#[test]
fn replies_that_pile_up_for_one_address_make_no_pulse() {
    let folder = folder();
    let authority = Authority::start();
    let reply = Scripted::new().a(ipv4_of("slow.ddns.net")).after(Duration::from_millis(2200));
    authority.script("slow.ddns.net", A, reply);
    let upstream = authority.addr().to_string();
    // One try, that long.
    let patient = "upstream.try_timeout_ms=3500";
    let args = ["--listen", "127.0.0.1:0", "--upstream", &upstream, "--orders", "orders", "--set", patient];
    let program = Program::serve(&folder, &args);
    let target = wire::client_of(program.addr());
    target.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    for id in 0..600 {
        target.send(&wire::query(id, "slow.ddns.net", A)).expect("sent");
    }
    // By stream nobody can be made to receive what they did not ask for.
    assert_eq!(wire::tcp(program.tcp[0], "slow.ddns.net", A).addresses, [ipv4_of("slow.ddns.net")]);
    let told = std::iter::from_fn(|| wire::receive(&target)).count();
    assert!(told <= 16, "{told} replies in one pulse");
}

#[test]
fn queries_that_wait_take_little_room_whatever_they_came_with() {
    if !cfg!(target_os = "linux") {
        return skipped("only Linux tells how large a process is");
    }
    let folder = folder();
    let authority = Authority::start();
    let program = Program::of(&folder, authority.addr());
    let before = program.status("VmRSS").expect("a size");
    let mut connections = Vec::new();
    let slow = Duration::from_secs(60);
    for index in 0..8 {
        let mut stream = wire::connect(program.tcp[0]);
        for id in 0..63u16 {
            let name = format!("h{index}-{id}.ddns.net");
            authority.script(&name, A, Scripted::new().after(slow));
            // An OPT record with 60 KB of padding (RFC 7830).
            let mut query = wire::query(id, &name, A);
            query.truncate(12 + name.len() + 6);
            query[10..12].copy_from_slice(&[0, 1]);
            query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0]);
            for length in [60_004u16, 12, 60_000] {
                query.extend(length.to_be_bytes());
            }
            query.resize(query.len() + 60_000, 0);
            stream.write_all(&wire::framed(&query)).expect("sent");
        }
        // The last of them is answered, so all before it wait.
        stream.write_all(&wire::framed(&wire::query(63, "evil.ddns.net", A))).expect("sent");
        assert_eq!(wire::read_framed(&mut stream).expect("a reply").id, 63);
        connections.push(stream);
    }
    let grown = program.status("VmRSS").expect("a size").saturating_sub(before);
    // They came in 30 MB; what a question takes upstream is some ten KB.
    assert!(grown < 20_000, "{grown} KB for 504 queries");
}

#[test]
fn with_few_descriptors_there_are_always_some_left() {
    let folder = folder();
    let upstream = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    upstream.set_read_timeout(Some(support::process::PATIENCE)).expect("a timeout");
    let upstream_addr = upstream.local_addr().expect("an address").to_string();
    let args = ["--listen", "127.0.0.1:0", "--upstream", &upstream_addr, "--orders", "orders"];
    // All descriptors there are, and then those that the soft limit hides.
    for (limits, said) in [
        ("ulimit -n 400", "this process may open 400 files and sockets: listen.max_connections is"),
        ("ulimit -S -n 400 && ulimit -H -n 2000", "2000 files and sockets may be open from now on"),
    ] {
        let mut shell = support::process::in_folder(std::process::Command::new("sh"), folder.path());
        shell
            .args(["-c", &format!("{limits} && exec \"$0\" serve \"$@\""), &support::process::program()])
            .args(args);
        let program = Program::start(shell).expect("it serves");
        let hog = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for id in 0..1500 {
            hog.send_to(&wire::query(id, &format!("h{id}.ddns.net"), A), program.addr()).expect("sent");
        }
        // As many as may be are under way by now, and nobody answers them.
        upstream.recv_from(&mut [0; 512]).expect("it asks");
        // Well before the first of them is given up.
        let mut stream = wire::connect(program.tcp[0]);
        stream.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
        stream.write_all(&wire::framed(&wire::query(1, "evil.ddns.net", A))).expect("sent");
        assert_eq!(wire::read_framed(&mut stream).expect("a reply").show(), SINKHOLED);
        let order = "id = \"b\"\ntitle = \"T\"\nkind = \"court\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"also.ddns.net\"]\n";
        folder.write("orders/b.toml", order);
        let mark = program.mark();
        program.signal("HUP");
        program.wait_for(mark, "order b added");
        assert_eq!(wire::tcp(program.tcp[0], "also.ddns.net", A).show(), SINKHOLED);
        program.wait_for(0, said);
        assert!(!program.log().contains("Too many open files"), "{}", program.log());
        drop(program);
        std::fs::remove_file(folder.file("orders/b.toml")).expect("removed");
    }
}

/// A link-local address of this machine with its interface by name; none if it has none.
fn link_local() -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    table.lines().find_map(|line| {
        // The address as 32 digits, index, prefix length, scope, flags, name. Without the tentative flag it is in use.
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, _, _, "20", flags, name] = words[..] else { return None };
        let tentative = u8::from_str_radix(flags, 16).ok()? & 0x40 != 0;
        let address = std::net::Ipv6Addr::from_bits(u128::from_str_radix(address, 16).ok()?);
        (!tentative).then(|| format!("{address}%{name}"))
    })
}

#[test]
fn link_local_addresses_are_listened_on_and_asked() {
    let Some(address) = link_local() else {
        return skipped("this machine has no link-local address");
    };
    // The program's own reading of the name is what is tested; here the number of the interface is taken from its log.
    let folder = folder();
    let listener = Program::serve(
        &folder,
        &["--listen", &format!("[{address}]:0"), "--orders", "orders", "--set", "upstream.servers=[]"],
    );
    assert_eq!(wire::tcp(listener.tcp[0], "evil.ddns.net", A).show(), SINKHOLED);
    let mut own = listener.addr();
    drop(listener);
    own.set_port(0);
    let upstream = UdpSocket::bind(own).expect("a socket");
    upstream.set_read_timeout(Some(support::process::PATIENCE)).expect("a timeout");
    let asked = format!("[{address}]:{}", upstream.local_addr().expect("an address").port());
    let program = Program::serve(
        &folder,
        &["--listen", "127.0.0.1:0", "--upstream", &format!("udp://{asked}"), "--orders", "orders"],
    );
    let client = wire::client_of(program.addr());
    client.send(&wire::query(1, "good.ddns.net", A)).expect("sent");
    let mut query = [0; 512];
    let (_, from) = upstream.recv_from(&mut query).expect("it asks");
    // The question as it came, and 192.0.2.7 as its answer.
    let end = 12 + query[12..].iter().position(|octet| *octet == 0).expect("the root") + 5;
    let mut reply = query[..end].to_vec();
    reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
    upstream.send_to(&reply, from).expect("sent");
    assert_eq!(wire::receive(&client).expect("a reply").show(), "NOERROR 192.0.2.7");
}

#[test]
fn an_address_may_come_later_and_a_wildcard_covers_others() {
    if !cfg!(target_os = "linux") {
        return skipped("only Linux has addresses taken before they are there");
    }
    let folder = folder();
    let port = UdpSocket::bind("0.0.0.0:0").expect("a socket").local_addr().expect("an address").port();
    // TEST-NET-3 (RFC 5737) is nobody's.
    let listen = format!(
        "listen.udp=[\"203.0.113.9:{port}\",\"127.0.0.1:{port}\",\"0.0.0.0:{}\",\"127.0.0.1:{}\"]",
        port ^ 1,
        port ^ 1
    );
    let program =
        Program::serve(&folder, &["--set", &listen, "--orders", "orders", "--set", "upstream.servers=[]"]);
    program.wait_for(0, "203.0.113.9 is not an address of this machine (yet)");
    program.wait_for(
        0,
        &format!("listen 127.0.0.1:{0}: left out: 0.0.0.0:{0} takes what comes to it, too", port ^ 1),
    );
    for port in [port, port ^ 1] {
        assert_eq!(wire::udp(SocketAddr::from(([127, 0, 0, 1], port)), "evil.ddns.net", A).show(), SINKHOLED);
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
