//! Order files: TOML to [`OrderWithNames`], with every problem of the file named by line.
//!
//! Two shapes of an order meet here: the table as written, and the policy's type, which holds only what has
//! been checked. Nothing in between is kept.

pub mod keys;

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::canaries::{self, MAX_CANARIES};
use super::guard::Guard;
use super::names;
use super::open::{ListFile, Open};
use super::scope::{self, ACTIONS, Context, inline_name, window};
use super::table::{self, Source, Table};
use crate::name::Name;
use crate::policy::order::{Authority, DEFAULT_TTL_S, Lift, MAX_TTL_S};
use crate::policy::{Action, IssuerKind, Order, OrderWithNames, Sinkhole, Standing};
use crate::problem::Problem;

/// Characters in the longest id: it travels in every answer's EDE text and in every log line.
const MAX_ID_CHARS: usize = 100;
/// Addresses of one family: sixteen AAAA records are 448 of the 512 octets of the smallest answer (RFC 1035 §2.3.4).
const MAX_ADDRESSES: usize = 16;
/// The highest TTL even with `allow_long_ttl`, in seconds: a week, where resolvers cap it anyway (RFC 8767 §4).
const LONGEST_TTL_S: u32 = 604_800;

/// The words for issuers.
const ISSUERS: [IssuerKind; 5] = [
    IssuerKind::Court,
    IssuerKind::LawEnforcement,
    IssuerKind::Registry,
    IssuerKind::Operator,
    IssuerKind::User,
];
/// The words for how far an order has got; one that is lifted says so with `lifted`, which has a date and a reason.
const STANDINGS: [Standing; 3] = [Standing::Drafted, Standing::Observing, Standing::InForce];
/// Keys that people put into the order itself, and where they belong.
const ELSEWHERE: [(&str, &str); 11] = [
    ("sinkhole", "the addresses of action = \"sinkhole\" are addresses = [...]"),
    ("match", "it belongs into a [[scope]]"),
    ("names", "it belongs into a [[scope]]"),
    ("file", "it belongs into a [[scope]]"),
    ("files", "it belongs into a [[scope]]"),
    ("family", "it belongs into a [[scope]]"),
    ("tags", "it belongs into a [[scope]]"),
    ("except", "it belongs into a [[scope]]"),
    ("except_file", "it belongs into a [[scope]]"),
    ("except_match", "it belongs into a [[scope]]"),
    ("scopes", "each group of names is a [[scope]]"),
];

/// What came of reading one order file.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The order, unless it was refused.
    pub listed: Option<OrderWithNames>,
    /// What is wrong with it, in the order of its lines.
    pub problems: Vec<Problem>,
    /// Lines of its names files that were refused; the order may stand without them.
    pub refused_lines: usize,
    /// Whether something could not be read that may be had later though no file changes.
    pub wanting: bool,
}

/// Reads the order file named `file` with this text. Never panics, whatever the text.
pub fn parse(text: &str, file: &str, open: &mut Open<'_>) -> Parsed {
    // A byte order mark in front is no part of the document (RFC 3629 §6).
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::new(file, text);
    let mut refused_lines = 0;
    let listed = table::parse(text, &source)
        .and_then(|document| order(document.get_ref(), &source, open, &mut refused_lines));
    let listed = listed.filter(|_| !source.is_broken());
    Parsed { listed, problems: source.into_problems(), refused_lines, wanting: false }
}

/// The line of an order file on which `name` stands, among the names of its scopes, their exceptions or its zones.
pub fn line_of(text: &str, name: &Name) -> Option<u32> {
    let source = Source::new("", text);
    let document = DeTable::parse(text).ok()?;
    let root = document.get_ref();
    let scopes = root.get("scope").and_then(|scopes| scopes.get_ref().as_array());
    let scopes =
        scopes.into_iter().flat_map(|scopes| scopes.iter()).filter_map(|scope| scope.get_ref().as_table());
    let lists = scopes.flat_map(|scope| [scope.get("names"), scope.get("except")]).chain([root.get("zones")]);
    for list in lists.flatten() {
        let single = std::slice::from_ref(list);
        for item in list.get_ref().as_array().map_or(single, |array| array) {
            if item.get_ref().as_str().is_some_and(|text| names::name(text).as_ref() == Ok(name)) {
                return Some(source.line(item.span().start));
            }
        }
    }
    None
}

