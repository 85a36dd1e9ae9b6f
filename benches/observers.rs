//! What an answer costs that somebody writes down, beside one that nobody does: instructions of the hot path, as callgrind counts them.
//! Evidence is to take at most 3 % more of a cached answer and 5 % more of a sinkholed one. What the query log takes is the same wherever
//! it goes to, for who answers only copies. Apart from `instructions`, for more cases there have the same paths compiled otherwise.
//!
//!     cargo bench --bench observers
//!
//! `checks/instructions --observers` runs it and judges. Needs valgrind and the gungraun-runner of the version in Cargo.lock; without them
//! it says so and measures nothing.

#[allow(dead_code, reason = "other benches ask for more")]
#[path = "support/counted.rs"]
mod support;

use std::sync::Arc;

use sinkscope::querylog::{Choice, Taps};
use sinkscope::resolver::sightings::Sightings;
use support::{Case, Scene, Traffic, hot_case_of};

/// Octets of the log's rings: more than the cases write.
const RINGS: usize = 1 << 20;

/// Who looks on.
#[derive(Clone, Copy, PartialEq)]
enum Looking {
    Nobody,
    Evidence,
    Log,
}

fn main() {
    support::main(counted::run, check);
}

/// Makes every case, which asserts its answers, and counts nothing.
fn check() {
    for traffic in [Traffic::Sinkholed, Traffic::Cached] {
        for looking in [Looking::Nobody, Looking::Evidence, Looking::Log] {
            drop(watched(traffic, looking));
        }
    }
}

/// A batch through the hot path, and somebody looks on.
fn watched(traffic: Traffic, looking: Looking) -> Case {
    let mut scene = Scene::new(traffic);
    scene.resolver = match looking {
        Looking::Nobody => scene.resolver,
        Looking::Evidence => scene.resolver.sighted(Sightings::on(0)),
        Looking::Log => scene.resolver.logging(Some(Arc::new(Taps::new(Choice::default(), RINGS, 1)))),
    };
    hot_case_of(scene)
}

/// What is counted, in the terms of its library.
mod counted {
    use super::*;
    use gungraun::prelude::*;
    use std::hint::black_box;

    // Runs a case once more; all that came before is not counted. (The attribute takes no docstring.)
    #[library_benchmark]
    #[bench::sinkholed(watched(Traffic::Sinkholed, Looking::Nobody))]
    #[bench::sinkholed_evidence(watched(Traffic::Sinkholed, Looking::Evidence))]
    #[bench::sinkholed_log(watched(Traffic::Sinkholed, Looking::Log))]
    #[bench::cached(watched(Traffic::Cached, Looking::Nobody))]
    #[bench::cached_evidence(watched(Traffic::Cached, Looking::Evidence))]
    #[bench::cached_log(watched(Traffic::Cached, Looking::Log))]
    fn case(mut case: Case) -> Case {
        black_box(case());
        case
    }

    library_benchmark_group!(name = observer_cases, benchmarks = [case]);
    main!(library_benchmark_groups = observer_cases);

    /// Hands over to the runner.
    pub fn run() {
        main();
    }
}
