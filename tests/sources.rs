//! A list fetched with nothing but an address to ask: the host is found through upstream servers, not through the system.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::thread;

use sinkscope::clock::SystemClock;
use sinkscope::iana::Rtype;
use sinkscope::sources::{
    Bootstrap, Outcome, RefreshOptions, Refresher, Settings, Source, SourceState, copy_path,
};
use sinkscope::upstream::{self, Forwarder, Server};
use support::authority::{Authority, Data, Reply};

const LIST: &str = "0.0.0.0 one.example\n0.0.0.0 two.example\n";

/// Serves the list once; its port.
fn serve() -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            stream.read_exact(&mut octet).unwrap();
            head.extend(octet);
        }
        let length = LIST.len();
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{LIST}")
            .unwrap();
        String::from_utf8(head).unwrap()
    });
    (port, serving)
}

#[tokio::test]
async fn a_list_is_fetched_through_bootstrap_servers() {
    let authority = Authority::start();
    let at = |address: Data| Reply::new().cname("mirror.example").record("mirror.example", address);
    authority.script("lists.example", Rtype::A, at(Data::A(Ipv4Addr::LOCALHOST)));
    // Nobody listens there: the other family is tried as well.
    authority.script("lists.example", Rtype::AAAA, at(Data::Aaaa(Ipv6Addr::LOCALHOST)));
    let servers = vec![Server::udp(authority.addr())];
    let forwarder = Forwarder::new(upstream::Settings { servers, ..upstream::Settings::default() });

    let (port, serving) = serve();
    let dir = tempfile::tempdir().unwrap();
    let lookup = Arc::new(Bootstrap::new(Arc::new(forwarder)));
    let settings = Settings::new(Some(dir.path().to_path_buf()), lookup, Arc::new(SystemClock::new()));
    let source = Source::new("adverts", format!("http://lists.example:{port}/list").parse().unwrap());
    let (refresher, mut changes) = Refresher::new(vec![source], settings).unwrap();
    let refreshed = refresher.refresh(Some("adverts"), &RefreshOptions::default()).await.unwrap();
    assert_eq!(refreshed[0].outcome, Outcome::Changed);
    assert!(serving.join().unwrap().contains(&format!("host: lists.example:{port}")));
    assert_eq!(authority.asked("lists.example"), 2);
    assert_eq!(changes.recv().await, Some(()));
    assert_eq!(refresher.path("adverts"), Some(copy_path(dir.path(), "adverts")));
    assert_eq!(std::fs::read_to_string(copy_path(dir.path(), "adverts")).unwrap(), LIST);
    let status = refresher.status().remove(0);
    assert_eq!((status.state, status.entries), (SourceState::Fresh, 2));
}
