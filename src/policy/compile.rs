//! Orders compiled into one immutable policy.
//!
//! A name in the trie points to a set of rules; a rule is one way one scope of one order takes hold. There are few
//! rules and few distinct sets however many names there are, so a listed name costs its trie node and nothing more.
//!
//! A policy has [`Room`] for so much. What finds none is left out whole and said ([`LeftOut`]), and everything else is
//! compiled: who comes first has room first, and order files come before lists, so no order waits for a list.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::compiled::{Compiled, Policy};
use super::listed::{OrderWithNames, ScopeNames};
use super::order::{MatchKind, Order, Patterns, Protected, Scope, TriggerType, WildcardRule, Window};
use super::room::{Bound, LeftOut, MAX_ZONES, Room};
use super::rule::{ExemptionIndex, OrderIndex, Role, Rule, RuleSet, ScopeIndex, SingleCapture};
use super::stamp::Edges;
use super::trie::{NameTrie, TrieBuilder, TrieEditor, worst_octets};
use super::triggers::NonQname;
use crate::name::{Name, NameList};
use crate::time::UnixSeconds;

/// An ordered group of orders; what stands in an earlier zone comes before all of a later one's.
#[derive(Clone, Debug, Default)]
pub struct PolicyZone {
    /// As the operator named it.
    pub name: String,
    /// Its orders, in precedence order.
    pub orders: Vec<Arc<OrderWithNames>>,
}

/// What a policy is made with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Build {
    /// Tells the policy from others ([`Policy::epoch`]).
    pub epoch: u64,
    /// Keys the hash of names, so that nobody can list names that collide: to be drawn anew each time.
    pub seed: u64,
    /// How much it holds.
    pub room: Room,
}

impl Policy {
    /// Compiles. Cannot fail: what may not be compiled was refused by the reader of the orders, and what finds no room is
    /// left out ([`Policy::left_out`]). For orders that nobody means ill with, as in tests: its seed is known.
    pub fn compile(zones: &[PolicyZone], protected: &[Protected], epoch: u64) -> Policy {
        Policy::build(zones, protected, &Build { epoch, ..Build::default() })
    }

    /// [`Policy::compile`] with all that can be chosen.
    pub fn build(zones: &[PolicyZone], protected: &[Protected], build: &Build) -> Policy {
        Compiler::of(zones, protected, build).finish(build.epoch)
    }

    /// A policy without orders: everything is clear.
    pub fn empty() -> Policy {
        Policy::compile(&[], &[], 0)
    }

    /// What stands in while orders are loaded: nothing must be answered by it.
    pub fn not_ready() -> Policy {
        Policy::empty().unready()
    }
}

/// A trie that names go into.
pub(super) enum Growing {
    /// Made anew.
    New(TrieBuilder),
    /// Made from another one, and whether everything found room so far.
    Edited(TrieEditor, bool),
}

impl Default for Growing {
    fn default() -> Growing {
        Growing::New(TrieBuilder::default())
    }
}

impl Growing {
    /// Replaces the value at each name.
    fn update_all(&mut self, names: &NameList, mut change: impl FnMut(RuleSet) -> RuleSet) {
        match self {
            Growing::New(trie) => names.iter().for_each(|name| {
                // There is room: that was made sure of before.
                trie.update(&name, &mut change);
            }),
            Growing::Edited(trie, whole) => *whole = *whole && trie.update_all(names, change),
        }
    }

    /// Octets of records.
    fn octets(&self) -> u64 {
        match self {
            Growing::New(trie) => trie.octets(),
            Growing::Edited(trie, _) => trie.octets(),
        }
    }
}

/// What grows while orders are compiled.
#[derive(Default)]
pub(super) struct Compiler {
    room: Room,
    trie: Growing,
    pub(super) rules: Vec<Rule>,
    pub(super) sets: SetInterner,
    pub(super) orders: Vec<Order>,
    zones: Vec<u16>,
    pub(super) patterns: Vec<(Patterns, RuleSet)>,
    pub(super) others: NonQname,
    /// Passes over each name that the patterns take.
    passes: usize,
    pub(super) left_out: Vec<LeftOut>,
}

