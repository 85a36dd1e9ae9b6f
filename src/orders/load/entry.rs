//! One file: when it is read again, and which version of what it holds serves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::list::ListPart;
use super::list_result::{ListFileResult, ListState};
use super::loaded::{Loaded, LoadedOrder};
use crate::name::NameList;
use crate::orders::files::{self, FilesRead, Stamp, Unreadable};
use crate::orders::lists;
use crate::orders::open::{Content, ListFile};
use crate::orders::order_file::{self, Parsed};
use crate::orders::writers::{STILL_SHRUNK, Writers};
use crate::policy::OrderWithNames;
use crate::problem::Problem;

/// An order of fewer names is written in one piece, so it is never seen half written: a page of memory holds as many.
const MANY: usize = 200;

/// One order file, or file of a list.
#[derive(Debug, Default)]
pub(in crate::orders) struct Entry {
    /// The list that it is a file of; none of order files.
    pub(in crate::orders) list: Option<ListPart>,
    /// Itself and the names files it reads.
    pub(in crate::orders) files: FilesRead,
    /// Whether it was read, and nothing was wanting: what its files hold says when to read it again.
    pub(in crate::orders) known: bool,
    /// What is wrong with it.
    pub(in crate::orders) problems: Vec<Problem>,
    /// Lines of its names files that were refused.
    pub(in crate::orders) refused_lines: usize,
    /// The order it holds now, unless refused.
    pub(in crate::orders) latest: Option<Version>,
    /// The order that serves for it.
    pub(in crate::orders) good: Option<Version>,
    /// Whether something could not be read that may be had later though no file changes.
    pub(in crate::orders) wanting: bool,
    /// Whether one of its files is being written, so that nothing new was taken from them.
    pub(in crate::orders) awaiting: bool,
    /// What is to say of that.
    pub(in crate::orders) notice: Option<Problem>,
}

/// An order as it once stood in a file.
#[derive(Clone, Debug)]
pub(in crate::orders) struct Version {
    /// What is remembered of it.
    pub(in crate::orders) held: Arc<LoadedOrder>,
    /// All of it, unless its names are forgotten.
    pub(in crate::orders) listed: Option<Arc<OrderWithNames>>,
}

impl Version {
    /// Names and patterns.
    fn entries(&self) -> usize {
        self.held.names + lists::patterns(&self.held.order.scopes)
    }
}

impl Entry {
    /// Reads the file again unless nothing can have changed, or what was read is still being written.
    pub(super) fn refresh(&mut self, file: &Path, writers: &Writers, at: Instant) {
        (self.awaiting, self.notice) = (false, None);
        if self.is_settled() && self.files.have_their_stamps() {
            return;
        }
        let is_moving = |(path, _): &(PathBuf, Option<Stamp>)| writers.is_moving(path, at);
        let moving = self.files.stamps.iter().any(is_moving);
        // A lift waits for nobody: what stands in the order's own file counts even if its names are being written.
        let own = self.files.stamps.first().filter(|own| self.list.is_none() && !is_moving(own));
        if moving && own.is_none_or(|(path, stamp)| Stamp::of(path) == *stamp) {
            self.awaiting = true;
            return;
        }
        if self.known && self.files.hold_the_same(SystemTime::now()) {
            return;
        }
        let list = self.list.as_ref();
        let read = || match list {
            None => (read_stamped(file), None),
            Some(list) => {
                let (found, files) = list.read(file);
                ((Parsed::default(), files), Some(found))
            }
        };
        // Unwind safety: nothing is changed before all is read. A fault of ours that one file brings out holds up no other.
        let Ok(((mut reading, files), found)) = catch_unwind(AssertUnwindSafe(read)) else {
            let paths = self.files.stamps.iter().map(|(path, _)| path.as_path()).filter(|path| *path != file);
            let paths: Vec<PathBuf> = [file].into_iter().chain(paths).map(Path::to_path_buf).collect();
            let stamps = paths.into_iter().map(|path| (path.clone(), Stamp::of(&path))).collect();
            self.files = FilesRead::settled(stamps);
            let message = "reading it broke off by a fault of this program";
            let problem = Problem::error(file.display().to_string(), None, message);
            self.problems = vec![problem.hint("please report it, with the file")];
            (self.known, self.latest, self.wanting) = (true, None, false);
            return;
        };
        if let (Some(list), Some(found)) = (&mut self.list, found) {
            let before = self.good.as_ref().map_or(0, Version::entries);
            reading = list.take(found, before, &files.stamps);
        } else if !self.is_lifted_by(&reading) {
            self.notice = self.shrinks(file, &reading, &files.stamps, writers, at);
            self.awaiting = moving || self.notice.is_some();
            if self.awaiting {
                return;
            }
        }
        self.wanting = reading.wanting;
        self.known = !reading.wanting;
        self.files = files;
        self.problems = reading.problems;
        self.refused_lines = reading.refused_lines;
        self.latest = reading.listed.map(|listed| {
            let held = LoadedOrder::of(&listed);
            // The same once more: what served goes on serving, and need not be compiled again.
            let held = match &self.good {
                Some(good) if *good.held == held => good.held.clone(),
                _ => Arc::new(held),
            };
            Version { held, listed: Some(Arc::new(listed)) }
        });
    }

