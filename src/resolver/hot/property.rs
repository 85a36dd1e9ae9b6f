//! Whatever the policy, the cache, the clients and the time: a generated world asked by both paths at once, and every reply of
//! the hot path held against the slow one's, octet by octet.
//!
//! The names, addresses and clients are few, so that orders, zones, answers and questions meet all the time. An ordinary run
//! compares a few thousand packets; `SINKSCOPE_CASES=10000000 cargo test --release --lib hot::property` compares so many.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::tests::{LIMITS, SERVED, START, Twins, local};
use crate::cache::Cache;
use crate::clients::{Clients, DEFAULT, Group, Hours, Row};
use crate::dns::subnet::{AskedFor, Subnet};
use crate::dns::testing::{Ask as Asking, name, response};
use crate::dns::{Ede, Question, Truth};
use crate::ecs::Mode;
use crate::iana::{Class, EdeCode, Rtype};
use crate::local::{Record, Stated};
use crate::name::{Name, NameList};
use crate::policy::order::{Lift, MissingType};
use crate::policy::{
    Action, IssuerKind, ListedScope, LocalData, LocalRecord, MatchKind, Matcher, Order, OrderWithNames,
    Override, Patterns, Policy, PolicyZone, Protected, Rpz, Scope, Standing, TriggerType, View, WildcardRule,
    Window, prefix,
};
use crate::resolver::{Current, Generation};
use crate::time::UnixSeconds;

/// Packets that an ordinary run compares.
const CASES: usize = 5000;
/// Sequences of events in one go, before it is asked whether enough was compared.
const SEQUENCES: u32 = 15;
/// Policies of a world that come and go.
const POLICIES: usize = 3;
/// Zones of one policy at most.
const ZONES: usize = 4;
/// Octets of the shared cache: all that comes in has room, and a worker's own ring, an eighth of it, is filled and swept.
const CACHE: u64 = 1 << 19;

/// Names that are listed, led to and asked for. Some are above others, and some are answered here.
const NAMES: [&str; 16] = [
    "org",
    "a.org",
    "b.a.org",
    "c.b.a.org",
    "d.org",
    "x.d.org",
    "y.x.d.org",
    "cdn.net",
    "edge.cdn.net",
    "net",
    "ns.net",
    "free.example",
    "localhost",
    "8.8.8.8.in-addr.arpa",
    "1.0.0.10.in-addr.arpa",
    "a-label-that-is-rather-long-so-that-the-name-is-too.another-label-that-is-rather-long-as-well.yet-another-one-\
     to-come-near-the-limit.and-one-more-with-some-octets.org",
];
/// The addresses that answers hold and zones list; the last ones are one and the same, mapped.
const ADDRESSES: [&str; 6] =
    ["198.51.100.1", "198.51.100.2", "203.0.113.5", "2001:db8::1", "192.0.2.9", "::ffff:192.0.2.9"];
/// Who asks; the last one is not served.
const CLIENTS: [&str; 8] = [
    "192.0.2.1:4242",
    "192.0.2.1:4243",
    "192.0.2.2:53",
    "192.0.2.200:53",
    "192.0.2.77:4242",
    "[::1]:4242",
    "[::ffff:192.0.2.1]:9",
    "198.51.100.9:53",
];
/// Types that are asked for; the first ones more often.
const TYPES: [Rtype; 9] = [
    Rtype::A,
    Rtype::AAAA,
    Rtype::HTTPS,
    Rtype::CNAME,
    Rtype::NS,
    Rtype::ANY,
    Rtype::OPT,
    Rtype::AXFR,
    Rtype::DS,
];

/// Words in names, as patterns.
#[derive(Debug)]
struct Words(Vec<String>);

impl Matcher for Words {
    fn first_match(&self, name: &Name) -> Option<usize> {
        let text = name.to_string();
        self.0.iter().position(|word| text.contains(word))
    }

    fn texts(&self) -> &[String] {
        &self.0
    }
}

/// Some names' places, seldom none.
fn names(most: usize) -> impl Strategy<Value = Vec<usize>> {
    subsequence((0..NAMES.len()).collect::<Vec<_>>(), 0..=most)
}

/// The names at these places.
fn list(places: &[usize]) -> NameList {
    places.iter().map(|place| name(NAMES[*place])).collect()
}

fn kind() -> impl Strategy<Value = MatchKind> {
    select(vec![MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow])
}

