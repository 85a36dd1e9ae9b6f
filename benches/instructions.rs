//! Instructions of the hot cases, as callgrind counts them: the same number on a noisy machine as on a quiet one, so that
//! a regression of a few per cent shows. `checks/instructions` compares a run with `benches/instructions.baseline`.
//!
//!     cargo bench --bench instructions
//!
//! Needs valgrind and the gungraun-runner of the version in Cargo.lock; without them it says so and measures nothing.
//! Each case handles [`BATCH`] queries, or walks [`WALKED`] names. Before it is counted it runs twice and its answers are asserted, so what is counted
//! is the warm path. Counts say nothing about cache misses: `request_path` and `trie` measure time.

use std::hint::black_box;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sinkscope::access::AccessList;
use sinkscope::cache::Cache;
use sinkscope::clock::{Clock, Now};
use sinkscope::dns::chaos::Identity;
use sinkscope::dns::finish::MAX_UDP_LEN;
use sinkscope::dns::{Answer, Question, Truth, TtlLimits, finish, parse, parse_head};
use sinkscope::iana::{Class, Rtype};
use sinkscope::name::{Name, NameList};
use sinkscope::policy::order::Authority;
use sinkscope::policy::trie::{NameTrie, TrieBuilder};
use sinkscope::policy::{IssuerKind, MatchKind, Order, OrderWithNames, Policy, PolicyZone, Scope, Sinkhole};
use sinkscope::resolver::fetch::Rules;
use sinkscope::resolver::{Current, Resolver, Settings};
use sinkscope::serve::{Client, Hot, Respond, Step};
use sinkscope::transport::Transport;
use sinkscope::upstream::{Ask, AskError};

/// Queries in a case: what a worker takes at once.
const BATCH: usize = sinkscope::batch::SLOTS;
/// Names of a case that walks the trie: of so few as a batch a chance collision of tags, or a bucket that happens to be full, would
/// weigh more than what is looked for.
const WALKED: usize = 32 * BATCH;
/// Listed names: those of the order of 2014.
const LISTED: usize = 22_000;
/// The zones they are in.
const ZONES: [&str; 4] = ["ddns.net", "no-ip.org", "zapto.org", "servebbs.com"];
/// Where listed names lead.
const SINKHOLE: [u8; 4] = [192, 0, 2, 66];
/// Where all other names lead.
const TRUTH: [u8; 4] = [198, 51, 100, 7];
/// Who asks.
const CLIENT: ([u8; 4], u16) = ([127, 0, 0, 1], 4242);
/// Bounds that let everything through.
const LIMITS: TtlLimits = TtlLimits { min_s: 0, max_s: 86_400, negative_min_s: 0, negative_max_s: 3600 };

fn main() {
    match std::env::args().nth(1).as_deref() {
        // The runner starts this program again under valgrind, a case at a time.
        Some("--gungraun-run") => counted::run(),
        // This is what `cargo bench` passes.
        Some("--bench") => count(),
        // `cargo test --benches`, or run by hand.
        _ => check(),
    }
}

/// Hands over to the runner, if it is there.
fn count() {
    for tool in ["valgrind", "gungraun-runner"] {
        let tried = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if tried.is_err() {
            println!(
                "skipped: {tool} is missing, nothing was counted (checks/instructions says how to get it)"
            );
            return;
        }
    }
    counted::run();
}

/// Makes every case, which asserts its answers, and counts nothing.
fn check() {
    for make in [head_case, finish_case] {
        drop(make());
    }
    for wanted in [Wanted::Listed, Wanted::Sibling, Wanted::Stranger] {
        drop(walk_case(wanted));
        drop(walk_batch_case(wanted));
    }
    for traffic in [Traffic::Sinkholed, Traffic::Cached, Traffic::CachedNewSecond] {
        drop(hot_case(traffic));
        drop(slow_case(traffic));
    }
    println!("all answers are right; nothing was counted");
}

