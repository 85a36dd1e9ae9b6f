//! What goes on record beside what people state of orders: configurations and lists that became others, pauses, and who speaks to the
//! control API.
//!
//! It joins the chain of the journal, and may fill no more than half of it: whatever happens by itself must leave room for a lift. What is
//! not on record for that, or because the disk does not take it, is said in the log and changes nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::active_policy::ActivePolicy;
use super::journal::blank;
use super::record::{Record, Verb, hash};
use crate::clock::Clock;
use crate::orders::Loaded;
use crate::time::UnixSeconds;

/// That the same speaks to the API goes on record no more often than this, in seconds.
const VISIT_EVERY_S: UnixSeconds = 3600;
/// As many who speak to the API are told apart; those beyond are not on record until one of these was silent for an hour.
const MAX_VISITORS: usize = 256;
/// That a list has become another goes on record no more often than this, in seconds; what is on record then is how it is by then.
const LIST_EVERY_S: UnixSeconds = 60;
/// Lists that are told apart.
const MAX_LISTS: usize = 4096;
/// Keys that are named of what is different in a configuration.
const MAX_KEYS: usize = 20;
/// Who changes what nobody asked for by the API.
const FILES: &str = "files";

/// Who puts on record what is not about orders.
pub struct Chronicle {
    active: Arc<ActivePolicy>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

/// What is on record already.
#[derive(Debug, Default)]
struct Known {
    /// The digest of the configuration, if there is one.
    configuration: Option<String>,
    /// The digest of each list and when that went on record.
    lists: HashMap<String, (String, UnixSeconds)>,
    /// Who speaks to the API, and when that last went on record.
    visitors: HashMap<String, UnixSeconds>,
    /// When it last did that somebody was refused, and how many were since.
    refused: (Option<UnixSeconds>, u64),
}

impl Chronicle {
    /// Goes on where the journal ends.
    pub fn new(active: Arc<ActivePolicy>, clock: Arc<dyn Clock>) -> Chronicle {
        let mut known = Known::default();
        active.journal(|journal| {
            for record in journal.records() {
                match record.verb {
                    Verb::Configure => known.configuration = Some(record.now.clone()),
                    Verb::List if record.now.is_empty() => drop(known.lists.remove(&record.about)),
                    Verb::List => known.list(&record.about, &record.now, record.unix),
                    _ => {}
                }
            }
        });
        Chronicle { active, clock, known: Mutex::new(known) }
    }

    /// The configuration in effect is this, as text; `changed` are the keys that have other values than in the one before, if that is
    /// known. Nothing is put on record if it is the one that is.
    pub fn configured(&self, effective: &str, changed: Option<&[String]>) {
        let (now, mut known) = (format!("sha256:{}", hash(effective)), self.known());
        if known.configuration.as_ref() == Some(&now) {
            return;
        }
        let was = known.configuration.replace(now.clone()).unwrap_or_default();
        let why = match changed {
            Some(changed) => format!("other values: {}", some(changed)),
            None if was.is_empty() => "as it is when this began".to_owned(),
            None => "another than when the server last ran".to_owned(),
        };
        drop(known);
        self.put(Record { verb: Verb::Configure, was, now, why, ..self.blank(FILES) });
    }

    /// Lists are these now.
    pub fn loaded(&self, loaded: &Loaded) {
        let at = self.clock.now().wall;
        let digests: HashMap<&str, (u128, usize)> =
            loaded.held_orders().map(|held| (held.order.id.as_str(), (held.digest, held.names))).collect();
        let mut records = Vec::new();
        let mut known = self.known();
        let files = loaded.lists.iter().flat_map(|list| &list.files);
        for file in files {
            // One that does not serve is no other list yet.
            let Some((digest, names)) = digests.get(file.id.as_str()) else { continue };
            let now = format!("xxh3:{digest:032x} {}", file.entries);
            let (was, since) = known.lists.get(&file.id).cloned().unwrap_or_default();
            if was == now || (!was.is_empty() && at.saturating_sub(since) < LIST_EVERY_S) {
                continue;
            }
            known.list(&file.id, &now, at);
            let why = format!("{} entries, {names} names, of {}", file.entries, file.file);
            let about = file.id.clone();
            records.push(Record { verb: Verb::List, about, was, now, why, ..self.blank(FILES) });
        }
        let gone: Vec<String> =
            known.lists.keys().filter(|id| !digests.contains_key(id.as_str())).cloned().collect();
        for about in gone {
            let (was, _) = known.lists.remove(&about).unwrap_or_default();
            let why = "it is no longer there".to_owned();
            records.push(Record { verb: Verb::List, about, was, why, ..self.blank(FILES) });
        }
        drop(known);
        self.put_all(records);
    }