impl Compiler {
    /// All orders and protected names taken in that there is room for.
    pub(super) fn of(zones: &[PolicyZone], protected: &[Protected], build: &Build) -> Compiler {
        let trie = Growing::New(TrieBuilder::seeded(build.seed));
        let mut compiler = Compiler { room: build.room, trie, ..Compiler::default() };
        compiler.take(zones, protected);
        compiler
    }

    /// Nothing taken in yet, over a trie whose values are the numbers of these sets.
    pub(super) fn over(trie: TrieEditor, sets: SetInterner) -> Compiler {
        Compiler { trie: Growing::Edited(trie, true), sets, ..Compiler::default() }
    }

    /// Takes in all orders and protected names that there is room for.
    pub(super) fn take(&mut self, zones: &[PolicyZone], protected: &[Protected]) {
        for list in protected {
            match self.octets_bound(|| std::iter::once(&list.names)) {
                None => self.add_names(Rule::new(Role::Protect, list.kind), &list.names),
                Some(bound) => self.left_out.push(LeftOut { order: None, bound }),
            }
        }
        for (zone, index) in zones.iter().zip(0..) {
            for listed in &zone.orders {
                match (self.bound(listed, index), u16::try_from(index)) {
                    (None, Ok(zone)) => self.order(listed, zone),
                    (bound, _) => {
                        let bound = bound.unwrap_or(Bound::Zones { most: MAX_ZONES });
                        self.left_out.push(LeftOut { order: Some(listed.order.id.clone()), bound });
                    }
                }
            }
        }
    }

    /// The bound that an order of that zone would pass. It is found before anything of the order is taken in, for half an
    /// order would be a wrong one.
    fn bound(&self, listed: &OrderWithNames, zone: usize) -> Option<Bound> {
        if zone >= self.room.zones {
            return Some(Bound::Zones { most: self.room.zones });
        }
        let scopes = listed.order.scopes.iter();
        let need: usize = scopes.filter_map(|scope| scope.patterns.as_ref()).map(|one| one.0.passes()).sum();
        let left = self.room.passes.saturating_sub(self.passes);
        if need > left {
            return Some(Bound::Passes { need, left, most: self.room.passes });
        }
        // Nodes between names and wildcards lie on the way to names: those need no further room.
        let lifts: NameList = listed.order.lifts.iter().flat_map(|lift| lift.zones.iter().copied()).collect();
        self.octets_bound(|| listed.lists().chain([&lifts]))
    }

    /// The bound that names of these lists would pass.
    ///
    /// Names share what they have in common with others; how much is known once they are in. So what they need is taken
    /// as if they shared nothing, about twice what they do: a list that might not fit is no loss among billions of octets.
    fn octets_bound<'n, L: Iterator<Item = &'n NameList>>(&self, lists: impl Fn() -> L) -> Option<Bound> {
        let left = self.room.octets.saturating_sub(self.trie.octets());
        // A first look that takes no time: even if each octet were a label.
        let wire: u64 = lists().map(|list| list.as_wire().len() as u64).sum();
        if wire.saturating_mul(worst_octets(1)) <= left {
            return None;
        }
        let labels: u64 = lists().flat_map(NameList::iter).map(|name| name.label_count() as u64).sum();
        let need = wire + worst_octets(labels);
        (need > left).then_some(Bound::Octets { need, left, most: self.room.octets })
    }

