//! Names and what they have, with every name above them: a walk from the root ends at the first label that nobody knows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, OnceLock};

use super::record::{Record, Special, Stated};
use super::special::{self, Kind};
use crate::dns::answer::Soa as Numbers;
use crate::dns::{Truth, said};
use crate::iana::{Rcode, Rtype};
use crate::name::{MAX_LABELS, Name};

/// Records of one set that are kept: as many as a reply may hold of what upstream says.
const MAX_SET_RECORDS: usize = 100;
/// The TTL of what is made up for zones of the operator and for home networks, in seconds: a device that comes is found a minute
/// later by whoever missed it.
const OWN_TTL_S: u32 = 60;

/// All names.
#[derive(Debug)]
pub(super) struct Tree {
    /// By wire form.
    nodes: HashMap<Box<[u8]>, Node>,
    /// The root.
    root: Node,
    /// Whether single labels are asked of others.
    forward_single: bool,
    /// Zones and records that are stated.
    stated: (usize, usize),
    /// What tells which names are answered here: the same for the same names.
    shape: u64,
}

/// A name.
#[derive(Debug, Default)]
struct Node {
    /// What begins here.
    zone: Option<Zone>,
    /// Its records.
    sets: Vec<Set>,
    /// Those of whatever is below it and has no node (RFC 4592).
    below: Vec<Set>,
    /// Whether there are names below it.
    has_children: bool,
}

/// What begins at a name.
#[derive(Debug)]
enum Zone {
    /// A zone that is answered here.
    Ours(Ours),
    /// One of which others are asked.
    Elsewhere,
}

/// A zone that is answered here.
#[derive(Debug)]
struct Ours {
    /// The SOA's RDATA.
    soa: Box<[u8]>,
    /// Its TTL, in seconds.
    ttl_s: u32,
    /// Whether what it lacks does not exist; else it exists without records.
    denies: bool,
    /// Whether its parent, which others answer for, may know its DS.
    has_parent: bool,
}

/// The records of a name and a type.
#[derive(Debug)]
pub(super) struct Set {
    owner: Name,
    rtype: Rtype,
    ttl_s: u32,
    rdatas: Vec<Box<[u8]>>,
    /// What is said of it, once it was asked for.
    truth: OnceLock<Arc<Truth>>,
}

/// A denial's start of authority.
#[derive(Debug)]
pub(super) struct Soa<'t> {
    zone: Name,
    ttl_s: u32,
    /// None is made up.
    rdata: std::borrow::Cow<'t, [u8]>,
}

