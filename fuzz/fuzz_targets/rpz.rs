//! libFuzzer's entry to `bodies/rpz.rs`, which the test suite runs too.
#![no_main]

#[path = "../bodies/rpz.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::run(octets));
