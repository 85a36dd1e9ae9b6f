//! The built program in a network of its own whose upstream is asked from random addresses of a prefix.

mod support;

use std::collections::HashSet;
use std::fs;
use std::net::Ipv6Addr;
use std::process::Command;

use support::process::{Folder, Program, has_tool, in_folder, program, skipped};
use support::unbound::Unbound;

/// What the upstream knows, and that it writes down who asks.
const ZONE: &str = "access-control: ::/0 allow\nlog-queries: yes\nlocal-zone: \"lan.\" redirect\nlocal-data: \"lan. 1 IN A 192.0.2.7\"\n";
/// Where the upstream is.
const SERVER: &str = "2001:db8:2::1";

/// A network namespace. Dropping it removes it.
struct Network(String);

impl Network {
    /// Makes one in which the upstream has an address; none where that is not allowed.
    fn make() -> Option<Network> {
        if !has_tool("ip", "iproute2") {
            return None;
        }
        let network = Network(format!("sinkscope-source-{}", std::process::id()));
        if !ip(&["netns", "add", &network.0]) {
            skipped("network namespaces need root");
            return None;
        }
        assert!(network.ip(&["link", "set", "lo", "up"]));
        if !network.ip(&["-6", "address", "add", SERVER, "dev", "lo"]) {
            skipped("there is no IPv6 here");
            return None;
        }
        Some(network)
    }

    /// Whether a command of `ip` does in it what it should.
    fn ip(&self, args: &[&str]) -> bool {
        ip(&[&["-n", &self.0], args].concat())
    }

    /// What runs in it.
    fn run(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).args(words);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.0]);
    }
}

/// Whether a command of `ip` does what it should.
fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).output().is_ok_and(|output| output.status.success())
}

#[test]
fn each_port_has_an_address_of_the_prefix() {
    let Some(network) = Network::make() else { return };
    if !has_tool("dig", "dnsutils") {
        return;
    }
    let config = format!(
        "[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"[{SERVER}]:53\"]\nsource_prefix = \"2001:db8:1::/64\"\n[orders]\npaths = [\"orders\"]\n[special]\nforward = [\"lan\"]\n"
    );
    let order = "id = \"a\"\ntitle = \"T\"\nkind = \"operator\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.lan\"]\n";
    let folder = Folder::new(&[("sinkscope.toml", &config), ("orders/a.toml", order)]);
    let addr = (SERVER.parse().expect("an address"), 53);
    let before = ["ip", "netns", "exec", &network.0];
    let Some(_unbound) = Unbound::start_at(&folder, addr, ZONE, &before) else { return };
    let program = program();
    let start = |command| in_folder(network.run(&[&program, command]), folder.path());
    // Without the route nothing would come back, which is said on start, and by whoever only looks.
    for command in ["serve", "check"] {
        let refused = start(command).output().expect("it runs");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let place = "error: sinkscope.toml:5: `upstream.source_prefix` is 2001:db8:1::/64: ";
        assert!(refused.status.code() == Some(1) && said.contains(place), "{command}: {said}");
        assert!(said.contains("ip -6 route add local 2001:db8:1::/64 dev lo"), "{command}: {said}");
    }

    assert!(network.ip(&["-6", "route", "add", "local", "2001:db8:1::/64", "dev", "lo"]));
    let program = Program::start(start("serve")).expect("it serves");
    let port = program.addr().port().to_string();
    // All at once: of sixteen ports that may be asked from most are opened.
    let asked = (0..24).map(|n| {
        let name = format!("n{n}.lan");
        network.run(&["dig", "@127.0.0.1", "-p", &port, &name, "A", "+short", "+tries=1"]).output()
    });
    for output in asked {
        let output = output.expect("dig runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "192.0.2.7\n");
    }
    // unbound[1:0] info: 2001:db8:1:... n0.lAN. A IN
    let log = fs::read_to_string(folder.file("unbound.log")).expect("a log").to_lowercase();
    let from = log.lines().filter(|line| line.ends_with(".lan. a in"));
    let from: Vec<Ipv6Addr> = from.filter_map(|line| line.rsplit(' ').nth(3)?.parse().ok()).collect();
    assert!(from.len() >= 24, "{log}");
    assert!(from.iter().all(|address| address.segments()[..4] == [0x2001, 0xdb8, 1, 0]), "{from:?}");
    let different: HashSet<_> = from.iter().collect();
    // Of sixteen ports 24 questions leave three or four out.
    assert!((8..=16).contains(&different.len()), "{different:?}");
}
