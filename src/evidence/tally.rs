//! Sightings counted by key, in bounded memory: counts are exact, whatever the memory.
//!
//! A key is an order and family, an hour, as much of the client as is kept, a name, a type and a transport. When there is no room for
//! further keys, all are made coarser from the finest on: clients become networks, then nobody; then names become none. So a flood from
//! many clients for many names costs who asked for what, never how much was asked, by order, hour and day. How many clients there were
//! is a sketch by day, which needs no keys. What is left of a key is counted, and how many queries it cost how much.

use std::collections::HashMap;

use std::sync::Arc;

use super::client::{Kept, Pseudonyms};
use super::{PERIOD_DAYS, day_of, hour_of};
use crate::clients::{Clients, Privacy};
use crate::name::Name;
use crate::resolver::sightings::{Batch, Beyond, Rough, Sighting, Source};
use crate::sketch::{self, Sketch};
use crate::time::UnixSeconds;
use crate::transport::Transport;

/// Orders with families that are told apart; further ones are counted together.
const MAX_SOURCES: usize = 1 << 16;
/// What those are counted as.
const OTHERS: &str = "(others)";
/// The number of no name.
const NO_NAME: u32 = 0;
/// Octets of a key with its count and its octet of the table.
const KEY_OCTETS: usize = size_of::<(Key, Count)>() + 1;
/// The fewest keys there is room for.
const MIN_KEYS: usize = 1 << 10;
/// Octets of a name beside its own: both places where it stands, and its count.
const NAME_OCTETS: usize = 64;

/// What is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The order and family: a place in [`Tally::sources`].
    pub source: u32,
    /// The hour, from 1970.
    pub hour: u32,
    /// As much of the client as is kept.
    pub client: Kept,
    /// The name: a place in [`Tally::names`].
    pub name: u32,
    /// The type; 0 where no name is known either.
    pub qtype: u16,
    /// Whether it came by a stream.
    pub is_stream: bool,
}

/// What was counted of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Queries.
    pub count: u64,
    /// Seconds of the hour at which the first came.
    pub first: u16,
    /// Seconds of the hour at which the last came.
    pub last: u16,
    /// The port that the first came from, where a whole address is kept; else 0.
    pub port: u16,
}

/// What was counted of an order and family on a day.
#[derive(Clone, Debug, Default)]
pub struct Day {
    /// Queries: all of them.
    pub queries: Beyond,
    /// Who asked, as a number.
    pub clients: Sketch,
}

/// Queries of which less is known than their group lets be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coarse {
    /// Clients became networks.
    pub networks: u64,
    /// Clients became nobody.
    pub nobody: u64,
    /// Names became none, and types.
    pub nameless: u64,
    /// They are counted by order and day alone.
    pub bare: u64,
    /// They are not in the number of clients.
    pub unsketched: u64,
    /// Their orders were too many to be told apart.
    pub others: u64,
}

/// How coarse keys are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Grain {
    /// As fine as groups let them be.
    #[default]
    Fine,
    /// Clients are networks at most.
    Networks,
    /// Clients are nobody.
    Nobody,
    /// Names are none either.
    Nameless,
}

/// How a client is looked at.
#[derive(Debug)]
pub struct Lens<'l> {
    /// Who is in which group.
    pub clients: &'l Clients,
    /// How much is kept of those whose group does not say.
    pub privacy: Privacy,
    /// What stands for whom, today.
    pub pseudonyms: &'l mut Pseudonyms,
}

/// What was counted since it was begun.
#[derive(Debug)]
pub struct Tally {
    /// The most keys.
    max_keys: usize,
    /// The most octets of names, and of sketches.
    max_octets: usize,
    grain: Grain,
    keys: HashMap<Key, Count>,
    names: Vec<Arc<[u8]>>,
    places: HashMap<Arc<[u8]>, u32>,
    name_octets: usize,
    sources: Vec<Source>,
    numbers: HashMap<(String, String), u32>,
    days: HashMap<(u32, u32), Day>,
    sketch_octets: usize,
    /// What the hashes of clients are made by, and for which period.
    seed: Seed,
    coarse: Coarse,
    queries: u64,
}

/// What hashes of clients are made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Which [`PERIOD_DAYS`] it is for.
    pub period: u32,
    /// The key.
    pub key: u64,
}

impl Seed {
    /// A new one for the period of a time.
    pub fn at(at: UnixSeconds) -> Seed {
        Seed { period: day_of(at) / PERIOD_DAYS, key: rand::random() }
    }
}

