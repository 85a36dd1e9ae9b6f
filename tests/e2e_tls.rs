//! The built program and an upstream that is asked over TLS: Unbound, with certificates of the test's own.

mod support;

use std::fs;

use support::encrypted::{self, Asked, authority, certify};
use support::process::{Folder, Program, run};
use support::wire::{self, A};

/// A configuration that asks this server by the authorities of this file.
fn configuration(server: &str, ca_file: &str) -> String {
    format!(
        "[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"{server}\"]\nca_file = \"{ca_file}\"\n[orders]\npaths = [\"orders\"]\n[cache]\nserve_stale = false\n"
    )
}

/// What the tests have in common: a folder with an order, two authorities and a server's certificate.
fn folder() -> Folder {
    let order = "id = \"a\"\ntitle = \"T\"\nkind = \"court\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.test\"]\n";
    let folder = Folder::new(&[("orders/a.toml", order)]);
    certify(&folder, "dns.test", &authority(&folder, "ca.pem"));
    authority(&folder, "other-ca.pem");
    folder
}

/// The special name `test` is asked of upstreams here.
const ASKED: [&str; 2] = ["--set", "special.forward=[\"test\"]"];

#[test]
fn an_upstream_is_asked_over_tls_if_it_proves_who_it_is() {
    let folder = folder();
    let Some(unbound) = encrypted::start(&folder, "dns.test", Asked::Tls) else { return };
    let server = format!("tls://dns.test@{}", unbound.addr);
    folder.write("sinkscope.toml", &configuration(&server, "ca.pem"));
    let program = Program::serve(&folder, &ASKED);
    assert!(program.log().contains(&format!("asking {server}")), "{}", program.log());
    assert_eq!(wire::udp(program.addr(), "www.test", A).show(), "NOERROR 192.0.2.7");
    assert_eq!(wire::udp(program.addr(), "nothing.test", A).show(), "NXDOMAIN");
    assert_eq!(wire::udp(program.addr(), "evil.test", A).show(), "NOERROR 0.0.0.0 EDE16 EDE4");

    // Other authorities are another configuration: whom they did not sign is asked nothing, and clients hear why.
    let mark = program.mark();
    folder.write("sinkscope.toml", &configuration(&server, "other-ca.pem"));
    program.wait_for(mark, "the configuration is in force as it is now");
    let reply = wire::udp(program.addr(), "www.test", A);
    assert_eq!(reply.show(), "SERVFAIL EDE23");
    let said = format!("{server} has a certificate that no trusted authority signed");
    assert!(reply.ede.iter().any(|(_, text)| text.contains(&said)), "{reply:?}");

    // So is another file of the same name; one that is broken changes nothing.
    let mark = program.mark();
    fs::copy(folder.file("ca.pem"), folder.file("other-ca.pem")).expect("a copy");
    program.wait_for(mark, "the configuration is in force as it is now");
    assert_eq!(wire::udp(program.addr(), "www.test", A).show(), "NOERROR 192.0.2.7");
    let mark = program.mark();
    folder.write("other-ca.pem", "nothing\n");
    program.wait_for(mark, "there is no certificate in it");
    assert_eq!(wire::udp(program.addr(), "not-cached.test", A).show(), "NXDOMAIN");

    // Another name, and no name: the address, which the certificate does not have.
    for host in ["other.test@", ""] {
        let server = format!("tls://{host}{}", unbound.addr);
        folder.write("other.toml", &configuration(&server, "ca.pem"));
        let program = Program::serve(&folder, &[&["--config", "other.toml"], &ASKED[..]].concat());
        let reply = wire::udp(program.addr(), "www.test", A);
        assert_eq!(reply.show(), "SERVFAIL EDE23");
        let said = format!("{server} has a certificate for another name");
        assert!(reply.ede.iter().any(|(_, text)| text.contains(&said)), "{reply:?}");
        // The log has it once it is sure.
        (0..2).for_each(|n| drop(wire::udp(program.addr(), &format!("n{n}.test"), A)));
        let is_down = "is taken to be down: it has a certificate for another name";
        program.wait_for(0, &format!("upstream {server} {is_down}"));
    }
}

#[test]
fn authorities_that_cannot_be_read_are_found_by_check() {
    let folder = folder();
    for (ca_file, expected) in [
        ("ca.pem", None),
        ("none.pem", Some("cannot be read")),
        ("dns.test.key", Some("there is no certificate in it")),
    ] {
        folder.write("sinkscope.toml", &configuration("tls://dns.test@127.0.0.1", ca_file));
        let ended = run(&folder, &["check"]);
        let said = format!("{}{}", ended.out, ended.err);
        assert_eq!(ended.code == Some(0), expected.is_none(), "{said}");
        if let Some(expected) = expected {
            assert!(said.contains(&format!("error: {ca_file}: {expected}")), "{said}");
            assert!(said.contains("upstream.ca_file"), "{said}");
        }
    }
}
