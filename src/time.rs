//! Wall time as a number. Who reads a clock is in `clock`.

/// Seconds since the Unix epoch, UTC; negative before 1970.
pub type UnixSeconds = i64;
