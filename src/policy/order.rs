//! Orders as values: what one takedown instrument says, however it was written down.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::iana::Rtype;
use crate::name::{Name, NameList};
use crate::time::UnixSeconds;

/// The TTL of a sinkhole answer unless the order says otherwise, in seconds: a lift reaches clients that soon.
pub const DEFAULT_TTL_S: u32 = 10;
/// The highest TTL an order may ask for without `allow_long_ttl`, in seconds.
pub const MAX_TTL_S: u32 = 60;

/// One takedown instrument, less the names it lists: those are compiled into the policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Unique among the orders loaded; short, printable, goes into answers and logs.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// Counts the versions of this instrument, from 1.
    pub revision: u32,
    /// Who issued it and on what papers.
    pub authority: Authority,
    /// When it is in force.
    pub window: Window,
    /// What of it has been lifted.
    pub lifts: Vec<Lift>,
    /// The zones it may act in; empty means anywhere.
    pub zones: Vec<Name>,
    /// Groups of names, each with its own way of matching.
    pub scopes: Vec<Scope>,
    /// Names it spares as a whole, with what they lead to.
    pub exemptions: Vec<Exemption>,
    /// What happens to a captured name, unless its scope says otherwise.
    pub action: Action,
    /// Addresses that a sinkhole answers with.
    pub sinkhole: Sinkhole,
    /// TTL of forged answers in seconds.
    pub ttl_s: u32,
    /// Whom to ask about it: an address or URL.
    pub contact: Option<String>,
    /// Why it stands, in a sentence.
    pub justification: Option<String>,
    /// How far it has got, unless somebody stated otherwise since.
    pub standing: Standing,
    /// How its triggers are read: as orders are, or as an RPZ's.
    pub reading: WildcardRule,
    /// What an RPZ says of itself; none for orders and plain lists.
    pub rpz: Option<Rpz>,
    /// Innocent names beside it that must go on resolving: asked for again and again.
    pub canaries: Vec<Name>,
    /// The file it was read from, as the operator named it.
    pub source: String,
}

/// How far an order has got on its way into force; its window and its lifts come on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Written down, not acted on, not counted.
    Drafted,
    /// Counted, not acted on: a dry run.
    Observing,
    /// Held back: acted on as far as it lists names one by one; what it takes beyond them, by subtrees and the like, is
    /// counted. No file says that of an order, and no person: a guard states it for a while.
    Held,
    /// Acted on.
    #[default]
    InForce,
    /// No longer acted on.
    Lifted,
}

/// How the triggers of an order find the names they are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WildcardRule {
    /// As orders mean it, and as PowerDNS Recursor reads an RPZ: the closest trigger that covers the name. An exact one
    /// hides no subtree from other names.
    #[default]
    Closest,
    /// As a DNS zone answers (RFC 4592), which is how the RPZ draft has it and BIND does it: a wildcard matches only names
    /// whose closest encloser is its own parent.
    Wildcard,
    /// As Unbound does it: the same, but an empty non-terminal does not keep the wildcard above from speaking for itself.
    WildcardOverEmpty,
}

/// What a response policy zone says of itself, and how its subscriber uses it (draft-vixie-dnsop-dns-rpz §6).
#[derive(Clone, Debug, PartialEq)]
pub struct Rpz {
    /// The zone's name.
    pub origin: Name,
    /// The RDATA of its SOA, uncompressed: it goes with every answer the zone changes.
    pub soa: Box<[u8]>,
    /// The TTL that SOA goes out with, in seconds: the lesser of its own and its MINIMUM.
    pub soa_ttl_s: u32,
    /// Whether it acts on queries with RD=0 too; §6 has it off, for servers that do not resolve these.
    pub without_rd: bool,
    /// Whether it changes signed answers for clients that set DO; §6 has it off, for servers that validate them.
    pub break_dnssec: bool,
    /// What local data says of types that it has not.
    pub missing_type: MissingType,
}

