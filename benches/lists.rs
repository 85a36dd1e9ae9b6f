//! One list in four formats through the loader: load time, refused lines, and that all four mean the same.
//!
//! `SINKSCOPE_DATA=../shared/data cargo bench --bench lists`. `benches/lists/make` (python3) writes the lists, of real names
//! where they are present; `SINKSCOPE_BENCH_LINES` says how many lines each, 100,000 if not said. Asserts how many lines are
//! refused, that every name, its child, its siblings and what merely ends like it get the same verdict from all four lists,
//! and that a naive set of names agrees.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sinkscope::name::Name;
use sinkscope::orders::lists::{Format, ListSpec};
use sinkscope::orders::suffix::{Covers, covers};
use sinkscope::orders::{Loader, Settings, names};
use sinkscope::policy::{MatchKind, Policy, Verdict};

/// Lines of each list.
const LINES: usize = 100_000;
/// Loads of each list, of which the fastest counts: the machine is not ours alone.
const ROUNDS: usize = 5;

/// What `made.tsv` says of a list.
struct Made {
    format: Format,
    lines: usize,
    bad: usize,
    skipped: usize,
}

fn main() {
    let lines =
        std::env::var("SINKSCOPE_BENCH_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(LINES);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/lists/make");
    let made = Command::new("python3").arg(script).arg(folder.path()).arg(lines.to_string()).status();
    assert!(made.expect("python3 to make the lists").success(), "the lists are made");

    let (listed, guarded) = listed(folder.path());
    println!("| list | lines | read | compiled | lines/s read | entries | refused | skipped |");
    println!("|---|---|---|---|---|---|---|---|");
    let policies: Vec<(Format, Policy)> = made_lists(folder.path())
        .into_iter()
        .map(|made| {
            let policy = load(folder.path(), &made, listed.len(), guarded);
            (made.format, policy)
        })
        .collect();
    compare(&policies, &listed);
}

/// What was made.
fn made_lists(folder: &Path) -> Vec<Made> {
    let text = fs::read_to_string(folder.join("made.tsv")).expect("made.tsv");
    let read = |line: &str| {
        let mut words = line.split('\t');
        let format =
            words.next().and_then(|word| Format::ALL.into_iter().find(|format| format.as_str() == word));
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
        Made { format: format.expect("a format"), lines: number(), bad: number(), skipped: number() }
    };
    text.lines().map(read).collect()
}

/// The names that the lists have in common and that may be taken with all below them, and how many may not.
fn listed(folder: &Path) -> (HashSet<Name>, usize) {
    let text = fs::read_to_string(folder.join("dnsmasq.txt")).expect("a list");
    let words = text.lines().filter_map(|line| line.strip_prefix("address=/")?.strip_suffix("/0.0.0.0"));
    let all: HashSet<Name> = words.filter_map(|word| names::name(word).ok()).collect();
    let (usable, guarded): (HashSet<Name>, HashSet<Name>) =
        all.into_iter().partition(|name| covers(name) == Covers::Nothing);
    (usable, guarded.len())
}

/// Loads one list several times and prints its row.
fn load(folder: &Path, made: &Made, usable: usize, guarded: usize) -> Policy {
    let path = folder.join(format!("{}.txt", made.format));
    let kind = made.format.needs_match().then_some(MatchKind::Subtree);
    // The format is left to be found out.
    let spec = ListSpec { kind, ..ListSpec::new(made.format.as_str(), path) };
    let settings = Settings { lists: vec![spec], ..Settings::default() };
    let mut best: Option<(Duration, Duration, Policy)> = None;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let loaded = Loader::new(settings.clone()).load();
        let read = start.elapsed();
        let policy = Policy::compile(&loaded.zones, &loaded.protected, 1);
        let compiled = start.elapsed() - read;
        let file = &loaded.lists[0].files[0];
        assert_eq!(file.format, Some(made.format), "{:?}", loaded.problems);
        assert_eq!(file.entries, usable, "{}", made.format);
        assert_eq!(file.refused_lines, made.bad + guarded, "{}", made.format);
        assert_eq!(file.skipped.values().sum::<usize>(), made.skipped, "{}", made.format);
        if best.as_ref().is_none_or(|(before, ..)| read < *before) {
            best = Some((read, compiled, policy));
        }
    }
    let (read, compiled, policy) = best.expect("at least one round");
    println!(
        "| {} | {} | {:.0} ms | {:.0} ms | {:.2} million | {usable} | {} ({guarded} of public suffixes) | {} |",
        made.format,
        made.lines,
        read.as_secs_f64() * 1e3,
        compiled.as_secs_f64() * 1e3,
        made.lines as f64 / read.as_secs_f64() / 1e6,
        made.bad + guarded,
        made.skipped,
    );
    policy
}

/// All four say the same of every name and its neighbours, and a naive set agrees.
fn compare(policies: &[(Format, Policy)], listed: &HashSet<Name>) {
    let mut asked: HashMap<Name, bool> = HashMap::new();
    let above = |name: &Name| {
        (1..=name.label_count()).filter_map(|keep| name.ancestor(keep)).any(|up| listed.contains(&up))
    };
    for name in listed {
        let mut ask = |name: Name| *asked.entry(name).or_insert_with(|| above(&name));
        assert!(ask(*name));
        let text = name.to_string();
        let parent = name.parent().unwrap_or(Name::ROOT);
        for near in [format!("child.{text}"), format!("x{text}"), format!("unlisted-sibling.{parent}")] {
            if let Ok(near) = near.parse() {
                ask(near);
            }
        }
        ask(parent);
    }
    let mut taken = 0;
    for (name, expected) in &asked {
        taken += usize::from(*expected);
        for (format, policy) in policies {
            let hit = policy.verdict(name, 0) != Verdict::Clear;
            assert_eq!(hit, *expected, "{name} on the list of format {format}");
        }
    }
    println!(
        "\nequal verdicts from all four for {} names: {taken} captured, {} not",
        asked.len(),
        asked.len() - taken
    );
}
