//! Changing what is in force while it serves.

pub mod log;
mod watch;

pub use watch::Watch;
