//! The built program and servers of others, by every transport: what they have to prove, that they may close what nobody uses, and that
//! they may be started anew.

mod support;

use std::any::Any;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::encrypted::{Flaw, authority, certify_as};
use support::peers::Peer;
use support::process::{Folder, PATIENCE, Program};
use support::quic::{Quic, Spoken};
use support::unbound::{Unbound, free};
use support::wire::{self, A, Reply};

/// An order, without which nothing is served.
const ORDER: &str =
    "id = \"a\"\ntitle = \"T\"\nkind = \"court\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.lan\"]\n";
/// What every name below `lan` has.
const ANSWER: &str = "NOERROR 192.0.2.7";

/// Where an Unbound is asked in clear, over TLS and over HTTPS.
#[derive(Clone, Copy)]
struct Places {
    clear: SocketAddr,
    tls: SocketAddr,
    https: SocketAddr,
}

impl Places {
    /// Ports that are free.
    fn new() -> Places {
        Places { clear: free(), tls: free(), https: free() }
    }

    /// Starts it there, with the certificate of that name; it closes what is idle for half a second.
    fn start(&self, folder: &Folder, name: &str) -> Option<Unbound> {
        let path = |end: &str| folder.file(&format!("{name}.{end}")).display().to_string();
        let [clear, tls, https] = [self.clear, self.tls, self.https].map(|addr| addr.port());
        let lines = format!(
            "interface: 127.0.0.1@{clear}\ninterface: 127.0.0.1@{tls}\ninterface: 127.0.0.1@{https}\nport: {clear}\ntls-port: {tls}\nhttps-port: {https}\ntls-service-key: \"{}\"\ntls-service-pem: \"{}\"\nincoming-num-tcp: 100\ntcp-idle-timeout: 500\nlocal-zone: \"lan.\" redirect\nlocal-data: \"lan. 60 A 192.0.2.7\"\n",
            path("key"),
            path("pem"),
        );
        Unbound::run(folder, &format!("unbound-{clear}"), self.clear, &lines, &[])
    }
}

/// A configuration that asks these servers, each list of them about the zone of its name below `lan`.
fn configuration(zones: &[(String, Vec<String>)]) -> String {
    let mut config = "[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = []\nca_file = \"ca.pem\"\n[orders]\npaths = [\"orders\"]\n[cache]\nserve_stale = false\n".to_owned();
    for (zone, servers) in zones {
        config += &format!("[[forward]]\nzones = [\"{zone}.lan\"]\nservers = {servers:?}\n");
    }
    config
}

/// A server that is asked over QUIC at this address, with the certificate of that name: Knot DNS if somebody names it, else one of our own.
fn doq(folder: &Folder, addr: SocketAddr, name: &str) -> Box<dyn Any> {
    if let Some(knot) = Peer::knot(folder, addr, name) {
        return Box::new(knot);
    }
    let (pem, key) = (folder.file(&format!("{name}.pem")), folder.file(&format!("{name}.key")));
    Box::new(Quic::start(UdpSocket::bind(addr).expect("a port"), (&pem, &key), Spoken::Doq))
}

/// Whether a reply says that of a server.
fn says(reply: &Reply, what: &str) -> bool {
    reply.ede.iter().any(|(_, text)| text.contains(what))
}

#[test]
fn whoever_does_not_prove_who_it_is_is_asked_nothing_by_any_transport() {
    let folder = Folder::new(&[("orders/a.toml", ORDER)]);
    let issuer = authority(&folder, "ca.pem");
    let flaws = [("good", Flaw::None), ("expired", Flaw::Expired), ("self", Flaw::SelfSigned)];
    let mut unbounds = Vec::new();
    let mut quics = Vec::new();
    for (name, flaw) in flaws {
        certify_as(&folder, name, "dns.test", &issuer, flaw);
        let places = Places::new();
        let Some(unbound) = places.start(&folder, name) else { return };
        unbounds.push((places, unbound));
        let addr = free();
        quics.push((addr, doq(&folder, addr, name)));
    }
    let sites = flaws.map(|(name, _)| (free(), name));
    let caddy = Peer::caddy(&folder, &sites, unbounds[0].0.https);

    // Each transport's three servers: the good one, and those whose certificates have expired or are signed by themselves.
    let mut servers = vec![
        ("tls", unbounds.iter().map(|(places, _)| places.tls).collect::<Vec<_>>()),
        ("https", unbounds.iter().map(|(places, _)| places.https).collect()),
        ("quic", quics.iter().map(|(addr, _)| *addr).collect()),
    ];
    if caddy.is_some() {
        servers.push(("h3", sites.iter().map(|(addr, _)| *addr).collect()));
    }
    let pin = format!("?pin={}=", "A".repeat(43));
    let (mut zones, mut cases) = (Vec::new(), Vec::new());
    for (scheme, addrs) in &servers {
        for (case, host, addr, parameters, expected) in [
            ("good", "dns.test@", addrs[0], "", None),
            // The address, which the certificate does not have.
            ("name", "", addrs[0], "", Some("has a certificate for another name")),
            (
                "pin",
                "dns.test@",
                addrs[0],
                pin.as_str(),
                Some("has a certificate whose key is not a pinned one"),
            ),
            ("expired", "dns.test@", addrs[1], "", Some("has a certificate that has expired")),
            ("self", "dns.test@", addrs[2], "", Some("has a certificate that no trusted authority signed")),
        ] {
            let zone = format!("{case}-{scheme}");
            let path = if parameters.is_empty() { "" } else { "/dns-query" };
            let path = if scheme.starts_with('h') { path } else { "" };
            zones.push((zone.clone(), vec![format!("{scheme}://{host}{addr}{path}{parameters}")]));
            cases.push((zone, expected));
        }
    }
    folder.write("sinkscope.toml", &configuration(&zones));
    let program = Program::serve(&folder, &[]);
    for (zone, expected) in cases {
        let reply = wire::udp(program.addr(), &format!("www.{zone}.lan"), A);
        match expected {
            None => assert_eq!(reply.show(), ANSWER, "{zone}: {reply:?}"),
            Some(expected) => {
                assert_eq!(reply.show(), "SERVFAIL EDE23", "{zone}: {reply:?}");
                assert!(says(&reply, expected), "{zone}: {reply:?}");
            }
        }
    }

    // What the server closes because nobody uses it is opened anew, and the question that finds it so is answered.
    for round in 0..2 {
        for (scheme, addrs) in &servers {
            let begun = Instant::now();
            while is_connected(addrs[0]) {
                assert!(begun.elapsed() < PATIENCE, "{scheme}");
                std::thread::sleep(Duration::from_millis(20));
            }
            if *scheme == "quic" && Peer::has_knot() {
                // Of a connection of QUIC nothing is seen from here; Knot ends it after a second.
                std::thread::sleep(Duration::from_millis(1500));
            }
            let begun = Instant::now();
            let reply = wire::udp(program.addr(), &format!("idle{round}.good-{scheme}.lan"), A);
            assert_eq!(reply.show(), ANSWER, "{scheme}: {reply:?}");
            assert!(begun.elapsed() < Duration::from_secs(1), "{scheme}: {:?}", begun.elapsed());
        }
    }
}

