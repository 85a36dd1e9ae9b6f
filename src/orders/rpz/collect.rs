//! A zone's rules gathered into scopes: triggers of one sort that do the same share one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::Rtype;
use super::rule::{Meaning, Trigger};
use super::{ActionOverride, RpzSpec};
use crate::name::{Name, NameList};
use crate::policy::{Action, ListedScope, LocalData, LocalRecord, MatchKind, Scope, TriggerType};

/// Records that one owner may have: more fit into no message, and each is held against all before it.
const MAX_RECORDS: usize = 1000;

/// What the records at one owner say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Said {
    /// A CNAME with a meaning of its own, and its TTL in seconds.
    Encoded(Action, u32),
    /// Records to answer with.
    Data(LocalData),
}

/// What makes two triggers say the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rule {
    /// What they are held against.
    on: TriggerType,
    /// How they match.
    kind: MatchKind,
    /// What their records say.
    said: Said,
}

/// What makes two triggers share a scope.
#[derive(PartialEq, Eq, Hash)]
struct Group {
    /// What they are held against.
    on: TriggerType,
    /// How they match.
    kind: MatchKind,
    /// What happens.
    action: Action,
    /// The TTL of forged denials, in seconds.
    ttl_s: Option<u32>,
    /// The records to answer with.
    data: Option<Arc<LocalData>>,
}

/// A trigger put away.
struct Kept {
    /// Where its name starts in `Collector::names`.
    at: usize,
    /// Its rule's place.
    rule: u32,
    /// The trigger kept before it whose hash is the same.
    next: Option<u32>,
}

/// Gathers rules record by record.
#[derive(Default)]
pub(super) struct Collector {
    /// The owner whose records are being read; they mostly stand together.
    open: Option<(Trigger, Said)>,
    /// Rules in the order they came up.
    rules: Vec<Arc<Rule>>,
    /// The place of each rule.
    places: HashMap<Arc<Rule>, u32>,
    /// Every trigger put away.
    kept: Vec<Kept>,
    /// Their names in wire form, one after the other.
    names: Vec<u8>,
    /// The last trigger of each hash.
    index: HashMap<u64, u32>,
    /// Keyed anew for every zone, so that no zone can be written to collide.
    hasher: RandomState,
}

impl Collector {
    /// Adds one record: its TTL in seconds, and for a CNAME what it says.
    ///
    /// # Errors
    /// Why the record cannot stand beside the owner's others.
    pub(super) fn add(
        &mut self,
        trigger: Trigger,
        rtype: Rtype,
        ttl_s: u32,
        rdata: &[u8],
        meaning: Option<Meaning>,
    ) -> Result<(), &'static str> {
        let data = |rdata: &[u8], prepend| {
            let record = LocalRecord { rtype, ttl_s, rdata: rdata.into() };
            Said::Data(LocalData { records: vec![record], prepend })
        };
        let said = match meaning {
            Some(Meaning::Encoded(action)) => Said::Encoded(action, ttl_s),
            // The asterisk is a label of two octets.
            Some(Meaning::GardenBelow) => data(rdata.get(2..).unwrap_or_default(), true),
            Some(Meaning::Garden) | None => data(rdata, false),
        };
        if let Some((open, before)) = &mut self.open
            && (open.kind, &open.name) == (trigger.kind, &trigger.name)
        {
            return join(before, said);
        }
        self.put_away();
        let before = self.find(&trigger).ok().and_then(|place| {
            let kept = self.kept.get(place)?;
            Some(self.rules.get(kept.rule as usize)?.said.clone())
        });
        let (said, joined) = match before {
            Some(mut before) => {
                let joined = join(&mut before, said);
                (before, joined)
            }
            None => (said, Ok(())),
        };
        self.open = Some((trigger, said));
        joined
    }

    /// The scopes with their names, as the subscriber uses the zone, in the order their rules came up.
    pub(super) fn finish(mut self, spec: &RpzSpec) -> Vec<ListedScope> {
        self.put_away();
        drop((self.index, self.places));
        let mut groups: HashMap<Group, usize> = HashMap::new();
        let mut scopes: Vec<ListedScope> = Vec::new();
        // The scope of each rule, once a trigger turns up that has the rule: some lost all theirs to longer ones.
        let mut places: Vec<Option<usize>> = vec![None; self.rules.len()];
        for kept in &self.kept {
            let rule = kept.rule as usize;
            let (Some(said), Some(place)) = (self.rules.get(rule), places.get_mut(rule)) else { continue };
            let place = *place.get_or_insert_with(|| {
                let group = group(said, spec);
                let scope = Scope {
                    on: group.on,
                    action: Some(group.action),
                    ttl_s: group.ttl_s,
                    data: group.data.clone(),
                    ..Scope::new(group.kind)
                };
                *groups.entry(group).or_insert_with(|| {
                    scopes.push(ListedScope::new(scope, NameList::new()));
                    scopes.len() - 1
                })
            });
            let name = self.names.get(kept.at..).and_then(Name::at_start_of);
            if let (Some(name), Some(of)) = (name, scopes.get_mut(place)) {
                of.names.push(&name);
            }
        }
        scopes.iter_mut().for_each(|one| one.names.shrink_to_fit());
        scopes
    }

    /// Keeps the open owner's rule.
    fn put_away(&mut self) {
        let Some((trigger, said)) = self.open.take() else { return };
        let rule = self.place(Rule { on: trigger.on, kind: trigger.kind, said });
        let next = match self.find(&trigger) {
            Ok(place) => {
                if let Some(kept) = self.kept.get_mut(place) {
                    kept.rule = rule;
                }
                return;
            }
            Err(next) => next,
        };
        // Four thousand million triggers would not fit into memory first.
        let Ok(place) = u32::try_from(self.kept.len()) else { return };
        self.kept.push(Kept { at: self.names.len(), rule, next });
        self.names.extend_from_slice(trigger.name.as_wire());
        self.index.insert(self.hash(&trigger), place);
    }

    /// Where a trigger is kept, or the last one kept whose hash is the same.
    fn find(&self, trigger: &Trigger) -> Result<usize, Option<u32>> {
        let last = self.index.get(&self.hash(trigger)).copied();
        let mut at = last;
        while let Some(place) = at {
            let Some(kept) = self.kept.get(place as usize) else { break };
            let kind = self.rules.get(kept.rule as usize).map(|rule| rule.kind);
            // Names end themselves: what starts alike is alike.
            let same = self.names.get(kept.at..).is_some_and(|name| name.starts_with(trigger.name.as_wire()));
            if same && kind == Some(trigger.kind) {
                return Ok(place as usize);
            }
            at = kept.next;
        }
        Err(last)
    }

    /// The hash of a trigger's kind and name; the name says what it is held against.
    fn hash(&self, trigger: &Trigger) -> u64 {
        self.hasher.hash_one((trigger.kind, trigger.name.as_wire()))
    }

    /// The place of a rule, which is its first if it is new.
    fn place(&mut self, rule: Rule) -> u32 {
        if let Some(place) = self.places.get(&rule) {
            return *place;
        }
        // As many as triggers at most, and those are counted alike.
        let place = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        let rule = Arc::new(rule);
        self.rules.push(Arc::clone(&rule));
        self.places.insert(rule, place);
        place
    }
}

