//! The few octets of a message that forwarding writes or looks at: header, question, OPT of a query, and no record of a reply.

use std::ops::Range;
use std::sync::Arc;

use super::failure::Failure;
use super::watch::{Trail, Watched};
use crate::dns::subnet::ClientSubnet;
use crate::dns::wire::{EDNS_DO, FLAG_AD, FLAG_CD, FLAG_RD, HEADER_LEN, Header, Malformed, Message, options};
use crate::dns::{EDE_OPTION, Question, Truth};
use crate::iana::{Rcode, Rtype};
use crate::name::{MAX_LABEL_LEN, MAX_NAME_LEN};

/// The UDP payload size we advertise: fits one unfragmented packet nearly everywhere (RFC 9715 §3.2 has 1400 as the upper
/// bound; 1232 is DNS Flag Day 2020's value).
const PAYLOAD_LEN: u16 = 1232;
/// Type and class behind the name of a question (RFC 1035 §4.1.2).
const TYPE_AND_CLASS_LEN: usize = 4;
/// An OPT record without options: root, type, payload size, flags, length (RFC 6891 §6.1.2).
const OPT_LEN: usize = 11;
/// Option code and length of an EDNS option (RFC 6891 §6.1.2).
const OPTION_HEAD_LEN: usize = 4;
/// The EDNS Padding option (RFC 7830 §3).
const PADDING_OPTION: u16 = 12;
/// The EDNS COOKIE option (RFC 7873 §4).
const COOKIE_OPTION: u16 = 10;
/// What the length of a padded query is a multiple of (RFC 8467 §4.1).
const PADDED_LEN: usize = 128;
/// QR in the third octet of a header.
const QR: u8 = 0x80;
/// The opcode in the third octet of a header.
const OPCODE: u8 = 0x78;
/// RA in the fourth octet of a header.
const RA: u8 = 0x80;
/// TC in the third octet of a header.
const TC: u8 = 0x02;

/// How a server wants to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// With an OPT record (RFC 6891).
    pub(super) edns: bool,
    /// In random case, which the reply must repeat (draft-vixie-dnsext-dns0x20): a bit for each letter that a forger has to guess.
    pub(super) mixed_case: bool,
    /// As long as many others: who sees only lengths, for all else is encrypted, learns little from this one.
    pub(super) padded: bool,
    /// By stream, also where that is mostly done by datagram.
    pub(super) by_stream: bool,
}

impl Manner {
    /// With all that a server should bear.
    pub(super) const USUAL: Manner = Manner { edns: true, mixed_case: true, padded: false, by_stream: false };
    /// As the question is written, with EDNS.
    #[cfg(test)]
    pub(super) const PLAIN: Manner = Manner { mixed_case: false, ..Manner::USUAL };
}

/// A question as the message that asks it.
#[derive(Debug)]
pub(super) struct Query {
    octets: Vec<u8>,
    /// Where the question ends in `octets`, and OPT begins if there is one.
    question_end: usize,
    /// Where the options end that it has from the beginning.
    options_end: usize,
    manner: Manner,
    /// Who is told of it and its reply, if anybody is.
    trail: Option<Box<Trail>>,
}

/// What a message is to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Its reply.
    Reply,
    /// Its reply but for the case of letters, which was random.
    OtherCase,
    /// Its reply without its question: this error alone.
    Bare(Rcode),
    /// The reply to something else.
    Other,
    /// A reply to who knows what.
    Noise,
    /// No reply.
    Query,
}

