//! Changing what is in force while it serves.

pub mod active_policy;
pub mod address;
pub mod agenda;
pub mod api;
mod aside;
pub mod blast;
pub mod calendar;
pub mod canary;
pub mod changes;
pub mod chronicle;
pub mod client;
pub mod configured;
pub mod events;
pub mod health;
pub mod journal;
pub mod lifecycle;
pub mod local_files;
pub mod local_names;
pub mod pauses;
pub mod record;
pub mod reload;
pub mod reloading;
pub mod reloads;
pub mod signing;
pub mod stamps;
pub mod statements;
pub mod watch;
