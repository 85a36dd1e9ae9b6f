//! Loading everything: each order file by itself, the last good version of each kept.
//!
//! A broken file never takes anything out of force: what it held before goes on serving, and the problem says so.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::Settings;
use super::files::{self, Stamp};
use super::order_file::{self, ListFile, Reading};
use super::protected;
use crate::policy::{Listed, NameList, PolicyZone, Protected};
use crate::problem::Problem;

/// Reads orders again and again, remembering the last good version of each file.
#[derive(Debug)]
pub struct Loader {
    /// Where to read.
    settings: Settings,
    /// What is known of each order file.
    entries: HashMap<PathBuf, Entry>,
    /// The order files last found in each configured path.
    found: HashMap<PathBuf, Vec<PathBuf>>,
    /// The last good version of each group of protected names.
    protected: Vec<Vec<Protected>>,
}

/// Everything that was read, good and bad: ready for `Policy::compile`.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The orders, one policy zone for each configured path, in the given order.
    pub zones: Vec<PolicyZone>,
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
}

/// One order file.
#[derive(Debug, Default)]
struct Entry {
    /// Itself and the names files it reads, as they were when it was read.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    /// Whether the stamps can show the next change.
    settled: bool,
    /// What is wrong with it.
    problems: Vec<Problem>,
    /// Lines of its names files that were refused.
    refused_lines: usize,
    /// The order it holds now, unless refused.
    latest: Option<Arc<Listed>>,
    /// The order that serves for it.
    good: Option<Arc<Listed>>,
}

impl Loader {
    /// A loader that has loaded nothing.
    pub fn new(settings: Settings) -> Loader {
        Loader { settings, entries: HashMap::new(), found: HashMap::new(), protected: Vec::new() }
    }

    /// Reads what has changed since the last time and puts everything together.
    ///
    /// It cannot fail: what is broken is reported, and its last good version, if there was one, is used.
    pub fn load(&mut self) -> Loaded {
        let mut loaded = Loaded::default();
        let zones = self.find_files(&mut loaded);
        let order: Vec<&PathBuf> = zones.iter().flat_map(|(_, files)| files).collect();
        for file in &order {
            self.entries.entry(file.to_path_buf()).or_default().refresh(file);
        }
        let present: HashSet<&PathBuf> = order.iter().copied().collect();
        self.entries.retain(|file, _| present.contains(file));
        let clashes = self.settle_ids(&order);
        self.load_protected(&mut loaded);
        for (name, files) in &zones {
            let mut zone = PolicyZone { name: name.clone(), orders: Vec::new() };
            for file in files {
                if let Some(entry) = self.entries.get(file) {
                    entry.report(file, clashes.get(file), &mut loaded);
                    zone.orders.extend(entry.good.clone());
                }
            }
            loaded.zones.push(zone);
        }
        let orders = || loaded.zones.iter().flat_map(|zone| &zone.orders);
        (loaded.orders, loaded.names) = (orders().count(), orders().map(|order| name_count(order)).sum());
        let captured = protected::conflicts(&loaded.protected, orders());
        loaded.problems.extend(captured);
        loaded.files.sort_unstable();
        loaded.files.dedup();
        loaded
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
            let present: HashSet<&PathBuf> = now.iter().collect();
            for file in before.iter().filter(|file| !present.contains(file)) {
                let good = self.entries.get(file).and_then(|entry| entry.good.as_ref());
                let what = good.map_or_else(String::new, |good| {
                    format!(": order {} is no longer in force", good.order.id)
                });
                loaded.problems.push(Problem::warning(
                    file.display().to_string(),
                    None,
                    format!("the file is gone{what}"),
                ));
            }
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
                let good = entry.good.as_ref().map(|good| good.order.id.as_str());
                let latest = entry.latest.as_ref().map(|latest| latest.order.id.as_str());
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
    fn load_protected(&mut self, loaded: &mut Loaded) {
        self.protected.resize(self.settings.protected.len(), Vec::new());
        for (spec, last) in self.settings.protected.iter().zip(&mut self.protected) {
            loaded.files.extend(spec.file.clone());
            match protected::read(spec, &mut loaded.problems, &mut loaded.refused_lines) {
                Ok(groups) => *last = groups,
                Err(problem) => loaded.problems.push(problem),
            }
            loaded.protected.extend(last.iter().cloned());
        }
    }
}

impl Entry {
    /// Reads the file again unless nothing can have changed.
    fn refresh(&mut self, file: &Path) {
        let unchanged = self.settled && self.stamps.iter().all(|(path, stamp)| Stamp::of(path) == *stamp);
        if unchanged {
            return;
        }
        let now = SystemTime::now();
        // Each stamp is taken before its file is read: a change in between shows the next time.
        let mut stamps = vec![(file.to_path_buf(), Stamp::of(file))];
        let reading = read(file, &mut stamps);
        self.settled =
            stamps.iter().all(|(_, stamp)| stamp.as_ref().is_none_or(|stamp| stamp.is_settled(now)));
        self.stamps = stamps;
        self.problems = reading.problems;
        self.refused_lines = reading.refused_lines;
        self.latest = reading.listed.map(Arc::new);
    }

    /// Adds what is to say about this file.
    fn report(&self, file: &Path, clash: Option<&PathBuf>, loaded: &mut Loaded) {
        let shown = file.display().to_string();
        loaded.files.extend(self.stamps.iter().map(|(path, _)| path.clone()));
        loaded.refused_lines += self.refused_lines;
        loaded.problems.extend(self.problems.iter().cloned());
        if let (Some(owner), Some(latest)) = (clash, &self.latest) {
            let message = format!("the id {} is taken by {}", latest.order.id, owner.display());
            loaded
                .problems
                .push(Problem::error(&shown, None, message).hint("give every order an id of its own"));
        }
        if self.latest.is_some() && clash.is_none() {
            return;
        }
        loaded.refused_orders += 1;
        if let Some(good) = &self.good {
            let message = format!("its last good version (order {}) stays in force", good.order.id);
            loaded.problems.push(Problem::warning(&shown, None, message));
            loaded.kept.push(shown);
        }
    }
}

/// Reads one order file and the names files it gives, stamping each.
fn read(file: &Path, stamps: &mut Vec<(PathBuf, Option<Stamp>)>) -> Reading {
    let shown = file.display().to_string();
    let text = match files::read_order(file, &shown) {
        Ok(text) => text,
        Err(problem) => return Reading { problems: vec![problem], ..Reading::default() },
    };
    let beside = file.parent().unwrap_or(Path::new(""));
    order_file::parse(&text, &shown, &mut |written| {
        let path = beside.join(written);
        stamps.push((path.clone(), Stamp::of(&path)));
        ListFile { shown: path.display().to_string(), content: files::read_list(&path) }
    })
}

/// The names that an order lists.
fn name_count(listed: &Listed) -> usize {
    listed.names.iter().map(NameList::len).sum()
}

#[cfg(test)]
mod tests;
