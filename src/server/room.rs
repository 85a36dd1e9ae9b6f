//! Room for queries that wait for an upstream, over all listeners: bounded in all and for each client. When it is full, the
//! client who has most in it gives way; and where that is who comes, or nobody, what has waited for long.
//!
//! Whoever asks for names that hang would otherwise hold every place, and nobody else's misses would be answered. And
//! whoever has replies pile up for one address, to have them leave at the same moment, would make a pulse of them
//! (DNSBomb, CVE-2024-33655): so waits are few for each client, and of those that took long fewer still are told.
//!
//! Every step costs the same however many wait: clients are kept in lists by how many of theirs wait, and a client's waits
//! in a list by age.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::access::client_of;

/// Replies that came too late and are told all the same, for each client: a pulse of so few is none, and most stub
/// resolvers still listen after the two seconds from which on a reply is late (glibc for five: resolv.conf(5)).
const TOLD_LATE: usize = 16;

/// How long a query waits before it gives way to one that comes: as long as a question is asked before it does (Unbound's
/// jostle-timeout). Half of the places, in all and of each client, are held to the end: where all is slow, some are answered.
const LONG: Duration = Duration::from_millis(200);

/// How much room there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Waits at one time.
    pub(super) all: usize,
    /// Waits of one client at one time.
    pub(super) per_client: usize,
    /// The age from which on a reply is late; none if it never is.
    pub(super) late: Option<Duration>,
}

/// Who waits.
#[derive(Debug)]
pub(super) struct Room {
    waits: Arc<Mutex<Waits>>,
    /// Keyed anew at every start: nobody can make two queries look alike.
    hasher: RandomState,
}

/// What came of asking for a place.
#[derive(Debug)]
pub(super) enum Admission {
    /// It has one; perhaps somebody else gave way for it.
    Place(Place),
    /// The very same datagram waits already: one reply is enough.
    Twice,
    /// Its client has as many as one may have, and none of those has waited for long.
    ClientFull,
    /// There is none, nobody has more than its client, and nothing has waited for long.
    Full,
}

/// A query's place, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    waits: Arc<Mutex<Waits>>,
    ticket: Ticket,
    late: Option<Duration>,
    /// Told when the place was given to somebody else.
    give_way: oneshot::Receiver<()>,
}

/// Names a wait; no two have the same.
type Ticket = u64;

/// Hashes numbers that nobody chooses: tickets are counted, and what is made of datagrams is keyed.
type Spreading = BuildHasherDefault<Spread>;

