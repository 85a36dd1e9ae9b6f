//! Truth as a message again, for a while elsewhere: on a disk, or on its way to whoever shows it.
//!
//! What is written is a response as an upstream might send it, so that there is one way in for what comes from anywhere:
//! [`Truth::read`], which takes nothing on trust.

use super::query::Question;
use super::truth::{Truth, TtlLimits};
use super::wire::{self, FLAG_AA, FLAG_AD, FLAG_QR, FLAG_TC, Owner};
use super::{EDE_OPTION, Ede};
use crate::iana::{Class, Rtype};
use crate::name::Name;

impl Truth {
    /// Appends the response that says it, in answer to `question`. How many strangers came with it is not told.
    pub fn put_message(&self, question: &Question, out: &mut Vec<u8>) {
        let flag = |is: bool, flag: u16| if is { flag } else { 0 };
        let flags = FLAG_QR
            | flag(self.authoritative, FLAG_AA)
            | flag(self.authentic, FLAG_AD)
            | flag(self.truncated, FLAG_TC)
            | self.rcode.0 & 0xf;
        let additionals = u16::from(!self.ede.is_empty());
        [0, flags, 1, self.answers, self.authorities, additionals]
            .into_iter()
            .for_each(|number| wire::put_u16(out, number));
        out.extend_from_slice(&question.octets());
        out.extend_from_slice(&self.octets);
        if !self.ede.is_empty() {
            let mut options = Vec::new();
            self.ede.iter().for_each(|ede| put_ede(&mut options, ede));
            wire::put_record(out, Owner::Name(&Name::ROOT), Rtype::OPT, Class(0), 0, &options);
        }
    }

    /// Reads such a response, which was said for `lifetime_s` seconds and may have been said for less than its records last. None
    /// where it is no answer to keep: one that cannot be read, or that lasts no time.
    pub fn read_kept(question: &Question, message: &[u8], lifetime_s: u32) -> Option<Truth> {
        // TTLs of a truth are within limits already.
        let truth = Truth::read(question, message, &TtlLimits::NONE).ok()?;
        let lifetime_s = truth.lifetime_s.min(lifetime_s);
        (lifetime_s > 0).then_some(Truth { lifetime_s, ..truth })
    }
}

/// Appends an EDE option (RFC 8914 §2).
fn put_ede(options: &mut Vec<u8>, ede: &Ede) {
    wire::put_u16(options, EDE_OPTION);
    // Texts are cut when they are read.
    wire::put_u16(options, u16::try_from(2 + ede.text.len()).unwrap_or(2));
    wire::put_u16(options, ede.code);
    if ede.text.len() + 2 <= usize::from(u16::MAX) {
        options.extend_from_slice(ede.text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{question, response};
    use super::super::wire::HEADER_LEN;
    use super::*;

    /// Limits that change what comes.
    const LIMITS: TtlLimits = TtlLimits { min_s: 5, max_s: 1000, negative_min_s: 0, negative_max_s: 300 };

    /// A truth, read from that response with flags.
    fn truth(asked: &Question, flags: u16, sections: [&[&str]; 3]) -> Truth {
        let message = response(flags, "Q.e", asked.qtype, sections);
        Truth::read(asked, &message, &LIMITS).unwrap()
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let [a, any, https] = [Rtype::A, Rtype::ANY, Rtype::HTTPS].map(|qtype| question("q.e", qtype));
        let signed = Question { dnssec_ok: true, ..a };
        let cases: &[(&str, Question, u16, [&[&str]; 3])] = &[
            ("plain", a, FLAG_AA, [&["q.e 60 A 1.2.3.4"], &[], &[]]),
            ("raised", a, 0, [&["q.e 1 A 1.2.3.4"], &[], &[]]),
            ("capped", a, 0, [&["q.e 100000 A 1.2.3.4"], &[], &[]]),
            ("validated", a, FLAG_AD, [&["q.e 60 A 1.2.3.4", "q.e 60 A 1.2.3.5"], &[], &[]]),
            ("a chain", a, 0, [&["a.x 50 A 1.2.3.4", "q.e 60 CNAME a.x"], &[], &[]]),
            ("dname", a, 0, [&["e 60 DNAME x", "q.x 60 A 1.2.3.4"], &[], &[]]),
            ("nxdomain", a, 3, [&[], &["e 900 SOA 900"], &[]]),
            ("nodata behind an alias", a, 0, [&["q.e 400 CNAME a.e"], &["e 350 SOA 500"], &[]]),
            ("told why", a, 0, [&["q.e 60 A 1.2.3.4"], &[], &[". 0 OPT 10=none 22="]]),
            ("any", any, 0, [&["q.e 60 A 1.2.3.4", "q.e 60 NS n.e"], &[], &[]]),
            ("a service", https, 0, [&["q.e 60 HTTPS s.e 1.2.3.4"], &[], &[]]),
            ("signed", signed, FLAG_AD, [&["q.e 60 A 1.2.3.4", "q.e 60 RRSIG 1"], &[], &[]]),
            (
                "a proof",
                signed,
                3 | FLAG_AD,
                [&[], &["e 60 SOA 60", "e 60 RRSIG 6", "a.e 60 NSEC z.e", "a.e 60 RRSIG 47"], &[]],
            ),
        ];
        for (label, asked, flags, sections) in cases {
            let truth = truth(asked, *flags, *sections);
            let mut message = Vec::new();
            truth.put_message(asked, &mut message);
            assert_eq!(Truth::read_kept(asked, &message, truth.lifetime_s), Some(truth.clone()), "{label}");
            let shorter = Truth { lifetime_s: truth.lifetime_s - 1, ..truth };
            assert_eq!(Truth::read_kept(asked, &message, shorter.lifetime_s), Some(shorter), "{label}");
            let other = Question { qtype: Rtype::TXT, ..*asked };
            assert_eq!(Truth::read_kept(&other, &message, 60), None, "{label}");
            for length in 0..message.len() {
                assert_eq!(Truth::read_kept(asked, &message[..length], 60), None, "{label} {length}");
            }
        }
    }

    #[test]
    fn what_is_not_to_be_cached_is_not_kept() {
        let asked = question("q.e", Rtype::A);
        for (label, flags, sections) in [
            ("no time", 0, [&["q.e 0 A 1.2.3.4"][..], &[], &[]]),
            ("a failure", 2, [&[], &["e 60 SOA 60"], &[]]),
            ("cut short", FLAG_TC, [&["q.e 60 A 1.2.3.4"], &[], &[]]),
            ("another rcode", 0, [&["q.e 60 A 1.2.3.4"], &[], &[". 1 OPT "]]),
        ] {
            let mut message = Vec::new();
            truth(&asked, flags, sections).put_message(&asked, &mut message);
            assert!(message.len() > HEADER_LEN);
            // An rcode above 15 cannot be said without OPT; whoever keeps answers keeps none that was not to be cached.
            let kept = Truth::read_kept(&asked, &message, 60);
            assert_eq!(kept.is_some(), label == "another rcode", "{label}");
        }
    }
}
