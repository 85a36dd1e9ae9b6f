//! The arrows between modules, read from the sources: they run one way.
//!
//! ARCHITECTURE.md draws the house from the ground up. This holds it to that: no file depends on itself by way of others, no
//! module either, and the core and the wire know only what they stand on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module by its path, such as `policy::trie::build`.
type Module = String;
/// Which modules each one names.
type Arrows = BTreeMap<Module, BTreeSet<Module>>;

/// What some modules may stand on, and nothing else of this crate.
const STANDS_ON: [(&str, &[&str]); 10] = [
    ("name", &[]),
    ("time", &[]),
    ("iana", &[]),
    ("policy", &["iana", "name", "time"]),
    ("dns", &["iana", "name", "plain", "transport"]),
    ("forge", &["dns", "iana", "name", "policy"]),
    ("cache", &["dns", "iana", "name", "time"]),
    ("local", &["dns", "iana", "name", "suffixes"]),
    ("zonefile", &["iana", "name", "problem"]),
    ("stated", &["iana", "local", "name", "orders", "problem", "suffixes", "time", "zonefile"]),
];
/// Source files there are at least: a reader that finds none proves nothing.
const AT_LEAST: usize = 150;

/// The sources of the library, by module; test modules in files of their own are left out.
fn sources() -> BTreeMap<Module, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files): (Vec<PathBuf>, Vec<PathBuf>) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() { folders.push(entry) } else { files.push(entry) }
        }
    }
    let module = |file: &Path| {
        let path = file.strip_prefix(&root).ok()?.with_extension("");
        let mut parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        parts.pop_if(|last| *last == "mod");
        let test = |part: &&str| part.ends_with("tests") || matches!(*part, "testing" | "property");
        (!parts.iter().any(test) && !matches!(parts[..], ["lib"] | ["main"])).then(|| parts.join("::"))
    };
    let read = |file: &PathBuf| fs::read_to_string(file).expect("UTF-8");
    files.iter().filter_map(|file| Some((module(file)?, code(&read(file))))).collect()
}

