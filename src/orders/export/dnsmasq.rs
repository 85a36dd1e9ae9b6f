//! dnsmasq's domain options.
//!
//! A domain in `address`, `local` or `server` means itself and all below it; one that begins with `*.` means all below it
//! alone. The longest that matches decides, so two of them say what a node says. `local` keeps dnsmasq from asking
//! upstream: what has no data is denied, where an `address` alone would let other types through. `server` with `#` gives a
//! domain back to the usual upstreams.

use std::io::{self, Write};

use super::effect::{Effect, Forged};
use super::text::{ZoneName, is_plain_name};
use super::{Enclosing, Node, Render, Tally};

/// What a name points to that shall exist and have nothing else: `local` denies names that dnsmasq knows nothing of, and of
/// the records one can give it this is the one that nobody asks such a name for. It never resolves (RFC 6761 §6.4).
const NODATA_POINTER: &str = "nodata.invalid";

/// Why something is left out or otherwise.
const ROOT: &str = "the root, which domain options cannot name";
const ODD: &str = "names with characters that dnsmasq has no form for";
const ODD_OTHER: &str = "the subtree's answer for names with characters that dnsmasq has no form for";
const TCP_ONLY: &str = "names or subtrees with action tcp-only, which dnsmasq lacks";
const NAME: &str =
    "NODATA for names with action refused or drop or with local data that is not addresses alone";
const SUBTREE: &str = "NXDOMAIN for subtrees with action nodata, refused or drop or with local data that is not addresses alone";

/// The renderer.
#[derive(Default)]
pub(super) struct Dnsmasq<'p> {
    /// What the closest enclosing domain does to what lies below it.
    domains: Enclosing<Effect<'p>>,
}

impl<'p> Render<'p> for Dnsmasq<'p> {
    fn node(&mut self, node: &Node<'p>, out: &mut dyn Write, tally: &mut Tally) -> io::Result<()> {
        if node.labels == 0 {
            if node.own.acts() || node.below.acts() {
                tally.left_out.add(ROOT);
            }
            return Ok(());
        }
        let around = self.domains.of(node.labels).unwrap_or(Effect::Truth);
        let (own, below) = expressed(node, around, tally);
        if own == around && below == around {
            return Ok(());
        }
        if !is_plain_name(&node.name) {
            match (around.acts(), own.acts() && below.acts()) {
                (false, _) => tally.left_out.add(ODD),
                (true, false) => tally.unspared.add(ODD),
                (true, true) => tally.changed.add(ODD_OTHER),
            }
            return Ok(());
        }
        self.domains.note(node.labels, below);
        put(own, "", node, out, tally)?;
        if own != below { put(below, "*.", node, out, tally) } else { Ok(()) }
    }
}

/// What dnsmasq can do for a node: its own name, and what lies below.
fn expressed<'p>(node: &Node<'p>, around: Effect<'p>, tally: &mut Tally) -> (Effect<'p>, Effect<'p>) {
    let (mut own, mut below) = (node.own, node.below);
    if [own.forged(), below.forged()].contains(&Some(Forged::TcpOnly)) {
        tally.left_out.add(TCP_ONLY);
    }
    if let Effect::Forged(forged, source) = own {
        match forged {
            Forged::TcpOnly => own = Effect::Truth,
            Forged::Records | Forged::Refused | Forged::Drop => {
                tally.changed.add(NAME);
                own = Effect::Forged(Forged::Nodata, source);
            }
            Forged::Addresses | Forged::Nodata | Forged::Nxdomain => {}
        }
    }
    if let Effect::Forged(forged, source) = below {
        match forged {
            Forged::TcpOnly => below = Effect::Truth,
            Forged::Records | Forged::Nodata | Forged::Refused | Forged::Drop => {
                below = Effect::Forged(Forged::Nxdomain, source);
                // Told once, where the subtree begins.
                if below != around {
                    tally.changed.add(SUBTREE);
                }
            }
            Forged::Addresses | Forged::Nxdomain => {}
        }
    }
    (own, below)
}

/// Writes what happens to a domain.
fn put(
    effect: Effect<'_>,
    front: &str,
    node: &Node<'_>,
    out: &mut dyn Write,
    tally: &mut Tally,
) -> io::Result<()> {
    let name = ZoneName(&node.name);
    tally.lines += 1;
    let Effect::Forged(forged, source) = effect else {
        return writeln!(out, "server=/{front}{name}/#");
    };
    match forged {
        Forged::Addresses => {
            let (v4, v6) = (source.v4(), source.v6());
            for address in v4.iter() {
                writeln!(out, "address=/{front}{name}/{address}")?;
            }
            for address in v6.iter() {
                writeln!(out, "address=/{front}{name}/{address}")?;
            }
            tally.lines += (v4.len() + v6.len()) as u64;
        }
        Forged::Nodata => {
            tally.lines += 1;
            writeln!(out, "ptr-record={name},{NODATA_POINTER}")?;
        }
        // Nothing is known of it, and nobody is asked. The others were made one of these before.
        _ => {}
    }
    writeln!(out, "local=/{front}{name}/")
}
