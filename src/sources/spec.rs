//! A source as a value: where a list comes from, how often, and what a copy must be like to be taken.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use minisign_verify::PublicKey;
use reqwest::Url;

/// Octets in the longest name: it becomes a file name, with an ending.
pub const MAX_NAME_LEN: usize = 64;
/// Nobody is asked more often than this, whatever the settings say.
pub const MIN_REFRESH: Duration = Duration::from_secs(60);
/// A list that is asked for less often than once a year is one that is not asked for.
pub const MAX_REFRESH: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Tries after the first, at most; the next refresh is not far.
pub const MAX_RETRIES: u32 = 10;
/// The longest first pause between tries.
pub const MAX_BACK_OFF: Duration = Duration::from_secs(60);
/// Most lists change once a day.
const DEFAULT_REFRESH: Duration = Duration::from_secs(24 * 60 * 60);
/// Octets in a SHA-256 digest (FIPS 180-4).
const DIGEST_LEN: usize = 32;

/// Where a list comes from, and what a copy of it must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is called: letters, digits, `-`, `_` and `.`, up to [`MAX_NAME_LEN`] of them, the first no dot.
    pub name: String,
    /// Where it is.
    pub location: Location,
    /// How often it is asked for news, give or take a tenth; a day by default, [`MIN_REFRESH`] to [`MAX_REFRESH`].
    pub refresh: Duration,
    /// Bounds of one download.
    pub limits: Limits,
    /// Tries after the first within one refresh, for what may pass; 3 by default, up to [`MAX_RETRIES`].
    pub retries: u32,
    /// The pause before the first of them, doubled with each and spread at random; a second by default,
    /// up to [`MAX_BACK_OFF`].
    pub back_off: Duration,
    /// What the file, as served or unpacked, must hash to, if that is known.
    pub sha256: Option<Digest>,
    /// Who must have signed the file, as served or unpacked, if somebody must.
    pub minisign: Option<SigningKey>,
    /// Where the signature is; by default at the list's URL with `.minisig` behind the path.
    pub signature: Option<Url>,
    /// Entries that a copy must have at least; 1 by default.
    pub min_entries: u64,
    /// By how many in a hundred entries a copy may shrink against the last good one; 50 by default, 100 is no bound.
    pub max_shrink_percent: u8,
    /// Addresses of the URL's host; if there are any, its name is not looked up.
    pub addresses: Vec<IpAddr>,
}

/// Where a list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file, or a folder of files. It is read where it is; here it is only looked at.
    Path(PathBuf),
    /// `http://` or `https://`; a copy is kept.
    Url(Url),
}

/// Bounds of one download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets on the wire, and again unpacked; 256 MiB by default.
    pub max_octets: u64,
    /// How long connecting may take; 10 seconds by default.
    pub connect: Duration,
    /// How long all of one try may take; 60 seconds by default.
    pub total: Duration,
    /// Within each such time ...; 10 seconds by default.
    pub stall_window: Duration,
    /// ... at least so many octets must come; 10 KiB by default.
    pub stall_octets: u64,
}

/// A SHA-256 digest, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; DIGEST_LEN]);

/// A minisign public key, written as the line of base64 that `minisign -G` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// As it was written.
    text: String,
    /// As it is used.
    pub(super) key: PublicKey,
}

impl Source {
    /// A source with the defaults.
    pub fn new(name: impl Into<String>, location: Location) -> Source {
        Source {
            name: name.into(),
            location,
            refresh: DEFAULT_REFRESH,
            limits: Limits::default(),
            retries: 3,
            back_off: Duration::from_secs(1),
            sha256: None,
            minisign: None,
            signature: None,
            min_entries: 1,
            max_shrink_percent: 50,
            addresses: Vec::new(),
        }
    }