    /// Adds an order after all before it.
    fn order(&mut self, listed: &OrderWithNames, zone: u16) {
        let order = OrderIndex(self.orders.len() as u32);
        self.orders.push(listed.order.clone());
        self.zones.push(zone);
        for ((scope, ScopeNames { names, exceptions }), index) in listed.scopes().zip(0..) {
            let window = in_force(&listed.order, scope);
            let role = Role::Capture { order, scope: ScopeIndex(index) };
            let capture = Rule { window, on: scope.on, ..Rule::new(role, scope.kind) };
            self.add_names(capture, names);
            if scope.on != TriggerType::Qname {
                self.others.add(scope.on, zone);
                names.iter().for_each(|name| self.others.add_prefix(scope.on, &name));
            }
            let spared = Rule::new(Role::Except { order, scope: ScopeIndex(index) }, scope.exception_kind);
            self.add_names(spared, exceptions);
            // A zone given back is spared from then on, whether the listed name or only the one asked for lies in it.
            for lift in listed.order.lifts.iter().filter(|lift| !lift.zones.is_empty()) {
                let window = Window { effective: lift.at, ..Window::ALWAYS };
                let role = Role::GivenBack { order, scope: ScopeIndex(index) };
                let zones = lift.zones.iter().copied().collect();
                self.add_names(Rule { window, ..Rule::new(role, MatchKind::Subtree) }, &zones);
            }
            if let Some(patterns) = &scope.patterns {
                // A name that matches is as good as listed itself.
                let number = self.rules.len() as u32;
                self.rules.push(Rule { kind: MatchKind::Exact, ..capture });
                self.passes += patterns.0.passes();
                self.patterns.push((patterns.clone(), self.sets.with(0, number)));
            }
        }
        for ((exemption, names), index) in listed.exempted().zip(0..) {
            let role = Role::Exempt { order, exemption: ExemptionIndex(index) };
            self.add_names(Rule::new(role, exemption.kind), names);
        }
        if has_nodes(&listed.order) {
            self.nodes(listed, order);
        }
    }

    /// Adds what an order that is read as a DNS zone has between its names and its wildcards.
    fn nodes(&mut self, listed: &OrderWithNames, order: OrderIndex) {
        for on in [TriggerType::Qname, TriggerType::NsDname] {
            let lists = || listed.scopes().filter(move |(scope, _)| scope.on == on);
            let wild = || lists().filter(|(scope, _)| scope.kind != MatchKind::Exact);
            // Whether there is a rule is for the scopes to say: their names may be forgotten, and rules keep their numbers.
            if wild().next().is_none() {
                continue;
            }
            let wildcards: HashSet<Box<[u8]>> =
                wild().flat_map(|(_, of)| of.names.iter()).map(|name| name.as_wire().into()).collect();
            let names = lists().flat_map(|(_, of)| of.names.iter());
            let nodes = empty_nodes(names, |name| wildcards.contains(name.as_wire())).collect();
            self.add_names(Rule { on, ..Rule::new(Role::Node { order }, MatchKind::Subtree) }, &nodes);
        }
    }

    /// Makes every name point to `rule`.
    fn add_names(&mut self, rule: Rule, names: &NameList) {
        self.rules.push(rule);
        let number = (self.rules.len() - 1) as u32;
        let sets = &mut self.sets;
        // Nearly all names of a list take the step that the name before them took.
        let mut last = None;
        self.trie.update_all(names, |set| match last {
            Some((from, to)) if from == set => to,
            _ => last.insert((set, sets.with(set, number))).1,
        });
    }

    /// The trie; none if something found no room in one that was made from another.
    pub(super) fn trie(&mut self) -> Option<NameTrie> {
        match std::mem::take(&mut self.trie) {
            Growing::New(trie) => Some(trie.build()),
            Growing::Edited(trie, whole) => whole.then(|| trie.finish()),
        }
    }

    /// The policy.
    fn finish(mut self, epoch: u64) -> Policy {
        // One that is new holds everything.
        let trie = self.trie().unwrap_or_else(NameTrie::empty);
        self.assemble(trie, epoch)
    }

