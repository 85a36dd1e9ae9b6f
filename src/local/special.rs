//! Names that have no meaning outside this host or network (RFC 6761, RFC 6303 and their kin): asking others about them only tells
//! where we are.
//!
//! Left to upstream on purpose, though IANA's Special-Use Domain Names registry lists them:
//! - `example.` and its second-level kin: caching servers SHOULD NOT treat them specially (RFC 6761 §6.5).
//! - `alt.`: caching servers need no special handling (RFC 9476); the root denies it.
//! - `ipv4only.arpa.`, `170.0.0.192.in-addr.arpa.` and `171.0.0.192.in-addr.arpa.`: forwarders SHOULD NOT
//!   treat them specially (RFC 8880 §7), for the DNS64 that answers them may be our upstream.
//! - `6tisch.arpa.`, `eap.arpa.`, `eap-noob.arpa.`: no document asks caching servers to answer them.

use std::net::Ipv6Addr;
use std::sync::LazyLock;

use crate::iana::Rtype;
use crate::name::Name;
use crate::suffixes;

/// The TTL of what is said of these, in seconds (RFC 6303 §3).
pub(super) const TTL_S: u32 = 10_800;

/// How the names of a zone are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// RFC 6761 §6.3: the loopback addresses, for the name and all below it.
    Localhost,
    /// NXDOMAIN for the name and all below it.
    Nowhere,
    /// The same, unless whoever is upstream knows the names of this network.
    Home,
    /// A zone that holds its apex and nothing below it (RFC 6303 §3).
    Empty,
    /// An empty zone under which any name exists, without records (RFC 9462 §6.4).
    EmptyBelow,
}

/// Top-level names that are answered here.
const TOP: [(&str, Kind); 12] = [
    ("localhost", Kind::Localhost),
    // RFC 6761 §6.2 and §6.4; RFC 7686 §2; RFC 6762 §22.1.
    ("test", Kind::Nowhere),
    ("invalid", Kind::Nowhere),
    ("onion", Kind::Nowhere),
    ("local", Kind::Nowhere),
    // RFC 6762 appendix G: used in private networks, and in no public one. ICANN keeps `internal` for that (resolution 2024.07.29.06).
    ("internal", Kind::Home),
    ("lan", Kind::Home),
    ("home", Kind::Home),
    ("intranet", Kind::Home),
    ("private", Kind::Home),
    ("corp", Kind::Home),
    // What many systems call a network without a name.
    ("localdomain", Kind::Home),
];

/// Zones below `arpa.` in IANA's Locally-Served DNS Zones registry, each with the document that put it there.
const ARPA: &[(&str, Kind)] = &[
    // RFC 6303 §4.1: private use (RFC 1918).
    ("10.in-addr.arpa", Kind::Empty),
    ("16.172.in-addr.arpa", Kind::Empty),
    ("17.172.in-addr.arpa", Kind::Empty),
    ("18.172.in-addr.arpa", Kind::Empty),
    ("19.172.in-addr.arpa", Kind::Empty),
    ("20.172.in-addr.arpa", Kind::Empty),
    ("21.172.in-addr.arpa", Kind::Empty),
    ("22.172.in-addr.arpa", Kind::Empty),
    ("23.172.in-addr.arpa", Kind::Empty),
    ("24.172.in-addr.arpa", Kind::Empty),
    ("25.172.in-addr.arpa", Kind::Empty),
    ("26.172.in-addr.arpa", Kind::Empty),
    ("27.172.in-addr.arpa", Kind::Empty),
    ("28.172.in-addr.arpa", Kind::Empty),
    ("29.172.in-addr.arpa", Kind::Empty),
    ("30.172.in-addr.arpa", Kind::Empty),
    ("31.172.in-addr.arpa", Kind::Empty),
    ("168.192.in-addr.arpa", Kind::Empty),
    // RFC 6303 §4.2: this network, loopback, link local, TEST-NET-1 to 3, broadcast.
    ("0.in-addr.arpa", Kind::Empty),
    ("127.in-addr.arpa", Kind::Empty),
    ("254.169.in-addr.arpa", Kind::Empty),
    ("2.0.192.in-addr.arpa", Kind::Empty),
    ("100.51.198.in-addr.arpa", Kind::Empty),
    ("113.0.203.in-addr.arpa", Kind::Empty),
    ("255.255.255.255.in-addr.arpa", Kind::Empty),
    // RFC 6303 §4.3: the unspecified address and loopback.
    ("0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", Kind::Empty),
    ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", Kind::Empty),
    // RFC 6303 §4.4: locally assigned (RFC 4193).
    ("d.f.ip6.arpa", Kind::Empty),
    // RFC 6303 §4.5: link local.
    ("8.e.f.ip6.arpa", Kind::Empty),
    ("9.e.f.ip6.arpa", Kind::Empty),
    ("a.e.f.ip6.arpa", Kind::Empty),
    ("b.e.f.ip6.arpa", Kind::Empty),
    // RFC 6303 §4.6: documentation (RFC 3849).
    ("8.b.d.0.1.0.0.2.ip6.arpa", Kind::Empty),
    // RFC 8375 §4: home networks.
    ("home.arpa", Kind::Empty),
    // RFC 9665: service registration, answered by a registrar in the network or by nobody.
    ("service.arpa", Kind::Empty),
    // RFC 9462 §6.1: what upstream says of itself would not verify here. §6.4: NODATA at and below it.
    ("resolver.arpa", Kind::EmptyBelow),
];
/// RFC 7793: shared address space, 100.64.0.0/10, as the second octets it spans.
const SHARED: std::ops::RangeInclusive<u8> = 64..=127;

