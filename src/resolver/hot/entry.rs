//! One answer in one piece: a head of fixed size, and behind it the question's name, the records, OPT, the places of the
//! TTLs and the names that review looks at.

use std::time::Duration;

use super::template::Template;
use crate::dns::head::QueryHead;
use crate::dns::mark::nanos;
use crate::dns::rotation;
use crate::dns::wire::Message;
use crate::dns::{Question, Truth, finish};
use crate::iana::{Class, Rtype};
use crate::name::Name;
use crate::policy::{Clear, Stamp};

/// Octets of a head.
pub(super) const HEAD_LEN: usize = 56;
/// Entries start at multiples of this; a power of two.
pub(super) const STEP: usize = 16;
/// The longest entry, in octets: a name, a reply that fills a datagram, and some aliases.
pub(super) const MAX_LEN: usize = 2048;
/// Where in a head the octet stands that holds DO and CD, how many addresses take turns, and [`ASKED`].
const BITS_AT: usize = 50;
/// Where in a head stand the stamp and until when.
const CLEAR_AT: usize = 16;
/// DO and CD, which are part of the question.
const DO: u8 = 1;
const CD: u8 = 2;
/// Whether it was asked for since the sweep last came by.
const ASKED: u8 = 0x80;
/// What stands beside the epoch of names that are answered here, where other entries have the time they arrived at, which never gets so
/// far (three centuries).
const OURS: u64 = 1 << 63;
/// What of that octet is part of the question: DO and CD.
const QUESTION: u8 = 0x03;
/// Where in that octet stands how many addresses take turns: five bits, up to [`ASKED`].
const TURNING_SHIFT: u32 = 2;
const _: () = assert!(rotation::MAX << TURNING_SHIFT < ASKED && 1 << TURNING_SHIFT > QUESTION);

/// What stands at fixed places, little-endian, in this order.
#[derive(Clone, Copy)]
pub(super) struct Head {
    /// The question's hash.
    pub(super) hash: u64,
    /// When it arrived, in nanoseconds; of what was said here [`ours`].
    stored: u64,
    /// Under which stamp no rule was about the name and all it leads to, and until when, in nanoseconds.
    clear: [u64; 2],
    /// How long it lives, in seconds; 0 of what was said here, which lives as long as the names stay what they are.
    lifetime_s: u32,
    /// Octets of it all, rounded up.
    len: u16,
    records_len: u16,
    flags: u16,
    counts: [u16; 3],
    qtype: Rtype,
    /// DO and CD, which are part of the question, how many addresses take turns, and [`ASKED`].
    bits: u8,
    name_len: u8,
    opt_len: u8,
    ttls: u8,
    targets_len: u16,
}

impl Head {
    /// Reads a head.
    #[inline]
    fn read(octets: &[u8; HEAD_LEN]) -> Head {
        let word = |at: usize| u16::from_le_bytes([octets[at], octets[at + 1]]);
        let half = |at: usize| u64::from(word(at)) | u64::from(word(at + 2)) << 16;
        let long = |at: usize| half(at) | half(at + 4) << 32;
        Head {
            hash: long(0),
            stored: long(8),
            clear: [long(CLEAR_AT), long(CLEAR_AT + 8)],
            lifetime_s: half(32) as u32,
            len: word(36),
            records_len: word(38),
            flags: word(40),
            counts: [word(42), word(44), word(46)],
            qtype: Rtype(word(48)),
            bits: octets[BITS_AT],
            name_len: octets[51],
            opt_len: octets[52],
            ttls: octets[53],
            targets_len: word(54),
        }
    }

    /// The octets that [`Head::read`] reads.
    fn octets(&self) -> [u8; HEAD_LEN] {
        let mut octets = [0; HEAD_LEN];
        let mut rest = &mut octets[..];
        let mut put = |part: &[u8]| {
            let (place, behind) = std::mem::take(&mut rest).split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = behind;
        };
        put(&self.hash.to_le_bytes());
        put(&self.stored.to_le_bytes());
        put(&octets_of(self.clear));
        put(&self.lifetime_s.to_le_bytes());
        for word in [self.len, self.records_len, self.flags].into_iter().chain(self.counts) {
            put(&word.to_le_bytes());
        }
        put(&self.qtype.0.to_le_bytes());
        put(&[self.bits, self.name_len, self.opt_len, self.ttls]);
        put(&self.targets_len.to_le_bytes());
        octets
    }
}