/// A number, spread over 64 bits (Knuth, The Art of Computer Programming, volume 3, 6.4: 2^64 by the golden ratio).
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|octet| self.write_u64(self.0 ^ u64::from(*octet)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// All waits.
#[derive(Debug)]
struct Waits {
    bounds: Bounds,
    waits: HashMap<Ticket, Wait, Spreading>,
    clients: HashMap<IpAddr, Client>,
    /// The clients who have so many waits, at that index; in no order.
    by_count: Vec<Vec<IpAddr>>,
    /// The most that one client has.
    most: usize,
    /// Those that are held to the end.
    lasting: usize,
    /// Of the others none has a lower ticket.
    others_from: Ticket,
    /// The waits of datagrams, by what makes them the same.
    datagrams: HashMap<u64, Ticket, Spreading>,
    /// The ticket of the next one.
    next: Ticket,
}

/// One query that waits.
#[derive(Debug)]
struct Wait {
    client: IpAddr,
    /// The same client's waits before and after it.
    older: Option<Ticket>,
    newer: Option<Ticket>,
    /// When it was last asked for.
    since: Instant,
    datagram: Option<u64>,
    /// Whether it is held to the end, however long it waits.
    lasts: bool,
    give_way: oneshot::Sender<()>,
}

/// One client's waits.
#[derive(Clone, Copy, Debug)]
struct Client {
    count: usize,
    /// Its index among the clients who have as many.
    at: usize,
    oldest: Ticket,
    newest: Ticket,
    /// Those that are held to the end.
    lasting: usize,
    /// The oldest of the others.
    other: Option<Ticket>,
}

impl Room {
    /// An empty one.
    pub(super) fn new(bounds: Bounds) -> Room {
        let waits = Waits {
            bounds,
            waits: HashMap::default(),
            clients: HashMap::new(),
            by_count: Vec::new(),
            most: 0,
            lasting: 0,
            others_from: 0,
            datagrams: HashMap::default(),
            next: 0,
        };
        Room { waits: Arc::new(Mutex::new(waits)), hasher: RandomState::new() }
    }

    /// Sets other bounds for whoever comes from now on.
    pub(super) fn bound(&self, bounds: Bounds) {
        lock(&self.waits).bounds = bounds;
    }

    /// Queries that wait, and how many may.
    pub(super) fn taken(&self) -> (usize, usize) {
        let waits = lock(&self.waits);
        (waits.waits.len(), waits.bounds.all)
    }

    /// A place for a query of `from` that came at `now`; `datagram` holds its octets if it came as one.
    ///
    /// A datagram that is sent again while it waits makes its wait young again, and takes no second place.
    pub(super) fn admit(&self, from: SocketAddr, datagram: Option<&[u8]>, now: Instant) -> Admission {
        let client = client_of(from.ip());
        let datagram = datagram.map(|octets| self.hasher.hash_one((from, octets)));
        let mut waits = lock(&self.waits);
        let twin = datagram.and_then(|datagram| waits.datagrams.get(&datagram).copied());
        if let Some(twin) = twin.and_then(|twin| waits.waits.get_mut(&twin)) {
            twin.since = now;
            return Admission::Twice;
        }
        let theirs = waits.clients.get(&client).map_or(0, |client| client.count);
        let (all_taken, theirs_taken) =
            (waits.waits.len() >= waits.bounds.all, theirs >= waits.bounds.per_client);
        // With one more than the newcomer's client has now, the two would merely change places.
        if theirs_taken || (all_taken && waits.most <= theirs + 1) {
            if !waits.has_long_one_give_way(client, now) {
                return if theirs_taken { Admission::ClientFull } else { Admission::Full };
            }
        } else if all_taken {
            waits.relieve();
        }
        let (sender, give_way) = oneshot::channel();
        let ticket = waits.add(client, datagram, now, sender);
        let late = waits.bounds.late;
        Admission::Place(Place { waits: Arc::clone(&self.waits), ticket, late, give_way })
    }
}

impl Place {
    /// Ends when the place was given to somebody else.
    pub(super) async fn given_away(&mut self) {
        // An error would mean that the wait is over without anybody having been told, which only drop does.
        let _ = (&mut self.give_way).await;
    }

    /// Whether a reply that is there at `now` is to be kept back: it took long, and its client has many that wait.
    pub(super) fn is_too_late(&self, now: Instant) -> bool {
        let waits = lock(&self.waits);
        let Some(wait) = waits.waits.get(&self.ticket) else { return false };
        let theirs = waits.clients.get(&wait.client).map_or(0, |client| client.count);
        theirs > TOLD_LATE && self.late.is_some_and(|late| now.saturating_duration_since(wait.since) > late)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.waits).remove(self.ticket);
    }
}

