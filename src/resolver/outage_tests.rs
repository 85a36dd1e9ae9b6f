//! An hour without upstreams, in virtual time: of what is cached nothing fails, nobody waits for long, and once they are back all is fresh.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::fetch::Rules;
use super::{Client, Current, Resolver, Respond, Settings, Step};
use crate::access::AccessList;
use crate::cache::{Cache, STALE_RECHECK};
use crate::clock::{Clock, Now};
use crate::dns::chaos::Identity;
use crate::dns::testing::response;
use crate::dns::{Question, TtlLimits};
use crate::iana::Rcode;
use crate::policy::Policy;
use crate::transport::Transport;
use crate::upstream::{Ask, AskError};

/// How long they are away.
const AWAY: Duration = Duration::from_secs(3600);
/// Between the times at which every name is asked for: no multiple of what anything else is done by.
const EVERY: Duration = Duration::from_secs(37);
/// How long a client waits at most for an answer that has expired, a client that gives up after two seconds in view (RFC 8767 §5), with what
/// timers add.
const STALE_AFTER: Duration = Duration::from_millis(1810);
/// How long upstreams that do not answer are waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// Names there are, each of which lives longer than the one before it, the last for longer than the outage.
const NAMES: u32 = 40;

/// An upstream as the resolver sees it, which knows every name: before it was away by one address, and since then by another one.
#[derive(Debug, Default)]
struct Upstream {
    state: AtomicU8,
    /// When which name was asked for.
    asked: Mutex<Vec<(Question, Instant)>>,
}

/// Nothing comes.
const SILENT: u8 = 1;
/// The system says at once that no way leads there.
const UNREACHABLE: u8 = 2;
/// It answers again.
const BACK: u8 = 3;

impl Ask for Upstream {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        self.asked.lock().unwrap().push((*question, Instant::now()));
        let state = self.state.load(Ordering::Relaxed);
        match state {
            SILENT => sleep(PATIENCE).await,
            UNREACHABLE => {}
            _ => sleep(Duration::from_millis(20)).await,
        }
        if matches!(state, SILENT | UNREACHABLE) {
            return Err(AskError::NoneReachable("no reply".to_owned()));
        }
        let (name, last) = (question.qname.to_string(), if state == BACK { 2 } else { 1 });
        let record = format!("{name} {} A 192.0.2.{last}", lifetime_s(&name));
        Ok(response(0x8180, &name, question.qtype, [&[&record], &[], &[]]))
    }
}

/// How long a name lives: five seconds, and of the last two hours.
fn lifetime_s(name: &str) -> u32 {
    let number: u32 = name.trim_start_matches('n').trim_end_matches(".example").parse().unwrap();
    5 + number * 7200 / NAMES
}

/// Both clocks, as virtual time goes.
struct Virtual(Instant);

impl Clock for Virtual {
    fn now(&self) -> Now {
        let mono = self.0.elapsed();
        Now { mono, wall: mono.as_secs() as i64 }
    }
}

/// What a client was told: the last octet of the address, none if there was no answer, and how long it took.
async fn ask(resolver: &Resolver, number: u32) -> (Option<u8>, Duration) {
    let label = format!("n{number}");
    let mut query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    query.push(label.len() as u8);
    query.extend(label.as_bytes());
    query.extend(b"\x07example\0\0\x01\0\x01");
    let client = Client { addr: "192.0.2.1:5300".parse().unwrap(), transport: Transport::Udp };
    let (begun, mut reply) = (Instant::now(), Vec::new());
    if let Step::Later(pending) = resolver.now(&query, client, &mut reply) {
        assert!(resolver.later(&pending, &mut reply).await);
    }
    let is_answer = Rcode(u16::from(reply[3] & 0xf)) == Rcode::NOERROR && reply[7] == 1;
    (is_answer.then(|| *reply.last().unwrap()), begun.elapsed())
}

