//! Replies held against what should have happened.

use std::sync::Arc;

use super::naive::{Expected, Naive};
use super::script;
use crate::dns::special::{self, Special};
use crate::dns::wire::{self, FLAG_TC, HEADER_LEN, Header, Message};
use crate::dns::{self, EDE_OPTION, Query, class, ede, rcode, rtype};
use crate::policy::{Action, Name};

/// Names whose expected fate is remembered, a power of two: popular ones are asked about again and again.
const REMEMBERED: usize = 1 << 16;

/// Checks one thread's replies.
pub struct Checker {
    naive: Arc<Naive>,
    special: Special,
    /// The last name that fell into each place, with its fate.
    remembered: Vec<Option<(Name, Expected)>>,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Right; the truth was expected.
    Truth,
    /// Right; this action was expected.
    Acted(Action),
    /// Right; answered here whoever is asked about: a special name, ANY, CHAOS, or what is no query.
    Local,
    /// Wrong, and how.
    Wrong(String),
}

impl Checker {
    /// A checker by what `naive` says; `special` is what the resolver was told about special names.
    pub fn new(naive: Arc<Naive>, special: Special) -> Checker {
        Checker { naive, special, remembered: vec![None; REMEMBERED] }
    }

    /// Checks the reply to a query; none is silence.
    pub fn check(&mut self, packet: &[u8], reply: Option<&[u8]>) -> Found {
        let Ok(query) = dns::parse(packet) else { return Found::Local };
        if query.qclass != class::IN || matches!(query.qtype, rtype::AXFR | rtype::IXFR) {
            return Found::Local;
        }
        let expected = self.expected(&query.qname);
        let seen = match Seen::read(&query, reply) {
            Ok(seen) => seen,
            Err(what) => return Found::Wrong(format!("{} type {}: {what}", query.qname, query.qtype)),
        };
        let wrong = |what: &str| {
            Found::Wrong(format!("{} type {}: {what}; seen: {seen:?}", query.qname, query.qtype))
        };
        match expected {
            Expected::Truth
                if special::answer(&query, &self.special).is_some() || query.qtype == rtype::ANY =>
            {
                if seen.blamed.is_none() {
                    Found::Local
                } else {
                    wrong("should be answered here, not by an order")
                }
            }
            Expected::Truth => match seen.is_truth(&query) {
                true => Found::Truth,
                false => wrong("should be the truth"),
            },
            Expected::Act(action, order) => {
                let Some(order) = self.naive.orders.get(order as usize) else {
                    return wrong("no such order");
                };
                let acted = match action {
                    Action::Drop => seen.silent,
                    Action::TcpOnly => seen.truncated && seen.answers.is_empty(),
                    Action::Refused => seen.rcode == rcode::REFUSED,
                    Action::Nxdomain => seen.rcode == rcode::NXDOMAIN && seen.answers.is_empty(),
                    Action::Nodata => seen.rcode == rcode::NOERROR && seen.answers.is_empty(),
                    Action::Sinkhole => {
                        let length = match query.qtype {
                            rtype::A => 4,
                            rtype::AAAA => 16,
                            _ => 0,
                        };
                        let given: Vec<&[u8]> = order
                            .addresses
                            .iter()
                            .map(Vec::as_slice)
                            .filter(|addr| addr.len() == length)
                            .collect();
                        seen.rcode == rcode::NOERROR && seen.answers == given
                    }
                    Action::Observe | Action::Passthru => false,
                };
                // Whoever speaks EDNS is told which order it is.
                let named = action != Action::Drop && action != Action::TcpOnly && query.edns.is_some();
                let told = |blamed: &str| {
                    let rest =
                        blamed.strip_prefix("order ").and_then(|text| text.strip_prefix(order.id.as_str()));
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(", docket "))
                };
                if !acted {
                    wrong(&format!("should be {action} by {}", order.id))
                } else if named && !seen.blamed.as_deref().is_some_and(told) {
                    wrong(&format!("should name order {}", order.id))
                } else {
                    Found::Acted(action)
                }
            }
        }
    }

    /// What should happen to a name.
    fn expected(&mut self, name: &Name) -> Expected {
        let hash = super::super::replay::check(name.as_wire());
        let Some(place) = self.remembered.get_mut(hash as usize % REMEMBERED) else {
            return self.naive.expected(name);
        };
        match place {
            Some((known, expected)) if known == name => *expected,
            _ => {
                let expected = self.naive.expected(name);
                *place = Some((*name, expected));
                expected
            }
        }
    }
}

/// What of a reply is checked.
#[derive(Debug, Default)]
struct Seen<'r> {
    silent: bool,
    rcode: u16,
    truncated: bool,
    /// The RDATA of the answers that are of the type asked for, at the name asked for.
    answers: Vec<&'r [u8]>,
    /// Records in the answer section in all.
    count: u16,
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
            rcode: header.flags & 0xf,
            truncated: header.flags & FLAG_TC != 0,
            count: header.counts[1],
            ..Seen::default()
        };
        for (record, index) in message.records(message.base(), count).zip(0..) {
            let record = record.map_err(|_| "holds a record that cannot be read")?;
            let rdata = message.rdata(&record).map_err(|_| "holds a record that is cut")?;
            if index < header.counts[1] {
                let owner =
                    message.name(record.owner_at).map_err(|_| "holds an owner that cannot be read")?.0;
                if owner == query.qname && record.rtype == query.qtype {
                    seen.answers.push(rdata);
                }
            } else if record.rtype == rtype::OPT {
                seen.rcode |= ((record.ttl >> 24) as u16) << 4;
                for (code, data) in wire::options(rdata).filter_map(Result::ok) {
                    let Some((info, text)) = data.split_first_chunk::<2>().filter(|_| code == EDE_OPTION)
                    else {
                        continue;
                    };
                    if matches!(u16::from_be_bytes(*info), ede::CENSORED | ede::BLOCKED | ede::FILTERED) {
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
        right && !self.silent && self.rcode == rcode::NOERROR && self.blamed.is_none()
    }
}
