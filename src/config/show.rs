//! The configuration in effect as a file of its own.

use std::fmt::Write;

use super::layer::Layers;
use super::spec::Spec;

/// The column where comments start, if the value ends before.
const COMMENT_COLUMN: usize = 56;

/// `spec` as TOML, each key followed by a comment that names where its value comes from.
pub(super) fn effective(spec: &Spec, layers: &Layers) -> String {
    let text = match toml::to_string(spec) {
        Ok(text) => text,
        // Only a number beyond TOML's range could do this; the reader sees it where it looks.
        Err(error) => return format!("# cannot be written as TOML: {error}\n"),
    };
    let (mut out, mut section) = (String::new(), String::new());
    for line in text.lines() {
        let header = line.strip_prefix("[").and_then(|rest| rest.strip_suffix("]"));
        let origin = match header {
            // `[[orders.protected]]`, `[[clients]]`: the list is the value.
            Some(list) if list.starts_with('[') => {
                let path = list.trim_matches(['[', ']']);
                section.clear();
                let (list, name) = path.split_once('.').unwrap_or((path, ""));
                layers.origin(list, name)
            }
            Some(name) => {
                section = name.to_string();
                None
            }
            None => line.split_once(" = ").and_then(|(name, _)| layers.origin(&section, name)),
        };
        let _ = match origin {
            Some(origin) => writeln!(out, "{line:COMMENT_COLUMN$} # {origin}"),
            None => writeln!(out, "{line}"),
        };
    }
    out
}
