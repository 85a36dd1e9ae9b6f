//! Who may speak to the API: tokens, and the tricks of web pages that a browser on this machine shows.

use std::fs;
use std::hint::black_box;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::fault::Fault;
use super::listen::Peer;
use crate::control::address::Address;
use crate::problem::Problem;

/// The shortest token, in characters: 16 of 64 are 96 bits.
const MIN_TOKEN_LEN: usize = 16;
/// The name of a token that has none.
const UNNAMED: &str = "unnamed";
/// How long a request may take, the reading of its body included. The disk is waited for, nothing else.
const MAX_TIME: Duration = Duration::from_secs(30);

/// Who asks, as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who(pub String);

/// Tokens by name. A digest tells them apart, so that comparing takes as long whatever was sent.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<(String, [u8; 32])>);

/// What every request has to pass.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The tokens, one of which it must carry.
    tokens: Option<Tokens>,
    /// Whether a name in its Host header must be this machine's own.
    names_loopback: bool,
    /// Whether web pages could send it at all.
    is_tcp: bool,
}

impl Guard {
    /// The guard of an address.
    pub fn new(address: &Address, tokens: Option<Tokens>) -> Guard {
        let is_tcp = matches!(address, Address::Tcp(_));
        Guard { tokens, names_loopback: is_tcp && address.is_local(), is_tcp }
    }

    /// Whether a request may go on, and who sends it.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, method: &Method, headers: &HeaderMap, peer: &Peer) -> Result<Who, Fault> {
        if self.is_tcp {
            self.check_browser(headers)?;
        }
        // A form of a web page can send other types without asking, JSON it cannot.
        let is_json = |value: &HeaderValue| value.as_bytes().starts_with(b"application/json");
        if *method == Method::POST && !headers.get(CONTENT_TYPE).is_some_and(is_json) {
            let hint = "send `Content-Type: application/json`, and {} if there is nothing to say";
            return Err(Fault::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body is not said to be JSON",
                hint,
            ));
        }
        let Some(tokens) = &self.tokens else {
            return Ok(Who(match peer {
                Peer::Unix(Some(uid)) => format!("uid {uid}"),
                Peer::Unix(None) | Peer::Tcp => "local".into(),
            }));
        };
        let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let sent =
            sent.and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")));
        match sent.and_then(|token| tokens.name_of(token.trim())) {
            Some(name) => Ok(Who(format!("token {name}"))),
            None => {
                let hint = "send `Authorization: Bearer TOKEN` with a token of control.token_file; commands take --token-file";
                Err(Fault::new(StatusCode::UNAUTHORIZED, "no token, or one that is not known", hint))
            }
        }
    }

    /// Refuses what only a browser sends, led by a page that is not ours.
    fn check_browser(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let host = text(HOST).unwrap_or_default();
        // A name that somebody else's DNS points here makes a page of theirs one of "this server" (DNS rebinding).
        if self.names_loopback && !is_own(host) {
            let hint = "name the server by its address, such as 127.0.0.1, or by localhost";
            return Err(Fault::new(StatusCode::FORBIDDEN, format!("the Host header has \"{host}\""), hint));
        }
        let foreign =
            text(ORIGIN).is_some_and(|origin| origin.split_once("://").is_none_or(|(_, from)| from != host));
        if foreign {
            return Err(Fault::new(StatusCode::FORBIDDEN, "pages of other sites may not ask", ""));
        }
        Ok(())
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
            tokens.push((name.trim().to_string(), digest(token)));
        }
        if tokens.is_empty() {
            return Err(Problem::error(place, None, "there is no token in it").hint(hint));
        }
        Ok(Tokens(tokens))
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
fn is_own(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

/// Lets a request through, or not; bounds the time it takes.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get().cloned().unwrap_or(Peer::Tcp);
    match guard.check(request.method(), request.headers(), &peer) {
        Ok(who) => request.extensions_mut().insert(who),
        Err(fault) => {
            let mut response = fault.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            return response;
        }
    };
    match tokio::time::timeout(MAX_TIME, next.run(request)).await {
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
        let guard = Guard::new(&address.parse().unwrap(), tokens);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let peer = if address.starts_with("unix:") { Peer::Unix(Some(7)) } else { Peer::Tcp };
        match guard.check(&method, &map, &peer) {
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
            (LOOP, None, Method::GET, &[own, ("origin", "http://evil.example")], "403"),
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
    fn bad_token_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        for (text, expected) in [
            ("", "there is no token in it"),
            ("# nothing\n\n", "there is no token in it"),
            ("\nops:short\n", "tokens:2: a token has fewer than 16 characters"),
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
