//! An upstream's records made canonical: what the question asks for, in order, and nothing besides.
//!
//! An answer section may hold anything in any order. Some clients walk it once and find nothing when an address stands
//! before the alias that leads to it; others take whatever address they find. So what is kept is written anew: the chain
//! from the qname in order, the record set at its end, their signatures, and of the authority section what a denial or a
//! validator needs. The additional section is left out whole. RFC 2181 §5.4.1 gives it, and the authority section of an
//! answer, the least trust of all, and §9 lets it be missing: a client asks again for what it wants from there, and that
//! question is judged. What is told is then what was judged, octet by octet.
//!
//! Rejected: keeping upstream's octets where they are in order already. There would be two ways through here, and the
//! rarer one would be the one that matters.

use super::chain::{MAX_ALIASES, target_under};
use super::query::Question;
use super::wire::{self, Field, Malformed, Message, Record, Spelled};
use crate::iana::{Class, Rtype};
use crate::name::Name;

/// The most records of a set that are taken, a name and type each: BIND's max-records-per-type, where a longer set is a
/// failure too. What policy and finish do for each is done for every query that the cache answers.
pub(super) const MAX_SET_RECORDS: usize = 100;
/// The most signatures over a set that are kept, those that come first: Unbound's iter-scrub-rrsig. Whoever validates tries each, at a
/// price (KeyTrap, CVE-2023-50387); a zone signs with a key or two, twice as many while they are rolled over.
const MAX_SIGNATURES: usize = 8;
/// The most records of a message that are looked at: room for some sets of [`MAX_SET_RECORDS`] with signatures, and for an
/// additional section that names addresses for each. A message of 64 KiB holds five times as many.
pub(super) const MAX_RECORDS: usize = 1024;
/// The most CNAME and DNAME records among the answers: both for each step of a chain.
const MAX_RULES: usize = 2 * MAX_ALIASES;
/// The most labels that names may point at. Unbound bounds the work so since CVE-2024-8508; what is beyond is spelled out.
const MAX_PLACES: usize = 128;
/// Octets of a signature before its signer (RFC 4034 §3.1).
const RRSIG_FIXED_LEN: usize = 18;

/// Why an upstream's message is not an answer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTruth {
    /// It cannot be read.
    Malformed,
    /// It answers something else, or is no response.
    WrongQuestion,
    /// It holds more records, or leads further, than anybody needs.
    Excessive,
    /// It says who else may be asked, and no more (RFC 2308 §2.2).
    Referral,
    /// It is for another client subnet than was asked for (RFC 7871 §7.3).
    OtherSubnet,
}

impl From<Malformed> for BadTruth {
    fn from(_: Malformed) -> BadTruth {
        BadTruth::Malformed
    }
}

/// A message's records as they are kept.
pub(super) struct Canonical {
    /// The records' octets, as they stand behind the question.
    pub(super) octets: Vec<u8>,
    /// Records in the answer section.
    pub(super) answers: u16,
    /// Records in the authority section.
    pub(super) authorities: u16,
    /// The TTL of each record: where in `octets`, and its seconds as they came.
    pub(super) ttls: Vec<(u16, u32)>,
    /// The names that aliases lead to, in order from the qname, each once and the qname never.
    pub(super) aliases: Vec<Name>,
    /// Whether the answer section holds what was asked for.
    pub(super) has_data: bool,
    /// The start of authority behind a denial: its place among `ttls`, and its MINIMUM in seconds as it came.
    pub(super) soa: Option<(usize, u32)>,
    /// Records of upstream's answer section that nothing leads to, or that are more signatures than are kept.
    pub(super) strangers: usize,
    /// Those of them that are signatures beyond what is kept: what is told is no less authentic without.
    pub(super) surplus: usize,
}

/// A record of the answer section and whose it is.
struct Owned {
    owner: Name,
    record: Record,
}

