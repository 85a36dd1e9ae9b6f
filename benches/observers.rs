//! What an answer costs that somebody writes down, beside one that nobody does: instructions of the hot path, as callgrind counts them.
//! Evidence is to take at most 3 % more of a cached answer and 5 % more of a sinkholed one. What the query log takes is the same wherever
//! it goes to, for who answers only copies. Apart from `instructions`, for more cases there have the same paths compiled otherwise.
//!
//!     cargo bench --bench observers
//!
//! `checks/instructions --observers` runs it and judges. Needs valgrind; without it it says so and measures nothing.

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
enum Looking {
    Nobody,
    Evidence,
    Log,
}

fn main() {
    support::main(&[
        ("sinkholed", || watched(Traffic::Sinkholed, Looking::Nobody)),
        ("sinkholed_evidence", || watched(Traffic::Sinkholed, Looking::Evidence)),
        ("sinkholed_log", || watched(Traffic::Sinkholed, Looking::Log)),
        ("cached", || watched(Traffic::Cached, Looking::Nobody)),
        ("cached_evidence", || watched(Traffic::Cached, Looking::Evidence)),
        ("cached_log", || watched(Traffic::Cached, Looking::Log)),
    ]);
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
