//! DNS64 (RFC 6147): IPv6 addresses made of IPv4 ones, for clients that reach those through a translator (NAT64).
//!
//! What is made is a truth like any other, judged and told as such, and forgotten: cached is what it was made of.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::query::Question;
use super::targets::OwnedRecord;
use super::truth::{Truth, TtlLimits};
use super::wire::{self, FLAG_QR, HEADER_LEN, Owner};
use crate::iana::{Class, Rcode, Rtype};
use crate::name::Name;

/// Lengths of prefixes under which translators map IPv4 addresses (RFC 6052 §2.2).
pub const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];
/// The prefix of translators that have none of their own (RFC 6052 §2.1).
pub const WELL_KNOWN: Prefix = Prefix { address: Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), len: 96 };
/// IPv4 addresses as IPv6 sockets write them: nobody can be reached there. RFC 6147 §5.1.4: "An implementation SHOULD include the
/// ::ffff/96 network in that range by default."
pub const MAPPED: Prefix = Prefix { address: Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), len: 96 };
/// How long what is made lasts at most where no SOA says it, in seconds. RFC 6147 §5.1.7: "the DNS64 SHOULD use the TTL of the original
/// A RR or 600 seconds, whichever is shorter".
const MAX_TTL_S: u32 = 600;
/// Labels of an IPv6 address reversed (RFC 3596 §2.5): a digit each, and two.
const REVERSED_LABELS: usize = 34;
/// The name that clients find the prefix out by: it has IPv4 addresses and no others (RFC 7050 §2.2). What else is said of it is said by
/// another DNS64, of another prefix.
const DISCOVERY: &[u8] = b"\x08ipv4only\x04arpa\0";

/// A prefix of IPv6 addresses, no bit of which stands behind its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: Ipv6Addr,
    len: u8,
}

impl Prefix {
    /// So many bits of an address; none if others are set.
    pub fn new(address: Ipv6Addr, len: u8) -> Option<Prefix> {
        let prefix = Prefix { address, len };
        (len <= 128 && prefix.holds(address)).then_some(prefix)
    }

    /// Its bits, all others zero.
    pub fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// How many they are.
    pub fn bits(&self) -> u8 {
        self.len
    }

    /// Whether an address begins with it.
    pub fn holds(&self, address: Ipv6Addr) -> bool {
        u128::from(address) & mask(self.len) == u128::from(self.address)
    }
}

/// The first bits of an IPv6 address.
fn mask(len: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(len.into())).unwrap_or(0)
}

/// A translator's prefix, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns64 {
    /// What IPv4 addresses are put behind: of one of [`LENGTHS`].
    pub prefix: Prefix,
    /// Addresses that are taken for none.
    pub exclude: Vec<Prefix>,
    /// Groups of clients that it is for; none means everybody.
    pub groups: Vec<String>,
}

impl Dns64 {
    /// Whether the answer to a question is not told as it is to who has IPv6 alone. RFC 6147 §5.1.2: "A result with RCODE=3 (Name Error)
    /// is handled according to normal DNS operation".
    pub fn concerns(&self, question: &Question, truth: &Truth) -> bool {
        match question.qtype {
            Rtype::PTR => self.reversed(question).is_some(),
            Rtype::AAAA if truth.rcode != Rcode::NXDOMAIN && !truth.truncated => {
                let addresses = v6(question, truth);
                addresses.is_empty()
                    || addresses.iter().any(|one| self.excludes(*one))
                    || is_discovery(question)
            }
            _ => false,
        }
    }

    /// Whether an answer to a question for IPv6 addresses has one that leads somewhere.
    pub fn is_usable(&self, question: &Question, truth: &Truth) -> bool {
        !is_discovery(question) && v6(question, truth).iter().any(|one| !self.excludes(*one))
    }