impl Waits {
    /// Notes one more wait.
    fn add(
        &mut self,
        client: IpAddr,
        datagram: Option<u64>,
        since: Instant,
        give_way: oneshot::Sender<()>,
    ) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        let before = self.clients.get(&client).copied();
        let older = before.map(|client| client.newest);
        if let Some(older) = older.and_then(|older| self.waits.get_mut(&older)) {
            older.newer = Some(ticket);
        }
        let nothing = Client { count: 0, at: 0, oldest: ticket, newest: ticket, lasting: 0, other: None };
        let theirs = before.unwrap_or(nothing);
        let lasts = self.lasting < self.bounds.all / 2 && theirs.lasting < self.bounds.per_client / 2;
        self.lasting += usize::from(lasts);
        let after = Client {
            count: theirs.count + 1,
            newest: ticket,
            lasting: theirs.lasting + usize::from(lasts),
            other: theirs.other.or((!lasts).then_some(ticket)),
            ..theirs
        };
        self.recount(client, before, after);
        if let Some(datagram) = datagram {
            self.datagrams.insert(datagram, ticket);
        }
        self.waits.insert(ticket, Wait { client, older, newer: None, since, datagram, lasts, give_way });
        ticket
    }

    /// Has the client with the most waits lose its oldest: that one is the likeliest to hang.
    fn relieve(&mut self) {
        let heaviest = self.by_count.get(self.most).and_then(|clients| clients.last());
        let oldest = heaviest.and_then(|client| self.clients.get(client)).map(|client| client.oldest);
        if let Some(oldest) = oldest {
            self.give_away(oldest);
        }
    }

    /// Has a wait that is not held to the end give way to one of `client` if it has been long: the client's own oldest, or where it has
    /// none the oldest of all, for nobody has more than one then. Whether one did.
    fn has_long_one_give_way(&mut self, client: IpAddr, now: Instant) -> bool {
        let oldest = match self.clients.get(&client) {
            Some(theirs) => theirs.other,
            None => self.oldest_other(),
        };
        let is_long = |wait: &Wait| now.saturating_duration_since(wait.since) >= LONG;
        match oldest.filter(|oldest| self.waits.get(oldest).is_some_and(is_long)) {
            Some(oldest) => self.give_away(oldest),
            None => return false,
        }
        true
    }

    /// The oldest wait that is not held to the end. Tickets are passed over once and for all.
    fn oldest_other(&mut self) -> Option<Ticket> {
        while self.others_from < self.next {
            if self.waits.get(&self.others_from).is_some_and(|wait| !wait.lasts) {
                return Some(self.others_from);
            }
            self.others_from += 1;
        }
        None
    }

    /// Ends a wait for the sake of another one.
    fn give_away(&mut self, ticket: Ticket) {
        if let Some(wait) = self.remove(ticket) {
            // Whoever waited may have ended at this moment.
            let _ = wait.give_way.send(());
        }
    }

    /// Forgets a wait, if it is there.
    fn remove(&mut self, ticket: Ticket) -> Option<Wait> {
        let wait = self.waits.remove(&ticket)?;
        if let Some(datagram) = wait.datagram {
            self.datagrams.remove(&datagram);
        }
        if let Some(older) = wait.older.and_then(|older| self.waits.get_mut(&older)) {
            older.newer = wait.newer;
        }
        if let Some(newer) = wait.newer.and_then(|newer| self.waits.get_mut(&newer)) {
            newer.older = wait.older;
        }
        self.lasting -= usize::from(wait.lasts);
        let before = self.clients.get(&wait.client).copied()?;
        let oldest = if before.oldest == ticket { wait.newer } else { Some(before.oldest) };
        let newest = if before.newest == ticket { wait.older } else { Some(before.newest) };
        let after = Client {
            count: before.count - 1,
            // Of the last wait nothing is left.
            oldest: oldest.unwrap_or(ticket),
            newest: newest.unwrap_or(ticket),
            lasting: before.lasting - usize::from(wait.lasts),
            other: if before.other == Some(ticket) { self.other_from(wait.newer) } else { before.other },
            ..before
        };
        self.recount(wait.client, Some(before), after);
        Some(wait)
    }

    /// The first of a client's waits that is not held to the end, from that one on. Each is passed over once: those that come are behind.
    fn other_from(&self, mut next: Option<Ticket>) -> Option<Ticket> {
        while let Some(wait) = next.and_then(|next| self.waits.get(&next)).filter(|wait| wait.lasts) {
            next = wait.newer;
        }
        next
    }

    /// Moves a client to where those are who have as many waits as it has now.
    fn recount(&mut self, client: IpAddr, before: Option<Client>, after: Client) {
        let count = after.count;
        if let Some(before) = before
            && let Some(peers) = self.by_count.get_mut(before.count)
        {
            peers.swap_remove(before.at);
            if let Some(moved) = peers.get(before.at).and_then(|moved| self.clients.get_mut(moved)) {
                moved.at = before.at;
            }
        }
        if count == 0 {
            self.clients.remove(&client);
        } else {
            if self.by_count.len() <= count {
                self.by_count.resize_with(count + 1, Vec::new);
            }
            let peers = &mut self.by_count[count];
            self.clients.insert(client, Client { at: peers.len(), ..after });
            peers.push(client);
        }
        // A count changes by one at a time, so the most does, too.
        if count > self.most {
            self.most = count;
        } else if self.by_count.get(self.most).is_none_or(Vec::is_empty) {
            self.most = self.most.saturating_sub(1);
        }
    }
}

