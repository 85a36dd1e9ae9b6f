//! The built program with zones that are asked of other servers: of a router, played by Unbound, and of whoever else is named.

mod support;

use std::net::UdpSocket;
use std::process::Command;

use support::flood::{Mock, address_of};
use support::process::{Folder, Program, has_tool, run};
use support::unbound::Unbound;
use support::wire::{self, A};

/// PTR.
const PTR: u16 = 12;
/// What the router knows: names and addresses of the LAN, which nobody else may say anything of.
const ROUTER: &str = "local-zone: \"fritz.box.\" static\nlocal-data: \"nas.fritz.box. A 192.168.178.20\"\n\
                      local-data: \"evil.fritz.box. A 192.168.178.66\"\n\
                      local-zone: \"home.arpa.\" static\nlocal-data: \"nas.home.arpa. A 10.0.0.7\"\n\
                      local-zone: \"168.192.in-addr.arpa.\" static\nlocal-data-ptr: \"192.168.178.20 nas.fritz.box\"\n";
/// What is said once another configuration is in force.
const IN_FORCE: &str = "the configuration is in force as it is now";
/// An order about a name of the LAN.
const ORDER: &str = "id = \"a\"\ntitle = \"T\"\nkind = \"operator\"\naddresses = [\"192.0.2.10\"]\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.fritz.box\"]\n";

/// A configuration with this upstream, and these zones asked elsewhere.
fn configuration(upstream: &Mock, forward: &str) -> String {
    format!(
        "[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"{}\"]\n[orders]\npaths = [\"orders\"]\n{forward}",
        upstream.addr()
    )
}

/// Zones asked of a server.
fn forward(zones: &[&str], server: impl std::fmt::Display) -> String {
    format!("[[forward]]\nzones = {zones:?}\nservers = [\"{server}\"]\n")
}

#[test]
fn names_of_a_lan_are_asked_of_its_router_and_no_others() {
    let folder = Folder::new(&[("orders/a.toml", ORDER)]);
    let Some(router) = Unbound::start(&folder, ROUTER) else { return };
    let upstream = Mock::start();
    let zones = ["fritz.box", "168.192.in-addr.arpa", "home.arpa"];
    let text = configuration(&upstream, &forward(&zones, router.addr));
    folder.write("sinkscope.toml", &text);
    let program = Program::serve(&folder, &["--control", "unix:control.sock"]);
    let said = format!("asking udp://{} about fritz.box, 168.192.in-addr.arpa, home.arpa", router.addr);
    assert!(program.log().contains(&said), "{}", program.log());
    for (name, qtype, expected) in [
        // Private addresses are what such a zone is for.
        ("nas.fritz.box", A, "NOERROR 192.168.178.20"),
        ("none.fritz.box", A, "NXDOMAIN"),
        ("20.178.168.192.in-addr.arpa", PTR, "NOERROR"),
        ("nas.home.arpa", A, "NOERROR 10.0.0.7"),
        // Policy stands before all that.
        ("evil.fritz.box", A, "NOERROR 192.0.2.10 EDE15 EDE4"),
        // Other special names are answered here as ever.
        ("7.0.0.10.in-addr.arpa", PTR, "NXDOMAIN"),
        ("printer.local", A, "NXDOMAIN"),
    ] {
        assert_eq!(wire::udp(program.addr(), name, qtype).show(), expected, "{name}");
    }
    assert_eq!(upstream.asked(), 0);
    let free = wire::udp(program.addr(), "nas.fritz.box.example", A).show();
    assert_eq!((free, upstream.asked()), (format!("NOERROR {}", address_of("nas.fritz.box.example")), 1));
    let status = run(&folder, &["status", "--control", "unix:control.sock"]);
    let shown = format!("udp://{} (fritz.box 168.192.in-addr.arpa home.arpa) asked=4", router.addr);
    assert!(status.out.contains(&shown), "{status:?}");
}

#[test]
fn another_route_is_another_answer() {
    let folder = Folder::new(&[("orders/a.toml", ORDER)]);
    let (upstream, office) = (Mock::start(), Mock::start());
    office.be_other();
    let put = |program: &Program, forward: &str| {
        let mark = program.mark();
        folder.write("new", &configuration(&upstream, forward));
        std::fs::rename(folder.file("new"), folder.file("sinkscope.toml")).expect("renamed");
        program.wait_for(mark, IN_FORCE);
    };
    folder.write("sinkscope.toml", &configuration(&upstream, ""));
    let program = Program::serve(&folder, &[]);
    let shows = |name: &str| wire::udp(program.addr(), name, A).show();
    let by_upstream = |name: &str| format!("NOERROR {}", address_of(name));
    let by_office = |name: &str| by_upstream(name).replace("NOERROR 198", "NOERROR 199");
    let (name, closer) = ("www.office.example", "www.lab.office.example");
    assert_eq!((shows(name), shows(closer)), (by_upstream(name), by_upstream(closer)));
    // What was cached is another server's word.
    put(&program, &forward(&["office.example"], office.addr()));
    assert_eq!((shows(name), shows(closer)), (by_office(name), by_office(closer)));
    let own =
        [forward(&["office.example"], office.addr()), forward(&["lab.office.example"], upstream.addr())];
    put(&program, &own.concat());
    assert_eq!((shows(name), shows(closer)), (by_office(name), by_upstream(closer)));
    // The same server is one, whatever it is asked about: what it was asked before counts on.
    let mark = program.mark();
    program.signal("USR1");
    let line = program.wait_for(mark, &format!("upstream udp://{}", upstream.addr()));
    assert!(line.contains("asked=3"), "{line}");
    put(&program, "");
    assert_eq!(shows(name), by_upstream(name));
}

