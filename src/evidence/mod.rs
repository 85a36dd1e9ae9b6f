//! Evidence: who asked for what orders take, when and how often.
//!
//! Those who answer write a few octets down ([`sightings`](crate::resolver::sightings)) and know nothing of what is here. One thread
//! aside counts them by key in bounded memory ([`tally`]), at most as much of a client as its group lets be kept ([`client`]); another
//! one writes what was counted into a database ([`store`]), whose errors reach nobody who answers. How many clients there were is
//! estimated by [`Sketch`](crate::sketch::Sketch), so that it can be known without who. [`read`] is for reports, [`keeper`] what both threads do.

pub mod client;
pub mod keeper;
pub mod read;
pub mod store;
pub mod tally;

use crate::time::UnixSeconds;

/// The database's file within the state folder.
pub const FILE: &str = "evidence.db";
/// Seconds of an hour, which sightings are counted by.
pub const HOUR_S: i64 = 3600;
/// Hours of a day, which clients are counted by.
pub const DAY_HOURS: u32 = 24;
/// Days for which sketches are made by one key: so many can be put together, and no longer can anybody who has the file try who is in
/// them.
pub const PERIOD_DAYS: u32 = 30;

/// The hour of a time, counted from 1970; those before are the first.
pub fn hour_of(at: UnixSeconds) -> u32 {
    u32::try_from(at.max(0) / HOUR_S).unwrap_or(u32::MAX)
}

/// The day of a time, counted from 1970.
pub fn day_of(at: UnixSeconds) -> u32 {
    hour_of(at) / DAY_HOURS
}

/// When a day begins.
pub fn start_of(day: u32) -> UnixSeconds {
    i64::from(day) * i64::from(DAY_HOURS) * HOUR_S
}
