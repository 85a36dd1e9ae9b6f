//! Values and where they come from: file, environment and flags laid over the defaults, key by key.

mod tables;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value as Json;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Value};

use super::spec::Spec;
use crate::control::address::UNIX;
use crate::keys::{self, line_of};
use crate::problem::Problem;

/// What environment variables that set something start with.
const ENV_PREFIX: &str = "SINKSCOPE_";

/// A key: section and name within it; the name of a list of tables, such as `[[clients]]`, is empty.
pub(super) type Key = (String, String);

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Built in.
    Default,
    /// Found on this system, in this file.
    System(String),
    /// A configuration file, at this line.
    File(String, u32),
    /// An environment variable.
    Env(String),
    /// A flag.
    Flag(String),
}

impl Origin {
    /// The place as problems name it: a name, and a line if it has one.
    fn place(&self) -> (&str, Option<u32>) {
        match self {
            Origin::Default => ("default", None),
            Origin::File(file, line) => (file, Some(*line)),
            Origin::System(name) | Origin::Env(name) | Origin::Flag(name) => (name, None),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place() {
            (name, Some(line)) => write!(f, "{name}:{line}"),
            (name, None) => f.write_str(name),
        }
    }
}

/// A value and its origin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setting {
    /// The value as TOML.
    pub(super) value: Value,
    /// Where it comes from.
    pub(super) origin: Origin,
    /// The lines of a list's items, when a file gave them.
    item_lines: Vec<u32>,
    /// The lines of all that stands in a list of tables, by path: `[0].addresses[1]`.
    lines: BTreeMap<String, u32>,
}

impl Setting {
    /// One that has no lines of its own.
    fn new(value: Value, origin: Origin) -> Setting {
        Setting { value, origin, item_lines: Vec::new(), lines: BTreeMap::new() }
    }
}

/// A flag on the command line that sets a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// As it was typed, for messages: `--listen`.
    pub flag: String,
    /// What it sets: `listen.udp`.
    pub key: String,
    /// To which value.
    pub value: FlagValue,
}

/// What a flag gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagValue {
    /// Text as in the environment: lists have commas.
    Text(String),
    /// The items of a list, one flag each.
    Items(Vec<String>),
}

/// All values set, the highest layer's of each key.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// By key.
    settings: BTreeMap<Key, Setting>,
    /// What was wrong on the way.
    pub(super) problems: Vec<Problem>,
}

impl Layers {
    /// What a key is set to.
    pub(super) fn setting(&self, section: &str, name: &str) -> Option<&Setting> {
        self.settings.get(&(section.to_string(), name.to_string()))
    }

    /// Sets a key unless it is set.
    pub(super) fn default_to(&mut self, section: &str, name: &str, value: Value, origin: Origin) {
        let key = (section.to_string(), name.to_string());
        self.settings.entry(key).or_insert(Setting::new(value, origin));
    }

    /// A problem with the value of a key, or with one item of its list.
    pub(super) fn problem(&self, section: &str, name: &str, item: Option<usize>, what: &str) -> Problem {
        let setting = self.setting(section, name);
        let (place, line) = setting.map_or(("default", None), |setting| setting.origin.place());
        let item_line = item.and_then(|index| setting?.item_lines.get(index).copied());
        let item = item.map_or(String::new(), |index| format!("[{index}]"));
        Problem::error(place, item_line.or(line), format!("`{section}.{name}{item}` {what}"))
    }

