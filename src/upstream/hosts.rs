//! The adapter: hickory's resolver, whose connections all end in an [`Ask`]. Every hickory type stays in here.
//!
//! A host is looked up as any program looks one up: its aliases are followed, also where they lead out of the answer,
//! and an address that belongs to none of them is not taken. hickory's resolver does that; whom it asks, how and how long is ours.

use std::fmt;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, DnsResponseStream};
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{DnsRequest, DnsResponse, ResponseCode};
use hickory_resolver::proto::rr::{Name as TheirName, RecordType};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable};
use hickory_resolver::{ConnectionProvider, PoolContext, Resolver};

use super::Ask;
use crate::dns::Question;
use crate::iana::{Class, Rtype};
use crate::name::Name;

/// Addresses taken of one host and family: to connect to one, this many tries are plenty.
const MAX_ADDRESSES: usize = 16;

/// Finds addresses of hosts by asking an [`Ask`]. It keeps no cache: whoever looks up a list's host does so once a download, and
/// who looks up an upstream's keeps what was found.
pub struct Hosts<A: Ask> {
    /// None if hickory cannot be set up, and why.
    resolver: Result<Resolver<Connections<A>>, String>,
}

/// The addresses of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// They, those of IPv6 first; none if the host has none.
    pub addresses: Vec<IpAddr>,
    /// How long they are good for: the least TTL of the records that lead to them, zero if there are none.
    pub lifetime: Duration,
}

/// hickory's connections: there is one, and it is an [`Ask`].
struct Connections<A> {
    ask: Arc<A>,
    runtime: TokioRuntimeProvider,
}

impl<A: Ask> Hosts<A> {
    /// Asks `ask`.
    pub fn new(ask: Arc<A>) -> Hosts<A> {
        let connections = Connections { ask, runtime: TokioRuntimeProvider::default() };
        // An address must be given, and nobody connects to it. As a stream, for replies come whole.
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![ConnectionConfig::tcp()]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let mut builder = Resolver::builder_with_config(config, connections);
        let options = builder.options_mut();
        options.cache_size = 0;
        // What this machine calls a host is its administrator's business; lists have been looked up by servers always.
        options.use_hosts_file = ResolveHosts::Never;
        Hosts { resolver: builder.build().map_err(|error| error.to_string()) }
    }

    /// The addresses of both families.
    ///
    /// # Errors
    /// Why one family's are not known, if there are none of the other.
    pub async fn find(&self, host: &Name) -> Result<Found, String> {
        let family = |family| self.addresses(host, family);
        match tokio::join!(family(Rtype::AAAA), family(Rtype::A)) {
            (Ok(six), Ok(four)) => Ok(six.and(four)),
            // One family failing does not matter while the other is there.
            (Ok(some), Err(_)) | (Err(_), Ok(some)) if !some.addresses.is_empty() => Ok(some),
            (Err(why), _) | (_, Err(why)) => Err(why),
        }
    }

    /// The addresses of one family, A or AAAA.
    async fn addresses(&self, host: &Name, family: Rtype) -> Result<Found, String> {
        let resolver = self.resolver.as_ref().map_err(String::clone)?;
        let name =
            TheirName::read(&mut BinDecoder::new(host.as_wire())).map_err(|error| error.to_string())?;
        match resolver.lookup(name, RecordType::from(family.0)).await {
            Ok(lookup) => {
                let answers = lookup.answers();
                let addresses = answers.iter().filter_map(|record| record.data.ip_addr());
                let addresses: Vec<IpAddr> = addresses.take(MAX_ADDRESSES).collect();
                let ttl_s = answers.iter().map(|record| record.ttl).min().unwrap_or_default();
                Ok(Found { addresses, lifetime: Duration::from_secs(ttl_s.into()) })
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(NoRecords {
                response_code: ResponseCode::NoError | ResponseCode::NXDomain,
                ..
            }))) => Ok(Found::default()),
            Err(NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. }))) => {
                Err(format!("the answer was {response_code}"))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Found {
    /// These, and then those; good for as long as both are.
    fn and(self, other: Found) -> Found {
        match (self.addresses.is_empty(), other.addresses.is_empty()) {
            (true, _) => other,
            (_, true) => self,
            (false, false) => Found {
                addresses: [self.addresses, other.addresses].concat(),
                lifetime: self.lifetime.min(other.lifetime),
            },
        }
    }
}

impl<A: Ask> fmt::Debug for Hosts<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosts").finish_non_exhaustive()
    }
}

impl<A> Clone for Connections<A> {
    fn clone(&self) -> Connections<A> {
        Connections { ask: Arc::clone(&self.ask), runtime: self.runtime.clone() }
    }
}

impl<A: Ask> ConnectionProvider for Connections<A> {
    type Conn = Connections<A>;
    type FutureConn = Ready<Result<Connections<A>, NetError>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        _: IpAddr,
        _: &ConnectionConfig,
        _: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        Ok(ready(Ok(self.clone())))
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.runtime
    }
}

impl<A: Ask> DnsHandle for Connections<A> {
    type Response = DnsResponseStream;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> DnsResponseStream {
        let ask = Arc::clone(&self.ask);
        DnsResponseStream::from(Box::pin(async move {
            let question = question(&request).ok_or("no question that can be asked")?;
            let reply = ask.ask(&question).await.map_err(|error| NetError::from(error.to_string()))?;
            Ok(DnsResponse::from_buffer(reply)?)
        }))
    }
}

/// What a request asks; none if it asks nothing.
fn question(request: &DnsRequest) -> Option<Question> {
    let query = request.queries.first()?;
    let qname = Name::from_wire(&query.name().to_bytes().ok()?).ok()?;
    Some(Question {
        qname,
        qtype: Rtype(query.query_type().into()),
        qclass: Class(query.query_class().into()),
        dnssec_ok: false,
        checking_disabled: false,
        asked_for: None,
    })
}
