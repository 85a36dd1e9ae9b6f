//! What an answer leads to besides its aliases: addresses, and the targets of service bindings (RFC 9460).

use std::net::IpAddr;

use super::wire::{self, Malformed, Message, Record};
use crate::iana::{Class, Rtype};
use crate::name::Name;

/// The most service targets an answer may lead to: what lies beyond would reach a client unreviewed, so a longer answer is
/// refused whole. RFC 9460 answers have a handful.
pub const MAX_SERVICE_TARGETS: usize = 32;
/// The SvcParamKey of `ipv4hint` (RFC 9460 §7.3).
const IPV4_HINT: u16 = 4;
/// The SvcParamKey of `ipv6hint` (RFC 9460 §7.3).
const IPV6_HINT: u16 = 6;

/// The target of a service binding and where its parameters stand; none for the owner itself.
///
/// # Errors
/// [`Malformed`] when the RDATA is no service binding.
fn service(message: &Message<'_>, record: &Record) -> Result<(Name, std::ops::Range<usize>), Malformed> {
    let target_at = record.rdata.start + 2;
    let (target, end) = message.name(target_at)?;
    if end > record.rdata.end {
        return Err(Malformed);
    }
    Ok((target, end..record.rdata.end))
}

/// The other names that service bindings in an answer point to, each once.
///
/// # Errors
/// [`Malformed`] when one cannot be read, or there are more than [`MAX_SERVICE_TARGETS`].
pub(super) fn service_targets(
    message: &Message<'_>,
    answers: usize,
    known: &[Name],
) -> Result<Vec<Name>, Malformed> {
    let mut targets = Vec::new();
    for record in message.records(message.base(), answers) {
        let record = record?;
        if !is_service(record.rtype) {
            continue;
        }
        let (target, _) = service(message, &record)?;
        let (owner, _) = message.name(record.owner_at)?;
        // RFC 9460 §2.5: "." stands for the owner, or for no service.
        if target.is_root() || target == owner || known.contains(&target) || targets.contains(&target) {
            continue;
        }
        if targets.len() == MAX_SERVICE_TARGETS {
            return Err(Malformed);
        }
        targets.push(target);
    }
    Ok(targets)
}

/// The addresses in an answer section, service hints included, each once.
///
/// # Errors
/// [`Malformed`] when an address record holds anything but an address: clients may read one into it.
pub(super) fn addresses(message: &Message<'_>, answers: usize) -> Result<Vec<IpAddr>, Malformed> {
    for record in message.records(message.base(), answers) {
        let record = record?;
        let len = match record.rtype {
            Rtype::A => 4,
            Rtype::AAAA => 16,
            _ => continue,
        };
        if record.class == Class::IN && record.rdata.len() != len {
            return Err(Malformed);
        }
    }
    let mut found = Vec::new();
    each_address(message, answers, |_, address| found.push(address));
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Calls `visit` with every address in the answer section, service hints included, and the name it is given for. What cannot
/// be read was refused when the answer arrived. No allocation.
pub fn each_address(message: &Message<'_>, answers: usize, mut visit: impl FnMut(&Name, IpAddr)) {
    for record in message.records(message.base(), answers).map_while(Result::ok) {
        let address = |octets: &[u8]| -> Option<IpAddr> {
            match octets.len() {
                4 => octets.first_chunk::<4>().map(|octets| (*octets).into()),
                16 => octets.first_chunk::<16>().map(|octets| (*octets).into()),
                _ => None,
            }
        };
        let (Ok((owner, _)), Ok(rdata)) = (message.name(record.owner_at), message.rdata(&record)) else {
            return;
        };
        match record.rtype {
            Rtype::A | Rtype::AAAA => address(rdata).into_iter().for_each(|found| visit(&owner, found)),
            rtype if is_service(rtype) => {
                let Ok((_, params)) = service(message, &record) else { continue };
                let Ok(params) = message.octets(params.start, params.len()) else { continue };
                each_hint(params, |octets| {
                    address(octets).into_iter().for_each(|found| visit(&owner, found))
                });
            }
            _ => {}
        }
    }
}

/// Calls `visit` with the octets of every address hint among service parameters.
fn each_hint(mut params: &[u8], mut visit: impl FnMut(&[u8])) {
    while let Some((&[k0, k1, l0, l1], rest)) = params.split_first_chunk::<4>() {
        let Some((value, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1]))) else {
            return;
        };
        match u16::from_be_bytes([k0, k1]) {
            IPV4_HINT => value.chunks_exact(4).for_each(&mut visit),
            IPV6_HINT => value.chunks_exact(16).for_each(&mut visit),
            _ => {}
        }
        params = rest;
    }
}

