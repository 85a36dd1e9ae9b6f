//! Sightings: queries that an order decided, written down for whoever counts them aside.
//!
//! Who answers has a [`Scribe`] with a [`Batch`] of its own and writes a few octets into it: no lock, no allocation, no wait, and for
//! what no order decided nothing at all. A batch that is full, or a second old, goes through a queue without a lock to the thread that
//! counts, and an empty one is taken in exchange. Where there is none, because the other side is behind, queries are still counted by
//! order, exactly, and their clients roughly ([`Sketch`]); who asked and for what is then not known of them, which is said.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;

use crossbeam_queue::ArrayQueue;

use super::outcome::Request;
use crate::policy::{Hit, Order, Scope};
use crate::serve::Client;
use crate::sketch::{self, Sketch};
use crate::time::UnixSeconds;
use crate::transport::Transport;

/// Queries that a batch holds: some milliseconds of a flood.
const RECORDS: usize = 4096;
/// Octets of their questions together: 32 for each.
const NAMES: usize = 32 * RECORDS;
/// Orders that a batch tells apart, with families.
const SOURCES: usize = 4096;
/// Octets of a batch.
const BATCH_OCTETS: usize = RECORDS * size_of::<Record>() + NAMES;
/// The fewest and the most batches under way, beside the one of each scribe.
const BATCHES: (usize, usize) = (8, 64);
/// The fewest and the most orders, with families, for which a scribe counts clients roughly where there is no room for more.
const SKETCHES: (usize, usize) = (16, 512);
/// Room for those whose scribes have ended.
const ENDED: usize = 64;
/// Scribes of those who have none of their own: more than threads that are likely to want one at the same moment.
const SHARED: usize = 16;
/// Places of a scribe's memory of orders, a power of two.
const PLACES: usize = 256;
/// Octets behind a question's name: type and class (RFC 1035 §4.1.2).
const BEHIND_NAME: usize = 4;

/// Where sightings go; clones are the same. None are made if it is off.
#[derive(Clone, Debug, Default)]
pub struct Sightings(Option<Arc<Inner>>);

/// What those who write and who counts share.
#[derive(Debug)]
struct Inner {
    exchange: Arc<Exchange>,
    /// Scribes of those who have none of their own.
    shared: Box<[Mutex<Scribe>]>,
    /// Queries for which none of them was free.
    missed: AtomicU64,
}

/// Batches on their way.
#[derive(Debug)]
struct Exchange {
    full: ArrayQueue<Box<Batch>>,
    free: ArrayQueue<Box<Batch>>,
    /// Who counts.
    counter: OnceLock<Thread>,
    /// What hashes of clients are made by.
    key: AtomicU64,
    /// For how many orders a scribe counts clients roughly.
    sketches: usize,
}

/// Writes down what one thread answers.
#[derive(Debug)]
pub struct Scribe {
    exchange: Arc<Exchange>,
    batch: Box<Batch>,
    /// When a batch was last handed over, or would have been.
    handed: UnixSeconds,
    /// Where scopes lie that were seen lately, and their numbers in the batch.
    places: Box<[(usize, u16); PLACES]>,
    /// Who asked beyond what batches had room for, since a second: of more than one batch, for a flood fills many in that time.
    rough: Vec<Rough>,
    /// Which of those is whose, by number in the batch, as far as that was asked.
    rough_of: Vec<Option<usize>>,
    /// When those began.
    rough_since: UnixSeconds,
}

/// What one thread wrote down.
#[derive(Debug)]
pub struct Batch {
    /// Queries, in their order.
    records: Vec<Record>,
    /// Their questions as they came, one behind the other.
    names: Vec<u8>,
    /// The orders behind them.
    sources: Vec<Source>,
    /// Clients of this batch's queries and of earlier ones' that are not known one by one.
    rough: Vec<Rough>,
}

/// An order and a family it names, as a batch knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The order's id.
    pub order: String,
    /// The family; empty if none is named.
    pub family: String,
    /// Words for reports, `;` between them.
    pub tags: String,
    /// Queries of which nothing else is known, for want of room.
    pub beyond: Beyond,
    /// Those of them whose clients are in no sketch either.
    pub unsketched: u64,
}

