//! The reference of the book, made of what the code declares. `SINKSCOPE_BLESS=1 cargo test --test book` writes it anew, to be read.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};
use sinkscope::control::api::metrics::described;
use sinkscope::control::api::openapi::document;
use sinkscope::control::api::routes::routes;
use sinkscope::orders::order_file::keys::keys;
use sinkscope::resolver::ede::SENT;

use super::{page, root};

/// Holds a page to this text; with SINKSCOPE_BLESS=1 set, writes it instead.
fn hold(name: &str, text: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("SINKSCOPE_BLESS").is_some() {
        fs::write(&path, text).expect("a page");
        return;
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let lines = there.lines().zip(text.lines()).position(|(there, made)| there != made);
    let first = lines.unwrap_or(there.lines().count().min(text.lines().count()));
    let line = |text: &str| text.lines().nth(first).unwrap_or("nothing").to_owned();
    assert!(
        there == text,
        "{name} is not what the code declares; `SINKSCOPE_BLESS=1 cargo test --test book` writes it anew\nline {}: {}\nit should be: {}",
        first + 1,
        line(&there),
        line(text)
    );
}

/// The head of a page.
fn head(title: &str, about: &str) -> String {
    format!("# {title}\n\n{about}\n\nThis page is made from the code, and a test holds the two together.\n")
}

/// A text as a cell of a table: on one line, and nothing in it but code that Markdown would read.
fn cell(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts = one_line.split('`').enumerate().map(|(index, part)| {
        let part = part.replace('|', "\\|");
        let code = index % 2 == 1;
        if code { part } else { part.replace('<', "\\<").replace('*', "\\*").replace('[', "\\[") }
    });
    parts.collect::<Vec<_>>().join("`")
}

/// A row of a table, its cells as they are.
fn row(page: &mut String, cells: &[&str]) {
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

/// The head of a table.
fn table(page: &mut String, heads: &[&str]) {
    page.push('\n');
    row(page, heads);
    let _ = writeln!(page, "|{}", "---|".repeat(heads.len()));
}

/// A text as code, in a table.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

/// What a schema leads to among the definitions, with its name.
fn definition<'s>(all: &'s Value, schema: &'s Value) -> Option<(&'s str, &'s Value)> {
    let name = schema["$ref"].as_str()?.rsplit('/').next()?;
    let found =
        [&all["$defs"][name], &all["components"]["schemas"][name]].into_iter().find(|found| !found.is_null());
    Some((name, found?))
}

/// The schema in one that may also be null.
fn beyond_null(schema: &Value) -> &Value {
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([one, other]) if other["type"] == "null" => one,
        _ => schema,
    }
}

/// The words that a schema of words takes.
fn words(schema: &Value) -> Option<Vec<String>> {
    let own = |schema: &Value| match &schema["const"] {
        Value::Null => schema["enum"].as_array().cloned(),
        word => Some(vec![word.clone()]),
    };
    let each: Option<Vec<Vec<Value>>> = match schema["oneOf"].as_array() {
        Some(all) => all.iter().map(own).collect(),
        None => own(schema).map(|words| vec![words]),
    };
    Some(each?.iter().flatten().filter(|word| !word.is_null()).map(|word| format!("`{word}`")).collect())
}

/// What a schema of the configuration takes, in words.
fn takes(all: &Value, schema: &Value) -> String {
    let schema = beyond_null(schema);
    if let Some((_, found)) = definition(all, schema) {
        return match words(found) {
            Some(words) => words.join(", "),
            None if found["anyOf"].is_array() => "a number, or text with a unit".into(),
            None => "tables".into(),
        };
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        kind => kind.as_str(),
    };
    match kinds.expect("a type") {
        "string" => "text".into(),
        "boolean" => "`true`, `false`".into(),
        "integer" => "a number".into(),
        "array" if definition(all, &schema["items"]).is_some_and(|(_, item)| words(item).is_none()) => {
            "tables".into()
        }
        "array" => match definition(all, &schema["items"]).and_then(|(_, item)| words(item)) {
            Some(words) => format!("a list of {}", words.join(", ")),
            None => "a list of texts".into(),
        },
        other => panic!("{other}: say what it takes"),
    }
}

