//! Compiled orders, asked: what happens to a name.
//!
//! A walk of the trie finds the rule sets on a name's path; those of them that cover the name and are in force are judged.
//!
//! Nearly every listed name has one set on its path, and nearly every set is one capture: an order's scope, without
//! exception. For such sets the outcome is written down when the policy is made ([`SingleCapture`]), and judging is one comparison
//! of times. All others are judged by going through their rules.

use std::collections::HashSet;
use std::net::IpAddr;

use super::compiled::Policy;
use super::order::{
    Action, Exemption, MatchKind, MissingType, Patterns, Standing, TriggerType, WildcardRule,
};
use super::rule::{
    Capture, OrderIndex, Role, Rule, RuleSet, ScopeIndex, SingleCapture, action_of, exempting,
};
use super::verdict::{Hit, Trigger, Verdict};
use super::view::View;
use super::walks::{Found, Path, Walks};
use crate::iana::Rtype;
use crate::name::Name;
use crate::time::UnixSeconds;

/// Who asks, as far as that decides.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The policy zones that concern the client.
    pub view: &'a View,
    /// The client's address, where triggers on it are to be looked at.
    pub client: Option<IpAddr>,
    /// Whether the query desires recursion (RD).
    pub rd: bool,
    /// The type asked for: local data may lack it.
    pub qtype: Rtype,
    /// Whether the client would check signatures that are there: it set DO, and the truth is signed or not known yet.
    pub validates: bool,
    /// The name asked for, where the name to be judged is one that it leads to: an order that exempts the former leaves the
    /// latter alone.
    pub led_from: Option<&'a Name>,
}

/// What policy says of a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement<'p> {
    /// What happens.
    pub verdict: Verdict<'p>,
    /// The first order in force that only observes it; none when the name is protected.
    pub observed: Option<Hit<'p>>,
    /// Whether any rule in force is about it, whoever asks and however. One about nobody stays so for as long as
    /// [`Policy::stamp`] does, for everybody.
    pub touched: bool,
}

impl Judgement<'_> {
    /// Of a name that no rule is about.
    pub const UNTOUCHED: Judgement<'static> =
        Judgement { verdict: Verdict::Clear, observed: None, touched: false };
}

impl Asker<'static> {
    /// Anybody: all zones, an ordinary query for addresses.
    pub const ANYBODY: Asker<'static> =
        Asker { view: &View::ALL, client: None, rd: true, qtype: Rtype::A, validates: false, led_from: None };
}

/// Whether a trigger is the very name on the path, if it is held against names asked for.
fn is_listed(on: TriggerType, path: &Path, trigger: Trigger) -> bool {
    on == TriggerType::Qname && usize::from(trigger.labels) == path.depth
}

