//! What the lines of a list, or the records of a policy zone, say besides names.
//!
//! The order of a list is made of its settings and of what its lines say. The settings are known; what is kept here is the
//! rest, and the order is put together by who did that when the lines were read. Whatever stands here is checked as lines
//! are: patterns are compiled anew within the bounds that they have, and data must be such as its type has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::unusable::{BAD_PARTS, Unusable};
use crate::iana::Rtype;
use crate::orders::files::Stamp;
use crate::orders::lists::gather;
use crate::orders::lists::line::Skip;
use crate::orders::lists::pattern::{MAX_PATTERNS, PatternSet};
use crate::orders::lists::{Format, rpz_spec};
use crate::orders::load::{ListPart, LoadedOrder};
use crate::orders::rpz;
use crate::policy::order::{Exemption, Matcher};
use crate::policy::{
    Action, LocalData, LocalRecord, MatchKind, Order, OrderWithNames, Patterns, Scope, TriggerType,
};

/// How names match, by the numbers that are kept.
const KINDS: [MatchKind; 3] = [MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow];

/// What reading a file of a list came to, less its names and what its settings say.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptList {
    /// The format, by its place among all.
    format: Option<u8>,
    detected: bool,
    /// Lines that were passed over: the reason, by its place among all, and how many.
    skipped: Vec<(u8, usize)>,
    widened: usize,
    scopes: Vec<KeptScope>,
    exemptions: Vec<KeptExemption>,
    /// What a policy zone says of itself: its name, its SOA's RDATA in hexadecimal and TTL in seconds.
    zone: Option<(String, String, u32)>,
}

/// A scope. There may be as many as records, so what is usual is not written.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct KeptScope {
    /// What its names are held against, by its place among all.
    #[serde(rename = "o", skip_serializing_if = "is_usual")]
    on: u8,
    /// How they match, by its place in [`KINDS`].
    #[serde(rename = "k", skip_serializing_if = "is_usual")]
    kind: u8,
    #[serde(rename = "i", skip_serializing_if = "is_usual")]
    important: bool,
    /// What happens, by its place among all.
    #[serde(rename = "a", skip_serializing_if = "is_usual")]
    action: Option<u8>,
    /// In seconds.
    #[serde(rename = "t", skip_serializing_if = "is_usual")]
    ttl_s: Option<u32>,
    /// Whether the captured name stands in front of the CNAME's target, and the records.
    #[serde(rename = "d", skip_serializing_if = "is_usual")]
    data: Option<(bool, Vec<KeptRecord>)>,
    #[serde(rename = "p", skip_serializing_if = "is_usual")]
    patterns: Option<KeptPatterns>,
}

/// An exemption.
#[derive(Serialize, Deserialize)]
struct KeptExemption {
    /// How its names match, by its place in [`KINDS`].
    kind: u8,
    important: bool,
    patterns: Option<KeptPatterns>,
}

/// A record's type, its TTL in seconds, its RDATA in hexadecimal.
type KeptRecord = (u16, u32, String);

/// Patterns as written, and as regular expressions.
type KeptPatterns = Vec<(String, String)>;