impl Tally {
    /// One that has room for so many octets, a few MiB at least to be of use.
    pub fn new(octets: usize, seed: Seed) -> Tally {
        // Half for keys: a table has a power of two of places, of which seven of eight are taken.
        let places = ((octets / 2 / KEY_OCTETS).max(MIN_KEYS) + 1).next_power_of_two() / 2;
        let max_keys = places / 8 * 7;
        Tally {
            max_keys,
            max_octets: octets / 4,
            grain: Grain::Fine,
            keys: HashMap::new(),
            names: vec![Arc::default()],
            places: HashMap::new(),
            name_octets: 0,
            sources: Vec::new(),
            numbers: HashMap::new(),
            days: HashMap::new(),
            sketch_octets: 0,
            seed,
            coarse: Coarse::default(),
            queries: 0,
        }
    }

    /// Counts a batch; how many queries that were.
    pub fn add(&mut self, batch: &Batch, lens: &mut Lens<'_>) -> u64 {
        let before = self.queries;
        let numbers: Vec<u32> = batch.sources().iter().map(|source| self.number(source)).collect();
        for (source, number) in batch.sources().iter().zip(&numbers) {
            self.add_beyond(*number, &source.beyond, source.unsketched);
        }
        for rough in batch.rough() {
            self.add_rough(rough);
        }
        for sighting in batch.iter() {
            if let Some(number) = numbers.get(sighting.source) {
                self.add_one(*number, &sighting, lens);
            }
        }
        self.queries - before
    }

    /// Counts queries of which nothing is known but their order, if that.
    pub fn add_unknown(&mut self, count: u64, at: UnixSeconds) {
        if count > 0 {
            let number = self.others();
            self.coarse.others += count;
            self.add_beyond(number, &Beyond { count, first: at, last: at }, count);
        }
    }

    /// Queries in it: all.
    pub fn queries(&self) -> u64 {
        self.queries
    }

    /// How much less is known of some than could be.
    pub fn coarse(&self) -> Coarse {
        self.coarse
    }

