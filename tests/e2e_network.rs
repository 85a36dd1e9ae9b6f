//! The built program in a network whose link goes down and up: two network namespaces, and a cable between them.
#![cfg(target_os = "linux")]

mod support;

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use support::encrypted::{authority, certify};
use support::process::{Folder, PATIENCE, Program, has_tool, in_folder, program, skipped};
use support::quic::{Quic, Spoken};
use support::unbound::Unbound;
use support::wire::{self, A};

/// What the upstream knows; it is to be asked again after a second.
const ZONE: &str = "local-zone: \"lan.\" static\nlocal-data: \"www.lan. 1 IN A 192.0.2.7\"\nlocal-data: \"other.lan. 1 IN A 192.0.2.8\"\n";
/// Far less than the half minute for which a failure is remembered while an expired answer can be told.
const SOON: Duration = Duration::from_secs(10);

/// Two network namespaces, the resolver's and its upstream's, with a cable between them. Dropping it removes both.
struct Network {
    here: String,
    there: String,
}

impl Network {
    /// Lays it; none where that is not allowed.
    fn lay() -> Option<Network> {
        if !has_tool("ip", "iproute2") {
            return None;
        }
        static LAID: AtomicUsize = AtomicUsize::new(0);
        let number = LAID.fetch_add(1, Ordering::Relaxed);
        let name = |end: &str| format!("sinkscope-{end}-{}-{number}", std::process::id());
        let network = Network { here: name("here"), there: name("there") };
        if !ip(&["netns", "add", &network.here]) || !ip(&["netns", "add", &network.there]) {
            skipped("network namespaces need root");
            return None;
        }
        let (here, there) = (&network.here[..], &network.there[..]);
        for args in [
            &["link", "add", "cable", "netns", here, "type", "veth", "peer", "name", "cable", "netns", there]
                [..],
            &["-n", here, "address", "add", "192.0.2.1/24", "dev", "cable"],
            &["-n", there, "address", "add", "192.0.2.2/24", "dev", "cable"],
            &["-n", here, "link", "set", "lo", "up"],
            &["-n", here, "link", "set", "cable", "up"],
            &["-n", there, "link", "set", "cable", "up"],
        ] {
            assert!(ip(args), "ip {args:?}");
        }
        Some(network)
    }

    /// Pulls the cable out at the upstream, or puts it in.
    fn set(&self, state: &str) {
        assert!(ip(&["-n", &self.there, "link", "set", "cable", state]));
    }

    /// Serves in the folder, beside the resolver's end of the cable.
    fn serve(&self, folder: &Folder) -> Program {
        let serve = ["netns", "exec", &self.here, &program(), "serve"];
        Program::start(in_folder(command(&serve), folder.path())).expect("it serves")
    }

    /// What `dig` says, asked beside the resolver.
    fn dig(&self, port: u16, name: &str) -> String {
        let port = port.to_string();
        let args = ["@127.0.0.1", "-p", &port, name, "A", "+tries=1", "+time=9"];
        let output = command(&["netns", "exec", &self.here, "dig"]).args(args).output().expect("dig runs");
        said(&output)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [&self.here, &self.there] {
            ip(&["netns", "delete", name]);
        }
    }
}

/// Runs this on a thread of its own in a network namespace.
fn inside<T: Send>(namespace: &str, run: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{namespace}")).expect("a namespace");
    let moved = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("it lets in");
        run()
    };
    std::thread::scope(|scope| scope.spawn(moved).join().expect("it comes to its end"))
}

/// A command of `ip`.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(args);
    command
}

/// Whether a command of `ip` does what it should.
fn ip(args: &[&str]) -> bool {
    command(args).output().is_ok_and(|output| output.status.success())
}

/// All that a command said.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_was_believed_while_the_link_was_down_ends_with_that() {
    let Some(network) = Network::lay() else { return };
    if !has_tool("dig", "dnsutils") {
        return;
    }
    // Who asks must outwait the system, which looks for a neighbour once a second (arp(7), retrans_time) and keeps what is
    // sent meanwhile.
    let config = "[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"192.0.2.2\"]\ntry_timeout_ms = 500\ntotal_timeout_ms = 3000\n[orders]\npaths = [\"orders\"]\n[special]\nforward = [\"lan\"]\n[log]\nlevel = \"debug\"\n";
    let order = "id = \"a\"\ntitle = \"T\"\nkind = \"operator\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.lan\"]\n";
    let folder = Folder::new(&[("sinkscope.toml", config), ("orders/a.toml", order)]);
    let there = ["ip", "netns", "exec", &network.there];
    let addr = ("192.0.2.2".parse().expect("an address"), 53);
    let Some(_unbound) = Unbound::start_at(&folder, addr, ZONE, &there) else { return };
    let program = network.serve(&folder);
    let port = program.addr().port();
    let ask = |name: &str| network.dig(port, name);
    // Asks until what is told is fresh, or not, as it should be.
    let wait_for = |stale: bool, limit: Duration| {
        let begun = Instant::now();
        loop {
            let told = ask("www.lan");
            if told.contains("192.0.2.7") && told.contains("EDE: 3") == stale {
                return;
            }
            assert!(begun.elapsed() < limit, "{told}\n{}", program.log());
        }
    };
    wait_for(false, PATIENCE);
    network.set("down");
    // Once the answer has expired and upstream was asked in vain, that it was is remembered.
    wait_for(true, PATIENCE);
    let mark = program.mark();
    network.set("up");
    let first = ask("other.lan");
    assert!(first.contains("192.0.2.8") && !first.contains("EDE"), "{first}\n{}", program.log());
    program.wait_for(mark, "the network is another one");
    wait_for(false, SOON);
}

