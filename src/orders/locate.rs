//! Where a listed name stands: files are read again, since nothing in memory keeps line numbers.

use std::collections::HashMap;
use std::path::Path;

use super::{files, names, order_file};
use crate::policy::Name;

/// Finds names in files, reading each file once.
#[derive(Debug, Default)]
pub struct Locator {
    /// Files read so far; none for those that cannot be read any more.
    contents: HashMap<String, Option<Vec<u8>>>,
}

impl Locator {
    /// The line on which `name` is listed in `source`, a names file or an order file as an order names it.
    ///
    /// None when the file has changed since or is no file (protected names set by environment or flag).
    pub fn line(&mut self, source: &str, name: &Name) -> Option<u32> {
        let content = self
            .contents
            .entry(source.to_string())
            .or_insert_with(|| files::read_list(Path::new(source)).ok());
        let content = content.as_deref()?;
        if source.ends_with(".toml") {
            order_file::line_of(str::from_utf8(content).ok()?, name)
        } else {
            names::line_of(content, name)
        }
    }
}

/// `file:line`, or the file alone if the line is not known.
pub fn place(file: &str, line: Option<u32>) -> String {
    line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}"))
}