impl Query {
    /// Asks with a random ID (RFC 5452 §9.2), recursion desired.
    pub(super) fn new(question: &Question, manner: Manner) -> Query {
        let name = question.qname.as_wire();
        let question_end = HEADER_LEN + name.len() + TYPE_AND_CLASS_LEN;
        let subnet = question.asked_for.filter(|_| manner.edns).map(|it| ClientSubnet::of(&it.subnet));
        let subnet_len = subnet.map_or(0, |subnet| subnet.octets_len());
        let bare = question_end + OPT_LEN + subnet_len + OPTION_HEAD_LEN;
        // RFC 8467 §4.1: to the next multiple of 128 octets.
        let padding = (manner.edns && manner.padded).then(|| bare.next_multiple_of(PADDED_LEN) - bare);
        let options_len = subnet_len + padding.map_or(0, |padding| OPTION_HEAD_LEN + padding);
        let mut octets = Vec::with_capacity(question_end + OPT_LEN + options_len);
        octets.extend_from_slice(&rand::random::<[u8; 2]>());
        // RFC 6840 §5.7: AD in a query says that AD in the reply will be understood, also without DO.
        let checking = if question.checking_disabled { FLAG_CD } else { 0 };
        octets.extend_from_slice(&(FLAG_RD | FLAG_AD | checking).to_be_bytes());
        // One question, and OPT.
        octets.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(manner.edns)]);
        octets.extend_from_slice(name);
        if manner.mixed_case {
            mix_case(&mut octets[HEADER_LEN..]);
        }
        octets.extend_from_slice(&question.qtype.to_be_bytes());
        octets.extend_from_slice(&question.qclass.to_be_bytes());
        if manner.edns {
            octets.push(0);
            octets.extend_from_slice(&Rtype::OPT.to_be_bytes());
            octets.extend_from_slice(&PAYLOAD_LEN.to_be_bytes());
            octets.extend_from_slice(&(if question.dnssec_ok { EDNS_DO } else { 0 }).to_be_bytes());
            // 155 at most.
            octets.extend_from_slice(&(options_len as u16).to_be_bytes());
        }
        if let Some(subnet) = subnet {
            subnet.put(&mut octets);
        }
        if let Some(padding) = padding {
            octets.extend_from_slice(&PADDING_OPTION.to_be_bytes());
            // 127 at most.
            octets.extend_from_slice(&(padding as u16).to_be_bytes());
            // RFC 7830 §3: the padding octets should be 0x00.
            octets.resize(octets.len() + padding, 0);
        }
        let options_end = octets.len();
        Query { octets, question_end, options_end, manner, trail: None }
    }

    /// The same, of which somebody is told if anybody is.
    pub(super) fn watched(mut self, by: Option<&Arc<Watched>>) -> Query {
        self.trail = by.map(|by| Box::new(Trail::new(by)));
        self
    }

    /// It goes out as it is.
    pub(super) fn goes_out(&self) {
        if let Some(trail) = &self.trail {
            trail.goes_out(&self.octets);
        }
    }

    /// A message comes that may be its reply.
    pub(super) fn comes_back(&self, message: &[u8]) {
        if let Some(trail) = &self.trail {
            trail.comes_back(message);
        }
    }

    /// The message.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Whether it has a place for a cookie: an OPT record that is not padded.
    pub(super) fn may_carry(&self) -> bool {
        self.manner.edns && !self.manner.padded
    }

    /// Carries this cookie, in place of the one before if there was one; none if it is empty. It must be one that [may](Self::may_carry).
    pub(super) fn carry(&mut self, cookie: &[u8]) {
        let rdata_at = self.question_end + OPT_LEN;
        self.octets.truncate(self.options_end);
        let len = if cookie.is_empty() { 0 } else { OPTION_HEAD_LEN + cookie.len() };
        // Of 40 octets at most, and a client subnet of 24.
        let options_len = self.options_end - rdata_at + len;
        self.octets[rdata_at - 2..rdata_at].copy_from_slice(&(options_len as u16).to_be_bytes());
        if len > 0 {
            self.octets.reserve_exact(len);
            self.octets.extend_from_slice(&COOKIE_OPTION.to_be_bytes());
            self.octets.extend_from_slice(&(cookie.len() as u16).to_be_bytes());
            self.octets.extend_from_slice(cookie);
        }
    }

    /// The cookie that it carries.
    pub(super) fn carried(&self) -> Option<&[u8]> {
        let at = self.options_end + OPTION_HEAD_LEN;
        self.octets.get(at..).filter(|cookie| self.may_carry() && !cookie.is_empty())
    }

    /// Its ID.
    pub(super) fn id(&self) -> [u8; 2] {
        [self.octets[0], self.octets[1]]
    }

    /// Draws another ID: streams need one that no other question on them has.
    pub(super) fn draw_id(&mut self) {
        self.octets[..2].copy_from_slice(&rand::random::<[u8; 2]>());
    }

    /// Has ID 0: where what carries it tells whose reply is whose, it needs no other (RFC 8484 §4.1, RFC 9250 §4.2.1).
    pub(super) fn clear_id(&mut self) {
        self.octets[..2].fill(0);
    }

    /// The reply that a message is which can only be meant for this query: it came on the query's own stream, or with its ID.
    pub(super) fn take(&self, message: Vec<u8>) -> Result<Vec<u8>, Failure> {
        self.comes_back(&message);
        match self.hears(&message) {
            Heard::Query | Heard::Other | Heard::Noise | Heard::OtherCase => Err(Failure::WrongReply),
            Heard::Bare(rcode) => Ok(self.reply_of(rcode)),
            Heard::Reply if !Truth::is_whole(&message) => Err(Failure::Unreadable),
            Heard::Reply => Ok(message),
        }
    }

    /// What a message is to this query, the ID among what is compared.
    pub(super) fn hears(&self, message: &[u8]) -> Heard {
        let question = &self.octets[HEADER_LEN..self.question_end];
        // RFC 5452 §9.1: ID and question must match.
        match heard(question, message) {
            Heard::Reply | Heard::Bare(_) if message.get(..2) != Some(&self.id()) => Heard::Other,
            Heard::Reply if self.manner.mixed_case && first_question(message) != Some(question) => {
                Heard::OtherCase
            }
            heard => heard,
        }
    }

    /// What a server should have sent that sent nothing but an error.
    pub(super) fn reply_of(&self, rcode: Rcode) -> Vec<u8> {
        let mut reply = self.octets[..self.question_end].to_vec();
        // QR and RA; RD as in the query.
        (reply[2], reply[3]) = (QR | reply[2], RA | (rcode.0 & 0xf) as u8);
        reply[6..HEADER_LEN].fill(0);
        fold_question(&mut reply);
        reply
    }
}

