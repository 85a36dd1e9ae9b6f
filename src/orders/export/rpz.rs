//! Response policy zones (draft-vixie-dnsop-dns-rpz-00), with the records that keep scope exact.
//!
//! RPZ has wildcards as DNS has, and servers read them differently. Let a zone hold `*.a`, `b.a` and `d.c.a`. To BIND, as
//! the draft has it, every name in the zone, `c.a` included, ends the wildcard above it: neither `c.a` nor anything below
//! `b.a`, `c.a` and `d.c.a` is matched. To PowerDNS Recursor the closest enclosing wildcard matches whatever stands
//! between. Unbound takes the owner that sorts just before the one asked for (shorter labels come first), and looks for
//! a wildcard where the two part: `c.a` is matched, and below it only what sorts before `d.c.a`.
//!
//! A zone that says it all leaves nothing to read: where a wildcard acts, its node and each node below has a record of its
//! own and a wildcard of its own. Then the name itself is found first, and the closest enclosing wildcard is at the closest
//! enclosing node, so all three find the same. Outside of acting wildcards nothing is said about what is free.

use std::io::{self, Write};

use super::effect::{Effect, Forged, address};
use super::text::ZoneName;
use super::{Enclosing, Node, Render, Tally};
use crate::iana::Rtype;
use crate::name::MAX_NAME_LEN;
use crate::name::Name;
use crate::policy::LocalRecord;
use crate::time::UnixSeconds;

/// Types whose owners BIND wants to be hostnames: A, MX and AAAA (its `check-names`).
const HOSTS_ONLY: [Rtype; 3] = [Rtype::A, Rtype::MX, Rtype::AAAA];
/// The last labels that make an owner name a trigger of another kind (draft §4.1 to §4.5).
const TRIGGERS: [&[u8]; 4] = [b"rpz-client-ip", b"rpz-ip", b"rpz-nsdname", b"rpz-nsip"];
/// Octets of a wildcard label.
const WILDCARD_LEN: usize = 2;

/// Why a name has no record.
const ROOT: &str = "the root itself, since a zone's apex takes no rule";
const TRIGGER: &str = "names whose last label means a trigger of another kind in RPZ";
const ASTERISK: &str = "names that begin with an asterisk, which is a wildcard in RPZ";
const LONG: &str = "names or subtrees that are too long below the zone's origin";
const PARTIAL: &str = "NODATA for types that local data lacks, where its zone lets them pass";
const NO_HOSTNAME: &str = "records of hosts at, or to, names that are no hostnames (a_b.example): BIND refuses the whole \
                           zone unless its zone statement says `check-names ignore;`";
const REFUSED: &str = "NODATA for names or subtrees with action refused, which RPZ lacks";

/// The renderer.
pub(super) struct Rpz<'r> {
    origin: &'r Name,
    serial: u32,
    ttl_s: u32,
    /// Whether the closest enclosing wildcard acts.
    wildcards: Enclosing<bool>,
}

impl<'r> Rpz<'r> {
    /// A zone of that origin; denials in it are good for `ttl_s` seconds.
    pub(super) fn new(origin: &'r Name, at: UnixSeconds, ttl_s: u32) -> Rpz<'r> {
        // Seconds make later exports newer, until 2106 (RFC 1982 serials may go round then).
        let serial = at.rem_euclid(1 << 32) as u32;
        Rpz { origin, serial, ttl_s, wildcards: Enclosing::default() }
    }

    /// Why a name, with `more` octets in front, can have no record.
    fn obstacle(&self, name: &Name, more: usize) -> Option<&'static str> {
        let len = more + name.as_wire().len() - 1 + self.origin.as_wire().len();
        if len > MAX_NAME_LEN {
            return Some(LONG);
        }
        if name.labels().last().is_some_and(|label| TRIGGERS.contains(&label)) {
            return Some(TRIGGER);
        }
        (name.labels().next() == Some(b"*")).then_some(ASTERISK)
    }

    /// Counts records of which BIND wants a hostname that they do not have. A wildcard's asterisk may stand in front of one.
    fn check_names<'l>(
        &self,
        node: &Node<'_>,
        records: impl Iterator<Item = (Rtype, &'l [u8])>,
        tally: &mut Tally,
    ) {
        let owner = is_hostname(&node.name) && is_hostname(self.origin);
        let odd = records.filter(|&(rtype, rdata)| {
            (HOSTS_ONLY.contains(&rtype) && !owner)
                || target(rtype, rdata).is_some_and(|name| !is_hostname(&name))
        });
        tally.demanding.add_many(NO_HOSTNAME, odd.count() as u64);
    }