#[test]
fn clients_of_a_group_are_told_what_their_servers_say_and_nobody_else_is() {
    let folder = Folder::new(&[("orders/a.toml", ORDER)]);
    let (upstream, family) = (Mock::start(), Mock::start());
    family.be_other();
    let group =
        |name: &str, address: &str| format!("[[clients]]\nname = \"{name}\"\naddresses = [\"{address}\"]\n");
    let routed = format!("[[forward]]\ngroups = [\"kids\"]\nservers = [\"{}\"]\n", family.addr());
    let text = [group("kids", "127.0.0.2"), group("house", "127.0.0.3"), routed].concat();
    folder.write("sinkscope.toml", &configuration(&upstream, &text));
    let program = Program::serve(&folder, &["--control", "unix:control.sock"]);
    let said = format!("asking udp://{} for clients in kids", family.addr());
    assert!(program.log().contains(&said), "{}", program.log());
    // Each asks often enough for everybody's answers to be in a worker's own memory.
    let asks = |from: &str, name: &str| {
        let socket = UdpSocket::bind((from, 0)).expect("a port");
        socket.connect(program.addr()).expect("a way");
        let asked = wire::query(7, name, A);
        let replies = (0..4).map(|_| {
            socket.send(&asked).expect("sent");
            wire::receive(&socket).expect("a reply").show()
        });
        let mut replies: Vec<String> = replies.collect();
        replies.dedup();
        replies.join(" | ")
    };
    for name in ["www.example", "b.example"] {
        let everybodys = format!("NOERROR {}", address_of(name));
        let kids = everybodys.replace("NOERROR 198", "NOERROR 199");
        for _ in 0..2 {
            for (from, expected) in
                [("127.0.0.1", &everybodys), ("127.0.0.2", &kids), ("127.0.0.3", &everybodys)]
            {
                assert_eq!(asks(from, name), *expected, "{from}");
            }
        }
    }
    assert_eq!((upstream.asked(), family.asked()), (2, 2));
    assert_eq!(asks("127.0.0.2", "evil.fritz.box"), "NOERROR 192.0.2.10 EDE15 EDE4");
    let status = run(&folder, &["status", "--control", "unix:control.sock"]);
    assert!(status.out.contains(&format!("udp://{} (for kids) asked=2", family.addr())), "{status:?}");
    let (theirs, everybodys) =
        (format!("asked of    udp://{}", family.addr()), format!("asked of    udp://{}", upstream.addr()));
    for (client, expected) in [("127.0.0.2", &theirs), ("127.0.0.3", &everybodys), ("127.0.0.1", &everybodys)]
    {
        for live in [&[][..], &["--live", "--control", "unix:control.sock"]] {
            let explained = run(&folder, &[&["explain", "www.example", "--client", client], live].concat());
            assert!(explained.out.contains(expected), "{client}: {explained:?}");
            // What is captured, or known here, is asked of nobody.
            for name in ["evil.fritz.box", "localhost"] {
                let explained = run(&folder, &[&["explain", name, "--client", client], live].concat());
                assert!(!explained.out.contains("asked of"), "{client}: {explained:?}");
            }
        }
    }
    // Groups change while servers stay: what each of those said goes on.
    let mark = program.mark();
    let text = text
        .replace("127.0.0.2", "127.0.0.9")
        .replace("127.0.0.3", "127.0.0.2")
        .replace("127.0.0.9", "127.0.0.3");
    folder.write("new", &configuration(&upstream, &text));
    std::fs::rename(folder.file("new"), folder.file("sinkscope.toml")).expect("renamed");
    program.wait_for(mark, IN_FORCE);
    let everybodys = format!("NOERROR {}", address_of("www.example"));
    let kids = everybodys.replace("NOERROR 198", "NOERROR 199");
    for (from, expected) in [("127.0.0.1", &everybodys), ("127.0.0.2", &everybodys), ("127.0.0.3", &kids)] {
        assert_eq!(asks(from, "www.example"), *expected, "{from}");
    }
    assert_eq!((upstream.asked(), family.asked()), (2, 2));
}

