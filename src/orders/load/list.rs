//! Lists among orders: which files they are made of, how one is read, and what is to say about it.
//!
//! A list file is kept like an order file: its last good version goes on serving when what it holds now is refused. Besides
//! being no list at all, having lost more than half of its entries refuses it: that is what a broken download looks like.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::list_result::ListResult;
use super::{Loaded, Loader};
use crate::orders::files::{self, FilesRead, Stamp, Unreadable};
use crate::orders::lists::line::Skip;
use crate::orders::lists::{self, Format, ListReading, ListSpec};
use crate::orders::open::{Content, ListFile};
use crate::orders::order_file::Parsed;
use crate::problem::Problem;

/// Characters in the longest id, as of order files.
const MAX_ID_CHARS: usize = 100;

/// What an entry knows of the list that it is a file of.
#[derive(Debug)]
pub(in crate::orders) struct ListPart {
    /// The list's settings.
    pub(in crate::orders) spec: Arc<ListSpec>,
    /// The id of its order.
    pub(in crate::orders) id: String,
    /// The format it was read as last.
    pub(in crate::orders) format: Option<Format>,
    /// Whether its first lines told that.
    pub(in crate::orders) detected: bool,
    /// Lines that were passed over.
    pub(in crate::orders) skipped: BTreeMap<Skip, usize>,
    /// Exceptions that spare more than they say.
    pub(in crate::orders) widened: usize,
    /// Whether it is to be fetched and never was.
    pub(in crate::orders) awaited: bool,
}

/// The files of a list, each with the id of its order.
pub(super) struct FoundList {
    /// The list's name.
    pub(super) name: String,
    /// Its files.
    pub(super) files: Vec<PathBuf>,
}

impl ListPart {
    /// Whether it is still of one of these lists, which may stand in other lines of the configuration.
    pub(super) fn is_of(&mut self, lists: &[ListSpec]) -> bool {
        let same = lists.iter().find(|spec| spec.reads_like(&self.spec));
        if let Some(spec) = same.filter(|spec| spec.source != self.spec.source) {
            self.spec = Arc::new(spec.clone());
        }
        same.is_some()
    }
}

impl Loader {
    /// Finds the files of every list, makes entries for them, and reports those that went away or are read already;
    /// `seen` are the order files.
    pub(super) fn find_lists(&mut self, mut seen: HashSet<PathBuf>, loaded: &mut Loaded) -> Vec<FoundList> {
        self.found_lists.resize(self.settings.lists.len(), Vec::new());
        let mut lists = Vec::new();
        for (spec, before) in self.settings.lists.iter().zip(&mut self.found_lists) {
            if spec.path.as_os_str().is_empty() {
                let message = format!("list {} is not fetched yet", spec.name);
                loaded.problems.push(Problem::warning(&spec.source, None, message));
                lists.push(FoundList { name: spec.name.clone(), files: Vec::new() });
                continue;
            }
            loaded.files.push(spec.path.clone());
            let mut now = match files::list_files(&spec.path, before) {
                Ok(now) => now,
                Err(problem) => {
                    loaded.wanting |= spec.path.is_dir();
                    loaded.problems.push(problem);
                    before.clone()
                }
            };
            if now.is_empty() && before.is_empty() {
                let shown = spec.path.display().to_string();
                loaded.problems.push(Problem::warning(shown, None, "the directory holds no lists"));
            }
            super::report_gone(&self.entries, before, &now, loaded);
            before.clone_from(&now);
            now.retain(|file| {
                let first = seen.insert(file.clone());
                if !first {
                    let problem = Problem::error(
                        file.display().to_string(),
                        None,
                        "read already, for an earlier list or order",
                    );
                    loaded.problems.push(problem.hint("give it to one list"));
                }
                first
            });
            let mut shared = None;
            for file in &now {
                let entry = self.entries.entry(file.clone()).or_default();
                if entry.list.is_none() {
                    let spec = shared.get_or_insert_with(|| Arc::new(spec.clone())).clone();
                    let id = id(&spec, file);
                    entry.list = Some(ListPart::new(spec, id));
                }
            }
            lists.push(FoundList { name: spec.name.clone(), files: now });
        }
        lists
    }

