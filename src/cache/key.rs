//! Questions as bytes: what the cache looks up by.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::dns::Question;
use crate::dns::subnet::{ASKED_FOR_LEN, Scope};
use crate::iana::{Class, Rtype};
use crate::name::{MAX_NAME_LEN, Name};

/// Octets of type and class, behind the name.
const FIXED_LEN: usize = 4;
/// The most octets behind those, flags included.
const MAX_TAIL_LEN: usize = ASKED_FOR_LEN + 1;
/// DO among the flags.
const DNSSEC_OK: u8 = 1;
/// CD among the flags.
const CHECKING_DISABLED: u8 = 2;
/// That it was asked for a network and is for everybody.
const FOR_ALL: u8 = 4;
/// That it is for a network, which has one of [`PLACES`]: that is the octet before.
const FOR_SOME: u8 = 8;
/// That it failed when it was asked for a network, which the octets before are.
const FOR_ONE: u8 = 16;

/// The places that networks share of which answers to one question are kept: RFC 7871 §11.3 wants "the number of networks and answers"
/// limited "for any given query". Unbound keeps those of 100.
pub(super) const PLACES: u64 = 256;

/// A question in its shortest form, on the stack: folded wire name, type, class, for whom, flags. The name ends itself and the flags say
/// what is before them, so no two questions share a key.
pub(super) struct Key {
    len: usize,
    octets: [u8; MAX_NAME_LEN + FIXED_LEN + MAX_TAIL_LEN],
}

impl Key {
    /// The key of a question that is asked for nobody.
    pub(super) fn new(question: &Question) -> Key {
        Key::with(question, &[], 0)
    }

    /// The key of an answer to a question that is for those, or for all.
    pub(super) fn of(question: &Question, scope: Option<&Scope>) -> Key {
        match (question.asked_for, scope) {
            (_, Some(scope)) => {
                // Not keyed: whoever has networks meet in a place crowds out answers to his own name.
                let mut hasher = DefaultHasher::new();
                (scope.of, scope.exact).hash(&mut hasher);
                Key::with(question, &[(hasher.finish() % PLACES) as u8], FOR_SOME)
            }
            (Some(_), None) => Key::with(question, &[], FOR_ALL),
            (None, None) => Key::new(question),
        }
    }

    /// The key of a question as it is asked.
    pub(super) fn asked(question: &Question) -> Key {
        match &question.asked_for {
            Some(asked_for) => Key::with(question, &asked_for.octets(), FOR_ONE),
            None => Key::new(question),
        }
    }

    /// The key of a question, for whom, and the flags of that.
    fn with(question: &Question, whom: &[u8], mut flags: u8) -> Key {
        let name = question.qname.as_wire();
        let (whom_at, flags_at) = (name.len() + FIXED_LEN, name.len() + FIXED_LEN + whom.len());
        let mut octets = [0; MAX_NAME_LEN + FIXED_LEN + MAX_TAIL_LEN];
        octets[..name.len()].copy_from_slice(name);
        let [type_high, type_low] = question.qtype.to_be_bytes();
        let [class_high, class_low] = question.qclass.to_be_bytes();
        if question.dnssec_ok {
            flags |= DNSSEC_OK;
        }
        if question.checking_disabled {
            flags |= CHECKING_DISABLED;
        }
        octets[name.len()..whom_at].copy_from_slice(&[type_high, type_low, class_high, class_low]);
        octets[whom_at..flags_at].copy_from_slice(whom);
        octets[flags_at] = flags;
        Key { len: flags_at + 1, octets }
    }

    /// The octets.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.octets[..self.len]
    }

    /// The question that has such a key, whomever it was asked for; none if none has.
    pub(super) fn question(octets: &[u8]) -> Option<Question> {
        let flags = *octets.last()?;
        let (name, fixed) = Key::section(octets)?.split_last_chunk::<FIXED_LEN>()?;
        let [type_high, type_low, class_high, class_low] = *fixed;
        let question = Question {
            qname: Name::from_wire(name).ok()?,
            qtype: Rtype::from_be_bytes([type_high, type_low]),
            qclass: Class::from_be_bytes([class_high, class_low]),
            dnssec_ok: flags & DNSSEC_OK != 0,
            checking_disabled: flags & CHECKING_DISABLED != 0,
            asked_for: None,
        };
        (flags < 2 * FOR_ONE).then_some(question)
    }

    /// The question in a key as a section has it.
    pub(super) fn section(octets: &[u8]) -> Option<&[u8]> {
        let (flags, rest) = octets.split_last()?;
        let whom = match flags & (FOR_SOME | FOR_ONE) {
            0 => 0,
            FOR_SOME => 1,
            _ => ASKED_FOR_LEN,
        };
        rest.get(..rest.len().checked_sub(whom)?)
    }

    /// Whether it is the key of a question that was asked for nobody.
    pub(super) fn is_plain(octets: &[u8]) -> bool {
        octets.last().is_some_and(|flags| flags & (FOR_ALL | FOR_SOME | FOR_ONE) == 0)
    }
}