    /// Whether it can be used.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn check(&self) -> Result<(), String> {
        check_name(&self.name)?;
        if self.refresh < MIN_REFRESH {
            return Err(format!("it would be refreshed more often than every {} s", MIN_REFRESH.as_secs()));
        }
        if self.refresh > MAX_REFRESH {
            return Err(format!("it would be refreshed less often than every {} s", MAX_REFRESH.as_secs()));
        }
        if self.retries > MAX_RETRIES || self.back_off > MAX_BACK_OFF {
            let longest = MAX_BACK_OFF.as_secs();
            return Err(format!("retries are at most {MAX_RETRIES}, the first after {longest} s at most"));
        }
        if self.max_shrink_percent > 100 {
            return Err("max_shrink is a percentage: 0 to 100".to_owned());
        }
        if matches!(self.location, Location::Path(_)) && (self.sha256.is_some() || self.minisign.is_some()) {
            return Err(
                "sha256 and minisign are for downloads; who may write a file here may write both".to_owned()
            );
        }
        if self.signature.is_some() && self.minisign.is_none() {
            return Err("signature is given without minisign, the key to check it by".to_owned());
        }
        let nothing = [self.limits.connect, self.limits.total, self.limits.stall_window];
        if self.limits.max_octets == 0 || nothing.iter().any(Duration::is_zero) {
            return Err("a limit of nothing lets nothing in".to_owned());
        }
        Ok(())
    }

    /// What should be looked at though it works; none if nothing should.
    pub fn advice(&self) -> Option<&'static str> {
        let Location::Url(url) = &self.location else { return None };
        let open = url.scheme() == "http" && self.sha256.is_none() && self.minisign.is_none();
        open.then_some(
            "anybody on the way can change what http:// brings: use https://, or set minisign or sha256",
        )
    }

    /// What vouches for a copy, in a form to compare: a copy taken on other terms is not one of these.
    pub(super) fn terms(&self) -> String {
        let sha256 = self.sha256.map(|digest| format!("sha256 {digest}"));
        let minisign = self.minisign.as_ref().map(|key| format!("minisign {key}"));
        [sha256, minisign].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Whether a name can be a source's, and part of a file name on any system.
fn check_name(name: &str) -> Result<(), String> {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > MAX_NAME_LEN || name.starts_with('.') || !name.bytes().all(fits) {
        return Err(format!(
            "{name:?} cannot be a source's name: use letters, digits, `-`, `_` and `.`, up to {MAX_NAME_LEN}, the first no dot"
        ));
    }
    Ok(())
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_octets: 256 << 20,
            connect: Duration::from_secs(10),
            total: Duration::from_secs(60),
            stall_window: Duration::from_secs(10),
            stall_octets: 10 << 10,
        }
    }
}

impl FromStr for Location {
    type Err = String;

    /// Reads a URL or a path; what has `://` in it is a URL.
    fn from_str(text: &str) -> Result<Location, String> {
        if text.is_empty() {
            return Err("a source is a file, a folder or a URL; this is empty".to_owned());
        }
        if !text.contains("://") {
            return Ok(Location::Path(PathBuf::from(text)));
        }
        web_address(text).map(Location::Url)
    }
}

/// Reads an address that can be fetched from.
///
/// # Errors
/// Why it cannot.
fn web_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    match url.scheme() {
        "http" | "https" => {}
        "file" => return Err(format!("write a file as a path: {}", url.path())),
        scheme => return Err(format!("{scheme}:// is not fetched; there are http:// and https://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a password in a URL would end up in logs; lists are fetched without one".to_owned());
    }
    Ok(url)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Path(path) => path.display().fmt(f),
            Location::Url(url) => url.fmt(f),
        }
    }
}

impl FromStr for Digest {
    type Err = String;

