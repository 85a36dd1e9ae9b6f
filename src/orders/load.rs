//! Loading everything: each order file by itself, the last good version of each kept.
//!
//! A broken file never takes anything out of force: what it held before goes on serving, and the problem says so.
//!
//! Lists are loaded with them, each a policy zone of its own behind those of the order files; [`list`] has what is special.
//!
//! Names are the bulk of it all, and compiled they are a tenth of what they are as a list; so a server forgets the lists once
//! they are compiled. When something changes, the names of what stays as it was are taken over from the policy in force,
//! unseen ([`Loader::fill_changed`]); where that cannot be done they are read again, and where the file no longer gives them, the
//! policy in force does.

mod list;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use xxhash_rust::xxh3::Xxh3;

use super::Settings;
use super::files::{self, Stamp};
use super::open::{Content, ListFile};
use super::order_file::{self, Reading};
use super::protected;
use super::writers::{STILL_SHRUNK, Writers};
use crate::name::{Name, NameList};
use crate::policy::prefix::Nat64;
use crate::policy::{Listed, Order, Policy, PolicyZone, Protected};
use crate::problem::Problem;

use list::FoundList;
pub(super) use list::ListPart;
pub use list::{ListFileResult, ListResult, ListState};

/// Reads orders again and again, remembering the last good version of each file.
#[derive(Debug)]
pub struct Loader {
    /// Where to read.
    pub(super) settings: Settings,
    /// What is known of each order file.
    pub(super) entries: HashMap<PathBuf, Entry>,
    /// The order files last found in each configured path.
    found: HashMap<PathBuf, Vec<PathBuf>>,
    /// The files last found for each list.
    found_lists: Vec<Vec<PathBuf>>,
    /// The last good version of each group of protected names.
    protected: Vec<Vec<Protected>>,
    /// Who is writing which file.
    writers: Arc<Writers>,
}

/// Everything that was read, good and bad.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The orders, one policy zone for each configured path and then for each list, in the given order: ready for `Policy::compile`. Empty once the
    /// names are forgotten.
    pub zones: Vec<PolicyZone>,
    /// The same without names.
    pub held: Vec<HeldZone>,
    /// Names that no order may capture.
    pub protected: Vec<Protected>,
    /// Everything that is wrong now, in the order of loading.
    pub problems: Vec<Problem>,
    /// Orders in `zones`.
    pub orders: usize,
    /// Names listed by them, counted as often as they are listed.
    pub names: usize,
    /// Lines of names files that were refused.
    pub refused_lines: usize,
    /// Order files that were refused, whether or not an earlier version goes on serving.
    pub refused_orders: usize,
    /// Refused order files whose last good version is in `zones`.
    pub kept: Vec<String>,
    /// Everything that was read or looked for, each once: what to watch for changes.
    pub files: Vec<PathBuf>,
    /// What came of each list, in the given order.
    pub lists: Vec<ListResult>,
    /// The problems that are about protected names which orders list, by the order's id: they are found only when names are
    /// at hand.
    pub conflicts: Vec<(String, Problem)>,
    /// Orders of `held` that are not in the policy, by id, and why: it had no room for them, or their names are lost.
    pub left_out: BTreeMap<String, String>,
    /// Whether something could not be read that may be had later though no file changes.
    pub wanting: bool,
    /// Whether a file is being written, so that what it held before stays in force for now.
    pub awaiting: bool,
}

/// The orders of a policy zone without their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeldZone {
    /// As the operator named it.
    pub name: String,
    /// Its orders, in precedence order.
    pub orders: Vec<Arc<Held>>,
}

/// What is remembered of an order whose names have been compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The order.
    pub order: Order,
    /// Names it lists, counted as often as they are listed.
    pub names: usize,
    /// Tells its lists, exceptions included, from others.
    pub digest: u128,
    /// The first name of each of its lists, a few at most: to be shown as examples.
    pub examples: Vec<Name>,
}

/// An order of fewer names is written in one piece, so it is never seen half written: a page of memory holds as many.
const MANY: usize = 200;