/// Changes the case of about half of the letters of a name.
fn mix_case(name: &mut [u8]) {
    for octets in name.chunks_mut(64) {
        let mut coins = rand::random::<u64>();
        for octet in octets {
            // Length octets are below the letters.
            if octet.is_ascii_alphabetic() && coins & 1 == 1 {
                *octet ^= 0x20;
            }
            coins >>= 1;
        }
    }
}

/// Writes the first question of a reply in lower case, as it was asked before its case was mixed: what else is in the reply may
/// point to it.
pub(super) fn fold_question(reply: &mut [u8]) {
    let Some(question) = first_question(reply) else { return };
    let name_end = HEADER_LEN + question.len() - TYPE_AND_CLASS_LEN;
    reply[HEADER_LEN..name_end].make_ascii_lowercase();
}

/// The first question of a message; none if it ends early or its name is compressed, which nothing precedes it for.
pub(super) fn first_question(message: &[u8]) -> Option<&[u8]> {
    let mut end = HEADER_LEN;
    loop {
        let length = usize::from(*message.get(end)?);
        end += 1 + length;
        if length > MAX_LABEL_LEN || end - HEADER_LEN > MAX_NAME_LEN {
            return None;
        }
        if length == 0 {
            return message.get(HEADER_LEN..end + TYPE_AND_CLASS_LEN);
        }
    }
}

/// What `message` is to a query for `question` (its octets on the wire), the ID not looked at.
fn heard(question: &[u8], message: &[u8]) -> Heard {
    let (Some(&[flags, low]), Some(qdcount)) = (message.get(2..4), message.get(4..6)) else {
        return Heard::Noise;
    };
    if flags & QR == 0 {
        return Heard::Query;
    }
    let rcode = Rcode(u16::from(low & 0xf));
    // A server that cannot read a query may be unable to repeat its question.
    let is_empty = message.get(4..10).is_some_and(|counts| counts.iter().all(|octet| *octet == 0));
    if is_empty && flags & (OPCODE | TC) == 0 && rcode != Rcode::NOERROR {
        return Heard::Bare(rcode);
    }
    // RFC 9619 §4: a QUERY's question section holds one question at most.
    if flags & OPCODE != 0 || qdcount != [0, 1] {
        return Heard::Noise;
    }
    match first_question(message) {
        Some(given) if same_question(question, given) => Heard::Reply,
        Some(_) => Heard::Other,
        None => Heard::Noise,
    }
}

/// Whether two questions are the same, the name's case aside (RFC 4343 §3).
fn same_question(left: &[u8], right: &[u8]) -> bool {
    let (Some((left_name, left_rest)), Some((right_name, right_rest))) =
        (split_question(left), split_question(right))
    else {
        return false;
    };
    // Only the name folds: 0x41 is HTTPS as a type, and 0x61 is another one. Length octets are below the letters.
    left_name.eq_ignore_ascii_case(right_name) && left_rest == right_rest
}

/// The name, and type with class.
fn split_question(question: &[u8]) -> Option<(&[u8], &[u8])> {
    question.split_at_checked(question.len().checked_sub(TYPE_AND_CLASS_LEN)?)
}

/// Clears AD (RFC 4035 §3.2.3).
pub(super) fn clear_ad(reply: &mut [u8]) {
    if let Some(flags) = reply.get_mut(3) {
        *flags &= !(FLAG_AD as u8);
    }
}

/// Whether TC is set: the rest comes over TCP (RFC 2181 §9).
pub(super) fn is_truncated(reply: &[u8]) -> bool {
    reply.get(2).is_some_and(|flags| flags & TC != 0)
}

