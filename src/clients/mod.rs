//! Which policy zones apply to whom, and when: groups of clients, their schedules, and pauses; and which types not.
//!
//! A client is in one group: the one with the longest prefix around its address, else the group `default`. (Pi-hole and
//! blocky put a client in several groups at once and add up their lists; with one group it can be read off the
//! configuration what applies to whom.) A group says which zones apply to it: all, `zones` alone, or all `without` some.
//!
//! Rows of a schedule change that while they hold: first they take out the zones under `without`, then they put in those
//! under `also`. Rows are gone through in their order, so of two that hold at once the later has the last word. A row
//! changes only the zones it names: a list against malware cannot be lost by a row about games, as it would be if rows
//! said all that applies.
//!
//! A group may be told nothing of some types (`filter`), AAAA for one where IPv6 leads nowhere. That is no zone's matter, and so neither
//! schedules nor pauses change it.
//!
//! A pause takes out all zones, for a group or for everybody, until a second. What a court, an agency or a registry ordered
//! is never left out, whatever is configured or paused: [`View::includes`] sees to that.

mod prefixes;
mod privacy;
mod schedule;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub use self::privacy::Privacy;
pub use self::schedule::{DAY_MINUTES, Hours, MAX_ROWS};

use self::prefixes::Prefixes;
use self::schedule::Holding;
use crate::access::Network;
use crate::iana::Rtype;
use crate::keys;
use crate::policy::View;
use crate::time::UnixSeconds;

/// The name of the group of everybody who is in no other; its number is 0.
pub const DEFAULT: &str = "default";
/// Groups there may be: far beyond any house or office, and their numbers fit in a `u16`.
pub const MAX_GROUPS: usize = 4096;
/// Networks there may be in all groups together: a MiB of ranges at most.
pub const MAX_NETWORKS: usize = 16_384;

/// When nothing is paused.
const NO_PAUSE: UnixSeconds = UnixSeconds::MIN;

/// A group as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name, which no other has.
    pub name: String,
    /// Whose addresses; empty for [`DEFAULT`].
    pub networks: Vec<Network>,
    /// Which zones apply to it when no row of its schedule holds.
    pub view: View,
    /// What changes that; at most [`MAX_ROWS`], later rows have the last word.
    pub schedule: Vec<Row>,
    /// Types that it is told nothing of, whatever the name.
    pub filter: Vec<Rtype>,
    /// How much of who is in it is kept in evidence, if not as much as of others.
    pub evidence: Option<Privacy>,
}

impl Group {
    /// One that sees the same zones at all times, and all types.
    pub fn plain(name: &str, networks: Vec<Network>, view: View) -> Group {
        Group { name: name.into(), networks, view, schedule: Vec::new(), filter: Vec::new(), evidence: None }
    }
}

/// A row of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// When it holds.
    pub hours: Hours,
    /// All zones but those it takes out.
    pub without: View,
    /// The zones it puts in, after that.
    pub also: View,
}

/// Who is in which group, and what applies to it at a moment. A value: whoever pauses something changes a copy, which costs
/// as much as there are groups, and puts it in the place of the other.
///
/// Nothing that asks it allocates, locks or waits.
#[derive(Clone, Debug)]
pub struct Clients {
    groups: Arc<Groups>,
    pauses: Pauses,
}

/// The groups as configured.
#[derive(Debug)]
struct Groups {
    prefixes: Prefixes,
    /// By number; the first is [`DEFAULT`]'s.
    members: Box<[Member]>,
    /// Without a pause, everybody sees all zones at all times.
    plain: bool,
    /// Types that some group is told nothing of.
    filtered: Box<[Rtype]>,
}

/// Until which second lists are left aside, for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pauses {
    /// Everybody.
    everybody: UnixSeconds,
    /// Each group, by number.
    groups: Box<[UnixSeconds]>,
    /// Whether there is any, also one that is over.
    any: bool,
}

/// A group at work.
#[derive(Debug)]
struct Member {
    name: Box<str>,
    view: View,
    schedule: Box<[Row]>,
    holding: Holding,
    filter: Box<[Rtype]>,
    evidence: Option<Privacy>,
}

