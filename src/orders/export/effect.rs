//! A verdict as other servers can be told: what a client gets, without why.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

use crate::iana::Rtype;
use crate::policy::order::{LocalData, MissingType, Scope};
use crate::policy::{Act, Hit, LocalRecord, Order, Synthesis, Verdict};

/// The address that a record of local data is, if it is one.
pub(super) fn address(record: &LocalRecord) -> Option<IpAddr> {
    match record.rtype {
        Rtype::A => <[u8; 4]>::try_from(&record.rdata[..]).ok().map(IpAddr::from),
        Rtype::AAAA => <[u8; 16]>::try_from(&record.rdata[..]).ok().map(IpAddr::from),
        _ => None,
    }
}

/// What happens to a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect<'p> {
    /// It is answered truthfully.
    Truth,
    /// It is answered in this way, as that scope of an order says.
    Forged(Forged, Source<'p>),
}

/// A way to answer that is not the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forged {
    /// The source's addresses, of which there are some.
    Addresses,
    /// The source's records, which are not all addresses.
    Records,
    /// The name exists and has no records.
    Nodata,
    /// The name does not exist.
    Nxdomain,
    /// REFUSED.
    Refused,
    /// No answer.
    Drop,
    /// Over UDP an empty truncated answer.
    TcpOnly,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'p> {
    order: &'p Order,
    scope: &'p Scope,
    /// The records, where the scope has any that are meant.
    data: Option<&'p LocalData>,
}

impl<'p> Effect<'p> {
    /// What a verdict comes to. The only place that looks at an action: whoever adds one is led here.
    pub(super) fn of(verdict: &Verdict<'p>) -> Effect<'p> {
        let Verdict::Act(act, hit) = verdict else { return Effect::Truth };
        let Hit { order, scope, .. } = *hit;
        let plain = Source { order, scope, data: None };
        let (forged, source) = match act {
            // Without any address A and AAAA are NODATA, as every other type is.
            Act::Answer(Synthesis::Sinkhole)
                if order.sinkhole.v4.is_empty() && order.sinkhole.v6.is_empty() =>
            {
                (Forged::Nodata, plain)
            }
            Act::Answer(Synthesis::Sinkhole) => (Forged::Addresses, plain),
            Act::Answer(Synthesis::Local) => {
                let data = scope.data.as_deref();
                let records = data.map(|data| &data.records[..]).unwrap_or_default();
                let forged = match records.iter().all(|record| address(record).is_some()) {
                    _ if records.is_empty() => Forged::Nodata,
                    true => Forged::Addresses,
                    false => Forged::Records,
                };
                (forged, Source { data, ..plain })
            }
            Act::Answer(Synthesis::Nodata) => (Forged::Nodata, plain),
            Act::Answer(Synthesis::Nxdomain) => (Forged::Nxdomain, plain),
            Act::Answer(Synthesis::Refused) => (Forged::Refused, plain),
            Act::Drop => (Forged::Drop, plain),
            Act::TcpOnly => (Forged::TcpOnly, plain),
        };
        Effect::Forged(forged, source)
    }

    /// Whether the truth is withheld.
    pub(super) fn acts(self) -> bool {
        matches!(self, Effect::Forged(..))
    }

    /// In which way, if it is.
    pub(super) fn forged(self) -> Option<Forged> {
        match self {
            Effect::Truth => None,
            Effect::Forged(forged, _) => Some(forged),
        }
    }
}

impl<'p> Source<'p> {
    /// The TTL of its answers in seconds.
    pub(super) fn ttl_s(&self) -> u32 {
        let given = self.data.and_then(|data| data.records.iter().map(|record| record.ttl_s).min());
        given.or(self.scope.ttl_s).unwrap_or(self.order.ttl_s)
    }

    /// Its answers to A.
    pub(super) fn v4(&self) -> Cow<'p, [Ipv4Addr]> {
        match self.data {
            None => Cow::Borrowed(&self.order.sinkhole.v4),
            Some(data) => {
                let v4 = |record| match address(record) {
                    Some(IpAddr::V4(v4)) => Some(v4),
                    _ => None,
                };
                Cow::Owned(data.records.iter().filter_map(v4).collect())
            }
        }
    }

    /// Its answers to AAAA.
    pub(super) fn v6(&self) -> Cow<'p, [Ipv6Addr]> {
        match self.data {
            None => Cow::Borrowed(&self.order.sinkhole.v6),
            Some(data) => {
                let v6 = |record| match address(record) {
                    Some(IpAddr::V6(v6)) => Some(v6),
                    _ => None,
                };
                Cow::Owned(data.records.iter().filter_map(v6).collect())
            }
        }
    }

    /// Its records, if it has any of its own.
    pub(super) fn data(&self) -> Option<&'p LocalData> {
        self.data
    }

    /// Whether what becomes of types that its records lack is something else than NODATA.
    pub(super) fn is_partial(&self) -> bool {
        let missing = self.order.rpz.as_ref().map(|rpz| rpz.missing_type);
        self.data.is_some() && missing.is_some_and(|missing| missing != MissingType::Nodata)
    }
}

impl PartialEq for Effect<'_> {
    /// Whether clients see no difference: two orders with the same addresses and TTL are one here.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Effect::Truth, Effect::Truth) => true,
            (Effect::Forged(mine, one), Effect::Forged(theirs, two)) => {
                let same_source = ptr::eq(one.order, two.order) && ptr::eq(one.scope, two.scope);
                let same_data = match mine {
                    Forged::Addresses => one.v4() == two.v4() && one.v6() == two.v6(),
                    Forged::Records => one.data == two.data,
                    _ => true,
                };
                mine == theirs && (same_source || same_data && one.ttl_s() == two.ttl_s())
            }
            _ => false,
        }
    }
}