/// SVCB and HTTPS (RFC 9460 §14.1).
fn is_service(rtype: Rtype) -> bool {
    matches!(rtype, Rtype::SVCB | Rtype::HTTPS)
}

/// A record that stands by itself: no pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Whose it is.
    pub owner: Name,
    /// Its type.
    pub rtype: Rtype,
    /// Its TTL in seconds, as it arrived.
    pub ttl_s: u32,
    /// Its RDATA, names spelled out.
    pub rdata: Vec<u8>,
}

/// A record's RDATA with its names spelled out.
pub(super) fn loose_rdata(message: &Message<'_>, record: &Record) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    let mut at = record.rdata.start;
    for field in wire::name_fields(record.rtype) {
        let len = match field {
            wire::Field::Name => {
                let (name, end) = message.name(at)?;
                wire::put_name(&mut out, &name);
                at = end;
                continue;
            }
            wire::Field::Octets(len) => *len,
            wire::Field::Text => 1 + usize::from(*message.octets(at, 1)?.first().ok_or(Malformed)?),
        };
        out.extend_from_slice(message.octets(at, len)?);
        at += len;
    }
    let rest = record.rdata.end.checked_sub(at).ok_or(Malformed)?;
    out.extend_from_slice(message.octets(at, rest)?);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{name, question, response};
    use super::super::{Truth, TtlLimits};
    use super::*;
    use crate::iana::Class;

    const LIMITS: TtlLimits = TtlLimits { min_s: 0, max_s: 1000, negative_min_s: 0, negative_max_s: 100 };

    /// Octets of a question.
    fn octets(qname: &str, qtype: Rtype) -> Vec<u8> {
        let mut octets = Vec::new();
        wire::put_name(&mut octets, &name(qname));
        wire::put_u16(&mut octets, qtype);
        wire::put_u16(&mut octets, Class::IN);
        octets
    }

    #[test]
    fn addresses_come_with_their_owners() {
        let answers: &[&str] = &["q.e 60 CNAME a.e", "a.e 60 A 1.2.3.4", "a.e 60 A 1.2.3.5"];
        let message = response(0, "q.e", Rtype::A, [answers, &["e 60 NS n.e"], &["n.e 60 A 9.9.9.9"]]);
        let truth = Truth::read(&question("q.e", Rtype::A), &message, &LIMITS).unwrap();
        let asked = octets("q.e", Rtype::A);
        let mut found = Vec::new();
        each_address(&Message::new(&asked, &truth.octets), usize::from(truth.answers), |owner, address| {
            found.push(format!("{owner} {address}"));
        });
        assert_eq!(found, ["a.e 1.2.3.4", "a.e 1.2.3.5"]);
        let loose = truth.owned_answers(&asked).unwrap();
        assert_eq!((loose.len(), &loose[0].rdata[..]), (3, name("a.e").as_wire()));
        assert!(!truth.is_signed(&asked));
    }

    #[test]
    fn hints_are_found_among_other_parameters() {
        let params = [
            &b"\0\x01\0\x03\x02h2"[..],
            b"\0\x04\0\x08\x01\x02\x03\x04\x05\x06\x07\x08",
            b"\0\x06\0\x10",
            &[7; 16],
        ];
        let mut found = Vec::new();
        each_hint(&params.concat(), |octets| found.push(octets.len()));
        assert_eq!(found, [4, 4, 16]);
        each_hint(b"\0\x04\0\x08\x01", |_| panic!("it ends early"));
    }
}