/// The most examples of an order that are remembered: one that is of use is nearly always the first.
const EXAMPLES: usize = 4;

impl Held {
    /// What is remembered of `listed`.
    fn of(listed: &Listed) -> Held {
        let mut digest = Xxh3::new();
        for list in listed.names.iter().chain(&listed.exceptions) {
            digest.update(&(list.len() as u64).to_le_bytes());
            digest.update(list.as_wire());
        }
        let names = listed.names.iter().map(NameList::len).sum();
        let examples = listed.names.iter().filter_map(|list| list.iter().next()).take(EXAMPLES).collect();
        Held { order: listed.order.clone(), names, digest: digest.digest128(), examples }
    }
}

impl Loaded {
    /// The orders, in order of precedence.
    pub fn held_orders(&self) -> impl Iterator<Item = &Arc<Held>> {
        self.held.iter().flat_map(|zone| &zone.orders)
    }

    /// The orders that are in the policy, in order of precedence.
    pub fn orders_in_force(&self) -> impl Iterator<Item = &Arc<Held>> {
        self.held_orders().filter(|held| !self.left_out.contains_key(&held.order.id))
    }

    /// Takes over from an equal load what is found only when names are at hand.
    pub fn stay(&mut self, before: &Loaded) {
        self.conflicts.clone_from(&before.conflicts);
        self.note_conflicts();
        for (id, why) in &before.left_out {
            self.leave_out(id, why.clone());
        }
    }

    /// Has what was found about protected names among the problems.
    pub fn note_conflicts(&mut self) {
        self.problems.extend(self.conflicts.iter().map(|(_, problem)| problem.clone()));
    }

    /// Says what `policy`, which was compiled from this, had no room for. False if that is a group of protected names: such
    /// a policy might take innocent names.
    pub fn note_left_out(&mut self, policy: &Policy) -> bool {
        let mut whole = true;
        for one in policy.left_out() {
            match &one.order {
                Some(id) => self.leave_out(id, one.bound.to_string()),
                None => {
                    let message = format!("protected names are left out: {}", one.bound);
                    self.problems.push(Problem::error("[protected]", None, message));
                    whole = false;
                }
            }
        }
        whole
    }

    /// Notes that an order is not in the policy.
    fn leave_out(&mut self, id: &str, why: String) {
        let found = self.held_orders().find(|held| held.order.id == id);
        let source = found.map_or_else(String::new, |held| held.order.source.clone());
        let files = self.lists.iter_mut().flat_map(|list| &mut list.files);
        for file in files.filter(|file| file.id == id) {
            file.state = ListState::Refused(why.clone());
            file.entries = 0;
        }
        let hint = "everything else is in force; to make room for it, load fewer or smaller lists before it";
        let message = format!("{id} is left out: {why}");
        self.problems.push(Problem::error(source, None, message).hint(hint));
        self.left_out.insert(id.to_owned(), why);
    }

    /// Counts what was gathered.
    pub(super) fn count(&mut self) {
        self.orders = self.held_orders().count();
        self.names = self.held_orders().map(|held| held.names).sum();
        self.files.sort_unstable();
        self.files.dedup();
    }

    /// Whether another load leads to another policy.
    pub fn differs(&self, other: &Loaded) -> bool {
        !(self.has_protected_of(other) && self.held == other.held)
    }

    /// Whether the same names are protected.
    fn has_protected_of(&self, other: &Loaded) -> bool {
        let same = |(left, right): (&Protected, &Protected)| {
            left.kind == right.kind && left.source == right.source && left.names == right.names
        };
        self.protected.len() == other.protected.len() && self.protected.iter().zip(&other.protected).all(same)
    }
}

/// The files that were found.
pub(super) struct Found {
    /// The order files of each configured path, by the path as it is shown.
    zones: Vec<(String, Vec<PathBuf>)>,
    /// The files of each list.
    lists: Vec<FoundList>,
}

