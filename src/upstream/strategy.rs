//! Whom a question asks first, and who is next.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the order is found in which servers are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// As they are configured: the first as long as it answers.
    #[default]
    InOrder,
    /// Each now and then, the faster ones more often.
    Random,
    /// The one that was fastest lately; now and then another one is asked as well, so that it is known how fast that is.
    Fastest,
    /// Two at once, drawn as by `Random`: the first good answer counts.
    Parallel,
}

/// How a server looks to a question that comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Whether it is likely to answer.
    pub(super) in_place: bool,
    /// How long its answers take, if that is known.
    pub(super) time: Option<Duration>,
}

/// The order in which one question asks servers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Servers by their places in the settings, who is asked first in front.
    pub(super) places: Vec<usize>,
    /// How many are asked at once when it begins.
    pub(super) at_once: usize,
}

/// Of so many questions one asks another server than the fastest, too: 3 %, so that of the 5 % that may be put twice something is
/// left for those that take long.
const EXPLORE: f64 = 32.0;
/// Without any time known, all are held to take as long.
const ANY_TIME: Duration = Duration::from_millis(1);

impl Strategy {
    /// The order for one question. `draw` gives numbers from 0 to below 1; `spare` says whether a question may be put to one
    /// server more, and is asked only if it would be.
    pub(super) fn order(
        self,
        seen: &[Seen],
        draw: &mut dyn FnMut() -> f64,
        spare: impl FnOnce() -> bool,
    ) -> Order {
        let mut places: Vec<usize> = (0..seen.len()).collect();
        match self {
            Strategy::InOrder => {}
            Strategy::Fastest => places.sort_by_key(|place| seen[*place].time.unwrap_or(Duration::MAX)),
            Strategy::Random | Strategy::Parallel => shuffle(&mut places, seen, draw),
        }
        // Who failed lately comes after all others, and is asked all the same before nobody is.
        places.sort_by_key(|place| !seen[*place].in_place);
        let well = seen.iter().filter(|server| server.in_place).count();
        let mut at_once = 1;
        if self == Strategy::Parallel {
            at_once = well.clamp(1, 2);
        } else if self == Strategy::Fastest && well > 1 && draw() * EXPLORE < 1.0 && spare() {
            // The fastest answers as ever; who loses is listened for all the same.
            let other = 1 + (draw() * (well - 1) as f64) as usize;
            let other = places.remove(other.min(well - 1));
            places.insert(1, other);
            at_once = 2;
        }
        Order { places, at_once }
    }
}

/// A random order in which who is twice as fast is twice as likely to be the first of two: each draws when it would ring if it
/// rang once in its own time on average, and who rings first comes first.
fn shuffle(places: &mut [usize], seen: &[Seen], draw: &mut dyn FnMut() -> f64) {
    // Who is not known is to become so.
    let fastest = seen.iter().filter_map(|server| server.time).min().unwrap_or(ANY_TIME);
    let rings: Vec<f64> = seen
        .iter()
        .map(|server| -(1.0 - draw()).ln() * server.time.unwrap_or(fastest).as_secs_f64())
        .collect();
    places.sort_by(|one, other| rings[*one].total_cmp(&rings[*other]));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers: the time in milliseconds, 0 for one that is not known; below that one that stepped back.
    fn seen(times: &[i64]) -> Vec<Seen> {
        let one = |time: &i64| Seen {
            in_place: *time >= 0,
            time: (*time != 0).then(|| Duration::from_millis(time.unsigned_abs())),
        };
        times.iter().map(one).collect()
    }

    #[test]
    fn whom_to_ask_first_and_next() {
        use Strategy::{Fastest, InOrder, Parallel, Random};
        /// Times; what is drawn, in turn; whether one more may be asked; the order, and how many at once.
        type Case = (Strategy, &'static [i64], &'static [f64], bool, &'static [usize], usize);
        let cases: [Case; 17] = [
            (InOrder, &[], &[], true, &[], 1),
            (InOrder, &[30, 10, 20], &[], true, &[0, 1, 2], 1),
            (InOrder, &[-30, 10, -20, 5], &[], true, &[1, 3, 0, 2], 1),
            (InOrder, &[-30, -10], &[], true, &[0, 1], 1),
            (Fastest, &[30, 10, 20], &[0.5], true, &[1, 2, 0], 1),
            (Fastest, &[0, 10, 20], &[0.5], true, &[1, 2, 0], 1),
            (Fastest, &[0, 0], &[0.5], true, &[0, 1], 1),
            (Fastest, &[30, -10, 20], &[0.5], true, &[2, 0, 1], 1),
            // Now and then one of the others is asked, too, if that may be, and if it is likely to answer.
            (Fastest, &[30, 10, 20], &[0.01, 0.6], true, &[1, 0, 2], 2),
            (Fastest, &[30, 10, 20], &[0.01, 0.4], true, &[1, 2, 0], 2),
            (Fastest, &[30, 10, 20], &[0.01], false, &[1, 2, 0], 1),
            (Fastest, &[30, 10, -20], &[0.01, 0.99], true, &[1, 0, 2], 2),
            (Fastest, &[30, -10], &[], true, &[0, 1], 1),
            // Who is slower has to draw less to come first.
            (Random, &[10, 20], &[0.5, 0.3], true, &[0, 1], 1),
            (Random, &[10, 20], &[0.5, 0.2], true, &[1, 0], 1),
            (Random, &[-10, 0, 20], &[0.0, 0.5, 0.2], true, &[2, 1, 0], 1),
            (Parallel, &[10, 20, 30], &[0.9, 0.5, 0.2], true, &[2, 1, 0], 2),
        ];
        for (index, (strategy, times, drawn, may, places, at_once)) in cases.into_iter().enumerate() {
            let mut drawn = drawn.iter();
            let order = strategy.order(&seen(times), &mut || *drawn.next().expect("a draw"), || may);
            assert_eq!(order, Order { places: places.to_vec(), at_once }, "{index}");
            assert_eq!(drawn.len(), 0, "{index}: all that was to be drawn was");
        }
        // One that is alone, or that alone is likely to answer, is asked alone.
        for times in [&[10][..], &[10, -20], &[-10, -20]] {
            assert_eq!(Parallel.order(&seen(times), &mut || 0.5, || true).at_once, 1);
        }
    }

    #[test]
    fn who_is_twice_as_fast_is_first_twice_as_often() {
        let seen = seen(&[10, 20]);
        let mut draw = || rand::random::<f64>();
        let first = (0..30_000).filter(|_| Strategy::Random.order(&seen, &mut draw, || false).places[0] == 0);
        let first = first.count();
        // The deviation is 82.
        assert!((19_000..21_000).contains(&first), "{first}");
    }
}
