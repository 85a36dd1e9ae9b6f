//! A reload while queries are answered: how long reading, compiling and swapping take, how much memory at the most, and
//! what the hot path feels of it. A thread asks it all the time; every answer is checked.
//!
//!     cargo bench --bench reload [-- NAMES...]
//!
//! NAMES are numbers of listed names, 22,000 and 1,000,000 by default. Each reload lists the second half of the names
//! before it and as many new ones: names that leave and names that come are asked for in each batch, together with one that
//! stays and one that nobody lists. A batch is answered by one policy.
//!
//! Then the same while nobody asks, of changes as they come: one name of the list, one order beside it, a lift of that.

#[allow(dead_code, reason = "other benches count allocations too")]
#[path = "support/alloc.rs"]
mod alloc;
#[allow(dead_code, reason = "other benches ask for random names")]
#[path = "support/made.rs"]
mod made;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use made::{innocent_name, listed_name, says};
use sinkscope::batch;
use sinkscope::control::reload::Reloader;
use sinkscope::dns::finish::MAX_UDP_LEN;
use sinkscope::name::Name;
use sinkscope::orders::{Loader, Settings};
use sinkscope::policy::{Policy, Verdict};
use sinkscope::resolver::{Current, Resolver};
use sinkscope::serve::{Hot, Respond};

/// Whether the old policy, or the new one, lists a name.
type IsListed = fn(bool) -> bool;

/// After so long a file's stamp can show its next change (`Stamp::is_settled`).
const AT_REST: Duration = Duration::from_millis(2100);
/// Reloads of each size.
const RELOADS: usize = 5;

fn main() {
    let counts: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![22_000, 1_000_000] } else { counts };
    println!(
        "{:>10} {:>9} {:>11} {:>9} {:>11} {:>11} {:>13} {:>13} {:>15} {:>10} {:>6} {:>8}",
        "listed",
        "read ms",
        "compile ms",
        "swap us",
        "policy MB",
        "peak MB",
        "gap idle us",
        "gap reload us",
        "first new us",
        "answers",
        "wrong",
        "free ms"
    );
    for count in &counts {
        measure(*count);
    }
    println!("\n{:>10} {:>17} {:>17} {:>17}", "listed", "one changed ms", "another order ms", "a lift ms");
    for count in counts {
        change(count);
    }
}

/// Changes little, some times, and prints the medians: from the look at files until the policy is in force.
fn change(count: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    write("a.toml", &made::order_file("names.txt"));
    let order = |line: &str, name: &Name| {
        format!("id = \"b\"\n{line}\n[[scope]]\nmatch = \"exact\"\nnames = [\"{name}\"]\n")
    };
    write_names(folder.path(), 0, count);
    write("b.toml", &order("", &listed_name(count)));
    let policy = Current::of(Policy::empty());
    let settings = Settings { paths: vec![folder.path().to_owned()], ..Settings::default() };
    let mut reloader = Reloader::new(settings, policy.clone());
    let captured = |index: usize| policy.policy().verdict(&listed_name(index), 0) != Verdict::Clear;
    let mut timed = |right: &dyn Fn() -> bool| {
        let start = Instant::now();
        let report = reloader.reload(0);
        let took = start.elapsed();
        assert!(report.swapped && right(), "{:?}", report.problems);
        took.as_secs_f64() * 1e3
    };
    timed(&|| captured(0));
    let (mut one, mut other, mut lift) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=RELOADS {
        // The first name of the list goes, and one comes behind its last.
        write_names(folder.path(), round, count);
        // A file that changed a moment ago is read again by every look.
        thread::sleep(AT_REST);
        one.push(timed(&|| !captured(round - 1) && captured(round) && captured(round + count - 1)));
        write("b.toml", &order("", &listed_name(2 * count + round)));
        other.push(timed(&|| {
            captured(2 * count + round) && !captured(2 * count + round - 1) && captured(round)
        }));
        write("b.toml", &order("lifted = true", &listed_name(2 * count + round)));
        lift.push(timed(&|| !captured(2 * count + round) && captured(round)));
    }
    let show = |times: Vec<f64>| median(times.into_iter());
    println!("{count:>10} {:>17.1} {:>17.1} {:>17.1}", show(one), show(other), show(lift));
}

/// What one reload took.
struct Steps {
    read: Duration,
    compile: Duration,
    swap: Duration,
    /// When the new policy stood.
    swapped: Instant,
}

/// Reads what changed, compiles it and puts it in force; what it replaces is freed by whoever lets go of it last.
fn reload(loader: &mut Loader, policy: &Current, epoch: u64) -> Steps {
    let start = Instant::now();
    let loaded = loader.load();
    let read = start.elapsed();
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let compiled = Arc::new(Policy::compile(&loaded.zones, &loaded.protected, epoch));
    let compile = start.elapsed() - read;
    let before = Instant::now();
    policy.put(compiled);
    let swapped = Instant::now();
    Steps { read, compile, swap: swapped - before, swapped }
}

