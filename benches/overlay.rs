//! A prototype of docs/design/overlay.md: a small trie beside a big one, whose values stand in place of the big one's. How soon
//! ten changed names are in force, what a walk costs with it, and what it takes to merge the two at rest.
//!
//! `cargo bench --bench overlay [-- NAMES...]`; NAMES are numbers of listed names, 1,000,000 and 10,000,000 by default.

#[allow(dead_code, reason = "other benches ask for more")]
#[path = "support/made.rs"]
mod made;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use made::{innocent_name, listed_name};
use sinkscope::name::Name;
use sinkscope::policy::trie::{BATCH, NO_VALUE, NameTrie, Paths, TrieBuilder, TrieEditor};

/// The set of rules that listed names point to.
const LISTED: u32 = 1;
/// In an overlay: that nothing is listed at the name, whatever the big trie says.
const GONE: u32 = u32::MAX;
/// Names that change, as the aim has it, and as many as a day of a busy feed brings.
const CHANGES: [usize; 3] = [0, 10, 150_000];
/// Names walked to for a figure, and rounds of which the median counts.
const ASKED: usize = 1 << 17;
const ROUNDS: usize = 9;
/// The longest path of values a name can have: its labels and the root.
const DEPTHS: usize = 128;

/// A big trie, and what has changed since it was made.
struct Layered {
    base: Arc<NameTrie>,
    /// At each name, what stands there now; none if nothing has changed.
    overlay: Option<NameTrie>,
}

impl Layered {
    /// [`NameTrie::walk_batch`] of both: `visit` gets each value once, root first.
    fn walk(&self, names: &[Name], paths: &mut Paths, mut visit: impl FnMut(usize, u8, u32)) {
        let Some(overlay) = &self.overlay else {
            return self
                .base
                .walk_batch(names, paths, |(index, _), labels, value| visit(index, labels, value));
        };
        for (first, chunk) in (0..).step_by(BATCH).zip(names.chunks(BATCH)) {
            // Nearly always nothing: few names are changed, and fewer are asked for.
            let mut over: Vec<(usize, u8, u32)> = Vec::new();
            overlay.walk_batch(chunk, paths, |(index, _), labels, value| over.push((index, labels, value)));
            if over.is_empty() {
                self.base.walk_batch(chunk, paths, |(index, _), labels, value| {
                    visit(first + index, labels, value)
                });
                continue;
            }
            let mut merged: HashMap<usize, [u32; DEPTHS]> = HashMap::new();
            self.base.walk_batch(chunk, paths, |(index, _), labels, value| {
                match over.iter().any(|(changed, ..)| *changed == index) {
                    true => merged.entry(index).or_insert([NO_VALUE; DEPTHS])[usize::from(labels)] = value,
                    false => visit(first + index, labels, value),
                }
            });
            for (index, labels, value) in over {
                let value = if value == GONE { NO_VALUE } else { value };
                merged.entry(index).or_insert([NO_VALUE; DEPTHS])[usize::from(labels)] = value;
            }
            for (index, path) in merged {
                let found = path.iter().zip(0..).filter(|(value, _)| **value != NO_VALUE);
                found.for_each(|(value, labels)| visit(first + index, labels, *value));
            }
        }
    }

    /// Both in one: what is done at rest.
    fn merged(&self) -> Option<NameTrie> {
        let mut editor = TrieEditor::of(&self.base, |value| value)?;
        let fits = |(name, value): (Name, u32)| {
            editor.update(&name, |_| if value == GONE { NO_VALUE } else { value })
        };
        let whole = self.overlay.iter().flat_map(NameTrie::iter).all(fits);
        whole.then(|| editor.finish())
    }
}

