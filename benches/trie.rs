//! `NameTrie` against its rivals: does a list capture a name, subtree semantics, exact answers.
//!
//! `cargo bench --bench trie`; sizes by `SINKSCOPE_BENCH_SIZES=22000,1000000,10000000`, rounds by
//! `SINKSCOPE_BENCH_ROUNDS=7`. Names and queries are made from a fixed seed, in random order. Three kinds of query: a
//! listed name, its unlisted sibling under a zone that many listed names share, a name in a zone nobody listed.
//!
//! Every contender sees the same names in batches of 32, as packets come, decoded from one packed list; that decoding is
//! timed by itself and shown, not taken off. Every contender must capture the same number of names before it is timed,
//! but for those that compare hashes only and say so. Contenders run in turn within each round, and the median over the
//! rounds is shown with its range, so that a noisy minute hits all alike.

#[allow(dead_code, reason = "other benches count allocations too")]
#[path = "support/alloc.rs"]
mod alloc;

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};
use std::hint::black_box;
use std::time::Instant;

use sinkscope::name::{Name, NameList};
use sinkscope::policy::trie::{NameTrie, Paths, TrieBuilder};

/// Queries of each kind in one round: enough to leave the processor's caches at a million names.
const QUERIES: usize = 200_000;
/// Names in a batch.
const BATCH: usize = 32;

/// A set of listed names, however it is built.
trait Contender {
    /// How many of `names` are listed or lie below a listed name.
    fn captured(&self, names: &[Name]) -> usize;
}

/// What makes a contender of a list; none where it would not fit in reasonable time or memory.
type Maker = fn(&NameList) -> Option<Box<dyn Contender>>;

/// The contenders, and whether their answers are exact.
const CONTENDERS: [(&str, bool, Maker); 8] = [
    ("NameTrie, batches of 32", true, |names| Some(Box::new(Batched(trie(names))))),
    ("NameTrie, one by one", true, |names| Some(Box::new(trie(names)))),
    ("HashSet of suffixes (std)", true, |names| Some(Box::new(wire(names).collect::<HashSet<Box<[u8]>>>()))),
    ("hashbrown of suffixes", true, |names| Some(Box::new(Brown(wire(names).collect())))),
    ("hashbrown of 64-bit hashes", false, |names| Some(Box::new(Hashes::of(names)))),
    ("sorted packed array", true, |names| Some(Box::new(Sorted::of(names)))),
    ("fst", true, |names| Some(Box::new(fst_set(names)))),
    ("qp-trie", true, |names| (names.len() <= 1_000_000).then(|| Box::new(qp(names)) as Box<dyn Contender>)),
];

fn main() {
    // `cargo test --benches` passes --test: a small run that still checks every answer.
    let quick = std::env::args().any(|argument| argument == "--test");
    let default = if quick { "2000" } else { "22000,1000000" };
    let sizes = std::env::var("SINKSCOPE_BENCH_SIZES").unwrap_or_else(|_| default.to_owned());
    let rounds = std::env::var("SINKSCOPE_BENCH_ROUNDS").map_or(if quick { 1 } else { 7 }, |rounds| {
        rounds.parse().expect("SINKSCOPE_BENCH_ROUNDS: a number")
    });
    for size in sizes.split(',').map(|size| size.trim().parse().expect("SINKSCOPE_BENCH_SIZES: numbers")) {
        run(size, rounds);
    }
}

/// One size: builds everyone in turn, checks, times.
fn run(size: usize, rounds: usize) {
    let mut random = Random(0x5eed);
    let listed: NameList = (0..size).map(|_| random.host()).collect();
    let queries = queries(&listed, &mut random);
    let distinct = trie(&listed).len();
    println!(
        "\n{size} names ({distinct} distinct), nanoseconds a name: median (least to most) of {rounds} rounds"
    );

    let mut made = Vec::new();
    for (name, exact, make) in CONTENDERS {
        let before = alloc::held();
        alloc::start_peak();
        let start = Instant::now();
        let Some(contender) = make(&listed) else { continue };
        let built = start.elapsed().as_secs_f64();
        let octets = alloc::held() - before;
        let peak = (alloc::peak() - before) as f64 / octets as f64;
        made.push((name, exact, contender, built, octets as f64 / distinct as f64, peak));
    }
    let expected: Vec<usize> = queries.iter().map(|(_, list)| count(&*made[0].2, list)).collect();
    assert_eq!((expected[0], expected[2]), (QUERIES, 0), "listed names are captured, strangers are not");
    assert!(expected[1] * 100 < QUERIES, "siblings are not listed, but for a chance in a hundred");
    for (name, exact, contender, ..) in &made {
        let found: Vec<usize> = queries.iter().map(|(_, list)| count(&**contender, list)).collect();
        assert!(!exact || found == expected, "{name} captures {found:?}, not {expected:?}");
    }

    let mut times = vec![vec![Vec::new(); queries.len()]; made.len() + 1];
    for _ in 0..rounds {
        for (kind, (_, list)) in queries.iter().enumerate() {
            for (index, (_, _, contender, ..)) in made.iter().enumerate() {
                times[index][kind].push(timed(|| count(&**contender, list)));
            }
            times[made.len()][kind].push(timed(|| count(&Nothing, list)));
        }
    }
    println!(
        "{:28} {:>19} {:>19} {:>19} {:>9} {:>8} {:>6}",
        "", queries[0].0, queries[1].0, queries[2].0, "octets", "built", "peak"
    );
    for (index, (name, exact, _, built, octets, peak)) in made.iter().enumerate() {
        let inexact = if *exact { "" } else { " *" };
        let shown: Vec<String> = times[index].iter().map(|times| show(times)).collect();
        println!(
            "{:28} {:>19} {:>19} {:>19} {octets:>9.1} {built:>7.2}s {peak:>5.1}x",
            format!("{name}{inexact}"),
            shown[0],
            shown[1],
            shown[2]
        );
    }
    let shown: Vec<String> = times[made.len()].iter().map(|times| show(times)).collect();
    println!("{:28} {:>19} {:>19} {:>19}", "(decoding alone)", shown[0], shown[1], shown[2]);
    println!("* compares hashes only: an innocent name may be captured");
}

