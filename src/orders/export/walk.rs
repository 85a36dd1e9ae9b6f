//! Every node of a policy's tree in canonical order (RFC 4034 §6.1), with what happens there and below.

use std::io;

use super::Effect;
use crate::name::Name;
use crate::name::{MAX_LABEL_LEN, MAX_LABELS, MAX_NAME_LEN};
use crate::policy::Policy;
use crate::time::UnixSeconds;

/// Names gone through between two looks at the progress.
const STEP: u64 = 4096;
/// What ends a label in a key.
const END: u8 = 0;
/// What stands before an octet that would be mistaken for [`END`], or for itself.
const ESCAPE: u8 = 1;

/// A policy's names, sorted.
pub(super) struct Walk<'p> {
    policy: &'p Policy,
    at: UnixSeconds,
    keys: Keys,
}

/// A name at which something may change: a listed one, or one between a listed name and the root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'p> {
    /// The name.
    pub name: Name,
    /// How many labels it has.
    pub labels: usize,
    /// What happens to it.
    pub own: Effect<'p>,
    /// What happens to the names below it that are not at or below a deeper node.
    pub below: Effect<'p>,
}

impl<'p> Walk<'p> {
    /// Sorts the names of a policy that is looked at as of `at`.
    pub(super) fn of(policy: &'p Policy, at: UnixSeconds) -> Walk<'p> {
        let mut keys = Keys::default();
        policy.names().for_each(|name| keys.push(&name));
        keys.sort();
        Walk { policy, at, keys }
    }

    /// How many names are listed.
    pub(super) fn len(&self) -> usize {
        self.keys.starts.len()
    }

    /// Calls `each` for every node, the root first, each after all that enclose it.
    ///
    /// # Errors
    /// The first of `each`.
    pub(super) fn visit(
        &self,
        progress: &mut dyn FnMut(u64),
        mut each: impl FnMut(&Node<'p>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut last = Name::ROOT;
        each(&self.node(last, 0))?;
        for (count, name) in (1..).zip(self.keys.iter()) {
            let labels = name.label_count();
            for depth in shared_labels(&last, &name) + 1..=labels {
                // All these depths are the name's own, so it has such an ancestor.
                each(&self.node(name.ancestor(depth).unwrap_or(name), depth))?;
            }
            last = name;
            if count % STEP == 0 {
                progress(STEP);
            }
        }
        progress(self.len() as u64 % STEP);
        Ok(())
    }

    /// The node of a name.
    fn node(&self, name: Name, labels: usize) -> Node<'p> {
        let own = Effect::of(&self.policy.verdict(&name, self.at));
        let below = Effect::of(&self.policy.verdict_below(&name, self.at));
        Node { name, labels, own, below }
    }
}

/// How many labels two names share, counted from the root.
fn shared_labels(one: &Name, two: &Name) -> usize {
    let (one_len, two_len) = (one.label_count(), two.label_count());
    let most = one_len.min(two_len);
    let pairs = one.labels().skip(one_len - most).zip(two.labels().skip(two_len - most));
    // Leftmost first: what differs last is closest to the root.
    pairs
        .enumerate()
        .filter(|(_, (mine, theirs))| mine != theirs)
        .last()
        .map_or(most, |(at, _)| most - at - 1)
}

/// Names as keys whose octets sort like the names do: labels from the root down, each with an end; the key ends with an
/// empty label, which comes before any other. A [`Name`] takes ten times the
/// octets.
#[derive(Default)]
struct Keys {
    octets: Vec<u8>,
    starts: Vec<usize>,
}

impl Keys {
    /// Adds a name.
    fn push(&mut self, name: &Name) {
        self.starts.push(self.octets.len());
        let mut labels = [&[][..]; MAX_LABELS];
        let mut count = 0;
        for (place, label) in labels.iter_mut().zip(name.labels()) {
            (*place, count) = (label, count + 1);
        }
        for label in labels.iter().take(count).rev() {
            for &octet in *label {
                match octet {
                    END => self.octets.extend([ESCAPE, ESCAPE]),
                    ESCAPE => self.octets.extend([ESCAPE, ESCAPE + 1]),
                    _ => self.octets.push(octet),
                }
            }
            self.octets.push(END);
        }
        self.octets.push(END);
    }

    /// Sorts; no two names are the same, so no key is another's beginning and none need be cut where it ends.
    fn sort(&mut self) {
        let octets = &self.octets;
        self.starts.sort_unstable_by(|one, two| octets[*one..].cmp(&octets[*two..]));
    }

    /// The names.
    fn iter(&self) -> impl Iterator<Item = Name> + '_ {
        self.starts.iter().map(|start| name_of(&self.octets[*start..]).unwrap_or(Name::ROOT))
    }
}

/// The name whose key begins the octets. Every key was made from a valid name, so there is one.
fn name_of(key: &[u8]) -> Option<Name> {
    // The root end comes first in a key, so the wire form grows to the front. Its last octet is the root's and stays 0.
    let mut wire = [0; MAX_NAME_LEN];
    let mut front = MAX_NAME_LEN - 1;
    let mut octets = key.iter().copied();
    loop {
        let mut label = [0; MAX_LABEL_LEN];
        let mut len = 0;
        loop {
            let octet = match octets.next()? {
                END => break,
                ESCAPE => octets.next()? - ESCAPE,
                octet => octet,
            };
            *label.get_mut(len)? = octet;
            len += 1;
        }
        if len == 0 {
            return Name::from_wire(wire.get(front..)?).ok();
        }
        front = front.checked_sub(1 + len)?;
        wire[front] = len as u8;
        wire[front + 1..][..len].copy_from_slice(&label[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn keys_sort_as_names_do_and_give_them_back() {
        let mut names: Vec<Name> = [
            ".",
            "a",
            "net",
            "ddns.net",
            "a.ddns.net",
            "a-b.net",
            "a\\000b.net",
            "a\\001.net",
            "a.net",
            "z.a.net",
            "a\\000.net",
            "ab.net",
            "\\255.net",
            "\\001\\001.net",
            "\\000.net",
            "b.a-b.net",
        ]
        .map(name)
        .to_vec();
        let mut keys = Keys::default();
        names.iter().for_each(|name| keys.push(name));
        keys.sort();
        names.sort();
        assert_eq!(keys.iter().collect::<Vec<_>>(), names);
    }

    #[test]
    fn shared_labels_are_counted_from_the_root() {
        for (one, two, shared) in [
            (".", "net", 0),
            ("net", "net", 1),
            ("a.net", "b.net", 1),
            ("x.a.net", "a.net", 2),
            ("a.b.net", "a.c.net", 1),
            ("a.b.c", "a.b.d", 0),
        ] {
            assert_eq!(shared_labels(&name(one), &name(two)), shared, "{one} {two}");
            assert_eq!(shared_labels(&name(two), &name(one)), shared, "{two} {one}");
        }
    }
}