impl Found {
    /// The files of each policy zone, by its name, in order of precedence.
    pub(super) fn zones(&self) -> impl Iterator<Item = (&String, &Vec<PathBuf>)> {
        let of_lists = self.lists.iter().map(|list| (&list.name, &list.files));
        self.zones.iter().map(|(name, files)| (name, files)).chain(of_lists)
    }

    /// All of them, in order of precedence.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.zones().flat_map(|(_, files)| files)
    }
}

/// One order file, or file of a list.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// The list that it is a file of; none of order files.
    pub(super) list: Option<ListPart>,
    /// Itself and the names files it reads, as they were when it was read.
    pub(super) stamps: Vec<(PathBuf, Option<Stamp>)>,
    /// Whether the stamps can show the next change.
    pub(super) settled: bool,
    /// What is wrong with it.
    pub(super) problems: Vec<Problem>,
    /// Lines of its names files that were refused.
    pub(super) refused_lines: usize,
    /// The order it holds now, unless refused.
    pub(super) latest: Option<Version>,
    /// The order that serves for it.
    pub(super) good: Option<Version>,
    /// Whether something could not be read that may be had later though no file changes.
    pub(super) wanting: bool,
    /// Whether one of its files is being written, so that nothing new was taken from them.
    pub(super) awaiting: bool,
    /// What is to say of that.
    pub(super) notice: Option<Problem>,
}

/// An order as it once stood in a file.
#[derive(Clone, Debug)]
pub(super) struct Version {
    /// What is remembered of it.
    pub(super) held: Arc<Held>,
    /// All of it, unless its names are forgotten.
    pub(super) listed: Option<Arc<Listed>>,
}

impl Loader {
    /// A loader that has loaded nothing.
    pub fn new(settings: Settings) -> Loader {
        Loader {
            settings,
            entries: HashMap::new(),
            found: HashMap::new(),
            found_lists: Vec::new(),
            protected: Vec::new(),
            writers: Arc::default(),
        }
    }

    /// The same, and what `writers` say is being written is not read until it is whole.
    #[must_use]
    pub fn heeding(self, writers: Arc<Writers>) -> Loader {
        Loader { writers, ..self }
    }

    /// Reads from elsewhere from now on; gives back where it read before. What is read in the same way from the same place is
    /// not read again.
    pub fn settle(&mut self, settings: Settings) -> Settings {
        let before = std::mem::replace(&mut self.settings, settings);
        let Settings { lists, protected, .. } = &self.settings;
        // A list's file is one order of its list and read as that says; who reads it otherwise has read nothing yet.
        self.entries.retain(|file, entry| match &mut entry.list {
            Some(list) => list.is_of(lists),
            None => !lists.iter().any(|spec| file.starts_with(&spec.path)),
        });
        let found = lists.iter().map(|spec| before.lists.iter().position(|other| other.reads_like(spec)));
        let found = found.map(|place| place.and_then(|place| self.found_lists.get(place)).cloned());
        self.found_lists = found.map(Option::unwrap_or_default).collect();
        let groups = protected.iter().map(|spec| before.protected.iter().position(|other| other == spec));
        let groups = groups.map(|place| place.and_then(|place| self.protected.get(place)).cloned());
        self.protected = groups.map(Option::unwrap_or_default).collect();
        // A path that is configured no longer holds nothing that could go away.
        self.found.retain(|path, _| self.settings.paths.contains(path));
        before
    }

    /// Which IPv6 addresses are judged as IPv4 addresses, too.
    pub fn nat64(&self) -> Nat64 {
        self.settings.nat64.clone()
    }

    /// Reads what has changed since the last time and puts everything together; names must not have been forgotten.
    ///
    /// It cannot fail: what is broken is reported, and its last good version, if there was one, is used.
    pub fn load(&mut self) -> Loaded {
        let mut loaded = self.look();
        self.fill(&mut loaded, &Policy::empty());
        loaded
    }