impl Policy {
    /// What happens to `name` at wall time `at`, whoever asks for it. No allocation.
    ///
    /// Precedence: protected, passthru, then policy zones in their order; within one the closest enclosing trigger,
    /// then the order that comes first. Observe decides nothing.
    pub fn verdict(&self, name: &Name, at: UnixSeconds) -> Verdict<'_> {
        self.verdict_for(&Asker::ANYBODY, name, at)
    }

    /// [`Policy::verdict`] for somebody; triggers on what the name leads to, and on the client, are not looked at.
    pub fn verdict_for(&self, asker: &Asker<'_>, name: &Name, at: UnixSeconds) -> Verdict<'_> {
        self.judge_name(asker, name, at).verdict
    }

    /// What somebody gets who asks for `name`, who looks on, and whether that is so for everybody; triggers on what the name
    /// leads to, and on the client, are not looked at. No allocation.
    pub fn judge_name(&self, asker: &Asker<'_>, name: &Name, at: UnixSeconds) -> Judgement<'_> {
        self.judge(&self.path(name), &Asked { asker, name, at })
    }

    /// Looks up many names side by side, for [`Policy::judge_of`]; `walks` is replaced. Faster than one by one, because the
    /// memory that each needs is fetched while the others wait for theirs. Patterns are left for later: they are dear, and
    /// there may be no need.
    pub fn walk(&self, names: &[Name], walks: &mut Walks) {
        walks.fill(&self.compiled.trie, names);
    }

    /// [`Policy::judge_name`] of `name`, at `index` among those that [`Policy::walk`] looked up last, in this policy;
    /// untouched beyond them.
    #[inline]
    pub fn judge_of(
        &self,
        walks: &Walks,
        (index, name): (usize, &Name),
        asker: &Asker<'_>,
        at: UnixSeconds,
    ) -> Judgement<'_> {
        let asked = Asked { asker, name, at };
        if self.has_patterns() {
            let mut matching = self.matching(name).peekable();
            if matching.peek().is_some() {
                let mut path = walks.path(index);
                path.match_whole(name, matching);
                return self.judge(&path, &asked);
            }
        }
        if let Some((found, depth)) = walks.only(index)
            && let Some(judgement) = self.judge_only(found, depth, &asked)
        {
            return judgement;
        }
        self.judge(&walks.path(index), &asked)
    }

    /// What there is to say of a name on whose path one set was found; none if that takes more than a look.
    #[inline]
    fn judge_only(&self, (labels, set): Found, depth: usize, asked: &Asked<'_>) -> Option<Judgement<'_>> {
        if set == 0 {
            return Some(Judgement::UNTOUCHED);
        }
        let lone = self.compiled.lone[set as usize].as_ref()?;
        let below = depth - usize::from(labels);
        if !(lone.kind.covers(below) && lone.window.contains(asked.at)) {
            return Some(Judgement::UNTOUCHED);
        }
        match self.overrides.of(lone.order, asked.name) {
            Standing::InForce if lone.action != Action::Observe => {}
            Standing::Held
                if lone.action != Action::Observe
                    && !self.holds_back(lone.order, lone.scope, below == 0, asked.at) => {}
            Standing::InForce | Standing::Held | Standing::Observing => return None,
            Standing::Drafted | Standing::Lifted => return Some(Judgement::UNTOUCHED),
        }
        let trigger = Trigger::new(labels, lone.kind);
        let SingleCapture { order, scope, action, .. } = *lone;
        let capture = Capture::of_name(trigger, order, scope, action);
        let concerned = self.concerns(&capture, asked.asker);
        let verdict = if concerned { self.outcome(&capture) } else { Verdict::Clear };
        Some(Judgement { verdict, observed: None, touched: true })
    }

    /// What there is to say of what was found.
    pub(super) fn judge(&self, path: &Path, asked: &Asked<'_>) -> Judgement<'_> {
        if path.found().is_empty() {
            return Judgement::UNTOUCHED;
        }
        if let Some(trigger) = self.protection(path, asked.at) {
            return Judgement { verdict: Verdict::Protected(trigger), observed: None, touched: true };
        }
        self.choose(self.captures(path, asked), asked.asker)
    }

    /// Of all captures, the one that decides for who asks, and the first that only observes.
    pub(super) fn choose(&self, captures: impl Iterator<Item = Capture>, asker: &Asker<'_>) -> Judgement<'_> {
        let (mut deciding, mut observing, mut touched) = (None, None, false);
        for capture in captures {
            touched = true;
            if self.concerns(&capture, asker) {
                let first = if capture.action == Action::Observe { &mut observing } else { &mut deciding };
                let comes_before = |other: &Capture| self.precedence(&capture) < self.precedence(other);
                if first.as_ref().is_none_or(comes_before) {
                    *first = Some(capture);
                }
            }
        }
        Judgement {
            verdict: deciding.map_or(Verdict::Clear, |capture| self.outcome(&capture)),
            observed: observing.map(|capture| self.hit(&capture)),
            touched,
        }
    }

    /// The verdict that a capture is, if it decides.
    #[inline]
    pub(super) fn outcome(&self, capture: &Capture) -> Verdict<'_> {
        match capture.action {
            Action::Act(act) => Verdict::Act(act, self.hit(capture)),
            Action::Passthru => Verdict::Passthru(self.hit(capture)),
            Action::Observe => Verdict::Clear,
        }
    }

    /// The first order in force that only observes `name`, whoever asks; none when the name is protected. No allocation.
    pub fn observed(&self, name: &Name, at: UnixSeconds) -> Option<Hit<'_>> {
        self.judge_name(&Asker::ANYBODY, name, at).observed
    }

    /// Every order in force that captures `name`, observing ones included, in precedence order; protection is not
    /// considered. Allocates: for explanations.
    pub fn hits(&self, name: &Name, at: UnixSeconds) -> Vec<Hit<'_>> {
        let path = self.path(name);
        let asked = Asked { asker: &Asker::ANYBODY, name, at };
        let concerning = self.captures(&path, &asked).filter(|capture| self.concerns(capture, asked.asker));
        let mut captures: Vec<Capture> = concerning.collect();
        captures.sort_by_key(|capture| self.precedence(capture));
        // A name that one scope lists twice over (itself and an ancestor) is one hit, by its closest trigger.
        let mut seen = HashSet::new();
        captures.retain(|capture| seen.insert((capture.order, capture.scope)));
        captures.iter().map(|capture| self.hit(capture)).collect()
    }

    /// Walks the trie once, and holds the name against patterns if there are any.
    pub(super) fn path(&self, name: &Name) -> Path {
        let mut path = self.listed_path(name);
        path.match_whole(name, self.matching(name));
        path
    }

    /// The rule sets of the patterns that match a name.
    #[inline]
    fn matching(&self, name: &Name) -> impl Iterator<Item = RuleSet> {
        let matches = |(patterns, _): &&(Patterns, RuleSet)| patterns.0.first_match(name).is_some();
        self.compiled.patterns.iter().filter(matches).map(|(_, set)| *set)
    }

    /// The same of what is listed alone: patterns are about names asked for, not about those that stand for prefixes and
    /// name servers.
    pub(super) fn listed_path(&self, name: &Name) -> Path {
        let mut path = Path::default();
        self.compiled.trie.walk(name, |labels, set| path.note((labels, set)));
        // Innocent names, nearly all of them, have nothing on their path and need no depth.
        if !path.found().is_empty() {
            path.depth = name.label_count();
        }
        path
    }

    /// The closest protected name in force over the path.
    pub(super) fn protection(&self, path: &Path, at: UnixSeconds) -> Option<Trigger> {
        let protecting = |(trigger, rule): (Trigger, &Rule)| (rule.role == Role::Protect).then_some(trigger);
        self.in_force(path, at).filter_map(protecting).last()
    }

    /// Every capture of the name in force on the path, whomever it concerns: exceptions taken out, orders that are not in
    /// force left out.
    pub(super) fn captures<'a>(
        &'a self,
        path: &'a Path,
        asked: &'a Asked<'a>,
    ) -> impl Iterator<Item = Capture> + 'a {
        self.captures_on(TriggerType::Qname, path, asked)
    }

    /// The same for triggers of that sort, on a path walked for them.
    pub(super) fn captures_on<'a>(
        &'a self,
        on: TriggerType,
        path: &'a Path,
        asked: &'a Asked<'a>,
    ) -> impl Iterator<Item = Capture> + 'a {
        self.in_force(path, asked.at).filter_map(move |(trigger, rule)| {
            let Role::Capture { order, scope } = rule.role else { return None };
            if rule.on != on
                || self.is_spared((order, scope), path, asked)
                || !self.is_closest_encloser_match(order, on, path, trigger)
            {
                return None;
            }
            let action = match self.overrides.of(order, asked.name) {
                Standing::Held if self.holds_back(order, scope, is_listed(on, path, trigger), asked.at) => {
                    Action::Observe
                }
                Standing::InForce | Standing::Held => action_of(&self.compiled.orders[order], scope),
                Standing::Observing => Action::Observe,
                Standing::Drafted | Standing::Lifted => return None,
            };
            let trigger = Trigger { on, ..trigger };
            Some(Capture::of_name(trigger, order, scope, action))
        })
    }

    /// Whether a scope of an order that is [`Standing::Held`] is kept from acting on a name, which it lists itself or not.
    /// A passthru is never held back: others would take what it frees.
    #[cold]
    fn holds_back(&self, order: OrderIndex, scope: ScopeIndex, is_listed: bool, at: UnixSeconds) -> bool {
        let of = &self.compiled.orders[order];
        let one_by_one = is_listed && of.scopes[scope.0 as usize].patterns.is_none();
        !one_by_one && action_of(of, scope) != Action::Passthru && self.overrides.holds(order, at)
    }

    /// Whether an order spares the name from one of its scopes: it excepts the name from the scope, it was lifted for a zone
    /// that the name is in, or it exempts the name, or the one asked for that led to it.
    fn is_spared(&self, (order, scope): (OrderIndex, ScopeIndex), path: &Path, asked: &Asked<'_>) -> bool {
        let spares = |role: Role| match role {
            Role::Except { order: of, scope: from } | Role::GivenBack { order: of, scope: from } => {
                (of, from) == (order, scope)
            }
            _ => false,
        };
        if self.in_force(path, asked.at).any(|(_, rule)| spares(rule.role)) {
            return true;
        }
        // Nearly no order has any.
        if self.compiled.orders[order].exemptions.is_empty() {
            return false;
        }
        self.is_exempt((order, scope), path, asked.name, asked.at)
            || asked.asker.led_from.is_some_and(|qname| {
                self.is_exempt((order, scope), &self.listed_path(qname), qname, asked.at)
            })
    }

    /// Whether an order exempts a name, on its path, from one of its scopes.
    fn is_exempt(
        &self,
        (order, scope): (OrderIndex, ScopeIndex),
        path: &Path,
        name: &Name,
        at: UnixSeconds,
    ) -> bool {
        let of = &self.compiled.orders[order];
        let important = of.scopes[scope.0 as usize].important;
        let listed = self.in_force(path, at).any(|(_, rule)| match rule.role {
            Role::Exempt { order: other, exemption } => {
                other == order && of.exemptions[exemption.0 as usize].reaches(important)
            }
            _ => false,
        });
        let matches = |exemption: &Exemption| {
            exemption.patterns.as_ref().is_some_and(|patterns| patterns.0.first_match(name).is_some())
        };
        listed || exempting(of, scope).any(matches)
    }

    /// Whether a trigger matches the name on the path, as its zone is read. RFC 4592 §3.3.1: a wildcard does so only at
    /// the name's closest encloser, "the node in the zone's tree of existing domain names that has the most labels matching
    /// the query name".
    fn is_closest_encloser_match(
        &self,
        order: OrderIndex,
        on: TriggerType,
        path: &Path,
        trigger: Trigger,
    ) -> bool {
        let over_empty = match self.compiled.orders[order].reading {
            WildcardRule::Closest => return true,
            WildcardRule::Wildcard => false,
            WildcardRule::WildcardOverEmpty => true,
        };
        // The zone's nodes on the path, and whether there is more at each than something below it.
        let nodes = path.found().iter().filter_map(|&(labels, set)| {
            let rules =
                self.compiled.sets[set as usize].iter().map(|&rule| &self.compiled.rules[rule as usize]);
            let mut here = rules.filter(|rule| rule.on == on).filter_map(|rule| match rule.role {
                Role::Capture { order: other, .. } if other == order => Some(rule.kind == MatchKind::Exact),
                Role::Node { order: other } if other == order => Some(false),
                _ => None,
            });
            here.next().map(|first| (labels, first || here.any(|exact| exact)))
        });
        let closest = nodes
            .filter(|&(labels, exact)| !(over_empty && usize::from(labels) == path.depth && !exact))
            .map(|(labels, _)| labels)
            .max();
        closest == Some(trigger.labels)
    }

    /// Whether an order's capture is one for who asks: its zone concerns the client, and what its RPZ leaves alone is not
    /// concerned.
    pub(super) fn concerns(&self, capture: &Capture, asker: &Asker<'_>) -> bool {
        let order = &self.compiled.orders[capture.order];
        if !asker.view.includes(self.compiled.zones[capture.order], order) {
            return false;
        }
        let Some(rpz) = &order.rpz else { return true };
        // draft-vixie-dnsop-dns-rpz §6: "By default, policies are applied only on DNS requests that ask for recursion", and
        // only where these "do not request DNSSEC metadata (DO=0) or for which no DNSSEC metadata exists".
        if (!asker.rd && !rpz.without_rd) || (asker.validates && !rpz.break_dnssec) {
            return false;
        }
        rpz.missing_type != MissingType::Disabled
            || order.scopes[capture.scope.0 as usize].data.as_ref().is_none_or(|data| data.has(asker.qtype))
    }

    /// Every rule on the path that covers the name and is in force, root first.
    fn in_force<'a>(&'a self, path: &'a Path, at: UnixSeconds) -> impl Iterator<Item = (Trigger, &'a Rule)> {
        path.found().iter().flat_map(move |&(labels, set)| {
            let below = path.depth - usize::from(labels);
            self.compiled.sets[set as usize].iter().filter_map(move |&rule| {
                let rule = &self.compiled.rules[rule as usize];
                let applies = rule.kind.covers(below) && rule.window.contains(at);
                applies.then_some((Trigger::new(labels, rule.kind), rule))
            })
        })
    }

    /// Sorts captures, first the one that decides: passthru, policy zone, sort of trigger, closest trigger, order, scope.
    ///
    /// An RPZ's passthru holds from its zone on, not in those before (draft-vixie-dnsop-dns-rpz §5: "The actions specified
    /// in policy rules are not used in the calculation of precedence").
    pub(super) fn precedence(&self, capture: &Capture) -> impl Ord + use<> {
        let frees = capture.action == Action::Passthru && self.compiled.orders[capture.order].rpz.is_none();
        let zone = self.compiled.zones[capture.order];
        (!frees, zone, capture.trigger.on, capture.rank, capture.order, capture.scope)
    }

    /// A capture as outsiders see it.
    // In place: a hit is six words that a call would write down to be copied.
    #[inline(always)]
    pub(super) fn hit(&self, capture: &Capture) -> Hit<'_> {
        let order = &self.compiled.orders[capture.order];
        Hit {
            order,
            scope: &order.scopes[capture.scope.0 as usize],
            trigger: capture.trigger,
            action: capture.action,
            zone: self.compiled.zones[capture.order],
        }
    }
}

/// What is asked: by whom, for which name, when.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) asker: &'a Asker<'a>,
    /// The name that is judged: the one asked for, or one that it leads to.
    pub(super) name: &'a Name,
    pub(super) at: UnixSeconds,
}
