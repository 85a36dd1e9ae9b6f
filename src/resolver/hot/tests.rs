//! The hot path against the slow one: what it answers, what it leaves alone, and when it sees what changed. `property` holds
//! the two together whatever happens.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use crate::access::AccessList;
use crate::cache::Cache;
use crate::clients::Clients;
use crate::clock::{Clock, Now};
use crate::dns::chaos::Identity;
use crate::dns::dns64::{Dns64, MAPPED, WELL_KNOWN};
use crate::dns::finish::MAX_UDP_LEN;
use crate::dns::testing::{Ask as Asking, name, response};
use crate::dns::{Question, Truth, TtlLimits};
use crate::ecs::{Ecs, Mode};
use crate::iana::{Class, Rtype};
use crate::local::{LocalNames, Special, Stated};
use crate::name::{Name, NameList};
use crate::orders::lists::pattern::PatternSet;
use crate::orders::order_file;
use crate::policy::order::MissingType;
use crate::policy::{
    Action, MatchKind, Matcher, Order, OrderWithNames, Override, Patterns, Policy, PolicyZone, Protected,
    Rpz, Scope, TriggerType, Verdict, WildcardRule, Window, prefix,
};
use crate::querylog::{Choice, Record, Taps};
use crate::resolver::fetch::Rules;
use crate::resolver::sightings::{Sighting, Sightings};
use crate::resolver::{Answers, Current, Generation, Resolver, Settings};
use crate::serve::{Client, Hot, Respond, Step};
use crate::transport::Transport;
use crate::upstream::{Ask, AskError};

/// Nobody to ask: what is not known is not known.
struct Nobody;

impl Ask for Nobody {
    async fn ask(&self, _question: &Question) -> Result<Vec<u8>, AskError> {
        Err(AskError::Overloaded)
    }
}

/// A clock that stands until it is set.
struct Standing(Mutex<Now>);

impl Clock for Standing {
    fn now(&self) -> Now {
        *self.0.lock().unwrap()
    }
}

/// Both paths over the same policy, cache and clock.
pub(super) struct Twins {
    policies: Vec<Arc<Policy>>,
    pub(super) policy: Arc<Current>,
    pub(super) cache: Arc<Cache>,
    clock: Arc<Standing>,
    pub(super) slow: Resolver,
    hot: super::HotPath,
    /// The slow path once more, for what the hot one leaves to it: it counts by itself.
    other: Resolver,
    /// What the first two logged.
    log: Arc<Taps>,
}

/// The networks that are served until there is another configuration.
pub(super) const SERVED: [&str; 2] = ["192.0.2.0/24", "::1"];
/// The wall time at which tests begin, 2001-09-09T01:46:40Z: the timed order comes into force and ends around it.
pub(super) const START: i64 = 1_000_000_000;
pub(super) const LIMITS: TtlLimits =
    TtlLimits { min_s: 0, max_s: 600, negative_min_s: 0, negative_max_s: 300 };

/// Names answered here; a zone of the house is asked of others, or not.
pub(super) fn local(forwards: bool, stated: Stated) -> Arc<LocalNames> {
    let forward = if forwards { vec![name("10.in-addr.arpa")] } else { Vec::new() };
    Arc::new(LocalNames::compile(&Special { forward, ..Special::default() }, stated))
}

impl Twins {
    fn new() -> Twins {
        let policies = policies();
        let policy = Current::of(policies[1].clone());
        // Own entries have an eighth of it, the least there is: their ring fills and is swept.
        Twins { policies, ..Twins::over(policy, Cache::new(1 << 17), Arc::default()) }
    }

    /// Twins of any kind, that serve `192.0.2.0/24` and `::1`.
    pub(super) fn over(policy: Arc<Current>, cache: Cache, clients: Arc<Clients>) -> Twins {
        let cache = Arc::new(cache);
        let clock = Arc::new(Standing(Mutex::new(Now { mono: Duration::from_secs(1000), wall: START })));
        let settings = Settings {
            clients,
            recent: Default::default(),
            access: AccessList::parse(&SERVED).unwrap(),
            local: local(true, Stated::default()),
            identity: Identity::default(),
            rotate: true,
            dns64: None,
            ecs: Default::default(),
            rules: Rules::new(LIMITS, 4),
        };
        let resolver = |settings| {
            Resolver::new(policy.clone(), cache.clone(), Arc::new(Nobody), clock.clone(), settings)
        };
        let other = resolver(settings.clone());
        let log = Arc::new(Taps::new(Choice::default(), 0, 1));
        let slow = resolver(settings).logging(Some(Arc::clone(&log)));
        let hot = slow.hot();
        Twins { policies: Vec::new(), policy, cache, clock, slow, hot, other, log }
    }

    /// The same, and what orders decide is written down by both paths.
    fn sighted(self) -> Twins {
        let slow = self.slow.sighted(Sightings::on(0));
        let hot = slow.hot();
        Twins { slow, hot, ..self }
    }

