//! The names a trace is made of.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use super::Spec;
use crate::name::Name;
use crate::orders::{Filled, names};
use crate::policy::{Policy, Verdict};
use crate::time::UnixSeconds;
use crate::trace::random::Random;

/// The most innocent neighbours that are made; queries draw from them.
const MAX_SIBLINGS: usize = 65_536;
/// Innocent neighbours made for each listed name, on average, as long as there are fewer.
const SIBLINGS_EACH: usize = 8;
/// Tries to make an innocent neighbour of one listed name: it may lie in a listed subtree, and then none will do.
const SIBLING_TRIES: usize = 4;
/// Zones that made popular names lie under, most used first.
const MADE_ZONES: [&str; 6] = ["com", "net", "org", "de", "io", "co.uk"];

/// Many names in two allocations, each reached by its number.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// The names in wire form, one after the other.
    octets: Vec<u8>,
    /// Where each starts.
    starts: Vec<u32>,
}

impl Pool {
    /// Adds a name; false, and nothing is added, past 4 GiB.
    pub fn push(&mut self, name: &Name) -> bool {
        let Ok(start) = u32::try_from(self.octets.len()) else { return false };
        self.starts.push(start);
        self.octets.extend_from_slice(name.as_wire());
        true
    }

    /// How many names.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The wire form of the name of this number, from 0; the root for numbers that have none.
    pub fn name(&self, number: usize) -> &[u8] {
        let start = self.starts.get(number).map(|&start| start as usize);
        let end = self.starts.get(number + 1).map_or(self.octets.len(), |&start| start as usize);
        start.and_then(|start| self.octets.get(start..end)).unwrap_or(&[0])
    }
}

impl FromIterator<Name> for Pool {
    fn from_iter<I: IntoIterator<Item = Name>>(names: I) -> Pool {
        let mut pool = Pool::default();
        for name in names {
            pool.push(&name);
        }
        pool
    }
}

/// All names a maker draws from.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// By popularity.
    pub popular: Pool,
    /// Captured by an order.
    pub listed: Pool,
    /// Neighbours of those that no order captures.
    pub siblings: Pool,
}

impl Names {
    /// The names for `spec`, with the orders `loaded` and compiled to `policy`, as of `at`.
    ///
    /// # Errors
    /// When the file of popular names, or of zones, cannot be read or holds none.
    pub fn gather(spec: &Spec, loaded: &Filled, policy: &Policy, at: UnixSeconds) -> io::Result<Names> {
        let popular = match &spec.popular {
            Some(path) => read(path)?.into_iter().collect(),
            None => made(spec),
        };
        let listed = if spec.listed.0 > 0.0 || spec.siblings.0 > 0.0 {
            listed(loaded, policy, at)
        } else {
            Pool::default()
        };
        let siblings = match &spec.sibling_zones {
            _ if spec.siblings.0 <= 0.0 => Pool::default(),
            None => siblings(&listed, policy, at, spec.seed),
            Some(path) => {
                let zones: HashSet<Name> = read(path)?.into_iter().collect();
                siblings(&below(&listed, &zones), policy, at, spec.seed)
            }
        };
        Ok(Names { popular, listed, siblings })
    }
}

/// The names in a file, one a line.
///
/// # Errors
/// When it cannot be read or holds none.
fn read(path: &Path) -> io::Result<Vec<Name>> {
    let list = fs::read(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let found: Vec<Name> = names::Names::new(&list).filter_map(|(_, name)| name.ok()).collect();
    if found.is_empty() {
        let message = format!("{}: no names in it: one a line are expected", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(found)
}

/// Those of `listed` that lie below one of `zones`: their neighbours lie in it too.
fn below(listed: &Pool, zones: &HashSet<Name>) -> Pool {
    let under = |name: &Name| {
        (0..name.label_count()).filter_map(|labels| name.ancestor(labels)).any(|up| zones.contains(&up))
    };
    (0..listed.len()).filter_map(|number| Name::from_wire(listed.name(number)).ok()).filter(under).collect()
}

/// Popular names that nobody owns, all different.
fn made(spec: &Spec) -> Pool {
    let mut random = Random::new(spec.seed, u64::MAX);
    let mut seen = HashSet::new();
    let mut pool = Pool::default();
    // Six letters and more: a billion names for at most ten million places.
    while pool.len() < spec.made_names as usize {
        let letters = 6 + random.below(7) as usize;
        let label: Vec<u8> = random.word(letters).collect();
        if !seen.insert(label.clone()) {
            continue;
        }
        let zone = MADE_ZONES[random.below(MADE_ZONES.len() as u64) as usize];
        let mut name = Name::ROOT;
        for label in std::iter::once(label.as_slice()).chain(zone.split('.').map(str::as_bytes)) {
            // Short labels, three at most.
            let _ = name.push_label(label);
        }
        pool.push(&name);
    }
    pool
}

/// Every listed name that its order captures now; of what is listed for its children only, a child.
fn listed(loaded: &Filled, policy: &Policy, at: UnixSeconds) -> Pool {
    let orders = loaded.zones.iter().flat_map(|zone| &zone.orders);
    let names = orders.flat_map(|order| order.names()).flat_map(|names| names.iter());
    let captured = |name: &Name| matches!(policy.verdict(name, at), Verdict::Act(..));
    names
        .filter_map(|name| Some(name).filter(captured).or_else(|| child(b"www", &name).filter(captured)))
        .collect()
}

/// Names beside listed ones that no order captures.
fn siblings(listed: &Pool, policy: &Policy, at: UnixSeconds, seed: u64) -> Pool {
    let mut random = Random::new(seed, u64::MAX - 1);
    let mut pool = Pool::default();
    for _ in 0..MAX_SIBLINGS.min(SIBLINGS_EACH * listed.len()) {
        let number = random.below(listed.len() as u64) as usize;
        let Some(parent) = Name::from_wire(listed.name(number)).ok().and_then(|name| name.parent()) else {
            continue;
        };
        for _ in 0..SIBLING_TRIES {
            let letters = 4 + random.below(9) as usize;
            let label: Vec<u8> = random.word(letters).collect();
            if let Some(sibling) =
                child(&label, &parent).filter(|name| policy.verdict(name, at) == Verdict::Clear)
            {
                pool.push(&sibling);
                break;
            }
        }
    }
    pool
}

/// `label.parent`, where that is not too long.
fn child(label: &[u8], parent: &Name) -> Option<Name> {
    let mut wire = vec![u8::try_from(label.len()).ok()?];
    wire.extend_from_slice(label);
    wire.extend_from_slice(parent.as_wire());
    Name::from_wire(&wire).ok()
}
