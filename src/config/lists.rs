//! `[[lists]]`: text becomes typed values, and what cannot go together is said.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use minisign_verify::PublicKey;

use super::layer::Layers;
use super::spec::{self, List, ListAction, ListFormat, ListKind, Match, Size, Span, Spec};
use super::units::octets;
use crate::keys;
use crate::name::Name;
use crate::orders::lists::{FetchSpec, Format, ListSpec, RpzUse};
use crate::orders::names;
use crate::orders::rpz::{ActionOverride, Wildcards};
use crate::plain;
use crate::policy::order::{DEFAULT_TTL_S, MAX_TTL_S};
use crate::policy::{Action, IssuerKind, MatchKind, Sinkhole};
use crate::problem::Problem;

/// Octets in the longest name: it is an id and, with an ending, a file name.
const MAX_NAME_LEN: usize = 64;
/// Addresses of one family, as for orders.
const MAX_ADDRESSES: usize = 16;
/// The highest TTL even with `allow_long_ttl`, in seconds, as for orders.
const LONGEST_TTL_S: u64 = 604_800;
/// Bounds of `refresh`, in seconds: nobody is asked more often than once a minute, and once a year is nearly never.
const REFRESH_S: std::ops::RangeInclusive<u64> = 60..=31_622_400;
/// `refresh` when nobody says it: most lists change once a day.
const DEFAULT_REFRESH_S: u64 = 86_400;
/// `max_size` when nobody says it, in octets: twice the largest lists.
const DEFAULT_MAX_OCTETS: u64 = 256 << 20;
/// Characters in the longest family.
const MAX_FAMILY_CHARS: usize = 100;
/// The folder in the one for state that fetched lists are kept in, as `sources` names it.
const FOLDER: &str = "lists";

/// The words for `override`, but `cname:NAME`.
const OVERRIDES: [(&str, ActionOverride); 9] = [
    ("given", ActionOverride::Given),
    ("disabled", ActionOverride::Action(Action::Observe)),
    ("nxdomain", ActionOverride::Action(Action::NXDOMAIN)),
    ("nodata", ActionOverride::Action(Action::NODATA)),
    ("passthru", ActionOverride::Action(Action::Passthru)),
    ("drop", ActionOverride::Action(Action::DROP)),
    ("tcp-only", ActionOverride::Action(Action::TCP_ONLY)),
    ("local-data-or-passthru", ActionOverride::LocalDataOrPassthru),
    ("local-data-or-disabled", ActionOverride::LocalDataOrDisabled),
];

/// Joins sources that are paths to the folder of `file`: what is in effect then says the same wherever it is read again.
pub(super) fn rebase(spec: &mut Spec, file: Option<&Path>) {
    let base = file.and_then(Path::parent).unwrap_or(Path::new(""));
    for list in &mut spec.lists {
        if !list.source.is_empty() && !is_url(&list.source) {
            list.source = base.join(&list.source).to_string_lossy().into_owned();
        }
    }
}

/// Reads the lists, noting all problems; those that are fetched are read from where they are kept in `state`.
pub(super) fn read(
    spec: &Spec,
    state: Option<&Path>,
    layers: &Layers,
    problems: &mut Vec<Problem>,
) -> Vec<ListSpec> {
    let mut named: HashMap<&str, usize> = HashMap::new();
    let mut lists = Vec::new();
    for (index, list) in spec.lists.iter().enumerate() {
        let mut reader = Reader { list, index, layers, problems };
        if let Some(other) = named.insert(&list.name, index) {
            let what = format!("is \"{}\", which lists[{other}] is, too", list.name.escape_debug());
            reader.bad("name", &what, "give every list a name of its own");
        }
        lists.push(reader.list(state));
    }
    lists
}

/// Whether a source is on the network.
fn is_url(source: &str) -> bool {
    source.contains("://")
}