/// Roughly the clients of queries that are not known one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rough {
    /// Whose queries they were, and how many; batches have counted them.
    pub source: Source,
    /// Their clients.
    pub clients: Sketch,
    /// What that is made by.
    pub key: u64,
}

/// How many queries there were beyond those that are known one by one, and between when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// How many.
    pub count: u64,
    /// When the first of them came.
    pub first: UnixSeconds,
    /// When the last of them did.
    pub last: UnixSeconds,
}

/// One query in a batch.
#[derive(Clone, Copy, Debug)]
struct Record {
    at: UnixSeconds,
    /// Copied whole: to look which family it is of costs more.
    client: SocketAddr,
    is_stream: bool,
    source: u16,
    /// Where its question ends.
    end: u32,
}

/// One query that an order decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting<'b> {
    /// When it came.
    pub at: UnixSeconds,
    /// Who asked.
    pub client: IpAddr,
    /// From which port.
    pub port: u16,
    /// How.
    pub transport: Transport,
    /// Which of the batch's sources decided.
    pub source: usize,
    /// For what name, as it came.
    pub qname: &'b [u8],
    /// Of which type.
    pub qtype: u16,
}

impl Sightings {
    /// None are made.
    pub fn off() -> Sightings {
        Sightings(None)
    }

    /// They are made, and somebody counts them. Of so many octets, of which only a flood touches more than a little, a sixteenth is for
    /// batches under way, and as much for the sketches of each who answers.
    pub fn on(octets: usize) -> Sightings {
        let batches = (octets / 16 / BATCH_OCTETS).clamp(BATCHES.0, BATCHES.1);
        let sketches = (octets / 16 / sketch::MAX_OCTETS).clamp(SKETCHES.0, SKETCHES.1);
        let (full, free) = (ArrayQueue::new(batches + ENDED), ArrayQueue::new(batches));
        for _ in 0..batches {
            // There is room for exactly so many.
            let _ = free.push(Box::default());
        }
        let exchange =
            Arc::new(Exchange { full, free, counter: OnceLock::new(), key: AtomicU64::new(0), sketches });
        let scribe = |_| Mutex::new(Scribe::new(Arc::clone(&exchange)));
        let shared = (0..SHARED).map(scribe).collect();
        Sightings(Some(Arc::new(Inner { exchange, shared, missed: AtomicU64::new(0) })))
    }

    /// Whether they are made.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A scribe for one thread, if they are made.
    pub fn scribe(&self) -> Option<Scribe> {
        self.0.as_ref().map(|inner| Scribe::new(Arc::clone(&inner.exchange)))
    }

    /// Writes down what some thread answers that has no scribe. It waits for nobody: one of those that are shared is free, or the query
    /// is counted and no more.
    pub fn note(&self, request: &Request<'_>, hit: &Hit<'_>) {
        let Some(inner) = &self.0 else { return };
        for scribe in &inner.shared {
            let mut scribe = match scribe.try_lock() {
                Ok(scribe) => scribe,
                Err(TryLockError::Poisoned(scribe)) => scribe.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            // Queries of several generations come here: what lay there may have been another's.
            scribe.forget_unless(hit);
            return scribe.note(request, hit);
        }
        inner.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on it is this thread that counts: it is woken when there is something to count.
    pub fn count_here(&self) {
        if let Some(inner) = &self.0 {
            // A thread that broke off is succeeded by one that looks by itself as often as is needed.
            let _ = inner.exchange.counter.set(std::thread::current());
        }
    }

    /// Hashes of clients are made by that key from now on.
    pub fn hash_by(&self, key: u64) {
        self.0.iter().for_each(|inner| inner.exchange.key.store(key, Ordering::Relaxed));
    }

    /// Has those that are shared hand over what they have.
    pub fn gather(&self) {
        for scribe in self.0.iter().flat_map(|inner| &inner.shared) {
            // Held for as long as a query takes to be written down, and then it is this thread that holds it for less.
            scribe.lock().unwrap_or_else(PoisonError::into_inner).hand_over();
        }
    }

    /// The next batch to be counted.
    pub fn next(&self) -> Option<Box<Batch>> {
        self.0.as_ref()?.exchange.full.pop()
    }

    /// Takes a batch back that was counted.
    pub fn take_back(&self, mut batch: Box<Batch>) {
        batch.clear();
        if let Some(inner) = &self.0 {
            // One too many is that of a scribe that has ended.
            let _ = inner.exchange.free.push(batch);
        }
    }

    /// Queries of which not even the order is known: so many wrote at one moment that nobody was free.
    pub fn missed(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.missed.load(Ordering::Relaxed))
    }
}

impl Scribe {
    /// One that has written nothing yet.
    fn new(exchange: Arc<Exchange>) -> Scribe {
        Scribe {
            exchange,
            batch: Box::default(),
            handed: 0,
            places: Box::new([(0, 0); PLACES]),
            rough: Vec::new(),
            rough_of: Vec::new(),
            rough_since: 0,
        }
    }