    /// Lays a file's values over what is there; `text` is the content of `file`.
    pub(super) fn add_file(&mut self, file: &str, text: &str, schema: &Json) {
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            self.problems.extend(errors.iter().map(|error| {
                let line = error.span().map(|span| line_of(text, span.start));
                let problem = Problem::error(file, line, error.message().replace('\n', " "));
                let start = error.span().map_or(0, |span| span.start);
                unquoted(text, start).map_or(problem.clone(), |hint| problem.hint(hint))
            }));
            return;
        }
        let unknown = keys::unknown(document.get_ref(), schema);
        self.problems.extend(unknown.iter().map(|key| key.to_problem(file, text)));
        let base = Path::new(file).parent().unwrap_or(Path::new(""));
        for (section, table) in document.get_ref() {
            let (name, line) = (section.get_ref().as_ref(), line_of(text, section.span().start));
            if tables::is_list(schema, name) {
                self.add_list(file, text, (section, table), schema);
                continue;
            }
            let DeValue::Table(table) = table.get_ref() else {
                if keys::known_at(schema, &[]).iter().any(|known| known == name) {
                    let problem = Problem::error(file, Some(line), format!("`{name}` is not a section"));
                    self.problems.push(problem.hint(format!("write [{name}] on a line of its own")));
                }
                continue;
            };
            for (key, value) in table {
                if !keys::known_at(schema, &[name]).iter().any(|known| *known == *key.get_ref().as_ref()) {
                    continue; // reported as unknown above
                }
                let line = line_of(text, key.span().start);
                let item_lines = match value.get_ref() {
                    DeValue::Array(items) => {
                        items.iter().map(|item| line_of(text, item.span().start)).collect()
                    }
                    _ => Vec::new(),
                };
                let id = (name.to_string(), key.get_ref().to_string());
                let origin = Origin::File(file.to_string(), line);
                match to_value(value.clone()) {
                    Ok(mut value) => {
                        rebase(&id, &mut value, base);
                        self.set(id, Setting { item_lines, ..Setting::new(value, origin) }, schema);
                    }
                    Err(error) => self.problems.push(Problem::error(file, Some(line), error)),
                }
            }
        }
    }

    /// Lays environment variables over what is there; those of others are passed over.
    pub(super) fn add_env(&mut self, vars: &[(OsString, OsString)], schema: &Json) {
        for (var, text) in vars {
            let Some(var) = var.to_str() else { continue };
            let Some(rest) = var.strip_prefix(ENV_PREFIX) else { continue };
            let known = env_names(schema);
            if !known.iter().any(|(name, _)| name == var) {
                // Container platforms set SINKSCOPE_PORT and the like for a service of that name: not for us.
                let squeezed =
                    known.iter().find(|(name, _)| name.replace("__", "_") == var.replace("__", "_"));
                if squeezed.is_some() || rest.contains("__") {
                    let nearest = squeezed.map(|(name, _)| name.as_str());
                    let nearest =
                        nearest.or_else(|| keys::nearest(var, known.iter().map(|(name, _)| name.as_str())));
                    let problem = Problem::error(var, None, "unknown environment variable");
                    self.problems.push(match nearest {
                        Some(nearest) => problem.hint(format!("did you mean `{nearest}`?")),
                        None => problem.hint("`sinkscope config` prints all that can be set"),
                    });
                }
                continue;
            }
            let Some(text) = text.to_str() else {
                self.problems.push(Problem::error(var, None, "its value is not UTF-8"));
                continue;
            };
            let id = known.into_iter().find(|(name, _)| name == var).map(|(_, key)| key);
            if let Some(id) = id {
                self.set_text(id, text, Origin::Env(var.to_string()), schema);
            }
        }
    }

    /// Lays flags over what is there, later ones over earlier ones.
    pub(super) fn add_flags(&mut self, flags: &[Flag], schema: &Json) {
        for Flag { flag, key, value } in flags {
            let known = env_names(schema).into_iter().map(|(_, (section, name))| format!("{section}.{name}"));
            let known: Vec<String> = known.collect();
            let Some((section, name)) = key.split_once('.').filter(|_| known.contains(key)) else {
                let problem = Problem::error(flag, None, format!("unknown key `{key}`"));
                self.problems.push(match keys::nearest(key, known.iter().map(String::as_str)) {
                    Some(nearest) => problem.hint(format!("did you mean `{nearest}`?")),
                    None => {
                        problem.hint("write section.key=value; `sinkscope config` prints all that can be set")
                    }
                });
                continue;
            };
            let (id, origin) = ((section.to_string(), name.to_string()), Origin::Flag(flag.clone()));
            match value {
                FlagValue::Text(text) => self.set_text(id, text, origin, schema),
                FlagValue::Items(items) => {
                    let value = Value::Array(items.iter().cloned().map(Value::String).collect());
                    self.set(id, Setting::new(value, origin), schema);
                }
            }
        }
    }

    /// All values together, as the type they make.
    pub(super) fn merge(&mut self) -> Spec {
        let mut whole = toml::Table::new();
        for ((section, name), setting) in &self.settings {
            if name.is_empty() {
                whole.insert(section.clone(), setting.value.clone());
                continue;
            }
            let section = whole.entry(section).or_insert_with(|| Value::Table(toml::Table::new()));
            if let Value::Table(section) = section {
                section.insert(name.clone(), setting.value.clone());
            }
        }
        // Each value was checked alone when it was set, so the whole fits unless a default is at fault.
        Spec::deserialize(Value::Table(whole)).unwrap_or_else(|error| {
            self.problems.push(Problem::error("default", None, error.message()));
            Spec::default()
        })
    }

    /// Where a key's value comes from.
    pub(super) fn origin(&self, section: &str, name: &str) -> Option<&Origin> {
        self.setting(section, name).map(|setting| &setting.origin)
    }

    /// Sets a key from text.
    fn set_text(&mut self, id: Key, text: &str, origin: Origin, schema: &Json) {
        let value = from_text(text.trim(), &types_of(schema, &id));
        self.set(id, Setting::new(value, origin), schema);
    }

    /// Sets a key if its value has the right type.
    fn set(&mut self, id: Key, setting: Setting, schema: &Json) {
        let (section, name) = (&id.0, &id.1);
        let alone = toml::Table::from_iter([(name.clone(), setting.value.clone())]);
        let alone = toml::Table::from_iter([(section.clone(), Value::Table(alone))]);
        let (found, shown) = (setting.value.type_str(), setting.value.to_string());
        let checked = Spec::deserialize(Value::Table(alone));
        self.settings.insert(id.clone(), setting);
        if let Err(error) = checked {
            let what = match expectation(schema, &id) {
                Some(expected) => format!("is the {found} {shown}; expected {expected}"),
                None => format!("does not fit: {}", error.message().trim_end().replace('\n', " ")),
            };
            let problem = self.problem(&id.0, &id.1, None, &what).hint(description(schema, &id));
            self.problems.push(problem);
            self.settings.remove(&id);
        }
    }
}

