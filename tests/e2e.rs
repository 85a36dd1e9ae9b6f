//! The built program from start to end: what is written down works as written, in bounded time, whatever upstream does.

mod support;

use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use support::authority::{Authority, Reply as Scripted, ipv4_of, ipv6_of};
use support::flood::{Mock, address_of};
use support::process::{Folder, PATIENCE, Program, aloud, command, has_tool, skipped};
use support::wire::{self, A, AAAA, HTTPS, Reply, TXT};

/// The configuration of the documentation.
const CONFIG: &str = r#"[listen]
udp = ["127.0.0.1:5300"]
tcp = ["127.0.0.1:5300"]

[upstream]
servers = ["udp://127.0.0.1:5999"]

[orders]
paths = ["orders/"]
"#;

/// The order of the documentation.
const ORDER: &str = r#"id = "us-nv-2014-cv-00987"
title = "Microsoft v. Mutairi et al."
kind = "court"
docket = "2:14-cv-00987-GMN-GWF"
zones = ["ddns.net", "no-ip.org"]
action = "sinkhole"

[[scope]]
match = "exact"
file = "noip-hosts.txt"
family = "bladabindi"
"#;

/// A list of names in a few of the forms it may take.
const HOSTS: &str = "# hosts\r\n0.0.0.0\tevil.ddns.net\tWorse.DDNS.net.\r\nbad.no-ip.org # comment\r\n";

/// What a name on it has: an address that says that it is forged, and by which order.
const SINKHOLED: &str = "NOERROR 0.0.0.0 EDE16 EDE4";

/// What is said when somebody else has those ports.
const PORTS_TAKEN: &str = "NOTE: port 5300 or 5999 is taken here, so this test uses others";

/// The port that is used without a configuration: one test at a time, if nobody else has it.
static DEFAULT_PORT: Mutex<()> = Mutex::new(());

#[test]
fn the_documented_files_work_as_written() {
    let folder = Folder::new(&[("orders/noip.toml", ORDER), ("orders/noip-hosts.txt", HOSTS)]);
    let _port = default_port();
    let upstream = Mock::at("127.0.0.1:5999".parse().expect("an address"));
    let as_written = upstream.is_ok() && is_free("127.0.0.1:5300");
    let upstream = upstream.unwrap_or_else(|_| Mock::start());
    let started = as_written.then(|| {
        folder.write("sinkscope.toml", CONFIG);
        let mut serve = command(folder.path());
        serve.arg("serve");
        Program::start(serve)
    });
    let program = match started {
        Some(Ok(program)) => program,
        // Somebody took it since we looked.
        Some(Err(log)) if !log.contains("is taken") => panic!("it does not serve:\n{log}"),
        _ => {
            aloud(PORTS_TAKEN);
            let config = CONFIG.replace("5300", "0").replace("127.0.0.1:5999", &upstream.addr().to_string());
            folder.write("sinkscope.toml", &config);
            Program::serve(&folder, &[])
        }
    };
    assert_eq!((program.udp.len(), &program.udp), (1, &program.tcp));
    let log = program.log();
    for said in [
        "loaded 1 order with 3 names; refused 0 orders and 0 lines of lists",
        "order us-nv-2014-cv-00987: sinkhole, 3 names",
        &format!("asking udp://{}", upstream.addr()),
    ] {
        assert!(log.contains(said), "{said:?} in:\n{log}");
    }
    let addr = program.addr();
    for ask in [wire::udp, wire::tcp] {
        for (name, qtype, expected) in [
            ("evil.ddns.net", A, SINKHOLED),
            ("EVIL.ddns.NET", A, SINKHOLED),
            ("evil.ddns.net", AAAA, "NOERROR :: EDE16 EDE4"),
            ("evil.ddns.net", TXT, "NOERROR EDE16"),
            ("evil.ddns.net", HTTPS, "NOERROR EDE16"),
            ("worse.ddns.net", A, SINKHOLED),
            ("bad.no-ip.org", A, SINKHOLED),
        ] {
            let reply = ask(addr, name, qtype);
            assert_eq!(reply.show(), expected, "{name} {qtype}");
            let text = &reply.ede[0].1;
            assert!(text.contains("us-nv-2014-cv-00987") && text.contains("2:14-cv-00987-GMN-GWF"), "{text}");
        }
        for name in ["good.ddns.net", "www.evil.ddns.net", "ddns.net", "evil.no-ip.org", "example.com"] {
            assert_eq!(ask(addr, name, A).show(), format!("NOERROR {}", address_of(name)), "{name}");
        }
    }
    if !has_tool("dig", "dnsutils") {
        return;
    }
    for extra in ["+notcp", "+tcp"] {
        let dig = |name: &str| {
            let port = addr.port().to_string();
            output(Command::new("dig").args(["@127.0.0.1", "-p", &port, name, "A", extra, "+tries=1"]))
        };
        let evil = dig("evil.ddns.net");
        assert!(evil.contains("evil.ddns.net. 10 IN A 0.0.0.0"), "{evil}");
        let line = evil.lines().find(|line| line.starts_with("; EDE: 16 (Censored): (")).unwrap_or_default();
        assert!(line.contains("us-nv-2014-cv-00987") && line.contains("2:14-cv-00987-GMN-GWF"), "{evil}");
        let good = dig("good.ddns.net");
        assert!(good.contains(&format!(" IN A {}", address_of("good.ddns.net"))), "{good}");
        assert!(!good.contains("EDE"), "{good}");
    }
}

