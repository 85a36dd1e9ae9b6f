//! Loading everything: each order file by itself, the last good version of each kept.
//!
//! A broken file never takes anything out of force: what it held before goes on serving, and the problem says so.
//!
//! Lists are loaded with them, each a policy zone of its own behind those of the order files; [`list`] has what is special.
//!
//! Names are the bulk of it all, and compiled they are a tenth of what they are as a list; so a server forgets the lists once
//! they are compiled. When something changes, the names of what stays as it was are taken over from the policy in force,
//! unseen ([`Changed`]); where that cannot be done they are read again, and where the file no longer gives them, the policy in
//! force does ([`Filled`]).

mod entry;
mod list;
mod list_result;
mod loaded;
mod steps;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::Settings;
use super::files;
use super::protected;
use super::writers::Writers;
use crate::policy::prefix::Nat64;
use crate::policy::{Policy, Protected};
use crate::problem::Problem;

pub(super) use entry::{Entry, Version, read};
use list::FoundList;
pub(super) use list::ListPart;
pub use list_result::{ListFileResult, ListResult, ListState};
pub use loaded::{HeldZone, Loaded, LoadedOrder};
pub use steps::{Changed, Compiled, Filled, Scan};

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

    /// Reads what has changed since the last time and puts everything together, for who keeps the names.
    ///
    /// It cannot fail: what is broken is reported, and its last good version, if there was one, is used.
    pub fn load(&mut self) -> Filled {
        let scan = self.look();
        self.fill(scan, &Policy::empty())
    }

    /// Reads what has changed, and finds out what now stands.
    pub fn look(&mut self) -> Scan {
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
        Scan(Box::new(loaded))
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
        self.entries.values().any(|entry| !entry.is_settled())
    }

    /// Goes on from what another loader with these settings knows.
    pub(super) fn adopt(&mut self, other: Loader) {
        let writers = self.writers.clone();
        *self = Loader { writers, ..other };
        self.drop_names();
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

#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod tests;
