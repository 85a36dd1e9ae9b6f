//! Orders compiled into one immutable policy.
//!
//! A name in the trie points to a set of rules; a rule is one way one scope of one order takes hold. There are few
//! rules and few distinct sets however many names there are, so a listed name costs its trie node and nothing more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::name::{MAX_LABELS, Name, NameList};
use super::order::{Action, Listed, Order, Protected, Scope, ScopeKind, UnixSeconds, Window};
use super::trie::{NameTrie, TrieBuilder};
use super::verdict::{Hit, Trigger, Verdict};

/// Names that are too few for walking side by side: setting it up costs more than the waiting it saves.
const FEW: usize = 3;

/// An ordered group of orders; what stands in an earlier zone comes before all of a later one's.
#[derive(Clone, Debug, Default)]
pub struct PolicyZone {
    /// As the operator named it.
    pub name: String,
    /// Its orders, in precedence order.
    pub orders: Vec<Arc<Listed>>,
}

/// Every order in force or waiting, compiled; read by all, never changed.
#[derive(Debug)]
pub struct Policy {
    /// Changes with every compile, so that readers can tell policies apart.
    epoch: u64,
    /// Listed names to rule sets.
    trie: NameTrie,
    /// All rules; a lower number comes first in precedence of its zone and order.
    rules: Vec<Rule>,
    /// The members of each rule set, as numbers into `rules`, ascending; set 0 is empty.
    sets: Vec<Box<[u32]>>,
    /// The orders, in precedence order.
    orders: Vec<Order>,
    /// The policy zone of each order.
    zones: Vec<u16>,
    /// Whether any order or scope observes: otherwise nobody looks for observers.
    observes: bool,
    /// Names that could not be stored: 0 unless labels pass 4 GiB.
    overflowed: usize,
}

/// Number of a set of rules; 0 is the empty set, which is the trie's word for no value.
type RuleSet = u32;

/// One way in which one scope takes hold of the names that point to it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rule {
    role: Role,
    kind: ScopeKind,
    /// When it is in force: for a capture the order's window, the scope's and the lift of the whole order in one.
    window: Window,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Captures names for that order and scope.
    Capture { order: u32, scope: u32 },
    /// Spares names from that order and scope.
    Except { order: u32, scope: u32 },
    /// Keeps names from every order.
    Protect,
}

impl Policy {
    /// Compiles. Cannot fail: what may not be compiled was refused by the reader of the orders.
    pub fn compile(zones: &[PolicyZone], protected: &[Protected], epoch: u64) -> Policy {
        let mut compiler = Compiler::default();
        for list in protected {
            compiler.protect(list);
        }
        for (zone, index) in zones.iter().zip(0..) {
            for listed in &zone.orders {
                compiler.order(listed, index);
            }
        }
        compiler.finish(epoch)
    }

    /// A policy without orders: everything is clear.
    pub fn empty() -> Policy {
        Policy::compile(&[], &[], 0)
    }

    /// Differs between any two policies of one process.
    pub fn epoch(&self) -> u64 {
        self.epoch
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

/// What grows while orders are compiled.
#[derive(Default)]
struct Compiler {
    trie: TrieBuilder,
    rules: Vec<Rule>,
    sets: SetInterner,
    orders: Vec<Order>,
    zones: Vec<u16>,
    overflowed: usize,
}

impl Compiler {
    /// Adds names that no order may capture.
    fn protect(&mut self, list: &Protected) {
        let rule = Rule { role: Role::Protect, kind: list.kind, window: Window::ALWAYS };
        self.add_names(rule, &list.names);
    }

    /// Adds an order after all before it.
    fn order(&mut self, listed: &Listed, zone: u16) {
        let order = self.orders.len() as u32;
        self.orders.push(listed.order.clone());
        self.zones.push(zone);
        let names = listed.names.iter().zip(&listed.exceptions);
        for ((scope, (names, exceptions)), index) in listed.order.scopes.iter().zip(names).zip(0..) {
            let window = in_force(&listed.order, scope);
            let capture = Rule { role: Role::Capture { order, scope: index }, kind: scope.kind, window };
            self.add_names(capture, names);
            let role = Role::Except { order, scope: index };
            self.add_names(Rule { role, kind: scope.exception_kind, window: Window::ALWAYS }, exceptions);
            // A zone given back is spared from then on, whether the listed name or only the one asked for lies in it.
            for lift in listed.order.lifts.iter().filter(|lift| !lift.zones.is_empty()) {
                let window = Window { effective: lift.at, ..Window::ALWAYS };
                let zones = lift.zones.iter().copied().collect();
                self.add_names(Rule { role, kind: ScopeKind::Subtree, window }, &zones);
            }
        }
    }

    /// Makes every name point to `rule`.
    fn add_names(&mut self, rule: Rule, names: &NameList) {
        self.rules.push(rule);
        let number = (self.rules.len() - 1) as u32;
        for name in names.iter() {
            let sets = &mut self.sets;
            if !self.trie.update(&name, |set| sets.with(set, number)) {
                self.overflowed += 1;
            }
        }
    }

    /// The policy.
    fn finish(self, epoch: u64) -> Policy {
        let listed = self.trie.len();
        let (trie, overflowed) = match self.trie.build() {
            Some(trie) => (trie, self.overflowed),
            None => (NameTrie::empty(), self.overflowed + listed),
        };
        let observes = |scope: &Scope, order: &Order| scope.action.unwrap_or(order.action) == Action::Observe;
        Policy {
            epoch,
            observes: self.orders.iter().any(|order| order.scopes.iter().any(|scope| observes(scope, order))),
            trie,
            rules: self.rules,
            sets: self.sets.sets,
            orders: self.orders,
            zones: self.zones,
            overflowed,
        }
    }
}

/// When a scope is in force: its own window, its order's, and the lift of the whole order in one.
fn in_force(order: &Order, scope: &Scope) -> Window {
    let mut window = order.window.intersect(&scope.window);
    for lift in order.lifts.iter().filter(|lift| lift.zones.is_empty()) {
        // A lift without a date always was: the window ends before time begins.
        let until = Window { expires: Some(lift.at.unwrap_or(UnixSeconds::MIN)), ..Window::ALWAYS };
        window = window.intersect(&until);
    }
    window
}

/// Distinct sets of rules, each stored once.
struct SetInterner {
    /// The sets by number, each ascending; 0 is empty.
    sets: Vec<Box<[u32]>>,
    /// The set that comes of adding a rule to a set: names of one scope all take the same step.
    steps: HashMap<(RuleSet, u32), RuleSet>,
    /// Numbers of sets already there, so that one set reached on two ways is one.
    numbers: HashMap<Box<[u32]>, RuleSet>,
}

impl Default for SetInterner {
    fn default() -> SetInterner {
        SetInterner {
            sets: vec![Box::default()],
            steps: HashMap::new(),
            numbers: HashMap::from([(Box::default(), 0)]),
        }
    }
}

impl SetInterner {
    /// The set that holds what `set` holds, and `rule`.
    fn with(&mut self, set: RuleSet, rule: u32) -> RuleSet {
        if let Some(&known) = self.steps.get(&(set, rule)) {
            return known;
        }
        let mut members = self.sets[set as usize].to_vec();
        if let Err(place) = members.binary_search(&rule) {
            members.insert(place, rule);
        }
        let members: Box<[u32]> = members.into();
        let number = *self.numbers.entry(members.clone()).or_insert_with(|| {
            self.sets.push(members);
            (self.sets.len() - 1) as RuleSet
        });
        self.steps.insert((set, rule), number);
        number
    }
}
