//! Captured frames to DNS queries.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};

use super::tcp::{Segment, Streams};
use super::{Damage, Skipped};
use crate::trace::Entry;
use crate::trace::message::is_query;

/// One captured frame.
#[derive(Debug, Default)]
pub struct Frame {
    /// When, since the Unix epoch.
    pub at: Option<Duration>,
    /// What its first octets are (LINKTYPE_ numbers).
    pub linktype: u16,
    /// Its end was not captured.
    pub cut: bool,
    /// What was captured.
    pub octets: Vec<u8>,
}

/// Finds queries in frames.
pub(super) struct Frames {
    /// The port queries go to.
    port: u16,
    frame: Frame,
    streams: Streams,
}

impl Frames {
    /// Queries to `port`.
    pub(super) fn new(port: u16) -> Frames {
        Frames { port, frame: Frame::default(), streams: Streams::default() }
    }

    /// The next query of the frames that `next` reads.
    pub(super) fn read(
        &mut self,
        entry: &mut Entry,
        skipped: &mut Skipped,
        mut next: impl FnMut(&mut Frame) -> Result<bool, Damage>,
    ) -> Result<bool, Damage> {
        loop {
            // One segment may have completed several messages.
            while let Some(client) = self.streams.message(&mut entry.message) {
                (entry.at, entry.client) = (self.frame.at, Some(client));
                if counted(&entry.message, skipped) {
                    return Ok(true);
                }
            }
            if !next(&mut self.frame)? {
                return Ok(false);
            }
            if self.look(entry, skipped) {
                return Ok(true);
            }
        }
    }

    /// Looks into the frame; true when `entry` holds the query it carries.
    fn look(&mut self, entry: &mut Entry, skipped: &mut Skipped) -> bool {
        let Some(packet) = sliced(self.frame.linktype, &self.frame.octets) else {
            skipped.others += 1;
            return false;
        };
        let (from, fragment) = match &packet.net {
            Some(LaxNetSlice::Ipv4(ip)) => (IpAddr::from(ip.header().source()), ip.payload().fragmented),
            Some(LaxNetSlice::Ipv6(ip)) => (IpAddr::from(ip.header().source()), ip.payload().fragmented),
            _ => {
                skipped.others += 1;
                return false;
            }
        };
        match &packet.transport {
            _ if fragment => skipped.partial += 1,
            Some(TransportSlice::Udp(udp)) if udp.destination_port() == self.port => {
                if self.frame.cut {
                    skipped.partial += 1;
                } else if counted(udp.payload(), skipped) {
                    entry.message.clear();
                    entry.message.extend_from_slice(udp.payload());
                    entry.at = self.frame.at;
                    entry.client = Some(SocketAddr::new(from, udp.source_port()));
                    return true;
                }
            }
            Some(TransportSlice::Tcp(tcp)) if tcp.destination_port() == self.port => {
                let client = SocketAddr::new(from, tcp.source_port());
                let segment = Segment {
                    number: tcp.sequence_number(),
                    starts: tcp.syn(),
                    ends: tcp.fin() || tcp.rst(),
                    payload: tcp.payload(),
                };
                skipped.tcp_lost += self.streams.add(client, &segment);
            }
            None if packet.stop_err.is_some() => skipped.partial += 1,
            _ => skipped.others += 1,
        }
        false
    }
}

/// Whether a message can be replayed; counted when it cannot.
pub(super) fn counted(message: &[u8], skipped: &mut Skipped) -> bool {
    if is_query(message) {
        return true;
    }
    // QR: responses are other traffic; what remains is a query that is odd.
    if message.get(2).is_some_and(|flags| flags & 0x80 != 0) {
        skipped.others += 1
    } else {
        skipped.odd += 1
    }
    false
}

/// The packet within a frame (draft-ietf-opsawg-pcaplinktype); none for links that carry no IP.
fn sliced(linktype: u16, octets: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    let behind = |header: usize| octets.get(header..);
    let typed = |type_at: usize, header: usize| {
        let number = octets.get(type_at..)?.first_chunk::<2>()?;
        Some(LaxSlicedPacket::from_ether_type(EtherType(u16::from_be_bytes(*number)), behind(header)?))
    };
    match linktype {
        1 => LaxSlicedPacket::from_ethernet(octets).ok(),
        // Raw IP, by the numbers of several systems, and one version only.
        12 | 14 | 101 | 228 | 229 => LaxSlicedPacket::from_ip(octets).ok(),
        // BSD loopback: the family of addresses, which the IP version repeats.
        0 | 108 => LaxSlicedPacket::from_ip(behind(4)?).ok(),
        // Linux cooked, versions 1 and 2.
        113 => typed(14, 16),
        276 => typed(0, 20),
        _ => None,
    }
}
