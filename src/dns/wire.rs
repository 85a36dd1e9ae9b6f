//! Reading and writing wire format: names with pointers, records one by one, EDNS options.
//!
//! Readers allocate nothing and trust nothing: what lies outside the message is [`Malformed`].

use std::ops::Range;

use crate::iana::{Class, Rcode, Rtype};
use crate::name::Name;
use crate::name::{MAX_LABEL_LEN, MAX_NAME_LEN};

/// Octets in a message header (RFC 1035 §4.1.1), and so the offset of the qname.
pub const HEADER_LEN: usize = 12;
/// Octets in the longest message: what TCP's two-octet length can say (RFC 1035 §4.2.2).
pub const MAX_MESSAGE_LEN: usize = 65_535;
/// The two high bits that turn a length octet into a pointer (RFC 1035 §4.1.4).
pub(super) const POINTER: u8 = 0xc0;
/// The first offset that a pointer's 14 bits cannot say (RFC 1035 §4.1.4).
pub const POINTER_END: usize = 0x4000;
/// The most pointers a name is followed through. Each costs a jump, whoever sends them. Go's resolver, in use everywhere, has
/// refused more since its beginnings (golang.org/x/net/dns/dnsmessage), so no honest server needs them.
pub const MAX_POINTERS: usize = 10;
/// Octets of a record between its owner and its RDATA: type, class, TTL, length (RFC 1035 §3.2.1).
const RECORD_FIXED_LEN: usize = 10;

/// QR, the first bit of the flags: a response.
pub const FLAG_QR: u16 = 0x8000;
/// AA: an authoritative answer.
pub const FLAG_AA: u16 = 0x0400;
/// TC: truncated.
pub const FLAG_TC: u16 = 0x0200;
/// RD: recursion desired.
pub const FLAG_RD: u16 = 0x0100;
/// RA: recursion available.
pub const FLAG_RA: u16 = 0x0080;
/// AD: authentic data (RFC 4035 §3.2.3).
pub const FLAG_AD: u16 = 0x0020;
/// CD: checking disabled (RFC 4035 §3.2.2).
pub const FLAG_CD: u16 = 0x0010;
/// DO within the flags of an OPT record, the lower half of its TTL (RFC 3225 §3).
pub const EDNS_DO: u32 = 0x8000;

/// Wire format that cannot be read: out of bounds, a bad label, or a pointer that does not point backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The fixed header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The ID.
    pub id: u16,
    /// QR to RCODE.
    pub flags: u16,
    /// QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT.
    pub counts: [u16; 4],
}

/// Everything of a message but its header, in two parts: the question, and the records behind it.
///
/// Offsets count from the start of the header, as pointers do. The parts need not be neighbours in memory: that is
/// how cached records are read behind another client's copy of the same question.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    question: &'m [u8],
    records: &'m [u8],
}

/// Where a record's parts stand, as message offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The owner name.
    pub owner_at: usize,
    /// The type.
    pub rtype: Rtype,
    /// The class; the payload size for OPT.
    pub class: Class,
    /// The TTL as it stands, top bit and all, in seconds; flags for OPT.
    pub ttl: u32,
    /// The TTL's four octets.
    pub ttl_at: usize,
    /// The RDATA; the next record starts where it ends.
    pub rdata: Range<usize>,
}

/// A name as it is spelled: uncompressed wire form, its case kept, for RDATA that is told as it came (RFC 4343 §4).
#[derive(Clone, Copy, Debug)]
pub struct Spelled {
    len: u8,
    octets: [u8; MAX_NAME_LEN],
}

impl Spelled {
    /// A name in lower case.
    pub fn of(name: &Name) -> Spelled {
        let mut spelled = Spelled { len: name.as_wire().len() as u8, octets: [0; MAX_NAME_LEN] };
        spelled.octets[..name.as_wire().len()].copy_from_slice(name.as_wire());
        spelled
    }

    /// Its octets, the root's zero included.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// Appends a label; one octet stays free for the root's.
    fn push(&mut self, label: &[u8]) -> Result<(), Malformed> {
        let start = usize::from(self.len);
        let end = start + 1 + label.len();
        if label.len() > MAX_LABEL_LEN || end >= MAX_NAME_LEN {
            return Err(Malformed);
        }
        self.octets[start] = label.len() as u8;
        self.octets[start + 1..end].copy_from_slice(label);
        self.len = end as u8;
        Ok(())
    }

    /// The same with the root's zero at its end.
    fn ended(mut self) -> Spelled {
        self.len += 1;
        self
    }
}

