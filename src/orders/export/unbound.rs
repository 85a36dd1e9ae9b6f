//! Unbound's local zones.
//!
//! The closest enclosing `local-zone` alone decides, so a node needs one where its names fare otherwise than those around
//! it, and none else. A zone of a type that acts takes all below it; `transparent` takes only the name that has data,
//! and of that name every type: what there is no data for is NODATA. So exact names are transparent zones with data, and
//! subtrees are zones of an acting type. What Unbound cannot do is free a zone's own name and act below it.

use std::io::{self, Write};

use super::effect::{Effect, Forged};
use super::text::ZoneName;
use super::{Enclosing, Node, Render, Tally};

/// A record type for private use (RFC 6895 §3.1): a name that has it and nothing else is NODATA for whatever is asked.
const NODATA_TYPE: u16 = 65_534;

/// Why something is left out or otherwise.
const BELOW_FREE: &str =
    "subtrees below names that must stay free, since a local zone takes its own name, too";
const TCP_ONLY: &str = "names or subtrees with action tcp-only, which local zones lack";
const RECORDS: &str = "NODATA for names or subtrees with local data that is not addresses alone";
const EXACT: &str =
    "NODATA for names with action nxdomain, refused or drop, which local zones have for subtrees only";
const DIFFERENT: &str = "the subtree's answer for names whose own would be another";

/// The renderer.
#[derive(Default)]
pub(super) struct Unbound<'p> {
    /// What the closest enclosing zone does to what lies below it.
    zones: Enclosing<Effect<'p>>,
}

impl<'p> Render<'p> for Unbound<'p> {
    fn head(&mut self, out: &mut dyn Write, _: &mut Tally) -> io::Result<()> {
        writeln!(out, "server:")
    }

    fn node(&mut self, node: &Node<'p>, out: &mut dyn Write, tally: &mut Tally) -> io::Result<()> {
        let around = self.zones.of(node.labels).unwrap_or(Effect::Truth);
        let (own, below) = expressed(node, tally);
        if own == around && below == around {
            return Ok(());
        }
        self.zones.note(node.labels, below);
        let kind = match below.forged() {
            Some(Forged::Nxdomain) if own != below => "static",
            Some(Forged::Addresses) => "redirect",
            Some(Forged::Nodata) => "always_nodata",
            Some(Forged::Nxdomain) => "always_nxdomain",
            Some(Forged::Refused) => "always_refuse",
            Some(Forged::Drop) => "always_deny",
            Some(Forged::Records | Forged::TcpOnly) | None => "transparent",
        };
        let name = ZoneName(&node.name);
        writeln!(out, "local-zone: \"{name}.\" {kind}")?;
        tally.lines += 1;
        let Effect::Forged(forged, source) = own else { return Ok(()) };
        let ttl_s = source.ttl_s();
        match forged {
            Forged::Addresses => {
                let (v4, v6) = (source.v4(), source.v6());
                for address in v4.iter() {
                    writeln!(out, "local-data: \"{name}. {ttl_s} A {address}\"")?;
                }
                for address in v6.iter() {
                    writeln!(out, "local-data: \"{name}. {ttl_s} AAAA {address}\"")?;
                }
                tally.lines += (v4.len() + v6.len()) as u64;
            }
            Forged::Nodata if own != below => {
                writeln!(out, "local-data: \"{name}. {ttl_s} TYPE{NODATA_TYPE} \\# 0\"")?;
                tally.lines += 1;
            }
            // The zone's type says it.
            _ => {}
        }
        Ok(())
    }
}

/// What a local zone can do for a node: its own name, and what lies below.
fn expressed<'p>(node: &Node<'p>, tally: &mut Tally) -> (Effect<'p>, Effect<'p>) {
    let (mut own, mut below) = (node.own, node.below);
    if [own.forged(), below.forged()].contains(&Some(Forged::TcpOnly)) {
        tally.left_out.add(TCP_ONLY);
        let truth_for = |effect: Effect<'p>| {
            if effect.forged() == Some(Forged::TcpOnly) { Effect::Truth } else { effect }
        };
        (own, below) = (truth_for(own), truth_for(below));
    }
    // Unbound follows no alias from a transparent zone, and nothing at all in front of a target.
    for effect in [&mut own, &mut below] {
        if let Effect::Forged(Forged::Records, source) = *effect {
            tally.changed.add(RECORDS);
            *effect = Effect::Forged(Forged::Nodata, source);
        }
    }
    match (own, below) {
        (Effect::Truth, Effect::Forged(..)) => {
            tally.left_out.add(BELOW_FREE);
            below = Effect::Truth;
        }
        (Effect::Forged(Forged::Nxdomain | Forged::Refused | Forged::Drop, source), Effect::Truth) => {
            tally.changed.add(EXACT);
            own = Effect::Forged(Forged::Nodata, source);
        }
        // A static zone answers from its data, and denies what is below.
        (Effect::Forged(Forged::Addresses | Forged::Nodata, _), Effect::Forged(Forged::Nxdomain, _)) => {}
        (Effect::Forged(..), Effect::Forged(..)) if own != below => {
            tally.changed.add(DIFFERENT);
            own = below;
        }
        _ => {}
    }
    (own, below)
}