    /// Somebody paused lists for a group of clients, or for everybody, until then.
    pub fn paused(&self, who: &str, group: Option<&str>, until: UnixSeconds, why: &str) {
        let (about, why, until) = (of_group(group), why.to_owned(), Some(until));
        self.put(Record { verb: Verb::Pause, about, until, why, ..self.blank(who) });
    }

    /// Somebody ended that.
    pub fn resumed(&self, who: &str, group: Option<&str>) {
        self.put(Record { verb: Verb::Resume, about: of_group(group), ..self.blank(who) });
    }

    /// Somebody is let in by the API, from an address if it is one. Gives back a record if that is news: it is to be [put](Chronicle::put).
    pub fn visited(&self, who: &str, from: Option<&str>) -> Option<Record> {
        let at = self.clock.now().wall;
        let mut known = self.known();
        let key = format!("{who} {}", from.unwrap_or_default());
        let is_recent = |since: &UnixSeconds| (0..VISIT_EVERY_S).contains(&at.saturating_sub(*since));
        if known.visitors.get(&key).is_some_and(is_recent) {
            return None;
        }
        if known.visitors.len() >= MAX_VISITORS {
            known.visitors.retain(|_, since| is_recent(since));
            if known.visitors.len() >= MAX_VISITORS {
                return None;
            }
        }
        known.visitors.insert(key, at);
        let about = from.unwrap_or_default().to_owned();
        Some(Record { verb: Verb::LogIn, about, ..self.blank(who) })
    }

    /// Somebody is not let in, for want of a token that is known: that goes on record once an hour at most, whoever it is.
    pub fn refused(&self, from: Option<&str>) -> Option<Record> {
        let at = self.clock.now().wall;
        let mut known = self.known();
        let (since, times) = &mut known.refused;
        *times += 1;
        if since.is_some_and(|since| (0..VISIT_EVERY_S).contains(&at.saturating_sub(since))) {
            return None;
        }
        *since = Some(at);
        let why = match std::mem::take(times) {
            1 => "no token, or one that is not known".to_owned(),
            times => format!("no token, or one that is not known: {times} times since that was last said"),
        };
        let about = from.unwrap_or_default().to_owned();
        Some(Record { verb: Verb::Refuse, about, why, ..self.blank("nobody") })
    }

    /// Puts a record on the disk. Blocks for as long as that takes.
    pub fn put(&self, record: Record) {
        self.put_all(vec![record]);
    }

    /// The same for several at once.
    fn put_all(&self, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let what: Vec<String> = records.iter().map(|one| format!("{} {}", one.verb, one.about)).collect();
        if let Err(error) = self.active.note(records) {
            tracing::warn!("not on record: {}: {error}", some(&what));
        }
    }

    /// A record with nothing in it but when and who.
    fn blank(&self, who: &str) -> Record {
        blank(self.clock.now().wall, who)
    }