impl Clients {
    /// No groups: all zones apply to everybody.
    pub fn everyone() -> Clients {
        Clients::new(&[])
    }

    /// These groups. One named [`DEFAULT`] has number 0, the others follow in their order; what is beyond [`MAX_GROUPS`] or
    /// [`MAX_ROWS`] is left out, for configurations are refused before they get there.
    pub fn new(groups: &[Group]) -> Clients {
        let (default, others): (Vec<&Group>, Vec<&Group>) =
            groups.iter().partition(|group| group.name == DEFAULT);
        let everybody = Group::plain(DEFAULT, Vec::new(), View::ALL);
        let default = default.first().copied().unwrap_or(&everybody);
        let numbered =
            || std::iter::once(default).chain(others.iter().copied()).take(MAX_GROUPS).zip(0_u16..);
        let networks = numbered()
            .flat_map(|(group, number)| group.networks.iter().map(move |network| (*network, number)));
        let plain = numbered().all(|(group, _)| group.view == View::ALL && group.schedule.is_empty());
        let members: Box<[Member]> = numbered().map(|(group, _)| Member::new(group)).collect();
        Clients {
            pauses: Pauses::none(members.len()),
            groups: Arc::new(Groups {
                prefixes: Prefixes::new(networks),
                plain: plain && others.is_empty(),
                filtered: members.iter().flat_map(|member| member.filter.iter().copied()).collect(),
                members,
            }),
        }
    }

    /// Whether nobody needs to look: all zones apply to everybody, and there is no pause.
    ///
    /// A pause that has ended by itself counts until somebody takes it out: this knows no time.
    #[inline]
    pub fn is_trivial(&self) -> bool {
        self.groups.plain && !self.pauses.any
    }

    /// Whether nobody is kept from any type.
    #[inline]
    pub fn filters_nothing(&self) -> bool {
        self.groups.filtered.is_empty()
    }

    /// Whether a client is told nothing of a type. A pause changes nothing about that: it is about zones.
    pub fn filters(&self, addr: IpAddr, qtype: Rtype) -> bool {
        let filters = |member: &Member| member.filter.contains(&qtype);
        self.groups.filtered.contains(&qtype)
            && self.groups.members.get(usize::from(self.group_of(addr))).is_some_and(filters)
    }

    /// The number of a client's group; 0 is [`DEFAULT`]'s. A binary search, some ten nanoseconds for a dozen networks.
    #[inline]
    pub fn group_of(&self, addr: IpAddr) -> u16 {
        self.groups.prefixes.of(addr)
    }

    /// How much of a client is kept in evidence, if its group says so.
    pub fn privacy(&self, addr: IpAddr) -> Option<Privacy> {
        self.groups.members.get(usize::from(self.group_of(addr)))?.evidence
    }

    /// What applies to a group at a moment; a number that no group has means [`DEFAULT`]'s.
    ///
    /// For one second it is always the same. A few loads; with a schedule some nanoseconds for each row that holds, and once a
    /// minute some hundred for each row to work that out.
    pub fn view(&self, group: u16, at: UnixSeconds) -> View {
        let members = &self.groups.members;
        let number = if usize::from(group) < members.len() { usize::from(group) } else { 0 };
        let Some(member) = members.get(number) else { return View::ALL };
        let own = self.pauses.groups.get(number).copied().unwrap_or(NO_PAUSE);
        if at < own.max(self.pauses.everybody) { View::NONE } else { member.view(at) }
    }

    /// How many groups there are; their numbers are below.
    pub fn groups(&self) -> usize {
        self.groups.members.len()
    }

    /// The name of a group.
    pub fn name(&self, group: u16) -> Option<&str> {
        self.groups.members.get(usize::from(group)).map(|member| &*member.name)
    }

    /// Takes out all zones for a group, or for everybody, until that second, [`UnixSeconds::MAX`] for ever. It replaces an
    /// earlier pause of the same; of a group's and everybody's, the longer one counts.
    ///
    /// # Errors
    /// No group has that name.
    pub fn pause(&mut self, group: Option<&str>, until: UnixSeconds) -> Result<(), UnknownGroup> {
        let place = group.map(|name| self.number(name)).transpose()?;
        self.pauses.set(place, until);
        Ok(())
    }

