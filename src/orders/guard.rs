//! The guard: an order that takes more than it may is refused whole, before it can touch a name.

use std::collections::HashSet;

use super::suffix::{Covers, covers};
use crate::name::{MAX_NAME_LEN, Name};
use crate::policy::MatchKind;
use crate::problem::Problem;

/// Names that a message lists before it only counts.
const NAMED: usize = 10;
/// Names kept for the details of a problem, so that ten million wrong names do not become ten million texts.
const DETAILED: usize = 10_000;

/// Watches the names of one order go by, in one pass, while their lines are known.
pub struct Guard {
    /// The zones the order may act in, as wire form; none means anywhere.
    zones: HashSet<Box<[u8]>>,
    /// Whether any of them is so many octets long: most of what encloses a name is not, and need not be hashed.
    lengths: [bool; MAX_NAME_LEN + 1],
    /// The zones as text.
    zones_shown: String,
    /// Whether the order may take public suffixes.
    allow_public_suffix: bool,
    /// How many names have gone by.
    names: u64,
    /// Names outside the zones.
    outside: Finds,
    /// Subtrees of public suffixes.
    suffixes: Finds,
    /// Public suffixes listed as exact names.
    apexes: Finds,
}

impl Guard {
    /// A guard for an order that may act in `zones`, or anywhere if there are none.
    pub fn new(zones: &[Name], allow_public_suffix: bool) -> Guard {
        let mut lengths = [false; MAX_NAME_LEN + 1];
        zones.iter().for_each(|zone| lengths[zone.as_wire().len()] = true);
        Guard {
            lengths,
            zones: zones.iter().map(|zone| zone.as_wire().into()).collect(),
            zones_shown: shown(zones.iter().map(Name::to_string), zones.len()),
            allow_public_suffix,
            names: 0,
            outside: Finds::default(),
            suffixes: Finds::default(),
            apexes: Finds::default(),
        }
    }

    /// Sees a listed name; `frees` says that its scope gives names the truth and so captures none.
    pub fn see(&mut self, name: &Name, kind: MatchKind, frees: bool, file: &str, line: u32) {
        self.names += 1;
        if !self.zones.is_empty() && !self.is_inside(name) {
            self.outside.add(file, line, || name.to_string());
        }
        if frees {
            return;
        }
        match (covers(name), kind) {
            (Covers::Nothing, _) | (Covers::SuffixesBelow, MatchKind::Exact) => {}
            (Covers::Suffix, MatchKind::Exact) => self.apexes.add(file, line, || name.to_string()),
            (Covers::Suffix, _) => self.suffixes.add(file, line, || name.to_string()),
            (Covers::SuffixesBelow, _) => self.suffixes.add(file, line, || format!("those below {name}")),
        }
    }

    /// How many names have gone by.
    pub fn names(&self) -> u64 {
        self.names
    }

    /// What the order does that it may not, and what it does that is odd.
    pub fn finish(self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.outside.total > 0 {
            let what = format!("outside the order's zones ({})", self.zones_shown);
            problems.push(self.outside.into_problem(
                Problem::error,
                &format!("{what}: "),
                "take them off the list, or add their zone to zones",
            ));
        }
        if self.suffixes.total > 0 {
            problems.push(if self.allow_public_suffix {
                let what = "takes whole public suffixes, as allow_public_suffix says: ";
                self.suffixes.into_problem(Problem::warning, what, "")
            } else {
                self.suffixes.into_problem(
                    Problem::error,
                    "would take whole public suffixes, and everybody's names below them: ",
                    "list the exact names; if the order really takes the suffixes, set allow_public_suffix = true",
                )
            });
        }
        if self.apexes.total > 0 && !self.allow_public_suffix {
            problems.push(self.apexes.into_problem(
                Problem::warning,
                "lists public suffixes themselves (names below them stay free): ",
                "allow_public_suffix = true says that this is meant",
            ));
        }
        problems
    }

    /// Whether the name is one of the zones or lies below one.
    fn is_inside(&self, name: &Name) -> bool {
        let mut wire = name.as_wire();
        loop {
            if self.lengths[wire.len()] && self.zones.contains(wire) {
                return true;
            }
            match wire {
                [0] | [] => return false,
                [length, ..] => wire = &wire[1 + usize::from(*length)..],
            }
        }
    }
}

/// Names of one sort that were found, and where the first of them stands.
#[derive(Default)]
struct Finds {
    /// File and line of the first.
    first: Option<(String, u32)>,
    /// The names, up to a bound.
    names: Vec<String>,
    /// How many there were.
    total: usize,
}

