//! What an upstream said, in wire form, ready to be cached and sent again.

use std::net::IpAddr;

use super::asks::{self, Asks};
pub use super::canonical::BadTruth;
use super::canonical::{Canonical, MAX_RECORDS, MAX_SET_RECORDS};
use super::chain::{self, Alias};
use super::ede::{Ede, details};
use super::mark::Mark;
use super::query::{Query, Question};
use super::subnet::{self, Scope};
use super::targets;
use super::wire::{
    self, FLAG_AA, FLAG_AD, FLAG_QR, FLAG_TC, HEADER_LEN, Header, Malformed, Message, Owner, Record,
};
use crate::iana::{Rcode, Rtype};
use crate::name::Name;

/// An upstream's answer without header, question and OPT, made canonical: the answer section is the chain of the question in
/// order, the record set at its end and their signatures, the authority section what denies or proves, and there is no
/// additional section.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Response code, the extended bits from OPT included.
    pub rcode: Rcode,
    /// AA as upstream set it.
    pub authoritative: bool,
    /// Whether it was said here, by whom it is told with AA; then it has no age either.
    pub ours: bool,
    /// AD as upstream set it, unless it vouched for strangers.
    pub authentic: bool,
    /// TC as upstream set it: it is not the whole truth, and no answer.
    pub truncated: bool,
    /// The records, as they stand behind the question (pointers count on it), TTLs within limits.
    pub octets: Box<[u8]>,
    /// Records in the answer section.
    pub answers: u16,
    /// Records in the authority section, behind the answers.
    pub authorities: u16,
    /// Records of upstream's answer section that nothing led to and that are not here.
    pub strangers: u16,
    /// Offsets of every TTL in `octets`.
    pub ttl_offsets: Box<[u16]>,
    /// How long it may be cached, in seconds: the least TTL, or RFC 2308's for a negative answer; 0 is never.
    pub lifetime_s: u32,
    /// The names the answer leads to: the aliases in order from the qname, then service targets. What review looks at.
    pub targets: Box<[Name]>,
    /// How many of `targets` are aliases; the records asked for belong to the last of them, or to the qname.
    pub aliases: u8,
    /// The addresses among those records, service hints included, each once.
    pub addresses: Box<[IpAddr]>,
    /// EDE options upstream sent, to be passed on.
    pub ede: Vec<Ede>,
    /// Under which stamp of a policy review found that no rule is about the name asked for, nor about anything this holds or
    /// leads to; and until when it is known of the name servers behind it that none is about them either.
    pub untouched: Mark,
    /// How it is asked for.
    pub asks: Asks,
    /// Whom it is for, where it was asked for somebody and is not for everybody.
    pub scope: Option<Scope>,
}

/// Bounds on how long answers live in the cache, in seconds.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub struct TtlLimits {
    /// Floor for positive answers. A TTL of 0 stays 0: it forbids caching (RFC 1035 §3.2.1).
    pub min_s: u32,
    /// Cap for positive answers.
    pub max_s: u32,
    /// Floor for negative answers, with the same exception.
    pub negative_min_s: u32,
    /// Cap for negative answers. RFC 2308 §5: it should not be greater than the one for positive answers, so `max_s` caps
    /// them as well.
    pub negative_max_s: u32,
}

impl Truth {
    /// Reads an upstream's message as the answer to `question`.
    ///
    /// Every record counted must be there, those that are left out as well. Octets behind the last one are ignored, as BIND and Unbound do: they carry
    /// nothing, and are not kept.
    ///
    /// # Errors
    /// [`BadTruth`] when it is not one.
    pub fn read(question: &Question, message: &[u8], limits: &TtlLimits) -> Result<Truth, BadTruth> {
        // A longer one never came from the network, and its offsets would not fit their 16 bits.
        let header = Header::read(message).filter(|_| message.len() <= wire::MAX_MESSAGE_LEN);
        let header = header.ok_or(BadTruth::Malformed)?;
        if !header.is_response() || header.opcode() != 0 || header.counts[0] != 1 {
            return Err(BadTruth::WrongQuestion);
        }
        let (qname, qtype, qclass, octets) = wire::question(message)?;
        if (qname, qtype, qclass) != (question.qname, question.qtype, question.qclass) {
            return Err(BadTruth::WrongQuestion);
        }
        let records = message.get(HEADER_LEN + octets.len()..).ok_or(BadTruth::Malformed)?;
        // Before any is read: what is refused costs next to nothing.
        if header.counts.into_iter().map(usize::from).sum::<usize>() > MAX_RECORDS {
            return Err(BadTruth::Excessive);
        }
        Sections::read(Message::new(octets, records), &header)?.into_truth(question, &header, limits)
    }

