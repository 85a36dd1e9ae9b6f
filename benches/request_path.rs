//! The whole request path in process, octets in and octets out: nanoseconds and allocations a query, one thread, batches
//! of 32 as a worker has them. Every answer is asserted.
//!
//!     cargo bench --bench request_path [-- NAMES...]
//!
//! NAMES are numbers of listed names, 22,000 and 1,000,000 by default. Each figure is the least of some rounds: the
//! machine's own cost, less what else ran at the time; the median stands beside it.

#[allow(dead_code, reason = "other benches look at the memory held too")]
#[path = "support/alloc.rs"]
mod alloc;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use sinkscope::access::AccessList;
use sinkscope::batch;
use sinkscope::cache::Cache;
use sinkscope::clock::{Clock, SystemClock};
use sinkscope::dns::chaos::Identity;
use sinkscope::dns::finish::MAX_UDP_LEN;
use sinkscope::dns::{Question, Truth, TtlLimits};
use sinkscope::iana::{Class, Rtype};
use sinkscope::name::{Name, NameList};
use sinkscope::policy::order::Authority;
use sinkscope::policy::{IssuerKind, MatchKind, Order, OrderWithNames, Policy, PolicyZone, Scope, Sinkhole};
use sinkscope::resolver::fetch::Rules;
use sinkscope::resolver::{Current, Resolver, Settings};
use sinkscope::serve::{Client, Hot, Respond, Step};
use sinkscope::trace;
use sinkscope::trace::random::Weighted;
use sinkscope::transport::Transport;
use sinkscope::upstream::{Ask, AskError};

/// Queries of one measured round.
const QUERIES: usize = 32 * 8192;
/// Rounds; the least and the median are shown.
const ROUNDS: usize = 15;
/// Names in the cache of the hot case: they fit a worker's own entries.
const HOT_NAMES: usize = 5_000;
/// Names in the cache of the shared case: most of them do not.
const SHARED_NAMES: usize = 200_000;
/// Popular names of the mix; each is asked for in two ways, as by type A and AAAA.
const POPULAR: usize = 100_000;

/// Nobody to ask.
struct Nobody;

impl Ask for Nobody {
    async fn ask(&self, _question: &Question) -> Result<Vec<u8>, AskError> {
        Err(AskError::Overloaded)
    }
}

fn main() {
    let counts: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![22_000, 1_000_000] } else { counts };
    println!("{:>10}  {:36} {:>8} {:>8} {:>12}", "listed", "case", "least", "median", "allocations");
    for count in counts {
        Bench::new(count).run();
    }
}

/// A resolver with that many listed names and a full cache.
struct Bench {
    listed: usize,
    resolver: Resolver,
}

impl Bench {
    fn new(listed: usize) -> Bench {
        let names: NameList = (0..listed).map(listed_name).collect();
        let zone = PolicyZone { name: "bench".into(), orders: vec![Arc::new(order(names))] };
        let policy = Current::of(Policy::compile(&[zone], &[], 1));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let cache = Arc::new(Cache::new(1 << 30));
        for index in 0..SHARED_NAMES {
            let (question, truth) = truth(index);
            cache.put(&question, Arc::new(truth), clock.now().mono);
        }
        let settings = Settings {
            access: AccessList::parse(&["loopback", "private"]).unwrap_or_default(),
            local: Arc::default(),
            clients: Arc::default(),
            recent: Default::default(),
            identity: Identity::default(),
            rotate: true,
            dns64: None,
            ecs: Default::default(),
            rules: Rules::new(LIMITS, 1),
        };
        Bench { listed, resolver: Resolver::new(policy, cache, Arc::new(Nobody), clock, settings) }
    }

    fn run(&self) {
        let mut random = Random(7);
        let mut pick = |below: usize| random.below(below);
        let sinkholed: Packets =
            (0..QUERIES).map(|_| packet(&listed_name(pick(self.listed)), Rtype::A, true)).collect();
        let denied: Packets =
            (0..QUERIES).map(|_| packet(&listed_name(pick(self.listed)), Rtype::HTTPS, true)).collect();
        let hot: Packets =
            (0..QUERIES).map(|_| packet(&cached_name(pick(HOT_NAMES)), Rtype::A, true)).collect();
        let plain: Packets =
            (0..QUERIES).map(|_| packet(&cached_name(pick(HOT_NAMES)), Rtype::A, false)).collect();
        let shared: Packets =
            (0..QUERIES).map(|_| packet(&cached_name(pick(SHARED_NAMES)), Rtype::A, true)).collect();
        let sinkhole = [192, 0, 2, 66];
        let truth = |reply: &[u8]| contains(reply, &[198, 51, 100]);
        for allocations in [
            self.measure("sinkholed A, EDNS", &sinkholed, |reply| contains(reply, &sinkhole)),
            self.measure("sinkholed HTTPS (denial), EDNS", &denied, |reply| reply[9] == 1),
            self.measure("cached, own entries, EDNS", &hot, truth),
            self.measure("cached, own entries, no EDNS", &plain, truth),
        ] {
            assert_eq!(allocations, 0, "what a worker has at hand is answered without an allocation");
        }
        self.measure("cached, mostly the shared cache", &shared, truth);
        let (mix, other) = (self.mix(1), self.mix(2));
        let told = |reply: &[u8]| contains(reply, &[198, 51, 100]) || contains(reply, &sinkhole);
        self.measure("Zipf mix over 100k names, 5 % listed", &mix, told);
        self.measure_side_by_side("the same on two threads, each", [&mix, &other], told);
        self.measure_slow("slow path, sinkholed A", &sinkholed);
        self.measure_slow("slow path, cached", &hot);
    }

