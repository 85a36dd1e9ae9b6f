//! What an answer costs that is stated here, beside one from the cache: instructions of the hot path, as callgrind counts them. Local
//! answers are to take at most 1.1 times as many. Apart from `instructions`, for more cases there have the same paths compiled otherwise.
//!
//!     cargo bench --bench local
//!
//! `checks/instructions --local` runs it and judges. Needs valgrind and the gungraun-runner of the version in Cargo.lock; without them it
//! says so and measures nothing.

#[allow(dead_code, reason = "other benches ask for more")]
#[path = "support/counted.rs"]
mod support;

use support::{Case, Traffic, hot_case};

fn main() {
    support::main(counted::run, check);
}

/// Makes every case, which asserts its answers, and counts nothing.
fn check() {
    for traffic in [Traffic::CachedBesideLocal, Traffic::Local, Traffic::LocalDenied] {
        drop(hot_case(traffic));
    }
}

/// What is counted, in the terms of its library.
mod counted {
    use super::*;
    use gungraun::prelude::*;
    use std::hint::black_box;

    // Runs a case once more; all that came before is not counted. (The attribute takes no docstring.)
    #[library_benchmark]
    #[bench::cached(hot_case(Traffic::CachedBesideLocal))]
    #[bench::local(hot_case(Traffic::Local))]
    #[bench::local_denied(hot_case(Traffic::LocalDenied))]
    fn case(mut case: Case) -> Case {
        black_box(case());
        case
    }

    library_benchmark_group!(name = local_cases, benchmarks = [case]);
    main!(library_benchmark_groups = local_cases);

    /// Hands over to the runner.
    pub fn run() {
        main();
    }
}