    /// Whether what was read lifts the order, or part of it, and what serves does not.
    fn is_lifted_by(&self, reading: &Parsed) -> bool {
        let before = self.good.as_ref().map(|good| &good.held.order.lifts);
        let lifts = reading.listed.as_ref().map(|listed| &listed.order.lifts);
        lifts.zip(before).is_some_and(|(lifts, before)| !lifts.is_empty() && lifts != before)
    }

    /// What is to say of an order file that gives fewer than half of the names it gave, and may be written still.
    fn shrinks(
        &self,
        file: &Path,
        reading: &Parsed,
        stamps: &[(PathBuf, Option<Stamp>)],
        writers: &Writers,
        at: Instant,
    ) -> Option<Problem> {
        let before = self.good.as_ref()?.held.names;
        let names: usize = reading.listed.as_ref()?.names().map(NameList::len).sum();
        if before < MANY || names >= before.div_ceil(2) {
            return None;
        }
        let may_be_cut = |(path, now): &(PathBuf, Option<Stamp>)| {
            let (_, then) = self.files.stamps.iter().find(|(known, _)| known == path)?;
            let same = then.as_ref().zip(now.as_ref()).is_some_and(|(then, now)| then.is_same_file(now));
            (then != now && writers.may_be_cut(path, !same, at)).then_some(())
        };
        stamps.iter().find_map(may_be_cut)?;
        let message =
            format!("gives {names} names where its last good version has {before}: fewer than half");
        let hint = format!(
            "the last good version stays until whoever writes it has closed it, or it was at rest for {} s",
            STILL_SHRUNK.as_secs()
        );
        Some(Problem::warning(file.display().to_string(), None, message).hint(hint))
    }

    /// Whether its stamps can show the next change: that of a file that changed just before it was read cannot.
    pub(in crate::orders) fn is_settled(&self) -> bool {
        self.known && self.files.is_settled()
    }

    /// The same once time has passed, if its files hold what they held; and whether they have the stamps they had.
    pub(in crate::orders) fn settle(&mut self, now: SystemTime) -> bool {
        self.known && self.files.hold_the_same(now) && self.files.is_settled()
    }

    /// Reads the file, whatever is known of it.
    fn read_again(&self, file: &Path) -> Parsed {
        match &self.list {
            None => read_stamped(file).0,
            Some(list) => list.read(file).0.reading,
        }
    }

    /// Brings back the names of the version that serves, if the file still gives them.
    pub(super) fn remember(&mut self, file: &Path) {
        let Some(good) = &self.good else { return };
        if good.listed.is_some() || self.latest.as_ref().is_none_or(|latest| *latest.held != *good.held) {
            return;
        }
        let reading = self.read_again(file);
        let Some(good) = &mut self.good else { return };
        let same = |listed: &OrderWithNames| LoadedOrder::of(listed) == *good.held;
        good.listed = reading.listed.filter(same).map(Arc::new);
    }

