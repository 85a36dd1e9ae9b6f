//! Who may speak to the API: tokens, and the tricks of web pages that a browser on this machine shows.

use std::fs;
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::MAX_BODY;
use super::fault::Fault;
use super::peer::Peer;
use super::places::{Busy, Place};
use crate::control::address::Address;
use crate::owner;
use crate::plain;
use crate::problem::Problem;

/// The shortest token, in characters: 16 of 64 are 96 bits.
const MIN_TOKEN_LEN: usize = 16;
/// Says how a request came about: Fetch Metadata §2.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The name of a token that has none.
const UNNAMED: &str = "unnamed";
/// How long a request may take, once it is read. The disk is waited for, nothing else.
const MAX_TIME: Duration = Duration::from_secs(30);
/// How long a body may take to come: whoever sends it has it at hand.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Who asks, as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who(pub String);

/// Tokens by name. A digest tells them apart, so that comparing takes as long whatever was sent.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<(String, [u8; 32])>);

/// Tokens that may become others while the API is spoken.
pub type SharedTokens = Arc<ArcSwap<Tokens>>;

/// What every request has to pass.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The tokens, one of which it must carry.
    tokens: Option<SharedTokens>,
    /// Whether a name in its Host header must be this machine's own.
    names_loopback: bool,
    /// Whether web pages could send it at all.
    is_tcp: bool,
}

impl Guard {
    /// The guard of an address.
    pub fn new(address: &Address, tokens: Option<SharedTokens>) -> Guard {
        let is_tcp = matches!(address, Address::Tcp(_));
        Guard { tokens, names_loopback: is_tcp && address.is_local(), is_tcp }
    }

    /// Whether a request may go on, and who sends it.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, head: &Parts, peer: &Peer) -> Result<Who, Fault> {
        let headers = &head.headers;
        if self.is_tcp {
            self.check_browser(head)?;
        }
        // A form of a web page can send other types without asking, JSON it cannot.
        let is_json = |value: &HeaderValue| {
            // RFC 9110 §8.3.1: parameters follow a semicolon, and types are "case-insensitive".
            let kind = value.as_bytes().split(|&octet| octet == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
        };
        if head.method == Method::POST && !only(headers, CONTENT_TYPE)?.is_some_and(is_json) {
            let hint = "send `Content-Type: application/json`, and {} if there is nothing to say";
            return Err(Fault::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body is not said to be JSON",
                hint,
            ));
        }
        let Some(tokens) = self.tokens.as_ref().map(|tokens| tokens.load()) else {
            return Ok(Who(match peer {
                Peer::Unix(Some(uid)) => format!("uid {uid}"),
                Peer::Unix(None) | Peer::Tcp(_) => "local".into(),
            }));
        };
        let sent = only(headers, AUTHORIZATION)?.and_then(|value| value.to_str().ok());
        // RFC 9110 §11.1: the scheme is "a case-insensitive token".
        let sent = sent
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"));
        match sent.map(|(_, token)| token).and_then(|token| tokens.name_of(token.trim())) {
            Some(name) => Ok(Who(format!("token {name}"))),
            None => {
                let hint = "send `Authorization: Bearer TOKEN` with a token of control.token_file; commands take --token-file";
                Err(Fault::new(StatusCode::UNAUTHORIZED, "no token, or one that is not known", hint))
            }
        }
    }

    /// Refuses what only a browser sends, led by a page that is not ours.
    fn check_browser(&self, head: &Parts) -> Result<(), Fault> {
        let text = |name| -> Result<Option<&str>, Fault> {
            // What is no text is none that we know.
            Ok(only(&head.headers, name)?.map(|value| value.to_str().unwrap_or("?")))
        };
        let host = text(HOST)?.unwrap_or_default();
        // RFC 9112 §3.2.2: of a target that names a host, that host counts, and the header is to say the same.
        let named = head.uri.authority().map_or(host, Authority::as_str);
        // A name that somebody else's DNS points here makes a page of theirs one of "this server" (DNS rebinding).
        if self.names_loopback && !(is_own(host) && is_own(named)) {
            let hint = "name the server by its address, such as 127.0.0.1, or by localhost";
            return Err(Fault::new(StatusCode::FORBIDDEN, format!("the Host header has \"{host}\""), hint));
        }
        let foreign_origin = text(ORIGIN)?.is_some_and(|origin| {
            origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) != Some(host)
        });
        // Browsers say by this header how a request came about (Fetch Metadata §2): a page of ours, or somebody who typed it.
        let foreign_site = text(SEC_FETCH_SITE)?.is_some_and(|site| site != "same-origin" && site != "none");
        if foreign_origin || foreign_site {
            return Err(Fault::new(StatusCode::FORBIDDEN, "pages of other sites may not ask", ""));
        }
        Ok(())
    }
}

