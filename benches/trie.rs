//! `NameTrie` against its rivals: a set of suffixes as strings, and a sorted array.
//!
//! Half the queries are listed names, a quarter their unlisted siblings, a quarter names of unlisted zones; subtree
//! semantics, random order. Every contender must give the same count of captured names before it is timed.
//!
//! `cargo bench --bench trie`; sizes by `SINKSCOPE_BENCH_SIZES=22000,1000000`.

use std::collections::HashSet;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sinkscope::policy::Name;
use sinkscope::policy::trie::{NameTrie, TrieBuilder};

/// Queries in one round: enough to leave the processor's caches at a million names.
const QUERIES: usize = 65_536;

fn contenders(criterion: &mut Criterion) {
    let sizes = std::env::var("SINKSCOPE_BENCH_SIZES").unwrap_or_else(|_| "22000,1000000".to_owned());
    for size in
        sizes.split(',').map(|size| size.trim().parse::<usize>().expect("SINKSCOPE_BENCH_SIZES: numbers"))
    {
        let mut random = Random(0x5eed);
        let listed: Vec<Name> = (0..size).map(|_| random.host()).collect();
        let queries: Vec<Name> = (0..QUERIES).map(|turn| query(turn, &listed, &mut random)).collect();
        let texts: Vec<String> = queries.iter().map(Name::to_string).collect();

        let mut builder = TrieBuilder::new();
        for name in &listed {
            builder.update(name, |_| 1);
        }
        let trie = builder.build().expect("it fits");
        let set: HashSet<String> = listed.iter().map(Name::to_string).collect();
        let mut sorted: Vec<Vec<u8>> = listed.iter().map(reversed).collect();
        sorted.sort();
        sorted.dedup();

        let mut seen = vec![false; queries.len()];
        let expected = queries.iter().filter(|name| in_trie(&trie, name)).count();
        assert!(expected * 2 >= QUERIES, "the listed half is captured");
        assert!(expected * 10 < QUERIES * 9, "the unlisted half is not");
        assert_eq!(batched(&trie, &queries, &mut seen), expected, "batches agree");
        assert_eq!(texts.iter().filter(|text| in_set(&set, text)).count(), expected, "HashSet agrees");
        assert_eq!(
            queries.iter().filter(|name| in_sorted(&sorted, name)).count(),
            expected,
            "sorted array agrees"
        );
        println!(
            "{size} names: {:.1} octets a name in NameTrie",
            trie.heap_octets() as f64 / trie.len() as f64
        );

        let mut group = criterion.benchmark_group("captured");
        group.throughput(Throughput::Elements(QUERIES as u64)).sample_size(20);
        group.bench_function(BenchmarkId::new("NameTrie", size), |bencher| {
            bencher.iter(|| queries.iter().filter(|name| in_trie(&trie, black_box(name))).count());
        });
        group.bench_function(BenchmarkId::new("NameTrie, batches of 32", size), |bencher| {
            bencher.iter(|| batched(&trie, black_box(&queries), &mut seen));
        });
        group.bench_function(BenchmarkId::new("HashSet of strings", size), |bencher| {
            bencher.iter(|| texts.iter().filter(|text| in_set(&set, black_box(text))).count());
        });
        group.bench_function(BenchmarkId::new("sorted array", size), |bencher| {
            bencher.iter(|| queries.iter().filter(|name| in_sorted(&sorted, black_box(name))).count());
        });
        group.finish();
    }
}

/// Whether any enclosing name is listed.
fn in_trie(trie: &NameTrie, name: &Name) -> bool {
    let mut found = false;
    trie.walk(name, |_, _| found = true);
    found
}

/// The same for all, side by side; `seen` is scratch space, one for each name.
fn batched(trie: &NameTrie, names: &[Name], seen: &mut [bool]) -> usize {
    seen.fill(false);
    trie.walk_batch(names, |index, _, _| seen[index] = true);
    seen.iter().filter(|seen| **seen).count()
}

/// The same, suffix by suffix, the way most blockers do it.
fn in_set(set: &HashSet<String>, text: &str) -> bool {
    let mut rest = text;
    loop {
        if set.contains(rest) {
            return true;
        }
        match rest.split_once('.') {
            Some((_, parent)) => rest = parent,
            None => return false,
        }
    }
}

/// The same, by binary search over names turned round.
fn in_sorted(sorted: &[Vec<u8>], name: &Name) -> bool {
    let key = reversed(name);
    (1..=key.len())
        .filter(|end| key[end - 1] == 0)
        .any(|end| sorted.binary_search_by(|known| known[..].cmp(&key[..end])).is_ok())
}

/// Labels from the root, each ended by a zero: an enclosing name is then a prefix.
fn reversed(name: &Name) -> Vec<u8> {
    let labels: Vec<&[u8]> = name.labels().collect();
    labels.iter().rev().flat_map(|label| label.iter().copied().chain([0])).collect()
}

/// A listed name, a sibling of one, or a stranger, by turns.
fn query(turn: usize, listed: &[Name], random: &mut Random) -> Name {
    let known = listed[random.below(listed.len() as u64) as usize];
    match turn % 4 {
        0 | 1 => known,
        2 => below(&random.word(), &known.parent().unwrap_or(Name::ROOT)),
        _ => format!("{}.{}.org", random.word(), random.word()).parse().expect("a name"),
    }
}

/// `label.parent`.
fn below(label: &str, parent: &Name) -> Name {
    format!("{label}.{parent}").parse().expect("a name")
}

/// A small generator of our own (splitmix64), so that every run has the same names.
struct Random(u64);

impl Random {
    /// The next number.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Six to thirteen letters.
    fn word(&mut self) -> String {
        let letters = 6 + self.below(8);
        (0..letters).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    /// A host under one of the dynamic zones, or a domain of its own.
    fn host(&mut self) -> Name {
        const ZONES: [&str; 4] = ["ddns.net", "no-ip.org", "hopto.org", "example.com"];
        let zone = ZONES[self.below(ZONES.len() as u64) as usize];
        let text = if self.below(2) == 0 {
            format!("{}.{zone}", self.word())
        } else {
            format!("{}.com", self.word())
        };
        text.parse().expect("a name")
    }
}

criterion_group!(benches, contenders);
criterion_main!(benches);