/// How a record to be written names its owner.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'n> {
    /// Spelled out.
    Name(&'n Name),
    /// A pointer to the name at this message offset, below 16,384.
    At(u16),
}

impl Header {
    /// Reads the first twelve octets, if there are that many.
    pub fn read(message: &[u8]) -> Option<Header> {
        let header: &[u8; HEADER_LEN] = message.first_chunk()?;
        let word = |index: usize| u16::from_be_bytes([header[2 * index], header[2 * index + 1]]);
        Some(Header { id: word(0), flags: word(1), counts: [word(2), word(3), word(4), word(5)] })
    }

    /// Whether it heads a response.
    pub fn is_response(&self) -> bool {
        self.flags & FLAG_QR != 0
    }

    /// The response code; with the OPT record, if there is one, its upper eight bits too (RFC 6891 §6.1.3).
    pub fn rcode(&self, opt: Option<&Record>) -> Rcode {
        let upper = opt.map_or(0, |opt| (opt.ttl >> 24) as u16);
        Rcode(upper << 4 | self.flags & 0xf)
    }

    /// The opcode, 0 to 15.
    pub fn opcode(&self) -> u8 {
        ((self.flags >> 11) & 0xf) as u8
    }
}

/// Reads the question behind a header: its name, type and class, and its octets as they stand.
///
/// # Errors
/// [`Malformed`] when it ends early or its name holds a pointer: there is nothing before it to point at.
pub fn question(message: &[u8]) -> Result<(Name, Rtype, Class, &[u8]), Malformed> {
    let rest = message.get(HEADER_LEN..).ok_or(Malformed)?;
    let mut at = 0;
    loop {
        let length = usize::from(*rest.get(at).ok_or(Malformed)?);
        if length > MAX_LABEL_LEN {
            return Err(Malformed);
        }
        at += 1 + length;
        if length == 0 {
            break;
        }
    }
    let qname = Name::from_wire(rest.get(..at).ok_or(Malformed)?).map_err(|_| Malformed)?;
    let octets = rest.get(..at + 4).ok_or(Malformed)?;
    let fixed: &[u8; 4] = octets.last_chunk().ok_or(Malformed)?;
    let (qtype, qclass) =
        (Rtype::from_be_bytes([fixed[0], fixed[1]]), Class::from_be_bytes([fixed[2], fixed[3]]));
    Ok((qname, qtype, qclass, octets))
}

