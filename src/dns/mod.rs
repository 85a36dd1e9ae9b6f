//! Messages as values: a query parsed once, an answer before `finish`, the truth as it is cached.
//!
//! Wire format throughout; no I/O, no clock.

pub mod alias;
pub mod answer;
mod canonical;
pub mod chaos;
pub mod finish;
pub mod forge;
pub mod leads;
pub mod peek;
pub mod query;
pub mod special;
pub mod stale;
pub mod truth;
pub mod types;
pub mod wire;

#[cfg(test)]
mod roundtrip;
#[cfg(test)]
pub(crate) mod testing;

pub use answer::{Answer, Body, Ede, Records};
pub use finish::{Transport, finish};
pub use forge::forge;
pub use peek::peek;
pub use query::{Edns, Query, Question, Reject, parse};
pub use truth::{Truth, TtlLimits};

/// The EDNS option that carries an Extended DNS Error (RFC 8914 §2).
pub(crate) const EDE_OPTION: u16 = 15;

/// Response codes, extended ones included: 0 to 4095 (IANA DNS RCODEs).
pub mod rcode {
    /// No error (RFC 1035).
    pub const NOERROR: u16 = 0;
    /// The query could not be read (RFC 1035).
    pub const FORMERR: u16 = 1;
    /// The server could not do it (RFC 1035).
    pub const SERVFAIL: u16 = 2;
    /// The name does not exist (RFC 1035).
    pub const NXDOMAIN: u16 = 3;
    /// The opcode is not known here (RFC 1035).
    pub const NOTIMP: u16 = 4;
    /// The server will not (RFC 1035).
    pub const REFUSED: u16 = 5;
    /// A name became too long when a part of it was replaced (RFC 6672 §2.2).
    pub const YXDOMAIN: u16 = 6;
    /// An EDNS version above ours (RFC 6891 §9).
    pub const BADVERS: u16 = 16;
}

/// Extended DNS Error codes used here (RFC 8914 §4, IANA Extended DNS Error Codes).
pub mod ede {
    /// None of the others.
    pub const OTHER: u16 = 0;
    /// The answer is older than its TTL (RFC 8767).
    pub const STALE_ANSWER: u16 = 3;
    /// The answer is not what the zone says.
    pub const FORGED_ANSWER: u16 = 4;
    /// A failure that was remembered (RFC 9520).
    pub const CACHED_ERROR: u16 = 13;
    /// The server is still starting.
    pub const NOT_READY: u16 = 14;
    /// On a list of whoever runs this resolver.
    pub const BLOCKED: u16 = 15;
    /// Required by somebody outside the operator's house.
    pub const CENSORED: u16 = 16;
    /// On a list the client asked for.
    pub const FILTERED: u16 = 17;
    /// The client may not ask here.
    pub const PROHIBITED: u16 = 18;
    /// A negative answer older than its TTL.
    pub const STALE_NXDOMAIN_ANSWER: u16 = 19;
    /// No upstream answered.
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// The network failed on the way to an upstream.
    pub const NETWORK_ERROR: u16 = 23;

    /// Every code above with its registered name.
    pub const NAMES: [(u16, &str); 12] = [
        (OTHER, "Other Error"),
        (STALE_ANSWER, "Stale Answer"),
        (FORGED_ANSWER, "Forged Answer"),
        (CACHED_ERROR, "Cached Error"),
        (NOT_READY, "Not Ready"),
        (BLOCKED, "Blocked"),
        (CENSORED, "Censored"),
        (FILTERED, "Filtered"),
        (PROHIBITED, "Prohibited"),
        (STALE_NXDOMAIN_ANSWER, "Stale NXDOMAIN Answer"),
        (NO_REACHABLE_AUTHORITY, "No Reachable Authority"),
        (NETWORK_ERROR, "Network Error"),
    ];

    /// The registered name of a code used here.
    pub fn name(code: u16) -> Option<&'static str> {
        NAMES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
    }
}

/// Record types that Sinkscope itself looks at (IANA DNS resource record types).
pub mod rtype {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Alias.
    pub const CNAME: u16 = 5;
    /// Start of authority.
    pub const SOA: u16 = 6;
    /// Reverse name.
    pub const PTR: u16 = 12;
    /// Host information, also the answer to ANY (RFC 8482 §4.2).
    pub const HINFO: u16 = 13;
    /// Text.
    pub const TXT: u16 = 16;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Subtree alias (RFC 6672).
    pub const DNAME: u16 = 39;
    /// EDNS pseudo-record (RFC 6891).
    pub const OPT: u16 = 41;
    /// Delegation signer, the parent's side of DNSSEC (RFC 4034).
    pub const DS: u16 = 43;
    /// A signature over records (RFC 4034 §3).
    pub const RRSIG: u16 = 46;
    /// Denial of existence by name (RFC 4034 §4).
    pub const NSEC: u16 = 47;
    /// Denial of existence by hash (RFC 5155 §3).
    pub const NSEC3: u16 = 50;
    /// Service binding (RFC 9460).
    pub const SVCB: u16 = 64;
    /// Service binding of HTTPS (RFC 9460).
    pub const HTTPS: u16 = 65;
    /// Incremental transfer (RFC 1995).
    pub const IXFR: u16 = 251;
    /// Whole transfer (RFC 5936).
    pub const AXFR: u16 = 252;
    /// Any type, as a question (RFC 8482).
    pub const ANY: u16 = 255;
}

/// Classes (IANA DNS classes).
pub mod class {
    /// Internet.
    pub const IN: u16 = 1;
    /// Chaos, used to ask servers about themselves.
    pub const CH: u16 = 3;
    /// Any class, as a question.
    pub const ANY: u16 = 255;
}
