//! What entries of a ring are made of: their lengths, times and addresses, written and read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Octets in front of an entry, which say how long it is.
pub(super) const LENGTH_LEN: usize = 4;
/// Octets of an address and its family.
pub(super) const ADDR_LEN: usize = 17;
/// The bit of an entry's length that tells messages to and from upstreams from queries of clients.
pub(super) const FORWARDED: u32 = 1 << 31;

/// How long the entry at the start of `octets` is, if that can be read.
pub(super) fn length(octets: &[u8]) -> Option<usize> {
    let length = |len: &[u8; LENGTH_LEN]| (u32::from_ne_bytes(*len) & !FORWARDED) as usize;
    octets.first_chunk().map(length).filter(|len| *len > LENGTH_LEN)
}

/// Whether the entry at the start of `octets` is a message to or from an upstream.
pub(super) fn is_forwarded(octets: &[u8]) -> bool {
    octets.first_chunk().is_some_and(|len| u32::from_ne_bytes(*len) & FORWARDED != 0)
}

/// A time in nanoseconds, which last for five hundred years.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// An address behind its family, always as long.
pub(super) fn addr_octets(addr: IpAddr) -> [u8; ADDR_LEN] {
    let mut octets = [0; ADDR_LEN];
    let [family, rest @ ..] = &mut octets;
    match addr {
        IpAddr::V4(v4) => {
            *family = 4;
            if let Some(place) = rest.first_chunk_mut() {
                *place = v4.octets();
            }
        }
        IpAddr::V6(v6) => {
            *family = 6;
            *rest = v6.octets();
        }
    }
    octets
}

/// What of an entry has not been read.
pub(super) struct Reader<'r>(pub(super) &'r [u8]);

impl<'r> Reader<'r> {
    /// The next octets, a fixed number.
    pub(super) fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    /// The next number of two octets.
    pub(super) fn number(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_ne_bytes)
    }

    /// So many octets.
    pub(super) fn octets(&mut self, len: usize) -> Option<&'r [u8]> {
        let (octets, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(octets)
    }

    /// So many octets of text.
    pub(super) fn text(&mut self, len: usize) -> Option<&'r str> {
        self.octets(len).and_then(|octets| std::str::from_utf8(octets).ok())
    }

    /// An address behind its family.
    pub(super) fn addr(&mut self) -> Option<IpAddr> {
        let [family, octets @ ..]: [u8; ADDR_LEN] = self.chunk()?;
        match family {
            4 => octets.first_chunk().map(|octets: &[u8; 4]| Ipv4Addr::from(*octets).into()),
            _ => Some(Ipv6Addr::from(octets).into()),
        }
    }
}