    /// Writes a query down that an order decided. The scope must lie where it lay until [`Scribe::forget`].
    // In place, in parts: what is handed over whole has to lie in memory first, and a call costs as much as all the rest.
    #[inline(always)]
    pub fn note(&mut self, request: &Request<'_>, hit: &Hit<'_>) {
        self.write(request.at, request.client, request.question, (hit.order, hit.scope));
    }

    /// Writes it down.
    #[inline(always)]
    fn write(&mut self, at: UnixSeconds, client: Client, question: &[u8], of: (&Order, &Scope)) {
        let scope = std::ptr::from_ref(of.1).addr();
        let (known, source) = self.places[place_of(scope)];
        let source = if known == scope { source } else { self.learn(of, at) };
        let batch = &mut *self.batch;
        if batch.records.len() == RECORDS || batch.names.len() + question.len() > NAMES {
            return self.go_on(at, client, question, of);
        }
        batch.names.extend_from_slice(question);
        batch.records.push(Record {
            at,
            client: client.addr,
            is_stream: client.transport != Transport::Udp,
            source,
            end: batch.names.len() as u32,
        });
    }

    /// Hands over what was written, once a second.
    #[inline]
    pub fn tick(&mut self, at: UnixSeconds) {
        if at != self.handed && !self.batch.is_empty() {
            self.handed = at;
            self.hand_over();
        }
    }

    /// Forgets where scopes lie: others may lie there from now on.
    pub fn forget(&mut self) {
        self.places.fill((0, 0));
    }

    /// Forgets where a scope lies if what lies there now says something else.
    fn forget_unless(&mut self, hit: &Hit<'_>) {
        let scope = std::ptr::from_ref(hit.scope).addr();
        let place = &mut self.places[place_of(scope)];
        let is_it = |source: &Source| {
            source.order == hit.order.id && source.family == hit.scope.family.as_deref().unwrap_or_default()
        };
        if place.0 == scope && !self.batch.sources.get(usize::from(place.1)).is_some_and(is_it) {
            *place = (0, 0);
        }
    }

    /// Gives a scope a number in the batch; the last one there is stands for all further ones.
    #[cold]
    fn learn(&mut self, (order, scope): (&Order, &Scope), at: UnixSeconds) -> u16 {
        if self.batch.sources.len() == SOURCES && !self.hand_over() {
            // Rather a wrong family of the right order than none.
            let same = |source: &Source| source.order == order.id;
            let place = self.batch.sources.iter().position(same).unwrap_or(SOURCES - 1);
            return place as u16;
        }
        let number = self.batch.sources.len() as u16;
        self.batch.sources.push(Source {
            order: order.id.clone(),
            family: scope.family.clone().unwrap_or_default(),
            tags: scope.tags.join(";"),
            beyond: Beyond { count: 0, first: at, last: at },
            unsketched: 0,
        });
        let scope = std::ptr::from_ref(scope).addr();
        self.places[place_of(scope)] = (scope, number);
        number
    }