impl<'m> Message<'m> {
    /// A message of a question section (may be empty) and the records behind it.
    pub fn new(question: &'m [u8], records: &'m [u8]) -> Message<'m> {
        Message { question, records }
    }

    /// The octets of the question section.
    pub fn question(&self) -> &'m [u8] {
        self.question
    }

    /// The offset of the first record.
    pub fn base(&self) -> usize {
        HEADER_LEN + self.question.len()
    }

    /// `length` octets from `at`; they must stand in one part.
    ///
    /// # Errors
    /// [`Malformed`] when they do not. The header is in neither part: nothing sound points there.
    pub fn octets(&self, at: usize, length: usize) -> Result<&'m [u8], Malformed> {
        let (part, start) = match at.checked_sub(self.base()) {
            Some(start) => (self.records, start),
            None => (self.question, at.checked_sub(HEADER_LEN).ok_or(Malformed)?),
        };
        part.get(start..start.saturating_add(length)).ok_or(Malformed)
    }

    /// The octet at `at`.
    fn octet(&self, at: usize) -> Result<u8, Malformed> {
        self.octets(at, 1)?.first().copied().ok_or(Malformed)
    }

    /// The 16-bit number at `at`.
    ///
    /// # Errors
    /// [`Malformed`] when it is out of bounds.
    pub fn u16_at(&self, at: usize) -> Result<u16, Malformed> {
        self.octets(at, 2)?.first_chunk().copied().map(u16::from_be_bytes).ok_or(Malformed)
    }

    /// The 32-bit number at `at`.
    ///
    /// # Errors
    /// [`Malformed`] when it is out of bounds.
    pub fn u32_at(&self, at: usize) -> Result<u32, Malformed> {
        self.octets(at, 4)?.first_chunk().copied().map(u32::from_be_bytes).ok_or(Malformed)
    }

    /// The name at `at`, pointers followed, and the offset behind it.
    ///
    /// # Errors
    /// [`Malformed`] for anything but a whole name. RFC 1035 §4.1.4: a pointer names a prior occurrence, so each must
    /// point before the octets read so far; that, and [`MAX_POINTERS`], keeps hostile ones from looping.
    pub fn name(&self, at: usize) -> Result<(Name, usize), Malformed> {
        let mut name = Name::ROOT;
        let next = self.each_label(at, |label| name.push_label(label).map_err(|_| Malformed))?;
        Ok((name, next))
    }

    /// [`Message::name`] in the case that it came in.
    ///
    /// # Errors
    /// The same.
    pub fn spelled(&self, at: usize) -> Result<(Spelled, usize), Malformed> {
        let mut spelled = Spelled { len: 0, octets: [0; MAX_NAME_LEN] };
        let next = self.each_label(at, |label| spelled.push(label))?;
        Ok((spelled.ended(), next))
    }

    /// Calls `visit` with each label of the name at `at`, the root's left out; the offset behind it. Lengths above 63 are
    /// handed on as labels of that length: what collects them refuses them.
    fn each_label(
        &self,
        mut at: usize,
        mut visit: impl FnMut(&'m [u8]) -> Result<(), Malformed>,
    ) -> Result<usize, Malformed> {
        let mut run_at = at;
        let mut next = None;
        let mut pointers = 0;
        loop {
            let length = self.octet(at)?;
            if length == 0 {
                return Ok(next.unwrap_or(at + 1));
            } else if length & POINTER == POINTER {
                let target = usize::from(self.u16_at(at)?) & (POINTER_END - 1);
                next = next.or(Some(at + 2));
                pointers += 1;
                if target >= run_at || pointers > MAX_POINTERS {
                    return Err(Malformed);
                }
                (at, run_at) = (target, target);
            } else {
                // 01 and 10 in the high bits make lengths above 63 (RFC 6891 §5).
                let label = self.octets(at + 1, usize::from(length))?;
                visit(label)?;
                at += 1 + label.len();
            }
        }
    }

    /// The offset behind the name at `at`, pointers not followed.
    ///
    /// # Errors
    /// [`Malformed`] when it ends early or a label is too long.
    pub fn skip_name(&self, mut at: usize) -> Result<usize, Malformed> {
        loop {
            let length = self.octet(at)?;
            match length {
                0 => return Ok(at + 1),
                _ if length & POINTER == POINTER => return Ok(at + 2),
                _ if usize::from(length) > MAX_LABEL_LEN => return Err(Malformed),
                _ => at += 1 + usize::from(length),
            }
        }
    }

    /// The record at `at`; its RDATA is in bounds, its owner not yet followed.
    ///
    /// # Errors
    /// [`Malformed`] when it does not fit in the message.
    pub fn record(&self, at: usize) -> Result<Record, Malformed> {
        let fixed_at = self.skip_name(at)?;
        let rdata_at = fixed_at + RECORD_FIXED_LEN;
        let length = usize::from(self.u16_at(fixed_at + 8)?);
        self.octets(rdata_at, length)?;
        Ok(Record {
            owner_at: at,
            rtype: Rtype(self.u16_at(fixed_at)?),
            class: Class(self.u16_at(fixed_at + 2)?),
            ttl: self.u32_at(fixed_at + 4)?,
            ttl_at: fixed_at + 4,
            rdata: rdata_at..rdata_at + length,
        })
    }

    /// The octets of a record's RDATA.
    ///
    /// # Errors
    /// [`Malformed`] when the record is another message's.
    pub fn rdata(&self, record: &Record) -> Result<&'m [u8], Malformed> {
        self.octets(record.rdata.start, record.rdata.len())
    }

    /// `count` records from `at`, one by one; ends after the first that cannot be read.
    pub fn records(&self, at: usize, count: usize) -> Records<'m> {
        Records { message: *self, at, left: count }
    }
}

/// Records one by one; see [`Message::records`].
#[derive(Clone, Debug)]
pub struct Records<'m> {
    message: Message<'m>,
    at: usize,
    left: usize,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = self.message.record(self.at);
        match &record {
            Ok(record) => self.at = record.rdata.end,
            Err(Malformed) => self.left = 0,
        }
        Some(record)
    }
}

/// The options in an OPT record's RDATA, as code and data (RFC 6891 §6.1.2).
pub fn options(mut rdata: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    std::iter::from_fn(move || {
        if rdata.is_empty() {
            return None;
        }
        let option = rdata.split_first_chunk::<4>().and_then(|(fixed, rest)| {
            let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
            let (data, rest) = rest.split_at_checked(length)?;
            Some(((u16::from_be_bytes([fixed[0], fixed[1]]), data), rest))
        });
        match option {
            Some((option, rest)) => {
                rdata = rest;
                Some(Ok(option))
            }
            None => {
                rdata = &[];
                Some(Err(Malformed))
            }
        }
    })
}

