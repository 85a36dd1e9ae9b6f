//! Replies held against what should have happened.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use super::naive::{Expected, Naive};
use super::script;
use super::truths::{Quick, Truths, hash};
use crate::dns::wire::{self, FLAG_TC, HEADER_LEN, Header, Message};
use crate::dns::{self, EDE_OPTION, Query};
use crate::iana::{Class, EdeCode, Rcode, Rtype};
use crate::local::LocalNames;
use crate::policy::{Act, Synthesis};

/// Distinct names that are counted, one by one, by a hash of 64 bits; of more it is said that there were more.
pub const MAX_COUNTED: usize = 1 << 25;

/// Hashes of names.
pub type Hashes = HashSet<u64, BuildHasherDefault<Quick>>;

/// Checks one thread's replies.
///
/// Each name that is met is looked up in [`Naive`], and each reply read whole, except where the same question was
/// found to be answered by the truth before: then the reply must only hold the same octets again, and is read whole if
/// it does not.
pub struct Checker {
    naive: Arc<Naive>,
    local: Arc<LocalNames>,
    truths: Truths,
    /// Hashes of the names that were looked up.
    names: Hashes,
    /// Replies that needed no reading.
    again: u64,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Right; the truth was expected.
    Truth,
    /// Right; this action was expected.
    Acted(Act),
    /// Right; answered here whoever is asked about: a special name, ANY, CHAOS, or what is no query.
    Local,
    /// Wrong, and how.
    Wrong(String),
}

impl Checker {
    /// A checker by what `naive` says; `local` is what the resolver answers by itself.
    pub fn new(naive: Arc<Naive>, local: Arc<LocalNames>) -> Checker {
        Checker { naive, local, truths: Truths::new(), names: Hashes::default(), again: 0 }
    }

    /// The same, but every reply is read whole.
    pub fn reading(naive: Arc<Naive>, local: Arc<LocalNames>) -> Checker {
        Checker { naive, local, truths: Truths::never(), names: Hashes::default(), again: 0 }
    }

    /// Gets ready to check the replies to these packets; checking does not need it, it is only faster.
    pub fn begin<'p>(&self, packets: impl Iterator<Item = &'p [u8]>) {
        self.truths.fetch(packets);
    }

    /// Checks the reply to a query; none is silence.
    pub fn check(&mut self, packet: &[u8], reply: Option<&[u8]>) -> Found {
        if let Some(reply) = reply
            && self.truths.fits(packet, reply)
        {
            self.again += 1;
            return Found::Truth;
        }
        let Ok(query) = dns::parse(packet) else { return Found::Local };
        if query.qclass != Class::IN || matches!(query.qtype, Rtype::AXFR | Rtype::IXFR) {
            return Found::Local;
        }
        let found = self.read(&query, reply);
        if found == Found::Truth
            && let Some(rdata) = script::truth(&query.qname, query.qtype)
        {
            self.truths.note(query.question, &rdata);
        }
        found
    }

    /// Hashes of the distinct names that were looked up, at most [`MAX_COUNTED`], and how many replies needed no reading.
    pub fn into_counts(self) -> (Hashes, u64) {
        (self.names, self.again)
    }

    /// Reads a reply whole and holds it against what the naive reading says of the name.
    fn read(&mut self, query: &Query<'_>, reply: Option<&[u8]>) -> Found {
        let expected = self.naive.expected(&query.qname);
        if self.names.len() < MAX_COUNTED {
            self.names.insert(hash(query.qname.as_wire()));
        }
        let seen = match Seen::read(query, reply) {
            Ok(seen) => seen,
            Err(what) => return Found::Wrong(format!("{} type {}: {what}", query.qname, query.qtype.0)),
        };
        let wrong = |what: &str| {
            Found::Wrong(format!("{} type {}: {what}; seen: {seen:?}", query.qname, query.qtype.0))
        };
        if !seen.silent && seen.opt != query.edns.is_some() {
            return wrong("OPT where none was asked for, or none where one was");
        }
        match expected {
            Expected::Truth if self.local.look(query).is_some() || query.qtype == Rtype::ANY => {
                if seen.blamed.is_none() {
                    Found::Local
                } else {
                    wrong("should be answered here, not by an order")
                }
            }
            Expected::Truth => match seen.is_truth(query) {
                true => Found::Truth,
                false => wrong("should be the truth"),
            },
            Expected::Act(act, order) => {
                let Some(order) = self.naive.orders.get(order as usize) else {
                    return wrong("no such order");
                };
                let acted = match act {
                    Act::Drop => seen.silent,
                    Act::TcpOnly => seen.truncated && seen.answers.is_empty(),
                    // Only RPZs have local data, and this twin reads orders.
                    Act::Answer(Synthesis::Local) => false,
                    Act::Answer(Synthesis::Refused) => seen.rcode == Rcode::REFUSED,
                    Act::Answer(Synthesis::Nxdomain) => {
                        seen.rcode == Rcode::NXDOMAIN && seen.answers.is_empty()
                    }
                    Act::Answer(Synthesis::Nodata) => seen.rcode == Rcode::NOERROR && seen.answers.is_empty(),
                    Act::Answer(Synthesis::Sinkhole) => {
                        let length = match query.qtype {
                            Rtype::A => 4,
                            Rtype::AAAA => 16,
                            _ => 0,
                        };
                        let given: Vec<&[u8]> = order
                            .addresses
                            .iter()
                            .map(Vec::as_slice)
                            .filter(|addr| addr.len() == length)
                            .collect();
                        seen.rcode == Rcode::NOERROR && seen.answers == given
                    }
                };
                // Whoever speaks EDNS is told which order it is.
                let named = matches!(act, Act::Answer(_)) && query.edns.is_some();
                let told = |blamed: &str| {
                    let rest =
                        blamed.strip_prefix("order ").and_then(|text| text.strip_prefix(order.id.as_str()));
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(", docket "))
                };
                if !acted {
                    wrong(&format!("should be {} by {}", act.as_str(), order.id))
                } else if named && !seen.blamed.as_deref().is_some_and(told) {
                    wrong(&format!("should name order {}", order.id))
                } else {
                    Found::Acted(act)
                }
            }
        }
    }
}

