//! A source as a value: where a list comes from, how often, and what a copy must be like to be taken.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use minisign_verify::PublicKey;
use reqwest::Url;

use super::error::SpecError;

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
    pub fn check(&self) -> Result<(), SpecError> {
        check_name(&self.name)?;
        if self.refresh < MIN_REFRESH {
            return Err(SpecError::TooOften { shortest: MIN_REFRESH });
        }
        if self.refresh > MAX_REFRESH {
            return Err(SpecError::TooSeldom { longest: MAX_REFRESH });
        }
        if self.retries > MAX_RETRIES || self.back_off > MAX_BACK_OFF {
            return Err(SpecError::Retries { most: MAX_RETRIES, longest: MAX_BACK_OFF });
        }
        if self.max_shrink_percent > 100 {
            return Err(SpecError::NoPercentage);
        }
        if matches!(self.location, Location::Path(_)) && (self.sha256.is_some() || self.minisign.is_some()) {
            return Err(SpecError::VouchedFile);
        }
        if self.signature.is_some() && self.minisign.is_none() {
            return Err(SpecError::SignatureWithoutKey);
        }
        let nothing = [self.limits.connect, self.limits.total, self.limits.stall_window];
        if self.limits.max_octets == 0 || nothing.iter().any(Duration::is_zero) {
            return Err(SpecError::NoLimit);
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
fn check_name(name: &str) -> Result<(), SpecError> {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > MAX_NAME_LEN || name.starts_with('.') || !name.bytes().all(fits) {
        return Err(SpecError::Name { name: name.to_owned(), longest: MAX_NAME_LEN });
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
    type Err = SpecError;

    /// Reads a URL or a path; what has `://` in it is a URL.
    fn from_str(text: &str) -> Result<Location, SpecError> {
        if text.is_empty() {
            return Err(SpecError::NoLocation);
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
fn web_address(text: &str) -> Result<Url, SpecError> {
    let url = Url::parse(text)
        .map_err(|error| SpecError::NoUrl { text: text.to_owned(), error: error.to_string() })?;
    match url.scheme() {
        "http" | "https" => {}
        "file" => return Err(SpecError::FileUrl(url.path().to_owned())),
        scheme => return Err(SpecError::Scheme(scheme.to_owned())),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SpecError::Password);
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
    type Err = SpecError;

    /// Reads 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Digest, SpecError> {
        let text = text.trim();
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
        let octets = digits.map(|digits| {
            digits.chunks(2).map(|pair| pair.iter().fold(0, |high, low| high << 4 | low)).collect()
        });
        let octets: Option<[u8; DIGEST_LEN]> = octets.and_then(|octets: Vec<u8>| octets.try_into().ok());
        let digest = octets.filter(|_| text.len() == 2 * DIGEST_LEN).map(Digest);
        digest.ok_or_else(|| SpecError::NoDigest(text.to_owned()))
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
    type Err = SpecError;

    /// Reads the base64 line of a `minisign.pub`, alone or behind its comment.
    fn from_str(text: &str) -> Result<SigningKey, SpecError> {
        let line = text.trim().lines().next_back().unwrap_or_default().trim();
        let key = PublicKey::from_base64(line).map_err(|_| SpecError::NoKey(line.to_owned()))?;
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
        for (given, error) in [
            ("", SpecError::NoLocation),
            ("https://", SpecError::NoUrl { text: "https://".into(), error: "empty host".into() }),
            ("ftp://lists.example/a", SpecError::Scheme("ftp".into())),
            ("file:///etc/hosts", SpecError::FileUrl("/etc/hosts".into())),
            ("https://me:secret@lists.example/", SpecError::Password),
            ("https://me@lists.example/", SpecError::Password),
        ] {
            assert_eq!(given.parse::<Location>(), Err(error), "{given}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let key = "RWSmIjnFXf+oj8LKajl+Aey61KC3OXkhfVyY+0sYHiG2+wAjGnUkPwfn";
        type Edit = fn(&mut Source, &str);
        let name = |name: &str| Err(SpecError::Name { name: name.to_owned(), longest: 64 });
        let minute = Duration::from_secs(60);
        let retries = SpecError::Retries { most: 10, longest: minute };
        let cases: [(&str, Edit, Result<(), SpecError>); 17] = [
            ("as it is", |_, _| {}, Ok(())),
            ("every sign", |source, _| source.name = "A-z_0.9".into(), Ok(())),
            ("signed", |source, key| source.minisign = key.parse().ok(), Ok(())),
            ("no name", |source, _| source.name.clear(), name("")),
            ("a path", |source, _| source.name = "../x".into(), name("../x")),
            ("hidden", |source, _| source.name = ".x".into(), name(".x")),
            ("long", |source, _| source.name = "x".repeat(65), name(&"x".repeat(65))),
            ("not ASCII", |source, _| source.name = "é".into(), name("é")),
            (
                "often",
                |source, _| source.refresh = Duration::from_secs(59),
                Err(SpecError::TooOften { shortest: minute }),
            ),
            (
                "seldom",
                |source, _| source.refresh = Duration::MAX,
                Err(SpecError::TooSeldom { longest: MAX_REFRESH }),
            ),
            ("obstinate", |source, _| source.retries = 11, Err(retries.clone())),
            ("patient", |source, _| source.back_off = Duration::MAX, Err(retries)),
            ("shrink", |source, _| source.max_shrink_percent = 101, Err(SpecError::NoPercentage)),
            ("no time", |source, _| source.limits.total = Duration::ZERO, Err(SpecError::NoLimit)),
            ("no room", |source, _| source.limits.max_octets = 0, Err(SpecError::NoLimit)),
            (
                "no key",
                |source, _| source.signature = "http://x/".parse().ok(),
                Err(SpecError::SignatureWithoutKey),
            ),
            (
                "signed file",
                |source, key| {
                    source.location = Location::Path("x".into());
                    source.minisign = key.parse().ok();
                },
                Err(SpecError::VouchedFile),
            ),
        ];
        for (what, edit, expected) in cases {
            let mut source = Source::new("x", "https://lists.example/x".parse().unwrap());
            edit(&mut source, key);
            assert_eq!(source.check(), expected, "{what}");
        }
    }

    #[test]
    fn digests_and_keys() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(digest.parse::<Digest>().unwrap().to_string(), digest);
        assert_eq!(digest.to_uppercase().parse::<Digest>().unwrap().to_string(), digest);
        for bad in ["", "12", &digest[1..], &format!("{digest}00"), &digest.replace('a', "g")] {
            assert_eq!(bad.parse::<Digest>(), Err(SpecError::NoDigest(bad.to_owned())));
        }
        let key = "RWSmIjnFXf+oj8LKajl+Aey61KC3OXkhfVyY+0sYHiG2+wAjGnUkPwfn";
        for given in [key.to_owned(), format!("untrusted comment: mine\n{key}\n")] {
            assert_eq!(given.parse::<SigningKey>().unwrap().to_string(), key);
        }
        for bad in ["", "RW", &key[1..], "untrusted comment: mine"] {
            assert_eq!(bad.parse::<SigningKey>(), Err(SpecError::NoKey(bad.to_owned())));
        }
    }

    #[test]
    fn an_open_door_is_pointed_at() {
        for (location, advised) in [("http://x/", true), ("https://x/", false), ("x", false)] {
            assert_eq!(Source::new("x", location.parse().unwrap()).advice().is_some(), advised, "{location}");
        }
    }
}
