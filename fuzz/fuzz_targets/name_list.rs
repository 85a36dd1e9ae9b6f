//! libFuzzer's entry to `bodies/name_list.rs`, which the test suite runs too.
#![no_main]

#[path = "../bodies/name_list.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::run(octets));