    /// What was counted by key, in an order in which neighbours are stored side by side.
    pub fn sorted(&self) -> Vec<(&Key, &Count)> {
        let mut all: Vec<(&Key, &Count)> = self.keys.iter().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    /// The names of keys, in their wire form; the first is none.
    pub fn names(&self) -> &[Arc<[u8]>] {
        &self.names
    }

    /// The orders and families of keys.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// What was counted by order, family and day.
    pub fn days(&self) -> impl Iterator<Item = (u32, u32, &Day)> {
        self.days.iter().map(|((source, day), counted)| (*source, *day, counted))
    }

    /// What hashes of clients were made by.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Counts one query.
    fn add_one(&mut self, source: u32, sighting: &Sighting<'_>, lens: &mut Lens<'_>) {
        let Sighting { at, client, port, transport, qname, qtype, .. } = *sighting;
        let day = day_of(at);
        let hash = sketch::hash(client, self.seed.key);
        self.queries += 1;
        let counted = self.days.entry((source, day)).or_default();
        counted.queries.add(1, at, at);
        if !counted.take_in((&mut self.sketch_octets, self.max_octets), |clients| clients.insert(hash)) {
            self.coarse.unsketched += 1;
        }
        let privacy = lens.clients.privacy(client).unwrap_or(lens.privacy);
        let kept = Kept::of(client, privacy, lens.pseudonyms, day);
        let name = self.name(qname);
        let is_stream = transport != Transport::Udp;
        let key = Key { source, hour: hour_of(at), client: kept, name, qtype, is_stream };
        let second = (at.max(0) % super::HOUR_S) as u16;
        let port = if kept.address().is_some() { port } else { 0 };
        let count = Count { count: 1, first: second, last: second, port };
        let coarser = key.at(self.grain);
        self.coarse.note(&key, &coarser, 1);
        self.put(coarser, count);
    }

    /// Counts queries of which only the order is known; so many of them are in no sketch either.
    fn add_beyond(&mut self, source: u32, beyond: &Beyond, unsketched: u64) {
        if beyond.count > 0 {
            self.queries += beyond.count;
            let day = self.days.entry((source, day_of(beyond.last))).or_default();
            day.queries.add(beyond.count, beyond.first, beyond.last);
            self.coarse.bare += beyond.count;
            self.coarse.unsketched += unsketched;
        }
    }

    /// Takes in the clients of queries that were counted.
    fn add_rough(&mut self, rough: &Rough) {
        let source = self.number(&rough.source);
        let place = (source, day_of(rough.source.beyond.last));
        let day = self.days.entry(place).or_default();
        let room = (&mut self.sketch_octets, self.max_octets);
        // Hashes by another key are of other clients, as far as anybody can tell.
        if rough.key != self.seed.key || !day.take_in(room, |clients| clients.merge(&rough.clients)) {
            self.coarse.unsketched += rough.source.beyond.count;
        }
    }

    /// Counts by key, and makes keys coarser when there is no room for another one.
    fn put(&mut self, key: Key, count: Count) {
        if let Some(held) = self.keys.get_mut(&key) {
            return held.add(&count);
        }
        if self.keys.len() >= self.max_keys {
            match self.grain.coarser() {
                Some(grain) => self.coarsen(grain),
                None => {
                    self.coarse.bare += count.count;
                    return;
                }
            }
            let coarser = key.at(self.grain);
            self.coarse.note(&key, &coarser, count.count);
            return self.put(coarser, count);
        }
        self.keys.insert(key, count);
    }

    /// Makes all keys coarser.
    fn coarsen(&mut self, grain: Grain) {
        self.grain = grain;
        let fine = std::mem::take(&mut self.keys);
        for (key, count) in fine {
            let coarser = key.at(grain);
            self.coarse.note(&key, &coarser, count.count);
            // Of two that become one there is room for one.
            self.keys.entry(coarser).and_modify(|held| held.add(&count)).or_insert(count.at(&coarser));
        }
        // Nearly as many as before would be made coarser again at once.
        if self.keys.len() > self.max_keys / 8 * 7
            && let Some(grain) = grain.coarser()
        {
            self.coarsen(grain);
        }
    }

    /// The number of a name as it came; none where there is no room for it.
    fn name(&mut self, qname: &[u8]) -> u32 {
        if self.grain == Grain::Nameless {
            return NO_NAME;
        }
        // What was asked for was read before: it is a name.
        let Some(folded) = Name::at_start_of(qname) else { return NO_NAME };
        if let Some(number) = self.places.get(folded.as_wire()) {
            return *number;
        }
        let octets = folded.as_wire().len() + NAME_OCTETS;
        if self.name_octets + octets > self.max_octets {
            self.coarse.nameless += 1;
            return NO_NAME;
        }
        self.name_octets += octets;
        let number = self.names.len() as u32;
        let name: Arc<[u8]> = folded.as_wire().into();
        self.names.push(Arc::clone(&name));
        self.places.insert(name, number);
        number
    }

    /// The number of an order and family.
    fn number(&mut self, source: &Source) -> u32 {
        let key = (source.order.clone(), source.family.clone());
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        if self.sources.len() >= MAX_SOURCES {
            return self.others();
        }
        let number = self.sources.len() as u32;
        self.numbers.insert(key, number);
        self.sources.push(source.again());
        number
    }

    /// The number of orders that are not told apart.
    fn others(&mut self) -> u32 {
        let key = (OTHERS.to_owned(), String::new());
        let next = self.sources.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            let (order, family, tags) = (OTHERS.to_owned(), String::new(), String::new());
            self.sources.push(Source { order, family, tags, beyond: Beyond::default(), unsketched: 0 });
        }
        number
    }
}

impl Day {
    /// Takes clients in, if all sketches together have room for it: octets that they have, and may have.
    fn take_in(&mut self, (octets, most): (&mut usize, usize), take_in: impl FnOnce(&mut Sketch)) -> bool {
        // What has room for all registers grows no more.
        let before = self.clients.octets();
        if *octets > most && before < sketch::MAX_OCTETS {
            return false;
        }
        take_in(&mut self.clients);
        *octets += self.clients.octets().saturating_sub(before);
        true
    }
}

impl Key {
    /// What is left of it.
    fn at(&self, grain: Grain) -> Key {
        match grain {
            Grain::Fine => *self,
            Grain::Networks => Key { client: self.client.coarser(), ..*self },
            Grain::Nobody => Key { client: Kept::NOTHING, ..*self },
            Grain::Nameless => Key { client: Kept::NOTHING, name: NO_NAME, qtype: 0, ..*self },
        }
    }
}

impl Count {
    /// Takes in another.
    fn add(&mut self, other: &Count) {
        self.count = self.count.saturating_add(other.count);
        if other.first < self.first {
            (self.first, self.port) = (other.first, other.port);
        }
        self.last = self.last.max(other.last);
    }