/// Parts of RDATA in which RFC 1035 and its early kin let names be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A name.
    Name,
    /// That many octets of something else.
    Octets(usize),
    /// A character string: a length octet and as much data.
    Text,
}

/// The fields of a type's RDATA up to its last name; empty when it holds none that may be compressed.
///
/// RFC 3597 §4: only types of RFC 1035 may be sent compressed; RP, AFSDB, RT, SIG, PX, NXT, NAPTR and SRV should be
/// read so too. NSAP-PTR, KX and DNAME are as old and read alike; every later type spells its names out.
pub fn name_fields(rtype: Rtype) -> &'static [Field] {
    use Field::{Name, Octets, Text};
    match rtype {
        Rtype::NS
        | Rtype::MD
        | Rtype::MF
        | Rtype::CNAME
        | Rtype::MB
        | Rtype::MG
        | Rtype::MR
        | Rtype::PTR
        | Rtype::NSAP_PTR
        | Rtype::NXT
        | Rtype::DNAME => &[Name],
        Rtype::SOA | Rtype::MINFO | Rtype::RP => &[Name, Name],
        Rtype::MX | Rtype::AFSDB | Rtype::RT | Rtype::KX => &[Octets(2), Name],
        Rtype::PX => &[Octets(2), Name, Name],
        Rtype::SRV => &[Octets(6), Name],
        // SVCB and HTTPS: RFC 9460 §2.2 has the target "uncompressed"; should it be, it is read all the same.
        Rtype::SVCB | Rtype::HTTPS => &[Octets(2), Name],
        Rtype::NAPTR => &[Octets(4), Text, Text, Text, Name],
        // Type covered, algorithm, labels, original TTL, expiration, inception, key tag.
        Rtype::SIG => &[Octets(18), Name],
        _ => &[],
    }
}

/// Whether names in a type's RDATA may be written as pointers: RFC 3597 §4 lets only the types of RFC 1035.
pub fn may_compress(rtype: Rtype) -> bool {
    // From NS to MR: NS, MD, MF, CNAME, SOA, MB, MG, MR.
    (Rtype::NS..=Rtype::MR).contains(&rtype) || matches!(rtype, Rtype::PTR | Rtype::MINFO | Rtype::MX)
}

/// Appends a pointer to that offset, which is below 16,384.
pub fn put_pointer(out: &mut Vec<u8>, at: u16) {
    put_u16(out, u16::from_be_bytes([POINTER, 0]) | at);
}

/// Appends a name, spelled out.
pub fn put_name(out: &mut Vec<u8>, name: &Name) {
    out.extend_from_slice(name.as_wire());
}

/// Appends a 16-bit number.
pub fn put_u16(out: &mut Vec<u8>, value: impl Into<u16>) {
    out.extend_from_slice(&value.into().to_be_bytes());
}

/// Appends a 32-bit number.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a record; RDATA over 65,535 octets is cut there, which nothing written here comes near.
pub fn put_record(out: &mut Vec<u8>, owner: Owner<'_>, rtype: Rtype, class: Class, ttl_s: u32, rdata: &[u8]) {
    match owner {
        Owner::Name(name) => put_name(out, name),
        Owner::At(at) => put_pointer(out, at),
    }
    put_u16(out, rtype);
    put_u16(out, class);
    put_u32(out, ttl_s);
    let length = u16::try_from(rdata.len()).unwrap_or(u16::MAX);
    put_u16(out, length);
    out.extend_from_slice(&rdata[..usize::from(length)]);
}

