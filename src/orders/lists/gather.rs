//! Rules become the scopes of one order.

use std::collections::{BTreeMap, HashSet};

use super::line::{Item, Rule, Skip, Target, Unusable};
use super::parts::{KINDS, Parts, Whoever};
use super::pattern::{Checker, MAX_PATTERNS};
use super::spec::{Format, ListSpec};
use super::wildcard;
use crate::name::Name;
use crate::orders::names::{self, MAX_REPORTED_LINES};
use crate::orders::suffix::{Covers, covers};
use crate::policy::order::Authority;
use crate::policy::{Action, MatchKind, Order, OrderWithNames, Scope};
use crate::problem::Problem;

/// What has been read so far.
pub struct Gather<'s> {
    spec: &'s ListSpec,
    /// How its lines are read.
    format: Format,
    /// The file, as the operator would name it.
    shown: &'s str,
    /// Whether names are counted only.
    counts: bool,
    /// Plain rules, and important ones.
    ranks: [Rank; 2],
    /// Check patterns: those that capture, and those that spare, so that neither crowd the others out.
    checkers: [Checker; 2],
    /// Rules that are taken back: whether they spare, whether they are important, and whom they are about.
    off: HashSet<Key>,
    skipped: BTreeMap<Skip, usize>,
    problems: Vec<Problem>,
    refused_lines: usize,
    /// Exceptions of which a limit was left out, with the first of them: its line and what stands there.
    widened: usize,
    first_widened: Option<(u32, String)>,
}

/// Rules of one rank.
#[derive(Default)]
struct Rank {
    /// Whom rules capture.
    captured: Whoever,
    /// Whom exceptions spare.
    spared: Whoever,
    /// Whom exceptions spare that had a limit.
    widened: Whoever,
}

/// Tells a rule from others.
type Key = (bool, bool, Whom);

/// Whom a rule is about.
#[derive(PartialEq, Eq, Hash)]
enum Whom {
    /// A name, in wire form, and how it matches.
    Name(Box<[u8]>, MatchKind),
    /// A regular expression.
    Pattern(String),
}

/// What came of a list.
pub struct Gathered {
    /// The order; none if there is nothing in it, or names were counted only.
    pub listed: Option<OrderWithNames>,
    /// Names and patterns in it, exceptions left out.
    pub entries: usize,
    /// What is wrong with lines, and what was skipped.
    pub problems: Vec<Problem>,
    /// Lines, or names of a line, that cannot be used.
    pub refused_lines: usize,
    /// Lines that were passed over, by reason.
    pub skipped: BTreeMap<Skip, usize>,
    /// Exceptions that spare nothing, since there is nothing else.
    pub exceptions: usize,
    /// Exceptions that spare more than they say.
    pub widened: usize,
}