    /// Five listed names in a hundred; the rest popular ones by Zipf's law, the second way to ask for one in a third.
    fn mix(&self, seed: u64) -> Packets {
        let (popularity, mut random) = (Weighted::zipf(POPULAR, 1.0), trace::random::Random::new(seed, 0));
        let mut one = |_| match random.below(100) {
            0..5 => packet(&listed_name(random.below(self.listed as u64) as usize), Rtype::A, true),
            share => {
                let second = if share % 3 == 0 { POPULAR } else { 0 };
                packet(&cached_name(second + popularity.draw(&mut random)), Rtype::A, true)
            }
        };
        (0..QUERIES).map(&mut one).collect()
    }

    /// Measures two hot paths over one shared cache at once.
    fn measure_side_by_side(
        &self,
        label: &str,
        packets: [&Packets; 2],
        right: impl Fn(&[u8]) -> bool + Sync,
    ) {
        let mut hots = [self.resolver.hot(), self.resolver.hot()];
        let mut both = |check: bool| {
            std::thread::scope(|scope| {
                for (hot, packets) in hots.iter_mut().zip(packets) {
                    let (right, resolver) = (&right, &self.resolver);
                    scope.spawn(move || {
                        let mut outs = Outs::default();
                        answer_all(resolver, hot, packets, &mut outs, |out| {
                            assert!(!check || right(out), "{label}")
                        });
                    });
                }
            });
        };
        both(true);
        self.show(label, || both(false));
    }

    /// Measures the hot path; every reply must be right. Gives back the allocations of all rounds but the first.
    fn measure(&self, label: &str, packets: &Packets, right: impl Fn(&[u8]) -> bool) -> usize {
        let (mut hot, mut outs) = (self.resolver.hot(), Outs::default());
        let mut round = |check: bool| {
            answer_all(&self.resolver, &mut hot, packets, &mut outs, |reply| {
                assert!(!check || right(reply), "{label}: {reply:?}")
            })
        };
        let octets = round(true);
        self.show(label, || assert_eq!(round(false), octets))
    }

    /// Measures the slow path.
    fn measure_slow(&self, label: &str, packets: &Packets) {
        let client = Client { addr: ([127, 0, 0, 1], 4242).into(), transport: Transport::Udp };
        let mut out = Vec::new();
        self.show(label, || {
            for packet in packets.iter() {
                assert!(matches!(self.resolver.now(packet, client, &mut out), Step::Reply));
            }
        });
    }

    /// Runs rounds and prints a line; gives back their allocations.
    fn show(&self, label: &str, mut round: impl FnMut()) -> usize {
        let mut times = Vec::with_capacity(ROUNDS);
        let before = alloc::count();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            round();
            times.push(start.elapsed().as_nanos() as f64 / QUERIES as f64);
        }
        let allocations = alloc::count() - before;
        times.sort_by(f64::total_cmp);
        println!(
            "{:>10}  {label:36} {:>5.0} ns {:>5.0} ns {:>12.5}",
            self.listed,
            times[0],
            times[ROUNDS / 2],
            allocations as f64 / (ROUNDS * QUERIES) as f64,
        );
        allocations
    }
}

/// Where replies are written.
struct Outs {
    /// A batch of the hot path's.
    outs: Vec<[u8; MAX_UDP_LEN]>,
    /// One of the slow path's.
    slow: Vec<u8>,
}

impl Default for Outs {
    fn default() -> Outs {
        Outs { outs: vec![[0; MAX_UDP_LEN]; batch::SLOTS], slow: Vec::new() }
    }
}

