//! Files of DHCP leases, as three servers write them: an address, the name that its device gave itself, and until when.
//!
//! A name is any device's word. Which of them are believed is [`gather`](super::gather)'s to say; here is only read what stands there.

mod dhcpd;
mod dnsmasq;
mod kea;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use crate::problem::Problem;
use crate::time::UnixSeconds;
use crate::zonefile::Findings;

/// Leases of one file that are kept: those of a /16.
pub const MAX_LEASES: usize = 65_536;
/// Octets in the longest name that is kept: as many as a domain name has.
const MAX_HOST_LEN: usize = 255;

/// How a file of leases is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// dnsmasq's `--dhcp-leasefile`.
    Dnsmasq,
    /// ISC dhcpd's dhcpd.leases and dhcpd6.leases.
    Dhcpd,
    /// Kea's memfile: kea-leases4.csv and kea-leases6.csv.
    Kea,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Dnsmasq => "dnsmasq",
            Format::Dhcpd => "dhcpd",
            Format::Kea => "kea",
        })
    }
}

/// A lease of a device that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its address.
    pub address: IpAddr,
    /// The name, as text, as it stands there.
    pub host: Box<[u8]>,
    /// First second in which it is over; none is never, as far as is known.
    pub ends: Option<UnixSeconds>,
    /// When it was given; where that is not written, when it ends. The greater, the newer.
    pub given: UnixSeconds,
}

/// The leases of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Each, by the order in which it was given last.
    pub leases: Vec<Lease>,
    /// How many had no room.
    pub left_out: usize,
}

/// A file of leases, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The file as the operator would name it.
    pub file: &'a str,
    /// What it holds.
    pub content: &'a [u8],
}

/// Reads leases from the parts of a file, the oldest first, in this format or the one that they are in. Gives back what is wrong with
/// single entries, too.
///
/// # Errors
/// What is wrong with the file as a whole.
pub fn read(parts: &[Part<'_>], format: Option<Format>) -> Result<(Leases, Vec<Problem>), Problem> {
    let found = format.or_else(|| parts.iter().find_map(|part| found_out(part.content)));
    let Some(last) = parts.last() else { return Ok((Leases::default(), Vec::new())) };
    let Some(format) = found else {
        // Comments are all that a server has written that gave no lease yet.
        if parts.iter().all(|part| first_word(part.content).is_none()) {
            return Ok((Leases::default(), Vec::new()));
        }
        let hint = "there are dnsmasq's, ISC dhcpd's and Kea's memfile: say lease_format = \"dnsmasq\"";
        return Err(Problem::error(last.file, Some(1), "no file of leases that is known").hint(hint));
    };
    let mut book = Book::default();
    for part in parts {
        match format {
            Format::Dnsmasq => dnsmasq::read(part, &mut book),
            Format::Dhcpd => dhcpd::read(part, &mut book),
            Format::Kea => kea::read(part, &mut book)?,
        }
    }
    let broken = book.understood == 0 && book.refused > 0;
    let (leases, problems) = book.finish(last.file);
    match problems.first().filter(|_| broken) {
        Some(first) => Err(first.clone()),
        None => Ok((leases, problems)),
    }
}

/// The word that says what a file is: the first that is not in a comment.
fn first_word(content: &[u8]) -> Option<&[u8]> {
    let lines = content.split(|&octet| octet == b'\n').map(<[u8]>::trim_ascii);
    let line = lines.filter(|line| !line.is_empty()).find(|line| !line.starts_with(b"#"))?;
    line.split(u8::is_ascii_whitespace).next()
}

/// The format that a text is in.
fn found_out(content: &[u8]) -> Option<Format> {
    const OF_DHCPD: [&[u8]; 9] = [
        b"lease",
        b"ia-na",
        b"ia-ta",
        b"ia-pd",
        b"host",
        b"failover",
        b"server-duid",
        b"authoring-byte-order",
        b"server-identifier",
    ];
    let word = first_word(content)?;
    if word.starts_with(b"address,") {
        Some(Format::Kea)
    } else if word == b"duid" || word.iter().all(u8::is_ascii_digit) {
        Some(Format::Dnsmasq)
    } else {
        OF_DHCPD.contains(&word.strip_suffix(b";").unwrap_or(word)).then_some(Format::Dhcpd)
    }
}

/// Leases as they are read: of each address the last word counts.
#[derive(Default)]
struct Book {
    /// The place of each address.
    places: HashMap<IpAddr, usize>,
    /// What was said of it last; none that nobody with a name has it.
    leases: Vec<Option<Lease>>,
    /// Entries that could be read.
    understood: usize,
    /// Entries that could not.
    refused: usize,
    /// Leases that had no room.
    left_out: usize,
    /// What is wrong.
    findings: Findings,
}

impl Book {
    /// Takes note of what is said of an address: who has it, or that nobody with a name does.
    fn take(&mut self, address: IpAddr, lease: Option<Lease>) {
        self.understood += 1;
        let lease = lease.filter(|lease| (1..=MAX_HOST_LEN).contains(&lease.host.len()));
        if let Some(kept) = self.places.get(&address).and_then(|place| self.leases.get_mut(*place)) {
            *kept = lease;
        } else if self.leases.len() < MAX_LEASES {
            self.places.insert(address, self.leases.len());
            self.leases.push(lease);
        } else {
            self.left_out += 1;
        }
    }

    /// Refuses an entry.
    fn refuse(&mut self, file: &str, line: u32, why: impl Into<String>, hint: &str) {
        self.refused += 1;
        self.findings.refuse(file, line, why, hint);
    }

    /// What was read, and what is wrong.
    fn finish(self, file: &str) -> (Leases, Vec<Problem>) {
        let (mut problems, _) = self.findings.finish(file);
        if self.left_out > 0 {
            let message = format!("{} leases are left out: there are more than {MAX_LEASES}", self.left_out);
            problems.push(Problem::warning(file, None, message));
        }
        let problems = problems.into_iter().map(Problem::as_warning).collect();
        (Leases { leases: self.leases.into_iter().flatten().collect(), left_out: self.left_out }, problems)
    }
}

/// A whole number in a word.
fn number(word: &[u8]) -> Option<i64> {
    std::str::from_utf8(word)
        .ok()
        .filter(|word| word.bytes().all(|octet| octet.is_ascii_digit()))?
        .parse()
        .ok()
}

/// An address in a word.
fn address(word: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
