//! Record types an RPZ gives a meaning of their own.

/// CNAME (RFC 1035 §3.2.2).
pub(super) const CNAME: u16 = 5;
/// NS (RFC 1035 §3.2.2).
pub(super) const NS: u16 = 2;
/// SOA (RFC 1035 §3.2.2).
pub(super) const SOA: u16 = 6;
/// DNAME (RFC 6672).
pub(super) const DNAME: u16 = 39;
/// ZONEMD (RFC 8976), which is about the zone that holds it.
pub(super) const ZONEMD: u16 = 63;

/// DNSSEC's types: SIG, KEY, NXT, DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, CDS, CDNSKEY, DLV (RFC 4034 and those before
/// and after it).
const DNSSEC: [u16; 12] = [24, 25, 30, 43, 46, 47, 48, 50, 51, 59, 60, 32769];

/// Whether a type is one of DNSSEC's.
pub(super) fn is_dnssec(rtype: u16) -> bool {
    DNSSEC.contains(&rtype)
}

/// Whether a type is no type of data: 0, OPT, and those that only questions and transfers have (RFC 6895 §3.1).
pub(super) fn is_meta(rtype: u16) -> bool {
    matches!(rtype, 0 | 41 | 128..=255)
}
