//! File changes, as hints that something may have changed: what did is for the loader to find out.
//!
//! Folders are watched, never files: an editor that saves by renaming, a mount whose `..data` link is swapped, a folder
//! that is replaced, and a file that does not exist yet all show in the folder above. Of what happens there only the
//! names on the way to our files count: a log beside them that grows is no reason to read them again.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::health::{About, Health};
use crate::orders::writers::Writers;

/// Links followed on the way to a file, as many as Linux follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Watches the folders around files.
pub struct Watch {
    /// The system's watcher.
    watcher: RecommendedWatcher,
    /// What counts, shared with the watcher's thread.
    ground: Arc<ArcSwap<Ground>>,
    /// Folders watched.
    folders: HashSet<PathBuf>,
    /// Folders that cannot be watched now.
    failed: BTreeSet<PathBuf>,
    /// Paths that, if they are folders, hold lists: files of any name.
    lists: Vec<PathBuf>,
    /// Who is told of what is not watched.
    health: Arc<Health>,
}

/// What a change must touch to count. One folder may be reached on several ways, yet the system reports it on one: so
/// folders stand here by their real paths, and files by their names in those.
#[derive(Debug, Default)]
struct Ground {
    /// Every path on the way to a file: the file, each folder above it, and wherever links lead.
    paths: HashSet<PathBuf>,
    /// Folders in which order files may appear.
    folders: HashSet<PathBuf>,
    /// Folders in which a file of any name counts.
    any: HashSet<PathBuf>,
}

impl Watch {
    /// Watches nothing yet; the receiver gets one hint for any number of changes.
    ///
    /// # Errors
    /// When the system has no watcher to give.
    pub fn new(health: Arc<Health>, writers: Arc<Writers>) -> notify::Result<(Watch, mpsc::Receiver<()>)> {
        let (hint, hints) = mpsc::channel(1);
        let ground = Arc::new(ArcSwap::from_pointee(Ground::default()));
        let (counts, told) = (ground.clone(), health.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let changed = match event {
                Ok(event) => {
                    let changed = is_change(&event) && counts.load().is_touched(&event);
                    if changed {
                        tell(&writers, &event, Instant::now());
                    }
                    changed
                }
                // It may mean lost events: look again.
                Err(error) => {
                    writers.lost();
                    fails(&told, &format!("the system's watcher fails ({error})"));
                    true
                }
            };
            if changed {
                // A full channel holds a hint already.
                let _ = hint.try_send(());
            }
        })?;
        let (folders, failed) = (HashSet::new(), BTreeSet::new());
        Ok((Watch { watcher, ground, folders, failed, lists: Vec::new(), health }, hints))
    }

    /// Says which paths, if they are folders, hold lists: there a file of any name counts, from the next [`Watch::cover`] on.
    pub fn lists(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        self.lists = paths.into_iter().collect();
    }

    /// Watches whatever can change `files` (files and folders, there or not); whether that is new ground, and so may
    /// have changed unseen before.
    pub fn cover(&mut self, files: &[PathBuf]) -> bool {
        let mut ground = Ground::around(files);
        ground.any = self.lists.iter().filter_map(|path| path.canonicalize().ok()).collect();
        let above = ground.paths.iter().filter_map(|path| path.parent().map(Path::to_path_buf));
        let folders: HashSet<PathBuf> = above.chain(ground.folders.iter().cloned()).collect();
        // First what counts, then where to look: nothing seen is thrown away in between.
        self.ground.store(Arc::new(ground));
        let mut new_ground = false;
        let mut failed = BTreeSet::new();
        let mut why = None;
        for folder in folders.into_iter().filter(|folder| folder.is_dir()) {
            // Again and again for the same folder: one that was replaced by another is another to the system.
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => new_ground |= self.folders.insert(folder),
                Err(error) => {
                    why.get_or_insert(error);
                    self.folders.remove(&folder);
                    failed.insert(folder);
                }
            }
        }
        if let (Some(folder), Some(error)) = (failed.first(), why) {
            let more = match failed.len() {
                1 => String::new(),
                all => format!(" and {} more folders", all - 1),
            };
            fails(&self.health, &format!("{}{more} cannot be watched ({error})", folder.display()));
        } else if !self.failed.is_empty() {
            self.health.say(About::Watch, None);
            tracing::info!("all folders are watched again");
        }
        self.failed = failed;
        new_ground
    }
}

/// Says that not all is watched, once.
pub fn fails(health: &Health, what: &str) {
    if health.say(About::Watch, Some(what)) {
        tracing::warn!("{what}: all files are looked at every second instead");
    }
}

impl Ground {
    /// What counts for these files and folders.
    fn around(files: &[PathBuf]) -> Ground {
        let mut ground = Ground::default();
        for file in files {
            let Ok(file) = std::path::absolute(file) else { continue };
            if file.is_dir() {
                ground.folders.extend(file.canonicalize());
            }
            ground.add(file);
        }
        ground
    }

    /// Adds every path on the way to `path`, and on the way to where its links lead.
    fn add(&mut self, mut path: PathBuf) {
        for _ in 0..=MAX_LINKS {
            // A slash at the end would have the last link followed before it is read.
            path = path.components().collect();
            let mut link = None;
            for on_the_way in path.ancestors() {
                let (Some(folder), Some(name)) = (on_the_way.parent(), on_the_way.file_name()) else {
                    continue;
                };
                // A folder that is not there shows when it comes, in the one above.
                let Ok(real) = folder.canonicalize() else { continue };
                self.paths.insert(real.join(name));
                if let Ok(target) = std::fs::read_link(on_the_way) {
                    let rest = path.strip_prefix(on_the_way).unwrap_or(Path::new(""));
                    // The link nearest to the root comes last and counts: that is the way the system goes.
                    link = Some(folder.join(target).join(rest));
                }
            }
            match link {
                Some(next) => path = next,
                None => return,
            }
        }
    }

