//! Whether the addresses that are to be listened on can be had, and who has them.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::holders::holders;
use super::machine::Machine;
use super::{Finding, State};
use crate::config::Config;

/// What it is about.
const ABOUT: &str = "port";
/// Names of our own program, and of who holds sockets for it: proc(5) cuts them at 15 octets.
const OURS: [&str; 2] = ["sinkscope", "systemd"];

/// How it is about each address, UDP and TCP.
pub(super) fn ports(config: &Config, machine: &Machine) -> Vec<Finding> {
    let udp = config.listen.udp.iter().map(|addr| (*addr, "udp"));
    let tcp = config.listen.tcp.iter().map(|addr| (*addr, "tcp"));
    udp.chain(tcp).map(|(addr, transport)| port(machine, addr, transport)).collect()
}

/// How it is about one.
fn port(machine: &Machine, addr: SocketAddr, transport: &str) -> Finding {
    let what = format!("{transport} {addr}");
    let tried = match transport {
        "udp" => UdpSocket::bind(addr).map(drop),
        _ => TcpListener::bind(addr).map(drop),
    };
    let Err(error) = tried else { return Finding::well(ABOUT, format!("{what} is free")) };
    match error.kind() {
        ErrorKind::AddrInUse => {
            let names = holders(machine.root(), addr, transport);
            let names: Vec<&str> = names
                .iter()
                .map(|name| name.as_deref().unwrap_or("a program that only root may see"))
                .collect();
            if !names.is_empty() && names.iter().all(|name| OURS.contains(name)) {
                return Finding::well(ABOUT, format!("{what} is held by {}", names.join(" and ")));
            }
            let who =
                if names.is_empty() { "nobody who is seen here".to_owned() } else { names.join(" and ") };
            Finding::not_well(ABOUT, State::Bad, format!("{what} is taken by {who}"), remedy(&names))
        }
        _ => not_to_be_had(&what, addr, &error),
    }
}

/// What to do about those who hold a port.
fn remedy(names: &[&str]) -> &'static str {
    match names.first() {
        Some(&"systemd-resolve") => {
            "write `[Resolve]` and `DNSStubListener=no` to /etc/systemd/resolved.conf.d/sinkscope.conf, then `systemctl restart systemd-resolved`"
        }
        Some(&"dnsmasq") => {
            "`systemctl disable --now dnsmasq`, or `port=0` in its configuration; NetworkManager and libvirt start one of their own"
        }
        Some(&"docker-proxy") => "a container publishes that port: `docker ps` tells which",
        Some(&"named") => "`systemctl disable --now named`, or `listen-on` in its configuration",
        Some(&"unbound") => {
            "`systemctl disable --now unbound`, or `interface:` and `port:` in its configuration"
        }
        Some(_) => "stop it, or listen at another port: `listen.udp`",
        None => "run this as root to see who it is; it may also be in another container or network namespace",
    }
}

/// Why an address that nobody holds cannot be had.
fn not_to_be_had(what: &str, addr: SocketAddr, error: &io::Error) -> Finding {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            let port = addr.port();
            let advice = format!(
                "run it by contrib/systemd's units, or `setcap cap_net_bind_service=+ep` on the program, or `sysctl net.ipv4.ip_unprivileged_port_start={port}`"
            );
            // Who asks may be another one than who will serve.
            Finding::not_well(ABOUT, State::Look, format!("{what} is not for this user to take"), advice)
        }
        ErrorKind::AddrNotAvailable => {
            let advice = "`ip address` lists those it has; once it comes it is answered at";
            Finding::not_well(
                ABOUT,
                State::Look,
                format!("{what} is not an address of this machine now"),
                advice,
            )
        }
        _ => Finding::not_well(
            ABOUT,
            State::Look,
            format!("{what} cannot be had: {error}"),
            "leave it out, if this machine has no such addresses",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_port_is_free_or_somebodys() {
        let machine = Machine::here();
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let found = port(&machine, addr, "udp");
        assert_eq!(found.state, State::Bad, "{found:?}");
        assert!(found.found.contains(" is taken by ") && !found.found.contains("nobody"), "{found:?}");
        drop(taken);
        assert_eq!(port(&machine, addr, "udp").state, State::Well);
        assert_eq!(port(&machine, "203.0.113.9:5300".parse().unwrap(), "tcp").state, State::Look);
    }

    #[test]
    fn who_is_known_has_a_remedy_of_its_own() {
        for name in ["systemd-resolve", "dnsmasq", "docker-proxy", "named", "unbound"] {
            assert_ne!(remedy(&[name]), remedy(&["another"]), "{name}");
        }
        assert_ne!(remedy(&[]), remedy(&["another"]));
    }
}
