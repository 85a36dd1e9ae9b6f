//! What several integration tests share; each includes it by `mod support;` and uses a part of it.

#![allow(dead_code, reason = "each test file uses a part")]

pub mod authority;