/// Adds what a further record of an owner says.
fn join(before: &mut Said, more: Said) -> Result<(), &'static str> {
    match (before, more) {
        (Said::Encoded(before, _), Said::Encoded(more, _)) if *before == more => Ok(()),
        (Said::Data(before), Said::Data(more)) => {
            let alike = |one: &LocalRecord, other: &LocalRecord| {
                (one.rtype, &one.rdata) == (other.rtype, &other.rdata)
            };
            for record in more.records {
                // An RRset holds no record twice (RFC 2181 §5).
                if before.prepend == more.prepend && before.records.iter().any(|one| alike(one, &record)) {
                    continue;
                }
                if before.records.iter().chain([&record]).any(|one| one.rtype == Rtype::CNAME) {
                    return Err("a CNAME can be the only record of its owner");
                }
                if before.records.len() >= MAX_RECORDS {
                    return Err("its owner has a thousand records already");
                }
                before.records.push(record);
            }
            Ok(())
        }
        _ => Err("a CNAME can be the only record of its owner"),
    }
}

/// The scope that a rule belongs to, as the subscriber uses the zone (§6.1).
fn group(rule: &Rule, spec: &RpzSpec) -> Group {
    let own_ttl_s = match &rule.said {
        Said::Encoded(_, ttl_s) => *ttl_s,
        Said::Data(data) => data.records.iter().map(|record| record.ttl_s).min().unwrap_or_default(),
    };
    let ttl_s = own_ttl_s.min(spec.max_ttl_s);
    let plain = |action| Group {
        on: rule.on,
        kind: rule.kind,
        action,
        ttl_s: matches!(action, Action::NXDOMAIN | Action::NODATA).then_some(ttl_s),
        data: None,
    };
    let local = |data| Group { data: Some(Arc::new(data)), ..plain(Action::LOCAL) };
    match (&spec.action_override, &rule.said) {
        (ActionOverride::Action(action), _) => plain(*action),
        (ActionOverride::Cname { target, prepend }, _) => {
            let record = LocalRecord { rtype: Rtype::CNAME, ttl_s, rdata: target.as_wire().into() };
            local(LocalData { records: vec![record], prepend: *prepend })
        }
        (_, Said::Encoded(action, _)) => plain(*action),
        (_, Said::Data(data)) => {
            let mut data = data.clone();
            level(&mut data.records, spec.max_ttl_s);
            local(data)
        }
    }
}

/// Gives the records of each type one TTL (RFC 2181 §5.2), the least of theirs, and none above `max_ttl_s`.
fn level(records: &mut [LocalRecord], max_ttl_s: u32) {
    let mut least: HashMap<Rtype, u32> = HashMap::new();
    for record in records.iter() {
        let ttl_s = least.entry(record.rtype).or_insert(max_ttl_s);
        *ttl_s = record.ttl_s.min(*ttl_s);
    }
    for record in records {
        record.ttl_s = least.get(&record.rtype).copied().unwrap_or(record.ttl_s);
    }
}