    /// What is told instead of an answer without IPv6 addresses: the aliases of one with IPv4 addresses, and those behind the prefix. None
    /// where it has none either. `v6` is the answer that there was, if there was one; both come with their age in seconds.
    pub fn synthesize(
        &self,
        question: &Question,
        v6: Option<(&Truth, u32)>,
        (v4, age_s): (&Truth, u32),
    ) -> Option<Truth> {
        // RFC 6147 §5.1.7: "The Time to Live (TTL) field is set to the minimum of the TTL of the original A RR and the SOA RR for the
        // queried domain."
        let soa_s = v6.and_then(|(v6, age_s)| Some(soa_ttl_s(question, v6)?.saturating_sub(age_s)));
        let most_s = soa_s.unwrap_or(MAX_TTL_S);
        let asked = Question { qtype: Rtype::A, ..*question };
        let mut found = false;
        let made = owned(&asked, v4).into_iter().filter_map(|record| {
            let ttl_s = record.ttl_s.saturating_sub(age_s);
            match record.rtype {
                Rtype::A => {
                    let address =
                        self.translated(Ipv4Addr::from(record.rdata.first_chunk::<4>().copied()?))?;
                    found = true;
                    let rdata = address.octets().to_vec();
                    Some(OwnedRecord { rtype: Rtype::AAAA, ttl_s: ttl_s.min(most_s), rdata, ..record })
                }
                Rtype::CNAME | Rtype::DNAME => Some(OwnedRecord { ttl_s, ..record }),
                _ => None,
            }
        });
        let records: Vec<OwnedRecord> = made.collect();
        let truth = found.then(|| truth_of(question, &records))??;
        Some(Truth { ede: v4.ede.clone(), scope: v4.scope, ..truth })
    }

    /// An answer to a question for IPv6 addresses without those that are none to anybody; none if it has no such. RFC 6147 §5.1.4: "It MUST
    /// NOT return the offending AAAA records as part of a response."
    pub fn without_excluded(&self, question: &Question, (truth, age_s): (&Truth, u32)) -> Option<Truth> {
        if !v6(question, truth).iter().any(|one| self.excludes(*one)) {
            return None;
        }
        let told = |record: &OwnedRecord| match record.rtype {
            Rtype::AAAA => address(record).is_some_and(|address| !self.excludes(address)),
            rtype => matches!(rtype, Rtype::CNAME | Rtype::DNAME),
        };
        let all = owned(question, truth).into_iter().filter(told);
        let records: Vec<OwnedRecord> =
            all.map(|record| OwnedRecord { ttl_s: record.ttl_s.saturating_sub(age_s), ..record }).collect();
        Some(Truth { ede: truth.ede.clone(), scope: truth.scope, ..truth_of(question, &records)? })
    }

    /// The question behind one for the name of an address under the prefix: that for the IPv4 address in it.
    pub fn reversed(&self, question: &Question) -> Option<Question> {
        if question.qtype != Rtype::PTR || question.qname.label_count() != REVERSED_LABELS {
            return None;
        }
        let address = from_reversed(&question.qname).filter(|address| self.prefix.holds(*address))?;
        let v4 = self.embedded(address);
        // Bits that no translator sets are no IPv4 address.
        if self.mapped(v4) != address {
            return None;
        }
        let [a, b, c, d] = v4.octets();
        let qname = format!("{d}.{c}.{b}.{a}.in-addr.arpa").parse().ok()?;
        Some(Question { qname, dnssec_ok: false, ..*question })
    }

    /// What is told of a name under the prefix: an alias to the IPv4 address's, and what that has. None if it has nothing of its own: RFC
    /// 6147 §5.3.1 wants a DNS64 to "ensure that there is RDATA at the PTR of the corresponding IN-ADDR.ARPA name, and that there is not
    /// an existing CNAME at that name".
    pub fn alias(&self, question: &Question, v4: &Question, (truth, age_s): (&Truth, u32)) -> Option<Truth> {
        if truth.aliases > 0 || truth.answers == 0 || truth.rcode != Rcode::NOERROR {
            return None;
        }
        let of_type = |record: &OwnedRecord| record.rtype == Rtype::PTR;
        let found = owned(v4, truth).into_iter().filter(of_type);
        let found: Vec<OwnedRecord> =
            found.map(|record| OwnedRecord { ttl_s: record.ttl_s.saturating_sub(age_s), ..record }).collect();
        let ttl_s = found.iter().map(|record| record.ttl_s).min()?;
        let rdata = v4.qname.as_wire().to_vec();
        let alias = OwnedRecord { owner: question.qname, rtype: Rtype::CNAME, ttl_s, rdata };
        let records: Vec<OwnedRecord> = std::iter::once(alias).chain(found).collect();
        Some(Truth { ede: truth.ede.clone(), scope: truth.scope, ..truth_of(question, &records)? })
    }

