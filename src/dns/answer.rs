//! Replies before `finish`: what to say, not yet how it goes on the wire.

use std::borrow::Cow;
use std::sync::Arc;

use super::query::Query;
use super::truth::Truth;
use crate::policy::Hit;

/// A reply before `finish`.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Response code, extended ones included.
    pub rcode: u16,
    /// The records.
    pub body: Body,
    /// Truncated: ask again over TCP.
    pub truncated: bool,
    /// Errors in more detail (RFC 8914), the most telling first.
    pub ede: Vec<Ede>,
}

/// Where an answer's records come from.
#[derive(Clone, Debug, Default)]
pub enum Body {
    /// There are none.
    #[default]
    Empty,
    /// Written here.
    Built(Records),
    /// Upstream's, `age_s` seconds old: TTLs are counted down by that much.
    Truth {
        /// What upstream said.
        truth: Arc<Truth>,
        /// Whole seconds since it arrived.
        age_s: u32,
    },
}

/// Records in wire form, to stand right behind the question: pointers to offset 12 name the qname.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// The records of all sections, in order.
    pub octets: Vec<u8>,
    /// Records in the answer section.
    pub answers: u16,
    /// Records in the authority section.
    pub authorities: u16,
    /// Records in the additional section, OPT not among them.
    pub additionals: u16,
}

/// An Extended DNS Error (RFC 8914).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ede {
    /// The info code (IANA EDE codes).
    pub code: u16,
    /// Text for people, may be empty.
    pub text: Cow<'static, str>,
}

/// The forged answer of a captured name (or of an alias that leads to one), for every action that has an answer:
/// `chain` is the truth's CNAME records from qname to the captured name, empty when qname itself is captured.
/// `Drop`, `TcpOnly`, `Observe` and `Passthru` have none.
pub fn forge(query: &Query<'_>, hit: &Hit<'_>) -> Answer {
    let _ = (query, hit);
    Answer::default()
}
