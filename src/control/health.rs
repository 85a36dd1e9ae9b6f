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
}

impl About {
    /// All of them.
    pub const ALL: [About; 5] = [About::Watch, About::Reload, About::Log, About::Tasks, About::Configuration];
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            About::Watch => "watch",
            About::Reload => "reload",
            About::Log => "log",
            About::Tasks => "tasks",
            About::Configuration => "configuration",
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
        let all = self.all().into_iter().filter(|(_, trouble)| !trouble.now.is_empty());
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
        let times = |about| health.all().into_iter().find(|(one, _)| *one == about).unwrap().1.times;
        assert_eq!((times(About::Reload), times(About::Log)), (2, 0));
    }
}
