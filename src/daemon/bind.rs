//! Taking addresses before anything else, so that what stands in the way is known at once.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use super::passed::Passed;
use crate::config::{DEFAULT_PORT, Listen};
use crate::problem::Problem;
use crate::server;

/// Ports below this one are privileged on Unix.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;
/// The port that clients ask at (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;
/// How often a port is looked for that is free for UDP and TCP: the system draws them at random from some 28,000, most of
/// which are free.
const PORT_TRIES: usize = 8;

/// Sockets that take packets, which wait in them until somebody serves.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// The sockets of each UDP address.
    pub(super) udp: Vec<(SocketAddr, Vec<UdpSocket>)>,
    /// The listener of each TCP address.
    pub(super) tcp: Vec<(SocketAddr, TcpListener)>,
    /// UDP addresses whose socket somebody else holds as well.
    pub(super) held: Vec<SocketAddr>,
    /// What was left out, and why.
    pub(super) warnings: Vec<Problem>,
}

impl Sockets {
    /// Sockets, all addresses together.
    pub(super) fn count(&self) -> usize {
        self.udp.iter().map(|(_, taken)| taken.len()).sum::<usize>() + self.tcp.len()
    }

    /// Whether an address whose port is left to the system, for UDP and TCP, has another port for each.
    fn differ(&self, listen: &Listen) -> bool {
        let left_to_system =
            |ip| [&listen.udp, &listen.tcp].iter().all(|list| list.contains(&SocketAddr::new(ip, 0)));
        self.udp
            .iter()
            .any(|(udp, _)| left_to_system(udp.ip()) && !self.tcp.iter().any(|(tcp, _)| tcp == udp))
    }
}

/// Takes all addresses, `workers` sockets to each UDP one; on a host without IPv6 its addresses are left out, and so are
/// those whose packets a wildcard address of the same list takes. A port left to the system is the same for UDP and TCP if
/// a few tries find one. Sockets that were passed are there already; whatever `listen` says, they are served, for what comes to them
/// comes to nobody else.
///
/// # Errors
/// A problem for each address that cannot be taken, with advice.
pub(super) fn bind(listen: &Listen, workers: usize, passed: Passed) -> Result<Sockets, Vec<Problem>> {
    let mut listen = listen.clone();
    let at = passed.addresses();
    listen.udp.retain(|addr| !at.udp.contains(addr));
    listen.tcp.retain(|addr| !at.tcp.contains(addr));
    let is_all = listen.udp.is_empty() && listen.tcp.is_empty() && passed.count() > 0;
    let mut sockets = if is_all { Sockets::default() } else { bind_all(&listen, workers)? };
    let system = |error: io::Error| vec![Problem::error("system", None, error.to_string())];
    for (addr, socket) in passed.udp {
        // One socket, however many read from it: a second one at its address would be gone with this process, and what it holds, too.
        let more =
            (1..workers).map(|_| socket.try_clone()).collect::<io::Result<Vec<_>>>().map_err(system)?;
        sockets.held.push(addr);
        sockets.udp.push((addr, std::iter::once(socket).chain(more).collect()));
    }
    sockets.tcp.extend(passed.tcp);
    sockets.warnings.extend(passed.warnings);
    Ok(sockets)
}

/// Takes the addresses at which no socket was passed.
fn bind_all(listen: &Listen, workers: usize) -> Result<Sockets, Vec<Problem>> {
    // The earlier tries keep their ports until the last, or the system might offer the same ones again.
    let mut tries = vec![bind_once(listen, workers)?];
    while tries.len() < PORT_TRIES && tries.last().is_some_and(|sockets| sockets.differ(listen)) {
        tries.push(bind_once(listen, workers)?);
    }
    Ok(tries.pop().unwrap_or_default())
}