impl Finds {
    /// Adds one.
    fn add(&mut self, file: &str, line: u32, name: impl FnOnce() -> String) {
        self.first.get_or_insert_with(|| (file.to_string(), line));
        if self.names.len() < DETAILED {
            self.names.push(name());
        }
        self.total += 1;
    }

    /// A problem at the first find that names the first few and carries the rest as details.
    fn into_problem(
        self,
        make: fn(String, Option<u32>, String) -> Problem,
        what: &str,
        hint: &str,
    ) -> Problem {
        let (file, line) = self.first.unwrap_or_default();
        let message = format!("{what}{}", shown(self.names.iter().cloned(), self.total));
        let mut problem = make(file, Some(line), message).hint(hint);
        if self.total > NAMED {
            problem.details = self.names;
        }
        problem
    }
}

/// The first few names, and how many more there are.
fn shown(names: impl Iterator<Item = String>, total: usize) -> String {
    let first = names.take(NAMED).collect::<Vec<_>>().join(", ");
    match total.saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Severity;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// What a guard says of names that stand on lines 1, 2, ...
    fn says(guard: Guard, kind: MatchKind, names: &[&str]) -> Vec<String> {
        let mut guard = guard;
        for (index, text) in names.iter().enumerate() {
            guard.see(&name(text), kind, false, "list.txt", index as u32 + 1);
        }
        guard
            .finish()
            .iter()
            .map(|problem| problem.to_string().lines().next().unwrap_or("").to_string())
            .collect()
    }

    #[test]
    fn what_is_refused_and_what_is_not() {
        use MatchKind::*;
        let zones = [name("ddns.net"), name("no-ip.org")];
        let inside = "error: list.txt:2: outside the order's zones (ddns.net, no-ip.org): ";
        let suffix =
            "error: list.txt:1: would take whole public suffixes, and everybody's names below them: ";
        for (zones, kind, names, expected) in [
            (&zones[..], Exact, &["a.ddns.net", "b.c.no-ip.org"][..], vec![]),
            (&zones, Exact, &["a.ddns.net", "notddns.net", "net"], vec![format!("{inside}notddns.net, net"), "warning: list.txt:3: lists public suffixes themselves (names below them stay free): net".into()]),
            (&zones, Subtree, &["a.ddns.net"], vec![]),
            (&zones, Subtree, &["ddns.net"], vec![format!("{suffix}ddns.net")]),
            (&[], Subtree, &["ddns.net", "example.com", "com"], vec![format!("{suffix}ddns.net, com")]),
            (&[], SubtreeBelow, &["co.uk"], vec![format!("{suffix}co.uk")]),
            (&[], Subtree, &["amazonaws.com"], vec![format!("{suffix}those below amazonaws.com")]),
            (&[], Exact, &["amazonaws.com"], vec![]),
            (&[], Exact, &["ddns.net"], vec!["warning: list.txt:1: lists public suffixes themselves (names below them stay free): ddns.net".into()]),
            (&[], Subtree, &["example.com", "x.y.example"], vec![]),
        ] {
            assert_eq!(says(Guard::new(zones, false), kind, names), expected, "{kind} {names:?}");
        }
        assert!(says(Guard::new(&[], true), Exact, &["ddns.net"]).is_empty());
    }

    #[test]
    fn an_override_turns_the_refusal_into_a_warning() {
        let mut guard = Guard::new(&[], true);
        guard.see(&name("ddns.net"), MatchKind::Subtree, false, "x", 1);
        let problems = guard.finish();
        assert_eq!(problems.iter().map(|problem| problem.severity).collect::<Vec<_>>(), [Severity::Warning]);
    }

    #[test]
    fn passthru_scopes_may_free_a_suffix() {
        let mut guard = Guard::new(&[], false);
        guard.see(&name("com"), MatchKind::Subtree, true, "x", 1);
        assert!(guard.finish().is_empty());
    }

    #[test]
    fn many_finds_are_counted_and_kept_as_details() {
        let mut guard = Guard::new(&[], false);
        for index in 0..25 {
            guard.see(&name(&format!("tld{index}")), MatchKind::Subtree, false, "x", index + 1);
        }
        let problems = guard.finish();
        assert!(problems[0].message.ends_with("tld9 and 15 more"), "{}", problems[0].message);
        assert_eq!(problems[0].details.len(), 25);
    }
}