impl Canonical {
    /// Takes of the `answers` and `authorities` what belongs to the answer to `question`; `may_have_data` says whether the
    /// rcode lets there be any.
    ///
    /// # Errors
    /// [`BadTruth`] when what is taken cannot be read or is too much.
    pub(super) fn of(
        message: &Message<'_>,
        question: &Question,
        answers: &[Record],
        authorities: &[Record],
        may_have_data: bool,
    ) -> Result<Canonical, BadTruth> {
        let mut owned = Vec::with_capacity(answers.len());
        for record in answers {
            let (owner, _) = message.name(record.owner_at)?;
            owned.push(Owned { owner, record: record.clone() });
        }
        let len = answers.last().map_or(0, |last| last.rdata.end.saturating_sub(message.base()));
        let mut draft = Draft::new(*message, question, (answers.len(), len));
        let (last, has_data) = draft.chain(&owned)?;
        let answers = draft.ttls.len();
        let has_data = has_data && may_have_data;
        let soa = draft.authority(authorities, (!has_data).then_some(&last))?;
        let count = |count: usize| u16::try_from(count).map_err(|_| BadTruth::Excessive);
        Ok(Canonical {
            answers: count(answers)?,
            authorities: count(draft.ttls.len() - answers)?,
            strangers: owned.len().saturating_sub(draft.taken),
            surplus: draft.surplus,
            octets: draft.octets,
            ttls: draft.ttls,
            aliases: draft.aliases,
            has_data,
            soa,
        })
    }
}

/// Records being written.
struct Draft<'m> {
    message: Message<'m>,
    question: &'m Question,
    octets: Vec<u8>,
    ttls: Vec<(u16, u32)>,
    aliases: Vec<Name>,
    /// Upstream's answers that were written.
    taken: usize,
    /// Upstream's answers that are more signatures than are kept.
    surplus: usize,
    /// Labels that names may point at: the offset of the name behind the label (0 is the root), and the label's own.
    places: Vec<(u16, u16)>,
    /// Where upstream's DNAME records stand that were written: one may make several steps of a chain.
    dnames: Vec<usize>,
}

