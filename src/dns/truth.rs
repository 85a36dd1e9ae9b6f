//! What an upstream said, in wire form, ready to be cached and sent again.

use super::alias::{self, Alias};
use super::answer::Ede;
use super::leads;
use super::query::{Query, Question};
use super::strip;
use super::wire::{self, FLAG_AA, FLAG_AD, FLAG_TC, HEADER_LEN, Header, Malformed, Message, Record};
use super::{EDE_OPTION, rcode, rtype};
use crate::policy::Name;

/// The most EDE options kept from an upstream.
const MAX_EDES: usize = 4;

/// An upstream's answer without header, question and OPT.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Response code, the extended bits from OPT included.
    pub rcode: u16,
    /// AA as upstream set it.
    pub authoritative: bool,
    /// AD as upstream set it.
    pub authentic: bool,
    /// TC as upstream set it: it is not the whole truth, and goes on as such.
    pub truncated: bool,
    /// All records but OPT, as they stood behind the question (pointers stay valid), TTLs within limits.
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
    /// The names the answer leads to: the aliases in order from the qname, then service targets. What review looks at.
    pub targets: Box<[Name]>,
    /// EDE options upstream sent, to be passed on.
    pub ede: Vec<Ede>,
}

/// Bounds on how long answers live in the cache, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlLimits {
    /// Floor for positive answers. A TTL of 0 stays 0: it forbids caching (RFC 1035 §3.2.1).
    pub min_s: u32,
    /// Cap for positive answers.
    pub max_s: u32,
    /// Cap for negative answers. RFC 2308 §5: it should not be greater than the one for positive answers, so `max_s` caps
    /// them as well.
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
    /// Every record counted must be there. Octets behind the last one are ignored, as BIND and Unbound do: they carry
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
        let sections = Sections::read(Message::new(octets, records), &header)?;
        Ok(sections.into_truth(question, &header, limits)?)
    }

    /// The steps it leads through from the qname, TTLs as they were on arrival.
    ///
    /// # Errors
    /// [`Malformed`] when `query` is not the question it answers.
    pub(crate) fn aliases(&self, query: &Query<'_>) -> Result<Vec<Alias>, Malformed> {
        let message = Message::new(query.question, &self.octets);
        let answers =
            message.records(message.base(), usize::from(self.answers)).collect::<Result<Vec<_>, _>>()?;
        alias::aliases(&message, &answers, &query.qname, query.qtype)
    }

    /// Octets it takes in memory, what it points to included.
    pub fn bytes(&self) -> usize {
        size_of::<Truth>()
            + self.octets.len()
            + size_of_val(&*self.ttl_offsets)
            + size_of_val(&*self.targets)
            + self.ede.iter().map(|ede| size_of::<Ede>() + ede.text.len()).sum::<usize>()
    }
}

impl TtlLimits {
    /// A positive answer's TTL within limits.
    fn positive(&self, ttl_s: u32) -> u32 {
        if ttl_s == 0 { 0 } else { ttl_s.max(self.min_s).min(self.max_s) }
    }

    /// A negative answer's TTL within limits.
    fn negative(&self, ttl_s: u32) -> u32 {
        ttl_s.min(self.negative_max_s).min(self.max_s)
    }
}

impl From<Malformed> for BadTruth {
    fn from(_: Malformed) -> BadTruth {
        BadTruth::Malformed
    }
}

/// A message's records by section, OPT apart.
struct Sections<'m> {
    message: Message<'m>,
    /// Records of all three sections in order.
    records: Vec<Record>,
    /// How many are answers, and how many authorities.
    answers: usize,
    authorities: usize,
    opt: Option<Record>,
}

