//! Evidence under a flood, in process: what it costs an answer, whether sums are exact and memory is held, and a report over many sightings.
//!
//!     cargo bench --bench evidence [-- QUERIES [SIGHTINGS]]
//!
//! 10,000,000 queries and as many sightings by default. One thread answers batches of 32 sinkholed queries from a million clients for ten
//! thousand names of a hundred orders, as fast as it can; evidence is counted and written meanwhile, as in the server. Every sum is asserted:
//! queries in the database are answers that were given. Then a report is made over so many sightings.

use std::fs;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sinkscope::access::AccessList;
use sinkscope::batch;
use sinkscope::cache::Cache;
use sinkscope::clients::{Clients, Privacy};
use sinkscope::clock::{Clock, SystemClock};
use sinkscope::dns::chaos::Identity;
use sinkscope::dns::finish::MAX_UDP_LEN;
use sinkscope::dns::{Question, TtlLimits};
use sinkscope::evidence::client::Pseudonyms;
use sinkscope::evidence::keeper::{Keeper, Settings as Kept};
use sinkscope::evidence::read::{Reader, Wanted};
use sinkscope::evidence::store::Store;
use sinkscope::evidence::tally::{Lens, Seed, Tally};
use sinkscope::name::{Name, NameList};
use sinkscope::policy::{
    Action, Hit, MatchKind, Order, OrderWithNames, Policy, PolicyZone, Scope, Sinkhole, Trigger, TriggerType,
};
use sinkscope::resolver::fetch::Rules;
use sinkscope::resolver::outcome::Request;
use sinkscope::resolver::sightings::Sightings;
use sinkscope::resolver::{Current, Resolver, Settings};
use sinkscope::serve::{Client, Hot, Respond};
use sinkscope::transport::Transport;
use sinkscope::upstream::{Ask, AskError};

/// Clients, names and orders of the flood.
const CLIENTS: u64 = 1_000_000;
/// Names that are listed, as many for each order.
const NAMES: usize = 10_000;
/// Orders.
const ORDERS: usize = 100;
/// Octets of memory that evidence may have.
const MEMORY: u64 = 64 << 20;
/// Octets of its database.
const MAX_OCTETS: u64 = 1 << 30;
/// Of so many sightings one transaction is made when a large database is built.
const AT_ONCE: u32 = 500_000;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<u64>().ok());
    let queries = numbers.next().unwrap_or(10_000_000);
    let sightings = numbers.next().unwrap_or(10_000_000);
    let folder = tempfile::tempdir().expect("a folder");
    flood(queries, folder.path());
    report(sightings, folder.path());
}

/// The flood, without evidence and with it.
fn flood(queries: u64, folder: &Path) {
    let off = Scene::new(Sightings::off());
    off.answer(queries / 20);
    let without = off.answer(queries / 5);
    println!("without evidence    {:>10.0} answers a second", rate(queries / 5, without));

    let on = Scene::new(Sightings::on(MEMORY as usize));
    let before = memory();
    let path = folder.join("flood.db");
    let settings = Kept {
        privacy: Privacy::Full,
        flush: Duration::from_secs(5),
        keep_days: 90,
        max_octets: MAX_OCTETS,
        memory: MEMORY,
    };
    let of = (on.sightings.clone(), on.current.clone());
    let keeper =
        Arc::new(Keeper::new(path.clone(), settings, of, Arc::new(SystemClock::new()), Box::new(|_| false)));
    keeper.open();
    for write in [false, true] {
        let keeper = Arc::clone(&keeper);
        thread::spawn(move || if write { keeper.write() } else { keeper.count() });
    }
    let with = on.answer(queries);
    println!(
        "with evidence       {:>10.0} answers a second, counted and written meanwhile",
        rate(queries, with)
    );
    let start = Instant::now();
    keeper.end();
    println!("the rest took       {:>10.1} s", start.elapsed().as_secs_f64());
    let fares = keeper.fares();
    assert_eq!((fares.seen, fares.written, fares.lost), (queries, queries, 0), "counts are answers");
    let reader = Reader::open(&path).expect("a database");
    let wanted = Wanted { order: None, days: (0, u32::MAX), networks: Vec::new(), top: 10 };
    let reports = reader.report(&wanted).expect("a report");
    assert_eq!(reports.iter().map(|report| report.queries).sum::<u64>(), queries, "sums are exact");
    let (least, most) = reports
        .iter()
        .fold((u64::MAX, 0), |(least, most), report| (least.min(report.clients), most.max(report.clients)));
    let each = queries as f64 / ORDERS as f64;
    let expected = CLIENTS as f64 * (1.0 - (-each / CLIENTS as f64).exp());
    println!("clients of an order {least:>10} to {most}, of {expected:.0}");
    println!(
        "memory              {:>10} KiB more at most; {} KiB are set",
        memory().saturating_sub(before),
        MEMORY >> 10
    );
    println!("database            {:>10} octets, {} sightings made room", fares.octets, fares.trimmed);
    for (what, count) in fares.coarse.named() {
        println!("  coarser: {what:10} {count:>10}");
    }
}

