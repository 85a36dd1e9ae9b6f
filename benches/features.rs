//! What each feature of policy costs a query, in process: octets in and octets out, one thread, batches as a worker has
//! them. All features are measured in turn within each round, so that what else the machine does strikes all alike; every
//! answer is asserted.
//!
//!     cargo bench --bench features [-- ROUNDS]
//!
//! Each line is the policy of the first one, which lists a million names exactly, and one feature more.

#[allow(dead_code, reason = "other benches ask for other things")]
#[path = "support/made.rs"]
mod made;

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use made::{Random, SINKHOLE, TRUE_NET, innocent_name, listed_name, packet};
use sinkscope::access::Network;
use sinkscope::batch;
use sinkscope::clients::{Clients, Group};
use sinkscope::dns::finish::MAX_UDP_LEN;
use sinkscope::name::{Name, NameList};
use sinkscope::orders::lists::pattern::PatternSet;
use sinkscope::policy::{
    Action, MatchKind, Order, OrderWithNames, Override, Patterns, Policy, PolicyZone, Rpz, Scope, Sinkhole,
    Standing, TriggerType, View, WildcardRule, Window, prefix,
};
use sinkscope::resolver::{Current, Resolver};
use sinkscope::serve::{Client, Hot, Respond, Step};
use sinkscope::transport::Transport;

/// Listed names.
const LISTED: usize = 1_000_000;
/// Innocent names asked for: they fit a worker's own entries.
const INNOCENT: usize = 5_000;
/// Queries of one measurement.
const QUERIES: usize = batch::SLOTS * 2048;
/// Rounds unless said otherwise.
const ROUNDS: usize = 11;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(ROUNDS);
    let mut benches: Vec<Bench> = features().into_iter().map(Bench::new).collect();
    for bench in &mut benches {
        bench.measure(true);
        bench.times = Default::default();
    }
    for _ in 0..rounds {
        benches.iter_mut().for_each(|bench| bench.measure(false));
    }
    let medians: Vec<[f64; 2]> = benches.iter_mut().map(Bench::medians).collect();
    println!("{:44} {:>12} {:>7} {:>12} {:>7}", "with", "innocent", "", "listed", "");
    for (bench, [innocent, listed]) in benches.iter().zip(&medians) {
        let [least_innocent, least_listed] = medians[0];
        println!(
            "{:44} {innocent:>9.0} ns {:>6.2}x {listed:>9.0} ns {:>6.2}x",
            bench.label,
            innocent / least_innocent,
            listed / least_listed,
        );
    }
}

/// A policy, and who is asking.
struct Feature {
    label: &'static str,
    zones: Vec<OrderWithNames>,
    clients: Clients,
    statements: Vec<Override>,
}

/// Every feature by itself.
fn features() -> Vec<Feature> {
    let plain =
        |label| Feature { label, zones: vec![order()], clients: Clients::everyone(), statements: Vec::new() };
    let with = |label, listed| Feature { zones: vec![order(), listed], ..plain(label) };
    let list = |count| (0..count).map(|index| listed_name(LISTED + index)).collect::<NameList>();
    let wildcards = (0..1_000).map(|index| format!("w{index}.test").parse().unwrap_or(Name::ROOT)).collect();
    let prefixes = |on| {
        let address = |index: u32| IpAddr::from((0x0a00_0000 + (index << 8)).to_be_bytes());
        (0..1_000).map(|index| prefix::to_name(address(index), 24, on)).collect::<NameList>()
    };
    let name_server: NameList =
        ["ns.evil.test.rpz-nsdname".parse().unwrap_or(Name::ROOT)].into_iter().collect();
    let statement = Override {
        over_names: false,
        order: "us-nv-2014-cv-00987".into(),
        names: Some((listed_name(LISTED + 7), MatchKind::Exact)),
        standing: Standing::Lifted,
        window: Window::ALWAYS,
    };
    vec![
        plain("a court order of a million names"),
        with("and a second order of 100,000", second(list(100_000))),
        with("and an RPZ of 100,000 names", rpz(TriggerType::Qname, MatchKind::Exact, list(100_000))),
        with("and an RPZ of 1,000 wildcards", rpz(TriggerType::Qname, MatchKind::SubtreeBelow, wildcards)),
        with(
            "and 1,000 response-IP triggers",
            rpz(TriggerType::ResponseIp, MatchKind::Exact, prefixes(TriggerType::ResponseIp)),
        ),
        with(
            "and 1,000 client-IP triggers",
            rpz(TriggerType::ClientIp, MatchKind::Exact, prefixes(TriggerType::ClientIp)),
        ),
        with("and an NSDNAME trigger", rpz(TriggerType::NsDname, MatchKind::Exact, name_server)),
        with(
            "and 1,000 NSIP triggers",
            rpz(TriggerType::NsIp, MatchKind::Exact, prefixes(TriggerType::NsIp)),
        ),
        with("and a list of patterns", patterns()),
        Feature { statements: vec![statement], ..plain("and a name lifted by command") },
        Feature { clients: groups(), ..plain("and groups of clients") },
    ]
}