/// What is counted, in the terms of its library.
mod counted {
    use super::*;
    use gungraun::prelude::*;

    // Runs a case once more; all that came before is not counted. (The attribute takes no docstring.)
    #[library_benchmark]
    #[bench::parse_head(head_case())]
    #[bench::walk_listed(walk_case(Wanted::Listed))]
    #[bench::walk_sibling(walk_case(Wanted::Sibling))]
    #[bench::walk_stranger(walk_case(Wanted::Stranger))]
    #[bench::walk_batch_listed(walk_batch_case(Wanted::Listed))]
    #[bench::walk_batch_sibling(walk_batch_case(Wanted::Sibling))]
    #[bench::walk_batch_stranger(walk_batch_case(Wanted::Stranger))]
    #[bench::hot_sinkholed(hot_case(Traffic::Sinkholed))]
    #[bench::hot_cached(hot_case(Traffic::Cached))]
    #[bench::hot_cached_new_second(hot_case(Traffic::CachedNewSecond))]
    #[bench::slow_sinkholed(slow_case(Traffic::Sinkholed))]
    #[bench::slow_cached(slow_case(Traffic::Cached))]
    #[bench::finish_truth(finish_case())]
    fn case(mut case: Case) -> Case {
        black_box(case());
        case
    }

    library_benchmark_group!(name = hot_cases, benchmarks = [case]);
    main!(library_benchmark_groups = hot_cases);

    /// Hands over to the runner.
    pub fn run() {
        main();
    }
}

/// Handles [`BATCH`] queries, or walks [`WALKED`] names, and says something that follows from all answers.
type Case = Box<dyn FnMut() -> usize>;

/// A case that has run twice and says `right` each time.
fn warm(right: usize, mut case: impl FnMut() -> usize + 'static) -> Case {
    for _ in 0..2 {
        assert_eq!(case(), right);
    }
    Box::new(case)
}

/// A glance at ordinary queries.
fn head_case() -> Case {
    let packets: Vec<Vec<u8>> = (0..BATCH).map(|index| packet(&cached_name(index), true)).collect();
    let right = (0..BATCH).map(|index| cached_name(index).as_wire().len()).sum();
    warm(right, move || {
        let mut name = Name::ROOT;
        let mut seen =
            |packet: &Vec<u8>| parse_head(black_box(packet), &mut name).map(|_| name.as_wire().len());
        packets.iter().filter_map(&mut seen).sum()
    })
}

/// Which names the trie is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    /// Listed.
    Listed,
    /// Not listed, under a zone of which others are.
    Sibling,
    /// Under a top-level domain of which nothing is listed, each under another.
    Stranger,
}

impl Wanted {
    /// The names, and how many of them are listed.
    fn names(self) -> (Vec<Name>, usize) {
        let name = |index: usize| match self {
            Wanted::Listed => listed_name(index * 613 % LISTED),
            Wanted::Sibling => name(format_args!("neighbour{index}.{}", ZONES[index % 4])),
            Wanted::Stranger => name(format_args!("www{index}.site{index}.zone{index}")),
        };
        ((0..WALKED).map(name).collect(), if self == Wanted::Listed { WALKED } else { 0 })
    }
}

/// A trie of the listed names.
fn trie() -> NameTrie {
    let mut builder = TrieBuilder::new();
    for index in 0..LISTED {
        assert!(builder.update(&listed_name(index), |_| 1), "it fits");
    }
    builder.build()
}

/// Names walked one by one.
fn walk_case(wanted: Wanted) -> Case {
    let ((names, right), trie) = (wanted.names(), trie());
    warm(right, move || {
        let mut found = 0;
        for name in &names {
            trie.walk(black_box(name), |_, value| found += value as usize);
        }
        found
    })
}

/// Names walked together.
fn walk_batch_case(wanted: Wanted) -> Case {
    let ((names, right), trie) = (wanted.names(), trie());
    warm(right, move || {
        let mut found = 0;
        trie.walk_batch(black_box(&names), |_, _, value| found += value as usize);
        found
    })
}

