//! Names of our own by the running program: what rows and files state is answered, and what changes is within a second.

mod support;

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::authority::{Authority, ipv4_of};
use support::process::{Folder, PATIENCE, Program, run};
use support::wire::{self, A, AAAA};

/// PTR.
const PTR: u16 = 12;
/// A changed lease is answered within this; a machine that is busy with other tests is given some more.
const SOON: Duration = Duration::from_secs(3);

/// A row with everything in it.
const CONFIG: &str = "\
[orders]\npaths = []\nstate = \"state\"\n\n[[local]]\nzone = \"lan\"\n\
records = [\"nas A 192.168.1.10\", \"www CNAME nas\", \"*.apps.lan CNAME nas.lan\"]\n\
hosts = [\"hosts\"]\nzone_files = [\"lan.zone\"]\nleases = [\"leases\"]\n";
const HOSTS: &str = "192.168.1.20 pc\n0.0.0.0 ads.example\n";
const ZONE: &str = "printer A 192.168.1.30\n AAAA fd00::30\n";

/// Leases of dnsmasq's.
fn leases(hosts: &[(&str, &str)]) -> String {
    hosts.iter().map(|(host, address)| format!("0 00:11:22:33:44:55 {address} {host} *\n")).collect()
}

/// A folder with all files.
fn folder() -> Folder {
    Folder::new(&[
        ("sinkscope.toml", CONFIG),
        ("hosts", HOSTS),
        ("lan.zone", ZONE),
        ("leases", &leases(&[("laptop", "192.168.1.50"), ("wpad", "192.168.1.66"), ("nas", "192.168.1.67")])),
    ])
}

/// Starts it on a free port.
fn start(folder: &Folder, authority: &Authority) -> Program {
    let upstream = authority.addr().to_string();
    Program::serve(folder, &["--listen", "127.0.0.1:0", "--upstream", &upstream])
}

/// What a name has, in a line.
fn shown(program: &Program, name: &str, qtype: u16) -> String {
    wire::udp(program.addr(), name, qtype).show()
}

/// Waits until a name has that; how long it took.
fn until(program: &Program, name: &str, expected: &str) -> Duration {
    let start = Instant::now();
    loop {
        let found = shown(program, name, A);
        if found == expected {
            return start.elapsed();
        }
        assert!(start.elapsed() < PATIENCE, "{name}: {found}, not {expected}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_stated_is_answered_and_nothing_of_it_is_asked_of_others() {
    let (folder, authority) = (folder(), Authority::start());
    let program = start(&folder, &authority);
    for (name, qtype, expected) in [
        ("nas.lan", A, "NOERROR 192.168.1.10"),
        ("nas.lan", AAAA, "NOERROR"),
        ("printer.lan", A, "NOERROR 192.168.1.30"),
        ("printer.lan", AAAA, "NOERROR fd00::30"),
        ("pc.lan", A, "NOERROR 192.168.1.20"),
        ("pc", A, "NOERROR 192.168.1.20"),
        ("ads.example", A, "NOERROR 0.0.0.0"),
        ("laptop.lan", A, "NOERROR 192.168.1.50"),
        ("laptop", A, "NOERROR 192.168.1.50"),
        ("www.lan", A, "NOERROR 192.168.1.10"),
        ("x.apps.lan", A, "NOERROR 192.168.1.10"),
        ("wpad.lan", A, "NXDOMAIN"),
        ("other.lan", A, "NXDOMAIN"),
    ] {
        assert_eq!(shown(&program, name, qtype), expected, "{name}");
        assert_eq!(authority.asked(name), 0, "{name}");
    }
    for (name, host) in
        [("10.1.168.192.in-addr.arpa", "nas.lan"), ("50.1.168.192.in-addr.arpa", "laptop.lan")]
    {
        let reply = wire::udp(program.addr(), name, PTR);
        assert!(reply.show().starts_with("NOERROR"), "{name}: {host}: {}", reply.show());
        assert_eq!(authority.asked(name), 0, "{name}");
    }
    assert_eq!(shown(&program, "www.example.org", A), format!("NOERROR {}", ipv4_of("www.example.org")));
}

#[test]
fn leases_that_change_are_answered_within_a_second_and_orders_are_left_alone() {
    let (folder, authority) = (folder(), Authority::start());
    let mut program = start(&folder, &authority);
    until(&program, "laptop.lan", "NOERROR 192.168.1.50");
    let mark = program.mark();
    let mut slowest = Duration::ZERO;
    for step in 1..=20u8 {
        let address = format!("192.168.1.{}", 100 + step);
        let text = leases(&[("laptop", &address), ("phone", "192.168.1.51")]);
        // In place, as dnsmasq writes, and renamed into place, as others do.
        if step % 2 == 0 {
            folder.write("leases", &text);
        } else {
            folder.write("new", &text);
            fs::rename(folder.file("new"), folder.file("leases")).expect("a file");
        }
        slowest = slowest.max(until(&program, "laptop.lan", &format!("NOERROR {address}")));
    }
    assert!(slowest < SOON, "{slowest:?}");
    assert!(!program.log()[..].lines().skip(mark).any(|line| line.contains("reloaded")), "{}", program.log());
    // Half of a file is no file, and one that is gone says nothing new.
    folder.write("leases", "0 00:11:22:33:44:55 192.168.1.99 lap");
    fs::remove_file(folder.file("leases")).expect("it is there");
    program.wait_for(mark, "what it said before stays in force");
    assert_eq!(shown(&program, "laptop.lan", A), "NOERROR 192.168.1.120");
    let ended = run(&folder, &["status", "--state", "state", "--json"]);
    let status: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(status["local"]["bad_files"], 1, "{status}");
    assert!(status["troubles"][0].as_str().is_some_and(|text| text.starts_with("local names: ")), "{status}");
    // Another configuration takes its names along.
    folder.write("sinkscope.toml", &CONFIG.replace("192.168.1.10", "192.168.1.11"));
    until(&program, "nas.lan", "NOERROR 192.168.1.11");
    folder.write("sinkscope.toml", "[orders]\npaths = []\nstate = \"state\"\n");
    until(&program, "pc.lan", "NXDOMAIN");
    program.signal("TERM");
    assert!(program.wait().success());
}

#[test]
fn what_is_wrong_is_told_by_check_with_file_and_line() {
    let folder = folder();
    let ended = run(&folder, &["check"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(
        ended.out.contains("local names: 1 zone, 13 records, 1 name from leases, 2 refused"),
        "{}",
        ended.out
    );
    folder.write("hosts", "192.168.1.20 pc\nnonsense here\n");
    folder.write("lan.zone", "nas CNAME x\n");
    fs::remove_file(folder.file("leases")).expect("it is there");
    let ended = run(&folder, &["check"]);
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    for expected in [
        "warning: hosts:2: \"nonsense\" is no address",
        "warning: lan.zone:1: nas.lan: a CNAME can be the only record of its owner",
        "error: leases: cannot read it (no such file)",
    ] {
        assert!(ended.out.contains(expected), "{expected}\n{}", ended.out);
    }
    folder.write("sinkscope.toml", "[[local]]\nzone = \"lan\"\nrecords = [\"nas A 192.168.1\"]\n");
    let ended = run(&folder, &["check"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("sinkscope.toml:3: `local[0].records[0]`"), "{}", ended.err);
}
