//! The API's client, for commands: it finds the server where the configuration says that it listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client as Http, Method};
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use super::address::{Address, EXAMPLE_PORT};
use super::api::guard;
use super::api::types::Failure;
use super::events::{Event, Events};

/// How long an answer may take: longer than the server gives itself.
const TIMEOUT: Duration = Duration::from_secs(40);
/// How long a stream of events may last: longer than the server lets it.
const STREAM_TIMEOUT: Duration = Duration::from_secs(900);
/// How long a connection may take: it is to this machine nearly always.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one server.
pub struct Client {
    runtime: Runtime,
    http: Http,
    base: String,
    token: Option<String>,
    address: Address,
}

/// Why there is no answer, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong, and what to do.
    pub failure: Failure,
    /// The status, if the server answered.
    pub status: Option<u16>,
}

impl Client {
    /// A client of the server at an address, with the token it wants, if any; connects when asked.
    ///
    /// # Errors
    /// When there is no address, the token cannot be read, or the system gives nothing to work with.
    pub fn new(address: Option<&Address>, token_file: Option<&Path>) -> Result<Client, Trouble> {
        let Some(address) = address else {
            let hint = format!(
                "start the server with a state folder (`--state DIR`) or with `--control 127.0.0.1:{EXAMPLE_PORT}`, and \
                 give this command the same flag or configuration"
            );
            return Err(trouble("no control address is configured", hint));
        };
        let token = token_file.map(guard::first_token).transpose();
        let token = token.map_err(|error| trouble(error, "check control.token_file or --token-file"))?;
        // reqwest wants to know who does TLS even where nobody will, and whom to trust: left alone it looks for the system's authorities,
        // and gives up where a container has none.
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions();
        let tls = tls.map_err(|error| trouble(error.to_string(), ""))?;
        let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        // No connection is kept: the server may be another one by the next request.
        let builder = Http::builder().tls_backend_preconfigured(tls).no_proxy().pool_max_idle_per_host(0);
        let builder = builder.timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT);
        let (builder, base) = match address {
            Address::Unix(path) => (builder.unix_socket(path.as_path()), "http://localhost".into()),
            Address::Tcp(addr) => (builder, format!("http://{}", reachable(*addr))),
        };
        let system = |error: &dyn std::fmt::Display| trouble(error.to_string(), "");
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| system(&error))?;
        let http = builder.build().map_err(|error| system(&error))?;
        Ok(Client { runtime, http, base, token, address: address.clone() })
    }

    /// Asks for what a path tells.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        self.ask(Method::GET, path, None)
    }

    /// Has done what a path does.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Trouble> {
        let body = serde_json::to_vec(body).map_err(|error| trouble(error.to_string(), ""))?;
        self.ask(Method::POST, path, Some(body))
    }

    /// Sends a request and reads the answer.
    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, Trouble> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = self.runtime.block_on(async {
            let response = request.send().await?;
            Ok((response.status(), response.bytes().await?))
        });
        let (status, body) = answer.map_err(|error: reqwest::Error| self.unreachable(&error))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                let hint = "is it a Sinkscope of this version?";
                trouble(format!("{} gave an answer that does not fit: {error}", self.address), hint)
            });
        }
        Err(self.failed(status, &body))
    }

    /// Hears what a path tells as it comes, until `take` has enough or the server ends it, as it does after a while.
    ///
    /// # Errors
    /// Why nothing is told, or no more.
    pub fn listen(&self, path: &str, mut take: impl FnMut(Event) -> ControlFlow<()>) -> Result<(), Trouble> {
        let request = self.request(Method::GET, path).timeout(STREAM_TIMEOUT);
        let unreachable = |error: reqwest::Error| self.unreachable(&error);
        self.runtime.block_on(async {
            let mut response = request.send().await.map_err(unreachable)?;
            let status = response.status();
            if !status.is_success() {
                return Err(self.failed(status, &response.bytes().await.map_err(unreachable)?));
            }
            let (mut events, mut flow) = (Events::default(), ControlFlow::Continue(()));
            // However it ends, it has been told until then.
            while flow.is_continue()
                && let Ok(Some(octets)) = response.chunk().await
            {
                events.push(&octets, |event| {
                    if flow.is_continue() {
                        flow = take(event);
                    }
                });
            }
            Ok(())
        })
    }

    /// A request for a path, with the token.
    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// What an answer says that is no success.
    fn failed(&self, status: reqwest::StatusCode, body: &[u8]) -> Trouble {
        let failure = serde_json::from_slice(body).unwrap_or_else(|_| Failure {
            error: format!("{} answered {status}", self.address),
            hint: "is it a Sinkscope?".into(),
        });
        Trouble { failure, status: Some(status.as_u16()) }
    }

    /// That nobody answers, and what to do about it.
    fn unreachable(&self, error: &reqwest::Error) -> Trouble {
        // The outer errors say that something failed, the innermost one what.
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        if error.is_timeout() {
            return trouble(format!("{} does not answer in time", self.address), "see the server's log");
        }
        let hint = match &self.address {
            Address::Unix(path) if cause.to_string().contains("denied") => {
                format!("only the server's own user may open {}: try `sudo -u` with that user", path.display())
            }
            _ => "is the server running? It says on start where its control API listens; use the same configuration, or \
                  --control ADDRESS"
                .into(),
        };
        trouble(format!("no server answers at {}: {cause}", self.address), hint)
    }
}

/// A text as a part of a path (RFC 3986 §2.3: all but unreserved characters are escaped).
pub fn segment(text: &str) -> String {
    let escaped = |octet: u8| match octet {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(octet).to_string(),
        _ => format!("%{octet:02X}"),
    };
    text.bytes().map(escaped).collect()
}

/// Where to reach who listens on all addresses.
pub fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// Trouble before anybody answered.
fn trouble(error: impl Into<String>, hint: impl Into<String>) -> Trouble {
    Trouble { failure: Failure { error: error.into(), hint: hint.into() }, status: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path_are_escaped() {
        for (text, expected) in
            [("us-nv_2014.1~a", "us-nv_2014.1~a"), ("a/b c?d%", "a%2Fb%20c%3Fd%25"), ("ü", "%C3%BC")]
        {
            assert_eq!(segment(text), expected);
        }
    }

    #[test]
    fn who_listens_everywhere_is_reached_here() {
        for (addr, expected) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("192.0.2.1:1", "192.0.2.1:1")]
        {
            assert_eq!(reachable(addr.parse().unwrap()), expected.parse().unwrap());
        }
    }

    #[test]
    fn nobody_there_is_said_with_advice() {
        let nowhere = Address::Unix("/nonexistent/control.sock".into());
        let trouble = Client::new(Some(&nowhere), None).unwrap().get::<Failure>("/v1/status").unwrap_err();
        assert!(trouble.failure.error.starts_with("no server answers at unix:/nonexistent"), "{trouble:?}");
        assert!(trouble.failure.hint.contains("is the server running?"), "{trouble:?}");
        let Err(trouble) = Client::new(None, None) else { panic!("no address is enough") };
        assert!(trouble.failure.hint.contains("--state"), "{trouble:?}");
    }
}
