//! Compiled orders, asked: what happens to a name.
//!
//! A walk of the trie finds the rule sets on a name's path; those of them that cover the name and are in force are judged.

use std::collections::HashSet;

use super::name::{MAX_LABELS, Name};
use super::order::{Action, Order, ScopeKind, UnixSeconds, Window};
use super::trie::NameTrie;
use super::verdict::{Hit, Trigger, Verdict};

/// Names that are too few for walking side by side: setting it up costs more than the waiting it saves.
const FEW: usize = 3;

/// Every order in force or waiting, compiled; read by all, never changed.
#[derive(Debug)]
pub struct Policy {
    /// Changes with every compile, so that readers can tell policies apart.
    pub(super) epoch: u64,
    /// Listed names to rule sets.
    pub(super) trie: NameTrie,
    /// All rules; a lower number comes first in precedence of its zone and order.
    pub(super) rules: Vec<Rule>,
    /// The members of each rule set, as numbers into `rules`, ascending; set 0 is empty.
    pub(super) sets: Vec<Box<[u32]>>,
    /// The orders, in precedence order.
    pub(super) orders: Vec<Order>,
    /// The policy zone of each order.
    pub(super) zones: Vec<u16>,
    /// Whether any order or scope observes: otherwise nobody looks for observers.
    pub(super) observes: bool,
    /// Names that could not be stored: 0 unless labels pass 4 GiB.
    pub(super) overflowed: usize,
    /// False for the one that stands in until there is one: nobody must take its silence for a verdict.
    pub(super) ready: bool,
}

/// Number of a set of rules; 0 is the empty set, which is the trie's word for no value.
pub(super) type RuleSet = u32;

/// One way in which one scope takes hold of the names that point to it.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub(super) struct Rule {
    /// What it does.
    pub(super) role: Role,
    /// How it covers names.
    pub(super) kind: ScopeKind,
    /// When it is in force: for a capture the order's window, the scope's and the lift of the whole order in one.
    pub(super) window: Window,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// Captures names for that order and scope.
    Capture { order: u32, scope: u32 },
    /// Spares names from that order and scope.
    Except { order: u32, scope: u32 },
    /// Keeps names from every order.
    Protect,
}

impl Policy {
    /// Differs between any two policies of one process.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether its verdicts mean anything; false only for [`Policy::not_ready`].
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Distinct names listed, protected ones and exceptions included.
    pub fn name_count(&self) -> usize {
        self.trie.len()
    }

    /// Names that did not fit: 0 below 4 GiB of names. A policy that has any must not be put in force.
    pub fn overflowed(&self) -> usize {
        self.overflowed
    }

    /// Octets the compiled names occupy.
    pub fn heap_octets(&self) -> usize {
        self.trie.heap_octets()
    }

