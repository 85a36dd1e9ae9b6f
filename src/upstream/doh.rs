//! A question as a request of HTTP, and its reply out of the response (RFC 8484), whichever HTTP carries them.

use std::net::SocketAddr;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use http::header::{ACCEPT, AGE, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use super::failure::{BadHttp, Failure};
use super::identity::Identity;
use super::message::Query;
use super::resource::{HTTPS_PORT, Resource};
use crate::dns::aged;
use crate::dns::wire::MAX_MESSAGE_LEN;

/// The media type of a DNS message (RFC 8484 §6).
const DNS_MESSAGE: HeaderValue = HeaderValue::from_static("application/dns-message");

/// Where requests to one server go.
#[derive(Debug)]
pub(super) struct Target {
    url: String,
    in_url: bool,
}

/// A response's head that a reply may follow, and what came of it.
#[derive(Debug)]
pub(super) struct Response {
    /// How long it was kept on the way, in seconds.
    age_s: u32,
    octets: Vec<u8>,
}

impl Target {
    /// The resource of whoever has this identity and is asked at this address.
    pub(super) fn new(identity: &Identity, addr: SocketAddr, resource: &Resource) -> Target {
        let host = identity.url_host();
        let url = match addr.port() {
            HTTPS_PORT => format!("https://{host}{}", resource.path()),
            port => format!("https://{host}:{port}{}", resource.path()),
        };
        Target { url, in_url: resource.is_in_url() }
    }

    /// The request that asks a query, and what follows its head.
    ///
    /// Nothing in it says who asks but what it must (RFC 8484 §8.2): no agent, no language, no cookie.
    pub(super) fn request(&self, query: &Query) -> Result<(Request<()>, Option<Vec<u8>>), Failure> {
        query.goes_out();
        let request = Request::builder().header(ACCEPT, DNS_MESSAGE);
        let (request, body) = if self.in_url {
            let url = format!("{}?dns={}", self.url, BASE64_URL_SAFE_NO_PAD.encode(query.octets()));
            (request.method(Method::GET).uri(url), None)
        } else {
            let body = query.octets().to_vec();
            let request = request.method(Method::POST).uri(&self.url).header(CONTENT_TYPE, DNS_MESSAGE);
            (request.header(CONTENT_LENGTH, body.len()), Some(body))
        };
        let request = request.body(()).map_err(|error| Failure::Failed(format!("{}: {error}", self.url)))?;
        Ok((request, body))
    }
}

impl Response {
    /// Begins with its head.
    ///
    /// # Errors
    /// What it says in place of a reply. To be sent elsewhere is no answer: who is asked is who was named (RFC 8484 §3).
    pub(super) fn begin(status: StatusCode, headers: &HeaderMap) -> Result<Response, Failure> {
        // RFC 8484 §4.2.1: whatever DNS has to say comes with a status of success.
        if status.is_redirection() {
            return Err(BadHttp::Redirect(status.as_u16()).into());
        }
        if !status.is_success() {
            return Err(BadHttp::Status(status.as_u16()).into());
        }
        // What follows a semicolon are parameters, and case means nothing (RFC 9110 §8.3.1).
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.as_bytes().eq_ignore_ascii_case(DNS_MESSAGE.as_bytes()) {
            return Err(BadHttp::MediaType.into());
        }
        // RFC 9111 §5.1; what is no number is ignored, and so is what is missing.
        let age = headers.get(AGE).and_then(|value| value.to_str().ok()).map(str::trim);
        let age_s = age.and_then(|age| age.parse::<u64>().ok()).unwrap_or_default();
        Ok(Response { age_s: u32::try_from(age_s).unwrap_or(u32::MAX), octets: Vec::new() })
    }

    /// Goes on with some octets of its body.
    ///
    /// # Errors
    /// When there are more than a message has (RFC 8484 §6).
    pub(super) fn push(&mut self, octets: &[u8]) -> Result<(), Failure> {
        if self.octets.len() + octets.len() > MAX_MESSAGE_LEN {
            return Err(BadHttp::TooLong.into());
        }
        self.octets.extend_from_slice(octets);
        Ok(())
    }

    /// The reply that it was, to this query.
    pub(super) fn end(self, query: &Query) -> Result<Vec<u8>, Failure> {
        let mut reply = query.take(self.octets)?;
        // RFC 8484 §5.1: what caches kept on the way is as much older, which its TTLs do not say.
        aged::count_down(&mut reply, self.age_s);
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::testing::{question, response};
    use crate::iana::Rtype;
    use crate::upstream::message::Manner;
    use crate::upstream::server::{Protocol, Server};

    /// The query for the name that RFC 8484 §4.1.1 asks for, in the octets that it has there.
    fn query() -> Query {
        let manner = Manner { edns: false, mixed_case: false, ..Manner::USUAL };
        let mut query = Query::new(&question("www.example.com", Rtype::A), manner);
        query.clear_id();
        query
    }

    /// A reply to it whose record has this TTL.
    fn reply(ttl: u32) -> Vec<u8> {
        let record = format!("www.example.com {ttl} A 192.0.2.1");
        let mut reply = response(0, "www.example.com", Rtype::A, [&[&record], &[], &[]]);
        reply[..2].fill(0);
        reply
    }

    /// Where requests to a server go.
    fn target(text: &str) -> Target {
        let server: Server = text.parse().unwrap();
        let Protocol::Https(identity, resource) = &server.protocol else { panic!("{text}") };
        Target::new(identity, server.addr, resource)
    }

    #[test]
    fn a_question_is_in_the_url_or_behind_it() {
        // As in RFC 8484 §4.1.1, but for AD, which ours has set.
        let asked = "AAABIAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB";
        for (server, expected) in [
            ("https://192.0.2.1", "POST https://192.0.2.1/dns-query".to_owned()),
            ("https://[2001:db8::1]:8443/", "POST https://[2001:db8::1]:8443/".to_owned()),
            ("https://dns.example@192.0.2.1/a/b%20c", "POST https://dns.example/a/b%20c".to_owned()),
            ("https://dns.example@[2001:db8::1]:444", "POST https://dns.example:444/dns-query".to_owned()),
            ("https://dns.example@192.0.2.1{?dns}", format!("GET https://dns.example/dns-query?dns={asked}")),
        ] {
            let (request, body) = target(server).request(&query()).unwrap();
            assert_eq!(format!("{} {}", request.method(), request.uri()), expected, "{server}");
            assert_eq!(body.as_deref(), (request.method() == Method::POST).then_some(query().octets()));
            let mut headers: Vec<String> =
                request.headers().iter().map(|(name, value)| format!("{name} {value:?}")).collect();
            headers.sort();
            let posted: &[&str] = match body {
                Some(_) => &[
                    "accept \"application/dns-message\"",
                    "content-length \"33\"",
                    "content-type \"application/dns-message\"",
                ],
                None => &["accept \"application/dns-message\""],
            };
            assert_eq!(headers, posted, "nothing else is told: {server}");
        }
    }

    #[test]
    fn a_response_has_a_reply_or_says_why_not() {
        let reply = reply(60);
        for (status, media_type, expected) in [
            (200, "application/dns-message", None),
            (203, "Application/DNS-Message ; charset=x", None),
            (200, "", Some("answered with what is no DNS message")),
            (200, "application/dns-json", Some("answered with what is no DNS message")),
            (200, "application/dns-messages", Some("answered with what is no DNS message")),
            (301, "application/dns-message", Some("redirects elsewhere (HTTP status 301)")),
            (308, "text/html", Some("redirects elsewhere (HTTP status 308)")),
            (404, "application/dns-message", Some("answered with HTTP status 404")),
            (503, "", Some("answered with HTTP status 503")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            let status = StatusCode::from_u16(status).unwrap();
            let came = Response::begin(status, &headers).and_then(|mut response| {
                reply.chunks(7).try_for_each(|octets| response.push(octets))?;
                response.end(&query())
            });
            match expected {
                None => assert_eq!(came.as_ref(), Ok(&reply), "{status} {media_type}"),
                Some(said) => {
                    let failure = came.unwrap_err();
                    assert!(failure.to_string().starts_with(said), "{status} {media_type}: {failure}");
                    assert!(failure.is_said() && !failure.is_closing(), "{failure}");
                }
            }
        }
    }

    #[test]
    fn a_reply_that_was_kept_on_the_way_is_as_much_older() {
        for (age, left_s) in [
            ("0", 600),
            ("250", 350),
            (" 599 ", 1),
            ("601", 0),
            ("99999999999", 0),
            ("-1", 600),
            ("old", 600),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, DNS_MESSAGE);
            headers.insert(AGE, HeaderValue::from_static(age));
            let mut response = Response::begin(StatusCode::OK, &headers).unwrap();
            response.push(&reply(600)).unwrap();
            assert_eq!(response.end(&query()), Ok(reply(left_s)), "{age}");
        }
    }

    #[test]
    fn a_reply_is_no_longer_than_a_message() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, DNS_MESSAGE);
        let mut response = Response::begin(StatusCode::OK, &headers).unwrap();
        response.push(&[0; 65_000]).unwrap();
        response.push(&[0; 535]).unwrap();
        assert_eq!(response.push(&[0]), Err(BadHttp::TooLong.into()));
    }
}
