//! What an answer costs that is stated here, beside one from the cache: instructions of the hot path, as callgrind counts them. Local
//! answers are to take at most 1.1 times as many. Apart from `instructions`, for more cases there have the same paths compiled otherwise.
//!
//!     cargo bench --bench local
//!
//! `checks/instructions --local` runs it and judges. Needs valgrind; without it it says so and measures nothing.

#[allow(dead_code, reason = "other benches ask for more")]
#[path = "support/counted.rs"]
mod support;

use support::{Traffic, hot_case};

fn main() {
    support::main(&[
        ("cached", || hot_case(Traffic::CachedBesideLocal)),
        ("local", || hot_case(Traffic::Local)),
        ("local_denied", || hot_case(Traffic::LocalDenied)),
    ]);
}