/// What becomes of a query for a type that local data has not (draft-vixie-dnsop-dns-rpz §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MissingType {
    /// NODATA, the default.
    #[default]
    Nodata,
    /// LOCAL-DATA-OR-PASSTHRU.
    Passthru,
    /// LOCAL-DATA-OR-DISABLED: the next best trigger decides.
    Disabled,
}

/// Who issued an order, and where to read it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authority {
    /// What sort of issuer it has; decides the EDE code.
    pub kind: IssuerKind,
    /// The court, agency, registry or person.
    pub issuer: Option<String>,
    /// The court's name, if one.
    pub court: Option<String>,
    /// Whose law.
    pub jurisdiction: Option<String>,
    /// The docket or case number.
    pub docket: Option<String>,
    /// The document's number within the docket.
    pub document: Option<String>,
    /// SHA-256 of the document, 64 hexadecimal digits.
    pub document_sha256: Option<String>,
    /// When it was asked for.
    pub filed: Option<UnixSeconds>,
    /// When it was granted.
    pub granted: Option<UnixSeconds>,
    /// Where it can be read.
    pub url: Option<String>,
    /// Its ids in public databases, such as `lumen:12345`.
    pub references: Vec<String>,
}

/// The sort of authority behind an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IssuerKind {
    /// A court.
    Court,
    /// A law-enforcement agency.
    LawEnforcement,
    /// A domain registry or registrar.
    Registry,
    /// Whoever runs this resolver.
    #[default]
    Operator,
    /// Somebody who uses it and asked for this.
    User,
}

/// When something is in force: from `effective`, up to but not at `expires`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Window {
    /// First second in force; none means always was.
    pub effective: Option<UnixSeconds>,
    /// First second no longer in force; none means for good.
    pub expires: Option<UnixSeconds>,
    /// When somebody should look at it again; changes no answer.
    pub review_by: Option<UnixSeconds>,
}

/// The end of an order, or of its hold on some zones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lift {
    /// First second lifted; none means it always was.
    pub at: Option<UnixSeconds>,
    /// Who lifted it.
    pub by: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// The zones given back; empty means the whole order.
    pub zones: Vec<Name>,
}

/// A group of names that match alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// How its names match.
    pub kind: MatchKind,
    /// A window of its own, within the order's.
    pub window: Window,
    /// The malware family.
    pub family: Option<String>,
    /// Free words for reports.
    pub tags: Vec<String>,
    /// Another action than the order's.
    pub action: Option<Action>,
    /// What its names are held against.
    pub on: TriggerType,
    /// What [`Synthesis::Local`] answers with; none for other actions.
    pub data: Option<Arc<LocalData>>,
    /// Patterns that capture names like listed ones do.
    pub patterns: Option<Patterns>,
    /// The TTL of its forged answers in seconds, if it differs from its order's.
    pub ttl_s: Option<u32>,
    /// How the names it spares match, if there are any.
    pub exception_kind: MatchKind,
    /// Whether only important exemptions of its order spare from it.
    pub important: bool,
    /// Where its names were read: the file it names, or the order's own file.
    pub source: String,
}

/// Names that an order spares with all that they lead to: an exception as Adblock lists mean it.
///
/// A scope's own exceptions say no more than that it does not list a name, and what such a name leads to is judged like any
/// other. An exemption is a promise to who asks for the name: this order does not stand in the way of the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exemption {
    /// How its names match.
    pub kind: MatchKind,
    /// Patterns that spare names like listed ones do.
    pub patterns: Option<Patterns>,
    /// Whether it spares from important scopes, too.
    pub important: bool,
}

/// What a trigger is held against (draft-vixie-dnsop-dns-rpz §4), in falling precedence within one zone (§5.4).
///
/// Names of scopes on addresses are prefixes, written as [`prefix::to_name`](super::prefix::to_name) does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TriggerType {
    /// The address of who asks.
    ClientIp,
    /// The name asked for, or a name its answer leads to.
    #[default]
    Qname,
    /// An address in the answer.
    ResponseIp,
    /// The name of a name server of a zone on the way to the name.
    NsDname,
    /// An address of such a name server.
    NsIp,
}