/// Whether a datagram is longer than we said we take.
pub(super) fn is_large(reply: &[u8]) -> bool {
    reply.len() > usize::from(PAYLOAD_LEN)
}

/// Whether a datagram is all that there is to say: nobody else is to be asked, nor the same one otherwise.
pub(super) fn is_final(reply: &[u8]) -> bool {
    let doubtful = [is_truncated, is_large, may_be_about_edns, declines];
    !doubtful.iter().any(|doubt| doubt(reply)) && Truth::is_whole(reply)
}

/// Whether the server declined rather than answered, so that another one may know better.
///
/// NOERROR, NXDOMAIN and whatever is not listed here are answers, unless it is a referral. So is a SERVFAIL that says that signatures are wrong: another
/// server that answers all the same has not looked at them.
pub(super) fn declines(reply: &[u8]) -> bool {
    match rcode(reply) {
        Rcode::SERVFAIL => !bare_opt(reply).is_some_and(fails_validation),
        Rcode::FORMERR | Rcode::NOTIMP | Rcode::REFUSED | Rcode::YXDOMAIN | Rcode::NOTAUTH => true,
        Rcode::NOERROR => refers(reply),
        rcode => rcode == Rcode::BADVERS || rcode == Rcode::BADCOOKIE,
    }
}

/// Whether a reply that declines may be about the moment: who could not answer, or was not willing to, may be so the next time. Of all
/// else the same is said again.
pub(super) fn may_pass(reply: &[u8]) -> bool {
    matches!(rcode(reply), Rcode::SERVFAIL | Rcode::REFUSED)
}

/// The rcode of a reply without records before its OPT; SERVFAIL where there is none.
pub(super) fn rcode(reply: &[u8]) -> Rcode {
    let low = u16::from(reply.get(3).copied().unwrap_or(2) & 0x0f);
    // RFC 6891 §6.1.3: the upper octet of the extended rcode stands in OPT.
    let high = bare_opt(reply).and_then(|opt| opt.get(5)).map_or(0, |high| u16::from(*high) << 4);
    Rcode(high | low)
}

/// Whether a reply answers nothing and begins to name servers: whoever does not recurse has nothing to tell. One that denies puts its
/// SOA first (RFC 2308 §2.2); where it does not, another server is asked in vain, and this one's denial is told.
fn refers(reply: &[u8]) -> bool {
    let is_empty = reply.get(6..8) == Some(&[0, 0]) && reply.get(8..10).is_some_and(|count| count != [0, 0]);
    is_empty && first_record_type(reply) == Some(Rtype::NS)
}

/// Whether two replies to one question say the same: the code, and the records of the answer but for their order and TTLs.
pub(super) fn say_the_same(one: &[u8], other: &[u8]) -> bool {
    let code = |reply: &[u8]| reply.get(3).map(|flags| flags & 0xf);
    code(one) == code(other) && answers(one).is_ok_and(|answers_of_one| answers(other) == Ok(answers_of_one))
}

/// The records of a reply's answer, sorted: what stands before the TTL of each and behind it.
fn answers(reply: &[u8]) -> Result<Vec<[&[u8]; 2]>, Malformed> {
    let header = Header::read(reply).ok_or(Malformed)?;
    let question = first_question(reply).ok_or(Malformed)?;
    let message = Message::new(question, reply.get(HEADER_LEN + question.len()..).ok_or(Malformed)?);
    let part = |range| reply.get::<Range<usize>>(range).ok_or(Malformed);
    let records = message.records(message.base(), usize::from(header.counts[1])).map(|record| {
        let record = record?;
        Ok([part(record.owner_at..record.ttl_at)?, message.rdata(&record)?])
    });
    let mut records = records.collect::<Result<Vec<_>, Malformed>>()?;
    records.sort_unstable();
    Ok(records)
}

/// The type of the first record behind the question; none if there is none.
fn first_record_type(reply: &[u8]) -> Option<Rtype> {
    let mut at = HEADER_LEN + first_question(reply)?.len();
    loop {
        match usize::from(*reply.get(at)?) {
            0 => break at += 1,
            label @ ..=MAX_LABEL_LEN => at += 1 + label,
            // A pointer, two octets (RFC 1035 §4.1.4).
            _ => break at += 2,
        }
    }
    reply.get(at..)?.first_chunk().map(|octets| Rtype(u16::from_be_bytes(*octets)))
}