/// Nearly always open; else for some seconds around those that a sequence takes.
fn window() -> impl Strategy<Value = Window> {
    let edge = || option::of((0..12i64).prop_map(|after| START + after));
    prop_oneof![
        3 => Just(Window::ALWAYS),
        2 => (edge(), edge()).prop_map(|(effective, expires)| Window { effective, expires, review_by: None }),
    ]
}

/// Which triggers a policy's zones may have: those that take the slow path for much are not in each.
fn sorts() -> impl Strategy<Value = &'static [TriggerType]> {
    prop_oneof![
        10 => Just(&[TriggerType::Qname][..]),
        10 => Just(&[TriggerType::Qname, TriggerType::Qname, TriggerType::ResponseIp][..]),
        5 => Just(&[TriggerType::Qname, TriggerType::Qname, TriggerType::NsDname][..]),
        3 => Just(&[TriggerType::Qname, TriggerType::ResponseIp, TriggerType::NsDname, TriggerType::NsIp][..]),
        3 => Just(&[TriggerType::Qname, TriggerType::NsIp][..]),
        1 => Just(&[TriggerType::Qname, TriggerType::ClientIp, TriggerType::NsDname][..]),
        1 => Just(&[TriggerType::Qname, TriggerType::ClientIp, TriggerType::ResponseIp][..]),
    ]
}

/// What a scope of an order lists, and what its zone lists it as.
fn scope(sorts: &'static [TriggerType], rpz: bool) -> impl Strategy<Value = ListedScope> {
    let ordered = [
        Action::SINKHOLE,
        Action::SINKHOLE,
        Action::NODATA,
        Action::NXDOMAIN,
        Action::REFUSED,
        Action::DROP,
        Action::TCP_ONLY,
        Action::Observe,
        Action::Passthru,
    ];
    let written = [
        Action::NXDOMAIN,
        Action::NXDOMAIN,
        Action::NODATA,
        Action::Passthru,
        Action::DROP,
        Action::TCP_ONLY,
        Action::Observe,
        Action::LOCAL,
        Action::LOCAL,
    ];
    let matching =
        (kind(), kind(), names(5), names(2), option::weighted(0.1, select(vec!["a.o", "cdn", "x."])));
    let trigger = (select(sorts), vec((0..ADDRESSES.len(), prop::bool::ANY), 1..3));
    let data = (0..4usize, 0..NAMES.len(), prop::bool::ANY);
    (
        matching,
        trigger,
        select(if rpz { written } else { ordered }.to_vec()),
        window(),
        data,
        option::of(1..90u32),
    )
        .prop_map(
            move |(
                (kind, exception_kind, listed, spared, word),
                (on, prefixes),
                action,
                window,
                data,
                ttl_s,
            )| {
                let on = if rpz { on } else { TriggerType::Qname };
                let kind = match on {
                    // `*.name` is below it, and the name itself is another rule.
                    TriggerType::Qname | TriggerType::NsDname if rpz && kind == MatchKind::Subtree => {
                        MatchKind::SubtreeBelow
                    }
                    TriggerType::Qname | TriggerType::NsDname => kind,
                    TriggerType::ClientIp | TriggerType::ResponseIp | TriggerType::NsIp => MatchKind::Exact,
                };
                let words = |word: &str| Patterns(Arc::new(Words(vec![word.to_owned()])));
                let scope = Scope {
                    window,
                    action: Some(action),
                    on,
                    data: (action == Action::LOCAL).then(|| Arc::new(local_data(data))),
                    patterns: word.filter(|_| on == TriggerType::Qname).map(words),
                    ttl_s,
                    exception_kind,
                    ..Scope::new(kind)
                };
                // A zone has no exceptions.
                let spared = if rpz { NameList::new() } else { list(&spared) };
                ListedScope { scope, names: triggers(on, &listed, &prefixes), exceptions: spared }
            },
        )
}

