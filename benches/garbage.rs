//! One million mutated and random packets at the running program: no panic, no leak, still serving. Then garbage at full
//! speed beside good queries: how many of those are lost, and how long the others take.
//!
//! `cargo bench --bench garbage`; `SINKSCOPE_GARBAGE=20000` sends another number, `SINKSCOPE_SEED=7` others. A tenth goes
//! over TCP; `SINKSCOPE_GARBAGE=0` leaves the first part out. Good queries go on meanwhile and each answer is checked.
//! Everything stays on loopback.

#[path = "support/beside.rs"]
mod beside;
#[path = "../tests/support/mod.rs"]
mod support;

use support::flood::Mock;
use support::process::{Folder, Program};
use support::storm::storm;
use support::wire::{self, A};

/// Packets, unless told otherwise.
const PACKETS: usize = 1_000_000;
/// Resident memory that may come on top of what the first tenth led to, in KiB: what allocators keep varies by megabytes.
const SLACK_KIB: u64 = 16 * 1024;

fn main() {
    let packets = number("SINKSCOPE_GARBAGE").unwrap_or(PACKETS);
    let seed = number("SINKSCOPE_SEED").unwrap_or(1) as u64;
    let order = "id = \"a\"\ntitle = \"T\"\nkind = \"court\"\n[[scope]]\nmatch = \"exact\"\nnames = [\"evil.ddns.net\"]\n";
    let folder = Folder::new(&[("orders/a.toml", order)]);
    let upstream = Mock::start();
    let upstream_addr = upstream.addr().to_string();
    let serve = |settings: &[&str]| {
        let args = ["--listen", "127.0.0.1:0", "--upstream", &upstream_addr, "--orders", "orders"];
        Program::serve(&folder, &[&args[..], settings].concat())
    };
    if packets > 0 {
        // A small cache is full soon: what grows after that is a leak.
        survive(&serve(&["--set", "cache.size=1MiB"]), packets, seed);
    }
    // One worker, which leaves a core to those who send.
    beside::run(&serve(&["--set", "listen.workers=1"]), seed);
}

/// Sends garbage and sees that it does no harm.
fn survive(program: &Program, packets: usize, seed: u64) {
    let resident = || program.status("VmRSS");
    let at_start = resident();
    let first = storm(program, packets / 10, seed);
    let before = resident();
    println!("first tenth: {first:?}");
    let rest = storm(program, packets - packets / 10, seed ^ 0xdead_beef);
    let after = resident();
    println!("the rest: {rest:?}");
    println!(
        "resident: {} KiB at the start, {} after a tenth, {} after all {packets} packets",
        shown(at_start),
        shown(before),
        shown(after)
    );
    let mark = program.mark();
    program.signal("USR1");
    for line in ["resolver: ", "listeners: "] {
        println!("{}", program.wait_for(mark, line));
    }
    let counters = program.wait_for(mark, "listeners: ");
    let counter = |name: &str| -> usize {
        let found = counters
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
        found.unwrap_or_else(|| panic!("no {name} in {counters}"))
    };
    assert_eq!(counter("panics"), 0);
    assert!(!program.log().contains("panicked"), "{}", program.log());
    assert!(counter("udp_received") >= first.udp + rest.udp, "what was sent did arrive");
    if let (Some(before), Some(after)) = (before, after) {
        assert!(after <= before + SLACK_KIB, "resident memory grew from {before} to {after} KiB");
    }
    for ask in [wire::udp, wire::tcp] {
        assert_eq!(ask(program.addr(), "evil.ddns.net", A).show(), "NOERROR 0.0.0.0 EDE16 EDE4");
    }
    println!("no panic, no leak, still serving");
}

/// A number from the environment.
fn number(key: &str) -> Option<usize> {
    std::env::var(key).ok()?.parse().ok()
}

/// A number where there is one.
fn shown(number: Option<u64>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}
