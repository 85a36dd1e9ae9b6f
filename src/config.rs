//! What can be set, where, and what is in effect.