/// Asks for every name at once.
async fn ask_all(resolver: &Arc<Resolver>) -> Vec<(u32, Option<u8>, Duration)> {
    let mut asking = JoinSet::new();
    for number in 0..NAMES {
        let resolver = Arc::clone(resolver);
        asking.spawn(async move {
            let (told, took) = ask(&resolver, number).await;
            (number, told, took)
        });
    }
    let mut told = asking.join_all().await;
    // To the millisecond, which is what timers know.
    told.iter_mut().for_each(|(_, _, took)| *took = Duration::from_millis(took.as_millis() as u64));
    told
}

#[tokio::test(start_paused = true)]
async fn of_what_is_cached_nothing_fails_in_an_hour_and_all_is_fresh_within_a_recheck() {
    for away in [SILENT, UNREACHABLE] {
        let upstream = Arc::<Upstream>::default();
        let settings = Settings {
            clients: Arc::default(),
            recent: Default::default(),
            access: AccessList::parse(&["192.0.2.0/24"]).unwrap(),
            local: Arc::default(),
            identity: Identity::default(),
            rotate: true,
            dns64: None,
            ecs: Default::default(),
            rules: Rules::new(
                TtlLimits { min_s: 0, max_s: 86_400, negative_min_s: 0, negative_max_s: 300 },
                1000,
            ),
        };
        let cache = Arc::new(Cache::new(1 << 20).keep_stale(Duration::from_secs(86_400)));
        let clock = Arc::new(Virtual(Instant::now()));
        let policy = Current::of(Policy::empty());
        let resolver = Arc::new(Resolver::new(policy, cache, upstream.clone(), clock, settings));
        assert!(ask_all(&resolver).await.iter().all(|(_, told, _)| *told == Some(1)));

        upstream.state.store(away, Ordering::Relaxed);
        let begun = Instant::now();
        while begun.elapsed() < AWAY {
            let first = ask_all(&resolver).await;
            for (number, told, took) in &first {
                let at = begun.elapsed();
                assert_eq!(*told, Some(1), "n{number} after {at:?} away ({away})");
                assert!(*took <= STALE_AFTER, "n{number} took {took:?} after {at:?} away ({away})");
            }
            // Who asks again once it is known that nobody answers has not to wait.
            sleep(EVERY / 8).await;
            for (number, told, took) in ask_all(&resolver).await {
                let is_known =
                    away == UNREACHABLE || first.contains(&(number, Some(1), Duration::from_millis(1800)));
                assert!(
                    told == Some(1) && took <= STALE_AFTER,
                    "n{number} again: {told:?} {took:?} ({away})"
                );
                assert!(took.is_zero() || !is_known, "n{number} waits again: {took:?} ({away})");
            }
            sleep(EVERY - EVERY / 8).await;
        }
        // While it is away nobody is asked for more often than that (RFC 8767 §5).
        let asked = upstream.asked.lock().unwrap().clone();
        for number in 0..NAMES {
            let of = |question: &Question| question.qname.to_string() == format!("n{number}.example");
            let times: Vec<Instant> =
                asked.iter().filter(|(question, _)| of(question)).map(|(_, at)| *at).collect();
            // The first pair is from before.
            let seldom = times.windows(2).skip(1).all(|pair| pair[1] - pair[0] >= STALE_RECHECK);
            assert!(seldom, "n{number}: {times:?} ({away})");
        }

        upstream.state.store(BACK, Ordering::Relaxed);
        for (number, told, took) in ask_all(&resolver).await {
            assert!(told.is_some() && took <= STALE_AFTER, "n{number} just back: {told:?} {took:?} ({away})");
        }
        sleep(STALE_RECHECK).await;
        for (number, told, _) in ask_all(&resolver).await {
            let lives_on = Duration::from_secs(lifetime_s(&format!("n{number}.example")).into())
                > AWAY + 2 * STALE_RECHECK;
            assert_eq!(told, Some(if lives_on { 1 } else { 2 }), "n{number} a recheck later ({away})");
        }
    }
}
