//! Places for connections: few, and never all taken by those who do nothing with them.
//!
//! When there is none left, for anybody or for one peer, the connection that has been silent for longest gives its place to
//! the one that comes. Whose request is being worked on keeps it. So whoever speaks as soon as it has connected is heard, however
//! many hold connections open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::peer::Peer;

/// Connections at one time: commands, a dashboard or two, a collector of metrics.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// Connections of one peer at one time, so that others find places whatever it does.
pub(super) const MAX_OF_PEER: usize = 32;

/// The places of a listener.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Held>);

/// Who has one.
#[derive(Debug, Default)]
struct Held {
    /// In the order in which they fell silent.
    places: Vec<Holder>,
    /// The last number that was given out.
    last: u64,
}

/// A connection that has a place.
#[derive(Debug)]
struct Holder {
    number: u64,
    peer: Peer,
    /// Whether its request is being worked on.
    busy: bool,
    /// Tells it to end.
    end: Arc<Notify>,
}

/// A place, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    end: Arc<Notify>,
    /// Whether another connection lost it.
    pub was_taken: bool,
}

/// A place whose connection is not silent while this lives.
#[derive(Debug)]
pub(super) struct Busy(Arc<Place>);

impl Places {
    /// A place for a peer, perhaps another connection's; none when all there are for it are at work.
    pub(super) fn take(self: &Arc<Places>, peer: &Peer) -> Option<Place> {
        let mut held = self.held();
        let of_peer = held.places.iter().filter(|holder| holder.peer == *peer).count();
        let of_its_own = of_peer >= MAX_OF_PEER;
        let was_taken = of_its_own || held.places.len() >= MAX_CONNECTIONS;
        if was_taken {
            held.end_silent(|holder| !of_its_own || holder.peer == *peer)?;
        }
        held.last += 1;
        let (number, end) = (held.last, Arc::new(Notify::new()));
        held.places.push(Holder { number, peer: peer.clone(), busy: false, end: end.clone() });
        Some(Place { places: self.clone(), number, end, was_taken })
    }

    /// Whether more than half of them are taken.
    pub(super) fn are_scarce(&self) -> bool {
        self.held().places.len() > MAX_CONNECTIONS / 2
    }

    /// The holders; held for moments only.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Takes the place of the connection that has been silent for longest among those; none if none is silent.
    fn end_silent(&mut self, among: impl Fn(&Holder) -> bool) -> Option<()> {
        let silent = self.places.iter().position(|holder| !holder.busy && among(holder))?;
        self.places.remove(silent).end.notify_one();
        Some(())
    }

    /// Notes whether a connection's request is being worked on.
    fn set_busy(&mut self, number: u64, busy: bool) {
        // One whose place was taken is about to end.
        let Some(at) = self.places.iter().position(|holder| holder.number == number) else { return };
        let holder = self.places.remove(at);
        self.places.push(Holder { busy, ..holder });
    }
}

impl Place {
    /// Waits until somebody else has the place.
    pub(super) async fn lost(&self) {
        self.end.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held();
        held.places.retain(|holder| holder.number != self.number);
    }
}

impl Busy {
    /// From now on the connection is at work.
    pub(super) fn new(place: Arc<Place>) -> Busy {
        place.places.held().set_busy(place.number, true);
        Busy(place)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.places.held().set_busy(self.0.number, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether somebody else has a place.
    fn is_lost(place: &Place) -> bool {
        let held = place.places.held();
        !held.places.iter().any(|holder| holder.number == place.number)
    }

    #[test]
    fn the_longest_silent_gives_way() {
        let places = Arc::new(Places::default());
        let peer = |uid| Peer::Unix(Some(uid));
        let ones: Vec<Arc<Place>> = (0..32).map(|_| Arc::new(places.take(&peer(1)).unwrap())).collect();
        assert!(!places.are_scarce());
        // A peer that has all it may have loses one of its own, though there are others left.
        let work = Busy::new(ones[0].clone());
        let more = places.take(&peer(1)).unwrap();
        assert_eq!(
            ones.iter().map(|place| is_lost(place)).collect::<Vec<_>>(),
            [vec![false, true], vec![false; 30]].concat()
        );
        let twos: Vec<Place> = (0..32).map(|_| places.take(&peer(2)).unwrap()).collect();
        assert!(places.are_scarce());
        // All are taken: the one that has said nothing for longest goes, whosever it is.
        let three = places.take(&peer(3)).unwrap();
        assert!(is_lost(&ones[2]) && !is_lost(&ones[0]) && !twos.iter().any(is_lost));
        // It has just been answered, so it is not the one that was silent for longest.
        drop(work);
        drop((three, more));
        let again: Vec<Place> = (0..4).map(|_| places.take(&peer(3)).unwrap()).collect();
        assert!(!is_lost(&ones[0]) && is_lost(&ones[3]) && is_lost(&ones[4]), "{again:?}");
    }

    #[test]
    fn those_at_work_keep_their_places() {
        let places = Arc::new(Places::default());
        let held: Vec<Busy> = (0..64)
            .map(|uid| Busy::new(Arc::new(places.take(&Peer::Unix(Some(uid / 16))).unwrap())))
            .collect();
        assert!(places.take(&Peer::Unix(Some(9))).is_none() && places.take(&Peer::Tcp(None)).is_none());
        drop(held);
        assert!(places.take(&Peer::Unix(Some(9))).is_some());
        assert_eq!(places.held().places.len(), 0);
    }
}