impl<'s> Gather<'s> {
    /// Nothing yet, of the file named `shown` in that format.
    pub fn new(spec: &'s ListSpec, format: Format, shown: &'s str) -> Gather<'s> {
        Gather {
            spec,
            format,
            shown,
            counts: false,
            ranks: Default::default(),
            checkers: Default::default(),
            off: HashSet::new(),
            skipped: BTreeMap::new(),
            problems: Vec::new(),
            refused_lines: 0,
            widened: 0,
            first_widened: None,
        }
    }

    /// The same, but names are counted and not kept: nothing but numbers and problems will come of it.
    pub fn counting(spec: &'s ListSpec, format: Format, shown: &'s str) -> Gather<'s> {
        Gather { counts: true, ..Gather::new(spec, format, shown) }
    }

    /// How the lines are to be read.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether rules are taken back: how many stay shows by their names alone.
    pub fn takes_back(&self) -> bool {
        !self.off.is_empty()
    }

    /// Takes in what a line came to.
    pub fn take(&mut self, line: u32, item: Item<'_>) {
        match item {
            Item::Rule(rule) => {
                if let Err(why) = self.rule(line, rule) {
                    self.refuse(line, &why);
                }
            }
            Item::Off(rule) => match self.key(&rule) {
                Some(key) => drop(self.off.insert(key)),
                None => self.refuse(line, &self.bare(&rule)),
            },
            Item::Unusable(why) => self.refuse(line, &why),
            Item::Skipped(skip) => self.skip(skip),
        }
    }

    /// Passes a line over.
    fn skip(&mut self, skip: Skip) {
        *self.skipped.entry(skip).or_default() += 1;
    }

    /// How a name matches, by its own form and by what the settings say of bare ones; none if neither says.
    fn kind(&self, own: Option<MatchKind>, spares: bool) -> Option<MatchKind> {
        match own {
            // Whatever the rules of the list cover, a bare exception spares it; unless exceptions free names.
            None if spares && !self.frees() => Some(MatchKind::Subtree),
            _ => meant(self.format, own, self.spec.kind),
        }
    }

    /// Whether names on the list are not taken, but kept from others.
    fn frees(&self) -> bool {
        self.spec.action == Action::Passthru
    }

    /// Takes in a rule.
    fn rule(&mut self, line: u32, rule: Rule<'_>) -> Result<(), Unusable> {
        let guarded = !rule.spares && !self.frees() && !self.spec.allow_public_suffix;
        let rank = usize::from(rule.important);
        let shown = match &rule.target {
            Target::Name(name, own) => {
                if names::is_own(name) {
                    self.skip(Skip::OwnName);
                    return Ok(());
                }
                let kind = self.kind(*own, rule.spares).ok_or_else(|| self.bare(&rule))?;
                if guarded && kind != MatchKind::Exact {
                    guard(name)?;
                }
                let whoever = self.ranks[rank].of(&rule);
                let place = KINDS.iter().position(|one| *one == kind).unwrap_or_default();
                if self.counts {
                    whoever.counted += 1;
                } else if let Some(list) = whoever.names.get_mut(place) {
                    list.push(name);
                }
                rule.widened.then(|| name.to_string())
            }
            Target::Pattern(pattern) => {
                let refuse = |why: String| Unusable::new(pattern.written.as_bytes(), why, "");
                // What captures never crowds out what spares.
                let known: usize = self.ranks.iter_mut().map(|rank| rank.of(&rule).patterns.len()).sum();
                if known == MAX_PATTERNS {
                    return Err(refuse(format!("more than {MAX_PATTERNS} patterns")));
                }
                // An exception from everything may be meant, but not if it is one for somebody.
                let checker = &mut self.checkers[usize::from(rule.spares)];
                checker.check(&pattern.regex, !guarded && !rule.widened).map_err(refuse)?;
                let both = (pattern.written.to_string(), pattern.regex.to_string());
                self.ranks[rank].of(&rule).patterns.push(both);
                rule.widened.then(|| pattern.written.to_string())
            }
        };
        if let Some(shown) = shown {
            self.widened += 1;
            self.first_widened.get_or_insert((line, shown));
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
            Target::Name(name, kind) => Whom::Name(name.as_wire().into(), self.kind(*kind, rule.spares)?),
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
        for (rank, important) in self.ranks.iter_mut().zip([false, true]) {
            for (whoever, spares) in [(&mut rank.captured, false), (&mut rank.spared, true)] {
                let before = whoever.len();
                let stays = |whom| !off.contains(&(spares, important, whom));
                for (list, kind) in whoever.names.iter_mut().zip(KINDS) {
                    let names = list.iter();
                    *list = names.filter(|name| stays(Whom::Name(name.as_wire().into(), kind))).collect();
                }
                whoever.patterns.retain(|(_, regex)| stays(Whom::Pattern(regex.clone())));
                taken += before - whoever.len();
            }
        }
        if taken > 0 {
            self.skipped.insert(Skip::TakenBack, taken);
        }
    }

    /// Makes exceptions the list if there is nothing else on one that frees names: lists of that kind are published as
    /// exceptions, for readers that have no other word for it. Beside rules they stay what they are.
    fn turn_round(&mut self) {
        let sum = |of: fn(&Rank) -> usize| self.ranks.iter().map(of).sum::<usize>();
        let captured = sum(|rank| rank.captured.len());
        let spared = sum(|rank| rank.spared.len() + rank.widened.len());
        if !self.frees() || spared == 0 {
            return;
        }
        if captured > 0 {
            let message =
                format!("{spared} exceptions are not freed: beside rules they keep names from being freed");
            let hint = "write the names without @@, or give them a list of their own";
            self.problems.push(Problem::warning(self.shown, None, message).hint(hint));
            return;
        }
        let mut limited = 0;
        for rank in &mut self.ranks {
            std::mem::swap(&mut rank.captured, &mut rank.spared);
            limited += std::mem::take(&mut rank.widened).len();
        }
        if limited > 0 {
            // Nobody is freed by more than it says: that might be a name which an order takes.
            let message = format!("{limited} names are freed for some only, which a resolver cannot honour");
            self.problems.push(Problem::warning(self.shown, None, message));
            self.refused_lines += limited;
            self.widened = 0;
        }
    }

    /// The order of this id: scopes of plain rules, which all exceptions spare from, then of important ones, which only
    /// important exceptions do; patterns in scopes of their own.
    pub fn finish(mut self, id: &str) -> Gathered {
        self.take_back();
        self.turn_round();
        let mut parts = Parts::default();
        for (rank, important) in std::mem::take(&mut self.ranks).into_iter().zip([false, true]) {
            parts.capture(rank.captured, |kind| Scope { important, ..scope(self.spec, self.shown, kind) });
            let mut spared = rank.spared;
            spared.append(rank.widened);
            parts.spare(spared, important);
        }
        if !self.frees() && parts.scopes.iter().any(|one| one.scope.patterns.is_some()) {
            parts.spare_own();
        }
        let Parts { scopes, exempted, left_out, entries, exceptions } = parts;
        let mut problems = self.problems;
        if let Some(first) = left_out.first() {
            let message = format!(
                "{} patterns find no room beside the others of the list: {first}{}",
                left_out.len(),
                if left_out.len() > 1 { ", ..." } else { "" }
            );
            let hint = "use fewer or simpler patterns: each `*` or `.*` in the middle of many multiplies what is to be remembered";
            problems.push(Problem {
                details: left_out.clone(),
                ..Problem::warning(self.shown, None, message).hint(hint)
            });
        }
        if let Some((line, shown)) = self.first_widened.filter(|_| self.widened > 0) {
            let message = format!(
                "{} exceptions spare more than they say, the first of them \"{shown}\": a resolver cannot honour what \
                 limits them",
                self.widened
            );
            problems.push(Problem::warning(self.shown, Some(line), message));
        }
        if let Some(more) = self.refused_lines.checked_sub(MAX_REPORTED_LINES).filter(|&more| more > 0) {
            problems.push(Problem::warning(self.shown, None, format!("{more} more lines cannot be used")));
        }
        if !self.skipped.is_empty() {
            problems.push(Problem::warning(self.shown, None, skipped(&self.skipped)));
        }
        let order = order(self.spec, id, self.shown);
        let listed =
            (!self.counts && !scopes.is_empty()).then(|| OrderWithNames::new(order, scopes, exempted));
        let (refused_lines, widened) = (self.refused_lines + left_out.len(), self.widened);
        Gathered { listed, entries, problems, refused_lines, skipped: self.skipped, exceptions, widened }
    }
}