    /// What was written down since this was last asked: order and name, by all.
    fn sightings(&mut self) -> Vec<(String, Name)> {
        let sightings = self.slow.observers.sightings.clone();
        sightings.gather();
        // It hands over what it has when it ends.
        drop(self.hot.worker.observers.scribe.take());
        let mut all = Vec::new();
        while let Some(batch) = sightings.next() {
            let of = |seen: Sighting<'_>| {
                (batch.sources()[seen.source].order.clone(), Name::at_start_of(seen.qname).unwrap())
            };
            all.extend(batch.iter().map(of));
            sightings.take_back(batch);
        }
        all
    }

    /// Goes on by another configuration: who is served, whether a zone of the house is forwarded, and what of clients, and other upstreams
    /// with their cache, if there are.
    pub(super) fn configure(
        &mut self,
        served: &[&str],
        (forwards, mode): (bool, Mode),
        cache: Option<Cache>,
    ) {
        let access = AccessList::parse(served).unwrap();
        let everybody = Dns64 { prefix: WELL_KNOWN, exclude: vec![MAPPED], groups: Vec::new() };
        let (identity, dns64) = (Identity::default(), forwards.then_some(everybody));
        let ecs = Ecs { mode, ..Ecs::default() };
        let answers = Answers { access, identity, rotate: !forwards, dns64, ecs };
        let others = cache.map(|cache| {
            self.cache = Arc::new(cache);
            self.slow.fetcher(Arc::new(Nobody), self.cache.clone(), Rules::new(LIMITS, 4))
        });
        self.policy.change(|serving| Generation {
            answers: Arc::new(answers),
            local: local(forwards, Stated::default()),
            fetcher: others.unwrap_or_else(|| serving.fetcher.clone()),
            ..serving.clone()
        });
    }

    /// What the time is.
    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(super) fn advance(&self, by: Duration) {
        let mut now = self.clock.0.lock().unwrap();
        now.mono += by;
        // The two clocks need not tick together.
        now.wall = START + (now.mono.as_millis() as i64 - 999_700) / 1000;
    }

    /// How many answers the hot path gave from the cache, or by what is stated here, for names that no order decided.
    pub(super) fn clear_from_cache(&self) -> u64 {
        let counters = &self.slow.hot_counters.lock().unwrap()[0];
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let decided = counters.action(Action::Passthru).map_or(0, count) + count(&counters.protected);
        count(&counters.cached) + count(&counters.local) - decided
    }

    /// What the hot path counted, and the slow one.
    pub(super) fn counted(&self) -> [String; 2] {
        [self.slow.hot_counters.lock().unwrap()[0].to_string(), self.slow.observers.counters.to_string()]
    }

    fn put(&self, asked: &Asked, shape: usize, ttl: u32) {
        let qname = NAMES[asked.name];
        let question = Question {
            qname: name(qname),
            qtype: asked.qtype,
            qclass: Class::IN,
            dnssec_ok: asked.ask.dnssec_ok && asked.ask.payload.is_some(),
            checking_disabled: asked.ask.flags & 0x10 != 0,
            asked_for: None,
        };
        let message = shape_of(shape, qname, asked.qtype, ttl);
        let truth = Truth::read(&question, &message, &LIMITS).unwrap();
        self.cache.put(&question, Arc::new(truth), self.clock.now().mono);
    }

    /// Asks both; whether the hot path had an answer, or what is wrong with it.
    fn ask(&mut self, packet: &[u8], from: SocketAddr) -> Result<bool, String> {
        self.ask_all(&[(packet.to_vec(), from)]).map(|hot| hot == 1)
    }

    /// Asks both about a batch; how often the hot path had an answer, or what is wrong with one.
    pub(super) fn ask_all(&mut self, packets: &[(Vec<u8>, SocketAddr)]) -> Result<usize, String> {
        let mut answered = 0;
        // What tests asked by other ways.
        while self.log.take(&mut Vec::new(), usize::MAX) > 0 {}
        self.hot.begin(packets.iter().map(|(packet, _)| &packet[..]));
        for (index, (packet, from)) in packets.iter().enumerate() {
            let mut out = [0xa5; MAX_UDP_LEN];
            let mut slow = Vec::new();
            let client = Client { addr: *from, transport: Transport::Udp };
            let Some(len) = self.hot.answer(index, packet, *from, &mut out) else {
                let _ = self.other.now(packet, client, &mut slow);
                continue;
            };
            answered += 1;
            let wrong = match self.slow.now(packet, client, &mut slow) {
                Step::Reply if slow == out[..len] => match self.logged_alike(packet, &slow) {
                    Ok(()) => continue,
                    Err(wrong) => wrong,
                },
                Step::Reply => format!("slow {slow:02x?}"),
                Step::Drop => "the slow path is silent".to_owned(),
                Step::Later(_) => "the slow path asks upstream".to_owned(),
            };
            return Err(format!("{from} {packet:02x?}\nhot  {:02x?}\n{wrong}", &out[..len]));
        }
        Ok(answered)
    }

    /// Whether both logged the same of a query: the slow path has it in the first rings.
    fn logged_alike(&self, packet: &[u8], reply: &[u8]) -> Result<(), String> {
        let mut octets = Vec::new();
        self.log.take(&mut octets, usize::MAX);
        let Some((slow, rest)) = Record::read(&octets) else { return Err("nothing is logged".to_owned()) };
        let Some((hot, rest)) = Record::read(rest) else { return Err("only one path logs".to_owned()) };
        match rest.is_empty() && slow == hot && (hot.query, hot.reply) == (packet, reply) {
            true => Ok(()),
            false => Err(format!("logged\nhot  {hot:?}\nslow {slow:?}")),
        }
    }
}

