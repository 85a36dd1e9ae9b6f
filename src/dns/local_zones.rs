//! Names answered here and never forwarded (RFC 6761, RFC 6303 and their kin): they have no meaning outside this host
//! or network, and asking others about them only tells where we are.
//!
//! Left to upstream on purpose, though IANA's Special-Use Domain Names registry lists them:
//! - `example.` and its second-level kin: caching servers SHOULD NOT treat them specially (RFC 6761 §6.5).
//! - `alt.`: caching servers need no special handling (RFC 9476); the root denies it.
//! - `ipv4only.arpa.`, `170.0.0.192.in-addr.arpa.` and `171.0.0.192.in-addr.arpa.`: forwarders SHOULD NOT
//!   treat them specially (RFC 8880 §7), for the DNS64 that answers them may be our upstream.
//! - `6tisch.arpa.`, `eap.arpa.`, `eap-noob.arpa.`: no document asks caching servers to answer them.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::answer::{Answer, Records, Soa};
pub use super::chaos::{Identity, chaos};
use super::query::Query;
use super::wire::{HEADER_LEN, Owner};
use crate::iana::{Class, Rcode, Rtype};
use crate::name::Name;

/// The TTL of everything said here, in seconds (RFC 6303 §3).
const TTL_S: u32 = 10_800;

/// What of this the operator wants otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalZones {
    /// Zones to forward after all, with all below them: `168.192.in-addr.arpa` to the home router, say.
    pub not_local: Vec<Name>,
}

/// The local answer to a special name; none for names that are resolved like any other.
pub fn answer(query: &Query<'_>, settings: &LocalZones) -> Option<Answer> {
    let (zone, sort) = closest_zone(&query.qname)?;
    if settings.not_local.iter().any(|forward| query.qname.is_at_or_below(forward)) {
        return None;
    }
    // RFC 4035 §3.1.4.1: DS at a zone's apex is the parent's to answer. These zones are delegated without a key in the
    // public tree, and only that proof lets a validating client believe what we say (RFC 8375 §4 for home.arpa).
    if matches!(sort, Sort::Empty) && query.qname == zone && query.qtype == Rtype::DS {
        return None;
    }
    Some(Local { query, zone }.answer(sort))
}

/// How the names of a zone are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// RFC 6761 §6.3: the loopback addresses, for the name and all below it.
    Localhost,
    /// NXDOMAIN for the name and all below it.
    Nowhere,
    /// A zone that holds its apex and nothing below it (RFC 6303 §3).
    Empty,
    /// An empty zone under which any name exists, without records (RFC 9462 §6.4).
    EmptyBelow,
}

/// The zone around `name` that is answered here.
fn closest_zone(name: &Name) -> Option<(Name, Sort)> {
    // Ordinary names are told by their last label: this is all they pay.
    let sort = match name.labels().last()? {
        b"arpa" => return reverse_zone(name),
        b"localhost" => Sort::Localhost,
        // RFC 6761 §6.2 and §6.4; RFC 7686 §2; RFC 6762 §22.1.
        b"test" | b"invalid" | b"onion" | b"local" => Sort::Nowhere,
        _ => return None,
    };
    Some((name.ancestor(1)?, sort))
}

/// The zone below `arpa.` around `name` that is answered here.
fn reverse_zone(name: &Name) -> Option<(Name, Sort)> {
    let depths = 2..=name.label_count().min(ZONES.deepest);
    depths.filter_map(|depth| name.ancestor(depth)).find_map(|zone| Some((zone, *ZONES.sorts.get(&zone)?)))
}