    /// Reads what has changed, and finds out what now stands; no names yet. [`Loader::fill`] is to follow if it differs from
    /// what was loaded before, else [`Loaded::stay`].
    pub fn look(&mut self) -> Loaded {
        let mut loaded = Loaded::default();
        let found = self.find(&mut loaded);
        let order: Vec<&PathBuf> = found.files().collect();
        let now = Instant::now();
        for file in &order {
            self.entries.entry(file.to_path_buf()).or_default().refresh(file, &self.writers, now);
        }
        let present: HashSet<&PathBuf> = order.iter().copied().collect();
        self.entries.retain(|file, _| present.contains(file));
        let clashes = self.settle_ids(&order);
        self.load_protected(&mut loaded);
        self.writers.tidy(now);
        self.gather(&found, &clashes, &mut loaded);
        loaded
    }

    /// Finds all files, with entries for those of lists, and reports what is wrong with where they should be.
    pub(super) fn find(&mut self, loaded: &mut Loaded) -> Found {
        let zones = self.find_files(loaded);
        let seen = zones.iter().flat_map(|(_, files)| files).cloned().collect();
        let lists = self.find_lists(seen, loaded);
        Found { zones, lists }
    }

    /// Whether a file changed so shortly before it was read that its stamp may not show the next change.
    pub fn is_unsettled(&self) -> bool {
        self.entries.values().any(|entry| !entry.settled)
    }

    /// Forgets all names, which a policy holds now.
    pub fn forget_names(&mut self) {
        for entry in self.entries.values_mut() {
            let Some(good) = &mut entry.good else { continue };
            good.listed = None;
            // A version that does not serve, for its id is taken, is in no policy.
            if let Some(latest) = entry.latest.as_mut().filter(|latest| Arc::ptr_eq(&latest.held, &good.held))
            {
                latest.listed = None;
            }
        }
    }

    /// Goes on from what another loader with these settings knows.
    pub(super) fn adopt(&mut self, other: Loader) {
        let writers = self.writers.clone();
        *self = Loader { writers, ..other };
        self.forget_names();
    }