/// Whether a reply may mean no more than that the server does not know EDNS (RFC 6891 §7), or not this version of it.
pub(super) fn may_be_about_edns(reply: &[u8]) -> bool {
    let low = Rcode(u16::from(reply.get(3).copied().unwrap_or_default() & 0x0f));
    let is_badvers = || low == Rcode::NOERROR && bare_opt(reply).is_some_and(|opt| opt.get(5) == Some(&1));
    low == Rcode::FORMERR || low == Rcode::NOTIMP || is_badvers()
}

/// Whether a server was unwilling to answer for want of a cookie of its own, which comes with that (RFC 7873 §5.2.3).
pub(super) fn wants_cookie(reply: &[u8]) -> bool {
    let [high, low] = Rcode::BADCOOKIE.to_be_bytes();
    let is = |low: u8, flags: &u8| flags & 0xf == low & 0xf;
    reply.get(3).is_some_and(|flags| is(low, flags))
        && bare_opt(reply).is_some_and(|opt| opt.get(5) == Some(&(high << 4 | low >> 4)))
}

/// The cookie in the OPT record of a message, if it has one. Of several the first counts (RFC 7873 §5.2).
///
/// # Errors
/// When it cannot be read as far as that.
pub(super) fn cookie(message: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let Header { counts: [questions, records @ ..], .. } = Header::read(message).ok_or(Malformed)?;
    let question = if questions == 0 { &[] } else { first_question(message).ok_or(Malformed)? };
    let behind = message.get(HEADER_LEN + question.len()..).ok_or(Malformed)?;
    let message = Message::new(question, behind);
    let count = records.iter().map(|count| usize::from(*count)).sum();
    for record in message.records(message.base(), count) {
        let record = record?;
        if record.rtype == Rtype::OPT {
            let mut options = options(message.rdata(&record)?);
            let cookie = options.find(|option| !matches!(option, Ok((code, _)) if *code != COOKIE_OPTION));
            return Ok(cookie.transpose()?.map(|(_, data)| data));
        }
    }
    Ok(None)
}

/// The OPT record of a reply that has no other; none if it has others, as answers have.
fn bare_opt(reply: &[u8]) -> Option<&[u8]> {
    let opt = reply.get(HEADER_LEN + first_question(reply)?.len()..)?;
    let is_opt = reply.get(6..HEADER_LEN) == Some(&[0, 0, 0, 0, 0, 1])
        && opt.len() >= OPT_LEN
        && opt.starts_with(&[0])
        && opt.get(1..3) == Some(&Rtype::OPT.to_be_bytes());
    is_opt.then_some(opt)
}

/// Whether an OPT record has an Extended DNS Error by which validation failed: DNSSEC Bogus, a signature that has expired or is
/// not valid yet, a key, a signature or a denial that is missing (RFC 8914 §4.7 to §4.13).
fn fails_validation(opt: &[u8]) -> bool {
    let mut errors = options(opt.get(OPT_LEN..).unwrap_or_default())
        .map_while(Result::ok)
        .filter(|(code, _)| *code == EDE_OPTION);
    errors
        .any(|(_, data)| data.first_chunk().is_some_and(|code| (6..=12).contains(&u16::from_be_bytes(*code))))
}