/// Records to answer with instead of the truth (draft-vixie-dnsop-dns-rpz §3.6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LocalData {
    /// The records, in the order they go out. A CNAME is the only one.
    pub records: Vec<LocalRecord>,
    /// Whether the captured name is put in front of the CNAME's target: `*.garden.example` was written.
    pub prepend: bool,
}

/// One record of local data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalRecord {
    /// Its type.
    pub rtype: Rtype,
    /// Its TTL in seconds.
    pub ttl_s: u32,
    /// Its RDATA, names uncompressed.
    pub rdata: Box<[u8]>,
}

/// Tells whether a name matches one of a list's patterns; what they are written in is not policy's concern.
pub trait Matcher: fmt::Debug + Send + Sync {
    /// The place of the first pattern that matches the name.
    fn first_match(&self, name: &Name) -> Option<usize>;

    /// The patterns as written.
    fn texts(&self) -> &[String];

    /// What each pattern was made of, in the same order, for whoever makes them anew; empty if that cannot be done.
    fn sources(&self) -> &[String] {
        &[]
    }

    /// How often a name is gone over, octet by octet, to find that out: what a policy has room for is counted in these.
    fn passes(&self) -> usize {
        1
    }
}

/// Patterns, shared; equal if they are written alike.
#[derive(Clone, Debug)]
pub struct Patterns(pub Arc<dyn Matcher>);

impl PartialEq for Patterns {
    fn eq(&self, other: &Patterns) -> bool {
        self.0.texts() == other.0.texts()
    }
}

/// How a listed name captures query names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchKind {
    /// The name itself only.
    #[default]
    Exact,
    /// The name and everything below it.
    Subtree,
    /// Everything below the name, not the name itself.
    SubtreeBelow,
}

/// What happens to a captured query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Something else than the truth.
    Act(Act),
    /// Count the hit, answer truthfully: a dry run.
    Observe,
    /// The truth, whatever other orders say.
    Passthru,
}

/// What is done to a query instead of telling the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// An answer made here.
    Answer(Synthesis),
    /// No answer.
    Drop,
    /// An empty truncated answer over UDP, the truth over TCP.
    TcpOnly,
}

/// How a forged answer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Synthesis {
    /// Given addresses for A and AAAA, NODATA for every other type.
    Sinkhole,
    /// The name exists and has no records.
    Nodata,
    /// The name does not exist.
    Nxdomain,
    /// REFUSED.
    Refused,
    /// The records of its scope, which may be none.
    // They stand in the scope and not here, so that an action stays an octet that the hot path copies with every rule.
    Local,
}

/// Where sinkholed names point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sinkhole {
    /// Answers to A; empty makes A NODATA.
    pub v4: Vec<Ipv4Addr>,
    /// Answers to AAAA; empty makes AAAA NODATA.
    pub v6: Vec<Ipv6Addr>,
}

/// Names that no order may capture.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    /// How the names match.
    pub kind: MatchKind,
    /// The names.
    pub names: NameList,
    /// Where they were written, for explanations.
    pub source: String,
}

impl Order {
    /// An operator's order with this id that lists nothing, sinkholes, and is always in force.
    pub fn new(id: impl Into<String>) -> Order {
        Order {
            id: id.into(),
            title: String::new(),
            revision: 1,
            authority: Authority::default(),
            window: Window::ALWAYS,
            lifts: Vec::new(),
            zones: Vec::new(),
            scopes: Vec::new(),
            exemptions: Vec::new(),
            action: Action::default(),
            sinkhole: Sinkhole::default(),
            ttl_s: DEFAULT_TTL_S,
            contact: None,
            justification: None,
            standing: Standing::default(),
            reading: WildcardRule::default(),
            rpz: None,
            canaries: Vec::new(),
            source: String::new(),
        }
    }
}

impl Scope {
    /// A scope of this kind, always in force, with its order's action and exact exceptions.
    pub fn new(kind: MatchKind) -> Scope {
        Scope {
            kind,
            window: Window::ALWAYS,
            family: None,
            tags: Vec::new(),
            action: None,
            on: TriggerType::default(),
            data: None,
            patterns: None,
            ttl_s: None,
            exception_kind: MatchKind::Exact,
            important: false,
            source: String::new(),
        }
    }
}

