//! Address prefixes as names, the way RPZ writes them (draft-vixie-dnsop-dns-rpz §4.1.1), so that they live in the trie.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::order::TriggerType;
use crate::name::Name;

/// The address with all bits behind the first `len` zero; `len` beyond the address's own bits is all of them.
pub fn masked(address: IpAddr, len: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(len.into())).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(len.into())).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// Lengths of prefixes under which translators map IPv4 addresses (RFC 6052 §2.2).
pub const NAT64_LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];
/// The prefixes that hold everywhere: IPv4-mapped addresses, which a host's own stack sends to the IPv4 address (RFC 4291
/// §2.5.5.2), and the well-known prefix of NAT64 (RFC 6052 §2.1).
const EVERYWHERE: [(Ipv6Addr, u8); 2] =
    [(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96), (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96)];

/// The prefixes of IPv6 addresses that are IPv4 addresses in disguise: those that hold everywhere, and a network's own.
///
/// An address under one leads to the IPv4 address in it, so it is both to a trigger. Not so ::a.b.c.d (deprecated by RFC 4291
/// §2.5.5.1: no host takes it for IPv4 any more, and ::1 is one of them), and not 6to4 and Teredo: there the IPv4 address is
/// that of a tunnel's end, and behind it may be anybody. Who means such a site lists its IPv6 prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat64(Vec<(Ipv6Addr, u8)>);

impl Nat64 {
    /// Takes in a network's own prefix; false when `len` is none of [`NAT64_LENGTHS`], and it is not taken.
    pub fn add(&mut self, prefix: Ipv6Addr, len: u8) -> bool {
        let sound = NAT64_LENGTHS.contains(&len);
        if sound {
            self.0.push((prefix, len));
        }
        sound
    }

    /// The address itself, then each IPv4 address that it is besides. No allocation.
    #[inline]
    pub fn forms(&self, address: IpAddr) -> impl Iterator<Item = IpAddr> + '_ {
        let v6 = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(v6),
        };
        let inside = v6.into_iter().flat_map(|v6| {
            let under = move |&&(prefix, len): &&(Ipv6Addr, u8)| masked(v6.into(), len) == IpAddr::V6(prefix);
            EVERYWHERE.iter().chain(&self.0).filter(under).map(move |&(_, len)| embedded(v6, len).into())
        });
        std::iter::once(address).chain(inside)
    }
}

/// The IPv4 address behind a prefix of one of [`NAT64_LENGTHS`]. RFC 6052 §2.2: bits 64 to 71 are no part of it.
fn embedded(address: Ipv6Addr, len: u8) -> Ipv4Addr {
    let octets = address.octets();
    let mut behind = (usize::from(len / 8)..16).filter(|place| *place != 8).map(|place| octets[place]);
    // There are at least four: 96 bits before leave 32.
    Ipv4Addr::from([(); 4].map(|()| behind.next().unwrap_or_default()))
}

/// The top label of triggers of that sort, relative to their zone; none for QNAME triggers, which have none.
pub fn label(on: TriggerType) -> Option<&'static [u8]> {
    match on {
        TriggerType::Qname => None,
        TriggerType::ClientIp => Some(b"rpz-client-ip"),
        TriggerType::ResponseIp => Some(b"rpz-ip"),
        TriggerType::NsDname => Some(b"rpz-nsdname"),
        TriggerType::NsIp => Some(b"rpz-nsip"),
    }
}

/// The name of a prefix under the label of `on`: `24.0.2.0.192.rpz-ip`, `48.zz.101.db8.2001.rpz-ip`. Bits behind the prefix
/// are not looked at.
pub fn to_name(address: IpAddr, len: u8, on: TriggerType) -> Name {
    let mut name = Name::ROOT;
    // At most eleven labels of at most fourteen octets: they always fit.
    let mut push = |label: &[u8]| {
        let _ = name.push_label(label);
    };
    push(digits(len.into(), 10, &mut [0; 4]));
    match masked(address, len) {
        IpAddr::V4(v4) => {
            v4.octets().iter().rev().for_each(|octet| push(digits((*octet).into(), 10, &mut [0; 4])))
        }
        IpAddr::V6(v6) => {
            let mut groups = v6.segments();
            groups.reverse();
            let run = longest_zeros(&groups);
            for (index, group) in groups.iter().enumerate() {
                match &run {
                    Some(run) if index == run.start => push(b"zz"),
                    Some(run) if run.contains(&index) => {}
                    _ => push(digits(*group, 16, &mut [0; 4])),
                }
            }
        }
    }
    label(on).into_iter().for_each(push);
    name
}