/// The names that stand for triggers of a sort: a listed prefix is one address or a network around it.
fn triggers(on: TriggerType, listed: &[usize], prefixes: &[(usize, bool)]) -> NameList {
    let pool: &[&str] =
        if on == TriggerType::ClientIp { &["192.0.2.1", "192.0.2.2", "::1"] } else { &ADDRESSES };
    match on {
        TriggerType::Qname => list(listed),
        TriggerType::NsDname => {
            let below = |place: &usize| format!("{}.rpz-nsdname", NAMES[*place]).parse().ok();
            listed.iter().filter_map(below).collect()
        }
        TriggerType::ClientIp | TriggerType::ResponseIp | TriggerType::NsIp => {
            let prefix = |&(place, wide): &(usize, bool)| {
                let address: IpAddr = pool[place % pool.len()].parse().unwrap();
                let full = if address.is_ipv4() { 32 } else { 128 };
                prefix::to_name(address, if wide { full - 6 } else { full }, on)
            };
            prefixes.iter().map(prefix).collect()
        }
    }
}

/// Records, or an alias, that stand in for the truth.
fn local_data((sort, target, prepend): (usize, usize, bool)) -> LocalData {
    let record = |rtype, rdata: &[u8]| LocalRecord { rtype, ttl_s: 60, rdata: rdata.into() };
    let records = match sort {
        0 => vec![record(Rtype::A, &[192, 0, 2, 66]), record(Rtype::A, &[192, 0, 2, 67])],
        1 => vec![record(Rtype::AAAA, &[7; 16])],
        2 => vec![record(Rtype::TXT, b"\x04gone")],
        _ => {
            return LocalData { records: vec![record(Rtype::CNAME, name(NAMES[target]).as_wire())], prepend };
        }
    };
    LocalData { records, prepend: false }
}

/// An order, or a response policy zone that is read as one; its id says which zone it is.
fn listed(sorts: &'static [TriggerType]) -> impl Strategy<Value = OrderWithNames> {
    prop::bool::ANY.prop_flat_map(move |rpz| {
        let standing = prop_oneof![8 => Just(Standing::InForce), 3 => select(Standing::ALL.to_vec())];
        let authority = select(vec![IssuerKind::Operator, IssuerKind::User, IssuerKind::Court]);
        let use_of = (
            prop::bool::ANY,
            prop::bool::ANY,
            select(vec![MissingType::Nodata, MissingType::Passthru, MissingType::Disabled]),
            select(vec![WildcardRule::Wildcard, WildcardRule::WildcardOverEmpty, WildcardRule::Closest]),
        );
        let lift = option::weighted(0.2, (option::of(0..12i64), names(2)));
        (vec(scope(sorts, rpz), 1..4), standing, authority, use_of, lift, window()).prop_map(
            move |(
                scopes,
                standing,
                kind,
                (without_rd, break_dnssec, missing_type, reading),
                lift,
                window,
            )| {
                let mut order = Order { standing, window, ..Order::new("") };
                order.authority.kind = kind;
                order.sinkhole.v4 = vec![Ipv4Addr::new(192, 0, 2, 66)];
                if rpz {
                    let soa = [&[0, 0][..], &[0; 20]].concat().into();
                    let origin = name("rpz.test");
                    let soa_ttl_s = 60;
                    order.rpz = Some(Rpz { origin, soa, soa_ttl_s, without_rd, break_dnssec, missing_type });
                    order.reading = reading;
                } else if let Some((after, zones)) = lift {
                    let at = after.map(|after| START + after);
                    let zones = zones.iter().map(|place| name(NAMES[*place])).collect();
                    order.lifts = vec![Lift { at, zones, ..Lift::default() }];
                }
                OrderWithNames::new(order, scopes, Vec::new())
            },
        )
    })
}

/// The zones of a policy.
fn zones() -> impl Strategy<Value = Vec<PolicyZone>> {
    sorts().prop_flat_map(|sorts| vec(listed(sorts), 0..ZONES)).prop_map(|all| {
        let zone = |(mut listed, index): (OrderWithNames, usize)| {
            listed.order.id = format!("o{index}");
            PolicyZone { name: listed.order.id.clone(), orders: vec![Arc::new(listed)] }
        };
        all.into_iter().zip(0..).map(zone).collect()
    })
}

/// Groups of clients, one of them with a row that begins to hold 20 seconds after the start.
fn groups() -> impl Strategy<Value = Vec<Group>> {
    let row = |out: u16, back: u16| Row {
        hours: Hours { days: [true; 7], from: 107, until: 108, time_zone: TimeZone::UTC },
        without: View::ALL.without(out),
        also: View::NONE.with(back),
    };
    let zone = || 0..ZONES as u16;
    let filter = prop_oneof![2 => Just(Vec::new()), 1 => Just(vec![Rtype::AAAA, Rtype::HTTPS])];
    let some =
        (zone(), zone(), option::of((zone(), zone())), filter).prop_map(move |(kids, all, rows, filter)| {
            let schedule = rows.map(|(out, back)| row(out, back)).into_iter().collect();
            let networks = vec!["192.0.2.0/30".parse().unwrap()];
            let view = View::ALL.without(kids);
            let kids = Group { schedule, filter, ..Group::plain("kids", networks, view) };
            vec![kids, Group::plain(DEFAULT, Vec::new(), View::ALL.without(all))]
        });
    prop_oneof![2 => Just(Vec::new()), 2 => some]
}