/// Reads one list.
struct Reader<'a> {
    list: &'a List,
    /// Its place among the lists.
    index: usize,
    /// Where values stand.
    layers: &'a Layers,
    /// What is wrong with them.
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    /// A problem with one of its keys.
    fn problem(&self, key: &str, what: &str, hint: &str) -> Problem {
        self.layers.problem_in("lists", &format!("[{}].{key}", self.index), what).hint(hint)
    }

    /// Notes a problem with one of its keys.
    fn bad(&mut self, key: &str, what: &str, hint: &str) {
        let problem = self.problem(key, what, hint);
        self.problems.push(problem);
    }

    /// Notes something about one of its keys that works, and should be looked at.
    fn warn(&mut self, key: &str, what: &str, hint: &str) {
        let Problem { file, line, message, hint, .. } = self.problem(key, what, hint);
        self.problems.push(Problem::warning(file, line, message).hint(hint));
    }

    /// Reads all of it.
    fn list(&mut self, state: Option<&Path>) -> ListSpec {
        let list = self.list;
        self.name();
        let format = self.format();
        let (ttl_s, sinkhole) = (self.ttl(), self.sinkhole());
        let family = self.family();
        let rpz = self.rpz(format);
        let fetch = self.fetch();
        let path = match (&fetch, state) {
            (None, _) => Path::new(&list.source).to_path_buf(),
            (Some(_), Some(state)) => state.join(FOLDER).join(format!("{}.list", list.name)),
            // Whoever fetches it knows another place.
            (Some(_), None) => Default::default(),
        };
        ListSpec {
            fetch,
            format,
            kind: list.kind.map(MatchKind::from),
            authority: match list.authority.unwrap_or_default() {
                ListKind::Operator => IssuerKind::Operator,
                ListKind::User => IssuerKind::User,
            },
            action: action(list.action.unwrap_or_default()),
            sinkhole,
            ttl_s,
            family,
            allow_public_suffix: list.allow_public_suffix.unwrap_or(false),
            allow_shrink: list.allow_shrink.unwrap_or(false),
            min_entries: list.min_entries.unwrap_or(1) as usize,
            rpz,
            source: self.layers.origin("lists", "").map_or(String::new(), ToString::to_string),
            ..ListSpec::new(list.name.clone(), path)
        }
    }

    /// Checks the name.
    fn name(&mut self) {
        let name = &self.list.name;
        let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > MAX_NAME_LEN || name.starts_with('.') || !name.bytes().all(fits) {
            let what = format!("is \"{}\"; expected a word", name.escape_debug());
            let hint = format!("letters, digits, `-`, `_` and `.`, up to {MAX_NAME_LEN}, the first no dot");
            self.bad("name", &what, &hint);
        }
    }

    /// Reads `format`, and checks `match` against it.
    fn format(&mut self) -> Option<Format> {
        let format = match self.list.format.unwrap_or_default() {
            ListFormat::Auto => return None,
            ListFormat::Hosts => Format::Hosts,
            ListFormat::Domains => Format::Domains,
            ListFormat::Wildcard => Format::Wildcard,
            ListFormat::Adblock => Format::Adblock,
            ListFormat::Dnsmasq => Format::Dnsmasq,
            ListFormat::Regex => Format::Regex,
            ListFormat::Rpz => Format::Rpz,
        };
        match self.list.kind {
            None if format.needs_match() => {
                let what = format!("is \"{format}\", and nothing says what a name on the list covers");
                let hint = "add match = \"exact\" (the name alone), \"subtree\" (and all below it) or \"subtree-below\"";
                self.bad("format", &what, hint);
            }
            Some(_) if !format.has_bare_names() => {
                let what =
                    format!("is there, but a list of format = \"{format}\" says itself what is covered");
                self.bad("match", &what, "take it out");
            }
            _ => {}
        }
        Some(format)
    }

    /// Reads `ttl`.
    fn ttl(&mut self) -> u32 {
        let Some(ttl) = &self.list.ttl else { return DEFAULT_TTL_S };
        let Some(seconds) = seconds(ttl).filter(|&seconds| seconds <= LONGEST_TTL_S) else {
            let what = format!("is {}; expected a length of time up to a week", shown(ttl));
            self.bad("ttl", &what, "write 10, \"10s\" or \"1m\"");
            return DEFAULT_TTL_S;
        };
        if seconds > u64::from(MAX_TTL_S) && !self.list.allow_long_ttl.unwrap_or(false) {
            let what = format!(
                "keeps names dark for {seconds} s after they are off the list; at most {MAX_TTL_S} s"
            );
            self.bad("ttl", &what, "allow_long_ttl = true says that this is meant");
        }
        u32::try_from(seconds).unwrap_or(DEFAULT_TTL_S)
    }

    /// Reads `addresses`. When some are given, the family that has none gets NODATA.
    fn sinkhole(&mut self) -> Sinkhole {
        let Some(texts) = &self.list.addresses else { return Sinkhole::default() };
        if self.list.action.unwrap_or_default() != ListAction::Sinkhole {
            self.bad("addresses", "is there, but the action is not sinkhole", "take it out");
        }
        let mut sinkhole = Sinkhole { v4: Vec::new(), v6: Vec::new() };
        for (_, address) in self.addresses("addresses", texts) {
            match address {
                IpAddr::V4(address) => sinkhole.v4.push(address),
                IpAddr::V6(address) => sinkhole.v6.push(address),
            }
        }
        if sinkhole.v4.len() > MAX_ADDRESSES || sinkhole.v6.len() > MAX_ADDRESSES {
            self.bad("addresses", &format!("has more than {MAX_ADDRESSES} addresses of one family"), "");
        }
        sinkhole
    }

    /// Reads a list of addresses.
    fn addresses(&mut self, key: &str, texts: &[String]) -> Vec<(usize, IpAddr)> {
        let mut addresses = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match text.trim().parse() {
                Ok(address) => addresses.push((index, address)),
                Err(_) => {
                    let what = format!("is \"{}\", which is no address", text.escape_debug());
                    self.bad(&format!("{key}[{index}]"), &what, "an IPv4 or IPv6 address");
                }
            }
        }
        addresses
    }

    /// Reads `family`.
    fn family(&mut self) -> Option<String> {
        let family = self.list.family.as_deref().map(str::trim).filter(|family| !family.is_empty())?;
        if family.chars().count() > MAX_FAMILY_CHARS || plain::fault(family).is_some() {
            self.bad("family", &format!("is no text of up to {MAX_FAMILY_CHARS} characters in a line"), "");
        }
        Some(family.to_string())
    }

    /// Reads what is for response policy zones.
    fn rpz(&mut self, format: Option<Format>) -> RpzUse {
        let list = self.list;
        if format == Some(Format::Rpz) {
            let others = [
                ("action", list.action.is_some()),
                ("addresses", list.addresses.is_some()),
                ("family", list.family.is_some()),
                ("allow_public_suffix", list.allow_public_suffix.is_some()),
            ];
            for (key, _) in others.into_iter().filter(|(_, there)| *there) {
                self.bad(
                    key,
                    "is there, but a response policy zone says itself what happens",
                    "use `override`",
                );
            }
        } else if format.is_some() {
            let only = [
                ("origin", list.origin.is_some()),
                ("wildcards", list.wildcards.is_some()),
                ("override", list.action_override.is_some()),
                ("break_dnssec", list.break_dnssec.is_some()),
                ("without_rd", list.without_rd.is_some()),
            ];
            for (key, _) in only.into_iter().filter(|(_, there)| *there) {
                self.bad(key, "is for format = \"rpz\" only", "take it out");
            }
        }
        RpzUse {
            origin: self.origin(),
            wildcards: match list.wildcards.unwrap_or_default() {
                spec::Wildcards::Draft => Wildcards::Draft,
                spec::Wildcards::Unbound => Wildcards::Unbound,
                spec::Wildcards::Closest => Wildcards::Closest,
            },
            action_override: self.action_override(),
            break_dnssec: self.unless_turned_off(
                ("break_dnssec", list.break_dnssec),
                "lets listed names be told: signatures are not validated here, so one that is made up will do",
                "take it out, unless every upstream validates",
            ),
            without_rd: self.unless_turned_off(
                ("without_rd", list.without_rd),
                "lets listed names be told to whoever asks without RD: such queries are resolved like all others",
                "take it out",
            ),
        }
    }

    /// Reads a switch that is on by default, and warns of what comes of turning it off.
    fn unless_turned_off(&mut self, (key, value): (&str, Option<bool>), what: &str, hint: &str) -> bool {
        if value == Some(false) {
            self.warn(key, what, hint);
        }
        value.unwrap_or(true)
    }

    /// Reads `origin`.
    fn origin(&mut self) -> Option<Name> {
        let name = names::name(self.list.origin.as_deref()?);
        name.map_err(|error| self.bad("origin", &format!("has the name {error}"), "write rpz.example")).ok()
    }

    /// Reads `override`.
    fn action_override(&mut self) -> ActionOverride {
        let Some(text) = self.list.action_override.as_deref() else { return ActionOverride::Given };
        if let Some(target) = text.strip_prefix("cname:") {
            let (prepend, bare) = target.strip_prefix("*.").map_or((false, target), |bare| (true, bare));
            match names::name(bare) {
                Ok(target) => return ActionOverride::Cname { target, prepend },
                Err(error) => {
                    self.bad("override", &format!("has the name {error}"), "write cname:garden.example")
                }
            }
            return ActionOverride::Given;
        }
        if let Some((_, found)) = OVERRIDES.into_iter().find(|(word, _)| *word == text) {
            return found;
        }
        let words: Vec<&str> = OVERRIDES.iter().map(|(word, _)| *word).chain(["cname:NAME"]).collect();
        let all = words.join(", ");
        let hint = match keys::nearest(text, words) {
            Some(nearest) => format!("did you mean \"{nearest}\"? it is one of {all}"),
            None => format!("it is one of {all}"),
        };
        self.bad("override", &format!("is \"{}\"", text.escape_debug()), &hint);
        ActionOverride::Given
    }

    /// Reads where the list is fetched from; none if it is a path.
    fn fetch(&mut self) -> Option<FetchSpec> {
        let list = self.list;
        if !is_url(&list.source) {
            if list.source.is_empty() {
                self.bad("source", "is empty", "name a file, a folder or a URL");
            }
            let only = [
                ("refresh", list.refresh.is_some()),
                ("max_size", list.max_size.is_some()),
                ("sha256", list.sha256.is_some()),
                ("minisign_key", list.minisign_key.is_some()),
                ("bootstrap", list.bootstrap.is_some()),
            ];
            for (key, _) in only.into_iter().filter(|(_, there)| *there) {
                self.bad(key, "is for lists that are fetched from a URL", "take it out");
            }
            return None;
        }
        self.url();
        let texts = list.bootstrap.as_deref().unwrap_or_default();
        let bootstrap = self.addresses("bootstrap", texts).into_iter().map(|(_, address)| address).collect();
        Some(FetchSpec {
            url: list.source.clone(),
            refresh: self.refresh(),
            max_octets: self.max_octets(),
            sha256: self.sha256(),
            minisign_key: self.minisign_key(),
            bootstrap,
        })
    }

    /// Checks the URL.
    fn url(&mut self) {
        let source = &self.list.source;
        let (scheme, rest) = source.split_once("://").unwrap_or_default();
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if !matches!(scheme, "http" | "https") {
            let what = format!("is fetched by {}://", scheme.escape_debug());
            self.bad("source", &what, "there are https:// and http://; a file is written as its path");
        } else if host.is_empty() {
            self.bad("source", "is a URL without a host", "");
        } else if host.contains('@') {
            self.bad(
                "source",
                "holds a password, which would end up in logs",
                "lists are fetched without one",
            );
        } else if scheme == "http" && self.list.sha256.is_none() && self.list.minisign_key.is_none() {
            let hint = "use https://, or set minisign_key or sha256";
            self.warn("source", "can be changed by anybody on the way", hint);
        }
    }

    /// Reads `refresh`.
    fn refresh(&mut self) -> Duration {
        let Some(refresh) = &self.list.refresh else { return Duration::from_secs(DEFAULT_REFRESH_S) };
        let found = seconds(refresh).filter(|seconds| REFRESH_S.contains(seconds));
        if found.is_none() {
            let what = format!("is {}; expected a length of time from a minute to a year", shown(refresh));
            self.bad("refresh", &what, "write 86400, \"12h\" or \"1d\"");
        }
        Duration::from_secs(found.unwrap_or(DEFAULT_REFRESH_S))
    }

    /// Reads `max_size`.
    fn max_octets(&mut self) -> u64 {
        let size = match &self.list.max_size {
            None => return DEFAULT_MAX_OCTETS,
            Some(Size::Octets(octets)) => Some(*octets),
            Some(Size::Text(text)) => octets(text),
        };
        if size.is_none_or(|size| size == 0) {
            self.bad("max_size", "is no size", "write 67108864, \"64MiB\" or \"1GB\"");
        }
        size.unwrap_or(DEFAULT_MAX_OCTETS)
    }

    /// Reads `sha256`.
    fn sha256(&mut self) -> Option<[u8; 32]> {
        let text = self.list.sha256.as_deref()?.trim();
        let digest = digest(text);
        if digest.is_none() {
            let hint = "64 hexadecimal digits, as sha256sum prints them";
            self.bad("sha256", &format!("is \"{}\"", text.escape_debug()), hint);
        }
        digest
    }

    /// Reads `minisign_key`.
    fn minisign_key(&mut self) -> Option<String> {
        let text = self.list.minisign_key.as_deref()?.trim();
        if PublicKey::from_base64(text).is_err() {
            let hint = "the line of minisign.pub that starts with RW";
            self.bad("minisign_key", &format!("is \"{}\"", text.escape_debug()), hint);
            return None;
        }
        Some(text.to_string())
    }
}

