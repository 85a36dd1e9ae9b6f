//! What a query that waits holds.

use std::sync::Arc;
use std::time::Duration;

use super::counters::Counters;
use super::fetch::{Fetched, Fetcher, Rules};
use super::{Client, Current, Resolver, Respond, Settings, Step};
use crate::access::AccessList;
use crate::cache::Cache;
use crate::clock::{Clock, Now};
use crate::dns::chaos::Identity;
use crate::dns::testing::{question, response};
use crate::dns::{Question, Truth, TtlLimits};
use crate::iana::{Rcode, Rtype};
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
        local: Arc::default(),
        identity: Identity::default(),
        rotate: true,
        dns64: None,
        ecs: Default::default(),
        rules: Rules::new(TtlLimits { min_s: 0, max_s: 600, negative_min_s: 0, negative_max_s: 300 }, 4),
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

/// Answers after so long.
struct Slow(Duration);

impl Ask for Slow {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        tokio::time::sleep(self.0).await;
        Ok(response(0x8180, "q.e", question.qtype, [&["q.e 60 A 192.0.2.2"], &[], &[]]))
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_gives_way_has_not_failed() {
    let ttl = TtlLimits { min_s: 0, max_s: 600, negative_min_s: 0, negative_max_s: 300 };
    let (cache, counters) = (Arc::new(Cache::new(1 << 17)), Arc::new(Counters::default()));
    let clock: (Arc<dyn Clock>, _) = (Arc::new(Always), Arc::clone(&counters));
    let slow = Arc::new(Slow(Duration::from_secs(9)));
    let fetcher = Arc::new(Fetcher::new(slow, Arc::clone(&cache), clock, Rules::new(ttl, 2)));
    let ask = |qtype| {
        let fetcher = Arc::clone(&fetcher);
        tokio::spawn(async move { fetcher.fetch(question("q.e", qtype)).await })
    };
    let (first, second) = (ask(Rtype::A), ask(Rtype::AAAA));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(matches!(ask(Rtype::TXT).await.unwrap(), Fetched::TurnedAway));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let third = ask(Rtype::TXT);
    assert!(matches!(second.await.unwrap(), Fetched::TurnedAway));
    assert!(cache.failure(&question("q.e", Rtype::AAAA), Duration::ZERO).is_none());
    // Both of the others are asked to their end.
    for one in [first, third] {
        assert!(!matches!(one.await.unwrap(), Fetched::TurnedAway));
    }
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((count(&counters.overloaded), count(&counters.gave_way), count(&counters.asked)), (1, 1, 3));
}

/// It is always ten seconds past the start.
struct Later;

impl Clock for Later {
    fn now(&self) -> Now {
        Now { mono: Duration::from_secs(10), wall: 10 }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_can_be_told_an_expired_answer_waits_less() {
    let (ttl, asked) = (
        TtlLimits { min_s: 0, max_s: 600, negative_min_s: 0, negative_max_s: 300 },
        question("q.e", Rtype::A),
    );
    for (stale, upstream_ms, told_ms, fresh) in
        [(true, 1700, 1700, true), (true, 3000, 1800, false), (false, 3000, 3000, true)]
    {
        let cache =
            Arc::new(Cache::new(1 << 17).keep_stale(Duration::from_secs(if stale { 600 } else { 0 })));
        let old = response(0x8180, "q.e", Rtype::A, [&["q.e 1 A 192.0.2.1"], &[], &[]]);
        cache.put(&asked, Arc::new(Truth::read(&asked, &old, &ttl).unwrap()), Duration::ZERO);
        let upstream = Arc::new(Slow(Duration::from_millis(upstream_ms)));
        let clock: (Arc<dyn Clock>, _) = (Arc::new(Later), Arc::default());
        let fetcher = Fetcher::new(upstream, Arc::clone(&cache), clock, Rules::new(ttl, 4));
        let begun = tokio::time::Instant::now();
        let fetched = fetcher.fetch(asked).await;
        let took = begun.elapsed().as_millis() as u64;
        assert!((told_ms..told_ms + 3).contains(&took), "{took} of {told_ms}");
        assert_eq!(matches!(fetched, Fetched::Truth(_)), fresh, "{fetched:?}");
        // The asking goes on, and is for whoever asks next; that it took long was no failure.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = Later.now().mono;
        assert!(cache.get(&asked, now).is_some() && cache.failure(&asked, now).is_none());
    }
}

/// Answers about addresses alone, and came back so often.
struct Back(std::sync::atomic::AtomicU64);

impl Ask for Back {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        match question.qtype {
            Rtype::A => Ok(response(0x8180, "q.e", Rtype::A, [&["q.e 60 A 192.0.2.2"], &[], &[]])),
            _ => Err(AskError::NoneReachable("no reply".to_owned())),
        }
    }

    fn changes(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[tokio::test]
async fn what_failed_while_all_were_down_is_asked_again_once_one_is_back() {
    let ttl = TtlLimits { min_s: 0, max_s: 600, negative_min_s: 0, negative_max_s: 300 };
    let (cache, upstream) = (Arc::new(Cache::new(1 << 17)), Arc::new(Back(Default::default())));
    let clock: (Arc<dyn Clock>, _) = (Arc::new(Always), Arc::default());
    let fetcher = Fetcher::new(upstream.clone(), Arc::clone(&cache), clock, Rules::new(ttl, 4));
    let failed = || cache.failure(&question("q.e", Rtype::AAAA), Duration::ZERO).is_some();
    for (changes, kept) in [(0, true), (1, false)] {
        upstream.0.store(changes, std::sync::atomic::Ordering::Relaxed);
        fetcher.fetch(question("q.e", Rtype::AAAA)).await;
        assert!(failed());
        fetcher.fetch(question("q.e", Rtype::A)).await;
        assert_eq!(failed(), kept, "{changes}");
        cache.clear();
    }
}