    /// Goes on in another batch; where there is none, the query is counted.
    #[cold]
    fn go_on(&mut self, at: UnixSeconds, client: Client, question: &[u8], of: (&Order, &Scope)) {
        let is_rough = !self.rough.is_empty() && self.rough_since == at;
        let is_empty = if is_rough { self.go_over() } else { self.hand_over() };
        if is_empty {
            self.write(at, client, question, of);
            return;
        }
        let scope = std::ptr::from_ref(of.1).addr();
        let (known, source) = self.places[place_of(scope)];
        let source = if known == scope { source } else { self.learn(of, at) };
        let rough = self.rough(usize::from(source), at);
        let Some(source) = self.batch.sources.get_mut(usize::from(source)) else { return };
        source.beyond.add(1, at, at);
        match rough.and_then(|rough| self.rough.get_mut(rough)) {
            Some(rough) => {
                rough.source.beyond.add(1, at, at);
                rough.clients.insert(sketch::hash(client.addr.ip(), rough.key));
            }
            None => source.unsketched += 1,
        }
    }

    /// Where the clients of a source of the batch are counted roughly, if there is room for them.
    fn rough(&mut self, number: usize, at: UnixSeconds) -> Option<usize> {
        if let Some(Some(known)) = self.rough_of.get(number) {
            return Some(*known);
        }
        if self.rough.len() == self.exchange.sketches {
            return None;
        }
        let source = self.batch.sources.get(number)?;
        // It has two numbers if it lay at two places, before a reload and behind it.
        let is_it =
            |rough: &Rough| rough.source.order == source.order && rough.source.family == source.family;
        let place = self.rough.iter().position(is_it).unwrap_or_else(|| {
            if self.rough.is_empty() {
                self.rough_since = at;
            }
            let key = self.exchange.key.load(Ordering::Relaxed);
            self.rough.push(Rough { source: source.again(), clients: Sketch::whole(), key });
            self.rough.len() - 1
        });
        self.rough_of.resize(self.rough_of.len().max(number + 1), None);
        self.rough_of[number] = Some(place);
        Some(place)
    }

    /// Hands over what was written, with the clients that were counted roughly; false if there is no batch to go on in.
    fn hand_over(&mut self) -> bool {
        if self.batch.is_empty() {
            return true;
        }
        let Some(empty) = self.exchange.free.pop() else { return false };
        let written = std::mem::replace(&mut self.batch, empty);
        self.send(written);
        true
    }

    /// Hands over a batch, with the clients that were counted roughly, and begins anew.
    fn send(&mut self, mut written: Box<Batch>) {
        self.forget();
        self.rough_of.clear();
        written.rough = std::mem::take(&mut self.rough);
        self.exchange.hand_over(written);
    }

    /// Hands over what was written within the second for which clients are counted roughly, and goes on with the same orders.
    fn go_over(&mut self) -> bool {
        let Some(mut empty) = self.exchange.free.pop() else { return false };
        empty.sources.extend(self.batch.sources.iter().map(Source::again));
        self.exchange.hand_over(std::mem::replace(&mut self.batch, empty));
        true
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        if !self.batch.is_empty() {
            let written = std::mem::take(&mut self.batch);
            self.send(written);
        }
    }
}

impl Exchange {
    /// Gives a batch to who counts. There is room for all that are under way, and for those of scribes that have ended.
    fn hand_over(&self, batch: Box<Batch>) {
        let _ = self.full.push(batch);
        if let Some(counter) = self.counter.get() {
            counter.unpark();
        }
    }
}

impl Default for Batch {
    fn default() -> Batch {
        // Memory that is not written is not there: the system gives it page by page.
        Batch {
            records: Vec::with_capacity(RECORDS),
            names: Vec::with_capacity(NAMES),
            sources: Vec::new(),
            rough: Vec::new(),
        }
    }
}

impl Batch {
    /// Whether nothing was written.
    fn is_empty(&self) -> bool {
        // Whatever is counted has a source.
        self.sources.is_empty()
    }

