//! YAML and TOML as one tree that knows its lines, and what of it somebody took.

use std::cell::Cell;
use std::path::Path;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::moved::{Moved, Place};
use super::text;
use crate::problem::Problem;

/// How deep trees may be: products' own are five or six.
const MAX_DEPTH: usize = 32;
/// Characters of a value that a row shows.
const SHOWN_CHARS: usize = 60;

/// A part of a tree.
#[derive(Debug)]
pub(super) struct Node {
    /// The line it begins on; 0 if nobody knows.
    line: u32,
    /// What it is.
    value: Value,
    /// Whether somebody took it as a whole.
    taken: Cell<bool>,
}

/// What a part is.
#[derive(Debug)]
enum Value {
    /// Nothing.
    Null,
    /// A text, a number, or true or false.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys with values, in their order.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads a YAML file; of several documents the first.
    pub(super) fn yaml(path: &Path) -> Result<Node, Problem> {
        let text = text::read(path)?;
        let shown = path.to_string_lossy().into_owned();
        let read = MarkedYaml::load_from_str(&text);
        let mut documents = read.map_err(|error| {
            let line = u32::try_from(error.marker().line()).ok();
            Problem::error(shown.clone(), line, format!("is no YAML: {}", error.info()))
        })?;
        if documents.is_empty() {
            return Err(Problem::error(shown, None, "is empty"));
        }
        Node::of_yaml(&documents.swap_remove(0), 0)
            .ok_or_else(|| Problem::error(shown, None, "is deeper than any configuration is"))
    }

    /// Reads a TOML file.
    pub(super) fn toml(path: &Path) -> Result<Node, Problem> {
        let text = text::read(path)?;
        let shown = path.to_string_lossy().into_owned();
        let line_of =
            |at: usize| text.as_bytes().iter().take(at).filter(|octet| **octet == b'\n').count() + 1;
        let table = DeTable::parse(&text).map_err(|error| {
            let line = error.span().and_then(|span| u32::try_from(line_of(span.start)).ok());
            Problem::error(shown.clone(), line, format!("is no TOML: {}", error.message()))
        })?;
        // Where each line ends, so that a place costs no walk through the text.
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let lines = |at: usize| u32::try_from(ends.partition_point(|end| *end < at) + 1).unwrap_or(0);
        Node::of_table(table.get_ref(), 1, &lines, 0)
            .ok_or_else(|| Problem::error(shown, None, "is deeper than any configuration is"))
    }

