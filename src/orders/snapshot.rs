//! A compiled policy on disk, so that a restart serves ten million names at once instead of reading them for seconds.
//!
//! The file holds what is costly: the trie, as the very octets that walks read, and the rule sets. It is mapped, not read;
//! everything else, such as what an order's answers say, comes from the order files, which are small and are read as always.
//! It is a copy and never the truth: unless every file that was compiled has the stamp it had then, and the octets have
//! the checksums they were written with, it is passed over and the lists are read.
//!
//! A checksum proves nothing against who can write the file, so it must be [ours](crate::owner). And everything in it is held
//! against everything else once, on opening: whatever it holds, nothing panics, and names that were taken out are missed.
//!
//! Lists are not part of it: the scopes of their orders come of reading their lines, which is what takes long, and not of an
//! order file. So while any list is configured, no snapshot is kept and none is taken.
//!
//! | octets | what |
//! |---|---|
//! | 8 | `SNKSCOPE` |
//! | 8 | the format, [`FORMAT`], little endian like all that follows |
//! | 8 | how long the description is |
//! | 8 | how long the trie is |
//! | 16 | the description's XXH3-128 |
//! | 16 | the trie's XXH3-128 |
//! | | the description, [`Description`] as JSON, and zeros up to a multiple of 4096 octets |
//! | | the trie |
//!
//! A file is written beside its place and renamed into it, so that there is always a whole one, and one that is mapped
//! stays as it is.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::files::Stamp;
use super::load::{self, Entry, Held, HeldZone, Loaded, Loader, Version};
use super::open::Content;
use crate::name::Name;
use crate::owner;
use crate::policy::trie::{Area, NameTrie, Shape};
use crate::policy::{Kept, Policy, PolicyZone, Protected};
use crate::problem::Problem;
use crate::system::Mapped;

/// The file's name within the folder that keeps state.
pub const FILE: &str = "orders.snapshot";
/// The name a snapshot gets that is [bad](Unusable::is_bad): the last one is kept, to be looked at.
const BAD_FILE: &str = "orders.snapshot.bad";
/// What a snapshot starts with.
const MAGIC: [u8; 8] = *b"SNKSCOPE";
/// Changes whenever a file of before would be read wrongly: its layout, the trie's, its hash, how rules are numbered.
const FORMAT: u64 = 2;
/// What is said of one whose octets were altered.
const BAD_SUM: &str = "its checksum is wrong";
/// What is said of one whose parts do not add up.
const BAD_PARTS: &str = "it is no snapshot, or ends early";
/// Octets in front of the description.
const HEADER_LEN: usize = 64;
/// The trie starts at a multiple of this: a page, and so a cache line.
const PAGE: usize = 4096;

/// Why a snapshot is not used. None of them is an error: the lists say the same.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// There is none.
    Missing,
    /// It cannot be read.
    Unreadable(String),
    /// It is not a snapshot of this format.
    Foreign,
    /// It is not what was written: somebody altered it, or the disk did.
    Corrupt(&'static str),
    /// It may be somebody else's.
    NotOurs(String),
    /// What it was compiled from has changed.
    Stale(String),
    /// There are lists, which it does not know.
    Lists,
}

impl Unusable {
    /// Whether somebody should look at it: it is neither merely old nor missing.
    pub fn is_bad(&self) -> bool {
        matches!(self, Unusable::Corrupt(_) | Unusable::NotOurs(_))
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Missing => f.write_str("there is none"),
            Unusable::Unreadable(why) => f.write_str(why),
            Unusable::Foreign => f.write_str("another version wrote it"),
            Unusable::Corrupt(what) => write!(f, "{what}; it is kept aside as {BAD_FILE}"),
            Unusable::NotOurs(why) => write!(f, "{why}; it is kept aside as {BAD_FILE}"),
            Unusable::Lists => f.write_str("lists are configured, which are read each time"),
            Unusable::Stale(what) => write!(f, "{what} since it was written"),
        }
    }
}