/// One try of [`bind`].
fn bind_once(listen: &Listen, workers: usize) -> Result<Sockets, Vec<Problem>> {
    let (mut sockets, mut problems) = (Sockets::default(), Vec::new());
    for (addr, wildcard) in covered(&listen.udp).into_iter().chain(covered(&listen.tcp)) {
        let message = format!("left out: {wildcard} takes what comes to it, too");
        let problem = Problem::warning(format!("listen {addr}"), None, message);
        if !sockets.warnings.contains(&problem) {
            sockets.warnings.push(problem);
        }
    }
    for addr in uncovered(&listen.udp) {
        match server::bind_udp(addr, workers, listen.socket_buffer) {
            Ok(taken) => {
                note_absent(addr, &mut sockets.warnings);
                sockets.udp.push((local(addr, taken.first().map(UdpSocket::local_addr)), taken));
            }
            Err(error) => fail(addr, "udp", &error, &mut sockets.warnings, &mut problems),
        }
    }
    for addr in uncovered(&listen.tcp) {
        match bind_tcp(addr, &sockets.udp) {
            Ok(taken) => {
                note_absent(addr, &mut sockets.warnings);
                sockets.tcp.push((local(addr, Some(taken.local_addr())), taken));
            }
            Err(error) => fail(addr, "tcp", &error, &mut sockets.warnings, &mut problems),
        }
    }
    if problems.is_empty() && sockets.udp.is_empty() && sockets.tcp.is_empty() {
        // All of them were IPv6 addresses that this host cannot have: then they are errors after all.
        let hint = format!("listen on an IPv4 address: --listen 127.0.0.1:{DEFAULT_PORT}");
        problems.push(
            Problem::error("listen", None, "this machine has no IPv6, and no other address is set")
                .hint(hint),
        );
    }
    if problems.is_empty() { Ok(sockets) } else { Err(problems) }
}

/// Addresses that another one of them covers, each with that one: the wildcard address of their family at their port.
fn covered(addrs: &[SocketAddr]) -> Vec<(SocketAddr, SocketAddr)> {
    let cover = |addr: &SocketAddr| {
        addrs.iter().find(|other| {
            other.ip().is_unspecified()
                && !addr.ip().is_unspecified()
                && other.is_ipv4() == addr.is_ipv4()
                && other.port() == addr.port()
                // Each port 0 is another port.
                && addr.port() != 0
        })
    };
    addrs.iter().filter_map(|addr| Some((*addr, *cover(addr)?))).collect()
}

/// The addresses that none of the others covers.
fn uncovered(addrs: &[SocketAddr]) -> impl Iterator<Item = SocketAddr> {
    let covered = covered(addrs);
    addrs.iter().copied().filter(move |addr| !covered.iter().any(|(known, _)| known == addr))
}

/// Notes that an address was taken before this machine has it.
fn note_absent(addr: SocketAddr, warnings: &mut Vec<Problem>) {
    let mut any_port = addr;
    any_port.set_port(0);
    let probe = UdpSocket::bind(any_port);
    if probe.is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable) {
        let message = format!(
            "{} is not an address of this machine (yet): it is answered at once when it is",
            addr.ip()
        );
        let problem = Problem::warning(format!("listen {addr}"), None, message);
        let problem = problem.hint("`ip address` lists those it has");
        if !warnings.contains(&problem) {
            warnings.push(problem);
        }
    }
}

/// Takes a TCP address; port 0 means the free port that UDP got at that address, if TCP can have it too.
fn bind_tcp(addr: SocketAddr, udp: &[(SocketAddr, Vec<UdpSocket>)]) -> io::Result<TcpListener> {
    let same = udp.iter().find(|(taken, _)| addr.port() == 0 && taken.ip() == addr.ip());
    match same.map(|(taken, _)| server::bind_tcp(*taken)) {
        Some(Ok(listener)) => Ok(listener),
        _ => server::bind_tcp(addr),
    }
}

/// The address a socket really has: it matters for port 0.
fn local(asked: SocketAddr, found: Option<io::Result<SocketAddr>>) -> SocketAddr {
    found.and_then(Result::ok).unwrap_or(asked)
}