    /// The policy over a trie whose values are this one's rule sets.
    pub(super) fn assemble(self, trie: NameTrie, epoch: u64) -> Policy {
        let compiled = Compiled {
            lone: SingleCapture::of(&self.rules, &self.sets.sets, &self.orders),
            edges: Edges::of(self.rules.iter().map(|rule| &rule.window)),
            patterns: self.patterns,
            others: self.others,
            trie,
            rules: self.rules,
            sets: self.sets.sets,
            orders: self.orders,
            zones: self.zones,
            left_out: self.left_out,
        };
        Policy::of(compiled, epoch)
    }
}

/// The nodes that an RPZ has without saying anything there, as far as that matters: between a name it lists and a wildcard
/// above it. Only a wildcard matches names it does not list, so elsewhere a node stops nothing.
fn empty_nodes<'n>(
    names: impl Iterator<Item = Name> + 'n,
    is_wildcard: impl Fn(&Name) -> bool + 'n,
) -> impl Iterator<Item = Name> + 'n {
    names.flat_map(move |name| {
        let mut between = Vec::new();
        let mut found = None;
        let mut above = name.parent();
        while let Some(node) = above {
            if is_wildcard(&node) {
                found = Some(between.len());
            }
            between.push(node);
            above = node.parent();
        }
        between.truncate(found.unwrap_or(0));
        between
    })
}

