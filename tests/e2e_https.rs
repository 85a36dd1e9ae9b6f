//! The built program and upstreams that are asked over HTTPS: Unbound, with certificates of the test's own.

mod support;

use std::time::Instant;

use support::encrypted::{self, Asked, authority, certify};
use support::process::{Folder, PATIENCE, Program};
use support::wire::{self, A};

/// A configuration that asks these servers.
fn configuration(servers: &[String]) -> String {
    format!(
        "[listen]\nudp = [\"127.0.0.1:0\"]\n[upstream]\nservers = {servers:?}\nca_file = \"ca.pem\"\n[orders]\npaths = [\"orders\"]\n[cache]\nserve_stale = false\n"
    )
}

/// What the tests have in common: a folder with an order, an authority and a server's certificate.
fn folder() -> Folder {
    let order = "id = \"a\"\ntitle = \"T\"\nkind = \"court\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.test\"]\n";
    let folder = Folder::new(&[("orders/a.toml", order)]);
    certify(&folder, "dns.test", &authority(&folder, "ca.pem"));
    folder
}

/// The special name `test` is asked of upstreams here.
const ASKED: [&str; 2] = ["--set", "special.forward=[\"test\"]"];

#[test]
fn an_upstream_is_asked_over_https() {
    let folder = folder();
    let Some(unbound) = encrypted::start(&folder, "dns.test", Asked::Https) else { return };
    for (path, expected) in [("/dns-query", ""), ("/dns-query{?dns}", ""), ("/nowhere", "HTTP status 404")] {
        let server = format!("https://dns.test@{}{path}", unbound.addr);
        folder.write("sinkscope.toml", &configuration(std::slice::from_ref(&server)));
        let program = Program::serve(&folder, &ASKED);
        assert!(program.log().contains(&format!("asking {server}")), "{}", program.log());
        assert_eq!(wire::udp(program.addr(), "evil.test", A).show(), "NOERROR 0.0.0.0 EDE16 EDE4");
        let reply = wire::udp(program.addr(), "www.test", A);
        if expected.is_empty() {
            assert_eq!(reply.show(), "NOERROR 192.0.2.7", "{server}");
            assert_eq!(wire::udp(program.addr(), "nothing.test", A).show(), "NXDOMAIN", "{server}");
        } else {
            assert_eq!(reply.show(), "SERVFAIL EDE23", "{server}");
            assert!(reply.ede.iter().any(|(_, text)| text.contains(expected)), "{reply:?}");
        }
    }
    let server = format!("https://other.test@{}", unbound.addr);
    folder.write("sinkscope.toml", &configuration(&[server]));
    let program = Program::serve(&folder, &ASKED);
    let reply = wire::udp(program.addr(), "www.test", A);
    assert_eq!(reply.show(), "SERVFAIL EDE23");
    let said = "has a certificate for another name";
    assert!(reply.ede.iter().any(|(_, text)| text.contains(said)), "{reply:?}");
}

#[test]
fn a_host_alone_is_looked_up_through_bootstrap() {
    let folder = folder();
    let Some(unbound) = encrypted::start(&folder, "dns.test", Asked::Https) else { return };
    let Some(mut clear) = encrypted::start(&folder, "dns.test", Asked::Clear) else { return };
    let server = format!("https://dns.test:{}", unbound.addr.port());
    let bootstrap = ["--set", &format!("upstream.bootstrap=[\"{}\"]", clear.addr)];
    folder.write("sinkscope.toml", &configuration(&[server]));
    // Nothing listens at ::1, which is tried first.
    let program = Program::serve(&folder, &[&ASKED[..], &bootstrap[..]].concat());
    assert_eq!(wire::udp(program.addr(), "www.test", A).show(), "NOERROR 192.0.2.7");
    // What was found is used on; who has yet to look says that nothing is found.
    clear.stop();
    assert_eq!(wire::udp(program.addr(), "nothing.test", A).show(), "NXDOMAIN");
    let program = Program::serve(&folder, &[&ASKED[..], &bootstrap[..]].concat());
    let reply = wire::udp(program.addr(), "www.test", A);
    assert!(
        reply.ede.iter().any(|(_, text)| text.contains("has a host whose address is not found (")),
        "{reply:?}"
    );
    // As soon as it is, all is well.
    let _clear = encrypted::start_at(clear.addr, &folder, "dns.test", Asked::Clear);
    let begun = Instant::now();
    while wire::udp(program.addr(), "www.test", A).show() != "NOERROR 192.0.2.7" {
        assert!(begun.elapsed() < PATIENCE);
    }
}
