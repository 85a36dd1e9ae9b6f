//! `docs/rpz.md` names every RPZ scenario, and only those that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The fewest scenarios there must be: an empty folder must not pass.
const AT_LEAST: usize = 130;

#[test]
fn the_page_and_the_scenarios_agree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/rpz.md")).unwrap();
    let there: BTreeSet<String> = fs::read_dir(root.join("tests/scenarios"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|file| Some(file.strip_prefix("rpz-")?.strip_suffix(".scn")?.to_owned()))
        .collect();
    assert!(there.len() >= AT_LEAST, "only {} scenarios", there.len());
    let named = named(&page);
    let missing: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty(), "named in docs/rpz.md, but there is no such scenario: {missing:?}");
    let unnamed: Vec<_> = there.difference(&named).collect();
    assert!(unnamed.is_empty(), "scenarios that docs/rpz.md does not name: {unnamed:?}");
}

/// The scenarios a page names: in the last column of tables that head it so, and behind the word "scenario" in brackets.
fn named(page: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let mut in_table = false;
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let last = cells.last().copied().unwrap_or_default();
        match line.starts_with('|') {
            false => in_table = false,
            true if last.starts_with("scenario") => in_table = true,
            true if in_table && !last.starts_with("---") => {
                named.extend(last.split(',').map(|name| name.trim().to_owned()));
            }
            true => {}
        }
    }
    let bracketed = page.split("(scenario ").skip(1).filter_map(|rest| rest.split_once(')'));
    named.extend(bracketed.map(|(name, _)| name.to_owned()));
    named
}

#[test]
fn names_are_found_where_pages_have_them() {
    let page = "| a | scenarios |\n|---|---|\n| x | one, two |\n\n| b | c |\n|---|---|\n| d | e |\n\nText (scenario three).\n";
    assert_eq!(named(page).into_iter().collect::<Vec<_>>(), ["one", "three", "two"]);
}