/// Whether a field says nothing.
fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl KeptList {
    /// What is kept of a file of `list` that gives what `held` holds; none if that cannot be made again.
    pub(super) fn of(list: &ListPart, held: Option<&LoadedOrder>) -> Option<KeptList> {
        let order = held.map(|held| &held.order);
        let scopes = order.map_or(&[][..], |order| &order.scopes).iter();
        let exemptions = order.map_or(&[][..], |order| &order.exemptions).iter();
        Some(KeptList {
            format: match list.format {
                Some(format) => Some(place(&Format::ALL, &format)?),
                None => None,
            },
            detected: list.detected,
            skipped: list
                .skipped
                .iter()
                .map(|(skip, count)| Some((place(&Skip::ALL, skip)?, *count)))
                .collect::<Option<_>>()?,
            widened: list.widened,
            scopes: scopes.map(KeptScope::of).collect::<Option<_>>()?,
            exemptions: exemptions.map(KeptExemption::of).collect::<Option<_>>()?,
            zone: order
                .and_then(|order| order.rpz.as_ref())
                .map(|zone| (zone.origin.to_string(), to_hex(&zone.soa), zone.soa_ttl_s)),
        })
    }

    /// What a loader knew of the file when this was kept; `part` is what it knows of one it has not read.
    pub(super) fn part(
        &self,
        part: ListPart,
        stamps: &[(PathBuf, Option<Stamp>)],
    ) -> Result<ListPart, Unusable> {
        let part_of = || {
            let skipped = self.skipped.iter();
            Some(ListPart {
                format: match self.format {
                    Some(format) => Some(at(&Format::ALL, format)?),
                    None => None,
                },
                detected: self.detected,
                skipped: skipped
                    .map(|&(skip, count)| Some((at(&Skip::ALL, skip)?, count)))
                    .collect::<Option<_>>()?,
                widened: self.widened,
                awaited: part.is_awaited(stamps),
                spec: part.spec.clone(),
                id: part.id.clone(),
            })
        };
        part_of().ok_or(Unusable::Corrupt(BAD_PARTS))
    }

    /// The order that the file at `path` of `list` is, without its names.
    pub(super) fn listed(&self, list: &ListPart, path: &Path) -> Result<OrderWithNames, Unusable> {
        let order = self.order(list, &path.display().to_string()).ok_or(Unusable::Corrupt(BAD_PARTS))?;
        Ok(OrderWithNames::without_names(order))
    }

    /// The order; none if nothing that was read can have come to it.
    fn order(&self, list: &ListPart, shown: &str) -> Option<Order> {
        let spec = &*list.spec;
        let is_zone = list.format == Some(Format::Rpz);
        if self.scopes.is_empty() || is_zone != self.zone.is_some() {
            return None;
        }
        if let Some((origin, soa, soa_ttl_s)) = &self.zone {
            let scope = |kept: &KeptScope| kept.of_zone(Scope::new(at(&KINDS, kept.kind)?), spec.ttl_s);
            let scopes = self.scopes.iter().map(|kept| Some(Scope { source: shown.into(), ..scope(kept)? }));
            let soa = from_hex(soa).filter(|soa| rpz::is_rdata(Rtype::SOA, soa))?;
            return (self.exemptions.is_empty())
                .then(|| scopes.collect::<Option<Vec<Scope>>>())
                .flatten()
                .and_then(|scopes| {
                    let soa = (soa, *soa_ttl_s);
                    let order = rpz::order(&rpz_spec(spec, &list.id), origin.parse().ok()?, soa, shown);
                    Some(Order { scopes, ..order })
                });
        }
        let scope = |kept: &KeptScope| kept.of_lines(gather::scope(spec, shown, at(&KINDS, kept.kind)?));
        let scopes = self.scopes.iter().map(scope).collect::<Option<_>>()?;
        let exemptions = self.exemptions.iter().map(KeptExemption::exemption).collect::<Option<_>>()?;
        Some(Order { scopes, exemptions, ..gather::order(spec, &list.id, shown) })
    }
}

impl KeptScope {
    /// What is kept of a scope.
    fn of(scope: &Scope) -> Option<KeptScope> {
        let records = |data: &LocalData| {
            let record = |one: &LocalRecord| (one.rtype.0, one.ttl_s, to_hex(&one.rdata));
            (data.prepend, data.records.iter().map(record).collect())
        };
        Some(KeptScope {
            on: place(&TriggerType::ALL, &scope.on)?,
            kind: place(&KINDS, &scope.kind)?,
            important: scope.important,
            action: match &scope.action {
                Some(action) => Some(place(&Action::ALL, action)?),
                None => None,
            },
            ttl_s: scope.ttl_s,
            data: scope.data.as_deref().map(records),
            patterns: kept_patterns(scope.patterns.as_ref())?,
        })
    }