    /// The address that clients reach an IPv4 address at, if there is one. RFC 6052 §3.1: "The Well-Known Prefix MUST NOT be used to
    /// represent non-global IPv4 addresses, such as those defined in \[RFC1918\]".
    fn translated(&self, v4: Ipv4Addr) -> Option<Ipv6Addr> {
        let is_nowhere = v4.is_unspecified() || v4.is_loopback();
        let is_inside = v4.is_private() || v4.is_link_local();
        let is_kept = is_nowhere || is_inside && self.prefix == WELL_KNOWN;
        (!is_kept).then(|| self.mapped(v4))
    }

    /// The address with an IPv4 address behind the prefix (RFC 6052 §2.2: bits 64 to 71 are no part of it, and zero).
    fn mapped(&self, v4: Ipv4Addr) -> Ipv6Addr {
        let mut octets = self.prefix.address.octets();
        for (place, octet) in self.places().zip(v4.octets()) {
            octets[place] = octet;
        }
        octets.into()
    }

    /// The IPv4 address behind the prefix.
    fn embedded(&self, address: Ipv6Addr) -> Ipv4Addr {
        let octets = address.octets();
        let mut v4 = [0; 4];
        for (octet, place) in v4.iter_mut().zip(self.places()) {
            *octet = octets[place];
        }
        v4.into()
    }

    /// Where in an address the octets of an IPv4 address stand.
    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        (usize::from(self.prefix.len / 8)..16).filter(|place| *place != 8)
    }

    /// Whether an address is taken for none.
    fn excludes(&self, address: Ipv6Addr) -> bool {
        self.exclude.iter().any(|prefix| prefix.holds(address))
    }
}

/// Whether the question is the one that clients find the prefix out by.
fn is_discovery(question: &Question) -> bool {
    question.qname.as_wire() == DISCOVERY
}

/// The IPv6 addresses of an answer.
fn v6(question: &Question, truth: &Truth) -> Vec<Ipv6Addr> {
    if truth.answers == 0 {
        return Vec::new();
    }
    owned(question, truth).iter().filter_map(address).collect()
}

/// The records of an answer; none if it is none to the question.
fn owned(question: &Question, truth: &Truth) -> Vec<OwnedRecord> {
    truth.owned_answers(&question.octets()).unwrap_or_default()
}

/// The IPv6 address in a record, if it holds one.
fn address(record: &OwnedRecord) -> Option<Ipv6Addr> {
    let octets = record.rdata.first_chunk::<16>().filter(|_| record.rtype == Rtype::AAAA)?;
    Some(Ipv6Addr::from(*octets))
}

/// How long a denial holds, in seconds as it arrived; none if nothing says so.
fn soa_ttl_s(question: &Question, denial: &Truth) -> Option<u32> {
    let octets = question.octets();
    let message = wire::Message::new(&octets, &denial.octets);
    let count = usize::from(denial.answers) + usize::from(denial.authorities);
    let mut records = message.records(message.base(), count).map_while(Result::ok);
    records.find(|record| record.rtype == Rtype::SOA).map(|soa| soa.ttl)
}

/// The address that a name is the reverse of (RFC 3596 §2.5).
fn from_reversed(name: &Name) -> Option<Ipv6Addr> {
    let mut labels = name.labels();
    let mut bits = 0_u128;
    for place in 0..32 {
        let &[digit] = labels.next()? else { return None };
        bits |= u128::from(char::from(digit).to_digit(16)?) << (4 * place);
    }
    (labels.next() == Some(b"ip6") && labels.next() == Some(b"arpa")).then(|| bits.into())
}

