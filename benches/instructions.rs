//! Instructions of the hot cases, as callgrind counts them: the same number on a noisy machine as on a quiet one, so that
//! a regression of a few per cent shows. `checks/instructions` compares a run with `benches/instructions.baseline`.
//!
//!     cargo bench --bench instructions
//!
//! Needs valgrind; without it it says so and measures nothing.
//! Each case handles [`BATCH`] queries, or walks [`WALKED`] names. Before it is counted it runs twice and its answers are asserted, so what is counted
//! is the warm path. Counts say nothing about cache misses: `request_path` and `trie` measure time.

#[allow(dead_code, reason = "other benches ask for more")]
#[path = "support/counted.rs"]
mod support;

use std::hint::black_box;
use std::sync::Arc;

use sinkscope::dns::{Answer, finish, parse, parse_head};
use sinkscope::name::Name;
use sinkscope::policy::trie::{NameTrie, Paths, TrieBuilder};
use sinkscope::serve::{Client, Respond, Step};
use sinkscope::transport::Transport;
use support::*;

/// Names of a case that walks the trie: of so few as a batch a chance collision of tags, or a bucket that happens to be full, would
/// weigh more than what is looked for.
const WALKED: usize = 32 * BATCH;

fn main() {
    support::main(&[
        ("parse_head", head_case),
        ("walk_listed", || walk_case(Wanted::Listed)),
        ("walk_sibling", || walk_case(Wanted::Sibling)),
        ("walk_stranger", || walk_case(Wanted::Stranger)),
        ("walk_batch_listed", || walk_batch_case(Wanted::Listed)),
        ("walk_batch_sibling", || walk_batch_case(Wanted::Sibling)),
        ("walk_batch_stranger", || walk_batch_case(Wanted::Stranger)),
        ("hot_sinkholed", || hot_case(Traffic::Sinkholed)),
        ("hot_cached", || hot_case(Traffic::Cached)),
        ("hot_cached_new_second", || hot_case(Traffic::CachedNewSecond)),
        ("slow_sinkholed", || slow_case(Traffic::Sinkholed)),
        ("slow_cached", || slow_case(Traffic::Cached)),
        ("finish_truth", finish_case),
    ]);
}

/// A glance at ordinary queries.
fn head_case() -> Case {
    let packets: Vec<Vec<u8>> = (0..BATCH).map(|index| packet(&cached_name(index), true)).collect();
    let right = (0..BATCH).map(|index| cached_name(index).as_wire().len()).sum();
    warm(right, move || {
        let mut name = Name::ROOT;
        // Somebody looks at the name: else nobody need fold it.
        let mut seen = |packet: &Vec<u8>| {
            parse_head(black_box(packet), &mut name).map(|_| black_box(&name).as_wire().len())
        };
        packets.iter().filter_map(&mut seen).sum()
    })
}

/// Which names the trie is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    /// Listed.
    Listed,
    /// Not listed, under a zone of which others are.
    Sibling,
    /// Under a top-level domain of which nothing is listed, each under another.
    Stranger,
}

impl Wanted {
    /// The names, and how many of them are listed.
    fn names(self) -> (Vec<Name>, usize) {
        let name = |index: usize| match self {
            Wanted::Listed => listed_name(index * 613 % LISTED),
            Wanted::Sibling => name(format_args!("neighbour{index}.{}", ZONES[index % 4])),
            Wanted::Stranger => name(format_args!("www{index}.site{index}.zone{index}")),
        };
        ((0..WALKED).map(name).collect(), if self == Wanted::Listed { WALKED } else { 0 })
    }
}

/// A trie of the listed names.
fn trie() -> NameTrie {
    let mut builder = TrieBuilder::new();
    for index in 0..LISTED {
        assert!(builder.update(&listed_name(index), |_| 1), "it fits");
    }
    builder.build()
}

/// Names walked one by one.
fn walk_case(wanted: Wanted) -> Case {
    let ((names, right), trie) = (wanted.names(), trie());
    warm(right, move || {
        let mut found = 0;
        for name in &names {
            trie.walk(black_box(name), |_, value| found += value as usize);
        }
        found
    })
}

/// Names walked together.
fn walk_batch_case(wanted: Wanted) -> Case {
    let ((names, right), trie) = (wanted.names(), trie());
    let mut paths = Paths::default();
    warm(right, move || {
        let mut found = 0;
        trie.walk_batch(black_box(&names), &mut paths, |_, _, value| found += value as usize);
        found
    })
}

/// As many through the slow path, one by one.
fn slow_case(traffic: Traffic) -> Case {
    let scene = Scene::new(traffic);
    let client = Client { addr: CLIENT.into(), transport: Transport::Udp };
    let mut out = Vec::new();
    let mut round = move |scene: &Scene, check: bool| {
        scene.next();
        let mut octets = 0;
        for (index, packet) in scene.packets.iter().enumerate() {
            let step = scene.resolver.now(black_box(packet), client, &mut out);
            assert!(matches!(step, Step::Reply));
            if check {
                scene.check(index, &out);
            }
            octets += out.len();
        }
        octets
    };
    let right = round(&scene, true);
    warm(right, move || round(&scene, false))
}

/// Replies written by the one exit, from truths seven seconds old.
fn finish_case() -> Case {
    let packets: Vec<Vec<u8>> = (0..BATCH).map(|index| packet(&cached_name(index), true)).collect();
    let answers: Vec<Answer> =
        (0..BATCH).map(|index| Answer::truth(Arc::new(truth(&cached_name(index)).1), 7)).collect();
    // A header, the question, one record with a pointer for a name, and an OPT record.
    let right = packets.iter().map(|packet| packet.len() + 16).sum();
    let mut out = Vec::new();
    warm(right, move || {
        let mut octets = 0;
        for (packet, answer) in packets.iter().zip(&answers) {
            let query = parse(packet).expect("an ordinary query");
            finish(black_box(&query), answer, Transport::Udp, &mut out);
            octets += out.len();
        }
        octets
    })
}
