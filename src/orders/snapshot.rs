//! A compiled policy on disk, so that a restart serves ten million names at once instead of reading them for seconds.
//!
//! The file holds what is costly: the trie, as the very octets that walks read, and the rule sets. It is mapped, not read;
//! everything else, such as what an order's answers say, comes from the order files, which are small and are read as always,
//! and from the settings of lists. Of lists and policy zones, which are not small, it also holds what their lines say besides
//! names: patterns, exceptions, local data.
//! It is a copy and never the truth: unless every file that was compiled has the stamp it had then, and the octets have
//! the checksums they were written with, it is passed over and the lists are read.
//!
//! A checksum proves nothing against who can write the file, so it must be [ours](crate::owner). And everything in it is held
//! against everything else once, on opening: whatever it holds, nothing panics, and names that were taken out are missed.
//!
//! | octets | what |
//! |---|---|
//! | 8 | `SNKSCOPE` |
//! | 8 | the format, [`layout::FORMAT`], little endian like all that follows |
//! | 8 | how long the description is |
//! | 8 | how long the trie is |
//! | 16 | the description's XXH3-128 |
//! | 16 | the trie's XXH3-128 |
//! | | the description, [`described::Description`] as JSON, and zeros up to a multiple of 4096 octets |
//! | | the trie |
//!
//! A file is written beside its place and renamed into it, so that there is always a whole one, and one that is mapped
//! stays as it is.

mod described;
mod layout;
mod list;
mod unusable;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use xxhash_rust::xxh3::xxh3_128;

use super::load::{Loaded, LoadedOrder, Loader};
use crate::policy::trie::{Area, NameTrie, Shape};
use crate::policy::{CompiledParts, Policy, PolicyZone, TriggerType};
use crate::system::Mapped;

use described::{Described, Description, digest_of_lists, digest_of_protected};
use layout::Sections;
use unusable::{BAD_FILE, BAD_PARTS, BAD_SUM};

pub use layout::FILE;
pub use unusable::Unusable;

