//! Changing what is in force while it serves.

pub mod canary;
pub mod log;
pub mod reload;
pub mod watch;
