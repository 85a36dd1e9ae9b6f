//! The scripted upstream: what the network says in a scenario.

use std::collections::HashMap;
use std::sync::Mutex;

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::NULL;
use hickory_resolver::proto::rr::rdata::opt::EdnsOption;
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use sinkscope::dns::Question;
use sinkscope::upstream::{Ask, AskError, Then};

/// What upstream says to one question.
#[derive(Clone, Debug)]
enum Said {
    /// Lines like those of a reply: rcode and flags, then `answer|authority|additional RECORD`, `ede CODE TEXT`, and `scope BITS` or
    /// `subnet ADDRESS/BITS BITS` for a client subnet.
    Reply(String),
    /// Nobody answers in time.
    Timeout,
    /// The network says no.
    Refused,
    /// These octets, whatever they are.
    Octets(Vec<u8>),
}

/// An upstream that says what it was told to, and remembers what it was asked.
#[derive(Default)]
pub struct Script {
    said: Mutex<HashMap<(String, String), Said>>,
    down: Mutex<bool>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    /// Says `block` from now on to questions for that name and type; `how` is a word in its place.
    pub fn say(&self, name: &str, rtype: &str, how: Option<&str>, block: &str) {
        let flags = how.filter(|how| matches!(*how, "do" | "cd" | "do+cd") || how.starts_with("for="));
        let rtype = [rtype, flags.unwrap_or("")].join(" ").trim_end().to_owned();
        let said = match how.filter(|_| flags.is_none()) {
            None => Said::Reply(block.to_owned()),
            Some("timeout") => Said::Timeout,
            Some("refused") => Said::Refused,
            Some("octets") => Said::Octets(super::octets(block)),
            Some(other) => panic!("upstream cannot {other:?}"),
        };
        self.said.lock().unwrap().insert((name.to_owned(), rtype), said);
    }

    /// Takes all upstreams away, or brings them back.
    pub fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    /// What was asked since the last call, a line each.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Ask for Script {
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        let (rtype, flags) = asked(question);
        self.asked.lock().unwrap().push(format!("asked {} {rtype}{flags}", question.qname));
        self.said(question)
    }

    /// What is answered can be answered at once.
    fn may_begin(&self, question: &Question) -> bool {
        self.said(question).is_ok()
    }

    fn begin(&self, question: &Question, then: Then) {
        let (rtype, flags) = asked(question);
        self.asked.lock().unwrap().push(format!("asked {} {rtype}{flags}", question.qname));
        then(Ok(self.said(question).expect("an answer")));
    }
}

/// A question's type, and its flags behind it.
fn asked(question: &Question) -> (String, String) {
    let flags = [(question.dnssec_ok, " do"), (question.checking_disabled, " cd")];
    let mut flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
    flags.extend(question.asked_for.map(|asked_for| format!(" for={}", asked_for.subnet)));
    (RecordType::from(question.qtype.0).to_string(), flags)
}

impl Script {
    /// What is said to a question.
    fn said(&self, question: &Question) -> Result<Vec<u8>, AskError> {
        if *self.down.lock().unwrap() {
            return Err(AskError::NoneReachable("upstream is down".to_owned()));
        }
        let (rtype, flags) = asked(question);
        let name = question.qname.to_string();
        // By all that is said of a question, by what comes first of it, or by none of that.
        let flagged = format!("{rtype} {}", flags.trim_start().replace(' ', "+"));
        let first = format!("{rtype} {}", flags.split_whitespace().next().unwrap_or_default());
        let said = self.said.lock().unwrap();
        let said = [&flagged, &first, &rtype]
            .into_iter()
            .find_map(|by| said.get(&(name.clone(), by.clone())).cloned());
        match said {
            None => Ok(reply(question, &plain(question, &rtype))),
            Some(Said::Reply(lines)) => Ok(reply(question, &lines)),
            Some(Said::Timeout) => Err(AskError::NoneReachable("upstream timed out".to_owned())),
            Some(Said::Refused) => Err(AskError::Network("upstream refused".to_owned())),
            Some(Said::Octets(octets)) => Ok(octets),
        }
    }
}

