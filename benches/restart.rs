//! A restart with what is cached: how long the end takes that writes it, how long it takes to read, and that all of it is there with
//! nobody upstream.
//!
//! `cargo bench --bench restart`; answers by `SINKSCOPE_BENCH_SIZES=100000,1000000`, restarts by `SINKSCOPE_BENCH_ROUNDS=5`. The first
//! right answer counts from before the program is started, over loopback; what it took to read is what the program says.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::flood::{Mock, address_of, ask_all};
use support::process::{Folder, Program};
use support::wire::{A, Reply};

/// How long a question waits before it is sent again.
const PATIENCE: Duration = Duration::from_millis(500);

fn main() {
    // `cargo test --benches` passes --test: a small run that still checks every answer.
    let quick = std::env::args().any(|argument| argument == "--test");
    let sizes = std::env::var("SINKSCOPE_BENCH_SIZES")
        .unwrap_or_else(|_| if quick { "2000" } else { "100000" }.to_owned());
    let rounds = std::env::var("SINKSCOPE_BENCH_ROUNDS").map_or(if quick { 1 } else { 5 }, |rounds| {
        rounds.parse().expect("SINKSCOPE_BENCH_ROUNDS: a number")
    });
    println!(
        "| answers | octets of the file | from SIGTERM to the end | reading it | until it serves | right answers |"
    );
    println!("|---|---|---|---|---|---|");
    for size in sizes.split(',').map(|size| size.trim().parse().expect("SINKSCOPE_BENCH_SIZES: numbers")) {
        run(size, rounds);
    }
}

/// Fills, ends and starts again so many times.
fn run(size: usize, rounds: usize) {
    let folder =
        Folder::new(&[("orders/none.toml", "id = \"a\"\n[[scope]]\nnames = [\"listed.example\"]\n")]);
    let upstream = Mock::start();
    let room = format!("cache.size={}", (size * 1024).max(1 << 20));
    let address = upstream.addr().to_string();
    let args = ["--listen", "127.0.0.1:0", "--orders", "orders", "--state", "state", "--upstream", &address];
    let args = [&args[..], &["--set", &room, "--set", "upstream.probe_at_start=false"]].concat();
    let mut program = Program::serve(&folder, &args);
    assert_eq!(right(&program, size), size, "the cache is filled");
    upstream.silence(true);
    let asked = upstream.asked();
    for _ in 0..rounds {
        let begun = Instant::now();
        program.signal("TERM");
        program.wait();
        let ending = begun.elapsed();
        let octets = std::fs::metadata(folder.file("state/cache.store")).expect("it is kept").len();
        let begun = Instant::now();
        program = Program::serve(&folder, &args);
        let serving = begun.elapsed();
        let log = program.log();
        let line = log.lines().find(|line| line.contains("is cached again")).expect("it says so");
        let took = line.split_once("it took ").map_or("?", |(_, took)| took);
        let right = right(&program, size);
        println!(
            "| {size} | {octets} | {:.0} ms | {took} | {:.0} ms | {right} |",
            ending.as_secs_f64() * 1e3,
            serving.as_secs_f64() * 1e3
        );
        assert_eq!((right, upstream.asked()), (size, asked), "all of it, and nobody was asked");
    }
}

/// How many of the names are answered rightly.
fn right(program: &Program, size: usize) -> usize {
    let right = AtomicUsize::new(0);
    let name = |index: usize, name: &mut String| {
        name.clear();
        let _ = write!(name, "host{index}.zone{}.example", index % 977);
    };
    let tally = ask_all(
        program.addr(),
        size,
        PATIENCE,
        |index, text| {
            name(index, text);
            A
        },
        |index, packet| {
            let mut text = String::new();
            name(index, &mut text);
            let reply = Reply::read(packet).expect("a reply");
            right.fetch_add(usize::from(reply.addresses == [address_of(&text)]), Ordering::Relaxed);
        },
    );
    assert_eq!(tally.lost, 0);
    right.into_inner()
}