    /// Forgets all, and keeps the memory.
    fn clear(&mut self) {
        self.records.clear();
        self.names.clear();
        self.sources.clear();
        self.rough = Vec::new();
    }

    /// Clients of its queries, and of those of earlier batches, that are not known one by one.
    pub fn rough(&self) -> &[Rough] {
        &self.rough
    }

    /// The orders behind its queries.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Its queries.
    pub fn iter(&self) -> impl Iterator<Item = Sighting<'_>> {
        let mut start = 0;
        self.records.iter().map(move |record| {
            let end = record.end as usize;
            let question = self.names.get(start..end).unwrap_or_default();
            start = end;
            // Type and class are behind every name that was read.
            let (qname, behind) =
                question.split_last_chunk::<BEHIND_NAME>().unwrap_or((question, &[0; BEHIND_NAME]));
            Sighting {
                at: record.at,
                client: record.client.ip(),
                port: record.client.port(),
                transport: if record.is_stream { Transport::Tcp } else { Transport::Udp },
                source: usize::from(record.source),
                qname,
                qtype: u16::from_be_bytes([behind[0], behind[1]]),
            }
        })
    }
}

impl Source {
    /// The same, of which nothing was counted.
    pub fn again(&self) -> Source {
        Source { beyond: Beyond::default(), unsketched: 0, ..self.clone() }
    }
}

impl Beyond {
    /// Takes in so many more, between these times.
    pub fn add(&mut self, count: u64, first: UnixSeconds, last: UnixSeconds) {
        if self.count == 0 {
            (self.first, self.last) = (first, last);
        }
        self.count = self.count.saturating_add(count);
        self.first = self.first.min(first);
        self.last = self.last.max(last);
    }
}