/// The table that a key of the configuration leads to, with whether there may be several.
fn leads_to<'s>(all: &'s Value, schema: &'s Value) -> Option<(&'s Value, bool)> {
    let schema = beyond_null(schema);
    let (found, many) = match definition(all, schema) {
        Some((_, found)) => (found, false),
        None => (definition(all, &schema["items"])?.1, true),
    };
    found["properties"].is_object().then_some((found, many))
}

/// A section of the configuration, and those within it.
fn section(page: &mut String, all: &Value, path: &str, (schema, many): (&Value, bool), keys: &mut usize) {
    let heading = if many { format!("[[{path}]]") } else { format!("[{path}]") };
    let about = schema["description"].as_str().expect("a description");
    let about = about.split_once("`: ").map_or(about, |(_, about)| about);
    let about = cell(about);
    let (first, rest) = about.split_at(1);
    let _ = write!(page, "\n## `{heading}`\n\n{}{rest}\n", first.to_uppercase());
    let mut within = Vec::new();
    table(page, &["key", "takes", "default", "what it is"]);
    for (name, property) in schema["properties"].as_object().expect("keys") {
        *keys += 1;
        if let Some(found) = leads_to(all, property) {
            within.push((format!("{path}.{name}"), found));
        }
        let about = property["description"]
            .as_str()
            .unwrap_or_else(|| panic!("{path}.{name}: describe it where it is declared"));
        let required =
            schema["required"].as_array().is_some_and(|required| required.iter().any(|one| one == name));
        let (about, default) =
            about.rsplit_once("Default: ").unwrap_or((about, if required { "it is needed" } else { "none" }));
        row(page, &[&code(name), &takes(all, property), &cell(default.trim_end_matches('.')), &cell(about)]);
    }
    for (path, found) in within {
        section(page, all, &path, found, keys);
    }
}

#[test]
fn the_configuration_is_what_the_schema_says() {
    let all = sinkscope::config::schema();
    let mut page = head(
        "Configuration",
        "Every key of `sinkscope.toml`, which may also be set as `SINKSCOPE_SECTION__KEY` in the environment or by `--set section.key=value`.\n\
         None is needed. `sinkscope config` prints what is in effect, and `sinkscope.example.toml` shows the file.",
    );
    let mut keys = 0;
    for (name, property) in all["properties"].as_object().expect("sections") {
        section(&mut page, &all, name, leads_to(&all, property).expect("a section"), &mut keys);
    }
    assert!(keys > 130, "only {keys} keys");
    hold("configuration.md", &page);
}

#[test]
fn orders_have_the_keys_that_are_declared() {
    let mut page = head(
        "Orders",
        "Every key of an order file. [The walk](../served.md) writes one, the samples in `blocklists/` show what else can be said, and\n\
         `sinkscope check FOLDER` reads them and says what is wrong.",
    );
    let keys = keys();
    assert!(keys.len() > 40, "only {} keys", keys.len());
    for (place, heading) in [("", "The order"), ("scope", "`[[scope]]`"), ("lifted", "`lifted`")] {
        let _ = write!(page, "\n## {heading}\n");
        table(&mut page, &["key", "takes", "what it means"]);
        for key in keys.iter().filter(|key| key.table == place) {
            row(&mut page, &[&code(key.name), &cell(&key.takes), &cell(&key.about)]);
        }
    }
    hold("orders.md", &page);
}