/// A truth of these records, for those who do not ask for signatures: there are none.
fn truth_of(question: &Question, records: &[OwnedRecord]) -> Option<Truth> {
    let question = Question { dnssec_ok: false, ..*question };
    let count = u16::try_from(records.len()).ok()?;
    let mut message = Vec::with_capacity(wire::MAX_MESSAGE_LEN.min(64 * (records.len() + 2)));
    [0, FLAG_QR, 1, count, 0, 0].into_iter().for_each(|number| wire::put_u16(&mut message, number));
    message.extend_from_slice(&question.octets());
    for OwnedRecord { owner, rtype, ttl_s, rdata } in records {
        let at = if *owner == question.qname { Owner::At(HEADER_LEN as u16) } else { Owner::Name(owner) };
        wire::put_record(&mut message, at, *rtype, Class::IN, *ttl_s, rdata);
    }
    Truth::read(&question, &message, &TtlLimits::NONE).ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{name, question, response};
    use super::*;

    /// By that prefix, excluding what is excluded by default.
    fn dns64(prefix: &str) -> Dns64 {
        let (address, len) = prefix.split_once('/').unwrap();
        let prefix = Prefix::new(address.parse().unwrap(), len.parse().unwrap()).unwrap();
        Dns64 { prefix, exclude: vec![MAPPED], groups: Vec::new() }
    }

    /// What upstream says to `q.e`.
    fn truth(qtype: Rtype, flags: u16, sections: [&[&str]; 2]) -> Truth {
        let message = response(flags, "q.e", qtype, [sections[0], sections[1], &[]]);
        Truth::read(&question("q.e", qtype), &message, &TtlLimits::NONE).unwrap()
    }

    /// An answer's records as `owner TTL type`, addresses behind them.
    fn lines(question: &Question, truth: &Truth) -> Vec<String> {
        let line = |record: OwnedRecord| {
            let data = address(&record).map_or(String::new(), |address| format!(" {address}"));
            format!("{} {} {}{data}", record.owner, record.ttl_s, record.rtype)
        };
        owned(question, truth).into_iter().map(line).collect()
    }

    #[test]
    fn addresses_stand_where_rfc_6052_puts_them() {
        // The examples of RFC 6052 §2.4.
        for (prefix, expected) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            let (dns64, v4) = (dns64(prefix), Ipv4Addr::new(192, 0, 2, 33));
            assert_eq!(dns64.mapped(v4), expected.parse::<Ipv6Addr>().unwrap(), "{prefix}");
            assert_eq!(dns64.embedded(dns64.mapped(v4)), v4, "{prefix}");
        }
        for (address, len) in [("2001:db8::1", 64), ("2001:db8::", 129), ("2001:db8:8000::", 32)] {
            assert_eq!(Prefix::new(address.parse().unwrap(), len), None, "{address}/{len}");
        }
    }

    #[test]
    fn what_lacks_addresses_is_told_apart() {
        let by = dns64("64:ff9b::/96");
        let (soa, none): (&[&str], &[&str]) = (&["e 100 SOA 60"], &[]);
        for (flags, answers, authorities, expected) in [
            (0, none, soa, (true, false)),
            (0, none, none, (true, false)),
            (0, &["q.e 60 CNAME a.e"], soa, (true, false)),
            (2, none, none, (true, false)),
            (3, none, soa, (false, false)),
            (0, &["q.e 60 AAAA 2001:db8::1"], none, (false, true)),
            (0, &["q.e 60 AAAA ::ffff:192.0.2.1"], none, (true, false)),
            (0, &["q.e 60 AAAA 2001:db8::1", "q.e 60 AAAA ::ffff:192.0.2.1"], none, (true, true)),
        ] {
            let (asked, truth) =
                (question("q.e", Rtype::AAAA), truth(Rtype::AAAA, flags, [answers, authorities]));
            let found = (by.concerns(&asked, &truth), by.is_usable(&asked, &truth));
            assert_eq!(found, expected, "{flags} {answers:?}");
        }
    }

    #[test]
    fn addresses_that_lead_nowhere_are_left_out() {
        let (by, asked) = (dns64("64:ff9b::/96"), question("q.e", Rtype::AAAA));
        let mixed: &[&str] = &["q.e 60 CNAME a.e", "a.e 50 AAAA ::ffff:192.0.2.1", "a.e 50 AAAA 2001:db8::1"];
        for (answers, expected) in [
            (mixed, Some(&["q.e 55 CNAME", "a.e 45 AAAA 2001:db8::1"][..])),
            (&mixed[..2], Some(&["q.e 55 CNAME"])),
            (&["q.e 60 AAAA 2001:db8::1"], None),
        ] {
            let told = by.without_excluded(&asked, (&truth(Rtype::AAAA, 0, [answers, &[]]), 5));
            let told = told.map(|truth| lines(&asked, &truth));
            assert_eq!(
                told.as_deref(),
                expected.map(|lines| lines.iter().map(ToString::to_string).collect::<Vec<_>>()).as_deref()
            );
        }
    }

    #[test]
    fn what_is_made_lasts_no_longer_than_either() {
        let asked = question("q.e", Rtype::AAAA);
        let v4 = truth(Rtype::A, 0, [&["q.e 300 CNAME a.e", "a.e 200 A 192.0.2.1"], &[]]);
        let denied = truth(Rtype::AAAA, 0, [&[], &["e 100 SOA 60"]]);
        let by = dns64("64:ff9b::/96");
        for (v6, age_s, expected) in [
            (Some((&denied, 20)), 10, "a.e 40 AAAA 64:ff9b::c000:201"),
            (Some((&denied, 0)), 150, "a.e 50 AAAA 64:ff9b::c000:201"),
            (None, 0, "a.e 200 AAAA 64:ff9b::c000:201"),
        ] {
            let made = by.synthesize(&asked, v6, (&v4, age_s)).unwrap();
            assert_eq!(lines(&asked, &made), [&format!("q.e {} CNAME", 300 - age_s), expected]);
            assert!(made.targets[..] == [name("a.e")] && !made.authentic);
        }
        let long = truth(Rtype::A, 0, [&["q.e 3600 A 192.0.2.1"], &[]]);
        let made = by.synthesize(&asked, None, (&long, 0)).unwrap();
        assert_eq!(lines(&asked, &made), ["q.e 600 AAAA 64:ff9b::c000:201"]);
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        let asked = question("q.e", Rtype::AAAA);
        let records: [&[&str]; 5] = [
            &[],
            &["q.e 300 CNAME a.e"],
            &["q.e 60 A 0.0.0.0"],
            &["q.e 60 A 127.0.0.1"],
            &["q.e 60 A 10.1.1.1"],
        ];
        for answers in records {
            let v4 = truth(Rtype::A, 0, [answers, &[]]);
            assert_eq!(dns64("64:ff9b::/96").synthesize(&asked, None, (&v4, 0)), None, "{answers:?}");
        }
        let inside = truth(Rtype::A, 0, [&["q.e 60 A 10.1.1.1"], &[]]);
        let made = dns64("2001:db8::/96").synthesize(&asked, None, (&inside, 0)).unwrap();
        assert_eq!(
            lines(&asked, &made),
            ["q.e 60 AAAA 2001:db8::a01:101"],
            "one's own prefix reaches one's own network"
        );
    }

    #[test]
    fn names_of_addresses_under_the_prefix_lead_to_ipv4() {
        let by = dns64("64:ff9b::/96");
        let reverse = |text: &str| {
            let hex = format!("{:032x}", u128::from(text.parse::<Ipv6Addr>().unwrap()));
            hex.chars().rev().map(|digit| format!("{digit}.")).collect::<String>() + "ip6.arpa"
        };
        let asked = |text: &str, qtype| question(&reverse(text), qtype);
        let expected = Some(question("1.2.0.192.in-addr.arpa", Rtype::PTR));
        assert_eq!(by.reversed(&asked("64:ff9b::192.0.2.1", Rtype::PTR)), expected);
        assert_eq!(by.reversed(&asked("64:ff9b::192.0.2.1", Rtype::A)), None);
        assert_eq!(by.reversed(&asked("64:ff9b:1::192.0.2.1", Rtype::PTR)), None);
        assert_eq!(by.reversed(&question("1.2.0.192.in-addr.arpa", Rtype::PTR)), None);
        // What stands behind the IPv4 address under a shorter prefix is zero.
        let short = dns64("2001:db8::/32");
        assert!(short.reversed(&asked("2001:db8:c000:201::", Rtype::PTR)).is_some());
        assert_eq!(short.reversed(&asked("2001:db8:c000:201::1", Rtype::PTR)), None);
    }
}