/// Names of every standing.
const NAMES: [&str; 20] = [
    "listed.ddns.net",
    "sub.listed.ddns.net",
    "innocent.ddns.net",
    "www.example.com",
    "cdn.example.com",
    "tree.example.org",
    "deep.er.tree.example.org",
    "nodata.example.org",
    "gone.example.org",
    "refused.example.org",
    "drop.example.org",
    "tcp.example.org",
    "watched.example.org",
    "passed.tree.example.org",
    "kept.tree.example.org",
    "timed.example.org",
    "localhost",
    "8.8.8.8.in-addr.arpa",
    "1.0.0.10.in-addr.arpa",
    "a-label-that-is-rather-long-so-that-the-name-is-too.another-label-that-is-rather-long-as-well.yet-another-one-\
     to-come-near-the-limit.and-one-more-with-some-octets.example.net",
];

const COURT: &str = "
id = 'court'
kind = 'court'
docket = '2:14-cv-00987'
zones = ['ddns.net', 'net', 'example.org']
addresses = ['192.0.2.66', '192.0.2.67', '2001:db8::66']
allow_public_suffix = true
[[scope]]
match = 'exact'
names = ['listed.ddns.net']
[[scope]]
match = 'subtree'
names = ['tree.example.org']
[[scope]]
match = 'subtree'
names = ['passed.tree.example.org']
action = 'passthru'
[[scope]]
match = 'exact'
names = ['watched.example.org', 'www.example.org']
action = 'observe'
";

const OPERATOR: &str = "
id = 'own'
kind = 'operator'
ttl = '30s'
addresses = ['192.0.2.99']
[[scope]]
match = 'subtree'
names = ['nodata.example.org']
action = 'nodata'
[[scope]]
match = 'exact'
names = ['gone.example.org']
action = 'nxdomain'
[[scope]]
match = 'exact'
names = ['refused.example.org']
action = 'refused'
[[scope]]
match = 'exact'
names = ['drop.example.org']
action = 'drop'
[[scope]]
match = 'exact'
names = ['tcp.example.org']
action = 'tcp-only'
[[scope]]
match = 'exact'
names = ['sub.listed.ddns.net', 'cdn.example.com']
";

/// In force from three seconds after the start, for four seconds.
const TIMED: &str = "
id = 'timed'
kind = 'user'
effective = 2001-09-09T01:46:43Z
expires = 2001-09-09T01:46:47Z
[[scope]]
match = 'exact'
names = ['timed.example.org', 'innocent.ddns.net']
";

/// Policies to swap between, the first one empty.
fn policies() -> Vec<Arc<Policy>> {
    let compile = |(epoch, zone): (u64, &PolicyZone)| {
        Arc::new(Policy::compile(std::slice::from_ref(zone), std::slice::from_ref(&LISTED.1), epoch))
    };
    (0..).zip(&LISTED.0).map(compile).collect()
}

/// What they list, and what is kept from them.
static LISTED: LazyLock<(Vec<PolicyZone>, Protected)> = LazyLock::new(|| {
    let read = |text: &str| {
        let reading = order_file::parse(text, "test", &mut |path| panic!("{path}"));
        Arc::new(reading.listed.unwrap_or_else(|| panic!("{:?}", reading.problems)))
    };
    let kept: NameList = [name("kept.tree.example.org")].into_iter().collect();
    let kept = Protected { kind: MatchKind::Exact, names: kept, source: String::new() };
    let lists: [&[&str]; 4] = [&[], &[COURT, OPERATOR, TIMED], &[OPERATOR, COURT], &[TIMED]];
    let zone = |list: &&[&str]| {
        let orders = list.iter().map(|text| read(text)).collect();
        PolicyZone { name: "test".into(), orders }
    };
    (lists.iter().map(zone).collect(), kept)
});

/// An upstream's message of that shape.
fn shape_of(shape: usize, qname: &str, qtype: Rtype, ttl: u32) -> Vec<u8> {
    let mut answers: Vec<String> = Vec::new();
    // A denial is its zone's, which is above the name.
    let zone = qname.split_once('.').map_or(qname, |(_, zone)| zone);
    let (mut flags, mut authorities, mut additionals): (u16, Vec<String>, Vec<String>) = (0, vec![], vec![]);
    match shape {
        0 => answers.push(format!("{qname} {ttl} A 198.51.100.1")),
        1 => {
            flags = 0x0420;
            answers.extend((0..4).map(|n| format!("{qname} {} A 198.51.100.{n}", ttl + n)));
            additionals.push(format!("ns.example {ttl} A 203.0.113.1"));
        }
        2 => {
            flags = 3;
            authorities.push(format!("{zone} {ttl} SOA 60"));
        }
        3 => authorities.push(format!("{zone} {ttl} SOA 60")),
        // More TTLs and more octets than an entry holds.
        4 => answers.extend((0..20).map(|n| format!("{qname} {ttl} A 198.51.100.{n}"))),
        // Aliases: to nobody in particular, and to names that orders capture or spare.
        _ => {
            let aliases: &[&str] = match shape {
                7 => &["edge.example.com"],
                8 => &["edge.example.com", "listed.ddns.net"],
                11 => &["edge.example.com", "watched.example.org"],
                _ => &["innocent.ddns.net"],
            };
            let mut owner = qname.to_owned();
            for alias in aliases.iter().filter(|alias| **alias != qname) {
                answers.push(format!("{owner} {} CNAME {alias}", ttl + 7));
                owner = (*alias).to_owned();
            }
            answers.push(format!("{owner} {ttl} A 198.51.100.1"));
        }
    }
    // Records that answer: all are of type A, unless denied.
    let sections = [answers, authorities, additionals];
    let sections = sections.each_ref().map(|lines| lines.iter().map(String::as_str).collect::<Vec<_>>());
    response(flags, qname, qtype, [&sections[0], &sections[1], &sections[2]])
}

