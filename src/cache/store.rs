//! What caches hold, as octets for a disk, and back.
//!
//! | octets | what |
//! |---|---|
//! | 8 | `SNKCACHE` |
//! | 8 | the format, [`FORMAT`], little endian like all that follows |
//! | 8 | when it was written, in Unix seconds |
//! | | for each cache its [`Origin`] and its blocks |
//! | 16 | the XXH3-128 of all before |
//!
//! An origin is 16 octets of rules, 4 that say how many were asked, 8 for each. A block is 4 octets of length and as many of entries; a
//! length of 0 ends the cache. An entry is what stood in the cache under a question: the length of a message (2), flags (1), its age in
//! seconds when all was written (4), the seconds for which it was said (4), and the message, from which
//! [`Truth::read_kept`] makes the truth again.
//!
//! A checksum shows damage and no malice: whose the file is is for whoever opens it to see. And whatever it holds, nothing panics, and
//! what is taken out is an answer to its question as an upstream could have given it.
//!
//! Ages go by the wall clock, which is read in whole seconds: they are rounded up on both sides, so that nothing lasts longer than it may.
//! Failures are left out, for why something failed is over after a restart, and so are marks of what no rule is about, and of names that
//! are denied whatever is asked of them: what was said since of a name below may have taken such a mark back, and nothing here says so. A
//! denial is an answer to its own question until it is asked for anew.

use std::fmt;
use std::io::{self, Write};
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::key::Key;
use super::origin::Origin;
use super::{Cache, Entry};
use crate::dns::wire;
use crate::dns::{Question, Truth};
use crate::time::UnixSeconds;

/// What a file starts with.
const MAGIC: [u8; 8] = *b"SNKCACHE";
/// Changes whenever a file of before would be read wrongly.
const FORMAT: u64 = 1;
/// Octets of the checksum.
const SUM_LEN: usize = 16;
/// Octets of a block from which on it is written: many threads read a file by turns, a block each.
const BLOCK_LEN: usize = 256 << 10;
/// Octets of an entry in front of its message.
const ENTRY_LEN: usize = 11;
/// DO among an entry's flags.
const DNSSEC_OK: u8 = 1;
/// CD among an entry's flags.
const CHECKING_DISABLED: u8 = 2;

/// Writes what caches hold.
pub struct Writer<W> {
    out: W,
    sum: Xxh3,
    /// Octets that may be written.
    most: u64,
    written: Written,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Answers.
    pub answers: u64,
    /// Octets, all included.
    pub octets: u64,
    /// Answers there was no room for.
    pub left_out: u64,
}

impl<W: Write> Writer<W> {
    /// Begins, at that second by the wall clock; it will be `most` octets at most, as far as caches make it long.
    ///
    /// # Errors
    /// When it cannot be written, as below.
    pub fn new(out: W, at: UnixSeconds, most: u64) -> io::Result<Writer<W>> {
        let mut writer = Writer { out, sum: Xxh3::new(), most, written: Written::default() };
        writer.put(&MAGIC)?;
        writer.put(&FORMAT.to_le_bytes())?;
        writer.put(&at.to_le_bytes())?;
        Ok(writer)
    }

    /// Writes what a cache holds at `now` that is good for something still. No lock is held for longer than a few entries
    /// take, and what comes meanwhile may be missed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn cache(&mut self, origin: &Origin, cache: &Cache, now: Duration) -> io::Result<()> {
        self.put(&origin.rules.to_le_bytes())?;
        let asked = u32::try_from(origin.asked.len()).map_err(io::Error::other)?;
        self.put(&asked.to_le_bytes())?;
        origin.asked.iter().try_for_each(|one| self.put(&one.to_le_bytes()))?;
        let (mut block, mut answers) = (Vec::with_capacity(BLOCK_LEN + (BLOCK_LEN >> 2)), 0);
        cache.truths.each(|packed| {
            if let Some(entry) = packed.entry()
                && (entry.left_s(now) > 0 || cache.keeps(&entry, now))
            {
                answers += u64::from(put_entry(&mut block, packed.key(), &entry, now));
            }
            if block.len() < BLOCK_LEN { Ok(()) } else { self.block(&mut block, &mut answers) }
        })?;
        self.block(&mut block, &mut answers)?;
        self.put(&0u32.to_le_bytes())
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(mut self) -> io::Result<(W, Written)> {
        let sum = self.sum.digest128();
        self.put(&sum.to_le_bytes())?;
        self.out.flush()?;
        Ok((self.out, self.written))
    }

