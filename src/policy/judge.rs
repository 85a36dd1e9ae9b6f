//! Compiled orders, asked: what happens to a name.
//!
//! A walk of the trie finds the rule sets on a name's path; those of them that cover the name and are in force are judged.
//!
//! Nearly every listed name has one set on its path, and nearly every set is one capture: an order's scope, without
//! exception. For such sets the outcome is written down when the policy is made ([`Lone`]), and judging is one comparison
//! of times. All others are judged by going through their rules.
//!
//! An order may be suspended and resumed while the policy stands ([`Policy::suspend`]): one bit, which every reader looks
//! at where it looks at an order's window.

use std::collections::HashSet;

use super::name::Name;
use super::order::{Action, Order, ScopeKind, UnixSeconds, Window};
use super::switch::Switches;
use super::trie::NameTrie;
use super::verdict::{Hit, Trigger, Verdict};
use super::walks::{Found, Path, Walks};

/// Names that are too few for walking side by side: setting it up costs more than the waiting it saves.
const FEW: usize = 3;

/// Every order in force or waiting, compiled; read by all, never changed but for the bits that suspend orders.
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
    /// What there is to say about a set that is one capture, by its number.
    pub(super) lone: Vec<Option<Lone>>,
    /// The orders, in precedence order.
    pub(super) orders: Vec<Order>,
    /// Which of them are suspended.
    pub(super) switches: Switches,
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

/// A set of rules that is one capture, and so has no exception, with all that decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lone {
    order: u32,
    scope: u32,
    kind: ScopeKind,
    action: Action,
    window: Window,
}

impl Lone {
    /// The lone captures among the sets, by set.
    pub(super) fn of(rules: &[Rule], sets: &[Box<[u32]>], orders: &[Order]) -> Vec<Option<Lone>> {
        let lone = |set: &[u32]| {
            let &[rule] = set else { return None };
            let Rule { role: Role::Capture { order, scope }, kind, window } = rules[rule as usize] else {
                return None;
            };
            Some(Lone { order, scope, kind, action: action_of(&orders[order as usize], scope), window })
        };
        sets.iter().map(|set| lone(set)).collect()
    }
}

