//! libFuzzer's entry to `bodies/store.rs`, which the test suite runs too.
#![no_main]

#[path = "../bodies/store.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::run(octets));
