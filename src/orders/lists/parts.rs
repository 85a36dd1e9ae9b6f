//! What an order of a list is made of: scopes and exemptions, each with its names.

use std::sync::Arc;

use super::pattern::PatternSet;
use crate::name::NameList;
use crate::orders::names;
use crate::policy::order::{Exemption, Matcher};
use crate::policy::{ListedScope, MatchKind, Patterns, Scope};

/// How names match, in the order in which scopes stand.
pub(super) const KINDS: [MatchKind; 3] = [MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow];

/// Names and patterns.
#[derive(Default)]
pub(super) struct Whoever {
    /// Names, by kind as in [`KINDS`].
    pub(super) names: [NameList; 3],
    /// Names that were counted only.
    pub(super) counted: usize,
    /// Patterns, as written and as regular expressions.
    pub(super) patterns: Vec<(String, String)>,
}

impl Whoever {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.names.iter().map(NameList::len).sum::<usize>() + self.counted + self.patterns.len()
    }

    /// Takes others in.
    pub(super) fn append(&mut self, others: Whoever) {
        for (mine, theirs) in self.names.iter_mut().zip(&others.names) {
            theirs.iter().for_each(|name| mine.push(&name));
        }
        self.counted += others.counted;
        self.patterns.extend(others.patterns);
    }
}

/// What an order is made of.
#[derive(Default)]
pub(super) struct Parts {
    /// Its scopes.
    pub(super) scopes: Vec<ListedScope>,
    /// Its exemptions.
    pub(super) exempted: Vec<(Exemption, NameList)>,
    /// Patterns that pass a bound.
    pub(super) left_out: Vec<String>,
    /// Names and patterns that are captured.
    pub(super) entries: usize,
    /// Names and patterns that are exempted.
    pub(super) exceptions: usize,
}

impl Parts {
    /// Adds scopes for names and patterns.
    pub(super) fn capture(&mut self, whoever: Whoever, template: impl Fn(MatchKind) -> Scope) {
        self.entries += whoever.counted;
        for (list, kind) in whoever.names.into_iter().zip(KINDS) {
            if !list.is_empty() {
                self.entries += list.len();
                self.scopes.push(ListedScope::new(template(kind), shrunk(list)));
            }
        }
        if let Some(patterns) = self.compiled(whoever.patterns) {
            self.entries += patterns.0.texts().len();
            let scope = Scope { patterns: Some(patterns), ..template(MatchKind::Exact) };
            self.scopes.push(ListedScope::new(scope, NameList::new()));
        }
    }

    /// Adds exemptions for names and patterns.
    pub(super) fn spare(&mut self, whoever: Whoever, important: bool) {
        self.exceptions += whoever.counted;
        for (list, kind) in whoever.names.into_iter().zip(KINDS) {
            if !list.is_empty() {
                self.exceptions += list.len();
                let exemption = Exemption { kind, patterns: None, important };
                self.exempted.push((exemption, shrunk(list)));
            }
        }
        if let Some(patterns) = self.compiled(whoever.patterns) {
            self.exceptions += patterns.0.texts().len();
            let exemption = Exemption { kind: MatchKind::Exact, patterns: Some(patterns), important };
            self.exempted.push((exemption, NameList::new()));
        }
    }

    /// Exempts the machine's own names: nobody lists them, and a pattern may match them all the same.
    pub(super) fn spare_own(&mut self) {
        let own = names::OWN_NAMES.iter().filter_map(|name| name.parse().ok()).collect();
        let under = ["localhost"].iter().filter_map(|name| name.parse().ok()).collect();
        let whoever = Whoever { names: [own, under, NameList::new()], ..Whoever::default() };
        self.spare(whoever, true);
    }

    /// Compiles patterns, those that fit; none if there are none.
    fn compiled(&mut self, patterns: Vec<(String, String)>) -> Option<Patterns> {
        let mut set = PatternSet::new(patterns);
        self.left_out.append(&mut set.left_out);
        (!set.texts().is_empty()).then(|| Patterns(Arc::new(set)))
    }
}

/// A list that takes no more room than it needs.
fn shrunk(mut list: NameList) -> NameList {
    list.shrink_to_fit();
    list
}