/// Zones below `arpa.` in IANA's Locally-Served DNS Zones registry, each with the document that put it there.
const ARPA: &[(&str, Sort)] = &[
    // RFC 6303 §4.1: private use (RFC 1918).
    ("10.in-addr.arpa", Sort::Empty),
    ("16.172.in-addr.arpa", Sort::Empty),
    ("17.172.in-addr.arpa", Sort::Empty),
    ("18.172.in-addr.arpa", Sort::Empty),
    ("19.172.in-addr.arpa", Sort::Empty),
    ("20.172.in-addr.arpa", Sort::Empty),
    ("21.172.in-addr.arpa", Sort::Empty),
    ("22.172.in-addr.arpa", Sort::Empty),
    ("23.172.in-addr.arpa", Sort::Empty),
    ("24.172.in-addr.arpa", Sort::Empty),
    ("25.172.in-addr.arpa", Sort::Empty),
    ("26.172.in-addr.arpa", Sort::Empty),
    ("27.172.in-addr.arpa", Sort::Empty),
    ("28.172.in-addr.arpa", Sort::Empty),
    ("29.172.in-addr.arpa", Sort::Empty),
    ("30.172.in-addr.arpa", Sort::Empty),
    ("31.172.in-addr.arpa", Sort::Empty),
    ("168.192.in-addr.arpa", Sort::Empty),
    // RFC 6303 §4.2: this network, loopback, link local, TEST-NET-1 to 3, broadcast.
    ("0.in-addr.arpa", Sort::Empty),
    ("127.in-addr.arpa", Sort::Empty),
    ("254.169.in-addr.arpa", Sort::Empty),
    ("2.0.192.in-addr.arpa", Sort::Empty),
    ("100.51.198.in-addr.arpa", Sort::Empty),
    ("113.0.203.in-addr.arpa", Sort::Empty),
    ("255.255.255.255.in-addr.arpa", Sort::Empty),
    // RFC 6303 §4.3: the unspecified address and loopback.
    ("0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", Sort::Empty),
    ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", Sort::Empty),
    // RFC 6303 §4.4: locally assigned (RFC 4193).
    ("d.f.ip6.arpa", Sort::Empty),
    // RFC 6303 §4.5: link local.
    ("8.e.f.ip6.arpa", Sort::Empty),
    ("9.e.f.ip6.arpa", Sort::Empty),
    ("a.e.f.ip6.arpa", Sort::Empty),
    ("b.e.f.ip6.arpa", Sort::Empty),
    // RFC 6303 §4.6: documentation (RFC 3849).
    ("8.b.d.0.1.0.0.2.ip6.arpa", Sort::Empty),
    // RFC 8375 §4: home networks.
    ("home.arpa", Sort::Empty),
    // RFC 9665: service registration, answered by a registrar in the network or by nobody.
    ("service.arpa", Sort::Empty),
    // RFC 9462 §6.1: what upstream says of itself would not verify here. §6.4: NODATA at and below it.
    ("resolver.arpa", Sort::EmptyBelow),
];
/// RFC 7793: shared address space, 100.64.0.0/10, as the second octets it spans.
const SHARED: std::ops::RangeInclusive<u8> = 64..=127;

/// The zones of [`ARPA`] and [`SHARED`], to be looked up.
struct Zones {
    sorts: HashMap<Name, Sort>,
    /// Labels in the longest of them.
    deepest: usize,
}

/// Built at the first question below `arpa.`.
static ZONES: LazyLock<Zones> = LazyLock::new(|| {
    let shared = SHARED.map(|octet| (format!("{octet}.100.in-addr.arpa"), Sort::Empty));
    let all = ARPA.iter().map(|(zone, sort)| (zone.to_string(), *sort)).chain(shared);
    // Every spelling above is a name; tests count them.
    let sorts: HashMap<Name, Sort> =
        all.filter_map(|(zone, sort)| Some((zone.parse().ok()?, sort))).collect();
    let deepest = sorts.keys().map(Name::label_count).max().unwrap_or(0);
    Zones { sorts, deepest }
});

/// The names that loopback addresses reverse to, and the name they stand for.
static LOOPBACK: LazyLock<[Option<Name>; 3]> = LazyLock::new(|| {
    let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";
    ["1.0.0.127.in-addr.arpa", v6, "localhost"].map(|name| name.parse().ok())
});
/// RFC 6303 §3: the RNAME of a zone that nobody runs.
static NOBODY: LazyLock<Name> = LazyLock::new(|| "nobody.invalid".parse().unwrap_or(Name::ROOT));

/// An answer under way for a name in a zone.
struct Local<'q> {
    query: &'q Query<'q>,
    zone: Name,
}

