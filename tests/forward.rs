//! The forwarder against a server that speaks all of DNS.

mod support;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_resolver::proto::rr::{RData, RecordType};
use sinkscope::dns::Question;
use sinkscope::iana::{Class, Rtype};
use sinkscope::upstream::{Ask, AskError, Forwarder, Server, Settings};
use support::authority::{Authority, Data, NEGATIVE_TTL, Reply, TTL, ipv4_of, ipv6_of};

fn question(name: &str, qtype: Rtype) -> Question {
    Question {
        qname: name.parse().unwrap(),
        qtype,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
        asked_for: None,
    }
}

fn forwarder(servers: Vec<Server>) -> Forwarder {
    Forwarder::new(Settings { servers, ..Settings::default() })
}

async fn ask(forwarder: &Forwarder, name: &str, qtype: Rtype) -> Message {
    Message::from_vec(&forwarder.ask(&question(name, qtype)).await.unwrap()).unwrap()
}

#[tokio::test]
async fn made_up_names_have_addresses_and_nothing_else() {
    let authority = Authority::start();
    for server in [Server::udp(authority.addr()), Server::tcp(authority.addr())] {
        let forwarder = forwarder(vec![server.clone()]);
        let a = ask(&forwarder, "WWW.Example.com", Rtype::A).await;
        assert_eq!((a.answers.len(), a.answers[0].ttl), (1, TTL), "{server}");
        assert_eq!(a.answers[0].data, RData::A(ipv4_of("www.example.com").into()));
        let aaaa = ask(&forwarder, "www.example.com", Rtype::AAAA).await;
        assert_eq!(aaaa.answers[0].data, RData::AAAA(ipv6_of("WWW.EXAMPLE.COM.").into()));
        let txt = ask(&forwarder, "www.example.com", Rtype::TXT).await;
        assert!(txt.answers.is_empty() && txt.response_code == ResponseCode::NoError);
        let RData::SOA(soa) = &txt.authorities[0].data else { panic!("{txt}") };
        assert_eq!(soa.minimum, NEGATIVE_TTL);
    }
    assert_eq!((authority.asked("www.example.com"), authority.asked_in_all()), (6, 6));
}

#[tokio::test]
async fn what_upstream_says_survives() {
    let authority = Authority::start();
    let forwarder = forwarder(vec![Server::udp(authority.addr())]);
    authority.script("gone.test", Rtype::A, Reply::nxdomain().authentic().ede(9, "no keys"));
    let reply = ask(&forwarder, "gone.test", Rtype::A).await;
    assert_eq!(reply.response_code, ResponseCode::NXDomain);
    assert!(reply.authentic_data && reply.authorities[0].record_type() == RecordType::SOA);
    let edns = reply.edns.as_ref().unwrap();
    assert_eq!(
        edns.option(EdnsCode::Unknown(15)),
        Some(&EdnsOption::Unknown(15, b"\x00\x09no keys".to_vec()))
    );
    authority.script("cookies.test", Rtype::A, Reply::new().rcode(23));
    assert_eq!(u16::from(ask(&forwarder, "cookies.test", Rtype::A).await.response_code), 23);
    let private = Rtype(65_280);
    let raw = Data::Raw(private.0, vec![1, 2, 3]);
    let script = Reply::new().cname("b.test").record("b.test", raw).ttl(7);
    authority.script("a.test", private, script);
    let reply = ask(&forwarder, "a.test", private).await;
    let types: Vec<Rtype> = reply.answers.iter().map(|record| Rtype(record.record_type().into())).collect();
    assert_eq!((types, reply.answers[1].ttl), (vec![Rtype::CNAME, private], 7));
}

#[tokio::test]
async fn truncated_replies_come_whole() {
    let authority = Authority::start();
    let forwarder = forwarder(vec![Server::udp(authority.addr())]);
    let many = (0..200).fold(Reply::new(), |reply, n| reply.a(Ipv4Addr::new(198, 18, 0, n)));
    authority.script("many.test", Rtype::A, many);
    authority.script("tc.test", Rtype::A, Reply::new().a(Ipv4Addr::LOCALHOST).truncated_over_udp());
    assert_eq!(ask(&forwarder, "many.test", Rtype::A).await.answers.len(), 200);
    let reply = ask(&forwarder, "tc.test", Rtype::A).await;
    assert!(reply.answers.len() == 1 && !reply.truncation);
    assert_eq!((authority.asked("many.test"), authority.asked("tc.test")), (2, 2));
}

#[tokio::test]
async fn slow_is_waited_for_and_silent_is_not() {
    let (one, two) = (Authority::start(), Authority::start());
    one.script("slow.test", Rtype::A, Reply::new().a(Ipv4Addr::LOCALHOST).after(Duration::from_millis(50)));
    one.script("silent.test", Rtype::A, Reply::silence());
    let settings = Settings {
        servers: vec![Server::udp(one.addr()), Server::udp(two.addr())],
        try_timeout: Duration::from_millis(600),
        ..Settings::default()
    };
    let forwarder = Forwarder::new(settings);
    ask(&forwarder, "slow.test", Rtype::A).await;
    let reply = ask(&forwarder, "silent.test", Rtype::A).await;
    assert_eq!(reply.answers[0].data, RData::A(ipv4_of("silent.test").into()));
    assert_eq!((two.asked("slow.test"), two.asked("silent.test")), (0, 1));
}

#[tokio::test]
async fn an_upstream_comes_and_goes() {
    let mut authority = Authority::start();
    for server in [Server::udp(authority.addr()), Server::tcp(authority.addr())] {
        let patient = forwarder(vec![server.clone()]);
        let short = Duration::from_millis(400);
        let settings = Settings {
            servers: vec![server],
            try_timeout: short,
            total_timeout: short,
            ..Settings::default()
        };
        let hasty = Forwarder::new(settings);
        ask(&patient, "x.test", Rtype::A).await;
        ask(&hasty, "x.test", Rtype::A).await;
        authority.stop();
        for _ in 0..5 {
            let started = Instant::now();
            let error = hasty.ask(&question("x.test", Rtype::A)).await.unwrap_err();
            assert!(matches!(error, AskError::Network(_)), "{error}");
            assert!(started.elapsed() < Duration::from_secs(2));
        }
        // It answered a moment ago, so it is tried on, and is back before that is over.
        tokio::join!(ask(&patient, "x.test", Rtype::A), async { authority.restart() });
        ask(&hasty, "x.test", Rtype::A).await;
    }
}