/// How an upstream is asked: a zone for which it is, and its URL. Unbound has ports 443 and 853 for datagrams, too.
const WAYS: [(&str, &str); 6] = [
    ("udp", "udp://192.0.2.2"),
    ("tcp", "tcp://192.0.2.2"),
    ("tls", "tls://dns.test@192.0.2.2"),
    ("https", "https://dns.test@192.0.2.2"),
    ("quic", "quic://dns.test@192.0.2.2:8853"),
    ("h3", "h3://dns.test@192.0.2.2:8443"),
];
/// How long the cable is out.
const OUTAGE: Duration = Duration::from_secs(1);
/// Between a client's questions.
const PAUSE: Duration = Duration::from_millis(20);
/// After how long all is as it was before.
const BACK_AFTER: Duration = Duration::from_secs(2);

/// Asks for fresh names by one transport, and says what came, and how long that took.
fn ask(addr: SocketAddr, way: &str, name: &str) -> (String, Duration) {
    let begun = Instant::now();
    let shown = wire::udp(addr, &format!("{name}.{way}.lan"), A).show();
    (shown, begun.elapsed())
}

#[test]
fn the_first_question_after_the_link_is_up_is_answered_by_every_transport() {
    let Some(network) = Network::lay() else { return };
    let order = "id = \"a\"\ntitle = \"T\"\nkind = \"operator\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.lan\"]\n";
    let mut config = "[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = []\nca_file = \"ca.pem\"\ntry_timeout_ms = 1000\ntotal_timeout_ms = 3000\n[orders]\npaths = [\"orders\"]\n".to_owned();
    for (way, server) in WAYS {
        config += &format!("[[forward]]\nzones = [\"{way}.lan\"]\nservers = [\"{server}\"]\n");
    }
    let folder = Folder::new(&[("sinkscope.toml", &config), ("orders/a.toml", order)]);
    certify(&folder, "dns.test", &authority(&folder, "ca.pem"));
    let file = |name: &str| folder.file(name).display().to_string();
    let lines = format!(
        "interface: 192.0.2.2@53\ninterface: 192.0.2.2@853\ninterface: 192.0.2.2@443\ntls-port: 853\nhttps-port: 443\ntls-service-key: \"{}\"\ntls-service-pem: \"{}\"\nincoming-num-tcp: 100\naccess-control: 0.0.0.0/0 allow\nlogfile: \"\"\nverbosity: 1\nlocal-zone: \"lan.\" redirect\nlocal-data: \"lan. A 192.0.2.7\"\n",
        file("dns.test.key"),
        file("dns.test.pem"),
    );
    let there = ["ip", "netns", "exec", &network.there];
    let addr = "192.0.2.2:53".parse().expect("an address");
    let Some(_unbound) = Unbound::run(&folder, "unbound", addr, &lines, &there) else { return };
    let socket = |port| inside(&network.there, || UdpSocket::bind(("192.0.2.2", port)).expect("a port"));
    let (pem, key) = (folder.file("dns.test.pem"), folder.file("dns.test.key"));
    let _doq = Quic::start(socket(8853), (&pem, &key), Spoken::Doq);
    let _http3 = Quic::start(socket(8443), (&pem, &key), Spoken::Http3);
    let program = network.serve(&folder);
    let addr = program.addr();

    // Fresh names are asked for all the time, a few at once, so that questions are under way whatever happens.
    let over = AtomicBool::new(false);
    let ask_on = |way: &str, client: usize| {
        let names = (0..).take_while(|_| !over.load(Ordering::Relaxed));
        for n in names {
            ask(addr, way, &format!("c{client}-{n}"));
            std::thread::sleep(PAUSE);
        }
    };
    let measure = |way: &str| {
        let first = ask(addr, way, "first");
        std::thread::sleep(BACK_AFTER.saturating_sub(first.1));
        let later: Vec<_> = (0..20).map(|n| ask(addr, way, &format!("later{n}"))).collect();
        (first, later)
    };
    let here = network.here.as_str();
    for (way, _) in WAYS {
        assert_eq!(inside(here, || ask(addr, way, "before").0), "NOERROR 192.0.2.7", "{way}");
    }
    std::thread::scope(|scope| {
        for (way, _) in WAYS {
            for client in 0..3 {
                let ask_on = &ask_on;
                scope.spawn(move || inside(here, || ask_on(way, client)));
            }
        }
        network.set("down");
        std::thread::sleep(OUTAGE);
        network.set("up");
        let measured: Vec<_> =
            WAYS.iter().map(|(way, _)| (way, scope.spawn(move || inside(here, || measure(way))))).collect();
        let measured: Vec<_> = measured.into_iter().map(|(way, measuring)| (way, measuring.join())).collect();
        over.store(true, Ordering::Relaxed);
        for (way, measured) in measured {
            let ((shown, took), later) = measured.expect("a measure");
            assert_eq!(shown, "NOERROR 192.0.2.7", "{way}, after {took:?}\n{}", program.log());
            println!(
                "{way}: the first question took {took:?}, later ones {:?} at most",
                later.iter().map(|(_, took)| took).max()
            );
            for (shown, took) in later {
                assert_eq!(shown, "NOERROR 192.0.2.7", "{way}, two seconds later");
                assert!(took < Duration::from_millis(500), "{way}: {took:?}");
            }
        }
    });
}