/// A message too large to be handed on becomes what a server would have made of it: header with TC, and question.
pub(super) fn cut(message: &mut Vec<u8>) {
    let Some(question) = first_question(message) else { return };
    let end = HEADER_LEN + question.len();
    message.truncate(end);
    message[2] |= TC;
    // ANCOUNT, NSCOUNT and ARCOUNT.
    message[6..HEADER_LEN].fill(0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dns::subnet::AskedFor;
    use crate::iana::Class;

    /// A reply to `www.example.` HTTPS with one question and an odd record count.
    fn reply() -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 1];
        message.extend_from_slice(b"\x03wWw\x07Example\x00\x00\x41\x00\x01rest");
        message
    }

    const QUESTION: &[u8] = b"\x03www\x07example\x00\x00\x41\x00\x01";

    /// The query for [`QUESTION`].
    fn query() -> Query {
        let (qname, qtype) = ("www.example".parse().unwrap(), Rtype::HTTPS);
        let (dnssec_ok, checking_disabled) = (false, false);
        let question =
            Question { qname, qtype, qclass: Class::IN, dnssec_ok, checking_disabled, asked_for: None };
        Query::new(&question, Manner::PLAIN)
    }

    #[test]
    fn replies_say_the_same_whatever_their_order_and_ttls() {
        let reply = |rcode: u8, records: &[(u8, u8)]| {
            let mut reply = vec![0, 0, 0x81, 0x80 | rcode, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
            reply.extend_from_slice(b"\x01x\x00\x00\x01\x00\x01");
            for (last, ttl) in records {
                reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, *ttl, 0, 4, 192, 0, 2, *last]);
            }
            reply
        };
        let one = reply(0, &[(1, 60), (2, 60)]);
        for (other, expected) in [
            (one.clone(), true),
            (reply(0, &[(2, 59), (1, 59)]), true),
            // What else there may be, a cookie for one, is not looked at.
            ([&one[..], b"rest"].concat(), true),
            (reply(0, &[(1, 60), (6, 60)]), false),
            (reply(0, &[(1, 60)]), false),
            (reply(0, &[(1, 60), (1, 60)]), false),
            (reply(3, &[(1, 60), (2, 60)]), false),
            (one[..one.len() - 1].to_vec(), false),
            (one[..15].to_vec(), false),
            (Vec::new(), false),
        ] {
            assert_eq!(say_the_same(&one, &other), expected, "{other:?}");
            assert_eq!(say_the_same(&other, &one), expected, "{other:?}");
        }
        // Two that cannot be read say nothing.
        assert!(!say_the_same(&one[..15], &one[..15]));
    }

    #[test]
    fn cookies_are_carried_and_read() {
        let mut query = query();
        let bare = query.octets().to_vec();
        assert_eq!(query.carried(), None);
        for cookie in [&[1; 8][..], &[2; 40], &[], &[3; 16]] {
            query.carry(cookie);
            assert_eq!(query.carried(), (!cookie.is_empty()).then_some(cookie));
            assert_eq!(super::cookie(query.octets()), Ok(query.carried()));
            assert!(
                Truth::is_whole(query.octets()) && query.octets().starts_with(&bare[..query.question_end])
            );
        }
        query.carry(&[]);
        assert_eq!(query.octets(), bare);
        for manner in [Manner { edns: false, ..Manner::PLAIN }, Manner { padded: true, ..Manner::PLAIN }] {
            let query = Query::new(&crate::dns::testing::question("x", Rtype::A), manner);
            assert!(!query.may_carry() && query.carried().is_none(), "{manner:?}");
        }
    }

    #[test]
    fn a_client_subnet_stands_before_all_else() {
        let subnet = crate::dns::subnet::Subnet::of("192.0.2.1".parse().unwrap(), 24);
        let asked_for = Some(AskedFor { subnet, is_longest: true });
        let question = Question { asked_for, ..crate::dns::testing::question("x", Rtype::A) };
        let option = [0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2];
        for (manner, padded_len) in
            [(Manner::PLAIN, None), (Manner { padded: true, ..Manner::PLAIN }, Some(PADDED_LEN))]
        {
            let query = Query::new(&question, manner);
            let opt_at = query.question_end + OPT_LEN;
            assert!(query.octets()[opt_at..].starts_with(&option), "{manner:?}");
            assert_eq!(query.octets().len(), padded_len.unwrap_or(opt_at + option.len()));
            assert_eq!(query.octets().len(), query.octets.capacity());
            assert!(Truth::is_whole(query.octets()));
        }
        let mut query = Query::new(&question, Manner::PLAIN);
        let bare = query.octets().to_vec();
        for cookie in [&[1; 8][..], &[2; 40], &[], &[3; 16]] {
            query.carry(cookie);
            assert_eq!(query.carried(), (!cookie.is_empty()).then_some(cookie));
            assert_eq!(super::cookie(query.octets()), Ok(query.carried()));
            assert!(
                Truth::is_whole(query.octets())
                    && query.octets()[query.question_end + OPT_LEN..].starts_with(&option)
            );
        }
        query.carry(&[]);
        assert_eq!(query.octets(), bare);
        // Whoever cannot bear options hears of nobody.
        let query = Query::new(&question, Manner { edns: false, ..Manner::PLAIN });
        assert_eq!(query.octets().len(), query.question_end);
    }

    #[test]
    fn cookies_are_found_wherever_they_stand() {
        /// An OPT record with these options.
        fn opt(options: &[u8]) -> Vec<u8> {
            [&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, options.len() as u8], options].concat()
        }
        let a = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\0\x0a\0\0".to_vec();
        let found = |cookie: &'static [u8]| Ok(Some(cookie));
        for (records, expected) in [
            (vec![], Ok(None)),
            (vec![a.clone()], Ok(None)),
            (vec![opt(b"")], Ok(None)),
            (vec![opt(b"\0\x0a\0\0")], found(b"")),
            (vec![a.clone(), opt(b"\0\x03\0\x01n\0\x0a\0\x02ab"), a.clone()], found(b"ab")),
            (vec![opt(b"\0\x0a\0\x02ab\0\x0a\0\x02cd")], found(b"ab")),
            (vec![opt(b"\0\x03\0\x01n")], Ok(None)),
            (vec![opt(b"\0\x0a\0\x03ab")], Err(Malformed)),
            (vec![opt(b"\0\x03\0\x09n")], Err(Malformed)),
            (vec![opt(b"").split_off(1)], Err(Malformed)),
        ] {
            for question in [QUESTION, &[]] {
                let counts = [0, u8::from(!question.is_empty()), 0, 0, 0, 0, 0, records.len() as u8];
                let message = [&[0, 0, 0x81, 0x80], &counts[..], question, &records.concat()].concat();
                // A record's pointer leads nowhere without a question, which nobody follows here.
                assert_eq!(cookie(&message), expected, "{records:?} {question:?}");
            }
        }
    }

    #[test]
    fn questions_match_but_for_case() {
        use Heard::{Bare, Noise, Other, Reply};
        assert_eq!(heard(QUESTION, &reply()), Reply);
        type Edit = fn(&mut Vec<u8>);
        let edits: [(&str, Heard, Edit); 13] = [
            ("a query", Heard::Query, |message| message[2] &= 0x7f),
            ("an error alone", Bare(Rcode::FORMERR), |message| {
                message.truncate(12);
                message[4..12].fill(0);
                message[3] |= 1;
            }),
            ("an error with OPT alone", Bare(Rcode::NOTIMP), |message| {
                message[4..10].fill(0);
                message[3] |= 4;
            }),
            ("nothing alone", Noise, |message| message[4..12].fill(0)),
            ("another opcode", Noise, |message| message[2] |= 0x28),
            ("no question", Noise, |message| message[5] = 0),
            ("two questions", Noise, |message| message[5] = 2),
            ("256 questions more", Noise, |message| message[4] = 1),
            ("another name", Other, |message| message[13] = b'v'),
            ("a type that differs in the case bit", Other, |message| message[26] = 0x61),
            ("another class", Other, |message| message[28] = 3),
            ("a name that goes on", Noise, |message| message[24] = 63),
            ("a name that is compressed", Noise, |message| message[12] = 0xc0),
        ];
        for (what, expected, edit) in edits {
            let mut edited = reply();
            edit(&mut edited);
            assert_ne!(edited, reply(), "{what}");
            assert_eq!(heard(QUESTION, &edited), expected, "{what}");
        }
    }

    #[test]
    fn a_query_knows_its_reply() {
        let mut query = query();
        let mut answer = reply();
        answer[..2].copy_from_slice(&query.id());
        assert_eq!(query.hears(&answer), Heard::Reply);
        answer[1] ^= 1;
        assert_eq!(query.hears(&answer), Heard::Other);
        assert_eq!(query.hears(&answer[..11]), Heard::Noise);
        let ids: std::collections::HashSet<[u8; 2]> = (0..64)
            .map(|_| {
                query.draw_id();
                query.id()
            })
            .collect();
        // Of 64 drawn from 65,536 two pairs may be equal; more is no chance.
        assert!(ids.len() >= 62, "{}", ids.len());
        assert_eq!(query.octets().len(), query.octets.capacity());
    }

    #[test]
    fn a_padded_query_has_a_length_that_many_have() {
        // From the root, 28 octets with OPT, by way of the names that fill a block to the last octet, to the longest there is.
        for (length, expected) in
            [(1, 128), (97, 128), (98, 256), (99, 256), (225, 256), (226, 384), (255, 384)]
        {
            let mut name = String::new();
            while name.len() + 1 < length {
                let label = (length - name.len() - 2).min(63);
                // No label may be left without an octet.
                let label = if length - name.len() - 2 - label == 1 { label - 1 } else { label };
                name += &format!("{}.", "x".repeat(label));
            }
            let qname: crate::name::Name =
                if name.is_empty() { ".".parse().unwrap() } else { name.parse().unwrap() };
            assert_eq!(qname.as_wire().len(), length);
            let question = Question {
                qname,
                qtype: Rtype::A,
                qclass: Class::IN,
                dnssec_ok: true,
                checking_disabled: false,
                asked_for: None,
            };
            let (padded, bare) = (
                Query::new(&question, Manner { padded: true, ..Manner::PLAIN }),
                Query::new(&question, Manner::PLAIN),
            );
            assert_eq!(padded.octets().len(), expected, "{length}");
            assert_eq!(padded.octets().len(), padded.octets.capacity());
            // All but the ID, the length of OPT and the option itself is the same.
            let opt_len = bare.octets().len() - 2;
            assert_eq!(padded.octets()[2..opt_len], bare.octets()[2..opt_len]);
            let padding = &padded.octets()[opt_len + 2..];
            assert_eq!(padded.octets()[opt_len..opt_len + 2], (padding.len() as u16).to_be_bytes());
            let all: Vec<_> = options(padding).map(Result::unwrap).collect();
            assert_eq!(all, [(PADDING_OPTION, &vec![0; padding.len() - 4][..])]);
            let mut reply = padded.octets()[..padded.question_end].to_vec();
            reply[2] |= QR;
            assert_eq!(padded.hears(&reply), Heard::Reply);
        }
    }

    #[test]
    fn declining_is_not_answering() {
        let declining = (0..16u8).filter(|rcode| {
            let mut message = reply();
            message[3] = 0xa0 | rcode;
            declines(&message)
        });
        // FORMERR, SERVFAIL, NOTIMP, REFUSED, YXDOMAIN, NOTAUTH.
        assert_eq!(declining.collect::<Vec<_>>(), [1, 2, 4, 5, 6, 9]);
        assert!(declines(b"\0\0\x81"), "no rcode");
        // A reply without records but OPT: rcode, upper octet of it, options.
        let bare = |rcode: u8, high: u8, options: &[u8]| {
            let mut message = vec![0, 0, 0x81, 0x80 | rcode, 0, 1, 0, 0, 0, 0, 0, 1];
            message.extend_from_slice(QUESTION);
            message.extend_from_slice(&[0, 0, 41, 4, 208, high, 0, 0, 0, 0, options.len() as u8]);
            message.extend_from_slice(options);
            message
        };
        let ede = |code: u8| [0, 15, 0, 2, 0, code];
        for (rcode, high, options, expected) in [
            (0, 1, vec![], true), // BADVERS
            (7, 1, vec![], true), // BADCOOKIE
            (7, 0, vec![], false),
            (0, 0, vec![], false),
            (3, 0, vec![], false),
            (2, 0, vec![], true),
            // Not ready, no reachable authority, stale: another server may do better.
            (2, 0, ede(14).to_vec(), true),
            (2, 0, ede(22).to_vec(), true),
            (2, 0, ede(5).to_vec(), true),
            (2, 0, ede(13).to_vec(), true),
            // What fails validation is not to be had from one that does not validate.
            (2, 0, ede(6).to_vec(), false),
            (2, 0, ede(7).to_vec(), false),
            (2, 0, ede(12).to_vec(), false),
            (2, 0, [&ede(22)[..], &ede(9)].concat(), false),
            (5, 0, ede(6).to_vec(), true),
            (2, 0, vec![0, 15, 0, 9, 0, 6], true), // cut
            (2, 0, vec![0, 15, 0, 1, 6], true),
        ] {
            assert_eq!(declines(&bare(rcode, high, &options)), expected, "{rcode} {high} {options:?}");
        }
    }

    #[test]
    fn a_referral_is_not_answering() {
        // A reply with so many answers and authorities, of which the first has this owner and type.
        let with = |answers: u8, authorities: u8, owner: &[u8], rtype: u8| {
            let head = [0, 0, 0x81, 0x80, 0, 1, 0, answers, 0, authorities, 0, 0];
            [&head, QUESTION, owner, &[0, rtype, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]].concat()
        };
        let (ns, soa) = (2, 6);
        for (answers, authorities, owner, rtype, expected) in [
            (0, 1, &b"\xc0\x0c"[..], ns, true),
            (0, 2, b"\x01x\0", ns, true),
            (0, 1, b"\x01x\xc0\x0c", ns, true),
            (0, 1, b"\0", ns, true),
            (0, 1, b"\xc0\x0c", soa, false),
            (1, 1, b"\xc0\x0c", ns, false),
            (0, 0, b"\xc0\x0c", ns, false),
            (0, 1, b"\x3f", ns, false),
        ] {
            assert_eq!(declines(&with(answers, authorities, owner, rtype)), expected, "{owner:?} {rtype}");
        }
    }

    #[test]
    fn a_cut_message_asks_for_tcp() {
        let mut short = reply();
        cut(&mut short);
        assert!(is_truncated(&short) && !is_truncated(&reply()));
        assert_eq!(heard(QUESTION, &short), Heard::Reply);
        assert_eq!(short.len(), HEADER_LEN + QUESTION.len());
        assert_eq!(short[6..12], [0; 6]);
    }

    proptest! {
        #[test]
        fn no_octets_trouble_it(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            query().hears(&octets);
            heard(QUESTION, &octets);
            declines(&octets);
            cut(&mut octets.clone());
        }
    }
}