    /// Whether an event touches it; one that names nothing may touch anything.
    fn is_touched(&self, event: &Event) -> bool {
        let touched = |path: &PathBuf| {
            let order_file = path.extension().is_some_and(|extension| extension == "toml");
            let among =
                |folders: &HashSet<PathBuf>| path.parent().is_some_and(|folder| folders.contains(folder));
            self.paths.contains(path) || (order_file && among(&self.folders)) || among(&self.any)
        };
        event.paths.is_empty() || event.need_rescan() || event.paths.iter().any(touched)
    }
}

/// Tells who is writing what.
fn tell(writers: &Writers, event: &Event, now: Instant) {
    if event.need_rescan() {
        writers.lost();
    }
    for path in &event.paths {
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => writers.closed(path, now),
            EventKind::Modify(ModifyKind::Name(_)) => writers.renamed(path, now),
            // Made anew and still empty: somebody has it open, or it is to be empty, and is closed next.
            EventKind::Create(_) if path.metadata().is_ok_and(|file| file.is_file() && file.len() == 0) => {
                written(writers, path, now);
            }
            // A file made by linking to another is whole.
            EventKind::Create(_) | EventKind::Remove(_) => writers.renamed(path, now),
            EventKind::Modify(ModifyKind::Data(_)) => written(writers, path, now),
            _ => {}
        }
    }
}

/// Tells that something was written. Only Linux tells of closing, too.
fn written(writers: &Writers, path: &Path, now: Instant) {
    if cfg!(target_os = "linux") {
        writers.written(path, now);
    } else {
        writers.seen(path, false, now, now);
    }
}

/// Whether an event may have changed a file or folder: reading one has not.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;
    use tokio::time::timeout;

    /// What people and tools do to a file, and whether it shows.
    #[tokio::test]
    async fn saves_of_every_kind_show() {
        let dir = tempfile::tempdir().unwrap();
        let (orders, elsewhere) = (dir.path().join("orders"), dir.path().join("elsewhere"));
        fs::create_dir(&orders).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::write(orders.join("a.toml"), "1").unwrap();
        fs::write(elsewhere.join("b.toml"), "1").unwrap();
        std::os::unix::fs::symlink(elsewhere.join("b.toml"), orders.join("b.toml")).unwrap();
        std::os::unix::fs::symlink(&orders, dir.path().join("current")).unwrap();
        let files = [
            orders.clone(),
            orders.join("a.toml"),
            orders.join("b.toml"),
            dir.path().join("current/list.txt"),
        ];

        let (mut watch, mut hints) = Watch::new(Arc::default(), Arc::default()).unwrap();
        assert!(watch.cover(&files));
        assert!(!watch.cover(&files));
        let steps: [(&str, &dyn Fn()); 7] = [
            ("written in place", &|| fs::write(orders.join("a.toml"), "2").unwrap()),
            ("renamed over", &|| {
                fs::write(dir.path().join("elsewhere/new"), "3").unwrap();
                fs::rename(dir.path().join("elsewhere/new"), orders.join("a.toml")).unwrap();
            }),
            ("behind a link", &|| fs::write(elsewhere.join("b.toml"), "2").unwrap()),
            ("a link on the way is swapped", &|| {
                std::os::unix::fs::symlink(&elsewhere, dir.path().join("next")).unwrap();
                fs::rename(dir.path().join("next"), dir.path().join("current")).unwrap();
            }),
            ("created", &|| fs::write(orders.join("c.toml"), "1").unwrap()),
            ("removed", &|| fs::remove_file(orders.join("c.toml")).unwrap()),
            ("the folder replaced", &|| {
                fs::rename(&orders, dir.path().join("old")).unwrap();
                fs::create_dir(&orders).unwrap();
            }),
        ];
        for (what, step) in steps {
            step();
            let seen = timeout(Duration::from_secs(5), hints.recv()).await;
            assert_eq!(seen, Ok(Some(())), "{what}");
            watch.cover(&files);
            while hints.try_recv().is_ok() {}
        }
        // A log that grows beside our files is nothing to us.
        fs::write(dir.path().join("log"), "1").unwrap();
        fs::write(orders.join("notes.txt"), "1").unwrap();
        assert!(timeout(Duration::from_millis(50), hints.recv()).await.is_err());
        // The folder that took the old one's place is watched in its stead.
        fs::write(orders.join("d.toml"), "1").unwrap();
        assert_eq!(timeout(Duration::from_secs(5), hints.recv()).await, Ok(Some(())));
        // In a folder of lists a file of any name counts.
        watch.lists([orders.clone()]);
        watch.cover(&files);
        while hints.try_recv().is_ok() {}
        fs::write(orders.join("list.txt"), "1").unwrap();
        assert_eq!(timeout(Duration::from_secs(5), hints.recv()).await, Ok(Some(())));
    }

    #[test]
    fn reading_is_no_change() {
        use notify::event::{CreateKind, ModifyKind};
        for (kind, expected) in [
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), false),
            (EventKind::Access(AccessKind::Close(AccessMode::Read)), false),
            (EventKind::Access(AccessKind::Close(AccessMode::Write)), true),
            (EventKind::Modify(ModifyKind::Any), true),
            (EventKind::Create(CreateKind::File), true),
            (EventKind::Other, true),
        ] {
            assert_eq!(is_change(&Event::new(kind)), expected, "{kind:?}");
        }
    }
}