/// Reloads some times and prints the medians, and the worst gap.
fn measure(count: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("a.toml"), made::order_file("names.txt")).expect("an order file");
    let half = count / 2;
    write_names(folder.path(), 0, count);
    let policy = Current::of(Policy::empty());
    let mut loader = Loader::new(Settings { paths: vec![folder.path().to_owned()], ..Settings::default() });
    let held = alloc::held();
    reload(&mut loader, &policy, 1);
    let policy_octets = alloc::held().saturating_sub(held);
    let probes = (0..=RELOADS + 2).map(|generation| listed_name(generation * half));
    let resolver = made::resolver(policy.clone(), probes.chain([innocent_name(7)]));

    let (mut steps, mut peaks, mut idle, mut busy, mut first, mut answers) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0);
    for generation in 0..RELOADS {
        write_names(folder.path(), (generation + 1) * half, count);
        // The same time without a reload: what of the gaps is the machine's.
        let span = steps.last().map_or(Duration::from_millis(50), |steps: &Steps| steps.read + steps.compile);
        let (quiet, ()) = beside(&resolver, generation, half, || thread::sleep(span));
        idle.push(quiet.longest_gap);
        let held = alloc::held();
        alloc::start_peak();
        let (asked, done) =
            beside(&resolver, generation, half, || reload(&mut loader, &policy, generation as u64 + 2));
        peaks.push((alloc::peak() - held) as f64);
        let new = asked.first_new.expect("the new policy is in force at the end");
        busy.push(asked.longest_gap);
        first.push(new.saturating_duration_since(done.swapped));
        steps.push(done);
        answers += quiet.answers + asked.answers;
    }
    // Whoever lets go of a policy last frees it: the worker that sees the new one last, or the reloader.
    let last = policy.put(Policy::empty());
    drop((resolver, loader));
    let start = Instant::now();
    drop(last);
    let free = start.elapsed();
    let us =
        |of: &dyn Fn(&Steps) -> Duration| median(steps.iter().map(|steps| of(steps).as_secs_f64() * 1e6));
    let micros = |times: &[Duration]| median(times.iter().map(|time| time.as_secs_f64() * 1e6));
    println!(
        "{count:>10} {:>9.1} {:>11.1} {:>9.1} {:>11.1} {:>11.1} {:>13.0} {:>13.0} {:>15.1} {answers:>10} {:>6} {:>8.1}",
        us(&|steps| steps.read) / 1e3,
        us(&|steps| steps.compile) / 1e3,
        us(&|steps| steps.swap),
        policy_octets as f64 / 1e6,
        median(peaks.into_iter()) / 1e6,
        micros(&idle),
        micros(&busy),
        micros(&first),
        0,
        free.as_secs_f64() * 1e3
    );
}

/// The names from `start` on, `count` of them, one a line.
fn write_names(folder: &Path, start: usize, count: usize) {
    let mut list = String::new();
    for index in start..start + count {
        writeln!(list, "{}", listed_name(index)).expect("a string grows");
    }
    fs::write(folder.join("names.txt"), list).expect("a names file");
}

/// What asking all the time came to.
struct Asked {
    answers: usize,
    /// The longest time between the ends of two batches.
    longest_gap: Duration,
    /// When the first batch by the new policy was answered.
    first_new: Option<Instant>,
}

/// Does `work` while a thread asks the hot path without a pause, and a while longer.
fn beside<T>(resolver: &Resolver, generation: usize, half: usize, work: impl FnOnce() -> T) -> (Asked, T) {
    let (stop, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask(resolver, generation, half, &stop, &begun));
        let progress = |batches: usize| {
            let from = begun.load(Ordering::Acquire);
            while begun.load(Ordering::Acquire) < from + batches && !asking.is_finished() {
                thread::yield_now();
            }
        };
        progress(1000);
        let done = work();
        progress(1000);
        stop.store(true, Ordering::Release);
        (asking.join().expect("every answer is right"), done)
    })
}

/// Asks until told to stop.
///
/// # Panics
/// When an answer is missing or wrong, or one by the old policy follows one by the new.
fn ask(resolver: &Resolver, generation: usize, half: usize, stop: &AtomicBool, begun: &AtomicUsize) -> Asked {
    // The policy of this generation lists `half` names from the first on, which leave, and `half` which stay.
    let names: [(Name, IsListed); 4] = [
        (listed_name(generation * half), |new| !new),
        (listed_name((generation + 1) * half), |_| true),
        (listed_name((generation + 2) * half), |new| new),
        (innocent_name(7), |_| false),
    ];
    let packets: Vec<Vec<u8>> =
        (0..batch::SLOTS).map(|index| made::packet(&names[index % names.len()].0, index as u16)).collect();
    let from: SocketAddr = ([127, 0, 0, 1], 4242).into();
    let mut hot = resolver.hot();
    let mut out = [0; MAX_UDP_LEN];
    let mut asked = Asked { answers: 0, longest_gap: Duration::ZERO, first_new: None };
    let mut last: Option<Instant> = None;
    while !stop.load(Ordering::Acquire) {
        hot.begin(packets.iter().map(Vec::as_slice));
        let mut new = asked.first_new.is_some();
        for (index, packet) in packets.iter().enumerate() {
            let len = hot.answer(index, packet, from, &mut out).expect("an ordinary query");
            let reply = &out[..len];
            if index == 0 && !new {
                // The name that leaves says which policy this batch has.
                new = says(packet, reply, false);
            }
            let sinkholed = (names[index % names.len()].1)(new);
            assert!(says(packet, reply, sinkholed), "{} by the policy, new: {new}", names[index % 4].0);
        }
        let now = Instant::now();
        if let Some(last) = last.replace(now) {
            asked.longest_gap = asked.longest_gap.max(now - last);
        }
        if new && asked.first_new.is_none() {
            asked.first_new = Some(now);
        }
        asked.answers += packets.len();
        begun.fetch_add(1, Ordering::Release);
    }
    asked
}

/// The middle one.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
