//! What a query that waits holds.

use std::sync::Arc;
use std::time::Duration;

use super::{Client, Current, Resolver, Respond, Settings, Step};
use crate::access::AccessList;
use crate::cache::Cache;
use crate::clock::{Clock, Now};
use crate::dns::local_zones::{Identity, LocalZones};
use crate::dns::{Question, TtlLimits};
use crate::iana::Rcode;
use crate::policy::Policy;
use crate::transport::Transport;
use crate::upstream::{Ask, AskError};

/// Has no time for anybody.
struct Busy;

impl Ask for Busy {
    async fn ask(&self, _question: &Question) -> Result<Vec<u8>, AskError> {
        Err(AskError::Overloaded)
    }
}

/// It is always now.
struct Always;

impl Clock for Always {
    fn now(&self) -> Now {
        Now { mono: Duration::ZERO, wall: 0 }
    }
}

/// A resolver without orders and upstreams, for 192.0.2.0/24.
fn resolver() -> Resolver {
    let settings = Settings {
        clients: Arc::default(),
        recent: Default::default(),
        access: AccessList::parse(&["192.0.2.0/24"]).unwrap(),
        local_zones: LocalZones { not_local: Vec::new() },
        identity: Identity::default(),
        ttl: TtlLimits { min_s: 0, max_s: 600, negative_max_s: 300 },
        max_in_flight: 4,
    };
    let policy = Current::of(Policy::empty());
    Resolver::new(policy, Arc::new(Cache::new(1 << 17)), Arc::new(Busy), Arc::new(Always), settings)
}

/// A query for `www.example` A with an OPT record that holds so much padding (RFC 7830).
fn padded(padding: u16) -> Vec<u8> {
    let mut query =
        b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01\x03wWw\x07example\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\x80\0"
            .to_vec();
    query.extend((padding + 4).to_be_bytes());
    query.extend(12u16.to_be_bytes());
    query.extend(padding.to_be_bytes());
    query.resize(query.len() + usize::from(padding), 0);
    query
}

#[tokio::test]
async fn a_query_that_waits_keeps_what_it_needs() {
    let (resolver, client) =
        (resolver(), Client { addr: "192.0.2.1:5300".parse().unwrap(), transport: Transport::Tcp });
    let mut replies = Vec::new();
    for padding in [0, 65_000] {
        let Step::Later(pending) = resolver.now(&padded(padding), client, &mut Vec::new()) else { panic!() };
        assert_eq!(pending.question.len(), 17, "padding is let go");
        let mut reply = Vec::new();
        assert!(resolver.later(&pending, &mut reply).await);
        replies.push(reply);
        // Without room to wait a stream is told so.
        let mut offline = Vec::new();
        assert!(matches!(resolver.answer_from_cache(&pending, &mut offline), Step::Reply));
        replies.push(offline);
    }
    assert!(replies.iter().all(|reply| Rcode(u16::from(reply[3] & 0xf)) == Rcode::SERVFAIL));
    assert!(replies.iter().all(|reply| reply[..2] == *b"\x12\x34" && reply[13..16] == *b"wWw"));
    assert_eq!((&replies[0], &replies[1]), (&replies[2], &replies[3]));
    // By datagram it is not: its client asks again.
    let client = Client { transport: Transport::Udp, ..client };
    let Step::Later(pending) = resolver.now(&padded(9), client, &mut Vec::new()) else { panic!() };
    assert!(matches!(resolver.answer_from_cache(&pending, &mut Vec::new()), Step::Later(())));
}

#[test]
fn who_is_served_is_known_before_anything_is_read() {
    let resolver = resolver();
    for (ip, served) in
        [("192.0.2.9", true), ("192.0.3.1", false), ("::ffff:192.0.2.9", true), ("::1", false)]
    {
        assert_eq!(resolver.serves(ip.parse().unwrap()), served, "{ip}");
    }
}
