//! Made traces as text for dnsperf, or as captured frames.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::PacketBuilder;

use crate::dns::wire;
use crate::trace::Entry;
use crate::trace::read::pcap;

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `name TYPE` lines, as dnsperf reads them: no EDNS, times or clients
    Text,
    /// Ethernet frames with everything, time stamps in nanoseconds
    Pcap,
}

/// The server in captured frames.
const SERVER_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 53, 53);
/// The same over IPv6: outside the clients' addresses.
const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd53, 0, 0, 0, 0, 0, 0, 0x53);
/// Locally administered hardware addresses (IEEE 802: bit 1 of the first octet).
const HARDWARE: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
/// Hops of a fresh packet.
const TTL: u8 = 64;

/// Writes queries to `out`.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    format: Format,
    /// One frame, to know its length before it is written.
    frame: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes what stands before the first query.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(mut out: W, format: Format) -> io::Result<Writer<W>> {
        if format == Format::Pcap {
            out.write_all(&pcap::header(pcap::LINKTYPE_ETHERNET))?;
        }
        Ok(Writer { out, format, frame: Vec::new() })
    }

    /// Writes one query; one whose question cannot be read is left out of text.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&mut self, entry: &Entry) -> io::Result<()> {
        match self.format {
            Format::Text => match wire::question(&entry.message) {
                Ok((name, qtype, _, _)) => writeln!(self.out, "{name} {}", qtype),
                Err(_) => Ok(()),
            },
            Format::Pcap => self.write_frame(entry),
        }
    }

    /// Hands back `out` with everything written.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    /// One UDP datagram in its frame.
    fn write_frame(&mut self, entry: &Entry) -> io::Result<()> {
        let client = entry.client.unwrap_or(SocketAddr::from(([10, 0, 0, 1], 1024)));
        let ethernet = PacketBuilder::ethernet2(HARDWARE[0], HARDWARE[1]);
        let ip = match client.ip() {
            IpAddr::V4(addr) => ethernet.ipv4(addr.octets(), SERVER_V4.octets(), TTL),
            IpAddr::V6(addr) => ethernet.ipv6(addr.octets(), SERVER_V6.octets(), TTL),
        };
        self.frame.clear();
        ip.udp(client.port(), 53).write(&mut self.frame, &entry.message).map_err(io::Error::other)?;
        self.out.write_all(&pcap::record_header(entry.at.unwrap_or_default(), self.frame.len()))?;
        self.out.write_all(&self.frame)
    }
}