#[test]
fn it_needs_no_configuration() {
    let folder = Folder::new(&[]);
    folder.copy_from_project("blocklists");
    let upstream = Mock::start();
    let _port = default_port();
    let serve = |args: &[&str]| {
        let mut serve = command(folder.path());
        // Where the system's own upstreams would be asked: tests stay on this machine.
        serve.arg("serve").args(args).env("SINKSCOPE_UPSTREAM__SERVERS", upstream.addr().to_string());
        Program::start(serve)
    };
    let free = is_free("127.0.0.1:5300") && (!has_ipv6() || is_free("[::1]:5300"));
    let started = free.then(|| serve(&[]));
    let program = match started {
        Some(Ok(program)) => program,
        Some(Err(log)) if !log.contains("is taken") => panic!("it does not serve:\n{log}"),
        _ => {
            aloud(PORTS_TAKEN);
            serve(&["--listen", "127.0.0.1:0", "--listen", "[::1]:0"]).expect("it serves")
        }
    };
    let log = program.log();
    assert!(log.contains("loaded 4 orders with "), "{log}");
    assert!(log.contains("order noip-demonstration: sinkhole, 40 names\n"), "{log}");
    assert!(log.contains("order us-nv-2014-cv-00987: sinkhole, 24 names, lifted"), "{log}");
    let sinkholed = program.wait_for(0, "try a sinkholed name:");
    let neighbour = program.wait_for(0, "and its innocent neighbour:");
    let families = if has_ipv6() { 2 } else { 1 };
    assert_eq!((program.udp.len(), program.tcp.len()), (families, families), "{log}");
    for (udp, tcp) in program.udp.iter().zip(&program.tcp) {
        assert_eq!(wire::udp(*udp, "sinkscope-sample-1.3utilities.com", A).show(), SINKHOLED);
        assert_eq!(
            wire::tcp(*tcp, "sinkscope-lapsed-1.3utilities.com", A).addresses,
            [address_of("sinkscope-lapsed-1.3utilities.com")]
        );
    }
    if !has_tool("dig", "dnsutils") {
        return;
    }
    // Pasted as they stand there.
    let paste = |line: &str| {
        let (_, dig) = line.split_once(": ").expect("a line to paste");
        output(Command::new("sh").args(["-c", dig.trim()]))
    };
    let shown = paste(&sinkholed);
    assert!(shown.contains(" 10 IN A 0.0.0.0") && shown.contains("; EDE: 16 (Censored): ("), "{shown}");
    assert!(shown.contains("noip-demonstration"), "{shown}");
    let shown = paste(&neighbour);
    assert!(shown.contains(&format!(" IN A {}", address_of("www.3utilities.com"))), "{shown}");
    assert!(!shown.contains("EDE"), "{shown}");
}