/// What a snapshot was compiled from, and how its trie is read.
#[derive(Serialize, Deserialize)]
struct Description {
    /// The program that wrote it.
    version: String,
    /// The configured paths.
    paths: Vec<PathBuf>,
    /// Tells the protected names from others, in hexadecimal.
    protected: String,
    /// The order files, in order of precedence.
    files: Vec<Described>,
    /// The problems about protected names that orders list.
    conflicts: Vec<Problem>,
    /// How the trie is read: buckets, octets in a value, names, the seed of its hash.
    shape: (u32, u8, usize, u64),
    /// The rule sets.
    sets: Vec<Box<[u32]>>,
    /// How many names have each of them; the first is none. What was taken out of the trie since is missed there.
    census: Vec<u32>,
    /// Tells the rules that they number from others.
    rules: u64,
}

/// One order file, as it was when it was compiled.
#[derive(Serialize, Deserialize)]
struct Described {
    /// Itself and its names files.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    problems: Vec<Problem>,
    refused_lines: usize,
    /// Names it lists, the digest of its lists in hexadecimal, and examples; none if it was refused.
    held: Option<(usize, String, Vec<String>)>,
}

impl Loader {
    /// Writes a snapshot of `policy`, which was compiled from `loaded`, into `folder`; `now` is the time of day.
    ///
    /// False, and nothing written, while it would not be whole: an order file is refused and an earlier version serves for
    /// it, or a file has changed, or so lately that another change might not show. Then a later try may do. Nor is anything
    /// written while there are lists.
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
        if !self.settings.lists.is_empty() {
            return Ok(false);
        }
        let Some(files) = self.describe(loaded, now) else { return Ok(false) };
        let kept = policy.kept();
        let shape = kept.trie.shape();
        let census =
            kept.trie.census(kept.sets.len()).ok_or_else(|| io::Error::other("the trie is not sound"))?;
        let description = Description {
            version: env!("CARGO_PKG_VERSION").into(),
            paths: self.settings.paths.clone(),
            protected: format!("{:032x}", digest(&loaded.protected)),
            files,
            conflicts: loaded.conflicts.clone(),
            shape: (shape.buckets, shape.value_len, shape.names, shape.seed),
            sets: kept.sets,
            census,
            rules: kept.rules,
        };
        write(folder, &serde_json::to_vec(&description)?, kept.trie.octets())?;
        Ok(true)
    }

    /// Loads from the snapshot in `folder` instead of from lists. The policy gets `epoch`.
    ///
    /// # Errors
    /// Why not; then nothing has happened.
    pub fn restore(&mut self, folder: &Path, epoch: u64) -> Result<(Loaded, Policy), Unusable> {
        if !self.settings.lists.is_empty() {
            return Err(Unusable::Lists);
        }
        let restored = self.restore_file(&folder.join(FILE), epoch).inspect_err(|why| {
            if why.is_bad() {
                // If it cannot be moved it is found again by the next start, and said again.
                let _ = fs::rename(folder.join(FILE), folder.join(BAD_FILE));
            }
        })?;
        self.adopt(restored.entries);
        Ok((restored.loaded, restored.policy))
    }

    /// What the snapshot at `path` gives.
    fn restore_file(&self, path: &Path, epoch: u64) -> Result<Restored, Unusable> {
        let mapped = Arc::new(open(path)?);
        let file = Sections::of(mapped.as_ref().as_ref())?;
        let description: Description = file.description()?;
        // The checksum takes about as long as all the rest.
        thread::scope(|scope| {
            let sound = scope.spawn(|| xxh3_128(file.trie) == file.trie_sum);
            let restored = self.restore_described(&description, &mapped, file.trie_start, epoch);
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
        description: &Description,
        mapped: &Arc<Mapped>,
        trie_start: usize,
        epoch: u64,
    ) -> Result<Restored, Unusable> {
        let stale = |what: &str| Unusable::Stale(what.to_string());
        if description.version != env!("CARGO_PKG_VERSION") || description.paths != self.settings.paths {
            return Err(stale("the program or its configuration has changed"));
        }
        // A loader of its own: this one must not notice anything if nothing comes of it.
        let mut probe = Loader::new(self.settings.clone());
        let mut loaded = Loaded::default();
        let found = probe.find_files(&mut loaded);
        probe.load_protected(&mut loaded);
        if format!("{:032x}", digest(&loaded.protected)) != description.protected {
            return Err(stale("protected names have changed"));
        }
        let paths = found.iter().flat_map(|(_, files)| files);
        if !paths.clone().eq(description.files.iter().filter_map(|file| file.path())) {
            return Err(stale("order files have come or gone"));
        }
        let mut described = description.files.iter();
        let (mut entries, mut zones) = (Vec::new(), Vec::new());
        for (name, files) in &found {
            let mut zone = PolicyZone { name: name.clone(), orders: Vec::new() };
            let mut held = HeldZone { name: name.clone(), orders: Vec::new() };
            for (path, file) in files.iter().zip(&mut described) {
                let entry = file.entry(path)?;
                entry.report(path, None, &mut loaded);
                if let Some(Version { held: one, listed: Some(listed) }) = &entry.good {
                    held.orders.push(one.clone());
                    zone.orders.push(listed.clone());
                }
                entries.push((path.clone(), entry));
            }
            zones.push(zone);
            loaded.held.push(held);
        }
        let (buckets, value_len, names, seed) = description.shape;
        let trie = Area::new(mapped.clone()).skip(trie_start);
        let shape = Shape { buckets, value_len, names, seed };
        let trie = trie.and_then(|area| NameTrie::restored(area, shape, &description.census));
        if description.sets.len() != description.census.len() {
            return Err(Unusable::Corrupt("it does not say how many names have each rule"));
        }
        let kept = Kept {
            trie: trie.ok_or(Unusable::Corrupt("its names are not those that were written"))?,
            sets: description.sets.clone(),
            rules: description.rules,
        };
        let policy = Policy::restore(&zones, &loaded.protected, epoch, kept)
            .ok_or(Unusable::Corrupt("its rules are not those of the order files"))?;
        loaded.conflicts.clone_from(&description.conflicts);
        loaded.problems.extend(description.conflicts.iter().cloned());
        loaded.count();
        Ok(Restored { entries, loaded, policy })
    }

    /// Every order file as it was compiled; none if that cannot be said of each.
    fn describe(&mut self, loaded: &Loaded, now: SystemTime) -> Option<Vec<Described>> {
        let mut files = Vec::new();
        let serving: HashSet<*const Held> = loaded.held_orders().map(Arc::as_ptr).collect();
        for file in self.order_files() {
            let entry = self.entries.get_mut(&file)?;
            let held = match (&entry.latest, &entry.good) {
                (None, None) => None,
                (Some(latest), Some(good)) if Arc::ptr_eq(&latest.held, &good.held) => {
                    Some(good.held.clone())
                }
                _ => return None,
            };
            if !entry.settle(&file, now)
                || held.as_ref().is_some_and(|held| !serving.contains(&Arc::as_ptr(held)))
            {
                return None;
            }
            files.push(Described {
                stamps: entry.stamps.clone(),
                problems: entry.problems.clone(),
                refused_lines: entry.refused_lines,
                held: held.map(|held| {
                    let examples = held.examples.iter().map(Name::to_string).collect();
                    (held.names, format!("{:032x}", held.digest), examples)
                }),
            });
        }
        Some(files)
    }
}

/// What a snapshot gave.
struct Restored {
    /// What a loader knows of each order file.
    entries: Vec<(PathBuf, Entry)>,
    loaded: Loaded,
    policy: Policy,
}

impl Described {
    /// The order file.
    fn path(&self) -> Option<&PathBuf> {
        self.stamps.first().map(|(path, _)| path)
    }

    /// The entry that a loader has of it, made without reading its lists.
    fn entry(&self, path: &Path) -> Result<Entry, Unusable> {
        if let Some((changed, _)) = self.stamps.iter().find(|(path, stamp)| Stamp::of(path) != *stamp) {
            return Err(Unusable::Stale(format!("{} has changed", changed.display())));
        }
        let mut entry = Entry {
            stamps: self.stamps.clone(),
            settled: true,
            problems: self.problems.clone(),
            refused_lines: self.refused_lines,
            ..Entry::default()
        };
        if let Some((names, digest, examples)) = &self.held {
            let reading = load::read(path, |_| Ok(Content::Known));
            let listed =
                reading.listed.ok_or_else(|| Unusable::Stale(format!("{} has changed", path.display())))?;
            let digest = u128::from_str_radix(digest, 16).map_err(|_| Unusable::Corrupt(BAD_PARTS))?;
            let examples: Result<Vec<Name>, _> = examples.iter().map(|name| name.parse()).collect();
            let examples = examples.map_err(|_| Unusable::Corrupt(BAD_PARTS))?;
            let held = Arc::new(Held { order: listed.order.clone(), names: *names, digest, examples });
            let version = Version { held, listed: Some(Arc::new(listed)) };
            (entry.latest, entry.good) = (Some(version.clone()), Some(version));
        }
        Ok(entry)
    }
}

/// Tells groups of protected names from others.
fn digest(protected: &[Protected]) -> u128 {
    let mut all = Vec::new();
    for group in protected {
        all.extend_from_slice(&[group.kind as u8]);
        all.extend_from_slice(&(group.names.len() as u64).to_le_bytes());
        all.extend_from_slice(group.names.as_wire());
        all.extend_from_slice(group.source.as_bytes());
    }
    xxh3_128(&all)
}

/// A snapshot's octets taken apart.
struct Sections<'m> {
    description: &'m [u8],
    description_sum: u128,
    trie: &'m [u8],
    trie_sum: u128,
    /// Where the trie starts.
    trie_start: usize,
}

