//! The files that names of our own stand in: what was read of each, kept until something better can be read.
//!
//! A file that is written in place passes through states that nobody meant, and a DHCP server that rewrites its leases keeps the file
//! open for good: nobody tells when it is whole. So a file that holds less than before, or ends within a line, is read once it was left
//! alone for a moment; one that grew or was put there whole counts at once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::local::{LocalNames, Special};
use crate::orders::files::{Included, Stamp, Unreadable, read_local};
use crate::problem::Problem;
use crate::stated::gather::{Content, gather};
use crate::stated::leases::{self, Format, Part};
use crate::stated::row::{Kind, Row, Source};
use crate::stated::{hosts, zone_file};
use crate::time::UnixSeconds;

/// How long a file must be left alone that lost more than half of what it held, ends within a line, or is gone: longer than a server
/// takes to write all its leases, and with everything else less than a second.
const STILL: Duration = Duration::from_millis(500);
/// The same for one that holds a little less.
const STILL_SHORTER: Duration = Duration::from_millis(150);
/// Whoever writes for longer than this may never be done: what is there counts.
const LONGEST: Duration = Duration::from_secs(5);

/// What Kea puts behind the name of its file for one that was cleaned up before, for the one being cleaned up, and for what came of it:
/// that one says all that the other two did.
const KEA_ENDINGS: [&str; 3] = [".2", ".1", ".completed"];

/// Files, with their stamps; none if one is not there.
type Stamps = Vec<(PathBuf, Option<Stamp>)>;

/// All files of some rows.
#[derive(Clone, Debug, Default)]
pub struct LocalFiles(HashMap<Source, Held>);

/// What is known of a file.
#[derive(Clone, Debug, Default)]
struct Held {
    /// What it was read from, with stamps from before it was read.
    read: Stamps,
    /// Whether these stamps were so young that they cannot show the next change.
    is_fresh: bool,
    /// Files that it includes.
    included: Vec<PathBuf>,
    /// What it held when it was last good.
    content: Option<Arc<Content>>,
    /// How many octets that were.
    octets: u64,
    /// What is wrong with parts of it.
    problems: Vec<Problem>,
    /// Why what is there now is not used, if so.
    trouble: Option<Problem>,
    /// What seems half written.
    moving: Option<Moving>,
}

/// A state of a file that may not last.
#[derive(Clone, Debug)]
struct Moving {
    /// It.
    stamps: Stamps,
    /// Since when it is so.
    since: Instant,
    /// Since when it is so, or otherwise unfinished.
    first: Instant,
}

/// What came of a look at all files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// What was read is other than before.
    pub changed: bool,
    /// When to look again, since something seems half written.
    pub again: Option<Duration>,
    /// Whether stamps are so young that a later look has to read again.
    pub is_fresh: bool,
    /// Whether something could not be read that may be readable later.
    pub is_wanting: bool,
}

impl LocalFiles {
    /// Reads what has changed of the files that these rows name, as of `now`, and forgets all others. With `again` also those whose
    /// stamps could not show a change.
    pub fn refresh(&mut self, rows: &[Row], again: bool, now: Instant) -> Refreshed {
        let mut before = std::mem::take(&mut self.0);
        let mut all = Refreshed::default();
        for source in rows.iter().flat_map(Row::sources) {
            if self.0.contains_key(&source) {
                continue;
            }
            let mut held = before.remove(&source).unwrap_or_default();
            let one = held.refresh(&source, again, now);
            all.changed |= one.changed;
            all.again = one.again.into_iter().chain(all.again).min();
            all.is_fresh |= held.is_fresh;
            all.is_wanting |= one.is_wanting;
            self.0.insert(source, held);
        }
        all.changed |= !before.is_empty();
        all
    }

    /// What a file held when it was last good.
    pub fn content(&self, source: &Source) -> Option<Arc<Content>> {
        self.0.get(source)?.content.clone()
    }

    /// All paths a change of which matters, there or not.
    pub fn paths(&self) -> Vec<PathBuf> {
        let read = self.0.values().flat_map(|held| held.read.iter().map(|(path, _)| path.clone()));
        self.0.keys().flat_map(candidates).chain(read).collect()
    }