/// The help that a command and those within it print.
fn helps(page: &mut String, command: &clap::Command, words: &mut Vec<String>, seen: &mut usize) {
    *seen += 1;
    let asked = words.iter().map(String::as_str).chain(["--help"]);
    let help = sinkscope::cli::command_line().try_get_matches_from(asked).expect_err("the help").to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(page, "\n## {}\n\n```text\n{}\n```\n", words.join(" "), lines.join("\n").trim_end());
    for one in command.get_subcommands() {
        words.push(one.get_name().to_owned());
        helps(page, one, words, seen);
        words.pop();
    }
}

#[test]
fn commands_have_the_help_that_they_print() {
    let mut page = head(
        "Commands",
        "What `--help` prints behind each command. Exit codes: 0 all is well, 1 problems were found, 2 the command line or the configuration is wrong.",
    );
    let mut seen = 0;
    helps(&mut page, &sinkscope::cli::command_line(), &mut vec!["sinkscope".to_owned()], &mut seen);
    assert!(seen > 30, "only {seen}");
    hold("commands.md", &page);
}

#[test]
fn metrics_are_those_that_are_declared() {
    let mut page = head(
        "Metrics",
        "Every family that `/metrics` tells, with its labels. [What they are for](../metrics.md), and which alerts are made of them, stands elsewhere.",
    );
    table(&mut page, &["metric", "type", "labels", "what it counts"]);
    let all = described();
    assert!(all.len() > 100, "only {}", all.len());
    for one in &all {
        let labels: Vec<String> = one.labels.iter().map(|label| code(label)).collect();
        row(&mut page, &[&code(&one.name), one.kind, &labels.join(", "), &cell(&one.help)]);
    }
    hold("metrics.md", &page);
}

/// What a schema of the API is, in words, with links to those of objects.
fn shape(all: &Value, schema: &Value) -> String {
    let schema = beyond_null(schema);
    if let Some((name, found)) = definition(all, schema) {
        return match words(found) {
            Some(words) => words.join(", "),
            None => format!("[{name}](#{})", name.to_lowercase()),
        };
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
        }
        kind => kind.as_str().into_iter().collect(),
    };
    match kinds[..] {
        ["array"] if schema["prefixItems"].is_array() => {
            let items = schema["prefixItems"].as_array().into_iter().flatten();
            format!("a pair: {}", items.map(|item| shape(all, item)).collect::<Vec<_>>().join(", "))
        }
        ["array"] => format!("a list: {}", shape(all, &schema["items"])),
        ["object"] if schema["additionalProperties"].is_object() => {
            format!("by name: {}", shape(all, &schema["additionalProperties"]))
        }
        [] => "anything".into(),
        ref kinds => kinds.join(" or "),
    }
}

/// The type that a body holds.
fn body(all: &Value, content: &Value) -> Option<String> {
    let schema = &content["content"]["application/json"]["schema"];
    (!schema.is_null()).then(|| shape(all, schema))
}