impl Owner<'_> {
    /// A pointer to offset `at` if pointers reach that far, else the name itself.
    pub fn shortest(at: usize, name: &Name) -> Owner<'_> {
        match u16::try_from(at) {
            Ok(offset) if at < POINTER_END => Owner::At(offset),
            _ => Owner::Name(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets and where in them to read; then the name and what stands behind it.
    type Case = (&'static [u8], usize, Result<(&'static str, usize), Malformed>);

    /// Reads the name at offset 12 + `at` of a message without question.
    fn name_in(octets: &[u8], at: usize) -> Result<(String, usize), Malformed> {
        let (name, next) = Message::new(&[], octets).name(HEADER_LEN + at)?;
        Ok((name.to_string(), next - HEADER_LEN))
    }

    #[test]
    fn names_are_read_with_their_pointers_or_refused() {
        let cases: &[Case] = &[
            (b"\0", 0, Ok((".", 1))),
            (b"\x01A\x02bC\0", 0, Ok(("a.bc", 6))),
            (b"\x01a\0\x01b\xc0\x0c", 3, Ok(("b.a", 7))),
            (b"\x01a\0\xc0\x0c\xc0\x0f", 5, Ok(("a", 7))),
            (b"\x01a", 0, Err(Malformed)),
            (b"\x05ab\0", 0, Err(Malformed)),
            (b"\x40a\0", 0, Err(Malformed)),
            (b"\x80a\0", 0, Err(Malformed)),
            (b"\xc0", 0, Err(Malformed)),
            (b"\xc0\x0c", 0, Err(Malformed)),             // to itself
            (b"\x01a\xc0\x0c", 0, Err(Malformed)),        // into its own labels: a loop
            (b"\xc0\x0e\x01a\0", 0, Err(Malformed)),      // forwards
            (b"\xc0\x00", 0, Err(Malformed)),             // into the header
            (b"\x01a\0\x01b\xc0\xff", 3, Err(Malformed)), // past the end
        ];
        for &(octets, at, ref expected) in cases {
            let expected = expected.map(|(name, next)| (name.to_owned(), next));
            assert_eq!(name_in(octets, at), expected, "{octets:?}");
        }
    }

    #[test]
    fn pointers_reach_from_the_records_into_the_question() {
        let message = Message::new(b"\x03Www\x01e\0\0\x01\0\x01", b"\xc0\x0c\x01x\xc0\x10");
        assert_eq!(message.base(), 23);
        let read = |at| message.name(at).map(|(name, next)| (name.to_string(), next));
        assert_eq!(read(23), Ok(("www.e".to_owned(), 25)));
        assert_eq!(read(25), Ok(("x.e".to_owned(), 29)));
        assert_eq!(message.octets(22, 2), Err(Malformed), "no octets across the seam");
    }

    #[test]
    fn too_many_pointers_are_refused() {
        // Every pointer leads to the one before it: backwards, but without end in sight.
        let mut octets = vec![0];
        let mut last = HEADER_LEN;
        for _ in 0..200 {
            let at = HEADER_LEN + octets.len();
            put_u16(&mut octets, 0xc000 | last as u16);
            last = at;
        }
        assert_eq!(name_in(&octets, 1 + 2 * (MAX_POINTERS - 1)), Ok((".".into(), 1 + 2 * MAX_POINTERS)));
        assert_eq!(name_in(&octets, 1 + 2 * MAX_POINTERS), Err(Malformed));
    }

    #[test]
    fn records_end_with_the_message() {
        let mut octets = Vec::new();
        put_record(&mut octets, Owner::Name(&Name::ROOT), Rtype::A, Class::IN, 7, &[1, 2, 3, 4]);
        let owner = "a.example".parse::<Name>().unwrap();
        put_record(&mut octets, Owner::Name(&owner), Rtype::TXT, Class::IN, 9, b"\x01x");
        for length in 0..=octets.len() {
            let message = Message::new(&[], &octets[..length]);
            let read: Vec<_> = message.records(HEADER_LEN, 2).collect();
            assert_eq!(read.iter().all(Result::is_ok), length == octets.len(), "{length}");
        }
        let message = Message::new(&[], &octets);
        let ttls: Vec<_> = message.records(HEADER_LEN, 2).flatten().map(|record| record.ttl).collect();
        assert_eq!(ttls, [7, 9]);
        assert_eq!(message.records(HEADER_LEN, 3).filter(Result::is_err).count(), 1);
    }

    #[test]
    fn options_are_read_one_by_one() {
        for (rdata, expected) in [
            (&b""[..], vec![]),
            (b"\0\x0f\0\x02\0\x10", vec![Ok((15, &b"\0\x10"[..]))]),
            (b"\0\x03\0\0\0\x0a\0\x01x", vec![Ok((3, &b""[..])), Ok((10, b"x"))]),
            (b"\0\x03\0\0\0", vec![Ok((3, &b""[..])), Err(Malformed)]),
            (b"\0\x03\0\x02x", vec![Err(Malformed)]),
        ] {
            assert_eq!(options(rdata).collect::<Vec<_>>(), expected, "{rdata:?}");
        }
    }
}