impl Rank {
    /// Where a rule belongs.
    fn of(&mut self, rule: &Rule<'_>) -> &mut Whoever {
        match (rule.spares, rule.widened) {
            (false, _) => &mut self.captured,
            (true, false) => &mut self.spared,
            (true, true) => &mut self.widened,
        }
    }
}

/// The order of this id that a list shown as `shown` is, less its scopes and exemptions.
pub fn order(spec: &ListSpec, id: &str, shown: &str) -> Order {
    Order {
        title: id.to_string(),
        authority: Authority { kind: spec.authority, ..Authority::default() },
        action: spec.action,
        sinkhole: spec.sinkhole.clone(),
        ttl_s: spec.ttl_s,
        source: shown.to_string(),
        ..Order::new(id)
    }
}

/// A scope of a list shown as `shown`, less what lines say.
pub fn scope(spec: &ListSpec, shown: &str, kind: MatchKind) -> Scope {
    Scope { family: spec.family.clone(), source: shown.to_string(), ..Scope::new(kind) }
}

/// How a name of a list matches, by its own form and by what the settings say of bare names; none if neither says.
pub fn meant(format: Format, own: Option<MatchKind>, bare: Option<MatchKind>) -> Option<MatchKind> {
    if format == Format::Wildcard { wildcard::meant(own, bare) } else { own.or(bare) }
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
