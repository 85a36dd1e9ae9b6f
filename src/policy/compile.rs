//! Orders compiled into one immutable policy.
//!
//! A name in the trie points to a set of rules; a rule is one way one scope of one order takes hold. There are few
//! rules and few distinct sets however many names there are, so a listed name costs its trie node and nothing more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::judge::{Lone, Policy, Role, Rule, RuleSet};
use super::name::NameList;
use super::order::{Listed, On, Order, Patterns, Protected, Scope, ScopeKind, UnixSeconds, Window};
use super::stage::{self, Others};
use super::stamp::Edges;
use super::standing::Standings;
use super::switch::Switches;
use super::trie::{NameTrie, TrieBuilder};
use super::walks::MAX_PATTERNS;

/// An ordered group of orders; what stands in an earlier zone comes before all of a later one's.
#[derive(Clone, Debug, Default)]
pub struct PolicyZone {
    /// As the operator named it.
    pub name: String,
    /// Its orders, in precedence order.
    pub orders: Vec<Arc<Listed>>,
}

impl Policy {
    /// Compiles. Cannot fail: what may not be compiled was refused by the reader of the orders.
    pub fn compile(zones: &[PolicyZone], protected: &[Protected], epoch: u64) -> Policy {
        Compiler::of(zones, protected).finish(epoch)
    }

    /// A policy without orders: everything is clear.
    pub fn empty() -> Policy {
        Policy::compile(&[], &[], 0)
    }

    /// What stands in while orders are loaded: nothing must be answered by it.
    pub fn not_ready() -> Policy {
        Policy { ready: false, ..Policy::empty() }
    }
}

/// What grows while orders are compiled.
#[derive(Default)]
pub(super) struct Compiler {
    trie: TrieBuilder,
    pub(super) rules: Vec<Rule>,
    pub(super) sets: SetInterner,
    orders: Vec<Order>,
    zones: Vec<u16>,
    patterns: Vec<(Patterns, RuleSet)>,
    others: Others,
    overflowed: usize,
}

impl Compiler {
    /// All orders and protected names taken in.
    pub(super) fn of(zones: &[PolicyZone], protected: &[Protected]) -> Compiler {
        let mut compiler = Compiler::default();
        for list in protected {
            compiler.protect(list);
        }
        for (zone, index) in zones.iter().zip(0..) {
            for listed in &zone.orders {
                compiler.order(listed, index);
            }
        }
        compiler
    }

    /// Adds names that no order may capture.
    fn protect(&mut self, list: &Protected) {
        self.add_names(Rule::new(Role::Protect, list.kind), &list.names);
    }

    /// Adds an order after all before it.
    fn order(&mut self, listed: &Listed, zone: u16) {
        let order = self.orders.len() as u32;
        self.orders.push(listed.order.clone());
        self.zones.push(zone);
        let names = listed.names.iter().zip(&listed.exceptions);
        for ((scope, (names, exceptions)), index) in listed.order.scopes.iter().zip(names).zip(0..) {
            let window = in_force(&listed.order, scope);
            let role = Role::Capture { order, scope: index };
            let capture = Rule { window, on: scope.on, ..Rule::new(role, scope.kind) };
            self.add_names(capture, names);
            for name in names.iter().filter(|_| scope.on != On::Qname) {
                self.others.add(scope.on, &name, zone);
            }
            let role = Role::Except { order, scope: index };
            self.add_names(Rule::new(role, scope.exception_kind), exceptions);
            // A zone given back is spared from then on, whether the listed name or only the one asked for lies in it.
            for lift in listed.order.lifts.iter().filter(|lift| !lift.zones.is_empty()) {
                let window = Window { effective: lift.at, ..Window::ALWAYS };
                let zones = lift.zones.iter().copied().collect();
                self.add_names(Rule { window, ..Rule::new(role, ScopeKind::Subtree) }, &zones);
            }
            if let Some(patterns) = &scope.patterns {
                // A name that matches is as good as listed itself.
                let number = self.rules.len() as u32;
                self.rules.push(Rule { kind: ScopeKind::Exact, ..capture });
                if self.patterns.len() < MAX_PATTERNS {
                    self.patterns.push((patterns.clone(), self.sets.with(0, number)));
                } else {
                    self.overflowed += 1;
                }
            }
        }
        // What was forgotten of the names must not shift the rules: numbers of rules are kept over a restart.
        let none = NameList::new();
        for (exemption, index) in listed.order.exemptions.iter().zip(0..) {
            let names = listed.exceptions.get(listed.order.scopes.len() + index as usize);
            let role = Role::Exempt { order, exemption: index };
            self.add_names(Rule::new(role, exemption.kind), names.unwrap_or(&none));
        }
        if stage::has_nodes(&listed.order) {
            self.nodes(listed, order);
        }
    }

    /// Adds what an order that is read as a DNS zone has between its names and its wildcards.
    fn nodes(&mut self, listed: &Listed, order: u32) {
        for on in [On::Qname, On::NsDname] {
            let lists =
                || listed.order.scopes.iter().zip(&listed.names).filter(move |(scope, _)| scope.on == on);
            let wildcards: HashSet<Box<[u8]>> = lists()
                .filter(|(scope, _)| scope.kind != ScopeKind::Exact)
                .flat_map(|(_, names)| names.iter())
                .map(|name| name.as_wire().into())
                .collect();
            if wildcards.is_empty() {
                continue;
            }
            let names = lists().flat_map(|(_, names)| names.iter());
            let nodes = stage::empty_nodes(names, |name| wildcards.contains(name.as_wire())).collect();
            self.add_names(Rule { on, ..Rule::new(stage::node(order), ScopeKind::Subtree) }, &nodes);
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
    fn finish(mut self, epoch: u64) -> Policy {
        let builder = std::mem::take(&mut self.trie);
        let listed = builder.len();
        let trie = builder.build().unwrap_or_else(|| {
            self.overflowed += listed;
            NameTrie::empty()
        });
        self.assemble(trie, epoch)
    }

    /// The policy over a trie whose values are this one's rule sets.
    pub(super) fn assemble(self, trie: NameTrie, epoch: u64) -> Policy {
        let standings = Standings::new(&self.orders, &[]);
        Policy {
            epoch,
            edges: Edges::of(&self.rules, &standings),
            standings,
            patterns: self.patterns,
            others: self.others,
            trie,
            lone: Lone::of(&self.rules, &self.sets.sets, &self.orders),
            switches: Switches::new(self.orders.len()),
            rules: self.rules,
            sets: self.sets.sets,
            orders: self.orders,
            zones: self.zones,
            overflowed: self.overflowed,
            ready: true,
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
pub(super) struct SetInterner {
    /// The sets by number, each ascending; 0 is empty.
    pub(super) sets: Vec<Box<[u32]>>,
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
