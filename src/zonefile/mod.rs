//! Zone files (RFC 1035 §5), of policy zones and of names of our own, to records one by one.
//!
//! [`entry`] cuts text into entries, [`reader`] makes records of them with the `domain` crate's scanner, [`findings`] keeps what is wrong.
//! A bad entry costs itself only; what breaks a zone off is said, and is for whoever reads it to act on.

mod entry;
mod findings;
mod reader;

pub(crate) use entry::{only, word};
pub(crate) use findings::Findings;
pub(crate) use reader::{Included, Record, ZoneReader, is_known, minimum, parts};

use crate::iana::Rtype;

/// DNSSEC's types, SIG and KEY of before among them (RFC 4034 and those before and after it).
pub(crate) const DNSSEC: [Rtype; 12] = [
    Rtype::SIG,
    Rtype::KEY,
    Rtype::NXT,
    Rtype::DS,
    Rtype::RRSIG,
    Rtype::NSEC,
    Rtype::DNSKEY,
    Rtype::NSEC3,
    Rtype::NSEC3PARAM,
    Rtype::CDS,
    Rtype::CDNSKEY,
    Rtype::DLV,
];
