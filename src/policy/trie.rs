//! Names to values, read from the root.