impl<'m> Sections<'m> {
    /// Walks all records that the header counts.
    fn read(message: Message<'m>, header: &Header) -> Result<Sections<'m>, Malformed> {
        let [_, answers, authorities, additionals] = header.counts.map(usize::from);
        let mut records = Vec::new();
        let mut opt = None;
        for (index, record) in
            message.records(message.base(), answers + authorities + additionals).enumerate()
        {
            let record = record?;
            let (owner, _) = message.name(record.owner_at)?;
            if record.rtype != rtype::OPT {
                records.push(record);
            } else if index < answers + authorities || !owner.is_root() || opt.replace(record).is_some() {
                // RFC 6891 §6.1.1: one OPT at most, in the additional section; §6.1.2: owned by the root.
                return Err(Malformed);
            }
        }
        Ok(Sections { message, records, answers, authorities, opt })
    }

    /// The records of the answer section.
    fn answers(&self) -> &[Record] {
        self.records.get(..self.answers).unwrap_or_default()
    }

    /// The start of authority behind a denial, with the number of seconds it says the denial holds.
    fn soa(&self) -> Option<(&Record, u32)> {
        let authorities = self.records.get(self.answers..)?.get(..self.authorities)?;
        let soa = authorities.iter().find(|record| record.rtype == rtype::SOA)?;
        // MINIMUM is the last of five numbers behind two names; each name has an octet at least.
        let minimum_at = soa.rdata.end.checked_sub(4).filter(|_| soa.rdata.len() >= 22)?;
        // RFC 2308 §3: "the minimum of the MINIMUM field of the SOA record and the TTL of the SOA itself".
        let minimum_s = sound_ttl(self.message.u32_at(minimum_at).ok()?);
        Some((soa, sound_ttl(soa.ttl).min(minimum_s)))
    }

    /// Whether the answer section holds what was asked for, at the qname or at the end of its aliases.
    fn has_data(&self, question: &Question, targets: &[Name]) -> Result<bool, Malformed> {
        for record in self.answers() {
            if record.rtype == question.qtype || question.qtype == rtype::ANY {
                let (owner, _) = self.message.name(record.owner_at)?;
                if owner == question.qname || targets.contains(&owner) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Puts everything together.
    fn into_truth(
        self,
        question: &Question,
        header: &Header,
        limits: &TtlLimits,
    ) -> Result<Truth, Malformed> {
        let steps = alias::aliases(&self.message, self.answers(), &question.qname, question.qtype)?;
        let mut targets: Vec<Name> = steps.iter().map(|step| step.target).collect();
        let base = self.message.base();
        let mut octets = strip::without_opt(&self.message, &self.records, self.opt.as_ref())?;
        let shift = |at: usize| strip::shifted(at, self.opt.as_ref()) - base;

        let (mut rcode, mut ede) = (header.flags & 0xf, Vec::new());
        if let Some(opt) = &self.opt {
            // RFC 6891 §6.1.3: the upper eight bits of the rcode.
            rcode |= ((opt.ttl >> 24) as u16) << 4;
            ede = details(self.message.rdata(opt)?);
        }
        let truncated = header.flags & FLAG_TC != 0;
        let positive = rcode == rcode::NOERROR && self.has_data(question, &targets)?;
        let denial = self.soa().filter(|_| !positive);
        let services = leads::service_targets(&self.message, self.answers(), &targets)?;
        targets.extend(services);

        let mut least_s = u32::MAX;
        let mut ttl_offsets = Vec::with_capacity(self.records.len());
        for record in &self.records {
            let ttl_s = match denial {
                Some((soa, ttl_s)) if soa == record => limits.negative(ttl_s),
                Some(_) => sound_ttl(record.ttl).min(limits.max_s),
                None => limits.positive(sound_ttl(record.ttl)),
            };
            least_s = least_s.min(ttl_s);
            let at = shift(record.ttl_at);
            ttl_offsets.push(u16::try_from(at).map_err(|_| Malformed)?);
            octets.get_mut(at..at + 4).ok_or(Malformed)?.copy_from_slice(&ttl_s.to_be_bytes());
        }
        // The message is kept and sent as a whole, so its least TTL bounds it, additional section included: no record is
        // ever sent beyond its own. A denial without SOA says not how long it holds and is not cached (RFC 2308 §5); that
        // covers referrals and lame replies, which have none. Other rcodes are no truth about the name, and a truncated
        // reply is not all of it (RFC 2181 §9).
        let cacheable = matches!(rcode, rcode::NOERROR | rcode::NXDOMAIN) && (positive || denial.is_some());
        let lifetime_s = match (cacheable && !truncated, denial) {
            (false, _) => 0,
            (true, None) => least_s,
            (true, Some(_)) => limits.negative(least_s),
        };

        let required = self.answers + self.authorities;
        let additional_at = self.records.get(required).map_or(octets.len(), |record| shift(record.owner_at));
        let additionals = self.records.len().saturating_sub(required);
        Ok(Truth {
            rcode,
            authoritative: header.flags & FLAG_AA != 0,
            authentic: header.flags & FLAG_AD != 0,
            truncated,
            octets: octets.into_boxed_slice(),
            answers: header.counts[1],
            authorities: header.counts[2],
            additionals: u16::try_from(additionals).map_err(|_| Malformed)?,
            additional_at: u16::try_from(additional_at).map_err(|_| Malformed)?,
            ttl_offsets: ttl_offsets.into_boxed_slice(),
            lifetime_s,
            targets: targets.into(),
            ede,
        })
    }
}

/// A TTL as it is to be read. RFC 2181 §8: "treat TTL values received with the most significant bit set as if the entire
/// value received was zero." RFC 8767 §4 would have it capped; but it is a mistake, and a mistake is best forgotten.
fn sound_ttl(ttl: u32) -> u32 {
    if ttl >> 31 == 0 { ttl } else { 0 }
}

/// The EDE options among an OPT record's. Options that cannot be read end the list: they are detail, and the answer that
/// came with them is sound.
pub(crate) fn details(rdata: &[u8]) -> Vec<Ede> {
    let options = wire::options(rdata).map_while(Result::ok);
    let details = options.filter(|(code, _)| *code == EDE_OPTION).filter_map(|(_, data)| {
        let (code, text) = data.split_first_chunk::<2>()?;
        // RFC 8914 §2: the text may end with a zero octet, which is no part of it.
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        Some(Ede::new(u16::from_be_bytes(*code), String::from_utf8_lossy(text).into_owned()))
    });
    details.take(MAX_EDES).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{question, response};
    use super::*;

    const LIMITS: TtlLimits = TtlLimits { min_s: 5, max_s: 1000, negative_max_s: 300 };
    const A: u16 = rtype::A;

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
                30,
            ),
            ("cap", 0, [&["q.e 5000 A 1.2.3.4"], &[], &[]], 1000),
            ("floor", 0, [&["q.e 2 A 1.2.3.4"], &[], &[]], 5),
            ("zero stays", 0, [&["q.e 0 A 1.2.3.4"], &[], &[]], 0),
            ("top bit", 0, [&["q.e 2147483648 A 1.2.3.4"], &[], &[]], 0),
            ("alias", 0, [&["a.e 60 A 1.2.3.4", "q.e 20 CNAME a.e"], &[], &[]], 20),
            ("other owner", 0, [&["x.e 60 A 1.2.3.4"], &[], &[]], 0),
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
            ("referral", 0, [&[], &["e 60 NS n.e"], &["n.e 60 A 1.1.1.1"]], 0),
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
        let limits = TtlLimits { min_s: 0, max_s: 60, negative_max_s: 3600 };
        for rcode in [0, 3] {
            let denial = response(rcode, "q.e", A, [&[], &["e 900 SOA 900"], &[]]);
            let truth = Truth::read(&question("q.e", A), &denial, &limits).unwrap();
            assert_eq!(truth.lifetime_s, 60, "{rcode}");
            let at = usize::from(truth.ttl_offsets[0]);
            assert_eq!(truth.octets[at..at + 4], [0, 0, 0, 60], "the SOA says so too");
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
    fn opt_is_read_and_taken_out() {
        let message = |sections: [&[&str]; 3]| response(0, "q.e", A, sections);
        let opt = ". 0 OPT 22=all-down 23=";
        let truth =
            read(&message([&["q.e 60 A 1.2.3.4"], &["e 60 NS n.e"], &[opt, "n.e 60 A 1.1.1.1"]])).unwrap();
        let plain = read(&message([&["q.e 60 A 1.2.3.4"], &["e 60 NS n.e"], &["n.e 60 A 1.1.1.1"]])).unwrap();
        assert_eq!(truth.ede, [Ede::new(22, "all-down"), Ede::bare(23)]);
        assert_eq!(Truth { ede: Vec::new(), ..truth }, plain);
        assert_eq!((plain.answers, plain.authorities, plain.additionals), (1, 1, 1));
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
    }
}
