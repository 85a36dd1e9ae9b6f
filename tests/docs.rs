//! What the pages say to write can be written: every setting they name exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sinkscope::orders::open::ListFile;
use sinkscope::orders::order_file;

/// The fewest blocks of configuration, sentences and settings that the pages hold: a search that finds nothing must not pass.
const AT_LEAST: usize = 4;

/// The pages, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut pages) = (vec![root.join("docs")], vec![root.join("README.md")]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("the pages").map(|entry| entry.expect("a page").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).expect("a page"));
    pages.into_iter().map(read).collect()
}

/// Every key that the configuration knows, whatever section it is in.
fn settings() -> BTreeSet<String> {
    fn gather(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(parts) => {
                let properties = parts.get("properties").and_then(Value::as_object);
                found.extend(properties.into_iter().flat_map(|keys| keys.keys().cloned()));
                parts.values().for_each(|part| gather(part, found));
            }
            Value::Array(parts) => parts.iter().for_each(|part| gather(part, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    gather(&sinkscope::config::schema(), &mut found);
    found
}

/// What is wrong with a text as an order file, as far as it is a key.
fn unknown_in_order(text: &str) -> Vec<String> {
    let mut open = |path: &str| ListFile { shown: path.into(), content: Err((String::new(), String::new())) };
    let problems = order_file::parse(text, "order.toml", &mut open).problems;
    let said = problems.into_iter().map(|problem| problem.message);
    said.filter(|message| message.starts_with("unknown key")).collect()
}

/// The keys and names of tables in a text, line by line.
fn keys(block: &str) -> Vec<String> {
    let word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !text.is_empty();
    let mut found = Vec::new();
    for line in block.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_start_matches('[').split(']').next().unwrap_or_default();
            found.extend(table.split('.').map(str::to_owned));
        } else if let Some((key, _)) = line.split_once('=')
            && word(key.trim())
        {
            found.push(key.trim().to_owned());
        }
    }
    found
}

#[test]
fn blocks_of_configuration_hold_known_keys() {
    let (settings, mut blocks) = (settings(), 0);
    for (path, page) in pages() {
        for block in page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            blocks += 1;
            if block.lines().any(|line| line.starts_with("id = ") || line.starts_with("[[scope]]")) {
                assert_eq!(unknown_in_order(block), [""; 0], "{}:\n{block}", path.display());
            } else {
                let unknown: Vec<_> = keys(block).into_iter().filter(|key| !settings.contains(key)).collect();
                assert!(unknown.is_empty(), "{}: {unknown:?} in\n{block}", path.display());
            }
        }
    }
    assert!(blocks >= AT_LEAST, "only {blocks}");
}

#[test]
fn settings_named_in_a_sentence_exist() {
    let settings = settings();
    let mut seen = 0;
    for (path, page) in pages() {
        // What is fenced is another test's; of the rest odd pieces stand between backticks.
        let text: String = page.split("```").step_by(2).collect();
        for code in text.split('`').skip(1).step_by(2).filter(|code| code.contains(" = ")) {
            for key in keys(code) {
                seen += 1;
                let in_order = [format!("{key} = 1"), format!("[[scope]]\n{key} = 1")];
                let known =
                    settings.contains(&key) || in_order.iter().any(|text| unknown_in_order(text).is_empty());
                assert!(known, "{}: nothing knows `{key}` of `{code}`", path.display());
            }
        }
    }
    assert!(seen >= AT_LEAST, "only {seen}");
}

#[test]
fn the_settings_of_a_policy_zone_are_those_there_are() {
    let settings = settings();
    let (_, page) = pages().into_iter().find(|(path, _)| path.ends_with("rpz.md")).expect("the page");
    let table = page.split("| setting |").nth(1).expect("the table").lines().skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let named: Vec<&str> = rows.filter_map(|row| row.split('|').nth(1)).map(str::trim).collect();
    assert!(named.len() >= AT_LEAST, "{named:?}");
    for key in named {
        assert!(settings.contains(key), "{key}");
    }
}

#[test]
fn keys_are_found_where_blocks_have_them() {
    let found = keys("[[clients]]\nname = \"a\" # b = c\n[clients.schedule]\n# x = 1\n  from=\"1\"\n");
    assert_eq!(found, ["clients", "name", "clients", "schedule", "from"]);
    assert!(!unknown_in_order("id = \"a\"\nsurely_not = 1\n").is_empty());
}