/// Somebody's groups: the client that asks is in one for which a zone is left out.
fn groups() -> Clients {
    let networks =
        ["127.0.0.0/8", "192.168.7.0/24"].iter().filter_map(|text| text.parse::<Network>().ok()).collect();
    let view = View::ALL.without(1);
    Clients::new(&[Group::plain("kids", networks, view)])
}

/// A feature's resolver, what it is asked, and how long that took.
struct Bench {
    label: &'static str,
    resolver: Resolver,
    hot: <Resolver as Respond>::Hot,
    innocent: Vec<Vec<u8>>,
    listed: Vec<Vec<u8>>,
    times: [Vec<f64>; 2],
}

impl Bench {
    fn new(feature: Feature) -> Bench {
        let zone = |listed: OrderWithNames| PolicyZone {
            name: listed.order.id.clone(),
            orders: vec![Arc::new(listed)],
        };
        let zones: Vec<PolicyZone> = feature.zones.into_iter().map(zone).collect();
        let mut policy = Policy::compile(&zones, &[], 1);
        if !feature.statements.is_empty() {
            policy = policy.with_overrides(&feature.statements, 2);
        }
        let policy = Current::of(policy);
        let known = (0..INNOCENT).map(innocent_name);
        let resolver = made::resolver_for(policy, Arc::new(feature.clients), known);
        let mut random = Random(7);
        let innocent = (0..QUERIES).map(|_| packet(&innocent_name(random.below(INNOCENT)), 7)).collect();
        let listed = (0..QUERIES).map(|_| packet(&listed_name(random.below(LISTED)), 7)).collect();
        Bench {
            label: feature.label,
            hot: resolver.hot(),
            resolver,
            innocent,
            listed,
            times: Default::default(),
        }
    }

    /// Asks for both sorts of names once.
    fn measure(&mut self, check: bool) {
        let Bench { label, resolver, hot, innocent, listed, times } = self;
        for ((packets, part), times) in
            [(innocent, &TRUE_NET[..]), (listed, &SINKHOLE[..])].into_iter().zip(times)
        {
            let start = Instant::now();
            answer_all(resolver, hot, packets, |reply| {
                assert!(
                    !check || reply.windows(part.len()).any(|window| window == part),
                    "{label}: {reply:?}"
                );
            });
            times.push(start.elapsed().as_nanos() as f64 / QUERIES as f64);
        }
    }

    fn medians(&mut self) -> [f64; 2] {
        self.times.each_mut().map(|times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        })
    }
}

/// Has every packet answered as a worker does: in batches, what is not ordinary by the slow path.
fn answer_all(resolver: &Resolver, hot: &mut impl Hot, packets: &[Vec<u8>], mut see: impl FnMut(&[u8])) {
    let client = Client { addr: ([127, 0, 0, 1], 4242).into(), transport: Transport::Udp };
    let (mut out, mut slow) = ([0; MAX_UDP_LEN], Vec::new());
    for burst in packets.chunks(batch::SLOTS) {
        hot.begin(burst.iter().map(Vec::as_slice));
        for (index, packet) in burst.iter().enumerate() {
            let reply = match hot.answer(index, packet, client.addr, &mut out) {
                Some(len) => &out[..len],
                None => {
                    assert!(matches!(resolver.now(packet, client, &mut slow), Step::Reply), "it waits");
                    &slow[..]
                }
            };
            see(black_box(reply));
        }
    }
}

/// The order of the first line.
fn order() -> OrderWithNames {
    let names = (0..LISTED).map(listed_name).collect();
    let order = Order {
        scopes: vec![Scope::new(MatchKind::Exact)],
        sinkhole: Sinkhole { v4: vec![SINKHOLE.into()], v6: Vec::new() },
        ..Order::new("us-nv-2014-cv-00987")
    };
    OrderWithNames::listing(order, [names])
}

/// Another order of exact names.
fn second(names: NameList) -> OrderWithNames {
    let order = Order { scopes: vec![Scope::new(MatchKind::Exact)], ..Order::new("second") };
    OrderWithNames::listing(order, [names])
}

/// A response policy zone with one sort of trigger.
fn rpz(on: TriggerType, kind: MatchKind, names: NameList) -> OrderWithNames {
    let rpz = Rpz {
        origin: "rpz.test".parse().unwrap_or(Name::ROOT),
        soa: Box::default(),
        soa_ttl_s: 10,
        without_rd: false,
        break_dnssec: false,
        missing_type: Default::default(),
    };
    let order = Order {
        scopes: vec![Scope { on, action: Some(Action::NXDOMAIN), ..Scope::new(kind) }],
        reading: WildcardRule::Wildcard,
        rpz: Some(rpz),
        ..Order::new("rpz")
    };
    OrderWithNames::listing(order, [names])
}

/// A hundred patterns as lists have them.
fn patterns() -> OrderWithNames {
    let texts: Vec<String> = (0..100).map(|index| format!("^ad{index}[0-9]*\\.track[a-z]+\\.")).collect();
    let set = PatternSet::new(texts.into_iter().map(|text| (text.clone(), text)).collect());
    assert!(set.left_out.is_empty(), "{:?}", set.left_out);
    let mut listed = second(NameList::new());
    listed.order.scopes[0].patterns = Some(Patterns(Arc::new(set)));
    listed
}