#[test]
fn ipv6_clients_are_served() {
    if !has_ipv6() {
        return skipped("this machine has no IPv6 loopback");
    }
    let folder = simple();
    let upstream = Mock::start();
    let args = ["--listen", "[::1]:0", "--upstream", &upstream.addr().to_string(), "--orders", "orders"];
    let program = Program::serve(&folder, &args);
    for ask in [wire::udp, wire::tcp] {
        assert_eq!(ask(program.addr(), "evil.ddns.net", A).show(), SINKHOLED);
        assert_eq!(ask(program.addr(), "good.ddns.net", A).addresses, [address_of("good.ddns.net")]);
    }
}

#[test]
fn the_end_answers_what_is_under_way() {
    let folder = simple();
    let authority = Authority::start();
    for name in ["slow.ddns.net", "slower.ddns.net"] {
        let late = Scripted::new().a(ipv4_of(name)).after(Duration::from_millis(400));
        authority.script(name, A, late);
    }
    for signal in ["TERM", "INT"] {
        let mut program = Program::of(&folder, authority.addr());
        let before = authority.asked_in_all();
        let datagram = wire::client_of(program.addr());
        datagram.send(&wire::query(1, "slow.ddns.net", A)).expect("sent");
        let mut stream = wire::connect(program.addr());
        std::io::Write::write_all(&mut stream, &wire::framed(&wire::query(2, "slower.ddns.net", A)))
            .expect("sent");
        until("upstream hears of both", || authority.asked_in_all() == before + 2);
        program.signal(signal);
        let reply = wire::receive(&datagram).expect("an answer to what was under way by datagram");
        assert_eq!(reply.addresses, [ipv4_of("slow.ddns.net")]);
        let reply = wire::read_framed(&mut stream).expect("an answer to what was under way by stream");
        assert_eq!(reply.addresses, [ipv4_of("slower.ddns.net")]);
        assert_eq!(program.wait().code(), Some(0), "{signal}: {}", program.log());
        program.wait_for(0, "ending: answering what is under way");
        program.wait_for(0, "ended after 2 queries");
    }
}

#[test]
fn killed_and_started_again_at_the_same_port() {
    let folder = simple();
    let upstream = Mock::start();
    let mut first = Program::of(&folder, upstream.addr());
    let addr = first.addr();
    // A connection that is open when it dies leaves traces at the port.
    let mut stream = wire::connect(addr);
    std::io::Write::write_all(&mut stream, &wire::framed(&wire::query(1, "evil.ddns.net", A))).expect("sent");
    wire::read_framed(&mut stream).expect("a reply");
    first.signal("KILL");
    assert_eq!(first.wait().code(), None);
    let args =
        ["--listen", &addr.to_string(), "--upstream", &upstream.addr().to_string(), "--orders", "orders"];
    let second = Program::serve(&folder, &args);
    assert_eq!(second.addr(), addr);
    for ask in [wire::udp, wire::tcp] {
        assert_eq!(ask(addr, "evil.ddns.net", A).show(), SINKHOLED);
        assert_eq!(ask(addr, "good.ddns.net", A).addresses, [address_of("good.ddns.net")]);
    }
}