/// Whether a TCP connection to a port of 127.0.0.1 is open, for all that the system tells (proc(5), /proc/net/tcp).
fn is_connected(addr: SocketAddr) -> bool {
    let to = format!(" 0100007F:{:04X} 01 ", addr.port());
    std::fs::read_to_string("/proc/net/tcp").is_ok_and(|table| table.contains(&to))
}

#[test]
fn no_query_fails_while_upstreams_are_started_anew_whatever_the_transport() {
    let folder = Folder::new(&[("orders/a.toml", ORDER)]);
    certify_as(&folder, "good", "dns.test", &authority(&folder, "ca.pem"), Flaw::None);
    let places = [Places::new(), Places::new()];
    let mut unbounds = Vec::new();
    for places in &places {
        let Some(unbound) = places.start(&folder, "good") else { return };
        unbounds.push(unbound);
    }
    let doq = |addr: SocketAddr| doq(&folder, addr, "good");
    let addrs = [free(), free()];
    let mut quics: Vec<_> = addrs.map(|addr| Some(doq(addr))).into();
    let ways = ["udp", "tcp", "tls", "https", "quic"];
    let zones = ways.map(|way| {
        let url = |index: usize| match way {
            "udp" | "tcp" => format!("{way}://{}", places[index].clear),
            "tls" => format!("tls://dns.test@{}", places[index].tls),
            "https" => format!("https://dns.test@{}", places[index].https),
            _ => format!("quic://dns.test@{}", addrs[index]),
        };
        (way.to_owned(), vec![url(0), url(1)])
    });
    folder.write("sinkscope.toml", &configuration(&zones));
    let program = Program::serve(&folder, &[]);
    let (addr, over) = (program.addr(), AtomicBool::new(false));
    // Each name is asked once, so that no answer is a cached one.
    let ask = |way: &str, client: &str, n: usize| {
        let shown = wire::udp(addr, &format!("{client}-{n}.{way}.lan"), A).show();
        assert_eq!(shown, ANSWER, "{way}, the {n}th of {client}");
    };
    std::thread::scope(|scope| {
        let (over, ask) = (&over, &ask);
        let clients: Vec<_> = ways
            .iter()
            .flat_map(|way| [(way, "a"), (way, "b")])
            .map(|(way, client)| {
                scope.spawn(move || {
                    let asking = (0..).take_while(|_| !over.load(Ordering::Relaxed));
                    asking.map(|n| ask(way, client, n)).count()
                })
            })
            .collect();
        let mut failed = false;
        for round in 0..4 {
            let index = round % 2;
            unbounds[index].stop();
            drop(quics[index].take());
            let asked = ways
                .map(|way| scope.spawn(move || (0..10).for_each(|n| ask(way, &format!("down{round}"), n))));
            failed |= asked.into_iter().any(|asked| asked.join().is_err());
            unbounds[index] = places[index].start(&folder, "good").expect("it was there");
            quics[index] = Some(doq(addrs[index]));
            let asked =
                ways.map(|way| scope.spawn(move || (0..10).for_each(|n| ask(way, &format!("up{round}"), n))));
            failed |= asked.into_iter().any(|asked| asked.join().is_err());
        }
        over.store(true, Ordering::Relaxed);
        let counts: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        assert!(!failed && counts.iter().all(Result::is_ok), "{counts:?}\n{}", program.log());
        println!("asked beside that: {:?}", counts.into_iter().flatten().collect::<Vec<_>>());
    });
}
