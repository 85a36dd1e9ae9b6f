//! What the benches that count instructions share: how they are counted, a resolver to be asked, and the hot path's cases.

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sinkscope::access::AccessList;
use sinkscope::cache::Cache;
use sinkscope::clock::{Clock, Now};
use sinkscope::dns::chaos::Identity;
use sinkscope::dns::finish::MAX_UDP_LEN;
use sinkscope::dns::{Question, Truth, TtlLimits};
use sinkscope::iana::{Class, Rtype};
use sinkscope::local::{LocalNames, Record, Special, Stated};
use sinkscope::name::{Name, NameList};
use sinkscope::policy::order::Authority;
use sinkscope::policy::{IssuerKind, MatchKind, Order, OrderWithNames, Policy, PolicyZone, Scope, Sinkhole};
use sinkscope::resolver::fetch::Rules;
use sinkscope::resolver::{Current, Resolver, Settings};
use sinkscope::serve::{Hot, Respond};
use sinkscope::upstream::{Ask, AskError};

/// Queries in a case: what a worker takes at once.
pub const BATCH: usize = sinkscope::batch::SLOTS;
/// Listed names: those of the order of 2014.
pub const LISTED: usize = 22_000;
/// The zones they are in.
pub const ZONES: [&str; 4] = ["ddns.net", "no-ip.org", "zapto.org", "servebbs.com"];
/// Where listed names lead.
pub const SINKHOLE: [u8; 4] = [192, 0, 2, 66];
/// Where all other names lead.
pub const TRUTH: [u8; 4] = [198, 51, 100, 7];
/// Who asks.
pub const CLIENT: ([u8; 4], u16) = ([127, 0, 0, 1], 4242);
/// Bounds that let everything through.
pub const LIMITS: TtlLimits = TtlLimits { min_s: 0, max_s: 86_400, negative_min_s: 0, negative_max_s: 3600 };

/// A case and what makes it.
pub type Made = (&'static str, fn() -> Case);

/// Does what the program was started for: `cargo bench` has it start itself again under valgrind, a case at a time (`--case`), if that is
/// there; else every case is made, which asserts its answers, and nothing is counted.
pub fn main(cases: &[Made]) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("--case") => {
            let name = args.get(1).expect("a case");
            let (_, make) = cases.iter().find(|(case, _)| case == name).expect("a case of that name");
            let mut case = make();
            counted_case(&mut case);
        }
        Some("--bench") => count(cases),
        // `cargo test --benches`, or by hand.
        _ => {
            cases.iter().for_each(|(_, make)| drop(make()));
            println!("all answers are right; nothing was counted");
        }
    }
}

/// Runs a case once more. Callgrind counts from here to its end, by the name of this function: all that came before is not counted.
#[inline(never)]
fn counted_case(case: &mut Case) {
    black_box(case());
}

/// Has callgrind count every case, each in a process of its own, and says what it counted. Its files are left for `callgrind_annotate`, in
/// the folder that `SINKSCOPE_COUNTS` names (`target/instructions` if it is not said).
fn count(cases: &[Made]) {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
    {
        println!("skipped: valgrind is missing, nothing was counted (Debian package valgrind)");
        return;
    }
    let folder = std::env::var_os("SINKSCOPE_COUNTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/instructions"), PathBuf::from);
    std::fs::create_dir_all(&folder).expect("a folder for counts");
    for (name, _) in cases {
        let file = folder.join(format!("callgrind.{name}.out"));
        let ended = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet", "--collect-atstart=no", "--toggle-collect=*counted_case*"])
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(std::env::current_exe().expect("this program"))
            .args(["--case", name])
            .output()
            .expect("valgrind runs");
        assert!(ended.status.success(), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
        let counts = std::fs::read_to_string(&file).expect("callgrind's file");
        let total = counts.lines().find_map(|line| line.strip_prefix("totals: ")).expect("a total");
        assert!(total.parse().is_ok_and(|total: u64| total > 0), "{name}: nothing was counted: {total}");
        println!("{name:24} {total:>10}");
    }
}

/// Handles [`BATCH`] queries, or walks some names, and says something that follows from all answers.
pub type Case = Box<dyn FnMut() -> usize>;

/// A case that has run twice and says `right` each time.
pub fn warm(right: usize, mut case: impl FnMut() -> usize + 'static) -> Case {
    for _ in 0..2 {
        assert_eq!(case(), right);
    }
    Box::new(case)
}

/// What a resolver is asked.
#[derive(Clone, Copy, PartialEq)]
pub enum Traffic {
    /// Names that an order captures.
    Sinkholed,
    /// Names in the cache, asked before in the same second.
    Cached,
    /// Names in the cache, and every batch comes in another second: each verdict is reached anew.
    CachedNewSecond,
    /// Names in the cache, where names are stated here too.
    CachedBesideLocal,
    /// Names that are stated here, as long as those in the cache.
    Local,
    /// Names that a zone of ours denies.
    LocalDenied,
}

/// A resolver, the packets it is asked, and the address that each reply holds; none if it is a denial.
pub struct Scene {
    pub resolver: Resolver,
    clock: Arc<Still>,
    pub packets: Vec<Vec<u8>>,
    leads_to: Option<[u8; 4]>,
    /// By how much the clock goes on between batches.
    step_s: u64,
}

