//! libFuzzer's entry to `bodies/packet.rs`, which the test suite runs too.
#![no_main]

#[path = "../bodies/packet.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::run(octets));