/// What a name is found to have.
pub(super) enum Found<'t> {
    /// The records asked for.
    Records(&'t Set),
    /// An alias, and where it leads.
    Alias(&'t Set, Name),
    /// Nothing.
    Denied(Rcode, Soa<'t>),
    /// Something, and all of it is asked for.
    Any,
}

impl Tree {
    /// What is special, and what is stated.
    pub(super) fn of(special: &Special, stated: Stated) -> Tree {
        let mut tree = Tree {
            nodes: HashMap::with_capacity(stated.records.len() + 256),
            root: Node::default(),
            forward_single: special.forward_home_names,
            stated: (stated.zones.len(), stated.records.len()),
            shape: 0,
        };
        let forwarded = |zone: &Name| special.forward.iter().any(|forward| zone.is_at_or_below(forward));
        for (zone, kind) in special::zones().filter(|(zone, _)| !forwarded(zone)) {
            if *kind != Kind::Home || !special.forward_home_names {
                tree.built_in(zone, *kind);
            }
        }
        for zone in &special.forward {
            tree.node(zone).zone = Some(Zone::Elsewhere);
        }
        for zone in &stated.zones {
            tree.own(zone, &stated.records);
        }
        let lone = stated.records.into_iter().map(|record| tree.put(record)).fold(0, u64::wrapping_add);
        let zones = tree.nodes.iter().filter_map(|(name, node)| Some((name, node.zone.as_ref()?)));
        let zones = zones
            .map(|(name, zone)| hash(name, if matches!(zone, Zone::Ours(_)) { OURS } else { ELSEWHERE }));
        tree.shape = zones.fold(lone, u64::wrapping_add).wrapping_add(special.forward_home_names.into());
        tree
    }

    /// Zones and records that are stated.
    pub(super) fn stated(&self) -> (usize, usize) {
        self.stated
    }

    /// A number that tells which names are answered here.
    pub(super) fn shape(&self) -> u64 {
        self.shape
    }

    /// What is found here of a name; none where others are asked.
    pub(super) fn find(&self, name: &Name, qtype: Rtype) -> Option<Found<'_>> {
        let (mut starts, mut count, mut at) = ([0_u8; MAX_LABELS], 0, 0);
        for label in name.labels() {
            starts[count] = at as u8;
            count += 1;
            at += 1 + label.len();
        }
        let wire = name.as_wire();
        let (mut node, mut depth, mut zone) = (&self.root, 0, self.root.zone.as_ref().map(|zone| (0, zone)));
        while let Some(start) = count.checked_sub(depth + 1).map(|index| usize::from(starts[index]))
            && let Some(next) = self.nodes.get(&wire[start..])
        {
            (node, depth) = (next, depth + 1);
            zone = node.zone.as_ref().map(|zone| (depth, zone)).or(zone);
        }
        let exact = depth == count;
        let sets = if exact { &node.sets } else { &node.below };
        let ours = match zone {
            Some((depth, Zone::Ours(zone))) => Some((depth, zone)),
            Some((_, Zone::Elsewhere)) | None => None,
        };
        let at_apex = exact && ours.is_some_and(|(apex, _)| apex == depth);
        // RFC 4035 §3.1.4.1: DS at a zone's apex is the parent's to answer. Where that is in the public tree, only its proof that there
        // is none lets a validating client believe what we say (RFC 8375 §4 for home.arpa).
        if qtype == Rtype::DS && at_apex && ours.is_some_and(|(_, zone)| zone.has_parent) {
            return None;
        }
        let soa = |rcode| {
            let soa = match ours {
                Some((depth, Ours { soa, ttl_s, .. })) => {
                    Soa { zone: name.ancestor(depth)?, ttl_s: *ttl_s, rdata: soa.as_ref().into() }
                }
                // It stands by itself, and is its own zone.
                None => Soa { zone: *name, ttl_s: OWN_TTL_S, rdata: made_up(name, OWN_TTL_S).into() },
            };
            Some(Found::Denied(rcode, soa))
        };
        if !sets.is_empty() {
            if qtype == Rtype::ANY {
                return Some(Found::Any);
            }
            let of = |rtype| sets.iter().find(|set| set.rtype == rtype);
            if let Some(set) = of(qtype) {
                return Some(Found::Records(set));
            }
            // RFC 1034 §3.6.2: an alias stands for all types.
            return match of(Rtype::CNAME).and_then(|set| Some((set, set.target()?))) {
                Some((set, target)) => Some(Found::Alias(set, target)),
                None => soa(Rcode::NOERROR),
            };
        }
        match ours {
            // RFC 8020 §3.1: names with something below them exist.
            Some((_, zone)) if (exact && node.has_children) || !zone.denies => match qtype {
                Rtype::ANY => Some(Found::Any),
                _ => soa(Rcode::NOERROR),
            },
            Some(_) => soa(Rcode::NXDOMAIN),
            None if zone.is_none() && self.denies_single(name) => soa(Rcode::NXDOMAIN),
            None => None,
        }
    }

    /// Whether it is a name of this network without its zone, which does not exist unless it is stated. NXDOMAIN for a top-level domain
    /// would deny all that is below it (RFC 8020).
    fn denies_single(&self, name: &Name) -> bool {
        !self.forward_single && name.label_count() == 1 && !special::is_top_level(name)
    }

    /// Begins a zone that is special.
    fn built_in(&mut self, zone: &Name, kind: Kind) {
        let ttl_s = if kind == Kind::Home { OWN_TTL_S } else { special::TTL_S };
        let soa = made_up(zone, ttl_s);
        if matches!(kind, Kind::Empty | Kind::EmptyBelow) {
            self.apex(zone, &soa, ttl_s);
        }
        for (owner, rtype, rdata) in special::records(zone, kind) {
            self.put(Record { owner, rtype, ttl_s, rdata });
        }
        let denies = kind != Kind::EmptyBelow;
        // What the root denies has no parent that could say anything else.
        let has_parent = matches!(kind, Kind::Empty);
        self.node(zone).zone = Some(Zone::Ours(Ours { soa: soa.into(), ttl_s, denies, has_parent }));
    }

    /// Begins a zone of the operator's, in place of whatever began there. A start of authority among the records is the zone's.
    fn own(&mut self, zone: &Name, records: &[Record]) {
        let parent = (1..=zone.label_count()).filter_map(|labels| zone.ancestor(labels));
        let has_parent = !parent.clone().any(|above| special::is_nobodys(&above));
        let own = records.iter().find(|record| record.rtype == Rtype::SOA && record.owner == *zone);
        let (soa, ttl_s) = match own {
            Some(Record { rdata, ttl_s, .. }) => (rdata.to_vec(), *ttl_s),
            None => (made_up(zone, OWN_TTL_S), OWN_TTL_S),
        };
        let node = self.node(zone);
        node.sets.clear();
        node.zone = Some(Zone::Ours(Ours { soa: soa.clone().into(), ttl_s, denies: true, has_parent }));
        if own.is_none() {
            self.apex(zone, &soa, ttl_s);
        }
    }

    /// Gives a zone the records that any has. RFC 6303 §3: SOA and NS, and the zone is its own server.
    fn apex(&mut self, zone: &Name, soa: &[u8], ttl_s: u32) {
        let record = |rtype, rdata: &[u8]| Record { owner: *zone, rtype, ttl_s, rdata: rdata.into() };
        self.put(record(Rtype::SOA, soa));
        self.put(record(Rtype::NS, zone.as_wire()));
    }

    /// Takes in a record. What it adds to the shape: something where it is in no zone of ours.
    fn put(&mut self, record: Record) -> u64 {
        let above = record.owner.labels().next().filter(|label| *label == b"*");
        let above = above.and_then(|_| record.owner.parent());
        let is_ours = match self.zone_around(&record.owner) {
            Some(Zone::Ours(_)) => true,
            Some(Zone::Elsewhere) => false,
            None => self.denies_single(&record.owner),
        };
        let hash = if is_ours { 0 } else { hash(record.owner.as_wire(), ALONE) };
        let node = self.node(above.as_ref().unwrap_or(&record.owner));
        let sets = if above.is_some() { &mut node.below } else { &mut node.sets };
        match sets.iter_mut().find(|set| set.rtype == record.rtype) {
            Some(set) => set.add(record),
            None => sets.push(Set {
                owner: record.owner,
                rtype: record.rtype,
                ttl_s: record.ttl_s,
                rdatas: vec![record.rdata],
                truth: OnceLock::new(),
            }),
        }
        hash
    }

    /// The zone that a name is in.
    fn zone_around(&self, name: &Name) -> Option<&Zone> {
        let labels = (1..=name.label_count()).rev();
        let around =
            labels.filter_map(|labels| self.nodes.get(name.ancestor(labels)?.as_wire())?.zone.as_ref());
        around.chain(&self.root.zone).next()
    }

    /// The place of a name, which it gets if it has none, as do those above it.
    fn node(&mut self, name: &Name) -> &mut Node {
        if name.is_root() {
            return &mut self.root;
        }
        if !self.nodes.contains_key(name.as_wire()) {
            for labels in (1..name.label_count()).rev() {
                let Some(above) = name.ancestor(labels) else { break };
                match self.nodes.entry(above.as_wire().into()) {
                    Entry::Occupied(mut known) => {
                        known.get_mut().has_children = true;
                        break;
                    }
                    Entry::Vacant(place) => place.insert(Node::default()).has_children = true,
                }
            }
        }
        self.nodes.entry(name.as_wire().into()).or_default()
    }
}

impl Set {
    /// One more record. RFC 2181 §5.2: those of a set have one TTL; the least counts.
    fn add(&mut self, record: Record) {
        self.ttl_s = self.ttl_s.min(record.ttl_s);
        // RFC 1034 §3.6.2: a name has one alias at most, and RFC 1035 §3.3.13 a zone one start of authority.
        let alone = matches!(self.rtype, Rtype::CNAME | Rtype::SOA);
        if !alone && self.rdatas.len() < MAX_SET_RECORDS && !self.rdatas.contains(&record.rdata) {
            self.rdatas.push(record.rdata);
        }
    }

    /// Whether that name has it by itself, and not by a wildcard.
    pub(super) fn is_of(&self, name: &Name) -> bool {
        self.owner == *name
    }

    /// Where an alias leads.
    fn target(&self) -> Option<Name> {
        Name::from_wire(self.rdatas.first()?).ok()
    }

    /// Its records as those of a name.
    pub(super) fn stated<'t>(&'t self, owner: &'t Name) -> impl Iterator<Item = said::Stated<'t>> {
        let Set { rtype, ttl_s, .. } = *self;
        self.rdatas.iter().map(move |rdata| said::Stated { owner, rtype, ttl_s, rdata })
    }

    /// What is said of it, by itself.
    pub(super) fn truth(&self, say: impl FnOnce() -> Arc<Truth>) -> Arc<Truth> {
        Arc::clone(self.truth.get_or_init(say))
    }
}

impl Soa<'_> {
    /// The record.
    pub(super) fn stated(&self) -> said::Stated<'_> {
        said::Stated { owner: &self.zone, rtype: Rtype::SOA, ttl_s: self.ttl_s, rdata: &self.rdata }
    }
}

/// The start of authority of a zone that has none. RFC 6303 §3: the zone is its own MNAME, the serial 1.
fn made_up(zone: &Name, ttl_s: u32) -> Vec<u8> {
    Numbers { owner: zone, mname: zone, rname: &special::NOBODY, serial: 1, ttl_s }.rdata()
}

/// What may be so of a name, as the shape tells it: a zone of ours begins there, or one of others, or it has records by itself.
const OURS: u64 = 1;
/// See [`OURS`].
const ELSEWHERE: u64 = 2;
/// See [`OURS`].
const ALONE: u64 = 3;

/// A number for a name of which that is so.
fn hash(name: &[u8], so: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(name, so)
}