/// The place of a scope.
#[inline]
fn place_of(scope: usize) -> usize {
    // Scopes stand at multiples of eight octets; the golden ratio spreads them (Knuth, TAOCP vol. 3, 6.4).
    ((scope as u64 >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Action, MatchKind, Trigger, TriggerType};

    /// Octets enough for the most batches.
    const MANY: usize = 1 << 30;

    /// An order with one scope, of a family.
    fn order(id: &str, family: &str) -> Order {
        let scope = Scope { family: Some(family.into()), ..Scope::new(MatchKind::Exact) };
        Order { scopes: vec![scope], ..Order::new(id) }
    }

    /// Its hit.
    fn hit(order: &Order) -> Hit<'_> {
        let trigger = Trigger { labels: 2, kind: MatchKind::Exact, on: TriggerType::Qname, prefix: None };
        Hit { order, scope: &order.scopes[0], trigger, action: Action::SINKHOLE, zone: 0 }
    }

    /// A query for `www.` by `192.0.2.HOST` at a second.
    fn request(host: u8, at: UnixSeconds) -> Request<'static> {
        let addr = ([192, 0, 2, host], 5353).into();
        let question = b"\x03WWW\0\0\x1c\0\x01";
        Request {
            client: Client { addr, transport: Transport::Udp },
            question,
            at,
            packet: &[],
            took: [std::time::Duration::ZERO; 2],
        }
    }

    /// Queries of each order in all batches that were handed over: those known one by one, and those beyond.
    fn counted(sightings: &Sightings) -> Vec<(String, u64, u64)> {
        let mut counts = std::collections::BTreeMap::<String, (u64, u64)>::new();
        while let Some(batch) = sightings.next() {
            for source in batch.sources() {
                counts.entry(source.order.clone()).or_default().1 += source.beyond.count;
            }
            for sighting in batch.iter() {
                counts.entry(batch.sources()[sighting.source].order.clone()).or_default().0 += 1;
            }
            sightings.take_back(batch);
        }
        counts.into_iter().map(|(order, (known, beyond))| (order, known, beyond)).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let sightings = Sightings::on(MANY);
        let mut scribe = sightings.scribe().unwrap();
        let order = order("a", "Mirai");
        scribe.note(&request(7, 100), &hit(&order));
        scribe.tick(100);
        let batch = sightings.next().unwrap();
        assert_eq!((batch.sources()[0].order.as_str(), batch.sources()[0].family.as_str()), ("a", "Mirai"));
        let client = "192.0.2.7".parse().unwrap();
        let (transport, qname) = (Transport::Udp, &b"\x03WWW\0"[..]);
        let expected = Sighting { at: 100, client, port: 5353, transport, source: 0, qname, qtype: 28 };
        assert_eq!(batch.iter().collect::<Vec<_>>(), [expected]);
        assert!(sightings.next().is_none());
    }

    #[test]
    fn a_batch_is_handed_over_once_a_second_and_when_its_scribe_ends() {
        let sightings = Sightings::on(MANY);
        let mut scribe = sightings.scribe().unwrap();
        let order = order("a", "x");
        for (at, expected) in [(100, 1), (100, 0), (101, 2)] {
            scribe.note(&request(7, at), &hit(&order));
            scribe.tick(at);
            let known: u64 = counted(&sightings).iter().map(|(_, known, _)| known).sum();
            assert_eq!(known, expected, "{at}");
        }
        scribe.note(&request(7, 101), &hit(&order));
        drop(scribe);
        assert_eq!(counted(&sightings), [("a".to_owned(), 1, 0)]);
    }

    #[test]
    fn counts_are_exact_however_far_behind_who_counts_is() {
        let sightings = Sightings::on(MANY);
        let mut scribe = sightings.scribe().unwrap();
        let (one, other) = (order("a", "x"), order("b", "y"));
        let most = (BATCHES.1 + 1) * RECORDS;
        for query in 0..most + 3000 {
            scribe.note(&request(query as u8, 100), &hit(if query % 3 == 0 { &one } else { &other }));
        }
        drop(scribe);
        let counts = counted(&sightings);
        let known: u64 = counts.iter().map(|(_, known, _)| known).sum();
        assert_eq!(known as usize, most);
        let all: Vec<(&str, u64)> =
            counts.iter().map(|(order, known, beyond)| (order.as_str(), known + beyond)).collect();
        let total = (most + 3000) as u64;
        assert_eq!(all, [("a", total.div_ceil(3)), ("b", total - total.div_ceil(3))]);
        // It goes on as before once there are batches again.
        let mut scribe = sightings.scribe().unwrap();
        scribe.note(&request(7, 101), &hit(&one));
        drop(scribe);
        assert_eq!(counted(&sightings), [("a".to_owned(), 1, 0)]);
    }

    #[test]
    fn clients_are_counted_roughly_where_there_is_room_for_no_more() {
        let sightings = Sightings::on(MANY);
        sightings.hash_by(7);
        let mut scribe = sightings.scribe().unwrap();
        let order = order("a", "x");
        let asks = |scribe: &mut Scribe, host: u32| {
            let addr = (std::net::Ipv4Addr::from_bits(0x0a00_0000 + host), 5353).into();
            scribe.note(
                &Request { client: Client { addr, transport: Transport::Udp }, ..request(0, 100) },
                &hit(&order),
            );
        };
        (0..((BATCHES.1 + 1) * RECORDS) as u32).for_each(|_| asks(&mut scribe, 1));
        // Each twice, all behind what there is room for.
        (0..100_000).for_each(|host| asks(&mut scribe, 1000 + host / 2));
        drop(scribe);
        let mut beyond = (0, Sketch::default());
        while let Some(batch) = sightings.next() {
            beyond.0 += batch.sources().iter().map(|source| source.beyond.count).sum::<u64>();
            for rough in batch.rough() {
                assert_eq!((rough.key, rough.source.order.as_str()), (7, "a"));
                beyond.1.merge(&rough.clients);
            }
            sightings.take_back(batch);
        }
        let clients = beyond.1.estimate();
        assert!(beyond.0 == 100_000 && (49_000..=51_000).contains(&clients), "{} {clients}", beyond.0);
    }

    #[test]
    fn more_orders_than_a_batch_tells_apart_are_told_apart_by_several() {
        let sightings = Sightings::on(MANY);
        let mut scribe = sightings.scribe().unwrap();
        let orders: Vec<Order> = (0..2 * SOURCES + 10).map(|id| order(&format!("o{id}"), "x")).collect();
        orders.iter().for_each(|order| scribe.note(&request(1, 100), &hit(order)));
        drop(scribe);
        let counts = counted(&sightings);
        assert_eq!(counts.len(), orders.len());
        assert!(counts.iter().all(|(_, known, beyond)| (*known, *beyond) == (1, 0)));
    }

    #[test]
    fn several_threads_share_those_that_are_shared() {
        let sightings = Sightings::on(MANY);
        let orders = [order("a", "x"), order("b", "y")];
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let (sightings, orders) = (&sightings, &orders);
                scope.spawn(move || {
                    for query in 0..2000_usize {
                        sightings.note(&request(1, 100), &hit(&orders[(thread + query) % 2]));
                    }
                });
            }
        });
        sightings.gather();
        assert_eq!(sightings.missed(), 0);
        assert_eq!(counted(&sightings), [("a".to_owned(), 4000, 0), ("b".to_owned(), 4000, 0)]);
    }

    #[test]
    fn another_order_at_the_same_place_is_another_order() {
        let sightings = Sightings::on(MANY);
        let mut order = order("a", "x");
        sightings.note(&request(1, 100), &hit(&order));
        order.id = "b".into();
        sightings.note(&request(1, 100), &hit(&order));
        sightings.gather();
        assert_eq!(counted(&sightings), [("a".to_owned(), 1, 0), ("b".to_owned(), 1, 0)]);
        assert_eq!(Sightings::off().scribe().map(|_| ()), None);
    }

    #[test]
    fn clients_are_counted_roughly_for_a_second_and_for_so_many_orders() {
        let sightings = Sightings::on(0);
        let mut scribe = sightings.scribe().unwrap();
        let orders: Vec<Order> = (0..SKETCHES.0 + 4).map(|id| order(&format!("o{id}"), "x")).collect();
        let mut flood = |at| {
            for query in 0..(BATCHES.0 + 2) * RECORDS {
                scribe.note(&request(query as u8, at), &hit(&orders[query % orders.len()]));
            }
        };
        let drained = || {
            let (mut rough, mut beyond, mut unsketched) = (Vec::new(), 0, 0);
            while let Some(batch) = sightings.next() {
                for source in batch.sources() {
                    beyond += source.beyond.count;
                    unsketched += source.unsketched;
                }
                rough.extend(batch.rough().iter().map(|rough| rough.source.beyond.count));
                sightings.take_back(batch);
            }
            (rough.len(), rough.iter().sum::<u64>(), beyond, unsketched)
        };
        // All batches are under way, and what is beyond them waits in the last one.
        flood(100);
        assert_eq!(drained(), (0, 0, 0, 0));
        // That goes with it; sketches stay for the rest of the second.
        flood(100);
        let (sketches, _, beyond, unsketched) = drained();
        assert_eq!((sketches, beyond), (0, RECORDS as u64), "{unsketched} in none");
        // In another second they go, too.
        flood(101);
        let (sketches, counted, beyond, unsketched) = drained();
        assert_eq!(
            (sketches, beyond),
            (SKETCHES.0, 2 * RECORDS as u64),
            "{counted} counted, {unsketched} in none"
        );
        drop(scribe);
        drained();
    }

    #[test]
    fn nothing_is_allocated_while_queries_are_written() {
        let sightings = Sightings::on(MANY);
        let mut scribe = sightings.scribe().unwrap();
        let order = order("a", "x");
        let before = (scribe.batch.records.as_ptr(), scribe.batch.names.as_ptr());
        (0..RECORDS).for_each(|_| scribe.note(&request(1, 100), &hit(&order)));
        assert_eq!((scribe.batch.records.as_ptr(), scribe.batch.names.as_ptr()), before);
    }
}