/// Reads the whole document.
fn order(
    document: &DeTable<'_>,
    source: &Source<'_>,
    open: &mut Open<'_>,
    refused_lines: &mut usize,
) -> Option<OrderWithNames> {
    let mut table = Table::new(source, document, 0..0, "");
    let id = id(&mut table, source);
    let title = table.line("title");
    let revision = table.count("revision", u64::from(u32::MAX)).map_or(1, |revision| revision as u32);
    let authority = authority(&mut table, source);
    let mut window = window(&mut table, source);
    window.review_by = table.time("review_by");
    let zones: Vec<(Name, Range<usize>)> = table
        .texts("zones")
        .into_iter()
        .filter_map(|(text, span)| Some((inline_name(source, text, &span)?, span)))
        .collect();
    let zone_names: Vec<Name> = zones.iter().map(|(zone, _)| *zone).collect();
    let lifts = lifts(&mut table, source, &zone_names);
    let action = table.word("action", &ACTIONS).unwrap_or_default();
    let ttl_s = ttl(&mut table, source);
    let sinkhole = addresses(&mut table, source);
    let standing = table.word("standing", &STANDINGS).unwrap_or_default();
    let (canaries, canary_spans): (Vec<Name>, Vec<Range<usize>>) = table
        .texts("canaries")
        .into_iter()
        .filter_map(|(text, span)| Some((inline_name(source, text, &span)?, span)))
        .unzip();
    if canaries.len() > MAX_CANARIES {
        let message = format!("lists {} canaries; at most {MAX_CANARIES}", canaries.len());
        source.error(&table.place("canaries"), message, "a few innocent siblings show whether it strays");
    }
    let contact = table.line("contact");
    let justification = table.line("justification");
    let max_names = table.count("max_names", u64::MAX);
    let allow_public_suffix = table.flag("allow_public_suffix");

    let mut guard = Guard::new(&zone_names, allow_public_suffix);
    let mut context = Context {
        source,
        zones: &zones,
        window: &window,
        action,
        guard: &mut guard,
        open: &mut *open,
        refused_lines,
    };
    let mut scopes = Vec::new();
    for part in table.tables("scope") {
        scopes.append(&mut scope::read(part, &mut context));
    }
    if scopes.is_empty() && table.value("scope").is_none() {
        source.error(
            table.span(),
            "an order without [[scope]]",
            "say which names it takes: [[scope]] match, names or file",
        );
    }
    let listed = guard.names();
    if let Some(declared) = max_names.filter(|&declared| listed > declared) {
        let message = format!("lists {listed} names and declares at most {declared}");
        source.error(&table.place("max_names"), message, "check the list against the order's own count");
    }
    for problem in guard.finish() {
        if problem.is_error() { source.refuse(problem) } else { source.note(problem) }
    }
    let caught = canaries::captured(&canaries, action, &scopes);
    for ((canary, span), what) in canaries.iter().zip(&canary_spans).zip(caught) {
        if let Some(what) = what {
            let message = format!("{canary} is a canary of this order, and captured by it: {what}");
            source.error(span, message, "a canary is an innocent name: spare it with except, or take it out");
        }
    }
    let sinkholes =
        action == Action::SINKHOLE || scopes.iter().any(|one| one.scope.action == Some(Action::SINKHOLE));
    if table.value("addresses").is_some() && !sinkholes {
        source.warning(&table.place("addresses"), "addresses are given, but no action is sinkhole", "");
    }
    table.finish(&ELSEWHERE);
    let id = id?;
    let order = Order {
        title: title.unwrap_or_else(|| id.clone()),
        id,
        revision,
        authority,
        window,
        lifts,
        zones: zone_names,
        scopes: Vec::new(),
        exemptions: Vec::new(),
        action,
        sinkhole,
        ttl_s,
        contact,
        justification,
        standing,
        reading: crate::policy::order::WildcardRule::Closest,
        rpz: None,
        canaries,
        source: source.file().to_string(),
    };
    Some(OrderWithNames::new(order, scopes, Vec::new()))
}

/// Reads the id: present, printable, short.
fn id(table: &mut Table<'_, '_>, source: &Source<'_>) -> Option<String> {
    let hint = "a short word that no other order has, such as id = \"us-nv-2014-cv-00987\"";
    let Some((id, span)) = table.text("id") else {
        if table.value("id").is_none() {
            source.error(table.span(), "an order without id", hint);
        }
        return None;
    };
    if id.is_empty() || id.len() > MAX_ID_CHARS || !id.bytes().all(|octet| octet.is_ascii_graphic()) {
        let message = format!("an id is 1 to {MAX_ID_CHARS} printable ASCII characters without spaces");
        source.error(&span, message, hint);
        return None;
    }
    Some(id.to_string())
}

