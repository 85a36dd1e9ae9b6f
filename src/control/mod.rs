//! Changing what is in force while it serves.