    /// Reads 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Digest, String> {
        let text = text.trim();
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
        let octets = digits.map(|digits| {
            digits.chunks(2).map(|pair| pair.iter().fold(0, |high, low| high << 4 | low)).collect()
        });
        let octets: Option<[u8; DIGEST_LEN]> = octets.and_then(|octets: Vec<u8>| octets.try_into().ok());
        octets.filter(|_| text.len() == 2 * DIGEST_LEN).map(Digest).ok_or_else(|| {
            format!("{text:?} is no SHA-256 digest: it has 64 hexadecimal digits, as sha256sum prints")
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SigningKey {
    type Err = String;

    /// Reads the base64 line of a `minisign.pub`, alone or behind its comment.
    fn from_str(text: &str) -> Result<SigningKey, String> {
        let line = text.trim().lines().next_back().unwrap_or_default().trim();
        let key = PublicKey::from_base64(line)
            .map_err(|_| format!("{line:?} is no minisign public key: it is the line that starts with RW"))?;
        Ok(SigningKey { text: line.to_owned(), key })
    }
}

impl fmt::Display for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        for (given, shown) in [
            ("lists/a.txt", "lists/a.txt"),
            ("/var/lists/", "/var/lists/"),
            ("http:/x", "http:/x"),
            ("https://Lists.Example/a.txt?x=1", "https://lists.example/a.txt?x=1"),
            ("http://192.0.2.1:8080", "http://192.0.2.1:8080/"),
        ] {
            assert_eq!(given.parse::<Location>().map(|location| location.to_string()), Ok(shown.to_owned()));
        }
        for (given, part) in [
            ("", "empty"),
            ("https://", "is no URL"),
            ("ftp://lists.example/a", "there are http:// and https://"),
            ("file:///etc/hosts", "write a file as a path: /etc/hosts"),
            ("https://me:secret@lists.example/", "would end up in logs"),
            ("https://me@lists.example/", "would end up in logs"),
        ] {
            let error = given.parse::<Location>().unwrap_err();
            assert!(error.contains(part), "{given}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let key = "RWSmIjnFXf+oj8LKajl+Aey61KC3OXkhfVyY+0sYHiG2+wAjGnUkPwfn";
        type Edit = fn(&mut Source, &str);
        let cases: [(&str, Edit, &str); 17] = [
            ("as it is", |_, _| {}, ""),
            ("every sign", |source, _| source.name = "A-z_0.9".into(), ""),
            ("signed", |source, key| source.minisign = key.parse().ok(), ""),
            ("no name", |source, _| source.name.clear(), "cannot be a source's name"),
            ("a path", |source, _| source.name = "../x".into(), "cannot be a source's name"),
            ("hidden", |source, _| source.name = ".x".into(), "cannot be a source's name"),
            ("long", |source, _| source.name = "x".repeat(65), "cannot be a source's name"),
            ("not ASCII", |source, _| source.name = "é".into(), "cannot be a source's name"),
            ("often", |source, _| source.refresh = Duration::from_secs(59), "more often than every 60 s"),
            ("seldom", |source, _| source.refresh = Duration::MAX, "less often"),
            ("obstinate", |source, _| source.retries = 11, "at most 10"),
            ("patient", |source, _| source.back_off = Duration::MAX, "after 60 s at most"),
            ("shrink", |source, _| source.max_shrink_percent = 101, "0 to 100"),
            ("no time", |source, _| source.limits.total = Duration::ZERO, "lets nothing in"),
            ("no room", |source, _| source.limits.max_octets = 0, "lets nothing in"),
            ("no key", |source, _| source.signature = "http://x/".parse().ok(), "without minisign"),
            (
                "signed file",
                |source, key| {
                    source.location = Location::Path("x".into());
                    source.minisign = key.parse().ok();
                },
                "for downloads",
            ),
        ];
        for (what, edit, part) in cases {
            let mut source = Source::new("x", "https://lists.example/x".parse().unwrap());
            edit(&mut source, key);
            match source.check() {
                Ok(()) => assert_eq!(part, "", "{what}"),
                Err(error) => assert!(!part.is_empty() && error.contains(part), "{what}: {error}"),
            }
        }
    }

    #[test]
    fn digests_and_keys() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(digest.parse::<Digest>().unwrap().to_string(), digest);
        assert_eq!(digest.to_uppercase().parse::<Digest>().unwrap().to_string(), digest);
        for bad in ["", "12", &digest[1..], &format!("{digest}00"), &digest.replace('a', "g")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        let key = "RWSmIjnFXf+oj8LKajl+Aey61KC3OXkhfVyY+0sYHiG2+wAjGnUkPwfn";
        for given in [key.to_owned(), format!("untrusted comment: mine\n{key}\n")] {
            assert_eq!(given.parse::<SigningKey>().unwrap().to_string(), key);
        }
        for bad in ["", "RW", &key[1..], "untrusted comment: mine"] {
            assert!(bad.parse::<SigningKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_open_door_is_pointed_at() {
        for (location, advised) in [("http://x/", true), ("https://x/", false), ("x", false)] {
            assert_eq!(Source::new("x", location.parse().unwrap()).advice().is_some(), advised, "{location}");
        }
    }
}
