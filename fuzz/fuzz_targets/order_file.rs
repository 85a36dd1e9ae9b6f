//! libFuzzer's entry to `bodies/order_file.rs`, which the test suite runs too.
#![no_main]

#[path = "../bodies/order_file.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::run(octets));
