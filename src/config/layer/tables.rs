//! Lists of tables at the top of a file, such as `[[clients]]`: they come from a file alone and are taken whole.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;
use toml::de::{DeArray, DeString, DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Value};

use super::{Layers, Origin, Setting, description, to_value};
use crate::config::spec::Spec;
use crate::keys::line_of;
use crate::problem::Problem;

impl Layers {
    /// A problem with a place in a list of tables, such as `[0].addresses[1]` in `clients`.
    pub(in crate::config) fn problem_in(&self, list: &str, path: &str, what: &str) -> Problem {
        let setting = self.setting(list, "");
        let (file, line) = setting.map_or(("default", None), |setting| setting.origin.place());
        let line = setting.and_then(|setting| setting.lines.get(path).copied()).or(line);
        Problem::error(file, line, format!("`{list}{path}` {what}"))
    }

    /// Takes a list of tables from a file. Each item is checked alone, so that all problems are found; if there are any, the
    /// list is taken for empty: what else is wrong with it would be told of the wrong item.
    pub(super) fn add_list(
        &mut self,
        file: &str,
        text: &str,
        (name, list): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>),
        schema: &Json,
    ) {
        let origin = Origin::File(file.to_string(), line_of(text, name.span().start));
        let (name, id) = (name.get_ref(), (name.get_ref().to_string(), String::new()));
        let DeValue::Array(items) = list.get_ref() else {
            let problem = Problem::error(file, origin.place().1, format!("`{name}` is not a list of tables"));
            self.problems.push(problem.hint(format!("write [[{name}]] on a line of its own, for each")));
            return;
        };
        let (mut values, mut lines) = (Vec::with_capacity(items.len()), BTreeMap::new());
        for (index, item) in items.iter().enumerate() {
            let path = format!("[{index}]");
            let line = line_of(text, item.span().start);
            let alone = DeTable::from_iter([(
                Spanned::new(0..0, name.clone()),
                Spanned::new(item.span(), DeValue::Array(DeArray::from_iter([item.clone()]))),
            )]);
            let alone = ValueDeserializer::from(Spanned::new(item.span(), DeValue::Table(alone)));
            match (Spec::deserialize(alone), to_value(item.clone())) {
                (Ok(_), Ok(value)) => values.push(value),
                // Reported with all other unknown keys.
                (Err(error), _) if error.message().starts_with("unknown field") => {}
                (Err(error), _) => {
                    let line = error.span().map_or(line, |span| line_of(text, span.start));
                    let what = error.message().trim_end().replace('\n', " ");
                    let problem =
                        Problem::error(file, Some(line), format!("`{name}{path}` does not fit: {what}"));
                    self.problems.push(problem.hint(description(schema, &id)));
                }
                (Ok(_), Err(error)) => self.problems.push(Problem::error(file, Some(line), error)),
            }
            note_lines(item, path, text, &mut lines);
        }
        if values.len() < items.len() {
            values.clear();
        }
        self.settings.insert(id, Setting { lines, ..Setting::new(Value::Array(values), origin) });
    }
}

/// Whether a section is a list of tables.
pub(super) fn is_list(schema: &Json, section: &str) -> bool {
    let section = schema.get("properties").and_then(|sections| sections.get(section));
    section.and_then(|section| section.get("type")).and_then(Json::as_str) == Some("array")
}

/// Notes on which line each value in `value` begins, by its path.
fn note_lines(value: &Spanned<DeValue<'_>>, path: String, text: &str, lines: &mut BTreeMap<String, u32>) {
    match value.get_ref() {
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                note_lines(item, format!("{path}[{index}]"), text, lines);
            }
        }
        DeValue::Table(table) => {
            for (key, value) in table {
                note_lines(value, format!("{path}.{}", key.get_ref()), text, lines);
            }
        }
        _ => {}
    }
    lines.insert(path, line_of(text, value.span().start));
}