    /// What is on record already; it is whole whatever happened to who held it.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Notes the digest of a list.
    fn list(&mut self, about: &str, now: &str, at: UnixSeconds) {
        if self.lists.len() < MAX_LISTS || self.lists.contains_key(about) {
            self.lists.insert(about.to_owned(), (now.to_owned(), at));
        }
    }
}

/// Whom a pause is about, in a word.
fn of_group(group: Option<&str>) -> String {
    group.unwrap_or("everybody").to_owned()
}

/// The first few of them, in a line.
fn some(all: &[String]) -> String {
    let more = all.len().checked_sub(MAX_KEYS).filter(|more| *more > 0);
    let named = all.iter().take(MAX_KEYS).cloned();
    named.chain(more.map(|more| format!("{more} more"))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::control::journal::Journal;
    use crate::orders::{Loader, Settings};
    use crate::policy::Policy;
    use crate::resolver::Current;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// A clock that is set.
    #[derive(Default)]
    struct Set(AtomicI64);

    impl Clock for Set {
        fn now(&self) -> Now {
            Now { mono: std::time::Duration::ZERO, wall: self.0.load(Ordering::Relaxed) }
        }
    }

    /// A chronicle, and what sets its clock.
    fn chronicle(journal: Journal) -> (Chronicle, Arc<Set>) {
        let (clock, active) =
            (Arc::new(Set::default()), ActivePolicy::new(Current::of(Policy::empty()), journal));
        clock.0.store(1_000_000, Ordering::Relaxed);
        (Chronicle::new(Arc::new(active), clock.clone()), clock)
    }

    /// What is on record, a line each.
    fn told(chronicle: &Chronicle) -> Vec<String> {
        let line = |record: &Arc<Record>| {
            let Record { who, verb, about, was, now, why, .. } = &**record;
            let digest = |text: &str| text.get(..9).unwrap_or("-").to_owned();
            format!("{who}|{verb}|{about}|{}|{}|{why}", digest(was), digest(now))
        };
        chronicle.active.journal(|journal| journal.records().iter().map(line).collect())
    }

    #[test]
    fn a_configuration_is_on_record_when_it_is_another_over_restarts_too() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Journal::open(dir.path(), 0).unwrap().0;
        let (one, _) = chronicle(open());
        one.configured("a = 1", None);
        one.configured("a = 1", None);
        one.configured("a = 2", Some(&["a".to_owned()]));
        let digest = |text: &str| format!("sha256:{}", hash(text))[..9].to_owned();
        let (first, second) = (digest("a = 1"), digest("a = 2"));
        let mut expected = vec![
            format!("files|configure||-|{first}|as it is when this began"),
            format!("files|configure||{first}|{second}|other values: a"),
        ];
        assert_eq!(told(&one), expected);
        drop(one);
        let (two, _) = chronicle(open());
        two.configured("a = 2", None);
        assert_eq!(told(&two), expected);
        two.configured("a = 1", None);
        expected.push(format!("files|configure||{second}|{first}|another than when the server last ran"));
        assert_eq!(told(&two), expected);
    }

    #[test]
    fn who_speaks_is_on_record_once_an_hour_and_so_is_who_may_not() {
        let (chronicle, clock) = chronicle(Journal::in_memory());
        let visit = |who: &str, from: Option<&str>| chronicle.visited(who, from).is_some();
        assert!(visit("token ops", Some("192.0.2.1")) && !visit("token ops", Some("192.0.2.1")));
        assert!(visit("token ops", Some("192.0.2.2")) && visit("uid 0", None));
        for number in 0..1_000 {
            visit("token ops", Some(&format!("192.0.2.{number}")));
        }
        assert_eq!(chronicle.known().visitors.len(), MAX_VISITORS);
        let refused = || chronicle.refused(Some("192.0.2.9")).map(|record| record.why);
        assert_eq!(refused().unwrap(), "no token, or one that is not known");
        assert_eq!((0..9).find_map(|_| refused()), None);
        clock.0.fetch_add(3_600, Ordering::Relaxed);
        assert_eq!(
            refused().unwrap(),
            "no token, or one that is not known: 10 times since that was last said"
        );
        assert!(visit("token ops", Some("192.0.2.1")) && visit("token other", Some("192.0.2.1")));
        // A clock that was set back keeps nobody off the record.
        clock.0.fetch_add(-1_000_000, Ordering::Relaxed);
        assert!(visit("token ops", Some("192.0.2.1")));
    }

    #[test]
    fn pauses_are_on_record() {
        let (chronicle, _) = chronicle(Journal::in_memory());
        chronicle.paused("uid 0", Some("kids"), 7, "a shop");
        chronicle.resumed("uid 0", None);
        assert_eq!(told(&chronicle), ["uid 0|pause|kids|-|-|a shop", "uid 0|resume|everybody|-|-|"]);
        let until = chronicle.active.journal(|journal| journal.records()[0].until);
        assert_eq!(until, Some(7));
    }

    #[test]
    fn lists_are_on_record_when_they_are_others_and_once_a_minute_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ads.txt");
        let list = |names: &str| {
            std::fs::write(&path, names).unwrap();
            let mut spec = crate::orders::lists::ListSpec::new("ads", path.clone());
            spec.kind = Some(crate::policy::MatchKind::Exact);
            Loader::new(Settings { lists: vec![spec], ..Settings::default() }).load()
        };
        let (chronicle, clock) = chronicle(Journal::in_memory());
        let count = || told(&chronicle).len();
        chronicle.loaded(&list("a.example\n"));
        chronicle.loaded(&list("a.example\n"));
        assert!(told(&chronicle)[0].starts_with("files|list|ads|-|xxh3:"), "{:?}", told(&chronicle));
        assert!(told(&chronicle)[0].contains("1 entries, 1 names, of "), "{:?}", told(&chronicle));
        chronicle.loaded(&list("b.example\n"));
        assert_eq!(count(), 1, "within a minute");
        clock.0.fetch_add(60, Ordering::Relaxed);
        chronicle.loaded(&list("b.example\n"));
        chronicle.loaded(&list("b.example\n"));
        assert_eq!(count(), 2);
        chronicle.loaded(&Loaded::default());
        assert!(told(&chronicle)[2].ends_with("|-|it is no longer there"), "{:?}", told(&chronicle));
        chronicle.loaded(&Loaded::default());
        assert_eq!(count(), 3);
    }
}