    /// What came of each list.
    pub(super) fn list_results(&self, lists: &[FoundList]) -> Vec<ListResult> {
        let specs = self.settings.lists.iter();
        let result = |(list, spec): (&FoundList, &ListSpec)| ListResult {
            name: list.name.clone(),
            url: spec.fetch.as_ref().map(|fetch| fetch.url.clone()),
            files: list.files.iter().filter_map(|file| self.entries.get(file)?.list_result(file)).collect(),
        };
        lists.iter().zip(specs).map(result).collect()
    }
}

/// The id of the order that a file of a list becomes: the list's name, with the file's behind it if it is one of a folder.
fn id(spec: &ListSpec, file: &Path) -> String {
    if file == spec.path {
        return spec.name.clone();
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    // Ids travel in answers and logs: printable ASCII without spaces.
    let name = name.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' });
    spec.name.chars().chain(['/']).chain(name).take(MAX_ID_CHARS).collect()
}

impl ListPart {
    /// One that was not read yet.
    fn new(spec: Arc<ListSpec>, id: String) -> ListPart {
        ListPart {
            spec,
            id,
            format: None,
            detected: false,
            skipped: BTreeMap::new(),
            widened: 0,
            awaited: false,
        }
    }

    /// Reads the file, and what it includes.
    pub(super) fn read(&self, file: &Path) -> (ListReading, FilesRead) {
        let shown = file.display().to_string();
        let mut files = FilesRead::default();
        let content = match files.read(file, || files::read_list(file)) {
            Ok(content) => content,
            Err(Unreadable { why, hint, passing }) => {
                let problem = if self.is_awaited(&files.stamps) {
                    Problem::warning(&shown, None, format!("list {} is not fetched yet", self.spec.name))
                } else {
                    Problem::error(&shown, None, format!("cannot read it: {why}")).hint(hint)
                };
                let reading = Parsed { problems: vec![problem], wanting: passing, ..Parsed::default() };
                return (ListReading { reading, ..ListReading::default() }, files);
            }
        };
        let mut included = files::Included::by(file);
        let fetched = self.spec.fetch.is_some();
        let mut wanting = false;
        let mut found = lists::parse(&content, &self.spec, &self.id, &shown, &mut |written| {
            let path = included.path(written);
            let shown = path.display().to_string();
            if fetched {
                // Whoever serves it has no say in which files of ours are read.
                let why = (
                    "a zone that is fetched includes nothing".into(),
                    "take the file from its source whole".into(),
                );
                return ListFile { shown, content: Err(why) };
            }
            let content = files.read(&path, || included.read(written));
            wanting |= content.as_ref().is_err_and(|unreadable| unreadable.passing);
            ListFile { shown, content: content.map(Content::Octets).map_err(Into::into) }
        });
        found.reading.wanting = wanting;
        (found, files)
    }

    /// Whether the file is still to be fetched.
    pub(in crate::orders) fn is_awaited(&self, stamps: &[(PathBuf, Option<Stamp>)]) -> bool {
        self.spec.fetch.is_some() && stamps.first().is_none_or(|(_, stamp)| stamp.is_none())
    }

    /// Takes what was read now, with `before` entries in force; gives back what an order file would give.
    pub(super) fn take(
        &mut self,
        found: ListReading,
        before: usize,
        stamps: &[(PathBuf, Option<Stamp>)],
    ) -> Parsed {
        let ListReading { mut reading, format, entries, detected, skipped, widened } = found;
        (self.format, self.detected) = (format, detected);
        (self.skipped, self.widened) = (skipped, widened);
        self.awaited = self.is_awaited(stamps);
        if reading.listed.is_some() && entries < before.div_ceil(2) && !self.spec.allow_shrink {
            let shown = reading.listed.take().map_or_else(String::new, |listed| listed.order.source);
            let message =
                format!("has {entries} entries where its last good version has {before}: fewer than half");
            let hint = "if that is right, set allow_shrink = true for the list";
            reading.problems.insert(0, Problem::error(shown, None, message).hint(hint));
        }
        reading
    }

    /// Whether nothing is wrong although there is nothing: it is still to be fetched.
    pub(super) fn waits(&self) -> bool {
        self.awaited
    }
}