/// What a scope of an order does.
fn action_of(order: &Order, scope: u32) -> Action {
    order.scopes[scope as usize].action.unwrap_or(order.action)
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

    /// Suspends every order of that id, or resumes it; whether there is one.
    ///
    /// A suspended order is as if it were lifted: it captures and spares nothing, and keeps no other order from what that
    /// does. Whoever asks after this returned has the new answer, on every thread. A reload makes a new policy, in which
    /// nothing is suspended.
    pub fn suspend(&self, order_id: &str, yes: bool) -> bool {
        let mut found = false;
        for (index, _) in self.orders.iter().enumerate().filter(|(_, order)| order.id == order_id) {
            self.switches.set(index, yes);
            found = true;
        }
        found
    }

    /// The orders that are suspended, in precedence order.
    pub fn suspended(&self) -> impl Iterator<Item = &Order> {
        self.orders.iter().zip(0..).filter(|&(_, index)| self.switches.is_set(index)).map(|(order, _)| order)
    }

    /// How often an order was suspended or resumed. What is remembered of this policy's verdicts holds only while this
    /// stays the same; it is to be read before they are asked for.
    pub fn changes(&self) -> u64 {
        self.switches.changes()
    }

    /// What happens to `name` at wall time `at`. No allocation.
    ///
    /// Precedence: protected, passthru, then policy zones in their order; within one the closest enclosing trigger,
    /// then the order that comes first. Observe decides nothing.
    pub fn verdict(&self, name: &Name, at: UnixSeconds) -> Verdict<'_> {
        self.judge(&self.path(name), at)
    }

    /// Looks up many names side by side, for [`Policy::verdict_of`]; `walks` is replaced. Faster than one by one, because
    /// the memory that each needs is fetched while the others wait for theirs.
    pub fn walk(&self, names: &[Name], walks: &mut Walks) {
        walks.start(names.len());
        if names.len() < FEW {
            for (index, name) in names.iter().enumerate() {
                self.trie.walk(name, |labels, set| walks.note(index, (labels, set)));
            }
        } else {
            self.trie.walk_batch(names, |index, labels, set| walks.note(index, (labels, set)));
        }
        walks.finish(|index| names[index].label_count());
    }

    /// [`Policy::verdict`] for the name at `index` among those that [`Policy::walk`] looked up last, in this policy; clear
    /// beyond them.
    #[inline]
    pub fn verdict_of(&self, walks: &Walks, index: usize, at: UnixSeconds) -> Verdict<'_> {
        if let Some((found, depth)) = walks.only(index)
            && let Some(verdict) = self.judge_only(found, depth, at)
        {
            return verdict;
        }
        self.judge(&walks.path(index), at)
    }

    /// [`Policy::observed`] for the name at `index` among those that [`Policy::walk`] looked up last, in this policy.
    #[inline]
    pub fn observed_of(&self, walks: &Walks, index: usize, at: UnixSeconds) -> Option<Hit<'_>> {
        if !self.observes {
            return None;
        }
        self.observe(&walks.path(index), at)
    }

    /// The verdict on a name on whose path one set was found; none if that takes more than a look.
    #[inline]
    fn judge_only(&self, (labels, set): Found, depth: usize, at: UnixSeconds) -> Option<Verdict<'_>> {
        if set == 0 {
            return Some(Verdict::Clear);
        }
        let lone = self.lone[set as usize].as_ref()?;
        let below = depth - usize::from(labels);
        let applies = lone.kind.covers(below)
            && lone.window.contains(at)
            && lone.action != Action::Observe
            && !self.switches.is_set(lone.order);
        if !applies {
            return Some(Verdict::Clear);
        }
        let trigger = Trigger { labels, kind: lone.kind };
        let Lone { order, scope, action, .. } = *lone;
        let hit = self.hit(&Capture { trigger, order, scope, action });
        Some(if action == Action::Passthru { Verdict::Passthru(hit) } else { Verdict::Act(hit) })
    }

    /// The verdict on what was found.
    pub(super) fn judge(&self, path: &Path, at: UnixSeconds) -> Verdict<'_> {
        if path.found().is_empty() {
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
        self.observe(&self.path(name), at)
    }

    /// The first order in force that only observes what was found.
    fn observe(&self, path: &Path, at: UnixSeconds) -> Option<Hit<'_>> {
        if path.found().is_empty() || self.protection(path, at).is_some() {
            return None;
        }
        let observing = self.captures(path, at).filter(|hit| hit.action == Action::Observe);
        observing.min_by_key(|hit| self.precedence(hit)).map(|capture| self.hit(&capture))
    }

    /// Every order in force that captures `name`, observing ones included, in precedence order; protection is not
    /// considered. Allocates: for explanations.
    pub fn hits(&self, name: &Name, at: UnixSeconds) -> Vec<Hit<'_>> {
        let path = self.path(name);
        let mut captures: Vec<Capture> = self.captures(&path, at).collect();
        captures.sort_by_key(|capture| self.precedence(capture));
        // A name that one scope lists twice over (itself and an ancestor) is one hit, by its closest trigger.
        let mut seen = HashSet::new();
        captures.retain(|capture| seen.insert((capture.order, capture.scope)));
        captures.iter().map(|capture| self.hit(capture)).collect()
    }

    /// Walks the trie once.
    pub(super) fn path(&self, name: &Name) -> Path {
        let mut path = Path::default();
        self.trie.walk(name, |labels, set| path.note((labels, set)));
        // Innocent names, nearly all of them, have nothing on their path and need no depth.
        if !path.found().is_empty() {
            path.depth = name.label_count();
        }
        path
    }

    /// The closest protected name in force over the path.
    fn protection(&self, path: &Path, at: UnixSeconds) -> Option<Trigger> {
        let protecting = |(trigger, rule): (Trigger, &Rule)| (rule.role == Role::Protect).then_some(trigger);
        self.in_force(path, at).filter_map(protecting).last()
    }

    /// Every capture in force on the path, exceptions taken out and suspended orders left out.
    fn captures<'a>(&'a self, path: &'a Path, at: UnixSeconds) -> impl Iterator<Item = Capture> + 'a {
        self.in_force(path, at).filter_map(move |(trigger, rule)| {
            let Role::Capture { order, scope } = rule.role else { return None };
            let spared = Role::Except { order, scope };
            if self.switches.is_set(order) || self.in_force(path, at).any(|(_, other)| other.role == spared) {
                return None;
            }
            let action = action_of(&self.orders[order as usize], scope);
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
