//! Loading real lists: every malware family as an order of its own, or the made ones where the real are absent.
//!
//! `SINKSCOPE_DATA=../shared/data cargo bench --bench load`. The file `malware-families.tsv.gz` there holds lines
//! `name<TAB>family`. Asserts that every listed name hits its family's order or another that lists it or an
//! ancestor, and that siblings nobody listed hit nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use flate2::read::GzDecoder;
use sinkscope::name::Name;
use sinkscope::orders::{Loader, Settings, names};
use sinkscope::policy::{MatchKind, Policy, Verdict};

/// Families and names that stand in for the real ones.
const MADE: (usize, usize) = (300, 300);

fn main() {
    let data =
        std::env::var_os("SINKSCOPE_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let source = data.join("malware-families.tsv.gz");
    let families = if source.exists() { real(&source) } else { made() };
    let lines: usize = families.values().map(Vec::len).sum();

    // A process for each kind: the memory one kind frees would hide what the next one takes.
    let Some(kind) = std::env::var("SINKSCOPE_BENCH_KIND").ok() else {
        for kind in [MatchKind::Exact, MatchKind::Subtree] {
            let program = std::env::current_exe().expect("this program");
            let child = Command::new(program).env("SINKSCOPE_BENCH_KIND", kind.as_str()).status();
            assert!(child.expect("a child process").success(), "{kind} failed");
        }
        return;
    };
    for kind in [MatchKind::Exact, MatchKind::Subtree].into_iter().filter(|known| known.as_str() == kind) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_orders(&families, kind, folder.path());
        let before = resident_octets();
        let start = Instant::now();
        let settings = Settings { paths: vec![folder.path().to_owned()], ..Settings::default() };
        let mut loader = Loader::new(settings);
        let loaded = loader.load();
        let read = start.elapsed();
        let policy = Policy::compile(&loaded.zones, &loaded.protected, 1);
        let all = start.elapsed();
        let resident = resident_octets() - before;
        println!(
            "{lines} lines in {} families{}",
            families.len(),
            if source.exists() { "" } else { " (made)" }
        );
        println!(
            "{kind}: {} orders, {} names ({} distinct), {} orders and {} lines refused",
            loaded.orders,
            loaded.names,
            policy.name_count(),
            loaded.refused_orders,
            loaded.refused_lines,
        );
        println!(
            "  read {:.2} s, compiled {:.2} s, {:.0} names a second; resident {:.1} MB more ({:.1} octets a name), trie {:.1} MB",
            read.as_secs_f64(),
            (all - read).as_secs_f64(),
            loaded.names as f64 / all.as_secs_f64(),
            resident as f64 / 1e6,
            resident as f64 / loaded.names as f64,
            policy.heap_octets() as f64 / 1e6,
        );
        check(&families, kind, &policy, loaded.names);
    }
}

/// Every name by its family's order or an ancestor's; nobody else.
fn check(families: &BTreeMap<String, Vec<String>>, kind: MatchKind, policy: &Policy, loaded: usize) {
    let mut listed: HashSet<Name> = HashSet::new();
    let mut by_id: BTreeMap<String, HashSet<Name>> = BTreeMap::new();
    for (family, texts) in families {
        let family_names: HashSet<Name> = texts.iter().filter_map(|text| names::name(text).ok()).collect();
        listed.extend(&family_names);
        by_id.insert(id(family), family_names);
    }
    let start = Instant::now();
    let (mut own, mut other) = (0, 0);
    for (id, family_names) in &by_id {
        for name in family_names {
            let Verdict::Act(_, hit) = policy.verdict(name, 0) else { panic!("{name} of {id} escapes") };
            let trigger = hit.trigger.name(name);
            assert!(
                by_id[&hit.order.id].contains(&trigger),
                "{name} is captured by {trigger}, which {} does not list",
                hit.order.id
            );
            assert!(name.is_at_or_below(&trigger));
            if hit.order.id == *id {
                own += 1
            } else {
                other += 1
            }
            assert!(
                policy.hits(name, 0).iter().any(|hit| hit.order.id == *id),
                "{id} is among the hits of {name}"
            );
        }
    }
    let (mut clear, mut inside) = (0, 0);
    for name in &listed {
        let Some(parent) = name.parent() else { continue };
        let Ok(sibling) = format!("unlisted-sibling.{parent}").parse::<Name>() else { continue };
        let above = |name: &Name| {
            (0..=name.label_count()).filter_map(|keep| name.ancestor(keep)).any(|up| listed.contains(&up))
        };
        let expected = if kind == MatchKind::Exact { listed.contains(&sibling) } else { above(&sibling) };
        assert_eq!(policy.verdict(&sibling, 0) != Verdict::Clear, expected, "{sibling}");
        if expected { inside += 1 } else { clear += 1 }
    }
    println!(
        "  {own} names hit their family's order, {other} another that lists them or an ancestor, 0 escape; of their \
         siblings {clear} are clear, {inside} lie in a listed subtree; checked in {:.1} s; {loaded} loaded",
        start.elapsed().as_secs_f64()
    );
    assert!(own + other > 0 && clear > 0, "there was something to check");
}

/// One order file and one names file a family.
fn write_orders(families: &BTreeMap<String, Vec<String>>, kind: MatchKind, folder: &Path) {
    for (family, texts) in families {
        let id = id(family);
        let order = format!(
            "id = \"{id}\"\ntitle = \"Names tied to {id}\"\nkind = \"operator\"\nallow_public_suffix = true\n\n\
             [[scope]]\nmatch = \"{kind}\"\nfile = \"{id}.txt\"\nfamily = \"{id}\"\n"
        );
        fs::write(folder.join(format!("{id}.toml")), order).expect("an order file");
        let mut list = String::new();
        for text in texts {
            writeln!(list, "{text}").expect("a string grows");
        }
        fs::write(folder.join(format!("{id}.txt")), list).expect("a names file");
    }
}

/// A family's name as an order id: printable, without blanks or what a path gives meaning to.
fn id(family: &str) -> String {
    family.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// The real list, by family.
fn real(path: &Path) -> BTreeMap<String, Vec<String>> {
    let mut families: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut keys: HashMap<String, String> = HashMap::new();
    for line in BufReader::new(GzDecoder::new(File::open(path).expect("the list"))).lines() {
        let line = line.expect("a line");
        let (name, family) = line.split_once('\t').expect("name, tab, family");
        let key = keys.entry(family.to_owned()).or_insert_with(|| distinct(id(family), &families));
        families.entry(key.clone()).or_default().push(name.to_owned());
    }
    families
}

/// An id that no other family has: two may differ only in characters that an id cannot hold.
fn distinct(id: String, taken: &BTreeMap<String, Vec<String>>) -> String {
    let free = |id: &String| !taken.contains_key(id);
    let numbered = (2..).map(|number| format!("{id}-{number}"));
    std::iter::once(id.clone()).chain(numbered).find(free).unwrap_or(id)
}

/// Made names in the shape of the real ones.
fn made() -> BTreeMap<String, Vec<String>> {
    let names =
        |family: usize| (0..MADE.1).map(|i| format!("c{i}.f{family}.made{}.example", i % 7)).collect();
    (0..MADE.0).map(|family| (format!("family{family}"), names(family))).collect()
}

/// Resident memory of this process in octets, 0 where /proc is missing.
fn resident_octets() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}
