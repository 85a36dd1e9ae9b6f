//! One request over HTTP, and what its failures mean.

use std::error::Error;
use std::io;
use std::sync::Arc;

use reqwest::header::{ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};

use super::copies::Record;
use super::error::{BadRedirect, NetworkError};
use super::lookup::{Lookup, Resolver};
use super::spec::Source;

/// Redirects followed: mirrors and a change of name take two or three.
const MAX_REDIRECTS: usize = 5;
/// Octets of the longest validator kept; a longer one is not a validator but an attempt to fill our disk.
const MAX_VALIDATOR_LEN: usize = 1024;

/// What all requests share.
pub(super) struct Http {
    tls: ClientConfig,
    lookup: Arc<dyn Lookup>,
}

impl Http {
    /// Trusts the authorities that browsers trust, as built in: a container has no list of its own.
    pub(super) fn new(lookup: Arc<dyn Lookup>) -> Http {
        Http::trusting(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }, lookup)
    }

    /// Trusts these authorities.
    pub(super) fn trusting(roots: RootCertStore, lookup: Arc<dyn Lookup>) -> Http {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Http { tls, lookup }
    }

    /// A client for one refresh. Lists are fetched once a day: one that lived longer would only hold connections.
    pub(super) fn client(&self, source: &Source, url: &Url) -> Result<Client, NetworkError> {
        let host = url.host_str().filter(|_| !source.addresses.is_empty());
        let given = host.map(|host| (host.to_owned(), source.addresses.clone()));
        Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(Resolver { lookup: self.lookup.clone(), given })
            // What the environment says is for people's programs; a service goes where its configuration says.
            .no_proxy()
            .redirect(Policy::custom(redirect))
            .referer(false)
            // We count tries ourselves.
            .retry(reqwest::retry::never())
            .connect_timeout(source.limits.connect)
            .user_agent(concat!("sinkscope/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| explain(&error))
    }
}

/// Follows a redirect, or says why not.
fn redirect(attempt: Attempt<'_>) -> Action {
    match may_follow(attempt.previous(), attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(why) => attempt.error(why),
    }
}

/// Whether a redirect to `next` may be followed: not for ever, and not if it gives up what TLS gave.
fn may_follow(previous: &[Url], next: &Url) -> Result<(), BadRedirect> {
    if previous.last().is_some_and(|from| from.scheme() == "https") && next.scheme() != "https" {
        return Err(BadRedirect::GivesUpTls);
    }
    if previous.len() > MAX_REDIRECTS {
        return Err(BadRedirect::TooMany { most: MAX_REDIRECTS });
    }
    Ok(())
}

/// Asks for a file; none if it is what `known` tells of.
pub(super) async fn ask(
    client: &Client,
    url: &Url,
    known: Option<&Record>,
) -> Result<Option<Response>, NetworkError> {
    let mut request = client.get(url.clone()).header("accept-encoding", "gzip");
    let mut conditional = false;
    for (header, value) in known.into_iter().flat_map(conditions) {
        request = request.header(header, value);
        conditional = true;
    }
    let response = request.send().await.map_err(|error| explain(&error))?;
    match response.status() {
        StatusCode::OK => Ok(Some(response)),
        StatusCode::NOT_MODIFIED if conditional => Ok(None),
        status => Err(NetworkError::Status(status)),
    }
}

/// The headers that make a request conditional (RFC 9110 §13.1): both, since a server ignores the weaker one.
fn conditions(known: &Record) -> impl Iterator<Item = (HeaderName, &String)> {
    let etag = known.etag.as_ref().map(|etag| (IF_NONE_MATCH, etag));
    let since = known.last_modified.as_ref().map(|since| (IF_MODIFIED_SINCE, since));
    etag.into_iter().chain(since)
}

/// What a later request can be conditional on: the entity tag, and the time of the last change.
pub(super) fn validators(headers: &HeaderMap) -> (Option<String>, Option<String>) {
    let text = |name: HeaderName| {
        let value = headers.get(name)?.to_str().ok()?;
        (value.len() <= MAX_VALIDATOR_LEN).then(|| value.to_owned())
    };
    (text(ETAG), text(LAST_MODIFIED))
}

/// What a failure of the client means.
pub(super) fn explain(error: &reqwest::Error) -> NetworkError {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(deeper) = within(cause) {
        cause = deeper;
    }
    if let Some(rustls::Error::InvalidCertificate(reason)) = cause.downcast_ref() {
        return NetworkError::Untrusted(reason.to_string());
    }
    if error.is_redirect() {
        let ours = cause.downcast_ref::<BadRedirect>().cloned();
        return NetworkError::Redirect(ours.unwrap_or_else(|| BadRedirect::Other(cause.to_string())));
    }
    if error.is_dns() {
        return NetworkError::HostNotFound(cause.to_string());
    }
    if error.is_timeout() {
        return NetworkError::ConnectTimedOut;
    }
    if error.is_connect() {
        return NetworkError::NotConnected(cause.to_string());
    }
    if error.is_builder() {
        return NetworkError::NotAsked(cause.to_string());
    }
    NetworkError::Broke(cause.to_string())
}

/// The error that an error tells of. An I/O error passes over the one it wraps, and names that one's own source.
fn within<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects() {
        for (way, next, followed) in [
            ("http://a/", "http://b/", Ok(())),
            ("http://a/", "https://a/", Ok(())),
            ("https://a/", "https://b/", Ok(())),
            ("https://a/", "http://a/", Err(BadRedirect::GivesUpTls)),
            ("http://a/ https://a/", "http://a/", Err(BadRedirect::GivesUpTls)),
            ("http://1/ http://2/ http://3/ http://4/ http://5/", "http://6/", Ok(())),
            (
                "http://1/ http://2/ http://3/ http://4/ http://5/ http://6/",
                "http://7/",
                Err(BadRedirect::TooMany { most: 5 }),
            ),
        ] {
            let way: Vec<Url> = way.split(' ').map(|url| url.parse().unwrap()).collect();
            assert_eq!(may_follow(&way, &next.parse().unwrap()), followed, "{way:?} {next}");
        }
    }

    #[test]
    fn validators_are_bounded() {
        let mut headers = HeaderMap::new();
        assert_eq!(validators(&headers), (None, None));
        headers.insert(ETAG, "\"x\"".parse().unwrap());
        headers.insert(LAST_MODIFIED, "x".repeat(MAX_VALIDATOR_LEN + 1).parse().unwrap());
        assert_eq!(validators(&headers), (Some("\"x\"".to_owned()), None));
    }
}
