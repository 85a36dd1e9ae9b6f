//! The built program in a network whose link goes down and up: two network namespaces, and a cable between them.

mod support;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use support::process::{Folder, PATIENCE, Program, has_tool, in_folder, program, skipped};
use support::unbound::Unbound;

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
        let name = |end: &str| format!("sinkscope-{end}-{}", std::process::id());
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
    let config = "[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"192.0.2.2\"]\ntry_timeout_ms = 500\ntotal_timeout_ms = 3000\n[orders]\npaths = [\"orders\"]\n[log]\nlevel = \"debug\"\n";
    let order = "id = \"a\"\ntitle = \"T\"\nkind = \"operator\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.lan\"]\n";
    let folder = Folder::new(&[("sinkscope.toml", config), ("orders/a.toml", order)]);
    let there = ["ip", "netns", "exec", &network.there];
    let addr = ("192.0.2.2".parse().expect("an address"), 53);
    let Some(_unbound) = Unbound::start_at(&folder, addr, ZONE, &there) else { return };
    let serve = ["netns", "exec", &network.here, &program(), "serve"];
    let program = Program::start(in_folder(command(&serve), folder.path())).expect("it serves");
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
