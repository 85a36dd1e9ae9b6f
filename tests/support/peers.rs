//! Servers of others that are asked over QUIC: Caddy, of Debian 12, before an Unbound; and Knot DNS, which has QUIC since 3.3 and is to be
//! named, for Debian 12's is older.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::{Folder, PATIENCE, has_tool};

/// What names Knot's program. It may be a wrapper that runs it elsewhere, where `/tmp` is the same.
const KNOTD: &str = "SINKSCOPE_TEST_KNOTD";

/// A server that serves. Dropping it kills it.
pub struct Peer {
    child: Child,
}

impl Peer {
    /// Runs a command that logs to a file until it says that.
    fn run(mut command: Command, log: &Path, says: &str) -> Peer {
        let out = fs::File::create(log).expect("a log");
        let both = out.try_clone().expect("a log");
        command.stdin(Stdio::null()).stdout(out).stderr(both);
        let mut peer = Peer { child: command.spawn().expect("it starts") };
        let begun = Instant::now();
        loop {
            let said = fs::read_to_string(log).unwrap_or_default();
            if said.contains(says) {
                return peer;
            }
            let ended = peer.child.try_wait().expect("a state");
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "it does not serve: {ended:?}\n{said}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Caddy at these addresses, each with the certificate and key of that name in the folder, before an Unbound that is asked over HTTPS;
    /// none where it is not installed.
    pub fn caddy(folder: &Folder, sites: &[(SocketAddr, &str)], unbound: SocketAddr) -> Option<Peer> {
        if !has_tool("caddy", "caddy") {
            return None;
        }
        let here = folder.path().display();
        let mut config =
            format!("{{\nadmin off\nauto_https off\ndefault_sni dns.test\nstorage file_system {here}\n}}\n");
        for (addr, name) in sites {
            config += &format!(
                "https://dns.test:{}, https://127.0.0.1:{0} {{\nbind 127.0.0.1\ntls {here}/{name}.pem {here}/{name}.key\nreverse_proxy https://{unbound} {{\ntransport http {{\ntls_insecure_skip_verify\nversions 2\n}}\n}}\n}}\n",
                addr.port(),
            );
        }
        folder.write("Caddyfile", &config);
        let mut caddy = Command::new("caddy");
        caddy.current_dir(folder.path()).env("HOME", folder.path());
        caddy.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]);
        Some(Peer::run(caddy, &folder.file("caddy.log"), "serving initial configuration"))
    }

    /// Whether somebody names Knot DNS.
    pub fn has_knot() -> bool {
        std::env::var_os(KNOTD).is_some()
    }

    /// Knot DNS at this address, with the certificate and key of that name in the folder; none where nobody names it.
    pub fn knot(folder: &Folder, addr: SocketAddr, name: &str) -> Option<Peer> {
        let knotd = std::env::var_os(KNOTD)?;
        let (here, own) = (folder.path().display(), format!("knot-{}", addr.port()));
        fs::create_dir_all(folder.file(&own)).expect("a folder");
        folder.write(
            &format!("{own}/lan.zone"),
            "@ 60 SOA ns hostmaster 1 60 60 60 60\n@ NS ns\nns A 192.0.2.7\n* 60 A 192.0.2.7\n",
        );
        folder.write(
            &format!("{own}/knot.conf"),
            &format!(
                "server:\n  rundir: \"{here}/{own}\"\n  user: root\n  listen-quic: {}@{}\n  cert-file: \"{here}/{name}.pem\"\n  key-file: \"{here}/{name}.key\"\n  quic-idle-close-timeout: 1\nlog:\n  - target: stderr\n    any: info\ndatabase:\n  storage: \"{here}/{own}\"\ntemplate:\n  - id: default\n    storage: \"{here}/{own}\"\n    journal-content: none\nzone:\n  - domain: lan\n    file: lan.zone\n",
                addr.ip(),
                addr.port(),
            ),
        );
        let mut command = Command::new(knotd);
        command.arg("-c").arg(folder.file(&format!("{own}/knot.conf")));
        Some(Peer::run(command, &folder.file(&format!("{own}.log")), "server started"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
