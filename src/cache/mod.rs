//! The truth by question, for as long as it lasts.
