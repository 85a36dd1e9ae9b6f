//! Where lists come from: a [`Source`] on the network becomes a good file here, which the loader reads like any other.
//!
//! ```text
//! due -> ask (conditional) -> download aside -> unpack -> examine -> rename -> tell the reloader
//! ```
//!
//! One rule stands above all: a download replaces the last good copy only after everything about it was found right.
//! Until then it has another name, and whatever is wrong with it is a [`SourceError`] that the [`SourceStatus`] shows while
//! the last good copy goes on serving. Nothing here knows a list's format: who does gives [`Settings::accept`].
//!
//! [`Refresher`] does it on time; files and folders it only looks at. Names are found through [`Lookup`], never through the
//! system's resolver, which may well be this very program.

#[cfg(test)]
mod bad_tests;
mod copies;
mod error;
mod examine;
mod fetch;
mod flow;
mod http;
mod local;
mod lookup;
mod refresher;
#[cfg(test)]
mod refresher_tests;
mod schedule;
mod spec;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
mod tracked;
mod unpack;

pub use copies::{Failure, copy_path};
pub use error::{
    BadRedirect, DiskWork, ListError, LocalError, NetworkError, PackedError, SignatureError, SourceError,
    SpecError,
};
pub use fetch::{Accept, RefreshOptions};
pub use fetch::{Progress, Watcher};
pub use lookup::{Bootstrap, Looking, Lookup};
pub use refresher::{Outcome, Refreshed, Refresher, Settings, UnknownSource};
pub use spec::{
    Digest, Limits, Location, MAX_BACK_OFF, MAX_NAME_LEN, MAX_REFRESH, MAX_RETRIES, MIN_REFRESH, SigningKey,
    Source,
};
pub use status::{SourceState, SourceStatus, table};

pub use examine::entry_lines;
