//! What prefetching spares and costs: a day's traffic through the whole request path, two workers' own paths included, in virtual time.
//!
//! `SINKSCOPE_CASES=1000000 cargo test --test prefetch -- --nocapture` prints the figures of longer runs
//! (`benches/results/prefetch-2026-11-28.md`).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinkscope::access::AccessList;
use sinkscope::cache::Cache;
use sinkscope::clock::{Clock, Now};
use sinkscope::dns::chaos::Identity;
use sinkscope::dns::finish::MAX_UDP_LEN;
use sinkscope::dns::{Question, TtlLimits};
use sinkscope::policy::Policy;
use sinkscope::resolver::fetch::Rules;
use sinkscope::resolver::{Current, Pending, Resolver, Settings};
use sinkscope::serve::{Back, Client, Hot, Respond, Step};
use sinkscope::transport::Transport;
use sinkscope::upstream::{Ask, AskError, Then};

/// Queries of each network, unless `SINKSCOPE_CASES` says otherwise.
const QUERIES: usize = 20_000;
/// TTLs and their share of names, in per cent.
const TTLS: [(u32, u32); 5] = [(30, 10), (60, 20), (300, 35), (3600, 25), (86_400, 10)];
/// Networks: queries a second, and names that are asked for, the n-th as often as n to the power of [`SKEW`] allows.
const NETWORKS: [(&str, f64, usize); 3] =
    [("a home", 0.5, 3000), ("an office", 20.0, 20_000), ("a provider", 300.0, 200_000)];
/// Between what Jung, Sit, Balakrishnan and Morris saw of resolvers (2002) and 1.
const SKEW: f64 = 0.95;
/// Where queries come from.
const CLIENT: &str = "127.0.0.1:4000";

/// A clock that moves when told to.
struct Virtual(Mutex<Duration>);

impl Clock for Virtual {
    fn now(&self) -> Now {
        let mono = *self.0.lock().unwrap();
        Now { mono, wall: 1_800_000_000 + mono.as_secs() as i64 }
    }
}

/// Knows an address of every name, and answers at once.
struct World;

impl Ask for World {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        Ok(reply(question))
    }

    fn may_begin(&self, _question: &Question) -> bool {
        true
    }

    fn begin(&self, question: &Question, then: Then) {
        then(Ok(reply(question)));
    }
}