/// An overlay in which the first half of `count` listed names is gone and as many are new.
fn overlay(listed: usize, count: usize) -> Option<NameTrie> {
    let mut builder = TrieBuilder::new();
    for index in 0..count / 2 {
        assert!(builder.update(&listed_name(index), |_| GONE));
        assert!(builder.update(&listed_name(listed + index), |_| LISTED));
    }
    (count > 0).then(|| builder.build())
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let sizes = match (sizes.is_empty(), quick) {
        (true, true) => vec![400_000],
        (true, false) => vec![1_000_000, 10_000_000],
        _ => sizes,
    };
    println!("| names | changed | in force after | listed | innocent | merged after |");
    println!("|---|---|---|---|---|---|");
    for size in sizes {
        run(size, if quick { 1 } else { ROUNDS });
    }
}

/// Measures with that many names.
fn run(size: usize, rounds: usize) {
    let mut builder = TrieBuilder::new();
    for index in 0..size {
        assert!(builder.update(&listed_name(index), |_| LISTED));
    }
    let base = Arc::new(builder.build());
    let listed: Vec<Name> =
        (0..ASKED).map(|index| listed_name(index * (size / ASKED).max(1) % size)).collect();
    let innocent: Vec<Name> = (0..ASKED).map(innocent_name).collect();
    let current = ArcSwap::from_pointee(Layered { base: base.clone(), overlay: None });
    let mut figures: Vec<[Vec<f64>; 4]> = CHANGES.map(|_| Default::default()).into();
    // In turn, so that what others do to the machine meets all alike.
    for _ in 0..rounds {
        for (count, figures) in CHANGES.into_iter().zip(&mut figures) {
            let start = Instant::now();
            current.store(Arc::new(Layered { base: base.clone(), overlay: overlay(size, count) }));
            let live = start.elapsed();
            let layered = current.load_full();
            let walks = [walked(&layered, &listed), walked(&layered, &innocent)];
            let start = Instant::now();
            let merged = layered.merged().expect("room for few changes");
            let merging = start.elapsed();
            let times = [live.as_secs_f64() * 1e3, walks[0], walks[1], merging.as_secs_f64() * 1e3];
            figures.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
            check(&layered, &merged, size, count);
        }
    }
    for (count, figures) in CHANGES.into_iter().zip(figures) {
        let [live, listed, innocent, merged] = figures.map(|mut all| {
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        });
        println!("| {size} | {count} | {live:.3} ms | {listed:.0} ns | {innocent:.0} ns | {merged:.1} ms |");
    }
}

/// Nanoseconds a name.
fn walked(layered: &Layered, names: &[Name]) -> f64 {
    let mut paths = Paths::default();
    let (start, mut found) = (Instant::now(), 0_u64);
    layered.walk(names, &mut paths, |_, _, value| found += u64::from(value));
    std::hint::black_box(found);
    start.elapsed().as_secs_f64() * 1e9 / names.len() as f64
}

/// That both say what the changes say, of names that are gone, new, as before, below those, and nobody's.
fn check(layered: &Layered, merged: &NameTrie, size: usize, count: usize) {
    let half = count / 2;
    let step = (size / 1000).max(1);
    let mut names: Vec<Name> = (0..size + half).step_by(step).map(listed_name).collect();
    names.extend((0..half.min(100)).map(listed_name));
    names.extend((0..100).map(innocent_name));
    let below: Vec<Name> = names.iter().filter_map(|name| format!("x.{name}").parse().ok()).collect();
    names.extend(below);
    let is_listed: HashMap<Name, bool> = (0..size + half)
        .step_by(step)
        .chain(0..half.min(100))
        .map(|index| (listed_name(index), index >= half))
        .collect();
    let mut found: Vec<Vec<(u8, u32)>> = vec![Vec::new(); names.len()];
    layered.walk(&names, &mut Paths::default(), |index, labels, value| found[index].push((labels, value)));
    let mut again: Vec<Vec<(u8, u32)>> = vec![Vec::new(); names.len()];
    merged.walk_batch(&names, &mut Paths::default(), |(index, _), labels, value| {
        again[index].push((labels, value))
    });
    assert_eq!(found, again);
    for (name, found) in names.iter().zip(found) {
        let listed = [Some(*name), name.parent()]
            .into_iter()
            .flatten()
            .any(|name| is_listed.get(&name) == Some(&true));
        assert_eq!(!found.is_empty(), listed, "{name}");
    }
}
