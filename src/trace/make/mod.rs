//! Traces made: queries drawn by shares and popularity, the same for the same seed.

mod names;
mod spec;
mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Entry;
use super::message::{self, EDNS_PAYLOAD, Edns};
use super::random::{Random, Weighted, mix};
use crate::iana::Rtype;
use crate::name::MAX_NAME_LEN;
use crate::name::Name;

pub use names::{Names, Pool};
pub use spec::{Share, Spec, Types, rate};
pub use write::{Format, Writer};

/// Letters in a made label: 32^13 of them, so that a unique name is met once.
const UNIQUE_LABEL_LEN: usize = 13;

/// Makes queries without end.
#[derive(Clone, Debug)]
pub struct Maker {
    spec: Arc<Spec>,
    names: Arc<Names>,
    /// Which kind of name a query asks for.
    kinds: Arc<Weighted>,
    /// Which popular name.
    popular: Arc<Weighted>,
    /// Which type, as an index into the spec's.
    types: Arc<Weighted>,
    random: Random,
    /// When the next query is sent, in seconds after the start.
    elapsed_s: f64,
}

/// The kinds of names, in the order of their weights.
const KINDS: [Kind; 4] = [Kind::Listed, Kind::Sibling, Kind::Unique, Kind::Popular];

/// Which kind of name a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Listed,
    Sibling,
    Unique,
    Popular,
}

impl Maker {
    /// A maker of what `spec` says. A share of names there are none of goes to popular ones.
    pub fn new(spec: Spec, names: Names) -> Maker {
        let share = |share: Share, pool: &Pool| if pool.is_empty() { 0.0 } else { share.0 };
        let (listed, siblings) = (share(spec.listed, &names.listed), share(spec.siblings, &names.siblings));
        let rest = (1.0 - listed - siblings - spec.unique.0).max(0.0);
        let types = Weighted::new(spec.types.0.iter().map(|&(_, weight)| weight));
        Maker {
            kinds: Arc::new(Weighted::new([listed, siblings, spec.unique.0, rest])),
            popular: Arc::new(Weighted::zipf(names.popular.len(), spec.zipf)),
            types: Arc::new(types),
            random: Random::new(spec.seed, 0),
            elapsed_s: 0.0,
            names: Arc::new(names),
            spec: Arc::new(spec),
        }
    }

    /// The same maker with another sequence of its own: threads make one each.
    pub fn stream(&self, stream: u64) -> Maker {
        Maker { random: Random::new(self.spec.seed, stream), elapsed_s: 0.0, ..self.clone() }
    }

    /// Makes the next query.
    pub fn make(&mut self, entry: &mut Entry) {
        entry.message.clear();
        self.append(&mut entry.message);
        // Arrivals that know nothing of each other: exponential gaps (a Poisson process).
        self.elapsed_s -= (1.0 - self.random.unit()).ln() / self.spec.rate;
        let start = Duration::from_secs(self.spec.start.try_into().unwrap_or(0));
        entry.at =
            Some(start.saturating_add(Duration::try_from_secs_f64(self.elapsed_s).unwrap_or(Duration::MAX)));
        entry.client = Some(self.client());
    }

    /// Writes the next query behind what `out` holds, for who needs neither its time nor its client.
    pub fn append(&mut self, out: &mut Vec<u8>) {
        let random = &mut self.random;
        let kind = KINDS.get(self.kinds.draw(random)).copied().unwrap_or(Kind::Popular);
        let qtype = self.spec.types.0.get(self.types.draw(random)).map_or(Rtype::A, |&(qtype, _)| qtype);
        let popular = self.popular.draw(random);
        let mut made = [0; MAX_NAME_LEN];
        let reverse;
        let name = match kind {
            Kind::Listed => self.names.listed.name(random.below(self.names.listed.len() as u64) as usize),
            Kind::Sibling => {
                self.names.siblings.name(random.below(self.names.siblings.len() as u64) as usize)
            }
            Kind::Unique => unique(self.names.popular.name(popular), random, &mut made),
            Kind::Popular if qtype == Rtype::PTR => {
                reverse = reverse_name(popular);
                reverse.as_wire()
            }
            Kind::Popular => self.names.popular.name(popular),
        };
        // Nobody asks for the reverse of a host name: such a query is for its address.
        let qtype = if qtype == Rtype::PTR && kind != Kind::Popular { Rtype::A } else { qtype };
        let dnssec_ok = random.unit() < self.spec.dnssec.0;
        let edns = random.unit() < self.spec.edns.0;
        let edns = edns.then_some(Edns { payload: EDNS_PAYLOAD, dnssec_ok });
        message::append_query(out, random.number() as u16, name, qtype, edns);
    }

    /// Some client's address and a port.
    fn client(&mut self) -> SocketAddr {
        let number = self.random.below(u64::from(self.spec.clients));
        // Unprivileged ports: 1024 to 65535.
        let port = 1024 + self.random.below(64_512) as u16;
        // The first so many speak IPv6, so that a client has one address.
        let host = number as u32 + 1;
        let addr = if (number as f64) < self.spec.ipv6.0 * f64::from(self.spec.clients) {
            IpAddr::V6(Ipv6Addr::from_bits((0xfd00 << 112) | u128::from(host)))
        } else {
            IpAddr::V4(Ipv4Addr::from_bits((10 << 24) | (host & 0x00ff_ffff)))
        };
        SocketAddr::new(addr, port)
    }
}

/// A name nobody asked for before, below `parent`; `parent` itself where there is no room.
fn unique<'m>(parent: &'m [u8], random: &mut Random, made: &'m mut [u8; MAX_NAME_LEN]) -> &'m [u8] {
    let behind = 1 + UNIQUE_LABEL_LEN;
    let Some(place) = made.get_mut(behind..behind + parent.len()) else { return parent };
    place.copy_from_slice(parent);
    made[0] = UNIQUE_LABEL_LEN as u8;
    for (octet, letter) in made[1..behind].iter_mut().zip(random.word(UNIQUE_LABEL_LEN)) {
        *octet = letter;
    }
    &made[..behind + parent.len()]
}

/// The reverse name of some public address, one for each number.
fn reverse_name(number: usize) -> Name {
    let bits = mix(number as u64).to_be_bytes();
    let mut name = Name::ROOT;
    // 64.0.0.0 to 95.255.255.255: public unicast throughout.
    for octet in [bits[3], bits[2], bits[1], 64 + bits[0] % 32] {
        // Labels of at most three digits cannot be too long; four of them neither.
        let _ = name.push_label(octet.to_string().as_bytes());
    }
    let _ = name.push_label(b"in-addr");
    let _ = name.push_label(b"arpa");
    name
}

#[cfg(test)]
mod tests;