    /// The files last found, in order of precedence.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut seen = HashSet::new();
        let in_paths = self.settings.paths.iter().filter_map(|path| self.found.get(path)).flatten();
        let all = in_paths.chain(self.found_lists.iter().flatten());
        all.filter(|file| seen.insert(*file)).cloned().collect()
    }

    /// Notes what stands for each file, and what is wrong with it.
    pub(super) fn gather(&self, found: &Found, clashes: &HashMap<PathBuf, PathBuf>, loaded: &mut Loaded) {
        for (name, files) in found.zones() {
            let mut zone = HeldZone { name: name.clone(), orders: Vec::new() };
            for file in files {
                if let Some(entry) = self.entries.get(file) {
                    entry.report(file, clashes.get(file), loaded);
                    zone.orders.extend(entry.good.as_ref().map(|good| good.held.clone()));
                }
            }
            loaded.held.push(zone);
        }
        loaded.lists = self.list_results(&found.lists);
        loaded.count();
    }

    /// Puts the orders together, names and all. Names that were forgotten and cannot be read again are taken from
    /// `in_force`, which was compiled from what was loaded before.
    pub fn fill(&mut self, loaded: &mut Loaded, in_force: &Policy) {
        // By id, which is one order's alone.
        let mut forgotten: HashMap<&str, &Arc<Held>> = HashMap::new();
        for (file, entry) in &mut self.entries {
            entry.remember(file);
        }
        let mut known: HashMap<&str, Arc<Listed>> = HashMap::new();
        for good in self.entries.values().filter_map(|entry| entry.good.as_ref()) {
            let id = good.held.order.id.as_str();
            match &good.listed {
                Some(listed) => drop(known.insert(id, listed.clone())),
                None => drop(forgotten.insert(id, &good.held)),
            }
        }
        if !forgotten.is_empty() {
            let again = in_force.listed(|id| forgotten.contains_key(id));
            for listed in again {
                let id = listed.order.id.as_str();
                if let Some(held) = forgotten.get(id).copied().filter(|held| held.order == listed.order) {
                    forgotten.remove(id);
                    known.insert(&held.order.id, Arc::new(listed));
                }
            }
            // The policy in force has the names of every order it holds. What it left out may be lost once its file is gone:
            // no order waits for such a list.
            let lists: HashSet<&str> =
                loaded.lists.iter().flat_map(|list| &list.files).map(|file| file.id.as_str()).collect();
            let (lost, gone): (Vec<&Held>, Vec<&Held>) = forgotten
                .values()
                .map(|held| &***held)
                .partition(|held| !lists.contains(held.order.id.as_str()));
            for held in lost {
                let message = format!("the names of order {} are lost", held.order.id);
                let problem = Problem::error(&held.order.source, None, message);
                loaded.problems.push(problem.hint("save the file again"));
            }
            for held in gone {
                loaded.leave_out(
                    &held.order.id,
                    "its last good version was never in force, and its file no longer gives it".into(),
                );
            }
        }
        let zone = |held: &HeldZone| PolicyZone {
            name: held.name.clone(),
            orders: held
                .orders
                .iter()
                .filter_map(|held| known.get(held.order.id.as_str()).cloned())
                .collect(),
        };
        loaded.zones = loaded.held.iter().map(zone).collect();
        let orders = loaded.zones.iter().flat_map(|zone| &zone.orders);
        loaded.conflicts = protected::conflicts(&loaded.protected, orders);
        loaded.note_conflicts();
    }

    /// Puts the orders together, those without their names that are as they were `before`, which the policy in force was
    /// compiled from: for [`Policy::recompile`]. Gives back the ids of these; none if names are needed that are not at hand, or
    /// protected names have changed, which concern all. Then, or when nothing can be made of it, [`Loader::fill`] is to follow.
    pub fn fill_changed(&mut self, loaded: &mut Loaded, before: &Loaded) -> Option<HashSet<String>> {
        if !loaded.has_protected_of(before) || !before.left_out.is_empty() {
            return None;
        }
        let was: HashMap<&str, &Arc<Held>> =
            before.held_orders().map(|held| (held.order.id.as_str(), held)).collect();
        let is_as_before = |held: &Arc<Held>| {
            was.get(held.order.id.as_str()).is_some_and(|was| Arc::ptr_eq(was, held) || *was == held)
        };
        let stays: HashSet<String> = loaded
            .held_orders()
            .filter(|held| is_as_before(held))
            .map(|held| held.order.id.clone())
            .collect();
        let mut changed: HashMap<&str, Arc<Listed>> = HashMap::new();
        for (file, entry) in &mut self.entries {
            if entry.good.as_ref().is_some_and(|good| !stays.contains(&good.held.order.id)) {
                entry.remember(file);
                let good = entry.good.as_ref()?;
                changed.insert(&good.held.order.id, good.listed.clone()?);
            }
        }
        let listed = |held: &Arc<Held>| match changed.get(held.order.id.as_str()) {
            Some(listed) => listed.clone(),
            None => Arc::new(Listed::without_names(held.order.clone())),
        };
        let zone = |held: &HeldZone| PolicyZone {
            name: held.name.clone(),
            orders: held.orders.iter().map(listed).collect(),
        };
        loaded.zones = loaded.held.iter().map(zone).collect();
        let mut found = protected::conflicts(&loaded.protected, changed.values());
        found.extend(before.conflicts.iter().filter(|(id, _)| stays.contains(id)).cloned());
        let places: HashMap<&str, usize> =
            loaded.held_orders().zip(0..).map(|(held, place)| (held.order.id.as_str(), place)).collect();
        found.sort_by_key(|(id, _)| places.get(id.as_str()).copied());
        loaded.conflicts = found;
        Some(stays)
    }

    /// Finds the order files of every configured path, and reports those that went away.
    fn find_files(&mut self, loaded: &mut Loaded) -> Vec<(String, Vec<PathBuf>)> {
        let mut zones = Vec::new();
        let mut seen = HashSet::new();
        for path in &self.settings.paths {
            let shown = path.display().to_string();
            loaded.files.push(path.clone());
            let before = self.found.get(path).cloned().unwrap_or_default();
            let mut now = match files::order_files(path) {
                Ok(now) => now,
                Err(problem) => {
                    loaded.wanting |= path.is_dir();
                    loaded.problems.push(problem);
                    before.clone()
                }
            };
            if now.is_empty() && before.is_empty() && path.is_dir() {
                loaded.problems.push(Problem::warning(
                    &shown,
                    None,
                    "the directory holds no order files (*.toml)",
                ));
            }
            report_gone(&self.entries, &before, &now, loaded);
            self.found.insert(path.clone(), now.clone());
            now.retain(|file| {
                let first = seen.insert(file.clone());
                if !first {
                    let hint = "name it once in [orders] paths";
                    let message = "read already, from an earlier path";
                    loaded
                        .problems
                        .push(Problem::warning(file.display().to_string(), None, message).hint(hint));
                }
                first
            });
            zones.push((shown, now));
        }
        zones
    }

    /// Decides which version of each file serves; two files never serve one id. Gives back who clashes with whom.
    ///
    /// A file whose id stays as it was goes before one that newly takes the id: an edit elsewhere must not
    /// push out what is in force. A file that loses keeps its last good version, which may in turn hold
    /// an id that another file newly takes; so this is repeated until nothing changes.
    fn settle_ids(&mut self, order: &[&PathBuf]) -> HashMap<PathBuf, PathBuf> {
        let mut clashes: HashMap<PathBuf, PathBuf> = HashMap::new();
        loop {
            let mut owners: HashMap<&str, &PathBuf> = HashMap::new();
            let mut newcomers = Vec::new();
            for &file in order {
                let Some(entry) = self.entries.get(file) else { continue };
                let good = entry.good.as_ref().map(|good| good.held.order.id.as_str());
                let latest = entry.latest.as_ref().map(|latest| latest.held.order.id.as_str());
                match latest.filter(|_| !clashes.contains_key(file)) {
                    Some(id) if Some(id) != good => newcomers.push((file, id)),
                    _ => {
                        if let Some(id) = good {
                            owners.insert(id, file);
                        }
                    }
                }
            }
            let before = clashes.len();
            for (file, id) in newcomers {
                match owners.get(id) {
                    Some(&owner) => {
                        clashes.insert(file.clone(), owner.clone());
                    }
                    None => {
                        owners.insert(id, file);
                    }
                }
            }
            if clashes.len() == before {
                break;
            }
        }
        for (file, entry) in &mut self.entries {
            if !clashes.contains_key(file) && entry.latest.is_some() {
                entry.good.clone_from(&entry.latest);
            }
        }
        clashes
    }

    /// Reads the protected names; a group that cannot be read stays as it was.
    pub(super) fn load_protected(&mut self, loaded: &mut Loaded) {
        self.protected.resize(self.settings.protected.len(), Vec::new());
        for (spec, last) in self.settings.protected.iter().zip(&mut self.protected) {
            loaded.files.extend(spec.file.clone());
            // Half a list of protected names would let orders capture the other half.
            if let Some(file) = &spec.file
                && !last.is_empty()
                && self.writers.is_moving(file, Instant::now())
            {
                loaded.awaiting = true;
                loaded.protected.extend(last.iter().cloned());
                continue;
            }
            match protected::read(spec, &mut loaded.problems, &mut loaded.refused_lines) {
                Ok(groups) => *last = groups,
                Err(problem) => {
                    loaded.wanting |= spec.file.as_ref().is_some_and(|file| file.is_file());
                    loaded.problems.push(problem);
                }
            }
            loaded.protected.extend(last.iter().cloned());
        }
    }
}

