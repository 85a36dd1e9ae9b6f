//! Orders as values: what one takedown instrument says, however it was written down.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::name::{Name, NameList};

/// Wall-clock time: seconds since the Unix epoch, UTC. Always passed in, never read here.
pub type UnixSeconds = i64;

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
    /// What happens to a captured name, unless its scope says otherwise.
    pub action: Action,
    /// Addresses that `Action::Sinkhole` answers with.
    pub sinkhole: Sinkhole,
    /// TTL of forged answers in seconds.
    pub ttl_s: u32,
    /// Whom to ask about it: an address or URL, empty if none.
    pub contact: String,
    /// Why it stands, in a sentence, empty if not said.
    pub justification: String,
    /// The file it was read from, as the operator named it.
    pub source: String,
}

/// Who issued an order, and where to read it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authority {
    /// What sort of issuer it has; decides the EDE code.
    pub kind: Kind,
    /// The court, agency, registry or person.
    pub issuer: String,
    /// The court's name, if one.
    pub court: String,
    /// Whose law.
    pub jurisdiction: String,
    /// The docket or case number.
    pub docket: String,
    /// The document's number within the docket.
    pub document: String,
    /// SHA-256 of the document, 64 hexadecimal digits, empty if not given.
    pub document_sha256: String,
    /// When it was asked for.
    pub filed: Option<UnixSeconds>,
    /// When it was granted.
    pub granted: Option<UnixSeconds>,
    /// Where it can be read.
    pub url: String,
    /// Its ids in public databases, such as `lumen:12345`.
    pub references: Vec<String>,
}

/// The sort of authority behind an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
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
    pub by: String,
    /// Why.
    pub why: String,
    /// The zones given back; empty means the whole order.
    pub zones: Vec<Name>,
}

/// A group of names that match alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// How its names match.
    pub kind: ScopeKind,
    /// A window of its own, within the order's.
    pub window: Window,
    /// The malware family, empty if none.
    pub family: String,
    /// Free words for reports.
    pub tags: Vec<String>,
    /// Another action than the order's.
    pub action: Option<Action>,
    /// How the names in `Listed::exceptions` match, if there are any.
    pub exception_kind: ScopeKind,
    /// Where its names were read: the file it names, or the order's own file.
    pub source: String,
}

/// How a listed name captures query names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScopeKind {
    /// The name itself only.
    #[default]
    Exact,
    /// The name and everything below it.
    Subtree,
    /// Everything below the name, not the name itself.
    SubtreeBelow,
}

/// What happens to a captured query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Action {
    /// Given addresses for A and AAAA, NODATA for every other type.
    #[default]
    Sinkhole,
    /// The name exists and has no records.
    Nodata,
    /// The name does not exist.
    Nxdomain,
    /// REFUSED.
    Refused,
    /// No answer.
    Drop,
    /// An empty truncated answer over UDP, the truth over TCP.
    TcpOnly,
    /// Count the hit, answer truthfully: a dry run.
    Observe,
    /// The truth, whatever other orders say.
    Passthru,
}

/// Where sinkholed names point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sinkhole {
    /// Answers to A; empty makes A NODATA.
    pub v4: Vec<Ipv4Addr>,
    /// Answers to AAAA; empty makes AAAA NODATA.
    pub v6: Vec<Ipv6Addr>,
}

/// An order together with the names it lists, ready to compile.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The order.
    pub order: Order,
    /// The names of each scope, in the order of `order.scopes`.
    pub names: Vec<NameList>,
    /// The names each scope spares, in the order of `order.scopes`; of kind `exception_kind`.
    pub exceptions: Vec<NameList>,
}

/// Names that no order may capture.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    /// How the names match.
    pub kind: ScopeKind,
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
            action: Action::default(),
            sinkhole: Sinkhole::default(),
            ttl_s: DEFAULT_TTL_S,
            contact: String::new(),
            justification: String::new(),
            source: String::new(),
        }
    }
}

impl Scope {
    /// A scope of this kind, always in force, with its order's action and exact exceptions.
    pub fn new(kind: ScopeKind) -> Scope {
        Scope {
            kind,
            window: Window::ALWAYS,
            family: String::new(),
            tags: Vec::new(),
            action: None,
            exception_kind: ScopeKind::Exact,
            source: String::new(),
        }
    }
}

impl Kind {
    /// Whether the order comes from outside the operator's house (EDE 16 Censored rather than 15 or 17).
    pub fn is_external(self) -> bool {
        matches!(self, Kind::Court | Kind::LawEnforcement | Kind::Registry)
    }

    /// The word order files use.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Court => "court",
            Kind::LawEnforcement => "law-enforcement",
            Kind::Registry => "registry",
            Kind::Operator => "operator",
            Kind::User => "user",
        }
    }
}

impl ScopeKind {
    /// The word order files use.
    pub fn as_str(self) -> &'static str {
        match self {
            ScopeKind::Exact => "exact",
            ScopeKind::Subtree => "subtree",
            ScopeKind::SubtreeBelow => "subtree-below",
        }
    }

    /// Whether a trigger of this kind captures a query `below` labels below the listed name.
    pub fn covers(self, below: usize) -> bool {
        match self {
            ScopeKind::Exact => below == 0,
            ScopeKind::Subtree => true,
            ScopeKind::SubtreeBelow => below > 0,
        }
    }
}

impl Action {
    /// Every action, in the order they are listed and counted.
    pub const ALL: [Action; 8] = [
        Action::Sinkhole,
        Action::Nodata,
        Action::Nxdomain,
        Action::Refused,
        Action::Drop,
        Action::TcpOnly,
        Action::Observe,
        Action::Passthru,
    ];

    /// The word order files use.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Sinkhole => "sinkhole",
            Action::Nodata => "nodata",
            Action::Nxdomain => "nxdomain",
            Action::Refused => "refused",
            Action::Drop => "drop",
            Action::TcpOnly => "tcp-only",
            Action::Observe => "observe",
            Action::Passthru => "passthru",
        }
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

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ScopeKind {
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
            (ScopeKind::Exact, true, false),
            (ScopeKind::Subtree, true, true),
            (ScopeKind::SubtreeBelow, false, true),
        ] {
            assert_eq!((kind.covers(0), kind.covers(1), kind.covers(9)), (at_name, below, below), "{kind}");
        }
    }
}