    /// The scope of a policy zone; `blank` is one that says nothing, and no TTL is above `max_ttl_s`.
    fn of_zone(&self, blank: Scope, max_ttl_s: u32) -> Option<Scope> {
        let action = at(&Action::ALL, self.action?)?;
        let data = match &self.data {
            Some((prepend, records)) => Some(Arc::new(local_data(*prepend, records, max_ttl_s)?)),
            None => None,
        };
        let sound = data.is_some() == (action == Action::LOCAL)
            && self.ttl_s.is_none_or(|ttl_s| ttl_s <= max_ttl_s)
            && self.patterns.is_none()
            && !self.important;
        let on = at(&TriggerType::ALL, self.on)?;
        sound.then_some(Scope { on, action: Some(action), ttl_s: self.ttl_s, data, ..blank })
    }

    /// The scope of any other list; `blank` is one that says nothing.
    fn of_lines(&self, blank: Scope) -> Option<Scope> {
        let sound = at(&TriggerType::ALL, self.on)? == TriggerType::Qname
            && self.action.is_none()
            && self.ttl_s.is_none()
            && self.data.is_none();
        let patterns = patterns(self.patterns.as_ref())?;
        sound.then_some(Scope { important: self.important, patterns, ..blank })
    }
}

impl KeptExemption {
    /// What is kept of an exemption.
    fn of(exemption: &Exemption) -> Option<KeptExemption> {
        let patterns = kept_patterns(exemption.patterns.as_ref())?;
        Some(KeptExemption {
            kind: place(&KINDS, &exemption.kind)?,
            important: exemption.important,
            patterns,
        })
    }

    /// The exemption.
    fn exemption(&self) -> Option<Exemption> {
        let patterns = patterns(self.patterns.as_ref())?;
        Some(Exemption { kind: at(&KINDS, self.kind)?, important: self.important, patterns })
    }
}

/// What is kept of patterns, if there are any; none if it is not known what they are made of.
fn kept_patterns(patterns: Option<&Patterns>) -> Option<Option<KeptPatterns>> {
    let Some(Patterns(matcher)) = patterns else { return Some(None) };
    let (texts, sources) = (matcher.texts(), matcher.sources());
    (texts.len() == sources.len()).then(|| Some(texts.iter().cloned().zip(sources.iter().cloned()).collect()))
}

/// Patterns compiled, if there are any; none if not all of them can be: they were once.
fn patterns(kept: Option<&KeptPatterns>) -> Option<Option<Patterns>> {
    let Some(kept) = kept else { return Some(None) };
    // Exceptions that were widened have a bound of their own, and stand with the others.
    if kept.is_empty() || kept.len() > 2 * MAX_PATTERNS {
        return None;
    }
    let set = PatternSet::new(kept.clone());
    (set.left_out.is_empty() && set.texts().len() == kept.len()).then(|| Some(Patterns(Arc::new(set))))
}

/// Records to answer with; none if no zone can have come to them.
fn local_data(prepend: bool, kept: &[KeptRecord], max_ttl_s: u32) -> Option<LocalData> {
    let record = |(rtype, ttl_s, rdata): &KeptRecord| {
        let record = LocalRecord { rtype: Rtype(*rtype), ttl_s: *ttl_s, rdata: from_hex(rdata)? };
        (*ttl_s <= max_ttl_s && rpz::is_rdata(record.rtype, &record.rdata)).then_some(record)
    };
    let records = kept.iter().map(record).collect::<Option<Vec<LocalRecord>>>()?;
    let has_alias = records.iter().any(|record| record.rtype == Rtype::CNAME);
    let sound = !records.is_empty() && (!has_alias || records.len() == 1) && (has_alias || !prepend);
    sound.then_some(LocalData { records, prepend })
}

/// The place of a value among all.
fn place<T: PartialEq>(all: &[T], value: &T) -> Option<u8> {
    all.iter().position(|one| one == value).and_then(|place| u8::try_from(place).ok())
}

/// The value at a place among all.
fn at<T: Copy>(all: &[T], place: u8) -> Option<T> {
    all.get(usize::from(place)).copied()
}

/// Octets as text.
fn to_hex(octets: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = octets.iter().flat_map(|octet| [octet >> 4, octet & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Octets from text; none if it is no such text.
fn from_hex(text: &str) -> Option<Box<[u8]>> {
    let digit = |octet: u8| char::from(octet).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let octets = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
    rest.is_empty().then(|| octets.collect()).flatten()
}
