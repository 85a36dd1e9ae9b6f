//! Where an answer leads: CNAME and DNAME, from the qname onwards.

use super::rtype;
use super::wire::{Malformed, Message, Record};
use crate::policy::Name;

/// The most names an answer may lead through. BIND stops at 11 restarts, Unbound at 11; what lies beyond would reach a
/// client unreviewed, so a longer answer is refused whole rather than read in part.
pub const MAX_ALIASES: usize = 32;
/// The most CNAME and DNAME records looked at, which bounds the work a hostile answer can cause.
const MAX_RECORDS: usize = 2 * MAX_ALIASES;

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

/// A CNAME or DNAME record, read.
struct Rule {
    alias: Alias,
    is_dname: bool,
}

/// Every step that a client may take from `qname` through `answers`, in whatever order the records stand. No target comes
/// twice, so the steps form a tree with `qname` at its root, and loops end.
///
/// An honest answer has one CNAME a name. Where there are several, or a CNAME that differs from its DNAME, all are
/// followed: clients differ in which they believe, and review must see each.
///
/// # Errors
/// [`Malformed`] when a name cannot be read or there are more than [`MAX_ALIASES`] steps.
pub fn aliases(
    message: &Message<'_>,
    answers: &[Record],
    qname: &Name,
    qtype: u16,
) -> Result<Vec<Alias>, Malformed> {
    // RFC 1034 §3.6.2: a query for the CNAME itself is answered with it and does not restart at its target.
    if matches!(qtype, rtype::CNAME | rtype::ANY) {
        return Ok(Vec::new());
    }
    let rules = rules(message, answers)?;
    let mut steps: Vec<Alias> = Vec::new();
    let mut owner = *qname;
    let mut followed = 0;
    loop {
        for rule in &rules {
            let Some(target) = rule.target_for(&owner) else { continue };
            if target == *qname || steps.iter().any(|step| step.target == target) {
                continue;
            }
            if steps.len() == MAX_ALIASES {
                return Err(Malformed);
            }
            steps.push(Alias { owner, target, ttl_s: rule.alias.ttl_s });
        }
        match steps.get(followed) {
            Some(step) => owner = step.target,
            None => return Ok(steps),
        }
        followed += 1;
    }
}

/// The steps that lead from `qname` to `name`, in that order; none when they do not.
pub fn path(steps: &[Alias], qname: &Name, name: &Name) -> Option<Vec<Alias>> {
    let mut path = Vec::new();
    let mut name = *name;
    // Each name is the target of one step at most and its owner was reached before it: this ends.
    while name != *qname {
        let step = steps.iter().find(|step| step.target == name)?;
        path.push(*step);
        name = step.owner;
    }
    path.reverse();
    Some(path)
}

/// The CNAME and DNAME records among `answers`.
fn rules(message: &Message<'_>, answers: &[Record]) -> Result<Vec<Rule>, Malformed> {
    let mut rules = Vec::new();
    for record in answers.iter().filter(|record| matches!(record.rtype, rtype::CNAME | rtype::DNAME)) {
        if rules.len() == MAX_RECORDS {
            return Err(Malformed);
        }
        let (owner, _) = message.name(record.owner_at)?;
        let (target, end) = message.name(record.rdata.start)?;
        if end != record.rdata.end {
            return Err(Malformed);
        }
        let alias = Alias { owner, target, ttl_s: record.ttl };
        rules.push(Rule { alias, is_dname: record.rtype == rtype::DNAME });
    }
    Ok(rules)
}