/// All that is configured.
#[derive(Clone, Debug)]
struct World {
    policies: Vec<Vec<PolicyZone>>,
    protected: (MatchKind, Vec<usize>),
    groups: Vec<Group>,
}

fn world() -> impl Strategy<Value = World> {
    (vec(zones(), POLICIES), (kind(), names(1)), groups()).prop_map(|(policies, protected, groups)| World {
        policies,
        protected,
        groups,
    })
}

/// A question by its parts.
#[derive(Clone, Debug)]
struct Asked {
    name: usize,
    qtype: Rtype,
    ask: Asking,
    rd: bool,
    cookie: bool,
    /// Whether it has a client subnet, which no other option stands beside.
    subnet: bool,
    /// A letter of the name is in upper case where a bit is set.
    case: u64,
}

impl Asked {
    /// The packet.
    fn packet(&self) -> Vec<u8> {
        let mixed = NAMES[self.name].bytes().enumerate().map(|(index, octet)| {
            if self.case >> (index % 64) & 1 == 1 { octet.to_ascii_uppercase() } else { octet }
        });
        let mut packet = self.ask.packet(&String::from_utf8(mixed.collect()).unwrap(), self.qtype);
        if !self.rd {
            packet[2] &= !1;
        }
        if self.has_subnet() {
            let at = packet.len();
            packet[at - 1] += 11;
            packet.extend_from_slice(b"\0\x08\0\x07\0\x01\x18\0\xc0\0\x02");
        } else if self.cookie && self.ask.payload.is_some() {
            // RFC 7873 §4: a client's cookie, in front of whatever option there is.
            let options = if self.ask.structured_errors { 6 } else { 0 };
            let at = packet.len() - options;
            packet[at - 1] += 12;
            packet.splice(at..at, *b"\0\x0a\0\x08cookiech");
        }
        packet
    }

    /// Whether it has a client subnet.
    fn has_subnet(&self) -> bool {
        self.subnet && self.ask.payload.is_some() && !self.ask.structured_errors
    }