/// Nanoseconds a query.
fn timed(run: impl FnOnce() -> usize) -> f64 {
    let start = Instant::now();
    black_box(run());
    start.elapsed().as_nanos() as f64 / QUERIES as f64
}

/// Median and range.
fn show(times: &[f64]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    format!("{:.0} ({:.0} to {:.0})", sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1])
}

/// How many of a list are captured, batch by batch.
fn count(contender: &dyn Contender, list: &NameList) -> usize {
    let mut names = list.iter();
    let mut batch = [Name::ROOT; BATCH];
    let mut found = 0;
    loop {
        let mut len = 0;
        for (place, name) in batch.iter_mut().zip(&mut names) {
            *place = name;
            len += 1;
        }
        if len == 0 {
            return found;
        }
        found += contender.captured(black_box(&batch[..len]));
    }
}

/// The three kinds of query.
fn queries(listed: &NameList, random: &mut Random) -> [(&'static str, NameList); 3] {
    let all: Vec<Name> =
        if listed.len() <= 1_000_000 { listed.iter().collect() } else { listed.iter().step_by(7).collect() };
    let known: Vec<Name> = (0..QUERIES).map(|_| all[random.below(all.len() as u64) as usize]).collect();
    let sibling =
        |name: &Name, random: &mut Random| below(&random.word(), &name.parent().unwrap_or(Name::ROOT));
    let siblings = known.iter().map(|name| sibling(name, random)).collect();
    let strangers = (0..QUERIES)
        .map(|_| format!("{}.{}.unlisted", random.word(), random.word()).parse().expect("a name"));
    let strangers = strangers.collect();
    [("listed", known.into_iter().collect()), ("sibling", siblings), ("stranger", strangers)]
}

/// Decodes and does nothing.
struct Nothing;

impl Contender for Nothing {
    fn captured(&self, names: &[Name]) -> usize {
        names.iter().filter(|name| name.is_root()).count()
    }
}

/// The trie of a list, every value 1.
fn trie(names: &NameList) -> NameTrie {
    let mut builder = TrieBuilder::new();
    for name in names.iter() {
        assert!(builder.update(&name, |_| 1), "it fits");
    }
    builder.build()
}

impl Contender for NameTrie {
    fn captured(&self, names: &[Name]) -> usize {
        let captured = |name: &&Name| {
            let mut found = false;
            self.walk(name, |_, _| found = true);
            found
        };
        names.iter().filter(captured).count()
    }
}

/// The trie, asked for a batch at once.
struct Batched(NameTrie);

impl Contender for Batched {
    fn captured(&self, names: &[Name]) -> usize {
        let mut found = 0u32;
        self.0.walk_batch(names, &mut Paths::default(), |(index, _), _, _| found |= 1 << index);
        found.count_ones() as usize
    }
}

/// Names as their wire octets.
fn wire(names: &NameList) -> impl Iterator<Item = Box<[u8]>> + '_ {
    names.iter().map(|name| name.as_wire().into())
}

/// A name's enclosing names, itself first, the root not among them, as wire octets.
fn suffixes(name: &Name) -> impl Iterator<Item = &[u8]> {
    let mut rest = name.as_wire();
    std::iter::from_fn(move || {
        let suffix = rest;
        let (&len, _) = suffix.split_first().filter(|(len, _)| **len > 0)?;
        rest = &suffix[1 + usize::from(len)..];
        Some(suffix)
    })
}

impl Contender for HashSet<Box<[u8]>> {
    fn captured(&self, names: &[Name]) -> usize {
        names.iter().filter(|name| suffixes(name).any(|suffix| self.contains(suffix))).count()
    }
}

/// hashbrown with its own, faster hasher.
struct Brown(hashbrown::HashSet<Box<[u8]>>);

