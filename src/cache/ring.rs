//! Octets in rows: entries of any length side by side, the oldest of which makes room for the next.

/// Entries begin at multiples of this.
pub(super) const STEP: usize = 4;

/// A ring of entries. Each is in one piece: none goes over the end.
#[derive(Debug)]
pub(super) struct Ring {
    /// As far as it was ever written: the system gives it memory page by page.
    octets: Vec<u8>,
    /// Octets of the whole ring.
    capacity: usize,
    /// Where the next entry goes.
    head: usize,
    /// The oldest entry. Everything from here to the head is whole.
    oldest: usize,
    /// Where the entries of the lap before end, while the oldest is one of them.
    end: Option<usize>,
    /// Whether its first lap is not over.
    is_growing: bool,
}

impl Ring {
    /// An empty one of so many octets.
    pub(super) fn new(capacity: usize) -> Ring {
        Ring {
            octets: Vec::with_capacity(capacity),
            capacity,
            head: 0,
            oldest: 0,
            end: None,
            is_growing: true,
        }
    }

    /// Forgets all; memory stays.
    pub(super) fn clear(&mut self) {
        (self.head, self.oldest, self.end, self.is_growing) = (0, 0, None, true);
    }

    /// Octets of the whole ring.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether there is room for so many octets, for which none ever had to go.
    pub(super) fn has_fresh_room(&self, len: usize) -> bool {
        self.is_growing && self.capacity - self.head >= len
    }

    /// Whether there is room for so many octets at the head. If not, the oldest entry has to go.
    pub(super) fn has_room(&mut self, len: usize) -> bool {
        if self.end.is_none() && self.capacity - self.head < len {
            // What is left of this lap stays empty.
            let is_empty = self.oldest == self.head;
            self.end = (!is_empty).then_some(self.head);
            (self.head, self.is_growing) = (0, false);
            if is_empty {
                self.oldest = 0;
            }
        }
        let until = if self.end.is_some() { self.oldest } else { self.capacity };
        until - self.head >= len
    }

    /// Takes the oldest entry away, and says where its octets are until others come; none if there is none in the way.
    pub(super) fn pop(&mut self, len_of: impl Fn(&[u8]) -> usize) -> Option<(usize, usize)> {
        let (at, end) = (self.oldest, self.end?);
        let len = len_of(self.octets.get(at..end)?);
        self.oldest = at + len;
        if self.oldest >= end {
            (self.oldest, self.end) = (0, None);
        }
        Some((at, len))
    }

    /// Writes an entry at the head, where there is room, and says where that is.
    pub(super) fn push(&mut self, entry: &[u8]) -> usize {
        let at = self.head;
        if self.octets.len() < at + entry.len() {
            // Within what was reserved.
            self.octets.resize(at + entry.len(), 0);
        }
        self.octets[at..at + entry.len()].copy_from_slice(entry);
        self.head = at + entry.len();
        at
    }

    /// Keeps what was just taken away: it moves to the head, and says where that is. It came from there or behind.
    pub(super) fn push_back(&mut self, (at, len): (usize, usize)) -> usize {
        let head = self.head;
        self.octets.copy_within(at..at + len, head);
        self.head = head + len;
        head
    }

    /// The octets from there on.
    pub(super) fn tail(&self, at: usize) -> &[u8] {
        self.octets.get(at..).unwrap_or(&[])
    }

    /// The same, to be changed.
    pub(super) fn tail_mut(&mut self, at: usize) -> &mut [u8] {
        self.octets.get_mut(at..).unwrap_or(&mut [])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length of an entry of these tests is its first octet.
    fn len_of(octets: &[u8]) -> usize {
        octets[0].into()
    }

    #[test]
    fn the_oldest_goes_and_what_is_kept_moves() {
        let mut ring = Ring::new(20);
        let put = |ring: &mut Ring, len: u8| {
            let mut gone = Vec::new();
            while !ring.has_room(len.into()) {
                gone.push(ring.pop(len_of).unwrap().0);
            }
            (ring.push(&vec![len; len.into()]), gone)
        };
        assert_eq!(put(&mut ring, 8), (0, vec![]));
        assert_eq!(put(&mut ring, 8), (8, vec![]));
        assert!(ring.has_fresh_room(4) && !ring.has_fresh_room(5));
        assert_eq!(put(&mut ring, 8), (0, vec![0]), "4 octets are left at the end");
        assert!(!ring.has_fresh_room(0));
        assert_eq!(put(&mut ring, 12), (8, vec![8]));
        assert_eq!(ring.tail(8)[0], 12);
        assert!(!ring.has_room(4));
        let taken = ring.pop(len_of).unwrap();
        assert_eq!((taken, ring.push_back(taken)), ((0, 8), 0), "who is kept gives no room");
        assert!(!ring.has_room(4));
        assert_eq!(ring.pop(len_of), Some((8, 12)));
        assert!(ring.has_room(12) && !ring.has_room(13));
        ring.clear();
        assert_eq!(put(&mut ring, 20), (0, vec![]));
        assert_eq!(put(&mut ring, 4), (0, vec![0]));
    }
}