/// What a resolver is asked.
#[derive(Clone, Copy, PartialEq)]
enum Traffic {
    /// Names that an order captures.
    Sinkholed,
    /// Names in the cache, asked before in the same second.
    Cached,
    /// Names in the cache, and every batch comes in another second: each verdict is reached anew.
    CachedNewSecond,
}

/// A resolver, the packets it is asked, and the address that each reply holds.
struct Scene {
    resolver: Resolver,
    clock: Arc<Still>,
    packets: Vec<Vec<u8>>,
    leads_to: [u8; 4],
    /// By how much the clock goes on between batches.
    step_s: u64,
}

impl Scene {
    fn new(traffic: Traffic) -> Scene {
        let names: NameList = (0..LISTED).map(listed_name).collect();
        let zone = PolicyZone { name: "bench".into(), orders: vec![Arc::new(order(names))] };
        let policy = Current::of(Policy::compile(&[zone], &[], 1));
        let clock = Arc::new(Still(AtomicU64::new(1_800_000_000)));
        let cache = Arc::new(Cache::new(1 << 24));
        for index in 0..BATCH {
            let (question, truth) = truth(&cached_name(index));
            cache.put(&question, Arc::new(truth), clock.now().mono);
        }
        let settings = Settings {
            access: AccessList::parse(&["loopback"]).expect("a known word"),
            local: Arc::default(),
            clients: Arc::default(),
            recent: Default::default(),
            identity: Identity::default(),
            rotate: true,
            dns64: None,
            ecs: Default::default(),
            rules: Rules::new(LIMITS, 1),
        };
        let resolver = Resolver::new(policy, cache, Arc::new(Nobody), clock.clone(), settings);
        let sinkholed = traffic == Traffic::Sinkholed;
        let name = |index: usize| if sinkholed { listed_name(index * 613) } else { cached_name(index) };
        Scene {
            resolver,
            clock,
            packets: (0..BATCH).map(|index| packet(&name(index), true)).collect(),
            leads_to: if sinkholed { SINKHOLE } else { TRUTH },
            step_s: u64::from(traffic == Traffic::CachedNewSecond),
        }
    }

    /// A reply to that packet must name it and lead where it should.
    fn check(&self, index: usize, reply: &[u8]) {
        assert!(reply.len() > 12 && reply[..2] == self.packets[index][..2], "{index}: {reply:?}");
        assert!(reply.windows(4).any(|window| window == self.leads_to), "{index}: {reply:?}");
    }
}

/// A batch through the hot path, octets in and octets out.
fn hot_case(traffic: Traffic) -> Case {
    let scene = Scene::new(traffic);
    let from = SocketAddr::from(CLIENT);
    let mut hot = scene.resolver.hot();
    let mut outs = vec![[0u8; MAX_UDP_LEN]; BATCH];
    let mut round = move |scene: &Scene, check: bool| {
        scene.clock.0.fetch_add(scene.step_s, Ordering::Relaxed);
        hot.begin(scene.packets.iter().map(Vec::as_slice));
        let mut octets = 0;
        for (index, (packet, out)) in scene.packets.iter().zip(&mut outs).enumerate() {
            let len = hot.answer(index, black_box(packet), from, out).unwrap_or(0);
            if check {
                scene.check(index, &out[..len]);
            }
            octets += len;
        }
        octets
    };
    let right = round(&scene, true);
    warm(right, move || round(&scene, false))
}