/// The waits; whoever panicked with them left them whole.
fn lock(waits: &Mutex<Waits>) -> MutexGuard<'_, Waits> {
    waits.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn room(all: usize, per_client: usize) -> Room {
        Room::new(Bounds { all, per_client, late: Some(Duration::from_millis(1900)) })
    }

    fn from(client: u8, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::from([192, 0, 2, client]), port)
    }

    fn place(room: &Room, from: SocketAddr, now: Instant) -> Option<Place> {
        match room.admit(from, None, now) {
            Admission::Place(place) => Some(place),
            _ => None,
        }
    }

    fn was_given_away(place: &mut Place) -> bool {
        place.give_way.try_recv().is_ok()
    }

    #[test]
    fn one_client_who_hangs_thousands_keeps_nobody_out() {
        let (room, now) = (room(4096, 5000), Instant::now());
        let mut hung: Vec<Place> = (0..4096).map(|port| place(&room, from(1, port), now).unwrap()).collect();
        assert!(matches!(room.admit(from(1, 5000), None, now), Admission::Full), "no place for its own");
        let others: Vec<Place> =
            (0..1000).map(|port| place(&room, from(2 + (port % 8) as u8, port), now).unwrap()).collect();
        // The oldest gave way, each for one.
        let gone: Vec<bool> = hung.iter_mut().map(was_given_away).collect();
        assert!(gone[..1000].iter().all(|gone| *gone) && !gone[1000..].iter().any(|gone| *gone));
        assert_eq!(room.taken().0, 4096);
        drop((hung, others));
        let waits = lock(&room.waits);
        assert!(waits.waits.is_empty() && waits.clients.is_empty() && waits.most == 0);
    }

    #[test]
    fn nobody_gives_way_to_whoever_has_as_many() {
        let (room, now) = (room(4, 4), Instant::now());
        let mut places: Vec<Place> =
            [1, 1, 2, 2].iter().map(|client| place(&room, from(*client, 1), now).unwrap()).collect();
        assert!(matches!(room.admit(from(1, 2), None, now), Admission::Full));
        // One who has none takes one from who has two, and then all are even.
        let _third = place(&room, from(3, 1), now).unwrap();
        assert_eq!(places.iter_mut().filter_map(|place| was_given_away(place).then_some(())).count(), 1);
        assert!(matches!(room.admit(from(3, 2), None, now), Admission::Full));
    }

    #[test]
    fn what_has_waited_for_long_gives_way_but_for_half_of_the_room() {
        let start = Instant::now();
        let (soon, late) = (start + LONG - Duration::from_millis(1), start + LONG);
        // Whether there are so many places in all or for each client, one who has all of them, or many who have one each.
        for (all, per_client, clients) in [(8, 100, 1), (100, 8, 1), (8, 8, 1), (8, 100, 8)] {
            let room = room(all, per_client);
            let from = |index: u16| from((index % clients) as u8, index);
            let mut places: Vec<Place> =
                (0..8).map(|index| place(&room, from(index), start).unwrap()).collect();
            // Who has most gives way to others at once, so a newcomer of many is another one.
            let newcomer = if clients == 1 { from(0) } else { self::from(99, 1) };
            assert!(place(&room, newcomer, soon).is_none());
            let mut newer = Vec::new();
            for gone in 4..8 {
                let others = if clients == 1 { newcomer } else { self::from(99 + gone, 1) };
                newer.push(place(&room, others, late).unwrap());
                let gave_way: Vec<bool> = places.iter_mut().map(was_given_away).collect();
                assert_eq!(gave_way.iter().position(|gone| *gone), Some(usize::from(gone)), "{gave_way:?}");
                assert_eq!(room.taken().0, 8);
            }
            // The other half does not, and these have not waited long.
            assert!(place(&room, newcomer, late).is_none());
            assert!(!newer.iter_mut().any(was_given_away));
            // A place that is held to the end is the next one's who comes.
            places.remove(0);
            let held = place(&room, newcomer, late).unwrap();
            let last = if clients == 1 { newcomer } else { self::from(98, 1) };
            assert!(place(&room, last, late + LONG).is_some(), "{all} {per_client} {clients}");
            assert!(was_given_away(&mut newer[0]));
            drop((places, newer, held));
            let waits = lock(&room.waits);
            assert!(waits.waits.is_empty() && waits.clients.is_empty() && waits.lasting == 0);
        }
    }

    #[test]
    fn a_client_has_so_many_and_no_more() {
        let (room, now) = (room(100, 3), Instant::now());
        let mut places: Vec<Place> = (0..3).map(|port| place(&room, from(1, port), now).unwrap()).collect();
        assert!(matches!(room.admit(from(1, 9), None, now), Admission::ClientFull));
        assert!(place(&room, from(2, 9), now).is_some());
        places.pop();
        assert!(place(&room, from(1, 9), now).is_some());
    }

    #[test]
    fn the_same_datagram_waits_once() {
        let (room, now) = (room(100, 100), Instant::now());
        let Admission::Place(first) = room.admit(from(1, 1), Some(b"query"), now) else { panic!() };
        assert!(matches!(room.admit(from(1, 1), Some(b"query"), now), Admission::Twice));
        // Another port, or other octets, such as another ID: another query.
        for (from, octets) in [(from(1, 2), &b"query"[..]), (from(1, 1), b"other")] {
            assert!(matches!(room.admit(from, Some(octets), now), Admission::Place(_)));
        }
        drop(first);
        assert!(matches!(room.admit(from(1, 1), Some(b"query"), now), Admission::Place(_)));
    }

    #[test]
    fn late_replies_make_no_pulse() {
        let (room, start) = (room(4096, 1000), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        let send = |port: u16| room.admit(from(1, port), Some(&port.to_be_bytes()), start);
        let places = (0..4080).filter_map(|port| match send(port) {
            Admission::Place(place) => Some(place),
            _ => None,
        });
        let places: Vec<Place> = places.collect();
        assert_eq!(places.len(), 1000);
        assert!(places.iter().all(|place| !place.is_too_late(after(1900))), "in time");
        let mut told = 0;
        for place in places {
            told += usize::from(!place.is_too_late(after(1901)));
        }
        assert_eq!(told, TOLD_LATE);
        // One who waits for one thing is told whenever it comes.
        let alone = place(&room, from(2, 1), start).unwrap();
        assert!(!alone.is_too_late(after(4000)));
    }

    #[test]
    fn asking_again_is_waiting_anew() {
        let (room, start) = (room(4096, 1000), Instant::now());
        let ask =
            |after_ms: u64| room.admit(from(1, 1), Some(b"query"), start + Duration::from_millis(after_ms));
        let Admission::Place(place) = ask(0) else { panic!() };
        let others: Vec<_> = (2..40).map(|port| self::place(&room, from(1, port), start)).collect();
        assert!(matches!(ask(1500), Admission::Twice));
        assert!(!place.is_too_late(start + Duration::from_millis(3000)));
        assert!(place.is_too_late(start + Duration::from_millis(3500)));
        drop(others);
    }

    /// A wait of a list in which everything is searched for.
    struct Naive {
        client: u8,
        since: Instant,
        lasts: bool,
        place: Place,
    }

    proptest! {
        /// Held against a list in which everything is searched for.
        #[test]
        fn it_is_a_list_by_age(steps in proptest::collection::vec((0u8..6, 0usize..24, 0u64..60), 0..300)) {
            let (room, mut now) = (room(12, 7), Instant::now());
            let mut naive: Vec<Naive> = Vec::new();
            for (client, step, ms) in steps {
                now += Duration::from_millis(ms);
                if step < 8 {
                    if step < naive.len() {
                        naive.remove(step);
                    }
                } else {
                    let mut counts: BTreeMap<u8, usize> = BTreeMap::new();
                    naive.iter().for_each(|wait| *counts.entry(wait.client).or_default() += 1);
                    let theirs = counts.get(&client).copied().unwrap_or(0);
                    let most = counts.values().copied().max().unwrap_or(0);
                    let (all_taken, theirs_taken) = (naive.len() == 12, theirs == 7);
                    let even = theirs_taken || (all_taken && most <= theirs + 1);
                    let other = |wait: &Naive| !wait.lasts && (theirs == 0 || wait.client == client);
                    let oldest = naive.iter().position(other).filter(|oldest| now - naive[*oldest].since >= LONG);
                    match room.admit(from(client, 1), None, now) {
                        Admission::ClientFull => prop_assert!(theirs_taken && oldest.is_none()),
                        Admission::Full => prop_assert!(!theirs_taken && even && oldest.is_none()),
                        Admission::Twice => prop_assert!(false),
                        Admission::Place(place) => {
                            if even || all_taken {
                                let gone = naive.iter_mut().position(|wait| was_given_away(&mut wait.place));
                                if even {
                                    prop_assert!(gone.is_some() && gone == oldest);
                                }
                                let gone = naive.remove(gone.expect("somebody gave way")).client;
                                prop_assert!(even || counts[&gone] == most);
                            }
                            let lasting = |theirs: bool| {
                                let counts = |wait: &&Naive| wait.lasts && (!theirs || wait.client == client);
                                naive.iter().filter(counts).count()
                            };
                            let lasts = lasting(false) < 6 && lasting(true) < 3;
                            naive.push(Naive { client, since: now, lasts, place });
                        }
                    }
                    let gave_way = naive.iter_mut().any(|wait| was_given_away(&mut wait.place));
                    prop_assert!(!gave_way, "at most one gives way");
                }
                prop_assert_eq!(room.taken().0, naive.len());
            }
        }
    }
}
