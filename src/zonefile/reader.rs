//! Zone files to records: directives and TTLs here, owners and RDATA by the `domain` crate.

use domain::base::iana;
use domain::base::name::{ParsedName, ToName};
use domain::base::rdata::{ComposeRecordData, ParseRecordData};
use domain::dep::octseq::Parser;
use domain::rdata::ZoneRecordData;
use domain::zonefile::inplace::{Entry, ScannedRecordData, Zonefile};

use super::entry::{Entries, word};
use super::findings::Findings;
use crate::iana::Rtype;
use crate::name::Name;

/// Files that may include one another before it is taken for a circle.
const MAX_INCLUDE_DEPTH: usize = 8;
/// Files that one zone may be made of.
const MAX_INCLUDES: usize = 1000;
/// The TTL of a record of a zone that says none anywhere, in seconds, unless somebody says another: an hour, as the `domain` crate
/// has it.
const FALLBACK_TTL_S: u32 = 3600;
/// Characters of a refused entry that a report shows.
const SHOWN_CHARS: usize = 60;
/// The longest TTL (RFC 2181 §8), in seconds.
const MAX_TTL_S: u32 = i32::MAX as u32;

/// Serves what a zone includes, by the path as it is written there.
pub(crate) type Include<'a> = dyn FnMut(&str) -> Included + 'a;

/// A file that a zone includes.
pub(crate) struct Included {
    /// The file as the operator would name it.
    pub shown: String,
    /// What it holds, or what is wrong and what to do.
    pub content: Result<Vec<u8>, (String, String)>,
}

/// A record of a zone and where it stands.
pub(crate) struct Record<'a> {
    /// The file it stands in, as the operator would name it.
    pub file: &'a str,
    /// Its line, from 1.
    pub line: u32,
    /// Whose it is.
    pub owner: Name,
    /// Its type.
    pub rtype: Rtype,
    /// Its TTL in seconds, as written or inherited.
    pub ttl_s: u32,
    /// Its RDATA, names uncompressed.
    pub rdata: &'a [u8],
    /// The name that relative names are relative to here.
    pub origin: Option<Name>,
}

/// Reads a zone's files; what of it goes on from entry to entry.
pub(crate) struct ZoneReader<'z, 'o> {
    /// Serves `$INCLUDE`.
    open: &'z mut Include<'o>,
    /// What is wrong with the zone.
    findings: &'z mut Findings,
    /// The scanner, which is fed one entry at a time: it cannot go on after an error.
    scanner: Zonefile,
    /// The name that relative names are relative to.
    origin: Option<Name>,
    /// The owner of entries that name none.
    owner: Option<Name>,
    /// What `$TTL` said (RFC 2308 §4), in seconds.
    default_ttl_s: Option<u32>,
    /// The last TTL written (RFC 1035 §5.1), or the SOA's if it had none, in seconds.
    last_ttl_s: Option<u32>,
    /// The TTL of records that nothing says one for, in seconds.
    fallback_ttl_s: u32,
    /// Files included so far.
    includes: usize,
    /// The entry as it is handed to the scanner.
    line: Vec<u8>,
    /// The RDATA of the record in hand.
    rdata: Vec<u8>,
}

/// The parts of a record's entry.
pub(crate) struct Parts<'a> {
    /// The owner, if it is written.
    pub owner: Option<&'a [u8]>,
    /// The TTL, if it is written, in seconds.
    pub ttl_s: Option<u32>,
    /// The type as written.
    pub rtype: &'a [u8],
    /// The RDATA as written.
    pub rdata: &'a [u8],
}

impl<'z, 'o> ZoneReader<'z, 'o> {
    /// A reader for a zone whose names are relative to `origin` until it says otherwise.
    pub(crate) fn new(
        origin: Name,
        open: &'z mut Include<'o>,
        findings: &'z mut Findings,
    ) -> ZoneReader<'z, 'o> {
        let mut reader = ZoneReader {
            open,
            findings,
            scanner: Zonefile::new(),
            origin: Some(origin),
            owner: None,
            default_ttl_s: None,
            last_ttl_s: None,
            fallback_ttl_s: FALLBACK_TTL_S,
            includes: 0,
            line: Vec::new(),
            rdata: Vec::new(),
        };
        reader.renew();
        reader
    }

    /// The same, with another TTL for records that nothing says one for, in seconds.
    pub(crate) fn fallback_ttl(self, fallback_ttl_s: u32) -> ZoneReader<'z, 'o> {
        ZoneReader { fallback_ttl_s, ..self }
    }

