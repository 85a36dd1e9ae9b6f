//! Questions that were answered by the truth before, and the octets that answered them.
//!
//! What is remembered is what the checker found by reading a reply whole. A reply to the same question that holds the same
//! octets again, in the shape that replies usually have, is right as well; every other one must be read.

use std::hash::Hasher;

use crate::dns::wire::{FLAG_AD, FLAG_CD, FLAG_QR, FLAG_RD, FLAG_TC, HEADER_LEN};
use crate::iana::Rtype;
use crate::trace::random::mix;

use super::script;
use crate::trace::replay::question_len;

/// Questions remembered, a power of two; each takes one cache line, all together 64 MiB a thread. Popular ones are asked
/// again and again, so that most are met here.
const PLACES: usize = 1 << 20;
/// Octets of the longest question remembered, which has a name of 38: nearly all popular ones are shorter.
const MAX_QUESTION_LEN: usize = 42;
/// Octets of the longest RDATA remembered: only the scripted upstream's SRV records have more.
const MAX_RDATA_LEN: usize = 20;
/// Octets of the one answer record before its RDATA: pointer, type, class, TTL, length.
const ANSWER_LEN: usize = 12;
/// A pointer to the question's name (RFC 1035 §4.1.4).
const OWNER: [u8; 2] = [0xc0, HEADER_LEN as u8];

/// One question and its answer.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Known {
    question: [u8; MAX_QUESTION_LEN],
    rdata: [u8; MAX_RDATA_LEN],
    /// 0 is an empty place.
    question_len: u8,
    rdata_len: u8,
}

const _: () = assert!(size_of::<Known>() == 64, "one cache line, as said above");

/// The questions that were met last, one in each place.
pub(super) struct Truths(Vec<Known>);

impl Truths {
    /// None yet.
    pub(super) fn new() -> Truths {
        let empty = Known {
            question: [0; MAX_QUESTION_LEN],
            rdata: [0; MAX_RDATA_LEN],
            question_len: 0,
            rdata_len: 0,
        };
        Truths(vec![empty; PLACES])
    }

    /// None ever: every reply is read whole.
    pub(super) fn never() -> Truths {
        Truths(Vec::new())
    }

    /// Remembers that the truth to `question`, as it was asked, is one record with this RDATA.
    pub(super) fn note(&mut self, question: &[u8], rdata: &[u8]) {
        let Some(known) = self.0.get_mut(hash(question) as usize % PLACES) else { return };
        let (Some(asked), Some(told)) =
            (known.question.get_mut(..question.len()), known.rdata.get_mut(..rdata.len()))
        else {
            return;
        };
        asked.copy_from_slice(question);
        told.copy_from_slice(rdata);
        // Both fit, so both lengths are below 43.
        (known.question_len, known.rdata_len) = (question.len() as u8, rdata.len() as u8);
    }

    /// Looks at the places of many packets' questions, so that the processor fetches them all at once and not, each with
    /// the whole latency of memory, one by one.
    pub(super) fn fetch<'p>(&self, packets: impl Iterator<Item = &'p [u8]>) {
        let touched = packets.fold(0, |touched, packet| {
            let question = packet.get(HEADER_LEN..).and_then(|rest| rest.get(..question_len(rest)?));
            let known = question.and_then(|question| self.0.get(hash(question) as usize % PLACES));
            known.map_or(touched, |known| touched ^ known.question_len ^ known.question[0])
        });
        // Nobody needs the sum; without a reader the reads would be left out.
        std::hint::black_box(touched);
    }

    /// Whether `reply` is the remembered truth to `packet`, in its usual shape: no error, ID and question as asked, one
    /// answer at the question's name of its type and class, the RDATA, a TTL that was not lengthened, and an OPT record
    /// without options exactly if the query has one.
    pub(super) fn fits(&self, packet: &[u8], reply: &[u8]) -> bool {
        self.holds(packet, reply).unwrap_or(false)
    }

    /// [`fits`](Truths::fits); none where octets are missing.
    fn holds(&self, packet: &[u8], reply: &[u8]) -> Option<bool> {
        let (asked, rest) = packet.split_first_chunk::<HEADER_LEN>()?;
        let (told, records) = reply.split_first_chunk::<HEADER_LEN>()?;
        let question = rest.get(..question_len(rest)?)?;
        let known = self.0.get(hash(question) as usize % PLACES)?;
        if known.question.get(..usize::from(known.question_len))? != question {
            return Some(false);
        }
        let word = |header: &[u8; HEADER_LEN], at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (opts, flags) = (word(asked, 10), word(told, 2));
        // No flag that clients do not set, one question, and nothing but an OPT record without options: what a query that is
        // not like that should be answered, reading it must say.
        let behind = rest.get(question.len()..)?;
        let plain = word(asked, 2) & !(FLAG_RD | FLAG_AD | FLAG_CD) == 0
            && word(asked, 4) == 1
            && word(asked, 6) | word(asked, 8) == 0
            && is_opt(opts, behind);
        // Response, opcode and rcode 0, not cut.
        let sound = flags & (FLAG_QR | FLAG_TC | 0x780f) == FLAG_QR && told[..2] == asked[..2];
        let counts = word(told, 4) == 1 && word(told, 6) == 1 && word(told, 8) == 0 && word(told, 10) == opts;
        let (echoed, records) = records.split_at_checked(question.len())?;
        let (answer, records) = records.split_first_chunk::<ANSWER_LEN>()?;
        let [o0, o1, t0, t1, c0, c1, ttl0, ttl1, ttl2, ttl3, l0, l1] = *answer;
        let rdata = known.rdata.get(..usize::from(known.rdata_len))?;
        let (data, opt) = records.split_at_checked(rdata.len())?;
        let answered = [o0, o1] == OWNER
            && [t0, t1, c0, c1] == *question.last_chunk::<4>()?
            && u32::from_be_bytes([ttl0, ttl1, ttl2, ttl3]) <= script::TTL_S
            && usize::from(u16::from_be_bytes([l0, l1])) == rdata.len()
            && data == rdata;
        Some(plain && sound && counts && echoed == question && answered && is_opt(opts, opt))
    }
}

/// Whether these octets are so many OPT records, none or one: root, type, any size, no upper bits of the rcode, version
/// 0, any flags, no options (RFC 6891 §6.1.2).
fn is_opt(count: u16, octets: &[u8]) -> bool {
    match (count, octets) {
        (0, []) => true,
        (1, &[0, t0, t1, _, _, 0, 0, _, _, 0, 0]) => Rtype::from_be_bytes([t0, t1]) == Rtype::OPT,
        _ => false,
    }
}

/// A hash of these octets, eight at a time.
pub(super) fn hash(octets: &[u8]) -> u64 {
    let (chunks, rest) = octets.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    // The length tells trailing zeros apart; the finisher spreads what the multiplications gathered in the upper bits.
    let step = |hash: u64, chunk: &[u8; 8]| {
        (hash ^ u64::from_le_bytes(*chunk)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    };
    mix(chunks.iter().chain([&last]).fold(octets.len() as u64, step))
}

/// [`hash`] as maps use it: keys come from traces and lists that whoever runs the check has chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        self.0 = self.0.rotate_left(32) ^ hash(octets);
    }

    /// What is a hash already stays as it is.
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    /// The length before a key's octets, which their hash covers.
    fn write_usize(&mut self, _: usize) {}
}
