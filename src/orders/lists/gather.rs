//! Rules become the scopes of one order.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::line::{Item, Rule, Skip, Target, Unusable};
use super::pattern::{self, MAX_PATTERNS, PatternSet};
use super::spec::ListSpec;
use crate::orders::names::MAX_REPORTED_LINES;
use crate::orders::suffix::{Covers, covers};
use crate::policy::order::Authority;
use crate::policy::{Action, Listed, Name, NameList, Order, Patterns, Scope, ScopeKind};
use crate::problem::Problem;

/// How names match, in the order in which scopes stand.
const KINDS: [ScopeKind; 3] = [ScopeKind::Exact, ScopeKind::Subtree, ScopeKind::SubtreeBelow];

/// What has been read so far.
pub struct Gather<'s> {
    spec: &'s ListSpec,
    /// The file, as the operator would name it.
    shown: &'s str,
    /// Plain rules, and important ones.
    ranks: [Rank; 2],
    /// Rules that are taken back: whether they spare, whether they are important, and whom they are about.
    off: HashSet<Key>,
    skipped: BTreeMap<Skip, usize>,
    problems: Vec<Problem>,
    refused_lines: usize,
}

/// Rules of one rank.
#[derive(Default)]
struct Rank {
    /// Captured names, by kind as in [`KINDS`].
    names: [NameList; 3],
    /// Spared names, all with what is below them.
    spared: NameList,
    /// Patterns, as written and as regular expressions.
    patterns: Vec<(String, String)>,
}

/// Tells a rule from others.
type Key = (bool, bool, Whom);

/// Whom a rule is about.
#[derive(PartialEq, Eq, Hash)]
enum Whom {
    /// A name, in wire form, and how it matches.
    Name(Box<[u8]>, ScopeKind),
    /// A regular expression.
    Pattern(String),
}

/// What came of a list.
pub struct Gathered {
    /// The order; none if there is nothing in it.
    pub listed: Option<Listed>,
    /// What is wrong with lines, and what was skipped.
    pub problems: Vec<Problem>,
    /// Lines, or names of a line, that cannot be used.
    pub refused_lines: usize,
    /// Lines that were passed over, by reason.
    pub skipped: BTreeMap<Skip, usize>,
}

