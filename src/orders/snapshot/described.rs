//! What a snapshot was compiled from: every file by its stamps, and what reading it came to, names left out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::list::KeptList;
use super::unusable::{BAD_PARTS, Unusable};
use crate::name::Name;
use crate::orders::files::{FilesRead, Stamp};
use crate::orders::lists::ListSpec;
use crate::orders::load::{self, Entry, ListPart, LoadedOrder, Version};
use crate::orders::open::Content;
use crate::policy::{OrderWithNames, Protected};
use crate::problem::Problem;

/// What a snapshot was compiled from, and how its trie is read.
#[derive(Serialize, Deserialize)]
pub(super) struct Description {
    /// The program that wrote it.
    pub(super) version: String,
    /// The configured paths.
    pub(super) paths: Vec<PathBuf>,
    /// Tells the configured lists from others, in hexadecimal.
    pub(super) lists: String,
    /// Tells the protected names from others, in hexadecimal.
    pub(super) protected: String,
    /// The order files and then the files of lists, in order of precedence.
    pub(super) files: Vec<Described>,
    /// The problems about protected names that orders list, by the order's id.
    pub(super) conflicts: Vec<(String, Problem)>,
    /// How the trie is read: buckets, octets in a value, names, the seed of its hash.
    pub(super) shape: (u32, u8, usize, u64),
    /// The rule sets.
    pub(super) sets: Vec<Box<[u32]>>,
    /// How many names have each of them; the first is none. What was taken out of the trie since is missed there.
    pub(super) census: Vec<u32>,
    /// Tells the rules that they number from others.
    pub(super) rules: u64,
    /// The lengths of prefixes that triggers on addresses list: on what, by its place among all, whether of IPv4, how many bits.
    pub(super) lengths: Vec<(u8, bool, u8)>,
}

/// One file, as it was when it was compiled.
#[derive(Serialize, Deserialize)]
pub(super) struct Described {
    /// Itself, and the names files or parts of a zone that it reads.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    problems: Vec<Problem>,
    refused_lines: usize,
    /// Names it lists, the digest of its lists in hexadecimal, and examples; none if it was refused.
    held: Option<(usize, String, Vec<String>)>,
    /// What reading it came to if it is a list's: of an order file that is read again.
    list: Option<KeptList>,
}

impl Described {
    /// What is to be said of a file that `entry` is about and that gives what `held` holds; none if that cannot be kept.
    pub(super) fn of(entry: &Entry, held: Option<&LoadedOrder>) -> Option<Described> {
        Some(Described {
            stamps: entry.files.stamps.clone(),
            problems: entry.problems.clone(),
            refused_lines: entry.refused_lines,
            held: held.map(|held| {
                let examples = held.examples.iter().map(Name::to_string).collect();
                (held.names, format!("{:032x}", held.digest), examples)
            }),
            list: match &entry.list {
                Some(list) => Some(KeptList::of(list, held)?),
                None => None,
            },
        })
    }

    /// The file.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        self.stamps.first().map(|(path, _)| path)
    }

    /// The entry that a loader has of it, made without reading its names; `list` is what it knows of the list that the file
    /// is of.
    pub(super) fn entry(&self, path: &Path, list: Option<ListPart>) -> Result<Entry, Unusable> {
        if let Some((changed, _)) = self.stamps.iter().find(|(path, stamp)| Stamp::of(path) != *stamp) {
            return Err(Unusable::Stale(format!("{} has changed", changed.display())));
        }
        let list = match (list, &self.list) {
            (Some(list), Some(kept)) => Some(kept.part(list, &self.stamps)?),
            (None, None) => None,
            _ => return Err(Unusable::Corrupt(BAD_PARTS)),
        };
        let mut entry = Entry {
            files: FilesRead::settled(self.stamps.clone()),
            known: true,
            problems: self.problems.clone(),
            refused_lines: self.refused_lines,
            ..Entry::default()
        };
        if let Some((names, digest, examples)) = &self.held {
            let listed = match (&list, &self.list) {
                (Some(list), Some(kept)) => kept.listed(list, path)?,
                _ => read(path)?,
            };
            let digest = u128::from_str_radix(digest, 16).map_err(|_| Unusable::Corrupt(BAD_PARTS))?;
            let examples: Result<Vec<Name>, _> = examples.iter().map(|name| name.parse()).collect();
            let examples = examples.map_err(|_| Unusable::Corrupt(BAD_PARTS))?;
            let held = Arc::new(LoadedOrder { order: listed.order.clone(), names: *names, digest, examples });
            let version = Version { held, listed: Some(Arc::new(listed)) };
            (entry.latest, entry.good) = (Some(version.clone()), Some(version));
        }
        entry.list = list;
        Ok(entry)
    }
}

/// What an order file says, its names left out.
fn read(path: &Path) -> Result<OrderWithNames, Unusable> {
    let reading = load::read(path, |_| Ok(Content::Known));
    reading.listed.ok_or_else(|| Unusable::Stale(format!("{} has changed", path.display())))
}

/// Tells groups of protected names from others.
pub(super) fn digest_of_protected(protected: &[Protected]) -> String {
    let mut all = Vec::new();
    for group in protected {
        all.extend_from_slice(&[group.kind as u8]);
        all.extend_from_slice(&(group.names.len() as u64).to_le_bytes());
        all.extend_from_slice(group.names.as_wire());
        all.extend_from_slice(group.source.as_bytes());
    }
    format!("{:032x}", xxh3_128(&all))
}

/// Tells the settings of lists from others: all of them, for what is written here is whatever there is.
pub(super) fn digest_of_lists(lists: &[ListSpec]) -> String {
    format!("{:032x}", xxh3_128(format!("{lists:?}").as_bytes()))
}
