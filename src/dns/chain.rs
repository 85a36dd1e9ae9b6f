//! Where an answer leads: its aliases, from the qname onwards.

use super::wire::{Malformed, Message};
use crate::iana::Rtype;
use crate::name::Name;

/// The most names an answer may lead through. BIND stops at 11 restarts, Unbound at 11; what lies beyond would reach a
/// client unreviewed, so a longer answer is refused whole rather than read in part.
pub const MAX_ALIASES: usize = 32;

/// One step from a name to the name it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name asked for.
    pub owner: Name,
    /// The name it leads to.
    pub target: Name,
    /// The TTL of the record behind it, in seconds.
    pub ttl_s: u32,
}

/// Every step from `qname` through the first `answers` records of a canonical message, in which they stand in order.
///
/// # Errors
/// [`Malformed`] when a record cannot be read.
pub fn aliases(message: &Message<'_>, answers: usize, qname: &Name) -> Result<Vec<Alias>, Malformed> {
    let mut steps: Vec<Alias> = Vec::new();
    for record in message.records(message.base(), answers) {
        let record = record?;
        // What stands between them is the DNAME that the next one is made of, or a signature.
        if record.rtype == Rtype::CNAME {
            let owner = steps.last().map_or(*qname, |step| step.target);
            let (target, _) = message.name(record.rdata.start)?;
            steps.push(Alias { owner, target, ttl_s: record.ttl });
        }
    }
    Ok(steps)
}

/// The steps that lead to `name`; none when they do not.
pub fn path<'s>(steps: &'s [Alias], name: &Name) -> &'s [Alias] {
    let end = steps.iter().position(|step| step.target == *name);
    end.map_or(&[], |end| &steps[..=end])
}

/// Where a DNAME from `owner` to `target` sends a name below `owner`; none when it would be too long (RFC 6672 §2.2).
pub(super) fn target_under(name: &Name, owner: &Name, target: &Name) -> Option<Name> {
    let kept = name.label_count().checked_sub(owner.label_count())?;
    let mut made = Name::ROOT;
    name.labels().take(kept).chain(target.labels()).try_for_each(|label| made.push_label(label)).ok()?;
    Some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn paths_lead_from_the_qname() {
        let step = |owner, target| Alias { owner: name(owner), target: name(target), ttl_s: 1 };
        let steps = [step("q.e", "a.e"), step("a.e", "b.e"), step("b.e", "q.e")];
        assert_eq!(path(&steps, &name("b.e")), &steps[..2]);
        assert_eq!(path(&steps, &name("x.e")), []);
    }

    #[test]
    fn substitution_keeps_the_labels_in_front() {
        for (from, owner, target, expected) in [
            ("a.b.old", "old", "new.net", Some("a.b.new.net")),
            ("a.old", "old", ".", Some("a")),
            ("a.old", ".", "new", Some("a.old.new")),
            ("old", "a.old", "new", None),
        ] {
            let made = target_under(&name(from), &name(owner), &name(target));
            assert_eq!(made, expected.map(name), "{from} {owner} {target}");
        }
        let long = [&["a"; 120].join(".")[..], "old"].join(".");
        assert_eq!(target_under(&name(&long), &name("old"), &name("a-rather-long-name.example")), None);
    }
}
