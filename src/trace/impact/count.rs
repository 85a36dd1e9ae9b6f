//! Counting: fed names and clients, it tells what an order takes of them at every scale.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::groups::{Fate, Groups, Kept, Words};
use super::report::{Count, NameRow, Relation, Report, ScaleReport, Spared};
use super::scales::{Preview, SCALES, Scale};
use crate::name::Name;

/// Names of one sort that a report holds.
const MAX_NAMED: usize = 1000;
/// Names of what is found without being asked for that a report holds.
const MAX_FIRST: usize = 50;
/// The judgement of names that no scale reaches.
const CLEAR: u32 = 0;

/// How many are told apart; what is beyond is counted, but not as distinct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Distinct names.
    pub names: usize,
    /// Distinct clients.
    pub clients: usize,
    /// Distinct pairs of a name within the order's reach and a client that asked for it.
    pub pairs: usize,
}

impl Default for Bounds {
    /// Less than a gigabyte in all: about 80 octets a name, 30 a client, 20 a pair.
    fn default() -> Bounds {
        Bounds { names: 4 << 20, clients: 4 << 20, pairs: 8 << 20 }
    }
}

/// Counts what an order would do; see the module.
#[derive(Debug)]
pub struct Impact<'p> {
    preview: &'p Preview,
    bounds: Bounds,
    queries: u64,
    without_client: u64,
    /// Each name's number.
    numbers: HashMap<Box<[u8]>, u32>,
    /// What is known of each name, by number.
    records: Vec<Record>,
    /// Each client's number.
    clients: HashMap<IpAddr, u32>,
    /// Client number in the upper half, name number in the lower: only names that some scale reaches.
    pairs: HashSet<u64>,
    /// The judgements met, by number.
    judged: Vec<Kept>,
    /// Their numbers.
    judgements: HashMap<Kept, u32>,
    /// Queries for names that are no longer told apart, by judgement.
    beyond: HashMap<u32, u64>,
    /// Ids, families and names that judgements speak of.
    words: Words,
    names_at_least: bool,
    clients_at_least: bool,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug)]
struct Record {
    queries: u64,
    judgement: u32,
}

impl<'p> Impact<'p> {
    /// Has counted nothing.
    pub fn new(preview: &'p Preview) -> Impact<'p> {
        Impact::bounded(preview, Bounds::default())
    }

    /// The same, telling apart no more than that.
    pub fn bounded(preview: &'p Preview, bounds: Bounds) -> Impact<'p> {
        Impact {
            preview,
            bounds,
            queries: 0,
            without_client: 0,
            numbers: HashMap::new(),
            records: Vec::new(),
            clients: HashMap::new(),
            pairs: HashSet::new(),
            judged: vec![Kept::default()],
            judgements: HashMap::from([(Kept::default(), CLEAR)]),
            beyond: HashMap::new(),
            words: Words::default(),
            names_at_least: false,
            clients_at_least: false,
        }
    }

    /// Counts `count` queries of a client for a name.
    pub fn feed(&mut self, name: &Name, client: Option<IpAddr>, count: u64) {
        if count == 0 {
            return;
        }
        self.queries += count;
        let client = match client {
            Some(client) => self.client(client.to_canonical()),
            None => {
                self.without_client += count;
                None
            }
        };
        let number = match self.numbers.get(name.as_wire()) {
            Some(&number) => number,
            None => {
                let judgement = self.judge(name);
                if self.records.len() >= self.bounds.names.min(u32::MAX as usize) {
                    self.names_at_least = true;
                    self.clients_at_least |= judgement != CLEAR && client.is_some();
                    *self.beyond.entry(judgement).or_default() += count;
                    return;
                }
                let number = self.records.len() as u32;
                self.numbers.insert(name.as_wire().into(), number);
                self.records.push(Record { queries: 0, judgement });
                number
            }
        };
        let Some(record) = self.records.get_mut(number as usize) else { return };
        record.queries += count;
        if let Some(client) = client.filter(|_| record.judgement != CLEAR) {
            let pair = u64::from(client) << 32 | u64::from(number);
            if self.pairs.len() < self.bounds.pairs {
                self.pairs.insert(pair);
            } else {
                self.clients_at_least |= !self.pairs.contains(&pair);
            }
        }
    }

    /// The number of a client, if it is told apart.
    fn client(&mut self, client: IpAddr) -> Option<u32> {
        if let Some(&number) = self.clients.get(&client) {
            return Some(number);
        }
        if self.clients.len() >= self.bounds.clients.min(u32::MAX as usize) {
            self.clients_at_least = true;
            return None;
        }
        let number = self.clients.len() as u32;
        self.clients.insert(client, number);
        Some(number)
    }

    /// The number of a name's judgement.
    fn judge(&mut self, name: &Name) -> u32 {
        let Some(judgement) = self.preview.judge(name) else { return CLEAR };
        let kept = Kept::of(&judgement, name, &mut self.words);
        if let Some(&number) = self.judgements.get(&kept) {
            return number;
        }
        let number = self.judged.len() as u32;
        self.judged.push(kept);
        self.judgements.insert(kept, number);
        number
    }

    /// What it came to; traces are for whoever fed it to add.
    pub fn finish(self) -> Report {
        let preview = self.preview;
        let mut notes = preview.notes.clone();
        if self.queries == 0 {
            notes.push("there was no query to count".into());
        }
        if preview.popular.is_none() {
            notes.push("popular names were not checked: no list of them was given (--popular FILE)".into());
        }
        if self.names_at_least {
            notes.push(format!(
                "more than {} distinct names were asked for: counts of names are lower bounds, counts of queries are not",
                self.bounds.names
            ));
        }
        if self.clients_at_least {
            notes.push(
                "there were more clients than are told apart: counts of clients are lower bounds".into(),
            );
        }
        if self.without_client == self.queries && self.queries > 0 {
            notes.push("the traces do not tell who asked: clients cannot be counted".into());
        } else if self.without_client > 0 {
            notes.push(format!("{} queries do not tell who asked", self.without_client));
        }
        let asked = Count {
            queries: self.queries,
            names: self.records.len() as u64,
            clients: self.clients.len() as u64,
        };
        Report {
            order: preview.facts.clone(),
            at: preview.at,
            traces: Vec::new(),
            asked,
            without_client: self.without_client,
            names_at_least: self.names_at_least,
            clients_at_least: self.clients_at_least,
            popular_list: preview.popular.as_ref().map(|popular| popular.source.clone()),
            scales: self.scales(asked),
            notes,
        }
    }

    /// What each scale does.
    fn scales(&self, asked: Count) -> Vec<ScaleReport> {
        let mut pairs: Vec<u64> = self.pairs.iter().copied().collect();
        pairs.sort_unstable();
        let mut clients_of = vec![0u64; self.records.len()];
        for pair in &pairs {
            if let Some(clients) = clients_of.get_mut(*pair as u32 as usize) {
                *clients += 1;
            }
        }
        let mut reached: Vec<(&[u8], u64, Kept, u64)> = Vec::new();
        for (name, &number) in &self.numbers {
            let Some(record) = self.records.get(number as usize) else { continue };
            if let Some(kept) =
                self.judged.get(record.judgement as usize).filter(|_| record.judgement != CLEAR)
            {
                let clients = clients_of.get(number as usize).copied().unwrap_or(0);
                reached.push((name, record.queries, *kept, clients));
            }
        }
        reached.sort_unstable_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(right.0)));
        let mut scales = Vec::with_capacity(SCALES);
        let on_list = self.popular_on_list();
        for (index, scale) in Scale::ALL.into_iter().enumerate() {
            let mut report = self.groups(index, &pairs).report(scale, asked, &self.words);
            if let Some(reach) = self.preview.reaches.get(index) {
                report.triggers = reach.triggers;
                report.whole_suffixes = reach.suffixes.len() as u64;
                report.first_suffixes = reach.suffixes.iter().take(MAX_FIRST).map(Name::to_string).collect();
            }
            match on_list.as_ref().and_then(|found| found.get(index)) {
                Some((total, first)) => {
                    report.popular_on_list = Some(*total);
                    report.first_popular.clone_from(first);
                }
                None => report.popular = None,
            }
            self.name_rows(index, &reached, &mut report);
            scales.push(report);
        }
        scales
    }