impl Exemption {
    /// Whether it spares from a scope that is important, or is not.
    pub fn reaches(&self, important: bool) -> bool {
        self.important || !important
    }
}

impl IssuerKind {
    /// All of them.
    pub const ALL: [IssuerKind; 5] = [
        IssuerKind::Court,
        IssuerKind::LawEnforcement,
        IssuerKind::Registry,
        IssuerKind::Operator,
        IssuerKind::User,
    ];

    /// Whether the order comes from outside the operator's house (EDE 16 Censored rather than 15 or 17).
    pub fn is_external(self) -> bool {
        matches!(self, IssuerKind::Court | IssuerKind::LawEnforcement | IssuerKind::Registry)
    }

    /// The word order files use.
    pub fn as_str(self) -> &'static str {
        match self {
            IssuerKind::Court => "court",
            IssuerKind::LawEnforcement => "law-enforcement",
            IssuerKind::Registry => "registry",
            IssuerKind::Operator => "operator",
            IssuerKind::User => "user",
        }
    }
}

impl LocalData {
    /// Whether it answers a query for that type: by a record of it, by its CNAME, or all of it for ANY
    /// (draft-vixie-dnsop-dns-rpz §3.6).
    pub fn has(&self, qtype: Rtype) -> bool {
        qtype == Rtype::ANY
            || self.records.iter().any(|record| record.rtype == qtype || record.rtype == Rtype::CNAME)
    }
}

impl MatchKind {
    /// The word order files use.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchKind::Exact => "exact",
            MatchKind::Subtree => "subtree",
            MatchKind::SubtreeBelow => "subtree-below",
        }
    }

    /// Whether a trigger of this kind captures a query `below` labels below the listed name.
    pub fn covers(self, below: usize) -> bool {
        match self {
            MatchKind::Exact => below == 0,
            MatchKind::Subtree => true,
            MatchKind::SubtreeBelow => below > 0,
        }
    }
}

impl Standing {
    /// Every standing, in the order an order goes through them.
    pub const ALL: [Standing; 5] =
        [Standing::Drafted, Standing::Observing, Standing::Held, Standing::InForce, Standing::Lifted];

    /// The word files, commands and reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Drafted => "drafted",
            Standing::Observing => "observing",
            Standing::Held => "held",
            Standing::InForce => "in-force",
            Standing::Lifted => "lifted",
        }
    }
}

impl TriggerType {
    /// Every sort of trigger, in falling precedence.
    pub const ALL: [TriggerType; 5] = [
        TriggerType::ClientIp,
        TriggerType::Qname,
        TriggerType::ResponseIp,
        TriggerType::NsDname,
        TriggerType::NsIp,
    ];

    /// The word reports use: the RPZ label where there is one.
    pub fn as_str(self) -> &'static str {
        match self {
            TriggerType::ClientIp => "client-ip",
            TriggerType::Qname => "qname",
            TriggerType::ResponseIp => "response-ip",
            TriggerType::NsDname => "nsdname",
            TriggerType::NsIp => "nsip",
        }
    }

    /// Whether it takes an answer, or more, to know whether it matches.
    pub fn is_late(self) -> bool {
        matches!(self, TriggerType::ResponseIp | TriggerType::NsDname | TriggerType::NsIp)
    }
}

impl Action {
    /// Given addresses.
    pub const SINKHOLE: Action = Action::Act(Act::Answer(Synthesis::Sinkhole));
    /// The name exists and has no records.
    pub const NODATA: Action = Action::Act(Act::Answer(Synthesis::Nodata));
    /// The name does not exist.
    pub const NXDOMAIN: Action = Action::Act(Act::Answer(Synthesis::Nxdomain));
    /// REFUSED.
    pub const REFUSED: Action = Action::Act(Act::Answer(Synthesis::Refused));
    /// The records of the scope.
    pub const LOCAL: Action = Action::Act(Act::Answer(Synthesis::Local));
    /// No answer.
    pub const DROP: Action = Action::Act(Act::Drop);
    /// The truth over TCP alone.
    pub const TCP_ONLY: Action = Action::Act(Act::TcpOnly);