    /// Hands every record of `content`, and of what it includes, to `visit`, which says what is wrong with it.
    pub(crate) fn read(
        &mut self,
        content: &[u8],
        file: &str,
        visit: &mut dyn FnMut(&mut Findings, Record<'_>),
    ) {
        self.file(content, file, 0, visit);
    }

    /// Reads one record's entry as it stands, without comments and parentheses.
    pub(crate) fn entry(&mut self, text: &[u8]) -> Result<Record<'_>, (String, &'static str)> {
        let (rtype, ttl_s) = self.record(text)?;
        let owner = self.owner.ok_or(("no owner".to_owned(), ""))?;
        Ok(Record { file: "", line: 0, owner, rtype, ttl_s, rdata: &self.rdata, origin: self.origin })
    }

    /// Reads one file.
    fn file(
        &mut self,
        content: &[u8],
        file: &str,
        depth: usize,
        visit: &mut dyn FnMut(&mut Findings, Record<'_>),
    ) {
        let mut entries = Entries::new(content);
        while let Some((line, entry)) = entries.next() {
            match entry {
                Err(why) => self.findings.refuse(file, line, why, ""),
                Ok(text) if text.first() == Some(&b'$') => self.directive(text, (file, line), depth, visit),
                Ok(text) => match self.record(text) {
                    Ok((rtype, ttl_s)) => {
                        let Some(owner) = self.owner else { continue };
                        let origin = self.origin;
                        let record = Record { file, line, owner, rtype, ttl_s, rdata: &self.rdata, origin };
                        visit(self.findings, record);
                    }
                    Err((why, hint)) => {
                        self.findings.refuse(file, line, format!("{}: {why}", shown(text, depth)), hint);
                    }
                },
            }
            if self.findings.is_broken() {
                return;
            }
        }
    }

    /// Obeys a directive.
    fn directive(
        &mut self,
        text: &[u8],
        (file, line): (&str, u32),
        depth: usize,
        visit: &mut dyn FnMut(&mut Findings, Record<'_>),
    ) {
        let shown = |text| shown(text, depth);
        let (name, rest) = word(text);
        let (value, more) = word(rest);
        let none_left = |rest: &[u8]| rest.trim_ascii().is_empty();
        if name.eq_ignore_ascii_case(b"$TTL") && none_left(more) {
            match ttl(value) {
                Some(ttl_s) => self.default_ttl_s = Some(ttl_s),
                None => self.findings.refuse(file, line, format!("{}: no TTL", shown(text)), TTL_HINT),
            }
        } else if name.eq_ignore_ascii_case(b"$ORIGIN") && none_left(more) && !value.is_empty() {
            match self.name(value) {
                Ok(origin) => self.set_origin(Some(origin)),
                // Every relative name behind it would be read as another name.
                Err(why) => self.findings.break_off(file, Some(line), format!("{}: {why}", shown(text)), ""),
            }
        } else if name.eq_ignore_ascii_case(b"$INCLUDE") && !value.is_empty() {
            let (origin, more) = word(more);
            let inner = match origin {
                b"" => Ok(self.origin),
                origin => self.name(origin).map(Some),
            };
            match inner {
                Ok(inner) if none_left(more) => self.include(value, inner, file, line, depth, visit),
                Ok(_) => self.findings.refuse(file, line, format!("{}: too many words", shown(text)), ""),
                Err(why) => self.findings.refuse(file, line, format!("{}: {why}", shown(text)), ""),
            }
        } else {
            let hint = "$ORIGIN name, $TTL seconds, $INCLUDE file [origin]";
            self.findings.refuse(file, line, format!("{}: no directive that is known", shown(text)), hint);
        }
    }

    /// Reads the file that `path` names, as written, with this origin; what is said there of owner and origin ends there
    /// (RFC 1035 §5.1).
    fn include(
        &mut self,
        path: &[u8],
        inner: Option<Name>,
        file: &str,
        line: u32,
        depth: usize,
        visit: &mut dyn FnMut(&mut Findings, Record<'_>),
    ) {
        let path = path.strip_prefix(b"\"").and_then(|path| path.strip_suffix(b"\"")).unwrap_or(path);
        let path = String::from_utf8_lossy(path).into_owned();
        self.includes += 1;
        if depth >= MAX_INCLUDE_DEPTH || self.includes > MAX_INCLUDES {
            let message = format!(
                "$INCLUDE {path}: more than {MAX_INCLUDE_DEPTH} files deep, or more than {MAX_INCLUDES} files"
            );
            self.findings.break_off(file, Some(line), message, "does a file include itself?");
            return;
        }
        let opened = (self.open)(&path);
        // A part that is missing would take its rules away unseen: the zone stands whole or not at all.
        let content = match opened.content {
            Ok(octets) => octets,
            Err((why, hint)) => {
                self.findings.break_off(file, Some(line), format!("$INCLUDE {path}: {why}"), hint);
                return;
            }
        };
        let outer = (self.origin, self.owner);
        self.set_origin(inner);
        self.file(&content, &opened.shown, depth + 1, visit);
        self.set_origin(outer.0);
        self.owner = outer.1;
    }

    /// Reads a record's entry: its type and TTL. Its owner and RDATA are then in `owner` and `rdata`.
    fn record(&mut self, text: &[u8]) -> Result<(Rtype, u32), (String, &'static str)> {
        let parts = parts(text).map_err(|why| (why.to_string(), ""))?;
        if parts.owner.is_none() && self.owner.is_none() {
            return Err(("no owner, and no record before it whose owner it could share".into(), ""));
        }
        self.line.clear();
        // The scanner is not asked to read again what was read before.
        self.line.extend_from_slice(parts.owner.unwrap_or(b"."));
        self.line.extend_from_slice(b" 0 IN ");
        self.line.extend_from_slice(parts.rtype);
        self.line.push(b' ');
        if parts.rtype.eq_ignore_ascii_case(b"SOA") {
            plain_timers(parts.rdata, &mut self.line);
        } else {
            self.line.extend_from_slice(parts.rdata);
        }
        self.line.push(b'\n');
        self.scanner.extend_from_slice(&self.line);
        let record = match self.scanner.next_entry() {
            Ok(Some(Entry::Record(record))) => record,
            Ok(_) => return Err(("no record".into(), "")),
            Err(error) => {
                self.renew();
                return Err(explained(&error.to_string()));
            }
        };
        if parts.owner.is_some() {
            self.rdata.clear();
            // Writing to memory cannot fail.
            let _ = record.owner().compose(&mut self.rdata);
            // The scanner takes two dots in a row for an empty label.
            let no_name = |_| ("its owner is no valid name".to_string(), "");
            self.owner = Some(Name::from_wire(&self.rdata).map_err(no_name)?);
        }
        let rtype = Rtype(record.rtype().to_int());
        self.rdata.clear();
        let _ = record.data().compose_rdata(&mut self.rdata);
        // What the scanner does not check: names with empty labels, and data in the general form (RFC 3597 §5). A CNAME's
        // only name is read by whoever takes the record.
        if !matches!(record.data(), ScannedRecordData::Cname(_) | ScannedRecordData::A(_)) {
            let no_data = || ("its data is not of its type".to_string(), "");
            self.rdata = known(record.rtype(), &self.rdata).ok_or_else(no_data)?;
        }
        let ttl_s = match parts.ttl_s.or(self.default_ttl_s).or(self.last_ttl_s) {
            Some(ttl_s) => ttl_s,
            None if rtype == Rtype::SOA => minimum(&self.rdata).unwrap_or(self.fallback_ttl_s),
            None => self.fallback_ttl_s,
        };
        if parts.ttl_s.is_some() || rtype == Rtype::SOA {
            self.last_ttl_s = Some(ttl_s);
        }
        Ok((rtype, ttl_s))
    }

    /// Reads one name as it would be read in a record.
    fn name(&mut self, text: &[u8]) -> Result<Name, String> {
        let known = self.owner.replace(Name::ROOT);
        // A CNAME's RDATA is a name and nothing else.
        let read = self.record(&[b" CNAME ", text].concat());
        self.owner = known;
        read.map_err(|(why, _)| why)?;
        Name::from_wire(&self.rdata).map_err(|why| why.to_string())
    }

    /// Makes `origin` what relative names are relative to.
    fn set_origin(&mut self, origin: Option<Name>) {
        if self.origin != origin {
            self.origin = origin;
            self.renew();
        }
    }

    /// A scanner that has read nothing but the origin.
    fn renew(&mut self) {
        self.scanner = Zonefile::new();
        if let Some(origin) = &self.origin {
            let dot = if origin.is_root() { "" } else { "." };
            self.scanner.extend_from_slice(format!("$ORIGIN {origin}{dot}\n").as_bytes());
            // A directive is no entry, and the text of a valid name is a valid name.
            let _ = self.scanner.next_entry();
        }
    }
}

/// What to say when something is no TTL.
const TTL_HINT: &str = "seconds (300), or with units (1h30m), up to 2147483647 seconds";

/// Takes a record's entry apart.
pub(crate) fn parts(text: &[u8]) -> Result<Parts<'_>, &'static str> {
    let inherits = text.first().is_some_and(u8::is_ascii_whitespace);
    let (owner, mut rest) = if inherits { (b"".as_slice(), text) } else { word(text) };
    let (mut ttl_s, mut class) = (None, None);
    // TTL and class come in either order, and neither needs to.
    let (rtype, rdata) = loop {
        let (next, after) = word(rest);
        if ttl_s.is_none() && next.first().is_some_and(u8::is_ascii_digit) {
            ttl_s = Some(ttl(next).ok_or("its TTL is no TTL")?);
        } else if class.is_none() && is_class(next) {
            class = Some(next);
        } else {
            break (next, after.trim_ascii_start());
        }
        rest = after;
    };
    if class.is_some_and(|class| !class.eq_ignore_ascii_case(b"IN") && !class.eq_ignore_ascii_case(b"CLASS1"))
    {
        return Err("its class is not IN");
    }
    if rtype.is_empty() {
        return Err("it has no type");
    }
    Ok(Parts { owner: (!inherits).then_some(owner), ttl_s, rtype, rdata })
}

/// Whether a word is a class (RFC 1035 §3.2.4, RFC 3597 §5).
fn is_class(word: &[u8]) -> bool {
    [&b"IN"[..], b"CS", b"CH", b"HS"].iter().any(|class| word.eq_ignore_ascii_case(class))
        || word.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"CLASS"))
}

/// A TTL or timer: seconds, or numbers with units as BIND reads and writes them (`1h30m`).
fn ttl(word: &[u8]) -> Option<u32> {
    let (mut total, mut number, mut open) = (0u64, 0u64, false);
    for octet in word {
        let unit = match octet.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                number = number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
                open = true;
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        if !std::mem::take(&mut open) {
            return None;
        }
        total = total.saturating_add(std::mem::take(&mut number).saturating_mul(unit));
    }
    if word.is_empty() || (open && total > 0) {
        return None;
    }
    u32::try_from(total.saturating_add(number)).ok().filter(|&seconds| seconds <= MAX_TTL_S)
}

/// Writes an SOA's RDATA with its timers in seconds: the scanner knows no units.
fn plain_timers(rdata: &[u8], line: &mut Vec<u8>) {
    let mut rest = rdata;
    for place in 0.. {
        let (next, after) = word(rest);
        if next.is_empty() {
            return;
        }
        // The primary, the mailbox and the serial come first (RFC 1035 §3.3.13).
        match ttl(next).filter(|_| place > 2) {
            Some(seconds) => line.extend_from_slice(seconds.to_string().as_bytes()),
            None => line.extend_from_slice(next),
        }
        line.push(b' ');
        rest = after;
    }
}

/// The MINIMUM of an SOA's RDATA, in seconds.
pub(crate) fn minimum(soa: &[u8]) -> Option<u32> {
    soa.last_chunk().map(|octets| u32::from_be_bytes(*octets))
}

/// The same data, its names spelled out; none if it is not in the form that its type has.
fn known(rtype: iana::Rtype, data: &[u8]) -> Option<Vec<u8>> {
    let mut parser = Parser::from_ref(data);
    let parsed: ZoneRecordData<&[u8], ParsedName<&[u8]>> =
        ZoneRecordData::parse_rdata(rtype, &mut parser).ok()??;
    if parser.remaining() > 0 {
        return None;
    }
    let mut octets = Vec::new();
    parsed.compose_rdata(&mut octets).ok()?;
    Some(octets)
}

/// Whether data is what [`known`] gives of it.
pub(crate) fn is_known(rtype: Rtype, data: &[u8]) -> bool {
    known(rtype.0.into(), data).is_some_and(|same| same == data)
}

/// The scanner's complaint without its place, and what to do about it.
fn explained(error: &str) -> (String, &'static str) {
    // `line:column: what`, where the line is always the entry handed over.
    let why = error.splitn(3, ':').nth(2).unwrap_or(error).trim();
    let hint = match why {
        "expected rtype" => "owner [TTL] [IN] type data",
        _ => "",
    };
    (why.to_string(), hint)
}

/// An entry cut to what a report can show, in quotes. Of a file that another one includes nothing is shown: it may be no
/// zone at all, and whoever wrote the zone may be the last who should read it.
fn shown(text: &[u8], depth: usize) -> String {
    if depth > 0 {
        return "an entry".into();
    }
    // Four octets make at most one character, so the cut loses none that would be shown.
    let cut = text.get(..SHOWN_CHARS * 4).unwrap_or(text);
    let all = String::from_utf8_lossy(cut);
    let mut shown: String = all.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if text.len() > cut.len() || all.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}