#[test]
fn the_api_is_what_it_says_of_itself() {
    let all = document(&routes());
    let mut page = head(
        "API",
        "Every path of [the control API](../control.md). `/v1/openapi.json` has the same for programs.",
    );
    let mut operations = 0;
    for (path, methods) in all["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            operations += 1;
            let summary = operation["summary"].as_str().expect("a summary");
            let _ = write!(page, "\n## `{} {path}`\n\n{summary}.\n", method.to_uppercase());
            let parameters = operation["parameters"].as_array();
            if let Some(parameters) = parameters {
                table(&mut page, &["parameter", "in", "type", "what it is"]);
                for one in parameters {
                    let text = |key: &str| one[key].as_str().expect("a text").to_owned();
                    let kind = shape(&all, &one["schema"]);
                    row(&mut page, &[&code(&text("name")), &text("in"), &kind, &cell(&text("description"))]);
                }
            }
            if let Some(taken) = body(&all, &operation["requestBody"]) {
                let _ = write!(page, "\nIt takes {taken}.\n");
            }
            table(&mut page, &["status", "what it means", "body"]);
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let meaning = response["description"].as_str().expect("a description");
                row(&mut page, &[status, meaning, &body(&all, response).unwrap_or_default()]);
            }
        }
    }
    assert!(operations > 20, "only {operations}");
    page += "\n## Bodies\n\nWhat they hold. A field that may be missing has a `?`.\n";
    for (name, schema) in all["components"]["schemas"].as_object().expect("schemas") {
        if words(schema).is_some() {
            continue;
        }
        let about = schema["description"]
            .as_str()
            .unwrap_or_else(|| panic!("{name}: describe it where it is declared"));
        let _ = write!(page, "\n### {name}\n\n{}\n", cell(about));
        let required: BTreeSet<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let none = Map::new();
        let fields = schema["properties"].as_object().unwrap_or(&none);
        if !fields.is_empty() {
            table(&mut page, &["field", "type", "what it is"]);
        }
        for (field, schema) in fields {
            let shown = if required.contains(field.as_str()) { field.clone() } else { format!("{field}?") };
            let (_, found) = definition(&all, beyond_null(schema)).unwrap_or(("", &Value::Null));
            let about = schema["description"].as_str().or(found["description"].as_str());
            let about = about.unwrap_or_else(|| panic!("{name}.{field}: describe it where it is declared"));
            row(&mut page, &[&code(&shown), &shape(&all, schema), &cell(about)]);
        }
    }
    hold("api.md", &page);
}

/// The names of EDE codes that sources of the library have, tests left aside.
fn named(folder: &Path, found: &mut BTreeSet<String>, files: &mut usize) {
    for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        // Tables are not places that send, and tests may name any.
        let apart =
            stem.ends_with("tests") || matches!(stem.as_str(), "iana" | "ede" | "roundtrip" | "property");
        if path.is_dir() && stem != "tests" {
            named(&path, found, files);
        } else if !path.is_dir() && !apart {
            *files += 1;
            let text = fs::read_to_string(&path).expect("UTF-8");
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let names = text.split("EdeCode::").skip(1);
            let name = |rest: &str| {
                rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect::<String>()
            };
            found.extend(names.map(name).filter(|name| name.len() > 1));
        }
    }
}

#[test]
fn the_ede_codes_are_those_that_are_sent() {
    let (mut found, mut files) = (BTreeSet::new(), 0);
    named(&root().join("src"), &mut found, &mut files);
    assert!(files > 150 && found.len() >= 10, "{files} files: {found:?}");
    let constant = |name: &str| name.to_uppercase().replace(' ', "_");
    let declared: BTreeSet<String> = SENT
        .iter()
        .map(|(code, _)| {
            constant(match code.name() {
                Some("Other Error") => "Other",
                name => name.expect("a name"),
            })
        })
        .collect();
    assert_eq!(declared, found, "src/resolver/ede.rs says which codes are sent, and when");
    assert!(SENT.is_sorted_by_key(|(code, _)| code.0));
    let mut page = head(
        "EDE codes",
        "What answers say beside their response code (Extended DNS Errors, RFC 8914): `dig` shows it as `EDE:`. What an upstream says of its\n\
         answer is passed on besides, four of them at most, whatever their codes.",
    );
    table(&mut page, &["code", "name", "when"]);
    for (code, when) in SENT {
        row(&mut page, &[&code.0.to_string(), code.name().expect("a name"), &cell(when)]);
    }
    hold("ede.md", &page);
}

#[test]
fn operations_has_every_alert_and_no_other() {
    let rules = page("contrib/prometheus/alerts.yml").text;
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let operations = page("docs/operations.md").text;
    let rows = operations.lines().filter_map(|line| line.strip_prefix("| `Sinkscope")?.split('`').next());
    assert_eq!(rows.map(|name| format!("Sinkscope{name}")).collect::<Vec<_>>(), alerts);
}

#[test]
fn cells_hold_nothing_that_markdown_would_read() {
    assert_eq!(cell("a|b  <c>\n*.x [y](z) `<a|b>`"), "a\\|b \\<c> \\*.x \\[y](z) `<a\\|b>`");
}