impl Scene {
    pub fn new(traffic: Traffic) -> Scene {
        let names: NameList = (0..LISTED).map(listed_name).collect();
        let zone = PolicyZone { name: "bench".into(), orders: vec![Arc::new(order(names))] };
        let policy = Current::of(Policy::compile(&[zone], &[], 1));
        let clock = Arc::new(Still(AtomicU64::new(1_800_000_000)));
        let cache = Arc::new(Cache::new(1 << 24));
        for index in 0..BATCH {
            let (question, truth) = truth(&cached_name(index));
            cache.put(&question, Arc::new(truth), clock.now().mono);
        }
        let stated = match traffic {
            Traffic::Sinkholed | Traffic::Cached | Traffic::CachedNewSecond => Stated::default(),
            Traffic::CachedBesideLocal | Traffic::Local | Traffic::LocalDenied => stated(),
        };
        let settings = Settings {
            access: AccessList::parse(&["loopback"]).expect("a known word"),
            local: Arc::new(LocalNames::compile(&Special::default(), stated)),
            clients: Arc::default(),
            recent: Default::default(),
            identity: Identity::default(),
            rotate: true,
            dns64: None,
            ecs: Default::default(),
            rules: Rules::new(LIMITS, 1),
        };
        let resolver = Resolver::new(policy, cache, Arc::new(Nobody), clock.clone(), settings);
        let name = |index: usize| match traffic {
            Traffic::Sinkholed => listed_name(index * 613),
            Traffic::Cached | Traffic::CachedNewSecond | Traffic::CachedBesideLocal => cached_name(index),
            Traffic::Local => stated_name(index),
            Traffic::LocalDenied => name(format_args!("nobody{index}.lan")),
        };
        Scene {
            resolver,
            clock,
            packets: (0..BATCH).map(|index| packet(&name(index), true)).collect(),
            leads_to: match traffic {
                Traffic::Sinkholed => Some(SINKHOLE),
                Traffic::LocalDenied => None,
                _ => Some(TRUTH),
            },
            step_s: u64::from(traffic == Traffic::CachedNewSecond),
        }
    }

    /// Another batch is to come.
    pub fn next(&self) {
        self.clock.0.fetch_add(self.step_s, Ordering::Relaxed);
    }

    /// A reply to that packet must name it and lead where it should.
    pub fn check(&self, index: usize, reply: &[u8]) {
        assert!(reply.len() > 12 && reply[..2] == self.packets[index][..2], "{index}: {reply:?}");
        let leads_to = |address: &[u8; 4]| reply.windows(4).any(|window| window == address);
        assert!(self.leads_to.as_ref().map_or(reply[3] & 0xf == 3, leads_to), "{index}: {reply:?}");
    }
}

/// A batch through the hot path, octets in and octets out.
pub fn hot_case(traffic: Traffic) -> Case {
    hot_case_of(Scene::new(traffic))
}

/// The same at a scene.
pub fn hot_case_of(scene: Scene) -> Case {
    let from = SocketAddr::from(CLIENT);
    let mut hot = scene.resolver.hot();
    let mut outs = vec![[0u8; MAX_UDP_LEN]; BATCH];
    let mut round = move |scene: &Scene, check: bool| {
        scene.next();
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

/// Nobody to ask.
pub struct Nobody;

impl Ask for Nobody {
    async fn ask(&self, _question: &Question) -> Result<Vec<u8>, AskError> {
        Err(AskError::Overloaded)
    }
}

/// A clock that stands still, in Unix seconds, unless it is moved: what is counted does not depend on when it is.
pub struct Still(AtomicU64);

impl Clock for Still {
    fn now(&self) -> Now {
        let wall = self.0.load(Ordering::Relaxed);
        Now { mono: Duration::from_secs(7), wall: wall as _ }
    }
}

/// What these arguments spell.
pub fn name(text: std::fmt::Arguments<'_>) -> Name {
    text.to_string().parse().expect("a name")
}

/// A listed host name of the sort that dynamic DNS has.
pub fn listed_name(index: usize) -> Name {
    let host = (index as u64).wrapping_mul(0x9e37_79b9) % 0xffff_fffb;
    name(format_args!("host{host:x}.{}", ZONES[index % 4]))
}

/// A name that nobody listed.
pub fn cached_name(index: usize) -> Name {
    name(format_args!("www{index}.site{}.com", index % 977))
}

/// A name of ours, as long as those.
pub fn stated_name(index: usize) -> Name {
    name(format_args!("www{index}.site{}.lan", index % 977))
}

/// Names of ours: those that are asked for, and some thousand beside them.
pub fn stated() -> Stated {
    let record =
        |index| Record { owner: stated_name(index), rtype: Rtype::A, ttl_s: 300, rdata: TRUTH.into() };
    Stated { zones: vec![name(format_args!("lan"))], records: (0..10_000).map(record).collect() }
}

/// An order that lists them.
pub fn order(names: NameList) -> OrderWithNames {
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
pub fn truth(qname: &Name) -> (Question, Truth) {
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
pub fn packet(qname: &Name, edns: bool) -> Vec<u8> {
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