/// What to do about a line that does not parse because its text has no quotes; none where that is not so.
fn unquoted(text: &str, at: usize) -> Option<String> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(start..)?.lines().next()?.split('#').next()?;
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    if ValueDeserializer::parse(value).is_ok() {
        return None;
    }
    let is_text = |text: &str| {
        let mut octets = text.bytes();
        octets.next().is_some_and(|first| first.is_ascii_alphanumeric() || b"/.[:".contains(&first))
            && octets.all(|octet| octet.is_ascii_alphanumeric() || b"-_./:@%?&[]{}~+".contains(&octet))
    };
    let inside = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let items: Vec<&str> =
        inside.unwrap_or(value).split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.is_empty() || !items.iter().all(|item| is_text(item)) || inside.is_none() && items.len() > 1 {
        return None;
    }
    let quoted: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
    let (before, after) = if inside.is_some() { ("[", "]") } else { ("", "") };
    Some(format!("text stands in quotes: {key} = {before}{}{after}", quoted.join(", ")))
}

/// Joins the paths in a file's value to the file's folder `base`.
fn rebase(id: &Key, value: &mut Value, base: &Path) {
    let join = |text: &mut String| *text = join(base, text).to_string_lossy().into_owned();
    if let Value::String(path) = &mut *value {
        match (id.0.as_str(), id.1.as_str()) {
            ("orders", "state")
            | ("control", "token_file")
            | ("upstream", "ca_file")
            | ("audit", "sign_with") => {
                join(path);
            }
            ("query_log", "file") if !path.is_empty() => join(path),
            ("control", "listen") | ("query_log", "syslog" | "dnstap") => {
                if let Some(socket) = path.strip_prefix(UNIX).filter(|socket| !socket.is_empty()) {
                    *path = format!("{UNIX}{}", self::join(base, socket).display());
                }
            }
            _ => {}
        }
    }
    let Value::Array(items) = value else { return };
    for item in items {
        match (id.0.as_str(), id.1.as_str(), item) {
            ("orders", "paths", Value::String(path)) | ("evidence", "mmdb", Value::String(path)) => {
                join(path)
            }
            ("orders", "protected", Value::Table(table)) => {
                if let Some(Value::String(path)) = table.get_mut("file") {
                    join(path);
                }
            }
            _ => {}
        }
    }
}