    /// The orders, in precedence order.
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// What happens to `name` at wall time `at`. No allocation.
    ///
    /// Precedence: protected, passthru, then policy zones in their order; within one the closest enclosing trigger,
    /// then the order that comes first. Observe decides nothing.
    pub fn verdict(&self, name: &Name, at: UnixSeconds) -> Verdict<'_> {
        self.judge(&Path::of(&self.trie, name), at)
    }

    /// Looks up many names side by side, for [`Policy::verdict_of`]; `walks` is replaced. Faster than one by one, because
    /// the memory that each needs is fetched while the others wait for theirs.
    pub fn walk(&self, names: &[Name], walks: &mut Walks) {
        if walks.paths.len() < names.len() {
            walks.paths.resize_with(names.len(), Path::default);
        }
        walks.len = names.len();
        for path in &mut walks.paths[..names.len()] {
            path.len = 0;
        }
        let mut note = |index: usize, labels, set| {
            let path: &mut Path = &mut walks.paths[index];
            path.found[path.len] = (labels, set);
            path.len += 1;
        };
        if names.len() < FEW {
            for (index, name) in names.iter().enumerate() {
                self.trie.walk(name, |labels, set| note(index, labels, set));
            }
        } else {
            self.trie.walk_batch(names, note);
        }
        for (path, name) in walks.paths.iter_mut().zip(names).filter(|(path, _)| path.len > 0) {
            path.depth = name.label_count();
        }
    }

    /// [`Policy::verdict`] for the name at `index` among those that [`Policy::walk`] looked up last, in this policy; clear
    /// beyond them.
    pub fn verdict_of(&self, walks: &Walks, index: usize, at: UnixSeconds) -> Verdict<'_> {
        match walks.paths[..walks.len].get(index) {
            Some(path) => self.judge(path, at),
            None => Verdict::Clear,
        }
    }

    /// The verdict on what was found.
    fn judge(&self, path: &Path, at: UnixSeconds) -> Verdict<'_> {
        if path.len == 0 {
            return Verdict::Clear;
        }
        if let Some(trigger) = self.protection(path, at) {
            return Verdict::Protected(trigger);
        }
        let deciding = self.captures(path, at).filter(|hit| hit.action != Action::Observe);
        match deciding.min_by_key(|hit| self.precedence(hit)).map(|capture| self.hit(&capture)) {
            None => Verdict::Clear,
            Some(hit) if hit.action == Action::Passthru => Verdict::Passthru(hit),
            Some(hit) => Verdict::Act(hit),
        }
    }

    /// The first order in force that only observes `name`; none when the name is protected. No allocation.
    pub fn observed(&self, name: &Name, at: UnixSeconds) -> Option<Hit<'_>> {
        if !self.observes {
            return None;
        }
        let path = Path::of(&self.trie, name);
        if path.len == 0 || self.protection(&path, at).is_some() {
            return None;
        }
        let observing = self.captures(&path, at).filter(|hit| hit.action == Action::Observe);
        observing.min_by_key(|hit| self.precedence(hit)).map(|capture| self.hit(&capture))
    }

    /// Every order in force that captures `name`, observing ones included, in precedence order; protection is not
    /// considered. Allocates: for explanations.
    pub fn hits(&self, name: &Name, at: UnixSeconds) -> Vec<Hit<'_>> {
        let path = Path::of(&self.trie, name);
        let mut captures: Vec<Capture> = self.captures(&path, at).collect();
        captures.sort_by_key(|capture| self.precedence(capture));
        // A name that one scope lists twice over (itself and an ancestor) is one hit, by its closest trigger.
        let mut seen = HashSet::new();
        captures.retain(|capture| seen.insert((capture.order, capture.scope)));
        captures.iter().map(|capture| self.hit(capture)).collect()
    }

    /// The closest protected name in force over the path.
    fn protection(&self, path: &Path, at: UnixSeconds) -> Option<Trigger> {
        let protecting = |(trigger, rule): (Trigger, &Rule)| (rule.role == Role::Protect).then_some(trigger);
        self.in_force(path, at).filter_map(protecting).last()
    }

    /// Every capture in force on the path, exceptions taken out.
    fn captures<'a>(&'a self, path: &'a Path, at: UnixSeconds) -> impl Iterator<Item = Capture> + 'a {
        self.in_force(path, at).filter_map(move |(trigger, rule)| {
            let Role::Capture { order, scope } = rule.role else { return None };
            let spared = Role::Except { order, scope };
            if self.in_force(path, at).any(|(_, other)| other.role == spared) {
                return None;
            }
            let of = &self.orders[order as usize];
            let action = of.scopes[scope as usize].action.unwrap_or(of.action);
            Some(Capture { trigger, order, scope, action })
        })
    }

    /// Every rule on the path that covers the name and is in force, root first.
    fn in_force<'a>(&'a self, path: &'a Path, at: UnixSeconds) -> impl Iterator<Item = (Trigger, &'a Rule)> {
        path.found().iter().flat_map(move |&(labels, set)| {
            let below = path.depth - usize::from(labels);
            self.sets[set as usize].iter().filter_map(move |&rule| {
                let rule = &self.rules[rule as usize];
                let applies = rule.kind.covers(below) && rule.window.contains(at);
                applies.then_some((Trigger { labels, kind: rule.kind }, rule))
            })
        })
    }

    /// Sorts captures, first the one that decides: passthru, policy zone, closest trigger, order, scope.
    fn precedence(&self, capture: &Capture) -> (bool, u16, u8, u32, u32) {
        (
            capture.action != Action::Passthru,
            self.zones[capture.order as usize],
            u8::MAX - capture.trigger.labels,
            capture.order,
            capture.scope,
        )
    }

    /// A capture as outsiders see it.
    fn hit(&self, capture: &Capture) -> Hit<'_> {
        let order = &self.orders[capture.order as usize];
        Hit {
            order,
            scope: &order.scopes[capture.scope as usize],
            trigger: capture.trigger,
            action: capture.action,
            zone: self.zones[capture.order as usize],
        }
    }
}

/// One order's hold on a name.
#[derive(Clone, Copy)]
struct Capture {
    trigger: Trigger,
    order: u32,
    scope: u32,
    action: Action,
}

/// What was found for many names, to be judged one by one; made once and used for every batch.
#[derive(Default)]
pub struct Walks {
    paths: Vec<Path>,
    /// How many of them are of the last batch.
    len: usize,
}

/// The rule sets found on one walk, root first, on the stack.
struct Path {
    found: [(u8, RuleSet); MAX_LABELS + 1],
    len: usize,
    /// Labels of the name asked for.
    depth: usize,
}

impl Default for Path {
    fn default() -> Path {
        Path { found: [(0, 0); MAX_LABELS + 1], len: 0, depth: 0 }
    }
}

impl Path {
    /// Walks the trie once.
    fn of(trie: &NameTrie, name: &Name) -> Path {
        let mut path = Path::default();
        trie.walk(name, |labels, set| {
            path.found[path.len] = (labels, set);
            path.len += 1;
        });
        // Innocent names, nearly all of them, have nothing on their path and need no depth.
        if path.len > 0 {
            path.depth = name.label_count();
        }
        path
    }

    /// What was found: labels of the listed name, and its rules.
    fn found(&self) -> &[(u8, RuleSet)] {
        &self.found[..self.len]
    }
}
