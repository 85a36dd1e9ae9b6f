//! Names that a product's configuration itself blocks or frees: a policy zone of which the closest rule counts, and patterns.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::net::IpAddr;

use crate::config::spec::{ListAction, ListFormat};
use crate::name::Name;
use crate::orders::lists::pattern::Checker;

/// The zone that these rules are written in; names are relative to it.
const HEAD: &str =
    "$ORIGIN own.invalid.\n$TTL 10\n@ SOA localhost. nobody.invalid. 1 3600 600 86400 10\n@ NS localhost.\n";

/// What happens to a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    /// 0.0.0.0 and ::.
    Null,
    /// These addresses, and no data for what else is asked for.
    Addresses(Vec<IpAddr>),
    /// It does not exist.
    Nxdomain,
    /// It has no records.
    Nodata,
    /// No answer.
    Drop,
    /// REFUSED.
    Refused,
    /// The truth.
    Pass,
}

/// What a rule covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// The name.
    Exact,
    /// The name and all below it.
    Subtree,
}

/// A list that rules became.
#[derive(Debug)]
pub(super) struct Made {
    /// What its name has behind that of the rules.
    pub(super) suffix: &'static str,
    /// What stands in it.
    pub(super) text: String,
    /// How that is written.
    pub(super) format: ListFormat,
    /// What happens to names on it, unless it says that itself.
    pub(super) action: ListAction,
    /// Where they point, if they do.
    pub(super) addresses: Vec<IpAddr>,
}

/// Rules of one list.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// By name, and whether they are about what is below it.
    rules: BTreeMap<(Name, bool), Act>,
    /// Patterns by what happens.
    patterns: BTreeMap<Act, Vec<String>>,
    /// Checks them.
    checker: Checker,
    /// Names that are freed from all lists, as rules of such a list.
    freed: Vec<String>,
}

impl Own {
    /// How many rules there are.
    pub(super) fn len(&self) -> usize {
        self.rules.len() + self.freed.len() + self.patterns.values().map(Vec::len).sum::<usize>()
    }

    /// Adds a rule; a later one about the same name has the last word, but for what frees it.
    pub(super) fn rule(&mut self, name: &Name, cover: Cover, act: Act) {
        for below in [false, true] {
            let wanted = !below || cover == Cover::Subtree;
            let key = (*name, below);
            if wanted && self.rules.get(&key) != Some(&Act::Pass) {
                self.rules.insert(key, act.clone());
            }
        }
    }

    /// Adds a pattern, or says why it cannot be used.
    pub(super) fn pattern(&mut self, regex: &str, act: Act) -> Result<(), String> {
        self.checker.check(regex, act == Act::Pass)?;
        self.patterns.entry(act).or_default().push(regex.to_owned());
        Ok(())
    }

    /// Frees a name from all lists.
    pub(super) fn free(&mut self, name: &Name, cover: Cover) {
        self.freed.push(match cover {
            Cover::Exact => format!("|{name}^"),
            Cover::Subtree => format!("||{name}^"),
        });
    }

    /// Frees names that are stated elsewhere from rules about what is above them.
    pub(super) fn spare(&mut self, exact: &[Name], wide: &[Name]) {
        let each = exact
            .iter()
            .map(|name| (name, Cover::Exact))
            .chain(wide.iter().map(|name| (name, Cover::Subtree)));
        for (name, cover) in each {
            if self.covers(name) {
                self.rules.remove(&(*name, false));
                self.rule(name, cover, Act::Pass);
            }
        }
    }

    /// The names above those that rules are about.
    pub(super) fn zones_with_rules(&self) -> HashSet<Name> {
        let above = |name: &Name| {
            (0..name.label_count()).filter_map(|labels| name.ancestor(labels)).collect::<Vec<_>>()
        };
        self.rules.keys().flat_map(|(name, _)| above(name)).collect()
    }