    /// Writes a block, if there is anything in it and room for it, and begins the next.
    fn block(&mut self, block: &mut Vec<u8>, answers: &mut u64) -> io::Result<()> {
        let (octets, answers) = (std::mem::take(block), std::mem::take(answers));
        if octets.is_empty() {
            return Ok(());
        }
        let length = u32::try_from(octets.len()).map_err(io::Error::other)?;
        if self.written.octets.saturating_add(length.into()) > self.most {
            self.written.left_out += answers;
        } else {
            self.written.answers += answers;
            self.put(&length.to_le_bytes())?;
            self.put(&octets)?;
        }
        *block = octets;
        block.clear();
        Ok(())
    }

    /// Writes octets, which count.
    fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        self.sum.update(octets);
        self.written.octets += octets.len() as u64;
        self.out.write_all(octets)
    }
}

/// Appends an entry; false if it is none that can be kept.
fn put_entry(out: &mut Vec<u8>, key: &[u8], entry: &Entry, now: Duration) -> bool {
    // What was tailored to networks is short-lived.
    let Some(question) = Key::question(key).filter(|_| Key::is_plain(key)) else { return false };
    let start = out.len();
    let age = now.saturating_sub(entry.stored);
    let age_s = age.as_secs().saturating_add(u64::from(age.subsec_nanos() > 0));
    let mut flags = 0;
    if question.dnssec_ok {
        flags |= DNSSEC_OK;
    }
    if question.checking_disabled {
        flags |= CHECKING_DISABLED;
    }
    out.extend_from_slice(&[0, 0, flags]);
    out.extend_from_slice(&u32::try_from(age_s).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&entry.truth.lifetime_s.to_le_bytes());
    debug_assert_eq!(out.len(), start + ENTRY_LEN);
    entry.truth.put_message(&question, out);
    match (u16::try_from(out.len() - start - ENTRY_LEN), out.get_mut(start..start + 2)) {
        (Ok(length), Some(place)) => place.copy_from_slice(&length.to_le_bytes()),
        // As long as no message is: EDE made it so.
        _ => out.truncate(start),
    }
    out.len() > start
}

/// Why a file is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is none of this format.
    Foreign,
    /// It is not what was written: cut short, or altered.
    Damaged,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unusable::Foreign => "another version wrote it",
            Unusable::Damaged => "it is damaged: its checksum is wrong, or it ends early",
        })
    }
}

/// What was written, whole and sound.
#[derive(Debug)]
pub struct Stored<'o> {
    /// When, in Unix seconds.
    pub at: UnixSeconds,
    /// Each cache.
    pub caches: Vec<StoredCache<'o>>,
}

/// What a cache held.
#[derive(Debug)]
pub struct StoredCache<'o> {
    /// Whose it is.
    pub origin: Origin,
    /// What it held, in parts for [`Cache::restore`].
    pub blocks: Vec<&'o [u8]>,
}