/// A source without comments and without its tests.
fn code(source: &str) -> String {
    let before_tests = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    before_tests
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The paths of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((front, rest)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap_or_default().trim().to_owned()];
    };
    let (inner, mut depth, mut start, mut paths) = (rest.trim_end().trim_end_matches('}'), 0, 0, Vec::new());
    // One more comma ends the last part.
    for (at, octet) in inner.bytes().chain([b',']).enumerate() {
        match octet {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                let part = inner[start..at].trim();
                if !part.is_empty() {
                    paths.extend(expand(part).into_iter().map(|path| format!("{front}{path}")));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    paths
}

/// The `use` declarations of a source, each with whether it is public, and what is left without them.
fn uses(code: &str) -> (Vec<(bool, String)>, String) {
    let (mut found, mut left, mut tree) = (Vec::new(), String::new(), None::<(bool, String)>);
    for line in code.lines() {
        let text = line.trim();
        let declared = text.split_once("use ").filter(|(front, _)| {
            front.is_empty() || (front.starts_with("pub") && !front.contains(['=', ';', '"']))
        });
        match (&mut tree, declared) {
            (None, Some((front, rest))) => tree = Some((!front.is_empty(), rest.to_owned())),
            (Some((_, tree)), _) => *tree = format!("{tree} {text}"),
            (None, None) => left = format!("{left}{line}\n"),
        }
        if let Some((public, text)) = tree.take_if(|(_, text)| text.ends_with(';')) {
            let paths = expand(text.trim_end_matches(';'));
            found.extend(paths.into_iter().map(|path| (public, path)));
        }
    }
    (found, left)
}

/// A path as seen from a module, from the crate's root on; none if it leads out of the crate.
fn absolute(from: &str, path: &str, modules: &BTreeMap<Module, String>) -> Option<Vec<String>> {
    let mut base: Vec<String> = from.split("::").map(str::to_owned).collect();
    let mut parts = path.split("::").peekable();
    match *parts.peek()? {
        "crate" => (parts.next(), base.clear()).1,
        "self" | "super" => {
            while let Some(part) = parts.next_if(|part| matches!(*part, "self" | "super")) {
                if part == "super" {
                    base.pop();
                }
            }
        }
        first => {
            modules.get(&format!("{from}::{first}"))?;
        }
    }
    base.extend(parts.map(str::to_owned));
    Some(base)
}

/// All arrows between files. A parent that names its children shows them, and does not stand on them.
fn arrows() -> Arrows {
    let sources = sources();
    assert!(sources.len() >= AT_LEAST, "{} files", sources.len());
    let read: BTreeMap<&Module, _> = sources.iter().map(|(module, code)| (module, uses(code))).collect();
    // What a module passes on, by the name it has there: that is where it is.
    let mut passed_on: BTreeMap<(Module, String), Vec<String>> = BTreeMap::new();
    for (module, (uses, _)) in &read {
        for (_, path) in uses.iter().filter(|(public, _)| *public) {
            if let Some(full) = absolute(module, path, &sources) {
                passed_on.insert((module.to_string(), full.last().cloned().unwrap_or_default()), full);
            }
        }
    }
    let of_path = |mut full: Vec<String>| -> Option<Module> {
        for _ in 0..4 {
            let len = (1..=full.len()).rev().find(|len| sources.contains_key(&full[..*len].join("::")))?;
            let (module, item) = (full[..len].join("::"), full.get(len).cloned());
            match item.and_then(|item| passed_on.get(&(module.clone(), item))) {
                Some(further) if *further != full => full = further.clone(),
                _ => return Some(module),
            }
        }
        None
    };
    let mut arrows = Arrows::new();
    for (module, (uses, left)) in &read {
        let inline = left.match_indices("crate::").chain(left.match_indices("super::")).map(|(at, _)| {
            let path = left[at..].split(|c: char| !(c.is_alphanumeric() || matches!(c, ':' | '_')));
            path.into_iter().next().unwrap_or_default().trim_end_matches(':').to_owned()
        });
        let paths = uses.iter().map(|(_, path)| path.clone()).chain(inline);
        let to = paths.filter_map(|path| of_path(absolute(module, &path, &sources)?));
        let others = to.filter(|to| to != *module && !to.starts_with(&format!("{module}::")));
        arrows.insert(module.to_string(), others.collect());
    }
    arrows
}

/// A way from a module back to itself, if there is one.
fn circle(arrows: &Arrows) -> Option<Vec<&Module>> {
    arrows.keys().find_map(|start| {
        let (mut came_from, mut next) = (BTreeMap::<&Module, &Module>::new(), vec![start]);
        while let Some(here) = next.pop() {
            for to in arrows.get(here).into_iter().flatten() {
                if to == start {
                    let mut way = vec![start, here];
                    while let Some(before) = came_from.get(way[way.len() - 1]) {
                        way.push(before);
                    }
                    way.reverse();
                    return Some(way);
                }
                if !came_from.contains_key(to) {
                    came_from.insert(to, here);
                    next.push(to);
                }
            }
        }
        None
    })
}

/// The room a file is in: the first part of its path.
fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

/// The arrows between rooms.
fn between_rooms(arrows: &Arrows) -> Arrows {
    let mut rooms = Arrows::new();
    for (from, to) in arrows {
        let others = to.iter().map(|to| room(to)).filter(|other| *other != room(from)).map(str::to_owned);
        rooms.entry(room(from).to_owned()).or_default().extend(others);
    }
    rooms
}

#[test]
fn no_file_stands_on_itself() {
    assert_eq!(circle(&arrows()), None);
}

#[test]
fn no_room_stands_on_itself() {
    assert_eq!(circle(&between_rooms(&arrows())), None);
}

#[test]
fn the_ground_knows_nothing_of_what_stands_on_it() {
    let rooms = between_rooms(&arrows());
    for (room, expected) in STANDS_ON {
        let found: Vec<&str> = rooms[room].iter().map(String::as_str).collect();
        assert_eq!(found, expected, "{room}");
    }
}

#[test]
fn circles_and_trees_are_seen() {
    let arrows = |lines: &[(&str, &str)]| -> Arrows {
        let each = |(from, to): &(&str, &str)| {
            (from.to_string(), to.split(' ').filter(|to| !to.is_empty()).map(str::to_owned).collect())
        };
        lines.iter().map(each).collect()
    };
    assert_eq!(circle(&arrows(&[("a", "b c"), ("b", "c"), ("c", "")])), None);
    let round = arrows(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")]);
    let way = circle(&round).expect("b, c and d are one");
    assert_eq!(way, ["b", "c", "d", "b"]);
    assert_eq!(expand("a::{b, c::{d, e as f}, self}"), ["a::b", "a::c::d", "a::c::e", "a::self"]);
    let source = "use crate::a::{b,\n    c};\npub(super) use d::E;\nlet x = crate::f::g(); // use h::i;\n";
    let (found, left) = uses(&code(source));
    let found: Vec<(bool, &str)> = found.iter().map(|(public, path)| (*public, path.as_str())).collect();
    assert_eq!(found, [(false, "crate::a::b"), (false, "crate::a::c"), (true, "d::E")]);
    assert_eq!(left.trim(), "let x = crate::f::g();");
}
