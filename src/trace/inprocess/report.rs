//! What a replay without sockets found, for people and machines.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use serde::Serialize;

use super::verify::{Hashes, MAX_COUNTED};
use super::{BURST, Done, MAX_TOLD, bursts};
use crate::trace::feed::{self, Fed};

/// What it came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Queries asked.
    pub queries: u64,
    /// Of those, answered by the hot path.
    pub hot: u64,
    /// Of those, that waited for the scripted upstream.
    pub asked: u64,
    /// Queries that got no reply.
    pub silent: u64,
    /// Threads.
    pub threads: usize,
    /// Wall time in seconds, making and checking included.
    pub elapsed_s: f64,
    /// Nanoseconds a query within the request path, all of them.
    pub ns_per_query: f64,
    /// The median over bursts of nanoseconds a query: what others do on the machine does not move it much.
    pub ns_per_query_median: f64,
    /// Nanoseconds a query, of those answered at once.
    pub ns_per_query_at_once: f64,
    /// The median over batches of nanoseconds to make a query, or to take it from the reader.
    pub make_ns_median: f64,
    /// The median over bursts of nanoseconds to count and check a reply.
    pub check_ns_median: f64,
    /// CPU time of the whole process while queries ran, in nanoseconds a query; 0 where that is not told.
    pub cpu_ns_per_query: f64,
    /// Queries a second and thread, within the request path.
    pub qps_per_thread: f64,
    /// Replies by response code.
    pub rcodes: BTreeMap<u16, u64>,
    /// What the resolver counted.
    pub counters: String,
    /// Octets of the compiled names.
    pub policy_octets: usize,
    /// Names listed.
    pub names: usize,
    /// What checking found, if it was wished.
    pub verified: Option<Verified>,
    /// What is to be known about the trace.
    pub notes: Vec<String>,
}

/// What checking found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    /// Replies that were the truth, as they should be.
    pub truth: u64,
    /// Replies that did what an order says, by action.
    pub acted: BTreeMap<&'static str, u64>,
    /// Replies for special names and the like.
    pub local: u64,
    /// Replies that should have been others.
    pub wrong: u64,
    /// Distinct names that the naive reading was asked about.
    pub distinct_names: u64,
    /// There were more of them than are counted.
    pub more_names: bool,
    /// Replies that were, octet by octet, a truth that had been checked before; the others were read whole.
    pub again: u64,
    /// The first of them.
    pub examples: Vec<String>,
}

impl Report {
    /// Adds what the threads did.
    pub(super) fn add(&mut self, results: Vec<io::Result<Done>>, fed: &Fed, verify: bool) {
        let (mut busy, mut waited) = (Duration::ZERO, Duration::ZERO);
        let mut verified = Verified::default();
        let mut names: Hashes = Hashes::default();
        let (mut all, mut making, mut checking) = (bursts(), bursts(), bursts());
        for done in results {
            let done = match done {
                Ok(done) => done,
                Err(error) => {
                    self.notes.push(format!("a thread could not start: {error}"));
                    continue;
                }
            };
            self.queries += done.queries;
            self.hot += done.hot;
            self.asked += done.asked;
            self.silent += done.silent;
            // Bounds are the same in all.
            let _ = all.add(&done.bursts);
            let _ = making.add(&done.making);
            let _ = checking.add(&done.checking);
            (busy, waited) = (busy + done.busy, waited + done.waited);
            for (&count, code) in done.rcodes.iter().zip(0..).filter(|(count, _)| **count > 0) {
                *self.rcodes.entry(code).or_default() += count;
            }
            verified.truth += done.verified.truth;
            verified.local += done.verified.local;
            verified.wrong += done.verified.wrong;
            verified.again += done.verified.again;
            verified.more_names |= done.names.len() >= MAX_COUNTED;
            if names.is_empty() {
                names = done.names;
            } else {
                names.extend(done.names);
            }
            for (action, count) in done.verified.acted {
                *verified.acted.entry(action).or_default() += count;
            }
            verified.examples.extend(done.verified.examples);
        }
        verified.examples.truncate(MAX_TOLD);
        verified.distinct_names = names.len() as u64;
        let ns = |time: Duration, count: u64| time.as_nanos() as f64 / count.max(1) as f64;
        self.ns_per_query_median = all.value_at_quantile(0.5) as f64 / BURST as f64;
        self.make_ns_median = making.value_at_quantile(0.5) as f64 / feed::BATCH_LEN as f64;
        self.check_ns_median = checking.value_at_quantile(0.5) as f64 / BURST as f64;
        self.ns_per_query = ns(busy, self.queries);
        self.ns_per_query_at_once = ns(busy.saturating_sub(waited), self.queries - self.asked);
        self.qps_per_thread = self.queries as f64 / busy.as_secs_f64().max(1e-9);
        self.verified = verify.then_some(verified);
        if let Some(damage) = &fed.damage {
            self.notes.push(format!("the trace is {damage}; what stands before it was used"));
        }
        let skipped = fed.skipped.to_string();
        if !skipped.is_empty() {
            self.notes.push(format!("passed over in the trace: {skipped}"));
        }
        if self.queries == 0 {
            self.notes.push("the trace holds no query".into());
        }
    }

    /// One JSON object.
    pub fn json(&self) -> String {
        // Strings, numbers and maps with text or number keys always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Whether nothing wrong was found, as far as it was looked for.
    pub fn is_right(&self) -> bool {
        self.verified.as_ref().is_none_or(|verified| verified.wrong == 0)
    }
}

impl fmt::Display for Report {
    /// A table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "queries     {:>14}   in {:.2} s on {} threads",
            self.queries, self.elapsed_s, self.threads
        )?;
        writeln!(
            f,
            "path        {:>14.1}   ns a query, {:.1} of those answered at once; median of bursts {:.1}",
            self.ns_per_query, self.ns_per_query_at_once, self.ns_per_query_median
        )?;
        writeln!(
            f,
            "beside it   {:>14.1}   ns a query to make it, {:.1} to check its reply (medians); CPU time in all {:.1}",
            self.make_ns_median, self.check_ns_median, self.cpu_ns_per_query
        )?;
        writeln!(f, "rate        {:>14.0}   queries a second and thread", self.qps_per_thread)?;
        writeln!(f, "hot path    {:>14}", self.hot)?;
        writeln!(f, "asked       {:>14}   at the scripted upstream", self.asked)?;
        writeln!(f, "silent      {:>14}", self.silent)?;
        for (code, count) in &self.rcodes {
            writeln!(f, "rcode {code:<5} {count:>14}")?;
        }
        writeln!(f, "names       {:>14}   {} octets", self.names, self.policy_octets)?;
        writeln!(f, "counters    {}", self.counters)?;
        if let Some(verified) = &self.verified {
            writeln!(f, "\nverified: truth {}, answered here {}", verified.truth, verified.local)?;
            for (action, count) in &verified.acted {
                writeln!(f, "verified: {action} {count}")?;
            }
            let more = if verified.more_names { " and more" } else { "" };
            writeln!(
                f,
                "verified: distinct names {}{more}, each looked up naively",
                verified.distinct_names
            )?;
            writeln!(f, "verified: the octets of a truth checked before {}", verified.again)?;
            writeln!(f, "WRONG VERDICTS: {}", verified.wrong)?;
            for example in &verified.examples {
                writeln!(f, "  {example}")?;
            }
        }
        for note in &self.notes {
            writeln!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}
