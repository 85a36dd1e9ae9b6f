//! What a load thread counts.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::reply::Reply;

/// The longest latency told apart, in nanoseconds: two minutes.
const LONGEST_NS: u64 = 120_000_000_000;
/// Points of the series; when there are more, two become one.
const MAX_POINTS: usize = 600;

/// Counts of one thread, or of all.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Queries sent.
    pub sent: u64,
    /// Replies that answer one.
    pub received: u64,
    /// Queries without a reply in time.
    pub lost: u64,
    /// Replies that came too late, or twice.
    pub unexpected: u64,
    /// Replies that do not echo the question, or cannot be read.
    pub mismatched: u64,
    /// Replies with TC.
    pub truncated: u64,
    /// Queries the system refused to send, or that are too long for a datagram.
    pub unsent: u64,
    /// Queries sent more than a millisecond after they were due.
    pub behind: u64,
    /// Errors the system reported, such as that no one listens.
    pub errors: u64,
    /// Replies by response code, extended ones included.
    pub rcodes: BTreeMap<u16, u64>,
    /// Replies by EDE code; a reply may have several.
    pub edes: BTreeMap<u16, u64>,
    /// Nanoseconds from when a query was due (at full pace: sent) to its reply.
    pub latency: Histogram<u64>,
    /// The same over time.
    pub series: Series,
    /// When the last query went or the last reply came, in nanoseconds after the start.
    pub last_ns: u64,
}

/// Counts over time.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// Seconds a point stands for.
    pub interval_s: u64,
    /// The points, from the start.
    pub points: Vec<Point>,
}

/// One interval.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// Queries sent.
    pub sent: u64,
    /// Replies received.
    pub received: u64,
    /// Queries given up.
    pub lost: u64,
    /// Latency of the replies, in nanoseconds.
    pub latency: Histogram<u32>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            sent: 0,
            received: 0,
            lost: 0,
            unexpected: 0,
            mismatched: 0,
            truncated: 0,
            unsent: 0,
            behind: 0,
            errors: 0,
            rcodes: BTreeMap::new(),
            edes: BTreeMap::new(),
            // A tenth of a microsecond, three digits: 300 KB.
            latency: Histogram::new_with_bounds(100, LONGEST_NS, 3)
                .expect("bounds and digits are constants in range"),
            series: Series { interval_s: 1, points: Vec::new() },
            last_ns: 0,
        }
    }
}

impl Tally {
    /// Adds another's counts.
    pub(super) fn add(&mut self, other: &Tally) {
        for (mine, theirs) in [
            (&mut self.sent, other.sent),
            (&mut self.received, other.received),
            (&mut self.lost, other.lost),
            (&mut self.unexpected, other.unexpected),
            (&mut self.mismatched, other.mismatched),
            (&mut self.truncated, other.truncated),
            (&mut self.unsent, other.unsent),
            (&mut self.behind, other.behind),
            (&mut self.errors, other.errors),
        ] {
            *mine += theirs;
        }
        for (mine, theirs) in [(&mut self.rcodes, &other.rcodes), (&mut self.edes, &other.edes)] {
            for (code, count) in theirs {
                *mine.entry(*code).or_default() += count;
            }
        }
        // Bounds are the same in all.
        let _ = self.latency.add(&other.latency);
        self.series.add(&other.series);
        self.last_ns = self.last_ns.max(other.last_ns);
    }

    /// Counts a reply's codes.
    pub(super) fn count_codes(&mut self, reply: &Reply<'_>) {
        let (rcode, edes) = reply.codes();
        *self.rcodes.entry(rcode).or_default() += 1;
        for code in edes {
            *self.edes.entry(code).or_default() += 1;
        }
    }

    /// Counts a reply's latency.
    pub(super) fn count_latency(&mut self, now_ns: u64, latency_ns: u64) {
        self.latency.saturating_record(latency_ns);
        self.last_ns = now_ns;
        let point = self.series.at(now_ns);
        point.received += 1;
        point.latency.saturating_record(latency_ns);
    }
}

impl Series {
    /// The point of this time, in nanoseconds after the start.
    pub(super) fn at(&mut self, now_ns: u64) -> &mut Point {
        let second = now_ns / 1_000_000_000;
        while second / self.interval_s >= MAX_POINTS as u64 {
            self.halve();
        }
        let index = (second / self.interval_s) as usize;
        if self.points.len() <= index {
            self.points.resize_with(index + 1, Point::new);
        }
        &mut self.points[index]
    }

    /// Adds another series, at the coarser interval of the two.
    fn add(&mut self, other: &Series) {
        while self.interval_s < other.interval_s {
            self.halve();
        }
        for (point, index) in other.points.iter().zip(0..) {
            self.at(index * other.interval_s * 1_000_000_000).add(point);
        }
    }

    /// Makes one point of two.
    fn halve(&mut self) {
        self.interval_s *= 2;
        let points = std::mem::take(&mut self.points);
        let mut points = points.into_iter();
        while let Some(mut first) = points.next() {
            if let Some(second) = points.next() {
                first.add(&second);
            }
            self.points.push(first);
        }
    }
}

impl Point {
    /// Nothing yet.
    fn new() -> Point {
        Point {
            sent: 0,
            received: 0,
            lost: 0,
            // A microsecond, two digits: 11 KB.
            latency: Histogram::new_with_bounds(1000, LONGEST_NS, 2)
                .expect("bounds and digits are constants in range"),
        }
    }

    /// Adds another's counts.
    fn add(&mut self, other: &Point) {
        self.sent += other.sent;
        self.received += other.received;
        self.lost += other.lost;
        let _ = self.latency.add(&other.latency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_series_get_coarser_and_lose_nothing() {
        let mut series = Series { interval_s: 1, points: Vec::new() };
        for second in 0..2000 {
            series.at(second * 1_000_000_000).sent += 1;
        }
        assert_eq!((series.interval_s, series.points.len()), (4, 500));
        assert!(series.points.iter().all(|point| point.sent == 4));
        let mut other = Series { interval_s: 1, points: Vec::new() };
        other.at(5_000_000_000).sent = 7;
        other.add(&series);
        assert_eq!((other.interval_s, other.points[1].sent), (4, 11));
    }
}
