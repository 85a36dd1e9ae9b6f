//! What an upstream said, in wire form, ready to be cached and sent again.

use super::answer::Ede;
use super::query::Question;
use crate::policy::Name;

/// An upstream's answer without header, question and OPT.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Response code, the extended bits from OPT included.
    pub rcode: u16,
    /// AA as upstream set it.
    pub authoritative: bool,
    /// AD as upstream set it.
    pub authentic: bool,
    /// All records but OPT, as they stood behind the question (pointers stay valid).
    pub octets: Box<[u8]>,
    /// Records in the answer section.
    pub answers: u16,
    /// Records in the authority section.
    pub authorities: u16,
    /// Records in the additional section, OPT not counted.
    pub additionals: u16,
    /// Where `octets` ends its answer and authority sections: the additional one starts here.
    pub additional_at: u16,
    /// Offsets of every TTL in `octets`.
    pub ttl_offsets: Box<[u16]>,
    /// How long it may be cached, in seconds: the least TTL, or RFC 2308's for a negative answer; 0 is never.
    pub lifetime_s: u32,
    /// The aliases the answer leads through, in order from the qname: what review looks at.
    pub targets: Box<[Name]>,
    /// EDE options upstream sent, to be passed on.
    pub ede: Vec<Ede>,
}

/// Bounds on how long answers live in the cache, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlLimits {
    /// Floor for positive answers.
    pub min_s: u32,
    /// Cap for positive answers.
    pub max_s: u32,
    /// Cap for negative answers (RFC 2308 §5).
    pub negative_max_s: u32,
}

/// Why an upstream's message is not an answer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTruth {
    /// It cannot be read.
    Malformed,
    /// It answers something else, or is no response.
    WrongQuestion,
}

impl Truth {
    /// Reads an upstream's message as the answer to `question`.
    ///
    /// # Errors
    /// [`BadTruth`] when it is not one.
    pub fn read(question: &Question, message: &[u8], limits: &TtlLimits) -> Result<Truth, BadTruth> {
        let _ = (question, message, limits);
        Err(BadTruth::Malformed)
    }
}