/// A report over so many sightings.
fn report(sightings: u64, folder: &Path) {
    let path = folder.join("report.db");
    let mut store = Store::new(path.clone(), u64::MAX / 4, 3650);
    let at = SystemClock::new().now().wall / 86_400 * 86_400;
    let order = Order { scopes: vec![Scope::new(MatchKind::Exact)], ..Order::new("one") };
    let trigger = Trigger { labels: 2, kind: MatchKind::Exact, on: TriggerType::Qname, prefix: None };
    let hit = Hit { order: &order, scope: &order.scopes[0], trigger, action: Action::SINKHOLE, zone: 0 };
    let start = Instant::now();
    let chunks = sightings.div_ceil(AT_ONCE.into());
    for chunk in 0..chunks {
        let of = Sightings::on(1 << 30);
        let mut tally = Tally::new(1 << 30, Seed { period: 0, key: 1 });
        let (clients, mut pseudonyms) = (Clients::everyone(), Pseudonyms::default());
        let mut lens = Lens { clients: &clients, privacy: Privacy::Full, pseudonyms: &mut pseudonyms };
        let mut scribe = of.scribe().expect("it is on");
        for number in 0..AT_ONCE {
            let addr = SocketAddr::new(Ipv4Addr::from(0x0a00_0000 + number / 2).into(), 4000);
            let question = packet(&listed_name(number as usize % NAMES));
            let request = Request {
                client: Client { addr, transport: Transport::Udp },
                question: &question[12..],
                at: at + chunk as i64 % 24 * 3600 + chunk as i64 / 24 * 86_400,
                packet: &[],
                took: [Duration::ZERO; 2],
            };
            scribe.note(&request, &hit);
            if number % 4096 == 0 {
                while let Some(batch) = of.next() {
                    tally.add(&batch, &mut lens);
                    of.take_back(batch);
                }
            }
        }
        drop(scribe);
        while let Some(batch) = of.next() {
            tally.add(&batch, &mut lens);
        }
        store.write(&tally, at, 7).expect("it is written");
    }
    let took = start.elapsed();
    println!(
        "{} sightings written in {:.1} s, {} octets",
        chunks * u64::from(AT_ONCE),
        took.as_secs_f64(),
        store.octets()
    );
    let wanted = Wanted { order: None, days: (0, u32::MAX), networks: Vec::new(), top: 10 };
    let start = Instant::now();
    let reports = Reader::open(&path).and_then(|reader| reader.report(&wanted)).expect("a report");
    println!("a report over them  {:>10.1} s", start.elapsed().as_secs_f64());
    assert_eq!(reports.iter().map(|report| report.queries).sum::<u64>(), chunks * u64::from(AT_ONCE));
    let start = Instant::now();
    let reader = Reader::open(&path).expect("a database");
    let mut rows = 0_u64;
    for source in reader.sources(None).expect("orders") {
        let done = reader.each(&source, &wanted, |sighted| {
            rows += u64::from(black_box(sighted.count) > 0);
            Ok(())
        });
        done.expect("it is read").expect("nothing is written");
    }
    println!("each of {rows} one by one {:>6.1} s", start.elapsed().as_secs_f64());
    drop(fs::remove_file(path));
}