    /// The same as it is told to those who do not ask for DNSSEC; `question` is theirs. None where there is nothing left to tell.
    ///
    /// RFC 4035 §3.2.1: without DO the name server "MUST strip any authenticating DNSSEC RRs from the response" that were not asked for.
    pub fn unsigned(&self, question: &Question) -> Option<Truth> {
        let mut message = Vec::new();
        self.put_message(question, &mut message);
        // TTLs are within limits already.
        let truth = Truth::read(question, &message, &TtlLimits::NONE).ok()?;
        // Signatures may be what made it last no longer, but what upstream said of all of it was said for that time.
        let lifetime_s = truth.lifetime_s.min(self.lifetime_s);
        let (authentic, ede) = (self.authentic, self.ede.clone());
        let (strangers, scope) = (self.strangers, self.scope);
        (lifetime_s > 0).then_some(Truth { authentic, ede, lifetime_s, strangers, scope, ..truth })
    }

    /// The same denial as it is told to whoever asks a question about a name at or below the one that it denies; `question` is the octets
    /// of the question it answers. RFC 8020 §2: "the same set of NSEC or NSEC3 records proves the nonexistence of the descendant name."
    pub fn denying(&self, asked: &Question, question: &[u8]) -> Option<Truth> {
        let mut message = Vec::with_capacity(HEADER_LEN + question.len() + 2 * self.octets.len());
        let flags = FLAG_QR | if self.authoritative { FLAG_AA } else { 0 } | self.rcode.0 & 0xf;
        [0, flags, 1, 0, self.authorities, 0]
            .into_iter()
            .for_each(|number| wire::put_u16(&mut message, number));
        message.extend_from_slice(&asked.octets());
        // Pointers count on the question, which is another one.
        let own = Message::new(question, &self.octets);
        for record in own.records(own.base(), self.authorities.into()) {
            let record = record.ok()?;
            let (owner, _) = own.name(record.owner_at).ok()?;
            let rdata = targets::loose_rdata(&own, &record).ok()?;
            let Record { rtype, class, ttl, .. } = record;
            wire::put_record(&mut message, Owner::Name(&owner), rtype, class, ttl, &rdata);
        }
        let truth = Truth::read(asked, &message, &TtlLimits::NONE).ok()?;
        let (authentic, ede) = (self.authentic, self.ede.clone());
        let lifetime_s = truth.lifetime_s.min(self.lifetime_s);
        (lifetime_s > 0).then_some(Truth { authentic, ede, lifetime_s, ..truth })
    }

    /// What is to be asked where it leads to a name and says nothing of that: whoever was asked serves some zones and does not recurse.
    /// None where it denies, or leads in a circle. `asked` is the question, `question` its octets.
    ///
    /// RFC 1034 §5.3.3: "if the response shows a CNAME and that is not the answer itself, cache the CNAME, change the SNAME to the
    /// canonical name in the CNAME RR and go to step 1".
    pub fn leads_on(&self, asked: &Question, question: &[u8]) -> Option<Question> {
        let end = usize::from(self.aliases).checked_sub(1).and_then(|last| self.targets.get(last))?;
        if self.rcode != Rcode::NOERROR || self.truncated {
            return None;
        }
        let message = Message::new(question, &self.octets);
        let count = usize::from(self.answers);
        let all = message.records(message.base(), count + usize::from(self.authorities));
        // What proves that a wildcard made the alias denies nothing of where it leads (RFC 4035 §3.1.3.3).
        if all.map_while(Result::ok).skip(count).any(|record| record.rtype == Rtype::SOA) {
            return None;
        }
        let records = message.records(message.base(), count).map_while(Result::ok);
        let (mut steps, mut last) = (0, None);
        for record in records.filter(|record| record.rtype != Rtype::RRSIG) {
            steps += usize::from(record.rtype == Rtype::CNAME);
            last = Some(record.rtype);
        }
        // A circle has one step more than it has names beside the first.
        let is_open = last == Some(Rtype::CNAME) && steps == usize::from(self.aliases);
        is_open.then_some(Question { qname: *end, ..*asked })
    }

