//! What is allowed but worth a look: found by `check`, never in the way of loading.

use std::collections::HashSet;

use super::load::Filled;
use super::locate::{Locator, place};
use super::time;
use crate::name::{Name, NameList};
use crate::policy::{Action, MatchKind, Order, OrderWithNames};
use crate::problem::Problem;
use crate::time::UnixSeconds;

/// Names in an order of somebody else from which on it should have a canary: nobody reads that many one by one.
const MANY_NAMES: usize = 1000;
/// Names that one warning shows before it only counts.
const SHOWN: usize = 3;

/// Warnings about the orders loaded, as of `now`.
pub fn lint(loaded: &Filled, now: UnixSeconds) -> Vec<Problem> {
    let mut locator = Locator::of(loaded);
    let lists: HashSet<&str> =
        loaded.lists.iter().flat_map(|list| &list.files).map(|file| file.id.as_str()).collect();
    let mut problems = Vec::new();
    for listed in loaded.zones.iter().flat_map(|zone| &zone.orders) {
        problems.extend(window(&listed.order, now));
        problems.extend(nxdomain(listed));
        // Lists say things twice as a matter of course, and nobody here can mend them.
        if !lists.contains(listed.order.id.as_str()) {
            problems.extend(relations(listed, &mut locator));
        }
        problems.extend(canaries(listed));
    }
    problems
}

/// An order that has run out without being lifted, or is due for review.
fn window(order: &Order, now: UnixSeconds) -> Vec<Problem> {
    let ended = order.lifted(now).is_some();
    let due = |at: Option<UnixSeconds>| at.filter(|&at| at <= now && !ended);
    let mut problems = Vec::new();
    if let Some(expires) = due(order.window.expires) {
        let message = format!("order {} expired on {}", order.id, time::show(expires));
        problems.push(
            Problem::warning(&order.source, None, message)
                .hint("remove the file, or record how it ended: lifted = { at, by, why }"),
        );
    } else if let Some(review) = due(order.window.review_by) {
        let message = format!("order {} was due for review by {}", order.id, time::show(review));
        problems.push(Problem::warning(&order.source, None, message).hint("review it, then move review_by"));
    }
    problems
}

/// NXDOMAIN for exact names takes their children along.
fn nxdomain(listed: &OrderWithNames) -> Option<Problem> {
    // A policy zone says NXDOMAIN where it means it: nobody here wrote it.
    if listed.order.rpz.is_some() {
        return None;
    }
    let order = &listed.order;
    let (_, of) = listed
        .scopes()
        .filter(|(scope, _)| scope.kind == MatchKind::Exact)
        .find(|(scope, _)| scope.action.unwrap_or(order.action) == Action::NXDOMAIN)?;
    let example = of.names.iter().next()?;
    // RFC 8020 §2: "When an iterative caching DNS resolver receives an NXDOMAIN response, it SHOULD store it in
    // its cache and then all names and resource record sets (RRsets) at or below that node SHOULD be considered
    // unreachable."
    let message = format!(
        "order {} answers NXDOMAIN for exact names such as {example}: caches behind this resolver will deny the names below them too (RFC 8020)",
        order.id
    );
    Some(
        Problem::warning(&order.source, None, message)
            .hint("use action = \"nodata\" or \"sinkhole\" for exact names"),
    )
}

/// A long order from outside beside which nobody watches an innocent name.
fn canaries(listed: &OrderWithNames) -> Option<Problem> {
    let order = &listed.order;
    let names: usize = listed.names().map(NameList::len).sum();
    (order.authority.kind.is_external() && order.canaries.is_empty() && names >= MANY_NAMES).then(|| {
        let message = format!("order {} lists {names} names and no canary", order.id);
        Problem::warning(&order.source, None, message).hint(
            "name innocent siblings, canaries = [\"innocent.example\"]: they are asked for, and an alarm says if it strays",
        )
    })
}

/// Names listed twice, and names below other listed names.
fn relations(listed: &OrderWithNames, locator: &mut Locator) -> Vec<Problem> {
    let mut all: HashSet<Box<[u8]>> = HashSet::new();
    let mut by_kind: HashSet<(MatchKind, Box<[u8]>)> = HashSet::new();
    let mut twice = Found::default();
    let mut nested = Found::default();
    let names = || listed.scopes().flat_map(|(scope, of)| of.names.iter().map(move |name| (scope, name)));
    for (scope, name) in names() {
        all.insert(name.as_wire().into());
        if !by_kind.insert((scope.kind, name.as_wire().into())) {
            twice.add(|| (scope.source.clone(), name, name.to_string()));
        }
    }
    for (scope, name) in names() {
        if let Some(above) = listed_above(&all, &name) {
            nested.add(|| (scope.source.clone(), name, format!("{name} below {above}")));
        }
    }
    let id = &listed.order.id;
    let doubled = twice.into_problem(locator, &format!("order {id} lists names more than once"), "harmless");
    let hint = "look whether both are meant: an exact name does not take those below it, a subtree takes them anyway";
    let nested =
        nested.into_problem(locator, &format!("order {id} lists names below other names it lists"), hint);
    doubled.into_iter().chain(nested).collect()
}