/// A resolver with orders, and who looks on.
struct Scene {
    resolver: Resolver,
    current: Arc<Current>,
    sightings: Sightings,
    packets: Vec<Vec<u8>>,
}

impl Scene {
    fn new(sightings: Sightings) -> Scene {
        let orders = (0..ORDERS).map(|number| {
            let names: NameList =
                (0..NAMES).filter(|name| name % ORDERS == number).map(listed_name).collect();
            let scope =
                Scope { family: Some(format!("family-{}", number % 7)), ..Scope::new(MatchKind::Exact) };
            let sinkhole = Sinkhole { v4: vec![Ipv4Addr::new(192, 0, 2, 66)], v6: Vec::new() };
            let order = Order { scopes: vec![scope], sinkhole, ..Order::new(format!("order-{number}")) };
            Arc::new(OrderWithNames::listing(order, [names]))
        });
        let zone = PolicyZone { name: "bench".into(), orders: orders.collect() };
        let current = Current::of(Policy::compile(&[zone], &[], 1));
        let settings = Settings {
            access: AccessList::parse(&["private"]).expect("a known word"),
            local: Arc::default(),
            clients: Arc::default(),
            recent: Default::default(),
            identity: Identity::default(),
            rotate: true,
            dns64: None,
            ecs: Default::default(),
            rules: Rules::new(
                TtlLimits { min_s: 0, max_s: 86_400, negative_min_s: 0, negative_max_s: 3600 },
                1,
            ),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let cache = Arc::new(Cache::new(1 << 20));
        let resolver = Resolver::new(current.clone(), cache, Arc::new(Nobody), clock, settings)
            .sighted(sightings.clone());
        let packets = (0..NAMES).map(|name| packet(&listed_name(name))).collect();
        Scene { resolver, current, sightings, packets }
    }

    /// Answers so many queries; how long that took.
    fn answer(&self, queries: u64) -> Duration {
        let mut hot = self.resolver.hot();
        let mut out = vec![0; MAX_UDP_LEN];
        // SplitMix64 (Steele, Lea, Flood, 2014), so that clients and names have nothing to do with each other.
        let mut state = 7_u64;
        let mut random = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        };
        let start = Instant::now();
        let mut left = queries;
        let mut batch: Vec<(&[u8], SocketAddr)> = Vec::with_capacity(batch::SLOTS);
        while left > 0 {
            batch.clear();
            for _ in 0..left.min(batch::SLOTS as u64) {
                let draw = random();
                let client = Ipv4Addr::from(0x0a00_0000 + (draw >> 32) as u32 % CLIENTS as u32);
                batch.push((&self.packets[draw as usize % NAMES], SocketAddr::new(IpAddr::V4(client), 4000)));
            }
            hot.begin(batch.iter().map(|(packet, _)| *packet));
            for (index, (packet, from)) in batch.iter().enumerate() {
                let len = hot.answer(index, packet, *from, &mut out).expect("it is an ordinary query");
                assert!(len > packet.len(), "it has an address");
            }
            left -= batch.len() as u64;
        }
        start.elapsed()
    }
}

/// Nobody to ask.
struct Nobody;

impl Ask for Nobody {
    async fn ask(&self, _question: &Question) -> Result<Vec<u8>, AskError> {
        Err(AskError::Overloaded)
    }
}

/// Queries a second.
fn rate(queries: u64, took: Duration) -> f64 {
    queries as f64 / took.as_secs_f64()
}

/// KiB that this process had at most.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// A listed name.
fn listed_name(index: usize) -> Name {
    format!("host{index}.zone{}.example", index % 97).parse().expect("a name")
}

/// A query for an address, with EDNS.
fn packet(qname: &Name) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    out.extend(qname.as_wire());
    out.extend([0, 1, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    out
}