#[test]
fn without_upstreams_it_sinkholes_and_remembers() {
    let folder = simple();
    let (mut first, mut second) = (Authority::start(), Authority::start());
    let upstreams = [first.addr().to_string(), second.addr().to_string()];
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        &upstreams[0],
        "--upstream",
        &upstreams[1],
        "--orders",
        "orders",
    ];
    let program = Program::serve(&folder, &args);
    let addr = program.addr();
    let truth = |name: &str| format!("NOERROR {}", ipv4_of(name));
    assert_eq!(wire::udp(addr, "cached.ddns.net", A).show(), truth("cached.ddns.net"));

    // One of two: nobody notices but by the clock.
    first.stop();
    let (reply, took) = timed(|| wire::udp(addr, "failover.ddns.net", A));
    assert_eq!(reply.show(), truth("failover.ddns.net"));
    assert!(took < Duration::from_secs(2), "{took:?}");

    // Both: their ports refuse.
    second.stop();
    for round in 0..3 {
        assert_eq!(wire::udp(addr, "evil.ddns.net", A).show(), SINKHOLED);
        assert_eq!(wire::udp(addr, "cached.ddns.net", A).show(), truth("cached.ddns.net"));
        let name = format!("miss{round}.ddns.net");
        let (reply, took) = timed(|| wire::udp(addr, &name, A));
        assert_eq!(reply.rcode, 2, "{}", reply.show());
        assert!(matches!(reply.ede[0].0, 22 | 23), "{:?}", reply.ede);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    // Back: what failed a moment ago resolves again within two seconds.
    let start = Instant::now();
    first.restart();
    second.restart();
    until("recovery", || wire::udp(addr, "miss2.ddns.net", A).show() == truth("miss2.ddns.net"));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    println!("refusing upstreams: recovered in {took:?}");
}

#[test]
fn silent_upstreams_cost_a_bounded_wait() {
    let folder = simple();
    let upstream = Mock::start();
    let program = Program::of(&folder, upstream.addr());
    let addr = program.addr();
    let truth = |name: &str| format!("NOERROR {}", address_of(name));
    assert_eq!(wire::udp(addr, "cached.ddns.net", A).show(), truth("cached.ddns.net"));
    upstream.silence(true);
    let (reply, took) = timed(|| wire::udp(addr, "miss.ddns.net", A));
    assert_eq!(reply.show(), "SERVFAIL EDE22");
    assert!(reply.ede[0].1.contains(&upstream.addr().to_string()), "{:?}", reply.ede);
    // Below the five seconds that stub resolvers wait.
    assert!(took < Duration::from_millis(4500), "{took:?}");
    println!("silent upstream: SERVFAIL after {took:?}: {:?}", reply.ede);
    let (reply, took) = timed(|| wire::udp(addr, "miss.ddns.net", A));
    assert_eq!(reply.show(), "SERVFAIL EDE22 EDE13", "the failure is remembered (RFC 9520)");
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert_eq!(wire::udp(addr, "evil.ddns.net", A).show(), SINKHOLED);
    assert_eq!(wire::udp(addr, "cached.ddns.net", A).show(), truth("cached.ddns.net"));

    // A question under way when it comes back, and those after it.
    let waiting = wire::client_of(addr);
    let before = upstream.asked();
    waiting.send(&wire::query(9, "waiting.ddns.net", A)).expect("sent");
    until("upstream hears it", || upstream.asked() > before);
    let start = Instant::now();
    upstream.silence(false);
    assert_eq!(wire::udp(addr, "new.ddns.net", A).show(), truth("new.ddns.net"));
    until("recovery", || wire::udp(addr, "miss.ddns.net", A).show() == truth("miss.ddns.net"));
    assert_eq!(wire::receive(&waiting).expect("a reply").show(), truth("waiting.ddns.net"));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    println!("silent upstream: recovered in {took:?}");
}

