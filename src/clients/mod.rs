//! Which policy zones apply to whom, and when: groups of clients, their schedules, and pauses.
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
//! A pause takes out all zones, for a group or for everybody, until a second. What a court, an agency or a registry ordered
//! is never left out, whatever is configured or paused: [`View::includes`] sees to that.

mod prefixes;
mod schedule;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

pub use self::schedule::{DAY_MINUTES, Hours, MAX_ROWS};

use self::prefixes::Prefixes;
use self::schedule::Holding;
use crate::access::Network;
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

/// Who is in which group, and what applies to it at a moment.
///
/// Nothing of it changes but pauses. No method but [`Clients::pause`], [`Clients::resume`] and [`Clients::pauses`]
/// allocates; none locks or waits.
#[derive(Debug)]
pub struct Clients {
    prefixes: Prefixes,
    /// By number; the first is [`DEFAULT`]'s.
    groups: Box<[Member]>,
    /// Everybody is paused until this second.
    paused_until: AtomicI64,
    /// How often a pause began or was ended.
    changes: AtomicU64,
    /// Without a pause, everybody sees all zones at all times.
    plain: bool,
}

/// A group at work.
#[derive(Debug)]
struct Member {
    name: Box<str>,
    view: View,
    schedule: Box<[Row]>,
    holding: Holding,
    /// It is paused until this second.
    paused_until: AtomicI64,
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
        let everybody =
            Group { name: DEFAULT.into(), networks: Vec::new(), view: View::ALL, schedule: Vec::new() };
        let default = default.first().copied().unwrap_or(&everybody);
        let numbered =
            || std::iter::once(default).chain(others.iter().copied()).take(MAX_GROUPS).zip(0_u16..);
        let networks = numbered()
            .flat_map(|(group, number)| group.networks.iter().map(move |network| (*network, number)));
        let plain = numbered().all(|(group, _)| group.view == View::ALL && group.schedule.is_empty());
        Clients {
            prefixes: Prefixes::new(networks),
            plain: plain && others.is_empty(),
            groups: numbered().map(|(group, _)| Member::new(group)).collect(),
            paused_until: AtomicI64::new(NO_PAUSE),
            changes: AtomicU64::new(0),
        }
    }

    /// Whether nobody needs to look: all zones apply to everybody, and there is no pause. Two loads.
    ///
    /// A pause that has ended by itself counts until [`Clients::tidy`] clears it away: this knows no time.
    #[inline]
    pub fn is_trivial(&self) -> bool {
        self.plain && self.pauses_set().all(|until| until.load(Ordering::Acquire) == NO_PAUSE)
    }

    /// The number of a client's group; 0 is [`DEFAULT`]'s. A binary search, some ten nanoseconds for a dozen networks.
    #[inline]
    pub fn group_of(&self, addr: IpAddr) -> u16 {
        self.prefixes.of(addr)
    }

    /// What applies to a group at a moment; a number that no group has means [`DEFAULT`]'s.
    ///
    /// For one second and one value of [`Clients::changes`], read before, it is always the same. A few loads; with a
    /// schedule some nanoseconds for each row that holds, and once a minute some hundred for each row to work that out.
    pub fn view(&self, group: u16, at: UnixSeconds) -> View {
        let member = self.groups.get(usize::from(group)).or(self.groups.first());
        let Some(member) = member else { return View::ALL };
        // What must be seen is ordered by the count, see `set`.
        let until =
            self.paused_until.load(Ordering::Relaxed).max(member.paused_until.load(Ordering::Relaxed));
        if at < until { View::NONE } else { member.view(at) }
    }

    /// How many groups there are; their numbers are below.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The name of a group.
    pub fn name(&self, group: u16) -> Option<&str> {
        self.groups.get(usize::from(group)).map(|member| &*member.name)
    }

    /// Grows whenever a pause begins or is ended; that one runs out, or that a row begins to hold, does not count.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Takes out all zones for a group, or for everybody, until that second, [`UnixSeconds::MAX`] for ever. It replaces an
    /// earlier pause of the same; of a group's and everybody's, the longer one counts.
    ///
    /// # Errors
    /// No group has that name.
    pub fn pause(&self, group: Option<&str>, until: UnixSeconds) -> Result<(), UnknownGroup> {
        let paused = match group {
            None => &self.paused_until,
            Some(name) => &self.member(name)?.paused_until,
        };
        self.set(paused, until);
        Ok(())
    }

    /// Whether a pause of that group, or of everybody, could be.
    ///
    /// # Errors
    /// No group has that name.
    pub fn check(&self, group: Option<&str>) -> Result<(), UnknownGroup> {
        group.map_or(Ok(()), |name| self.member(name).map(|_| ()))
    }

    /// Ends the pause of a group, or every pause. A group that is alone resumed stays paused while everybody is.
    ///
    /// # Errors
    /// No group has that name.
    pub fn resume(&self, group: Option<&str>) -> Result<(), UnknownGroup> {
        match group {
            None => self.everything_paused().for_each(|paused| self.set(paused, NO_PAUSE)),
            Some(name) => self.set(&self.member(name)?.paused_until, NO_PAUSE),
        }
        Ok(())
    }

    /// The pauses that hold at a moment: group, none for everybody, and until when.
    pub fn pauses(&self, at: UnixSeconds) -> Vec<(Option<String>, UnixSeconds)> {
        let house = (None, &self.paused_until);
        let groups = self.groups.iter().map(|member| (Some(member.name.to_string()), &member.paused_until));
        let all = std::iter::once(house).chain(groups);
        all.map(|(name, until)| (name, until.load(Ordering::Acquire)))
            .filter(|&(_, until)| at < until)
            .collect()
    }

    /// Clears away pauses that have ended by `at`, so that [`Clients::is_trivial`] can say so again. To be called now and
    /// then, every second at most; it changes no view of `at` or later.
    pub fn tidy(&self, at: UnixSeconds) {
        for paused in self.everything_paused() {
            let until = paused.load(Ordering::Acquire);
            if until != NO_PAUSE && until <= at {
                // One that began meanwhile stays.
                let _ = paused.compare_exchange(until, NO_PAUSE, Ordering::SeqCst, Ordering::Relaxed);
            }
        }
    }

    /// Writes a pause, and counts it if that changed it: first the one, then the other, so that whoever reads the count
    /// first and sees this change counted sees the pause.
    ///
    /// Whoever has seen this return may rely on it: both writes are sequentially consistent read-modify-writes, which
    /// processors make visible to all cores before they go on, and a datagram sent afterwards passes the kernel's locks
    /// before a worker reads the count. One that was already in a worker's hands may be answered by either.
    fn set(&self, paused: &AtomicI64, until: UnixSeconds) {
        if paused.swap(until, Ordering::SeqCst) != until {
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The pauses that matter where there is but one group.
    fn pauses_set(&self) -> impl Iterator<Item = &AtomicI64> {
        std::iter::once(&self.paused_until).chain(self.groups.first().map(|member| &member.paused_until))
    }

    /// Everybody's pause and each group's.
    fn everything_paused(&self) -> impl Iterator<Item = &AtomicI64> {
        std::iter::once(&self.paused_until).chain(self.groups.iter().map(|member| &member.paused_until))
    }

    /// The group of that name.
    fn member(&self, name: &str) -> Result<&Member, UnknownGroup> {
        self.groups.iter().find(|member| *member.name == *name).ok_or_else(|| UnknownGroup {
            name: name.into(),
            nearest: keys::nearest(name, self.groups.iter().map(|member| &*member.name)).map(String::from),
        })
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
            paused_until: AtomicI64::new(NO_PAUSE),
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
