//! Response policy zones (draft-vixie-dnsop-dns-rpz): a zone file becomes one order, with its rules as scopes.
//!
//! [`zonefile`] makes records of text, [`mod@rule`] and [`collect`] make triggers, actions and scopes of records. A bad entry is refused by file and line and the rest of the
//! zone stands; a zone that cannot be told apart from another, or of which a part is missing, is refused whole.

mod collect;
mod rule;

use self::collect::Collector;
use super::open::{Content, ListFile, Open};
use super::order_file::Parsed;
use crate::iana::Rtype;
use crate::name::Name;
use crate::policy::order::{Authority, MissingType};
use crate::policy::{self, Action, IssuerKind, MatchKind, Order, OrderWithNames, Rpz, TriggerType};
use crate::zonefile::{self, DNSSEC, Findings, Included, Record, ZoneReader};

/// How a subscriber uses a response policy zone.
#[derive(Clone, Debug, PartialEq)]
pub struct RpzSpec {
    /// The id its order gets.
    pub name: String,
    /// Whose it is: the operator's or a user's.
    pub kind: IssuerKind,
    /// The zone's name; none takes it from the file.
    pub origin: Option<Name>,
    /// What names are relative to until the file says it: published zones often start with `@ SOA` and no `$ORIGIN`, as a
    /// server's configuration names them.
    pub fallback: Name,
    /// How its wildcards are read.
    pub wildcards: Wildcards,
    /// What is done instead of what it says.
    pub action_override: ActionOverride,
    /// The highest TTL its answers get, in seconds.
    pub max_ttl_s: u32,
    /// Whether it acts on queries with RD=0 too (§6).
    pub without_rd: bool,
    /// Whether it changes signed answers for clients that set DO (§6).
    pub break_dnssec: bool,
}

/// Whose reading of an RPZ's wildcards is meant: the draft and its implementations differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wildcards {
    /// The draft's and BIND's: as a DNS zone would answer (§4.2, §5.3).
    #[default]
    Draft,
    /// Unbound's: the same, but an empty non-terminal hides no wildcard from itself.
    Unbound,
    /// PowerDNS Recursor's, and that of orders: the closest trigger that covers the name.
    Closest,
}

/// A per-zone override (§6.1).
#[allow(clippy::large_enum_variant, reason = "there is one for each zone")]
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ActionOverride {
    /// GIVEN: none.
    #[default]
    Given,
    /// One action for every rule: NXDOMAIN, NODATA, PASSTHRU, DROP, TCP-ONLY, or `observe` for DISABLED.
    Action(Action),
    /// LOCAL-DATA-OR-PASSTHRU: types that local data has not are answered truthfully.
    LocalDataOrPassthru,
    /// LOCAL-DATA-OR-DISABLED: for types that local data has not, the next best rule decides.
    LocalDataOrDisabled,
    /// CNAME: one walled garden for every rule.
    Cname {
        /// The target, without its `*`.
        target: Name,
        /// Whether a `*` stood in front: the captured name goes there.
        prepend: bool,
    },
}

/// Reads the zone file `content`, shown as `shown`; `open` serves what it includes. Never panics, whatever the text.
pub fn parse(content: &[u8], spec: &RpzSpec, shown: &str, open: &mut Open<'_>) -> Parsed {
    let mut findings = Findings::default();
    let mut apex = Apex::of(spec);
    let mut collector = Collector::default();
    let mut include = |path: &str| included(open, path);
    ZoneReader::new(spec.origin.unwrap_or(spec.fallback), &mut include, &mut findings).read(
        content,
        shown,
        &mut |findings, record| {
            apex.record(findings, record, &mut |findings, record, apex| {
                if let Err(why) = rule(&record, apex, &mut collector) {
                    findings.refuse(record.file, record.line, format!("{}: {why}", record.owner), "");
                }
            });
        },
    );
    if apex.soa.is_none() && !findings.is_broken() {
        let hint = "a response policy zone starts with its SOA record; is this another kind of list?";
        findings.break_off(shown, None, "a zone without an SOA record", hint);
    }
    let broken = findings.is_broken();
    let (problems, refused_lines) = findings.finish(shown);
    let listed = match apex {
        Apex { name: Some(name), soa: Some(soa), .. } if !broken => {
            let mut scopes = collector.finish(spec);
            scopes.iter_mut().for_each(|one| one.scope.source = shown.to_string());
            Some(OrderWithNames::new(order(spec, name, soa, shown), scopes, Vec::new()))
        }
        _ => None,
    };
    Parsed { listed, problems, refused_lines, wanting: false }
}

/// The file and line of the first record of a trigger, by reading the zone again; none if it has none.
pub fn line_of(
    content: &[u8],
    spec: &RpzSpec,
    shown: &str,
    open: &mut Open<'_>,
    (on, kind, name): (TriggerType, MatchKind, &Name),
) -> Option<(String, u32)> {
    let mut findings = Findings::default();
    let mut apex = Apex::of(spec);
    let mut found = None;
    let mut include = |path: &str| included(open, path);
    ZoneReader::new(spec.origin.unwrap_or(spec.fallback), &mut include, &mut findings).read(
        content,
        shown,
        &mut |findings, record| {
            apex.record(findings, record, &mut |_, record, apex| {
                let trigger = rule::trigger(&record.owner, apex);
                if found.is_none()
                    && trigger
                        .is_ok_and(|trigger| (trigger.on, trigger.kind, &trigger.name) == (on, kind, name))
                {
                    found = Some((record.file.to_string(), record.line));
                }
            });
        },
    );
    found
}

/// A file that a zone includes, as a reader of zones gets it.
fn included(open: &mut Open<'_>, path: &str) -> Included {
    let ListFile { shown, content } = open(path);
    let content = content.and_then(|content| match content {
        Content::Octets(octets) => Ok(octets),
        Content::Known => Err(("it cannot be read again".to_owned(), String::new())),
    });
    Included { shown, content }
}