/// The one header of that name, if there is one.
///
/// # Errors
/// When there are several: which one counts would be anybody's guess.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&HeaderValue>, Fault> {
    let mut all = headers.get_all(&name).iter();
    match (all.next(), all.next()) {
        (one, None) => Ok(one),
        _ => Err(Fault::new(StatusCode::BAD_REQUEST, format!("there are several headers \"{name}\""), "")),
    }
}

impl Tokens {
    /// Reads a file of tokens: one a line, perhaps with a name and a colon before it; empty lines and those with # are passed over.
    ///
    /// # Errors
    /// When it cannot be read, holds none, or one that can be guessed.
    pub fn read(path: &Path) -> Result<Tokens, Problem> {
        let place = path.display().to_string();
        let hint = "one a line, such as \"ops:\" and the output of `openssl rand -hex 32`";
        let text = fs::read_to_string(path).map_err(|error| {
            Problem::error(place.clone(), None, format!("cannot be read: {error}"))
                .hint("check control.token_file")
        })?;
        let mut tokens = Vec::new();
        for (number, line) in lines(&text) {
            let (name, token) = line.split_once(':').unwrap_or((UNNAMED, line));
            if token.chars().count() < MIN_TOKEN_LEN {
                let message = format!("a token has fewer than {MIN_TOKEN_LEN} characters");
                return Err(Problem::error(place, Some(number), message).hint(hint));
            }
            if let Some(what) = plain::fault(name) {
                let message = format!("a token's name holds the control character {what}");
                return Err(
                    Problem::error(place, Some(number), message).hint("it goes on record: take it out")
                );
            }
            tokens.push((name.trim().to_string(), digest(token)));
        }
        if tokens.is_empty() {
            return Err(Problem::error(place, None, "there is no token in it").hint(hint));
        }
        Ok(Tokens(tokens))
    }

    /// What to say of a file of tokens that others than who needs it can read or write.
    pub fn remark(path: &Path) -> Option<Problem> {
        let metadata = fs::metadata(path).ok()?;
        let place = path.display().to_string();
        if owner::is_readable_by_all(&metadata) {
            let hint = format!("`chmod o-r {place}`, and new tokens: the old ones may be known by now");
            return Some(
                Problem::warning(
                    place,
                    None,
                    "everybody on this machine may read these tokens, and so lift orders",
                )
                .hint(hint),
            );
        }
        let problem = owner::check(path, &metadata).err()?;
        Some(Problem::warning(place, None, problem.message).hint(problem.hint))
    }

    /// The name of a token.
    fn name_of(&self, token: &str) -> Option<&str> {
        let sent = digest(token);
        // All of them, and all octets: how long it takes says nothing.
        self.0.iter().fold(None, |found, (name, known)| {
            let differs = known
                .iter()
                .zip(&sent)
                .fold(0, |differs, (mine, theirs)| black_box(differs | (mine ^ theirs)));
            if differs == 0 { Some(name.as_str()) } else { found }
        })
    }
}

/// The first token of a file, for who sends it.
///
/// # Errors
/// When it cannot be read or holds none.
pub fn first_token(path: &Path) -> Result<String, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let first = lines(&text).next().map(|(_, line)| line.split_once(':').map_or(line, |(_, token)| token));
    first.map(str::to_string).ok_or_else(|| format!("{} has no token in it", path.display()))
}