impl Local<'_> {
    /// What zones of this sort say.
    fn answer(&self, sort: Sort) -> Answer {
        let at_apex = self.query.qname == self.zone;
        match (sort, self.query.qtype) {
            (Sort::Nowhere, _) => self.denial(Rcode::NXDOMAIN),
            (_, Rtype::ANY) if at_apex || sort != Sort::Empty => Answer::any(self.query),
            (Sort::Localhost, Rtype::A) => self.data(&[127, 0, 0, 1]),
            (Sort::Localhost, Rtype::AAAA) => self.data(&std::net::Ipv6Addr::LOCALHOST.octets()),
            (Sort::Localhost, _) => self.denial(Rcode::NOERROR),
            (_, Rtype::PTR) if self.is_loopback() => match &LOOPBACK[2] {
                Some(localhost) => self.data(localhost.as_wire()),
                None => self.denial(Rcode::NOERROR),
            },
            // RFC 6303 §3: the apex has SOA and NS, the zone its own server.
            (_, Rtype::SOA) if at_apex => self.data(&self.soa().rdata()),
            (_, Rtype::NS) if at_apex => self.data(self.zone.as_wire()),
            (Sort::EmptyBelow, _) => self.denial(Rcode::NOERROR),
            // RFC 8020 §3.1: names with something below them exist, `0.0.127.in-addr.arpa` by its loopback address.
            _ if at_apex || self.has_loopback_at_or_below() => self.denial(Rcode::NOERROR),
            _ => self.denial(Rcode::NXDOMAIN),
        }
    }

    /// Whether the qname is a loopback address reversed.
    fn is_loopback(&self) -> bool {
        LOOPBACK[..2].iter().flatten().any(|name| self.query.qname == *name)
    }

    /// Whether the qname or something below it is a loopback address reversed.
    fn has_loopback_at_or_below(&self) -> bool {
        LOOPBACK[..2].iter().flatten().any(|name| name.is_at_or_below(&self.query.qname))
    }

    /// The zone's start of authority. RFC 6303 §3: the zone is its own MNAME, the serial 1.
    fn soa(&self) -> Soa<'_> {
        Soa { owner: &self.zone, mname: &self.zone, rname: &NOBODY, serial: 1, ttl_s: TTL_S }
    }

    /// One record of the type asked for.
    fn data(&self, rdata: &[u8]) -> Answer {
        let mut records = Records::default();
        records.answer(Owner::At(HEADER_LEN as u16), self.query.qtype, Class::IN, TTL_S, rdata);
        Answer::built(Rcode::NOERROR, records)
    }

    /// No record, and the SOA that says how long (RFC 2308 §3).
    fn denial(&self, rcode: Rcode) -> Answer {
        let mut records = Records::default();
        records.authority(&self.soa());
        Answer::built(rcode, records)
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Body;
    use super::super::query::parse;
    use super::super::wire::{Message, put_u16};
    use super::*;

    const A: Rtype = Rtype::A;
    const PTR: Rtype = Rtype::PTR;

    /// `-` for forwarded, else the rcode, the number of answers and the SOA's owner.
    fn outcome(name: &str, qtype: Rtype, settings: &LocalZones) -> String {
        let mut packet = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        packet.extend_from_slice(name.parse::<Name>().unwrap().as_wire());
        put_u16(&mut packet, qtype);
        put_u16(&mut packet, Class::IN);
        let query = parse(&packet).unwrap();
        let Some(answer) = answer(&query, settings) else { return "-".into() };
        let Body::Built(records) = &answer.body else { panic!("{answer:?}") };
        let message = Message::new(query.question, &records.octets);
        let first = message.record(message.base()).unwrap();
        let owner = message.name(first.owner_at).unwrap().0;
        assert_eq!(records.answers + records.authorities, 1);
        assert_eq!(first.rdata.end, message.base() + records.octets.len());
        format!("{} {} {owner}", answer.rcode.0, records.answers)
    }

    #[test]
    fn special_names_are_answered_here() {
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";
        let cases = [
            ("localhost", A, "0 1 localhost"),
            ("a.LocalHost", Rtype::AAAA, "0 1 a.localhost"),
            ("localhost", Rtype::MX, "0 0 localhost"),
            ("localhost", Rtype::ANY, "0 1 localhost"),
            ("test", A, "3 0 test"),
            ("a.b.invalid", A, "3 0 invalid"),
            ("x.onion", A, "3 0 onion"),
            ("printer.local", A, "3 0 local"),
            ("printer.local", Rtype::ANY, "3 0 local"),
            ("home.arpa", A, "0 0 home.arpa"),
            ("home.arpa", Rtype::SOA, "0 1 home.arpa"),
            ("home.arpa", Rtype::DS, "-"),
            ("nas.home.arpa", A, "3 0 home.arpa"),
            ("default.service.arpa", Rtype::SOA, "3 0 service.arpa"),
            ("resolver.arpa", A, "0 0 resolver.arpa"),
            ("_dns.resolver.arpa", Rtype::SVCB, "0 0 resolver.arpa"),
            ("10.in-addr.arpa", Rtype::NS, "0 1 10.in-addr.arpa"),
            ("10.in-addr.arpa", Rtype::ANY, "0 1 10.in-addr.arpa"),
            ("10.in-addr.arpa", Rtype::DS, "-"),
            ("1.0.0.10.in-addr.arpa", PTR, "3 0 10.in-addr.arpa"),
            ("1.1.168.192.in-addr.arpa", PTR, "3 0 168.192.in-addr.arpa"),
            ("1.0.0.127.in-addr.arpa", PTR, "0 1 1.0.0.127.in-addr.arpa"),
            ("1.0.0.127.in-addr.arpa", A, "0 0 127.in-addr.arpa"),
            ("0.0.127.in-addr.arpa", PTR, "0 0 127.in-addr.arpa"),
            ("2.0.0.127.in-addr.arpa", PTR, "3 0 127.in-addr.arpa"),
            (v6, A, &format!("0 0 {v6}")),
            (v6, PTR, &format!("0 1 {v6}")),
            ("1.64.100.in-addr.arpa", PTR, "3 0 64.100.in-addr.arpa"),
            ("1.127.100.in-addr.arpa", PTR, "3 0 127.100.in-addr.arpa"),
            ("5.b.e.f.ip6.arpa", PTR, "3 0 b.e.f.ip6.arpa"),
        ];
        for (name, qtype, expected) in cases {
            assert_eq!(outcome(name, qtype, &LocalZones::default()), expected, "{name} {qtype}");
        }
    }

    #[test]
    fn other_names_are_forwarded() {
        let names = "com . arpa example example.com localhost.com xlocalhost ipv4only.arpa in-addr.arpa ip6.arpa \
                     8.8.8.8.in-addr.arpa 1.15.172.in-addr.arpa 1.32.172.in-addr.arpa 1.63.100.in-addr.arpa \
                     1.128.100.in-addr.arpa 170.0.0.192.in-addr.arpa c.e.f.ip6.arpa 0.0.ip6.arpa x.alt";
        for name in names.split_whitespace() {
            assert_eq!(outcome(name, A, &LocalZones::default()), "-", "{name}");
        }
    }

    #[test]
    fn zones_are_forwarded_when_told_so() {
        let settings = LocalZones {
            not_local: vec!["168.192.in-addr.arpa".parse().unwrap(), "lan.test".parse().unwrap()],
        };
        for (name, forwarded) in [
            ("168.192.in-addr.arpa", true),
            ("1.2.168.192.in-addr.arpa", true),
            ("1.10.in-addr.arpa", false),
            ("a.lan.test", true),
            ("test", false),
        ] {
            assert_eq!(outcome(name, PTR, &settings) == "-", forwarded, "{name}");
        }
    }

    #[test]
    fn every_zone_is_a_name() {
        assert_eq!(ZONES.sorts.len(), ARPA.len() + 64);
        assert_eq!(ZONES.deepest, 34);
        assert!(LOOPBACK.iter().all(Option::is_some) && !NOBODY.is_root());
        // RFC 6303 lists 18, 7, 2, 1, 4 and 1 zones; three more have documents of their own.
        assert_eq!(ARPA.len(), 18 + 7 + 2 + 1 + 4 + 1 + 3);
    }
}
