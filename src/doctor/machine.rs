//! What files of the machine tell: who is asked by it, its clock, IPv6, limits, buffers, firewalls.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Finding, State};
use crate::config::{Config, Listen};
use crate::daemon;
use crate::upstream::Settings;

/// Where a stub resolver asks, whatever `resolv.conf` says (resolv.conf(5) has no ports).
const DNS_PORT: u16 = 53;
/// Who keeps a clock right, by the names that proc(5) has.
const CLOCK_KEEPERS: [&str; 5] = ["systemd-timesyn", "chronyd", "ntpd", "ntpd-rs", "openntpd"];
/// Scope of an address that everybody can reach, as `/proc/net/if_inet6` has it.
const GLOBAL: &str = "00";

/// A machine, by its files.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// This one.
    pub fn here() -> Machine {
        Machine { root: "/".into() }
    }

    /// Where its files begin.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A file's text; empty if there is none.
    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    /// Whom the machine itself asks.
    pub(super) fn resolv_conf(&self, listen: &Listen) -> Finding {
        const ABOUT: &str = "resolv.conf";
        let text = self.text("etc/resolv.conf");
        let servers: Vec<IpAddr> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().split('%').next()?.parse().ok())
            .collect();
        let ours = |ip: &IpAddr| {
            let takes = |addr: &SocketAddr| {
                addr.port() == DNS_PORT
                    && (addr.ip() == *ip || addr.ip().is_unspecified() && ip.is_loopback())
            };
            listen.udp.iter().any(takes)
        };
        let shown = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if !servers.is_empty() && servers.iter().all(ours) {
            return Finding::well(ABOUT, format!("this machine asks this server: {shown}"));
        }
        let link = fs::read_link(self.root.join("etc/resolv.conf")).unwrap_or_default();
        let advice = if link.to_string_lossy().contains("systemd/resolve") {
            "for this machine to ask this server too: `DNS=127.0.0.1` and `DNSStubListener=no` in systemd-resolved's configuration"
        } else if text.contains("NetworkManager") {
            "for this machine to ask this server too: `dns=none` in NetworkManager's `[main]`, and `nameserver 127.0.0.1` here"
        } else {
            "for this machine to ask this server too: listen at port 53 of 127.0.0.1, and write `nameserver 127.0.0.1` here"
        };
        let found = if servers.is_empty() {
            "it names nobody".to_owned()
        } else {
            format!("this machine asks {shown}")
        };
        Finding::not_well(ABOUT, State::Look, found, advice)
    }

    /// Whether the clock can be right: certificates and the windows of orders go by it.
    pub(super) fn clock(&self, upstream: &Settings) -> Finding {
        const ABOUT: &str = "clock";
        let built = std::env::current_exe().and_then(|path| path.metadata()?.modified()).ok();
        if built.is_some_and(|built| SystemTime::now() < built) {
            let encrypted = upstream.servers.iter().any(|server| server.is_encrypted());
            let state = if encrypted { State::Bad } else { State::Look };
            return Finding::not_well(
                ABOUT,
                state,
                "it is before this program was written to the disk",
                "set it: `timedatectl set-ntp true`",
            );
        }
        let keeper = self.programs().into_iter().find(|name| CLOCK_KEEPERS.contains(&name.as_str()));
        match (keeper, self.root.join("run/systemd/timesync/synchronized").exists()) {
            (_, true) => Finding::well(ABOUT, "it is set by the network"),
            (Some(keeper), _) => Finding::well(ABOUT, format!("{keeper} keeps it")),
            (None, _) => {
                let advice =
                    "a virtual machine's host may; else `timedatectl set-ntp true`, or install chrony";
                Finding::not_well(ABOUT, State::Look, "nobody is seen who keeps it", advice)
            }
        }
    }

    /// The names of all programs that run.
    fn programs(&self) -> Vec<String> {
        let processes = fs::read_dir(self.root.join("proc")).into_iter().flatten().flatten();
        let names = processes.filter_map(|process| fs::read_to_string(process.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }

    /// Whether there is IPv6.
    pub(super) fn ipv6(&self) -> Finding {
        const ABOUT: &str = "IPv6";
        let addresses = self.text("proc/net/if_inet6");
        // proc(5) has: address, interface, length of the prefix, scope, flags, name.
        if addresses.lines().any(|line| line.split_whitespace().nth(3) == Some(GLOBAL)) {
            return Finding::well(ABOUT, "this machine has an address that others reach");
        }
        let (found, advice) = match addresses.trim().is_empty() {
            true => (
                "this machine has none",
                "IPv6 addresses of `listen` are left out, and upstreams there cannot be asked",
            ),
            false => (
                "this machine has no address that others reach",
                "upstreams at IPv6 addresses outside cannot be asked",
            ),
        };
        Finding::not_well(ABOUT, State::Look, found, advice)
    }

    /// Whether enough files and sockets may be open.
    pub(super) fn descriptors(&self, config: &Config) -> Finding {
        const ABOUT: &str = "open files";
        match daemon::descriptors_short(config) {
            Ok(limit) => Finding::well(ABOUT, format!("{limit} may be open, which will do")),
            Err(problem) => Finding::not_well(ABOUT, State::Look, problem.message, problem.hint),
        }
    }

    /// Whether the system grants buffers of `wanted` octets.
    pub(super) fn buffers(&self, wanted: usize) -> Finding {
        const ABOUT: &str = "socket buffers";
        let granted =
            |name: &str| self.text(&format!("proc/sys/net/core/{name}")).trim().parse::<usize>().ok();
        let short: Vec<String> = ["rmem_max", "wmem_max"]
            .iter()
            .filter(|name| granted(name).is_some_and(|granted| granted < wanted))
            .map(|name| format!("net.core.{name}={wanted}"))
            .collect();
        if short.is_empty() {
            return Finding::well(ABOUT, format!("the system grants {wanted} octets"));
        }
        let least = granted("rmem_max").unwrap_or(0);
        let advice = format!(
            "`sysctl -w {}`, in /etc/sysctl.d for good; sinkscope.socket asks for them by itself",
            short.join(" ")
        );
        Finding::not_well(
            ABOUT,
            State::Look,
            format!("{least} octets are granted of the {wanted} that `listen.socket_buffer` asks for"),
            advice,
        )
    }

    /// Whether a firewall may keep clients out.
    pub(super) fn firewall(&self, listen: &Listen) -> Finding {
        const ABOUT: &str = "firewall";
        let port = listen.udp.iter().find(|addr| !addr.ip().is_loopback()).map(SocketAddr::port);
        let Some(port) = port else { return Finding::well(ABOUT, "this machine alone is served") };
        if self.text("etc/ufw/ufw.conf").lines().any(|line| line.trim() == "ENABLED=yes") {
            let advice =
                format!("`ufw allow from 192.168.0.0/16 to any port {port}`, with your network in its place");
            return Finding::not_well(ABOUT, State::Look, "ufw is on", advice);
        }
        if self.root.join("run/firewalld").exists() {
            let advice = format!(
                "`firewall-cmd --permanent --add-port={port}/udp --add-port={port}/tcp`, then `firewall-cmd --reload`"
            );
            return Finding::not_well(ABOUT, State::Look, "firewalld is on", advice);
        }
        Finding::well(ABOUT, "neither ufw nor firewalld is on; rules of nftables are not looked at")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A machine with these files.
    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = folder.path().to_owned();
        (folder, Machine { root })
    }

    /// Listens at these addresses.
    fn listen(addrs: &[&str]) -> Listen {
        let addrs: Vec<SocketAddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        let limits = crate::server::Settings::default();
        Listen { udp: addrs.clone(), tcp: addrs, by_default: false, workers: 0, socket_buffer: 0, limits }
    }

    #[test]
    fn whom_the_machine_asks() {
        for (text, at, state, said) in [
            ("nameserver 127.0.0.1\n", "127.0.0.1:53", State::Well, "asks this server"),
            ("nameserver ::1\n", "[::]:53", State::Well, "asks this server"),
            ("nameserver 127.0.0.1\n", "127.0.0.1:5300", State::Look, "asks 127.0.0.1"),
            (
                "nameserver 192.0.2.1\nnameserver 127.0.0.1\n",
                "127.0.0.1:53",
                State::Look,
                "192.0.2.1, 127.0.0.1",
            ),
            (
                "# Generated by NetworkManager\nnameserver 192.0.2.1\n",
                "0.0.0.0:53",
                State::Look,
                "asks 192.0.2.1",
            ),
            ("search lan\n", "0.0.0.0:53", State::Look, "names nobody"),
        ] {
            let (_folder, machine) = machine(&[("etc/resolv.conf", text)]);
            let found = machine.resolv_conf(&listen(&[at]));
            assert!(found.state == state && found.found.contains(said), "{text}: {found:?}");
            assert_eq!(found.advice.contains("dns=none"), text.contains("NetworkManager"), "{found:?}");
        }
        let (folder, machine) =
            machine(&[("run/systemd/resolve/stub-resolv.conf", "nameserver 127.0.0.53\n")]);
        fs::create_dir(folder.path().join("etc")).unwrap();
        symlink("../run/systemd/resolve/stub-resolv.conf", folder.path().join("etc/resolv.conf")).unwrap();
        let found = machine.resolv_conf(&listen(&["127.0.0.1:53"]));
        assert!(
            found.advice.contains("DNSStubListener=no") && found.found.contains("127.0.0.53"),
            "{found:?}"
        );
    }

    #[test]
    fn what_the_system_has_and_grants() {
        let global = "20010db8000000000000000000000001 02 40 00 80 eth0\n";
        let local = "fe800000000000000000000000000001 02 40 20 80 eth0\n";
        for (text, state) in [(global, State::Well), (local, State::Look), ("", State::Look)] {
            assert_eq!(machine(&[("proc/net/if_inet6", text)]).1.ipv6().state, state, "{text}");
        }
        let buffers =
            [("proc/sys/net/core/rmem_max", "212992\n"), ("proc/sys/net/core/wmem_max", "4194304\n")];
        let (_folder, small) = machine(&buffers);
        assert_eq!(small.buffers(212_992).state, State::Well);
        let found = small.buffers(4 << 20);
        assert!(found.advice.contains("net.core.rmem_max=4194304`"), "{found:?}");
    }

    #[test]
    fn firewalls_matter_to_who_serves_others() {
        let (_folder, closed) = machine(&[("etc/ufw/ufw.conf", "# ufw\nENABLED=yes\n")]);
        assert_eq!(closed.firewall(&listen(&["127.0.0.1:53"])).state, State::Well);
        let found = closed.firewall(&listen(&["0.0.0.0:53"]));
        assert!(found.state == State::Look && found.advice.contains("port 53"), "{found:?}");
        let (_folder, open) = machine(&[("etc/ufw/ufw.conf", "ENABLED=no\n")]);
        assert_eq!(open.firewall(&listen(&["0.0.0.0:53"])).state, State::Well);
        let (_folder, other) = machine(&[("run/firewalld/x", "")]);
        assert_eq!(other.firewall(&listen(&["0.0.0.0:53"])).state, State::Look);
    }

    #[test]
    fn somebody_keeps_the_clock_or_nobody_is_seen() {
        let upstream = Settings::default();
        for (files, state) in [
            (&[("run/systemd/timesync/synchronized", "")][..], State::Well),
            (&[("proc/7/comm", "chronyd\n")], State::Well),
            (&[("proc/7/comm", "bash\n")], State::Look),
        ] {
            assert_eq!(machine(files).1.clock(&upstream).state, state, "{files:?}");
        }
    }
}