    /// What is wrong with parts of them, and with those that are not used as they are now.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.0.values().flat_map(|held| held.problems.iter().chain(&held.trouble))
    }

    /// Those that are not used as they are now.
    pub fn troubles(&self) -> Vec<&Problem> {
        let mut all: Vec<&Problem> = self.0.values().filter_map(|held| held.trouble.as_ref()).collect();
        all.sort_unstable_by(|one, other| one.file.cmp(&other.file));
        all
    }

    /// How many there are, and with how many something is wrong.
    pub fn count(&self) -> (usize, usize) {
        let bad = |held: &&Held| held.trouble.is_some() || !held.problems.is_empty();
        (self.0.len(), self.0.values().filter(bad).count())
    }
}

/// Names answered here by what rows and their files state at a second, for who looks once.
pub fn names(rows: &[Row], special: &Special, at: UnixSeconds) -> LocalNames {
    let mut files = LocalFiles::default();
    files.refresh(rows, false, Instant::now());
    LocalNames::compile(special, gather(rows, &|source| files.content(source), at).stated)
}

impl Held {
    /// Reads it if it has changed, or may have.
    fn refresh(&mut self, source: &Source, again: bool, now: Instant) -> Refreshed {
        let paths = candidates(source).into_iter().chain(self.included.iter().cloned());
        let stamps: Stamps =
            paths.map(|path| (Stamp::of(&path), path)).map(|(stamp, path)| (path, stamp)).collect();
        if stamps == self.read && self.moving.is_none() && !(again && self.is_fresh) {
            return Refreshed::default();
        }
        let at = SystemTime::now();
        let read = read(source);
        let is_moving = stamps.iter().any(|(path, stamp)| Stamp::of(path) != *stamp);
        if let Some(still) = self.still(&stamps, &read, is_moving)
            && let Some(left) = self.wait(&stamps, still, now)
        {
            return Refreshed { again: Some(left), ..Refreshed::default() };
        }
        let is_fresh = |stamp: &Option<Stamp>| stamp.as_ref().is_some_and(|stamp| !stamp.is_settled(at));
        self.is_fresh = is_moving || stamps.iter().any(|(_, stamp)| is_fresh(stamp));
        (self.read, self.moving) = (stamps, None);
        let is_wanting = read.as_ref().is_err_and(|unreadable| unreadable.passing);
        let good = read.map_err(|unreadable| unreadable_problem(source, unreadable)).and_then(|parts| {
            let octets = octets(&parts);
            self.included.clear();
            let (content, problems) = parse(source, &parts, &mut self.included)?;
            Ok((content, problems, octets))
        });
        // What was included was not looked at before it was read.
        let included = self.included.iter().map(|path| (path.clone(), Stamp::of(path)));
        self.read.truncate(candidates(source).len());
        self.read.extend(included);
        match good {
            Ok((content, problems, octets)) => {
                (self.content, self.octets) = (Some(Arc::new(content)), octets);
                (self.problems, self.trouble) = (problems, None);
            }
            Err(problem) => {
                let stays = if self.content.is_some() { ": what it said before stays in force" } else { "" };
                let message = format!("{}{stays}", problem.message);
                self.trouble = Some(Problem { message, ..problem.as_warning() });
            }
        }
        Refreshed { changed: true, is_wanting, ..Refreshed::default() }
    }

    /// How long it must be left alone before what is there counts; none if that counts at once.
    fn still(
        &self,
        stamps: &Stamps,
        read: &Result<Vec<(String, Vec<u8>)>, Unreadable>,
        is_moving: bool,
    ) -> Option<Duration> {
        // There is nothing to be lost.
        self.content.as_ref()?;
        let same = |(path, stamp): &(PathBuf, Option<Stamp>)| {
            let before =
                self.read.iter().find(|(other, _)| other == path).and_then(|(_, stamp)| stamp.as_ref());
            stamp.as_ref().zip(before).is_some_and(|(now, before)| now.is_same_file(before))
        };
        match read {
            // Taken away to be put there anew, perhaps.
            Err(unreadable) => (!unreadable.passing).then_some(STILL),
            // Put there whole.
            Ok(_) if !is_moving && !stamps.iter().any(same) => None,
            Ok(parts) => {
                let is_open =
                    parts.last().is_some_and(|(_, text)| text.last().is_some_and(|last| *last != b'\n'));
                match octets(parts) {
                    octets if octets < self.octets / 2 || is_open => Some(STILL),
                    octets if octets < self.octets || is_moving => Some(STILL_SHORTER),
                    _ => None,
                }
            }
        }
    }