/// An entry, read where it stands. The time it is asked about is in nanoseconds, as [`nanos`] gives it: a batch has one.
#[derive(Clone, Copy)]
pub(super) struct Entry<'e> {
    head: Head,
    /// What is behind the head.
    rest: &'e [u8],
}

impl<'e> Entry<'e> {
    /// The entry at the start of `octets`.
    #[inline]
    pub(super) fn read(octets: &'e [u8]) -> Option<Entry<'e>> {
        let (head, rest) = octets.split_first_chunk()?;
        Some(Entry { head: Head::read(head), rest })
    }

    /// The question's hash.
    pub(super) fn hash(&self) -> u64 {
        self.head.hash
    }

    /// Octets of it all, at least a head's.
    pub(super) fn len(&self) -> usize {
        usize::from(self.head.len).max(HEAD_LEN)
    }

    /// Whether it answers that question.
    #[inline]
    pub(super) fn is_for(&self, head: &QueryHead, qname: &Name) -> bool {
        self.head.qtype == head.qtype
            && self.head.bits & QUESTION == bits(head)
            && self.rest.get(..usize::from(self.head.name_len)) == Some(qname.as_wire())
    }

    /// The question it answers.
    pub(super) fn question(&self) -> Option<Question> {
        Some(Question {
            qname: Name::at_start_of(self.rest)?,
            qtype: self.head.qtype,
            // Others are not ordinary.
            qclass: Class::IN,
            dnssec_ok: self.head.bits & DO != 0,
            checking_disabled: self.head.bits & CD != 0,
            asked_for: None,
        })
    }

    /// Whether it was asked for since the sweep last came by.
    pub(super) fn was_asked(&self) -> bool {
        self.head.bits & ASKED != 0
    }

    /// Whether it is still alive, or was said here by the names that are answered here now.
    #[inline]
    pub(super) fn is_alive(&self, now: u64, ours: u64) -> bool {
        // As many whole seconds, and no division.
        now.saturating_sub(self.head.stored) < u64::from(self.head.lifetime_s) * NANOS
            || self.head.stored == ours
    }

    /// Whether it was said here.
    #[inline]
    pub(super) fn is_ours(&self) -> bool {
        self.head.stored & OURS != 0
    }

    /// Whether no rule was about the name, nor about all it leads to, under just that stamp and for longer than until now.
    #[inline]
    pub(super) fn is_clear(&self, stamp: Stamp, now: u64) -> bool {
        let [clear, until] = self.head.clear;
        Stamp::from_bits(clear).is(stamp) && now < until
    }

    /// Whether it holds these records and no others.
    pub(super) fn holds(&self, octets: &[u8]) -> bool {
        self.parts().is_some_and(|[records, ..]| records == octets)
    }

    /// Whole seconds since it arrived, as the shared cache counts them; what was said here has no TTL that is counted.
    #[inline]
    fn age_s(&self, now: u64) -> u32 {
        u32::try_from(now.saturating_sub(self.head.stored) / NANOS).unwrap_or(u32::MAX)
    }

    /// The parts behind the name: records, OPT, TTL places, targets.
    #[inline]
    fn parts(&self) -> Option<[&'e [u8]; 4]> {
        let (_, rest) = self.rest.split_at_checked(usize::from(self.head.name_len))?;
        let (records, rest) = rest.split_at_checked(usize::from(self.head.records_len))?;
        let (opt, rest) = rest.split_at_checked(usize::from(self.head.opt_len))?;
        let (ttls, rest) = rest.split_at_checked(2 * usize::from(self.head.ttls))?;
        let targets = rest.get(..usize::from(self.head.targets_len))?;
        Some([records, opt, ttls, targets])
    }

    /// The names it leads to, in order.
    pub(super) fn targets(&self) -> impl Iterator<Item = Name> + use<'e> {
        let mut rest = self.parts().map_or(&[][..], |[.., targets]| targets);
        std::iter::from_fn(move || {
            let name = Name::at_start_of(rest)?;
            rest = rest.get(name.as_wire().len()..)?;
            Some(name)
        })
    }

    /// The records as they stand behind the question, and how many of them are answers.
    pub(super) fn message(&self, question: &'e [u8]) -> Option<(Message<'e>, u16)> {
        let [records, ..] = self.parts()?;
        Some((Message::new(question, records), self.head.counts[0]))
    }

