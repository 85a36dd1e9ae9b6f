//! A list as the configuration gives it: where it is, how it is read, what happens to the names on it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::name::Name;
use crate::orders::rpz::{ActionOverride, Wildcards};
use crate::policy::order::DEFAULT_TTL_S;
use crate::policy::{Action, IssuerKind, MatchKind, Sinkhole};

/// One list of the configuration: a policy zone of its own, after those of order files.
#[derive(Clone, Debug, PartialEq)]
pub struct ListSpec {
    /// Its name: the id of its order and the name of its policy zone. Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The file or folder that is read. Of a list that is fetched, the file that its fetcher keeps the last good copy in;
    /// empty if there is none.
    pub path: PathBuf,
    /// How `path` gets there; none when it is the operator's own.
    pub fetch: Option<FetchSpec>,
    /// The format of its lines; none finds out.
    pub format: Option<Format>,
    /// What a bare name covers; none where the format says it.
    pub kind: Option<MatchKind>,
    /// Whose it is: the operator's or a user's.
    pub authority: IssuerKind,
    /// What happens to captured names.
    pub action: Action,
    /// Where sinkholed names point.
    pub sinkhole: Sinkhole,
    /// The TTL of forged answers, in seconds; of an RPZ's, the highest.
    pub ttl_s: u32,
    /// The malware family, for reports.
    pub family: Option<String>,
    /// Whether it may take the subtree of a public suffix, or a pattern every name.
    pub allow_public_suffix: bool,
    /// Whether it may lose more than half of its entries at once.
    pub allow_shrink: bool,
    /// Entries it must have at least; with fewer it is refused.
    pub min_entries: usize,
    /// How an RPZ is used; no other format looks at it.
    pub rpz: RpzUse,
    /// Where it is configured, for people: a file, perhaps with a line.
    pub source: String,
}

impl ListSpec {
    /// Whether another means the same, wherever it is configured.
    pub fn reads_like(&self, other: &ListSpec) -> bool {
        let elsewhere = ListSpec { source: self.source.clone(), ..other.clone() };
        *self == elsewhere
    }
}

/// How a response policy zone is used (draft-vixie-dnsop-dns-rpz §6).
#[derive(Clone, Debug, PartialEq)]
pub struct RpzUse {
    /// The zone's name; none takes it from the file, and the list's name where the file does not say it.
    pub origin: Option<Name>,
    /// How its wildcards are read.
    pub wildcards: Wildcards,
    /// What is done instead of what it says.
    pub action_override: ActionOverride,
    /// Whether it changes signed answers for clients that set DO.
    pub break_dnssec: bool,
    /// Whether it acts on queries with RD=0 too.
    pub without_rd: bool,
}

impl Default for RpzUse {
    /// As the zone says, for every query. The draft spares RD=0 and signed answers; but here RD=0 is resolved like all others,
    /// and nobody validates, so either would be a way past the zone.
    fn default() -> RpzUse {
        RpzUse {
            origin: None,
            wildcards: Wildcards::default(),
            action_override: ActionOverride::default(),
            break_dnssec: true,
            without_rd: true,
        }
    }
}

/// Where a list is fetched from, and what a copy must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSpec {
    /// `http://` or `https://`.
    pub url: String,
    /// How often it is asked for news; from a minute to a year.
    pub refresh: Duration,
    /// Octets of a copy at most, on the wire and unpacked.
    pub max_octets: u64,
    /// What the file must hash to, if that is known.
    pub sha256: Option<[u8; 32]>,
    /// The minisign public key of who must have signed it, if somebody must: the line of base64 that starts with RW.
    pub minisign_key: Option<String>,
    /// Addresses of the URL's host: if there are any, its name is not looked up.
    pub bootstrap: Vec<IpAddr>,
}

/// How the lines of a list are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// hosts(5): an address and names.
    Hosts,
    /// One name a line.
    Domains,
    /// `*.x` for what is below a name, `.x` for the name too.
    Wildcard,
    /// Adblock Plus and AdGuard: `||x^`, `@@||x^`.
    Adblock,
    /// dnsmasq's options: `address=/x/`, `server=/x/`, `local=/x/`.
    Dnsmasq,
    /// One regular expression a line.
    Regex,
    /// A response policy zone.
    Rpz,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 7] = [
        Format::Hosts,
        Format::Domains,
        Format::Wildcard,
        Format::Adblock,
        Format::Dnsmasq,
        Format::Regex,
        Format::Rpz,
    ];

    /// The word the configuration uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Hosts => "hosts",
            Format::Domains => "domains",
            Format::Wildcard => "wildcard",
            Format::Adblock => "adblock",
            Format::Dnsmasq => "dnsmasq",
            Format::Regex => "regex",
            Format::Rpz => "rpz",
        }
    }

    /// Whether it is made of bare names, so that somebody has to say what they cover.
    pub fn needs_match(self) -> bool {
        matches!(self, Format::Hosts | Format::Domains)
    }

    /// Whether it may hold bare names at all.
    pub fn has_bare_names(self) -> bool {
        matches!(self, Format::Hosts | Format::Domains | Format::Wildcard | Format::Adblock)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ListSpec {
    /// The operator's list of that name at that path, with the defaults: the format is found out, names are sinkholed.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> ListSpec {
        ListSpec {
            name: name.into(),
            path: path.into(),
            fetch: None,
            format: None,
            kind: None,
            authority: IssuerKind::Operator,
            action: Action::SINKHOLE,
            sinkhole: Sinkhole::default(),
            ttl_s: DEFAULT_TTL_S,
            family: None,
            allow_public_suffix: false,
            allow_shrink: false,
            min_entries: 1,
            rpz: RpzUse::default(),
            source: String::new(),
        }
    }
}