    /// Of the popular names, how many each scale takes, and the first of them.
    fn popular_on_list(&self) -> Option<[(u64, Vec<String>); SCALES]> {
        let mut found: [(u64, Vec<String>); SCALES] = Default::default();
        for name in self.preview.popular.as_ref()?.names.iter() {
            let takes = self.preview.takes(&name);
            for ((total, first), _) in found.iter_mut().zip(takes).filter(|(_, takes)| *takes) {
                *total += 1;
                if first.len() < MAX_FIRST {
                    first.push(name.to_string());
                }
            }
        }
        Some(found)
    }

    /// The names that a report shows, from those reached, most queries first.
    fn name_rows(&self, scale: usize, reached: &[(&[u8], u64, Kept, u64)], report: &mut ScaleReport) {
        for &(wire, queries, kept, clients) in reached {
            let Ok(name) = Name::from_wire(wire) else { continue };
            match kept.fates.get(scale) {
                Some(Fate::Taken(..))
                    if kept.relation != Relation::Listed && report.collateral_names.len() < MAX_NAMED =>
                {
                    report.collateral_names.push(NameRow {
                        name: name.to_string(),
                        relation: kept.relation,
                        popular: kept.popular,
                        public_suffix: kept.suffix,
                        queries,
                        clients,
                    });
                }
                Some(Fate::LetPass(by)) if report.let_pass_names.len() < MAX_NAMED => {
                    report.let_pass_names.push(Spared {
                        name: name.to_string(),
                        listed: kept.relation == Relation::Listed,
                        by: self.words.text(*by).into(),
                        queries,
                    });
                }
                _ => {}
            }
        }
    }

    /// Counts by group at one scale.
    fn groups(&self, scale: usize, pairs: &[u64]) -> Groups {
        let mut groups = Groups::default();
        let of: Vec<Vec<usize>> = self.judged.iter().map(|kept| groups.of(kept, scale)).collect();
        let of = |judgement: u32| of.get(judgement as usize).map_or(&[][..], Vec::as_slice);
        for record in &self.records {
            for &group in of(record.judgement) {
                groups.add(group, record.queries, 1);
            }
        }
        for (&judgement, &queries) in &self.beyond {
            for &group in of(judgement) {
                groups.add(group, queries, 0);
            }
        }
        // All pairs of one client stand together, so a client is new to a group unless it was the last one there.
        let mut last = vec![None; groups.counts.len()];
        for pair in pairs {
            let (client, number) = ((pair >> 32) as u32, *pair as u32);
            let Some(record) = self.records.get(number as usize) else { continue };
            for &group in of(record.judgement) {
                let (Some(last), Some(count)) = (last.get_mut(group), groups.counts.get_mut(group)) else {
                    continue;
                };
                if *last != Some(client) {
                    *last = Some(client);
                    count.clients += 1;
                }
            }
        }
        groups
    }
}
