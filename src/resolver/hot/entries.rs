//! One worker's own cache of answers: a set-associative table of fixed size, each answer in one piece.
//!
//! Entries come from the shared cache and never outlive what it said. A hit moves its entry one place ahead in its set and
//! a new one comes in last, so that what is asked once drives out nothing that is asked often.

use std::sync::Arc;
use std::time::Duration;

use super::mould::Mould;
use crate::dns::{Query, Truth};
use crate::policy::UnixSeconds;

/// Ways of a set: as many as a cache line holds.
const WAYS: usize = 8;
/// Sets, a power of two: 16,384 entries, 8 MiB when all are taken.
const SETS: usize = 2048;
/// The most octets of name, records and OPT that an entry holds; makes it half a kilobyte. Longer answers are rare and
/// served from the shared cache.
const ROOM: usize = 400;
/// The most TTLs an entry holds.
const MAX_TTLS: usize = 16;
/// An odd constant with well-mixed bits: 2^64 divided by the golden ratio (Knuth, TAOCP vol. 3, 6.4).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Answers by question.
pub(super) struct Entries {
    /// Makes places hard to guess: who could choose names for one set would drive others out of it.
    seed: u64,
    sets: Vec<Set>,
    /// Grows as entries come, so that an idle worker holds little.
    entries: Vec<Entry>,
}

/// Eight ways: the upper half of a hash above a place in `entries`, counted from 1; 0 is empty. Taken ones come first.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Set([u64; WAYS]);

/// The moment at which policy left a name alone, with all it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memo {
    /// The policy, counted; 0 is none.
    pub(super) generation: u64,
    /// The second.
    pub(super) wall: UnixSeconds,
}

/// An answer.
struct Entry {
    /// What review looks at, if the answer leads anywhere.
    leads: Option<Arc<Truth>>,
    stored: Duration,
    clear: Memo,
    lifetime_s: u32,
    qtype: u16,
    /// DO and CD, which are part of the question.
    bits: u8,
    name_len: u8,
    records_len: u16,
    opt_len: u8,
    ttls: u8,
    flags: u16,
    counts: [u16; 3],
    ttl_offsets: [u16; MAX_TTLS],
    /// Name, records, OPT.
    octets: [u8; ROOM],
}

impl Memo {
    /// Never.
    pub(super) const NONE: Memo = Memo { generation: 0, wall: 0 };
}

impl Entries {
    /// None yet.
    pub(super) fn new() -> Entries {
        Entries { seed: rand::random(), sets: vec![Set([0; WAYS]); SETS], entries: Vec::new() }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.sets.fill(Set([0; WAYS]));
        self.entries.clear();
    }

