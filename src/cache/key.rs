//! Questions as bytes: what the cache looks up by.

use crate::dns::Question;
use crate::iana::{Class, Rtype};
use crate::name::{MAX_NAME_LEN, Name};

/// Octets behind the name: type, class, flags.
const FIXED_LEN: usize = 5;
/// DO among the flags.
const DNSSEC_OK: u8 = 1;
/// CD among the flags.
const CHECKING_DISABLED: u8 = 2;

/// A question in its shortest form, on the stack: folded wire name, type, class, flags. The name ends itself, so no two
/// questions share a key.
pub(super) struct Key {
    len: usize,
    octets: [u8; MAX_NAME_LEN + FIXED_LEN],
}

impl Key {
    /// The key of a question.
    pub(super) fn new(question: &Question) -> Key {
        let name = question.qname.as_wire();
        let len = name.len() + FIXED_LEN;
        let mut octets = [0; MAX_NAME_LEN + FIXED_LEN];
        let (name_part, fixed) = octets.split_at_mut(name.len());
        name_part.copy_from_slice(name);
        let [type_high, type_low] = question.qtype.to_be_bytes();
        let [class_high, class_low] = question.qclass.to_be_bytes();
        let mut flags = 0;
        if question.dnssec_ok {
            flags |= DNSSEC_OK;
        }
        if question.checking_disabled {
            flags |= CHECKING_DISABLED;
        }
        fixed[..FIXED_LEN].copy_from_slice(&[type_high, type_low, class_high, class_low, flags]);
        Key { len, octets }
    }

    /// The octets.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.octets[..self.len]
    }

    /// The question that has such a key; none if none has.
    pub(super) fn question(octets: &[u8]) -> Option<Question> {
        let (name, fixed) = octets.split_last_chunk::<FIXED_LEN>()?;
        let [type_high, type_low, class_high, class_low, flags] = *fixed;
        let question = Question {
            qname: Name::from_wire(name).ok()?,
            qtype: Rtype::from_be_bytes([type_high, type_low]),
            qclass: Class::from_be_bytes([class_high, class_low]),
            dnssec_ok: flags & DNSSEC_OK != 0,
            checking_disabled: flags & CHECKING_DISABLED != 0,
        };
        (flags & !(DNSSEC_OK | CHECKING_DISABLED) == 0).then_some(question)
    }
}
