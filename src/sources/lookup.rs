//! Finding the addresses of a list's host without the system's resolver, which may be this program and not yet serve.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name as HostName, Resolve, Resolving};

use crate::name::Name;
use crate::upstream::{Ask, Hosts};

/// The addresses of a host under way, or why there are none.
pub type Looking<'a> = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, String>> + Send + 'a>>;

/// Who knows the addresses of hosts.
pub trait Lookup: Send + Sync + 'static {
    /// Finds the addresses of a host, of both families, best first. Bounded in time by itself or by its caller.
    fn lookup<'a>(&'a self, host: &'a str) -> Looking<'a>;
}

/// Asks servers: those configured for this, or the upstreams. Policy does not come into it, so a list that names its
/// own host does not cut itself off.
#[derive(Debug)]
pub struct Bootstrap<A: Ask> {
    hosts: Hosts<A>,
}

impl<A: Ask> Bootstrap<A> {
    /// Asks `ask`: a [`crate::upstream::Forwarder`], say.
    pub fn new(ask: Arc<A>) -> Bootstrap<A> {
        Bootstrap { hosts: Hosts::new(ask) }
    }
}

impl<A: Ask> Lookup for Bootstrap<A> {
    fn lookup<'a>(&'a self, host: &'a str) -> Looking<'a> {
        Box::pin(async move {
            let qname: Name = host.parse().map_err(|error| format!("{host} is no host name: {error}"))?;
            Ok(self.hosts.find(&qname).await?.addresses)
        })
    }
}

/// A [`Lookup`] as the HTTP client wants it.
pub(super) struct Resolver {
    /// Who is asked.
    pub(super) lookup: Arc<dyn Lookup>,
    /// The one host whose addresses are given, and they; none are given if there are none.
    pub(super) given: Option<(String, Vec<IpAddr>)>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: HostName) -> Resolving {
        let given = self.given.as_ref().filter(|(host, _)| host == name.as_str());
        let given = given.map(|(_, addresses)| addresses.clone());
        let lookup = self.lookup.clone();
        Box::pin(async move {
            let found = match given {
                Some(addresses) => addresses,
                None => lookup.lookup(name.as_str()).await?,
            };
            if found.is_empty() {
                return Err(format!("{} has no address", name.as_str()).into());
            }
            // Port 0 stands for the URL's.
            let addrs: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Question;
    use crate::dns::testing::response;
    use crate::iana::Rtype;
    use crate::upstream::AskError;

    /// Records by the type that is asked for, and by the name: the first one's owner, or any if there are none.
    type Records = &'static [(Rtype, &'static [&'static str])];

    /// Answers by what is written for the type, or fails.
    struct Script(Records);

    impl Ask for Script {
        async fn ask(&self, question: &Question) -> Result<Vec<u8>, AskError> {
            let name = question.qname.to_string();
            let owns = |record: &&'static str| record.split(' ').next() == Some(name.trim_end_matches('.'));
            let found = self
                .0
                .iter()
                .find(|(qtype, records)| *qtype == question.qtype && records.first().is_none_or(owns));
            let (_, records) = found.ok_or_else(|| AskError::Network("nobody there".to_owned()))?;
            Ok(response(0, &question.qname.to_string(), question.qtype, [records, &[], &[]]))
        }
    }

    #[tokio::test]
    async fn hosts_are_found_by_asking() {
        const A: Rtype = Rtype::A;
        const AAAA: Rtype = Rtype::AAAA;
        let cases: [(Records, Result<&str, &str>); 10] = [
            (
                &[(A, &["h.example 60 A 192.0.2.1"]), (AAAA, &["h.example 60 AAAA 2001:db8::1"])],
                Ok("2001:db8::1 192.0.2.1"),
            ),
            (
                &[(A, &["h.example 60 CNAME c.example", "c.example 60 A 192.0.2.1"]), (AAAA, &[])],
                Ok("192.0.2.1"),
            ),
            (&[(A, &["h.example 60 A 192.0.2.1", "h.example 60 A 192.0.2.2"])], Ok("192.0.2.1 192.0.2.2")),
            (&[(AAAA, &["h.example 60 AAAA 2001:db8::1"])], Ok("2001:db8::1")),
            (&[(A, &[]), (AAAA, &[])], Ok("")),
            (&[(A, &[])], Err("nobody there")),
            (&[], Err("nobody there")),
            // An alias is followed out of the answer, and an address that nothing leads to is not taken.
            (
                &[(A, &["h.example 60 CNAME c.example"]), (A, &["c.example 60 A 192.0.2.1"]), (AAAA, &[])],
                Ok("192.0.2.1"),
            ),
            (
                &[
                    (A, &["h.example 60 CNAME c.example", "d.example 60 A 192.0.2.9"]),
                    (A, &["c.example 60 A 192.0.2.1"]),
                    (AAAA, &[]),
                ],
                Ok("192.0.2.1"),
            ),
            // An address of the wrong kind is not taken for one.
            (&[(A, &["h.example 60 AAAA 2001:db8::1"]), (AAAA, &[])], Ok("")),
        ];
        for (script, expected) in cases {
            let found = Bootstrap::new(Arc::new(Script(script))).lookup("h.example").await;
            let shown =
                found.map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            assert_eq!(shown, expected.map(str::to_owned).map_err(str::to_owned), "{script:?}");
        }
        let odd = Bootstrap::new(Arc::new(Script(&[]))).lookup(&"x".repeat(64)).await.unwrap_err();
        assert!(odd.contains("no host name"), "{odd}");
    }
}