    /// Whether a pause of that group, or of everybody, could be.
    ///
    /// # Errors
    /// No group has that name.
    pub fn check(&self, group: Option<&str>) -> Result<(), UnknownGroup> {
        group.map_or(Ok(()), |name| self.number(name).map(|_| ()))
    }

    /// Ends the pause of a group, or every pause. A group that is alone resumed stays paused while everybody is.
    ///
    /// # Errors
    /// No group has that name.
    pub fn resume(&mut self, group: Option<&str>) -> Result<(), UnknownGroup> {
        match group {
            None => self.pauses = Pauses::none(self.groups()),
            Some(name) => self.pauses.set(Some(self.number(name)?), NO_PAUSE),
        }
        Ok(())
    }

    /// The pauses that hold at a moment: group, none for everybody, and until when.
    pub fn pauses(&self, at: UnixSeconds) -> Vec<(Option<String>, UnixSeconds)> {
        let house = (None, self.pauses.everybody);
        let names = self.groups.members.iter().map(|member| Some(member.name.to_string()));
        let all = std::iter::once(house).chain(names.zip(self.pauses.groups.iter().copied()));
        all.filter(|&(_, until)| at < until).collect()
    }

    /// Goes on with the pauses of other groups, as far as there are groups of the same name.
    #[must_use]
    pub fn paused_like(mut self, before: &Clients) -> Clients {
        for (group, until) in before.pauses(NO_PAUSE) {
            // A group that is gone is paused no longer.
            let _ = self.pause(group.as_deref(), until);
        }
        self
    }

    /// Whether the same pauses stand in both, whatever the groups.
    pub fn is_paused_like(&self, other: &Clients) -> bool {
        self.pauses == other.pauses
    }

    /// The number of the group of that name.
    fn number(&self, name: &str) -> Result<usize, UnknownGroup> {
        let members = &self.groups.members;
        members.iter().position(|member| *member.name == *name).ok_or_else(|| UnknownGroup {
            name: name.into(),
            nearest: keys::nearest(name, members.iter().map(|member| &*member.name)).map(String::from),
        })
    }
}

impl Pauses {
    /// None, of so many groups.
    fn none(groups: usize) -> Pauses {
        Pauses { everybody: NO_PAUSE, groups: vec![NO_PAUSE; groups].into(), any: false }
    }

    /// Sets when the pause of a group, or everybody's, ends.
    fn set(&mut self, group: Option<usize>, until: UnixSeconds) {
        let place = group.map_or(Some(&mut self.everybody), |number| self.groups.get_mut(number));
        if let Some(place) = place {
            *place = until;
        }
        self.any = self.everybody != NO_PAUSE || self.groups.iter().any(|until| *until != NO_PAUSE);
    }
}

impl Default for Clients {
    fn default() -> Clients {
        Clients::everyone()
    }
}

impl Member {
    /// A group that is not paused.
    fn new(group: &Group) -> Member {
        Member {
            name: group.name.as_str().into(),
            view: group.view,
            schedule: group.schedule.iter().take(MAX_ROWS).cloned().collect(),
            holding: Holding::new(),
            filter: group.filter.as_slice().into(),
            evidence: group.evidence,
        }
    }

    /// What applies when nothing is paused.
    fn view(&self, at: UnixSeconds) -> View {
        if self.schedule.is_empty() {
            return self.view;
        }
        let mut holding = self.holding.at(at, |minute| {
            let rows = self.schedule.iter().enumerate();
            rows.fold(0, |bits, (index, row)| bits | u32::from(row.hours.hold(minute)) << index)
        });
        let mut view = self.view;
        while holding != 0 {
            if let Some(row) = self.schedule.get(holding.trailing_zeros() as usize) {
                view = view.and(&row.without).or(&row.also);
            }
            holding &= holding - 1;
        }
        view
    }
}

/// No group has that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownGroup {
    /// The name.
    pub name: String,
    /// The group that is most like it, if one is.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no group of clients \"{}\"", self.name.escape_debug())?;
        match &self.nearest {
            Some(nearest) => write!(f, ": did you mean \"{nearest}\"?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnknownGroup {}