    /// Whether a rule is about this name.
    fn covers(&self, name: &Name) -> bool {
        let above = (0..name.label_count()).filter_map(|labels| name.ancestor(labels));
        self.rules.contains_key(&(*name, false))
            || above.into_iter().any(|name| self.rules.contains_key(&(name, true)))
    }

    /// Whether a rule that does not free it is about a name above this one.
    fn is_below_another(&self, name: &Name, unlike: &Act) -> bool {
        let mut above = (0..name.label_count()).filter_map(|labels| name.ancestor(labels));
        above.any(|name| self.rules.get(&(name, true)).is_some_and(|act| act != unlike))
    }

    /// The rules as lists, with the names that could not be refused because of what is said of names above them.
    pub(super) fn lists(mut self) -> (Vec<Made>, Vec<Name>) {
        let (refused, otherwise) = self.refused();
        let zone = self.zone();
        let mut made = Vec::new();
        let mut add = |suffix, text, format, action| {
            made.push(Made { suffix, text, format, action, addresses: Vec::new() });
        };
        if zone != HEAD {
            add("", zone, ListFormat::Rpz, ListAction::Sinkhole);
        }
        for (suffix, lines, action) in
            [("-refused", &refused, ListAction::Refused), ("-allowed", &self.freed, ListAction::Passthru)]
        {
            if !lines.is_empty() {
                add(suffix, lines.join("\n") + "\n", ListFormat::Adblock, action);
            }
        }
        for (act, patterns) in self.patterns {
            let (suffix, action) = match &act {
                Act::Pass => ("-allowed-patterns", ListAction::Passthru),
                Act::Nxdomain => ("-nxdomain", ListAction::Nxdomain),
                Act::Nodata => ("-nodata", ListAction::Nodata),
                Act::Drop => ("-drop", ListAction::Drop),
                Act::Refused => ("-refused", ListAction::Refused),
                Act::Null | Act::Addresses(_) => ("-patterns", ListAction::Sinkhole),
            };
            let addresses = if let Act::Addresses(addresses) = act { addresses } else { Vec::new() };
            let text = patterns.join("\n") + "\n";
            made.push(Made { suffix, text, format: ListFormat::Regex, action, addresses });
        }
        (made, otherwise)
    }

    /// What is refused, as rules of a list of its own: policy zones have no such action. That list comes behind the zone, which frees
    /// what is to be freed of it. What is refused below names that are answered otherwise does not exist instead.
    fn refused(&mut self) -> (Vec<String>, Vec<Name>) {
        let refused = self.rules.iter().filter(|(_, act)| **act == Act::Refused).map(|(key, _)| *key);
        let (mut lines, mut otherwise) = (Vec::new(), Vec::new());
        for key in refused.collect::<Vec<_>>() {
            if self.is_below_another(&key.0, &Act::Refused) {
                otherwise.push(key.0);
                self.rules.insert(key, Act::Nxdomain);
                continue;
            }
            lines.push(if key.1 { format!("||*.{}^", key.0) } else { format!("|{}^", key.0) });
        }
        (lines, otherwise)
    }

    /// The rules as a policy zone.
    fn zone(&self) -> String {
        let mut zone = HEAD.to_owned();
        for ((name, below), act) in &self.rules {
            if *act == Act::Pass && !self.is_below_another(name, &Act::Pass) {
                continue;
            }
            let star = if *below { "*." } else { "" };
            let mut line = |data: &str| {
                let _ = writeln!(zone, "{star}{name} {data}");
            };
            match act {
                Act::Null => ["A 0.0.0.0", "AAAA ::"].into_iter().for_each(line),
                Act::Addresses(addresses) => addresses.iter().for_each(|address| match address {
                    IpAddr::V4(address) => line(&format!("A {address}")),
                    IpAddr::V6(address) => line(&format!("AAAA {address}")),
                }),
                Act::Nxdomain => line("CNAME ."),
                Act::Nodata => line("CNAME *."),
                Act::Drop => line("CNAME rpz-drop."),
                Act::Pass => line("CNAME rpz-passthru."),
                Act::Refused => {}
            }
        }
        zone
    }
}