/// The prefix that a name stands for, whichever label it ends with. Zero groups may be compressed anywhere, or not at all.
///
/// # Errors
/// Why it stands for none, as the end of a sentence.
pub fn from_name(name: &Name) -> Result<(IpAddr, u8), &'static str> {
    let mut labels: Vec<&[u8]> = name.labels().collect();
    let known = |label: &&[u8]| TriggerType::ALL.iter().any(|on| self::label(*on) == Some(*label));
    if labels.last().is_some_and(known) {
        labels.pop();
    }
    let (len, groups) = labels.split_first().ok_or("it is empty")?;
    let len: u16 = decimal(len).ok_or("its first label is no prefix length")?;
    let zz = groups.iter().position(|label| *label == b"zz");
    let (address, bits) = match (groups, zz) {
        ([d, c, b, a], None) => {
            let octet = |label: &[u8]| {
                decimal(label)
                    .and_then(|value| u8::try_from(value).ok())
                    .ok_or("an IPv4 octet is not 0 to 255")
            };
            (IpAddr::from([octet(a)?, octet(b)?, octet(c)?, octet(d)?]), 32)
        }
        _ => {
            let group = |label: &&[u8]| hexadecimal(label).ok_or("an IPv6 group is not 0 to ffff");
            let mut all = [0u16; 8];
            match zz {
                Some(at) => {
                    let (front, back) = (&groups[..at], &groups[at + 1..]);
                    if front.len() + back.len() > 7 {
                        return Err("it has more than eight IPv6 groups");
                    }
                    for (place, label) in all.iter_mut().zip(front) {
                        *place = group(label)?;
                    }
                    for (place, label) in all.iter_mut().rev().zip(back.iter().rev()) {
                        *place = group(label)?;
                    }
                }
                None if groups.len() == 8 => {
                    for (place, label) in all.iter_mut().zip(groups) {
                        *place = group(label)?;
                    }
                }
                None => return Err("it has neither four IPv4 octets nor eight IPv6 groups"),
            }
            all.reverse();
            (IpAddr::from(all), 128)
        }
    };
    let len = u8::try_from(len)
        .ok()
        .filter(|len| (1..=bits).contains(len))
        .ok_or("its prefix length is out of range")?;
    if masked(address, len) != address {
        return Err("it has bits behind its prefix");
    }
    Ok((address, len))
}

/// A number's digits in `base`, written into `room` from the right: an address is looked up for each packet at worst, so no
/// text is made on the heap.
fn digits(mut value: u16, base: u16, room: &mut [u8; 4]) -> &[u8] {
    let mut at = room.len();
    loop {
        // Three decimal digits or four hexadecimal ones: there is room.
        at -= 1;
        room[at] = b"0123456789abcdef"[usize::from(value % base)];
        value /= base;
        if value == 0 || at == 0 {
            return &room[at..];
        }
    }
}

/// The longest run of two or more zero groups, the first of them in this order: §4.1.1 wants the last of the unreversed one.
fn longest_zeros(groups: &[u16; 8]) -> Option<std::ops::Range<usize>> {
    let mut best: Option<std::ops::Range<usize>> = None;
    let mut start = None;
    for index in 0..=groups.len() {
        match (groups.get(index) == Some(&0), start) {
            (true, None) => start = Some(index),
            (false, Some(from)) => {
                if index - from > 1 && best.as_ref().is_none_or(|best| index - from > best.len()) {
                    best = Some(from..index);
                }
                start = None;
            }
            _ => {}
        }
    }
    best
}

