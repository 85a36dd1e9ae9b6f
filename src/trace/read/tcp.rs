//! Messages out of TCP segments, in order, each behind its two octets of length (RFC 1035 §4.2.2).
//!
//! Only what clients send is followed. A stream met in the middle is taken to stand at the start of a message.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

/// Streams followed at a time; the one begun first is given up for a new one.
const MAX_STREAMS: usize = 4096;
/// Octets kept of one stream, out of order ones included: the longest message twice.
const MAX_KEPT_LEN: usize = 2 * (2 + 65_535);
/// Segments kept that came too early.
const MAX_EARLY: usize = 64;

/// One segment from a client.
pub(super) struct Segment<'f> {
    /// Sequence number of its first octet, or of its SYN.
    pub number: u32,
    /// SYN.
    pub starts: bool,
    /// FIN or RST.
    pub ends: bool,
    /// What it carries.
    pub payload: &'f [u8],
}

/// Streams under way.
#[derive(Default)]
pub(super) struct Streams {
    streams: HashMap<SocketAddr, Stream>,
    /// Clients in the order they began, some of which have ended since.
    begun: VecDeque<SocketAddr>,
    /// The client whose stream last grew: messages are taken from it.
    grown: Option<SocketAddr>,
}

/// One client's octets.
#[derive(Default)]
struct Stream {
    /// The sequence number that comes next.
    next: u32,
    /// Octets in order that are no whole message yet.
    kept: VecDeque<u8>,
    /// Segments that came too early, by distance from where the stream began.
    early: BTreeMap<u32, Vec<u8>>,
    /// Octets in `early`.
    early_len: usize,
    /// Its client has said all.
    ended: bool,
}

impl Streams {
    /// Adds a segment; gives back how many octets had to be given up.
    pub(super) fn add(&mut self, client: SocketAddr, segment: &Segment<'_>) -> u64 {
        let mut lost = 0;
        if segment.starts {
            lost += self.streams.remove(&client).map_or(0, |stream| stream.left());
        }
        if !self.streams.contains_key(&client) {
            if segment.payload.is_empty() && !segment.starts {
                return lost;
            }
            lost += self.make_room();
            // RFC 9293 §3.4: SYN takes one sequence number, before the data.
            let next = segment.number.wrapping_add(u32::from(segment.starts));
            self.streams.insert(client, Stream { next, ..Stream::default() });
            self.begun.push_back(client);
        }
        let Some(stream) = self.streams.get_mut(&client) else { return lost };
        lost += stream.add(segment.number.wrapping_add(u32::from(segment.starts)), segment.payload);
        stream.ended |= segment.ends;
        self.grown = Some(client);
        lost
    }

    /// Takes the next whole message out of the stream that grew last, and tells who sent it.
    pub(super) fn message(&mut self, message: &mut Vec<u8>) -> Option<SocketAddr> {
        let client = self.grown?;
        let stream = self.streams.get_mut(&client)?;
        if stream.message(message) {
            return Some(client);
        }
        self.grown = None;
        if stream.ended {
            self.streams.remove(&client);
        }
        None
    }

    /// Gives up the oldest streams until there is room for one more.
    fn make_room(&mut self) -> u64 {
        let mut lost = 0;
        // Entries of ended streams leave by the same door, so the queue stays as short as the map, twice over.
        while self.streams.len() >= MAX_STREAMS || self.begun.len() >= 2 * MAX_STREAMS {
            let Some(oldest) = self.begun.pop_front() else { break };
            lost += self.streams.remove(&oldest).map_or(0, |stream| stream.left());
        }
        lost
    }
}

impl Stream {
    /// Adds octets at their place; gives back how many had to be given up.
    fn add(&mut self, number: u32, payload: &[u8]) -> u64 {
        let ahead = number.wrapping_sub(self.next) as i32;
        if ahead > 0 {
            if self.early.len() >= MAX_EARLY || self.early_len + payload.len() > MAX_KEPT_LEN {
                // What is missing will not come: go on behind the gap, where a message may start anew.
                let lost = self.left() + payload.len() as u64;
                *self = Stream { next: number.wrapping_add(payload.len() as u32), ..Stream::default() };
                return lost;
            }
            self.early_len += payload.len();
            if let Some(before) = self.early.insert(number, payload.to_vec()) {
                self.early_len -= before.len();
            }
            return 0;
        }
        let mut lost = self.append(number, payload);
        while let Some(number) =
            self.early.keys().copied().find(|number| number.wrapping_sub(self.next) as i32 <= 0)
        {
            let Some(payload) = self.early.remove(&number) else { break };
            self.early_len -= payload.len();
            lost += self.append(number, &payload);
        }
        lost
    }

    /// Appends what of these octets is new; they start at or before `next`.
    fn append(&mut self, number: u32, payload: &[u8]) -> u64 {
        let known = self.next.wrapping_sub(number) as usize;
        let Some(new) = payload.get(known..).filter(|new| !new.is_empty()) else { return 0 };
        self.next = self.next.wrapping_add(new.len() as u32);
        if self.kept.len() + new.len() > MAX_KEPT_LEN {
            let lost = self.kept.len() + new.len();
            self.kept.clear();
            return lost as u64;
        }
        self.kept.extend(new);
        0
    }

    /// Takes the first whole message.
    fn message(&mut self, message: &mut Vec<u8>) -> bool {
        let (Some(&high), Some(&low)) = (self.kept.front(), self.kept.get(1)) else { return false };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if self.kept.len() < 2 + length {
            return false;
        }
        message.clear();
        message.extend(self.kept.drain(..2 + length).skip(2));
        true
    }

    /// Octets that are in no message.
    fn left(&self) -> u64 {
        (self.kept.len() + self.early_len) as u64
    }
}