/// Reads who issued the order.
fn authority(table: &mut Table<'_, '_>, source: &Source<'_>) -> Authority {
    let kind = table.word("kind", &ISSUERS).unwrap_or_default();
    let document_sha256 = table.line("document_sha256").map(|digits| digits.to_ascii_lowercase());
    let is_hash =
        |digits: &String| digits.len() == 64 && digits.bytes().all(|octet| octet.is_ascii_hexdigit());
    if !document_sha256.as_ref().is_none_or(is_hash) {
        let hint = "64 hexadecimal digits, as sha256sum prints them";
        source.error(&table.place("document_sha256"), "document_sha256 is no SHA-256", hint);
    }
    let authority = Authority {
        kind,
        issuer: table.line("issuer"),
        court: table.line("court"),
        jurisdiction: table.line("jurisdiction"),
        docket: table.line("docket"),
        document: table.line("document"),
        document_sha256,
        filed: table.time("filed"),
        granted: table.time("granted"),
        url: table.line("url"),
        references: table.texts("references").into_iter().map(|(text, _)| text.to_string()).collect(),
    };
    if authority.filed.zip(authority.granted).is_some_and(|(filed, granted)| granted < filed) {
        source.warning(&table.place("granted"), "granted before it was filed", "");
    }
    authority
}

/// Reads `lifted`: true, a time, or one or more tables of at, by, why and zones.
fn lifts(table: &mut Table<'_, '_>, source: &Source<'_>, order_zones: &[Name]) -> Vec<Lift> {
    let Some(value) = table.value("lifted") else { return Vec::new() };
    match value.get_ref() {
        DeValue::Boolean(true) => return vec![Lift::default()],
        DeValue::Boolean(false) => return Vec::new(),
        DeValue::Datetime(_) => {
            return table
                .time("lifted")
                .map(|at| Lift { at: Some(at), ..Lift::default() })
                .into_iter()
                .collect();
        }
        DeValue::Table(_) | DeValue::Array(_) => {}
        _ => {
            table.wrong_type("lifted", value, "true, a date, or a table of at, by, why and zones");
            return Vec::new();
        }
    }
    let mut lifts = Vec::new();
    for mut part in table.tables("lifted") {
        let mut lift =
            Lift { at: part.time("at"), by: part.line("by"), why: part.line("why"), zones: Vec::new() };
        for (text, span) in part.texts("zones") {
            let Some(zone) = inline_name(source, text, &span) else { continue };
            if !order_zones.is_empty() && !order_zones.iter().any(|own| zone.is_at_or_below(own)) {
                source.error(&span, format!("{zone} is lifted, but is none of the order's zones"), "");
            }
            lift.zones.push(zone);
        }
        // `zones = []` would read as "the whole order", which nobody who writes it means.
        if lift.zones.is_empty() && part.value("zones").is_some() {
            source.error(&part.place("zones"), "no zones to lift", "leave zones out to lift the whole order");
        }
        part.finish(&[]);
        lifts.push(lift);
    }
    lifts
}

/// Reads `ttl`, in seconds or with a unit.
fn ttl(table: &mut Table<'_, '_>, source: &Source<'_>) -> u32 {
    let long = table.flag("allow_long_ttl");
    let Some(value) = table.value("ttl") else { return DEFAULT_TTL_S };
    let seconds = match value.get_ref() {
        DeValue::String(text) => seconds(text.trim()),
        DeValue::Integer(integer) => u32::from_str_radix(integer.as_str(), integer.radix()).ok(),
        _ => None,
    };
    let Some(seconds) = seconds.filter(|&seconds| seconds <= LONGEST_TTL_S) else {
        let wanted =
            format!("seconds (10) or a text with a unit (\"30s\", \"1m\"), at most {LONGEST_TTL_S} s");
        table.wrong_type("ttl", value, &wanted);
        return DEFAULT_TTL_S;
    };
    if seconds > MAX_TTL_S && !long {
        let message =
            format!("a ttl of {seconds} s keeps lifted names dark that long; at most {MAX_TTL_S} s");
        source.error(&value.span(), message, "allow_long_ttl = true says that this is meant");
    }
    seconds
}

/// Seconds from "30", "30s", "1m", "1h" or "1d".
fn seconds(text: &str) -> Option<u32> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    digits.trim_end().parse::<u32>().ok()?.checked_mul(unit)
}

/// Reads `addresses`. When some are given, the family that has none gets NODATA.
fn addresses(table: &mut Table<'_, '_>, source: &Source<'_>) -> Sinkhole {
    let texts = table.texts("addresses");
    if table.value("addresses").is_none() {
        return Sinkhole::default();
    }
    let mut sinkhole = Sinkhole { v4: Vec::new(), v6: Vec::new() };
    for (text, span) in texts {
        match text.parse() {
            Ok(IpAddr::V4(address)) => sinkhole.v4.push(address),
            Ok(IpAddr::V6(address)) => sinkhole.v6.push(address),
            Err(_) => source.error(
                &span,
                format!("\"{}\" is no address", text.escape_debug()),
                "an IPv4 or IPv6 address",
            ),
        }
    }
    if sinkhole.v4.len() > MAX_ADDRESSES || sinkhole.v6.len() > MAX_ADDRESSES {
        let message = format!("more than {MAX_ADDRESSES} addresses of one family");
        source.error(&table.place("addresses"), message, "");
    }
    sinkhole
}

impl fmt::Debug for ListFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListFile").field("shown", &self.shown).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
