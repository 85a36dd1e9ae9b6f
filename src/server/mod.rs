//! Listeners: each takes bytes from clients to `resolver` and back.
