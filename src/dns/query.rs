//! A request, parsed once.

use crate::policy::Name;

/// A parsed request; borrows the packet it came in.
#[derive(Clone, Copy, Debug)]
pub struct Query<'p> {
    /// The ID to answer with.
    pub id: u16,
    /// Opcode, 0 for QUERY.
    pub opcode: u8,
    /// Recursion desired.
    pub rd: bool,
    /// Authentic data: the client understands AD in the answer (RFC 6840 §5.7).
    pub ad: bool,
    /// Checking disabled (RFC 4035 §3.2.2).
    pub cd: bool,
    /// The name asked for, folded; the root when the question could not be read.
    pub qname: Name,
    /// The type asked for.
    pub qtype: u16,
    /// The class asked for.
    pub qclass: u16,
    /// The question as it came, case and all: name, type, class. Empty if it could not be read.
    pub question: &'p [u8],
    /// What the OPT record said, if there was one.
    pub edns: Option<Edns>,
}

/// A request's OPT record (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The client's UDP payload size as sent, in octets.
    pub payload: u16,
    /// EDNS version; we speak 0.
    pub version: u8,
    /// DNSSEC OK (RFC 3225).
    pub dnssec_ok: bool,
    /// The client sent an EDE option: it asks for structured errors (draft-ietf-dnsop-structured-dns-error).
    pub structured_errors: bool,
}

/// What is asked, as the cache, coalescing and upstreams know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name, folded.
    pub qname: Name,
    /// The type.
    pub qtype: u16,
    /// The class.
    pub qclass: u16,
    /// DO.
    pub dnssec_ok: bool,
    /// CD.
    pub checking_disabled: bool,
}

/// A packet that is no query we resolve.
#[derive(Clone, Copy, Debug)]
pub enum Reject<'p> {
    /// Not to be answered: too short for a header, or itself a response.
    Drop,
    /// To be answered with this rcode (FORMERR, NOTIMP, BADVERS) and nothing else.
    Answer(Query<'p>, u16),
}

/// Reads a request.
///
/// # Errors
/// [`Reject`] says whether and how to answer what cannot be resolved.
pub fn parse(packet: &[u8]) -> Result<Query<'_>, Reject<'_>> {
    let _ = packet;
    Err(Reject::Drop)
}