    /// Adds what is to say about this file.
    pub(super) fn report(&self, file: &Path, clash: Option<&PathBuf>, loaded: &mut Loaded) {
        let shown = file.display().to_string();
        loaded.files.extend(self.files.stamps.iter().map(|(path, _)| path.clone()));
        loaded.refused_lines += self.refused_lines;
        loaded.wanting |= self.wanting;
        loaded.awaiting |= self.awaiting;
        loaded.problems.extend(self.problems.iter().chain(&self.notice).cloned());
        if let (Some(owner), Some(latest)) = (clash, &self.latest) {
            let message = format!("the id {} is taken by {}", latest.held.order.id, owner.display());
            loaded
                .problems
                .push(Problem::error(&shown, None, message).hint("give every order an id of its own"));
        }
        if self.latest.is_some() && clash.is_none() {
            return;
        }
        let waits = self.list.as_ref().is_some_and(ListPart::waits);
        loaded.refused_orders += usize::from(!waits);
        if let Some(good) = &self.good {
            let message = format!("its last good version (order {}) stays in force", good.held.order.id);
            loaded.problems.push(Problem::warning(&shown, None, message));
            loaded.kept.push(shown);
        }
    }

    /// What came of it, if it is a list's.
    pub(super) fn list_result(&self, file: &Path) -> Option<ListFileResult> {
        let list = self.list.as_ref()?;
        let why = || {
            let error = self.problems.iter().find(|problem| problem.is_error());
            error.map_or_else(|| "its id is taken".to_string(), |problem| problem.message.clone())
        };
        let is_current =
            |good: &Version| self.latest.as_ref().is_some_and(|latest| Arc::ptr_eq(&latest.held, &good.held));
        let state = match &self.good {
            Some(good) if is_current(good) => ListState::Current,
            Some(_) if list.awaited => ListState::Old("the copy that was fetched is gone".into()),
            Some(_) => ListState::Old(why()),
            None if list.awaited => ListState::Awaited,
            None => ListState::Refused(why()),
        };
        Some(ListFileResult {
            id: list.id.clone(),
            file: file.display().to_string(),
            format: list.format,
            detected: list.detected,
            kind: list.spec.kind,
            entries: self.good.as_ref().map_or(0, Version::entries),
            refused_lines: self.refused_lines,
            skipped: list.skipped.clone(),
            widened: list.widened,
            state,
        })
    }
}

/// Reads one order file and the names files it gives.
fn read_stamped(file: &Path) -> (Parsed, FilesRead) {
    let mut files = FilesRead::default();
    let mut wanting = false;
    let own = files.read(file, || files::read_order(file));
    let mut reading = parse(file, own, |path| {
        let content = files.read(path, || files::read_list(path));
        wanting |= content.as_ref().is_err_and(|unreadable| unreadable.passing);
        content.map(Content::Octets).map_err(Into::into)
    });
    reading.wanting |= wanting;
    (reading, files)
}

/// Reads one order file; `open` gives its names files.
pub(in crate::orders) fn read(
    file: &Path,
    open: impl FnMut(&Path) -> Result<Content, (String, String)>,
) -> Parsed {
    parse(file, files::read_order(file), open)
}

/// What stands in an order file.
fn parse(
    file: &Path,
    content: Result<Vec<u8>, Unreadable>,
    mut open: impl FnMut(&Path) -> Result<Content, (String, String)>,
) -> Parsed {
    let shown = file.display().to_string();
    let text = match files::order_text(content, &shown) {
        Ok(text) => text,
        Err((problem, wanting)) => return Parsed { problems: vec![problem], wanting, ..Parsed::default() },
    };
    let beside = file.parent().unwrap_or(Path::new(""));
    order_file::parse(&text, &shown, &mut |written| {
        let path = beside.join(written);
        ListFile { shown: path.display().to_string(), content: open(&path) }
    })
}