/// Notes that an address cannot be taken: a warning when only IPv6 is missing here, else a problem.
fn fail(
    addr: SocketAddr,
    transport: &str,
    error: &io::Error,
    warnings: &mut Vec<Problem>,
    problems: &mut Vec<Problem>,
) {
    if addr.is_ipv6() && !has_ipv6() {
        let message = "left out: this machine has no IPv6";
        warnings.push(Problem::warning(format!("{transport} {addr}"), None, message));
        return;
    }
    let problem = explain(addr, transport, error);
    // The same for UDP and TCP is one thing to mend, and is said once.
    let twin =
        problems.iter_mut().find(|other| other.file == format!("udp {addr}") && other.hint == problem.hint);
    match twin {
        Some(twin) => twin.file = format!("udp and tcp {addr}"),
        None => problems.push(problem),
    }
}

/// Whether this machine has IPv6 at all: its loopback address can be taken.
fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// What an error of binding means, and what to do about it.
fn explain(addr: SocketAddr, transport: &str, error: &io::Error) -> Problem {
    let (ip, port) = (addr.ip(), addr.port());
    let place = format!("{transport} {addr}");
    let other = SocketAddr::new(
        ip,
        if port < FIRST_UNPRIVILEGED_PORT { DEFAULT_PORT } else { port.saturating_add(1) },
    );
    match error.kind() {
        ErrorKind::AddrInUse => {
            let usual = match port {
                DNS_PORT => " (often systemd-resolved or dnsmasq; `ss -lunp sport = :53` tells)",
                _ => " (perhaps another Sinkscope)",
            };
            let hint = format!("stop the program that has it{usual}, or take another port: --listen {other}");
            Problem::error(place, None, format!("port {port} is taken")).hint(hint)
        }
        ErrorKind::PermissionDenied if port < FIRST_UNPRIVILEGED_PORT => {
            let hint = format!(
                "allow this program to take it: `sudo setcap cap_net_bind_service=+ep {}`; or everybody: `sudo sysctl \
                 net.ipv4.ip_unprivileged_port_start={port}`; or take a port above 1023: --listen {other}",
                std::env::current_exe().map_or("sinkscope".into(), |path| path.display().to_string())
            );
            Problem::error(place, None, format!("port {port} is privileged")).hint(hint)
        }
        ErrorKind::AddrNotAvailable => {
            let any = match ip {
                IpAddr::V4(_) => "0.0.0.0 takes all IPv4 addresses",
                IpAddr::V6(_) => "[::] takes all IPv6 addresses",
            };
            let hint = format!("`ip address` lists those it has; {any}");
            Problem::error(place, None, format!("{ip} is not an address of this machine")).hint(hint)
        }
        _ => Problem::error(place, None, format!("cannot be listened on: {error}"))
            .hint(format!("choose another address: --listen 127.0.0.1:{DEFAULT_PORT}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(addrs: &[&str]) -> Listen {
        let addrs: Vec<SocketAddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        Listen {
            udp: addrs.clone(),
            tcp: addrs,
            by_default: false,
            workers: 0,
            socket_buffer: 1 << 16,
            limits: server::Settings::default(),
        }
    }

    #[test]
    fn port_zero_is_one_port_for_both() {
        let sockets = bind(&listen(&["127.0.0.1:0"]), 2, Passed::default()).unwrap();
        assert_eq!(sockets.udp[0].0, sockets.tcp[0].0);
        assert_eq!(sockets.udp[0].1.len(), 2);
    }

    #[test]
    fn a_taken_port_is_named() {
        let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap();
        let problems = bind(&listen(&[&taken.to_string()]), 1, Passed::default()).unwrap_err();
        let shown = problems[0].to_string();
        assert!(shown.contains(&format!("udp {taken}: port {} is taken", taken.port())), "{shown}");
        assert!(shown.contains("--listen 127.0.0.1:"), "{shown}");
    }

    #[test]
    fn errors_come_with_advice() {
        for (addr, kind, message, advice) in [
            ("127.0.0.1:53", ErrorKind::AddrInUse, "port 53 is taken", "systemd-resolved"),
            ("127.0.0.1:53", ErrorKind::AddrInUse, "port 53 is taken", "--listen 127.0.0.1:5300"),
            ("[::1]:5300", ErrorKind::AddrInUse, "port 5300 is taken", "--listen [::1]:5301"),
            ("127.0.0.1:65535", ErrorKind::AddrInUse, "port 65535 is taken", "another Sinkscope"),
            ("0.0.0.0:53", ErrorKind::PermissionDenied, "port 53 is privileged", "setcap"),
            ("0.0.0.0:53", ErrorKind::PermissionDenied, "port 53 is privileged", "--listen 0.0.0.0:5300"),
            (
                "192.0.2.1:5300",
                ErrorKind::AddrNotAvailable,
                "192.0.2.1 is not an address of this machine",
                "0.0.0.0",
            ),
            ("[2001:db8::1]:5300", ErrorKind::AddrNotAvailable, "is not an address of this machine", "[::]"),
            ("127.0.0.1:5300", ErrorKind::Other, "cannot be listened on", "--listen"),
        ] {
            let problem = explain(addr.parse().unwrap(), "udp", &io::Error::from(kind));
            assert!(problem.message.contains(message), "{problem}");
            assert!(problem.hint.contains(advice), "{problem}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_address_may_come_later() {
        // TEST-NET-3 (RFC 5737) is nobody's.
        let sockets =
            bind(&listen(&["127.0.0.1:0", "203.0.113.9:0", "[2001:db8::9]:0"]), 2, Passed::default())
                .unwrap();
        let warnings: Vec<String> = sockets.warnings.iter().map(ToString::to_string).collect();
        assert!(warnings[0].contains("203.0.113.9 is not an address of this machine (yet)"), "{warnings:?}");
        // The other is left out where there is no IPv6.
        assert_eq!(warnings.len(), 2 + usize::from(!has_ipv6()), "once for both transports: {warnings:?}");
        assert_eq!(sockets.udp[1].0.ip(), "203.0.113.9".parse::<IpAddr>().unwrap());
        assert_eq!((sockets.udp[1].1.len(), sockets.udp[1].0), (2, sockets.tcp[1].0));
    }

    #[test]
    fn a_wildcard_covers_what_is_beside_it() {
        let port = |addr: &str| UdpSocket::bind(addr).unwrap().local_addr().unwrap().port();
        let port = port("0.0.0.0:0");
        let (any, one) = (format!("0.0.0.0:{port}"), format!("127.0.0.1:{port}"));
        for listed in [[one.as_str(), &any], [&any, one.as_str()]] {
            let sockets = bind(&listen(&listed), 2, Passed::default()).unwrap();
            let shown = sockets.warnings[0].to_string();
            assert!(
                shown.contains(&format!("listen {one}: left out: {any} takes what comes to it")),
                "{shown}"
            );
            assert_eq!((sockets.warnings.len(), sockets.udp.len(), sockets.tcp.len()), (1, 1, 1));
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.send_to(b"query", &one).unwrap();
            let taken = &sockets.udp[0].1;
            while !taken.iter().any(|socket| socket.recv(&mut [0; 9]).is_ok()) {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn what_covers_what() {
        for (addrs, expected) in [
            (&["0.0.0.0:53", "127.0.0.1:53", "192.0.2.1:53"][..], 2),
            (&["0.0.0.0:53", "127.0.0.1:54"], 0),
            (&["0.0.0.0:0", "127.0.0.1:0"], 0),
            (&["0.0.0.0:53", "[::]:53", "[::1]:53"], 1),
            (&["[::]:53", "127.0.0.1:53"], 0),
        ] {
            let addrs: Vec<SocketAddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
            assert_eq!(covered(&addrs).len(), expected, "{addrs:?}");
            assert_eq!(uncovered(&addrs).count(), addrs.len() - expected, "{addrs:?}");
        }
    }
}