    /// Two replies as one: where the first [leads on](Truth::leads_on), and what the second says of that.
    ///
    /// # Errors
    /// [`Malformed`] when one of them cannot be read, or they are too long together.
    pub fn joined(first: &[u8], second: &[u8]) -> Result<Vec<u8>, Malformed> {
        let read = |message| -> Result<(Header, Sections<'_>), Malformed> {
            let header = Header::read(message).ok_or(Malformed)?;
            let (_, _, _, question) = wire::question(message)?;
            let records = message.get(HEADER_LEN + question.len()..).ok_or(Malformed)?;
            Ok((header, Sections::read(Message::new(question, records), &header)?))
        };
        let ((to, alias), (from, end)) = (read(first)?, read(second)?);
        let (answers, authorities) = end.records.split_at_checked(end.answers).ok_or(Malformed)?;
        let (aliases, proofs) = alias.records.split_at_checked(alias.answers).ok_or(Malformed)?;
        // What proves that a wildcard made the alias. A referral beside it is not the end's.
        let proofs =
            proofs.iter().filter(|record| matches!(record.rtype, Rtype::NSEC | Rtype::NSEC3 | Rtype::RRSIG));
        let proofs: Vec<_> = proofs.collect();
        let count = |count: usize| u16::try_from(count).map_err(|_| Malformed);
        let mut out = Vec::with_capacity(first.len() + second.len());
        wire::put_u16(&mut out, to.id);
        // Of either only what both have, but for the rcode, which is the end's, and AA, which is the first name's (RFC 1035 §4.1.1).
        // So is TC: what is cut short anywhere is.
        let both = from.flags & (to.flags | 0xf) & !FLAG_AA;
        wire::put_u16(&mut out, both | (from.flags | to.flags) & FLAG_TC | to.flags & FLAG_AA);
        wire::put_u16(&mut out, 1u16);
        wire::put_u16(&mut out, count(aliases.len() + answers.len())?);
        wire::put_u16(&mut out, count(proofs.len() + authorities.len())?);
        wire::put_u16(&mut out, u16::from(alias.opt.is_some() || end.opt.is_some()));
        out.extend_from_slice(alias.message.question());
        let mut put = |message: &Message<'_>, record: &Record| -> Result<(), Malformed> {
            let (owner, _) = message.name(record.owner_at)?;
            let rdata = targets::loose_rdata(message, record)?;
            wire::put_record(&mut out, Owner::Name(&owner), record.rtype, record.class, record.ttl, &rdata);
            Ok(())
        };
        aliases.iter().try_for_each(|record| put(&alias.message, record))?;
        answers.iter().try_for_each(|record| put(&end.message, record))?;
        proofs.into_iter().try_for_each(|record| put(&alias.message, record))?;
        authorities.iter().try_for_each(|record| put(&end.message, record))?;
        if let Some(opt) = end.opt.as_ref().or(alias.opt.as_ref()) {
            let options = |of: &Sections<'_>| match &of.opt {
                Some(opt) => of.message.rdata(opt).map(<[u8]>::to_vec),
                None => Ok(Vec::new()),
            };
            let options = subnet::joined(&options(&alias)?, &options(&end)?);
            // Only what is the end's own says what came of it.
            let ttl = end.opt.as_ref().map_or(0, |opt| opt.ttl);
            wire::put_record(&mut out, Owner::Name(&Name::ROOT), Rtype::OPT, opt.class, ttl, &options);
        }
        if out.len() > wire::MAX_MESSAGE_LEN { Err(Malformed) } else { Ok(out) }
    }

    /// Whether a reply has all the records that it says it has, and at most one OPT among them.
    pub fn is_whole(message: &[u8]) -> bool {
        let read = || {
            let header = Header::read(message).ok_or(Malformed)?;
            let (_, _, _, octets) = wire::question(message)?;
            let records = message.get(HEADER_LEN + octets.len()..).ok_or(Malformed)?;
            walk(&Message::new(octets, records), &header, |_| {})
        };
        read().is_ok()
    }

    /// The records of the answer section, each by itself; `question` is the question's octets.
    ///
    /// # Errors
    /// [`Malformed`] when `question` is not the one it answers.
    pub fn owned_answers(&self, question: &[u8]) -> Result<Vec<targets::OwnedRecord>, Malformed> {
        let message = Message::new(question, &self.octets);
        let loose = |record: Record| {
            let (owner, _) = message.name(record.owner_at)?;
            Ok(targets::OwnedRecord {
                owner,
                rtype: record.rtype,
                ttl_s: record.ttl,
                rdata: targets::loose_rdata(&message, &record)?,
            })
        };
        message.records(message.base(), usize::from(self.answers)).map(|record| loose(record?)).collect()
    }

    /// Where the zone begins that denies the name asked for itself; none if it is not denied, or nobody says.
    pub fn zone(&self, question: &[u8]) -> Option<Name> {
        let message = Message::new(question, &self.octets);
        let behind = usize::from(self.answers);
        let soa = message.records(message.base(), behind + 1).nth(behind)?.ok()?;
        let denied = self.aliases == 0 && self.authorities > 0 && soa.rtype == Rtype::SOA;
        message.name(soa.owner_at).ok().filter(|_| denied).map(|(owner, _)| owner)
    }

    /// Whether any record comes with a signature: there is DNSSEC metadata for it (RFC 4034 §3).
    pub fn is_signed(&self, question: &[u8]) -> bool {
        let message = Message::new(question, &self.octets);
        let count = usize::from(self.answers) + usize::from(self.authorities);
        message
            .records(message.base(), count)
            .map_while(Result::ok)
            .any(|record| record.rtype == Rtype::RRSIG)
    }

    /// The place of the name that the records asked for belong to, among the names reviewed: 0 is the qname, and
    /// `targets` follow.
    pub fn end(&self) -> usize {
        usize::from(self.aliases)
    }

    /// The steps it leads through from the qname, TTLs as they were on arrival.
    ///
    /// # Errors
    /// [`Malformed`] when `query` is not the question it answers.
    pub(crate) fn aliases(&self, query: &Query<'_>) -> Result<Vec<Alias>, Malformed> {
        // RFC 1034 §3.6.2: a query for the CNAME itself does not restart at its target.
        if self.aliases == 0 {
            return Ok(Vec::new());
        }
        let message = Message::new(query.question, &self.octets);
        chain::aliases(&message, usize::from(self.answers), &query.qname)
    }

    /// How long its end is, in whole seconds: none where it is not worth asking anew.
    pub fn last_share_s(&self) -> u32 {
        asks::last_share_s(self.lifetime_s)
    }
}