impl<'m> Draft<'m> {
    /// Nothing yet but the question, whose name can be pointed at; with room for so many records and octets, which is what most take.
    fn new(message: Message<'m>, question: &'m Question, (records, octets): (usize, usize)) -> Draft<'m> {
        let mut draft = Draft {
            message,
            question,
            octets: Vec::with_capacity(octets),
            ttls: Vec::with_capacity(records),
            aliases: Vec::new(),
            taken: 0,
            surplus: 0,
            places: Vec::new(),
            dnames: Vec::new(),
        };
        let labels: Vec<usize> = label_starts(question.qname.as_wire());
        draft.place(wire::HEADER_LEN, &labels, 0);
        draft
    }

    /// Writes the chain from the qname and the record set at its end; that end, and whether there is one.
    fn chain(&mut self, answers: &[Owned]) -> Result<(Name, bool), BadTruth> {
        let Question { qname, qtype, .. } = *self.question;
        let rules: Vec<&Owned> = answers.iter().filter(|answer| self.is_rule(answer)).collect();
        if rules.len() > MAX_RULES {
            return Err(BadTruth::Excessive);
        }
        let mut at = qname;
        loop {
            // RFC 1034 §3.6.2: a query for the CNAME itself is answered with it and does not restart at its target. But
            // what is below a DNAME has no CNAME but the one made of that, which comes behind it.
            if qtype != Rtype::CNAME && self.set(answers, &at, qtype)? {
                return Ok((at, true));
            }
            let Some(target) = self.step(&rules, answers, &at)? else { return Ok((at, false)) };
            if qtype == Rtype::CNAME {
                return Ok((at, true));
            }
            // A loop has been told all round; nothing new is behind it.
            if target == qname || self.aliases.contains(&target) {
                return Ok((at, false));
            }
            if self.aliases.len() == MAX_ALIASES {
                return Err(BadTruth::Excessive);
            }
            self.aliases.push(target);
            at = target;
        }
    }

    /// Writes the alias at `at`, if there is one; where it leads.
    fn step(&mut self, rules: &[&Owned], answers: &[Owned], at: &Name) -> Result<Option<Name>, BadTruth> {
        let cname = rules.iter().find(|rule| rule.record.rtype == Rtype::CNAME && rule.owner == *at);
        let dname = rules.iter().find(|rule| {
            // RFC 6672 §2.3: a DNAME redirects what is below its owner, not the owner.
            rule.record.rtype == Rtype::DNAME && rule.owner != *at && at.is_at_or_below(&rule.owner)
        });
        let told = match cname {
            Some(cname) => Some((*cname, self.target(&cname.record)?)),
            None => None,
        };
        let Some(dname) = dname else {
            let Some((cname, target)) = told else { return Ok(None) };
            self.record(&cname.record)?;
            self.signatures(answers, at, Rtype::CNAME)?;
            return Ok(Some(target));
        };
        let base = self.target(&dname.record)?;
        if !self.dnames.contains(&dname.record.owner_at) {
            self.dnames.push(dname.record.owner_at);
            self.record(&dname.record)?;
            self.signatures(answers, &dname.owner, Rtype::DNAME)?;
        }
        // RFC 6672 §2.2: a substitution that grows too long is an error (YXDOMAIN) and leads nowhere.
        let Some(target) = target_under(at, &dname.owner, &base) else { return Ok(None) };
        match told {
            // As upstream spells it.
            Some((cname, given)) if given == target => {
                self.record(&cname.record)?;
                self.signatures(answers, at, Rtype::CNAME)?;
            }
            // RFC 6672 §3.2 has a resolver make the CNAME out of the DNAME, and §3.1 says with which TTL. Where they differ
            // the DNAME is right, as in Unbound: the CNAME is but its consequence, and never signed.
            _ => self.cname(&dname.record, at, &target)?,
        }
        Ok(Some(target))
    }

    /// Writes the records of that type at `at` with their signatures; whether there are any.
    fn set(&mut self, answers: &[Owned], at: &Name, qtype: Rtype) -> Result<bool, BadTruth> {
        let wanted = |answer: &&Owned| {
            (answer.record.rtype == qtype || qtype == Rtype::ANY)
                && answer.owner == *at
                && self.is_in_class(&answer.record)
        };
        let set: Vec<&Owned> = answers.iter().filter(wanted).take(MAX_SET_RECORDS + 1).collect();
        self.records(&set)?;
        // With ANY they are among the records already; asked for themselves they are.
        if !set.is_empty() && qtype != Rtype::ANY {
            self.signatures(answers, at, qtype)?;
        }
        Ok(!set.is_empty())
    }

    /// Writes the signatures over a record set, for who asks for them. RFC 4035 §3.2.1: without DO, authenticating records
    /// are stripped "that do not match the explicitly requested type".
    fn signatures(&mut self, answers: &[Owned], owner: &Name, covered: Rtype) -> Result<(), BadTruth> {
        if !self.question.dnssec_ok {
            return Ok(());
        }
        let wanted = |answer: &&Owned| {
            answer.owner == *owner
                && self.covers(&answer.record) == Some(covered)
                && self.is_in_class(&answer.record)
        };
        let mut set: Vec<&Owned> = answers.iter().filter(wanted).collect();
        self.surplus += set.len().saturating_sub(MAX_SIGNATURES);
        set.truncate(MAX_SIGNATURES);
        self.records(&set)
    }

    /// Writes the records of one set.
    fn records(&mut self, set: &[&Owned]) -> Result<(), BadTruth> {
        if set.len() > MAX_SET_RECORDS {
            return Err(BadTruth::Excessive);
        }
        set.iter().try_for_each(|owned| self.record(&owned.record))
    }

    /// Writes what the authority section is good for: the start of authority behind a denial of that name, if it is one,
    /// and to validators what proves that there is nothing else (RFC 4035 §3.1.3). Name servers are left out: nobody who
    /// asks a resolver asks them, and their names and addresses are the attacker's choice (RFC 2181 §5.4.1).
    fn authority(
        &mut self,
        records: &[Record],
        denied: Option<&Name>,
    ) -> Result<Option<(usize, u32)>, BadTruth> {
        let mut soa = None;
        let (before, mut authority) = (self.taken, None);
        if let Some(denied) = denied {
            for record in records.iter().filter(|record| record.rtype == Rtype::SOA) {
                let (owner, _) = self.message.name(record.owner_at)?;
                // RFC 2308 §2.1: it is that of the zone the name is denied in, so it stands at the name or above.
                // MINIMUM is the last of five numbers behind two names; each name has an octet at least.
                if denied.is_at_or_below(&owner) && self.is_in_class(record) && record.rdata.len() >= 22 {
                    soa = Some((self.ttls.len(), self.message.u32_at(record.rdata.end - 4)?));
                    self.record(record)?;
                    authority = Some(owner);
                    break;
                }
            }
        }
        if self.question.dnssec_ok {
            let mut signed: Vec<(Name, Rtype)> = Vec::new();
            for record in records {
                if self.taken - before > MAX_SET_RECORDS {
                    break;
                }
                let proves = match (record.rtype, self.covers(record)) {
                    (Rtype::NSEC | Rtype::NSEC3, _) | (_, Some(Rtype::NSEC | Rtype::NSEC3)) => true,
                    (_, Some(Rtype::SOA)) => authority == Some(self.message.name(record.owner_at)?.0),
                    _ => false,
                };
                if !proves || !self.is_in_class(record) {
                    continue;
                }
                if let Some(covered) = self.covers(record) {
                    let set = (self.message.name(record.owner_at)?.0, covered);
                    if signed.iter().filter(|other| **other == set).count() == MAX_SIGNATURES {
                        continue;
                    }
                    signed.push(set);
                }
                self.record(record)?;
            }
        }
        if self.taken - before > MAX_SET_RECORDS {
            return Err(BadTruth::Excessive);
        }
        self.taken = before;
        Ok(soa)
    }

    /// Whether a record is an alias of the question's class.
    fn is_rule(&self, answer: &Owned) -> bool {
        matches!(answer.record.rtype, Rtype::CNAME | Rtype::DNAME) && self.is_in_class(&answer.record)
    }

    /// Whether a record is of the class asked for.
    fn is_in_class(&self, record: &Record) -> bool {
        self.question.qclass == Class::ANY || record.class == self.question.qclass
    }

    /// The type that a signature covers; none if it is none.
    fn covers(&self, record: &Record) -> Option<Rtype> {
        let sound = record.rtype == Rtype::RRSIG && record.rdata.len() > RRSIG_FIXED_LEN;
        sound.then(|| self.message.u16_at(record.rdata.start).ok().map(Rtype))?
    }

    /// The name that all RDATA of a CNAME or DNAME is.
    fn target(&self, record: &Record) -> Result<Name, Malformed> {
        let (target, end) = self.message.name(record.rdata.start)?;
        if end == record.rdata.end { Ok(target) } else { Err(Malformed) }
    }

    /// Writes an upstream's record.
    fn record(&mut self, record: &Record) -> Result<(), BadTruth> {
        let (owner, _) = self.message.spelled(record.owner_at)?;
        self.head(&owner, record.rtype, record.class, record.ttl)?;
        let length_at = self.octets.len();
        wire::put_u16(&mut self.octets, 0u16);
        self.rdata(record)?;
        self.close(length_at)?;
        self.taken += 1;
        Ok(())
    }

    /// Writes the CNAME that a DNAME makes.
    fn cname(&mut self, dname: &Record, owner: &Name, target: &Name) -> Result<(), BadTruth> {
        self.head(&Spelled::of(owner), Rtype::CNAME, dname.class, dname.ttl)?;
        let length_at = self.octets.len();
        wire::put_u16(&mut self.octets, 0u16);
        self.name(&Spelled::of(target), true);
        self.close(length_at)
    }

    /// Writes a record up to its RDATA's length.
    fn head(&mut self, owner: &Spelled, rtype: Rtype, class: Class, ttl: u32) -> Result<(), BadTruth> {
        let is_qname = owner.octets().eq_ignore_ascii_case(self.question.qname.as_wire());
        if is_qname && !self.question.qname.is_root() {
            // However upstream spells it: clients see their own spelling there.
            wire::put_pointer(&mut self.octets, wire::HEADER_LEN as u16);
        } else {
            self.name(owner, true);
        }
        wire::put_u16(&mut self.octets, rtype);
        wire::put_u16(&mut self.octets, class);
        self.ttls.push((u16::try_from(self.octets.len()).map_err(|_| BadTruth::Excessive)?, ttl));
        wire::put_u32(&mut self.octets, ttl);
        Ok(())
    }

    /// Writes a record's RDATA, its names anew.
    fn rdata(&mut self, record: &Record) -> Result<(), BadTruth> {
        let mut at = record.rdata.start;
        for field in wire::name_fields(record.rtype) {
            let len = match field {
                Field::Name => {
                    let (name, end) = self.message.spelled(at)?;
                    self.name(&name, wire::may_compress(record.rtype));
                    at = end;
                    continue;
                }
                Field::Octets(len) => *len,
                Field::Text => 1 + usize::from(*self.message.octets(at, 1)?.first().ok_or(Malformed)?),
            };
            self.octets.extend_from_slice(self.message.octets(at, len)?);
            at += len;
        }
        let rest = record.rdata.end.checked_sub(at).ok_or(Malformed)?;
        self.octets.extend_from_slice(self.message.octets(at, rest)?);
        Ok(())
    }

    /// Writes the length of the RDATA that ends here.
    fn close(&mut self, length_at: usize) -> Result<(), BadTruth> {
        let end = self.octets.len();
        if self.message.base() + end > wire::MAX_MESSAGE_LEN {
            return Err(BadTruth::Excessive);
        }
        let length = u16::try_from(end - length_at - 2).map_err(|_| BadTruth::Excessive)?;
        let place = self.octets.get_mut(length_at..length_at + 2).ok_or(Malformed)?;
        place.copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Writes a name, as far as it stands somewhere already as a pointer if that may be.
    fn name(&mut self, name: &Spelled, compressed: bool) {
        let octets = name.octets();
        if !compressed {
            self.octets.extend_from_slice(octets);
            return;
        }
        let labels = label_starts(octets);
        let (mut known, mut parent) = (labels.len(), 0);
        for (index, &start) in labels.iter().enumerate().rev() {
            let Some(at) = self.find(parent, &octets[start..]) else { break };
            (known, parent) = (index, at);
        }
        let at = self.message.base() + self.octets.len();
        match labels.get(known) {
            Some(&end) => {
                self.octets.extend_from_slice(&octets[..end]);
                wire::put_pointer(&mut self.octets, parent);
            }
            None => self.octets.extend_from_slice(octets),
        }
        self.place(at, &labels[..known], parent);
    }

    /// Notes that a name's first labels stand at `at`, the last of them before the name at `parent`.
    fn place(&mut self, at: usize, labels: &[usize], mut parent: u16) {
        for start in labels.iter().rev() {
            let at = at + start;
            if self.places.len() == MAX_PLACES || at >= wire::POINTER_END {
                return;
            }
            self.places.push((parent, at as u16));
            parent = at as u16;
        }
    }

    /// Where the label at the start of `octets` stands before the name at `parent`, in the same case: what RDATA says is
    /// told as it came.
    fn find(&self, parent: u16, octets: &[u8]) -> Option<u16> {
        let label = octets.get(..1 + usize::from(*octets.first()?))?;
        let candidates = self.places.iter().filter(|(behind, _)| *behind == parent);
        candidates.map(|(_, at)| *at).find(|&at| self.written(at, label.len()) == Some(label))
    }

    /// `length` octets at that offset of the new message.
    fn written(&self, at: u16, length: usize) -> Option<&[u8]> {
        match usize::from(at).checked_sub(self.message.base()) {
            Some(start) => self.octets.get(start..start + length),
            None => self.message.octets(at.into(), length).ok(),
        }
    }
}

