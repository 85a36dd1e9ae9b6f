//! Where a listed name stands: files are read again, since nothing in memory keeps line numbers.

use std::collections::HashMap;
use std::path::Path;

use super::lists::{self, Format};
use super::open::{Content, ListFile};
use super::{ListSpec, Loaded, files, names, order_file, rpz};
use crate::name::Name;
use crate::policy::{MatchKind, Scope};

/// Finds names in files, reading each file once.
#[derive(Debug, Default)]
pub struct Locator {
    /// Files read so far; none for those that cannot be read any more.
    contents: HashMap<String, Option<Vec<u8>>>,
    /// The files of lists: how each is read.
    lists: HashMap<String, (Format, Option<MatchKind>)>,
}

impl Locator {
    /// One that knows the lists among what was loaded.
    pub fn of(loaded: &Loaded) -> Locator {
        let files = loaded.lists.iter().flat_map(|list| &list.files);
        let lists = files.filter_map(|file| Some((file.file.clone(), (file.format?, file.kind))));
        Locator { contents: HashMap::new(), lists: lists.collect() }
    }

    /// The line on which `name` is listed in `source`, a names file or an order file as an order names it.
    ///
    /// None when the file has changed since or is no file (protected names set by environment or flag).
    pub fn line(&mut self, source: &str, name: &Name) -> Option<u32> {
        let content = self.content(source)?;
        if source.ends_with(".toml") {
            order_file::line_of(str::from_utf8(content).ok()?, name)
        } else {
            names::line_of(content, name)
        }
    }

    /// The line on which a scope lists `name`.
    pub fn line_in(&mut self, scope: &Scope, name: &Name) -> Option<u32> {
        match self.lists.get(&scope.source).copied() {
            None => self.line(&scope.source, name),
            Some((Format::Rpz, _)) => rpz_line(&scope.source, self.content(&scope.source)?, scope, name),
            Some((format, bare)) => {
                lists::line_of(self.content(&scope.source)?, format, bare, scope.kind, name)
            }
        }
    }

    /// The line on which a scope has a pattern, as written.
    pub fn line_of_pattern(&mut self, scope: &Scope, written: &str) -> Option<u32> {
        let (format, _) = self.lists.get(&scope.source).copied()?;
        lists::line_of_pattern(self.content(&scope.source)?, format, written)
    }

    /// What a file holds.
    fn content(&mut self, source: &str) -> Option<&[u8]> {
        let read = || files::read_list(Path::new(source)).ok();
        self.contents.entry(source.to_string()).or_insert_with(read).as_deref()
    }
}

/// The line of a zone file on which a trigger stands; none if it stands in a file that the zone includes.
fn rpz_line(file: &str, content: &[u8], scope: &Scope, name: &Name) -> Option<u32> {
    let spec = lists::rpz_spec(&ListSpec::new("", file), "");
    let mut included = files::Included::by(Path::new(file));
    let mut open = |written: &str| ListFile {
        shown: included.path(written).display().to_string(),
        content: included.read(written).map(Content::Octets).map_err(Into::into),
    };
    let (found, line) = rpz::line_of(content, &spec, file, &mut open, (scope.on, scope.kind, name))?;
    (found == file).then_some(line)
}

/// `file:line`, or the file alone if the line is not known.
pub fn place(file: &str, line: Option<u32>) -> String {
    line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}"))
}
