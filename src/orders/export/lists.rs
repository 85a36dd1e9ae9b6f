//! Hosts files and lists of names: single names, nothing below them.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::effect::{Effect, Forged};
use super::text::{ZoneName, is_plain_name};
use super::{Enclosing, Node, Render, Tally};

/// Why something is not in a list, or is otherwise.
const SUBTREE: &str = "subtrees, but for those of their names that have a line of their own";
const ODD: &str = "names with characters that hosts and list files have no form for";
const TCP_ONLY: &str = "names with action tcp-only, which has no form here";
const NO_ADDRESS: &str = "the unspecified addresses for names with an action without address";
const NO_FAMILY: &str = "the unspecified address for the family in which an order has none";

/// A hosts file.
#[derive(Default)]
pub(super) struct Hosts(Singles);

/// A list of names.
#[derive(Default)]
pub(super) struct Domains(Singles);

/// What both leave out.
#[derive(Default)]
struct Singles {
    /// Whether the closest enclosing node captures what lies below it.
    subtrees: Enclosing<bool>,
}

impl Singles {
    /// How a node's own name is captured, if it can be listed.
    fn listed<'p>(&mut self, node: &Node<'p>, tally: &mut Tally) -> Option<Effect<'p>> {
        let enclosed = self.subtrees.of(node.labels) == Some(true);
        if node.below.acts() && !enclosed {
            tally.left_out.add(SUBTREE);
        }
        self.subtrees.note(node.labels, node.below.acts());
        let reason = match node.own.forged()? {
            Forged::TcpOnly => TCP_ONLY,
            _ if !is_plain_name(&node.name) => ODD,
            _ => return Some(node.own),
        };
        tally.left_out.add(reason);
        None
    }
}

impl<'p> Render<'p> for Hosts {
    fn node(&mut self, node: &Node<'p>, out: &mut dyn Write, tally: &mut Tally) -> io::Result<()> {
        let Some(Effect::Forged(forged, source)) = self.0.listed(node, tally) else { return Ok(()) };
        // Programs that read hosts files answer what has no line truthfully: each family needs one.
        let (mut v4, mut v6) = (source.v4(), source.v6());
        if forged != Forged::Addresses {
            tally.changed.add(NO_ADDRESS);
            (v4, v6) = (Cow::default(), Cow::default());
        } else if v4.is_empty() || v6.is_empty() {
            tally.changed.add(NO_FAMILY);
        }
        let name = ZoneName(&node.name);
        for address in if v4.is_empty() { &[Ipv4Addr::UNSPECIFIED] } else { &v4[..] } {
            writeln!(out, "{address} {name}")?;
        }
        for address in if v6.is_empty() { &[Ipv6Addr::UNSPECIFIED] } else { &v6[..] } {
            writeln!(out, "{address} {name}")?;
        }
        tally.lines += (v4.len().max(1) + v6.len().max(1)) as u64;
        Ok(())
    }
}

impl<'p> Render<'p> for Domains {
    fn node(&mut self, node: &Node<'p>, out: &mut dyn Write, tally: &mut Tally) -> io::Result<()> {
        if self.0.listed(node, tally).is_none() {
            return Ok(());
        }
        tally.lines += 1;
        writeln!(out, "{}", ZoneName(&node.name))
    }
}