/// A decimal number without leading zeros, at most 999.
fn decimal(label: &[u8]) -> Option<u16> {
    let sound = (1..=3).contains(&label.len())
        && label.iter().all(u8::is_ascii_digit)
        && (label.len() == 1 || label[0] != b'0');
    sound.then(|| label.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0')))
}

/// A hexadecimal number of one to four digits; leading zeros are let pass, as BIND and Unbound do.
fn hexadecimal(label: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(label).ok().filter(|text| (1..=4).contains(&text.len()))?;
    text.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_written_as_the_draft_has_them_and_read_back() {
        for (address, len, expected) in [
            ("192.0.2.0", 24, "24.0.2.0.192.rpz-ip"),
            ("192.0.2.77", 24, "24.0.2.0.192.rpz-ip"),
            ("10.0.0.2", 32, "32.2.0.0.10.rpz-ip"),
            ("0.0.0.0", 1, "1.0.0.0.0.rpz-ip"),
            ("2001:db8::3", 128, "128.3.zz.db8.2001.rpz-ip"),
            ("2001:db8:101::", 48, "48.zz.101.db8.2001.rpz-ip"),
            ("2001:0:0:1:0:0:0:1", 128, "128.1.zz.1.0.0.2001.rpz-ip"),
            ("2001:0:0:1:2:0:0:1", 128, "128.1.zz.2.1.0.0.2001.rpz-ip"),
            ("2001:db8:1:2:3:4:5:6", 128, "128.6.5.4.3.2.1.db8.2001.rpz-ip"),
            ("2001:db8:0:2:3:4:5:6", 128, "128.6.5.4.3.2.0.db8.2001.rpz-ip"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let name = to_name(address, len, TriggerType::ResponseIp);
            assert_eq!(name.to_string(), expected);
            assert_eq!(from_name(&name), Ok((masked(address, len), len)), "{expected}");
        }
    }

    #[test]
    fn addresses_in_disguise_are_found() {
        let mut nat64 = Nat64::default();
        // RFC 6052 §2.4 has a table of 192.0.2.33 under each length.
        for (prefix, len) in [
            ("2001:db8::", 32),
            ("2001:db8:100::", 40),
            ("2001:db8:122::", 48),
            ("2001:db8:122:300::", 56),
            ("2001:db8:122:344::", 64),
            ("2001:db8:122:344::", 96),
        ] {
            assert!(nat64.add(prefix.parse().unwrap(), len));
        }
        assert!(!nat64.add("2001:db8::".parse().unwrap(), 33));
        for (text, expected) in [
            ("2001:db8:c000:221::", Some("192.0.2.33")),
            ("2001:db8:1c0:2:21::", Some("192.0.2.33")),
            ("2001:db8:122:c000:2:2100::", Some("192.0.2.33")),
            ("2001:db8:122:3c0:0:221::", Some("192.0.2.33")),
            ("2001:db8:122:344:c0:2:2100:0", Some("192.0.2.33")),
            ("2001:db8:122:344::192.0.2.33", Some("192.0.2.33")),
            ("64:ff9b::192.0.2.33", Some("192.0.2.33")),
            ("::ffff:192.0.2.33", Some("192.0.2.33")),
            ("64:ff9b:1::192.0.2.33", None),
            ("::192.0.2.33", None),
            ("::1", None),
            ("2002:c000:221::1", None),
            ("192.0.2.33", None),
        ] {
            let address: IpAddr = text.parse().unwrap();
            let forms: Vec<IpAddr> = nat64.forms(address).collect();
            assert_eq!(forms[0], address);
            match expected {
                Some(inside) => assert!(forms[1..].contains(&inside.parse().unwrap()), "{text}: {forms:?}"),
                None => assert_eq!(forms.len(), 1, "{text}: {forms:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_prefix_says_why() {
        for text in [
            "24.0.2.0",
            "33.1.2.0.192",
            "0.0.0.0.0",
            "24.1.2.0.192",
            "8.2.0.0.10.rpz-client-ip",
            "024.0.2.0.192",
            "24.0.02.0.192",
            "24.0.256.0.192",
            "x.0.2.0.192",
            "129.3.zz.db8.2001",
            "128.3.zz.zz.2001",
            "64.3.zz.db8.2001",
            "128.12345.zz.db8.2001",
            "128.8.7.6.5.zz.4.3.2.1",
            "rpz-ip",
        ] {
            assert!(from_name(&text.parse().unwrap()).is_err(), "{text}");
        }
    }
}