/// A path as it stands in a file of folder `base`.
fn join(base: &Path, path: &str) -> PathBuf {
    if base.as_os_str().is_empty() { PathBuf::from(path) } else { base.join(path) }
}

/// A parsed value without its places.
fn to_value(value: Spanned<DeValue<'_>>) -> Result<Value, String> {
    Value::deserialize(ValueDeserializer::from(value)).map_err(|error| error.message().to_string())
}

/// Text as a value of one of the JSON schema types `types`; what does not fit stays text and is refused later.
fn from_text(text: &str, types: &[&str]) -> Value {
    if types.contains(&"array") {
        let inline = text.starts_with('[').then(|| ValueDeserializer::parse(text).ok()).flatten();
        return inline.and_then(|value| Value::deserialize(value).ok()).unwrap_or_else(|| {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_string())).collect())
        });
    }
    if types.contains(&"integer")
        && let Ok(number) = text.parse()
    {
        return Value::Integer(number);
    }
    if types.contains(&"boolean")
        && let Ok(flag) = text.parse()
    {
        return Value::Boolean(flag);
    }
    Value::String(text.to_string())
}

/// Every key as an environment variable.
fn env_names(schema: &Json) -> Vec<(String, Key)> {
    let mut names = Vec::new();
    for section in keys::known_at(schema, &[]) {
        for name in keys::known_at(schema, &[&section]) {
            let var = format!("{ENV_PREFIX}{}__{}", section.to_uppercase(), name.to_uppercase());
            names.push((var, (section.clone(), name)));
        }
    }
    names
}

/// The schema of one key and all it refers to.
fn leaf<'s>(schema: &'s Json, id: &Key) -> Vec<&'s Json> {
    let deref = |place: &'s Json| -> &'s Json {
        let target = place.get("$ref").and_then(Json::as_str).and_then(|target| target.strip_prefix('#'));
        target.and_then(|pointer| schema.pointer(pointer)).unwrap_or(place)
    };
    let section = schema.get("properties").and_then(|sections| sections.get(&id.0)).map(deref);
    if id.1.is_empty() {
        return Vec::from_iter(section);
    }
    let Some(leaf) = section.and_then(|section| section.get("properties")?.get(&id.1)) else {
        return Vec::new();
    };
    let branches =
        |place: &'s Json| place.get("anyOf").and_then(Json::as_array).into_iter().flatten().map(deref);
    let below: Vec<&Json> = branches(leaf).collect();
    let deepest: Vec<&Json> = below.iter().flat_map(|place| branches(place)).collect();
    [vec![leaf], below, deepest].concat()
}

/// The JSON schema types that one key may have.
fn types_of<'s>(schema: &'s Json, id: &Key) -> Vec<&'s str> {
    let types = leaf(schema, id).into_iter().filter_map(|place| place.get("type"));
    types
        .flat_map(|types| match types {
            Json::Array(types) => types.iter().filter_map(Json::as_str).collect(),
            other => Vec::from_iter(other.as_str()),
        })
        .collect()
}

/// What a key takes, in words; none where serde's own words are better.
fn expectation(schema: &Json, id: &Key) -> Option<String> {
    let leaves = leaf(schema, id);
    let words: Vec<String> = leaves
        .iter()
        .filter_map(|place| place.get("oneOf").and_then(Json::as_array))
        .flatten()
        .filter_map(|choice| choice.get("const").and_then(Json::as_str).map(|word| format!("\"{word}\"")))
        .collect();
    if !words.is_empty() {
        return Some(words.join(", "));
    }
    let types = types_of(schema, id);
    match (types.contains(&"string"), types.contains(&"integer")) {
        (true, true) => return Some("a whole number or text".into()),
        (true, false) => return Some("text in quotes".into()),
        (false, true) => return Some(format!("a whole number from 0 to {}", u32::MAX)),
        (false, false) => {}
    }
    if types.contains(&"boolean") {
        return Some("true or false".into());
    }
    let items = leaves.iter().find_map(|place| place.get("items"))?;
    (items.get("type").and_then(Json::as_str) == Some("string")).then(|| "a list of texts, [\"...\"]".into())
}

/// What the schema says a key is for, on one line.
fn description(schema: &Json, id: &Key) -> String {
    let text = leaf(schema, id).into_iter().find_map(|place| place.get("description").and_then(Json::as_str));
    text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
