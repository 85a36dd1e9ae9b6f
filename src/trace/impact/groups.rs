//! Judgements kept, and what is counted together because of them.

use std::collections::HashMap;

use super::judge::{Judgement, Outcome};
use super::report::{Count, Relation, Row, ScaleReport};
use super::scales::{SCALES, Scale};
use crate::name::Name;

/// What stands for the id of an order where protection lets a name pass; ids have no spaces.
const PROTECTED: &str = "protected names";

/// A judgement to be kept: what it speaks of is in [`Words`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Kept {
    pub(super) relation: Relation,
    pub(super) family: Option<u32>,
    pub(super) popular: bool,
    pub(super) suffix: bool,
    pub(super) fates: [Fate; SCALES],
}

/// An outcome to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    #[default]
    Free,
    /// By this name, of this family.
    Taken(u32, u32),
    /// By the order of this id, or by protection.
    LetPass(u32),
    /// By the order of this id.
    Already(u32),
}

/// Texts by number.
#[derive(Debug, Default)]
pub(super) struct Words {
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Words {
    /// The number of a text.
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    /// The text of a number.
    pub(super) fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", String::as_str)
    }
}

impl Kept {
    /// A judgement of a name, to be kept.
    pub(super) fn of(judgement: &Judgement<'_>, name: &Name, words: &mut Words) -> Kept {
        let Judgement { relation, family, popular, suffix, outcomes } = *judgement;
        let fates = outcomes.map(|outcome| match outcome {
            Outcome::Free => Fate::Free,
            Outcome::Taken(trigger, family) => {
                Fate::Taken(words.number(&trigger.name(name).to_string()), words.number(family))
            }
            Outcome::Protected => Fate::LetPass(words.number(PROTECTED)),
            Outcome::Passed(by) => Fate::LetPass(words.number(by)),
            Outcome::Already(by) => Fate::Already(words.number(by)),
        });
        Kept { relation, family: family.map(|family| words.number(family)), popular, suffix, fates }
    }
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Group {
    Taken,
    Collateral,
    Related(Relation),
    Popular,
    Suffix,
    LetPass,
    LetPassBy(u32),
    Already,
    AlreadyBy(u32),
    Name(u32, u32),
    Family(Option<u32>),
}

/// Counts by group.
#[derive(Debug, Default)]
pub(super) struct Groups {
    numbers: HashMap<Group, usize>,
    pub(super) counts: Vec<Count>,
}

impl Groups {
    /// The numbers of all groups that a name of this judgement belongs to.
    pub(super) fn of(&mut self, kept: &Kept, scale: usize) -> Vec<usize> {
        let mut groups = Vec::new();
        match kept.fates.get(scale).copied().unwrap_or_default() {
            Fate::Free => {}
            Fate::LetPass(by) => groups.extend([Group::LetPass, Group::LetPassBy(by)]),
            Fate::Already(by) => groups.extend([Group::Already, Group::AlreadyBy(by)]),
            Fate::Taken(name, family) => {
                groups.extend([Group::Taken, Group::Related(kept.relation), Group::Name(name, family)]);
                groups.push(Group::Family(kept.family));
                groups.extend((kept.relation != Relation::Listed).then_some(Group::Collateral));
                groups.extend(kept.popular.then_some(Group::Popular));
                groups.extend(kept.suffix.then_some(Group::Suffix));
            }
        }
        groups
            .into_iter()
            .map(|group| {
                let next = self.counts.len();
                let number = *self.numbers.entry(group).or_insert(next);
                if number == next {
                    self.counts.push(Count::default());
                }
                number
            })
            .collect()
    }

    /// Adds to a group.
    pub(super) fn add(&mut self, group: usize, queries: u64, names: u64) {
        if let Some(count) = self.counts.get_mut(group) {
            count.queries += queries;
            count.names += names;
        }
    }

    /// What was counted for a group.
    fn count(&self, group: Group) -> Count {
        self.numbers.get(&group).and_then(|&number| self.counts.get(number)).copied().unwrap_or_default()
    }

    /// Rows of those groups that `key` makes one of, most queries first.
    fn rows(&self, key: impl Fn(Group) -> Option<(Option<String>, String)>) -> Vec<Row> {
        let rows = self.numbers.keys().filter_map(|&group| {
            let (key, family) = key(group)?;
            Some(Row { key, family, count: self.count(group) })
        });
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_unstable_by(|left, right| {
            let by_count = right.count.queries.cmp(&left.count.queries);
            by_count.then_with(|| (&left.key, &left.family).cmp(&(&right.key, &right.family)))
        });
        rows
    }

    /// All of it.
    pub(super) fn report(&self, scale: Scale, asked: Count, words: &Words) -> ScaleReport {
        let taken = self.count(Group::Taken);
        let related = |relation| self.count(Group::Related(relation));
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let word = |number: u32| Some((Some(words.text(number).to_string()), String::new()));
        ScaleReport {
            scale,
            triggers: 0,
            whole_suffixes: 0,
            first_suffixes: Vec::new(),
            taken,
            share_of_queries: share(taken.queries, asked.queries),
            share_of_names: share(taken.names, asked.names),
            listed: related(Relation::Listed),
            collateral: self.count(Group::Collateral),
            children: related(Relation::Child),
            parents: related(Relation::Parent),
            siblings: related(Relation::Sibling),
            others: related(Relation::Other),
            popular: Some(self.count(Group::Popular)),
            popular_on_list: None,
            first_popular: Vec::new(),
            suffixes: self.count(Group::Suffix),
            let_pass: self.count(Group::LetPass),
            let_pass_by: self.rows(|group| if let Group::LetPassBy(by) = group { word(by) } else { None }),
            already: self.count(Group::Already),
            already_by: self.rows(|group| if let Group::AlreadyBy(by) = group { word(by) } else { None }),
            by_name: self.rows(|group| match group {
                Group::Name(name, family) => Some((Some(words.text(name).into()), words.text(family).into())),
                _ => None,
            }),
            by_family: self.rows(|group| match group {
                Group::Family(family) => {
                    Some((family.map(|family| words.text(family).into()), String::new()))
                }
                _ => None,
            }),
            collateral_names: Vec::new(),
            let_pass_names: Vec::new(),
        }
    }
}
