//! A reply as people and programs read it.

use std::fmt;

use domain::base::message::RecordSection;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::base::{Message, ToName};
use domain::rdata::AllRecordData;
use serde::Serialize;

use crate::dns::ede;
use crate::dns::wire::{self, FLAG_AA, FLAG_AD, FLAG_CD, FLAG_RA, FLAG_RD, FLAG_TC, HEADER_LEN, Header};
use crate::iana::{EdeCode, Rcode, Rtype};
use crate::plain;

/// A reply, read.
pub(super) struct Reply {
    /// The response code, extended bits and all.
    pub(super) rcode: Rcode,
    /// The flags that are set, as dig calls them.
    pub(super) flags: Vec<&'static str>,
    /// Extended DNS Errors.
    pub(super) ede: Vec<Error>,
    /// The records of the answer, authority and additional sections but OPT.
    pub(super) sections: [Vec<Record>; 3],
}

/// A record in presentation form.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Record {
    /// Whose it is.
    name: String,
    /// How long it may be kept, in seconds.
    ttl: u32,
    /// Its class.
    class: String,
    /// Its type.
    #[serde(rename = "type")]
    rtype: String,
    /// What it holds.
    data: String,
}

/// An Extended DNS Error.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Error {
    /// Its number.
    code: u16,
    /// Its name, none if it has none here.
    name: Option<&'static str>,
    /// What is said with it.
    text: String,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.code)?;
        if let Some(name) = self.name {
            write!(out, " {name}")?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(out, ": {}", self.text) }
    }
}

/// The flags that are shown.
const FLAGS: [(u16, &str); 6] =
    [(FLAG_AA, "aa"), (FLAG_TC, "tc"), (FLAG_RD, "rd"), (FLAG_RA, "ra"), (FLAG_AD, "ad"), (FLAG_CD, "cd")];

impl Reply {
    /// Reads a reply; none if it cannot be read.
    pub(super) fn read(octets: &[u8]) -> Option<Reply> {
        let header = Header::read(octets)?;
        let (opt, ede) = opt(octets, &header)?;
        let message = Message::from_octets(octets).ok()?;
        let (_, answer, authority, additional) = message.sections().ok()?;
        let sections = [records(answer)?, records(authority)?, records(additional)?];
        let flags =
            FLAGS.iter().filter(|(flag, _)| header.flags & flag != 0).map(|(_, name)| *name).collect();
        Some(Reply { rcode: header.rcode(opt.as_ref()), flags, ede, sections })
    }
}

/// The OPT record of a message, and the errors in it.
fn opt(octets: &[u8], header: &Header) -> Option<(Option<wire::Record>, Vec<Error>)> {
    // Without a question records stand right behind the header.
    let question = if header.counts[0] == 0 { &[][..] } else { wire::question(octets).ok()?.3 };
    let message = wire::Message::new(question, octets.get(HEADER_LEN + question.len()..)?);
    let count = header.counts[1..].iter().map(|count| usize::from(*count)).sum();
    let opt =
        message.records(message.base(), count).filter_map(Result::ok).find(|one| one.rtype == Rtype::OPT);
    let rdata = opt.as_ref().and_then(|opt| message.rdata(opt).ok()).unwrap_or_default();
    let error = |ede: crate::dns::Ede| {
        let EdeCode(code) = ede.code;
        Error { code, name: ede.code.name(), text: ede.text.into_owned() }
    };
    let errors = ede::details(rdata).into_iter().map(error).collect();
    Some((opt, errors))
}

/// The records of a section but OPT; one of a type that is not known, or that cannot be read as its type, is shown as octets (RFC 3597
/// §5).
fn records(section: RecordSection<'_, &[u8]>) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    for record in section {
        let record = record.ok()?;
        let rtype = Rtype(record.rtype().to_int());
        if rtype == Rtype::OPT {
            continue;
        }
        let (name, class, ttl) = (record.owner(), record.class(), record.ttl().as_secs());
        let data = match record.to_any_record::<AllRecordData<_, _>>() {
            Ok(known) => known.data().display_zonefile(DisplayKind::Simple).to_string(),
            Err(_) => "(cannot be read)".to_owned(),
        };
        let [name, data] =
            [name.fmt_with_dot().to_string(), data].map(|text: String| plain::escaped(&text).into_owned());
        records.push(Record { name, ttl, class: class.to_string(), rtype: rtype.to_string(), data });
    }
    Some(records)
}

/// Records in lines, in columns.
pub(super) fn lines(records: &[Record]) -> String {
    let width =
        |of: fn(&Record) -> String| records.iter().map(|one| of(one).chars().count()).max().unwrap_or(0);
    let (name, ttl) = (width(|one| one.name.clone()), width(|one| one.ttl.to_string()));
    let (class, rtype) = (width(|one| one.class.clone()), width(|one| one.rtype.clone()));
    let line = |one: &Record| {
        let Record { name: owner, ttl: seconds, class: of, rtype: kind, data } = one;
        format!("  {owner:name$}  {seconds:>ttl$}  {of:class$}  {kind:rtype$}  {data}\n")
    };
    records.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::testing::response;

    #[test]
    fn records_are_shown_as_zone_files_have_them() {
        let answers = ["q.e 60 CNAME a.x", "a.x 7 A 192.0.2.1"];
        let octets =
            response(0x0420, "q.e", Rtype::A, [&answers, &["e 60 SOA 5"], &[". 0 OPT 17=no 65000="]]);
        let reply = Reply::read(&octets).unwrap();
        assert_eq!((reply.rcode, &reply.flags[..]), (Rcode::NOERROR, &["aa", "ra", "ad"][..]));
        let [answer, authority, additional] = &reply.sections;
        assert_eq!(lines(answer), "  q.e.  60  IN  CNAME  a.x.\n  a.x.   7  IN  A      192.0.2.1\n");
        assert_eq!((authority[0].data.as_str(), additional.len()), (". . 0 0 0 0 5", 0));
        assert_eq!(reply.ede.iter().map(Error::to_string).collect::<Vec<_>>(), ["17 Filtered: no", "65000"]);
    }

    #[test]
    fn what_cannot_be_read_is_no_reply() {
        let octets = response(0, "q.e", Rtype::A, [&["q.e 60 A 192.0.2.1"], &[], &[]]);
        for len in 0..octets.len() {
            assert!(Reply::read(&octets[..len]).is_none(), "{len}");
        }
        assert!(Reply::read(&octets).is_some());
    }
}
