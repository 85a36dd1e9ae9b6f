//! A record as a line, for programs and for people.
//!
//! Names are written as zone files write them (RFC 1035 §5.1), so that whatever octets somebody asked for, a line is plain text and ends
//! where it ends.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Format;
use super::record::{Cause, Decided, Record};
use super::shown::Shown;
use crate::dns::ede;
use crate::dns::wire::{self, Header, Message};
use crate::iana::{Class, Rcode, Rtype};
use crate::plain;
use crate::policy::Trigger;

/// What a line says, in its order.
#[derive(Serialize)]
pub(super) struct Line<'r> {
    /// When the query came.
    time: String,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// From which port.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// The client's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'r str>,
    /// How it came.
    transport: &'static str,
    /// The name asked for.
    pub(super) qname: String,
    /// The type asked for.
    qtype: String,
    /// The class, nearly always IN.
    qclass: String,
    /// What the reply comes to; none where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    rcode: Option<String>,
    /// Where it came from.
    source: &'r str,
    /// How long it took, in microseconds.
    took_us: u64,
    /// Records in its answer section.
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<u16>,
    /// Its octets.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<usize>,
    /// Codes of its Extended DNS Errors (RFC 8914).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ede: Vec<u16>,
    /// What policy decided.
    verdict: &'static str,
    /// Which order did, and why.
    #[serde(flatten)]
    pub(super) why: Option<Why<'r>>,
    /// Orders that only looked on.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    observed: &'r [&'r str],
}

/// The order that decided, and why it did.
#[derive(Serialize)]
pub(super) struct Why<'r> {
    /// Its id.
    pub(super) order: &'r str,
    /// The malware family.
    #[serde(skip_serializing_if = "str::is_empty")]
    family: &'r str,
    /// What the trigger was held against.
    on: &'static str,
    /// The listed name or prefix.
    trigger: String,
    /// How listed names match.
    #[serde(rename = "match")]
    kind: &'static str,
}

/// What a reply comes to.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    rcode: Rcode,
    answers: u16,
    ede: Vec<u16>,
}

impl<'r> Line<'r> {
    /// What a record comes to.
    pub(super) fn of(shown: &'r Shown<'r>) -> Line<'r> {
        let record = &shown.record;
        let fixed = record.question.last_chunk().copied().unwrap_or([0; 4]);
        let reply = Reply::read(record.reply);
        let client = shown.client;
        Line {
            time: rfc3339(shown.came),
            client: client.map(|client| client.ip().to_string()),
            port: client.map(|client| client.port()).filter(|port| *port != 0),
            group: shown.group.as_deref(),
            transport: if record.transport.is_datagram() { "udp" } else { "tcp" },
            qname: record.qname().map_or_else(String::new, |name| name.to_string()),
            qtype: Rtype::from_be_bytes([fixed[0], fixed[1]]).to_string(),
            qclass: Class::from_be_bytes([fixed[2], fixed[3]]).to_string(),
            rcode: reply.as_ref().map(|reply| reply.rcode.to_string()),
            source: record.source,
            took_us: u64::try_from(shown.answered.saturating_sub(shown.came).as_micros()).unwrap_or(u64::MAX),
            answers: reply.as_ref().map(|reply| reply.answers),
            size: reply.as_ref().map(|_| record.reply.len()),
            ede: reply.map(|reply| reply.ede).unwrap_or_default(),
            verdict: match &record.decided {
                Decided::Clear => "clear",
                Decided::Protected => "protected",
                Decided::By(cause) => cause.action.as_str(),
            },
            why: record.cause().map(|cause| Why::of(cause, record)),
            observed: &record.observed,
        }
    }

    /// Appends it, with a line's end.
    pub(super) fn write(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Json => {
                let text = serde_json::to_string(self).unwrap_or_default();
                // Names of groups and families are text of the operator's: what moves a cursor is escaped there, too.
                out.extend_from_slice(plain::escaped(&text).as_bytes());
            }
            Format::Text => out.extend_from_slice(self.text().as_bytes()),
        }
        out.push(b'\n');
    }

    /// All of it but its end, for people: what everybody looks for first, and then `key=value`.
    fn text(&self) -> String {
        let nothing = || Cow::Borrowed("-");
        let mut text = format!(
            "{} {} {} {} {} {}",
            self.time,
            self.client.as_deref().map_or_else(nothing, Cow::Borrowed),
            self.qname,
            self.qtype,
            self.rcode.as_deref().map_or_else(nothing, Cow::Borrowed),
            self.verdict,
        );
        let mut put = |key: &str, value: &str| {
            let plain =
                !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'"');
            let value = match plain {
                true => Cow::Borrowed(value),
                false => serde_json::to_string(value).unwrap_or_default().into(),
            };
            let _ = write!(text, " {key}={}", plain::escaped(&value));
        };
        if let Some(why) = &self.why {
            put("order", why.order);
            put("trigger", &why.trigger);
            put("on", why.on);
            put("match", why.kind);
            if !why.family.is_empty() {
                put("family", why.family);
            }
        }
        if !self.observed.is_empty() {
            put("observed", &self.observed.join(","));
        }
        put("source", self.source);
        put("took", &format!("{}us", self.took_us));
        put("transport", self.transport);
        if self.qclass != "IN" {
            put("class", &self.qclass);
        }
        if let Some(port) = self.port {
            put("port", &port.to_string());
        }
        if let Some(group) = self.group {
            put("group", group);
        }
        if let (Some(answers), Some(size)) = (self.answers, self.size) {
            put("answers", &answers.to_string());
            put("size", &size.to_string());
        }
        if !self.ede.is_empty() {
            let codes: Vec<String> = self.ede.iter().map(u16::to_string).collect();
            put("ede", &codes.join(","));
        }
        text
    }
}

impl<'r> Why<'r> {
    /// What an order's cause comes to.
    fn of(cause: &Cause<'r>, record: &Record<'r>) -> Why<'r> {
        let trigger = match cause.trigger.prefix {
            Some((addr, len)) => format!("{addr}/{len}"),
            None => record.listed().map_or_else(String::new, |name| name.to_string()),
        };
        let Trigger { on, kind, .. } = cause.trigger;
        Why { order: cause.order, family: cause.family, on: on.as_str(), trigger, kind: kind.as_str() }
    }
}

impl Reply {
    /// Reads one; none if there is none.
    fn read(octets: &[u8]) -> Option<Reply> {
        let header = Header::read(octets)?;
        let question = wire::question(octets).map_or(&[][..], |(_, _, _, question)| question);
        let records = octets.get(wire::HEADER_LEN + question.len()..).unwrap_or_default();
        let message = Message::new(question, records);
        let count = header.counts.iter().skip(1).map(|count| usize::from(*count)).sum();
        let opt = message
            .records(message.base(), count)
            .map_while(Result::ok)
            .find(|record| record.rtype == Rtype::OPT);
        let details =
            opt.as_ref().and_then(|opt| message.rdata(opt).ok()).map(ede::details).unwrap_or_default();
        Some(Reply {
            rcode: header.rcode(opt.as_ref()),
            answers: header.counts[1],
            ede: details.iter().map(|detail| detail.code.0).collect(),
        })
    }
}

/// A time since 1970 in RFC 3339, to the microsecond.
pub(super) fn rfc3339(time: Duration) -> String {
    let micros =
        i64::try_from(time.as_micros()).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    // Always six digits, so that lines stand below each other and sort as text.
    micros.map_or_else(String::new, |time| format!("{time:.6}"))
}