/// Has every packet answered, in batches; the octets of all replies. One in a thousand may be left to the slow path, as when
/// its entry made room within the batch.
fn answer_all(
    resolver: &Resolver,
    hot: &mut impl Hot,
    packets: &Packets,
    outs: &mut Outs,
    mut see: impl FnMut(&[u8]),
) -> usize {
    let client = Client { addr: ([127, 0, 0, 1], 4242).into(), transport: Transport::Udp };
    let Outs { outs, slow } = outs;
    let (mut len_sum, mut left) = (0, 0);
    for first in (0..packets.len()).step_by(batch::SLOTS) {
        let burst = first..packets.len().min(first + batch::SLOTS);
        hot.begin(burst.clone().map(|index| packets.get(index)));
        for ((index, place), out) in (0..).zip(burst).zip(outs.iter_mut()) {
            let packet = packets.get(place);
            let reply = match hot.answer(index, packet, client.addr, out) {
                Some(len) => &out[..len],
                None => {
                    left += 1;
                    assert!(matches!(resolver.now(packet, client, slow), Step::Reply));
                    &slow[..]
                }
            };
            assert!(reply.len() > 12 && reply[..2] == packet[..2], "{packet:?}");
            see(reply);
            len_sum += reply.len();
        }
    }
    assert!(left * 1000 <= packets.len(), "{left} left to the slow path");
    black_box(len_sum)
}

/// Queries side by side, as a worker finds those that the system has just written for it: what it takes to fetch a packet
/// from memory is no part of the request path.
struct Packets {
    octets: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl FromIterator<Vec<u8>> for Packets {
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(packets: I) -> Packets {
        let mut all = Packets { octets: Vec::new(), ends: Vec::new() };
        for packet in packets {
            all.octets.extend(packet);
            all.ends.push(all.octets.len());
        }
        all
    }
}

impl Packets {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.octets[start..self.ends[index]]
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }
}

const LIMITS: TtlLimits = TtlLimits { min_s: 0, max_s: 86_400, negative_min_s: 0, negative_max_s: 3600 };

fn contains(reply: &[u8], part: &[u8]) -> bool {
    reply.windows(part.len()).any(|window| window == part)
}

/// A listed host name of the sort that dynamic DNS has.
fn listed_name(index: usize) -> Name {
    const ZONES: [&str; 4] = ["ddns.net", "no-ip.org", "zapto.org", "servebbs.com"];
    let text =
        format!("host{:x}.{}", (index as u64).wrapping_mul(0x9e37_79b9) % 0xffff_fffb, ZONES[index % 4]);
    text.parse().unwrap_or(Name::ROOT)
}

fn cached_name(index: usize) -> Name {
    format!("www{index}.site{}.com", index % 977).parse().unwrap_or(Name::ROOT)
}

/// An order that lists them.
fn order(names: NameList) -> OrderWithNames {
    let zones = ["ddns.net", "no-ip.org", "zapto.org", "servebbs.com"];
    let docket = Some("2:14-cv-00987-GMN-GWF".into());
    let order = Order {
        authority: Authority { kind: IssuerKind::Court, docket, ..Authority::default() },
        zones: zones.iter().filter_map(|zone| zone.parse().ok()).collect(),
        scopes: vec![Scope::new(MatchKind::Exact)],
        sinkhole: Sinkhole { v4: vec![[192, 0, 2, 66].into()], v6: Vec::new() },
        ..Order::new("us-nv-2014-cv-00987")
    };
    OrderWithNames::listing(order, [names])
}

/// A question and its answer: an alias and two addresses, as popular names have.
fn truth(index: usize) -> (Question, Truth) {
    let qname = cached_name(index);
    let question = Question {
        qname,
        qtype: Rtype::A,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
        asked_for: None,
    };
    let mut message = packet(&qname, Rtype::A, false);
    message[2..4].copy_from_slice(&[0x81, 0x80]);
    message[7] = 3;
    let alias: Name = format!("edge{}.cdn.net", index % 9973).parse().unwrap_or(Name::ROOT);
    let fixed = |rtype: u8, len: usize| [0, rtype, 0, 1, 0, 0, 0x0e, 0x10, 0, len as u8];
    message.extend([0xc0, 12]);
    message.extend(fixed(5, alias.as_wire().len()));
    let alias_at = message.len() as u16;
    message.extend(alias.as_wire());
    for host in 1..=2 {
        message.extend((0xc000 | alias_at).to_be_bytes());
        message.extend(fixed(1, 4));
        message.extend([198, 51, 100, host]);
    }
    match Truth::read(&question, &message, &LIMITS) {
        Ok(truth) => (question, truth),
        Err(error) => panic!("{error:?}"),
    }
}

/// A query, every other letter in upper case.
fn packet(qname: &Name, qtype: Rtype, edns: bool) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    let mixed =
        |(index, octet): (usize, &u8)| if index % 2 == 0 { octet.to_ascii_uppercase() } else { *octet };
    out.extend(qname.as_wire().iter().enumerate().map(mixed));
    out.extend(qtype.to_be_bytes());
    out.extend([0, 1]);
    if edns {
        out.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    }
    out
}

/// Numbers that look random and are the same each time (Steele and others' SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