    /// What is left of it beside that much of a key.
    fn at(self, key: &Key) -> Count {
        let port = if key.client.address().is_some() { self.port } else { 0 };
        Count { port, ..self }
    }
}

impl Coarse {
    /// Takes note of queries whose key became coarser.
    fn note(&mut self, key: &Key, coarser: &Key, count: u64) {
        if key.name != coarser.name || key.qtype != coarser.qtype {
            self.nameless += count;
        }
        match (key.client == coarser.client, coarser.client == Kept::NOTHING) {
            (true, _) => {}
            (false, true) => self.nobody += count,
            (false, false) => self.networks += count,
        }
    }

    /// All of them, with their names.
    pub fn named(&self) -> [(&'static str, u64); 6] {
        let Coarse { networks, nobody, nameless, bare, unsketched, others } = *self;
        [
            ("networks", networks),
            ("nobody", nobody),
            ("nameless", nameless),
            ("bare", bare),
            ("unsketched", unsketched),
            ("others", others),
        ]
    }

    /// Takes in others.
    pub fn add(&mut self, other: &Coarse) {
        self.networks += other.networks;
        self.nobody += other.nobody;
        self.nameless += other.nameless;
        self.bare += other.bare;
        self.unsketched += other.unsketched;
        self.others += other.others;
    }
}

impl Grain {
    /// The next one, if there is one.
    fn coarser(self) -> Option<Grain> {
        match self {
            Grain::Fine => Some(Grain::Networks),
            Grain::Networks => Some(Grain::Nobody),
            Grain::Nobody => Some(Grain::Nameless),
            Grain::Nameless => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::policy::{Action, Hit, MatchKind, Order, Scope, Trigger, TriggerType};
    use crate::resolver::outcome::Request;
    use crate::resolver::sightings::Sightings;
    use crate::serve::Client;
    use proptest::prelude::*;

    /// A second in November 2023, at the beginning of a day.
    pub(in crate::evidence) const AT: UnixSeconds = 19_675 * 86_400;

    /// What some scribe writes down: order, client, name, seconds after [`AT`].
    pub(in crate::evidence) fn batches(queries: &[(usize, IpAddr, u32, i64)]) -> Vec<Batch> {
        let scope = Scope {
            family: Some("Mirai".into()),
            tags: vec!["iot".into(), "ddos".into()],
            ..Scope::new(MatchKind::Exact)
        };
        let orders: Vec<Order> = (0..10)
            .map(|id| Order { scopes: vec![scope.clone()], ..Order::new(format!("order-{id}")) })
            .collect();
        let sightings = Sightings::on(1 << 30);
        let mut scribe = sightings.scribe().unwrap();
        for (order, client, name, after) in queries {
            let order = &orders[order % 10];
            let trigger = Trigger { labels: 2, kind: MatchKind::Exact, on: TriggerType::Qname, prefix: None };
            let hit = Hit { order, scope: &order.scopes[0], trigger, action: Action::SINKHOLE, zone: 0 };
            let label = format!("n{name}");
            let mut question = vec![label.len() as u8];
            question.extend(label.bytes());
            question.extend(b"\x04TesT\0\0\x01\0\x01");
            let client = Client { addr: (*client, 4000).into(), transport: Transport::Udp };
            scribe.note(
                &Request {
                    client,
                    question: &question,
                    at: AT + after,
                    packet: &[],
                    took: [std::time::Duration::ZERO; 2],
                },
                &hit,
            );
        }
        drop(scribe);
        std::iter::from_fn(|| sightings.next().map(|batch| *batch)).collect()
    }

    /// All of them counted in so much memory, as this lets it.
    pub(in crate::evidence) fn tally(batches: &[Batch], octets: usize, privacy: Privacy) -> Tally {
        let mut tally = Tally::new(octets, Seed { period: AT as u32 / 86_400 / PERIOD_DAYS, key: 1 });
        let (clients, mut pseudonyms) = (Clients::everyone(), Pseudonyms::default());
        let mut lens = Lens { clients: &clients, privacy, pseudonyms: &mut pseudonyms };
        for batch in batches {
            tally.add(batch, &mut lens);
        }
        tally
    }

    /// The client of a number.
    pub(in crate::evidence) fn client(number: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + number).to_be_bytes())
    }

