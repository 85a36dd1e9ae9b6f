//! `sinkscope doctor`: what it says of a machine on which something is amiss, and of one on which nothing is.

mod support;

use std::net::UdpSocket;

use serde_json::Value;
use support::flood::Mock;
use support::process::{Ended, Folder, Program, run};

/// What it says as JSON.
fn doctor(folder: &Folder, listen: &str, upstream: &str) -> (Ended, Value) {
    let ended = run(folder, &["doctor", "--json", "--listen", listen, "--upstream", upstream]);
    let said = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended, said)
}

/// The findings about something.
fn about<'s>(said: &'s Value, about: &str) -> Vec<&'s Value> {
    said["findings"].as_array().expect("findings").iter().filter(|one| one["about"] == about).collect()
}

#[test]
fn who_holds_the_port_is_named_and_what_to_do() {
    let folder = Folder::new(&[]);
    let holder = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let listen = holder.local_addr().expect("an address").to_string();
    // Port 9 discards what it is sent, if anybody is there at all.
    let (ended, said) = doctor(&folder, &listen, "127.0.0.1:9");
    assert_eq!((ended.code, &said["well"]), (Some(1), &Value::Bool(false)), "{said}");
    let ports = about(&said, "port");
    let udp = ports
        .iter()
        .find(|one| one["found"].as_str().is_some_and(|found| found.starts_with("udp")))
        .expect("one");
    assert_eq!(udp["state"], "bad");
    // Linux keeps 15 octets of a program's name.
    if cfg!(target_os = "linux") {
        assert!(udp["found"].as_str().expect("a text").contains("taken by "), "{udp}");
        assert!(!udp["found"].as_str().expect("a text").contains("nobody"), "{udp}");
    }
    assert!(udp["advice"].as_str().is_some_and(|advice| advice.contains("stop it")), "{udp}");
    assert_eq!(about(&said, "upstream")[0]["state"], "bad", "{said}");
}

#[test]
fn a_machine_that_serves_is_well() {
    let folder = Folder::new(&[("orders/none.txt", "")]);
    let mock = Mock::start();
    let program = Program::of(&folder, mock.addr());
    let (ended, said) = doctor(&folder, &program.addr().to_string(), &mock.addr().to_string());
    assert_eq!((ended.code, &said["well"]), (Some(0), &Value::Bool(true)), "{said}");
    if cfg!(target_os = "linux") {
        for port in about(&said, "port") {
            assert!(port["found"].as_str().expect("a text").ends_with("is held by sinkscope"), "{port}");
        }
    }
    for what in ["upstream", "resolv.conf", "clock", "IPv6", "open files", "socket buffers", "firewall"] {
        assert_eq!(about(&said, what).len(), 1, "{what}: {said}");
    }
    let lines = run(
        &folder,
        &["doctor", "--listen", &program.addr().to_string(), "--upstream", &mock.addr().to_string()],
    );
    assert!(lines.out.contains("well  upstream: udp://127.0.0.1:"), "{lines:?}");
}