/// A question by its parts.
#[derive(Clone, Debug)]
struct Asked {
    name: usize,
    qtype: Rtype,
    ask: Asking,
    /// A letter of the name is in upper case where a bit is set.
    case: u64,
}

impl Asked {
    fn packet(&self) -> Vec<u8> {
        let mixed = NAMES[self.name].bytes().enumerate().map(|(index, octet)| {
            if self.case >> (index % 64) & 1 == 1 { octet.to_ascii_uppercase() } else { octet }
        });
        self.ask.packet(&String::from_utf8(mixed.collect()).unwrap(), self.qtype)
    }
}

#[test]
fn ordinary_queries_take_the_hot_path() {
    let mut twins = Twins::new();
    let from: SocketAddr = "192.0.2.1:4242".parse().unwrap();
    let asked = |name: &str, qtype, ask| {
        let name = NAMES.iter().position(|known| *known == name).unwrap();
        Asked { name, qtype, ask, case: 0x55aa }
    };
    let plain = Asking::default();
    let dnssec = Asking { dnssec_ok: true, ..Asking::EDNS };
    for (shape, name, ask) in [
        (0, "www.example.com", plain),
        (1, "www.example.com", dnssec),
        (7, "innocent.ddns.net", plain),
        (2, "passed.tree.example.org", Asking::EDNS),
        (0, "kept.tree.example.org", plain),
        (0, "watched.example.org", plain),
        (0, "8.8.8.8.in-addr.arpa", plain),
        (0, "1.0.0.10.in-addr.arpa", plain),
        (4, "tree.example.org", plain),
        (8, "timed.example.org", plain),
        (11, "cdn.example.com", plain),
        (0, "localhost", plain),
    ] {
        twins.put(&asked(name, Rtype::A, ask), shape, 300);
    }
    for (name, qtype, ask, hot) in [
        ("www.example.com", Rtype::A, plain, true),
        ("www.example.com", Rtype::A, Asking::EDNS, true),
        ("www.example.com", Rtype::A, Asking { flags: 0x20, ..plain }, true),
        ("www.example.com", Rtype::A, dnssec, true),
        ("www.example.com", Rtype::A, Asking { flags: 0x10, ..plain }, true), // CD: nothing was held back
        ("www.example.com", Rtype::AAAA, plain, false),                       // not known
        ("innocent.ddns.net", Rtype::A, plain, true),                         // through an alias
        ("timed.example.org", Rtype::A, plain, false),                        // whose alias is captured
        ("cdn.example.com", Rtype::A, plain, true),                           // itself captured
        ("passed.tree.example.org", Rtype::A, plain, true),
        ("kept.tree.example.org", Rtype::A, plain, true),
        ("watched.example.org", Rtype::A, plain, true),
        ("8.8.8.8.in-addr.arpa", Rtype::A, plain, true),
        ("1.0.0.10.in-addr.arpa", Rtype::A, plain, true), // forwarded after all
        ("localhost", Rtype::A, plain, true),             // special
        ("listed.ddns.net", Rtype::A, plain, true),
        ("listed.ddns.net", Rtype::AAAA, Asking::EDNS, true),
        ("listed.ddns.net", Rtype::HTTPS, Asking { structured_errors: true, ..Asking::EDNS }, true),
        ("listed.ddns.net", Rtype::ANY, plain, false),
        ("deep.er.tree.example.org", Rtype::HTTPS, dnssec, true),
        ("nodata.example.org", Rtype::A, plain, true),
        ("gone.example.org", Rtype::A, Asking::EDNS, true),
        ("refused.example.org", Rtype::A, plain, true),
        ("drop.example.org", Rtype::A, plain, false),
        ("tcp.example.org", Rtype::A, plain, false),
    ] {
        let packet = asked(name, qtype, ask).packet();
        for round in 0..3 {
            assert_eq!(twins.ask(&packet, from), Ok(hot), "{name} {qtype} {ask:?} {round}");
        }
    }
    assert_eq!(
        twins.ask(&asked("listed.ddns.net", Rtype::A, plain).packet(), "198.51.100.1:9".parse().unwrap()),
        Ok(false)
    );
}

#[test]
fn a_swap_is_seen_at_the_next_packet() {
    let mut twins = Twins::new();
    let from: SocketAddr = "[::1]:4242".parse().unwrap();
    let ask = Asked { name: 0, qtype: Rtype::A, ask: Asking::EDNS, case: 0 };
    let packet = ask.packet();
    // Policy, and the rcode-less sign of it: EDE is there when the answer is forged.
    let forged = |twins: &mut Twins| {
        let mut out = [0; MAX_UDP_LEN];
        twins.hot.begin(std::iter::once(&packet[..]));
        let len = twins.hot.answer(0, &packet, from, &mut out).unwrap();
        out[..len].ends_with(b"\0\x0f\0\x02\0\x04")
    };
    assert!(forged(&mut twins));
    twins.policy.put(twins.policies[0].clone());
    twins.put(&ask, 0, 300);
    assert!(!forged(&mut twins) && !forged(&mut twins));
    for round in 0..4 {
        twins.policy.put(twins.policies[1 + round % 2].clone());
        assert!(forged(&mut twins) && forged(&mut twins));
        twins.policy.put(twins.policies[0].clone());
        assert!(!forged(&mut twins));
    }
}