#[test]
fn it_starts_when_no_upstream_answers() {
    let folder = simple();
    // Bound and never read: silent from the first question on.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let program = Program::of(&folder, silent.local_addr().expect("an address"));
    assert_eq!(wire::udp(program.addr(), "evil.ddns.net", A).show(), SINKHOLED);
    let none = Program::serve(
        &folder,
        &["--listen", "127.0.0.1:0", "--orders", "orders", "--set", "upstream.servers="],
    );
    none.wait_for(0, "NO UPSTREAM");
    assert_eq!(wire::udp(none.addr(), "evil.ddns.net", A).show(), SINKHOLED);
    let (reply, took) = timed(|| wire::udp(none.addr(), "good.ddns.net", A));
    assert_eq!(reply.show(), "SERVFAIL EDE22");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn answers_survive_the_way_through() {
    let folder = simple();
    let authority = Authority::start();
    let program = Program::of(&folder, authority.addr());
    let addr = program.addr();
    assert_eq!(wire::udp(addr, "good.ddns.net", AAAA).addresses, [ipv6_of("good.ddns.net")]);
    authority.script("gone.ddns.net", A, Scripted::nxdomain());
    let reply = wire::udp(addr, "gone.ddns.net", A);
    assert_eq!((reply.show().as_str(), reply.authority), ("NXDOMAIN", 1));
    authority.script("broken.ddns.net", A, Scripted::new().rcode(2).ede(6, "bogus"));
    let reply = wire::udp(addr, "broken.ddns.net", A);
    assert_eq!((reply.show().as_str(), reply.ede[0].1.as_str()), ("SERVFAIL EDE6", "bogus"));
    // Truncated towards us, asked again over TCP; too large for the client's datagram, whole over its stream; as many records as a
    // set may have.
    let long = (1..=100)
        .fold(Scripted::new().truncated_over_udp(), |reply, last| reply.a([198, 18, 0, last].into()));
    authority.script("long.ddns.net", A, long);
    let reply = wire::udp(addr, "long.ddns.net", A);
    assert!(reply.truncated, "{}", reply.show());
    let reply = wire::tcp(addr, "long.ddns.net", A);
    assert_eq!((reply.truncated, reply.addresses.len()), (false, 100));
    if has_tool("kdig", "knot-dnsutils") {
        let port = format!("-p{}", addr.port());
        let shown = output(Command::new("kdig").args(["@127.0.0.1", &port, "long.ddns.net", "A", "+short"]));
        assert_eq!(shown.lines().filter(|line| line.starts_with("198.18.0.")).count(), 100, "{shown}");
    }
    // An alias that leads to a listed name.
    authority.script(
        "alias.ddns.net",
        A,
        Scripted::new()
            .cname("evil.ddns.net")
            .record("evil.ddns.net", support::authority::Data::A([192, 0, 2, 1].into())),
    );
    let reply = wire::udp(addr, "alias.ddns.net", A);
    assert_eq!(reply.addresses, [std::net::Ipv4Addr::UNSPECIFIED], "{}", reply.show());
    assert!(reply.is_blocked(), "{}", reply.show());
}

/// An order of one name, and others that hold more names.
fn simple() -> Folder {
    Folder::new(&[("orders/noip.toml", ORDER), ("orders/noip-hosts.txt", HOSTS)])
}

/// Has the default port to itself, among the tests of this file.
fn default_port() -> MutexGuard<'static, ()> {
    DEFAULT_PORT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether both transports of an address can be taken.
fn is_free(addr: &str) -> bool {
    UdpSocket::bind(addr).is_ok() && TcpListener::bind(addr).is_ok()
}

/// Whether this machine has IPv6.
fn has_ipv6() -> bool {
    UdpSocket::bind("[::1]:0").is_ok()
}

/// Waits until something holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What it gives, and how long it took.
fn timed(ask: impl FnOnce() -> Reply) -> (Reply, Duration) {
    let start = Instant::now();
    let reply = ask();
    (reply, start.elapsed())
}

/// The standard output of a tool, with single blanks.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("the tool runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}
