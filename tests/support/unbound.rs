//! Debian's Unbound as an upstream: what it says is a few records of its own, by datagram and stream.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::process::{Folder, PATIENCE, has_tool};

/// Where Debian's package has the program: a folder that is not on everybody's path.
const PROGRAM: &str = "/usr/sbin/unbound";
/// What it says once it serves.
const SERVES: &str = "start of service";

/// An Unbound that serves. Dropping it kills it.
pub struct Unbound {
    child: Child,
    /// Where.
    pub addr: SocketAddr,
}

impl Unbound {
    /// Serves these lines of configuration on a port of 127.0.0.1; none where it is not installed.
    pub fn start(folder: &Folder, lines: &str) -> Option<Unbound> {
        let addr = free();
        Unbound::start_at(folder, (addr.ip(), addr.port()), lines, &[])
    }

    /// Serves at an address, run by a command in front of its own; none where it is not installed.
    pub fn start_at(
        folder: &Folder,
        (ip, port): (IpAddr, u16),
        lines: &str,
        before: &[&str],
    ) -> Option<Unbound> {
        let config = format!(
            "interface: {ip}@{port}\naccess-control: 0.0.0.0/0 allow\nlogfile: \"\"\nverbosity: 1\n{lines}"
        );
        Unbound::run(folder, "unbound", SocketAddr::new(ip, port), &config, before)
    }

    /// Runs with these lines of `server:`, in files of the folder that begin with `name`, and waits until it serves.
    pub fn run(
        folder: &Folder,
        name: &str,
        addr: SocketAddr,
        lines: &str,
        before: &[&str],
    ) -> Option<Unbound> {
        let program = if Path::new(PROGRAM).is_file() { PROGRAM } else { "unbound" };
        if program != PROGRAM && !has_tool(program, "unbound") {
            return None;
        }
        let config = format!(
            "server:\nchroot: \"\"\nusername: \"\"\npidfile: \"\"\ndirectory: \"{}\"\nuse-syslog: no\ndo-daemonize: no\n\
             num-threads: 1\nmodule-config: \"iterator\"\n{lines}remote-control:\ncontrol-enable: no\n",
            folder.path().display(),
        );
        folder.write(&format!("{name}.conf"), &config);
        let log = folder.file(&format!("{name}.log"));
        let mut words = before.to_vec();
        words.push(program);
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg("-dd")
            .arg("-c")
            .arg(folder.file(&format!("{name}.conf")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("unbound starts");
        let mut unbound = Unbound { child, addr };
        let begun = Instant::now();
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains(SERVES) {
                return Some(unbound);
            }
            let ended = unbound.child.try_wait().expect("a state");
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "unbound does not serve: {ended:?}\n{said}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it at once, and waits until it has.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An address of 127.0.0.1 that is free until now, and that nobody here was given before: what is free once it is let go may be found
/// again at once.
pub fn free() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    loop {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let addr = free.local_addr().expect("its number");
        if GIVEN.lock().expect("nobody panics with it").insert(addr) {
            return addr;
        }
    }
}
