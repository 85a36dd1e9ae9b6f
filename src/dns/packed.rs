//! A truth in one piece: as many octets as it has, and none around them, for there are many truths and few of them are looked at.
//!
//! What is packed never leaves this process. So nothing of it is doubted when it is taken out again, and what is wrong is no truth.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::asks::{ASKS_LEN, Asks};
use super::ede::Ede;
use super::mark::Mark;
use super::subnet::{Scope, Subnet};
use super::targets;
use super::truth::Truth;
use super::wire::Message;
use crate::iana::{EdeCode, Rcode};
use crate::name::Name;

/// Octets of the notes, which come first: a number, until when, and how it is asked for.
const NOTE_LEN: usize = 16 + ASKS_LEN;
/// Octets of what has a fixed size, the note included.
const HEAD_LEN: usize = NOTE_LEN + 4 + 8 * 2 + 2;
/// AA, AD and TC, as they are packed.
const AUTHORITATIVE: u8 = 1;
const AUTHENTIC: u8 = 2;
const TRUNCATED: u8 = 4;
/// Whom it is for stands behind all else.
const SCOPED: u8 = 8;
/// Octets of that: whether exactly, SCOPE PREFIX-LENGTH, length, address as IPv6 has it, and whether it is IPv4's.
const SCOPE_LEN: usize = 20;

/// What has a fixed size beside the note.
struct Head {
    lifetime_s: u32,
    rcode: u16,
    answers: u16,
    authorities: u16,
    strangers: u16,
    /// Octets of the records, TTLs there are, octets of names, octets of EDE options.
    lens: [u16; 4],
    flags: u8,
    aliases: u8,
}

impl Truth {
    /// Appends it in one piece; false, and nothing that is of use, if it is too long for one.
    pub fn pack(&self, out: &mut Vec<u8>) -> bool {
        let targets_len: usize = self.targets.iter().map(|target| target.as_wire().len()).sum();
        let ede_len: usize = self.ede.iter().map(|ede| 4 + ede.text.len()).sum();
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let mut lens = [0; 4];
        let parts = [self.octets.len(), self.ttl_offsets.len(), targets_len, ede_len];
        for (len, part) in lens.iter_mut().zip(parts) {
            let Ok(part) = u16::try_from(part) else { return false };
            *len = part;
        }
        let head = Head {
            lifetime_s: self.lifetime_s,
            rcode: self.rcode.0,
            answers: self.answers,
            authorities: self.authorities,
            strangers: self.strangers,
            lens,
            flags: flag(self.authoritative, AUTHORITATIVE)
                | flag(self.authentic, AUTHENTIC)
                | flag(self.truncated, TRUNCATED)
                | flag(self.scope.is_some(), SCOPED),
            aliases: self.aliases,
        };
        out.extend_from_slice(&note_of(self));
        head.put(out);
        out.extend_from_slice(&self.octets);
        self.ttl_offsets.iter().for_each(|offset| out.extend_from_slice(&offset.to_le_bytes()));
        self.targets.iter().for_each(|target| out.extend_from_slice(target.as_wire()));
        for ede in &self.ede {
            out.extend_from_slice(&ede.code.0.to_le_bytes());
            // Texts are cut when they are read.
            out.extend_from_slice(&(ede.text.len() as u16).to_le_bytes());
            out.extend_from_slice(ede.text.as_bytes());
        }
        out.extend(self.scope.iter().flat_map(octets_of));
        true
    }

    /// The truth that was packed into `octets`, and whatever is behind it; `question` is that which it answers, as a section.
    pub fn unpack(question: &[u8], octets: &[u8]) -> Option<Truth> {
        let (note, rest) = octets.split_first_chunk::<NOTE_LEN>()?;
        let (head, mut rest) = rest.split_first_chunk::<{ HEAD_LEN - NOTE_LEN }>()?;
        let head = Head::read(head);
        let [records, ttls, names, edes] = head.lens.map(usize::from);
        let mut take = |len: usize| {
            let (part, behind) = rest.split_at_checked(len)?;
            rest = behind;
            Some(part)
        };
        let (records, ttls, names, edes) = (take(records)?, take(2 * ttls)?, take(names)?, take(edes)?);
        let scope = if head.flags & SCOPED == 0 { None } else { Some(scope_of(take(SCOPE_LEN)?)?) };
        let message = Message::new(question, records);
        let [number, until] =
            [&note[..8], &note[8..16]].map(|half| half.try_into().map_or(0, u64::from_le_bytes));
        let asks = note.last_chunk().copied().map_or_else(Asks::default, Asks::noting);
        Some(Truth {
            rcode: Rcode(head.rcode),
            authoritative: head.flags & AUTHORITATIVE != 0,
            // What is said here is not cached.
            ours: false,
            authentic: head.flags & AUTHENTIC != 0,
            truncated: head.flags & TRUNCATED != 0,
            octets: records.into(),
            answers: head.answers,
            authorities: head.authorities,
            strangers: head.strangers,
            ttl_offsets: ttls.as_chunks().0.iter().copied().map(u16::from_le_bytes).collect(),
            lifetime_s: head.lifetime_s,
            targets: names_of(names)?,
            aliases: head.aliases,
            addresses: targets::addresses(&message, usize::from(head.answers)).ok()?.into(),
            ede: edes_of(edes)?,
            untouched: Mark::noting(number, until),
            asks,
            scope,
        })
    }

    /// Writes down in `octets`, where it was packed, what was noted beside it since.
    pub fn pack_notes(self: &Arc<Truth>, octets: &mut [u8]) {
        if let Some(place) = octets.first_chunk_mut::<NOTE_LEN>() {
            *place = note_of(self);
        }
    }
}