#[test]
fn a_suspended_order_is_seen_at_the_next_packet() {
    let mut twins = Twins::new();
    let from: SocketAddr = "192.0.2.1:4242".parse().unwrap();
    // Captured by one order, by another one behind it, and led there by an alias that was found clear before.
    let asked = [0, 7, 3].map(|name| Asked { name, qtype: Rtype::A, ask: Asking::EDNS, case: 0 });
    for (asked, shape) in asked.iter().zip([0, 0, 8]) {
        twins.put(asked, shape, 300);
    }
    let packets = asked.each_ref().map(Asked::packet);
    let (mut suspended, mut epoch) = (Vec::new(), 100);
    let mut answers = |flips: &[(&'static str, bool)]| {
        for &(id, yes) in flips {
            match yes {
                true => suspended.push(Override::suspension(id)),
                false => suspended.retain(|other| other.order != id),
            }
        }
        epoch += 1;
        let next = twins.policy.policy().with_overrides(&suspended, epoch);
        twins.policy.put(Arc::new(next));
        // Twice, so that what is remembered of the first time is used the second; and against the slow path.
        let mut shown = [String::new(), String::new()];
        for shown in &mut shown {
            let batch: Vec<_> = packets.iter().map(|packet| (packet.clone(), from)).collect();
            let same = twins.ask_all(&batch);
            assert!(same.is_ok(), "{flips:?}: {}", same.unwrap_err());
            twins.hot.begin(packets.iter().map(Vec::as_slice));
            for (index, packet) in packets.iter().enumerate() {
                let mut out = [0; MAX_UDP_LEN];
                let len = twins.hot.answer(index, packet, from, &mut out);
                let told = |len: usize| out[..len].windows(4).any(|part| part == [198, 51, 100, 1]);
                shown.push(len.map_or('?', |len| if told(len) { '.' } else { '#' }));
            }
        }
        assert_eq!(shown[0], shown[1], "{flips:?}");
        shown[0].clone()
    };
    for (flips, expected) in [
        (&[][..], "##?"),
        (&[("court", true)], ".#."),
        (&[("court", false)], "##?"),
        (&[("own", true)], "#.?"),
        (&[("court", true)], "..."),
        (&[("court", false), ("court", true)], "..."),
        (&[("own", false), ("court", false)], "##?"),
    ] {
        assert_eq!(answers(flips), expected, "{flips:?}");
    }
}

#[test]
fn what_one_is_told_is_not_remembered_for_another() {
    let mut order = Order::new("rpz.test");
    // A zone that leaves RD=0 alone.
    order.rpz = Some(Rpz {
        origin: name("rpz.test"),
        soa: [0; 22].into(),
        soa_ttl_s: 1,
        without_rd: false,
        break_dnssec: true,
        missing_type: MissingType::Nodata,
    });
    order.reading = WildcardRule::Wildcard;
    order.scopes = vec![Scope { action: Some(Action::NXDOMAIN), ..Scope::new(MatchKind::Exact) }];
    let asked = Asked { name: 3, qtype: Rtype::A, ask: Asking::EDNS, case: 0 };
    let rd = asked.packet();
    let mut nord = rd.clone();
    nord[2] &= !1;
    let from: SocketAddr = "192.0.2.1:4242".parse().unwrap();
    // The name asked for, and one that its answer leads to.
    for listed in ["www.example.com", "edge.example.com"] {
        let listed = OrderWithNames::listing(order.clone(), [[name(listed)].into_iter().collect()]);
        let zone = PolicyZone { name: "rpz.test".into(), orders: vec![Arc::new(listed)] };
        let policy = Current::of(Policy::compile(&[zone], &[], 1));
        let mut twins = Twins::over(policy, Cache::new(1 << 17), Arc::default());
        twins.put(&asked, 7, 300);
        // Without RD the truth is told, often enough to be remembered within this second. With RD it is not.
        for _ in 0..3 {
            assert_eq!(twins.ask(&nord, from), Ok(true));
        }
        twins.hot.begin(std::iter::once(&rd[..]));
        let mut out = [0; MAX_UDP_LEN];
        let len = twins.hot.answer(0, &rd, from, &mut out).unwrap_or(0);
        assert!(!out[..len].windows(4).any(|part| part == [198, 51, 100, 1]), "{:02x?}", &out[..len]);
        assert!(twins.ask(&rd, from).is_ok());
    }
}

#[test]
fn a_window_is_seen_at_its_second() {
    let mut twins = Twins::new();
    let from: SocketAddr = "192.0.2.1:4242".parse().unwrap();
    let ask = Asked { name: 15, qtype: Rtype::A, ask: Asking::default(), case: 0 };
    let packet = ask.packet();
    twins.put(&ask, 0, 300);
    let mut answers = String::new();
    for _ in 0..20 {
        let mut out = [0; MAX_UDP_LEN];
        assert_eq!(twins.ask(&packet, from), Ok(true));
        let len = twins.hot.answer(0, &packet, from, &mut out).unwrap();
        answers.push(if out[..len].ends_with(&[198, 51, 100, 1]) { '.' } else { '#' });
        twins.advance(Duration::from_millis(500));
    }
    assert_eq!(answers, "......########......");
}

#[test]
fn both_paths_count_alike() {
    let mut twins = Twins::new();
    let from: SocketAddr = "192.0.2.1:4242".parse().unwrap();
    for name in [0, 2, 3, 12, 13, 14] {
        let ask = Asked { name, qtype: Rtype::A, ask: Asking::default(), case: 0 };
        twins.put(&ask, 0, 300);
        for _ in 0..3 {
            // Asks both: so each count is twice that of one path, or none of them.
            assert_eq!(twins.ask(&ask.packet(), from), Ok(true));
        }
    }
    let [hot, slow] = twins.counted();
    assert_eq!(hot, slow);
    assert!(
        slow.contains("queries=18 queries_by_stream=0 replies=18") && slow.contains("sinkhole=3"),
        "{slow}"
    );
    let sum = twins.slow.counters();
    assert_eq!(sum.queries.load(std::sync::atomic::Ordering::Relaxed), 36);
}

#[test]
fn both_paths_write_down_what_orders_decide_and_nothing_else() {
    let mut twins = Twins::new().sighted();
    let from: SocketAddr = "192.0.2.1:4242".parse().unwrap();
    let (mut all, mut sinkholed) = (Vec::new(), 0);
    for policy in [0, 1, 2, 1] {
        let policy = twins.policies[policy % twins.policies.len()].clone();
        twins.policy.change(|serving| Generation { policy: policy.clone(), ..serving.clone() });
        for (index, asked) in NAMES.iter().enumerate() {
            let ask = Asked { name: index, qtype: Rtype::A, ask: Asking::default(), case: 0 };
            twins.put(&ask, 0, 300);
            if !twins.ask(&ask.packet(), from).unwrap() {
                continue;
            }
            let verdict = policy.verdict(&name(asked), START);
            if let Verdict::Act(_, hit) = verdict {
                sinkholed += 1;
                all.extend([(hit.order.id.clone(), name(asked)), (hit.order.id.clone(), name(asked))]);
            }
        }
    }
    assert!(sinkholed > 8, "{sinkholed}");
    let mut seen = twins.sightings();
    all.sort();
    seen.sort();
    assert_eq!(seen, all);
}

#[test]
fn orders_of_one_policy_are_not_taken_for_those_of_another() {
    let mut twins = Twins::new();
    let packet = Asked { name: 0, qtype: Rtype::A, ask: Asking::EDNS, case: 0 }.packet();
    let mut addresses = std::collections::HashSet::new();
    for round in 1..=60u64 {
        // Each policy is gone before the one after the next is made, which then may stand at the same address.
        let order = COURT.replace("id = 'court'", &format!("id = 'court-{round}'\nttl = '{round}s'"));
        let listed = order_file::parse(&order, "test", &mut |path| panic!("{path}")).listed.unwrap();
        let zone = PolicyZone { name: "test".into(), orders: vec![Arc::new(listed)] };
        let policy = Policy::compile(&[zone], &[], 100 + round);
        addresses.insert(std::ptr::from_ref(&policy.orders()[0]).addr());
        twins.policy.put(Arc::new(policy));
        assert_eq!(twins.ask(&packet, "192.0.2.1:4242".parse().unwrap()), Ok(true));
    }
    assert!(addresses.len() < 60, "the allocator never gave an address twice: this shows nothing");
}

/// A pattern that matches nothing and counts how often it was tried.
#[derive(Debug, Default)]
struct Tried(AtomicUsize);

impl Matcher for Tried {
    fn first_match(&self, _name: &Name) -> Option<usize> {
        self.0.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn texts(&self) -> &[String] {
        &[]
    }
}

/// An operator's order of one scope: these names, and these patterns.
fn listing(scope: Scope, names: NameList, patterns: Option<Patterns>) -> PolicyZone {
    let mut order = Order::new("list");
    order.scopes = vec![Scope { patterns, ..scope }];
    let listed = OrderWithNames::listing(order, [names]);
    PolicyZone { name: "list".into(), orders: vec![Arc::new(listed)] }
}

#[test]
fn an_answer_remembers_that_no_pattern_matches_what_it_leads_to() {
    let tried = Arc::new(Tried::default());
    let patterns = Some(Patterns(tried.clone()));
    // From three seconds after the start on, and one of it is listed.
    let window = Window { effective: Some(START + 3), ..Window::ALWAYS };
    let names = [name("listed.ddns.net")].into_iter().collect();
    let zone = listing(Scope { window, ..Scope::new(MatchKind::Exact) }, names, patterns);
    let policy = Policy::compile(&[zone], &[], 1);
    let mut twins = Twins::over(Current::of(policy), Cache::new(1 << 17), Arc::default());
    let asked = Asked { name: 3, qtype: Rtype::A, ask: Asking::default(), case: 0 };
    twins.put(&asked, 7, 300);
    let packet = asked.packet();
    let mut nord = packet.clone();
    nord[2] &= !1;
    let [one, other]: [SocketAddr; 2] = ["192.0.2.1:4242", "[::1]:9"].map(|from| from.parse().unwrap());
    // How often all patterns were tried while both paths answered a few times, to different clients.
    let tries = |twins: &mut Twins, slow_first: bool| {
        let before = tried.0.load(Ordering::Relaxed);
        if slow_first {
            let client = Client { addr: one, transport: Transport::Udp };
            assert!(matches!(twins.slow.now(&packet, client, &mut Vec::new()), Step::Reply));
        }
        for (packet, from) in [(&packet, one), (&nord, other), (&packet, other), (&nord, one)] {
            assert_eq!(twins.ask(packet, from), Ok(true));
        }
        tried.0.load(Ordering::Relaxed) - before
    };
    // Once for the name asked for, and once for its alias.
    assert_eq!(tries(&mut twins, false), 2);
    assert_eq!(tries(&mut twins, false), 0);
    twins.advance(Duration::from_secs(1));
    assert_eq!(tries(&mut twins, false), 0, "in another second");
    twins.advance(Duration::from_secs(2));
    assert_eq!(tries(&mut twins, true), 2, "when a window opens");
    assert_eq!(tries(&mut twins, false), 0);
    let suspended = twins.policy.policy().with_overrides(&[Override::suspension("list")], 3);
    twins.policy.put(Arc::new(suspended));
    assert_eq!(tries(&mut twins, true), 2, "when an order is suspended");
    twins.policy.put(Arc::new(twins.policy.policy().with_overrides(&[], 2)));
    assert_eq!(tries(&mut twins, false), 2, "under another policy");
    // Another worker, whose own entries are empty.
    twins.hot = twins.slow.hot();
    assert_eq!(tries(&mut twins, false), 0, "another worker");
}

/// What is known of the servers of `www.example.com`, by lifetimes in seconds: that it is no zone itself, the server of the one
/// above, its IPv4 address, and that it has no other.
fn put_servers(twins: &Twins, [denied, server, v4, v6]: [u32; 4]) {
    let now = twins.now().mono;
    for (qname, qtype, lines, ttl) in [
        ("www.example.com", Rtype::NS, [None, Some("example.com")], denied),
        ("example.com", Rtype::NS, [Some("NS ns.example.com"), None], server),
        ("ns.example.com", Rtype::A, [Some("A 203.0.113.9"), None], v4),
        ("ns.example.com", Rtype::AAAA, [None, Some("example.com")], v6),
    ] {
        let question = Question {
            qname: name(qname),
            qtype,
            qclass: Class::IN,
            dnssec_ok: false,
            checking_disabled: false,
            asked_for: None,
        };
        // What has no time is not known, but asked for in vain.
        if ttl == 0 {
            twins.cache.put_failure(&question, &[], now);
            continue;
        }
        let [answer, zone] = lines;
        let answers: Vec<String> = answer.iter().map(|rest| format!("{qname} {ttl} {rest}")).collect();
        let denials: Vec<String> = zone.iter().map(|zone| format!("{zone} {ttl} SOA {ttl}")).collect();
        let sections = [answers, denials].map(|lines| lines.join("\n"));
        let [answers, denials] = sections.each_ref().map(|text| text.lines().collect::<Vec<_>>());
        let message = response(0, qname, qtype, [&answers, &denials, &[]]);
        twins.cache.put(&question, Arc::new(Truth::read(&question, &message, &LIMITS).unwrap()), now);
    }
}

#[test]
fn an_answer_remembers_that_no_rule_is_about_its_servers() {
    let asked = Asked { name: 3, qtype: Rtype::A, ask: Asking::default(), case: 0 };
    let from: SocketAddr = "192.0.2.1:4242".parse().unwrap();
    let by_name = |server: &str| (TriggerType::NsDname, name(&format!("{server}.rpz-nsdname")));
    let by_address =
        |server: [u8; 4]| (TriggerType::NsIp, prefix::to_name(server.into(), 32, TriggerType::NsIp));
    let (elsewhere, nowhere) = (by_name("ns.evil.example"), by_address([192, 0, 2, 9]));
    // Lifetimes, the trigger, and how long it is remembered; never if a rule is about a server.
    for (lifetimes, (on, trigger), expected_ms) in [
        ([40, 4, 30, 50], elsewhere, Some(4_000)),
        ([3, 40, 1, 1], elsewhere, Some(3_000)),
        ([40, 40, 7, 50], nowhere, Some(7_000)),
        ([40, 40, 50, 8], nowhere, Some(8_000)),
        // A failure lasts a second, and where an expired answer is known as long as that.
        ([40, 40, 50, 0], nowhere, Some(1_000)),
        ([0, 40, 50, 50], elsewhere, Some(1_000)),
        ([40, 40, 50, 50], by_name("ns.example.com"), None),
        ([40, 40, 50, 50], by_address([203, 0, 113, 9]), None),
    ] {
        let scope = Scope { on, action: Some(Action::Observe), ..Scope::new(MatchKind::Exact) };
        let zone = listing(scope, [trigger].into_iter().collect(), None);
        let make = || {
            let policy = Policy::compile(std::slice::from_ref(&zone), &[], 1);
            let mut twins = Twins::over(Current::of(policy), Cache::new(1 << 17), Arc::default());
            twins.put(&asked, 0, 300);
            put_servers(&twins, lifetimes);
            // The slow path finds out first.
            assert_eq!(twins.ask(&asked.packet(), from), Ok(false));
            assert_eq!(
                twins.ask(&asked.packet(), from),
                Ok(expected_ms.is_some()),
                "{lifetimes:?} {trigger}"
            );
            twins
        };
        let mut twins = make();
        let Some(ms) = expected_ms else { continue };
        twins.advance(Duration::from_millis(ms - 1));
        assert_eq!(twins.ask(&asked.packet(), from), Ok(true), "{lifetimes:?} {trigger}");
        twins.hot = twins.slow.hot();
        assert_eq!(twins.ask(&asked.packet(), from), Ok(true), "{lifetimes:?} {trigger}: another worker");
        twins.advance(Duration::from_millis(1));
        assert_eq!(twins.ask(&asked.packet(), from), Ok(false), "{lifetimes:?} {trigger}");
        // Once it is known again, so it is at once.
        put_servers(&twins, [100; 4]);
        assert_eq!(twins.ask(&asked.packet(), from), Ok(false), "{lifetimes:?} {trigger}");
        assert_eq!(twins.ask(&asked.packet(), from), Ok(true), "{lifetimes:?} {trigger}");
        let restated = twins.policy.policy().with_overrides(&[], 2);
        twins.policy.put(Arc::new(restated));
        assert_eq!(twins.ask(&asked.packet(), from), Ok(false), "{lifetimes:?} {trigger}: another policy");
        assert_eq!(twins.ask(&asked.packet(), from), Ok(true), "{lifetimes:?} {trigger}");
        twins.cache.clear();
        twins.put(&asked, 0, 300);
        assert_eq!(twins.ask(&asked.packet(), from), Ok(false), "{lifetimes:?} {trigger}: an empty cache");
    }
}

#[test]
fn expired_answers_about_servers_count_until_upstream_is_asked_again() {
    let asked = Asked { name: 3, qtype: Rtype::A, ask: Asking::default(), case: 0 };
    let from: SocketAddr = "192.0.2.1:4242".parse().unwrap();
    let scope = Scope { on: TriggerType::NsDname, ..Scope::new(MatchKind::Exact) };
    let zone = listing(scope, [name("ns.evil.example.rpz-nsdname")].into_iter().collect(), None);
    let policy = Policy::compile(&[zone], &[], 1);
    // Kept for 20 seconds, or for longer than upstream is left alone.
    for (kept_s, expected_s) in [(20, 20), (50, 30)] {
        let cache = Cache::new(1 << 17).keep_stale(Duration::from_secs(kept_s));
        let mut twins = Twins::over(Current::of(policy.with_overrides(&[], kept_s)), cache, Arc::default());
        twins.put(&asked, 0, 300);
        put_servers(&twins, [2, 100, 100, 100]);
        twins.advance(Duration::from_secs(2));
        put_servers(&twins, [0, 100, 100, 100]);
        for (hot, wait_ms) in [(false, 0), (true, expected_s * 1000 - 1), (true, 1), (false, 0)] {
            assert_eq!(twins.ask(&asked.packet(), from), Ok(hot), "{kept_s} {wait_ms}");
            twins.advance(Duration::from_millis(wait_ms));
        }
    }
}

#[test]
#[ignore = "measures: run it alone, optimized, with --nocapture"]
fn what_it_saves_to_remember_a_review() {
    // Eight prefixes on addresses that the answer has not, each of another length.
    let address = |len: u8| prefix::to_name([10, 0, 0, 1].into(), len, TriggerType::ResponseIp);
    let prefixes = (25..=32).map(address).collect();
    let scope = Scope { on: TriggerType::ResponseIp, ..Scope::new(MatchKind::Exact) };
    let addresses = listing(scope, prefixes, None);
    let written = (0..1500).map(|index| {
        let regex =
            format!("{}c[a-z0-9.-]{{0,60}}d[a-z0-9.-]{{0,60}}q{index}", (b'a' + index as u8 % 13) as char);
        (regex.clone(), regex)
    });
    let patterns = Some(Patterns(Arc::new(PatternSet::new(written.collect()))));
    let patterns = listing(Scope::new(MatchKind::Exact), NameList::new(), patterns);
    let from: SocketAddr = "192.0.2.1:4242".parse().unwrap();
    for (label, zone, count) in [("4,000 addresses", addresses, 4000u16), ("1,500 patterns", patterns, 1)] {
        let policy = Current::of(Policy::compile(&[zone], &[], 1));
        let mut twins = Twins::over(policy, Cache::new(1 << 20), Arc::default());
        let asked = Asked { name: 19, qtype: Rtype::A, ask: Asking::EDNS, case: 0 };
        let packet = asked.packet();
        let question = Question {
            qname: name(NAMES[19]),
            qtype: Rtype::A,
            qclass: Class::IN,
            dnssec_ok: false,
            checking_disabled: false,
            asked_for: None,
        };
        let mut message = response(0, NAMES[19], Rtype::A, [&[], &[], &[]]);
        message[6..8].copy_from_slice(&count.to_be_bytes());
        for index in 0..count {
            message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 198, 51]);
            message.extend(index.to_be_bytes());
        }
        let truth = Truth::read(&question, &message, &LIMITS).expect("an answer");
        twins.cache.put(&question, Arc::new(truth), twins.now().mono);
        let client = Client { addr: from, transport: Transport::Udp };
        let (mut times, mut out) = ([Duration::ZERO; 3], Vec::new());
        for round in 0..100u64 {
            let start = Instant::now();
            assert!(matches!(twins.slow.now(&packet, client, &mut out), Step::Reply));
            let again = Instant::now();
            assert!(matches!(twins.slow.now(&packet, client, &mut out), Step::Reply));
            let hot = Instant::now();
            assert!(twins.ask(&packet, from).is_ok());
            times[0] += again - start;
            times[1] += hot - again;
            times[2] += hot.elapsed();
            // Another policy remembers nothing of this one.
            twins.policy.put(Arc::new(twins.policy.policy().with_overrides(&[], round + 2)));
        }
        println!(
            "{label}: reviewed {:?}, remembered {:?}, both paths {:?}",
            times[0] / 100,
            times[1] / 100,
            times[2] / 100
        );
    }
}
