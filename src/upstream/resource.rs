//! What a server is asked for over HTTP: a path, and how a question goes there.

use std::fmt;

/// Port of HTTP over TLS, which a URL need not say (RFC 9110 §4.2.2).
pub(super) const HTTPS_PORT: u16 = 443;
/// The path that is meant where none is said, as RFC 8484 §4.1.1 has it in its examples.
const USUAL_PATH: &str = "/dns-query";
/// What stands behind a path whose questions go into the URL: the template of RFC 8484 §4.1.1.
const IN_URL: &str = "{?dns}";
/// What a path may hold beside letters and digits (RFC 3986 §3.3).
const ALSO_IN_PATH: &[u8] = b"-._~%!$&'()*+,;=:@/";

/// A path on a server, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Absolute, and without a query.
    path: String,
    /// Whether a question goes into the URL (GET), which caches on the way understand, and not behind it (POST), which is shorter.
    in_url: bool,
}

/// Why a text says no resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadResource {
    /// Something that a path cannot hold.
    Path(String),
    /// A template for something other than a DNS query.
    Template(String),
}

impl Resource {
    /// Reads what follows an address: `/path`, `/path{?dns}`, or either without the path. What begins with a question mark behind
    /// it is given back.
    pub(super) fn read(text: &str) -> Result<(Resource, Option<&str>), BadResource> {
        let (path, rest) = text.split_at(text.find(['{', '?']).unwrap_or(text.len()));
        let (in_url, rest) = rest.strip_prefix(IN_URL).map_or((false, rest), |rest| (true, rest));
        let parameters = match rest.strip_prefix('?') {
            None if !rest.is_empty() => return Err(BadResource::Template(rest.to_owned())),
            parameters => parameters,
        };
        let path = if path.is_empty() { USUAL_PATH } else { path };
        Ok((Resource::new(path, in_url)?, parameters))
    }

    /// A path, and whether questions go into the URL.
    pub(super) fn new(path: &str, in_url: bool) -> Result<Resource, BadResource> {
        let fits = |octet: &u8| octet.is_ascii_alphanumeric() || ALSO_IN_PATH.contains(octet);
        match path.starts_with('/') && path.as_bytes().iter().all(fits) {
            true => Ok(Resource { path: path.to_owned(), in_url }),
            false => Err(BadResource::Path(path.to_owned())),
        }
    }

    /// The path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether questions go into the URL.
    pub(super) fn is_in_url(&self) -> bool {
        self.in_url
    }
}

impl fmt::Display for Resource {
    /// As it stands behind an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path, if self.in_url { IN_URL } else { "" })
    }
}

impl fmt::Display for BadResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadResource::Path(path) => {
                write!(f, "{path:?} is no path; it begins with / and is percent-encoded")
            }
            BadResource::Template(template) => {
                write!(f, "{template:?} does not belong behind a path; {IN_URL} does, to ask by GET")
            }
        }
    }
}

impl std::error::Error for BadResource {}
