//! The `sinkscope` program.

fn main() {}