impl Head {
    /// Appends it.
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.lifetime_s.to_le_bytes());
        let words = [self.rcode, self.answers, self.authorities, self.strangers];
        words.into_iter().chain(self.lens).for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        out.extend_from_slice(&[self.flags, self.aliases]);
    }

    /// Reads what [`Head::put`] appended.
    fn read(octets: &[u8; HEAD_LEN - NOTE_LEN]) -> Head {
        let word = |index: usize| u16::from_le_bytes([octets[4 + 2 * index], octets[5 + 2 * index]]);
        let [a, b, c, d, ..] = *octets;
        Head {
            lifetime_s: u32::from_le_bytes([a, b, c, d]),
            rcode: word(0),
            answers: word(1),
            authorities: word(2),
            strangers: word(3),
            lens: [word(4), word(5), word(6), word(7)],
            flags: octets[20],
            aliases: octets[21],
        }
    }
}

/// What is noted beside a truth, in octets.
fn note_of(truth: &Truth) -> [u8; NOTE_LEN] {
    let (number, until) = truth.untouched.noted();
    let mut note = [0; NOTE_LEN];
    note[..8].copy_from_slice(&number.to_le_bytes());
    note[8..16].copy_from_slice(&until.to_le_bytes());
    note[16..].copy_from_slice(&truth.asks.noted());
    note
}

/// Whom a truth is for, in octets.
fn octets_of(scope: &Scope) -> [u8; SCOPE_LEN] {
    let Scope { of, exact, told } = scope;
    let (is_v4, address) = match of.address() {
        IpAddr::V4(v4) => (1, v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => (0, v6),
    };
    let mut octets = [0; SCOPE_LEN];
    octets[..4].copy_from_slice(&[u8::from(*exact), *told, of.bits(), is_v4]);
    octets[4..].copy_from_slice(&address.octets());
    octets
}

/// Whom it is for, of such octets.
fn scope_of(octets: &[u8]) -> Option<Scope> {
    let (&[exact, told, bits, is_v4], address) = octets.split_first_chunk::<4>()?;
    let address = Ipv6Addr::from(*address.first_chunk::<16>()?);
    let address = if is_v4 == 1 { IpAddr::V4(address.to_ipv4_mapped()?) } else { address.into() };
    Some(Scope { of: Subnet::of(address, bits), exact: exact == 1, told })
}

/// Names one behind the other.
fn names_of(mut octets: &[u8]) -> Option<Box<[Name]>> {
    let mut names = Vec::new();
    while !octets.is_empty() {
        let name = Name::at_start_of(octets)?;
        octets = octets.get(name.as_wire().len()..)?;
        names.push(name);
    }
    Some(names.into())
}

/// EDE options one behind the other.
fn edes_of(mut octets: &[u8]) -> Option<Vec<Ede>> {
    let mut edes = Vec::new();
    while let Some((&[a, b, c, d], rest)) = octets.split_first_chunk() {
        let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([c, d])))?;
        let text = String::from_utf8(text.to_vec()).ok()?;
        edes.push(Ede { code: EdeCode(u16::from_le_bytes([a, b])), text: Cow::Owned(text) });
        octets = rest;
    }
    Some(edes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::TtlLimits;
    use super::super::testing::{question, response};
    use super::*;
    use crate::iana::Rtype;

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let limits = TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };
        let opt = ". 0 OPT 22=all-down 23=";
        let cases: &[(u16, Rtype, [&[&str]; 3])] = &[
            (0, Rtype::A, [&["q.e 60 A 1.2.3.4"], &[], &[]]),
            (0x420, Rtype::A, [&["q.e 60 A 1.2.3.4", "q.e 60 A 1.2.3.5", "x.e 9 A 1.1.1.1"], &[], &[opt]]),
            (0, Rtype::A, [&["q.e 60 CNAME a.x", "a.x 50 CNAME b.x", "b.x 40 A 1.2.3.4"], &[], &[]]),
            (3, Rtype::A, [&["q.e 60 CNAME a.x"], &["x 60 SOA 60"], &[]]),
            (0, Rtype::AAAA, [&[], &["e 60 SOA 60"], &[]]),
            (0, Rtype::HTTPS, [&["q.e 60 HTTPS s.e 1.2.3.4"], &[], &[]]),
            (5, Rtype::A, [&[], &[], &[". 0 OPT 18="]]),
            (0x200, Rtype::A, [&["q.e 60 A 1.2.3.4"], &[], &[]]),
        ];
        for (flags, qtype, sections) in cases {
            let asked = question("q.e", *qtype);
            let truth = Truth::read(&asked, &response(*flags, "q.e", *qtype, *sections), &limits).unwrap();
            let of = Subnet::of("2001:db8::1".parse().unwrap(), 56);
            let scope = [Some(Scope { of, exact: true, told: 60 }), None][usize::from(*flags == 0)];
            let truth = Truth { scope, ..truth };
            truth.untouched.set(7, Duration::from_secs(9));
            let mut octets = Vec::new();
            assert!(truth.pack(&mut octets));
            octets.extend_from_slice(b"behind");
            let found = Truth::unpack(&asked.octets(), &octets).unwrap();
            assert_eq!(found, truth);
            assert_eq!(found.untouched.noted(), truth.untouched.noted());
            found.untouched.set(8, Duration::from_secs(10));
            found.asks.see_to();
            Arc::new(found).pack_notes(&mut octets);
            let again = Truth::unpack(&asked.octets(), &octets).unwrap();
            assert_eq!(again.untouched.until(8), Duration::from_secs(10));
            assert!(again.asks.is_seen_to() && !truth.asks.is_seen_to());
            for len in 0..octets.len() - 6 {
                assert_eq!(Truth::unpack(&asked.octets(), &octets[..len]), None, "{len}");
            }
        }
    }
}