    /// A part of a YAML file; none if it is too deep.
    fn of_yaml(yaml: &MarkedYaml<'_>, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            return None;
        }
        let value = match &yaml.data {
            YamlData::Value(scalar) => scalar_text(scalar),
            YamlData::Representation(text, ..) => Value::Scalar(text.to_string()),
            YamlData::Sequence(parts) => {
                Value::List(parts.iter().map(|part| Node::of_yaml(part, depth + 1)).collect::<Option<_>>()?)
            }
            YamlData::Mapping(parts) => {
                let each = parts.iter().map(|(key, value)| {
                    let key = Node::of_yaml(key, depth + 1)?;
                    let name = key.text().unwrap_or_default().to_owned();
                    // What a key says stands where the key does.
                    Some((name, Node { line: key.line, ..Node::of_yaml(value, depth + 1)? }))
                });
                Value::Map(each.collect::<Option<_>>()?)
            }
            YamlData::Tagged(_, inner) => return Node::of_yaml(inner, depth + 1),
            YamlData::Alias(_) | YamlData::BadValue => Value::Null,
        };
        Some(Node { line: line(yaml.span.start.line()), value, taken: Cell::new(false) })
    }

    /// A table of a TOML file.
    fn of_table(table: &DeTable<'_>, line: u32, lines: &dyn Fn(usize) -> u32, depth: usize) -> Option<Node> {
        let mut parts = Vec::new();
        for (key, value) in table {
            parts.push((
                lines(key.span().start),
                key.get_ref().to_string(),
                Node::of_toml(value, lines, depth + 1)?,
            ));
        }
        // The crate sorts them; people read what stands above first.
        parts.sort_by_key(|(line, ..)| *line);
        let parts = parts.into_iter().map(|(line, key, node)| (key, Node { line, ..node })).collect();
        Some(Node { line, value: Value::Map(parts), taken: Cell::new(false) })
    }

    /// A value of a TOML file.
    fn of_toml(value: &Spanned<DeValue<'_>>, lines: &dyn Fn(usize) -> u32, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            return None;
        }
        let line = lines(value.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Scalar(text.to_string()),
            DeValue::Integer(number) => Value::Scalar(number.to_string()),
            DeValue::Float(number) => Value::Scalar(number.to_string()),
            DeValue::Boolean(is) => Value::Scalar(is.to_string()),
            DeValue::Datetime(time) => Value::Scalar(time.to_string()),
            DeValue::Array(parts) => Value::List(
                parts.iter().map(|part| Node::of_toml(part, lines, depth + 1)).collect::<Option<_>>()?,
            ),
            DeValue::Table(table) => return Node::of_table(table, line, lines, depth),
        };
        Some(Node { line, value, taken: Cell::new(false) })
    }

    /// The part at a path of keys, which is not taken by looking at it.
    pub(super) fn at(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, key| {
            node.parts().iter().find(|(name, _)| name == key).map(|(_, node)| node)
        })
    }

    /// The part at a path of keys, which is taken.
    pub(super) fn take(&self, path: &str) -> Option<&Node> {
        self.at(path).inspect(|node| node.taken.set(true))
    }

    /// The text of a value.
    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Scalar(text) = &self.value { Some(text) } else { None }
    }

    /// The text at a path, taken; none if it is empty.
    pub(super) fn word(&self, path: &str) -> Option<&str> {
        self.take(path)?.text().filter(|text| !text.is_empty())
    }

    /// The number at a path, taken.
    pub(super) fn number<N: std::str::FromStr>(&self, path: &str) -> Option<N> {
        self.word(path)?.parse().ok()
    }

    /// Whether it says yes or no at a path, taken.
    pub(super) fn is(&self, path: &str) -> Option<bool> {
        match self.word(path)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    /// The parts of a list; a value by itself is a list of one.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(parts) => parts,
            Value::Scalar(_) => std::slice::from_ref(self),
            Value::Null | Value::Map(_) => &[],
        }
    }

    /// The parts of a list at a path, which is taken.
    pub(super) fn list(&self, path: &str) -> &[Node] {
        self.take(path).map_or(&[], Node::items)
    }

    /// Keys with their values.
    pub(super) fn parts(&self) -> &[(String, Node)] {
        if let Value::Map(parts) = &self.value { parts } else { &[] }
    }

    /// Keys with values at a path, which is taken.
    pub(super) fn map(&self, path: &str) -> &[(String, Node)] {
        self.take(path).map_or(&[], Node::parts)
    }

    /// Where it stands.
    pub(super) fn place(&self, file: &Path) -> Place {
        Place::new(file, (self.line > 0).then_some(self.line))
    }

    /// Whether it says anything: what is empty or off is as good as absent.
    fn says_something(&self) -> bool {
        match &self.value {
            Value::Null => false,
            Value::Scalar(text) => !matches!(text.as_str(), "" | "false" | "0" | "0s"),
            Value::List(parts) => parts.iter().any(Node::says_something),
            Value::Map(parts) => {
                let is_off = |(key, part): &(String, Node)| {
                    matches!(key.as_str(), "enabled" | "enable" | "active") && part.text() == Some("false")
                };
                !parts.iter().any(is_off) && parts.iter().any(|(_, part)| part.says_something())
            }
        }
    }

    /// Whether it or a part of it was taken.
    fn is_touched(&self) -> bool {
        self.taken.get() || self.parts().iter().any(|(_, part)| part.is_touched())
    }

    /// Says of all that nobody took why it is not carried over: the first reason whose path it begins with.
    pub(super) fn rest(&self, file: &Path, reasons: &[(&str, &str)], moved: &mut Moved) {
        self.rest_below("", file, reasons, moved);
    }

    /// The same, below a path.
    fn rest_below(&self, path: &str, file: &Path, reasons: &[(&str, &str)], moved: &mut Moved) {
        for (key, part) in self.parts() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            if part.taken.get() || !part.says_something() {
                continue;
            }
            if part.is_touched() {
                part.rest_below(&path, file, reasons, moved);
                continue;
            }
            let begins = |prefix: &str| {
                path == prefix || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))
            };
            let why = reasons
                .iter()
                .find(|(prefix, _)| begins(prefix))
                .map_or("nothing here corresponds to it", |(_, why)| why);
            let shown: String = part.text().unwrap_or_default().chars().take(SHOWN_CHARS).collect();
            let what = if shown.is_empty() { path } else { format!("{path} = {shown}") };
            moved.left(&part.place(file), what, why);
        }
    }
}

/// A scalar of YAML as text.
fn scalar_text(scalar: &Scalar<'_>) -> Value {
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(is) => Value::Scalar(is.to_string()),
        Scalar::Integer(number) => Value::Scalar(number.to_string()),
        Scalar::FloatingPoint(number) => Value::Scalar(number.to_string()),
        Scalar::String(text) => Value::Scalar(text.to_string()),
    }
}

/// A line as a number of 32 bits.
fn line(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(0)
}