impl Loader {
    /// Writes a snapshot of `policy`, which was compiled from `loaded`, into `folder`; `now` is the time of day.
    ///
    /// False, and nothing written, while it would not be whole: a file is refused and an earlier version serves for it, there
    /// was no room for something, or a file has changed, or so lately that another change might not show. Then a later try
    /// may do.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(
        &mut self,
        folder: &Path,
        loaded: &Loaded,
        policy: &Policy,
        now: SystemTime,
    ) -> io::Result<bool> {
        let Some(files) = self.describe(loaded, now) else { return Ok(false) };
        let kept = policy.kept();
        let shape = kept.trie.shape();
        let census =
            kept.trie.census(kept.sets.len()).ok_or_else(|| io::Error::other("the trie is not sound"))?;
        let place =
            |on: TriggerType| TriggerType::ALL.iter().position(|one| *one == on).unwrap_or_default() as u8;
        let description = Description {
            version: env!("CARGO_PKG_VERSION").into(),
            paths: self.settings.paths.clone(),
            lists: digest_of_lists(&self.settings.lists),
            protected: digest_of_protected(&loaded.protected),
            files,
            conflicts: loaded.conflicts.clone(),
            shape: (shape.buckets, shape.value_len, shape.names, shape.seed),
            sets: kept.sets,
            census,
            rules: kept.rules,
            lengths: kept.lengths.into_iter().map(|(on, is_v4, len)| (place(on), is_v4, len)).collect(),
        };
        layout::write(folder, &serde_json::to_vec(&description)?, kept.trie.octets())?;
        Ok(true)
    }

    /// Loads from the snapshot in `folder` instead of from lists. The policy gets `epoch`.
    ///
    /// # Errors
    /// Why not; then nothing has happened.
    pub fn restore(&mut self, folder: &Path, epoch: u64) -> Result<(Loaded, Policy), Unusable> {
        let restored = self.restore_file(&folder.join(FILE), epoch).inspect_err(|why| {
            if why.is_bad() {
                // If it cannot be moved it is found again by the next start, and said again.
                let _ = fs::rename(folder.join(FILE), folder.join(BAD_FILE));
            }
        })?;
        self.adopt(restored.loader);
        Ok((restored.loaded, restored.policy))
    }

    /// What the snapshot at `path` gives.
    fn restore_file(&self, path: &Path, epoch: u64) -> Result<Restored, Unusable> {
        let mapped = Arc::new(layout::open(path)?);
        let file = Sections::of(mapped.as_ref().as_ref())?;
        let description: Description = file.description()?;
        // The checksum takes about as long as all the rest.
        thread::scope(|scope| {
            let sound = scope.spawn(|| xxh3_128(file.trie) == file.trie_sum);
            let restored = self.restore_described(description, &mapped, file.trie_start, epoch);
            // A thread that checks octets has nothing to panic over.
            match sound.join().unwrap_or(false) {
                true => restored,
                // What was found in octets that nobody wrote says nothing; that a file has changed still holds.
                false => {
                    Err(restored.err().filter(|why| !why.is_bad()).unwrap_or(Unusable::Corrupt(BAD_SUM)))
                }
            }
        })
    }

    /// Reads the order files without their lists, and joins them with what was kept.
    fn restore_described(
        &self,
        description: Description,
        mapped: &Arc<Mapped>,
        trie_start: usize,
        epoch: u64,
    ) -> Result<Restored, Unusable> {
        let stale = |what: &str| Unusable::Stale(what.to_string());
        if description.version != env!("CARGO_PKG_VERSION")
            || description.paths != self.settings.paths
            || description.lists != digest_of_lists(&self.settings.lists)
        {
            return Err(stale("the program or its configuration has changed"));
        }
        // A loader of its own: this one must not notice anything if nothing comes of it.
        let mut probe = Loader::new(self.settings.clone());
        let mut loaded = Loaded::default();
        let found = probe.find(&mut loaded);
        probe.load_protected(&mut loaded);
        if digest_of_protected(&loaded.protected) != description.protected {
            return Err(stale("protected names have changed"));
        }
        if !found.files().eq(description.files.iter().filter_map(Described::path)) {
            return Err(stale("files have come or gone"));
        }
        let mut described = description.files.iter();
        let mut zones = Vec::new();
        for (name, files) in found.zones() {
            let mut zone = PolicyZone { name: name.clone(), orders: Vec::new() };
            for (path, file) in files.iter().zip(&mut described) {
                let entry = probe.entries.entry(path.clone()).or_default();
                *entry = file.entry(path, entry.list.take())?;
                zone.orders.extend(entry.good.as_ref().and_then(|good| good.listed.clone()));
            }
            zones.push(zone);
        }
        probe.gather(&found, &HashMap::new(), &mut loaded);
        let (buckets, value_len, names, seed) = description.shape;
        let trie = Area::new(mapped.clone()).skip(trie_start);
        let shape = Shape { buckets, value_len, names, seed };
        let trie = trie.and_then(|area| NameTrie::restored(area, shape, &description.census));
        if description.sets.len() != description.census.len() {
            return Err(Unusable::Corrupt("it does not say how many names have each rule"));
        }
        let length =
            |&(on, is_v4, len): &(u8, bool, u8)| Some((*TriggerType::ALL.get(usize::from(on))?, is_v4, len));
        let lengths = description.lengths.iter().map(length).collect::<Option<_>>();
        let kept = CompiledParts {
            trie: trie.ok_or(Unusable::Corrupt("its names are not those that were written"))?,
            sets: description.sets,
            rules: description.rules,
            lengths: lengths.ok_or(Unusable::Corrupt(BAD_PARTS))?,
        };
        let policy = Policy::restore(&zones, &loaded.protected, epoch, kept)
            .ok_or(Unusable::Corrupt("its rules are not those of the order files"))?;
        loaded.note_conflicts(description.conflicts);
        Ok(Restored { loader: probe, loaded, policy })
    }

    /// Every file as it was compiled; none if that cannot be said of each.
    fn describe(&mut self, loaded: &Loaded, now: SystemTime) -> Option<Vec<Described>> {
        if !loaded.left_out.is_empty() {
            return None;
        }
        let serving: HashSet<*const LoadedOrder> = loaded.held_orders().map(Arc::as_ptr).collect();
        let mut files = Vec::new();
        for file in self.files() {
            let entry = self.entries.get_mut(&file)?;
            let held = match (&entry.latest, &entry.good) {
                (None, None) => None,
                (Some(latest), Some(good)) if Arc::ptr_eq(&latest.held, &good.held) => {
                    Some(good.held.clone())
                }
                _ => return None,
            };
            if !entry.settle(now) || held.as_ref().is_some_and(|held| !serving.contains(&Arc::as_ptr(held))) {
                return None;
            }
            files.push(Described::of(entry, held.as_deref())?);
        }
        Some(files)
    }
}

/// What a snapshot gave.
struct Restored {
    /// A loader that knows of each file what was kept.
    loader: Loader,
    loaded: Loaded,
    policy: Policy,
}

#[cfg(test)]
mod tests;