/// An address, for as long as the name's number has it.
fn reply(question: &Question) -> Vec<u8> {
    let label = question.qname.labels().next().unwrap_or_default();
    let number: u32 = std::str::from_utf8(&label[1..]).unwrap().parse().unwrap();
    // In per cent.
    let mut share = ((number.wrapping_mul(0x9e37_79b1) >> 16) * 100) >> 16;
    let ttl_s = TTLS.iter().find(|(_, part)| {
        let is_in = share < *part;
        share = share.saturating_sub(*part);
        is_in
    });
    let mut out = vec![0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    out.extend(question.octets());
    out.extend([0xc0, 12, 0, 1, 0, 1]);
    out.extend(ttl_s.unwrap().0.to_be_bytes());
    out.extend([0, 4, 192, 0, 2, 1]);
    out
}

/// Nobody looks at replies that took long.
struct Gone;

impl Back<Box<Pending>> for Gone {
    fn replied(self, reply: Option<Vec<u8>>) {
        assert!(reply.is_some());
    }

    fn later(self, _pending: Box<Pending>) {
        panic!("upstream answers at once");
    }
}

/// What a run comes to.
#[derive(Debug)]
struct Sum {
    /// Queries that waited for upstream.
    waited: u64,
    asked: u64,
    prefetched: u64,
    wanted: u64,
    held_back: u64,
}

/// So many queries of such a network.
fn run(queries: usize, (rate, names): (f64, usize), prefetch: bool) -> Sum {
    let clock = Arc::new(Virtual(Mutex::new(Duration::from_secs(1000))));
    let ttl = TtlLimits { min_s: 0, max_s: 86_400, negative_min_s: 0, negative_max_s: 3600 };
    let settings = Settings {
        access: AccessList::parse(&["loopback"]).unwrap(),
        clients: Arc::default(),
        recent: Default::default(),
        local: Arc::default(),
        identity: Identity::default(),
        rotate: false,
        dns64: None,
        ecs: Default::default(),
        rules: Rules { prefetch, ..Rules::new(ttl, 4096) },
    };
    let current = Current::of(Policy::empty());
    let cache = Arc::new(Cache::new(64 << 20));
    let resolver = Arc::new(Resolver::new(current, cache, Arc::new(World), clock.clone(), settings));
    let mut workers = [resolver.hot(), resolver.hot()];
    // Sums of what each name has of all queries, up to it.
    let mut sums = Vec::with_capacity(names);
    let mut sum = 0.0;
    for rank in 1..=names {
        sum += (rank as f64).powf(-SKEW);
        sums.push(sum);
    }
    let mut chance = StdRng::seed_from_u64(7);
    let mut out = vec![0; MAX_UDP_LEN];
    let addr: SocketAddr = CLIENT.parse().unwrap();
    let client = Client { addr, transport: Transport::Udp };
    let mut waited = 0;
    for _ in 0..queries {
        // Poisson's: the time to the next one is exponential.
        let wait = -(1.0 - chance.random::<f64>()).ln() / rate;
        *clock.0.lock().unwrap() += Duration::from_secs_f64(wait);
        let drawn = chance.random::<f64>() * sum;
        let number = sums.partition_point(|sum| *sum < drawn);
        let label = format!("n{number}");
        let mut packet = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, label.len() as u8];
        packet.extend(label.as_bytes());
        packet.extend(b"\x07example\0\0\x01\0\x01");
        let worker = &mut workers[chance.random_range(0..2)];
        worker.begin(std::iter::once(&packet[..]));
        if worker.answer(0, &packet, addr, &mut out).is_some() {
            continue;
        }
        match resolver.now(&packet, client, &mut out) {
            Step::Reply => {}
            Step::Drop => panic!("everybody is answered"),
            Step::Later(pending) => {
                waited += 1;
                assert!(resolver.begin(pending, Gone).is_ok());
            }
        }
        out.resize(MAX_UDP_LEN, 0);
    }
    let counted = resolver.counters().named();
    let count = |name| counted.iter().find(|(other, _)| *other == name).unwrap().1;
    Sum {
        waited,
        asked: count("asked"),
        prefetched: count("prefetched"),
        wanted: count("prefetched_wanted"),
        held_back: count("prefetch_held_back"),
    }
}

#[tokio::test]
async fn fewer_wait_and_upstream_is_asked_little_more() {
    let queries = std::env::var("SINKSCOPE_CASES").map_or(QUERIES, |count| count.parse().expect("a number"));
    for (name, rate, names) in NETWORKS {
        let [without, with] = [false, true].map(|prefetch| run(queries, (rate, names), prefetch));
        assert_eq!((without.waited, without.prefetched), (without.asked, 0));
        assert_eq!(with.waited + with.prefetched, with.asked);
        let part = |less: u64, more: u64| 100.0 * (more as f64 / less as f64 - 1.0);
        println!(
            "{name}: {queries} queries, {} waited without; with it {} ({:.1} %), upstream was asked {:.1} % more: \
             {} aside, {} of them wanted, {} held back",
            without.waited,
            with.waited,
            part(without.waited, with.waited),
            part(without.asked, with.asked),
            with.prefetched,
            with.wanted,
            with.held_back,
        );
        assert!(with.waited <= without.waited, "{name}: {with:?} {without:?}");
        // One in vain for ten questions, but for those at the start; what is not wanted yet may be.
        assert!(with.prefetched - with.wanted <= with.asked / 10 + 256, "{name}: {with:?}");
        // Worth it: more are spared than are asked in vain.
        let (spared, more) = (without.waited - with.waited, with.asked - without.asked);
        assert!(spared >= more, "{name}: {spared} spared, {more} more");
    }
}