    /// Writes the reply; none when it does not fit whole.
    #[inline]
    pub(super) fn render(
        &self,
        head: &QueryHead,
        question: &[u8],
        now: u64,
        out: &mut [u8],
    ) -> Option<usize> {
        let [records, opt, ttls, _] = self.parts()?;
        let turning = (self.head.bits & !ASKED) >> TURNING_SHIFT;
        let template = Template { flags: self.head.flags, counts: self.head.counts, records, opt, turning };
        let offsets = ttls.chunks_exact(2).map(|place| u16::from_le_bytes([place[0], place[1]]));
        template.render(head, question, &[], offsets, self.age_s(now), out)
    }
}

/// Since when a truth is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stored {
    /// It arrived then, and is kept until it is that old, in seconds.
    At(Duration, u32),
    /// It is said here: [`ours`].
    Here(u64),
}

/// An entry to be written.
pub(super) struct Draft<'d> {
    head: Head,
    parts: [&'d [u8]; 3],
    truth: &'d Truth,
}

impl<'d> Draft<'d> {
    /// An entry for that answer; none if it is too large for one.
    pub(super) fn new(
        (hash, head, qname): (u64, &QueryHead, &'d Name),
        template: &Template<'d>,
        (truth, stored): (&'d Truth, Stored),
        clear: Clear,
    ) -> Option<Draft<'d>> {
        let name = qname.as_wire();
        let targets_len: usize = truth.targets.iter().map(|target| target.as_wire().len()).sum();
        let ttls = truth.ttl_offsets.len();
        let len =
            HEAD_LEN + name.len() + template.records.len() + template.opt.len() + 2 * ttls + targets_len;
        if len > MAX_LEN || template.records.len() > finish::MAX_UDP_LEN {
            return None;
        }
        let (stored, lifetime_s) = match stored {
            Stored::At(time, for_s) => (nanos(time), for_s),
            Stored::Here(ours) => (ours, 0),
        };
        let head = Head {
            hash,
            stored,
            clear: numbers(clear),
            lifetime_s,
            len: len.next_multiple_of(STEP) as u16,
            records_len: template.records.len() as u16,
            flags: template.flags,
            counts: template.counts,
            qtype: head.qtype,
            bits: bits(head) | template.turning << TURNING_SHIFT,
            name_len: name.len() as u8,
            opt_len: u8::try_from(template.opt.len()).ok()?,
            ttls: u8::try_from(ttls).ok()?,
            targets_len: targets_len as u16,
        };
        Some(Draft { head, parts: [name, template.records, template.opt], truth })
    }

    /// Octets it takes.
    pub(super) fn len(&self) -> usize {
        usize::from(self.head.len)
    }

    /// Writes it; `place` has room for it.
    pub(super) fn write(&self, place: &mut [u8]) {
        let mut rest = place;
        let mut put = |part: &[u8]| {
            if let Some((place, behind)) = std::mem::take(&mut rest).split_at_mut_checked(part.len()) {
                place.copy_from_slice(part);
                rest = behind;
            }
        };
        put(&self.head.octets());
        self.parts.iter().for_each(|part| put(part));
        self.truth.ttl_offsets.iter().for_each(|offset| put(&offset.to_le_bytes()));
        self.truth.targets.iter().for_each(|target| put(target.as_wire()));
    }
}

/// Sets or clears the mark of the entry at the start of `octets` that it was asked for. A cache line that need not change is
/// not written.
#[inline]
pub(super) fn note_asked(octets: &mut [u8], asked: bool) {
    if let Some(bits) = octets.get_mut(BITS_AT)
        && (*bits & ASKED != 0) != asked
    {
        *bits ^= ASKED;
    }
}

/// Writes into the entry at the start of `octets` under which stamp no rule is about its name, and until when.
pub(super) fn note_clear(octets: &mut [u8], clear: Clear) {
    if let Some(place) = octets.get_mut(CLEAR_AT..CLEAR_AT + 16) {
        place.copy_from_slice(&octets_of(numbers(clear)));
    }
}

/// What a head holds of what no rule is about.
fn numbers(clear: Clear) -> [u64; 2] {
    [clear.stamp.to_bits(), nanos(clear.until)]
}

/// The same in octets.
fn octets_of(numbers: [u64; 2]) -> [u8; 16] {
    let [stamp, until] = numbers.map(u128::from);
    (stamp | until << 64).to_le_bytes()
}

/// What marks what is said by the names that are answered here and have that epoch.
pub(super) fn ours(epoch: u64) -> u64 {
    epoch | OURS
}

/// DO and CD of a query.
#[inline]
pub(super) fn bits(head: &QueryHead) -> u8 {
    (u8::from(head.dnssec_ok()) * DO) | (u8::from(head.cd) * CD)
}

/// Nanoseconds in a second.
const NANOS: u64 = 1_000_000_000;
