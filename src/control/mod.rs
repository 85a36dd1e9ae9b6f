//! Changing what is in force while it serves.

pub mod address;
pub mod api;
pub mod calendar;
pub mod canary;
pub mod client;
pub mod in_force;
pub mod journal;
pub mod lifecycle;
pub mod log;
pub mod pauses;
pub mod record;
pub mod reload;
pub mod stated;
pub mod watch;