/// The lines of a token file that have something on them.
fn lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// A token's digest.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Whether a Host header names this machine: an address, which no DNS can lend to others, or localhost.
///
/// RFC 3986 §3.2: a host and perhaps a colon and a port, and nothing else; an IPv6 address stands in brackets.
fn is_own(host: &str) -> bool {
    let (is_own, rest) = match host.strip_prefix('[').map(|inner| inner.split_once(']')) {
        Some(Some((address, rest))) => (address.parse::<Ipv6Addr>().is_ok(), rest),
        Some(None) => return false,
        None => {
            let (name, rest) = host.split_at(host.find(':').unwrap_or(host.len()));
            (name.parse::<Ipv4Addr>().is_ok() || name.eq_ignore_ascii_case("localhost"), rest)
        }
    };
    let is_port = |port: &str| {
        port.bytes().all(|octet| octet.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
    };
    is_own && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

/// Lets a request through, or not; bounds the time it takes.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let peer = head.extensions.get().cloned().unwrap_or(Peer::Tcp(None));
    match guard.check(&head, &peer) {
        Ok(who) => head.extensions.insert(who),
        Err(fault) => {
            let mut response = fault.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            return response;
        }
    };
    // Read here, so that a connection counts as silent until its request has come.
    let body = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => {
            let error = format!("the body cannot be taken: {error}; it may have {MAX_BODY} octets");
            return Fault::new(StatusCode::PAYLOAD_TOO_LARGE, error, "send it in parts").into_response();
        }
        Err(_) => {
            return Fault::new(StatusCode::REQUEST_TIMEOUT, "the body took too long", "").into_response();
        }
    };
    let _busy = head.extensions.get::<Arc<Place>>().cloned().map(Busy::new);
    match tokio::time::timeout(MAX_TIME, next.run(Request::from_parts(head, body.into()))).await {
        Ok(response) => response,
        Err(_) => Fault::new(StatusCode::REQUEST_TIMEOUT, "the request took too long", "").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123";

    /// What a request with these headers gets.
    fn checked(address: &str, tokens: Option<&str>, method: Method, headers: &[(&str, &str)]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let tokens = tokens.map(|text| {
            let path = dir.path().join("tokens");
            fs::write(&path, text).unwrap();
            Tokens::read(&path).unwrap()
        });
        let tokens = tokens.map(|tokens| Arc::new(ArcSwap::from_pointee(tokens)));
        let guard = Guard::new(&address.parse().unwrap(), tokens);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let peer = if address.starts_with("unix:") { Peer::Unix(Some(7)) } else { Peer::Tcp(None) };
        let (mut head, ()) = Request::new(()).into_parts();
        (head.method, head.headers) = (method, map);
        match guard.check(&head, &peer) {
            Ok(Who(who)) => who,
            Err(fault) => fault.into_response().status().as_u16().to_string(),
        }
    }

    #[test]
    fn who_gets_in() {
        const LOOP: &str = "127.0.0.1:5380";
        const FAR: &str = "192.0.2.1:5380";
        let own = ("host", "127.0.0.1:5380");
        let json = ("content-type", "application/json");
        let bearer = ("authorization", "Bearer 0123456789abcdef0123");
        let both = format!("# two\nops:{TOKEN}\n\nfedcba9876543210fedc\n");
        for (address, tokens, method, headers, expected) in [
            ("unix:/x", None, Method::GET, &[][..], "uid 7"),
            ("unix:/x", None, Method::GET, &[("host", "anything")], "uid 7"),
            ("unix:/x", None, Method::POST, &[], "415"),
            ("unix:/x", None, Method::POST, &[json], "uid 7"),
            ("unix:/x", Some(TOKEN), Method::GET, &[], "401"),
            (LOOP, None, Method::GET, &[own], "local"),
            (LOOP, None, Method::GET, &[("host", "localhost:5380")], "local"),
            (LOOP, None, Method::GET, &[("host", "LOCALHOST")], "local"),
            (LOOP, None, Method::GET, &[("host", "[::1]:5380")], "local"),
            (LOOP, None, Method::GET, &[], "403"),
            (LOOP, None, Method::GET, &[("host", "evil.example:5380")], "403"),
            (LOOP, None, Method::GET, &[("host", "127.0.0.1.evil.example")], "403"),
            (LOOP, None, Method::GET, &[("host", "[::1].evil.example")], "403"),
            (LOOP, None, Method::GET, &[own, own], "400"),
            (
                LOOP,
                None,
                Method::GET,
                &[own, ("origin", "http://127.0.0.1:5380"), ("origin", "http://evil.example")],
                "400",
            ),
            (LOOP, None, Method::GET, &[own, ("origin", "http://evil.example")], "403"),
            (LOOP, None, Method::GET, &[own, ("origin", "http://127.0.0.1:5380.evil.example")], "403"),
            (LOOP, None, Method::GET, &[own, ("origin", "http://127.0.0.1")], "403"),
            (LOOP, None, Method::GET, &[own, ("origin", "evil://127.0.0.1:5380")], "403"),
            (LOOP, None, Method::GET, &[own, ("origin", "")], "403"),
            (LOOP, None, Method::GET, &[own, ("sec-fetch-site", "cross-site")], "403"),
            (LOOP, None, Method::GET, &[own, ("sec-fetch-site", "same-site")], "403"),
            (LOOP, None, Method::GET, &[own, ("sec-fetch-site", "same-origin")], "local"),
            (LOOP, None, Method::GET, &[own, ("sec-fetch-site", "none")], "local"),
            (LOOP, None, Method::POST, &[own, ("content-type", "application/jsonx")], "415"),
            (LOOP, None, Method::POST, &[own, ("content-type", "Application/JSON ;charset=utf-8")], "local"),
            (LOOP, None, Method::POST, &[own, json, json], "400"),
            (LOOP, None, Method::GET, &[own, ("origin", "null")], "403"),
            (LOOP, None, Method::GET, &[own, ("origin", "http://127.0.0.1:5380")], "local"),
            (LOOP, None, Method::POST, &[own, ("content-type", "text/plain")], "415"),
            (LOOP, None, Method::POST, &[own, ("content-type", "application/json; charset=utf-8")], "local"),
            (LOOP, Some(&both), Method::GET, &[own], "401"),
            (LOOP, Some(&both), Method::GET, &[own, bearer], "token ops"),
            (LOOP, Some(&both), Method::GET, &[own, ("authorization", "Basic 0123456789abcdef0123")], "401"),
            (LOOP, Some(&both), Method::GET, &[own, ("authorization", "Bearer 0123456789abcdef012")], "401"),
            (
                LOOP,
                Some(&both),
                Method::GET,
                &[own, ("authorization", "Bearer 0123456789abcdef01234")],
                "401",
            ),
            (
                LOOP,
                Some(&both),
                Method::GET,
                &[own, ("authorization", "bearer fedcba9876543210fedc")],
                "token unnamed",
            ),
            (LOOP, Some(&both), Method::GET, &[("host", "evil.example"), bearer], "403"),
            (FAR, Some(&both), Method::GET, &[("host", "resolver.example"), bearer], "token ops"),
            (FAR, Some(&both), Method::GET, &[("host", "resolver.example")], "401"),
        ] {
            assert_eq!(
                checked(address, tokens, method.clone(), headers),
                expected,
                "{address} {method} {headers:?}"
            );
        }
    }

    #[test]
    fn hosts_are_read_to_their_end() {
        for own in [
            "127.0.0.1",
            "127.0.0.1:1",
            "192.0.2.1:65535",
            "localhost",
            "LocalHost:80",
            "localhost:",
            "[::1]",
            "[::1]:5380",
        ] {
            assert!(is_own(own), "{own}");
        }
        for other in [
            "",
            ":",
            ":80",
            "[",
            "[]",
            "[::1",
            "[::1]x",
            "[::1].evil.example",
            "[::1]:80.evil.example",
            "[::1]:80:80",
            "::1",
            "[127.0.0.1]",
            "[localhost]",
            "localhost.evil.example",
            "localhost:x",
            "localhost:65536",
            "localhost:-1",
            "localhost:+1",
            "127.0.0.1:80@evil.example",
            "evil.example",
            "evil.example:80",
            "127.0.0.1.evil.example",
            "u@127.0.0.1",
            "127.0.0.1 ",
            "127.1",
            "0x7f.0.0.1",
            "localhost.",
            "evil.example/127.0.0.1",
            "?",
        ] {
            assert!(!is_own(other), "{other}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_token_file_that_others_read_is_remarked_on() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        fs::write(&path, TOKEN).unwrap();
        for (mode, expected) in [
            (0o600, ""),
            (0o640, ""),
            (0o644, "everybody on this machine may read"),
            (0o602, "everybody may write to it"),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let said = Tokens::remark(&path).map_or(String::new(), |problem| problem.message);
            assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{mode:o}: {said}");
        }
    }

    #[test]
    fn bad_token_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        for (text, expected) in [
            ("", "there is no token in it"),
            ("# nothing\n\n", "there is no token in it"),
            ("\nops:short\n", "tokens:2: a token has fewer than 16 characters"),
            ("o\u{1b}ps:0123456789abcdef", "tokens:1: a token's name holds the control character \\u001b"),
        ] {
            fs::write(&path, text).unwrap();
            let problem = Tokens::read(&path).unwrap_err().to_string();
            assert!(problem.contains(expected), "{text:?}: {problem}");
        }
        assert!(Tokens::read(&dir.path().join("gone")).unwrap_err().to_string().contains("cannot be read"));
        fs::write(&path, format!("# x\nops:{TOKEN}\n")).unwrap();
        assert_eq!(first_token(&path), Ok(TOKEN.to_string()));
    }
}
