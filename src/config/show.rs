//! The configuration in effect as a file of its own.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::layer::Layers;
use super::spec::Spec;

/// The keys that have other values in one configuration in effect than in another, as `section.key`, each once.
pub fn changed_keys(before: &str, now: &str) -> Vec<String> {
    let (before, now) = (values(before), values(now));
    let keys = before.keys().chain(now.keys().filter(|key| !before.contains_key(*key)));
    keys.filter(|key| before.get(*key) != now.get(*key)).cloned().collect()
}

/// The values of a configuration in effect, all rows of a list under its name.
fn values(effective: &str) -> BTreeMap<String, String> {
    let (mut values, mut section, mut is_list) = (BTreeMap::<String, String>::new(), String::new(), false);
    for line in effective.lines() {
        // A comment names where a value comes from, which may be elsewhere while it is the same.
        let line = line.rsplit_once(" # ").map_or(line, |(line, _)| line).trim_end();
        if let Some(name) = line.strip_prefix('[') {
            is_list = name.starts_with('[');
            section = name.trim_matches(['[', ']']).to_owned();
            // A table within a row is of the list as well.
            if is_list {
                values.entry(section.clone()).or_default().push_str("row ");
            }
        } else if let Some((name, value)) = line.split_once(" = ") {
            let key = match is_list {
                true => section.clone(),
                false if section.is_empty() => name.to_owned(),
                false => format!("{section}.{name}"),
            };
            values.entry(key).or_default().push_str(&format!("{name} = {value} "));
        }
    }
    values
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_different_is_told_by_its_keys() {
        let before = "[cache]\nsize = 1 # default\nttl = 2\n\n[[lists]]\nname = \"a\"\n";
        for (now, expected) in [
            (before.to_owned(), &[][..]),
            (before.replace("# default", "# --set"), &[]),
            (before.replace("size = 1", "size = 3"), &["cache.size"]),
            (before.replace("ttl = 2\n", ""), &["cache.ttl"]),
            (before.replace("ttl = 2", "ttl = 2\nmore = 1"), &["cache.more"]),
            (format!("{before}[[lists]]\nname = \"b\"\n"), &["lists"]),
            (before.replace("\"a\"", "\"b\"").replace("size = 1", "size = 2"), &["cache.size", "lists"]),
        ] {
            assert_eq!(changed_keys(before, &now), expected, "{now}");
        }
    }
}