impl TtlLimits {
    /// No bounds.
    pub const NONE: TtlLimits =
        TtlLimits { min_s: 0, max_s: u32::MAX, negative_min_s: 0, negative_max_s: u32::MAX };

    /// A positive answer's TTL within limits.
    fn positive(&self, ttl_s: u32) -> u32 {
        if ttl_s == 0 { 0 } else { ttl_s.max(self.min_s).min(self.max_s) }
    }

    /// The TTL of a negative answer's start of authority within limits.
    fn negative(&self, ttl_s: u32) -> u32 {
        self.denying(ttl_s).min(self.negative_max_s)
    }

    /// The TTL of what else denies within limits: it is told as long as that.
    fn denying(&self, ttl_s: u32) -> u32 {
        if ttl_s == 0 { 0 } else { ttl_s.max(self.negative_min_s).min(self.max_s) }
    }
}

/// A message's records by section, OPT apart.
struct Sections<'m> {
    message: Message<'m>,
    /// Records of the answer and authority sections in order.
    records: Vec<Record>,
    /// How many of them are answers.
    answers: usize,
    opt: Option<Record>,
}

impl<'m> Sections<'m> {
    /// Walks all records that the header counts.
    fn read(message: Message<'m>, header: &Header) -> Result<Sections<'m>, Malformed> {
        let mut records = Vec::with_capacity(usize::from(header.counts[1]).min(MAX_SET_RECORDS));
        let opt = walk(&message, header, |record| records.push(record))?;
        Ok(Sections { message, records, answers: header.counts[1].into(), opt })
    }

    /// Whether it answers nothing and names servers.
    ///
    /// RFC 2308 §2.2: "It is possible to distinguish between a NODATA and a referral response by the presence of a SOA record in
    /// the authority section or the absence of NS records in the authority section."
    fn is_referral(&self) -> bool {
        let has = |rtype| self.records.iter().any(|record| record.rtype == rtype);
        self.answers == 0 && has(Rtype::NS) && !has(Rtype::SOA)
    }

    /// Puts everything together.
    fn into_truth(self, question: &Question, header: &Header, limits: &TtlLimits) -> Result<Truth, BadTruth> {
        let (rcode, mut ede) = (header.rcode(self.opt.as_ref()), Vec::new());
        let options = self.opt.as_ref().map_or(Ok(&[][..]), |opt| self.message.rdata(opt))?;
        ede.extend(details(options));
        let scope = match &question.asked_for {
            Some(asked_for) => asked_for.scope(options).map_err(|Malformed| BadTruth::OtherSubnet)?,
            None => None,
        };
        let truncated = header.flags & FLAG_TC != 0;
        if rcode == Rcode::NOERROR && !truncated && self.is_referral() {
            return Err(BadTruth::Referral);
        }
        let (answers, authorities) = self.records.split_at_checked(self.answers).ok_or(Malformed)?;
        let found = Canonical::of(&self.message, question, answers, authorities, rcode == Rcode::NOERROR)?;
        let mut octets = found.octets;
        // RFC 2308 §3: "the minimum of the MINIMUM field of the SOA record and the TTL of the SOA itself".
        let denial = found.soa.and_then(|(place, minimum_s)| {
            let &(_, ttl_s) = found.ttls.get(place)?;
            Some((place, sound_ttl(ttl_s).min(sound_ttl(minimum_s))))
        });

        let mut least_s = u32::MAX;
        let mut ttl_offsets = Vec::with_capacity(found.ttls.len());
        for (place, &(at, ttl_s)) in found.ttls.iter().enumerate() {
            let ttl_s = match denial {
                Some((soa, ttl_s)) if soa == place => limits.negative(ttl_s),
                Some(_) if place < usize::from(found.answers) => sound_ttl(ttl_s).min(limits.max_s),
                Some(_) => limits.denying(sound_ttl(ttl_s)),
                None => limits.positive(sound_ttl(ttl_s)),
            };
            least_s = least_s.min(ttl_s);
            ttl_offsets.push(at);
            let place = octets.get_mut(usize::from(at)..).and_then(|rest| rest.first_chunk_mut::<4>());
            *place.ok_or(Malformed)? = ttl_s.to_be_bytes();
        }
        // It is kept and sent as a whole, so its least TTL bounds it: no record is ever sent beyond its own. A denial without
        // SOA says not how long it holds and is not cached (RFC 2308 §5); that covers answers of strangers alone. Other rcodes are no truth about the name, and a truncated reply is not all of
        // it (RFC 2181 §9).
        let cacheable =
            matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN) && (found.has_data || denial.is_some());
        let lifetime_s = match (cacheable && !truncated, denial) {
            (false, _) => 0,
            (true, None) => least_s,
            (true, Some(_)) => least_s.min(limits.negative_max_s),
        };

        // Read from what is told, so that what is judged is just that. The question stands as upstream echoes it.
        let told = Message::new(self.message.question(), &octets);
        let services = targets::service_targets(&told, usize::from(found.answers), &found.aliases)?;
        let addresses = targets::addresses(&told, usize::from(found.answers))?;
        // There are `MAX_ALIASES` at most, which an octet can count.
        let aliases = u8::try_from(found.aliases.len()).map_err(|_| BadTruth::Excessive)?;
        let mut targets = found.aliases;
        targets.extend(services);
        Ok(Truth {
            rcode,
            authoritative: header.flags & FLAG_AA != 0,
            ours: false,
            authentic: header.flags & FLAG_AD != 0 && found.strangers == found.surplus,
            truncated,
            octets: octets.into_boxed_slice(),
            answers: found.answers,
            authorities: found.authorities,
            strangers: u16::try_from(found.strangers).unwrap_or(u16::MAX),
            ttl_offsets: ttl_offsets.into_boxed_slice(),
            lifetime_s,
            targets: targets.into(),
            aliases,
            addresses: addresses.into(),
            ede,
            untouched: Mark::default(),
            asks: Asks::default(),
            scope,
        })
    }
}

