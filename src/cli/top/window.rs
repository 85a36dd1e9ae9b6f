//! Names and clients of the last seconds, counted as they are heard.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::control::api::types::{Failure, Lost};
use crate::control::events::Event;

/// What is counted is as old at most.
const SPAN: Duration = Duration::from_secs(10);
/// How long a part of that is, which is counted and forgotten as a whole.
const PART: Duration = Duration::from_secs(1);
/// Names, and clients, that a part counts one by one; more are asked for by a flood alone, and then count as others.
const MAX_KEYS: usize = 20_000;

/// Who asked for what in the last seconds.
#[derive(Debug, Default)]
pub(super) struct Window {
    parts: VecDeque<Part>,
    /// Why nothing is heard, if that is so.
    deaf: Option<Failure>,
}

/// A second of it.
#[derive(Debug)]
struct Part {
    begun: Instant,
    names: HashMap<String, Count>,
    clients: HashMap<String, Count>,
    /// Queries that were heard of.
    heard: u64,
    /// Queries that came faster than they were taken.
    lost: u64,
}

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    queries: u64,
    /// Of these, those that an order acted on.
    captured: u64,
}

/// One of those that come most often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Often {
    /// What it is.
    pub(super) what: String,
    /// Queries of the last seconds.
    pub(super) queries: u64,
    /// Of these, those that an order acted on.
    pub(super) captured: u64,
}

/// What was heard in the last seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Lately {
    /// The names that were asked for most.
    pub(super) names: Vec<Often>,
    /// The clients that asked most.
    pub(super) clients: Vec<Often>,
    /// Queries that were heard of.
    pub(super) heard: u64,
    /// Queries that came faster than they were taken.
    pub(super) lost: u64,
    /// Why nothing is heard, if that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deaf: Option<String>,
}

/// A line of the log, as far as it is counted.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    client: Option<String>,
    qname: String,
    verdict: String,
}

impl Window {
    /// Takes an event in.
    pub(super) fn hear(&mut self, event: &Event, now: Instant) {
        self.deaf = None;
        self.turn(now);
        let Some(part) = self.parts.back_mut() else { return };
        if event.name == "lost" {
            part.lost += serde_json::from_str::<Lost>(&event.data).unwrap_or_default().lost;
            return;
        }
        // What is no line of the log is another version's.
        let Ok(entry) = serde_json::from_str::<Entry>(&event.data) else { return };
        part.heard += 1;
        let is_captured = !matches!(&entry.verdict[..], "" | "clear" | "protected" | "passthru");
        add(&mut part.names, entry.qname, is_captured);
        if let Some(client) = entry.client {
            add(&mut part.clients, client, is_captured);
        }
    }

    /// Nothing is heard any more, or not for the moment.
    pub(super) fn is_deaf(&mut self, why: Option<Failure>) {
        self.deaf = why;
    }

    /// What was heard lately, so many of a kind.
    pub(super) fn lately(&mut self, most: usize, now: Instant) -> Lately {
        self.turn(now);
        let sum = |of: fn(&Part) -> u64| self.parts.iter().map(of).sum();
        Lately {
            names: often(self.parts.iter().map(|part| &part.names), most),
            clients: often(self.parts.iter().map(|part| &part.clients), most),
            heard: sum(|part| part.heard),
            lost: sum(|part| part.lost),
            deaf: self.deaf.as_ref().map(|why| match &why.hint[..] {
                "" => why.error.clone(),
                hint => format!("{}: {hint}", why.error),
            }),
        }
    }

    /// Begins a part if it is time, and forgets those that are too old.
    fn turn(&mut self, now: Instant) {
        while self.parts.front().is_some_and(|part| now.duration_since(part.begun) >= SPAN) {
            self.parts.pop_front();
        }
        if self.parts.back().is_none_or(|part| now.duration_since(part.begun) >= PART) {
            let (names, clients) = (HashMap::new(), HashMap::new());
            self.parts.push_back(Part { begun: now, names, clients, heard: 0, lost: 0 });
        }
    }
}

/// Counts one, if there is room.
fn add(counts: &mut HashMap<String, Count>, what: String, is_captured: bool) {
    if counts.len() >= MAX_KEYS && !counts.contains_key(&what) {
        return;
    }
    let count = counts.entry(what).or_default();
    count.queries += 1;
    count.captured += u64::from(is_captured);
}

/// Those that come most often, over all parts; of equals the first by name.
fn often<'p, K: AsRef<str> + Eq + Hash + 'p>(
    parts: impl Iterator<Item = &'p HashMap<K, Count>>,
    most: usize,
) -> Vec<Often> {
    let mut all: HashMap<&str, Count> = HashMap::new();
    for (what, count) in parts.flatten() {
        let sum = all.entry(what.as_ref()).or_default();
        sum.queries += count.queries;
        sum.captured += count.captured;
    }
    let mut all: Vec<(&str, Count)> = all.into_iter().collect();
    all.sort_unstable_by(|(a, one), (b, other)| other.queries.cmp(&one.queries).then_with(|| a.cmp(b)));
    all.truncate(most);
    let often = |(what, count): (&str, Count)| Often {
        what: what.to_owned(),
        queries: count.queries,
        captured: count.captured,
    };
    all.into_iter().map(often).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the log as an event.
    fn line(qname: &str, client: &str, verdict: &str) -> Event {
        let data = serde_json::json!({"qname": qname, "client": client, "verdict": verdict}).to_string();
        Event { name: String::new(), data }
    }

    #[test]
    fn what_is_old_is_forgotten_and_the_most_frequent_come_first() {
        let (mut window, start) = (Window::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        for (second, name, client, verdict) in [
            (0, "b.example", "192.0.2.1", "clear"),
            (0, "a.example", "192.0.2.1", "sinkhole"),
            (5, "a.example", "192.0.2.2", "sinkhole"),
            (5, "c.example", "192.0.2.1", "passthru"),
        ] {
            window.hear(&line(name, client, verdict), at(second));
        }
        window.hear(&Event { name: "lost".into(), data: "{\"lost\":7}".into() }, at(5));
        window.hear(&Event { name: String::new(), data: "no JSON".into() }, at(5));
        let shown = |often: &[Often]| {
            often
                .iter()
                .map(|one| format!("{} {}/{}", one.what, one.captured, one.queries))
                .collect::<Vec<_>>()
        };
        let lately = window.lately(2, at(6));
        assert_eq!(shown(&lately.names), ["a.example 2/2", "b.example 0/1"]);
        assert_eq!(shown(&lately.clients), ["192.0.2.1 1/3", "192.0.2.2 1/1"]);
        assert_eq!((lately.heard, lately.lost), (4, 7));
        let lately = window.lately(9, at(10));
        assert_eq!(shown(&lately.names), ["a.example 1/1", "c.example 0/1"]);
        assert_eq!(window.lately(9, at(30)), Lately::default());
    }

    #[test]
    fn a_flood_of_names_takes_no_memory_without_end() {
        let (mut window, now) = (Window::default(), Instant::now());
        for index in 0..MAX_KEYS + 100 {
            window.hear(&line(&format!("n{index}.example"), "192.0.2.1", "clear"), now);
        }
        assert_eq!(window.parts[0].names.len(), MAX_KEYS);
        let lately = window.lately(1, now);
        assert_eq!((lately.heard, lately.clients[0].queries), (MAX_KEYS as u64 + 100, MAX_KEYS as u64 + 100));
    }
}
