//! Messages as values: a query parsed once, an answer before `finish`, the truth as it is cached.
//!
//! Wire format throughout; no I/O, no clock.

pub mod answer;
pub mod finish;
pub mod query;
pub mod special;
pub mod truth;
pub mod wire;

pub use answer::{Answer, Body, Ede, Records};
pub use finish::{Transport, finish};
pub use query::{Edns, Query, Question, Reject, parse};
pub use truth::{Truth, TtlLimits};

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
    /// An EDNS version above ours (RFC 6891 §9).
    pub const BADVERS: u16 = 16;
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