impl<'o> Stored<'o> {
    /// Takes the octets of a file apart, if they are what was written.
    ///
    /// # Errors
    /// Why they are of no use.
    pub fn read(octets: &'o [u8]) -> Result<Stored<'o>, Unusable> {
        let (body, sum) = octets.split_last_chunk::<SUM_LEN>().ok_or(Unusable::Damaged)?;
        let mut rest = Octets(body);
        if rest.take::<8>() != Some(MAGIC) {
            return Err(Unusable::Damaged);
        }
        if rest.take().map(u64::from_le_bytes) != Some(FORMAT) {
            return Err(Unusable::Foreign);
        }
        if xxh3_128(body) != u128::from_le_bytes(*sum) {
            return Err(Unusable::Damaged);
        }
        Stored::of(rest).ok_or(Unusable::Damaged)
    }

    /// What stands behind the format.
    fn of(mut rest: Octets<'o>) -> Option<Stored<'o>> {
        let at = UnixSeconds::from_le_bytes(rest.take()?);
        let mut caches = Vec::new();
        while !rest.0.is_empty() {
            let rules = u128::from_le_bytes(rest.take()?);
            let asked = usize::try_from(u32::from_le_bytes(rest.take()?)).ok()?.checked_mul(8)?;
            let asked = rest.first(asked)?.chunks_exact(8);
            let asked = asked.filter_map(|one| Some(u64::from_le_bytes(one.try_into().ok()?))).collect();
            let mut blocks = Vec::new();
            loop {
                match usize::try_from(u32::from_le_bytes(rest.take()?)).ok()? {
                    0 => break,
                    length => blocks.push(rest.first(length)?),
                }
            }
            caches.push(StoredCache { origin: Origin { rules, asked }, blocks });
        }
        Some(Stored { at, caches })
    }

    /// The most seconds that can have passed since then, when the wall clock says `wall`; none if that was before: then nobody knows.
    pub fn passed_s(&self, wall: UnixSeconds) -> Option<u64> {
        let between = u64::try_from(wall.checked_sub(self.at)?).ok()?;
        // Either may have been read at the end of its second.
        between.checked_add(1)
    }
}

/// Octets to be taken from their beginning.
struct Octets<'o>(&'o [u8]);

impl<'o> Octets<'o> {
    /// The first `N`.
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    /// The first so many.
    fn first(&mut self, length: usize) -> Option<&'o [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }
}

/// What became of answers that were read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// They are cached again.
    pub fresh: u64,
    /// They are as well, and have expired.
    pub expired: u64,
    /// They are too old for anything.
    pub old: u64,
    /// They are no answers, or others came meanwhile.
    pub refused: u64,
}

impl AddAssign for Restored {
    fn add_assign(&mut self, other: Restored) {
        self.fresh += other.fresh;
        self.expired += other.expired;
        self.old += other.old;
        self.refused += other.refused;
    }
}

impl Cache {
    /// Takes in again what a block holds, `passed_s` seconds after it was written, at `now`: each answer as old as it is by then. What
    /// came meanwhile stays.
    pub fn restore(&self, block: &[u8], passed_s: u64, now: Duration) -> Restored {
        let (mut rest, mut restored) = (Octets(block), Restored::default());
        while !rest.0.is_empty() {
            let Some(read) = read_entry(&mut rest) else {
                restored.refused += 1;
                break;
            };
            let Some((question, truth, age_s)) = read else {
                restored.refused += 1;
                continue;
            };
            let age = Duration::from_secs(passed_s.saturating_add(age_s.into()));
            // What is older than the clock is older than anything may be.
            let Some(stored) = now.checked_sub(age) else {
                restored.old += 1;
                continue;
            };
            let key = Key::new(&question);
            let entry = Entry { truth: Arc::new(truth), stored };
            let fresh = entry.left_s(now) > 0;
            if !fresh && !self.keeps(&entry, now) {
                restored.old += 1;
                continue;
            }
            if self.truths.has(key.as_bytes()) {
                restored.refused += 1;
                continue;
            }
            if question.dnssec_ok {
                self.holds_signed.store(true, Ordering::Release);
            }
            self.truths.insert(key.as_bytes(), &entry);
            *if fresh { &mut restored.fresh } else { &mut restored.expired } += 1;
        }
        restored
    }
}

/// The next entry: question, truth, age in seconds. None where there is none, and none inside where it holds no answer.
#[expect(clippy::option_option, reason = "it may end, and it may go on behind what is of no use")]
fn read_entry(rest: &mut Octets<'_>) -> Option<Option<(Question, Truth, u32)>> {
    let length = u16::from_le_bytes(rest.take()?);
    let [flags] = rest.take()?;
    let age_s = u32::from_le_bytes(rest.take()?);
    let lifetime_s = u32::from_le_bytes(rest.take()?);
    let message = rest.first(length.into())?;
    Some((|| {
        let (qname, qtype, qclass, _) = wire::question(message).ok()?;
        let (dnssec_ok, checking_disabled) = (flags & DNSSEC_OK != 0, flags & CHECKING_DISABLED != 0);
        let question = Question { qname, qtype, qclass, dnssec_ok, checking_disabled, asked_for: None };
        let known = flags & !(DNSSEC_OK | CHECKING_DISABLED) == 0;
        let truth = Truth::read_kept(&question, message, lifetime_s).filter(|_| known)?;
        Some((question, truth, age_s))
    })())
}

#[cfg(test)]
mod tests;
