//! `[dns64]`: prefixes become bits, and groups are known.

use std::net::IpAddr;

use super::layer::Layers;
use super::spec::Spec;
use crate::access::Network;
use crate::clients::DEFAULT;
use crate::dns::dns64::{Dns64, LENGTHS, Prefix};
use crate::keys;
use crate::problem::Problem;

/// What is excluded unless something else is said.
pub(super) const EXCLUDED: &str = "::ffff:0:0/96";

/// The most prefixes that are excluded: each is held against each address.
const MAX_EXCLUDED: usize = 64;

/// The translator's prefix, if a sound one is given.
pub(super) fn prefix(spec: &Spec) -> Option<Prefix> {
    let given = spec.dns64.prefix.as_deref().filter(|text| !text.is_empty())?;
    // RFC 6052 §2.2: bits 64 to 71 are zero.
    parse(given).filter(|prefix| LENGTHS.contains(&prefix.bits()) && prefix.address().octets()[8] == 0)
}

/// Reads `[dns64]`, noting all problems; none where nothing is translated.
pub(super) fn read(spec: &Spec, layers: &Layers, problems: &mut Vec<Problem>) -> Option<Dns64> {
    let mut bad = |key: &str, item: Option<usize>, what: &str, hint: &str| {
        problems.push(layers.problem("dns64", key, item, what).hint(hint));
    };
    let given = spec.dns64.prefix.as_deref().filter(|text| !text.is_empty());
    let prefix = prefix(spec);
    if let (Some(text), None) = (given, prefix) {
        let what = format!("is \"{}\", which is no prefix of a translator", text.escape_debug());
        let hint = "write one of /32, /40, /48, /56, /64 or /96, with bits 64 to 71 zero: \"64:ff9b::/96\"";
        bad("prefix", None, &what, hint);
    }
    let known: Vec<&str> =
        spec.clients.iter().map(|group| group.name.as_str()).chain(std::iter::once(DEFAULT)).collect();
    let groups = spec.dns64.groups.clone().unwrap_or_default();
    for (index, name) in groups.iter().enumerate().filter(|(_, name)| !known.contains(&name.as_str())) {
        let what = format!("is \"{}\", which is no group of clients", name.escape_debug());
        let hint = match keys::nearest(name, known.iter().copied()) {
            Some(nearest) => format!("did you mean \"{nearest}\"?"),
            None => "name groups of [[clients]], or leave it out for everybody".to_owned(),
        };
        bad("groups", Some(index), &what, &hint);
    }
    let texts = spec.dns64.exclude.as_deref().unwrap_or_default();
    if texts.len() > MAX_EXCLUDED {
        bad("exclude", None, &format!("has more than {MAX_EXCLUDED} prefixes"), "name shorter ones");
    }
    let mut exclude = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match parse(text) {
            Some(prefix) => exclude.push(prefix),
            None => {
                let what = format!("is \"{}\", which is no prefix of IPv6", text.escape_debug());
                bad("exclude", Some(index), &what, "write \"::ffff:0:0/96\" or \"2001:db8::/32\"");
            }
        }
    }
    prefix.map(|prefix| Dns64 { prefix, exclude, groups })
}

/// Reads a prefix of IPv6; one of mapped addresses is written so, and is no network of IPv4 here.
fn parse(text: &str) -> Option<Prefix> {
    if let Some((address, len)) = text.trim().split_once('/') {
        return Prefix::new(address.parse().ok()?, len.parse().ok()?);
    }
    let network = text.trim().parse::<Network>().ok()?;
    match network.addr() {
        IpAddr::V6(address) => Prefix::new(address, network.prefix()),
        IpAddr::V4(_) => None,
    }
}
