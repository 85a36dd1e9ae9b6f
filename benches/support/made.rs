//! Names, orders and answers in the shape of real ones, made alike in every run.

use std::sync::Arc;

use sinkscope::access::AccessList;
use sinkscope::cache::Cache;
use sinkscope::clients::Clients;
use sinkscope::clock::{Clock, SystemClock};
use sinkscope::dns::chaos::Identity;
use sinkscope::dns::{Question, Truth, TtlLimits};
use sinkscope::iana::{Class, Rtype};
use sinkscope::name::Name;
use sinkscope::resolver::fetch::Rules;
use sinkscope::resolver::{Current, Resolver, Settings};
use sinkscope::upstream::{Ask, AskError};

/// The address of sinkholed names.
pub const SINKHOLE: [u8; 4] = [192, 0, 2, 66];
/// What the addresses of all other names begin with.
pub const TRUE_NET: [u8; 3] = [198, 51, 100];
/// The zones of listed names.
const ZONES: [&str; 4] = ["ddns.net", "no-ip.org", "zapto.org", "servebbs.com"];

/// Nobody to ask.
pub struct Nobody;

impl Ask for Nobody {
    async fn ask(&self, _question: &Question) -> Result<Vec<u8>, AskError> {
        Err(AskError::Overloaded)
    }
}

/// A resolver that serves this machine by this policy, and knows the answers for these names.
pub fn resolver(policy: Arc<Current>, known: impl Iterator<Item = Name>) -> Resolver {
    resolver_for(policy, Arc::default(), known)
}

/// The same for these clients. It also knows of every name that it has no name servers of its own.
pub fn resolver_for(
    policy: Arc<Current>,
    clients: Arc<Clients>,
    known: impl Iterator<Item = Name>,
) -> Resolver {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let cache = Arc::new(Cache::new(1 << 30));
    for name in known {
        let (question, truth) = truth(&name);
        cache.put(&question, Arc::new(truth), clock.now().mono);
        for zone in [Some(name), name.parent(), Some(alias()), alias().parent()].into_iter().flatten() {
            let (question, truth) = no_servers(&zone);
            cache.put(&question, Arc::new(truth), clock.now().mono);
        }
    }
    let settings = Settings {
        access: AccessList::parse(&["loopback"]).unwrap_or_default(),
        local: Arc::default(),
        clients,
        recent: Default::default(),
        identity: Identity::default(),
        rotate: true,
        dns64: None,
        ecs: Default::default(),
        rules: Rules::new(LIMITS, 1),
    };
    Resolver::new(policy, cache, Arc::new(Nobody), clock, settings)
}

/// The order that lists the names of a file beside it.
pub fn order_file(names_file: &str) -> String {
    let zones: Vec<String> = ZONES.iter().map(|zone| format!("\"{zone}\"")).collect();
    format!(
        "id = \"us-nv-2014-cv-00987\"\ntitle = \"T\"\nkind = \"court\"\nzones = [{}]\naddresses = [\"192.0.2.66\"]\n\n\
         [[scope]]\nmatch = \"exact\"\nfile = \"{names_file}\"\n",
        zones.join(", ")
    )
}

/// A host name of the sort that dynamic DNS has.
pub fn listed_name(index: usize) -> Name {
    // A prime below 2^32: no two indices below it share a host.
    let host = (index as u64).wrapping_mul(0x9e37_79b9) % 0xffff_fffb;
    format!("host{host:x}.{}", ZONES[index % 4]).parse().unwrap_or(Name::ROOT)
}

/// A name that nobody lists.
pub fn innocent_name(index: usize) -> Name {
    format!("www{index}.site{}.com", index % 977).parse().unwrap_or(Name::ROOT)
}

/// The least and the greatest TTLs there are.
const LIMITS: TtlLimits = TtlLimits { min_s: 0, max_s: 86_400, negative_min_s: 0, negative_max_s: 3600 };

/// What all names are aliases of.
fn alias() -> Name {
    "edge.cdn.net".parse().unwrap_or(Name::ROOT)
}

/// That a name has no NS records.
fn no_servers(qname: &Name) -> (Question, Truth) {
    let question = Question {
        qname: *qname,
        qtype: Rtype::NS,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
        asked_for: None,
    };
    let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 1, 0, 0];
    message.extend(question.octets());
    // A start of authority at the root: two names of one octet and five numbers.
    message.extend([0, 0, 6, 0, 1, 0, 0, 0x0e, 0x10, 0, 22, 0, 0]);
    message.extend([[0, 0, 0x0e, 0x10]; 5].concat());
    match Truth::read(&question, &message, &LIMITS) {
        Ok(truth) => (question, truth),
        Err(error) => panic!("{error:?}"),
    }
}

/// A name's answer: an alias and two addresses, as popular names have.
fn truth(qname: &Name) -> (Question, Truth) {
    let question = Question {
        qname: *qname,
        qtype: Rtype::A,
        qclass: Class::IN,
        dnssec_ok: false,
        checking_disabled: false,
        asked_for: None,
    };
    let mut message = packet(qname, 0);
    message.truncate(message.len() - OPT.len());
    message[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0]);
    let alias = alias();
    let fixed = |rtype: u8, len: usize| [0, rtype, 0, 1, 0, 0, 0x0e, 0x10, 0, len as u8];
    message.extend([0xc0, 12]);
    message.extend(fixed(5, alias.as_wire().len()));
    let alias_at = message.len() as u16;
    message.extend(alias.as_wire());
    for host in 1..=2 {
        message.extend((0xc000 | alias_at).to_be_bytes());
        message.extend(fixed(1, 4));
        message.extend([TRUE_NET[0], TRUE_NET[1], TRUE_NET[2], host]);
    }
    match Truth::read(&question, &message, &LIMITS) {
        Ok(truth) => (question, truth),
        Err(error) => panic!("{error:?}"),
    }
}

/// An OPT record without options.
const OPT: [u8; 11] = [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0];

/// A query for its address, every other letter in upper case, with EDNS.
pub fn packet(qname: &Name, id: u16) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    let mixed =
        |(index, octet): (usize, &u8)| if index % 2 == 0 { octet.to_ascii_uppercase() } else { *octet };
    out.extend(qname.as_wire().iter().enumerate().map(mixed));
    out.extend([0, 1, 0, 1]);
    out.extend(OPT);
    out
}

/// Whether a reply answers that packet with the sinkhole's address, or with the truth.
pub fn says(packet: &[u8], reply: &[u8], sinkholed: bool) -> bool {
    let part: &[u8] = if sinkholed { &SINKHOLE } else { &TRUE_NET };
    let other: &[u8] = if sinkholed { &TRUE_NET } else { &SINKHOLE };
    let has = |part: &[u8]| reply.windows(part.len()).any(|window| window == part);
    reply.len() > 12 && reply[..2] == packet[..2] && reply[3] & 15 == 0 && has(part) && !has(other)
}

/// Numbers that look random and are the same each time (Steele and others' SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
