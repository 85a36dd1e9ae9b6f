//! Traces fed to the count.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::count::Impact;
use super::report::TraceFacts;
use crate::dns::{parse, parse_head};
use crate::name::Name;
use crate::time::UnixSeconds;
use crate::trace::Entry;
use crate::trace::read::{Options, Reader};

/// Queries between two calls that tell how far it is: often enough for a bar, too seldom to cost anything.
const TELL_EVERY: u64 = 4096;

/// How far reading is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Octets read of this trace, packed as it may be.
    pub octets: u64,
    /// Queries counted of it.
    pub queries: u64,
}

/// A trace that cannot be read at all.
#[derive(Debug)]
pub struct TraceError {
    /// The trace.
    pub file: PathBuf,
    /// Why.
    pub error: io::Error,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.error.kind() {
            io::ErrorKind::NotFound => write!(f, "{file}: there is no such trace"),
            _ => write!(f, "{file}: the trace cannot be read: {}", self.error),
        }
    }
}

impl std::error::Error for TraceError {}

/// Feeds a whole trace; `-` is standard input. `tell` is called now and then with how far it is.
///
/// # Errors
/// When it cannot be opened or its first octets cannot be read. Damage further on ends it and is told in the facts.
pub fn read(
    path: &Path,
    options: Options,
    impact: &mut Impact<'_>,
    mut tell: impl FnMut(Progress),
) -> Result<TraceFacts, TraceError> {
    let octets = Arc::new(AtomicU64::new(0));
    let reader = if path.as_os_str() == "-" {
        Reader::new(Metered { inner: io::stdin(), octets: octets.clone() }, options)
    } else {
        File::open(path).and_then(|inner| Reader::new(Metered { inner, octets: octets.clone() }, options))
    };
    let mut reader = reader.map_err(|error| TraceError { file: path.to_path_buf(), error })?;
    let mut facts = TraceFacts { file: path.display().to_string(), ..TraceFacts::default() };
    let (mut entry, mut name, mut unreadable) = (Entry::default(), Name::ROOT, 0u64);
    loop {
        match reader.read(&mut entry) {
            Ok(true) => {}
            Ok(false) => break,
            Err(damage) => {
                facts.damage = Some(damage.to_string());
                break;
            }
        }
        // Ordinary queries are read at a glance, all others in full.
        if parse_head(&entry.message, &mut name).is_none() {
            match parse(&entry.message) {
                Ok(query) => name = query.qname,
                Err(_) => {
                    unreadable += 1;
                    continue;
                }
            }
        }
        impact.feed(&name, entry.client.map(|client| client.ip()), 1);
        facts.queries += 1;
        if let Some(at) = entry.at {
            // Times past the end of time are no times.
            let at = UnixSeconds::try_from(at.as_secs()).unwrap_or(UnixSeconds::MAX);
            facts.first = Some(facts.first.map_or(at, |first| first.min(at)));
            facts.last = Some(facts.last.map_or(at, |last| last.max(at)));
        }
        if facts.queries.is_multiple_of(TELL_EVERY) {
            tell(Progress { octets: octets.load(Ordering::Relaxed), queries: facts.queries });
        }
    }
    let mut skipped = reader.skipped().clone();
    skipped.odd += unreadable;
    facts.skipped = skipped.to_string();
    tell(Progress { octets: octets.load(Ordering::Relaxed), queries: facts.queries });
    Ok(facts)
}

/// Counts the octets that go through.
struct Metered<R> {
    inner: R,
    octets: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.octets.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