    /// Writes the records of an owner, or counts what is in the way.
    fn put(
        &self,
        effect: Effect<'_>,
        front: &str,
        node: &Node<'_>,
        obstacle: Option<&'static str>,
        out: &mut dyn Write,
        tally: &mut Tally,
    ) -> io::Result<()> {
        if let Some(reason) = obstacle {
            let counts = if effect.acts() { &mut tally.left_out } else { &mut tally.unspared };
            counts.add(reason);
            return Ok(());
        }
        let owner = ZoneName(&node.name);
        let Effect::Forged(forged, source) = effect else {
            tally.lines += 1;
            return writeln!(out, "{front}{owner} CNAME rpz-passthru.");
        };
        let ttl_s = source.ttl_s();
        if source.is_partial() {
            tally.changed.add(PARTIAL);
        }
        let target = match forged {
            Forged::Addresses => {
                let (v4, v6) = (source.v4(), source.v6());
                let (a, aaaa) = (v4.iter().map(|_| Rtype::A), v6.iter().map(|_| Rtype::AAAA));
                self.check_names(node, a.chain(aaaa).map(|rtype| (rtype, &[][..])), tally);
                for address in v4.iter() {
                    writeln!(out, "{front}{owner} {ttl_s} A {address}")?;
                }
                for address in v6.iter() {
                    writeln!(out, "{front}{owner} {ttl_s} AAAA {address}")?;
                }
                tally.lines += (v4.len() + v6.len()) as u64;
                return Ok(());
            }
            Forged::Records => {
                let Some(data) = source.data() else { return Ok(()) };
                let records = data.records.iter().map(|record| (record.rtype, &record.rdata[..]));
                self.check_names(node, records, tally);
                for record in &data.records {
                    write!(out, "{front}{owner} {} ", record.ttl_s)?;
                    write_data(record, data.prepend, out)?;
                    tally.lines += 1;
                }
                return Ok(());
            }
            Forged::Nodata => "*.",
            Forged::Nxdomain => ".",
            // NODATA denies the least: NXDOMAIN would speak for all names below as well (RFC 8020).
            Forged::Refused => {
                tally.changed.add(REFUSED);
                "*."
            }
            Forged::Drop => "rpz-drop.",
            Forged::TcpOnly => "rpz-tcp-only.",
        };
        tally.lines += 1;
        writeln!(out, "{front}{owner} {ttl_s} CNAME {target}")
    }
}

impl<'p> Render<'p> for Rpz<'_> {
    fn head(&mut self, out: &mut dyn Write, _: &mut Tally) -> io::Result<()> {
        let Rpz { origin, serial, ttl_s, .. } = self;
        writeln!(out, "$TTL {ttl_s}")?;
        writeln!(out, "$ORIGIN {}.", ZoneName(origin))?;
        // Nobody asks for the zone itself: names below invalid. say so (RFC 6761 §6.4).
        writeln!(
            out,
            "@ SOA ns.sinkscope.invalid. hostmaster.sinkscope.invalid. {serial} 3600 1200 604800 {ttl_s}"
        )?;
        writeln!(out, "@ NS localhost.")
    }

    fn node(&mut self, node: &Node<'p>, out: &mut dyn Write, tally: &mut Tally) -> io::Result<()> {
        let enclosed = self.wildcards.of(node.labels) == Some(true);
        if node.own.acts() || node.below.acts() || enclosed {
            match self.obstacle(&node.name, 0) {
                // The apex is no one's name; that it has no record spoils nothing.
                _ if node.labels == 0 && !node.own.acts() => {}
                _ if node.labels == 0 => tally.left_out.add(ROOT),
                // Spared for its wildcard's sake alone: without one it is free as it is.
                Some(_) if !node.own.acts() && !enclosed => {}
                obstacle => self.put(node.own, "", node, obstacle, out, tally)?,
            }
        }
        // What is as long as a name may be has nothing below it.
        let barren = node.name.as_wire().len() + WILDCARD_LEN > MAX_NAME_LEN;
        if (node.below.acts() || enclosed) && !barren {
            let front = if node.labels == 0 { "*" } else { "*." };
            let obstacle = self.obstacle(&node.name, WILDCARD_LEN);
            self.put(node.below, front, node, obstacle, out, tally)?;
            if obstacle.is_none() {
                self.wildcards.note(node.labels, node.below.acts());
            }
        }
        Ok(())
    }
}

/// Whether a name is a hostname: letters, digits and, inside labels, hyphens (RFC 952, RFC 1123 §2.1).
fn is_hostname(name: &Name) -> bool {
    name.labels().all(|label| {
        let ends = [label.first(), label.last()];
        label.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
            && ends.iter().all(|octet| octet.is_some_and(u8::is_ascii_alphanumeric))
    })
}

/// The host that a record points to, of MX (RFC 1035 §3.3.9) and SRV (RFC 2782).
fn target(rtype: Rtype, rdata: &[u8]) -> Option<Name> {
    let numbers = match rtype {
        Rtype::MX => 2,
        Rtype::SRV => 6,
        _ => return None,
    };
    Name::from_wire(rdata.get(numbers..)?).ok()
}

/// Writes type and data: addresses and aliases as people read them, anything else as octets (RFC 3597 §5).
fn write_data(record: &LocalRecord, prepend: bool, out: &mut dyn Write) -> io::Result<()> {
    if let Some(address) = address(record) {
        return writeln!(out, "{} {address}", if address.is_ipv4() { "A" } else { "AAAA" });
    }
    if record.rtype == Rtype::CNAME
        && let Ok(target) = Name::from_wire(&record.rdata)
    {
        let star = if prepend { "*." } else { "" };
        return writeln!(out, "CNAME {star}{}.", ZoneName(&target));
    }
    write!(out, "TYPE{} \\# {} ", record.rtype.0, record.rdata.len())?;
    record.rdata.iter().try_for_each(|octet| write!(out, "{octet:02x}"))?;
    writeln!(out)
}