/// What of a reply is checked.
#[derive(Debug, Default)]
struct Seen<'r> {
    silent: bool,
    rcode: Rcode,
    truncated: bool,
    /// The RDATA of the answers that are of the type asked for, at the name asked for.
    answers: Vec<&'r [u8]>,
    /// Records in the answer section in all.
    count: u16,
    /// There is an OPT record.
    opt: bool,
    /// The longest TTL in the answer section, in seconds.
    ttl_s: u32,
    /// The text of an EDE that blames an order.
    blamed: Option<String>,
}

impl<'r> Seen<'r> {
    /// Reads a reply.
    fn read(query: &Query<'_>, reply: Option<&'r [u8]>) -> Result<Seen<'r>, String> {
        let Some(reply) = reply else { return Ok(Seen { silent: true, ..Seen::default() }) };
        let header = Header::read(reply).filter(Header::is_response).ok_or("is no response")?;
        let question = reply.get(HEADER_LEN..HEADER_LEN + query.question.len());
        let question = question.filter(|question| header.id == query.id && *question == query.question);
        let question = question.ok_or("does not echo ID and question")?;
        let records = reply.get(HEADER_LEN + question.len()..).unwrap_or_default();
        let message = Message::new(question, records);
        let count: usize = header.counts[1..].iter().map(|&count| usize::from(count)).sum();
        let mut seen = Seen {
            rcode: header.rcode(None),
            truncated: header.flags & FLAG_TC != 0,
            count: header.counts[1],
            ..Seen::default()
        };
        for (record, index) in message.records(message.base(), count).zip(0..) {
            let record = record.map_err(|_| "holds a record that cannot be read")?;
            let rdata = message.rdata(&record).map_err(|_| "holds a record that is cut")?;
            if index < header.counts[1] {
                seen.ttl_s = seen.ttl_s.max(record.ttl);
                let owner =
                    message.name(record.owner_at).map_err(|_| "holds an owner that cannot be read")?.0;
                if owner == query.qname && record.rtype == query.qtype {
                    seen.answers.push(rdata);
                }
            } else if record.rtype == Rtype::OPT {
                seen.opt = true;
                seen.rcode = header.rcode(Some(&record));
                for (code, data) in wire::options(rdata).filter_map(Result::ok) {
                    let Some((info, text)) = data.split_first_chunk::<2>().filter(|_| code == EDE_OPTION)
                    else {
                        continue;
                    };
                    if matches!(
                        EdeCode::from_be_bytes(*info),
                        EdeCode::CENSORED | EdeCode::BLOCKED | EdeCode::FILTERED
                    ) {
                        seen.blamed = Some(String::from_utf8_lossy(text).into_owned());
                    }
                }
            }
        }
        Ok(seen)
    }

    /// Whether it is what the scripted upstream says, and nothing else.
    fn is_truth(&self, query: &Query<'_>) -> bool {
        let right = match script::truth(&query.qname, query.qtype) {
            Some(rdata) => self.answers == [&*rdata] && self.count == 1,
            None => self.count == 0,
        };
        right
            && self.ttl_s <= script::TTL_S
            && !self.silent
            && self.rcode == Rcode::NOERROR
            && self.blamed.is_none()
    }
}