/// Gives the records of the answer and authority sections in order, and reads all that the header counts; the OPT among them, if there
/// is one.
fn walk(
    message: &Message<'_>,
    header: &Header,
    mut give: impl FnMut(Record),
) -> Result<Option<Record>, Malformed> {
    let [_, answers, authorities, additionals] = header.counts.map(usize::from);
    let mut opt = None;
    for (index, record) in message.records(message.base(), answers + authorities + additionals).enumerate() {
        let record = record?;
        let required = index < answers + authorities;
        if record.rtype != Rtype::OPT {
            if required {
                give(record);
            }
            continue;
        }
        // RFC 6891 §6.1.1: one OPT at most, in the additional section; §6.1.2: owned by the root.
        let (owner, _) = message.name(record.owner_at)?;
        if required || !owner.is_root() || opt.replace(record).is_some() {
            return Err(Malformed);
        }
    }
    Ok(opt)
}

/// A TTL as it is to be read. RFC 2181 §8: "treat TTL values received with the most significant bit set as if the entire
/// value received was zero." RFC 8767 §4 would have it capped; but it is a mistake, and a mistake is best forgotten.
fn sound_ttl(ttl: u32) -> u32 {
    if ttl >> 31 == 0 { ttl } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{question, response};
    use super::*;
    use crate::iana::EdeCode;

    const LIMITS: TtlLimits = TtlLimits { min_s: 5, max_s: 1000, negative_min_s: 0, negative_max_s: 300 };
    const A: Rtype = Rtype::A;

    fn read(message: &[u8]) -> Result<Truth, BadTruth> {
        Truth::read(&question("q.e", A), message, &LIMITS)
    }

    #[test]
    fn lifetimes_follow_the_records() {
        let tc = FLAG_TC;
        let cases: &[(&str, u16, [&[&str]; 3], u32)] = &[
            ("plain", 0, [&["q.e 60 A 1.2.3.4"], &[], &[]], 60),
            (
                "least of all",
                0,
                [&["q.e 60 A 1.2.3.4", "q.e 50 A 1.2.3.5"], &["e 40 NS n.e"], &["n.e 30 A 1.1.1.1"]],
                50,
            ),
            ("cap", 0, [&["q.e 5000 A 1.2.3.4"], &[], &[]], 1000),
            ("floor", 0, [&["q.e 2 A 1.2.3.4"], &[], &[]], 5),
            ("zero stays", 0, [&["q.e 0 A 1.2.3.4"], &[], &[]], 0),
            ("top bit", 0, [&["q.e 2147483648 A 1.2.3.4"], &[], &[]], 0),
            ("alias", 0, [&["a.e 60 A 1.2.3.4", "q.e 20 CNAME a.e"], &[], &[]], 20),
            ("stranger", 0, [&["x.e 60 A 1.2.3.4"], &[], &[]], 0),
            ("no stranger's", 0, [&["q.e 60 A 1.2.3.4", "x.e 30 A 1.2.3.4"], &[], &[]], 60),
            ("denied by a stranger", 3, [&[], &["x.e 100 SOA 200"], &[]], 0),
            ("nodata", 0, [&[], &["e 100 SOA 200"], &[]], 100),
            ("nodata by minimum", 0, [&[], &["e 200 SOA 100"], &[]], 100),
            ("negative cap", 0, [&[], &["e 900 SOA 900"], &[]], 300),
            ("no floor for negatives", 0, [&[], &["e 900 SOA 2"], &[]], 2),
            ("nxdomain", 3, [&[], &["e 100 SOA 200"], &[]], 100),
            ("nxdomain behind an alias", 3, [&["q.e 20 CNAME a.e"], &["e 100 SOA 200"], &[]], 20),
            ("nodata behind an alias", 0, [&["q.e 400 CNAME a.e"], &["e 350 SOA 500"], &[]], 300),
            ("alias to nowhere", 0, [&["q.e 20 CNAME a.e"], &[], &[]], 0),
            ("nxdomain without soa", 3, [&[], &[], &[]], 0),
            ("nodata without soa", 0, [&[], &[], &[]], 0),
            ("servfail", 2, [&[], &["e 100 SOA 200"], &[]], 0),
            ("refused", 5, [&["q.e 60 A 1.2.3.4"], &[], &[]], 0),
            ("extended rcode", 0, [&["q.e 60 A 1.2.3.4"], &[], &[". 1 OPT "]], 0),
            ("truncated", tc, [&["q.e 60 A 1.2.3.4"], &[], &[]], 0),
        ];
        for (label, flags, sections, expected) in cases {
            let truth = read(&response(*flags, "q.e", A, *sections)).unwrap();
            assert_eq!(truth.lifetime_s, *expected, "{label}");
            assert_eq!(truth.truncated, *label == "truncated");
        }
    }

    #[test]
    fn denials_live_no_longer_than_positive_answers_may() {
        let limits = TtlLimits { min_s: 0, max_s: 60, negative_min_s: 0, negative_max_s: 3600 };
        for rcode in [0, 3] {
            let denial = response(rcode, "q.e", A, [&[], &["e 900 SOA 900"], &[]]);
            let truth = Truth::read(&question("q.e", A), &denial, &limits).unwrap();
            assert_eq!(truth.lifetime_s, 60, "{rcode}");
            let at = usize::from(truth.ttl_offsets[0]);
            assert_eq!(truth.octets[at..at + 4], [0, 0, 0, 60], "the SOA says so too");
        }
    }

    #[test]
    fn a_floor_for_denials_lifts_what_denies_and_nothing_else() {
        let limits = TtlLimits { min_s: 5, max_s: 1000, negative_min_s: 30, negative_max_s: 300 };
        let asked = Question { dnssec_ok: true, ..question("q.e", A) };
        for (label, flags, [answers, authorities], lifetime_s, ttls) in [
            ("nodata", 0, [&[][..], &["e 900 SOA 2"][..]], 30, &[30][..]),
            ("nxdomain", 3, [&[], &["e 9 SOA 900"]], 30, &[30]),
            ("zero stays", 3, [&[], &["e 900 SOA 0"]], 0, &[0]),
            ("high enough", 3, [&[], &["e 40 SOA 40"]], 40, &[40]),
            ("cap", 3, [&[], &["e 900 SOA 900"]], 300, &[300]),
            ("proof", 3, [&[], &["e 60 SOA 60", "a.e 20 NSEC z.e"]], 30, &[60, 30]),
            ("an alias", 3, [&["q.e 20 CNAME a.e"], &["e 900 SOA 2"]], 20, &[20, 30]),
            ("an answer", 0, [&["q.e 7 A 1.2.3.4"], &[]], 7, &[7]),
        ] {
            let message = response(flags, "q.e", A, [answers, authorities, &[]]);
            let truth = Truth::read(&asked, &message, &limits).unwrap();
            let ttl = |at: &u16| u32::from_be_bytes(*truth.octets[usize::from(*at)..].first_chunk().unwrap());
            let found: Vec<u32> = truth.ttl_offsets.iter().map(ttl).collect();
            assert_eq!((truth.lifetime_s, &found[..]), (lifetime_s, ttls), "{label}");
        }
    }

    #[test]
    fn only_answers_to_the_question_are_read() {
        let good = response(0, "Q.E", A, [&["q.e 60 A 1.2.3.4"], &[], &[]]);
        assert!(read(&good).is_ok());
        let with = |at: usize, octet: u8| {
            let mut message = good.clone();
            message[at] = octet;
            read(&message).err()
        };
        assert_eq!(with(2, 0), Some(BadTruth::WrongQuestion), "a query");
        assert_eq!(with(2, 0xa0), Some(BadTruth::WrongQuestion), "a notify");
        assert_eq!(with(5, 0), Some(BadTruth::WrongQuestion), "no question");
        assert_eq!(with(5, 2), Some(BadTruth::WrongQuestion), "two questions");
        assert_eq!(with(13, b'r'), Some(BadTruth::WrongQuestion), "another name");
        assert_eq!(with(18, 28), Some(BadTruth::WrongQuestion), "another type");
        assert_eq!(with(20, 3), Some(BadTruth::WrongQuestion), "another class");
        assert_eq!(with(12, 0xc0), Some(BadTruth::Malformed), "a compressed question");
        assert_eq!(with(7, 2), Some(BadTruth::Malformed), "a record too few");
        for length in 0..good.len() {
            assert!(read(&good[..length]).is_err(), "{length}");
        }
        let trailing = [&good[..], b"trailing"].concat();
        assert_eq!(read(&trailing), read(&good), "octets behind the records are nothing");
    }

    #[test]
    fn without_what_do_adds_it_is_what_who_sends_no_do_is_told() {
        let cases: &[(&str, u16, Rtype, [&[&str]; 3])] = &[
            ("plain", FLAG_AA, A, [&["q.e 60 A 1.2.3.4"], &[], &[]]),
            ("signed", FLAG_AD, A, [&["q.e 60 A 1.2.3.4", "q.e 60 RRSIG 1", "q.e 60 A 1.2.3.5"], &[], &[]]),
            (
                "a chain",
                0,
                A,
                [&["q.e 60 CNAME a.x", "q.e 60 RRSIG 5", "a.x 50 A 1.2.3.4", "a.x 50 RRSIG 1"], &[], &[]],
            ),
            (
                "dname",
                0,
                A,
                [&["e 60 DNAME x", "e 60 RRSIG 39", "q.x 60 A 1.2.3.4", "q.x 60 RRSIG 1"], &[], &[]],
            ),
            (
                "nxdomain",
                3,
                A,
                [&[], &["e 60 SOA 60", "e 60 RRSIG 6", "a.e 60 NSEC z.e", "a.e 60 RRSIG 47"], &[]],
            ),
            ("nodata", 0, A, [&["q.e 60 CNAME a.x"], &["x 60 SOA 60", "x 60 RRSIG 6"], &[]]),
            ("signatures", 0, Rtype::RRSIG, [&["q.e 60 RRSIG 1", "q.e 60 RRSIG 28"], &[], &[]]),
            ("a service", 0, Rtype::HTTPS, [&["q.e 60 HTTPS s.e 1.2.3.4", "q.e 60 RRSIG 65"], &[], &[]]),
            ("told why", 0, A, [&["q.e 60 A 1.2.3.4", "q.e 60 RRSIG 1"], &[], &[". 0 OPT 10=none"]]),
        ];
        for (label, flags, qtype, sections) in cases {
            let unsigned = question("q.e", *qtype);
            let signed = Question { dnssec_ok: true, ..unsigned };
            let message = response(*flags, "Q.e", *qtype, *sections);
            let [signed, expected] =
                [signed, unsigned].map(|question| Truth::read(&question, &message, &LIMITS).unwrap());
            // Signatures that nobody asked for are strangers, and end AD; these were asked for.
            let expected = Truth { strangers: signed.strangers, authentic: signed.authentic, ..expected };
            assert_eq!(signed.unsigned(&unsigned), Some(expected), "{label}");
        }
        // It was said for as long as its shortest part.
        let message = response(0, "q.e", A, [&["q.e 60 A 1.2.3.4", "q.e 20 RRSIG 1"], &[], &[]]);
        let signed = Question { dnssec_ok: true, ..question("q.e", A) };
        let signed = Truth::read(&signed, &message, &LIMITS).unwrap();
        assert_eq!(signed.unsigned(&question("q.e", A)).map(|truth| truth.lifetime_s), Some(20));
        // What is proof alone leaves nothing to tell for any time.
        let none = Truth { lifetime_s: 0, ..signed };
        assert_eq!(none.unsigned(&question("q.e", A)), None);
    }

    #[test]
    fn what_leads_on_is_joined_with_its_end() {
        let asked = question("q.e", A);
        let next = |flags: u16, answers: &[&str], authorities: &[&str]| {
            let message = response(flags, "q.e", A, [answers, authorities, &[]]);
            let (_, _, _, octets) = wire::question(&message).unwrap();
            read(&message).unwrap().leads_on(&asked, octets).map(|next| (next.qname.to_string(), next.qtype))
        };
        let to = |name: &str| Some((name.to_owned(), A));
        let alias = "q.e 60 CNAME a.x";
        assert_eq!(next(0, &[alias], &[]), to("a.x"));
        assert_eq!(next(0, &["a.x 60 CNAME b.x", alias], &["e 60 NS n.e"]), to("b.x"));
        for (flags, answers, authorities) in [
            (0, &[][..], &[][..]),
            (0, &[alias, "a.x 60 A 1.2.3.4"], &[]),
            // Denied, or not told.
            (0, &[alias], &["x 60 SOA 60"]),
            (3, &[alias], &[]),
            (2, &[alias], &[]),
            (FLAG_TC, &[alias], &[]),
            // Circles.
            (0, &["q.e 60 CNAME q.e"], &[]),
            (0, &[alias, "a.x 60 CNAME q.e"], &[]),
            (0, &[alias, "a.x 60 CNAME a.x"], &[]),
        ] {
            assert_eq!(next(flags, answers, authorities), None, "{flags} {answers:?} {authorities:?}");
        }
        let first =
            response(FLAG_AA | FLAG_AD, "q.e", A, [&[alias], &["e 60 NS n.e"], &["n.e 60 A 1.1.1.1"]]);
        let join = |flags: u16, sections: [&[&str]; 3]| {
            read(&Truth::joined(&first, &response(flags, "a.x", A, sections)).unwrap()).unwrap()
        };
        let data = join(FLAG_AD, [&["a.x 30 A 1.2.3.4"], &["x 9 NS n.x"], &[". 0 OPT 22=far"]]);
        assert_eq!((data.answers, data.authorities, data.lifetime_s, data.strangers), (2, 0, 30, 0));
        assert!(data.authoritative && data.authentic && data.rcode == Rcode::NOERROR);
        assert_eq!(data.ede, [Ede::new(EdeCode::NO_REACHABLE_AUTHORITY, "far")]);
        let gone = join(3, [&[], &["x 20 SOA 60"], &[]]);
        assert_eq!((gone.answers, gone.authorities, gone.lifetime_s), (1, 1, 20));
        assert!(gone.authoritative && !gone.authentic && gone.rcode == Rcode::NXDOMAIN);
        for length in 0..first.len() {
            assert_eq!(Truth::joined(&first[..length], &first), Err(Malformed), "{length}");
            assert_eq!(Truth::joined(&first, &first[..length]), Err(Malformed), "{length}");
        }
    }

    #[test]
    fn a_referral_is_no_denial() {
        let of = |rcode: u16, answers: &[&str], authorities: &[&str]| {
            read(&response(rcode, "q.e", A, [answers, authorities, &["n.e 60 A 1.1.1.1"]])).err()
        };
        let refers = Some(BadTruth::Referral);
        assert_eq!(of(0, &[], &["e 60 NS n.e"]), refers);
        assert_eq!(of(0, &[], &["e 60 NS n.e", "e 60 NS m.e"]), refers);
        // Whatever zone it is, above or elsewhere.
        assert_eq!(of(0, &[], &["x 60 NS n.e"]), refers);
        for (rcode, answers, authorities) in [
            (0, &[][..], &[][..]),
            // RFC 2308 §2.2, type 1 of NODATA.
            (0, &[], &["e 100 SOA 200", "e 60 NS n.e"]),
            (0, &[], &["e 60 NS n.e", "e 100 SOA 200"]),
            (0, &["q.e 60 A 1.2.3.4"], &["e 60 NS n.e"]),
            (0, &["q.e 60 CNAME a.x"], &["x 60 NS n.e"]),
            (3, &[], &["e 60 NS n.e"]),
            (FLAG_TC, &[], &["e 60 NS n.e"]),
        ] {
            assert_eq!(of(rcode, answers, authorities), None, "{rcode} {answers:?} {authorities:?}");
        }
    }

    #[test]
    fn opt_is_read_and_taken_out() {
        let message = |sections: [&[&str]; 3]| response(0, "q.e", A, sections);
        let opt = ". 0 OPT 22=all-down 23=";
        let truth =
            read(&message([&["q.e 60 A 1.2.3.4"], &["e 60 NS n.e"], &[opt, "n.e 60 A 1.1.1.1"]])).unwrap();
        let plain = read(&message([&["q.e 60 A 1.2.3.4"], &["e 60 NS n.e"], &["n.e 60 A 1.1.1.1"]])).unwrap();
        assert_eq!(
            truth.ede,
            [Ede::new(EdeCode::NO_REACHABLE_AUTHORITY, "all-down"), Ede::bare(EdeCode::NETWORK_ERROR)]
        );
        assert_eq!(Truth { ede: Vec::new(), ..truth }, plain);
        assert_eq!((plain.answers, plain.authorities), (1, 0));
        assert_eq!(read(&message([&[], &[], &[opt, opt]])), Err(BadTruth::Malformed));
        assert_eq!(read(&message([&[], &[opt], &[]])), Err(BadTruth::Malformed));
        assert_eq!(read(&message([&[], &[], &["e 0 OPT "]])), Err(BadTruth::Malformed));
    }

    #[test]
    fn targets_are_where_the_answer_leads() {
        let sections: [&[&str]; 3] = [&["b.e 60 A 1.2.3.4", "a.e 9 CNAME b.e", "q.e 60 CNAME a.e"], &[], &[]];
        let truth = read(&response(0, "q.e", A, sections)).unwrap();
        let targets: Vec<String> = truth.targets.iter().map(Name::to_string).collect();
        assert_eq!(targets, ["a.e", "b.e"]);
        assert_eq!((truth.end(), &truth.addresses[..]), (2, &["1.2.3.4".parse().unwrap()][..]));
    }
}
