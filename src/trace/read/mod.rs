//! Traces read, whatever they are: recognised by their first octets, unpacked, one query at a time.
//!
//! What cannot be a replayable query is counted and passed over; damage to the file itself ends reading with its place,
//! and what came before stands.

mod dnstap;
mod frame;
mod input;
pub mod pcap;
mod pcapng;
mod tcp;
mod text;

use crate::iana::Rtype;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::Entry;
use super::message::Edns;
use frame::Frames;

/// How to read what a trace leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The type of names that come without one.
    pub qtype: Rtype,
    /// The EDNS part of queries made from text; captured ones stay as they are.
    pub edns: Option<Edns>,
    /// The port that captured queries went to.
    pub port: u16,
}

impl Default for Options {
    /// Type A, no EDNS, port 53.
    fn default() -> Options {
        Options { qtype: crate::iana::Rtype::A, edns: None, port: 53 }
    }
}

/// Reads one trace, once.
pub struct Reader {
    source: Source,
    skipped: Skipped,
    /// Damage was reported, or the end reached: there is nothing more.
    ended: bool,
}

/// What was passed over; each count only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Lines of text that hold no name and type.
    pub lines: u64,
    /// The first of them: its number from 1, and what is wrong with it.
    pub first_line: Option<(u64, String)>,
    /// Packets and messages that are no DNS queries: other traffic, responses, what the server itself asked.
    pub others: u64,
    /// Fragments and cut packets.
    pub partial: u64,
    /// DNS queries that cannot be matched to a reply: no question, another opcode, unreadable.
    pub odd: u64,
    /// TCP octets that were given up: gaps, or more than is kept.
    pub tcp_lost: u64,
}

/// Where a trace is damaged; it cannot be read further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Octets before it, after unpacking.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

/// The formats.
enum Source {
    Text(text::Lines),
    Pcap(pcap::Records, Box<Frames>),
    PcapNg(pcapng::Blocks, Box<Frames>),
    Dnstap(dnstap::Stream),
}

impl Reader {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// When it cannot be opened, or its first octets cannot be read.
    pub fn open(path: &Path, options: Options) -> io::Result<Reader> {
        if path.as_os_str() == "-" {
            return Reader::new(io::stdin(), options);
        }
        Reader::new(File::open(path)?, options)
    }

    /// Reads from `source`.
    ///
    /// # Errors
    /// When its first octets cannot be read.
    pub fn new(source: impl Read + Send + 'static, options: Options) -> io::Result<Reader> {
        let mut input = input::unpacked(BufReader::with_capacity(input::BUFFER_LEN, source))?;
        // A trace shorter than a magic number is text, perhaps empty.
        let head = input.peek(4)?;
        let source = match head.first_chunk::<4>() {
            Some(magic) if pcap::Records::is_magic(*magic) => {
                Source::Pcap(pcap::Records::new(input), Box::new(Frames::new(options.port)))
            }
            Some(&pcapng::SECTION) => {
                Source::PcapNg(pcapng::Blocks::new(input), Box::new(Frames::new(options.port)))
            }
            Some(&dnstap::ESCAPE) => Source::Dnstap(dnstap::Stream::new(input)),
            _ => Source::Text(text::Lines::new(input, options)),
        };
        Ok(Reader { source, skipped: Skipped::default(), ended: false })
    }

    /// Reads the next query into `entry`; false at the end.
    ///
    /// # Errors
    /// [`Damage`], once; after it the trace has ended.
    pub fn read(&mut self, entry: &mut Entry) -> Result<bool, Damage> {
        if self.ended {
            return Ok(false);
        }
        let skipped = &mut self.skipped;
        let read = match &mut self.source {
            Source::Text(lines) => lines.read(entry, skipped),
            Source::Pcap(records, frames) => frames.read(entry, skipped, |frame| records.read(frame)),
            Source::PcapNg(blocks, frames) => frames.read(entry, skipped, |frame| blocks.read(frame)),
            Source::Dnstap(stream) => stream.read(entry, skipped),
        };
        self.ended = !matches!(read, Ok(true));
        read
    }

    /// What was passed over so far.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, Damage>;

    fn next(&mut self) -> Option<Result<Entry, Damage>> {
        let mut entry = Entry::default();
        match self.read(&mut entry) {
            Ok(true) => Some(Ok(entry)),
            Ok(false) => None,
            Err(damage) => Some(Err(damage)),
        }
    }
}

impl Skipped {
    /// Adds what another reading passed over.
    pub fn add(&mut self, other: &Skipped) {
        self.lines += other.lines;
        self.others += other.others;
        self.partial += other.partial;
        self.odd += other.odd;
        self.tcp_lost += other.tcp_lost;
        if self.first_line.is_none() {
            self.first_line.clone_from(&other.first_line);
        }
    }
}

impl fmt::Display for Skipped {
    /// What was passed over, in words; empty when nothing was.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (count, what) in [
            (self.lines, "lines that are no query"),
            (self.others, "packets that are no DNS query"),
            (self.partial, "fragments and cut packets"),
            (self.odd, "odd DNS queries"),
            (self.tcp_lost, "TCP octets"),
        ] {
            if count > 0 {
                write!(f, "{comma}{count} {what}")?;
                comma = ", ";
            }
        }
        if let Some((line, what)) = &self.first_line {
            write!(f, " (the first is line {line}: {what})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged at octet {}: {}", self.offset, self.what)
    }
}

impl std::error::Error for Damage {}

#[cfg(test)]
mod tests;