impl Contender for Brown {
    fn captured(&self, names: &[Name]) -> usize {
        names.iter().filter(|name| suffixes(name).any(|suffix| self.0.contains(suffix))).count()
    }
}

/// Hashes of whole names: small and fast, and wrong once in a while.
struct Hashes {
    hashes: hashbrown::HashSet<u64, Identity>,
    hasher: hashbrown::DefaultHashBuilder,
}

impl Hashes {
    fn of(names: &NameList) -> Hashes {
        let hasher = hashbrown::DefaultHashBuilder::default();
        let hashes = names.iter().map(|name| hasher.hash_one(name.as_wire())).collect();
        Hashes { hashes, hasher }
    }
}

impl Contender for Hashes {
    fn captured(&self, names: &[Name]) -> usize {
        let listed = |suffix: &[u8]| self.hashes.contains(&self.hasher.hash_one(suffix));
        names.iter().filter(|name| suffixes(name).any(listed)).count()
    }
}

/// A hash is its own hash.
#[derive(Clone, Default)]
struct Identity(u64);

impl BuildHasher for Identity {
    type Hasher = Identity;

    fn build_hasher(&self) -> Identity {
        Identity(0)
    }
}

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 is hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Labels from the root, each ended by a zero: an enclosing name is then a prefix. Labels here hold no zero.
fn reversed(name: &Name) -> ([u8; 256], usize) {
    let (mut key, mut len) = ([0; 256], 0);
    let labels: Vec<&[u8]> = name.labels().collect();
    for label in labels.iter().rev() {
        key[len..len + label.len()].copy_from_slice(label);
        len += label.len() + 1;
    }
    (key, len)
}

/// All keys, sorted and each once.
fn sorted_keys(names: &NameList) -> Vec<Box<[u8]>> {
    let key = |name: Name| {
        let (key, len) = reversed(&name);
        key[..len].into()
    };
    let mut keys: Vec<Box<[u8]>> = names.iter().map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Keys one after the other, in order, and where each starts.
struct Sorted {
    octets: Vec<u8>,
    starts: Vec<u32>,
}

impl Sorted {
    fn of(names: &NameList) -> Sorted {
        let keys = sorted_keys(names);
        let mut sorted = Sorted {
            octets: Vec::with_capacity(keys.iter().map(|key| key.len()).sum()),
            starts: Vec::with_capacity(keys.len() + 1),
        };
        for key in &keys {
            sorted.starts.push(sorted.octets.len() as u32);
            sorted.octets.extend_from_slice(key);
        }
        sorted.starts.push(sorted.octets.len() as u32);
        sorted
    }

    fn key(&self, index: usize) -> &[u8] {
        &self.octets[self.starts[index] as usize..self.starts[index + 1] as usize]
    }

    /// Whether some key is a prefix of `wanted`: if one is, it is the last that does not come after it, or a prefix of that.
    fn covers(&self, wanted: &[u8]) -> bool {
        (1..=wanted.len()).filter(|end| wanted[end - 1] == 0).any(|end| {
            let (mut low, mut high) = (0, self.starts.len() - 1);
            while low < high {
                let middle = low + (high - low) / 2;
                if self.key(middle) < &wanted[..end] { low = middle + 1 } else { high = middle }
            }
            low < self.starts.len() - 1 && self.key(low) == &wanted[..end]
        })
    }
}

impl Contender for Sorted {
    fn captured(&self, names: &[Name]) -> usize {
        let covered = |name: &&Name| {
            let (key, len) = reversed(name);
            self.covers(&key[..len])
        };
        names.iter().filter(covered).count()
    }
}

/// An fst of the keys: walked octet by octet, it meets every enclosing name on the way.
fn fst_set(names: &NameList) -> fst::Set<Vec<u8>> {
    fst::Set::from_iter(sorted_keys(names)).expect("sorted keys")
}

impl Contender for fst::Set<Vec<u8>> {
    fn captured(&self, names: &[Name]) -> usize {
        let fst = self.as_fst();
        let covered = |name: &&Name| {
            let (key, len) = reversed(name);
            let mut node = fst.root();
            for octet in &key[..len] {
                let Some(edge) = node.find_input(*octet) else { return false };
                node = fst.node(node.transition(edge).addr);
                if *octet == 0 && node.is_final() {
                    return true;
                }
            }
            false
        };
        names.iter().filter(covered).count()
    }
}

/// A bitwise trie of the keys.
struct Qp(qp_trie::Trie<Vec<u8>, ()>);

/// The qp-trie of a list.
fn qp(names: &NameList) -> Qp {
    let mut trie = qp_trie::Trie::new();
    for key in sorted_keys(names) {
        trie.insert(key.into_vec(), ());
    }
    Qp(trie)
}

impl Contender for Qp {
    fn captured(&self, names: &[Name]) -> usize {
        let covered = |name: &&Name| {
            let (key, len) = reversed(name);
            (1..=len).filter(|end| key[end - 1] == 0).any(|end| self.0.contains_key(&key[..end]))
        };
        names.iter().filter(covered).count()
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