/// Reports files that went away.
fn report_gone(entries: &HashMap<PathBuf, Entry>, before: &[PathBuf], now: &[PathBuf], loaded: &mut Loaded) {
    let present: HashSet<&PathBuf> = now.iter().collect();
    for file in before.iter().filter(|file| !present.contains(file)) {
        let good = entries.get(file).and_then(|entry| entry.good.as_ref());
        let what = good
            .map_or_else(String::new, |good| format!(": order {} is no longer in force", good.held.order.id));
        loaded.problems.push(Problem::warning(
            file.display().to_string(),
            None,
            format!("the file is gone{what}"),
        ));
    }
}

impl Entry {
    /// Reads the file again unless nothing can have changed, or what was read is still being written.
    fn refresh(&mut self, file: &Path, writers: &Writers, at: Instant) {
        (self.awaiting, self.notice) = (false, None);
        let unchanged = self.settled && self.stamps.iter().all(|(path, stamp)| Stamp::of(path) == *stamp);
        if unchanged {
            return;
        }
        let is_moving = |(path, _): &(PathBuf, Option<Stamp>)| writers.is_moving(path, at);
        let moving = self.stamps.iter().any(is_moving);
        // A lift waits for nobody: what stands in the order's own file counts even if its names are being written.
        let own = self.stamps.first().filter(|own| self.list.is_none() && !is_moving(own));
        if moving && own.is_none_or(|(path, stamp)| Stamp::of(path) == *stamp) {
            self.awaiting = true;
            return;
        }
        let now = SystemTime::now();
        let list = self.list.as_ref();
        let read = || match list {
            None => (read_stamped(file), None),
            Some(list) => {
                let (found, stamps) = list.read(file);
                ((Reading::default(), stamps), Some(found))
            }
        };
        // Unwind safety: nothing is changed before all is read. A fault of ours that one file brings out holds up no other.
        let Ok(((mut reading, stamps), found)) = catch_unwind(AssertUnwindSafe(read)) else {
            let paths = self.stamps.iter().map(|(path, _)| path.as_path()).filter(|path| *path != file);
            let paths: Vec<PathBuf> = [file].into_iter().chain(paths).map(Path::to_path_buf).collect();
            self.stamps = paths.into_iter().map(|path| (path.clone(), Stamp::of(&path))).collect();
            let message = "reading it broke off by a fault of this program";
            let problem = Problem::error(file.display().to_string(), None, message);
            self.problems = vec![problem.hint("please report it, with the file")];
            (self.settled, self.latest, self.wanting) = (true, None, false);
            return;
        };
        if let (Some(list), Some(found)) = (&mut self.list, found) {
            reading = list.take(found, self.good.as_ref(), &stamps);
        } else if !self.is_lifted_by(&reading) {
            self.notice = self.shrinks(file, &reading, &stamps, writers, at);
            self.awaiting = moving || self.notice.is_some();
            if self.awaiting {
                return;
            }
        }
        self.wanting = reading.wanting;
        self.settled = !reading.wanting && stamps.iter().all(|(_, stamp)| is_settled(stamp, now));
        self.stamps = stamps;
        self.problems = reading.problems;
        self.refused_lines = reading.refused_lines;
        self.latest = reading.listed.map(|listed| {
            let held = Held::of(&listed);
            // The same once more: what served goes on serving, and need not be compiled again.
            let held = match &self.good {
                Some(good) if *good.held == held => good.held.clone(),
                _ => Arc::new(held),
            };
            Version { held, listed: Some(Arc::new(listed)) }
        });
    }