    /// What the caches know it by, where upstream is told of clients.
    fn question(&self) -> Question {
        let subnet = Subnet::of("192.0.2.0".parse().unwrap(), 24);
        Question {
            qname: name(NAMES[self.name]),
            qtype: self.qtype,
            qclass: Class::IN,
            dnssec_ok: self.ask.dnssec_ok && self.ask.payload.is_some(),
            checking_disabled: self.ask.flags & 0x10 != 0,
            asked_for: self.has_subnet().then_some(AskedFor { subnet, is_longest: true }),
        }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let qtype =
        prop_oneof![8 => Just(TYPES[0]), 4 => select(TYPES[1..3].to_vec()), 1 => select(TYPES.to_vec())];
    // CD and AD.
    let flags = prop_oneof![6 => Just(0u16), 1 => Just(0x10), 1 => Just(0x20), 1 => Just(0x30)];
    let payload = prop_oneof![
        2 => Just(None),
        4 => Just(Some(1232u16)),
        1 => any::<u16>().prop_map(Some),
        1 => Just(Some(512)),
    ];
    let options = (prop::bool::weighted(0.2), prop::bool::weighted(0.15));
    let edns = (payload, prop::bool::weighted(0.3), prop::bool::weighted(0.2), options);
    (0..NAMES.len(), qtype, flags, edns, prop::bool::weighted(0.75), any::<u64>()).prop_map(
        |(name, qtype, flags, (payload, dnssec_ok, structured_errors, (cookie, subnet)), rd, case)| Asked {
            name,
            qtype,
            ask: Asking { flags, payload, dnssec_ok, structured_errors },
            rd,
            cookie,
            subnet,
            case,
        },
    )
}

/// What an upstream says.
#[derive(Clone, Debug)]
struct Said {
    /// The names it leads through.
    chain: Vec<usize>,
    /// How many addresses stand at the end, none for a denial, and the first of them.
    addresses: (usize, usize),
    nxdomain: bool,
    signed: bool,
    /// Whether there are records behind the answer, and a detail of what went wrong.
    more: (bool, bool),
    flags: u16,
    ttl: u32,
}

fn said() -> impl Strategy<Value = Said> {
    let count = prop_oneof![2 => Just(0usize), 10 => 1..4usize, 1 => Just(20), 1 => Just(90)];
    let more = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    let flags = prop_oneof![4 => Just(0u16), 1 => Just(0x0400), 1 => Just(0x0020)];
    let ttl = prop_oneof![1 => Just(0u32), 4 => 1..12u32, 8 => Just(300)];
    (names(3), (count, 0..ADDRESSES.len()), prop::bool::ANY, prop::bool::weighted(0.3), more, flags, ttl)
        .prop_map(|(chain, addresses, nxdomain, signed, more, flags, ttl)| Said {
            chain,
            addresses,
            nxdomain,
            signed,
            more,
            flags,
            ttl,
        })
}

impl Said {
    /// The message that answers a question.
    fn message(&self, qname: &str, qtype: Rtype) -> Vec<u8> {
        let ttl = self.ttl;
        let (mut answers, mut authorities, mut additionals) = (Vec::new(), Vec::new(), Vec::new());
        let mut owner = qname;
        for place in self.chain.iter().filter(|_| qtype != Rtype::CNAME) {
            let target = NAMES[*place];
            if target != qname {
                answers.push(format!("{owner} {} CNAME {target}", ttl + 7));
                owner = target;
            }
        }
        let (count, first) = self.addresses;
        for index in first..first + count {
            let address: IpAddr = ADDRESSES[index % ADDRESSES.len()].parse().unwrap();
            let target = NAMES[index % NAMES.len()];
            answers.push(match (qtype, address) {
                // More than there are in the pool differ at least.
                (Rtype::A, IpAddr::V4(_)) if count < ADDRESSES.len() => format!("{owner} {ttl} A {address}"),
                (Rtype::A, _) => format!("{owner} {ttl} A 198.51.100.{}", index % 256),
                (Rtype::AAAA, IpAddr::V6(_)) => format!("{owner} {ttl} AAAA {address}"),
                (Rtype::AAAA, _) => format!("{owner} {ttl} AAAA 2001:db8::{index:x}"),
                (Rtype::HTTPS, _) if index < first + 4 => format!("{owner} {ttl} HTTPS {target} {address}"),
                (Rtype::CNAME | Rtype::NS, _) => {
                    format!("{owner} {ttl} {} {target}", if qtype == Rtype::NS { "NS" } else { "CNAME" })
                }
                _ => continue,
            });
            if qtype == Rtype::CNAME {
                break;
            }
        }
        // A denial is its zone's, which is above the name.
        let zone = owner.split_once('.').map_or(owner, |(_, zone)| zone);
        if count == 0 {
            authorities.push(format!("{zone} {ttl} SOA 60"));
        }
        if self.signed {
            let (section, owner, covered) =
                if count == 0 { (&mut authorities, zone, Rtype::SOA) } else { (&mut answers, owner, qtype) };
            section.push(format!("{owner} {ttl} RRSIG {}", covered.0));
        }
        if self.more.0 {
            additionals.push(format!("ns.net {ttl} A 203.0.113.5"));
        }
        if self.more.1 {
            additionals.push(". 0 OPT 22=detail".to_owned());
        }
        let flags = self.flags | if count == 0 && self.nxdomain { 3 } else { 0 };
        let sections = [answers, authorities, additionals];
        let sections = sections.each_ref().map(|lines| lines.iter().map(String::as_str).collect::<Vec<_>>());
        response(flags, qname, qtype, [&sections[0], &sections[1], &sections[2]])
    }
}

/// A statement: about which order, about which name of it, and what.
type ScriptedOverride = (usize, Option<(usize, MatchKind)>, (Standing, Window));

/// What may happen.
#[derive(Clone, Debug)]
enum Event {
    /// A question, and perhaps an octet of its packet changed; one that is known is asked beside it, by somebody else, without
    /// or with RD. `times` is how often all that came so far is asked; 0 waits for more.
    Ask { asked: Asked, times: usize, flip: Option<(usize, u8)>, from: (usize, usize), turn_rd: bool },
    /// An upstream has answered.
    Put(Asked, Said),
    /// None has.
    Fail(Asked),
    /// Somebody asked who all the name servers are: some of this is said of each name that nobody knew it of.
    Learn(Vec<Said>),
    /// Milliseconds pass.
    Pass(u64),
    /// Orders change; the last ones are none at all, and not ready.
    Swap(usize),
    /// An order of the policy in force is suspended, or resumed.
    Suspend(usize, bool),
    /// This is stated about orders of the policy in force, and nothing else.
    State(Vec<ScriptedOverride>),
    /// A group, or everybody, sees no zone for so many seconds; 0 ends that.
    Pause(bool, i64),
    /// Another configuration: this many networks are served, the reverse zones of the house are forwarded or not, and
    /// upstreams are others, with a cache of their own, or the same; they are told of clients, or not.
    Configure(usize, bool, bool, Mode),
    /// Other names are answered here: whole zones, and records, each by its owner, what it is and where it leads.
    Names(Vec<usize>, Vec<(usize, usize, usize)>),
    /// The cache is emptied.
    Clear,
}

/// Servers of which some are known for a few seconds only: then nobody may go by them any more.
fn learn(said: Vec<(Said, u32)>) -> Event {
    Event::Learn(said.into_iter().map(|(said, ttl)| Said { ttl: said.ttl.min(ttl * ttl), ..said }).collect())
}

fn event() -> impl Strategy<Value = Event> {
    let flip = option::weighted(0.05, (0..80usize, 1..=255u8));
    let ask = (asked(), 0..4usize, flip, (0..CLIENTS.len(), 0..CLIENTS.len()), prop::bool::weighted(0.3))
        .prop_map(|(asked, times, flip, from, turn_rd)| Event::Ask { asked, times, flip, from, turn_rd });
    let standing = (select(Standing::ALL.to_vec()), window());
    let stated = (0..ZONES, option::of((0..NAMES.len(), kind())), standing);
    let modes = select(vec![Mode::Strip, Mode::Strip, Mode::Pass, Mode::Pass, Mode::Add]);
    prop_oneof![
        24 => ask,
        12 => (asked(), said()).prop_map(|(asked, said)| Event::Put(asked, said)),
        1 => asked().prop_map(Event::Fail),
        12 => vec((said(), 1..8u32), 1..5).prop_map(learn),
        5 => prop_oneof![1..3000u64, Just(1000)].prop_map(Event::Pass),
        3 => (0..POLICIES + 2).prop_map(Event::Swap),
        2 => (0..ZONES, any::<bool>()).prop_map(|(order, yes)| Event::Suspend(order, yes)),
        2 => vec(stated, 0..3).prop_map(Event::State),
        1 => (any::<bool>(), 0..4i64).prop_map(|(all, for_s)| Event::Pause(all, for_s)),
        1 => (select(vec![2, 2, 2, 2, 2, 1, 0]), any::<bool>(), prop::bool::weighted(0.7), modes)
            .prop_map(|(served, forwards, same, mode)| Event::Configure(served, forwards, same, mode)),
        2 => (names(2), vec((0..NAMES.len(), 0..6usize, 0..NAMES.len()), 0..8))
            .prop_map(|(zones, records)| Event::Names(zones, records)),
        1 => Just(Event::Clear),
    ]
}

/// What a run comes to.
#[derive(Debug, Default)]
struct Sum {
    /// Packets that both paths answered, alike.
    compared: usize,
    /// Those of them that policy looks at the name servers of, answered because it was known to be about none.
    beside_servers: u64,
    /// Packets asked.
    asked: usize,
    /// Sequences of events.
    sequences: usize,
}

impl Sum {
    /// Whether more is to be compared: what is seldom may take longer, but not for ever.
    fn is_too_little(&self, wanted: usize) -> bool {
        let seldom = self.beside_servers as usize * 100 <= wanted;
        self.compared < wanted || seldom && self.compared < 4 * wanted
    }
}

/// Puts the policy in force under these overrides and suspensions instead of those it is under.
fn restate(policy: &Current, stated: &[Override], suspended: &[String], epoch: u64) {
    let suspensions = suspended.iter().map(|order| Override::suspension(order));
    let overrides: Vec<Override> = stated.iter().cloned().chain(suspensions).collect();
    let next = policy.policy().with_overrides(&overrides, epoch);
    policy.put(Arc::new(next));
}

/// Names that are answered here.
fn stated(zones: &[usize], records: &[(usize, usize, usize)]) -> Stated {
    let record = |&(owner, sort, target): &(usize, usize, usize)| {
        let (rtype, rdata): (_, Box<[u8]>) = match sort {
            0 | 1 => (Rtype::A, [192, 0, 2, [9, 10][sort]].into()),
            2 => (Rtype::AAAA, "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets().into()),
            3 => (Rtype::HTTPS, [&[0, 1][..], name(NAMES[target]).as_wire()].concat().into()),
            _ => (Rtype::CNAME, name(NAMES[target]).as_wire().into()),
        };
        let owner = name(NAMES[owner]);
        // Some for whatever is below.
        let owner = if sort == 5 { format!("*.{owner}").parse().unwrap_or(owner) } else { owner };
        Record { owner, rtype, ttl_s: 60 * target as u32, rdata }
    };
    let zones = zones.iter().map(|place| name(NAMES[*place])).collect();
    Stated { zones, records: records.iter().map(record).collect() }
}

/// A question that policy itself puts.
fn question(text: &str, qtype: Rtype) -> Question {
    Question {
        qname: name(text),
        qtype,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
        asked_for: None,
    }
}

/// Has an upstream answer, if anybody asks it: not while the last answer lasts, nor the last failure. Whether it did.
fn put(twins: &Twins, question: &Question, said: &Said) -> bool {
    let now = twins.now().mono;
    if twins.cache.get(question, now).is_some() || twins.cache.failure(question, now).is_some() {
        return false;
    }
    // Some messages are none.
    let message = said.message(&question.qname.to_string(), question.qtype);
    let Ok(truth) = Truth::read(question, &message, &LIMITS) else { return false };
    twins.cache.put(question, Arc::new(truth), now);
    true
}

/// Makes the world and lets all that happen.
fn run(world: &World, events: &[Event], sum: &mut Sum) -> Result<(), String> {
    let (kind, places) = &world.protected;
    let protected = [Protected { kind: *kind, names: list(places), source: String::new() }];
    // Each policy that ever is gets another number.
    let mut epoch = 0;
    let mut next = || {
        epoch += 1;
        epoch
    };
    let compile = |zones: &Vec<PolicyZone>| Arc::new(Policy::compile(zones, &protected, next()));
    let mut policies: Vec<Arc<Policy>> = world.policies.iter().map(compile).collect();
    policies.extend([Arc::new(Policy::empty()), Arc::new(Policy::not_ready())]);
    let policy = Current::of(policies[0].clone());
    let mut clients = Clients::new(&world.groups);
    let new_cache = || Cache::new(CACHE).keep_stale(Duration::from_secs(60));
    let mut twins = Twins::over(policy, new_cache(), Arc::new(clients.clone()));
    // What was put is asked for most: else few answers would come from the cache.
    let mut known: Vec<Asked> = Vec::new();
    let mut batch: Vec<(Vec<u8>, SocketAddr)> = Vec::new();
    let (mut stated_now, mut suspended): (Vec<Override>, Vec<String>) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Ask { asked, times, flip, from, turn_rd } => {
                let mut packet = asked.packet();
                if let Some((at, mask)) = flip
                    && let Some(octet) = packet.get_mut(*at)
                {
                    *octet ^= mask;
                }
                let [one, other] =
                    [from.0, from.1].map(|place| CLIENTS[place].parse::<SocketAddr>().unwrap());
                if known.is_empty() || flip.is_some() || asked.case % 4 == 0 {
                    batch.push((packet, one));
                }
                // The last ones most.
                let back = (asked.case >> 8) as usize % known.len().clamp(1, 8);
                if let Some(Asked { name, qtype, ask, .. }) = known.iter().rev().nth(back) {
                    let dnssec_ok = ask.dnssec_ok;
                    let payload = if dnssec_ok { ask.payload } else { asked.ask.payload };
                    let flags = ask.flags & 0x10 | asked.ask.flags & 0x20;
                    let ask = Asking { flags, payload, dnssec_ok, ..asked.ask };
                    let same = Asked { name: *name, qtype: *qtype, ask, ..asked.clone() };
                    let turned = Asked { rd: asked.rd != *turn_rd, ..same.clone() };
                    batch.extend([(same.packet(), one), (turned.packet(), other)]);
                }
                let looks_at_servers = twins.policy.policy().looks_at_servers();
                for _ in 0..*times {
                    sum.asked += batch.len();
                    let before = twins.clear_from_cache();
                    sum.compared += twins.ask_all(&batch)?;
                    if looks_at_servers {
                        sum.beside_servers += twins.clear_from_cache() - before;
                    }
                }
                if *times > 0 {
                    batch.clear();
                }
            }
            Event::Put(asked, said) => {
                if put(&twins, &asked.question(), said) {
                    known.push(asked.clone());
                }
            }
            Event::Learn(said) => {
                let types = [Rtype::NS, Rtype::A, Rtype::AAAA];
                let questions = NAMES.iter().flat_map(|text| types.map(|qtype| question(text, qtype)));
                for (question, said) in questions.zip(said.iter().cycle()) {
                    put(&twins, &question, said);
                }
            }
            Event::Fail(asked) => {
                twins.cache.put_failure(
                    &asked.question(),
                    &[Ede::bare(EdeCode::NO_REACHABLE_AUTHORITY)],
                    twins.now().mono,
                );
            }
            Event::Pass(ms) => twins.advance(Duration::from_millis(*ms)),
            Event::Swap(to) => drop(twins.policy.put(policies[*to].clone())),
            Event::Suspend(order, yes) => {
                let id = format!("o{order}");
                suspended.retain(|other| *other != id);
                if *yes {
                    suspended.push(id);
                }
                epoch += 1;
                restate(&twins.policy, &stated_now, &suspended, epoch);
            }
            Event::State(stated) => {
                let statement = |&(order, names, (standing, window)): &ScriptedOverride| {
                    let names = names.map(|(place, kind)| (name(NAMES[place]), kind));
                    Override { order: format!("o{order}"), names, standing, window, over_names: false }
                };
                stated_now = stated.iter().map(statement).collect();
                epoch += 1;
                restate(&twins.policy, &stated_now, &suspended, epoch);
            }
            Event::Pause(all, for_s) => {
                let group = (!all && !world.groups.is_empty()).then_some("kids");
                let until: UnixSeconds = twins.now().wall + for_s;
                let done = if *for_s == 0 { clients.resume(group) } else { clients.pause(group, until) };
                assert!(done.is_ok(), "the group is there");
                let clients = Arc::new(clients.clone());
                twins.policy.change(|serving| Generation { clients, ..serving.clone() });
            }
            Event::Configure(served, forwards, same, mode) => {
                twins.configure(&SERVED[..*served], (*forwards, *mode), (!same).then(new_cache));
            }
            Event::Names(zones, records) => {
                let local = local(true, stated(zones, records));
                twins.policy.change(|serving| Generation { local, ..serving.clone() });
            }
            Event::Clear => twins.cache.clear(),
        }
    }
    sum.sequences += 1;
    // The slow path was asked what the hot one answered, and nothing else.
    let [hot, slow] = twins.counted();
    if hot != slow {
        return Err(format!("counted\nhot  {hot}\nslow {slow}"));
    }
    // Both counted each hit, or neither.
    let hits = policies.iter().flat_map(|policy| twins.slow.hits(policy.orders().iter()));
    let odd: Vec<(String, u64)> = hits.filter(|(_, count)| count % 2 == 1).collect();
    if odd.is_empty() { Ok(()) } else { Err(format!("one path alone counted hits of {odd:?}")) }
}

#[test]
fn both_paths_give_the_same_octets() {
    let wanted = std::env::var("SINKSCOPE_CASES").map_or(CASES, |count| count.parse().expect("a number"));
    let config =
        Config { cases: SEQUENCES, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let sum = std::cell::RefCell::new(Sum::default());
    while sum.borrow().is_too_little(wanted) {
        let ran = TestRunner::new(config.clone()).run(&(world(), vec(event(), 1..400)), |(world, events)| {
            run(&world, &events, &mut sum.borrow_mut()).map_err(TestCaseError::fail)
        });
        if let Err(error) = ran {
            panic!("{error}\nafter {:?}", sum.borrow());
        }
    }
    let sum = sum.into_inner();
    println!("{sum:?}");
    // Else it shows little: enough of what is asked must be ordinary.
    assert!(sum.compared * 5 > sum.asked, "{sum:?}");
    assert!(sum.beside_servers as usize * 100 > wanted, "{sum:?}");
}