/// The closest listed name strictly above `name`.
fn listed_above(all: &HashSet<Box<[u8]>>, name: &Name) -> Option<Name> {
    let mut above = name.parent();
    while let Some(candidate) = above {
        if all.contains(candidate.as_wire()) {
            return Some(candidate);
        }
        above = candidate.parent();
    }
    None
}

/// Names of one sort: the first few, and how many.
#[derive(Default)]
struct Found {
    /// File, name and how to show it.
    first: Vec<(String, Name, String)>,
    /// How many.
    total: usize,
}

impl Found {
    /// Adds one.
    fn add(&mut self, find: impl FnOnce() -> (String, Name, String)) {
        if self.first.len() < SHOWN {
            self.first.push(find());
        }
        self.total += 1;
    }

    /// A warning at the first that shows the first few with their places.
    fn into_problem(self, locator: &mut Locator, what: &str, hint: &str) -> Option<Problem> {
        let (file, name, _) = self.first.first()?;
        let line = locator.line(file, name);
        let shown: Vec<String> = self
            .first
            .iter()
            .map(|(file, name, text)| format!("{text} ({})", place(file, locator.line(file, name))))
            .collect();
        let message = format!("{what}: {} in all, such as {}", self.total, shown.join(", "));
        Some(Problem::warning(file, line, message).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::{Loader, Settings};
    use std::fs;

    /// The warnings about one order, without its file's folder, as of 2020-01-01.
    fn says(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("o.toml"), format!("id = \"x\"\n{text}")).unwrap();
        let loaded =
            Loader::new(Settings { paths: vec![folder.path().into()], ..Settings::default() }).load();
        assert_eq!(loaded.problems, [], "{text}");
        let prefix = format!("{}/", folder.path().display());
        let now = 1_577_836_800;
        let shown = |problem: &Problem| problem.to_string().replace(&prefix, "");
        lint(&loaded, now)
            .iter()
            .map(|problem| shown(problem).lines().next().unwrap_or("").to_string())
            .collect()
    }

    #[test]
    fn what_is_worth_a_look() {
        let scope = |kind: &str, names: &str| format!("[[scope]]\nmatch = \"{kind}\"\nnames = [{names}]\n");
        let many =
            |count: usize| (0..count).map(|number| format!("\"n{number}.example\", ")).collect::<String>();
        let plain = scope("exact", "\"a.example\"");
        for (text, expected) in [
            (plain.clone(), vec![]),
            (
                format!("expires = 2019-01-01\n{plain}"),
                vec!["warning: o.toml: order x expired on 2019-01-01"],
            ),
            (format!("expires = 2019-01-01\nlifted = 2018-01-01\n{plain}"), vec![]),
            (format!("expires = 2021-01-01\n{plain}"), vec![]),
            (
                format!("review_by = 2019-01-01\n{plain}"),
                vec!["warning: o.toml: order x was due for review by 2019-01-01"],
            ),
            (format!("review_by = 2021-01-01\n{plain}"), vec![]),
            (
                format!("action = \"nxdomain\"\n{plain}"),
                vec![
                    "warning: o.toml: order x answers NXDOMAIN for exact names such as a.example: caches behind this \
                     resolver will deny the names below them too (RFC 8020)",
                ],
            ),
            (format!("action = \"nxdomain\"\n{}", scope("subtree", "\"a.example\"")), vec![]),
            (
                scope("exact", "\"a.example\", \"b.c.a.example\", \"A.example\""),
                vec![
                    "warning: o.toml:4: order x lists names more than once: 1 in all, such as a.example (o.toml:4)",
                    "warning: o.toml:4: order x lists names below other names it lists: 1 in all, such as \
                     b.c.a.example below a.example (o.toml:4)",
                ],
            ),
            (format!("{plain}{}", scope("subtree-below", "\"a.example\"")), vec![]),
            (format!("kind = \"court\"\n{}", scope("exact", &many(999))), vec![]),
            (
                format!("kind = \"court\"\n{}", scope("exact", &many(1000))),
                vec!["warning: o.toml: order x lists 1000 names and no canary"],
            ),
            (
                format!("kind = \"court\"\ncanaries = [\"b.example\"]\n{}", scope("exact", &many(1000))),
                vec![],
            ),
            (scope("exact", &many(1000)), vec![]),
        ] {
            assert_eq!(says(&text), expected, "{text}");
        }
    }
}