    /// How much longer is to be waited for a state to last so long; none if it has.
    fn wait(&mut self, stamps: &Stamps, still: Duration, now: Instant) -> Option<Duration> {
        let fresh = || Moving { stamps: stamps.clone(), since: now, first: now };
        let moving = self.moving.get_or_insert_with(fresh);
        if moving.stamps != *stamps {
            *moving = Moving { first: moving.first, ..fresh() };
        }
        // A server that gives a lease every moment is not to be waited for.
        let longest = if still == STILL { LONGEST } else { 2 * still };
        let until = (moving.since + still).min(moving.first + longest);
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

/// The files that a source may be made of, itself the last. Kea begins a new file now and then, and has what still counts of the one
/// before written down beside it.
fn candidates(source: &Source) -> Vec<PathBuf> {
    let path = &source.path;
    let is_kea = match source.kind {
        Kind::Leases(Some(format)) => format == Format::Kea,
        Kind::Leases(None) => path.extension().is_some_and(|extension| extension == "csv"),
        Kind::Hosts | Kind::Zone { .. } => false,
    };
    let beside = |ending: &str| {
        let mut name = path.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    let others = KEA_ENDINGS.iter().filter(|_| is_kea).map(|ending| beside(ending));
    others.chain([path.clone()]).collect()
}

/// The parts of a source with what they are called, the oldest first.
fn read(source: &Source) -> Result<Vec<(String, Vec<u8>)>, Unreadable> {
    let mut paths = candidates(source);
    // What was cleaned up whole says all that those before it did.
    if let [old, older, whole, _] = &paths[..] {
        paths = if whole.exists() { vec![whole.clone()] } else { vec![old.clone(), older.clone()] };
        paths.retain(|path| path.exists());
        paths.push(source.path.clone());
    }
    paths.iter().map(|path| Ok((path.display().to_string(), read_local(path)?))).collect()
}

/// How many octets parts have.
fn octets(parts: &[(String, Vec<u8>)]) -> u64 {
    parts.iter().map(|(_, text)| text.len() as u64).sum()
}

/// A file that cannot be read.
fn unreadable_problem(source: &Source, Unreadable { why, hint, .. }: Unreadable) -> Problem {
    Problem::error(source.path.display().to_string(), None, format!("cannot read it ({why})")).hint(hint)
}

/// Makes of a file what it states; what it includes is added to `included`.
fn parse(
    source: &Source,
    parts: &[(String, Vec<u8>)],
    included: &mut Vec<PathBuf>,
) -> Result<(Content, Vec<Problem>), Problem> {
    let (file, text) = parts.last().map_or(("", &[][..]), |(file, text)| (file, text));
    Ok(match &source.kind {
        Kind::Hosts => {
            let (hosts, problems) = hosts::read(text, file)?;
            (Content::Hosts(hosts), problems)
        }
        Kind::Zone { origin, ttl_s } => {
            let mut includes = Included::by(&source.path);
            let mut open = |written: &str| {
                let path = includes.path(written);
                if !included.contains(&path) {
                    included.push(path.clone());
                }
                (path.display().to_string(), includes.read(written).map_err(Into::into))
            };
            let (records, problems) = zone_file::read(text, file, (origin.as_ref(), *ttl_s), &mut open)?;
            (Content::Zone(records), problems)
        }
        Kind::Leases(format) => {
            let parts: Vec<Part<'_>> = parts.iter().map(|(file, content)| Part { file, content }).collect();
            let (leases, problems) = leases::read(&parts, *format)?;
            (Content::Leases(leases), problems)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder, the rows of one file in it, and what was read.
    struct Case {
        dir: tempfile::TempDir,
        rows: Vec<Row>,
        files: LocalFiles,
        start: Instant,
    }

    impl Case {
        /// A row with this file of leases.
        fn leases(name: &str) -> Case {
            let dir = tempfile::tempdir().unwrap();
            let rows = vec![Row { leases: vec![dir.path().join(name)], ..Row::default() }];
            Case { dir, rows, files: LocalFiles::default(), start: Instant::now() }
        }

        /// Writes in place.
        fn write(&self, name: &str, text: &str) {
            fs::write(self.dir.path().join(name), text).unwrap();
        }

        /// Looks, so many milliseconds after the start; which hosts there are then, and when to look again.
        fn look(&mut self, ms: u64) -> (String, Option<u64>) {
            let found = self.files.refresh(&self.rows, true, self.start + Duration::from_millis(ms));
            let mut hosts: Vec<String> = Vec::new();
            for source in self.rows.iter().flat_map(Row::sources) {
                if let Some(Content::Leases(leases)) = self.files.content(&source).as_deref() {
                    let names = leases.leases.iter();
                    hosts.extend(names.map(|lease| String::from_utf8_lossy(&lease.host).into_owned()));
                }
            }
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
            (hosts.join(" "), found.again.map(millis))
        }

        /// What is wrong, without the folder.
        fn troubles(&self) -> Vec<String> {
            let folder = format!("{}/", self.dir.path().display());
            self.files.troubles().iter().map(|one| one.to_string().replace(&folder, "")).collect()
        }
    }

    /// A line of dnsmasq's for each host.
    fn lines(hosts: &str) -> String {
        let each = hosts.split_whitespace().zip(1..);
        each.map(|(host, number)| format!("0 x 192.168.1.{number} {host} *\n")).collect()
    }

    #[test]
    fn what_grows_counts_at_once_and_what_shrinks_after_a_while() {
        let mut case = Case::leases("leases");
        case.write("leases", &lines("a b c d"));
        assert_eq!(case.look(0), ("a b c d".into(), None));
        case.write("leases", &lines("a b c d e"));
        assert_eq!(case.look(10), ("a b c d e".into(), None));
        // Emptied to be written anew.
        case.write("leases", "");
        assert_eq!(case.look(20), ("a b c d e".into(), Some(500)));
        case.write("leases", &lines("a b")[..30]);
        assert_eq!(case.look(30), ("a b c d e".into(), Some(500)));
        case.write("leases", &lines("a b c d e f"));
        assert_eq!(case.look(40), ("a b c d e f".into(), None));
        // One has ended.
        case.write("leases", &lines("a b c d e"));
        assert_eq!(case.look(50), ("a b c d e f".into(), Some(150)));
        assert_eq!(case.look(199), ("a b c d e f".into(), Some(1)));
        assert_eq!(case.look(200), ("a b c d e".into(), None));
        // All have.
        case.write("leases", "");
        assert_eq!(case.look(300), ("a b c d e".into(), Some(500)));
        assert_eq!(case.look(800), ("".into(), None));
        // The last line will never end.
        case.write("leases", lines("a b").trim_end());
        assert_eq!(case.look(900), ("".into(), Some(500)));
        assert_eq!(case.look(1400), ("a b".into(), None));
        assert_eq!(case.troubles(), [""; 0]);
    }

    #[test]
    fn whoever_never_stops_writing_is_read_all_the_same() {
        let mut case = Case::leases("leases");
        case.write("leases", &lines("a b c d e f g h"));
        case.look(0);
        let mut last = (String::new(), None);
        for step in 0..=51 {
            case.write("leases", &format!("{}0", lines(&"x ".repeat(1 + step as usize % 3))));
            last = case.look(100 + step * 100);
        }
        assert_eq!(last.0.split(' ').next(), Some("x"));
    }

    #[test]
    fn what_is_put_there_whole_counts_at_once() {
        let mut case = Case::leases("leases");
        case.write("leases", &lines("a b c d"));
        case.look(0);
        case.write("new", &lines("e"));
        fs::rename(case.dir.path().join("new"), case.dir.path().join("leases")).unwrap();
        assert_eq!(case.look(10), ("e".into(), None));
    }

    #[test]
    fn what_is_gone_or_broken_stays_in_force_as_it_was() {
        let mut case = Case::leases("leases");
        assert_eq!(case.look(0), ("".into(), None));
        let gone = "warning: leases: cannot read it (no such file)";
        assert!(case.troubles()[0].starts_with(gone), "{:?}", case.troubles());
        case.write("leases", &lines("a b"));
        assert_eq!(case.look(10), ("a b".into(), None));
        assert_eq!(case.troubles(), [""; 0]);
        fs::remove_file(case.dir.path().join("leases")).unwrap();
        assert_eq!(case.look(20), ("a b".into(), Some(500)));
        assert_eq!(case.look(520), ("a b".into(), None));
        assert!(case.troubles()[0].starts_with(&format!("{gone}: what it said before stays in force")));
        case.write("leases", "<html>moved to another place, for good and for ever</html>\n");
        case.look(600);
        assert_eq!(case.look(1200), ("a b".into(), None));
        assert!(case.troubles()[0].contains("no file of leases that is known: what it said before"));
        case.write("leases", &lines("c"));
        case.look(1300);
        assert_eq!(case.look(1900), ("c".into(), None));
        assert_eq!((case.troubles(), case.files.count()), (vec![], (1, 0)));
        case.rows.clear();
        assert_eq!(case.look(2000), ("".into(), None));
        assert_eq!(case.files.count(), (0, 0));
    }

    #[test]
    fn keas_leases_are_there_while_it_cleans_up() {
        let head = "address,valid_lifetime,expire,hostname,state\n";
        let row = |number: u32, host: &str| format!("192.168.1.{number},60,1000000060,{host},0\n");
        let text = |hosts: &[(u32, &str)]| {
            let rows: String = hosts.iter().map(|(number, host)| row(*number, host)).collect();
            format!("{head}{rows}")
        };
        let mut case = Case::leases("kea-leases4.csv");
        case.write("kea-leases4.csv", &text(&[(1, "a"), (2, "b"), (2, "b2")]));
        assert_eq!(case.look(0).0, "a b2");
        // The file becomes the one to be cleaned up, and another begins.
        let path = |ending: &str| case.dir.path().join(format!("kea-leases4.csv{ending}"));
        let (main, copy, done, old) = (path(""), path(".1"), path(".completed"), path(".2"));
        fs::rename(&main, &copy).unwrap();
        case.write("kea-leases4.csv", &text(&[(3, "c")]));
        assert_eq!(case.look(1000).0, "a b2 c");
        fs::write(&done, text(&[(1, "a"), (2, "b2")])).unwrap();
        case.look(2000);
        assert_eq!(case.look(3000).0, "a b2 c");
        fs::remove_file(&copy).unwrap();
        fs::rename(&done, &old).unwrap();
        case.look(4000);
        assert_eq!(case.look(5000).0, "a b2 c");
        assert_eq!(case.files.paths().len(), 8);
    }

    #[test]
    fn what_a_zone_includes_is_looked_at_too() {
        let mut case = Case::leases("none");
        let zone = case.dir.path().join("lan.zone");
        case.rows = vec![Row { zone_files: vec![zone.clone()], ..Row::default() }];
        case.write("lan.zone", "a.lan. A 192.0.2.1\n$INCLUDE more.zone\n");
        case.write("more.zone", "b.lan. A 192.0.2.2\n");
        let mut count = |ms: u64| {
            case.files.refresh(&case.rows, false, case.start + Duration::from_millis(ms));
            let source = case.rows[0].sources().next().unwrap();
            match case.files.content(&source).as_deref() {
                Some(Content::Zone(records)) => records.len(),
                _ => 0,
            }
        };
        assert_eq!(count(0), 2);
        fs::write(case.dir.path().join("more.zone"), "b.lan. A 192.0.2.2\nc.lan. A 192.0.2.3\n").unwrap();
        assert_eq!(count(10), 3);
        fs::remove_file(case.dir.path().join("more.zone")).unwrap();
        assert_eq!(count(20), 3);
        assert_eq!(case.files.count(), (1, 1));
    }
}
