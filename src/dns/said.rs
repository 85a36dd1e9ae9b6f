//! Truth that is said here: about names of this network, by whoever runs this server.

use super::asks::Asks;
use super::mark::Mark;
use super::query::Question;
use super::truth::{BadTruth, Truth, TtlLimits};
use super::wire::{self, FLAG_AA, FLAG_QR, HEADER_LEN, Owner};
use super::{Ede, aged};
use crate::iana::{Class, EdeCode, Rcode, Rtype};
use crate::name::Name;

/// A record by its parts, of class IN.
#[derive(Clone, Copy, Debug)]
pub struct Stated<'r> {
    /// Whose it is.
    pub owner: &'r Name,
    /// Its type.
    pub rtype: Rtype,
    /// Its TTL in seconds.
    pub ttl_s: u32,
    /// Its RDATA, names spelled out.
    pub rdata: &'r [u8],
}

impl Truth {
    /// What is said here in answer to `question`, in these records of the answer and the authority section. It does not age: whoever says
    /// it goes on saying so for as long as it holds.
    ///
    /// # Errors
    /// [`BadTruth`] when it is more than a message, or than anybody needs.
    pub fn said_here(
        question: &Question,
        rcode: Rcode,
        sections: [&[Stated<'_>]; 2],
    ) -> Result<Truth, BadTruth> {
        let octets = question.octets();
        let mut message = Vec::with_capacity(HEADER_LEN + octets.len() + 64);
        let count = |records: &[Stated<'_>]| u16::try_from(records.len()).map_err(|_| BadTruth::Excessive);
        let [answers, authorities] = [count(sections[0])?, count(sections[1])?];
        let flags = FLAG_QR | FLAG_AA | rcode.0 & 0xf;
        [0, flags, 1, answers, authorities, 0].into_iter().for_each(|word| wire::put_u16(&mut message, word));
        message.extend_from_slice(&octets);
        for record in sections.into_iter().flatten() {
            let owner = match *record.owner == question.qname {
                true => Owner::At(HEADER_LEN as u16),
                false => Owner::Name(record.owner),
            };
            wire::put_record(&mut message, owner, record.rtype, Class::IN, record.ttl_s, record.rdata);
        }
        let truth = Truth::read(question, &message, &TtlLimits::NONE)?;
        Ok(Truth { ours: true, lifetime_s: u32::MAX, ttl_offsets: Box::default(), ..truth })
    }

    /// What is told where there is more to say than a message holds.
    pub fn unsayable() -> Truth {
        Truth {
            scope: None,
            rcode: Rcode::SERVFAIL,
            authoritative: true,
            ours: true,
            authentic: false,
            truncated: false,
            octets: Box::default(),
            answers: 0,
            authorities: 0,
            strangers: 0,
            ttl_offsets: Box::default(),
            lifetime_s: u32::MAX,
            targets: Box::default(),
            aliases: 0,
            addresses: Box::default(),
            ede: vec![Ede::new(EdeCode::OTHER, "what is stated here of the name is more than a message")],
            untouched: Mark::default(),
            asks: Asks::default(),
        }
    }

    /// An alias that is said here, and behind it what upstream said of where it leads, `age_s` seconds ago. It is not to be cached: the
    /// parts are.
    ///
    /// # Errors
    /// [`BadTruth`] when one of them does not answer its question, or they are too long together.
    pub fn led_to(
        &self,
        asked: &Question,
        (next, end, age_s): (&Question, &Truth, u32),
    ) -> Result<Truth, BadTruth> {
        let (mut alias, mut behind) = (Vec::new(), Vec::new());
        self.put_message(asked, &mut alias);
        end.put_message(next, &mut behind);
        aged::count_down(&mut behind, age_s);
        let truth = Truth::read(asked, &Truth::joined(&alias, &behind)?, &TtlLimits::NONE)?;
        Ok(Truth { ours: true, lifetime_s: 0, ede: end.ede.clone(), scope: end.scope, ..truth })
    }

    /// An alias that is said here and leads to a name of which there is no answer, for these reasons.
    #[must_use]
    pub fn led_nowhere(&self, errors: Vec<Ede>) -> Truth {
        Truth { rcode: Rcode::SERVFAIL, lifetime_s: 0, ede: errors, ..self.clone() }
    }
}