/// What an upstream says that nobody scripted: an address, or NODATA.
fn plain(question: &Question, rtype: &str) -> String {
    let name = question.qname;
    match rtype {
        "A" => format!("NOERROR\nanswer {name} 300 A 192.0.2.1"),
        "AAAA" => format!("NOERROR\nanswer {name} 300 AAAA 2001:db8::1"),
        _ => format!("NOERROR\nauthority {name} 900 SOA ns.invalid. host.invalid. 1 3600 600 86400 60"),
    }
}

/// A message from lines.
fn reply(question: &Question, lines: &str) -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Response, OpCode::Query);
    let name = Name::from_ascii(question.qname.to_string()).expect("a name");
    let mut query = Query::query(name, RecordType::from(question.qtype.0));
    query.set_query_class(DNSClass::from(question.qclass.0));
    message.add_query(query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    let mut edns = Edns::new();
    edns.set_dnssec_ok(question.dnssec_ok);
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "answer" => drop(message.add_answer(record(rest))),
            "authority" => drop(message.add_authority(record(rest))),
            "additional" => drop(message.add_additional(record(rest))),
            "ede" => {
                let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
                let code: u16 = code.parse().expect("an EDE code");
                let octets = [&code.to_be_bytes()[..], text.as_bytes()].concat();
                edns.options_mut().insert(EdnsOption::Unknown(15, octets));
            }
            "scope" | "subnet" => {
                let (subnet, scope) = match (verb, rest.split_once(' ')) {
                    ("subnet", Some((network, scope))) => (super::network(network), scope),
                    _ => {
                        let asked_for = question.asked_for.expect("it is asked for a network").subnet;
                        ((asked_for.address(), asked_for.bits()), rest)
                    }
                };
                let option = super::subnet_option(subnet, scope.parse().expect("a number of bits"));
                edns.options_mut().insert(EdnsOption::Unknown(8, option[4..].to_vec()));
            }
            code => {
                message.metadata.response_code = response_code(code);
                for flag in rest.split_whitespace() {
                    match flag {
                        "ad" => message.metadata.authentic_data = true,
                        "aa" => message.metadata.authoritative = true,
                        "tc" => message.metadata.truncation = true,
                        other => panic!("no flag {other:?}"),
                    }
                }
            }
        }
    }
    message.set_edns(edns);
    message.to_vec().expect("a message that can be written")
}

/// A record from `NAME TTL TYPE RDATA`.
fn record(text: &str) -> Record {
    let mut words = text.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_else(|| panic!("a record is NAME TTL TYPE RDATA: {text}"));
    let name = Name::from_ascii(word()).expect("a name");
    let ttl = word().parse().expect("a TTL");
    let rtype: RecordType = word().parse().expect("a type");
    if rtype == RecordType::DNAME {
        // hickory has no type for it. RFC 6672 §2.5: its target is not compressed.
        let target: sinkscope::name::Name = word().parse().expect("a target");
        let rdata = NULL::with(target.as_wire().to_vec());
        return Record::from_rdata(name, ttl, RData::Unknown { code: rtype, rdata });
    }
    if rtype == RecordType::RRSIG {
        // A signature in shape only: what it covers is the word, all else is zero (RFC 4034 §3.1).
        let covered: RecordType = word().parse().expect("a covered type");
        let rdata = NULL::with([&u16::from(covered).to_be_bytes()[..], &[0; 17]].concat());
        return Record::from_rdata(name, ttl, RData::Unknown { code: rtype, rdata });
    }
    let data = RData::try_from_str(rtype, word()).unwrap_or_else(|error| panic!("{text}: {error}"));
    Record::from_rdata(name, ttl, data)
}

/// An rcode from its name.
fn response_code(word: &str) -> ResponseCode {
    match word {
        "NOERROR" => ResponseCode::NoError,
        "NXDOMAIN" => ResponseCode::NXDomain,
        "SERVFAIL" => ResponseCode::ServFail,
        "REFUSED" => ResponseCode::Refused,
        "FORMERR" => ResponseCode::FormErr,
        "NOTIMP" => ResponseCode::NotImp,
        "YXDOMAIN" => ResponseCode::YXDomain,
        "NOTAUTH" => ResponseCode::NotAuth,
        other => panic!("no rcode {other:?}"),
    }
}