/// The address in IPv6 that is this host, reversed.
const LOOPBACK_V6: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";

/// All of these by name.
static ZONES: LazyLock<Vec<(Name, Kind)>> = LazyLock::new(|| {
    let shared = SHARED.map(|octet| (format!("{octet}.100.in-addr.arpa"), Kind::Empty));
    let listed = TOP.iter().chain(ARPA).map(|(zone, kind)| ((*zone).to_owned(), *kind));
    // Every spelling above is a name; tests count them.
    listed.chain(shared).filter_map(|(zone, kind)| Some((zone.parse().ok()?, kind))).collect()
});
/// RFC 6303 §3: the RNAME of a zone that nobody runs.
pub(super) static NOBODY: LazyLock<Name> = LazyLock::new(|| "nobody.invalid".parse().unwrap_or(Name::ROOT));

/// All zones that are answered here by themselves.
pub(super) fn zones() -> impl Iterator<Item = &'static (Name, Kind)> {
    ZONES.iter()
}

/// What a zone holds beside what any has.
pub(super) fn records(zone: &Name, kind: Kind) -> Vec<(Name, Rtype, Box<[u8]>)> {
    let parsed = |text: &str| text.parse::<Name>().ok();
    let below = |label: &[u8]| {
        let labels: Vec<&[u8]> = std::iter::once(label).chain(zone.labels()).collect();
        let mut name = Name::ROOT;
        labels.iter().try_for_each(|label| name.push_label(label)).ok().map(|()| name)
    };
    match kind {
        Kind::Localhost => {
            let addresses: [(Rtype, Box<[u8]>); 2] =
                [(Rtype::A, [127, 0, 0, 1].into()), (Rtype::AAAA, Ipv6Addr::LOCALHOST.octets().into())];
            let owners = [Some(*zone), below(b"*")].into_iter().flatten();
            owners.flat_map(|owner| addresses.clone().map(|(rtype, rdata)| (owner, rtype, rdata))).collect()
        }
        Kind::Empty => {
            let reversed = ["1.0.0.127.in-addr.arpa", LOOPBACK_V6].into_iter().filter_map(parsed);
            let own = reversed.filter(|name| name.is_at_or_below(zone));
            let localhost = parsed("localhost").unwrap_or(Name::ROOT);
            own.map(|name| (name, Rtype::PTR, localhost.as_wire().into())).collect()
        }
        Kind::Nowhere | Kind::Home | Kind::EmptyBelow => Vec::new(),
    }
}

/// Whether nobody outside answers for what is above a zone: it is one of ours, and no part of the public tree.
pub(super) fn is_nobodys(name: &Name) -> bool {
    name.label_count() == 1 && !is_top_level(name)
}

/// Names of one label that are no top-level domains and of which the root is asked all the same: it denies them (RFC 6761 §6.5, RFC 9476).
const DENIED_BY_THE_ROOT: [&[u8]; 2] = [b"example", b"alt"];

/// Whether the root is asked about a name of one label: it is a top-level domain, as far as is known. The list is of the day it was built.
pub(super) fn is_top_level(name: &Name) -> bool {
    let label = name.labels().next().unwrap_or_default();
    DENIED_BY_THE_ROOT.contains(&label) || suffixes::find(&mut name.labels()).typ.is_some()
}
