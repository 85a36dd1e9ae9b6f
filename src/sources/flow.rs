//! Whether a download still flows: a server that drips would otherwise hold a place for as long as it likes.

use std::time::Duration;

use tokio::time::Instant;

/// What came within the window under way.
#[derive(Debug)]
pub(super) struct Flow {
    window: Duration,
    least: u64,
    since: Instant,
    got: u64,
}

impl Flow {
    /// Starts the first window at `now`; each wants `least` octets.
    pub(super) fn new(window: Duration, least: u64, now: Instant) -> Flow {
        Flow { window, least, since: now, got: 0 }
    }

    /// When the window ends.
    pub(super) fn end(&self) -> Instant {
        self.since + self.window
    }

    /// Counts octets; false if it is `now` past the window's end and too few came in it.
    pub(super) fn goes_on(&mut self, octets: u64, now: Instant) -> bool {
        self.got = self.got.saturating_add(octets);
        if now < self.end() {
            return true;
        }
        let enough = self.got >= self.least;
        (self.since, self.got) = (now, 0);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_is_no_flow() {
        let start = Instant::now();
        // Octets come at a second each; the window is 10 s and wants 100.
        for (what, coming, stalls_at) in [
            ("enough", vec![(3, 50), (9, 50), (10, 0), (19, 200), (20, 0)], None),
            ("nothing", vec![(10, 0)], Some(10)),
            ("a drip", vec![(1, 1), (5, 1), (9, 1), (10, 0)], Some(10)),
            ("a burst, then a drip", vec![(1, 5000), (10, 0), (15, 1), (20, 0)], Some(20)),
            ("the last octets with the end", vec![(1, 50), (10, 50), (15, 100), (20, 0)], None),
            ("late, but all", vec![(1, 1), (12, 99), (22, 99)], Some(22)),
        ] {
            let mut flow = Flow::new(Duration::from_secs(10), 100, start);
            let stalled = coming
                .into_iter()
                .find(|&(second, octets)| !flow.goes_on(octets, start + Duration::from_secs(second)))
                .map(|(second, _)| second);
            assert_eq!(stalled, stalls_at, "{what}");
        }
    }
}
