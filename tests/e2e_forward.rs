//! The built program with zones that are asked of other servers: of a router, played by Unbound, and of whoever else is named.

mod support;

use support::flood::{Mock, address_of};
use support::process::{Folder, Program, run};
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
