//! What does not go as it should, and how often it has come about: told wherever people look.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a trouble is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// Files are not watched; their stamps are looked at.
    Watch,
    /// Something could not be read, or reading broke off; it is tried again.
    Reload,
    /// Lines of the log could not be written.
    Log,
    /// A task beside answering broke off.
    Tasks,
    /// The configuration cannot be used as it is now; the one before is in force.
    Configuration,
    /// No server of a group of upstreams answers.
    Upstream,
    /// What is cached cannot be kept for a restart.
    Cache,
    /// Files of local names cannot be used as they are now; what they said before is in force.
    Local,
    /// Evidence cannot be written; it is counted on in memory.
    Evidence,
    /// Queries cannot be logged somewhere: what is missed is counted.
    QueryLog,
    /// The journal is not where the next start reads it, and cannot be put back.
    Journal,
}

impl About {
    /// All of them.
    pub const ALL: [About; 11] = [
        About::Watch,
        About::Reload,
        About::Log,
        About::Tasks,
        About::Configuration,
        About::Upstream,
        About::Cache,
        About::Local,
        About::Evidence,
        About::QueryLog,
        About::Journal,
    ];

    /// Whether it is a trouble of this process that a restart may mend; with others it would only lose what is cached.
    pub fn is_own(self) -> bool {
        // A restart would forget what is on record and no longer on the disk.
        !matches!(
            self,
            About::Upstream
                | About::Cache
                | About::Local
                | About::Evidence
                | About::QueryLog
                | About::Journal
        )
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            About::Watch => "watch",
            About::Reload => "reload",
            About::Log => "log",
            About::Tasks => "tasks",
            About::Configuration => "configuration",
            About::Upstream => "upstream",
            About::Cache => "cache",
            About::Local => "local names",
            About::Evidence => "evidence",
            About::QueryLog => "query log",
            About::Journal => "journal",
        })
    }
}

/// The troubles there are.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<About, Trouble>>);

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// What it is now; empty when it is over.
    pub now: String,
    /// How often it has come about.
    pub times: u64,
}

impl Health {
    /// Says how it is about something: what is wrong, or nothing if that is over. Gives back whether this is news.
    pub fn say(&self, about: About, now: Option<&str>) -> bool {
        let (mut troubles, now) = (self.troubles(), now.unwrap_or_default());
        let trouble = troubles.entry(about).or_default();
        let news = trouble.now != now;
        trouble.times += u64::from(news && !now.is_empty());
        now.clone_into(&mut trouble.now);
        news
    }

    /// How it is about everything.
    pub fn all(&self) -> Vec<(About, Trouble)> {
        let troubles = self.troubles();
        About::ALL.map(|about| (about, troubles.get(&about).cloned().unwrap_or_default())).into()
    }

    /// What is wrong now, a line each.
    pub fn wrong(&self) -> Vec<String> {
        self.wrong_where(|_| true)
    }

    /// What is wrong now in some respects, a line each.
    pub fn wrong_where(&self, counts: impl Fn(About) -> bool) -> Vec<String> {
        let all = self.all().into_iter().filter(|(about, trouble)| counts(*about) && !trouble.now.is_empty());
        all.map(|(about, trouble)| format!("{about}: {}", trouble.now)).collect()
    }

    /// The troubles; they are whole whatever happened to who held them.
    fn troubles(&self) -> MutexGuard<'_, BTreeMap<About, Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_come_and_go_and_are_counted() {
        let health = Health::default();
        assert_eq!(health.wrong(), [""; 0]);
        assert!(!health.say(About::Reload, None));
        assert!(health.say(About::Reload, Some("too many open files")));
        assert!(!health.say(About::Reload, Some("too many open files")));
        assert_eq!(health.wrong(), ["reload: too many open files"]);
        assert!(health.say(About::Reload, None));
        assert!(health.say(About::Reload, Some("too many open files")) && health.say(About::Reload, None));
        assert_eq!(health.wrong(), [""; 0]);
        health.say(About::Upstream, Some("no server answers: udp://192.0.2.1:53"));
        assert_eq!(health.wrong(), ["upstream: no server answers: udp://192.0.2.1:53"]);
        assert_eq!(health.wrong_where(About::is_own), [""; 0]);
        let times = |about| health.all().into_iter().find(|(one, _)| *one == about).unwrap().1.times;
        assert_eq!((times(About::Reload), times(About::Log)), (2, 0));
    }
}