impl<'m> Sections<'m> {
    /// Takes them apart.
    fn of(octets: &'m [u8]) -> Result<Sections<'m>, Unusable> {
        let word = |at: usize| Some(u64::from_le_bytes(octets.get(at..at + 8)?.try_into().ok()?));
        let sum = |at: usize| Some(u128::from_le_bytes(octets.get(at..at + 16)?.try_into().ok()?));
        if octets.get(..8).is_none_or(|magic| magic != MAGIC) {
            return Err(Unusable::Corrupt(BAD_PARTS));
        }
        if word(8).is_some_and(|format| format != FORMAT) {
            return Err(Unusable::Foreign);
        }
        let whole = || {
            let description_end = HEADER_LEN.checked_add(usize::try_from(word(16)?).ok()?)?;
            let trie_start = description_end.checked_next_multiple_of(PAGE)?;
            let trie = octets.get(trie_start..)?;
            (trie.len() as u64 == word(24)?).then_some(())?;
            Some(Sections {
                description: octets.get(HEADER_LEN..description_end)?,
                description_sum: sum(32)?,
                trie,
                trie_sum: sum(48)?,
                trie_start,
            })
        };
        whole().ok_or(Unusable::Corrupt(BAD_PARTS))
    }

    /// The description, if it is what was written.
    fn description(&self) -> Result<Description, Unusable> {
        if xxh3_128(self.description) != self.description_sum {
            return Err(Unusable::Corrupt(BAD_SUM));
        }
        serde_json::from_slice(self.description).map_err(|_| Unusable::Corrupt(BAD_PARTS))
    }
}

/// Maps a snapshot that nobody else may write to.
fn open(path: &Path) -> Result<Mapped, Unusable> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unusable::Missing,
        _ => Unusable::Unreadable(format!("{}: {error}", path.display())),
    };
    let file = File::open(path).map_err(unreadable)?;
    let ours = owner::check(path, &file.metadata().map_err(unreadable)?);
    ours.map_err(|problem| Unusable::NotOurs(problem.message))?;
    Mapped::of(&file).map_err(unreadable)
}