/// What stands at a zone's apex.
struct Apex {
    /// The zone's name, once it is known.
    name: Option<Name>,
    /// What names are relative to as long as nobody has said it: that names no zone.
    fallback: Name,
    /// Its SOA's RDATA and TTL in seconds, once it was read.
    soa: Option<(Box<[u8]>, u32)>,
}

impl Apex {
    /// Nothing read yet.
    fn of(spec: &RpzSpec) -> Apex {
        Apex { name: spec.origin, fallback: spec.fallback, soa: None }
    }

    /// Takes what is about the zone itself or means nothing in an RPZ, and hands on what is a rule.
    fn record(
        &mut self,
        findings: &mut Findings,
        record: Record<'_>,
        hand_on: &mut dyn FnMut(&mut Findings, Record<'_>, &Name),
    ) {
        if record.rtype == Rtype::SOA {
            return self.soa(findings, &record);
        }
        let Some(apex) = self.name.or(record.origin.filter(|origin| *origin != self.fallback)) else {
            let message = "a record before the SOA, and nothing says which zone this is";
            let hint =
                "put the SOA first, or say origin = \"rpz.example\" for the list, or $ORIGIN in the file";
            return findings.break_off(record.file, Some(record.line), message, hint);
        };
        self.name = Some(apex);
        let at_apex = record.owner == apex;
        let about_zone = matches!(record.rtype, Rtype::NS | Rtype::ZONEMD) || DNSSEC.contains(&record.rtype);
        if at_apex && about_zone {
            return;
        }
        let ignored = if at_apex {
            "a record of the zone itself, no rule"
        } else if DNSSEC.contains(&record.rtype) {
            "a DNSSEC record is no local data"
        } else if record.rtype == Rtype::NS {
            "an NS record is no local data"
        } else if record.rtype == Rtype::DNAME {
            "a DNAME record is no local data"
        } else {
            return hand_on(findings, record, &apex);
        };
        findings.ignore(record.file, record.line, format!("{}: {ignored}", record.owner));
    }

    /// Takes the SOA, which must be the apex's and the only one.
    fn soa(&mut self, findings: &mut Findings, record: &Record<'_>) {
        let apex = *self.name.get_or_insert(record.owner);
        if record.owner != apex && self.soa.is_none() {
            let message = format!("the SOA is that of {}, but the zone is {apex}", record.owner);
            let hint = "set origin to the zone's own name, or leave it out";
            return findings.break_off(record.file, Some(record.line), message, hint);
        }
        let minimum = zonefile::minimum(record.rdata).unwrap_or_default();
        match &self.soa {
            None => self.soa = Some((record.rdata.into(), record.ttl_s.min(minimum))),
            // A zone transfer written down ends with the SOA it began with.
            Some((soa, _)) if record.owner == apex && **soa == *record.rdata => {}
            Some(_) => {
                let message = format!("{}: a further SOA", record.owner);
                findings.ignore(record.file, record.line, message);
            }
        }
    }
}

/// Adds the rule that a record is part of.
fn rule(record: &Record<'_>, apex: &Name, collector: &mut Collector) -> Result<(), String> {
    if record.rtype.is_meta() {
        return Err(format!("type {} is no type of data", record.rtype.0));
    }
    let trigger = rule::trigger(&record.owner, apex)?;
    let meaning = if record.rtype == Rtype::CNAME {
        let target = Name::from_wire(record.rdata).map_err(|_| "its target is no valid name")?;
        Some(rule::meaning(&target, &trigger, record.origin.as_ref())?)
    } else {
        None
    };
    Ok(collector.add(trigger, record.rtype, record.ttl_s, record.rdata, meaning)?)
}

/// The order that a zone shown as `shown` is, less its scopes; its SOA's RDATA and TTL in seconds.
pub fn order(spec: &RpzSpec, origin: Name, (soa, soa_ttl_s): (Box<[u8]>, u32), shown: &str) -> Order {
    let reading = match spec.wildcards {
        Wildcards::Draft => policy::order::WildcardRule::Wildcard,
        Wildcards::Unbound => policy::order::WildcardRule::WildcardOverEmpty,
        Wildcards::Closest => policy::order::WildcardRule::Closest,
    };
    let missing_type = match spec.action_override {
        ActionOverride::LocalDataOrPassthru => MissingType::Passthru,
        ActionOverride::LocalDataOrDisabled => MissingType::Disabled,
        _ => MissingType::Nodata,
    };
    let rpz = Rpz {
        origin,
        soa_ttl_s: soa_ttl_s.min(spec.max_ttl_s),
        without_rd: spec.without_rd,
        break_dnssec: spec.break_dnssec,
        missing_type,
        // The serial is followed by four timers (RFC 1035 §3.3.13).
        soa,
    };
    Order {
        title: spec.name.clone(),
        revision: serial(&rpz.soa),
        authority: Authority { kind: spec.kind, ..Authority::default() },
        reading,
        rpz: Some(rpz),
        source: shown.to_string(),
        ..Order::new(spec.name.clone())
    }
}

/// Whether RDATA is such as a zone's record of that type has once it is read: names spelled out.
pub fn is_rdata(rtype: Rtype, rdata: &[u8]) -> bool {
    !rtype.is_meta() && zonefile::is_known(rtype, rdata)
}

/// The serial in an SOA's RDATA: four timers stand behind it (RFC 1035 §3.3.13).
fn serial(soa: &[u8]) -> u32 {
    soa.len()
        .checked_sub(20)
        .and_then(|at| soa.get(at..)?.first_chunk())
        .map_or(0, |octets| u32::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests;