impl Rule {
    /// Where the record sends `name`, if it does.
    fn target_for(&self, name: &Name) -> Option<Name> {
        if !self.is_dname {
            return (self.alias.owner == *name).then_some(self.alias.target);
        }
        // RFC 6672 §2.3: a DNAME redirects what is below its owner, not the owner.
        if self.alias.owner == *name || !name.is_at_or_below(&self.alias.owner) {
            return None;
        }
        let kept = name.label_count() - self.alias.owner.label_count();
        let mut target = Name::ROOT;
        // RFC 6672 §2.2: a substitution that grows too long is an error (YXDOMAIN) and leads nowhere.
        name.labels()
            .take(kept)
            .chain(self.alias.target.labels())
            .try_for_each(|label| target.push_label(label))
            .ok()?;
        Some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Owner, put_record};
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// The steps from `q.e` through records written as `owner C target` or `owner D target`.
    fn lead(records: &[&str], qtype: u16) -> Result<Vec<String>, Malformed> {
        let mut octets = Vec::new();
        for record in records {
            let fields: Vec<_> = record.split(' ').collect();
            let rtype = if fields[1] == "C" { rtype::CNAME } else { rtype::DNAME };
            let (owner, target) = (name(fields[0]), name(fields[2]));
            put_record(&mut octets, Owner::Name(&owner), rtype, 1, 60, target.as_wire());
        }
        let message = Message::new(&[], &octets);
        let answers: Vec<_> = message.records(message.base(), records.len()).flatten().collect();
        let steps = aliases(&message, &answers, &name("q.e"), qtype)?;
        Ok(steps.iter().map(|step| step.target.to_string()).collect())
    }

    #[test]
    fn chains_are_followed() {
        let cases: &[(&[&str], u16, &[&str])] = &[
            (&[], 1, &[]),
            (&["q.e C a.e"], 1, &["a.e"]),
            (&["q.e C a.e"], rtype::CNAME, &[]),
            (&["x.e C a.e"], 1, &[]),
            (&["b.e C c.e", "a.e C b.e", "q.e C a.e"], 1, &["a.e", "b.e", "c.e"]),
            (&["q.e C q.e"], 1, &[]),
            (&["q.e C a.e", "a.e C q.e"], 1, &["a.e"]),
            (&["q.e C a.e", "a.e C b.e", "b.e C a.e"], 1, &["a.e", "b.e"]),
            (&["q.e C a.e", "q.e C b.e", "b.e C c.e"], 1, &["a.e", "b.e", "c.e"]),
            (&["e D f"], 1, &["q.f"]),
            (&["e D f", "q.e C q.f"], 1, &["q.f"]),
            (&["e D f", "q.e C z.f"], 1, &["q.f", "z.f"]),
            (&["q.e D f"], 1, &[]),
            (&[". D f"], 1, &[]),
            (&["q.e C a.b.g", "g D h.i"], 1, &["a.b.g", "a.b.h.i"]),
        ];
        for &(records, qtype, expected) in cases {
            let found = lead(records, qtype);
            match records {
                // A DNAME above its own target feeds on itself until it is refused.
                [". D f"] => assert_eq!(found, Err(Malformed)),
                _ => assert_eq!(found.unwrap(), expected, "{records:?}"),
            }
        }
    }

    #[test]
    fn chains_are_bounded() {
        let chain = |length: usize| -> Vec<String> {
            let names = |index| if index == 0 { "q.e".into() } else { format!("n{index}.e") };
            (0..length).map(|index| format!("{} C {}", names(index), names(index + 1))).collect()
        };
        for (length, fits) in [(MAX_ALIASES, true), (MAX_ALIASES + 1, false)] {
            let records = chain(length);
            let records: Vec<&str> = records.iter().map(String::as_str).collect();
            assert_eq!(lead(&records, 1).is_ok(), fits, "{length}");
        }
        let unrelated: Vec<String> = (0..=MAX_RECORDS).map(|index| format!("x{index}.e C y.e")).collect();
        let unrelated: Vec<&str> = unrelated.iter().map(String::as_str).collect();
        assert!(lead(&unrelated[1..], 1).is_ok());
        assert_eq!(lead(&unrelated, 1), Err(Malformed));
    }

    #[test]
    fn paths_lead_back_to_the_qname() {
        let step = |owner, target| Alias { owner: name(owner), target: name(target), ttl_s: 1 };
        let steps = [step("q.e", "a.e"), step("q.e", "b.e"), step("b.e", "c.e")];
        let qname = name("q.e");
        assert_eq!(path(&steps, &qname, &qname), Some(vec![]));
        assert_eq!(path(&steps, &qname, &name("c.e")), Some(vec![steps[1], steps[2]]));
        assert_eq!(path(&steps, &qname, &name("x.e")), None);
    }
}
