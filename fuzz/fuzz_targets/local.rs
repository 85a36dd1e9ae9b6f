//! libFuzzer's entry to `bodies/local.rs`, which the test suite runs too.
#![no_main]

#[path = "../bodies/local.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::run(octets));
