//! Anywhere: one datagram a call, by the standard library, in the shape of batches.
//!
//! The system is not asked for the address a datagram came to: on a wildcard address it chooses the source of replies, so
//! listen on each address where that matters.
#![cfg_attr(all(test, target_os = "linux"), allow(dead_code, reason = "tested here, used elsewhere"))]

use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::{Datagram, Route, Sent, stride};

/// Received datagrams.
pub struct Inbox {
    octets: Vec<u8>,
    slot_len: usize,
    /// Source and length of each datagram.
    received: Vec<(SocketAddr, usize)>,
    slots: usize,
}

impl Inbox {
    /// Room for `slots` datagrams (1 to 1024) of `slot_len` octets; what is longer is cut and marked.
    pub fn new(slots: usize, slot_len: usize) -> Inbox {
        let slots = slots.clamp(1, 1024);
        // One octet more, to see that there was one.
        let octets = vec![0; slots * stride(slot_len + 1)];
        Inbox { octets, slot_len, received: Vec::with_capacity(slots), slots }
    }

    /// Receives what is there and says how many; they replace what was here before. A blocking socket waits, and then
    /// brings one.
    ///
    /// # Errors
    /// The system's: `WouldBlock` or `TimedOut` when there is nothing.
    pub fn receive(&mut self, socket: &UdpSocket, _wait: bool) -> io::Result<usize> {
        self.received.clear();
        let slot = &mut self.octets[..=self.slot_len];
        let (len, from) = socket.recv_from(slot)?;
        self.received.push((from, len));
        Ok(self.received.len())
    }

    /// How many datagrams are here.
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// The datagram in that slot; none beyond [`Inbox::len`].
    pub fn datagram(&self, slot: usize) -> Option<Datagram<'_>> {
        let &(peer, len) = self.received.get(slot)?;
        let start = slot * stride(self.slot_len + 1);
        let octets = &self.octets[start..start + len.min(self.slot_len)];
        Some(Datagram { octets, truncated: len > self.slot_len, route: Route { peer, local: None } })
    }

    /// All datagrams.
    pub fn iter(&self) -> impl Iterator<Item = Datagram<'_>> {
        (0..self.len()).filter_map(|slot| self.datagram(slot))
    }

    /// Nobody counts what the system drops here.
    pub fn drops(&self) -> Option<u32> {
        None
    }
}

/// Datagrams to be sent.
pub struct Outbox {
    octets: Vec<u8>,
    slot_len: usize,
    /// Length and destination of each datagram.
    waiting: Vec<(usize, Option<SocketAddr>)>,
    /// The first that is still to be sent.
    start: usize,
    slots: usize,
}

impl Outbox {
    /// Room for `slots` datagrams (1 to 1024) of `slot_len` octets.
    pub fn new(slots: usize, slot_len: usize) -> Outbox {
        let slots = slots.clamp(1, 1024);
        let octets = vec![0; slots * stride(slot_len)];
        Outbox { octets, slot_len, waiting: Vec::with_capacity(slots), start: 0, slots }
    }

    /// How many datagrams wait to be sent.
    pub fn len(&self) -> usize {
        self.waiting.len() - self.start
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next free slot, to be written and then [committed](Outbox::commit); none when all are taken.
    pub fn slot(&mut self) -> Option<&mut [u8]> {
        if self.waiting.len() == self.slots {
            return None;
        }
        let start = self.waiting.len() * stride(self.slot_len);
        self.octets.get_mut(start..start + self.slot_len)
    }

    /// Takes the first `len` octets of the slot last given out as a datagram to `route`; to the socket's peer if none.
    ///
    /// False, and nothing taken, when all slots are taken or `len` is more than one has.
    pub fn commit(&mut self, len: usize, route: Option<&Route>) -> bool {
        if self.waiting.len() == self.slots || len > self.slot_len {
            return false;
        }
        self.waiting.push((len, route.map(|route| route.peer)));
        true
    }

    /// Adds a datagram; false when there is no room for it.
    pub fn push(&mut self, octets: &[u8], route: Option<&Route>) -> bool {
        match self.slot().and_then(|slot| slot.get_mut(..octets.len())) {
            Some(slot) => slot.copy_from_slice(octets),
            None => return false,
        }
        self.commit(octets.len(), route)
    }

    /// Sends them. Those the system cannot take now (the socket does not block, or its time limit is over) stay, to be
    /// sent by the next call or [cleared](Outbox::clear); one that it refuses for another reason is gone and counted.
    pub fn send(&mut self, socket: &UdpSocket, _wait: bool) -> Sent {
        let mut count = Sent::default();
        while let Some(&(len, to)) = self.waiting.get(self.start) {
            let at = self.start * stride(self.slot_len);
            let octets = &self.octets[at..at + len];
            let result = match to {
                Some(to) => socket.send_to(octets, to),
                None => socket.send(octets),
            };
            match result {
                Ok(_) => count.sent += 1,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return count,
                    _ => count.failed += 1,
                },
            }
            self.start += 1;
        }
        self.clear();
        count
    }

    /// Forgets what was not sent.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.start = 0;
    }
}

/// Nothing: the standard library cannot ask for it.
///
/// # Errors
/// Never.
pub fn report_local(_socket: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Nothing: the standard library cannot ask for it.
///
/// # Errors
/// Never.
pub fn count_drops(_socket: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Nothing: threads go where the system puts them.
///
/// # Errors
/// `Unsupported`, always.
pub fn pin_to_core(_index: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