/// As many through the slow path, one by one.
fn slow_case(traffic: Traffic) -> Case {
    let scene = Scene::new(traffic);
    let client = Client { addr: CLIENT.into(), transport: Transport::Udp };
    let mut out = Vec::new();
    let mut round = move |scene: &Scene, check: bool| {
        scene.clock.0.fetch_add(scene.step_s, Ordering::Relaxed);
        let mut octets = 0;
        for (index, packet) in scene.packets.iter().enumerate() {
            let step = scene.resolver.now(black_box(packet), client, &mut out);
            assert!(matches!(step, Step::Reply));
            if check {
                scene.check(index, &out);
            }
            octets += out.len();
        }
        octets
    };
    let right = round(&scene, true);
    warm(right, move || round(&scene, false))
}

/// Replies written by the one exit, from truths seven seconds old.
fn finish_case() -> Case {
    let packets: Vec<Vec<u8>> = (0..BATCH).map(|index| packet(&cached_name(index), true)).collect();
    let answers: Vec<Answer> =
        (0..BATCH).map(|index| Answer::truth(Arc::new(truth(&cached_name(index)).1), 7)).collect();
    // A header, the question, one record with a pointer for a name, and an OPT record.
    let right = packets.iter().map(|packet| packet.len() + 16).sum();
    let mut out = Vec::new();
    warm(right, move || {
        let mut octets = 0;
        for (packet, answer) in packets.iter().zip(&answers) {
            let query = parse(packet).expect("an ordinary query");
            finish(black_box(&query), answer, Transport::Udp, &mut out);
            octets += out.len();
        }
        octets
    })
}

/// Nobody to ask.
struct Nobody;

impl Ask for Nobody {
    async fn ask(&self, _question: &Question) -> Result<Vec<u8>, AskError> {
        Err(AskError::Overloaded)
    }
}

/// A clock that stands still, in Unix seconds, unless it is moved: what is counted does not depend on when it is.
struct Still(AtomicU64);

impl Clock for Still {
    fn now(&self) -> Now {
        let wall = self.0.load(Ordering::Relaxed);
        Now { mono: Duration::from_secs(7), wall: wall as _ }
    }
}

/// What these arguments spell.
fn name(text: std::fmt::Arguments<'_>) -> Name {
    text.to_string().parse().expect("a name")
}

/// A listed host name of the sort that dynamic DNS has.
fn listed_name(index: usize) -> Name {
    let host = (index as u64).wrapping_mul(0x9e37_79b9) % 0xffff_fffb;
    name(format_args!("host{host:x}.{}", ZONES[index % 4]))
}

/// A name that nobody listed.
fn cached_name(index: usize) -> Name {
    name(format_args!("www{index}.site{}.com", index % 977))
}

/// An order that lists them.
fn order(names: NameList) -> OrderWithNames {
    let docket = Some("2:14-cv-00987-GMN-GWF".into());
    let order = Order {
        authority: Authority { kind: IssuerKind::Court, docket, ..Authority::default() },
        zones: ZONES.iter().map(|zone| name(format_args!("{zone}"))).collect(),
        scopes: vec![Scope::new(MatchKind::Exact)],
        sinkhole: Sinkhole { v4: vec![SINKHOLE.into()], v6: Vec::new() },
        ..Order::new("us-nv-2014-cv-00987")
    };
    OrderWithNames::listing(order, [names])
}

/// A question and its answer, one address.
fn truth(qname: &Name) -> (Question, Truth) {
    let question = Question {
        qname: *qname,
        qtype: Rtype::A,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
        asked_for: None,
    };
    let mut message = packet(qname, false);
    message[2..4].copy_from_slice(&[0x81, 0x80]);
    message[7] = 1;
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4]);
    message.extend(TRUTH);
    let truth = Truth::read(&question, &message, &LIMITS).expect("an answer to the question");
    (question, truth)
}

/// A query for an address, every other letter in upper case.
fn packet(qname: &Name, edns: bool) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    let mixed =
        |(index, octet): (usize, &u8)| if index % 2 == 0 { octet.to_ascii_uppercase() } else { *octet };
    out.extend(qname.as_wire().iter().enumerate().map(mixed));
    out.extend([0, 1, 0, 1]);
    if edns {
        out.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    }
    out
}