    /// Whether what was read lifts the order, or part of it, and what serves does not.
    fn is_lifted_by(&self, reading: &Reading) -> bool {
        let before = self.good.as_ref().map(|good| &good.held.order.lifts);
        let lifts = reading.listed.as_ref().map(|listed| &listed.order.lifts);
        lifts.zip(before).is_some_and(|(lifts, before)| !lifts.is_empty() && lifts != before)
    }

    /// What is to say of an order file that gives fewer than half of the names it gave, and may be written still.
    fn shrinks(
        &self,
        file: &Path,
        reading: &Reading,
        stamps: &[(PathBuf, Option<Stamp>)],
        writers: &Writers,
        at: Instant,
    ) -> Option<Problem> {
        let before = self.good.as_ref()?.held.names;
        let names: usize = reading.listed.as_ref()?.names.iter().map(NameList::len).sum();
        if before < MANY || names >= before.div_ceil(2) {
            return None;
        }
        let may_be_cut = |(path, now): &(PathBuf, Option<Stamp>)| {
            let (_, then) = self.stamps.iter().find(|(known, _)| known == path)?;
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

    /// Whether its stamps can show the next change, seen from `now`: those of files that changed just before they were read
    /// cannot, but once time has passed, what they hold now can be compared.
    pub(super) fn settle(&mut self, file: &Path, now: SystemTime) -> bool {
        if !self.settled && !self.wanting && self.stamps.iter().all(|(_, stamp)| is_settled(stamp, now)) {
            let (reading, stamps) = self.read_again(file);
            let same = match (&reading.listed, &self.latest) {
                (Some(listed), Some(latest)) => Held::of(listed) == *latest.held,
                (None, None) => true,
                _ => false,
            };
            self.settled = same && stamps == self.stamps && reading.problems == self.problems;
        }
        self.settled && self.stamps.iter().all(|(path, stamp)| Stamp::of(path) == *stamp)
    }

    /// Reads the file, whatever is known of it.
    fn read_again(&self, file: &Path) -> (Reading, Vec<(PathBuf, Option<Stamp>)>) {
        match &self.list {
            None => read_stamped(file),
            Some(list) => {
                let (found, stamps) = list.read(file);
                (found.reading, stamps)
            }
        }
    }

    /// Brings back the names of the version that serves, if the file still gives them.
    fn remember(&mut self, file: &Path) {
        let Some(good) = &self.good else { return };
        if good.listed.is_some() || self.latest.as_ref().is_none_or(|latest| *latest.held != *good.held) {
            return;
        }
        let (reading, _) = self.read_again(file);
        let Some(good) = &mut self.good else { return };
        let same = |listed: &Listed| Held::of(listed) == *good.held;
        good.listed = reading.listed.filter(same).map(Arc::new);
    }

    /// Adds what is to say about this file.
    pub(super) fn report(&self, file: &Path, clash: Option<&PathBuf>, loaded: &mut Loaded) {
        let shown = file.display().to_string();
        loaded.files.extend(self.stamps.iter().map(|(path, _)| path.clone()));
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
}

/// Whether a stamp, or a file's absence, can show the next change.
pub(super) fn is_settled(stamp: &Option<Stamp>, now: SystemTime) -> bool {
    stamp.as_ref().is_none_or(|stamp| stamp.is_settled(now))
}

/// Reads one order file and the names files it gives; each is stamped before it is read, so that a change in between shows
/// the next time.
fn read_stamped(file: &Path) -> (Reading, Vec<(PathBuf, Option<Stamp>)>) {
    let mut stamps = vec![(file.to_path_buf(), Stamp::of(file))];
    let mut wanting = false;
    let mut reading = read(file, |path| {
        stamps.push((path.to_path_buf(), Stamp::of(path)));
        let content = files::read_list(path);
        wanting |= content.as_ref().is_err_and(|unreadable| unreadable.passing);
        content.map(Content::Octets).map_err(Into::into)
    });
    reading.wanting |= wanting;
    (reading, stamps)
}

/// Reads one order file; `open` gives its names files.
pub(super) fn read(file: &Path, mut open: impl FnMut(&Path) -> Result<Content, (String, String)>) -> Reading {
    let shown = file.display().to_string();
    let text = match files::read_order(file, &shown) {
        Ok(text) => text,
        Err((problem, wanting)) => return Reading { problems: vec![problem], wanting, ..Reading::default() },
    };
    let beside = file.parent().unwrap_or(Path::new(""));
    order_file::parse(&text, &shown, &mut |written| {
        let path = beside.join(written);
        ListFile { shown: path.display().to_string(), content: open(&path) }
    })
}

#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod tests;