    /// The hash of a question, to be handed to the others.
    pub(super) fn hash(&self, query: &Query<'_>) -> u64 {
        let mut hash = mix(self.seed, u64::from(query.qtype) << 8 | u64::from(bits(query)));
        let mut words = query.qname.as_wire().chunks_exact(8);
        for word in &mut words {
            // chunks_exact gives eight octets each.
            hash = mix(hash, u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        let mut last = [0; 8];
        for (octet, given) in last.iter_mut().zip(words.remainder()) {
            *octet = *given;
        }
        // The name ends itself with a zero, so that padding with zeros is no other name.
        mix(hash, u64::from_le_bytes(last))
    }

    /// The entry that answers `query` and is still alive at `now`.
    pub(super) fn find(&mut self, hash: u64, query: &Query<'_>, now: Duration) -> Option<usize> {
        let set = &mut self.sets[set_of(hash)].0;
        for way in 0..WAYS {
            if set[way] == 0 {
                return None;
            }
            if (set[way] ^ hash) >> 32 != 0 {
                continue;
            }
            let place = place_of(set[way]);
            let entry = &self.entries[place];
            if entry.is_for(query) {
                if way > 0 {
                    set.swap(way, way - 1);
                }
                return (entry.age_s(now) < entry.lifetime_s).then_some(place);
            }
        }
        None
    }

    /// Whether there is an entry for `query`, dead or alive, whose name policy left alone at just that moment.
    pub(super) fn holds_clear(&self, hash: u64, query: &Query<'_>, memo: Memo) -> bool {
        let taken = self.sets[set_of(hash)].0.iter().take_while(|way| **way != 0);
        let mut alike = taken.filter(|way| (*way ^ hash) >> 32 == 0).map(|way| &self.entries[place_of(*way)]);
        alike.any(|entry| entry.clear == memo && entry.is_for(query))
    }

    /// Whether policy left the name alone at just that moment.
    pub(super) fn is_clear(&self, entry: usize, memo: Memo) -> bool {
        self.entries[entry].clear == memo
    }

    /// Notes that it did.
    pub(super) fn note_clear(&mut self, entry: usize, memo: Memo) {
        self.entries[entry].clear = memo;
    }

    /// The truth whose targets are to be reviewed, if it has any.
    pub(super) fn leads(&self, entry: usize) -> Option<&Truth> {
        self.entries[entry].leads.as_deref()
    }

    /// Writes the reply; none when it does not fit whole.
    pub(super) fn pour(
        &self,
        entry: usize,
        query: &Query<'_>,
        now: Duration,
        out: &mut [u8],
    ) -> Option<usize> {
        let entry = &self.entries[entry];
        let offsets = entry.ttl_offsets.get(..usize::from(entry.ttls))?;
        entry.mould()?.pour(query, &[], offsets, entry.age_s(now), out)
    }

    /// Takes an answer in, at the place of the one before it, if that is here; none if it is too large.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        query: &Query<'_>,
        mould: &Mould<'_>,
        truth: &Arc<Truth>,
        stored: Duration,
    ) -> Option<usize> {
        let entry = Entry::new(query, mould, truth, stored)?;
        let set = &mut self.sets[set_of(hash)].0;
        let same = |way: &u64| {
            *way == 0
                || ((*way ^ hash) >> 32 == 0
                    && self.entries.get(place_of(*way)).is_some_and(|entry| entry.is_for(query)))
        };
        // The one that is for this question, or else the first that is free, or else the last.
        let way = set.iter().position(same).unwrap_or(WAYS - 1);
        let place = match set[way] {
            0 => self.entries.len(),
            taken => place_of(taken),
        };
        set[way] = (hash >> 32) << 32 | (place as u64 + 1);
        match self.entries.get_mut(place) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
        Some(place)
    }
}

impl Entry {
    /// An entry; none if it has no room for all of it.
    fn new(query: &Query<'_>, mould: &Mould<'_>, truth: &Arc<Truth>, stored: Duration) -> Option<Entry> {
        let name = query.qname.as_wire();
        let mut octets = [0; ROOM];
        let mut rest = &mut octets[..];
        for part in [name, mould.records, mould.opt] {
            let (place, behind) = rest.split_at_mut_checked(part.len())?;
            place.copy_from_slice(part);
            rest = behind;
        }
        let mut ttl_offsets = [0; MAX_TTLS];
        ttl_offsets.get_mut(..truth.ttl_offsets.len())?.copy_from_slice(&truth.ttl_offsets);
        Some(Entry {
            leads: (!truth.targets.is_empty()).then(|| Arc::clone(truth)),
            stored,
            clear: Memo::NONE,
            lifetime_s: truth.lifetime_s,
            qtype: query.qtype,
            bits: bits(query),
            name_len: u8::try_from(name.len()).ok()?,
            records_len: u16::try_from(mould.records.len()).ok()?,
            opt_len: u8::try_from(mould.opt.len()).ok()?,
            ttls: u8::try_from(truth.ttl_offsets.len()).ok()?,
            flags: mould.flags,
            counts: mould.counts,
            ttl_offsets,
            octets,
        })
    }

    /// Whether it answers that question.
    fn is_for(&self, query: &Query<'_>) -> bool {
        self.qtype == query.qtype
            && self.bits == bits(query)
            && self.octets.get(..usize::from(self.name_len)) == Some(query.qname.as_wire())
    }

    /// Whole seconds since it arrived, as the shared cache counts them.
    fn age_s(&self, now: Duration) -> u32 {
        u32::try_from(now.saturating_sub(self.stored).as_secs()).unwrap_or(u32::MAX)
    }

    /// What it is poured from.
    fn mould(&self) -> Option<Mould<'_>> {
        let (_, rest) = self.octets.split_at_checked(usize::from(self.name_len))?;
        let (records, rest) = rest.split_at_checked(usize::from(self.records_len))?;
        let opt = rest.get(..usize::from(self.opt_len))?;
        Some(Mould { flags: self.flags, counts: self.counts, records, opt })
    }
}

/// DO and CD of a query.
fn bits(query: &Query<'_>) -> u8 {
    u8::from(query.dnssec_ok()) | u8::from(query.cd) << 1
}

/// The set a hash belongs to, by its lower half.
fn set_of(hash: u64) -> usize {
    hash as usize % SETS
}

/// The place in `entries` that a taken way points to.
fn place_of(way: u64) -> usize {
    (way & u64::from(u32::MAX)) as usize - 1
}

/// One multiply-and-fold step: the high half of the product, which all input bits reach, joins the low half.
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * u128::from(MIX);
    ((product >> 64) as u64 ^ product as u64).wrapping_add(MIX)
}
