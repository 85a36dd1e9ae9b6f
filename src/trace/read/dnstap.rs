//! dnstap: protobuf messages in Frame Streams (dnstap.info; farsightsec/fstrm, farsightsec/dnstap.pb).
//!
//! The handful of fields needed is read here; a protobuf library would bring a compiler for one message type.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::frame::counted;
use super::input::Input;
use super::{Damage, Skipped};
use crate::trace::Entry;

/// What stands before a control frame, in place of a data frame's length.
pub(super) const ESCAPE: [u8; 4] = [0; 4];
/// The control frame that ends a stream.
const STOP: u32 = 3;
/// The most octets of a control frame (fstrm's FSTRM_CONTROL_FRAME_LENGTH_MAX).
const MAX_CONTROL_LEN: usize = 512;
/// The most octets of a data frame: two whole messages and room.
const MAX_FRAME_LEN: usize = 256 * 1024;
/// Message types in which a client asks: AUTH_QUERY, CLIENT_QUERY, STUB_QUERY, TOOL_QUERY. What a resolver asks in turn
/// (RESOLVER_QUERY, FORWARDER_QUERY) is not a client's query.
const QUERIES: [u64; 4] = [1, 5, 9, 11];

/// The frames of a stream.
pub(super) struct Stream {
    input: Input,
    frame: Vec<u8>,
}

impl Stream {
    /// Reads `input`, which starts with an escape.
    pub(super) fn new(input: Input) -> Stream {
        Stream { input, frame: Vec::new() }
    }

    /// The next query.
    pub(super) fn read(&mut self, entry: &mut Entry, skipped: &mut Skipped) -> Result<bool, Damage> {
        while self.next_frame()? {
            match query(&self.frame) {
                None => return Err(self.input.damage("a frame that is no dnstap message")),
                Some(None) => skipped.others += 1,
                Some(Some(query)) => {
                    if counted(query.message, skipped) {
                        entry.message.clear();
                        entry.message.extend_from_slice(query.message);
                        (entry.at, entry.client) = (query.at, query.client);
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Reads the next data frame; false at the end.
    fn next_frame(&mut self) -> Result<bool, Damage> {
        loop {
            let mut length = [0; 4];
            if !self.input.fill(&mut length, "a frame's length")? {
                return Ok(false);
            }
            if length != ESCAPE {
                let length = u32::from_be_bytes(length) as usize;
                if length > MAX_FRAME_LEN {
                    return Err(self.input.damage(format!("a frame claims {length} octets")));
                }
                self.input.take(&mut self.frame, length, "a frame")?;
                return Ok(true);
            }
            self.input.exact(&mut length, "a control frame's length")?;
            let length = u32::from_be_bytes(length) as usize;
            if length > MAX_CONTROL_LEN {
                return Err(self.input.damage(format!("a control frame claims {length} octets")));
            }
            self.input.take(&mut self.frame, length, "a control frame")?;
            // Behind a stop another stream may start: files are appended to.
            if self.frame.first_chunk::<4>().is_none_or(|kind| u32::from_be_bytes(*kind) > STOP + 2) {
                return Err(self.input.damage("a control frame of no known type"));
            }
        }
    }
}

/// What of a dnstap message matters.
struct Query<'f> {
    message: &'f [u8],
    at: Option<Duration>,
    client: Option<SocketAddr>,
}

/// Reads one dnstap payload: none when it is damaged, none within when it is no client's query.
fn query(frame: &[u8]) -> Option<Option<Query<'_>>> {
    let mut inner = None;
    for field in Fields(frame) {
        // Dnstap: message = 14.
        if let (14, Value::Octets(octets)) = field? {
            inner = Some(octets);
        }
    }
    let Some(inner) = inner else { return Some(None) };
    let (mut kind, mut message, mut addr, mut port, mut seconds, mut nanoseconds) =
        (0, None, None, 0, None, 0);
    for field in Fields(inner) {
        // Message: type = 1, query_address = 4, query_port = 6, query_time_sec = 8, query_time_nsec = 9, query_message = 10.
        match field? {
            (1, Value::Number(number)) => kind = number,
            (4, Value::Octets(octets)) => addr = ip(octets),
            (6, Value::Number(number)) => port = number as u16,
            (8, Value::Number(number)) => seconds = Some(number),
            (9, Value::Number(number)) => nanoseconds = number as u32,
            (10, Value::Octets(octets)) => message = Some(octets),
            _ => {}
        }
    }
    let asked = message.filter(|_| QUERIES.contains(&kind));
    Some(asked.map(|message| Query {
        message,
        at: seconds.and_then(|seconds| {
            Duration::from_secs(seconds).checked_add(Duration::from_nanos(u64::from(nanoseconds)))
        }),
        client: addr.map(|addr| SocketAddr::new(addr, port)),
    }))
}

/// An address of four or sixteen octets.
fn ip(octets: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
    v4().or_else(|| <[u8; 16]>::try_from(octets).ok().map(IpAddr::from))
}

/// A protobuf field's value.
enum Value<'f> {
    Number(u64),
    Octets(&'f [u8]),
}

/// The fields of a protobuf message; a none among them is damage, and the last.
struct Fields<'f>(&'f [u8]);

impl<'f> Fields<'f> {
    /// Takes the next field.
    fn take(&mut self) -> Option<(u64, Value<'f>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Number(u64::from_le_bytes(self.octets(8)?.try_into().ok()?)),
            2 => {
                let length = self.varint()?;
                Value::Octets(self.octets(usize::try_from(length).ok()?)?)
            }
            5 => Value::Number(u64::from(u32::from_le_bytes(self.octets(4)?.try_into().ok()?))),
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    /// Takes a number of seven bits an octet, lowest first.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let octet = *self.octets(1)?.first()?;
            number |= u64::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Takes `count` octets.
    fn octets(&mut self, count: usize) -> Option<&'f [u8]> {
        let (octets, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(octets)
    }
}

impl<'f> Iterator for Fields<'f> {
    type Item = Option<(u64, Value<'f>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.take();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}