/// Writes a snapshot beside its place, and puts it there once it is whole.
fn write(folder: &Path, description: &[u8], trie: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let place = folder.join(FILE);
    let beside = folder.join(format!("{FILE}.new"));
    // What a killed process left. Should another one write there just now, one of the two files will be whole and in place.
    let _ = fs::remove_file(&beside);
    let written = write_file(&beside, description, trie).and_then(|()| fs::rename(&beside, &place));
    if written.is_err() {
        // Nobody would look for it again.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Writes the octets of a snapshot to the disk itself.
fn write_file(path: &Path, description: &[u8], trie: &[u8]) -> io::Result<()> {
    let file = private_file(path)?;
    let mut out = BufWriter::new(&file);
    out.write_all(&MAGIC)?;
    for word in [FORMAT, description.len() as u64, trie.len() as u64] {
        out.write_all(&word.to_le_bytes())?;
    }
    for sum in [xxh3_128(description), xxh3_128(trie)] {
        out.write_all(&sum.to_le_bytes())?;
    }
    out.write_all(description)?;
    let end = HEADER_LEN + description.len();
    out.write_all(&vec![0; end.next_multiple_of(PAGE) - end])?;
    out.write_all(trie)?;
    out.flush()?;
    drop(out);
    file.sync_all()
}

/// A new file that its owner alone may read, and nobody should write to again.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o400);
    options.open(path)
}

#[cfg(test)]
mod tests;