    /// Every action, in the order they are listed and counted.
    pub const ALL: [Action; 9] = [
        Action::SINKHOLE,
        Action::NODATA,
        Action::NXDOMAIN,
        Action::REFUSED,
        Action::DROP,
        Action::TCP_ONLY,
        Action::Observe,
        Action::Passthru,
        Action::LOCAL,
    ];

    /// Its place in [`Action::ALL`].
    pub fn index(self) -> usize {
        match self {
            Action::SINKHOLE => 0,
            Action::NODATA => 1,
            Action::NXDOMAIN => 2,
            Action::REFUSED => 3,
            Action::DROP => 4,
            Action::TCP_ONLY => 5,
            Action::Observe => 6,
            Action::Passthru => 7,
            Action::LOCAL => 8,
        }
    }

    /// The word order files use.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Act(act) => act.as_str(),
            Action::Observe => "observe",
            Action::Passthru => "passthru",
        }
    }
}

impl Act {
    /// The word order files use.
    pub fn as_str(self) -> &'static str {
        match self {
            Act::Answer(Synthesis::Sinkhole) => "sinkhole",
            Act::Answer(Synthesis::Nodata) => "nodata",
            Act::Answer(Synthesis::Nxdomain) => "nxdomain",
            Act::Answer(Synthesis::Refused) => "refused",
            Act::Answer(Synthesis::Local) => "local-data",
            Act::Drop => "drop",
            Act::TcpOnly => "tcp-only",
        }
    }
}

impl Default for Action {
    /// The sinkhole.
    fn default() -> Action {
        Action::SINKHOLE
    }
}

impl Window {
    /// In force at any time.
    pub const ALWAYS: Window = Window { effective: None, expires: None, review_by: None };

    /// Whether it is in force at `at`.
    pub fn contains(&self, at: UnixSeconds) -> bool {
        self.effective.is_none_or(|from| from <= at) && self.expires.is_none_or(|until| at < until)
    }

    /// The time that lies in both windows.
    pub fn intersect(&self, other: &Window) -> Window {
        Window {
            effective: self.effective.max(other.effective),
            expires: match (self.expires, other.expires) {
                (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
                (mine, theirs) => mine.or(theirs),
            },
            review_by: self.review_by.or(other.review_by),
        }
    }
}

impl Default for Sinkhole {
    /// The unspecified addresses, which no host routes: connections fail at once and reach nobody.
    fn default() -> Sinkhole {
        Sinkhole { v4: vec![Ipv4Addr::UNSPECIFIED], v6: vec![Ipv6Addr::UNSPECIFIED] }
    }
}

impl fmt::Display for IssuerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for MatchKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TriggerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_half_open_and_intersect() {
        let window = |effective, expires| Window { effective, expires, review_by: None };
        for (window, at, expected) in [
            (window(None, None), 0, true),
            (window(Some(5), None), 4, false),
            (window(Some(5), None), 5, true),
            (window(None, Some(5)), 4, true),
            (window(None, Some(5)), 5, false),
            (window(Some(5), Some(5)), 5, false),
        ] {
            assert_eq!(window.contains(at), expected, "{window:?} {at}");
        }
        assert_eq!(window(Some(1), None).intersect(&window(Some(2), Some(9))), window(Some(2), Some(9)));
        assert_eq!(window(None, Some(3)).intersect(&window(None, Some(9))), window(None, Some(3)));
    }

    #[test]
    fn kinds_cover_what_they_say() {
        for (kind, at_name, below) in [
            (MatchKind::Exact, true, false),
            (MatchKind::Subtree, true, true),
            (MatchKind::SubtreeBelow, false, true),
        ] {
            assert_eq!((kind.covers(0), kind.covers(1), kind.covers(9)), (at_name, below, below), "{kind}");
        }
    }
}
