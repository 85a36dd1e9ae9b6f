//! Taking the OPT record out of a message without breaking what stands around it.
//!
//! RFC 6891 §6.2.1: "The OPT record MUST NOT be cached." Most servers put it last, and then nothing moves.
//! RFC 6891 §6.1.1 lets it stand "anywhere" in the additional section, though. Records behind it move up by its length,
//! and with them what pointers further back point at: those pointers are rewritten, in owners and in the RDATA of the
//! types that may be compressed. Rejected: dropping the records behind it (they are data), and spelling names out
//! (the message could outgrow 65,535 octets).

use super::wire::{self, Field, Malformed, Message, Record};

/// The records' octets, from the first to the end of the last, without the OPT record.
///
/// # Errors
/// [`Malformed`] when a name behind the OPT record cannot be read or points into it.
pub fn without_opt(
    message: &Message<'_>,
    records: &[Record],
    opt: Option<&Record>,
) -> Result<Vec<u8>, Malformed> {
    let base = message.base();
    // RDATA starts behind its record's owner: the last record in the message is the one that ends last.
    let last = records.iter().chain(opt).map(|record| record.rdata.end).max().unwrap_or(base);
    let Some(opt) = opt else { return Ok(message.octets(base, last - base)?.to_vec()) };
    let (start, end) = (opt.owner_at, opt.rdata.end);
    let mut octets = message.octets(base, start - base)?.to_vec();
    octets.extend_from_slice(message.octets(end, last - end)?);
    for record in records.iter().filter(|record| record.owner_at >= end) {
        let mut names = Names { message, opt, base, octets: &mut octets };
        names.mend(record.owner_at)?;
        names.mend_rdata(record)?;
    }
    Ok(octets)
}

/// Where what stands at `at` goes when the OPT record is gone.
pub fn shifted(at: usize, opt: Option<&Record>) -> usize {
    match opt {
        Some(opt) if at >= opt.rdata.end => at - (opt.rdata.end - opt.owner_at),
        _ => at,
    }
}

/// Names behind the OPT record, to be mended in the copy.
struct Names<'a, 'm> {
    message: &'a Message<'m>,
    opt: &'a Record,
    base: usize,
    octets: &'a mut [u8],
}

impl Names<'_, '_> {
    /// Mends the pointer that ends the name at `at`, if one does, and returns the offset behind the name.
    fn mend(&mut self, at: usize) -> Result<usize, Malformed> {
        let next = self.message.skip_name(at)?;
        let Some(word) = self.pointer_before(next, at)? else { return Ok(next) };
        let target = usize::from(word & 0x3fff);
        if target < self.opt.owner_at {
            return Ok(next);
        }
        // Into OPT's own octets, the root that owns it perhaps: no server means that.
        if target < self.opt.rdata.end {
            return Err(Malformed);
        }
        let word = 0xc000 | u16::try_from(shifted(target, Some(self.opt))).map_err(|_| Malformed)?;
        let at = shifted(next - 2, Some(self.opt)).checked_sub(self.base).ok_or(Malformed)?;
        self.octets.get_mut(at..at + 2).ok_or(Malformed)?.copy_from_slice(&word.to_be_bytes());
        Ok(next)
    }

    /// The two octets of the pointer that ends the name from `at` to `next`; none if a zero octet ends it.
    fn pointer_before(&self, next: usize, mut at: usize) -> Result<Option<u16>, Malformed> {
        while at + 2 < next {
            let length = self.message.octets(at, 1)?.first().copied().ok_or(Malformed)?;
            at += 1 + usize::from(length);
        }
        if at + 2 == next { self.message.u16_at(at).map(Some) } else { Ok(None) }
    }

    /// Mends the names in a record's RDATA. Where it does not hold what its type says, nothing is changed from there on:
    /// it is passed on as it came, and no pointer in it can be meant.
    fn mend_rdata(&mut self, record: &Record) -> Result<(), Malformed> {
        let mut at = record.rdata.start;
        for field in wire::name_fields(record.rtype) {
            let next = match field {
                Field::Octets(length) => Ok(at + length),
                Field::Text => self.message.octets(at, 1).map(|length| at + 1 + usize::from(length[0])),
                Field::Name => self.message.skip_name(at),
            };
            match next {
                Ok(next) if next <= record.rdata.end => {}
                _ => return Ok(()),
            }
            at = match field {
                Field::Name => self.mend(at)?,
                _ => next?,
            };
        }
        Ok(())
    }
}