    #[test]
    fn what_is_counted_by() {
        let batches = batches(&[
            (1, client(7), 1, 10),
            (1, client(7), 1, 5),
            (1, client(7), 1, 3700),
            (1, client(7), 2, 7),
            (2, client(8), 1, 9),
        ]);
        for (privacy, shown) in
            [(Privacy::Full, "10.0.0.7"), (Privacy::Prefix, "10.0.0.0/24"), (Privacy::None, "-")]
        {
            let tally = tally(&batches, 1 << 20, privacy);
            let sorted = tally.sorted();
            let all: Vec<(u32, u32, &str, u64, u16, u16)> = sorted
                .iter()
                .map(|(key, count)| {
                    let hour = key.hour - hour_of(AT);
                    let name = std::str::from_utf8(&tally.names()[key.name as usize][1..3]).unwrap();
                    (key.source, hour, name, count.count, count.first, count.last)
                })
                .collect();
            let expected = [
                (0, 0, "n1", 2, 5, 10),
                (0, 0, "n2", 1, 7, 7),
                (0, 1, "n1", 1, 100, 100),
                (1, 0, "n1", 1, 9, 9),
            ];
            assert_eq!(all, expected);
            assert_eq!(sorted[0].0.client.to_string(), shown);
            assert_eq!(sorted[0].1.port, if privacy == Privacy::Full { 4000 } else { 0 });
            assert_eq!(tally.sources()[0].tags, "iot;ddos");
            assert_eq!((tally.queries(), tally.coarse()), (5, Coarse::default()));
            let clients: u64 = tally.days().map(|(.., day)| day.clients.estimate()).sum();
            assert_eq!(clients, 2, "whatever is kept of them");
        }
    }

    #[test]
    fn a_flood_costs_detail_and_no_count() {
        // Ten orders, 3000 networks of ten clients, 500 names.
        let queries: Vec<_> = (0..150_000_u32)
            .map(|query| (query as usize, client(query % 30_000 * 25), query % 499, i64::from(query % 7200)))
            .collect();
        let batches = batches(&queries);
        let fine = tally(&batches, 256 << 20, Privacy::Full);
        assert_eq!((fine.coarse(), fine.keys.len()), (Coarse::default(), 150_000));
        for octets in [0, 64 << 10, 1 << 20, 8 << 20] {
            let tally = tally(&batches, octets, Privacy::Full);
            assert!(tally.grain > Grain::Fine, "{octets}");
            assert!(tally.keys.len() <= tally.max_keys);
            let by_day: u64 = tally.days().map(|(.., day)| day.queries.count).sum();
            let by_key: u64 = tally.keys.values().map(|count| count.count).sum();
            assert_eq!((tally.queries(), by_day, by_key + tally.coarse().bare), (150_000, 150_000, 150_000));
            assert_ne!(tally.coarse(), Coarse::default());
        }
    }

    #[test]
    fn queries_of_which_only_the_order_is_known_are_counted_by_day() {
        let mut tally = tally(&[], 1 << 20, Privacy::Full);
        tally.add_unknown(7, AT);
        tally.add_unknown(0, AT);
        tally.add_unknown(3, AT + 1);
        let days: Vec<_> =
            tally.days().map(|(source, day, counted)| (source, day, counted.queries)).collect();
        assert_eq!(days, [(0, day_of(AT), Beyond { count: 10, first: AT, last: AT + 1 })]);
        assert_eq!((tally.sources()[0].order.as_str(), tally.coarse().others), (OTHERS, 10));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn sums_are_exact_in_any_memory(
            octets in 0_usize..400_000,
            queries in prop::collection::vec((0_usize..10, 0_u32..5000, 0_u32..300, 0_i64..100_000), 0..6000),
            level in 0..4,
        ) {
            let privacy = [Privacy::Full, Privacy::Prefix, Privacy::Pseudonym, Privacy::None][level as usize];
            let queries: Vec<_> =
                queries.into_iter().map(|(order, who, name, after)| (order, client(who * 99), name, after)).collect();
            let tally = tally(&batches(&queries), octets, privacy);
            let total = queries.len() as u64;
            prop_assert_eq!(tally.queries(), total);
            let by_key: u64 = tally.keys.values().map(|count| count.count).sum();
            prop_assert_eq!(by_key + tally.coarse().bare, total);
            // By order as well, and by hour as far as keys are there at all.
            for (number, source) in tally.sources().iter().enumerate() {
                let of = |order: usize| format!("order-{order}") == source.order;
                let expected = queries.iter().filter(|(order, ..)| of(*order)).count() as u64;
                let days: u64 = tally.days().filter(|(of, ..)| *of == number as u32).map(|(.., day)| day.queries.count).sum();
                prop_assert_eq!(days, expected);
            }
            prop_assert!(tally.keys.len() <= tally.max_keys);
        }
    }
}