#[test]
fn the_example_of_a_home_serves_names_of_the_network_and_none_of_them_leaves() {
    let folder =
        Folder::new(&[("leases", "0 00:11:22:33:44:55 192.168.1.50 laptop *\n"), ("orders/a.toml", ORDER)]);
    let zones = "local-zone: \"lan.\" static\nlocal-data: \"router.lan. A 192.168.1.1\"\n\
                 local-zone: \"1.168.192.in-addr.arpa.\" static\nlocal-data-ptr: \"192.168.1.50 laptop.lan\"\n";
    let Some(router) = Unbound::start(&folder, zones) else { return };
    let upstream = Mock::start();
    // All that is of this machine, and of no home.
    let here = [
        ("\"0.0.0.0:53\", \"[::]:53\"".to_owned(), "\"127.0.0.1:0\"".to_owned()),
        ("\"tls://dns.example@192.0.2.1\"".to_owned(), format!("\"udp://{}\"", upstream.addr())),
        ("udp://192.168.1.1".to_owned(), format!("udp://{}", router.addr)),
        ("/var/lib/misc/dnsmasq.leases".to_owned(), "leases".to_owned()),
    ];
    let mut text = include_str!("../examples/home.toml").to_owned();
    for (there, here) in here {
        assert!(text.contains(&there), "{there}");
        text = text.replace(&there, &here);
    }
    folder.write("sinkscope.toml", &text);
    let program = Program::serve(&folder, &["--orders", "orders"]);
    for (name, qtype, expected) in [
        ("router.lan", A, "NOERROR 192.168.1.1"),
        ("50.1.168.192.in-addr.arpa", PTR, "NOERROR"),
        ("nas.home.arpa", A, "NOERROR 192.168.1.10"),
        ("laptop.home.arpa", A, "NOERROR 192.168.1.50"),
        ("none.lan", A, "NXDOMAIN"),
        ("none.home.arpa", A, "NXDOMAIN"),
        ("printer", A, "NXDOMAIN"),
        ("printer.internal", A, "NXDOMAIN"),
        ("7.0.0.10.in-addr.arpa", PTR, "NXDOMAIN"),
    ] {
        assert_eq!(wire::udp(program.addr(), name, qtype).show(), expected, "{name}");
    }
    assert_eq!(upstream.asked(), 0);
    let public = wire::udp(program.addr(), "www.example", A).show();
    assert_eq!(public, format!("NOERROR {}", address_of("www.example")));
}

/// Answers questions at a port of its own, until the test is over, with an address that says for whom it was asked: 203.0.113 and the
/// third octet of the network, or 0 where no network was told; for that network alone.
fn near() -> std::net::SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let addr = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut packet) {
            // The question, OPT without its options, and those.
            let question_len = packet[12..].iter().position(|octet| *octet == 0).expect("a name") + 5;
            let (head, options) = packet[..len].split_at(12 + question_len + 11);
            // The option of 24 bits of IPv4, which comes first.
            let network =
                options.strip_prefix(&[0, 8, 0, 7, 0, 1, 24, 0]).and_then(|rest| rest.first_chunk::<3>());
            let subnet = network.map(|network| [&[0, 8, 0, 7, 0, 1, 24, 24], &network[..]].concat());
            let subnet = subnet.unwrap_or_default();
            let last = network.map_or(0, |network| network[2]);
            let mut reply =
                [&head[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1], &head[12..12 + question_len]].concat();
            reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 203, 0, 113, last]);
            reply.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, subnet.len() as u8]);
            reply.extend_from_slice(&subnet);
            socket.send_to(&reply, from).expect("sent");
        }
    });
    addr
}

#[test]
fn what_is_near_a_client_is_told_to_its_network() {
    if !has_tool("dig", "dnsutils") {
        return;
    }
    let folder = Folder::new(&[("orders/a.toml", ORDER)]);
    let upstream = near();
    for (mode, asks, expected) in [
        ("pass", "+subnet=192.0.7.9/32", ("203.0.113.7", Some("192.0.7.9/32/24"))),
        ("pass", "+subnet=192.0.8.0/24", ("203.0.113.8", Some("192.0.8.0/24/24"))),
        ("pass", "+subnet=192.0.7.1/32", ("203.0.113.7", Some("192.0.7.1/32/24"))),
        ("pass", "+subnet=0", ("203.0.113.0", Some("0.0.0.0/0/0"))),
        ("pass", "+tcp", ("203.0.113.0", None)),
        ("strip", "+subnet=192.0.7.9/32", ("203.0.113.0", None)),
        // Loopback is nobody's network.
        ("add", "+edns", ("203.0.113.0", None)),
    ] {
        let text = format!(
            "[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"{upstream}\"]\n[ecs]\nmode = \"{mode}\"\n"
        );
        folder.write("sinkscope.toml", &text);
        let program = Program::serve(&folder, &[]);
        let port = program.addr().port().to_string();
        for _ in 0..2 {
            let args = ["@127.0.0.1", "-p", &port, "cdn.ddns.net", "A", asks, "+tries=1"];
            let told = Command::new("dig").args(args).output().expect("dig runs").stdout;
            let told = String::from_utf8_lossy(&told);
            assert!(told.contains(expected.0), "{mode} {asks}: {told}");
            let subnet = told.lines().find_map(|line| line.strip_prefix("; CLIENT-SUBNET: "));
            assert_eq!(subnet, expected.1, "{mode} {asks}: {told}");
        }
    }
}
