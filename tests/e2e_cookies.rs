//! The built program and an upstream that wants DNS cookies: Debian's BIND, behind a relay that can leave them out.

mod support;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use support::process::{Folder, PATIENCE, Program, has_tool, run};
use support::unbound::free;
use support::wire::{self, A};

/// Where Debian's package has the program: a folder that is not on everybody's path.
const PROGRAM: &str = "/usr/sbin/named";
/// The zone it knows.
const ZONE: &str = "$TTL 60\n@ SOA ns hostmaster 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n* A 192.0.2.7\n";
/// The COOKIE option's number.
const COOKIE: [u8; 2] = [0, 10];

/// A BIND that serves. Dropping it kills it.
struct Named {
    child: Child,
    addr: SocketAddr,
}

impl Named {
    /// Serves the zone `test`, and answers nobody by datagram who does not show its cookie; none where it is not installed.
    fn start(folder: &Folder) -> Option<Named> {
        let program = if Path::new(PROGRAM).is_file() { PROGRAM } else { "named" };
        if program != PROGRAM && !has_tool(program, "bind9") {
            return None;
        }
        let (addr, place) = (free(), folder.path().display());
        let config = format!(
            "options {{\n directory \"{place}\";\n pid-file none;\n session-keyfile none;\n listen-on port {} {{ 127.0.0.1; }};\n \
             listen-on-v6 {{ none; }};\n recursion no;\n dnssec-validation no;\n require-server-cookie yes;\n}};\ncontrols {{ }};\n\
             zone \"test\" {{ type primary; file \"test.zone\"; }};\n",
            addr.port(),
        );
        folder.write("named.conf", &config);
        folder.write("test.zone", ZONE);
        let log = folder.file("named.log");
        let child = Command::new(program)
            .args(["-g", "-n", "1", "-c"])
            .arg(folder.file("named.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("named starts");
        let mut named = Named { child, addr };
        let begun = Instant::now();
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains("all zones loaded") {
                return Some(named);
            }
            let ended = named.child.try_wait().expect("a state");
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "named does not serve: {ended:?}\n{said}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands between us and the server, by datagram alone.
struct Relay {
    addr: SocketAddr,
    /// Octets of the cookie in each question that came, and the rcode of the reply without its upper half.
    seen: Arc<Mutex<Vec<(usize, u8)>>>,
    /// Whether replies come without their OPT record, as somebody would forge them.
    strips: Arc<AtomicBool>,
}

impl Relay {
    /// To that server.
    fn to(server: SocketAddr) -> Relay {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let relay = Relay {
            addr: socket.local_addr().expect("an address"),
            seen: Arc::default(),
            strips: Arc::default(),
        };
        let (seen, strips) = (Arc::clone(&relay.seen), Arc::clone(&relay.strips));
        std::thread::spawn(move || {
            let onward = wire::client_of(server);
            let mut packet = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                let cookie = cookie_len(&packet[..length]);
                onward.send(&packet[..length]).expect("sent");
                let length = wire::uninterrupted(|| onward.recv(&mut packet)).expect("a reply");
                let reply = &mut packet[..length];
                seen.lock().expect("a list").push((cookie, reply[3] & 0xf));
                // OPT is what is added, and nothing else is.
                let end = if strips.load(Ordering::SeqCst) { length - opt_len(reply) } else { length };
                if end < length {
                    reply[11] = 0;
                }
                socket.send_to(&packet[..end], from).expect("sent");
            }
        });
        relay
    }

    /// What was seen since this was asked last.
    fn take(&self) -> Vec<(usize, u8)> {
        std::mem::take(&mut self.seen.lock().expect("a list"))
    }
}

/// Octets of the COOKIE option at the end of a query.
fn cookie_len(query: &[u8]) -> usize {
    let at = (12..query.len().saturating_sub(3))
        .rev()
        .find(|at| query[*at..*at + 2] == COOKIE && usize::from(query[*at + 3]) == query.len() - *at - 4);
    at.map_or(0, |at| query.len() - at - 4)
}

/// Octets of the OPT record at the end of a reply.
fn opt_len(reply: &[u8]) -> usize {
    let at = (12..reply.len() - 10).find(|at| {
        reply[*at..*at + 3] == [0, 0, 41] && usize::from(reply[*at + 10]) == reply.len() - *at - 11
    });
    reply.len() - at.expect("an OPT record")
}

#[test]
fn bind_gets_its_cookie_and_has_to_show_ours() {
    let folder = Folder::new(&[(
        "orders/a.toml",
        "id = \"a\"\ntitle = \"T\"\nkind = \"operator\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.test\"]\n",
    )]);
    let Some(named) = Named::start(&folder) else { return };
    let relay = Relay::to(named.addr);
    folder.write(
        "sinkscope.toml",
        &format!(
            "[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"{}\"]\n[orders]\npaths = [\"orders\"]\n[special]\nforward = [\"test\"]\n",
            relay.addr
        ),
    );
    let program = Program::serve(&folder, &["--control", "unix:control.sock"]);
    let shows = |name: &str| wire::udp(program.addr(), name, A).show();
    // BADCOOKIE (23, of which the lower half is 7) until its cookie is shown: eight octets of ours, sixteen of its own.
    let first = wire::udp(program.addr(), "a.test", A);
    assert_eq!(first.show(), "NOERROR 192.0.2.7", "{first:?} {:?}", relay.take());
    assert_eq!(relay.take(), [(8, 7), (24, 0)]);
    assert_eq!((shows("b.test"), shows("c.test")), ("NOERROR 192.0.2.7".into(), "NOERROR 192.0.2.7".into()));
    assert_eq!(relay.take(), [(24, 0), (24, 0)]);
    // Who leaves it out is not believed, and there is no stream to fall back on.
    relay.strips.store(true, Ordering::SeqCst);
    let refused = wire::udp(program.addr(), "d.test", A);
    assert!(refused.show().starts_with("SERVFAIL"), "{refused:?}");
    let said = "answered without the DNS cookie that it was to show";
    assert!(refused.ede.iter().any(|(_, text)| text.contains(said)), "{refused:?}");
    relay.strips.store(false, Ordering::SeqCst);
    assert_eq!(shows("e.test"), "NOERROR 192.0.2.7");
    let metrics = run(&folder, &["status", "--json", "--control", "unix:control.sock"]);
    assert!(metrics.out.contains("\"cookies\": true"), "{metrics:?}");
}