/// Reads 64 hexadecimal digits.
fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return None;
    }
    for (octet, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *octet = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// Seconds in a length of time.
pub(super) fn seconds(span: &Span) -> Option<u64> {
    let text = match span {
        Span::Seconds(seconds) => return Some(*seconds),
        Span::Text(text) => text.trim(),
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A length of time as it was written.
fn shown(span: &Span) -> String {
    match span {
        Span::Seconds(seconds) => seconds.to_string(),
        Span::Text(text) => format!("\"{}\"", text.escape_debug()),
    }
}

/// The action that a word means.
fn action(action: ListAction) -> Action {
    match action {
        ListAction::Sinkhole => Action::SINKHOLE,
        ListAction::Nodata => Action::NODATA,
        ListAction::Nxdomain => Action::NXDOMAIN,
        ListAction::Refused => Action::REFUSED,
        ListAction::Drop => Action::DROP,
        ListAction::TcpOnly => Action::TCP_ONLY,
        ListAction::Observe => Action::Observe,
        ListAction::Passthru => Action::Passthru,
    }
}

impl From<Match> for MatchKind {
    fn from(kind: Match) -> MatchKind {
        match kind {
            Match::Exact => MatchKind::Exact,
            Match::Subtree => MatchKind::Subtree,
            Match::SubtreeBelow => MatchKind::SubtreeBelow,
        }
    }
}