/// Whether an order is read as a DNS zone, and so has nodes.
fn has_nodes(order: &Order) -> bool {
    order.reading != WildcardRule::Closest
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
    /// The set of these rules, ascending.
    pub(super) fn of(&mut self, members: Box<[u32]>) -> RuleSet {
        *self.numbers.entry(members).or_insert_with_key(|members| {
            self.sets.push(members.clone());
            (self.sets.len() - 1) as RuleSet
        })
    }

    /// The set that holds what `set` holds, and `rule`.
    fn with(&mut self, set: RuleSet, rule: u32) -> RuleSet {
        if let Some(&known) = self.steps.get(&(set, rule)) {
            return known;
        }
        let mut members = self.sets[set as usize].to_vec();
        if let Err(place) = members.binary_search(&rule) {
            members.insert(place, rule);
        }
        let number = self.of(members.into());
        self.steps.insert((set, rule), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Matcher, Verdict};

    /// Patterns that match whatever begins with a letter.
    #[derive(Debug)]
    struct Begins(u8, Vec<String>);

    impl Matcher for Begins {
        fn first_match(&self, name: &Name) -> Option<usize> {
            name.labels().next().is_some_and(|label| label.first() == Some(&self.0)).then_some(0)
        }

        fn texts(&self) -> &[String] {
            &self.1
        }
    }

    /// An order with these names, and patterns if a letter is given.
    fn listed(id: &str, names: &[&str], begins: Option<u8>) -> Arc<OrderWithNames> {
        let mut order = Order::new(id);
        let patterns = begins.map(|letter| Patterns(Arc::new(Begins(letter, vec![id.into()]))));
        order.scopes = vec![Scope { patterns, ..Scope::new(MatchKind::Exact) }];
        let names = names.iter().map(|text| text.parse::<Name>().unwrap()).collect();
        Arc::new(OrderWithNames::listing(order, [names]))
    }

    fn zones(orders: Vec<Arc<OrderWithNames>>) -> Vec<PolicyZone> {
        orders.into_iter().map(|listed| PolicyZone { name: String::new(), orders: vec![listed] }).collect()
    }

    /// Who captures a name.
    fn captor(policy: &Policy, name: &str) -> String {
        match policy.verdict(&name.parse().unwrap(), 0) {
            Verdict::Act(_, hit) => hit.order.id.clone(),
            _ => String::new(),
        }
    }

    #[test]
    fn what_finds_no_room_is_left_out_whole_and_all_else_is_in() {
        let zones = zones(vec![
            listed("court", &["x.example"], None),
            listed("big", &["a-very-long-name-that-takes-room.b.example", "big.example"], None),
            listed("one", &["one.example"], Some(b'p')),
            listed("two", &["two.example"], Some(b'q')),
            listed("last", &["last.example"], None),
        ]);
        let full = Room::default();
        for (room, left_out) in [
            (full, &[][..]),
            (Room { octets: 120, ..full }, &["big"]),
            (Room { octets: 12, ..full }, &["court", "big", "one", "two", "last"]),
            (Room { passes: 1, ..full }, &["two"]),
            (Room { passes: 0, ..full }, &["one", "two"]),
            (Room { zones: 4, ..full }, &["last"]),
            (Room { octets: 120, passes: 0, zones: 4 }, &["big", "one", "two", "last"]),
        ] {
            let policy = Policy::build(&zones, &[], &Build { room, ..Build::default() });
            let said: Vec<&str> = policy.left_out().iter().filter_map(|one| one.order.as_deref()).collect();
            assert_eq!(said, left_out, "{room:?}");
            for (name, order) in [
                ("x.example", "court"),
                ("big.example", "big"),
                ("one.example", "one"),
                ("p.example", "one"),
                ("two.example", "two"),
                ("q.example", "two"),
                ("last.example", "last"),
                ("r.example", ""),
            ] {
                let expected = if left_out.contains(&order) { "" } else { order };
                assert_eq!(captor(&policy, name), expected, "{room:?} {name}");
            }
        }
    }

    #[test]
    fn protected_names_come_first_and_are_said_when_they_find_no_room() {
        let zones = zones(vec![listed("a", &["x.example"], None)]);
        let names: NameList = ["x.example"].iter().map(|text| text.parse::<Name>().unwrap()).collect();
        let protected = [Protected { kind: MatchKind::Exact, names, source: String::new() }];
        let build = |octets| {
            let room = Room { octets, ..Room::default() };
            Policy::build(&zones, &protected, &Build { room, ..Build::default() })
        };
        assert_eq!(captor(&build(1000), "x.example"), "");
        assert_eq!(build(10).left_out().iter().filter(|one| one.order.is_none()).count(), 1);
    }

    #[test]
    fn a_name_may_match_patterns_of_any_number_of_lists() {
        let lists = |count: usize| {
            zones(
                (0..count).map(|index| listed(&format!("l{index}"), &["a.b.example"], Some(b'a'))).collect(),
            )
        };
        let name: Name = "a.b.example".parse().unwrap();
        for count in [1, 5, 63, 64, 65, 200, 256] {
            let policy = Policy::compile(&lists(count), &[], 1);
            assert_eq!((policy.left_out().len(), policy.hits(&name, 0).len()), (0, count), "{count}");
            assert_eq!(captor(&policy, "a.b.example"), "l0");
            // Side by side with others, as a batch has it.
            let names = [name, "a.other".parse().unwrap(), name, "z.z".parse().unwrap()];
            let mut walks = super::super::walks::Walks::default();
            policy.walk(&names, &mut walks);
            for (index, name) in names.iter().enumerate() {
                let verdict =
                    policy.judge_of(&walks, (index, name), &crate::policy::Asker::ANYBODY, 0).verdict;
                assert_eq!(verdict, policy.verdict(name, 0), "{count} {name}");
            }
        }
        assert_eq!(Policy::compile(&lists(300), &[], 1).left_out().len(), 44);
    }

    #[test]
    fn nodes_matter_below_wildcards_only() {
        let names =
            ["exact.sub.test", "evil.ent.sub.test", "a.b.other"].map(|text| text.parse::<Name>().unwrap());
        let wildcard: Name = "sub.test".parse().unwrap();
        let found: Vec<String> = empty_nodes(names.into_iter(), move |name| *name == wildcard)
            .map(|name| name.to_string())
            .collect();
        assert_eq!(found, ["ent.sub.test"]);
    }
}