/// Where in an uncompressed name each label starts, the root's left out.
fn label_starts(octets: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(&length) = octets.get(at).filter(|length| **length != 0) {
        starts.push(at);
        at += 1 + usize::from(length);
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::super::testing::{name, question, response};
    use super::super::truth::{Truth, TtlLimits};
    use super::*;

    const LIMITS: TtlLimits =
        TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };
    const A: Rtype = Rtype::A;

    /// What is told of a reply: answers and authorities as `owner TYPE`, and a `>` with the name an alias leads to.
    fn told(asked: &Question, sections: [&[&str]; 3]) -> Result<Vec<String>, BadTruth> {
        let message = response(0, &asked.qname.to_string(), asked.qtype, sections);
        let truth = Truth::read(asked, &message, &LIMITS)?;
        let octets = asked.octets();
        let told = Message::new(&octets, &truth.octets);
        let count = usize::from(truth.answers + truth.authorities);
        let line = |record: Record| {
            let (owner, _) = told.name(record.owner_at).unwrap();
            let kind = match record.rtype {
                Rtype::A => "A",
                Rtype::NS => "NS",
                Rtype::CNAME => "CNAME",
                Rtype::DNAME => "DNAME",
                Rtype::SOA => "SOA",
                Rtype::NSEC => "NSEC",
                Rtype::RRSIG => "RRSIG",
                _ => "other",
            };
            let target = match record.rtype {
                Rtype::CNAME => format!(" > {}", told.name(record.rdata.start).unwrap().0),
                _ => String::new(),
            };
            format!("{owner} {kind}{target}")
        };
        let lines: Vec<String> =
            told.records(told.base(), count).map(|record| line(record.unwrap())).collect();
        assert_eq!(lines.len(), truth.ttl_offsets.len(), "a TTL for each");
        Ok(lines)
    }

    /// Type asked for, answers, authorities; then what is told.
    type Case = (Rtype, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

    /// `q.e` asked for, with DO or without.
    fn check(dnssec_ok: bool, cases: &[Case]) {
        for (qtype, answers, authorities, expected) in cases {
            let asked = Question { dnssec_ok, ..question("q.e", *qtype) };
            let additional: &[&str] = &["q.e 1 A 9.9.9.9", "x.e 1 A 9.9.9.9"];
            let found = told(&asked, [answers, authorities, additional]);
            assert_eq!(found.unwrap(), *expected, "{qtype} {answers:?} {authorities:?}");
        }
    }

    #[test]
    fn the_chain_is_told_in_order_and_nothing_besides() {
        check(
            false,
            &[
                (A, &[], &[], &[]),
                (A, &["x.e 1 A 1.1.1.1"], &[], &[]),
                (A, &["x.e 1 A 1.1.1.1", "Q.E 1 A 1.1.1.2"], &[], &["q.e A"]),
                (A, &["q.e 1 NS n.e", "q.e 1 A 1.1.1.2"], &["e 1 NS n.e"], &["q.e A"]),
                (A, &["a.e 1 A 1.1.1.1", "q.e 1 CNAME a.e"], &[], &["q.e CNAME > a.e", "a.e A"]),
                (
                    A,
                    &["b.e 1 A 1.1.1.1", "a.e 1 CNAME b.e", "x.e 1 CNAME y.e", "q.e 1 CNAME a.e"],
                    &[],
                    &["q.e CNAME > a.e", "a.e CNAME > b.e", "b.e A"],
                ),
                // Two aliases of one name, and an alias beside what was asked for: the first, and what was asked for.
                (A, &["q.e 1 CNAME a.e", "q.e 1 CNAME b.e", "b.e 1 A 1.1.1.1"], &[], &["q.e CNAME > a.e"]),
                (A, &["q.e 1 CNAME a.e", "q.e 1 A 1.1.1.1", "a.e 1 A 1.1.1.1"], &[], &["q.e A"]),
                // Loops end where they began.
                (A, &["q.e 1 CNAME q.e"], &[], &["q.e CNAME > q.e"]),
                (
                    A,
                    &["b.e 1 CNAME a.e", "q.e 1 CNAME a.e", "a.e 1 CNAME b.e"],
                    &[],
                    &["q.e CNAME > a.e", "a.e CNAME > b.e", "b.e CNAME > a.e"],
                ),
                (Rtype::CNAME, &["q.e 1 CNAME a.e", "a.e 1 CNAME b.e"], &[], &["q.e CNAME > a.e"]),
                (Rtype::CNAME, &["q.e 1 A 1.1.1.1"], &[], &[]),
                (
                    Rtype::ANY,
                    &["q.e 1 A 1.1.1.1", "x.e 1 A 1.1.1.1", "q.e 1 NS n.e"],
                    &[],
                    &["q.e A", "q.e NS"],
                ),
                (Rtype::RRSIG, &["q.e 1 RRSIG 1", "x.e 1 RRSIG 1"], &[], &["q.e RRSIG"]),
            ],
        );
    }

    #[test]
    fn a_dname_makes_its_cname() {
        check(
            false,
            &[
                (A, &["e 1 DNAME f"], &[], &["e DNAME", "q.e CNAME > q.f"]),
                (A, &["q.f 1 A 1.1.1.1", "e 1 DNAME f"], &[], &["e DNAME", "q.e CNAME > q.f", "q.f A"]),
                (A, &["q.e 1 CNAME q.f", "e 1 DNAME f"], &[], &["e DNAME", "q.e CNAME > q.f"]),
                (
                    A,
                    &["e 1 DNAME f", "q.e 1 CNAME z.f", "z.f 1 A 1.1.1.1"],
                    &[],
                    &["e DNAME", "q.e CNAME > q.f"],
                ),
                (
                    A,
                    &["q.e 1 CNAME a.b.g", "g 1 DNAME h.i"],
                    &[],
                    &["q.e CNAME > a.b.g", "g DNAME", "a.b.g CNAME > a.b.h.i"],
                ),
                // It redirects what is below it, not itself, and nothing of somebody else's.
                (A, &["q.e 1 DNAME f"], &[], &[]),
                (A, &["a.q.e 1 DNAME f", "x 1 DNAME f"], &[], &[]),
                (Rtype::DNAME, &["q.e 1 DNAME f"], &[], &["q.e DNAME"]),
                (Rtype::CNAME, &["e 1 DNAME f"], &[], &["e DNAME", "q.e CNAME > q.f"]),
                // Once, however often it is gone through.
                (
                    A,
                    &["e 1 DNAME f", "f 1 CNAME x", "q.f 1 CNAME a.e", "a.f 1 A 1.1.1.1"],
                    &[],
                    &["e DNAME", "q.e CNAME > q.f", "q.f CNAME > a.e", "a.e CNAME > a.f", "a.f A"],
                ),
            ],
        );
        // One that feeds on itself, until it is too much.
        assert_eq!(told(&question("q.e", A), [&["e 1 DNAME e.e"], &[], &[]]), Err(BadTruth::Excessive));
        // A name too long leads nowhere (YXDOMAIN): the DNAME alone says why.
        let long = ["a".repeat(60).as_str(); 4].join(".");
        let qname = format!("{}.e", "b".repeat(60));
        let dname = format!("e 1 DNAME {long}");
        assert_eq!(told(&question(&qname, A), [&[&dname], &[], &[]]), Ok(vec!["e DNAME".to_owned()]));
    }

    #[test]
    fn authorities_deny_and_nothing_else() {
        check(
            false,
            &[
                (A, &[], &["e 1 SOA 1", "e 1 SOA 2", "e 1 NS n.e"], &["e SOA"]),
                (A, &[], &["q.e 1 SOA 1"], &["q.e SOA"]),
                (A, &[], &["a.q.e 1 SOA 1", "f 1 SOA 1"], &[]),
                (A, &["x.e 1 A 1.1.1.1"], &["e 1 SOA 1"], &["e SOA"]),
                (A, &["q.e 1 A 1.1.1.1"], &["e 1 SOA 1"], &["q.e A"]),
                (A, &["q.e 1 CNAME a.f"], &["e 1 SOA 1", "f 1 SOA 1"], &["q.e CNAME > a.f", "f SOA"]),
                (A, &[], &["e 1 NSEC f", "e 1 RRSIG 47"], &[]),
            ],
        );
        check(
            true,
            &[(
                A,
                &[],
                &[
                    "e 1 NS n.e",
                    "e 1 RRSIG 2",
                    "e 1 SOA 1",
                    "e 1 RRSIG 6",
                    "f 1 RRSIG 6",
                    "e 1 NSEC f",
                    "e 1 RRSIG 47",
                ],
                &["e SOA", "e RRSIG", "e NSEC", "e RRSIG"],
            )],
        );
    }

    #[test]
    fn signatures_go_to_those_who_ask_for_them() {
        const SIGNED: &[&str] = &[
            "q.e 1 RRSIG 5",
            "a.e 1 RRSIG 1",
            "x.e 1 RRSIG 1",
            "a.e 1 RRSIG 28",
            "a.e 1 A 1.1.1.1",
            "q.e 1 CNAME a.e",
        ];
        check(false, &[(A, SIGNED, &[], &["q.e CNAME > a.e", "a.e A"])]);
        check(true, &[(A, SIGNED, &[], &["q.e CNAME > a.e", "q.e RRSIG", "a.e A", "a.e RRSIG"])]);
        const DNAME: &[&str] = &["e 1 RRSIG 39", "e 1 DNAME f", "q.f 1 A 1.1.1.1"];
        check(true, &[(A, DNAME, &[], &["e DNAME", "e RRSIG", "q.e CNAME > q.f", "q.f A"])]);
    }

    #[test]
    fn of_signatures_over_a_set_the_first_are_told() {
        let asked = Question { dnssec_ok: true, ..question("q.e", A) };
        let many = |record: &'static str, count: usize| vec![record; count];
        for (count, kept) in [
            (1, 1),
            (MAX_SIGNATURES, MAX_SIGNATURES),
            (MAX_SIGNATURES + 1, MAX_SIGNATURES),
            (300, MAX_SIGNATURES),
        ] {
            let alias = [many("q.e 1 CNAME a.e", 1), many("q.e 1 RRSIG 5", count)].concat();
            let set = [many("a.e 1 A 1.1.1.1", 1), many("a.e 1 RRSIG 1", count)].concat();
            let both = [alias, set].concat();
            let message = response(0x20, "q.e", A, [&both, &[], &[]]);
            let truth = Truth::read(&asked, &message, &LIMITS).unwrap();
            assert_eq!(
                (usize::from(truth.answers), usize::from(truth.strangers)),
                (2 + 2 * kept, 2 * (count - kept))
            );
            assert!(truth.authentic);
            // Each set of what proves a denial by itself.
            let denial = [
                many("e 1 SOA 1", 1),
                many("e 1 RRSIG 6", count),
                many("e 1 NSEC f", 1),
                many("e 1 RRSIG 47", count),
                many("a.e 1 NSEC f", 1),
                many("a.e 1 RRSIG 47", count),
            ];
            let found = told(&asked, [&[], &denial.concat(), &[]]).unwrap();
            assert_eq!(found.len(), 3 + 3 * kept, "{found:?}");
        }
        // Asked for themselves they are the data.
        let found = told(&question("q.e", Rtype::RRSIG), [&many("q.e 1 RRSIG 1", 45), &[], &[]]);
        assert_eq!(found.unwrap().len(), 45);
    }

    #[test]
    fn too_much_is_refused_and_a_little_less_is_not() {
        let read = |answers: &[String], additional: usize| {
            let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
            told(&question("q.e", A), [&answers, &[], &vec!["x.e 1 A 9.9.9.9"; additional]])
                .map(|told| told.len())
        };
        let set = |length: usize| vec!["q.e 1 A 1.1.1.1".to_owned(); length];
        let chain = |length: usize| -> Vec<String> {
            let name = |index| if index == 0 { "q.e".into() } else { format!("n{index}.e") };
            (0..length).map(|index| format!("{} 1 CNAME {}", name(index), name(index + 1))).collect()
        };
        let strangers = |length: usize| -> Vec<String> {
            (0..length).map(|index| format!("x{index}.e 1 CNAME y.e")).collect()
        };
        for (what, answers, additional, expected) in [
            ("a set", set(MAX_SET_RECORDS), 0, Ok(MAX_SET_RECORDS)),
            ("a longer set", set(MAX_SET_RECORDS + 1), 0, Err(BadTruth::Excessive)),
            // The question counts as one.
            ("a message", set(1), MAX_RECORDS - 2, Ok(1)),
            ("a longer message", set(1), MAX_RECORDS - 1, Err(BadTruth::Excessive)),
            ("a chain", chain(MAX_ALIASES), 0, Ok(MAX_ALIASES)),
            ("a longer chain", chain(MAX_ALIASES + 1), 0, Err(BadTruth::Excessive)),
            ("rules", strangers(MAX_RULES), 0, Ok(0)),
            ("more rules", strangers(MAX_RULES + 1), 0, Err(BadTruth::Excessive)),
        ] {
            assert_eq!(read(&answers, additional), expected, "{what}");
        }
    }

    #[test]
    fn names_are_written_once_where_pointers_may_stand() {
        let asked = question("q.e", Rtype::NS);
        let message = response(
            0,
            "q.e",
            Rtype::NS,
            [&["q.e 1 NS a.ns.f", "q.e 1 NS b.ns.f", "q.e 1 NS q.e"], &[], &[]],
        );
        let truth = Truth::read(&asked, &message, &LIMITS).unwrap();
        // 12 octets of a record each, and a.ns.f in 8, b and a pointer in 4, a pointer in 2.
        assert_eq!(truth.octets.len(), 3 * 12 + 8 + 4 + 2);
        let loose = truth.owned_answers(&asked.octets()).unwrap();
        let targets: Vec<&[u8]> = loose.iter().map(|record| &record.rdata[..]).collect();
        assert_eq!(targets, [name("a.ns.f"), name("b.ns.f"), name("q.e")].each_ref().map(Name::as_wire));
    }

    #[test]
    fn rdata_keeps_its_case() {
        let asked = question("q.e", Rtype::PTR);
        let mut message = response(0, "q.e", Rtype::PTR, [&["q.e 1 PTR printer.q.e"], &[], &[]]);
        // The target stands at the end: Printer.q.E, whose last label is not the question's in this case.
        let end = message.len();
        message[end - 12] = b'P';
        message[end - 2] = b'E';
        let truth = Truth::read(&asked, &message, &LIMITS).unwrap();
        assert!(truth.octets.ends_with(b"\x07Printer\x01q\x01E\0"), "{:?}", truth.octets);
    }
}