impl<'s> Gather<'s> {
    /// Nothing yet, of the file named `shown`.
    pub fn new(spec: &'s ListSpec, shown: &'s str) -> Gather<'s> {
        Gather {
            spec,
            shown,
            ranks: Default::default(),
            off: HashSet::new(),
            skipped: BTreeMap::new(),
            problems: Vec::new(),
            refused_lines: 0,
        }
    }

    /// Takes in what a line came to.
    pub fn take(&mut self, line: u32, item: Item<'_>) {
        match item {
            Item::Rule(rule) => {
                if let Err(why) = self.rule(rule) {
                    self.refuse(line, &why);
                }
            }
            Item::Off(rule) => match self.key(&rule) {
                Some(key) => drop(self.off.insert(key)),
                None => self.refuse(line, &self.bare(&rule)),
            },
            Item::Unusable(why) => self.refuse(line, &why),
            Item::Skipped(skip) => *self.skipped.entry(skip).or_default() += 1,
        }
    }

    /// Takes in a rule.
    fn rule(&mut self, rule: Rule<'_>) -> Result<(), Unusable> {
        let important = usize::from(rule.important);
        let frees = self.spec.action == Action::Passthru || self.spec.allow_public_suffix;
        match &rule.target {
            Target::Name(name, kind) => {
                let kind = kind.or(self.spec.kind).ok_or_else(|| self.bare(&rule))?;
                if rule.spares && kind != ScopeKind::Subtree {
                    let why = "an exception that spares less than a name and all below it";
                    return Err(Unusable::new(name.to_string().as_bytes(), why, "write @@||name^"));
                }
                if !rule.spares && !frees && kind != ScopeKind::Exact {
                    guard(name)?;
                }
                let rank = &mut self.ranks[important];
                let [exact, subtree, below] = &mut rank.names;
                match (rule.spares, kind) {
                    (true, _) => rank.spared.push(name),
                    (false, ScopeKind::Exact) => exact.push(name),
                    (false, ScopeKind::Subtree) => subtree.push(name),
                    (false, ScopeKind::SubtreeBelow) => below.push(name),
                }
            }
            Target::Pattern(pattern) => {
                let refuse = |why: String| Unusable::new(pattern.written.as_bytes(), why, "");
                if rule.spares {
                    return Err(refuse("an exception by pattern; exceptions are names".into()));
                }
                let known: usize = self.ranks.iter().map(|rank| rank.patterns.len()).sum();
                if known == MAX_PATTERNS {
                    return Err(refuse(format!("more than {MAX_PATTERNS} patterns")));
                }
                pattern::check(&pattern.regex, frees).map_err(refuse)?;
                self.ranks[important].patterns.push((pattern.written.to_string(), pattern.regex.to_string()));
            }
        }
        Ok(())
    }

    /// Refuses a bare name that nothing says the meaning of.
    fn bare(&self, rule: &Rule<'_>) -> Unusable {
        let shown = match &rule.target {
            Target::Name(name, _) => name.to_string(),
            Target::Pattern(pattern) => pattern.written.to_string(),
        };
        Unusable::new(
            shown.as_bytes(),
            "a bare name, and nothing says what it covers",
            "say it for the list: match = \"exact\", \"subtree\" or \"subtree-below\"",
        )
    }

    /// What tells a rule from others; none of a bare name without meaning.
    fn key(&self, rule: &Rule<'_>) -> Option<Key> {
        let whom = match &rule.target {
            Target::Name(name, kind) => Whom::Name(name.as_wire().into(), kind.or(self.spec.kind)?),
            Target::Pattern(pattern) => Whom::Pattern(pattern.regex.to_string()),
        };
        Some((rule.spares, rule.important, whom))
    }

    /// Refuses a line.
    fn refuse(&mut self, line: u32, why: &Unusable) {
        self.refused_lines += 1;
        if self.refused_lines <= MAX_REPORTED_LINES {
            // Not an error: whoever reads this can seldom mend a list, and the list stands.
            self.problems.push(Problem::warning(self.shown, Some(line), why.to_string()).hint(why.hint));
        }
    }

    /// Takes out what was taken back.
    fn take_back(&mut self) {
        if self.off.is_empty() {
            return;
        }
        let off = &self.off;
        let mut taken = 0;
        let mut strip = |list: &mut NameList, spares: bool, important: bool, kind: ScopeKind| {
            let stays =
                |name: &Name| !off.contains(&(spares, important, Whom::Name(name.as_wire().into(), kind)));
            let left: NameList = list.iter().filter(stays).collect();
            taken += list.len() - left.len();
            *list = left;
        };
        for (rank, important) in self.ranks.iter_mut().zip([false, true]) {
            for (list, kind) in rank.names.iter_mut().zip(KINDS) {
                strip(list, false, important, kind);
            }
            strip(&mut rank.spared, true, important, ScopeKind::Subtree);
        }
        for (rank, important) in self.ranks.iter_mut().zip([false, true]) {
            let before = rank.patterns.len();
            rank.patterns
                .retain(|(_, regex)| !off.contains(&(false, important, Whom::Pattern(regex.clone()))));
            taken += before - rank.patterns.len();
        }
        if taken > 0 {
            self.skipped.insert(Skip::TakenBack, taken);
        }
    }

    /// The order of this id: scopes of plain rules, which all exceptions spare from, then of important ones, which only
    /// important exceptions do; patterns in scopes of their own.
    pub fn finish(mut self, id: &str) -> Gathered {
        self.take_back();
        let [mut plain, mut important] = self.ranks;
        important.spared.iter().for_each(|name| plain.spared.push(&name));
        let (mut scopes, mut names, mut exceptions) = (Vec::new(), Vec::new(), Vec::new());
        let template = |kind| Scope {
            family: self.spec.family.clone(),
            exception_kind: ScopeKind::Subtree,
            source: self.shown.to_string(),
            ..Scope::new(kind)
        };
        for rank in [&mut plain, &mut important] {
            rank.spared.shrink_to_fit();
            for (list, kind) in std::mem::take(&mut rank.names).into_iter().zip(KINDS) {
                if !list.is_empty() {
                    let mut list = list;
                    list.shrink_to_fit();
                    scopes.push(template(kind));
                    names.push(list);
                    exceptions.push(rank.spared.clone());
                }
            }
            if let Some(set) = PatternSet::new(std::mem::take(&mut rank.patterns)) {
                scopes.push(Scope { patterns: Some(Patterns(Arc::new(set))), ..template(ScopeKind::Exact) });
                names.push(NameList::new());
                exceptions.push(rank.spared.clone());
            }
        }
        let mut problems = self.problems;
        if let Some(more) = self.refused_lines.checked_sub(MAX_REPORTED_LINES).filter(|&more| more > 0) {
            problems.push(Problem::warning(self.shown, None, format!("{more} more lines cannot be used")));
        }
        if !self.skipped.is_empty() {
            problems.push(Problem::warning(self.shown, None, skipped(&self.skipped)));
        }
        let order = Order {
            title: id.to_string(),
            authority: Authority { kind: self.spec.authority, ..Authority::default() },
            scopes,
            action: self.spec.action,
            sinkhole: self.spec.sinkhole.clone(),
            ttl_s: self.spec.ttl_s,
            source: self.shown.to_string(),
            ..Order::new(id)
        };
        let listed = (!order.scopes.is_empty()).then_some(Listed { order, names, exceptions });
        Gathered { listed, problems, refused_lines: self.refused_lines, skipped: self.skipped }
    }
}

/// Refuses a subtree that would take everybody's names below a public suffix.
fn guard(name: &Name) -> Result<(), Unusable> {
    let why = match covers(name) {
        Covers::Nothing => return Ok(()),
        Covers::Suffix => "would take a whole public suffix, and everybody's names below it",
        Covers::SuffixesBelow => "would take public suffixes below it, and everybody's names below them",
    };
    Err(Unusable::new(
        name.to_string().as_bytes(),
        why,
        "if that is meant, set allow_public_suffix = true for the list",
    ))
}

/// What was skipped, in a line.
fn skipped(skipped: &BTreeMap<Skip, usize>) -> String {
    let parts: Vec<String> =
        skipped.iter().map(|(skip, count)| format!("{count} {}", skip.as_str())).collect();
    format!("skipped, since a resolver has no use for them: {}", parts.join(", "))
}
